"""What every client here does alike: its options, WHIP and WHEP over HTTP, and the words the tests wait for."""

import argparse
import urllib.request
from dataclasses import dataclass
from typing import Self
from urllib.parse import urljoin

TIMEOUT = 20
"""Seconds that the gateway has for an answer."""


def options(description: str, **choices: list[str]) -> argparse.Namespace:
    """Reads the command line: the URL, a token, and one option of fixed choices for each of `choices`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("url", help="WHIP or WHEP endpoint")
    parser.add_argument("--token", help="sent as Authorization: Bearer")
    for name, values in choices.items():
        parser.add_argument(f"--{name}", choices=values, default=values[0])
    return parser.parse_args()


@dataclass
class Session:
    """An offer that was accepted."""

    answer: str
    url: str
    token: str | None

    @classmethod
    def create(cls, endpoint: str, offer: str, token: str | None) -> Self:
        """Posts an offer. Anything but 201 with SDP and a session URL is an error."""
        request = urllib.request.Request(endpoint, offer.encode(), {"Content-Type": "application/sdp"})
        _authorize(request, token)
        try:
            response = urllib.request.urlopen(request, timeout=TIMEOUT)
        except urllib.error.HTTPError as refused:
            raise SystemExit(f"refused {refused.code}: {refused.read().decode()}") from None
        with response:
            if response.status != 201 or response.headers.get_content_type() != "application/sdp":
                raise SystemExit(f"unexpected {response.status} {response.headers.get_content_type()}")
            return cls(response.read().decode(), urljoin(endpoint, response.headers["Location"]), token)

    def delete(self) -> None:
        """Ends the session and says with which status."""
        request = urllib.request.Request(self.url, method="DELETE")
        _authorize(request, self.token)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            print(f"deleted {response.status}")


def _authorize(request: urllib.request.Request, token: str | None) -> None:
    if token:
        request.add_header("Authorization", f"Bearer {token}")
