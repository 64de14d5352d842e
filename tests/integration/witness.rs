//! Witnesses: whoever kept a checkpoint finds out whatever was done to the record, also by who has the server's key.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use greffe::{KeptCheckpoint, Witnessed, on_paper, reason};
use tokio::process::Command;

use crate::journal::tamper;
use crate::support::server::binary;
use crate::support::{Operator, PASSWORD, Server, admin, record, within};

/// Somebody who keeps checkpoints.
struct Witness {
    directory: tempfile::TempDir,
}

impl Witness {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        Self { directory }
    }

    /// A client of alice's, who has an account.
    async fn client(&self, server: &Server) -> greffe::Client {
        let options = greffe::Options {
            witness: Some(self.directory.path().join("witness")),
            ..greffe::Options::default()
        };
        let url = format!("http://{}", server.address());
        let client = greffe::Client::connect(&url, options).await.expect("the server accepts");
        let login = client.log_in("alice", PASSWORD).await.expect("alice has an account");
        client.with_token(&login.token).expect("it is a token")
    }

    /// Looks at the record over the operators' socket, under a name that does not change with the server's port.
    async fn look(&self, server: &Server) -> Result<Witnessed, greffe::Error> {
        self.operator(server).await.witness("the server").await
    }

    async fn operator(&self, server: &Server) -> greffe::Operator {
        let options = greffe::Options {
            witness: Some(self.directory.path().join("witness")),
            ..greffe::Options::default()
        };
        let operator = greffe::Operator::over_socket(server.admin_socket(), options).await;
        operator.expect("the server accepts")
    }

    /// The files that are kept.
    fn files(&self) -> Vec<PathBuf> {
        let below = |path: &Path| -> Vec<PathBuf> {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect()
        };
        below(&self.directory.path().join("witness"))
            .iter()
            .flat_map(|server| below(server))
            .collect()
    }

    fn file(&self, name: &str) -> PathBuf {
        let is_it = |path: &PathBuf| path.file_name().is_some_and(|found| found.to_string_lossy().starts_with(name));
        let mut found = self.files().into_iter().filter(is_it);
        let file = found.next().unwrap_or_else(|| panic!("there is no {name}"));
        assert!(found.next().is_none(), "there are several {name}");
        file
    }
}

async fn talk(server: &Server, what: &str, times: usize) {
    let alice = server.login("alice").await;
    let general = server.general().await;
    for time in 0..times {
        alice.send(&general, &format!("{what} {time}")).await.unwrap();
    }
}

/// A server with alice's account and a few messages.
async fn begun() -> Server {
    let server = Server::start(&[]).await;
    server.user("alice").await;
    talk(&server, "as it was", 10).await;
    server
}

/// Copies what a stopped server has.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o700)).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Puts a copy in place of what a stopped server has.
fn put_back(server: &Server, from: &Path) {
    std::fs::remove_dir_all(server.data_dir()).unwrap();
    copy(from, &server.data_dir());
}

fn size(witnessed: &Witnessed) -> u64 {
    match witnessed {
        Witnessed::GoesOn { size, .. } | Witnessed::Restored { size, .. } => *size,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_record_that_goes_on_is_kept_and_one_that_was_rewritten_with_the_real_key_is_found() {
    let mut server = begun().await;
    let witness = Witness::new();
    assert!(server.terminate().await.success());
    let early = server.beside("early");
    copy(&server.data_dir(), &early);
    server.spawn().await.unwrap();
    let Ok(Witnessed::First { .. }) = witness.look(&server).await else {
        panic!("it is the first one");
    };
    talk(&server, "what somebody wants to be gone", 10).await;
    let (checkpoint, key) = witness.operator(&server).await.signed_checkpoint().await.unwrap();
    let on_card = on_paper(&checkpoint, &key).unwrap();
    let last = size(&witness.look(&server).await.unwrap());
    // Members are witnesses, too.
    let member = Witness::new();
    assert!(matches!(
        member.client(&server).await.witness().await.unwrap(),
        Witnessed::First { .. }
    ));
    server.restart().await;
    talk(&server, "more", 3).await;
    let same = witness.look(&server).await.unwrap();
    assert!(matches!(&same, Witnessed::GoesOn { since, keys, .. } if *since == last && keys.is_empty()));
    let memory = std::fs::read(witness.file("memory")).unwrap();

    // Somebody has the database, the key, and the checkpoint beside it, from before; and writes another history, under the same id.
    for (times, why) in [(2, "it shows "), (60, "rows are others than they were")] {
        assert!(server.terminate().await.success());
        put_back(&server, &early);
        server.spawn().await.expect("nothing of it is wrong in itself");
        talk(&server, "as somebody would like it", times).await;
        let found = witness.look(&server).await.unwrap_err();
        assert_eq!(found.reason, reason::RECORD_CHANGED);
        assert!(found.message.contains(why), "{found}");
        // Both are shown in full, and kept; what was known is what is known.
        let shown = found.message.matches("greffe/").count();
        assert!(shown >= 4, "{found}");
        assert_eq!(std::fs::read(witness.file("memory")).unwrap(), memory);
        let evidence = std::fs::read_to_string(witness.file("mismatch")).unwrap();
        assert!(evidence.matches("\u{2014} greffe/").count() == 2, "{evidence}");
        std::fs::remove_file(witness.file("mismatch")).unwrap();
        assert!(witness.look(&server).await.is_err(), "it stays an error");
        std::fs::remove_file(witness.file("mismatch")).unwrap();
        // So does who has but a card.
        let kept = KeptCheckpoint::parse(&on_card).unwrap();
        let operator = witness.operator(&server).await;
        let compared = operator.compare_checkpoint(&kept, "the server").await;
        assert_eq!(compared.unwrap_err().reason, reason::RECORD_CHANGED);
        let unsigned = checkpoint.split_once("\n\n").unwrap().0.to_owned() + "\n";
        let kept = KeptCheckpoint::parse(&unsigned).unwrap();
        assert!(operator.compare_checkpoint(&kept, "the server").await.is_err());
    }
    assert!(server.terminate().await.success());
    server.check().await;
}

async fn backup(operator: &Operator, server: &Server) -> PathBuf {
    let path = server.beside("backup");
    let request = admin::CreateBackupRequest {
        path: path.display().to_string(),
        ..admin::CreateBackupRequest::default()
    };
    operator.act(request, "to be safe").await.unwrap();
    path
}

#[tokio::test]
async fn after_a_declared_restore_what_both_have_in_common_is_checked_and_what_is_gone_is_told() {
    let mut server = begun().await;
    let witness = Witness::new();
    witness.look(&server).await.unwrap();
    talk(&server, "what is in the backup", 3).await;
    let before = size(&witness.look(&server).await.unwrap());
    let made = backup(&server.operator().await, &server).await;
    talk(&server, "what is not in the backup", 5).await;
    let last = size(&witness.look(&server).await.unwrap());
    let signed = witness.operator(&server).await.signed_checkpoint().await.unwrap().0;
    assert!(server.terminate().await.success());
    put_back(&server, &made);
    server.spawn().await.unwrap();

    let restored = witness.look(&server).await.unwrap();
    let Witnessed::Restored {
        gone: Some((first, to)),
        same,
        reason: why,
        evidence,
        ..
    } = &restored
    else {
        panic!("{restored:?}");
    };
    assert_eq!((*to, *same), (last - 1, before));
    assert!((before..last).contains(first));
    assert_eq!(why, "to be safe");
    assert!(std::fs::read_to_string(evidence).unwrap().contains("greffe/"));
    // It says so once, and goes on from there.
    talk(&server, "we go on", 3).await;
    assert!(matches!(witness.look(&server).await.unwrap(), Witnessed::GoesOn { .. }));
    // What was kept elsewhere of rows that are gone cannot be compared.
    let kept = KeptCheckpoint::parse(&signed).unwrap();
    let compared = witness
        .operator(&server)
        .await
        .compare_checkpoint(&kept, "it")
        .await
        .unwrap_err();
    assert!(compared.message.contains("are gone"), "{compared}");

    // Members and operators are told of it, also if the row did not stand in an older release.
    let restorations =
        |operator: Operator| async move { operator.call(record::ListKeysRequest {}).await.unwrap().restorations };
    let told = restorations(server.operator().await).await;
    assert_eq!(told.len(), 1);
    assert_eq!(u64::try_from(told[0].previous_size).unwrap(), *first);
    assert_eq!(
        (told[0].index, told[0].previous_root.len()),
        (told[0].previous_size, 32)
    );
    assert!(server.terminate().await.success());
    tamper(&server, &format!("DELETE FROM standing WHERE idx = {}", told[0].index));
    server.spawn().await.unwrap();
    assert_eq!(restorations(server.operator().await).await, told);
    assert!(server.terminate().await.success());
    server.check().await;
}

#[tokio::test]
async fn a_restore_does_not_excuse_that_kept_rows_are_others() {
    let mut server = begun().await;
    let witness = Witness::new();
    assert!(server.terminate().await.success());
    let early = server.beside("early");
    copy(&server.data_dir(), &early);
    server.spawn().await.unwrap();
    talk(&server, "what somebody wants to be gone", 5).await;
    witness.look(&server).await.unwrap();
    assert!(server.terminate().await.success());
    put_back(&server, &early);
    server.spawn().await.unwrap();
    talk(&server, "as somebody would like it", 50).await;
    let made = backup(&server.operator().await, &server).await;
    assert!(server.terminate().await.success());
    put_back(&server, &made);
    server.spawn().await.unwrap();
    let found = witness.look(&server).await.unwrap_err();
    assert!(found.message.contains("also the rows that it says it kept"), "{found}");
    // Nor is another server one that was restored.
    let other = begun().await;
    let found = witness.look(&other).await.unwrap_err();
    assert_eq!(found.reason, reason::RECORD_CHANGED);
}

#[tokio::test]
async fn new_keys_are_followed_if_the_one_before_vouches_and_accepted_on_purpose_if_not() {
    let mut server = begun().await;
    let witness = Witness::new();
    witness.look(&server).await.unwrap();
    let operator = server.operator().await;
    for _ in 0..2 {
        operator.act(record::RotateKeyRequest::default(), "once a year").await.unwrap();
    }
    let Ok(Witnessed::GoesOn { keys, .. }) = witness.look(&server).await else {
        panic!("it goes on");
    };
    assert_eq!(keys.len(), 2);
    // What the first key signed is good for ever.
    let kept = witness.operator(&server).await.signed_checkpoint().await.unwrap().0;
    operator.act(record::RotateKeyRequest::default(), "once a year").await.unwrap();
    let compared = witness.operator(&server).await;
    let compared = compared
        .compare_checkpoint(&KeptCheckpoint::parse(&kept).unwrap(), "it")
        .await
        .unwrap();
    assert_eq!(compared.key.as_ref(), keys.last());
    assert!(!compared.before_restore && compared.size < compared.newest);
    witness.look(&server).await.unwrap();

    assert!(server.terminate().await.success());
    std::fs::remove_file(server.data_dir().join("journal.key")).unwrap();
    server.options_mut().arguments = vec!["--new-key".into()];
    server.spawn().await.unwrap();
    let memory = std::fs::read(witness.file("memory")).unwrap();
    let found = witness.look(&server).await.unwrap_err();
    assert_eq!(found.reason, reason::KEY_REPLACED);
    assert_eq!(std::fs::read(witness.file("memory")).unwrap(), memory);
    let accepted = witness
        .operator(&server)
        .await
        .witness_accepting_key("the server")
        .await
        .unwrap();
    assert!(matches!(&accepted, Witnessed::GoesOn { keys, .. } if keys.len() == 1));
    assert!(matches!(witness.look(&server).await.unwrap(), Witnessed::GoesOn { keys, .. } if keys.is_empty()));
}

#[tokio::test]
async fn a_damaged_memory_is_put_aside_and_told() {
    let server = begun().await;
    let witness = Witness::new();
    witness.look(&server).await.unwrap();
    let file = witness.file("memory");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let whole = std::fs::read_to_string(&file).unwrap();
    let size: u64 = whole.split("\\n").nth(1).unwrap().parse().unwrap();
    let forged = whole.replacen(&format!("\\n{size}\\n"), &format!("\\n{}\\n", size - 1), 1);
    assert_ne!(forged, whole);
    for damaged in [&forged, &whole[..whole.len() / 2], "", "[]", "\u{0}"] {
        std::fs::write(&file, damaged).unwrap();
        let found = witness.look(&server).await.unwrap_err();
        assert_eq!(found.reason, reason::WITNESS_UNUSABLE, "{damaged:?}");
        let aside = witness.file("damaged");
        assert_eq!(std::fs::read_to_string(&aside).unwrap(), damaged);
        std::fs::remove_file(aside).unwrap();
        assert!(matches!(witness.look(&server).await.unwrap(), Witnessed::First { .. }));
    }
}

/// Runs one of the programs to its end: exit code, standard output, standard error.
async fn run(program: &str, server: &Server, config: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(binary().with_file_name(program));
    command
        .args(arguments)
        .env("GREFFE_CONFIG_DIR", config)
        .env("GREFFE_DATA_DIR", server.data_dir())
        .env_remove("GREFFE_SERVER")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    let output = within("the end of a command", command.output()).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn the_programs_print_save_check_and_refuse() {
    let mut server = begun().await;
    let home = tempfile::tempdir().unwrap();
    let (config, card) = (home.path().join("config"), home.path().join("card"));
    let card_name = card.to_str().unwrap().to_owned();
    assert!(server.terminate().await.success());
    let early = server.beside("early");
    copy(&server.data_dir(), &early);
    server.spawn().await.unwrap();
    talk(&server, "what somebody wants to be gone", 5).await;

    let admin = |arguments: &'static [&'static str]| run("greffe-admin", &server, &config, arguments);
    let (code, printed, _) = admin(&["checkpoint", "print"]).await;
    assert_eq!((code, printed.lines().count()), (Some(0), 11), "{printed}");
    std::fs::write(&card, &printed).unwrap();
    let (_, object, _) = admin(&["checkpoint", "print", "--json"]).await;
    let object: serde_json::Value = serde_json::from_str(&object).unwrap();
    let (_, note, _) = admin(&["checkpoint", "print", "--note"]).await;
    crate::proofs::open(&note, object["key"].as_str().unwrap());
    let (code, table, _) = admin(&["checkpoint", "keys"]).await;
    assert!(code == Some(0) && table.contains("signs now"), "{table}");
    let saved = home.path().join("saved");
    std::fs::create_dir(&saved).unwrap();
    for _ in 0..2 {
        let arguments = ["checkpoint", "save", saved.to_str().unwrap()];
        let (code, path, stderr) = run("greffe-admin", &server, &config, &arguments).await;
        assert_eq!(code, Some(0), "{stderr}");
        let kept = std::fs::read_to_string(path.trim()).unwrap();
        crate::proofs::open(&kept, object["key"].as_str().unwrap());
    }
    talk(&server, "more", 5).await;
    let check = ["checkpoint", "check", card_name.as_str()];
    let (code, stdout, stderr) = run("greffe-admin", &server, &config, &check).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with("in order: "), "{stdout}");
    let rotating = ["checkpoint", "rotate-key", "--reason", "once a year", "--yes", "--json"];
    let (code, stdout, _) = run("greffe-admin", &server, &config, &rotating).await;
    assert!(code == Some(0) && stdout.contains("greffe/"), "{stdout}");
    std::fs::write(home.path().join("bad"), printed.replacen("root  ", "root  0", 1)).unwrap();
    let bad = home.path().join("bad");
    let (code, _, stderr) = run(
        "greffe-admin",
        &server,
        &config,
        &["checkpoint", "check", bad.to_str().unwrap()],
    )
    .await;
    assert!(code == Some(6) && stderr.contains("line 4"), "{stderr}");

    // A member's.
    let login = |server: &Server| {
        let url = format!("http://{}", server.address());
        let home = config.clone();
        async move {
            let mut command = Command::new(binary().with_file_name("greffe"));
            command.args(["login", "alice", "--password-stdin", "--server", &url]);
            command.env("GREFFE_CONFIG_DIR", home);
            command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
            command.stderr(std::process::Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stdin, format!("{PASSWORD}\n").as_bytes())
                .await
                .unwrap();
            drop(stdin);
            let output = within("a login", child.wait_with_output()).await.unwrap();
            (
                output.status.code(),
                String::from_utf8_lossy(&output.stderr).into_owned(),
            )
        }
    };
    assert_eq!(login(&server).await.0, Some(0));
    let (code, _, stderr) = run("greffe", &server, &config, &check).await;
    assert_eq!(code, Some(0), "{stderr}");

    // Another history, with the same key.
    let kept = |witness: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(witness).unwrap().map(|entry| entry.unwrap().path());
        let of_members = entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("http_"));
        of_members.collect()
    };
    let witness = config.join("witness");
    let before = kept(&witness).remove(0);
    assert!(server.terminate().await.success());
    put_back(&server, &early);
    server.spawn().await.unwrap();
    talk(&server, "as somebody would like it", 60).await;
    // The server has another port now, and for the member it is the same one.
    assert_eq!(login(&server).await.0, Some(0));
    let after = kept(&witness).into_iter().find(|path| *path != before).unwrap();
    std::fs::copy(before.join("memory.json"), after.join("memory.json")).unwrap();
    let (code, stderr) = login(&server).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains("IS NOT WHAT IT WAS") && stderr.matches("\u{2014} greffe/").count() == 2,
        "{stderr}"
    );
    for program in ["greffe", "greffe-admin"] {
        let (code, _, stderr) = run(program, &server, &config, &check).await;
        assert_eq!(code, Some(1), "{program}: {stderr}");
        assert!(stderr.contains("IS NOT WHAT IT WAS"), "{stderr}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_or_has_no_such_service_is_no_finding() {
    let mut server = begun().await;
    let witness = Witness::new();
    let client = witness.client(&server).await;
    assert!(client.last_witnessed().is_none());
    client.witness().await.unwrap();
    assert!(client.last_witnessed().is_some());
    server.kill_9().await;
    let options = greffe::Options {
        witness: Some(witness.directory.path().join("witness")),
        retry_for: std::time::Duration::ZERO,
        ..greffe::Options::default()
    };
    let gone = greffe::Client::connect(&format!("http://{}", server.address()), options).await;
    assert_eq!(
        gone.err().map(|error| error.reason),
        Some(reason::UNREACHABLE.to_owned())
    );
    server.spawn().await.unwrap();
}
