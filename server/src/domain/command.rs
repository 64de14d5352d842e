//! What can be asked of the journal.

use std::net::SocketAddr;

use greffe_api::v1::{EventKind, HistoryVisibility, KeyAdded, Restored, RetentionClass, RoomKind};

use super::caller::Caller;
use super::clock::Micros;
use super::decide::traces;
use super::entry::Reached;
use super::error::Error;
use super::files::Upload;
use super::ids::{CodeHash, FileId, RequestId, RequestKey, RoomId, SessionId, Token, UserId, sha256, sha256_of_text};
use super::operator::{Act, Call};
use super::state::{Role, State};
use super::text::{ClientName, DisplayName, Emoji, FileName, Line, MediaType, MessageText, Reason, RoomName, UserName};
use super::{facts::Needs, ids::TokenHash};

/// A file that somebody wants to send.
#[derive(Debug, Clone)]
pub struct NewFile {
    /// Where it is to be shared.
    pub room: RoomId,
    /// The name.
    pub name: FileName,
    /// The media type.
    pub media_type: MediaType,
    /// The bytes that it has.
    pub size: i64,
}

/// A change that a member asks for, under a request id.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of the API's requests")]
pub enum Change {
    /// Posts a message.
    Send {
        room: RoomId,
        text: MessageText,
        reply_to: i64,
    },
    /// Replaces a text.
    Edit { room: RoomId, seq: i64, text: MessageText },
    /// Deletes a message.
    Delete { room: RoomId, seq: i64 },
    /// Reacts.
    React { room: RoomId, seq: i64, emoji: Emoji },
    /// Takes back a reaction.
    Unreact { room: RoomId, seq: i64, emoji: Emoji },
    /// Makes a room.
    CreateRoom {
        kind: RoomKind,
        name: RoomName,
        topic: Line,
        history: HistoryVisibility,
    },
    /// Renames a room or changes its topic.
    UpdateRoom {
        room: RoomId,
        name: Option<RoomName>,
        topic: Option<Line>,
    },
    /// Closes a room.
    ArchiveRoom { room: RoomId, reason: Line },
    /// Joins a room.
    Join { room: RoomId },
    /// Leaves a room.
    Leave { room: RoomId },
    /// Invites someone.
    Invite { room: RoomId, user: UserId },
    /// Removes someone.
    Remove { room: RoomId, user: UserId, reason: Line },
    /// Gives someone a role.
    SetRole { room: RoomId, user: UserId, role: Role },
    /// Finds or makes a direct room.
    OpenDirect { user: UserId },
    /// Changes the caller's profile.
    UpdateProfile { display_name: DisplayName },
    /// Ends one of the caller's sessions.
    RevokeSession { session: SessionId },
    /// Reports a message to the operator.
    Report { room: RoomId, seq: i64, reason: Reason },
    /// Shares an upload, whose bytes are on the disk and have this hash.
    CompleteUpload { upload: FileId, sha256: [u8; 32] },
    /// Shares a file that came in one call, and whose bytes are on the disk.
    UploadFile {
        file: FileId,
        new: NewFile,
        sha256: [u8; 32],
    },
    /// Shares a file in another room.
    ShareFile { file: FileId, room: RoomId },
    /// Takes a file away from one room, or from everywhere.
    DeleteFile { file: FileId, room: Option<RoomId> },
}

impl Change {
    /// What it asks, as a hash: two requests are the same if this is.
    pub fn digest(&self, salt: &[u8]) -> [u8; 32] {
        // What is hashed must not change between releases within the time for which request ids are kept; if it does, a retry across the
        // upgrade is refused as reused, and not stored twice.
        match self {
            // By far the most frequent one, and so without being formatted. The text comes last, and all before it has a fixed length; no
            // formatted one has a zero where this has it.
            Self::Send { room, text, reply_to } => {
                let reply_to = reply_to.to_be_bytes();
                sha256(&[salt, b"Send\0", room.as_bytes(), &reply_to, text.as_str().as_bytes()])
            }
            // The derived form names every field and quotes texts, so different changes differ in it.
            other => sha256_of_text(salt, format_args!("{other:?}")),
        }
    }
}

/// What the writer is asked to do.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are what the summaries name")]
pub enum Command {
    /// A member's change.
    Change {
        caller: Caller,
        request: RequestId,
        change: Change,
    },
    /// An operator's call. One that is refused before it is understood comes with its refusal, which is recorded.
    Act { call: Call, act: Result<Act, Error> },
    /// Makes an account and logs in.
    Register {
        name: UserName,
        display_name: DisplayName,
        password: String,
        client: ClientName,
        token: Token,
        from: SocketAddr,
        /// The one-time invitation that is used up, if it takes one.
        invitation: Option<CodeHash>,
    },
    /// Logs in, the password having been found right against the hash `verified`.
    LogIn {
        user: UserId,
        verified: String,
        client: ClientName,
        token: Token,
        from: SocketAddr,
        /// Whether it is a login at the operators' port.
        for_operators: bool,
    },
    /// Sets a new password with a one-time code, ends the user's sessions, and logs in.
    ResetPassword {
        user: UserId,
        code: CodeHash,
        password: String,
        client: ClientName,
        token: Token,
        from: SocketAddr,
    },
    /// Notes a refused login.
    RefuseLogin {
        user: Option<UserId>,
        attempted_name: String,
        from: SocketAddr,
    },
    /// Changes a password, the old one having been found right against `verified`, and ends the user's other sessions.
    ChangePassword {
        caller: Caller,
        verified: String,
        password: String,
    },
    /// Ends the caller's own session.
    LogOut { caller: Caller },
    /// Notes that a session was used.
    Use { session: SessionId, from: SocketAddr },
    /// Ends sessions that are too old or were unused for too long.
    Expire { members: Lifetime, operators: Lifetime },
    /// Notes calls that were refused before they cost anything.
    CountRefusals { cause: &'static str, count: i64 },
    /// Notes how far the caller has read.
    MarkRead { caller: Caller, room: RoomId, seq: i64 },
    /// Reserves room for a file.
    CreateUpload { caller: Caller, id: FileId, new: NewFile },
    /// Notes how many bytes of an upload are on the disk.
    NoteUpload { caller: Caller, id: FileId, committed: i64 },
    /// Notes, at start, how many bytes of an upload turned out to be on the disk.
    FindUpload { owner: UserId, id: FileId, committed: i64 },
    /// Gives an upload up.
    DropUpload { owner: UserId, id: FileId },
    /// Forgets requests that were answered before a time.
    ForgetRequests { before: Micros },
    /// Notes that the clock was stepped.
    ClockStepped { expected: Micros, observed: Micros },
    /// Begins a journal.
    Found {
        journal_id: String,
        epoch: String,
        server_version: String,
    },
    /// Goes on from a backup.
    Restore(Box<Restored>),
    /// Has checkpoints signed with another key from now on.
    AddKey(Box<KeyAdded>),
    /// Keeps the newest checkpoint.
    KeepCheckpoint { note: String, size: u64 },
    /// Orders an export of what the caller did.
    ExportOwn { caller: Caller },
    /// Notes that an export was made.
    NoteExport { export: i64, manifest: [u8; 32] },
    /// Erases bodies; if they are `old`, but for those that a hold covers.
    EraseBodies { rows: Vec<Erased>, old: bool },
    /// Takes files away from rooms whose sharing is to be erased.
    Unshare { shares: Vec<(RoomId, i64)> },
    /// Notes that an erasure is done.
    FinishErasure { erasure: i64, rows: i64, files: i64 },
    /// Notes that old data was erased, and takes away the files among it.
    ApplyRetention {
        class: RetentionClass,
        before: Micros,
        rows: i64,
        files: Vec<FileId>,
    },
    /// Notes that the journal was signed at a size.
    NoteSigned { size: u64 },
    /// Leaves nothing in the write-ahead log.
    Settle,
}

/// A row whose body is to be erased, with what its head says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the head")]
pub struct Erased {
    pub index: i64,
    pub time: Micros,
    pub room: Option<RoomId>,
    pub seq: i64,
    pub kind: EventKind,
    pub actor: Option<UserId>,
    pub target_seq: i64,
}

/// How long sessions live.
#[derive(Debug, Clone, Copy)]
pub struct Lifetime {
    /// After which they end in any case.
    pub age: Micros,
    /// After which they end unused.
    pub idle: Micros,
}

impl Command {
    /// The request id, if it has one.
    pub fn request(&self) -> Option<RequestId> {
        match self {
            Self::Change { request, .. } => Some(*request),
            Self::Act { call, .. } => call.request,
            _ => None,
        }
    }

    /// The hashed request id, if it has one.
    pub fn request_key(&self) -> Option<RequestKey> {
        match self {
            Self::Change { caller, request, .. } => Some(request.key(caller.user)),
            Self::Act { call, .. } => call.request.map(|request| call.operator.request_key(request)),
            _ => None,
        }
    }

    /// What it asks, as a hash: two requests are the same if this is.
    pub fn digest(&self, salt: &[u8]) -> [u8; 32] {
        match self {
            Self::Change { change, .. } => change.digest(salt),
            // Secrets are made anew for each try; the method and what it was asked are the intention.
            Self::Act { call, .. } => {
                let Call {
                    method,
                    reason,
                    arguments,
                    compared,
                    ..
                } = call;
                sha256_of_text(salt, format_args!("{method} {reason:?} {arguments:?} {compared:?}"))
            }
            _ => sha256(&[salt]),
        }
    }

    /// Adds to `needs` what must be read before it can be decided, beside the request id.
    pub fn add_needs(&self, state: &State, needs: &mut Needs) {
        let room_no = |room: RoomId| state.room(room).map(|room| room.no);
        let user_no = |user: UserId| state.user(user).map(|user| user.no);
        match self {
            Self::Change { caller, change, .. } => {
                match change {
                    Change::Send {
                        room,
                        reply_to: seq @ 1..,
                        ..
                    }
                    | Change::Edit { room, seq, .. }
                    | Change::Delete { room, seq }
                    | Change::Report { room, seq, .. } => {
                        needs.messages.extend(room_no(*room).map(|no| (*room, no, *seq)));
                    }
                    Change::React { room, seq, .. } | Change::Unreact { room, seq, .. } => {
                        needs.messages.extend(room_no(*room).map(|no| (*room, no, *seq)));
                        let numbers = room_no(*room).zip(user_no(caller.user));
                        needs
                            .reactions
                            .extend(numbers.map(|(no, user)| (*room, no, *seq, caller.user, user)));
                    }
                    // A file that is shared again is described by the row that shared it first.
                    Change::ShareFile { file, .. } => {
                        needs.contents.extend(state.files().get(*file).map(|file| file.no));
                    }
                    Change::OpenDirect { user } => {
                        needs.rows.extend(state.direct(caller.user, *user).map(|room| room.no));
                    }
                    _ => {}
                }
            }
            Self::Act {
                act: Ok(Act::Record(act)),
                ..
            } => needs.traces.extend(traces(state, act)),
            Self::LogIn { user, .. }
            | Self::ChangePassword {
                caller: Caller { user, .. },
                ..
            } => {
                needs.passwords.extend(user_no(*user).map(|no| (*user, no)));
            }
            Self::MarkRead { caller, room, .. } => {
                needs.read_marks.extend(
                    user_no(caller.user)
                        .zip(room_no(*room))
                        .map(|(user, no)| (caller.user, user, *room, no)),
                );
            }
            _ => {}
        }
    }
}

/// The place that a change has in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the API's receipt")]
pub struct Receipt {
    pub index: i64,
    pub room: Option<RoomId>,
    pub seq: i64,
    pub time: Micros,
    pub leaf: [u8; 32],
}

/// What came of a command.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It is stored, now or under the same request id before.
    Stored(Receipt),
    /// Someone logged in (and perhaps registered).
    LoggedIn {
        /// Who.
        user: UserId,
        /// The new session.
        session: SessionId,
        /// When it began.
        time: Micros,
    },
    /// An operator's act is stored.
    Acted {
        /// The row that records it.
        receipt: Receipt,
        /// The first row that came of it, if any did.
        effect: Option<Receipt>,
        /// How many sessions it ended.
        sessions: usize,
        /// How many streams it reached, once it is published.
        streams: Reached,
    },
    /// How many sessions were ended.
    Ended(usize),
    /// The read mark now.
    Read(i64),
    /// An upload as it is now.
    Upload(Box<Upload>),
    /// The rows whose bodies were erased.
    Erased(Vec<i64>),
    /// Nothing to tell.
    Done,
}

/// The hash of a token, for those who only look it up.
pub fn token_hash(text: &str) -> Option<TokenHash> {
    Token::parse(text).map(|token| token.hash())
}
