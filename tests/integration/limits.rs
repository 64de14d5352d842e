//! Limits, at limit−1, limit and limit+1; and that the server says them.

use crate::support::stream::seqs;
use crate::support::user::message;
use crate::support::{ErrorReason, Kind, Options, Server, User, refused, request_id, v1};
use v1::chat_request::Action;

#[tokio::test]
async fn the_server_tells_the_limits_in_force() {
    let server = Server::start(&[("text_bytes", 100), ("page_default", 5), ("page_max", 7)]).await;
    let info = server.info().await;
    let limits = info.limits.unwrap();
    assert_eq!(
        (limits.text_bytes, limits.page_max, limits.messages_per_second),
        (100, 7, 0)
    );
    assert_eq!((limits.password_min, limits.password_max), (8, 128));
    assert_eq!(limits.request_id_seconds, 7 * 24 * 3600);
    assert_eq!((limits.file_bytes, limits.file_chunk_bytes), (100 << 20, 1 << 20));
    assert!(info.features.contains(&"files".to_owned()));
    assert!(info.version.starts_with("greffe/"), "{}", info.version);
    assert!(!info.epoch.is_empty() && !info.general_room_id.is_empty() && !info.recording_notice.is_empty());
    assert_eq!(info.registration_policy, i32::from(v1::RegistrationPolicy::Open));
}

#[tokio::test]
async fn the_default_limits_are_those_of_the_documents() {
    // Straight from the binary, without the tests' own settings.
    let server = Server::stopped(Options::default());
    let (status, stdout, stderr) = server.run(&["config"]).await;
    assert!(status.success(), "{stderr}");
    for expected in [
        "text_bytes = 16384",
        "request_bytes = 65536",
        "metadata_bytes = 8192",
        "messages_per_second = 10",
        "messages_burst = 50",
        "mailbox_bytes = 262144",
        "unanswered_sends = 256",
        "page_default = 100",
        "page_max = 500",
        "presence_members = 200",
        "failed_logins_per_address = 20",
        "failed_logins_per_account = 5",
        "connections = 10000",
        "connections_per_address = 32",
        "connections_per_user = 32",
        "streams_per_connection = 32",
        "session_seconds = 2592000",
        "session_idle_seconds = 604800",
        "file_bytes = 104857600",
        "file_quota_bytes = 1073741824",
        "file_chunk_bytes = 1048576",
        "uploads_per_user = 8",
        "upload_idle_seconds = 86400",
    ] {
        assert!(stdout.contains(expected), "{expected} is missing in\n{stdout}");
    }
}

#[tokio::test]
async fn texts_are_limited_in_bytes() {
    let server = Server::start(&[("text_bytes", 100)]).await;
    let alice = server.user("alice").await;
    let room = alice.public_room("tea").await;
    let mut stream = alice.live().await;
    for (length, fits) in [(99, true), (100, true), (101, false)] {
        let text = "x".repeat(length);
        let answer = alice.send(&room, &text).await;
        let id = stream.post(&room, &text).await;
        let in_stream = stream.result(&id).await;
        if fits {
            let seq = answer.unwrap().seq;
            in_stream.unwrap();
            alice.edit(&room, seq, &text).await.unwrap();
        } else {
            assert_eq!(refused(answer, ErrorReason::TextTooLong).metadata["limit"], "100");
            refused(in_stream, ErrorReason::TextTooLong);
            refused(alice.edit(&room, 2, &text).await, ErrorReason::TextTooLong);
        }
    }
    refused(alice.send(&room, &"é".repeat(51)).await, ErrorReason::TextTooLong);
    alice.send(&room, &"é".repeat(50)).await.unwrap();
}

#[tokio::test]
async fn requests_and_frames_are_limited_in_bytes() {
    use prost::Message as _;
    let server = Server::start(&[("request_bytes", 65536)]).await;
    let alice = server.user("alice").await;
    let room = alice.public_room("tea").await;
    let sized = |target: usize| {
        let mut request = message(&room, "");
        let mut padding = target;
        loop {
            request.text = "x".repeat(padding);
            let length = request.encoded_len();
            if length <= target {
                assert_eq!(length, target);
                return request;
            }
            padding -= length - target;
        }
    };
    for (length, reason) in [
        (65535, ErrorReason::TextTooLong),
        (65536, ErrorReason::TextTooLong),
        (65537, ErrorReason::RequestTooLarge),
        (1 << 20, ErrorReason::RequestTooLarge),
    ] {
        refused(alice.send_request(sized(length)).await, reason);
    }
    // In a stream, a frame that is too large ends it; one below the limit is refused in-band.
    let mut stream = alice.live().await;
    let request = sized(60000);
    stream.act(Action::SendMessage(request.clone())).await;
    refused(stream.result(&request.request_id).await, ErrorReason::TextTooLong);
    stream.act(Action::SendMessage(sized(70000))).await;
    stream
        .ends_with(
            v1::EndReason::ProtocolError,
            tonic::Code::ResourceExhausted,
            ErrorReason::RequestTooLarge,
        )
        .await;
}

#[tokio::test]
async fn pages_are_clamped_and_negative_sizes_refused() {
    let server = Server::start(&[("page_default", 3), ("page_max", 5)]).await;
    let alice = server.user("alice").await;
    let room = alice.public_room("tea").await;
    for number in 0..8 {
        alice.send(&room, &format!("message {number}")).await.unwrap();
    }
    let page = async |page_size: i32| {
        let request = v1::ListEventsRequest {
            room_id: room.clone(),
            from: Some(v1::list_events_request::From::AfterSeq(0)),
            page_size,
        };
        alice.list_events(request).await.map(|page| seqs(&page.events, &room).len())
    };
    for (page_size, count) in [(0, 3), (1, 1), (4, 4), (5, 5), (6, 5), (i32::MAX, 5)] {
        assert_eq!(page(page_size).await.unwrap(), count, "page_size {page_size}");
    }
    for page_size in [-1, i32::MIN] {
        refused(page(page_size).await, ErrorReason::InvalidField);
        let users = v1::ListUsersRequest {
            page_size,
            ..v1::ListUsersRequest::default()
        };
        refused(alice.list_users(users).await, ErrorReason::InvalidField);
        let rooms = v1::ListRoomsRequest {
            page_size,
            ..v1::ListRoomsRequest::default()
        };
        refused(alice.list_rooms(rooms).await, ErrorReason::InvalidField);
        let members = v1::ListMembersRequest {
            room_id: room.clone(),
            page_size,
            ..v1::ListMembersRequest::default()
        };
        refused(alice.list_members(members).await, ErrorReason::InvalidField);
        let messages = v1::ListMessagesRequest {
            room_id: room.clone(),
            page_size,
            ..v1::ListMessagesRequest::default()
        };
        refused(alice.list_messages(messages).await, ErrorReason::InvalidField);
        let found = v1::SearchMessagesRequest {
            query: "x".into(),
            page_size,
            ..v1::SearchMessagesRequest::default()
        };
        refused(alice.search_page(found).await, ErrorReason::InvalidField);
        let sessions = v1::ListSessionsRequest {
            page_size,
            ..v1::ListSessionsRequest::default()
        };
        refused(alice.session_page(sessions).await, ErrorReason::InvalidField);
    }
}

#[tokio::test]
async fn sending_faster_than_the_rate_is_refused_with_a_time_and_repeats_are_free() {
    let server = Server::start(&[("messages_per_second", 1), ("messages_burst", 5)]).await;
    let alice = server.user("alice").await;
    let general = server.general().await;
    let first = message(&general, "number 1");
    let receipt = alice.send_request(first.clone()).await.unwrap();
    let start = std::time::Instant::now();
    let mut accepted = 1;
    let refusal = loop {
        match alice.send(&general, "more").await {
            Ok(_) => accepted += 1,
            Err(refusal) => break refusal,
        }
        assert!(accepted < 60, "no limit was met");
    };
    let earned = usize::try_from(start.elapsed().as_secs()).unwrap() + 1;
    assert!((5..=5 + earned).contains(&accepted), "{accepted} in a burst of 5");
    assert_eq!(refusal.reason, ErrorReason::RateLimited);
    let wait: u64 = refusal.metadata["retry_after_ms"].parse().unwrap();
    assert!((1..=2000).contains(&wait), "{wait}");
    for _ in 0..20 {
        assert_eq!(
            alice.send_request(first.clone()).await.unwrap(),
            receipt,
            "a repeat costs no rate"
        );
    }
    // Another user has a rate of their own, and streams and calls share one.
    let bob = server.user("bob").await;
    bob.send(&general, "hello").await.unwrap();
    let mut stream = alice.live().await;
    let mut refusals = 0;
    for _ in 0..10 {
        let id = stream.post(&general, "more").await;
        if let Err(refusal) = stream.result(&id).await {
            assert_eq!(refusal.reason, ErrorReason::RateLimited);
            refusals += 1;
        }
    }
    assert!(refusals >= 7, "{refusals}");
    tokio::time::sleep(std::time::Duration::from_millis(wait + 1000)).await;
    alice.send(&general, "after the wait").await.unwrap();
}

#[tokio::test]
async fn a_user_is_in_a_limited_number_of_rooms() {
    let server = Server::start(&[("rooms_per_user", 3)]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    for number in 0..3 {
        alice.create(v1::RoomKind::Private, &format!("room {number}")).await.unwrap();
    }
    let refusal = refused(
        alice.create(v1::RoomKind::Private, "one more").await,
        ErrorReason::TooMany,
    );
    assert_eq!(refusal.metadata["limit"], "3");
    let room = bob.public_room("tea").await;
    refused(alice.join(&room).await, ErrorReason::TooMany);
    refused(alice.open_direct(&bob).await, ErrorReason::TooMany);
}

#[tokio::test]
async fn strangers_cannot_use_up_the_rooms_of_somebody_else() {
    let server = Server::start(&[("rooms_per_user", 5)]).await;
    let alice = server.user("alice").await;
    let strangers = server.users("stranger", 51).await;
    let mut invitations = Vec::new();
    for stranger in &strangers[..50] {
        stranger.open_direct(&alice).await.unwrap();
        for number in 0..4 {
            let room = stranger.private_room(&format!("trap {number}")).await;
            stranger.invite(&room, &alice).await.unwrap();
            invitations.push(room);
        }
    }
    assert_eq!(invitations.len(), 200);
    // Too many invitations are the trouble of who makes them.
    let late = strangers[50].private_room("one more").await;
    let refusal = refused(strangers[50].invite(&late, &alice).await, ErrorReason::TooMany);
    assert_eq!(refusal.metadata["limit"], "200");

    alice.create(v1::RoomKind::Public, "mine").await.unwrap();
    alice.create(v1::RoomKind::Private, "my own").await.unwrap();
    alice.open_direct(&strangers[50]).await.unwrap();
    alice.join(&invitations[0]).await.unwrap();
    alice.create(v1::RoomKind::Private, "my last").await.unwrap();
    // Her own five; and only her own are counted.
    refused(
        alice.create(v1::RoomKind::Private, "one more").await,
        ErrorReason::TooMany,
    );
    refused(alice.join(&invitations[1]).await, ErrorReason::TooMany);
    let direct = alice.direct_room(&strangers[0]).await;
    alice.send(&direct, "please do not").await.unwrap();
    // An invitation that was answered leaves its place to another.
    strangers[50].invite(&late, &alice).await.unwrap();
}

#[tokio::test]
async fn unanswered_sends_on_a_stream_are_limited_and_the_stream_lives_on() {
    // All are sent before an answer is read, and the answers must have room to wait.
    let server = Server::start(&[("unanswered_sends", 8), ("result_bytes", 16 << 20)]).await;
    let alice = server.user("alice").await;
    let room = alice.public_room("tea").await;
    let mut stream = alice.live().await;
    let mut ids = Vec::new();
    for number in 0..2000 {
        ids.push(stream.post(&room, &format!("message {number}")).await);
    }
    let (mut stored, mut refusals) = (0, 0);
    for _ in &ids {
        match stream.next_result().await.1 {
            Ok(_) => stored += 1,
            Err(refusal) => {
                assert_eq!(refusal.reason, ErrorReason::TooManyUnanswered);
                assert_eq!(refusal.metadata["limit"], "8");
                refusals += 1;
            }
        }
    }
    assert!(stored >= 8 && refusals > 0, "{stored} stored, {refusals} refused");
    assert_eq!(
        alice.room(&room).await.unwrap().head_seq,
        stored + 1,
        "what was refused is not stored"
    );
    let id = stream.post(&room, "one more").await;
    stream.result(&id).await.unwrap();
}

#[tokio::test]
async fn one_user_holds_a_limited_number_of_connections_with_streams() {
    let server = Server::start(&[("connections_per_user", 3)]).await;
    let alice = server.user("alice").await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let connection = alice.over(server.channel().await);
        // More streams on the same connection count once.
        streams.push((connection.live().await, connection.live().await));
    }
    let fourth = alice.over(server.channel().await);
    let refusal = match fourth.chat(v1::Hello::default()).await {
        Err(refusal) => refusal,
        Ok(mut stream) => {
            while stream.next().await.is_some() {}
            stream.status.unwrap().into()
        }
    };
    assert_eq!(
        (refusal.reason, refusal.metadata["limit"].as_str()),
        (ErrorReason::TooManyConnections, "3")
    );
    fourth.user_with_id("me").await.unwrap();
    streams.pop();
    crate::support::eventually("room for a connection", || async {
        let mut stream = fourth.chat(v1::Hello::default()).await.ok()?;
        matches!(stream.next().await, Some(Kind::Started(_))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn more_streams_on_a_connection_than_allowed_wait_their_turn() {
    let server = Server::start(&[("streams_per_connection", 4)]).await;
    let alice = server.user("alice").await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(alice.live().await);
    }
    // HTTP/2 makes the client wait; nothing breaks, and the place of a stream that ends is used.
    let waiting = alice.user_with_id("me");
    let (answer, ()) = tokio::join!(waiting, async { drop(streams.pop()) });
    answer.unwrap();
    let room = alice.public_room("tea").await;
    alice.send(&room, "hello").await.unwrap();
    for stream in &mut streams {
        stream.message("hello").await;
    }
}

#[tokio::test]
async fn metadata_is_limited_in_bytes() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let mut client = v1::user_service_client::UserServiceClient::new(alice.channel());
    let by = || v1::GetUserRequest {
        by: Some(v1::get_user_request::By::UserId("me".into())),
    };
    let mut request = alice.request(by());
    request.metadata_mut().insert("x-padding", "x".repeat(4000).parse().unwrap());
    client.get_user(request).await.unwrap();
    let mut request = alice.request(by());
    request.metadata_mut().insert("x-padding", "x".repeat(20000).parse().unwrap());
    assert!(client.get_user(request).await.is_err());
    alice.over(server.channel().await).user_with_id("me").await.unwrap();
}

#[tokio::test]
async fn a_burst_of_registrations_gives_each_name_once() {
    let server = Server::start(&[]).await;
    let mut registrations = tokio::task::JoinSet::new();
    for number in 0..24 {
        let channel = server.channel().await;
        registrations.spawn(async move {
            let name = format!("name{}", number % 4);
            User::register(channel, &name, crate::support::PASSWORD).await
        });
    }
    let mut made = 0;
    for answer in registrations.join_all().await {
        match answer {
            Ok(_) => made += 1,
            Err(refusal) => assert!(
                matches!(refusal.reason, ErrorReason::UserNameTaken | ErrorReason::ServerBusy),
                "{refusal:?}"
            ),
        }
    }
    assert_eq!(made, 4);
}

#[tokio::test]
async fn unknown_limits_and_impossible_values_are_refused_at_start() {
    let server = Server::stopped(Options::default());
    for limit in [
        "nonsense=1",
        "text_bytes=-1",
        "text_bytes",
        "text_bytes=many",
        "page_max=0",
        "heartbeat_seconds=0",
    ] {
        let (status, _, stderr) = server.run(&["--limit", limit, "config"]).await;
        assert!(!status.success(), "--limit {limit} was taken");
        assert!(!stderr.is_empty() && !stderr.contains("panicked"), "{stderr}");
    }
    let id = request_id();
    let (status, _, stderr) = server.run(&["--listen", "0.0.0.0:0"]).await;
    assert!(!status.success(), "plain text on all addresses was allowed ({id})");
    assert!(stderr.contains("tls"), "{stderr}");
}

#[tokio::test]
async fn one_user_has_a_limited_number_of_sessions_and_a_further_login_ends_the_oldest() {
    let server = Server::start(&[("sessions_per_user", 2)]).await;
    let first = server.user("alice").await;
    let second = server.login("alice").await;
    assert_eq!(second.sessions().await.unwrap().len(), 2, "as many as the limit");
    let third = server.login("alice").await;
    refused(first.sessions().await, ErrorReason::SessionEnded);
    assert_eq!(third.sessions().await.unwrap().len(), 2);
}

#[tokio::test]
async fn read_marks_have_a_rate_of_their_own() {
    let server = Server::start(&[("read_marks_per_second", 1), ("read_marks_burst", 3)]).await;
    let alice = server.user("alice").await;
    let room = server.general().await;
    for _ in 0..3 {
        alice.mark_read(&room, 1).await.unwrap();
    }
    let refusal = refused(alice.mark_read(&room, 1).await, ErrorReason::RateLimited);
    assert!(refusal.metadata.contains_key("retry_after_ms"));
    alice.send(&room, "the rate of messages is another one").await.unwrap();
}
