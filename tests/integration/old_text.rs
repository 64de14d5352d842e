//! The text of an edited or deleted message reaches no member again.

use crate::support::stream::{event_of, head, resume};
use crate::support::{ErrorReason, Server, Stream, User, eventually, refused, v1};

const OLD: &str = "saffron";
const NEW: &str = "cardamom";

/// Everything that `user` is answered about `room` by calls and by streams that replay, as one text to search.
async fn everything(user: &User, room: &str, epoch: &str) -> String {
    let events = user.events_after(room, 0).await.unwrap();
    let newest = v1::ListEventsRequest {
        room_id: room.to_owned(),
        from: None,
        page_size: 500,
    };
    let newest = user.list_events(newest).await.unwrap();
    let messages = user.messages(room).await.unwrap();
    let (_stream, replayed) = user.replayed().await;
    let mut resumed = user.chat(resume(epoch, room, 0)).await.unwrap();
    resumed.started().await;
    let resumed = resumed.caught_up().await;
    let mut subscribed = user.subscribe(resume(epoch, room, 1)).await.unwrap();
    subscribed.started().await;
    let subscribed = subscribed.caught_up().await;
    let found = user.search(OLD).await.unwrap();
    assert_eq!(found, [], "found by search");
    let beginning = user.search(&OLD[..4]).await.unwrap();
    assert_eq!(beginning, [], "found by the beginning of a word");
    let state = user.room(room).await.unwrap();
    format!("{events:?} {newest:?} {messages:?} {replayed:?} {resumed:?} {subscribed:?} {state:?}")
}

/// Reads a live stream up to an event and gives all that it has brought as one text.
async fn brought(stream: &mut Stream, room: &str, seq: i64) -> String {
    stream.event_at(room, seq).await;
    format!("{:?}", stream.seen)
}

/// The body states of the events of a room, by seq.
async fn states(user: &User, room: &str) -> Vec<(i64, v1::BodyState, bool)> {
    let events = user.events_after(room, 0).await.unwrap();
    events
        .iter()
        .map(|event| (head(event).seq, event.body_state(), event.body.is_some()))
        .collect()
}

#[tokio::test]
async fn an_edited_text_is_gone_from_every_call_stream_and_search() {
    let mut server = Server::start(&[]).await;
    let epoch = server.info().await.epoch;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("den", &[&bob]).await;
    let seq = alice.send(&room, &format!("{OLD} @bob")).await.unwrap().seq;
    eventually("the search index", || async {
        (bob.search(OLD).await.unwrap().len() == 1).then_some(())
    })
    .await;
    let edit = alice.edit(&room, seq, NEW).await.unwrap().seq;
    bob.reply(&room, seq, "a reply to it").await.unwrap();
    bob.react(&room, seq, "👍").await.unwrap();
    eventually("the search index", || async {
        (bob.search(NEW).await.unwrap().len() == 1).then_some(())
    })
    .await;
    for user in [&alice, &bob] {
        let text = everything(user, &room, &epoch).await;
        assert!(!text.contains(OLD), "{text}");
        assert!(text.contains(NEW));
    }
    let all = states(&bob, &room).await;
    let of = |seq: i64| all.iter().find(|(other, ..)| *other == seq).copied();
    if let Some((_, state, has_body)) = of(seq) {
        assert_eq!((state, has_body), (v1::BodyState::Replaced, false));
    }
    assert_eq!(of(edit).unwrap().1, v1::BodyState::Unspecified);

    // An edit of an edit replaces the edit's body too.
    alice.edit(&room, seq, "thyme").await.unwrap();
    let text = everything(&bob, &room, &epoch).await;
    assert!(!text.contains(NEW), "{text}");

    server.restart().await;
    let bob = bob.over(server.channel().await);
    let text = everything(&bob, &room, &epoch).await;
    assert!(!text.contains(NEW) && !text.contains(OLD), "{text}");
    // The record has it still.
    assert!(server.terminate().await.success());
    assert!(database_holds(&server, OLD), "the journal keeps what was said");
}

#[tokio::test]
async fn a_deleted_text_and_its_edits_are_gone_from_every_call_stream_and_search() {
    let mut server = Server::start(&[]).await;
    let epoch = server.info().await.epoch;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("den", &[&bob]).await;
    let seq = alice.send(&room, OLD).await.unwrap().seq;
    alice.send(&room, "fence").await.unwrap();
    alice.edit(&room, seq, &format!("{OLD} twice")).await.unwrap();
    eventually("the search index", || async {
        (bob.search(OLD).await.unwrap().len() == 1).then_some(())
    })
    .await;
    alice.delete(&room, seq).await.unwrap();
    eventually("the search index", || async {
        bob.search(OLD).await.unwrap().is_empty().then_some(())
    })
    .await;
    for user in [&alice, &bob] {
        let text = everything(user, &room, &epoch).await;
        assert!(!text.contains(OLD), "{text}");
    }
    let hidden = states(&alice, &room)
        .await
        .into_iter()
        .filter(|(_, state, _)| *state == v1::BodyState::Deleted);
    assert_eq!(hidden.count(), 2, "the message and its edit");
    server.restart().await;
    let bob = bob.over(server.channel().await);
    let text = everything(&bob, &room, &epoch).await;
    assert!(!text.contains(OLD), "{text}");
    assert!(server.terminate().await.success());
    assert!(database_holds(&server, OLD), "the journal keeps what was said");
}

#[tokio::test]
async fn search_never_shows_a_text_that_is_no_longer_current_even_before_its_index_knows() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let room = alice.public_room("tea").await;
    for round in 0..10 {
        let word = format!("{OLD}{round}");
        let seq = alice.send(&room, &word).await.unwrap().seq;
        eventually("the search index", || async {
            (alice.search(&word).await.unwrap().len() == 1).then_some(())
        })
        .await;
        if round % 2 == 0 {
            alice.delete(&room, seq).await.unwrap();
        } else {
            alice.edit(&room, seq, NEW).await.unwrap();
        }
        assert_eq!(alice.search(&word).await.unwrap(), [], "round {round}");
    }
}

#[tokio::test]
async fn live_everyone_sees_what_was_current_and_then_that_it_changed() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("den", &[&bob]).await;
    let mut stream = bob.live().await;
    let seq = alice.send(&room, OLD).await.unwrap().seq;
    stream.message(OLD).await;
    let edit = alice.edit(&room, seq, NEW).await.unwrap().seq;
    let event = stream.event_at(&room, edit).await;
    assert_eq!(
        (head(&event).kind(), head(&event).target_seq),
        (v1::EventKind::MessageEdited, seq)
    );
    let deletion = alice.delete(&room, seq).await.unwrap().seq;
    let event = stream.event_at(&room, deletion).await;
    assert_eq!(
        (head(&event).kind(), head(&event).target_seq),
        (v1::EventKind::MessageDeleted, seq)
    );
}

#[tokio::test]
async fn the_text_of_a_message_that_one_may_not_see_does_not_come_with_its_edit() {
    let server = Server::start(&[]).await;
    let epoch = server.info().await.epoch;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room("den").await;
    let seq = alice.send(&room, OLD).await.unwrap().seq;
    alice.invite(&room, &bob).await.unwrap();
    bob.join(&room).await.unwrap();
    let mut stream = bob.live().await;
    let edit = alice.edit(&room, seq, &format!("{OLD} again")).await.unwrap().seq;
    alice.react(&room, seq, "👍").await.unwrap();
    let deletion = alice.delete(&room, seq).await.unwrap().seq;
    let text = brought(&mut stream, &room, deletion).await;
    assert!(!text.contains(OLD), "{text}");
    let seen = stream
        .seen
        .iter()
        .filter_map(event_of)
        .find(|event| head(event).seq == edit)
        .unwrap();
    assert!(seen.body.is_none(), "an edit of what one may not see is a head alone");
    let text = everything(&bob, &room, &epoch).await;
    assert!(!text.contains(OLD), "{text}");
    refused(bob.reply(&room, seq, "x").await, ErrorReason::MessageNotFound);
    assert!(!bob.messages(&room).await.unwrap().iter().any(|message| message.seq == seq));
}

/// What a stream that resumes after `seq` is sent before it has caught up, as one text.
async fn resumed(user: &User, epoch: &str, room: &str, seq: i64) -> String {
    let mut stream = user.chat(resume(epoch, room, seq)).await.unwrap();
    stream.started().await;
    format!("{:?}", stream.caught_up().await)
}

#[tokio::test]
async fn streams_that_resume_at_the_same_place_get_what_each_of_them_may_see() {
    let server = Server::start(&[]).await;
    let epoch = server.info().await.epoch;
    let (alice, bob, carol) = (
        server.user("alice").await,
        server.user("bob").await,
        server.user("carol").await,
    );
    let room = alice.private_room_with("den", &[&bob]).await;
    let seq = alice.send(&room, "anise").await.unwrap().seq;
    alice.invite(&room, &carol).await.unwrap();
    carol.join(&room).await.unwrap();
    let edit = alice.edit(&room, seq, OLD).await.unwrap().seq;
    // Read from the journal once, and sent to both; the text belongs to a message that only one of them may see.
    for _ in 0..2 {
        assert!(resumed(&bob, &epoch, &room, edit - 1).await.contains(OLD));
        assert!(!resumed(&carol, &epoch, &room, edit - 1).await.contains(OLD));
    }
    // What was sent a moment ago is not sent again once it is deleted.
    alice.delete(&room, seq).await.unwrap();
    for user in [&bob, &carol] {
        for after in [edit - 1, 0] {
            assert!(!resumed(user, &epoch, &room, after).await.contains(OLD));
        }
    }
    // What comes after a page that others were sent is sent, too.
    let next = alice.send(&room, NEW).await.unwrap().seq;
    for user in [&bob, &carol] {
        assert!(resumed(user, &epoch, &room, edit - 1).await.contains(NEW));
        assert!(resumed(user, &epoch, &room, next - 1).await.contains(NEW));
    }
}

/// Whether the journal's database, or what waits to be moved into it, holds some bytes.
fn database_holds(server: &Server, text: &str) -> bool {
    let database = server.database();
    let waiting = database.with_file_name("greffe.db-wal");
    [database, waiting]
        .iter()
        .filter_map(|path| std::fs::read(path).ok())
        .any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}
