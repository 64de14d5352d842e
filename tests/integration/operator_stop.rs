//! Stopping and draining by an operator: everyone is told why, nobody can hold it up, and a drain leaves those who are there alone.

use std::time::{Duration, Instant};

use tonic::{Code, Request};
use v1::EndReason;

use crate::support::operator::{seconds, unary};
use crate::support::relay::Relay;
use crate::support::{
    ErrorReason, Kind, Operator, Options, PASSWORD, Refusal, Server, Stream, User, admin, eventually, refused, setting,
    v1, within,
};

/// Seconds that clients have to leave in these tests.
const DRAIN: u64 = 4;

/// A server that leaves its clients little time.
async fn server() -> Server {
    Server::start_with(Options {
        limits: vec![("streams_per_connection", 100)],
        arguments: vec!["--drain-seconds".to_owned(), DRAIN.to_string()],
        ..Options::default()
    })
    .await
}

fn stop(after: Option<i64>) -> admin::StopServerRequest {
    admin::StopServerRequest {
        after: after.map(seconds),
        ..admin::StopServerRequest::default()
    }
}

/// Reads up to an alert: its text.
async fn alert(stream: &mut Stream) -> String {
    stream
        .wait_for("an alert", |kind| match kind {
            Kind::Alert(alert) => Some(alert.text.clone()),
            _ => None,
        })
        .await
}

/// Reads to the end, and checks that its client was told of the maintenance and why, before.
async fn told_of_maintenance(stream: &mut Stream, why: &str) {
    let (reason, status) = stream.ended().await;
    assert_eq!((reason, status.code()), (EndReason::Maintenance, Code::Unavailable));
    assert_eq!(Refusal::from(status).reason, ErrorReason::ServerStopping);
    let alerted = stream
        .seen
        .iter()
        .any(|kind| matches!(kind, Kind::Alert(alert) if alert.text.contains(why)));
    assert!(alerted, "there was no alert: {:?}", stream.seen);
    match &stream.seen[stream.seen.len() - 2..] {
        [Kind::Draining(draining), Kind::Ended(ended)] => {
            assert_eq!((draining.message.as_str(), ended.message.as_str()), (why, why));
            assert!(draining.reconnect_after.is_some() && ended.reconnect_after.is_some());
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_stop_tells_everyone_why_and_is_not_held_up_by_the_dead() {
    let mut server = server().await;
    let operator = server.operator().await;
    let alice = server.user("alice").await;
    let general = server.general().await;
    // Those take nothing any more, while much is on its way to them.
    let relay = Relay::to(&server).await;
    let mut dead = Vec::new();
    let mut connection = alice.clone();
    for number in 0..20 {
        if number % 5 == 0 {
            connection = alice.over(relay.channel().await);
        }
        dead.push(connection.live().await);
    }
    relay.freeze();
    for _ in 0..40 {
        alice.send(&general, &"x".repeat(16_384)).await.unwrap();
    }
    let count = setting("GREFFE_TEST_STOP_STREAMS", 200);
    let mut streams = Vec::new();
    for number in 0..count {
        if number % 50 == 0 {
            connection = alice.over(server.channel().await);
        }
        streams.push(connection.live().await);
    }
    // A connection that has not said anything yet.
    let silent = tokio::net::TcpStream::connect(server.address()).await.unwrap();

    let start = Instant::now();
    let answer = operator.act(stop(None), "a new disk").await.unwrap();
    assert!(answer.stop_at.is_some() && answer.receipt.is_some());
    let read =
        futures_util::future::join_all(streams.iter_mut().map(|stream| told_of_maintenance(stream, "a new disk")));
    let ended = async {
        let status = server.wait().await;
        (status, start.elapsed())
    };
    let (_, (status, took)) = tokio::join!(read, ended);
    assert_eq!(status.code(), Some(0), "{}", server.log());
    assert!(took < Duration::from_secs(DRAIN + 1), "{took:?}");
    eprintln!(
        "stopped with {count} streams and {} dead ones after {took:?}",
        dead.len()
    );
    drop((silent, dead));
    assert!(!server.admin_socket().exists());

    // It is in the record, and nothing is left of it after a start.
    server.spawn().await.expect("it starts");
    let operator = server.operator().await;
    let acts = operator.acts_after(-1).await;
    let stop = acts.last().unwrap();
    assert_eq!(stop.act.method, "greffe.admin.v1.ServerAdminService/StopServer");
    assert_eq!(
        (stop.act.reason.as_str(), stop.act.refused()),
        ("a new disk", ErrorReason::Unspecified)
    );
    assert!(operator.status().await.stop_at.is_none());
    let mut stream = alice.over(server.channel().await).chat(v1::Hello::default()).await.unwrap();
    let started = stream.started().await;
    assert_eq!(
        started.alerts,
        [],
        "an alert of a stop is not shown once the server is back"
    );
    drop(stream);
    assert!(server.terminate().await.success());
    assert_eq!(server.check().await["ok"], true);
}

#[tokio::test]
async fn a_server_without_clients_stops_at_once() {
    let mut server = server().await;
    let operator = server.operator().await;
    let start = Instant::now();
    operator.act(stop(None), "going home").await.unwrap();
    drop(operator);
    assert_eq!(server.wait().await.code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(DRAIN), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_stop_for_later_is_announced_and_comes_when_it_was_said() {
    let mut server = server().await;
    let operator = server.operator().await;
    let alice = server.user("alice").await;
    let mut stream = alice.live().await;
    let far = operator.act(stop(Some(3600)), "a new disk").await.unwrap();
    let text = alert(&mut stream).await;
    assert!(text.contains("a new disk") && text.contains("60 min"), "{text}");
    assert_eq!(operator.status().await.stop_at, far.stop_at);
    // Who comes later is shown it, too.
    let started = alice.chat(v1::Hello::default()).await.unwrap().started().await;
    assert!(started.alerts.iter().any(|it| it.text == text));
    // Another one takes its place.
    let near = operator.act(stop(Some(1)), "the disk is here").await.unwrap();
    assert_eq!(operator.status().await.stop_at, near.stop_at);
    let general = server.general().await;
    alice.send(&general, "still here").await.unwrap();
    told_of_maintenance(&mut stream, "the disk is here").await;
    assert_eq!(server.wait().await.code(), Some(0));
}

#[tokio::test]
async fn who_comes_after_a_stop_was_taken_back_is_shown_that_and_not_the_stop() {
    let server = server().await;
    let operator = server.operator().await;
    let alice = server.user("alice").await;
    operator.act(stop(Some(3600)), "a new disk").await.unwrap();
    operator.act(stop(Some(7200)), "a late disk").await.unwrap();
    let shown = async || {
        let mut stream = alice.chat(v1::Hello::default()).await.unwrap();
        let alerts = stream.started().await.alerts;
        alerts.into_iter().map(|alert| alert.text).collect::<Vec<_>>()
    };
    let texts = shown().await;
    assert!(texts.len() == 1 && texts[0].contains("a late disk"), "{texts:?}");
    let cancel = admin::CancelStopRequest::default();
    operator.act(cancel, "no disk at all").await.unwrap();
    let texts = shown().await;
    assert!(texts.len() == 1 && texts[0].contains("no disk at all"), "{texts:?}");
}

#[tokio::test]
async fn a_stop_that_was_taken_back_does_not_come() {
    let server = server().await;
    let operator = server.operator().await;
    let alice = server.user("alice").await;
    let mut stream = alice.live().await;
    let ordered = operator.act(stop(Some(1)), "a new disk").await.unwrap().stop_at.unwrap();
    alert(&mut stream).await;
    operator
        .act(admin::CancelStopRequest::default(), "the disk is broken")
        .await
        .unwrap();
    let text = alert(&mut stream).await;
    assert!(text.contains("the disk is broken"), "{text}");
    assert!(operator.status().await.stop_at.is_none());
    let again = operator.act(admin::CancelStopRequest::default(), "once more").await;
    refused(again, ErrorReason::NothingToChange);
    eventually("the time after the stop", || async {
        let time = operator.status().await.time.unwrap();
        (time.seconds > ordered.seconds + 1).then_some(())
    })
    .await;
    alice.send(&server.general().await, "still here").await.unwrap();
    stream.message("still here").await;
    // What was taken back is not shown to who comes later as if it would come.
    let started = alice.chat(v1::Hello::default()).await.unwrap().started().await;
    assert!(
        started.alerts.iter().all(|it| !it.text.contains("a new disk")),
        "{:?}",
        started.alerts
    );
}

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct Health {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Whether the server says that it serves: of itself and of each service that it names.
async fn serves(server: &Server) -> bool {
    let mut told = Vec::new();
    for service in ["", "greffe.v1.ChatService", "greffe.v1.AuthService"] {
        let request = HealthRequest {
            service: service.to_owned(),
        };
        let asked = unary::<_, Health>(
            server.channel().await,
            "/grpc.health.v1.Health/Check",
            Request::new(request),
        )
        .await;
        match asked {
            // 1 is SERVING, 2 is NOT_SERVING.
            Ok(health) => told.push(health.status == 1),
            Err(status) if status.code() == Code::NotFound && !service.is_empty() => {}
            Err(status) => panic!("{service}: {status:?}"),
        }
    }
    let first = told[0];
    assert!(told.iter().all(|serves| *serves == first), "{told:?}");
    first
}

#[tokio::test]
async fn a_drain_sends_streams_away_and_takes_nobody_new_but_leaves_calls_alone() {
    let arguments = ["--tls-self-signed", "--admin-listen", "127.0.0.1:0"];
    let mut server = Server::start_with(Options {
        arguments: arguments.map(str::to_owned).to_vec(),
        ..Options::default()
    })
    .await;
    let operator = server.operator().await;
    let alice = server.user("alice").await;
    server.user("boss").await;
    operator.set_roles("boss", &[v1::ServerRole::Operator]).await.unwrap();
    let code = operator.create_user("carol", &[]).await.unwrap();
    let general = server.general().await;
    let mut streams = [
        alice.live().await,
        alice.subscribe(v1::Hello::default()).await.unwrap(),
        alice.over(server.channel().await).live().await,
    ];
    assert!(serves(&server).await);
    let drain = |draining, after: Option<i64>| admin::SetDrainingRequest {
        draining,
        reconnect_after: after.map(seconds),
        ..admin::SetDrainingRequest::default()
    };
    let answer = operator.act(drain(true, Some(30)), "moving house").await.unwrap();
    assert_eq!(answer.streams_closed, 3);
    for stream in &mut streams {
        stream
            .ends_with(EndReason::Draining, Code::Unavailable, ErrorReason::ServerDraining)
            .await;
        match &stream.seen[stream.seen.len() - 2..] {
            [Kind::Draining(draining), Kind::Ended(ended)] => {
                assert_eq!(draining.message, "moving house");
                assert_eq!(ended.message, "moving house");
                assert_eq!(draining.reconnect_after, Some(seconds(30)));
                assert_eq!(ended.reconnect_after, Some(seconds(30)));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(operator.status().await.draining);
    eventually("the word that it does not serve", || async {
        (!serves(&server).await).then_some(())
    })
    .await;

    let channel = server.channel().await;
    let away = ErrorReason::ServerDraining;
    let refusal = refused(User::log_in(channel.clone(), "alice", PASSWORD).await, away);
    let wait: u64 = refusal.metadata["retry_after_ms"].parse().unwrap();
    assert!((1..=30_000).contains(&wait), "{refusal:?}");
    refused(User::register(channel.clone(), "dave", PASSWORD).await, away);
    refused(User::reset_password(channel, "carol", &code, PASSWORD).await, away);
    for stream in [
        alice.chat(v1::Hello::default()).await,
        alice.subscribe(v1::Hello::default()).await,
    ] {
        match stream {
            Err(refusal) => assert_eq!(refusal.reason, away, "{refusal:?}"),
            Ok(mut stream) => {
                let (_, status) = stream.ended().await;
                assert_eq!(Refusal::from(status).reason, away);
            }
        }
    }
    // Who is there goes on, with calls, also over new connections.
    alice.send(&general, "nobody hears me").await.unwrap();
    alice.over(server.channel().await).send(&general, "still").await.unwrap();
    assert_eq!(server.info().await.general_room_id, general);
    // Operators come and go: somebody must end it.
    let boss = Operator::log_in(server.admin_channel().await, "boss", PASSWORD).await;
    let boss = boss.expect("an operator may still log in");
    let again = boss.act(drain(true, None), "it takes longer").await.unwrap();
    assert_eq!(again.streams_closed, 0);
    boss.act(drain(false, None), "all is in place").await.unwrap();
    assert!(!operator.status().await.draining);
    eventually("the word that it serves", || async {
        serves(&server).await.then_some(())
    })
    .await;
    server.login("alice").await;
    let mut stream = alice.live().await;
    alice.send(&general, "back").await.unwrap();
    stream.message("back").await;
    User::reset_password(server.channel().await, "carol", &code, PASSWORD)
        .await
        .expect("a refused try does not use a code up");

    // It ends by itself when the server stops.
    operator.act(drain(true, None), "once more").await.unwrap();
    server.restart().await;
    assert!(serves(&server).await);
    let _stream = alice.over(server.channel().await).live().await;
}

#[tokio::test]
async fn draining_is_told_within_limits() {
    let server = server().await;
    let operator = server.operator().await;
    for after in [0, -5, 24 * 3600 + 1] {
        let request = admin::SetDrainingRequest {
            draining: true,
            reconnect_after: Some(seconds(after)),
            ..admin::SetDrainingRequest::default()
        };
        let refusal = refused(operator.act(request, "why not").await, ErrorReason::InvalidField);
        assert_eq!(refusal.fields, ["reconnect_after"]);
    }
    assert!(!operator.status().await.draining);
}

#[tokio::test]
async fn a_stopping_server_answers_what_was_under_way_and_refuses_the_rest() {
    let mut server = server().await;
    let operator = server.operator().await;
    let alice = server.user("alice").await;
    let general = server.general().await;
    let ledger = crate::support::load::Ledger::new(&general);
    let load = tokio::spawn(ledger.clone().load(alice.over(server.channel().await), usize::MAX));
    eventually("some load", || async { (ledger.acknowledged() > 50).then_some(()) }).await;
    operator.act(stop(None), "enough for today").await.unwrap();
    assert_eq!(server.wait().await.code(), Some(0));
    within("the end of the load", load).await.unwrap();
    server.spawn().await.expect("it starts");
    let alice = alice.over(server.channel().await);
    ledger.send_unanswered(&alice).await.unwrap();
    assert_eq!(ledger.compare(&alice).await.unwrap(), Vec::<String>::new());
}
