//! Files of this machine that are opened, made and named so that nobody else's links or files get in the way.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// Opens a file that is there, if it is one: no link is followed, and nothing is waited for.
pub fn open_existing(path: &Path) -> io::Result<Option<(File, fs::Metadata)>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags.bits().cast_signed());
    }
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found?,
    };
    if !found.file_type().is_file() {
        return Err(io::Error::other("it is a link, a directory or a device; remove it"));
    }
    let file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let metadata = file.metadata()?;
    if metadata.file_type().is_file() {
        Ok(Some((file, metadata)))
    } else {
        Err(io::Error::other("it is no file"))
    }
}

/// Creates a file that only this user can read and that was not there.
pub fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // An exclusive creation follows no link.
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Locks a file for this process. False: another process has it.
///
/// Some network file systems have no locks: there, two programs that write one file at a time are the user's to avoid.
pub fn lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(fs::TryLockError::WouldBlock) => Ok(false),
        Err(fs::TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(true),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Whether a file is this user's: somebody else may have put it in a directory that both can write. Its mode says nothing on the file systems of
/// memory sticks.
#[cfg(unix)]
pub fn is_mine(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    metadata.uid() == rustix::process::geteuid().as_raw()
}

/// Nothing is known here of whose files are.
#[cfg(not(unix))]
pub fn is_mine(_: &fs::Metadata) -> bool {
    true
}

/// Gives a file another name in the same directory, if that is free.
pub fn place(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // Some file systems have no hard links.
        Err(error) => rename_if_free(from, to).map_err(|_| error),
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn rename_if_free(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn rename_if_free(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Makes the name `path` durable, which is in its directory.
#[cfg(unix)]
pub fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
/// There is nothing to do here.
pub fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Takes it that what is to be removed may be gone already.
pub fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_hard_links_is_given_if_it_is_free() -> io::Result<()> {
        let place = tempfile::tempdir()?;
        let path = |name: &str| place.path().join(name);
        fs::write(path("from"), "new")?;
        fs::write(path("taken"), "old")?;
        assert!(rename_if_free(&path("from"), &path("taken")).is_err());
        rename_if_free(&path("from"), &path("free"))?;
        assert_eq!(
            (path("from").exists(), fs::read_to_string(path("free"))?),
            (false, "new".to_owned())
        );
        assert_eq!(fs::read_to_string(path("taken"))?, "old");
        Ok(())
    }
}
