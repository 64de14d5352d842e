//! `greffe-admin export` against a server that breaks off, repeats itself, and sends what no server should.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use greffe_api::record_api::v1 as api;
use greffe_api::server::record_api::v1::case_service_server::{CaseService, CaseServiceServer};
use greffe_api::server::record_api::v1::export_service_server::{ExportService, ExportServiceServer};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_stream::{Stream, StreamExt as _, iter};
use tonic::{Request, Response, Status};

use crate::support::{Outcome, Place};

const MANIFEST: &[u8] =
    b"greffe export 1\n{\"export\":42,\"bodies_only\":false,\"counts\":{\"rows\":9,\"ordered\":3,\"erased\":1,\"rooms\":2,\"files\":1,\"file_bytes\":700}}\n\n\xe2\x80\x94 x AAAA\n";

/// The files of the export.
fn files() -> Vec<(String, Vec<u8>)> {
    vec![
        ("README.txt".to_owned(), b"read me".to_vec()),
        (
            "rows.pb".to_owned(),
            (0..50_000_u32).flat_map(u32::to_le_bytes).collect(),
        ),
        ("tree".to_owned(), vec![]),
        (format!("files/{}", "ab".repeat(32)), vec![3; 700]),
        ("manifest".to_owned(), MANIFEST.to_vec()),
    ]
}

/// What a call of `DownloadExport` is answered with.
enum Answer {
    /// The export from where it was asked for, cut after so many bytes.
    Bytes(usize),
    /// The same, and then nothing more.
    Hangs(usize),
    /// The export to its end.
    Whole,
    /// These pieces, whatever was asked for.
    Pieces(Vec<Piece>),
    /// A refusal.
    Refused(Status),
}

type Piece = api::download_export_response::Piece;

/// What was asked for: the file, the offset, and the reason.
type Asked = (String, i64, String);

struct Fake {
    answers: Mutex<VecDeque<Answer>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

fn file(name: &str, offset: i64) -> Piece {
    Piece::File(api::ExportFile {
        name: name.to_owned(),
        offset,
    })
}

fn data(bytes: &[u8]) -> Piece {
    Piece::Data(Bytes::copy_from_slice(bytes))
}

/// The pieces from a position on.
fn pieces(name: &str, offset: i64) -> Vec<Piece> {
    let mut pieces = vec![Piece::Progress(api::ExportProgress {
        step: "hashing\u{1b}[2J".to_owned(),
        done: 1,
        total: 2,
    })];
    let skipped = files().iter().position(|(known, _)| known == name).unwrap_or(0);
    for (at, (known, bytes)) in files().into_iter().enumerate().skip(skipped) {
        let from = if at == skipped { offset } else { 0 };
        pieces.push(file(&known, from));
        let rest = &bytes[usize::try_from(from).expect("no file is that long")..];
        pieces.extend(rest.chunks(1000).map(data));
    }
    pieces
}

#[tonic::async_trait]
impl ExportService for Fake {
    async fn order_export(
        &self,
        request: Request<api::OrderExportRequest>,
    ) -> Result<Response<api::OrderExportResponse>, Status> {
        assert_eq!(request.get_ref().case_index, 5);
        Ok(Response::new(api::OrderExportResponse {
            receipt: None,
            export_index: 42,
        }))
    }

    type DownloadExportStream =
        Pin<Box<dyn Stream<Item = Result<api::DownloadExportResponse, Status>> + Send + 'static>>;

    async fn download_export(
        &self,
        request: Request<api::DownloadExportRequest>,
    ) -> Result<Response<Self::DownloadExportStream>, Status> {
        let request = request.into_inner();
        assert_eq!(request.export_index, 42);
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push((request.file.clone(), request.offset, request.reason));
        let answer = self.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let cut = |mut left: usize| {
            let fits = |piece: &Piece| {
                let length = if let Piece::Data(bytes) = piece { bytes.len() } else { 0 };
                left.checked_sub(length).map(|rest| left = rest).is_some()
            };
            pieces(&request.file, request.offset).into_iter().take_while(fits).collect()
        };
        let (pieces, end, hangs) = match answer.unwrap_or(Answer::Whole) {
            Answer::Whole => (pieces(&request.file, request.offset), None, false),
            Answer::Pieces(pieces) => (pieces, None, false),
            Answer::Refused(status) => return Err(status),
            Answer::Bytes(left) => (cut(left), Some(Err(Status::unavailable("the link broke"))), false),
            Answer::Hangs(left) => (cut(left), None, true),
        };
        let pieces = pieces
            .into_iter()
            .map(|piece| Ok(api::DownloadExportResponse { piece: Some(piece) }));
        let come = iter(pieces.chain(end).collect::<Vec<_>>());
        Ok(Response::new(if hangs {
            Box::pin(come.chain(tokio_stream::pending()))
        } else {
            Box::pin(come)
        }))
    }
}

struct Cases;

fn absent<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("no test needs it"))
}

#[tonic::async_trait]
impl CaseService for Cases {
    async fn open_case(&self, _: Request<api::OpenCaseRequest>) -> Result<Response<api::OpenCaseResponse>, Status> {
        absent()
    }
    async fn approve_case(
        &self,
        _: Request<api::ApproveCaseRequest>,
    ) -> Result<Response<api::ApproveCaseResponse>, Status> {
        absent()
    }
    async fn close_case(&self, _: Request<api::CloseCaseRequest>) -> Result<Response<api::CloseCaseResponse>, Status> {
        absent()
    }
    async fn list_cases(&self, _: Request<api::ListCasesRequest>) -> Result<Response<api::ListCasesResponse>, Status> {
        absent()
    }
    async fn get_case(&self, request: Request<api::GetCaseRequest>) -> Result<Response<api::GetCaseResponse>, Status> {
        let case = api::Case {
            index: request.into_inner().case_index,
            reference: "1 Kls 2/26".to_owned(),
            ..api::Case::default()
        };
        Ok(Response::new(api::GetCaseResponse { case: Some(case) }))
    }
    async fn read_case(&self, _: Request<api::ReadCaseRequest>) -> Result<Response<api::ReadCaseResponse>, Status> {
        absent()
    }
}

/// A server, and what it was asked for.
struct Server {
    place: Place,
    asked: Arc<Mutex<Vec<Asked>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let place = Place::new();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let asked = Arc::default();
        let fake = Fake {
            answers: Mutex::new(answers.into_iter().collect()),
            asked: Arc::clone(&asked),
        };
        let socket = place.path().join("admin.sock");
        runtime.block_on(async {
            let incoming = UnixListenerStream::new(UnixListener::bind(&socket).expect("a socket can be made"));
            tokio::spawn(
                tonic::transport::Server::builder()
                    .add_service(ExportServiceServer::new(fake))
                    .add_service(CaseServiceServer::new(Cases))
                    .serve_with_incoming(incoming),
            );
        });
        Self {
            place,
            asked,
            _runtime: runtime,
        }
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        self.place.run([&["--data-dir", ".", "export"], arguments].concat())
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.place.path().join(name)
    }

    /// What is there, but for the socket.
    fn left(&self) -> Vec<String> {
        listed(self.place.path())
            .into_iter()
            .filter(|name| name != "admin.sock" && name != "config")
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

fn assert_whole(directory: &Path) {
    for (name, bytes) in files() {
        assert_eq!(fs::read(directory.join(&name)).expect(&name), bytes, "{name}");
    }
    assert_eq!(
        listed(directory),
        ["README.txt", "files", "manifest", "rows.pb", "tree"]
    );
}

#[test]
fn an_export_goes_on_by_itself_after_each_break() {
    let breaks = [3, 0, 1000, 150_000, 60_000].map(Answer::Bytes);
    let server = Server::start(breaks);
    let out = server.run(&["--case", "5", "-o", "out"]);
    assert_eq!(out.code, Some(0), "{out:?}");
    assert_whole(&server.path("out"));
    assert!(
        out.stdout
            .starts_with("export 42 of case 5 is in out: 3 rows ordered, 1 of them erased, 2 rooms, 1 file (700 B)\n"),
        "{out:?}"
    );
    assert!(
        out.stderr.contains("greffe-admin verify out") && !out.stderr.contains('\u{1b}'),
        "{out:?}"
    );
    let asked = server.asked();
    let positions: Vec<_> = asked.iter().map(|(file, offset, _)| (file.as_str(), *offset)).collect();
    assert_eq!(
        positions,
        [
            ("", 0),
            ("README.txt", 0),
            ("README.txt", 0),
            ("rows.pb", 0),
            ("rows.pb", 150_000),
            // All of it had come, but for the word that this was all.
            ("manifest", i64::try_from(MANIFEST.len()).expect("it is short"))
        ]
    );
    assert!(asked.iter().all(|(_, _, reason)| reason == "1 Kls 2/26"), "{asked:?}");
}

#[test]
fn a_later_command_goes_on_where_the_first_one_ended() {
    for (name, whole) in [("out", "out"), ("out.tar", "out.tar")] {
        let server = Server::start([
            Answer::Bytes(120_007),
            Answer::Refused(Status::internal("the disk is on fire")),
        ]);
        let broken = server.run(&["--case", "5", "-o", name]);
        assert_eq!(broken.code, Some(1), "{broken:?}");
        // It asks for it before it does anything else.
        let again = server.place.run(["--data-dir", "none", "export", "--case", "5", "-o", name]);
        assert_eq!(again.code, Some(1), "{again:?}");
        assert!(
            again.stderr.contains("hint: `greffe-admin export --resume -o"),
            "{again:?}"
        );
        let other = server.run(&["--case", "6", "--resume", "-o", name]);
        assert_eq!(other.code, Some(2), "{other:?}");
        let out = server.run(&["--resume", "-o", name, "--json"]);
        assert_eq!(out.code, Some(0), "{out:?}");
        let object = out.stdout.trim();
        assert!(
            object.starts_with(&format!(
                "{{\"export\":42,\"case\":5,\"path\":\"{whole}\",\"manifest_sha256\":\""
            )),
            "{object}"
        );
        let (file, offset, _) = server.asked().pop().expect("it was asked");
        assert_eq!((file.as_str(), offset), ("rows.pb", 120_000));
        assert_eq!(server.left(), [whole]);
        if name == "out" {
            assert_whole(&server.path(name));
        }
        let done = server.run(&["--resume", "-o", name]);
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(done.stderr.contains("no export broke off at"), "{done:?}");
    }
}

#[test]
fn an_interrupted_export_goes_on_later() {
    for name in ["out", "out.tar"] {
        let server = Server::start([Answer::Hangs(120_007)]);
        let mut command = server.place.command(["--data-dir", ".", "export", "--case", "5", "-o", name]);
        let child = command
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("greffe-admin can be started");
        let newest = if name == "out" { "out/rows.pb" } else { "out.tar.part" };
        let came = || fs::metadata(server.path(newest)).is_ok_and(|found| found.len() >= 120_000);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while !came() {
            assert!(std::time::Instant::now() < deadline, "nothing came");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let interrupt = std::process::Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status();
        assert!(interrupt.is_ok_and(|status| status.success()));
        let ended = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(
            said.contains("error: interrupted\nhint: `greffe-admin export --resume -o out"),
            "{said}"
        );
        let out = server.run(&["--resume", "-o", name]);
        assert_eq!(out.code, Some(0), "{out:?}");
        let (file, offset, _) = server.asked().pop().expect("it was asked");
        assert_eq!((file.as_str(), offset), ("rows.pb", 120_000));
    }
}

#[test]
fn an_archive_has_the_same_files_and_other_programs_read_it() {
    let server = Server::start([Answer::Bytes(5000)]);
    let out = server.run(&["--case", "5", "-o", "out.tar"]);
    assert_eq!(out.code, Some(0), "{out:?}");
    fs::create_dir(server.path("unpacked")).expect("a directory can be made");
    let tar = std::process::Command::new("tar")
        .args(["-xf", "out.tar", "-C", "unpacked"])
        .current_dir(server.place.path())
        .output();
    // Machines without it have the unit tests alone.
    if let Ok(tar) = tar {
        assert!(tar.status.success() && tar.stderr.is_empty(), "{tar:?}");
        assert_whole(&server.path("unpacked"));
    }
}

#[test]
fn what_no_server_should_send_is_refused_and_leaves_nothing_outside() {
    let hash = format!("files/{}", "ab".repeat(32));
    for (pieces, why) in [
        (
            vec![file("../evil", 0)],
            "a name that a file of an export can have (../evil)",
        ),
        (
            vec![file("/tmp/greffe-evil", 0)],
            "a name that a file of an export can have",
        ),
        (
            vec![file("files/../../evil", 0)],
            "a name that a file of an export can have",
        ),
        (
            vec![file("a\u{1b}[2J", 0)],
            "a name that a file of an export can have (a\\u{1b}[2J)",
        ),
        (vec![file("keys", 5)], "the part that was asked for"),
        (vec![file("tree", 0), file("keys", 0)], "the order of its files"),
        (vec![file(&hash, 0), file(&hash, 0)], "the order of its files"),
        (vec![data(b"x")], "the order of its parts"),
        (
            vec![file("manifest", 0), data(MANIFEST), file("tree", 0)],
            "the order of its parts",
        ),
        (
            vec![file("manifest", 0), data(b"nonsense")],
            "no manifest of this export",
        ),
    ] {
        let server = Server::start([Answer::Pieces(pieces)]);
        let out = server.run(&["--case", "5", "-o", "out"]);
        assert_eq!(out.code, Some(1), "{why}: {out:?}");
        assert!(
            out.stderr.contains(why) && !out.stderr.contains('\u{1b}'),
            "{why}: {out:?}"
        );
        assert_eq!(server.left(), ["out"], "{why}");
    }
}

#[test]
fn a_place_that_is_taken_is_told_before_anything_is_ordered() {
    let server = Server::start([]);
    fs::create_dir(server.path("full")).expect("a directory can be made");
    fs::write(server.path("full/precious"), "precious").expect("a file can be made");
    fs::write(server.path("full.tar"), "precious").expect("a file can be made");
    for path in ["full", "full.tar", "full/precious", "no/such"] {
        let out = server.run(&["--case", "5", "-o", path]);
        assert_eq!(out.code, Some(1), "{path}: {out:?}");
    }
    assert_eq!(server.asked(), []);
    assert_eq!(
        fs::read_to_string(server.path("full.tar")).expect("it is there"),
        "precious"
    );
}
