//! The words for what a process does: the same in code, logs, API and metrics.

use std::fmt;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exec {
    /// No child; the last one ended as it should, or there was none yet.
    Finished,
    /// A child is being started.
    Starting,
    /// There is a child.
    Running,
    /// The child has been asked to end.
    Finishing,
    /// No child; none could be started, or the last one ended with an error.
    Failed,
    /// No child; the last one was ended by a signal.
    Killed,
}

impl Exec {
    /// Each of them.
    pub const ALL: [Exec; 6] =
        [Exec::Finished, Exec::Starting, Exec::Running, Exec::Finishing, Exec::Failed, Exec::Killed];

    /// As datarhei Core says it: `finished`, `starting`, `running`, `finishing`, `failed`, `killed`.
    pub fn word(self) -> &'static str {
        match self {
            Exec::Finished => "finished",
            Exec::Starting => "starting",
            Exec::Running => "running",
            Exec::Finishing => "finishing",
            Exec::Failed => "failed",
            Exec::Killed => "killed",
        }
    }
}

impl fmt::Display for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What the system said of a child that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It ended by itself.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
}

impl Exit {
    /// The same on every system that Linux runs on.
    pub(super) const SIGINT: i32 = 2;

    /// As by SIGKILL.
    pub(crate) const KILLED: Exit = Exit::Signal(9);
}
