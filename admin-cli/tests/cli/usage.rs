//! Command lines: what is taken, what is refused, and what is told of them.

use crate::support::Place;

/// The commands, in the order of the help.
const COMMANDS: [&str; 34] = [
    "status",
    "top",
    "alert",
    "message",
    "kick",
    "ban",
    "unban",
    "bans",
    "users",
    "invitations",
    "sessions",
    "rooms",
    "files",
    "reports",
    "notice",
    "drain",
    "stop",
    "backup",
    "log",
    "case",
    "export",
    "verify",
    "hold",
    "erase",
    "erasures",
    "retention",
    "checkpoint",
    "since",
    "login",
    "logout",
    "whoami",
    "completions",
    "man",
    "help",
];

#[test]
fn the_help_lists_every_command_once() {
    let help = Place::new().run(["--help"]);
    assert_eq!(help.code, Some(0), "{help:?}");
    let listed: Vec<&str> = help
        .stdout
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(listed, COMMANDS);
    assert!(help.stdout.contains("Exit codes: 0 done"), "{help:?}");
}

#[test]
fn every_command_has_a_help_of_its_own() {
    let place = Place::new();
    for command in COMMANDS.iter().filter(|command| **command != "help") {
        let help = place.run([command, "--help"]);
        assert_eq!(help.code, Some(0), "{command}: {help:?}");
        assert!(help.stdout.contains("Usage: greffe-admin"), "{command}: {help:?}");
    }
}

#[test]
fn without_a_command_and_without_a_terminal_there_is_the_usage() {
    let out = Place::new().run::<&str>([]);
    assert_eq!((out.code, out.stdout.as_str()), (Some(2), ""), "{out:?}");
    assert!(
        out.stderr.contains("Usage: greffe-admin") && out.stderr.contains("hint: "),
        "{out:?}"
    );
}

#[test]
fn command_lines_that_make_no_sense_are_refused() {
    let place = Place::new();
    for arguments in [
        &["nonsense"][..],
        &["kick"],
        &["kick", "bob", "--session", "s1"],
        &["alert"],
        &["alert", "x", "--for", "5"],
        &["alert", "x", "--for", "-5m"],
        &["ban", "bob", "--for", "soon"],
        &["log"],
        &["log", "audit", "--since", "yesterday"],
        &["since"],
        &["since", "2026-13-01"],
        &["stop", "--in", "5m", "--cancel"],
        &["drain", "--off", "--come-back", "1m"],
        &["notice"],
        &["notice", "x", "--clear"],
        &["users", "role", "bob"],
        &["users", "role", "bob", "king"],
        &["users", "role", "bob", "none", "operator", "--reason", "x"],
        &["invitations", "create", "--days", "0"],
        &["reports", "read", "first"],
        &["completions", "abc"],
        &["case"],
        &[
            "case",
            "open",
            "--reference",
            "r",
            "--basis",
            "b",
            "--from",
            "start",
            "--to",
            "end",
        ],
        &["case", "open", "--reference", "r", "--basis", "b", "--subject", "@bob"],
        &[
            "case",
            "open",
            "--reference",
            "r",
            "--basis",
            "b",
            "--subject",
            "@bob",
            "--from",
            "end",
            "--to",
            "end",
        ],
        &[
            "case",
            "open",
            "--reference",
            "r",
            "--basis",
            "b",
            "--subject",
            "@bob",
            "--from",
            "start",
            "--to",
            "soon",
        ],
        &["case", "read"],
        &["case", "read", "first"],
        &["log", "chat"],
        &["log", "chat", "--case", "1", "--after", "-1"],
        &["hold", "add"],
        &["hold", "add", "--case", "1", "--from", "start"],
        &["erase", "bob"],
        &["retention", "set", "messages"],
        &["retention", "set", "names", "1d"],
        &["retention", "set", "messages", "always"],
        &["export", "--case", "1"],
        &["export", "-o", "x"],
        &["export", "--resume", "-o", "x", "--bodies-only"],
    ] {
        let out = place.run(arguments);
        assert_eq!((out.code, out.stdout.as_str()), (Some(2), ""), "{arguments:?}: {out:?}");
    }
}

#[test]
fn what_changes_something_needs_a_reason() {
    let place = Place::new();
    for arguments in [
        &["alert", "x"][..],
        &["message", "bob", "x"],
        &["message", "bob"],
        &["kick", "bob", "--yes"],
        &["ban", "bob", "--yes"],
        &["unban", "bob"],
        &["users", "create", "bob"],
        &["users", "role", "bob", "operator", "--yes"],
        &["users", "reset-password", "bob", "--yes"],
        &["users", "disable", "bob", "--yes"],
        &["users", "enable", "bob"],
        &["invitations", "create"],
        &["invitations", "revoke", "1", "--yes"],
        &["rooms", "archive", "x", "--yes"],
        &["reports", "read", "1"],
        &["reports", "resolve", "1"],
        &["notice", "x"],
        &["drain", "--yes"],
        &["stop", "--yes"],
        &["stop", "--cancel"],
        &["backup", "x"],
        &["kick", "bob", "--yes", "--reason", "  "],
        &["case", "approve", "1"],
        &["case", "close", "1"],
        &["hold", "release", "1"],
        &["erase", "@bob", "--basis", "b", "--yes"],
        &["retention", "set", "messages", "30d", "--yes"],
    ] {
        let out = place.run(arguments);
        assert_eq!(out.code, Some(2), "{arguments:?}: {out:?}");
        assert!(out.stderr.contains("hint: say why"), "{arguments:?}: {out:?}");
    }
}

#[test]
fn what_destroys_something_is_not_done_unasked() {
    let place = Place::new();
    for arguments in [
        &["kick", "bob"][..],
        &["kick", "--session", "s1"],
        &["ban", "bob"],
        &["ban", "10.0.0.0/8", "--for", "7d"],
        &["users", "role", "bob", "none"],
        &["users", "reset-password", "bob"],
        &["users", "disable", "bob"],
        &["invitations", "revoke", "1"],
        &["rooms", "archive", "x"],
        &["drain"],
        &["stop"],
        &["erase", "@bob", "--basis", "b"],
    ] {
        let out = place.run(arguments.iter().chain(&["--reason", "test"]));
        assert_eq!(out.code, Some(2), "{arguments:?}: {out:?}");
        assert!(out.stderr.contains("hint: give --yes"), "{arguments:?}: {out:?}");
    }
}

#[test]
fn within_a_case_its_reference_is_the_reason() {
    let place = Place::new();
    for arguments in [
        &[
            "case",
            "open",
            "--reference",
            "r",
            "--basis",
            "b",
            "--subject",
            "@bob",
            "--from",
            "2h",
            "--to",
            "now",
        ][..],
        &["case", "read", "1"],
        &["log", "chat", "--case", "1"],
        &["hold", "add", "--case", "1"],
        &["export", "--case", "1", "-o", "x"],
    ] {
        let out = place.run(arguments);
        // Only the server is missing.
        assert_eq!(out.code, Some(3), "{arguments:?}: {out:?}");
    }
    assert!(!place.path().join("x").exists());
}

#[test]
fn there_is_nothing_to_go_on_with_where_nothing_broke_off() {
    let place = Place::new();
    std::fs::create_dir(place.path().join("full")).expect("a directory can be made");
    std::fs::write(place.path().join("full/precious"), "precious").expect("a file can be made");
    for path in ["full", "none", "none.tar", "full/precious"] {
        let out = place.run(["export", "--resume", "-o", path]);
        assert_eq!(out.code, Some(1), "{path}: {out:?}");
        assert!(out.stderr.contains("no export broke off at"), "{path}: {out:?}");
    }
    assert_eq!(std::fs::read_dir(place.path()).expect("it is there").count(), 1);
}

#[test]
fn a_live_view_needs_a_terminal() {
    let out = Place::new().run(["top"]);
    assert_eq!(out.code, Some(2), "{out:?}");
    assert!(out.stderr.contains("hint: for programs"), "{out:?}");
}

#[test]
fn completions_and_manual_pages_are_made() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let out = place.run(["completions", shell]);
        assert_eq!(out.code, Some(0), "{out:?}");
        assert!(out.stdout.contains("greffe-admin") && out.stdout.contains("reset-password"));
    }
    let page = place.run(["man"]);
    assert!(
        page.code == Some(0) && page.stdout.contains(".TH greffe-admin"),
        "{page:?}"
    );
    let pages = place.path().join("pages");
    let written = place.run(["man", "--dir", &pages.to_string_lossy()]);
    assert_eq!(written.code, Some(0), "{written:?}");
    for page in [
        "greffe-admin.1",
        "greffe-admin-kick.1",
        "greffe-admin-users-role.1",
        "greffe-admin-case-open.1",
    ] {
        assert!(pages.join(page).is_file(), "{page}");
    }
}
