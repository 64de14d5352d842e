//! Accounts, logins and sessions.

use std::time::{Duration, Instant};

use tonic::Code;

use crate::support::{ErrorReason, Options, PASSWORD, Server, User, refused, request_id, v1};

/// What an account is asked for with, from a few fields.
fn registration(name: &str, password: &str) -> v1::RegisterRequest {
    v1::RegisterRequest {
        user_name: name.to_owned(),
        password: password.to_owned(),
        client: "tests/1".to_owned(),
        ..v1::RegisterRequest::default()
    }
}

#[tokio::test]
async fn registering_makes_an_account_and_logs_in() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let me = alice.user_with_id("me").await.unwrap();
    assert_eq!((me.id.as_str(), me.name.as_str()), (alice.id.as_str(), "alice"));
    assert!(me.created_at.is_some());
    let sessions = alice.sessions().await.unwrap();
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].id, alice.session_id);
    assert!(sessions[0].current);
    assert_eq!(sessions[0].address, "127.0.0.1");
}

#[tokio::test]
async fn user_names_are_given_once_and_have_a_form() {
    let server = Server::start(&[]).await;
    server.user("alice").await;
    let register = async |name: &str| User::register(server.channel().await, name, PASSWORD).await;
    refused(register("alice").await, ErrorReason::UserNameTaken);
    let long = "a".repeat(33);
    for name in [
        "",
        "a",
        "Alice",
        "-al",
        ".al",
        "_al",
        "al ice",
        "älice",
        "al\0ice",
        "al\u{202e}ice",
        "me\n",
        &long,
    ] {
        let refusal = refused(register(name).await, ErrorReason::InvalidField);
        assert_eq!(refusal.metadata["field"], "user_name", "{name:?}");
        assert_eq!(refusal.fields, ["user_name"], "{name:?}");
    }
    for name in ["al", "0.a_b-c", &"a".repeat(32)] {
        register(name).await.unwrap();
    }
}

#[tokio::test]
async fn passwords_are_counted_in_characters_and_the_most_common_are_refused() {
    let server = Server::start(&[]).await;
    let register = async |name: &str, password: &str| User::register(server.channel().await, name, password).await;
    for password in ["", "seven77", "password", "PASSWORD", "12345678", &"é".repeat(129)] {
        let refusal = refused(register("bob", password).await, ErrorReason::UnsuitablePassword);
        assert_eq!(
            (refusal.metadata["min"].as_str(), refusal.metadata["max"].as_str()),
            ("8", "128")
        );
    }
    for (name, password) in [("bob", "éèêëüöäß"), ("carol", &"é".repeat(128))] {
        register(name, password).await.unwrap();
        User::log_in(server.channel().await, name, password).await.unwrap();
    }
}

#[tokio::test]
async fn an_unknown_user_and_a_wrong_password_get_the_same_answer_at_the_same_cost() {
    let server = Server::start(&[]).await;
    server.user("alice").await;
    let channel = server.channel().await;
    let mut times = [Duration::MAX; 2];
    let mut texts = Vec::new();
    for _ in 0..5 {
        for (slot, name) in ["alice", "nobody"].into_iter().enumerate() {
            let start = Instant::now();
            let answer = User::log_in(channel.clone(), name, "not the password").await;
            times[slot] = times[slot].min(start.elapsed());
            let refusal = refused(answer, ErrorReason::WrongCredentials);
            texts.push((refusal.message, refusal.metadata));
        }
    }
    assert!(texts.windows(2).all(|pair| pair[0] == pair[1]), "{texts:?}");
    let (known, unknown) = (times[0], times[1]);
    assert!(
        unknown * 3 > known && known * 3 > unknown,
        "known {known:?}, unknown {unknown:?}"
    );
    // Names that no account can have, and passwords that no account can have, are no exceptions.
    for (name, password) in [
        ("No Such\0Name", "not the password"),
        ("alice", ""),
        ("", ""),
        ("alice", &"x".repeat(5000)),
    ] {
        let answer = User::log_in(channel.clone(), name, password).await;
        assert_eq!(refused(answer, ErrorReason::WrongCredentials).message, texts[0].0);
    }
}

#[tokio::test]
async fn calls_without_a_token_or_with_a_wrong_one_are_refused() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    for token in ["", "nonsense", &"x".repeat(3000), &alice.token[1..]] {
        let answer = alice.with_token(token).user_with_id("me").await;
        let refusal = answer.unwrap_err();
        assert_eq!(refusal.code, Code::Unauthenticated, "{token:?}: {refusal:?}");
    }
    let mut client = v1::user_service_client::UserServiceClient::new(server.channel().await);
    for header in [None, Some("Bearer"), Some("Basic YTpi"), Some("bearer")] {
        let mut request = tonic::Request::new(v1::ListUsersRequest::default());
        if let Some(header) = header {
            request.metadata_mut().insert("authorization", header.parse().unwrap());
        }
        let answer = client.list_users(request).await.map(drop).map_err(Into::into);
        refused(answer, ErrorReason::NotLoggedIn);
    }
}

#[tokio::test]
async fn logging_out_ends_the_session_and_is_safe_to_repeat() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let other = server.login("alice").await;
    alice.log_out().await.unwrap();
    refused(alice.log_out().await, ErrorReason::SessionEnded);
    refused(alice.user_with_id("me").await, ErrorReason::SessionEnded);
    let left = other.sessions().await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].id, other.session_id);
    assert_eq!(left[0].client, "tests/1");
}

#[tokio::test]
async fn sessions_are_listed_newest_first_page_by_page() {
    let server = Server::start(&[]).await;
    let mut logins = vec![server.user("alice").await];
    for _ in 0..4 {
        logins.push(server.login("alice").await);
    }
    let newest_first: Vec<&str> = logins.iter().rev().map(|login| login.session_id.as_str()).collect();
    let mut listed = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListSessionsRequest {
            page_size: 2,
            page_token,
        };
        let page = logins[0].session_page(request).await.unwrap();
        assert!(page.sessions.len() <= 2);
        listed.extend(page.sessions.into_iter().map(|session| session.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, newest_first);
}

#[tokio::test]
async fn a_session_is_revoked_by_its_own_user_only() {
    let server = Server::start(&[]).await;
    let (alice, mallory) = (server.user("alice").await, server.user("mallory").await);
    let phone = server.login("alice").await;
    refused(mallory.revoke(&phone.session_id).await, ErrorReason::SessionNotFound);
    refused(mallory.revoke("no such session").await, ErrorReason::SessionNotFound);
    refused(mallory.revoke("").await, ErrorReason::SessionNotFound);
    phone.user_with_id("me").await.unwrap();

    let id = request_id();
    let receipt = alice.revoke_as(&id, &phone.session_id).await.unwrap();
    assert_eq!(receipt.seq, 0, "sessions have no room");
    refused(phone.user_with_id("me").await, ErrorReason::SessionEnded);
    assert_eq!(
        alice.revoke_as(&id, &phone.session_id).await.unwrap(),
        receipt,
        "repeated"
    );
    refused(alice.revoke(&phone.session_id).await, ErrorReason::SessionNotFound);
    refused(
        alice.revoke_as(&id, &alice.session_id).await,
        ErrorReason::RequestIdReused,
    );
    refused(
        alice.revoke_as("no uuid", &alice.session_id).await,
        ErrorReason::InvalidRequestId,
    );
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions_and_the_old_password() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let (phone, tablet) = (server.login("alice").await, server.login("alice").await);
    let new = "another owl in the attic";
    refused(
        alice.change_password("wrong owl here", new).await,
        ErrorReason::WrongCredentials,
    );
    refused(
        alice.change_password(PASSWORD, "short").await,
        ErrorReason::UnsuitablePassword,
    );
    phone.user_with_id("me").await.unwrap();

    assert_eq!(alice.change_password(PASSWORD, new).await.unwrap(), 2);
    alice.user_with_id("me").await.unwrap();
    refused(phone.user_with_id("me").await, ErrorReason::SessionEnded);
    refused(tablet.user_with_id("me").await, ErrorReason::SessionEnded);
    let channel = server.channel().await;
    refused(
        User::log_in(channel.clone(), "alice", PASSWORD).await,
        ErrorReason::WrongCredentials,
    );
    User::log_in(channel, "alice", new).await.unwrap();
}

#[tokio::test]
async fn sessions_and_passwords_outlive_a_restart_and_ended_sessions_stay_ended() {
    let mut server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let gone = server.login("alice").await;
    gone.log_out().await.unwrap();
    server.restart().await;
    let (alice, gone) = (alice.over(server.channel().await), gone.over(server.channel().await));
    assert_eq!(alice.user_with_id("me").await.unwrap().id, alice.id);
    refused(gone.user_with_id("me").await, ErrorReason::SessionEnded);
    server.login("alice").await;
}

#[tokio::test]
async fn what_was_refused_before_it_cost_anything_is_counted_in_the_journal_at_the_latest_when_the_server_stops() {
    let mut server = Server::start_with(Options {
        arguments: vec!["--registration".into(), "closed".into()],
        ..Options::default()
    })
    .await;
    for _ in 0..3 {
        let answer = User::register(server.channel().await, "alice", PASSWORD).await;
        refused(answer, ErrorReason::RegistrationClosed);
    }
    assert!(server.terminate().await.success());
    let counted = crate::journal::heads(&server)
        .into_iter()
        .filter(|head| head.kind() == v1::EventKind::RefusalsCounted)
        .count();
    assert_eq!(counted, 1, "one row for the three of them");
}

#[tokio::test]
async fn a_closed_server_takes_no_registrations() {
    let server = Server::start_with(Options {
        arguments: vec!["--registration".into(), "closed".into()],
        ..Options::default()
    })
    .await;
    assert_eq!(
        server.info().await.registration_policy(),
        v1::RegistrationPolicy::Closed
    );
    let answer = User::register(server.channel().await, "alice", PASSWORD).await;
    refused(answer, ErrorReason::RegistrationClosed);
}

#[tokio::test]
async fn a_server_by_invitation_wants_a_code_from_its_file() {
    let mut server = Server::stopped(Options::default());
    let codes = server.beside("codes");
    std::fs::write(&codes, "open-sesame\nanother-code\n").unwrap();
    std::fs::set_permissions(&codes, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    server.options_mut().arguments = vec![
        "--registration".into(),
        "invite".into(),
        "--invitation-file".into(),
        codes.to_str().unwrap().into(),
    ];
    server.spawn().await.unwrap();
    assert_eq!(
        server.info().await.registration_policy(),
        v1::RegistrationPolicy::Invite
    );
    for invitation in ["", "open-sesam", "open-sesame ", "OPEN-SESAME"] {
        let request = v1::RegisterRequest {
            invitation: invitation.to_owned(),
            ..registration("alice", PASSWORD)
        };
        let answer = User::register_as(server.channel().await, request).await;
        refused(answer, ErrorReason::InvalidInvitation);
    }
    let request = v1::RegisterRequest {
        invitation: "open-sesame".to_owned(),
        ..registration("alice", PASSWORD)
    };
    User::register_as(server.channel().await, request).await.unwrap();
}

#[tokio::test]
async fn profiles_change_in_the_named_fields_only() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    assert_eq!(alice.show_as("Alice Über").await.unwrap().display_name, "Alice Über");
    assert_eq!(bob.user_named("alice").await.unwrap().display_name, "Alice Über");
    for bad in ["a\u{202e}b", "a\0b", "a\nb", "\u{1b}[31mred", &"x".repeat(65)] {
        let refusal = refused(alice.show_as(bad).await, ErrorReason::InvalidField);
        assert!(refusal.metadata["field"].contains("display_name"), "{refusal:?}");
    }
    for paths in [vec!["name"], vec!["display_name", "id"], vec!["nonsense"], vec![]] {
        let request = v1::UpdateProfileRequest {
            request_id: request_id(),
            user: Some(v1::User {
                name: "mallory".into(),
                ..v1::User::default()
            }),
            update_mask: Some(prost_types::FieldMask {
                paths: paths.iter().map(ToString::to_string).collect(),
            }),
        };
        refused(alice.update_profile(request).await, ErrorReason::InvalidField);
    }
    let me = alice.user_with_id("me").await.unwrap();
    assert_eq!((me.name.as_str(), me.display_name.as_str()), ("alice", "Alice Über"));
    alice.show_as("").await.unwrap();
}

#[tokio::test]
async fn users_are_found_by_name_and_prefix_and_whether_they_are_online() {
    let server = Server::start(&[]).await;
    let users = server.users("member", 5).await;
    let alice = server.user("alice").await;
    let list = async |request: v1::ListUsersRequest| {
        let page = alice.list_users(request).await.unwrap();
        let names: Vec<String> = page.users.into_iter().map(|user| user.name).collect();
        (names, page.next_page_token)
    };
    let prefixed = v1::ListUsersRequest {
        page_size: 3,
        name_prefix: "member".into(),
        ..v1::ListUsersRequest::default()
    };
    let (first, token) = list(prefixed.clone()).await;
    assert_eq!(first, ["member0", "member1", "member2"]);
    let next = v1::ListUsersRequest {
        page_token: token.clone(),
        ..prefixed.clone()
    };
    assert_eq!(
        list(next).await,
        (vec!["member3".into(), "member4".into()], String::new())
    );
    // A token belongs to its filters and its caller.
    let other_filter = v1::ListUsersRequest {
        page_token: token.clone(),
        name_prefix: "mem".into(),
        ..v1::ListUsersRequest::default()
    };
    refused(alice.list_users(other_filter).await, ErrorReason::InvalidPageToken);
    let same = v1::ListUsersRequest {
        page_token: token,
        ..prefixed
    };
    refused(users[0].list_users(same).await, ErrorReason::InvalidPageToken);

    let online = || v1::ListUsersRequest {
        online_only: true,
        ..v1::ListUsersRequest::default()
    };
    assert_eq!(list(online()).await.0, Vec::<String>::new());
    let stream = users[2].live().await;
    assert_eq!(list(online()).await.0, ["member2"]);
    assert!(alice.user_named("member2").await.unwrap().online);
    drop(stream);
    crate::support::eventually("being offline", || async {
        list(online()).await.0.is_empty().then_some(())
    })
    .await;
    refused(alice.user_named("nobody").await, ErrorReason::UserNotFound);
    refused(alice.user_with_id("nobody").await, ErrorReason::UserNotFound);
}

#[tokio::test]
async fn failed_logins_are_slowed_down_by_account_and_by_address() {
    let server = Server::start(&[("failed_logins_per_account", 3), ("failed_logins_per_address", 8)]).await;
    server.user("alice").await;
    server.user("bob").await;
    let attempt = async |name: &str| User::log_in(server.channel().await, name, "not the password").await;
    for _ in 0..3 {
        refused(attempt("alice").await, ErrorReason::WrongCredentials);
    }
    let refusal = refused(attempt("alice").await, ErrorReason::TooManyLogins);
    assert!(refusal.metadata["retry_after_ms"].parse::<u64>().unwrap() > 0);
    // The right password has to wait as well, and names that do not exist are counted in the same way.
    refused(
        User::log_in(server.channel().await, "alice", PASSWORD).await,
        ErrorReason::TooManyLogins,
    );
    for _ in 0..3 {
        refused(attempt("nobody").await, ErrorReason::WrongCredentials);
    }
    refused(attempt("nobody").await, ErrorReason::TooManyLogins);
    server.login("bob").await;
    for _ in 0..2 {
        refused(attempt("bob").await, ErrorReason::WrongCredentials);
    }
    refused(attempt("carol").await, ErrorReason::TooManyLogins);
}

#[tokio::test]
async fn more_logins_at_once_than_can_be_hashed_are_answered_and_the_server_stays_awake() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let room = alice.public_room("tea").await;
    let channel = server.channel().await;
    let mut attempts = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let channel = channel.clone();
        attempts.spawn(async move { User::log_in(channel, "alice", "not the password").await });
    }
    for number in 0..20 {
        alice.send(&room, &format!("still here {number}")).await.unwrap();
    }
    while let Some(answer) = attempts.join_next().await {
        let refusal = answer.unwrap().unwrap_err();
        assert!(
            matches!(refusal.reason, ErrorReason::WrongCredentials | ErrorReason::ServerBusy),
            "{refusal:?}"
        );
    }
}

#[tokio::test]
async fn the_use_of_a_session_from_another_address_is_a_row_of_the_journal() {
    let mut server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    alice.user_with_id("me").await.unwrap();
    let elsewhere = alice.over(server.channel_from([127, 0, 0, 2].into()).await);
    crate::support::eventually("the other address", || async {
        (elsewhere.sessions().await.unwrap()[0].address == "127.0.0.2").then_some(())
    })
    .await;
    assert!(server.terminate().await.success());
    let heads = crate::journal::heads(&server);
    let seen = heads.iter().filter(|head| head.kind() == v1::EventKind::SessionSeen);
    let seen: Vec<(&str, &str, i64)> = seen
        .map(|head| (head.subject_id.as_str(), head.actor_id.as_str(), head.seq))
        .collect();
    assert_eq!(
        seen,
        [(alice.session_id.as_str(), alice.id.as_str(), 0)],
        "once, and outside rooms"
    );
}
