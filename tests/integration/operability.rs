//! What an operator relies on: logs without contents, metrics, TLS, and connections that are no clients.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use crate::support::{Options, PASSWORD, Server, User, eventually, v1, within};

fn with_arguments(arguments: &[&str]) -> Options {
    Options {
        arguments: arguments.iter().map(ToString::to_string).collect(),
        ..Options::default()
    }
}

#[tokio::test]
async fn logs_hold_no_texts_tokens_passwords_or_names_of_rooms() {
    for format in ["text", "json"] {
        let options = with_arguments(&["--log-format", format, "--log-filter", "info,greffe_server=trace"]);
        let mut server = Server::start_with(options).await;
        let alice = server.user("alice").await;
        let room = alice.private_room("Quokka Den").await;
        let mut stream = alice.live().await;
        let seq = alice.send(&room, "Saffron secret").await.unwrap().seq;
        let id = stream.post(&room, "Saffron in a stream").await;
        stream.result(&id).await.unwrap();
        alice.edit(&room, seq, "Cardamom secret").await.unwrap();
        alice.search("Saffron").await.unwrap();
        alice.send(&room, &"Saffron".repeat(5000)).await.unwrap_err();
        User::log_in(server.channel().await, "alice", "Wrong Owl").await.unwrap_err();
        alice.change_password(PASSWORD, "Another Owl In The Attic").await.unwrap();
        assert!(server.terminate().await.success());
        let log = server.log();
        assert!(!log.is_empty(), "something is logged");
        for secret in ["Saffron", "Cardamom", "Quokka", PASSWORD, "Owl", &alice.token] {
            assert!(!log.contains(secret), "{secret:?} stands in the {format} log:\n{log}");
        }
        if format == "json" {
            for line in log.lines() {
                assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
            }
        }
    }
}

#[tokio::test]
async fn metrics_are_served_on_a_listener_of_their_own_and_name_nobody() {
    // Free a moment ago; the kernel does not give it again at once.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let server = Server::start_with(with_arguments(&["--metrics-listen", &free])).await;
    let alice = server.user("alice").await;
    let room = alice.public_room("tea").await;
    let _stream = alice.live().await;
    alice.send(&room, "hello").await.unwrap();
    let mut connection = TcpStream::connect(&free).await.unwrap();
    connection
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    within("the metrics", connection.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("greffe_"), "{answer}");
    for name in ["alice", "tea", &alice.id, &room, &alice.session_id] {
        assert!(!answer.contains(&format!("\"{name}\"")), "{name} is a label:\n{answer}");
    }
}

#[tokio::test]
async fn a_server_with_its_own_certificate_speaks_tls_and_only_tls() {
    let server = Server::start_with(with_arguments(&["--tls-self-signed"])).await;
    let certificate = std::fs::read_dir(server.data_dir().join("tls"))
        .unwrap()
        .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path()).ok())
        .find(|text| text.contains("BEGIN CERTIFICATE"))
        .expect("the certificate is kept in the data directory");
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(certificate))
        .domain_name("localhost");
    let endpoint = Endpoint::from_shared(format!("https://{}", server.address()))
        .unwrap()
        .tls_config(tls)
        .unwrap();
    let channel = within("a connection", endpoint.connect()).await.unwrap();
    let alice = User::register(channel, "alice", PASSWORD).await.unwrap();
    let mut stream = alice.live().await;
    let general = alice.room_named("general").await.unwrap();
    let id = stream.post(&crate::support::user::room_id(&general), "hello").await;
    stream.result(&id).await.unwrap();

    let plain = Endpoint::from_shared(format!("http://{}", server.address())).unwrap();
    let plain = match within("an answer", plain.connect()).await {
        Ok(channel) => User::log_in(channel, "alice", PASSWORD).await.is_ok(),
        Err(_) => false,
    };
    assert!(!plain, "plain text was answered");
}

#[tokio::test]
async fn connections_that_are_no_clients_are_closed_and_harm_nobody() {
    let server = Server::start(&[("handshake_seconds", 1)]).await;
    let alice = server.user("alice").await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut silly_frame = preface.to_vec();
    silly_frame.extend([0xff; 64]);
    let openings: [&[u8]; 6] = [
        b"",
        b"\0\0\0\0\0\0\0\0",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        preface,
        &silly_frame,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ];
    let mut connections = Vec::new();
    for opening in openings {
        let mut connection = TcpStream::connect(server.address()).await.unwrap();
        connection.write_all(opening).await.unwrap();
        connections.push((connection, opening));
    }
    for (mut connection, opening) in connections {
        let mut answer = Vec::new();
        // An error is an end as well.
        drop(
            within(
                &format!("the end of {opening:02x?}"),
                connection.read_to_end(&mut answer),
            )
            .await,
        );
    }
    alice.user_with_id("me").await.unwrap();
}

#[tokio::test]
async fn calls_that_the_client_gives_up_are_decided_all_the_same_and_once() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let room = alice.public_room("tea").await;
    let mut requests = Vec::new();
    for number in 0..100_u64 {
        let request = crate::support::user::message(&room, &format!("message {number}"));
        requests.push(request.clone());
        let alice = alice.clone();
        let call = tokio::spawn(async move { alice.send_request(request).await.is_ok() });
        tokio::time::sleep(Duration::from_micros(number * 40)).await;
        call.abort();
    }
    for request in requests {
        alice.send_request(request).await.unwrap();
    }
    let texts: std::collections::HashSet<String> = alice
        .messages(&room)
        .await
        .unwrap()
        .into_iter()
        .map(|message| message.text)
        .collect();
    assert_eq!(texts.len(), 100);
    assert_eq!(alice.messages(&room).await.unwrap().len(), 100);
}

#[tokio::test]
async fn streams_that_the_client_gives_up_leave_nothing_behind() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    for number in 0..200_u64 {
        let alice = alice.clone();
        let opening = tokio::spawn(async move {
            let mut stream = alice.chat(v1::Hello::default()).await?;
            stream.started().await;
            Ok::<_, crate::support::Refusal>(())
        });
        tokio::time::sleep(Duration::from_micros(number * 20)).await;
        opening.abort();
    }
    eventually("the end of the streams", || async {
        (alice.sessions().await.ok()?[0].stream_count == 0).then_some(())
    })
    .await;
    let offline = || async { (!alice.user_with_id("me").await.ok()?.online).then_some(()) };
    eventually("being offline", offline).await;
}
