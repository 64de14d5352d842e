//! Messages as single calls. For a live conversation use a [`Feed`](super::feed::Feed).

use greffe_api::v1::{
    AddReactionRequest, DeleteMessageRequest, EditMessageRequest, ListEventsRequest, ListEventsResponse,
    ListMessagesRequest, ListMessagesResponse, MarkReadRequest, Message, Receipt, RemoveReactionRequest,
    ReportMessageRequest, SearchMessagesRequest, SendMessageRequest, SetTypingRequest, list_events_request,
    list_messages_request,
};

use super::client::{Client, MOST_PAGES};
use super::error::Error;

fn receipt(receipt: Option<Receipt>) -> Result<Receipt, Error> {
    receipt.ok_or_else(|| Error::malformed("the receipt"))
}

impl Client {
    /// Posts a message. `reply_to_seq` is the seq of a message in the same room, or 0.
    pub async fn send_message(&self, room_id: &str, text: &str, reply_to_seq: i64) -> Result<Receipt, Error> {
        let request = SendMessageRequest {
            room_id: room_id.to_owned(),
            text: text.to_owned(),
            reply_to_seq,
            ..Default::default()
        };
        receipt(self.call(request).await?.receipt)
    }

    /// Replaces the text of one's own message.
    pub async fn edit_message(&self, room_id: &str, seq: i64, text: &str) -> Result<Receipt, Error> {
        let request = EditMessageRequest {
            room_id: room_id.to_owned(),
            seq,
            text: text.to_owned(),
            ..Default::default()
        };
        receipt(self.call(request).await?.receipt)
    }

    /// Deletes a message.
    pub async fn delete_message(&self, room_id: &str, seq: i64) -> Result<Receipt, Error> {
        let request = DeleteMessageRequest {
            room_id: room_id.to_owned(),
            seq,
            ..Default::default()
        };
        receipt(self.call(request).await?.receipt)
    }

    /// Reacts to a message with one emoji or a short word.
    pub async fn add_reaction(&self, room_id: &str, seq: i64, emoji: &str) -> Result<Receipt, Error> {
        let request = AddReactionRequest {
            room_id: room_id.to_owned(),
            seq,
            emoji: emoji.to_owned(),
            ..Default::default()
        };
        receipt(self.call(request).await?.receipt)
    }

    /// Takes back one's own reaction.
    pub async fn remove_reaction(&self, room_id: &str, seq: i64, emoji: &str) -> Result<Receipt, Error> {
        let request = RemoveReactionRequest {
            room_id: room_id.to_owned(),
            seq,
            emoji: emoji.to_owned(),
            ..Default::default()
        };
        receipt(self.call(request).await?.receipt)
    }

    /// Reports a message to whoever runs the server. `reason` has 1 to 256 visible characters. The room is not told.
    ///
    /// # Errors
    /// `ALREADY_REPORTED`, `MESSAGE_DELETED`, `MESSAGE_NOT_FOUND`, `TOO_MANY` and those of every call.
    pub async fn report_message(&self, room_id: &str, seq: i64, reason: &str) -> Result<Receipt, Error> {
        let request = ReportMessageRequest {
            room_id: room_id.to_owned(),
            seq,
            reason: reason.to_owned(),
            ..Default::default()
        };
        receipt(self.call(request).await?.receipt)
    }

    /// Says up to where the user has read; returns the greatest seq ever marked.
    pub async fn mark_read(&self, room_id: &str, seq: i64) -> Result<i64, Error> {
        self.call(MarkReadRequest {
            room_id: room_id.to_owned(),
            seq,
        })
        .await
        .map(|response| response.read_seq)
    }

    /// Says that the user is typing, or has stopped. Shown for 6 seconds.
    pub async fn set_typing(&self, room_id: &str, typing: bool) -> Result<(), Error> {
        self.call(SetTypingRequest {
            room_id: room_id.to_owned(),
            typing,
        })
        .await
        .map(drop)
    }

    /// Reads a page of a room's events, ascending. `from` absent: the newest. `page_size` 0: the server's default.
    pub async fn list_events(
        &self,
        room_id: &str,
        from: Option<list_events_request::From>,
        page_size: i32,
    ) -> Result<ListEventsResponse, Error> {
        self.call(ListEventsRequest {
            room_id: room_id.to_owned(),
            page_size,
            from,
        })
        .await
    }

    /// Reads a page of a room's messages as they stand now, ascending. `from` absent: the newest. `page_size` 0: the server's default.
    pub async fn list_messages(
        &self,
        room_id: &str,
        from: Option<list_messages_request::From>,
        page_size: i32,
    ) -> Result<ListMessagesResponse, Error> {
        self.call(ListMessagesRequest {
            room_id: room_id.to_owned(),
            page_size,
            from,
        })
        .await
    }

    /// Finds messages that hold all words of `query`, newest first, at most `limit`. `room_id` empty: in all the user's rooms.
    pub async fn search(&self, query: &str, room_id: &str, limit: usize) -> Result<Vec<Message>, Error> {
        let page_size = i32::try_from(limit).unwrap_or(i32::MAX);
        let mut found = Vec::new();
        let mut page_token = String::new();
        // A page may be shorter than asked for and still not the last.
        for _ in 0..MOST_PAGES {
            let request = SearchMessagesRequest {
                query: query.to_owned(),
                room_id: room_id.to_owned(),
                page_size,
                page_token,
            };
            let page = self.call(request).await?;
            found.extend(page.messages);
            page_token = page.next_page_token;
            if page_token.is_empty() || found.len() >= limit {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }
}
