//! Debian's Redis server on a host of its own, with nothing in it.

use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::lan::Host;
use crate::process::Process;

const PORT: u16 = 6379;

/// It listens at once; the rest is room for a machine that is busy building.
const START: Duration = Duration::from_secs(20);

/// A running server. Killed on drop, and all it knew is lost.
#[derive(Debug)]
pub struct Redis {
    _process: Process,
    _folder: TempDir,
}

impl Redis {
    /// Starts one on this host and waits until it listens.
    pub fn inside(host: &Host) -> Redis {
        let folder = tempfile::Builder::new().prefix("whipstitch-redis-").tempdir().expect("a temporary folder");
        let mut redis = Command::new("redis-server");
        redis.args(["--bind", &host.ip().to_string(), "--port", &PORT.to_string(), "--protected-mode", "no"]);
        redis.args(["--save", "", "--appendonly", "no", "--dir"]).arg(folder.path());
        let process = Process::start("redis-server", &host.inside(&redis));
        process.line(START, "readiness", |line| line.contains("Ready to accept connections").then_some(()));
        Redis { _process: process, _folder: folder }
    }

    /// How many keys begin so.
    pub fn keys(host: &Host, start: &str) -> usize {
        let mut cli = Command::new("redis-cli");
        cli.args(["-h", &host.ip().to_string(), "-p", &PORT.to_string(), "--scan", "--pattern", &format!("{start}*")]);
        host.network().run(cli).lines().count()
    }

    /// What proxies name it by.
    pub fn url(host: &Host) -> String {
        format!("redis://{}", host.at(PORT))
    }
}
