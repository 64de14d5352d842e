//! Bans: of accounts and of networks, until they end or are lifted, and of nobody else.

use std::net::IpAddr;

use tonic::Code;
use v1::event_body::Content;

use crate::support::operator::{ban_of, ban_of_network, content_of, seconds};
use crate::support::{
    ErrorReason, Kind, Operator, Options, PASSWORD, Refusal, Server, User, admin, eventually, refused, request_id, v1,
};

/// An address of this machine that is not the one from which the tests connect.
fn elsewhere() -> IpAddr {
    "127.0.0.2".parse().expect("it is an address")
}

async fn log_in_from(server: &Server, address: IpAddr, name: &str, password: &str) -> Result<User, Refusal> {
    User::log_in(server.channel_from(address).await, name, password).await
}

async fn lift(operator: &Operator, target: admin::lift_ban_request::Target) -> Result<(), Refusal> {
    let request = admin::LiftBanRequest {
        target: Some(target),
        ..admin::LiftBanRequest::default()
    };
    operator.act(request, "enough of it").await.map(drop)
}

/// Reads to the end of a stream that a ban cuts, and checks that it says why.
async fn is_cut(mut stream: crate::support::Stream, why: &str) {
    stream
        .ends_with(v1::EndReason::Banned, Code::PermissionDenied, ErrorReason::Banned)
        .await;
    match stream.seen.last() {
        Some(Kind::Ended(ended)) => assert!(ended.message.contains(why), "{ended:?}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_banned_account_is_out_at_once_and_cannot_come_back_until_the_ban_is_lifted() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let general = server.general().await;
    let phone = server.login("bob").await;
    let (first, second) = (bob.live().await, phone.live().await);
    let answer = operator.ban("bob", "sold watches").await.unwrap();
    assert_eq!((answer.sessions_ended, answer.streams_closed), (2, 2));
    let ban = answer.ban.unwrap();
    assert_eq!(
        (
            ban.user_id.as_str(),
            ban.user_name.as_str(),
            ban.network.as_str(),
            ban.reason.as_str()
        ),
        (bob.id.as_str(), "bob", "", "sold watches")
    );
    assert!(ban.created_at.is_some() && ban.expires_at.is_none());
    is_cut(first, "sold watches").await;
    is_cut(second, "sold watches").await;
    for session in [&bob, &phone] {
        refused(session.send(&general, "buy!").await, ErrorReason::SessionEnded);
        refused(
            session.chat(v1::Hello::default()).await.map(drop),
            ErrorReason::SessionEnded,
        );
    }
    let refusal = refused(
        User::log_in(server.channel().await, "bob", PASSWORD).await,
        ErrorReason::Banned,
    );
    assert!(refusal.message.contains("sold watches"), "{refusal:?}");
    assert!(!refusal.metadata.contains_key("until"), "{refusal:?}");
    // Who does not know the password is not told.
    let guess = User::log_in(server.channel().await, "bob", "a guess of it").await;
    refused(guess, ErrorReason::WrongCredentials);
    alice.send(&general, "where is bob?").await.unwrap();

    // The same account by its id; the new ban takes the place of the other one.
    let again = admin::CreateBanRequest {
        duration: Some(seconds(3600)),
        ..ban_of(&bob.id)
    };
    let second = operator.act(again, "an hour will do").await.unwrap().ban.unwrap();
    assert_eq!(operator.bans().await, std::slice::from_ref(&second));
    let refusal = refused(
        User::log_in(server.channel().await, "bob", PASSWORD).await,
        ErrorReason::Banned,
    );
    assert!(refusal.message.contains("an hour will do") && refusal.metadata.contains_key("until"));
    refused(lift(&operator, by_index(ban.index)).await, ErrorReason::BanNotFound);
    lift(&operator, by_index(second.index)).await.unwrap();
    assert!(operator.bans().await.is_empty());
    let bob = server.login("bob").await;
    bob.send(&general, "I am back").await.unwrap();
}

fn by_index(index: i64) -> admin::lift_ban_request::Target {
    admin::lift_ban_request::Target::BanIndex(index)
}

fn by_network(network: &str) -> admin::lift_ban_request::Target {
    admin::lift_ban_request::Target::Network(network.to_owned())
}

#[tokio::test]
async fn from_a_banned_address_nothing_is_done_and_from_others_everything() {
    let mut server = Server::start(&[]).await;
    let operator = server.operator().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let general = server.general().await;
    // One session that was last used from there, and one from here with a stream from there.
    let away = log_in_from(&server, elsewhere(), "bob", PASSWORD).await.unwrap();
    let stream = away.live().await;
    let mut here = alice.live().await;
    let answer = operator.ban_network("127.0.0.2/32", "too many guesses").await.unwrap();
    assert_eq!((answer.sessions_ended, answer.streams_closed), (1, 1));
    assert_eq!(answer.ban.unwrap().network, "127.0.0.2/32");
    is_cut(stream, "too many guesses").await;

    let before = operator.newest().await;
    let refusal = refused(
        log_in_from(&server, elsewhere(), "bob", PASSWORD).await,
        ErrorReason::Banned,
    );
    assert!(refusal.message.contains("too many guesses"), "{refusal:?}");
    // Also what would be refused otherwise, and so before a password is looked at.
    for (name, password) in [("bob", "a wrong password"), ("nobody", PASSWORD), ("", "")] {
        refused(
            log_in_from(&server, elsewhere(), name, password).await,
            ErrorReason::Banned,
        );
    }
    let channel = server.channel_from(elsewhere()).await;
    let register = User::register(channel.clone(), "carol", PASSWORD).await;
    refused(register, ErrorReason::Banned);
    let reset = User::reset_password(channel.clone(), "bob", "AAAA-AAAA-AAAA", PASSWORD).await;
    refused(reset, ErrorReason::Banned);
    let posing = bob.over(channel.clone());
    refused(posing.send(&general, "hello").await, ErrorReason::Banned);
    refused(posing.sessions().await, ErrorReason::Banned);
    refused(posing.chat(v1::Hello::default()).await.map(drop), ErrorReason::Banned);
    // Also over a connection from before the ban.
    refused(away.sessions().await, ErrorReason::Banned);
    let mut info = v1::server_service_client::ServerServiceClient::new(channel);
    let asked = info.get_server_info(v1::GetServerInfoRequest {}).await;
    refused(asked.map(drop).map_err(Refusal::from), ErrorReason::Banned);
    assert_eq!(operator.newest().await, before, "nothing of it is a row of its own");

    // Everyone else goes on, bob's session from here too.
    bob.send(&general, "hello").await.unwrap();
    here.message("hello").await;
    server.login("bob").await;
    let third = log_in_from(&server, "127.0.0.3".parse().unwrap(), "bob", PASSWORD).await;
    third.unwrap();
    refused(
        away.over(server.channel().await).sessions().await,
        ErrorReason::SessionEnded,
    );

    // What was refused was counted.
    server.restart().await;
    let operator = server.operator().await;
    let entries = operator.connections_after(before, "").await;
    let counted: i64 = entries
        .iter()
        .filter_map(|entry| match content_of(entry) {
            Content::RefusalsCounted(counted) if counted.cause == "BANNED" => Some(counted.count),
            Content::LoginRefused(refused) => panic!("{refused:?}"),
            _ => None,
        })
        .sum();
    assert_eq!(counted, 11, "{entries:#?}");
    refused(
        log_in_from(&server, elsewhere(), "bob", PASSWORD).await,
        ErrorReason::Banned,
    );
    lift(&operator, by_network("127.0.0.2")).await.unwrap();
    log_in_from(&server, elsewhere(), "bob", PASSWORD).await.unwrap();
}

#[tokio::test]
async fn a_ban_that_has_ended_lets_in_again() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    server.user("alice").await;
    server.user("bob").await;
    let short = |request: admin::CreateBanRequest| admin::CreateBanRequest {
        duration: Some(seconds(1)),
        ..request
    };
    let bans = [
        operator.act(short(ban_of("bob")), "cool down").await.unwrap(),
        operator.act(short(ban_of_network("127.0.0.2")), "cool down").await.unwrap(),
    ];
    for ban in bans {
        let ban = ban.ban.unwrap();
        let span = ban.expires_at.unwrap().seconds - ban.created_at.unwrap().seconds;
        assert_eq!(span, 1);
    }
    eventually("the end of the account's ban", || async {
        match User::log_in(server.channel().await, "bob", PASSWORD).await {
            Ok(user) => Some(user),
            Err(refusal) => {
                assert_eq!(refusal.reason, ErrorReason::Banned);
                assert!(refusal.metadata["until"].starts_with("20"), "{refusal:?}");
                None
            }
        }
    })
    .await;
    eventually("the end of the network's ban", || async {
        let login = log_in_from(&server, elsewhere(), "alice", PASSWORD).await;
        login
            .inspect_err(|refusal| assert_eq!(refusal.reason, ErrorReason::Banned))
            .ok()
    })
    .await;
    assert!(operator.bans().await.is_empty());
    assert_eq!(operator.status().await.bans, 0);
    assert_eq!(operator.user("bob").await.unwrap().ban_index, 0);
    let lifted = lift(&operator, admin::lift_ban_request::Target::User("bob".into())).await;
    refused(lifted, ErrorReason::BanNotFound);
}

#[tokio::test]
async fn networks_are_banned_in_every_form_they_are_written_in() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    server.user("alice").await;
    for (written, network) in [
        ("127.0.0.2", "127.0.0.2/32"),
        ("127.0.0.3/31", "127.0.0.2/31"),
        ("127.0.0.2/255.255.255.255", ""),
        ("::ffff:127.0.0.2", "127.0.0.2/32"),
        ("::ffff:127.0.0.2/127", "127.0.0.2/31"),
        ("::ffff:7f00:2", "127.0.0.2/32"),
    ] {
        let banned = operator.ban_network(written, "a test").await;
        if network.is_empty() {
            refused(banned, ErrorReason::InvalidField);
            continue;
        }
        assert_eq!(banned.unwrap().ban.unwrap().network, network, "{written}");
        let login = log_in_from(&server, elsewhere(), "alice", PASSWORD).await;
        refused(login, ErrorReason::Banned);
        server.login("alice").await;
        lift(&operator, by_network(written)).await.unwrap();
        log_in_from(&server, elsewhere(), "alice", PASSWORD).await.unwrap();
    }
    for (written, network) in [
        ("2001:db8::1", "2001:db8::1/128"),
        ("2001:db8:0:0::7/64", "2001:db8::/64"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("::1", "::1/128"),
    ] {
        let banned = operator.ban_network(written, "a test").await.unwrap();
        assert_eq!(banned.ban.unwrap().network, network, "{written}");
    }
    assert_eq!(operator.bans().await.len(), 4);
    server.login("alice").await;
}

#[tokio::test]
async fn networks_within_each_other_are_banned_and_lifted_one_by_one() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    server.user("alice").await;
    for network in ["127.0.0.2/32", "127.0.0.0/30", "0.0.0.0/0"] {
        operator.ban_network(network, &format!("all of {network}")).await.unwrap();
    }
    // Everyone is out, but who has the socket.
    refused(
        User::log_in(server.channel().await, "alice", PASSWORD).await,
        ErrorReason::Banned,
    );
    lift(&operator, by_network("0.0.0.0/0")).await.unwrap();
    refused(
        User::log_in(server.channel().await, "alice", PASSWORD).await,
        ErrorReason::Banned,
    );
    lift(&operator, by_network("127.0.0.0/30")).await.unwrap();
    server.login("alice").await;
    refused(
        log_in_from(&server, elsewhere(), "alice", PASSWORD).await,
        ErrorReason::Banned,
    );
    lift(&operator, by_network("127.0.0.2/32")).await.unwrap();
    log_in_from(&server, elsewhere(), "alice", PASSWORD).await.unwrap();
}

#[tokio::test]
async fn a_stream_from_a_banned_network_is_cut_also_if_its_session_is_used_elsewhere() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    let bob = server.user("bob").await;
    let away = bob.over(server.channel_from(elsewhere()).await);
    let stream = away.live().await;
    let used_from = async |user: &User, address: &str| {
        eventually("the note of the last use", || async {
            user.sessions().await.unwrap();
            let sessions = operator.sessions("bob").await.unwrap();
            (sessions[0].address == address).then_some(())
        })
        .await;
    };
    used_from(&away, "127.0.0.2").await;
    // The session was last used from here again, and has a stream from here.
    let mut here = bob.live().await;
    used_from(&bob, "127.0.0.1").await;
    let answer = operator.ban_network("127.0.0.2", "bad network").await.unwrap();
    assert_eq!((answer.sessions_ended, answer.streams_closed), (0, 1));
    is_cut(stream, "bad network").await;
    let general = server.general().await;
    bob.send(&general, "still here").await.unwrap();
    here.message("still here").await;
}

#[tokio::test]
async fn operators_from_a_banned_network_are_out_and_none_bans_their_own() {
    let arguments = ["--tls-self-signed", "--admin-listen", "127.0.0.1:0"];
    let server = Server::start_with(Options {
        arguments: arguments.map(str::to_owned).to_vec(),
        ..Options::default()
    })
    .await;
    let local = server.operator().await;
    server.user("boss").await;
    local.set_roles("boss", &[v1::ServerRole::Operator]).await.unwrap();
    let channel = server.admin_channel_from(Some(elsewhere())).await;
    let away = Operator::log_in(channel, "boss", PASSWORD).await.unwrap();
    for network in ["127.0.0.2", "127.0.0.0/8", "::ffff:127.0.0.2", "0.0.0.0/0"] {
        let refusal = refused(away.ban_network(network, "oops").await, ErrorReason::InvalidField);
        assert_eq!(refusal.fields, ["network"], "{network}");
    }
    assert!(local.bans().await.is_empty());
    away.ban_network("127.0.0.3", "not mine").await.unwrap();
    local.ban_network("127.0.0.2", "a stolen machine").await.unwrap();
    refused(away.call(admin::GetStatusRequest {}).await, ErrorReason::Banned);
    let channel = server.admin_channel_from(Some(elsewhere())).await;
    refused(Operator::log_in(channel, "boss", PASSWORD).await, ErrorReason::Banned);
    let here = Operator::log_in(server.admin_channel().await, "boss", PASSWORD).await;
    here.unwrap().status().await;
}

#[tokio::test]
async fn one_ban_asked_for_many_times_at_once_is_one_ban() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    server.user("bob").await;
    let id = request_id();
    let request = admin::CreateBanRequest {
        request_id: id,
        reason: "once".into(),
        ..ban_of("bob")
    };
    let calls = (0..8).map(|_| operator.call(request.clone()));
    let answers = futures_util::future::join_all(calls).await;
    let mut indices: Vec<i64> = answers.into_iter().map(|it| it.unwrap().receipt.unwrap().index).collect();
    indices.dedup();
    assert_eq!(indices.len(), 1);
    assert_eq!(operator.bans().await.len(), 1);
}
