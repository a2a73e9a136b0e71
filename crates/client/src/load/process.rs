//! What a process of this machine has used and lost: CPU time from its clock, resident memory and the drops of its UDP
//! sockets from `/proc` (proc(5)).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::time::Duration;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

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
    let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX)))?;
    let cpu = Duration::from(clock_gettime(clock)?);
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let memory = resident(&status).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}")))?;
    Ok(Usage { cpu, memory })
}

/// Datagrams that the kernel threw away because a receive buffer was full, of all UDP sockets a process has open.
///
/// # Errors
/// There is no such process, or the system does not tell.
pub(crate) fn dropped(pid: u32) -> io::Result<u64> {
    let sockets = sockets(pid)?;
    let dropped = ["udp", "udp6"].map(|family| {
        // A system without IPv6 has no such file.
        let table = fs::read_to_string(format!("/proc/{pid}/net/{family}")).unwrap_or_default();
        drops(&table, &sockets)
    });
    Ok(dropped.iter().sum())
}

fn resident(status: &str) -> Option<u64> {
    let text = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = text.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// Inodes of the sockets a process has open.
fn sockets(pid: u32) -> io::Result<BTreeSet<u64>> {
    // One that is closed meanwhile is left out.
    let links = fs::read_dir(format!("/proc/{pid}/fd"))?.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let inode = |link: std::path::PathBuf| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    Ok(links.filter_map(inode).collect())
}

/// Sums the last column of the rows whose inode, the tenth, is one of these.
fn drops(table: &str, sockets: &BTreeSet<u64>) -> u64 {
    let row = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(9);
        let inode: u64 = fields.next()?.parse().ok()?;
        let drops: u64 = fields.last()?.parse().ok()?;
        sockets.contains(&inode).then_some(drops)
    };
    table.lines().filter_map(row).sum()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn resident_memory_is_read_by_its_name() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t   2048 kB\nThreads:\t1\n"), Some(2048 * 1024));
        assert_eq!(resident("VmSize: 1 kB"), None);
    }

    #[test]
    fn drops_are_those_of_the_process_only() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
            91: 0100007F:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 17 2 0000000000000000 5\n\
            92: 0100007F:1F91 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 18 2 0000000000000000 9\n";
        assert_eq!(drops(table, &BTreeSet::from([17])), 5);
        assert_eq!(drops(table, &BTreeSet::from([17, 18, 19])), 14);
        assert_eq!(drops("", &BTreeSet::from([17])), 0);
    }

    #[test]
    fn this_process_has_used_memory_and_time_and_lost_what_it_does_not_read() {
        let own = std::process::id();
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let (before, lost) = (usage(own).expect("we exist"), dropped(own).expect("we exist"));
        assert!(before.memory > 0 && before.cpu > Duration::ZERO);
        // More than a receive buffer holds.
        for _ in 0..20_000 {
            socket.send_to(&[0; 1200], socket.local_addr().expect("bound")).expect("loopback takes all");
        }
        assert!(usage(own).expect("we exist").cpu > before.cpu);
        assert!(dropped(own).expect("we exist") > lost);
    }
}
