//! Strangers, ex-members and people removed a moment ago: every call and every stream refuses them, and says no more than it may.

use v1::chat_request::Action;

use crate::journal::end_of_session;
use crate::support::load::Ledger;
use crate::support::stream::{head, resume};
use crate::support::user::message;
use crate::support::{
    ErrorReason, Kind, PASSWORD, Refusal, Server, Stream, User, eventually, refused, request_id, v1, within,
};

/// Makes every call about `room` as `user`, and gives each answer's refusal under the call's name.
async fn every_call(user: &User, room: &str, other: &User) -> Vec<(&'static str, Option<Refusal>)> {
    fn refusal<T>(result: Result<T, Refusal>) -> Option<Refusal> {
        result.err()
    }
    let list = v1::ListEventsRequest {
        room_id: room.to_owned(),
        ..v1::ListEventsRequest::default()
    };
    let find = v1::SearchMessagesRequest {
        query: "secret".into(),
        room_id: room.to_owned(),
        ..v1::SearchMessagesRequest::default()
    };
    vec![
        ("SendMessage", refusal(user.send(room, "let me in").await)),
        ("SendMessage, a reply", refusal(user.reply(room, 2, "let me in").await)),
        ("EditMessage", refusal(user.edit(room, 2, "let me in").await)),
        ("DeleteMessage", refusal(user.delete(room, 2).await)),
        ("AddReaction", refusal(user.react(room, 2, "👍").await)),
        ("RemoveReaction", refusal(user.unreact(room, 2, "👍").await)),
        ("MarkRead", refusal(user.mark_read(room, 1).await)),
        ("SetTyping", refusal(user.set_typing(room, true).await)),
        ("ListEvents", refusal(user.list_events(list).await)),
        ("ListMessages", refusal(user.messages(room).await)),
        ("SearchMessages", refusal(user.search_page(find).await)),
        ("UpdateRoom, name", refusal(user.rename(room, "ours").await)),
        ("UpdateRoom, topic", refusal(user.set_topic(room, "ours").await)),
        ("ArchiveRoom", refusal(user.archive(room).await)),
        ("LeaveRoom", refusal(user.leave(room).await)),
        ("InviteMember", refusal(user.invite(room, other).await)),
        ("InviteMember, oneself", refusal(user.invite(room, user).await)),
        ("RemoveMember", refusal(user.remove(room, other).await)),
        (
            "SetMemberRole",
            refusal(user.set_role(room, user, v1::MemberRole::Owner).await),
        ),
        ("ListMembers", refusal(user.members(room).await)),
    ]
}

/// Sends every action about `room` over a stream, and gives the refusals.
async fn every_action(user: &User, room: &str) -> Vec<(&'static str, Option<Refusal>)> {
    let room_id = || room.to_owned();
    let actions = [
        ("send", Action::SendMessage(message(room, "let me in"))),
        (
            "edit",
            Action::EditMessage(v1::EditMessageRequest {
                request_id: request_id(),
                room_id: room_id(),
                seq: 2,
                text: "mine".into(),
            }),
        ),
        (
            "delete",
            Action::DeleteMessage(v1::DeleteMessageRequest {
                request_id: request_id(),
                room_id: room_id(),
                seq: 2,
            }),
        ),
        (
            "react",
            Action::AddReaction(v1::AddReactionRequest {
                request_id: request_id(),
                room_id: room_id(),
                seq: 2,
                emoji: "👍".into(),
            }),
        ),
        (
            "unreact",
            Action::RemoveReaction(v1::RemoveReactionRequest {
                request_id: request_id(),
                room_id: room_id(),
                seq: 2,
                emoji: "👍".into(),
            }),
        ),
        (
            "mark read",
            Action::MarkRead(v1::MarkReadRequest {
                room_id: room_id(),
                seq: 1,
            }),
        ),
        (
            "typing",
            Action::SetTyping(v1::SetTypingRequest {
                room_id: room_id(),
                typing: true,
            }),
        ),
    ];
    let mut stream = user.live().await;
    let mut refusals = Vec::new();
    for (name, action) in actions {
        stream.act(action).await;
        refusals.push((name, stream.next_result().await.1.err()));
    }
    refusals
}

fn all_refused(answers: Vec<(&'static str, Option<Refusal>)>, reason: ErrorReason) {
    for (call, refusal) in answers {
        let refusal = refusal.unwrap_or_else(|| panic!("{call} was allowed"));
        assert_eq!(refusal.reason, reason, "{call}: {refusal:?}");
    }
}

#[tokio::test]
async fn a_private_room_does_not_exist_for_strangers_ex_members_and_the_removed() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let (stranger, left, removed) = (
        server.user("stranger").await,
        server.user("left").await,
        server.user("removed").await,
    );
    let room = alice.private_room_with("den", &[&left, &removed]).await;
    alice.send(&room, "secret").await.unwrap();
    left.leave(&room).await.unwrap();
    alice.remove(&room, &removed).await.unwrap();
    for user in [&stranger, &left, &removed] {
        all_refused(every_call(user, &room, &alice).await, ErrorReason::RoomNotFound);
        all_refused(every_action(user, &room).await, ErrorReason::RoomNotFound);
        refused(user.room(&room).await, ErrorReason::RoomNotFound);
        refused(user.room_named("den").await, ErrorReason::RoomNotFound);
        refused(user.join(&room).await, ErrorReason::RoomNotFound);
        assert!(
            !user
                .public_rooms()
                .await
                .iter()
                .any(|state| crate::support::user::room_id(state) == room)
        );
    }
    // What exists not and what one may not know of are answered in the same words.
    let unknown = uuid_like(&room);
    let (nothing, hidden) = (
        stranger.send(&unknown, "x").await.unwrap_err(),
        stranger.send(&room, "x").await.unwrap_err(),
    );
    assert_eq!(nothing.message.replace(&unknown, ""), hidden.message.replace(&room, ""));
    assert_eq!(nothing.code, hidden.code);
}

/// An id of the same form that names nothing.
fn uuid_like(id: &str) -> String {
    let mut other: String = id.chars().rev().collect();
    if other == id {
        other.push('0');
    }
    other
}

#[tokio::test]
async fn a_direct_room_does_not_exist_for_others() {
    let server = Server::start(&[]).await;
    let (alice, bob, eve) = (
        server.user("alice").await,
        server.user("bob").await,
        server.user("eve").await,
    );
    let room = alice.direct_room(&bob).await;
    alice.send(&room, "secret").await.unwrap();
    all_refused(every_call(&eve, &room, &alice).await, ErrorReason::RoomNotFound);
    all_refused(every_action(&eve, &room).await, ErrorReason::RoomNotFound);
}

#[tokio::test]
async fn a_public_room_says_that_one_has_to_join() {
    let server = Server::start(&[]).await;
    let (alice, stranger, removed) = (
        server.user("alice").await,
        server.user("stranger").await,
        server.user("removed").await,
    );
    let room = alice.public_room("tea").await;
    removed.join(&room).await.unwrap();
    alice.send(&room, "secret").await.unwrap();
    alice.remove(&room, &removed).await.unwrap();
    for user in [&stranger, &removed] {
        all_refused(every_call(user, &room, &alice).await, ErrorReason::NotAMember);
        all_refused(every_action(user, &room).await, ErrorReason::NotAMember);
    }
}

#[tokio::test]
async fn streams_searches_and_lists_are_silent_about_rooms_of_others() {
    let server = Server::start(&[]).await;
    let epoch = server.info().await.epoch;
    let (alice, eve, removed) = (
        server.user("alice").await,
        server.user("eve").await,
        server.user("removed").await,
    );
    let den = alice.private_room_with("den", &[&removed]).await;
    let tea = alice.public_room("tea").await;
    alice.send(&den, "early secret").await.unwrap();
    let mut live = eve.live().await;
    let mut gone = removed.live().await;
    alice.remove(&den, &removed).await.unwrap();
    gone.room_gone(&den).await;
    let mut resumed = removed.chat(resume(&epoch, &den, 0)).await.unwrap();
    resumed.started().await;
    resumed.caught_up().await;
    for room in [&den, &tea] {
        alice.send(room, "secret @eve @removed").await.unwrap();
        alice.set_typing(room, true).await.unwrap();
    }
    let general = server.general().await;
    let last = alice.send(&general, "fence").await.unwrap();
    for stream in [&mut live, &mut gone, &mut resumed] {
        stream.event_at(&general, last.seq).await;
        let seen = format!("{:?}", stream.seen);
        assert!(!seen.contains("secret @"), "{seen}");
        assert!(!seen.contains(&tea), "{seen}");
    }
    let seen = format!("{:?} {:?}", live.seen, resumed.seen.iter().skip(1).collect::<Vec<_>>());
    assert!(!seen.contains("secret"), "{seen}");
    eventually("the search index", || async {
        (alice.search("secret").await.unwrap().len() == 3).then_some(())
    })
    .await;
    for user in [&eve, &removed] {
        assert_eq!(user.search("secret").await.unwrap(), []);
        let everything = v1::ListRoomsRequest {
            include_archived: true,
            ..v1::ListRoomsRequest::default()
        };
        let rooms = format!("{:?}", user.list_rooms(everything).await.unwrap());
        assert!(!rooms.contains(&den) && !rooms.contains(&tea), "{rooms}");
    }
}

#[tokio::test]
async fn an_invited_person_learns_that_the_room_exists_and_nothing_of_what_is_said() {
    let server = Server::start(&[]).await;
    let epoch = server.info().await.epoch;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room("den").await;
    alice.send(&room, "secret").await.unwrap();
    alice.invite(&room, &bob).await.unwrap();
    let mut live = bob.live().await;
    let mut resumed = bob.chat(resume(&epoch, &room, 0)).await.unwrap();
    resumed.started().await;
    resumed.caught_up().await;
    alice.send(&room, "secret @bob").await.unwrap();
    alice.set_typing(&room, true).await.unwrap();
    let general = server.general().await;
    alice.send(&general, "fence").await.unwrap();
    for stream in [&mut live, &mut resumed] {
        stream.message("fence").await;
        assert!(!format!("{:?}", stream.seen).contains("secret"), "{:?}", stream.seen);
        let rooms = stream.events_seen().any(|event| head(event).room_id == room);
        assert!(!rooms, "{:?}", stream.seen);
    }
    let calls = every_call(&bob, &room, &alice).await;
    for (call, refusal) in calls {
        // Leaving is declining, and theirs to do; it comes late in the list.
        if call == "LeaveRoom" {
            assert!(refusal.is_none(), "{refusal:?}");
            break;
        }
        let refusal = refusal.unwrap_or_else(|| panic!("{call} was allowed"));
        assert!(
            matches!(refusal.reason, ErrorReason::NotAMember | ErrorReason::RoomNotFound),
            "{call}: {refusal:?}"
        );
    }
}

#[tokio::test]
async fn presence_is_not_told_to_those_who_share_no_small_room() {
    let server = Server::start(&[("presence_members", 2)]).await;
    let (alice, bob, eve) = (
        server.user("alice").await,
        server.user("bob").await,
        server.user("eve").await,
    );
    // `general` has three people, more than the limit; only the direct room is small enough.
    let room = alice.direct_room(&bob).await;
    let (mut alices, mut eves) = (alice.live().await, eve.live().await);
    let _bobs = bob.live().await;
    alices
        .wait_for("presence", |kind| match kind {
            crate::support::Kind::Presence(presence) => {
                presence.users.iter().any(|it| it.user_id == bob.id && it.online).then_some(())
            }
            _ => None,
        })
        .await;
    bob.send(&room, "hello").await.unwrap();
    let general = server.general().await;
    bob.send(&general, "fence").await.unwrap();
    eves.message("fence").await;
    let told = eves.seen.iter().any(|kind| matches!(kind, Kind::Presence(_)));
    assert!(!told, "{:?}", eves.seen);
}

#[tokio::test]
async fn nothing_reaches_a_session_after_its_end() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("den", &[&bob]).await;
    let phone = server.login("bob").await;
    let mut stream = phone.live().await;
    let receipt = bob.revoke(&phone.session_id).await.unwrap();
    let after = alice.send(&room, "after the end").await.unwrap();
    assert!(after.index > receipt.index);
    stream.ended().await;
    for event in stream.events_seen() {
        assert!(head(event).index <= receipt.index, "{event:?}");
    }
}

/// Reads a stream to its end: why it ended, and the highest index of an event that it brought.
async fn read_out(mut stream: Stream) -> (v1::EndReason, i64) {
    let (reason, status) = stream.ended().await;
    assert_eq!(status.code(), tonic::Code::Unauthenticated, "{status:?}");
    let newest = stream.events_seen().map(|event| head(event).index).max();
    (reason, newest.unwrap_or_default())
}

#[tokio::test]
async fn no_event_after_the_end_of_a_session_reaches_it_not_even_one_of_the_same_commit() {
    let mut server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("den", &[&bob]).await;
    let mut devices = Vec::new();
    let mut readers = Vec::new();
    for _ in 0..9 {
        let device = server.login("bob").await;
        readers.push(tokio::spawn(read_out(device.live().await)));
        devices.push(device);
    }
    let ledger = Ledger::new(&room);
    let mut load = tokio::task::JoinSet::new();
    for _ in 0..3 {
        load.spawn(ledger.clone().load(alice.over(server.channel().await), usize::MAX));
    }
    for (number, device) in devices[..6].iter().enumerate() {
        // Always in the middle of the load.
        let goal = (number + 1) * 100;
        eventually("some load", || async { (ledger.acknowledged() >= goal).then_some(()) }).await;
        if number % 2 == 0 {
            bob.revoke(&device.session_id).await.unwrap();
        } else {
            device.log_out().await.unwrap();
        }
    }
    bob.change_password(PASSWORD, "another owl in the attic").await.unwrap();
    let more = ledger.acknowledged() + 100;
    eventually("some more load", || async {
        (ledger.acknowledged() >= more).then_some(())
    })
    .await;
    load.shutdown().await;
    let mut ends = Vec::new();
    for reader in readers {
        ends.push(within("the end of a stream", reader).await.unwrap());
    }
    assert!(server.terminate().await.success());
    let heads = crate::journal::heads(&server);
    for (number, (device, (reason, newest))) in devices.iter().zip(ends).enumerate() {
        let expected = match number {
            6.. => v1::EndReason::PasswordChanged,
            _ if number % 2 == 0 => v1::EndReason::Revoked,
            _ => v1::EndReason::LoggedOut,
        };
        assert_eq!(reason, expected, "session {number}");
        let end = end_of_session(&heads, &device.session_id);
        assert!(newest < end, "session {number} ended at {end} and was told of {newest}");
    }
}

#[tokio::test]
async fn a_session_that_ends_while_its_stream_is_not_read_hears_of_nothing_but_its_end() {
    let mut server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("den", &[&bob]).await;
    let mut laptop = bob.live().await;
    let mut devices = Vec::new();
    for _ in 0..3 {
        let device = server.login("bob").await.over(server.narrow_channel().await);
        let stream = device.live().await;
        devices.push((device, stream));
    }
    // Far more than a narrow connection takes unread.
    for _ in 0..40 {
        alice.send(&room, &"x".repeat(16384)).await.unwrap();
    }
    server.login("bob").await.revoke(&devices[0].0.session_id).await.unwrap();
    // Over another connection: the unread stream holds up nobody but itself.
    devices[1].0.over(server.channel().await).log_out().await.unwrap();
    bob.change_password(PASSWORD, "another owl in the attic").await.unwrap();
    let attic = alice.private_room("attic").await;
    alice.invite(&attic, &bob).await.unwrap();
    alice.direct_room(&bob).await;
    alice.send(&room, "after the end").await.unwrap();
    laptop.room_state(&attic).await;
    laptop.message("after the end").await;

    let reasons = [
        v1::EndReason::Revoked,
        v1::EndReason::LoggedOut,
        v1::EndReason::PasswordChanged,
    ];
    let mut told = Vec::new();
    for ((device, mut stream), expected) in devices.into_iter().zip(reasons) {
        let before = stream.seen.len();
        assert_eq!(stream.ended().await.0, expected);
        for kind in &stream.seen[before..] {
            // What was on its way before the end, and the end.
            assert!(
                matches!(kind, Kind::Events(_) | Kind::Presence(_) | Kind::Ended(_)),
                "{kind:?}"
            );
        }
        let newest = stream.events_seen().map(|event| head(event).index).max();
        told.push((device.session_id, newest.unwrap_or_default()));
    }
    assert!(server.terminate().await.success());
    let heads = crate::journal::heads(&server);
    for (session, newest) in told {
        let end = end_of_session(&heads, &session);
        assert!(newest < end, "ended at {end} and was told of {newest}");
    }
}
