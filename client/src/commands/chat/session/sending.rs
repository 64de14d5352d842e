//! What goes out: messages and changes on their way, read marks, typing.

use std::time::{Duration, Instant};

use greffe::api::Receipt;
use greffe::{Action, Error, Ticket};

use super::Session;
use crate::commands::render::short;
use crate::text::visible;

/// When a line that is not acknowledged is shown as unsent.
const UNSENT_AFTER: Duration = Duration::from_millis(1500);
/// How long a key counts as typing, and how often it is told.
const TYPING: Duration = Duration::from_secs(4);

/// A line on its way.
#[derive(Debug)]
pub(super) struct Waiting {
    room_id: String,
    text: String,
    since: Instant,
    shown: bool,
}

/// The answer to a line.
pub(super) struct Answered {
    request_id: String,
    what: &'static str,
    outcome: Result<Receipt, Error>,
}

impl Session {
    /// Sends a message; it is shown when it comes back with its time and number.
    pub(in crate::commands::chat) async fn send(&mut self, room_id: String, text: String, reply_to_seq: i64) {
        let action = Action::Send {
            room_id: room_id.clone(),
            text: text.clone(),
            reply_to_seq,
        };
        if let Some(ticket) = self.dispatch(action, "not sent").await {
            let shown = !self.connected;
            if shown {
                self.show_unsent(&room_id, &text).await;
            }
            self.waiting.insert(
                ticket,
                Waiting {
                    room_id,
                    text,
                    since: Instant::now(),
                    shown,
                },
            );
        }
        self.my_typing = None;
    }

    /// Puts an action on its way; returns its `request_id`.
    pub(in crate::commands::chat) async fn dispatch(&mut self, action: Action, what: &'static str) -> Option<String> {
        match self.outbox.send(action) {
            Ok(ticket) => {
                let request_id = ticket.request_id().to_owned();
                self.answers.push(Box::pin(wait(ticket, what)));
                Some(request_id)
            }
            Err(error) => {
                self.console.refused(what, &error).await;
                None
            }
        }
    }

    /// An action that is no message: it counts as on its way too.
    pub(in crate::commands::chat) async fn dispatch_change(
        &mut self,
        room_id: &str,
        action: Action,
        what: &'static str,
    ) {
        if let Some(request_id) = self.dispatch(action, what).await {
            let room_id = room_id.to_owned();
            self.waiting.insert(
                request_id,
                Waiting {
                    room_id,
                    text: String::new(),
                    since: Instant::now(),
                    shown: true,
                },
            );
        }
    }

    pub(super) async fn answered(&mut self, answered: Answered) {
        let waiting = self.waiting.remove(&answered.request_id);
        match (answered.outcome, waiting) {
            (Ok(receipt), Some(waiting)) => {
                if !waiting.text.is_empty()
                    && let Some(view) = self.rooms.get_mut(&waiting.room_id)
                {
                    view.my_last = Some(receipt.seq.max(view.my_last.unwrap_or_default()));
                    if view.state.head_seq < receipt.seq {
                        let untold = self.untold.entry(waiting.room_id).or_default();
                        *untold = receipt.seq.max(*untold);
                    }
                }
            }
            (Ok(_), None) => {}
            (Err(error), waiting) => {
                self.refused += 1;
                let text = waiting.map(|waiting| waiting.text).unwrap_or_default();
                let what = if text.is_empty() {
                    answered.what.to_owned()
                } else {
                    format!("{} ({})", answered.what, short(&text))
                };
                self.console.refused(&what, &error).await;
            }
        }
    }

    pub(super) async fn show_unsent(&self, room_id: &str, text: &str) {
        if !self.console.is_terminal() {
            return;
        }
        let room = self.rooms.get(room_id).filter(|view| !self.rooms.is_current(view.id()));
        let room = room.map(|view| format!("[{}] ", view.label)).unwrap_or_default();
        self.console.note(&format!("(unsent) {room}{}", visible(text))).await;
    }

    pub(super) async fn tick(&mut self) {
        self.flush_read_marks();
        let late: Vec<_> = self
            .waiting
            .values_mut()
            .filter(|waiting| !waiting.shown && waiting.since.elapsed() >= UNSENT_AFTER)
            .map(|waiting| {
                waiting.shown = true;
                (waiting.room_id.clone(), waiting.text.clone())
            })
            .collect();
        for (room_id, text) in late {
            self.show_unsent(&room_id, &text).await;
        }
        self.tell_typing();
    }

    pub(super) fn flush_read_marks(&mut self) {
        for (room_id, seq) in self.read.drain() {
            self.outbox.mark_read(&room_id, seq);
        }
    }

    pub(super) fn tell_typing(&mut self) {
        let Some(terminal) = self.console.as_terminal() else {
            return;
        };
        let typed = terminal.known().typing.filter(|typed| typed.elapsed() < TYPING);
        let told = self.my_typing.filter(|told| told.elapsed() < TYPING);
        if let (Some(_), None, Some(view)) = (typed, told, self.rooms.current()) {
            self.outbox.set_typing(view.id(), true);
            self.my_typing = Some(Instant::now());
        }
    }
}

async fn wait(ticket: Ticket, what: &'static str) -> Answered {
    let request_id = ticket.request_id().to_owned();
    Answered {
        request_id,
        what,
        outcome: ticket.receipt().await,
    }
}
