//! Reads the whole state at start, and whenever a batch has to be forgotten.

use std::collections::HashMap;

use bytes::Bytes;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use greffe_api::v1::event_body::Content;
use greffe_api::v1::{HistoryVisibility, RoomKind};

use crate::domain::entry::{Aside, peer_ip};
use crate::domain::files::{File, Share, Upload};
use crate::domain::ids::{CodeHash, IdMap, RoomId, TokenHash, UserId, random_epoch, random_journal_id};
use crate::domain::operator::Roles;
use crate::domain::state::{Member, Role, Room, Session, State, User};
use crate::journal::event::{decode, decode_content};
use crate::journal::tree::Edge;
use crate::store::schema::{file, journal, journal_head, member, room, session, standing, upload, user};
use crate::store::{Head, Identity, StoreError};

/// A row of the journal, as stored.
#[derive(Debug, Clone)]
pub struct StoredRow {
    /// Its number.
    pub index: i64,
    /// The bytes of its head.
    pub head: Bytes,
    /// The bytes of its body; none once erased.
    pub body: Option<Bytes>,
    /// Its leaf.
    pub leaf: Bytes,
}

fn wrong(what: &str) -> StoreError {
    StoreError::Database(format!("{what} cannot be read"))
}

/// How the table `member` writes a role.
pub(super) fn role_number(role: Role) -> i32 {
    match role {
        Role::Removed => 0,
        Role::Invited => 1,
        Role::Member => 2,
        Role::Moderator => 3,
        Role::Owner => 4,
    }
}

fn role(number: i32) -> Result<Role, StoreError> {
    [Role::Removed, Role::Invited, Role::Member, Role::Moderator, Role::Owner]
        .into_iter()
        .find(|role| role_number(*role) == number)
        .ok_or_else(|| wrong("a member's role"))
}

/// How the table `user` writes roles.
pub(super) fn roles_number(roles: Roles) -> i32 {
    i32::from(roles.operator) + 2 * i32::from(roles.investigator)
}

/// Who this journal is; none if it was never begun.
pub(crate) fn known_identity(connection: &mut SqliteConnection) -> Result<Option<Identity>, StoreError> {
    let found: Option<(String, String)> = journal_head::table
        .select((journal_head::journal_id, journal_head::epoch))
        .first(connection)
        .optional()?;
    Ok(found.map(|(journal_id, epoch)| Identity { journal_id, epoch }))
}

/// Who this journal is. Makes the one row of `journal_head` if there is none.
pub(super) fn identity(connection: &mut SqliteConnection) -> Result<Identity, StoreError> {
    if let Some(identity) = known_identity(connection)? {
        return Ok(identity);
    }
    let identity = Identity {
        journal_id: random_journal_id(),
        epoch: random_epoch(),
    };
    diesel::insert_into(journal_head::table)
        .values((
            journal_head::one.eq(1),
            journal_head::size.eq(0),
            journal_head::time.eq(0),
            journal_head::edge.eq(Vec::new()),
            journal_head::epoch.eq(&identity.epoch),
            journal_head::journal_id.eq(&identity.journal_id),
        ))
        .execute(connection)?;
    Ok(identity)
}

type JournalRow = (i64, Vec<u8>, Option<Vec<u8>>, Vec<u8>);

fn stored_row((index, head, body, leaf): JournalRow) -> StoredRow {
    StoredRow {
        index,
        head: head.into(),
        body: body.map(Bytes::from),
        leaf: leaf.into(),
    }
}

/// The newest rows, ascending.
pub(super) fn newest_rows(connection: &mut SqliteConnection, count: i64) -> Result<Vec<StoredRow>, StoreError> {
    let mut rows: Vec<JournalRow> = journal::table.order(journal::idx.desc()).limit(count).load(connection)?;
    rows.reverse();
    Ok(rows.into_iter().map(stored_row).collect())
}

/// Rows from `first` on, ascending.
pub(crate) fn rows_from(
    connection: &mut SqliteConnection,
    first: i64,
    count: i64,
) -> Result<Vec<StoredRow>, StoreError> {
    let rows: Vec<JournalRow> = journal::table
        .filter(journal::idx.ge(first))
        .order(journal::idx)
        .limit(count)
        .load(connection)?;
    Ok(rows.into_iter().map(stored_row).collect())
}

/// Reads the journal's head.
pub(super) fn head(connection: &mut SqliteConnection) -> Result<Head, StoreError> {
    let (size, time, edge): (i64, i64, Vec<u8>) = journal_head::table
        .select((journal_head::size, journal_head::time, journal_head::edge))
        .first(connection)?;
    let leaves = u64::try_from(size).map_err(|_| wrong("the journal's size"))?;
    let edge = Edge::from_bytes(leaves, &edge).map_err(|error| StoreError::Database(error.to_string()))?;
    Ok(Head { edge, time })
}

/// Reads the state from its tables.
pub(crate) fn state(connection: &mut SqliteConnection) -> Result<(State, Head), StoreError> {
    let head = head(connection)?;
    let mut state = State::default();
    state.size = i64::try_from(head.edge.size()).map_err(|_| wrong("the journal's size"))?;
    state.time = head.time;

    let users = users(connection, &mut state)?;
    let rooms = rooms(connection, &mut state, &users)?;
    let members: Vec<(i64, i64, i32, i64, i64, bool)> = member::table.load(connection)?;
    for (in_room, person, number, since, first_seq, barred) in members {
        let place = Member {
            role: role(number)?,
            since,
            first_seq,
            barred,
        };
        let found = rooms.get(&in_room).zip(users.get(&person));
        let (in_room, person) = found.ok_or_else(|| wrong("whose place in a room it is"))?;
        state.load_member(*in_room, *person, place);
    }
    sessions(connection, &mut state, &users)?;
    standing(connection, &mut state)?;
    files(connection, &mut state, &users, &rooms)?;
    Ok((state, head))
}

/// Where files are shared, in the order in which that happened. CROSS JOIN tells SQLite, which has no statistics here, to begin with the
/// shares: it would rather walk through all events of all rooms.
const SHARES: &str =
    "SELECT s.room, s.seq, s.file FROM file_share s CROSS JOIN room_event e ON e.room = s.room AND e.seq = s.seq
    ORDER BY e.idx";

#[derive(QueryableByName)]
struct ShareRow {
    #[diesel(sql_type = BigInt)]
    room: i64,
    #[diesel(sql_type = BigInt)]
    seq: i64,
    #[diesel(sql_type = BigInt)]
    file: i64,
}

type UploadRow = (String, i64, i64, String, String, i64, i64, i64, i64);

fn files(
    connection: &mut SqliteConnection,
    state: &mut State,
    users: &HashMap<i64, UserId>,
    rooms: &HashMap<i64, RoomId>,
) -> Result<(), StoreError> {
    let person = |no: i64| users.get(&no).copied().ok_or_else(|| wrong("whose file it is"));
    let place = |no: i64| rooms.get(&no).copied().ok_or_else(|| wrong("the room of a file"));
    let found: Vec<(i64, String, i64, i64)> = file::table.order(file::no).load(connection)?;
    let mut ids = HashMap::new();
    for (no, id, owner, size) in found {
        let id = id.parse().map_err(|_| wrong("a file's id"))?;
        ids.insert(no, id);
        state.files_mut().load(File {
            no,
            id,
            owner: person(owner)?,
            size,
            shares: Vec::new(),
        });
    }
    let shares: Vec<ShareRow> = diesel::sql_query(SHARES).load(connection)?;
    for row in shares {
        let id = ids.get(&row.file).ok_or_else(|| wrong("which file is shared"))?;
        let share = Share {
            room: place(row.room)?,
            seq: row.seq,
        };
        state.files_mut().load_share(*id, share);
    }
    let uploads: Vec<UploadRow> = upload::table.load(connection)?;
    for (id, owner, in_room, name, media_type, size, committed, created, used) in uploads {
        state.files_mut().set_upload(Upload {
            id: id.parse().map_err(|_| wrong("an upload's id"))?,
            owner: person(owner)?,
            room: place(in_room)?,
            name,
            media_type,
            size,
            committed,
            created,
            used,
        });
    }
    Ok(())
}

type UserRow = (i64, String, String, String, i64, i32, bool, bool, bool);

type StandingRow = (Option<Vec<u8>>, Vec<u8>, Option<Vec<u8>>);

/// Takes in the rows that stand, in their order.
fn standing(connection: &mut SqliteConnection, state: &mut State) -> Result<(), StoreError> {
    let rows: Vec<StandingRow> = standing::table
        .inner_join(journal::table)
        .order(standing::idx)
        .select((standing::code, journal::head, journal::body))
        .load(connection)?;
    for (code, head, body) in rows {
        // What was erased stands no more.
        let Some(body) = body else { continue };
        let mut entry = decode(&head, &body).ok_or_else(|| wrong("a row that stands"))?;
        if let Some(code) = code {
            let code = code.try_into().map_err(|_| wrong("a one-time code's hash"))?;
            entry.draft.aside = Some(Aside::Code(CodeHash(code)));
        }
        state.load_standing(&entry);
    }
    Ok(())
}

fn users(connection: &mut SqliteConnection, state: &mut State) -> Result<HashMap<i64, UserId>, StoreError> {
    let mut users = HashMap::new();
    let found: Vec<UserRow> = user::table
        .select((
            user::no,
            user::id,
            user::name,
            user::display_name,
            user::created,
            user::roles,
            user::disabled,
            user::operator_identity,
            user::password.ne(""),
        ))
        .load(connection)?;
    for (no, id, name, display_name, created, roles, disabled, is_operator_identity, has_password) in found {
        let id = id.parse().map_err(|_| wrong("a user's id"))?;
        users.insert(no, id);
        state.load_user(User {
            no,
            id,
            name,
            display_name,
            created,
            roles: Roles {
                operator: roles & 1 != 0,
                investigator: roles & 2 != 0,
            },
            disabled,
            has_password,
            is_operator_identity,
        });
    }
    Ok(users)
}

type RoomRow = (
    i64,
    String,
    i32,
    String,
    String,
    i32,
    i64,
    Option<i64>,
    i64,
    Option<i64>,
    Option<i64>,
);

fn rooms(
    connection: &mut SqliteConnection,
    state: &mut State,
    users: &HashMap<i64, UserId>,
) -> Result<HashMap<i64, RoomId>, StoreError> {
    let mut rooms = HashMap::new();
    let found: Vec<RoomRow> = room::table.load(connection)?;
    for (no, id, kind, name, topic, history, created, archived, head_seq, a, b) in found {
        let id = id.parse().map_err(|_| wrong("a room's id"))?;
        let person = |no: Option<i64>| no.and_then(|no| users.get(&no)).copied();
        rooms.insert(no, id);
        state.load_room(Room {
            no,
            id,
            kind: RoomKind::try_from(kind).map_err(|_| wrong("a room's kind"))?,
            name,
            topic,
            history: HistoryVisibility::try_from(history).map_err(|_| wrong("a room's history"))?,
            created,
            archived,
            head_seq,
            direct: person(a).zip(person(b)),
            members: IdMap::default(),
            member_count: 0,
        });
    }
    Ok(rooms)
}

type SessionRow = (i64, String, i64, Vec<u8>, i64, i64, i64, bool);

fn sessions(
    connection: &mut SqliteConnection,
    state: &mut State,
    users: &HashMap<i64, UserId>,
) -> Result<(), StoreError> {
    let found: Vec<SessionRow> = session::table.load(connection)?;
    for (no, id, owner, token, created, used, seen, for_operators) in found {
        // Address and client are in bodies, which can be erased, and nowhere else.
        let mut content = |index: i64| -> Result<Option<Content>, StoreError> {
            let body: Option<Option<Vec<u8>>> =
                journal::table.find(index).select(journal::body).first(connection).optional()?;
            Ok(body.flatten().and_then(|body| decode_content(&body)))
        };
        let (client, login_address) = match content(no)? {
            Some(Content::LoggedIn(login)) => (login.client.clone(), peer_ip(login.peer.as_ref())),
            _ => (String::new(), None),
        };
        let address = match if seen == no { None } else { content(seen)? } {
            Some(Content::SessionSeen(seen)) => peer_ip(seen.peer.as_ref()),
            _ => login_address,
        };
        state.load_session(Session {
            no,
            id: id.parse().map_err(|_| wrong("a session's id"))?,
            user: *users.get(&owner).ok_or_else(|| wrong("whose session it is"))?,
            token: TokenHash(token.try_into().map_err(|_| wrong("a session's token"))?),
            created,
            used,
            address,
            seen_index: seen,
            client,
            for_operators,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use diesel::connection::SimpleConnection as _;
    use diesel::sql_types::Text;

    use super::*;

    #[derive(QueryableByName)]
    struct Step {
        #[diesel(sql_type = Text)]
        detail: String,
    }

    #[test]
    fn a_start_looks_at_the_shares_of_files_and_not_at_all_events() {
        let mut connection = SqliteConnection::establish(":memory:").unwrap();
        for migration in [
            include_str!("../../../migrations/sqlite/20261122000000_journal/up.sql"),
            include_str!("../../../migrations/sqlite/20261122230000_files/up.sql"),
        ] {
            connection.batch_execute(migration).unwrap();
        }
        let steps: Vec<Step> = diesel::sql_query(format!("EXPLAIN QUERY PLAN {SHARES}"))
            .load(&mut connection)
            .unwrap();
        let details: Vec<&str> = steps.iter().map(|step| step.detail.as_str()).collect();
        assert_eq!(
            details[..2],
            ["SCAN s", "SEARCH e USING PRIMARY KEY (room=? AND seq=?)"],
            "{details:?}"
        );
    }
}
