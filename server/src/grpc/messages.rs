//! `ChatService`: its calls. Its streams are in `chat.rs`; both read what members ask by `action.rs`.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::BytesMut;
use greffe_api::encoded::Encoded;
use greffe_api::server::v1::chat_service_server::ChatService;
use greffe_api::v1::{
    AddReactionRequest, AddReactionResponse, ChatRequest, DeleteMessageRequest, DeleteMessageResponse,
    EditMessageRequest, EditMessageResponse, ListEventsRequest, ListEventsResponse, ListMessagesRequest,
    ListMessagesResponse, MarkReadRequest, MarkReadResponse, Receipt, RemoveReactionRequest, RemoveReactionResponse,
    ReportMessageRequest, ReportMessageResponse, SearchMessagesRequest, SearchMessagesResponse, SendMessageRequest,
    SendMessageResponse, SetTypingRequest, SetTypingResponse, SubscribeRequest, list_events_request,
    list_messages_request,
};
use prost::Message as _;
use tonic::{Request, Response, Status, Streaming};

use super::auth::caller;
use super::live_body::Nothing;
use super::paging::Tokens;
use super::{App, Services, action, chat, convert};
use crate::domain::caller::Caller;
use crate::domain::command::{Change, Command, Outcome};
use crate::domain::error::Error;
use crate::domain::ids::RoomId;
use crate::domain::permissions;
use crate::live::stream::elements;
use crate::search::Found;
use crate::store::{Place, Range};

/// Bytes at which a page ends.
const PAGE_BYTES: usize = 1 << 20;
/// Bytes of a search, at most.
const QUERY_BYTES: usize = 256;

/// The part of a room's history that a request asks for.
struct Page {
    range: Range,
    /// The newest seq.
    head_seq: i64,
    /// Whether the page ends with the newest of the range.
    newest: bool,
}

impl App {
    pub(super) async fn change(
        &self,
        caller: Caller,
        request_id: &str,
        change: Result<Change, Error>,
    ) -> Result<Option<Receipt>, Error> {
        let request = convert::request_id(request_id)?;
        let outcome = self
            .journal
            .append(Command::Change {
                caller,
                request,
                change: change?,
            })
            .await?;
        Ok(Some(convert::receipt(self, &convert::stored(outcome)?)))
    }

    /// Passes on that somebody types, in rooms where that is done.
    pub(super) fn set_typing(&self, caller: &Caller, request: &SetTypingRequest) -> Result<(), Error> {
        let id = convert::room_id(&request.room_id)?;
        let small = self.view().read(|state| {
            let (room, _) = permissions::writer(state, caller.user, id)?;
            Ok::<_, Error>(self.feed.is_small(state, room))
        })?;
        if small && self.typing.check_key(&(caller.user, id)).is_ok() {
            self.feed.tell_typing(id, caller.user, request.typing);
        }
        Ok(())
    }

    /// Refuses who marks more often than anyone reads.
    pub(super) fn check_marking(&self, caller: &Caller) -> Result<(), Error> {
        self.marking
            .check(caller.user)
            .map_err(|retry_after| Error::RateLimited { retry_after })
    }

    async fn mark_read(&self, request: Request<MarkReadRequest>) -> Result<MarkReadResponse, Error> {
        let caller = caller(self, &request)?;
        let request = request.into_inner();
        let room = convert::room_id(&request.room_id)?;
        self.check_marking(&caller)?;
        match self
            .journal
            .append(Command::MarkRead {
                caller,
                room,
                seq: request.seq,
            })
            .await?
        {
            Outcome::Read(read_seq) => {
                self.feed.tell_read_mark(caller.user, room, read_seq, None);
                Ok(MarkReadResponse { read_seq })
            }
            Outcome::Stored(_)
            | Outcome::LoggedIn { .. }
            | Outcome::Acted { .. }
            | Outcome::Ended(_)
            | Outcome::Upload(_)
            | Outcome::Erased(_)
            | Outcome::Done => Err(Error::Internal),
        }
    }

    /// What a page of a room's history is, as far as the caller may read it.
    fn page(
        &self,
        caller: &Caller,
        room: &str,
        after: Option<i64>,
        before: Option<i64>,
        size: i32,
    ) -> Result<Page, Error> {
        let id = convert::room_id(room)?;
        let limit = self.page_size(size)?;
        let (no, first_seq, head_seq) = self.view().read(|state| {
            permissions::member(state, caller.user, id).map(|(room, member)| (room.no, member.first_seq, room.head_seq))
        })?;
        if after.is_some_and(|after| after < 0) {
            return Err(Error::invalid("after_seq", "it must be 0 or more"));
        }
        if before.is_some_and(|before| before < 1) {
            return Err(Error::invalid("before_seq", "it must be 1 or more"));
        }
        let first = first_seq.max(after.map_or(1, |after| after.saturating_add(1)));
        let last = head_seq.min(before.map_or(i64::MAX, |before| before - 1));
        let newest = after.is_none();
        Ok(Page {
            range: Range {
                room: no,
                first,
                last,
                limit,
                bytes: PAGE_BYTES,
                newest,
            },
            head_seq,
            newest,
        })
    }

    async fn list_events(&self, request: Request<ListEventsRequest>) -> Result<Encoded, Error> {
        let caller = caller(self, &request)?;
        let request = request.into_inner();
        let (after, before) = match request.from {
            Some(list_events_request::From::AfterSeq(seq)) => (Some(seq), None),
            Some(list_events_request::From::BeforeSeq(seq)) => (None, Some(seq)),
            None => (None, None),
        };
        let page = self.page(&caller, &request.room_id, after, before, request.page_size)?;
        let events = if page.range.first > page.range.last {
            Vec::new()
        } else {
            self.reader.events(page.range).await?
        };
        // The first seq of the caller may have moved while the page was read, if they were removed and came back; then they ask again.
        let first_seq = self.first_seq(&caller, &request.room_id)?;
        let has_more = match (page.newest, events.first(), events.last()) {
            (true, Some(first), _) => first.seq > first_seq.max(1),
            (false, _, Some(last)) => last.seq < page.range.last,
            _ => false,
        };
        let rest = ListEventsResponse {
            events: Vec::new(),
            has_more,
            head_seq: page.head_seq,
            first_seq,
            epoch: self.identity.epoch.clone(),
        };
        // The events are field 1 of the response: their bytes, then the rest of it, are the whole message.
        let mut bytes = BytesMut::from(elements(&events, first_seq));
        bytes.extend_from_slice(&rest.encode_to_vec());
        Ok(Encoded(bytes.freeze()))
    }

    /// The first event that the caller may read; refuses who is not in the room (any more).
    fn first_seq(&self, caller: &Caller, room: &str) -> Result<i64, Error> {
        let id = convert::room_id(room)?;
        self.view()
            .read(|state| permissions::member(state, caller.user, id).map(|(_, member)| member.first_seq))
    }

    async fn list_messages(&self, request: Request<ListMessagesRequest>) -> Result<ListMessagesResponse, Error> {
        let caller = caller(self, &request)?;
        let request = request.into_inner();
        let (after, before) = match request.from {
            Some(list_messages_request::From::AfterSeq(seq)) => (Some(seq), None),
            Some(list_messages_request::From::BeforeSeq(seq)) => (None, Some(seq)),
            None => (None, None),
        };
        let Page { range, .. } = self.page(&caller, &request.room_id, after, before, request.page_size)?;
        if range.first > range.last {
            return Ok(ListMessagesResponse::default());
        }
        let (found, has_more) = self.reader.messages(range).await?;
        let messages = found.iter().filter_map(convert::message).collect();
        self.first_seq(&caller, &request.room_id)?;
        Ok(ListMessagesResponse { messages, has_more })
    }

    async fn search_messages(&self, request: Request<SearchMessagesRequest>) -> Result<SearchMessagesResponse, Error> {
        let caller = caller(self, &request)?;
        let request = request.into_inner();
        if request.query.len() > QUERY_BYTES || request.query.contains('\0') {
            return Err(Error::invalid(
                "query",
                format!("1 to {QUERY_BYTES} bytes without NUL are allowed"),
            ));
        }
        let size = self.page_size(request.page_size)?;
        let tokens = Tokens::new(
            &self.identity.journal_id,
            caller.user,
            "search",
            &[&request.query, &request.room_id],
        );
        let before = tokens.read_number(&request.page_token)?.unwrap_or(i64::MAX);
        let only = if request.room_id.is_empty() {
            None
        } else {
            Some(convert::room_id(&request.room_id)?)
        };
        let rooms: Vec<(i64, i64)> = self.view().read(|state| {
            if let Some(id) = only {
                return permissions::member(state, caller.user, id)
                    .map(|(room, member)| vec![(room.no, member.first_seq)]);
            }
            let mine = state.rooms_of(caller.user).filter(|(_, member)| member.role.is_in());
            Ok(mine.map(|(room, member)| (room.no, member.first_seq)).collect())
        })?;
        let Found { hits, next } = self.search.find(&request.query, rooms, before, size).await?;
        // The index may be a moment behind. What it found is read again, and shown only if the text that matched is still the current one.
        let mine: HashMap<i64, (RoomId, i64)> = self.view().read(|state| {
            let rooms = state.rooms_of(caller.user).filter(|(_, member)| member.role.is_in());
            rooms.map(|(room, member)| (room.no, (room.id, member.first_seq))).collect()
        });
        let places = hits.iter().filter_map(|hit| {
            let (room, first_seq) = mine.get(&hit.room)?;
            let place = Place {
                room: *room,
                room_no: hit.room,
                seq: hit.seq,
                current: hit.current,
            };
            (hit.seq >= *first_seq).then_some(place)
        });
        let found = self.reader.messages_at(places.collect()).await?;
        let mut messages: Vec<_> = found.iter().filter_map(convert::message).collect();
        // The caller may have been put out of a room meanwhile.
        self.view().read(|state| {
            messages.retain(|message| {
                let place = message
                    .room_id
                    .parse()
                    .ok()
                    .and_then(|room| permissions::member(state, caller.user, room).ok());
                place.is_some_and(|(_, member)| message.seq >= member.first_seq)
            });
        });
        let next_page_token = next.map(|next| tokens.write(&next.to_string())).unwrap_or_default();
        Ok(SearchMessagesResponse {
            messages,
            next_page_token,
        })
    }
}

#[tonic::async_trait]
impl ChatService for Services {
    type ChatStream = Nothing;
    type SubscribeStream = Nothing;

    async fn chat(&self, request: Request<Streaming<ChatRequest>>) -> Result<Response<Self::ChatStream>, Status> {
        Ok(chat::chat(Arc::clone(&self.0), request)?.into_response())
    }

    async fn subscribe(&self, request: Request<SubscribeRequest>) -> Result<Response<Self::SubscribeStream>, Status> {
        Ok(chat::subscribe(Arc::clone(&self.0), request)?.into_response())
    }

    async fn send_message(
        &self,
        request: Request<SendMessageRequest>,
    ) -> Result<Response<SendMessageResponse>, Status> {
        let caller = caller(self, &request)?;
        let request = request.into_inner();
        let id = request.request_id.clone();
        let receipt = self.change(caller, &id, action::send(self, request)).await?;
        Ok(Response::new(SendMessageResponse { receipt }))
    }

    async fn edit_message(
        &self,
        request: Request<EditMessageRequest>,
    ) -> Result<Response<EditMessageResponse>, Status> {
        let caller = caller(self, &request)?;
        let request = request.into_inner();
        let id = request.request_id.clone();
        let receipt = self.change(caller, &id, action::edit(self, request)).await?;
        Ok(Response::new(EditMessageResponse { receipt }))
    }

    async fn delete_message(
        &self,
        request: Request<DeleteMessageRequest>,
    ) -> Result<Response<DeleteMessageResponse>, Status> {
        let caller = caller(self, &request)?;
        let request = request.into_inner();
        let receipt = self.change(caller, &request.request_id, action::delete(&request)).await?;
        Ok(Response::new(DeleteMessageResponse { receipt }))
    }

    async fn add_reaction(
        &self,
        request: Request<AddReactionRequest>,
    ) -> Result<Response<AddReactionResponse>, Status> {
        let caller = caller(self, &request)?;
        let request = request.into_inner();
        let id = request.request_id.clone();
        let receipt = self.change(caller, &id, action::react(request)).await?;
        Ok(Response::new(AddReactionResponse { receipt }))
    }

    async fn remove_reaction(
        &self,
        request: Request<RemoveReactionRequest>,
    ) -> Result<Response<RemoveReactionResponse>, Status> {
        let caller = caller(self, &request)?;
        let request = request.into_inner();
        let id = request.request_id.clone();
        let receipt = self.change(caller, &id, action::unreact(request)).await?;
        Ok(Response::new(RemoveReactionResponse { receipt }))
    }

    async fn report_message(
        &self,
        request: Request<ReportMessageRequest>,
    ) -> Result<Response<ReportMessageResponse>, Status> {
        let caller = caller(self, &request)?;
        let request = request.into_inner();
        let id = request.request_id.clone();
        let receipt = self.change(caller, &id, action::report(request)).await?;
        Ok(Response::new(ReportMessageResponse { receipt }))
    }

    async fn mark_read(&self, request: Request<MarkReadRequest>) -> Result<Response<MarkReadResponse>, Status> {
        Ok(Response::new(self.0.mark_read(request).await?))
    }

    async fn set_typing(&self, request: Request<SetTypingRequest>) -> Result<Response<SetTypingResponse>, Status> {
        let caller = caller(self, &request)?;
        self.0.set_typing(&caller, request.get_ref())?;
        Ok(Response::new(SetTypingResponse {}))
    }

    async fn list_events(&self, request: Request<ListEventsRequest>) -> Result<Response<Encoded>, Status> {
        Ok(Response::new(self.0.list_events(request).await?))
    }

    async fn list_messages(
        &self,
        request: Request<ListMessagesRequest>,
    ) -> Result<Response<ListMessagesResponse>, Status> {
        Ok(Response::new(self.0.list_messages(request).await?))
    }

    async fn search_messages(
        &self,
        request: Request<SearchMessagesRequest>,
    ) -> Result<Response<SearchMessagesResponse>, Status> {
        Ok(Response::new(self.0.search_messages(request).await?))
    }
}
