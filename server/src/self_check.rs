//! The nightly self-check: the server verifies its own journal while it runs, one portion after the other, on a thread that steps back for all
//! others. What it finds is told in the log, by a metric and in the status, each hour, until the server is started again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::time::MissedTickBehavior;

use crate::check::CheckError;
use crate::check::running::Walk;
use crate::domain::clock::{Micros, now};
use crate::grpc::App;
use crate::telemetry;

/// How often the clock is looked at.
const LOOK: Duration = Duration::from_secs(60);
/// How often a finding is told again.
const AGAIN: Duration = Duration::from_secs(3600);

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// When it began.
    pub begun: Micros,
    /// How long it took.
    pub took: Duration,
    /// Rows that were verified.
    pub rows: i64,
    /// What is wrong; none: nothing.
    pub finding: Option<String>,
}

/// The newest outcome.
#[derive(Debug, Default)]
pub struct SelfCheck(Mutex<Option<Outcome>>);

impl SelfCheck {
    /// What came of the newest check since the start; a finding stays until the next start.
    pub fn last(&self) -> Option<Outcome> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, outcome: Outcome) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What was found once is not in order because it was not found again.
        if last.as_ref().is_none_or(|last| last.finding.is_none()) {
            *last = Some(outcome);
        }
    }
}

/// The local day, if it is that hour of it.
fn day_at(hour: i64, now: Micros) -> Option<Date> {
    let here = Timestamp::from_microsecond(now).ok()?.to_zoned(TimeZone::system());
    (i64::from(here.hour()) == hour).then(|| here.date())
}

/// Checks once a day, at the hour that the configuration says, as long as the server runs.
pub async fn run(app: Arc<App>) {
    let hour = app.config.self_check_hour;
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut done = None;
    let mut told = Instant::now();
    loop {
        looks.tick().await;
        if let Some(finding) = app.self_check.last().and_then(|last| last.finding)
            && told.elapsed() >= AGAIN
        {
            tell(&finding);
            told = Instant::now();
        }
        let today = day_at(hour, now());
        if today.is_some() && today != done {
            done = today;
            let outcome = check(&app).await;
            telemetry::self_check(outcome.finding.is_none(), outcome.rows);
            match &outcome.finding {
                None => tracing::info!(
                    rows = outcome.rows,
                    took_ms = u64::try_from(outcome.took.as_millis()).unwrap_or(u64::MAX),
                    "The self-check found the journal in order"
                ),
                Some(finding) => {
                    tell(finding);
                    told = Instant::now();
                }
            }
            app.self_check.set(outcome);
        }
    }
}

fn tell(finding: &str) {
    tracing::error!(
        finding,
        "THE JOURNAL IS NOT IN ORDER: stop the server, keep a copy of its data as it is, and run `greffe-server check`"
    );
}

/// Checks all of it.
async fn check(app: &App) -> Outcome {
    let (begun, start) = (now(), Instant::now());
    let (rows, failed) = match walk(app).await {
        Ok(rows) => (rows, None),
        Err((rows, error)) => (rows, Some(error.to_string())),
    };
    Outcome {
        begun,
        took: start.elapsed(),
        rows,
        finding: failed,
    }
}

async fn walk(app: &App) -> Result<i64, (i64, CheckError)> {
    let lost = || CheckError::Temporary(std::io::Error::other("the check broke off"));
    let data_dir = app.config.data_dir.clone();
    let begun = app.background.run(move || Walk::begin(&data_dir)).await;
    let mut walk = begun.unwrap_or_else(|_| Err(lost())).map_err(|error| (0, error))?;
    loop {
        let start = Instant::now();
        let portion = app.background.run(move || {
            let outcome = walk.portion();
            (walk, outcome)
        });
        let (walked, outcome) = portion.await.map_err(|_| (0, lost()))?;
        walk = walked;
        match outcome {
            Ok(false) => {}
            Ok(true) => return Ok(walk.rows()),
            Err(error) => return Err((walk.rows(), error)),
        }
        // Half of the time of one core, and of what the disk gives to one reader.
        tokio::time::sleep(start.elapsed()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_stays() {
        let outcome = |finding: Option<&str>| Outcome {
            begun: 0,
            took: Duration::ZERO,
            rows: 1,
            finding: finding.map(Into::into),
        };
        let check = SelfCheck::default();
        assert_eq!(check.last(), None);
        for (next, want) in [
            (None, None),
            (Some("a"), Some("a")),
            (None, Some("a")),
            (Some("b"), Some("a")),
        ] {
            check.set(outcome(next));
            assert_eq!(check.last(), Some(outcome(want)));
        }
    }

    #[test]
    fn it_is_due_in_one_hour_of_the_day_only() {
        let days: Vec<bool> = (-1..24).map(|hour| day_at(hour, now()).is_some()).collect();
        assert_eq!(days.iter().filter(|due| **due).count(), 1);
        assert!(!days[0]);
    }
}
