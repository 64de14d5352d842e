//! What is to be sent: in order, one at a time, each with one `request_id` for all its tries.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use greffe_api::v1::{ChatRequest, MarkReadRequest, SendResult, SetTypingRequest, chat_request, send_result};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tonic::Code;

use super::super::client::new_request_id;
use super::super::error::{Error, reason};
use super::super::pauses::Pauses;
use super::{Action, Outcome};

/// Actions that may wait to be sent.
const QUEUE: usize = 256;
/// How long an answer may take before the link counts as broken.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Where to put what is to be sent.
///
/// Actions are kept while there is no link, sent in order, and sent again with the same `request_id` after a reconnect until the server has
/// answered. Read marks and typing are only ever the newest ones.
#[derive(Clone, Debug)]
pub struct Outbox {
    actions: mpsc::Sender<Pending>,
    marks: Arc<Marks>,
}

impl Outbox {
    /// Puts an action at the end of the queue.
    ///
    /// # Errors
    /// `OUTBOX_FULL` if 256 actions wait already; `FEED_CLOSED` if the feed has ended.
    pub fn send(&self, action: Action) -> Result<Ticket, Error> {
        let request_id = new_request_id();
        let (answer, receipt) = oneshot::channel();
        let ticket = Ticket {
            request_id: request_id.clone(),
            receipt,
        };
        match self.actions.try_send(Pending {
            request_id,
            action,
            answer,
        }) {
            Ok(()) => Ok(ticket),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Error::local(
                Code::ResourceExhausted,
                reason::OUTBOX_FULL,
                format!("{QUEUE} messages wait to be sent already; wait until some are"),
            )),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(closed()),
        }
    }

    /// Says up to where the user has read a room. Sent when there is a link; an older mark that still waits is replaced.
    pub fn mark_read(&self, room_id: &str, seq: i64) {
        self.marks.change(|waiting| {
            let mark = waiting.read.entry(room_id.to_owned()).or_default();
            *mark = seq.max(*mark);
        });
    }

    /// Says whether the user is typing. Sent only if there is a link now.
    pub fn set_typing(&self, room_id: &str, typing: bool) {
        self.marks.change(|waiting| {
            waiting.typing.insert(room_id.to_owned(), typing);
        });
    }
}

/// An action that waits for its answer.
#[derive(Debug)]
pub struct Ticket {
    request_id: String,
    receipt: oneshot::Receiver<Outcome>,
}

impl Ticket {
    /// The action's `request_id`, the same for all tries.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Waits for the answer. Take the feed's items meanwhile. There is no deadline: the feed tries until it ends.
    pub async fn receipt(self) -> Outcome {
        self.receipt.await.unwrap_or_else(|_| Err(closed()))
    }
}

fn closed() -> Error {
    Error::local(
        Code::Unavailable,
        reason::FEED_CLOSED,
        "the feed has ended; whether it was stored is not known",
    )
}

#[derive(Debug)]
struct Pending {
    request_id: String,
    action: Action,
    answer: oneshot::Sender<Outcome>,
}

/// Read marks and typing that wait to be sent.
#[derive(Debug, Default)]
struct Marks {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    read: HashMap<String, i64>,
    typing: HashMap<String, bool>,
}

impl Marks {
    fn change(&self, change: impl FnOnce(&mut Waiting)) {
        change(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }
}

/// The feed's side of an [`Outbox`].
#[derive(Debug)]
pub(super) struct Queue {
    actions: mpsc::Receiver<Pending>,
    marks: Arc<Marks>,
    current: Option<Pending>,
    /// When the current action is to be sent, or, once it is, when its answer is overdue.
    state: Sent,
    pauses: Pauses,
}

#[derive(Clone, Copy, Debug)]
enum Sent {
    /// To be sent at this time.
    NotBefore(Instant),
    /// Sent; the answer is overdue at this time.
    WaitsUntil(Instant),
}

/// What the link has to do next.
#[derive(Debug)]
pub(super) enum Due {
    /// Send this frame.
    Frame(ChatRequest),
    /// Give the link up: an answer is overdue.
    Overdue,
}

/// Makes both sides.
pub(super) fn outbox() -> (Outbox, Queue) {
    let (sender, actions) = mpsc::channel(QUEUE);
    let marks = Arc::new(Marks::default());
    let outbox = Outbox {
        actions: sender,
        marks: Arc::clone(&marks),
    };
    let state = Sent::NotBefore(Instant::now());
    (
        outbox,
        Queue {
            actions,
            marks,
            current: None,
            state,
            pauses: Pauses::default(),
        },
    )
}

impl Queue {
    /// A new link: what was sent and not answered is to be sent again, and old typing is void.
    pub(super) fn rewind(&mut self) {
        self.state = Sent::NotBefore(Instant::now());
        self.marks.waiting.lock().unwrap_or_else(PoisonError::into_inner).typing.clear();
    }

    /// Waits until something is to be done. Cancel safe.
    pub(super) async fn due(&mut self) -> Due {
        loop {
            if let Some(frame) = self.take_mark() {
                return Due::Frame(frame);
            }
            let Some(pending) = &self.current else {
                // Senders are gone only when the feed is being dropped or nobody kept an outbox: then there is nothing to send.
                tokio::select! {
                    Some(pending) = self.actions.recv() => {
                        self.current = Some(pending);
                        self.state = Sent::NotBefore(Instant::now());
                        self.pauses.reset();
                    }
                    () = self.marks.changed.notified() => {}
                }
                continue;
            };
            let at = match self.state {
                Sent::NotBefore(at) | Sent::WaitsUntil(at) => at,
            };
            tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = self.marks.changed.notified() => continue,
            }
            if matches!(self.state, Sent::WaitsUntil(_)) {
                return Due::Overdue;
            }
            self.state = Sent::WaitsUntil(Instant::now() + ANSWER_TIMEOUT);
            return Due::Frame(pending.action.frame(&pending.request_id));
        }
    }

    /// Takes in an answer.
    pub(super) fn answer(&mut self, result: SendResult) {
        // A refused read mark or typing has no request_id and no one who waits for it.
        let Some(pending) = self.current.take_if(|pending| pending.request_id == result.request_id) else {
            return;
        };
        let outcome = match result.outcome {
            Some(send_result::Outcome::Receipt(receipt)) => Ok(receipt),
            Some(send_result::Outcome::Error(error)) => Err(Error::from(error)),
            None => Err(Error::malformed("the outcome of a send")),
        };
        match outcome {
            Err(error) if error.is_transient() => {
                self.state = Sent::NotBefore(Instant::now() + self.pauses.next(error.retry_after));
                self.current = Some(pending);
            }
            // Whoever no longer waits for the answer has dropped the ticket.
            outcome => drop(pending.answer.send(outcome)),
        }
    }

    /// The feed is over: refuses everything that waits.
    pub(super) fn refuse_all(&mut self, error: &Error) {
        self.actions.close();
        let mut next = self.current.take();
        while let Some(pending) = next {
            drop(pending.answer.send(Err(error.clone())));
            next = self.actions.try_recv().ok();
        }
    }

    fn take_mark(&self) -> Option<ChatRequest> {
        let mut waiting = self.marks.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let action = if let Some(room_id) = waiting.read.keys().next().cloned() {
            let seq = waiting.read.remove(&room_id)?;
            chat_request::Action::MarkRead(MarkReadRequest { room_id, seq })
        } else {
            let room_id = waiting.typing.keys().next().cloned()?;
            let typing = waiting.typing.remove(&room_id)?;
            chat_request::Action::SetTyping(SetTypingRequest { room_id, typing })
        };
        Some(ChatRequest { action: Some(action) })
    }
}

#[cfg(test)]
mod tests {
    use greffe_api::v1::{self as api, ErrorReason, Receipt};

    use super::*;

    fn text(due: Due) -> (String, String) {
        match due {
            Due::Frame(ChatRequest {
                action: Some(chat_request::Action::SendMessage(send)),
            }) => (send.request_id, send.text),
            other => (String::new(), format!("{other:?}")),
        }
    }

    fn stored(request_id: &str, seq: i64) -> SendResult {
        let outcome = send_result::Outcome::Receipt(Receipt {
            seq,
            ..Default::default()
        });
        SendResult {
            request_id: request_id.into(),
            outcome: Some(outcome),
        }
    }

    #[tokio::test]
    async fn actions_are_sent_one_at_a_time_and_again_after_a_reconnect() -> Result<(), Error> {
        let (outbox, mut queue) = outbox();
        let first = outbox.send(Action::send("r", "one"))?;
        let second = outbox.send(Action::send("r", "two"))?;
        assert_eq!(
            text(queue.due().await),
            (first.request_id().to_owned(), "one".to_owned())
        );
        queue.rewind();
        assert_eq!(
            text(queue.due().await),
            (first.request_id().to_owned(), "one".to_owned())
        );
        queue.answer(stored(first.request_id(), 5));
        assert_eq!(first.receipt().await?.seq, 5);
        assert_eq!(text(queue.due().await).1, "two");
        queue.refuse_all(&Error::unreachable("gone"));
        assert_eq!(
            second.receipt().await.map_err(|error| error.message).err().as_deref(),
            Some("gone")
        );
        Ok(())
    }

    #[tokio::test]
    async fn what_was_refused_for_now_is_sent_again_and_what_was_refused_is_not() -> Result<(), Error> {
        let (outbox, mut queue) = outbox();
        let ticket = outbox.send(Action::send("r", "one"))?;
        let refusal = |reason: ErrorReason, code| {
            let error = api::Error {
                code,
                reason: reason.into(),
                retry_after_ms: 50,
                ..Default::default()
            };
            let outcome = Some(send_result::Outcome::Error(error));
            SendResult {
                request_id: ticket.request_id().to_owned(),
                outcome,
            }
        };
        let limited = refusal(ErrorReason::RateLimited, 8);
        let refused = refusal(ErrorReason::NotAMember, 7);
        queue.due().await;
        let before = Instant::now();
        queue.answer(limited);
        assert_eq!(text(queue.due().await).1, "one");
        assert!(before.elapsed() >= Duration::from_millis(50));
        queue.answer(refused);
        assert_eq!(
            ticket.receipt().await.map_err(|error| error.code).err(),
            Some(Code::PermissionDenied)
        );
        Ok(())
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_gives_the_link_up() -> Result<(), Error> {
        let (outbox, mut queue) = outbox();
        let _ticket = outbox.send(Action::send("r", "one"))?;
        queue.due().await;
        assert!(matches!(queue.state, Sent::WaitsUntil(at) if at > Instant::now()));
        queue.state = Sent::WaitsUntil(Instant::now());
        assert!(matches!(queue.due().await, Due::Overdue));
        Ok(())
    }

    #[tokio::test]
    async fn the_queue_is_bounded() -> Result<(), Error> {
        let (outbox, _queue) = outbox();
        let tickets: Result<Vec<_>, _> = (0..QUEUE).map(|_| outbox.send(Action::send("r", "x"))).collect();
        assert_eq!(tickets?.len(), QUEUE);
        assert_eq!(
            outbox.send(Action::send("r", "x")).err().map(|error| error.reason).as_deref(),
            Some(reason::OUTBOX_FULL)
        );
        Ok(())
    }

    #[tokio::test]
    async fn only_the_newest_read_mark_is_sent() {
        let (outbox, mut queue) = outbox();
        for seq in [3, 9, 4] {
            outbox.mark_read("r", seq);
        }
        let Due::Frame(ChatRequest {
            action: Some(chat_request::Action::MarkRead(mark)),
        }) = queue.due().await
        else {
            unreachable!("a mark waits to be sent");
        };
        assert_eq!(mark.seq, 9);
    }
}
