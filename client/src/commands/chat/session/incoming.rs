//! What comes in: events, rooms, people, and the state of the link.

use std::time::{Duration, Instant};

use greffe::api::{
    EndReason, Event, EventHead, ListUsersRequest, MemberRole, ResetCause, RoomGone, RoomGoneReason, RoomState, Typing,
    UserPresence, event_body::Content,
};
use greffe::{Error, Item};

use super::Session;
use crate::commands::chat::look::Shown;
use crate::commands::chat::state::Said;
use crate::commands::ending;
use crate::commands::render::{Author, Telling, event_object, short, tell};
use crate::commands::target;
use crate::error::CommandError;
use crate::text::visible;
use crate::time;

/// The shortest pause before another try that is told.
const WORTH_TELLING: Duration = Duration::from_secs(5);
/// Users whose names are learned at the beginning; others when they appear.
const NAMES: i32 = 500;

impl Session {
    pub(super) async fn take(&mut self, item: Option<Item>) -> Result<(), CommandError> {
        match item {
            None => return Err(CommandError::Failed("the live feed ended".to_owned())),
            Some(Item::Connected { rooms, .. }) => self.take_rooms(rooms).await?,
            Some(Item::Event(event)) => self.event(&event).await?,
            Some(Item::RoomState(state)) => self.room_changed(*state).await?,
            Some(Item::RoomGone(gone)) => self.room_gone(gone).await,
            Some(Item::Presence(users)) => self.presence(users).await?,
            Some(Item::Typing(typing)) => self.typing(typing).await?,
            Some(Item::Alert(alert)) => self.console.alert(&alert).await?,
            Some(Item::Reset(reset)) => {
                if let Some(view) = self.rooms.get_mut(&reset.room_id)
                    && reset.cause() != ResetCause::TooMany
                {
                    view.shown = 0;
                }
                let label = self.label(&reset.room_id);
                self.console
                    .note(&format!(
                        "{label} has to be read again: the server was restored, or much was missed"
                    ))
                    .await;
            }
            Some(Item::Skipped { room_id, first, last }) => {
                let label = self.label(&room_id);
                self.console
                    .note(&format!(
                        "{label}: #{first} to #{last} are not shown; `greffe tail` shows them"
                    ))
                    .await;
            }
            Some(Item::Disconnected { reason, why, retry_in }) => self.disconnected(reason, &why, retry_in).await,
            Some(Item::Ended { reason, message, error }) => {
                if self.console.is_json() {
                    self.console.object(&ending::object(reason, &message, &error))?;
                }
                return Err(ending::failure(reason, &message, error));
            }
            Some(Item::CaughtUp) => self.presence_is_news = true,
            // How a stream ends that drains follows at once, with the same words.
            Some(Item::ReadMark(_) | Item::Draining { .. }) => {}
        }
        Ok(())
    }

    async fn disconnected(&mut self, reason: EndReason, why: &Error, retry_in: Duration) {
        let paused = ending::pause(reason, why);
        let next = time::from_now(retry_in);
        if std::mem::take(&mut self.connected) {
            self.away_since = Instant::now();
            let what = paused.clone().unwrap_or_else(|| format!("disconnected: {why}"));
            self.console.alarm(&what).await;
            self.console
                .note(&format!(
                    "trying again {next}; what you type is sent when the link is back"
                ))
                .await;
        } else if retry_in >= WORTH_TELLING {
            let what = if paused.is_some() {
                "still away"
            } else {
                "still no link"
            };
            self.console.note(&format!("{what}: {why}; trying again {next}")).await;
        }
        if paused.is_some() {
            // A pause that the server asked for counts for nobody's patience.
            self.away_since = Instant::now() + retry_in;
        }
    }

    pub(super) async fn take_rooms(&mut self, rooms: Vec<RoomState>) -> Result<(), CommandError> {
        let ids = rooms.iter().filter_map(|state| Some(state.room.as_ref()?.id.clone())).collect();
        for view in self.rooms.keep_only(&ids) {
            self.console.note(&format!("you are no longer in {}", view.label)).await;
        }
        for state in rooms {
            self.take_room(state).await?;
        }
        if self.was_connected {
            self.console.note("connected again").await;
        }
        (self.connected, self.was_connected) = (true, true);
        self.presence_is_news = false;
        self.online.clear();
        Ok(())
    }

    /// Takes in a room as the server tells it.
    pub(in crate::commands::chat) async fn take_room(&mut self, state: RoomState) -> Result<(), CommandError> {
        let Some(room) = state.room.clone() else { return Ok(()) };
        let label = self.names.room(&room).await?;
        if let Some(terminal) = self.console.as_terminal()
            && !label.starts_with('@')
        {
            terminal.known().rooms.insert(label.clone());
        }
        self.rooms.update(state, label);
        Ok(())
    }

    pub(super) async fn room_changed(&mut self, state: RoomState) -> Result<(), CommandError> {
        let before = self
            .rooms
            .get(target::room_id(&state))
            .map(|view| (view.label.clone(), view.state.my_role()));
        let (room_id, role) = (target::room_id(&state).to_owned(), state.my_role());
        self.take_room(state).await?;
        let Some(view) = self.rooms.get(&room_id) else {
            return Ok(());
        };
        let label = view.label.clone();
        match before {
            _ if view.is_direct() => {}
            None if role == MemberRole::Invited => {
                self.console
                    .note(&format!(
                        "you are invited to {label}: /join {label} or /decline {label}"
                    ))
                    .await;
            }
            None => {
                self.console
                    .note(&format!("you are now in {label}: /room {label} goes there"))
                    .await;
            }
            Some((old, _)) if old != label && self.rooms.is_current(&room_id) => {
                self.console.note(&format!("this room, {old}, is now called {label}")).await;
            }
            Some(_) => {}
        }
        Ok(())
    }

    pub(super) async fn room_gone(&mut self, gone: RoomGone) {
        let was_current = self.rooms.is_current(&gone.room_id);
        self.untold.remove(&gone.room_id);
        let Some(view) = self.rooms.remove(&gone.room_id) else {
            return;
        };
        if let Some(terminal) = self.console.as_terminal() {
            terminal.known().rooms.remove(&view.label);
        }
        let why = match gone.reason() {
            RoomGoneReason::Removed if gone.message.is_empty() => format!("you were removed from {}", view.label),
            RoomGoneReason::Removed => format!("you were removed from {}: {}", view.label, gone.message),
            RoomGoneReason::Left => format!("you left {}", view.label),
            _ => format!("you are no longer in {}", view.label),
        };
        if gone.reason() == RoomGoneReason::Left {
            self.console.note(&why).await;
        } else {
            self.console.alarm(&why).await;
        }
        if was_current {
            self.console.note("you are in no room now: /room NAME goes to one").await;
        }
    }

    pub(super) async fn presence(&mut self, users: Vec<UserPresence>) -> Result<(), CommandError> {
        for user in users {
            let changed = if user.online {
                self.online.insert(user.user_id.clone())
            } else {
                self.online.remove(&user.user_id)
            };
            let is_news = changed && self.presence_is_news && user.user_id != self.names.me();
            let name = self.names.user(&user.user_id).await?;
            self.offer_user(&name);
            if is_news && self.console.is_terminal() {
                let now = if user.online { "is online" } else { "went offline" };
                self.console.note(&format!("{name} {now}")).await;
            }
        }
        Ok(())
    }

    pub(super) async fn typing(&mut self, typing: Typing) -> Result<(), CommandError> {
        let is_here = self.rooms.is_current(&typing.room_id) && typing.user_id != self.names.me();
        if typing.typing
            && is_here
            && self.console.is_terminal()
            && self.typing_told.is_due(&typing.user_id, Instant::now())
        {
            let name = self.names.author(&typing.user_id).await?.marked();
            self.console.note(&format!("{name} is typing …")).await;
        }
        Ok(())
    }

    pub(super) async fn event(&mut self, event: &Event) -> Result<(), CommandError> {
        let Some(head) = event.head.clone() else { return Ok(()) };
        let author = self.names.author(&head.actor_id).await?;
        let telling = tell(&mut self.names, event).await?;
        self.learn(&head, &author, &telling, event);
        if self.console.is_json() {
            let label = self.label(&head.room_id);
            let object = event_object(&mut self.names, &label, event).await?;
            return self.console.object(&object);
        }
        if self.rooms.get(&head.room_id).is_some_and(|view| head.seq <= view.shown) {
            return Ok(());
        }
        let is_current = self.rooms.is_current(&head.room_id);
        let label = self.label(&head.room_id);
        let room = (!is_current).then_some(label.as_str());
        let lines = match telling {
            Telling::Nothing => return Ok(()),
            // Elsewhere only what people say is worth a line.
            Telling::Notice(_) if !is_current => return Ok(()),
            Telling::Notice(words) | Telling::File(words) => {
                vec![self.console.look.notice(&head, room, &author, &words)]
            }
            Telling::Message { text, reply_to } => {
                let reply = self.quoted(&head.room_id, reply_to);
                let mentions_me = mentions(event).iter().any(|id| *id == self.names.me());
                self.console.look.message(&Shown {
                    time: head.time.as_ref(),
                    room,
                    seq: head.seq,
                    author: &author,
                    text: &text,
                    reply,
                    remark: None,
                    mentions_me,
                })
            }
            Telling::Edit { target, text } => self.console.look.message(&Shown {
                time: head.time.as_ref(),
                room,
                seq: head.seq,
                author: &author,
                text: &text,
                reply: None,
                remark: Some(format!("edited #{target}")),
                mentions_me: mentions(event).iter().any(|id| *id == self.names.me()),
            }),
        };
        let day = self.console.look.day_line(head.time.as_ref());
        self.console.show(day.into_iter().chain(lines)).await?;
        if is_current {
            self.mark_read(&head.room_id, head.seq);
        }
        Ok(())
    }

    /// Keeps what later commands and lines may name.
    pub(super) fn learn(&mut self, head: &EventHead, author: &Author, telling: &Telling, event: &Event) {
        self.offer_user(&author.name);
        let mine = head.actor_id == self.names.me();
        if self.untold.get(&head.room_id).is_some_and(|untold| *untold <= head.seq) {
            self.untold.remove(&head.room_id);
        }
        let Some(view) = self.rooms.get_mut(&head.room_id) else {
            return;
        };
        view.state.head_seq = view.state.head_seq.max(head.seq);
        match telling {
            Telling::Message { text, .. } => {
                view.remember(Said {
                    seq: head.seq,
                    author: author.marked(),
                    text: text.clone(),
                    mine,
                });
                if mine {
                    view.my_last = Some(head.seq.max(view.my_last.unwrap_or_default()));
                }
            }
            Telling::Edit { target, text } => {
                view.remember(Said {
                    seq: *target,
                    author: author.marked(),
                    text: text.clone(),
                    mine,
                });
            }
            Telling::Notice(_) | Telling::File(_) | Telling::Nothing => {}
        }
        if let Some(Content::MessageDeleted(_)) = event.body.as_ref().and_then(|body| body.content.as_ref()) {
            view.forget(head.target_seq);
        }
    }

    /// What a room is called, as it was told.
    pub(in crate::commands::chat) fn label(&self, room_id: &str) -> String {
        self.rooms
            .get(room_id)
            .map_or_else(|| room_id.to_owned(), |view| view.label.clone())
    }

    pub(in crate::commands::chat) fn quoted(&self, room_id: &str, seq: i64) -> Option<String> {
        if seq == 0 {
            return None;
        }
        let said = self.rooms.get(room_id).and_then(|view| view.said(seq));
        Some(match said {
            Some(said) => format!("#{seq} {}: {}", visible(&said.author), short(&said.text)),
            None => format!("#{seq}"),
        })
    }

    pub(super) fn mark_read(&mut self, room_id: &str, seq: i64) {
        let mark = self.read.entry(room_id.to_owned()).or_default();
        *mark = seq.max(*mark);
    }

    pub(super) fn offer_user(&self, name: &str) {
        if let Some(terminal) = self.console.as_terminal() {
            terminal.known().users.insert(name.to_owned());
        }
    }

    pub(super) async fn learn_names(&mut self) -> Result<(), CommandError> {
        let first = self
            .client
            .call(ListUsersRequest {
                page_size: NAMES,
                ..Default::default()
            })
            .await?;
        for user in first.users {
            self.names.learn(&user);
            self.offer_user(&user.name);
            if user.online {
                self.online.insert(user.id);
            }
        }
        Ok(())
    }
}

fn mentions(event: &Event) -> &[String] {
    match event.body.as_ref().and_then(|body| body.content.as_ref()) {
        Some(Content::MessagePosted(message)) => &message.mentioned_user_ids,
        Some(Content::MessageEdited(edit)) => &edit.mentioned_user_ids,
        _ => &[],
    }
}
