//! Rooms and who is in them.

use crate::support::Server;

#[test]
fn a_private_room_is_entered_by_invitation_only() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    alice
        .run(["rooms", "create", "the den", "--private", "--topic", "secrets"])
        .succeeded();
    bob.run(["rooms", "join", "the den"]).failed(4);
    bob.run(["send", "the den", "x"]).failed(4);
    alice.run(["rooms", "invite", "the den", "@Bob"]).succeeded();
    let listed = bob.run(["rooms"]).succeeded().stdout;
    assert!(listed.contains("the den") && listed.contains("invited"), "{listed}");
    bob.run(["rooms", "join", "the den"]).succeeded();
    bob.run(["send", "the den", "here I am"]).succeeded();
    alice.run(["rooms", "remove", "the den", "bob", "--reason", "spam"]).succeeded();
    bob.run(["tail", "the den"]).failed(4);
    let shown = alice.run(["tail", "the den"]).succeeded().stdout;
    for part in [
        "created the room",
        "invited bob",
        "bob joined",
        "bob: here I am",
        "removed bob: spam",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

#[test]
fn an_invitation_can_be_declined() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    alice.run(["rooms", "create", "den", "--private"]).succeeded();
    alice.run(["rooms", "invite", "den", "bob"]).succeeded();
    bob.run(["rooms", "decline", "den"]).succeeded();
    bob.run(["rooms", "decline", "den"]).failed(4);
}

#[test]
fn a_public_room_is_found_joined_and_left() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    alice.run(["rooms", "create", "plaza"]).succeeded();
    let public = bob.objects(["rooms", "list", "--public", "--json"]);
    assert!(
        public.iter().any(|room| room["room"] == "plaza" && room["role"] == "no member"),
        "{public:?}"
    );
    let refused = bob.run(["send", "plaza", "x"]).failed(5);
    assert!(refused.stderr.contains("greffe rooms join"), "{refused:?}");
    bob.run(["rooms", "join", "plaza"]).succeeded();
    bob.run(["send", "plaza", "x"]).succeeded();
    bob.run(["rooms", "leave", "plaza"]).succeeded();
    bob.run(["send", "plaza", "x"]).failed(5);
}

#[test]
fn owners_manage_their_room() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    alice.run(["rooms", "create", "plaza"]).succeeded();
    bob.run(["rooms", "join", "plaza"]).succeeded();
    bob.run(["rooms", "rename", "plaza", "mine"]).failed(5);
    alice.run(["rooms", "leave", "plaza"]).failed(1);
    alice.run(["rooms", "role", "plaza", "bob", "owner"]).succeeded();
    bob.run(["rooms", "rename", "plaza", "square"]).succeeded();
    bob.run(["rooms", "topic", "square", "market day"]).succeeded();
    let members = alice.run(["rooms", "members", "square"]).succeeded().stdout;
    assert!(
        members.contains("alice") && members.contains("bob") && members.contains("owner"),
        "{members}"
    );
    assert!(alice.run(["rooms", "show", "square"]).succeeded().stdout.contains("market day"));
    alice.run(["rooms", "leave", "square"]).succeeded();
    bob.run(["rooms", "archive", "square", "--yes"]).succeeded();
    bob.run(["send", "square", "x"]).failed(1);
}

#[test]
fn users_are_listed_with_who_is_online() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let mut chatting = bob.start(["chat"]);
    chatting.type_line("hello");
    chatting.expect_line("bob: hello");
    let online = alice.objects(["users", "--online", "--json"]);
    assert_eq!(
        online.iter().filter_map(|user| user["user"].as_str()).collect::<Vec<_>>(),
        ["bob"]
    );
    let all = alice.objects(["users", "--json"]);
    assert_eq!(all.len(), 2);
}
