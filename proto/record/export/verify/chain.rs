//! The journal's keys: those in the file, against the rows that added them.

use super::files::{read_small, text_lines};
use super::{Finding, Source, VerifyError};
use crate::record::checkpoint::origin;
use crate::record::key::VerifierKey;
use crate::record::note::Note;
use crate::v1::KeyAdded;
use crate::v1::event_body::Content;

/// Keys of a journal, at most.
const KEYS: usize = 100_000;

/// A time that the journal went on from fewer rows than it had.
#[derive(Debug)]
pub(super) struct Restore {
    pub(super) index: i64,
    pub(super) previous_size: u64,
    pub(super) previous_origin: String,
}

/// The keys, oldest first.
#[derive(Debug)]
pub(super) struct Chain {
    keys: Vec<VerifierKey>,
    /// Of each key that a row added so far, whether the one before signed it.
    signed: Vec<bool>,
    journal_id: String,
    pub(super) restores: Vec<Restore>,
}

impl Chain {
    /// Reads the file `keys`.
    pub(super) fn read(source: &Source) -> Result<Self, VerifyError> {
        let bytes = read_small(source, "keys")?;
        let mut keys: Vec<VerifierKey> = Vec::new();
        for (number, text) in text_lines("keys", &bytes)?.enumerate() {
            let wrong = || Finding::at("keys", format!("line {}", number + 1), "it is no key");
            let key: VerifierKey = text.parse().map_err(|_| wrong())?;
            if key.to_string() != text || keys.len() >= KEYS {
                return Err(wrong().into());
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(Finding::new("keys", "there is none").into());
        }
        Ok(Self {
            keys,
            signed: Vec::new(),
            journal_id: String::new(),
            restores: Vec::new(),
        })
    }

    /// The key that signs.
    pub(super) fn last(&self) -> &VerifierKey {
        self.keys.last().expect("there is one")
    }

    pub(super) fn keys(&self) -> &[VerifierKey] {
        &self.keys
    }

    /// Takes in what a row says.
    pub(super) fn take(&mut self, index: i64, content: &Content) -> Result<(), String> {
        match content {
            Content::JournalCreated(created) if index == 0 => self.journal_id.clone_from(&created.journal_id),
            Content::JournalCreated(_) => return Err("a journal begins once".into()),
            Content::Restored(restored) => {
                if restored.previous_journal_id != self.journal_id {
                    return Err("it goes on from another journal".into());
                }
                self.restores.push(Restore {
                    index,
                    previous_size: u64::try_from(restored.previous_size).map_err(|_| "it has no size")?,
                    previous_origin: origin(&restored.previous_journal_id),
                });
                self.journal_id.clone_from(&restored.journal_id);
            }
            Content::KeyAdded(added) => self.add(added)?,
            _ => {}
        }
        Ok(())
    }

    fn add(&mut self, added: &KeyAdded) -> Result<(), String> {
        let number = self.signed.len();
        let key = self.keys.get(number).ok_or("it adds a key that is not in the file `keys`")?;
        if added.verifier_key != key.to_string() {
            return Err("it adds another key than the file `keys` has".into());
        }
        if key.name() != origin(&self.journal_id) {
            return Err("its key is not named after the journal".into());
        }
        let before = number.checked_sub(1).and_then(|before| self.keys.get(before));
        let signed = match before {
            None if added.succession.is_empty() => true,
            Some(_) if added.succession.is_empty() => false,
            None => return Err("the first key has none before it".into()),
            Some(before) => {
                let note = Note::parse(added.succession.as_bytes()).map_err(|error| error.to_string())?;
                note.check(before).map_err(|error| error.to_string())?;
                if note.text() != format!("greffe key\n{key}\n") {
                    return Err("the key before signed something else than this key".into());
                }
                true
            }
        };
        self.signed.push(signed);
        Ok(())
    }

    /// Whether rows added all keys.
    pub(super) fn compare(&self) -> Result<(), String> {
        if self.signed.len() == self.keys.len() {
            Ok(())
        } else {
            Err("no row added its last key".into())
        }
    }

    /// Whether a key is known, from which on each one signed the next. No if nobody knows any.
    pub(super) fn trust(&self, known: &[VerifierKey]) -> Result<bool, String> {
        for key in known {
            let Some(number) = self.keys.iter().position(|own| own == key) else {
                return Err(format!("the key {key} is none of this journal's"));
            };
            if !self.signed[number + 1..].iter().all(|signed| *signed) {
                return Err(format!(
                    "a key after {key} was not signed by the one before it: ask the operator, by other ways than the server, whether that was lost"
                ));
            }
        }
        Ok(!known.is_empty())
    }

    /// What is to be said about the keys.
    pub(super) fn notes(&self) -> Vec<String> {
        let lost = self.signed.iter().filter(|signed| !**signed).count();
        let mut notes = Vec::new();
        if lost > 0 {
            notes.push(format!(
                "{lost} of the journal's keys were lost and replaced, without the signature of the one before"
            ));
        }
        for restore in &self.restores {
            notes.push(format!(
                "the journal went on from a backup at row {}: rows from {} on are others than it had had",
                restore.index, restore.previous_size
            ));
        }
        notes
    }
}
