//! `FileService`: its calls. How bytes come and go is in `files/`.

mod download;
pub(super) mod list;
mod pace;
mod receive;

use std::time::Duration;

use futures_util::stream::BoxStream;
use greffe_api::server::v1::file_service_server::FileService;
use greffe_api::v1::event_body::Content;
use greffe_api::v1::{
    self, CancelUploadRequest, CancelUploadResponse, CompleteUploadRequest, CompleteUploadResponse,
    CreateUploadRequest, CreateUploadResponse, DeleteFileRequest, DeleteFileResponse, DownloadFileRequest,
    DownloadFileResponse, GetFileRequest, GetFileResponse, GetUploadRequest, GetUploadResponse, ListFilesRequest,
    ListFilesResponse, ListUploadsRequest, ListUploadsResponse, ShareFileRequest, ShareFileResponse,
    UploadChunkRequest, UploadChunkResponse, UploadFileRequest, UploadFileResponse, WriteUploadRequest,
    WriteUploadResponse,
};
use tonic::{Request, Response, Status, Streaming};

use super::auth::caller;
use super::{App, Services, convert};
use crate::blobs::BlobError;
use crate::domain::caller::Caller;
use crate::domain::clock::timestamp;
use crate::domain::command::{Change, Command, NewFile, Outcome};
use crate::domain::error::Error;
use crate::domain::files::{File, Upload, readable, visible_shares};
use crate::domain::ids::FileId;
use crate::domain::state::State;
use crate::journal::event::{decode_content, decode_head};
use crate::staging::Claim;
use crate::store::StoredEvent;

/// After which somebody may try again who found an upload busy.
const BUSY: Duration = Duration::from_millis(500);
/// Places of a file that are told.
const SHARES: usize = 100;

/// Why bytes of a file could not be written or read. What is wrong with the disk is for the log.
fn failed(error: &std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Error::DiskFullForFile,
        _ => {
            tracing::error!(%error, "Reading or writing a file failed");
            Error::Internal
        }
    }
}

impl From<BlobError> for Error {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Full => Self::DiskFullForFile,
            BlobError::Missing | BlobError::Io(_) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "Reading or writing a file failed"
                );
                Self::Internal
            }
        }
    }
}

impl App {
    /// Runs what blocks, where it may and disturbs nobody.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        self.background.run(work).await.map_err(|error| {
            tracing::error!(%error, "A thread that worked on a file died");
            Error::Internal
        })
    }
}

/// A file as `caller` sees it, of which `row` is the row that shared it first. None if that was erased.
fn describe(state: &State, caller: &Caller, file: &File, row: &StoredEvent) -> Option<v1::File> {
    let Content::FileShared(shared) = decode_content(row.body.as_ref()?)? else {
        return None;
    };
    let places = visible_shares(state, caller.user, file).into_iter().take(SHARES);
    Some(v1::File {
        id: shared.file_id,
        name: shared.name,
        size: shared.size,
        sha256: shared.sha256,
        media_type: shared.media_type,
        owner_id: shared.owner_id,
        created_at: decode_head(&row.head)?.time,
        shares: places
            .map(|share| v1::FileShare {
                room_id: share.room.to_string(),
                seq: share.seq,
            })
            .collect(),
        quarantined: state.standing().why_quarantined(file.id).is_some(),
    })
}

impl App {
    fn claim(&self, id: FileId) -> Result<Claim, Error> {
        self.staging.claim(id).ok_or(Error::UploadBusy { retry_after: BUSY })
    }

    /// An upload of the caller.
    fn upload(&self, caller: &Caller, id: FileId) -> Result<Upload, Error> {
        let found = self.view().read(|state| state.files().upload(id).cloned());
        found.filter(|upload| upload.owner == caller.user).ok_or(Error::UploadNotFound)
    }

    fn tell_upload(&self, upload: Upload) -> v1::Upload {
        let limits = &self.config.limits;
        let idle = super::auth::seconds(limits.upload_idle_seconds).unwrap_or(i64::MAX);
        v1::Upload {
            id: upload.id.to_string(),
            name: upload.name,
            size: upload.size,
            committed_size: upload.committed,
            chunk_bytes: i32::try_from(limits.file_chunk_bytes).unwrap_or(i32::MAX),
            expires_at: Some(timestamp(upload.used.saturating_add(idle))),
            media_type: upload.media_type,
            room_id: upload.room.to_string(),
        }
    }

    /// A file that the caller may read.
    async fn file(&self, caller: &Caller, id: FileId) -> Result<v1::File, Error> {
        let no = self
            .view()
            .read(|state| readable(state, caller.user, id).map(|file| file.no))
            .ok_or(Error::FileNotFound)?;
        let row = self.reader.row(no).await?.ok_or(Error::FileNotFound)?;
        // Again, because the right may have gone meanwhile.
        self.view()
            .read(|state| describe(state, caller, readable(state, caller.user, id)?, &row))
            .ok_or(Error::FileNotFound)
    }

    async fn create_upload(&self, request: Request<CreateUploadRequest>) -> Result<CreateUploadResponse, Error> {
        let caller = caller(self, &request)?;
        let request = request.into_inner();
        let key = convert::request_id(&request.request_id)?.key(caller.user);
        if request.size < 0 {
            return Err(Error::invalid("size", "it must be 0 or more"));
        }
        let command = Command::CreateUpload {
            caller,
            id: FileId::of_request(key),
            new: NewFile {
                room: convert::room_id(&request.room_id)?,
                name: receive::name(request.name)?,
                media_type: receive::media_type(request.media_type)?,
                size: request.size,
            },
        };
        match self.journal.append(command).await? {
            Outcome::Upload(upload) => Ok(CreateUploadResponse {
                upload: Some(self.tell_upload(*upload)),
            }),
            _ => Err(Error::Internal),
        }
    }

    async fn cancel_upload(&self, request: Request<CancelUploadRequest>) -> Result<CancelUploadResponse, Error> {
        let caller = caller(self, &request)?;
        let id = convert::upload_id(&request.get_ref().upload_id)?;
        self.upload(&caller, id)?;
        let claim = self.claim(id)?;
        self.give_up(&caller, id, claim).await?;
        Ok(CancelUploadResponse {})
    }

    /// Gives an upload of the caller up, with its bytes.
    async fn give_up(&self, caller: &Caller, id: FileId, claim: Claim) -> Result<(), Error> {
        let owner = caller.user;
        self.journal.append(Command::DropUpload { owner, id }).await?;
        self.blocking(move || claim.remove()).await
    }

    /// Gives up uploads that got no bytes for too long.
    pub async fn sweep_uploads(&self) {
        let idle = super::auth::seconds(self.config.limits.upload_idle_seconds).unwrap_or(i64::MAX);
        let before = crate::domain::clock::now().saturating_sub(idle);
        let old: Vec<(crate::domain::ids::UserId, FileId)> = self.view().read(|state| {
            let old = state.files().uploads().filter(|upload| upload.used < before);
            old.map(|upload| (upload.owner, upload.id)).collect()
        });
        for (owner, id) in old {
            // Who writes it now keeps it.
            let Some(claim) = self.staging.claim(id) else { continue };
            if self.journal.append(Command::DropUpload { owner, id }).await.is_ok() {
                let _ = self.blocking(move || claim.remove()).await;
            }
        }
    }

    async fn share_file(&self, request: Request<ShareFileRequest>) -> Result<ShareFileResponse, Error> {
        let caller = caller(self, &request)?;
        let request = request.into_inner();
        let file = convert::file_id(&request.file_id)?;
        let change = convert::room_id(&request.room_id).map(|room| Change::ShareFile { file, room });
        let receipt = self.change(caller, &request.request_id, change).await?;
        Ok(ShareFileResponse { receipt })
    }

    async fn delete_file(&self, request: Request<DeleteFileRequest>) -> Result<DeleteFileResponse, Error> {
        let caller = caller(self, &request)?;
        let request = request.into_inner();
        let file = convert::file_id(&request.file_id)?;
        let room = if request.room_id.is_empty() {
            None
        } else {
            Some(convert::room_id(&request.room_id).map_err(|_| Error::FileNotFound)?)
        };
        let change = Ok(Change::DeleteFile { file, room });
        let receipt = self.change(caller, &request.request_id, change).await?;
        Ok(DeleteFileResponse { receipt })
    }
}

#[tonic::async_trait]
impl FileService for Services {
    type DownloadFileStream = BoxStream<'static, Result<DownloadFileResponse, Status>>;

    async fn create_upload(
        &self,
        request: Request<CreateUploadRequest>,
    ) -> Result<Response<CreateUploadResponse>, Status> {
        Ok(Response::new(self.0.create_upload(request).await?))
    }

    async fn write_upload(
        &self,
        request: Request<Streaming<WriteUploadRequest>>,
    ) -> Result<Response<WriteUploadResponse>, Status> {
        let caller = caller(self, &request)?;
        let committed_size = receive::stream(&self.0, caller, request.into_inner()).await?;
        Ok(Response::new(WriteUploadResponse { committed_size }))
    }

    async fn upload_chunk(
        &self,
        request: Request<UploadChunkRequest>,
    ) -> Result<Response<UploadChunkResponse>, Status> {
        let caller = caller(self, &request)?;
        let committed_size = receive::chunk(&self.0, caller, request.into_inner()).await?;
        Ok(Response::new(UploadChunkResponse { committed_size }))
    }

    async fn get_upload(&self, request: Request<GetUploadRequest>) -> Result<Response<GetUploadResponse>, Status> {
        let caller = caller(self, &request)?;
        let upload = self.upload(&caller, convert::upload_id(&request.get_ref().upload_id)?)?;
        Ok(Response::new(GetUploadResponse {
            upload: Some(self.tell_upload(upload)),
        }))
    }

    async fn list_uploads(
        &self,
        request: Request<ListUploadsRequest>,
    ) -> Result<Response<ListUploadsResponse>, Status> {
        let caller = caller(self, &request)?;
        let found: Vec<Upload> = self
            .view()
            .read(|state| state.files().uploads_of(caller.user).cloned().collect());
        Ok(Response::new(ListUploadsResponse {
            uploads: found.into_iter().map(|upload| self.tell_upload(upload)).collect(),
        }))
    }

    async fn complete_upload(
        &self,
        request: Request<CompleteUploadRequest>,
    ) -> Result<Response<CompleteUploadResponse>, Status> {
        let caller = caller(self, &request)?;
        let (file, receipt) = receive::complete(&self.0, caller, request.into_inner()).await?;
        Ok(Response::new(CompleteUploadResponse {
            file: Some(file),
            receipt: Some(receipt),
        }))
    }

    async fn cancel_upload(
        &self,
        request: Request<CancelUploadRequest>,
    ) -> Result<Response<CancelUploadResponse>, Status> {
        Ok(Response::new(self.0.cancel_upload(request).await?))
    }

    async fn upload_file(&self, request: Request<UploadFileRequest>) -> Result<Response<UploadFileResponse>, Status> {
        let caller = caller(self, &request)?;
        let (file, receipt) = receive::small_file(&self.0, caller, request.into_inner()).await?;
        Ok(Response::new(UploadFileResponse {
            file: Some(file),
            receipt: Some(receipt),
        }))
    }

    async fn download_file(
        &self,
        request: Request<DownloadFileRequest>,
    ) -> Result<Response<Self::DownloadFileStream>, Status> {
        let caller = caller(self, &request)?;
        Ok(Response::new(
            download::stream(std::sync::Arc::clone(&self.0), caller, request.get_ref()).await?,
        ))
    }

    async fn get_file(&self, request: Request<GetFileRequest>) -> Result<Response<GetFileResponse>, Status> {
        let caller = caller(self, &request)?;
        let file = self.file(&caller, convert::file_id(&request.get_ref().file_id)?).await?;
        Ok(Response::new(GetFileResponse { file: Some(file) }))
    }

    async fn list_files(&self, request: Request<ListFilesRequest>) -> Result<Response<ListFilesResponse>, Status> {
        let caller = caller(self, &request)?;
        Ok(Response::new(self.0.list_files(&caller, &request.into_inner()).await?))
    }

    async fn share_file(&self, request: Request<ShareFileRequest>) -> Result<Response<ShareFileResponse>, Status> {
        Ok(Response::new(self.0.share_file(request).await?))
    }

    async fn delete_file(&self, request: Request<DeleteFileRequest>) -> Result<Response<DeleteFileResponse>, Status> {
        Ok(Response::new(self.0.delete_file(request).await?))
    }
}
