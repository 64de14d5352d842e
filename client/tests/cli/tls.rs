//! Encrypted links: the certificate seen first is the one that counts.

use std::fs;

use crate::support::{PASSWORD, Server};

#[test]
fn the_first_certificate_is_shown_and_another_one_refused() {
    let server = Server::start_with(&["--tls-self-signed"]);
    let url = server.url().replace("http://", "https://");
    let alice = server.stranger();
    let input = format!("{PASSWORD}\n");
    let register = ["register", "alice", "--password-stdin", "--server", &url];
    let first = alice.run_with_input(register, &input).succeeded();
    assert!(
        first.stderr.contains("first contact") && first.stderr.contains("sha256:"),
        "{first:?}"
    );
    let second = alice.run(["send", "general", "hello", "--server", &url]).succeeded();
    assert!(!second.stderr.contains("sha256:"), "{second:?}");

    let known = alice.config().join("known_servers");
    let line = fs::read_to_string(&known).expect("the certificate is kept");
    let (name, fingerprint) = line
        .trim()
        .split_once(" sha256:")
        .expect("a line has a server and a fingerprint");
    let other = fingerprint.chars().rev().collect::<String>();
    fs::write(&known, format!("{name} sha256:{other}\n")).expect("the file can be written");
    let refused = alice.run(["send", "general", "hello", "--server", &url]).failed(1);
    for part in ["HAS CHANGED", fingerprint, other.as_str(), "known_servers"] {
        assert!(refused.stderr.contains(part), "{part} in {refused:?}");
    }
}

#[test]
fn a_plain_link_to_a_server_with_tls_is_told() {
    let server = Server::start_with(&["--tls-self-signed"]);
    let refused = server
        .stranger()
        .run_with_input(["login", "x1", "--password-stdin"], format!("{PASSWORD}\n"));
    let refused = refused.failed(3);
    assert!(refused.stderr.contains("hint: "), "{refused:?}");
}
