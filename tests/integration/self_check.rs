//! The self-check of a running server, and the directory to which checkpoints also go.

use std::time::{Duration, SystemTime};

use crate::journal::tamper;
use crate::support::load::Ledger;
use crate::support::{Options, Server, admin, eventually, within};

/// Has the server verify its journal at once: this is the hour.
#[expect(clippy::disallowed_methods, reason = "the server asks the same clock")]
fn now() -> Options {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let hour = since.as_secs() / 3600 % 24;
    Options {
        arguments: vec!["--self-check-hour".into(), hour.to_string()],
        environment: vec![("TZ".into(), "UTC".into())],
        ..Options::default()
    }
}

async fn checked(server: &Server) -> admin::SelfCheck {
    let operator = server.operator().await;
    eventually("a self-check", || async { operator.status().await.self_check }).await
}

#[tokio::test]
async fn a_server_at_work_verifies_itself_and_finds_everything_in_order() {
    let mut server = Server::start(&[]).await;
    let users = server.users("person", 3).await;
    let ledger = Ledger::new(&server.general().await);
    let never = server.operator().await.status().await.self_check;
    assert!(
        never.is_none(),
        "it is not three o'clock, or the clock is odd: {never:?}"
    );
    ledger.clone().load(users[0].clone(), 600).await;
    *server.options_mut() = now();
    assert!(server.terminate().await.success());
    server.spawn().await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for user in &users {
        tasks.spawn(ledger.clone().load(user.over(server.channel().await), usize::MAX));
    }
    let found = checked(&server).await;
    assert_eq!(found.finding, "");
    assert!(found.rows > 600);
    assert!(server.log().contains("The self-check found the journal in order"));
    assert!(server.terminate().await.success());
    within("the end of the load", tasks.join_all()).await;
    server.check().await;
}

#[tokio::test]
async fn what_was_changed_behind_the_servers_back_is_found_and_told() {
    let mut server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let general = server.general().await;
    for number in 0..400 {
        alice.send(&general, &format!("message {number}")).await.unwrap();
    }
    assert!(server.terminate().await.success());
    let whole = std::fs::read(server.database()).unwrap();
    *server.options_mut() = now();
    for (change, finding) in [
        (
            "UPDATE room_event SET target = 7 WHERE seq = 20",
            "its room has it otherwise",
        ),
        (
            "INSERT INTO subtree VALUES (8, 99, zeroblob(32))",
            "more parts of the tree",
        ),
        ("DELETE FROM log_event WHERE idx = 0", "its log has it otherwise"),
        (
            "UPDATE user SET display_name = 'Mallory' WHERE name = 'alice'",
            "people, rooms or memberships differ",
        ),
    ] {
        std::fs::write(server.database(), &whole).unwrap();
        tamper(&server, change);
        let before = server.log().len();
        server.spawn().await.unwrap_or_else(|status| panic!("{change}: {status}"));
        let found = checked(&server).await;
        assert!(found.finding.contains(finding), "{change}: {found:?}");
        assert!(
            server.log()[before..].contains("THE JOURNAL IS NOT IN ORDER"),
            "{change}"
        );
        assert!(server.terminate().await.success());
    }
}

#[tokio::test]
async fn checkpoints_also_go_to_a_directory_and_its_loss_stops_nothing() {
    let mut server = Server::stopped(Options::default());
    let directory = server.beside("checkpoints");
    server.options_mut().arguments = vec!["--checkpoint-dir".into(), directory.display().to_string()];
    // It is not there yet.
    server.spawn().await.unwrap();
    let sign = async |server: &Server| crate::keys::signed(&server.operator().await).await;
    let alice = server.user("alice").await;
    sign(&server).await;
    eventually("a line in the log", || async {
        server.log().contains("Checkpoints cannot be written").then_some(())
    })
    .await;
    std::fs::create_dir(&directory).unwrap();
    let general = server.general().await;
    let files = || {
        let mut names: Vec<_> = std::fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.file_name().unwrap().to_string_lossy().starts_with('.'))
            .collect();
        names.sort();
        names
    };
    for count in 1..4 {
        alice.send(&general, "something to sign").await.unwrap();
        let (checkpoint, keys) = sign(&server).await;
        let files = eventually("a file", || async {
            Some(files()).filter(|files| files.len() >= count)
        })
        .await;
        let note = std::fs::read_to_string(files.last().unwrap()).unwrap();
        let kept = crate::proofs::open(&note, &keys[0].verifier_key);
        assert_eq!(kept.size(), checkpoint.size());
    }
    assert_eq!(server.log().matches("Checkpoints cannot be written").count(), 1);
    tokio::time::timeout(Duration::from_secs(30), server.terminate()).await.unwrap();
}
