//! A network of a test's own: one machine with one address, in which UDP can be blocked.

use std::process::Command;
use std::time::Duration;

use crate::process::{Process, wrapped};

/// Two ends of a cable in the same machine. What is sent to the address goes by loopback all the same; but browsers gather
/// no candidates there, they want an interface that is up and leads somewhere.
const SETUP: &str = "\
set -e
ip link set lo up
ip link add outer type veth peer name inner
ip address add 192.0.2.1/24 dev outer
ip link set outer up
ip link set inner up
ip route add default via 192.0.2.254
echo ready
exec sleep infinity";

const BLOCK_UDP: &str = "\
add table inet blocked
add chain inet blocked arriving { type filter hook input priority 0; }
add rule inet blocked arriving meta l4proto udp drop";

/// A network namespace. It has no name: it lasts as long as the process that keeps it, which ends on drop or with the
/// test program, and those that were started inside.
#[derive(Debug)]
pub struct Network {
    keeper: Process,
}

impl Network {
    /// Makes the network. Panics where the kernel lets us have none.
    #[expect(clippy::new_without_default, reason = "it starts a process")]
    pub fn new() -> Network {
        let mut command = Command::new("unshare");
        command.args(namespaces()).args(["--", "sh", "-c", SETUP]);
        let keeper = Process::start("network", &command);
        keeper.line(Duration::from_secs(20), "network", |line| (line == "ready").then_some(()));
        Network { keeper }
    }

    /// What runs `command` inside.
    pub fn inside(&self, command: &Command) -> Command {
        let mut nsenter = Command::new("nsenter");
        nsenter.arg("--target").arg(self.keeper.id().to_string()).args(entered()).arg("--");
        wrapped(nsenter, command)
    }

    /// From now on no UDP datagram arrives, and nobody is told.
    pub fn block_udp(&self) {
        let mut nft = Command::new("nft");
        nft.arg(BLOCK_UDP);
        let output = self.inside(&nft).output().expect("nsenter is in util-linux");
        assert!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// An ordinary user may make networks as the root of a user namespace.
fn namespaces() -> &'static [&'static str] {
    if nix::unistd::geteuid().is_root() { &["--net"] } else { &["--net", "--user", "--map-root-user"] }
}

fn entered() -> &'static [&'static str] {
    if nix::unistd::geteuid().is_root() { &["--net"] } else { &["--net", "--user", "--preserve-credentials"] }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends itself a datagram inside; whether it arrived.
    fn datagram_arrives(network: &Network) -> bool {
        let script = "import socket
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(('192.0.2.1', 0))
receiver.settimeout(1)
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try:
    sender.sendto(b'hello', receiver.getsockname())
    receiver.recv(5)
except OSError:
    raise SystemExit(7)";
        let mut python = Command::new("/usr/bin/python3");
        python.arg("-c").arg(script);
        match network.inside(&python).status().expect("nsenter").code() {
            Some(0) => true,
            Some(7) => false,
            other => panic!("python ended with {other:?}"),
        }
    }

    #[test]
    fn udp_passes_until_it_is_blocked() {
        let network = Network::new();
        assert!(datagram_arrives(&network));
        network.block_udp();
        assert!(!datagram_arrives(&network));
        assert!(datagram_arrives(&Network::new()), "other networks are not touched");
    }
}
