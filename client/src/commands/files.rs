//! `greffe files`

pub(crate) mod get;
mod list;
mod local_name;
pub(crate) mod notes;
mod partial;
pub(crate) mod put;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::{Args, Subcommand};
use greffe::api::{ErrorReason, File, FileFilter};
use greffe::{Client, Code, FileQuery, Progress, reason};
use serde_json::{Value, json};

use super::context::Context;
use super::messages::report;
use super::render::Names;
use super::target;
use crate::error::{CommandError, Exit};
use crate::progress::{ProgressLine, amount};
use crate::text::{hex, visible};
use crate::time;
use notes::Notes;

/// Ids that are listed when a name fits several files.
const LISTED: usize = 10;
/// What to do when a transfer broke off.
const GO_ON: &str = "give the same command again: it goes on where it was";

/// Send, fetch and list files
///
/// A transfer that breaks off goes on where it was when the same command is given again.
#[derive(Debug, Args)]
pub(crate) struct FilesArgs {
    #[command(subcommand)]
    command: Option<FilesCommand>,
}

#[derive(Debug, Subcommand)]
enum FilesCommand {
    Put(put::PutArgs),
    Get(get::GetArgs),
    Ls(list::LsArgs),
    Rm(RmArgs),
    /// Share a file in another room too
    Share(ShareArgs),
    /// List your uploads that are not complete, or give one up
    ///
    /// They take room until they are complete, or until the server gives them up, a day after their last bytes.
    Uploads(UploadsArgs),
}

/// List your uploads that are not complete, or give one up
#[derive(Debug, Args)]
struct UploadsArgs {
    /// Give this one up, with the bytes that the server has
    #[arg(long, value_name = "ID")]
    cancel: Option<String>,
}

/// Take a file away
///
/// Nobody can fetch it from then on, its sender included.
#[derive(Debug, Args)]
struct RmArgs {
    /// The file's id
    #[arg(value_name = "ID")]
    id: String,
    /// Only from this room, where you are its sender or a moderator
    #[arg(long, value_name = "ROOM|@USER")]
    room: Option<String>,
}

/// Share a file in another room too
#[derive(Debug, Args)]
struct ShareArgs {
    /// The file's id
    #[arg(value_name = "ID")]
    id: String,
    /// Where to: a room's name or id, or @USER
    #[arg(long, value_name = "ROOM|@USER")]
    to: String,
}

/// Sends, fetches, lists, shares files, or takes one away.
pub(crate) async fn run(args: FilesArgs, context: &Context) -> Result<(), CommandError> {
    match args.command {
        Some(FilesCommand::Put(args)) => put::run(args, context).await,
        Some(FilesCommand::Get(args)) => get::run(args, context).await,
        Some(FilesCommand::Ls(args)) => list::run(&args, context).await,
        None => list::run(&list::LsArgs::default(), context).await,
        Some(FilesCommand::Rm(RmArgs { id, room })) => {
            let client = context.client().await?;
            let room_id = match &room {
                Some(room) => target::room_id(&target::find(&client, room).await?).to_owned(),
                None => String::new(),
            };
            let receipt = client.delete_file(&id, &room_id).await?;
            let from = room.as_ref().map(|room| format!(" from {room}")).unwrap_or_default();
            let label = room.as_ref().unwrap_or(&receipt.room_id);
            report(context, label, &receipt, &format!("took {id} away{from}"))
        }
        Some(FilesCommand::Uploads(args)) => uploads(&args, context).await,
        Some(FilesCommand::Share(ShareArgs { id, to })) => {
            let client = context.client().await?;
            let room = target::find(&client, &to).await?;
            let receipt = client.share_file(&id, target::room_id(&room)).await?;
            report(context, &to, &receipt, &format!("shared {id} in {to}"))
        }
    }
}

async fn uploads(args: &UploadsArgs, context: &Context) -> Result<(), CommandError> {
    let client = context.client().await?;
    if let Some(id) = &args.cancel {
        client.cancel_upload(id).await?;
        if context.ui.is_json() {
            return context.ui.object(&json!({"upload_id": id, "cancelled": true}));
        }
        context.ui.note("the upload is given up");
        return Ok(());
    }
    let uploads = client.uploads().await?;
    let mut names = Names::new(&client).await?;
    let labels = room_labels(&client, &mut names).await?;
    let mut rows = Vec::new();
    for upload in uploads {
        let room = labels.get(&upload.room_id).unwrap_or(&upload.room_id).clone();
        if context.ui.is_json() {
            context.ui.object(&json!({
                "id": upload.id,
                "name": upload.name,
                "size": upload.size,
                "committed_size": upload.committed_size,
                "room": room,
                "expires_at": time::json(upload.expires_at.as_ref()),
            }))?;
            continue;
        }
        let amount = |bytes| amount(u64::try_from(bytes).unwrap_or_default());
        rows.push(vec![
            upload.id,
            upload.name,
            format!("{} of {}", amount(upload.committed_size), amount(upload.size)),
            room,
            time::day_and_time(upload.expires_at.as_ref()),
        ]);
    }
    context.ui.table(&["ID", "NAME", "THERE", "ROOM", "UNTIL"], rows)
}

/// Finds the file with this id or, if there is none, the one with this name.
pub(crate) async fn find(client: &Client, typed: &str) -> Result<File, CommandError> {
    let by_id = match client.file(typed).await {
        Ok(file) => return Ok(file),
        // What cannot be an id can still be a name.
        Err(error) if matches!(error.code, Code::NotFound | Code::InvalidArgument) => error,
        Err(error) => return Err(error.into()),
    };
    let query = FileQuery {
        filter: FileFilter::Unspecified,
        name: typed.to_owned(),
        ..FileQuery::default()
    };
    let mut found = match client.files(&query).await {
        Ok(found) => found,
        Err(error) if error.code == Code::InvalidArgument => return Err(by_id.into()),
        Err(error) => return Err(error.into()),
    };
    match (found.pop(), found.is_empty()) {
        (Some(file), true) => Ok(file),
        (Some(last), false) => {
            found.push(last);
            let mut ids: Vec<_> = found.iter().take(LISTED).map(|file| file.id.as_str()).collect();
            if found.len() > LISTED {
                ids.push("…");
            }
            let failure = format!("{} files are called {typed}: {}", found.len(), ids.join(", "));
            Err(CommandError::Failed(failure)
                .with_hint("name one of them by its id; `greffe files ls` says more about each"))
        }
        (None, _) => Err(by_id.into()),
    }
}

/// The notes for the user of a client.
pub(crate) async fn notes(client: &Client, context: &Context, user_id: &str) -> Result<Notes, CommandError> {
    let directory = context.config.transfers(client.address())?;
    let user_id = user_id.to_owned();
    blocking(move || Ok(Notes::open(directory, &user_id))).await
}

/// Does something with files of this machine apart from the runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CommandError> + Send + 'static,
) -> Result<T, CommandError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(CommandError::Failed(format!("the files cannot be worked on: {error}"))))
}

/// A transfer as somebody at a terminal sees it.
struct Watched {
    line: ProgressLine,
    done: AtomicU64,
    total: AtomicU64,
}

impl Watched {
    fn new(name: &str, context: &Context) -> Self {
        Self {
            line: ProgressLine::new(name, !context.ui.is_json()),
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
        }
    }

    fn see(&self, progress: Progress) {
        self.done.store(progress.done, Ordering::Relaxed);
        self.total.store(progress.total, Ordering::Relaxed);
        self.line.show(progress.done, progress.total);
    }

    /// Waits for the transfer's end, or for Ctrl-C. Whatever breaks it off, it says how to go on if that is possible.
    async fn until_interrupted<T>(
        self: &Watched,
        can_go_on: bool,
        transfer: impl Future<Output = Result<T, CommandError>>,
    ) -> Result<T, CommandError> {
        let error = tokio::select! {
            ended = transfer => match ended {
                Err(error) => error,
                done => return done,
            },
            Ok(()) = tokio::signal::ctrl_c() => {
                let (done, total) = (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed));
                let failure = CommandError::Failed(format!("interrupted at {} of {}", amount(done), amount(total)));
                return Err(if can_go_on { failure.with_hint(GO_ON) } else { failure });
            }
        };
        let may_go_on = error.exit() == Exit::Unreachable
            || matches!(&error, CommandError::Server(error)
                if error.is(ErrorReason::DiskFull) || error.reason == reason::SINK_UNWRITABLE);
        Err(if may_go_on && can_go_on {
            error.with_hint(GO_ON)
        } else {
            error
        })
    }
}

/// The names of the user's rooms, by id.
async fn room_labels(client: &Client, names: &mut Names) -> Result<HashMap<String, String>, CommandError> {
    let mut labels = HashMap::new();
    for state in client.my_rooms(true).await? {
        let room = state.room.unwrap_or_default();
        let label = names.room(&room).await?;
        labels.insert(room.id, label);
    }
    Ok(labels)
}

/// A file for programs. `room` is where it was shared first, or the one that was asked for.
fn file_object(file: &File, room: Option<&str>, author: &str) -> Value {
    json!({
        "id": file.id,
        "name": file.name,
        "size": file.size,
        "sha256": hex(&file.sha256),
        "room": room,
        "author": author,
        "author_id": file.owner_id,
        "media_type": file.media_type,
        "created_at": time::json(file.created_at.as_ref()),
        "quarantined": file.quarantined,
    })
}

/// A file in words: its name, made safe, its size and its id.
pub(crate) fn described(name: &str, size: i64, id: &str) -> String {
    let size = amount(u64::try_from(size).unwrap_or_default());
    format!("{} ({size}), id {}", visible(name), visible(id))
}
