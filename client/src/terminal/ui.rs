//! All output of the program. Data goes to stdout; notes, warnings and errors go to stderr.

use std::io::{self, IsTerminal as _, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};

use super::error::{CommandError, Exit, Hints};
use super::text::{visible, visible_json, visible_lines};

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

    /// Prints a table; everything in it is made safe. Nothing if it has no rows.
    pub fn table(self, header: &[&str], rows: Vec<Vec<String>>) -> Result<(), CommandError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(header.to_vec());
        for row in rows {
            table.add_row(row.iter().map(|cell| visible(cell)));
        }
        for line in table.lines() {
            self.line(line.trim_end())?;
        }
        Ok(())
    }

    /// Says something that is not data.
    pub fn note(self, text: &str) {
        for line in visible_lines(text) {
            self.to_stderr(&line, Style::new());
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
