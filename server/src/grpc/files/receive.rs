//! Bytes on their way here: written and hashed by blocking threads, with which a bounded channel keeps the client in step.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use greffe_api::v1::write_upload_request::Part;
use greffe_api::v1::{self, CompleteUploadRequest, UploadChunkRequest, UploadFileRequest, WriteUploadRequest};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, timeout};
use tonic::{Status, Streaming};

use super::super::{App, convert};
use super::failed;
use super::pace::Pace;
use crate::domain::caller::Caller;
use crate::domain::command::{Change, Command, NewFile};
use crate::domain::decide::may_upload;
use crate::domain::error::Error;
use crate::domain::files::Upload;
use crate::domain::ids::{FileId, sha256};
use crate::domain::permissions;
use crate::domain::text::{FileName, MediaType};
use crate::staging::{Claim, Syncing, Writing};

/// Chunks that wait for the disk.
const CHUNKS: usize = 4;
/// How often it is looked, while a client brings nothing, whether its session is still there.
const LOOK: Duration = Duration::from_millis(500);
/// Bytes after which the journal's writer notes what was synced. Only a loss of power can take away what is not noted: what a crash of the server
/// leaves is found at the next start.
const NOTE_EACH: i64 = 16 * 1024 * 1024;

pub(super) fn name(text: String) -> Result<FileName, Error> {
    FileName::parse("name", text)
}

pub(super) fn media_type(text: String) -> Result<MediaType, Error> {
    MediaType::parse("media_type", text)
}

fn hash(field: &'static str, bytes: &[u8]) -> Result<[u8; 32], Error> {
    bytes
        .try_into()
        .map_err(|_| Error::invalid(field, "it must have 32 bytes: the SHA-256 of the whole file"))
}

/// Claims an upload of the caller that stands at `offset`.
fn begin(app: &App, caller: &Caller, id: &str, offset: i64) -> Result<(Upload, Claim), Error> {
    let id = convert::upload_id(id)?;
    app.upload(caller, id)?;
    let claim = app.claim(id)?;
    // Read again: it may have gone on until it was claimed.
    let upload = app.upload(caller, id)?;
    if offset != upload.committed {
        return Err(Error::OffsetMismatch {
            committed: upload.committed,
        });
    }
    Ok((upload, claim))
}

/// What a client sends next.
enum Next {
    Chunk(Bytes),
    /// It has sent all that it wanted to.
    End,
    /// It has sent nothing for too long.
    Stalled,
}

/// How long a client may send nothing. What it sent stays.
fn pause(app: &App) -> Duration {
    Duration::from_secs(app.config.limits.upload_pause_seconds)
}

async fn next(app: &App, caller: &Caller, stream: &mut Streaming<WriteUploadRequest>) -> Result<Next, Status> {
    let deadline = Instant::now() + pause(app);
    let part = loop {
        let part = timeout(LOOK, stream.message()).await;
        // Who is put out is so at once, whether they send or not.
        app.view()
            .read(|state| state.session(caller.session).map(|_| ()).ok_or(Error::SessionEnded))?;
        match part {
            Ok(part) => break part?,
            Err(_) if Instant::now() < deadline => {}
            Err(_) => return Ok(Next::Stalled),
        }
    };
    match part.map(|request| request.part) {
        None => Ok(Next::End),
        Some(Some(Part::Chunk(chunk))) => {
            check_chunk(app, &chunk)?;
            Ok(Next::Chunk(chunk))
        }
        Some(Some(Part::Header(_)) | None) => {
            Err(Error::Malformed("after the header, every message must have a chunk".into()).into())
        }
    }
}

fn check_chunk(app: &App, chunk: &Bytes) -> Result<(), Error> {
    let limit = app.config.limits.file_chunk_bytes;
    if chunk.is_empty() || chunk.len() > limit {
        return Err(Error::invalid("chunk", format!("1 to {limit} bytes are allowed")));
    }
    Ok(())
}

/// Receives a stream of chunks, and returns how many bytes are on the disk.
pub(super) async fn stream(
    app: &Arc<App>,
    caller: Caller,
    mut stream: Streaming<WriteUploadRequest>,
) -> Result<i64, Status> {
    let first = timeout(pause(app), stream.message()).await;
    let header = match first.unwrap_or(Ok(None))?.and_then(|request| request.part) {
        Some(Part::Header(header)) => header,
        Some(Part::Chunk(_)) | None => {
            return Err(Error::Malformed("the first message must have the header".into()).into());
        }
    };
    let (upload, claim) = begin(app, &caller, &header.upload_id, header.offset)?;
    let app = Arc::clone(app);
    // It goes on if the client goes: what it sent before, and waits here, counts, and is not to be sent again.
    let work = tokio::spawn(async move {
        let (chunks, queue) = mpsc::channel(CHUNKS);
        let writing = write(&app, caller, &upload, claim, queue);
        let ended = loop {
            let next = tokio::select! {
                next = next(&app, &caller, &mut stream) => next,
                // The writer goes away when it can write no more, and says why below.
                () = chunks.closed() => break Ok(false),
            };
            match next {
                Ok(Next::Chunk(chunk)) => {
                    if chunks.send(chunk).await.is_err() {
                        break Ok(false);
                    }
                }
                Ok(Next::End) => break Ok(false),
                Ok(Next::Stalled) => break Ok(true),
                Err(status) => break Err(status),
            }
        };
        drop(chunks);
        let committed = writing.await?;
        if ended? {
            return Err(Error::UploadStalled { committed }.into());
        }
        Ok(committed)
    });
    work.await.map_err(|error| {
        tracing::error!(%error, "Receiving a file failed");
        Error::Internal
    })?
}

/// Receives one chunk, and returns how many bytes are on the disk.
pub(super) async fn chunk(app: &Arc<App>, caller: Caller, request: UploadChunkRequest) -> Result<i64, Error> {
    check_chunk(app, &request.chunk)?;
    let (upload, claim) = begin(app, &caller, &request.upload_id, request.offset)?;
    let (chunks, queue) = mpsc::channel(1);
    let writing = write(app, caller, &upload, claim, queue);
    let sent = chunks.send(request.chunk).await;
    drop(chunks);
    let committed = writing.await?;
    // If the writer was gone, it has said why.
    sent.map_err(|_| Error::Internal)?;
    Ok(committed)
}

/// Writes what comes out of `chunks`, and tells in the end how many bytes are on the disk. It goes on if nobody waits for that any more: what came
/// before the client went counts.
fn write(
    app: &Arc<App>,
    caller: Caller,
    upload: &Upload,
    claim: Claim,
    chunks: mpsc::Receiver<Bytes>,
) -> impl Future<Output = Result<i64, Error>> + use<> {
    let committing = Committing {
        app: Arc::clone(app),
        caller,
        id: upload.id,
    };
    let work = tokio::spawn(write_all(committing, claim, upload.committed, upload.size, chunks));
    async move { joined(work.await) }
}

/// What a task came to that worked on a file.
fn joined<T>(outcome: Result<Result<T, Error>, JoinError>) -> Result<T, Error> {
    outcome.map_err(|error| {
        tracing::error!(%error, "A task that worked on a file died");
        Error::Internal
    })?
}

async fn write_all(
    committing: Committing,
    claim: Claim,
    mut committed: i64,
    size: i64,
    mut chunks: mpsc::Receiver<Bytes>,
) -> Result<i64, Error> {
    let app = Arc::clone(&committing.app);
    let mut pace = Pace::new(app.view().read(|state| state.size));
    let opened = app.blocking(move || claim.open(committed)).await?;
    let mut writing = opened.map_err(|error| failed(&error))?;
    let mut syncing: Option<JoinHandle<Result<i64, Error>>> = None;
    let mut begun = committed;
    let outcome = loop {
        // A thread is taken for what is there only: however many clients are slow, none of them holds one.
        let mut came = Vec::with_capacity(CHUNKS);
        if chunks.recv_many(&mut came, CHUNKS).await == 0 {
            break Ok(());
        }
        let (written, back) = app.blocking(move || (write_each(&mut writing, &came, size), writing)).await?;
        writing = back;
        if written.is_err() {
            break written;
        }
        let rows = app.view().read(|state| state.size);
        if writing.offset() - begun >= pace.step(rows, std::time::Instant::now()) {
            if let Some(syncing) = syncing.take() {
                committed = joined(syncing.await)?;
            }
            begun = writing.offset();
            // Writing goes on meanwhile: a client that waits for the disk fills every buffer on the way, and all of that is lost in a crash.
            let sync = committing.clone().sync(writing.syncing(), begun, committed);
            syncing = Some(tokio::spawn(sync));
        }
    };
    // Nobody is to wait for a place while this one is already on its way out.
    drop(chunks);
    if let Some(syncing) = syncing {
        committed = joined(syncing.await)?;
    }
    if writing.offset() > committed {
        committed = committing.commit(writing.syncing(), writing.offset()).await?;
    }
    writing.keep_hash();
    outcome.map(|()| committed)
}

/// Writes chunks, as far as they fit into `size` and onto the disk.
fn write_each(writing: &mut Writing, chunks: &[Bytes], size: i64) -> Result<(), Error> {
    for chunk in chunks {
        let length = i64::try_from(chunk.len()).unwrap_or(i64::MAX);
        if writing.offset().saturating_add(length) > size {
            return Err(Error::FileTooLarge { limit: size });
        }
        writing.write(chunk).map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// Makes bytes of an upload count.
#[derive(Clone)]
struct Committing {
    app: Arc<App>,
    caller: Caller,
    id: FileId,
}

impl Committing {
    /// Brings the first `written` bytes to the disk, of which `committed` were noted before, and has them noted if that is worth it; returns how
    /// many are.
    async fn sync(self, sync: Syncing, written: i64, committed: i64) -> Result<i64, Error> {
        if written - committed >= NOTE_EACH {
            return self.commit(sync, written).await;
        }
        self.app.blocking(move || sync.run()).await?.map_err(|error| failed(&error))?;
        Ok(committed)
    }

    /// Brings the first `committed` bytes to the disk, and has the journal's writer note them; returns how many.
    async fn commit(self, sync: Syncing, committed: i64) -> Result<i64, Error> {
        let Self { app, caller, id } = self;
        app.blocking(move || sync.run()).await?.map_err(|error| failed(&error))?;
        app.journal.append(Command::NoteUpload { caller, id, committed }).await?;
        Ok(committed)
    }
}

/// Checks a whole upload, makes it a file, and shares it.
pub(super) async fn complete(
    app: &Arc<App>,
    caller: Caller,
    request: CompleteUploadRequest,
) -> Result<(v1::File, v1::Receipt), Error> {
    let sha256 = hash("sha256", &request.sha256)?;
    let id = convert::upload_id(&request.upload_id)?;
    let change = Change::CompleteUpload { upload: id, sha256 };
    convert::request_id(&request.request_id)?;
    let app = Arc::clone(app);
    // It goes on if the client goes, so that nothing is left half done.
    let work = tokio::spawn(async move {
        let Ok(upload) = app.upload(&caller, id) else {
            // Complete already, if this repeats the request that completed it.
            return app.stored(caller, &request.request_id, change, id).await;
        };
        let claim = app.claim(id)?;
        if upload.committed != upload.size {
            return Err(Error::UploadIncomplete {
                committed: upload.committed,
                size: upload.size,
            });
        }
        app.view()
            .read(|state| permissions::writer(state, caller.user, upload.room).map(|_| ()))?;
        let (hashed, claim) = app.blocking(move || (claim.hash(upload.size), claim)).await?;
        if hashed.map_err(|error| failed(&error))? != sha256 {
            app.give_up(&caller, id, claim).await?;
            return Err(Error::HashMismatch);
        }
        app.keep(caller, &request.request_id, change, id, claim).await
    });
    work.await.map_err(|error| {
        tracing::error!(%error, "Completing an upload failed");
        Error::Internal
    })?
}

/// Takes a small file in one call.
pub(super) async fn small_file(
    app: &Arc<App>,
    caller: Caller,
    request: UploadFileRequest,
) -> Result<(v1::File, v1::Receipt), Error> {
    let limit = app.config.limits.file_chunk_bytes;
    if request.content.len() > limit {
        return Err(Error::invalid(
            "content",
            format!("at most {limit} bytes are allowed; send larger files by CreateUpload"),
        ));
    }
    let size = i64::try_from(request.content.len()).map_err(|_| Error::Internal)?;
    let told = request.sha256.as_ref().map(|bytes| hash("sha256", bytes)).transpose()?;
    let room = convert::room_id(&request.room_id)?;
    let file = FileId::of_request(convert::request_id(&request.request_id)?.key(caller.user));
    let (name, media_type) = (name(request.name)?, media_type(request.media_type)?);
    let (content, request_id) = (request.content, request.request_id);
    let app = Arc::clone(app);
    let work = tokio::spawn(async move {
        let (found, content) = app.blocking(move || (sha256(&[&content]), content)).await?;
        if told.is_some_and(|told| told != found) {
            return Err(Error::HashMismatch);
        }
        let new = NewFile {
            room,
            name,
            media_type,
            size,
        };
        let change = Change::UploadFile {
            file,
            new,
            sha256: found,
        };
        let claim = app.claim(file)?;
        let known = app
            .view()
            .read(|state| state.files().get(file).is_some() || state.files().upload(file).is_some());
        if known {
            return app.stored(caller, &request_id, change, file).await;
        }
        let limits = app.config.limits.of_files();
        app.view().read(|state| may_upload(state, limits, caller.user, room, size))?;
        let (written, claim) = app.blocking(move || (claim.write_whole(&content), claim)).await?;
        if let Err(error) = written {
            app.blocking(move || claim.remove()).await?;
            return Err(failed(&error));
        }
        app.keep(caller, &request_id, change, file, claim).await
    });
    work.await.map_err(|error| {
        tracing::error!(%error, "Taking a file failed");
        Error::Internal
    })?
}

impl App {
    /// Has a change stored that shares the file `id`, and tells about the file.
    async fn stored(
        &self,
        caller: Caller,
        request_id: &str,
        change: Change,
        id: FileId,
    ) -> Result<(v1::File, v1::Receipt), Error> {
        let receipt = self.change(caller, request_id, Ok(change)).await?;
        Ok((self.file(&caller, id).await?, receipt.ok_or(Error::Internal)?))
    }

    /// Makes a staged file, which is synced and verified, durable and then visible. If it is refused, an upload stays as it was.
    async fn keep(
        &self,
        caller: Caller,
        request_id: &str,
        change: Change,
        id: FileId,
        claim: Claim,
    ) -> Result<(v1::File, v1::Receipt), Error> {
        self.blobs.adopt(id, claim.path()).await?;
        let receipt = self.change(caller, request_id, Ok(change)).await;
        let (is_file, is_upload) = self
            .view()
            .read(|state| (state.files().get(id).is_some(), state.files().upload(id).is_some()));
        match &receipt {
            // The row may be there, and then the bytes must be. The next start looks.
            Err(Error::OutcomeUnknown | Error::Stopping) => {}
            Err(_) if !is_file => {
                if let Err(error) = self.blobs.remove(id).await {
                    tracing::warn!(file.id = %id, error = &error as &dyn std::error::Error,
                        "The bytes of a file that was refused could not be removed; the next start does it");
                }
                if !is_upload {
                    self.blocking(move || claim.remove()).await?;
                }
            }
            _ => self.blocking(move || claim.remove()).await?,
        }
        let receipt = receipt?.ok_or(Error::Internal)?;
        Ok((self.file(&caller, id).await?, receipt))
    }
}
