//! Which start of the machine it is. A process that is killed loses nothing that it wrote, because the system has it; a machine that loses power
//! loses what was not synced, and its next start has another id.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where Linux tells its id.
const CURRENT: &str = "/proc/sys/kernel/random/boot_id";
/// The file that it is noted in. No upload is called so.
const NOTE: &str = "boot-id";

/// The id of this start of the machine; none where the system does not tell.
pub(super) fn current() -> Option<String> {
    read(Path::new(CURRENT))
}

fn path(directory: &Path) -> PathBuf {
    directory.join(NOTE)
}

/// The id that was noted last.
pub(super) fn noted(directory: &Path) -> Option<String> {
    read(&path(directory))
}

/// Notes an id. It is not synced: if the note is lost, so is the start that it is of.
pub(super) fn note(directory: &Path, boot: &str) -> io::Result<()> {
    if noted(directory).as_deref() == Some(boot) {
        return Ok(());
    }
    fs::write(path(directory), boot)
}

fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let id = text.trim();
    (!id.is_empty()).then(|| id.to_owned())
}
