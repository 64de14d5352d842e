//! Sending, reading, searching.

use std::process::Stdio;

use crate::support::{PATIENCE, Person, Server, numbered};

#[test]
fn a_send_prints_its_receipt_and_a_tail_the_event() {
    let server = Server::start();
    let alice = server.user("alice");
    let receipt = &alice.objects(["send", "general", "Hello\nthere", "--json"])[0];
    for field in [
        "room",
        "room_id",
        "seq",
        "index",
        "time",
        "epoch",
        "leaf_hash",
        "request_id",
    ] {
        assert!(!receipt[field].is_null(), "{field} in {receipt}");
    }
    assert_eq!(receipt["leaf_hash"].as_str().map(str::len), Some(64));
    let events = alice.objects(["tail", "general", "--json"]);
    let event = events.last().expect("there is one");
    assert_eq!(
        (&event["seq"], &event["index"], &event["time"]),
        (&receipt["seq"], &receipt["index"], &receipt["time"])
    );
    assert_eq!(
        (&event["kind"], &event["author"]),
        (&"message_posted".into(), &"alice".into())
    );
    assert_eq!(
        (&event["text"], &event["room"]),
        (&"Hello\nthere".into(), &"general".into())
    );
    assert_eq!(event["body_state"], "present");
    let time = event["time"].as_str().expect("a time");
    assert!(time.len() == 27 && time.ends_with('Z'), "{time}");
}

#[test]
fn each_line_of_the_input_is_a_message_in_order() {
    let server = Server::start();
    let alice = server.user("alice");
    let input = numbered(70);
    let outcome = alice
        .run_with_input(["send", "general", "-", "--lines", "--json"], &input)
        .succeeded();
    assert_eq!(outcome.stdout.lines().count(), 70);
    let events = alice.objects(["tail", "general", "--limit", "70", "--json"]);
    let texts: Vec<_> = events.iter().filter_map(|event| event["text"].as_str()).collect();
    assert_eq!(texts, input.lines().collect::<Vec<_>>());
}

#[test]
fn one_message_is_read_from_the_input() {
    let server = Server::start();
    let alice = server.user("alice");
    alice.run_with_input(["send", "general", "-"], "one\ntwo\n").succeeded();
    let events = alice.objects(["tail", "general", "--limit", "1", "--json"]);
    assert_eq!(events[0]["text"], "one\ntwo");
}

#[test]
fn a_tail_pages_from_a_seq_and_from_the_end() {
    let server = Server::start_with(&["--limit", "page_max=3", "--limit", "page_default=3"]);
    let alice = server.user("alice");
    let input = numbered(10);
    alice.run_with_input(["send", "general", "-", "--lines"], &input).succeeded();
    let all = alice.objects(["tail", "general", "--from-seq", "1", "--json"]);
    let seqs: Vec<_> = all.iter().filter_map(|event| event["seq"].as_i64()).collect();
    assert_eq!(
        seqs,
        (1..=seqs.len()).filter_map(|n| i64::try_from(n).ok()).collect::<Vec<_>>()
    );
    let newest = alice.objects(["tail", "general", "--limit", "5", "--json"]);
    assert_eq!(newest, all[all.len() - 5..]);
    let some = alice.objects(["tail", "general", "--from-seq", "2", "--limit", "4", "--json"]);
    assert_eq!(some, all[1..5]);
}

#[test]
fn following_goes_on_through_a_restart_without_loss_or_doubles() {
    let mut server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let following = bob.start(["tail", "general", "--follow", "--json"]);
    alice.run(["send", "general", "first"]).succeeded();
    following.expect_line("\"first\"");
    server.restart();
    alice.run(["send", "general", "second"]).succeeded();
    // Nothing but the second message, once, may come.
    let next = following.expect_line("\"seq\"");
    assert!(next.contains("\"second\""), "{next}");
    alice.run(["send", "general", "third"]).succeeded();
    let next = following.expect_line("\"seq\"");
    assert!(next.contains("\"third\""), "{next}");
}

#[test]
fn the_text_of_others_cannot_command_the_terminal() {
    let server = Server::start();
    let alice = server.user("alice");
    alice.run(["send", "general", "\u{1b}[2J\u{202e}evil\nfake line"]).succeeded();
    let shown = alice.run(["tail", "general", "--limit", "1"]).succeeded().stdout;
    assert!(shown.contains("\\u{1b}[2J\\u{202e}evil\n    | fake line"), "{shown:?}");
    assert!(!shown.contains('\u{1b}'));
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let server = Server::start();
    let alice = server.user("alice");
    alice.run(["send", "general", "x"]).succeeded();
    let mut process = alice
        .command(["tail", "general"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the client can be started");
    drop(process.stdout.take());
    let output = process.wait_with_output().expect("the client ends");
    assert_eq!(
        (output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()),
        (Some(0), "")
    );
}

#[test]
fn messages_are_edited_deleted_answered_and_reacted_to() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let seq = alice.objects(["send", "general", "frist", "--json"])[0]["seq"].to_string();
    alice.run(["edit", "general", &seq, "first"]).succeeded();
    bob.run(["edit", "general", &seq, "mine"]).failed(5);
    bob.run(["send", "general", "indeed", "--reply-to", &seq]).succeeded();
    bob.run(["react", "general", &seq, "👍"]).succeeded();
    bob.run(["react", "general", &seq, "👍", "--remove"]).succeeded();
    let shown = bob.run(["tail", "general"]).succeeded().stdout;
    for part in [
        "alice wrote a message that was edited later".to_owned(),
        format!("alice edited #{seq}: first"),
        format!("bob (to #{seq}): indeed"),
        format!("bob reacted 👍 to #{seq}"),
        format!("bob took back 👍 from #{seq}"),
    ] {
        assert!(shown.contains(&part), "{part} in {shown}");
    }
    alice.run(["delete", "general", &seq]).succeeded();
    let shown = bob.run(["tail", "general"]).succeeded().stdout;
    assert!(
        !shown.contains("first") && shown.contains(&format!("alice deleted #{seq}")),
        "{shown}"
    );
    alice.run(["delete", "general", "9999"]).failed(4);
}

#[test]
fn private_words_reach_one_person() {
    let server = Server::start();
    let (alice, bob, carol) = (server.user("alice"), server.user("bob"), server.user("carol"));
    alice.run(["send", "@bob", "psst"]).succeeded();
    let events = bob.objects(["tail", "@alice", "--limit", "1", "--json"]);
    assert_eq!(
        (&events[0]["text"], &events[0]["room"]),
        (&"psst".into(), &"@alice".into())
    );
    let room_id = events[0]["room_id"].as_str().expect("an id");
    carol.run(["tail", room_id]).failed(4);
}

#[test]
fn what_was_said_is_found_and_marked_as_read() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    alice.run(["send", "general", "the quick brown fox, @bob"]).succeeded();
    let unread = |person: &Person| {
        let rooms = person.objects(["rooms", "--json"]);
        let general = rooms
            .into_iter()
            .find(|room| room["room"] == "general")
            .expect("everyone is in it");
        (general["unread"].clone(), general["mentions"].clone())
    };
    assert_eq!(unread(&bob), (1.into(), 1.into()));
    bob.run(["read", "general"]).succeeded();
    assert_eq!(unread(&bob), (0.into(), 0.into()));
    // The index follows the journal within about a second.
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let found = bob.objects(["search", "quick", "fox", "--json"]);
        if let Some(message) = found.first() {
            assert_eq!(
                (&message["author"], &message["room"]),
                (&"alice".into(), &"general".into())
            );
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the message is not found");
    }
    assert!(bob.objects(["search", "nothing-like-it", "--json"]).is_empty());
}
