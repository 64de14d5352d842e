//! How a command fails, and with which exit code. What to do next is each program's own knowledge: see [`Hints`].

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use super::time;
use crate::{Code, Error, reason};

/// How the process ends. The numbers are part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It is done.
    Done = 0,
    /// The server refused, or something failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The server cannot be reached.
    Unreachable = 3,
    /// A room, user, message, file or session does not exist.
    NotFound = 4,
    /// Not logged in, or not allowed.
    NotAllowed = 5,
    /// Input cannot be read.
    Unreadable = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ends early.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The server refused, or cannot be reached.
    #[error(transparent)]
    Server(#[from] Error),
    /// The command line asks for something that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// There is no login for the server and user.
    #[error("not logged in to {server}{}", user.as_ref().map(|user| format!(" as {user}")).unwrap_or_default())]
    NotLoggedIn {
        /// The server's URL.
        server: String,
        /// The user that was asked for.
        user: Option<String>,
    },
    /// The server does not allow it.
    #[error("{0}")]
    NotAllowed(String),
    /// What was to be read is not text, or is not there.
    #[error("{what} cannot be read: {why}")]
    Unreadable {
        /// What was to be read.
        what: String,
        /// Why it cannot be.
        why: String,
    },
    /// A file of the configuration cannot be used.
    #[error("{} cannot be used: {source}", path.display())]
    Config {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Lines of a chat whose answers did not come.
    #[error("{lines} lines were not acknowledged within {seconds} s")]
    Unacknowledged {
        /// How many.
        lines: usize,
        /// How long they were waited for.
        seconds: u64,
    },
    /// Something else went wrong.
    #[error("{0}")]
    Failed(String),
    /// One of the others, with what to do next.
    #[error("{error}")]
    Hinted {
        /// What went wrong.
        error: Box<CommandError>,
        /// What to do next.
        hint: String,
    },
    /// Whoever read the output is gone. Not a failure.
    #[error("the output is closed")]
    ClosedPipe,
}

/// What a program advises after an error, where the error does not say so itself.
pub type Hints = fn(&CommandError) -> Option<String>;

impl CommandError {
    /// A usage error with what to do next.
    pub fn usage(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage(what.into()).with_hint(hint)
    }

    /// The same with what to do next.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self::Hinted {
            error: Box::new(self),
            hint: hint.into(),
        }
    }

    /// How the process ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Server(error) => match error.code {
                Code::Unauthenticated | Code::PermissionDenied => Exit::NotAllowed,
                Code::NotFound => Exit::NotFound,
                Code::Unavailable => Exit::Unreachable,
                Code::InvalidArgument if error.reason == reason::INVALID_ADDRESS => Exit::Usage,
                Code::FailedPrecondition if error.reason == reason::SOURCE_UNREADABLE => Exit::Unreadable,
                _ => Exit::Failed,
            },
            Self::Usage(_) => Exit::Usage,
            Self::NotLoggedIn { .. } | Self::NotAllowed(_) => Exit::NotAllowed,
            Self::Unreadable { .. } => Exit::Unreadable,
            Self::Config { .. } | Self::Failed(_) => Exit::Failed,
            Self::Unacknowledged { .. } => Exit::Unreachable,
            Self::Hinted { error, .. } => error.exit(),
            Self::ClosedPipe => Exit::Done,
        }
    }

    /// Code and reason for programs.
    pub fn names(&self) -> (&'static str, &str) {
        match self {
            Self::Server(error) => (code_name(error.code), &error.reason),
            Self::Usage(_) => ("INVALID_ARGUMENT", "USAGE"),
            Self::NotLoggedIn { .. } => ("UNAUTHENTICATED", "NOT_LOGGED_IN"),
            Self::NotAllowed(_) => ("PERMISSION_DENIED", ""),
            Self::Unreadable { .. } => ("INVALID_ARGUMENT", "UNREADABLE_INPUT"),
            Self::Config { .. } | Self::Failed(_) => ("UNKNOWN", "FAILED"),
            Self::Unacknowledged { .. } => ("UNAVAILABLE", "UNACKNOWLEDGED"),
            Self::Hinted { error, .. } => error.names(),
            Self::ClosedPipe => ("OK", ""),
        }
    }
}

/// What to do about a server that takes nobody new for a while.
pub fn come_back(error: &Error) -> String {
    match error.retry_after {
        Some(wait) => format!("come back {}", time::from_now(wait)),
        None => "come back in a minute".to_owned(),
    }
}

/// The canonical name of a status code.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
