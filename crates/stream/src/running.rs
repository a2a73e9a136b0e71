//! What runs, as players outside of the media plane have to be told it: tracks with the newest parameter sets.
//!
//! Hubs write here what they find in the packets, at the first ones of a publisher and when the sets change; the control
//! plane reads, or waits until there is enough for a decoder to be set up. One lock, held for a look-up. There is an entry
//! for each stream that has a publisher, and a waker for each wait that is under way; whoever waits sets the limit of time.
//!
//! It also knows of which streams a publisher is **expected** for as long as it takes: those that a supervised process feeds
//! or reads. Their subscribers stay however long nobody publishes; and the child of a process that asks what they are is told
//! once somebody does ([`Running::described`]).

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::directory::Directory;
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
    waiting: HashMap<u64, Waiting>,
    /// How many expect a publisher of it.
    expected: HashMap<StreamKey, usize>,
    /// The next wait.
    next: u64,
}

/// Who waits for a stream.
#[derive(Debug)]
struct Waiting {
    key: StreamKey,
    /// For its parameter sets too, and not only for a publisher.
    whole: bool,
    waker: Waker,
}

/// Who asks what a stream sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// Anybody: is told of what there is, or about to be.
    Anybody,
    /// The child of a supervised process: waits for its publisher as long as one is expected.
    Child,
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
        Whole(Wait { running: self.clone(), key: key.clone(), whole: true, id: None })
    }

    /// What the stream sends, with its parameter sets if they come within a `patience`; `None` if nobody sends it. Where
    /// somebody is about to publish, or is expected, anybody waits for that for one patience; a child for as long as a
    /// publisher is expected, and its patience begins with the publisher. `directory` knows who is about to.
    pub async fn described<F: Future<Output = ()>>(
        &self,
        directory: &Directory,
        key: &StreamKey,
        asks: Asks,
        patience: impl Fn() -> F,
    ) -> Option<Arc<Description>> {
        loop {
            if asks == Asks::Child {
                self.begun(key).await;
            }
            if directory.publisher(key).is_none() && !self.is_expected(key) {
                return None;
            }
            // Without parameter sets a player may find them in the packets.
            match before(self.whole(key), patience()).await.or_else(|| self.get(key)) {
                None if asks == Asks::Child => {}
                found => return found,
            }
        }
    }

    /// Comes true when the stream has a publisher, or none is expected.
    fn begun(&self, key: &StreamKey) -> Begun {
        Begun(Wait { running: self.clone(), key: key.clone(), whole: false, id: None })
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
            state.woken(|waiting| waiting.key == *key)
        } else {
            state.woken(|waiting| waiting.key == *key && !waiting.whole)
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

impl State {
    /// Those of who waits that this says, who wait no longer.
    fn woken(&mut self, is_meant: impl Fn(&Waiting) -> bool) -> Vec<Waker> {
        self.waiting.extract_if(|_, waiting| is_meant(waiting)).map(|(_, waiting)| waiting.waker).collect()
    }
}

/// A place among those who wait. Forgotten when it is dropped.
#[derive(Debug)]
struct Wait {
    running: Running,
    key: StreamKey,
    whole: bool,
    id: Option<u64>,
}

impl Wait {
    /// What was waited for, if it is there; who waits is noted otherwise.
    fn poll<T>(&mut self, cx: &mut Context<'_>, there: impl FnOnce(&State, &StreamKey) -> Option<T>) -> Poll<T> {
        let mut state = self.running.lock();
        if let Some(there) = there(&state, &self.key) {
            return Poll::Ready(there);
        }
        let id = *self.id.get_or_insert(state.next);
        state.next = state.next.max(id + 1);
        let waiting = Waiting { key: self.key.clone(), whole: self.whole, waker: cx.waker().clone() };
        state.waiting.insert(id, waiting);
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.running.lock().waiting.remove(&id);
        }
    }
}

/// See [`Running::whole`]. Forgotten when it is dropped.
#[derive(Debug)]
pub struct Whole(Wait);

impl Future for Whole {
    type Output = Arc<Description>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Arc<Description>> {
        self.0.poll(cx, |state, key| state.streams.get(key).filter(|description| description.whole).cloned())
    }
}

/// See [`Running::begun`].
struct Begun(Wait);

impl Future for Begun {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0
            .poll(cx, |state, key| (state.streams.contains_key(key) || !state.expected.contains_key(key)).then_some(()))
    }
}

/// What comes of the first, if it comes before the second.
async fn before<T>(first: impl Future<Output = T>, second: impl Future<Output = ()>) -> Option<T> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|cx| match first.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => second.as_mut().poll(cx).map(|()| None),
    })
    .await
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
        let Some(count) = state.expected.get_mut(&self.key) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        state.expected.remove(&self.key);
        let woken = state.woken(|waiting| waiting.key == self.key && !waiting.whole);
        drop(state);
        woken.into_iter().for_each(Waker::wake);
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

    /// Somebody who asks, with a patience that ends when the scene says so.
    struct Asking<'a> {
        patience: &'a std::cell::Cell<bool>,
        asks: Pin<Box<dyn Future<Output = Option<Arc<Description>>> + 'a>>,
    }

    impl<'a> Asking<'a> {
        fn new(
            scene: &'a (Running, Directory),
            asks: Asks,
            patience: &'a std::cell::Cell<bool>,
            key: &'a StreamKey,
        ) -> Self {
            let over = || poll_fn(|_| if patience.get() { Poll::Ready(()) } else { Poll::Pending });
            Self { patience, asks: Box::pin(scene.0.described(&scene.1, key, asks, over)) }
        }

        fn poll(&mut self, patience_is_over: bool) -> Poll<Option<bool>> {
            self.patience.set(patience_is_over);
            let mut cx = Context::from_waker(Waker::noop());
            self.asks.as_mut().poll(&mut cx).map(|told| told.map(|description| description.whole))
        }
    }

    #[allow(clippy::disallowed_methods, reason = "virtual time begins at some instant")]
    fn scene() -> (Running, Directory) {
        (Running::new(), Directory::new(crate::directory::Config::default(), std::time::Instant::now()))
    }

    #[test]
    fn of_an_expected_stream_a_child_waits_for_its_publisher_and_anybody_for_one_patience() {
        let (scene, cam) = (scene(), key("cam"));
        let (first, second) = (std::cell::Cell::new(false), std::cell::Cell::new(false));
        for asks in [Asks::Child, Asks::Anybody] {
            assert_eq!(Asking::new(&scene, asks, &first, &cam).poll(false), Poll::Ready(None), "nobody is expected");
        }
        let expected = scene.0.expect(&cam);
        let mut child = Asking::new(&scene, Asks::Child, &first, &cam);
        let mut anybody = Asking::new(&scene, Asks::Anybody, &second, &cam);
        for _ in 0..3 {
            assert!(child.poll(true).is_pending());
        }
        assert!(anybody.poll(false).is_pending());
        assert_eq!(anybody.poll(true), Poll::Ready(None), "and no longer");
        scene.0.set(&cam, description(false));
        assert!(child.poll(false).is_pending(), "its patience with the parameter sets begins now");
        assert_eq!(child.poll(true), Poll::Ready(Some(false)));
        assert_eq!(Asking::new(&scene, Asks::Anybody, &first, &cam).poll(true), Poll::Ready(Some(false)));
        scene.0.set(&cam, description(true));
        assert_eq!(Asking::new(&scene, Asks::Child, &first, &cam).poll(false), Poll::Ready(Some(true)));
        scene.0.set(&cam, None);
        let mut child = Asking::new(&scene, Asks::Child, &first, &cam);
        assert!(child.poll(false).is_pending());
        drop(expected);
        assert_eq!(child.poll(true), Poll::Ready(None), "its process is not to run any more");
    }

    #[test]
    fn a_child_that_waits_is_woken_by_its_publisher_and_by_the_end_of_the_wait() {
        let (running, woken) = (Running::new(), Arc::new(Woken::default()));
        let waker = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&waker);
        let expected = running.expect(&key("cam"));
        let mut begun = running.begun(&key("cam"));
        assert!(Pin::new(&mut begun).poll(&mut cx).is_pending());
        running.set(&key("cam"), description(false));
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(Pin::new(&mut begun).poll(&mut cx).is_ready());
        running.set(&key("cam"), None);
        let mut begun = running.begun(&key("cam"));
        assert!(Pin::new(&mut begun).poll(&mut cx).is_pending());
        drop(expected);
        assert_eq!(woken.0.load(Ordering::Relaxed), 2);
        assert!(Pin::new(&mut begun).poll(&mut cx).is_ready());
        drop(begun);
        assert!(running.lock().waiting.is_empty());
    }
}
