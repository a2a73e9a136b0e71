//! What is wanted of a process, and how a run of it ended: the two words that all who have to do with processes share.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is wanted of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// It is to run, and to run again after each end if it reconnects.
    Start,
    /// It is not to run.
    Stop,
}

impl Order {
    /// Its word in the API, in logs and in the database.
    pub fn word(self) -> &'static str {
        match self {
            Order::Start => "start",
            Order::Stop => "stop",
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a process may take too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Time of processors.
    Cpu,
    /// Resident memory.
    Memory,
}

/// How a run of a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was ordered to.
    Stopped,
    /// It was ordered to be started anew.
    Restarted,
    /// By itself, with this exit code; 0 is a clean end.
    Exited(i32),
    /// By this signal, which was not ours.
    Signal(i32),
    /// It made no progress for `stale_timeout_seconds` and was ended.
    Stale,
    /// It took more CPU or memory than its limits for `waitfor_seconds` and was ended.
    Limits(Limit),
    /// It could not be started; why, in words without secrets.
    NotStarted(String),
}

impl Ended {
    /// Every [`word`](Ended::word) there is.
    pub const WORDS: [&str; 7] = ["stopped", "restarted", "exited", "crashed", "stale", "limits", "not_started"];

    /// One word each, for metrics: `stopped`, `restarted`, `exited`, `crashed`, `stale`, `limits`, `not_started`.
    pub fn word(&self) -> &'static str {
        match self {
            Ended::Stopped => "stopped",
            Ended::Restarted => "restarted",
            Ended::Exited(0) => "exited",
            Ended::Exited(_) | Ended::Signal(_) => "crashed",
            Ended::Stale => "stale",
            Ended::Limits(_) => "limits",
            Ended::NotStarted(_) => "not_started",
        }
    }

    /// Whether nothing is wrong with it: ordered, or a clean end.
    pub fn is_clean(&self) -> bool {
        matches!(self, Ended::Stopped | Ended::Restarted | Ended::Exited(0))
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Stopped => write!(f, "stopped as ordered"),
            Ended::Restarted => write!(f, "restarted as ordered"),
            Ended::Exited(code) => write!(f, "exited with code {code}"),
            Ended::Signal(signal) => write!(f, "ended by signal {signal}"),
            Ended::Stale => write!(f, "ended: no progress"),
            Ended::Limits(Limit::Cpu) => write!(f, "ended: above its limit of CPU"),
            Ended::Limits(Limit::Memory) => write!(f, "ended: above its limit of memory"),
            Ended::NotStarted(why) => write!(f, "not started: {why}"),
        }
    }
}
