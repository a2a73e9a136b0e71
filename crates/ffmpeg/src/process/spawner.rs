//! Where children are started: without a shell, with nothing of our environment but what is named here, in a process group
//! of their own, and so that none outlives this process, however it ends.
//!
//! That last is the kernel's doing (`PR_SET_PDEATHSIG`). It is of the child alone, not of what that may have started, and it
//! goes by the *thread* that started the child. Hence one thread starts them all: it begins with the first child and lasts as
//! long as this process. Nobody waits for its end, as its end would be that of every child.
#![expect(
    unsafe_code,
    reason = "`pre_exec` is the only way to ask for PR_SET_PDEATHSIG between fork and exec; see `bound_to_us`"
)]

use std::io;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::getppid;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// Starts that wait for the thread. Each takes it a few milliseconds; who finds no room waits.
const STARTS: usize = 64;

/// Variables that a child gets from our own environment: where programs are, how texts and times are written, where files that
/// nobody keeps may lie. Nothing else, as secrets are often passed so.
const INHERITED: [&str; 4] = ["PATH", "LANG", "TMPDIR", "TZ"];

/// What is started: see [`Launch`](super::Launch).
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) dir: PathBuf,
}

struct Start {
    command: Command,
    /// The runtime that waits for the child.
    runtime: Handle,
    answer: oneshot::Sender<io::Result<Child>>,
}

/// Starts a child. Its three standard streams are pipes. Of a caller that is gone the child is killed.
///
/// # Errors
/// What the system said, with what it said it about.
pub(super) async fn start(program: &Program) -> Result<Child, String> {
    let (answer, started) = oneshot::channel();
    let start = Start { command: command(program), runtime: Handle::current(), answer };
    let result = match thread() {
        Ok(queue) if queue.send(start).await.is_ok() => started.await.unwrap_or_else(|_| Err(gone())),
        Ok(_) => Err(gone()),
        Err(error) => Err(error),
    };
    result.map_err(|error| explain(program, &error))
}

fn gone() -> io::Error {
    io::Error::other("the thread that starts children is gone")
}

fn explain(program: &Program, error: &io::Error) -> String {
    let (path, dir) = (program.path.display(), program.dir.display());
    match error.kind() {
        io::ErrorKind::NotFound if !program.dir.is_dir() => {
            format!("there is no folder `{dir}` to start `{path}` in")
        }
        io::ErrorKind::NotFound => format!("there is no program `{path}`"),
        io::ErrorKind::PermissionDenied => format!("`{path}` may not be run: {error}"),
        _ => format!("starting `{path}`: {error}"),
    }
}

fn thread() -> io::Result<&'static mpsc::Sender<Start>> {
    static THREAD: OnceLock<Result<mpsc::Sender<Start>, io::ErrorKind>> = OnceLock::new();
    let begun = THREAD.get_or_init(|| {
        let (queue, mut starts) = mpsc::channel(STARTS);
        let run = move || std::iter::from_fn(|| starts.blocking_recv()).for_each(run);
        let thread = std::thread::Builder::new().name("children".into()).spawn(run);
        thread.map(|_| queue).map_err(|error| error.kind())
    });
    begun.as_ref().map_err(|kind| (*kind).into())
}

fn run(start: Start) {
    let Start { mut command, runtime, answer } = start;
    let _runtime = runtime.enter();
    // A runtime that is shutting down may panic; the other children must not go with it.
    let child = catch_unwind(AssertUnwindSafe(|| command.spawn())).unwrap_or_else(|_| Err(gone()));
    // Who asked is gone: dropping the child kills it.
    let _ = answer.send(child);
}

fn command(program: &Program) -> Command {
    let mut command = std::process::Command::new(&program.path);
    command.args(&program.args).current_dir(&program.dir);
    environment(&mut command, program);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0);
    bound_to_us(&mut command);
    let mut command = Command::from(command);
    command.kill_on_drop(true);
    command
}

fn environment(command: &mut std::process::Command, program: &Program) {
    command.env_clear();
    for name in INHERITED {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.env("HOME", &program.dir);
    command.envs(program.env.iter().map(|(name, value)| (name, value)));
}

/// The kernel kills the child when the thread that starts it ends, which is when this process does. And the child hears the
/// signal that asks it to end, also where we were started to ignore it, as a shell does with what it puts in the background.
fn bound_to_us(command: &mut std::process::Command) {
    let us = nix::unistd::getpid();
    // SAFETY: between fork and exec only what is async-signal-safe may be called. These are three system calls, prctl(2),
    // sigaction(2) and getppid(2), and errors made of numbers: nothing is allocated, no lock is taken, no memory of other
    // threads is touched. No handler is installed, so none can do otherwise.
    unsafe {
        command.pre_exec(move || {
            set_pdeathsig(Signal::SIGKILL)?;
            signal(Signal::SIGINT, SigHandler::SigDfl)?;
            // We may have ended before the kernel knew: then it tells nobody.
            if getppid() == us { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
        });
    }
}
