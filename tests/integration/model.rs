//! Random changes of rooms by random people, against a small model of the rules in `room_service.proto`.

use std::collections::{BTreeSet, HashMap};

use v1::MemberRole::{self, Invited, Member, Moderator, Owner};
use v1::RoomKind;

use crate::support::{ErrorReason, Refusal, Server, User, setting, v1};

/// What the model knows of one room. People are numbers.
struct Room {
    id: String,
    kind: RoomKind,
    archived: bool,
    members: HashMap<usize, MemberRole>,
    invited: BTreeSet<usize>,
    /// Who was removed, and comes back only by invitation.
    removed: BTreeSet<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Join,
    Leave,
    Invite(usize),
    Remove(usize),
    SetRole(usize, MemberRole),
    SetTopic,
    Rename,
    Archive,
    Send,
}

impl Room {
    fn role(&self, person: usize) -> Option<MemberRole> {
        self.members.get(&person).copied()
    }

    fn at_least(&self, person: usize, role: MemberRole) -> bool {
        self.role(person).is_some_and(|own| own >= role)
    }

    fn last_owner(&self, person: usize) -> bool {
        let owners = self.members.values().filter(|role| **role == Owner).count();
        self.role(person) == Some(Owner) && owners == 1
    }

    /// All reasons for which an act may be refused; none if it must be allowed.
    fn reasons(&self, person: usize, act: Act) -> Vec<ErrorReason> {
        let public = self.kind == RoomKind::Public;
        let invited = self.invited.contains(&person);
        if let Act::Join = act {
            return match self.role(person) {
                Some(_) => vec![ErrorReason::AlreadyAMember],
                None if !public && !invited => vec![ErrorReason::RoomNotFound],
                None if self.archived => vec![ErrorReason::RoomArchived, ErrorReason::InvitationRequired],
                None if self.removed.contains(&person) && !invited => vec![ErrorReason::InvitationRequired],
                None => vec![],
            };
        }
        if self.role(person).is_none() {
            return match act {
                Act::Leave if invited => vec![],
                _ if public => vec![ErrorReason::NotAMember],
                _ if invited => vec![ErrorReason::NotAMember, ErrorReason::RoomNotFound],
                _ => vec![ErrorReason::RoomNotFound],
            };
        }
        let mut reasons = Vec::new();
        let mut refuse = |when: bool, reason: ErrorReason| {
            if when {
                reasons.push(reason);
            }
        };
        match act {
            Act::Join => {}
            Act::Leave => refuse(
                self.last_owner(person) && self.members.len() > 1,
                ErrorReason::LastOwner,
            ),
            Act::Invite(whom) => {
                let anyone = public && !self.removed.contains(&whom);
                refuse(!anyone && !self.at_least(person, Moderator), ErrorReason::RoleTooLow);
                refuse(self.role(whom).is_some(), ErrorReason::AlreadyAMember);
                refuse(self.invited.contains(&whom), ErrorReason::AlreadyInvited);
                refuse(self.archived, ErrorReason::RoomArchived);
            }
            Act::Remove(whom) => {
                let known = self.role(whom).is_some() || self.invited.contains(&whom);
                refuse(!known, ErrorReason::MemberNotFound);
                let moderates = self.at_least(person, Moderator) && self.role(whom).is_none_or(|role| role == Member);
                let owns = self.at_least(person, Owner) && person != whom;
                refuse(!moderates && !owns, ErrorReason::RoleTooLow);
                refuse(person == whom, ErrorReason::InvalidField);
            }
            Act::SetRole(whom, role) => {
                refuse(!self.at_least(person, Owner), ErrorReason::RoleTooLow);
                refuse(self.role(whom).is_none(), ErrorReason::MemberNotFound);
                refuse(self.last_owner(whom) && role != Owner, ErrorReason::LastOwner);
            }
            Act::SetTopic => {
                refuse(!self.at_least(person, Moderator), ErrorReason::RoleTooLow);
                refuse(self.archived, ErrorReason::RoomArchived);
            }
            Act::Rename | Act::Archive => {
                refuse(!self.at_least(person, Owner), ErrorReason::RoleTooLow);
                refuse(self.archived, ErrorReason::RoomArchived);
            }
            Act::Send => refuse(self.archived, ErrorReason::RoomArchived),
        }
        reasons
    }

    /// Makes an allowed act's change.
    fn apply(&mut self, person: usize, act: Act) {
        match act {
            Act::Join => {
                self.invited.remove(&person);
                self.removed.remove(&person);
                self.members.insert(person, Member);
            }
            Act::Leave => {
                self.invited.remove(&person);
                self.members.remove(&person);
            }
            Act::Invite(whom) => drop(self.invited.insert(whom)),
            Act::Remove(whom) => {
                self.invited.remove(&whom);
                if self.members.remove(&whom).is_some() {
                    self.removed.insert(whom);
                }
            }
            Act::SetRole(whom, role) => drop(self.members.insert(whom, role)),
            Act::Archive => self.archived = true,
            Act::SetTopic | Act::Rename | Act::Send => {}
        }
    }
}

/// Does an act for real.
async fn perform(people: &[User], person: usize, room: &str, act: Act, step: u64) -> Result<(), Refusal> {
    let user = &people[person];
    match act {
        Act::Join => user.join(room).await.map(drop),
        Act::Leave => user.leave(room).await.map(drop),
        Act::Invite(whom) => user.invite(room, &people[whom]).await.map(drop),
        Act::Remove(whom) => user.remove(room, &people[whom]).await.map(drop),
        Act::SetRole(whom, role) => user.set_role(room, &people[whom], role).await,
        Act::SetTopic => user.set_topic(room, &format!("topic {step}")).await.map(drop),
        Act::Rename => user.rename(room, &format!("name {step}")).await.map(drop),
        Act::Archive => user.archive(room).await.map(drop),
        Act::Send => user.send(room, &format!("message {step}")).await.map(drop),
    }
}

fn random(end: usize) -> usize {
    usize::try_from(uuid::Uuid::new_v4().as_u128() % end as u128).expect("below a usize")
}

/// An act that is a little likelier to be allowed than one by chance.
fn choose(people: usize) -> Act {
    let whom = random(people);
    match random(40) {
        0..=8 => Act::Join,
        9..=11 => Act::Leave,
        12..=19 => Act::Invite(whom),
        20..=25 => Act::Remove(whom),
        26..=31 => Act::SetRole(whom, [Member, Moderator, Owner][random(3)]),
        32..=33 => Act::SetTopic,
        34 => Act::Rename,
        35 if random(4) == 0 => Act::Archive,
        _ => Act::Send,
    }
}

#[tokio::test]
async fn random_changes_of_rooms_are_allowed_and_refused_as_the_rules_say() {
    let steps = setting("GREFFE_TEST_STEPS", 600);
    let mut server = Server::start(&[]).await;
    let mut people = server.users("person", 5).await;
    let mut rooms = Vec::new();
    let mut history = Vec::new();
    for step in 0..steps {
        if step % 200 == 0 {
            for kind in [RoomKind::Public, RoomKind::Private] {
                let state = people[0].create(kind, &format!("room {step} {kind:?}")).await.unwrap();
                rooms.push(Room {
                    id: crate::support::user::room_id(&state),
                    kind,
                    archived: false,
                    members: HashMap::from([(0, Owner)]),
                    invited: BTreeSet::new(),
                    removed: BTreeSet::new(),
                });
            }
        }
        let (person, act, number) = (random(people.len()), choose(people.len()), random(rooms.len()));
        let room = &mut rooms[number];
        // A room that its last member leaves is left to itself.
        if matches!(act, Act::Leave) && room.members.len() == 1 && room.members.contains_key(&person) {
            continue;
        }
        let reasons = room.reasons(person, act);
        let result = perform(&people, person, &room.id, act, step).await;
        history.push(format!(
            "room {number} ({:?}): {person} {act:?}: {:?}",
            room.kind,
            result.as_ref().err().map(|it| it.reason)
        ));
        match &result {
            Ok(()) => {
                assert!(reasons.is_empty(), "allowed in spite of {reasons:?}: {history:#?}");
                room.apply(person, act);
            }
            Err(refusal) => {
                assert!(
                    reasons.contains(&refusal.reason),
                    "{refusal:?} where {reasons:?}: {history:#?}"
                );
            }
        }
        if step == steps / 2 {
            server.restart().await;
            for person in &mut people {
                *person = person.over(server.channel().await);
            }
        }
    }
    for room in &rooms {
        let insider = room.members.keys().next().expect("a room keeps a member");
        let listed = people[*insider].members(&room.id).await.unwrap();
        let listed: HashMap<String, MemberRole> = listed
            .into_iter()
            .map(|member| (member.user_id.clone(), member.role()))
            .collect();
        let mut expected: HashMap<String, MemberRole> = room
            .members
            .iter()
            .map(|(person, role)| (people[*person].id.clone(), *role))
            .collect();
        expected.extend(room.invited.iter().map(|person| (people[*person].id.clone(), Invited)));
        assert_eq!(listed, expected, "{history:#?}");
    }
    crate::journal::agrees(&mut server, &[]).await;
}
