use std::collections::VecDeque;
use std::error::Error as StdError;
use std::sync::Mutex;

use greffe_api::record::checkpoint::{Checkpoint, origin};
use greffe_api::record::key::SigningKey;
use greffe_api::record::note::Note;
use greffe_api::record::proof::consistency_spans;
use greffe_api::record::tree::{Edge, Hash, leaf_hash};
use greffe_api::v1::{RecordKey, Restoration};
use proptest::prelude::*;

use super::super::error::{Code, Error, reason};
use super::chain::{ChainError, follow, set_back};
use super::compare::witness;
use super::memory::{Memory, Signed, Store};
use super::source::Source;
use super::{Witnessed, directory_of};

type Outcome = Result<(), Box<dyn StdError>>;

/// A server that says what it is told to say.
struct Liar {
    leaves: Vec<Hash>,
    keys: Vec<RecordKey>,
    restorations: Vec<Restoration>,
    /// What it shows, one after the other; the last one again and again.
    shown: Mutex<VecDeque<String>>,
    /// What it gives as a proof, if not the right one.
    proof: Option<Result<Vec<Hash>, Error>>,
}

fn leaves(count: u8, kind: u8) -> Vec<Hash> {
    (0..count).map(|number| leaf_hash(&[kind, number])).collect()
}

fn root(leaves: &[Hash]) -> Hash {
    let mut edge = Edge::default();
    for leaf in leaves {
        edge.push(*leaf);
    }
    edge.root()
}

fn key(id: &str, seed: u8) -> SigningKey {
    SigningKey::from_seed(&origin(id), [seed; 32]).expect("it is a name")
}

fn signed(leaves: &[Hash], size: usize, key: &SigningKey) -> String {
    let checkpoint = Checkpoint {
        origin: key.verifier().name().to_owned(),
        size: size as u64,
        root: root(&leaves[..size]),
    };
    checkpoint.sign(key).expect("it can be signed").to_string()
}

fn added(key: &SigningKey, before: Option<&SigningKey>) -> RecordKey {
    let text = format!("greffe key\n{}\n", key.verifier());
    let succession = before.map(|before| Note::sign(text, before).expect("it can be signed").to_string());
    RecordKey {
        verifier_key: key.verifier().to_string(),
        succession: succession.unwrap_or_default(),
        ..RecordKey::default()
    }
}

impl Liar {
    fn new(leaves: Vec<Hash>, shown: &[String], keys: Vec<RecordKey>) -> Self {
        Self {
            leaves,
            keys,
            restorations: Vec::new(),
            shown: Mutex::new(shown.iter().cloned().collect()),
            proof: None,
        }
    }
}

impl Source for Liar {
    async fn checkpoint(&self) -> Result<String, Error> {
        let mut shown = self.shown.lock().expect("nobody panics");
        let next = if shown.len() > 1 {
            shown.pop_front()
        } else {
            shown.front().cloned()
        };
        Ok(next.unwrap_or_default())
    }

    async fn keys(&self) -> Result<(Vec<RecordKey>, Vec<Restoration>), Error> {
        Ok((self.keys.clone(), self.restorations.clone()))
    }

    async fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, Error> {
        if let Some(proof) = &self.proof {
            return proof.clone();
        }
        let at = |number: u64| usize::try_from(number).expect("it is small");
        let spans = consistency_spans(old, new).expect("it is asked in order");
        Ok(spans
            .iter()
            .map(|span| root(&self.leaves[at(span.begin)..at(span.end)]))
            .collect())
    }
}

fn store(directory: &tempfile::TempDir) -> Result<Store, Error> {
    Store::of(Some(directory.path()), "https://chat.example.org:1")
}

async fn looks(liar: &Liar, store: &Store) -> Result<Witnessed, String> {
    witness(liar, store, false).await.map_err(|error| error.reason)
}

#[tokio::test]
async fn an_older_checkpoint_that_was_on_its_way_is_asked_for_again_and_one_that_stays_is_told() -> Outcome {
    let directory = tempfile::tempdir()?;
    let store = store(&directory)?;
    let (rows, key) = (leaves(60, 0), key("aa", 1));
    let at = |size: usize| signed(&rows, size, &key);
    let liar = |shown: &[String]| Liar::new(rows.clone(), shown, vec![added(&key, None)]);
    assert!(matches!(
        looks(&liar(&[at(40)]), &store).await?,
        Witnessed::First { .. }
    ));
    let again = looks(&liar(&[at(30), at(41)]), &store).await?;
    assert!(matches!(
        again,
        Witnessed::GoesOn {
            size: 41,
            since: 40,
            ..
        }
    ));
    assert_eq!(
        looks(&liar(&[at(30)]), &store).await,
        Err(reason::RECORD_CHANGED.to_owned())
    );
    let same = looks(&liar(&[at(41)]), &store).await?;
    assert!(matches!(
        same,
        Witnessed::GoesOn {
            size: 41,
            since: 41,
            ..
        }
    ));
    Ok(())
}

#[tokio::test]
async fn no_proof_is_good_but_the_right_one() -> Outcome {
    let directory = tempfile::tempdir()?;
    let store = store(&directory)?;
    let (rows, stranger, key) = (leaves(60, 0), key("aa", 9), key("aa", 1));
    let at = |size: usize| signed(&rows, size, &key);
    looks(&Liar::new(rows.clone(), &[at(20)], vec![added(&key, None)]), &store).await?;
    let malformed = Error::local(Code::Internal, reason::MALFORMED_ANSWER, "no hashes");
    for proof in [
        Ok(Vec::new()),
        Ok(vec![[0; 32]; 5]),
        Ok(vec![[0; 32]; 100_000]),
        Err(malformed),
        Err(Error::local(Code::InvalidArgument, "INVALID_FIELD", "no such size")),
    ] {
        let mut liar = Liar::new(rows.clone(), &[at(50)], vec![added(&key, None)]);
        liar.proof = Some(proof);
        assert_eq!(looks(&liar, &store).await, Err(reason::RECORD_CHANGED.to_owned()));
    }
    // A server that has other troubles has not lied.
    let mut liar = Liar::new(rows.clone(), &[at(50)], vec![added(&key, None)]);
    liar.proof = Some(Err(Error::unreachable("gone")));
    assert_eq!(looks(&liar, &store).await, Err(reason::UNREACHABLE.to_owned()));
    // Another history, and one of the same size.
    for size in [20, 50] {
        let other = leaves(60, 1);
        let liar = Liar::new(other.clone(), &[signed(&other, size, &key)], vec![added(&key, None)]);
        assert_eq!(looks(&liar, &store).await, Err(reason::RECORD_CHANGED.to_owned()));
    }
    // What is none, or signed by somebody else.
    let stranger = signed(&rows, 50, &stranger);
    for shown in ["", "\n", "\n\n", &stranger] {
        let liar = Liar::new(rows.clone(), &[shown.to_owned()], vec![added(&key, None)]);
        assert!(looks(&liar, &store).await.is_err(), "{shown}");
    }
    let good = looks(&Liar::new(rows.clone(), &[at(50)], vec![added(&key, None)]), &store).await?;
    assert!(
        matches!(good, Witnessed::GoesOn { since: 20, .. }),
        "nothing of that was kept"
    );
    Ok(())
}

#[test]
fn keys_follow_each_other_only_if_each_vouches_for_the_next() {
    let keys = [key("aa", 1), key("aa", 2), key("bb", 2)];
    let chain: Vec<RecordKey> = vec![
        added(&keys[0], None),
        added(&keys[1], Some(&keys[0])),
        added(&keys[2], Some(&keys[1])),
    ];
    let name = |at: usize| keys[at].verifier().to_string();
    assert_eq!(follow(&name(0), &chain, false), Ok(vec![name(1), name(2)]));
    assert_eq!(follow(&name(2), &chain, false), Ok(Vec::new()));
    assert_eq!(
        follow("greffe/cc+00000000+AA==", &chain, false),
        Err(ChainError::Unknown)
    );
    let mut lost = chain.clone();
    lost[1].succession.clear();
    assert_eq!(follow(&name(0), &lost, false), Err(ChainError::Unvouched(name(1))));
    assert_eq!(follow(&name(0), &lost, true), Ok(vec![name(1), name(2)]));
    // A note about another key, or of another key.
    for wrong in [added(&keys[2], Some(&keys[0])), added(&keys[1], Some(&keys[2]))] {
        let mut forged = chain.clone();
        forged[1].succession = wrong.succession;
        for accept in [false, true] {
            assert_eq!(follow(&name(0), &forged, accept), Err(ChainError::Form));
        }
    }
}

#[test]
fn restores_lead_from_one_journal_to_another_and_the_shortest_counts() {
    let restored = |from: &str, to: &str, size: i64| Restoration {
        previous_journal_id: from.into(),
        journal_id: to.into(),
        previous_size: size,
        reason: format!("from {from}"),
        ..Restoration::default()
    };
    let chain = [restored("a", "b", 7), restored("b", "c", 5), restored("c", "d", 9)];
    let back = |from: &str, to: &str| set_back(&origin(from), &origin(to), &chain).map(|back| back.kept);
    assert_eq!(back("a", "d"), Some(5));
    assert_eq!(back("c", "d"), Some(9));
    for (from, to) in [("a", "c"), ("d", "a"), ("a", "a"), ("x", "d")] {
        assert_eq!(back(from, to), None, "{from} {to}");
    }
    assert_eq!(set_back(&origin("a"), &origin("b"), &[restored("a", "b", -1)]), None);
}

#[test]
fn no_address_leads_out_of_the_directory() {
    let witness = std::path::Path::new("/w");
    for place in [
        "../../etc",
        "/",
        "",
        "unix:/a/b",
        &"x".repeat(1000),
        "https://[::1]:7",
        "\u{202e}",
    ] {
        let directory = directory_of(witness, place);
        assert_eq!(directory.parent(), Some(witness), "{place}");
        assert!(directory.file_name().is_some_and(|name| name.len() < 100));
    }
    assert_ne!(directory_of(witness, "a.b"), directory_of(witness, "a_b"));
}

proptest! {
    #[test]
    fn few_older_ones_are_kept_and_some_of_each_size(sizes in proptest::collection::btree_set(1..5_000_u64, 1..300)) {
        let of = |size: u64| Signed {
            note: String::new(),
            checkpoint: Checkpoint { origin: origin("aa"), size, root: [0; 32] },
        };
        let mut sizes = sizes.into_iter();
        let first = sizes.next().unwrap_or(1);
        let mut memory = Memory { keys: vec!["k".into()], newest: of(first), older: Vec::new() };
        let mut all = vec![first];
        for size in sizes {
            memory = memory.renewed(of(size), &[]);
            all.push(size);
        }
        let newest = all.last().copied();
        prop_assert_eq!(Some(memory.newest.checkpoint.size), newest);
        let older: Vec<u64> = memory.older.iter().map(|signed| signed.checkpoint.size).collect();
        prop_assert!(older.is_sorted() && older.iter().all(|size| Some(*size) < newest));
        for power in 0..13 {
            let of_power = |sizes: &[u64]| sizes.iter().filter(|size| size.ilog2() == power).count();
            let there = of_power(&all[..all.len() - 1]);
            prop_assert_eq!(of_power(&older), there.min(8));
        }
        for limit in [0, first, 100, 1000, 5000] {
            let found = memory.at_most(limit).map(|signed| signed.checkpoint.size);
            let kept = older.iter().copied().chain(newest).filter(|size| *size <= limit).max();
            prop_assert_eq!(found, kept);
        }
    }
}
