//! What goes wrong with files: people who may not, people who may no longer, lies, two at once, quotas at their edge, full disks, lost power.

use std::time::{Duration, Instant};

use prost::Message as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request};
use v1::download_file_response::Part as Down;
use v1::write_upload_request::Part as Up;

use crate::files::{
    CHUNK, begin, bytes, call, complete, count, files, get, mine, put, reason, sha256, signed, told, uploads, write,
};
use crate::power_loss::SHIM;
use crate::support::operator::unary;
use crate::support::{ErrorReason, Options, Refusal, Server, User, eventually, refused, request_id, v1, within};

/// How soon somebody is cut off who may no longer read or write.
const SOON: Duration = Duration::from_secs(1);

/// The paths of all methods of the service, as the contract has them.
fn methods() -> Vec<String> {
    let contract =
        prost_types::FileDescriptorSet::decode(greffe_api::FILE_DESCRIPTOR_SET).expect("it is a descriptor set");
    let services = contract.file.iter().flat_map(|file| &file.service);
    let service = services
        .into_iter()
        .find(|service| service.name() == "FileService")
        .expect("the contract has it");
    let methods: Vec<String> = service.method.iter().map(|method| method.name().to_owned()).collect();
    assert!(methods.len() >= 13, "{methods:?}");
    methods
}

/// What somebody wants of what is not theirs.
struct Wanted {
    file: String,
    upload: String,
    room: String,
    /// A room that whoever asks is in.
    own_room: String,
}

/// Makes every call of the service about what is wanted, each under its name. A list that does not refuse must be empty.
async fn every_call(user: &User, wanted: &Wanted) -> Vec<(&'static str, Result<(), Refusal>)> {
    let Wanted {
        file,
        upload,
        room,
        own_room,
    } = wanted;
    let chunk = v1::UploadChunkRequest {
        upload_id: upload.clone(),
        offset: 0,
        chunk: vec![1].into(),
    };
    let everything = v1::ListFilesRequest::default();
    let in_room = v1::ListFilesRequest {
        filter: v1::FileFilter::Room.into(),
        room_id: room.clone(),
        ..v1::ListFilesRequest::default()
    };
    let share = v1::ShareFileRequest {
        request_id: request_id(),
        file_id: file.clone(),
        room_id: own_room.clone(),
    };
    let delete = |room_id: &str| v1::DeleteFileRequest {
        request_id: request_id(),
        file_id: file.clone(),
        room_id: room_id.to_owned(),
    };
    let get_upload = v1::GetUploadRequest {
        upload_id: upload.clone(),
    };
    let cancel = v1::CancelUploadRequest {
        upload_id: upload.clone(),
    };
    vec![
        ("CreateUpload", begin(user, room, 10).await.map(drop)),
        ("WriteUpload", write(user, upload, 0, b"x").await.map(drop)),
        ("UploadChunk", call!(user, upload_chunk, chunk).map(drop)),
        ("GetUpload", call!(user, get_upload, get_upload).map(drop)),
        (
            "ListUploads",
            call!(user, list_uploads, v1::ListUploadsRequest {}).map(|list| assert!(list.uploads.is_empty())),
        ),
        ("CompleteUpload", complete(user, upload, sha256(b"x")).await.map(drop)),
        ("CancelUpload", call!(user, cancel_upload, cancel).map(drop)),
        ("UploadFile", put(user, room, "mine", b"x").await.map(drop)),
        ("DownloadFile", get(user, file, 0).await.map(drop)),
        ("GetFile", told(user, file).await.map(drop)),
        (
            "ListFiles",
            call!(user, list_files, everything).map(|list| assert!(list.files.is_empty())),
        ),
        ("ListFiles", call!(user, list_files, in_room).map(drop)),
        ("ShareFile", call!(user, share_file, share).map(drop)),
        ("DeleteFile", call!(user, delete_file, delete("")).map(drop)),
        ("DeleteFile", call!(user, delete_file, delete(room)).map(drop)),
    ]
}

#[tokio::test]
async fn every_call_says_that_there_is_nothing_to_those_whom_it_does_not_concern() {
    let server = Server::start(&[]).await;
    let (alice, bob, eve) = (
        server.user("alice").await,
        server.user("bob").await,
        server.user("eve").await,
    );
    let room = alice.private_room_with("work", &[&bob]).await;
    let file = put(&alice, &room, "plan", b"secret").await.unwrap();
    let upload = begin(&alice, &room, 10).await.unwrap();
    let own_upload = begin(&bob, &room, 3).await.unwrap();
    write(&bob, &own_upload.id, 0, b"abc").await.unwrap();
    assert_eq!(get(&bob, &file.id, 0).await.unwrap(), b"secret");
    alice.remove(&room, &bob).await.unwrap();
    // What a removed member had begun is not shared any more, and is theirs to give up.
    assert_eq!(
        reason(complete(&bob, &own_upload.id, sha256(b"abc")).await),
        ErrorReason::RoomNotFound
    );
    let cancel = v1::CancelUploadRequest {
        upload_id: own_upload.id,
    };
    call!(&bob, cancel_upload, cancel).unwrap();

    let mut methods = methods();
    for user in [&eve, &bob] {
        let wanted = Wanted {
            file: file.id.clone(),
            upload: upload.id.clone(),
            room: room.clone(),
            own_room: user.private_room("own").await,
        };
        for (method, outcome) in every_call(user, &wanted).await {
            match outcome {
                // These told of nothing.
                Ok(()) => assert!(
                    ["ListUploads", "ListFiles"].contains(&method),
                    "{method} as {}",
                    user.name
                ),
                Err(refusal) => {
                    assert_eq!(refusal.code, Code::NotFound, "{method} as {}: {refusal:?}", user.name);
                    // Just as for what does not exist.
                    assert!(!refusal.message.contains("plan"), "{refusal:?}");
                }
            }
            methods.retain(|name| name != method);
        }
    }
    assert!(methods.is_empty(), "no test calls {methods:?}");
    // All is as it was.
    assert_eq!(told(&alice, &file.id).await.unwrap(), file);
    assert_eq!(uploads(&alice).await, [upload]);
    assert_eq!((count(&server, "files"), count(&server, "uploads")), (1, 0));
}

#[tokio::test]
async fn without_a_login_every_call_is_unauthenticated() {
    let server = Server::start(&[]).await;
    for method in methods() {
        for token in [None, Some("Bearer gt_nothing")] {
            let mut request = Request::new(());
            if let Some(token) = token {
                request.metadata_mut().insert("authorization", token.parse().unwrap());
            }
            let path = format!("/greffe.v1.FileService/{method}");
            let outcome = unary::<(), ()>(server.channel().await, &path, request).await;
            let refusal = Refusal::from(outcome.expect_err("it needs a login"));
            assert_eq!(refusal.code, Code::Unauthenticated, "{method}: {refusal:?}");
        }
    }
}

/// How somebody loses the right to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Removed,
    FileDeleted,
    LoggedOut,
    Kicked,
    Banned,
    Disabled,
}

impl End {
    async fn comes(self, server: &Server, alice: &User, bob: &User, room: &str, file: &str) {
        match self {
            Self::Removed => drop(alice.remove(room, bob).await.unwrap()),
            Self::FileDeleted => {
                let request = v1::DeleteFileRequest {
                    request_id: request_id(),
                    file_id: file.to_owned(),
                    room_id: String::new(),
                };
                call!(alice, delete_file, request).unwrap();
            }
            // Over another connection, as from another window of the same login.
            Self::LoggedOut => bob.over(server.channel().await).log_out().await.unwrap(),
            Self::Kicked => drop(server.operator().await.kick(&bob.name, "enough").await.unwrap()),
            Self::Banned => drop(server.operator().await.ban(&bob.name, "enough").await.unwrap()),
            Self::Disabled => drop(server.operator().await.disable(&bob.name, "enough").await.unwrap()),
        }
    }
}

#[tokio::test]
async fn a_download_ends_within_a_second_for_who_may_no_longer_read() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let content = bytes(96 * CHUNK, 4);
    for (number, end) in [
        End::Removed,
        End::FileDeleted,
        End::LoggedOut,
        End::Kicked,
        End::Banned,
        End::Disabled,
    ]
    .into_iter()
    .enumerate()
    {
        let bob = server.user(&format!("bob{number}")).await;
        let room = alice.private_room_with("work", &[&bob]).await;
        let upload = begin(&alice, &room, content.len()).await.unwrap();
        write(&alice, &upload.id, 0, &content).await.unwrap();
        let file = complete(&alice, &upload.id, sha256(&content)).await.unwrap().file.unwrap();
        let request = v1::DownloadFileRequest {
            file_id: file.id.clone(),
            offset: 0,
        };
        let mut stream = call!(&bob, download_file, request).unwrap();
        // The header, and something of the file.
        for _ in 0..4 {
            within("a part", stream.next()).await.unwrap().unwrap();
        }
        // They read all the time, at a pace at which the whole takes some seconds.
        let reader = tokio::spawn(async move {
            let mut read = 0;
            loop {
                match within("a part", stream.next()).await {
                    Some(Ok(v1::DownloadFileResponse {
                        part: Some(Down::Chunk(chunk)),
                    })) => read += chunk.len(),
                    Some(Ok(other)) => panic!("{other:?}"),
                    Some(Err(status)) => return (read, Some((Refusal::from(status), Instant::now()))),
                    None => return (read, None),
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        end.comes(&server, &alice, &bob, &room, &file.id).await;
        let begun = Instant::now();
        let (read, ended) = within("the end", reader).await.unwrap();
        let (refusal, at) = ended.unwrap_or_else(|| panic!("{end:?}: all {read} bytes were read"));
        let took = at.saturating_duration_since(begun);
        eprintln!("{end:?}: cut off after {took:?}, at {read} bytes");
        assert!(took < SOON && read < content.len(), "{end:?}: {took:?}, {read} bytes");
        let expected = match end {
            End::Removed | End::FileDeleted => [ErrorReason::FileNotFound; 2],
            // The connection may go before the answer does.
            _ => [ErrorReason::SessionEnded, ErrorReason::Unspecified],
        };
        assert!(expected.contains(&refusal.reason), "{end:?}: {refusal:?}");
    }
}

/// An upload's stream that stays open.
struct Open {
    parts: mpsc::Sender<v1::WriteUploadRequest>,
    answer: tokio::task::JoinHandle<Result<i64, Refusal>>,
}

impl Open {
    /// Opens a stream at `offset`.
    async fn at(user: &User, upload: &str, offset: usize) -> Self {
        let (parts, stream) = mpsc::channel(1);
        let (user, header) = (
            user.clone(),
            v1::WriteUploadHeader {
                upload_id: upload.into(),
                offset: i64::try_from(offset).unwrap(),
            },
        );
        let answer = tokio::spawn(async move {
            let request = user.request(ReceiverStream::new(stream));
            let answer = files(&user).write_upload(request).await;
            answer.map(|answer| answer.into_inner().committed_size).map_err(Refusal::from)
        });
        let open = Self { parts, answer };
        open.send(Up::Header(header)).await;
        open
    }

    /// Sends a part; whether the stream still takes any.
    async fn send(&self, part: Up) -> bool {
        let request = v1::WriteUploadRequest { part: Some(part) };
        within("room for a part", self.parts.send(request)).await.is_ok()
    }

    async fn chunks(&self, content: &[u8]) {
        for chunk in content.chunks(CHUNK / 4) {
            assert!(self.send(Up::Chunk(chunk.to_vec().into())).await, "the stream is open");
        }
    }

    /// Ends the stream.
    async fn end(self) -> Result<i64, Refusal> {
        drop(self.parts);
        within("the answer", self.answer).await.unwrap()
    }

    /// Waits for the server to end the stream.
    async fn ended(self) -> Refusal {
        let answer = within("the answer", self.answer).await.unwrap();
        drop(self.parts);
        answer.expect_err("it is ended")
    }
}

/// Waits until the file of an upload has so many bytes on the server.
async fn staged(server: &Server, upload: &str, length: usize) {
    let path = server.data_dir().join("uploads").join(upload);
    eventually("the bytes on the server", || async {
        let there = std::fs::metadata(&path).map_or(0, |found| found.len());
        (there == length as u64).then_some(())
    })
    .await;
}

async fn committed(user: &User, upload: &str) -> i64 {
    let request = v1::GetUploadRequest {
        upload_id: upload.into(),
    };
    let told = call!(user, get_upload, request).unwrap();
    told.upload.unwrap().committed_size
}

#[tokio::test]
async fn an_upload_ends_within_a_second_for_whose_session_ends_and_keeps_nothing_that_came_later() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    for (number, end) in [End::LoggedOut, End::Kicked, End::Banned, End::Disabled]
        .into_iter()
        .enumerate()
    {
        for is_sending in [true, false] {
            let bob = server.user(&format!("bob{number}-{is_sending}")).await;
            let room = bob.private_room("work").await;
            let upload = begin(&bob, &room, 64 * CHUNK).await.unwrap();
            let open = Open::at(&bob, &upload.id, 0).await;
            open.chunks(&bytes(CHUNK, 1)).await;
            staged(&server, &upload.id, CHUNK).await;
            let Open { parts, answer } = open;
            let held = parts.clone();
            let sender = tokio::spawn(async move {
                let chunk = || v1::WriteUploadRequest {
                    part: Some(Up::Chunk(vec![2; 4096].into())),
                };
                while is_sending && parts.send(chunk()).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
            end.comes(&server, &alice, &bob, &room, "").await;
            let begun = Instant::now();
            let refusal = within("the end", answer).await.unwrap().expect_err("it is ended");
            let took = begun.elapsed();
            eprintln!("{end:?}, sending {is_sending}: cut off after {took:?}");
            assert!(took < SOON, "{end:?}: {took:?}");
            let expected = [ErrorReason::SessionEnded, ErrorReason::Unspecified];
            assert!(expected.contains(&refusal.reason), "{end:?}: {refusal:?}");
            drop(held);
            within("the sender's end", sender).await.unwrap();
            assert!(mine(&alice).await.is_empty());
        }
    }
}

#[tokio::test]
async fn one_call_at_a_time_is_at_an_upload() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let room = alice.private_room("work").await;
    let content = bytes(2 * CHUNK, 5);
    let upload = begin(&alice, &room, content.len()).await.unwrap();
    let open = Open::at(&alice, &upload.id, 0).await;
    open.chunks(&content[..CHUNK]).await;
    staged(&server, &upload.id, CHUNK).await;
    let chunk = v1::UploadChunkRequest {
        upload_id: upload.id.clone(),
        offset: 0,
        chunk: vec![1].into(),
    };
    let cancel = v1::CancelUploadRequest {
        upload_id: upload.id.clone(),
    };
    for outcome in [
        write(&alice, &upload.id, 0, &content).await.map(drop),
        call!(&alice, upload_chunk, chunk).map(drop),
        complete(&alice, &upload.id, sha256(&content)).await.map(drop),
        call!(&alice, cancel_upload, cancel).map(drop),
    ] {
        let refusal = refused(outcome, ErrorReason::UploadBusy);
        assert!(refusal.metadata["retry_after_ms"].parse::<u64>().unwrap() > 0);
    }
    // The first goes on undisturbed.
    open.chunks(&content[CHUNK..]).await;
    assert_eq!(open.end().await.unwrap(), signed(2 * CHUNK));
    complete(&alice, &upload.id, sha256(&content)).await.unwrap();
}

#[tokio::test]
async fn gaps_and_overlaps_are_refused_with_the_place_to_go_on() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let room = alice.private_room("work").await;
    let content = bytes(1000, 6);
    let upload = begin(&alice, &room, content.len()).await.unwrap();
    write(&alice, &upload.id, 0, &content[..400]).await.unwrap();
    for offset in [i64::MIN, -1, 0, 1, 399, 401, 1000, 1001, i64::MAX] {
        let chunk = v1::UploadChunkRequest {
            upload_id: upload.id.clone(),
            offset,
            chunk: vec![0].into(),
        };
        let refusal = refused(call!(&alice, upload_chunk, chunk), ErrorReason::OffsetMismatch);
        assert_eq!(refusal.metadata["committed_size"], "400", "{offset}");
        let header = v1::WriteUploadHeader {
            upload_id: upload.id.clone(),
            offset,
        };
        let parts = [Up::Header(header), Up::Chunk(vec![0].into())];
        let stream = tokio_stream::iter(parts.map(|part| v1::WriteUploadRequest { part: Some(part) }));
        refused(call!(&alice, write_upload, stream), ErrorReason::OffsetMismatch);
    }
    assert_eq!(write(&alice, &upload.id, 400, &content[400..]).await.unwrap(), 1000);
    let file = complete(&alice, &upload.id, sha256(&content)).await.unwrap().file.unwrap();
    assert_eq!(get(&alice, &file.id, 0).await.unwrap(), content);
}

#[tokio::test]
async fn a_declared_size_is_kept_to() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let room = alice.private_room("work").await;
    let content = bytes(1000, 7);
    // Too small: what fits stays, and not a byte more.
    let upload = begin(&alice, &room, 600).await.unwrap();
    write(&alice, &upload.id, 0, &content[..599]).await.unwrap();
    let refusal = refused(
        write(&alice, &upload.id, 599, &content[599..]).await,
        ErrorReason::FileTooLarge,
    );
    assert_eq!(refusal.metadata["limit"], "600");
    assert_eq!(committed(&alice, &upload.id).await, 599);
    write(&alice, &upload.id, 599, &content[599..600]).await.unwrap();
    complete(&alice, &upload.id, sha256(&content[..600])).await.unwrap();
    // Too large: it is never complete.
    let upload = begin(&alice, &room, 1001).await.unwrap();
    write(&alice, &upload.id, 0, &content).await.unwrap();
    let refusal = refused(
        complete(&alice, &upload.id, sha256(&content)).await,
        ErrorReason::UploadIncomplete,
    );
    assert_eq!(
        (
            refusal.metadata["committed_size"].as_str(),
            refusal.metadata["size"].as_str()
        ),
        ("1000", "1001")
    );
    // It stays as it was.
    assert_eq!(committed(&alice, &upload.id).await, 1000);
    assert_eq!(mine(&alice).await.len(), 1);
}

#[tokio::test]
async fn a_quota_is_never_passed_however_many_ask_at_once() {
    for at_once in [8_usize, 64] {
        let server = Server::start(&[("file_quota_bytes", 5500), ("uploads_per_user", 100)]).await;
        let alice = server.user("alice").await;
        let room = alice.private_room("work").await;
        let mut begun = JoinSet::new();
        for _ in 0..at_once {
            let (alice, room) = (alice.clone(), room.clone());
            begun.spawn(async move { begin(&alice, &room, 1000).await });
        }
        let (uploads, refused): (Vec<_>, Vec<_>) = begun.join_all().await.into_iter().partition(Result::is_ok);
        assert_eq!(uploads.len(), 5, "{at_once} at once");
        for outcome in refused {
            let refusal = crate::support::refused(outcome, ErrorReason::FileQuotaExceeded);
            assert_eq!(refusal.metadata["limit"], "5500");
        }
        // Two uploads make place for two files, of as many as want it.
        for upload in uploads.into_iter().flatten().take(2) {
            call!(&alice, cancel_upload, v1::CancelUploadRequest { upload_id: upload.id }).unwrap();
        }
        let mut sent = JoinSet::new();
        for number in 0..at_once {
            let (alice, room) = (alice.clone(), room.clone());
            sent.spawn(async move { put(&alice, &room, "x", &[u8::try_from(number).unwrap(); 1000]).await });
        }
        let (sent, refused): (Vec<_>, Vec<_>) = sent.join_all().await.into_iter().partition(Result::is_ok);
        assert_eq!(sent.len(), 2, "{at_once} at once");
        for outcome in refused {
            assert_eq!(reason(outcome), ErrorReason::FileQuotaExceeded);
        }
        put(&alice, &room, "the rest", &[0; 500]).await.unwrap();
        assert_eq!(mine(&alice).await.iter().map(|file| file.size).sum::<i64>(), 2500);
        // Nothing is left of what was refused.
        assert_eq!((count(&server, "files"), count(&server, "uploads")), (3, 0));
    }
}

#[tokio::test]
async fn the_number_of_uploads_is_never_passed_however_many_ask_at_once() {
    let server = Server::start(&[("uploads_per_user", 8)]).await;
    let alice = server.user("alice").await;
    let room = alice.private_room("work").await;
    let mut begun = JoinSet::new();
    for _ in 0..64 {
        let (alice, room) = (alice.clone(), room.clone());
        begun.spawn(async move { begin(&alice, &room, 10).await });
    }
    let (begun, refused): (Vec<_>, Vec<_>) = begun.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!((begun.len(), uploads(&alice).await.len()), (8, 8));
    assert!(refused.into_iter().all(|outcome| reason(outcome) == ErrorReason::TooMany));
}

#[tokio::test]
async fn a_stream_that_brings_nothing_is_ended_and_keeps_what_it_brought() {
    let server = Server::start(&[("upload_pause_seconds", 1)]).await;
    let alice = server.user("alice").await;
    let room = alice.private_room("work").await;
    let content = bytes(3 * CHUNK, 8);
    let upload = begin(&alice, &room, content.len()).await.unwrap();
    let open = Open::at(&alice, &upload.id, 0).await;
    open.chunks(&content[..CHUNK]).await;
    let refusal = open.ended().await;
    assert_eq!(
        (refusal.code, refusal.reason),
        (Code::DeadlineExceeded, ErrorReason::UploadStalled)
    );
    assert_eq!(refusal.metadata["committed_size"], CHUNK.to_string());
    assert_eq!(committed(&alice, &upload.id).await, signed(CHUNK));
    write(&alice, &upload.id, CHUNK, &content[CHUNK..]).await.unwrap();
    complete(&alice, &upload.id, sha256(&content)).await.unwrap();
}

/// A server whose disk is full for uploads while there is something at the path that is returned too.
async fn with_little_disk(settings: &[(&str, String)]) -> (Server, std::path::PathBuf) {
    let mut server = Server::stopped(Options::default());
    std::fs::create_dir(server.data_dir()).expect("it can be made");
    let directory = server.data_dir().canonicalize().expect("it is there");
    let when = server.beside("when");
    let mut environment = vec![
        ("LD_PRELOAD".to_owned(), SHIM.display().to_string()),
        ("SHIM_DIR".to_owned(), directory.display().to_string()),
        ("SHIM_WHEN".to_owned(), when.display().to_string()),
        (
            "SHIM_FULL_BELOW".to_owned(),
            directory.join("uploads").display().to_string(),
        ),
    ];
    environment.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    server.options_mut().environment = environment;
    server.spawn().await.expect("it starts");
    (server, when)
}

#[tokio::test]
async fn an_upload_that_fills_the_disk_waits_for_room_while_the_chat_goes_on() {
    // What is left is kept for the journal; or writes fail before that shows.
    for setting in ["SHIM_NO_SPACE", "SHIM_FULL"] {
        let (mut server, full) = with_little_disk(&[(setting, "1".to_owned())]).await;
        let (alice, bob) = (server.user("alice").await, server.user("bob").await);
        let room = alice.private_room_with("work", &[&bob]).await;
        let mut stream = bob.live().await;
        let content = bytes(8 * CHUNK, 9);
        let upload = begin(&alice, &room, content.len()).await.unwrap();
        let open = Open::at(&alice, &upload.id, 0).await;
        open.chunks(&content[..3 * CHUNK]).await;
        staged(&server, &upload.id, 3 * CHUNK).await;
        std::fs::write(&full, "").unwrap();
        open.send(Up::Chunk(content[3 * CHUNK..4 * CHUNK].to_vec().into())).await;
        let refusal = open.ended().await;
        assert_eq!(
            (refusal.code, refusal.reason),
            (Code::ResourceExhausted, ErrorReason::DiskFull)
        );
        assert!(refusal.message.contains("go on when"), "{}", refusal.message);
        assert_eq!(reason(put(&alice, &room, "small", b"x").await), ErrorReason::DiskFull);
        // The chat has room.
        for number in 0..20 {
            let text = format!("{setting} {number}");
            alice.send(&room, &text).await.unwrap();
            stream.message(&text).await;
        }
        assert_eq!(committed(&alice, &upload.id).await, signed(3 * CHUNK));
        assert_eq!(
            reason(write(&alice, &upload.id, 3 * CHUNK, &content[3 * CHUNK..]).await),
            ErrorReason::DiskFull
        );
        std::fs::remove_file(&full).unwrap();
        assert_eq!(committed(&alice, &upload.id).await, signed(3 * CHUNK));
        write(&alice, &upload.id, 3 * CHUNK, &content[3 * CHUNK..]).await.unwrap();
        let file = complete(&alice, &upload.id, sha256(&content)).await.unwrap().file.unwrap();
        assert_eq!(get(&bob, &file.id, 0).await.unwrap(), content);
        assert_eq!((count(&server, "files"), count(&server, "uploads")), (1, 0));
        drop(stream);
        server.terminate().await;
        server.check().await;
    }
}

#[tokio::test]
async fn what_was_written_before_a_crash_counts_unless_the_machine_was_started_again() {
    for same_boot in [true, false] {
        let mut server = Server::start(&[]).await;
        let alice = server.user("alice").await;
        let room = alice.private_room("work").await;
        let content = bytes(6 * CHUNK, 10);
        let upload = begin(&alice, &room, content.len()).await.unwrap();
        write(&alice, &upload.id, 0, &content[..CHUNK]).await.unwrap();
        let open = Open::at(&alice, &upload.id, CHUNK).await;
        open.chunks(&content[CHUNK..4 * CHUNK]).await;
        staged(&server, &upload.id, 4 * CHUNK).await;
        // The stream goes on: none of it was told to anybody.
        assert_eq!(committed(&alice, &upload.id).await, signed(CHUNK));
        server.kill_9().await;
        drop(open);
        let note = server.data_dir().join("uploads/boot-id");
        if !same_boot {
            std::fs::write(&note, "another start of the machine").unwrap();
            // What was not synced is not what was written.
            let path = server.data_dir().join("uploads").join(&upload.id);
            let file = std::fs::File::options().write(true).open(path).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, &[0; 512], 2 * (1 << 20)).unwrap();
        }
        server.spawn().await.unwrap();
        let alice = alice.over(server.channel().await);
        let there = if same_boot { 4 * CHUNK } else { CHUNK };
        assert_eq!(committed(&alice, &upload.id).await, signed(there));
        staged(&server, &upload.id, there).await;
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        assert_eq!(std::fs::read_to_string(&note).unwrap(), boot.trim());
        write(&alice, &upload.id, there, &content[there..]).await.unwrap();
        let file = complete(&alice, &upload.id, sha256(&content)).await.unwrap().file.unwrap();
        assert_eq!(get(&alice, &file.id, 0).await.unwrap(), content);
        server.terminate().await;
        server.check().await;
    }
}

#[tokio::test]
async fn an_upload_goes_on_after_the_server_was_stopped_in_the_middle_of_it() {
    let mut server = Server::start_with(Options {
        arguments: ["--drain-seconds", "2"].map(str::to_owned).to_vec(),
        ..Options::default()
    })
    .await;
    let alice = server.user("alice").await;
    let room = alice.private_room("work").await;
    let content = bytes(6 * CHUNK, 12);
    let upload = begin(&alice, &room, content.len()).await.unwrap();
    let open = Open::at(&alice, &upload.id, 0).await;
    open.chunks(&content[..4 * CHUNK]).await;
    staged(&server, &upload.id, 4 * CHUNK).await;
    assert!(server.terminate().await.success());
    let Open { parts, answer } = open;
    assert!(within("the answer", answer).await.unwrap().is_err());
    drop(parts);
    server.spawn().await.unwrap();
    let alice = alice.over(server.channel().await);
    assert_eq!(committed(&alice, &upload.id).await, signed(4 * CHUNK));
    write(&alice, &upload.id, 4 * CHUNK, &content[4 * CHUNK..]).await.unwrap();
    complete(&alice, &upload.id, sha256(&content)).await.unwrap();
}

#[tokio::test]
async fn what_an_upload_was_told_to_have_survives_a_loss_of_power() {
    let points = crate::support::setting("GREFFE_TEST_POWER_CUTS", 12) / 2;
    let mut server = Server::start(&[("uploads_per_user", 1000)]).await;
    let mut alice = server.user("alice").await;
    let room = server.general().await;
    let content = bytes(8 * CHUNK, 11);
    let directory = server.data_dir().canonicalize().expect("it is there");
    let mut chance = crate::support::chance::Chance::new("file_faults");
    for point in 0..points {
        let upload = begin(&alice, &room, content.len()).await.unwrap();
        assert!(server.terminate().await.success());
        server.options_mut().environment = vec![
            ("LD_PRELOAD".to_owned(), SHIM.display().to_string()),
            ("SHIM_DIR".to_owned(), directory.display().to_string()),
            ("SHIM_CUT".to_owned(), (10 + chance.below(120)).to_string()),
            ("SHIM_SEED".to_owned(), chance.below(1 << 30).to_string()),
        ];
        let mut told = 0;
        if server.spawn().await.is_ok() {
            // Portions until the power goes, each of them told to be on the disk.
            while let Some(channel) = server.try_channel().await {
                let end = content.len().min(told + 1 + chance.below(CHUNK / 2));
                let over = alice.over(channel);
                let Ok(now) = write(&over, &upload.id, told, &content[told..end]).await else {
                    break;
                };
                assert_eq!(now, signed(end), "point {point}");
                told = end;
            }
            let status = server.wait().await;
            assert!(!status.success(), "point {point}: the power did not go");
        }
        // The machine is started again.
        std::fs::write(directory.join("uploads/boot-id"), format!("start {point}")).unwrap();
        server.options_mut().environment.clear();
        server.spawn().await.expect("start-up after power loss needs no hand");
        alice = alice.over(server.channel().await);
        let there = usize::try_from(committed(&alice, &upload.id).await).unwrap();
        assert!(
            there >= told,
            "point {point}: {told} bytes were told to be on the disk, and {there} are"
        );
        write(&alice, &upload.id, there, &content[there..]).await.unwrap();
        let file = complete(&alice, &upload.id, sha256(&content)).await.unwrap().file.unwrap();
        assert!(get(&alice, &file.id, 0).await.unwrap() == content, "point {point}");
    }
    server.terminate().await;
    server.check().await;
}
