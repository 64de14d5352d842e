//! Bytes on their way down: a stream from where the sink stands, begun anew after each cut, and checked at the end.

use std::time::Duration;

use greffe_api::v1::{DownloadFileRequest, DownloadFileResponse, ErrorReason, File, download_file_response::Part};
use http::uri::PathAndQuery;
use prost::Message as _;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};
use tonic::Code;
use tonic_prost::ProstCodec;

use super::{Progress, ProgressObserver, Sha256};
use crate::sdk::client::Client;
use crate::sdk::error::{Error, reason, reason_name};
use crate::sdk::pauses::Pauses;

const PATH: &str = "/greffe.v1.FileService/DownloadFile";
/// How long the server may send nothing before the link counts as dead.
const STALL: Duration = Duration::from_secs(60);
/// The largest piece that is accepted.
const LARGEST_PIECE: usize = 4 * 1024 * 1024;

impl Client {
    /// Writes the bytes of a file to `sink`, and checks the whole.
    ///
    /// `have` is what `sink` has already, from the beginning: [`Sha256::new`] for nothing. After a cut it goes on where `sink` stands, for at
    /// most `Options::retry_for` without a step forward. `sink` is flushed, not synced. Until this returns, what `sink` has is unchecked.
    ///
    /// # Errors
    /// Those of `DownloadFile`, `SINK_UNWRITABLE`, and `HASH_MISMATCH` if what `sink` has is not the file.
    pub async fn download<S>(
        &self,
        file: &File,
        have: Sha256,
        sink: &mut S,
        observer: ProgressObserver<'_>,
    ) -> Result<(), Error>
    where
        S: AsyncWrite + Unpin + Send,
    {
        let mut receiving = Receiving {
            file,
            size: u64::try_from(file.size).unwrap_or_default(),
            hash: have,
            sink,
            observer,
        };
        let mut pauses = Pauses::default();
        let mut deadline = Instant::now() + self.options().retry_for;
        loop {
            let before = receiving.hash.length();
            let error = match receiving.attempt(self).await {
                Ok(()) => return receiving.finish().await,
                Err(error) => error,
            };
            if !error.is_transient() {
                return Err(error);
            }
            if receiving.hash.length() > before {
                pauses.reset();
                deadline = Instant::now() + self.options().retry_for;
            }
            let pause = pauses.next(error.retry_after);
            if Instant::now() + pause > deadline {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
        }
    }
}

/// A download, between its tries.
struct Receiving<'a, S> {
    file: &'a File,
    size: u64,
    /// The hash of all that the sink has.
    hash: Sha256,
    sink: &'a mut S,
    observer: ProgressObserver<'a>,
}

impl<S: AsyncWrite + Unpin + Send> Receiving<'_, S> {
    /// Receives from where the sink stands to the end.
    async fn attempt(&mut self, client: &Client) -> Result<(), Error> {
        if self.hash.length() > self.size {
            return Err(mismatch());
        }
        let request = DownloadFileRequest {
            file_id: self.file.id.clone(),
            offset: i64::try_from(self.hash.length()).unwrap_or(i64::MAX),
        };
        if let Some(observer) = &client.options().observer {
            observer(PATH, &request.encode_to_vec());
        }
        let mut grpc = tonic::client::Grpc::new(client.channel()).max_decoding_message_size(LARGEST_PIECE);
        let begin = async {
            grpc.ready().await?;
            let codec: ProstCodec<DownloadFileRequest, DownloadFileResponse> = ProstCodec::default();
            let path = PathAndQuery::from_static(PATH);
            let answer = grpc.server_streaming(client.request(request), path, codec).await?;
            Ok::<_, Error>(answer.into_inner())
        };
        let mut parts = timeout(STALL, begin).await.unwrap_or_else(|_| Err(stalled()))?;
        let mut has_header = false;
        loop {
            let part = timeout(STALL, parts.message()).await.map_err(|_| stalled())??;
            match part.map(|response| response.part) {
                None => break,
                Some(Some(Part::Header(header))) if !has_header => {
                    has_header = true;
                    self.check(header.file.as_ref(), header.offset)?;
                }
                Some(Some(Part::Chunk(piece))) if has_header => {
                    if self.hash.length() + piece.len() as u64 > self.size {
                        return Err(mismatch());
                    }
                    self.sink.write_all(&piece).await.map_err(unwritable)?;
                    self.hash.update(&piece);
                }
                Some(None) => {}
                Some(Some(_)) => return Err(Error::malformed("the order of its parts")),
            }
            (self.observer)(Progress {
                done: self.hash.length(),
                total: self.size,
            });
        }
        if self.hash.length() < self.size {
            return Err(Error::unreachable("the server ended the download early"));
        }
        Ok(())
    }

    /// Makes sure that what comes goes on what is there.
    fn check(&self, file: Option<&File>, offset: i64) -> Result<(), Error> {
        let is_the_file = file.is_some_and(|file| {
            file.id == self.file.id && file.size == self.file.size && file.sha256 == self.file.sha256
        });
        if is_the_file && u64::try_from(offset) == Ok(self.hash.length()) {
            Ok(())
        } else {
            Err(Error::malformed("the part that was asked for"))
        }
    }

    async fn finish(self) -> Result<(), Error> {
        self.sink.flush().await.map_err(unwritable)?;
        if self.hash.finish()[..] == self.file.sha256[..] {
            Ok(())
        } else {
            Err(mismatch())
        }
    }
}

fn stalled() -> Error {
    Error::unreachable(format!("the server has sent nothing for {} s", STALL.as_secs()))
}

#[expect(clippy::needless_pass_by_value, reason = "it is an argument of map_err")]
fn unwritable(error: std::io::Error) -> Error {
    Error::local(
        Code::FailedPrecondition,
        reason::SINK_UNWRITABLE,
        format!("what comes cannot be written: {error}"),
    )
}

fn mismatch() -> Error {
    Error::local(
        Code::DataLoss,
        reason_name(ErrorReason::HashMismatch),
        "the bytes that came are not those of the file",
    )
}
