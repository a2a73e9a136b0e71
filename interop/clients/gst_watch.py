"""Watches with GStreamer's webrtcbin: says what it decoded once pictures and sound go on arriving, until SIGTERM or Ctrl+C."""

from gst import Gst, GstWebRTC, Peer
from whip import options

BUFFERS = 60
"""Pictures or pieces of sound, over a second: more than what comes with the first keyframe."""

VIDEO = {
    "H264": "rtph264depay ! avdec_h264",
    "H265": "rtph265depay ! avdec_h265",
    "VP8": "rtpvp8depay ! vp8dec",
    "VP9": "rtpvp9depay ! vp9dec",
}
AUDIO = {
    "OPUS": ("rtpopusdepay ! opusdec", 97, 48_000),
    "PCMU": ("rtppcmudepay ! mulawdec", 0, 8_000),
    "PCMA": ("rtppcmadepay ! alawdec", 8, 8_000),
    "G722": ("rtpg722depay ! avdec_g722", 9, 8_000),
}


choice = options(__doc__, video=list(VIDEO), audio=list(AUDIO))
audio, payload, rate = AUDIO[choice.audio]
decoders = {"video": VIDEO[choice.video], "audio": f"{audio} ! audioconvert"}


def decode(_: Gst.Element, pad: Gst.Pad) -> None:
    """Decodes the track that arrived, and says what came out after enough of it."""
    kind = pad.get_current_caps().get_structure(0)["media"]
    sink = Gst.parse_bin_from_description(f"{decoders[kind]} ! fakesink name=sink signal-handoffs=true", True)
    seen = 0

    def count(_: Gst.Element, buffer: Gst.Buffer, out: Gst.Pad) -> None:
        nonlocal seen
        # Silence is all zeros.
        seen += any(buffer.extract_dup(0, buffer.get_size()))
        if seen == BUFFERS:
            caps = out.get_current_caps().get_structure(0)
            print(f"video {caps['width']}x{caps['height']}" if kind == "video" else f"audio {caps['rate']} Hz")

    sink.get_by_name("sink").connect("handoff", count)
    pipeline.add(sink)
    sink.sync_state_with_parent()
    pad.link(sink.get_static_pad("sink"))


pipeline = Gst.Pipeline.new()
webrtc = Gst.ElementFactory.make("webrtcbin", "webrtc")
webrtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
webrtc.connect("pad-added", decode)
pipeline.add(webrtc)
peer = Peer(pipeline, choice.url, choice.token)
for caps in (
    f"media=video,encoding-name={choice.video},payload=96,clock-rate=90000",
    f"media=audio,encoding-name={choice.audio},payload={payload},clock-rate={rate}",
):
    receive = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
    webrtc.emit("add-transceiver", receive, Gst.Caps.from_string(f"application/x-rtp,{caps}"))
peer.run()
