//! The file with the key that signs checkpoints.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use greffe_api::record::key::{KeyError, SigningKey};

use super::NotaryError;
use crate::domain::ids::random;

/// Its name in the data directory, and in a backup.
pub const KEY_FILE: &str = "journal.key";
/// Bytes at most; a larger file holds no keys.
const MAX: u64 = 4096;
/// Keys at most: two while one takes over from the other.
const KEYS: usize = 2;
/// Permission bits that let others read or write.
const OTHERS: u32 = 0o077;

/// Reads the keys, each in a line: one, or two after a crash while one took over from the other. None if there is no file.
pub(super) fn read(path: &Path) -> Result<Vec<SigningKey>, NotaryError> {
    let failed = |source| NotaryError::File {
        path: path.to_owned(),
        source,
    };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mode = file.metadata().map_err(failed)?.mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(NotaryError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = String::new();
    file.take(MAX).read_to_string(&mut text).map_err(failed)?;
    let refused = |source| NotaryError::Key {
        path: path.to_owned(),
        source,
    };
    let lines: Vec<&str> = text.lines().collect();
    if lines.is_empty() || lines.len() > KEYS {
        return Err(refused(KeyError::Form));
    }
    lines
        .into_iter()
        .map(|line| SigningKey::from_secret(line).map_err(refused))
        .collect()
}

/// A new key, which is not in a file yet.
pub(super) fn make(name: &str) -> Result<SigningKey, NotaryError> {
    SigningKey::from_seed(name, random()).map_err(|source| NotaryError::Key {
        path: PathBuf::new(),
        source,
    })
}

/// Puts keys into the file, whole or not at all, for its owner alone. What was in it before is overwritten where it lay, as far as the file system
/// writes over what it has and the file has no other name.
pub(super) fn write(path: &Path, keys: &[&SigningKey]) -> Result<(), NotaryError> {
    let text: String = keys.iter().map(|key| key.to_secret() + "\n").collect();
    let put = || -> io::Result<()> {
        let before = match fs::OpenOptions::new().write(true).open(path) {
            Ok(file) if file.metadata()?.nlink() == 1 => Some(file),
            Ok(_) => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        replace(path, text.as_bytes())?;
        before.map_or(Ok(()), |mut file| wipe(&mut file))
    };
    put().map_err(|source| NotaryError::File {
        path: path.to_owned(),
        source,
    })
}

/// Overwrites a small file.
fn wipe(file: &mut fs::File) -> io::Result<()> {
    let length = file.metadata()?.len().min(MAX);
    file.write_all(&vec![0; usize::try_from(length).unwrap_or_default()])?;
    file.sync_all()
}

/// Removes what a crash left of a file that was to be replaced.
pub(super) fn tidy(path: &Path) -> Result<(), NotaryError> {
    let next = next(path);
    match fs::remove_file(&next) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(NotaryError::File { path: next, source }),
        _ => Ok(()),
    }
}

/// Where bytes are before they replace those of a file.
fn next(path: &Path) -> PathBuf {
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    PathBuf::from(next)
}

/// Puts bytes into a file, whole or not at all, for its owner alone; they are on the disk when it returns.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let next = next(path);
    // What a crash left behind.
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&next, path)?;
    fs::File::open(directory)?.sync_all()
}
