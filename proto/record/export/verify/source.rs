//! Where an export lies: in a directory, or in a tar archive.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::{Finding, MANIFEST, SHARED, VerifyError};

/// Files of an export, at most.
const FILES: usize = 1_000_000;
/// Bytes of a name, at most.
const NAME_BYTES: usize = 100;

/// The files of an export.
#[derive(Debug)]
pub struct Source {
    files: BTreeMap<String, Place>,
}

/// Where the bytes of a file are.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    begin: u64,
    size: u64,
}

impl Source {
    /// Finds the files of an export.
    ///
    /// # Errors
    /// There is none, or it cannot be read; or there is something that is no file of an export.
    pub fn open(path: &Path) -> Result<Self, VerifyError> {
        let unreadable =
            |error: io::Error| VerifyError::Unreadable(format!("{} cannot be read: {error}", path.display()));
        let mut source = Self { files: BTreeMap::new() };
        if fs::metadata(path).map_err(unreadable)?.is_dir() {
            source.add_directory(path, "")?;
        } else {
            source.add_archive(path)?;
        }
        if !source.files.contains_key(MANIFEST) {
            return Err(VerifyError::Unreadable(format!(
                "{} is no export: it has no manifest",
                path.display()
            )));
        }
        Ok(source)
    }

    fn add(&mut self, name: String, place: Place) -> Result<(), VerifyError> {
        if name.len() > NAME_BYTES || self.files.len() >= FILES {
            return Err(Finding::new(name, "no export has such a file").into());
        }
        if self.files.contains_key(&name) {
            return Err(Finding::new(name, "it is there twice").into());
        }
        self.files.insert(name, place);
        Ok(())
    }

    fn add_directory(&mut self, directory: &Path, prefix: &str) -> Result<(), VerifyError> {
        let unreadable =
            |error: io::Error| VerifyError::Unreadable(format!("{} cannot be read: {error}", directory.display()));
        for entry in fs::read_dir(directory).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            // Not followed: a link is no file of an export.
            let metadata = entry.metadata().map_err(unreadable)?;
            if metadata.is_dir() && format!("{name}/") == SHARED {
                self.add_directory(&entry.path(), SHARED)?;
            } else if metadata.is_file() {
                let place = Place {
                    path: entry.path(),
                    begin: 0,
                    size: metadata.len(),
                };
                self.add(name, place)?;
            } else {
                return Err(Finding::new(name, "it is no file of an export").into());
            }
        }
        Ok(())
    }

    fn add_archive(&mut self, path: &Path) -> Result<(), VerifyError> {
        let unreadable = |error: io::Error| {
            VerifyError::Unreadable(format!("{} is no archive that can be read: {error}", path.display()))
        };
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        // What is between the files, and behind them, has to be nothing: else it could be changed unseen.
        let mut gaps = File::open(path).map_err(unreadable)?;
        let mut end = 0;
        let mut archive = tar::Archive::new(file);
        for entry in archive.entries_with_seek().map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if !entry.header().entry_type().is_file() || entry.link_name_bytes().is_some_and(|link| !link.is_empty()) {
                return Err(Finding::new(name, "it is no file of an export").into());
            }
            let place = Place {
                path: path.to_owned(),
                begin: entry.raw_file_position(),
                size: entry.size(),
            };
            if place.begin.checked_add(place.size).is_none_or(|end| end > length) {
                return Err(Finding::new(name, "the archive ends within it").into());
            }
            let header = entry.raw_header_position();
            empty(&mut gaps, end, header).map_err(|why| Finding::new(&name, why))?;
            end = place.begin + place.size;
            self.add(name, place)?;
        }
        empty(&mut gaps, end, length).map_err(|why| Finding::new("the end of the archive", why))?;
        Ok(())
    }

    /// The names of the files, ascending.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// The bytes of a file; none if there is no such file.
    pub fn size(&self, name: &str) -> Option<u64> {
        self.files.get(name).map(|place| place.size)
    }

    /// Opens a file.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub fn read(&self, name: &str) -> io::Result<impl Read + use<>> {
        let place = self.files.get(name).ok_or(io::ErrorKind::NotFound)?;
        let mut file = File::open(&place.path)?;
        file.seek(SeekFrom::Start(place.begin))?;
        Ok(BufReader::with_capacity(1 << 18, file.take(place.size)))
    }
}

/// Refuses bytes of an archive that are not zero.
fn empty(file: &mut File, begin: u64, end: u64) -> Result<(), &'static str> {
    const UNREADABLE: &str = "the archive cannot be read there";
    file.seek(SeekFrom::Start(begin)).map_err(|_| UNREADABLE)?;
    let mut rest = BufReader::new(file.take(end.saturating_sub(begin)));
    let mut buffer = [0; 4096];
    loop {
        let read = rest.read(&mut buffer).map_err(|_| UNREADABLE)?;
        if read == 0 {
            return Ok(());
        }
        if buffer[..read].iter().any(|byte| *byte != 0) {
            return Err("there is something before it, or behind it, that is no file of the export");
        }
    }
}
