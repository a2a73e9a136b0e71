//! What processes have to do with streams: addresses and credentials for their children, which streams are theirs alone to
//! feed, and which wait for them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{info, warn};
use whipstitch_ffmpeg::process::{Ingest, Leg, Legs, Order, Transport, Wiring};
use whipstitch_ffmpeg::{Inlet, Inputs, Wanted};
use whipstitch_media::sdp::Section;
use whipstitch_media::{Codec, Kind};
use whipstitch_stream::directory::{Held, Hold};
use whipstitch_stream::running::Expected;
use whipstitch_stream::{Directory, Running, StreamKey};
use whipstitch_webrtc::Gateway;

use crate::access::Right;
use crate::issued::{Credential, Issued};

/// How often it is looked whether what a child reads has a publisher: often against times a child may be silent, which are
/// seconds.
const LOOK: Duration = Duration::from_millis(250);

/// The joints between processes and streams. Clones are the same.
#[derive(Clone)]
pub(crate) struct Wires {
    gateway: Gateway,
    inputs: Inputs,
    issued: Issued,
    /// Where children find us; `None`: not at all.
    rtsp: Option<SocketAddr>,
    http: SocketAddr,
    /// Processes that are ordered to run.
    ordered: Arc<Mutex<HashMap<String, Ordered>>>,
}

/// A process that is ordered to run.
struct Ordered {
    legs: Legs,
    /// What is kept for it; nothing once its last child has ended.
    kept: Option<Kept>,
}

/// What is kept for a process of which a child is there, or is to come.
struct Kept {
    /// What it feeds, as far as no other process that is to run does.
    holds: HashMap<StreamKey, Hold>,
    /// The publishers of all its streams.
    _expected: Vec<Expected>,
}

impl std::fmt::Debug for Wires {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wires").field("rtsp", &self.rtsp).field("http", &self.http).finish_non_exhaustive()
    }
}

impl Wires {
    /// For a server that listens there.
    pub(crate) fn new(
        gateway: Gateway,
        inputs: Inputs,
        issued: Issued,
        rtsp: Option<SocketAddr>,
        http: SocketAddr,
    ) -> Wires {
        Wires { gateway, inputs, issued, rtsp, http, ordered: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Ordered>> {
        // Nothing in here panics half-way through a change.
        self.ordered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The payload types that a process wants its own stream with.
    fn payload_types(&self, process: &str, stream: &StreamKey) -> Vec<(&'static str, u8)> {
        let all = self.lock();
        let ingest = all.get(process).and_then(|ordered| ordered.legs.ingest.as_ref());
        let ingest = ingest.filter(|ingest| ingest.stream == stream.as_str());
        let wanted = |ingest: &Ingest| [("video_pt", ingest.video_pt), ("audio_pt", ingest.audio_pt)];
        ingest.map(wanted).into_iter().flatten().filter_map(|(name, pt)| Some((name, pt?))).collect()
    }

    fn running(&self) -> &Running {
        self.gateway.plane().running()
    }

    /// Holds a stream that a process feeds, for this start and as long as it is ordered to run.
    fn hold(&self, process: &str, stream: &StreamKey) -> Result<Hold, String> {
        let directory = self.gateway.directory();
        let held = |Held(other)| format!("the stream \"{stream}\" is fed by the process {other:?}, which is to run");
        let hold = directory.hold(stream, process).map_err(held)?;
        // Another process may have had it when this one was ordered to run.
        if let Some(Ordered { kept: Some(kept), .. }) = self.lock().get_mut(process)
            && !kept.holds.contains_key(stream)
            && let Ok(hold) = directory.hold(stream, process)
        {
            kept.holds.insert(stream.clone(), hold);
        }
        Ok(hold)
    }

    /// Keeps for a process what it feeds and reads.
    fn keep(&self, process: &str, legs: &Legs) -> Kept {
        let hold = |stream: StreamKey| match self.gateway.directory().hold(&stream, process) {
            Ok(hold) => Some((stream, hold)),
            Err(error) => {
                warn!(process, %stream, %error, "a process cannot feed a stream");
                None
            }
        };
        let all = legs.fed().chain(legs.published()).chain(legs.reads.iter().map(String::as_str));
        Kept {
            holds: keys(legs.fed()).filter_map(hold).collect(),
            _expected: keys(all).map(|stream| self.running().expect(&stream)).collect(),
        }
    }

    /// Ends what others have of streams that are a process's no more: publishers for it, viewers of what it fed.
    fn close(&self, legs: &Legs) {
        for stream in keys(legs.published()) {
            self.gateway.close_publisher(&stream);
        }
        keys(legs.fed()).for_each(|stream| self.gateway.close_subscribers(&stream));
    }

    fn credential(&self, process: &str, right: Right, stream: &StreamKey) -> Result<Credential, String> {
        self.issued.issue(process, right, stream).ok_or_else(|| "no credential could be made".to_owned())
    }

    /// A description cannot be had before the child knows what it sends, so it is said here: H.264 and Opus, which is what
    /// outputs have by default. Its muxer takes one track, so there are two behind a `tee`; the one that has nothing is left out.
    fn write_rtp(&self, process: &str, stream: StreamKey, hold: Hold) -> Result<Leg, String> {
        let sections = vec![Section::of(Codec::H264, "packetization-mode=1"), Section::of(Codec::Opus, "")];
        let wanted = Wanted { stream, sections, local: Ipv4Addr::LOCALHOST.into() };
        let configured = self
            .inputs
            .configure_for(wanted, Some(process))
            .map_err(|error| format!("no RTP ports for it: {error}"))?;
        let slaves: Vec<String> = [(Kind::Video, 'v'), (Kind::Audio, 'a')]
            .into_iter()
            .filter_map(|(kind, letter)| {
                let Inlet { port, pt, .. } = configured.input().tracks[kind]?;
                Some(format!(
                    "[select={letter}:onfail=ignore:f=rtp:payload_type={pt}]rtp://127.0.0.1:{port}?pkt_size=1200"
                ))
            })
            .collect();
        let (url, options) = (slaves.join("|"), words(&["-f", "tee"]));
        Ok(Leg { url, options, secrets: Vec::new(), waiting: None, kept: Box::new((configured, hold)) })
    }

    /// Where a child finds a stream by RTSP, with its credential.
    fn rtsp_url(&self, stream: &StreamKey, credential: &Credential) -> Result<String, String> {
        let listens = self.rtsp.ok_or("this server has no RTSP listener (rtsp = \"off\"), which the process needs")?;
        let at = local(listens).ok_or_else(|| {
            format!("RTSP listens at {listens} only, where processes of this machine do not count as such: use a loopback address or 0.0.0.0")
        })?;
        Ok(format!("rtsp://{at}/live/{stream}?process={}", credential.reveal()))
    }
}

/// How this machine reaches a listener over loopback.
fn local(listens: SocketAddr) -> Option<SocketAddr> {
    let ip = match listens.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    ip.to_canonical().is_loopback().then(|| SocketAddr::new(ip, listens.port()))
}

fn key(stream: &str) -> Result<StreamKey, String> {
    StreamKey::parse(stream).map_err(|error| format!("{stream:?} cannot be the name of a stream: {error}"))
}

/// True while nobody publishes what is read, or nothing comes of who does, as long as somebody listens.
fn waiting(running: Running, directory: Directory, stream: StreamKey) -> watch::Receiver<bool> {
    let is_missing = move || running.get(&stream).is_none() || directory.is_silent(&stream, Instant::now());
    let (tells, told) = watch::channel(is_missing());
    tokio::spawn(async move {
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                _ = look.tick() => {
                    let missing = is_missing();
                    tells.send_if_modified(|was| std::mem::replace(was, missing) != missing);
                }
                () = tells.closed() => return,
            }
        }
    });
    told
}

/// What the log says of the stream that is published for a process (S2-R5, S2-R7).
fn tell(process: &str, before: Option<&Ingest>, after: Option<&Ingest>) {
    if before.map(|ingest| &ingest.stream) == after.map(|ingest| &ingest.stream) {
        return;
    }
    if let Some(Ingest { stream, .. }) = before {
        info!(id = process, %stream, "WebRTC WHIP ingest torn down for process");
    }
    if let Some(Ingest { stream, transport, video_pt, audio_pt, .. }) = after {
        info!(id = process, %stream, ?transport, video_pt, audio_pt, "WebRTC WHIP ingest registered for process");
    }
}

/// Those of these that can be the names of streams.
fn keys<'a>(names: impl Iterator<Item = &'a str>) -> impl Iterator<Item = StreamKey> {
    names.filter_map(|name| StreamKey::parse(name).ok())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

impl Wiring for Wires {
    fn read(&self, process: &str, stream: &str, transport: Transport) -> Result<Leg, String> {
        let stream = key(stream)?;
        let credential = self.credential(process, Right::Play, &stream)?;
        let secrets = vec![credential.reveal().to_owned()];
        let (url, options) = match transport {
            // Codecs are in the description. The rate of pictures is not, and muxers of a constant rate need it: FFmpeg looks at
            // 20 of them.
            Transport::Rtsp => (
                self.rtsp_url(&stream, &credential)?,
                words(&["-rtsp_transport", "tcp", "-analyzeduration", "1000000"]),
            ),
            Transport::Rtp => {
                let mut query = format!("process={}", credential.reveal());
                for (name, pt) in self.payload_types(process, &stream) {
                    query.push_str(&format!("&{name}={pt}"));
                }
                let at = local(self.http).ok_or("HTTP does not listen on loopback, which the process needs")?;
                (
                    format!("http://{at}/whip/{stream}/sdp?{query}"),
                    words(&["-protocol_whitelist", "http,tcp,udp,rtp", "-f", "sdp", "-analyzeduration", "1000000"]),
                )
            }
        };
        let waiting = Some(waiting(self.running().clone(), self.gateway.directory().clone(), stream));
        Ok(Leg { url, options, secrets, waiting, kept: Box::new(credential) })
    }

    fn write(&self, process: &str, stream: &str, transport: Transport) -> Result<Leg, String> {
        let stream = key(stream)?;
        let hold = self.hold(process, &stream)?;
        match transport {
            Transport::Rtsp => {
                let credential = self.credential(process, Right::Publish, &stream)?;
                let secrets = vec![credential.reveal().to_owned()];
                let url = self.rtsp_url(&stream, &credential)?;
                let options = words(&["-f", "rtsp", "-rtsp_transport", "tcp"]);
                Ok(Leg { url, options, secrets, waiting: None, kept: Box::new((credential, hold)) })
            }
            Transport::Rtp => self.write_rtp(process, stream, hold),
        }
    }

    fn ordered(&self, process: &str, legs: &Legs, order: Order) {
        // What was kept for it goes only once this is: what is its own before and after is so all the time.
        let (before, after) = match order {
            Order::Start => {
                let ordered = Ordered { legs: legs.clone(), kept: Some(self.keep(process, legs)) };
                (self.lock().insert(process.to_owned(), ordered), legs)
            }
            Order::Stop => (self.lock().remove(process), &Legs::default()),
        };
        tell(process, before.as_ref().and_then(|before| before.legs.ingest.as_ref()), after.ingest.as_ref());
        // A process that was not to run has nobody's publisher or viewers.
        if let Some(before) = &before {
            self.close(&before.legs.without(after));
        }
    }

    fn renamed(&self, process: &str, to: &str) {
        let mut all = self.lock();
        let Some(ordered) = all.remove(process) else { return };
        ordered.kept.iter().flat_map(|kept| kept.holds.values()).for_each(|hold| hold.give_to(to));
        all.insert(to.to_owned(), ordered);
    }

    fn begins(&self, process: &str) {
        let resting = |ordered: &&Ordered| ordered.kept.is_none();
        let Some(legs) = self.lock().get(process).filter(resting).map(|ordered| ordered.legs.clone()) else { return };
        let mut kept = Some(self.keep(process, &legs));
        // It may have been ordered to stop meanwhile: then nothing is kept. What is not taken goes after the lock.
        if let Some(ordered) = self.lock().get_mut(process).filter(|ordered| ordered.kept.is_none()) {
            ordered.kept = kept.take();
        }
    }

    fn rests(&self, process: &str) {
        let kept = self.lock().get_mut(process).and_then(|ordered| ordered.kept.take());
        drop(kept);
    }
}

#[cfg(test)]
mod tests {
    use whipstitch_ffmpeg::Ports;
    use whipstitch_ffmpeg::process::Wired;
    use whipstitch_stream::directory::{self, Refused};
    use whipstitch_stream::{SessionId, stream};
    use whipstitch_webrtc::{GatewayConfig, HalfOpen, WhenOffline};

    use super::*;
    use crate::access::{Decision, Policy, Subject};
    use crate::credentials::Token;

    fn wires(policy: &Policy, rtsp: Option<&str>) -> Wires {
        let gateway = Gateway::start(&GatewayConfig {
            rtc: "127.0.0.1:0".parse().unwrap(),
            workers: 1,
            directory: directory::Config::default(),
            stream: stream::Config::default(),
            when_offline: WhenOffline::Reject,
            half_open: HalfOpen::default(),
            lenient_precondition: false,
        });
        let gateway = gateway.unwrap();
        let ports = Ports::new(20_000..=20_399).unwrap();
        let inputs = Inputs::new(gateway.plane().clone(), gateway.directory().clone(), ports);
        let rtsp = rtsp.map(|address| address.parse().unwrap());
        Wires::new(gateway, inputs, policy.issued.clone(), rtsp, "0.0.0.0:8555".parse().unwrap())
    }

    fn legs() -> Legs {
        let transport = Transport::Rtsp;
        let stream = "cam".to_owned();
        let ingest = Ingest { stream, transport, video_pt: None, audio_pt: None, start_on_publish: false };
        let egress = Wired { stream: "cam-out".to_owned(), transport };
        Legs { ingest: Some(ingest), egress: Some(egress), reads: vec!["other".to_owned()], writes: Vec::new() }
    }

    #[tokio::test]
    async fn publishers_are_expected_while_the_process_is_to_run() {
        let wires = wires(&Policy::default(), None);
        let names = ["cam", "cam-out", "other"].map(|name| StreamKey::parse(name).unwrap());
        let expected = || names.each_ref().map(|name| wires.running().is_expected(name));
        for (order, are) in [(Order::Stop, false), (Order::Start, true), (Order::Start, true), (Order::Stop, false)] {
            wires.ordered("p", &legs(), order);
            assert_eq!(expected(), [are; 3]);
        }
    }

    #[tokio::test]
    async fn a_child_has_a_credential_of_its_own_for_its_stream_while_it_runs() {
        // Whether or not anybody else needs one.
        for token in [Some(Token::parse("owner").unwrap()), None] {
            let policy = Policy { token, ..Policy::default() };
            let wires = wires(&policy, Some("0.0.0.0:8554"));
            let decide = |right, stream: &str, text: &str| {
                let stream = StreamKey::parse(stream).unwrap();
                policy.decide_for_child(right, Some(&stream), true, text)
            };
            for (leg, right, wrong) in [
                (wires.read("p", "cam", Transport::Rtsp).unwrap(), Right::Play, Right::Publish),
                (wires.write("p", "cam", Transport::Rtsp).unwrap(), Right::Publish, Right::Play),
            ] {
                let [secret] = &leg.secrets[..] else { panic!("{:?}", leg.secrets) };
                assert_eq!(leg.url, format!("rtsp://127.0.0.1:8554/live/cam?process={secret}"));
                let good = decide(right, "cam", secret);
                assert_eq!((good.decision, good.subject), (Decision::Allowed, Some(Subject::Process("p".into()))));
                assert_eq!(decide(wrong, "cam", secret).decision, Decision::Insufficient);
                assert_eq!(decide(right, "other", secret).decision, Decision::Insufficient);
                let secret = secret.clone();
                drop(leg);
                assert_eq!(decide(right, "cam", &secret).decision, Decision::Wrong, "it is another start's");
            }
        }
        let wires = wires(&Policy::default(), Some("0.0.0.0:8554"));
        let leg = wires.read("p", "cam", Transport::Rtp).unwrap();
        assert_eq!(leg.url, format!("http://127.0.0.1:8555/whip/cam/sdp?process={}", leg.secrets[0]));
        let mut legs = legs();
        legs.ingest.as_mut().unwrap().video_pt = Some(102);
        wires.ordered("p", &legs, Order::Start);
        let wished = wires.read("p", "cam", Transport::Rtp).unwrap();
        assert!(wished.url.ends_with(&format!("?process={}&video_pt=102", wished.secrets[0])), "{}", wished.url);
        assert!(!wires.read("p", "other", Transport::Rtp).unwrap().url.contains("pt="), "another's stream");
        assert!(*leg.waiting.unwrap().borrow(), "nobody publishes");
        let leg = wires.write("p", "cam", Transport::Rtp).unwrap();
        let tracks: Vec<&str> = leg.url.split('|').collect();
        assert!(tracks[0].starts_with("[select=v:onfail=ignore:f=rtp:payload_type=96]rtp://127.0.0.1:2"), "{tracks:?}");
        assert!(
            tracks[1].starts_with("[select=a:onfail=ignore:f=rtp:payload_type=111]rtp://127.0.0.1:2"),
            "{tracks:?}"
        );
    }

    #[tokio::test]
    async fn what_a_process_feeds_is_nobody_elses_while_it_is_ordered_to_run() {
        let wires = wires(&Policy::default(), Some("127.0.0.1:8554"));
        let (out, cam) = (StreamKey::parse("cam-out").unwrap(), StreamKey::parse("cam").unwrap());
        let stranger = |stream: &StreamKey| {
            let slot = wires.gateway.directory().reserve_publisher(stream, SessionId(1), Instant::now());
            slot.map(drop)
        };
        wires.ordered("p", &legs(), Order::Stop);
        assert_eq!(stranger(&out), Ok(()));
        // No child runs yet, and between two of them none does.
        wires.ordered("p", &legs(), Order::Start);
        assert_eq!(stranger(&out), Err(Refused::Held));
        assert_eq!(
            (stranger(&cam), stranger(&StreamKey::parse("other").unwrap())),
            (Ok(()), Ok(())),
            "only what it feeds"
        );
        wires.ordered("p", &legs(), Order::Start);
        assert_eq!(stranger(&out), Err(Refused::Held));
        for transport in [Transport::Rtsp, Transport::Rtp] {
            let refused = wires.write("q", "cam-out", transport).err().unwrap();
            assert_eq!(refused, "the stream \"cam-out\" is fed by the process \"p\", which is to run");
            wires.write("p", "cam-out", transport).unwrap();
        }
        // The second one gets it once the first one is not to run, for all its starts.
        let second = Legs { ingest: None, reads: Vec::new(), ..legs() };
        wires.ordered("q", &second, Order::Start);
        wires.ordered("p", &legs(), Order::Stop);
        drop(wires.write("q", "cam-out", Transport::Rtsp).unwrap());
        assert_eq!(stranger(&out), Err(Refused::Held));
        wires.ordered("q", &second, Order::Stop);
        assert_eq!(stranger(&out), Ok(()));
    }

    #[tokio::test]
    async fn what_a_process_feeds_stays_its_own_through_a_change_and_another_name() {
        let wires = wires(&Policy::default(), None);
        let directory = wires.gateway.directory();
        let owner = |stream: &str| {
            let held = directory.hold(&StreamKey::parse(stream).unwrap(), "nobody");
            held.err().map(|Held(owner)| owner.to_string())
        };
        wires.ordered("p", &legs(), Order::Start);
        // Asked at every moment: a stranger that comes while it changes gets nothing.
        let stopped = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let mut free = 0;
                while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                    free += usize::from(owner("cam-out").is_none());
                }
                free
            });
            let more = Legs { writes: vec!["more".to_owned()], ..legs() };
            for _ in 0..2000 {
                wires.ordered("p", &more, Order::Start);
                wires.renamed("p", "q");
                wires.ordered("q", &legs(), Order::Start);
                wires.renamed("q", "p");
            }
            stopped.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(watcher.join().unwrap(), 0, "times it was anybody's");
        });
        assert_eq!((owner("cam-out").as_deref(), owner("more")), (Some("p"), None));
        wires.renamed("p", "q");
        wires.ordered("q", &legs(), Order::Start);
        assert_eq!(owner("cam-out").as_deref(), Some("q"));
        wires.ordered("q", &Legs::default(), Order::Stop);
        assert_eq!(owner("cam-out"), None);
    }

    #[tokio::test]
    async fn nothing_is_kept_for_a_process_that_has_ended_for_good_until_it_begins_anew() {
        let wires = wires(&Policy::default(), None);
        let out = StreamKey::parse("cam-out").unwrap();
        let kept = || {
            let held = wires.gateway.directory().hold(&out, "nobody").is_err();
            assert_eq!(wires.running().is_expected(&out), held);
            held
        };
        wires.ordered("p", &legs(), Order::Start);
        wires.begins("p");
        assert!(kept());
        wires.rests("p");
        assert!(!kept());
        drop(wires.write("p", "cam-out", Transport::Rtp).unwrap());
        assert!(!kept(), "one start has had it");
        for starts in [Wires::begins, |wires: &Wires, process: &str| wires.ordered(process, &legs(), Order::Start)] {
            starts(&wires, "p");
            assert!(kept());
            wires.rests("p");
            assert!(!kept());
        }
        wires.ordered("p", &legs(), Order::Stop);
        wires.begins("p");
        assert!(!kept(), "it is ordered to stop");
    }

    #[tokio::test]
    async fn where_children_cannot_reach_us_is_said() {
        for (rtsp, words) in [(None, "rtsp = \"off\""), (Some("192.0.2.1:8554"), "192.0.2.1:8554 only")] {
            let wires = wires(&Policy::default(), rtsp);
            let refused = wires.read("p", "cam", Transport::Rtsp).err().unwrap();
            assert!(refused.contains(words), "{refused}");
        }
        let wires = wires(&Policy::default(), Some("[::]:8554"));
        assert!(wires.read("p", "cam", Transport::Rtsp).unwrap().url.contains("//[::1]:8554/"));
        assert!(wires.read("p", "no/stream", Transport::Rtsp).is_err());
    }
}
