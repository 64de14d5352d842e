//! A client that moves files as any would, and does nothing else: no hash of its own, so that it is not what is measured.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, bail};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use greffe_api::v1::file_service_client::FileServiceClient;
use greffe_api::v1::{
    CompleteUploadRequest, CreateUploadRequest, DownloadFileRequest, WriteUploadHeader, WriteUploadRequest,
    download_file_response, write_upload_request,
};
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

use super::source::Source;

/// Bytes of a window of a stream, and of a connection: what the SDK has.
const WINDOW: u32 = 4 * 1024 * 1024;
/// The largest frame that is taken.
const FRAME: u32 = 1024 * 1024;
/// The largest answer that is taken.
const ANSWER: usize = 8 * 1024 * 1024;

/// Someone who sends and fetches files over a connection of their own.
#[derive(Debug)]
pub(super) struct Client {
    files: FileServiceClient<Channel>,
    authorization: MetadataValue<Ascii>,
}

impl Client {
    /// Connects in the name of whom `token` belongs to.
    pub(super) async fn connect(address: SocketAddr, token: &str) -> anyhow::Result<Self> {
        let channel = Endpoint::from_shared(format!("http://{address}"))?
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(2 * WINDOW)
            .max_frame_size(FRAME)
            .connect()
            .await
            .context("the server cannot be reached")?;
        Ok(Self {
            files: FileServiceClient::new(channel).max_decoding_message_size(ANSWER),
            authorization: format!("Bearer {token}")
                .parse()
                .context("the token does not fit into metadata")?,
        })
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        request
    }

    /// Sends a file in chunks of `chunk` bytes into a room, until it is stored and shared there; returns its id.
    pub(super) async fn upload(&mut self, source: &Source, room: &str, chunk: usize) -> anyhow::Result<String> {
        let create = self.request(CreateUploadRequest {
            request_id: Uuid::new_v4().to_string(),
            name: "bench.bin".to_owned(),
            size: i64::try_from(source.size).context("the file is too large")?,
            media_type: "application/octet-stream".to_owned(),
            room_id: room.to_owned(),
        });
        let upload = self.files.create_upload(create).await?.into_inner().upload;
        let upload = upload.context("the answer has no upload")?;
        let parts = self.request(stream::iter(parts(&source.path, upload.id.clone(), chunk)?));
        let committed = self.files.write_upload(parts).await?.into_inner().committed_size;
        if u64::try_from(committed) != Ok(source.size) {
            bail!("the server has {committed} of {} bytes", source.size);
        }
        let complete = self.request(CompleteUploadRequest {
            request_id: Uuid::new_v4().to_string(),
            upload_id: upload.id,
            sha256: source.sha256.to_vec().into(),
        });
        let file = self.files.complete_upload(complete).await?.into_inner().file;
        Ok(file.context("the answer has no file")?.id)
    }

    /// Fetches a file, and hands each chunk to `take`.
    pub(super) async fn download(&mut self, id: &str, mut take: impl FnMut(&Bytes)) -> anyhow::Result<u64> {
        let request = self.request(DownloadFileRequest {
            file_id: id.to_owned(),
            offset: 0,
        });
        let mut answers = self.files.download_file(request).await?.into_inner();
        let mut bytes = 0;
        while let Some(answer) = answers.message().await? {
            if let Some(download_file_response::Part::Chunk(chunk)) = answer.part {
                bytes += chunk.len() as u64;
                take(&chunk);
            }
        }
        Ok(bytes)
    }
}

/// What an upload's stream is made of.
fn parts(
    path: &Path,
    upload_id: String,
    chunk: usize,
) -> anyhow::Result<impl Iterator<Item = WriteUploadRequest> + Send + 'static> {
    use write_upload_request::Part;
    let mut file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let header = Part::Header(WriteUploadHeader { upload_id, offset: 0 });
    // An upload that ends early is refused when it is completed.
    let chunks = std::iter::from_fn(move || next(&mut file, chunk).ok().filter(|chunk| !chunk.is_empty()));
    let parts = std::iter::once(header).chain(chunks.map(Part::Chunk));
    Ok(parts.map(|part| WriteUploadRequest { part: Some(part) }))
}

/// The next `length` bytes, or fewer at the end.
fn next(file: &mut File, length: usize) -> io::Result<Bytes> {
    let mut chunk = BytesMut::zeroed(length);
    let mut filled = 0;
    while filled < length {
        match file.read(&mut chunk[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    chunk.truncate(filled);
    Ok(chunk.freeze())
}
