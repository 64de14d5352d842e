//! `greffe-admin` against a real server: what it prints, how it exits, and what members notice.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tonic::Code;

use crate::support::server::binary;
use crate::support::tool::{Tool, finished};
use crate::support::{ErrorReason, Kind, Options, PASSWORD, Server, User, refused, v1, within};

/// A server with a member who has a live stream, and its operator's tool.
async fn with_bob() -> (Server, Tool, User) {
    let server = Server::start(&[]).await;
    let tool = Tool::of(&server);
    let bob = server.user("bob").await;
    (server, tool, bob)
}

#[tokio::test]
async fn who_is_kicked_is_told_why_and_the_operator_how_many_streams_that_were() {
    let (_server, tool, bob) = with_bob().await;
    let mut stream = bob.live().await;
    let kicked = tool.object(&["kick", "@Bob", "--yes", "--reason", "too loud"]).await;
    assert_eq!(
        (&kicked["user"], &kicked["sessions_ended"], &kicked["streams_closed"]),
        (&"bob".into(), &1.into(), &1.into())
    );
    assert!(kicked["index"].is_number() && kicked["time"].is_string(), "{kicked}");
    let ended = stream
        .wait_for("the end", |kind| match kind {
            Kind::Ended(ended) => Some(ended.clone()),
            _ => None,
        })
        .await;
    assert_eq!(
        (ended.reason(), ended.message.as_str()),
        (v1::EndReason::Kicked, "too loud")
    );

    tool.run(&["kick", "nobody", "--yes", "--reason", "x"]).await.exits(4);
    tool.run(&["kick", "--session", "nothing", "--yes", "--reason", "x"])
        .await
        .exits(4);
    let unasked = tool.run(&["kick", "bob", "--reason", "x"]).await.exits(2);
    assert!(unasked.stderr.contains("hint: give --yes"), "{unasked:?}");
}

#[tokio::test]
async fn one_session_can_be_ended_and_the_others_go_on() {
    let (server, tool, bob) = with_bob().await;
    let second = server.login("bob").await;
    let mut stream = second.live().await;
    let live = tool.object(&["sessions", "--live"]).await;
    assert_eq!(live["session_id"], second.session_id.as_str());
    let open = &live["streams"][0];
    assert!(
        open["address"] == "127.0.0.1" && open["port"].as_u64() > Some(0),
        "{live}"
    );
    let ended = tool
        .object(&[
            "kick",
            "--session",
            &second.session_id,
            "--yes",
            "--reason",
            "lost device",
        ])
        .await;
    assert_eq!(ended["streams_closed"], 1);
    stream
        .ends_with(v1::EndReason::Kicked, Code::PermissionDenied, ErrorReason::Kicked)
        .await;
    let left = tool.objects(&["sessions", "--user", "bob"]).await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["session_id"], bob.session_id.as_str());
}

#[tokio::test]
async fn users_addresses_and_networks_are_banned_listed_and_unbanned() {
    let (_server, tool, bob) = with_bob().await;
    let banned = tool
        .object(&["ban", "bob", "--for", "7d", "--yes", "--reason", "it's spam"])
        .await;
    assert_eq!((&banned["user"], &banned["sessions_ended"]), (&"bob".into(), &1.into()));
    assert!(bob.sessions().await.is_err());
    let network = tool.object(&["ban", "203.0.113.9/24", "--yes", "--reason", "spam"]).await;
    assert_eq!(network["network"], "203.0.113.0/24");
    let listed = tool.objects(&["bans"]).await;
    let whom: Vec<_> = listed.iter().map(|ban| (&ban["user"], &ban["network"])).collect();
    assert_eq!(
        whom,
        [(&Value::Null, &"203.0.113.0/24".into()), (&"bob".into(), &Value::Null)]
    );
    let table = tool.run(&["bans"]).await.exits(0);
    assert!(
        table.stdout.contains("it's spam") && table.stdout.contains("203.0.113.0/24"),
        "{table:?}"
    );

    tool.run(&["unban", "bob", "--reason", "ok"]).await.exits(0);
    let number = listed[0]["ban_index"].to_string();
    tool.run(&["unban", &number, "--reason", "ok"]).await.exits(0);
    tool.run(&["unban", &number, "--reason", "ok"]).await.exits(4);
    assert!(tool.objects(&["bans"]).await.is_empty());
    tool.run(&["ban", "nobody", "--yes", "--reason", "x"]).await.exits(4);
}

#[tokio::test]
async fn accounts_are_made_given_roles_reset_disabled_and_enabled() {
    let (server, tool, _bob) = with_bob().await;
    let made = tool
        .object(&["users", "create", "eve", "--display-name", "Eve", "--reason", "new"])
        .await;
    let code = made["code"].as_str().expect("there is a code");
    assert_eq!((&made["user"], &made["awaits_code"]), (&"eve".into(), &true.into()));
    let eve = User::reset_password(server.channel().await, "eve", code, PASSWORD)
        .await
        .expect("the code sets the first password");

    let role = [
        "users",
        "role",
        "eve",
        "operator",
        "investigator",
        "--yes",
        "--reason",
        "helps",
    ];
    tool.run(&role).await.exits(0);
    let shown = tool.object(&["users", "show", "eve"]).await;
    assert_eq!(shown["roles"], serde_json::json!(["operator", "investigator"]));
    tool.run(&role).await.exits(1);
    let last = tool.run(&["users", "role", "eve", "none", "--yes", "--reason", "x"]).await;
    assert!(last.exits(1).stderr.contains("hint: "));

    let reset = tool
        .run(&["users", "reset-password", "eve", "--yes", "--reason", "asked"])
        .await
        .exits(0);
    assert!(
        reset.stdout.contains("one-time code: ") && reset.stderr.contains("greffe reset-password eve"),
        "{reset:?}"
    );
    assert!(eve.sessions().await.is_err());

    tool.run(&["users", "disable", "bob", "--yes", "--reason", "gone"])
        .await
        .exits(0);
    let disabled = tool.object(&["users", "--disabled"]).await;
    assert_eq!(
        (&disabled["user"], &disabled["disabled"]),
        (&"bob".into(), &true.into())
    );
    tool.run(&["users", "enable", "bob", "--reason", "back"]).await.exits(0);
    assert!(tool.objects(&["users", "--disabled"]).await.is_empty());
    tool.run(&["users", "show", "nobody"]).await.exits(4);
}

#[tokio::test]
async fn alerts_notices_and_messages_reach_members() {
    let (server, tool, bob) = with_bob().await;
    let mut stream = bob.live().await;
    let alert = tool
        .object(&["alert", "Back", "soon", "--for", "1h", "--reason", "update"])
        .await;
    assert_eq!(alert["streams"], 1);
    let told = stream
        .wait_for("the alert", |kind| match kind {
            Kind::Alert(alert) => Some(alert.clone()),
            _ => None,
        })
        .await;
    assert_eq!(
        (told.text.as_str(), Some(told.index)),
        ("Back soon", alert["alert_index"].as_i64())
    );

    tool.run(&["notice", "Be nice", "--reason", "rules"]).await.exits(0);
    assert_eq!(server.info().await.notice, "Be nice");
    tool.run(&["notice", "--clear", "--reason", "enough"]).await.exits(0);
    assert_eq!(server.info().await.notice, "");

    let sent = tool
        .object(&["message", "bob", "hello \u{1b}[2J there", "--reason", "asked"])
        .await;
    let room = sent["room_id"].as_str().expect("there is a room");
    bob.send(room, "hello operator").await.expect("members can answer");
    let read = tool.run(&["message", "bob", "--reason", "answering"]).await.exits(0);
    assert!(
        read.stdout.contains("the operator") && read.stdout.contains("hello \\u{1b}[2J there"),
        "{read:?}"
    );
    let objects = tool.objects(&["message", "bob", "--reason", "answering"]).await;
    let texts: Vec<_> = objects
        .iter()
        .map(|message| (&message["by_operator"], &message["text"]))
        .collect();
    assert_eq!(
        texts,
        [
            (&true.into(), &"hello \u{1b}[2J there".into()),
            (&false.into(), &"hello operator".into())
        ]
    );
}

#[tokio::test]
async fn rooms_and_reports_are_dealt_with() {
    let (server, tool, bob) = with_bob().await;
    let general = server.general().await;
    let alice = server.user("alice").await;
    let receipt = bob.send(&general, "something rude").await.expect("bob may");
    alice.report(&general, receipt.seq, "rude").await.expect("alice may");
    let listed = tool.object(&["reports"]).await;
    assert_eq!(
        (&listed["reporter"], &listed["seq"]),
        (&"alice".into(), &receipt.seq.into())
    );
    assert!(!listed.to_string().contains("something rude"), "{listed}");
    let number = listed["report_index"].to_string();
    let read = tool.object(&["reports", "read", &number, "--reason", "looking"]).await;
    assert_eq!(
        (&read["author"], &read["text"]),
        (&"bob".into(), &"something rude".into())
    );
    let resolve = [
        "reports",
        "resolve",
        &number,
        "--resolution",
        "warned",
        "--reason",
        "done",
    ];
    tool.run(&resolve).await.exits(0);
    tool.run(&["reports", "read", &number, "--reason", "again"]).await.exits(4);

    let room = alice.public_room("Cellar").await;
    assert!(
        tool.objects(&["rooms"])
            .await
            .iter()
            .any(|found| found["room_id"] == room.as_str())
    );
    tool.run(&["rooms", "archive", "Cellar", "--yes", "--reason", "flooded"])
        .await
        .exits(0);
    let archived = tool.objects(&["rooms", "--kind", "public"]).await;
    assert!(archived[0]["archived_at"].is_string(), "{archived:?}");
    assert!(tool.objects(&["rooms", "--kind", "public", "--active"]).await.is_empty());
    tool.run(&["rooms", "archive", "general", "--yes", "--reason", "x"])
        .await
        .exits(1);
    tool.run(&["rooms", "archive", "nowhere", "--yes", "--reason", "x"])
        .await
        .exits(4);
}

#[tokio::test]
async fn every_act_is_in_the_audit_log_also_a_refused_one() {
    let (_server, tool, _bob) = with_bob().await;
    tool.run(&["kick", "bob", "--yes", "--reason", "too loud"]).await.exits(0);
    tool.run(&["kick", "nobody", "--yes", "--reason", "who?"]).await.exits(4);
    let rows = tool.objects(&["log", "audit", "-n", "2"]).await;
    assert_eq!(rows[0]["method"], "greffe.admin.v1.SessionAdminService/KickUser");
    assert_eq!(
        (&rows[0]["reason"], &rows[0]["arguments"]["user"], &rows[0]["refused"]),
        (&"too loud".into(), &"bob".into(), &Value::Null)
    );
    assert_eq!(
        (&rows[1]["reason"], &rows[1]["refused"]),
        (&"who?".into(), &"USER_NOT_FOUND".into())
    );
    assert!(rows[0]["os_user"].is_string(), "{rows:?}");
    let about_bob = tool.objects(&["log", "audit", "--user", "bob"]).await;
    assert_eq!(about_bob.len(), 1, "{about_bob:?}");
    let all = tool.objects(&["log", "audit", "--since", "1h"]).await;
    let kinds: Vec<_> = all.iter().map(|row| row["kind"].as_str().unwrap_or_default()).collect();
    assert_eq!(
        kinds,
        ["journal_created", "key_added", "operator_acted", "operator_acted"]
    );
    let key = all[1]["verifier_key"].as_str().unwrap_or_default();
    assert!(key.starts_with("greffe/") && all[1]["succession"] == "", "{all:?}");
    assert!(tool.objects(&["log", "audit", "--since", "2999-01-01"]).await.is_empty());

    let table = tool.run(&["log", "audit"]).await.exits(0);
    assert!(table.stdout.contains("KickUser by "), "{table:?}");
}

#[tokio::test]
async fn the_connection_log_has_addresses_and_ports_and_can_be_followed() {
    let (server, tool, _bob) = with_bob().await;
    let logins = tool.objects(&["log", "connections", "--user", "bob"]).await;
    let kinds: Vec<_> = logins.iter().map(|row| row["kind"].as_str().unwrap_or_default()).collect();
    assert_eq!(kinds, ["user_registered", "logged_in"]);
    // Where somebody signed up from stands with the login that this is too.
    let login = &logins[1];
    assert!(
        login["address"] == "127.0.0.1" && login["port"].as_u64() > Some(0),
        "{login}"
    );

    let mut child = tool
        .command(&["log", "connections", "--follow", "--json", "-n", "1"])
        .spawn()
        .expect("greffe-admin can be started");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let first = row(&mut lines).await;
    assert_eq!(first["kind"], "logged_in");
    server.login("bob").await;
    let next = row(&mut lines).await;
    assert_eq!((&next["kind"], &next["user"]), (&"logged_in".into(), &"bob".into()));
    assert!(next["index"].as_i64() > first["index"].as_i64(), "{next}");
}

async fn row(lines: &mut Lines<BufReader<ChildStdout>>) -> Value {
    let line = within("a row", lines.next_line()).await.expect("stdout can be read");
    serde_json::from_str(&line.expect("the command goes on")).expect("a row is an object")
}

#[tokio::test]
async fn what_was_done_since_a_backup_is_done_again_on_the_restored_server() {
    let (mut server, tool, _bob) = with_bob().await;
    server.user("carol").await;
    let dave = server.user("dave").await;
    tool.run(&["users", "create", "root0", "--role", "operator", "--reason", "first"])
        .await
        .exits(0);
    let copy = server.beside("copy");
    let made = tool.object(&["backup", &copy.to_string_lossy(), "--reason", "nightly"]).await;
    assert_eq!(made["path"], copy.to_string_lossy().as_ref());
    let since = made["time"].as_str().expect("the backup has a time").to_owned();

    for act in [
        &["ban", "bob", "--for", "7d", "--reason", "it's; $(spam) `x`"][..],
        &["ban", "203.0.113.0/24", "--reason", "spam"],
        &["users", "disable", "carol", "--reason", "gone"],
        &["users", "create", "eve", "--role", "operator", "--reason", "new"],
        &["users", "role", "root0", "investigator", "--reason", "moved"],
    ] {
        tool.run(&[act, &["--yes"]].concat()).await.exits(0);
    }
    tool.run(&["users", "disable", "nobody", "--yes", "--reason", "refused"])
        .await
        .exits(4);
    dave.change_password(PASSWORD, "another owl in the attic").await.unwrap();
    let script = tool.run(&["since", &since]).await.exits(0).stdout;
    assert_eq!(
        script.lines().filter(|line| line.starts_with("greffe-admin ")).count(),
        6,
        "{script}"
    );
    assert_eq!(
        script.lines().filter(|line| line.starts_with("# row ")).count(),
        6,
        "{script}"
    );

    let before = standing(&tool).await;
    assert!(server.terminate().await.success());
    std::fs::rename(server.data_dir(), server.beside("lost")).expect("it is ours");
    std::fs::rename(&copy, server.data_dir()).expect("it is ours");
    server.spawn().await.expect("a server starts on a backup");
    assert!(tool.objects(&["bans"]).await.is_empty());
    let mut shell = Command::new("sh");
    tool.prepare(&mut shell);
    shell.args(["-e", "-s"]).env("PATH", path_with(&binary())).stdin(Stdio::piped());
    finished(shell, &script).await.exits(0);
    assert_eq!(before, standing(&tool).await);
    // What dave changed the password from, perhaps because somebody knew it, was good again.
    let login = User::log_in(server.channel().await, "dave", PASSWORD).await;
    refused(login, ErrorReason::WrongCredentials);
}

/// Who is banned and why, and which accounts may do what.
async fn standing(tool: &Tool) -> Vec<Value> {
    let pick = |object: &Value, names: &[&str]| names.iter().map(|name| object[*name].clone()).collect();
    let bans = tool.objects(&["bans"]).await;
    let mut facts: Vec<Value> = bans.iter().map(|ban| pick(ban, &["user", "network", "reason"])).collect();
    for user in ["bob", "carol", "eve", "root0"] {
        let user = tool.object(&["users", "show", user]).await;
        facts.push(pick(&user, &["user", "disabled", "roles"]));
    }
    facts
}

/// The program's directory before the others.
fn path_with(program: &Path) -> std::ffi::OsString {
    let own = program.parent().expect("a program lies somewhere").to_owned();
    let others = std::env::var_os("PATH").unwrap_or_default();
    let all = [own].into_iter().chain(std::env::split_paths(&others));
    std::env::join_paths(all).expect("directories have no colons")
}

#[tokio::test]
async fn a_stop_can_be_ordered_taken_back_and_done() {
    let (mut server, tool, bob) = with_bob().await;
    let mut stream = bob.live().await;
    let ordered = tool.object(&["stop", "--in", "1h", "--yes", "--reason", "later"]).await;
    assert!(ordered["stop_at"].is_string(), "{ordered}");
    assert_eq!(tool.object(&["status"]).await["stop_at"], ordered["stop_at"]);
    tool.run(&["stop", "--cancel", "--reason", "not now"]).await.exits(0);
    tool.run(&["stop", "--cancel", "--reason", "not now"]).await.exits(1);
    assert_eq!(tool.object(&["status"]).await["stop_at"], Value::Null);

    tool.run(&["stop", "--yes", "--reason", "upgrade"]).await.exits(0);
    let ended = stream
        .wait_for("the end", |kind| match kind {
            Kind::Ended(ended) => Some(ended.clone()),
            _ => None,
        })
        .await;
    assert_eq!(
        (ended.reason(), ended.message.as_str()),
        (v1::EndReason::Maintenance, "upgrade")
    );
    assert!(server.wait().await.success());
    tool.run(&["status"]).await.exits(3);
}

#[tokio::test]
async fn draining_sends_everyone_away_until_it_ends() {
    let (server, tool, bob) = with_bob().await;
    let mut stream = bob.live().await;
    let drained = tool
        .object(&["drain", "--come-back", "5m", "--yes", "--reason", "moving"])
        .await;
    assert_eq!(drained["streams_closed"], 1);
    let (reason, _) = stream.ended().await;
    assert_eq!(reason, v1::EndReason::Draining);
    assert!(User::log_in(server.channel().await, "bob", PASSWORD).await.is_err());
    assert_eq!(tool.object(&["status"]).await["draining"], true);
    tool.run(&["drain", "--off", "--reason", "moved"]).await.exits(0);
    server.login("bob").await;
}

#[tokio::test]
async fn an_operator_acts_from_afar_after_a_login() {
    let server = Server::start_with(Options {
        arguments: ["--admin-listen", "127.0.0.1:0", "--tls-self-signed"].map(str::to_owned).into(),
        ..Options::default()
    })
    .await;
    let local = Tool::of(&server);
    let made = local
        .object(&["users", "create", "olga", "--role", "operator", "--reason", "first"])
        .await;
    let code = made["code"].as_str().expect("there is a code");
    User::reset_password(server.channel().await, "olga", code, PASSWORD)
        .await
        .expect("the code sets the first password");

    let url = format!("https://{}", server.admin_address());
    let afar = Tool::of(&server);
    let there = |arguments: &[&'static str]| [&["--server"], &[url.as_str()][..], arguments].concat();
    afar.run(&there(&["status"])).await.exits(5);
    let wrong = afar
        .run_with_input(&there(&["login", "olga", "--password-stdin"]), "not the password\n")
        .await;
    wrong.exits(5);
    let login = afar
        .run_with_input(&there(&["login", "olga", "--password-stdin"]), &format!("{PASSWORD}\n"))
        .await
        .exits(0);
    assert!(login.stderr.contains("logged in to https://"), "{login:?}");
    let whoami = afar.object(&there(&["whoami"])).await;
    assert_eq!(
        (&whoami["operator"], &whoami["roles"]),
        (&"olga".into(), &serde_json::json!(["operator"]))
    );
    afar.run(&there(&["unban", "olga", "--reason", "x"])).await.exits(4);
    let shown = afar
        .run(&there(&["alert", "hello", "--reason", "x", "--show-rpc"]))
        .await
        .exits(0);
    assert!(
        shown.stderr.contains("grpcurl -H \"authorization: Bearer $TOKEN\" -d "),
        "{shown:?}"
    );
    let row = local.object(&["log", "audit", "-n", "1"]).await;
    assert_eq!((&row["operator"], &row["os_user"]), (&"olga".into(), &Value::Null));
    assert!(row["address"] == "127.0.0.1" && row["port"].as_u64() > Some(0), "{row}");
    afar.run(&there(&["logout"])).await.exits(0);
    afar.run(&there(&["whoami"])).await.exits(5);
}

/// The prompt on a terminal of its own, which `script` makes.
struct Prompt {
    child: Child,
    keys: ChildStdin,
    screen: ChildStdout,
    seen: String,
}

impl Prompt {
    fn open(tool: &Tool) -> Self {
        let program = binary().with_file_name("greffe-admin");
        let mut command = Command::new("script");
        tool.prepare(&mut command);
        let quoted = format!("'{}'", program.display());
        command
            .args(["-qec", &quoted, "/dev/null"])
            .env("TERM", "dumb")
            .stdin(Stdio::piped());
        let mut child = command.spawn().expect("script, of util-linux, can be started");
        Self {
            keys: child.stdin.take().expect("stdin is piped"),
            screen: child.stdout.take().expect("stdout is piped"),
            child,
            seen: String::new(),
        }
    }

    async fn types(&mut self, line: &str) {
        let keys = format!("{line}\n");
        self.keys.write_all(keys.as_bytes()).await.expect("the prompt reads");
    }

    /// Waits until a text appears after what was waited for before.
    async fn shows(&mut self, text: &str) {
        let mut bytes = [0; 4096];
        let found = async {
            loop {
                if let Some(at) = self.seen.find(text) {
                    self.seen.drain(..at + text.len());
                    return;
                }
                let count = self.screen.read(&mut bytes).await.unwrap_or(0);
                assert!(count > 0, "the prompt ended before {text:?}: {}", self.seen);
                self.seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        };
        within(text, found).await;
    }

    async fn ends(mut self) {
        drop(self.keys);
        let status = within("the prompt's end", self.child.wait())
            .await
            .expect("it can be waited for");
        assert!(status.success(), "{status}");
    }
}

#[tokio::test]
async fn the_prompt_takes_commands_and_the_old_words() {
    let (mut server, tool, bob) = with_bob().await;
    let mut stream = bob.live().await;
    let mut prompt = Prompt::open(&tool);
    prompt.shows("greffe-admin> ").await;
    prompt.types("#ListU").await;
    prompt.shows("bob").await;
    prompt.shows("greffe-admin> ").await;
    prompt.types("#Alert it's late").await;
    prompt.shows("alerted 1 stream").await;
    stream
        .wait_for("the alert", |kind| match kind {
            Kind::Alert(alert) => (alert.text == "it's late").then_some(()),
            _ => None,
        })
        .await;
    prompt.types("/private BOB").await;
    prompt.shows("each line is a message to bob").await;
    prompt.shows("@bob> ").await;
    prompt.types("kick bob is what I could do").await;
    prompt.shows("sent to bob").await;
    stream.message("kick bob is what I could do").await;
    prompt.types("#Private").await;
    prompt.shows("greffe-admin> ").await;
    prompt.types("#ListF").await;
    prompt.shows("no files").await;
    prompt.types("nonsense").await;
    prompt.shows("unrecognized subcommand").await;
    prompt.types("#Kill bob too loud").await;
    prompt.shows("bob (1 session, 1 live stream").await;
    prompt.shows("[y/N]").await;
    prompt.types("y").await;
    prompt.shows("kicked bob: 1 session ended, 1 stream closed").await;
    stream
        .ends_with(v1::EndReason::Kicked, Code::PermissionDenied, ErrorReason::Kicked)
        .await;
    prompt.types("#Exit").await;
    prompt.shows("Reason: ").await;
    prompt.types("upgrade").await;
    prompt.shows("[y/N]").await;
    prompt.types("y").await;
    prompt.shows("the server stops").await;
    prompt.ends().await;
    assert!(server.wait().await.success());
}

#[tokio::test]
async fn files_are_listed_withheld_given_back_and_taken_away() {
    let (server, tool, bob) = with_bob().await;
    let general = server.general().await;
    let file = crate::files::put(&bob, &general, "plan\u{1b}[31m", &[7; 3000]).await.unwrap();
    let shown = tool.run(&["files"]).await.exits(0);
    assert!(
        shown.stdout.contains("bob") && shown.stdout.contains(&file.id),
        "{shown:?}"
    );
    assert!(!shown.stdout.contains('\u{1b}'), "{shown:?}");
    let listed = tool
        .run(&["--json", "files", "list", "--user", "bob", "--larger", "2K"])
        .await
        .exits(0);
    let object = &listed.objects()[0];
    assert_eq!(
        (object["id"].as_str(), object["size"].as_i64()),
        (Some(&file.id[..]), Some(3000))
    );
    assert_eq!((&object["author"], &object["state"]), (&"bob".into(), &"shared".into()));
    let none = tool.run(&["--json", "files", "--larger", "3K"]).await.exits(0);
    assert_eq!(none.stdout, "");

    tool.run(&["files", "quarantine", &file.id]).await.exits(2);
    tool.run(&["files", "quarantine", &file.id, "--reason", "malware"])
        .await
        .exits(0);
    let listed = tool.run(&["--json", "files", "--state", "quarantined"]).await.exits(0);
    assert_eq!(listed.objects()[0]["quarantine_reason"], "malware");
    tool.run(&["files", "release", &file.id, "--reason", "a mistake"])
        .await
        .exits(0);
    tool.run(&["files", "delete", &file.id, "--reason", "off topic"]).await.exits(2);
    tool.run(&["files", "delete", &file.id, "--reason", "off topic", "--yes"])
        .await
        .exits(0);
    tool.run(&["files", "delete", &file.id, "--reason", "off topic", "--yes"])
        .await
        .exits(1);
    tool.run(&["files", "release", "fnothing", "--reason", "x"]).await.exits(4);
    let usage = tool.run(&["--json", "files", "usage"]).await.exits(0);
    assert_eq!(usage.objects()[0]["bytes"], 3000);
    assert_eq!(usage.objects()[1]["user"], "bob");
}

#[tokio::test]
async fn leaving_the_prompt_does_not_stop_the_server() {
    let (_server, tool, _bob) = with_bob().await;
    for word in ["quit", "exit", "#Quit"] {
        let mut prompt = Prompt::open(&tool);
        prompt.shows("greffe-admin> ").await;
        prompt.types(word).await;
        prompt.ends().await;
    }
    assert_eq!(tool.object(&["status"]).await["draining"], false);
}
