//! Machines of a test's own with a proxy and origins on them, and without browsers.

mod hijack;
mod joining;
mod srs;

use std::time::{Duration, Instant};

use whipstitch_interop::Process;

/// For what takes a few seconds, on a machine that runs other tests as well.
const PATIENCE: Duration = Duration::from_secs(40);

/// Waits until something holds that no event tells.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What aiortc says of every ten pictures: how many it has, and the longest pause in ms.
pub(crate) fn pictures_said(line: &str) -> Option<(u64, u64)> {
    let (count, pause) = line.strip_prefix("pictures ")?.split_once(" pause ")?;
    Some((count.parse().ok()?, pause.parse().ok()?))
}

/// How many pictures aiortc says it has.
pub(crate) fn pictures(watcher: &Process) -> u64 {
    watcher.said().lines().filter_map(pictures_said).next_back().map_or(0, |(count, _)| count)
}

/// Waits until aiortc has so many more pictures than `before`; the longest pause since, in ms.
pub(crate) fn more_pictures(watcher: &Process, what: &str, before: u64, more: u64) -> u64 {
    let mut longest = 0;
    watcher.line(PATIENCE, what, |line| {
        let (count, pause) = pictures_said(line).filter(|(count, _)| *count > before)?;
        longest = longest.max(pause);
        (count >= before + more).then_some(())
    });
    longest
}
