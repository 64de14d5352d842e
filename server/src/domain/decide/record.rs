//! What investigators do with the record: cases, exports, holds, erasures, retention. And what the server does for them, row by row.

use greffe_api::v1::event_body::Content;
use greffe_api::v1::{
    CaseApproved, CaseClosed, CaseOpened, ErasureBegun, ErasureDone, ErasureOrdered, ExportMade, ExportOrdered,
    FileRemoved, HoldAdded, HoldReleased, RetentionApplied, RetentionClass, RetentionSet, RoomArchived, RoomKind,
    SessionEndReason, SessionEnded,
};

use super::operator::{Effects, another_operator, identity, person, sessions_of};
use super::{Answer, Command, Context, Decision, Erased, Overwrite, live_session};
use crate::domain::caller::Caller;
use crate::domain::clock::{Micros, SECOND, timestamp};
use crate::domain::entry::{Aside, Draft, Subject};
use crate::domain::error::Error;
use crate::domain::facts::Trace;
use crate::domain::files::Share;
use crate::domain::ids::{FileId, RoomId, UserId};
use crate::domain::operator::{Call, RecordAct};
use crate::domain::record::{CaseState, Erasure, Hold, Scope, Target};
use crate::domain::state::State;
use crate::domain::text::{Reason, erased_name};

/// How long a case can be read if nobody says.
const CASE_LIVES: Micros = 90 * 24 * 3600 * SECOND;
/// How long it can be read at most.
const CASE_LIVES_AT_MOST: Micros = 10 * 366 * 24 * 3600 * SECOND;
/// Cases that are not over, at most: they are all in memory.
const CASES: usize = 10_000;
/// Users or rooms of a scope at most.
pub(crate) const SUBJECTS: usize = 100;
/// The shortest time for which data is kept, and the longest: an hour, and a thousand years.
const RETENTION: std::ops::RangeInclusive<i64> = 3600..=1000 * 366 * 24 * 3600;
/// How long a member waits between two exports of what they did.
const OWN_EXPORT_PAUSE: Micros = 600 * SECOND;
/// What an erased room is called.
const ERASED_ROOM: &str = "erased";

/// What comes of an investigator's act.
pub(super) fn effects(context: &Context<'_>, call: &Call, act: &RecordAct) -> Result<Effects, Error> {
    let record = context.state.record();
    match act {
        RecordAct::OpenCase {
            reference,
            basis,
            scope,
            expires,
            needs_approval,
        } => open_case(context, call, [reference, basis], scope, *expires, *needs_approval),
        RecordAct::ApproveCase { case } => approve(context, call, *case),
        RecordAct::CloseCase { case } => {
            let case = record.case(*case)?;
            if case.closed.is_some() {
                return Err(Error::CaseNotOpen { state: "is closed" });
            }
            let closed = CaseClosed { case_index: case.index };
            Ok(Effects::one(about(call, &case.scope, Content::CaseClosed(closed))))
        }
        RecordAct::ReadCase { case, part } => {
            let case = record.case(*case)?.open(context.now)?;
            within(&case.scope, part)?;
            Ok(Effects::default())
        }
        RecordAct::OrderExport { case, bodies_only } => {
            let case = record.case(*case)?.open(context.now)?;
            let ordered = ExportOrdered {
                case_index: case.index,
                bodies_only: *bodies_only,
            };
            Ok(Effects::one(about(call, &case.scope, Content::ExportOrdered(ordered))))
        }
        RecordAct::DownloadExport { export } => {
            let export = record.export(*export)?;
            record.case(export.case)?.open(context.now)?;
            Ok(Effects::default())
        }
        RecordAct::AddHold { case, scope } => {
            let case = record.case(*case)?;
            if matches!(case.state(context.now), CaseState::Closed | CaseState::Expired) {
                case.open(context.now)?;
            }
            let scope = scope.as_ref().unwrap_or(&case.scope);
            exists(context, scope)?;
            let added = HoldAdded {
                case_index: case.index,
                scope: Some(scope.to_api()),
            };
            Ok(Effects::one(about(call, scope, Content::HoldAdded(added))))
        }
        RecordAct::ReleaseHold { hold } => release(context, call, *hold),
        RecordAct::Erase { target, basis } => erase(context, call, *target, basis),
        RecordAct::SetRetention { class, seconds } => {
            if *seconds != 0 && !RETENTION.contains(seconds) {
                return Err(Error::invalid("keep", "it must be an hour to a thousand years"));
            }
            let set = RetentionSet {
                class: (*class).into(),
                keep_seconds: *seconds,
            };
            Ok(Effects::one(outside(call, Subject::None, Content::RetentionSet(set))))
        }
    }
}

fn outside(call: &Call, subject: Subject, content: Content) -> Draft {
    Draft::outside_rooms(call.operator.user(), subject, content)
}

/// A row about what a scope covers. People are named in its body only: they are not to learn of it.
fn about(call: &Call, scope: &Scope, content: Content) -> Draft {
    outside(call, scope.only_room().map_or(Subject::None, Subject::Room), content)
}

/// Refuses a scope of nothing, or of what is not there.
fn exists(context: &Context<'_>, scope: &Scope) -> Result<(), Error> {
    if scope.users.is_empty() && scope.rooms.is_empty() {
        return Err(Error::invalid("users", "name at least one user or room"));
    }
    if scope.users.len() > SUBJECTS || scope.rooms.len() > SUBJECTS {
        return Err(Error::invalid(
            "users",
            format!("at most {SUBJECTS} users and {SUBJECTS} rooms"),
        ));
    }
    if !scope.has_time() {
        return Err(Error::invalid("to", "it must be later than `from`"));
    }
    let gone = |user: &&UserId| context.state.user(**user).is_none();
    if scope.users.iter().find(gone).is_some() {
        return Err(Error::UserNotFound);
    }
    if scope.rooms.iter().any(|room| context.state.room(*room).is_none()) {
        return Err(Error::RoomNotFound);
    }
    Ok(())
}

fn open_case(
    context: &Context<'_>,
    call: &Call,
    [reference, basis]: [&Reason; 2],
    scope: &Scope,
    expires: Option<Micros>,
    needs_approval: bool,
) -> Result<Effects, Error> {
    exists(context, scope)?;
    let lives = expires.map_or(CASE_LIVES, |expires| expires.saturating_sub(context.now));
    if !(1..=CASE_LIVES_AT_MOST).contains(&lives) {
        return Err(Error::invalid("expires_at", "it must lie within the next ten years"));
    }
    if needs_approval && call.operator.user().is_none() {
        return Err(Error::SecondInvestigatorRequired(
            "a case that needs an approval is opened by an investigator who logged in at the operators' port: over the socket everybody is the same",
        ));
    }
    let going_on = |state| matches!(state, CaseState::Open | CaseState::AwaitingApproval);
    let cases = context.state.record().cases();
    if cases.filter(|case| going_on(case.state(context.now))).count() >= CASES {
        return Err(Error::TooMany {
            what: "cases",
            limit: CASES,
        });
    }
    let opened = CaseOpened {
        reference: reference.as_str().into(),
        basis: basis.as_str().into(),
        scope: Some(scope.to_api()),
        expires_at: Some(timestamp(context.now.saturating_add(lives))),
        needs_approval,
        by: call.operator.name().into(),
    };
    Ok(Effects::one(about(call, scope, Content::CaseOpened(opened))))
}

fn approve(context: &Context<'_>, call: &Call, case: i64) -> Result<Effects, Error> {
    let case = context.state.record().case(case)?;
    match case.state(context.now) {
        CaseState::AwaitingApproval => {}
        CaseState::Open => return Err(Error::NothingToChange("the case is open, and needs no approval")),
        CaseState::Expired | CaseState::Closed => _ = case.open(context.now)?,
    }
    let Some(user) = call.operator.user() else {
        return Err(Error::SecondInvestigatorRequired(
            "over the socket everybody is the same: a case is approved by an investigator who logged in at the operators' port",
        ));
    };
    if case.opener == Some(user) {
        return Err(Error::SecondInvestigatorRequired(
            "a case is approved by another investigator than the one who opened it",
        ));
    }
    let approved = CaseApproved {
        case_index: case.index,
        by: call.operator.name().into(),
    };
    Ok(Effects::one(about(call, &case.scope, Content::CaseApproved(approved))))
}

/// Refuses a part that reaches beyond the scope of a case.
fn within(scope: &Scope, part: &Scope) -> Result<(), Error> {
    let among = |part: &[UserId]| scope.users.is_empty() || part.iter().all(|user| scope.users.contains(user));
    if !among(&part.users) {
        return Err(Error::OutOfScope("this user"));
    }
    if !scope.rooms.is_empty() && part.rooms.iter().any(|room| !scope.rooms.contains(room)) {
        return Err(Error::OutOfScope("this room"));
    }
    let early = part.from.is_some_and(|from| scope.from.is_some_and(|begin| from < begin));
    let late = part.to.is_some_and(|to| scope.to.is_some_and(|end| to > end));
    if early || late {
        return Err(Error::OutOfScope("this time"));
    }
    Ok(())
}

/// What a hold has to do with what is to be erased.
enum Covers {
    Nothing,
    Something,
    /// If there is one of these.
    If(Vec<Trace>),
}

fn covers(state: &State, hold: &Hold, target: Target) -> Covers {
    let Scope { users, rooms, from, to } = &hold.scope;
    let trace = |users: Vec<i64>, room: RoomId| {
        let room = state.room(room)?.no;
        Some(Trace {
            users,
            room,
            from: *from,
            to: *to,
        })
    };
    match target {
        Target::User(user) if !users.is_empty() && !users.contains(&user) => Covers::Nothing,
        Target::User(user) => {
            let Some(account) = state.user(user) else {
                return Covers::Nothing;
            };
            if rooms.is_empty() {
                let is_over = to.is_some_and(|to| to <= account.created);
                return if is_over { Covers::Nothing } else { Covers::Something };
            }
            Covers::If(rooms.iter().filter_map(|room| trace(vec![account.no], *room)).collect())
        }
        Target::Room(room) if !rooms.is_empty() && !rooms.contains(&room) => Covers::Nothing,
        Target::Room(room) => {
            let numbers = users.iter().filter_map(|user| state.user(*user)).map(|user| user.no);
            Covers::If(trace(numbers.collect(), room).into_iter().collect())
        }
    }
}

/// The traces that decide whether an act is held.
pub(crate) fn traces(state: &State, act: &RecordAct) -> Vec<Trace> {
    let record = state.record();
    let pairs: Vec<(&Hold, Target)> = match act {
        RecordAct::Erase { target, .. } => record.holds().map(|hold| (hold, *target)).collect(),
        RecordAct::ReleaseHold { hold: released } => {
            let others = record.holds().filter(|hold| hold.index != *released);
            let pending = || record.erasures().filter(|erasure| erasure.begun.is_none());
            others
                .flat_map(|hold| pending().map(move |erasure| (hold, erasure.target)))
                .collect()
        }
        _ => Vec::new(),
    };
    let traces = pairs.into_iter().flat_map(|(hold, target)| match covers(state, hold, target) {
        Covers::If(traces) => traces,
        Covers::Nothing | Covers::Something => Vec::new(),
    });
    traces.collect()
}

/// The first hold that covers some of what is to be erased, `but` for one that is being released.
fn held(context: &Context<'_>, target: Target, but: Option<i64>) -> Option<i64> {
    // What was not looked for, because the hold came in the same batch, may be there.
    let is_there = |trace: &Trace| context.facts.traces.get(trace).copied().unwrap_or(true);
    let mut holds = context.state.record().holds().filter(|hold| Some(hold.index) != but);
    let covering = holds.find(|hold| match covers(context.state, hold, target) {
        Covers::Nothing => false,
        Covers::Something => true,
        Covers::If(traces) => traces.iter().any(is_there),
    });
    covering.map(|hold| hold.index)
}

fn release(context: &Context<'_>, call: &Call, hold: i64) -> Result<Effects, Error> {
    let record = context.state.record();
    let hold = record.hold(hold)?;
    let released = HoldReleased { hold_index: hold.index };
    let mut effects = Effects::one(about(call, &hold.scope, Content::HoldReleased(released)));
    let pending = record.erasures().filter(|erasure| erasure.begun.is_none());
    let free: Vec<&Erasure> = pending
        .filter(|erasure| held(context, erasure.target, Some(hold.index)).is_none())
        .collect();
    for erasure in free {
        begin(context, call, erasure.index, erasure.target, &mut effects.drafts);
    }
    Ok(effects)
}

fn erase(context: &Context<'_>, call: &Call, target: Target, basis: &Reason) -> Result<Effects, Error> {
    match target {
        Target::User(user) => {
            person(context, user)?;
            another_operator(context, user)?;
        }
        Target::Room(room) => {
            let room = context.state.room(room).ok_or(Error::RoomNotFound)?;
            if room.kind == RoomKind::General {
                return Err(Error::invalid(
                    "room",
                    "the room that everyone is in cannot be erased; erase people, or set how long messages are kept",
                ));
            }
        }
    }
    let hold = held(context, target, None);
    match (context.state.record().erasure_of(target), hold) {
        (Some(before), Some(hold)) if before.begun.is_none() => return Err(Error::Held { hold }),
        (Some(before), _) if before.done.is_none() => {
            return Err(Error::NothingToChange("its erasure was ordered already"));
        }
        (Some(_), _) => return Err(Error::NothingToChange("it is erased already")),
        (None, _) => {}
    }
    let ordered = ErasureOrdered {
        basis: basis.as_str().into(),
        by: call.operator.name().into(),
    };
    let mut effects = Effects::one(outside(call, target.subject(), Content::ErasureOrdered(ordered)));
    match hold {
        Some(hold) => effects.refused = Some(Error::Held { hold }),
        // The row that records the call is the next one of the journal, and the order the one after it.
        None => begin(context, call, context.state.size + 1, target, &mut effects.drafts),
    }
    Ok(effects)
}

/// Adds what begins an erasure: what members have to be told, and the row from which on the name is gone.
fn begin(context: &Context<'_>, call: &Call, erasure: i64, target: Target, drafts: &mut Vec<Draft>) {
    let state = context.state;
    let mut begun = ErasureBegun {
        erasure_index: erasure,
        ..ErasureBegun::default()
    };
    let mut unshared: Vec<(FileId, Share)> = Vec::new();
    match target {
        Target::User(user) => {
            let ended = sessions_of(context, user).into_iter().map(|session| {
                let ended = SessionEnded {
                    reason: SessionEndReason::Disabled.into(),
                    peer: None,
                    message: call.reason.clone(),
                };
                outside(call, Subject::Session(session), Content::SessionEnded(ended))
            });
            drafts.extend(ended);
            begun.name = state.user(user).map(|user| erased_name(&user.name)).unwrap_or_default();
            for file in state.files().of_owner(user) {
                begun.file_ids.push(file.id.to_string());
                unshared.extend(file.shares.iter().map(|share| (file.id, *share)));
            }
        }
        Target::Room(id) => {
            begun.name = ERASED_ROOM.into();
            for file in state.files().in_room(id, 0) {
                let here = file.shares.iter().filter(|share| share.room == id);
                unshared.extend(here.map(|share| (file.id, *share)));
                if file.shares.iter().all(|share| share.room == id) && !begun.file_ids.contains(&file.id.to_string()) {
                    begun.file_ids.push(file.id.to_string());
                }
            }
            if let Some(room) = state.room(id) {
                begun.room_kind = room.kind.into();
                begun.history = room.history.into();
                begun.direct_user_ids = room.direct.iter().flat_map(|(a, b)| [a.to_string(), b.to_string()]).collect();
                if room.archived.is_none() && room.direct.is_none() {
                    let archived = Content::RoomArchived(RoomArchived::default());
                    drafts.extend(by_identity(context, drafts, id, archived));
                }
            }
        }
    }
    for (file, share) in unshared {
        let removed = Content::FileRemoved(FileRemoved {
            file_id: file.to_string(),
        });
        let told = by_identity(context, drafts, share.room, removed);
        drafts.extend(told.into_iter().map(|draft| {
            if draft.room.is_some() {
                draft.on(share.seq)
            } else {
                draft
            }
        }));
    }
    let draft = outside(call, target.subject(), Content::ErasureBegun(begun));
    drafts.push(match target {
        Target::User(_) => draft.with(Aside::Password(String::new())),
        Target::Room(_) => draft,
    });
}

/// Something that the operator's identity does in a room, with what makes the identity if nothing before does.
fn by_identity(context: &Context<'_>, before: &[Draft], room: RoomId, done: Content) -> Vec<Draft> {
    let made_before = before.iter().find_map(|draft| match &draft.content {
        Content::UserRegistered(made) if made.is_operator_identity => draft.subject.user(),
        _ => None,
    });
    let (identity, made) = match made_before {
        Some(identity) => (identity, None),
        None => identity(context),
    };
    made.into_iter().chain([Draft::in_room(room, identity, done)]).collect()
}

/// Decides what the server does for investigators and members.
pub(super) fn decide(context: &Context<'_>, command: &Command) -> Result<Decision, Error> {
    match command {
        Command::ExportOwn { caller } => export_own(context, caller),
        Command::NoteExport { export, manifest } => Ok(note_export(*export, manifest)),
        Command::EraseBodies { rows, old } => Ok(erase_bodies(context, rows, *old)),
        Command::Unshare { shares } => Ok(unshare(context, shares)),
        Command::FinishErasure { erasure, rows, files } => finish_erasure(context, *erasure, *rows, *files),
        Command::ApplyRetention {
            class,
            before,
            rows,
            files,
        } => Ok(apply_retention(context, *class, *before, *rows, files)),
        Command::NoteSigned { size } => Ok(Decision::overwrite(Overwrite::Signed(*size), Answer::Done)),
        Command::Settle => Ok(Decision::overwrite(Overwrite::Settle, Answer::Done)),
        _ => Ok(Decision::nothing()),
    }
}

/// Orders an export of what a member did.
fn export_own(context: &Context<'_>, caller: &Caller) -> Result<Decision, Error> {
    live_session(context, caller)?;
    if let Some(last) = context.state.record().own_export(caller.user) {
        let wait = last.saturating_add(OWN_EXPORT_PAUSE) - context.now;
        if let Ok(wait @ 1..) = u64::try_from(wait) {
            return Err(Error::RateLimited {
                retry_after: std::time::Duration::from_micros(wait),
            });
        }
    }
    // Heads of what others did are not theirs to have.
    let ordered = Content::ExportOrdered(ExportOrdered {
        case_index: 0,
        bodies_only: true,
    });
    Ok(Decision::event(Draft::outside_rooms(
        Some(caller.user),
        Subject::User(caller.user),
        ordered,
    )))
}

/// Notes that an export was made.
fn note_export(export: i64, manifest: &[u8; 32]) -> Decision {
    let made = ExportMade {
        export_index: export,
        manifest_sha256: manifest.to_vec().into(),
    };
    Decision::event(Draft::outside_rooms(None, Subject::None, Content::ExportMade(made)))
}

/// Erases bodies. What is only old stays while a hold covers it.
fn erase_bodies(context: &Context<'_>, rows: &[Erased], old: bool) -> Decision {
    let record = context.state.record();
    let goes = |row: &&Erased| !old || !record.is_held(row.actor, row.room, row.time);
    let going: Vec<Erased> = rows.iter().filter(goes).cloned().collect();
    let indices = going.iter().map(|row| row.index).collect();
    Decision::overwrite(Overwrite::Erase(going), Answer::Erased(indices))
}

/// Takes files away from rooms, as far as they are still there.
fn unshare(context: &Context<'_>, shares: &[(RoomId, i64)]) -> Decision {
    let mut drafts = Vec::new();
    for (room, seq) in shares {
        if let Some(file) = context.state.files().shared_by(*room, *seq) {
            let removed = Content::FileRemoved(FileRemoved {
                file_id: file.id.to_string(),
            });
            let told = by_identity(context, &drafts, *room, removed);
            drafts.extend(
                told.into_iter()
                    .map(|draft| if draft.room.is_some() { draft.on(*seq) } else { draft }),
            );
        }
    }
    Decision::events(drafts, Answer::Done)
}

/// Notes that an erasure is done.
fn finish_erasure(context: &Context<'_>, erasure: i64, rows: i64, files: i64) -> Result<Decision, Error> {
    let erasure = context.state.record().erasure(erasure)?;
    if erasure.done.is_some() {
        return Ok(Decision::nothing());
    }
    let done = ErasureDone {
        erasure_index: erasure.index,
        basis: erasure.basis.clone(),
        rows,
        files,
        by: erasure.by.clone(),
    };
    Ok(Decision::event(Draft::outside_rooms(
        erasure.orderer,
        erasure.target.subject(),
        Content::ErasureDone(done),
    )))
}

/// Notes that old data was erased, and takes away the old files.
fn apply_retention(
    context: &Context<'_>,
    class: RetentionClass,
    before: Micros,
    rows: i64,
    files: &[FileId],
) -> Decision {
    let known = files.iter().filter_map(|file| context.state.files().get(*file));
    let shares: Vec<(RoomId, i64)> = known
        .flat_map(|file| file.shares.iter().map(|share| (share.room, share.seq)))
        .collect();
    let mut drafts = unshare(context, &shares).drafts;
    let applied = RetentionApplied {
        class: class.into(),
        before: Some(timestamp(before)),
        rows,
        file_ids: files.iter().map(FileId::to_string).collect(),
    };
    drafts.push(Draft::outside_rooms(
        None,
        Subject::None,
        Content::RetentionApplied(applied),
    ));
    Decision::events(drafts, Answer::Done)
}
