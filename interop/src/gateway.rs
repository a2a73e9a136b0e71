//! The `whipstitch` binary under test, on ports of the kernel's choice.

use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

use crate::network::Network;
use crate::process::Process;

/// Orderly stop takes at most ten seconds (design 1.1).
const STOP: Duration = Duration::from_secs(10);

/// It binds and speaks at once; the rest is room for a machine that is busy building.
const START: Duration = Duration::from_secs(20);

/// A running gateway with a data folder of its own. Killed on drop.
#[derive(Debug)]
pub struct Gateway {
    process: Process,
    base: String,
    _data: TempDir,
}

impl Gateway {
    /// Starts `whipstitch serve` with these flags and waits until it says where it listens.
    pub fn serve(flags: &[&str]) -> Gateway {
        Gateway::start(program(), "serve", flags)
    }

    /// Starts `whipstitch demo`.
    pub fn demo(flags: &[&str]) -> Gateway {
        Gateway::start(program(), "demo", flags)
    }

    /// Starts `whipstitch serve` in a network of its own.
    pub fn inside(network: &Network, flags: &[&str]) -> Gateway {
        Gateway::start(network.inside(&program()), "serve", flags)
    }

    /// Starts a command of this build of the gateway, with a data folder of its own and on free ports unless the flags
    /// say otherwise.
    pub fn start(mut program: Command, command: &str, flags: &[&str]) -> Gateway {
        let data = tempfile::Builder::new().prefix("whipstitch-data-").tempdir().expect("a temporary folder");
        program.args([command, "--http", "127.0.0.1:0", "--rtc", "0.0.0.0:0", "--rtsp", "127.0.0.1:0"]);
        if !flags.contains(&"--data") {
            program.arg("--data").arg(data.path());
        }
        program.args(flags);
        let process = Process::start("whipstitch", &program);
        let base = process.line(START, "start-up line", |line| {
            Some(line.strip_prefix("overview ")?.trim_end_matches('/').to_owned())
        });
        Gateway { process, base, _data: data }
    }

    /// The URL of a path on this gateway.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The RTSP URL of a stream, with `credentials` (`user:password@`, or nothing) before the host.
    pub fn rtsp(&self, credentials: &str, stream: &str) -> String {
        let address = self
            .process
            .line(START, "an RTSP listener", |line| Some(line.strip_prefix("listening on rtsp tcp ")?.to_owned()));
        format!("rtsp://{credentials}{address}/live/{stream}")
    }

    /// The TCP port of HTTP.
    pub fn port(&self) -> u16 {
        let port = self.base.rsplit(':').next().and_then(|port| port.parse().ok());
        port.expect("the URLs of a gateway that took any free port name it")
    }

    /// The program, for what it says and uses.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// SIGTERM, and the exit status; panics if it takes longer than it may.
    pub fn stop(&self) -> ExitStatus {
        self.process.stop(STOP)
    }
}

/// `whipstitch` without arguments and without the environment's configuration.
pub fn program() -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WHIPSTITCH_") {
            command.env_remove(name);
        }
    }
    command
}

/// The binary: named by `WHIPSTITCH_BIN` (as `cargo xtask test` does, having built it), else built now.
fn binary() -> &'static PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("WHIPSTITCH_BIN") {
            return path.into();
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        // With all tests of the workspace: the same features, hence the same dependencies as this test was built with.
        let status = Command::new(cargo).args(["build", "--quiet", "--workspace", "--bins", "--tests"]).status();
        assert!(status.is_ok_and(|status| status.success()), "whipstitch does not build");
        target().join("debug/whipstitch")
    })
}

/// The workspace's target folder: this program lies in `<target>/debug/deps`.
pub fn target() -> PathBuf {
    let own = std::env::current_exe().expect("a running program has a file");
    own.ancestors().nth(3).expect("tests lie in <target>/debug/deps").to_owned()
}
