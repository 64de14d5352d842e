//! Notes on files that are on their way, kept between commands: with them, the same command given again goes on instead of beginning anew,
//! and shares nothing twice.
//!
//! A note is a small private file. Nobody but this program of this user writes it; one that makes no sense counts as none.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use greffe::{NewFile, Sha256, new_request_id};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::{read, remove, write_private};
use crate::error::CommandError;

/// After this time a note is forgotten. Servers give uploads up after a day, and know a repeated request for a week.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The notes for one user of one server.
#[derive(Clone, Debug)]
pub(crate) struct Notes {
    directory: PathBuf,
    user_id: String,
}

/// A file that is being sent.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct UploadNote {
    /// What the file was when it began.
    pub(crate) source: Fingerprint,
    /// The request that begins it, if it goes in pieces.
    pub(crate) create_id: String,
    /// The request that shares it.
    pub(crate) request_id: String,
    /// The upload's id. Absent: it goes in one call, or the server's answer is not known.
    pub(crate) upload_id: Option<String>,
    /// The hash of the whole, once the server was asked to complete the upload.
    pub(crate) sha256: Option<[u8; 32]>,
}

impl UploadNote {
    /// Of a file that was not sent yet.
    pub(crate) fn new(source: Fingerprint) -> Self {
        Self {
            source,
            create_id: new_request_id(),
            request_id: new_request_id(),
            upload_id: None,
            sha256: None,
        }
    }
}

/// A file that is being fetched.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct DownloadNote {
    /// Which file of this machine has what came so far.
    pub(crate) partial: FileIdentity,
}

/// By what it is seen that a file was not changed.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Fingerprint {
    /// Its bytes.
    pub(crate) size: u64,
    /// When it was last written, in nanoseconds since 1970.
    modified_ns: u128,
}

impl From<&fs::Metadata> for Fingerprint {
    fn from(metadata: &fs::Metadata) -> Self {
        // Systems without such times, and times before 1970, leave the size.
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Self {
            size: metadata.len(),
            modified_ns: modified.unwrap_or_default().as_nanos(),
        }
    }
}

/// Which file it is, whatever it is called.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    /// Of an open file.
    #[cfg(unix)]
    pub(crate) fn of(metadata: &fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }

    /// Of an open file. Here the system does not tell; its name says enough.
    #[cfg(not(unix))]
    pub(crate) fn of(_: &fs::Metadata) -> Self {
        Self { device: 0, inode: 0 }
    }
}

impl Notes {
    /// Opens the notes in `directory`, and forgets old ones.
    pub(crate) fn open(directory: PathBuf, user_id: &str) -> Self {
        let notes = Self {
            directory,
            user_id: user_id.to_owned(),
        };
        notes.sweep();
        notes
    }

    /// The directory, for files that are private and temporary too.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the note on an upload is: one for each file and what is to become of it.
    pub(crate) fn upload(&self, source: &Path, new: &NewFile) -> PathBuf {
        let source = source.as_os_str().as_encoded_bytes();
        let parts = [&new.name, &new.room_id, &new.media_type].map(String::as_bytes);
        self.place("upload", &[source, parts[0], parts[1], parts[2]])
    }

    /// Where the note on a download is: one for each file of the server and partial file of this machine.
    pub(crate) fn download(&self, file_id: &str, partial: &Path) -> PathBuf {
        let partial = partial.as_os_str().as_encoded_bytes();
        self.place("download", &[file_id.as_bytes(), partial])
    }

    fn place(&self, kind: &str, parts: &[&[u8]]) -> PathBuf {
        let mut hash = Sha256::new();
        for part in [self.user_id.as_bytes()].iter().chain(parts) {
            // The length keeps apart what else could run together.
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        self.directory.join(format!("{kind}-{}", crate::text::hex(&hash.finish())))
    }

    fn sweep(&self) {
        // What cannot be swept now is swept another time.
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return;
        };
        let now = SystemTime::from(Timestamp::now());
        for entry in entries.flatten() {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let age = modified.ok().and_then(|time| now.duration_since(time).ok());
            if age.is_some_and(|age| age > KEPT) {
                drop(fs::remove_file(entry.path()));
            }
        }
    }
}

/// Reads a note; `None` if there is none that makes sense.
pub(crate) fn load<T: for<'a> Deserialize<'a>>(place: &Path) -> Result<Option<T>, CommandError> {
    Ok(read(place)?.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Keeps a note.
pub(crate) fn keep<T: Serialize>(place: &Path, note: &T) -> Result<(), CommandError> {
    let text = serde_json::to_string(note)
        .map_err(|error| CommandError::Failed(format!("the note on the transfer cannot be made: {error}")))?;
    write_private(place, &text)
}

/// Forgets a note.
pub(crate) fn forget(place: &Path) -> Result<(), CommandError> {
    remove(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_kept_apart_and_forgotten() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let notes = |user| Notes::open(directory.path().to_owned(), user);
        let new = |name: &str, media_type: &str| NewFile {
            name: name.into(),
            media_type: media_type.into(),
            room_id: "r".into(),
        };
        let place = notes("alice").upload(Path::new("/a"), &new("b", "c"));
        assert_ne!(place, notes("bob").upload(Path::new("/a"), &new("b", "c")));
        assert_ne!(place, notes("alice").upload(Path::new("/a"), &new("bc", "")));
        let note = UploadNote {
            upload_id: Some("u".into()),
            sha256: Some([7; 32]),
            ..UploadNote::new(Fingerprint::from(&fs::metadata(directory.path())?))
        };
        keep(&place, &note)?;
        assert_eq!(load::<UploadNote>(&place)?, Some(note));
        fs::write(&place, "{\"half")?;
        assert_eq!(load::<UploadNote>(&place)?, None);
        forget(&place)?;
        forget(&place)?;
        assert_eq!(load::<UploadNote>(&place)?, None);
        Ok(())
    }

    #[test]
    fn old_notes_are_swept() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let (old, new) = (directory.path().join("old"), directory.path().join("new"));
        fs::write(&new, "")?;
        fs::File::create(&old)?.set_modified(SystemTime::from(Timestamp::now()) - 2 * KEPT)?;
        Notes::open(directory.path().to_owned(), "alice");
        assert_eq!((old.exists(), new.exists()), (false, true));
        Ok(())
    }
}
