"""Sends a connectivity check and then datagrams that look like RTP, and says what comes back for each."""

import argparse
import socket

import ice
from aioice import stun

PATIENCE = 2
"""Seconds for an answer."""


def main() -> None:
    """One of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("to", type=ice.address, help="where media goes to")
    parser.add_argument("username", help="ufrags: theirs, a colon, and ours")
    parser.add_argument("password", help="theirs")
    choice = parser.parse_args()
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.settimeout(PATIENCE)
    try:
        one.sendto(ice.check(choice.username, choice.password.encode()), choice.to)
        datagram, source = one.recvfrom(2000)
        answer = stun.parse_message(datagram)
        proven = answer.check_message_integrity(choice.password.encode())
        print(f"answered {answer.message_class.name} {proven} by {source[0]}:{source[1]}")
        one.sendto(b"\x80\x60" + bytes(100), choice.to)
        datagram, source = one.recvfrom(2000)
        print(f"echoed {len(datagram)} by {source[0]}:{source[1]}")
    except TimeoutError:
        print("nothing came")


main()
