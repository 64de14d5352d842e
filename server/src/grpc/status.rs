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

/// The status code of a reason, as `error_reason.proto` lists them.
fn code(error: &Error) -> Code {
    match error {
        Error::Malformed(_)
        | Error::InvalidField { .. }
        | Error::TextTooLong { .. }
        | Error::InvalidRequestId
        | Error::InvalidPageToken
        | Error::FileTooLarge { .. }
        | Error::UnsuitablePassword { .. } => Code::InvalidArgument,
        Error::TooLarge { .. }
        | Error::TooManyLogins { .. }
        | Error::RateLimited { .. }
        | Error::TooManyUnanswered { .. }
        | Error::TooManyConnections { .. }
        | Error::Busy { .. }
        | Error::TooMany { .. }
        | Error::SlowReader
        | Error::FileQuotaExceeded { .. }
        | Error::DiskFull
        | Error::DiskFullForFile => Code::ResourceExhausted,
        Error::RequestIdReused { .. }
        | Error::UserNameTaken
        | Error::AlreadyAMember
        | Error::AlreadyInvited
        | Error::AlreadyReacted
        | Error::RoomNameTaken
        | Error::AlreadyReported
        | Error::AlreadyShared => Code::AlreadyExists,
        Error::HelloExpected
        | Error::NotInThisKindOfRoom(_)
        | Error::RoomArchived
        | Error::LastOwner
        | Error::MessageDeleted
        | Error::LastOperator
        | Error::NothingToChange(_)
        | Error::OffsetMismatch { .. }
        | Error::UploadIncomplete { .. }
        | Error::FileQuarantined
        | Error::CaseNotOpen { .. }
        | Error::Held { .. }
        | Error::ExportFailed(_)
        | Error::BackupFailed(_) => Code::FailedPrecondition,
        Error::UnknownMethod => Code::Unimplemented,
        Error::NotLoggedIn | Error::SessionEnded | Error::WrongCredentials | Error::InvalidResetCode => {
            Code::Unauthenticated
        }
        Error::RegistrationClosed
        | Error::InvalidInvitation
        | Error::NotAMember
        | Error::RoleTooLow { .. }
        | Error::InvitationRequired
        | Error::NotTheAuthor
        | Error::Banned(_)
        | Error::Kicked { .. }
        | Error::AccountDisabled { .. }
        | Error::OutOfScope(_)
        | Error::SecondInvestigatorRequired(_)
        | Error::ServerRoleRequired { .. } => Code::PermissionDenied,
        Error::UserNotFound
        | Error::SessionNotFound
        | Error::RoomNotFound
        | Error::MessageNotFound
        | Error::ReactionNotFound
        | Error::MemberNotFound
        | Error::BanNotFound
        | Error::ReportNotFound
        | Error::InvitationNotFound
        | Error::FileNotFound
        | Error::UploadNotFound
        | Error::CaseNotFound
        | Error::HoldNotFound
        | Error::ErasureNotFound
        | Error::ExportNotFound
        | Error::EventNotFound => Code::NotFound,
        Error::UploadBusy { .. } => Code::Aborted,
        Error::UploadStalled { .. } => Code::DeadlineExceeded,
        Error::HashMismatch => Code::DataLoss,
        Error::Stopping | Error::OutcomeUnknown | Error::Unreadable | Error::Draining { .. } => Code::Unavailable,
        Error::Internal => Code::Internal,
    }
}

fn face(error: &Error) -> Face {
    let (code, reason) = (code(error), error.reason());
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
        Error::TooManyLogins { retry_after }
        | Error::RateLimited { retry_after }
        | Error::Draining { retry_after, .. }
        | Error::UploadBusy { retry_after }
        | Error::Busy { retry_after } => Some(*retry_after),
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
        Error::OffsetMismatch { committed } | Error::UploadStalled { committed } => {
            vec![("committed_size", committed.to_string())]
        }
        Error::UploadIncomplete { committed, size } => {
            vec![("committed_size", committed.to_string()), ("size", size.to_string())]
        }
        Error::FileTooLarge { limit } => vec![("limit", limit.to_string())],
        Error::FileQuotaExceeded { used, limit } => vec![("limit", limit.to_string()), ("used", used.to_string())],
        Error::CaseNotOpen { state } => vec![("state", (*state).into())],
        Error::Held { hold } => vec![("hold_index", hold.to_string())],
        Error::InvalidField { field, .. } => vec![("field", (*field).into())],
        Error::Banned(ban) => ban.until_text().map(|until| ("until", until)).into_iter().collect(),
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
