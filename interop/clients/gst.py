"""A webrtcbin in a GLib loop: what the two GStreamer clients do alike."""

import signal

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402
from whip import Session  # noqa: E402

Gst.init(None)


class Peer:
    """One session: offer with all candidates, POST, answer, DELETE on SIGTERM or Ctrl+C."""

    def __init__(self, pipeline: Gst.Pipeline, url: str, token: str | None) -> None:
        """Takes a pipeline that has a webrtcbin named `webrtc`, ready to offer."""
        self.pipeline, self.url, self.token = pipeline, url, token
        self.webrtc = pipeline.get_by_name("webrtc")
        self.session: Session | None = None
        self.loop = GLib.MainLoop()
        self.failure: str | None = None
        self.webrtc.connect("on-negotiation-needed", lambda _: self._offer())
        self.webrtc.connect("notify::ice-gathering-state", lambda *_: GLib.idle_add(self._post))
        self.webrtc.connect("notify::connection-state", lambda *_: self._state())
        bus = pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", lambda _, message: self._fail(message.parse_error().gerror.message))

    def run(self) -> None:
        """Plays until SIGTERM or Ctrl+C, then deletes the session."""
        for end in (signal.SIGTERM, signal.SIGINT):
            GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, end, self._stop)
        self.pipeline.set_state(Gst.State.PLAYING)
        self.loop.run()
        if self.session:
            self.session.delete()
        self.pipeline.set_state(Gst.State.NULL)
        if self.failure:
            raise SystemExit(self.failure)

    def _stop(self) -> bool:
        self.loop.quit()
        return GLib.SOURCE_CONTINUE

    def _fail(self, why: str) -> None:
        self.failure = why
        self.loop.quit()

    def _state(self) -> None:
        print(f"state {self.webrtc.props.connection_state.value_nick}")

    def _offer(self) -> None:
        def made(promise: Gst.Promise) -> None:
            reply = promise.get_reply()
            self.webrtc.emit("set-local-description", reply.get_value("offer"), None)

        self.webrtc.emit("create-offer", None, Gst.Promise.new_with_change_func(made))

    def _post(self) -> None:
        if self.session or self.webrtc.props.ice_gathering_state != GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            return
        offer = self.webrtc.props.local_description.sdp.as_text()
        self.session = Session.create(self.url, offer, self.token)
        _, sdp = GstSdp.SDPMessage.new_from_text(self.session.answer)
        answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)

        def applied(promise: Gst.Promise) -> None:
            reply = promise.get_reply()
            if reply and reply.has_field("error"):
                self._fail(f"answer refused: {reply.get_value('error').message}")

        self.webrtc.emit("set-remote-description", answer, Gst.Promise.new_with_change_func(applied))
