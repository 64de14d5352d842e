//! Why an operation was refused or failed.

use std::fmt;
use std::time::Duration;

use greffe_api::v1::ErrorReason;

use super::clock::{Micros, timestamp};
use super::ids::RoomId;

/// Why an operation was refused or failed. Texts are for people and say what to do; programs go by the variant, as `ErrorReason`.
#[derive(Debug, Clone, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the texts say")]
pub enum Error {
    /// The request, or a frame, cannot be decoded or lacks a required part.
    #[error("the request is malformed: {0}")]
    Malformed(String),
    /// A request or a frame has too many bytes.
    #[error("the request is larger than {limit} bytes; send less at once")]
    TooLarge { limit: usize },
    /// A field's value is not allowed.
    #[error("{field}: {why}")]
    InvalidField { field: &'static str, why: String },
    /// A text has too many bytes.
    #[error("the text has {len} bytes and at most {limit} are allowed; shorten it or send it in parts")]
    TextTooLong { len: usize, limit: usize },
    /// `request_id` is missing or not a UUID.
    #[error("request_id must be a UUID, made anew for each new intention")]
    InvalidRequestId,
    /// The `request_id` was used for something else.
    #[error("this request_id was used for another request; make a new one for each new intention")]
    RequestIdReused { room: Option<RoomId>, seq: i64 },
    /// A page token of another list, or none at all.
    #[error("page_token is not one that this list gave you for these filters; start again without it")]
    InvalidPageToken,
    /// A stream's first frame was not `Hello`, or a later one was.
    #[error("the first frame of a stream must be Hello, and no later one may be")]
    HelloExpected,

    /// There is no such method, or it does not take what was sent (a compressed message).
    #[error("there is no such method here, or it does not take compressed messages; reflection lists what there is")]
    UnknownMethod,

    /// There is no token.
    #[error("this needs a login; send the token as metadata `authorization: Bearer TOKEN`")]
    NotLoggedIn,
    /// The token's session has ended.
    #[error("the session has ended or the token is unknown; log in again")]
    SessionEnded,
    /// User name or password is wrong: the same for both.
    #[error("user name or password is wrong")]
    WrongCredentials,
    /// Too many failed logins.
    #[error("too many failed logins; try again in {} s", .retry_after.as_secs().max(1))]
    TooManyLogins { retry_after: Duration },
    /// Nobody can sign up.
    #[error("nobody can sign up here; ask the operator for an account")]
    RegistrationClosed,
    /// Signing up needs a valid invitation.
    #[error("signing up here needs an invitation code; ask the operator for one")]
    InvalidInvitation,
    /// The user name is taken.
    #[error("the user name is taken; choose another")]
    UserNameTaken,
    /// The password is not suitable.
    #[error("{why}")]
    UnsuitablePassword { why: String, min: usize, max: usize },
    /// The account or the network is banned.
    #[error("{0}")]
    Banned(BanNotice),
    /// An operator kicked the user.
    #[error("an operator has kicked you: {words}")]
    Kicked { words: String },
    /// The account was closed.
    #[error("the operator has closed this account: {reason}")]
    AccountDisabled { reason: String },
    /// The one-time code is wrong, used or too old.
    #[error("the code is wrong, used up or too old; ask the operator for another")]
    InvalidResetCode,
    /// The account lacks the role.
    #[error("this needs the role {role}; an operator can give it at the server's socket")]
    ServerRoleRequired { role: &'static str },

    /// No such user.
    #[error("there is no such user")]
    UserNotFound,
    /// No such session of the caller.
    #[error("there is no such session")]
    SessionNotFound,
    /// No such room, or one that the caller may not learn about.
    #[error("there is no such room")]
    RoomNotFound,
    /// No such message that the caller may read.
    #[error("there is no such message in this room")]
    MessageNotFound,
    /// The caller has no such reaction.
    #[error("you have no such reaction on this message")]
    ReactionNotFound,
    /// The user is not in the room.
    #[error("the user is not in this room")]
    MemberNotFound,
    /// No such ban in force.
    #[error("there is no such ban in force")]
    BanNotFound,
    /// No such open report.
    #[error("there is no such open report")]
    ReportNotFound,
    /// No such usable invitation.
    #[error("there is no such invitation that can still be used")]
    InvitationNotFound,

    /// No such file, or one that the caller may not read.
    #[error("there is no such file")]
    FileNotFound,
    /// No such upload of the caller.
    #[error("there is no such upload of yours: it was completed, cancelled or given up")]
    UploadNotFound,

    /// No such event, or one that the caller may not see.
    #[error("there is no such event that you may see")]
    EventNotFound,

    /// The room is public and the caller is not in it.
    #[error("you are not in this room; join it first")]
    NotAMember,
    /// The caller's role is too low.
    #[error("only {needed} may do this")]
    RoleTooLow { needed: &'static str },
    /// The caller was removed.
    #[error("you were removed from this room; someone has to invite you")]
    InvitationRequired,
    /// Only the author can edit.
    #[error("only its author can edit a message")]
    NotTheAuthor,
    /// Rooms of this kind do not have this.
    #[error("{0}")]
    NotInThisKindOfRoom(&'static str),
    /// The room is archived.
    #[error("the room is archived and can only be read")]
    RoomArchived,
    /// The last owner cannot go.
    #[error("you are the last owner; make somebody else an owner first")]
    LastOwner,
    /// The message was deleted.
    #[error("the message was deleted")]
    MessageDeleted,
    /// The user is a member already.
    #[error("already a member of this room")]
    AlreadyAMember,
    /// The user is invited already.
    #[error("already invited to this room")]
    AlreadyInvited,
    /// The caller has reacted so already.
    #[error("you have reacted so already")]
    AlreadyReacted,
    /// A public room has the name.
    #[error("there is a room of this name; choose another name")]
    RoomNameTaken,
    /// Nobody could act as an operator any more.
    #[error("this is the last account that can act as an operator; give somebody else the role first")]
    LastOperator,
    /// The caller has an open report of the message.
    #[error("you have reported this message already")]
    AlreadyReported,
    /// Bytes of an upload that do not go on where it stands.
    #[error("the upload has {committed} bytes; go on from there")]
    OffsetMismatch { committed: i64 },
    /// An upload that lacks bytes.
    #[error("the upload has {committed} of its {size} bytes; send the others first")]
    UploadIncomplete { committed: i64, size: i64 },
    /// Another call is at an upload.
    #[error("another call is writing or completing this upload; try again when it has ended")]
    UploadBusy { retry_after: Duration },
    /// The stream of an upload brought nothing for too long.
    #[error("the upload's stream brought no bytes for too long; {committed} are kept, go on from there")]
    UploadStalled { committed: i64 },
    /// The bytes are not those of the hash.
    #[error("the bytes that came are not those that the hash is of; send the file again")]
    HashMismatch,
    /// The file is shared in the room.
    #[error("the file is shared in this room already")]
    AlreadyShared,
    /// An operator withholds the file.
    #[error("the file is withheld by whoever runs this server; ask them for it")]
    FileQuarantined,
    /// It is so already.
    #[error("nothing to change: {0}")]
    NothingToChange(&'static str),

    /// The caller acts faster than allowed.
    #[error("too fast; try again in {} ms", .retry_after.as_millis().max(1))]
    RateLimited { retry_after: Duration },
    /// Too many sends of one stream wait for their answers.
    #[error("{limit} sends wait for their answers on this stream; read results before sending more")]
    TooManyUnanswered { limit: usize },
    /// Too many connections of one user.
    #[error("you have live streams on {limit} connections already; close one, or open the stream on one of them")]
    TooManyConnections { limit: usize },
    /// A queue is full.
    #[error("the server is busy; try again in a moment")]
    Busy { retry_after: Duration },
    /// Something has as many of these as it may.
    #[error("there are {limit} {what} already, and no more are allowed")]
    TooMany { what: &'static str, limit: usize },
    /// A file has too many bytes.
    #[error("the file would have more than {limit} bytes, and no more are allowed or were declared")]
    FileTooLarge { limit: i64 },
    /// The caller's files would have too many bytes.
    #[error(
        "your files have {used} bytes, those on their way included; with this one they would have more than {limit}"
    )]
    FileQuotaExceeded { used: i64, limit: i64 },
    /// A stream's answers were not read.
    #[error("answers were not read and too many wait; come back, and repeat unanswered requests with their request_id")]
    SlowReader,

    /// The server is stopping.
    #[error("the server is stopping; come back in a moment and repeat with the same request_id")]
    Stopping,
    /// The server takes no new logins and streams.
    #[error("the server takes nobody new for a while ({reason}); come back in {} s", .retry_after.as_secs().max(1))]
    Draining { retry_after: Duration, reason: String },
    /// A backup could not be made.
    #[error("the backup was not made: {0}")]
    BackupFailed(String),

    /// There is no such case.
    #[error("there is no case with this number")]
    CaseNotFound,
    /// Nothing can be done within the case now.
    #[error("the case {state}")]
    CaseNotOpen { state: &'static str },
    /// What was asked for is not part of the case.
    #[error("{0} is not within the scope of the case; the attempt is on record")]
    OutOfScope(&'static str),
    /// Two investigators are needed, who both logged in.
    #[error("{0}")]
    SecondInvestigatorRequired(&'static str),
    /// There is no such hold.
    #[error("there is no hold with this number, or it was released")]
    HoldNotFound,
    /// A hold covers what was to be erased.
    #[error("hold {hold} covers some of it: nothing was erased; it will be, as soon as no hold covers it any more")]
    Held { hold: i64 },
    /// No such erasure was ordered.
    #[error("there is no erasure with this number")]
    ErasureNotFound,
    /// No such export was ordered.
    #[error("there is no export with this number")]
    ExportNotFound,
    /// An export cannot be made.
    #[error("the export cannot be made: {0}")]
    ExportFailed(String),
    /// The commit failed in a way that does not tell whether it happened.
    #[error("it is unknown whether this was stored; repeat with the same request_id")]
    OutcomeUnknown,
    /// The journal could not be read.
    #[error("the server could not read its journal; come back in a moment")]
    Unreadable,
    /// The disk is full.
    #[error("the server's disk is full; nothing was stored")]
    DiskFull,
    /// The disk is full for the bytes of a file.
    #[error("the server's disk is full; what an upload had stays, and it can go on when the operator has made room")]
    DiskFullForFile,
    /// A mistake in the server. The log has the cause.
    #[error("something went wrong in the server; its log says more")]
    Internal,
}

/// What somebody is told who is banned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BanNotice {
    /// Whether the network is banned that they come from, and not their account.
    pub network: bool,
    /// Until when; none: until it is lifted.
    pub until: Option<Micros>,
    /// Why.
    pub reason: String,
}

impl BanNotice {
    /// Until when, in RFC 3339.
    pub fn until_text(&self) -> Option<String> {
        self.until.map(|until| timestamp(until).to_string())
    }
}

impl fmt::Display for BanNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.network {
            "the network that you come from is banned"
        } else {
            "you are banned"
        })?;
        if let Some(until) = self.until_text() {
            write!(f, " until {until}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl Error {
    /// A field's value is not allowed.
    pub fn invalid(field: &'static str, why: impl Into<String>) -> Self {
        Self::InvalidField { field, why: why.into() }
    }

    /// Why, as programs are told it.
    pub fn reason(&self) -> ErrorReason {
        use ErrorReason as Reason;
        match self {
            Self::Malformed(_) => Reason::MalformedRequest,
            Self::TooLarge { .. } => Reason::RequestTooLarge,
            Self::InvalidField { .. } => Reason::InvalidField,
            Self::TextTooLong { .. } => Reason::TextTooLong,
            Self::InvalidRequestId => Reason::InvalidRequestId,
            Self::RequestIdReused { .. } => Reason::RequestIdReused,
            Self::InvalidPageToken => Reason::InvalidPageToken,
            Self::HelloExpected => Reason::HelloExpected,
            Self::UnknownMethod => Reason::UnknownMethod,
            Self::NotLoggedIn => Reason::NotLoggedIn,
            Self::SessionEnded => Reason::SessionEnded,
            Self::WrongCredentials => Reason::WrongCredentials,
            Self::TooManyLogins { .. } => Reason::TooManyLogins,
            Self::RegistrationClosed => Reason::RegistrationClosed,
            Self::InvalidInvitation => Reason::InvalidInvitation,
            Self::UserNameTaken => Reason::UserNameTaken,
            Self::UnsuitablePassword { .. } => Reason::UnsuitablePassword,
            Self::UserNotFound => Reason::UserNotFound,
            Self::SessionNotFound => Reason::SessionNotFound,
            Self::RoomNotFound => Reason::RoomNotFound,
            Self::MessageNotFound => Reason::MessageNotFound,
            Self::ReactionNotFound => Reason::ReactionNotFound,
            Self::MemberNotFound => Reason::MemberNotFound,
            Self::NotAMember => Reason::NotAMember,
            Self::RoleTooLow { .. } => Reason::RoleTooLow,
            Self::InvitationRequired => Reason::InvitationRequired,
            Self::NotTheAuthor => Reason::NotTheAuthor,
            Self::NotInThisKindOfRoom(_) => Reason::NotInThisKindOfRoom,
            Self::RoomArchived => Reason::RoomArchived,
            Self::LastOwner => Reason::LastOwner,
            Self::MessageDeleted => Reason::MessageDeleted,
            Self::AlreadyAMember => Reason::AlreadyAMember,
            Self::AlreadyInvited => Reason::AlreadyInvited,
            Self::AlreadyReacted => Reason::AlreadyReacted,
            Self::RoomNameTaken => Reason::RoomNameTaken,
            Self::RateLimited { .. } => Reason::RateLimited,
            Self::TooManyUnanswered { .. } => Reason::TooManyUnanswered,
            Self::TooManyConnections { .. } => Reason::TooManyConnections,
            Self::Busy { .. } => Reason::ServerBusy,
            Self::TooMany { .. } => Reason::TooMany,
            Self::SlowReader => Reason::SlowReader,
            Self::Stopping => Reason::ServerStopping,
            Self::OutcomeUnknown => Reason::OutcomeUnknown,
            Self::Unreadable => Reason::JournalUnreadable,
            Self::DiskFull | Self::DiskFullForFile => Reason::DiskFull,
            Self::Internal => Reason::Internal,
            Self::Banned(_) => Reason::Banned,
            Self::Kicked { .. } => Reason::Kicked,
            Self::AccountDisabled { .. } => Reason::AccountDisabled,
            Self::InvalidResetCode => Reason::InvalidResetCode,
            Self::ServerRoleRequired { .. } => Reason::ServerRoleRequired,
            Self::BanNotFound => Reason::BanNotFound,
            Self::ReportNotFound => Reason::ReportNotFound,
            Self::InvitationNotFound => Reason::InvitationNotFound,
            Self::LastOperator => Reason::LastOperator,
            Self::AlreadyReported => Reason::AlreadyReported,
            Self::NothingToChange(_) => Reason::NothingToChange,
            Self::Draining { .. } => Reason::ServerDraining,
            Self::BackupFailed(_) => Reason::BackupFailed,
            Self::FileNotFound => Reason::FileNotFound,
            Self::UploadNotFound => Reason::UploadNotFound,
            Self::EventNotFound => Reason::EventNotFound,
            Self::OffsetMismatch { .. } => Reason::OffsetMismatch,
            Self::UploadIncomplete { .. } => Reason::UploadIncomplete,
            Self::UploadBusy { .. } => Reason::UploadBusy,
            Self::UploadStalled { .. } => Reason::UploadStalled,
            Self::HashMismatch => Reason::HashMismatch,
            Self::AlreadyShared => Reason::AlreadyShared,
            Self::FileQuarantined => Reason::FileQuarantined,
            Self::FileTooLarge { .. } => Reason::FileTooLarge,
            Self::FileQuotaExceeded { .. } => Reason::FileQuotaExceeded,
            Self::CaseNotFound => Reason::CaseNotFound,
            Self::CaseNotOpen { .. } => Reason::CaseNotOpen,
            Self::OutOfScope(_) => Reason::OutOfScope,
            Self::SecondInvestigatorRequired(_) => Reason::SecondInvestigatorRequired,
            Self::HoldNotFound => Reason::HoldNotFound,
            Self::Held { .. } => Reason::Held,
            Self::ErasureNotFound => Reason::ErasureNotFound,
            Self::ExportNotFound => Reason::ExportNotFound,
            Self::ExportFailed(_) => Reason::ExportFailed,
        }
    }
}
