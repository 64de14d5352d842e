//! `greffe chat` through pipes.

use crate::support::{Server, numbered};

#[test]
fn lines_are_messages_and_what_others_say_is_printed() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let mut a = alice.start(["chat"]);
    let mut b = bob.start(["chat"]);
    a.type_line("hello from alice");
    b.type_line("hello from bob");
    for chat in [&a, &b] {
        chat.expect_line("bob: hello from bob");
    }
    a.end_input();
    b.end_input();
    assert_eq!(a.wait().0.code(), Some(0));
    assert_eq!(b.wait().0.code(), Some(0));
    let shown = alice.run(["tail", "general"]).succeeded().stdout;
    assert!(
        shown.contains("alice: hello from alice") && shown.contains("bob: hello from bob"),
        "{shown}"
    );
}

#[test]
fn everything_is_acknowledged_before_the_end() {
    let server = Server::start_with(&["--limit", "messages_per_second=0"]);
    let alice = server.user("alice");
    let input = numbered(300);
    alice.run_with_input(["chat"], &input).succeeded();
    let events = alice.objects(["tail", "general", "--limit", "300", "--json"]);
    let texts: Vec<_> = events.iter().filter_map(|event| event["text"].as_str()).collect();
    assert_eq!(texts, input.lines().collect::<Vec<_>>());
}

#[test]
fn the_old_words_and_the_new_ones_work_with_both_signs() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    for (help, list, private, exit) in [
        ("#Help", "#ListU", "#Private bob", "#Exit"),
        ("/help", "/listu", "/private bob", "/exit"),
    ] {
        let mut chat = alice.start(["chat"]);
        chat.type_line(help);
        chat.expect_line("/private USER");
        chat.type_line(list);
        chat.expect_line("bob");
        chat.type_line(private);
        chat.type_line(&format!("only for bob by {exit}"));
        chat.expect_line(&format!("alice: only for bob by {exit}"));
        chat.type_line("/back");
        chat.type_line(&format!("for all by {exit}"));
        chat.expect_line(&format!("alice: for all by {exit}"));
        chat.type_line(exit);
        assert_eq!(chat.wait().0.code(), Some(0));
    }
    let direct = bob.run(["tail", "@alice"]).succeeded().stdout;
    assert!(
        direct.contains("only for bob by #Exit") && direct.contains("only for bob by /exit"),
        "{direct}"
    );
    let general = bob.run(["tail", "general"]).succeeded().stdout;
    assert!(
        !general.contains("only for bob") && general.contains("for all by #Exit"),
        "{general}"
    );
}

#[test]
fn commands_act_on_the_messages_before_them() {
    let server = Server::start();
    let alice = server.user("alice");
    let input = "one\n/edit uno\ntwo\n/delete\n/create the den --private\ninside\n//slash\n/topic a topic\n";
    alice.run_with_input(["chat"], input).succeeded();
    let general = alice.run(["tail", "general"]).succeeded().stdout;
    assert!(
        general.contains(": uno") && general.contains("a message that was deleted"),
        "{general}"
    );
    let den = alice.run(["tail", "the den"]).succeeded().stdout;
    for part in ["alice: inside", "alice: /slash", "set the topic: a topic"] {
        assert!(den.contains(part), "{part} in {den}");
    }
}

#[test]
fn a_chat_goes_on_through_a_restart() {
    let mut server = Server::start();
    let alice = server.user("alice");
    let mut chat = alice.start(["chat"]);
    chat.type_line("before");
    chat.expect_line("alice: before");
    server.kill();
    chat.expect_note("disconnected");
    chat.type_line("meanwhile");
    server.restart();
    chat.expect_line("alice: meanwhile");
    chat.end_input();
    assert_eq!(chat.wait().0.code(), Some(0));
    let shown = alice.run(["tail", "general"]).succeeded().stdout;
    assert_eq!(shown.matches("meanwhile").count(), 1, "{shown}");
}

#[test]
fn what_is_refused_is_told_and_the_chat_goes_on() {
    let server = Server::start();
    let alice = server.user("alice");
    let mut chat = alice.start(["chat"]);
    chat.type_line("/hlep");
    chat.expect_note("did you mean /help?");
    chat.type_line("/join nowhere");
    chat.expect_note("/join: ");
    chat.type_line(&"x".repeat(20_000));
    chat.expect_note("not sent");
    chat.type_line("still here");
    chat.expect_line("alice: still here");
    chat.end_input();
    // A message was refused, and a script must learn of it.
    assert_eq!(chat.wait().0.code(), Some(1));
}

#[test]
fn a_removed_person_is_told_and_writes_nowhere_else() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    alice.run(["rooms", "create", "den", "--private"]).succeeded();
    alice.run(["rooms", "invite", "den", "bob"]).succeeded();
    bob.run(["rooms", "join", "den"]).succeeded();
    let mut chat = bob.start(["chat", "den"]);
    chat.type_line("hello");
    chat.expect_line("bob: hello");
    alice.run(["rooms", "remove", "den", "bob", "--reason", "enough"]).succeeded();
    chat.expect_note("you were removed from den: enough");
    chat.type_line("a secret for the den");
    chat.expect_note("nothing was sent");
    chat.type_line("/room general");
    chat.type_line("hello again");
    chat.expect_line("bob: hello again");
    let general = alice.run(["tail", "general"]).succeeded().stdout;
    assert!(!general.contains("a secret"), "{general}");
}

#[test]
fn events_are_objects_for_programs() {
    let server = Server::start();
    let alice = server.user("alice");
    let outcome = alice.run_with_input(["chat", "--json"], "hello\n").succeeded();
    let event: serde_json::Value = outcome
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is an object"))
        .find(|event: &serde_json::Value| event["text"] == "hello")
        .expect("the message comes back");
    assert_eq!((&event["room"], &event["author"]), (&"general".into(), &"alice".into()));
}

#[test]
fn without_an_account_there_is_a_hint() {
    let server = Server::start();
    let refused = server.stranger().run(["chat"]).failed(5);
    assert!(refused.stderr.contains("greffe register"), "{refused:?}");
}
