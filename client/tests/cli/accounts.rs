//! Accounts, sessions, and the ways in which a command fails.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::support::{PASSWORD, Server};

#[test]
fn registering_logs_in_and_keeps_the_token_private() {
    let server = Server::start();
    let alice = server.user("Alice");
    let me = &alice.objects(["whoami", "--json"])[0];
    assert_eq!(
        (me["user"].as_str(), me["server"].as_str()),
        (Some("alice"), Some(server.url().as_str()))
    );
    let mut tokens = 0;
    visit(alice.config(), &mut |path, is_directory| {
        let mode = fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        if is_directory && path != alice.config() {
            assert_eq!(mode, 0o700, "{}", path.display());
        } else if !is_directory {
            assert_eq!(mode, 0o600, "{}", path.display());
            tokens += usize::from(path.ends_with("alice"));
        }
    });
    assert_eq!(tokens, 1);
}

fn visit(directory: &Path, seen: &mut impl FnMut(&Path, bool)) {
    for entry in fs::read_dir(directory).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        seen(&path, path.is_dir());
        if path.is_dir() {
            visit(&path, seen);
        }
    }
}

#[test]
fn whoever_logs_in_for_the_first_time_is_told_that_conversations_are_recorded() {
    let server = Server::start();
    server.user("alice");
    let elsewhere = server.stranger();
    let password = format!("{PASSWORD}\n");
    for told in [true, false] {
        let login = elsewhere
            .run_with_input(["login", "alice", "--password-stdin"], &password)
            .succeeded();
        assert_eq!(login.stderr.contains("are recorded"), told, "{login:?}");
    }
}

#[test]
fn a_name_is_given_once_and_a_wrong_password_is_refused() {
    let server = Server::start();
    let alice = server.user("alice");
    let other = server.stranger();
    let password = format!("{PASSWORD}\n");
    let taken = other
        .run_with_input(["register", "alice", "--password-stdin"], &password)
        .failed(1);
    assert!(taken.stderr.contains("hint: "), "{taken:?}");
    let wrong = other
        .run_with_input(["login", "alice", "--password-stdin"], "something else entirely\n")
        .failed(5);
    let unknown = other
        .run_with_input(["login", "nobody", "--password-stdin"], "something else entirely\n")
        .failed(5);
    assert_eq!(wrong.stderr, unknown.stderr);
    other
        .run_with_input(["login", "ALICE", "--password-stdin"], &password)
        .succeeded();
    assert_eq!(alice.objects(["sessions", "--json"]).len(), 2);
}

#[test]
fn a_session_can_be_ended_from_another_one() {
    let server = Server::start();
    let alice = server.user("alice");
    let laptop = server.stranger();
    laptop
        .run_with_input(["login", "alice", "--password-stdin"], format!("{PASSWORD}\n"))
        .succeeded();
    let following = laptop.start(["tail", "general", "--follow"]);
    let sessions = alice.objects(["sessions", "--json"]);
    let other = sessions
        .iter()
        .find(|session| session["current"] == Value::Bool(false))
        .expect("there are two");
    alice
        .run(["sessions", "revoke", other["session_id"].as_str().expect("an id")])
        .succeeded();
    assert_eq!(following.wait().0.code(), Some(5));
    let ended = laptop.run(["whoami"]).failed(5);
    assert!(ended.stderr.contains("greffe login"), "{ended:?}");
    alice.run(["sessions", "revoke", "nothing"]).failed(4);
}

#[test]
fn a_changed_password_ends_the_other_sessions() {
    let server = Server::start();
    let alice = server.user("alice");
    let laptop = server.stranger();
    laptop
        .run_with_input(["login", "alice", "--password-stdin"], format!("{PASSWORD}\n"))
        .succeeded();
    let new = "amber-lantern-quarry-94";
    alice
        .run_with_input(["passwd", "--password-stdin"], format!("{PASSWORD}\n{new}\n"))
        .succeeded();
    alice.run(["whoami"]).succeeded();
    laptop.run(["whoami"]).failed(5);
    laptop
        .run_with_input(["login", "alice", "--password-stdin"], format!("{new}\n"))
        .succeeded();
}

#[test]
fn logging_out_forgets_the_token() {
    let server = Server::start();
    let alice = server.user("alice");
    alice.run(["logout"]).succeeded();
    let out = alice.run(["whoami"]).failed(5);
    assert!(out.stderr.contains("hint: log in with"), "{out:?}");
}

#[test]
fn several_accounts_live_on_one_machine() {
    let server = Server::start();
    let machine = server.user("alice");
    machine
        .run_with_input(["register", "bob", "--password-stdin"], format!("{PASSWORD}\n"))
        .succeeded();
    assert!(machine.run(["whoami"]).succeeded().stdout.starts_with("bob "));
    assert!(
        machine
            .run(["whoami", "--as", "@Alice"])
            .succeeded()
            .stdout
            .starts_with("alice ")
    );
    machine.run(["whoami", "--as", "carol"]).failed(5);
}

#[test]
fn the_exit_codes_tell_what_went_wrong() {
    let server = Server::start();
    let alice = server.user("alice");
    assert_eq!(alice.run(["send"]).code, Some(2));
    assert_eq!(alice.run(["nonsense"]).code, Some(2));
    alice.run(["whoami", "--server", "ftp://somewhere"]).failed(2);
    let down = alice
        .run(["register", "x1", "--password-stdin", "--server", "http://127.0.0.1:1"])
        .failed(3);
    assert!(down.stderr.contains("hint: check that the server runs"), "{down:?}");
    alice.run(["send", "no such room", "x"]).failed(4);
    alice.run(["send", "@nobody", "x"]).failed(4);
    alice.run_with_input(["send", "general", "-"], b"\xff\xfe").failed(6);
    alice.run(["send", "general", ""]).failed(1);
}

#[test]
fn errors_are_objects_for_programs() {
    let server = Server::start();
    let alice = server.user("alice");
    let failed = alice.run(["send", "no such room", "x", "--json"]);
    let error: Value = serde_json::from_str(failed.stderr.trim()).expect("stderr is an object");
    assert_eq!(failed.code, Some(4));
    assert_eq!(error["error"]["code"], "NOT_FOUND");
    assert_eq!(error["error"]["reason"], "ROOM_NOT_FOUND");
    assert!(error["error"]["message"].as_str().is_some_and(|message| !message.is_empty()));
}

#[test]
fn shown_calls_hold_no_secret() {
    let server = Server::start();
    let alice = server.stranger();
    let registered = alice
        .run_with_input(
            ["register", "alice", "--password-stdin", "--show-rpc"],
            format!("{PASSWORD}\n"),
        )
        .succeeded();
    assert!(
        registered.stderr.contains("greffe.v1.AuthService/Register"),
        "{registered:?}"
    );
    assert!(!registered.stderr.contains(PASSWORD));
    let sent = alice.run(["send", "general", "hi", "--show-rpc"]).succeeded();
    assert!(
        sent.stderr.contains("grpcurl -plaintext -H \"authorization: Bearer $TOKEN\""),
        "{sent:?}"
    );
}

#[test]
fn scripts_and_pages_are_printed_without_a_server() {
    let server = Server::start();
    let nobody = server.stranger();
    drop(server);
    assert!(nobody.run(["completions", "bash"]).succeeded().stdout.contains("greffe"));
    assert!(nobody.run(["man"]).succeeded().stdout.contains(".TH"));
    let pages = nobody.config().join("pages");
    nobody.run(["man".as_ref(), pages.as_os_str()]).succeeded();
    assert!(pages.join("greffe-send.1").exists());
}
