//! A journal of 100,000 messages, made once for all who read it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use greffe_server::domain::caller::Caller;
use greffe_server::domain::ids::RoomId;
use greffe_server::grpc::frame_events;
use greffe_server::journal::View;
use greffe_server::live::feed::Feed;
use greffe_server::store::Reader;
use tempfile::TempDir;

use crate::parts::desk::{Desk, FEED};
use crate::parts::places;

/// Messages in it, all in one room.
pub(crate) const MESSAGES: usize = 100_000;
/// Messages of a batch.
const BATCH: usize = 1000;
/// People who wrote them.
const MEMBERS: usize = 10;

/// What is read.
pub(crate) struct Archive {
    /// A feed whose state is that of the whole journal.
    pub(crate) feed: Arc<Feed>,
    /// Reads the database.
    pub(crate) reader: Arc<dyn Reader>,
    /// The room with the messages.
    pub(crate) room: RoomId,
    /// Somebody in it.
    pub(crate) member: Caller,
    // Last, so that the database is closed before its files go.
    directory: TempDir,
}

static ARCHIVE: Mutex<Option<Arc<Archive>>> = Mutex::new(None);

/// The archive; made by whoever needs it first.
pub(crate) fn archive() -> Arc<Archive> {
    let mut archive = ARCHIVE.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(archive.get_or_insert_with(|| Arc::new(Archive::make())))
}

/// Removes it, if it was made.
pub(crate) fn remove() {
    drop(ARCHIVE.lock().unwrap_or_else(PoisonError::into_inner).take());
}

impl Archive {
    /// On the disk, as a journal is, though what is read lies in the page cache.
    fn make() -> Self {
        let mut feed = None;
        let mut desk = Desk::open_with(&places::disk(), MEMBERS, |state| {
            Arc::clone(feed.insert(Feed::new(View::new(state.clone()), FEED, frame_events)))
        });
        for _ in 0..MESSAGES / BATCH {
            let messages = desk.messages(BATCH);
            desk.append(messages);
        }
        let room = desk.room();
        let Desk {
            reader,
            members,
            directory,
            ..
        } = desk;
        Self {
            feed: feed.expect("a desk has a feed"),
            reader: Arc::new(reader),
            room,
            member: members[0],
            directory,
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}
