//! From whom the output of a process is taken. Its ports are in the arguments of its child, where every user of the machine can
//! read them (`ps`), so that an address is its child's, or at least our own user's, is asked of the system before anything from
//! there counts. Until it has answered, what came waits. No I/O and no clock: time is an argument. One for each output.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use whipstitch_media::Kind;

use crate::sockets::Port;

/// Addresses that are remembered. A child has four: RTP and RTCP of two tracks. One more takes the place of a stranger's, and
/// is refused where there is none of these.
const MOST: usize = 32;

/// What waits of one address, and of all: a keyframe is up to 200 KB, and the answer comes within milliseconds. What finds no
/// room is refused.
const WAITS: usize = 256 * 1024;
const ALL_WAIT: usize = 4 * WAITS;

/// After so long the system is asked again, as the port may have become another's. Meanwhile what it said stands, but for
/// strangers: the port may be the child's now.
const GOOD_FOR: Duration = Duration::from_secs(5);

/// A datagram that waits.
#[derive(Debug, PartialEq)]
pub(super) struct Waits {
    pub(super) kind: Kind,
    pub(super) port: Port,
    pub(super) from: SocketAddr,
    pub(super) bytes: Vec<u8>,
    pub(super) at: Instant,
}

/// What becomes of a datagram by where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// It is the child's.
    Ours,
    /// It is not, or there are too many others.
    Refused,
    /// That is not known: it is to [wait](Senders::wait).
    Unknown,
}

#[derive(Debug)]
struct Sender {
    from: SocketAddr,
    /// What the system has said; `None` if it has not.
    ours: Option<bool>,
    /// When that was, or when it came first.
    since: Instant,
    /// It is to be asked, or is being asked.
    asks: bool,
    /// So much of it waits.
    waits: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Senders {
    known: Vec<Sender>,
    waiting: Vec<Waits>,
    /// It is being asked.
    asking: bool,
}

impl Senders {
    /// Whose a datagram is.
    pub(super) fn judge(&mut self, now: Instant, from: SocketAddr) -> Judged {
        let Some(sender) = self.known.iter_mut().find(|sender| sender.from == from) else {
            return self.meet(now, from);
        };
        let is_old = now.saturating_duration_since(sender.since) >= GOOD_FOR;
        match sender.ours {
            None => Judged::Unknown,
            Some(ours) if !is_old => {
                if ours {
                    Judged::Ours
                } else {
                    Judged::Refused
                }
            }
            Some(true) => {
                sender.asks = true;
                Judged::Ours
            }
            Some(false) => {
                (sender.ours, sender.asks) = (None, true);
                Judged::Unknown
            }
        }
    }

    fn meet(&mut self, now: Instant, from: SocketAddr) -> Judged {
        if self.known.len() >= MOST {
            let strangers = self.known.iter().enumerate().filter(|(_, sender)| sender.ours == Some(false));
            let Some((oldest, _)) = strangers.min_by_key(|(_, sender)| sender.since) else { return Judged::Refused };
            self.known.swap_remove(oldest);
        }
        self.known.push(Sender { from, ours: None, since: now, asks: true, waits: 0 });
        Judged::Unknown
    }

    /// Keeps what came from an unknown address; whether there is room for it.
    pub(super) fn wait(&mut self, datagram: Waits) -> bool {
        let cost = cost(&datagram);
        let all: usize = self.known.iter().map(|sender| sender.waits).sum();
        let Some(sender) = self.known.iter_mut().find(|sender| sender.from == datagram.from) else { return false };
        let has_room = sender.waits + cost <= WAITS && all + cost <= ALL_WAIT;
        if has_room {
            sender.waits += cost;
            self.waiting.push(datagram);
        }
        has_room
    }

    /// Of which addresses the system is to be asked now, if of any. Nothing more until it has [answered](Self::answered).
    pub(super) fn question(&mut self) -> Option<Vec<SocketAddr>> {
        if self.asking {
            return None;
        }
        let asked: Vec<SocketAddr> = self.known.iter().filter(|sender| sender.asks).map(|sender| sender.from).collect();
        self.asking = !asked.is_empty();
        self.asking.then_some(asked)
    }

    /// What the system says of these, all that were asked of. Gives what has waited and is taken, in the order in which it
    /// came, and the number of those that are refused.
    pub(super) fn answered(&mut self, now: Instant, answers: &[(SocketAddr, bool)]) -> (Vec<Waits>, u64) {
        self.asking = false;
        for (from, ours) in answers {
            if let Some(sender) = self.known.iter_mut().find(|sender| sender.from == *from) {
                *sender = Sender { from: *from, ours: Some(*ours), since: now, asks: false, waits: 0 };
            }
        }
        let of = |waits: &Waits| answers.iter().find(|(from, _)| *from == waits.from).map(|(_, ours)| *ours);
        let (answered, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(|waits| of(waits).is_some());
        self.waiting = waiting;
        let (taken, refused): (Vec<Waits>, Vec<Waits>) =
            Vec::into_iter(answered).partition(|waits| of(waits) == Some(true));
        (taken, refused.len() as u64)
    }
}

/// What it takes to keep one: empty ones are not for nothing.
fn cost(datagram: &Waits) -> usize {
    datagram.bytes.len() + size_of::<Waits>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: usize = WAITS - size_of::<Waits>();

    fn at(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn datagram(from: u16, len: usize, at: Instant) -> Waits {
        Waits { kind: Kind::Video, port: Port::Rtp, from: self::at(from), bytes: vec![0; len], at }
    }

    #[test]
    fn what_comes_waits_until_it_is_known_whose_it_is() {
        let (mut senders, now) = (Senders::default(), Instant::now());
        for port in [1, 2, 1] {
            assert_eq!(senders.judge(now, at(port)), Judged::Unknown);
            assert!(senders.wait(datagram(port, usize::from(port), now)));
        }
        assert_eq!(senders.question(), Some(vec![at(1), at(2)]));
        assert_eq!(senders.judge(now, at(3)), Judged::Unknown, "it has come too late for this question");
        assert!(senders.wait(datagram(3, 3, now)));
        assert_eq!(senders.question(), None, "one at a time");
        let (taken, refused) = senders.answered(now, &[(at(1), true), (at(2), false)]);
        assert_eq!((taken, refused), (vec![datagram(1, 1, now), datagram(1, 1, now)], 1));
        assert_eq!(
            [1, 2, 3].map(|port| senders.judge(now, at(port))),
            [Judged::Ours, Judged::Refused, Judged::Unknown]
        );
        assert_eq!(senders.question(), Some(vec![at(3)]));
        assert_eq!(senders.answered(now, &[(at(3), true)]), (vec![datagram(3, 3, now)], 0));
        assert_eq!(senders.question(), None);
    }

    #[test]
    fn an_answer_grows_old_as_ports_change_hands() {
        let (mut senders, start) = (Senders::default(), Instant::now());
        for port in [1, 2] {
            senders.judge(start, at(port));
        }
        senders.question();
        senders.answered(start, &[(at(1), true), (at(2), false)]);
        let late = start + GOOD_FOR - Duration::from_millis(1);
        assert_eq!([1, 2].map(|port| senders.judge(late, at(port))), [Judged::Ours, Judged::Refused]);
        assert_eq!(senders.question(), None);
        let old = start + GOOD_FOR;
        assert_eq!([1, 2].map(|port| senders.judge(old, at(port))), [Judged::Ours, Judged::Unknown]);
        assert_eq!(senders.question(), Some(vec![at(1), at(2)]));
        senders.answered(old, &[(at(1), false), (at(2), true)]);
        assert_eq!([1, 2].map(|port| senders.judge(old, at(port))), [Judged::Refused, Judged::Ours]);
    }

    #[test]
    fn strangers_use_up_neither_places_nor_memory() {
        let (mut senders, now) = (Senders::default(), Instant::now());
        senders.judge(now, at(1));
        for len in [LARGE, 0] {
            assert_eq!(senders.wait(datagram(1, len, now)), len == LARGE, "of one");
        }
        let asked = senders.question().unwrap();
        senders.answered(now, &[(asked[0], true)]);
        for port in 2..1000 {
            senders.judge(now, at(port));
            senders.wait(datagram(port, LARGE, now));
        }
        let waits: usize = senders.waiting.iter().map(cost).sum();
        assert_eq!((senders.known.len(), waits), (MOST, ALL_WAIT));
        assert_eq!(senders.judge(now, at(2000)), Judged::Refused, "none of them is known to be a stranger");
        let asked = senders.question().unwrap();
        let answers: Vec<_> = asked.into_iter().map(|from| (from, false)).collect();
        assert_eq!(senders.answered(now, &answers), (Vec::new(), 4));
        assert_eq!(senders.judge(now, at(2000)), Judged::Unknown, "in the place of one of these");
        assert_eq!(senders.judge(now, at(1)), Judged::Ours, "and not of the child's");
        assert_eq!((senders.known.len(), senders.waiting.len()), (MOST, 0));
    }
}
