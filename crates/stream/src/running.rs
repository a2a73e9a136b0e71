//! What runs, as players outside of the media plane have to be told it: tracks with the newest parameter sets.
//!
//! Hubs write here what they find in the packets, at the first ones of a publisher and when the sets change; the control
//! plane reads, or waits until there is enough for a decoder to be set up. One lock, held for a look-up. There is an entry
//! for each stream that has a publisher, and a waker for each wait that is under way; whoever waits sets the limit of time.
//!
//! It also knows of which streams a publisher is **expected** for as long as it takes: those that a supervised process feeds
//! or reads. Their subscribers stay however long nobody publishes, and who asks what they are is told once somebody does.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::key::{SessionId, StreamKey};
use crate::track::Tracks;

/// What the publisher of a stream sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Who sends it.
    pub publisher: SessionId,
    /// Its tracks. The format of each has what its newest parameter sets say.
    pub tracks: Tracks,
    /// Every track that needs parameter sets has them.
    pub whole: bool,
    /// Rises with every description of the stream.
    pub version: u64,
}

/// The streams that have a publisher. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Running {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    streams: HashMap<StreamKey, Arc<Description>>,
    waiting: HashMap<u64, (StreamKey, Waker)>,
    /// How many expect a publisher of it.
    expected: HashMap<StreamKey, usize>,
    /// The next wait.
    next: u64,
}

impl Running {
    /// Nothing runs.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the stream sends; `None` without a publisher.
    pub fn get(&self, key: &StreamKey) -> Option<Arc<Description>> {
        self.lock().streams.get(key).cloned()
    }

    /// Comes true when the stream has a publisher whose parameter sets are known, which may be never.
    pub fn whole(&self, key: &StreamKey) -> Whole {
        Whole { running: self.clone(), key: key.clone(), waits: None }
    }

    /// The stream's hub says what it sends now.
    pub fn set(&self, key: &StreamKey, description: Option<Description>) {
        let mut state = self.lock();
        let Some(description) = description else {
            state.streams.remove(key);
            return;
        };
        let whole = description.whole;
        state.streams.insert(key.clone(), Arc::new(description));
        let woken: Vec<Waker> = if whole {
            state.waiting.extract_if(|_, (waits_for, _)| waits_for == key).map(|(_, (_, waker))| waker).collect()
        } else {
            Vec::new()
        };
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// A publisher is expected from now on until the guard is dropped, whoever else expects one as well. There are as many
    /// entries as guards; who hands them out bounds them.
    pub fn expect(&self, key: &StreamKey) -> Expected {
        *self.lock().expected.entry(key.clone()).or_default() += 1;
        Expected { running: self.clone(), key: key.clone() }
    }

    /// Whether a publisher is expected, there or not.
    pub fn is_expected(&self, key: &StreamKey) -> bool {
        self.lock().expected.contains_key(key)
    }

    /// Its holders do not leave it half-changed, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Running::whole`]. Forgotten when it is dropped.
#[derive(Debug)]
pub struct Whole {
    running: Running,
    key: StreamKey,
    waits: Option<u64>,
}

impl Future for Whole {
    type Output = Arc<Description>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Arc<Description>> {
        let this = &mut *self;
        let mut state = this.running.lock();
        if let Some(description) = state.streams.get(&this.key).filter(|description| description.whole) {
            return Poll::Ready(description.clone());
        }
        let id = *this.waits.get_or_insert(state.next);
        state.next = state.next.max(id + 1);
        state.waiting.insert(id, (this.key.clone(), cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if let Some(id) = self.waits {
            self.running.lock().waiting.remove(&id);
        }
    }
}

/// See [`Running::expect`].
#[derive(Debug)]
pub struct Expected {
    running: Running,
    key: StreamKey,
}

impl Drop for Expected {
    fn drop(&mut self) {
        let mut state = self.running.lock();
        if let Some(count) = state.expected.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                state.expected.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn key(name: &str) -> StreamKey {
        StreamKey::parse(name).expect("a legal name")
    }

    fn description(whole: bool) -> Option<Description> {
        Some(Description { publisher: SessionId(1), tracks: Tracks::default(), whole, version: 1 })
    }

    #[test]
    fn who_waits_is_woken_when_everything_is_known() {
        let (running, woken) = (Running::new(), Arc::new(Woken::default()));
        let waker = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&waker);
        let (mut cam, mut other) = (running.whole(&key("cam")), running.whole(&key("other")));
        assert!(Pin::new(&mut cam).poll(&mut cx).is_pending() && Pin::new(&mut other).poll(&mut cx).is_pending());
        running.set(&key("cam"), description(false));
        assert_eq!(woken.0.load(Ordering::Relaxed), 0, "part of it is known");
        assert!(Pin::new(&mut cam).poll(&mut cx).is_pending());
        running.set(&key("cam"), description(true));
        assert_eq!(woken.0.load(Ordering::Relaxed), 1, "and nobody else");
        assert!(Pin::new(&mut cam).poll(&mut cx).is_ready());
        assert!(Pin::new(&mut running.whole(&key("cam"))).poll(&mut cx).is_ready(), "at once");
        running.set(&key("cam"), None);
        assert_eq!(running.get(&key("cam")), None);
        assert!(Pin::new(&mut running.whole(&key("cam"))).poll(&mut cx).is_pending());
    }

    #[test]
    fn a_wait_that_is_given_up_leaves_nothing_behind() {
        let running = Running::new();
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..10 {
            let mut wait = running.whole(&key("cam"));
            assert!(Pin::new(&mut wait).poll(&mut cx).is_pending());
            assert!(Pin::new(&mut wait).poll(&mut cx).is_pending());
            assert_eq!(running.lock().waiting.len(), 1);
        }
        assert!(running.lock().waiting.is_empty());
    }

    #[test]
    fn a_publisher_is_expected_until_nobody_expects_one() {
        let running = Running::new();
        let first = running.expect(&key("cam"));
        let second = running.clone().expect(&key("cam"));
        assert!(running.is_expected(&key("cam")) && !running.is_expected(&key("other")));
        drop(first);
        assert!(running.is_expected(&key("cam")));
        drop(second);
        assert!(!running.is_expected(&key("cam")) && running.lock().expected.is_empty());
    }
}
