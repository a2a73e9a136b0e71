//! Machines of a test's own: a switch, and on it hosts with an address each, of those meant for documentation (RFC 5737).

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::network::{Network, ip};

const SWITCH: &str = "\
set -e
ip link set lo up
ip link add switch type bridge
ip link set switch up
echo ready
exec sleep infinity";

const HOST: &str = "\
set -e
ip link set lo up
echo ready
exec sleep infinity";

/// Nobody has this address; browsers gather candidates only where they could go somewhere.
const ROUTER: u8 = 254;

/// A switch. Hosts are plugged in by their numbers.
#[derive(Debug)]
pub struct Lan(Network);

/// A machine on a [`Lan`]. It lasts as long as this value, and so does what runs on it.
#[derive(Debug)]
pub struct Host {
    network: Network,
    ip: Ipv4Addr,
    /// Names for tables of the firewall.
    tables: AtomicU32,
}

/// What a host was told to do to datagrams, until it is told otherwise.
#[derive(Debug)]
pub struct Rules(String);

impl Lan {
    /// Makes the switch. Panics where the kernel lets us have none.
    #[expect(clippy::new_without_default, reason = "it starts a process")]
    pub fn new() -> Lan {
        Lan(Network::own(SWITCH))
    }

    /// Plugs in a host with this number, 1 to 253, as the last one of its address.
    pub fn host(&self, number: u8) -> Host {
        let network = self.0.beside(HOST);
        let (port, pid) = (format!("port{number}"), network.id().to_string());
        let ends = ["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &pid];
        self.0.run(ip(&ends));
        self.0.run(ip(&["link", "set", &port, "master", "switch", "up"]));
        let address = |number| Ipv4Addr::new(198, 51, 100, number);
        network.run(ip(&["address", "add", &format!("{}/24", address(number)), "dev", "eth0"]));
        network.run(ip(&["link", "set", "eth0", "up"]));
        network.run(ip(&["route", "add", "default", "via", &address(ROUTER).to_string()]));
        Host { network, ip: address(number), tables: AtomicU32::new(0) }
    }
}

impl Host {
    /// Its address.
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// Its address with a port.
    pub fn at(&self, port: u16) -> SocketAddr {
        (self.ip, port).into()
    }

    /// The network it is, for programs to run in.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// What runs `command` on it.
    pub fn inside(&self, command: &Command) -> Command {
        self.network.inside(command)
    }

    /// What it sends over UDP to `from` goes to the same port of `to` from now on, and what comes from there seems to come
    /// from `from`, of which itself nothing arrives any more. Of one local port, or of all. Those that come are counted.
    pub fn move_udp(&self, port: Option<u16>, from: SocketAddr, to: Ipv4Addr) -> Rules {
        let (source, destination) =
            port.map_or_else(Default::default, |port| (format!("udp sport {port}"), format!("udp dport {port}")));
        let (old, at) = (from.ip(), from.port());
        let table = self.table();
        self.network.nft(&format!(
            "add table ip {table}
add chain ip {table} leaving {{ type route hook output priority -300; }}
add chain ip {table} arriving {{ type filter hook prerouting priority -300; }}
add rule ip {table} leaving ip daddr {old} udp dport {at} {source} ip daddr set {to}
add rule ip {table} arriving ip saddr {old} udp sport {at} {destination} drop
add rule ip {table} arriving ip saddr {to} udp sport {at} {destination} counter ip saddr set {old}"
        ));
        Rules(table)
    }

    /// From now on nothing arrives, and nobody is told.
    pub fn cut_off(&self) -> Rules {
        let table = self.table();
        self.network.nft(&format!(
            "add table ip {table}
add chain ip {table} arriving {{ type filter hook prerouting priority -300; }}
add rule ip {table} arriving iifname eth0 drop"
        ));
        Rules(table)
    }

    /// Counts the UDP datagrams that arrive from an address, from now on.
    pub fn count_udp(&self, from: Ipv4Addr) -> Rules {
        let table = self.table();
        self.network.nft(&format!(
            "add table ip {table}
add chain ip {table} arriving {{ type filter hook prerouting priority -400; }}
add rule ip {table} arriving ip saddr {from} meta l4proto udp counter"
        ));
        Rules(table)
    }

    /// How many datagrams were counted.
    pub fn counted(&self, rules: &Rules) -> u64 {
        let list = self.network.nft(&format!("list table ip {}", rules.0));
        let count = list.split_once("counter packets ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        count.unwrap_or_else(|| panic!("no counter in {list}"))
    }

    /// All is as it was before.
    pub fn undo(&self, rules: Rules) {
        self.network.nft(&format!("delete table ip {}", rules.0));
    }

    fn table(&self) -> String {
        format!("test{}", self.tables.fetch_add(1, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends a datagram to each of two addresses from one port, and says who answers each, or nobody.
    const ASK: &str = "import socket, sys
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind(('0.0.0.0', 7000))
for ip in sys.argv[1:]:
    one.sendto(b'who', (ip, 5000))
    one.settimeout(5 if ip != sys.argv[-1] else 0.3)
    try:
        answer, (where, _) = one.recvfrom(100)
        print(answer.decode(), 'at', where, end=' ')
    except TimeoutError:
        print('nobody', end=' ')";

    const ANSWER: &str = "import socket, sys
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind(('0.0.0.0', 5000))
print('ready', flush=True)
while True:
    one.sendto(sys.argv[1].encode(), one.recvfrom(100)[1])";

    fn python(script: &str, args: &[&str]) -> Command {
        let mut python = Command::new("/usr/bin/python3");
        python.args(["-c", script]).args(args);
        python
    }

    #[test]
    fn hosts_reach_each_other_and_datagrams_go_elsewhere_when_told() {
        let lan = Lan::new();
        let [asker, one, two] = [1, 2, 3].map(|number| lan.host(number));
        let servers = [(&one, "one"), (&two, "two")].map(|(host, name)| {
            let server = crate::Process::start(name, &host.inside(&python(ANSWER, &[name])));
            server.line(std::time::Duration::from_secs(20), "its port", |line| (line == "ready").then_some(()));
            server
        });
        let (ip1, ip2) = (one.ip().to_string(), two.ip().to_string());
        let ask = || asker.network.run(python(ASK, &[&ip1, &ip2]));
        assert_eq!(ask(), format!("one at {ip1} two at {ip2} "));
        let counted = asker.count_udp(two.ip());
        for port in [Some(7000), None] {
            let moved = asker.move_udp(port, one.at(5000), two.ip());
            // What it says of itself seems to come from where it was not asked.
            assert_eq!(ask(), format!("two at {ip1} two at {ip1} "));
            asker.undo(moved);
        }
        assert_eq!(asker.counted(&counted), 4);
        let other = asker.move_udp(Some(7001), one.at(5000), two.ip());
        assert_eq!(ask(), format!("one at {ip1} two at {ip2} "), "other ports are not touched");
        asker.undo(other);
        let off = two.cut_off();
        assert_eq!(ask(), format!("one at {ip1} nobody "));
        two.undo(off);
        assert_eq!(ask(), format!("one at {ip1} two at {ip2} "));
        drop(servers);
    }
}
