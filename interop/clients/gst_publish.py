"""Publishes moving test pictures and a tone, or no sound, with GStreamer's webrtcbin until SIGTERM or Ctrl+C."""

from gst import Gst, Peer
from whip import options

VIDEO = {
    "H264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=60 ! video/x-h264,profile=constrained-baseline"
    " ! rtph264pay config-interval=-1 aggregate-mode=zero-latency",
    "H265": "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=60 ! rtph265pay config-interval=-1",
    "VP8": "vp8enc deadline=1 keyframe-max-dist=60 ! rtpvp8pay picture-id-mode=15-bit",
    "VP9": "vp9enc deadline=1 cpu-used=8 keyframe-max-dist=60 ! rtpvp9pay picture-id-mode=15-bit",
}
AUDIO = {
    "OPUS": ("opusenc ! rtpopuspay", 97),
    "PCMU": ("mulawenc ! rtppcmupay max-ptime=20000000", 0),
    "PCMA": ("alawenc ! rtppcmapay max-ptime=20000000", 8),
    "G722": ("audioconvert ! audioresample ! avenc_g722 ! rtpg722pay", 9),
}

NONE = "none"

choice = options(__doc__, video=list(VIDEO), audio=[*AUDIO, NONE])
sound = ""
if choice.audio != NONE:
    encode, payload = AUDIO[choice.audio]
    sound = f"""
    audiotestsrc is-live=true wave=sine ! queue
    ! {encode} ! application/x-rtp,media=audio,encoding-name={choice.audio},payload={payload} ! webrtc.
    """
peer = Peer(
    Gst.parse_launch(f"""
    webrtcbin name=webrtc bundle-policy=max-bundle
    videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! queue
    ! {VIDEO[choice.video]} ! application/x-rtp,media=video,encoding-name={choice.video},payload=96 ! webrtc.
    {sound}
    """),
    choice.url,
    choice.token,
)
peer.run()
