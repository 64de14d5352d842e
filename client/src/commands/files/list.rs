//! `greffe files ls`

use clap::Args;
use greffe::FileQuery;
use greffe::api::{FileFilter, FileOrder};

use super::{file_object, room_labels};
use crate::commands::context::Context;
use crate::commands::render::Names;
use crate::commands::target;
use crate::error::CommandError;
use crate::progress::amount;
use crate::time;

/// List files
///
/// All that you may fetch, newest first.
#[derive(Debug, Default, Args)]
pub(crate) struct LsArgs {
    /// Only those shared in this room
    #[arg(long, value_name = "ROOM|@USER", conflicts_with = "mine")]
    room: Option<String>,
    /// Only those that you sent
    #[arg(long)]
    mine: bool,
    /// List the largest first
    #[arg(long)]
    largest: bool,
}

/// Lists files.
pub(crate) async fn run(args: &LsArgs, context: &Context) -> Result<(), CommandError> {
    let client = context.client().await?;
    let mut query = FileQuery::default();
    if args.mine {
        query.filter = FileFilter::Mine;
    }
    if args.largest {
        query.order = FileOrder::Size;
    }
    if let Some(room) = &args.room {
        query.filter = FileFilter::Room;
        target::room_id(&target::find(&client, room).await?).clone_into(&mut query.room_id);
    }
    let files = client.files(&query).await?;
    let mut names = Names::new(&client).await?;
    let labels = room_labels(&client, &mut names).await?;
    let mut rows = Vec::new();
    for file in files {
        let room_id = if args.room.is_some() {
            Some(&query.room_id)
        } else {
            file.shares.first().map(|share| &share.room_id)
        };
        let room = room_id.map(|id| labels.get(id).unwrap_or(id).as_str());
        let author = names.user(&file.owner_id).await?;
        if context.ui.is_json() {
            context.ui.object(&file_object(&file, room, &author))?;
            continue;
        }
        let more = match file.shares.len() {
            0 | 1 => String::new(),
            shares => format!(" and {} more", shares - 1),
        };
        rows.push(vec![
            file.id,
            file.name,
            amount(u64::try_from(file.size).unwrap_or_default()),
            format!("{}{more}", room.unwrap_or("-")),
            author,
            time::day_and_time(file.created_at.as_ref()),
            if file.quarantined { "withheld" } else { "" }.to_owned(),
        ]);
    }
    context
        .ui
        .table(&["ID", "NAME", "SIZE", "ROOM", "FROM", "SINCE", "STATE"], rows)
}
