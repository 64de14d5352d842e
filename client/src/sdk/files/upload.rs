//! Bytes on their way up: a stream from where the server stands, begun anew after each cut.

use std::io::SeekFrom;
use std::pin::pin;
use std::time::Duration;

use bytes::BytesMut;
use greffe_api::v1::{
    ErrorReason, Upload, WriteUploadHeader, WriteUploadRequest, WriteUploadResponse, write_upload_request::Part,
};
use http::uri::PathAndQuery;
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncSeek, AsyncSeekExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_prost::ProstCodec;

use super::{Progress, ProgressObserver, Sha256};
use crate::sdk::client::Client;
use crate::sdk::error::{Error, reason};
use crate::sdk::pauses::Pauses;

const PATH: &str = "/greffe.v1.FileService/WriteUpload";
/// Bytes of a piece, if the server allows that many: large enough to cost little, small enough to be hashed within the runtime.
const PIECE: usize = 256 * 1024;
/// Pieces that may wait to be sent.
const QUEUE: usize = 4;
/// How long the server may take no piece, or not say that all are stored, before the link counts as dead.
const STALL: Duration = Duration::from_secs(60);

impl Client {
    /// Brings the bytes of `source` that an upload lacks, and returns the SHA-256 of all of them for [`Client::complete_upload`].
    ///
    /// `source` holds the whole file; what the server has already is read again for the hash only. After a cut it goes on where the server
    /// stands, for at most `Options::retry_for` without a step forward. A few pieces are held in memory.
    ///
    /// # Errors
    /// Those of `WriteUpload`, `SOURCE_UNREADABLE`, and `SOURCE_CHANGED` if `source` has fewer or more bytes than the upload.
    pub async fn send_bytes<S>(
        &self,
        upload: &Upload,
        source: &mut S,
        observer: ProgressObserver<'_>,
    ) -> Result<[u8; 32], Error>
    where
        S: AsyncRead + AsyncSeek + Unpin + Send,
    {
        let mut sending = Sending {
            upload_id: upload.id.clone(),
            size: u64::try_from(upload.size).unwrap_or_default(),
            piece: usize::try_from(upload.chunk_bytes).unwrap_or(PIECE).clamp(1, PIECE),
            committed: u64::try_from(upload.committed_size).unwrap_or_default(),
            hash: Sha256::new(),
            source,
            observer,
        };
        let mut pauses = Pauses::default();
        let mut deadline = Instant::now() + self.options().retry_for;
        loop {
            let error = match sending.attempt(self).await {
                Ok(()) => return Ok(sending.hash.finish()),
                Err(error) => error,
            };
            let go_on = [
                ErrorReason::OffsetMismatch,
                ErrorReason::UploadBusy,
                ErrorReason::UploadStalled,
            ];
            if !error.is_transient() && !go_on.into_iter().any(|reason| error.is(reason)) {
                return Err(error);
            }
            let before = sending.committed;
            sending.committed = self.committed(&sending.upload_id).await?;
            if sending.committed > before {
                pauses.reset();
                deadline = Instant::now() + self.options().retry_for;
            }
            let pause = pauses.next(error.retry_after);
            if Instant::now() + pause > deadline {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            // The server may have gone on with what came before the cut: whatever it has by now is not sent again.
            sending.committed = self.committed(&sending.upload_id).await?;
        }
    }

    async fn committed(&self, upload_id: &str) -> Result<u64, Error> {
        let upload = self.upload(upload_id).await?;
        Ok(u64::try_from(upload.committed_size).unwrap_or_default())
    }
}

/// An upload, between its tries.
struct Sending<'a, S> {
    upload_id: String,
    size: u64,
    piece: usize,
    /// Bytes that are on the server's disk, as far as is known.
    committed: u64,
    /// The hash of all bytes that were read, which are those at the beginning.
    hash: Sha256,
    source: &'a mut S,
    observer: ProgressObserver<'a>,
}

impl<S: AsyncRead + AsyncSeek + Unpin + Send> Sending<'_, S> {
    /// Sends from the committed size to the end; whatever was not hashed yet is.
    async fn attempt(&mut self, client: &Client) -> Result<(), Error> {
        let header = WriteUploadRequest {
            part: Some(Part::Header(WriteUploadHeader {
                upload_id: self.upload_id.clone(),
                offset: i64::try_from(self.committed).unwrap_or(i64::MAX),
            })),
        };
        if self.committed > self.size {
            return Err(Error::malformed("a size that fits the upload"));
        }
        // The prefix is hashed before the stream begins: a stream that stays silent for long would be cut.
        self.hash_prefix().await?;
        if self.committed == self.size {
            return self.expect_end().await;
        }
        if let Some(observer) = &client.options().observer {
            observer(PATH, &header.encode_to_vec());
        }
        let (pieces, waiting) = mpsc::channel(QUEUE);
        let mut grpc = tonic::client::Grpc::new(client.channel());
        let call = async {
            grpc.ready().await?;
            let codec: ProstCodec<WriteUploadRequest, WriteUploadResponse> = ProstCodec::default();
            let request = client.request(ReceiverStream::new(waiting));
            let answer = grpc.client_streaming(request, PathAndQuery::from_static(PATH), codec).await?;
            Ok::<_, Error>(answer.into_inner())
        };
        let mut call = pin!(call);
        let fed = tokio::select! {
            // An answer before the last piece is a refusal, or a link that broke.
            answer = &mut call => Err(answer.err().unwrap_or_else(|| Error::unreachable("the server ended the upload early"))),
            fed = self.feed(header, pieces) => fed,
        };
        // The stream is broken off by dropping the call.
        fed?;
        let answer = timeout(STALL, call).await.unwrap_or_else(|_| Err(stalled()))?;
        if u64::try_from(answer.committed_size) != Ok(self.size) {
            return Err(Error::unreachable("the server did not take all of the bytes"));
        }
        self.expect_end().await
    }

    /// Hashes what the server has and this process has not read yet.
    async fn hash_prefix(&mut self) -> Result<(), Error> {
        let start = self.hash.length().min(self.committed);
        self.source.seek(SeekFrom::Start(start)).await.map_err(unreadable)?;
        let mut position = start;
        while position < self.committed {
            position += self.read(position, self.committed).await?.len() as u64;
        }
        Ok(())
    }

    async fn feed(
        &mut self,
        header: WriteUploadRequest,
        pieces: mpsc::Sender<WriteUploadRequest>,
    ) -> Result<(), Error> {
        let mut next = header;
        let mut position = self.committed;
        loop {
            match timeout(STALL, pieces.send(next)).await {
                Err(_) => return Err(stalled()),
                // The call has ended and knows why.
                Ok(Err(_)) => std::future::pending().await,
                Ok(Ok(())) => {}
            }
            (self.observer)(Progress {
                done: position,
                total: self.size,
            });
            if position == self.size {
                return Ok(());
            }
            let piece = self.read(position, self.size).await?;
            position += piece.len() as u64;
            next = WriteUploadRequest {
                part: Some(Part::Chunk(piece.freeze())),
            };
        }
    }

    /// Reads the next piece, which ends at `end` at the latest, and hashes what of it is new.
    async fn read(&mut self, position: u64, end: u64) -> Result<BytesMut, Error> {
        let wanted = usize::try_from(end - position).unwrap_or(usize::MAX).min(self.piece);
        let mut piece = BytesMut::with_capacity(wanted);
        let mut source = (&mut *self.source).take(wanted as u64);
        while piece.len() < wanted {
            if source.read_buf(&mut piece).await.map_err(unreadable)? == 0 {
                return Err(changed("shorter"));
            }
        }
        // After a cut, pieces are read again that are in the hash already.
        let known = usize::try_from(self.hash.length().saturating_sub(position)).unwrap_or(usize::MAX);
        if let Some(new) = piece.get(known..) {
            self.hash.update(new);
        }
        Ok(piece)
    }

    /// Makes sure that there is nothing after the last byte.
    async fn expect_end(&mut self) -> Result<(), Error> {
        self.source.seek(SeekFrom::Start(self.size)).await.map_err(unreadable)?;
        match self.source.read(&mut [0]).await.map_err(unreadable)? {
            0 => Ok(()),
            _ => Err(changed("longer")),
        }
    }
}

fn stalled() -> Error {
    Error::unreachable(format!("the server has taken nothing for {} s", STALL.as_secs()))
}

#[expect(clippy::needless_pass_by_value, reason = "it is an argument of map_err")]
fn unreadable(error: std::io::Error) -> Error {
    Error::local(
        Code::FailedPrecondition,
        reason::SOURCE_UNREADABLE,
        format!("what is to be sent cannot be read: {error}"),
    )
}

fn changed(how: &str) -> Error {
    Error::local(
        Code::Aborted,
        reason::SOURCE_CHANGED,
        format!("what is to be sent became {how} meanwhile; send it again when nobody writes to it"),
    )
}
