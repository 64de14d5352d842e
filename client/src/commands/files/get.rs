//! `greffe files get`

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use clap::Args;
use greffe::api::{ErrorReason, File};
use greffe::{Client, Code, Error, ProgressObserver, Sha256};
use serde_json::Value;
use tokio::io::{AsyncSeekExt as _, AsyncWrite, Stdout};

use super::local_name::local_name;
use super::notes::Notes;
use super::partial::{ADDED, Partial, already_there};
use super::{Watched, blocking, file_object, find, notes, room_labels};
use crate::commands::context::Context;
use crate::commands::render::Names;
use crate::error::CommandError;
use crate::text::visible;

/// What stands for standard output.
const STDOUT: &str = "-";

/// Fetch a file
///
/// It is checked as a whole, and then put in its place; nothing is ever overwritten. The same command given again goes on with what broke
/// off.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// The file's id, or its name if only one file is called so
    #[arg(value_name = "ID|NAME")]
    file: String,
    /// Where to put it: a new file, or a directory; `-` for standard output [default: the current directory]
    #[arg(long, short, value_name = "PATH|DIR|-")]
    output: Option<PathBuf>,
    /// Add a number to the name if it is taken
    #[arg(long)]
    keep_both: bool,
}

/// Fetches a file.
pub(crate) async fn run(args: GetArgs, context: &Context) -> Result<(), CommandError> {
    let client = context.client().await?;
    let file = find(&client, &args.file).await?;
    let watched = Watched::new(&file.name, context);
    let observer = |progress| watched.see(progress);
    if args.output.as_deref() == Some(Path::new(STDOUT)) {
        return watched.until_interrupted(false, to_stdout(&client, &file, &observer)).await;
    }
    let mut names = Names::new(&client).await?;
    let me = names.me().to_owned();
    let notes = notes(&client, context, &me).await?;
    let target = target_of(args.output.as_deref(), &file)?;
    let transfer = receive(&client, &notes, &file, target, args.keep_both, &observer);
    let path = watched.until_interrupted(true, transfer).await?;
    drop(watched);
    if context.ui.is_json() {
        let labels = room_labels(&client, &mut names).await?;
        let room = file
            .shares
            .first()
            .map(|share| labels.get(&share.room_id).unwrap_or(&share.room_id));
        let author = names.user(&file.owner_id).await?;
        let mut object = file_object(&file, room.map(String::as_str), &author);
        if let Some(object) = object.as_object_mut() {
            object.insert("path".to_owned(), Value::String(path.display().to_string()));
        }
        return context.ui.object(&object);
    }
    context.ui.line(&visible(&path.display().to_string()))
}

/// Where a file is to be: what the user said, with a harmless form of its own name where that is a directory.
pub(crate) fn target_of(output: Option<&Path>, file: &File) -> Result<PathBuf, CommandError> {
    let name = local_name(&file.name, ADDED);
    let Some(output) = output else {
        return Ok(PathBuf::from(name));
    };
    if output.is_dir() {
        return Ok(output.join(name));
    }
    let none = |directory: &Path| {
        let failure = format!("there is no directory {}", directory.display());
        Err(CommandError::Failed(failure).with_hint("make it first, or name a file"))
    };
    if output.as_os_str().as_encoded_bytes().ends_with(b"/") || output.file_name().is_none() {
        return none(output);
    }
    match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => none(parent),
        _ => Ok(output.to_owned()),
    }
}

/// Fetches a file to `target`, or goes on with it; returns where it is.
pub(crate) async fn receive(
    client: &Client,
    notes: &Notes,
    file: &File,
    target: PathBuf,
    keep_both: bool,
    observer: ProgressObserver<'_>,
) -> Result<PathBuf, CommandError> {
    if !keep_both && target.symlink_metadata().is_ok() {
        return Err(already_there(&target));
    }
    let (notes, file_id) = (notes.clone(), file.id.clone());
    let partial = blocking(move || Partial::open(target, &file_id, &notes)).await?;
    let mut sink = tokio::fs::File::from_std(partial.handle()?);
    let mut have = Sha256::new();
    if partial.length > 0 && i64::try_from(partial.length).is_ok_and(|length| length <= file.size) {
        have.read(&mut sink).await.map_err(|error| unwritable(&error))?;
    } else {
        begin_anew(&mut sink).await?;
    }
    let went_on = have.length() > 0;
    let mut fetched = client.download(file, have, &mut sink, observer).await;
    if went_on && fetched.as_ref().is_err_and(|error| error.is(ErrorReason::HashMismatch)) {
        // What was left of the last time is not what it should be.
        begin_anew(&mut sink).await?;
        fetched = client.download(file, Sha256::new(), &mut sink, observer).await;
    }
    drop(sink);
    match fetched {
        Ok(()) => blocking(move || partial.put_in_place(keep_both)).await,
        Err(error) => {
            // What may no longer be read is not kept, and what is wrong is of no use.
            let is_useless = error.is(ErrorReason::HashMismatch)
                || matches!(
                    error.code,
                    Code::NotFound | Code::PermissionDenied | Code::InvalidArgument
                );
            if is_useless {
                blocking(move || partial.discard()).await?;
            }
            Err(error.into())
        }
    }
}

async fn begin_anew(sink: &mut tokio::fs::File) -> Result<(), CommandError> {
    sink.set_len(0).await.map_err(|error| unwritable(&error))?;
    sink.rewind().await.map_err(|error| unwritable(&error))?;
    Ok(())
}

fn unwritable(error: &io::Error) -> CommandError {
    CommandError::Failed(format!("what was left of the last time cannot be used: {error}"))
        .with_hint("`greffe files get ID -o PATH` puts it elsewhere")
}

/// Prints a file. Whether it is whole shows at the end only, by the exit code.
async fn to_stdout(client: &Client, file: &File, observer: ProgressObserver<'_>) -> Result<(), CommandError> {
    let mut out = Pipe {
        stdout: tokio::io::stdout(),
        is_closed: false,
    };
    let fetched = client.download(file, Sha256::new(), &mut out, observer).await;
    fetched.map_err(|error: Error| {
        if out.is_closed {
            CommandError::ClosedPipe
        } else {
            error.into()
        }
    })
}

/// Standard output, and whether nobody reads it any more.
struct Pipe {
    stdout: Stdout,
    is_closed: bool,
}

impl Pipe {
    fn notice<T>(&mut self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &outcome
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            self.is_closed = true;
        }
        outcome
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stdout).poll_write(context, bytes);
        self.notice(outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stdout).poll_flush(context);
        self.notice(outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdout).poll_shutdown(context)
    }
}
