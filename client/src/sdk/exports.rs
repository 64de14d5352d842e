//! Exports of the record on their way down: file after file, into whatever takes them.

use std::time::Duration;

use bytes::Bytes;
use greffe_api::record_api::v1::{
    DownloadExportRequest, DownloadExportResponse, ExportFile, ExportProgress, download_export_response::Piece,
};
use greffe_api::v1::{ExportMyDataRequest, ExportMyDataResponse, export_my_data_response::Piece as MyPiece};
use http::uri::PathAndQuery;
use prost::Message;
use tokio::time::{Instant, timeout};
use tonic::Streaming;
use tonic_prost::ProstCodec;

use super::client::{Client, new_request_id};
use super::error::Error;
use super::operator::Operator;
use super::pauses::Pauses;

const DOWNLOAD: &str = "/greffe.record.v1.ExportService/DownloadExport";
const MINE: &str = "/greffe.v1.ProofService/ExportMyData";
/// The last file of an export.
const LAST: &str = "manifest";
/// How long the server may send nothing before the link counts as dead. It says between pieces how far it is.
const STALL: Duration = Duration::from_secs(120);
/// The largest piece that is accepted; the API has 1 MiB.
const LARGEST_PIECE: usize = 4 * 1024 * 1024;
/// For how long a download is taken up again without a step forward.
const PATIENCE: Duration = Duration::from_secs(120);

/// Takes the files of an export, in their order. It is called within a task: what takes long blocks whoever else runs there.
///
/// Names and bytes come from the server and may be anything.
pub trait ExportSink: Send {
    /// Where to go on: the newest file and how many of its bytes are there; `None` if nothing is there yet.
    fn position(&self) -> Option<(String, u64)>;
    /// A file begins. One that goes on after a cut does not begin again.
    ///
    /// # Errors
    /// What the download is to fail with.
    fn begin(&mut self, name: &str) -> Result<(), Error>;
    /// More bytes of the newest file.
    ///
    /// # Errors
    /// What the download is to fail with.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error>;
    /// The server says how far it is with what it does first: a few words, how much is done, and of how much; 0 if that is not known.
    fn step(&mut self, step: &str, done: u64, total: u64);
}

impl Operator {
    /// Downloads an export that was ordered.
    ///
    /// After a cut it goes on where `sink` stands, for at most two minutes without a step forward. Each try leaves a row in the journal.
    ///
    /// # Errors
    /// Those of `DownloadExport`, those of `sink`, and `MALFORMED_ANSWER`.
    pub async fn download_export(
        &self,
        export_index: i64,
        reason: &str,
        sink: &mut (dyn ExportSink + '_),
    ) -> Result<(), Error> {
        let mut pauses = Pauses::default();
        let mut deadline = Instant::now() + PATIENCE;
        loop {
            let before = sink.position();
            let Err(error) = self.try_export(export_index, reason, sink).await else {
                return Ok(());
            };
            if !error.is_transient() {
                return Err(error);
            }
            if sink.position() != before {
                pauses.reset();
                deadline = Instant::now() + PATIENCE;
            }
            let pause = pauses.next(error.retry_after);
            if Instant::now() + pause > deadline {
                return Err(error);
            }
            sink.step(&format!("{error}; going on"), 0, 0);
            tokio::time::sleep(pause).await;
        }
    }

    async fn try_export(&self, export_index: i64, reason: &str, sink: &mut (dyn ExportSink + '_)) -> Result<(), Error> {
        let position = sink.position();
        let (file, offset) = position.clone().unwrap_or_default();
        let request = DownloadExportRequest {
            request_id: new_request_id(),
            reason: reason.to_owned(),
            export_index,
            file,
            offset: i64::try_from(offset).unwrap_or(i64::MAX),
        };
        let mut pieces: Streaming<DownloadExportResponse> = open(self.client(), DOWNLOAD, request).await?;
        let mut receiving = Receiving::new(position, sink);
        while let Some(response) = next(&mut pieces).await? {
            match response.piece {
                Some(Piece::Progress(ExportProgress { step, done, total })) => {
                    receiving.sink.step(&step, unsigned(done), unsigned(total));
                }
                Some(Piece::File(ExportFile { name, offset })) => receiving.begin(&name, offset)?,
                Some(Piece::Data(bytes)) => receiving.data(&bytes)?,
                None => {}
            }
        }
        receiving.end()
    }
}

impl Client {
    /// Downloads what the caller did themselves, from the beginning: the server gives it once in ten minutes, and a cut is its end.
    ///
    /// # Errors
    /// Those of `ExportMyData`, those of `sink`, and `MALFORMED_ANSWER`.
    pub async fn export_my_data(&self, sink: &mut (dyn ExportSink + '_)) -> Result<(), Error> {
        let mut pieces: Streaming<ExportMyDataResponse> = open(self, MINE, ExportMyDataRequest {}).await?;
        let mut receiving = Receiving::new(None, sink);
        while let Some(response) = next(&mut pieces).await? {
            match response.piece {
                Some(MyPiece::File(name)) => receiving.begin(&name, 0)?,
                Some(MyPiece::Data(bytes)) => receiving.data(&bytes)?,
                None => {}
            }
        }
        receiving.end()
    }
}

/// One try of a download: holds what comes against what was asked for.
struct Receiving<'a> {
    sink: &'a mut (dyn ExportSink + 'a),
    /// Where to go on, until the first file has begun.
    asked: Option<(String, u64)>,
    /// The newest file.
    file: Option<String>,
}

impl<'a> Receiving<'a> {
    fn new(asked: Option<(String, u64)>, sink: &'a mut (dyn ExportSink + '_)) -> Self {
        Self {
            sink,
            asked,
            file: None,
        }
    }

    fn begin(&mut self, name: &str, offset: i64) -> Result<(), Error> {
        let asked = self.asked.take();
        let goes_on_at = match &asked {
            Some((asked, offset)) if asked == name => *offset,
            Some(_) => return Err(Error::malformed("the part that was asked for")),
            None => 0,
        };
        if u64::try_from(offset) != Ok(goes_on_at) {
            return Err(Error::malformed("the part that was asked for"));
        }
        if self.file.as_deref() == Some(LAST) {
            return Err(Error::malformed("the order of its parts"));
        }
        if asked.is_none() {
            self.sink.begin(name)?;
        }
        self.file = Some(name.to_owned());
        Ok(())
    }

    fn data(&mut self, bytes: &Bytes) -> Result<(), Error> {
        if self.file.is_none() {
            return Err(Error::malformed("the order of its parts"));
        }
        self.sink.write(bytes)
    }

    fn end(self) -> Result<(), Error> {
        match self.file.as_deref() {
            Some(LAST) => Ok(()),
            _ => Err(Error::unreachable("the server ended the export early")),
        }
    }
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

async fn open<Q, A>(client: &Client, path: &'static str, request: Q) -> Result<Streaming<A>, Error>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    if let Some(observer) = &client.options().observer {
        observer(path, &request.encode_to_vec());
    }
    let mut grpc = tonic::client::Grpc::new(client.channel()).max_decoding_message_size(LARGEST_PIECE);
    let begin = async {
        grpc.ready().await?;
        let codec: ProstCodec<Q, A> = ProstCodec::default();
        let path = PathAndQuery::from_static(path);
        let answer = grpc.server_streaming(client.request(request), path, codec).await?;
        Ok::<_, Error>(answer.into_inner())
    };
    timeout(STALL, begin).await.unwrap_or_else(|_| Err(stalled()))
}

async fn next<A>(pieces: &mut Streaming<A>) -> Result<Option<A>, Error> {
    Ok(timeout(STALL, pieces.message()).await.map_err(|_| stalled())??)
}

fn stalled() -> Error {
    Error::unreachable(format!("the server has sent nothing for {} s", STALL.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason;

    #[derive(Default)]
    struct Taken(Vec<(String, u64)>);

    impl ExportSink for Taken {
        fn position(&self) -> Option<(String, u64)> {
            self.0.last().cloned()
        }
        fn begin(&mut self, name: &str) -> Result<(), Error> {
            self.0.push((name.to_owned(), 0));
            Ok(())
        }
        fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
            self.0.last_mut().expect("a file has begun").1 += bytes.len() as u64;
            Ok(())
        }
        fn step(&mut self, _: &str, _: u64, _: u64) {}
    }

    #[test]
    fn only_what_was_asked_for_is_taken() {
        let mut taken = Taken::default();
        let asked = Some(("tree".to_owned(), 3));
        taken.0.extend(asked.clone());
        for (name, offset) in [("keys", 3), ("tree", 0), ("tree", 4), ("tree", -1)] {
            let refused = Receiving::new(asked.clone(), &mut taken).begin(name, offset);
            assert!(refused.is_err_and(|error| error.reason == reason::MALFORMED_ANSWER));
        }
        let mut receiving = Receiving::new(asked, &mut taken);
        assert!(receiving.data(&Bytes::from_static(b"x")).is_err());
        assert!(receiving.begin("tree", 3).is_ok());
        assert!(receiving.data(&Bytes::from_static(b"xy")).is_ok());
        assert!(receiving.begin("rooms.jsonl", 7).is_err());
        assert!(receiving.begin("manifest", 0).is_ok());
        assert!(receiving.begin("tree", 0).is_err());
        assert!(receiving.end().is_ok());
        assert_eq!(taken.0, [("tree".to_owned(), 5), ("manifest".to_owned(), 0)]);
    }

    #[test]
    fn an_export_without_its_manifest_is_not_whole() {
        let mut taken = Taken::default();
        let mut receiving = Receiving::new(None, &mut taken);
        assert!(receiving.begin("README.txt", 0).is_ok());
        let ended = receiving.end();
        assert!(ended.is_err_and(|error| error.is_transient()));
    }
}
