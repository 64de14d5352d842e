//! Clients that stop reading: bounded memory, nobody else held up, nothing lost.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use v1::chat_request::Action;

use crate::support::load::Ledger;
use crate::support::stream::{head, outcome, resume, text_of};
use crate::support::user::message;
use crate::support::{ErrorReason, Kind, Server, User, setting, v1, within};

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

/// Sends all of `requests` again over a new stream, a few at a time, until each is answered with a receipt.
async fn repeat_all(user: &User, requests: &[v1::SendMessageRequest]) {
    let mut stream = user.live().await;
    let (mut sent, mut answered) = (0, 0);
    while answered < requests.len() {
        while sent < requests.len() && sent - answered < 128 {
            stream.act(Action::SendMessage(requests[sent].clone())).await;
            sent += 1;
        }
        stream.next_result().await.1.unwrap();
        answered += 1;
        stream.seen.clear();
    }
}

/// The texts of a user's messages in a room.
async fn texts_of(user: &User, room: &str) -> Vec<String> {
    let events = user.events_after(room, 0).await.unwrap();
    let own = events.iter().filter(|event| head(event).actor_id == user.id);
    own.filter_map(|event| text_of(event).map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_sender_that_never_reads_its_results_is_bounded_and_ended_and_each_message_is_stored_once() {
    const RESULT_BYTES: usize = 65_536;
    // Each answer has at least a request id.
    const ANSWER_BYTES: usize = 36;
    let count = usize::try_from(setting("GREFFE_TEST_UNANSWERED", 20_000)).expect("a small number");
    let server = Server::start(&[("result_bytes", 65_536)]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("den", &[&bob]).await;
    warm_up(&server, &alice, &room).await;
    let before = server.resident_bytes();
    let mut largest = before;
    let mut stream = bob.over(server.narrow_channel().await).live().await;
    // More than the connection takes unread: not even the stream's end can be told before it is read.
    for _ in 0..20 {
        alice.send(&room, &"x".repeat(16384)).await.unwrap();
    }
    let sender = stream.sender();
    let mut requests = Vec::with_capacity(count);
    let mut open = true;
    for number in 0..count {
        let request = message(&room, &format!("message {number}"));
        requests.push(request.clone());
        if open {
            let action = Some(Action::SendMessage(request));
            // A server that has ended the stream need not take anything more.
            open = within("room for a send", sender.send(v1::ChatRequest { action })).await.is_ok();
        }
        if number % 1000 == 0 {
            largest = largest.max(server.resident_bytes());
        }
    }
    // So many answers cannot wait, so the stream has been ended before these; each has time to be decided before the next.
    let mut late = Vec::new();
    for number in 0..50 {
        let request = message(&room, &format!("late message {number}"));
        late.push(request.text.clone());
        requests.push(request.clone());
        let action = Some(Action::SendMessage(request));
        open = open && within("room for a send", sender.send(v1::ChatRequest { action })).await.is_ok();
        bob.mark_read(&room, 1).await.unwrap();
    }
    largest = largest.max(server.resident_bytes());
    let grown = largest.saturating_sub(before);
    assert!(grown < GROWTH, "grown by {} KiB", grown / 1024);

    let mut receipts = HashMap::new();
    let mut answered = 0;
    let reason = loop {
        match stream.next().await {
            Some(Kind::SendResult(result)) => {
                answered += 1;
                match outcome(&result) {
                    Ok(receipt) => drop(receipts.insert(result.request_id, receipt)),
                    Err(refusal) => assert_eq!(refusal.reason, ErrorReason::TooManyUnanswered),
                }
            }
            Some(Kind::Ended(ended)) => break ended.reason(),
            Some(_) => {}
            None => panic!("the stream ended without a reason: {:?}", stream.status),
        }
        stream.seen.clear();
    };
    assert_eq!(reason, v1::EndReason::SlowReader, "after {answered} of {count} answers");
    let stored = texts_of(&bob, &room).await;
    // The answers that were told, those that waited unread, and what had been asked and not been answered when the stream ended.
    let bound = answered + RESULT_BYTES / ANSWER_BYTES + 256;
    assert!(
        (receipts.len()..=bound).contains(&stored.len()) && bound < count,
        "{} stored; {} acknowledged, at most {bound} expected",
        stored.len(),
        receipts.len()
    );
    let too_late: Vec<&String> = late.iter().filter(|text| stored.contains(text)).collect();
    assert!(too_late.is_empty(), "stored after the end: {too_late:?}");

    repeat_all(&bob, &requests).await;
    let mut texts = texts_of(&bob, &room).await;
    texts.sort_unstable();
    let mut expected: Vec<String> = requests.iter().map(|request| request.text.clone()).collect();
    expected.sort_unstable();
    assert_eq!(texts.len(), expected.len(), "each message is there once");
    assert!(texts == expected, "other messages are there than were sent");
}
