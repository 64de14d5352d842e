//! Rooms and who is in them.

use greffe_api::v1::{
    ArchiveRoomRequest, CreateRoomRequest, GetRoomRequest, HistoryVisibility, InviteMemberRequest, JoinRoomRequest,
    LeaveRoomRequest, ListMembersRequest, ListRoomsRequest, Member, MemberRole, OpenDirectRequest, Receipt,
    RemoveMemberRequest, Room, RoomFilter, RoomKind, RoomState, SetMemberRoleRequest, UpdateRoomRequest,
    get_room_request::By,
};
use prost_types::FieldMask;

use super::client::Client;
use super::error::Error;

/// A room to create.
#[derive(Clone, Debug, Default)]
pub struct NewRoom {
    /// The name: 1 to 64 characters.
    pub name: String,
    /// What it is about; may be empty.
    pub topic: String,
    /// By invitation, and invisible to others, instead of open to everyone.
    pub private: bool,
    /// What people who join later can read. Unspecified: everything in public rooms, from their joining on in private ones.
    pub history: HistoryVisibility,
}

fn receipt(receipt: Option<Receipt>) -> Result<Receipt, Error> {
    receipt.ok_or_else(|| Error::malformed("the receipt"))
}

fn state(state: Option<RoomState>) -> Result<RoomState, Error> {
    state.ok_or_else(|| Error::malformed("the room"))
}

impl Client {
    /// Creates a room, with the caller as its owner.
    pub async fn create_room(&self, room: NewRoom) -> Result<(RoomState, Receipt), Error> {
        let kind = if room.private {
            RoomKind::Private
        } else {
            RoomKind::Public
        };
        let request = CreateRoomRequest {
            kind: kind.into(),
            name: room.name,
            topic: room.topic,
            history: room.history.into(),
            ..Default::default()
        };
        let response = self.call(request).await?;
        Ok((state(response.room)?, receipt(response.receipt)?))
    }

    /// The room with this id.
    pub async fn room_by_id(&self, room_id: &str) -> Result<RoomState, Error> {
        state(
            self.call(GetRoomRequest {
                by: Some(By::RoomId(room_id.to_owned())),
            })
            .await?
            .room,
        )
    }

    /// The room with this name: one of the caller's first, then a public one.
    pub async fn room_by_name(&self, name: &str) -> Result<RoomState, Error> {
        state(
            self.call(GetRoomRequest {
                by: Some(By::RoomName(name.to_owned())),
            })
            .await?
            .room,
        )
    }

    /// The caller's rooms, invitations and direct rooms included, oldest first.
    pub async fn my_rooms(&self, include_archived: bool) -> Result<Vec<RoomState>, Error> {
        self.list_rooms(RoomFilter::Mine, include_archived).await
    }

    /// `general` and all public rooms, oldest first.
    pub async fn public_rooms(&self, include_archived: bool) -> Result<Vec<RoomState>, Error> {
        self.list_rooms(RoomFilter::Public, include_archived).await
    }

    async fn list_rooms(&self, filter: RoomFilter, include_archived: bool) -> Result<Vec<RoomState>, Error> {
        let request = |page_token| ListRoomsRequest {
            page_size: 0,
            page_token,
            filter: filter.into(),
            include_archived,
        };
        self.all_pages(request, |page| (page.rooms, page.next_page_token)).await
    }

    /// Renames a room.
    pub async fn rename_room(&self, room_id: &str, name: &str) -> Result<Receipt, Error> {
        self.update_room(
            Room {
                id: room_id.to_owned(),
                name: name.to_owned(),
                ..Default::default()
            },
            "name",
        )
        .await
    }

    /// Changes a room's topic; empty removes it.
    pub async fn set_topic(&self, room_id: &str, topic: &str) -> Result<Receipt, Error> {
        self.update_room(
            Room {
                id: room_id.to_owned(),
                topic: topic.to_owned(),
                ..Default::default()
            },
            "topic",
        )
        .await
    }

    async fn update_room(&self, room: Room, field: &str) -> Result<Receipt, Error> {
        let request = UpdateRoomRequest {
            room: Some(room),
            update_mask: Some(FieldMask {
                paths: vec![field.to_owned()],
            }),
            ..Default::default()
        };
        receipt(self.call(request).await?.receipt)
    }

    /// Closes a room for good.
    pub async fn archive_room(&self, room_id: &str, reason: &str) -> Result<Receipt, Error> {
        let request = ArchiveRoomRequest {
            room_id: room_id.to_owned(),
            reason: reason.to_owned(),
            ..Default::default()
        };
        receipt(self.call(request).await?.receipt)
    }

    /// Joins a public room, or accepts an invitation. The room is absent if the caller may already no longer see it.
    pub async fn join_room(&self, room_id: &str) -> Result<(Option<RoomState>, Receipt), Error> {
        let response = self
            .call(JoinRoomRequest {
                room_id: room_id.to_owned(),
                ..Default::default()
            })
            .await?;
        Ok((response.room, receipt(response.receipt)?))
    }

    /// Leaves a room, or declines an invitation.
    pub async fn leave_room(&self, room_id: &str) -> Result<Receipt, Error> {
        receipt(
            self.call(LeaveRoomRequest {
                room_id: room_id.to_owned(),
                ..Default::default()
            })
            .await?
            .receipt,
        )
    }

    /// Invites a user.
    pub async fn invite_member(&self, room_id: &str, user_id: &str) -> Result<Receipt, Error> {
        let request = InviteMemberRequest {
            room_id: room_id.to_owned(),
            user_id: user_id.to_owned(),
            ..Default::default()
        };
        receipt(self.call(request).await?.receipt)
    }

    /// Removes a member, or takes back an invitation.
    pub async fn remove_member(&self, room_id: &str, user_id: &str, reason: &str) -> Result<Receipt, Error> {
        let request = RemoveMemberRequest {
            room_id: room_id.to_owned(),
            user_id: user_id.to_owned(),
            reason: reason.to_owned(),
            ..Default::default()
        };
        receipt(self.call(request).await?.receipt)
    }

    /// Gives a member another role.
    pub async fn set_member_role(&self, room_id: &str, user_id: &str, role: MemberRole) -> Result<Receipt, Error> {
        let request = SetMemberRoleRequest {
            room_id: room_id.to_owned(),
            user_id: user_id.to_owned(),
            role: role.into(),
            ..Default::default()
        };
        receipt(self.call(request).await?.receipt)
    }

    /// Lists a room's members by name; invited people at the end.
    pub async fn members(&self, room_id: &str) -> Result<Vec<Member>, Error> {
        let request = |page_token| ListMembersRequest {
            room_id: room_id.to_owned(),
            page_size: 0,
            page_token,
        };
        self.all_pages(request, |page| (page.members, page.next_page_token)).await
    }

    /// Finds or makes the direct room with one other user.
    pub async fn open_direct(&self, user_id: &str) -> Result<RoomState, Error> {
        state(
            self.call(OpenDirectRequest {
                user_id: user_id.to_owned(),
                ..Default::default()
            })
            .await?
            .room,
        )
    }
}
