//! A file that is on its way down: written under a name of its own, and put in its place when it is whole, without ever replacing anything.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use greffe::terminal::local_files::{self, absent_is_fine, create, open_existing, place, sync_directory};

use super::local_name::{LONGEST, local_name, numbered};
use super::notes::{DownloadNote, FileIdentity, Notes, forget, keep, load};
use crate::error::CommandError;

/// What the names of partial files begin and end with.
const PREFIX: &str = ".";
const SUFFIX: &str = ".greffe-partial";
/// Bytes that these add to a name.
pub(crate) const ADDED: usize = PREFIX.len() + SUFFIX.len();
/// Numbers that are tried for a name that is taken.
const NUMBERS: std::ops::RangeInclusive<u32> = 2..=999;
/// How often a name is tried that somebody else makes and removes.
const TRIES: usize = 8;

/// A partial file, locked for this process.
#[derive(Debug)]
pub(crate) struct Partial {
    path: PathBuf,
    target: PathBuf,
    note: PathBuf,
    file: File,
    /// Bytes that an earlier command left, of the same file.
    pub(crate) length: u64,
}

impl Partial {
    /// Opens the partial file for `target`, with what an earlier command left if it was on the same file of the server.
    pub(crate) fn open(target: PathBuf, file_id: &str, notes: &Notes) -> Result<Self, CommandError> {
        let path = beside(&target)?;
        let note = notes.download(file_id, &path);
        for _ in 0..TRIES {
            match open_existing(&path).map_err(|error| unusable(&path, &error))? {
                None => {}
                Some((file, metadata)) => {
                    lock(&file, &path)?;
                    let known: Option<DownloadNote> = load(&note)?;
                    let is_ours = known.is_some_and(|known| known.partial == FileIdentity::of(&metadata));
                    // Whoever had the lock before may have put the file in its place.
                    if is_ours && is_still(&path, &metadata) {
                        // It may have grown until the lock was free.
                        let length = file.metadata().map_err(|error| unusable(&path, &error))?.len();
                        return Ok(Self {
                            path,
                            target,
                            note,
                            file,
                            length,
                        });
                    }
                    // It is of another file, or of nobody knows what.
                    absent_is_fine(fs::remove_file(&path)).map_err(|error| unusable(&path, &error))?;
                }
            }
            match create(&path) {
                Ok(file) => {
                    lock(&file, &path)?;
                    let metadata = file.metadata().map_err(|error| unusable(&path, &error))?;
                    keep(
                        &note,
                        &DownloadNote {
                            partial: FileIdentity::of(&metadata),
                        },
                    )?;
                    return Ok(Self {
                        path,
                        target,
                        note,
                        file,
                        length: 0,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(unusable(&path, &error)),
            }
        }
        Err(CommandError::Failed(format!(
            "{} comes and goes; try again",
            path.display()
        )))
    }

    /// Another handle on the same open file, at the same position.
    pub(crate) fn handle(&self) -> Result<File, CommandError> {
        self.file.try_clone().map_err(|error| unusable(&self.path, &error))
    }

    /// Throws it away.
    pub(crate) fn discard(self) -> Result<(), CommandError> {
        absent_is_fine(fs::remove_file(&self.path)).map_err(|error| unusable(&self.path, &error))?;
        forget(&self.note)
    }

    /// Makes what is there durable and gives it its name; returns that. With `keep_both`, a name that is taken gets a number.
    ///
    /// # Errors
    /// If the name is taken. The partial file stays, and another command can use it.
    pub(crate) fn put_in_place(self, keep_both: bool) -> Result<PathBuf, CommandError> {
        self.file.sync_all().map_err(|error| unusable(&self.path, &error))?;
        let taken = |path: &Path| already_there(path);
        let place = match place(&self.path, &self.target) {
            Ok(()) => self.target.clone(),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && keep_both => {
                let name = self.target.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let mut found = None;
                for number in NUMBERS {
                    let other = self.target.with_file_name(numbered(name, number));
                    match place(&self.path, &other) {
                        Ok(()) => {
                            found = Some(other);
                            break;
                        }
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                        Err(error) => return Err(unusable(&other, &error)),
                    }
                }
                found.ok_or_else(|| taken(&self.target))?
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(taken(&self.target)),
            Err(error) => return Err(unusable(&self.target, &error)),
        };
        sync_directory(&place).map_err(|error| unusable(&place, &error))?;
        forget(&self.note)?;
        Ok(place)
    }
}

/// The error of a name that is taken.
pub(crate) fn already_there(path: &Path) -> CommandError {
    let is_place = |kind: fs::FileType| kind.is_file() || kind.is_dir() || kind.is_symlink();
    if fs::symlink_metadata(path).is_ok_and(|found| !is_place(found.file_type())) {
        return CommandError::Failed(format!(
            "{} is a pipe or a device; nothing was written to it",
            path.display()
        ))
        .with_hint("`greffe files get ID -o - > PATH` writes there");
    }
    CommandError::Failed(format!("{} is there already; nothing was overwritten", path.display()))
        .with_hint("`greffe files get ID -o PATH` puts it elsewhere, --keep-both adds a number to its name")
}

/// What the partial file for `target` is called: in the same directory, so that it can be put in place at once.
fn beside(target: &Path) -> Result<PathBuf, CommandError> {
    let name = target
        .file_name()
        .ok_or_else(|| CommandError::Usage(format!("{} does not name a file", target.display())))?;
    let mut partial = std::ffi::OsString::from(PREFIX);
    if name.len() + ADDED <= LONGEST {
        partial.push(name);
    } else {
        partial.push(local_name(&name.to_string_lossy(), ADDED));
    }
    partial.push(SUFFIX);
    Ok(target.with_file_name(partial))
}

fn lock(file: &File, path: &Path) -> Result<(), CommandError> {
    match local_files::lock(file) {
        Ok(true) => Ok(()),
        Ok(false) => Err(CommandError::Failed(format!(
            "another program is writing {}; wait until it is done, or put the file elsewhere with `-o PATH`",
            path.display()
        ))),
        Err(error) => Err(unusable(path, &error)),
    }
}

/// Whether `path` still names the file that was opened.
fn is_still(path: &Path, opened: &fs::Metadata) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|now| now.file_type().is_file() && FileIdentity::of(&now) == FileIdentity::of(opened))
}

fn unusable(path: &Path, error: &io::Error) -> CommandError {
    CommandError::Failed(format!("{} cannot be written: {error}", path.display()))
        .with_hint("`greffe files get ID -o PATH` puts it elsewhere")
}

#[cfg(all(test, unix))]
mod tests {
    use std::error::Error;
    use std::io::Write as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    struct Place {
        directory: tempfile::TempDir,
        notes: Notes,
        _state: tempfile::TempDir,
    }

    impl Place {
        fn new() -> io::Result<Self> {
            let state = tempfile::tempdir()?;
            Ok(Self {
                directory: tempfile::tempdir()?,
                notes: Notes::open(state.path().to_owned(), "alice"),
                _state: state,
            })
        }

        fn open(&self, name: &str, file_id: &str) -> Result<Partial, CommandError> {
            Partial::open(self.path(name), file_id, &self.notes)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn left(&self) -> io::Result<Vec<String>> {
            let entries: io::Result<Vec<_>> = fs::read_dir(self.directory.path())?.collect();
            let mut names: Vec<_> = entries?
                .iter()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect();
            names.sort();
            Ok(names)
        }
    }

    #[test]
    fn what_was_left_of_the_same_file_is_gone_on_with() -> Result<(), Box<dyn Error>> {
        let place = Place::new()?;
        let partial = place.open("a", "1")?;
        partial.handle()?.write_all(b"half")?;
        let mode = fs::metadata(place.path(".a.greffe-partial"))?.permissions().mode();
        assert_eq!((mode & 0o777, partial.length), (0o600, 0));
        assert!(
            place
                .open("a", "1")
                .is_err_and(|error| error.to_string().contains("another program"))
        );
        drop(partial);
        let partial = place.open("a", "1")?;
        assert_eq!(partial.length, 4);
        drop(partial);
        assert_eq!(place.open("a", "2")?.length, 0);
        assert_eq!(place.open("a", "1")?.length, 0);
        Ok(())
    }

    #[test]
    fn a_partial_file_of_somebody_else_is_not_gone_on_with() -> Result<(), Box<dyn Error>> {
        let place = Place::new()?;
        drop(place.open("a", "1")?);
        fs::remove_file(place.path(".a.greffe-partial"))?;
        // Kept, so that its inode cannot be given again.
        let _other = File::create(place.path("other"))?;
        fs::write(place.path(".a.greffe-partial"), "planted")?;
        assert_eq!(place.open("a", "2")?.length, 0);
        Ok(())
    }

    #[test]
    fn no_link_is_followed() -> Result<(), Box<dyn Error>> {
        let place = Place::new()?;
        fs::write(place.path("precious"), "precious")?;
        symlink(place.path("precious"), place.path(".a.greffe-partial"))?;
        assert!(place.open("a", "1").is_err());
        symlink(place.path("nowhere"), place.path("b"))?;
        let partial = place.open("b", "1")?;
        partial.handle()?.write_all(b"new")?;
        assert!(partial.put_in_place(false).is_err());
        assert_eq!(fs::read_to_string(place.path("precious"))?, "precious");
        assert!(!place.path("nowhere").exists());
        Ok(())
    }

    #[test]
    fn a_name_of_any_length_has_a_partial_file() -> Result<(), Box<dyn Error>> {
        let place = Place::new()?;
        for name in ["x".repeat(255), "ä".repeat(127)] {
            let partial = place.open(&name, "1")?;
            partial.handle()?.write_all(b"new")?;
            assert_eq!(partial.put_in_place(false)?, place.path(&name));
        }
        assert_eq!(place.left()?.len(), 2);
        Ok(())
    }

    #[test]
    fn nothing_is_replaced() -> Result<(), Box<dyn Error>> {
        let place = Place::new()?;
        fs::write(place.path("a.txt"), "old")?;
        fs::create_dir(place.path("a (2).txt"))?;
        let partial = place.open("a.txt", "1")?;
        partial.handle()?.write_all(b"new")?;
        let refused = partial.put_in_place(false);
        assert!(refused.is_err_and(|error| error.to_string().contains("nothing was overwritten")));
        let partial = place.open("a.txt", "1")?;
        assert_eq!(partial.length, 3);
        assert_eq!(partial.put_in_place(true)?, place.path("a (3).txt"));
        assert_eq!(fs::read_to_string(place.path("a.txt"))?, "old");
        assert_eq!(fs::read_to_string(place.path("a (3).txt"))?, "new");
        assert_eq!(place.left()?, ["a (2).txt", "a (3).txt", "a.txt"]);
        Ok(())
    }
}
