//! The directory that a journal is kept in, with what is to be known about it: who talks there, and how it grew.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::chat::Talkers;

/// What is known of the journal, beside its server's directory.
const NOTES: &str = "notes.json";

/// A journal's place.
#[derive(Debug)]
pub(super) struct Home {
    path: PathBuf,
    /// None until somebody talks there.
    pub(super) notes: Option<Notes>,
    /// Goes in the end, if it was not to be kept.
    _temporary: Option<TempDir>,
}

/// What is known of a journal.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Notes {
    /// Who talks.
    pub(super) talkers: Talkers,
    /// How it grew, each step after the one before.
    pub(super) growth: Vec<Step>,
    /// Rows that the search index took in while somebody waited for it, and how many seconds that took.
    pub(super) indexed: (i64, f64),
}

/// A step of growth.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Step {
    /// Rows after it.
    pub(super) rows: i64,
    /// How many of them the search index did not have yet.
    pub(super) lag: i64,
    /// Rows a second.
    pub(super) rate: f64,
    /// The server's processor time, for each row, in seconds.
    pub(super) server_seconds: f64,
    /// The generator's share of its core.
    pub(super) generator_share: f64,
}

impl Home {
    /// The journal that is or will be kept at `path`, or one in a temporary directory in `otherwise`.
    pub(super) fn open(path: Option<&Path>, otherwise: &Path) -> anyhow::Result<Self> {
        let Some(path) = path else {
            let temporary = tempfile::Builder::new()
                .prefix("greffe-bench-")
                .tempdir_in(otherwise)
                .with_context(|| format!("nothing can be written in {}", otherwise.display()))?;
            return Ok(Self {
                path: temporary.path().to_owned(),
                notes: None,
                _temporary: Some(temporary),
            });
        };
        std::fs::create_dir_all(path).with_context(|| format!("{} cannot be made", path.display()))?;
        let home = Self {
            path: path.to_owned(),
            notes: None,
            _temporary: None,
        };
        let file = home.path.join(NOTES);
        if !file.exists() {
            if home.data().exists() {
                bail!("{} has a server's directory that is not from here", path.display());
            }
            return Ok(home);
        }
        let text = std::fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        let notes =
            serde_json::from_slice(&text).with_context(|| format!("{} cannot be understood", file.display()))?;
        Ok(Self {
            notes: Some(notes),
            ..home
        })
    }

    /// The server's directory.
    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// A copy of it, from when it had so many rows.
    pub(super) fn at(&self, rows: i64) -> PathBuf {
        self.path.join(format!("data-{rows}"))
    }

    /// A directory for a moment, on the same disk.
    pub(super) fn scratch(&self) -> anyhow::Result<TempDir> {
        let made = tempfile::Builder::new().prefix("run-").tempdir_in(&self.path);
        made.with_context(|| format!("nothing can be written in {}", self.path.display()))
    }

    /// What is known of it.
    pub(super) fn notes(&self) -> anyhow::Result<&Notes> {
        self.notes.as_ref().context("the journal has not begun")
    }

    /// Writes down what is known of it.
    pub(super) fn keep(&self) -> anyhow::Result<()> {
        let file = self.path.join(NOTES);
        let text = serde_json::to_vec_pretty(self.notes()?).context("notes are plain data")?;
        std::fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))
    }
}
