//! Finding the users and rooms that a case, a hold or an erasure is about, so that what is meant is beyond doubt before it is ordered.

use greffe::admin_api::{AdminRoom, ListRoomsRequest};
use greffe::api::{ErrorReason, Room, RoomKind};
use greffe::record_api::NamedSubject;
use greffe::terminal::error::CommandError;
use greffe::{Code, Error, Operator};
use serde_json::{Value, json};

use super::{PAGE, preview};
use crate::output::kind_name;
use crate::subject::{self, Typed};

/// Ids that are listed when a name fits several rooms.
const LISTED: usize = 10;

/// A user or a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A user.
    User {
        /// The id; or what was typed, if nobody was asked.
        id: String,
        /// The name.
        name: String,
    },
    /// A room.
    Room {
        /// The id; or what was typed, if nobody was asked.
        id: String,
        /// What it is called: direct rooms by their two people.
        name: String,
    },
}

/// Looks subjects up, each list at most once.
pub(crate) struct Finder<'a> {
    operator: &'a Operator,
    rooms: Option<Vec<AdminRoom>>,
}

impl<'a> Finder<'a> {
    /// Asks nothing yet.
    pub(crate) fn new(operator: &'a Operator) -> Self {
        Self { operator, rooms: None }
    }

    /// Finds all of them; users and rooms apart, as requests name them.
    pub(crate) async fn all(&mut self, typed: &[String]) -> Result<(Vec<String>, Vec<String>), CommandError> {
        let (mut users, mut rooms) = (Vec::new(), Vec::new());
        for typed in typed {
            match self.find(typed).await? {
                Subject::User { id, .. } => users.push(id),
                Subject::Room { id, .. } => rooms.push(id),
            }
        }
        Ok((users, rooms))
    }

    /// Finds what was typed.
    ///
    /// Who may not list users and rooms, such as an investigator who is no operator, has to say which of the two it is.
    pub(crate) async fn find(&mut self, typed: &str) -> Result<Subject, CommandError> {
        match subject::parse(typed) {
            Typed::User(name) => match self.user(&name).await {
                Err(error) if error.is(ErrorReason::ServerRoleRequired) => Ok(Subject::User { id: name.clone(), name }),
                found => Ok(found?),
            },
            Typed::Room(name) => match self.room(&name).await {
                Err(CommandError::Server(error)) if error.is(ErrorReason::ServerRoleRequired) => {
                    Ok(Subject::Room { id: name.clone(), name })
                }
                found => found?.ok_or_else(|| missing(&format!("there is no room {name}"), ErrorReason::RoomNotFound)),
            },
            Typed::Either(word) => self.either(&word).await,
        }
    }

    async fn either(&mut self, word: &str) -> Result<Subject, CommandError> {
        let user = match self.user(&word.to_lowercase()).await {
            Ok(user) => Some(user),
            Err(error) if matches!(error.code, Code::NotFound | Code::InvalidArgument) => None,
            Err(error) if error.is(ErrorReason::ServerRoleRequired) => {
                return Err(CommandError::usage(
                    format!("it cannot be looked up whether {word} is a user or a room: only operators list them"),
                    format!("write @{word} for a user, room:{word} for a room"),
                ));
            }
            Err(error) => return Err(error.into()),
        };
        match (user, self.room(word).await?) {
            (Some(_), Some(_)) => Err(CommandError::usage(
                format!("{word} is a user and a room"),
                format!("write @{word} for the user, room:{word} for the room"),
            )),
            (Some(found), None) | (None, Some(found)) => Ok(found),
            (None, None) => Err(missing(
                &format!("there is no user and no room {word}"),
                ErrorReason::UserNotFound,
            )),
        }
    }

    async fn user(&self, name: &str) -> Result<Subject, Error> {
        let user = preview::find_user(self.operator, name).await?;
        Ok(Subject::User {
            id: user.id,
            name: user.name,
        })
    }

    /// The room with this id, or else the only one with this name.
    async fn room(&mut self, typed: &str) -> Result<Option<Subject>, CommandError> {
        if self.rooms.is_none() {
            let request = |page_token| ListRoomsRequest {
                page_size: PAGE,
                page_token,
                ..ListRoomsRequest::default()
            };
            let rooms = self.operator.all_pages(request, |page| (page.rooms, page.next_page_token));
            self.rooms = Some(rooms.await?);
        }
        pick(self.rooms.as_deref().unwrap_or_default(), typed)
    }
}

fn pick(rooms: &[AdminRoom], typed: &str) -> Result<Option<Subject>, CommandError> {
    let all = || rooms.iter().filter_map(|state| Some((state, state.room.as_ref()?)));
    if let Some((state, room)) = all().find(|(_, room)| room.id == typed) {
        return Ok(Some(of(state, room)));
    }
    let is_called = |room: &Room| !room.name.is_empty() && room.name.to_lowercase() == typed.to_lowercase();
    let called: Vec<_> = all().filter(|(_, room)| is_called(room)).collect();
    match called[..] {
        [] => Ok(None),
        [(state, room)] => Ok(Some(of(state, room))),
        [..] => {
            let one = |(_, room): &(&AdminRoom, &Room)| format!("room:{} ({})", room.id, kind_name(room.kind()));
            let mut ids: Vec<_> = called.iter().take(LISTED).map(one).collect();
            if called.len() > LISTED {
                ids.push("…".to_owned());
            }
            Err(CommandError::usage(
                format!("{} rooms are called {typed}: {}", called.len(), ids.join(", ")),
                "name one of them by its id; `greffe-admin rooms` says more about each",
            ))
        }
    }
}

fn of(state: &AdminRoom, room: &Room) -> Subject {
    let name = if room.kind() == RoomKind::Direct {
        format!("the direct room of {}", state.direct_user_names.join(" and "))
    } else {
        room.name.clone()
    };
    Subject::Room {
        id: room.id.clone(),
        name,
    }
}

fn missing(message: &str, reason: ErrorReason) -> CommandError {
    let reason = super::log::entry::reason_name(reason);
    CommandError::Server(Error {
        code: Code::NotFound,
        reason: reason.to_owned(),
        message: message.to_owned(),
        metadata: std::collections::BTreeMap::new(),
        retry_after: None,
    })
}

/// The subjects of a scope in a few words, for people: `@bob #general`.
pub(crate) fn words(users: &[NamedSubject], rooms: &[NamedSubject]) -> String {
    let user = |user: &NamedSubject| match user.name.as_str() {
        "" => format!("@{}", user.id),
        name => format!("@{name}"),
    };
    let room = |room: &NamedSubject| match room.name.as_str() {
        "" => format!("room:{}", room.id),
        name => format!("#{name}"),
    };
    let words: Vec<String> = users.iter().map(user).chain(rooms.iter().map(room)).collect();
    words.join(" ")
}

/// The subjects of a scope for programs.
pub(crate) fn objects(users: &[NamedSubject], rooms: &[NamedSubject]) -> Value {
    let of_kind = |kind: &'static str| move |subject: &NamedSubject| object(kind, subject);
    users
        .iter()
        .map(of_kind("user"))
        .chain(rooms.iter().map(of_kind("room")))
        .collect()
}

/// A subject for programs.
pub(crate) fn object(kind: &str, subject: &NamedSubject) -> Value {
    let name = (!subject.name.is_empty()).then_some(&subject.name);
    json!({"kind": kind, "id": subject.id, "name": name})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(id: &str, name: &str, kind: RoomKind) -> AdminRoom {
        AdminRoom {
            room: Some(Room {
                id: id.into(),
                name: name.into(),
                kind: kind.into(),
                ..Room::default()
            }),
            direct_user_names: vec!["bob".into(), "eve".into()],
            ..AdminRoom::default()
        }
    }

    #[test]
    fn a_room_is_found_by_its_id_or_by_a_name_that_no_other_has() {
        let rooms = [
            room("r1", "Plans", RoomKind::Public),
            room("r2", "secret", RoomKind::Private),
            room("r3", "secret", RoomKind::Private),
            room("r4", "", RoomKind::Direct),
            room("r5", "r1", RoomKind::Private),
        ];
        let found = |typed: &str| {
            pick(&rooms, typed).map(|found| match found {
                Some(Subject::Room { id, .. }) => id,
                _ => String::new(),
            })
        };
        for (typed, id) in [
            ("r1", "r1"),
            ("plans", "r1"),
            ("R1", "r5"),
            ("r4", "r4"),
            ("", ""),
            ("nothing", ""),
        ] {
            assert!(found(typed).is_ok_and(|found| found == id), "{typed}");
        }
        let several = found("Secret").map_err(|error| error.to_string());
        assert_eq!(
            several,
            Err("2 rooms are called Secret: room:r2 (private), room:r3 (private)".to_owned())
        );
        let direct = pick(&rooms, "r4");
        let expected = Subject::Room {
            id: "r4".into(),
            name: "the direct room of bob and eve".into(),
        };
        assert!(direct.is_ok_and(|found| found == Some(expected)));
    }

    #[test]
    fn subjects_are_shown_as_they_are_typed() {
        let named = |id: &str, name: &str| NamedSubject {
            id: id.into(),
            name: name.into(),
        };
        let users = [named("u1", "bob"), named("u2", "")];
        let rooms = [named("r1", "general"), named("r2", "")];
        assert_eq!(words(&users, &rooms), "@bob @u2 #general room:r2");
        assert_eq!(
            objects(&users, &rooms)[3],
            json!({"kind": "room", "id": "r2", "name": null})
        );
    }
}
