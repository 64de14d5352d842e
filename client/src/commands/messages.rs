//! `greffe edit`, `greffe delete` and `greffe react`

use clap::Args;
use greffe::api::Receipt;
use serde_json::Value;

use super::context::Context;
use super::render::receipt_object;
use super::stdin::whole;
use super::target;
use crate::error::CommandError;

/// Replace the text of a message of yours
#[derive(Debug, Args)]
pub(crate) struct EditArgs {
    /// The room's name or id, or @USER
    #[arg(value_name = "ROOM|@USER")]
    room: String,
    /// The message's seq
    #[arg(value_name = "SEQ")]
    seq: i64,
    /// The new text; `-` reads it from standard input
    #[arg(value_name = "TEXT")]
    text: String,
}

/// Delete a message
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The room's name or id, or @USER
    #[arg(value_name = "ROOM|@USER")]
    room: String,
    /// The message's seq
    #[arg(value_name = "SEQ")]
    seq: i64,
}

/// React to a message
#[derive(Debug, Args)]
pub(crate) struct ReactArgs {
    /// The room's name or id, or @USER
    #[arg(value_name = "ROOM|@USER")]
    room: String,
    /// The message's seq
    #[arg(value_name = "SEQ")]
    seq: i64,
    /// One emoji or a short word
    #[arg(value_name = "EMOJI")]
    emoji: String,
    /// Take the reaction back
    #[arg(long)]
    remove: bool,
}

/// Replaces a text.
pub(crate) async fn edit(args: EditArgs, context: &Context) -> Result<(), CommandError> {
    let client = context.client().await?;
    let room = target::find(&client, &args.room).await?;
    let text = if args.text == "-" { whole().await? } else { args.text };
    let receipt = client.edit_message(target::room_id(&room), args.seq, &text).await?;
    report(context, &args.room, &receipt, &format!("edited #{}", args.seq))
}

/// Deletes a message.
pub(crate) async fn delete(args: DeleteArgs, context: &Context) -> Result<(), CommandError> {
    let client = context.client().await?;
    let room = target::find(&client, &args.room).await?;
    let receipt = client.delete_message(target::room_id(&room), args.seq).await?;
    report(context, &args.room, &receipt, &format!("deleted #{}", args.seq))
}

/// Adds or removes a reaction.
pub(crate) async fn react(args: ReactArgs, context: &Context) -> Result<(), CommandError> {
    let client = context.client().await?;
    let room = target::find(&client, &args.room).await?;
    let room_id = target::room_id(&room);
    let (receipt, done) = if args.remove {
        (
            client.remove_reaction(room_id, args.seq, &args.emoji).await?,
            "took back",
        )
    } else {
        (client.add_reaction(room_id, args.seq, &args.emoji).await?, "reacted")
    };
    report(
        context,
        &args.room,
        &receipt,
        &format!("{done} {} #{}", args.emoji, args.seq),
    )
}

/// Prints the receipt for programs, and words for people.
pub(crate) fn report(context: &Context, room: &str, receipt: &Receipt, words: &str) -> Result<(), CommandError> {
    if context.ui.is_json() {
        let mut object = receipt_object(room, receipt, "");
        // The SDK made the id; only sends, which are worth repeating by hand, show it.
        if let Some(object) = object.as_object_mut() {
            object.retain(|_, value| *value != Value::Null);
        }
        return context.ui.object(&object);
    }
    context.ui.note(words);
    Ok(())
}
