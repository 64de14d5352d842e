//! Looks at what a server shows, and holds it against what was kept.

use greffe_api::record::checkpoint::Checkpoint;
use greffe_api::record::proof::check_consistency;
use greffe_api::v1::{RecordKey, Restoration};
use tonic::Code;

use super::super::error::{Error, reason};
use super::chain::{ChainError, follow, set_back};
use super::memory::{Memory, Signed, Store};
use super::source::Source;
use super::{Compared, KeptCheckpoint, Witnessed, both};

/// How often a checkpoint is asked for again if the server's key was just replaced, or another program has seen a newer one.
const TRIES: usize = 3;

/// What a server shows.
struct Shown {
    signed: Signed,
    /// There if it was asked for.
    listed: Option<(Vec<RecordKey>, Vec<Restoration>)>,
}

/// That something is no checkpoint.
pub(super) fn unreadable(why: &str) -> Error {
    Error::local(Code::InvalidArgument, reason::CHECKPOINT_UNREADABLE, why)
}

/// What is wrong with a server, as the text of an error.
fn changed(place: &str, why: &str, rest: &str) -> Error {
    let text = format!("THE RECORD OF {place} IS NOT WHAT IT WAS: {why}.\n\n{rest}");
    Error::local(Code::DataLoss, reason::RECORD_CHANGED, text)
}

/// Whether a server has no such service.
fn is_unsupported(error: &Error) -> bool {
    error.code == Code::Unimplemented
}

/// The newest checkpoint of a server and the key that signed it. The keys are asked for if `trusted` did not.
async fn show(source: &impl Source, trusted: Option<&str>, place: &str) -> Result<Shown, Error> {
    let mut tries = TRIES;
    loop {
        let note = source.checkpoint().await?;
        let signed = Signed::read(&note).ok_or_else(|| Error::malformed("a checkpoint"))?;
        if trusted.is_some_and(|key| signed.is_by(key)) {
            return Ok(Shown { signed, listed: None });
        }
        let listed = source.keys().await?;
        if listed.0.last().is_some_and(|key| signed.is_by(&key.verifier_key)) {
            return Ok(Shown {
                signed,
                listed: Some(listed),
            });
        }
        tries -= 1;
        if tries == 0 {
            let why = "what it shows as its newest checkpoint is not signed with its newest key";
            return Err(changed(place, why, &note));
        }
    }
}

/// The newest checkpoint of a server, and the key that signed it.
pub(super) async fn newest(source: &impl Source) -> Result<(String, String), Error> {
    let shown = show(source, None, "the server").await?;
    let key = shown.listed.and_then(|(mut keys, _)| keys.pop()).unwrap_or_default();
    Ok((shown.signed.note, key.verifier_key))
}

/// Whether a server proves that what it shows goes on from `old`. `Ok(false)`: it does not.
async fn goes_on(source: &impl Source, old: &Checkpoint, new: &Checkpoint) -> Result<bool, Error> {
    if old.size > new.size {
        return Ok(false);
    }
    if old.size == new.size || old.size == 0 {
        return Ok(old.size == 0 || old.root == new.root);
    }
    match source.consistency(old.size, new.size).await {
        Ok(proof) => Ok(check_consistency((old.size, &old.root), (new.size, &new.root), &proof).is_ok()),
        // A server that refuses to prove, and one that answers with what is no proof, has none.
        Err(error) if matches!(error.code, Code::InvalidArgument | Code::NotFound) => Ok(false),
        Err(error) if error.reason == reason::MALFORMED_ANSWER => Ok(false),
        Err(error) => Err(error),
    }
}

/// Looks at the newest checkpoint, and keeps it if it goes on from the one that was kept.
pub(super) async fn witness(source: &impl Source, store: &Store, accept: bool) -> Result<Witnessed, Error> {
    let Some(_lock) = store.lock()? else {
        return Ok(Witnessed::Busy);
    };
    let memory = store.load()?;
    let trusted = memory.as_ref().map(|memory| memory.key().to_owned());
    let mut shown = match show(source, trusted.as_deref(), store.place()).await {
        Err(error) if is_unsupported(&error) => return Ok(Witnessed::Unsupported),
        shown => shown?,
    };
    let Some(memory) = memory else {
        return first(store, shown);
    };
    if is_behind(&memory, &shown) {
        // It may have been on its way while another program was shown a newer one.
        shown = show(source, trusted.as_deref(), store.place()).await?;
    }
    let keys = match &shown.listed {
        None => Vec::new(),
        Some((keys, _)) => match follow(memory.key(), keys, accept) {
            Ok(keys) => keys,
            Err(error @ ChainError::Unvouched(_)) => return Err(replaced(store, &memory, &shown, &error)?),
            Err(error) => return Err(mismatch(store, &memory, &shown, &error.to_string())?),
        },
    };
    let (old, new) = (&memory.newest.checkpoint, &shown.signed.checkpoint);
    if old.origin != new.origin {
        return restored(source, store, memory, shown, &keys).await;
    }
    if is_behind(&memory, &shown) {
        let why = format!("it shows {} rows, and has shown {}", new.size, old.size);
        return Err(mismatch(store, &memory, &shown, &why)?);
    }
    if !goes_on(source, old, new).await? {
        let why = format!("its first {} rows are others than they were", old.size);
        return Err(mismatch(store, &memory, &shown, &why)?);
    }
    let (since, size) = (old.size, new.size);
    store.save(&memory.renewed(shown.signed, &keys))?;
    Ok(Witnessed::GoesOn { size, since, keys })
}

/// Whether fewer rows are shown of a journal than were shown before.
fn is_behind(memory: &Memory, shown: &Shown) -> bool {
    let (old, new) = (&memory.newest.checkpoint, &shown.signed.checkpoint);
    old.origin == new.origin && new.size < old.size
}

/// Looks at a journal that says it was restored: what both have in common must be the same.
async fn restored(
    source: &impl Source,
    store: &Store,
    memory: Memory,
    shown: Shown,
    keys: &[String],
) -> Result<Witnessed, Error> {
    let (old, new) = (&memory.newest.checkpoint, &shown.signed.checkpoint);
    let restorations = shown.listed.as_ref().map_or(&[][..], |(_, restorations)| restorations);
    let Some(back) = set_back(&old.origin, &new.origin, restorations) else {
        let why = "it is another journal, and the server says of no restore";
        return Err(mismatch(store, &memory, &shown, why)?);
    };
    let common = memory.at_most(back.kept.min(new.size)).map(|signed| &signed.checkpoint);
    if let Some(common) = common
        && !goes_on(source, common, new).await?
    {
        let why = "it was restored, and also the rows that it says it kept are others";
        return Err(mismatch(store, &memory, &shown, why)?);
    }
    let evidence = store.evidence("restored", &both(&memory.newest.note, &shown.signed.note))?;
    let gone = (old.size > back.kept).then(|| (back.kept, old.size - 1));
    let (same, size) = (common.map_or(0, |common| common.size), new.size);
    let mut renewed = memory.renewed(shown.signed, keys);
    renewed.older.retain(|signed| signed.checkpoint.size <= back.kept);
    store.save(&renewed)?;
    Ok(Witnessed::Restored {
        gone,
        same,
        size,
        reason: back.reason,
        evidence,
    })
}

/// That what a server shows does not go on from what it showed. Both are kept.
fn mismatch(store: &Store, memory: &Memory, shown: &Shown, why: &str) -> Result<Error, Error> {
    let text = both(&memory.newest.note, &shown.signed.note);
    let path = store.evidence("mismatch", &format!("{why}\n\n{text}"))?;
    let advice = format!(
        "Nothing that was kept was changed; both are in {}. Do not trust what you read there until the operator has explained it. If the \
         explanation is good, move {} away: then the next checkpoint is taken as the first one.",
        path.display(),
        store.directory().display()
    );
    Ok(changed(store.place(), why, &format!("{text}\n{advice}")))
}

/// Keeps the first checkpoint of a server.
fn first(store: &Store, shown: Shown) -> Result<Witnessed, Error> {
    let key = shown
        .listed
        .and_then(|(mut keys, _)| keys.pop())
        .unwrap_or_default()
        .verifier_key;
    let checkpoint = shown.signed.note.clone();
    store.save(&Memory {
        keys: vec![key.clone()],
        newest: shown.signed,
        older: Vec::new(),
    })?;
    Ok(Witnessed::First { checkpoint, key })
}

/// That the server signs with a key for which nobody vouches.
fn replaced(store: &Store, memory: &Memory, shown: &Shown, why: &ChainError) -> Result<Error, Error> {
    let text = format!(
        "trusted until now:\n{}\n\n{}",
        memory.key(),
        both(&memory.newest.note, &shown.signed.note)
    );
    let path = store.evidence("key", &format!("{why}\n\n{text}"))?;
    let text = format!(
        "THE KEY OF {} WAS REPLACED: {why}. An operator who lost a key does this, and so does who has stolen a server.\n\n{text}\nAll of this is in \
         {}. Ask the operator, by other ways than this server, whether the key was lost; then accept the new one.",
        store.place(),
        path.display()
    );
    Ok(Error::local(Code::DataLoss, reason::KEY_REPLACED, text))
}

/// Whether a server's journal goes on from a checkpoint that was kept elsewhere.
pub(super) async fn kept(source: &impl Source, kept: &KeptCheckpoint, place: &str) -> Result<Compared, Error> {
    let shown = show(source, None, place).await?;
    let (old, new) = (&kept.checkpoint, &shown.signed.checkpoint);
    let (keys, restorations) = shown.listed.as_ref().map_or((&[][..], &[][..]), |(keys, rest)| (keys, rest));
    let text = || match &kept.note {
        Some(note) => both(&note.to_string(), &shown.signed.note),
        None => both(&old.to_string(), &shown.signed.note),
    };
    let key = match &kept.note {
        None => None,
        Some(note) => {
            let note = note.to_string();
            let by = |key: &&RecordKey| Signed::read(&note).is_some_and(|signed| signed.is_by(&key.verifier_key));
            let Some(key) = keys.iter().rfind(by) else {
                let why = "the checkpoint that was kept is not signed with any key that the server says it ever had";
                return Err(changed(place, why, &text()));
            };
            Some(key.verifier_key.clone())
        }
    };
    let before_restore = old.origin != new.origin;
    if before_restore {
        let Some(back) = set_back(&old.origin, &new.origin, restorations) else {
            return Err(changed(
                place,
                "it is another journal, and the server says of no restore",
                &text(),
            ));
        };
        if old.size > back.kept {
            let why = format!(
                "it was restored ({}): rows {} to {} are gone, and with them what could be compared",
                back.reason,
                back.kept,
                old.size - 1
            );
            return Err(changed(place, &why, &text()));
        }
    }
    if !goes_on(source, old, new).await? {
        let why = if old.size > new.size {
            format!("it shows {} rows, and had {}", new.size, old.size)
        } else {
            format!("its first {} rows are others than they were", old.size)
        };
        return Err(changed(place, &why, &text()));
    }
    Ok(Compared {
        size: old.size,
        newest: new.size,
        key,
        before_restore,
    })
}
