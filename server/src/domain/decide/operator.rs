//! What operators do. Every call of theirs is an event of its own, also one that is refused; what comes of it follows in the same batch.

use greffe_api::v1::event_body::Content;
use greffe_api::v1::{
    ActArgument, AlertSent, BanCreated, BanLifted, FileQuarantined, FileReleased, FileRemoved, HistoryVisibility,
    InvitationCreated, InvitationRevoked, MessagePosted, NoticeSet, OperatorActed, PasswordReset, ReportResolved,
    RoomArchived, RoomCreated, RoomKind, SessionEndReason, SessionEnded, UserDisabled, UserEnabled, UserRegistered,
    UserRolesChanged,
};

use super::{Answer, Command, Context, Decision, answered, live_session, network_is_welcome, permissions, record};
use crate::domain::clock::{Micros, SECOND, timestamp};
use crate::domain::entry::{Aside, Draft, Reached, Subject, peer};
use crate::domain::error::Error;
use crate::domain::files::{File, Share};
use crate::domain::ids::{CodeHash, FileId, RoomId, SessionId, UserId};
use crate::domain::operator::{Act, BanTarget, Call, Operator, Order, Roles};
use crate::domain::state::User;
use crate::domain::text::{AlertText, DisplayName, Line, MessageText, UserName};

/// The user name of the identity under which operators write to members. Nobody can sign up with it.
const IDENTITY: &str = "operator";
/// How long a code sets a new password.
const RESET_LIVES: Micros = 24 * 3600 * SECOND;
/// How long a code sets the first password of an account.
const FIRST_LIVES: Micros = 7 * 24 * 3600 * SECOND;
/// Characters of an argument that are kept.
const ARGUMENT_CHARS: usize = 256;

/// What comes of an act.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) drafts: Vec<Draft>,
    /// Which of them the answer is about.
    pub(super) told: Option<usize>,
    /// Sessions that end.
    sessions: usize,
    /// Streams that are reached.
    streams: Reached,
    /// The account that was made; its event goes before the one that records the call and is about it.
    made: Option<UserId>,
    /// What is done when the call is published.
    order: Option<Order>,
    /// Why it is refused, although something comes of it.
    pub(super) refused: Option<Error>,
}

impl Effects {
    /// One event, which the answer is about.
    pub(super) fn one(draft: Draft) -> Self {
        Self {
            drafts: vec![draft],
            told: Some(0),
            ..Self::default()
        }
    }

    /// Ends sessions, and counts the streams that are cut by that.
    fn ending(mut self, call: &Call, sessions: Vec<SessionId>, why: SessionEndReason) -> Self {
        self.sessions = sessions.len();
        let drafts = sessions.into_iter().map(|session| {
            let ended = SessionEnded {
                reason: why.into(),
                peer: call.operator.address().and_then(peer),
                message: call.reason.clone(),
            };
            Draft::outside_rooms(
                call.operator.user(),
                Subject::Session(session),
                Content::SessionEnded(ended),
            )
            .with(Aside::Reaches(self.streams.clone()))
        });
        self.drafts.extend(drafts);
        self
    }
}

/// The event that records a call.
fn recorded(call: &Call, made: Option<UserId>, refused: Option<&Error>) -> Draft {
    let cut = |value: &str| match value.char_indices().nth(ARGUMENT_CHARS) {
        Some((end, _)) => value[..end].to_owned(),
        None => value.to_owned(),
    };
    let acted = OperatorActed {
        operator: Some(call.operator.identity()),
        method: call.method.into(),
        reason: call.reason.clone(),
        arguments: call
            .arguments
            .iter()
            .map(|(name, value)| ActArgument {
                name: (*name).into(),
                value: cut(value),
            })
            .collect(),
        refused: refused.map(Error::reason).unwrap_or_default().into(),
        refusal: refused.map(ToString::to_string).unwrap_or_default(),
    };
    let subject = made.map_or(call.about, Subject::User);
    Draft::outside_rooms(call.operator.user(), subject, Content::OperatorActed(acted))
}

/// Decides a call. One that is refused is recorded, too.
pub(super) fn act(context: &Context<'_>, command: &Command, call: &Call, act: &Result<Act, Error>) -> Decision {
    let decided = may_act(context, call)
        .and_then(|()| answered(context, command))
        .and_then(|earlier| match earlier {
            Some(earlier) => Ok(earlier),
            None => done(context, call, act),
        });
    decided.unwrap_or_else(|error| Decision::events(vec![recorded(call, None, Some(&error))], Answer::Refused(error)))
}

/// Somebody who logged in may have lost session or role while the call waited.
fn may_act(context: &Context<'_>, call: &Call) -> Result<(), Error> {
    if let Operator::Account { caller, .. } = &call.operator {
        live_session(context, caller)?;
        network_is_welcome(context.state, caller.address.ip(), context.now)?;
        let user = context.state.user(caller.user).ok_or(Error::SessionEnded)?;
        if !user.roles.include(call.needs) {
            return Err(Error::ServerRoleRequired {
                role: call.needs.name(),
            });
        }
    }
    Ok(())
}

fn done(context: &Context<'_>, call: &Call, act: &Result<Act, Error>) -> Result<Decision, Error> {
    let effects = match act {
        Ok(act) => effects(context, call, act)?,
        Err(error) => return Err(error.clone()),
    };
    if let Some(error) = effects.refused {
        let mut drafts = vec![recorded(call, None, Some(&error))];
        drafts.extend(effects.drafts);
        return Ok(Decision::events(drafts, Answer::Refused(error)));
    }
    let mut drafts = effects.drafts;
    let place = usize::from(effects.made.is_some());
    let mut record = recorded(call, effects.made, None);
    if let Some(order) = effects.order {
        record = record.with(Aside::Orders(order, effects.streams.clone()));
    }
    drafts.insert(place, record);
    let answer = Answer::Acted {
        record: place,
        effect: effects.told.map(|told| told + usize::from(told >= place)),
        sessions: effects.sessions,
        streams: effects.streams,
    };
    Ok(Decision::events(drafts, answer))
}

fn effects(context: &Context<'_>, call: &Call, act: &Act) -> Result<Effects, Error> {
    let by = call.operator.user();
    let outside = |content| Draft::outside_rooms(by, Subject::None, content);
    let about = |user, content| Draft::outside_rooms(by, Subject::User(user), content);
    match act {
        Act::Note => Ok(Effects::default()),
        Act::Drain { order } => Ok(Effects {
            order: Some(order.clone()),
            ..Effects::default()
        }),
        Act::Alert {
            text,
            valid_for,
            replaces,
            order,
        } => Ok(alert(context, call, text, *valid_for, *replaces, order.as_ref())),
        Act::SetNotice { text } => {
            let text = text.as_str().into();
            Ok(Effects::one(outside(Content::NoticeSet(NoticeSet { text }))))
        }
        Act::CreateUser {
            name,
            display_name,
            roles,
            code,
        } => create_user(context, call, name, display_name, *roles, *code),
        Act::SetRoles { user, roles } => set_roles(context, call, *user, *roles),
        Act::ResetPassword { user, code } => reset_password(context, call, *user, *code),
        Act::Disable { user } => {
            if person(context, *user)?.disabled {
                return Err(Error::NothingToChange("the account is closed already"));
            }
            another_operator(context, *user)?;
            let effects = Effects::one(about(
                *user,
                Content::UserDisabled(UserDisabled {
                    reason: call.reason.clone(),
                }),
            ));
            Ok(effects.ending(call, sessions_of(context, *user), SessionEndReason::Disabled))
        }
        Act::Enable { user } => {
            if !person(context, *user)?.disabled {
                return Err(Error::NothingToChange("the account is open already"));
            }
            Ok(Effects::one(about(*user, Content::UserEnabled(UserEnabled {}))))
        }
        Act::Message { user, text } => message(context, *user, text),
        Act::CreateInvitation { note, good_for, code } => {
            let created = InvitationCreated {
                note: note.as_str().into(),
                expires_at: Some(timestamp(context.now.saturating_add(*good_for))),
            };
            let draft = outside(Content::InvitationCreated(created)).with(Aside::Code(*code));
            Ok(Effects::one(draft))
        }
        Act::RevokeInvitation { index } => {
            let invitation = context.state.standing().invitation_at(*index, context.now);
            let revoked = InvitationRevoked {
                invitation_index: invitation.ok_or(Error::InvitationNotFound)?.index,
            };
            Ok(Effects::one(outside(Content::InvitationRevoked(revoked))))
        }
        Act::KickUser { user } => {
            person(context, *user)?;
            Ok(Effects::default().ending(call, sessions_of(context, *user), SessionEndReason::Kicked))
        }
        Act::KickSession { session } => {
            context.state.session(*session).ok_or(Error::SessionNotFound)?;
            Ok(Effects::default().ending(call, vec![*session], SessionEndReason::Kicked))
        }
        Act::Ban { target, lasts } => ban(context, call, *target, *lasts),
        Act::LiftBan { ban } => {
            let ban = context.state.standing().ban(*ban, context.now).ok_or(Error::BanNotFound)?;
            let lifted = Content::BanLifted(BanLifted { ban_index: ban.index });
            let draft = match ban.target {
                BanTarget::User(user) => about(user, lifted),
                BanTarget::Network(_) => outside(lifted),
            };
            Ok(Effects::one(draft))
        }
        Act::ArchiveRoom { room } => archive(context, call, *room),
        Act::ReadReport { index } => {
            context.state.standing().report(*index).ok_or(Error::ReportNotFound)?;
            Ok(Effects::default())
        }
        Act::ResolveReport { index, resolution } => resolve(context, call, *index, resolution),
        Act::QuarantineFile { file } => Ok(Effects::one(outside(quarantine(context, call, *file)?))),
        Act::ReleaseFile { file } => Ok(Effects::one(outside(release(context, *file)?))),
        Act::RotateKey { key } => Ok(Effects::one(outside(Content::KeyAdded(key.as_ref().clone())))),
        Act::DeleteFile { file, room } => delete_file(context, *file, *room),
        Act::Record(act) => record::effects(context, call, act),
    }
}

/// An account that a person has.
pub(super) fn person<'a>(context: &'a Context<'_>, user: UserId) -> Result<&'a User, Error> {
    let user = context.state.user(user).ok_or(Error::UserNotFound)?;
    if context.state.is_erased(user.id) {
        return Err(Error::UserNotFound);
    }
    if user.is_operator_identity {
        return Err(Error::invalid(
            "user",
            "this is the operator's identity, and nobody's account",
        ));
    }
    Ok(user)
}

pub(super) fn sessions_of(context: &Context<'_>, user: UserId) -> Vec<SessionId> {
    context.state.sessions_of(user).map(|session| session.id).collect()
}

/// Refuses to take away the last account that can act as an operator. (The socket is left in any case; who runs the server from afar has
/// only that account.)
pub(super) fn another_operator(context: &Context<'_>, user: UserId) -> Result<(), Error> {
    let mut acts = false;
    let mut others = false;
    for operator in context.state.operators(context.now) {
        acts |= operator.id == user;
        others |= operator.id != user;
    }
    if acts && !others {
        return Err(Error::LastOperator);
    }
    Ok(())
}

/// Tells everyone something, perhaps with an order that is carried out when they are told.
fn alert(
    context: &Context<'_>,
    call: &Call,
    text: &AlertText,
    valid_for: Micros,
    replaces: Option<i64>,
    order: Option<&Order>,
) -> Effects {
    let sent = AlertSent {
        text: text.as_str().into(),
        valid_until: Some(timestamp(context.now.saturating_add(valid_for))),
        replaces_index: replaces.unwrap_or_default(),
    };
    let streams = Reached::default();
    let aside = match order {
        Some(order) => Aside::Orders(order.clone(), streams.clone()),
        None => Aside::Reaches(streams.clone()),
    };
    let draft = Draft::outside_rooms(call.operator.user(), Subject::None, Content::AlertSent(sent));
    Effects {
        streams,
        ..Effects::one(draft.with(aside))
    }
}

fn reset_password(context: &Context<'_>, call: &Call, user: UserId, code: CodeHash) -> Result<Effects, Error> {
    // A code for the account of somebody with a role would be a way to act as them.
    let has_role = !person(context, user)?.roles.is_empty();
    if has_role && !matches!(call.operator, Operator::Local { .. }) {
        return Err(Error::invalid(
            "user",
            "the password of an account with a role on the server can be reset over the local socket only",
        ));
    }
    let effects = Effects::one(reset(context, call, user, code, RESET_LIVES));
    Ok(effects.ending(call, sessions_of(context, user), SessionEndReason::PasswordReset))
}

/// Makes a password void until it is set with a code.
fn reset(context: &Context<'_>, call: &Call, user: UserId, code: CodeHash, lives: Micros) -> Draft {
    let reset = PasswordReset {
        expires_at: Some(timestamp(context.now.saturating_add(lives))),
    };
    Draft::outside_rooms(call.operator.user(), Subject::User(user), Content::PasswordReset(reset))
        .with(Aside::Code(code))
}

/// Refuses to give or take roles that the caller does not have: neither role implies the other.
fn may_give(call: &Call, roles: Roles) -> Result<(), Error> {
    if call.roles.include(roles) {
        Ok(())
    } else {
        Err(Error::ServerRoleRequired { role: "investigator" })
    }
}

fn roles_changed(call: &Call, user: UserId, roles: Roles) -> Draft {
    let changed = UserRolesChanged { roles: roles.to_api() };
    Draft::outside_rooms(
        call.operator.user(),
        Subject::User(user),
        Content::UserRolesChanged(changed),
    )
}

fn create_user(
    context: &Context<'_>,
    call: &Call,
    name: &UserName,
    display_name: &DisplayName,
    roles: Roles,
    code: CodeHash,
) -> Result<Effects, Error> {
    may_give(call, roles)?;
    if context.state.is_taken(name.as_str()) {
        return Err(Error::UserNameTaken);
    }
    let user = UserId::random();
    let registered = UserRegistered {
        name: name.as_str().into(),
        display_name: display_name.as_str().into(),
        ..UserRegistered::default()
    };
    let registered = Content::UserRegistered(registered);
    let mut effects = Effects::one(Draft::outside_rooms(
        call.operator.user(),
        Subject::User(user),
        registered,
    ));
    if !roles.is_empty() {
        effects.drafts.push(roles_changed(call, user, roles));
    }
    effects.drafts.push(reset(context, call, user, code, FIRST_LIVES));
    effects.made = Some(user);
    Ok(effects)
}

fn set_roles(context: &Context<'_>, call: &Call, user: UserId, roles: Roles) -> Result<Effects, Error> {
    let account = person(context, user)?;
    if account.roles == roles {
        return Err(Error::NothingToChange("the account has these roles already"));
    }
    may_give(call, account.roles.differing(roles))?;
    if !roles.operator {
        another_operator(context, user)?;
    }
    let effects = Effects::one(roles_changed(call, user, roles));
    let useless = context
        .state
        .sessions_of(user)
        .filter(|session| session.for_operators && roles.is_empty());
    let useless = useless.map(|session| session.id).collect();
    Ok(effects.ending(call, useless, SessionEndReason::RoleLost))
}

/// The operator's identity, and the event that makes it if this is its first use.
pub(super) fn identity(context: &Context<'_>) -> (UserId, Option<Draft>) {
    if let Some(identity) = context.state.operator_identity() {
        return (identity, None);
    }
    let identity = UserId::random();
    let registered = UserRegistered {
        name: IDENTITY.into(),
        is_operator_identity: true,
        ..UserRegistered::default()
    };
    let draft = Draft::outside_rooms(None, Subject::User(identity), Content::UserRegistered(registered));
    (identity, Some(draft))
}

fn message(context: &Context<'_>, user: UserId, text: &MessageText) -> Result<Effects, Error> {
    person(context, user)?;
    let (identity, made) = identity(context);
    let mut drafts: Vec<Draft> = made.into_iter().collect();
    let open = || {
        let room = RoomId::random();
        let created = RoomCreated {
            kind: RoomKind::Direct.into(),
            name: String::new(),
            topic: String::new(),
            history: HistoryVisibility::FromStart.into(),
            direct_user_ids: vec![identity.to_string(), user.to_string()],
        };
        drafts.push(Draft::in_room(room, identity, Content::RoomCreated(created)));
        room
    };
    let room = context.state.direct(identity, user).map_or_else(open, |room| room.id);
    let posted = MessagePosted {
        text: text.as_str().into(),
        mentioned_user_ids: Vec::new(),
    };
    drafts.push(Draft::in_room(room, identity, Content::MessagePosted(posted)));
    Ok(Effects {
        told: Some(drafts.len() - 1),
        drafts,
        ..Effects::default()
    })
}

fn ban(context: &Context<'_>, call: &Call, target: BanTarget, lasts: Option<Micros>) -> Result<Effects, Error> {
    let (subject, network, sessions) = match target {
        BanTarget::User(user) => {
            person(context, user)?;
            another_operator(context, user)?;
            (Subject::User(user), String::new(), sessions_of(context, user))
        }
        BanTarget::Network(network) => {
            let own = call.operator.address().map(|address| address.ip().to_canonical());
            if own.is_some_and(|own| network.contains(&own)) {
                return Err(Error::invalid(
                    "network",
                    "the call itself comes from there, and you would shut yourself out",
                ));
            }
            let inside = context
                .state
                .sessions()
                .filter(|session| session.address.is_some_and(|address| network.contains(&address.to_canonical())));
            let sessions = inside.map(|session| session.id).collect();
            (Subject::None, network.to_string(), sessions)
        }
    };
    let created = BanCreated {
        network,
        reason: call.reason.clone(),
        expires_at: lasts.map(|lasts| timestamp(context.now.saturating_add(lasts))),
    };
    let streams = Reached::default();
    // Streams from a banned network are cut whatever session they belong to.
    let draft = Draft::outside_rooms(call.operator.user(), subject, Content::BanCreated(created))
        .with(Aside::Reaches(streams.clone()));
    let effects = Effects {
        streams,
        ..Effects::one(draft)
    };
    Ok(effects.ending(call, sessions, SessionEndReason::Banned))
}

fn archive(context: &Context<'_>, call: &Call, room: RoomId) -> Result<Effects, Error> {
    let room = context.state.room(room).ok_or(Error::RoomNotFound)?;
    permissions::has_membership(room)?;
    if room.archived.is_some() {
        return Err(Error::RoomArchived);
    }
    let (identity, made) = identity(context);
    let archived = RoomArchived {
        reason: call.reason.clone(),
    };
    let mut drafts: Vec<Draft> = made.into_iter().collect();
    drafts.push(Draft::in_room(room.id, identity, Content::RoomArchived(archived)));
    Ok(Effects {
        told: Some(drafts.len() - 1),
        drafts,
        ..Effects::default()
    })
}

fn known_file<'a>(context: &'a Context<'_>, file: FileId) -> Result<&'a File, Error> {
    context.state.files().get(file).ok_or(Error::FileNotFound)
}

fn quarantine(context: &Context<'_>, call: &Call, file: FileId) -> Result<Content, Error> {
    known_file(context, file)?;
    if context.state.standing().why_quarantined(file).is_some() {
        return Err(Error::NothingToChange("the file is withheld already"));
    }
    Ok(Content::FileQuarantined(FileQuarantined {
        file_id: file.to_string(),
        reason: call.reason.clone(),
    }))
}

fn release(context: &Context<'_>, file: FileId) -> Result<Content, Error> {
    known_file(context, file)?;
    if context.state.standing().why_quarantined(file).is_none() {
        return Err(Error::NothingToChange("the file is not withheld"));
    }
    let file_id = file.to_string();
    Ok(Content::FileReleased(FileReleased { file_id }))
}

/// Takes a file away as a moderator would, in the name of the operator's identity; also where the room is archived.
fn delete_file(context: &Context<'_>, file: FileId, room: Option<RoomId>) -> Result<Effects, Error> {
    let shares = known_file(context, file)?.shares.iter();
    let going: Vec<Share> = shares
        .filter(|share| room.is_none_or(|room| share.room == room))
        .copied()
        .collect();
    if going.is_empty() {
        return Err(Error::NothingToChange("the file is not shared there any more"));
    }
    let (identity, made) = identity(context);
    let mut drafts: Vec<Draft> = made.into_iter().collect();
    let told = drafts.len();
    drafts.extend(going.into_iter().map(|share| {
        let removed = FileRemoved {
            file_id: file.to_string(),
        };
        Draft::in_room(share.room, identity, Content::FileRemoved(removed)).on(share.seq)
    }));
    Ok(Effects {
        told: Some(told),
        drafts,
        ..Effects::default()
    })
}

fn resolve(context: &Context<'_>, call: &Call, index: i64, resolution: &Line) -> Result<Effects, Error> {
    let report = context.state.standing().report(index).ok_or(Error::ReportNotFound)?;
    let resolved = ReportResolved {
        report_index: index,
        resolution: resolution.as_str().into(),
    };
    let draft = Draft::outside_rooms(
        call.operator.user(),
        Subject::Room(report.room),
        Content::ReportResolved(resolved),
    );
    Ok(Effects::one(draft.on(report.seq)))
}
