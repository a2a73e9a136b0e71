//! What a publisher and a viewer can do to a worker once they are connected: everything they say is authentic, so it gets to
//! the parsers behind the protection.

use std::sync::OnceLock;
use std::time::Duration;

use whipstitch_net::Path;
use whipstitch_net::sort::{Sort, sort};
use whipstitch_net::stun;
use whipstitch_plane::Counters;
use whipstitch_stream::{CloseReason, StreamKey};

use super::{Host, Joined, Script, path};
use crate::dtls::Identity;
use crate::egress::Keys;
use crate::egress::srtp::{OpenError, Opener, Sealer, Sealers};
use crate::engine::{Engine, EngineEvent};
use crate::negotiate::DtlsRole;

const MAX_STEPS: usize = 200;

/// The lowest index of each SSRC.
const FIRST: u64 = 1000;

/// SSRC under which the viewer reports.
const VIEWER: u32 = 0x7777;

/// A VP8 keyframe begins so.
const START: &[u8] = &[0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00];

/// How far an input got.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reached {
    /// What the publisher's session counted.
    pub publisher: Counters,
    /// What the viewer's session counted.
    pub viewer: Counters,
    /// RTP packets that the viewer got.
    pub delivered: usize,
}

/// Plays a script with a publisher and a viewer of one stream. Each step is a byte that says what happens, and as many bytes
/// as that needs: media as a publisher sends it, RTP with a header of the script's making, compounds of RTCP from either, a
/// NACK of what was sent, something sent before once more or with a bit changed, time.
///
/// # Panics
/// If a session breaks; if something that leaves is not authentic; if what is not authentic or was sent before has an effect;
/// or if something is left of a session that ended.
pub fn media(script: &[u8]) -> Reached {
    let mut scene = Scene::new();
    let mut script = Script(script);
    for _ in 0..MAX_STEPS {
        let Some(step) = script.byte() else { break };
        scene.step(step, &mut script);
        scene.holds();
    }
    scene.finish()
}

/// One end of a session, with its keys.
struct Client {
    joined: Joined,
    path: Path,
    writers: Sealers,
    /// With the next index of each.
    sealers: Vec<(Sealer, u64)>,
    opener: Opener,
    last: Vec<u8>,
}

impl Client {
    /// Proves where it is and does the handshake, as browsers do, in no time.
    fn connect(host: &mut Host, joined: Joined, path: Path, mut engine: Engine) -> Client {
        let username = format!("{}:{}", joined.local.ufrag, joined.remote.ufrag);
        let mut check = stun::binding_request(&username, &joined.local.pwd, true, 1, 1, [1; 12]);
        let now = host.worker.now();
        host.worker.datagram(0, path, &mut check);
        engine.reachable(now).expect("a handshake begins");
        let mut connected = false;
        while !connected {
            let mut flight = Vec::new();
            let mut poll = || engine.poll(now, |datagram| flight.push(datagram.to_vec()));
            while let Some(event) = poll().expect("nobody fails the handshake") {
                connected |= matches!(event, EngineEvent::Connected);
            }
            flight.iter_mut().for_each(|datagram| host.worker.datagram(0, path, datagram));
            let answers = host.worker.take_sent();
            let answers = answers.iter().filter(|(_, bytes)| sort(bytes) == Sort::Dtls);
            answers.for_each(|(_, bytes)| engine.handle_datagram(now, bytes).expect("nobody fails the handshake"));
        }
        let tapped = engine.take_keys().expect("the handshake is done");
        let keys = Keys::split(tapped.profile, &tapped.material, true).expect("as long as the profile needs");
        let (writers, opener) = keys.into_contexts();
        Client { joined, path, writers, sealers: Vec::new(), opener, last: Vec::new() }
    }

    fn writer(&mut self, ssrc: u32) -> &mut (Sealer, u64) {
        let known = self.sealers.iter().position(|(sealer, _)| sealer.ssrc() == ssrc);
        let at = known.unwrap_or_else(|| {
            let sealer = self.writers.sealer(ssrc, FIRST, 0).expect("the first of its SSRC");
            self.sealers.push((sealer, FIRST));
            self.sealers.len() - 1
        });
        &mut self.sealers[at]
    }

    /// Seals a packet; `moved` says where its number is: the next, further on, or behind.
    fn rtp(&mut self, ssrc: u32, moved: u8, mut packet: Vec<u8>, header: usize) -> Option<(Path, Vec<u8>)> {
        let (sealer, next) = self.writer(ssrc);
        let index = match moved {
            0..=199 => *next,
            200..=229 => *next + u64::from(moved - 199),
            230..=239 => *next + 1000 * u64::from(moved - 229),
            _ => next.checked_sub(u64::from(moved - 238) * 10).filter(|index| *index >= FIRST)?,
        };
        let len = packet.len();
        packet.resize(len + sealer.tag_len(), 0);
        sealer.seal(index, &mut packet, header, len).ok()?;
        *next = (*next).max(index + 1);
        self.last.clone_from(&packet);
        Some((self.path, packet))
    }

    fn rtcp(&mut self, ssrc: u32, mut compound: Vec<u8>) -> Option<(Path, Vec<u8>)> {
        let (sealer, _) = self.writer(ssrc);
        let len = compound.len();
        compound.resize(len + sealer.rtcp_overhead(), 0);
        sealer.seal_rtcp(&mut compound, len).ok()?;
        self.last.clone_from(&compound);
        Some((self.path, compound))
    }
}

struct Scene {
    host: Host,
    publisher: Client,
    viewer: Client,
    /// SSRC and payload type of audio, video and retransmissions of the publisher.
    streams: Vec<(u32, u8)>,
    /// Our SSRCs towards the viewer.
    ours: Vec<u32>,
    /// SSRC and number of what the viewer got.
    got: Vec<(u32, u16)>,
}

impl Scene {
    fn new() -> Scene {
        static IDENTITIES: OnceLock<[Identity; 2]> = OnceLock::new();
        let make = || [(); 2].map(|()| Identity::generate().expect("OpenSSL makes a key"));
        let [own, theirs] = IDENTITIES.get_or_init(make);
        let mut host = Host::new();
        let now = host.worker.now();
        let client = || Engine::subscriber(now, theirs, own.fingerprint(), DtlsRole::Client);
        let stream = StreamKey::parse("cam").expect("a legal name");
        let (joined, plan) = host.publish(own, &stream, Some(theirs));
        let publisher = Client::connect(&mut host, joined, path(0), client());
        let (joined, tracks) = host.watch(own, &stream, &plan.tracks, Some(theirs));
        let viewer = Client::connect(&mut host, joined, path(2), client());
        assert_eq!(host.directory.counts().live, 1);
        let streams = plan.media.iter().flat_map(|media| {
            let main = media.ssrc.map(|ssrc| (ssrc, media.pt));
            main.into_iter().chain(media.rtx_ssrc.zip(media.rtx_pt))
        });
        let ours = tracks.iter().flat_map(|track| std::iter::once(track.ssrc).chain(track.rtx_ssrc));
        Scene { host, publisher, viewer, streams: streams.collect(), ours: ours.collect(), got: Vec::new() }
    }

    fn step(&mut self, step: u8, script: &mut Script<'_>) {
        match step & 7 {
            0 | 1 => self.media(step, script),
            2 => self.forged_header(step, script),
            3 => {
                let compound = compound(script, &[]);
                let ssrc = self.streams[usize::from(step >> 3) % self.streams.len()].0;
                let sealed = self.publisher.rtcp(ssrc, compound);
                self.send(sealed);
            }
            4 => {
                let compound = compound(script, &self.ours);
                self.viewer_says(compound);
            }
            5 => self.nack(step >> 3),
            6 => self.host.worker.pass(Duration::from_millis(20) * u32::from(script.byte().unwrap_or_default())),
            _ => self.repeat(step, script),
        }
    }

    /// As publishers send it: the next number, the time of now.
    fn media(&mut self, step: u8, script: &mut Script<'_>) {
        let (ssrc, pt) = self.streams[usize::from(step & 1)];
        let time = (self.publisher.writer(ssrc).1 as u32).wrapping_mul(3000);
        let mut packet = vec![0x80, pt | step & 0x80, 0, 0];
        packet.extend(time.to_be_bytes());
        packet.extend([0; 4]);
        if step & 8 != 0 {
            packet.extend(START);
        }
        packet.extend(script.bytes());
        let moved = if step & 16 == 0 { 0 } else { script.byte().unwrap_or_default() };
        let sealed = self.publisher.rtp(ssrc, moved, packet, 12);
        self.send(sealed);
    }

    /// Any SSRC, payload type, flags, CSRCs and extensions; of the viewer, too, who has nothing to send.
    fn forged_header(&mut self, step: u8, script: &mut Script<'_>) {
        let mut next = || script.byte().unwrap_or_default();
        let (flags, pt, stream, moved) = (next(), next(), next(), next());
        let known = self.streams[usize::from(stream) % self.streams.len()];
        let ssrc = if stream < 160 { known.0 } else { u32::from(stream) };
        let pt = if pt < 128 { known.1 | pt & 0x80 } else { pt };
        let mut packet = vec![0x80 | flags & 0x3f, pt, 0, 0, next(), next(), next(), next(), 0, 0, 0, 0];
        let csrcs = usize::from(flags & 15) * 4;
        packet.resize(12 + csrcs, stream);
        if flags & 0x10 != 0 {
            let extension = script.bytes();
            let words = extension.len().div_ceil(4).min(64);
            packet.extend([0xbe, 0xde, 0, words as u8]);
            let end = packet.len() + 4 * words;
            packet.extend(&extension[..extension.len().min(4 * words)]);
            packet.resize(end, 0);
        }
        let header = packet.len();
        packet.extend(script.bytes());
        if sort(&packet) != Sort::Rtp {
            return;
        }
        let from = if step & 8 == 0 { &mut self.publisher } else { &mut self.viewer };
        let sealed = from.rtp(ssrc, moved, packet, header);
        self.send(sealed);
    }

    fn viewer_says(&mut self, compound: Vec<u8>) {
        let sealed = self.viewer.rtcp(VIEWER, compound);
        self.send(sealed);
    }

    fn send(&mut self, sealed: Option<(Path, Vec<u8>)>) {
        if let Some((path, mut datagram)) = sealed {
            self.host.worker.datagram(0, path, &mut datagram);
        }
    }

    /// Of something the viewer got, and the 16 behind it.
    fn nack(&mut self, age: u8) {
        let Some((ssrc, number)) = self.got.iter().rev().nth(age.into()) else { return };
        let mut compound = vec![0x81, 205, 0, 3, 0, 0, 0, 0];
        compound.extend(ssrc.to_be_bytes());
        compound.extend(number.to_be_bytes());
        compound.extend([0xff, 0xff]);
        self.viewer_says(compound);
    }

    /// What was sent last comes again, as it was or with a bit changed. It must be as if it had not come.
    fn repeat(&mut self, step: u8, script: &mut Script<'_>) {
        let client = if step & 8 == 0 { &self.publisher } else { &self.viewer };
        let (path, mut datagram) = (client.path, client.last.clone());
        if step & 16 != 0 {
            let at = 2 + usize::from(script.byte().unwrap_or_default()) % datagram.len().saturating_sub(2).max(1);
            let Some(byte) = datagram.get_mut(at) else { return };
            *byte ^= 1 << (step >> 5);
        }
        self.holds();
        let before = self.counted();
        self.host.worker.datagram(0, path, &mut datagram);
        let after = self.counted();
        let effects = |(publisher, viewer): (Counters, Counters)| {
            (publisher.packets, publisher.lost, viewer.packets, viewer.nacks, viewer.plis, viewer.firs, viewer.lost)
        };
        assert_eq!(effects(before), effects(after), "what is not authentic, or comes again, has an effect");
        assert!(self.host.worker.take_sent().is_empty(), "an answer to what is not authentic, or comes again");
    }

    fn counted(&mut self) -> (Counters, Counters) {
        let [measured] = &self.host.worker.measure()[..] else { panic!("one worker") };
        assert_eq!(measured.panics, 0);
        (measured.publishers.counters, measured.subscribers.counters)
    }

    /// What is true at every moment: nobody broke, and whatever leaves is for one of the two, authentic, and leaves once.
    fn holds(&mut self) {
        for (path, mut bytes) in self.host.worker.take_sent() {
            let sort = sort(&bytes);
            let to_viewer = path == self.viewer.path;
            assert!(to_viewer || path == self.publisher.path, "{path:?}");
            let client = if to_viewer { &mut self.viewer } else { &mut self.publisher };
            match sort {
                Sort::Rtp => {
                    assert!(to_viewer, "media for a publisher");
                    match client.opener.open(&mut bytes) {
                        // Where RTX was not negotiated a resend is what it was.
                        Ok(_) | Err(OpenError::Replayed) => {}
                        Err(error) => panic!("{error}"),
                    }
                    let word = |at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk()).copied();
                    let (ssrc, number) = (word(8).map(u32::from_be_bytes), word(2).map(|[a, b, ..]: [u8; 4]| [a, b]));
                    self.got.extend(ssrc.zip(number.map(u16::from_be_bytes)));
                }
                Sort::Rtcp => drop(client.opener.open_rtcp(&mut bytes).expect("what we report is authentic")),
                Sort::Dtls | Sort::Stun => {}
                Sort::Other => panic!("{} bytes of nothing", bytes.len()),
            }
        }
        self.counted();
    }

    fn finish(mut self) -> Reached {
        for joined in [&self.publisher.joined, &self.viewer.joined] {
            self.host.worker.end(0, joined.session, &joined.ending, CloseReason::ByRequest);
        }
        self.holds();
        assert!(self.host.is_empty(), "something is left of one that ended");
        let (publisher, viewer) = self.counted();
        Reached { publisher, viewer, delivered: self.got.len() }
    }
}

/// A compound of RTCP whose first header is right; words of 1, 2 and 3 in it stand for our SSRCs.
fn compound(script: &mut Script<'_>, ours: &[u32]) -> Vec<u8> {
    let (first, kind) = (script.byte().unwrap_or_default(), script.byte().unwrap_or_default());
    let mut compound = vec![0x80 | first & 0x3f, 192 + kind % 32, 0, 0, 0, 0, 0, 0];
    compound.extend(script.bytes());
    compound.resize(compound.len().next_multiple_of(4), 0);
    if first & 0x40 == 0 {
        let words = (compound.len() / 4 - 1) as u16;
        compound[2..4].copy_from_slice(&words.to_be_bytes());
    }
    for word in compound.chunks_exact_mut(4) {
        if let [0, 0, 0, which] = *word
            && which > 0
            && let Some(ssrc) = ours.get(usize::from(which) - 1)
        {
            word.copy_from_slice(&ssrc.to_be_bytes());
        }
    }
    compound
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exercise::tests::Random;

    /// A keyframe and a picture, both with a few bytes more.
    const PICTURES: [u8; 8] = [9, 1, 7, 7, 1, 1, 0x10, 0x11];

    #[test]
    fn what_an_authentic_publisher_sends_gets_to_its_viewer() {
        assert_eq!(media(&[]).publisher.packets, 0);
        let reached = media(&PICTURES);
        assert_eq!((reached.publisher.packets, reached.viewer.packets, reached.delivered), (2, 2, 2));
        let strange = [&PICTURES[..], &[2, 0, 0, 200, 0, 0, 0, 0, 0, 1, 7, 7]].concat();
        assert_eq!(media(&strange).publisher.packets, 2, "of an SSRC that nobody announced");
    }

    #[test]
    fn what_an_authentic_viewer_asks_for_is_heard() {
        // Our video is the second of our SSRCs.
        let pli = [4, 1, 206 - 192, 2, 0, 0, 0, 2];
        let nack = [5];
        // What the publisher's engine sent it counts every second.
        let reached = media(&[&PICTURES[..], &pli, &nack, &[6, 60]].concat());
        assert_eq!((reached.viewer.plis, reached.viewer.nacks, reached.viewer.rejected), (1, 1, 0));
        assert_eq!(reached.viewer.resent, 1);
        assert!(reached.publisher.plis > 0, "passed on, and repeated as long as no keyframe comes");
    }

    #[test]
    fn what_was_changed_or_comes_again_is_not() {
        let repeated = |step| media(&[&PICTURES[..], &[step, 20]].concat());
        for step in [7, 7 | 16, 7 | 16 | 0x60] {
            assert_eq!(repeated(step).publisher.packets, 2);
        }
    }

    #[test]
    fn a_worker_stands_whatever_authentic_clients_say() {
        let mut random = Random(0x5eed);
        let (mut delivered, mut heard) = (0, 0);
        for _ in 0..120 {
            let mut script = PICTURES.to_vec();
            for _ in 0..80 {
                let step = random.below(256) as u8;
                script.push(step);
                match step & 7 {
                    2 => (0..8).for_each(|_| script.push(random.below(256) as u8)),
                    3 | 4 => script.extend([random.below(256) as u8, 200 - 192 + random.below(8) as u8]),
                    6 => script.push(random.below(12) as u8),
                    _ => {}
                }
                if matches!(step & 7, 0..=4) {
                    let words = random.below(20);
                    script.push(words as u8);
                    (0..words).for_each(|_| script.extend([0, random.below(256) as u8 >> random.below(8)]));
                }
            }
            let reached = media(&script);
            delivered += reached.delivered;
            heard += reached.viewer.plis + reached.viewer.firs + reached.viewer.nacks;
        }
        assert!(delivered > 1000 && heard > 80, "{delivered} packets delivered, {heard} requests heard");
    }
}
