//! What operators can do over the local socket: each act works, is safe to repeat, says what is missing, and is on record, whatever came of it.

use std::os::unix::fs::MetadataExt as _;

use v1::ServerRole;
use v1::event_body::Content;

use crate::support::operator::{Act, Recorded, ban_of, ban_of_network, content_of, index_of, seconds};
use crate::support::stream::{head, text_of};
use crate::support::{
    ErrorReason, Kind, Operator, Options, PASSWORD, Refusal, Server, User, admin, refused, request_id, v1,
};

/// Why the tests act.
const REASON: &str = "because the test says so";

/// The name and number of the operating system's user who runs the test.
fn own_user() -> (String, u32) {
    let output = std::process::Command::new("id").arg("-un").output().expect("id can be run");
    let name = String::from_utf8(output.stdout).expect("a name is text").trim().to_owned();
    let uid = std::fs::metadata("/proc/self").expect("there is a process").uid();
    (name, uid)
}

/// Checks what is on record of an act over the socket.
#[track_caller]
fn is_recorded<A: Act>(recorded: &Recorded, reason: &str, refused: ErrorReason) {
    let act = &recorded.act;
    assert_eq!(act.method, A::recorded_as());
    assert_eq!(act.reason, reason, "{recorded:?}");
    assert_eq!(act.refused(), refused, "{recorded:?}");
    assert_eq!(
        act.refusal.is_empty(),
        refused == ErrorReason::Unspecified,
        "{recorded:?}"
    );
    let operator = act.operator.as_ref().expect("an act has somebody who did it");
    assert_eq!((operator.os_user.clone(), operator.os_uid), own_user());
    assert_eq!((operator.user_name.as_str(), operator.peer.as_ref()), ("", None));
}

/// Shows of one act: it needs a reason and a request id, is done once however often it is asked for, another one under the same id is refused,
/// and each of these stands in the record once, but for the repeats. Gives the first answer and that to the repeat.
async fn prove<A: Act>(operator: &Operator, request: A, other: A) -> (A::Answer, A::Answer) {
    let before = operator.newest().await;
    let path = A::PATH;
    for missing in ["", "two\nlines"] {
        let refusal = refused(operator.call(request.anew(missing)).await, ErrorReason::InvalidField);
        assert_eq!(refusal.fields, ["reason"], "{path}");
    }
    let mut nameless = request.anew(REASON);
    nameless.intention().0.clear();
    refused(operator.call(nameless).await, ErrorReason::InvalidRequestId);

    let request = request.anew(REASON);
    let first = operator
        .call(request.clone())
        .await
        .unwrap_or_else(|refusal| panic!("{path}: {refusal:?}"));
    let rows = operator.newest().await;
    let repeat = operator
        .call(request.clone())
        .await
        .unwrap_or_else(|refusal| panic!("repeating {path}: {refusal:?}"));
    assert_eq!(A::receipt(&repeat), A::receipt(&first), "{path}");
    assert_eq!(operator.newest().await, rows, "repeating {path} leaves no row");
    let mut other = other.anew(REASON);
    let mut same = request.clone();
    other.intention().0.clone_from(same.intention().0);
    refused(operator.call(other).await, ErrorReason::RequestIdReused);

    let recorded = operator.acts_after(before).await;
    assert_eq!(recorded.len(), 5, "{path}: {recorded:#?}");
    is_recorded::<A>(&recorded[0], "", ErrorReason::InvalidField);
    is_recorded::<A>(&recorded[1], "", ErrorReason::InvalidField);
    is_recorded::<A>(&recorded[2], REASON, ErrorReason::InvalidRequestId);
    is_recorded::<A>(&recorded[3], REASON, ErrorReason::Unspecified);
    is_recorded::<A>(&recorded[4], REASON, ErrorReason::RequestIdReused);
    assert_eq!(A::receipt(&first).index, recorded[3].index, "{path}");
    (first, repeat)
}

/// Shows of what reads content: it needs a reason and a request id, and each time stands in the record, also if it is the same request once more.
/// Gives the first answer and the one to the repeat.
async fn prove_read<A: Act>(operator: &Operator, request: A) -> (A::Answer, A::Answer) {
    let before = operator.newest().await;
    refused(operator.call(request.anew("")).await, ErrorReason::InvalidField);
    let mut nameless = request.anew(REASON);
    nameless.intention().0.clear();
    refused(operator.call(nameless).await, ErrorReason::InvalidRequestId);
    let request = request.anew(REASON);
    let first = operator.call(request.clone()).await.expect("an operator may read");
    let repeat = operator.call(request).await.expect("an operator may read");
    let recorded = operator.acts_after(before).await;
    assert_eq!(recorded.len(), 4, "{}: {recorded:#?}", A::PATH);
    is_recorded::<A>(&recorded[0], "", ErrorReason::InvalidField);
    is_recorded::<A>(&recorded[1], REASON, ErrorReason::InvalidRequestId);
    is_recorded::<A>(&recorded[2], REASON, ErrorReason::Unspecified);
    is_recorded::<A>(&recorded[3], REASON, ErrorReason::Unspecified);
    assert_eq!(A::receipt(&first).index, recorded[2].index, "{}", A::PATH);
    assert_eq!(A::receipt(&repeat).index, recorded[3].index, "{}", A::PATH);
    (first, repeat)
}

/// Shows of one act that it is refused, and that it stands in the record once.
async fn prove_refused<A: Act>(operator: &Operator, request: A, reason: ErrorReason) -> Refusal {
    let before = operator.newest().await;
    let refusal = refused(operator.act(request, REASON).await, reason);
    let recorded = operator.acts_after(before).await;
    assert_eq!(recorded.len(), 1, "{}: {recorded:#?}", A::PATH);
    is_recorded::<A>(&recorded[0], REASON, reason);
    assert_eq!(recorded[0].act.refusal, refusal.message, "{}", A::PATH);
    assert_eq!(operator.newest().await, recorded[0].index, "{} leaves one row", A::PATH);
    refusal
}

fn kick(user: &str) -> admin::KickUserRequest {
    admin::KickUserRequest {
        user: user.into(),
        ..Default::default()
    }
}

fn kick_session(session: &str) -> admin::KickSessionRequest {
    admin::KickSessionRequest {
        session_id: session.into(),
        ..Default::default()
    }
}

fn disable(user: &str) -> admin::DisableUserRequest {
    admin::DisableUserRequest {
        user: user.into(),
        ..Default::default()
    }
}

fn enable(user: &str) -> admin::EnableUserRequest {
    admin::EnableUserRequest {
        user: user.into(),
        ..Default::default()
    }
}

fn reset(user: &str) -> admin::ResetUserPasswordRequest {
    admin::ResetUserPasswordRequest {
        user: user.into(),
        ..Default::default()
    }
}

fn roles(user: &str, roles: &[ServerRole]) -> admin::SetUserRolesRequest {
    admin::SetUserRolesRequest {
        user: user.into(),
        roles: roles.iter().map(|role| (*role).into()).collect(),
        ..Default::default()
    }
}

fn create(user_name: &str) -> admin::CreateUserRequest {
    admin::CreateUserRequest {
        user_name: user_name.into(),
        ..Default::default()
    }
}

fn message(user: &str, text: &str) -> admin::MessageUserRequest {
    admin::MessageUserRequest {
        user: user.into(),
        text: text.into(),
        ..Default::default()
    }
}

fn read_messages(user: &str) -> admin::ListUserMessagesRequest {
    admin::ListUserMessagesRequest {
        user: user.into(),
        ..Default::default()
    }
}

fn invitation(note: &str) -> admin::CreateInvitationRequest {
    admin::CreateInvitationRequest {
        note: note.into(),
        ..Default::default()
    }
}

fn revoke(invitation_index: i64) -> admin::RevokeInvitationRequest {
    admin::RevokeInvitationRequest {
        invitation_index,
        ..Default::default()
    }
}

fn lift(target: admin::lift_ban_request::Target) -> admin::LiftBanRequest {
    admin::LiftBanRequest {
        target: Some(target),
        ..Default::default()
    }
}

fn archive(room: &str) -> admin::ArchiveRoomRequest {
    admin::ArchiveRoomRequest {
        room: room.into(),
        ..Default::default()
    }
}

fn read_report(report_index: i64) -> admin::ReadReportRequest {
    admin::ReadReportRequest {
        report_index,
        ..Default::default()
    }
}

fn resolve(report_index: i64, resolution: &str) -> admin::ResolveReportRequest {
    admin::ResolveReportRequest {
        report_index,
        resolution: resolution.into(),
        ..Default::default()
    }
}

fn alert(text: &str) -> admin::SendAlertRequest {
    admin::SendAlertRequest {
        text: text.into(),
        ..Default::default()
    }
}

fn notice(text: &str) -> admin::SetNoticeRequest {
    admin::SetNoticeRequest {
        text: text.into(),
        ..Default::default()
    }
}

fn draining(draining: bool) -> admin::SetDrainingRequest {
    admin::SetDrainingRequest {
        draining,
        ..Default::default()
    }
}

fn stop_after(after: i64) -> admin::StopServerRequest {
    admin::StopServerRequest {
        after: Some(seconds(after)),
        ..Default::default()
    }
}

#[tokio::test]
async fn every_act_on_the_server_is_safe_to_repeat_and_on_record() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    let (first, _) = prove(&operator, alert("tea at five"), alert("tea at six")).await;
    assert_eq!(first.streams, 0);
    prove(&operator, notice("be kind"), notice("be kinder")).await;
    prove(&operator, draining(true), draining(false)).await;
    operator.act(draining(false), REASON).await.unwrap();
    prove(&operator, stop_after(3600), stop_after(7200)).await;
    let cancel = admin::CancelStopRequest::default();
    // There is nothing in it but the reason: another one is another intention.
    let before = operator.newest().await;
    let request = cancel.anew(REASON);
    let first = operator.call(request.clone()).await.unwrap();
    assert_eq!(operator.call(request.clone()).await.unwrap(), first);
    let mut other = request;
    "another reason".clone_into(&mut other.reason);
    refused(operator.call(other).await, ErrorReason::RequestIdReused);
    assert_eq!(operator.acts_after(before).await.len(), 2);
    assert!(operator.status().await.stop_at.is_none());
}

#[tokio::test]
async fn a_backup_is_safe_to_repeat_and_on_record() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    let backup = |name| admin::CreateBackupRequest {
        path: server.beside(name).display().to_string(),
        ..admin::CreateBackupRequest::default()
    };
    prove(&operator, backup("one"), backup("other")).await;
    assert!(server.beside("one").is_dir() && !server.beside("other").exists());
}

#[tokio::test]
async fn every_act_on_accounts_is_safe_to_repeat_and_on_record() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    let alice = server.user("alice").await;
    let _bob = server.user("bob").await;

    let (first, repeat) = prove(&operator, create("carol"), create("dave")).await;
    assert!(!first.code.is_empty() && repeat.code.is_empty());
    assert_eq!(first.user, repeat.user);
    let (operators, nobody) = ([ServerRole::Operator], []);
    prove(&operator, roles("alice", &operators), roles("alice", &nobody)).await;
    let (first, repeat) = prove(&operator, reset("alice"), reset("bob")).await;
    assert!(!first.code.is_empty() && repeat.code.is_empty());
    assert_eq!((first.sessions_ended, repeat.sessions_ended), (1, 0));
    User::reset_password(server.channel().await, "alice", &first.code, PASSWORD)
        .await
        .expect("the repeat did not make another code");
    let (first, _) = prove(&operator, disable("bob"), disable("alice")).await;
    assert_eq!(first.sessions_ended, 1);
    prove(&operator, enable("bob"), enable("alice")).await;
    let (first, repeat) = prove(&operator, message("alice", "hello"), message("alice", "hallo")).await;
    assert_eq!(first.room_id, repeat.room_id);
    assert!(first.seq > 0);
    let (first, repeat) = prove_read(&operator, read_messages("alice")).await;
    assert_eq!(first.messages.len(), 1);
    assert_eq!(repeat.messages, first.messages);
    let (first, repeat) = prove(&operator, invitation("for Erin"), invitation("for Frank")).await;
    assert!(!first.code.is_empty() && repeat.code.is_empty());
    let index = first.invitation.expect("the answer has the invitation").index;
    prove(&operator, revoke(index), revoke(index + 1)).await;
    // Nobody lost what the repeats would have taken once more.
    assert_eq!(operator.user("alice").await.unwrap().id, alice.id);
}

#[tokio::test]
async fn every_act_on_sessions_bans_rooms_and_reports_is_safe_to_repeat_and_on_record() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    let alice = server.user("alice").await;
    let bob = server.user("bob").await;
    let general = server.general().await;

    let session = server.login("alice").await;
    let (first, _) = prove(
        &operator,
        kick_session(&session.session_id),
        kick_session(&bob.session_id),
    )
    .await;
    assert_eq!(first.streams_closed, 0);
    let seq = bob.send(&general, "cheap watches").await.unwrap().seq;
    let report = alice.report(&general, seq, "spam").await.unwrap().index;
    let (first, repeat) = prove_read(&operator, read_report(report)).await;
    assert_eq!(
        (first.text.as_str(), repeat.text),
        ("cheap watches", first.text.clone())
    );
    prove(&operator, resolve(report, "deleted"), resolve(report, "ignored")).await;
    let room = alice.public_room("tea").await;
    prove(&operator, archive(&room), archive(&general)).await;
    let (first, _) = prove(&operator, kick("alice"), kick("bob")).await;
    assert_eq!((first.sessions_ended, first.streams_closed), (1, 0));
    let (first, _) = prove(&operator, ban_of("bob"), ban_of("alice")).await;
    let ban = first.ban.expect("the answer has the ban");
    assert_eq!((ban.user_name.as_str(), first.sessions_ended), ("bob", 1));
    let of = |user: &str| lift(admin::lift_ban_request::Target::User(user.into()));
    prove(&operator, of("bob"), of("alice")).await;
    prove(
        &operator,
        ban_of_network("192.0.2.0/24"),
        ban_of_network("192.0.2.0/25"),
    )
    .await;
    assert_eq!(operator.bans().await.len(), 1);
}

#[tokio::test]
async fn an_act_on_what_is_missing_is_refused_and_on_record() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    let alice = server.user("alice").await;
    let general = server.general().await;
    let o = &operator;

    let missing = ErrorReason::UserNotFound;
    prove_refused(o, kick("nobody"), missing).await;
    prove_refused(o, disable("nobody"), missing).await;
    prove_refused(o, enable("nobody"), missing).await;
    prove_refused(o, reset("nobody"), missing).await;
    prove_refused(o, roles("nobody", &[ServerRole::Operator]), missing).await;
    prove_refused(o, message("nobody", "hello"), missing).await;
    prove_refused(o, read_messages("nobody"), missing).await;
    prove_refused(o, ban_of("nobody"), missing).await;
    let lift_user = |user: &str| lift(admin::lift_ban_request::Target::User(user.into()));
    prove_refused(o, lift_user("nobody"), missing).await;
    let uuid = request_id();
    prove_refused(o, kick(&uuid), missing).await;
    prove_refused(o, kick(""), missing).await;
    for text in [alice.id.as_str(), "", "nonsense"] {
        prove_refused(o, kick_session(text), ErrorReason::SessionNotFound).await;
    }
    prove_refused(o, lift_user("alice"), ErrorReason::BanNotFound).await;
    let lift_index = lift(admin::lift_ban_request::Target::BanIndex(3));
    prove_refused(o, lift_index, ErrorReason::BanNotFound).await;
    let lift_network = lift(admin::lift_ban_request::Target::Network("192.0.2.1".into()));
    prove_refused(o, lift_network, ErrorReason::BanNotFound).await;
    prove_refused(o, admin::LiftBanRequest::default(), ErrorReason::InvalidField).await;
    prove_refused(o, admin::CreateBanRequest::default(), ErrorReason::InvalidField).await;
    for network in ["", "alice", "192.0.2.0/33", "192.0.2.1:80", "2001:db8::/129"] {
        let refusal = prove_refused(o, ban_of_network(network), ErrorReason::InvalidField).await;
        assert_eq!(refusal.fields, ["network"], "{network}");
    }
    for duration in [0, -1, 11 * 366 * 24 * 3600, i64::MAX] {
        let request = admin::CreateBanRequest {
            duration: Some(seconds(duration)),
            ..ban_of("alice")
        };
        let refusal = prove_refused(o, request, ErrorReason::InvalidField).await;
        assert_eq!(refusal.fields, ["duration"], "{duration}");
    }
    prove_refused(o, read_report(7), ErrorReason::ReportNotFound).await;
    prove_refused(o, resolve(7, ""), ErrorReason::ReportNotFound).await;
    prove_refused(o, revoke(7), ErrorReason::InvitationNotFound).await;
    prove_refused(o, archive(&uuid), ErrorReason::RoomNotFound).await;
    prove_refused(o, archive("no such room"), ErrorReason::RoomNotFound).await;
    prove_refused(o, archive(&general), ErrorReason::NotInThisKindOfRoom).await;
    prove_refused(o, enable("alice"), ErrorReason::NothingToChange).await;
    prove_refused(o, roles("alice", &[]), ErrorReason::NothingToChange).await;
    prove_refused(o, admin::CancelStopRequest::default(), ErrorReason::NothingToChange).await;
    prove_refused(o, create("alice"), ErrorReason::UserNameTaken).await;
    prove_refused(o, create("Not A Name"), ErrorReason::InvalidField).await;
    prove_refused(o, create("operator"), ErrorReason::InvalidField).await;
    prove_refused(o, message("alice", ""), ErrorReason::InvalidField).await;
    prove_refused(o, message("alice", &"x".repeat(16385)), ErrorReason::TextTooLong).await;
    prove_refused(o, alert(""), ErrorReason::InvalidField).await;
    prove_refused(o, alert(&"x".repeat(4097)), ErrorReason::InvalidField).await;
    prove_refused(o, notice(&"x".repeat(4097)), ErrorReason::InvalidField).await;
    prove_refused(o, stop_after(-1), ErrorReason::InvalidField).await;
    prove_refused(o, stop_after(8 * 24 * 3600), ErrorReason::InvalidField).await;
    let days = admin::CreateInvitationRequest {
        days: 366,
        ..invitation("")
    };
    prove_refused(o, days, ErrorReason::InvalidField).await;
    let nobodys_role = admin::SetUserRolesRequest {
        roles: vec![77],
        ..roles("alice", &[])
    };
    prove_refused(o, nobodys_role, ErrorReason::InvalidField).await;
    // None of it was done.
    assert_eq!(operator.sessions("alice").await.unwrap().len(), 1);
    assert!(operator.bans().await.is_empty());
    let status = operator.status().await;
    assert!(status.stop_at.is_none() && !status.draining);
    alice.send(&general, "still here").await.unwrap();
}

#[tokio::test]
async fn what_only_looks_says_what_is_missing_and_refuses_pages_that_it_never_gave() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    refused(operator.user("nobody").await, ErrorReason::UserNotFound);
    refused(operator.sessions("nobody").await, ErrorReason::UserNotFound);
    let audit = admin::ListAuditRequest {
        user: "nobody".into(),
        ..Default::default()
    };
    refused(operator.call(audit).await, ErrorReason::UserNotFound);
    let both = admin::ListConnectionsRequest {
        range: Some(admin::LogRange {
            after_index: Some(1),
            before_index: Some(9),
            ..Default::default()
        }),
        ..Default::default()
    };
    refused(operator.call(both).await, ErrorReason::InvalidField);
    let page_token = "nonsense".to_owned();
    macro_rules! refuses_pages {
        ($($request:ident,)*) => {$(
            let request = admin::$request { page_token: page_token.clone(), ..Default::default() };
            refused(operator.call(request).await, ErrorReason::InvalidPageToken);
            let request = admin::$request { page_size: -1, ..Default::default() };
            refused(operator.call(request).await, ErrorReason::InvalidField);
        )*};
    }
    refuses_pages!(
        ListUsersRequest,
        ListInvitationsRequest,
        ListSessionsRequest,
        ListBansRequest,
        ListRoomsRequest,
        ListReportsRequest,
    );
}

#[tokio::test]
async fn whoever_opens_the_socket_has_both_roles_and_is_known_by_the_systems_name() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    let who = operator.call(admin::WhoAmIRequest {}).await.unwrap();
    let identity = who.operator.unwrap();
    assert_eq!((identity.os_user, identity.os_uid), own_user());
    assert_eq!(
        who.roles,
        [ServerRole::Operator as i32, ServerRole::Investigator as i32]
    );
    let login = Operator::log_in(unix(&server).await, "alice", PASSWORD).await;
    refused(login, ErrorReason::UnknownMethod);
    refused(operator.call(admin::LogOutRequest {}).await, ErrorReason::UnknownMethod);
}

async fn unix(server: &Server) -> tonic::transport::Channel {
    let endpoint = format!("unix://{}", server.admin_socket().display());
    let endpoint = tonic::transport::Endpoint::from_shared(endpoint).unwrap();
    endpoint.connect().await.unwrap()
}

#[tokio::test]
async fn an_account_that_an_operator_makes_gets_its_password_with_a_code_that_is_good_once() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    let code = operator.create_user("carol", &[ServerRole::Investigator]).await.unwrap();
    let account = operator.user("carol").await.unwrap();
    assert!(account.awaits_code && account.session_count == 0);
    assert_eq!(account.roles, [ServerRole::Investigator as i32]);

    let channel = server.channel().await;
    let login = User::log_in(channel.clone(), "carol", PASSWORD).await;
    refused(login, ErrorReason::WrongCredentials);
    for (name, wrong) in [("carol", "AAAA-BBBB-CCCC"), ("carol", ""), ("nobody", code.as_str())] {
        let set = User::reset_password(channel.clone(), name, wrong, PASSWORD).await;
        refused(set, ErrorReason::InvalidResetCode);
    }
    let weak = User::reset_password(channel.clone(), "carol", &code, "short").await;
    refused(weak, ErrorReason::UnsuitablePassword);
    // As somebody types it.
    let typed = format!(" {} ", code.replace('-', "").to_lowercase());
    let carol = match User::reset_password(channel.clone(), "carol", typed.trim(), PASSWORD).await {
        Ok(carol) => carol,
        Err(refusal) => panic!("case and dashes do not matter: {refusal:?}"),
    };
    assert_eq!(carol.id, account.id);
    carol.send(&server.general().await, "hello").await.unwrap();
    let again = User::reset_password(channel, "carol", &code, PASSWORD).await;
    refused(again, ErrorReason::InvalidResetCode);
    server.login("carol").await;
    assert!(!operator.user("carol").await.unwrap().awaits_code);
}

#[tokio::test]
async fn a_password_reset_voids_the_old_password_the_earlier_code_and_all_sessions() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    let alice = server.user("alice").await;
    let phone = server.login("alice").await;
    let mut stream = phone.live().await;
    let first = operator.reset_password("alice").await.unwrap();
    assert_eq!((first.sessions_ended, first.streams_closed), (2, 1));
    stream
        .ends_with(
            v1::EndReason::PasswordReset,
            tonic::Code::Unauthenticated,
            ErrorReason::SessionEnded,
        )
        .await;
    let ended = stream.seen.iter().rev().find_map(|kind| match kind {
        Kind::Ended(ended) => Some(ended.message.clone()),
        _ => None,
    });
    assert_eq!(ended.as_deref(), Some("the password is known to others"));
    for session in [&alice, &phone] {
        refused(session.sessions().await, ErrorReason::SessionEnded);
    }
    let login = User::log_in(server.channel().await, "alice", PASSWORD).await;
    refused(login, ErrorReason::WrongCredentials);
    let second = operator.reset_password("alice").await.unwrap();
    assert_eq!(second.sessions_ended, 0);
    let earlier = User::reset_password(server.channel().await, "alice", &first.code, PASSWORD).await;
    refused(earlier, ErrorReason::InvalidResetCode);
    let new = "another owl in the attic";
    User::reset_password(server.channel().await, "alice", &second.code, new)
        .await
        .unwrap();
    User::log_in(server.channel().await, "alice", new).await.unwrap();
    let login = User::log_in(server.channel().await, "alice", PASSWORD).await;
    refused(login, ErrorReason::WrongCredentials);
}

#[tokio::test]
async fn a_code_that_changing_the_password_overtook_is_void() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    server.user("alice").await;
    let code = operator.reset_password("alice").await.unwrap().code;
    // Guesses count like wrong passwords, and cost the account nothing but time: the code stays good.
    for guess in ["AAAA-AAAA-AAAA", "BBBB-BBBB-BBBB"] {
        let set = User::reset_password(server.channel().await, "alice", guess, PASSWORD).await;
        refused(set, ErrorReason::InvalidResetCode);
    }
    let alice = User::reset_password(server.channel().await, "alice", &code, PASSWORD)
        .await
        .unwrap();
    alice.change_password(PASSWORD, "another owl in the attic").await.unwrap();
    let set = User::reset_password(server.channel().await, "alice", &code, PASSWORD).await;
    refused(set, ErrorReason::InvalidResetCode);
}

#[tokio::test]
async fn codes_and_passwords_are_nowhere_in_the_data() {
    let mut server = Server::start(&[]).await;
    let operator = server.operator().await;
    let mut secrets = vec![operator.create_user("carol", &[]).await.unwrap()];
    secrets.push(operator.act(invitation("for Erin"), REASON).await.unwrap().code);
    let code = operator.reset_password("carol").await.unwrap().code;
    User::reset_password(server.channel().await, "carol", &code, "a most unusual secret")
        .await
        .unwrap();
    secrets.extend([code, operator.reset_password("carol").await.unwrap().code]);
    let bare: Vec<String> = secrets.iter().map(|secret| secret.replace('-', "")).collect();
    secrets.extend(bare);
    secrets.push("a most unusual secret".to_owned());
    assert!(server.terminate().await.success());
    let files = std::fs::read_dir(server.data_dir()).unwrap().map(|entry| entry.unwrap().path());
    for file in files.filter(|path| path.is_file()) {
        let content = std::fs::read(&file).unwrap();
        for secret in &secrets {
            let found = content
                .windows(secret.len())
                .any(|part| part.eq_ignore_ascii_case(secret.as_bytes()));
            assert!(!found, "{secret} is in {}", file.display());
        }
    }
    let log = server.log();
    assert!(secrets.iter().all(|secret| !log.contains(secret.as_str())));
}

#[tokio::test]
async fn a_disabled_account_cannot_do_anything_until_it_is_enabled() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    let alice = server.user("alice").await;
    let general = server.general().await;
    alice.send(&general, "before").await.unwrap();
    let mut stream = alice.live().await;
    let answer = operator.disable("alice", "left the house").await.unwrap();
    assert_eq!((answer.sessions_ended, answer.streams_closed), (1, 1));
    stream
        .ends_with(
            v1::EndReason::Disabled,
            tonic::Code::PermissionDenied,
            ErrorReason::AccountDisabled,
        )
        .await;
    refused(alice.send(&general, "after").await, ErrorReason::SessionEnded);
    let login = User::log_in(server.channel().await, "alice", PASSWORD).await;
    refused(login, ErrorReason::AccountDisabled);
    // Who does not know the password is not told.
    let guess = User::log_in(server.channel().await, "alice", "not her password").await;
    refused(guess, ErrorReason::WrongCredentials);
    refused(operator.disable("alice", "again").await, ErrorReason::NothingToChange);
    let code = operator.reset_password("alice").await.unwrap().code;
    let set = User::reset_password(server.channel().await, "alice", &code, PASSWORD).await;
    refused(set, ErrorReason::AccountDisabled);
    operator.enable("alice").await.unwrap();
    let alice = User::reset_password(server.channel().await, "alice", &code, PASSWORD)
        .await
        .unwrap();
    let texts: Vec<String> = alice.messages(&general).await.unwrap().into_iter().map(|it| it.text).collect();
    assert_eq!(texts, ["before"]);
}

#[tokio::test]
async fn the_last_operator_can_not_be_demoted_disabled_or_banned() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    server.user("alice").await;
    server.user("bob").await;
    let last = ErrorReason::LastOperator;
    operator.set_roles("alice", &[ServerRole::Operator]).await.unwrap();
    prove_refused(&operator, roles("alice", &[]), last).await;
    prove_refused(&operator, roles("alice", &[ServerRole::Investigator]), last).await;
    prove_refused(&operator, disable("alice"), last).await;
    prove_refused(&operator, ban_of("alice"), last).await;
    let both = [ServerRole::Operator, ServerRole::Investigator];
    operator.set_roles("alice", &both).await.unwrap();
    operator.set_roles("bob", &[ServerRole::Operator]).await.unwrap();
    operator.disable("alice", "on leave").await.unwrap();
    // Who has the role and cannot use it does not count.
    for request in [roles("bob", &[])] {
        prove_refused(&operator, request, last).await;
    }
    prove_refused(&operator, ban_of("bob"), last).await;
    operator.enable("alice").await.unwrap();
    operator.ban("bob", "enough").await.unwrap();
    prove_refused(&operator, disable("alice"), last).await;
    // Giving roles up one by one ends with the last one, too.
    assert_eq!(operator.user("alice").await.unwrap().roles.len(), 2);
}

#[tokio::test]
async fn lists_of_accounts_have_filters_and_pages() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    let users = server.users("person", 5).await;
    server.user("alice").await;
    let _stream = users[1].live().await;
    operator.disable("person2", "gone").await.unwrap();
    operator.ban("person3", "rude").await.unwrap();
    operator.set_roles("person4", &[ServerRole::Operator]).await.unwrap();
    let names = async |request: admin::ListUsersRequest| -> Vec<String> {
        let mut names = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = admin::ListUsersRequest {
                page_token,
                page_size: 2,
                ..request.clone()
            };
            let page = operator.call(request).await.unwrap();
            assert!(page.users.len() <= 2);
            names.extend(page.users.into_iter().map(|user| user.name));
            if page.next_page_token.is_empty() {
                return names;
            }
            page_token = page.next_page_token;
        }
    };
    let all = admin::ListUsersRequest::default();
    let of = |filter: admin::UserFilter| admin::ListUsersRequest {
        filter: filter.into(),
        ..all.clone()
    };
    let prefix = admin::ListUsersRequest {
        name_prefix: "person".into(),
        ..all.clone()
    };
    let role = admin::ListUsersRequest {
        role: ServerRole::Operator.into(),
        ..all.clone()
    };
    let everyone = ["alice", "person0", "person1", "person2", "person3", "person4"];
    assert_eq!(names(all.clone()).await, everyone);
    assert_eq!(names(prefix).await, everyone[1..]);
    assert_eq!(names(role).await, ["person4"]);
    assert_eq!(names(of(admin::UserFilter::Online)).await, ["person1"]);
    assert_eq!(names(of(admin::UserFilter::Disabled)).await, ["person2"]);
    assert_eq!(names(of(admin::UserFilter::Banned)).await, ["person3"]);
    let account = operator.user("person3").await.unwrap();
    assert_eq!(account.ban_index, operator.bans().await[0].index);
    let account = operator.user(&users[1].id).await.unwrap();
    assert!(account.online && account.stream_count == 1 && account.session_count == 1);
}

#[tokio::test]
async fn an_invitation_is_good_for_one_person_until_it_is_revoked() {
    let server = Server::start_with(Options {
        arguments: vec!["--registration".into(), "invite".into()],
        ..Options::default()
    })
    .await;
    let operator = server.operator().await;
    let made = async |note: &str| -> (String, i64) {
        let answer = operator.act(invitation(note), REASON).await.unwrap();
        (answer.code, answer.invitation.unwrap().index)
    };
    let (first, first_index) = made("for Alice").await;
    let (second, second_index) = made("for Bob").await;
    let listed = async || {
        let answer = operator.call(admin::ListInvitationsRequest::default()).await.unwrap();
        answer.invitations.into_iter().map(|it| (it.index, it.note)).collect::<Vec<_>>()
    };
    assert_eq!(
        listed().await,
        [
            (second_index, "for Bob".to_owned()),
            (first_index, "for Alice".to_owned())
        ]
    );
    let register = async |name: &str, code: &str| {
        let request = v1::RegisterRequest {
            user_name: name.into(),
            password: PASSWORD.into(),
            invitation: code.into(),
            ..v1::RegisterRequest::default()
        };
        User::register_as(server.channel().await, request).await
    };
    refused(register("alice", "").await, ErrorReason::InvalidInvitation);
    refused(
        register("alice", "AAAA-BBBB-CCCC").await,
        ErrorReason::InvalidInvitation,
    );
    register("alice", &first.to_lowercase()).await.unwrap();
    refused(register("mallory", &first).await, ErrorReason::InvalidInvitation);
    assert_eq!(listed().await, [(second_index, "for Bob".to_owned())]);
    prove_refused(&operator, revoke(first_index), ErrorReason::InvitationNotFound).await;
    // Used up by whom stands in the journal.
    let entries = operator.connections_after(-1, "alice").await;
    let used = entries.iter().find_map(|entry| match content_of(entry) {
        Content::UserRegistered(registered) => Some(registered.invitation_index),
        _ => None,
    });
    assert_eq!(used, Some(first_index));
    operator.act(revoke(second_index), REASON).await.unwrap();
    refused(register("bob", &second).await, ErrorReason::InvalidInvitation);
    assert!(listed().await.is_empty());
    // A name that is taken does not use an invitation up.
    let (third, _) = made("").await;
    refused(register("alice", &third).await, ErrorReason::UserNameTaken);
    register("bob", &third).await.unwrap();
}

#[tokio::test]
async fn everyone_is_told_the_notice_that_an_operator_sets() {
    let mut server = Server::start_with(Options {
        arguments: vec!["--notice".into(), "from the file".into()],
        ..Options::default()
    })
    .await;
    let operator = server.operator().await;
    assert_eq!(server.info().await.notice, "from the file");
    operator.act(notice("be kind"), REASON).await.unwrap();
    assert_eq!(server.info().await.notice, "be kind");
    server.restart().await;
    assert_eq!(server.info().await.notice, "be kind");
    server.operator().await.act(notice(""), REASON).await.unwrap();
    assert_eq!(server.info().await.notice, "");
}

#[tokio::test]
async fn an_alert_reaches_who_is_connected_and_who_connects_while_it_is_valid() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let mut streams = [alice.live().await, bob.subscribe(v1::Hello::default()).await.unwrap()];
    streams[1].caught_up().await;
    let sent = operator.alert("the kitchen floods").await.unwrap();
    assert_eq!(sent.streams, 2);
    for stream in &mut streams {
        let alert = stream
            .wait_for("the alert", |kind| match kind {
                Kind::Alert(alert) => Some(alert.clone()),
                _ => None,
            })
            .await;
        assert_eq!(
            (alert.text.as_str(), alert.index),
            ("the kitchen floods", sent.alert_index)
        );
        assert!(alert.time.is_some());
    }
    let short = admin::SendAlertRequest {
        valid_for: Some(seconds(1)),
        ..alert("gone soon")
    };
    operator.act(short, REASON).await.unwrap();
    for number in 0..19 {
        operator.alert(&format!("alert {number}")).await.unwrap();
    }
    let shown = async || {
        let mut stream = alice.chat(v1::Hello::default()).await.unwrap();
        let started = stream.started().await;
        started.alerts.into_iter().map(|alert| alert.text).collect::<Vec<_>>()
    };
    let mut want: Vec<String> = (0..19).map(|number| format!("alert {number}")).collect();
    crate::support::eventually("the end of the short alert", || async {
        let now = shown().await;
        (!now.contains(&"gone soon".to_owned())).then_some(())
    })
    .await;
    assert!(shown().await.ends_with(&want));
    assert!(shown().await.len() <= 20);
    operator.alert("alert 19").await.unwrap();
    operator.alert("alert 20").await.unwrap();
    want.remove(0);
    want.extend(["alert 19".to_owned(), "alert 20".to_owned()]);
    assert_eq!(shown().await, want);
}

#[tokio::test]
async fn a_message_of_the_operator_arrives_under_a_name_that_nobody_can_have() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    // Nobody can take the name, neither before nor after its first use.
    let taken = User::register(server.channel().await, "operator", PASSWORD).await;
    refused(taken, ErrorReason::InvalidField);
    let alice = server.user("alice").await;
    let mut stream = alice.live().await;
    let sent = operator.act(message("alice", "please be kind"), REASON).await.unwrap();
    let event = stream.message("please be kind").await;
    assert_eq!(
        (head(&event).room_id.as_str(), head(&event).seq),
        (sent.room_id.as_str(), sent.seq)
    );
    let author = alice.user_with_id(&head(&event).actor_id).await.unwrap();
    assert!(author.is_operator);
    assert_eq!(author.name, "operator");
    let room = alice.room(&sent.room_id).await.unwrap();
    assert_eq!(room.room.unwrap().kind(), v1::RoomKind::Direct);
    assert!(!alice.user_named("alice").await.unwrap().is_operator);

    for password in [PASSWORD, "", "operator"] {
        let login = User::log_in(server.channel().await, "operator", password).await;
        refused(login, ErrorReason::WrongCredentials);
    }
    let taken = User::register(server.channel().await, "operator", PASSWORD).await;
    refused(taken, ErrorReason::InvalidField);
    for refusal in [
        prove_refused(&operator, reset("operator"), ErrorReason::InvalidField).await,
        prove_refused(
            &operator,
            roles("operator", &[ServerRole::Operator]),
            ErrorReason::InvalidField,
        )
        .await,
        prove_refused(&operator, ban_of("operator"), ErrorReason::InvalidField).await,
        prove_refused(&operator, disable("operator"), ErrorReason::InvalidField).await,
        prove_refused(&operator, message("operator", "hello"), ErrorReason::InvalidField).await,
    ] {
        assert_eq!(refusal.fields, ["user"]);
    }

    // The answer is readable, and that it was read is on record.
    alice.send(&sent.room_id, "I will").await.unwrap();
    let before = operator.newest().await;
    let read = operator.act(read_messages("alice"), REASON).await.unwrap();
    let texts: Vec<&str> = read.messages.iter().map(|message| message.text.as_str()).collect();
    assert_eq!(texts, ["please be kind", "I will"]);
    assert_eq!(operator.acts_after(before).await[0].user_name, "alice");
    let page = admin::ListUserMessagesRequest {
        before_seq: read.messages[1].seq,
        page_size: 1,
        ..read_messages("alice")
    };
    let page = operator.act(page, REASON).await.unwrap();
    assert_eq!(page.messages.len(), 1);
    assert_eq!(page.messages[0].text, "please be kind");
    assert!(!page.has_more);
    // A second message goes into the same room.
    let again = operator.act(message("alice", "thank you"), REASON).await.unwrap();
    assert_eq!(again.room_id, sent.room_id);
    // A member can write first, too.
    let bob = server.user("bob").await;
    let room = bob.open_direct_id(&author.id).await.unwrap().room.unwrap().room.unwrap().id;
    bob.send(&room, "hello up there").await.unwrap();
    let read = operator.act(read_messages("bob"), REASON).await.unwrap();
    assert_eq!(read.messages.last().unwrap().text, "hello up there");
}

#[tokio::test]
async fn a_reported_text_can_be_read_as_it_was_also_when_it_is_gone() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    let (alice, bob, eve) = (
        server.user("alice").await,
        server.user("bob").await,
        server.user("eve").await,
    );
    let room = bob.private_room_with("den", &[&alice]).await;
    let seq = bob.send(&room, "first words").await.unwrap().seq;
    bob.edit(&room, seq, "worse words").await.unwrap();

    for wrong in ["", "two\nlines", &"x".repeat(257)] {
        let refusal = refused(alice.report(&room, seq, wrong).await, ErrorReason::InvalidField);
        assert_eq!(refusal.fields, ["reason"]);
    }
    refused(alice.report(&room, 99, "rude").await, ErrorReason::MessageNotFound);
    refused(eve.report(&room, seq, "rude").await, ErrorReason::RoomNotFound);
    let request = v1::ReportMessageRequest {
        request_id: request_id(),
        room_id: room.clone(),
        seq,
        reason: "rude".into(),
    };
    let receipt = alice.report_request(request.clone()).await.unwrap();
    assert_eq!(alice.report_request(request.clone()).await.unwrap(), receipt);
    let other = v1::ReportMessageRequest {
        reason: "very rude".into(),
        ..request
    };
    refused(alice.report_request(other).await, ErrorReason::RequestIdReused);
    refused(alice.report(&room, seq, "rude").await, ErrorReason::AlreadyReported);

    bob.delete(&room, seq).await.unwrap();
    refused(alice.report(&room, seq, "rude").await, ErrorReason::MessageDeleted);
    let reports = operator.call(admin::ListReportsRequest::default()).await.unwrap().reports;
    assert_eq!(reports.len(), 1);
    let report = &reports[0];
    assert_eq!(
        (
            report.index,
            report.reporter_name.as_str(),
            report.room_name.as_str(),
            report.seq
        ),
        (receipt.index, "alice", "den", seq)
    );
    let before = operator.newest().await;
    let read = operator.act(read_report(report.index), REASON).await.unwrap();
    assert_eq!((read.text.as_str(), read.author_name.as_str()), ("worse words", "bob"));
    assert_eq!(read.author_id, bob.id);
    let recorded = operator.acts_after(before).await;
    assert_eq!(recorded.len(), 1);
    assert_eq!(
        recorded[0].argument("report_index"),
        Some(report.index.to_string().as_str())
    );

    operator.act(resolve(report.index, "talked to bob"), REASON).await.unwrap();
    assert!(
        operator
            .call(admin::ListReportsRequest::default())
            .await
            .unwrap()
            .reports
            .is_empty()
    );
    prove_refused(&operator, read_report(report.index), ErrorReason::ReportNotFound).await;
    prove_refused(&operator, resolve(report.index, ""), ErrorReason::ReportNotFound).await;
    // The room was told nothing of it.
    let seqs = alice.events_after(&room, seq).await.unwrap();
    assert!(seqs.iter().all(|event| head(event).kind() != v1::EventKind::MessageReported));
}

#[tokio::test]
async fn one_member_has_only_so_many_reports_open() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let general = server.general().await;
    let mut first = None;
    let limit = loop {
        let seq = bob.send(&general, "spam").await.unwrap().seq;
        match alice.report(&general, seq, "spam").await {
            Ok(receipt) => first = first.or(Some(receipt.index)),
            Err(refusal) => {
                assert_eq!(refusal.reason, ErrorReason::TooMany, "{refusal:?}");
                break refusal.metadata["limit"].parse::<i64>().unwrap();
            }
        }
    };
    assert_eq!(operator.status().await.open_reports, limit);
    operator.act(resolve(first.unwrap(), ""), REASON).await.unwrap();
    let seq = bob.send(&general, "spam").await.unwrap().seq;
    alice.report(&general, seq, "spam").await.unwrap();
}

#[tokio::test]
async fn an_operator_sees_all_rooms_and_archives_one_in_sight_of_its_members() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let tea = alice.public_room("tea").await;
    let den = alice.private_room_with("den", &[&bob]).await;
    let direct = alice.direct_room(&bob).await;
    let list = async |request: admin::ListRoomsRequest| -> Vec<admin::AdminRoom> {
        operator.call(request).await.unwrap().rooms
    };
    let ids = |rooms: &[admin::AdminRoom]| -> Vec<String> {
        rooms.iter().map(|room| room.room.as_ref().unwrap().id.clone()).collect()
    };
    let rooms = list(admin::ListRoomsRequest::default()).await;
    let general = server.general().await;
    assert_eq!(ids(&rooms), [general.clone(), tea.clone(), den.clone(), direct.clone()]);
    let mut names = rooms[3].direct_user_names.clone();
    names.sort_unstable();
    assert_eq!(names, ["alice", "bob"]);

    let mut stream = bob.live().await;
    operator.act(archive("tea"), "nobody drinks it").await.unwrap();
    let archived = operator.act(archive(&den), "closed for good").await.unwrap();
    let event = stream.event_in(&den).await;
    assert_eq!(head(&event).kind(), v1::EventKind::RoomArchived);
    assert!(bob.user_with_id(&head(&event).actor_id).await.unwrap().is_operator);
    match event.body.unwrap().content {
        Some(Content::RoomArchived(content)) => assert_eq!(content.reason, "closed for good"),
        other => panic!("{other:?}"),
    }
    assert!(archived.receipt.is_some());
    refused(bob.send(&den, "hello?").await, ErrorReason::RoomArchived);
    assert!(!bob.events_after(&den, 0).await.unwrap().is_empty());
    prove_refused(&operator, archive(&den), ErrorReason::RoomArchived).await;
    prove_refused(&operator, archive(&direct), ErrorReason::NotInThisKindOfRoom).await;
    let active = admin::ListRoomsRequest {
        active_only: true,
        ..Default::default()
    };
    assert_eq!(ids(&list(active).await), [general, direct.clone()]);
    let directs = admin::ListRoomsRequest {
        kind: v1::RoomKind::Direct.into(),
        ..Default::default()
    };
    assert_eq!(ids(&list(directs).await), [direct]);
}

#[tokio::test]
async fn sessions_show_their_streams_with_address_port_bytes_and_queue() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let general = server.general().await;
    let (_first, mut second) = (alice.live().await, alice.live().await);
    let elsewhere = bob.over(server.channel_from("127.0.0.2".parse().unwrap()).await);
    let mut third = elsewhere.live().await;
    bob.send(&general, "hello").await.unwrap();
    second.message("hello").await;
    third.message("hello").await;

    let sessions = operator.sessions("").await.unwrap();
    let names: Vec<&str> = sessions.iter().map(|session| session.user_name.as_str()).collect();
    assert_eq!(names, ["bob", "alice"]);
    let (of_bob, of_alice) = (&sessions[0], &sessions[1]);
    assert_eq!(
        (of_alice.id.as_str(), of_alice.user_id.as_str()),
        (alice.session_id.as_str(), alice.id.as_str())
    );
    assert_eq!((of_alice.streams.len(), of_bob.streams.len()), (2, 1));
    assert_eq!(of_alice.streams[0].connection, of_alice.streams[1].connection);
    assert_ne!(of_alice.streams[0].connection, of_bob.streams[0].connection);
    for stream in &of_alice.streams {
        assert_eq!(stream.address, "127.0.0.1");
        assert!(
            stream.port > 0 && stream.sent_bytes > 0 && stream.opened_at.is_some(),
            "{stream:?}"
        );
        assert!(!stream.catching_up);
    }
    assert_eq!(of_bob.streams[0].address, "127.0.0.2");
    assert!(!of_bob.is_operator_session);
    let live = admin::ListSessionsRequest {
        live_only: true,
        page_size: 1,
        ..Default::default()
    };
    let page = operator.call(live.clone()).await.unwrap();
    assert_eq!(page.sessions[0].user_name, "bob");
    let next = admin::ListSessionsRequest {
        page_token: page.next_page_token,
        ..live.clone()
    };
    let page = operator.call(next).await.unwrap();
    assert_eq!(page.sessions[0].user_name, "alice");
    assert!(page.next_page_token.is_empty());
    drop(third);
    crate::support::eventually("the end of a stream that is gone", || async {
        let page = operator
            .call(admin::ListSessionsRequest {
                page_size: 9,
                ..live.clone()
            })
            .await
            .unwrap();
        (page.sessions.len() == 1).then_some(())
    })
    .await;

    // One that does not read has a queue.
    let deaf = bob.over(server.narrow_channel().await);
    let _unread = deaf.chat(v1::Hello::default()).await.unwrap();
    let text = "x".repeat(16384);
    for _ in 0..20 {
        alice.send(&general, &text).await.unwrap();
    }
    crate::support::eventually("a queue", || async {
        let sessions = operator.sessions("bob").await.unwrap();
        let stream = &sessions[0].streams[0];
        (stream.queued_bytes > 0 || stream.catching_up).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_status_counts_what_is_there() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    let empty = operator.status().await;
    assert_eq!(
        (empty.users, empty.sessions, empty.streams, empty.users_online),
        (0, 0, 0, 0)
    );
    assert_eq!((empty.rooms, empty.bans, empty.open_reports), (1, 0, 0));
    assert_eq!(empty.pid, server.pid());
    assert_eq!(empty.listen, server.address());
    assert_eq!(empty.data_dir, server.data_dir().display().to_string());
    assert_eq!(empty.epoch, server.info().await.epoch);
    assert_eq!(empty.journal_id.len(), 32);
    assert!(empty.database_bytes > 0 && empty.disk_free_bytes > 0 && empty.search_bytes > 0);
    assert!(empty.version.starts_with("greffe/"), "{}", empty.version);
    let (started, now) = (empty.started_at.unwrap(), empty.time.unwrap());
    assert!((started.seconds, started.nanos) <= (now.seconds, now.nanos));
    assert!(!empty.draining && empty.stop_at.is_none());

    let users = server.users("person", 3).await;
    let general = server.general().await;
    let _streams = [users[0].live().await, users[0].live().await, users[1].live().await];
    users[0].public_room("tea").await;
    let seq = users[2].send(&general, "spam").await.unwrap().seq;
    users[0].report(&general, seq, "spam").await.unwrap();
    operator.act(message("person0", "hello"), REASON).await.unwrap();
    operator.ban_network("192.0.2.0/24", REASON).await.unwrap();
    User::log_in(server.channel().await, "person2", "wrong password")
        .await
        .unwrap_err();
    let status = operator.status().await;
    assert_eq!(
        (status.users, status.sessions),
        (3, 3),
        "the operator's identity is not counted"
    );
    assert_eq!((status.streams, status.users_online), (3, 2));
    assert_eq!((status.rooms, status.bans, status.open_reports), (3, 1, 1));
    assert!(status.connections >= 3, "{status:?}");
    assert!(status.rows > empty.rows);
    // Rates are of whole seconds.
    crate::support::eventually("rates", || async {
        let rates = operator.status().await.rates.unwrap();
        let some = [rates.rows, rates.deliveries, rates.logins, rates.login_refusals];
        some.iter().all(|rate| *rate > 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_connection_log_tells_who_came_from_where_and_how_it_ended() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    let alice = server.user("alice").await;
    User::log_in(server.channel().await, "alice", "wrong password")
        .await
        .unwrap_err();
    let phone = server.login("alice").await;
    alice.log_out().await.unwrap();
    phone.change_password(PASSWORD, "another long password").await.unwrap();
    operator.kick("alice", "enough").await.unwrap();
    server.user("bob").await;
    let entries = operator.connections_after(-1, "alice").await;
    let told: Vec<String> = entries
        .iter()
        .map(|entry| {
            assert_eq!(entry.user_name, "alice", "{entry:?}");
            let (what, peer) = match content_of(entry) {
                Content::UserRegistered(it) => ("registered".to_owned(), it.peer.clone()),
                Content::LoggedIn(it) => ("in".to_owned(), it.peer.clone()),
                Content::LoginRefused(it) => (format!("refused {}", it.attempted_name), it.peer.clone()),
                Content::SessionEnded(it) => (format!("{:?} {}", it.reason(), it.message), None),
                Content::PasswordChanged(it) => ("password".to_owned(), it.peer.clone()),
                other => panic!("{other:?}"),
            };
            if let Some(peer) = peer {
                assert_eq!(peer.address, "127.0.0.1");
                assert!(peer.port > 0);
            }
            what.trim().to_owned()
        })
        .collect();
    assert_eq!(
        told,
        [
            "registered",
            "in",
            "refused alice",
            "in",
            "LoggedOut",
            "password",
            "Kicked enough"
        ]
    );
    let everyone = operator.connections_after(index_of(entries.last().unwrap()), "").await;
    assert!(everyone.iter().all(|entry| entry.user_name == "bob"), "{everyone:?}");
    refused(phone.sessions().await, ErrorReason::SessionEnded);
}

#[tokio::test]
async fn logs_page_in_both_directions_and_from_a_time_on() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    server.user("alice").await;
    server.user("bob").await;
    for number in 0..5 {
        let whom = if number % 2 == 0 { "alice" } else { "bob" };
        operator.kick(whom, &format!("kick {number}")).await.unwrap();
    }
    let reasons = async |range: admin::LogRange, user: &str| -> (Vec<String>, bool) {
        let request = admin::ListAuditRequest {
            range: Some(range),
            user: user.into(),
        };
        let answer = operator.call(request).await.unwrap();
        let reasons = answer.entries.iter().filter_map(|entry| match content_of(entry) {
            Content::OperatorActed(act) => Some(act.reason.clone()),
            _ => None,
        });
        (reasons.collect(), answer.has_more)
    };
    let page = |page_size| admin::LogRange {
        page_size,
        ..Default::default()
    };
    let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(reasons(page(2), "").await, (strings(&["kick 3", "kick 4"]), true));
    assert_eq!(
        reasons(page(9), "alice").await,
        (strings(&["kick 0", "kick 2", "kick 4"]), false)
    );
    let acts = operator.acts_after(-1).await;
    let before = admin::LogRange {
        before_index: Some(acts[3].index),
        ..page(2)
    };
    assert_eq!(reasons(before, "").await, (strings(&["kick 1", "kick 2"]), true));
    let after = admin::LogRange {
        after_index: Some(acts[1].index),
        ..page(2)
    };
    assert_eq!(reasons(after, "").await, (strings(&["kick 2", "kick 3"]), true));
    let entries = operator.audit_after(acts[2].index).await;
    let time = entries[0].event.clone().unwrap().head.unwrap().time;
    let since = admin::LogRange { since: time, ..page(1) };
    assert_eq!(reasons(since, "").await, (strings(&["kick 3"]), true));
    let future = admin::LogRange {
        since: Some(prost_types::Timestamp {
            seconds: 32_503_680_000,
            nanos: 0,
        }),
        ..page(9)
    };
    assert_eq!(reasons(future, "").await, (Vec::new(), false));
}

#[tokio::test]
async fn what_operators_ordered_holds_after_a_restart() {
    let mut server = Server::start_with(Options {
        arguments: vec!["--registration".into(), "invite".into()],
        ..Options::default()
    })
    .await;
    let operator = server.operator().await;
    let mut codes = Vec::new();
    for name in ["alice", "bob", "carol", "dave"] {
        codes.push(operator.create_user(name, &[]).await.unwrap());
    }
    let code = codes.pop().expect("there are four");
    let mut users = Vec::new();
    for (name, code) in ["alice", "bob", "carol"].iter().zip(&codes) {
        let user = User::reset_password(server.channel().await, name, code, PASSWORD).await;
        users.push(user.unwrap());
    }
    let general = server.general().await;
    let seq = users[1].send(&general, "spam").await.unwrap().seq;
    let report = users[0].report(&general, seq, "spam").await.unwrap().index;
    operator.ban("bob", "spam").await.unwrap();
    operator.ban_network("127.0.0.2/32", "spam").await.unwrap();
    operator.disable("carol", "gone").await.unwrap();
    operator.set_roles("alice", &[ServerRole::Operator]).await.unwrap();
    let told = operator.alert("tea at five").await.unwrap().alert_index;
    let request = invitation("for Erin").anew(REASON);
    let made = operator.call(request.clone()).await.unwrap();
    let (bans, before) = (operator.bans().await, operator.newest().await);
    let acts = operator.acts_after(-1).await.len();

    server.restart().await;
    let operator = server.operator().await;
    assert_eq!(operator.newest().await, before);
    assert_eq!(operator.acts_after(-1).await.len(), acts);
    assert_eq!(operator.bans().await, bans);
    let repeat = operator.call(request).await.unwrap();
    assert_eq!((repeat.receipt, repeat.code.as_str()), (made.receipt, ""));
    let login = async |name: &str| User::log_in(server.channel().await, name, PASSWORD).await;
    let refusal = refused(login("bob").await, ErrorReason::Banned);
    assert!(refusal.message.contains("spam"), "{refusal:?}");
    refused(login("carol").await, ErrorReason::AccountDisabled);
    let away = server.channel_from("127.0.0.2".parse().unwrap()).await;
    refused(User::log_in(away, "alice", PASSWORD).await, ErrorReason::Banned);
    let alice = users[0].over(server.channel().await);
    let mut stream = alice.chat(v1::Hello::default()).await.unwrap();
    let alerts: Vec<i64> = stream.started().await.alerts.iter().map(|alert| alert.index).collect();
    assert_eq!(alerts, [told]);
    assert_eq!(
        operator.user("alice").await.unwrap().roles,
        [ServerRole::Operator as i32]
    );
    let read = operator.act(read_report(report), REASON).await.unwrap();
    assert_eq!(read.text, "spam");
    User::reset_password(server.channel().await, "dave", &code, PASSWORD)
        .await
        .expect("a code is as good as before");
    let request = v1::RegisterRequest {
        user_name: "erin".into(),
        password: PASSWORD.into(),
        invitation: made.code,
        ..v1::RegisterRequest::default()
    };
    User::register_as(server.channel().await, request).await.unwrap();
    let texts = alice.events_after(&general, 0).await.unwrap();
    assert!(texts.iter().any(|event| text_of(event) == Some("spam")));
    drop(stream);
    crate::journal::agrees(&mut server, &["spam", "for Erin", "tea at five"]).await;
}
