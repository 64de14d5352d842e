//! Backups of a running server: a directory that a server can be started on.
//!
//! A backup is a truncation of the record: what came after it is not in it. So it is marked, and a server that starts on it begins a new epoch under
//! a new journal id ([`Mark::restored`]).

mod place;

use std::{
    fs, io,
    io::{Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::mpsc,
    time::Duration,
};

use greffe_api::v1::Restored;

use self::place::Place;
pub use self::place::named;
use crate::{
    blobs,
    check::{CheckError, inspect},
    domain::{
        clock::{Micros, now, timestamp},
        ids::{FileId, hex, random_epoch, random_journal_id},
    },
    journal::tree::{Edge, Hash},
    lifecycle::DATABASE,
    notary::KEY_FILE,
    ownership::{DirectoryError, own_name},
    store::{
        Identity, StoreError,
        sqlite::backup::{copy, file_ids, set_mark},
    },
};

/// The directory of a server's own certificate, in the data directory and in a backup.
const TLS: &str = "tls";
/// Bytes of a file in it at most; a larger one is none of ours.
const TLS_FILE_MAX: u64 = 1024 * 1024;
/// Bytes of the disk that a backup leaves to the server, which must go on writing.
const LEFT_FREE: u64 = 64 * 1024 * 1024;

/// The time between two portions of a copy that are brought to the disk.
const SYNC_EACH: Duration = Duration::from_millis(50);

/// Who makes a backup, when and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// When.
    pub made_at: Micros,
    /// Who, as the journal names operators.
    pub made_by: String,
    /// Why, in their words.
    pub reason: String,
}

/// What a backup says of itself until a server starts on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Who made it, when and why.
    pub note: Note,
    /// The journal's id.
    pub journal_id: String,
    /// Its epoch.
    pub epoch: String,
    /// Its rows.
    pub size: i64,
    /// The root of its tree.
    pub root: Hash,
}

impl Mark {
    /// Whether it is this journal that was marked, and nothing came to it since.
    pub fn is_of(&self, identity: &Identity, edge: &Edge) -> bool {
        self.journal_id == identity.journal_id
            && self.epoch == identity.epoch
            && u64::try_from(self.size).is_ok_and(|size| size == edge.size())
            && self.root == edge.root()
    }

    /// What would mark a backup that was made of a journal as it is: for one that was set back by other means.
    pub fn of_now(identity: &Identity, edge: &Edge, reason: &str) -> Self {
        Self {
            note: Note {
                made_at: now(),
                made_by: own_name(),
                reason: reason.to_owned(),
            },
            journal_id: identity.journal_id.clone(),
            epoch: identity.epoch.clone(),
            size: i64::try_from(edge.size()).unwrap_or(i64::MAX),
            root: edge.root(),
        }
    }

    /// The event with which the journal goes on, under a new id and in a new epoch.
    ///
    /// It must be the first row that is appended. The transaction that writes it gives `journal_head` the new id and epoch and takes the mark off;
    /// after a crash there is either still a backup, or a server that has gone on from it.
    pub fn restored(&self, restored_by: &str, server_version: &str) -> Restored {
        Restored {
            journal_id: random_journal_id(),
            epoch: random_epoch(),
            previous_journal_id: self.journal_id.clone(),
            previous_size: self.size,
            previous_root: self.root.to_vec().into(),
            backup_made_at: Some(timestamp(self.note.made_at)),
            restored_by: restored_by.into(),
            reason: self.note.reason.clone(),
            server_version: server_version.into(),
        }
    }
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Where it is: absolute, links resolved.
    pub path: PathBuf,
    /// Rows of its journal.
    pub rows: i64,
    /// The root of its journal's tree, in hex.
    pub root: String,
    /// Bytes of its files.
    pub bytes: u64,
}

/// Why no backup was made. Nothing is left of it, and the server goes on as if it had not been asked.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The path depends on where the server was started.
    #[error("{} is not absolute: name the whole path, from / on", .0.display())]
    Relative(PathBuf),
    /// The path does not end in a name.
    #[error("{} does not end in the name of a new directory: name one that does not exist yet", .0.display())]
    Nameless(PathBuf),
    /// The name has other characters than are allowed.
    #[error(
        "{0:?} is no name for a backup: use 1 to 64 letters, digits, dots, hyphens and underscores, beginning with a letter or digit"
    )]
    Name(String),
    /// Something is there.
    #[error("{} exists: name a directory that does not exist yet", .0.display())]
    Exists(PathBuf),
    /// It would lie among the server's own files.
    #[error("{} lies among the server's own files: choose another place, or backups/ in the data directory", .0.display())]
    Inside(PathBuf),
    /// Others could tamper with it.
    #[error("the backup has no safe place")]
    Directory(#[from] DirectoryError),
    /// There is too little room.
    #[error(
        "the backup may need {} MiB beside {} MiB for the running server, and {} has {} MiB left: free some space, or choose another disk",
        mib(*needed), mib(LEFT_FREE), path.display(), mib(*free)
    )]
    NoRoom {
        /// The directory in which it would lie.
        path: PathBuf,
        /// Bytes that it may need.
        needed: u64,
        /// Bytes that there are.
        free: u64,
    },
    /// The disk became full.
    #[error("the disk became full: free some space, or choose another disk")]
    Full,
    /// A file cannot be read or written.
    #[error("{} cannot be read or written", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The database cannot be copied.
    #[error("the database cannot be copied")]
    Copy(#[source] StoreError),
    /// The copy is not in order.
    #[error("the copy is not in order: stop the server, and run `greffe-server check` on its own data")]
    Check(#[from] CheckError),
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1024 * 1024)
}

impl BackupError {
    /// What went wrong with a file.
    fn file(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::File {
                path: path.to_owned(),
                source,
            },
        }
    }
}

impl From<StoreError> for BackupError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::Full,
            error => Self::Copy(error),
        }
    }
}

/// Whether there is a place for a backup at `target`. Blocks.
///
/// # Errors
/// There is something at `target`, or it is no place for a backup.
pub fn look(data_dir: &Path, target: &Path) -> Result<(), BackupError> {
    Place::find(data_dir, target).map(|_| ())
}

/// Makes a backup of the server that runs on `data_dir`, with its database at `database`, in the new directory `target`. Blocks, for as long as it
/// takes to read, write and check the whole journal; the server goes on meanwhile.
///
/// It holds everything that was committed before the call. It appears at `target` whole, checked and on the disk, or not at all.
///
/// # Errors
/// There is something at `target` or it is no place for a backup, the disk is full, or the copy turned out not to be in order.
pub fn make(database: &Path, data_dir: &Path, target: &Path, note: &Note) -> Result<Report, BackupError> {
    let place = Place::find(data_dir, target)?;
    let copies_files = !same_disk(data_dir, &place.parent)?;
    let files = if copies_files {
        size_below(&data_dir.join(blobs::DIRECTORY))
    } else {
        0
    };
    let needed = size_of(database)? + size_of_log(database) + files;
    let free = place.free()?;
    if free < needed.saturating_add(LEFT_FREE) {
        return Err(BackupError::NoRoom {
            path: place.parent.clone(),
            needed,
            free,
        });
    }

    let mut partial = Partial::make(place.partial())?;
    let copied = partial.path.join(DATABASE);
    let file = private_file(&copied).map_err(|error| BackupError::file(&copied, error))?;
    copy_evenly(database, &copied, &file)?;
    let mark = set_mark(&copied, note)?;
    file.sync_all().map_err(|error| BackupError::file(&copied, error))?;
    let mut bytes = size_of(&copied)?;
    bytes += copy_key(data_dir, &partial.path)?;
    bytes += copy_certificate(&data_dir.join(TLS), &partial.path.join(TLS))?;
    // After the database, so that every file that it knows is there.
    bytes += copy_files(data_dir, &partial.path, &file_ids(&copied)?, copies_files)?;
    sync_directory(&partial.path)?;

    let checked = inspect(&partial.path)?;
    if (checked.size, &checked.root) != (mark.size, &hex(&mark.root)) {
        return Err(CheckError::Derived("the mark is another journal's".into()).into());
    }
    partial.move_to(&place.target)?;
    sync_directory(&place.parent)?;
    partial.keep();
    Ok(Report {
        path: place.target,
        rows: checked.size,
        root: checked.root,
        bytes,
    })
}

/// Whether two directories are on one disk, where files can be linked and need no second copy.
fn same_disk(one: &Path, other: &Path) -> Result<bool, BackupError> {
    let disk = |path: &Path| match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.dev()),
        Err(error) => Err(BackupError::file(path, error)),
    };
    Ok(disk(one)? == disk(other)?)
}

/// Bytes of all files below a directory, as far as it can be read.
fn size_below(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

/// Puts the bytes of files into a backup: links to them, since they never change, or copies of them. Tells how many bytes they have.
fn copy_files(data_dir: &Path, to: &Path, ids: &[FileId], copies: bool) -> Result<u64, BackupError> {
    if ids.is_empty() {
        return Ok(0);
    }
    let (from, to) = (data_dir.join(blobs::DIRECTORY), to.join(blobs::DIRECTORY));
    private_directory(&to).map_err(|error| BackupError::file(&to, error))?;
    let mut bytes = 0;
    for id in ids {
        let source = blobs::path_in(&from, *id);
        bytes += size_of(&source)?;
        let placed = if copies {
            let copy = to.join(id.to_string());
            copy_file(&source, &copy)
                .and_then(|()| blobs::link(&to, *id, &copy))
                .and_then(|()| fs::remove_file(&copy))
        } else {
            blobs::link(&to, *id, &source)
        };
        placed.map_err(|error| BackupError::file(&source, error))?;
    }
    sync_directory(&to)?;
    Ok(bytes)
}

/// Copies a file, and brings the copy to the disk.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut copy = private_file(to)?;
    io::copy(&mut fs::File::open(from)?, &mut copy)?;
    copy.sync_all()
}

/// Copies the database, and brings to the disk what was written as it goes: all at once in the end, it would keep the server's own writes waiting.
fn copy_evenly(database: &Path, copied: &Path, file: &fs::File) -> Result<(), BackupError> {
    std::thread::scope(|scope| {
        let (finished, finish) = mpsc::channel::<()>();
        let syncing = scope.spawn(move || {
            while finish.recv_timeout(SYNC_EACH) == Err(mpsc::RecvTimeoutError::Timeout) {
                file.sync_data()?;
            }
            Ok(())
        });
        let outcome = copy(database, copied);
        drop(finished);
        // The system tells of lost data once, and not again when all is synced in the end.
        let synced = syncing
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the copy was not brought to the disk")));
        outcome?;
        synced.map_err(|error| BackupError::file(copied, error))
    })
}

/// A backup that is not finished. Removed when it is dropped.
struct Partial {
    path: PathBuf,
    finished: bool,
}

impl Partial {
    fn make(path: PathBuf) -> Result<Self, BackupError> {
        private_directory(&path).map_err(|error| BackupError::file(&path, error))?;
        Ok(Self { path, finished: false })
    }

    /// Moves it to its place. A directory never takes the place of anything but an empty directory.
    fn move_to(&mut self, target: &Path) -> Result<(), BackupError> {
        fs::rename(&self.path, target).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory => {
                BackupError::Exists(target.to_owned())
            }
            _ => BackupError::file(target, error),
        })?;
        target.clone_into(&mut self.path);
        Ok(())
    }

    fn keep(mut self) {
        self.finished = true;
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "An unfinished backup could not be removed; remove it by hand");
        }
    }
}

/// Copies the server's own certificate and key, if it has one: clients have pinned it. Tells how many bytes they have.
fn copy_certificate(from: &Path, to: &Path) -> Result<u64, BackupError> {
    let mut bytes = 0;
    // The certificate alone lies beside the file with both, to be handed to clients.
    for name in ["self-signed.pem", "certificate.pem"] {
        let from = from.join(name);
        let content = match read_small(&from) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(BackupError::file(&from, error)),
        };
        let to_file = to.join(name);
        let failed = |error| BackupError::file(&to_file, error);
        match private_directory(to) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
        let mut file = private_file(&to_file).map_err(failed)?;
        file.write_all(&content).and_then(|()| file.sync_all()).map_err(failed)?;
        bytes += content.len() as u64;
    }
    if bytes > 0 {
        sync_directory(to)?;
    }
    Ok(bytes)
}

/// Copies the key that signs checkpoints, so that the server that goes on from the backup is known by it. Tells how many bytes it has.
fn copy_key(data_dir: &Path, to: &Path) -> Result<u64, BackupError> {
    let (from, to) = (data_dir.join(KEY_FILE), to.join(KEY_FILE));
    let key = read_small(&from).map_err(|error| BackupError::file(&from, error))?;
    let mut file = private_file(&to).map_err(|error| BackupError::file(&to, error))?;
    let written = file.write_all(&key).and_then(|()| file.sync_all());
    written.map_err(|error| BackupError::file(&to, error))?;
    Ok(key.len() as u64)
}

fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    fs::File::open(path)?.take(TLS_FILE_MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > TLS_FILE_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 1 MiB"));
    }
    Ok(content)
}

/// Makes a directory that only its owner may open.
fn private_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)
}

/// Makes a file that only its owner may read.
fn private_file(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Brings to the disk which files a directory has.
fn sync_directory(path: &Path) -> Result<(), BackupError> {
    let synced = fs::File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(|error| BackupError::file(path, error))
}

fn size_of(path: &Path) -> Result<u64, BackupError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) => Err(BackupError::file(path, error)),
    }
}

/// Bytes of a database's write-ahead log; none if there is no log.
fn size_of_log(database: &Path) -> u64 {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    fs::metadata(log).map_or(0, |metadata| metadata.len())
}

#[cfg(test)]
mod tests;
