//! `greffe export` against a server that sends it, refuses it, and breaks off.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::pin::Pin;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

use greffe_api::server::v1::proof_service_server::{ProofService, ProofServiceServer};
use greffe_api::v1 as api;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, iter};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

type Piece = api::export_my_data_response::Piece;

const MANIFEST: &[u8] =
    b"greffe export 1\n{\"export\":42,\"counts\":{\"ordered\":3,\"rooms\":2,\"files\":0,\"file_bytes\":0}}\n\n\xe2\x80\x94 x AAAA\n";

/// The pieces of an export and with what it breaks off, if it does; or why there is none.
type Answer = Result<(Vec<Piece>, Option<Status>), Status>;

struct Fake {
    answers: Mutex<VecDeque<Answer>>,
}

fn absent<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("no test needs it"))
}

#[tonic::async_trait]
impl ProofService for Fake {
    async fn get_checkpoint(
        &self,
        _: Request<api::GetCheckpointRequest>,
    ) -> Result<Response<api::GetCheckpointResponse>, Status> {
        absent()
    }
    async fn get_consistency_proof(
        &self,
        _: Request<api::GetConsistencyProofRequest>,
    ) -> Result<Response<api::GetConsistencyProofResponse>, Status> {
        absent()
    }
    async fn get_inclusion_proof(
        &self,
        _: Request<api::GetInclusionProofRequest>,
    ) -> Result<Response<api::GetInclusionProofResponse>, Status> {
        absent()
    }
    async fn list_keys(&self, _: Request<api::ListKeysRequest>) -> Result<Response<api::ListKeysResponse>, Status> {
        absent()
    }

    type ExportMyDataStream = Pin<Box<dyn Stream<Item = Result<api::ExportMyDataResponse, Status>> + Send + 'static>>;

    async fn export_my_data(
        &self,
        request: Request<api::ExportMyDataRequest>,
    ) -> Result<Response<Self::ExportMyDataStream>, Status> {
        let token = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        assert_eq!(token, Some("Bearer sesame"));
        let answer = self.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let (pieces, end) = answer.unwrap_or_else(|| Ok((whole(), None)))?;
        let pieces = (pieces.into_iter()).map(|piece| Ok(api::ExportMyDataResponse { piece: Some(piece) }));
        Ok(Response::new(Box::pin(iter(
            pieces.chain(end.map(Err)).collect::<Vec<_>>(),
        ))))
    }
}

fn file(name: &str) -> Piece {
    Piece::File(name.to_owned())
}

fn data(bytes: &'static [u8]) -> Piece {
    Piece::Data(bytes.into())
}

fn whole() -> Vec<Piece> {
    vec![
        file("README.txt"),
        data(b"read "),
        data(b"me"),
        file("report.html"),
        file("manifest"),
        data(MANIFEST),
    ]
}

/// A server, and a place of its member's.
struct Place {
    directory: tempfile::TempDir,
    url: String,
    _runtime: tokio::runtime::Runtime,
}

impl Place {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let fake = Fake {
            answers: Mutex::new(answers.into_iter().collect()),
        };
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .expect("there is a free port");
        let address = listener.local_addr().expect("it has an address");
        runtime.spawn(
            tonic::transport::Server::builder()
                .add_service(ProofServiceServer::new(fake))
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        Self {
            directory: tempfile::tempdir().expect("a temporary directory can be made"),
            url: format!("http://{address}"),
            _runtime: runtime,
        }
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_greffe"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GREFFE_") {
                command.env_remove(name);
            }
        }
        command
            .args(["--server", &self.url, "export"])
            .args(arguments)
            .current_dir(self.directory.path())
            .env("GREFFE_CONFIG_DIR", self.directory.path().join("config"))
            .env("GREFFE_TOKEN", "sesame")
            .stdin(Stdio::null());
        let Output { status, stdout, stderr } = command.output().expect("greffe can be started");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (status.code(), text(&stdout), text(&stderr))
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn left(&self) -> Vec<String> {
        listed(self.directory.path())
            .into_iter()
            .filter(|name| name != "config")
            .collect()
    }
}

fn listed(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("it is a directory");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_member_fetches_what_they_did() {
    let place = Place::new([]);
    let (code, stdout, stderr) = place.run(&["-o", "mine"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stdout.starts_with("what you did is in mine: 3 rows in 2 rooms, 0 files (0 B)\nmanifest SHA-256 "),
        "{stdout}"
    );
    assert_eq!(listed(&place.path("mine")), ["README.txt", "manifest", "report.html"]);
    assert_eq!(
        fs::read(place.path("mine/README.txt")).expect("it is there"),
        b"read me"
    );
    let (code, stdout, _) = place.run(&["-o", "mine.tar", "--json"]);
    assert_eq!(code, Some(0));
    assert!(
        stdout.starts_with("{\"export\":42,\"path\":\"mine.tar\",\"manifest_sha256\":\""),
        "{stdout}"
    );
    // Nothing is overwritten.
    for name in ["mine", "mine.tar"] {
        assert_eq!(place.run(&["-o", name]).0, Some(1));
    }
    assert_eq!(place.left(), ["mine", "mine.tar"]);
}

#[test]
fn what_broke_off_or_was_refused_leaves_nothing() {
    let details = |reason: &str| {
        let mut details = ErrorDetails::with_error_info(reason, "greffe", std::collections::HashMap::new());
        details.set_retry_info(Some(std::time::Duration::from_secs(540)));
        details
    };
    let too_soon = Status::with_error_details(Code::ResourceExhausted, "once in ten minutes", details("RATE_LIMITED"));
    let mut broken = whole();
    broken.truncate(3);
    for (answer, exit, said) in [
        (Err(too_soon), 1, "hint: come back in 540 s"),
        (Ok((broken.clone(), None)), 3, "the server ended the export early"),
        (
            Ok((broken, Some(Status::unavailable("the link broke")))),
            3,
            "the link broke",
        ),
        (Ok((vec![file("../evil"), data(b"x")], None)), 1, "../evil"),
        (
            Ok((vec![file("manifest"), data(b"x")], None)),
            1,
            "no manifest of this export",
        ),
    ] {
        let place = Place::new([answer.clone(), answer]);
        for name in ["mine", "mine.tar"] {
            let (code, stdout, stderr) = place.run(&["-o", name]);
            assert_eq!((code, stdout.as_str()), (Some(exit), ""), "{said}: {stderr}");
            assert!(stderr.contains(said), "{said}: {stderr}");
        }
        assert_eq!(place.left(), [""; 0], "{said}");
    }
}

#[test]
fn a_place_has_to_be_named() {
    let place = Place::new([]);
    assert_eq!(place.run(&[]).0, Some(2));
}
