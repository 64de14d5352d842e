//! The note beside an export that is on its way: what it is, and which file is the newest one.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::terminal::local_files::{absent_is_fine, create, is_mine, open_existing};

/// What is never exceeded by a note.
const LARGEST: u64 = 4096;

/// What an export is.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Order {
    /// The row that ordered it. Absent: what a member did themselves, which cannot be gone on with.
    pub export: Option<i64>,
    /// The row that opened its case.
    pub case: Option<i64>,
}

/// The note's content.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct State {
    /// What it is, once that is known.
    pub(super) order: Option<Order>,
    /// The newest file.
    pub(super) file: Option<String>,
    /// In an archive: where that file's header is.
    pub(super) header_at: Option<u64>,
}

/// Reads a note. `None` if there is none.
pub(super) fn load(path: &Path) -> io::Result<Option<State>> {
    let Some((file, metadata)) = open_existing(path)? else {
        return Ok(None);
    };
    if !is_mine(&metadata) {
        return Err(io::Error::other("what broke off here is somebody else's"));
    }
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text)?;
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| io::Error::other(format!("the note on what broke off here cannot be read: {error}")))
}

/// Writes a note, all of it or nothing.
pub(super) fn save(path: &Path, state: &State) -> io::Result<()> {
    let new = fresh(path);
    absent_is_fine(fs::remove_file(&new))?;
    let mut file = create(&new)?;
    file.write_all(serde_json::to_string(state)?.as_bytes())?;
    fs::rename(&new, path)
}

/// Removes a note.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    absent_is_fine(fs::remove_file(fresh(path)))?;
    absent_is_fine(fs::remove_file(path))
}

fn fresh(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}
