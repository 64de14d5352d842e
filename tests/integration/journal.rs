//! The journal as anyone can recompute it, and what receipts and events promise about it.

use std::process::Command;

use bytes::Bytes;
use ring::digest::{SHA256, digest};

use crate::support::load::Ledger;
use crate::support::{PASSWORD, Server, User, v1};

/// `Event` as a client declares it that wants to verify: head and body as the bytes that are stored.
#[derive(Clone, PartialEq, prost::Message)]
struct RawEvent {
    #[prost(bytes = "bytes", tag = "1")]
    head: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    body: Bytes,
}

/// `ListEventsResponse` with such events.
#[derive(Clone, PartialEq, prost::Message)]
struct RawEvents {
    #[prost(message, repeated, tag = "1")]
    events: Vec<RawEvent>,
}

/// What independent code computes from a database; fails the test on a violation.
pub(crate) fn recompute(server: &Server, words: &[&str]) -> serde_json::Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/recompute.py");
    let output = Command::new("python3")
        .arg(script)
        .arg(server.database())
        .args(words)
        .output()
        .expect("python3 can be run");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).expect("the script prints JSON")
}

/// The heads of all rows of a stopped server's journal.
pub(crate) fn heads(server: &Server) -> Vec<v1::EventHead> {
    let script = "import sqlite3, sys\n\
        for head, in sqlite3.connect(sys.argv[1]).execute('SELECT head FROM journal ORDER BY idx'):\n    \
            print(head.hex())";
    let output = Command::new("python3").args(["-c", script]).arg(server.database()).output();
    let output = output.expect("python3 can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("hexadecimal is ASCII");
    let bytes = |line: &str| -> Vec<u8> {
        let digits = (0..line.len()).step_by(2).map(|at| &line[at..at + 2]);
        digits.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect()
    };
    let heads = lines.lines().map(|line| prost::Message::decode(&bytes(line)[..]));
    heads.collect::<Result<_, _>>().expect("each head is one")
}

/// The index of the row that ended a session, in a journal's heads.
pub(crate) fn end_of_session(heads: &[v1::EventHead], session: &str) -> i64 {
    let row = |head: &&v1::EventHead| head.kind() == v1::EventKind::SessionEnded && head.subject_id == session;
    heads.iter().find(row).expect("the session has ended").index
}

/// Stops the server, and compares what independent code computes with what `check` says.
pub(crate) async fn agrees(server: &mut Server, words: &[&str]) -> serde_json::Value {
    let status = server.terminate().await;
    assert!(status.success(), "{status}");
    let checked = server.check().await;
    let computed = recompute(server, words);
    assert_eq!(checked["size"], computed["size"], "{checked} {computed}");
    assert_eq!(checked["root"], computed["root"], "{checked} {computed}");
    computed
}

#[tokio::test]
async fn independent_code_computes_the_same_root_and_finds_no_words_in_heads() {
    let mut server = Server::start(&[]).await;
    let alice = server.user("alice-of-wonderland").await;
    let bob = server.user("bob-the-builder").await;
    alice.show_as("Zaphod Shown").await.unwrap();
    let refused_login = User::log_in(server.channel().await, "Trillian-Tried", PASSWORD).await;
    refused_login.unwrap_err();
    let room = alice.create_room(v1::CreateRoomRequest {
        request_id: crate::support::request_id(),
        kind: v1::RoomKind::Private.into(),
        name: "Quokka Den".into(),
        topic: "Topical Marmalade".into(),
        ..v1::CreateRoomRequest::default()
    });
    let room = crate::support::user::room_id(&room.await.unwrap().room.unwrap());
    alice.invite(&room, &bob).await.unwrap();
    bob.join(&room).await.unwrap();
    let seq = alice.send(&room, "Saffron secret @bob-the-builder").await.unwrap().seq;
    alice.edit(&room, seq, "Cardamom secret").await.unwrap();
    bob.react(&room, seq, "xylophone").await.unwrap();
    bob.unreact(&room, seq, "xylophone").await.unwrap();
    alice.delete(&room, seq).await.unwrap();
    alice.rename(&room, "Wombat Den").await.unwrap();
    alice.set_role(&room, &bob, v1::MemberRole::Moderator).await.unwrap();
    alice.remove(&room, &bob).await.unwrap();
    alice.archive(&room).await.unwrap();
    let phone = server.login("bob-the-builder").await;
    phone.log_out().await.unwrap();
    alice.change_password(PASSWORD, "Another Owl In The Attic").await.unwrap();
    let ledger = Ledger::new(&server.general().await);
    tokio::join!(
        ledger.clone().load(alice.clone(), 300),
        ledger.clone().load(bob.clone(), 300)
    );

    let words = [
        "wonderland",
        "builder",
        "Zaphod",
        "Trillian",
        "trillian",
        "Quokka",
        "Marmalade",
        "Saffron",
        "Cardamom",
        "xylophone",
        "Wombat",
        "enough",
        "done here",
        "127.0.0.1",
        "Owl",
        "tests/1",
    ];
    let computed = agrees(&mut server, &words).await;
    assert!(computed["size"].as_u64().unwrap() > 620, "{computed}");
    // Not only what rooms are told of: the journal's beginning, accounts, logins, their refusals and their ends.
    for kind in [
        "10", "11", "12", "13", "14", "20", "22", "23", "24", "30", "31", "32", "50", "51", "52", "60", "61", "63",
        "70",
    ] {
        assert!(
            computed["kinds"][kind].as_u64().unwrap_or_default() > 0,
            "no event of kind {kind}: {computed}"
        );
    }
    // A restart adds nothing that breaks the chain.
    server.spawn().await.unwrap();
    let again = agrees(&mut server, &words).await;
    assert!(again["size"].as_u64() >= computed["size"].as_u64());
}

#[tokio::test]
async fn the_bytes_on_the_wire_are_those_that_were_hashed() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let room = alice.public_room("tea").await;
    let receipt = alice.send(&room, "hello").await.unwrap();
    let mut client = tonic::client::Grpc::new(alice.channel());
    client.ready().await.unwrap();
    let path = "/greffe.v1.ChatService/ListEvents".parse().unwrap();
    let codec = tonic_prost::ProstCodec::<v1::ListEventsRequest, RawEvents>::default();
    let request = alice.request(v1::ListEventsRequest {
        room_id: room.clone(),
        from: Some(v1::list_events_request::From::AfterSeq(receipt.seq - 1)),
        page_size: 1,
    });
    let page = client.unary(request, path, codec).await.unwrap().into_inner();
    let event = &page.events[0];
    let leaf = [&[0], &event.head[..]].concat();
    assert_eq!(
        digest(&SHA256, &leaf).as_ref(),
        &receipt.leaf_hash[..],
        "the receipt's leaf"
    );
    let head: v1::EventHead = prost::Message::decode(event.head.clone()).unwrap();
    assert_eq!(
        digest(&SHA256, &event.body).as_ref(),
        &head.commitment[..],
        "the head's commitment"
    );
    let body: v1::EventBody = prost::Message::decode(event.body.clone()).unwrap();
    assert_eq!(body.salt.len(), 16);
}

#[tokio::test]
async fn a_changed_journal_is_found_by_check_and_refused_at_start() {
    for change in [
        "UPDATE journal SET body = x'0a00' WHERE idx = (SELECT max(idx) - 3 FROM journal)",
        "UPDATE journal SET head = x'0801' || substr(head, 3) WHERE idx = (SELECT max(idx) - 3 FROM journal)",
        "DELETE FROM journal WHERE idx = (SELECT max(idx) FROM journal)",
        "DELETE FROM journal WHERE idx = (SELECT max(idx) - 3 FROM journal)",
        "UPDATE journal_head SET edge = zeroblob(length(edge))",
    ] {
        let mut server = Server::start(&[]).await;
        let alice = server.user("alice").await;
        let room = alice.public_room("tea").await;
        for number in 0..10 {
            alice.send(&room, &format!("message {number}")).await.unwrap();
        }
        assert!(server.terminate().await.success());
        server.check().await;
        tamper(&server, change);
        let (status, stdout, stderr) = server.run(&["check", "--json"]).await;
        assert_eq!(status.code(), Some(1), "{change}: {stdout}{stderr}");
        let refusal = server.spawn().await;
        assert!(refusal.is_err(), "the server started after: {change}");
    }
}

#[tokio::test]
async fn a_changed_tree_is_refused_at_start_also_where_only_the_newest_rows_are_read() {
    // A start reads 10,000 rows.
    const ROWS: usize = 10_500;
    let mut server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let ledger = Ledger::new(&server.general().await);
    tokio::join!(ledger.clone().load(alice, ROWS / 2), ledger.clone().load(bob, ROWS / 2));
    assert_eq!(ledger.acknowledged(), ROWS);
    server.restart().await;
    assert!(server.terminate().await.success());
    tamper(&server, "UPDATE journal_head SET edge = zeroblob(length(edge))");
    let status = server.spawn().await.expect_err("another tree");
    assert_eq!(status.code(), Some(1));
    let (status, stdout, stderr) = server.run(&["check", "--json"]).await;
    assert_eq!(status.code(), Some(1), "{stdout}{stderr}");
}

#[tokio::test]
async fn a_reaction_or_mention_that_is_gone_behind_the_journals_back_is_found_by_check() {
    let mut server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let general = server.general().await;
    let seq = alice.send(&general, "hello @bob").await.unwrap().seq;
    bob.react(&general, seq, "👍").await.unwrap();
    assert!(server.terminate().await.success());
    server.check().await;
    let whole = std::fs::read(server.database()).unwrap();
    for change in ["DELETE FROM mention", "DELETE FROM reaction"] {
        tamper(&server, change);
        let (status, stdout, stderr) = server.run(&["check", "--json"]).await;
        assert_eq!(status.code(), Some(1), "{change}: {stdout}{stderr}");
        std::fs::write(server.database(), &whole).unwrap();
        server.check().await;
    }
}

/// Changes a stopped server's database behind its back.
pub(crate) fn tamper(server: &Server, sql: &str) {
    let script = "import sqlite3, sys\n\
        db = sqlite3.connect(sys.argv[1])\n\
        db.execute('PRAGMA foreign_keys = OFF')\n\
        for name, in db.execute(\"SELECT name FROM sqlite_master WHERE type = 'trigger'\").fetchall():\n    \
            db.execute(f'DROP TRIGGER \"{name}\"')\n\
        changed = db.execute(sys.argv[2]).rowcount\n\
        db.commit()\n\
        sys.exit(changed == 0)";
    let status = Command::new("python3")
        .args(["-c", script])
        .arg(server.database())
        .arg(sql)
        .status();
    assert!(
        status.expect("python3 can be run").success(),
        "the change did nothing: {sql}"
    );
}
