"""Connectivity checks by hand, for clients and origins that are nothing else (RFC 8445)."""

from aioice import stun

Address = tuple[str, int]


def check(username: str, key: bytes | None) -> bytes:
    """A check as full-ICE clients send it, which asks for the address to be moved; without a key its integrity is missing."""
    attributes = {"USERNAME": username, "PRIORITY": 1, "ICE-CONTROLLING": 1, "USE-CANDIDATE": None}
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, attributes=attributes)
    if key is None:
        message.add_fingerprint()
    else:
        message.add_message_integrity(key)
    return bytes(message)


def address(text: str) -> Address:
    """`IP:PORT`"""
    ip, port = text.rsplit(":", 1)
    return ip, int(port)


def attribute(sdp: str, name: str) -> str:
    """The first value of an attribute of a description."""
    return next(line for line in sdp.splitlines() if line.startswith(f"a={name}:")).split(":", 1)[1]
