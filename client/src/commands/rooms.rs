//! `greffe rooms`

use std::io::{self, IsTerminal as _, Write as _};

use clap::{Args, Subcommand, ValueEnum};
use greffe::api::{HistoryVisibility, MemberRole, RoomState};
use greffe::{Client, NewRoom};
use serde_json::json;

use super::context::{Context, user_name};
use super::messages::report;
use super::render::{Names, kind_name, role_name, room_object};
use super::target;
use crate::error::CommandError;
use crate::text::visible;
use crate::time;

/// List rooms, and manage them
#[derive(Debug, Args)]
pub(crate) struct RoomsArgs {
    #[command(subcommand)]
    command: Option<RoomsCommand>,
}

#[derive(Debug, Subcommand)]
enum RoomsCommand {
    /// List your rooms and invitations
    List(ListArgs),
    /// Create a room
    Create(CreateArgs),
    /// Show a room
    Show(RoomArgs),
    /// Join a public room, or accept an invitation
    Join(RoomArgs),
    /// Leave a room
    Leave(RoomArgs),
    /// Decline an invitation
    Decline(RoomArgs),
    /// Invite a user
    Invite(MemberArgs),
    /// Remove a member, or take back an invitation
    Remove(RemoveArgs),
    /// Give a member another role
    Role(RoleArgs),
    /// Rename a room
    Rename(RenameArgs),
    /// Change a room's topic
    Topic(TopicArgs),
    /// Close a room for good; it can still be read
    Archive(ArchiveArgs),
    /// List a room's members
    Members(RoomArgs),
}

#[derive(Debug, Default, Args)]
struct ListArgs {
    /// List the rooms that everyone can join instead
    #[arg(long)]
    public: bool,
    /// List archived rooms too
    #[arg(long)]
    archived: bool,
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// The name: 1 to 64 characters
    #[arg(value_name = "NAME")]
    name: String,
    /// Let people in by invitation only, and hide the room from others
    #[arg(long)]
    private: bool,
    /// Say what the room is about
    #[arg(long, value_name = "TEXT", default_value = "")]
    topic: String,
    /// Choose what people who join later can read [default: from-start in public rooms, from-joining in private ones]
    #[arg(long, value_name = "WHAT")]
    history: Option<History>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum History {
    /// Everything from the first message on
    FromStart,
    /// Everything from their own joining on
    FromJoining,
}

#[derive(Debug, Args)]
struct RoomArgs {
    /// The room's name or id
    #[arg(value_name = "ROOM")]
    room: String,
}

#[derive(Debug, Args)]
struct MemberArgs {
    /// The room's name or id
    #[arg(value_name = "ROOM")]
    room: String,
    /// The user's name
    #[arg(value_name = "USER")]
    user: String,
}

#[derive(Debug, Args)]
struct RemoveArgs {
    #[command(flatten)]
    member: MemberArgs,
    /// Tell the members why
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

#[derive(Debug, Args)]
struct RoleArgs {
    #[command(flatten)]
    member: MemberArgs,
    /// The new role
    #[arg(value_name = "ROLE")]
    role: Role,
}

/// A role that can be given.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Role {
    /// Reads and writes
    Member,
    /// Also removes members, invites, deletes messages and changes the topic
    Moderator,
    /// Also gives roles, renames and archives
    Owner,
}

impl From<Role> for MemberRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Member => Self::Member,
            Role::Moderator => Self::Moderator,
            Role::Owner => Self::Owner,
        }
    }
}

#[derive(Debug, Args)]
struct RenameArgs {
    /// The room's name or id
    #[arg(value_name = "ROOM")]
    room: String,
    /// The new name
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Debug, Args)]
struct TopicArgs {
    /// The room's name or id
    #[arg(value_name = "ROOM")]
    room: String,
    /// The new topic; empty removes it
    #[arg(value_name = "TEXT")]
    topic: String,
}

#[derive(Debug, Args)]
struct ArchiveArgs {
    /// The room's name or id
    #[arg(value_name = "ROOM")]
    room: String,
    /// Tell the members why
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Lists rooms, or manages one.
pub(crate) async fn run(args: RoomsArgs, context: &Context) -> Result<(), CommandError> {
    let client = context.client().await?;
    match args.command.unwrap_or(RoomsCommand::List(ListArgs::default())) {
        RoomsCommand::List(args) => list(&client, context, &args).await,
        RoomsCommand::Create(args) => create(&client, context, args).await,
        RoomsCommand::Show(args) => show(&client, context, &args.room).await,
        RoomsCommand::Members(args) => members(&client, context, &args.room).await,
        RoomsCommand::Archive(args) => archive(&client, context, args).await,
        RoomsCommand::Join(RoomArgs { room }) => {
            let id = find(&client, &room).await?;
            report(
                context,
                &room,
                &client.join_room(&id).await?.1,
                &format!("joined {room}"),
            )
        }
        RoomsCommand::Leave(RoomArgs { room }) => {
            let id = find(&client, &room).await?;
            report(context, &room, &client.leave_room(&id).await?, &format!("left {room}"))
        }
        RoomsCommand::Decline(RoomArgs { room }) => {
            let state = target::find(&client, &room).await?;
            if state.my_role() != MemberRole::Invited {
                return Err(CommandError::Failed(format!(
                    "you have no invitation to {room}; to leave a room, use `rooms leave`"
                )));
            }
            report(
                context,
                &room,
                &client.leave_room(target::room_id(&state)).await?,
                &format!("declined {room}"),
            )
        }
        RoomsCommand::Invite(MemberArgs { room, user: name }) => {
            let (room_id, user_id) = (find(&client, &room).await?, user(&client, &user_name(&name)).await?);
            report(
                context,
                &room,
                &client.invite_member(&room_id, &user_id).await?,
                &format!("invited {name} to {room}"),
            )
        }
        RoomsCommand::Remove(RemoveArgs {
            member: MemberArgs { room, user: name },
            reason,
        }) => {
            let (room_id, user_id) = (find(&client, &room).await?, user(&client, &user_name(&name)).await?);
            report(
                context,
                &room,
                &client.remove_member(&room_id, &user_id, &reason).await?,
                &format!("removed {name} from {room}"),
            )
        }
        RoomsCommand::Role(RoleArgs {
            member: MemberArgs { room, user: name },
            role,
        }) => {
            let (room_id, user_id) = (find(&client, &room).await?, user(&client, &user_name(&name)).await?);
            report(
                context,
                &room,
                &client.set_member_role(&room_id, &user_id, role.into()).await?,
                &format!("{name} is now {} in {room}", role_name(role.into())),
            )
        }
        RoomsCommand::Rename(RenameArgs { room, name }) => {
            let id = find(&client, &room).await?;
            report(
                context,
                &name,
                &client.rename_room(&id, &name).await?,
                &format!("renamed {room} to {name}"),
            )
        }
        RoomsCommand::Topic(TopicArgs { room, topic }) => {
            let id = find(&client, &room).await?;
            report(
                context,
                &room,
                &client.set_topic(&id, &topic).await?,
                "changed the topic",
            )
        }
    }
}

async fn find(client: &Client, room: &str) -> Result<String, CommandError> {
    Ok(target::room_id(&target::find(client, room).await?).to_owned())
}

async fn user(client: &Client, name: &str) -> Result<String, CommandError> {
    Ok(client.user_by_name(name).await?.id)
}

async fn list(client: &Client, context: &Context, args: &ListArgs) -> Result<(), CommandError> {
    let rooms = if args.public {
        client.public_rooms(args.archived).await?
    } else {
        client.my_rooms(args.archived).await?
    };
    let mut names = Names::new(client).await?;
    let mut rows = Vec::new();
    for state in rooms {
        let room = state.room.clone().unwrap_or_default();
        let label = names.room(&room).await?;
        if context.ui.is_json() {
            context.ui.object(&room_object(&label, &state))?;
            continue;
        }
        let unread = match (state.unread_count, state.mention_count) {
            (0, _) => String::new(),
            (unread, 0) => format!("{unread} unread"),
            (unread, mentions) => format!("{unread} unread, {mentions} for you"),
        };
        let archived = if room.archived_at.is_some() { " (archived)" } else { "" };
        rows.push(vec![
            label,
            format!("{}{archived}", kind_name(room.kind())),
            role_name(state.my_role()).to_owned(),
            room.member_count.to_string(),
            unread,
            room.topic,
        ]);
    }
    context.ui.table(&["ROOM", "KIND", "YOU", "MEMBERS", "UNREAD", "TOPIC"], rows)
}

async fn create(client: &Client, context: &Context, args: CreateArgs) -> Result<(), CommandError> {
    let history = match args.history {
        None => HistoryVisibility::Unspecified,
        Some(History::FromStart) => HistoryVisibility::FromStart,
        Some(History::FromJoining) => HistoryVisibility::FromJoining,
    };
    let room = NewRoom {
        name: args.name.clone(),
        topic: args.topic,
        private: args.private,
        history,
    };
    let (state, _) = client.create_room(room).await?;
    if context.ui.is_json() {
        return context.ui.object(&room_object(&args.name, &state));
    }
    context.ui.note(&format!("created {}", args.name));
    Ok(())
}

async fn show(client: &Client, context: &Context, room: &str) -> Result<(), CommandError> {
    let ui = context.ui;
    let state: RoomState = target::find(client, room).await?;
    let room = state.room.clone().unwrap_or_default();
    let label = Names::new(client).await?.room(&room).await?;
    if ui.is_json() {
        return ui.object(&room_object(&label, &state));
    }
    let history = match room.history() {
        HistoryVisibility::FromJoining => "from one's joining on",
        HistoryVisibility::FromStart | HistoryVisibility::Unspecified => "from the start",
    };
    let mut facts = vec![
        ("room", label),
        ("id", room.id.clone()),
        ("kind", kind_name(room.kind()).to_owned()),
        ("topic", room.topic.clone()),
        ("you are", role_name(state.my_role()).to_owned()),
        ("members", room.member_count.to_string()),
        ("history", history.to_owned()),
        ("created", time::day_and_time(room.created_at.as_ref())),
        ("unread", state.unread_count.to_string()),
    ];
    if room.archived_at.is_some() {
        facts.push(("archived", time::day_and_time(room.archived_at.as_ref())));
    }
    facts
        .into_iter()
        .try_for_each(|(name, value)| ui.line(&format!("{name:<9} {}", visible(&value))))
}

async fn members(client: &Client, context: &Context, room: &str) -> Result<(), CommandError> {
    let room_id = find(client, room).await?;
    let members = client.members(&room_id).await?;
    if context.ui.is_json() {
        return members.into_iter().try_for_each(|member| {
            context.ui.object(&json!({
                "user": member.user_name,
                "user_id": member.user_id,
                "role": role_name(member.role()),
                "since": time::json(member.since.as_ref()),
            }))
        });
    }
    let rows = members.into_iter().map(|member| {
        let role = role_name(member.role()).to_owned();
        vec![member.user_name, role, time::day_and_time(member.since.as_ref())]
    });
    context.ui.table(&["USER", "ROLE", "SINCE"], rows.collect())
}

async fn archive(client: &Client, context: &Context, args: ArchiveArgs) -> Result<(), CommandError> {
    let state = target::find(client, &args.room).await?;
    if !args.yes && io::stdin().is_terminal() && !confirmed(&args.room, &state)? {
        return Err(CommandError::Failed("nothing was done".to_owned()));
    }
    let receipt = client.archive_room(target::room_id(&state), &args.reason).await?;
    report(context, &args.room, &receipt, &format!("archived {}", args.room))
}

/// Asks before a room is closed, which cannot be undone.
fn confirmed(room: &str, state: &RoomState) -> Result<bool, CommandError> {
    let count = state.room.as_ref().map_or(0, |room| room.member_count);
    let asked = write!(
        io::stderr(),
        "Close {} with {count} members for good? [y/N] ",
        visible(room)
    );
    let mut answer = String::new();
    asked
        .and_then(|()| io::stdin().read_line(&mut answer))
        .map_err(|error| CommandError::Unreadable {
            what: "the answer".to_owned(),
            why: error.to_string(),
        })?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
