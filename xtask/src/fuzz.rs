//! `cargo xtask fuzz`: each fuzz target for a while. What it finds lies in `fuzz/artifacts/`.
//!
//! Fuzzing needs compiler flags that are not stable; `RUSTC_BOOTSTRAP=1` lends them to the stable compiler that is
//! there, so that nobody has to install another one.

use crate::Outcome;
use crate::options;
use crate::steps::{Steps, cargo, root};

pub(crate) struct Options {
    seconds: u64,
    targets: Vec<String>,
}

impl Options {
    pub(crate) fn parse(args: lexopt::Parser) -> Outcome<Self> {
        let mut seconds = 60;
        let targets = options::numbers(args, &mut [("seconds", &mut seconds)])?;
        Ok(Options { seconds, targets })
    }
}

pub(crate) fn run(options: Options) -> Outcome {
    let known = targets()?;
    let chosen = if options.targets.is_empty() { known.clone() } else { options.targets };
    if let Some(unknown) = chosen.iter().find(|target| !known.contains(target)) {
        return Err(format!("no fuzz target `{unknown}`; there are: {}", known.join(", ")));
    }
    let mut steps = Steps::default();
    // Building the instrumented dependencies counts against the first target: allow for it.
    let minutes = options.seconds / 60 + 15;
    for target in &chosen {
        let time = format!("-max_total_time={}", options.seconds);
        let mut fuzz = cargo(&["fuzz", "run", target, "--", &time]);
        fuzz.env("RUSTC_BOOTSTRAP", "1");
        steps.command(target, minutes, &fuzz);
    }
    steps.finish()
}

fn targets() -> Outcome<Vec<String>> {
    if !root().join("fuzz/Cargo.toml").exists() {
        return Err("there are no fuzz targets (folder `fuzz`)".into());
    }
    let list = cargo(&["fuzz", "list"]).env("RUSTC_BOOTSTRAP", "1").output().map_err(|e| e.to_string())?;
    if !list.status.success() {
        return Err("cargo-fuzz is needed: `cargo install cargo-fuzz --locked`".into());
    }
    Ok(String::from_utf8_lossy(&list.stdout).split_whitespace().map(str::to_owned).collect())
}
