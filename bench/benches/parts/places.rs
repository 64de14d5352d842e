//! Where journals are made.

use std::path::PathBuf;

/// On a disk, where a commit waits for it: the system's directory for temporary files, which `TMPDIR` names.
pub(crate) fn disk() -> PathBuf {
    std::env::temp_dir()
}

/// In memory, where a sync costs nothing, so that what is measured is work; on the disk where the system has no such place.
pub(crate) fn memory() -> PathBuf {
    let shared = PathBuf::from("/dev/shm");
    if shared.is_dir() { shared } else { disk() }
}
