//! The way to the server: which one is meant, and what is said if it is not there.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::support::{Place, outcome};

/// The frame with which an HTTP/2 server begins.
const EMPTY_SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

#[test]
fn the_socket_is_found_in_the_data_directory() {
    let place = Place::new();
    for (arguments, environment, path) in [
        (&["status"][..], &[][..], "./greffe-data/admin.sock"),
        (&["status", "--data-dir", "/nowhere"], &[], "/nowhere/admin.sock"),
        (&["--socket", "/nowhere/else", "status"], &[], "/nowhere/else"),
        (&["status"], &[("GREFFE_DATA_DIR", "/nowhere")], "/nowhere/admin.sock"),
        (
            &["status"],
            &[("GREFFE_ADMIN_SOCKET", "/nowhere/else")],
            "/nowhere/else",
        ),
        (
            &["status", "--data-dir", "/there"],
            &[("GREFFE_DATA_DIR", "/nowhere")],
            "/there/admin.sock",
        ),
    ] {
        let out = outcome(place.command(arguments).envs(environment.iter().copied()));
        assert_eq!((out.code, out.stdout.as_str()), (Some(3), ""), "{out:?}");
        let expected = format!("error: there is no socket at {path}\n");
        assert!(out.stderr.starts_with(&expected), "{expected}: {out:?}");
        assert!(out.stderr.contains("hint: is the server running?"), "{out:?}");
    }
}

#[test]
fn a_socket_that_nobody_listens_at_is_told() {
    let place = Place::new();
    let path = place.path().join("admin.sock");
    drop(UnixListener::bind(&path).expect("a socket can be made"));
    let out = place.run(["--data-dir", ".", "kick", "bob", "--yes", "--reason", "test"]);
    assert_eq!(out.code, Some(3), "{out:?}");
    assert!(out.stderr.contains("nobody listens at"), "{out:?}");
}

#[test]
fn a_socket_of_somebody_else_is_told() {
    let place = Place::new();
    let path = place.path().join("admin.sock");
    let _listener = UnixListener::bind(&path).expect("a socket can be made");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).expect("it is ours");
    if std::os::unix::net::UnixStream::connect(&path).is_ok() {
        // The administrator of the machine may open everything.
        return;
    }
    let out = place.run(["--data-dir", ".", "status"]);
    assert_eq!(out.code, Some(5), "{out:?}");
    assert!(out.stderr.contains("hint: only the user whom"), "{out:?}");
}

#[test]
fn a_call_whose_answer_is_lost_is_repeated_for_a_while() {
    let place = Place::new();
    let listener = UnixListener::bind(place.path().join("admin.sock")).expect("a socket can be made");
    let links = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&links);
    thread::spawn(move || {
        for mut link in listener.incoming().flatten() {
            // An HTTP/2 server that takes the request and is gone before the answer.
            let mut bytes = [0; 1024];
            let begun = link
                .read(&mut bytes)
                .and_then(|_| link.write_all(&EMPTY_SETTINGS))
                .and_then(|()| link.read(&mut bytes));
            counted.fetch_add(usize::from(begun.is_ok()), Ordering::Relaxed);
        }
    });
    let out = place.run(["--data-dir", ".", "unban", "bob", "--reason", "test"]);
    assert_eq!(out.code, Some(3), "{out:?}");
    assert!(links.load(Ordering::Relaxed) > 2, "{links:?}: {out:?}");
}

#[test]
fn errors_for_programs_are_objects() {
    let out = Place::new().run(["status", "--json"]);
    assert_eq!((out.code, out.stdout.as_str()), (Some(3), ""), "{out:?}");
    let start = "{\"error\":{\"code\":\"UNAVAILABLE\",\"reason\":\"UNREACHABLE\",\"message\":\"there is no socket";
    assert!(out.stderr.starts_with(start) && out.stderr.ends_with("}}\n"), "{out:?}");
}

#[test]
fn another_machine_needs_encryption_and_a_login() {
    let place = Place::new();
    let plain = place.run(["status", "--server", "http://127.0.0.1:1"]);
    assert_eq!(plain.code, Some(2), "{plain:?}");
    let stranger = place.run(["status", "--server", "127.0.0.1:1"]);
    assert_eq!(stranger.code, Some(5), "{stranger:?}");
    assert!(
        stranger.stderr.contains("not logged in to https://127.0.0.1:1") && stranger.stderr.contains("hint: log in"),
        "{stranger:?}"
    );
    let token = place.run(["status", "--server", "https://127.0.0.1:1", "--token-file", "none"]);
    assert_eq!(token.code, Some(6), "{token:?}");
    let down = outcome(
        place
            .command(["status", "--server", "https://127.0.0.1:1"])
            .env("GREFFE_ADMIN_TOKEN", "abc"),
    );
    assert_eq!(down.code, Some(3), "{down:?}");
    let local = place.run(["login", "olga"]);
    assert_eq!(local.code, Some(2), "{local:?}");
}
