//! What is done with the record: cases, exports, holds, erasures, and how long data is kept. A view of the rows that say so; the store keeps the
//! numbers of these rows, as of all that stand.

use std::collections::{BTreeMap, HashMap};

use greffe_api::v1::event_body::Content;
use greffe_api::v1::{CaseOpened, RecordScope, RetentionClass};

use super::clock::{Micros, SECOND, from_timestamp, timestamp};
use super::entry::{Entry, Subject};
use super::error::Error;
use super::ids::{RoomId, UserId};
use super::standing::Change;

/// Seconds for which it is kept who connected from where, unless it is set otherwise: a year.
const CONNECTIONS_KEPT: i64 = 365 * 24 * 3600;

/// Classes of data that are kept for a time of their own.
pub const CLASSES: [RetentionClass; 3] = [
    RetentionClass::Messages,
    RetentionClass::Files,
    RetentionClass::Connections,
];

/// What a case or a hold is about: what meets all four conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Whose acts; empty: everyone's.
    pub users: Vec<UserId>,
    /// In which rooms; empty: everywhere.
    pub rooms: Vec<RoomId>,
    /// From when on.
    pub from: Option<Micros>,
    /// Before when.
    pub to: Option<Micros>,
}

impl Scope {
    /// Reads what a row says. Ids that are none are of nobody.
    pub fn from_api(scope: &RecordScope) -> Self {
        Self {
            users: scope.user_ids.iter().filter_map(|id| id.parse().ok()).collect(),
            rooms: scope.room_ids.iter().filter_map(|id| id.parse().ok()).collect(),
            from: scope.from.as_ref().map(from_timestamp),
            to: scope.to.as_ref().map(from_timestamp),
        }
    }

    /// As rows say it.
    pub fn to_api(&self) -> RecordScope {
        RecordScope {
            user_ids: self.users.iter().map(UserId::to_string).collect(),
            room_ids: self.rooms.iter().map(RoomId::to_string).collect(),
            from: self.from.map(timestamp),
            to: self.to.map(timestamp),
        }
    }

    /// Whether it has times at which something can happen.
    pub fn has_time(&self) -> bool {
        self.from.is_none_or(|from| self.to.is_none_or(|to| from < to))
    }

    /// Whether it covers what somebody did somewhere at some time.
    pub fn covers(&self, actor: Option<UserId>, room: Option<RoomId>, time: Micros) -> bool {
        self.of_users(actor)
            && (self.rooms.is_empty() || room.is_some_and(|room| self.rooms.contains(&room)))
            && self.from.is_none_or(|from| time >= from)
            && self.to.is_none_or(|to| time < to)
    }

    fn of_users(&self, actor: Option<UserId>) -> bool {
        self.users.is_empty() || actor.is_some_and(|actor| self.users.contains(&actor))
    }

    /// The room, if it is about one, and about nothing else: the members of which are not told.
    pub fn only_room(&self) -> Option<RoomId> {
        match (self.users.as_slice(), self.rooms.as_slice()) {
            ([], [room]) => Some(*room),
            _ => None,
        }
    }
}

/// What can be done with a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaseState {
    /// It waits for its approval.
    AwaitingApproval,
    /// It can be read.
    Open,
    /// Its time is over.
    Expired,
    /// It was closed.
    Closed,
}

/// A case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The row that opened it.
    pub index: i64,
    /// The reference under which whoever ordered it knows it.
    pub reference: String,
    /// The legal basis.
    pub basis: String,
    /// What may be read.
    pub scope: Scope,
    /// When it was opened.
    pub opened: Micros,
    /// By whom, by name.
    pub by: String,
    /// By whose account; none: over the local socket.
    pub opener: Option<UserId>,
    /// Until when it can be read.
    pub expires: Micros,
    /// Whether it has to be approved.
    pub needs_approval: bool,
    /// When it was approved, and by whom.
    pub approved: Option<(Micros, String)>,
    /// When it was closed.
    pub closed: Option<Micros>,
}

impl Case {
    fn opened(entry: &Entry, opened: &CaseOpened) -> Self {
        Self {
            index: entry.index,
            reference: opened.reference.clone(),
            basis: opened.basis.clone(),
            scope: Scope::from_api(opened.scope.as_ref().unwrap_or(&RecordScope::default())),
            opened: entry.time,
            by: opened.by.clone(),
            opener: entry.draft.actor,
            expires: opened.expires_at.as_ref().map_or(entry.time, from_timestamp),
            needs_approval: opened.needs_approval,
            approved: None,
            closed: None,
        }
    }

    /// What can be done with it.
    pub fn state(&self, now: Micros) -> CaseState {
        if self.closed.is_some() {
            CaseState::Closed
        } else if self.expires <= now {
            CaseState::Expired
        } else if self.needs_approval && self.approved.is_none() {
            CaseState::AwaitingApproval
        } else {
            CaseState::Open
        }
    }

    /// Refuses a case within which nothing can be read.
    ///
    /// # Errors
    /// [`Error::CaseNotOpen`].
    pub fn open(&self, now: Micros) -> Result<&Self, Error> {
        let state = match self.state(now) {
            CaseState::Open => return Ok(self),
            CaseState::AwaitingApproval => "waits for the approval of a second investigator",
            CaseState::Expired => "has expired",
            CaseState::Closed => "is closed",
        };
        Err(Error::CaseNotOpen { state })
    }
}

/// An export that was ordered of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Export {
    /// The row that ordered it.
    pub index: i64,
    /// The row that opened the case.
    pub case: i64,
    /// Whether it has no heads of what is out of scope.
    pub bodies_only: bool,
}

/// A hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The row that added it.
    pub index: i64,
    /// The row that opened its case.
    pub case: i64,
    /// What is held.
    pub scope: Scope,
    /// Since when.
    pub time: Micros,
}

/// Whom or what an erasure is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// A person.
    User(UserId),
    /// A room.
    Room(RoomId),
}

impl Target {
    /// As the subject of a row.
    pub fn subject(self) -> Subject {
        match self {
            Self::User(user) => Subject::User(user),
            Self::Room(room) => Subject::Room(room),
        }
    }

    fn of(subject: Subject) -> Option<Self> {
        match subject {
            Subject::User(user) => Some(Self::User(user)),
            Subject::Room(room) => Some(Self::Room(room)),
            Subject::None | Subject::Session(_) => None,
        }
    }
}

/// What came of an erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// When.
    pub time: Micros,
    /// Bodies that were erased.
    pub rows: i64,
    /// Files whose bytes were erased.
    pub files: i64,
}

/// An erasure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// The row that ordered it.
    pub index: i64,
    /// Whom or what.
    pub target: Target,
    /// On what basis.
    pub basis: String,
    /// Who ordered it.
    pub by: String,
    /// Whose account ordered it; none: over the local socket.
    pub orderer: Option<UserId>,
    /// When it was ordered.
    pub ordered: Micros,
    /// The row that began it.
    pub begun: Option<i64>,
    /// Whether it is done.
    pub done: Option<Done>,
}

/// For how long a class of data is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Seconds; 0: for ever.
    pub seconds: i64,
    /// The row that set it, and when; none: it is the default.
    pub set: Option<(i64, Micros)>,
}

/// What is done with the record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    cases: BTreeMap<i64, Case>,
    exports: BTreeMap<i64, Export>,
    holds: BTreeMap<i64, Hold>,
    erasures: BTreeMap<i64, Erasure>,
    retention: HashMap<i32, Retention>,
    /// Before when data of a class was erased, by the row that says so.
    applied: HashMap<i32, (i64, Micros)>,
    /// When members last exported what they did. Known since the start only.
    own_exports: HashMap<UserId, Micros>,
    /// Rows that stand beside those that the others are named by.
    further: Vec<i64>,
}

impl Record {
    /// All cases, oldest first.
    pub fn cases(&self) -> impl DoubleEndedIterator<Item = &Case> {
        self.cases.values()
    }

    /// A case.
    ///
    /// # Errors
    /// [`Error::CaseNotFound`].
    pub fn case(&self, index: i64) -> Result<&Case, Error> {
        self.cases.get(&index).ok_or(Error::CaseNotFound)
    }

    /// An export of a case.
    ///
    /// # Errors
    /// [`Error::ExportNotFound`].
    pub fn export(&self, index: i64) -> Result<&Export, Error> {
        self.exports.get(&index).ok_or(Error::ExportNotFound)
    }

    /// When a member last exported what they did, as far as that is known.
    pub fn own_export(&self, user: UserId) -> Option<Micros> {
        self.own_exports.get(&user).copied()
    }

    /// Whether the same is done with both.
    pub fn is_same(&self, other: &Self) -> bool {
        self.cases == other.cases
            && self.exports == other.exports
            && self.holds == other.holds
            && self.erasures == other.erasures
            && self.retention == other.retention
            && self.applied == other.applied
    }

    /// The holds in force, oldest first.
    pub fn holds(&self) -> impl Iterator<Item = &Hold> {
        self.holds.values()
    }

    /// A hold in force.
    ///
    /// # Errors
    /// [`Error::HoldNotFound`].
    pub fn hold(&self, index: i64) -> Result<&Hold, Error> {
        self.holds.get(&index).ok_or(Error::HoldNotFound)
    }

    /// Whether a hold covers what somebody did somewhere at some time.
    pub fn is_held(&self, actor: Option<UserId>, room: Option<RoomId>, time: Micros) -> bool {
        self.holds.values().any(|hold| hold.scope.covers(actor, room, time))
    }

    /// All erasures, oldest first.
    pub fn erasures(&self) -> impl DoubleEndedIterator<Item = &Erasure> {
        self.erasures.values()
    }

    /// An erasure.
    ///
    /// # Errors
    /// [`Error::ErasureNotFound`].
    pub fn erasure(&self, index: i64) -> Result<&Erasure, Error> {
        self.erasures.get(&index).ok_or(Error::ErasureNotFound)
    }

    /// The erasure of a target that was ordered last.
    pub fn erasure_of(&self, target: Target) -> Option<&Erasure> {
        self.erasures.values().rev().find(|erasure| erasure.target == target)
    }

    /// How long a class of data is kept.
    pub fn retention(&self, class: RetentionClass) -> Retention {
        let usual = Retention {
            seconds: match class {
                RetentionClass::Connections => CONNECTIONS_KEPT,
                RetentionClass::Messages | RetentionClass::Files | RetentionClass::Unspecified => 0,
            },
            set: None,
        };
        self.retention.get(&class.into()).copied().unwrap_or(usual)
    }

    /// Before when a class of data is erased; none if it is kept for ever.
    pub fn kept_from(&self, class: RetentionClass, now: Micros) -> Option<Micros> {
        match self.retention(class).seconds {
            0 => None,
            seconds => Some(now.saturating_sub(seconds.saturating_mul(SECOND))),
        }
    }

    /// Before when data of a class was erased; none if none was.
    pub fn erased_before(&self, class: RetentionClass) -> Option<Micros> {
        self.applied.get(&class.into()).map(|(_, before)| *before)
    }

    /// The rows that stand, in no order.
    pub fn rows(&self) -> impl Iterator<Item = i64> {
        let set = self.retention.values().filter_map(|retention| retention.set);
        let set = set.chain(self.applied.values().copied());
        self.cases
            .keys()
            .chain(self.exports.keys())
            .chain(self.holds.keys())
            .chain(self.erasures.keys())
            .chain(&self.further)
            .copied()
            .chain(set.map(|(index, _)| index))
    }

    /// Takes an event in, and says which rows stand or fall by it.
    pub fn apply(&mut self, entry: &Entry) -> Vec<Change> {
        let (index, time) = (entry.index, entry.time);
        let stands = vec![Change::Stands(index)];
        match &entry.draft.content {
            Content::CaseOpened(opened) => {
                self.cases.insert(index, Case::opened(entry, opened));
                stands
            }
            Content::CaseApproved(approved) => match self.cases.get_mut(&approved.case_index) {
                None => Vec::new(),
                Some(case) => {
                    case.approved = Some((time, approved.by.clone()));
                    self.further.push(index);
                    stands
                }
            },
            Content::CaseClosed(closed) => match self.cases.get_mut(&closed.case_index) {
                None => Vec::new(),
                Some(case) => {
                    case.closed = Some(time);
                    self.further.push(index);
                    stands
                }
            },
            // What members export themselves is made at once, and not asked for again.
            Content::ExportOrdered(ordered) if ordered.case_index == 0 => {
                self.own_exports.extend(entry.draft.subject.user().map(|user| (user, time)));
                Vec::new()
            }
            Content::ExportOrdered(ordered) => {
                let export = Export {
                    index,
                    case: ordered.case_index,
                    bodies_only: ordered.bodies_only,
                };
                self.exports.insert(index, export);
                stands
            }
            Content::HoldAdded(added) => {
                let hold = Hold {
                    index,
                    case: added.case_index,
                    scope: Scope::from_api(added.scope.as_ref().unwrap_or(&RecordScope::default())),
                    time,
                };
                self.holds.insert(index, hold);
                stands
            }
            Content::HoldReleased(released) => {
                let hold = self.holds.remove(&released.hold_index);
                hold.map(|hold| Change::Falls(hold.index)).into_iter().collect()
            }
            Content::RetentionSet(set) => {
                let retention = Retention {
                    seconds: set.keep_seconds,
                    set: Some((index, time)),
                };
                let before = self.retention.insert(set.class, retention).and_then(|before| before.set);
                let falls = before.map(|(index, _)| Change::Falls(index));
                falls.into_iter().chain(stands).collect()
            }
            Content::RetentionApplied(applied) => {
                let before = applied.before.as_ref().map_or(time, from_timestamp);
                // If data is kept for longer now, the earlier row still says what is gone.
                if self.applied.get(&applied.class).is_some_and(|(_, known)| *known > before) {
                    return Vec::new();
                }
                let known = self.applied.insert(applied.class, (index, before));
                let falls = known.map(|(index, _)| Change::Falls(index));
                falls.into_iter().chain(stands).collect()
            }
            _ => self.apply_erasure(entry),
        }
    }

    fn apply_erasure(&mut self, entry: &Entry) -> Vec<Change> {
        let (index, time) = (entry.index, entry.time);
        match &entry.draft.content {
            Content::ErasureOrdered(ordered) => {
                let Some(target) = Target::of(entry.draft.subject) else {
                    return Vec::new();
                };
                let erasure = Erasure {
                    index,
                    target,
                    basis: ordered.basis.clone(),
                    by: ordered.by.clone(),
                    orderer: entry.draft.actor,
                    ordered: time,
                    begun: None,
                    done: None,
                };
                self.erasures.insert(index, erasure);
            }
            Content::ErasureBegun(begun) => match self.erasures.get_mut(&begun.erasure_index) {
                None => return Vec::new(),
                Some(erasure) => {
                    erasure.begun = Some(index);
                    self.further.push(index);
                }
            },
            Content::ErasureDone(done) => match self.erasures.get_mut(&done.erasure_index) {
                None => return Vec::new(),
                Some(erasure) => {
                    erasure.done = Some(Done {
                        time,
                        rows: done.rows,
                        files: done.files,
                    });
                    self.further.push(index);
                }
            },
            _ => return Vec::new(),
        }
        vec![Change::Stands(index)]
    }
}
