//! The file with the key that signs checkpoints.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use greffe_api::record::key::SigningKey;

use super::NotaryError;
use crate::domain::ids::random;

/// Its name in the data directory, and in a backup.
pub const KEY_FILE: &str = "journal.key";
/// Bytes at most; a larger file is no key.
const MAX: u64 = 4096;
/// Permission bits that let others read or write.
const OTHERS: u32 = 0o077;

/// Reads the key; none if there is no file.
pub(super) fn read(path: &Path) -> Result<Option<SigningKey>, NotaryError> {
    let failed = |source| NotaryError::File {
        path: path.to_owned(),
        source,
    };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
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
    let key = SigningKey::from_secret(&text).map_err(|source| NotaryError::Key {
        path: path.to_owned(),
        source,
    })?;
    Ok(Some(key))
}

/// A new key, which is not in a file yet.
pub(super) fn make(name: &str) -> Result<SigningKey, NotaryError> {
    SigningKey::from_seed(name, random()).map_err(|source| NotaryError::Key {
        path: PathBuf::new(),
        source,
    })
}

/// Puts a key into the file, whole or not at all, for its owner alone.
pub(super) fn write(path: &Path, key: &SigningKey) -> Result<(), NotaryError> {
    replace(path, format!("{}\n", key.to_secret()).as_bytes()).map_err(|source| NotaryError::File {
        path: path.to_owned(),
        source,
    })
}

/// Puts bytes into a file, whole or not at all, for its owner alone; they are on the disk when it returns.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    let next = PathBuf::from(next);
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
