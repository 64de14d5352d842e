//! The one place where errors become gRPC: as a status of a call, or as an answer within a stream.

use std::collections::HashMap;
use std::time::Duration;

use greffe_api::v1::{self, ErrorReason};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::domain::error::Error;
use crate::store::StoreError;

/// The domain of our reasons.
const DOMAIN: &str = "greffe";

/// How an error looks from outside.
struct Face {
    code: Code,
    reason: ErrorReason,
    metadata: HashMap<String, String>,
    retry_after: Option<Duration>,
}

/// The name of a reason on the wire: without the prefix of the enum.
pub(crate) fn reason_name(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

fn face(error: &Error) -> Face {
    use ErrorReason as Reason;
    let (code, reason) = match error {
        Error::Malformed(_) => (Code::InvalidArgument, Reason::MalformedRequest),
        Error::TooLarge { .. } => (Code::ResourceExhausted, Reason::RequestTooLarge),
        Error::InvalidField { .. } => (Code::InvalidArgument, Reason::InvalidField),
        Error::TextTooLong { .. } => (Code::InvalidArgument, Reason::TextTooLong),
        Error::InvalidRequestId => (Code::InvalidArgument, Reason::InvalidRequestId),
        Error::RequestIdReused { .. } => (Code::AlreadyExists, Reason::RequestIdReused),
        Error::InvalidPageToken => (Code::InvalidArgument, Reason::InvalidPageToken),
        Error::HelloExpected => (Code::FailedPrecondition, Reason::HelloExpected),
        Error::UnknownMethod => (Code::Unimplemented, Reason::UnknownMethod),
        Error::NotLoggedIn => (Code::Unauthenticated, Reason::NotLoggedIn),
        Error::SessionEnded => (Code::Unauthenticated, Reason::SessionEnded),
        Error::WrongCredentials => (Code::Unauthenticated, Reason::WrongCredentials),
        Error::TooManyLogins { .. } => (Code::ResourceExhausted, Reason::TooManyLogins),
        Error::RegistrationClosed => (Code::PermissionDenied, Reason::RegistrationClosed),
        Error::InvalidInvitation => (Code::PermissionDenied, Reason::InvalidInvitation),
        Error::UserNameTaken => (Code::AlreadyExists, Reason::UserNameTaken),
        Error::UnsuitablePassword { .. } => (Code::InvalidArgument, Reason::UnsuitablePassword),
        Error::UserNotFound => (Code::NotFound, Reason::UserNotFound),
        Error::SessionNotFound => (Code::NotFound, Reason::SessionNotFound),
        Error::RoomNotFound => (Code::NotFound, Reason::RoomNotFound),
        Error::MessageNotFound => (Code::NotFound, Reason::MessageNotFound),
        Error::ReactionNotFound => (Code::NotFound, Reason::ReactionNotFound),
        Error::MemberNotFound => (Code::NotFound, Reason::MemberNotFound),
        Error::NotAMember => (Code::PermissionDenied, Reason::NotAMember),
        Error::RoleTooLow { .. } => (Code::PermissionDenied, Reason::RoleTooLow),
        Error::InvitationRequired => (Code::PermissionDenied, Reason::InvitationRequired),
        Error::NotTheAuthor => (Code::PermissionDenied, Reason::NotTheAuthor),
        Error::NotInThisKindOfRoom(_) => (Code::FailedPrecondition, Reason::NotInThisKindOfRoom),
        Error::RoomArchived => (Code::FailedPrecondition, Reason::RoomArchived),
        Error::LastOwner => (Code::FailedPrecondition, Reason::LastOwner),
        Error::MessageDeleted => (Code::FailedPrecondition, Reason::MessageDeleted),
        Error::AlreadyAMember => (Code::AlreadyExists, Reason::AlreadyAMember),
        Error::AlreadyInvited => (Code::AlreadyExists, Reason::AlreadyInvited),
        Error::AlreadyReacted => (Code::AlreadyExists, Reason::AlreadyReacted),
        Error::RoomNameTaken => (Code::AlreadyExists, Reason::RoomNameTaken),
        Error::RateLimited { .. } => (Code::ResourceExhausted, Reason::RateLimited),
        Error::TooManyUnanswered { .. } => (Code::ResourceExhausted, Reason::TooManyUnanswered),
        Error::TooManyConnections { .. } => (Code::ResourceExhausted, Reason::TooManyConnections),
        Error::Busy { .. } => (Code::ResourceExhausted, Reason::ServerBusy),
        Error::TooMany { .. } => (Code::ResourceExhausted, Reason::TooMany),
        Error::SlowReader => (Code::ResourceExhausted, Reason::SlowReader),
        Error::Stopping => (Code::Unavailable, Reason::ServerStopping),
        Error::OutcomeUnknown => (Code::Unavailable, Reason::OutcomeUnknown),
        Error::Unreadable => (Code::Unavailable, Reason::JournalUnreadable),
        Error::DiskFull => (Code::ResourceExhausted, Reason::DiskFull),
        Error::Internal => (Code::Internal, Reason::Internal),
    };
    let retry_after = retry_after(error);
    let mut metadata = metadata(error);
    if let Some(wait) = retry_after {
        metadata.insert("retry_after_ms".into(), wait.as_millis().to_string());
    }
    Face {
        code,
        reason,
        metadata,
        retry_after,
    }
}

fn retry_after(error: &Error) -> Option<Duration> {
    match error {
        Error::TooManyLogins { retry_after } | Error::RateLimited { retry_after } | Error::Busy { retry_after } => {
            Some(*retry_after)
        }
        _ => None,
    }
}

fn metadata(error: &Error) -> HashMap<String, String> {
    let pairs: Vec<(&str, String)> = match error {
        Error::TooLarge { limit }
        | Error::TextTooLong { limit, .. }
        | Error::TooManyUnanswered { limit }
        | Error::TooManyConnections { limit }
        | Error::TooMany { limit, .. } => vec![("limit", limit.to_string())],
        Error::InvalidField { field, .. } => vec![("field", (*field).into())],
        Error::UnsuitablePassword { min, max, .. } => vec![("min", min.to_string()), ("max", max.to_string())],
        Error::RequestIdReused { room, seq } => {
            let room = room.map(|room| ("room_id", room.to_string()));
            room.into_iter().chain([("seq", seq.to_string())]).collect()
        }
        _ => Vec::new(),
    };
    pairs.into_iter().map(|(key, value)| (key.into(), value)).collect()
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let Face {
            code,
            reason,
            metadata,
            retry_after,
        } = face(&error);
        let mut details = ErrorDetails::with_error_info(reason_name(reason), DOMAIN, metadata);
        match &error {
            Error::InvalidField { field, why } => {
                details.add_bad_request_violation(*field, why);
            }
            Error::UnsuitablePassword { why, .. } => {
                details.add_bad_request_violation("password", why);
            }
            Error::TooMany { what, .. } => {
                details.add_quota_failure_violation(*what, error.to_string());
            }
            _ => {}
        }
        if retry_after.is_some() {
            details.set_retry_info(retry_after);
        }
        Self::with_error_details(code, error.to_string(), details)
    }
}

/// The same within a stream.
pub(crate) fn in_band(error: &Error) -> v1::Error {
    let Face {
        code,
        reason,
        metadata,
        retry_after,
    } = face(error);
    let retry_after_ms = retry_after.map_or(0, |wait| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX).max(1));
    v1::Error {
        code: code.into(),
        reason: reason.into(),
        message: error.to_string(),
        metadata,
        retry_after_ms,
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Closed => Self::Stopping,
            StoreError::Locked => Self::Busy {
                retry_after: Duration::from_millis(200),
            },
            StoreError::Full | StoreError::Io(_) | StoreError::Database(_) => {
                tracing::error!(%error, "Reading the journal failed");
                Self::Internal
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_and_a_stream_are_refused_with_the_same_facts() {
        let error = || Error::RateLimited {
            retry_after: Duration::from_millis(1500),
        };
        let (status, answer) = (Status::from(error()), in_band(&error()));
        assert_eq!(i32::from(status.code()), answer.code);
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(info.reason, "RATE_LIMITED");
        assert_eq!(info.domain, "greffe");
        assert_eq!(info.metadata, answer.metadata);
        assert_eq!(
            details.retry_info().unwrap().retry_delay,
            Some(Duration::from_millis(1500))
        );
        assert_eq!(answer.retry_after_ms, 1500);
        assert_eq!(answer.reason(), ErrorReason::RateLimited);
    }
}
