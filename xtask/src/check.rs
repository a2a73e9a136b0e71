//! `cargo xtask check`: everything that can be said about the code without running it.

use crate::Outcome;
use crate::floors;
use crate::links;
use crate::names;
use crate::steps::{Steps, cargo, root};

pub(crate) fn run(_: ()) -> Outcome {
    let mut steps = Steps::default();
    code(&mut steps);
    if cargo(&["deny", "--version"]).output().is_ok_and(|output| output.status.success()) {
        steps.command("licences", 5, &cargo(&["deny", "check", "licenses", "bans", "sources"]));
    } else {
        eprintln!("\n=== licences: skipped, `cargo install cargo-deny --locked` to have them checked");
    }
    steps.finish()
}

/// The part that `test` runs as well.
pub(crate) fn code(steps: &mut Steps) {
    steps.command("formatting", 2, &cargo(&["fmt", "--all", "--check"]));
    steps.run("floors", || floors::hold(&root()));
    steps.run("links", || links::hold(&root()));
    steps.run("names of tests", || names::hold(&root()));
    let lints = ["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-Dwarnings"];
    steps.command("lints", 20, &cargo(&lints));
    // Whoever reads these pages reads the code as well: private items are shown, and may be linked to. With the example,
    // the dependencies have the same features as for the lints, and are not looked at again.
    let targets = ["--lib", "--examples", "--bin", "xtask", "--bin", "whipstitch-load", "--bin", "whipstitch-churn"];
    let mut docs = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items", "--locked", "--quiet"]);
    docs.args(targets);
    docs.env("RUSTDOCFLAGS", "-Dwarnings -Arustdoc::private_intra_doc_links");
    steps.command("documentation", 10, &docs);
}
