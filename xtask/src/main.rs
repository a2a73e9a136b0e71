//! `cargo xtask <command>`: what people run and what CI runs.
//!
//! Each command is a module. They only start other programs (cargo, browsers, the gateway) and read what those print:
//! nothing of the gateway is linked here, so that this binary builds in seconds.

mod bench;
mod check;
mod floors;
mod fuzz;
mod links;
mod names;
mod options;
mod packages;
mod python;
mod soak;
mod steps;
mod test;
mod whipstitch;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask <command>

  check                    formatting, floors, lints, documentation, links, names of tests; licences when cargo-deny is
                           installed
  test                     installs missing Debian packages, makes the Python environment, then: check, every test, real
                           browsers; one summary
  python                   makes the Python environment alone, for tests run by hand
  bench [--viewers N] [--full N] [--seconds N] [--joins-per-second N] [--keyframe-seconds N] [PART]...
                           release server and N viewers: CPU per packet against this machine's floor, loss, transit,
                           joins, memory per viewer; N full viewers check every packet, the others count. Parts: burst and
                           paced (how the publisher sends), joins, publishers, readers, proxy; curve (10 to 1000 viewers)
  fuzz  [--seconds N] [TARGET]...
                           every fuzz target (or those named) for N seconds each; needs cargo-fuzz
  soak  [--minutes N] [--viewers N] [--seed N]
                           publishers and N viewers on each of three streams come, go, break off and lose packets for N
                           minutes; memory, descriptors and threads of the server must stay flat
";

/// Why a command ended early, in words for the person who ran it.
type Failure = String;
type Outcome<T = ()> = Result<T, Failure>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome {
    use lexopt::Arg::{Long, Short, Value};
    let mut args = lexopt::Parser::from_env();
    let command = match args.next().map_err(|e| e.to_string())? {
        Some(Value(name)) => name.to_string_lossy().into_owned(),
        None | Some(Long("help") | Short('h')) => {
            print!("{HELP}");
            return Ok(());
        }
        Some(other) => return Err(other.unexpected().to_string()),
    };
    match command.as_str() {
        "check" => check::run(options::none(args)?),
        "test" => test::run(options::none(args)?),
        "python" => test::python(options::none(args)?),
        "bench" => bench::run(bench::Options::parse(args)?),
        "fuzz" => fuzz::run(fuzz::Options::parse(args)?),
        "soak" => soak::run(soak::Options::parse(args)?),
        other => Err(format!("no command `{other}`\n\n{HELP}")),
    }
}
