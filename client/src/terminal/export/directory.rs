//! An export as a directory.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::state::{self, Order, State};
use super::{names, taken};
use crate::terminal::local_files::{absent_is_fine, create, is_mine, lock, open_existing, sync_directory};

/// The note on what is on its way, in the directory itself.
const NOTE: &str = ".export.json";
/// Where shared files are.
const SHARED: &str = "files";

/// A directory that is being filled.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Open, and locked, as long as it is written.
    _lock: File,
    pub(super) state: State,
    /// The newest file, and its length.
    newest: Option<(File, u64)>,
}

impl Directory {
    /// Makes the directory, or takes an empty one.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        match private().create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        let lock = locked(path)?;
        if fs::symlink_metadata(path.join(NOTE)).is_ok() {
            return Err(taken("an export broke off there"));
        }
        if fs::read_dir(path)?.next().is_some() {
            return Err(taken("it is not empty"));
        }
        let state = State::default();
        state::save(&path.join(NOTE), &state)?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
            state,
            newest: None,
        })
    }

    /// Goes on with a directory that was not finished.
    pub(super) fn resume(path: &Path) -> io::Result<Option<Self>> {
        if !path.is_dir() {
            return Ok(None);
        }
        let lock = locked(path)?;
        let Some(state) = state::load(&path.join(NOTE))? else {
            return Ok(None);
        };
        let mut directory = Self {
            path: path.to_owned(),
            _lock: lock,
            state,
            newest: None,
        };
        if let Some(name) = directory.state.file.clone()
            && names::rank(&name).is_some()
        {
            directory.newest = Some(match directory.open(&name)? {
                Some(mut file) => {
                    let length = file.seek(SeekFrom::End(0))?;
                    (file, length)
                }
                // It was noted, and not made any more.
                None => (directory.make(&name)?, 0),
            });
        }
        Ok(Some(directory))
    }

    pub(super) fn set_order(&mut self, order: Order) -> io::Result<()> {
        self.state.order = Some(order);
        self.save()
    }

    pub(super) fn position(&self) -> Option<(&str, u64)> {
        let length = self.newest.as_ref().map_or(0, |(_, length)| *length);
        self.state.file.as_deref().map(|name| (name, length))
    }

    pub(super) fn begin(&mut self, name: &str) -> io::Result<()> {
        self.sync_newest()?;
        // Noted first: a file that is there and not noted would be in the way.
        self.state.file = Some(name.to_owned());
        self.save()?;
        let file = match self.open(name)? {
            // The note was lost with the power, the file was not.
            Some(file) => {
                file.set_len(0)?;
                file
            }
            None => self.make(name)?,
        };
        self.newest = Some((file, 0));
        Ok(())
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (file, length) = self.newest.as_mut().ok_or_else(|| io::Error::other("no file has begun"))?;
        file.write_all(bytes)?;
        *length += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn read_newest(&mut self, at_most: u64) -> io::Result<Vec<u8>> {
        let (file, length) = self.newest.as_mut().ok_or_else(|| io::Error::other("no file has begun"))?;
        let mut bytes = Vec::new();
        file.rewind()?;
        file.take(at_most).read_to_end(&mut bytes)?;
        file.seek(SeekFrom::Start(*length))?;
        Ok(bytes)
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.sync_newest()?;
        let shared = self.path.join(SHARED);
        if shared.is_dir() {
            sync_directory(&shared.join(NOTE))?;
        }
        state::remove(&self.path.join(NOTE))?;
        sync_directory(&self.path.join(NOTE))?;
        sync_directory(&self.path)
    }

    /// Removes the files of an export, and the directory if nothing else is in it.
    pub(super) fn discard(self) -> io::Result<()> {
        let shared = self.path.join(SHARED);
        if fs::symlink_metadata(&shared).is_ok_and(|found| found.is_dir()) {
            remove_files(&shared, "files/")?;
            drop(fs::remove_dir(&shared));
        }
        remove_files(&self.path, "")?;
        state::remove(&self.path.join(NOTE))?;
        // One that was there before may be somebody's mount.
        drop(fs::remove_dir(&self.path));
        Ok(())
    }

    fn save(&self) -> io::Result<()> {
        state::save(&self.path.join(NOTE), &self.state)
    }

    fn sync_newest(&mut self) -> io::Result<()> {
        match &self.newest {
            Some((file, _)) => file.sync_all(),
            None => Ok(()),
        }
    }

    /// Opens a file that is there.
    fn open(&self, name: &str) -> io::Result<Option<File>> {
        self.hold_shared()?;
        match open_existing(&self.path.join(name))? {
            Some((file, metadata)) if is_mine(&metadata) => Ok(Some(file)),
            Some(_) => Err(io::Error::other("a file in it is somebody else's")),
            None => Ok(None),
        }
    }

    fn make(&self, name: &str) -> io::Result<File> {
        let path = self.path.join(name);
        if name.contains('/')
            && let Some(parent) = path.parent()
        {
            match private().create(parent) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.hold_shared()?,
                made => made?,
            }
        }
        create(&path)
    }

    /// Makes sure that the directory of shared files, if it is there, is no way to somewhere else.
    fn hold_shared(&self) -> io::Result<()> {
        match fs::symlink_metadata(self.path.join(SHARED)) {
            Ok(found) if !found.is_dir() => Err(io::Error::other("`files` in it is no directory")),
            _ => Ok(()),
        }
    }
}

fn private() -> DirBuilder {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(false);
    builder
}

fn locked(path: &Path) -> io::Result<File> {
    let directory = File::open(path)?;
    if !directory.metadata()?.is_dir() {
        return Err(taken("it is no directory; the name of an archive ends in .tar"));
    }
    if lock(&directory)? {
        Ok(directory)
    } else {
        Err(io::Error::other("another program writes there"))
    }
}

/// Removes files that an export can have. `prefix` is what their names there begin with.
fn remove_files(directory: &Path, prefix: &str) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let is_ours = entry
            .file_name()
            .to_str()
            .is_some_and(|name| names::rank(&format!("{prefix}{name}")).is_some());
        if is_ours {
            absent_is_fine(fs::remove_file(entry.path()))?;
        }
    }
    Ok(())
}
