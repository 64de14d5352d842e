//! `greffe report`

use clap::Args;
use serde_json::json;

use super::context::Context;
use super::target;
use crate::error::CommandError;
use crate::time;

/// Report a message to whoever runs the server
///
/// The operator can then read the message as it is now. The room is not told.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The room's name or id, or @USER
    #[arg(value_name = "ROOM|@USER")]
    room: String,
    /// The message's seq
    #[arg(value_name = "SEQ", value_parser = clap::value_parser!(i64).range(1..))]
    seq: i64,
    /// Say why, in up to 256 characters
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Reports a message.
pub(crate) async fn run(args: ReportArgs, context: &Context) -> Result<(), CommandError> {
    let client = context.client().await?;
    let room = target::find(&client, &args.room).await?;
    let room_id = target::room_id(&room);
    let receipt = client.report_message(room_id, args.seq, &args.reason).await?;
    if context.ui.is_json() {
        // The row is in no room, because the room is not told.
        return context.ui.object(&json!({
            "room": args.room,
            "room_id": room_id,
            "target_seq": args.seq,
            "index": receipt.index,
            "time": time::json(receipt.time.as_ref()),
        }));
    }
    context.ui.note(&format!("reported #{} to the operator", args.seq));
    Ok(())
}
