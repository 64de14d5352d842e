//! How much happens: what an operator sees of it. (Metrics are for programs, and in `telemetry.rs`.)

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::clock::{Micros, now};
use crate::telemetry;

/// How far rates look back.
const WINDOW: Duration = Duration::from_secs(60);

/// Totals since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Rows of the journal.
    pub rows: u64,
    /// Events handed to live streams.
    pub deliveries: u64,
    /// Logins accepted.
    pub logins: u64,
    /// Logins refused.
    pub refusals: u64,
}

/// How much happens a second, over the last minute, or since the start if that is shorter.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of the totals")]
pub struct Rates {
    pub rows: f64,
    pub deliveries: f64,
    pub logins: f64,
    pub refusals: f64,
}

/// Counts what happens.
#[derive(Debug)]
pub struct Activity {
    /// When the server started.
    pub started: Micros,
    logins: AtomicU64,
    refusals: AtomicU64,
    samples: Mutex<VecDeque<(Instant, Totals)>>,
}

impl Activity {
    /// Starts to count.
    pub fn start() -> Self {
        Self {
            started: now(),
            logins: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
            samples: Mutex::default(),
        }
    }

    /// Counts a login.
    pub fn login(&self, accepted: bool) {
        let counter = if accepted { &self.logins } else { &self.refusals };
        counter.fetch_add(1, Ordering::Relaxed);
        telemetry::login(accepted);
    }

    /// Takes a sample; to be called about once a second.
    pub fn sample(&self, rows: u64, deliveries: u64) {
        self.sample_at(Instant::now(), rows, deliveries);
    }

    fn sample_at(&self, at: Instant, rows: u64, deliveries: u64) {
        let totals = Totals {
            rows,
            deliveries,
            logins: self.logins.load(Ordering::Relaxed),
            refusals: self.refusals.load(Ordering::Relaxed),
        };
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        while samples.front().is_some_and(|(first, _)| at.duration_since(*first) > WINDOW) {
            samples.pop_front();
        }
        samples.push_back((at, totals));
    }

    /// The rates between the oldest and the newest sample.
    pub fn rates(&self) -> Rates {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some((first, from)), Some((last, to))) = (samples.front(), samples.back()) else {
            return Rates::default();
        };
        let seconds = last.duration_since(*first).as_secs_f64();
        if seconds <= 0.0 {
            return Rates::default();
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate is shown to a few digits")]
        let rate = |from: u64, to: u64| to.saturating_sub(from) as f64 / seconds;
        Rates {
            rows: rate(from.rows, to.rows),
            deliveries: rate(from.deliveries, to.deliveries),
            logins: rate(from.logins, to.logins),
            refusals: rate(from.refusals, to.refusals),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_last_minute() {
        let (activity, start) = (Activity::start(), Instant::now());
        assert_eq!(activity.rates(), Rates::default());
        // A burst long ago, then ten rows a second.
        activity.sample_at(start, 0, 0);
        for second in 100..=160_u64 {
            activity.sample_at(start + Duration::from_secs(second), 10_000 + second * 10, second);
        }
        let rates = activity.rates();
        assert!((rates.rows - 10.0).abs() < 0.001, "{rates:?}");
        assert!((rates.deliveries - 1.0).abs() < 0.001, "{rates:?}");
    }
}
