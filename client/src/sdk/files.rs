//! Files: the calls, one each. How bytes go up and come down is in [`mod@upload`] and [`mod@download`].

mod digest;
mod download;
mod upload;

use std::time::Duration;

use bytes::Bytes;
use greffe_api::v1::{
    CancelUploadRequest, CompleteUploadRequest, CreateUploadRequest, DeleteFileRequest, ErrorReason, File, FileFilter,
    FileOrder, GetFileRequest, GetUploadRequest, ListFilesRequest, ListUploadsRequest, Receipt, ShareFileRequest,
    Upload, UploadFileRequest,
};
use tokio::time::Instant;

pub use self::digest::Sha256;
use super::client::Client;
use super::error::Error;
use super::methods::Method;
use super::pauses::Pauses;

/// How long the server may take to check and store a whole file.
const COMPLETION: Duration = Duration::from_secs(600);

/// How far a transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are there, those of earlier tries included.
    pub done: u64,
    /// Bytes of the whole.
    pub total: u64,
}

/// Is told how far a transfer is, with each piece. Called from within the runtime: it must not block.
pub type ProgressObserver<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// A file to send.
#[derive(Clone, Debug, Default)]
pub struct NewFile {
    /// The name: 1 to 255 bytes.
    pub name: String,
    /// What it is, such as `image/png`; may be empty.
    pub media_type: String,
    /// The id of the room to share it in.
    pub room_id: String,
}

/// Which files to list. The default: all that the caller may read, newest first.
#[derive(Clone, Debug, Default)]
pub struct FileQuery {
    /// Only those that the caller sent, or those of a room.
    pub filter: FileFilter,
    /// With [`FileFilter::Room`]: the room's id.
    pub room_id: String,
    /// In what order.
    pub order: FileOrder,
    /// Only files whose name is exactly this; empty: any.
    pub name: String,
}

fn receipt(receipt: Option<Receipt>) -> Result<Receipt, Error> {
    receipt.ok_or_else(|| Error::malformed("the receipt"))
}

fn file(file: Option<File>) -> Result<File, Error> {
    file.ok_or_else(|| Error::malformed("the file"))
}

fn upload(upload: Option<Upload>) -> Result<Upload, Error> {
    upload.ok_or_else(|| Error::malformed("the upload"))
}

impl Client {
    /// Reserves room for a file of `size` bytes. Bring the bytes with [`Client::send_bytes`], then [`Client::complete_upload`]. With the same
    /// `request_id` it is the same upload.
    pub async fn create_upload(&self, new: &NewFile, size: u64, request_id: &str) -> Result<Upload, Error> {
        let request = CreateUploadRequest {
            request_id: request_id.to_owned(),
            name: new.name.clone(),
            media_type: new.media_type.clone(),
            room_id: new.room_id.clone(),
            size: i64::try_from(size).unwrap_or(i64::MAX),
        };
        upload(self.call(request).await?.upload)
    }

    /// How far an upload of the caller is.
    pub async fn upload(&self, upload_id: &str) -> Result<Upload, Error> {
        let request = GetUploadRequest {
            upload_id: upload_id.to_owned(),
        };
        upload(self.call(request).await?.upload)
    }

    /// The caller's uploads that are not complete, oldest first.
    pub async fn uploads(&self) -> Result<Vec<Upload>, Error> {
        Ok(self.call(ListUploadsRequest {}).await?.uploads)
    }

    /// Has the whole checked, made durable and shared. To repeat it later without sharing twice, give the same `request_id`; see
    /// [`new_request_id`](crate::new_request_id).
    pub async fn complete_upload(
        &self,
        upload_id: &str,
        sha256: [u8; 32],
        request_id: &str,
    ) -> Result<(File, Receipt), Error> {
        let request = CompleteUploadRequest {
            request_id: request_id.to_owned(),
            upload_id: upload_id.to_owned(),
            sha256: Bytes::copy_from_slice(&sha256),
        };
        // A large file takes longer to check and to move than a call may take; the work goes on, and a later call finds it done.
        let response = self.call_while_busy(request, COMPLETION).await?;
        Ok((file(response.file)?, receipt(response.receipt)?))
    }

    /// Gives an upload up, with its bytes.
    pub async fn cancel_upload(&self, upload_id: &str) -> Result<(), Error> {
        let request = CancelUploadRequest {
            upload_id: upload_id.to_owned(),
        };
        // The server may not have noticed yet that whoever sent it is gone.
        self.call_while_busy(request, self.options().retry_for).await.map(drop)
    }

    /// Sends a small file in one call: at most `limits.file_chunk_bytes`. With the same `request_id` it is shared once.
    pub async fn upload_file(&self, new: &NewFile, content: Bytes, request_id: &str) -> Result<(File, Receipt), Error> {
        let mut hash = Sha256::new();
        hash.update(&content);
        let request = UploadFileRequest {
            request_id: request_id.to_owned(),
            name: new.name.clone(),
            media_type: new.media_type.clone(),
            room_id: new.room_id.clone(),
            sha256: Some(Bytes::copy_from_slice(&hash.finish())),
            content,
        };
        let response = self.call_while_busy(request, self.options().retry_for).await?;
        Ok((file(response.file)?, receipt(response.receipt)?))
    }

    /// The file with this id.
    pub async fn file(&self, file_id: &str) -> Result<File, Error> {
        let request = GetFileRequest {
            file_id: file_id.to_owned(),
        };
        file(self.call(request).await?.file)
    }

    /// Lists files.
    pub async fn files(&self, query: &FileQuery) -> Result<Vec<File>, Error> {
        let request = |page_token| ListFilesRequest {
            filter: query.filter.into(),
            room_id: query.room_id.clone(),
            order: query.order.into(),
            page_size: 0,
            page_token,
            name: query.name.clone(),
        };
        self.all_pages(request, |page| (page.files, page.next_page_token)).await
    }

    /// Shares a file in another room.
    pub async fn share_file(&self, file_id: &str, room_id: &str) -> Result<Receipt, Error> {
        let request = ShareFileRequest {
            file_id: file_id.to_owned(),
            room_id: room_id.to_owned(),
            ..Default::default()
        };
        receipt(self.call(request).await?.receipt)
    }

    /// Takes a file away: from one room, or with an empty `room_id` from everywhere.
    pub async fn delete_file(&self, file_id: &str, room_id: &str) -> Result<Receipt, Error> {
        let request = DeleteFileRequest {
            file_id: file_id.to_owned(),
            room_id: room_id.to_owned(),
            ..Default::default()
        };
        receipt(self.call(request).await?.receipt)
    }

    /// Makes a call, again while another one works on the same upload.
    async fn call_while_busy<M: Method>(&self, request: M, patience: Duration) -> Result<M::Response, Error> {
        let deadline = Instant::now() + patience;
        let mut pauses = Pauses::default();
        loop {
            let error = match self.call(request.clone()).await {
                Err(error) if error.is(ErrorReason::UploadBusy) => error,
                outcome => return outcome,
            };
            let pause = pauses.next(error.retry_after);
            if Instant::now() + pause > deadline {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
        }
    }
}
