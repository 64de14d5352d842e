//! Exports: exactly what was ordered, the same bytes each time, and a proof that finds whatever is changed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};

use greffe_api::record::export::verify::{Known, Verdict, VerifyError, verify};
use greffe_api::record::key::SigningKey;
use greffe_api::record::note::Note;
use record::download_export_response::Piece;
use record::export_service_client::ExportServiceClient;
use tonic::transport::Channel;
use v1::export_my_data_response::Piece as Own;
use v1::proof_service_client::ProofServiceClient;

use crate::cases::{about, open};
use crate::files::{bytes, put};
use crate::support::chance::Chance;
use crate::support::{
    ErrorReason, Operator, PASSWORD, Refusal, Server, User, record, refused, request_id, setting, v1, within,
};

/// The files of an export, by name.
type Files = BTreeMap<String, Vec<u8>>;

/// Orders an export of a case.
async fn order(operator: &Operator, case: &record::Case, bodies_only: bool) -> i64 {
    let request = record::OrderExportRequest {
        case_index: case.index,
        bodies_only,
        ..record::OrderExportRequest::default()
    };
    operator.act(request, "the court ordered it").await.unwrap().export_index
}

/// Fetches an export, or what of it comes from a place on.
async fn fetch(channel: Channel, export: i64, file: &str, offset: i64) -> Result<Files, Refusal> {
    let mut client = ExportServiceClient::new(channel);
    let request = record::DownloadExportRequest {
        request_id: request_id(),
        reason: "the court ordered it".into(),
        export_index: export,
        file: file.into(),
        offset,
    };
    let mut pieces = within("an export", client.download_export(request)).await?.into_inner();
    let (mut files, mut name) = (Files::new(), String::new());
    while let Some(answer) = within("a piece", pieces.message()).await? {
        match answer.piece.expect("a piece is something") {
            Piece::Progress(_) => {}
            Piece::File(file) => {
                name.clone_from(&file.name);
                files.insert(file.name, Vec::new());
            }
            Piece::Data(data) => files.get_mut(&name).expect("a file has begun").extend_from_slice(&data),
        }
    }
    Ok(files)
}

async fn own_export(user: &User) -> Result<Files, Refusal> {
    let mut client = ProofServiceClient::new(user.channel());
    let call = client.export_my_data(user.request(v1::ExportMyDataRequest {}));
    let mut pieces = within("an export", call).await?.into_inner();
    let (mut files, mut name) = (Files::new(), String::new());
    while let Some(answer) = within("a piece", pieces.message()).await? {
        match answer.piece.expect("a piece is something") {
            Own::File(file) => {
                files.insert(file.clone(), Vec::new());
                name = file;
            }
            Own::Data(data) => files.get_mut(&name).expect("a file has begun").extend_from_slice(&data),
        }
    }
    Ok(files)
}

fn write(files: &Files, directory: &Path) {
    let _ = std::fs::remove_dir_all(directory);
    std::fs::create_dir_all(directory.join("files")).unwrap();
    for (name, content) in files {
        std::fs::write(directory.join(name), content).unwrap();
    }
}

fn known() -> Known {
    Known {
        tool: Some(concat!("greffe/", env!("CARGO_PKG_VERSION")).to_owned()),
        ..Known::default()
    }
}

fn verified(files: &Files, directory: &Path) -> Verdict {
    write(files, directory);
    let verdict = verify(directory, &known()).unwrap_or_else(|error| panic!("{error}"));
    assert!(
        !verdict.notes.iter().any(|note| note.contains("makes others")),
        "{verdict:?}"
    );
    verdict
}

/// What the other verifier says: its exit code. None if it cannot run here, because `tests/run` has not prepared it.
fn in_python(directory: &Path, arguments: &[&str]) -> Option<i32> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it is in the workspace");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("it is in the target directory");
    let python = target.join("tools/python/bin/python");
    let script = root.join("server/verify/greffe_verify.py");
    if !python.exists() {
        return None;
    }
    let output = Command::new(python).arg(script).arg(directory).args(arguments).output();
    let output = output.expect("python can be run");
    let code = output.status.code().expect("it ends by itself");
    assert!([0, 1].contains(&code), "{}", String::from_utf8_lossy(&output.stderr));
    Some(code)
}

/// Whether some bytes are in an export.
fn has(files: &Files, wanted: &str) -> Option<String> {
    let wanted = wanted.as_bytes();
    let found = files
        .iter()
        .find(|(_, content)| content.windows(wanted.len()).any(|window| window == wanted));
    found.map(|(name, _)| name.clone())
}

/// Three people who talk, edit, delete, exchange files; one is kicked.
struct Story {
    server: Server,
    operator: Operator,
    den: String,
    content: Vec<u8>,
    users: [User; 3],
}

async fn story() -> Story {
    let server = Server::start(&[]).await;
    let (alice, carol) = (server.user("alice").await, server.user("carol").await);
    // Somebody from elsewhere.
    let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 77));
    let bob = User::register(server.channel_from(address).await, "bobby", PASSWORD)
        .await
        .unwrap();
    let operator = server.operator().await;
    let general = server.general().await;
    let den = alice.private_room_with("the den", &[&bob]).await;
    let cellar = bob.private_room_with("the cellar", &[&carol]).await;
    let direct = alice.direct_room(&carol).await;
    alice.send(&general, "alice to everybody").await.unwrap();
    bob.send(&general, "bobs words to everybody").await.unwrap();
    let first = alice.send(&den, "alice <i>first</i> & \u{202E}text").await.unwrap();
    alice.edit(&den, first.seq, "alice second text").await.unwrap();
    let reply = bob.reply(&den, first.seq, "bobs words in the den").await.unwrap();
    alice.react(&den, reply.seq, "🦉").await.unwrap();
    let gone = alice.send(&den, "alice deletes this").await.unwrap();
    alice.delete(&den, gone.seq).await.unwrap();
    bob.send(&cellar, "bobs words in the cellar").await.unwrap();
    carol.send(&cellar, "carols words in the cellar").await.unwrap();
    alice.send(&direct, "alice to carol").await.unwrap();
    carol.send(&direct, "carols words to alice").await.unwrap();
    let content = bytes(70_000, 5);
    put(&alice, &den, "plan <of> the attic.txt", &content).await.unwrap();
    put(&bob, &den, "bobs own plan.txt", &bytes(5_000, 6)).await.unwrap();
    operator.kick("bobby", "insults").await.unwrap();
    Story {
        server,
        operator,
        den,
        content,
        users: [alice, bob, carol],
    }
}

#[tokio::test]
async fn an_export_holds_what_was_ordered_and_nothing_of_others() {
    let mut story = story().await;
    let directory = story.server.beside("export");
    let case = open(&story.operator, about(&["alice"], &[])).await;
    let export = order(&story.operator, &case, false).await;
    let files = fetch(story.operator.channel(), export, "", 0).await.unwrap();
    let verdict = verified(&files, &directory);
    assert!(verdict.complete && verdict.counts.rooms == 3, "{verdict:?}");
    assert_eq!((verdict.counts.files, verdict.counts.file_bytes), (1, 70_000));
    assert_ne!(in_python(&directory, &[]), Some(1));
    for text in [
        "alice to everybody",
        "alice second text",
        "alice deletes this",
        "alice to carol",
        "🦉",
        "plan <of> the attic.txt",
    ] {
        assert!(has(&files, text).is_some(), "{text}");
    }
    let mut hash = String::new();
    for byte in crate::files::sha256(&story.content) {
        write!(hash, "{byte:02x}").unwrap();
    }
    assert_eq!(files[&format!("files/{hash}")], story.content);
    // Neighbours' words and names, rooms that alice is not in, other people's addresses, what the operator said.
    for text in [
        "bobs",
        "carols",
        "bobby",
        "carol@",
        "the cellar",
        "127.0.0.77",
        "insults",
        PASSWORD,
    ] {
        assert_eq!(has(&files, text), None, "{text}");
    }
    // What people wrote does nothing in a browser.
    let report = String::from_utf8(files["report.html"].clone()).unwrap();
    assert!(report.contains("&lt;i&gt;first&lt;/i&gt; &amp; <span class=\"odd\">U+202E</span>text"));
    assert!(!report.contains("<script") && !report.contains("\u{202E}"));
    assert!(report.contains("Edited at") && report.contains("Deleted at"));

    // The same bytes again, also in pieces.
    assert_eq!(fetch(story.operator.channel(), export, "", 0).await.unwrap(), files);
    for (file, offset) in [
        ("rows.pb", 100),
        ("messages.jsonl", 0),
        (&*format!("files/{hash}"), 50_000),
        ("manifest", 7),
    ] {
        let rest = fetch(story.operator.channel(), export, file, offset).await.unwrap();
        for (name, content) in &rest {
            let from = if name == file {
                usize::try_from(offset).unwrap()
            } else {
                0
            };
            assert_eq!(content[..], files[name][from..], "{name}");
        }
        assert!(rest.contains_key("manifest"));
    }
    for (file, offset) in [("../../etc/passwd", 0), ("rows.pb", -1)] {
        let refusal = fetch(story.operator.channel(), export, file, offset).await;
        refused(refusal, ErrorReason::InvalidField);
    }
    refused(
        fetch(story.operator.channel(), export - 1, "", 0).await,
        ErrorReason::ExportNotFound,
    );

    let bodies = order(&story.operator, &case, true).await;
    let bodies = fetch(story.operator.channel(), bodies, "", 0).await.unwrap();
    let verdict = verified(&bodies, &directory);
    assert!(!verdict.complete && verdict.notes.iter().any(|note| note.contains("completeness not proven")));
    assert!(bodies["rows.pb"].len() < files["rows.pb"].len());

    let room = open(&story.operator, about(&[], &[&story.den])).await;
    let room = order(&story.operator, &room, false).await;
    let room = fetch(story.operator.channel(), room, "", 0).await.unwrap();
    verified(&room, &directory);
    assert!(has(&room, "bobs words in the den").is_some() && has(&room, "alice second text").is_some());
    for text in ["cellar", "to everybody", "alice to carol", "carol", "127.0.0."] {
        assert_eq!(has(&room, text), None, "{text}");
    }
    let close = record::CloseCaseRequest {
        case_index: case.index,
        ..record::CloseCaseRequest::default()
    };
    story.operator.act(close, "it is over").await.unwrap();
    refused(
        fetch(story.operator.channel(), export, "", 0).await,
        ErrorReason::CaseNotOpen,
    );
    assert!(story.server.terminate().await.success());
    story.server.check().await;
}

#[tokio::test]
async fn an_export_of_a_period_shows_that_nothing_in_it_is_missing() {
    let story = story().await;
    let directory = story.server.beside("export");
    let [alice, ..] = &story.users;
    let begin = alice.send(&story.den, "the period begins").await.unwrap();
    alice.send(&story.den, "within").await.unwrap();
    let end = alice.send(&story.den, "the period is over").await.unwrap();
    alice.send(&story.den, "after").await.unwrap();
    let case = record::OpenCaseRequest {
        from: begin.time,
        to: end.time,
        ..about(&["alice"], &[])
    };
    let case = open(&story.operator, case).await;
    let export = order(&story.operator, &case, false).await;
    let files = fetch(story.operator.channel(), export, "", 0).await.unwrap();
    let verdict = verified(&files, &directory);
    assert_eq!(verdict.counts.ordered, 2, "{verdict:?}");
    // The end of the room is behind the period: nothing rests on the server's word.
    assert!(
        !verdict.notes.iter().any(|note| note.contains("no later event")),
        "{verdict:?}"
    );
    for text in ["is over", "text\":\"after", "everybody"] {
        assert_eq!(has(&files, text), None, "{text}");
    }
    assert_ne!(in_python(&directory, &[]), Some(1));
}

#[tokio::test]
async fn an_export_ends_when_its_case_is_closed() {
    let story = story().await;
    let [alice, ..] = &story.users;
    // More than waits anywhere on the way.
    for seed in 0..24 {
        put(alice, &story.den, "large", &bytes(1_000_000, 100 + seed)).await.unwrap();
    }
    let case = open(&story.operator, about(&["alice"], &[])).await;
    let export = order(&story.operator, &case, false).await;
    let mut client = ExportServiceClient::new(story.operator.channel());
    let request = record::DownloadExportRequest {
        request_id: request_id(),
        reason: "the court ordered it".into(),
        export_index: export,
        ..record::DownloadExportRequest::default()
    };
    let mut pieces = client.download_export(request).await.unwrap().into_inner();
    within("a piece", pieces.message()).await.unwrap().expect("there is one");
    let close = record::CloseCaseRequest {
        case_index: case.index,
        ..record::CloseCaseRequest::default()
    };
    story.operator.act(close, "it is over").await.unwrap();
    let ending = loop {
        match within("a piece", pieces.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it was sent to its end"),
            Err(status) => break Err::<(), _>(Refusal::from(status)),
        }
    };
    refused(ending, ErrorReason::CaseNotOpen);
}

#[tokio::test]
async fn members_export_what_they_did_themselves() {
    let mut story = story().await;
    let directory = story.server.beside("export");
    let [alice, bob, carol] = &story.users;
    let files = own_export(alice).await.unwrap();
    let verdict = verified(&files, &directory);
    assert!(verdict.case.is_none() && has(&files, "alice to carol").is_some());
    for text in ["bobs", "carols", "bobby", "127.0.0.77"] {
        assert_eq!(has(&files, text), None, "{text}");
    }
    assert_ne!(in_python(&directory, &[]), Some(1));
    refused(own_export(alice).await, ErrorReason::RateLimited);
    // Bob was kicked, and has to log in again.
    refused(own_export(bob).await, ErrorReason::SessionEnded);
    own_export(carol).await.unwrap();
    assert!(story.server.terminate().await.success());
    story.server.check().await;
}

#[tokio::test]
async fn what_was_erased_is_exported_as_erased() {
    let story = story().await;
    let directory = story.server.beside("export");
    let case = open(&story.operator, about(&[], &[&story.den])).await;
    let erase = record::EraseRequest {
        basis: "she asked for it".into(),
        target: Some(record::erase_request::Target::User("alice".into())),
        ..record::EraseRequest::default()
    };
    story.operator.act(erase, "article 17").await.unwrap();
    let export = order(&story.operator, &case, false).await;
    let files = fetch(story.operator.channel(), export, "", 0).await.unwrap();
    let verdict = verified(&files, &directory);
    assert!(verdict.counts.erased >= 4, "{verdict:?}");
    assert_eq!(has(&files, "alice"), None);
    assert!(has(&files, "bobs words in the den").is_some());
    assert_ne!(in_python(&directory, &[]), Some(1));
}

/// Changes an export somehow. None if it is as before.
fn mutated(files: &Files, chance: &mut Chance, other: &SigningKey) -> Option<(String, Files)> {
    let mut changed = files.clone();
    let names: Vec<&String> = files.keys().collect();
    let name = names[chance.below(names.len())].clone();
    let content = changed.get_mut(&name)?;
    let length = content.len();
    let how = chance.below(12);
    match how {
        0 if length > 0 => content[chance.below(length)] ^= 1 << chance.below(8),
        1 if length > 0 => _ = content.remove(chance.below(length)),
        2 => content.insert(chance.below(length + 1), u8::try_from(chance.below(256)).ok()?),
        3 if length > 1 => content.swap(chance.below(length), chance.below(length)),
        4 if length > 0 => content.truncate(chance.below(length)),
        5 => _ = changed.remove(&name),
        6 => _ = changed.insert("notes.txt".into(), b"nothing".to_vec()),
        7 if length > 64 => {
            // Two pieces change places.
            let (a, b) = (chance.below(length - 32), chance.below(length - 32));
            for at in 0..32 {
                content.swap(a + at, b + at);
            }
        }
        // Somebody signs it anew, with a key of their own.
        8 => {
            let note = changed.get_mut("manifest")?;
            let text = Note::parse(note).ok()?.text().replace("\"ordered\":", "\"ordered\":1");
            *note = Note::sign(text, other).ok()?.to_string().into_bytes();
        }
        9 => {
            let note = changed.get_mut("checkpoint")?;
            let text = Note::parse(note).ok()?.text().to_owned();
            *note = Note::sign(text, other).ok()?.to_string().into_bytes();
            changed.insert("keys".into(), format!("{}\n", other.verifier()).into_bytes());
        }
        // Its signature stands there twice.
        11 => {
            let note = changed.get_mut("manifest")?;
            let last = note.split_inclusive(|byte| *byte == b'\n').next_back()?.to_vec();
            note.extend(last);
        }
        10 => {
            let lines: Vec<&[u8]> = content.split_inclusive(|byte| *byte == b'\n').collect();
            let (a, b) = (chance.below(lines.len().max(1)), chance.below(lines.len().max(1)));
            let mut lines = lines.clone();
            if !lines.is_empty() {
                lines.swap(a, b);
            }
            *content = lines.concat();
        }
        _ => return None,
    }
    (changed != *files).then_some((format!("{name} {how}"), changed))
}

#[tokio::test]
async fn whatever_is_changed_in_an_export_is_found() {
    let story = story().await;
    let directory = story.server.beside("export");
    let case = open(&story.operator, about(&["alice"], &[])).await;
    let export = order(&story.operator, &case, false).await;
    let files = fetch(story.operator.channel(), export, "", 0).await.unwrap();
    let verdict = verified(&files, &directory);
    let other = SigningKey::from_seed(&verdict.journal, [7; 32]).unwrap();
    let mut chance = Chance::new("changes of an export");
    let (mut found, wanted) = (0, setting("GREFFE_TEST_MUTATIONS", 300));
    let mut in_python_too = 0;
    while found < wanted {
        let Some((what, changed)) = mutated(&files, &mut chance, &other) else {
            continue;
        };
        write(&changed, &directory);
        match verify(&directory, &known()) {
            Err(VerifyError::Tampered(_)) => {}
            Err(VerifyError::Unreadable(_)) if !changed.contains_key("manifest") => {}
            other => panic!("{what}: {other:?}"),
        }
        // A process for each is slow: some of them.
        if found % 25 == 0 && changed.contains_key("manifest") {
            assert_ne!(in_python(&directory, &[]), Some(0), "{what}");
            in_python_too += 1;
        }
        found += 1;
    }
    assert!(in_python_too > 0);
    verified(&files, &directory);
}

/// Statements that change one thing of a database, each somewhere else.
const CHANGES: [&str; 24] = [
    "UPDATE journal SET head = CAST(substr(head, 1, length(head) - 1) || x'00' AS BLOB) WHERE idx = ?",
    "UPDATE journal SET body = CAST(substr(body, 1, length(body) - 1) || x'7f' AS BLOB) WHERE idx = ? AND length(body) > 20",
    "UPDATE journal SET body = NULL WHERE idx = ?",
    "UPDATE journal SET leaf = randomblob(32) WHERE idx = ?",
    "UPDATE journal SET leaf = (SELECT leaf FROM journal WHERE idx = ?1 + 1) WHERE idx = ?1 AND idx + 1 < (SELECT size FROM journal_head)",
    "DELETE FROM journal WHERE idx = ?",
    "DELETE FROM journal WHERE idx >= ?",
    "UPDATE journal SET idx = idx + 100000 WHERE idx = ?",
    "UPDATE journal SET body = (SELECT body FROM journal WHERE idx = ?1 - 1) WHERE idx = ?1 AND idx > 0",
    "UPDATE journal_head SET size = size - 1",
    "UPDATE journal_head SET edge = randomblob(length(edge))",
    "UPDATE journal_head SET epoch = epoch || 'x'",
    "UPDATE room_event SET state = (state + 1) % 4 WHERE idx = ?",
    "UPDATE room_event SET current = current + 1 WHERE idx = ?",
    "UPDATE room_event SET actor = actor + 1 WHERE idx = ?",
    "UPDATE room_event SET target = target + 1 WHERE idx = ?",
    "DELETE FROM room_event WHERE idx = ?",
    "UPDATE user SET name = name || 'x'",
    "UPDATE user SET roles = 1 - roles",
    "DELETE FROM member WHERE user = (SELECT max(user) FROM member)",
    "UPDATE room SET topic = 'other'",
    "DELETE FROM log_event WHERE idx = (SELECT max(idx) FROM log_event WHERE idx <= ?)",
    "DELETE FROM standing WHERE idx = (SELECT min(idx) FROM standing)",
    "UPDATE file SET size = size + 1",
];

#[tokio::test]
async fn whatever_is_changed_in_a_database_is_found_by_check() {
    let mut story = story().await;
    let rows = story.operator.newest().await + 1;
    assert!(story.server.terminate().await.success());
    story.server.check().await;
    let whole = std::fs::read(story.server.database()).unwrap();
    let mut chance = Chance::new("changes of a database");
    let (mut found, wanted) = (0, setting("GREFFE_TEST_DATABASE_MUTATIONS", 60));
    while found < wanted {
        let pattern = CHANGES[chance.below(CHANGES.len())];
        let index = chance.below(usize::try_from(rows).unwrap());
        let sql = pattern.replace("?1", "?").replace('?', &index.to_string());
        if !changed(story.server.database().as_path(), &sql) {
            std::fs::write(story.server.database(), &whole).unwrap();
            continue;
        }
        let (status, _, stderr) = story.server.run(&["check"]).await;
        assert_eq!(status.code(), Some(1), "{sql}: {stderr}");
        std::fs::write(story.server.database(), &whole).unwrap();
        found += 1;
    }
    story.server.check().await;
}

/// Changes a database with SQL. Whether that made a difference.
fn changed(database: &Path, sql: &str) -> bool {
    let script = "import sqlite3, sys\n\
        db = sqlite3.connect(sys.argv[1])\n\
        db.text_factory = bytes\n\
        db.execute('PRAGMA foreign_keys = OFF')\n\
        names = [name.decode() for name, in db.execute(\"SELECT name FROM sqlite_master WHERE type = 'table'\")]\n\
        dump = lambda: [sorted(map(repr, db.execute(f'SELECT * FROM \"{name}\"'))) for name in names]\n\
        before = dump()\n\
        db.execute(sys.argv[2])\n\
        db.commit()\n\
        sys.exit(before == dump())";
    let status = Command::new("python3")
        .args(["-c", script])
        .arg(database)
        .arg(sql)
        .stderr(Stdio::null())
        .status();
    status.expect("python3 can be run").success()
}
