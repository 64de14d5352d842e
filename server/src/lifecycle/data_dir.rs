//! The data directory: one server's, and nobody else's.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use super::StartError;

/// The journal's database.
pub const DATABASE: &str = "greffe.db";
/// The lock: held as long as a server runs; holds its process id.
const LOCK: &str = "greffe.lock";

/// A data directory that this process has locked.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    // Closing the file lets the lock go, also if the process is killed.
    _lock: File,
}

impl DataDir {
    /// Locks the directory, and makes it if it is not there, for its owner alone.
    pub fn lock(path: &Path) -> Result<Self, StartError> {
        let unusable = |error: std::io::Error| StartError::DataDir {
            path: path.into(),
            why: error.to_string(),
        };
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path).map_err(unusable)?;
        Self::lock_existing(path)
    }

    /// Locks the directory if it is there.
    pub fn lock_existing(path: &Path) -> Result<Self, StartError> {
        let unusable = |error: std::io::Error| StartError::DataDir {
            path: path.into(),
            why: error.to_string(),
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut lock = options.open(path.join(LOCK)).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let _ = (&lock).take(32).read_to_string(&mut pid);
                let pid = pid.trim();
                let known = !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
                let pid = if known { pid.to_owned() } else { "unknown".into() };
                return Err(StartError::Locked { path: path.into(), pid });
            }
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(unusable)?;
        Ok(Self {
            path: path.into(),
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_server_is_refused_and_told_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::lock(&dir.path().join("data")).unwrap();
        let error = DataDir::lock(first.path()).unwrap_err();
        assert!(
            error.to_string().contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        let path = first.path().to_owned();
        drop(first);
        assert!(DataDir::lock(&path).is_ok());
        assert!(DataDir::lock_existing(&dir.path().join("missing")).is_err());
    }
}
