//! SIGTERM: clients are told, everything acknowledged is on disk, exit 0 within the drain time.

use std::time::Duration;

use tonic::Code;

use crate::support::load::Ledger;
use crate::support::{ErrorReason, Kind, Server, setting, v1, within};

/// The drain time and something for a busy machine.
const DRAIN: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_stopping_server_ends_every_stream_with_a_reason_and_exits_with_zero() {
    let mut server = Server::start(&[("streams_per_connection", 100)]).await;
    let alice = server.user("alice").await;
    let count = setting("GREFFE_TEST_STREAMS", 1000);
    let mut streams = Vec::new();
    for number in 0..count {
        let connection = if number % 50 == 0 {
            alice.over(server.channel().await)
        } else {
            streams
                .pop()
                .map(|(connection, stream)| {
                    let own = crate::support::User::clone(&connection);
                    streams.push((connection, stream));
                    own
                })
                .expect("there is a stream already")
        };
        let stream = connection.live().await;
        streams.push((connection, stream));
    }
    let start = std::time::Instant::now();
    let stop = async {
        let status = server.terminate().await;
        (status, start.elapsed())
    };
    let read = async {
        for (_, stream) in &mut streams {
            let (reason, status) = stream.ended().await;
            assert_eq!(
                (reason, status.code()),
                (v1::EndReason::ServerStopping, Code::Unavailable)
            );
            assert_eq!(
                crate::support::Refusal::from(status).reason,
                ErrorReason::ServerStopping
            );
            let told = stream.seen.iter().any(|kind| matches!(kind, Kind::Draining(_)));
            assert!(told, "a client is told before its stream ends: {:?}", stream.seen);
        }
    };
    let ((status, took), ()) = tokio::join!(stop, read);
    assert_eq!(status.code(), Some(0));
    assert!(took < DRAIN, "{took:?}");
}

#[tokio::test]
async fn a_stream_is_told_that_the_server_drains_right_before_its_end() {
    let mut server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let general = server.general().await;
    let mut streams = [
        alice.live().await,
        alice.subscribe(v1::Hello::default()).await.unwrap(),
        bob.over(server.narrow_channel().await).live().await,
    ];
    // The last one has more to read than it takes at a time.
    for _ in 0..20 {
        alice.send(&general, &"x".repeat(16384)).await.unwrap();
    }
    server.begin_to_stop();
    for stream in &mut streams {
        stream.ended().await;
        let last_two = &stream.seen[stream.seen.len() - 2..];
        assert!(
            matches!(last_two, [Kind::Draining(draining), Kind::Ended(_)] if draining.reconnect_after.is_some()),
            "{last_two:?}"
        );
    }
    assert!(server.wait().await.success());
}

#[tokio::test]
async fn a_hangup_does_not_end_the_server() {
    let mut server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let general = server.general().await;
    let mut stream = alice.live().await;
    for number in 0..3 {
        server.hang_up();
        alice.send(&general, &format!("message {number}")).await.unwrap();
    }
    stream.message("message 2").await;
    // Not killed by one of the signals meanwhile.
    assert_eq!(server.terminate().await.code(), Some(0));
}

#[tokio::test]
async fn what_was_acknowledged_before_a_stop_is_there_after_it() {
    let mut server = Server::start(&[]).await;
    let users = server.users("person", 4).await;
    let room = server.general().await;
    let ledger = Ledger::new(&room);
    for round in 0..3 {
        let mut tasks = tokio::task::JoinSet::new();
        for user in &users {
            let user = user.over(server.channel().await);
            tasks.spawn(ledger.clone().load(user.clone(), usize::MAX));
            tasks.spawn(ledger.clone().watch(user));
        }
        let goal = (round + 1) * 100;
        within("some load", async {
            while ledger.acknowledged() < goal {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        server.begin_to_stop();
        let status = server.wait().await;
        assert_eq!(status.code(), Some(0));
        within("the end of the load", tasks.join_all()).await;
        server.spawn().await.unwrap();
        for user in &users {
            let user = user.over(server.channel().await);
            ledger.send_unanswered(&user).await.unwrap();
        }
        let problems = ledger.compare(&users[0].over(server.channel().await)).await.unwrap();
        assert_eq!(problems, Vec::<String>::new());
    }
    crate::journal::agrees(&mut server, &[]).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_does_not_hold_up_the_stop() {
    let mut server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.general().await;
    // Opened, and never read again.
    let _deaf = bob.chat(v1::Hello::default()).await.unwrap();
    let ledger = Ledger::new(&room);
    ledger.clone().load(alice, 2000).await;
    let start = std::time::Instant::now();
    assert_eq!(server.terminate().await.code(), Some(0));
    assert!(
        start.elapsed() < DRAIN + Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}
