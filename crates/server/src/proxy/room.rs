//! How many sessions the system has room for: each has a UDP socket of its own towards its origin, and so takes a descriptor of
//! this process and a local port of this machine.

use std::fs;

use crate::http::connection::raise_descriptors;

/// Descriptors for everything else: listeners, requests, the registry.
const OTHERS: u64 = 256;
/// First and last of the ports that sockets get which ask for none.
const PORTS: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// What the system gives; `None` is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    descriptors: Option<u64>,
    ports: Option<u64>,
}

impl Room {
    /// Asks for as many descriptors as so many sessions need, and looks at what there is.
    pub(super) fn of_this_machine(sessions: usize) -> Self {
        let ports = fs::read_to_string(PORTS).ok().and_then(|text| ports(&text));
        Self { descriptors: raise_descriptors(sessions).ok(), ports }
    }

    /// What so many sessions would lack, in words for whoever starts the proxy.
    pub(super) fn lacks(self, sessions: usize) -> Vec<String> {
        let wanted = sessions as u64;
        let descriptors = self.descriptors.filter(|all| *all < wanted + OTHERS).map(|all| {
            format!(
                "max_sessions is {sessions}, but this process may have {all} file descriptors only, and each session takes \
                 one: about {} fit (see LimitNOFILE of systemd, or ulimit -n)",
                all.saturating_sub(OTHERS)
            )
        });
        let ports = self.ports.filter(|all| *all < wanted).map(|all| {
            format!(
                "max_sessions is {sessions}, but this machine gives sockets {all} local ports only, and each session takes \
                 one (see sysctl net.ipv4.ip_local_port_range)"
            )
        });
        descriptors.into_iter().chain(ports).collect()
    }
}

/// `32768\t60999`
fn ports(text: &str) -> Option<u64> {
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    let (first, last) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(last.checked_sub(first)? + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sessions_lack_is_said_with_what_limits_them() {
        let room = Room { descriptors: Some(1024), ports: ports("32768\t60999\n") };
        assert_eq!(room.ports, Some(28_232));
        assert!(room.lacks(768).is_empty());
        let [lack] = &room.lacks(769)[..] else { panic!("{:?}", room.lacks(769)) };
        assert!(lack.contains("1024 file descriptors") && lack.contains("about 768 fit"), "{lack}");
        let [_, lack] = &room.lacks(28_233)[..] else { panic!("{:?}", room.lacks(28_233)) };
        assert!(lack.contains("28232 local ports"), "{lack}");
        assert!(Room::default().lacks(usize::MAX).is_empty(), "what is not known is not said");
        for text in ["", "1", "2 1", "a b"] {
            assert_eq!(ports(text), None, "{text}");
        }
        let here = Room::of_this_machine(1);
        assert!(here.ports.is_some() && here.descriptors.is_some(), "{here:?}");
    }
}
