//! What a server refuses to start on, and what it says.

use std::os::unix::fs::PermissionsExt as _;

use crate::journal::tamper;
use crate::support::{Options, Server, eventually};

#[tokio::test]
async fn a_second_server_on_the_same_data_names_the_first_ones_pid() {
    let server = Server::start(&[]).await;
    let (status, stdout, stderr) = server.run(&["--listen", "127.0.0.1:0"]).await;
    assert!(!status.success());
    assert!(!stdout.contains("ready"), "{stdout}");
    assert!(stderr.contains(&server.pid().to_string()), "{stderr}");
    let alice = server.user("alice").await;
    alice.send(&server.general().await, "the first one goes on").await.unwrap();
}

#[tokio::test]
async fn the_lock_of_a_killed_server_is_no_obstacle() {
    let mut server = Server::start(&[]).await;
    server.kill_9().await;
    server.spawn().await.unwrap();
}

#[tokio::test]
async fn the_data_directory_is_its_owners_alone() {
    let server = Server::start(&[]).await;
    server.user("alice").await;
    for entry in std::fs::read_dir(server.data_dir()).unwrap() {
        let entry = entry.unwrap();
        let closed = |metadata: std::fs::Metadata| metadata.permissions().mode().trailing_zeros() >= 6;
        let directory = std::fs::metadata(server.data_dir()).unwrap();
        assert!(
            closed(entry.metadata().unwrap()) || closed(directory),
            "{} can be read by others",
            entry.path().display()
        );
    }
}

#[tokio::test]
async fn databases_are_their_owners_alone_also_in_a_directory_that_others_may_read() {
    let mut server = Server::stopped(Options::default());
    std::fs::create_dir(server.data_dir()).unwrap();
    std::fs::set_permissions(server.data_dir(), std::fs::Permissions::from_mode(0o755)).unwrap();
    server.spawn().await.unwrap();
    let alice = server.user("alice").await;
    alice.send(&server.general().await, "quokka").await.unwrap();
    // Once it is found, the search index is on disk as well.
    eventually("the message in the index", || async {
        (!alice.search("quokka").await.unwrap().is_empty()).then_some(())
    })
    .await;
    let mut databases = 0;
    for entry in std::fs::read_dir(server.data_dir()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        // Each with its write-ahead log and the log's index.
        if name.contains(".db") {
            databases += 1;
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name} has mode {mode:o}");
        }
    }
    assert!(databases >= 4, "{databases} files of databases");
}

#[tokio::test]
async fn a_corrupt_database_is_refused() {
    for (name, damage) in [
        (
            "no database",
            &b"this is no database at all, whatever its name says"[..],
        ),
        ("half a header", &b"SQLite format 3\0\x10\0"[..]),
    ] {
        let mut server = Server::start(&[]).await;
        server.user("alice").await;
        assert!(server.terminate().await.success());
        std::fs::write(server.database(), damage).unwrap();
        assert_refused(&mut server, name).await;
    }
    // Damage in the middle of a real one.
    let mut server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let general = server.general().await;
    for number in 0..50 {
        alice
            .send(&general, &format!("message {number} {}", "x".repeat(1000)))
            .await
            .unwrap();
    }
    assert!(server.terminate().await.success());
    let mut bytes = std::fs::read(server.database()).unwrap();
    assert!(
        bytes.len() > 40_000,
        "the database was moved out of its write-ahead log"
    );
    for position in (4096..bytes.len()).step_by(8192) {
        for byte in &mut bytes[position..position + 64] {
            *byte = !*byte;
        }
    }
    std::fs::write(server.database(), bytes).unwrap();
    assert_refused(&mut server, "damage in the middle").await;
}

/// Checks that the server does not start, and says why in words.
async fn assert_refused(server: &mut Server, case: &str) {
    let status = server.spawn().await.expect_err(case);
    assert_eq!(status.code(), Some(1), "{case}");
    let (status, _, stderr) = server.run(&["check", "--json"]).await;
    assert!(!status.success(), "{case}: check passes");
    assert!(!stderr.contains("panicked"), "{case}: {stderr}");
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_with_words_that_say_so() {
    let mut server = Server::start(&[]).await;
    assert!(server.terminate().await.success());
    tamper(
        &server,
        "INSERT INTO __diesel_schema_migrations (version, run_on) VALUES ('99990101000000', '2099-01-01 00:00:00')",
    );
    let before = server.log().len();
    let status = server.spawn().await.expect_err("a newer database");
    assert_eq!(status.code(), Some(1));
    let said = server.log()[before..].to_lowercase();
    assert!(said.contains("newer"), "{said}");
}

#[tokio::test]
async fn an_unusable_data_directory_or_address_is_refused_in_words() {
    let mut server = Server::stopped(Options::default());
    std::fs::write(server.data_dir(), "a file where the directory should be").unwrap();
    server.spawn().await.expect_err("a file is no directory");
    std::fs::remove_file(server.data_dir()).unwrap();

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (status, stdout, stderr) = server.run(&["--listen", &address]).await;
    assert!(!status.success() && !stdout.contains("ready"), "{stdout}");
    assert!(
        stderr.contains(&taken.local_addr().unwrap().port().to_string()),
        "{stderr}"
    );
    let (status, _, _) = server.run(&["--no-such-flag"]).await;
    assert_eq!(status.code(), Some(2), "usage");
}

#[tokio::test]
async fn check_works_on_a_stopped_server_and_not_on_nothing() {
    let mut server = Server::start(&[]).await;
    server.user("alice").await;
    assert!(server.terminate().await.success());
    let checked = server.check().await;
    assert!(checked["size"].as_u64().unwrap() >= 3, "{checked}");
    assert_eq!(checked["root"].as_str().unwrap().len(), 64);
    let nothing = Server::stopped(Options::default());
    let (status, _, stderr) = nothing.run(&["check", "--json"]).await;
    assert_eq!(status.code(), Some(6), "{stderr}");
    assert!(
        !stderr.is_empty() && !nothing.data_dir().exists(),
        "check makes nothing"
    );
    std::fs::create_dir(nothing.data_dir()).unwrap();
    let (status, _, stderr) = nothing.run(&["check"]).await;
    assert_eq!(status.code(), Some(6), "{stderr}");
    let left = std::fs::read_dir(nothing.data_dir()).unwrap().count();
    assert_eq!(left, 0, "check leaves nothing in a directory that is no server's");
}
