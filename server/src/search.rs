//! Search: an index of the current texts that follows the journal, and never makes an append wait.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

pub use crate::store::sqlite::text_index::Hit;

use crate::domain::error::Error;
use crate::store::sqlite::SqliteReader;
use crate::store::sqlite::text_index::{TextIndex, find};
use crate::store::{Reader, StoreError};
use crate::telemetry;

/// The index's database, in the data directory.
pub const DATABASE: &str = "search.db";
/// Rows of the journal that are taken in at a time.
const BATCH: i64 = 500;
/// How long what comes in is left to gather, so that a busy journal is followed in few transactions.
const GATHER: Duration = Duration::from_millis(100);
/// How long the follower waits after something went wrong.
const PAUSE: Duration = Duration::from_secs(5);
/// Orders that wait for the follower.
const ORDERS: usize = 16;
/// Words of one search.
const WORDS: usize = 16;

/// Finds messages by their words.
#[derive(Debug, Clone)]
pub struct Search {
    reader: SqliteReader,
    next: Arc<AtomicI64>,
    orders: mpsc::Sender<Order>,
}

/// What the follower is told beside the journal.
#[derive(Debug)]
enum Order {
    /// Take out the texts of messages, by number of the room and seq.
    Erase(Vec<(i64, i64)>, oneshot::Sender<Result<(), StoreError>>),
    /// Leave nothing in the write-ahead log; answered is whether that was possible.
    Settle(oneshot::Sender<Result<bool, StoreError>>),
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Newest first.
    pub hits: Vec<Hit>,
    /// From where to go on, if there may be more.
    pub next: Option<i64>,
}

impl Search {
    /// Opens or makes the index beside the journal, of which `size` rows exist, and starts to follow: `sizes` tells how many there are.
    ///
    /// The follower ends when `sizes` does.
    pub fn start(
        data_dir: &Path,
        journal_id: &str,
        size: i64,
        journal: Arc<dyn Reader>,
        sizes: watch::Receiver<i64>,
    ) -> Result<Self, StoreError> {
        let path = data_dir.join(DATABASE);
        let (index, next) = TextIndex::open(&path, journal_id, size)?;
        let reader = TextIndex::reader(&path)?;
        let told = Arc::new(AtomicI64::new(next));
        let (orders, ordered) = mpsc::channel(ORDERS);
        let follower = Follower {
            index,
            next,
            told: Arc::clone(&told),
            journal,
            path,
        };
        // A runtime of its own, because the follower blocks while it writes, and outlasts the server's runtime by a moment.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| StoreError::Io(error.to_string()))?;
        std::thread::Builder::new()
            .name("search".into())
            .spawn(move || {
                crate::background::give_way();
                runtime.block_on(follower.run(sizes, ordered));
            })
            .map_err(|error| StoreError::Io(error.to_string()))?;
        Ok(Self {
            reader,
            next: told,
            orders,
        })
    }

    /// The first row that is not in the index.
    pub fn next(&self) -> i64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Takes out the texts of messages, given by number of the room and seq. What was erased in the journal does not come in again.
    pub async fn erase(&self, places: Vec<(i64, i64)>) -> Result<(), StoreError> {
        self.order(|answer| Order::Erase(places, answer)).await
    }

    /// Leaves nothing in the write-ahead log of what was taken out. False: somebody searches, and it has to be tried again.
    pub async fn settle(&self) -> Result<bool, StoreError> {
        self.order(Order::Settle).await
    }

    async fn order<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Order,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(order(answer)).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Messages whose text has all the words of `query`, in `rooms` (number, and first seq that may be read), from before the row `before`.
    pub async fn find(&self, query: &str, rooms: Vec<(i64, i64)>, before: i64, size: usize) -> Result<Found, Error> {
        let Some(query) = match_all(query) else {
            return Err(Error::invalid(
                "query",
                format!("it must have 1 to {WORDS} words with letters or digits in them"),
            ));
        };
        let first_seqs: HashMap<i64, i64> = rooms.into_iter().collect();
        let (hits, next) = self
            .reader
            .run(move |connection| find(connection, &query, &first_seqs, before, size))
            .await?;
        Ok(Found { hits, next })
    }
}

/// The query that FTS5 gets: every word, quoted so that nothing in it is syntax, as a prefix.
fn match_all(query: &str) -> Option<String> {
    let words: Vec<&str> = query
        .split_whitespace()
        .filter(|word| word.chars().any(char::is_alphanumeric))
        .collect();
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{}\"*", word.replace('"', "\"\""))).collect();
    (1..=WORDS).contains(&quoted.len()).then(|| quoted.join(" "))
}

/// Brings the index up to the journal. Runs on a thread of its own, because writing to the index blocks.
struct Follower {
    index: TextIndex,
    next: i64,
    /// The same, for others.
    told: Arc<AtomicI64>,
    journal: Arc<dyn Reader>,
    path: PathBuf,
}

impl Follower {
    async fn run(mut self, mut sizes: watch::Receiver<i64>, mut orders: mpsc::Receiver<Order>) {
        loop {
            while let Ok(order) = orders.try_recv() {
                self.obey(order);
            }
            let size = *sizes.borrow_and_update();
            telemetry::search_lag(u64::try_from(size - self.next).unwrap_or(0));
            if self.next < size {
                match self.step().await {
                    Ok(()) => continue,
                    Err(StoreError::Closed) => return,
                    Err(error) => {
                        tracing::warn!(%error, path = %self.path.display(), "The search index could not follow the journal");
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                }
            }
            tokio::select! {
                changed = sizes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    tokio::time::sleep(GATHER).await;
                }
                Some(order) = orders.recv() => self.obey(order),
            }
        }
    }

    fn obey(&mut self, order: Order) {
        // Who asked may be gone.
        match order {
            Order::Erase(places, answer) => _ = answer.send(self.index.take_out(&places, self.next)),
            Order::Settle(answer) => _ = answer.send(self.index.settle()),
        }
    }

    async fn step(&mut self) -> Result<(), StoreError> {
        let (changes, next) = self.journal.text_changes(self.next, BATCH).await?;
        self.index.apply(&changes, next)?;
        self.next = next;
        self.told.store(next, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::TextChange;

    fn posted(index: i64, text: &str) -> TextChange {
        TextChange {
            index,
            room: 1,
            seq: index,
            text: Some(text.into()),
        }
    }

    async fn seqs(reader: &SqliteReader, query: &str) -> Vec<i64> {
        let query = match_all(query).unwrap();
        let (hits, _) = reader
            .run(move |connection| find(connection, &query, &HashMap::from([(1, 1)]), i64::MAX, 10))
            .await
            .unwrap();
        hits.into_iter().map(|hit| hit.seq).collect()
    }

    #[tokio::test]
    async fn only_current_texts_are_found_and_the_others_leave_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("search.db");
        let (mut index, next) = TextIndex::open(&path, "j", 0).unwrap();
        assert_eq!(next, 0);
        index
            .apply(
                &[
                    posted(10, "the Zauberwort is here"),
                    posted(11, "café au lait"),
                    posted(12, "nothing"),
                ],
                13,
            )
            .unwrap();
        let reader = TextIndex::reader(&path).unwrap();
        assert_eq!(seqs(&reader, "zauber").await, [10]);
        assert_eq!(seqs(&reader, "CAFE lait").await, [11]);
        assert_eq!(seqs(&reader, "\" OR NEAR( x").await, Vec::<i64>::new());
        let edited = TextChange {
            index: 13,
            room: 1,
            seq: 10,
            text: Some("changed".into()),
        };
        let deleted = TextChange {
            index: 14,
            room: 1,
            seq: 11,
            text: None,
        };
        index.apply(&[edited, deleted], 15).unwrap();
        assert_eq!(seqs(&reader, "zauberwort").await, Vec::<i64>::new());
        assert_eq!(seqs(&reader, "changed").await, [10]);
        assert_eq!(seqs(&reader, "lait").await, Vec::<i64>::new());
        drop((index, reader));
        assert_eq!(TextIndex::open(&path, "j", 15).unwrap().1, 15);
        assert_eq!(TextIndex::open(&path, "another", 15).unwrap().1, 0);
    }

    #[test]
    fn a_query_is_words_and_never_syntax() {
        assert_eq!(match_all("a \"b\" *").as_deref(), Some("\"a\"* \"\"\"b\"\"\"*"));
        assert_eq!(match_all(" ** \" "), None);
        assert_eq!(match_all(&"x ".repeat(17)), None);
    }
}
