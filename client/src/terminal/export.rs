//! An export of the record on this machine: a directory, or an archive of one, that comes file by file, and goes on after a break.

mod archive;
mod directory;
mod names;
mod state;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use self::archive::Archive;
use self::directory::Directory;
pub use self::state::Order;
use super::error::CommandError;
use super::progress::{Meter, ProgressLine};
use super::text::{excerpt, hex};
use crate::sdk::error::Error;
use crate::{Code, ExportSink, Sha256, reason};

/// The largest manifest that is read. It names a few files and no more.
const LARGEST_MANIFEST: u64 = 16 * 1024 * 1024;
/// The line with which a manifest begins.
const MANIFEST: &str = "greffe export 1\n";
/// Characters of a step's name that are shown.
const STEP: usize = 60;

/// Where an export is to be: an archive if the name ends in `.tar`, and else a directory.
#[derive(Clone, Debug)]
pub struct Place {
    path: PathBuf,
}

impl Place {
    /// Reads and writes nothing yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    fn is_archive(&self) -> bool {
        self.path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("tar"))
    }

    /// Makes the place: a new directory or an empty one, or a new archive under a name of its own, for this process alone.
    ///
    /// # Errors
    /// If something is there already, or it cannot be made.
    pub fn claim(&self) -> Result<Writing, CommandError> {
        let writer = if self.is_archive() {
            Archive::create(&self.path).map(Writer::Archive)
        } else {
            Directory::create(&self.path).map(Writer::Directory)
        };
        self.writing(writer.map_err(|error| self.failed(&error))?)
    }

    /// Goes on with what broke off here; `None` if there is no such thing.
    ///
    /// # Errors
    /// If another program writes it, or what is there cannot be used.
    pub fn resume(&self) -> Result<Option<Writing>, CommandError> {
        let writer = if self.is_archive() {
            Archive::resume(&self.path).map(|found| found.map(Writer::Archive))
        } else {
            Directory::resume(&self.path).map(|found| found.map(Writer::Directory))
        };
        let writer = writer.map_err(|error| self.failed(&error))?;
        writer.map(|writer| self.writing(writer)).transpose()
    }

    fn writing(&self, writer: Writer) -> Result<Writing, CommandError> {
        let newest = match writer.position() {
            None => None,
            Some((name, _)) => Some(names::rank(name).ok_or_else(|| {
                let wrong = io::Error::other("the note on what broke off here names no file of an export");
                self.failed(&wrong)
            })?),
        };
        Ok(Writing {
            path: self.path.clone(),
            writer,
            newest,
            shared: HashSet::new(),
            shown: None,
        })
    }

    fn failed(&self, error: &io::Error) -> CommandError {
        CommandError::Failed(format!("{} cannot be used: {error}", self.path.display()))
    }
}

/// An export on its way down.
#[derive(Debug)]
pub struct Writing {
    path: PathBuf,
    writer: Writer,
    /// The place of the newest file in the order of files.
    newest: Option<u32>,
    /// The names of shared files that have begun.
    shared: HashSet<Arc<str>>,
    shown: Option<Shown>,
}

/// An export that is there.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Where.
    pub path: PathBuf,
    /// SHA-256 of its file `manifest`, in hexadecimal.
    pub manifest_sha256: String,
    /// What the manifest says. It was not verified.
    pub manifest: Value,
}

impl Writing {
    /// What it is; `None` if that was not said yet.
    pub fn order(&self) -> Option<&Order> {
        self.writer.order()
    }

    /// Says what it is, so that another command can go on with it.
    pub fn begin_order(&mut self, order: Order) -> Result<(), CommandError> {
        let done = self.writer.set_order(order);
        done.map_err(|error| CommandError::Failed(format!("{} cannot be written: {error}", self.path.display())))
    }

    /// Shows on a terminal how far it is, if `shown`.
    pub fn show_progress(&mut self, shown: bool) {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str());
        self.shown = Some(Shown {
            line: ProgressLine::new(&name.to_string_lossy(), shown),
            meter: Meter::new(Instant::now()),
            came: 0,
            step: (0, 0),
        });
    }

    /// Makes all of it durable, and gives an archive its name. `export` is the row that ordered it, if that is known.
    ///
    /// # Errors
    /// If what the server sent as its manifest is none, or of another export; or if it cannot be written. What nobody can go on with is removed.
    pub fn finish(self, export: Option<i64>) -> Result<Finished, CommandError> {
        let failed =
            |error: &io::Error| CommandError::Failed(format!("{} cannot be written: {error}", self.path.display()));
        let mut writer = self.writer;
        let bytes = writer.read_newest(LARGEST_MANIFEST).map_err(|error| failed(&error))?;
        let is_resumable = writer.order().is_some_and(|order| order.export.is_some());
        let manifest = manifest(&bytes).filter(|manifest| export.is_none_or(|export| manifest["export"] == export));
        let Some(manifest) = manifest else {
            if !is_resumable {
                writer.discard().map_err(|error| failed(&error))?;
            }
            return Err(CommandError::Failed(
                "what the server sent has no manifest of this export: it proves nothing".to_owned(),
            ));
        };
        let mut hash = Sha256::new();
        hash.update(&bytes);
        writer.finish().map_err(|error| failed(&error))?;
        Ok(Finished {
            path: self.path,
            manifest_sha256: hex(&hash.finish()),
            manifest,
        })
    }

    /// Removes what was written.
    pub fn discard(self) -> Result<(), CommandError> {
        let failed =
            |error: &io::Error| CommandError::Failed(format!("{} cannot be removed: {error}", self.path.display()));
        self.writer.discard().map_err(|error| failed(&error))
    }

    fn unwritable(&self, error: &io::Error) -> Error {
        Error::local(
            Code::FailedPrecondition,
            reason::SINK_UNWRITABLE,
            format!("{} cannot be written: {error}", self.path.display()),
        )
    }
}

impl ExportSink for Writing {
    fn position(&self) -> Option<(String, u64)> {
        self.writer.position().map(|(name, length)| (name.to_owned(), length))
    }

    fn begin(&mut self, name: &str) -> Result<(), Error> {
        let rank = names::rank(name).ok_or_else(|| {
            Error::malformed(&format!(
                "a name that a file of an export can have ({})",
                excerpt(name, 80)
            ))
        })?;
        let in_order = match self.newest {
            Some(newest) if rank == newest => rank == names::SHARED,
            Some(newest) => rank > newest,
            None => true,
        };
        let again = rank == names::SHARED && !self.shared.insert(name.into());
        if !in_order || again {
            return Err(Error::malformed("the order of its files"));
        }
        self.newest = Some(rank);
        self.writer.begin(name).map_err(|error| self.unwritable(&error))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.writer.write(bytes).map_err(|error| self.unwritable(&error))?;
        if let Some(shown) = &mut self.shown {
            shown.came += bytes.len() as u64;
            let name = self.writer.position().map(|(name, _)| name).unwrap_or_default();
            let words = shown.meter.rate(shown.came, Instant::now());
            let (done, total) = shown.step;
            shown.line.step(&format!("{name}  {words}"), done, total);
        }
        Ok(())
    }

    fn step(&mut self, step: &str, done: u64, total: u64) {
        if let Some(shown) = &mut self.shown {
            shown.step = (done, total);
            shown.line.step(&excerpt(step, STEP), done, total);
        }
    }
}

/// What somebody at a terminal sees.
#[derive(Debug)]
struct Shown {
    line: ProgressLine,
    meter: Meter,
    /// Bytes that came.
    came: u64,
    /// How far the server said that it is, and of how much.
    step: (u64, u64),
}

/// One of the two forms.
#[derive(Debug)]
enum Writer {
    Directory(Directory),
    Archive(Archive),
}

impl Writer {
    fn order(&self) -> Option<&Order> {
        match self {
            Self::Directory(directory) => directory.state.order.as_ref(),
            Self::Archive(archive) => archive.state.order.as_ref(),
        }
    }

    fn set_order(&mut self, order: Order) -> io::Result<()> {
        match self {
            Self::Directory(directory) => directory.set_order(order),
            Self::Archive(archive) => archive.set_order(order),
        }
    }

    /// The newest file and its length.
    fn position(&self) -> Option<(&str, u64)> {
        match self {
            Self::Directory(directory) => directory.position(),
            Self::Archive(archive) => archive.position(),
        }
    }

    fn begin(&mut self, name: &str) -> io::Result<()> {
        match self {
            Self::Directory(directory) => directory.begin(name),
            Self::Archive(archive) => archive.begin(name),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Directory(directory) => directory.write(bytes),
            Self::Archive(archive) => archive.write(bytes),
        }
    }

    fn read_newest(&mut self, at_most: u64) -> io::Result<Vec<u8>> {
        match self {
            Self::Directory(directory) => directory.read_newest(at_most),
            Self::Archive(archive) => archive.read_newest(at_most),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Directory(directory) => directory.finish(),
            Self::Archive(archive) => archive.finish(),
        }
    }

    fn discard(self) -> io::Result<()> {
        match self {
            Self::Directory(directory) => directory.discard(),
            Self::Archive(archive) => archive.discard(),
        }
    }
}

/// The object of a manifest, which is a signed note of two lines. The signature is not looked at.
fn manifest(bytes: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(bytes).ok()?.strip_prefix(MANIFEST)?;
    let (object, _) = text.split_once("\n\n")?;
    let object: Value = serde_json::from_str(object).ok()?;
    object.is_object().then_some(object)
}

/// Why a place is not free.
fn taken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, what)
}

#[cfg(test)]
mod tests;
