//! Datagrams written one after the other into one buffer, as the kernel wants them.
//!
//! Consecutive datagrams on the same path and of the same size make a run, which [`crate::socket::Udp::send`] hands
//! over as one message (UDP GSO). A batch is filled and sent within one turn of a worker and keeps its memory for the
//! next; once warm it does not allocate. It never reorders: what is pushed first leaves first.

use crate::Path;

/// Segments of one GSO message: `UDP_MAX_SEGMENTS` of every kernel that has GSO (since 6.9 it is 128).
pub const MAX_SEGMENTS: usize = 64;

/// Payload bytes of one GSO message. The kernel's bound is 65535 with all headers; the rest of the way is left to
/// IPv6 extension headers and tunnels, and costs at most one segment.
pub const MAX_RUN_BYTES: usize = 65_000;

/// Bytes from which [`Batch::is_full`]: half a second-level cache, so that what was just written is still there when
/// the kernel copies it. Anything from 128 KiB to 4 MiB costs the same on a machine with a large third level.
pub const FULL_BYTES: usize = 512 * 1024;

/// Bytes a batch never grows beyond; twice what 500 subscribers take from one burst of 10 packets. A datagram pushed
/// into a batch of that size is refused, since its owner has forgotten to send.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Datagrams to be sent together.
#[derive(Debug, Default)]
pub struct Batch {
    /// Only ever grows; behind `used` lie bytes of earlier turns, so that nothing needs to be cleared.
    bytes: Vec<u8>,
    used: usize,
    runs: Vec<Run>,
    datagrams: usize,
}

/// Consecutive datagrams on one path: all of `segment` bytes, the last one possibly shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) path: Path,
    pub(crate) start: usize,
    pub(crate) len: usize,
    pub(crate) segment: usize,
    pub(crate) count: usize,
}

impl Run {
    /// Whether a datagram of `len` bytes on `path` may follow as one more segment.
    fn takes(&self, path: Path, len: usize) -> bool {
        let last_is_whole = self.len == self.segment * self.count;
        let fits = self.count < MAX_SEGMENTS && self.len + len <= MAX_RUN_BYTES;
        // An empty segment does not exist in a GSO message: an empty datagram is a run of its own.
        self.path == path && last_is_whole && len <= self.segment && len > 0 && fits
    }
}

impl Batch {
    /// An empty batch, without memory yet.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Writes one datagram for `path`: `write` gets `max` bytes of unspecified content and returns how many of them,
    /// from the first, are the datagram, or None to send nothing. Returns whether a datagram was added.
    ///
    /// In a batch of [`MAX_BYTES`] nothing is added, and `write` not called.
    ///
    /// # Panics
    /// If `write` returns more than `max`.
    pub fn push(&mut self, path: Path, max: usize, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> bool {
        let start = self.used;
        let Some(end) = start.checked_add(max).filter(|&end| end <= MAX_BYTES) else { return false };
        if self.bytes.len() < end {
            self.bytes.resize(end.next_power_of_two(), 0);
        }
        let Some(len) = write(&mut self.bytes[start..end]) else { return false };
        assert!(len <= max, "a datagram of {len} bytes was written into {max}");
        self.append(path, start, len);
        true
    }

    fn append(&mut self, path: Path, start: usize, len: usize) {
        match self.runs.last_mut() {
            Some(run) if run.takes(path, len) => {
                run.len += len;
                run.count += 1;
            }
            _ => self.runs.push(Run { path, start, len, segment: len, count: 1 }),
        }
        self.used = start + len;
        self.datagrams += 1;
    }

    /// Whether nothing was pushed since the last [`Batch::clear`] or send.
    pub fn is_empty(&self) -> bool {
        self.datagrams == 0
    }

    /// Whether it holds so much that sending now is cheaper than filling on. A hint: pushing on is allowed.
    pub fn is_full(&self) -> bool {
        self.used >= FULL_BYTES
    }

    /// Number of datagrams.
    pub fn len(&self) -> usize {
        self.datagrams
    }

    /// Forgets all datagrams and keeps the memory.
    pub fn clear(&mut self) {
        self.used = 0;
        self.datagrams = 0;
        self.runs.clear();
    }

    /// Every datagram with its path, in the order of pushing.
    pub fn datagrams(&self) -> impl Iterator<Item = (Path, &[u8])> {
        self.runs.iter().flat_map(|run| {
            let bytes = &self.bytes[run.start..run.start + run.len];
            let segments = bytes.chunks(run.segment.max(1));
            // `chunks` of nothing is nothing, but an empty datagram is one.
            segments.chain(bytes.is_empty().then_some(bytes)).map(|segment| (run.path, segment))
        })
    }

    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    pub(crate) fn bytes(&self, start: usize, len: usize) -> &[u8] {
        &self.bytes[start..start + len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(port: u16) -> Path {
        Path::to(([192, 0, 2, 1], port).into())
    }

    fn batch(datagrams: &[(u16, usize)]) -> Batch {
        let mut batch = Batch::new();
        for (n, &(port, len)) in datagrams.iter().enumerate() {
            assert!(batch.push(path(port), 1500, |bytes| {
                bytes[..len].fill(n as u8);
                Some(len)
            }));
        }
        batch
    }

    /// (port, segment size, segments, bytes) of each run.
    fn runs(batch: &Batch) -> Vec<(u16, usize, usize, usize)> {
        batch.runs().iter().map(|run| (run.path.remote.port(), run.segment, run.count, run.len)).collect()
    }

    #[test]
    fn datagrams_join_a_run_by_size_and_path() {
        type Case<'a> = (&'a str, &'a [(u16, usize)], &'a [(u16, usize, usize, usize)]);
        let cases: &[Case<'_>] = &[
            ("equal sizes join", &[(1, 100), (1, 100), (1, 100)], &[(1, 100, 3, 300)]),
            ("a shorter one closes", &[(1, 100), (1, 60), (1, 60)], &[(1, 100, 2, 160), (1, 60, 1, 60)]),
            ("closed even to an equal one", &[(1, 100), (1, 60), (1, 100)], &[(1, 100, 2, 160), (1, 100, 1, 100)]),
            ("a longer one starts anew", &[(1, 100), (1, 101), (1, 101)], &[(1, 100, 1, 100), (1, 101, 2, 202)]),
            (
                "another destination starts anew",
                &[(1, 100), (2, 100), (1, 100)],
                &[(1, 100, 1, 100), (2, 100, 1, 100), (1, 100, 1, 100)],
            ),
            ("an empty one stands alone", &[(1, 100), (1, 0), (1, 0)], &[(1, 100, 1, 100), (1, 0, 1, 0), (1, 0, 1, 0)]),
        ];
        for (rule, datagrams, expected) in cases {
            assert_eq!(&runs(&batch(datagrams)), expected, "{rule}");
        }
    }

    #[test]
    fn another_local_address_starts_a_new_run() {
        let mut batch = batch(&[(1, 100)]);
        let other = Path { local: Some([192, 0, 2, 9].into()), ..path(1) };
        batch.push(other, 100, |_| Some(100));
        assert_eq!(batch.runs().len(), 2);
    }

    #[test]
    fn run_ends_after_64_segments() {
        let batch = batch(&[(1, 10); 130]);
        assert_eq!(runs(&batch), [(1, 10, 64, 640), (1, 10, 64, 640), (1, 10, 2, 20)]);
    }

    #[test]
    fn run_ends_at_65000_bytes() {
        // 43 x 1500 = 64500; one more would be 66000, but one of 500 still fits.
        assert_eq!(runs(&batch(&[(1, 1500); 44])), [(1, 1500, 43, 64_500), (1, 1500, 1, 1500)]);
        let mut fits = vec![(1, 1500); 43];
        fits.push((1, 500));
        assert_eq!(runs(&batch(&fits)), [(1, 1500, 44, 65_000)]);
    }

    #[test]
    fn datagrams_come_back_as_pushed() {
        let pushed = [(1, 100), (1, 100), (1, 7), (2, 7), (1, 0), (1, 100)];
        let batch = batch(&pushed);
        assert_eq!(batch.len(), pushed.len());
        let listed: Vec<_> = batch.datagrams().map(|(path, bytes)| (path.remote.port(), bytes.to_vec())).collect();
        let expected: Vec<_> = pushed.iter().enumerate().map(|(n, &(port, len))| (port, vec![n as u8; len])).collect();
        assert_eq!(listed, expected);
    }

    #[test]
    fn nothing_written_is_nothing_sent() {
        let mut batch = batch(&[(1, 100)]);
        assert!(!batch.push(path(1), 1500, |bytes| {
            bytes.fill(0xff);
            None
        }));
        assert!(batch.push(path(1), 1500, |_| Some(100)));
        assert_eq!(runs(&batch), [(1, 100, 2, 200)]);
    }

    #[test]
    fn cleared_batch_is_empty_and_keeps_its_memory() {
        let mut batch = batch(&[(1, 1500); 50]);
        let (at, room) = (batch.bytes.as_ptr(), batch.bytes.len());
        batch.clear();
        assert!(batch.is_empty());
        assert_eq!(batch.datagrams().count(), 0);
        for _ in 0..50 {
            batch.push(path(2), 1200, |_| Some(1200));
        }
        assert_eq!((batch.bytes.as_ptr(), batch.bytes.len()), (at, room));
    }

    #[test]
    fn batch_is_bounded() {
        let mut batch = Batch::new();
        let mut pushed = 0;
        while batch.push(path(1), 65_000, |_| Some(65_000)) {
            pushed += 1;
        }
        assert!(batch.is_full());
        assert_eq!((pushed, batch.len()), (MAX_BYTES / 65_000, pushed));
        assert!(!batch.push(path(1), usize::MAX, |_| unreachable!("there is no room")));
    }
}
