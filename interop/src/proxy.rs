//! `whipstitch proxy` of the build under test, on ports of the kernel's choice.

use std::net::SocketAddr;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use crate::gateway::program;
use crate::network::Network;
use crate::process::Process;

/// It binds and speaks at once; the rest is room for a machine that is busy building.
const START: Duration = Duration::from_secs(20);

/// Orderly stop takes at most ten seconds (design 1.1).
const STOP: Duration = Duration::from_secs(10);

/// A running proxy. Killed on drop.
#[derive(Debug)]
pub struct Proxy(Process);

impl Proxy {
    /// Starts `whipstitch proxy` with these flags and waits until it says where it listens.
    pub fn start(flags: &[&str]) -> Proxy {
        Proxy::of(program(), flags)
    }

    /// Starts one in a network of its own.
    pub fn inside(network: &Network, flags: &[&str]) -> Proxy {
        Proxy::of(network.inside(&program()), flags)
    }

    fn of(mut command: Command, flags: &[&str]) -> Proxy {
        command.args(["proxy", "--http", "127.0.0.1:0", "--rtc", "0.0.0.0:0", "--admin", "127.0.0.1:0"]).args(flags);
        let proxy = Proxy(Process::start("whipstitch proxy", &command));
        proxy.listener("admin http");
        proxy
    }

    fn listener(&self, of: &str) -> SocketAddr {
        let start = format!("listening on {of} ");
        self.0.line(START, "a listener", |line| line.strip_prefix(&start)?.parse().ok())
    }

    /// The URL of a path on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.listener("http").port())
    }

    /// The URL of a path on its admin listener.
    pub fn admin(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.listener("admin http").port())
    }

    /// The UDP port of all media.
    pub fn media_port(&self) -> u16 {
        self.listener("rtc udp").port()
    }

    /// The program, for what it says.
    pub fn process(&self) -> &Process {
        &self.0
    }

    /// SIGTERM, and the exit status; panics if it takes longer than it may.
    pub fn stop(&self) -> ExitStatus {
        self.0.stop(STOP)
    }
}
