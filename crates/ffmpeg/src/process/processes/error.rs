//! Why something was not done.

use crate::process::definition::{Mistake, Unreadable};
use crate::process::store::StoreError;

/// Why something was not done. Nothing has changed then, unless it says so.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No process has this id.
    #[error("there is no process of this id")]
    Unknown,
    /// Another process has the id.
    #[error("a process of this id exists already")]
    Exists,
    /// The process is another version than the one that was to be changed.
    #[error("the process has changed since: If-Match names another version of it")]
    Changed,
    /// The process is one of the configuration.
    #[error("this process is one of the configuration ([[process]]), which alone can change it")]
    Declared,
    /// The server is stopping: nothing is changed or started any more.
    #[error("the server is stopping")]
    Closed,
    /// There are as many as may be.
    #[error("there are {0} processes already, which is all that may be (max_processes)")]
    TooMany(usize),
    /// What was sent is no definition.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// A definition that cannot stand.
    #[error("{}", joined(.0))]
    Wrong(Vec<Mistake>),
    /// Metadata that cannot be kept.
    #[error("{0}")]
    Metadata(String),
    /// Nothing is kept under this key.
    #[error("nothing is kept under this key")]
    NoSuchKey,
    /// A pattern that is none.
    #[error("{0}")]
    Pattern(String),
    /// It was not stored.
    #[error("{0}")]
    Store(StoreError),
    /// It was stopped, but that could not be stored.
    #[error("the process is stopped, but that could not be stored, and it starts again with the server: {0}")]
    NotKept(StoreError),
    /// There is no database.
    #[error("processes cannot be changed: {0}")]
    NoStore(String),
    /// FFmpeg cannot be asked.
    #[error("{0}")]
    Tool(String),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Exists => Self::Exists,
            error => Self::Store(error),
        }
    }
}

impl Error {
    /// Whether it tells of what somebody has sent, which no log needs to repeat.
    pub fn is_of_the_client(&self) -> bool {
        matches!(self, Self::Unreadable(_) | Self::Wrong(_) | Self::Metadata(_) | Self::Pattern(_))
    }
}

pub(super) fn joined(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
