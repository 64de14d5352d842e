//! The operators' API, `greffe.admin.v1`: who calls, and that every act of theirs is recorded.

mod bans;
mod files;
mod login;
mod logs;
mod reports;
mod rooms;
mod server;
mod sessions;
mod users;

use std::sync::Arc;
use std::time::Duration;

use prost_types::Duration as ProtoDuration;
use tonic::Request;

use super::auth::{address, bearer, peer};
use super::status::reason_name;
use super::{App, convert};
use crate::domain::caller::Caller;
use crate::domain::clock::{Micros, SECOND, now};
use crate::domain::command::{Command, Lifetime, Outcome, Receipt, token_hash};
use crate::domain::entry::Subject;
use crate::domain::error::Error;
use crate::domain::ids::{RoomId, UserId};
use crate::domain::operator::{Act, Call, Operator, Roles};
use crate::domain::text::Reason;
use crate::edge::LocalPeer;

/// How old the note of a session's last use may become before it is renewed.
const NOTE_AFTER: Duration = Duration::from_secs(60);

/// The operators' services, for tonic's generated routers.
#[derive(Clone)]
pub struct AdminServices(pub Arc<App>);

impl std::ops::Deref for AdminServices {
    type Target = App;

    fn deref(&self) -> &App {
        &self.0
    }
}

/// Who calls, and what they may do.
pub(super) struct Who {
    pub(super) operator: Operator,
    pub(super) roles: Roles,
}

impl Who {
    /// Names them to the tokens of pages.
    pub(super) fn name(&self) -> String {
        match &self.operator {
            Operator::Local { uid, .. } => format!("local {uid}"),
            Operator::Account { caller, .. } => caller.user.to_string(),
        }
    }

    /// Begins a call of theirs.
    pub(super) fn calls(self, method: &'static str, request_id: String, reason: String) -> Asked {
        Asked {
            who: self,
            method,
            request_id,
            reason,
            arguments: Vec::new(),
            compared: String::new(),
            about: Subject::None,
            reads: false,
            needs: Roles::OPERATOR,
        }
    }
}

/// A call as it came.
pub(super) struct Asked {
    who: Who,
    method: &'static str,
    request_id: String,
    reason: String,
    arguments: Vec<(&'static str, String)>,
    compared: String,
    about: Subject,
    /// What one must be allowed to do for it.
    needs: Roles,
    /// Whether it reads what people wrote. Each reading is on record by itself, so that no earlier row answers for a later look.
    reads: bool,
}

impl Asked {
    /// With an argument, for the record; empty ones are left out.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        if !value.is_empty() {
            self.arguments.push((name, value));
        }
        self
    }

    /// With something that tells this request from another one and is not recorded here, because it is in a row of its own.
    pub(super) fn compare(mut self, text: &str) -> Self {
        self.compared.push_str(text);
        self.compared.push('\0');
        self
    }

    /// As one that reads what people wrote.
    pub(super) fn reads(mut self) -> Self {
        self.reads = true;
        self
    }

    /// About an account, if it exists.
    pub(super) fn about(mut self, user: &Result<UserId, Error>) -> Self {
        self.about = user.as_ref().map_or(Subject::None, |user| Subject::User(*user));
        self
    }

    /// About a room, if it exists.
    pub(super) fn about_room(mut self, room: Option<RoomId>) -> Self {
        self.about = room.map_or(Subject::None, Subject::Room);
        self
    }

    /// About an account or a room.
    pub(super) fn subject(mut self, subject: Subject) -> Self {
        self.about = subject;
        self
    }

    /// As an investigator's.
    pub(super) fn investigates(mut self) -> Self {
        self.needs = Roles::INVESTIGATOR;
        self
    }
}

/// What came of a call.
pub(super) struct Acted {
    /// The row that records it.
    pub(super) receipt: Receipt,
    /// The row that the answer is about.
    pub(super) effect: Option<Receipt>,
    /// Sessions that it ended.
    sessions: i64,
    /// Streams that it reached.
    streams: i64,
    /// Whether it repeats an earlier request, and did nothing now.
    repeated: bool,
}

impl App {
    /// How long operators' sessions live.
    pub(crate) fn operators_lifetime(&self) -> Lifetime {
        let micros = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(SECOND);
        Lifetime {
            age: micros(self.config.admin.session_seconds),
            idle: micros(self.config.admin.session_idle_seconds),
        }
    }

    /// Who calls. Counts who is refused: there is nobody to name in a row.
    pub(super) fn who<T>(&self, request: &Request<T>) -> Result<Who, Error> {
        let who = self.identify(request);
        who.inspect_err(|error| self.refusals.count(reason_name(error.reason())))
    }

    fn identify<T>(&self, request: &Request<T>) -> Result<Who, Error> {
        if let Some(LocalPeer { uid, name, .. }) = request.extensions().get() {
            return Ok(Who {
                operator: Operator::Local {
                    uid: *uid,
                    name: name.to_string(),
                },
                roles: Roles::ALL,
            });
        }
        let token = bearer(request.metadata()).ok_or(Error::NotLoggedIn)?;
        let hash = token_hash(token).ok_or(Error::SessionEnded)?;
        let address = address(self, request)?;
        let (now, lifetime) = (now(), self.operators_lifetime());
        let note_after = i64::try_from(NOTE_AFTER.as_micros()).unwrap_or(i64::MAX).min(lifetime.idle / 4);
        let found = self.view().read(|state| {
            let session = state.session_of_token(hash).filter(|session| session.for_operators)?;
            let over = now - session.created >= lifetime.age || now - session.used >= lifetime.idle;
            let user = state.user(session.user).filter(|_| !over)?;
            let who = Who {
                operator: Operator::Account {
                    caller: Caller {
                        user: user.id,
                        session: session.id,
                        address,
                    },
                    name: user.name.clone(),
                },
                roles: user.roles,
            };
            let worth_noting = session.address != Some(address.ip()) || now - session.used > note_after;
            Some((who, session.id, worth_noting))
        });
        let (who, session, worth_noting) = found.ok_or(Error::SessionEnded)?;
        peer(request)?.logged_in();
        if worth_noting {
            self.journal.note(Command::Use { session, from: address });
        }
        Ok(who)
    }

    /// A caller who only looks, as an operator.
    pub(super) fn looks<T>(&self, request: &Request<T>) -> Result<Who, Error> {
        self.looks_as(request, Roles::OPERATOR)
    }

    /// A caller who only looks, as an investigator.
    pub(super) fn investigates<T>(&self, request: &Request<T>) -> Result<Who, Error> {
        self.looks_as(request, Roles::INVESTIGATOR)
    }

    fn looks_as<T>(&self, request: &Request<T>, needs: Roles) -> Result<Who, Error> {
        let who = self.who(request)?;
        if !who.roles.include(needs) {
            self.refusals.count("SERVER_ROLE_REQUIRED");
            return Err(Error::ServerRoleRequired { role: needs.name() });
        }
        Ok(who)
    }

    /// Has an act recorded and done. One that is refused, already here or by the rules, is recorded, too.
    pub(super) async fn act(&self, asked: Asked, act: Result<Act, Error>) -> Result<Acted, Error> {
        let Asked {
            who,
            method,
            request_id,
            reason,
            arguments,
            compared,
            about,
            needs,
            reads,
        } = asked;
        let request = convert::request_id(&request_id);
        let reason = Reason::parse("reason", reason);
        let (valid_request, valid_reason) = (request.as_ref().ok().copied(), reason.as_ref().ok().cloned());
        let act = if who.roles.include(needs) {
            request.and(reason.map(|_| ())).and(act)
        } else {
            Err(Error::ServerRoleRequired { role: needs.name() })
        };
        let call = Call {
            operator: who.operator,
            method,
            request: valid_request.filter(|_| !reads),
            reason: valid_reason.map(Reason::into_string).unwrap_or_default(),
            arguments,
            compared,
            about,
            roles: who.roles,
            needs,
        };
        match self.journal.append(Command::Act { call, act }).await? {
            Outcome::Acted {
                receipt,
                effect,
                sessions,
                streams,
            } => Ok(Acted {
                receipt,
                effect,
                sessions: number(sessions),
                streams: number(streams.get()),
                repeated: false,
            }),
            Outcome::Stored(receipt) => Ok(Acted {
                receipt,
                effect: None,
                sessions: 0,
                streams: 0,
                repeated: true,
            }),
            Outcome::LoggedIn { .. }
            | Outcome::Ended(_)
            | Outcome::Read(_)
            | Outcome::Upload(_)
            | Outcome::Erased(_)
            | Outcome::Done => Err(Error::Internal),
        }
    }

    /// An account by its name or id.
    pub(super) fn account(&self, name_or_id: &str) -> Result<UserId, Error> {
        self.view().read(|state| {
            let by_id = || name_or_id.parse().ok().and_then(|id| state.user(id));
            let found = state.user_named(name_or_id).or_else(by_id);
            found.map(|user| user.id).ok_or(Error::UserNotFound)
        })
    }

    /// The user name of an account, or nothing.
    pub(super) fn name_of(&self, user: UserId) -> String {
        self.view()
            .read(|state| state.user(user).map(|user| user.name.clone()).unwrap_or_default())
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A span that a request gives, within `least` and `most` seconds.
fn span(
    field: &'static str,
    given: Option<&ProtoDuration>,
    default: Micros,
    least: i64,
    most: i64,
) -> Result<Micros, Error> {
    let Some(given) = given else { return Ok(default) };
    let micros = given
        .seconds
        .checked_mul(SECOND)
        .and_then(|micros| micros.checked_add(i64::from(given.nanos) / 1000));
    match micros {
        Some(micros) if (least * SECOND..=most * SECOND).contains(&micros) => Ok(micros),
        _ => Err(Error::invalid(field, format!("it must be {least} to {most} seconds"))),
    }
}

/// A span, as it is recorded.
fn span_text(span: Micros) -> String {
    format!("{} s", span / SECOND)
}
