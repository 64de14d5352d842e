//! Rooms as people name them.

use greffe::api::RoomState;
use greffe::{Client, Code};

use super::context::user_name;
use crate::error::CommandError;

/// The name of the room that everyone is in.
pub(crate) const GENERAL: &str = "general";

/// Finds `@USER`, or the room of this name or id.
pub(crate) async fn find(client: &Client, typed: &str) -> Result<RoomState, CommandError> {
    if typed.starts_with('@') {
        return direct(client, typed).await;
    }
    // Names cannot start with `#`, but people write rooms so.
    let name = typed.strip_prefix('#').unwrap_or(typed);
    if name.is_empty() {
        return Err(CommandError::Usage(
            "a room's name or id is needed; `greffe rooms` lists yours".to_owned(),
        ));
    }
    if name.eq_ignore_ascii_case(GENERAL) {
        let general = client.server_info().await?.general_room_id.clone();
        return Ok(client.room_by_id(&general).await?);
    }
    match client.room_by_name(name).await {
        Ok(room) => Ok(room),
        Err(by_name) if by_name.code == Code::NotFound => client.room_by_id(name).await.map_err(|by_id| {
            // An id that makes no sense says less than a name that is not there.
            if by_id.code == Code::InvalidArgument {
                by_name.into()
            } else {
                by_id.into()
            }
        }),
        Err(error) => Err(error.into()),
    }
}

/// Finds or makes the direct room with a user.
pub(crate) async fn direct(client: &Client, user: &str) -> Result<RoomState, CommandError> {
    let user = client.user_by_name(&user_name(user)).await?;
    Ok(client.open_direct(&user.id).await?)
}

/// The id of a room.
pub(crate) fn room_id(state: &RoomState) -> &str {
    state.room.as_ref().map_or("", |room| room.id.as_str())
}
