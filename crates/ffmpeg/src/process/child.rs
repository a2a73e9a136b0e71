//! One child: its pipes, its signals, its end. When it has ended its whole process group is killed before it is waited for, as
//! until then the group's number belongs to nobody else. A child that is dropped is killed with its group.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::signal::unix::SignalKind;
use tokio::time::{Interval, MissedTickBehavior};

use super::lines::Lines;
use super::machine::Exit;
use super::spawner::{self, Program};
use super::usage::{Meter, Usage};

/// Between two looks at what it uses, as datarhei Core.
const LOOK: Duration = Duration::from_secs(1);

/// How long the pipes of a child that has ended are still read: somebody who has left its group may hold them for ever.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Read at once: work per turn is bounded by it.
const CHUNK: usize = 8 * 1024;

/// Read of each output between two looks; who writes more waits. FFmpeg at `-loglevel trace` writes some 10 KiB; a child that
/// floods would keep a whole processor busy with reading.
const SHARE: usize = 1024 * 1024;

/// What is seen of a child.
pub(super) enum Seen {
    /// Lines of its log.
    Log(Vec<String>),
    /// Lines of its progress.
    Progress(Vec<String>),
    Usage(Usage),
    /// The last of all.
    Exited(Exit),
}

/// See the module.
pub(super) struct Child {
    group: Group,
    child: tokio::process::Child,
    stdin: Option<ChildStdin>,
    progress: Pipe<ChildStdout>,
    log: Pipe<ChildStderr>,
    /// Some child of ours has changed.
    changes: tokio::signal::unix::Signal,
    looks: Interval,
    meter: Option<Meter>,
    /// It has ended; its pipes are read until then.
    last_words: Option<Instant>,
}

impl Child {
    /// # Errors
    /// Why it could not be started, for people.
    pub(super) async fn start(program: &Program) -> Result<Self, String> {
        // Before the child is there, so that its end is not missed.
        let changes = tokio::signal::unix::signal(SignalKind::child()).map_err(|error| error.to_string())?;
        let mut child = spawner::start(program).await?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).ok_or("it is gone")?;
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            group: Group(Some(Pid::from_raw(pid))),
            stdin: child.stdin.take(),
            progress: Pipe::new(child.stdout.take()),
            log: Pipe::new(child.stderr.take()),
            child,
            changes,
            looks,
            meter: Meter::new(pid),
            last_words: None,
        })
    }

    /// None once it has been waited for.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// What is seen next. Nothing is lost when the future is dropped; not to be called again after [`Seen::Exited`].
    pub(super) async fn next(&mut self) -> Seen {
        loop {
            let silent = self.progress.pipe.is_none() && self.log.pipe.is_none();
            if self.last_words.is_some_and(|until| silent || Instant::now() >= until) {
                return Seen::Exited(self.reap().await);
            }
            tokio::select! {
                lines = self.progress.read() => return Seen::Progress(lines),
                lines = self.log.read() => return Seen::Log(lines),
                _ = self.changes.recv(), if self.last_words.is_none() => {
                    if self.group.leader_has_ended() {
                        self.group.signal(Signal::SIGKILL);
                        self.last_words = Some(Instant::now() + LAST_WORDS);
                        (self.progress.share, self.log.share) = (SHARE, SHARE);
                    }
                }
                _ = self.looks.tick() => {
                    (self.progress.share, self.log.share) = (SHARE, SHARE);
                    if let Some(usage) = self.meter.as_mut().and_then(|meter| meter.read(Instant::now())) {
                        return Seen::Usage(usage);
                    }
                }
            }
        }
    }

    /// It has ended and only waits to be waited for.
    async fn reap(&mut self) -> Exit {
        let status = self.child.wait().await;
        self.group.0 = None;
        status.map_or(Exit::Signal(0), exit)
    }

    /// Asks it to end as FFmpeg understands it: `q`, and SIGINT where it does not read what it is told.
    pub(super) async fn quit(&mut self) {
        if let Some(mut stdin) = self.stdin.take() {
            // One byte into an empty pipe does not wait. Who does not read any more has ended.
            let _ = stdin.write_all(b"q").await;
        }
        self.interrupt();
    }

    /// To the group, as a terminal does it: the program may be a script around FFmpeg.
    pub(super) fn interrupt(&self) {
        self.group.signal(Signal::SIGINT);
    }

    pub(super) fn kill(&self) {
        self.group.signal(Signal::SIGKILL);
    }
}

fn exit(status: ExitStatus) -> Exit {
    // It is one or the other once it has ended.
    status.code().map_or_else(|| Exit::Signal(status.signal().unwrap_or(0)), Exit::Code)
}

/// The process group that a child leads, until the child has been waited for.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        let sent = self.0.map_or(Ok(()), |pid| killpg(pid, signal));
        // Members that have changed their user cannot be reached; the leader has not.
        if let Err(error) = sent
            && error != Errno::ESRCH
        {
            tracing::warn!(%signal, %error, "a process group cannot be signalled");
        }
    }

    /// It keeps its number, and so its group's, until it is waited for.
    fn leader_has_ended(&self) -> bool {
        let Some(pid) = self.0 else { return true };
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
        !matches!(waitid(Id::Pid(pid), look), Ok(WaitStatus::StillAlive) | Err(Errno::EINTR))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// One of its outputs, until it is closed.
struct Pipe<P> {
    pipe: Option<P>,
    buffer: Vec<u8>,
    lines: Lines,
    /// What may still be read before the next look.
    share: usize,
}

impl<P: AsyncRead + Unpin> Pipe<P> {
    fn new(pipe: Option<P>) -> Self {
        Self { pipe, buffer: vec![0; CHUNK], lines: Lines::default(), share: SHARE }
    }

    /// The lines that are over with what comes next. Nothing comes once it is closed, or its share is used up.
    async fn read(&mut self) -> Vec<String> {
        let Some(pipe) = self.pipe.as_mut().filter(|_| self.share > 0) else { return std::future::pending().await };
        let read = pipe.read(&mut self.buffer).await.unwrap_or(0);
        self.share = self.share.saturating_sub(read);
        let mut lines = Vec::new();
        let take = |line: &str| lines.push(line.to_owned());
        if read == 0 {
            self.pipe = None;
            self.lines.end(take);
        } else {
            self.lines.feed(&self.buffer[..read], take);
        }
        lines
    }
}
