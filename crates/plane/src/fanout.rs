//! The streams as one worker sees them: the home of those whose name chose it, and a list of local subscribers for
//! every stream that somebody here watches.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use slab::Slab;
use whipstitch_media::time::Ntp;
use whipstitch_stream::history::{History, Limits};
use whipstitch_stream::stream::{Config, Stream};
use whipstitch_stream::{Burst, Forwarded, StreamKey, Tracks};

/// One stream on one worker.
pub(crate) struct LocalStream {
    pub(crate) key: StreamKey,
    /// The hub itself, on its home worker.
    pub(crate) hub: Option<Stream>,
    /// Other workers that have subscribers; used by the home.
    pub(crate) workers: Vec<usize>,
    /// Workers that a burst did not reach, until the next one does; used by the home.
    pub(crate) missed: Vec<usize>,
    /// Away from the home: the tracks as the home told them last, for those that join.
    pub(crate) tracks: Option<Tracks>,
    /// Local subscribers, by their place on the worker.
    pub(crate) subscribers: Vec<usize>,
    /// What was sent lately, for resending.
    pub(crate) history: History,
    /// When what is too old is looked for next; each new packet looks too, but a stream may have stopped.
    forgets: Option<Instant>,
    /// Something was pushed since the last fan-out.
    pub(crate) dirty: bool,
    /// Its earliest deadline that the worker's timers hold.
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
            missed: Vec::new(),
            tracks: None,
            subscribers: Vec::new(),
            history: History::new(Limits::default()).with_cache(config.cache),
            forgets: None,
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
    pub(crate) fn remember(&mut self, now: Instant, burst: &Burst) {
        for packet in &burst.packets {
            self.history.insert(packet);
        }
        self.history.set_clocks(&burst.clocks);
        self.forgets.get_or_insert(now + Limits::default().age);
    }

    /// Takes the home's cache in place of what is there.
    pub(crate) fn fill_cache(&mut self, now: Instant, packets: &[Forwarded]) {
        self.history.fill_cache(packets);
        self.forgets.get_or_insert(now + Limits::default().age);
    }

    /// When [`LocalStream::handle_timeout`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.hub.as_ref().and_then(Stream::deadline), self.forgets].into_iter().flatten().min()
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.forgets.take_if(|at| *at <= now).is_some() {
            self.history.expire(now);
            self.forgets = (self.history.bytes() > 0).then(|| now + Limits::default().age);
        }
    }

    /// The age of the start that who joins at `now` is given, if there is one.
    pub(crate) fn offer(&self, now: Instant) -> Option<Duration> {
        self.history.cache().and_then(|cache| cache.offer(now))
    }

    /// Nobody here needs it and nobody else asks for it.
    pub(crate) fn is_unused(&self) -> bool {
        self.subscribers.is_empty()
            && self.workers.is_empty()
            && self.hub.as_ref().is_none_or(|hub| hub.publisher().is_none())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use whipstitch_media::{Codec, Extensions, Packet};
    use whipstitch_stream::PerKind;

    use super::*;

    #[test]
    fn a_stream_that_has_stopped_gives_its_history_back() {
        let (mut streams, now) = (Streams::default(), Instant::now());
        let index = streams.ensure(&StreamKey::parse("cam").unwrap(), false, Config::default(), now);
        let stream = streams.get_mut(index).unwrap();
        assert_eq!(stream.deadline(), None);
        let mut at = now;
        for seq in 0..30 {
            at = now + Duration::from_millis(100 * seq);
            let payload = Arc::from(vec![0; 1000]);
            let extensions = Extensions::default();
            let packet = Packet { seq, time: 0, marker: false, payload, extensions, arrived: at };
            let packets = vec![Forwarded { codec: Codec::Vp8, packet, start: false }];
            stream.remember(at, &Burst { packets, clocks: PerKind::default() });
        }
        assert_eq!(stream.history.bytes(), 20_000);
        let mut looks = 0;
        while let Some(deadline) = stream.deadline() {
            stream.handle_timeout(deadline);
            looks += 1;
            assert!(deadline < at + 2 * Limits::default().age);
        }
        assert_eq!((looks, stream.history.bytes()), (3, 0), "after 2, 4 and 6 s");
    }
}
