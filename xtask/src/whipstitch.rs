//! The gateway and the load tools as `bench` and `soak` use them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use whipstitch_interop::{Gateway, Process};

use crate::Outcome;
use crate::steps::{cargo, target};

/// Programs of one profile.
pub(crate) struct Build(PathBuf);

impl Build {
    /// Builds everything measured, optimised.
    pub(crate) fn release() -> Outcome<Build> {
        let packages =
            ["build", "--release", "--locked", "-p", "whipstitch", "-p", "whipstitch-client", "-p", "whipstitch-proxy"];
        let status = cargo(&packages).args(["--bins", "--examples"]).status().map_err(|e| e.to_string())?;
        if status.success() { Ok(Build(target().join("release"))) } else { Err("the release build failed".into()) }
    }

    /// What the tests run, built already.
    pub(crate) fn debug() -> Build {
        Build(target().join("debug"))
    }

    /// A gateway on ports of the kernel's choice.
    pub(crate) fn gateway(&self, flags: &[&str]) -> Gateway {
        Gateway::start(self.command("whipstitch"), "serve", flags)
    }

    /// Runs `whipstitch-load` against the gateway, with further options; what it reports.
    pub(crate) fn load(
        &self,
        gateway: &Gateway,
        stream: &str,
        options: &[String],
        limit: Duration,
    ) -> Outcome<Figures> {
        let mut command = self.client("whipstitch-load", gateway, stream);
        command.args(["--pid", &gateway.process().id().to_string()]).args(options);
        figures("whipstitch-load", &Process::start("whipstitch-load", &command), limit)
    }

    /// Starts `whipstitch-churn`, whose streams have this name at the beginning of theirs.
    pub(crate) fn churn(&self, gateway: &Gateway, stream: &str, options: &[String]) -> Process {
        let mut command = self.client("whipstitch-churn", gateway, stream);
        Process::start("whipstitch-churn", command.args(options))
    }

    /// The cheapest that this machine can send sealed packets, now.
    pub(crate) fn floor(&self) -> Outcome<Figures> {
        let process = Process::start("floor", &self.command("examples/floor"));
        figures("floor", &process, Duration::from_secs(60))
    }

    /// What the proxy's relay costs beside a plain one, from this many seconds of each load.
    pub(crate) fn relay(&self, seconds: u64) -> Outcome<Figures> {
        let mut command = self.command("examples/relay");
        let process = Process::start("relay", command.arg(seconds.to_string()));
        figures("relay", &process, Duration::from_secs(6 * seconds + 60))
    }

    fn client(&self, name: &str, gateway: &Gateway, stream: &str) -> Command {
        let mut command = self.command(name);
        command.args(["--whip", &gateway.url(&format!("/whip/{stream}"))]);
        command.args(["--whep", &gateway.url(&format!("/whep/{stream}"))]);
        command
    }

    fn command(&self, name: &str) -> Command {
        Command::new(self.0.join(name))
    }
}

/// What a tool printed as `key=value` lines.
#[derive(Debug, Default)]
pub(crate) struct Figures(BTreeMap<String, String>);

impl Figures {
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Figures(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    pub(crate) fn all(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    pub(crate) fn text(&self, key: &str) -> &str {
        self.0.get(key).map_or("-", String::as_str)
    }

    /// A figure; an error if it was not measured.
    pub(crate) fn number(&self, key: &str) -> Outcome<f64> {
        self.text(key).parse().map_err(|_| format!("`{key}` was not measured: {}", self.text("first_error")))
    }
}

/// What a tool reports when it has ended.
pub(crate) fn figures(name: &str, process: &Process, limit: Duration) -> Outcome<Figures> {
    let status = process.end(limit);
    if status.success() { Ok(Figures::parse(&process.said())) } else { Err(format!("{name}: {}", process.said())) }
}

#[cfg(test)]
mod tests {
    use super::Figures;

    #[test]
    fn figures_are_read_by_name_and_a_missing_one_is_explained() {
        let figures = Figures::parse("WARN something\njoined=3\nfirst_error=no route: a=b\n");
        assert_eq!(figures.number("joined"), Ok(3.0));
        assert_eq!(figures.text("first_error"), "no route: a=b");
        assert_eq!(figures.number("lost"), Err("`lost` was not measured: no route: a=b".into()));
    }
}
