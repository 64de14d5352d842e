//! Pauses between tries: each about twice the one before, with chance in it, so that many clients do not come back at once.

use std::time::Duration;

/// The first pause, before chance.
const FIRST: Duration = Duration::from_millis(250);
/// The longest pause, unless the server asks for a longer one.
const LONGEST: Duration = Duration::from_secs(30);
/// The longest pause that a server may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(24 * 3600);
/// What of the pause that the server asked for is added to it at most, by chance: clients that were sent away together come back apart.
const SPREAD: u32 = 4;

/// A row of growing pauses.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    taken: u32,
}

impl Pauses {
    /// Says how long to wait now: between half and all of the doubled pause, and longer than the server asked for.
    pub(crate) fn next(&mut self, at_least: Option<Duration>) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.taken.min(10)).min(LONGEST);
        self.taken = self.taken.saturating_add(1);
        let pause = whole / 2 + (whole / 2).mul_f64(chance());
        let asked = at_least.unwrap_or_default().min(LONGEST_ASKED);
        pause.max(asked + (asked / SPREAD).min(LONGEST).mul_f64(chance()))
    }

    /// Begins again with the shortest pause.
    pub(crate) fn reset(&mut self) {
        self.taken = 0;
    }
}

/// A random number from 0 to 1.
fn chance() -> f64 {
    // Without the system's randomness the pauses are merely not spread.
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_begin_again() {
        let mut pauses = Pauses::default();
        let first = pauses.next(None);
        assert!(first >= FIRST / 2 && first <= FIRST);
        let last = (0..20).map(|_| pauses.next(None)).last().unwrap_or_default();
        assert!(last >= LONGEST / 2 && last <= LONGEST);
        pauses.reset();
        assert!(pauses.next(None) <= FIRST);
    }

    #[test]
    fn the_servers_wish_is_a_lower_bound() {
        for asked in [5, 60, 3600].map(Duration::from_secs) {
            let pause = Pauses::default().next(Some(asked));
            assert!(pause >= asked && pause <= asked + asked / SPREAD, "{pause:?}");
        }
    }

    #[test]
    fn clients_that_are_sent_away_together_come_back_apart() {
        let pauses: std::collections::HashSet<_> = (0..20)
            .map(|_| Pauses::default().next(Some(Duration::from_secs(60))).as_millis())
            .collect();
        assert!(pauses.len() > 10, "{pauses:?}");
    }

    #[test]
    fn an_absurd_wish_is_cut() {
        assert!(Pauses::default().next(Some(Duration::MAX)) <= LONGEST_ASKED + LONGEST);
    }
}
