//! Clients that stop reading: bounded memory, nobody else held up, nothing lost.

use std::time::{Duration, Instant};

use v1::chat_request::Action;

use crate::support::load::Ledger;
use crate::support::stream::{head, resume};
use crate::support::user::message;
use crate::support::{ErrorReason, Kind, Server, User, setting, v1};

/// What a server may grow by for one client that does not read.
const GROWTH: u64 = 16 << 20;

/// Lets the server allocate what it allocates once (caches, statements, pools): until more messages cost hardly more memory, or for long.
async fn warm_up(server: &Server, user: &User, room: &str) {
    for _ in 0..10 {
        let before = server.resident_bytes();
        Ledger::new(room).load(user.clone(), 3000).await;
        if server.resident_bytes() < before + (1 << 20) {
            break;
        }
    }
}

#[tokio::test]
async fn a_subscriber_that_stops_reading_costs_little_and_gets_everything_when_it_reads_again() {
    let count = usize::try_from(setting("GREFFE_TEST_UNREAD", 6000)).expect("a small number");
    let server = Server::start(&[]).await;
    let epoch = server.info().await.epoch;
    let (alice, bob, carol) = (
        server.user("alice").await,
        server.user("bob").await,
        server.user("carol").await,
    );
    let room = alice.private_room_with("den", &[&bob, &carol]).await;
    warm_up(&server, &alice, &room).await;
    let start = alice.room(&room).await.unwrap().head_seq;
    let mut slow = bob.over(server.narrow_channel().await).live().await;
    let before = server.resident_bytes();

    let mut watcher = carol.live().await;
    let (loader, to) = (alice.over(server.channel().await), room.clone());
    let load = tokio::spawn(async move { Ledger::new(&to).load(loader, count).await });
    let (mut worst, mut largest) = (Duration::ZERO, before);
    let end = start + i64::try_from(count).unwrap();
    let mut position = start;
    while position < end {
        let waiting = Instant::now();
        position = head(&watcher.event_in(&room).await).seq;
        worst = worst.max(waiting.elapsed());
        watcher.seen.clear();
        if position % 500 == 0 {
            largest = largest.max(server.resident_bytes());
        }
    }
    load.await.unwrap();
    assert!(worst < Duration::from_secs(3), "the others waited {worst:?}");
    let grown = largest.saturating_sub(before);
    // The watcher's own stream and the load's are in it as well.
    assert!(grown < GROWTH, "grown by {} KiB", grown / 1024);

    for expected in start + 1..=end {
        assert_eq!(head(&slow.event_in(&room).await).seq, expected);
        slow.seen.clear();
    }
    let mut resumed = bob.chat(resume(&epoch, &room, end - 1)).await.unwrap();
    resumed.started().await;
    assert_eq!(resumed.caught_up().await.len(), 1);
}

#[tokio::test]
async fn a_sender_that_never_reads_its_results_is_bounded_and_each_message_is_stored_once() {
    let count = setting("GREFFE_TEST_UNREAD", 6000);
    let server = Server::start(&[("result_bytes", 65536)]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("den", &[&bob]).await;
    warm_up(&server, &alice, &room).await;
    let before = server.resident_bytes();
    let mut stream = bob.over(server.narrow_channel().await).live().await;
    let sender = stream.sender();
    let mut ids = Vec::new();
    for number in 0..count {
        let request = message(&room, &format!("message {number}"));
        let id = request.request_id.clone();
        let action = Some(Action::SendMessage(request));
        // A server that has ended the stream need not take anything more.
        let sending = sender.send(v1::ChatRequest { action });
        let Ok(Ok(())) = tokio::time::timeout(Duration::from_secs(3), sending).await else {
            break;
        };
        ids.push(id);
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH, "grown by {} KiB", grown / 1024);
    let mut stored = 0;
    let mut answered = 0;
    let mut slow = false;
    while answered < ids.len() {
        match stream.next().await {
            Some(Kind::SendResult(result)) => {
                answered += 1;
                match crate::support::stream::outcome(&result) {
                    Ok(_) => stored += 1,
                    Err(refusal) => assert_eq!(refusal.reason, ErrorReason::TooManyUnanswered),
                }
            }
            Some(Kind::Ended(ended)) => {
                assert_eq!(ended.reason(), v1::EndReason::SlowReader);
                slow = true;
                break;
            }
            Some(_) => {}
            None => panic!("the stream ended without a reason: {:?}", stream.status),
        }
        stream.seen.clear();
    }
    assert!(slow, "all {answered} answers were kept for a client that did not read");
    let messages = bob.events_after(&room, 0).await.unwrap();
    let mine = messages
        .iter()
        .filter(|event| head(event).actor_id == bob.id && head(event).kind() == v1::EventKind::MessagePosted);
    let texts: Vec<&str> = mine.filter_map(crate::support::stream::text_of).collect();
    let unique: std::collections::HashSet<&&str> = texts.iter().collect();
    assert_eq!(unique.len(), texts.len(), "a message is stored twice");
    assert!(texts.len() >= stored, "{} stored, {stored} acknowledged", texts.len());
}
