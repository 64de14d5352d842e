//! Where the chat is typed and shown: a terminal with a prompt, or plain lines through pipes.

use greffe::Error;
use greffe::api::Alert;
use serde_json::Value;
use tokio::sync::mpsc;

use super::look::Look;
use super::terminal::{Keyed, Terminal};
use crate::commands::render::alert_object;
use crate::commands::stdin::Lines;
use crate::error::{CommandError, server_hint};
use crate::text::{visible, visible_lines};
use crate::ui::Ui;

/// Where the chat is typed and shown.
pub(crate) struct Console {
    ui: Ui,
    /// How lines look.
    pub(crate) look: Look,
    means: Means,
}

enum Means {
    Terminal(Box<Terminal>),
    Pipe(mpsc::Receiver<Keyed>),
}

impl Console {
    /// On a terminal.
    pub(crate) fn terminal(ui: Ui, terminal: Terminal) -> Self {
        Self {
            ui,
            look: Look::new(true, ui.has_color()),
            means: Means::Terminal(Box::new(terminal)),
        }
    }

    /// Through pipes.
    pub(crate) fn pipe(ui: Ui) -> Self {
        let (keyed_in, keyed) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut lines = Lines::new();
            loop {
                let (keyed, last) = match lines.next().await {
                    Ok(Some(line)) => (Keyed::Line(line), false),
                    Ok(None) => (Keyed::End, true),
                    Err(error) => (Keyed::Failed(error), true),
                };
                if keyed_in.send(keyed).await.is_err() || last {
                    return;
                }
            }
        });
        Self {
            ui,
            look: Look::new(false, false),
            means: Means::Pipe(keyed),
        }
    }

    /// The terminal, if it is one.
    pub(crate) fn as_terminal(&self) -> Option<&Terminal> {
        match &self.means {
            Means::Terminal(terminal) => Some(terminal),
            Means::Pipe(_) => None,
        }
    }

    /// Whether someone sits at a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.as_terminal().is_some()
    }

    /// Whether events are to be shown as objects.
    pub(crate) fn is_json(&self) -> bool {
        self.ui.is_json()
    }

    /// Waits for a line. Cancel safe.
    pub(crate) async fn keyed(&mut self) -> Keyed {
        match &mut self.means {
            Means::Terminal(terminal) => terminal.keyed().await,
            Means::Pipe(keyed) => keyed.recv().await.unwrap_or(Keyed::End),
        }
    }

    /// Is ready for the next line, in a room.
    pub(crate) fn prompt(&self, room: &str) {
        if let Means::Terminal(terminal) = &self.means {
            terminal.prompt(room);
        }
    }

    /// Shows lines of the conversation, or what was asked for. They are safe to show.
    pub(crate) async fn show(&self, lines: impl IntoIterator<Item = String>) -> Result<(), CommandError> {
        for line in lines {
            match &self.means {
                Means::Terminal(terminal) => terminal.show(line).await,
                Means::Pipe(_) if self.ui.is_json() => self.ui.note(&line),
                Means::Pipe(_) => self.ui.line(&line)?,
            }
        }
        Ok(())
    }

    /// Shows an event as an object.
    pub(crate) fn object(&self, object: &Value) -> Result<(), CommandError> {
        self.ui.object(object)
    }

    /// Says something about the chat itself.
    pub(crate) async fn note(&self, text: &str) {
        match &self.means {
            Means::Terminal(terminal) => {
                for line in visible_lines(text) {
                    terminal.show(self.look.dim(&line)).await;
                }
            }
            Means::Pipe(_) => self.ui.note(text),
        }
    }

    /// Says something that must be seen.
    pub(crate) async fn alarm(&self, text: &str) {
        match &self.means {
            Means::Terminal(terminal) => terminal.show(self.look.alarm(&visible(text))).await,
            Means::Pipe(_) => self.ui.note(text),
        }
    }

    /// Tells an alert from the operator.
    pub(crate) async fn alert(&self, alert: &Alert) -> Result<(), CommandError> {
        if self.is_json() {
            return self.object(&alert_object(alert));
        }
        self.show(self.look.alert(alert.time.as_ref(), &alert.text)).await
    }

    /// Says why something did not work, and what to do.
    pub(crate) async fn refused(&self, what: &str, error: &Error) {
        self.alarm(&format!("{what}: {}", error.message)).await;
        if let Some(hint) = server_hint(error) {
            self.note(&format!("hint: {hint}")).await;
        }
    }

    /// Shows what is left and gives the terminal back.
    pub(crate) async fn close(self) {
        if let Means::Terminal(terminal) = self.means {
            terminal.close().await;
        }
    }
}
