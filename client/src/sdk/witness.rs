//! A witness: keeps the newest checkpoint that a server has shown, and finds out whether what the server shows later goes on from it.
//!
//! A checkpoint says how many rows the server's journal has, and the root of their tree. Who kept one can tell for ever whether the rows up to it
//! are the same; the server alone, or who has stolen its key, cannot make another history that agrees with it. What is kept lies in a directory of
//! its own for each server, named by a hash of the server's address.

mod chain;
mod compare;
mod memory;
mod source;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use greffe_api::record::checkpoint::Checkpoint;
use greffe_api::record::note::Note;
use greffe_api::record::paper;

use self::memory::Store;
use super::client::Client;
use super::error::Error;
use super::operator::Operator;

/// What came of looking at a server's newest checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Witnessed {
    /// It is the first one that is kept of this server.
    First {
        /// The signed checkpoint.
        checkpoint: String,
        /// The key that signed it, and is trusted from now on.
        key: String,
    },
    /// It goes on from the one that was kept.
    GoesOn {
        /// Rows that it is of.
        size: u64,
        /// Rows that the one before was of.
        since: u64,
        /// Keys that took over since then, each signed by the one before, or accepted on purpose.
        keys: Vec<String>,
    },
    /// The server says that its journal was set back, or goes on from a backup, since then; what both have in common is the same.
    Restored {
        /// The first and the last row that are known to have been there and are not any more; none if all of them are.
        gone: Option<(u64, u64)>,
        /// Rows up to which the journal was found to be the same; 0 if no checkpoint of fewer rows was kept.
        same: u64,
        /// Rows that it has now.
        size: u64,
        /// Why, in the words of whoever restored it.
        reason: String,
        /// The file with the checkpoint from before.
        evidence: PathBuf,
    },
    /// The server has no checkpoints.
    Unsupported,
    /// Another program is looking at the same server's.
    Busy,
}

/// What came of comparing a checkpoint that was kept elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Rows that it is of.
    pub size: u64,
    /// Rows that the journal has now, which are those and what came after.
    pub newest: u64,
    /// The key that signed it; none if it came without a signature.
    pub key: Option<String>,
    /// Whether the journal had another id then.
    pub before_restore: bool,
}

/// A checkpoint as somebody kept it: signed, or only its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptCheckpoint {
    checkpoint: Checkpoint,
    note: Option<Note>,
}

impl KeptCheckpoint {
    /// Reads a signed checkpoint, one that was printed by [`on_paper`] and typed again, or only a checkpoint's text: three lines.
    ///
    /// # Errors
    /// `CHECKPOINT_UNREADABLE`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let unsigned: Option<Checkpoint> = text.parse().ok();
        if let Some(checkpoint) = unsigned {
            return Ok(Self { checkpoint, note: None });
        }
        let refused = |error: &dyn std::fmt::Display| compare::unreadable(&error.to_string());
        let note = if paper::is_paper(text) {
            paper::read(text).map_err(|error| refused(&error))?.0
        } else {
            Note::parse(text.as_bytes()).map_err(|error| refused(&error))?
        };
        let checkpoint = note.text().parse().map_err(|error| refused(&error))?;
        Ok(Self {
            checkpoint,
            note: Some(note),
        })
    }
}

/// A signed checkpoint as it is printed: short, and with a check at the end of each line.
///
/// # Errors
/// `CHECKPOINT_UNREADABLE`, if the key did not sign it.
pub fn on_paper(checkpoint: &str, key: &str) -> Result<String, Error> {
    let refused = |error: &dyn std::fmt::Display| compare::unreadable(&error.to_string());
    let note = Note::parse(checkpoint.as_bytes()).map_err(|error| refused(&error))?;
    let key = key.parse().map_err(|error| refused(&error))?;
    paper::write(&note, &key).map_err(|error| refused(&error))
}

impl Client {
    /// Looks at the server's newest checkpoint, and keeps it if it goes on from the one that was kept in `Options::witness`.
    ///
    /// # Errors
    /// `RECORD_CHANGED` if it does not, `KEY_REPLACED` if it is signed with a key for which the one before does not vouch, `WITNESS_UNUSABLE` if what
    /// was kept cannot be read or written, and those of calls. Nothing that was kept is lost by any of them.
    pub async fn witness(&self) -> Result<Witnessed, Error> {
        compare::witness(self, &self.witness_store()?, false).await
    }

    /// The same, and accepts a key for which the one before does not vouch: ask the operator first whether it was lost.
    pub async fn witness_accepting_key(&self) -> Result<Witnessed, Error> {
        compare::witness(self, &self.witness_store()?, true).await
    }

    /// When the server's checkpoint was last found to be in order; none if never.
    pub fn last_witnessed(&self) -> Option<SystemTime> {
        self.witness_store().ok()?.last()
    }

    /// A checkpoint, and the key that signed it, both as they are written down.
    pub async fn signed_checkpoint(&self) -> Result<(String, String), Error> {
        compare::newest(self).await
    }

    /// Whether the server's journal goes on from a checkpoint that was kept elsewhere.
    ///
    /// # Errors
    /// `RECORD_CHANGED` if it does not.
    pub async fn compare_checkpoint(&self, kept: &KeptCheckpoint) -> Result<Compared, Error> {
        compare::kept(self, kept, &self.address().to_string()).await
    }

    fn witness_store(&self) -> Result<Store, Error> {
        Store::of(self.options().witness.as_deref(), &self.address().to_string())
    }
}

impl Operator {
    /// As [`Client::witness`]. `place` is where the server is, such as the path of its socket.
    ///
    /// # Errors
    /// As there.
    pub async fn witness(&self, place: &str) -> Result<Witnessed, Error> {
        compare::witness(self, &self.witness_store(place)?, false).await
    }

    /// As [`Client::witness_accepting_key`].
    ///
    /// # Errors
    /// As there.
    pub async fn witness_accepting_key(&self, place: &str) -> Result<Witnessed, Error> {
        compare::witness(self, &self.witness_store(place)?, true).await
    }

    /// As [`Client::last_witnessed`].
    pub fn last_witnessed(&self, place: &str) -> Option<SystemTime> {
        self.witness_store(place).ok()?.last()
    }

    /// As [`Client::signed_checkpoint`]; it is signed when it is asked for.
    pub async fn signed_checkpoint(&self) -> Result<(String, String), Error> {
        compare::newest(self).await
    }

    /// As [`Client::compare_checkpoint`].
    ///
    /// # Errors
    /// As there.
    pub async fn compare_checkpoint(&self, kept: &KeptCheckpoint, place: &str) -> Result<Compared, Error> {
        compare::kept(self, kept, place).await
    }

    fn witness_store(&self, place: &str) -> Result<Store, Error> {
        Store::of(self.witness_directory(), place)
    }
}

/// The directory in which what is known of a server lies.
///
/// Its name begins with what of the address can be in one, so that people find it; the hash keeps servers apart.
pub(crate) fn directory_of(witness: &Path, place: &str) -> PathBuf {
    let readable: String = place
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' })
        .take(64)
        .collect();
    witness.join(format!("{readable}-{}", memory::short_hash(place.as_bytes())))
}

/// What a mismatch shows of both sides.
fn both(kept: &str, shown: &str) -> String {
    format!("kept here:\n{kept}\nshown by the server now:\n{shown}")
}

#[cfg(test)]
mod tests;
