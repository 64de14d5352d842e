//! A user: one login over one connection, with a method for each call of the API.

use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use v1::auth_service_client::AuthServiceClient;
use v1::chat_service_client::ChatServiceClient;
use v1::room_service_client::RoomServiceClient;
use v1::user_service_client::UserServiceClient;

use super::{Refusal, Stream, request_id, v1, within};

/// One login.
#[derive(Clone, Debug)]
pub(crate) struct User {
    /// The user name.
    pub(crate) name: String,
    /// The user's id.
    pub(crate) id: String,
    /// The session's id.
    pub(crate) session_id: String,
    /// The session's token.
    pub(crate) token: String,
    channel: Channel,
}

/// Makes a call and gives its answer or the refusal.
async fn answer<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Refusal> {
    Ok(within("an answer", call).await?.into_inner())
}

impl User {
    /// Makes an account.
    pub(crate) async fn register(channel: Channel, name: &str, password: &str) -> Result<Self, Refusal> {
        let request = v1::RegisterRequest {
            user_name: name.to_owned(),
            password: password.to_owned(),
            ..v1::RegisterRequest::default()
        };
        Self::register_as(channel, request).await
    }

    /// Makes an account from a whole request.
    pub(crate) async fn register_as(channel: Channel, request: v1::RegisterRequest) -> Result<Self, Refusal> {
        let name = request.user_name.clone();
        let mut client = AuthServiceClient::new(channel.clone());
        let login = answer(client.register(request)).await?;
        Ok(Self {
            name,
            id: login.user.expect("the answer has the account").id,
            session_id: login.session_id,
            token: login.token,
            channel,
        })
    }

    /// Logs in.
    pub(crate) async fn log_in(channel: Channel, name: &str, password: &str) -> Result<Self, Refusal> {
        let mut client = AuthServiceClient::new(channel.clone());
        let login = answer(client.log_in(v1::LogInRequest {
            user_name: name.to_owned(),
            password: password.to_owned(),
            client: "tests/1".to_owned(),
        }))
        .await?;
        Ok(Self {
            name: name.to_owned(),
            id: login.user.expect("the answer has the account").id,
            session_id: login.session_id,
            token: login.token,
            channel,
        })
    }

    /// Sets a new password with a one-time code, and logs in.
    pub(crate) async fn reset_password(
        channel: Channel,
        name: &str,
        code: &str,
        new_password: &str,
    ) -> Result<Self, Refusal> {
        let mut client = AuthServiceClient::new(channel.clone());
        let login = answer(client.reset_password(v1::ResetPasswordRequest {
            user_name: name.to_owned(),
            code: code.to_owned(),
            new_password: new_password.to_owned(),
            client: "tests/1".to_owned(),
        }))
        .await?;
        Ok(Self {
            name: name.to_owned(),
            id: login.user.expect("the answer has the account").id,
            session_id: login.session_id,
            token: login.token,
            channel,
        })
    }

    /// The same login over another connection.
    pub(crate) fn over(&self, channel: Channel) -> Self {
        Self {
            channel,
            ..self.clone()
        }
    }

    /// The same connection with another token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self {
            token: token.to_owned(),
            ..self.clone()
        }
    }

    /// A request with this login's token.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let value: MetadataValue<Ascii> = format!("Bearer {}", self.token).parse().expect("a token is ASCII");
        request.metadata_mut().insert("authorization", value);
        request
    }

    /// The connection.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    fn auth(&self) -> AuthServiceClient<Channel> {
        AuthServiceClient::new(self.channel.clone())
    }

    fn users(&self) -> UserServiceClient<Channel> {
        UserServiceClient::new(self.channel.clone())
    }

    fn rooms(&self) -> RoomServiceClient<Channel> {
        RoomServiceClient::new(self.channel.clone())
    }

    fn chats(&self) -> ChatServiceClient<Channel> {
        ChatServiceClient::new(self.channel.clone()).max_decoding_message_size(8 << 20)
    }

    // AuthService

    /// Ends this session.
    pub(crate) async fn log_out(&self) -> Result<(), Refusal> {
        answer(self.auth().log_out(self.request(v1::LogOutRequest {}))).await.map(drop)
    }

    /// Changes the password; how many other sessions that ended.
    pub(crate) async fn change_password(&self, current: &str, new: &str) -> Result<i32, Refusal> {
        let request = v1::ChangePasswordRequest {
            current_password: current.to_owned(),
            new_password: new.to_owned(),
        };
        Ok(answer(self.auth().change_password(self.request(request))).await?.sessions_ended)
    }

    /// This user's sessions.
    pub(crate) async fn sessions(&self) -> Result<Vec<v1::Session>, Refusal> {
        let request = v1::ListSessionsRequest::default();
        Ok(answer(self.auth().list_sessions(self.request(request))).await?.sessions)
    }

    /// A page of this user's sessions.
    pub(crate) async fn session_page(
        &self,
        request: v1::ListSessionsRequest,
    ) -> Result<v1::ListSessionsResponse, Refusal> {
        answer(self.auth().list_sessions(self.request(request))).await
    }

    /// Ends one of this user's sessions.
    pub(crate) async fn revoke(&self, session_id: &str) -> Result<v1::Receipt, Refusal> {
        self.revoke_as(&request_id(), session_id).await
    }

    /// The same with a given request id.
    pub(crate) async fn revoke_as(&self, request_id: &str, session_id: &str) -> Result<v1::Receipt, Refusal> {
        let request = v1::RevokeSessionRequest {
            request_id: request_id.to_owned(),
            session_id: session_id.to_owned(),
        };
        let response = answer(self.auth().revoke_session(self.request(request))).await?;
        Ok(response.receipt.expect("the answer has a receipt"))
    }

    // UserService

    /// Tells about a user by name.
    pub(crate) async fn user_named(&self, name: &str) -> Result<v1::User, Refusal> {
        self.get_user(v1::get_user_request::By::UserName(name.to_owned())).await
    }

    /// Tells about a user by id.
    pub(crate) async fn user_with_id(&self, id: &str) -> Result<v1::User, Refusal> {
        self.get_user(v1::get_user_request::By::UserId(id.to_owned())).await
    }

    async fn get_user(&self, by: v1::get_user_request::By) -> Result<v1::User, Refusal> {
        let response = answer(self.users().get_user(self.request(v1::GetUserRequest { by: Some(by) }))).await?;
        Ok(response.user.expect("the answer has the user"))
    }

    /// A page of users.
    pub(crate) async fn list_users(&self, request: v1::ListUsersRequest) -> Result<v1::ListUsersResponse, Refusal> {
        answer(self.users().list_users(self.request(request))).await
    }

    /// Changes the name to show.
    pub(crate) async fn show_as(&self, display_name: &str) -> Result<v1::User, Refusal> {
        let request = v1::UpdateProfileRequest {
            request_id: request_id(),
            user: Some(v1::User {
                display_name: display_name.to_owned(),
                ..v1::User::default()
            }),
            update_mask: Some(prost_types::FieldMask {
                paths: vec!["display_name".to_owned()],
            }),
        };
        Ok(self.update_profile(request).await?.user.expect("the answer has the user"))
    }

    /// Changes the profile as a whole request says.
    pub(crate) async fn update_profile(
        &self,
        request: v1::UpdateProfileRequest,
    ) -> Result<v1::UpdateProfileResponse, Refusal> {
        answer(self.users().update_profile(self.request(request))).await
    }

    // RoomService

    /// Creates a room and gives the whole answer.
    pub(crate) async fn create_room(&self, request: v1::CreateRoomRequest) -> Result<v1::CreateRoomResponse, Refusal> {
        answer(self.rooms().create_room(self.request(request))).await
    }

    /// Creates a room of a kind and gives its state, or the refusal.
    pub(crate) async fn create(&self, kind: v1::RoomKind, name: &str) -> Result<v1::RoomState, Refusal> {
        let request = v1::CreateRoomRequest {
            request_id: request_id(),
            kind: kind.into(),
            name: name.to_owned(),
            ..v1::CreateRoomRequest::default()
        };
        Ok(self.create_room(request).await?.room.expect("the answer has the room"))
    }

    /// Creates a public room and gives its id.
    pub(crate) async fn public_room(&self, name: &str) -> String {
        room_id(&self.create(v1::RoomKind::Public, name).await.expect("the name is free"))
    }

    /// Creates a private room and gives its id.
    pub(crate) async fn private_room(&self, name: &str) -> String {
        room_id(&self.create(v1::RoomKind::Private, name).await.expect("anyone may"))
    }

    /// Creates a private room with these people in it and gives its id.
    pub(crate) async fn private_room_with(&self, name: &str, people: &[&User]) -> String {
        let room = self.private_room(name).await;
        for person in people {
            self.invite(&room, person).await.expect("an owner invites");
            person.join(&room).await.expect("an invited person joins");
        }
        room
    }

    /// Tells about a room by id.
    pub(crate) async fn room(&self, room: &str) -> Result<v1::RoomState, Refusal> {
        self.get_room(v1::get_room_request::By::RoomId(room.to_owned())).await
    }

    /// Tells about a room by name.
    pub(crate) async fn room_named(&self, name: &str) -> Result<v1::RoomState, Refusal> {
        self.get_room(v1::get_room_request::By::RoomName(name.to_owned())).await
    }

    async fn get_room(&self, by: v1::get_room_request::By) -> Result<v1::RoomState, Refusal> {
        let response = answer(self.rooms().get_room(self.request(v1::GetRoomRequest { by: Some(by) }))).await?;
        Ok(response.room.expect("the answer has the room"))
    }

    /// A page of rooms.
    pub(crate) async fn list_rooms(&self, request: v1::ListRoomsRequest) -> Result<v1::ListRoomsResponse, Refusal> {
        answer(self.rooms().list_rooms(self.request(request))).await
    }

    /// This user's rooms.
    pub(crate) async fn my_rooms(&self) -> Vec<v1::RoomState> {
        self.list_rooms(v1::ListRoomsRequest::default())
            .await
            .expect("everyone may")
            .rooms
    }

    /// The public rooms.
    pub(crate) async fn public_rooms(&self) -> Vec<v1::RoomState> {
        let request = v1::ListRoomsRequest {
            filter: v1::RoomFilter::Public.into(),
            ..v1::ListRoomsRequest::default()
        };
        self.list_rooms(request).await.expect("everyone may").rooms
    }

    /// Changes a room as a whole request says.
    pub(crate) async fn update_room(&self, request: v1::UpdateRoomRequest) -> Result<v1::UpdateRoomResponse, Refusal> {
        answer(self.rooms().update_room(self.request(request))).await
    }

    /// Gives a room another name.
    pub(crate) async fn rename(&self, room: &str, name: &str) -> Result<v1::UpdateRoomResponse, Refusal> {
        self.update_room(update(room, "name", name)).await
    }

    /// Gives a room another topic.
    pub(crate) async fn set_topic(&self, room: &str, topic: &str) -> Result<v1::UpdateRoomResponse, Refusal> {
        self.update_room(update(room, "topic", topic)).await
    }

    /// Archives a room.
    pub(crate) async fn archive(&self, room: &str) -> Result<v1::ArchiveRoomResponse, Refusal> {
        let request = v1::ArchiveRoomRequest {
            request_id: request_id(),
            room_id: room.to_owned(),
            reason: "done here".to_owned(),
        };
        answer(self.rooms().archive_room(self.request(request))).await
    }

    /// Joins a room.
    pub(crate) async fn join(&self, room: &str) -> Result<v1::JoinRoomResponse, Refusal> {
        let request = v1::JoinRoomRequest {
            request_id: request_id(),
            room_id: room.to_owned(),
        };
        answer(self.rooms().join_room(self.request(request))).await
    }

    /// Leaves a room.
    pub(crate) async fn leave(&self, room: &str) -> Result<v1::LeaveRoomResponse, Refusal> {
        let request = v1::LeaveRoomRequest {
            request_id: request_id(),
            room_id: room.to_owned(),
        };
        answer(self.rooms().leave_room(self.request(request))).await
    }

    /// Invites somebody.
    pub(crate) async fn invite(&self, room: &str, whom: &User) -> Result<v1::InviteMemberResponse, Refusal> {
        self.invite_id(room, &whom.id).await
    }

    /// Invites whoever has an id.
    pub(crate) async fn invite_id(&self, room: &str, user_id: &str) -> Result<v1::InviteMemberResponse, Refusal> {
        let request = v1::InviteMemberRequest {
            request_id: request_id(),
            room_id: room.to_owned(),
            user_id: user_id.to_owned(),
        };
        answer(self.rooms().invite_member(self.request(request))).await
    }

    /// Removes somebody.
    pub(crate) async fn remove(&self, room: &str, whom: &User) -> Result<v1::Receipt, Refusal> {
        let request = v1::RemoveMemberRequest {
            request_id: request_id(),
            room_id: room.to_owned(),
            user_id: whom.id.clone(),
            reason: "enough".to_owned(),
        };
        let response = answer(self.rooms().remove_member(self.request(request))).await?;
        Ok(response.receipt.expect("the answer has a receipt"))
    }

    /// Gives somebody a role.
    pub(crate) async fn set_role(&self, room: &str, whom: &User, role: v1::MemberRole) -> Result<(), Refusal> {
        let request = v1::SetMemberRoleRequest {
            request_id: request_id(),
            room_id: room.to_owned(),
            user_id: whom.id.clone(),
            role: role.into(),
        };
        answer(self.rooms().set_member_role(self.request(request))).await.map(drop)
    }

    /// A page of members.
    pub(crate) async fn list_members(
        &self,
        request: v1::ListMembersRequest,
    ) -> Result<v1::ListMembersResponse, Refusal> {
        answer(self.rooms().list_members(self.request(request))).await
    }

    /// The members of a room.
    pub(crate) async fn members(&self, room: &str) -> Result<Vec<v1::Member>, Refusal> {
        let request = v1::ListMembersRequest {
            room_id: room.to_owned(),
            ..v1::ListMembersRequest::default()
        };
        Ok(self.list_members(request).await?.members)
    }

    /// Opens the direct room with somebody.
    pub(crate) async fn open_direct(&self, whom: &User) -> Result<v1::OpenDirectResponse, Refusal> {
        self.open_direct_id(&whom.id).await
    }

    /// Opens the direct room with whoever has an id.
    pub(crate) async fn open_direct_id(&self, user_id: &str) -> Result<v1::OpenDirectResponse, Refusal> {
        let request = v1::OpenDirectRequest {
            request_id: request_id(),
            user_id: user_id.to_owned(),
        };
        answer(self.rooms().open_direct(self.request(request))).await
    }

    /// The id of the direct room with somebody.
    pub(crate) async fn direct_room(&self, whom: &User) -> String {
        let response = self.open_direct(whom).await.expect("everyone may");
        room_id(&response.room.expect("the answer has the room"))
    }

    // ChatService

    /// Posts a message.
    pub(crate) async fn send(&self, room: &str, text: &str) -> Result<v1::Receipt, Refusal> {
        self.send_request(message(room, text)).await
    }

    /// Posts a reply.
    pub(crate) async fn reply(&self, room: &str, seq: i64, text: &str) -> Result<v1::Receipt, Refusal> {
        let request = v1::SendMessageRequest {
            reply_to_seq: seq,
            ..message(room, text)
        };
        self.send_request(request).await
    }

    /// Posts a message as a whole request says.
    pub(crate) async fn send_request(&self, request: v1::SendMessageRequest) -> Result<v1::Receipt, Refusal> {
        let response = answer(self.chats().send_message(self.request(request))).await?;
        Ok(response.receipt.expect("the answer has a receipt"))
    }

    /// Replaces a text.
    pub(crate) async fn edit(&self, room: &str, seq: i64, text: &str) -> Result<v1::Receipt, Refusal> {
        let request = v1::EditMessageRequest {
            request_id: request_id(),
            room_id: room.to_owned(),
            seq,
            text: text.to_owned(),
        };
        let response = answer(self.chats().edit_message(self.request(request))).await?;
        Ok(response.receipt.expect("the answer has a receipt"))
    }

    /// Deletes a message.
    pub(crate) async fn delete(&self, room: &str, seq: i64) -> Result<v1::Receipt, Refusal> {
        let request = v1::DeleteMessageRequest {
            request_id: request_id(),
            room_id: room.to_owned(),
            seq,
        };
        let response = answer(self.chats().delete_message(self.request(request))).await?;
        Ok(response.receipt.expect("the answer has a receipt"))
    }

    /// Reacts to a message.
    pub(crate) async fn react(&self, room: &str, seq: i64, emoji: &str) -> Result<v1::Receipt, Refusal> {
        let request = v1::AddReactionRequest {
            request_id: request_id(),
            room_id: room.to_owned(),
            seq,
            emoji: emoji.to_owned(),
        };
        let response = answer(self.chats().add_reaction(self.request(request))).await?;
        Ok(response.receipt.expect("the answer has a receipt"))
    }

    /// Takes back a reaction.
    pub(crate) async fn unreact(&self, room: &str, seq: i64, emoji: &str) -> Result<v1::Receipt, Refusal> {
        let request = v1::RemoveReactionRequest {
            request_id: request_id(),
            room_id: room.to_owned(),
            seq,
            emoji: emoji.to_owned(),
        };
        let response = answer(self.chats().remove_reaction(self.request(request))).await?;
        Ok(response.receipt.expect("the answer has a receipt"))
    }

    /// Marks as read; the mark now.
    pub(crate) async fn mark_read(&self, room: &str, seq: i64) -> Result<i64, Refusal> {
        let request = v1::MarkReadRequest {
            room_id: room.to_owned(),
            seq,
        };
        Ok(answer(self.chats().mark_read(self.request(request))).await?.read_seq)
    }

    /// Says that this user is typing or not.
    pub(crate) async fn set_typing(&self, room: &str, typing: bool) -> Result<(), Refusal> {
        let request = v1::SetTypingRequest {
            room_id: room.to_owned(),
            typing,
        };
        answer(self.chats().set_typing(self.request(request))).await.map(drop)
    }

    /// Reports a message to the operator.
    pub(crate) async fn report(&self, room: &str, seq: i64, reason: &str) -> Result<v1::Receipt, Refusal> {
        let request = v1::ReportMessageRequest {
            request_id: request_id(),
            room_id: room.to_owned(),
            seq,
            reason: reason.to_owned(),
        };
        self.report_request(request).await
    }

    /// Reports a message as a whole request says.
    pub(crate) async fn report_request(&self, request: v1::ReportMessageRequest) -> Result<v1::Receipt, Refusal> {
        let response = answer(self.chats().report_message(self.request(request))).await?;
        Ok(response.receipt.expect("the answer has a receipt"))
    }

    /// A page of events.
    pub(crate) async fn list_events(&self, request: v1::ListEventsRequest) -> Result<v1::ListEventsResponse, Refusal> {
        answer(self.chats().list_events(self.request(request))).await
    }

    /// All events of a room that this user may read, after a seq, page by page.
    pub(crate) async fn events_after(&self, room: &str, seq: i64) -> Result<Vec<v1::Event>, Refusal> {
        let mut events = Vec::new();
        let mut after = seq;
        loop {
            let request = v1::ListEventsRequest {
                room_id: room.to_owned(),
                from: Some(v1::list_events_request::From::AfterSeq(after)),
                page_size: 500,
            };
            let page = self.list_events(request).await?;
            let Some(last) = page.events.last() else {
                assert!(!page.has_more, "an empty page says that there is more");
                return Ok(events);
            };
            after = last.head.as_ref().expect("an event has a head").seq;
            events.extend(page.events);
            if !page.has_more {
                return Ok(events);
            }
        }
    }

    /// A page of messages.
    pub(crate) async fn list_messages(
        &self,
        request: v1::ListMessagesRequest,
    ) -> Result<v1::ListMessagesResponse, Refusal> {
        answer(self.chats().list_messages(self.request(request))).await
    }

    /// The newest messages of a room.
    pub(crate) async fn messages(&self, room: &str) -> Result<Vec<v1::Message>, Refusal> {
        let request = v1::ListMessagesRequest {
            room_id: room.to_owned(),
            page_size: 500,
            ..v1::ListMessagesRequest::default()
        };
        Ok(self.list_messages(request).await?.messages)
    }

    /// A page of what a search finds.
    pub(crate) async fn search_page(
        &self,
        request: v1::SearchMessagesRequest,
    ) -> Result<v1::SearchMessagesResponse, Refusal> {
        answer(self.chats().search_messages(self.request(request))).await
    }

    /// What a search finds.
    pub(crate) async fn search(&self, query: &str) -> Result<Vec<v1::Message>, Refusal> {
        let request = v1::SearchMessagesRequest {
            query: query.to_owned(),
            ..v1::SearchMessagesRequest::default()
        };
        Ok(self.search_page(request).await?.messages)
    }

    /// Opens `Chat` with a hello, and gives the stream before its first frame.
    pub(crate) async fn chat(&self, hello: v1::Hello) -> Result<Stream, Refusal> {
        self.chat_with(v1::chat_request::Action::Hello(hello)).await
    }

    /// Opens `Chat` with whatever first frame.
    pub(crate) async fn chat_with(&self, first: v1::chat_request::Action) -> Result<Stream, Refusal> {
        let (sender, receiver) = tokio::sync::mpsc::channel(1024);
        let first = v1::ChatRequest { action: Some(first) };
        sender.send(first).await.expect("the receiver is here");
        let outgoing = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let responses = answer(self.chats().chat(self.request(outgoing))).await?;
        Ok(Stream::chat(sender, responses))
    }

    /// Opens `Subscribe`, and gives the stream before its first frame.
    pub(crate) async fn subscribe(&self, hello: v1::Hello) -> Result<Stream, Refusal> {
        let request = v1::SubscribeRequest { hello: Some(hello) };
        Ok(Stream::subscription(
            answer(self.chats().subscribe(self.request(request))).await?,
        ))
    }

    /// Opens `Chat` for what happens from now on, and reads up to `CaughtUp`.
    pub(crate) async fn live(&self) -> Stream {
        let mut stream = self.chat(v1::Hello::default()).await.expect("a login may open a stream");
        stream.started().await;
        stream.caught_up().await;
        stream
    }

    /// Opens `Chat` from the first event of every room, and reads up to `CaughtUp`: the stream and what was replayed.
    pub(crate) async fn replayed(&self) -> (Stream, Vec<v1::Event>) {
        let hello = v1::Hello {
            other_rooms_after_seq: Some(0),
            ..v1::Hello::default()
        };
        let mut stream = self.chat(hello).await.expect("a login may open a stream");
        stream.started().await;
        let events = stream.caught_up().await;
        (stream, events)
    }
}

/// A message to post.
pub(crate) fn message(room: &str, text: &str) -> v1::SendMessageRequest {
    v1::SendMessageRequest {
        request_id: request_id(),
        room_id: room.to_owned(),
        text: text.to_owned(),
        reply_to_seq: 0,
    }
}

/// The id of a room's state.
pub(crate) fn room_id(state: &v1::RoomState) -> String {
    state.room.as_ref().expect("a state has its room").id.clone()
}

/// A change of one field of a room.
fn update(room: &str, field: &str, value: &str) -> v1::UpdateRoomRequest {
    v1::UpdateRoomRequest {
        request_id: request_id(),
        room: Some(v1::Room {
            id: room.to_owned(),
            name: value.to_owned(),
            topic: value.to_owned(),
            ..v1::Room::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec![field.to_owned()],
        }),
    }
}
