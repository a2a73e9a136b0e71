//! `cargo xtask test`: the whole proof, from a machine that has only Rust.
//!
//! One profile and one set of packages throughout (`--workspace` always, tests picked by name): another selection would
//! mean other features, and so a second build of every dependency.

use std::path::Path;
use std::process::Command;

use crate::Outcome;
use crate::check;
use crate::packages;
use crate::python;
use crate::soak;
use crate::steps::{Steps, cargo};

/// Tests that start browsers are named so; two of them at once would starve each other's encoders.
const BROWSERS: &str = "browser::";
/// Tests that need the whole machine for a while are named so.
const CROWDS: &str = "crowd::";

pub(crate) fn run(_: ()) -> Outcome {
    let mut steps = Steps::default();
    if !steps.run("packages", packages::install) {
        return steps.finish();
    }
    steps.run("python", python::make);
    check::code(&mut steps);
    // The build includes the `whipstitch` binary that the interop tests start.
    if !steps.command("build", 25, &cargo(&["build", "--workspace", "--all-targets", "--locked"])) {
        return steps.finish();
    }
    steps.command("tests", 12, &tests(&["--", "--skip", BROWSERS, "--skip", CROWDS]));
    steps.command("browsers", 14, &tests(&["--test", "interop", "--", "--test-threads=1", BROWSERS]));
    steps.command("crowds", 7, &tests(&["--test", "interop", "--", "--test-threads=1", CROWDS]));
    steps.run("soak", || soak::short(()));
    steps.finish()
}

/// What tests of Python clients need that are started without [`run`].
pub(crate) fn python(_: ()) -> Outcome {
    packages::install()?;
    python::make()
}

fn tests(args: &[&str]) -> Command {
    let mut command = cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
    // It lies beside this program, built by the part before.
    if let Some(folder) = std::env::current_exe().ok().as_deref().and_then(Path::parent) {
        command.env("WHIPSTITCH_BIN", folder.join("whipstitch"));
    }
    command.env("WHIPSTITCH_PYTHON", python::interpreter()).args(args);
    command
}
