//! What goes wrong with processes, as datarhei Core v16 says it: its statuses, and its members of the body.

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use whipstitch_ffmpeg::process::Error as ProcessError;

use super::Error;

/// The status of each. An id that is taken and an unknown command are 400 there.
pub(super) fn status(error: &ProcessError) -> StatusCode {
    match error {
        ProcessError::Unknown | ProcessError::NoSuchKey => StatusCode::NOT_FOUND,
        ProcessError::Exists
        | ProcessError::TooMany(_)
        | ProcessError::Unreadable(_)
        | ProcessError::Wrong(_)
        | ProcessError::Metadata(_)
        | ProcessError::Pattern(_) => StatusCode::BAD_REQUEST,
        ProcessError::Declared => StatusCode::CONFLICT,
        ProcessError::Changed => StatusCode::PRECONDITION_FAILED,
        ProcessError::Store(error) | ProcessError::NotKept(error) if error.is_for_want_of_room() => {
            StatusCode::INSUFFICIENT_STORAGE
        }
        ProcessError::Store(_) | ProcessError::NotKept(_) => StatusCode::INTERNAL_SERVER_ERROR,
        ProcessError::Closed | ProcessError::NoStore(_) | ProcessError::Tool(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The members that its clients read; on the routes of processes only.
#[derive(Serialize, ToSchema)]
pub(super) struct Problem {
    /// The status.
    code: u16,
    /// What failed.
    message: &'static str,
    /// Why, one by one.
    details: Vec<String>,
}

impl Problem {
    pub(super) fn of(status: StatusCode, error: &Error) -> Self {
        let message = match error {
            Error::Process(error) => message(error),
            _ => status.canonical_reason().unwrap_or("Error"),
        };
        let details = match error {
            Error::Process(ProcessError::Wrong(mistakes)) => mistakes.iter().map(ToString::to_string).collect(),
            error => vec![error.detail()],
        };
        Self { code: status.as_u16(), message, details }
    }
}

fn message(error: &ProcessError) -> &'static str {
    match error {
        ProcessError::Unknown => "Unknown process ID",
        ProcessError::NoSuchKey => "Unknown key",
        ProcessError::Unreadable(_) => "Invalid JSON",
        ProcessError::Exists | ProcessError::TooMany(_) | ProcessError::Wrong(_) => "Invalid process config",
        ProcessError::Metadata(_) => "Invalid metadata",
        ProcessError::Pattern(_) => "Invalid query",
        ProcessError::Declared => "Read-only process",
        ProcessError::Changed => "Process has changed",
        ProcessError::Store(error) | ProcessError::NotKept(error) if error.is_for_want_of_room() => "No space left",
        ProcessError::Store(_) | ProcessError::NotKept(_) => "Not stored",
        ProcessError::NoStore(_) => "Processes cannot be changed",
        ProcessError::Closed => "The server is stopping",
        ProcessError::Tool(_) => "FFmpeg cannot be used",
    }
}
