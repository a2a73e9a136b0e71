"""Publishes moving test pictures and a tone with aiortc until SIGTERM or Ctrl+C."""

import asyncio
import signal

from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer
from whip import Session, options

SOURCE = "testsrc2=size=320x240:rate=30[out0];sine=frequency=440:sample_rate=48000[out1]"


async def main() -> None:
    """One session, from offer to DELETE."""
    choice = options(__doc__, video=["H264", "VP8"], audio=["opus", "PCMU", "PCMA", "G722"])
    stop = asyncio.Event()
    for end in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(end, stop.set)
    player = MediaPlayer(SOURCE, format="lavfi")
    pc = RTCPeerConnection()
    pc.on("connectionstatechange", lambda: print(f"state {pc.connectionState}"))
    for track, codec in ((player.audio, choice.audio), (player.video, choice.video)):
        pc.addTrack(track)
        known = RTCRtpSender.getCapabilities(track.kind).codecs
        chosen = [one for one in known if one.mimeType == f"{track.kind}/{codec}" or one.mimeType == "video/rtx"]
        pc.getTransceivers()[-1].setCodecPreferences(chosen)
    await pc.setLocalDescription()
    session = await asyncio.to_thread(Session.create, choice.url, pc.localDescription.sdp, choice.token)
    await pc.setRemoteDescription(RTCSessionDescription(session.answer, "answer"))
    await stop.wait()
    await asyncio.to_thread(session.delete)
    await pc.close()


asyncio.run(main())
