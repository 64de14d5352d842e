//! `RoomService`.

use greffe_api::server::v1::room_service_server::RoomService;
use greffe_api::v1::get_room_request::By;
use greffe_api::v1::{
    ArchiveRoomRequest, ArchiveRoomResponse, CreateRoomRequest, CreateRoomResponse, GetRoomRequest, GetRoomResponse,
    InviteMemberRequest, InviteMemberResponse, JoinRoomRequest, JoinRoomResponse, LeaveRoomRequest, LeaveRoomResponse,
    ListMembersRequest, ListMembersResponse, ListRoomsRequest, ListRoomsResponse, OpenDirectRequest,
    OpenDirectResponse, Receipt, RemoveMemberRequest, RemoveMemberResponse, RoomFilter, RoomKind, RoomState,
    SetMemberRoleRequest, SetMemberRoleResponse, UpdateRoomRequest, UpdateRoomResponse,
};
use tonic::{Request, Response, Status};

use super::auth::caller;
use super::paging::Tokens;
use super::{App, Services, convert};
use crate::domain::caller::Caller;
use crate::domain::command::{Change, Command};
use crate::domain::error::Error;
use crate::domain::ids::{RoomId, UserId};
use crate::domain::permissions;
use crate::domain::state::State;
use crate::domain::text::{Line, RoomName, room_name_key};

impl App {
    /// Rooms as `user` sees them, with what they have not read. Rooms that they may not see are left out.
    pub(super) async fn room_states(&self, user: UserId, rooms: &[RoomId]) -> Result<Vec<RoomState>, Error> {
        let (user_no, mut found) = self.view().read(|state| {
            let user_no = state.user(user).map_or(-1, |user| user.no);
            let found = rooms.iter().filter_map(|id| permissions::visible(state, user, *id).ok());
            let found = found.map(|(room, place)| (convert::room_state(state, room, place), room.no));
            (user_no, found.collect::<Vec<_>>())
        });
        let is_member = |room: &RoomState| room.first_seq > 0;
        let asked: Vec<(i64, i64)> = found
            .iter()
            .filter(|(room, _)| is_member(room))
            .map(|(room, no)| (*no, room.first_seq))
            .collect();
        let mut unread = self.reader.unread(user_no, asked).await?.into_iter();
        for (room, _) in found.iter_mut().filter(|(room, _)| is_member(room)) {
            if let Some(unread) = unread.next() {
                convert::set_unread(room, unread);
            }
        }
        Ok(found.into_iter().map(|(room, _)| room).collect())
    }

    async fn room_state(&self, user: UserId, room: RoomId) -> Result<Option<RoomState>, Error> {
        Ok(self.room_states(user, &[room]).await?.pop())
    }

    /// Has a change stored, and tells its receipt and the room as it is then.
    async fn change_room(
        &self,
        caller: Caller,
        request_id: &str,
        change: Change,
    ) -> Result<(Option<RoomState>, Option<Receipt>), Error> {
        let request = convert::request_id(request_id)?;
        let receipt = convert::stored(
            self.journal
                .append(Command::Change {
                    caller,
                    request,
                    change,
                })
                .await?,
        )?;
        let room = match receipt.room {
            Some(room) => self.room_state(caller.user, room).await?,
            None => None,
        };
        Ok((room, Some(convert::receipt(self, &receipt))))
    }

    async fn get_room(&self, request: Request<GetRoomRequest>) -> Result<GetRoomResponse, Error> {
        let caller = caller(self, &request)?;
        let id = match request.into_inner().by {
            Some(By::RoomId(id)) => convert::room_id(&id)?,
            Some(By::RoomName(name)) => self
                .view()
                .read(|state| room_named(state, caller.user, &name))
                .ok_or(Error::RoomNotFound)?,
            None => return Err(Error::invalid("by", "give room_id or room_name")),
        };
        let room = self.room_state(caller.user, id).await?.ok_or(Error::RoomNotFound)?;
        Ok(GetRoomResponse { room: Some(room) })
    }

    async fn list_rooms(&self, request: Request<ListRoomsRequest>) -> Result<ListRoomsResponse, Error> {
        let caller = caller(self, &request)?;
        let request = request.into_inner();
        let size = self.page_size(request.page_size)?;
        let public = request.filter() == RoomFilter::Public;
        let archived = request.include_archived;
        let tokens = Tokens::new(
            &self.identity.journal_id,
            caller.user,
            "rooms",
            &[&public.to_string(), &archived.to_string()],
        );
        let after = tokens.read_number(&request.page_token)?.unwrap_or(i64::MIN);
        let mut found: Vec<(i64, RoomId)> = self.view().read(|state| {
            let listed = |room: &&crate::domain::state::Room| room.no > after && (archived || room.archived.is_none());
            if public {
                let is_public =
                    |room: &&crate::domain::state::Room| matches!(room.kind, RoomKind::Public | RoomKind::General);
                state
                    .rooms()
                    .filter(is_public)
                    .filter(listed)
                    .map(|room| (room.no, room.id))
                    .collect()
            } else {
                state
                    .rooms_of(caller.user)
                    .map(|(room, _)| room)
                    .filter(listed)
                    .map(|room| (room.no, room.id))
                    .collect()
            }
        });
        found.sort_unstable();
        let (found, next_page_token) = tokens.page(found, size, |(no, _)| no.to_string());
        let ids: Vec<RoomId> = found.into_iter().map(|(_, id)| id).collect();
        Ok(ListRoomsResponse {
            rooms: self.room_states(caller.user, &ids).await?,
            next_page_token,
        })
    }

    fn list_members(&self, request: &Request<ListMembersRequest>) -> Result<ListMembersResponse, Error> {
        let caller = caller(self, request)?;
        let request = request.get_ref();
        let id = convert::room_id(&request.room_id)?;
        let size = self.page_size(request.page_size)?;
        let tokens = Tokens::new(&self.identity.journal_id, caller.user, "members", &[&request.room_id]);
        let after = tokens.read(&request.page_token)?;
        self.view().read(|state| {
            let (room, _) = permissions::member(state, caller.user, id)?;
            if room.kind == RoomKind::General {
                let start = after.as_deref().unwrap_or_default();
                let users = state
                    .users_from(start)
                    .filter(|user| after.as_deref() != Some(user.name.as_str()));
                let people = users.filter_map(|user| Some((user.name.clone(), user, state.member(room, user.id)?)));
                return Ok(page_of_members(people, size, &tokens));
            }
            let people = room
                .members
                .iter()
                .filter(|(_, place)| place.role != crate::domain::state::Role::Removed);
            let mut people: Vec<_> = people
                .filter_map(|(user, place)| {
                    state
                        .user(*user)
                        .map(|user| (member_position(&user.name, place.role.is_in()), user, *place))
                })
                .filter(|(position, _, _)| after.as_ref().is_none_or(|after| position > after))
                .collect();
            people.sort_unstable_by(|(a, _, _), (b, _, _)| a.cmp(b));
            Ok(page_of_members(people.into_iter(), size, &tokens))
        })
    }
}

/// Where somebody stands in the list of members: by name, the invited ones after the others.
fn member_position(name: &str, is_in: bool) -> String {
    format!("{}{name}", if is_in { '0' } else { '1' })
}

fn page_of_members<'a>(
    mut people: impl Iterator<Item = (String, &'a crate::domain::state::User, crate::domain::state::Member)>,
    size: usize,
    tokens: &Tokens,
) -> ListMembersResponse {
    let page: Vec<_> = people.by_ref().take(size).collect();
    let last = page
        .last()
        .filter(|_| people.next().is_some())
        .map(|(position, _, _)| tokens.write(position));
    let members = page.into_iter().map(|(_, user, place)| convert::member(user, place)).collect();
    ListMembersResponse {
        members,
        next_page_token: last.unwrap_or_default(),
    }
}

/// The room that somebody means by a name: one of their own first, then a public one.
fn room_named(state: &State, user: UserId, name: &str) -> Option<RoomId> {
    let key = room_name_key(name);
    let of_mine =
        |room: &&crate::domain::state::Room| room.kind != RoomKind::Direct && room_name_key(&room.name) == key;
    let mine: Vec<_> = state.rooms_of(user).map(|(room, _)| room).filter(of_mine).collect();
    let in_use = mine.iter().find(|room| room.archived.is_none());
    in_use
        .map(|room| room.id)
        .or_else(|| state.public_room_named(name).map(|room| room.id))
        .or(mine.first().map(|room| room.id))
}

fn kind(kind: RoomKind) -> Result<RoomKind, Error> {
    match kind {
        RoomKind::Public | RoomKind::Private => Ok(kind),
        RoomKind::Unspecified | RoomKind::General | RoomKind::Direct => {
            Err(Error::invalid("kind", "it must be public or private"))
        }
    }
}

/// The fields of a change that `update_mask` names.
fn update(request: UpdateRoomRequest) -> Result<(String, Change), Error> {
    let paths = request.update_mask.unwrap_or_default().paths;
    let room = request.room.unwrap_or_default();
    if paths.is_empty() || paths.iter().any(|path| path != "name" && path != "topic") {
        return Err(Error::invalid(
            "update_mask",
            "it must name `name`, `topic` or both, and nothing else can be changed",
        ));
    }
    let named = |field: &str| paths.iter().any(|path| path == field);
    let change = Change::UpdateRoom {
        room: convert::room_id(&room.id)?,
        name: named("name").then(|| RoomName::parse("room.name", room.name)).transpose()?,
        topic: named("topic").then(|| Line::parse("room.topic", room.topic)).transpose()?,
    };
    Ok((request.request_id, change))
}

#[tonic::async_trait]
impl RoomService for Services {
    async fn create_room(&self, request: Request<CreateRoomRequest>) -> Result<Response<CreateRoomResponse>, Status> {
        let caller = caller(self, &request)?;
        let request = request.into_inner();
        let (kind, history) = (kind(request.kind())?, request.history());
        let (name, topic) = (
            RoomName::parse("name", request.name)?,
            Line::parse("topic", request.topic)?,
        );
        let change = Change::CreateRoom {
            kind,
            name,
            topic,
            history,
        };
        let (room, receipt) = self.change_room(caller, &request.request_id, change).await?;
        Ok(Response::new(CreateRoomResponse { room, receipt }))
    }

    async fn get_room(&self, request: Request<GetRoomRequest>) -> Result<Response<GetRoomResponse>, Status> {
        Ok(Response::new(self.0.get_room(request).await?))
    }

    async fn list_rooms(&self, request: Request<ListRoomsRequest>) -> Result<Response<ListRoomsResponse>, Status> {
        Ok(Response::new(self.0.list_rooms(request).await?))
    }

    async fn update_room(&self, request: Request<UpdateRoomRequest>) -> Result<Response<UpdateRoomResponse>, Status> {
        let caller = caller(self, &request)?;
        let (request_id, change) = update(request.into_inner())?;
        let (room, receipt) = self.change_room(caller, &request_id, change).await?;
        Ok(Response::new(UpdateRoomResponse { room, receipt }))
    }

    async fn archive_room(
        &self,
        request: Request<ArchiveRoomRequest>,
    ) -> Result<Response<ArchiveRoomResponse>, Status> {
        let caller = caller(self, &request)?;
        let ArchiveRoomRequest {
            request_id,
            room_id,
            reason,
        } = request.into_inner();
        let change = Change::ArchiveRoom {
            room: convert::room_id(&room_id)?,
            reason: Line::parse("reason", reason)?,
        };
        let (room, receipt) = self.change_room(caller, &request_id, change).await?;
        Ok(Response::new(ArchiveRoomResponse { room, receipt }))
    }

    async fn join_room(&self, request: Request<JoinRoomRequest>) -> Result<Response<JoinRoomResponse>, Status> {
        let caller = caller(self, &request)?;
        let JoinRoomRequest { request_id, room_id } = request.into_inner();
        let change = Change::Join {
            room: convert::room_id(&room_id)?,
        };
        let (room, receipt) = self.change_room(caller, &request_id, change).await?;
        Ok(Response::new(JoinRoomResponse { room, receipt }))
    }

    async fn leave_room(&self, request: Request<LeaveRoomRequest>) -> Result<Response<LeaveRoomResponse>, Status> {
        let caller = caller(self, &request)?;
        let LeaveRoomRequest { request_id, room_id } = request.into_inner();
        let change = Change::Leave {
            room: convert::room_id(&room_id)?,
        };
        let (_, receipt) = self.change_room(caller, &request_id, change).await?;
        Ok(Response::new(LeaveRoomResponse { receipt }))
    }

    async fn invite_member(
        &self,
        request: Request<InviteMemberRequest>,
    ) -> Result<Response<InviteMemberResponse>, Status> {
        let caller = caller(self, &request)?;
        let InviteMemberRequest {
            request_id,
            room_id,
            user_id,
        } = request.into_inner();
        let change = Change::Invite {
            room: convert::room_id(&room_id)?,
            user: convert::user_id(&user_id)?,
        };
        let (_, receipt) = self.change_room(caller, &request_id, change).await?;
        Ok(Response::new(InviteMemberResponse { receipt }))
    }

    async fn remove_member(
        &self,
        request: Request<RemoveMemberRequest>,
    ) -> Result<Response<RemoveMemberResponse>, Status> {
        let caller = caller(self, &request)?;
        let RemoveMemberRequest {
            request_id,
            room_id,
            user_id,
            reason,
        } = request.into_inner();
        let change = Change::Remove {
            room: convert::room_id(&room_id)?,
            user: convert::user_id(&user_id)?,
            reason: Line::parse("reason", reason)?,
        };
        let (_, receipt) = self.change_room(caller, &request_id, change).await?;
        Ok(Response::new(RemoveMemberResponse { receipt }))
    }

    async fn set_member_role(
        &self,
        request: Request<SetMemberRoleRequest>,
    ) -> Result<Response<SetMemberRoleResponse>, Status> {
        let caller = caller(self, &request)?;
        let request = request.into_inner();
        let change = Change::SetRole {
            room: convert::room_id(&request.room_id)?,
            user: convert::user_id(&request.user_id)?,
            role: convert::role(request.role())?,
        };
        let (_, receipt) = self.change_room(caller, &request.request_id, change).await?;
        Ok(Response::new(SetMemberRoleResponse { receipt }))
    }

    async fn list_members(
        &self,
        request: Request<ListMembersRequest>,
    ) -> Result<Response<ListMembersResponse>, Status> {
        Ok(Response::new(self.0.list_members(&request)?))
    }

    async fn open_direct(&self, request: Request<OpenDirectRequest>) -> Result<Response<OpenDirectResponse>, Status> {
        let caller = caller(self, &request)?;
        let OpenDirectRequest { request_id, user_id } = request.into_inner();
        let change = Change::OpenDirect {
            user: convert::user_id(&user_id)?,
        };
        let (room, receipt) = self.change_room(caller, &request_id, change).await?;
        Ok(Response::new(OpenDirectResponse { room, receipt }))
    }
}
