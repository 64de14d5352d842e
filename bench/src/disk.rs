//! Disks: what a durable write costs, directories of stopped servers, and what of them is in memory.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use hdrhistogram::Histogram;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::latency::histogram;

/// Bytes of a write: a page.
const PAGE: usize = 4096;
/// Writes that are measured.
const WRITES: usize = 300;

/// Appends pages to a new file in `directory`, each synced before the next, and returns how many nanoseconds that takes.
pub(crate) fn sync_times(directory: &Path) -> anyhow::Result<Histogram<u64>> {
    let problem = || format!("nothing can be written in {}", directory.display());
    let path = directory.join("sync-probe");
    let mut file = File::create_new(&path).with_context(problem)?;
    let mut times = histogram();
    for _ in 0..WRITES {
        let begin = Instant::now();
        file.write_all(&[0x5A; PAGE]).with_context(problem)?;
        file.sync_data().with_context(problem)?;
        times.saturating_record(u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    std::fs::remove_file(&path).with_context(problem)?;
    Ok(times)
}

/// Copies what a stopped server left in `from` to the new directory `to`, on which another can be started.
pub(crate) fn copy_directory(from: &Path, to: &Path) -> anyhow::Result<()> {
    copy(from, to).with_context(|| format!("{} cannot be copied", from.display()))
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir(to)?;
    std::fs::set_permissions(to, std::fs::metadata(from)?.permissions())?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// What is to be done with each file of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settle {
    /// It goes to the disk, so that its writing does not disturb what is measured next.
    Sync,
    /// And then it leaves the memory: the next read comes from the disk.
    Forget,
}

/// Settles the files of a directory that nobody writes to.
pub(crate) fn settle(directory: &Path, how: Settle) -> anyhow::Result<()> {
    let problem = || format!("{} cannot be settled", directory.display());
    for entry in std::fs::read_dir(directory).with_context(problem)? {
        let entry = entry.with_context(problem)?;
        let kind = entry.file_type().with_context(problem)?;
        if kind.is_dir() {
            settle(&entry.path(), how)?;
        } else if kind.is_file() {
            let file = File::open(entry.path()).with_context(problem)?;
            file.sync_all().with_context(problem)?;
            if how == Settle::Forget {
                posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).with_context(problem)?;
            }
        }
    }
    Ok(())
}

/// Bytes of the files in a directory that begin with `name`.
pub(crate) fn bytes_of(directory: &Path, name: &str) -> anyhow::Result<u64> {
    let problem = || format!("{} cannot be read", directory.display());
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory).with_context(problem)? {
        let entry = entry.with_context(problem)?;
        if entry.file_name().to_string_lossy().starts_with(name) {
            bytes += entry.metadata().with_context(problem)?.len();
        }
    }
    Ok(bytes)
}
