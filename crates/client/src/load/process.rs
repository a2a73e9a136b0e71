//! What a process of this machine has used: CPU time and resident memory, from `/proc` (proc(5)).

use std::fs;
use std::io;
use std::time::Duration;

/// A reading.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time of all its threads, also of those that ended.
    pub cpu: Duration,
    /// Resident set in bytes.
    pub memory: u64,
}

/// Reads a process's usage.
///
/// # Errors
/// There is no such process, or the system does not tell.
pub fn usage(pid: u32) -> io::Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    parse(&stat, &status).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}")))
}

/// USER_HZ: a constant of the kernel's interface on every architecture Linux still supports.
const TICKS_PER_SECOND: u64 = 100;

fn parse(stat: &str, status: &str) -> Option<Usage> {
    // The command, in parentheses, may hold anything; fields are counted behind it. utime and stime are 14 and 15.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = resident.trim().strip_suffix(" kB")?.parse().ok()?;
    let cpu = Duration::from_millis((user + system) * 1000 / TICKS_PER_SECOND);
    Some(Usage { cpu, memory: kibibytes * 1024 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_behind_a_hostile_command_name() {
        let stat = "42 (a) (b) c) S 1 42 42 0 -1 4194560 1 0 0 0 123 77 0 0 20 0 1 0 5 6 7";
        let usage = parse(stat, "Name:\tx\nVmRSS:\t   2048 kB\nThreads:\t1\n").expect("well-formed");
        assert_eq!((usage.cpu, usage.memory), (Duration::from_secs(2), 2048 * 1024));
        assert!(parse("42 (x", "").is_none());
        assert!(parse(stat, "VmSize: 1 kB").is_none());
    }

    #[test]
    fn this_process_has_used_something() {
        assert!(usage(std::process::id()).expect("we exist").memory > 0);
    }
}
