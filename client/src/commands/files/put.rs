//! `greffe files put`

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use greffe::api::{ErrorReason, File, Receipt, Upload};
use greffe::{Client, Error, NewFile, ProgressObserver, new_request_id, reason};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use super::notes::{Fingerprint, Notes, UploadNote, forget, keep, load};
use super::{Watched, blocking, described, file_object, notes};
use crate::commands::context::Context;
use crate::commands::render::Names;
use crate::commands::target;
use crate::error::CommandError;
use crate::text::visible;

/// What stands for standard input.
const STDIN: &str = "-";
/// Bytes of standard input that are read at once.
const PIECE: usize = 256 * 1024;

/// Send files
///
/// Each file is shared as soon as it is whole. The same command given again goes on with what broke off, and shares nothing twice.
#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    /// The files; `-` reads one from standard input
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Where to: a room's name or id, or @USER
    #[arg(long, value_name = "ROOM|@USER", default_value = target::GENERAL)]
    to: String,
    /// Call the file this instead
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    name: Option<String>,
    /// Say what it is, such as image/png
    #[arg(long = "type", value_name = "MEDIA", default_value = "")]
    media_type: String,
}

/// Sends files, one after the other.
pub(crate) async fn run(args: PutArgs, context: &Context) -> Result<(), CommandError> {
    if args.paths.len() > 1 && args.name.is_some() {
        return Err(CommandError::usage(
            "--name is for one file",
            "send the files one by one",
        ));
    }
    let is_stdin = |path: &Path| path == Path::new(STDIN);
    if args.paths.iter().any(|path| is_stdin(path)) && args.name.is_none() {
        return Err(CommandError::usage(
            "what comes from standard input has no name",
            "give it one with --name NAME",
        ));
    }
    let client = context.client().await?;
    let state = target::find(&client, &args.to).await?;
    let mut names = Names::new(&client).await?;
    let label = names.room(&state.room.clone().unwrap_or_default()).await?;
    let me = names.me().to_owned();
    let author = names.user(&me).await?;
    let notes = notes(&client, context, &me).await?;
    let mut done = Vec::new();
    for path in &args.paths {
        let new = NewFile {
            name: args.name.clone().map_or_else(|| name_of(path), Ok)?,
            media_type: args.media_type.clone(),
            room_id: target::room_id(&state).to_owned(),
        };
        let watched = Watched::new(&new.name, context);
        let observer = |progress| watched.see(progress);
        let sent = if is_stdin(path) {
            let transfer = async {
                let staged = Staged::from_stdin(&client, notes.directory()).await?;
                send_staged(&client, staged, &new, &observer).await
            };
            watched.until_interrupted(false, transfer).await?
        } else {
            watched
                .until_interrupted(true, send(&client, &notes, path, &new, &observer))
                .await?
        };
        drop(watched);
        done.extend(sent.note);
        let (file, receipt) = (sent.file, sent.receipt);
        if context.ui.is_json() {
            context.ui.object(&file_object(&file, Some(&label), &author))?;
        } else {
            let words = described(&file.name, file.size, &file.id);
            context.ui.line(&format!("{} #{} {words}", visible(&label), receipt.seq))?;
        }
    }
    // Until all are sent the same command may be given again, and must find those that are.
    done.iter().try_for_each(|note| forget(note))
}

/// The name of a file of this machine.
pub(crate) fn name_of(path: &Path) -> Result<String, CommandError> {
    if path.is_dir() {
        return Err(no_file(path));
    }
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| {
        CommandError::usage(
            format!("{} has no name that can be sent", path.display()),
            "give it one with --name NAME",
        )
    })
}

/// A file that was sent.
pub(crate) struct Sent {
    /// The file.
    pub(crate) file: File,
    /// Where it was shared.
    pub(crate) receipt: Receipt,
    /// The note that keeps it from being sent again: forget it when what asked for it is done.
    pub(crate) note: Option<PathBuf>,
}

/// Sends a file of this machine, or goes on with it.
pub(crate) async fn send(
    client: &Client,
    notes: &Notes,
    path: &Path,
    new: &NewFile,
    observer: ProgressObserver<'_>,
) -> Result<Sent, CommandError> {
    let named = path.to_owned();
    let (path, file) = blocking(move || open(&named)).await?;
    let place = notes.upload(&path, new);
    let mut outgoing = Outgoing::new(client, path, file, new, Some(place)).await?;
    outgoing.send(observer).await
}

/// Sends what was read from standard input. If that fails, nothing is left of it on the server.
async fn send_staged(
    client: &Client,
    staged: Staged,
    new: &NewFile,
    observer: ProgressObserver<'_>,
) -> Result<Sent, CommandError> {
    let file = staged
        .file
        .try_clone()
        .await
        .map_err(|error| unreadable(&staged.path, &error))?;
    let mut outgoing = Outgoing::new(client, staged.path.clone(), file, new, None).await?;
    let sent = outgoing.send(observer).await;
    if let (Err(_), Some(upload_id)) = (&sent, &outgoing.note.upload_id) {
        // Without it, the server gives it up by itself after a while.
        drop(client.cancel_upload(upload_id).await);
    }
    sent
}

/// A file on its way, and what is noted of it.
struct Outgoing<'a> {
    client: &'a Client,
    path: PathBuf,
    file: tokio::fs::File,
    new: &'a NewFile,
    note: UploadNote,
    /// Where the note is kept, for what can be gone on with.
    place: Option<PathBuf>,
}

impl<'a> Outgoing<'a> {
    async fn new(
        client: &'a Client,
        path: PathBuf,
        file: tokio::fs::File,
        new: &'a NewFile,
        place: Option<PathBuf>,
    ) -> Result<Self, CommandError> {
        let metadata = file.metadata().await.map_err(|error| unreadable(&path, &error))?;
        let source = Fingerprint::from(&metadata);
        let mut known: Option<UploadNote> = place.as_deref().map(load).transpose()?.flatten();
        if let Some(stale) = known.take_if(|known| known.source != source)
            && let Some(upload_id) = stale.upload_id
        {
            // It was of what the file was before. What cannot be cancelled is given up by the server after a while.
            drop(client.cancel_upload(&upload_id).await);
        }
        let note = known.unwrap_or_else(|| UploadNote::new(source));
        Ok(Self {
            client,
            path,
            file,
            new,
            note,
            place,
        })
    }

    async fn send(&mut self, observer: ProgressObserver<'_>) -> Result<Sent, CommandError> {
        let small = self
            .client
            .server_info()
            .await?
            .limits
            .as_ref()
            .map_or(0, |limits| limits.file_chunk_bytes);
        let (file, receipt) = if self.note.source.size <= u64::try_from(small).unwrap_or_default() {
            self.send_at_once(observer).await?
        } else {
            self.send_in_pieces(observer).await?
        };
        Ok(Sent {
            file,
            receipt,
            note: self.place.clone(),
        })
    }

    async fn send_at_once(&mut self, observer: ProgressObserver<'_>) -> Result<(File, Receipt), CommandError> {
        let size = self.note.source.size;
        let mut content = Vec::new();
        let mut source = (&mut self.file).take(size + 1);
        source
            .read_to_end(&mut content)
            .await
            .map_err(|error| unreadable(&self.path, &error))?;
        if content.len() as u64 != size {
            return Err(self.changed());
        }
        self.expect_unchanged().await?;
        self.keep_note()?;
        let content = Bytes::from(content);
        let sent = match self.client.upload_file(self.new, content.clone(), &self.note.request_id).await {
            // It was sent the last time, and taken away since.
            Err(error) if error.is(ErrorReason::FileNotFound) => {
                self.note = UploadNote::new(self.note.source);
                self.keep_note()?;
                self.client.upload_file(self.new, content, &self.note.request_id).await?
            }
            sent => sent?,
        };
        observer(greffe::Progress {
            done: size,
            total: size,
        });
        Ok(sent)
    }

    async fn send_in_pieces(&mut self, observer: ProgressObserver<'_>) -> Result<(File, Receipt), CommandError> {
        let upload = match self.known_upload().await? {
            Known::Upload(upload) => upload,
            Known::Complete(sent) => return Ok(*sent),
            Known::Nothing => {
                if self.note.upload_id.is_some() {
                    self.note = UploadNote::new(self.note.source);
                }
                // Before the server is asked: whoever is cut off in between finds the same upload again.
                self.keep_note()?;
                let size = self.note.source.size;
                let created = self.client.create_upload(self.new, size, &self.note.create_id).await;
                let upload = created.map_err(too_many)?;
                self.note.upload_id = Some(upload.id.clone());
                self.keep_note()?;
                upload
            }
        };
        let sha256 = match self.client.send_bytes(&upload, &mut self.file, observer).await {
            Ok(sha256) => sha256,
            Err(error) if error.reason == reason::SOURCE_CHANGED => {
                self.give_up(&upload.id).await?;
                return Err(self.changed());
            }
            Err(error) => return Err(error.into()),
        };
        if self.expect_unchanged().await.is_err() {
            self.give_up(&upload.id).await?;
            return Err(self.changed());
        }
        self.note.sha256 = Some(sha256);
        self.keep_note()?;
        match self.client.complete_upload(&upload.id, sha256, &self.note.request_id).await {
            Ok(sent) => Ok(sent),
            Err(error) => {
                if error.is(ErrorReason::HashMismatch) {
                    self.forget_note()?;
                }
                Err(error.into())
            }
        }
    }

    /// What became of the upload that is noted.
    async fn known_upload(&self) -> Result<Known, CommandError> {
        let Some(upload_id) = &self.note.upload_id else {
            return Ok(Known::Nothing);
        };
        match self.client.upload(upload_id).await {
            Ok(upload) if u64::try_from(upload.size) == Ok(self.note.source.size) => return Ok(Known::Upload(upload)),
            Ok(_) => return Ok(Known::Nothing),
            Err(error) if error.is(ErrorReason::UploadNotFound) => {}
            Err(error) => return Err(error.into()),
        }
        let Some(sha256) = self.note.sha256 else {
            return Ok(Known::Nothing);
        };
        // It may be complete: then the answer to the same request is the same again.
        match self.client.complete_upload(upload_id, sha256, &self.note.request_id).await {
            Ok(sent) => Ok(Known::Complete(Box::new(sent))),
            // It was given up, or completed and taken away since.
            Err(error) if error.is(ErrorReason::UploadNotFound) || error.is(ErrorReason::FileNotFound) => {
                Ok(Known::Nothing)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes sure that what was read is what the file still is.
    async fn expect_unchanged(&self) -> Result<(), CommandError> {
        let metadata = self.file.metadata().await.map_err(|error| unreadable(&self.path, &error))?;
        if Fingerprint::from(&metadata) == self.note.source {
            Ok(())
        } else {
            Err(self.changed())
        }
    }

    fn changed(&self) -> CommandError {
        CommandError::Failed(format!("{} was changed while it was sent", self.path.display()))
            .with_hint("send it again when nobody writes to it")
    }

    async fn give_up(&self, upload_id: &str) -> Result<(), CommandError> {
        // What cannot be cancelled is given up by the server after a while.
        drop(self.client.cancel_upload(upload_id).await);
        self.forget_note()
    }

    fn keep_note(&self) -> Result<(), CommandError> {
        self.place.as_deref().map_or(Ok(()), |place| keep(place, &self.note))
    }

    fn forget_note(&self) -> Result<(), CommandError> {
        self.place.as_deref().map_or(Ok(()), forget)
    }
}

/// What became of an upload.
enum Known {
    /// There is none.
    Nothing,
    /// It is not complete.
    Upload(Upload),
    /// It is complete.
    Complete(Box<(File, Receipt)>),
}

/// Opens a file to send it; returns its whole path too.
fn open(path: &Path) -> Result<(PathBuf, tokio::fs::File), CommandError> {
    let unreadable = |error| unreadable(path, &error);
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(no_file(path));
    }
    let whole = fs::canonicalize(path).map_err(unreadable)?;
    let file = fs::File::open(&whole).map_err(unreadable)?;
    Ok((whole, tokio::fs::File::from_std(file)))
}

/// Says what to do about uploads that were never completed.
fn too_many(error: Error) -> CommandError {
    let is_many = error.is(ErrorReason::TooMany);
    let error = CommandError::from(error);
    if is_many {
        error.with_hint("`greffe files uploads` lists those that are not complete, and with --cancel ID gives one up")
    } else {
        error
    }
}

fn no_file(path: &Path) -> CommandError {
    let failure = CommandError::Unreadable {
        what: path.display().to_string(),
        why: "it is no file".to_owned(),
    };
    failure.with_hint("pack a directory into one file first, or send what comes from a pipe with `-`")
}

fn unreadable(path: &Path, error: &std::io::Error) -> CommandError {
    CommandError::Unreadable {
        what: path.display().to_string(),
        why: error.to_string(),
    }
}

/// A private temporary file, removed in the end.
struct Staged {
    path: PathBuf,
    file: tokio::fs::File,
}

impl Staged {
    /// Reads standard input to its end. An upload has to know its size before it begins, and to go back after a cut.
    async fn from_stdin(client: &Client, directory: &Path) -> Result<Self, CommandError> {
        let path = directory.join(format!("stdin-{}", new_request_id()));
        let config = |source| CommandError::Config {
            path: path.clone(),
            source,
        };
        let mut options = tokio::fs::OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        options.mode(0o600);
        let file = options.open(&path).await.map_err(config)?;
        let mut staged = Self {
            path: path.clone(),
            file,
        };
        // Where the system allows it, the file has no name from now on, and nothing is left of it whatever happens.
        drop(fs::remove_file(&path));
        let limit = client
            .server_info()
            .await?
            .limits
            .as_ref()
            .map_or(0, |limits| limits.file_bytes);
        let mut stdin = tokio::io::stdin();
        let mut piece = vec![0; PIECE];
        let mut size = 0;
        loop {
            let count = stdin
                .read(&mut piece)
                .await
                .map_err(|error| unreadable(Path::new("standard input"), &error))?;
            if count == 0 {
                break;
            }
            size += i64::try_from(count).unwrap_or(i64::MAX);
            if size > limit {
                return Err(CommandError::Failed(format!(
                    "standard input has more than the {limit} bytes that a file may have"
                )));
            }
            staged.file.write_all(&piece[..count]).await.map_err(config)?;
        }
        staged.file.flush().await.map_err(config)?;
        staged.file.rewind().await.map_err(config)?;
        Ok(staged)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // It is gone already where that is possible.
        drop(fs::remove_file(&self.path));
    }
}
