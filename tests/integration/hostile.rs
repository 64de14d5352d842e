//! Garbage: accepted and shown safely, or refused with a clear status; never `INTERNAL`, never a panic, nothing half stored.
//!
//! That no answer is `INTERNAL` and no log holds a panic is checked in `support` for every test.

use std::pin::Pin;

use bytes::{Buf as _, BufMut as _, Bytes};
use prost::Message as _;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::{Body as _, Service, http};
use tonic::{Code, Status};

use crate::support::user::message;
use crate::support::{ErrorReason, Refusal, Server, User, refused, request_id, setting, v1, within};

/// A codec that sends bytes as they are, and gives answers as bytes.
#[derive(Clone, Copy, Default)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// Every call that is not a stream.
const CALLS: [&str; 32] = [
    "ServerService/GetServerInfo",
    "AuthService/Register",
    "AuthService/LogIn",
    "AuthService/ChangePassword",
    "AuthService/ListSessions",
    "AuthService/RevokeSession",
    "UserService/GetUser",
    "UserService/ListUsers",
    "UserService/UpdateProfile",
    "RoomService/CreateRoom",
    "RoomService/GetRoom",
    "RoomService/ListRooms",
    "RoomService/UpdateRoom",
    "RoomService/ArchiveRoom",
    "RoomService/JoinRoom",
    "RoomService/LeaveRoom",
    "RoomService/InviteMember",
    "RoomService/RemoveMember",
    "RoomService/SetMemberRole",
    "RoomService/ListMembers",
    "RoomService/OpenDirect",
    "ChatService/SendMessage",
    "ChatService/EditMessage",
    "ChatService/DeleteMessage",
    "ChatService/AddReaction",
    "ChatService/RemoveReaction",
    "ChatService/MarkRead",
    "ChatService/SetTyping",
    "ChatService/ListEvents",
    "ChatService/ListMessages",
    "ChatService/SearchMessages",
    "ChatService/NoSuchMethod",
];

/// Sends bytes to a call.
async fn call(user: &User, method: &str, bytes: Bytes) -> Result<Bytes, Refusal> {
    let mut client = tonic::client::Grpc::new(user.channel());
    client.ready().await.expect("the server is there");
    let path = format!("/greffe.v1.{method}").parse().expect("a path");
    let answer = within("an answer", client.unary(user.request(bytes), path, RawCodec)).await;
    Ok(answer?.into_inner())
}

/// Sends frames of bytes to `Chat` or `Subscribe` and reads to the end.
async fn stream(user: &User, method: &str, frames: Vec<Bytes>) -> Result<usize, Refusal> {
    let mut client = tonic::client::Grpc::new(user.channel());
    client.ready().await.expect("the server is there");
    let path = format!("/greffe.v1.ChatService/{method}").parse().expect("a path");
    let request = user.request(tokio_stream::iter(frames));
    let mut answers = within("a stream", client.streaming(request, path, RawCodec))
        .await?
        .into_inner();
    let mut count = 0;
    while within("a frame or the end", answers.message()).await?.is_some() {
        count += 1;
    }
    Ok(count)
}

/// A small generator of numbers, the same on every run (xorshift64*).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("below a usize")
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}

/// Bytes that are nearly a request: a valid one with a few bytes changed, cut, doubled or put in.
fn mutated(numbers: &mut Numbers, seed: &[u8]) -> Bytes {
    let mut bytes = seed.to_vec();
    for _ in 0..=numbers.below(4) {
        let position = numbers.below(bytes.len().max(1));
        match numbers.below(4) {
            0 if position < bytes.len() => bytes[position] = numbers.next().to_le_bytes()[0],
            1 => bytes.truncate(position),
            2 => {
                let copy = bytes.clone();
                bytes.extend(copy);
            }
            _ => {
                let count = numbers.below(12);
                let more = numbers.bytes(count);
                bytes.splice(position.min(bytes.len())..position.min(bytes.len()), more);
            }
        }
    }
    bytes.into()
}

#[tokio::test]
async fn garbage_to_every_call_is_answered_clearly() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let room = alice.public_room("tea").await;
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let seeds: Vec<Vec<u8>> = vec![
        message(&room, "hello").encode_to_vec(),
        v1::EditMessageRequest {
            request_id: request_id(),
            room_id: room.clone(),
            seq: 2,
            text: "edited".into(),
        }
        .encode_to_vec(),
        v1::CreateRoomRequest {
            request_id: request_id(),
            kind: 2,
            name: "fuzz".into(),
            topic: "fuzz".into(),
            history: 1,
        }
        .encode_to_vec(),
        v1::ListEventsRequest {
            room_id: room.clone(),
            from: Some(v1::list_events_request::From::AfterSeq(1)),
            page_size: 10,
        }
        .encode_to_vec(),
        Vec::new(),
    ];
    let rounds = setting("GREFFE_TEST_FUZZ", 6);
    for method in CALLS {
        for _ in 0..rounds {
            let seed = &seeds[numbers.below(seeds.len())];
            let bytes = match numbers.below(3) {
                0 => {
                    let length = numbers.below(300);
                    numbers.bytes(length).into()
                }
                _ => mutated(&mut numbers, seed),
            };
            if let Err(refusal) = call(&alice, method, bytes.clone()).await {
                let told = refusal.reason != ErrorReason::Unspecified || refusal.code == Code::Unimplemented;
                assert!(told, "{method} with {bytes:02x?}: {refusal:?}");
            }
        }
    }
    refused(
        call(&alice, "ChatService/NoSuchMethod", Bytes::new()).await,
        ErrorReason::UnknownMethod,
    );
    refused(
        call(&alice, "NoService/NoMethod", Bytes::new()).await,
        ErrorReason::UnknownMethod,
    );
    alice.send(&room, "the server is well").await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_decoded_is_a_malformed_request() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    // A length beyond the end; a group that ends without beginning; a field number 0; text that is not UTF-8; an endless varint.
    let mut not_utf8 = vec![0x0a, 0x02, 0xc3, 0x28];
    not_utf8.extend(message("room", "text").encode_to_vec());
    let deep: Vec<u8> = std::iter::repeat_n(0x0b, 10_000).collect();
    for bytes in [
        vec![0x0a, 0x7f, 0x00],
        vec![0x0c],
        vec![0x00, 0x00],
        not_utf8,
        vec![0xff; 11],
        deep,
    ] {
        let answer = call(&alice, "ChatService/SendMessage", bytes.clone().into()).await;
        refused(answer, ErrorReason::MalformedRequest);
        let mut frame = vec![0x12];
        prost::encoding::encode_varint(bytes.len() as u64, &mut frame);
        frame.extend(&bytes);
        let hello = v1::ChatRequest {
            action: Some(v1::chat_request::Action::Hello(v1::Hello::default())),
        };
        let frames = vec![hello.encode_to_vec().into(), frame.into()];
        refused(stream(&alice, "Chat", frames).await, ErrorReason::MalformedRequest);
    }
    // A field that the server does not know is harmless.
    let mut unknown = v1::ListRoomsRequest::default().encode_to_vec();
    unknown.extend([0xf8, 0x07, 0x01]);
    call(&alice, "RoomService/ListRooms", unknown.into()).await.unwrap();
}

/// Sends a body that need be no gRPC message, and gives the status of the answer, from its headers or trailers.
async fn post(user: &User, method: &str, body: &'static str) -> Status {
    let authorization = user.request(()).metadata().get("authorization").expect("a login").clone();
    let request = http::Request::post(format!("/greffe.v1.{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", authorization.to_str().expect("a token is ASCII"))
        .body(tonic::body::Body::new(body.to_owned()))
        .expect("a request");
    let mut channel = user.channel();
    std::future::poll_fn(|context| Service::poll_ready(&mut channel, context))
        .await
        .expect("the server is there");
    let response = within("an answer", channel.call(request)).await.expect("an answer");
    if let Some(status) = Status::from_header_map(response.headers()) {
        return status;
    }
    let mut body = response.into_body();
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context));
        let frame = within("a frame", frame).await.expect("an answer ends with a status");
        if let Ok(trailers) = frame.expect("the answer is not broken off").into_trailers() {
            return Status::from_header_map(&trailers).expect("the trailers hold a status");
        }
    }
}

#[tokio::test]
async fn bodies_that_are_no_grpc_messages_are_malformed_requests() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    for (what, body) in [
        ("nothing", ""),
        ("a compression flag that does not exist", "\x07\0\0\0\0"),
        ("the same with a message", "\x07\0\0\0\x02\x0a\0"),
        ("compressed, without an encoding", "\x01\0\0\0\x02\x0a\0"),
        ("a message that is cut", "\0\0\0\0\x0a\x0a\x02"),
        ("a header that is cut", "\0\0\0"),
        ("one byte", "\0"),
    ] {
        for method in [
            "UserService/GetUser",
            "ChatService/SendMessage",
            "AuthService/LogIn",
            "ChatService/Subscribe",
            "ChatService/Chat",
        ] {
            if (method, body) == ("ChatService/Chat", "") {
                // Closed without a word, which is no fault of form.
                let refusal = Refusal::from(post(&alice, method, body).await);
                assert_eq!(refusal.reason, ErrorReason::HelloExpected);
                continue;
            }
            let status = post(&alice, method, body).await;
            assert_ne!(status.code(), Code::Internal, "{method}, {what}: {status:?}");
            let refusal = Refusal::from(status);
            assert_eq!(
                refusal.reason,
                ErrorReason::MalformedRequest,
                "{method}, {what}: {refusal:?}"
            );
        }
    }
    alice.user_with_id("me").await.unwrap();
}

#[tokio::test]
async fn garbage_on_streams_ends_them_and_nothing_else() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("den", &[&bob]).await;
    let mut bystander = bob.live().await;
    let hello = v1::ChatRequest {
        action: Some(v1::chat_request::Action::Hello(v1::Hello::default())),
    };
    let hello: Bytes = hello.encode_to_vec().into();
    let seed = v1::ChatRequest {
        action: Some(v1::chat_request::Action::SendMessage(message(&room, "hello"))),
    };
    let mut numbers = Numbers(0xD1B5_4A32_D192_ED03);
    for round in 0..setting("GREFFE_TEST_FUZZ", 6) * 4 {
        // The last frame always ends the stream, if none before it has.
        let mut frames = vec![
            mutated(&mut numbers, &seed.encode_to_vec()),
            Bytes::from_static(&[0x0c]),
        ];
        if round % 2 == 0 {
            frames.insert(0, hello.clone());
        }
        let refusal = stream(&alice, "Chat", frames).await.unwrap_err();
        assert_ne!(refusal.reason, ErrorReason::Unspecified, "{refusal:?}");
        let length = numbers.below(64);
        let frame = numbers.bytes(length).into();
        // By chance these bytes are a hello.
        let answer = tokio::time::timeout(
            std::time::Duration::from_millis(300),
            stream(&alice, "Subscribe", vec![frame]),
        );
        if let Ok(Err(refusal)) = answer.await {
            assert_ne!(refusal.reason, ErrorReason::Unspecified, "{refusal:?}");
        }
    }
    alice.send(&room, "the server is well").await.unwrap();
    bystander.message("the server is well").await;
}

#[tokio::test]
async fn numbers_at_their_edges_are_taken_or_refused() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let room = alice.public_room("tea").await;
    let newest = alice.send(&room, "hello").await.unwrap().seq;
    for seq in [-1, i64::MIN, 0, i64::MAX, i64::MAX - 1, newest + 1] {
        for answer in [
            alice.edit(&room, seq, "x").await,
            alice.delete(&room, seq).await,
            alice.react(&room, seq, "x").await,
            alice.unreact(&room, seq, "x").await,
        ] {
            let refusal = answer.unwrap_err();
            assert!(
                matches!(refusal.reason, ErrorReason::InvalidField | ErrorReason::MessageNotFound),
                "seq {seq}: {refusal:?}"
            );
        }
        if seq != 0 {
            let refusal = alice.reply(&room, seq, "x").await.unwrap_err();
            assert!(
                matches!(refusal.reason, ErrorReason::InvalidField | ErrorReason::MessageNotFound),
                "reply to {seq}: {refusal:?}"
            );
        }
        let after = v1::ListEventsRequest {
            room_id: room.clone(),
            from: Some(v1::list_events_request::From::AfterSeq(seq)),
            page_size: 10,
        };
        let before = v1::ListEventsRequest {
            from: Some(v1::list_events_request::From::BeforeSeq(seq)),
            ..after.clone()
        };
        for request in [after, before] {
            match alice.list_events(request).await {
                Ok(page) => assert!(seq >= 0, "{seq} was taken: {page:?}"),
                Err(refusal) => assert_eq!(refusal.reason, ErrorReason::InvalidField, "{seq}"),
            }
        }
        let messages = v1::ListMessagesRequest {
            room_id: room.clone(),
            from: Some(v1::list_messages_request::From::BeforeSeq(seq)),
            page_size: i32::MAX,
        };
        match alice.list_messages(messages).await {
            Ok(page) => assert!(seq >= 0, "{seq} was taken: {page:?}"),
            Err(refusal) => assert_eq!(refusal.reason, ErrorReason::InvalidField, "{seq}"),
        }
    }
    for role in [-1, 5, i32::MAX, i32::MIN] {
        let request = v1::SetMemberRoleRequest {
            request_id: request_id(),
            room_id: room.clone(),
            user_id: alice.id.clone(),
            role,
        };
        let bytes = request.encode_to_vec().into();
        refused(
            call(&alice, "RoomService/SetMemberRole", bytes).await,
            ErrorReason::InvalidField,
        );
    }
    assert_eq!(alice.room(&room).await.unwrap().head_seq, newest, "nothing was stored");
}

#[tokio::test]
async fn strings_that_are_no_ids_name_nothing() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let long = "x".repeat(30_000);
    for id in [
        "",
        "\0",
        "%",
        "'",
        "../../etc/passwd",
        "\u{202e}",
        "0",
        "-1",
        " ",
        long.as_str(),
    ] {
        for refusal in [
            alice.send(id, "hi").await.unwrap_err(),
            alice.room(id).await.unwrap_err(),
            alice.join(id).await.map(drop).unwrap_err(),
            alice.members(id).await.map(drop).unwrap_err(),
            alice.room_named(id).await.unwrap_err(),
        ] {
            assert!(
                matches!(refusal.reason, ErrorReason::RoomNotFound | ErrorReason::InvalidField),
                "{id:?}: {refusal:?}"
            );
            assert!(refusal.message.len() < 1000, "a refusal does not repeat what is long");
            let bad = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
            assert!(!refusal.message.chars().any(bad), "{:?}", refusal.message);
        }
        for refusal in [
            alice.user_with_id(id).await.unwrap_err(),
            alice.user_named(id).await.unwrap_err(),
            alice.open_direct_id(id).await.map(drop).unwrap_err(),
        ] {
            assert!(
                matches!(refusal.reason, ErrorReason::UserNotFound | ErrorReason::InvalidField),
                "{id:?}: {refusal:?}"
            );
        }
        let page = v1::ListUsersRequest {
            page_token: format!("{id}x"),
            ..v1::ListUsersRequest::default()
        };
        refused(alice.list_users(page).await, ErrorReason::InvalidPageToken);
        let names = v1::ListUsersRequest {
            name_prefix: id.to_owned(),
            ..v1::ListUsersRequest::default()
        };
        match alice.list_users(names).await {
            Ok(page) => assert!(page.users.is_empty() || id.is_empty(), "{id:?} is a pattern: {page:?}"),
            Err(refusal) => assert_eq!(refusal.reason, ErrorReason::InvalidField),
        }
    }
}

#[tokio::test]
async fn very_many_items_in_a_repeated_field_are_refused() {
    let server = Server::start(&[("request_bytes", 16 << 20)]).await;
    let alice = server.user("alice").await;
    let hello = v1::Hello {
        positions: (0..100_000)
            .map(|number| v1::RoomPosition {
                room_id: format!("room {number}"),
                after_seq: 1,
            })
            .collect(),
        ..v1::Hello::default()
    };
    for answer in [alice.chat(hello.clone()).await, alice.subscribe(hello).await] {
        let refusal = match answer {
            Err(refusal) => refusal,
            Ok(mut stream) => {
                while stream.next().await.is_some() {}
                stream.status.unwrap().into()
            }
        };
        assert!(
            matches!(refusal.reason, ErrorReason::InvalidField | ErrorReason::RequestTooLarge),
            "{refusal:?}"
        );
    }
    let request = v1::UpdateProfileRequest {
        request_id: request_id(),
        user: Some(v1::User::default()),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["display_name".into(); 100_000],
        }),
    };
    if let Err(refusal) = alice.update_profile(request).await {
        assert!(
            matches!(refusal.reason, ErrorReason::InvalidField | ErrorReason::RequestTooLarge),
            "{refusal:?}"
        );
    }
    alice.user_with_id("me").await.unwrap();
}

#[tokio::test]
async fn a_text_full_of_mentions_names_fifty_at_most() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let people = server.users("p", 52).await;
    let general = server.general().await;
    let text: Vec<String> = people.iter().map(|person| format!("@{}", person.name)).collect();
    alice.send(&general, &text.join(" ")).await.unwrap();
    assert_eq!(alice.messages(&general).await.unwrap()[0].mentioned_user_ids.len(), 50);
    alice.send(&general, &"@".repeat(16384)).await.unwrap();
    alice.send(&general, &"@p1 ".repeat(4096)).await.unwrap();
    assert_eq!(
        alice.messages(&general).await.unwrap()[2].mentioned_user_ids,
        [people[1].id.as_str()]
    );
}

#[tokio::test]
async fn calls_without_parts_that_they_need_are_refused() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    for method in CALLS {
        let may_be_empty = ["GetServerInfo", "ListSessions", "ListUsers", "ListRooms"];
        let answer = call(&alice, method, Bytes::new()).await;
        if may_be_empty.iter().any(|name| method.ends_with(name)) {
            answer.unwrap();
            continue;
        }
        let refusal = answer.unwrap_err();
        assert_ne!(refusal.reason, ErrorReason::Unspecified, "{method}: {refusal:?}");
    }
}
