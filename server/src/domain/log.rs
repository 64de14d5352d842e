//! The two logs that are views of the journal: who connected, and what operators did.

use greffe_api::v1::event_body::Content;

use super::entry::{Draft, Subject};
use super::ids::{SessionId, UserId};

/// A log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Log {
    /// Sign-ups, logins, refusals, changed passwords, and sessions that are seen elsewhere or end.
    Connections,
    /// What operators did and were refused, and what the server did to its own journal.
    Audit,
}

/// An event's place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logged {
    /// Which log.
    pub log: Log,
    /// The account that it is about.
    pub about: Option<UserId>,
    /// The account that acted, if its acts are in this log.
    pub by: Option<UserId>,
}

impl Logged {
    /// The accounts under which it is found, each once.
    pub fn accounts(&self) -> impl Iterator<Item = UserId> {
        self.about.into_iter().chain(self.by.filter(|by| self.about != Some(*by)))
    }
}

/// Where an event is logged, if it is. `owner` tells whose a session is that was begun before it.
pub fn logged(draft: &Draft, owner: impl Fn(SessionId) -> Option<UserId>) -> Option<Logged> {
    let log = match &draft.content {
        Content::UserRegistered(_)
        | Content::LoggedIn(_)
        | Content::LoginRefused(_)
        | Content::SessionSeen(_)
        | Content::SessionEnded(_)
        | Content::PasswordChanged(_)
        | Content::RefusalsCounted(_) => Log::Connections,
        Content::OperatorActed(_)
        | Content::Restored(_)
        | Content::JournalCreated(_)
        | Content::ClockStepped(_)
        | Content::KeyAdded(_)
        | Content::ExportMade(_)
        | Content::ErasureDone(_)
        | Content::RetentionApplied(_) => Log::Audit,
        _ => return None,
    };
    let about = match (&draft.content, draft.subject) {
        (_, Subject::User(user)) => Some(user),
        (Content::LoggedIn(_), _) => draft.actor,
        (_, Subject::Session(session)) => owner(session),
        (_, Subject::None | Subject::Room(_)) => None,
    };
    // An operator who ends somebody's session is in the audit log.
    let by = draft.actor.filter(|_| log == Log::Audit);
    Some(Logged { log, about, by })
}
