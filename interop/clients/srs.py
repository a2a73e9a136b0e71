"""Behaves as an SRS origin does towards a proxy: its HTTP API, its heartbeat, and one UDP port for media.

Sessions are answered and their checks, too, but nothing is decrypted: what else comes is sent back. Says what it hears.
"""

import argparse
import http.server
import json
import secrets
import socket
import threading
import time
import urllib.error
import urllib.request
from urllib.parse import parse_qs, urlsplit

import ice
from aioice import stun

API, RTC = 1985, 8000

HEARTBEAT = 9.3
"""Seconds, as SRS's configuration has it when nothing else is written."""

ANSWER = """v=0
o=SRS/6.0.48(Hang) 107408542208384 2 IN IP4 0.0.0.0
s=SRSPublishSession
t=0 0
a=ice-lite
a=group:BUNDLE 0
a=msid-semantic: WMS live/cam
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=ice-ufrag:{ufrag}
a=ice-pwd:{pwd}
a=fingerprint:sha-256 {fingerprint}
a=setup:passive
a=mid:0
a=recvonly
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:111 opus/48000/2
a=candidate:0 1 udp 2130706431 {ip} {port} typ host generation 0
a=candidate:1 1 tcp 2130706431 {ip} {port} typ host tcptype passive generation 0
"""

SESSIONS: dict[str, str] = {}
"""Passwords of ours by the USERNAME of checks."""


def accept(offer: str, ip: str) -> tuple[str, str]:
    """A new session: its answer, and what SRS calls it."""
    ufrag, pwd = secrets.token_hex(4), secrets.token_hex(16)
    session = f"{ufrag}:{ice.attribute(offer, 'ice-ufrag')}"
    SESSIONS[session] = pwd
    fingerprint = ":".join(["AB"] * 32)
    answer = ANSWER.format(ufrag=ufrag, pwd=pwd, fingerprint=fingerprint, ip=ip, port=RTC)
    return answer.replace("\n", "\r\n"), session


class Api(http.server.BaseHTTPRequestHandler):
    """The HTTP API."""

    protocol_version = "HTTP/1.1"

    def say(self, status: int, body: str, **fields: str) -> None:
        """Sends a reply."""
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Server", "SRS/6.0.48(Hang)")
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def heard(self) -> str:
        """Says what is asked; its body."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        print(f"request {self.command} {self.path}")
        return body

    def do_GET(self) -> None:
        """Only what probes ask."""
        self.heard()
        version = {"major": 6, "minor": 0, "revision": 48, "version": "6.0.48"}
        self.say(200, json.dumps({"code": 0, "server": "vid-1", "data": version}), Content_Type="application/json")

    def do_POST(self) -> None:
        """WHIP and WHEP, whose `Location` has a query; and SRS's own JSON, whose errors are 200 as well."""
        body, path = self.heard(), urlsplit(self.path).path
        ip = self.connection.getsockname()[0]
        if path in ("/rtc/v1/whip/", "/rtc/v1/whep/"):
            query = parse_qs(urlsplit(self.path).query)
            answer, session = accept(body, ip)
            stream = f"app={query['app'][0]}&stream={query['stream'][0]}"
            location = f"{path}?action=delete&token={secrets.token_hex(4)}&{stream}&session={session}"
            self.say(201, answer, Content_Type="application/sdp", Location=location)
        elif path in ("/rtc/v1/publish/", "/rtc/v1/play/"):
            said = json.loads(body)
            if said["streamurl"].endswith("/forbidden"):
                self.say(200, json.dumps({"code": 400}), Content_Type="application/json")
                return
            answer, session = accept(said["sdp"], ip)
            reply = {"code": 0, "server": "vid-1", "service": "s-1", "pid": "7", "sdp": answer, "sessionid": session}
            self.say(200, json.dumps(reply), Content_Type="application/json")
        else:
            self.say(404, "")

    def do_DELETE(self) -> None:
        """Only with the query of the `Location`."""
        self.heard()
        query = parse_qs(urlsplit(self.path).query)
        known = query.get("action") == ["delete"] and SESSIONS.pop(query.get("session", [""])[0], None)
        self.say(200 if known else 404, "")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: `heard` has said it."""


def media(ip: str) -> None:
    """Answers checks that are good, and sends everything else back."""
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind((ip, RTC))
    while True:
        datagram, source = one.recvfrom(2000)
        if datagram[0] > 3:
            print(f"media {len(datagram)}")
            one.sendto(datagram, source)
            continue
        request = stun.parse_message(datagram)
        username = request.attributes["USERNAME"]
        key = SESSIONS.get(username, "").encode()
        if not request.check_message_integrity(key):
            print(f"check {username} is no good")
            continue
        print(f"check {username}")
        mapped = {"XOR-MAPPED-ADDRESS": source}
        answer = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, request.transaction_id, mapped)
        answer.add_message_integrity(key)
        one.sendto(bytes(answer), source)


def beat(url: str, ip: str) -> None:
    """Registers again and again."""
    said = {
        "ip": ip,
        "server": "vid-1",
        "service": "s-1",
        "pid": "7",
        "rtmp": ["1935"],
        "http": ["8080"],
        "api": [str(API)],
        "srt": ["10080"],
        "rtc": [f"udp://0.0.0.0:{RTC}"],
        "device_id": "origin-1",
    }
    fields = {"Content-Type": "application/json"}
    while True:
        try:
            request = urllib.request.Request(url, json.dumps(said).encode(), fields)
            with urllib.request.urlopen(request, timeout=5) as reply:
                print(f"registered {reply.status} {json.loads(reply.read())['code']}")
        except urllib.error.HTTPError as refused:
            print(f"refused {refused.code}")
        time.sleep(HEARTBEAT)


def main() -> None:
    """Runs until it is killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ip", help="where it is")
    parser.add_argument("heartbeat", help="URL to register at")
    choice = parser.parse_args()
    server = http.server.ThreadingHTTPServer((choice.ip, API), Api)
    threading.Thread(target=media, args=(choice.ip,), daemon=True).start()
    threading.Thread(target=beat, args=(choice.heartbeat, choice.ip), daemon=True).start()
    server.serve_forever()


main()
