//! The time. The only place that reads the machine's clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Microseconds since 1970-01-01 UTC.
pub type Micros = i64;

/// One second.
pub const SECOND: Micros = 1_000_000;

/// The machine's time now.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
pub fn now() -> Micros {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros::try_from(since_epoch.as_micros()).unwrap_or(Micros::MAX)
}

/// A difference between the clock and the time that should have passed, beyond which the clock was stepped: time services that only slew
/// stay far below.
const STEP: Micros = 2 * SECOND;

/// Tells when the machine's clock was stepped, by comparing it with the monotonic one.
#[derive(Debug)]
pub struct StepWatch {
    wall: Micros,
    at: Instant,
}

/// The clock was stepped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What the clock would have said.
    pub expected: Micros,
    /// What it said.
    pub observed: Micros,
}

impl StepWatch {
    /// Starts to watch. `newest` is the time of the newest row of the journal: a clock behind it was stepped back while nobody looked.
    pub fn start(newest: Micros) -> (Self, Option<Step>) {
        let wall = now();
        let step = (newest > wall.saturating_add(STEP)).then_some(Step {
            expected: newest,
            observed: wall,
        });
        (
            Self {
                wall,
                at: Instant::now(),
            },
            step,
        )
    }

    /// Reads the clock, and tells if it was stepped since the last reading.
    pub fn read(&mut self) -> (Micros, Option<Step>) {
        let (wall, at) = (now(), Instant::now());
        let passed = Micros::try_from(at.duration_since(self.at).as_micros()).unwrap_or(Micros::MAX);
        let step = step(self.wall.saturating_add(passed), wall);
        (self.wall, self.at) = (wall, at);
        (wall, step)
    }
}

fn step(expected: Micros, observed: Micros) -> Option<Step> {
    (expected.abs_diff(observed) > STEP.unsigned_abs()).then_some(Step { expected, observed })
}

/// A time as events carry it.
pub fn timestamp(time: Micros) -> prost_types::Timestamp {
    let nanos = i32::try_from(time.rem_euclid(1_000_000) * 1000).expect("below 10⁹");
    prost_types::Timestamp {
        seconds: time.div_euclid(1_000_000),
        nanos,
    }
}

/// The time that an event carries.
pub fn from_timestamp(time: &prost_types::Timestamp) -> Micros {
    time.seconds
        .saturating_mul(1_000_000)
        .saturating_add(i64::from(time.nanos) / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slewed_clock_is_not_stepped_and_a_jump_is() {
        assert_eq!(step(10 * SECOND, 11 * SECOND), None);
        let back = Step {
            expected: 10_000 * SECOND,
            observed: 6_400 * SECOND,
        };
        assert_eq!(step(back.expected, back.observed), Some(back));
    }

    #[test]
    fn a_clock_behind_the_journal_is_told_at_start() {
        let ahead = now() + 3_600 * SECOND;
        assert!(StepWatch::start(ahead).1.is_some());
        assert!(StepWatch::start(0).1.is_none());
    }
}
