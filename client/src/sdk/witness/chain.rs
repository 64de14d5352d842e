//! Keys that follow each other, and restores that do.

use greffe_api::record::checkpoint::origin;
use greffe_api::record::key::VerifierKey;
use greffe_api::record::note::Note;
use greffe_api::v1::{RecordKey, Restoration};

/// The first line of a note with which a key names the one after it.
const SUCCESSION: &str = "greffe key";

/// Why the keys of a server do not follow from the one that is trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ChainError {
    /// The server does not know the key that is trusted.
    #[error("the server does not know the key that signed until now")]
    Unknown,
    /// A key follows for which the one before does not vouch.
    #[error("it has a new key, for which the one before does not vouch: {0}")]
    Unvouched(String),
    /// What should be a key is none.
    #[error("one of its keys is none, or its succession is not what it should be")]
    Form,
}

/// The keys after `trusted`, each signed by the one before; or, if `accept`, without a signature.
pub(super) fn follow(trusted: &str, keys: &[RecordKey], accept: bool) -> Result<Vec<String>, ChainError> {
    let at = keys.iter().rposition(|key| key.verifier_key == trusted);
    let (mut before, later) = match at {
        Some(at) => (trusted.to_owned(), &keys[at + 1..]),
        // Whoever accepts a key accepts the newest one, wherever it comes from.
        None if accept => return Ok(keys.last().map(|key| key.verifier_key.clone()).into_iter().collect()),
        None => return Err(ChainError::Unknown),
    };
    let mut followed = Vec::with_capacity(later.len());
    for key in later {
        let parsed = |text: &str| text.parse::<VerifierKey>().map_err(|_| ChainError::Form);
        parsed(&key.verifier_key)?;
        if key.succession.is_empty() {
            if !accept {
                return Err(ChainError::Unvouched(key.verifier_key.clone()));
            }
        } else {
            let note = Note::parse(key.succession.as_bytes()).map_err(|_| ChainError::Form)?;
            note.check(&parsed(&before)?).map_err(|_| ChainError::Form)?;
            if note.text() != format!("{SUCCESSION}\n{}\n", key.verifier_key) {
                return Err(ChainError::Form);
            }
        }
        before.clone_from(&key.verifier_key);
        followed.push(before.clone());
    }
    Ok(followed)
}

/// What restores did to a journal since it had the origin `from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SetBack {
    /// Rows that all of them kept.
    pub(super) kept: u64,
    /// Why the last one was done.
    pub(super) reason: String,
}

/// Follows restores from one origin to another; none if they do not lead there.
pub(super) fn set_back(from: &str, to: &str, restorations: &[Restoration]) -> Option<SetBack> {
    let mut at = from.to_owned();
    let mut kept = u64::MAX;
    let mut reason = "";
    for restoration in restorations {
        if origin(&restoration.previous_journal_id) == at {
            at = origin(&restoration.journal_id);
            kept = kept.min(u64::try_from(restoration.previous_size).ok()?);
            reason = &restoration.reason;
        }
    }
    (at == to && at != from).then(|| SetBack {
        kept,
        reason: reason.to_owned(),
    })
}
