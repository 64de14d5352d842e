//! Files on their way: plain files beside the database, one for each upload, written and hashed by blocking threads, synced before the journal's
//! writer is told how far they are.

mod boot;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring::digest::{Context, SHA256};

use crate::domain::ids::FileId;

/// The directory of uploads, in the data directory.
const DIRECTORY: &str = "uploads";
/// Bytes of the disk that uploads leave to the journal, at most; on a small disk an eighth of it.
const LEFT_FREE: u64 = 64 * 1024 * 1024;
/// Bytes that are read at a time to hash them.
const READ_BYTES: usize = 1024 * 1024;

/// The files of all uploads.
#[derive(Debug)]
pub struct Staging {
    directory: PathBuf,
    /// Which start of the machine this is, where the system tells.
    boot: Option<String>,
    busy: Mutex<HashSet<FileId>>,
    /// What was hashed of uploads that this process wrote, and of how many bytes. After a restart the file is read again.
    hashed: Mutex<HashMap<FileId, Hashed>>,
}

/// The hash of the first `bytes` bytes of a file, which can go on.
#[derive(Clone)]
struct Hashed {
    context: Context,
    bytes: i64,
}

impl std::fmt::Debug for Hashed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hashed({})", self.bytes)
    }
}

/// The right to write or complete an upload, which one call has at a time.
#[derive(Debug)]
pub struct Claim {
    staging: Arc<Staging>,
    id: FileId,
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.staging.busy).remove(&self.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here is left half changed by a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Staging {
    /// Stages uploads below `data_dir`, in a directory that only its owner may open.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        Self::open_in(data_dir, boot::current())
    }

    /// The same, in a given start of the machine.
    pub(crate) fn open_in(data_dir: &Path, boot: Option<String>) -> io::Result<Self> {
        let directory = data_dir.join(DIRECTORY);
        match fs::DirBuilder::new().mode(0o700).create(&directory) {
            Ok(()) => File::open(data_dir)?.sync_all()?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        Ok(Self {
            directory,
            boot,
            busy: Mutex::default(),
            hashed: Mutex::default(),
        })
    }

    /// Claims an upload for one call; none if another has it.
    pub fn claim(self: &Arc<Self>, id: FileId) -> Option<Claim> {
        lock(&self.busy).insert(id).then(|| Claim {
            staging: Arc::clone(self),
            id,
        })
    }

    /// Whether the disk has room for `bytes` more, beside what the journal needs.
    fn has_room(&self, bytes: usize) -> io::Result<()> {
        let disk = nix::sys::statvfs::statvfs(&self.directory)?;
        let unit = disk.fragment_size();
        let free = disk.blocks_available().saturating_mul(unit);
        let kept = LEFT_FREE.min(disk.blocks().saturating_mul(unit) / 8);
        if free < kept.saturating_add(bytes as u64) {
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// The ids of all files that are there. What has another name is none of ours, and is left alone.
    pub fn list(&self) -> io::Result<Vec<(FileId, u64)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                found.push((id, entry.metadata()?.len()));
            }
        }
        Ok(found)
    }

    /// Whether what is in the files was written since the machine was started. Then nothing of it is lost, synced or not, whatever became of the
    /// server.
    pub fn has_all_that_was_written(&self) -> bool {
        self.boot.is_some() && boot::noted(&self.directory) == self.boot
    }

    /// From now on [`Staging::has_all_that_was_written`] is true, until the machine is started again: call it when each file has only bytes that
    /// count.
    pub fn note_boot(&self) {
        // Without the note, the next start trusts what was synced only.
        if let Some(boot) = &self.boot
            && let Err(error) = boot::note(&self.directory, boot)
        {
            tracing::warn!(%error, "It could not be noted in which start of the machine uploads were written");
        }
    }

    /// Brings to the disk what the file of an upload has.
    pub fn sync(&self, id: FileId) -> io::Result<()> {
        File::open(self.path(id))?.sync_data()
    }

    /// Cuts off what is behind the first `committed` bytes of an upload's file.
    pub fn cut(&self, id: FileId, committed: i64) -> io::Result<()> {
        let at = u64::try_from(committed).map_err(io::Error::other)?;
        OpenOptions::new().write(true).open(self.path(id))?.set_len(at)
    }

    /// Where the file of an upload is.
    pub fn path(&self, id: FileId) -> PathBuf {
        self.directory.join(id.to_string())
    }

    /// Removes the file of an upload that is complete or given up, if it is there.
    pub fn remove(&self, id: FileId) {
        lock(&self.hashed).remove(&id);
        match fs::remove_file(self.path(id)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(file.id = %id, %error, "An upload's file could not be removed; the next start does it");
            }
            _ => {}
        }
    }
}

impl Claim {
    /// Opens the file to go on after its first `committed` bytes. What is behind them was never told to anybody, and is cut off.
    fn open_file(&self, committed: i64) -> io::Result<File> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.staging.path(self.id))?;
        let at = u64::try_from(committed).map_err(io::Error::other)?;
        if file.metadata()?.len() < at {
            return Err(io::Error::other("an upload's file is shorter than it was"));
        }
        file.set_len(at)?;
        file.seek(SeekFrom::Start(at))?;
        if committed == 0 {
            // Its name must be on the disk before its bytes are counted.
            File::open(&self.staging.directory)?.sync_all()?;
        }
        Ok(file)
    }

    /// Opens the file to write what follows its first `committed` bytes. Blocks.
    pub fn open(self, committed: i64) -> io::Result<Writing> {
        let file = self.open_file(committed)?;
        let known = lock(&self.staging.hashed)
            .remove(&self.id)
            .filter(|hashed| hashed.bytes == committed);
        let begun = (committed == 0).then(|| Hashed {
            context: Context::new(&SHA256),
            bytes: 0,
        });
        Ok(Writing {
            claim: self,
            file: Arc::new(file),
            offset: committed,
            hashed: known.or(begun),
        })
    }

    /// Writes a whole file, and brings it to the disk. Blocks.
    pub fn write_whole(&self, content: &[u8]) -> io::Result<()> {
        self.staging.has_room(content.len())?;
        let mut file = self.open_file(0)?;
        file.write_all(content)?;
        file.sync_data()
    }

    /// The SHA-256 of the file, which must have `size` bytes.
    pub fn hash(&self, size: i64) -> io::Result<[u8; 32]> {
        let known = lock(&self.staging.hashed)
            .get(&self.id)
            .filter(|hashed| hashed.bytes == size)
            .cloned();
        let context = match known {
            Some(hashed) => hashed.context,
            None if size == 0 => {
                // Nothing was ever written.
                self.open_file(0)?.sync_data()?;
                Context::new(&SHA256)
            }
            None => hash_file(&self.staging.path(self.id), size)?,
        };
        Ok(finished(context))
    }

    /// Where the file is.
    pub fn path(&self) -> PathBuf {
        self.staging.path(self.id)
    }

    /// Removes the file, and what is known of it.
    pub fn remove(&self) {
        self.staging.remove(self.id);
    }
}

fn finished(context: Context) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// Hashes a file that must have `size` bytes.
fn hash_file(path: &Path, size: i64) -> io::Result<Context> {
    let mut file = File::open(path)?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; READ_BYTES];
    let mut bytes = 0_i64;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        context.update(&buffer[..read]);
        bytes += i64::try_from(read).map_err(io::Error::other)?;
    }
    if bytes == size {
        Ok(context)
    } else {
        Err(io::Error::other("a file has other bytes than it should have"))
    }
}

/// The SHA-256 of a file that must have `size` bytes. Blocks.
pub(crate) fn sha256_of_file(path: &Path, size: i64) -> io::Result<[u8; 32]> {
    hash_file(path, size).map(finished)
}

/// The file of an upload that is being written.
#[derive(Debug)]
pub struct Writing {
    claim: Claim,
    file: Arc<File>,
    offset: i64,
    hashed: Option<Hashed>,
}

impl Writing {
    /// Bytes that were written, of which the last ones may not be on the disk.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// Writes a chunk, or nothing of it. Blocks.
    pub fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.claim.staging.has_room(chunk.len())?;
        let length = i64::try_from(chunk.len()).map_err(io::Error::other)?;
        if let Err(error) = (&*self.file).write_all(chunk) {
            let at = u64::try_from(self.offset).map_err(io::Error::other)?;
            self.file.set_len(at)?;
            (&*self.file).seek(SeekFrom::Start(at))?;
            return Err(error);
        }
        self.offset += length;
        if let Some(hashed) = &mut self.hashed {
            hashed.context.update(chunk);
            hashed.bytes = self.offset;
        }
        Ok(())
    }

    /// To bring to the disk what was written, while more is.
    pub fn syncing(&self) -> Syncing {
        Syncing(Arc::clone(&self.file))
    }

    /// Keeps what was hashed for the next call, if all that was written counts.
    pub fn keep_hash(&mut self) {
        if let Some(hashed) = self.hashed.take() {
            lock(&self.claim.staging.hashed).insert(self.claim.id, hashed);
        }
    }
}

/// Brings to the disk what was written to a file until now.
#[derive(Debug)]
pub struct Syncing(Arc<File>);

impl Syncing {
    /// Does so. Blocks.
    pub fn run(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests;
