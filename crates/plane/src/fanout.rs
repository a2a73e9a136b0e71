//! The streams as one worker sees them: the home of those whose name chose it, and a list of local subscribers for
//! every stream that somebody here watches.

use std::collections::HashMap;
use std::time::{Instant, SystemTime};

use slab::Slab;
use whipstitch_media::time::Ntp;
use whipstitch_stream::history::{History, Limits};
use whipstitch_stream::stream::{Config, Stream};
use whipstitch_stream::{Burst, StreamKey};

/// One stream on one worker.
pub(crate) struct LocalStream {
    pub(crate) key: StreamKey,
    /// The hub itself, on its home worker.
    pub(crate) hub: Option<Stream>,
    /// Other workers that have subscribers; used by the home.
    pub(crate) workers: Vec<usize>,
    /// Local subscribers, by their place on the worker.
    pub(crate) subscribers: Vec<usize>,
    /// What was sent lately, for resending.
    pub(crate) history: History,
    /// Something was pushed since the last fan-out.
    pub(crate) dirty: bool,
    /// The earliest deadline of the hub that the worker's timers hold.
    pub(crate) scheduled: Option<Instant>,
}

/// The streams of one worker.
#[derive(Default)]
pub(crate) struct Streams {
    slab: Slab<LocalStream>,
    by_key: HashMap<StreamKey, usize>,
}

impl Streams {
    /// The stream's place here, made if it has none. `home`: this worker is its home.
    pub(crate) fn ensure(&mut self, key: &StreamKey, home: bool, config: Config, now: Instant) -> usize {
        if let Some(&index) = self.by_key.get(key) {
            return index;
        }
        let index = self.slab.insert(LocalStream {
            key: key.clone(),
            hub: home.then(|| {
                let wall = Ntp::from_system_time(SystemTime::now());
                Stream::new(key.clone(), Config { wall, ..config }, now)
            }),
            workers: Vec::new(),
            subscribers: Vec::new(),
            history: History::new(Limits::default()),
            dirty: false,
            scheduled: None,
        });
        self.by_key.insert(key.clone(), index);
        index
    }

    pub(crate) fn find(&self, key: &StreamKey) -> Option<usize> {
        self.by_key.get(key).copied()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&LocalStream> {
        self.slab.get(index)
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut LocalStream> {
        self.slab.get_mut(index)
    }

    pub(crate) fn remove(&mut self, index: usize) {
        if let Some(stream) = self.slab.try_remove(index) {
            self.by_key.remove(&stream.key);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &LocalStream)> {
        self.slab.iter()
    }
}

impl LocalStream {
    /// Keeps what is about to be delivered.
    pub(crate) fn remember(&mut self, burst: &Burst) {
        for packet in &burst.packets {
            self.history.insert(packet);
        }
    }

    /// Nobody here needs it and nobody else asks for it.
    pub(crate) fn is_unused(&self) -> bool {
        self.subscribers.is_empty()
            && self.workers.is_empty()
            && self.hub.as_ref().is_none_or(|hub| hub.publisher().is_none())
    }
}
