//! A program under test: its output is kept, waited for by line, and shown when a test fails.
//!
//! The program gets a process group of its own, killed as a whole on drop; `setpriv` has the kernel kill it as well when
//! the test program itself is killed and nothing is dropped.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// How long killed processes may take to be gone.
const LAST: Duration = Duration::from_secs(5);

/// A running program. Killed, with all it started, on drop.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: Pid,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<String>,
    /// Streams (of output and error) that have ended.
    ended: usize,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command`; its output and error lines are collected together.
    pub fn start(name: &str, command: &Command) -> Process {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--pdeathsig", "KILL"]);
        let mut guarded = wrapped(setpriv, command);
        guarded.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = guarded.spawn().unwrap_or_else(|e| panic!("setpriv, to start {name}: {e}"));
        let shared = Arc::new(Shared::default());
        collect(child.stdout.take(), &shared);
        collect(child.stderr.take(), &shared);
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("Linux process ids are below 2^22"));
        reap(child, &shared);
        Process { name: name.to_owned(), pid, shared }
    }

    /// The process id.
    pub fn id(&self) -> i32 {
        self.pid.as_raw()
    }

    /// The first thing that `find` makes of a line, past or to come. Panics when the program ends before, or after
    /// `within`.
    pub fn line<T>(&self, within: Duration, what: &str, mut find: impl FnMut(&str) -> Option<T>) -> T {
        let mut seen = 0;
        self.wait(within, |state| {
            let found = state.lines[seen..].iter().find_map(|line| find(line));
            seen = state.lines.len();
            if found.is_none() && state.ended == 2 {
                panic!("{}: ended without {what}; it said:\n{}", self.name, state.lines.join("\n"));
            }
            found
        })
        .unwrap_or_else(|| panic!("{}: no {what} within {within:?}; it said:\n{}", self.name, self.said()))
    }

    /// Waits for the end of the program and of its output.
    pub fn end(&self, within: Duration) -> ExitStatus {
        self.wait(within, |state| state.status.filter(|_| state.ended == 2))
            .unwrap_or_else(|| panic!("{}: still running after {within:?}; it said:\n{}", self.name, self.said()))
    }

    /// Asks the program to stop (SIGTERM) and waits for its end.
    pub fn stop(&self, within: Duration) -> ExitStatus {
        kill(self.pid, Signal::SIGTERM).unwrap_or_else(|e| panic!("{}: SIGTERM: {e}", self.name));
        self.end(within)
    }

    /// Everything said so far.
    pub fn said(&self) -> String {
        self.shared.lock().lines.join("\n")
    }

    fn wait<T>(&self, within: Duration, mut condition: impl FnMut(&State) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + within;
        let mut state = self.shared.lock();
        loop {
            if let Some(value) = condition(&state) {
                return Some(value);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            state = self.shared.changed.wait_timeout(state, left).expect("no holder panics").0;
        }
    }
}

/// `outer` with the program and arguments of `inner` as its last arguments, and its environment and folder.
pub(crate) fn wrapped(mut outer: Command, inner: &Command) -> Command {
    outer.arg(inner.get_program()).args(inner.get_args());
    if let Some(folder) = inner.get_current_dir() {
        outer.current_dir(folder);
    }
    for (key, value) in inner.get_envs() {
        match value {
            Some(value) => outer.env(key, value),
            None => outer.env_remove(key),
        };
    }
    outer
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic inside `line` poisons the lock; the lines are still good.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.shared.lock().status.is_none() {
            // Fails only when all of the group are gone, which is what is wanted.
            let _ = killpg(self.pid, Signal::SIGKILL);
        }
        // Until nobody is left who could write to the folders that go next.
        self.wait(LAST, |state| (state.ended == 2).then_some(()));
        if thread::panicking() {
            eprintln!("--- {} said:\n{}\n---", self.name, self.said());
        }
    }
}

fn collect(stream: Option<impl Read + Send + 'static>, shared: &Arc<Shared>) {
    let (stream, shared) = (stream.expect("asked for as a pipe"), shared.clone());
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            shared.change(|state| state.lines.push(line));
        }
        shared.change(|state| state.ended += 1);
    });
}

fn reap(mut child: Child, shared: &Arc<Shared>) {
    let shared = shared.clone();
    thread::spawn(move || {
        let status = child.wait().unwrap_or_else(|e| ExitStatus::from_raw(e.raw_os_error().unwrap_or(1) << 8));
        shared.change(|state| state.status = Some(status));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        Process::start("sh", Command::new("sh").args(["-c", script]))
    }

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn lines_and_the_exit_code_are_waited_for() {
        let process = shell("echo first; echo port 7 >&2; exit 3");
        let port: u16 = process.line(SOON, "port", |line| line.strip_prefix("port ")?.parse().ok());
        assert_eq!((port, process.end(SOON).code()), (7, Some(3)));
        assert!(process.said().contains("first"));
    }

    #[test]
    fn a_program_runs_in_the_folder_it_was_given() {
        let process = Process::start("pwd", Command::new("pwd").current_dir("/usr"));
        process.line(SOON, "its folder", |line| (line == "/usr").then_some(()));
    }

    #[test]
    #[should_panic(expected = "ended without a port; it said:\nsorry")]
    fn a_program_that_ends_early_is_quoted() {
        shell("echo sorry").line(SOON, "a port", |line| line.strip_prefix("port ").map(str::to_owned));
    }

    #[test]
    fn what_a_program_started_ends_with_it() {
        let process = shell("sleep 1000 & echo child $!; wait");
        let child: i32 = process.line(SOON, "child", |line| line.strip_prefix("child ")?.parse().ok());
        let output = process.shared.clone();
        drop(process);
        // Both hold the pipe; it ends when neither is left.
        let state = output.state.lock().expect("no holder panics");
        let (state, _) = output.changed.wait_timeout_while(state, SOON, |state| state.ended < 2).expect("the same");
        assert_eq!(state.ended, 2, "process {child} lives on");
    }
}
