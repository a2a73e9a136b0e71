//! What the relay counts. Workers add, anybody reads; each number is right by itself, and all of them soon after.

use std::sync::atomic::{AtomicU64, Ordering};

use whipstitch_net::stun::DropReason;

/// Why a datagram went no further. The words are the metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dropped {
    /// STUN by its first bytes, but not by what follows.
    Malformed,
    /// Neither STUN nor DTLS nor RTP nor RTCP.
    Other,
    /// A request that is none for a binding.
    NotBinding,
    /// A request without USERNAME, or with one that is not two ufrags.
    Username,
    /// A request of a session that neither this proxy nor the registry knows.
    UnknownPair,
    /// A request of a session that is being looked up; the client's next one may get through.
    LookupPending,
    /// A request of a session that would have to be looked up, while too many are.
    LookupsFull,
    /// A request with no or a wrong FINGERPRINT.
    Fingerprint,
    /// A request with no or a wrong MESSAGE-INTEGRITY.
    Integrity,
    /// A request that came before from somewhere else, or too often.
    Replayed,
    /// A request from an address that another session talks from.
    AddressTaken,
    /// Anything else from an address that no session has.
    Unbound,
    /// It came to another worker than its session's, and found no room in the mailbox between them.
    Misplaced,
    /// There is no socket to the origin right now.
    UpstreamDown,
    /// From the origin, while the session has no address of its client.
    NoClient,
    /// The kernel refused it for its destination.
    Refused,
    /// The kernel had no room to send it.
    NoRoom,
}

impl Dropped {
    /// All of them.
    pub const ALL: [Dropped; 17] = [
        Dropped::Malformed,
        Dropped::Other,
        Dropped::NotBinding,
        Dropped::Username,
        Dropped::UnknownPair,
        Dropped::LookupPending,
        Dropped::LookupsFull,
        Dropped::Fingerprint,
        Dropped::Integrity,
        Dropped::Replayed,
        Dropped::AddressTaken,
        Dropped::Unbound,
        Dropped::Misplaced,
        Dropped::UpstreamDown,
        Dropped::NoClient,
        Dropped::Refused,
        Dropped::NoRoom,
    ];

    /// The label of metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Dropped::Malformed => "malformed",
            Dropped::Other => "other",
            Dropped::NotBinding => "not_binding",
            Dropped::Username => "username",
            Dropped::UnknownPair => "unknown_pair",
            Dropped::LookupPending => "lookup_pending",
            Dropped::LookupsFull => "lookups_full",
            Dropped::Fingerprint => "fingerprint",
            Dropped::Integrity => "integrity",
            Dropped::Replayed => "replayed",
            Dropped::AddressTaken => "address_taken",
            Dropped::Unbound => "unbound",
            Dropped::Misplaced => "misplaced",
            Dropped::UpstreamDown => "upstream_down",
            Dropped::NoClient => "no_client",
            Dropped::Refused => "refused",
            Dropped::NoRoom => "no_room",
        }
    }
}

impl From<DropReason> for Dropped {
    fn from(reason: DropReason) -> Self {
        match reason {
            DropReason::NotStun | DropReason::Malformed => Dropped::Malformed,
            DropReason::NotARequest | DropReason::NotBinding => Dropped::NotBinding,
            DropReason::Fingerprint => Dropped::Fingerprint,
            DropReason::Username => Dropped::UnknownPair,
            DropReason::Integrity => Dropped::Integrity,
        }
    }
}

/// Why a session is over. The words are the same in log, metrics and API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// Its client or an operator ended it over HTTP.
    Deleted,
    /// DTLS said goodbye, in either direction, and nothing came since. Anybody can have written that, so other proxies may
    /// have the session still.
    Closed,
    /// Nothing came from its origin, and nothing authentic from its client, for the idle time; or nothing at all from its
    /// client. Other proxies may have the session still.
    Idle,
    /// Its origin is gone.
    OriginGone,
}

impl EndReason {
    /// All of them.
    pub const ALL: [EndReason; 4] = [EndReason::Deleted, EndReason::Closed, EndReason::Idle, EndReason::OriginGone];

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            EndReason::Deleted => "deleted",
            EndReason::Closed => "closed",
            EndReason::Idle => "idle",
            EndReason::OriginGone => "origin_gone",
        }
    }
}

/// Datagrams and their payload bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Datagrams.
    pub datagrams: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// What was counted since the relay was started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// What left towards origins.
    pub to_origin: Traffic,
    /// What left towards clients.
    pub to_client: Traffic,
    /// Sessions whose client got through.
    pub begun: u64,
    /// Addresses that media was turned to, a session's first included.
    pub moved: u64,
    /// Sessions looked up because of a client's request.
    pub lookups: u64,
    /// Datagrams handed from one worker to another.
    pub handed_over: u64,
    /// Sockets to origins opened.
    pub upstreams_opened: u64,
    /// Sockets to origins that failed, or could not be opened.
    pub upstreams_failed: u64,
    /// Turns of a worker that broke an invariant and were given up.
    pub panics: u64,
    dropped: [u64; Dropped::ALL.len()],
    ended: [u64; EndReason::ALL.len()],
}

impl Counters {
    /// Datagrams that went no further for this reason.
    #[must_use]
    pub fn dropped(&self, reason: Dropped) -> u64 {
        self.dropped[reason as usize]
    }

    /// Sessions that ended for this reason.
    #[must_use]
    pub fn ended(&self, reason: EndReason) -> u64 {
        self.ended[reason as usize]
    }
}

/// Traffic that a worker adds to.
#[derive(Debug, Default)]
pub(super) struct Flow {
    datagrams: AtomicU64,
    bytes: AtomicU64,
}

impl Flow {
    pub(super) fn add(&self, datagrams: u64, bytes: u64) {
        self.datagrams.fetch_add(datagrams, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Traffic {
        Traffic { datagrams: self.datagrams.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }
}

/// One worker's counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) to_origin: Flow,
    pub(super) to_client: Flow,
    pub(super) begun: AtomicU64,
    pub(super) moved: AtomicU64,
    pub(super) lookups: AtomicU64,
    pub(super) handed_over: AtomicU64,
    pub(super) upstreams_opened: AtomicU64,
    pub(super) upstreams_failed: AtomicU64,
    pub(super) panics: AtomicU64,
    dropped: [AtomicU64; Dropped::ALL.len()],
    ended: [AtomicU64; EndReason::ALL.len()],
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Tally {
    pub(super) fn dropped(&self, reason: Dropped, datagrams: u64) {
        self.dropped[reason as usize].fetch_add(datagrams, Ordering::Relaxed);
    }

    pub(super) fn end(&self, reason: EndReason) {
        count(&self.ended[reason as usize]);
    }

    pub(super) fn add_to(&self, sum: &mut Counters) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for (sum, flow) in [(&mut sum.to_origin, &self.to_origin), (&mut sum.to_client, &self.to_client)] {
            let traffic = flow.read();
            sum.datagrams += traffic.datagrams;
            sum.bytes += traffic.bytes;
        }
        sum.begun += read(&self.begun);
        sum.moved += read(&self.moved);
        sum.lookups += read(&self.lookups);
        sum.handed_over += read(&self.handed_over);
        sum.upstreams_opened += read(&self.upstreams_opened);
        sum.upstreams_failed += read(&self.upstreams_failed);
        sum.panics += read(&self.panics);
        sum.dropped.iter_mut().zip(&self.dropped).for_each(|(sum, own)| *sum += read(own));
        sum.ended.iter_mut().zip(&self.ended).for_each(|(sum, own)| *sum += read(own));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_place_and_a_word_of_its_own() {
        let tally = Tally::default();
        for (n, reason) in Dropped::ALL.into_iter().enumerate() {
            tally.dropped(reason, n as u64 + 1);
        }
        EndReason::ALL.into_iter().for_each(|reason| tally.end(reason));
        let mut sum = Counters::default();
        tally.add_to(&mut sum);
        tally.add_to(&mut sum);
        for (n, reason) in Dropped::ALL.into_iter().enumerate() {
            assert_eq!(sum.dropped(reason), 2 * (n as u64 + 1), "{reason:?}");
        }
        assert!(EndReason::ALL.into_iter().all(|reason| sum.ended(reason) == 2));
        let words: std::collections::HashSet<_> = Dropped::ALL.into_iter().map(Dropped::as_str).collect();
        assert_eq!(words.len(), Dropped::ALL.len());
    }
}
