//! The key that signs checkpoints: replaced in order, at any time, and never by two at once.

use v1::proof_service_client::ProofServiceClient;

use crate::support::operator::Act as _;
use crate::support::{ErrorReason, Operator, Options, Server, User, admin, record, refused, request_id, v1, within};

/// A checkpoint of the journal as it is, and its keys; the checkpoint opened with the last of them.
pub(crate) async fn signed(operator: &Operator) -> (tlog_tiles::Checkpoint, Vec<v1::RecordKey>) {
    let note = operator.call(record::GetCheckpointRequest {}).await.unwrap().checkpoint;
    let keys = operator.call(record::ListKeysRequest {}).await.unwrap().keys;
    let checkpoint = crate::proofs::open(&note, &keys.last().expect("there is a key").verifier_key);
    (checkpoint, keys)
}

async fn rotate(operator: &Operator) -> record::RotateKeyResponse {
    let request = record::RotateKeyRequest::default();
    operator.act(request, "somebody has seen the old one").await.unwrap()
}

/// The private keys in the file.
fn secrets(server: &Server) -> Vec<String> {
    let text = std::fs::read_to_string(server.data_dir().join("journal.key")).unwrap();
    text.lines().map(ToOwned::to_owned).collect()
}

/// Whether a text is anywhere in the data directory.
fn is_in(server: &Server, text: &str) -> bool {
    let files = std::fs::read_dir(server.data_dir()).unwrap().flatten();
    let holds = |path: std::path::PathBuf| {
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(text.len()).any(|part| part == text.as_bytes())
    };
    files.map(|file| file.path()).any(holds)
}

#[tokio::test]
async fn a_new_key_signs_is_signed_by_the_old_one_and_the_old_one_is_gone() {
    let mut server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let operator = server.operator().await;
    let (first, before) = signed(&operator).await;
    let old = secrets(&server);
    assert_eq!((before.len(), old.len()), (1, 1));

    let answer = rotate(&operator).await;
    let (second, after) = signed(&operator).await;
    assert_eq!(after[..1], before[..]);
    assert_eq!((after.len(), answer.key.as_ref()), (2, after.last()));
    assert_eq!(first.origin(), second.origin());
    assert!(first.size() < second.size());
    assert_eq!(after[1].index, answer.receipt.unwrap().index + 1);
    // What members are told is signed with it, too, and at once.
    let mut client = ProofServiceClient::new(alice.channel());
    let told = client.get_checkpoint(alice.request(v1::GetCheckpointRequest {})).await.unwrap();
    crate::proofs::open(&told.into_inner().checkpoint, &after[1].verifier_key);
    let succession = signed_note::Note::from_bytes(after[1].succession.as_bytes()).unwrap();
    let verifier = signed_note::StandardVerifier::new(&before[0].verifier_key).unwrap();
    succession
        .verify(&signed_note::VerifierList::new(vec![Box::new(verifier)]))
        .unwrap();
    assert_eq!(
        succession.text(),
        format!("greffe key\n{}\n", after[1].verifier_key).as_bytes()
    );
    assert_eq!(secrets(&server).len(), 1);
    let secret = old[0].rsplit('+').next().unwrap();
    assert!(!is_in(&server, secret), "the old private key is gone");

    // A repeated request makes no third key.
    let mut again = record::RotateKeyRequest::default().anew("to be safe");
    let once = operator.call(again.clone()).await.unwrap();
    let twice = operator.call(again.clone()).await.unwrap();
    assert_eq!(once, twice);
    again.reason = "another reason".into();
    refused(operator.call(again).await, ErrorReason::RequestIdReused);
    let refusing = record::RotateKeyRequest {
        request_id: request_id(),
        reason: String::new(),
    };
    refused(operator.call(refusing).await, ErrorReason::InvalidField);
    let (third, keys) = signed(&operator).await;
    assert_eq!(keys.len(), 3);
    assert_eq!(secrets(&server).len(), 1);

    server.restart().await;
    let operator = server.operator().await;
    let (last, same) = signed(&operator).await;
    assert_eq!(same, keys);
    let proof = record::GetConsistencyProofRequest {
        old_size: i64::try_from(first.size()).unwrap(),
        new_size: i64::try_from(last.size()).unwrap(),
    };
    let hashes = operator.call(proof).await.unwrap().hashes;
    let hashes = crate::proofs::hashes(&hashes);
    tlog_tiles::check_tree(&hashes, last.size(), *last.hash(), first.size(), *first.hash()).unwrap();
    assert!(third.size() <= last.size());
    assert!(server.terminate().await.success());
    server.check().await;
}

#[tokio::test]
async fn a_crash_at_any_point_leaves_a_key_that_the_journal_knows() {
    let mut server = Server::start(&[]).await;
    let operator = server.operator().await;
    let old = secrets(&server);
    let file = server.data_dir().join("journal.key");
    // Before the journal is told: the file has both, and the journal knows the first one.
    let mut other = Server::start(&[]).await;
    let foreign = secrets(&other)[0].clone();
    assert!(other.terminate().await.success());
    assert!(server.terminate().await.success());
    std::fs::write(&file, format!("{}\n{foreign}\n", old[0])).unwrap();
    std::fs::write(server.data_dir().join("journal.key.next"), &foreign).unwrap();
    server.spawn().await.unwrap();
    assert_eq!(secrets(&server), old);
    assert!(!is_in(&server, &foreign));
    drop(operator);
    // After it: the file has both, and the journal knows the second one.
    rotate(&server.operator().await).await;
    let new = secrets(&server);
    assert!(server.terminate().await.success());
    std::fs::write(&file, format!("{}\n{}\n", old[0], new[0])).unwrap();
    server.spawn().await.unwrap();
    assert_eq!(secrets(&server), new);
    assert!(!is_in(&server, &old[0]));
    let (_, keys) = signed(&server.operator().await).await;
    assert_eq!(keys.len(), 2);
    // Three are none.
    assert!(server.terminate().await.success());
    std::fs::write(&file, format!("{0}\n{0}\n{0}\n", new[0])).unwrap();
    assert!(server.spawn().await.is_err());
    std::fs::write(&file, format!("{}\n", new[0])).unwrap();
    server.spawn().await.unwrap();
}

#[tokio::test]
async fn a_server_killed_while_its_key_is_replaced_starts_and_signs() {
    let mut server = Server::start(&[]).await;
    let mut keys = 1;
    for round in 0..8_u64 {
        let operator = server.operator().await;
        let rotating =
            tokio::spawn(
                async move { while operator.act(record::RotateKeyRequest::default(), "again").await.is_ok() {} },
            );
        tokio::time::sleep(std::time::Duration::from_micros(round * 7919 % 40_000)).await;
        server.kill_9().await;
        within("the end of the calls", rotating).await.unwrap();
        server.spawn().await.expect("start-up after a crash needs no hand");
        assert_eq!(secrets(&server).len(), 1, "round {round}");
        let (_, now) = signed(&server.operator().await).await;
        assert!(now.len() >= keys);
        keys = now.len();
    }
    assert!(keys > 1);
    assert!(server.terminate().await.success());
    server.check().await;
}

#[tokio::test]
async fn keys_are_not_mixed_while_checkpoints_are_signed_and_backups_hold_the_right_one() {
    let mut server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let general = server.general().await;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (operator, alice, general, stop) = (server.operator().await, alice.clone(), general.clone(), stop.clone());
        tasks.spawn(async move {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                alice.send(&general, "something to sign").await.unwrap();
                let note = operator.call(record::GetCheckpointRequest {}).await.unwrap().checkpoint;
                let keys = operator.call(record::ListKeysRequest {}).await.unwrap().keys;
                // The key that was the newest one at that size.
                let size: i64 = note.lines().nth(1).unwrap().parse().unwrap();
                let key = keys.iter().rfind(|key| key.index < size).unwrap();
                crate::proofs::open(&note, &key.verifier_key);
            }
        });
    }
    let operator = server.operator().await;
    let (rotating, rotated) = (server.operator().await, stop.clone());
    let rotating = tokio::spawn(async move {
        let mut count = 0;
        while !rotated.load(std::sync::atomic::Ordering::Relaxed) {
            rotate(&rotating).await;
            count += 1;
        }
        count
    });
    let mut copies: Vec<std::path::PathBuf> = Vec::new();
    let making = async {
        while copies.len() < 4 {
            let backup = server.beside(&format!("backup{}", copies.len()));
            let request = admin::CreateBackupRequest {
                path: backup.display().to_string(),
                ..admin::CreateBackupRequest::default()
            };
            // Refused while a key is being replaced.
            let made = operator.act(request, "to be safe").await;
            copies.extend(made.is_ok().then_some(backup));
        }
    };
    within("some backups", making).await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    within("the end of the load", tasks.join_all()).await;
    let rotations: usize = within("the last new key", rotating).await.unwrap();
    assert_eq!(signed(&operator).await.1.len(), rotations + 1);
    assert!(server.terminate().await.success());
    server.check().await;
    for backup in copies {
        let mut copy = Server::stopped(Options::default());
        std::fs::rename(backup, copy.data_dir()).unwrap();
        copy.spawn().await.expect("it has the key that its journal names");
        signed(&copy.operator().await).await;
    }
}

#[tokio::test]
async fn only_operators_replace_keys_and_members_have_no_such_service() {
    let server = Server::start_with(Options {
        arguments: vec![
            "--tls-self-signed".into(),
            "--admin-listen".into(),
            "127.0.0.1:0".into(),
        ],
        ..Options::default()
    })
    .await;
    let local = server.operator().await;
    for (name, role) in [
        ("ivy", v1::ServerRole::Investigator),
        ("olga", v1::ServerRole::Operator),
    ] {
        server.user(name).await;
        local.set_roles(name, &[role]).await.unwrap();
    }
    let nobody = Operator::over(server.admin_channel().await);
    refused(
        nobody.call(record::GetCheckpointRequest {}).await,
        ErrorReason::NotLoggedIn,
    );
    let login = |name: &'static str| async {
        Operator::log_in(server.admin_channel().await, name, crate::support::PASSWORD)
            .await
            .unwrap()
    };
    let (ivy, olga) = (login("ivy").await, login("olga").await);
    for who in [&ivy, &olga] {
        signed(who).await;
    }
    refused(
        ivy.act(record::RotateKeyRequest::default(), "why not").await,
        ErrorReason::ServerRoleRequired,
    );
    let newest = local.newest().await;
    rotate(&olga).await;
    let acts = local.acts_after(newest).await;
    assert_eq!(
        acts.last().unwrap().act.method,
        "greffe.record.v1.CheckpointService/RotateKey"
    );
    let (_, keys) = signed(&olga).await;
    assert_eq!(keys.len(), 2);
    let mia: User = server.user("mia").await;
    let stranger = Operator::over(mia.channel()).with_token("gt_nothing");
    assert!(stranger.call(record::GetCheckpointRequest {}).await.is_err());
}
