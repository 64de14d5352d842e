//! Live streams: hello, replay, resume, frames in mid-stream, and how streams end.

use std::time::Duration;

use tonic::Code;
use v1::ResetCause;
use v1::chat_request::Action;

use crate::support::stream::{event_of, head, resume, seqs, text_of};
use crate::support::user::{message, room_id};
use crate::support::{
    DEADLINE, ErrorReason, Kind, PASSWORD, Refusal, Server, Stream, User, refused, request_id, v1, within,
};

/// A hello from the first event on.
fn from_the_start() -> v1::Hello {
    v1::Hello {
        other_rooms_after_seq: Some(0),
        ..v1::Hello::default()
    }
}

/// Opens a stream by each of the two calls.
async fn both(user: &User, hello: v1::Hello) -> [Stream; 2] {
    [
        user.chat(hello.clone()).await.unwrap(),
        user.subscribe(hello).await.unwrap(),
    ]
}

/// Sends `count` messages and gives the seq of the last.
async fn fill(user: &User, room: &str, count: i64) -> i64 {
    let mut last = 0;
    for number in 0..count {
        last = user.send(room, &format!("message {number}")).await.unwrap().seq;
    }
    last
}

#[tokio::test]
async fn started_comes_first_with_the_state_of_each_room() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let tea = alice.public_room("tea").await;
    let den = bob.private_room("den").await;
    bob.invite(&den, &alice).await.unwrap();
    alice.send(&tea, "hello").await.unwrap();
    let info = server.info().await;
    for mut stream in both(&alice, v1::Hello::default()).await {
        let started = stream.started().await;
        assert_eq!((&started.session_id, &started.user_id), (&alice.session_id, &alice.id));
        assert_eq!(started.epoch, info.epoch);
        assert!(started.server_time.is_some());
        let mut rooms: Vec<String> = started.rooms.iter().map(room_id).collect();
        rooms.sort();
        let mut expected = vec![tea.clone(), den.clone(), info.general_room_id.clone()];
        expected.sort();
        assert_eq!(rooms, expected);
        for state in &started.rooms {
            assert_eq!(state, &alice.room(&room_id(state)).await.unwrap());
        }
        assert_eq!(
            stream.caught_up().await,
            [],
            "without positions, only what happens from now on"
        );
    }
}

#[tokio::test]
async fn both_calls_replay_the_same_oldest_first_and_then_go_on_live() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.public_room("tea").await;
    bob.join(&room).await.unwrap();
    let last = fill(&alice, &room, 300).await;
    let expected = bob.events_after(&room, 0).await.unwrap();
    assert_eq!(seqs(&expected, &room), (1..=last).collect::<Vec<_>>());
    let mut streams = both(&bob, from_the_start()).await;
    for stream in &mut streams {
        stream.started().await;
        let mut replayed = stream.caught_up().await;
        replayed.retain(|event| head(event).room_id == room);
        assert_eq!(replayed, expected);
    }
    let live = alice.send(&room, "live").await.unwrap();
    for stream in &mut streams {
        assert_eq!(head(&stream.event_in(&room).await).index, live.index);
    }
}

#[tokio::test]
async fn a_resumed_stream_gives_each_seq_once_while_others_go_on_sending() {
    let server = Server::start(&[]).await;
    let epoch = server.info().await.epoch;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("den", &[&bob]).await;
    let start = alice.room(&room).await.unwrap().head_seq;
    let total: i64 = 600;
    let sender = {
        let (alice, room) = (alice.clone(), room.clone());
        tokio::spawn(async move { fill(&alice, &room, total).await })
    };
    let mut position = start;
    let mut rounds = 0;
    while position < start + total {
        let mut stream = bob.chat(resume(&epoch, &room, position)).await.unwrap();
        stream.started().await;
        for _ in 0..40 {
            if position == start + total {
                break;
            }
            let event = stream.event_in(&room).await;
            assert_eq!(head(&event).seq, position + 1);
            position += 1;
        }
        rounds += 1;
    }
    assert!(rounds > 10);
    assert_eq!(sender.await.unwrap(), start + total);
}

#[tokio::test]
async fn positions_that_cannot_be_served_are_reset_with_their_cause() {
    let server = Server::start(&[]).await;
    let epoch = server.info().await.epoch;
    let alice = server.user("alice").await;
    let room = alice.public_room("tea").await;
    let last = fill(&alice, &room, 20).await;
    let reset = async |hello: v1::Hello| {
        let mut stream = alice.chat(hello).await.unwrap();
        stream.started().await;
        let reset = stream
            .wait_for("Reset", |kind| match kind {
                Kind::Reset(reset) => Some(reset.clone()),
                Kind::CaughtUp(_) => panic!("CaughtUp without Reset"),
                _ => None,
            })
            .await;
        assert_eq!(
            stream.caught_up().await,
            [],
            "nothing is replayed where the position was reset"
        );
        let live = alice.send(&room, "live").await.unwrap().seq;
        assert_eq!(head(&stream.event_in(&room).await).seq, live, "and it goes on live");
        assert_eq!(
            (reset.room_id.as_str(), reset.epoch.as_str(), reset.oldest_seq),
            (room.as_str(), epoch.as_str(), 1)
        );
        assert_eq!(reset.head_seq, live - 1);
        reset.cause()
    };
    assert_eq!(reset(resume("another epoch", &room, 3)).await, ResetCause::Epoch);
    assert_eq!(reset(resume(&epoch, &room, last + 1000)).await, ResetCause::BeyondHead);
    assert_eq!(reset(resume(&epoch, &room, i64::MAX)).await, ResetCause::BeyondHead);
    let few = v1::Hello {
        max_replay: Some(5),
        ..resume(&epoch, &room, 3)
    };
    assert_eq!(reset(few).await, ResetCause::TooMany);
}

#[tokio::test]
async fn max_replay_lets_exactly_that_many_events_through() {
    let server = Server::start(&[]).await;
    let epoch = server.info().await.epoch;
    let alice = server.user("alice").await;
    let room = alice.public_room("tea").await;
    let last = fill(&alice, &room, 20).await;
    for (max_replay, served) in [(9, false), (10, true), (11, true)] {
        let hello = v1::Hello {
            max_replay: Some(max_replay),
            ..resume(&epoch, &room, last - 10)
        };
        let mut stream = alice.chat(hello).await.unwrap();
        stream.started().await;
        assert_eq!(stream.caught_up().await.len(), if served { 10 } else { 0 });
        let reset = stream.seen.iter().any(|kind| matches!(kind, Kind::Reset(_)));
        assert_eq!(reset, !served, "max_replay {max_replay}");
    }
}

#[tokio::test]
async fn rooms_without_a_position_start_where_the_hello_says() {
    let server = Server::start(&[]).await;
    let epoch = server.info().await.epoch;
    let alice = server.user("alice").await;
    let (tea, coffee) = (alice.public_room("tea").await, alice.public_room("coffee").await);
    fill(&alice, &tea, 3).await;
    fill(&alice, &coffee, 3).await;
    let replay = async |others: Option<i64>| {
        let hello = v1::Hello {
            other_rooms_after_seq: others,
            ..resume(&epoch, &tea, 2)
        };
        let mut stream = alice.chat(hello).await.unwrap();
        stream.started().await;
        let events = stream.caught_up().await;
        (seqs(&events, &tea), seqs(&events, &coffee))
    };
    assert_eq!(replay(None).await, (vec![3, 4], vec![]));
    assert_eq!(replay(Some(0)).await, (vec![3, 4], vec![1, 2, 3, 4]));
    assert_eq!(replay(Some(2)).await, (vec![3, 4], vec![3, 4]));
}

#[tokio::test]
async fn a_position_in_a_room_that_is_none_of_ones_own_is_answered_with_why() {
    let server = Server::start(&[]).await;
    let epoch = server.info().await.epoch;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let (tea, den) = (alice.public_room("tea").await, alice.private_room("den").await);
    fill(&alice, &tea, 3).await;
    fill(&alice, &den, 3).await;
    for (room, reason) in [
        (tea.as_str(), v1::RoomGoneReason::NotAMember),
        (den.as_str(), v1::RoomGoneReason::NotFound),
        ("no such room", v1::RoomGoneReason::NotFound),
    ] {
        let mut stream = bob.chat(resume(&epoch, room, 1)).await.unwrap();
        stream.started().await;
        assert_eq!(stream.room_gone(room).await.reason(), reason, "{room}");
        assert_eq!(stream.caught_up().await, []);
    }
}

#[tokio::test]
async fn a_room_that_one_is_only_invited_to_is_an_invitation_whatever_position_is_given() {
    let server = Server::start(&[]).await;
    let epoch = server.info().await.epoch;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let (tea, den) = (alice.public_room("tea").await, alice.private_room("den").await);
    for room in [&tea, &den] {
        fill(&alice, room, 3).await;
        alice.invite(room, &bob).await.unwrap();
        for after_seq in [0, 2, 1000] {
            for mut stream in both(&bob, resume(&epoch, room, after_seq)).await {
                let started = stream.started().await;
                let state = started.rooms.iter().find(|state| room_id(state) == *room);
                assert_eq!(state.unwrap().my_role(), v1::MemberRole::Invited);
                assert_eq!(stream.caught_up().await, []);
                let told = |kind: &Kind| matches!(kind, Kind::RoomGone(_) | Kind::Reset(_));
                assert!(!stream.seen.iter().any(told), "{:?}", stream.seen);
            }
        }
    }
}

#[tokio::test]
async fn a_flooded_room_does_not_hold_up_a_quiet_one_when_a_stream_resumes() {
    let server = Server::start(&[]).await;
    let epoch = server.info().await.epoch;
    let (alice, bob, carol) = (
        server.user("alice").await,
        server.user("bob").await,
        server.user("carol").await,
    );
    // One before the flooded room and one after it, in whatever order they are served.
    let early = alice.direct_room(&bob).await;
    let flooded = alice.private_room_with("flood", &[&bob]).await;
    let late = carol.direct_room(&bob).await;
    let text = "x".repeat(16384);
    // A loader that never stops, so that the room lags for as long as it is read.
    let flood = {
        let (alice, flooded, text) = (alice.over(server.channel().await), flooded.clone(), text.clone());
        tokio::spawn(async move { while alice.send(&flooded, &text).await.is_ok() {} })
    };
    crate::support::eventually("the flood", || async {
        (bob.room(&flooded).await.unwrap().head_seq > 200).then_some(())
    })
    .await;
    alice.send(&early, "quiet words").await.unwrap();
    let last = carol.send(&late, "more quiet words").await.unwrap();
    let position = |room: &str, after_seq| v1::RoomPosition {
        room_id: room.to_owned(),
        after_seq,
    };
    let hello = v1::Hello {
        epoch,
        positions: vec![position(&flooded, 3), position(&early, 1), position(&late, 1)],
        ..v1::Hello::default()
    };
    for mut stream in both(&bob, hello).await {
        stream.started().await;
        let mut quiet = 0;
        let mut flooding = 0;
        while quiet < 2 {
            let event = stream.wait_for("an event", |kind| event_of(kind).cloned()).await;
            if head(&event).room_id == flooded {
                flooding += 1;
            } else {
                quiet += 1;
            }
        }
        // A page has 256 KiB: sixteen such texts.
        assert!(flooding <= 64, "{flooding} events of the flooded room came first");
        let expected = (4..4 + flooding).collect::<Vec<i64>>();
        assert_eq!(seqs(stream.events_seen(), &flooded), expected);
        assert_eq!(seqs(stream.events_seen(), &late), [last.seq]);
    }
    flood.abort();
}

#[tokio::test]
async fn hellos_that_break_the_rules_are_refused() {
    let server = Server::start(&[]).await;
    let epoch = server.info().await.epoch;
    let alice = server.user("alice").await;
    let room = alice.public_room("tea").await;
    let position = |room: &str, after_seq| v1::RoomPosition {
        room_id: room.to_owned(),
        after_seq,
    };
    let hello = |positions| v1::Hello {
        epoch: epoch.clone(),
        positions,
        ..v1::Hello::default()
    };
    let wrong = [
        hello(vec![position(&room, -1)]),
        hello(vec![position(&room, i64::MIN)]),
        hello(vec![position(&room, 1), position(&room, 1)]),
        v1::Hello {
            client_name: "x".repeat(65),
            ..v1::Hello::default()
        },
        v1::Hello {
            client_version: "x".repeat(65),
            ..v1::Hello::default()
        },
        v1::Hello {
            max_replay: Some(-1),
            ..v1::Hello::default()
        },
        v1::Hello {
            other_rooms_after_seq: Some(-1),
            ..v1::Hello::default()
        },
    ];
    for hello in wrong {
        for stream in [alice.chat(hello.clone()).await, alice.subscribe(hello.clone()).await] {
            assert_eq!(refusal_of(stream).await.reason, ErrorReason::InvalidField, "{hello:?}");
        }
    }
}

/// Why a stream was refused: at once, or by its end.
async fn refusal_of(opened: Result<Stream, Refusal>) -> Refusal {
    match opened {
        Err(refusal) => refusal,
        Ok(mut stream) => {
            while stream.next().await.is_some() {}
            assert!(
                !stream.seen.iter().any(|kind| matches!(kind, Kind::Started(_))),
                "the stream started: {:?}",
                stream.seen
            );
            Refusal::from(stream.status.expect("the stream has ended"))
        }
    }
}

#[tokio::test]
async fn a_stream_begins_with_one_hello_and_has_no_second() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let room = alice.public_room("tea").await;
    let stream = alice.chat_with(Action::SendMessage(message(&room, "too early"))).await;
    assert_eq!(refusal_of(stream).await.reason, ErrorReason::HelloExpected);
    let mut stream = alice.live().await;
    stream.act(Action::Hello(v1::Hello::default())).await;
    stream
        .ends_with(
            v1::EndReason::ProtocolError,
            Code::FailedPrecondition,
            ErrorReason::HelloExpected,
        )
        .await;
    let mut stream = alice.live().await;
    stream.act_raw(v1::ChatRequest { action: None }).await;
    stream
        .ends_with(
            v1::EndReason::ProtocolError,
            Code::InvalidArgument,
            ErrorReason::MalformedRequest,
        )
        .await;
    assert_eq!(alice.messages(&room).await.unwrap(), []);
}

#[tokio::test]
async fn streams_need_a_login() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let stranger = alice.with_token("nonsense");
    assert_eq!(
        refusal_of(stranger.chat(v1::Hello::default()).await).await.code,
        Code::Unauthenticated
    );
    assert_eq!(
        refusal_of(stranger.subscribe(v1::Hello::default()).await).await.code,
        Code::Unauthenticated
    );
}

#[tokio::test]
async fn in_stream_sends_behave_like_calls() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("den", &[&bob]).await;
    let mut stream = alice.live().await;
    let id = stream.post(&room, "hello").await;
    let receipt = stream.result(&id).await.unwrap();
    let again = v1::SendMessageRequest {
        request_id: id,
        ..message(&room, "hello")
    };
    assert_eq!(
        alice.send_request(again).await.unwrap(),
        receipt,
        "a call finds the stream's receipt"
    );
    // One's own events come on the stream too.
    if !stream.events_seen().any(|event| head(event).seq == receipt.seq) {
        stream.event_at(&room, receipt.seq).await;
    }

    for (request, reason) in [
        (message(&room, ""), ErrorReason::InvalidField),
        (message(&room, &"x".repeat(16385)), ErrorReason::TextTooLong),
        (message("no such room", "hi"), ErrorReason::RoomNotFound),
        (
            v1::SendMessageRequest {
                reply_to_seq: 999,
                ..message(&room, "hi")
            },
            ErrorReason::MessageNotFound,
        ),
        (
            v1::SendMessageRequest {
                reply_to_seq: -1,
                ..message(&room, "hi")
            },
            ErrorReason::InvalidField,
        ),
    ] {
        let by_call = refused(alice.send_request(request.clone()).await, reason);
        stream.act(Action::SendMessage(request.clone())).await;
        let in_stream = refused(stream.result(&request.request_id).await, reason);
        assert_eq!(
            (by_call.code, by_call.message, by_call.metadata),
            (in_stream.code, in_stream.message, in_stream.metadata)
        );
    }
    stream
        .act(Action::MarkRead(v1::MarkReadRequest {
            room_id: room.clone(),
            seq: -1,
        }))
        .await;
    let (id, answer) = stream.next_result().await;
    assert_eq!(id, "");
    refused(answer, ErrorReason::InvalidField);
    let typing = v1::SetTypingRequest {
        room_id: "no such room".into(),
        typing: true,
    };
    stream.act(Action::SetTyping(typing)).await;
    let (id, answer) = stream.next_result().await;
    assert_eq!(id, "");
    refused(answer, ErrorReason::RoomNotFound);
    // The stream goes on after all that.
    let id = stream.post(&room, "still here").await;
    stream.result(&id).await.unwrap();
}

#[tokio::test]
async fn results_come_in_the_order_of_the_sends() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let room = alice.public_room("tea").await;
    let mut stream = alice.live().await;
    let mut ids = Vec::new();
    for number in 0..200 {
        ids.push(stream.post(&room, &format!("message {number}")).await);
    }
    let mut last = 0;
    for id in ids {
        let (answered, result) = stream.next_result().await;
        assert_eq!(answered, id);
        let seq = result.unwrap().seq;
        assert!(seq > last);
        last = seq;
    }
}

#[tokio::test]
async fn closing_the_sending_half_ends_the_sends_only() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("den", &[&bob]).await;
    let mut stream = bob.live().await;
    let id = stream.post(&room, "last words").await;
    stream.close();
    stream.result(&id).await.unwrap();
    alice.send(&room, "are you there?").await.unwrap();
    stream.message("are you there?").await;
}

#[tokio::test]
async fn a_room_state_comes_before_the_first_event_of_a_new_room() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let mut stream = bob.live().await;
    let mut other = bob.live().await;
    // Invited, joined on another connection, and a direct room opened by somebody else.
    let room = alice.private_room("den").await;
    alice.send(&room, "before").await.unwrap();
    alice.invite(&room, &bob).await.unwrap();
    assert_eq!(stream.room_state(&room).await.my_role(), v1::MemberRole::Invited);
    let joined = bob.join(&room).await.unwrap().receipt.unwrap().seq;
    let state = stream.room_state(&room).await;
    assert_eq!((state.my_role(), state.first_seq), (v1::MemberRole::Member, joined));
    alice.send(&room, "after").await.unwrap();
    stream.message("after").await;
    let first = stream.events_seen().find(|event| head(event).room_id == room).unwrap();
    assert_eq!(head(first).seq, joined, "from joining on, nothing before");

    let direct = alice.direct_room(&bob).await;
    alice.send(&direct, "psst").await.unwrap();
    assert_eq!(
        stream.room_state(&direct).await.room.unwrap().kind(),
        v1::RoomKind::Direct
    );
    stream.message("psst").await;

    alice.set_role(&room, &bob, v1::MemberRole::Moderator).await.unwrap();
    stream
        .wait_for("the new role", |kind| match kind {
            Kind::RoomState(state) if state.my_role() == v1::MemberRole::Moderator => Some(()),
            _ => None,
        })
        .await;
    // A new name comes as an event.
    alice.rename(&room, "parlour").await.unwrap();
    while head(&stream.event_in(&room).await).kind() != v1::EventKind::RoomUpdated {}

    // Every stream of the user is told, and never an event of a room before its state.
    other.message("psst").await;
    let mut known = vec![server.general().await];
    for kind in &other.seen {
        match kind {
            Kind::RoomState(state) => known.push(room_id(state)),
            Kind::Events(batch) => assert!(known.contains(&head(&batch.events[0]).room_id), "{kind:?}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn who_creates_or_joins_a_public_room_gets_its_events_on_open_streams() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let (mut owner, mut joiner) = (alice.live().await, bob.live().await);
    let room = alice.public_room("tea").await;
    assert_eq!(owner.room_state(&room).await.my_role(), v1::MemberRole::Owner);
    alice.send(&room, "anyone?").await.unwrap();
    owner.message("anyone?").await;
    bob.join(&room).await.unwrap();
    joiner.room_state(&room).await;
    alice.send(&room, "hello bob").await.unwrap();
    joiner.message("hello bob").await;
}

#[tokio::test]
async fn leaving_and_being_removed_end_a_room_on_every_stream() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("den", &[&bob]).await;
    let general = server.general().await;
    let mut streams = [bob.live().await, bob.live().await];
    bob.leave(&room).await.unwrap();
    for stream in &mut streams {
        assert_eq!(stream.room_gone(&room).await.reason(), v1::RoomGoneReason::Left);
    }
    alice.invite(&room, &bob).await.unwrap();
    bob.join(&room).await.unwrap();
    for stream in &mut streams {
        stream.room_state(&room).await;
    }
    let removal = alice.remove(&room, &bob).await.unwrap();
    alice.send(&room, "behind his back").await.unwrap();
    for stream in &mut streams {
        let gone = stream.room_gone(&room).await;
        assert_eq!(
            (gone.reason(), gone.message.as_str()),
            (v1::RoomGoneReason::Removed, "enough")
        );
    }
    alice.send(&general, "fence").await.unwrap();
    for stream in &mut streams {
        stream.message("fence").await;
        let gone = stream.seen.iter().rposition(|kind| matches!(kind, Kind::RoomGone(_))).unwrap();
        for kind in &stream.seen[gone..] {
            if let Kind::Events(batch) = kind {
                assert_ne!(head(&batch.events[0]).room_id, room, "after RoomGone");
            }
        }
        let late = stream.events_seen().filter(|event| head(event).room_id == room);
        assert!(
            late.max_by_key(|event| head(event).index)
                .is_none_or(|event| head(event).index <= removal.index)
        );
    }
}

/// That nothing about a room comes between its `RoomGone` and the `RoomState` that says that one is back.
fn assert_silent_after_room_gone(seen: &[Kind], room: &str) {
    assert!(
        seen.iter().any(|kind| matches!(kind, Kind::RoomGone(it) if it.room_id == room)),
        "there was no RoomGone"
    );
    let mut gone = false;
    for kind in seen {
        let about = match kind {
            Kind::RoomGone(it) if it.room_id == room => {
                gone = true;
                continue;
            }
            Kind::RoomState(state) if room_id(state) == room => {
                gone = false;
                continue;
            }
            Kind::Typing(typing) => &typing.room_id,
            Kind::ReadMark(mark) => &mark.room_id,
            Kind::Events(batch) => &head(&batch.events[0]).room_id,
            _ => continue,
        };
        assert!(!gone || about != room, "{kind:?} came after RoomGone");
    }
}

#[tokio::test]
async fn typing_and_read_marks_that_wait_are_forgotten_when_their_room_is_gone() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("den", &[&bob]).await;
    let general = server.general().await;
    let mut stream = bob.over(server.narrow_channel().await).live().await;
    // More than the connection takes unread, so that what follows waits in the server.
    for _ in 0..20 {
        alice.send(&general, &"x".repeat(16384)).await.unwrap();
    }
    let seq = alice.send(&room, "read me").await.unwrap().seq;
    alice.set_typing(&room, true).await.unwrap();
    bob.mark_read(&room, seq).await.unwrap();
    alice.remove(&room, &bob).await.unwrap();
    refused(bob.mark_read(&room, seq).await, ErrorReason::RoomNotFound);
    alice.set_typing(&general, true).await.unwrap();
    alice.send(&general, "fence").await.unwrap();
    stream.message("fence").await;
    // Told after all events: the room's own would have come before it.
    stream
        .wait_for("typing in general", |kind| match kind {
            Kind::Typing(typing) if typing.room_id == general => Some(()),
            _ => None,
        })
        .await;
    assert_silent_after_room_gone(&stream.seen, &room);
}

#[tokio::test]
async fn no_typing_or_read_mark_of_a_room_comes_after_its_room_gone_while_they_race() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("den", &[&bob]).await;
    let general = server.general().await;
    let mut streams = [bob.live().await, bob.live().await];
    let others = [bob.over(server.channel().await), bob.over(server.channel().await)];
    let typist = alice.over(server.channel().await);
    for round in 0..30 {
        let seq = alice.send(&room, "read me").await.unwrap().seq;
        // Refused where the removal came first.
        let mark = async |user: &User| drop(user.mark_read(&room, seq).await);
        let (removed, ..) = tokio::join!(
            alice.remove(&room, &bob),
            mark(&others[0]),
            mark(&others[1]),
            mark(&bob),
            async { typist.set_typing(&room, round % 2 == 0).await.unwrap() },
        );
        removed.unwrap();
        alice.invite(&room, &bob).await.unwrap();
        bob.join(&room).await.unwrap();
    }
    alice.remove(&room, &bob).await.unwrap();
    alice.send(&general, "fence").await.unwrap();
    bob.mark_read(&general, 1).await.unwrap();
    for stream in &mut streams {
        stream.message("fence").await;
        stream
            .wait_for("the read mark in general", |kind| match kind {
                Kind::ReadMark(mark) if mark.room_id == general => Some(()),
                _ => None,
            })
            .await;
        assert_silent_after_room_gone(&stream.seen, &room);
    }
}

#[tokio::test]
async fn a_taken_back_invitation_is_gone_from_streams() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room("den").await;
    let mut stream = bob.live().await;
    alice.invite(&room, &bob).await.unwrap();
    stream.room_state(&room).await;
    alice.remove(&room, &bob).await.unwrap();
    assert_eq!(stream.room_gone(&room).await.reason(), v1::RoomGoneReason::Removed);
}

#[tokio::test]
async fn each_way_to_end_a_session_ends_its_streams_with_its_reason() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let (phone, tablet) = (server.login("alice").await, server.login("alice").await);
    let mut own = alice.live().await;
    let mut phones = [phone.live().await, {
        let mut stream = phone.subscribe(v1::Hello::default()).await.unwrap();
        stream.started().await;
        stream
    }];
    let mut tablets = tablet.live().await;
    phone.log_out().await.unwrap();
    for stream in &mut phones {
        stream
            .ends_with(
                v1::EndReason::LoggedOut,
                Code::Unauthenticated,
                ErrorReason::SessionEnded,
            )
            .await;
    }
    alice.revoke(&tablet.session_id).await.unwrap();
    tablets
        .ends_with(v1::EndReason::Revoked, Code::Unauthenticated, ErrorReason::SessionEnded)
        .await;
    let laptop = server.login("alice").await;
    let mut laptops = laptop.live().await;
    alice.change_password(PASSWORD, "another owl in the attic").await.unwrap();
    laptops
        .ends_with(
            v1::EndReason::PasswordChanged,
            Code::Unauthenticated,
            ErrorReason::SessionEnded,
        )
        .await;
    // The session that asked goes on.
    let general = server.general().await;
    let id = own.post(&general, "still here").await;
    own.result(&id).await.unwrap();
}

#[tokio::test]
async fn an_expired_session_ends_its_streams_and_its_calls() {
    let server = Server::start(&[("session_seconds", 3), ("session_idle_seconds", 3)]).await;
    let alice = server.user("alice").await;
    let mut stream = alice.live().await;
    stream
        .ends_with(v1::EndReason::Expired, Code::Unauthenticated, ErrorReason::SessionEnded)
        .await;
    refused(alice.user_with_id("me").await, ErrorReason::SessionEnded);
}

#[tokio::test]
async fn a_session_that_is_used_does_not_expire_as_idle_and_one_that_is_not_does() {
    let server = Server::start(&[("session_idle_seconds", 5), ("heartbeat_seconds", 60)]).await;
    let caller = server.user("alice").await;
    let (streamer, idle) = (server.login("alice").await, server.login("alice").await);
    let general = server.general().await;
    let mut stream = streamer.live().await;
    let begun = std::time::Instant::now();
    let mut beat = tokio::time::interval(Duration::from_millis(250));
    let mut expired = false;
    while !expired || begun.elapsed() < Duration::from_secs(9) {
        assert!(begun.elapsed() < DEADLINE, "the unused session does not expire");
        beat.tick().await;
        let text = format!("after {:?}", begun.elapsed());
        caller.send(&general, &text).await.unwrap();
        stream.message(&text).await;
        let sessions = caller.sessions().await.unwrap();
        let alive = |login: &User| sessions.iter().any(|session| session.id == login.session_id);
        assert!(alive(&caller) && alive(&streamer), "{sessions:?}");
        expired = !alive(&idle);
        stream.seen.clear();
    }
    streamer.user_with_id("me").await.unwrap();
    refused(idle.user_with_id("me").await, ErrorReason::SessionEnded);
}

#[tokio::test]
async fn presence_is_told_to_those_who_share_a_room() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let mut stream = alice.live().await;
    let bobs = bob.live().await;
    let change = async |stream: &mut Stream, online: bool| {
        stream
            .wait_for("presence", |kind| match kind {
                Kind::Presence(presence) => presence
                    .users
                    .iter()
                    .any(|it| it.user_id == bob.id && it.online == online)
                    .then_some(()),
                _ => None,
            })
            .await;
    };
    change(&mut stream, true).await;
    let second = bob.live().await;
    drop(bobs);
    // One stream is left: bob is still there.
    let general = server.general().await;
    alice.send(&general, "fence").await.unwrap();
    stream.message("fence").await;
    assert!(alice.user_named("bob").await.unwrap().online);
    drop(second);
    change(&mut stream, false).await;
}

#[tokio::test]
async fn typing_is_told_to_the_others_in_the_room_and_stores_nothing() {
    let server = Server::start(&[]).await;
    let (alice, bob, eve) = (
        server.user("alice").await,
        server.user("bob").await,
        server.user("eve").await,
    );
    let room = alice.private_room_with("den", &[&bob]).await;
    let general = server.general().await;
    let (mut watching, mut outside, mut typing) = (alice.live().await, eve.live().await, bob.live().await);
    let head_seq = alice.room(&room).await.unwrap().head_seq;
    let told = async |stream: &mut Stream, expected: bool| {
        stream
            .wait_for("typing", |kind| match kind {
                Kind::Typing(typing) if typing.typing == expected => Some(typing.clone()),
                _ => None,
            })
            .await
    };
    bob.set_typing(&room, true).await.unwrap();
    let first = told(&mut watching, true).await;
    assert_eq!(
        (first.room_id.as_str(), first.user_id.as_str()),
        (room.as_str(), bob.id.as_str())
    );
    let stop = v1::SetTypingRequest {
        room_id: room.clone(),
        typing: false,
    };
    typing.act(Action::SetTyping(stop)).await;
    told(&mut watching, false).await;
    assert_eq!(alice.room(&room).await.unwrap().head_seq, head_seq);
    refused(eve.set_typing(&room, true).await, ErrorReason::RoomNotFound);
    alice.send(&general, "fence").await.unwrap();
    outside.message("fence").await;
    assert!(!outside.seen.iter().any(|kind| matches!(kind, Kind::Typing(_))));
}

#[tokio::test]
async fn read_marks_go_to_ones_own_other_streams_only() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("den", &[&bob]).await;
    let seq = alice.send(&room, "read me").await.unwrap().seq;
    let (mut phone, mut laptop, mut alices) = (bob.live().await, bob.live().await, alice.live().await);
    let mark = v1::MarkReadRequest {
        room_id: room.clone(),
        seq,
    };
    phone.act(Action::MarkRead(mark)).await;
    let told = laptop
        .wait_for("the read mark", |kind| match kind {
            Kind::ReadMark(mark) => Some(mark.clone()),
            _ => None,
        })
        .await;
    assert_eq!((told.room_id.as_str(), told.seq), (room.as_str(), seq));
    alice.send(&room, "fence").await.unwrap();
    for stream in [&mut phone, &mut alices] {
        stream.message("fence").await;
        assert!(!stream.seen.iter().any(|kind| matches!(kind, Kind::ReadMark(_))));
    }
}

#[tokio::test]
async fn a_quiet_stream_gets_heartbeats() {
    let server = Server::start(&[("heartbeat_seconds", 1)]).await;
    let alice = server.user("alice").await;
    let mut stream = alice.live().await;
    for _ in 0..3 {
        stream
            .wait_for("a heartbeat", |kind| match kind {
                Kind::Heartbeat(heartbeat) => heartbeat.time,
                _ => None,
            })
            .await;
    }
}

#[tokio::test]
async fn a_session_tells_how_many_streams_it_has_open() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let streams = [alice.live().await, alice.live().await];
    assert_eq!(alice.sessions().await.unwrap()[0].stream_count, 2);
    drop(streams);
    crate::support::eventually("the streams' end", || async {
        (alice.sessions().await.unwrap()[0].stream_count == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_busy_room_is_delivered_to_everyone_in_the_same_order() {
    let server = Server::start(&[]).await;
    let people = server.users("person", 6).await;
    let room = people[0].public_room("tea").await;
    let mut streams = Vec::new();
    for person in &people[1..] {
        person.join(&room).await.unwrap();
    }
    for person in &people {
        streams.push(person.live().await);
    }
    let start = people[0].room(&room).await.unwrap().head_seq;
    let each = 150;
    let mut readers = tokio::task::JoinSet::new();
    for mut stream in streams {
        let (room, total) = (room.clone(), each * 6);
        readers.spawn(async move {
            let sender = stream.sender();
            let to = room.clone();
            tokio::spawn(async move {
                for number in 0..each {
                    let text = format!("message {number}");
                    let request = v1::SendMessageRequest {
                        request_id: request_id(),
                        ..message(&to, &text)
                    };
                    let request = v1::ChatRequest {
                        action: Some(Action::SendMessage(request)),
                    };
                    sender.send(request).await.unwrap();
                }
            });
            let mut order = Vec::new();
            while order.len() < usize::try_from(total).unwrap() {
                let event = stream.event_in(&room).await;
                order.push((
                    head(&event).seq,
                    head(&event).index,
                    text_of(&event).unwrap_or_default().to_owned(),
                ));
            }
            order
        });
    }
    let orders = within("all deliveries", readers.join_all()).await;
    assert!(orders.iter().all(|order| *order == orders[0]));
    let expected: Vec<i64> = (start + 1..=start + i64::from(each) * 6).collect();
    assert_eq!(orders[0].iter().map(|(seq, ..)| *seq).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_message_is_delivered_within_a_moment() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("den", &[&bob]).await;
    let mut stream = bob.live().await;
    let mut fastest = Duration::MAX;
    for number in 0..20 {
        let text = format!("message {number}");
        let start = std::time::Instant::now();
        alice.send(&room, &text).await.unwrap();
        stream.message(&text).await;
        fastest = fastest.min(start.elapsed());
    }
    // A debug build on a busy machine; a timer in the way of messages would be seen all the same.
    assert!(fastest < Duration::from_millis(200), "{fastest:?}");
}

#[tokio::test]
async fn a_large_started_comes_in_several_frames() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    // About 1.4 KB each.
    let count = 850;
    let mut creations = tokio::task::JoinSet::new();
    for number in 0..count {
        let alice = alice.clone();
        creations.spawn(async move {
            let request = v1::CreateRoomRequest {
                request_id: request_id(),
                kind: v1::RoomKind::Private.into(),
                name: format!("{number} {}", "🦉".repeat(50)),
                topic: "🦉".repeat(256),
                ..v1::CreateRoomRequest::default()
            };
            alice.create_room(request).await.unwrap();
        });
    }
    creations.join_all().await;
    let mut stream = alice.chat(v1::Hello::default()).await.unwrap();
    let started = stream.started().await;
    assert_eq!(started.rooms.len(), count + 1);
    let frames = stream.seen.len();
    assert!(frames > 1, "more than 1 MiB in {frames} frame");
    stream.caught_up().await;
}

#[tokio::test]
async fn large_texts_are_replayed_and_paged_in_portions() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let room = alice.public_room("tea").await;
    let text = "x".repeat(16384);
    for _ in 0..150 {
        alice.send(&room, &text).await.unwrap();
    }
    let (_stream, replayed) = alice.replayed().await;
    assert_eq!(
        replayed.iter().filter(|event| text_of(event) == Some(&text)).count(),
        150
    );
    let request = v1::ListEventsRequest {
        room_id: room.clone(),
        from: Some(v1::list_events_request::From::AfterSeq(0)),
        page_size: 500,
    };
    let page = alice.list_events(request).await.unwrap();
    assert!(
        page.has_more && (40..120).contains(&page.events.len()),
        "{} events",
        page.events.len()
    );
    assert_eq!(alice.events_after(&room, 0).await.unwrap().len(), 151);
    let newest = alice.messages(&room).await.unwrap();
    assert!((40..120).contains(&newest.len()), "{} messages", newest.len());
    assert_eq!(newest.last().unwrap().seq, 151, "the newest ones");
}
