//! Accounts and sessions.

use std::net::{IpAddr, SocketAddr};

use greffe_api::v1::event_body::Content;
use greffe_api::v1::{
    LoggedIn, LoginRefused, PasswordChanged, Restored, SessionEndReason, SessionEnded, SessionScope, SessionSeen,
    UserRegistered, UserUpdated,
};

use super::{Answer, Context, Decision, Overwrite, live_session};
use crate::domain::caller::Caller;
use crate::domain::clock::{Micros, SECOND};
use crate::domain::command::Lifetime;
use crate::domain::entry::{Aside, Draft, Subject, peer};
use crate::domain::error::{BanNotice, Error};
use crate::domain::ids::{CodeHash, SessionId, Token, UserId};
use crate::domain::state::State;
use crate::domain::text::{ClientName, DisplayName, UserName};

/// A pause after which a session's next use is an event.
const PAUSE: Micros = 3600 * SECOND;
/// Sessions that are ended in one go.
const EXPIRE_AT_ONCE: usize = 1000;

fn ended(session: SessionId, reason: SessionEndReason, by: Option<(UserId, SocketAddr)>) -> Draft {
    let content = SessionEnded {
        reason: reason.into(),
        peer: by.and_then(|(_, from)| peer(from)),
        message: String::new(),
    };
    Draft::outside_rooms(
        by.map(|(user, _)| user),
        Subject::Session(session),
        Content::SessionEnded(content),
    )
}

/// With what, and from where, somebody logs in.
pub(super) struct Login<'a> {
    pub(super) client: &'a ClientName,
    pub(super) token: &'a Token,
    pub(super) from: SocketAddr,
}

impl Login<'_> {
    fn begins(&self, user: UserId, session: SessionId, scope: SessionScope) -> Draft {
        let content = LoggedIn {
            peer: peer(self.from),
            client: self.client.as_str().into(),
            scope: scope.into(),
        };
        Draft::outside_rooms(Some(user), Subject::Session(session), Content::LoggedIn(content))
            .with(Aside::Token(self.token.hash()))
    }
}

/// Refuses a network that is banned.
pub(crate) fn network_is_welcome(state: &State, address: IpAddr, now: Micros) -> Result<(), Error> {
    match state.standing().ban_at(address, now) {
        None => Ok(()),
        Some(ban) => Err(Error::Banned(BanNotice {
            network: true,
            until: ban.until,
            reason: ban.reason.clone(),
        })),
    }
}

/// Refuses who is banned or whose account is closed.
fn is_welcome(context: &Context<'_>, user: UserId, address: IpAddr) -> Result<(), Error> {
    network_is_welcome(context.state, address, context.now)?;
    if let Some(ban) = context.state.standing().ban_of(user, context.now) {
        return Err(Error::Banned(BanNotice {
            network: false,
            until: ban.until,
            reason: ban.reason.clone(),
        }));
    }
    match context.state.user(user) {
        Some(user) if user.disabled => Err(Error::AccountDisabled {
            reason: context.state.standing().why_disabled(user.id).to_owned(),
        }),
        _ => Ok(()),
    }
}

pub(super) fn register(
    context: &Context<'_>,
    name: &UserName,
    display_name: &DisplayName,
    password: &str,
    invitation: Option<CodeHash>,
    login: &Login<'_>,
) -> Result<Decision, Error> {
    network_is_welcome(context.state, login.from.ip(), context.now)?;
    if context.state.is_taken(name.as_str()) {
        return Err(Error::UserNameTaken);
    }
    // Somebody else may have used it while the password was hashed.
    let invitation_index = match invitation {
        None => 0,
        Some(code) => {
            let invitation = context.state.standing().invitation(code, context.now);
            invitation.ok_or(Error::InvalidInvitation)?.index
        }
    };
    let (user, session) = (UserId::random(), SessionId::random());
    let registered = UserRegistered {
        name: name.as_str().into(),
        display_name: display_name.as_str().into(),
        // The login that follows says where it came from: an address is not kept as long as a name.
        peer: None,
        invitation_index,
        is_operator_identity: false,
    };
    let account = Draft::outside_rooms(None, Subject::User(user), Content::UserRegistered(registered));
    let drafts = vec![
        account.with(Aside::Password(password.into())),
        login.begins(user, session, SessionScope::Unspecified),
    ];
    Ok(Decision::events(drafts, Answer::LoggedIn { user, session }))
}

/// The password was verified outside the writer; it may have been changed since.
fn still_verified(context: &Context<'_>, user: UserId, verified: &str) -> Result<(), Error> {
    match context.facts.passwords.get(&user) {
        Some(password) if password == verified => Ok(()),
        _ => Err(Error::WrongCredentials),
    }
}

pub(super) fn log_in(
    context: &Context<'_>,
    user: UserId,
    verified: &str,
    for_operators: bool,
    login: &Login<'_>,
) -> Result<Decision, Error> {
    still_verified(context, user, verified)?;
    is_welcome(context, user, login.from.ip())?;
    let scope = if for_operators {
        if context.state.user(user).is_none_or(|user| user.roles.is_empty()) {
            return Err(Error::ServerRoleRequired {
                role: "operator or investigator",
            });
        }
        SessionScope::Operator
    } else {
        SessionScope::Unspecified
    };
    let session = SessionId::random();
    let mut drafts = vec![login.begins(user, session, scope)];
    // Who has too many sessions loses the one that was not used for longest.
    if context.state.sessions_of(user).count() >= context.rules.sessions_per_user {
        let oldest = context.state.sessions_of(user).min_by_key(|session| session.used);
        drafts.extend(oldest.map(|session| ended(session.id, SessionEndReason::Expired, None)));
    }
    Ok(Decision::events(drafts, Answer::LoggedIn { user, session }))
}

pub(super) fn refuse_login(user: Option<UserId>, attempted_name: &str, from: SocketAddr) -> Decision {
    let refused = LoginRefused {
        peer: peer(from),
        attempted_name: attempted_name.into(),
    };
    let subject = user.map_or(Subject::None, Subject::User);
    Decision::events(
        vec![Draft::outside_rooms(None, subject, Content::LoginRefused(refused))],
        Answer::Done,
    )
}

pub(super) fn change_password(
    context: &Context<'_>,
    caller: &Caller,
    verified: &str,
    password: &str,
) -> Result<Decision, Error> {
    live_session(context, caller)?;
    still_verified(context, caller.user, verified)?;
    let changed = Content::PasswordChanged(PasswordChanged {
        peer: peer(caller.address),
    });
    let changed = Draft::outside_rooms(Some(caller.user), Subject::User(caller.user), changed);
    let mut drafts = vec![changed.with(Aside::Password(password.into()))];
    let others = context
        .state
        .sessions_of(caller.user)
        .filter(|session| session.id != caller.session);
    let by = Some((caller.user, caller.address));
    drafts.extend(others.map(|session| ended(session.id, SessionEndReason::PasswordChanged, by)));
    let count = drafts.len() - 1;
    Ok(Decision::events(drafts, Answer::Ended(count)))
}

/// Sets a new password for somebody who has a one-time code, and logs them in.
pub(super) fn reset_password(
    context: &Context<'_>,
    user: UserId,
    code: CodeHash,
    password: &str,
    login: &Login<'_>,
) -> Result<Decision, Error> {
    if !context.state.standing().resets(user, code, context.now) {
        return Err(Error::InvalidResetCode);
    }
    is_welcome(context, user, login.from.ip())?;
    let changed = Content::PasswordChanged(PasswordChanged { peer: peer(login.from) });
    let changed = Draft::outside_rooms(Some(user), Subject::User(user), changed);
    let mut drafts = vec![changed.with(Aside::Password(password.into()))];
    let by = Some((user, login.from));
    let others = context.state.sessions_of(user);
    drafts.extend(others.map(|session| ended(session.id, SessionEndReason::PasswordChanged, by)));
    let session = SessionId::random();
    drafts.push(login.begins(user, session, SessionScope::Unspecified));
    Ok(Decision::events(drafts, Answer::LoggedIn { user, session }))
}

pub(super) fn log_out(context: &Context<'_>, caller: &Caller) -> Result<Decision, Error> {
    live_session(context, caller)?;
    let draft = ended(
        caller.session,
        SessionEndReason::LoggedOut,
        Some((caller.user, caller.address)),
    );
    Ok(Decision::events(vec![draft], Answer::Done))
}

pub(super) fn revoke(context: &Context<'_>, caller: &Caller, session: SessionId) -> Result<Decision, Error> {
    context
        .state
        .session(session)
        .filter(|session| session.user == caller.user)
        .ok_or(Error::SessionNotFound)?;
    Ok(Decision::event(ended(
        session,
        SessionEndReason::Revoked,
        Some((caller.user, caller.address)),
    )))
}

pub(super) fn use_session(context: &Context<'_>, id: SessionId, from: SocketAddr) -> Decision {
    let Some(session) = context.state.session(id) else {
        return Decision::nothing();
    };
    let used = Overwrite::Used { session: id };
    let is_news = session.address != Some(from.ip()) || context.now - session.used >= PAUSE;
    // Someone who calls from two addresses in turn gets no more rows than anyone else may make.
    if !is_news || context.rules.rate.check(session.user).is_err() {
        return Decision::overwrite(used, Answer::Done);
    }
    let seen = Content::SessionSeen(SessionSeen { peer: peer(from) });
    let draft = Draft::outside_rooms(Some(session.user), Subject::Session(id), seen);
    Decision {
        drafts: vec![draft],
        overwrite: Some(used),
        answer: Answer::Done,
    }
}

/// Goes on from a backup: who logged in there must log in again, because what was revoked since is not known.
pub(super) fn restore(context: &Context<'_>, restored: &Restored) -> Decision {
    let first = Content::Restored(restored.clone());
    let mut drafts = vec![Draft::outside_rooms(None, Subject::None, first)];
    let sessions = context.state.sessions();
    drafts.extend(sessions.map(|session| ended(session.id, SessionEndReason::Restored, None)));
    Decision::events(drafts, Answer::Done)
}

pub(super) fn expire(context: &Context<'_>, members: Lifetime, operators: Lifetime) -> Decision {
    let expired = context.state.sessions().filter(|session| {
        let Lifetime { age, idle } = if session.for_operators { operators } else { members };
        context.now - session.created >= age || context.now - session.used >= idle
    });
    let drafts = expired
        .take(EXPIRE_AT_ONCE)
        .map(|session| ended(session.id, SessionEndReason::Expired, None))
        .collect();
    Decision::events(drafts, Answer::Done)
}

pub(super) fn update_profile(caller: &Caller, display_name: &DisplayName) -> Decision {
    let updated = Content::UserUpdated(UserUpdated {
        display_name: display_name.as_str().into(),
    });
    Decision::event(Draft::outside_rooms(
        Some(caller.user),
        Subject::User(caller.user),
        updated,
    ))
}
