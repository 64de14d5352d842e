//! A new key in place of the old one. At any time the file has the key that the journal names last: before the journal is told of the new one, both
//! are in the file, and a start picks the right one.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use greffe_api::record::key::SigningKey;
use greffe_api::v1::KeyAdded;
use tokio::sync::MutexGuard;

use super::{Notary, NotaryError, Signed, key_file, succession};
use crate::journal::writer::Journal;
use crate::store::Reader;

/// A new key that is in the file beside the old one. Nothing is signed until it took over, or was given up. If it is dropped without either, both
/// stay in the file: it is not known which one is the journal's.
#[derive(Debug)]
pub struct Rotation<'a> {
    notary: &'a Notary,
    _turn: MutexGuard<'a, ()>,
    old: Arc<SigningKey>,
    new: Arc<SigningKey>,
    row: KeyAdded,
}

impl Notary {
    /// Makes a new key, which the old one signs.
    ///
    /// # Errors
    /// It cannot be put into the file; then the old one is in it alone, or still.
    pub async fn begin_rotation(&self) -> Result<Rotation<'_>, NotaryError> {
        let turn = self.turn.lock().await;
        let old = self.key();
        let new = Arc::new(key_file::make(old.verifier().name())?);
        let row = KeyAdded {
            verifier_key: new.verifier().to_string(),
            succession: succession(&old, new.verifier())?,
        };
        self.store(vec![Arc::clone(&old), Arc::clone(&new)]).await?;
        Ok(Rotation {
            notary: self,
            _turn: turn,
            old,
            new,
            row,
        })
    }

    async fn store(&self, keys: Vec<Arc<SigningKey>>) -> Result<(), NotaryError> {
        let path = self.key_file.clone();
        let written = tokio::task::spawn_blocking(move || {
            let keys: Vec<&SigningKey> = keys.iter().map(Arc::as_ref).collect();
            key_file::write(&path, &keys)
        });
        written.await.unwrap_or_else(|error| {
            Err(NotaryError::File {
                path: self.key_file.clone(),
                source: std::io::Error::other(error),
            })
        })
    }

    /// Has the file hold the key that signs alone, if it does not; for whoever has the turn. If that fails, it is tried again.
    pub(super) async fn tidy(&self) {
        if !self.untidy.load(Ordering::Relaxed) {
            return;
        }
        match self.store(vec![self.key()]).await {
            Ok(()) => self.untidy.store(false, Ordering::Relaxed),
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "A key that signs no more could not be removed from the disk; it is tried again"
            ),
        }
    }
}

impl Rotation<'_> {
    /// What the journal must say of the new key.
    pub fn row(&self) -> &KeyAdded {
        &self.row
    }

    /// The journal says it: the new key signs from now on, and first of all what the journal is now. The old one is removed from the disk.
    ///
    /// # Errors
    /// No checkpoint could be signed, which is tried again; the key took over all the same.
    pub async fn take_over(self, reader: &dyn Reader, journal: &Journal) -> Result<Arc<Signed>, NotaryError> {
        *self.notary.key.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&self.new);
        self.notary.untidy.store(true, Ordering::Relaxed);
        self.notary.tidy().await;
        self.notary.sign_in_turn(reader, journal).await
    }

    /// The journal does not say it, and never will: the old key goes on.
    pub async fn give_up(self) {
        debug_assert_eq!(
            self.notary.key().verifier(),
            self.old.verifier(),
            "nobody else has the turn"
        );
        self.notary.untidy.store(true, Ordering::Relaxed);
        self.notary.tidy().await;
    }
}
