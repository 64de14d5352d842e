//! Checkpoints that were kept elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use super::chain::Chain;
use super::{Finding, Known};
use crate::record::checkpoint::Checkpoint;
use crate::record::note::Note;
use crate::record::tree::Hash;

/// Of which sizes they are.
pub(super) fn sizes(known: &Known) -> BTreeSet<u64> {
    let parsed = known.checkpoints.iter().filter_map(|(_, bytes)| {
        let note = Note::parse(bytes).ok()?;
        Some(note.text().parse::<Checkpoint>().ok()?.size)
    });
    parsed.collect()
}

/// Compares them with the tree; gives the sizes at which they agree.
pub(super) fn compare(
    known: &Known,
    chain: &Chain,
    roots: &BTreeMap<u64, Hash>,
    size: u64,
) -> Result<Vec<u64>, Finding> {
    let mut agree = Vec::new();
    for (name, bytes) in &known.checkpoints {
        let wrong = |why: String| Finding::new(name, why);
        let note = Note::parse(bytes).map_err(|error| wrong(error.to_string()))?;
        let found = chain.keys().iter().rev().find_map(|key| Checkpoint::open(&note, key).ok());
        let old = found.ok_or_else(|| wrong("none of the journal's keys signed it".into()))?;
        let gone = |restore: &&super::chain::Restore| {
            restore.previous_origin == old.origin && restore.previous_size < old.size
        };
        if let Some(restore) = chain.restores.iter().find(gone) {
            return Err(wrong(format!(
                "rows {} to {} of it are gone: row {} says that the journal went on from a backup without them",
                restore.previous_size,
                old.size - 1,
                restore.index
            )));
        }
        match roots.get(&old.size) {
            Some(root) if *root == old.root => agree.push(old.size),
            Some(_) => {
                return Err(wrong(format!(
                    "the journal of the export is another one: its first {} rows are not those that were signed then",
                    old.size
                )));
            }
            None if old.size > size => {
                return Err(wrong(format!(
                    "it is of {} rows, and the export of {size}: only the server, or a later export, can show that the two agree",
                    old.size
                )));
            }
            None => {
                return Err(wrong(format!(
                    "the export has nothing that shows whether it goes on from these {} rows; ask for one that has this size in its file `sizes`",
                    old.size
                )));
            }
        }
    }
    Ok(agree)
}
