//! What a child uses, as the kernel counts it. Of the child alone, not of what it may have started itself.

use std::time::Instant;

use procfs::process::Process;

/// Reads what one child uses; twice, before it can tell of processors.
pub(super) struct Meter {
    process: Process,
    processors: f64,
    /// When it was read last, and the ticks of all processors until then.
    last: Option<(Instant, u64)>,
}

/// What a child uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Percent of the whole machine, or of what this process may have of it: 100 is all processors. As datarhei Core counts.
    pub cpu: f64,
    /// Resident bytes.
    pub memory: u64,
}

impl Meter {
    /// None if there is no such process any more.
    pub(super) fn new(pid: i32) -> Option<Self> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        Some(Self { process: Process::new(pid).ok()?, processors, last: None })
    }

    /// None once the child has ended.
    pub(super) fn read(&mut self, now: Instant) -> Option<Usage> {
        let stat = self.process.stat().ok()?;
        let ticks = stat.utime + stat.stime;
        let cpu = self.last.map_or(0.0, |(at, before)| {
            let seconds = now.saturating_duration_since(at).as_secs_f64() * self.processors;
            let used = ticks.saturating_sub(before) as f64 / procfs::ticks_per_second() as f64;
            if seconds > 0.0 { 100.0 * used / seconds } else { 0.0 }
        });
        self.last = Some((now, ticks));
        Some(Usage { cpu, memory: stat.rss * procfs::page_size() })
    }
}
