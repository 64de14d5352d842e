//! The journal: everything that happens is one row, in one order, in one tree, durable before anybody sees it.
//!
//! [`writer::Writer`] alone appends. Everyone else holds a [`writer::Journal`], which hands commands to it, and reads the state from a
//! [`View`].

pub mod event;
pub mod verify;
pub mod writer;

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::Waker;

use bytes::Bytes;
pub use greffe_api::record::tree;

use crate::domain::entry::Entry;
use crate::domain::files::Upload;
use crate::domain::ids::{FileId, RoomId};
use crate::domain::state::State;

/// An event that is on disk.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The event.
    pub entry: Arc<Entry>,
    /// Its bytes as an element of a list of events: tag, length, event. Encoded once, sent to everyone.
    pub element: Bytes,
    /// Of an edit, the same without its body: for members who may not see the message that it edits.
    pub bare: Option<Bytes>,
}

/// How an upload stands after a batch; it is no event.
#[derive(Debug, Clone)]
pub enum UploadChange {
    /// It is begun, or went on.
    Set(Box<Upload>),
    /// It is given up.
    Gone(FileId),
}

impl UploadChange {
    /// Takes it into a state.
    pub fn apply(&self, state: &mut State) {
        match self {
            Self::Set(upload) => state.files_mut().set_upload((**upload).clone()),
            Self::Gone(id) => _ = state.files_mut().drop_upload(*id),
        }
    }
}

/// Who is told of events once they are on disk, on the writer's thread, in the order of their indices.
pub trait Publish: Send + 'static {
    /// Takes a batch, and returns who has something to read: they are woken when the batch is answered, too, so that each is woken once. Must
    /// not block.
    fn publish(&self, batch: &[Committed]) -> Vec<Waker>;
    /// Notes that sessions were used.
    fn touch(&self, sessions: &[(crate::domain::ids::SessionId, crate::domain::clock::Micros)]);
    /// Notes how uploads stand now, or that they are gone. Called before the events of the same batch are published.
    fn uploads(&self, changes: &[UploadChange]);
    /// Forgets what is kept of rooms in which bodies were erased.
    fn erased(&self, rooms: &BTreeSet<RoomId>);
}

/// The state as everyone may see it: of the events that are on disk.
#[derive(Debug, Clone)]
pub struct View(Arc<RwLock<State>>);

impl View {
    /// Starts with `state`.
    pub fn new(state: State) -> Self {
        Self(Arc::new(RwLock::new(state)))
    }

    /// Looks at the state. Keep it short: the writer waits.
    pub fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        // A panic while the state was changed cannot leave it half changed in a way that matters: the process stops then.
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the state. Only the publisher does.
    pub(crate) fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}
