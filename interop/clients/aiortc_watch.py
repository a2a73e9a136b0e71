"""Watches with aiortc: says what it decoded once pictures and sound go on arriving, then waits for SIGTERM or Ctrl+C."""

import array
import asyncio
import itertools
import signal
import time

from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from whip import Session, options

PICTURES = 60
"""Two seconds: more than what came with the first keyframe."""


async def pictures(track: MediaStreamTrack) -> None:
    """Says the size of the pictures after enough of them, and of each ten how many there are and the longest pause."""
    last = time.monotonic()
    for count in itertools.count(1):
        picture = await track.recv()
        if count == PICTURES:
            print(f"video {picture.width}x{picture.height}")
        if count % 10 == 1:
            longest = 0.0
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
        if count % 10 == 0:
            print(f"pictures {count} pause {longest * 1000:.0f}")


async def sound(track: MediaStreamTrack) -> None:
    """Says the sample rate once a second was heard and it was not silence."""
    heard = loudest = 0.0
    said = False
    while True:
        frame = await track.recv()
        heard += frame.samples / frame.sample_rate
        loudest = max(loudest, *array.array("h", bytes(frame.planes[0])))
        if not said and heard > 1 and loudest > 1000:
            said = True
            print(f"audio {frame.sample_rate} Hz")


WATCH = {"audio": sound, "video": pictures}


async def main() -> None:
    """One session, from offer to DELETE."""
    choice = options(__doc__)
    stop = asyncio.Event()
    for end in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(end, stop.set)
    pc = RTCPeerConnection()
    pc.on("connectionstatechange", lambda: print(f"state {pc.connectionState}"))
    pc.addTransceiver("audio", direction="recvonly")
    pc.addTransceiver("video", direction="recvonly")
    await pc.setLocalDescription()
    session = await asyncio.to_thread(Session.create, choice.url, pc.localDescription.sdp, choice.token)
    async with asyncio.TaskGroup() as group:
        tasks: list[asyncio.Task[None]] = []
        pc.on("track", lambda track: tasks.append(group.create_task(WATCH[track.kind](track))))
        await pc.setRemoteDescription(RTCSessionDescription(session.answer, "answer"))
        await stop.wait()
        for task in tasks:
            task.cancel()
    await asyncio.to_thread(session.delete)
    await pc.close()


asyncio.run(main())
