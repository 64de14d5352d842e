//! How a command fails: exit codes, and what to do next.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use greffe::api::ErrorReason;
use greffe::{Code, Error, reason};

/// How the process ends. The numbers are part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It is done.
    Done = 0,
    /// The server refused, or something failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The server cannot be reached.
    Unreachable = 3,
    /// A room, user, message or session does not exist.
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
pub(crate) enum CommandError {
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
    /// Whoever read the output is gone. Not a failure.
    #[error("the output is closed")]
    ClosedPipe,
}

impl CommandError {
    /// How the process ends.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Server(error) => match error.code {
                Code::Unauthenticated | Code::PermissionDenied => Exit::NotAllowed,
                Code::NotFound => Exit::NotFound,
                Code::Unavailable => Exit::Unreachable,
                Code::InvalidArgument if error.reason == reason::INVALID_ADDRESS => Exit::Usage,
                _ => Exit::Failed,
            },
            Self::Usage(_) => Exit::Usage,
            Self::NotLoggedIn { .. } | Self::NotAllowed(_) => Exit::NotAllowed,
            Self::Unreadable { .. } => Exit::Unreadable,
            Self::Config { .. } | Self::Failed(_) => Exit::Failed,
            Self::Unacknowledged { .. } => Exit::Unreachable,
            Self::ClosedPipe => Exit::Done,
        }
    }

    /// What to do next, where the message does not say so already.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Server(error) => server_hint(error).map(str::to_owned),
            Self::NotLoggedIn { user: Some(user), .. } => Some(format!("log in with `greffe login {user}`")),
            Self::NotLoggedIn { user: None, .. } => {
                Some("log in with `greffe login USER`, or make an account with `greffe register USER`".to_owned())
            }
            Self::Unacknowledged { .. } => Some("look with `greffe tail` whether they were stored".to_owned()),
            Self::Config { .. } => Some("set GREFFE_CONFIG_DIR to a directory that you can write".to_owned()),
            _ => None,
        }
    }

    /// Code and reason for programs.
    pub(crate) fn names(&self) -> (&'static str, &str) {
        match self {
            Self::Server(error) => (code_name(error.code), &error.reason),
            Self::Usage(_) => ("INVALID_ARGUMENT", "USAGE"),
            Self::NotLoggedIn { .. } => ("UNAUTHENTICATED", "NOT_LOGGED_IN"),
            Self::NotAllowed(_) => ("PERMISSION_DENIED", ""),
            Self::Unreadable { .. } => ("INVALID_ARGUMENT", "UNREADABLE_INPUT"),
            Self::Config { .. } | Self::Failed(_) => ("UNKNOWN", "FAILED"),
            Self::Unacknowledged { .. } => ("UNAVAILABLE", "UNACKNOWLEDGED"),
            Self::ClosedPipe => ("OK", ""),
        }
    }
}

/// What to do about a refusal.
pub(crate) fn server_hint(error: &Error) -> Option<&'static str> {
    let known = |reason| error.is(reason);
    if error.reason == reason::UNREACHABLE {
        Some("check that the server runs, and name it with --server URL or GREFFE_SERVER")
    } else if known(ErrorReason::NotLoggedIn) || known(ErrorReason::SessionEnded) {
        Some("log in again with `greffe login USER`")
    } else if known(ErrorReason::WrongCredentials) {
        Some("check the user name and the password, or make an account with `greffe register USER`")
    } else if known(ErrorReason::UserNameTaken) {
        Some("choose another name, or log in with `greffe login USER` if it is yours")
    } else if known(ErrorReason::InvalidInvitation) {
        Some("ask the operator for an invitation code and give it with --invitation CODE")
    } else if known(ErrorReason::NotAMember) {
        Some("join the room first: `greffe rooms join ROOM`, or /join ROOM in a chat")
    } else if known(ErrorReason::RoomNotFound) {
        Some("list your rooms with `greffe rooms`, and those that you can join with `greffe rooms list --public`")
    } else if known(ErrorReason::UserNotFound) {
        Some("list the users with `greffe users`")
    } else if known(ErrorReason::LastOwner) {
        Some("make somebody else an owner first: `greffe rooms role ROOM USER owner`")
    } else if known(ErrorReason::SessionNotFound) {
        Some("list your sessions with `greffe sessions`")
    } else {
        None
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
