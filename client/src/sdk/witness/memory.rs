//! What is kept of one server, in a file that is written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use greffe_api::record::checkpoint::Checkpoint;
use greffe_api::record::key::VerifierKey;
use greffe_api::record::note::Note;
use serde::{Deserialize, Serialize};
use tonic::Code;

use super::super::error::{Error, reason};
use super::directory_of;

/// The form of the file.
const VERSION: u32 = 1;
/// The file with what is known.
const FILE: &str = "memory.json";
/// The file that is locked meanwhile.
const LOCK: &str = "lock";
/// Bytes of the file at most; a larger one is none of ours.
const LARGEST: u64 = 1024 * 1024;
/// Older checkpoints that are kept for each power of two of their sizes.
const OF_EACH_SIZE: usize = 8;
/// Keys that are kept at most; the oldest go.
const KEYS: usize = 64;
/// Files with evidence at most. A server cannot fill the disk with what it says.
const EVIDENCE: usize = 64;

/// The file's content.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    server: String,
    /// Oldest first; the last one signs.
    keys: Vec<String>,
    newest: String,
    /// Ascending by size.
    older: Vec<String>,
}

/// A checkpoint with the note that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signed {
    pub(super) note: String,
    pub(super) checkpoint: Checkpoint,
}

impl Signed {
    /// Reads a note, whose signature is not looked at.
    pub(super) fn read(note: &str) -> Option<Self> {
        let checkpoint = Note::parse(note.as_bytes()).ok()?.text().parse().ok()?;
        Some(Self {
            note: note.to_owned(),
            checkpoint,
        })
    }

    /// Whether a key signed it, under its origin.
    pub(super) fn is_by(&self, key: &str) -> bool {
        let key: Option<VerifierKey> = key.parse().ok();
        key.zip(Note::parse(self.note.as_bytes()).ok())
            .is_some_and(|(key, note)| Checkpoint::open(&note, &key).is_ok())
    }
}

/// What is known of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    /// Oldest first; the last one signs.
    pub(super) keys: Vec<String>,
    pub(super) newest: Signed,
    /// Ascending by size, all smaller than the newest.
    pub(super) older: Vec<Signed>,
}

impl Memory {
    /// The key that is trusted.
    pub(super) fn key(&self) -> &str {
        self.keys.last().map_or("", String::as_str)
    }

    /// The largest checkpoint of at most so many rows.
    pub(super) fn at_most(&self, size: u64) -> Option<&Signed> {
        let all = self.older.iter().chain([&self.newest]);
        all.filter(|signed| signed.checkpoint.size <= size)
            .max_by_key(|signed| signed.checkpoint.size)
    }

    /// With a newer checkpoint and keys that follow.
    pub(super) fn renewed(mut self, newest: Signed, keys: &[String]) -> Self {
        self.keys.extend_from_slice(keys);
        self.keys.drain(..self.keys.len().saturating_sub(KEYS));
        let before = std::mem::replace(&mut self.newest, newest);
        let size = self.newest.checkpoint.size;
        self.older.push(before);
        self.older.retain(|signed| signed.checkpoint.size < size);
        self.older.sort_by_key(|signed| signed.checkpoint.size);
        self.older.dedup_by_key(|signed| signed.checkpoint.size);
        thin(&mut self.older);
        self
    }
}

/// Leaves a few of each power of two, evenly spread.
fn thin(older: &mut Vec<Signed>) {
    loop {
        let sizes: Vec<u64> = older.iter().map(|signed| signed.checkpoint.size).collect();
        let of = |size: u64| size.checked_ilog2();
        let crowded = |at: &usize| sizes.iter().filter(|size| of(**size) == of(sizes[*at])).count() > OF_EACH_SIZE;
        // Without it, the gap between its neighbours is the smallest.
        let gap = |at: &usize| {
            let before = at.checked_sub(1).map_or(0, |before| sizes[before]);
            sizes.get(at + 1).map_or(u64::MAX, |after| after - before)
        };
        let Some(at) = (0..sizes.len()).filter(crowded).min_by_key(gap) else {
            return;
        };
        older.remove(at);
    }
}

/// Where what is known of a server is kept.
#[derive(Clone, Debug)]
pub(super) struct Store {
    directory: PathBuf,
    place: String,
}

impl Store {
    /// The store of a server in a witness' directory.
    pub(super) fn of(witness: Option<&Path>, place: &str) -> Result<Self, Error> {
        let witness =
            witness.ok_or_else(|| unusable("there is no directory to keep checkpoints in: set Options::witness"))?;
        Ok(Self {
            directory: directory_of(witness, place),
            place: place.to_owned(),
        })
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// When something was last found to be in order.
    pub(super) fn last(&self) -> Option<SystemTime> {
        fs::metadata(self.directory.join(FILE)).ok()?.modified().ok()
    }

    fn failed(&self, error: &io::Error) -> Error {
        unusable(format!(
            "checkpoints cannot be kept in {}: {error}",
            self.directory.display()
        ))
    }

    /// Makes the directory, and keeps other programs out until it is dropped; none if one is there.
    pub(super) fn lock(&self) -> Result<Option<File>, Error> {
        let lock = || -> io::Result<Option<File>> {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true);
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(&self.directory)?;
            let file = options().create(true).truncate(false).open(self.directory.join(LOCK))?;
            match file.try_lock() {
                Ok(()) => Ok(Some(file)),
                Err(fs::TryLockError::WouldBlock) => Ok(None),
                // Some network file systems have no locks.
                Err(fs::TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(Some(file)),
                Err(fs::TryLockError::Error(error)) => Err(error),
            }
        };
        lock().map_err(|error| self.failed(&error))
    }

    /// Reads what is known; none if nothing is.
    ///
    /// # Errors
    /// It cannot be read. If the file is damaged it is put aside, so that the next time is a first one.
    pub(super) fn load(&self) -> Result<Option<Memory>, Error> {
        let path = self.directory.join(FILE);
        let mut text = Vec::new();
        match File::open(&path) {
            Ok(file) => file
                .take(LARGEST + 1)
                .read_to_end(&mut text)
                .map_err(|error| self.failed(&error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(&error)),
        };
        if let Some(memory) = parse(&text) {
            return Ok(Some(memory));
        }
        let aside = self.directory.join(format!("damaged-{}.json", short_hash(&text)));
        fs::rename(&path, &aside).map_err(|error| self.failed(&error))?;
        Err(unusable(format!(
            "what was kept of {} is damaged; it lies in {} now. The next checkpoint is taken as the first one: compare it with one that was kept \
             elsewhere",
            self.place,
            aside.display()
        )))
    }

    /// Keeps what is known.
    pub(super) fn save(&self, memory: &Memory) -> Result<(), Error> {
        let stored = Stored {
            version: VERSION,
            server: self.place.clone(),
            keys: memory.keys.clone(),
            newest: memory.newest.note.clone(),
            older: memory.older.iter().map(|signed| signed.note.clone()).collect(),
        };
        let text = serde_json::to_string_pretty(&stored).map_err(|error| unusable(error.to_string()))?;
        self.write(FILE, text.as_bytes()).map_err(|error| self.failed(&error))
    }

    /// Keeps something that must not get lost, under a name that its content makes; where it is. Nothing is kept if there is too much already.
    pub(super) fn evidence(&self, what: &str, text: &str) -> Result<PathBuf, Error> {
        let name = format!("{what}-{}.txt", short_hash(text.as_bytes()));
        let path = self.directory.join(&name);
        let there = || -> io::Result<usize> {
            let names = fs::read_dir(&self.directory)?.filter_map(|entry| Some(entry.ok()?.file_name()));
            Ok(names
                .filter(|name| Path::new(name).extension().is_some_and(|kind| kind == "txt"))
                .count())
        };
        if !path.exists() && there().map_err(|error| self.failed(&error))? < EVIDENCE {
            self.write(&name, text.as_bytes()).map_err(|error| self.failed(&error))?;
        }
        Ok(path)
    }

    /// Writes a file whole, and brings it to the disk.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let next = self.directory.join(format!("{name}.next"));
        let mut file = options().create(true).truncate(true).open(&next)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&next, self.directory.join(name))?;
        #[cfg(unix)]
        File::open(&self.directory)?.sync_all()?;
        Ok(())
    }
}

/// To write files that only this user can read.
fn options() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Reads the file; none if it is not what was written.
fn parse(text: &[u8]) -> Option<Memory> {
    if text.len() as u64 > LARGEST {
        return None;
    }
    let stored: Stored = serde_json::from_slice(text).ok()?;
    let memory = Memory {
        newest: Signed::read(&stored.newest)?,
        older: stored.older.iter().map(|note| Signed::read(note)).collect::<Option<_>>()?,
        keys: stored.keys,
    };
    let rising = memory.older.is_sorted_by_key(|signed| signed.checkpoint.size);
    let good = stored.version == VERSION && rising && memory.newest.is_by(memory.key());
    good.then_some(memory)
}

fn unusable(text: impl Into<String>) -> Error {
    Error::local(Code::FailedPrecondition, reason::WITNESS_UNUSABLE, text)
}

/// 16 hexadecimal digits of the SHA-256 of some bytes.
pub(super) fn short_hash(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let hash = greffe_api::record::sha256(&[bytes]);
    hash[..8].iter().fold(String::new(), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}
