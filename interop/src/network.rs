//! A network of a test's own: one machine with one address, in which UDP can be blocked, or lost at random.

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

/// What comes from the port or goes there is lost on arrival, so many of a hundred, each by its own chance.
fn lose(port: u16, percent: u32) -> String {
    format!(
        "add table inet lossy
add chain inet lossy arriving {{ type filter hook input priority 0; }}
add rule inet lossy arriving udp dport {port} numgen random mod 100 < {percent} drop
add rule inet lossy arriving udp sport {port} numgen random mod 100 < {percent} drop"
    )
}

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
        Network::own(SETUP)
    }

    /// Makes a network and runs this script in it, which says `ready` and stays.
    pub(crate) fn own(script: &str) -> Network {
        let mut command = Command::new("unshare");
        command.args(namespaces()).args(["--", "sh", "-c", script]);
        Network::kept(&command)
    }

    /// The same, as one that belongs to the same user as this one, so that they can be connected.
    pub(crate) fn beside(&self, script: &str) -> Network {
        let mut command = Command::new("unshare");
        command.args(["--net", "--", "sh", "-c", script]);
        Network::kept(&self.inside(&command))
    }

    fn kept(command: &Command) -> Network {
        let keeper = Process::start("network", command);
        keeper.line(Duration::from_secs(20), "network", |line| (line == "ready").then_some(()));
        Network { keeper }
    }

    /// The process that keeps it.
    pub(crate) fn id(&self) -> i32 {
        self.keeper.id()
    }

    /// What runs `command` inside.
    pub fn inside(&self, command: &Command) -> Command {
        let mut nsenter = Command::new("nsenter");
        nsenter.arg("--target").arg(self.keeper.id().to_string()).args(entered()).arg("--");
        wrapped(nsenter, command)
    }

    /// From now on no UDP datagram arrives, and nobody is told.
    pub fn block_udp(&self) {
        self.nft(BLOCK_UDP);
    }

    /// From now on so many of a hundred UDP datagrams to this port are lost, and as many of those from it.
    pub fn lose_udp(&self, port: u16, percent: u32) {
        self.nft(&lose(port, percent));
    }

    pub(crate) fn nft(&self, rules: &str) -> String {
        let mut nft = Command::new("nft");
        nft.arg(rules);
        self.run(nft)
    }

    /// Runs a command inside and returns what it says; panics when it fails.
    pub(crate) fn run(&self, command: Command) -> String {
        let output = self.inside(&command).output().expect("nsenter is in util-linux");
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// `ip` of iproute2.
pub(crate) fn ip(args: &[&str]) -> Command {
    let mut ip = Command::new("ip");
    ip.args(args);
    ip
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
    use std::io::{BufRead, BufReader, Write};
    use std::process::Stdio;

    use super::*;

    /// Two sockets inside send datagrams to each other, each so many; how many arrive at the first, and at the second.
    /// The ports are told before, and a line is awaited.
    const CORRESPOND: &str = "import socket, sys
sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
for one in sockets:
    one.bind(('192.0.2.1', 0))
    one.setblocking(False)
print(*(one.getsockname()[1] for one in sockets), flush=True)
sys.stdin.readline()
arrived = [0, 0]
def receive(here):
    try:
        sockets[here].recv(5)
    except OSError:
        return False
    arrived[here] += 1
    return True
for _ in range(int(sys.argv[1])):
    for here, there in ((0, 1), (1, 0)):
        sockets[there].sendto(b'hello', sockets[here].getsockname())
        receive(here)
for here in (0, 1):
    sockets[here].settimeout(0.3)
    while receive(here):
        pass
print(*arrived)";

    /// What arrives of `count` datagrams each way, when `spoil` has done something about the first socket's port.
    fn arrive(network: &Network, count: u32, spoil: impl FnOnce(u16)) -> [u32; 2] {
        let mut python = Command::new("/usr/bin/python3");
        python.args(["-c", CORRESPOND, &count.to_string()]);
        let mut command = network.inside(&python);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("nsenter is in util-linux");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut numbers = || -> Vec<u32> {
            let line = lines.next().expect("a line").expect("in UTF-8");
            line.split(' ').map(|word| word.parse().expect("a number")).collect()
        };
        spoil(u16::try_from(numbers()[0]).expect("a port"));
        child.stdin.take().expect("a pipe").write_all(b"go\n").expect("it waits for this");
        let arrived = numbers();
        assert!(child.wait().is_ok_and(|status| status.success()));
        [arrived[0], arrived[1]]
    }

    #[test]
    fn udp_passes_until_it_is_blocked() {
        let network = Network::new();
        assert_eq!(arrive(&network, 1, |_| {}), [1, 1]);
        network.block_udp();
        assert_eq!(arrive(&network, 1, |_| {}), [0, 0]);
        assert_eq!(arrive(&Network::new(), 1, |_| {}), [1, 1], "other networks are not touched");
    }

    #[test]
    fn udp_of_a_port_is_lost_at_random_both_ways() {
        let network = Network::new();
        let arrived = arrive(&network, 4000, |port| network.lose_udp(port, 5));
        // Five standard deviations are 69.
        assert!(arrived.iter().all(|arrived| (3700..3900).contains(arrived)), "{arrived:?}");
        assert_eq!(arrive(&network, 100, |_| {}), [100, 100], "other ports are not touched");
    }
}
