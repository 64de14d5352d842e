//! What can go wrong, as one type: the status of a call, a refusal within a stream, or a link that does not come about.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use greffe_api::v1::{self as api, ErrorReason};
pub use tonic::Code;
use tonic::Status;
use tonic_types::StatusExt as _;

/// Reasons that this side makes; the server's are in [`ErrorReason`].
pub mod reason {
    /// The server cannot be reached, or the link to it broke. [`Code::Unavailable`](super::Code::Unavailable).
    pub const UNREACHABLE: &str = "UNREACHABLE";
    /// The address of a server is not one. [`Code::InvalidArgument`](super::Code::InvalidArgument).
    pub const INVALID_ADDRESS: &str = "INVALID_ADDRESS";
    /// The server shows another certificate than the one that was trusted. [`Code::FailedPrecondition`](super::Code::FailedPrecondition).
    pub const CERTIFICATE_CHANGED: &str = "CERTIFICATE_CHANGED";
    /// A certificate, or the list of known servers, cannot be used. [`Code::FailedPrecondition`](super::Code::FailedPrecondition).
    pub const CERTIFICATE_UNUSABLE: &str = "CERTIFICATE_UNUSABLE";
    /// The operating system does not let this user open the server's socket. [`Code::PermissionDenied`](super::Code::PermissionDenied).
    pub const SOCKET_FORBIDDEN: &str = "SOCKET_FORBIDDEN";
    /// A token holds characters that no token has. [`Code::InvalidArgument`](super::Code::InvalidArgument).
    pub const INVALID_TOKEN: &str = "INVALID_TOKEN";
    /// As much as may wait to be sent waits already. [`Code::ResourceExhausted`](super::Code::ResourceExhausted).
    pub const OUTBOX_FULL: &str = "OUTBOX_FULL";
    /// The feed ended before the server answered. [`Code::Unavailable`](super::Code::Unavailable).
    pub const FEED_CLOSED: &str = "FEED_CLOSED";
    /// The server's answer lacks a part that it must have. [`Code::Internal`](super::Code::Internal).
    pub const MALFORMED_ANSWER: &str = "MALFORMED_ANSWER";
    /// What is to be sent cannot be read. [`Code::FailedPrecondition`](super::Code::FailedPrecondition).
    pub const SOURCE_UNREADABLE: &str = "SOURCE_UNREADABLE";
    /// What is to be sent became shorter or longer meanwhile. [`Code::Aborted`](super::Code::Aborted).
    pub const SOURCE_CHANGED: &str = "SOURCE_CHANGED";
    /// The server's record is not what it was. The text shows both checkpoints. [`Code::DataLoss`](super::Code::DataLoss).
    pub const RECORD_CHANGED: &str = "RECORD_CHANGED";
    /// Checkpoints are signed with another key, for which the one before does not vouch. [`Code::DataLoss`](super::Code::DataLoss).
    pub const KEY_REPLACED: &str = "KEY_REPLACED";
    /// What was kept of a server cannot be read or written. [`Code::FailedPrecondition`](super::Code::FailedPrecondition).
    pub const WITNESS_UNUSABLE: &str = "WITNESS_UNUSABLE";
    /// What should be a checkpoint is none. [`Code::InvalidArgument`](super::Code::InvalidArgument).
    pub const CHECKPOINT_UNREADABLE: &str = "CHECKPOINT_UNREADABLE";
    /// What comes cannot be written. [`Code::FailedPrecondition`](super::Code::FailedPrecondition).
    pub const SINK_UNWRITABLE: &str = "SINK_UNWRITABLE";
}

/// What tonic says of an answer that is plain HTTP.
const NO_GRPC: &str = "grpc-status header missing";

/// Why a call or a send failed.
#[derive(Clone, Debug)]
pub struct Error {
    /// The canonical status code.
    pub code: Code,
    /// The name of an [`ErrorReason`] without its prefix, or one of [`reason`]. Empty if the server gave none.
    pub reason: String,
    /// For people: what is wrong, and what to do. It may hold text from the server: escape it before it reaches a terminal.
    pub message: String,
    /// Facts for programs; the keys stand at each reason in `error_reason.proto`.
    pub metadata: BTreeMap<String, String>,
    /// When it makes sense to try again, from now.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// An error that this side found.
    pub(crate) fn local(code: Code, reason: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.to_owned(),
            message: message.into(),
            metadata: BTreeMap::new(),
            retry_after: None,
        }
    }

    /// A link that broke or does not come about.
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self::local(Code::Unavailable, reason::UNREACHABLE, message)
    }

    /// An answer without something that it must have.
    pub(crate) fn malformed(what: &str) -> Self {
        Self::local(
            Code::Internal,
            reason::MALFORMED_ANSWER,
            format!("the server's answer lacks {what}; is it a Greffe server of this version?"),
        )
    }

    /// Whether the server refused for this reason.
    pub fn is(&self, reason: ErrorReason) -> bool {
        self.reason == reason_name(reason)
    }

    /// Whether the same request, with the same `request_id`, may succeed later.
    pub fn is_transient(&self) -> bool {
        self.code == Code::Unavailable || self.is_refused_for_now()
    }

    /// Whether the server did nothing yet and asks to come back: also a request without `request_id` may then be repeated.
    pub fn is_refused_for_now(&self) -> bool {
        [
            ErrorReason::RateLimited,
            ErrorReason::ServerBusy,
            ErrorReason::ServerDraining,
            ErrorReason::TooManyUnanswered,
        ]
        .into_iter()
        .any(|reason| self.is(reason))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {}

/// The name of a reason as it stands on the wire.
pub(crate) fn reason_name(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        // What came over the wire has no source: a status with one was made on this side, because the link failed.
        if let Some(source) = status.source() {
            return from_chain(source, status.message());
        }
        let details = status.get_error_details();
        let mut error = Self::local(status.code(), "", status.message());
        if let Some(info) = details.error_info() {
            error.reason.clone_from(&info.reason);
            error.metadata = info.metadata.clone().into_iter().collect();
        }
        error.retry_after = details
            .retry_info()
            .and_then(|info| info.retry_delay)
            .or_else(|| retry_after_ms(&error.metadata));
        if error.reason.is_empty() && error.message.starts_with(NO_GRPC) {
            reason::MALFORMED_ANSWER.clone_into(&mut error.reason);
            error.message = format!("what answers there is not a Greffe server ({})", error.message);
        }
        if error.message.is_empty() {
            error.message = format!("the server refused: {}", status.code().description());
        }
        error
    }
}

impl From<tonic::transport::Error> for Error {
    fn from(error: tonic::transport::Error) -> Self {
        from_chain(&error, "the server cannot be reached")
    }
}

impl From<api::Error> for Error {
    fn from(error: api::Error) -> Self {
        let known = ErrorReason::try_from(error.reason).unwrap_or(ErrorReason::Unspecified);
        let metadata: BTreeMap<_, _> = error.metadata.into_iter().collect();
        let retry_after = u64::try_from(error.retry_after_ms)
            .ok()
            .filter(|ms| *ms > 0)
            .map(Duration::from_millis)
            .or_else(|| retry_after_ms(&metadata));
        Self {
            code: Code::from_i32(error.code),
            reason: if known == ErrorReason::Unspecified {
                String::new()
            } else {
                reason_name(known).to_owned()
            },
            message: error.message,
            metadata,
            retry_after,
        }
    }
}

fn retry_after_ms(metadata: &BTreeMap<String, String>) -> Option<Duration> {
    metadata.get("retry_after_ms")?.parse().ok().map(Duration::from_millis)
}

/// Finds what the connector said, or else the innermost cause.
fn from_chain(first: &(dyn StdError + 'static), fallback: &str) -> Error {
    let mut innermost = None;
    let mut next = Some(first);
    while let Some(error) = next {
        if let Some(known) = error.downcast_ref::<Error>() {
            return known.clone();
        }
        innermost = Some(error.to_string());
        next = error.source();
    }
    let cause = innermost.filter(|text| !text.is_empty()).unwrap_or_else(|| fallback.to_owned());
    Error::unreachable(format!("the link to the server broke: {cause}"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn a_status_and_an_error_in_a_stream_become_the_same() {
        let mut details = ErrorDetails::with_error_info(
            "RATE_LIMITED",
            "greffe",
            HashMap::from([("retry_after_ms".to_owned(), "1500".to_owned())]),
        );
        details.set_retry_info(Some(Duration::from_millis(1500)));
        let called: Error = Status::with_error_details(Code::ResourceExhausted, "slower", details).into();
        let streamed: Error = api::Error {
            code: 8,
            reason: ErrorReason::RateLimited.into(),
            message: "slower".into(),
            metadata: HashMap::from([("retry_after_ms".to_owned(), "1500".to_owned())]),
            retry_after_ms: 1500,
        }
        .into();
        assert_eq!(format!("{called:?}"), format!("{streamed:?}"));
        assert!(called.is_transient() && called.is(ErrorReason::RateLimited));
    }

    #[test]
    fn an_unknown_reason_keeps_its_code() {
        let error: Error = api::Error {
            code: 7,
            reason: 9999,
            message: "no".into(),
            metadata: HashMap::new(),
            retry_after_ms: -5,
        }
        .into();
        assert_eq!(
            (error.code, error.reason.as_str(), error.retry_after),
            (Code::PermissionDenied, "", None)
        );
    }

    #[test]
    fn a_status_without_details_is_not_transient_unless_unavailable() {
        assert!(Error::from(Status::unavailable("x")).is_transient());
        assert!(!Error::from(Status::internal("x")).is_transient());
    }
}
