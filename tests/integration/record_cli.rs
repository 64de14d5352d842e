//! `greffe-admin` and the record: cases, readings, holds, erasures, exports, as those who work with them type and see them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Command;

use crate::files::put;
use crate::support::server::binary;
use crate::support::tool::{Tool, finished};
use crate::support::{Options, PASSWORD, Server, User, eventually};

/// What opens a case, but for whom it is about.
const OPEN: [&str; 10] = [
    "case",
    "open",
    "--reference",
    "1 Kls 2/26",
    "--basis",
    "order of a court",
    "--from",
    "2h",
    "--to",
    "in 1h",
];

/// A server with its tool, and three people who talk: in `general`, in bob's private room `den`, and bob with alice alone.
struct Talk {
    server: Server,
    tool: Tool,
    alice: User,
    bob: User,
    general: String,
    den: String,
    direct: String,
}

impl Talk {
    async fn start() -> Self {
        Self::on(Server::start(&[]).await).await
    }

    async fn on(server: Server) -> Self {
        let tool = Tool::of(&server);
        let (alice, bob) = (server.user("alice").await, server.user("bob").await);
        let general = server.general().await;
        let den = bob.private_room("den").await;
        let direct = bob.direct_room(&alice).await;
        bob.send(&general, "bob to all").await.unwrap();
        alice.send(&general, "alice to all").await.unwrap();
        bob.send(&den, "a secret \u{1b}[2J\nin two lines").await.unwrap();
        let hushed = bob.send(&direct, "between us").await.unwrap();
        alice.send(&direct, "alice alone").await.unwrap();
        bob.edit(&direct, hushed.seq, "nothing").await.unwrap();
        bob.delete(&direct, hushed.seq).await.unwrap();
        Self {
            server,
            tool,
            alice,
            bob,
            general,
            den,
            direct,
        }
    }

    /// Opens a case; its number.
    async fn case(&self, subjects: &[&str]) -> String {
        let named: Vec<&str> = subjects.iter().flat_map(|subject| ["--subject", *subject]).collect();
        let case = self.tool.object(&[&OPEN[..], &named].concat()).await;
        case["id"].as_i64().expect("a case has a number").to_string()
    }
}

fn texts(rows: &[Value]) -> Vec<&str> {
    rows.iter().filter_map(|row| row["text"].as_str()).collect()
}

#[tokio::test]
async fn who_wrote_what_is_shown_within_a_case_and_nothing_else_is() {
    let talk = Talk::start().await;
    let tool = &talk.tool;
    let case = tool
        .object(&[&OPEN[..], &["--subject", "bob", "--expires", "30d"]].concat())
        .await;
    assert_eq!(
        (&case["reference"], &case["basis"], &case["state"]),
        (&"1 Kls 2/26".into(), &"order of a court".into(), &"open".into())
    );
    assert_eq!(
        case["subjects"],
        json!([{"kind": "user", "id": talk.bob.id, "name": "bob"}])
    );
    for member in ["from", "to", "expires", "opened_at", "opened_by"] {
        assert!(case[member].is_string(), "{member}: {case}");
    }
    let id = case["id"].to_string();

    let rows = tool.objects(&["log", "chat", "--case", &id]).await;
    assert_eq!(
        texts(&rows),
        [
            "bob to all",
            "a secret \u{1b}[2J\nin two lines",
            "between us",
            "nothing"
        ]
    );
    assert_eq!(rows.last().map(|row| &row["kind"]), Some(&"message_deleted".into()));
    assert!(rows.iter().all(|row| row["actor_name"] == "bob" && row["state"] == "present"));
    let shown = tool.run(&["log", "chat", "--case", &id]).await.exits(0);
    assert!(
        shown.stdout.contains("den #2") && shown.stdout.contains("bob wrote: a secret \\u{1b}[2J\\nin two lines\n"),
        "{shown:?}"
    );
    assert!(
        !shown.stdout.contains('\u{1b}') && !shown.stdout.contains("alice"),
        "{shown:?}"
    );
    assert!(
        shown.stderr.contains("this reading is on record: 1 page, the last one row "),
        "{shown:?}"
    );

    // Narrower, by the name of a private room and by the id of a direct one; and page by page.
    for room in ["den", "#den", "room:den", talk.den.as_str()] {
        let rows = tool.objects(&["log", "chat", "--case", &id, "--room", room]).await;
        assert_eq!(texts(&rows), ["a secret \u{1b}[2J\nin two lines"], "{room}");
    }
    let rows = tool
        .objects(&["case", "read", &id, "--room", &talk.direct, "--user", "@Bob"])
        .await;
    assert_eq!(texts(&rows), ["between us", "nothing"]);
    let first = tool.objects(&["case", "read", &id, "-n", "3"]).await;
    assert_eq!(first.len(), 3);
    let after = first[2]["index"].to_string();
    let rest = tool.objects(&["case", "read", &id, "--after", &after]).await;
    assert_eq!([first, rest].concat(), tool.objects(&["case", "read", &id]).await);

    // What is outside of it is refused, and that is on record.
    let outside = tool.run(&["case", "read", &id, "--user", "alice"]).await.exits(5);
    assert!(
        outside.stdout.is_empty() && outside.stderr.contains("hint: "),
        "{outside:?}"
    );
    tool.run(&["log", "chat", "--case", &id, "--since", "3h"]).await.exits(5);
    tool.run(&["case", "read", "999999"]).await.exits(4);
    tool.run(&["case", "close", &id, "--reason", "handed over"]).await.exits(0);
    let closed = tool.run(&["log", "chat", "--case", &id]).await.exits(1);
    assert!(closed.stdout.is_empty(), "{closed:?}");
    let shown = tool.object(&["case", "show", &id]).await;
    assert_eq!(shown["state"], "closed");

    let acts = tool.objects(&["log", "audit"]).await;
    let of = |method: &str| {
        let ends = |act: &&Value| act["method"].as_str().is_some_and(|name| name.ends_with(method));
        acts.iter().filter(ends).collect::<Vec<_>>()
    };
    let readings = of("/ReadCase");
    // A row for each of the commands above that had got so far: four for each form of the room's name among them.
    assert_eq!(readings.len(), 2 + 4 + 1 + 3 + 2 + 1, "{readings:?}");
    let refusals = ["OUT_OF_SCOPE", "OUT_OF_SCOPE", "CASE_NOT_OPEN"];
    let refused: Vec<_> = readings.iter().filter_map(|act| act["refused"].as_str()).collect();
    assert_eq!(refused, refusals);
    assert!(readings.iter().all(|act| act["reason"] == "1 Kls 2/26"), "{readings:?}");
    assert_eq!(of("/CloseCase")[0]["reason"], "handed over");
}

#[tokio::test]
async fn subjects_are_looked_up_before_a_case_is_opened() {
    let talk = Talk::start().await;
    let tool = &talk.tool;
    talk.alice.private_room("den").await;
    talk.alice.public_room("bob").await;
    let open = async |subject: &str| tool.run(&[&OPEN[..], &["--subject", subject]].concat()).await;

    let both = open("bob").await.exits(2);
    assert!(
        both.stderr.contains("bob is a user and a room")
            && both.stderr.contains("write @bob for the user, room:bob for the room"),
        "{both:?}"
    );
    let several = open("den").await.exits(2);
    assert!(
        several.stderr.contains("2 rooms are called den") && several.stderr.contains(&format!("room:{}", talk.den)),
        "{several:?}"
    );
    open("nobody").await.exits(4);
    open("@nobody").await.exits(4);
    open("room:nothing").await.exits(4);
    assert_eq!(tool.objects(&["case", "list"]).await, [Value::Null; 0]);

    for (subject, kind, id) in [
        ("@Bob", "user", &talk.bob.id),
        ("alice", "user", &talk.alice.id),
        (talk.bob.id.as_str(), "user", &talk.bob.id),
        ("#general", "room", &talk.general),
        (talk.den.as_str(), "room", &talk.den),
        (talk.direct.as_str(), "room", &talk.direct),
    ] {
        let number = talk.case(&[subject]).await;
        let case = tool.object(&["case", "show", &number]).await;
        let found = &case["subjects"][0];
        assert_eq!(
            (&found["kind"], &found["id"]),
            (&kind.into(), &id.as_str().into()),
            "{subject}"
        );
    }
    let both = talk.case(&["@bob", "room:general"]).await;
    let rows = tool.objects(&["log", "chat", "--case", &both]).await;
    assert_eq!(texts(&rows), ["bob to all"]);
    let listed = tool.run(&["case", "list"]).await.exits(0);
    assert!(listed.stdout.contains("@bob #general"), "{listed:?}");
}

#[tokio::test]
async fn what_is_held_is_not_erased_and_releasing_it_erases() {
    let talk = Talk::start().await;
    let tool = &talk.tool;
    put(&talk.bob, &talk.general, "plan.txt", b"a plan").await.unwrap();
    let case = talk.case(&["@bob"]).await;
    let hold = tool.object(&["hold", "add", "--case", &case]).await;
    assert_eq!(hold["subjects"][0]["name"], "bob");
    let number = hold["id"].to_string();

    let erase = ["erase", "@bob", "--basis", "Art. 17", "--reason", "he asked", "--yes"];
    let refused = tool.run(&erase).await.exits(1);
    assert!(
        refused.stdout.is_empty() && refused.stderr.contains(&format!("hint: hold {number} keeps it")),
        "{refused:?}"
    );
    let erasures = tool.objects(&["erasures"]).await;
    assert_eq!((erasures.len(), &erasures[0]["state"]), (1, &"held".into()));
    let id = erasures[0]["id"].to_string();
    assert_eq!(texts(&tool.objects(&["log", "chat", "--case", &case]).await).len(), 4);

    let released = tool
        .object(&["hold", "release", &number, "--reason", "the court is done"])
        .await;
    assert_eq!(released["erasures"], json!([erasures[0]["id"]]));
    eventually("the end of the erasure", || async {
        let erasure = tool.object(&["erasures", "show", &id]).await;
        (erasure["state"] == "done").then_some(())
    })
    .await;
    assert_eq!(tool.objects(&["hold", "list"]).await, [Value::Null; 0]);
    let rows = tool.objects(&["log", "chat", "--case", &case]).await;
    // That something was deleted says nothing of what it was.
    let erased = |row: &Value| row["state"] == "erased" || row["kind"] == "message_deleted";
    assert!(
        rows.len() >= 5 && rows.iter().all(erased) && texts(&rows).is_empty(),
        "{rows:?}"
    );
    let shown = tool.run(&["log", "chat", "--case", &case]).await.exits(0);
    assert!(
        shown.stdout.contains("message posted (erased)") && !shown.stdout.contains("bob"),
        "{shown:?}"
    );
    // It stands, whatever hold refused it: a restored server has to be told.
    let since = tool.run(&["since", "1h"]).await.exits(0);
    let told = since.stdout.lines().find(|line| line.contains("ErasureService/Erase"));
    assert!(
        told.is_some_and(|line| line.starts_with("# judge yourself: ") && line.contains(&talk.bob.id)),
        "{since:?}"
    );
    assert!(since.stdout.lines().all(|line| line.starts_with('#')), "{since:?}");
}

#[tokio::test]
async fn an_erasure_asks_and_then_waits_until_it_is_done() {
    let talk = Talk::start().await;
    let tool = &talk.tool;
    let unasked = tool
        .run(&["erase", "@bob", "--basis", "Art. 17", "--reason", "he asked"])
        .await
        .exits(2);
    assert!(unasked.stderr.contains("hint: give --yes"), "{unasked:?}");
    let done = tool
        .object(&["erase", "@bob", "--basis", "Art. 17", "--reason", "he asked", "--yes"])
        .await;
    assert_eq!((&done["state"], &done["basis"]), (&"done".into(), &"Art. 17".into()));
    assert!(done["done_at"].is_string() && done["rows"].as_i64() > Some(3), "{done}");
    tool.run(&["users", "show", "bob"]).await.exits(4);
    let room = [
        "erase",
        "room:den",
        "--basis",
        "b",
        "--reason",
        "r",
        "--yes",
        "--no-wait",
    ];
    let begun = tool.object(&room).await;
    assert_eq!(
        (&begun["subject"]["kind"], &begun["subject"]["id"]),
        (&"room".into(), &talk.den.as_str().into())
    );
    tool.run(&["erase", "room:general", "--basis", "b", "--reason", "r", "--yes"])
        .await
        .exits(1);
    tool.run(&["erase", "@nobody", "--basis", "b", "--reason", "r", "--yes"])
        .await
        .exits(4);
    tool.run(&["erasures", "show", "999999"]).await.exits(4);
}

#[tokio::test]
async fn how_long_data_is_kept_is_shown_and_set() {
    let server = Server::start(&[]).await;
    let tool = Tool::of(&server);
    let classes = tool.objects(&["retention"]).await;
    let kept: Vec<_> = classes
        .iter()
        .map(|class| {
            (
                class["class"].as_str().unwrap_or_default(),
                class["keep"].as_str().unwrap_or_default(),
            )
        })
        .collect();
    assert_eq!(
        kept,
        [("messages", "forever"), ("files", "forever"), ("connections", "365d")]
    );
    // Less is asked for, more is not.
    tool.run(&["retention", "set", "messages", "90d", "--reason", "policy"])
        .await
        .exits(2);
    let set = tool
        .object(&["retention", "set", "messages", "90d", "--reason", "policy", "--yes"])
        .await;
    assert_eq!((&set["class"], &set["keep"]), (&"messages".into(), &"90d".into()));
    tool.run(&["retention", "set", "messages", "730d", "--reason", "policy"])
        .await
        .exits(0);
    tool.run(&["retention", "set", "messages", "forever", "--reason", "policy"])
        .await
        .exits(0);
    let short = tool
        .run(&["retention", "set", "files", "1m", "--reason", "policy", "--yes"])
        .await;
    assert_eq!(short.code, Some(1), "{short:?}");
}

/// Makes an account with a role, and logs it in from afar; the tool, and the arguments with which it gets there.
async fn investigator(server: &Server, local: &Tool, name: &str) -> (Tool, [String; 2]) {
    let made = local
        .object(&[
            "users",
            "create",
            name,
            "--role",
            "investigator",
            "--reason",
            "works with the record",
        ])
        .await;
    let code = made["code"].as_str().expect("there is a code");
    User::reset_password(server.channel().await, name, code, PASSWORD)
        .await
        .expect("the code sets the first password");
    let afar = Tool::of(server);
    let there = ["--server".to_owned(), format!("https://{}", server.admin_address())];
    let login = [there[0].as_str(), &there[1], "login", name, "--password-stdin"];
    afar.run_with_input(&login, &format!("{PASSWORD}\n")).await.exits(0);
    (afar, there)
}

#[tokio::test]
async fn two_investigators_open_and_approve_a_case_and_neither_is_an_operator() {
    let arguments = ["--tls-self-signed", "--admin-listen", "127.0.0.1:0"];
    let server = Server::start_with(Options {
        arguments: arguments.map(str::to_owned).into(),
        ..Options::default()
    })
    .await;
    let talk = Talk::on(server).await;
    let (ina, there) = investigator(&talk.server, &talk.tool, "ina").await;
    let (ivo, _) = investigator(&talk.server, &talk.tool, "ivo").await;
    let at = |arguments: &[&str]| -> Vec<String> {
        let given = arguments.iter().map(|argument| (*argument).to_owned());
        there.iter().cloned().chain(given).collect()
    };
    let run = async |tool: &Tool, arguments: &[&str]| {
        let arguments = at(arguments);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        tool.run(&arguments).await
    };

    // Over the socket everybody is the same.
    let needs = |subject| [&OPEN[..], &["--needs-approval", "--json", "--subject", subject]].concat();
    talk.tool.run(&needs("@bob")).await.exits(5);
    // Only operators list users and rooms.
    let bare = run(&ina, &needs("bob")).await.exits(2);
    assert!(
        bare.stderr.contains("write @bob for a user, room:bob for a room"),
        "{bare:?}"
    );
    let opened = run(&ina, &needs("@bob")).await.exits(0).objects().remove(0);
    assert_eq!(
        (&opened["state"], &opened["opened_by"]),
        (&"awaiting_approval".into(), &"ina".into())
    );
    let id = opened["id"].to_string();
    run(&ina, &["log", "chat", "--case", &id]).await.exits(1);
    run(&ina, &["case", "approve", &id, "--reason", "it is mine"]).await.exits(5);
    talk.tool.run(&["case", "approve", &id, "--reason", "as root"]).await.exits(5);
    run(&ivo, &["case", "approve", &id, "--reason", "the order is there"])
        .await
        .exits(0);
    let read = run(&ina, &["log", "chat", "--case", &id, "--json"]).await.exits(0);
    assert_eq!(texts(&read.objects()).len(), 4);
    let case = run(&ivo, &["case", "show", &id, "--json"]).await.exits(0).objects().remove(0);
    assert_eq!((&case["state"], &case["approved_by"]), (&"open".into(), &"ivo".into()));
    run(&ina, &["status"]).await.exits(5);
}

/// A way to the operators' socket that breaks each time that so many bytes have come back over it.
struct Breaking {
    socket: std::path::PathBuf,
    links: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl Breaking {
    fn to(server: &Server, after: u64) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let socket = directory.path().join("breaking.sock");
        let listener = UnixListener::bind(&socket).expect("a socket can be made");
        let links = Arc::new(AtomicUsize::new(0));
        let (target, counted) = (server.data_dir().join("admin.sock"), Arc::clone(&links));
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = UnixStream::connect(&target).await.expect("the server accepts");
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let ((mut from_near, mut to_near), (from_far, mut to_far)) = (near.into_split(), far.into_split());
                    let mut down = from_far.take(after);
                    tokio::select! {
                        _ = tokio::io::copy(&mut from_near, &mut to_far) => {}
                        _ = tokio::io::copy(&mut down, &mut to_near) => {}
                    }
                });
            }
        });
        Self {
            socket,
            links,
            task,
            _directory: directory,
        }
    }
}

impl Drop for Breaking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The files below a directory, by path.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            let below = contents(&entry.path()).into_iter();
            found.extend(below.map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
        } else {
            found.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
    found
}

#[tokio::test]
async fn an_export_has_what_the_case_shows_and_comes_whole_over_a_link_that_breaks() {
    let talk = Talk::start().await;
    let tool = &talk.tool;
    let plan: Vec<u8> = (0..900_000_u32).flat_map(u32::to_le_bytes).collect();
    for part in plan.chunks(1_000_000) {
        put(&talk.bob, &talk.den, "plan.bin", part).await.unwrap();
    }
    let case = talk.case(&["@bob"]).await;
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name).to_string_lossy().into_owned();

    let breaking = Breaking::to(&talk.server, 1_500_000);
    let socket = breaking.socket.to_string_lossy().into_owned();
    let out = at("out");
    let export = tool.object(&["export", "--case", &case, "-o", &out, "--socket", &socket]).await;
    assert!(breaking.links.load(Ordering::Relaxed) > 2, "the link has not broken");
    assert_eq!(
        (&export["path"], export["case"].to_string()),
        (&out.as_str().into(), case.clone())
    );
    let files = contents(&place.path().join("out"));
    let manifest = ring::digest::digest(&ring::digest::SHA256, &files["manifest"]);
    let hex = manifest.as_ref().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string takes everything");
        hex
    });
    assert_eq!(export["manifest_sha256"], hex);
    assert_eq!(files.keys().filter(|name| name.starts_with("files/")).count(), 4);
    assert_eq!(export["counts"]["files"], 4);

    // What was read within the case is what was exported, word for word.
    let lines = String::from_utf8(files["messages.jsonl"].clone()).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut rows = tool.objects(&["case", "read", &case]).await;
    for row in &mut rows {
        let row = row.as_object_mut().unwrap();
        if row["kind"] != "room_created" {
            row.remove("room_kind");
        }
    }
    assert_eq!(rows, lines);

    // The journal has the hash that was printed.
    let made = tool.objects(&["log", "audit"]).await;
    assert!(
        made.iter().any(|row| row["manifest_sha256"] == hex.as_str()),
        "{made:?}"
    );

    tool.run(&["verify", &out]).await.exits(0);

    // In an archive, and without what is not part of it.
    let archive = at("out.tar");
    let object = tool
        .object(&[
            "export",
            "--case",
            &case,
            "-o",
            &archive,
            "--bodies-only",
            "--reason",
            "for the other side",
        ])
        .await;
    assert_eq!(object["bodies_only"], true);
    let verified = tool.run(&["verify", &archive]).await.exits(0);
    assert!(
        [verified.stdout, verified.stderr].concat().contains("completeness"),
        "it does not say what is not proved"
    );
    let modes = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&archive).unwrap().permissions());
    assert_eq!(modes & 0o777, 0o600);
    tool.run(&["export", "--case", &case, "-o", &archive]).await.exits(1);
    tool.run(&["case", "close", &case, "--reason", "done"]).await.exits(0);
    let closed = tool.run(&["export", "--case", &case, "-o", &at("late")]).await.exits(1);
    assert!(
        closed.stderr.contains("closed") && !place.path().join("late").exists(),
        "{closed:?}"
    );
}

#[tokio::test]
async fn a_member_fetches_what_they_did_once_in_a_while() {
    let talk = Talk::start().await;
    let place = tempfile::tempdir().unwrap();
    let export = async |name: &str| {
        let mut command = Command::new(binary().with_file_name("greffe"));
        command
            .args([
                "--server",
                &format!("http://{}", talk.server.address()),
                "export",
                "--json",
                "-o",
            ])
            .arg(place.path().join(name))
            .env("GREFFE_CONFIG_DIR", place.path().join("config"))
            .env("GREFFE_TOKEN", &talk.bob.token)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        finished(command, "").await
    };
    export("mine").await.exits(0);
    let files = contents(&place.path().join("mine"));
    let lines = String::from_utf8(files["messages.jsonl"].clone()).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        texts(&lines),
        [
            "bob to all",
            "a secret \u{1b}[2J\nin two lines",
            "between us",
            "nothing"
        ]
    );
    assert!(!files.values().any(|bytes| bytes.windows(5).any(|window| window == b"alice")));
    let mine = place.path().join("mine");
    talk.tool.run(&["verify", &mine.to_string_lossy()]).await.exits(0);
    let soon = export("again").await.exits(1);
    assert!(
        soon.stderr.contains("RATE_LIMITED") && soon.stderr.contains("come back in"),
        "{soon:?}"
    );
    assert!(!place.path().join("again").exists());
}
