//! The `whipstitch` command. Exit codes: 0 stopped in order, 1 failed while running, 2 wrong usage or configuration.

use std::io::Write as _;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use whipstitch::cli::{self, Arguments, Command};
use whipstitch::config::{self, Config, Environment, File, Mistake};
use whipstitch::demo::{self, Demo};
use whipstitch::logging;
use whipstitch::run::Server;

/// Something failed while running.
const FAILED: u8 = 1;
/// The command line or the configuration is wrong.
const MISUSED: u8 = 2;

fn main() -> ExitCode {
    let (command, arguments) = match cli::parse(std::env::args_os().skip(1)) {
        Ok(parsed) => parsed,
        Err(mistake) => return misused(&[mistake]),
    };
    match command {
        Command::Help => return printed(&cli::help()),
        Command::Version => return printed(cli::version()),
        Command::Serve | Command::Demo | Command::Check => {}
    }
    let config = match load(&arguments) {
        Ok(config) => config,
        Err(mistakes) => return misused(&mistakes),
    };
    if command == Command::Check {
        return printed("the configuration is good");
    }
    logging::start(&config.log);
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(run(config, command == Command::Demo)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&*error),
    }
}

/// The configuration of arguments, environment and file.
fn load(arguments: &Arguments) -> Result<Config, Vec<Mistake>> {
    let environment: Environment = std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .collect();
    let Some(path) = config::path(arguments, &environment) else {
        return config::resolve(arguments, &environment, None);
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let mut config = config::resolve(arguments, &environment, Some(File { path: &path, text: &text }))?;
            config.load()?;
            Ok(config)
        }
        Err(error) => {
            // What else is wrong is said in the same run.
            let mut mistakes = config::resolve(arguments, &environment, None).err().unwrap_or_default();
            mistakes.insert(0, Mistake::at(path.display(), error));
            Err(mistakes)
        }
    }
}

/// Signalling is light work; the cores belong to the media workers. What may block is short and bounded.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).max_blocking_threads(16).enable_all().build()
}

/// Start, announce, wait for a signal, stop.
async fn run(config: Config, with_demo: bool) -> Result<(), Box<dyn std::error::Error>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let server = Server::start(config.clone()).await?;
    let demo = with_demo.then(|| Demo::start(server.http(), &config));
    print(&server.announcement(demo.as_ref().map(|_| demo::STREAM)));
    if demo.is_some() {
        demo::show(server.http());
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let stopping = async {
        if let Some(demo) = demo {
            demo.stop().await;
        }
        server.stop().await;
    };
    tokio::select! {
        () = stopping => Ok(()),
        // Whoever asks twice does not want to wait for goodbyes.
        _ = interrupt.recv() => Err("interrupted while stopping".into()),
    }
}

/// Whoever closed standard output does not want to read it; that is no reason to end.
fn print(lines: &[String]) {
    let mut out = std::io::stdout().lock();
    for line in lines {
        let _ = writeln!(out, "{line}");
    }
    let _ = out.flush();
}

fn printed(text: &str) -> ExitCode {
    print(&[text.trim_end().to_owned()]);
    ExitCode::SUCCESS
}

fn misused(mistakes: &[Mistake]) -> ExitCode {
    for mistake in mistakes {
        eprintln!("{mistake}");
    }
    ExitCode::from(MISUSED)
}

fn failed(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("whipstitch: {error}");
    ExitCode::from(FAILED)
}
