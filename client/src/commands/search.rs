//! `greffe search`

use std::collections::HashMap;

use clap::Args;
use greffe::{Client, Error};

use super::context::Context;
use super::render::{Names, message_object};
use super::target;
use crate::error::CommandError;
use crate::text::visible;
use crate::time;

/// Find messages
///
/// A message is found if its current text has all the words; a word also finds longer ones that begin with it.
#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// The words
    #[arg(value_name = "WORD", required = true)]
    words: Vec<String>,
    /// Look only in this room: its name or id, or @USER
    #[arg(long, value_name = "ROOM|@USER")]
    room: Option<String>,
    /// Show at most this many
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
}

/// Finds messages, newest first.
pub(crate) async fn run(args: SearchArgs, context: &Context) -> Result<(), CommandError> {
    let client = context.client().await?;
    let room_id = match &args.room {
        Some(room) => target::room_id(&target::find(&client, room).await?).to_owned(),
        None => String::new(),
    };
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX).max(1);
    let found = client.search(&args.words.join(" "), &room_id, limit).await?;
    let mut names = Names::new(&client).await?;
    let mut labels = HashMap::new();
    for message in found {
        let label = if let Some(label) = labels.get(&message.room_id) {
            String::clone(label)
        } else {
            let label = room_label(&client, &mut names, &message.room_id).await?;
            labels.insert(message.room_id.clone(), label.clone());
            label
        };
        if context.ui.is_json() {
            context.ui.object(&message_object(&mut names, &label, &message).await?)?;
        } else {
            let author = names.author(&message.author_id).await?.marked();
            let time = time::day_and_time(message.posted_at.as_ref());
            context.ui.line(&format!(
                "{time} {} #{} {author}: {}",
                visible(&label),
                message.seq,
                visible(&message.text)
            ))?;
        }
    }
    Ok(())
}

async fn room_label(client: &Client, names: &mut Names, room_id: &str) -> Result<String, Error> {
    match client.room_by_id(room_id).await?.room {
        Some(room) => names.room(&room).await,
        None => Ok(room_id.to_owned()),
    }
}
