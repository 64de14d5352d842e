//! Who gets at the operators' services: nobody on the members' port, at the operators' port only who logged in there and has the role, and at
//! the socket only who may open it.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;

use prost::Message as _;
use tonic::transport::Channel;
use tonic::{Code, Request};
use v1::ServerRole;

use crate::support::operator::unary;
use crate::support::{ErrorReason, Operator, Options, PASSWORD, Refusal, Server, User, admin, refused, v1};

/// A server that operators can log in at from afar.
pub(crate) async fn with_port() -> Server {
    let arguments = ["--tls-self-signed", "--admin-listen", "127.0.0.1:0"];
    Server::start_with(Options {
        arguments: arguments.map(str::to_owned).to_vec(),
        ..Options::default()
    })
    .await
}

/// The paths of all methods of the operators' services, as the contract has them.
pub(crate) fn admin_methods() -> Vec<String> {
    let files =
        prost_types::FileDescriptorSet::decode(greffe_api::FILE_DESCRIPTOR_SET).expect("it is a descriptor set");
    let mut paths = Vec::new();
    let of_operators = |package: &str| ["greffe.admin.v1", "greffe.record.v1"].contains(&package);
    for file in files.file.iter().filter(|file| of_operators(file.package())) {
        for service in &file.service {
            let methods = service.method.iter();
            paths.extend(methods.map(|method| format!("/{}.{}/{}", file.package(), service.name(), method.name())));
        }
    }
    assert!(paths.len() > 30, "{paths:?}");
    paths
}

/// Calls a method with an empty request.
async fn knock(channel: &Channel, path: &str, token: Option<&str>) -> Result<(), Refusal> {
    let mut request = Request::new(());
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().expect("a token is ASCII");
        request.metadata_mut().insert("authorization", value);
    }
    unary::<(), ()>(channel.clone(), path, request).await.map_err(Refusal::from)
}

pub(crate) async fn log_in(server: &Server, name: &str, password: &str) -> Result<Operator, Refusal> {
    Operator::log_in(server.admin_channel().await, name, password).await
}

#[tokio::test]
async fn no_method_of_the_operators_is_on_the_members_port() {
    let server = with_port().await;
    let local = server.operator().await;
    let member = server.user("alice").await;
    let boss = server.user("boss").await;
    let both = [ServerRole::Operator, ServerRole::Investigator];
    local.set_roles("boss", &both).await.unwrap();
    let operator = log_in(&server, "boss", PASSWORD).await.unwrap();
    let before = local.newest().await;
    let (channel, port) = (server.channel().await, server.admin_channel().await);
    for path in admin_methods() {
        for token in [
            None,
            Some(member.token.as_str()),
            Some(&boss.token),
            Some(operator.token()),
        ] {
            let refusal = refused(knock(&channel, &path, token).await, ErrorReason::UnknownMethod);
            assert_eq!(refusal.code, Code::Unimplemented, "{path}");
        }
        // Where it is, it is known.
        let refusal = knock(&port, &path, None).await.expect_err(&path);
        assert_ne!(refusal.reason, ErrorReason::UnknownMethod, "{path}");
    }
    assert!(local.acts_after(before).await.is_empty());
}

#[tokio::test]
async fn the_operators_port_takes_no_token_but_that_of_an_operator_who_logged_in_there() {
    let server = with_port().await;
    let local = server.operator().await;
    let member = server.user("alice").await;
    let boss = server.user("boss").await;
    for name in ["disabled", "demoted", "banned", "kicked", "gone"] {
        server.user(name).await;
        local.set_roles(name, &[ServerRole::Operator]).await.unwrap();
    }
    local.set_roles("boss", &[ServerRole::Operator]).await.unwrap();
    let [disabled, demoted, banned, kicked, gone] = [
        log_in(&server, "disabled", PASSWORD).await.unwrap(),
        log_in(&server, "demoted", PASSWORD).await.unwrap(),
        log_in(&server, "banned", PASSWORD).await.unwrap(),
        log_in(&server, "kicked", PASSWORD).await.unwrap(),
        log_in(&server, "gone", PASSWORD).await.unwrap(),
    ];
    // Each was good before.
    for operator in [&disabled, &demoted, &banned, &kicked, &gone] {
        operator.status().await;
    }
    local.disable("disabled", "gone").await.unwrap();
    local.set_roles("demoted", &[]).await.unwrap();
    local.ban("banned", "gone").await.unwrap();
    local.kick("kicked", "gone").await.unwrap();
    gone.call(admin::LogOutRequest {}).await.unwrap();
    let channel = server.admin_channel().await;
    let mut tokens = vec![
        ("a member", member.token.as_str()),
        ("an operator's login as a member", &boss.token),
        ("disabled", disabled.token()),
        ("demoted", demoted.token()),
        ("banned", banned.token()),
        ("kicked", kicked.token()),
        ("logged out", gone.token()),
        ("nonsense", "nonsense"),
        ("nothing", ""),
    ];
    let unknown = "A".repeat(member.token.len());
    tokens.push(("unknown", &unknown));
    for path in admin_methods() {
        if path.ends_with("/LogIn") {
            continue;
        }
        let refusal = knock(&channel, &path, None).await.expect_err(&path);
        assert_eq!(refusal.reason, ErrorReason::NotLoggedIn, "{path}: {refusal:?}");
        for (what, token) in &tokens {
            let result = knock(&channel, &path, Some(token)).await;
            let Err(refusal) = result else {
                panic!("{path} took the token of: {what}");
            };
            let not_logged_in = token.is_empty() && refusal.reason == ErrorReason::NotLoggedIn;
            assert!(
                refusal.reason == ErrorReason::SessionEnded || not_logged_in,
                "{path}, {what}: {refusal:?}"
            );
        }
    }
    refused(gone.call(admin::LogOutRequest {}).await, ErrorReason::SessionEnded);
}

#[tokio::test]
async fn an_investigator_is_no_operator_and_what_they_try_is_on_record() {
    let server = with_port().await;
    let local = server.operator().await;
    server.user("ines").await;
    local.set_roles("ines", &[ServerRole::Investigator]).await.unwrap();
    let ines = log_in(&server, "ines", PASSWORD).await.unwrap();
    let before = local.newest().await;
    let channel = server.admin_channel().await;
    let mut tried = Vec::new();
    for path in admin_methods().into_iter().filter(|path| path.contains("greffe.admin.")) {
        // These need no role.
        if path.contains("AdminAuthService") {
            continue;
        }
        let rows = local.newest().await;
        let result = knock(&channel, &path, Some(ines.token())).await;
        if path.contains("LogAdminService") {
            result.unwrap_or_else(|refusal| panic!("{path}: {refusal:?}"));
            continue;
        }
        let refusal = result.expect_err(&path);
        assert_eq!(refusal.reason, ErrorReason::ServerRoleRequired, "{path}: {refusal:?}");
        if local.newest().await > rows {
            tried.push(path.trim_start_matches('/').to_owned());
        }
    }
    let recorded = local.acts_after(before).await;
    assert!(
        recorded
            .iter()
            .all(|it| it.act.refused() == ErrorReason::ServerRoleRequired && it.actor_name == "ines")
    );
    let methods: Vec<String> = recorded.into_iter().map(|it| it.act.method).collect();
    assert_eq!(methods, tried);
    let looks = ["/List", "/Get"];
    let content = [
        "greffe.admin.v1.UserAdminService/ListUserMessages",
        "greffe.admin.v1.FileAdminService/ListFiles",
    ];
    let acts = admin_methods()
        .into_iter()
        .filter(|path| path.contains("greffe.admin.") && !path.contains("AdminAuthService"));
    let acts = acts.filter(|path| {
        !looks.iter().any(|look| path.contains(look)) || content.iter().any(|content| path.ends_with(content))
    });
    let acts: Vec<String> = acts.map(|path| path.trim_start_matches('/').to_owned()).collect();
    assert_eq!(
        tried, acts,
        "every act and every read of content, and nothing else, is on record"
    );
    ines.call(admin::WhoAmIRequest {}).await.unwrap();
}

#[tokio::test]
async fn an_operators_token_is_no_good_on_the_members_port() {
    let server = with_port().await;
    let boss = server.user("boss").await;
    server
        .operator()
        .await
        .set_roles("boss", &[ServerRole::Operator])
        .await
        .unwrap();
    let operator = log_in(&server, "boss", PASSWORD).await.unwrap();
    let posing = boss.with_token(operator.token());
    let general = server.general().await;
    refused(posing.send(&general, "hello").await, ErrorReason::SessionEnded);
    refused(posing.sessions().await, ErrorReason::SessionEnded);
    refused(
        posing.chat(v1::Hello::default()).await.map(drop),
        ErrorReason::SessionEnded,
    );
    refused(posing.log_out().await, ErrorReason::SessionEnded);
    boss.send(&general, "hello").await.unwrap();
    operator.status().await;
    // A member may end it like any other session of theirs.
    let sessions = boss.sessions().await.unwrap();
    assert!(!sessions.is_empty());
}

#[tokio::test]
async fn only_an_account_with_a_role_logs_in_at_the_operators_port() {
    let server = with_port().await;
    let local = server.operator().await;
    for name in ["member", "boss", "banned", "disabled"] {
        server.user(name).await;
    }
    let operator = [ServerRole::Operator];
    for name in ["boss", "banned", "disabled"] {
        local.set_roles(name, &operator).await.unwrap();
    }
    local.ban("banned", "gone too far").await.unwrap();
    local.disable("disabled", "gone").await.unwrap();
    for (name, password, reason) in [
        ("member", PASSWORD, ErrorReason::ServerRoleRequired),
        ("member", "not the password", ErrorReason::WrongCredentials),
        ("boss", "not the password", ErrorReason::WrongCredentials),
        ("nobody", PASSWORD, ErrorReason::WrongCredentials),
        ("operator", PASSWORD, ErrorReason::WrongCredentials),
        ("", "", ErrorReason::WrongCredentials),
        ("banned", PASSWORD, ErrorReason::Banned),
        ("banned", "not the password", ErrorReason::WrongCredentials),
        ("disabled", PASSWORD, ErrorReason::AccountDisabled),
    ] {
        let result = log_in(&server, name, password).await;
        let refusal = refused(result, reason);
        if reason == ErrorReason::Banned {
            assert!(refusal.message.contains("gone too far"), "{refusal:?}");
        }
    }
    let boss = log_in(&server, "boss", PASSWORD).await.unwrap();
    let who = boss.call(admin::WhoAmIRequest {}).await.unwrap();
    let identity = who.operator.unwrap();
    assert_eq!((identity.user_name.as_str(), identity.os_user.as_str()), ("boss", ""));
    let peer = identity.peer.unwrap();
    assert!(peer.address == "127.0.0.1" && peer.port > 0, "{peer:?}");
    assert_eq!(who.roles, [ServerRole::Operator as i32]);
    // A session there is shown as what it is.
    let sessions = local.sessions("boss").await.unwrap();
    let kinds: Vec<bool> = sessions.iter().map(|session| session.is_operator_session).collect();
    assert_eq!(kinds, [true, false]);
}

#[tokio::test]
async fn acts_from_afar_are_on_record_with_the_account_and_the_address() {
    let server = with_port().await;
    let local = server.operator().await;
    server.user("alice").await;
    server.user("boss").await;
    local.set_roles("boss", &[ServerRole::Operator]).await.unwrap();
    let boss = log_in(&server, "boss", PASSWORD).await.unwrap();
    let before = local.newest().await;
    boss.kick("alice", "enough").await.unwrap();
    refused(boss.kick("nobody", "enough").await, ErrorReason::UserNotFound);
    for recorded in local.acts_after(before).await {
        assert_eq!(recorded.actor_name, "boss");
        let operator = recorded.act.operator.unwrap();
        assert_eq!((operator.user_name.as_str(), operator.os_user.as_str()), ("boss", ""));
        let peer = operator.peer.unwrap();
        assert!(peer.address == "127.0.0.1" && peer.port > 0, "{peer:?}");
    }
    let acts = local.acts_after(before).await;
    let told: Vec<_> = acts.iter().map(|it| (it.act.refused(), it.argument("user"))).collect();
    assert_eq!(
        told,
        [
            (ErrorReason::Unspecified, Some("alice")),
            (ErrorReason::UserNotFound, Some("nobody"))
        ]
    );
    assert_eq!(acts[0].user_name, "alice");
}

#[tokio::test]
async fn a_demoted_operator_keeps_what_another_role_allows() {
    let server = with_port().await;
    let local = server.operator().await;
    server.user("boss").await;
    server.user("other").await;
    local.set_roles("other", &[ServerRole::Operator]).await.unwrap();
    local
        .set_roles("boss", &[ServerRole::Operator, ServerRole::Investigator])
        .await
        .unwrap();
    let boss = log_in(&server, "boss", PASSWORD).await.unwrap();
    local.set_roles("boss", &[ServerRole::Investigator]).await.unwrap();
    refused(
        boss.call(admin::GetStatusRequest {}).await,
        ErrorReason::ServerRoleRequired,
    );
    let before = local.newest().await;
    refused(boss.kick("other", "revenge").await, ErrorReason::ServerRoleRequired);
    let acts = local.acts_after(before).await;
    assert_eq!(acts.len(), 1);
    assert_eq!(acts[0].act.refused(), ErrorReason::ServerRoleRequired);
    assert_eq!(
        (acts[0].actor_name.as_str(), acts[0].act.reason.as_str()),
        ("boss", "revenge")
    );
    boss.audit_after(-1).await;
}

#[tokio::test]
async fn an_operator_from_afar_cannot_become_more_than_they_are() {
    let server = with_port().await;
    let local = server.operator().await;
    for name in ["boss", "ines", "alice"] {
        server.user(name).await;
    }
    local.set_roles("boss", &[ServerRole::Operator]).await.unwrap();
    local.set_roles("ines", &[ServerRole::Investigator]).await.unwrap();
    let boss = log_in(&server, "boss", PASSWORD).await.unwrap();
    let both = [ServerRole::Operator, ServerRole::Investigator];
    let role = ErrorReason::ServerRoleRequired;
    refused(boss.set_roles("boss", &both).await, role);
    refused(boss.set_roles("alice", &[ServerRole::Investigator]).await, role);
    refused(boss.set_roles("ines", &[]).await, role);
    refused(boss.create_user("carol", &[ServerRole::Investigator]).await, role);
    // A code for the account of somebody with a role would be a way to act as them.
    refused(boss.reset_password("ines").await, ErrorReason::InvalidField);
    refused(boss.user("carol").await, ErrorReason::UserNotFound);
    boss.set_roles("alice", &[ServerRole::Operator]).await.unwrap();
    boss.set_roles("alice", &[]).await.unwrap();
    boss.reset_password("alice").await.unwrap();
    boss.create_user("carol", &[ServerRole::Operator]).await.unwrap();
    assert_eq!(
        local.user("ines").await.unwrap().roles,
        [ServerRole::Investigator as i32]
    );
    local.set_roles("boss", &both).await.expect("the socket has both roles");
    boss.set_roles("ines", &[]).await.expect("who has both gives and takes both");
}

#[tokio::test]
async fn guessing_operators_passwords_is_slowed_down() {
    let arguments = ["--tls-self-signed", "--admin-listen", "127.0.0.1:0"];
    let server = Server::start_with(Options {
        arguments: arguments.map(str::to_owned).to_vec(),
        limits: vec![("failed_logins_per_address", 3)],
        ..Options::default()
    })
    .await;
    for _ in 0..3 {
        let guess = log_in(&server, "boss", "a guess").await;
        refused(guess, ErrorReason::WrongCredentials);
    }
    refused(log_in(&server, "boss", "a guess").await, ErrorReason::TooManyLogins);
}

/// Starts a server that is expected to refuse, and gives what it said.
async fn refuses_to_start(server: &mut Server) -> String {
    let before = server.log().len();
    let status = server.spawn().await.expect_err("the server does not start");
    assert_eq!(status.code(), Some(1), "{}", server.log());
    server.log()[before..].to_owned()
}

/// A server that was never started, with its data directory made.
fn prepared() -> Server {
    let server = Server::stopped(Options::default());
    std::fs::create_dir(server.data_dir()).expect("it can be made");
    set_mode(&server.data_dir(), 0o700);
    server
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("the test may");
}

#[tokio::test]
async fn what_lies_in_the_sockets_place_and_is_none_of_ours_stops_the_start() {
    let mut server = prepared();
    let place = server.data_dir().join("admin.sock");

    std::fs::write(&place, "precious").unwrap();
    let said = refuses_to_start(&mut server).await;
    assert!(said.contains("admin.sock") && said.contains("--admin-socket"), "{said}");
    assert_eq!(std::fs::read_to_string(&place).unwrap(), "precious");
    std::fs::remove_file(&place).unwrap();

    let elsewhere = server.beside("elsewhere.sock");
    let listener = UnixListener::bind(&elsewhere).unwrap();
    set_mode(&elsewhere, 0o600);
    std::os::unix::fs::symlink(&elsewhere, &place).unwrap();
    refuses_to_start(&mut server).await;
    assert!(elsewhere.exists());
    drop(listener);
    std::fs::remove_file(&place).unwrap();

    for mode in [0o666, 0o660, 0o606] {
        drop(UnixListener::bind(&place).unwrap());
        set_mode(&place, mode);
        let said = refuses_to_start(&mut server).await;
        assert!(said.contains(&format!("{mode:o}")), "{said}");
        std::fs::remove_file(&place).unwrap();
    }

    // Only root can make what belongs to somebody else.
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        drop(UnixListener::bind(&place).unwrap());
        set_mode(&place, 0o600);
        std::os::unix::fs::chown(&place, Some(65_534), None).unwrap();
        let said = refuses_to_start(&mut server).await;
        assert!(said.contains("65534"), "{said}");
        std::fs::remove_file(&place).unwrap();
    }

    // A socket of our own that nobody serves is a server's that died.
    drop(UnixListener::bind(&place).unwrap());
    set_mode(&place, 0o600);
    server.spawn().await.expect("it starts");
    server.operator().await.status().await;
}

#[tokio::test]
async fn a_directory_in_which_others_could_replace_the_socket_stops_the_start() {
    let mut server = prepared();
    for mode in [0o777, 0o770, 0o702] {
        set_mode(&server.data_dir(), mode);
        let said = refuses_to_start(&mut server).await;
        assert!(said.contains("chmod go-w"), "{said}");
    }
    set_mode(&server.data_dir(), 0o700);
    // Also where the socket was moved to.
    let open = server.beside("open");
    std::fs::create_dir(&open).unwrap();
    set_mode(&open, 0o777);
    let socket = open.join("greffe.sock").display().to_string();
    server.options_mut().arguments = vec!["--admin-socket".to_owned(), socket];
    refuses_to_start(&mut server).await;
    set_mode(&open, 0o755);
    server.spawn().await.expect("it starts");
    server.operator().await.status().await;
}

#[tokio::test]
async fn an_operators_port_without_tls_stops_the_start() {
    let mut server = prepared();
    for arguments in [
        vec!["--admin-listen", "127.0.0.1:0"],
        vec!["--admin-listen", "127.0.0.1:0", "--insecure-plaintext"],
    ] {
        server.options_mut().arguments = arguments.into_iter().map(str::to_owned).collect();
        let before = server.log().len();
        let status = server.spawn().await.expect_err("the server does not start");
        assert!(matches!(status.code(), Some(1 | 2)), "{status}");
        let log = server.log();
        assert!(log[before..].contains("tls"), "{log}");
    }
}

#[tokio::test]
async fn the_socket_is_its_owners_alone_and_goes_with_its_server() {
    let mut server = Server::start(&[]).await;
    let socket = server.admin_socket().to_owned();
    let found = std::fs::symlink_metadata(&socket).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.mode() & 0o7777, 0o600);
    assert_eq!(socket.file_name().unwrap(), "admin.sock");

    // A second server on the same directory, or with its socket in the same place, does not start and takes nothing away.
    let (status, _, said) = server.run(&["--listen", "127.0.0.1:0"]).await;
    assert_eq!(status.code(), Some(1));
    assert!(said.contains(&server.pid().to_string()), "{said}");
    let mut second = Server::stopped(Options {
        arguments: vec!["--admin-socket".to_owned(), socket.display().to_string()],
        ..Options::default()
    });
    let said = refuses_to_start(&mut second).await;
    assert!(said.contains("another server"), "{said}");
    server.operator().await.status().await;

    assert!(server.terminate().await.success());
    assert!(!socket.exists());
    second.spawn().await.expect("the place is free now");
    second.operator().await.status().await;

    // A crash leaves the socket, and the next start takes its place.
    second.kill_9().await;
    assert!(socket.exists());
    second.spawn().await.expect("it starts");
    second.operator().await.status().await;
    let members = User::register(second.channel().await, "alice", PASSWORD).await;
    members.unwrap();
}
