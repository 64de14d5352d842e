//! A directory to which each checkpoint is also written, such as one on another machine's disk. Whatever fails there, the server goes on.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use super::Signed;

/// What our files are called: this, the journal's id, and the size.
const PREFIX: &str = "checkpoint-";
/// How long all of them stay.
const ALL: Duration = Duration::from_secs(7 * 86_400);
const DAY: Duration = Duration::from_secs(86_400);
/// Files at most: those of a week, one a minute, and one a day of ten years.
const MOST: usize = 7 * 1440 + 3660;

/// Where checkpoints go.
#[derive(Debug)]
pub(super) struct Sink {
    directory: PathBuf,
    /// Whether one is being written. A disk that does not answer keeps one thread waiting, and no more.
    busy: AtomicBool,
    failing: AtomicBool,
}

impl Sink {
    pub(super) fn new(directory: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            directory,
            busy: AtomicBool::default(),
            failing: AtomicBool::default(),
        })
    }

    /// Writes one, without waiting for it. One that comes while another is being written is left out: the next one says more.
    pub(super) fn put(self: &Arc<Self>, signed: &Arc<Signed>) {
        if self.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let (sink, signed) = (Arc::clone(self), Arc::clone(signed));
        tokio::task::spawn_blocking(move || {
            let written = sink.write(&signed).and_then(|()| thin(&sink.directory));
            sink.tell(written);
            sink.busy.store(false, Ordering::Release);
        });
    }

    /// Says when it begins to fail, and when it works again.
    fn tell(&self, written: io::Result<()>) {
        let directory = self.directory.display();
        match written {
            Ok(()) if self.failing.swap(false, Ordering::Relaxed) => {
                tracing::info!(%directory, "Checkpoints are written to the directory for them again");
            }
            Err(error) if !self.failing.swap(true, Ordering::Relaxed) => tracing::error!(
                %directory,
                error = &error as &dyn std::error::Error,
                "Checkpoints cannot be written to the directory for them; it is tried again with each one"
            ),
            // Nothing has changed.
            Ok(()) | Err(_) => {}
        }
    }

    fn write(&self, signed: &Signed) -> io::Result<()> {
        let checkpoint = &signed.checkpoint;
        let id: String = checkpoint
            .origin
            .chars()
            .filter(char::is_ascii_hexdigit)
            .rev()
            .take(8)
            .collect();
        let id: String = id.chars().rev().collect();
        let name = format!("{PREFIX}{id}-{:012}", checkpoint.size);
        let (path, next) = (self.directory.join(&name), self.directory.join(format!(".{name}.next")));
        if path.exists() {
            return Ok(());
        }
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&next)?;
        file.write_all(signed.note.as_bytes())?;
        file.sync_all()?;
        fs::rename(&next, &path)?;
        fs::File::open(&self.directory)?.sync_all()
    }
}

/// Removes what need not stay: of each day more than a week ago all but the newest, and the oldest ones if there are too many.
fn thin(directory: &Path) -> io::Result<()> {
    let mut files: Vec<(SystemTime, OsString)> = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(PREFIX) && entry.file_type()?.is_file() {
            files.push((entry.metadata()?.modified()?, name));
        }
    }
    files.sort();
    let newest = files.last().map_or(SystemTime::UNIX_EPOCH, |(time, _)| *time);
    let day =
        |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() / DAY.as_secs();
    let mut of_day: BTreeMap<u64, usize> = BTreeMap::new();
    for (number, (time, _)) in files.iter().enumerate() {
        of_day.insert(day(*time), number);
    }
    let too_many = files.len().saturating_sub(MOST);
    for (number, (time, name)) in files.iter().enumerate() {
        let is_old = newest.duration_since(*time).unwrap_or_default() > ALL;
        let is_last_of_day = of_day.get(&day(*time)) == Some(&number);
        if number < too_many || (is_old && !is_last_of_day) {
            fs::remove_file(directory.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_stays_and_one_of_each_day_before() {
        let directory = tempfile::tempdir().unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(20_000 * 86_400 + 43_200);
        for hours in (0..30 * 24).step_by(6) {
            let path = directory.path().join(format!("{PREFIX}00-{hours:012}"));
            fs::write(&path, "").unwrap();
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.set_modified(now - Duration::from_secs(hours * 3600)).unwrap();
        }
        fs::write(directory.path().join("something-else"), "").unwrap();
        let count = || fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(count(), 121);
        thin(directory.path()).unwrap();
        // 29 of the last seven days, 23 or 24 of the days before, and what is not ours.
        assert!((52..=54).contains(&count()), "{}", count());
        let left = count();
        thin(directory.path()).unwrap();
        assert_eq!(count(), left);
    }
}
