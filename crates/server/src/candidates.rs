//! Which addresses an answer announces: where a client may send its media.
//!
//! [`choose`] is a pure function of what is known about server and client; [`Announcer`] finds those facts out. A
//! host name that a client sends is looked up only when it is this machine's own or a configured one: otherwise
//! anybody could make the server ask any DNS server anything.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::net::if_::InterfaceFlags;

use crate::access;

/// An answer repeats each candidate, and FFmpeg reads at most 8191 bytes of it. More interfaces than this are bridges
/// of containers, which no client sends to.
const MOST: usize = 12;
/// A looked-up name stays true this long; a join must not wait for DNS each time.
const NAME_LIFE: Duration = Duration::from_secs(60);
/// After a look-up that failed. Each one may hold a thread for as long as the resolver likes, and joins need those too.
const NAME_RETRY: Duration = Duration::from_secs(10);
/// An offer must be answered within 2 s in the usual case (OBS gives up after 8).
const LOOK_UP: Duration = Duration::from_secs(1);

/// What [`choose`] knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    /// `--public-ip`.
    pub(crate) public: &'a [IpAddr],
    /// The addresses behind the host the client used, best first; empty when it is nothing to go by.
    pub(crate) host: &'a [IpAddr],
    /// The addresses of the machine's interfaces.
    pub(crate) interfaces: &'a [IpAddr],
    /// Whether the client is on this machine.
    pub(crate) local: bool,
    /// The sockets that media arrives at.
    pub(crate) listeners: &'a [SocketAddr],
}

/// The candidates for one client, best first, IPv4 before IPv6 (FFmpeg tries the first one only and has no IPv6
/// socket to try it with). Empty when there is none.
pub(crate) fn choose(facts: Facts<'_>) -> Vec<SocketAddr> {
    let first = if facts.public.is_empty() { facts.host } else { facts.public };
    let first = first.iter().filter(|ip| is_usable(**ip) && (facts.local || !ip.is_loopback() || is_set(facts, **ip)));
    let own = facts.interfaces.iter().filter(|ip| is_global_unicast(**ip));
    let loopback: &[IpAddr] = &[IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let loopback = loopback.iter().filter(|_| facts.local);

    let mut candidates: Vec<SocketAddr> = Vec::new();
    for ip in first.chain(own).chain(loopback) {
        if let Some(port) = port(facts, *ip)
            && !candidates.iter().any(|candidate| candidate.ip() == *ip)
        {
            candidates.push(SocketAddr::new(*ip, port));
        }
    }
    candidates.sort_by_key(SocketAddr::is_ipv6);
    candidates.truncate(MOST);
    candidates
}

/// The port at which media for `ip` arrives. An address that was set by hand is somebody else's (a router's) and only
/// its family must fit; any other one must be an address the socket is bound to.
fn port(facts: Facts<'_>, ip: IpAddr) -> Option<u16> {
    let fits = |listener: &&SocketAddr| {
        listener.is_ipv4() == ip.is_ipv4()
            && (is_set(facts, ip) || listener.ip().is_unspecified() || listener.ip() == ip)
    };
    facts.listeners.iter().find(fits).map(SocketAddr::port)
}

fn is_set(facts: Facts<'_>, ip: IpAddr) -> bool {
    facts.public.contains(&ip)
}

/// Whether anything can be sent there at all.
fn is_usable(ip: IpAddr) -> bool {
    !ip.is_unspecified() && !ip.is_multicast() && !is_link_local(ip)
}

/// Whether others can send there: private addresses count, this machine's own loop and single links do not.
fn is_global_unicast(ip: IpAddr) -> bool {
    is_usable(ip) && !ip.is_loopback() && ip != IpAddr::V4(Ipv4Addr::BROADCAST)
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// The addresses of all interfaces that are up; none when the system will not tell.
pub(crate) fn interfaces() -> Vec<IpAddr> {
    let Ok(all) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let up = all.filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP));
    let address = |interface: nix::ifaddrs::InterfaceAddress| {
        let storage = interface.address?;
        let v4 = storage.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    };
    up.filter_map(address).collect()
}

/// The addresses other machines can reach this one at, for messages to people.
pub(crate) fn reachable() -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = interfaces().into_iter().filter(|ip| is_global_unicast(*ip)).collect();
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses
}

/// Finds the facts for each client and chooses.
#[derive(Debug)]
pub(crate) struct Announcer {
    public: Vec<IpAddr>,
    /// Lower case: the configured names and the machine's own.
    names: Vec<String>,
    listeners: Vec<SocketAddr>,
    /// What was looked up; holds `names` at most.
    looked_up: Mutex<HashMap<String, Known>>,
}

/// What is known of a name.
#[derive(Debug)]
struct Known {
    addresses: Vec<IpAddr>,
    /// When to look it up again; until then nobody else does.
    next: Instant,
}

impl Announcer {
    pub(crate) fn new(public: Vec<IpAddr>, mut names: Vec<String>, listeners: Vec<SocketAddr>) -> Self {
        let own = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        names.extend(own.map(|name| name.to_ascii_lowercase()));
        Self { public, names, listeners, looked_up: Mutex::default() }
    }

    /// The candidates for whoever called `host`. On a machine without a network a proxy can only run on that machine, and its
    /// clients' media comes from there, too.
    pub(crate) async fn candidates_for(&self, host: Option<&str>, caller: &access::Caller<'_>) -> Vec<SocketAddr> {
        let candidates = self.candidates(host, caller.is_on_this_machine()).await;
        if candidates.is_empty() && caller.peer.ip().to_canonical().is_loopback() {
            return self.candidates(host, true).await;
        }
        candidates
    }

    /// The candidates for a client that called `host`.
    pub(crate) async fn candidates(&self, host: Option<&str>, local: bool) -> Vec<SocketAddr> {
        let host = match host {
            // With addresses set by hand nothing else is asked for.
            Some(host) if self.public.is_empty() => self.addresses_of(host).await,
            _ => Vec::new(),
        };
        choose(Facts {
            public: &self.public,
            host: &host,
            interfaces: &interfaces(),
            local,
            listeners: &self.listeners,
        })
    }

    async fn addresses_of(&self, host: &str) -> Vec<IpAddr> {
        if let Some(ip) = access::literal(host) {
            return vec![ip];
        }
        let host = host.to_ascii_lowercase();
        if host == "localhost" {
            return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        }
        if !self.names.contains(&host) {
            return Vec::new();
        }
        match self.claim(&host, Instant::now()) {
            Claim::Known(addresses) => addresses,
            Claim::LookUp(last) => match look_up(&host).await {
                Some(addresses) => {
                    let known = Known { addresses: addresses.clone(), next: Instant::now() + NAME_LIFE };
                    self.looked_up.lock().unwrap_or_else(PoisonError::into_inner).insert(host, known);
                    addresses
                }
                // An answer that does not come leaves the last good one in place.
                None => last,
            },
        }
    }

    /// What is known, or the task of finding out. One caller at a time gets that; the others go on with what there is.
    fn claim(&self, host: &str, now: Instant) -> Claim {
        let mut looked_up = self.looked_up.lock().unwrap_or_else(PoisonError::into_inner);
        match looked_up.get_mut(host) {
            Some(known) if now < known.next => Claim::Known(known.addresses.clone()),
            Some(known) => {
                known.next = now + NAME_RETRY;
                Claim::LookUp(known.addresses.clone())
            }
            None => {
                looked_up.insert(host.to_owned(), Known { addresses: Vec::new(), next: now + NAME_RETRY });
                Claim::LookUp(Vec::new())
            }
        }
    }
}

/// See [`Announcer::claim`].
#[derive(Debug, PartialEq)]
enum Claim {
    Known(Vec<IpAddr>),
    LookUp(Vec<IpAddr>),
}

async fn look_up(host: &str) -> Option<Vec<IpAddr>> {
    let found = tokio::time::timeout(LOOK_UP, tokio::net::lookup_host((host, 0))).await.ok()?.ok()?;
    Some(found.map(|address| address.ip().to_canonical()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: &[&str] = &["0.0.0.0:8189", "[::]:8189"];
    const LAN: &[&str] = &["127.0.0.1", "192.168.1.5", "169.254.3.4", "::1", "fe80::5", "2001:db8::5", "fd00::5"];

    struct Case {
        rule: &'static str,
        public: &'static [&'static str],
        host: &'static [&'static str],
        local: bool,
        listeners: &'static [&'static str],
        expected: &'static [&'static str],
    }

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn candidates_are_chosen_as_designed() {
        let cases = [
            Case {
                rule: "the machine's addresses without links and loops, IPv4 first",
                public: &[],
                host: &[],
                local: false,
                listeners: ANY,
                expected: &["192.168.1.5:8189", "[2001:db8::5]:8189", "[fd00::5]:8189"],
            },
            Case {
                rule: "an address the client used comes first (a router's, with the port passed on)",
                public: &[],
                host: &["203.0.113.9"],
                local: false,
                listeners: ANY,
                expected: &["203.0.113.9:8189", "192.168.1.5:8189", "[2001:db8::5]:8189", "[fd00::5]:8189"],
            },
            Case {
                rule: "an address named twice is announced once",
                public: &[],
                host: &["192.168.1.5"],
                local: false,
                listeners: ANY,
                expected: &["192.168.1.5:8189", "[2001:db8::5]:8189", "[fd00::5]:8189"],
            },
            Case {
                rule: "an address set by hand replaces the one the client used",
                public: &["198.51.100.2"],
                host: &["203.0.113.9"],
                local: false,
                listeners: ANY,
                expected: &["198.51.100.2:8189", "192.168.1.5:8189", "[2001:db8::5]:8189", "[fd00::5]:8189"],
            },
            Case {
                rule: "local clients get loopback, and first when they called it",
                public: &[],
                host: &["127.0.0.1", "::1"],
                local: true,
                listeners: ANY,
                expected: &["127.0.0.1:8189", "192.168.1.5:8189", "[::1]:8189", "[2001:db8::5]:8189", "[fd00::5]:8189"],
            },
            Case {
                rule: "local clients get loopback beside an address set by hand",
                public: &["198.51.100.2"],
                host: &["127.0.0.1"],
                local: true,
                listeners: &["0.0.0.0:8189"],
                expected: &["198.51.100.2:8189", "192.168.1.5:8189", "127.0.0.1:8189"],
            },
            Case {
                rule: "a client from elsewhere that says localhost (through a tunnel) gets no loopback",
                public: &[],
                host: &["127.0.0.1", "::1"],
                local: false,
                listeners: &["0.0.0.0:8189"],
                expected: &["192.168.1.5:8189"],
            },
            Case {
                rule: "loopback set by hand is meant (published ports of a container)",
                public: &["127.0.0.1"],
                host: &[],
                local: false,
                listeners: &["0.0.0.0:8189"],
                expected: &["127.0.0.1:8189", "192.168.1.5:8189"],
            },
            Case {
                rule: "a socket on one address announces that one only",
                public: &[],
                host: &["203.0.113.9"],
                local: true,
                listeners: &["127.0.0.1:4000"],
                expected: &["127.0.0.1:4000"],
            },
            Case {
                rule: "a socket on one address behind a router announces the router too",
                public: &["198.51.100.2"],
                host: &[],
                local: false,
                listeners: &["192.168.1.5:8189"],
                expected: &["198.51.100.2:8189", "192.168.1.5:8189"],
            },
            Case {
                rule: "each family has its own port, and no family is announced that is not served",
                public: &[],
                host: &["2001:db8::9"],
                local: true,
                listeners: &["[::]:9001"],
                expected: &["[2001:db8::9]:9001", "[2001:db8::5]:9001", "[fd00::5]:9001", "[::1]:9001"],
            },
            Case {
                rule: "nothing is sent to an address that is none",
                public: &[],
                host: &["0.0.0.0", "224.0.0.1", "fe80::9"],
                local: false,
                listeners: &["0.0.0.0:8189"],
                expected: &["192.168.1.5:8189"],
            },
        ];
        for case in cases {
            let listeners: Vec<SocketAddr> = case.listeners.iter().map(|text| text.parse().unwrap()).collect();
            let chosen = choose(Facts {
                public: &ips(case.public),
                host: &ips(case.host),
                interfaces: &ips(LAN),
                local: case.local,
                listeners: &listeners,
            });
            let chosen: Vec<String> = chosen.iter().map(ToString::to_string).collect();
            assert_eq!(chosen, case.expected, "{}", case.rule);
        }
    }

    #[test]
    fn the_number_of_candidates_is_bounded() {
        let bridges: Vec<IpAddr> = (0..100).map(|n| IpAddr::V4(Ipv4Addr::new(172, 17, n, 1))).collect();
        let listeners = ["0.0.0.0:8189".parse().unwrap()];
        let facts = Facts { public: &[], host: &[], interfaces: &bridges, local: false, listeners: &listeners };
        assert_eq!(choose(facts).len(), MOST);
    }

    #[tokio::test]
    async fn only_own_and_configured_names_are_looked_up() {
        let announcer = Announcer::new(Vec::new(), vec!["localhost.localdomain".to_owned()], Vec::new());
        assert_eq!(announcer.addresses_of("203.0.113.9").await, ips(&["203.0.113.9"]));
        assert_eq!(announcer.addresses_of("[2001:db8::1]").await, ips(&["2001:db8::1"]));
        assert_eq!(announcer.addresses_of("LOCALHOST").await, ips(&["127.0.0.1", "::1"]));
        assert_eq!(announcer.addresses_of("stranger.example").await, ips(&[]));
        assert!(announcer.looked_up.lock().unwrap().is_empty(), "a stranger's name reached the resolver");
    }

    #[test]
    fn one_client_looks_a_name_up_while_the_others_go_on_and_a_failure_is_not_repeated_at_once() {
        let announcer = Announcer::new(Vec::new(), Vec::new(), Vec::new());
        let now = Instant::now();
        let claim = |seconds| announcer.claim("a", now + Duration::from_secs(seconds));
        assert_eq!(claim(0), Claim::LookUp(ips(&[])));
        assert_eq!(claim(1), Claim::Known(ips(&[])));
        assert_eq!(claim(10), Claim::LookUp(ips(&[])));
        let known = Known { addresses: ips(&["192.0.2.1"]), next: now + Duration::from_secs(70) };
        announcer.looked_up.lock().unwrap().insert("a".to_owned(), known);
        assert_eq!(claim(69), Claim::Known(ips(&["192.0.2.1"])));
        assert_eq!(claim(70), Claim::LookUp(ips(&["192.0.2.1"])));
        assert_eq!(claim(71), Claim::Known(ips(&["192.0.2.1"])), "the last good answer holds");
    }

    #[test]
    fn the_interfaces_of_this_machine_include_loopback_and_reachable_ones_do_not() {
        assert!(interfaces().iter().any(|ip| ip.is_loopback()));
        assert!(reachable().iter().all(|ip| !ip.is_loopback()));
    }
}
