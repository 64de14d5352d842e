//! Checkpoints and proofs: good to somebody else's implementation of their formats, and what a journal is held against.

use prost::Message as _;
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{Checkpoint, Hash, check_record, check_tree, record_hash};
use v1::proof_service_client::ProofServiceClient;

use crate::journal::tamper;
use crate::support::stream::head;
use crate::support::{ErrorReason, Options, Refusal, Server, User, refused, v1, within};

/// Rows that make more than one subtree whose root is kept.
const ROWS: i64 = 700;

async fn keys(user: &User) -> Vec<v1::RecordKey> {
    let mut client = ProofServiceClient::new(user.channel());
    let call = client.list_keys(user.request(v1::ListKeysRequest {}));
    within("the keys", call).await.unwrap().into_inner().keys
}

/// The newest checkpoint, opened with somebody else's code.
async fn checkpoint(user: &User) -> Checkpoint {
    let mut client = ProofServiceClient::new(user.channel());
    let call = client.get_checkpoint(user.request(v1::GetCheckpointRequest {}));
    let note = within("the checkpoint", call).await.unwrap().into_inner().checkpoint;
    open(&note, &keys(user).await.last().expect("there is a key").verifier_key)
}

pub(crate) fn open(note: &str, key: &str) -> Checkpoint {
    let note = Note::from_bytes(note.as_bytes()).expect("it is a note");
    let verifier = StandardVerifier::new(key).expect("it is a key");
    let known = VerifierList::new(vec![Box::new(verifier)]);
    let (good, unknown) = note.verify(&known).expect("it is signed");
    assert_eq!((good.len(), unknown.len()), (1, 0));
    let checkpoint = Checkpoint::from_bytes(note.text()).expect("it is a checkpoint");
    assert_eq!(checkpoint.origin(), key.split('+').next().unwrap());
    checkpoint
}

pub(crate) fn hashes(proof: &[prost::bytes::Bytes]) -> Vec<Hash> {
    proof.iter().map(|hash| Hash(hash[..].try_into().expect("32 bytes"))).collect()
}

async fn consistency(user: &User, old_size: i64, new_size: i64) -> Result<Vec<Hash>, Refusal> {
    let mut client = ProofServiceClient::new(user.channel());
    let request = v1::GetConsistencyProofRequest { old_size, new_size };
    let proof = within("a proof", client.get_consistency_proof(user.request(request))).await?;
    Ok(hashes(&proof.into_inner().hashes))
}

async fn inclusion(user: &User, index: i64, size: i64) -> Result<(Hash, Vec<Hash>), Refusal> {
    let mut client = ProofServiceClient::new(user.channel());
    let request = v1::GetInclusionProofRequest { index, size };
    let proof = within("a proof", client.get_inclusion_proof(user.request(request)))
        .await?
        .into_inner();
    Ok((hashes(&[proof.leaf_hash])[0], hashes(&proof.hashes)))
}

fn number(size: u64) -> i64 {
    i64::try_from(size).unwrap()
}

#[tokio::test]
async fn checkpoints_and_proofs_are_good_to_another_implementation() {
    let mut server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("den", &[&bob]).await;
    for number in 0..ROWS / 2 {
        alice.send(&room, &format!("message {number}")).await.unwrap();
    }
    let first = checkpoint(&alice).await;
    for number in 0..ROWS / 2 {
        alice.send(&room, &format!("another message {number}")).await.unwrap();
    }
    // At the stop another one is signed, which is in the database and beside it.
    server.restart().await;
    let bob = bob.over(server.channel().await);
    let key = keys(&bob).await.remove(0).verifier_key;
    let kept = std::fs::read_to_string(server.data_dir().join("checkpoint")).unwrap();
    let at_stop = open(&kept, &key);
    let last = checkpoint(&bob).await;
    assert!(first.size() < at_stop.size() && at_stop.size() <= last.size());
    assert_eq!(last.origin(), first.origin());

    for (old, new) in [(&first, &last), (&first, &at_stop), (&at_stop, &last), (&last, &last)] {
        if old.size() == new.size() {
            continue;
        }
        let proof = consistency(&bob, number(old.size()), number(new.size())).await.unwrap();
        check_tree(&proof, new.size(), *new.hash(), old.size(), *old.hash()).unwrap();
    }
    let events = bob.events_after(&room, 0).await.unwrap();
    assert!(number(events.len() as u64) > ROWS);
    for event in events.iter().step_by(37).chain(events.last()) {
        let index = head(event).index;
        for tree in [&first, &last] {
            if index >= number(tree.size()) {
                refused(
                    inclusion(&bob, index, number(tree.size())).await,
                    ErrorReason::InvalidField,
                );
                continue;
            }
            let (leaf, proof) = inclusion(&bob, index, number(tree.size())).await.unwrap();
            assert_eq!(leaf, record_hash(&head(event).encode_to_vec()));
            let index = u64::try_from(index).unwrap();
            check_record(&proof, tree.size(), *tree.hash(), index, leaf).unwrap();
            let wrong = record_hash(b"another head");
            assert!(check_record(&proof, tree.size(), *tree.hash(), index, wrong).is_err());
        }
    }
}

#[tokio::test]
async fn only_what_one_may_see_is_proved() {
    let mut server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room("den").await;
    let before = alice.send(&room, "before bob").await.unwrap();
    alice.invite(&room, &bob).await.unwrap();
    bob.join(&room).await.unwrap();
    let after = alice.send(&room, "after bob").await.unwrap();
    // A stop signs what is there.
    server.restart().await;
    let channel = server.channel().await;
    let (alice, bob) = (alice.over(channel.clone()), bob.over(channel));
    let size = number(checkpoint(&alice).await.size());

    inclusion(&alice, before.index, size).await.unwrap();
    inclusion(&bob, after.index, size).await.unwrap();
    let eve = server.user("eve").await;
    for (who, index) in [(&bob, before.index), (&eve, before.index), (&eve, after.index)] {
        refused(inclusion(who, index, size).await, ErrorReason::EventNotFound);
    }
    // Of rows outside rooms, those that one did, or that were done to one.
    let own = (0..size).filter(|index| *index < before.index);
    let mut provable = [0, 0];
    for index in own {
        for (count, who) in provable.iter_mut().zip([&alice, &bob]) {
            match inclusion(who, index, size).await {
                Ok(_) => *count += 1,
                Err(refusal) => assert_eq!(refusal.reason, ErrorReason::EventNotFound),
            }
        }
    }
    assert!(
        provable.iter().all(|count| (1..before.index).contains(count)),
        "{provable:?}"
    );

    for (index, size) in [
        (-1, size),
        (0, 0),
        (0, -1),
        (0, size + 1),
        (0, i64::MAX),
        (size, size),
        (i64::MIN, size),
    ] {
        refused(inclusion(&alice, index, size).await, ErrorReason::InvalidField);
    }
    for (old, new) in [
        (0, size),
        (-1, size),
        (2, 1),
        (1, size + 1),
        (1, i64::MAX),
        (i64::MIN, i64::MIN),
    ] {
        refused(consistency(&alice, old, new).await, ErrorReason::InvalidField);
    }
    let nobody = alice.with_token("gt_nobody");
    refused(consistency(&nobody, 1, 1).await, ErrorReason::SessionEnded);
}

/// What a server that does not start says.
async fn refusal(server: &mut Server) -> String {
    let before = server.log().len();
    let status = server.spawn().await.expect_err("it starts");
    assert_eq!(status.code(), Some(1));
    server.log()[before..].to_owned()
}

#[tokio::test]
async fn a_journal_that_was_set_back_goes_on_only_if_an_operator_says_so() {
    let mut server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let general = server.general().await;
    alice.send(&general, "what everybody knows").await.unwrap();
    assert!(server.terminate().await.success());
    let old = std::fs::read(server.database()).unwrap();
    server.spawn().await.unwrap();
    let alice = server.login("alice").await;
    alice.send(&general, "what somebody wants to be gone").await.unwrap();
    let epoch = server.info().await.epoch;
    let gone = number(checkpoint(&alice).await.size());
    assert!(server.terminate().await.success());
    std::fs::write(server.database(), &old).unwrap();

    // A file that is no checkpoint is none, however long it is.
    let file = server.data_dir().join("checkpoint");
    let signed = std::fs::read(&file).unwrap();
    for wrong in [&b""[..], b"\n\n", &vec![b'a'; 1 << 20]] {
        std::fs::write(&file, wrong).unwrap();
        let said = refusal(&mut server).await;
        assert!(said.contains("cannot be trusted"), "{said}");
    }
    std::fs::write(&file, signed).unwrap();

    // The copy is whole in itself, and an honest check of it alone finds nothing.
    let kept = std::fs::read(server.data_dir().join("checkpoint")).unwrap();
    std::fs::remove_file(server.data_dir().join("checkpoint")).unwrap();
    server.check().await;
    std::fs::write(server.data_dir().join("checkpoint"), kept).unwrap();
    let (status, _, stderr) = server.run(&["check"]).await;
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("checkpoint"), "{stderr}");
    let said = refusal(&mut server).await;
    assert!(said.contains("--accept-restore"), "{said}");

    for wrong in ["", "two\nlines", &"x".repeat(257)] {
        let (status, _, stderr) = server.run(&["--accept-restore", wrong]).await;
        assert_eq!(status.code(), Some(2), "{stderr}");
    }
    server.options_mut().arguments = vec!["--accept-restore".into(), "the disk broke".into()];
    server.spawn().await.unwrap();
    assert_ne!(server.info().await.epoch, epoch);
    let alice = server.login("alice").await;
    let new = checkpoint(&alice).await;
    assert!(number(new.size()) <= gone + 4);
    // The key is the same one, under the name of the journal that goes on.
    let keys = keys(&alice).await;
    assert_eq!(keys.len(), 2);
    let succession = Note::from_bytes(keys[1].succession.as_bytes()).unwrap();
    let before = VerifierList::new(vec![Box::new(StandardVerifier::new(&keys[0].verifier_key).unwrap())]);
    succession.verify(&before).unwrap();
    assert_eq!(
        succession.text(),
        format!("greffe key\n{}\n", keys[1].verifier_key).as_bytes()
    );
    server.options_mut().arguments.clear();
    server.restart().await;
    assert!(server.terminate().await.success());
    server.check().await;
}

#[tokio::test]
async fn a_history_that_was_rewritten_in_all_tables_is_found_by_the_checkpoint_beside_it() {
    // Everything in the database fits together: it is another server's. Only the file beside it knows.
    let mut server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    alice.send(&server.general().await, "as it was").await.unwrap();
    assert!(server.terminate().await.success());
    let mut other = Server::start(&[]).await;
    for name in ["alice", "bob", "carol", "dave"] {
        let user = other.user(name).await;
        user.send(&other.general().await, "as somebody would like it").await.unwrap();
    }
    assert!(other.terminate().await.success());
    other.check().await;
    std::fs::copy(other.database(), server.database()).unwrap();
    let (status, _, stderr) = server.run(&["check"]).await;
    assert_eq!(status.code(), Some(1), "{stderr}");
    let said = refusal(&mut server).await;
    assert!(said.contains("checkpoint"), "{said}");
}

#[tokio::test]
async fn a_subtree_that_was_changed_is_found_by_check() {
    let mut server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let general = server.general().await;
    for number in 0..300 {
        alice.send(&general, &format!("message {number}")).await.unwrap();
    }
    assert!(server.terminate().await.success());
    server.check().await;
    let whole = std::fs::read(server.database()).unwrap();
    for change in [
        "UPDATE subtree SET root = zeroblob(32)",
        "DELETE FROM subtree",
        "UPDATE subtree SET number = 7",
        "UPDATE checkpoint SET note = replace(note, 'greffe/', 'greffe/0')",
        "UPDATE checkpoint SET note = ''",
    ] {
        tamper(&server, change);
        let (status, _, stderr) = server.run(&["check"]).await;
        assert_eq!(status.code(), Some(1), "{change}: {stderr}");
        std::fs::write(server.database(), &whole).unwrap();
    }
    // A release that kept none left nothing: they are made at the start.
    tamper(&server, "DELETE FROM subtree");
    server.spawn().await.unwrap();
    assert!(server.terminate().await.success());
    server.check().await;
}

#[tokio::test]
async fn a_lost_key_is_replaced_only_if_an_operator_says_so_and_everyone_is_told() {
    use std::os::unix::fs::PermissionsExt as _;

    let mut server = Server::start_with(Options::default()).await;
    let alice = server.user("alice").await;
    let first = keys(&alice).await;
    assert_eq!((first.len(), first[0].succession.as_str()), (1, ""));
    let file = server.data_dir().join("journal.key");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(server.terminate().await.success());

    let key = std::fs::read(&file).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let said = refusal(&mut server).await;
    assert!(said.contains("chmod 600"), "{said}");
    std::fs::remove_file(&file).unwrap();
    let said = refusal(&mut server).await;
    assert!(said.contains("--new-key"), "{said}");
    std::fs::write(&file, "PRIVATE+KEY+nonsense\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let said = refusal(&mut server).await;
    assert!(said.contains("copy the file from a backup"), "{said}");
    std::fs::write(&file, &key).unwrap();
    server.spawn().await.unwrap();
    assert!(server.terminate().await.success());

    std::fs::remove_file(&file).unwrap();
    server.options_mut().arguments = vec!["--new-key".into()];
    server.spawn().await.unwrap();
    let alice = server.login("alice").await;
    let both = keys(&alice).await;
    assert_eq!(both.len(), 2);
    assert_eq!(
        (&both[0].verifier_key, both[1].succession.as_str()),
        (&first[0].verifier_key, "")
    );
    assert_ne!(both[1].verifier_key, first[0].verifier_key);
    checkpoint(&alice).await;
    server.options_mut().arguments.clear();
    server.restart().await;
    assert!(server.terminate().await.success());
    server.check().await;
}
