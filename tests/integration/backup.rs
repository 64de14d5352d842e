//! Backups of a running server: whole, checked, and honest about being a truncation once a server is started on them. And what becomes of acts
//! when the disk fails.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use v1::event_body::Content;

use crate::power_loss::SHIM;
use crate::support::load::Ledger;
use crate::support::operator::content_of;
use crate::support::stream::{head, resume, text_of};
use crate::support::{
    ErrorReason, Kind, Operator, Options, PASSWORD, Server, User, admin, eventually, refused, v1, within,
};

fn to(path: &Path) -> admin::CreateBackupRequest {
    admin::CreateBackupRequest {
        path: path.display().to_string(),
        ..admin::CreateBackupRequest::default()
    }
}

/// A server that was never started, with a backup as its data.
fn on_backup(backup: &Path) -> Server {
    let server = Server::stopped(Options::default());
    std::fs::rename(backup, server.data_dir()).expect("both lie in the same file system");
    server
}

/// The rows that say that a journal was restored.
async fn restorations(operator: &Operator) -> Vec<(i64, v1::Restored)> {
    let entries = operator.audit_after(-1).await;
    let restored = entries.iter().filter_map(|entry| match content_of(entry) {
        Content::Restored(restored) => Some((crate::support::operator::index_of(entry), restored.clone())),
        _ => None,
    });
    restored.collect()
}

/// Checks that a server says of itself that it goes on from a backup, once, in the first row after it.
async fn says_restored(operator: &Operator, made: &admin::CreateBackupResponse, previous_journal_id: &str) {
    let restored = restorations(operator).await;
    assert_eq!(restored.len(), 1);
    let (index, row) = &restored[0];
    assert_eq!((*index, row.previous_size), (made.rows, made.rows));
    assert_eq!(
        (row.previous_journal_id.as_str(), row.reason.as_str()),
        (previous_journal_id, "before the move")
    );
    let status = operator.status().await;
    assert_eq!((&row.epoch, &row.journal_id), (&status.epoch, &status.journal_id));
    let digits = row.previous_root.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let root: String = digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect();
    assert_eq!(root, made.root);
    assert!(row.backup_made_at.is_some() && !row.restored_by.is_empty());
}

#[tokio::test]
async fn a_backup_under_load_holds_what_was_acknowledged_and_goes_on_under_another_epoch() {
    let mut server = Server::start(&[]).await;
    let operator = server.operator().await;
    let users = server.users("person", 4).await;
    let general = server.general().await;
    let ledger = Ledger::new(&general);
    let mut tasks = tokio::task::JoinSet::new();
    for user in &users {
        tasks.spawn(ledger.clone().load(user.over(server.channel().await), usize::MAX));
    }
    eventually("some load", || async { (ledger.acknowledged() > 500).then_some(()) }).await;

    let start = std::time::Instant::now();
    let (before, backup) = (ledger.receipts(), server.beside("backup"));
    let made = operator.act(to(&backup), "before the move").await.unwrap();
    let took = start.elapsed();
    let after = ledger.acknowledged();
    eprintln!(
        "a backup of {} rows, {} bytes, in {took:?}, beside {} messages",
        made.rows,
        made.bytes,
        after - before.len()
    );
    assert!(after > before.len(), "members could write meanwhile");
    assert_eq!(PathBuf::from(&made.path), backup.canonicalize().unwrap());
    let permissions = std::fs::metadata(&backup).unwrap().permissions();
    assert_eq!(permissions.mode() & 0o777, 0o700);
    let later = users[0]
        .over(server.channel().await)
        .send(&general, "after the backup")
        .await
        .unwrap();
    let old = server.info().await;
    let status = operator.status().await;
    assert!(server.terminate().await.success());
    within("the end of the load", tasks.join_all()).await;
    assert_eq!(server.check().await["ok"], true);

    let mut copy = on_backup(&backup);
    let checked = copy.check().await;
    assert_eq!(checked["ok"], true);
    assert_eq!(checked["size"], made.rows);
    assert_eq!(checked["root"], made.root.as_str());
    copy.spawn().await.expect("it starts");
    let new = copy.info().await;
    assert_ne!(new.epoch, old.epoch);
    assert_eq!(new.general_room_id, old.general_room_id);
    let local = copy.operator().await;
    assert_ne!(local.status().await.journal_id, status.journal_id);
    says_restored(&local, &made, &status.journal_id).await;

    // Nobody is logged in, and everybody can log in.
    assert_eq!(local.status().await.sessions, 0);
    for user in &users {
        let old_token = user.over(copy.channel().await);
        refused(old_token.sessions().await, ErrorReason::SessionEnded);
        refused(
            old_token.chat(v1::Hello::default()).await.map(drop),
            ErrorReason::SessionEnded,
        );
    }
    let person = copy.login("person0").await;
    let events = person.events_after(&general, 0).await.unwrap();
    for (receipt, text) in &before {
        let at = usize::try_from(receipt.seq - 1).unwrap();
        let event = events
            .get(at)
            .unwrap_or_else(|| panic!("seq {} was acknowledged and is lost", receipt.seq));
        assert_eq!((head(event).index, head(event).seq), (receipt.index, receipt.seq));
        assert_eq!(text_of(event), Some(text.as_str()));
    }
    // A client that knows more than the backup does is told so.
    for (epoch, seq) in [(old.epoch.as_str(), later.seq), (old.epoch.as_str(), 1)] {
        let mut stream = person.chat(resume(epoch, &general, seq)).await.unwrap();
        let reset = stream
            .wait_for("Reset", |kind| match kind {
                Kind::Reset(reset) => Some(reset.clone()),
                _ => None,
            })
            .await;
        assert_eq!(
            (reset.cause(), reset.epoch.as_str()),
            (v1::ResetCause::Epoch, new.epoch.as_str())
        );
        assert_eq!(reset.room_id, general);
        assert!(reset.head_seq < later.seq);
    }
    let receipt = person.send(&general, "we go on").await.unwrap();
    assert_eq!(receipt.epoch, new.epoch);

    // It is restored once.
    copy.restart().await;
    assert_eq!(copy.info().await.epoch, new.epoch);
    assert_eq!(restorations(&copy.operator().await).await.len(), 1);
    person
        .over(copy.channel().await)
        .sessions()
        .await
        .expect("a new session lives on");
    crate::journal::agrees(&mut copy, &["before the move"]).await;
}

#[tokio::test]
async fn what_operators_ordered_is_in_a_backup() {
    let mut server = Server::start(&[]).await;
    let operator = server.operator().await;
    server.user("alice").await;
    server.user("bob").await;
    operator.set_roles("alice", &[v1::ServerRole::Operator]).await.unwrap();
    operator.ban("bob", "spam").await.unwrap();
    operator.alert("tea at five").await.unwrap();
    let acts = operator.acts_after(-1).await.len();
    let backup = server.beside("backup");
    operator.act(to(&backup), "to be safe").await.unwrap();
    assert!(server.terminate().await.success());
    let mut copy = on_backup(&backup);
    copy.spawn().await.expect("it starts");
    let operator = copy.operator().await;
    refused(
        User::log_in(copy.channel().await, "bob", PASSWORD).await,
        ErrorReason::Banned,
    );
    assert_eq!(operator.bans().await.len(), 1);
    assert_eq!(operator.user("alice").await.unwrap().roles.len(), 1);
    let alice = copy.login("alice").await;
    let started = alice.chat(v1::Hello::default()).await.unwrap().started().await;
    assert_eq!(started.alerts.len(), 1);
    // With the act that made it, which was on record before it began.
    let recorded = operator.acts_after(-1).await;
    assert_eq!(recorded.len(), acts + 1);
    assert!(recorded.last().unwrap().act.method.ends_with("/CreateBackup"));
    // A backup of what came from a backup is one of the new journal.
    let second = copy.beside("second");
    operator.act(to(&second), "again").await.unwrap();
    let epoch = copy.info().await.epoch;
    assert!(copy.terminate().await.success());
    let mut third = on_backup(&second);
    third.spawn().await.expect("it starts");
    assert_ne!(third.info().await.epoch, epoch);
    assert_eq!(restorations(&third.operator().await).await.len(), 2);
    crate::journal::agrees(&mut third, &["spam"]).await;
}

#[tokio::test]
async fn a_backup_goes_nowhere_where_something_is_or_others_could_change_it() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    let directory = server.beside("directory");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("precious"), "precious").unwrap();
    let file = server.beside("file");
    std::fs::write(&file, "precious").unwrap();
    let link = server.beside("link");
    std::os::unix::fs::symlink(server.beside("nowhere"), &link).unwrap();
    let link_to_directory = server.beside("link to directory");
    std::os::unix::fs::symlink(&directory, &link_to_directory).unwrap();
    let open = server.beside("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    let paths = [
        directory.clone(),
        file.clone(),
        link.clone(),
        link_to_directory.clone(),
        file.join("below a file"),
        server.beside("missing").join("backup"),
        server.data_dir(),
        server.data_dir().join("greffe.db"),
        server.data_dir().join("inside"),
        open.join("backup"),
        directory.join(".."),
        PathBuf::from("/"),
        PathBuf::from("relative"),
        PathBuf::from("./relative"),
        PathBuf::from("../relative"),
        PathBuf::from(""),
        server.beside("with\0nul"),
    ];
    let listed = || -> Vec<_> {
        let entries = std::fs::read_dir(server.beside(""))
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.collect();
        names.sort_unstable();
        names
    };
    let names = listed();
    for path in paths {
        let before = operator.newest().await;
        let refusal = operator.act(to(&path), "to be safe").await.expect_err("nothing is made there");
        assert!(
            matches!(refusal.reason, ErrorReason::BackupFailed | ErrorReason::InvalidField),
            "{}: {refusal:?}",
            path.display()
        );
        let recorded = operator.acts_after(before).await;
        let last = recorded.last().expect("what was tried is on record");
        assert_eq!(last.act.refused(), refusal.reason, "{}", path.display());
        assert_eq!(
            (last.act.reason.as_str(), last.act.refusal.as_str()),
            ("to be safe", refusal.message.as_str())
        );
        assert!(recorded.len() <= 2, "{recorded:#?}");
    }
    assert_eq!(listed(), names, "nothing was left behind");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
    assert_eq!(std::fs::read_dir(&open).unwrap().count(), 0);
    operator.act(to(&server.beside("good")), "to be safe").await.unwrap();
}

#[tokio::test]
async fn one_backup_asked_for_many_times_at_once_is_one_backup() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    let alice = server.user("alice").await;
    let general = server.general().await;
    for _ in 0..100 {
        alice.send(&general, &"x".repeat(16_384)).await.unwrap();
    }
    let backup = server.beside("backup");
    let mut request = to(&backup);
    request.request_id = crate::support::request_id();
    request.reason = "to be safe".into();
    let calls = (0..4).map(|_| operator.call(request.clone()));
    let answers = futures_util::future::join_all(calls).await;
    let made = answers.iter().filter_map(|answer| answer.as_ref().ok());
    let mut receipts: Vec<_> = made.map(|made| made.receipt.clone()).collect();
    receipts.dedup();
    assert_eq!(receipts.len(), 1);
    for refusal in answers.into_iter().filter_map(Result::err) {
        assert_eq!(refusal.reason, ErrorReason::BackupFailed, "{refusal:?}");
    }
    // Another one is refused while the first is made, or made after it.
    let (one, other) = (server.beside("one"), server.beside("other"));
    let (first, second) = tokio::join!(
        operator.act(to(&one), "to be safe"),
        operator.act(to(&other), "to be sure")
    );
    for (result, path) in [(first, one), (second, other)] {
        match result {
            Ok(_) => assert!(path.is_dir()),
            Err(refusal) => {
                assert_eq!(refusal.reason, ErrorReason::BackupFailed, "{refusal:?}");
                assert!(!path.exists());
            }
        }
    }
}

#[tokio::test]
async fn an_operator_from_afar_names_a_backup_and_does_not_choose_its_place() {
    let arguments = ["--tls-self-signed", "--admin-listen", "127.0.0.1:0"];
    let server = Server::start_with(Options {
        arguments: arguments.map(str::to_owned).to_vec(),
        ..Options::default()
    })
    .await;
    let local = server.operator().await;
    server.user("boss").await;
    local.set_roles("boss", &[v1::ServerRole::Operator]).await.unwrap();
    let boss = Operator::log_in(server.admin_channel().await, "boss", PASSWORD).await.unwrap();
    let absolute = server.beside("absolute").display().to_string();
    let long = "x".repeat(65);
    for path in [
        "",
        ".",
        "..",
        ".hidden",
        "a/b",
        "../up",
        "/",
        &absolute,
        "with space",
        "ünï",
        "-dash",
        &long,
        "nul\0",
    ] {
        let before = local.newest().await;
        let refusal = boss.act(to(Path::new(path)), "to be safe").await.expect_err("this is no name");
        assert!(
            matches!(refusal.reason, ErrorReason::BackupFailed | ErrorReason::InvalidField),
            "{path}: {refusal:?}"
        );
        let recorded = local.acts_after(before).await;
        assert_eq!(recorded.last().unwrap().act.refused(), refusal.reason, "{path}");
    }
    let made = boss.act(to(Path::new("good-1.2_3")), "to be safe").await.unwrap();
    let place = server.data_dir().canonicalize().unwrap().join("backups/good-1.2_3");
    assert_eq!(PathBuf::from(made.path), place);
    assert!(place.join("greffe.db").is_file());
    let again = boss.act(to(Path::new("good-1.2_3")), "to be safe").await;
    refused(again, ErrorReason::BackupFailed);
    assert_eq!(std::fs::read_dir(server.data_dir().join("backups")).unwrap().count(), 1);
    // A restored server keeps the certificate that clients know.
    let certificate = std::fs::read(server.data_dir().join("tls/certificate.pem")).unwrap();
    assert_eq!(std::fs::read(place.join("tls/certificate.pem")).unwrap(), certificate);
}

#[tokio::test]
async fn a_backup_that_was_touched_is_not_started() {
    let mut server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let general = server.general().await;
    alice.send(&general, "hello").await.unwrap();
    let backup = server.beside("backup");
    server.operator().await.act(to(&backup), "to be safe").await.unwrap();
    assert!(server.terminate().await.success());
    let mut copy = on_backup(&backup);
    let script = "import sqlite3, sys\n\
        db = sqlite3.connect(sys.argv[1])\n\
        db.execute('UPDATE journal SET head = substr(head, 1, length(head) - 1) || x\\'00\\' WHERE idx = 3')\n\
        db.commit()";
    let touched = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(copy.database())
        .status();
    assert!(touched.expect("python3 can be run").success());
    let (status, _, _) = copy.run(&["check"]).await;
    assert_eq!(status.code(), Some(1));
    copy.spawn().await.expect_err("it does not start");
}

/// A server whose disk fails, in the way that the settings say, while there is something at the path that is given back.
async fn on_failing_disk(settings: &[(&str, &str)]) -> (Server, PathBuf) {
    let mut server = Server::stopped(Options::default());
    std::fs::create_dir(server.data_dir()).expect("it can be made");
    let directory = server.data_dir().canonicalize().expect("it is there");
    let when = server.beside("when");
    let mut environment = vec![
        ("LD_PRELOAD".to_owned(), SHIM.display().to_string()),
        ("SHIM_DIR".to_owned(), directory.display().to_string()),
        ("SHIM_WHEN".to_owned(), when.display().to_string()),
    ];
    environment.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    server.options_mut().environment = environment;
    server.spawn().await.expect("it starts");
    (server, when)
}

#[tokio::test]
async fn an_act_that_a_full_disk_cannot_take_is_not_done() {
    let (mut server, full) = on_failing_disk(&[("SHIM_FULL", "1")]).await;
    let operator = server.operator().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let general = server.general().await;
    let mut stream = bob.live().await;
    let before = operator.newest().await;
    std::fs::write(&full, "").unwrap();
    refused(operator.kick("bob", "enough").await, ErrorReason::DiskFull);
    refused(operator.ban("bob", "enough").await, ErrorReason::DiskFull);
    refused(operator.disable("bob", "enough").await, ErrorReason::DiskFull);
    refused(operator.reset_password("bob").await, ErrorReason::DiskFull);
    refused(operator.alert("nobody hears this").await, ErrorReason::DiskFull);
    let stop = admin::StopServerRequest::default();
    refused(operator.act(stop, "no stop either").await, ErrorReason::DiskFull);
    let drain = admin::SetDrainingRequest {
        draining: true,
        ..admin::SetDrainingRequest::default()
    };
    refused(operator.act(drain, "no drain either").await, ErrorReason::DiskFull);
    assert_eq!(operator.newest().await, before);
    let status = operator.status().await;
    assert!(!status.draining && status.stop_at.is_none() && status.bans == 0);
    // Whoever was there still is.
    bob.sessions().await.expect("the session lives on");
    std::fs::remove_file(&full).unwrap();
    alice.send(&general, "is bob there?").await.unwrap();
    stream.message("is bob there?").await;
    assert!(
        stream
            .seen
            .iter()
            .all(|kind| !matches!(kind, Kind::Alert(_) | Kind::Ended(_) | Kind::Draining(_)))
    );
    server.login("bob").await;
    assert!(operator.acts_after(before).await.is_empty());
    // With room on the disk it is done.
    operator.kick("bob", "enough").await.unwrap();
    stream
        .ends_with(
            v1::EndReason::Kicked,
            tonic::Code::PermissionDenied,
            ErrorReason::Kicked,
        )
        .await;
    refused(bob.sessions().await, ErrorReason::SessionEnded);
    assert_eq!(operator.acts_after(before).await.len(), 1);
    drop(stream);
    crate::journal::agrees(&mut server, &[]).await;
}

#[tokio::test]
async fn an_act_whose_commit_failed_is_answered_as_unknown_and_the_same_request_finds_out() {
    let settings = [("SHIM_FAIL_SYNC", "1"), ("SHIM_FAIL_NAME", "greffe.db-wal")];
    let (mut server, failing) = on_failing_disk(&settings).await;
    let operator = server.operator().await;
    let bob = server.user("bob").await;
    let mut stream = bob.live().await;
    let request = admin::KickUserRequest {
        request_id: crate::support::request_id(),
        reason: "enough".into(),
        user: "bob".into(),
    };
    std::fs::write(&failing, "").unwrap();
    let refusal = operator.call(request.clone()).await.expect_err("nobody can know");
    assert_eq!(refusal.code, tonic::Code::Unavailable, "{refusal:?}");
    assert!(
        matches!(refusal.reason, ErrorReason::OutcomeUnknown | ErrorReason::Unspecified),
        "{refusal:?}"
    );
    // Whatever ended the stream, it was not the kick, which nobody may learn of before it is on the disk.
    let (reason, _) = stream.ended().await;
    assert_ne!(reason, v1::EndReason::Kicked);
    assert_ne!(server.wait().await.code(), Some(0));
    std::fs::remove_file(&failing).unwrap();
    server.spawn().await.expect("it starts");
    // The sync put back what it had failed to keep, so the session is there, until the request is repeated.
    let operator = server.operator().await;
    let bob = bob.over(server.channel().await);
    bob.sessions().await.expect("the session lives on");
    let answer = operator.call(request.clone()).await.unwrap();
    assert_eq!(answer.sessions_ended, 1);
    refused(bob.sessions().await, ErrorReason::SessionEnded);
    assert_eq!(operator.call(request).await.unwrap().receipt, answer.receipt);
    crate::journal::agrees(&mut server, &[]).await;
}

#[tokio::test]
async fn a_backup_that_fails_leaves_nothing_and_the_server_goes_on() {
    let mut server = Server::stopped(Options::default());
    std::fs::create_dir(server.data_dir()).unwrap();
    // Only where the backup goes.
    let place = server.beside("full");
    std::fs::create_dir(&place).unwrap();
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o700)).unwrap();
    let when = server.beside("when");
    server.options_mut().environment = vec![
        ("LD_PRELOAD".to_owned(), SHIM.display().to_string()),
        (
            "SHIM_DIR".to_owned(),
            place.canonicalize().unwrap().display().to_string(),
        ),
        ("SHIM_WHEN".to_owned(), when.display().to_string()),
        ("SHIM_FULL".to_owned(), "1".to_owned()),
    ];
    server.spawn().await.expect("it starts");
    let operator = server.operator().await;
    let alice = server.user("alice").await;
    std::fs::write(&when, "").unwrap();
    let before = operator.newest().await;
    let refusal = operator.act(to(&place.join("backup")), "to be safe").await;
    let refusal = refused(refusal, ErrorReason::BackupFailed);
    assert!(refusal.message.contains("full"), "{refusal:?}");
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0);
    let recorded = operator.acts_after(before).await;
    let told: Vec<ErrorReason> = recorded.iter().map(|it| it.act.refused()).collect();
    assert_eq!(
        told,
        [ErrorReason::Unspecified, ErrorReason::BackupFailed],
        "begun, and failed"
    );
    alice.send(&server.general().await, "still here").await.unwrap();
    std::fs::remove_file(&when).unwrap();
    operator.act(to(&place.join("backup")), "to be safe").await.unwrap();
}
