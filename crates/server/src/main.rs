//! The `whipstitch` command. Exit codes: 0 stopped in order, 1 failed while running, 2 wrong usage or configuration.

use std::error::Error;
use std::future::Future;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};
use whipstitch::cli::{self, Arguments, Command};
use whipstitch::config::{self, Config, Environment, File, Mistake, proxy};
use whipstitch::demo::{self, Demo};
use whipstitch::logging;
use whipstitch::proxy::Proxy;
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
    let sources = Sources::of(&arguments);
    match command {
        Command::Help => printed(&cli::help()),
        Command::Version => printed(cli::version()),
        Command::Check => match sources.check(&arguments) {
            Ok(()) => printed("the configuration is good"),
            Err(mistakes) => misused(&mistakes),
        },
        Command::Serve | Command::Demo => match sources.read(&arguments, serve) {
            Ok(config) => started(&config.log.clone(), run(config, command == Command::Demo)),
            Err(mistakes) => misused(&mistakes),
        },
        Command::Proxy => match sources.read(&arguments, proxy) {
            Ok(config) => started(&config.log.clone(), run_proxy(config)),
            Err(mistakes) => misused(&mistakes),
        },
    }
}

/// What configurations are made of, beside the arguments.
struct Sources {
    environment: Environment,
    /// The file and what it says, if one is named.
    file: Option<(PathBuf, std::io::Result<String>)>,
}

/// Makes a configuration of texts, with the files it names.
type Reader<C> = fn(&Arguments, &Environment, Option<File<'_>>) -> Result<C, Vec<Mistake>>;

impl Sources {
    fn of(arguments: &Arguments) -> Self {
        let environment: Environment = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect();
        let path = config::path(arguments, &environment);
        let file = path.map(|path| {
            let text = std::fs::read_to_string(&path);
            (path, text)
        });
        Self { environment, file }
    }

    fn read<C>(&self, arguments: &Arguments, reader: Reader<C>) -> Result<C, Vec<Mistake>> {
        match &self.file {
            None => reader(arguments, &self.environment, None),
            Some((path, Ok(text))) => reader(arguments, &self.environment, Some(File { path, text })),
            Some((path, Err(error))) => {
                // What else is wrong is said in the same run.
                let mut mistakes = reader(arguments, &self.environment, None).err().unwrap_or_default();
                mistakes.insert(0, Mistake::at(path.display(), error));
                Err(mistakes)
            }
        }
    }

    /// Judges the file as the commands do that it is for.
    fn check(&self, arguments: &Arguments) -> Result<(), Vec<Mistake>> {
        let text = self.file.as_ref().and_then(|(_, text)| text.as_ref().ok());
        let (for_serve, for_proxy) = text.map_or((true, false), |text| config::commands(text));
        let serve = for_serve.then(|| self.read(arguments, serve).err()).flatten();
        let proxy = for_proxy.then(|| self.read(arguments, proxy).err()).flatten();
        let mut mistakes: Vec<_> = serve.into_iter().chain(proxy).flatten().collect();
        mistakes.dedup();
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
    }
}

fn serve(arguments: &Arguments, environment: &Environment, file: Option<File<'_>>) -> Result<Config, Vec<Mistake>> {
    let mut config = config::resolve(arguments, environment, file)?;
    config.load()?;
    Ok(config)
}

fn proxy(
    arguments: &Arguments,
    environment: &Environment,
    file: Option<File<'_>>,
) -> Result<proxy::Config, Vec<Mistake>> {
    let config = proxy::resolve(arguments, environment, file)?;
    config.load()?;
    Ok(config)
}

/// Runs what a command is, to its end.
fn started(log: &str, run: impl Future<Output = Result<(), Box<dyn Error>>>) -> ExitCode {
    logging::start(log);
    // Signalling is light work; the cores belong to the media workers. What may block is short and bounded.
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = match builder.worker_threads(2).max_blocking_threads(16).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&*error),
    }
}

/// Start, announce, wait for a signal, stop.
async fn run(config: Config, with_demo: bool) -> Result<(), Box<dyn Error>> {
    let signals = Signals::listen()?;
    let server = Server::start(config.clone()).await?;
    let demo = with_demo.then(|| Demo::start(server.http(), &config));
    print(&server.announcement(demo.as_ref().map(|_| demo::STREAM)));
    if demo.is_some() {
        demo::show(server.http());
    }
    let stopping = async {
        if let Some(demo) = demo {
            demo.stop().await;
        }
        server.stop().await;
    };
    signals.then(stopping).await
}

/// The same of the proxy.
async fn run_proxy(config: proxy::Config) -> Result<(), Box<dyn Error>> {
    let signals = Signals::listen()?;
    let proxy = Proxy::start(config).await?;
    print(&proxy.announcement());
    signals.then(proxy.stop()).await
}

/// Whoever wants this program to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the first signal and stops then.
    async fn then(mut self, stopping: impl Future<Output = ()>) -> Result<(), Box<dyn Error>> {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        tokio::select! {
            () = stopping => Ok(()),
            // Whoever asks twice does not want to wait for goodbyes.
            _ = self.interrupt.recv() => Err("interrupted while stopping".into()),
        }
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
