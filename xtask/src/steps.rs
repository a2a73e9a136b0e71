//! Runs the parts of a command one after the other and prints what each took.
//!
//! A part that fails does not hide the ones after it: all of them run, and the summary names the broken ones. Each part
//! has a time limit after which its processes are killed, so that a wedged test costs minutes and not the night.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Outcome;

/// The workspace's root folder.
pub(crate) fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("xtask is a folder of the workspace").to_owned()
}

/// The workspace's target folder: this program lies in `<target>/debug`.
pub(crate) fn target() -> PathBuf {
    let own = std::env::current_exe().ok();
    let target = own.as_deref().and_then(|own| own.ancestors().nth(2)).map(PathBuf::from);
    target.unwrap_or_else(|| root().join("target"))
}

/// `cargo` as it was called, in the workspace's root.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

/// Parts that ran, with their times.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<(String, Duration, Outcome)>,
}

impl Steps {
    /// Runs `part` and keeps what came of it. True when it passed.
    pub(crate) fn run(&mut self, name: &str, part: impl FnOnce() -> Outcome) -> bool {
        eprintln!("\n=== {name}");
        let start = Instant::now();
        let outcome = part();
        if let Err(why) = &outcome {
            eprintln!("=== {name}: {why}");
        }
        let passed = outcome.is_ok();
        self.done.push((name.to_owned(), start.elapsed(), outcome));
        passed
    }

    /// Runs `command` as one part, for at most `minutes`.
    pub(crate) fn command(&mut self, name: &str, minutes: u64, command: &Command) -> bool {
        self.run(name, || limited(command, minutes))
    }

    /// Prints the summary; fails if any part did.
    pub(crate) fn finish(self) -> Outcome {
        println!("\n{:<44} {:>9}", "part", "time");
        let total: Duration = self.done.iter().map(|(_, took, _)| *took).sum();
        for (name, took, outcome) in &self.done {
            let verdict = if outcome.is_ok() { "ok" } else { "FAILED" };
            println!("{name:<44} {:>7.1} s  {verdict}", took.as_secs_f64());
        }
        println!("{:<44} {:>7.1} s", "all", total.as_secs_f64());
        let failed: Vec<_> = self.done.iter().filter(|(.., o)| o.is_err()).map(|(name, ..)| name.as_str()).collect();
        if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
    }
}

/// Runs a command to its end. `timeout` gives it a process group and kills all of that after the limit; `setpriv` sees to
/// it that the group also ends with us, however we end.
pub(crate) fn limited(command: &Command, minutes: u64) -> Outcome {
    let mut guarded = Command::new("setpriv");
    guarded.args(["--pdeathsig", "TERM", "timeout", "--kill-after=10s"]).arg(format!("{minutes}m"));
    guarded.arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        guarded.current_dir(folder);
    }
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => guarded.env(key, value),
            None => guarded.env_remove(key),
        };
    }
    let status = guarded.status().map_err(|e| format!("setpriv (Debian package util-linux): {e}"))?;
    match status.code() {
        Some(0) => Ok(()),
        Some(124 | 137) => Err(format!("not done after {minutes} minutes")),
        _ => Err(status.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::Steps;

    #[test]
    fn a_failed_part_fails_the_whole_after_all_have_run() {
        let mut steps = Steps::default();
        assert!(!steps.run("first", || Err("broken".into())));
        let mut ran = false;
        assert!(steps.run("second", || {
            ran = true;
            Ok(())
        }));
        assert!(ran);
        assert_eq!(steps.finish(), Err("failed: first".into()));
    }
}
