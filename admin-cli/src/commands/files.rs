//! `greffe-admin files`

use clap::{Args, Subcommand, ValueEnum};
use greffe::Operator;
use greffe::admin_api::{
    AdminFile, DeleteFileRequest, FileState, FileUsage, GetFileUsageRequest, ListFilesRequest, QuarantineFileRequest,
    ReleaseFileRequest,
};
use greffe::api::FileOrder;
use greffe::terminal::error::CommandError;
use greffe::terminal::text::{hex, visible};
use greffe::terminal::time;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::PAGE;
use super::log::parse_moment;
use crate::cli::ReasonArgs;
use crate::context::Context;
use crate::moment;
use crate::output::{bytes, count, done};
use crate::target;

/// List files, see what they take, withhold one, give it back, or take it away
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = AFTER_HELP)]
pub(crate) struct FilesArgs {
    #[command(subcommand)]
    command: Option<FilesCommand>,
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    reason: ReasonArgs,
}

const AFTER_HELP: &str = "Examples:\n  greffe-admin files list --user bob --larger 10M --reason 'the disk fills up'\n  \
    greffe-admin files usage\n  greffe-admin files quarantine FILE --reason 'reported as malware'\n  \
    greffe-admin files delete FILE --room general --reason 'off topic'";

/// Why files are listed if nobody says it.
const USUAL_REASON: &str = "to see which files there are";

#[derive(Debug, Subcommand)]
enum FilesCommand {
    /// List files of everybody, newest first; leaves a row in the journal, because names are what people wrote
    List {
        #[command(flatten)]
        list: ListArgs,
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Show what files take, in all and by their owners
    Usage,
    /// Withhold a file: it stays where it is shared, and nobody can fetch it
    Quarantine {
        /// The file's id
        #[arg(value_name = "FILE")]
        file: String,
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Give a withheld file back
    Release {
        /// The file's id
        #[arg(value_name = "FILE")]
        file: String,
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Take a file away from every room, or from one; its bytes are kept for the record
    Delete {
        /// The file's id
        #[arg(value_name = "FILE")]
        file: String,
        /// Only from this room: a public room's name, or a room's id
        #[arg(long, value_name = "ROOM")]
        room: Option<String>,
        #[command(flatten)]
        reason: ReasonArgs,
    },
}

/// Which files to list.
#[derive(Debug, Default, Args)]
pub(crate) struct ListArgs {
    /// Only files of this user
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Only files that are shared in this room: a public room's name, or a room's id
    #[arg(long, value_name = "ROOM")]
    room: Option<String>,
    /// Only files of at least so many bytes: 500K, 10M, 2G
    #[arg(long, value_name = "SIZE", value_parser = size)]
    larger: Option<i64>,
    /// Only files of this time or later: a time, or a span that ends now, such as 7d
    #[arg(long, value_name = "WHEN", value_parser = parse_moment)]
    since: Option<Timestamp>,
    /// Only files of before this time: a time, or a span that ends now, such as 90d
    #[arg(long, value_name = "WHEN", value_parser = parse_moment)]
    until: Option<Timestamp>,
    /// Only files in this state
    #[arg(long, value_name = "STATE")]
    state: Option<State>,
    /// The largest first
    #[arg(long)]
    largest: bool,
}

/// How a file stands, as an argument.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Shared,
    Quarantined,
    Removed,
}

impl From<State> for FileState {
    fn from(state: State) -> Self {
        match state {
            State::Shared => Self::Shared,
            State::Quarantined => Self::Quarantined,
            State::Removed => Self::Removed,
        }
    }
}

/// Reads a number of bytes, with a unit of 1,024, 1,024² or 1,024³.
fn size(text: &str) -> Result<i64, String> {
    let wrong = || format!("'{text}' is no size; write one like 500K, 10M or 2G");
    let digits = text.trim_end_matches(|symbol: char| symbol.is_ascii_alphabetic());
    let unit: i64 = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KIB" | "KB" => 1 << 10,
        "M" | "MIB" | "MB" => 1 << 20,
        "G" | "GIB" | "GB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: i64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(unit).filter(|size| *size >= 0).ok_or_else(wrong)
}

/// Lists files, or does something with one.
pub(crate) async fn run(args: FilesArgs, context: &Context) -> Result<(), CommandError> {
    match args.command {
        None => list(&args.list, &args.reason, context).await,
        Some(FilesCommand::List { list: args, reason }) => list(&args, &reason, context).await,
        Some(FilesCommand::Usage) => usage(context).await,
        Some(FilesCommand::Quarantine { file, reason }) => quarantine(file, &reason, context).await,
        Some(FilesCommand::Release { file, reason }) => release(file, &reason, context).await,
        Some(FilesCommand::Delete { file, room, reason }) => delete(file, room, &reason, context).await,
    }
}

/// Lists files.
pub(crate) async fn list(args: &ListArgs, reason: &ReasonArgs, context: &Context) -> Result<(), CommandError> {
    let reason = match &reason.reason {
        Some(_) => context.reason(reason)?,
        None => USUAL_REASON.to_owned(),
    };
    let user = args.user.as_deref().map(target::user).unwrap_or_default();
    let room = args.room.clone().unwrap_or_default();
    let order = if args.largest {
        FileOrder::Size
    } else {
        FileOrder::Unspecified
    };
    let request = |page_token| ListFilesRequest {
        reason: reason.clone(),
        page_size: PAGE,
        page_token,
        user: user.clone(),
        room: room.clone(),
        min_bytes: args.larger.unwrap_or_default(),
        since: args.since.map(moment::to_wire),
        before: args.until.map(moment::to_wire),
        state: args.state.map_or(FileState::Unspecified, FileState::from).into(),
        order: order.into(),
        ..Default::default()
    };
    let operator = context.operator().await?;
    let files = operator.all_pages(request, |page| (page.files, page.next_page_token)).await?;
    if context.ui.is_json() {
        return files.iter().try_for_each(|file| context.ui.object(&object(file)));
    }
    if files.is_empty() {
        context.ui.note("no files");
        return Ok(());
    }
    let rows = files.into_iter().map(|file| {
        vec![
            time::day_and_time(file.created_at.as_ref()),
            file.owner_name.clone(),
            bytes(file.size),
            state_name(file.state()).to_owned(),
            places(&file),
            file.id,
            file.name,
        ]
    });
    context.ui.table(
        &["SINCE", "FROM", "SIZE", "STATE", "ROOM", "ID", "NAME"],
        rows.collect(),
    )
}

fn state_name(state: FileState) -> &'static str {
    match state {
        FileState::Unspecified => "unknown",
        FileState::Shared => "",
        FileState::Quarantined => "quarantined",
        FileState::Removed => "removed",
    }
}

/// Where a file is shared, in a few words.
fn places(file: &AdminFile) -> String {
    let Some(first) = file.shares.first() else {
        return String::new();
    };
    let name = if first.room_name.is_empty() {
        "a direct room"
    } else {
        &first.room_name
    };
    match file.shares.len() {
        1 => name.to_owned(),
        shares => format!("{name} and {} more", shares - 1),
    }
}

async fn usage(context: &Context) -> Result<(), CommandError> {
    let operator = context.operator().await?;
    let mut users = Vec::new();
    let mut page_token = String::new();
    let (total, quota) = loop {
        let request = GetFileUsageRequest {
            page_size: PAGE,
            page_token,
        };
        let page = operator.call(request).await?;
        users.extend(page.users);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break (page.total.unwrap_or_default(), page.quota_bytes);
        }
    };
    let ui = context.ui;
    if ui.is_json() {
        let mut all = usage_object(&total);
        all["quota_bytes"] = json!(quota);
        ui.object(&all)?;
        return users.iter().try_for_each(|user| {
            let mut object = usage_object(&user.usage.unwrap_or_default());
            object["user"] = json!(user.user_name);
            object["user_id"] = json!(user.user_id);
            ui.object(&object)
        });
    }
    ui.line(&format!(
        "{} with {}, {} with {} to come; each user may have {}",
        count(total.files, "file"),
        bytes(total.bytes),
        count(total.uploads, "upload"),
        bytes(total.upload_bytes),
        bytes(quota),
    ))?;
    let rows = users.into_iter().map(|user| {
        let usage = user.usage.unwrap_or_default();
        // A quota of nothing is used up by anything.
        let share = (usage.bytes.saturating_add(usage.upload_bytes)).saturating_mul(100) / quota.max(1);
        vec![
            user.user_name,
            usage.files.to_string(),
            bytes(usage.bytes),
            usage.uploads.to_string(),
            bytes(usage.upload_bytes),
            format!("{share} %"),
        ]
    });
    ui.table(
        &["USER", "FILES", "BYTES", "UPLOADS", "TO COME", "OF QUOTA"],
        rows.collect(),
    )
}

fn usage_object(usage: &FileUsage) -> Value {
    json!({
        "files": usage.files,
        "bytes": usage.bytes,
        "uploads": usage.uploads,
        "upload_bytes": usage.upload_bytes,
    })
}

async fn quarantine(file: String, reason: &ReasonArgs, context: &Context) -> Result<(), CommandError> {
    let request = QuarantineFileRequest {
        reason: context.reason(reason)?,
        file_id: file.clone(),
        ..Default::default()
    };
    let answer = context.operator().await?.call(request).await?;
    let text = format!("withheld {}; `files release` gives it back", visible(&file));
    done(context, answer.receipt.as_ref(), &text, json!({"id": file}))
}

async fn release(file: String, reason: &ReasonArgs, context: &Context) -> Result<(), CommandError> {
    let request = ReleaseFileRequest {
        reason: context.reason(reason)?,
        file_id: file.clone(),
        ..Default::default()
    };
    let answer = context.operator().await?.call(request).await?;
    let text = format!("gave {} back", visible(&file));
    done(context, answer.receipt.as_ref(), &text, json!({"id": file}))
}

async fn delete(
    file: String,
    room: Option<String>,
    reason: &ReasonArgs,
    context: &Context,
) -> Result<(), CommandError> {
    let reason = context.reason(reason)?;
    let asks = context.asks()?;
    let operator: &Operator = context.operator().await?;
    if asks {
        let place = room.as_ref().map_or_else(|| "every room".to_owned(), |room| visible(room));
        context.confirm(&visible(&file), &format!("Take it away from {place} for good?"))?;
    }
    let request = DeleteFileRequest {
        reason,
        file_id: file.clone(),
        room: room.clone().unwrap_or_default(),
        ..Default::default()
    };
    let answer = operator.call(request).await?;
    let text = format!("took {} away; its bytes are kept for the record", visible(&file));
    done(
        context,
        answer.receipt.as_ref(),
        &text,
        json!({"id": file, "room": room}),
    )
}

/// A file for programs.
fn object(file: &AdminFile) -> Value {
    let shares = file.shares.iter().map(|share| {
        json!({
            "room_id": share.room_id,
            "room": share.room_name,
            "seq": share.seq,
        })
    });
    json!({
        "id": file.id,
        "name": file.name,
        "size": file.size,
        "sha256": hex(&file.sha256),
        "media_type": file.media_type,
        "author": file.owner_name,
        "author_id": file.owner_id,
        "created_at": time::json(file.created_at.as_ref()),
        "rooms": shares.collect::<Vec<_>>(),
        "state": if file.state() == FileState::Shared { "shared" } else { state_name(file.state()) },
        "quarantine_reason": file.quarantine_reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("500k"), Ok(500 << 10));
        assert_eq!(size("10MiB"), Ok(10 << 20));
        assert_eq!(size("2G"), Ok(2 << 30));
        for wrong in ["", "M", "-1", "1.5M", "9999999999999G", "10 M", "10X", "é"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
