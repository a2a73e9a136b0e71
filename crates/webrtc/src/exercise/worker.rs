//! What strangers and half-known clients can do to a worker.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use whipstitch_media::Codec;
use whipstitch_net::{Path, stun};
use whipstitch_plane::{Ending, IceRestart, PeerCommand, Role};
use whipstitch_stream::{CloseReason, SessionId, StreamKey, Track, Tracks};

use super::{Host, Script, address};
use crate::dtls::Identity;
use crate::negotiate::Credentials;
use crate::random;

/// Sessions at once, and things that happen, of one input.
const MAX_SESSIONS: usize = 4;
const MAX_STEPS: usize = 300;

/// Addresses that one session is known by at most (`ice`).
const ADDRESSES: usize = 8;

/// Valid checks that are kept to be replayed.
const KEPT: usize = 8;

/// Plays a script on a live worker. Each step is a byte that says what happens, to which session, from which address, and
/// as many bytes as that needs: a datagram as it stands, one with a DTLS record's header, a valid check, a check seen
/// before from elsewhere, time, a restart, an end, another session. Says how many datagrams the worker sent.
///
/// # Panics
/// If anything is sent to where nobody has proven to be, if a session breaks, or if something is left of one that ended.
pub fn worker(script: &[u8]) -> usize {
    let mut scene = Scene::new();
    let mut script = Script(script);
    scene.join(Role::Publisher);
    scene.join(Role::Subscriber);
    for _ in 0..MAX_STEPS {
        let Some(step) = script.byte() else { break };
        scene.step(step, &mut script);
        scene.holds();
    }
    scene.finish()
}

/// One session as its client knows it.
struct Known {
    session: SessionId,
    ending: Ending,
    /// Ours and its, of both generations.
    credentials: VecDeque<(Credentials, Credentials)>,
    checks: VecDeque<Vec<u8>>,
}

struct Scene {
    host: Host,
    known: Vec<Known>,
    transactions: u32,
    /// Where a valid check came from.
    proven: HashSet<SocketAddr>,
    sent: usize,
}

impl Scene {
    fn new() -> Scene {
        Scene { host: Host::new(), known: Vec::new(), transactions: 0, proven: HashSet::new(), sent: 0 }
    }

    /// A POST: of a publisher on a stream of its own, or of a viewer. Nobody has the key to the offers.
    fn join(&mut self, role: Role) {
        static IDENTITY: OnceLock<Identity> = OnceLock::new();
        let identity = IDENTITY.get_or_init(|| Identity::generate().expect("OpenSSL makes a key"));
        if self.known.len() == MAX_SESSIONS {
            return;
        }
        let stream = StreamKey::parse(&format!("cam{}", self.host.joined)).expect("a legal name");
        let joined = match role {
            Role::Publisher => self.host.publish(identity, &stream, None).0,
            Role::Subscriber => {
                let video = Some(Track { codec: Codec::Vp8, format: String::new() });
                self.host.watch(identity, &stream, &Tracks { audio: None, video }, None).0
            }
        };
        let credentials = VecDeque::from([(joined.local, joined.remote)]);
        let (session, ending) = (joined.session, joined.ending);
        self.known.push(Known { session, ending, credentials, checks: VecDeque::new() });
    }

    fn step(&mut self, step: u8, script: &mut Script<'_>) {
        let from = Path::to(address(step >> 4 & 3));
        let which = usize::from(step >> 6) % self.known.len().max(1);
        match step & 15 {
            0..=4 => self.host.worker.datagram(0, from, &mut script.bytes().to_vec()),
            5..=6 => self.host.worker.datagram(0, from, &mut record(script)),
            7..=8 => self.check(which, from, script.byte().unwrap_or_default()),
            9 => self.replay(which, from, script.byte().unwrap_or_default()),
            10 => self.host.worker.pass(Duration::from_millis(20) * u32::from(script.byte().unwrap_or_default())),
            11 => self.restart(which),
            12 => self.end(which),
            13 => self.join(if step & 16 == 0 { Role::Publisher } else { Role::Subscriber }),
            _ => self.forged(which, from, script),
        }
    }

    /// A check as the client would send it. `how`: nominating, and of which generation.
    fn check(&mut self, which: usize, from: Path, how: u8) {
        let Some(known) = self.known.get_mut(which) else { return };
        let Some((local, remote)) = known.credentials.get(usize::from(how >> 1) % known.credentials.len()) else {
            return;
        };
        self.transactions += 1;
        let mut transaction = [0; 12];
        transaction[..4].copy_from_slice(&self.transactions.to_be_bytes());
        let username = format!("{}:{}", local.ufrag, remote.ufrag);
        let mut check = stun::binding_request(&username, &local.pwd, how & 1 == 1, 1, 1, transaction);
        if known.checks.len() == KEPT {
            known.checks.pop_front();
        }
        known.checks.push_back(check.clone());
        self.proven.insert(from.remote);
        self.host.worker.datagram(0, from, &mut check);
    }

    /// A check that was captured. It is answered, but what belongs to the session does not go there.
    fn replay(&mut self, which: usize, from: Path, age: u8) {
        let Some(known) = self.known.get(which) else { return };
        let Some(mut check) = known.checks.get(usize::from(age) % KEPT).cloned() else { return };
        let before = self.host.worker.measure()[0].addresses;
        self.holds();
        self.host.worker.datagram(0, from, &mut check);
        assert!(self.host.worker.measure()[0].addresses <= before, "a replay opened an address");
        let answers = self.host.worker.take_sent();
        assert!(answers.iter().all(|(path, bytes)| *path == from && bytes.first().is_some_and(|first| *first < 4)));
    }

    /// A check of somebody who knows the names but not the password.
    fn forged(&mut self, which: usize, from: Path, script: &mut Script<'_>) {
        let Some((local, remote)) = self.known.get(which).and_then(|known| known.credentials.back()) else { return };
        let username = format!("{}:{}", local.ufrag, remote.ufrag);
        let mut check = stun::binding_request(&username, "another password of 24 b", true, 1, 1, [9; 12]);
        // All but the first byte, which says that it is STUN.
        for (byte, flip) in check.iter_mut().skip(1).zip(script.bytes()) {
            *byte ^= flip;
        }
        self.holds();
        self.host.worker.datagram(0, from, &mut check);
        assert!(self.host.worker.take_sent().is_empty(), "an answer to a stranger");
    }

    fn restart(&mut self, which: usize) {
        let Some(known) = self.known.get_mut(which) else { return };
        let (local, remote) = (random::credentials(0), random::credentials(0));
        let pair = |credentials: &Credentials| (credentials.ufrag.clone(), credentials.pwd.clone());
        let restart = IceRestart { local: pair(&local), remote: pair(&remote) };
        known.credentials.push_front((local, remote));
        known.credentials.truncate(3);
        let told = self.host.worker.tell(0, known.session, PeerCommand::IceRestart(restart));
        told.expect("nobody is held up");
    }

    fn end(&mut self, which: usize) {
        if which < self.known.len() {
            let known = self.known.swap_remove(which);
            self.host.worker.end(0, known.session, &known.ending, CloseReason::ByRequest);
        }
    }

    /// What is true at every moment.
    fn holds(&mut self) {
        for (path, bytes) in self.host.worker.take_sent() {
            assert!(self.proven.contains(&path.remote), "{} bytes to {}", bytes.len(), path.remote);
            self.sent += 1;
        }
        let [measured] = &self.host.worker.measure()[..] else { panic!("one worker") };
        let sessions = self.host.register.live();
        assert_eq!(measured.panics, 0);
        assert!(sessions <= self.known.len() && measured.addresses <= ADDRESSES * sessions);
        assert!((sessions..=2 * sessions).contains(&measured.ufrags), "{} of {sessions}", measured.ufrags);
        let counts = self.host.directory.counts();
        assert_eq!(counts.publishers + counts.subscribers, sessions);
        assert!(self.host.waiting.taken() <= sessions && counts.live == 0, "nobody has the key to the offers");
    }

    /// Those that are left end; says how many datagrams were sent.
    fn finish(mut self) -> usize {
        while !self.known.is_empty() {
            self.end(0);
        }
        self.holds();
        assert!(self.host.is_empty(), "something is left of one that ended");
        self.sent
    }
}

/// A DTLS 1.2 record of the first epoch (RFC 6347 4.1) whose header is right.
fn record(script: &mut Script<'_>) -> Vec<u8> {
    let kind = [20, 21, 22, 22, 23][usize::from(script.byte().unwrap_or_default()) % 5];
    let body = script.bytes();
    let mut record = vec![kind, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0];
    record.extend((body.len() as u16).to_be_bytes());
    record.extend(body);
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exercise::tests::Random;

    #[test]
    fn a_check_is_answered_and_a_handshake_begins() {
        assert_eq!(worker(&[]), 0);
        assert_eq!(worker(&[7, 1]), 1, "the answer; browsers offer to be the DTLS client");
        assert_eq!(worker(&[7, 1, 7, 1, 0x47, 1]), 3);
    }

    #[test]
    fn a_worker_stands_any_order_of_anything() {
        let mut random = Random(0x5eed);
        let mut sent = 0;
        for _ in 0..400 {
            let mut script = Vec::new();
            for _ in 0..60 {
                let step = random.below(256) as u8;
                script.push(step);
                match step & 15 {
                    0..=6 | 14..=15 => {
                        if matches!(step & 15, 5 | 6) {
                            script.push(random.below(256) as u8);
                        }
                        let words = random.below(40);
                        script.push(words as u8);
                        // First bytes of each kind (RFC 7983), and any.
                        script.push([0, 1, 20, 22, 23, 0x80, 0x81, 0x90][random.below(8) as usize]);
                        (1..words * 2).for_each(|_| script.push(random.below(256) as u8));
                    }
                    7..=10 => script.push(random.below(256) as u8),
                    _ => {}
                }
            }
            sent += worker(&script);
        }
        assert!(sent > 1000, "{sent}");
    }
}
