//! The threads that read. SQLite blocks, so nothing of it runs on the runtime's threads.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use greffe_api::record::proof::Span;
use tokio::sync::{Semaphore, oneshot};

use super::{log, read, signed, tree};
use crate::domain::clock::Micros;
use crate::journal::tree::Hash;
use crate::store::{
    Keep, LogRange, LoggedEvent, Place, Range, Reader, RoomEvent, RoomMessage, Scanned, StoreError, StoredEvent,
    TextChange, Unread,
};

/// Reads that may wait for a thread; who comes later waits before that.
const QUEUE: usize = 1024;

type Job = Box<dyn FnOnce(&mut SqliteConnection) + Send>;

/// Reads from SQLite, a few at a time.
#[derive(Clone)]
pub struct SqliteReader {
    jobs: Sender<Job>,
    places: Arc<Semaphore>,
}

impl std::fmt::Debug for SqliteReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SqliteReader")
    }
}

impl SqliteReader {
    /// Starts `count` threads, each with a connection that cannot write. They end when the last reader is dropped.
    pub(super) fn start(path: &Path, count: usize) -> Result<Self, StoreError> {
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..count {
            let mut connection = connect(path)?;
            let queue = Arc::clone(&queue);
            std::thread::Builder::new()
                .name(format!("reader-{number}"))
                .spawn(move || {
                    while let Some(job) = next(&queue) {
                        job(&mut connection);
                    }
                })
                .map_err(|error| StoreError::Io(error.to_string()))?;
        }
        Ok(Self {
            jobs,
            places: Arc::new(Semaphore::new(QUEUE)),
        })
    }

    /// Runs `read` on one of the threads.
    pub async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut SqliteConnection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Who asked may be gone; then the work is not done at all.
            if !answer.is_closed() {
                let _ = answer.send(read(connection));
            }
            drop(place);
        });
        self.jobs.send(job).map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }
}

fn next(queue: &Mutex<Receiver<Job>>) -> Option<Job> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

/// A connection that cannot write, beside those that can.
pub(crate) fn connect(path: &Path) -> Result<SqliteConnection, StoreError> {
    let text = path.to_str().ok_or_else(|| StoreError::Io("the path is not UTF-8".into()))?;
    let mut connection = SqliteConnection::establish(text).map_err(|error| StoreError::Io(error.to_string()))?;
    connection.batch_execute(
        "PRAGMA busy_timeout = 5000; PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; PRAGMA cache_size = -8192;
         PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY;",
    )?;
    Ok(connection)
}

impl Reader for SqliteReader {
    fn events(&self, range: Range) -> BoxFuture<'_, Result<Vec<RoomEvent>, StoreError>> {
        self.run(move |connection| read::events(connection, range)).boxed()
    }

    fn messages(&self, range: Range) -> BoxFuture<'_, Result<(Vec<RoomMessage>, bool), StoreError>> {
        self.run(move |connection| read::messages(connection, range)).boxed()
    }

    fn messages_at(&self, places: Vec<Place>) -> BoxFuture<'_, Result<Vec<RoomMessage>, StoreError>> {
        self.run(move |connection| read::messages_at(connection, &places)).boxed()
    }

    fn unread(&self, user: i64, rooms: Vec<(i64, i64)>) -> BoxFuture<'_, Result<Vec<Unread>, StoreError>> {
        self.run(move |connection| read::unread(connection, user, &rooms)).boxed()
    }

    fn text_changes(&self, first: i64, count: i64) -> BoxFuture<'_, Result<(Vec<TextChange>, i64), StoreError>> {
        self.run(move |connection| read::text_changes(connection, first, count)).boxed()
    }

    fn password(&self, user: i64) -> BoxFuture<'_, Result<Option<String>, StoreError>> {
        self.run(move |connection| read::password(connection, user)).boxed()
    }

    fn log(&self, range: LogRange) -> BoxFuture<'_, Result<(Vec<LoggedEvent>, bool), StoreError>> {
        self.run(move |connection| log::page(connection, range)).boxed()
    }

    fn rows(&self, indices: Vec<i64>) -> BoxFuture<'_, Result<Vec<StoredEvent>, StoreError>> {
        self.run(move |connection| {
            let found = indices.into_iter().map(|index| log::row(connection, index));
            found.filter_map(Result::transpose).collect()
        })
        .boxed()
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<Option<String>, StoreError>> {
        self.run(tree::checkpoint).boxed()
    }

    fn signed_sizes(&self, before: u64, at_most: usize) -> BoxFuture<'_, Result<Vec<u64>, StoreError>> {
        self.run(move |connection| signed::sizes(connection, before, at_most)).boxed()
    }

    fn newest(&self) -> BoxFuture<'_, Result<(u64, Hash), StoreError>> {
        self.run(tree::newest).boxed()
    }

    fn roots(&self, spans: Vec<Span>) -> BoxFuture<'_, Result<Vec<Hash>, StoreError>> {
        self.run(move |connection| tree::roots(connection, &spans)).boxed()
    }

    fn stored_rows(&self, begin: i64, end: i64, bodies: bool) -> BoxFuture<'_, Result<Vec<StoredEvent>, StoreError>> {
        self.run(move |connection| read::stored_rows(connection, begin, end, bodies))
            .boxed()
    }

    fn leaves(&self, first: i64, count: i64) -> BoxFuture<'_, Result<Vec<Hash>, StoreError>> {
        self.run(move |connection| tree::leaves(connection, first, count)).boxed()
    }

    fn newest_seq(&self, room: i64, size: i64) -> BoxFuture<'_, Result<i64, StoreError>> {
        self.run(move |connection| read::newest_seq(connection, room, size)).boxed()
    }

    fn scan(&self, first: i64, count: i64, keep: Keep) -> BoxFuture<'_, Result<Scanned, StoreError>> {
        self.run(move |connection| read::scan(connection, first, count, &*keep)).boxed()
    }

    fn first_since(&self, time: Micros) -> BoxFuture<'_, Result<i64, StoreError>> {
        self.run(move |connection| log::first_since(connection, time)).boxed()
    }

    fn row(&self, index: i64) -> BoxFuture<'_, Result<Option<StoredEvent>, StoreError>> {
        self.run(move |connection| log::row(connection, index)).boxed()
    }
}
