//! Checkpoints that were kept, against the journal that is there.

use std::collections::HashMap;
use std::path::Path;

use diesel::SqliteConnection;
use greffe_api::record::checkpoint::Checkpoint;
use greffe_api::record::note::Note;
use greffe_api::v1::event_body::Content;

use super::CheckError;
use crate::domain::entry::Entry;
use crate::journal::tree::{Edge, Hash};
use crate::notary::{self, opened};
use crate::store::sqlite::tree::checkpoint;

/// What is known of checkpoints while the journal is gone through.
pub(super) struct Checkpoints {
    /// Where notes were kept, and the notes.
    kept: Vec<(&'static str, Vec<u8>)>,
    /// Roots of the journal at the sizes that the notes are of.
    roots: HashMap<u64, Option<Hash>>,
    keys: Vec<String>,
}

impl Checkpoints {
    /// Reads what was kept beside the database, and in it.
    pub(super) fn read(path: &Path, connection: &mut SqliteConnection) -> Result<Self, CheckError> {
        let in_file = notary::kept(path).map_err(|error| CheckError::Checkpoint(error.to_string()))?;
        let in_database = checkpoint(connection)?.map(String::into_bytes);
        let places = [(notary::IN_FILE, in_file), (notary::IN_DATABASE, in_database)];
        let kept: Vec<_> = places.into_iter().filter_map(|(place, note)| Some((place, note?))).collect();
        let size = |note: &[u8]| Some(Note::parse(note).ok()?.text().parse::<Checkpoint>().ok()?.size);
        let roots = kept.iter().filter_map(|(_, note)| Some((size(note)?, None))).collect();
        Ok(Self {
            kept,
            roots,
            keys: Vec::new(),
        })
    }

    /// Takes in the tree as it is at some size.
    pub(super) fn pass(&mut self, edge: &Edge) {
        if let Some(root) = self.roots.get_mut(&edge.size()) {
            *root = Some(edge.root());
        }
    }

    /// Takes in a row, which may add a key.
    pub(super) fn take(&mut self, entry: &Entry) {
        if let Content::KeyAdded(added) = &entry.draft.content {
            self.keys.push(added.verifier_key.clone());
        }
    }

    /// Whether the journal is the one that was signed.
    pub(super) fn compare(&self) -> Result<(), CheckError> {
        for (place, note) in &self.kept {
            let wrong = |why: String| CheckError::Checkpoint(format!("the checkpoint in {place}: {why}"));
            let signed =
                opened(note, self.keys.iter().map(String::as_str)).map_err(|error| wrong(error.to_string()))?;
            match self.roots.get(&signed.size).copied().flatten() {
                None => {
                    return Err(wrong(format!(
                        "the journal has fewer than the {} rows that it had",
                        signed.size
                    )));
                }
                Some(root) if root != signed.root => {
                    return Err(wrong(format!(
                        "the first {} rows are not those that were signed",
                        signed.size
                    )));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}
