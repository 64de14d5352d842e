//! The journal's notary: signs what the journal is at some size, and keeps the newest of these checkpoints in a file beside the database, so that a
//! database that was cut or changed is found at the next start.

mod key_file;
mod rotation;
mod sink;

pub use key_file::KEY_FILE;
pub use rotation::Rotation;

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use greffe_api::record::checkpoint::{Checkpoint, CheckpointError, origin};
use greffe_api::record::key::{KeyError, SigningKey, VerifierKey};
use greffe_api::record::note::{Note, NoteError};
use greffe_api::record::proof::Span;
use greffe_api::v1::KeyAdded;

use self::sink::Sink;
use crate::domain::command::Command;
use crate::domain::error::Error;
use crate::domain::standing::Key;
use crate::journal::writer::Journal;
use crate::store::{Identity, Reader, StoreError};

/// The file with the newest checkpoint, in the data directory.
pub const CHECKPOINT_FILE: &str = "checkpoint";
/// Bytes that are read of a checkpoint at most; ours have some 250.
const NOTE_MAX: u64 = 16 * 1024;
/// Where checkpoints are kept, as errors say it.
pub const IN_FILE: &str = "the file beside the database";
/// Where checkpoints are kept, as errors say it.
pub const IN_DATABASE: &str = "the database";
/// The first line of a note with which a key names the one after it.
const SUCCESSION: &str = "greffe key";

/// Why nothing can be signed, or what was signed is not what there is.
#[derive(Debug, thiserror::Error)]
pub enum NotaryError {
    /// A file cannot be read or written.
    #[error("{} cannot be read or written", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others than the owner have access to the key.
    #[error("others may use the journal's key {} (mode {mode:o}): run `chmod 600` on it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds no key.
    #[error("{} does not hold the journal's key: copy the file from a backup", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// The key is gone, or another one lies in its place.
    #[error(
        "the journal's key is not in {}: copy that file from a backup, or start once with `--new-key` if it is lost; \
         who keeps checkpoints will be told that the key was replaced",
        path.display()
    )]
    Lost {
        /// The file.
        path: PathBuf,
    },
    /// A checkpoint that was kept is none, or signed by nobody who is known.
    #[error("the checkpoint in {place} cannot be trusted: {why}")]
    Checkpoint {
        /// Where it was kept.
        place: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The journal is not what it was.
    #[error(
        "the journal is not the one whose checkpoint lies in {place}: {why}. If you restored it on purpose, start once with \
         `--accept-restore REASON`"
    )]
    Changed {
        /// Where the checkpoint was kept.
        place: &'static str,
        /// How they differ.
        why: String,
    },
    /// Another key signs now.
    #[error("the journal's key was replaced since")]
    Replaced,
    /// The journal could not be read.
    #[error("the journal cannot be read")]
    Store(#[from] StoreError),
    /// Something cannot stand in a note; a journal's id and hashes always can.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The checkpoint could not be kept.
    #[error("the checkpoint cannot be kept: {0}")]
    Keep(Error),
}

/// A checkpoint and its note.
#[derive(Debug)]
pub struct Signed {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The signed note, byte for byte.
    pub note: String,
}

/// Signs checkpoints.
#[derive(Debug)]
pub struct Notary {
    key: Mutex<Arc<SigningKey>>,
    /// The file with the key.
    key_file: PathBuf,
    /// Whether an old key lies in that file still, because it could not be taken out.
    untidy: AtomicBool,
    file: PathBuf,
    newest: Mutex<Option<Arc<Signed>>>,
    /// Where checkpoints also go.
    sink: Option<Arc<Sink>>,
    /// Held while one is signed and kept, so that a newer one is not replaced by an older one; and while the key is replaced, so that no
    /// checkpoint is signed with a key that was not the newest one at its size.
    turn: tokio::sync::Mutex<()>,
}

impl Notary {
    /// Opens or makes the key in `data_dir`. `known` are the keys that the journal has; with `renew` a lost key is replaced. If the journal
    /// does not know the key, there is a row that must be appended before it signs.
    ///
    /// # Errors
    /// The key is not there, is not the journal's, or can be read by others.
    pub fn open(
        data_dir: &Path,
        identity: &Identity,
        known: &[Key],
        renew: bool,
    ) -> Result<(Self, Option<KeyAdded>), NotaryError> {
        let path = data_dir.join(KEY_FILE);
        let name = origin(&identity.journal_id);
        let named = |key: &SigningKey| {
            key.named(&name).map_err(|source| NotaryError::Key {
                path: path.clone(),
                source,
            })
        };
        key_file::tidy(&path)?;
        let mut stored = key_file::read(&path)?;
        let last: Option<VerifierKey> = known.last().and_then(|key| key.verifier_key.parse().ok());
        let several = stored.len() > 1;
        // Of two, one was about to take over: the journal says whether it has.
        let known = stored
            .iter()
            .position(|key| last.as_ref().is_some_and(|last| key.verifier().public() == last.public()));
        let stored = (!stored.is_empty()).then(|| stored.swap_remove(known.unwrap_or_default()));
        let (key, succession) = match (stored, last) {
            (Some(key), None) => (named(&key)?, String::new()),
            (Some(key), Some(last)) if key.verifier().public() == last.public() => {
                let key = named(&key)?;
                if *key.verifier() == last {
                    if several {
                        key_file::write(&path, &[&key])?;
                    }
                    return Ok((Self::new(key, data_dir), None));
                }
                // The journal goes on from a backup, under another id: the same key under another name.
                let before = key.named(last.name()).map_err(|source| NotaryError::Key {
                    path: path.clone(),
                    source,
                })?;
                let succession = succession(&before, key.verifier())?;
                (key, succession)
            }
            (_, Some(_)) if !renew => return Err(NotaryError::Lost { path }),
            (_, Some(_) | None) => (key_file::make(&name)?, String::new()),
        };
        // Before the row: a row without its key could never be signed under.
        key_file::write(&path, &[&key])?;
        let row = KeyAdded {
            verifier_key: key.verifier().to_string(),
            succession,
        };
        Ok((Self::new(key, data_dir), Some(row)))
    }

    fn new(key: SigningKey, data_dir: &Path) -> Self {
        Self {
            key: Mutex::new(Arc::new(key)),
            key_file: data_dir.join(KEY_FILE),
            untidy: AtomicBool::default(),
            file: data_dir.join(CHECKPOINT_FILE),
            newest: Mutex::default(),
            sink: None,
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// The same, which also writes each checkpoint to a directory.
    #[must_use]
    pub fn also_to(mut self, directory: Option<PathBuf>) -> Self {
        self.sink = directory.map(Sink::new);
        self
    }

    /// The newest checkpoint.
    pub fn newest(&self) -> Option<Arc<Signed>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Signs what the journal is now, and keeps that, unless the newest checkpoint says so already.
    ///
    /// # Errors
    /// The journal cannot be read, or the checkpoint not be kept; then the one before stays the newest.
    pub async fn sign(&self, reader: &dyn Reader, journal: &Journal) -> Result<Arc<Signed>, NotaryError> {
        let _turn = self.turn.lock().await;
        self.tidy().await;
        self.sign_in_turn(reader, journal).await
    }

    /// Signs what the journal was at a size, which is at most its own; `key` has to be the one that signs now.
    ///
    /// # Errors
    /// Another key signs now, or the journal cannot be read.
    pub async fn sign_size(&self, reader: &dyn Reader, size: u64, key: &str) -> Result<String, NotaryError> {
        let _turn = self.turn.lock().await;
        let signing = self.key_named(key)?;
        let mut roots = reader.roots(vec![Span { begin: 0, end: size }]).await?;
        let checkpoint = Checkpoint {
            origin: signing.verifier().name().to_owned(),
            size,
            root: roots.pop().unwrap_or_default(),
        };
        Ok(checkpoint.sign(&signing)?.to_string())
    }

    /// Signs a text as a note; `key` has to be the one that signs now.
    ///
    /// # Errors
    /// Another key signs now, or the text cannot be a note's.
    pub fn sign_text(&self, text: String, key: &str) -> Result<String, NotaryError> {
        Ok(Note::sign(text, &*self.key_named(key)?)?.to_string())
    }

    fn key_named(&self, key: &str) -> Result<Arc<SigningKey>, NotaryError> {
        let signing = self.key();
        if signing.verifier().to_string() == key {
            Ok(signing)
        } else {
            Err(NotaryError::Replaced)
        }
    }

    /// The key that signs now.
    fn key(&self) -> Arc<SigningKey> {
        Arc::clone(&self.key.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Signs, for whoever has the turn.
    async fn sign_in_turn(&self, reader: &dyn Reader, journal: &Journal) -> Result<Arc<Signed>, NotaryError> {
        let key = self.key();
        let (size, root) = reader.newest().await?;
        if let Some(newest) = self.newest().filter(|newest| newest.checkpoint.size == size) {
            return Ok(newest);
        }
        let checkpoint = Checkpoint {
            origin: key.verifier().name().to_owned(),
            size,
            root,
        };
        let note = checkpoint.sign(&key)?.to_string();
        let (file, bytes) = (self.file.clone(), note.clone().into_bytes());
        let written = tokio::task::spawn_blocking(move || key_file::replace(&file, &bytes)).await;
        written
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|source| NotaryError::File {
                path: self.file.clone(),
                source,
            })?;
        let keep = Command::KeepCheckpoint {
            note: note.clone(),
            size,
        };
        journal.append(keep).await.map_err(NotaryError::Keep)?;
        let signed = Arc::new(Signed { checkpoint, note });
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&signed));
        if let Some(sink) = &self.sink {
            sink.put(&signed);
        }
        Ok(signed)
    }
}

/// Compares the checkpoints that were kept with the journal, which may go on from them but not have changed before.
///
/// # Errors
/// It changed, or one of them is none of this journal's.
pub async fn compare(data_dir: &Path, reader: &dyn Reader, known: &[Key]) -> Result<(), NotaryError> {
    let in_file = kept(data_dir)?;
    let in_database = reader.checkpoint().await?.map(String::into_bytes);
    for (place, note) in [(IN_FILE, in_file), (IN_DATABASE, in_database)] {
        let Some(note) = note else { continue };
        let checkpoint = opened(&note, known.iter().map(|key| key.verifier_key.as_str())).map_err(|error| {
            NotaryError::Checkpoint {
                place,
                why: error.to_string(),
            }
        })?;
        compare_one(reader, place, &checkpoint).await?;
    }
    Ok(())
}

async fn compare_one(reader: &dyn Reader, place: &'static str, checkpoint: &Checkpoint) -> Result<(), NotaryError> {
    let (size, _) = reader.newest().await?;
    let changed = |why: String| NotaryError::Changed { place, why };
    if checkpoint.size > size {
        return Err(changed(format!("it has {size} rows, and had {}", checkpoint.size)));
    }
    if checkpoint.size == 0 {
        return Ok(());
    }
    let span = Span {
        begin: 0,
        end: checkpoint.size,
    };
    let roots = reader.roots(vec![span]).await?;
    if roots != [checkpoint.root] {
        return Err(changed(format!("the first {} rows are not the same", checkpoint.size)));
    }
    Ok(())
}

/// A note in which a key names the one that signs after it.
fn succession(before: &SigningKey, after: &VerifierKey) -> Result<String, NoteError> {
    Ok(Note::sign(format!("{SUCCESSION}\n{after}\n"), before)?.to_string())
}

/// The checkpoint that was kept in a file of a data directory.
///
/// # Errors
/// The file cannot be read.
pub fn kept(data_dir: &Path) -> Result<Option<Vec<u8>>, NotaryError> {
    let path = data_dir.join(CHECKPOINT_FILE);
    let read = || -> io::Result<Vec<u8>> {
        let mut note = Vec::new();
        // What is longer is cut, and then no note.
        std::fs::File::open(&path)?.take(NOTE_MAX).read_to_end(&mut note)?;
        Ok(note)
    };
    match read() {
        Ok(note) => Ok(Some(note)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(NotaryError::File { path, source }),
    }
}

/// A checkpoint that one of a journal's keys signed.
///
/// # Errors
/// It is none, or none of them did.
pub fn opened<'a>(note: &[u8], keys: impl DoubleEndedIterator<Item = &'a str>) -> Result<Checkpoint, CheckpointError> {
    let note = Note::parse(note)?;
    let keys = keys.rev().filter_map(|key| key.parse::<VerifierKey>().ok());
    let mut refused = CheckpointError::Form("the journal has no keys");
    for key in keys {
        match Checkpoint::open(&note, &key) {
            Ok(checkpoint) => return Ok(checkpoint),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}
