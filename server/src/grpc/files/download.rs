//! Bytes on their way to a reader. Whether they may read is looked at before each chunk that leaves.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, try_unfold};
use greffe_api::v1::download_file_response::Part;
use greffe_api::v1::{DownloadFileRequest, DownloadFileResponse, DownloadHeader};
use tonic::Status;

use super::super::{App, convert};
use crate::domain::caller::Caller;
use crate::domain::error::Error;
use crate::domain::files::{not_quarantined, readable};
use crate::domain::ids::FileId;

/// Bytes of a chunk that is sent.
const CHUNK_BYTES: usize = 256 * 1024;
/// Bytes that are read at a time.
const READ_BYTES: u64 = 1024 * 1024;

/// What is left to send.
struct Download {
    app: Arc<App>,
    caller: Caller,
    id: FileId,
    size: u64,
    /// The next byte to read.
    next: u64,
    header: Option<DownloadHeader>,
    /// What was read and not sent yet.
    read: Bytes,
}

pub(super) async fn stream(
    app: Arc<App>,
    caller: Caller,
    request: &DownloadFileRequest,
) -> Result<BoxStream<'static, Result<DownloadFileResponse, Status>>, Error> {
    let id = convert::file_id(&request.file_id)?;
    let file = app.file(&caller, id).await?;
    app.view().read(|state| not_quarantined(state, id))?;
    let size = u64::try_from(file.size).map_err(|_| Error::Internal)?;
    let next = u64::try_from(request.offset).ok().filter(|next| *next <= size);
    let next = next.ok_or_else(|| Error::invalid("offset", format!("0 to {size} are allowed")))?;
    let header = Some(DownloadHeader {
        file: Some(file),
        offset: request.offset,
    });
    let download = Download {
        app,
        caller,
        id,
        size,
        next,
        header,
        read: Bytes::new(),
    };
    Ok(try_unfold(download, |mut download| async move {
        let part = download.part().await?;
        Ok(part.map(|part| (DownloadFileResponse { part: Some(part) }, download)))
    })
    .boxed())
}

impl Download {
    /// Refuses who may read no more.
    fn check(&self) -> Result<(), Error> {
        self.app.view().read(|state| {
            state.session(self.caller.session).ok_or(Error::SessionEnded)?;
            readable(state, self.caller.user, self.id).ok_or(Error::FileNotFound)?;
            not_quarantined(state, self.id)
        })
    }

    /// The next part; none at the end.
    async fn part(&mut self) -> Result<Option<Part>, Error> {
        if let Some(header) = self.header.take() {
            return Ok(Some(Part::Header(header)));
        }
        if self.read.is_empty() {
            if self.next == self.size {
                return Ok(None);
            }
            let end = self.size.min(self.next + READ_BYTES);
            self.read = self.app.blobs.read(self.id, self.next..end).await?;
            if self.read.len() as u64 != end - self.next {
                tracing::error!(file.id = %self.id, "A file's bytes are not all there");
                return Err(Error::Internal);
            }
            self.next = end;
        }
        // Last, so that nothing leaves that was allowed before it was read only.
        self.check()?;
        let chunk = self.read.split_to(CHUNK_BYTES.min(self.read.len()));
        Ok(Some(Part::Chunk(chunk)))
    }
}
