//! Rooms and who is in them: the rules of `room_service.proto`.

use v1::MemberRole::{Invited, Member, Moderator, Owner, Unspecified};
use v1::{HistoryVisibility, RoomKind};

use crate::support::stream::{head, seqs};
use crate::support::user::room_id;
use crate::support::{ErrorReason, Server, User, refused, request_id, v1};

/// Names of the members with their roles, in the order of the list.
async fn roles(user: &User, room: &str) -> Vec<(String, v1::MemberRole)> {
    let members = user.members(room).await.expect("a member may");
    members
        .into_iter()
        .map(|member| (member.user_name.clone(), member.role()))
        .collect()
}

#[tokio::test]
async fn everyone_is_in_general_and_nobody_joins_leaves_or_changes_it() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let general = server.general().await;
    let state = alice.room(&general).await.unwrap();
    let room = state.room.clone().unwrap();
    assert_eq!(
        (room.kind(), room.name.as_str(), state.my_role()),
        (RoomKind::General, "general", Member)
    );
    assert_eq!(room.member_count, 2);
    assert_eq!(alice.room_named("general").await.unwrap(), state);
    alice.send(&general, "hello all").await.unwrap();
    assert_eq!(bob.messages(&general).await.unwrap()[0].text, "hello all");
    assert_eq!(
        roles(&bob, &general).await,
        [("alice".into(), Member), ("bob".into(), Member)]
    );

    let wrong_kind = ErrorReason::NotInThisKindOfRoom;
    refused(bob.leave(&general).await, wrong_kind);
    refused(bob.rename(&general, "ours").await, wrong_kind);
    refused(bob.archive(&general).await, wrong_kind);
    refused(bob.remove(&general, &alice).await, wrong_kind);
    refused(bob.set_role(&general, &alice, Owner).await, wrong_kind);
    refused(bob.invite(&general, &alice).await, wrong_kind);
    refused(bob.join(&general).await, ErrorReason::AlreadyAMember);
}

#[tokio::test]
async fn a_public_room_is_found_and_joined_by_anyone_and_read_from_the_start() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.public_room("tea").await;
    alice.send(&room, "before bob").await.unwrap();

    let found = bob.room_named("tea").await.unwrap();
    assert_eq!(found.my_role(), Unspecified);
    assert_eq!((found.head_seq, found.unread_count), (0, 0), "counts are for members");
    assert!(bob.public_rooms().await.iter().any(|state| room_id(state) == room));
    assert!(!bob.my_rooms().await.iter().any(|state| room_id(state) == room));
    refused(bob.messages(&room).await, ErrorReason::NotAMember);

    let joined = bob.join(&room).await.unwrap();
    let state = joined.room.unwrap();
    assert_eq!((state.my_role(), state.first_seq), (Member, 1));
    assert_eq!(state.room.unwrap().history(), HistoryVisibility::FromStart);
    refused(bob.join(&room).await, ErrorReason::AlreadyAMember);
    assert_eq!(bob.messages(&room).await.unwrap()[0].text, "before bob");
    let events = bob.events_after(&room, 0).await.unwrap();
    assert_eq!(seqs(&events, &room), [1, 2, 3]);
    assert_eq!(head(&events[0]).kind(), v1::EventKind::RoomCreated);
    assert_eq!(head(&events[2]).kind(), v1::EventKind::MemberJoined);
    assert_eq!(head(&events[2]).subject_id, bob.id);
}

#[tokio::test]
async fn room_names_have_a_form_and_public_ones_are_unique_whatever_the_case() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    alice.public_room("Tea").await;
    refused(bob.create(RoomKind::Public, "tEA").await, ErrorReason::RoomNameTaken);
    refused(
        bob.create(RoomKind::Public, "General").await,
        ErrorReason::RoomNameTaken,
    );
    bob.create(RoomKind::Private, "tea").await.unwrap();
    alice.create(RoomKind::Private, "tea").await.unwrap();
    let too_long = "x".repeat(65);
    for name in [
        "",
        " tea",
        "tea ",
        "@tea",
        "#tea",
        "t\u{202e}ea",
        "t\nea",
        "t\0ea",
        "t\u{200b}ea",
        &too_long,
    ] {
        for kind in [RoomKind::Public, RoomKind::Private] {
            refused(bob.create(kind, name).await, ErrorReason::InvalidField);
        }
    }
    for kind in [RoomKind::Unspecified, RoomKind::General, RoomKind::Direct] {
        refused(bob.create(kind, "other").await, ErrorReason::InvalidField);
    }
    bob.create(RoomKind::Public, &"é".repeat(64)).await.unwrap();
    let request = v1::CreateRoomRequest {
        request_id: request_id(),
        kind: RoomKind::Public.into(),
        name: "topical".into(),
        topic: "x".repeat(257),
        ..v1::CreateRoomRequest::default()
    };
    refused(bob.create_room(request).await, ErrorReason::InvalidField);
}

#[tokio::test]
async fn creating_a_room_is_its_first_event_and_repeats_safely() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let request = v1::CreateRoomRequest {
        request_id: request_id(),
        kind: RoomKind::Public.into(),
        name: "tea".into(),
        topic: "leaves".into(),
        history: HistoryVisibility::FromJoining.into(),
    };
    let first = alice.create_room(request.clone()).await.unwrap();
    let again = alice.create_room(request.clone()).await.unwrap();
    let receipt = first.receipt.unwrap();
    assert_eq!(again.receipt.unwrap(), receipt);
    assert_eq!(receipt.seq, 1);
    assert_eq!(receipt.leaf_hash.len(), 32);
    let state = first.room.unwrap();
    let room = state.room.clone().unwrap();
    assert_eq!(
        (room.topic.as_str(), room.history(), state.my_role()),
        ("leaves", HistoryVisibility::FromJoining, Owner)
    );
    assert_eq!((room.member_count, state.head_seq, state.first_seq), (1, 1, 1));
    let other = v1::CreateRoomRequest {
        name: "coffee".into(),
        ..request
    };
    refused(alice.create_room(other).await, ErrorReason::RequestIdReused);
    assert_eq!(alice.public_rooms().await.len(), 2, "general and one");
}

#[tokio::test]
async fn a_private_room_is_joined_by_invitation_and_read_from_joining() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room("den").await;
    alice.send(&room, "before bob").await.unwrap();
    refused(bob.join(&room).await, ErrorReason::RoomNotFound);

    alice.invite(&room, &bob).await.unwrap();
    refused(alice.invite(&room, &bob).await, ErrorReason::AlreadyInvited);
    let invitation = bob.room(&room).await.unwrap();
    assert_eq!(
        (invitation.my_role(), invitation.head_seq, invitation.first_seq),
        (Invited, 0, 0)
    );
    assert!(bob.my_rooms().await.iter().any(|state| room_id(state) == room));
    let not_yet = bob.messages(&room).await.unwrap_err();
    assert!(
        matches!(not_yet.reason, ErrorReason::NotAMember | ErrorReason::RoomNotFound),
        "{not_yet:?}"
    );

    let joined = bob.join(&room).await.unwrap();
    let first = joined.receipt.unwrap().seq;
    assert_eq!(joined.room.unwrap().first_seq, first);
    refused(alice.invite(&room, &bob).await, ErrorReason::AlreadyAMember);
    alice.send(&room, "after bob").await.unwrap();
    let texts: Vec<String> = bob
        .messages(&room)
        .await
        .unwrap()
        .into_iter()
        .map(|message| message.text)
        .collect();
    assert_eq!(texts, ["after bob"]);
    assert_eq!(
        seqs(&bob.events_after(&room, 0).await.unwrap(), &room),
        [first, first + 1]
    );
    refused(
        bob.reply(&room, 2, "to what I may not read").await,
        ErrorReason::MessageNotFound,
    );
    refused(bob.react(&room, 2, "👍").await, ErrorReason::MessageNotFound);
    crate::support::eventually("the search index", || async {
        (alice.search("before").await.unwrap().len() == 1).then_some(())
    })
    .await;
    assert_eq!(bob.search("before").await.unwrap(), []);
}

#[tokio::test]
async fn an_invitation_can_be_declined_and_taken_back() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room("den").await;
    alice.invite(&room, &bob).await.unwrap();
    bob.leave(&room).await.unwrap();
    refused(bob.join(&room).await, ErrorReason::RoomNotFound);
    alice.invite(&room, &bob).await.unwrap();
    alice.remove(&room, &bob).await.unwrap();
    refused(bob.join(&room).await, ErrorReason::RoomNotFound);
    refused(bob.room(&room).await, ErrorReason::RoomNotFound);
    refused(alice.remove(&room, &bob).await, ErrorReason::MemberNotFound);
    refused(alice.invite_id(&room, "nobody").await, ErrorReason::UserNotFound);
}

#[tokio::test]
async fn who_was_removed_comes_back_only_by_a_moderators_invitation() {
    let server = Server::start(&[]).await;
    let (alice, bob, carol) = (
        server.user("alice").await,
        server.user("bob").await,
        server.user("carol").await,
    );
    let room = alice.public_room("tea").await;
    bob.join(&room).await.unwrap();
    carol.join(&room).await.unwrap();
    alice.remove(&room, &bob).await.unwrap();
    refused(bob.join(&room).await, ErrorReason::InvitationRequired);
    refused(carol.invite(&room, &bob).await, ErrorReason::RoleTooLow);
    refused(bob.messages(&room).await, ErrorReason::NotAMember);
    alice.set_role(&room, &carol, Moderator).await.unwrap();
    carol.invite(&room, &bob).await.unwrap();
    bob.join(&room).await.unwrap();
    bob.send(&room, "back").await.unwrap();
    // Leaving by oneself is no removal.
    bob.leave(&room).await.unwrap();
    bob.join(&room).await.unwrap();
}

#[tokio::test]
async fn who_comes_back_to_a_private_room_reads_from_the_newest_joining() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("den", &[&bob]).await;
    alice.send(&room, "first stay").await.unwrap();
    alice.remove(&room, &bob).await.unwrap();
    alice.send(&room, "while away").await.unwrap();
    alice.invite(&room, &bob).await.unwrap();
    let first = bob.join(&room).await.unwrap().receipt.unwrap().seq;
    alice.send(&room, "second stay").await.unwrap();
    let texts: Vec<String> = bob
        .messages(&room)
        .await
        .unwrap()
        .into_iter()
        .map(|message| message.text)
        .collect();
    assert_eq!(texts, ["second stay"]);
    assert_eq!(
        seqs(&bob.events_after(&room, 0).await.unwrap(), &room),
        [first, first + 1]
    );
}

#[tokio::test]
async fn each_role_may_do_what_its_comment_says() {
    let server = Server::start(&[]).await;
    let owner = server.user("owner").await;
    let (moderator, member, victim) = (
        server.user("mod").await,
        server.user("member").await,
        server.user("victim").await,
    );
    let outsider = server.user("outsider").await;
    let room = owner.private_room_with("den", &[&moderator, &member, &victim]).await;
    let low = ErrorReason::RoleTooLow;
    refused(member.set_role(&room, &moderator, Moderator).await, low);
    owner.set_role(&room, &moderator, Moderator).await.unwrap();
    assert_eq!(
        roles(&member, &room).await,
        [
            ("member".into(), Member),
            ("mod".into(), Moderator),
            ("owner".into(), Owner),
            ("victim".into(), Member)
        ]
    );

    refused(member.rename(&room, "new").await, low);
    refused(member.set_topic(&room, "new").await, low);
    refused(member.archive(&room).await, low);
    refused(member.invite(&room, &outsider).await, low);
    refused(member.remove(&room, &victim).await, low);
    let seq = victim.send(&room, "mine").await.unwrap().seq;
    refused(member.delete(&room, seq).await, low);
    refused(moderator.edit(&room, seq, "not yours").await, ErrorReason::NotTheAuthor);

    moderator.set_topic(&room, "new").await.unwrap();
    refused(moderator.rename(&room, "new").await, low);
    refused(moderator.archive(&room).await, low);
    refused(moderator.remove(&room, &owner).await, low);
    refused(moderator.set_role(&room, &member, Moderator).await, low);
    refused(moderator.set_role(&room, &moderator, Owner).await, low);
    moderator.delete(&room, seq).await.unwrap();
    moderator.invite(&room, &outsider).await.unwrap();
    moderator.remove(&room, &victim).await.unwrap();
    assert_eq!(
        roles(&member, &room).await.last().unwrap(),
        &("outsider".to_owned(), Invited)
    );

    owner.rename(&room, "renamed").await.unwrap();
    for role in [Unspecified, Invited] {
        refused(owner.set_role(&room, &member, role).await, ErrorReason::InvalidField);
    }
    refused(
        owner.set_role(&room, &victim, Member).await,
        ErrorReason::MemberNotFound,
    );
    refused(owner.remove(&room, &owner).await, ErrorReason::InvalidField);
    owner.set_role(&room, &member, Owner).await.unwrap();
    member.remove(&room, &owner).await.unwrap();
    refused(owner.room(&room).await, ErrorReason::RoomNotFound);
}

#[tokio::test]
async fn the_last_owner_passes_the_role_on_before_going() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("den", &[&bob]).await;
    refused(alice.leave(&room).await, ErrorReason::LastOwner);
    refused(alice.set_role(&room, &alice, Member).await, ErrorReason::LastOwner);
    alice.set_role(&room, &bob, Owner).await.unwrap();
    alice.set_role(&room, &alice, Member).await.unwrap();
    alice.leave(&room).await.unwrap();
    refused(alice.room(&room).await, ErrorReason::RoomNotFound);
    // Alone, the last owner may go.
    bob.leave(&room).await.unwrap();
}

#[tokio::test]
async fn a_direct_room_is_one_for_its_two_people_and_stays() {
    let server = Server::start(&[]).await;
    let (alice, bob, carol) = (
        server.user("alice").await,
        server.user("bob").await,
        server.user("carol").await,
    );
    let opened = alice.open_direct(&bob).await.unwrap();
    let state = opened.room.unwrap();
    let room = room_id(&state);
    let details = state.room.clone().unwrap();
    assert_eq!(
        (details.kind(), details.name.as_str(), details.member_count),
        (RoomKind::Direct, "", 2)
    );
    let mut people = details.direct_user_ids;
    people.sort();
    let mut expected = vec![alice.id.clone(), bob.id.clone()];
    expected.sort();
    assert_eq!(people, expected);

    let again = bob.open_direct(&alice).await.unwrap();
    assert_eq!(room_id(&again.room.unwrap()), room);
    assert_eq!(again.receipt, opened.receipt, "whoever created it and whenever");
    bob.send(&room, "psst").await.unwrap();
    assert_eq!(alice.messages(&room).await.unwrap()[0].text, "psst");

    let wrong_kind = ErrorReason::NotInThisKindOfRoom;
    refused(alice.leave(&room).await, wrong_kind);
    refused(alice.rename(&room, "us").await, wrong_kind);
    refused(alice.archive(&room).await, wrong_kind);
    refused(alice.invite(&room, &carol).await, wrong_kind);
    refused(alice.remove(&room, &bob).await, wrong_kind);
    refused(alice.set_role(&room, &bob, Owner).await, wrong_kind);
    refused(carol.room(&room).await, ErrorReason::RoomNotFound);
    refused(carol.join(&room).await, ErrorReason::RoomNotFound);
    refused(alice.open_direct(&alice).await, ErrorReason::InvalidField);
    refused(alice.open_direct_id("nobody").await, ErrorReason::UserNotFound);
}

#[tokio::test]
async fn two_people_opening_a_direct_room_at_once_get_the_same_one() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let mut openings = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (from, to) = if number % 2 == 0 {
            (&alice, &bob)
        } else {
            (&bob, &alice)
        };
        let (from, to) = (from.clone(), to.clone());
        openings.spawn(async move { from.direct_room(&to).await });
    }
    let rooms: std::collections::HashSet<String> = openings.join_all().await.into_iter().collect();
    assert_eq!(rooms.len(), 1);
}

#[tokio::test]
async fn an_archived_room_can_only_be_read_and_frees_its_name() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.public_room("tea").await;
    bob.join(&room).await.unwrap();
    let seq = bob.send(&room, "last words").await.unwrap().seq;
    alice.archive(&room).await.unwrap();

    let archived = ErrorReason::RoomArchived;
    refused(bob.send(&room, "more").await, archived);
    refused(bob.edit(&room, seq, "other").await, archived);
    refused(bob.delete(&room, seq).await, archived);
    refused(bob.react(&room, seq, "👍").await, archived);
    refused(alice.rename(&room, "other").await, archived);
    refused(alice.archive(&room).await, archived);
    assert_eq!(bob.messages(&room).await.unwrap()[0].text, "last words");
    assert!(bob.room(&room).await.unwrap().room.unwrap().archived_at.is_some());
    let last = bob.events_after(&room, 0).await.unwrap().pop().unwrap();
    assert_eq!(head(&last).kind(), v1::EventKind::RoomArchived);

    let listed = |rooms: Vec<v1::RoomState>| rooms.iter().any(|state| room_id(state) == room);
    assert!(!listed(bob.my_rooms().await));
    assert!(!listed(bob.public_rooms().await));
    let all = v1::ListRoomsRequest {
        include_archived: true,
        ..v1::ListRoomsRequest::default()
    };
    assert!(listed(bob.list_rooms(all).await.unwrap().rooms));
    let carol = server.user("carol").await;
    refused(carol.join(&room).await, archived);
    let successor = bob.public_room("tea").await;
    assert_ne!(successor, room);
    bob.leave(&room).await.unwrap();
}

#[tokio::test]
async fn names_and_topics_change_in_the_named_fields_only() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.public_room("tea").await;
    alice.public_room("coffee").await;
    bob.join(&room).await.unwrap();
    refused(alice.rename(&room, "Coffee").await, ErrorReason::RoomNameTaken);
    let renamed = alice.rename(&room, "Tea").await.unwrap();
    assert_eq!(
        renamed.room.unwrap().room.unwrap().name,
        "Tea",
        "its own name in another case"
    );
    alice.set_topic(&room, "leaves").await.unwrap();
    let details = bob.room(&room).await.unwrap().room.unwrap();
    assert_eq!((details.name.as_str(), details.topic.as_str()), ("Tea", "leaves"));
    for paths in [vec![], vec!["kind"], vec!["name", "history"]] {
        let request = v1::UpdateRoomRequest {
            request_id: request_id(),
            room: Some(v1::Room {
                id: room.clone(),
                name: "x".into(),
                ..v1::Room::default()
            }),
            update_mask: Some(prost_types::FieldMask {
                paths: paths.iter().map(ToString::to_string).collect(),
            }),
        };
        refused(alice.update_room(request).await, ErrorReason::InvalidField);
    }
    alice.rename(&room, "chai").await.unwrap();
    alice.public_room("tea").await;
}

#[tokio::test]
async fn rooms_are_listed_page_by_page_oldest_first() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let mut expected = vec![server.general().await];
    for number in 0..5 {
        expected.push(alice.public_room(&format!("room {number}")).await);
    }
    let mut listed = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListRoomsRequest {
            page_size: 2,
            page_token: page_token.clone(),
            filter: v1::RoomFilter::Public.into(),
            include_archived: false,
        };
        let page = bob.list_rooms(request).await.unwrap();
        listed.extend(page.rooms.iter().map(room_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
        let other_filter = v1::ListRoomsRequest {
            page_token: page_token.clone(),
            ..v1::ListRoomsRequest::default()
        };
        refused(bob.list_rooms(other_filter).await, ErrorReason::InvalidPageToken);
    }
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn rooms_survive_a_restart_as_they_were() {
    let mut server = Server::start(&[]).await;
    let (alice, bob, carol) = (
        server.user("alice").await,
        server.user("bob").await,
        server.user("carol").await,
    );
    let room = alice.private_room_with("den", &[&bob, &carol]).await;
    alice.set_role(&room, &bob, Moderator).await.unwrap();
    alice.set_topic(&room, "leaves").await.unwrap();
    alice.remove(&room, &carol).await.unwrap();
    let public = alice.public_room("tea").await;
    carol.join(&public).await.unwrap();
    alice.remove(&public, &carol).await.unwrap();
    bob.mark_read(&room, 3).await.unwrap();
    let before = (bob.room(&room).await.unwrap(), roles(&bob, &room).await);
    server.restart().await;
    let (bob, carol) = (bob.over(server.channel().await), carol.over(server.channel().await));
    assert_eq!((bob.room(&room).await.unwrap(), roles(&bob, &room).await), before);
    refused(carol.room(&room).await, ErrorReason::RoomNotFound);
    refused(carol.join(&public).await, ErrorReason::InvitationRequired);
}
