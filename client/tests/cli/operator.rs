//! What operators do, as members meet it.

use std::time::{Duration, Instant};

use greffe::admin_api::{
    CreateBanRequest, DisableUserRequest, KickUserRequest, ListReportsRequest, MessageUserRequest,
    ResetUserPasswordRequest, SendAlertRequest, SetDrainingRequest, StopServerRequest, create_ban_request::Target,
};
use prost_types::Duration as Span;
use serde_json::Value;

use crate::support::{PASSWORD, Person, Running, Server};

const NEW_PASSWORD: &str = "copper-meadow-lantern-61";

fn alert(server: &Server, text: &str) {
    server.operator(SendAlertRequest {
        reason: "test".into(),
        text: text.into(),
        ..Default::default()
    });
}

fn kick(server: &Server, user: &str) {
    server.operator(KickUserRequest {
        reason: "spam is not welcome".into(),
        user: user.into(),
        ..Default::default()
    });
}

/// A chat that has begun.
fn chat(person: &Person) -> Running {
    let chat = person.start(["chat"]);
    chat.expect_note("in general");
    chat
}

fn object(line: &str) -> Value {
    serde_json::from_str(line).expect("the line is an object")
}

fn span(seconds: i64) -> Span {
    Span { seconds, nanos: 0 }
}

#[test]
fn an_alert_reaches_who_is_here_and_who_comes_later_and_is_told_once() {
    let mut server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let mut here = chat(&alice);
    alert(&server, "Back in five minutes\nsecond line \u{1b}[2J");
    let line = here.expect_line("ALERT from the server: Back in five minutes");
    assert!(line.starts_with("!! 20"), "{line}");
    assert_eq!(here.expect_line("second line"), "!!     | second line \\u{1b}[2J");

    let later = bob.start(["tail", "general", "--follow", "--json"]);
    let told = object(&later.expect_note("alert"));
    assert_eq!(told["kind"], "alert");
    assert_eq!(told["text"], "Back in five minutes\nsecond line \u{1b}[2J");
    assert!(told["index"].as_i64() > Some(0) && told["time"].is_string(), "{told}");

    server.restart();
    here.expect_note("connected again");
    here.type_line("after the restart");
    here.end_input();
    let (status, left) = here.wait();
    assert_eq!(status.code(), Some(0));
    assert!(left.iter().any(|line| line.contains("after the restart")), "{left:?}");
    assert!(!left.iter().any(|line| line.contains("ALERT")), "{left:?}");
}

#[test]
fn whoever_is_kicked_is_told_why_and_the_prompt_ends() {
    let server = Server::start();
    let bob = server.user("bob");
    let chat = chat(&bob);
    let tail = bob.start(["tail", "general", "--follow", "--json"]);
    // The tail follows once it says something that came live.
    alert(&server, "ready?");
    tail.expect_note("ready?");
    kick(&server, "bob");
    chat.expect_note("error: an operator has kicked you: spam is not welcome");
    chat.expect_note("hint: log in again");
    assert_eq!(chat.wait().0.code(), Some(5));
    let ended = object(&tail.expect_note("ended"));
    assert_eq!((&ended["kind"], &ended["reason"]), (&"ended".into(), &"kicked".into()));
    let error = object(&tail.expect_note("error"));
    assert_eq!(error["error"]["reason"], "KICKED");
    assert_eq!(tail.wait().0.code(), Some(5));
    bob.run(["whoami"]).failed(5);
    bob.run_with_input(["login", "bob", "--password-stdin"], format!("{PASSWORD}\n"))
        .succeeded();
    bob.run(["whoami"]).succeeded();
}

#[test]
fn whoever_is_kicked_while_sending_is_told_why_and_sends_no_more() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let mut chat = chat(&bob);
    for number in 1..=300 {
        chat.type_line(&format!("line {number}"));
    }
    chat.expect_line("line 20");
    kick(&server, "bob");
    chat.expect_note("error: an operator has kicked you: spam is not welcome");
    assert_eq!(chat.wait().0.code(), Some(5));
    let last = alice.run(["tail", "general", "--limit", "1"]).succeeded().stdout;
    assert!(!last.contains("line 300"), "{last}");
}

#[test]
fn whoever_is_banned_or_disabled_is_told_why_and_cannot_come_back() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let (of_alice, of_bob) = (chat(&alice), chat(&bob));
    server.operator(CreateBanRequest {
        reason: "enough now".into(),
        target: Some(Target::User("bob".into())),
        duration: Some(span(3600)),
        ..Default::default()
    });
    let told = of_bob.expect_note("error: you are banned until 20");
    assert!(told.ends_with(": enough now"), "{told}");
    assert_eq!(of_bob.wait().0.code(), Some(5));
    let refused = bob
        .run_with_input(["login", "bob", "--password-stdin"], format!("{PASSWORD}\n"))
        .failed(5);
    for part in ["you are banned until 20", ": enough now", "hint: come back when"] {
        assert!(refused.stderr.contains(part), "{refused:?}");
    }

    server.operator(DisableUserRequest {
        reason: "left the school".into(),
        user: "alice".into(),
        ..Default::default()
    });
    of_alice.expect_note("error: the operator has closed this account: left the school");
    assert_eq!(of_alice.wait().0.code(), Some(5));
    let refused = alice
        .run_with_input(["login", "alice", "--password-stdin"], format!("{PASSWORD}\n"))
        .failed(5);
    assert!(refused.stderr.contains("hint: ask the operator"), "{refused:?}");
}

#[test]
fn from_a_drain_a_chat_comes_back_by_itself_and_not_before_it_may() {
    const AWAY: i64 = 3;
    let server = Server::start();
    let alice = server.user("alice");
    let mut chat = chat(&alice);
    let drain = |draining| SetDrainingRequest {
        reason: "new disks".into(),
        draining,
        reconnect_after: draining.then_some(span(AWAY)),
        ..Default::default()
    };
    let since = Instant::now();
    server.operator(drain(true));
    chat.expect_note("the server sends everyone away for a while: new disks");
    chat.expect_note("what you type is sent when the link is back");
    chat.type_line("typed while away");
    server.operator(drain(false));
    chat.expect_note("connected again");
    assert!(since.elapsed() >= Duration::from_secs(AWAY.unsigned_abs()));
    chat.expect_line("alice: typed while away");
    chat.end_input();
    assert_eq!(chat.wait().0.code(), Some(0));
}

#[test]
fn during_a_drain_who_logs_in_is_told_at_once_when_to_come_back() {
    const AWAY: i64 = 40;
    let server = Server::start();
    let alice = server.user("alice");
    server.operator(SetDrainingRequest {
        reason: "new disks".into(),
        draining: true,
        reconnect_after: Some(span(AWAY)),
        ..Default::default()
    });
    let since = Instant::now();
    for (arguments, input) in [
        (["login", "alice", "--password-stdin"], format!("{PASSWORD}\n")),
        (["register", "bob", "--password-stdin"], format!("{PASSWORD}\n")),
        (
            ["reset-password", "alice", "--password-stdin"],
            format!("code\n{NEW_PASSWORD}\n"),
        ),
    ] {
        let refused = alice.run_with_input(arguments, input).failed(3);
        for part in ["new disks", "hint: come back in 40 s, at "] {
            assert!(refused.stderr.contains(part), "{refused:?}");
        }
    }
    assert!(since.elapsed() < Duration::from_secs(AWAY.unsigned_abs()));
    // Who is logged in can go on.
    alice.run(["whoami"]).succeeded();
}

#[test]
fn from_maintenance_a_chat_comes_back_by_itself() {
    let mut server = Server::start();
    let alice = server.user("alice");
    let mut chat = chat(&alice);
    server.operator(StopServerRequest {
        reason: "new disks".into(),
        ..Default::default()
    });
    chat.expect_line("ALERT from the server: ");
    chat.expect_note("the server stops for maintenance: new disks");
    assert_eq!(server.wait().code(), Some(0));
    server.start_again();
    chat.expect_note("connected again");
    chat.type_line("here again");
    chat.expect_line("alice: here again");
    chat.end_input();
    assert_eq!(chat.wait().0.code(), Some(0));
}

#[test]
fn nobody_can_be_taken_for_the_operator() {
    let server = Server::start();
    let bob = server.user("bob");
    let mallory = server.stranger();
    mallory
        .run_with_input(
            [
                "register",
                "0perator",
                "--display-name",
                "<OPERATOR>",
                "--password-stdin",
            ],
            format!("{PASSWORD}\n"),
        )
        .succeeded();
    server.operator(MessageUserRequest {
        reason: "first warning".into(),
        user: "bob".into(),
        text: "please be nice".into(),
        ..Default::default()
    });
    mallory.run(["send", "@bob", "<OPERATOR> operator: obey"]).succeeded();
    let real = bob.run(["tail", "@operator"]).succeeded().stdout;
    assert!(real.contains(" <OPERATOR> operator: please be nice"), "{real}");
    let false_one = bob.run(["tail", "@0perator"]).succeeded().stdout;
    assert!(
        false_one.contains(" 0perator: <OPERATOR> operator: obey"),
        "{false_one}"
    );

    let marks: Vec<_> = bob
        .objects(["users", "--json"])
        .iter()
        .map(|user| (user["user"].clone(), user["is_operator"].clone()))
        .collect();
    assert_eq!(
        marks,
        [
            ("0perator".into(), false.into()),
            ("bob".into(), false.into()),
            ("operator".into(), true.into())
        ]
    );
    let events = bob.objects(["tail", "@operator", "--json"]);
    assert!(
        events
            .iter()
            .any(|event| event["author_is_operator"] == true && event["text"] == "please be nice"),
        "{events:?}"
    );
    let table = bob.run(["users"]).succeeded().stdout;
    assert_eq!(table.matches("<OPERATOR> operator").count(), 1, "{table}");
}

#[test]
fn members_report_messages_to_the_operator() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let mut chat = chat(&alice);
    bob.run(["send", "general", "one"]).succeeded();
    chat.expect_line("bob: one");
    bob.run(["send", "general", "two"]).succeeded();
    chat.expect_line("bob: two");
    chat.type_line("mine");
    chat.expect_line("alice: mine");
    chat.type_line("/report last an insult");
    chat.expect_note("reported to the operator: #3 bob: two");
    chat.type_line("/report");
    chat.expect_note("usage: /report [SEQ|last] REASON");
    chat.end_input();
    assert_eq!(chat.wait().0.code(), Some(0));

    let again = alice.run(["report", "general", "3", "--reason", "again"]).failed(1);
    assert!(again.stderr.contains("already"), "{again:?}");
    let reported = alice.objects(["report", "general", "2", "--reason", "spam", "--json"]);
    assert_eq!(reported[0]["target_seq"], 2);
    alice.run(["report", "general", "99", "--reason", "spam"]).failed(4);
    let reports = server.operator(ListReportsRequest::default()).reports;
    assert_eq!(reports.len(), 2, "{reports:?}");
}

#[test]
fn a_one_time_code_sets_a_new_password_and_logs_in() {
    let server = Server::start();
    let bob = server.user("bob");
    let reset = server.operator(ResetUserPasswordRequest {
        reason: "forgot it".into(),
        user: "bob".into(),
        ..Default::default()
    });
    bob.run(["whoami"]).failed(5);
    let set = |code: &str| {
        bob.run_with_input(
            ["reset-password", "bob", "--password-stdin", "--json"],
            format!("{code}\n{NEW_PASSWORD}\n"),
        )
    };
    let refused = set("wrong").failed_in_json(5);
    assert_eq!(refused["error"]["reason"], "INVALID_RESET_CODE");
    assert_eq!(object(&set(&reset.code).succeeded().stdout)["user"], "bob");
    bob.run(["whoami"]).succeeded();
    assert_eq!(
        set(&reset.code).failed_in_json(5)["error"]["reason"],
        "INVALID_RESET_CODE"
    );
    bob.run_with_input(["login", "bob", "--password-stdin"], format!("{NEW_PASSWORD}\n"))
        .succeeded();
}
