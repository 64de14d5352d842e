//! How far a transfer is: a line on a terminal that is drawn over and over, and amounts in words.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use unicode_width::UnicodeWidthStr as _;

use super::text::excerpt;

/// How often the line is drawn at most.
const REDRAWN: Duration = Duration::from_millis(100);
/// Characters of the bar.
const BAR: u64 = 24;
/// Characters of the name that are shown.
const NAME: usize = 32;
/// How long it takes until a rate means something.
const FIRST_RATE: Duration = Duration::from_millis(500);

/// A transfer's line on stderr; nothing if that is no terminal. It disappears when dropped.
#[derive(Debug)]
pub struct ProgressLine {
    name: String,
    state: Option<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    meter: Meter,
    drawn: Option<Instant>,
}

impl ProgressLine {
    /// For a transfer of `name`, which may be anybody's choice. `shown` says whether a line is wanted.
    pub fn new(name: &str, shown: bool) -> Self {
        let state = State {
            meter: Meter::new(Instant::now()),
            drawn: None,
        };
        Self {
            name: excerpt(name, NAME),
            state: (shown && io::stderr().is_terminal()).then(|| Mutex::new(state)),
        }
    }

    /// Shows how far it is, if it is time to.
    pub fn show(&self, done: u64, total: u64) {
        let Some(mut state) = self.state() else { return };
        let now = Instant::now();
        let words = state.meter.words(done, total, now);
        self.draw(&mut state, now, Some(&bar(done, total)), &words);
    }

    /// Shows how far a step is that is not counted in bytes; `total` is 0 if that is not known. `step` is safe to show.
    pub fn step(&self, step: &str, done: u64, total: u64) {
        let Some(mut state) = self.state() else { return };
        if total == 0 {
            self.draw(&mut state, Instant::now(), None, step);
        } else {
            let words = format!("{:>3} %  {step}", percent(done, total));
            self.draw(&mut state, Instant::now(), Some(&bar(done, total)), &words);
        }
    }

    fn state(&self) -> Option<MutexGuard<'_, State>> {
        Some(self.state.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn draw(&self, state: &mut State, now: Instant, bar: Option<&str>, words: &str) {
        if state.drawn.is_some_and(|drawn| now - drawn < REDRAWN) {
            return;
        }
        state.drawn = Some(now);
        // A line that is wider than the terminal would not be drawn over.
        let bar = bar.map(|bar| format!("{bar} ")).unwrap_or_default();
        let lines = [
            format!("{}  {bar}{words}", self.name),
            format!("{}  {words}", self.name),
            words.to_owned(),
        ];
        let width = width();
        let line = lines.iter().find(|line| line.width() < width).unwrap_or(&lines[2]);
        let mut out = io::stderr().lock();
        // There is nowhere left to say that stderr is closed.
        drop(write!(out, "\r\x1b[K{line}").and_then(|()| out.flush()));
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        let Some(state) = &self.state else { return };
        if state.lock().unwrap_or_else(PoisonError::into_inner).drawn.is_some() {
            let mut out = io::stderr().lock();
            drop(write!(out, "\r\x1b[K").and_then(|()| out.flush()));
        }
    }
}

/// How fast a transfer is.
#[derive(Debug)]
pub struct Meter {
    start: Instant,
    /// What was there already when it began.
    first: Option<u64>,
}

impl Meter {
    /// Begins now.
    pub fn new(now: Instant) -> Self {
        Self {
            start: now,
            first: None,
        }
    }

    /// How far it is, how fast, and how long it will take, in words.
    pub fn words(&mut self, done: u64, total: u64, now: Instant) -> String {
        let first = *self.first.get_or_insert(done);
        let mut words = format!("{:>3} %  {} of {}", percent(done, total), amount(done), amount(total));
        let elapsed = now.saturating_duration_since(self.start);
        let came = done.saturating_sub(first);
        if elapsed >= FIRST_RATE && came > 0 {
            let millis = elapsed.as_millis().max(1);
            let rate = u64::try_from(u128::from(came) * 1000 / millis).unwrap_or(u64::MAX);
            let left = u128::from(total.saturating_sub(done)) * millis / u128::from(came) / 1000;
            let left = u64::try_from(left).unwrap_or(u64::MAX);
            // Writing to a string cannot fail.
            let _ = write!(words, "  {}/s  {} left", amount(rate), span(left));
        }
        words
    }

    /// How much came, and how fast, in words; of a transfer of which nobody knows how much there is.
    pub fn rate(&self, came: u64, now: Instant) -> String {
        let mut words = amount(came);
        let elapsed = now.saturating_duration_since(self.start);
        if elapsed >= FIRST_RATE {
            let rate = u128::from(came) * 1000 / elapsed.as_millis().max(1);
            // Writing to a string cannot fail.
            let _ = write!(words, "  {}/s", amount(u64::try_from(rate).unwrap_or(u64::MAX)));
        }
        words
    }
}

/// How much of a whole it is, from 0 to 100.
pub fn percent(done: u64, total: u64) -> u64 {
    if total == 0 {
        return 100;
    }
    u64::try_from(u128::from(done.min(total)) * 100 / u128::from(total)).unwrap_or(100)
}

/// An amount of bytes for people, such as `1.4 MiB`.
pub fn amount(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    // Tenths, rounded, of the unit that leaves less than 1024 of them.
    let tenths = |unit: usize| (u128::from(bytes) * 10 + (512 << (10 * unit))) >> (10 * (unit + 1));
    while tenths(unit) >= 10_240 && unit + 1 < UNITS.len() {
        unit += 1;
    }
    format!("{}.{} {}", tenths(unit) / 10, tenths(unit) % 10, UNITS[unit])
}

fn span(seconds: u64) -> String {
    match seconds {
        0..3600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        _ => format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
    }
}

fn bar(done: u64, total: u64) -> String {
    let full = usize::try_from(percent(done, total) * BAR / 100).unwrap_or_default();
    let empty = usize::try_from(BAR).unwrap_or_default() - full;
    format!("[{}{}]", "=".repeat(full), " ".repeat(empty))
}

/// Columns of the terminal; 80 if it does not say.
fn width() -> usize {
    match columns() {
        0 => 80,
        columns => columns,
    }
}

#[cfg(unix)]
fn columns() -> usize {
    rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| usize::from(size.ws_col))
}

#[cfg(not(unix))]
fn columns() -> usize {
    0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_have_the_unit_that_reads_best() {
        for (bytes, words) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (100 * 1024 * 1024, "100.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(amount(bytes), words);
        }
    }

    #[test]
    fn rate_and_time_left_count_what_came_now() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        assert_eq!(meter.words(1024, 4096, start), " 25 %  1.0 KiB of 4.0 KiB");
        let words = meter.words(2048, 4096, start + Duration::from_secs(1));
        assert_eq!(words, " 50 %  2.0 KiB of 4.0 KiB  1.0 KiB/s  0:02 left");
        assert_eq!((span(59), span(3_661)), ("0:59".to_owned(), "1:01:01".to_owned()));
        assert_eq!(percent(0, 0), 100);
    }

    proptest! {
        #[test]
        fn no_numbers_break_it(done in any::<u64>(), total in any::<u64>(), ms in any::<u32>()) {
            let start = Instant::now();
            let mut meter = Meter::new(start);
            meter.words(0, total, start);
            let words = meter.words(done, total, start + Duration::from_millis(ms.into()));
            prop_assert!(words.contains('%'));
            prop_assert_eq!(bar(done, total).len(), 26);
        }
    }
}
