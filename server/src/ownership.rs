//! Whose files and directories are, in the operating system: asked before something is put where somebody else could replace it.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Permission bits that let group or others write.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// The bit by which, in a directory, everyone may replace only what is their own.
const STICKY: u32 = 0o1000;

/// Characters of a user's name at most; a longer one is not shown.
const USER_NAME_MAX: usize = 64;

/// Why a directory is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It is missing, no directory, or cannot be looked at.
    #[error("the directory {} cannot be used: check that it exists and that the server may open it", .0.display())]
    Unusable(PathBuf, #[source] io::Error),
    /// It belongs to another user, who could replace what lies in it.
    #[error(
        "the directory {} belongs to the user with number {owner}, who could replace what lies in it: choose another, or give it to \
         the user who runs the server",
        path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Others may replace what lies in it.
    #[error(
        "others may write to the directory {0} (mode {mode:o}), and replace what lies in it: run `chmod go-w {0}`, or choose another",
        path.display()
    )]
    Writable {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// The user as whom the process acts.
pub fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// The name of the process's user, or `uid N` if it has none that can be shown. Blocks while the system looks it up.
pub fn own_name() -> String {
    let name = user_name(own_uid()).ok().flatten();
    name.unwrap_or_else(|| format!("uid {}", own_uid()))
}

/// The name of a user of the operating system: 1 to 64 visible ASCII characters, so that it can stand in the journal and on a terminal as it is. None if
/// the user has no such name. Blocks while the system looks it up.
///
/// # Errors
/// The system could not look it up.
pub fn user_name(uid: u32) -> io::Result<Option<String>> {
    let found = nix::unistd::User::from_uid(uid.into())?;
    Ok(found.map(|user| user.name).filter(|name| is_shown(name)))
}

fn is_shown(name: &str) -> bool {
    (1..=USER_NAME_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The directory with all links resolved, if nobody but the process's user and root can replace what lies in it.
///
/// # Errors
/// It cannot be looked at, belongs to somebody else, or others may write to it and it has no sticky bit.
pub fn trusted_directory(path: &Path) -> Result<PathBuf, DirectoryError> {
    let unusable = |error| DirectoryError::Unusable(path.to_owned(), error);
    let path = path.canonicalize().map_err(unusable)?;
    let metadata = fs::symlink_metadata(&path).map_err(unusable)?;
    if !metadata.is_dir() {
        return Err(unusable(io::ErrorKind::NotADirectory.into()));
    }
    let owner = metadata.uid();
    if owner != own_uid() && owner != 0 {
        return Err(DirectoryError::Foreign { path, owner });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & WRITABLE_BY_OTHERS != 0 && mode & STICKY == 0 {
        return Err(DirectoryError::Writable { path, mode });
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_directory_is_trusted_if_only_its_owner_writes_to_it_or_it_is_sticky() {
        let dir = tempfile::tempdir().unwrap();
        let with = |mode| {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            trusted_directory(dir.path())
        };
        for mode in [0o700, 0o755, 0o1777] {
            assert_eq!(with(mode).unwrap(), dir.path().canonicalize().unwrap());
        }
        for mode in [0o770, 0o702, 0o777] {
            let error = with(mode).unwrap_err();
            assert!(matches!(error, DirectoryError::Writable { .. }), "{error}");
            assert!(error.to_string().contains("chmod go-w"), "{error}");
        }
    }

    #[test]
    fn links_are_resolved_and_what_is_no_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        symlink(&real, real.join("link")).unwrap();
        assert_eq!(trusted_directory(&real.join("link")).unwrap(), real);
        fs::write(real.join("file"), "").unwrap();
        for path in ["file", "missing"] {
            let error = trusted_directory(&real.join(path)).unwrap_err();
            assert!(matches!(error, DirectoryError::Unusable(..)), "{error}");
        }
    }

    #[test]
    fn users_are_named_if_their_names_can_be_shown() {
        assert_eq!(user_name(0).unwrap().as_deref(), Some("root"));
        assert_eq!(user_name(4_000_000_123).unwrap(), None);
        assert!(!own_name().is_empty());
        assert!(is_shown("alice.b-1"));
        for hidden in ["", "a b", "a\u{1b}[0m", "a\u{202e}b", &"a".repeat(65)] {
            assert!(!is_shown(hidden), "{hidden:?}");
        }
    }

    #[test]
    fn a_directory_of_somebody_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        // Only root can give a directory away, so that elsewhere there is nothing to look at.
        if std::os::unix::fs::chown(dir.path(), Some(12_345), None).is_ok() {
            let error = trusted_directory(dir.path()).unwrap_err();
            assert!(
                matches!(error, DirectoryError::Foreign { owner: 12_345, .. }),
                "{error}"
            );
        }
    }
}
