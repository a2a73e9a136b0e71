//! What the API shows of streams and sessions. Fields are added here, never taken away or given another meaning.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use utoipa::ToSchema;
use whipstitch_ffmpeg::{Inlet, Input};
use whipstitch_stream::stats::{StreamStats, TrackStats};

use crate::media::{ClosedSession, Role, SessionReport, StreamReport};

/// `GET /api/v3/webrtc/stats` (S3-R3).
#[derive(Serialize, ToSchema)]
pub(super) struct Numbers {
    /// Streams somebody publishes or watches.
    pub(super) active_streams: usize,
    /// Sessions that watch.
    pub(super) active_peers: usize,
    /// Sessions that publish.
    pub(super) active_publishers: usize,
    /// UDP ports of media: the one that all WebRTC sessions share (one for each address family), and those that are leased
    /// to readers and senders of plain RTP, or fixed for them, RTCP included.
    pub(super) udp_ports_in_use: usize,
}

/// `/api/v1/streams/{stream}/rtp`: where plain RTP is taken.
#[derive(Serialize, ToSchema)]
pub(super) struct RtpInput {
    stream: String,
    /// The session that feeds the stream, for `/api/v1/sessions/{session}`; of an input of the configuration only while
    /// somebody sends.
    #[schema(pattern = "^[0-9a-f]{16}$")]
    session: Option<String>,
    /// The configuration has opened it (`[[rtp_input]]`).
    configured: bool,
    /// The address to send to.
    #[schema(value_type = String)]
    address: IpAddr,
    video: Option<RtpPorts>,
    audio: Option<RtpPorts>,
}

/// Where one track is taken.
#[derive(Serialize, ToSchema)]
struct RtpPorts {
    codec: &'static str,
    payload_type: u8,
    /// UDP port of RTP.
    rtp: u16,
    /// UDP port of RTCP, the next one.
    rtcp: u16,
}

impl RtpInput {
    /// An input that is reached at this address.
    pub(super) fn of(input: &Input, address: IpAddr) -> Self {
        let ports = |inlet: Inlet| RtpPorts {
            codec: inlet.codec.name(),
            payload_type: inlet.pt,
            rtp: inlet.port,
            rtcp: inlet.port + 1,
        };
        Self {
            stream: input.stream.to_string(),
            session: input.session.map(|session| session.to_string()),
            configured: input.configured,
            address,
            video: input.tracks.video.map(ports),
            audio: input.tracks.audio.map(ports),
        }
    }
}

/// `GET /api/v1/streams`.
#[derive(Serialize, ToSchema)]
pub(super) struct Streams {
    pub(super) streams: Vec<Stream>,
}

/// One stream.
#[derive(Serialize, ToSchema)]
pub(super) struct Stream {
    name: String,
    /// Whether it can be watched now.
    live: bool,
    /// Who publishes it, and what.
    publisher: Option<Publisher>,
    /// Who watches it.
    subscribers: Vec<Session>,
}

/// `GET /api/v1/sessions`.
#[derive(Serialize, ToSchema)]
pub(super) struct Sessions {
    pub(super) sessions: Vec<Listed>,
}

/// One session where its stream does not stand around it.
#[derive(Serialize, ToSchema)]
pub(super) struct Listed {
    stream: String,
    role: ShownRole,
    #[serde(flatten)]
    session: Session,
    /// What a publisher sends.
    video: Option<Track>,
    audio: Option<Track>,
    /// RFC 3339, UTC; of a session that has ended.
    closed_at: Option<String>,
    /// Why it ended: `by_peer`, `by_request`, `ice_timeout`, `dtls_failure`, `idle`, `drained`, `replaced`,
    /// `codec_changed`, `stream_ended`, `protocol` or `broken`.
    close_reason: Option<&'static str>,
}

/// The two roles towards a stream.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Role)]
enum ShownRole {
    Publisher,
    Subscriber,
}

/// How far a session has come.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    /// The offer is answered; media cannot flow yet.
    Connecting,
    /// Media can flow.
    Connected,
    /// It has ended.
    Closed,
}

/// Who publishes a stream, and what.
#[derive(Serialize, ToSchema)]
struct Publisher {
    #[serde(flatten)]
    session: Session,
    video: Option<Track>,
    audio: Option<Track>,
}

/// One session. With a publisher media comes in and requests for resends and keyframes go out; with a subscriber it is
/// the other way round.
#[derive(Serialize, ToSchema)]
struct Session {
    /// 16 hex digits, for `DELETE /api/v1/sessions/{session}`.
    #[schema(pattern = "^[0-9a-f]{16}$")]
    session: String,
    state: State,
    /// When the offer was answered: RFC 3339, UTC, as all times here.
    since: String,
    /// Whether media can flow.
    connected: bool,
    /// When the DTLS handshake was done.
    connected_at: Option<String>,
    /// When the first packet of media came or went.
    first_media_at: Option<String>,
    /// Milliseconds from the answer to that.
    first_media_ms: Option<f64>,
    /// Address and port of the client's media, once known.
    #[schema(value_type = Option<String>)]
    remote: Option<SocketAddr>,
    /// What it speaks: `webrtc`, `rtsp` or `rtp` (plain).
    protocol: &'static str,
    /// What carries it: `udp` or `tcp`.
    transport: Option<&'static str>,
    /// The SRTP protection profile, by its name in RFC 5764 or 7714.
    srtp: Option<&'static str>,
    /// What the client called itself when it brought its offer.
    user_agent: Option<String>,
    codecs: Vec<&'static str>,
    /// RTP packets received from a publisher or sent to a subscriber.
    packets: u64,
    /// Their bytes.
    bytes: u64,
    /// Bits a second lately.
    bitrate: Option<u64>,
    /// Packets lost on the way; one that comes late is taken back.
    lost: u64,
    /// Share of packets lost since the beginning, 0 to 1.
    loss: f64,
    /// Share of packets lost by the last receiver report, 0 to 1.
    recent_loss: Option<f64>,
    /// Interarrival jitter in milliseconds, by the last receiver report.
    jitter_ms: Option<f64>,
    /// Round-trip time in milliseconds, once known.
    rtt_ms: Option<f64>,
    /// NACKs.
    nacks: u64,
    /// Packets sent again, with RTX or without.
    resent: u64,
    /// Packets that came or went as RTX.
    rtx: u64,
    plis: u64,
    firs: u64,
    /// PLIs and FIRs.
    keyframe_requests: u64,
}

/// One track of a publisher.
#[derive(Serialize, ToSchema)]
struct Track {
    codec: &'static str,
    /// Why WHEP viewers do not get this track, where no browser has its codec.
    unplayable: Option<&'static str>,
    /// Pixels, once known; video only.
    width: Option<u16>,
    height: Option<u16>,
    /// Pictures, or audio frames, a second.
    fps: f32,
    /// Payload bits a second.
    bitrate: u64,
    packets: u64,
    /// Payload bytes.
    bytes: u64,
    lost: u64,
    /// Packets dropped because they came again, broke their format, or came much too late.
    dropped: u64,
    /// Key pictures at which a decoder may start.
    keyframes: u64,
    /// Milliseconds between the last two of them; video only.
    keyframe_interval_ms: Option<u64>,
    /// Whether the publisher sends B-frames, which browsers play jerkily.
    b_frames: bool,
}

/// What is said of a codec that WebRTC does not have, which is AAC.
const UNPLAYABLE: &str = "no browser takes AAC over WebRTC; RTSP players do; publish Opus";

/// The same moment on both clocks.
#[derive(Clone, Copy)]
pub(super) struct Now {
    monotonic: Instant,
    wall: SystemTime,
}

impl Now {
    pub(super) fn read() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    fn wall_of(self, then: Instant) -> String {
        let wall = self.wall - self.monotonic.saturating_duration_since(then);
        humantime::format_rfc3339_seconds(wall).to_string()
    }
}

/// A stream as it is now.
pub(super) fn stream(report: StreamReport, now: Now) -> Stream {
    let [video, audio] = tracks(report.stats.as_ref());
    let publisher = report.publisher.map(|publisher| {
        let session = Session { bitrate: bitrate(&video, &audio), ..session(&publisher, now) };
        Publisher { session, video, audio }
    });
    Stream {
        name: report.key.to_string(),
        live: report.live,
        publisher,
        subscribers: report.subscribers.iter().map(|subscriber| session(subscriber, now)).collect(),
    }
}

/// All sessions of a stream.
pub(super) fn listed(report: StreamReport, now: Now) -> impl Iterator<Item = (SessionReport, Listed)> {
    let publisher = report.publisher.map(|publisher| {
        let [video, audio] = tracks(report.stats.as_ref());
        let shown = plain(&publisher, now);
        let session = Session { bitrate: bitrate(&video, &audio), ..shown.session };
        let shown = Listed { session, video, audio, ..shown };
        (publisher, shown)
    });
    let subscribers = report.subscribers.into_iter().map(move |subscriber| {
        let shown = plain(&subscriber, now);
        (subscriber, shown)
    });
    publisher.into_iter().chain(subscribers)
}

/// A session that has ended.
pub(super) fn closed(closed: &ClosedSession, now: Now) -> Listed {
    let shown = plain(&closed.report, now);
    Listed {
        session: Session { state: State::Closed, connected: false, bitrate: None, ..shown.session },
        closed_at: Some(now.wall_of(closed.at)),
        close_reason: Some(closed.reason),
        ..shown
    }
}

fn plain(report: &SessionReport, now: Now) -> Listed {
    let role = match report.role {
        Role::Publisher => ShownRole::Publisher,
        Role::Subscriber => ShownRole::Subscriber,
    };
    Listed {
        stream: report.stream.to_string(),
        role,
        session: session(report, now),
        video: None,
        audio: None,
        closed_at: None,
        close_reason: None,
    }
}

fn session(report: &SessionReport, now: Now) -> Session {
    let (stats, counters) = (&report.stats, &report.stats.counters);
    Session {
        session: report.session.to_string(),
        state: if stats.connected.is_some() { State::Connected } else { State::Connecting },
        since: now.wall_of(stats.since),
        connected: stats.connected.is_some(),
        connected_at: stats.connected.map(|at| now.wall_of(at)),
        first_media_at: stats.first_media.map(|at| now.wall_of(at)),
        first_media_ms: stats.first_media.map(|at| millis(at.saturating_duration_since(stats.since))),
        remote: stats.remote,
        protocol: stats.protocol,
        transport: stats.transport,
        srtp: stats.srtp,
        user_agent: stats.user_agent.clone(),
        codecs: stats.codecs.iter().map(|codec| codec.name()).collect(),
        packets: counters.packets,
        bytes: counters.bytes,
        bitrate: stats.bitrate,
        lost: counters.lost,
        loss: share(counters.lost, counters.packets),
        recent_loss: stats.loss.map(f64::from),
        jitter_ms: stats.jitter.map(millis),
        rtt_ms: stats.rtt.map(millis),
        nacks: counters.nacks,
        resent: counters.resent,
        rtx: counters.rtx,
        plis: counters.plis,
        firs: counters.firs,
        keyframe_requests: counters.plis + counters.firs,
    }
}

fn tracks(stats: Option<&StreamStats>) -> [Option<Track>; 2] {
    let tracks = stats.map(|stats| &stats.tracks);
    [tracks.and_then(|tracks| tracks.video.as_ref()), tracks.and_then(|tracks| tracks.audio.as_ref())]
        .map(|stats| stats.map(track))
}

fn bitrate(video: &Option<Track>, audio: &Option<Track>) -> Option<u64> {
    [video, audio].into_iter().flatten().map(|track| track.bitrate).reduce(|one, other| one + other)
}

fn track(stats: &TrackStats) -> Track {
    Track {
        codec: stats.codec.name(),
        unplayable: (!stats.codec.is_in_webrtc()).then_some(UNPLAYABLE),
        width: stats.size.map(|size| size.0),
        height: stats.size.map(|size| size.1),
        fps: (stats.fps * 10.0).round() / 10.0,
        bitrate: stats.bitrate,
        packets: stats.packets,
        bytes: stats.bytes,
        lost: stats.lost,
        dropped: stats.duplicates + stats.broken + stats.misplaced,
        keyframes: stats.keyframes,
        keyframe_interval_ms: stats.keyframe_interval.map(|interval| interval.as_millis() as u64),
        b_frames: stats.b_frames,
    }
}

/// In tenths.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

fn share(lost: u64, arrived: u64) -> f64 {
    let all = lost.saturating_add(arrived);
    if all == 0 { 0.0 } else { lost as f64 / all as f64 }
}
