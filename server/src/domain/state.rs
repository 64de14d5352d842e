//! The current state: who there is, which rooms, who is in them, which sessions live. A view of the journal up to a size, and nothing else.
//!
//! There are two copies: the writer's own, which it checks commands against and changes as it goes, and the one that everybody reads, which
//! gets the same events after they are committed. [`State::apply`] is the only way to change either.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use greffe_api::v1::event_body::Content;
use greffe_api::v1::{ErasureBegun, HistoryVisibility, MemberRole, RoomKind, SessionScope};

use super::clock::Micros;
use super::entry::{Aside, Entry, Subject, peer_ip};
use super::files::{self, Files};
use super::ids::{FileId, IdMap, RoomId, SessionId, TokenHash, UserId};
use super::operator::Roles;
use super::record::{Record, Target};
use super::standing::{self, Standing};
use super::text::{erased_name, room_name_key};

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Index of the row that made it: how tables name it.
    pub no: i64,
    /// Its id.
    pub id: UserId,
    /// The user name.
    pub name: String,
    /// The name to show.
    pub display_name: String,
    /// When it was made.
    pub created: Micros,
    /// What it may do beyond being a member.
    pub roles: Roles,
    /// Whether it was closed.
    pub disabled: bool,
    /// Whether it has a password, and not only a code that sets one.
    pub has_password: bool,
    /// Whether it is the operator's identity, and nobody's account.
    pub is_operator_identity: bool,
}

/// What a person is to a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Was removed, and comes back only by invitation.
    Removed,
    /// May join.
    Invited,
    /// Reads and writes.
    Member,
    /// Keeps order.
    Moderator,
    /// Decides.
    Owner,
}

impl Role {
    /// Whether one with this role is in the room.
    pub fn is_in(self) -> bool {
        self >= Self::Member
    }

    /// The role that the API calls so; none for what is not a role of somebody in a room.
    pub fn from_api(role: MemberRole) -> Option<Self> {
        match role {
            MemberRole::Member => Some(Self::Member),
            MemberRole::Moderator => Some(Self::Moderator),
            MemberRole::Owner => Some(Self::Owner),
            MemberRole::Unspecified | MemberRole::Invited => None,
        }
    }

    /// What the API calls it.
    pub fn to_api(self) -> MemberRole {
        match self {
            Self::Removed => MemberRole::Unspecified,
            Self::Invited => MemberRole::Invited,
            Self::Member => MemberRole::Member,
            Self::Moderator => MemberRole::Moderator,
            Self::Owner => MemberRole::Owner,
        }
    }
}

/// Someone's place in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// What they are to it.
    pub role: Role,
    /// Since when.
    pub since: Micros,
    /// The first event that they may read.
    pub first_seq: i64,
    /// Whether they were removed and have not joined since: then only an invitation lets them join.
    pub barred: bool,
}

/// A room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Index of the row that made it: how tables name it.
    pub no: i64,
    /// Its id.
    pub id: RoomId,
    /// Its kind.
    pub kind: RoomKind,
    /// Its name.
    pub name: String,
    /// Its topic.
    pub topic: String,
    /// What later members can read.
    pub history: HistoryVisibility,
    /// When it was made.
    pub created: Micros,
    /// When it was archived.
    pub archived: Option<Micros>,
    /// Its newest event.
    pub head_seq: i64,
    /// The two people of a direct room; the first one opened it.
    pub direct: Option<(UserId, UserId)>,
    /// Who is or was in it. Empty for `general`, where everyone is.
    pub members: IdMap<UserId, Member>,
    /// How many of them are in it now.
    pub member_count: usize,
}

impl Room {
    /// The room itself, without who is in it.
    #[must_use]
    pub fn without_members(&self) -> Self {
        Self {
            no: self.no,
            id: self.id,
            kind: self.kind,
            name: self.name.clone(),
            topic: self.topic.clone(),
            history: self.history,
            created: self.created,
            archived: self.archived,
            head_seq: self.head_seq,
            direct: self.direct,
            members: IdMap::default(),
            member_count: self.member_count,
        }
    }

    /// Whether somebody other than `user` is an owner.
    pub fn has_other_owner(&self, user: UserId) -> bool {
        self.members
            .iter()
            .any(|(id, member)| *id != user && member.role == Role::Owner)
    }
}

/// A login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Index of the row that began it: how tables name it.
    pub no: i64,
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// The hash of its token.
    pub token: TokenHash,
    /// When it began.
    pub created: Micros,
    /// When it was last used, to about a minute.
    pub used: Micros,
    /// Where it was last used from.
    pub address: Option<IpAddr>,
    /// Index of the row that told that address.
    pub seen_index: i64,
    /// The client's name and version.
    pub client: String,
    /// Whether it is good at the operators' port, and only there.
    pub for_operators: bool,
}

/// What an event changed, so that the tables derived from it can be brought up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Touched {
    /// An account.
    User(UserId),
    /// A room itself.
    Room(RoomId),
    /// The newest seq of a room.
    Head(RoomId),
    /// Someone's place in a room.
    Member(RoomId, UserId),
    /// A login.
    Session(SessionId),
    /// A login that is no more; the number of its row.
    SessionGone(i64),
    /// A file that is new.
    File(FileId),
    /// A place of a file: the room, and the seq of the event that shared it.
    Share(RoomId, i64),
    /// An upload.
    Upload(FileId),
    /// A file that is no more; the number of its row.
    FileGone(i64),
    /// A row that stands.
    Stands(i64),
    /// A row that stands no more.
    Falls(i64),
}

/// The current state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// How many rows of the journal are in it.
    pub size: i64,
    /// The time of the newest one.
    pub time: Micros,
    users: IdMap<UserId, User>,
    names: BTreeMap<String, UserId>,
    rooms: IdMap<RoomId, Room>,
    general: Option<RoomId>,
    public_names: HashMap<String, RoomId>,
    directs: IdMap<(UserId, UserId), RoomId>,
    rooms_of: IdMap<UserId, BTreeSet<(i64, RoomId)>>,
    sessions: IdMap<SessionId, Session>,
    sessions_of: IdMap<UserId, BTreeSet<(i64, SessionId)>>,
    tokens: IdMap<TokenHash, SessionId>,
    operator_identity: Option<UserId>,
    standing: Standing,
    record: Record,
    files: Files,
}

impl From<standing::Change> for Touched {
    fn from(change: standing::Change) -> Self {
        match change {
            standing::Change::Stands(index) => Self::Stands(index),
            standing::Change::Falls(index) => Self::Falls(index),
        }
    }
}

impl From<files::Change> for Touched {
    fn from(change: files::Change) -> Self {
        match change {
            files::Change::File(id) => Self::File(id),
            files::Change::Share(room, seq) => Self::Share(room, seq),
            files::Change::Upload(id) => Self::Upload(id),
            files::Change::Gone(no) => Self::FileGone(no),
        }
    }
}

fn file_ids(ids: &[String]) -> Vec<FileId> {
    ids.iter().filter_map(|id| id.parse().ok()).collect()
}

/// The two people of a direct room, in the order in which they are looked up.
pub fn pair(a: UserId, b: UserId) -> (UserId, UserId) {
    if a < b { (a, b) } else { (b, a) }
}

impl State {
    /// A user.
    pub fn user(&self, id: UserId) -> Option<&User> {
        self.users.get(&id)
    }

    /// The user of that name.
    pub fn user_named(&self, name: &str) -> Option<&User> {
        self.names.get(name).and_then(|id| self.users.get(id))
    }

    /// Whether somebody has a user name, or had it until they were erased.
    pub fn is_taken(&self, name: &str) -> bool {
        self.names.contains_key(name) || self.names.contains_key(&erased_name(name))
    }

    /// The identity under which operators write to members, once one did.
    pub fn operator_identity(&self) -> Option<UserId> {
        self.operator_identity
    }

    /// Accounts that can act as an operator at `now`.
    pub fn operators(&self, now: Micros) -> impl Iterator<Item = &User> {
        let acts = |user: &User| user.roles.operator && !user.disabled && user.has_password;
        self.users
            .values()
            .filter(move |user| acts(user) && self.standing.ban_of(user.id, now).is_none())
    }

    /// Bans, alerts and what else stands.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Cases, holds, erasures and retention.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Whether a user is erased, or about to be.
    pub fn is_erased(&self, user: UserId) -> bool {
        self.record
            .erasure_of(Target::User(user))
            .is_some_and(|erasure| erasure.begun.is_some())
    }

    /// Files and uploads.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Files and uploads, to take in what tables hold at start, and uploads, which are no events.
    pub fn files_mut(&mut self) -> &mut Files {
        &mut self.files
    }

    /// How many accounts there are.
    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    /// Users in the order of their names, from the first name that is not less than `start`.
    pub fn users_from<'a>(&'a self, start: &str) -> impl Iterator<Item = &'a User> {
        self.names.range(start.to_owned()..).filter_map(|(_, id)| self.users.get(id))
    }

    /// The room that everyone is in.
    ///
    /// # Panics
    /// If the journal is empty; a server makes it before it reads anything.
    pub fn general(&self) -> RoomId {
        self.general.expect("a journal begins with the room `general`")
    }

    /// Whether the room that everyone is in exists yet.
    pub fn has_general(&self) -> bool {
        self.general.is_some()
    }

    /// A room, whoever asks.
    pub fn room(&self, id: RoomId) -> Option<&Room> {
        self.rooms.get(&id)
    }

    /// All rooms, in no order.
    pub fn rooms(&self) -> impl Iterator<Item = &Room> {
        self.rooms.values()
    }

    /// The public room of that name that is in use (or `general`).
    pub fn public_room_named(&self, name: &str) -> Option<&Room> {
        self.public_names.get(&room_name_key(name)).and_then(|id| self.rooms.get(id))
    }

    /// The direct room of two people.
    pub fn direct(&self, a: UserId, b: UserId) -> Option<&Room> {
        self.directs.get(&pair(a, b)).and_then(|id| self.rooms.get(id))
    }

    /// Someone's place in a room; of those who are, were or may be in it.
    pub fn member(&self, room: &Room, user: UserId) -> Option<Member> {
        if Some(room.id) == self.general {
            let since = self.users.get(&user)?.created;
            return Some(Member {
                role: Role::Member,
                since,
                first_seq: 1,
                barred: false,
            });
        }
        room.members.get(&user).copied()
    }

    /// How many people are in a room.
    pub fn member_count(&self, room: &Room) -> usize {
        if Some(room.id) == self.general {
            self.users.len()
        } else {
            room.member_count
        }
    }

    /// The rooms that a user is in or invited to, oldest first, `general` included.
    pub fn rooms_of(&self, user: UserId) -> impl Iterator<Item = (&Room, Member)> {
        let general = self.general.filter(|_| self.users.contains_key(&user));
        let others = self.rooms_of.get(&user).into_iter().flatten().map(|(_, id)| *id);
        general.into_iter().chain(others).filter_map(move |id| {
            let room = self.rooms.get(&id)?;
            Some((room, self.member(room, user)?))
        })
    }

    /// How many rooms a user has entered by themselves: `general` and direct rooms that others opened do not count.
    pub fn room_count_of(&self, user: UserId) -> usize {
        let entered = |room: &Room, member: Member| match (room.kind, room.direct) {
            (RoomKind::General, _) => false,
            (_, Some((opener, _))) => opener == user,
            _ => member.role.is_in(),
        };
        self.rooms_of(user).filter(|(room, member)| entered(room, *member)).count()
    }

    /// How many invitations wait for a user.
    pub fn invitation_count_of(&self, user: UserId) -> usize {
        self.rooms_of(user).filter(|(_, member)| member.role == Role::Invited).count()
    }

    /// A session that has not ended.
    pub fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    /// The session of a token.
    pub fn session_of_token(&self, token: TokenHash) -> Option<&Session> {
        self.tokens.get(&token).and_then(|id| self.sessions.get(id))
    }

    /// A user's sessions, oldest first.
    pub fn sessions_of(&self, user: UserId) -> impl DoubleEndedIterator<Item = &Session> {
        self.sessions_of
            .get(&user)
            .into_iter()
            .flatten()
            .filter_map(|(_, id)| self.sessions.get(id))
    }

    /// All sessions, in no order.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values()
    }

    /// Whether people, rooms, who is in them, and files are the same. Sessions have parts that are no events, and are not compared.
    pub fn has_same_record(&self, other: &Self) -> bool {
        (self.size, self.time) == (other.size, other.time)
            && self.users == other.users
            && self.rooms == other.rooms
            && self.standing.rows() == other.standing.rows()
            && self.record.is_same(&other.record)
            && self.files.has_same_record(&other.files)
    }

    /// Notes that a session was used. Only overwrites itself, and so is no event.
    pub fn touch(&mut self, session: SessionId, at: Micros) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.used = session.used.max(at);
        }
    }

    /// Takes in what a table holds, at start.
    pub fn load_user(&mut self, user: User) {
        if user.is_operator_identity {
            self.operator_identity = Some(user.id);
        }
        self.names.insert(user.name.clone(), user.id);
        self.users.insert(user.id, user);
    }

    /// Takes in what a table holds, at start. Members come afterwards.
    pub fn load_room(&mut self, room: Room) {
        match room.kind {
            RoomKind::General => {
                self.general = Some(room.id);
                self.public_names.insert(room_name_key(&room.name), room.id);
            }
            RoomKind::Public if room.archived.is_none() => {
                self.public_names.insert(room_name_key(&room.name), room.id);
            }
            RoomKind::Public | RoomKind::Private | RoomKind::Unspecified => {}
            RoomKind::Direct => {
                // One that was erased makes room for another.
                if let Some((a, b)) = room.direct.filter(|_| room.archived.is_none()) {
                    self.directs.insert(pair(a, b), room.id);
                }
            }
        }
        self.rooms.insert(room.id, room);
    }

    /// Takes in what a table holds, at start; the room is there already.
    pub fn load_member(&mut self, room: RoomId, user: UserId, member: Member) {
        self.set_member(room, user, Some(member));
    }

    /// Takes in what a table holds, at start.
    pub fn load_session(&mut self, session: Session) {
        self.tokens.insert(session.token, session.id);
        self.sessions_of
            .entry(session.user)
            .or_default()
            .insert((session.no, session.id));
        self.sessions.insert(session.id, session);
    }

    /// Takes in a row that stands, at start, in the order of rows.
    pub fn load_standing(&mut self, entry: &Entry) {
        self.standing.apply(entry);
        self.record.apply(entry);
    }

    fn set_member(&mut self, room_id: RoomId, user: UserId, member: Option<Member>) {
        let Some(room) = self.rooms.get_mut(&room_id) else {
            return;
        };
        let before = match member {
            Some(member) => room.members.insert(user, member),
            None => room.members.remove(&user),
        };
        let is_in = |member: Option<Member>| member.is_some_and(|member| member.role.is_in());
        room.member_count = room.member_count + usize::from(is_in(member)) - usize::from(is_in(before));
        let key = (room.no, room_id);
        if member.is_some_and(|member| member.role != Role::Removed) {
            self.rooms_of.entry(user).or_default().insert(key);
        } else if let Some(rooms) = self.rooms_of.get_mut(&user) {
            rooms.remove(&key);
        }
    }

    /// Takes an event in, and says what it changed.
    pub fn apply(&mut self, entry: &Entry) -> Vec<Touched> {
        self.size = entry.index + 1;
        self.time = entry.time;
        let mut touched = Vec::new();
        let draft = &entry.draft;
        if let Some(room) = draft.room {
            if let Content::RoomCreated(created) = &draft.content {
                self.create_room(entry, room, created);
                for member in self.rooms.get(&room).into_iter().flat_map(|room| room.members.keys()) {
                    touched.push(Touched::Member(room, *member));
                }
            }
            if let Some(room) = self.rooms.get_mut(&room) {
                room.head_seq = room.head_seq.max(entry.seq);
            }
            touched.push(match &draft.content {
                Content::RoomCreated(_) | Content::RoomUpdated(_) | Content::RoomArchived(_) => Touched::Room(room),
                _ => Touched::Head(room),
            });
            self.apply_in_room(entry, room, &mut touched);
            touched.extend(self.files.apply(entry, room).into_iter().map(Touched::from));
        } else {
            self.apply_outside_rooms(entry, &mut touched);
        }
        touched
    }

    fn create_room(&mut self, entry: &Entry, id: RoomId, created: &greffe_api::v1::RoomCreated) {
        let direct = match created.direct_user_ids.as_slice() {
            [a, b] => a.parse().ok().zip(b.parse().ok()),
            _ => None,
        };
        self.load_room(Room {
            no: entry.index,
            id,
            kind: created.kind(),
            name: created.name.clone(),
            topic: created.topic.clone(),
            history: created.history(),
            created: entry.time,
            archived: None,
            head_seq: 0,
            direct,
            members: IdMap::default(),
            member_count: 0,
        });
        let place = |role| Member {
            role,
            since: entry.time,
            first_seq: 1,
            barred: false,
        };
        match (direct, entry.draft.actor) {
            (Some((a, b)), _) => {
                self.set_member(id, a, Some(place(Role::Member)));
                self.set_member(id, b, Some(place(Role::Member)));
            }
            (None, Some(owner)) => self.set_member(id, owner, Some(place(Role::Owner))),
            (None, None) => {}
        }
    }

    fn apply_in_room(&mut self, entry: &Entry, room_id: RoomId, touched: &mut Vec<Touched>) {
        let draft = &entry.draft;
        let Some(room) = self.rooms.get_mut(&room_id) else {
            return;
        };
        let before = draft.subject.user().and_then(|user| room.members.get(&user).copied());
        let from_joining = room.history == HistoryVisibility::FromJoining;
        let change = match &draft.content {
            Content::RoomUpdated(update) => {
                if let Some(name) = &update.name {
                    if room.kind == RoomKind::Public {
                        self.public_names.remove(&room_name_key(&room.name));
                        self.public_names.insert(room_name_key(name), room_id);
                    }
                    room.name.clone_from(name);
                }
                if let Some(topic) = &update.topic {
                    room.topic.clone_from(topic);
                }
                return;
            }
            Content::RoomArchived(_) => {
                room.archived = Some(entry.time);
                if room.kind == RoomKind::Public {
                    self.public_names.remove(&room_name_key(&room.name));
                }
                return;
            }
            Content::MemberJoined(joined) => {
                let role = Role::from_api(joined.role()).unwrap_or(Role::Member);
                Some(Member {
                    role,
                    since: entry.time,
                    first_seq: if from_joining { entry.seq } else { 1 },
                    barred: false,
                })
            }
            Content::MemberInvited(_) => {
                let barred = before.is_some_and(|member| member.barred);
                Some(Member {
                    role: Role::Invited,
                    since: entry.time,
                    first_seq: 0,
                    barred,
                })
            }
            // Who was removed, and declines to come back or is no longer invited to, stays removed.
            Content::MemberLeft(_) | Content::MemberRemoved(_) if before.is_some_and(|member| member.barred) => {
                Some(Member {
                    role: Role::Removed,
                    since: entry.time,
                    first_seq: 0,
                    barred: true,
                })
            }
            Content::MemberLeft(_) => None,
            // Taking back an invitation bars nobody who was not barred before.
            Content::MemberRemoved(_) if before.is_some_and(|member| member.role == Role::Invited) => None,
            Content::MemberRemoved(_) => Some(Member {
                role: Role::Removed,
                since: entry.time,
                first_seq: 0,
                barred: true,
            }),
            Content::MemberRoleChanged(changed) => before.map(|member| Member {
                role: Role::from_api(changed.role()).unwrap_or(member.role),
                ..member
            }),
            _ => return,
        };
        if let Some(user) = draft.subject.user() {
            self.set_member(room_id, user, change);
            touched.push(Touched::Member(room_id, user));
        }
    }

    fn apply_outside_rooms(&mut self, entry: &Entry, touched: &mut Vec<Touched>) {
        let draft = &entry.draft;
        touched.extend(self.standing.apply(entry).into_iter().map(Touched::from));
        touched.extend(self.record.apply(entry).into_iter().map(Touched::from));
        match (&draft.content, draft.subject) {
            (Content::UserRegistered(registered), Subject::User(id)) => {
                self.load_user(User {
                    no: entry.index,
                    id,
                    name: registered.name.clone(),
                    display_name: registered.display_name.clone(),
                    created: entry.time,
                    roles: Roles::default(),
                    disabled: false,
                    has_password: !registered.is_operator_identity,
                    is_operator_identity: registered.is_operator_identity,
                });
                touched.push(Touched::User(id));
            }
            (Content::UserRolesChanged(changed), Subject::User(id)) => {
                if let (Some(user), Some(roles)) = (self.users.get_mut(&id), Roles::from_api(&changed.roles)) {
                    user.roles = roles;
                    touched.push(Touched::User(id));
                }
            }
            (Content::PasswordReset(_) | Content::PasswordChanged(_), Subject::User(id)) => {
                if let Some(user) = self.users.get_mut(&id) {
                    user.has_password = matches!(draft.content, Content::PasswordChanged(_));
                    touched.push(Touched::User(id));
                }
            }
            (Content::UserDisabled(_) | Content::UserEnabled(_), Subject::User(id)) => {
                if let Some(user) = self.users.get_mut(&id) {
                    user.disabled = matches!(draft.content, Content::UserDisabled(_));
                    touched.push(Touched::User(id));
                }
            }
            (Content::UserUpdated(updated), Subject::User(id)) => {
                if let Some(user) = self.users.get_mut(&id) {
                    user.display_name.clone_from(&updated.display_name);
                    touched.push(Touched::User(id));
                }
            }
            (Content::LoggedIn(logged_in), Subject::Session(id)) => {
                if let (Some(user), Some(Aside::Token(token))) = (draft.actor, &draft.aside) {
                    self.load_session(Session {
                        no: entry.index,
                        id,
                        user,
                        token: *token,
                        created: entry.time,
                        used: entry.time,
                        address: peer_ip(logged_in.peer.as_ref()),
                        seen_index: entry.index,
                        client: logged_in.client.clone(),
                        for_operators: logged_in.scope() == SessionScope::Operator,
                    });
                    touched.push(Touched::Session(id));
                }
            }
            (Content::SessionSeen(seen), Subject::Session(id)) => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.address = peer_ip(seen.peer.as_ref());
                    session.seen_index = entry.index;
                    session.used = session.used.max(entry.time);
                    touched.push(Touched::Session(id));
                }
            }
            (Content::SessionEnded(_), Subject::Session(id)) => {
                if let Some(session) = self.sessions.remove(&id) {
                    self.tokens.remove(&session.token);
                    if let Some(sessions) = self.sessions_of.get_mut(&session.user) {
                        sessions.remove(&(session.no, id));
                    }
                    touched.push(Touched::SessionGone(session.no));
                }
            }
            (Content::ErasureBegun(begun), subject) => self.begin_erasure(entry, begun, subject, touched),
            (Content::RetentionApplied(applied), _) => {
                let files = file_ids(&applied.file_ids);
                touched.extend(self.standing.release_erased(&files).into_iter().map(Touched::from));
                self.erase_files(files, touched);
            }
            _ => {}
        }
    }

    /// Takes away what the state itself holds of somebody, or of a room, that is erased.
    fn begin_erasure(&mut self, entry: &Entry, begun: &ErasureBegun, subject: Subject, touched: &mut Vec<Touched>) {
        let files = file_ids(&begun.file_ids);
        let target = match subject {
            Subject::User(id) => {
                let Some(user) = self.users.get_mut(&id) else { return };
                self.names.remove(&user.name);
                user.name.clone_from(&begun.name);
                user.display_name.clear();
                user.roles = Roles::default();
                user.disabled = true;
                user.has_password = false;
                self.names.insert(begun.name.clone(), id);
                touched.push(Touched::User(id));
                Target::User(id)
            }
            Subject::Room(id) => {
                let Some(room) = self.rooms.get_mut(&id) else { return };
                if room.kind == RoomKind::Public && room.archived.is_none() {
                    self.public_names.remove(&room_name_key(&room.name));
                }
                if let Some((a, b)) = room.direct {
                    self.directs.remove(&pair(a, b));
                }
                room.name.clone_from(&begun.name);
                room.topic.clear();
                room.archived = room.archived.or(Some(entry.time));
                touched.push(Touched::Room(id));
                Target::Room(id)
            }
            Subject::None | Subject::Session(_) => return,
        };
        touched.extend(self.standing.erase(target, &files).into_iter().map(Touched::from));
        self.erase_files(files, touched);
    }

    fn erase_files(&mut self, files: Vec<FileId>, touched: &mut Vec<Touched>) {
        touched.extend(self.files.erase(files).into_iter().map(Touched::from));
    }
}
