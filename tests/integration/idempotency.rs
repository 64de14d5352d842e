//! `request_id`: the same intention is stored once, whatever happens on the way.

use crate::support::user::message;
use crate::support::{ErrorReason, Server, refused, request_id, setting, v1};
use v1::chat_request::Action;

#[tokio::test]
async fn the_same_request_from_many_connections_is_stored_once() {
    let repeats = setting("GREFFE_TEST_REPEATS", 1000);
    let mut server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let room = alice.public_room("tea").await;
    let request = message(&room, "only once");
    let mut senders = tokio::task::JoinSet::new();
    for connection in 0..10 {
        let alice = alice.over(server.channel().await);
        let request = request.clone();
        senders.spawn(async move {
            let mut receipts = Vec::new();
            if connection % 2 == 0 {
                let mut stream = alice.live().await;
                for _ in 0..repeats / 10 {
                    stream.act(Action::SendMessage(request.clone())).await;
                    receipts.push(stream.next_result().await.1.unwrap());
                }
            } else {
                for _ in 0..repeats / 10 {
                    receipts.push(alice.send_request(request.clone()).await.unwrap());
                }
            }
            receipts
        });
    }
    let receipts: Vec<v1::Receipt> = senders.join_all().await.into_iter().flatten().collect();
    assert!(receipts.iter().all(|receipt| *receipt == receipts[0]));
    assert_eq!(alice.messages(&room).await.unwrap().len(), 1);

    let other = v1::SendMessageRequest {
        text: "something else".into(),
        ..request.clone()
    };
    let elsewhere = v1::SendMessageRequest {
        room_id: server.general().await,
        ..request.clone()
    };
    let as_reply = v1::SendMessageRequest {
        reply_to_seq: receipts[0].seq,
        ..request.clone()
    };
    for different in [&other, &elsewhere, &as_reply] {
        let refusal = refused(
            alice.send_request(different.clone()).await,
            ErrorReason::RequestIdReused,
        );
        assert_eq!(
            refusal.metadata.get("seq"),
            Some(&receipts[0].seq.to_string()),
            "{refusal:?}"
        );
    }
    server.restart().await;
    let alice = alice.over(server.channel().await);
    assert_eq!(alice.send_request(request.clone()).await.unwrap(), receipts[0]);
    refused(alice.send_request(other).await, ErrorReason::RequestIdReused);
    server.kill_9().await;
    server.spawn().await.unwrap();
    let alice = alice.over(server.channel().await);
    assert_eq!(alice.send_request(request).await.unwrap(), receipts[0]);
    assert_eq!(alice.messages(&room).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_request_id_belongs_to_its_user_and_to_one_kind_of_change() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.public_room("tea").await;
    bob.join(&room).await.unwrap();
    let request = message(&room, "hello");
    let first = alice.send_request(request.clone()).await.unwrap();
    let bobs = bob.send_request(request.clone()).await.unwrap();
    assert_ne!(bobs.seq, first.seq, "another user's request id is another one");
    refused(
        alice.revoke_as(&request.request_id, &alice.session_id).await,
        ErrorReason::RequestIdReused,
    );
    let create = v1::CreateRoomRequest {
        request_id: request.request_id.clone(),
        kind: v1::RoomKind::Public.into(),
        name: "coffee".into(),
        ..v1::CreateRoomRequest::default()
    };
    refused(alice.create_room(create).await, ErrorReason::RequestIdReused);
}

#[tokio::test]
async fn a_retry_gets_its_first_answer_even_if_the_right_has_gone_since() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("den", &[&bob]).await;
    let request = message(&room, "while I could");
    let receipt = bob.send_request(request.clone()).await.unwrap();
    alice.remove(&room, &bob).await.unwrap();
    refused(bob.send(&room, "no more").await, ErrorReason::RoomNotFound);
    assert_eq!(bob.send_request(request.clone()).await.unwrap(), receipt);
    let mut stream = bob.live().await;
    stream.act(Action::SendMessage(request.clone())).await;
    assert_eq!(stream.result(&request.request_id).await.unwrap(), receipt);
}

#[tokio::test]
async fn a_refused_request_can_be_made_good_and_sent_again_with_its_id() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.public_room("tea").await;
    let request = message(&room, "hello");
    refused(bob.send_request(request.clone()).await, ErrorReason::NotAMember);
    bob.join(&room).await.unwrap();
    bob.send_request(request).await.unwrap();
}

#[tokio::test]
async fn every_kind_of_change_repeats_safely() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let room = alice.public_room("tea").await;
    let seq = alice.send(&room, "hello").await.unwrap().seq;
    let mut stream = alice.live().await;
    let edit = v1::EditMessageRequest {
        request_id: request_id(),
        room_id: room.clone(),
        seq,
        text: "edited".into(),
    };
    let add = v1::AddReactionRequest {
        request_id: request_id(),
        room_id: room.clone(),
        seq,
        emoji: "👍".into(),
    };
    let remove = v1::RemoveReactionRequest {
        request_id: request_id(),
        room_id: room.clone(),
        seq,
        emoji: "👍".into(),
    };
    let delete = v1::DeleteMessageRequest {
        request_id: request_id(),
        room_id: room.clone(),
        seq,
    };
    let actions = [
        (edit.request_id.clone(), Action::EditMessage(edit)),
        (add.request_id.clone(), Action::AddReaction(add)),
        (remove.request_id.clone(), Action::RemoveReaction(remove)),
        (delete.request_id.clone(), Action::DeleteMessage(delete)),
    ];
    let mut receipts = Vec::new();
    for (id, action) in &actions {
        stream.act(action.clone()).await;
        receipts.push(stream.result(id).await.unwrap());
    }
    // Each again, after all the others: the message is deleted by now.
    for ((id, action), receipt) in actions.iter().zip(&receipts) {
        stream.act(action.clone()).await;
        assert_eq!(&stream.result(id).await.unwrap(), receipt);
    }
    assert_eq!(alice.room(&room).await.unwrap().head_seq, receipts[3].seq);
}

#[tokio::test]
async fn every_change_of_a_room_repeats_safely_whatever_has_changed_since() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room("den").await;
    let mut alices = v1::room_service_client::RoomServiceClient::new(alice.channel());
    let mut bobs = v1::room_service_client::RoomServiceClient::new(bob.channel());
    let (room_id, user_id) = (room.clone(), bob.id.clone());
    let invite = v1::InviteMemberRequest {
        request_id: request_id(),
        room_id: room_id.clone(),
        user_id: user_id.clone(),
    };
    let join = v1::JoinRoomRequest {
        request_id: request_id(),
        room_id: room_id.clone(),
    };
    let promote = v1::SetMemberRoleRequest {
        request_id: request_id(),
        room_id: room_id.clone(),
        user_id: user_id.clone(),
        role: v1::MemberRole::Moderator.into(),
    };
    let rename = v1::UpdateRoomRequest {
        request_id: request_id(),
        room: Some(v1::Room {
            id: room_id.clone(),
            name: "parlour".into(),
            ..v1::Room::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["name".into()],
        }),
    };
    let leave = v1::LeaveRoomRequest {
        request_id: request_id(),
        room_id: room_id.clone(),
    };
    let remove = v1::RemoveMemberRequest {
        request_id: request_id(),
        room_id: room_id.clone(),
        user_id: user_id.clone(),
        reason: "enough".into(),
    };
    let archive = v1::ArchiveRoomRequest {
        request_id: request_id(),
        room_id: room_id.clone(),
        reason: String::new(),
    };
    let direct = v1::OpenDirectRequest {
        request_id: request_id(),
        user_id,
    };
    // Everything once, and then everything again in the same order: nobody is in the room any more by then.
    let mut passes = Vec::new();
    for pass in 0..2 {
        let mut receipts = Vec::new();
        let answer = alices.invite_member(alice.request(invite.clone())).await.unwrap().into_inner();
        receipts.push(answer.receipt.unwrap());
        let answer = bobs.join_room(bob.request(join.clone())).await.unwrap().into_inner();
        assert_eq!(
            answer.room.is_some(),
            pass == 0,
            "the room's state is for those who may see it"
        );
        receipts.push(answer.receipt.unwrap());
        let answer = alices
            .set_member_role(alice.request(promote.clone()))
            .await
            .unwrap()
            .into_inner();
        receipts.push(answer.receipt.unwrap());
        let answer = alices.update_room(alice.request(rename.clone())).await.unwrap().into_inner();
        receipts.push(answer.receipt.unwrap());
        let answer = bobs.leave_room(bob.request(leave.clone())).await.unwrap().into_inner();
        receipts.push(answer.receipt.unwrap());
        if pass == 0 {
            alice.invite(&room, &bob).await.unwrap();
        }
        let answer = alices.remove_member(alice.request(remove.clone())).await.unwrap().into_inner();
        receipts.push(answer.receipt.unwrap());
        let answer = alices.archive_room(alice.request(archive.clone())).await.unwrap().into_inner();
        assert!(answer.room.unwrap().room.unwrap().archived_at.is_some());
        receipts.push(answer.receipt.unwrap());
        let answer = alices.open_direct(alice.request(direct.clone())).await.unwrap().into_inner();
        assert!(answer.room.is_some());
        receipts.push(answer.receipt.unwrap());
        passes.push(receipts);
    }
    assert_eq!(passes[0], passes[1]);
    let newest = alice.room(&room).await.unwrap().head_seq;
    assert_eq!(newest, passes[0][6].seq, "nothing was stored again");
}
