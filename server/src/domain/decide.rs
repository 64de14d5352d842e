//! Decides what a command leads to: a refusal, or events. Pure: the same command, state, facts and time lead to the same decision (but for
//! the rate, and fresh random ids).

mod accounts;
mod files;
mod messages;
mod operator;
mod record;
mod rooms;

pub(crate) use accounts::network_is_welcome;
pub(crate) use files::may_upload;
pub(crate) use record::traces;

use greffe_api::v1::event_body::Content;
use greffe_api::v1::{ClockStepped, JournalCreated, RefusalsCounted, RoomCreated, RoomKind};

use super::caller::Caller;
use super::clock::{Micros, timestamp};
use super::command::{Change, Command, Erased};
use super::entry::{Draft, Reached, Subject};
use super::error::Error;
use super::facts::Facts;
use super::files::Upload;
use super::ids::{FileId, RequestKey, RoomId, SessionId, UserId};
use super::permissions;
use super::rate::Rate;
use super::state::State;

/// Limits that commands are decided by.
#[derive(Debug)]
pub struct Rules {
    /// Rooms that one user may have entered.
    pub rooms_per_user: usize,
    /// Invitations that may wait for one user.
    pub invitations_per_user: usize,
    /// Sessions that one user may have.
    pub sessions_per_user: usize,
    /// How large files may be.
    pub files: FileLimits,
    /// Uploads that one user may have at a time.
    pub uploads_per_user: usize,
    /// How fast a user may change things.
    pub rate: Rate,
}

/// How large files may be.
#[derive(Debug, Clone, Copy)]
pub struct FileLimits {
    /// Bytes of a file.
    pub file_bytes: i64,
    /// Bytes of all files of one user, those on their way included.
    pub file_quota_bytes: i64,
}

/// What a command is decided by.
#[derive(Debug)]
pub struct Context<'a> {
    /// The state that is about to be changed.
    pub state: &'a State,
    /// What the state does not hold.
    pub facts: &'a Facts,
    /// The limits.
    pub rules: &'a Rules,
    /// The time that the events will carry.
    pub now: Micros,
    /// The command's hashed request id, if it has one.
    pub key: Option<RequestKey>,
}

/// What is to be answered once the events are stored.
#[derive(Debug)]
pub enum Answer {
    /// The receipt of the first event.
    Receipt,
    /// The receipt of a row that exists already, which is remembered under the request id if it is a new one.
    Earlier {
        /// The row.
        index: i64,
        /// Whether the request id is new.
        remember: bool,
    },
    /// Someone logged in.
    LoggedIn {
        /// Who.
        user: UserId,
        /// The new session.
        session: SessionId,
    },
    /// An operator's act was done: the receipt of the event that records it, and of the one that the answer is about.
    Acted {
        /// The number of the event that records it.
        record: usize,
        /// The number of that one among the events.
        effect: Option<usize>,
        /// How many sessions it ended.
        sessions: usize,
        /// Counts the streams that it reaches.
        streams: Reached,
    },
    /// It is refused, and the event records that.
    Refused(Error),
    /// How many sessions were ended.
    Ended(usize),
    /// The read mark now.
    Read(i64),
    /// An upload as it is now.
    Upload(Box<Upload>),
    /// The rows whose bodies are erased.
    Erased(Vec<i64>),
    /// Nothing to tell.
    Done,
}

/// State that only overwrites itself, and so is no event.
#[derive(Debug, Clone)]
pub enum Overwrite {
    /// How far someone has read.
    ReadMark {
        /// Who.
        user: UserId,
        /// Where.
        room: RoomId,
        /// How far.
        seq: i64,
    },
    /// When a session was last used.
    Used {
        /// Which.
        session: SessionId,
    },
    /// An upload is begun, or went on.
    Upload(Box<Upload>),
    /// An upload is given up.
    UploadGone(FileId),
    /// Requests answered before this time are forgotten.
    ForgetRequests(Micros),
    /// The newest checkpoint.
    Checkpoint {
        /// The signed note.
        note: String,
        /// The rows that it is of.
        size: u64,
    },
    /// Bodies that go.
    Erase(Vec<Erased>),
    /// The journal was signed at this size.
    Signed(u64),
    /// Nothing is left in the write-ahead log.
    Settle,
}

/// What a command leads to.
#[derive(Debug)]
pub struct Decision {
    /// Events to append, in this order.
    pub drafts: Vec<Draft>,
    /// What is overwritten.
    pub overwrite: Option<Overwrite>,
    /// What is answered.
    pub answer: Answer,
}

impl Decision {
    fn event(draft: Draft) -> Self {
        Self {
            drafts: vec![draft],
            overwrite: None,
            answer: Answer::Receipt,
        }
    }

    fn events(drafts: Vec<Draft>, answer: Answer) -> Self {
        Self {
            drafts,
            overwrite: None,
            answer,
        }
    }

    fn overwrite(overwrite: Overwrite, answer: Answer) -> Self {
        Self {
            drafts: Vec::new(),
            overwrite: Some(overwrite),
            answer,
        }
    }

    fn nothing() -> Self {
        Self::events(Vec::new(), Answer::Done)
    }
}

/// Decides what `command` leads to.
pub fn decide(context: &Context<'_>, command: &Command) -> Result<Decision, Error> {
    match command {
        Command::Change { caller, change, .. } => decide_change(context, command, caller, change),
        Command::Register {
            name,
            display_name,
            password,
            client,
            token,
            from,
            invitation,
        } => {
            let login = accounts::Login {
                client,
                token,
                from: *from,
            };
            accounts::register(context, name, display_name, password, *invitation, &login)
        }
        Command::LogIn {
            user,
            verified,
            client,
            token,
            from,
            for_operators,
        } => {
            let login = accounts::Login {
                client,
                token,
                from: *from,
            };
            accounts::log_in(context, *user, verified, *for_operators, &login)
        }
        Command::ResetPassword {
            user,
            code,
            password,
            client,
            token,
            from,
        } => {
            let login = accounts::Login {
                client,
                token,
                from: *from,
            };
            accounts::reset_password(context, *user, *code, password, &login)
        }
        Command::Act { call, act } => Ok(operator::act(context, command, call, act)),
        Command::RefuseLogin {
            user,
            attempted_name,
            from,
        } => Ok(accounts::refuse_login(*user, attempted_name, *from)),
        Command::ChangePassword {
            caller,
            verified,
            password,
        } => accounts::change_password(context, caller, verified, password),
        Command::LogOut { caller } => accounts::log_out(context, caller),
        Command::Use { session, from } => Ok(accounts::use_session(context, *session, *from)),
        Command::Expire { members, operators } => Ok(accounts::expire(context, *members, *operators)),
        Command::MarkRead { caller, room, seq } => {
            live_session(context, caller)?;
            messages::mark_read(context, caller, *room, *seq)
        }
        Command::CreateUpload { caller, id, new } => files::create_upload(context, caller, *id, new),
        Command::NoteUpload { caller, id, committed } => files::note_upload(context, caller, *id, *committed),
        Command::FindUpload { owner, id, committed } => files::find_upload(context, *owner, *id, *committed),
        Command::DropUpload { owner, id } => files::drop_upload(context, *owner, *id),
        Command::ForgetRequests { .. }
        | Command::CountRefusals { .. }
        | Command::ClockStepped { .. }
        | Command::Found { .. }
        | Command::AddKey(_)
        | Command::KeepCheckpoint { .. }
        | Command::Restore(_) => Ok(decide_own(context, command)),
        Command::ExportOwn { .. }
        | Command::NoteExport { .. }
        | Command::EraseBodies { .. }
        | Command::Unshare { .. }
        | Command::FinishErasure { .. }
        | Command::ApplyRetention { .. }
        | Command::NoteSigned { .. }
        | Command::Settle => record::decide(context, command),
    }
}

/// Decides what the server does to its own journal.
fn decide_own(context: &Context<'_>, command: &Command) -> Decision {
    match command {
        Command::CountRefusals { cause, count } => {
            let counted = RefusalsCounted {
                cause: (*cause).into(),
                count: *count,
            };
            server_event(Content::RefusalsCounted(counted))
        }
        Command::ForgetRequests { before } => Decision::overwrite(Overwrite::ForgetRequests(*before), Answer::Done),
        Command::ClockStepped { expected, observed } => {
            let stepped = ClockStepped {
                expected: Some(timestamp(*expected)),
                observed: Some(timestamp(*observed)),
            };
            server_event(Content::ClockStepped(stepped))
        }
        Command::Found {
            journal_id,
            epoch,
            server_version,
        } => found(journal_id, epoch, server_version),
        Command::AddKey(key) => server_event(Content::KeyAdded(key.as_ref().clone())),
        Command::KeepCheckpoint { note, size } => {
            let (note, size) = (note.clone(), *size);
            Decision::overwrite(Overwrite::Checkpoint { note, size }, Answer::Done)
        }
        Command::Restore(restored) => accounts::restore(context, restored),
        _ => Decision::nothing(),
    }
}

fn server_event(content: Content) -> Decision {
    Decision::events(vec![Draft::outside_rooms(None, Subject::None, content)], Answer::Done)
}

/// The first rows of a journal.
fn found(journal_id: &str, epoch: &str, server_version: &str) -> Decision {
    let created = JournalCreated {
        journal_id: journal_id.into(),
        server_version: server_version.into(),
        epoch: epoch.into(),
    };
    let general = RoomCreated {
        kind: RoomKind::General.into(),
        name: "general".into(),
        topic: String::new(),
        history: greffe_api::v1::HistoryVisibility::FromStart.into(),
        direct_user_ids: Vec::new(),
    };
    let room = Draft {
        room: Some(RoomId::random()),
        ..Draft::outside_rooms(None, Subject::None, Content::RoomCreated(general))
    };
    Decision::events(
        vec![
            Draft::outside_rooms(None, Subject::None, Content::JournalCreated(created)),
            room,
        ],
        Answer::Done,
    )
}

/// Refuses a caller whose session ended while the command waited.
fn live_session(context: &Context<'_>, caller: &Caller) -> Result<(), Error> {
    let session = context
        .state
        .session(caller.session)
        .filter(|session| session.user == caller.user);
    session.map(|_| ()).ok_or(Error::SessionEnded)
}

/// The first answer to a request that is repeated.
fn answered(context: &Context<'_>, command: &Command) -> Result<Option<Decision>, Error> {
    let Some(answered) = context.key.and_then(|key| context.facts.requests.get(&key)) else {
        return Ok(None);
    };
    // Once the body is erased nothing is left to compare with, and the receipt tells nothing that the sender does not know.
    let same = answered
        .row
        .salt
        .as_ref()
        .is_none_or(|salt| command.digest(salt) == answered.digest);
    if !same {
        return Err(Error::RequestIdReused {
            room: answered.row.room,
            seq: answered.row.seq,
        });
    }
    Ok(Some(Decision::events(
        Vec::new(),
        Answer::Earlier {
            index: answered.index,
            remember: false,
        },
    )))
}

/// Decides a member's change: first whether it was answered before, then whether it is too fast, then by its own rules.
fn decide_change(
    context: &Context<'_>,
    command: &Command,
    caller: &Caller,
    change: &Change,
) -> Result<Decision, Error> {
    live_session(context, caller)?;
    // The network may have been banned while the change waited, and the session be known from elsewhere.
    network_is_welcome(context.state, caller.address.ip(), context.now)?;
    if let Some(earlier) = answered(context, command)? {
        return Ok(earlier);
    }
    context
        .rules
        .rate
        .check(caller.user)
        .map_err(|retry_after| Error::RateLimited { retry_after })?;
    match change {
        Change::Send { room, text, reply_to } => messages::send(context, caller, *room, text, *reply_to),
        Change::Edit { room, seq, text } => messages::edit(context, caller, *room, *seq, text),
        Change::Delete { room, seq } => messages::delete(context, caller, *room, *seq),
        Change::React { room, seq, emoji } => messages::react(context, caller, *room, *seq, emoji),
        Change::Unreact { room, seq, emoji } => messages::unreact(context, caller, *room, *seq, emoji),
        Change::CreateRoom {
            kind,
            name,
            topic,
            history,
        } => rooms::create(context, caller, *kind, name, topic, *history),
        Change::UpdateRoom { room, name, topic } => {
            rooms::update(context, caller, *room, name.as_ref(), topic.as_ref())
        }
        Change::ArchiveRoom { room, reason } => rooms::archive(context, caller, *room, reason),
        Change::Join { room } => rooms::join(context, caller, *room),
        Change::Leave { room } => rooms::leave(context, caller, *room),
        Change::Invite { room, user } => rooms::invite(context, caller, *room, *user),
        Change::Remove { room, user, reason } => rooms::remove(context, caller, *room, *user, reason),
        Change::SetRole { room, user, role } => rooms::set_role(context, caller, *room, *user, *role),
        Change::OpenDirect { user } => rooms::open_direct(context, caller, *user),
        Change::UpdateProfile { display_name } => Ok(accounts::update_profile(caller, display_name)),
        Change::RevokeSession { session } => accounts::revoke(context, caller, *session),
        Change::CompleteUpload { upload, sha256 } => files::complete_upload(context, caller, *upload, sha256),
        Change::UploadFile { file, new, sha256 } => files::upload_file(context, caller, *file, new, sha256),
        Change::ShareFile { file, room } => files::share(context, caller, *file, *room),
        Change::DeleteFile { file, room } => files::delete(context, caller, *file, *room),
        Change::Report { room, seq, reason } => messages::report(context, caller, *room, *seq, reason),
    }
}
