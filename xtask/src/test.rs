//! `cargo xtask test`: the whole proof, from a machine that has only Rust.
//!
//! One profile and one set of packages throughout (`--workspace` always, tests picked by name): another selection would
//! mean other features, and so a second build of every dependency.

use crate::Outcome;
use crate::check;
use crate::packages;
use crate::steps::{Steps, cargo};

/// Tests that start browsers are named so; two of them at once would starve each other's encoders.
const BROWSERS: &str = "browser::";

pub(crate) fn run(_: ()) -> Outcome {
    let mut steps = Steps::default();
    if !steps.run("packages", packages::install) {
        return steps.finish();
    }
    check::code(&mut steps);
    // The build includes the `whipstitch` binary that the interop tests start.
    if !steps.command("build", 25, &cargo(&["build", "--workspace", "--all-targets", "--locked"])) {
        return steps.finish();
    }
    let tests = ["test", "--workspace", "--locked", "--", "--skip", BROWSERS];
    steps.command("tests", 12, &cargo(&tests));
    let browsers = ["test", "--workspace", "--locked", "--test", "interop", "--", "--test-threads=1", BROWSERS];
    steps.command("browsers", 9, &cargo(&browsers));
    steps.finish()
}
