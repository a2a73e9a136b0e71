"""Bodies for schemathesis: the offers of real clients, whole and damaged, and text that is none.

A run names this module in SCHEMATHESIS_HOOKS, and the folder of offers in OFFERS.
"""

import os
import pathlib

import schemathesis
from hypothesis import strategies as st

OFFERS = [path.read_bytes() for path in sorted(pathlib.Path(os.environ["OFFERS"]).glob("*.sdp"))]
FRAGMENT = b"a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"


@st.composite
def damaged(draw, whole):
    """A run of bytes is replaced by others, or by nothing."""
    text = draw(whole)
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 200)))
    return text[:start] + draw(st.binary(max_size=40)) + text[end:]


def bodies(whole):
    return st.one_of(whole, damaged(whole), st.binary(max_size=200))


schemathesis.openapi.media_type("application/sdp", bodies(st.sampled_from(OFFERS)))
schemathesis.openapi.media_type("application/trickle-ice-sdpfrag", bodies(st.just(FRAGMENT)))


@schemathesis.serializer("application/sdp", "application/trickle-ice-sdpfrag")
def as_it_is(_context, value):
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
