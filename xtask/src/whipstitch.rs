//! The release build of the gateway and the load tool, as `bench` and `soak` use them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use whipstitch_interop::{Gateway, Process};

use crate::Outcome;
use crate::steps::{cargo, target};

/// Builds everything measured, optimised.
pub(crate) fn build() -> Outcome {
    let packages = ["build", "--release", "--locked", "-p", "whipstitch", "-p", "whipstitch-client"];
    let status = cargo(&packages).args(["--bins", "--examples"]).status().map_err(|e| e.to_string())?;
    if status.success() { Ok(()) } else { Err("the release build failed".into()) }
}

/// A gateway on ports of the kernel's choice.
pub(crate) fn gateway() -> Gateway {
    Gateway::start(command("whipstitch"), "serve", &[])
}

/// Runs `whipstitch-load` against the gateway, with further options; what it reports.
pub(crate) fn load(gateway: &Gateway, stream: &str, options: &[(&str, String)], limit: Duration) -> Outcome<Figures> {
    let mut command = command("whipstitch-load");
    command.args(["--whip", &gateway.url(&format!("/whip/{stream}"))]);
    command.args(["--whep", &gateway.url(&format!("/whep/{stream}"))]);
    command.args(["--pid", &gateway.process().id().to_string()]);
    for (name, value) in options {
        command.args([name, value.as_str()]);
    }
    figures("whipstitch-load", &command, limit)
}

/// The cheapest that this machine can send sealed packets, now.
pub(crate) fn floor() -> Outcome<Figures> {
    figures("floor", &command("examples/floor"), Duration::from_secs(60))
}

fn command(name: &str) -> Command {
    Command::new(release().join(name))
}

fn release() -> PathBuf {
    target().join("release")
}

/// What a tool printed as `key=value` lines.
#[derive(Debug, Default)]
pub(crate) struct Figures(BTreeMap<String, String>);

impl Figures {
    fn parse(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Figures(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    pub(crate) fn text(&self, key: &str) -> &str {
        self.0.get(key).map_or("-", String::as_str)
    }

    /// A figure; an error if it was not measured.
    pub(crate) fn number(&self, key: &str) -> Outcome<f64> {
        self.text(key).parse().map_err(|_| format!("`{key}` was not measured: {}", self.text("first_error")))
    }
}

fn figures(name: &str, command: &Command, limit: Duration) -> Outcome<Figures> {
    let process = Process::start(name, command);
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
