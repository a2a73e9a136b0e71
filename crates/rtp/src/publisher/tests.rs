use rtcp_types::ReceiverReport;
use whipstitch_media::Codec;

use super::*;
use crate::report::Report;
use crate::rtcp::{Compound as Read, Message};

const MS: Duration = Duration::from_millis(1);
const TCP: Limits = Limits { packets: 0, wait: Duration::ZERO };

/// What FFmpeg names of H.264: High 4.0.
const SETS: &str = "sprop-parameter-sets=Z2QAKKzZQHgCJ+XARAAAAwAEAAADAPA8YMZY,aO48gA==";

/// A sender of H.264 under 96 and Opus under 97.
struct Scene {
    now: Instant,
    publisher: Publisher,
}

fn rtp(ssrc: u32, pt: u8, seq: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80, pt];
    bytes.extend_from_slice(&seq.to_be_bytes());
    bytes.extend_from_slice(&(u32::from(seq) * 960).to_be_bytes());
    bytes.extend_from_slice(&ssrc.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// SR of this sender, and BYE if it leaves.
fn report(ssrc: u32, time: u32, leaves: bool) -> Vec<u8> {
    let report = Report { ssrc, cname: "c", ntp: Ntp(0x1122_3344_5566_7788), time, packets: 0, octets: 0 };
    let mut buffer = vec![0; crate::report::MAX_COMPOUND];
    let len = report.write(if leaves { std::slice::from_ref(&ssrc) } else { &[] }, &mut buffer).expect("it fits");
    buffer.truncate(len);
    buffer
}

impl Scene {
    fn new() -> Scene {
        let video = Section { pt: 96, ..Section::of(Codec::H264, SETS) };
        let audio = Section { pt: 97, ..Section::of(Codec::Opus, "sprop-stereo=1") };
        let config = Config { sections: vec![video, audio], order: TCP, ssrc: 7, cname: "us".into() };
        Scene { now: Instant::now(), publisher: Publisher::new(config) }
    }

    /// A packet, and what comes of it.
    fn send(&mut self, kind: Kind, ssrc: u32, seq: u16, payload: &[u8]) -> Vec<String> {
        let pt = if kind == Kind::Video { 96 } else { 97 };
        let _ = self.publisher.receive(self.now, kind, &rtp(ssrc, pt, seq, payload));
        self.told()
    }

    fn control(&mut self, kind: Kind, mut bytes: Vec<u8>) -> Vec<String> {
        self.publisher.receive_rtcp(self.now, kind, &mut bytes).expect("it is whole");
        self.told()
    }

    fn told(&mut self) -> Vec<String> {
        let tell = |event| match event {
            Event::Restarted(kind) => format!("{kind} restarted"),
            Event::Packet(kind, packet) => format!("{kind} {} of {}", packet.seq & 0xffff, packet.payload.len()),
            Event::Report(kind, ntp, time) => format!("{kind} {} is {}", ntp.middle(), time as u32),
            Event::Left => "left".to_owned(),
        };
        std::iter::from_fn(|| self.publisher.poll(self.now)).map(tell).collect()
    }

    /// What is sent to the RTCP of the tracks at this moment.
    fn reports(&mut self) -> Vec<(Kind, Vec<u8>)> {
        let mut sent = Vec::new();
        self.publisher.handle_timeout(self.now, |kind, compound| sent.push((kind, compound.to_vec())));
        sent
    }
}

#[test]
fn what_is_announced_becomes_the_streams_tracks() {
    let scene = Scene::new();
    let video = scene.publisher.tracks().video.clone().expect("there is one");
    assert_eq!(video.format, format!("{SETS};packetization-mode=1;profile-level-id=640028"));
    assert_eq!(scene.publisher.tracks().audio.as_ref().map(|audio| &*audio.format), Some("sprop-stereo=1"));
    assert_eq!([96, 97, 98].map(|pt| scene.publisher.kind_of(pt)), [Some(Kind::Video), Some(Kind::Audio), None]);
}

#[test]
fn packets_come_in_order_and_of_a_length_that_fits_viewers() {
    let mut scene = Scene::new();
    assert_eq!(scene.send(Kind::Video, 1, 10, &[0x65; 1460]), ["video 10 of 1200", "video 11 of 263"]);
    assert_eq!(scene.send(Kind::Audio, 2, 500, b"opus"), ["audio 500 of 4"]);
    // What is missing is nowhere on the way: nothing waits for it over TCP.
    assert_eq!(scene.send(Kind::Video, 1, 13, &[0x41]), ["video 14 of 1"]);
    assert_eq!(scene.send(Kind::Audio, 2, 500, b"opus"), [""; 0], "twice");
    let told = scene.publisher.told().counters;
    assert_eq!((told.packets, told.bytes, told.lost, told.rejected), (3, 12 * 3 + 1460 + 4 + 1, 2, 1));
}

#[test]
fn a_track_that_begins_anew_says_so_and_the_other_goes_on() {
    let mut scene = Scene::new();
    scene.send(Kind::Video, 1, 10, &[0x65; 1460]);
    scene.send(Kind::Audio, 2, 1, b"opus");
    scene.send(Kind::Audio, 2, 4, b"opus");
    scene.now += 200 * MS;
    assert_eq!(scene.send(Kind::Video, 9, 20, &[0x65]), [""; 0], "one packet is none");
    assert_eq!(scene.send(Kind::Video, 9, 21, &[0x65]), ["video restarted", "video 20 of 1", "video 21 of 1"]);
    assert_eq!(scene.send(Kind::Audio, 2, 5, b"opus"), ["audio 5 of 4"]);
    scene.now += 200 * MS;
    scene.send(Kind::Audio, 3, 5, b"opus");
    scene.send(Kind::Audio, 3, 6, b"opus");
    assert_eq!(scene.publisher.told().counters.lost, 2, "of the sender before");
}

#[test]
fn it_has_left_when_every_track_has() {
    let mut scene = Scene::new();
    scene.send(Kind::Video, 1, 10, &[0x65]);
    scene.send(Kind::Audio, 2, 1, b"opus");
    assert_eq!(scene.control(Kind::Video, report(1, 900, true)), ["video 860116326 is 900"]);
    scene.send(Kind::Video, 1, 11, &[0x41]);
    assert_eq!(scene.control(Kind::Audio, report(2, 900, true)).len(), 1, "the video has come back");
    assert_eq!(scene.control(Kind::Video, report(1, 900, true)), ["video 860116326 is 900", "left"]);
}

#[test]
fn reports_go_to_each_track_that_sends_every_second() {
    let mut scene = Scene::new();
    assert_eq!((scene.publisher.deadline(), scene.reports()), (None, Vec::new()));
    scene.send(Kind::Video, 1, 10, &[0x65]);
    scene.control(Kind::Video, report(1, 900, false));
    scene.send(Kind::Video, 1, 13, &[0x65]);
    assert!(scene.reports().is_empty(), "not yet");
    scene.now = scene.publisher.deadline().expect("a report is to come");
    let sent = scene.reports();
    let [(Kind::Video, compound)] = &sent[..] else { panic!("{sent:?}") };
    let parsed = ReceiverReport::parse(&compound[..32]).expect("it begins with one");
    let block = parsed.report_blocks().next().expect("of the sender");
    assert_eq!((parsed.ssrc(), block.ssrc(), block.cumulative_lost()), (7, 1, 2));
    assert_eq!((block.last_sender_report_timestamp(), compound[33]), (0x3344_5566, 202), "and a name behind it");
    assert_eq!(scene.publisher.told().loss, Some(0.5));
    scene.send(Kind::Audio, 2, 1, b"opus");
    assert_eq!(scene.publisher.deadline(), Some(scene.now + REPORT_INTERVAL));
    scene.now += REPORT_INTERVAL;
    assert_eq!(scene.reports().iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), Kind::ALL);
}

#[test]
fn a_key_picture_is_asked_for_at_once_behind_a_report() {
    let mut scene = Scene::new();
    let mut sent = Vec::new();
    scene.publisher.request_keyframe(scene.now, |_, compound| sent.push(compound.to_vec()));
    assert!(sent.is_empty(), "of whom?");
    scene.send(Kind::Audio, 2, 1, b"opus");
    scene.send(Kind::Video, 1, 10, &[0x65]);
    scene.publisher.request_keyframe(scene.now, |kind, compound| {
        assert_eq!(kind, Kind::Video);
        sent.push(compound.to_vec());
    });
    let [compound] = &mut sent[..] else { panic!("{sent:?}") };
    let messages: Vec<_> = Read::parse(compound).expect("it is whole").messages().collect();
    assert!(matches!(messages[..], [Message::Reports(_), Message::Pli { media: 1 }]), "{messages:?}");
    assert_eq!(scene.publisher.told().counters.plis, 1);
}

#[test]
fn what_was_not_announced_is_ignored() {
    let mut scene = Scene::new();
    assert_eq!(scene.publisher.receive(scene.now, Kind::Video, b"?"), Err(Ignored::Malformed));
    assert_eq!(scene.publisher.receive(scene.now, Kind::Video, &rtp(1, 97, 1, b"")), Err(Ignored::PayloadType(97)));
    let audio = Section { pt: 97, ..Section::of(Codec::Opus, "") };
    let config = Config { sections: vec![audio], order: TCP, ssrc: 7, cname: "us".into() };
    let mut publisher = Publisher::new(config);
    assert_eq!(publisher.receive(scene.now, Kind::Video, &rtp(1, 96, 1, b"")), Err(Ignored::PayloadType(96)));
    assert_eq!(publisher.receive_rtcp(scene.now, Kind::Video, &mut [1]), Ok(()));
    assert_eq!((scene.publisher.told().counters.rejected, publisher.told().counters.rejected), (2, 1));
}
