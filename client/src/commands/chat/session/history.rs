//! Going to a room, and what was said there before.

use greffe::api::{Message, list_messages_request};

use super::Session;
use crate::commands::chat::look::Shown;
use crate::commands::chat::state::Said;
use crate::error::CommandError;
use crate::text::visible;

/// Messages shown when a room is entered.
const HISTORY: i32 = 20;

impl Session {
    /// Goes to a room and shows what was said there lately.
    pub(in crate::commands::chat) async fn enter(&mut self, room_id: &str) -> Result<(), CommandError> {
        self.rooms.enter(room_id);
        let Some(view) = self.rooms.current() else {
            return Ok(());
        };
        if self.console.is_json() {
            return Ok(());
        }
        let room = view.state.room.clone().unwrap_or_default();
        let about = if room.topic.is_empty() {
            String::new()
        } else {
            format!(": {}", room.topic)
        };
        let archived = if room.archived_at.is_some() {
            " (archived: it can only be read)"
        } else {
            ""
        };
        self.console.note(&format!("in {}{about}{archived}", view.label)).await;
        self.history(HISTORY).await
    }

    /// Tells of invitations, and of what is unread in other rooms.
    pub(super) async fn tell_what_waits(&self) {
        let mut unread = Vec::new();
        for view in self.rooms.sorted() {
            if !view.is_mine() {
                self.console
                    .note(&format!(
                        "you are invited to {0}: /join {0} or /decline {0}",
                        view.label
                    ))
                    .await;
            } else if view.state.unread_count > 0 && !self.rooms.is_current(view.id()) {
                unread.push(format!("{} ({})", view.label, view.state.unread_count));
            }
        }
        if !unread.is_empty() {
            self.console.note(&format!("unread elsewhere: {}", unread.join(", "))).await;
        }
    }

    /// Shows the newest messages of the current room, with a line before those that are unread.
    pub(in crate::commands::chat) async fn history(&mut self, count: i32) -> Result<(), CommandError> {
        let Some(view) = self.rooms.current() else {
            return Ok(());
        };
        let (room_id, read_seq, head_seq) = (view.id().to_owned(), view.state.read_seq, view.state.head_seq);
        // Up to what the feed has told: what comes after that, it tells.
        let from = list_messages_request::From::BeforeSeq(head_seq.saturating_add(1));
        let page = match self.client.list_messages(&room_id, Some(from), count).await {
            Ok(page) => page,
            Err(error) => {
                self.console.refused("the history cannot be shown", &error).await;
                return Ok(());
            }
        };
        let mut rule_due = true;
        for message in &page.messages {
            let is_unread = message.seq > read_seq && message.author_id != self.names.me();
            let day = self.console.look.day_line(message.posted_at.as_ref());
            self.console.show(day).await?;
            if is_unread && rule_due && self.console.is_terminal() {
                self.console.show([self.console.look.rule("unread")]).await?;
                rule_due = false;
            }
            self.show_message(message, None).await?;
        }
        if head_seq > 0 {
            self.mark_read(&room_id, head_seq);
        }
        if let Some(view) = self.rooms.get_mut(&room_id) {
            view.state.read_seq = head_seq;
            view.shown = head_seq;
        }
        Ok(())
    }

    /// Shows a message as it stands now.
    pub(in crate::commands::chat) async fn show_message(
        &mut self,
        message: &Message,
        room: Option<&str>,
    ) -> Result<(), CommandError> {
        let author = self.names.author(&message.author_id).await?;
        let mine = message.author_id == self.names.me();
        if let Some(view) = self.rooms.get_mut(&message.room_id)
            && !message.deleted
        {
            view.remember(Said {
                seq: message.seq,
                author: author.marked(),
                text: message.text.clone(),
                mine,
            });
            if mine {
                view.my_last = Some(message.seq.max(view.my_last.unwrap_or_default()));
            }
        }
        let mut remarks = Vec::new();
        if message.edited_at.is_some() && !message.deleted {
            remarks.push("edited".to_owned());
        }
        if message.deleted {
            remarks.push("deleted".to_owned());
        }
        if !message.reactions.is_empty() {
            remarks.push(
                message
                    .reactions
                    .iter()
                    .map(|reaction| visible(&reaction.emoji))
                    .collect::<Vec<_>>()
                    .join(" "),
            );
        }
        let lines = self.console.look.message(&Shown {
            time: message.posted_at.as_ref(),
            room,
            seq: message.seq,
            author: &author,
            text: &message.text,
            reply: self.quoted(&message.room_id, message.reply_to_seq),
            remark: (!remarks.is_empty()).then(|| remarks.join(", ")),
            mentions_me: message.mentioned_user_ids.iter().any(|id| id == self.names.me()),
        });
        let day = self.console.look.day_line(message.posted_at.as_ref());
        self.console.show(day.into_iter().chain(lines)).await
    }
}
