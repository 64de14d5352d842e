//! Messages: posting, editing, deleting, replies, reactions, mentions, read marks, search.

use v1::chat_request::Action;
use v1::list_events_request::From as Events;
use v1::list_messages_request::From as Messages;

use crate::support::stream::{content, head, seqs, text_of};
use crate::support::{ErrorReason, Server, eventually, refused, request_id, v1};

#[tokio::test]
async fn a_receipt_names_the_place_in_the_room_and_in_the_journal() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let room = alice.public_room("tea").await;
    let first = alice.send(&room, "one").await.unwrap();
    let second = alice.send(&room, "two").await.unwrap();
    assert_eq!((first.seq, second.seq), (2, 3));
    assert!(second.index > first.index);
    assert_eq!((first.room_id.as_str(), first.leaf_hash.len()), (room.as_str(), 32));
    assert_eq!(first.epoch, server.info().await.epoch);
    let events = alice.events_after(&room, 1).await.unwrap();
    let head = head(&events[0]);
    assert_eq!((head.seq, head.index, head.time), (first.seq, first.index, first.time));
    assert_eq!(
        (head.actor_id.as_str(), head.kind()),
        (alice.id.as_str(), v1::EventKind::MessagePosted)
    );
    assert_eq!(text_of(&events[0]), Some("one"));
}

#[tokio::test]
async fn a_text_is_stored_as_sent_whatever_it_holds() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("den", &[&bob]).await;
    let mut stream = bob.live().await;
    let texts = [
        " spaces around ",
        "line\nline\r\n\ttab",
        "\u{1b}[31mred\u{1b}[0m \u{7} bell",
        "bidi \u{202e}override\u{2066}",
        "👩‍👩‍👧‍👦 ﷽ Z̷̨a̶l̷g̵o̶",
        "\u{feff}\u{fffd}\u{10ffff}",
        "'; DROP TABLE journal; --",
        "\u{1}",
        " ",
    ];
    for text in texts {
        let receipt = alice.send(&room, text).await.unwrap();
        assert_eq!(text_of(&stream.event_at(&room, receipt.seq).await), Some(text));
    }
    let stored: Vec<String> = bob
        .messages(&room)
        .await
        .unwrap()
        .into_iter()
        .map(|message| message.text)
        .collect();
    assert_eq!(stored, texts);
    for text in ["", "nul \0 inside"] {
        let refusal = refused(alice.send(&room, text).await, ErrorReason::InvalidField);
        assert_eq!(refusal.metadata["field"], "text");
    }
}

#[tokio::test]
async fn an_edit_changes_the_message_and_a_deletion_takes_its_text() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.public_room("tea").await;
    bob.join(&room).await.unwrap();
    let seq = alice.send(&room, "frist").await.unwrap().seq;
    alice.edit(&room, seq, "first").await.unwrap();
    let message = bob.messages(&room).await.unwrap().remove(0);
    assert_eq!((message.seq, message.text.as_str()), (seq, "first"));
    assert!(message.edited_at.is_some() && !message.deleted);
    refused(bob.edit(&room, seq, "mine now").await, ErrorReason::NotTheAuthor);
    refused(bob.delete(&room, seq).await, ErrorReason::RoleTooLow);

    alice.delete(&room, seq).await.unwrap();
    let message = bob.messages(&room).await.unwrap().remove(0);
    assert_eq!((message.seq, message.text.as_str(), message.deleted), (seq, "", true));
    refused(alice.edit(&room, seq, "again").await, ErrorReason::MessageDeleted);
    refused(alice.delete(&room, seq).await, ErrorReason::MessageDeleted);
    refused(bob.react(&room, seq, "👍").await, ErrorReason::MessageDeleted);
}

#[tokio::test]
async fn a_seq_that_is_no_message_is_not_found() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let room = alice.public_room("tea").await;
    let seq = alice.send(&room, "hello").await.unwrap().seq;
    let edit = alice.edit(&room, seq, "hi").await.unwrap().seq;
    // The room's creation, the edit itself, and what is beyond the newest event.
    for target in [1, edit, edit + 5, 1_000_000] {
        refused(alice.edit(&room, target, "x").await, ErrorReason::MessageNotFound);
        refused(alice.delete(&room, target).await, ErrorReason::MessageNotFound);
        refused(alice.react(&room, target, "👍").await, ErrorReason::MessageNotFound);
        refused(alice.reply(&room, target, "x").await, ErrorReason::MessageNotFound);
    }
}

#[tokio::test]
async fn replies_name_their_message() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("den", &[&bob]).await;
    let question = alice.send(&room, "tea?").await.unwrap().seq;
    let mut stream = bob.live().await;
    let reply = bob.reply(&room, question, "please").await.unwrap().seq;
    assert_eq!(head(&stream.event_at(&room, reply).await).target_seq, question);
    let messages = alice.messages(&room).await.unwrap();
    assert_eq!(messages.last().unwrap().reply_to_seq, question);
}

#[tokio::test]
async fn reactions_are_one_of_a_kind_for_each_person() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("den", &[&bob]).await;
    let seq = alice.send(&room, "tea").await.unwrap().seq;
    bob.react(&room, seq, "👍").await.unwrap();
    alice.react(&room, seq, "👍").await.unwrap();
    bob.react(&room, seq, "nice").await.unwrap();
    refused(bob.react(&room, seq, "👍").await, ErrorReason::AlreadyReacted);
    refused(alice.unreact(&room, seq, "nice").await, ErrorReason::ReactionNotFound);
    let reactions = |message: &v1::Message| {
        let pairs = message
            .reactions
            .iter()
            .map(|reaction| (reaction.user_id.clone(), reaction.emoji.clone()));
        pairs.collect::<Vec<_>>()
    };
    let listed = alice.messages(&room).await.unwrap().pop().unwrap();
    let expected = [(&bob, "👍"), (&alice, "👍"), (&bob, "nice")];
    assert_eq!(
        reactions(&listed),
        expected.map(|(user, emoji)| (user.id.clone(), emoji.to_owned()))
    );
    bob.unreact(&room, seq, "👍").await.unwrap();
    refused(bob.unreact(&room, seq, "👍").await, ErrorReason::ReactionNotFound);
    assert_eq!(reactions(&alice.messages(&room).await.unwrap().pop().unwrap()).len(), 2);
    let too_long = "x".repeat(33);
    for emoji in ["", " ", "a b", "a\n", "\u{1b}", "\0", &too_long] {
        refused(bob.react(&room, seq, emoji).await, ErrorReason::InvalidField);
    }
    bob.react(&room, seq, &"x".repeat(32)).await.unwrap();
}

#[tokio::test]
async fn a_message_with_many_reactions_and_requests_about_it_holds_up_nobody() {
    let server = Server::start(&[]).await;
    let (alice, mallory) = (server.user("alice").await, server.user("mallory").await);
    let people = server.users("person", 30).await;
    let general = server.general().await;
    let seq = alice.send(&general, "tea").await.unwrap().seq;
    let reaction = |emoji: &str| v1::AddReactionRequest {
        request_id: request_id(),
        room_id: general.clone(),
        seq,
        emoji: emoji.to_owned(),
    };
    let mut streams = Vec::new();
    for person in &people {
        streams.push(person.live().await);
    }
    for emoji in ["1", "2", "3", "4", "5", "6", "7"] {
        for stream in &mut streams {
            stream.act(Action::AddReaction(reaction(emoji))).await;
        }
    }
    for stream in &mut streams {
        for _ in 0..7 {
            stream.next_result().await.1.unwrap();
        }
    }
    mallory.react(&general, seq, "again").await.unwrap();

    // Each as many as may be unanswered, all refused; and the others react meanwhile.
    let mut flood = mallory.live().await;
    for _ in 0..256 {
        flood.act(Action::AddReaction(reaction("again"))).await;
    }
    for stream in &mut streams {
        stream.act(Action::AddReaction(reaction("8"))).await;
    }
    let receipt = alice.send(&general, "is anybody there?").await.unwrap();
    for _ in 0..256 {
        refused(flood.next_result().await.1, ErrorReason::AlreadyReacted);
    }
    alice.send(&general, "fence").await.unwrap();
    for stream in &mut streams {
        stream.next_result().await.1.unwrap();
        if !stream.events_seen().any(|event| text_of(event) == Some("fence")) {
            stream.message("fence").await;
        }
        assert!(seqs(stream.events_seen(), &general).contains(&receipt.seq));
    }
    let events = alice.events_after(&general, seq).await.unwrap();
    let reactions = events.iter().map(head).filter(|head| head.target_seq == seq);
    assert_eq!(reactions.count(), 30 * 8 + 1, "what was refused is not stored");
}

#[tokio::test]
async fn mentions_are_found_by_the_server_among_the_members() {
    let server = Server::start(&[]).await;
    let (alice, bob, outsider) = (
        server.user("alice").await,
        server.user("bob").await,
        server.user("eve").await,
    );
    let room = alice.private_room_with("den", &[&bob]).await;
    let mentions = async |text: &str| {
        let seq = alice.send(&room, text).await.unwrap().seq;
        let events = alice.events_after(&room, seq - 1).await.unwrap();
        let Some(v1::event_body::Content::MessagePosted(posted)) = content(&events[0]).cloned() else {
            panic!("no message: {events:?}");
        };
        assert_eq!(
            alice.messages(&room).await.unwrap().pop().unwrap().mentioned_user_ids,
            posted.mentioned_user_ids
        );
        posted.mentioned_user_ids
    };
    assert_eq!(mentions("hello @bob").await, [bob.id.as_str()]);
    assert_eq!(mentions("@bob, @bob and (@alice)!").await.len(), 2);
    assert_eq!(mentions("mail bob@bob.example").await, Vec::<String>::new());
    assert_eq!(mentions("@bobby @ bob @").await, Vec::<String>::new());
    // Who is not in the room cannot be named there, and whether they exist cannot be learnt.
    assert_eq!(mentions("@eve @nobody").await, Vec::<String>::new());
    assert!(!outsider.id.is_empty());
}

#[tokio::test]
async fn unread_messages_and_mentions_are_counted_until_they_are_read() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.public_room("tea").await;
    bob.join(&room).await.unwrap();
    let counts = async || {
        let state = bob.room(&room).await.unwrap();
        (state.unread_count, state.mention_count, state.read_seq)
    };
    let already = counts().await;
    let first = alice.send(&room, "one").await.unwrap().seq;
    let second = alice.send(&room, "two @bob").await.unwrap().seq;
    let third = alice.send(&room, "three @bob").await.unwrap().seq;
    bob.send(&room, "mine does not count").await.unwrap();
    assert_eq!(counts().await, (already.0 + 3, 2, already.2));
    assert_eq!(bob.mark_read(&room, first).await.unwrap(), first);
    assert_eq!(counts().await, (2, 2, first));
    alice.delete(&room, second).await.unwrap();
    assert_eq!(counts().await, (1, 1, first));
    alice.edit(&room, third, "three, nobody named").await.unwrap();
    assert_eq!(counts().await, (1, 0, first));
    assert_eq!(bob.mark_read(&room, third).await.unwrap(), third);
    assert_eq!(bob.mark_read(&room, first).await.unwrap(), third, "never back");
    assert_eq!(counts().await, (0, 0, third));
    let newest = bob.room(&room).await.unwrap().head_seq;
    for seq in [0, -1, i64::MIN, newest + 1, i64::MAX] {
        refused(bob.mark_read(&room, seq).await, ErrorReason::InvalidField);
    }
}

#[tokio::test]
async fn unread_counts_end_at_a_thousand() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.public_room("tea").await;
    bob.join(&room).await.unwrap();
    let ledger = crate::support::load::Ledger::new(&room);
    ledger.clone().load(alice.clone(), 1005).await;
    assert_eq!(ledger.acknowledged(), 1005);
    let state = bob.room(&room).await.unwrap();
    assert_eq!((state.unread_count, state.mention_count), (1000, 0));
    bob.mark_read(&room, state.head_seq - 998).await.unwrap();
    assert_eq!(bob.room(&room).await.unwrap().unread_count, 998);
}

#[tokio::test]
async fn events_and_messages_page_in_both_directions() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let room = alice.public_room("tea").await;
    for number in 2..=10 {
        assert_eq!(
            alice.send(&room, &format!("message {number}")).await.unwrap().seq,
            number
        );
    }
    alice.edit(&room, 2, "edited 2").await.unwrap();
    let events = async |from: Option<v1::list_events_request::From>, page_size: i32| {
        let request = v1::ListEventsRequest {
            room_id: room.clone(),
            from,
            page_size,
        };
        let page = alice.list_events(request).await.unwrap();
        assert_eq!((page.head_seq, page.first_seq), (11, 1));
        (seqs(&page.events, &room), page.has_more)
    };
    assert_eq!(events(Some(Events::AfterSeq(0)), 3).await, (vec![1, 2, 3], true));
    assert_eq!(events(Some(Events::AfterSeq(8)), 3).await, (vec![9, 10, 11], false));
    assert_eq!(events(Some(Events::AfterSeq(11)), 3).await, (vec![], false));
    assert_eq!(events(Some(Events::BeforeSeq(4)), 2).await, (vec![2, 3], true));
    assert_eq!(events(Some(Events::BeforeSeq(3)), 2).await, (vec![1, 2], false));
    assert_eq!(events(Some(Events::BeforeSeq(1)), 2).await, (vec![], false));
    assert_eq!(events(None, 2).await, (vec![10, 11], true));
    assert_eq!(events(None, i32::MAX).await.0.len(), 11);

    let messages = async |from: Option<v1::list_messages_request::From>, page_size: i32| {
        let request = v1::ListMessagesRequest {
            room_id: room.clone(),
            from,
            page_size,
        };
        let page = alice.list_messages(request).await.unwrap();
        (
            page.messages.iter().map(|message| message.seq).collect::<Vec<_>>(),
            page.has_more,
        )
    };
    assert_eq!(messages(Some(Messages::AfterSeq(0)), 3).await, (vec![2, 3, 4], true));
    assert_eq!(messages(Some(Messages::AfterSeq(8)), 3).await, (vec![9, 10], false));
    assert_eq!(messages(Some(Messages::BeforeSeq(4)), 1).await, (vec![3], true));
    assert_eq!(messages(Some(Messages::BeforeSeq(4)), 9).await, (vec![2, 3], false));
    assert_eq!(messages(None, 2).await, (vec![9, 10], true));
}

#[tokio::test]
async fn search_finds_current_texts_by_words_and_beginnings_newest_first() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let tea = alice.public_room("tea").await;
    let coffee = alice.public_room("coffee").await;
    bob.join(&tea).await.unwrap();
    let first = alice.send(&tea, "Earl Grey with bergamot").await.unwrap().seq;
    let second = alice.send(&tea, "grey clouds, no BERGAMOTS").await.unwrap().seq;
    alice.send(&coffee, "bergamot in coffee").await.unwrap();
    let found = async |user: &crate::support::User, query: &str| {
        let messages = user.search(query).await.unwrap();
        messages
            .iter()
            .map(|message| (message.room_id.clone(), message.seq))
            .collect::<Vec<_>>()
    };
    eventually("the search index", || async {
        (found(&alice, "bergamot").await.len() == 3).then_some(())
    })
    .await;
    assert_eq!(
        found(&bob, "bergamot").await,
        [(tea.clone(), second), (tea.clone(), first)]
    );
    assert_eq!(found(&bob, "grey earl").await, [(tea.clone(), first)]);
    assert_eq!(found(&bob, "berg gre").await.len(), 2);
    assert_eq!(found(&bob, "amot").await, []);
    // What looks like the search engine's own language is words, or no words at all.
    for query in [
        "bergamot OR coffee*",
        "NEAR(bergamot",
        "text:bergamot",
        "^bergamot -coffee",
        "a\"b",
        "x' OR '1",
    ] {
        assert!(found(&alice, query).await.len() <= 1, "{query:?}");
    }
    for query in ["\"", "*", "'", "()", "👍", "\u{202e}"] {
        if let Err(refusal) = alice.search(query).await {
            assert_eq!(refusal.reason, ErrorReason::InvalidField, "{query:?}");
        }
    }
    let page = v1::SearchMessagesRequest {
        query: "bergamot".into(),
        room_id: tea.clone(),
        page_size: 1,
        ..v1::SearchMessagesRequest::default()
    };
    let mut seen = Vec::new();
    let mut request = page.clone();
    loop {
        let answer = alice.search_page(request.clone()).await.unwrap();
        seen.extend(answer.messages.iter().map(|message| message.seq));
        if answer.next_page_token.is_empty() {
            break;
        }
        request.page_token = answer.next_page_token;
        let other = v1::SearchMessagesRequest {
            query: "grey".into(),
            ..request.clone()
        };
        refused(alice.search_page(other).await, ErrorReason::InvalidPageToken);
    }
    assert_eq!(seen, [second, first]);
    for query in ["", &"x".repeat(257), "nul\0"] {
        refused(alice.search(query).await, ErrorReason::InvalidField);
    }
    let elsewhere = v1::SearchMessagesRequest {
        room_id: coffee.clone(),
        ..page
    };
    refused(bob.search_page(elsewhere).await, ErrorReason::NotAMember);
}

#[tokio::test]
async fn search_is_rebuilt_when_its_file_is_gone() {
    let mut server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let room = alice.public_room("tea").await;
    alice.send(&room, "bergamot").await.unwrap();
    let find = async |server: &Server| {
        let alice = alice.over(server.channel().await);
        eventually("the search index", || async {
            (alice.search("bergamot").await.ok()?.len() == 1).then_some(())
        })
        .await;
    };
    find(&server).await;
    assert!(server.terminate().await.success());
    let mut removed = 0;
    for entry in std::fs::read_dir(server.data_dir()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("search.db") {
            std::fs::remove_file(path).unwrap();
            removed += 1;
        }
    }
    assert!(removed > 0, "the search index is a file of its own, search.db");
    server.spawn().await.unwrap();
    find(&server).await;
}

#[tokio::test]
async fn request_ids_are_required_and_are_uuids() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let room = alice.public_room("tea").await;
    for id in ["", "1", "not-a-uuid", &"x".repeat(36), &"0".repeat(5000)] {
        let request = v1::SendMessageRequest {
            request_id: id.to_owned(),
            ..crate::support::user::message(&room, "hi")
        };
        refused(alice.send_request(request).await, ErrorReason::InvalidRequestId);
    }
    let request = v1::SendMessageRequest {
        request_id: request_id().to_uppercase(),
        ..crate::support::user::message(&room, "hi")
    };
    let receipt = alice.send_request(request.clone()).await.unwrap();
    let lower = v1::SendMessageRequest {
        request_id: request.request_id.to_lowercase(),
        ..request
    };
    assert_eq!(alice.send_request(lower).await.unwrap(), receipt, "a UUID has no case");
}
