"""Publishes moving test pictures and a tone with FFmpeg's own WHIP muxer until SIGTERM; a flash and a beep every second.

The muxer does everything: HTTP, ICE, DTLS, SRTP. PyAV brings the libraries of FFmpeg 8; here is only what its command
line would do with `-re -f lavfi … -c:v libx264 … -c:a libopus … -f whip`.
"""

import signal
import threading
import time

import av
from whip import options

SOURCE = (
    "testsrc2=size=320x240:rate=30,format=yuv420p,"
    "drawbox=color=white:t=fill:enable='lt(mod(n,30),2)'[out0];"
    "sine=frequency=440:beep_factor=4:sample_rate=48000[out1]"
)
VIDEO = {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline", "bf": "0", "g": "60"}


def main() -> None:
    """One session, at the pictures' own pace; closing the muxer deletes it."""
    choice = options(__doc__)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    settings = {"authorization": choice.token} if choice.token else {}
    with (
        av.open(SOURCE, format="lavfi") as source,
        av.open(choice.url, "w", format="whip", options=settings) as whip,
    ):
        video = whip.add_stream("libx264", 30, width=320, height=240, pix_fmt="yuv420p", options=VIDEO)
        audio = whip.add_stream("libopus", 48_000, layout="stereo", bit_rate=64_000)
        stereo = av.AudioResampler("s16", "stereo", 48_000)
        began: float | None = None
        for frame in source.decode():
            if isinstance(frame, av.AudioFrame):
                packets = [packet for part in stereo.resample(frame) for packet in audio.encode(part)]
            else:
                packets = video.encode(frame)
            whip.mux(packets)
            if began is None:
                began = time.monotonic()
                print("publishing")
            if stop.wait(max(0.0, began + frame.time - time.monotonic())):
                break
    print("deleted")


main()
