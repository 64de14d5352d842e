//! How much of an upload is synced at a time.

use std::time::{Duration, Instant};

/// While others commit: little, because everybody who chats waits for the same disk meanwhile.
const SMALL: i64 = 1024 * 1024;
/// While nobody does: much, because each sync costs something beside the bytes.
const LARGE: i64 = 16 * 1024 * 1024;
/// How long others count after they committed.
const RECENT: Duration = Duration::from_secs(1);

/// Follows whether others commit to the journal.
#[derive(Debug)]
pub(super) struct Pace {
    rows: i64,
    grew: Option<Instant>,
}

impl Pace {
    /// Begins when the journal has so many rows.
    pub(super) fn new(rows: i64) -> Self {
        Self { rows, grew: None }
    }

    /// How many bytes to sync at a time, now that the journal has so many rows. Progress of uploads is no row.
    pub(super) fn step(&mut self, rows: i64, now: Instant) -> i64 {
        if rows != self.rows {
            self.rows = rows;
            self.grew = Some(now);
        }
        let busy = self.grew.is_some_and(|grew| now.duration_since(grew) < RECENT);
        if busy { SMALL } else { LARGE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncs_are_small_while_the_journal_grows_and_for_a_second_after() {
        let start = Instant::now();
        let mut pace = Pace::new(7);
        assert_eq!(pace.step(7, start), LARGE);
        assert_eq!(pace.step(8, start + RECENT), SMALL);
        assert_eq!(pace.step(8, start + RECENT + RECENT / 2), SMALL);
        assert_eq!(pace.step(8, start + RECENT * 2), LARGE);
    }
}
