//! Whose what comes over loopback is. FFmpeg takes credentials and ports in its arguments only, which every user of the machine
//! can read while it runs (`ps`); so that nobody gains anything by reading them, they are good for our children only.
//!
//! The kernel lists every socket with the user who opened it (`/proc/net/tcp`, `/proc/net/udp`; proc(5)). Children run as the
//! user of the server, and whoever is that user reads the admin token as well: being it is enough. Of a child that a script has
//! made another user the socket must be held by a member of the group of a child.
//!
//! To read that takes a millisecond for every thousand sockets of the machine, and whoever knows a credential can make us do
//! it. So it is done off the threads that serve others, once for all who have asked by then, one reading at a time, and a
//! fifth of the time at most. Nobody is turned away for what others ask: a child waits for two readings and a rest, however
//! many strangers ask from the same address.

mod table;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::warn;

/// Between two readings there is so many times what the last one has taken.
const REST: u32 = 4;

/// The other end of something over loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Who has connected from there to this port of ours, over TCP.
    Connected(SocketAddr, u16),
    /// Who sends datagrams of UDP from there.
    Sends(SocketAddr),
}

/// Asks the system. Clones are the same.
#[derive(Clone, Debug)]
pub struct Owners(Arc<Inner>);

/// Of whom is asked, and where the answer goes.
type Question = (Vec<Peer>, oneshot::Sender<Vec<bool>>);

#[derive(Debug)]
struct Inner {
    /// Who asks: not more than those who wait for an answer, and those who have given up since the last one came.
    asking: Mutex<Vec<Question>>,
    turn: Arc<Semaphore>,
    /// When it is read again at the earliest.
    rested: Mutex<Instant>,
}

impl Default for Owners {
    fn default() -> Self {
        Self(Arc::new(Inner {
            asking: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
            rested: Mutex::new(Instant::now()),
        }))
    }
}

impl Owners {
    /// Whether this is a child of ours, or at least our own user; also where the system does not tell. Within a runtime.
    /// Cancelling it is safe.
    pub async fn is_ours(&self, peer: Peer) -> bool {
        self.are_ours(vec![peer]).await.contains(&true)
    }

    /// The same of each of these, in their order; nothing if they could not be looked at.
    pub async fn are_ours(&self, peers: Vec<Peer>) -> Vec<bool> {
        self.are_ours_by(peers, table::judge).await
    }

    async fn are_ours_by(&self, peers: Vec<Peer>, judge: fn(&[Peer]) -> Result<Vec<bool>, String>) -> Vec<bool> {
        let (answers, mut answer) = oneshot::channel();
        {
            let mut asking = locked(&self.0.asking);
            asking.retain(|(_, answers)| !answers.is_closed());
            asking.push((peers, answers));
        }
        // It is never closed.
        let Ok(turn) = Arc::clone(&self.0.turn).acquire_owned().await else { return Vec::new() };
        // Whoever had the turn before has mostly asked for this one as well.
        match answer.try_recv() {
            Ok(ours) => return ours,
            Err(oneshot::error::TryRecvError::Closed) => return Vec::new(),
            Err(oneshot::error::TryRecvError::Empty) => {}
        }
        let rested = *locked(&self.0.rested);
        tokio::time::sleep_until(rested.into()).await;
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.answer(turn, judge));
        // Should that panic, nobody is let in.
        answer.await.unwrap_or_default()
    }

    /// Answers all who ask, in one turn.
    fn answer(&self, turn: OwnedSemaphorePermit, judge: fn(&[Peer]) -> Result<Vec<bool>, String>) {
        static UNTOLD: Once = Once::new();
        let asking = std::mem::take(&mut *locked(&self.0.asking));
        let peers: Vec<Peer> = asking.iter().flat_map(|(peers, _)| peers).copied().collect();
        let begun = Instant::now();
        let mut ours = judge(&peers).unwrap_or_else(|error| {
            // As it is where processes are hidden from each other altogether.
            UNTOLD.call_once(|| {
                warn!(error, "the system does not tell whose connections are: credentials and ports of processes are good for every user here");
            });
            vec![true; peers.len()]
        });
        let now = Instant::now();
        *locked(&self.0.rested) = now + REST * now.saturating_duration_since(begun);
        for (peers, answers) in asking.into_iter().rev() {
            // Who has given up does not hear it.
            let _ = answers.send(ours.split_off(ours.len().saturating_sub(peers.len())));
        }
        drop(turn);
    }
}

/// Nothing in here panics half-way through a change.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn peer(port: u16) -> Peer {
        Peer::Sends(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    #[tokio::test]
    async fn who_asks_while_it_is_read_is_answered_by_one_more_reading() {
        static READINGS: AtomicUsize = AtomicUsize::new(0);
        static GATE: Barrier = Barrier::new(2);
        fn judge(peers: &[Peer]) -> Result<Vec<bool>, String> {
            if READINGS.fetch_add(1, Ordering::Relaxed) == 0 {
                GATE.wait();
            }
            Ok(peers.iter().map(|peer| *peer != self::peer(7)).collect())
        }
        let owners = Owners::default();
        let mut asking = tokio::task::JoinSet::new();
        let ask = |port: u16| {
            let owners = owners.clone();
            async move { (port, owners.are_ours_by(vec![peer(port), peer(7)], judge).await) }
        };
        asking.spawn(ask(1));
        while READINGS.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        for port in 2..102 {
            asking.spawn(ask(port));
        }
        // One has given up.
        let mut given_up = Box::pin(owners.are_ours_by(vec![peer(200)], judge));
        tokio::select! { biased; _ = &mut given_up => panic!("it is shut"), () = tokio::task::yield_now() => {} }
        drop(given_up);
        while locked(&owners.0.asking).len() < 100 {
            tokio::task::yield_now().await;
        }
        tokio::task::spawn_blocking(|| GATE.wait()).await.unwrap();
        for (port, ours) in asking.join_all().await {
            assert_eq!(ours, [port != 7, false], "{port}");
        }
        assert_eq!(READINGS.load(Ordering::Relaxed), 2);
        assert_eq!(owners.are_ours_by(vec![peer(1)], judge).await, [true], "and the next one by another");
        assert_eq!(READINGS.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn a_reading_that_fails_lets_in_and_one_that_panics_does_not() {
        let owners = Owners::default();
        let peers = || vec![peer(1)];
        assert_eq!(owners.are_ours_by(peers(), |_| Err("hidden".into())).await, [true]);
        assert!(owners.are_ours_by(peers(), |_| panic!("a fault")).await.is_empty());
        assert_eq!(owners.are_ours_by(peers(), |_| Ok(vec![true])).await, [true], "the turn has come back");
    }
}
