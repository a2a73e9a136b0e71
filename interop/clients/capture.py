"""Says each connectivity check that leaves this machine for a UDP port: from which port, and its bytes."""

import argparse
import socket
import struct

ETH_P_ALL = 0x0003
UDP = 17


def main() -> None:
    """Looks at all frames until it is killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int, help="where checks go to")
    choice = parser.parse_args()
    frames = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
    frames.bind(("eth0", ETH_P_ALL))
    print("ready")
    while True:
        packet, (_, _, kind, *_) = frames.recvfrom(2000)
        start = (packet[0] & 0x0F) * 4
        if kind != socket.PACKET_OUTGOING or packet[0] >> 4 != 4 or packet[9] != UDP:
            continue
        source, destination, length, _ = struct.unpack_from("!HHHH", packet, start)
        datagram = packet[start + 8 : start + length]
        if destination == choice.port and datagram[:2] == b"\x00\x01":
            print(f"check {source} {datagram.hex()}")


main()
