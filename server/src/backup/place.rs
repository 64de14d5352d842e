//! Where a backup may lie.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{BackupError, private_directory};
use crate::{
    domain::ids::{hex, random},
    ownership::trusted_directory,
};

/// The one directory among a server's own files that backups may lie in.
const BACKUPS: &str = "backups";
/// Characters of a backup's name at most.
const NAME_MAX: usize = 64;

/// The path of the backup `name` in `backups/` in the data directory, for those who may not choose a path.
///
/// # Errors
/// The name is not one of `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`, or the data directory cannot be used.
pub fn named(data_dir: &Path, name: &str) -> Result<PathBuf, BackupError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let begins_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if name.len() > NAME_MAX || !begins_well || !name.bytes().all(is_allowed) {
        return Err(BackupError::Name(name.chars().take(NAME_MAX).collect()));
    }
    let data_dir = data_dir.canonicalize().map_err(|error| BackupError::file(data_dir, error))?;
    Ok(data_dir.join(BACKUPS).join(name))
}

/// A place for a backup, at which there was nothing a moment ago.
#[derive(Debug)]
pub(super) struct Place {
    /// The directory in which it is to lie: nobody but the server's user and root can replace what is in it.
    pub(super) parent: PathBuf,
    /// Where it is to lie, links resolved.
    pub(super) target: PathBuf,
}

impl Place {
    /// Looks at the place that was asked for.
    pub(super) fn find(data_dir: &Path, target: &Path) -> Result<Self, BackupError> {
        if !target.is_absolute() {
            return Err(BackupError::Relative(target.to_owned()));
        }
        let (Some(name), Some(parent)) = (target.file_name(), target.parent()) else {
            return Err(BackupError::Nameless(target.to_owned()));
        };
        let data_dir = data_dir.canonicalize().map_err(|error| BackupError::file(data_dir, error))?;
        let own = data_dir.join(BACKUPS);
        if parent == own {
            match private_directory(&own) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(BackupError::file(&own, error));
                }
                _ => {}
            }
        }
        let parent = trusted_directory(parent)?;
        let target = parent.join(name);
        if target.starts_with(&data_dir) && parent != own {
            return Err(BackupError::Inside(target));
        }
        // Whatever lies there, a link that leads nowhere too.
        match fs::symlink_metadata(&target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self { parent, target }),
            Err(error) => Err(BackupError::file(&target, error)),
            Ok(_) => Err(BackupError::Exists(target)),
        }
    }

    /// Where the backup is made: beside its place, so that it can be moved there in one step.
    pub(super) fn partial(&self) -> PathBuf {
        let mut path = self.target.as_os_str().to_owned();
        path.push(format!(".partial-{}", hex(&random::<4>())));
        path.into()
    }

    /// Bytes that the disk has left for us.
    pub(super) fn free(&self) -> Result<u64, BackupError> {
        match nix::sys::statvfs::statvfs(&self.parent) {
            Ok(disk) => Ok(disk.blocks_available().saturating_mul(disk.fragment_size())),
            Err(error) => Err(BackupError::file(&self.parent, error.into())),
        }
    }
}
