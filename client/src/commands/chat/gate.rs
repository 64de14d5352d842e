//! When lines may be shown.
//!
//! From Enter until the next prompt is drawn nothing may be shown: the typed line is taken off the screen then, and what rustyline took in
//! before must not be overtaken. What comes meanwhile is held back.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a prompt may take to be drawn. Terminals without line editing never say that it is.
const DRAWING: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// From Enter on.
    Closed,
    /// The next line is about to be read; its prompt is not drawn yet.
    Opening,
}

#[derive(Debug, Default)]
struct Inner {
    state: State,
    /// Whether a line is being shown.
    showing: bool,
    /// Whether one was being shown when the gate closed: then it is not known what stands above the cursor.
    was_showing: bool,
    held_back: String,
}

/// Says when lines may be shown, and keeps those that may not.
#[derive(Debug, Default)]
pub(super) struct Gate {
    inner: Mutex<Inner>,
    opened: Condvar,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enter was pressed.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.state = State::Closed;
        inner.was_showing = inner.showing;
    }

    /// Whether the line above the cursor is surely the one that Enter ended.
    pub(super) fn is_clean(&self) -> bool {
        let inner = self.lock();
        inner.state == State::Closed && !inner.was_showing
    }

    /// The next line is about to be read.
    pub(super) fn begin_opening(&self) {
        self.lock().state = State::Opening;
    }

    /// The prompt is drawn.
    pub(super) fn open(&self) {
        let mut inner = self.lock();
        if inner.state == State::Opening {
            inner.state = State::Open;
            self.opened.notify_all();
        }
    }

    /// Takes lines to show; returns all that may be shown now, if any. [`Gate::shown`] follows.
    pub(super) fn pass(&self, lines: &str) -> Option<String> {
        let inner = self.lock();
        let waiting = self
            .opened
            .wait_timeout_while(inner, DRAWING, |inner| inner.state == State::Opening);
        let (mut inner, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        inner.held_back.push_str(lines);
        if inner.state == State::Closed || inner.held_back.is_empty() {
            return None;
        }
        inner.showing = true;
        Some(std::mem::take(&mut inner.held_back))
    }

    /// What [`Gate::pass`] returned is shown.
    pub(super) fn shown(&self) {
        self.lock().showing = false;
    }

    /// Takes what is held back, at the end.
    pub(super) fn take_rest(&self) -> String {
        std::mem::take(&mut self.lock().held_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_between_enter_and_the_prompt_is_held_back_in_order() {
        let gate = Gate::default();
        assert_eq!(gate.pass("one\n").as_deref(), Some("one\n"));
        gate.shown();
        gate.close();
        assert!(gate.is_clean());
        assert_eq!(gate.pass("two\n"), None);
        assert_eq!(gate.pass("three\n"), None);
        gate.begin_opening();
        gate.open();
        assert_eq!(gate.pass("").as_deref(), Some("two\nthree\n"));
        assert_eq!(gate.pass(""), None);
    }

    #[test]
    fn a_line_that_was_being_shown_makes_the_screen_uncertain() {
        let gate = Gate::default();
        assert!(gate.pass("one\n").is_some());
        gate.close();
        assert!(!gate.is_clean());
    }

    #[test]
    fn a_terminal_that_never_draws_a_prompt_shows_lines_all_the_same() {
        let gate = Gate::default();
        gate.close();
        gate.begin_opening();
        assert_eq!(gate.pass("one\n").as_deref(), Some("one\n"));
        gate.close();
        assert_eq!(gate.pass("two\n"), None);
        assert_eq!(gate.take_rest(), "two\n");
    }
}
