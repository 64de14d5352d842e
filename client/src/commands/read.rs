//! `greffe read`

use clap::Args;
use serde_json::json;

use super::context::Context;
use super::target;
use crate::error::CommandError;

/// Mark a room as read
#[derive(Debug, Args)]
pub(crate) struct ReadArgs {
    /// The room's name or id, or @USER
    #[arg(value_name = "ROOM|@USER")]
    room: String,
    /// Mark up to this seq instead of the newest
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(i64).range(1..))]
    seq: Option<i64>,
}

/// Marks a room as read.
pub(crate) async fn run(args: ReadArgs, context: &Context) -> Result<(), CommandError> {
    let client = context.client().await?;
    let room = target::find(&client, &args.room).await?;
    let seq = client
        .mark_read(target::room_id(&room), args.seq.unwrap_or(room.head_seq))
        .await?;
    if context.ui.is_json() {
        return context
            .ui
            .object(&json!({"room": args.room, "room_id": target::room_id(&room), "read_seq": seq}));
    }
    context.ui.note(&format!("read up to #{seq}"));
    Ok(())
}
