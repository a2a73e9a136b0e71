//! One session of a worker: who may send for it, where its client is, what its origin's answers belong to, and when it is
//! over. A machine without sockets and clock.
//!
//! A request counts when it names a generation of the session with both ufrags and has the origin's MESSAGE-INTEGRITY and a
//! FINGERPRINT; only that makes an address one of the session's, and [`Addresses`] says when media moves. A transaction
//! seen before moves nothing; it is passed on only if it comes from where it came from first, as clients repeat what is
//! not answered (RFC 8489 section 6.2.1). Everything else is passed on from addresses of the session only.
//!
//! Whatever is no such request may have been written by anybody who knows two addresses, and so it can only make a session
//! last: it shows that somebody is there. The one exception is a goodbye of DTLS, of either side, which cannot be verified
//! here either: it is taken for a hint that counts if silence follows. It ends the session when for [`CLOSING`] nothing
//! but goodbyes has come from either side, *and* the client's next check is overdue, by the rhythm in which it has made
//! them so far; anything else that comes when what was under way has arrived takes the goodbye back. Such an end is this
//! proxy's alone: the session's record stays where it is, and who is there after all (a check of a silent client was lost,
//! say) is found again by its next one.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use whipstitch_net::Path;
use whipstitch_net::addresses::{Addresses, Checked};
use whipstitch_net::sort::{Sort, sort};
use whipstitch_net::stun::{self, Class, Seen};

use super::counters::{Dropped, EndReason};
use super::directory::Known;
use crate::{Pair, Session};

/// How long an address is its session's after the last datagram from there, whatever others prove: who is there is heard
/// from. A client checks again within 6 s (RFC 7675 section 5.1); twice that, as one may be lost, and a second on the way.
pub(super) const HELD: Duration = Duration::from_secs(13);

/// How long a session stays when DTLS said goodbye and all is silent since.
const CLOSING: Duration = Duration::from_secs(3);

/// What either side sent before a goodbye, or before it heard of one, is on its way for about as long.
const GOODBYE_TRAVELS: Duration = Duration::from_secs(1);

/// Requests whose answers find their way back to where they came from, and which may be repeated. A client with four
/// addresses that checks each five times before the first answer has 20 under way.
const ASKED: usize = 32;

/// How often one request is passed on: as often as RFC 8489 section 6.2.1 has it sent (Rc).
const REPEATS: u8 = 7;

/// From the first failure of a socket to the origin to the next one, and the longest such time.
const FIRST_DELAY: Duration = Duration::from_millis(250);
const LAST_DELAY: Duration = Duration::from_secs(8);

/// A session is told to be in use this often at most.
const USED_EVERY: Duration = Duration::from_secs(10);

/// DTLS records of one datagram that are looked at for an alert.
const RECORDS: usize = 8;

/// One ICE generation, and which requests were made under it.
#[derive(Debug)]
struct Generation {
    ice: crate::Generation,
    pair: Pair,
    seen: Seen,
}

impl Generation {
    fn new(ice: &crate::Generation) -> Self {
        Self { ice: ice.clone(), pair: ice.pair(), seen: Seen::default() }
    }
}

/// A request on its way to the origin.
#[derive(Debug, Clone, Copy)]
struct Asked {
    transaction: [u8; 12],
    from: Path,
    times: u8,
}

/// The socket to the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upstream {
    /// Not there; may be opened from then on.
    Down { until: Option<Instant> },
    /// Open, as far as is known.
    Up,
}

/// Whether there is a way to the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// There is.
    Open,
    /// A socket is to be opened first.
    Opens,
    /// Not now.
    Down,
}

/// What an authentic request led to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) checked: Checked,
    /// A generation is over, since a newer one was proven.
    pub(super) retired: Option<Pair>,
}

/// One session.
#[derive(Debug)]
pub(super) struct RelaySession {
    pub(super) known: Known,
    /// The newest last.
    generations: SmallVec<[Generation; 1]>,
    pub(super) addresses: Addresses,
    /// Which worker's socket datagrams from each address come in through.
    pub(super) vias: SmallVec<[(SocketAddr, usize); 1]>,
    asked: VecDeque<Asked>,
    upstream: Upstream,
    delay: Duration,
    /// The last authentic request, or datagram of the origin that was no goodbye.
    alive: Instant,
    /// The last datagram from any of its client's addresses that was no goodbye.
    client: Instant,
    /// The last authentic request, and the longest time between two of them.
    checked: Instant,
    pause: Duration,
    /// DTLS said goodbye then, or somebody in its name.
    closing: Option<Instant>,
    used: Option<Instant>,
    /// The earliest deadline in the heap.
    pub(super) scheduled: Option<Instant>,
    idle: Duration,
}

/// Judges a request against the generation of a record that it names.
pub(super) fn verify(record: &Session, username: &str, bytes: &[u8]) -> Result<stun::Binding, Dropped> {
    let named = record.generations.iter().find(|ice| ice.pair().as_str() == username);
    judge(named.ok_or(Dropped::UnknownPair)?, bytes)
}

fn judge(ice: &crate::Generation, bytes: &[u8]) -> Result<stun::Binding, Dropped> {
    Ok(stun::verify(bytes, ice.origin.ufrag(), ice.client.ufrag(), ice.origin.pwd())?)
}

impl RelaySession {
    pub(super) fn new(now: Instant, known: Known, idle: Duration) -> Self {
        Self {
            generations: {
                let live = known.record.generations.iter().filter(|ice| !known.live.is_retired(&ice.pair()));
                live.map(Generation::new).collect()
            },
            known,
            addresses: Addresses::default(),
            vias: SmallVec::new(),
            asked: VecDeque::new(),
            upstream: Upstream::Down { until: None },
            delay: FIRST_DELAY,
            alive: now,
            client: now,
            checked: now,
            pause: Duration::ZERO,
            closing: None,
            used: None,
            scheduled: None,
            idle,
        }
    }

    /// The names its requests may have.
    pub(super) fn pairs(&self) -> impl Iterator<Item = &Pair> {
        self.generations.iter().map(|generation| &generation.pair)
    }

    /// A request that names this session.
    pub(super) fn check(&mut self, now: Instant, path: Path, username: &str, bytes: &[u8]) -> Result<Outcome, Dropped> {
        let newest = self.generations.len().wrapping_sub(1);
        let index = self.generations.iter().position(|generation| generation.pair.as_str() == username);
        let index = index.ok_or(Dropped::UnknownPair)?;
        let generation = &mut self.generations[index];
        let binding = judge(&generation.ice, bytes)?;
        if !generation.seen.insert(binding.transaction) {
            return self.repeated(path, binding.transaction);
        }
        if self.asked.len() >= ASKED {
            self.asked.pop_front();
        }
        self.asked.push_back(Asked { transaction: binding.transaction, from: path, times: 1 });
        let checked = self.addresses.check(now, path, binding.use_candidate);
        self.pause = self.pause.max(now.saturating_duration_since(self.checked));
        self.checked = now;
        self.alive = now;
        self.client = now;
        self.closing = None;
        let is_proven = index == newest && binding.use_candidate && self.addresses.is_bound(path);
        Ok(Outcome { checked, retired: if is_proven { self.retire_older() } else { None } })
    }

    /// A request seen before: again from the same place, or a replay.
    fn repeated(&mut self, path: Path, transaction: [u8; 12]) -> Result<Outcome, Dropped> {
        let asked = self.asked.iter_mut().find(|asked| asked.transaction == transaction);
        let asked = asked.filter(|asked| asked.from.has_same_end(&path) && asked.times < REPEATS);
        asked.ok_or(Dropped::Replayed)?.times += 1;
        Ok(Outcome::default())
    }

    fn retire_older(&mut self) -> Option<Pair> {
        (self.generations.len() > 1).then(|| self.generations.remove(0).pair)
    }

    /// Anything but a request, from a client's address.
    pub(super) fn handle_client(&mut self, now: Instant, path: Path, bytes: &[u8]) -> Result<(), Dropped> {
        if !self.addresses.accepts(path) {
            return Err(Dropped::Unbound);
        }
        self.addresses.heard(now, path);
        if has_alert(bytes) {
            self.closing.get_or_insert(now);
        } else {
            self.client = now;
            self.goes_on(now);
        }
        Ok(())
    }

    /// Something came that was no goodbye.
    fn goes_on(&mut self, now: Instant) {
        self.closing.take_if(|since| now.saturating_duration_since(*since) >= GOODBYE_TRAVELS);
    }

    /// A datagram of the origin: where it goes.
    pub(super) fn handle_origin(&mut self, now: Instant, bytes: &[u8]) -> Result<Path, Dropped> {
        self.delay = FIRST_DELAY;
        let sort = sort(bytes);
        if sort == Sort::Dtls && has_alert(bytes) {
            self.closing.get_or_insert(now);
        } else {
            self.alive = now;
            self.goes_on(now);
        }
        let asker = if sort == Sort::Stun { self.asker(bytes) } else { None };
        asker.or_else(|| self.addresses.path()).ok_or(Dropped::NoClient)
    }

    /// Where the request came from that this is the answer to.
    fn asker(&self, bytes: &[u8]) -> Option<Path> {
        let head = stun::head(bytes).ok().filter(|head| matches!(head.class, Class::Success | Class::Error))?;
        let asked = self.asked.iter().rev().find(|asked| asked.transaction == head.transaction)?;
        Some(asked.from)
    }

    /// An address is another session's now. True when media went there.
    pub(super) fn lose(&mut self, remote: SocketAddr) -> bool {
        self.vias.retain(|(own, _)| *own != remote);
        self.asked.retain(|asked| asked.from.remote != remote);
        self.addresses.closed(Path::to(remote))
    }

    /// Whether a socket to the origin is there, for a datagram that is to be sent now.
    pub(super) fn reach(&mut self, now: Instant) -> Reach {
        match self.upstream {
            Upstream::Up => Reach::Open,
            Upstream::Down { until } if until.is_none_or(|until| until <= now) => {
                self.upstream = Upstream::Up;
                Reach::Opens
            }
            Upstream::Down { .. } => Reach::Down,
        }
    }

    /// The socket to the origin failed. False when it had already.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        if self.upstream != Upstream::Up {
            return false;
        }
        self.upstream = Upstream::Down { until: Some(now + self.delay) };
        self.delay = (self.delay * 2).min(LAST_DELAY);
        true
    }

    /// A record with another generation: the pairs that are new, and those that are over.
    pub(super) fn update(&mut self, record: &Session) -> (Vec<Pair>, Vec<Pair>) {
        let mut before: Vec<Generation> = self.generations.drain(..).collect();
        let mut added = Vec::new();
        for ice in &record.generations {
            let pair = ice.pair();
            if let Some(at) = before.iter().position(|generation| generation.pair == pair) {
                // With the requests that were made under it.
                self.generations.push(before.swap_remove(at));
            } else if !self.known.live.is_retired(&pair) {
                added.push(pair);
                self.generations.push(Generation::new(ice));
            }
        }
        (added, before.into_iter().map(|generation| generation.pair).collect())
    }

    /// True when it is to be told that the session is in use, at most once in [`USED_EVERY`].
    pub(super) fn is_used(&mut self, now: Instant) -> bool {
        if self.used.is_some_and(|used| now.saturating_duration_since(used) < USED_EVERY) {
            return false;
        }
        self.used = Some(now);
        true
    }

    /// DTLS said goodbye, and nothing has shown since that it was not meant.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// When it is over if nothing comes any more, and why.
    pub(super) fn end(&self) -> (Instant, EndReason) {
        let idle = self.alive.min(self.client) + self.idle;
        // No two pauses are quite alike.
        let overdue = self.checked + (self.pause + self.pause / 4).min(HELD);
        match self.closing.map(|since| overdue.max(since.max(self.alive).max(self.client) + CLOSING)) {
            Some(closed) if closed <= idle => (closed, EndReason::Closed),
            _ => (idle, EndReason::Idle),
        }
    }
}

/// Whether a DTLS datagram has an alert among its records (RFC 6347 section 4.1). DTLS 1.3 hides its own; then the idle time
/// has to do.
fn has_alert(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    for _ in 0..RECORDS {
        // Content type, version, epoch, sequence number, length.
        let [kind, 0xfe, _, _, _, _, _, _, _, _, _, high, low, after @ ..] = rest else { return false };
        if *kind == 21 {
            return true;
        }
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(next) = after.get(length..) else { return false };
        rest = next;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::has_alert;

    fn record(kind: u8, len: u8) -> Vec<u8> {
        [&[kind, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 7, 0, len][..], &vec![9; usize::from(len)]].concat()
    }

    #[test]
    fn an_alert_is_found_among_records_and_nowhere_else() {
        assert!(has_alert(&record(21, 26)));
        assert!(has_alert(&[record(22, 40), record(21, 2)].concat()));
        for other in [record(22, 40), record(23, 40), record(20, 1), vec![], vec![21; 12], vec![0x80; 40]] {
            assert!(!has_alert(&other), "{other:?}");
        }
        let mut long = record(22, 40);
        long[12] = 41;
        assert!(!has_alert(&[long, record(21, 2)].concat()), "the first record runs on");
        assert!(!has_alert(&[21; 60]), "no version of DTLS");
    }
}
