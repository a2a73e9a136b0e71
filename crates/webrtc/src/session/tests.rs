//! Sessions against str0m as the client, in virtual time: two ends, one link, no sockets.

mod lean;
mod repair;
mod ssrcs;

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use str0m::change::SdpAnswer;
use str0m::crypto::from_feature_flags;
use str0m::media::{Direction, MediaKind, Mid, Simulcast, SimulcastLayer};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpPacket, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use whipstitch_media::time::Ntp;
use whipstitch_media::{Codec, Extensions, Kind, Packet};
use whipstitch_net::sort::{Sort, sort};
use whipstitch_plane::{Batches, Delivery, Ending, Role};
use whipstitch_stream::directory::{Config as DirectoryConfig, Directory};
use whipstitch_stream::history::{History, Limits};
use whipstitch_stream::{Burst, Clock, Forwarded, PerKind, Track};

use super::*;
use crate::dtls::Identity;
use crate::gateway::{Entry, HalfOpen, Register, Waiting};
use crate::negotiate::{Local, Offer, Sender, answer_publisher, answer_viewer, plan_publisher, plan_viewer};
use crate::random;

const SERVER: ([u8; 4], u16) = ([203, 0, 113, 1], 8189);
const CLIENT: ([u8; 4], u16) = ([203, 0, 113, 2], 40_000);

/// Whether a datagram is lost.
type Loss = Box<dyn Fn(&[u8]) -> bool>;

struct World {
    now: Instant,
    client: Rtc,
    session: Session,
    /// What the client was answered.
    answer: String,
    directory: Directory,
    batches: Batches,
    actions: Vec<Action>,
    history: History,
    /// Everything the session asked for, in order.
    asked: Vec<Action>,
    received: Vec<RtpPacket>,
    connected: bool,
    mids: Vec<Mid>,
    /// What the client has written and the session not seen yet.
    outgoing: VecDeque<Vec<u8>>,
    /// Every datagram the session has seen, to be replayed.
    wire: Vec<Vec<u8>>,
    /// The SSRCs under which the session has sent RTP or RTCP.
    spoken: HashSet<u32>,
    deaf: bool,
    /// What of the client's does not reach the session.
    lost: Loss,
    /// The session's RTCP takes this long, and what is on its way.
    slow: Duration,
    held: VecDeque<(Instant, Vec<u8>)>,
    /// Requests that the client has heard.
    nacked: u64,
    /// The round trip as the client measures it where it only receives.
    rtt: Option<Duration>,
}

fn stream() -> StreamKey {
    StreamKey::parse("cam").unwrap()
}

fn client(now: Instant) -> Rtc {
    let mut client = RtcConfig::new()
        .set_rtp_mode(true)
        .set_stats_interval(Some(Duration::from_secs(1)))
        .set_crypto_provider(Arc::new(from_feature_flags()))
        .clear_codecs()
        .enable_opus(true, false)
        .enable_h264(true)
        .enable_vp8(true)
        .build(now);
    let candidate = Candidate::host(SocketAddr::from(CLIENT), Protocol::Udp).unwrap();
    client.add_local_candidate(candidate);
    client
}

fn registered(role: Role) -> Identified {
    let register = Register::default();
    let registration = register.insert(Entry {
        resource: "resource".into(),
        session: SessionId(1),
        role,
        stream: stream(),
        subject: None,
        worker: 0,
        ending: Ending::default(),
        ice: None,
    });
    Identified {
        session: SessionId(1),
        stream: stream(),
        user_agent: None,
        half_open: Waiting::new(HalfOpen::default()).reserve(SocketAddr::from(CLIENT).ip()),
        _registration: registration,
    }
}

impl World {
    fn new(role: Role) -> World {
        World::offering(role, None, |_| true)
    }

    /// `keep` says which lines of the offer the session gets to see.
    fn offering(role: Role, mut simulcast: Option<Simulcast>, keep: fn(&str) -> bool) -> World {
        let now = Instant::now();
        let identity = Identity::generate().unwrap();
        let directory = Directory::new(DirectoryConfig::default(), now);
        let mut client = client(now);
        let direction = if role == Role::Publisher { Direction::SendOnly } else { Direction::RecvOnly };
        let mut changes = client.sdp_api();
        let mids = [MediaKind::Audio, MediaKind::Video]
            .map(|kind| {
                let simulcast = if kind == MediaKind::Video { simulcast.take() } else { None };
                changes.add_media(kind, direction, None, None, simulcast)
            })
            .to_vec();
        let (sdp, pending) = changes.apply().unwrap();
        let seen: String = sdp.to_sdp_string().split_inclusive('\n').filter(|line| keep(line)).collect();
        let offer = Offer::parse(&seen).unwrap();
        let credentials = random::credentials(0);
        let candidates = [SocketAddr::from(SERVER)];
        let local = Local {
            credentials: &credentials,
            fingerprint: identity.fingerprint(),
            candidates: &candidates,
            session_id: 1,
        };
        let (engine, state, answer) = match role {
            Role::Publisher => {
                let plan = plan_publisher(&offer).unwrap();
                let engine = Engine::publisher(now, &identity, offer.fingerprint(), offer.dtls_role(), &plan);
                let slot = directory.reserve_publisher(&stream(), SessionId(1), now).unwrap();
                let answer = answer_publisher(&offer, &plan, &local);
                (engine, RoleState::Publisher { slot, tracks: plan.tracks }, answer)
            }
            Role::Subscriber => {
                let plan = plan_viewer(&offer, Some(&tracks())).unwrap();
                let engine = Engine::subscriber(now, &identity, offer.fingerprint(), offer.dtls_role());
                let slot = directory.reserve_subscriber(&stream(), SessionId(1)).unwrap();
                let configs = crate::gateway::track_configs(&plan);
                let senders: Vec<Sender> = configs.iter().map(crate::gateway::sender).collect();
                let answer = answer_viewer(&offer, &plan, &local, "cam", "cname", &senders);
                let agreed = Agreed::new(&plan, &tracks());
                let plan = Some(SubscriberPlan { cname: "cname".into(), tracks: configs });
                (engine, RoleState::Subscriber { _slot: slot, plan, agreed, egress: None, patience: None }, answer)
            }
        };
        let edge = Edge::new(now, credentials, offer.credentials().clone());
        client.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(&answer).unwrap()).unwrap();
        World {
            now,
            client,
            session: Session::new(now, registered(role), edge, engine, state),
            answer,
            directory,
            batches: Batches::new(),
            actions: Vec::new(),
            history: History::new(Limits::default()),
            asked: Vec::new(),
            received: Vec::new(),
            connected: false,
            mids,
            outgoing: VecDeque::new(),
            wire: Vec::new(),
            spoken: HashSet::new(),
            deaf: false,
            lost: Box::new(|_| false),
            slow: Duration::ZERO,
            held: VecDeque::new(),
            nacked: 0,
            rtt: None,
        }
    }

    fn with(&mut self, call: impl FnOnce(&mut Session, &mut Context<'_>)) {
        let mut cx = Context::new(self.now, &mut self.batches, Some(&self.history), &mut self.actions);
        call(&mut self.session, &mut cx);
        self.asked.append(&mut self.actions);
    }

    fn path() -> Path {
        Path::to(SocketAddr::from(CLIENT))
    }

    fn datagram(&mut self, mut bytes: Vec<u8>) {
        if (self.lost)(&bytes) {
            return;
        }
        self.wire.push(bytes.clone());
        self.with(|session, cx| session.handle_datagram(cx, World::path(), &mut bytes));
        self.carry_back();
    }

    /// What the session wrote goes to the client. It tells of one packet at a time, so it is asked after each.
    fn carry_back(&mut self) {
        let written: Vec<Vec<u8>> =
            self.batches.of(World::path()).datagrams().map(|(_, bytes)| bytes.to_vec()).collect();
        self.batches.of(World::path()).clear();
        for bytes in written {
            // Neither header is encrypted.
            let ssrc = match sort(&bytes) {
                Sort::Rtp => bytes.get(8..12),
                Sort::Rtcp => bytes.get(4..8),
                _ => None,
            };
            self.spoken.extend(ssrc.map(|ssrc| u32::from_be_bytes(ssrc.try_into().expect("four bytes"))));
            if self.deaf {
                continue;
            }
            if self.slow > Duration::ZERO && sort(&bytes) == Sort::Rtcp {
                self.held.push_back((self.now + self.slow, bytes));
                continue;
            }
            self.reach_client(&bytes);
        }
    }

    fn reach_client(&mut self, bytes: &[u8]) {
        let (source, destination) = (SocketAddr::from(SERVER), SocketAddr::from(CLIENT));
        if let Ok(receive) = Receive::new(Protocol::Udp, source, destination, bytes) {
            self.client.handle_input(Input::Receive(self.now, receive)).unwrap();
            self.ask_client();
        }
    }

    fn ask_client(&mut self) -> Instant {
        loop {
            match self.client.poll_output().unwrap() {
                Output::Timeout(at) => return at,
                Output::Transmit(transmit) => self.outgoing.push_back(transmit.contents.to_vec()),
                Output::Event(Event::Connected) => self.connected = true,
                Output::Event(Event::RtpPacket(packet)) => self.received.push(packet),
                Output::Event(Event::MediaEgressStats(stats)) => self.nacked = self.nacked.max(stats.nacks),
                Output::Event(Event::MediaIngressStats(stats)) => self.rtt = stats.rtt.or(self.rtt),
                Output::Event(_) => {}
            }
        }
    }

    fn pump_client(&mut self) -> Instant {
        loop {
            let at = self.ask_client();
            if self.outgoing.is_empty() {
                return at;
            }
            while let Some(bytes) = self.outgoing.pop_front() {
                self.datagram(bytes);
            }
        }
    }

    /// Both ends live for this long.
    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            while self.held.front().is_some_and(|(at, _)| *at <= self.now) {
                let (_, bytes) = self.held.pop_front().unwrap();
                self.reach_client(&bytes);
            }
            let client = self.pump_client();
            let session = self.session.deadline().unwrap_or(end);
            let held = self.held.front().map_or(end, |(at, _)| *at);
            let soonest = self.now + Duration::from_millis(1);
            self.now = client.min(session).min(held).min(end).max(soonest);
            self.client.handle_input(Input::Timeout(self.now)).unwrap();
            if self.session.deadline().is_some_and(|at| at <= self.now) {
                self.with(|session, cx| session.handle_timeout(cx));
                self.carry_back();
            }
        }
    }

    fn closed(&self) -> Option<CloseReason> {
        self.asked.iter().find_map(|action| match action {
            Action::Close(reason) => Some(*reason),
            _ => None,
        })
    }

    fn pushed(&self) -> Vec<(Kind, u64, Vec<u8>)> {
        let pushed = self.asked.iter().filter_map(|action| match action {
            Action::Push(kind, packet) => Some((*kind, packet.seq, packet.payload.to_vec())),
            _ => None,
        });
        pushed.collect()
    }

    fn deliver(&mut self, burst: &Burst) -> bool {
        for packet in &burst.packets {
            self.history.insert(packet);
        }
        let mut delivery = Delivery::new(self.now, &mut self.batches);
        self.session.deliver(&mut delivery, burst);
        let wants = delivery.wants_keyframe;
        self.carry_back();
        wants
    }
}

fn tracks() -> Tracks {
    let h264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
    Tracks {
        audio: Some(Track { codec: Codec::Opus, format: String::new() }),
        video: Some(Track { codec: Codec::H264, format: h264.into() }),
    }
}

fn forwarded(kind: Kind, seq: u64, start: bool, now: Instant) -> Forwarded {
    let payload: Arc<[u8]> = vec![seq as u8; 200].into();
    let packet =
        Packet { seq, time: seq * 3000, marker: true, payload, extensions: Extensions::default(), arrived: now };
    let codec = tracks().get(kind).unwrap().codec;
    Forwarded { codec, packet, start }
}

fn burst(packets: Vec<Forwarded>) -> Burst {
    Burst { packets, clocks: PerKind::default() }
}

#[test]
fn a_publisher_connects_and_its_packets_are_pushed_in_order() {
    let mut world = World::new(Role::Publisher);
    assert!(world.directory.live_tracks(&stream()).is_none(), "not live before DTLS is done");
    world.run(Duration::from_secs(1));
    assert!(world.connected);
    assert!(world.asked.iter().any(|action| matches!(action, Action::Publish(_))));
    assert!(world.directory.live_tracks(&stream()).is_some());
    let mid = world.mids[1];
    for seq in 0..5_u64 {
        let (now, pt) = (world.now, world.client.media(mid).unwrap().remote_pts()[0]);
        let mut api = world.client.direct_api();
        let tx = api.stream_tx_by_mid(mid, None).unwrap();
        let time = seq as u32 * 3000;
        tx.write_rtp(RtpWrite::new(pt, seq.into(), time, now, vec![seq as u8; 50]).marker(true));
        world.run(Duration::from_millis(33));
    }
    let pushed = world.pushed();
    assert_eq!(pushed.len(), 5);
    assert!(pushed.iter().enumerate().all(|(n, (kind, _, payload))| *kind == Kind::Video && *payload == [n as u8; 50]));
    assert!(pushed.windows(2).all(|pair| pair[1].1 == pair[0].1 + 1));
}

#[test]
fn of_a_simulcast_publisher_one_layer_at_a_time_is_pushed() {
    let mut simulcast = Simulcast::new();
    simulcast.send = vec![SimulcastLayer::new("lo"), SimulcastLayer::new("hi")];
    let mut world = World::offering(Role::Publisher, Some(simulcast), |_| true);
    world.run(Duration::from_secs(1));
    let mid = world.mids[1];
    for seq in 0..100_u64 {
        // Numbers of their own. As browsers do, the better layer comes a little later.
        for (rid, first, size) in [("lo", 100, 50), ("hi", 30_000, 500)].into_iter().take(1 + seq.min(5) as usize / 5) {
            let (now, pt) = (world.now, world.client.media(mid).unwrap().remote_pts()[0]);
            let mut api = world.client.direct_api();
            let tx = api.stream_tx_by_mid(mid, Some(rid.into())).unwrap();
            let time = seq as u32 * 3000;
            tx.write_rtp(RtpWrite::new(pt, (first + seq).into(), time, now, vec![1; size]).marker(true));
        }
        world.run(Duration::from_millis(33));
    }
    let pushed = world.pushed();
    let changes = pushed.windows(2).filter(|pair| pair[0].2.len() != pair[1].2.len()).count();
    assert_eq!(changes, 1, "from the first layer to the better one, once");
    assert_eq!(pushed.last().unwrap().2.len(), 500);
    let published = world.asked.iter().filter(|action| matches!(action, Action::Publish(_))).count();
    assert_eq!(published, 2, "the stream begins anew with the other layer's numbers");
    world.with(|session, cx| session.request_keyframe(cx));
    assert_eq!(world.batches.of(World::path()).datagrams().count(), 1, "the chosen layer is asked");
}

#[test]
fn a_publisher_that_announces_no_ssrc_is_heard_whatever_strangers_send_in_its_name() {
    let keep = |line: &str| !line.starts_with("a=ssrc") && !line.starts_with("a=extmap");
    let mut world = World::offering(Role::Publisher, None, keep);
    world.run(Duration::from_secs(1));
    let mid = world.mids[1];
    let pt = world.client.media(mid).unwrap().remote_pts()[0];
    for ssrc in 1..100 {
        let mut forged = vec![0x80, *pt, 0, 1, 0, 0, 0, 0, 0, 0, 0, ssrc];
        forged.resize(100, 7);
        world.datagram(forged);
    }
    assert_eq!(world.session.counted().rejected, 99);
    for seq in 0..5_u64 {
        let now = world.now;
        let mut api = world.client.direct_api();
        let tx = api.stream_tx_by_mid(mid, None).unwrap();
        tx.write_rtp(RtpWrite::new(pt, seq.into(), seq as u32 * 3000, now, vec![1; 50]).marker(true));
        world.run(Duration::from_millis(33));
    }
    assert_eq!(world.pushed().len(), 5);
}

#[test]
fn what_the_engine_makes_nothing_of_is_counted() {
    let mut world = World::new(Role::Publisher);
    world.run(Duration::from_secs(1));
    world.film(None, 1..50, 100);
    assert_eq!(world.session.counted().rejected, 0);
    let sent: Vec<Vec<u8>> = world.wire.iter().filter(|datagram| sort(datagram) == Sort::Rtp).cloned().collect();
    let last = sent.last().unwrap();
    let changed = |at: usize, by: u8| {
        let mut forged = last.clone();
        // One number on, which has not come.
        forged[3] = forged[3].wrapping_add(1);
        forged[at] ^= by;
        forged
    };
    let before = world.session.edge.last_heard();
    world.now += Duration::from_millis(1);
    for (place, (rule, datagram)) in [
        ("a bad tag under a known SSRC", changed(last.len() - 1, 1)),
        ("another payload type", changed(1, 0x55)),
        ("a replay of the newest", last.clone()),
        ("a replay of an older one", sent[20].clone()),
    ]
    .into_iter()
    .enumerate()
    {
        world.datagram(datagram);
        assert_eq!(world.session.counted().rejected, place as u64 + 1, "{rule}");
    }
    assert_eq!((world.pushed().len(), world.session.edge.last_heard()), (49, before), "and no sign of life");
    // Authentic ones go on to count as nothing else.
    world.film(None, 50..60, 100);
    assert_eq!((world.pushed().len(), world.session.counted().rejected), (59, 4));
}

#[test]
fn a_forged_packet_does_not_take_a_section_from_its_publisher() {
    let mut world = World::offering(Role::Publisher, None, |line| !line.starts_with("a=ssrc"));
    world.run(Duration::from_secs(1));
    let mid = world.mids[1];
    let (now, pt) = (world.now, world.client.media(mid).unwrap().remote_pts()[0]);
    let mut api = world.client.direct_api();
    let tx = api.stream_tx_by_mid(mid, None).unwrap();
    let ssrc = *tx.ssrc();
    tx.write_rtp(RtpWrite::new(pt, 1.into(), 3000, now, vec![1; 50]).marker(true));
    world.run(Duration::from_millis(33));
    assert!(world.session.engine.is_mapped(ssrc));
    let mut forged = world.wire.iter().find(|datagram| sort(datagram) == Sort::Rtp).unwrap().clone();
    forged[8..12].copy_from_slice(&[0xf0, 0, 0, 1]);
    world.with(|session, cx| session.handle_datagram(cx, World::path(), &mut forged));
    assert!(world.session.engine.is_mapped(ssrc) && !world.session.engine.is_mapped(0xf000_0001));
}

#[test]
fn a_publisher_whose_slot_was_taken_during_its_handshake_is_closed() {
    let mut world = World::new(Role::Publisher);
    let later = world.now + Duration::from_secs(3);
    let _other = world.directory.reserve_publisher(&stream(), SessionId(2), later).unwrap();
    assert_eq!(world.directory.take_over(&stream(), SessionId(2)), Ok(Some(SessionId(1))));
    world.run(Duration::from_secs(1));
    assert_eq!(world.closed(), Some(CloseReason::Replaced));
    assert!(!world.asked.iter().any(|action| matches!(action, Action::Publish(_))));
}

#[test]
fn a_publisher_is_asked_for_a_keyframe() {
    let mut world = World::new(Role::Publisher);
    world.run(Duration::from_secs(1));
    let mid = world.mids[1];
    let (now, pt) = (world.now, world.client.media(mid).unwrap().remote_pts()[0]);
    let mut api = world.client.direct_api();
    let tx = api.stream_tx_by_mid(mid, None).unwrap();
    tx.write_rtp(RtpWrite::new(pt, 1.into(), 0, now, vec![1; 50]).marker(true));
    world.run(Duration::from_millis(33));
    world.with(|session, cx| session.request_keyframe(cx));
    let written = world.batches.of(World::path()).datagrams().count();
    assert_eq!(written, 1, "the PLI leaves at once");
}

#[test]
fn a_subscriber_gets_media_under_our_ssrcs_from_a_keyframe_on() {
    let mut world = World::new(Role::Subscriber);
    world.run(Duration::from_secs(1));
    assert!(world.connected);
    assert!(world.asked.iter().any(|action| matches!(action, Action::Subscribe)));
    let now = world.now;
    for seq in 0..2 {
        let wants = world.deliver(&burst(vec![forwarded(Kind::Video, seq, false, now)]));
        assert!(!wants, "the hub asked when it joined; waiting is no new demand with every burst");
    }
    world.deliver(&burst((2..8).map(|seq| forwarded(Kind::Video, seq, seq == 3, now)).collect()));
    world.run(Duration::from_millis(50));
    let payloads: Vec<u8> = world.received.iter().map(|packet| packet.payload[0]).collect();
    assert_eq!(payloads, [3, 4, 5, 6, 7]);
    assert!(world.received.windows(2).all(|pair| *pair[1].seq_no == *pair[0].seq_no + 1));
}

#[test]
fn after_a_gap_of_ours_a_viewer_goes_on_at_a_start_with_the_next_number_and_asks_each_time() {
    let mut world = World::new(Role::Subscriber);
    world.run(Duration::from_secs(1));
    let now = world.now;
    world.deliver(&burst(vec![forwarded(Kind::Video, 1, true, now), forwarded(Kind::Audio, 1, true, now)]));
    for seq in [5, 7] {
        let mut delivery = Delivery::new(now, &mut world.batches);
        delivery.after_gap = true;
        world.session.deliver(&mut delivery, &burst(vec![forwarded(Kind::Video, seq, false, now)]));
        assert!(delivery.wants_keyframe, "what was asked for may be what is missing");
    }
    let next = vec![forwarded(Kind::Audio, 9, true, now), forwarded(Kind::Video, 9, true, now)];
    assert!(!world.deliver(&burst(next)));
    world.run(Duration::from_millis(50));
    for ssrc in world.received.iter().map(|packet| packet.header.ssrc).collect::<HashSet<_>>() {
        let numbers = world.received.iter().filter(|packet| packet.header.ssrc == ssrc).map(|packet| *packet.seq_no);
        let numbers: Vec<u64> = numbers.collect();
        assert!(matches!(numbers[..], [first, second] if second == first + 1), "{numbers:?}");
    }
    assert_eq!(world.received.len(), 4);
}

#[test]
fn a_viewer_without_a_path_costs_nothing_and_asks_for_a_keyframe_when_it_is_back() {
    let mut world = World::new(Role::Subscriber);
    world.run(Duration::from_secs(1));
    let now = world.now;
    let clock = Clock { ntp: Ntp(1 << 40), time: 0, at: now };
    let clocks = PerKind { audio: None, video: Some(clock) };
    world.deliver(&Burst { packets: vec![forwarded(Kind::Video, 1, true, now)], clocks });
    world.with(|session, cx| session.path_closed(cx, World::path()));
    assert_eq!(world.session.stats(now).remote, None);
    // Reports would be due every second.
    let mut timeouts = 0;
    let end = now + Duration::from_secs(10);
    while world.now < end {
        world.now = world.session.deadline().unwrap().clamp(world.now + Duration::from_millis(1), end);
        world.with(|session, cx| session.handle_timeout(cx));
        timeouts += 1;
    }
    assert!(timeouts < 100, "{timeouts} timeouts in 10 s");
    assert!(world.closed().is_none());
    assert!(!world.deliver(&burst(vec![forwarded(Kind::Video, 2, false, now)])), "nobody would see it");
    world.run(Duration::from_secs(5));
    assert!(world.session.stats(world.now).remote.is_some(), "the client has checked again");
    assert!(world.deliver(&burst(vec![forwarded(Kind::Video, 3, false, now)])));
    world.deliver(&burst(vec![forwarded(Kind::Video, 4, true, now)]));
    world.run(Duration::from_millis(50));
    let numbers: Vec<u64> = world.received.iter().map(|packet| *packet.seq_no).collect();
    assert!(matches!(numbers[..], [first, second] if second == first + 1), "{numbers:?}");
}

#[test]
fn a_subscribers_keyframe_request_reaches_the_worker() {
    let mut world = World::new(Role::Subscriber);
    world.run(Duration::from_secs(1));
    let now = world.now;
    world.deliver(&burst(vec![forwarded(Kind::Video, 1, true, now)]));
    world.run(Duration::from_millis(50));
    let mid = world.mids[1];
    let mut api = world.client.direct_api();
    api.stream_rx_by_mid(mid, None).unwrap().request_keyframe(str0m::media::KeyframeRequestKind::Pli);
    world.run(Duration::from_millis(200));
    assert!(world.asked.iter().any(|action| matches!(action, Action::RequestKeyframe)));
}

#[test]
fn a_lost_packet_is_sent_again_when_asked_for() {
    let mut world = World::new(Role::Subscriber);
    world.run(Duration::from_secs(1));
    let now = world.now;
    world.deliver(&burst(vec![forwarded(Kind::Video, 1, true, now)]));
    world.run(Duration::from_millis(20));
    world.deaf = true;
    let now = world.now;
    world.deliver(&burst(vec![forwarded(Kind::Video, 2, false, now)]));
    world.deaf = false;
    for seq in 3..8 {
        let now = world.now;
        world.deliver(&burst(vec![forwarded(Kind::Video, seq, false, now)]));
        world.run(Duration::from_millis(33));
    }
    world.run(Duration::from_millis(500));
    let mut payloads: Vec<u8> = world.received.iter().map(|packet| packet.payload[0]).collect();
    payloads.sort_unstable();
    assert_eq!(payloads, [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn a_viewer_learns_the_round_trip() {
    let mut world = World::new(Role::Subscriber);
    world.slow = Duration::from_millis(200);
    world.run(Duration::from_secs(1));
    for seq in 0..100 {
        let clock = Some(Clock { ntp: Ntp(1 << 40), time: 0, at: world.now });
        let packets = vec![forwarded(Kind::Video, seq, seq == 0, world.now)];
        world.deliver(&Burst { packets, clocks: PerKind { audio: None, video: clock } });
        world.run(Duration::from_millis(100));
    }
    let rtt = world.rtt.expect("measured").as_millis();
    assert!((195..230).contains(&rtt), "{rtt} ms");
}

#[test]
fn close_by_the_client_ends_the_session() {
    for role in [Role::Publisher, Role::Subscriber] {
        let mut world = World::new(role);
        world.run(Duration::from_secs(1));
        world.client.close().unwrap();
        world.pump_client();
        assert_eq!(world.closed(), Some(CloseReason::ByPeer));
    }
}

#[test]
fn our_goodbye_is_understood() {
    let mut world = World::new(Role::Subscriber);
    world.run(Duration::from_secs(1));
    world.with(|session, cx| session.close(cx, &CloseReason::ByRequest));
    world.carry_back();
    world.pump_client();
    assert!(!world.client.is_alive());
}

#[test]
fn a_client_that_never_comes_is_given_up_after_the_setup_deadline() {
    let mut world = World::new(Role::Subscriber);
    let (start, setup) = (world.now, HalfOpen::default().setup);
    assert_eq!(world.session.deadline().map(|at| at.min(start + setup)), world.session.deadline());
    world.now = start + setup - Duration::from_millis(1);
    world.with(|session, cx| session.handle_timeout(cx));
    assert_eq!(world.closed(), None);
    world.now = start + setup;
    world.with(|session, cx| session.handle_timeout(cx));
    assert_eq!(world.closed(), Some(CloseReason::IceTimeout));
}

#[test]
fn silence_ends_a_connected_session() {
    let mut world = World::new(Role::Publisher);
    world.run(Duration::from_secs(40));
    assert_eq!(world.closed(), None, "checks keep it alive");
    let last = world.session.edge.last_heard();
    world.now = last + SILENCE;
    world.with(|session, cx| session.handle_timeout(cx));
    assert_eq!(world.closed(), Some(CloseReason::IceTimeout));
}

#[test]
fn a_publisher_that_sends_nothing_but_rtcp_is_alive_and_a_replay_is_no_sign_of_life() {
    let mut world = World::new(Role::Publisher);
    world.run(Duration::from_secs(1));
    let mid = world.mids[1];
    let (now, pt) = (world.now, world.client.media(mid).unwrap().remote_pts()[0]);
    let mut api = world.client.direct_api();
    let tx = api.stream_tx_by_mid(mid, None).unwrap();
    tx.write_rtp(RtpWrite::new(pt, 1.into(), 0, now, vec![1; 50]).marker(true));
    world.run(Duration::from_secs(1));
    let before = world.session.edge.last_heard();
    // Everything but the client's reports is lost.
    world.lost = Box::new(|datagram| sort(datagram) != Sort::Rtcp);
    world.run(Duration::from_secs(40));
    assert_eq!(world.closed(), None);
    let after = world.session.edge.last_heard();
    assert!(after > before + SILENCE);
    world.now += Duration::from_secs(1);
    let replayed: Vec<_> = world.wire.iter().filter(|datagram| sort(datagram) == Sort::Rtcp).cloned().collect();
    assert!(!replayed.is_empty());
    for mut datagram in replayed {
        let mut forged = datagram.clone();
        forged[8] ^= 1;
        let before = world.session.counted().rejected;
        world.with(|session, cx| session.handle_datagram(cx, World::path(), &mut datagram));
        world.with(|session, cx| session.handle_datagram(cx, World::path(), &mut forged));
        assert_eq!(world.session.counted().rejected, before + 2);
    }
    assert_eq!(world.session.edge.last_heard(), after);
}

#[test]
fn a_publisher_that_checks_no_more_lives_by_its_media_and_dies_without() {
    let mut world = World::new(Role::Publisher);
    world.run(Duration::from_secs(1));
    // As FFmpeg 8.0 does after the handshake.
    world.lost = Box::new(|datagram| sort(datagram) == Sort::Stun);
    let mid = world.mids[1];
    let pt = world.client.media(mid).unwrap().remote_pts()[0];
    for seq in 0..900_u64 {
        let now = world.now;
        let mut api = world.client.direct_api();
        let tx = api.stream_tx_by_mid(mid, None).unwrap();
        tx.write_rtp(RtpWrite::new(pt, seq.into(), seq as u32 * 9000, now, vec![1; 50]).marker(true));
        world.run(Duration::from_millis(100));
    }
    assert_eq!(world.closed(), None, "a minute and a half without a check");
    let last = world.session.edge.last_heard();
    assert!(world.now - last < Duration::from_secs(1));
    world.now = last + SILENCE;
    world.with(|session, cx| session.handle_timeout(cx));
    assert_eq!(world.closed(), Some(CloseReason::IceTimeout));
}

#[test]
fn datagrams_of_strangers_and_garbage_change_nothing() {
    let mut world = World::new(Role::Publisher);
    world.run(Duration::from_secs(1));
    let replayed = world.wire.clone();
    let stranger = Path::to(SocketAddr::from(([198, 51, 100, 9], 9)));
    world.asked.clear();
    let spoofed = replayed.iter().filter(|datagram| sort(datagram) != Sort::Stun).count() as u64;
    for mut bytes in replayed {
        world.with(|session, cx| session.handle_datagram(cx, stranger, &mut bytes));
    }
    assert!(world.asked.is_empty(), "{:?}", world.asked);
    assert!(spoofed > 0);
    assert_eq!(world.session.counted().rejected, spoofed);
    assert_eq!(world.session.edge.path(), Some(World::path()));
    for mut bytes in [vec![], vec![0x80], vec![0x80; 12], vec![22; 100], vec![0x81, 200, 0, 0], vec![0xff; 1200]] {
        world.with(|session, cx| session.handle_datagram(cx, World::path(), &mut bytes));
    }
    assert!(world.asked.is_empty(), "{:?}", world.asked);
}

#[test]
fn other_tracks_close_only_subscribers_that_they_do_not_fit() {
    let mut world = World::new(Role::Subscriber);
    world.run(Duration::from_secs(1));
    let same = tracks();
    world.with(|session, cx| session.tracks_changed(cx, &same));
    let without_audio = Tracks { audio: None, ..tracks() };
    world.with(|session, cx| session.tracks_changed(cx, &without_audio));
    assert_eq!(world.closed(), None);
    let vp9 = Tracks { video: Some(Track { codec: Codec::Vp9, format: String::new() }), ..tracks() };
    world.with(|session, cx| session.tracks_changed(cx, &vp9));
    assert_eq!(world.closed(), Some(CloseReason::CodecChanged));
}

#[test]
fn a_section_that_was_refused_stays_so_and_the_rest_goes_on_whoever_publishes() {
    // The stream is H.264, and the viewer offers everything else.
    let mut world = World::offering(Role::Subscriber, None, |line| !line.contains("H264"));
    world.run(Duration::from_secs(1));
    assert!(world.connected && world.answer.contains("m=video 0 "), "{}", world.answer);
    let sound = |world: &mut World, seq| {
        world.received.clear();
        let video = Forwarded { codec: Codec::Vp8, ..forwarded(Kind::Video, seq, true, world.now) };
        let packets = vec![video, forwarded(Kind::Audio, seq, true, world.now)];
        assert!(!world.deliver(&burst(packets)), "it waits for no picture");
        world.run(Duration::from_millis(20));
        assert_eq!(world.received.len(), 1, "sound, and no picture");
    };
    sound(&mut world, 1);
    let vp8 = Tracks { video: Some(Track { codec: Codec::Vp8, format: String::new() }), ..tracks() };
    for published in [vp8, Tracks { video: None, ..tracks() }, tracks()] {
        world.with(|session, cx| session.tracks_changed(cx, &published));
        assert_eq!((world.closed(), world.session.told(world.now).codecs), (None, vec![Codec::Opus]));
    }
    sound(&mut world, 2);
}

#[test]
fn another_codec_that_was_agreed_on_goes_out_under_its_own_numbers() {
    let mut world = World::new(Role::Subscriber);
    world.run(Duration::from_secs(1));
    // Payload type, sequence number and SSRC of what is sent: a header is not encrypted.
    let send = |world: &mut World, codec, seq| {
        let packet = Forwarded { codec, ..forwarded(Kind::Video, seq, true, world.now) };
        world.session.deliver(&mut Delivery::new(world.now, &mut world.batches), &burst(vec![packet]));
        let batch = world.batches.of(World::path());
        let sent = batch.datagrams().find(|(_, datagram)| sort(datagram) == Sort::Rtp).map(|(_, datagram)| {
            let &[_, pt, high, low, _, _, _, _, ref ssrc @ ..] = datagram else { panic!("too short") };
            (pt & 0x7f, u16::from_be_bytes([high, low]), ssrc[..4].to_vec())
        });
        batch.clear();
        sent
    };
    let (h264, first, ssrc) = send(&mut world, Codec::H264, 70_000).unwrap();
    let vp8 = Tracks { video: Some(Track { codec: Codec::Vp8, format: String::new() }), ..tracks() };
    world.with(|session, cx| session.tracks_changed(cx, &vp8));
    assert_eq!(world.session.told(world.now).codecs, [Codec::Opus, Codec::Vp8]);
    assert_eq!(send(&mut world, Codec::H264, 70_001), None, "of the publisher before");
    assert_eq!((h264, send(&mut world, Codec::Vp8, 70_002)), (108, Some((96, first + 1, ssrc))), "str0m's numbers");
    assert_eq!(world.closed(), None);

    // RFC 7160 4.1: another clock rate needs another SSRC, hence another session.
    let pcmu = Tracks { audio: Some(Track { codec: Codec::Pcmu, format: String::new() }), ..tracks() };
    world.with(|session, cx| session.tracks_changed(cx, &pcmu));
    assert_eq!(world.closed(), Some(CloseReason::CodecChanged));
}
