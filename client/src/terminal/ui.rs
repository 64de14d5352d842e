//! All output of the program. Data goes to stdout; notes, warnings and errors go to stderr.

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

use super::error::{CommandError, Exit, Hints};
use super::text::{folded, visible, visible_json, visible_lines};
use crate::Error;

/// How the program speaks.
#[derive(Clone, Copy, Debug)]
pub struct Ui {
    json: bool,
    color: bool,
    hints: Hints,
}

impl Ui {
    /// Speaks JSON, one object a line, if `json`; in colour only to terminals, and unless `no_color` or `NO_COLOR` says otherwise.
    /// `hints` says what to do after errors that do not say so themselves.
    pub fn new(json: bool, no_color: bool, hints: Hints) -> Self {
        Self {
            json,
            color: !no_color && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            hints,
        }
    }

    /// Whether data is to be JSON.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// Whether stdout shows colours.
    pub fn has_color(self) -> bool {
        self.color && io::stdout().is_terminal() && AutoStream::choice(&io::stdout()) != ColorChoice::Never
    }

    /// Prints a line of data.
    pub fn line(self, line: &str) -> Result<(), CommandError> {
        let choice = if self.has_color() {
            ColorChoice::Always
        } else {
            ColorChoice::Never
        };
        let mut out = AutoStream::new(io::stdout().lock(), choice);
        written(writeln!(out, "{line}").and_then(|()| out.flush()))
    }

    /// How many columns the terminal has that data goes to; `None` if it is no terminal.
    pub fn columns(self) -> Option<usize> {
        #[cfg(unix)]
        if io::stdout().is_terminal()
            && let Ok(size) = rustix::termios::tcgetwinsize(io::stdout())
            && size.ws_col > 0
        {
            return Some(usize::from(size.ws_col));
        }
        None
    }

    /// Prints a line of data that is safe to show: as it is if it fits, or goes to no terminal; otherwise `head`, and `rest` indented.
    pub fn line_or_fold(self, head: &str, rest: &str) -> Result<(), CommandError> {
        let whole = format!("{head} {rest}");
        match self.columns() {
            Some(columns) if whole.width() > columns => {
                self.line(head.trim_end())?;
                folded(rest, columns).iter().try_for_each(|line| self.line(line))
            }
            _ => self.line(&whole),
        }
    }

    /// Prints an object of data.
    pub fn object(self, object: &Value) -> Result<(), CommandError> {
        let mut out = io::stdout().lock();
        written(writeln!(out, "{}", visible_json(&object.to_string())).and_then(|()| out.flush()))
    }

    /// Prints bytes of data as they are.
    pub fn bytes(self, bytes: &[u8]) -> Result<(), CommandError> {
        let mut out = io::stdout().lock();
        written(out.write_all(bytes).and_then(|()| out.flush()))
    }

    /// Prints a table; everything in it is made safe. Nothing if it has no rows. On a terminal for which it is too wide, each row has a
    /// line with its first cell, and the others below, each after the name of its column.
    pub fn table(self, header: &[&str], rows: Vec<Vec<String>>) -> Result<(), CommandError> {
        if rows.is_empty() {
            return Ok(());
        }
        let rows: Vec<Vec<String>> = rows
            .into_iter()
            .map(|row| row.iter().map(|cell| visible(cell)).collect())
            .collect();
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(header.to_vec());
        table.add_rows(&rows);
        let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        match self.columns() {
            // Two columns are a name and what it is: there is nothing to gain.
            Some(columns) if header.len() > 2 && lines.iter().any(|line| line.width() > columns) => {
                rows.iter().try_for_each(|row| self.record(header, row, columns))
            }
            _ => lines.iter().try_for_each(|line| self.line(line)),
        }
    }

    /// Prints a row of a table that is too wide.
    fn record(self, header: &[&str], row: &[String], columns: usize) -> Result<(), CommandError> {
        let cells: Vec<String> = header
            .iter()
            .zip(row)
            .filter(|(_, cell)| !cell.is_empty())
            .map(|(name, cell)| format!("{}: {cell}", name.to_lowercase()).trim_start_matches(": ").to_owned())
            .collect();
        let Some((first, rest)) = cells.split_first() else {
            return Ok(());
        };
        self.line(first)?;
        folded(&rest.join(", "), columns).iter().try_for_each(|line| self.line(line))
    }

    /// Says something that is not data.
    pub fn note(self, text: &str) {
        for line in visible_lines(text) {
            self.to_stderr(&line, Style::new());
        }
    }

    /// Says that a call has to wait, and why, if somebody sits there who could wonder.
    pub fn waits(self, why: &Error, for_at_most: Duration) {
        if io::stderr().is_terminal() && !self.json {
            self.note(&format!(
                "{why}; trying again for up to {} s, Ctrl-C gives up",
                for_at_most.as_secs().max(1)
            ));
        }
    }

    /// Warns.
    pub fn warn(self, text: &str) {
        for line in visible_lines(&format!("warning: {text}")) {
            self.to_stderr(&line, AnsiColor::Yellow.on_default());
        }
    }

    /// Says why the command failed and what to do; returns how the process ends.
    pub fn fail(self, error: &CommandError) -> Exit {
        let exit = error.exit();
        if exit == Exit::Done {
            return exit;
        }
        let hint = match error {
            CommandError::Hinted { hint, .. } => Some(hint.clone()),
            error => (self.hints)(error),
        };
        if self.json {
            let (code, reason) = error.names();
            let object = json!({"error": {
                "code": code, "reason": reason, "message": error.to_string(), "hint": hint,
            }});
            self.to_stderr(&visible_json(&object.to_string()), Style::new());
        } else {
            for line in visible_lines(&format!("error: {error}")) {
                self.to_stderr(&line, AnsiColor::Red.on_default());
            }
            if let Some(hint) = hint {
                self.to_stderr(&format!("hint: {}", visible(&hint)), Style::new());
            }
        }
        exit
    }

    fn to_stderr(self, line: &str, style: Style) {
        let color = self.color && io::stderr().is_terminal();
        let choice = if color {
            AutoStream::choice(&io::stderr())
        } else {
            ColorChoice::Never
        };
        let mut out = AutoStream::new(io::stderr().lock(), choice);
        // There is nowhere left to say that stderr is closed.
        drop(writeln!(out, "{style}{line}{style:#}"));
    }
}

/// A closed pipe is not a failure; a full disk is.
pub fn written(result: io::Result<()>) -> Result<(), CommandError> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => CommandError::ClosedPipe,
        _ => CommandError::Failed(format!("the output cannot be written: {error}")),
    })
}
