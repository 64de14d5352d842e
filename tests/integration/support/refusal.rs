//! Refusals, by call and in-band, as one type; each is checked against what `error_reason.proto` says about its reason.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::LazyLock;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::v1::{self, ErrorReason};

/// Why something was refused.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// The canonical status code.
    pub(crate) code: Code,
    /// The reason; unspecified where the connection broke, or where HTTP/2 or tonic refused before the server's own code.
    pub(crate) reason: ErrorReason,
    /// The text for people.
    pub(crate) message: String,
    /// Facts for programs.
    pub(crate) metadata: HashMap<String, String>,
    /// The fields that `BadRequest` names.
    pub(crate) fields: Vec<String>,
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let (reason, metadata) = match details.error_info() {
            Some(info) => {
                assert_eq!(info.domain, "greffe", "the domain of {status:?}");
                let name = format!("ERROR_REASON_{}", info.reason);
                let reason = ErrorReason::from_str_name(&name)
                    .unwrap_or_else(|| panic!("{name} is not in error_reason.proto: {status:?}"));
                (reason, info.metadata.clone())
            }
            None => (ErrorReason::Unspecified, HashMap::new()),
        };
        let fields = details.bad_request().map_or_else(Vec::new, |bad| {
            bad.field_violations.iter().map(|violation| violation.field.clone()).collect()
        });
        // A broken connection can look like INTERNAL to the client's library; it has a source then, and a server's answer has none.
        assert!(
            status.code() != Code::Internal || status.source().is_some(),
            "the server answered INTERNAL: {status:?}"
        );
        Self {
            code: status.code(),
            reason,
            message: status.message().to_owned(),
            metadata,
            fields,
        }
        .checked()
    }
}

impl From<v1::Error> for Refusal {
    fn from(error: v1::Error) -> Self {
        Self {
            code: Code::from_i32(error.code),
            reason: error.reason(),
            message: error.message,
            metadata: error.metadata,
            fields: Vec::new(),
        }
        .checked()
    }
}

impl Refusal {
    /// Checks that code and metadata are those that `error_reason.proto` promises for the reason.
    fn checked(self) -> Self {
        if self.reason == ErrorReason::Unspecified {
            return self;
        }
        let promise = &PROMISES[self.reason.as_str_name()];
        assert_eq!(self.code, promise.code, "the code of {self:?}");
        assert!(!self.message.is_empty(), "a refusal says what to do: {self:?}");
        for key in &promise.metadata {
            assert!(self.metadata.contains_key(key), "{key} is missing in {self:?}");
        }
        self
    }
}

/// The reason of a refusal; fails the test if there was none.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>, reason: ErrorReason) -> Refusal {
    match result {
        Ok(value) => panic!("not refused with {reason:?}, but answered: {value:?}"),
        Err(refusal) => {
            assert_eq!(refusal.reason, reason, "{refusal:?}");
            refusal
        }
    }
}

/// What the contract says about one reason.
struct Promise {
    code: Code,
    metadata: Vec<String>,
}

/// The comments of `error_reason.proto`, read: `[CODE] Text. {key, key}` above each value.
static PROMISES: LazyLock<HashMap<String, Promise>> = LazyLock::new(|| {
    let mut promises = HashMap::new();
    let mut comment = String::new();
    for line in include_str!("../../../proto/greffe/v1/error_reason.proto").lines() {
        let line = line.trim();
        if let Some(text) = line.strip_prefix("//") {
            comment.push_str(text);
            continue;
        }
        if let Some((name, _)) = line.split_once(" = ")
            && name.starts_with("ERROR_REASON_")
            && let Some((_, rest)) = comment.split_once('[')
            && let Some((code, rest)) = rest.split_once(']')
        {
            let metadata = match rest.rsplit_once('{') {
                // Only where something was stored under the id does a reuse have a place to name.
                Some(_) if name == "ERROR_REASON_REQUEST_ID_REUSED" => Vec::new(),
                // Only a ban that ends by itself has an end.
                Some(_) if name == "ERROR_REASON_BANNED" => Vec::new(),
                Some((_, keys)) => keys.trim_end_matches('}').split(',').map(|key| key.trim().to_owned()).collect(),
                None => Vec::new(),
            };
            promises.insert(
                name.to_owned(),
                Promise {
                    code: code_named(code),
                    metadata,
                },
            );
        }
        comment.clear();
    }
    promises
});

/// The code of a canonical name.
fn code_named(name: &str) -> Code {
    match name {
        "INVALID_ARGUMENT" => Code::InvalidArgument,
        "NOT_FOUND" => Code::NotFound,
        "ALREADY_EXISTS" => Code::AlreadyExists,
        "PERMISSION_DENIED" => Code::PermissionDenied,
        "RESOURCE_EXHAUSTED" => Code::ResourceExhausted,
        "FAILED_PRECONDITION" => Code::FailedPrecondition,
        "DEADLINE_EXCEEDED" => Code::DeadlineExceeded,
        "ABORTED" => Code::Aborted,
        "DATA_LOSS" => Code::DataLoss,
        "UNIMPLEMENTED" => Code::Unimplemented,
        "INTERNAL" => Code::Internal,
        "UNAVAILABLE" => Code::Unavailable,
        "UNAUTHENTICATED" => Code::Unauthenticated,
        other => panic!("error_reason.proto names a code that this test does not know: {other}"),
    }
}
