//! The data directory: one server's, and nobody else's.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
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
    // Closing the file lets the lock go, also if the process is killed. None where no server can have one, see `lock_to_look`.
    _lock: Option<File>,
}

impl DataDir {
    /// Locks the directory, and makes it if it is not there, for its owner alone.
    pub fn lock(path: &Path) -> Result<Self, StartError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path).map_err(|error| unusable(path, &error))?;
        Self::lock_existing(path)
    }

    /// Locks the directory if it is there.
    pub fn lock_existing(path: &Path) -> Result<Self, StartError> {
        let lock = lock_file(path).map_err(|error| unusable(path, &error))?;
        Self::hold(path, lock)
    }

    /// Locks the directory to look at it. Where nothing can be written, as on a medium that is read only, the lock may be missing: then no server
    /// runs on the directory.
    pub fn lock_to_look(path: &Path) -> Result<Self, StartError> {
        match lock_file(path) {
            Ok(lock) => return Self::hold(path, lock),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
                ) => {}
            Err(error) => return Err(unusable(path, &error)),
        }
        let lock = match File::open(path.join(LOCK)) {
            Ok(lock) => {
                take(&lock, path)?;
                Some(lock)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(unusable(path, &error)),
        };
        Ok(Self {
            path: path.into(),
            _lock: lock,
        })
    }

    /// Takes the lock, and says in it who has it.
    fn hold(path: &Path, mut lock: File) -> Result<Self, StartError> {
        take(&lock, path)?;
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(|error| unusable(path, &error))?;
        Ok(Self {
            path: path.into(),
            _lock: Some(lock),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn unusable(path: &Path, error: &std::io::Error) -> StartError {
    StartError::DataDir {
        path: path.into(),
        why: error.to_string(),
    }
}

/// Opens the lock of a directory, and makes it if it is not there.
fn lock_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path.join(LOCK))
}

/// Takes the lock, or tells who has it.
fn take(lock: &File, path: &Path) -> Result<(), StartError> {
    match lock.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = lock.take(32).read_to_string(&mut pid);
            let pid = pid.trim();
            let known = !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
            let pid = if known { pid.to_owned() } else { "unknown".into() };
            Err(StartError::Locked { path: path.into(), pid })
        }
        Err(TryLockError::Error(error)) => Err(unusable(path, &error)),
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
