//! Moderators remove and re-invite people who pipeline sends.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use v1::chat_request::Action;

use crate::support::stream::{head, outcome, text_of};
use crate::support::user::message;
use crate::support::{ErrorReason, Kind, Refusal, Server, User, setting, v1, within};

/// People who send.
const PEOPLE: usize = 50;
/// Sends that each of them has unanswered at a time.
const WINDOW: usize = 16;

/// The outcome of each request id.
type Outcomes = HashMap<String, Result<v1::Receipt, Refusal>>;

/// Sends over one stream, many at a time, until `stop`, and comes back to the room whenever somebody invites.
async fn keep_sending(person: User, room: String, stop: Arc<AtomicBool>) -> Outcomes {
    let mut stream = person.live().await;
    let sender = stream.sender();
    let (mut sent, mut outcomes) = (HashSet::new(), Outcomes::new());
    while !stop.load(Ordering::Relaxed) || outcomes.len() < sent.len() {
        while !stop.load(Ordering::Relaxed) && sent.len() - outcomes.len() < WINDOW {
            let request = message(&room, &format!("{} {}", person.name, sent.len()));
            sent.insert(request.request_id.clone());
            let action = Some(Action::SendMessage(request));
            sender.send(v1::ChatRequest { action }).await.unwrap();
        }
        let kind = stream.next().await.expect("the stream goes on");
        if let Kind::SendResult(result) = &kind {
            assert!(sent.contains(&result.request_id), "an answer to nothing");
            let outcome = outcome(result);
            let out = outcome.is_err();
            let earlier = outcomes.insert(result.request_id.clone(), outcome);
            assert!(earlier.is_none(), "two outcomes of one request");
            if out {
                drop(person.join(&room).await);
            }
        }
        stream.seen.clear();
    }
    outcomes
}

/// Removes and invites every other person, a few times.
async fn keep_removing(moderator: User, room: String, people: Vec<User>, offset: usize, rounds: usize) {
    for round in 0..rounds {
        for person in people.iter().skip((offset + round) % 2).step_by(2) {
            let removed = moderator.remove(&room, person).await;
            let invited = moderator.invite(&room, person).await;
            for refusal in [removed.err(), invited.err()].into_iter().flatten() {
                let expected = [
                    ErrorReason::MemberNotFound,
                    ErrorReason::AlreadyInvited,
                    ErrorReason::AlreadyAMember,
                ];
                assert!(expected.contains(&refusal.reason), "{refusal:?}");
            }
        }
    }
}

#[tokio::test]
async fn every_send_has_one_outcome_while_moderators_remove_and_invite_the_senders() {
    let rounds = usize::try_from(setting("GREFFE_TEST_REMOVALS", 2)).expect("a small number");
    let server = Server::start(&[]).await;
    let owner = server.user("owner").await;
    let moderators = server.users("mod", 2).await;
    let people = server.users("person", PEOPLE).await;
    let room = owner.public_room("arena").await;
    for person in moderators.iter().chain(&people) {
        person.join(&room).await.unwrap();
    }
    for moderator in &moderators {
        owner.set_role(&room, moderator, v1::MemberRole::Moderator).await.unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut senders = tokio::task::JoinSet::new();
    for person in people.clone() {
        senders.spawn(keep_sending(person, room.clone(), stop.clone()));
    }
    let mut removers = tokio::task::JoinSet::new();
    for (offset, moderator) in moderators.into_iter().enumerate() {
        removers.spawn(keep_removing(moderator, room.clone(), people.clone(), offset, rounds));
    }
    while let Some(done) = removers.join_next().await {
        done.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let outcomes = within("all outcomes", senders.join_all()).await;

    let mut receipts = HashMap::new();
    let mut refusals = 0;
    for (id, outcome) in outcomes.into_iter().flatten() {
        match outcome {
            Ok(receipt) => assert!(receipts.insert(receipt.seq, id).is_none(), "two requests have one seq"),
            Err(refusal) => {
                assert_eq!(refusal.reason, ErrorReason::NotAMember, "{refusal:?}");
                refusals += 1;
            }
        }
    }
    assert!(
        refusals > 0 && !receipts.is_empty(),
        "{refusals} refusals, {} receipts",
        receipts.len()
    );
    // The room from its first event on: dense, each message acknowledged, and none by somebody who was out.
    let events = owner.events_after(&room, 0).await.unwrap();
    let mut inside = HashSet::from([owner.id.as_str()]);
    let mut messages = 0;
    for (expected, event) in (1..).zip(&events) {
        let head = head(event);
        assert_eq!(head.seq, expected);
        match head.kind() {
            v1::EventKind::MemberJoined => assert!(inside.insert(&head.subject_id), "joined twice at {}", head.seq),
            // Or an invitation was taken back.
            v1::EventKind::MemberRemoved => drop(inside.remove(head.subject_id.as_str())),
            v1::EventKind::MessagePosted => {
                let author_is_in = inside.contains(head.actor_id.as_str());
                assert!(author_is_in, "{:?} was out at {}", text_of(event), head.seq);
                assert!(
                    receipts.contains_key(&head.seq),
                    "seq {} was never acknowledged",
                    head.seq
                );
                messages += 1;
            }
            _ => {}
        }
    }
    assert_eq!(messages, receipts.len());
}
