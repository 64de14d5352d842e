//! Erasure: what must go is gone from every file, what stays is still proved, and what is held stays.

use std::path::Path;

use v1::event_body::Content;

use crate::cases::{about, open};
use crate::files::{bytes, put};
use crate::journal::tamper;
use crate::power_loss::compiled;
use crate::support::operator::{content_of, seconds};
use crate::support::stream::head;
use crate::support::{ErrorReason, Operator, Options, PASSWORD, Server, User, eventually, record, refused, v1};

/// Words that nothing else has.
const WORDS: [&str; 5] = [
    "zwetschgendatschi",
    "rhabarberbarbara",
    "quarkkeulchen",
    "spargelwasser",
    "pfefferminzprinz",
];

/// The files of a directory in which some bytes are, by path.
fn places(directory: &Path, wanted: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(places(&path, wanted));
        } else if let Ok(content) = std::fs::read(&path)
            && content.windows(wanted.len()).any(|window| window == wanted)
        {
            found.push(path.display().to_string());
        }
    }
    found
}

fn of_user(user: &str) -> record::EraseRequest {
    record::EraseRequest {
        basis: "she asked for it".into(),
        target: Some(record::erase_request::Target::User(user.into())),
        ..record::EraseRequest::default()
    }
}

fn of_room(room: &str) -> record::EraseRequest {
    record::EraseRequest {
        basis: "nobody needs it".into(),
        target: Some(record::erase_request::Target::Room(room.into())),
        ..record::EraseRequest::default()
    }
}

/// Waits until an erasure is done.
async fn done(operator: &Operator, index: i64) -> record::Erasure {
    eventually("the end of an erasure", || async {
        let request = record::GetErasureRequest { erasure_index: index };
        let erasure = operator.call(request).await.unwrap().erasure.unwrap();
        (erasure.state() == record::ErasureState::Done).then_some(erasure)
    })
    .await
}

/// Everything that alice leaves.
async fn life_of_alice(server: &Server, bob: &User) -> (User, String, Vec<u8>) {
    let alice = server.user("alice").await;
    let general = server.general().await;
    let den = alice.private_room_with("den", &[bob]).await;
    let direct = alice.direct_room(bob).await;
    alice.send(&general, &format!("{} for all", WORDS[0])).await.unwrap();
    // Long ones lie elsewhere in the database than short ones.
    let long = format!("{} {}", WORDS[1], WORDS[1].repeat(900));
    let edited = alice.send(&den, &long).await.unwrap();
    alice.edit(&den, edited.seq, &format!("{} instead", WORDS[2])).await.unwrap();
    let deleted = alice.send(&direct, &format!("{} for bob", WORDS[3])).await.unwrap();
    alice.delete(&direct, deleted.seq).await.unwrap();
    alice.show_as(&format!("Alice {}", WORDS[4])).await.unwrap();
    bob.react(&den, edited.seq, "👍").await.unwrap();
    alice.react(&den, edited.seq, "spargel").await.unwrap();
    let content = bytes(300_000, 7);
    put(&alice, &den, "rezept-quarkkeulchen.txt", &content).await.unwrap();
    bob.send(&den, "bob stays").await.unwrap();
    for word in &WORDS[..1] {
        eventually("the search", || async {
            (!bob.search(word).await.unwrap().is_empty()).then_some(())
        })
        .await;
    }
    (alice, den, content)
}

#[tokio::test]
async fn an_erased_person_leaves_no_byte_and_the_tree_is_what_it_was() {
    let mut server = Server::start(&[]).await;
    let bob = server.user("bob").await;
    let (alice, den, content) = life_of_alice(&server, &bob).await;
    let operator = server.operator().await;
    let directory = server.data_dir();
    // The search of the files is good for something.
    for word in WORDS {
        assert!(!places(&directory, word.as_bytes()).is_empty(), "{word}");
    }
    assert!(!places(&directory, &content[1000..1100]).is_empty());
    let events = bob.events_after(&den, 0).await.unwrap();

    let answer = operator.act(of_user("alice"), "article 17").await.unwrap();
    let erasure = answer.erasure.unwrap();
    // From the answer on nobody is shown anything.
    assert!(bob.search(WORDS[2]).await.unwrap().is_empty());
    assert!(
        bob.messages(&den)
            .await
            .unwrap()
            .iter()
            .all(|message| !message.text.contains("quark"))
    );
    refused(alice.send(&den, "still here?").await, ErrorReason::SessionEnded);
    let erasure = done(&operator, erasure.index).await;
    assert!(erasure.rows > 8, "{erasure:?}");
    assert_eq!(erasure.files, 1);

    // Not in the database, nor in its log, nor in the index, nor among the files: while the server runs, and after it stopped.
    for _ in 0..2 {
        for word in WORDS {
            assert_eq!(places(&directory, word.as_bytes()), [""; 0], "{word}");
        }
        for text in ["alice", "Alice", "rezept", "spargel"] {
            assert_eq!(places(&directory, text.as_bytes()), [""; 0], "{text}");
        }
        assert_eq!(places(&directory, &content[1000..1100]), [""; 0]);
        server.restart().await;
    }
    let bob = server.login("bob").await;
    let after = bob.events_after(&den, 0).await.unwrap();
    let heads = |events: &[v1::Event]| events.iter().map(|event| head(event).clone()).collect::<Vec<_>>();
    assert_eq!(heads(&after)[..events.len()], heads(&events)[..]);
    let erased = after.iter().filter(|event| event.body_state() == v1::BodyState::Erased);
    assert!(erased.count() >= 4);
    let texts: Vec<String> = bob
        .messages(&den)
        .await
        .unwrap()
        .into_iter()
        .map(|message| message.text)
        .collect();
    assert_eq!(texts.last().map(String::as_str), Some("bob stays"));

    // Nobody gets the name, and nobody the account.
    refused(
        User::register(server.channel().await, "alice", PASSWORD).await,
        ErrorReason::UserNameTaken,
    );
    refused(
        User::log_in(server.channel().await, "alice", PASSWORD).await,
        ErrorReason::WrongCredentials,
    );
    assert!(server.terminate().await.success());
    let report = server.check().await;
    assert!(report["erased"].as_i64().unwrap() >= erasure.rows, "{report}");
    let whole = std::fs::read(server.database()).unwrap();
    // What nobody erased is not erased.
    for change in [
        "UPDATE journal SET body = NULL WHERE idx = (SELECT idx FROM room_event JOIN user ON no = actor WHERE name = 'bob' AND kind = 10)",
        "UPDATE journal SET body = NULL WHERE idx = 0",
        "UPDATE room_event SET state = 0 WHERE state = 3",
        "UPDATE user SET name = 'alice' WHERE name LIKE 'erased-%'",
    ] {
        tamper(&server, change);
        let (status, _, stderr) = server.run(&["check"]).await;
        assert_eq!(status.code(), Some(1), "{change}: {stderr}");
        std::fs::write(server.database(), &whole).unwrap();
    }
    server.check().await;
}

#[tokio::test]
async fn an_erased_room_leaves_no_byte() {
    let mut server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let operator = server.operator().await;
    let room = alice.private_room_with(WORDS[0], &[&bob]).await;
    alice.set_topic(&room, WORDS[1]).await.unwrap();
    let mine = alice.send(&room, WORDS[2]).await.unwrap();
    bob.reply(&room, mine.seq, WORDS[3]).await.unwrap();
    let content = bytes(100_000, 9);
    put(&bob, &room, "pfefferminzprinz.txt", &content).await.unwrap();
    let general = server.general().await;
    bob.send(&general, "elsewhere").await.unwrap();
    let direct = alice.direct_room(&bob).await;
    alice.send(&direct, "spargelwasser").await.unwrap();

    refused(
        operator.act(of_room("general"), "all of it").await,
        ErrorReason::InvalidField,
    );
    for room in [&room, &direct] {
        let erasure = operator.act(of_room(room), "a wrong room").await.unwrap().erasure.unwrap();
        done(&operator, erasure.index).await;
    }
    refused(
        operator.act(of_room(&room), "again").await,
        ErrorReason::NothingToChange,
    );
    for word in WORDS {
        assert_eq!(places(&server.data_dir(), word.as_bytes()), [""; 0], "{word}");
    }
    assert_eq!(places(&server.data_dir(), &content[1000..1100]), [""; 0]);
    refused(bob.send(&room, "hello?").await, ErrorReason::RoomArchived);
    // The two can talk again.
    let another = alice.direct_room(&bob).await;
    assert_ne!(another, direct);
    bob.send(&another, "hello again").await.unwrap();
    assert_eq!(bob.messages(&general).await.unwrap()[0].text, "elsewhere");
    server.restart().await;
    assert_eq!(
        server.login("alice").await.direct_room(&server.login("bob").await).await,
        another
    );
    assert!(server.terminate().await.success());
    server.check().await;
}

#[tokio::test]
async fn what_is_held_is_not_erased_until_the_hold_is_released() {
    let mut server = Server::start(&[]).await;
    let bob = server.user("bob").await;
    let (_alice, den, _) = life_of_alice(&server, &bob).await;
    let operator = server.operator().await;
    let case = open(&operator, about(&[], &[&den])).await;
    let hold = record::AddHoldRequest {
        case_index: case.index,
        ..record::AddHoldRequest::default()
    };
    let hold = operator.act(hold, "the trial goes on").await.unwrap().hold.unwrap();
    let refusal = refused(operator.act(of_user("alice"), "article 17").await, ErrorReason::Held);
    assert_eq!(refusal.metadata["hold_index"], hold.index.to_string());
    refused(
        operator.act(of_user("alice"), "article 17, again").await,
        ErrorReason::Held,
    );
    refused(operator.act(of_room(&den), "all of it").await, ErrorReason::Held);
    // Whoever wrote nothing in that room is not held.
    let carol = server.user("carol").await;
    carol.send(&server.general().await, "carol was here").await.unwrap();
    let erasure = operator.act(of_user("carol"), "article 17").await.unwrap().erasure.unwrap();
    done(&operator, erasure.index).await;

    server.restart().await;
    let operator = server.operator().await;
    for word in WORDS {
        assert!(!places(&server.data_dir(), word.as_bytes()).is_empty(), "{word}");
    }
    let list = operator.call(record::ListErasuresRequest::default()).await.unwrap().erasures;
    let waiting: Vec<i64> = list
        .iter()
        .filter(|erasure| erasure.state() == record::ErasureState::Held)
        .map(|erasure| erasure.index)
        .collect();
    assert_eq!(waiting.len(), 2, "{list:?}");
    let release = record::ReleaseHoldRequest {
        hold_index: hold.index,
        ..record::ReleaseHoldRequest::default()
    };
    let released = operator.act(release.clone(), "the trial is over").await.unwrap();
    let mut begun = released.erasure_indices;
    begun.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(begun, waiting);
    for index in waiting {
        done(&operator, index).await;
    }
    refused(operator.act(release, "again").await, ErrorReason::HoldNotFound);
    for word in WORDS {
        assert_eq!(places(&server.data_dir(), word.as_bytes()), [""; 0], "{word}");
    }
    assert!(server.terminate().await.success());
    server.check().await;
}

#[tokio::test]
async fn a_kill_in_the_middle_of_an_erasure_only_delays_it() {
    let mut server = Server::start(&[("messages_per_second", 0)]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let general = server.general().await;
    for number in 0..400 {
        alice.send(&general, &format!("{} {number}", WORDS[0])).await.unwrap();
    }
    bob.send(&general, "bob stays").await.unwrap();
    let operator = server.operator().await;
    let order = operator.act(of_user("alice"), "article 17");
    // The answer may be lost with the server.
    let cut = async {
        eventually("the first erased body", || async {
            let left = bob.messages(&general).await.unwrap_or_default();
            left.iter().any(|message| message.deleted).then_some(())
        })
        .await;
    };
    tokio::select! {
        _ = order => {}
        () = cut => {}
    }
    server.kill_9().await;
    server.spawn().await.unwrap();
    let operator = server.operator().await;
    let list = operator.call(record::ListErasuresRequest::default()).await.unwrap().erasures;
    let erasure = done(&operator, list[0].index).await;
    assert!(erasure.rows >= 400, "{erasure:?}");
    assert_eq!(places(&server.data_dir(), WORDS[0].as_bytes()), [""; 0]);
    assert!(server.terminate().await.success());
    server.check().await;
}

/// Seconds of a day.
const DAY: i64 = 24 * 3600;

/// Lets the next start of a server be so many days ago.
fn days_ago(server: &mut Server, days: i64) {
    let seconds = (-days * DAY).to_string();
    let shim = compiled("clock").display().to_string();
    server.options_mut().environment = match days {
        0 => Vec::new(),
        _ => vec![("LD_PRELOAD".into(), shim), ("SHIM_CLOCK".into(), seconds)],
    };
}

#[tokio::test]
async fn what_was_kept_for_its_time_is_erased_unless_it_is_held() {
    let mut server = Server::stopped(Options::default());
    days_ago(&mut server, 400);
    server.spawn().await.unwrap();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let general = server.general().await;
    let den = alice.private_room_with("den", &[&bob]).await;
    alice.send(&general, WORDS[0]).await.unwrap();
    alice.send(&den, WORDS[1]).await.unwrap();
    let (content, held_content) = (bytes(50_000, 3), bytes(50_000, 4));
    put(&alice, &general, "old-quarkkeulchen.txt", &content).await.unwrap();
    put(&alice, &den, "held-spargelwasser.txt", &held_content).await.unwrap();
    assert!(server.terminate().await.success());
    let directory = server.data_dir();
    let is_there = |bytes: &[u8]| !places(&directory, bytes).is_empty();
    let address = b"127.0.0.1";
    assert!(is_there(address));

    // Long sessions of members are over by now, and so is the year for which addresses are kept.
    days_ago(&mut server, 0);
    server.spawn().await.unwrap();
    let operator = server.operator().await;
    let set = |class: v1::RetentionClass, kept: i64| record::SetRetentionRequest {
        class: class.into(),
        keep: Some(seconds(kept)),
        ..record::SetRetentionRequest::default()
    };
    // The sessions end within the first minute; until then it is kept where they are used from.
    eventually("the end of old addresses", || async {
        let anew = set(v1::RetentionClass::Connections, 365 * DAY);
        operator.act(anew, "as it is").await.unwrap();
        let rows = operator.audit_after(0).await;
        let applied = rows.iter().any(|row| matches!(content_of(row), Content::RetentionApplied(_)));
        applied.then_some(())
    })
    .await;
    eventually("no addresses", || async { (!is_there(address)).then_some(()) }).await;
    let bob = server.login("bob").await;
    bob.send(&general, WORDS[3]).await.unwrap();

    let usual = operator.call(record::GetRetentionRequest {}).await.unwrap().retention;
    let keeps = |retention: &[record::Retention], class: v1::RetentionClass| {
        let found = retention.iter().find(|one| one.class() == class);
        found.expect("each class is there").keep.map(|keep| keep.seconds)
    };
    assert_eq!(keeps(&usual, v1::RetentionClass::Messages), None);
    assert_eq!(keeps(&usual, v1::RetentionClass::Connections), Some(365 * DAY));
    for wrong in [0, 59, -1, i64::MAX] {
        let set = set(v1::RetentionClass::Messages, wrong);
        refused(operator.act(set, "tidiness").await, ErrorReason::InvalidField);
    }
    let case = open(&operator, about(&[], &[&den])).await;
    let hold = record::AddHoldRequest {
        case_index: case.index,
        ..record::AddHoldRequest::default()
    };
    let hold = operator.act(hold, "the trial goes on").await.unwrap().hold.unwrap();
    for class in [v1::RetentionClass::Messages, v1::RetentionClass::Files] {
        let kept = operator.act(set(class, 30 * DAY), "tidiness").await.unwrap().retention;
        assert_eq!(keeps(&kept, class), Some(30 * DAY));
    }
    eventually("the end of what is old", || async {
        let left = [WORDS[0].as_bytes(), b"old-quarkkeulchen", &content[1000..1100]];
        (!left.iter().any(|bytes| is_there(bytes))).then_some(())
    })
    .await;
    assert!(is_there(WORDS[1].as_bytes()) && is_there(WORDS[3].as_bytes()));
    assert!(is_there(b"held-spargelwasser") && is_there(&held_content[1000..1100]));
    let release = record::ReleaseHoldRequest {
        hold_index: hold.index,
        ..record::ReleaseHoldRequest::default()
    };
    operator.act(release, "the trial is over").await.unwrap();
    eventually("the end of what was held", || async {
        let left = [WORDS[1].as_bytes(), b"held-spargelwasser", &held_content[1000..1100]];
        (!left.iter().any(|bytes| is_there(bytes))).then_some(())
    })
    .await;
    assert!(is_there(WORDS[3].as_bytes()));
    server.restart().await;
    assert!(server.terminate().await.success());
    server.check().await;
}
