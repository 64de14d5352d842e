//! Pages of rooms for streams that lag alike: after a restart, or when many overflow at once, everyone reads the same events. They are read and
//! encoded once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::OnceCell;

use crate::domain::ids::{IdMap, RoomId};
use crate::store::StoreError;

/// Bytes of events that are kept.
const BYTES: usize = 8 * 1024 * 1024;
/// Pages that are kept.
const PAGES: usize = 4096;

/// Events of a room that follow each other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// The seq of the last one.
    pub(super) last: i64,
    /// The message with them, as it is sent to somebody who sees the room from its begin on. Empty if there are none.
    pub(super) message: Bytes,
    /// Whoever sees the room from this seq on, or from an earlier one, gets the same message: a text that replaces an older message's is
    /// withheld from others.
    pub(super) same_from: i64,
}

type Cell = Arc<OnceCell<Arc<Page>>>;

#[derive(Debug)]
struct Place {
    cell: Cell,
    /// Bytes of the page, once it was read.
    bytes: usize,
}

#[derive(Debug, Default)]
struct Kept {
    /// By the seq of their first event.
    rooms: IdMap<RoomId, IdMap<i64, Place>>,
    /// In the order in which they were asked for first. Some may be forgotten.
    order: VecDeque<(RoomId, i64)>,
    bytes: usize,
}

/// Pages that were read lately, or are being read.
#[derive(Debug, Default)]
pub(super) struct Pages(Mutex<Kept>);

impl Pages {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The page of a room that begins with the event `first`: one that somebody read, or what `read` reads.
    ///
    /// # Errors
    /// Those of `read`. Then whoever comes next reads again.
    pub(super) async fn page<R>(
        &self,
        room: RoomId,
        first: i64,
        read: impl FnOnce() -> R,
    ) -> Result<Arc<Page>, StoreError>
    where
        R: Future<Output = Result<Page, StoreError>>,
    {
        let cell = self.lock().cell(room, first);
        let page = cell.get_or_try_init(|| async { read().await.map(Arc::new) }).await?;
        self.lock().count(room, first, &cell, page.message.len());
        Ok(Arc::clone(page))
    }

    /// Forgets the pages of a room. Who asks from now on gets one that is read from now on.
    pub(super) fn forget(&self, room: RoomId) {
        self.lock().forget(room);
    }
}

impl Kept {
    fn cell(&mut self, room: RoomId, first: i64) -> Cell {
        if let Some(place) = self.rooms.get(&room).and_then(|pages| pages.get(&first)) {
            return Arc::clone(&place.cell);
        }
        let cell = Cell::default();
        let place = Place {
            cell: Arc::clone(&cell),
            bytes: 0,
        };
        self.rooms.entry(room).or_default().insert(first, place);
        self.order.push_back((room, first));
        self.shrink();
        cell
    }

    /// Counts what a page takes, the first time that it is told.
    fn count(&mut self, room: RoomId, first: i64, cell: &Cell, bytes: usize) {
        let place = self.rooms.get_mut(&room).and_then(|pages| pages.get_mut(&first));
        if let Some(place) = place.filter(|place| place.bytes == 0 && Arc::ptr_eq(&place.cell, cell)) {
            place.bytes = bytes;
            self.bytes += bytes;
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        while self.bytes > BYTES || self.order.len() > PAGES {
            let Some((room, first)) = self.order.pop_front() else {
                return;
            };
            let Some(pages) = self.rooms.get_mut(&room) else {
                continue;
            };
            self.bytes -= pages.remove(&first).map_or(0, |place| place.bytes);
            if pages.is_empty() {
                self.rooms.remove(&room);
            }
        }
    }

    fn forget(&mut self, room: RoomId) {
        let pages = self.rooms.remove(&room).unwrap_or_default();
        self.bytes -= pages.values().map(|place| place.bytes).sum::<usize>();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn page(last: i64, bytes: usize) -> Page {
        Page {
            last,
            message: vec![7; bytes].into(),
            same_from: i64::MAX,
        }
    }

    #[tokio::test]
    async fn streams_that_lag_alike_read_once() {
        let (pages, room) = (Pages::default(), RoomId::random());
        let reads = AtomicU64::new(0);
        let read = || async {
            reads.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(page(9, 10))
        };
        let together = futures_util::future::join_all((0..50).map(|_| pages.page(room, 1, read))).await;
        assert!(together.iter().all(|page| page.as_ref().unwrap().last == 9));
        assert_eq!(reads.load(Ordering::Relaxed), 1);
        pages.page(room, 10, read).await.unwrap();
        pages.page(RoomId::random(), 1, read).await.unwrap();
        assert_eq!(reads.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn what_was_asked_for_before_a_deletion_is_not_given_to_who_asks_after_it() {
        let (pages, room) = (Pages::default(), RoomId::random());
        let before = pages.page(room, 1, || async {
            tokio::task::yield_now().await;
            Ok(page(1, 10))
        });
        let mut before = std::pin::pin!(before);
        assert!(futures_util::poll!(&mut before).is_pending());
        pages.forget(room);
        let after = pages.page(room, 1, || async { Ok(page(2, 10)) }).await.unwrap();
        assert_eq!(before.await.unwrap().last, 1);
        assert_eq!(after.last, 2);
        assert_eq!(pages.page(room, 1, || async { Ok(page(3, 10)) }).await.unwrap().last, 2);
        assert_eq!(pages.lock().bytes, 10);
    }

    #[tokio::test]
    async fn a_page_that_could_not_be_read_is_read_again() {
        let (pages, room) = (Pages::default(), RoomId::random());
        let failed = pages.page(room, 1, || async { Err(StoreError::Closed) }).await;
        assert!(failed.is_err());
        assert_eq!(pages.page(room, 1, || async { Ok(page(3, 10)) }).await.unwrap().last, 3);
        // One that who asked for it gave up.
        {
            let given_up = pages.page(room, 4, std::future::pending);
            let mut given_up = std::pin::pin!(given_up);
            assert!(futures_util::poll!(&mut given_up).is_pending());
        }
        assert_eq!(pages.page(room, 4, || async { Ok(page(5, 10)) }).await.unwrap().last, 5);
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded_in_bytes_and_pages() {
        let (pages, room) = (Pages::default(), RoomId::random());
        for first in 0..40 {
            pages.page(room, first, || async { Ok(page(first, BYTES / 8)) }).await.unwrap();
        }
        assert!(pages.lock().bytes <= BYTES);
        assert_eq!(pages.lock().rooms[&room].len(), 8);
        for first in (0..2 * PAGES).map(|first| i64::try_from(first).unwrap()) {
            let _ = pages.page(room, first, || async { Err(StoreError::Closed) }).await;
            if first % 3 == 0 {
                pages.forget(room);
            }
        }
        let kept = pages.lock();
        assert!(kept.order.len() <= PAGES);
        assert!(kept.rooms.values().map(IdMap::len).sum::<usize>() <= PAGES);
        assert!(kept.bytes <= BYTES);
    }
}
