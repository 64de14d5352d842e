//! `RoomAdminService`.

use greffe_api::admin::v1::{AdminRoom, ArchiveRoomRequest, ArchiveRoomResponse, ListRoomsRequest, ListRoomsResponse};
use greffe_api::server::admin::v1::room_admin_service_server::RoomAdminService;
use greffe_api::v1::RoomKind;
use tonic::{Request, Response, Status};

use super::AdminServices;
use crate::domain::error::Error;
use crate::domain::ids::RoomId;
use crate::domain::operator::Act;
use crate::domain::state::Room;
use crate::grpc::paging::Tokens;
use crate::grpc::{App, convert};

/// A room without what is said in it: the topic of one that is not public is for its members.
fn outline(mut room: greffe_api::v1::Room) -> greffe_api::v1::Room {
    if matches!(room.kind(), RoomKind::Private | RoomKind::Direct) {
        room.topic.clear();
    }
    room
}

impl App {
    fn admin_rooms(&self, request: &Request<ListRoomsRequest>) -> Result<ListRoomsResponse, Error> {
        let who = self.looks(request)?;
        let request = request.get_ref();
        let size = self.page_size(request.page_size)?;
        let kind = request.kind();
        let (kind_text, active) = (request.kind.to_string(), request.active_only.to_string());
        let tokens = Tokens::new(
            &self.identity.journal_id,
            who.name(),
            "admin rooms",
            &[&kind_text, &active],
        );
        let after = tokens.read_number(&request.page_token)?.unwrap_or(i64::MIN);
        let (rooms, next) = self.view().read(|state| {
            let wanted = |room: &&Room| {
                room.no > after
                    && (kind == RoomKind::Unspecified || room.kind == kind)
                    && (!request.active_only || room.archived.is_none())
            };
            let mut found: Vec<&Room> = state.rooms().filter(wanted).collect();
            found.sort_unstable_by_key(|room| room.no);
            let more = found.len() > size;
            found.truncate(size);
            let next = found.last().filter(|_| more).map(|last| last.no);
            let name = |user| state.user(user).map(|user| user.name.clone()).unwrap_or_default();
            let rooms = found.into_iter().map(|room| AdminRoom {
                room: Some(outline(convert::room(state, room))),
                head_seq: room.head_seq,
                direct_user_names: room.direct.map(|(a, b)| vec![name(a), name(b)]).unwrap_or_default(),
            });
            (rooms.collect(), next)
        });
        Ok(ListRoomsResponse {
            rooms,
            next_page_token: next.map(|next| tokens.write(&next.to_string())).unwrap_or_default(),
        })
    }

    /// A room by its id, or a public one by its name.
    pub(super) fn room_called(&self, id_or_name: &str) -> Result<RoomId, Error> {
        let by_id = id_or_name.parse().ok();
        self.view().read(|state| {
            let found = by_id
                .and_then(|id| state.room(id))
                .or_else(|| state.public_room_named(id_or_name));
            found.map(|room| room.id).ok_or(Error::RoomNotFound)
        })
    }

    async fn admin_archive(&self, request: Request<ArchiveRoomRequest>) -> Result<ArchiveRoomResponse, Error> {
        let who = self.who(&request)?;
        let ArchiveRoomRequest {
            request_id,
            reason,
            room,
        } = request.into_inner();
        let found = self.room_called(&room);
        let asked = who
            .calls("greffe.admin.v1.RoomAdminService/ArchiveRoom", request_id, reason)
            .with("room", room);
        let acted = self.act(asked, found.map(|room| Act::ArchiveRoom { room })).await?;
        Ok(ArchiveRoomResponse {
            receipt: Some(convert::receipt(self, &acted.receipt)),
        })
    }
}

#[tonic::async_trait]
impl RoomAdminService for AdminServices {
    async fn list_rooms(&self, request: Request<ListRoomsRequest>) -> Result<Response<ListRoomsResponse>, Status> {
        Ok(Response::new(self.admin_rooms(&request)?))
    }

    async fn archive_room(
        &self,
        request: Request<ArchiveRoomRequest>,
    ) -> Result<Response<ArchiveRoomResponse>, Status> {
        Ok(Response::new(self.admin_archive(request).await?))
    }
}
