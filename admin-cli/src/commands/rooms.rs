//! `greffe-admin rooms`

use clap::{Args, Subcommand, ValueEnum};
use greffe::admin_api::{AdminRoom, ArchiveRoomRequest, ListRoomsRequest};
use greffe::api::RoomKind;
use greffe::terminal::error::CommandError;
use greffe::terminal::text::visible;
use greffe::terminal::time;
use greffe::{Error, Operator};
use serde_json::{Value, json};

use super::PAGE;
use crate::cli::ReasonArgs;
use crate::context::Context;
use crate::output::{count, done, kind_name};

/// List rooms, or archive one
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RoomsArgs {
    #[command(subcommand)]
    command: Option<RoomsCommand>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum RoomsCommand {
    /// List all rooms, oldest first
    List(ListArgs),
    /// Close a room for good: its members can read it, nobody can write
    Archive {
        /// A public room's name, or a room's id
        #[arg(value_name = "ROOM")]
        room: String,
        #[command(flatten)]
        reason: ReasonArgs,
    },
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Only rooms of this kind
    #[arg(long, value_name = "KIND")]
    kind: Option<Kind>,
    /// Only rooms that are not archived
    #[arg(long)]
    active: bool,
}

/// A kind of room, as an argument.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    General,
    Public,
    Private,
    Direct,
}

impl From<Kind> for RoomKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::General => Self::General,
            Kind::Public => Self::Public,
            Kind::Private => Self::Private,
            Kind::Direct => Self::Direct,
        }
    }
}

/// Lists rooms, or archives one.
pub(crate) async fn run(args: RoomsArgs, context: &Context) -> Result<(), CommandError> {
    match args.command {
        None => list(&args.list, context).await,
        Some(RoomsCommand::List(args)) => list(&args, context).await,
        Some(RoomsCommand::Archive { room, reason }) => archive(room, &reason, context).await,
    }
}

async fn all(operator: &Operator, kind: RoomKind, active_only: bool) -> Result<Vec<AdminRoom>, Error> {
    let request = |page_token| ListRoomsRequest {
        page_size: PAGE,
        page_token,
        kind: kind.into(),
        active_only,
    };
    operator.all_pages(request, |page| (page.rooms, page.next_page_token)).await
}

async fn list(args: &ListArgs, context: &Context) -> Result<(), CommandError> {
    let kind = args.kind.map_or(RoomKind::Unspecified, RoomKind::from);
    let rooms = all(context.operator().await?, kind, args.active).await?;
    if context.ui.is_json() {
        return rooms.iter().try_for_each(|room| context.ui.object(&object(room)));
    }
    let rows = rooms.into_iter().map(|state| {
        let name = name(&state);
        let room = state.room.unwrap_or_default();
        let archived = if room.archived_at.is_some() { "archived" } else { "" };
        vec![
            name,
            kind_name(room.kind()).to_owned(),
            archived.to_owned(),
            room.member_count.to_string(),
            state.head_seq.to_string(),
            time::day_and_time(room.created_at.as_ref()),
            room.id,
            room.topic,
        ]
    });
    context.ui.table(
        &["ROOM", "KIND", "STATE", "MEMBERS", "EVENTS", "MADE", "ID", "TOPIC"],
        rows.collect(),
    )
}

/// What a room is called: direct ones by their two people.
fn name(state: &AdminRoom) -> String {
    match &state.room {
        Some(room) if room.kind() == RoomKind::Direct => state
            .direct_user_names
            .iter()
            .map(|name| format!("@{name}"))
            .collect::<Vec<_>>()
            .join(" "),
        Some(room) => room.name.clone(),
        None => String::new(),
    }
}

async fn archive(room: String, reason: &ReasonArgs, context: &Context) -> Result<(), CommandError> {
    let reason = context.reason(reason)?;
    let asks = context.asks()?;
    let operator = context.operator().await?;
    if asks {
        let rooms = all(operator, RoomKind::Unspecified, false).await?;
        let found = rooms.iter().find(|state| {
            let named = |found: &greffe::api::Room| {
                found.id == room
                    || (found.kind() == RoomKind::Public && found.name.to_lowercase() == room.to_lowercase())
            };
            state.room.as_ref().is_some_and(named)
        });
        let touched = match found.and_then(|state| Some((state, state.room.as_ref()?))) {
            Some((state, found)) => format!(
                "{} ({}, {}, {})",
                visible(&name(state)),
                kind_name(found.kind()),
                count(i64::from(found.member_count), "member"),
                count(state.head_seq, "event")
            ),
            None => room.clone(),
        };
        context.confirm(&touched, "Close it for good?")?;
    }
    let request = ArchiveRoomRequest {
        reason,
        room: room.clone(),
        ..Default::default()
    };
    let answer = operator.call(request).await?;
    done(
        context,
        answer.receipt.as_ref(),
        &format!("archived {}", visible(&room)),
        json!({"room": room}),
    )
}

/// A room for programs.
fn object(state: &AdminRoom) -> Value {
    let room = state.room.clone().unwrap_or_default();
    json!({
        "room_id": room.id,
        "kind": kind_name(room.kind()),
        "name": room.name,
        "topic": room.topic,
        "direct_users": state.direct_user_names,
        "members": room.member_count,
        "head_seq": state.head_seq,
        "created_at": time::json(room.created_at.as_ref()),
        "archived_at": time::json(room.archived_at.as_ref()),
    })
}
