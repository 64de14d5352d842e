//! Files: sent in pieces and at once, resumed, verified, and read only by those whom they are shared with.

use std::time::Duration;

use tokio_stream::StreamExt as _;
use v1::download_file_response::Part as Down;
use v1::file_service_client::FileServiceClient;
use v1::write_upload_request::Part as Up;

use crate::support::{
    ErrorReason, Options, PASSWORD, Refusal, Server, User, admin, eventually, request_id, v1, within,
};

/// Bytes of a chunk.
pub(crate) const CHUNK: usize = 1024 * 1024;

/// Bytes that look like nothing else, the same for the same seed.
pub(crate) fn bytes(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> Vec<u8> {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().to_vec()
}

pub(crate) fn files(user: &User) -> FileServiceClient<tonic::transport::Channel> {
    FileServiceClient::new(user.channel())
        .max_decoding_message_size(4 * CHUNK)
        .max_encoding_message_size(4 * CHUNK)
}

/// Makes a call of `FileService`.
macro_rules! call {
    ($user:expr, $method:ident, $message:expr) => {
        within(
            "an answer",
            $crate::files::files($user).$method($user.request($message)),
        )
        .await
        .map(tonic::Response::into_inner)
        .map_err(Refusal::from)
    };
}
pub(crate) use call;

pub(crate) async fn put(user: &User, room: &str, name: &str, content: &[u8]) -> Result<v1::File, Refusal> {
    let request = v1::UploadFileRequest {
        request_id: request_id(),
        name: name.into(),
        media_type: "text/plain".into(),
        room_id: room.into(),
        content: content.to_vec().into(),
        sha256: Some(sha256(content).into()),
    };
    Ok(call!(user, upload_file, request)?.file.expect("the answer has the file"))
}

pub(crate) async fn begin(user: &User, room: &str, size: usize) -> Result<v1::Upload, Refusal> {
    let request = v1::CreateUploadRequest {
        request_id: request_id(),
        name: "large".into(),
        size: i64::try_from(size).unwrap(),
        media_type: String::new(),
        room_id: room.into(),
    };
    Ok(call!(user, create_upload, request)?.upload.expect("the answer has the upload"))
}

/// Sends what is in `content` from `offset` on, and returns what is committed.
pub(crate) async fn write(user: &User, upload: &str, offset: usize, content: &[u8]) -> Result<i64, Refusal> {
    let header = v1::WriteUploadHeader {
        upload_id: upload.into(),
        offset: i64::try_from(offset).unwrap(),
    };
    let chunks: Vec<Up> = content.chunks(CHUNK).map(|chunk| Up::Chunk(chunk.to_vec().into())).collect();
    let parts = [Up::Header(header)].into_iter().chain(chunks);
    let stream = tokio_stream::iter(parts.map(|part| v1::WriteUploadRequest { part: Some(part) }));
    Ok(call!(user, write_upload, stream)?.committed_size)
}

pub(crate) async fn complete(user: &User, upload: &str, hash: Vec<u8>) -> Result<v1::CompleteUploadResponse, Refusal> {
    let request = v1::CompleteUploadRequest {
        request_id: request_id(),
        upload_id: upload.into(),
        sha256: hash.into(),
    };
    call!(user, complete_upload, request)
}

pub(crate) async fn get(user: &User, file: &str, offset: usize) -> Result<Vec<u8>, Refusal> {
    let request = v1::DownloadFileRequest {
        file_id: file.into(),
        offset: i64::try_from(offset).unwrap(),
    };
    let mut stream = call!(user, download_file, request)?;
    let mut content = Vec::new();
    while let Some(response) = within("a part", stream.next()).await {
        match response?.part.expect("a part is something") {
            Down::Header(header) => {
                assert!(content.is_empty(), "the header comes first");
                assert_eq!(header.offset, i64::try_from(offset).unwrap());
            }
            Down::Chunk(chunk) => content.extend_from_slice(&chunk),
        }
    }
    Ok(content)
}

pub(crate) async fn told(user: &User, file: &str) -> Result<v1::File, Refusal> {
    let request = v1::GetFileRequest { file_id: file.into() };
    Ok(call!(user, get_file, request)?.file.expect("the answer has the file"))
}

async fn remove(user: &User, file: &str, room: &str) -> Result<v1::DeleteFileResponse, Refusal> {
    let request = v1::DeleteFileRequest {
        request_id: request_id(),
        file_id: file.into(),
        room_id: room.into(),
    };
    call!(user, delete_file, request)
}

pub(crate) fn reason<T: std::fmt::Debug>(outcome: Result<T, Refusal>) -> ErrorReason {
    outcome.expect_err("it is refused").reason
}

/// A length as the API has it.
pub(crate) fn signed(length: usize) -> i64 {
    i64::try_from(length).expect("it is no more than the API can say")
}

/// All files that somebody sent and can read, newest first.
pub(crate) async fn mine(user: &User) -> Vec<v1::File> {
    let request = v1::ListFilesRequest {
        filter: v1::FileFilter::Mine.into(),
        page_size: 500,
        ..v1::ListFilesRequest::default()
    };
    call!(user, list_files, request).expect("everyone may list").files
}

/// Somebody's uploads that are not complete.
pub(crate) async fn uploads(user: &User) -> Vec<v1::Upload> {
    call!(user, list_uploads, v1::ListUploadsRequest {})
        .expect("everyone may list")
        .uploads
}

/// How many files of people lie below a directory of the data directory.
pub(crate) fn count(server: &Server, directory: &str) -> usize {
    fn walk(path: &std::path::Path) -> usize {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_name() != "boot-id")
            .map(|entry| if entry.path().is_dir() { walk(&entry.path()) } else { 1 })
            .sum()
    }
    walk(&server.data_dir().join(directory))
}

#[tokio::test]
async fn a_small_file_goes_in_one_call_and_comes_back_as_it_was() {
    let mut server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("work", &[&bob]).await;
    let content = bytes(300_000, 1);
    let name = "../../etc/passwd\n\u{1b}[31m\u{202e}";
    let file = put(&alice, &room, name, &content).await.unwrap();
    assert_eq!((file.name.as_str(), file.owner_id.as_str()), (name, alice.id.as_str()));
    assert_eq!((file.size, file.sha256.to_vec()), (300_000, sha256(&content)));
    assert_eq!(file.shares.len(), 1);
    assert_eq!(told(&bob, &file.id).await.unwrap(), file);
    assert_eq!(get(&bob, &file.id, 0).await.unwrap(), content);
    assert_eq!(get(&bob, &file.id, 299_999).await.unwrap(), content[299_999..]);
    assert_eq!(get(&bob, &file.id, 300_000).await.unwrap(), b"");
    assert_eq!(reason(get(&bob, &file.id, 300_001).await), ErrorReason::InvalidField);
    let empty = put(&alice, &room, "-rf", b"").await.unwrap();
    assert_eq!(get(&bob, &empty.id, 0).await.unwrap(), b"");
    assert_eq!((count(&server, "files"), count(&server, "uploads")), (2, 0));

    server.restart().await;
    let bob = User::log_in(server.channel().await, "bob", PASSWORD).await.unwrap();
    assert_eq!(get(&bob, &file.id, 0).await.unwrap(), content);
    server.terminate().await;
    server.check().await;
}

#[tokio::test]
async fn an_upload_goes_on_where_it_was_cut_off_also_after_a_crash() {
    let mut server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let room = alice.private_room("work").await;
    let content = bytes(5 * CHUNK + 17, 2);
    let upload = begin(&alice, &room, content.len()).await.unwrap();
    let cut = 3 * CHUNK + 5;
    assert_eq!(
        write(&alice, &upload.id, 0, &content[..cut]).await.unwrap(),
        i64::try_from(cut).unwrap()
    );
    let off = write(&alice, &upload.id, cut - 1, &content[cut - 1..]).await.unwrap_err();
    assert_eq!(
        (off.reason, off.metadata["committed_size"].as_str()),
        (ErrorReason::OffsetMismatch, "3145733")
    );
    assert_eq!(
        reason(complete(&alice, &upload.id, sha256(&content)).await),
        ErrorReason::UploadIncomplete
    );

    server.kill_9().await;
    server.spawn().await.unwrap();
    let alice = alice.over(server.channel().await);
    let stands = call!(
        &alice,
        get_upload,
        v1::GetUploadRequest {
            upload_id: upload.id.clone()
        }
    )
    .unwrap();
    assert_eq!(stands.upload.unwrap().committed_size, i64::try_from(cut).unwrap());
    write(&alice, &upload.id, cut, &content[cut..]).await.unwrap();
    let file = complete(&alice, &upload.id, sha256(&content)).await.unwrap().file.unwrap();
    assert_eq!(file.id, upload.id);
    assert_eq!(get(&alice, &file.id, 0).await.unwrap(), content);
    assert_eq!((count(&server, "files"), count(&server, "uploads")), (1, 0));
    server.terminate().await;
    server.check().await;
}

#[tokio::test]
async fn lies_about_a_file_are_refused() {
    let server = Server::start(&[
        ("file_bytes", 1000),
        ("file_quota_bytes", 2500),
        ("uploads_per_user", 2),
    ])
    .await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("work", &[&bob]).await;
    let content = bytes(1000, 3);
    assert_eq!(reason(begin(&alice, &room, 1001).await), ErrorReason::FileTooLarge);
    let upload = begin(&alice, &room, 999).await.unwrap();
    // More than was declared.
    assert_eq!(
        reason(write(&alice, &upload.id, 0, &content).await),
        ErrorReason::FileTooLarge
    );
    // Somebody else's.
    assert_eq!(
        reason(write(&bob, &upload.id, 0, &content[..1]).await),
        ErrorReason::UploadNotFound
    );
    assert_eq!(
        reason(complete(&bob, &upload.id, sha256(&content)).await),
        ErrorReason::UploadNotFound
    );
    write(&alice, &upload.id, 0, &content[..999]).await.unwrap();
    assert_eq!(
        reason(complete(&alice, &upload.id, sha256(&content)).await),
        ErrorReason::HashMismatch
    );
    // It is given up with that, and its bytes count no more.
    assert_eq!(
        reason(write(&alice, &upload.id, 999, &content[..1]).await),
        ErrorReason::UploadNotFound
    );
    assert_eq!((count(&server, "files"), count(&server, "uploads")), (0, 0));

    put(&alice, &room, "one", &content).await.unwrap();
    let second = begin(&alice, &room, 1000).await.unwrap();
    begin(&alice, &room, 500).await.unwrap();
    assert_eq!(reason(begin(&alice, &room, 1).await), ErrorReason::FileQuotaExceeded);
    assert_eq!(
        reason(put(&alice, &room, "two", b"x").await),
        ErrorReason::FileQuotaExceeded
    );
    assert_eq!(reason(begin(&alice, &room, 0).await), ErrorReason::TooMany);
    call!(&alice, cancel_upload, v1::CancelUploadRequest { upload_id: second.id }).unwrap();
    put(&alice, &room, "two", &content).await.unwrap();
    assert_eq!(
        reason(
            put(&alice, &room, "x", &[])
                .await
                .map(|_| ())
                .and(put(&alice, &room, "y", &[1]).await)
        ),
        ErrorReason::FileQuotaExceeded
    );
}

#[tokio::test]
async fn files_are_read_only_by_those_whom_they_are_shared_with() {
    let server = Server::start(&[]).await;
    let (alice, bob, eve) = (
        server.user("alice").await,
        server.user("bob").await,
        server.user("eve").await,
    );
    let room = alice.private_room_with("work", &[&bob]).await;
    let file = put(&alice, &room, "plan", b"secret").await.unwrap();
    for outcome in [
        told(&eve, &file.id).await.map(|_| ()),
        get(&eve, &file.id, 0).await.map(|_| ()),
    ] {
        assert_eq!(reason(outcome), ErrorReason::FileNotFound);
    }
    assert_eq!(reason(remove(&eve, &file.id, "").await), ErrorReason::FileNotFound);
    assert_eq!(reason(remove(&bob, &file.id, "").await), ErrorReason::RoleTooLow);
    assert_eq!(reason(remove(&bob, &file.id, &room).await), ErrorReason::RoleTooLow);
    let stranger = eve.with_token("gt_nothing");
    assert_eq!(reason(told(&stranger, &file.id).await), ErrorReason::SessionEnded);

    // Bob passes it on to eve, and is removed; eve still has it.
    let other = bob.direct_room(&eve).await;
    let share = v1::ShareFileRequest {
        request_id: request_id(),
        file_id: file.id.clone(),
        room_id: other.clone(),
    };
    let first = call!(&bob, share_file, share.clone()).unwrap();
    assert_eq!(call!(&bob, share_file, share.clone()).unwrap(), first);
    let again = v1::ShareFileRequest {
        request_id: request_id(),
        ..share
    };
    assert_eq!(reason(call!(&bob, share_file, again)), ErrorReason::AlreadyShared);
    assert_eq!(get(&eve, &file.id, 0).await.unwrap(), b"secret");
    assert_eq!(told(&eve, &file.id).await.unwrap().shares.len(), 1);
    let listed = call!(&eve, list_files, v1::ListFilesRequest::default()).unwrap().files;
    assert_eq!(listed.len(), 1);

    remove(&alice, &file.id, "").await.unwrap();
    for user in [&alice, &bob, &eve] {
        assert_eq!(reason(told(user, &file.id).await), ErrorReason::FileNotFound);
    }
    // The name is not told again by what the room replays.
    let events = bob.events_after(&room, 0).await.unwrap();
    let kept = events.iter().filter_map(|event| event.body.as_ref());
    assert!(!kept.into_iter().any(|body| format!("{body:?}").contains("plan")));
}

#[tokio::test]
async fn who_is_removed_in_mid_download_is_cut() {
    let server = Server::start(&[]).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.private_room_with("work", &[&bob]).await;
    let content = bytes(40 * CHUNK, 4);
    let upload = begin(&alice, &room, content.len()).await.unwrap();
    write(&alice, &upload.id, 0, &content).await.unwrap();
    let file = complete(&alice, &upload.id, sha256(&content)).await.unwrap().file.unwrap();
    let request = v1::DownloadFileRequest {
        file_id: file.id.clone(),
        offset: 0,
    };
    let mut stream = call!(&bob, download_file, request).unwrap();
    within("the header", stream.next()).await.unwrap().unwrap();
    alice.remove(&room, &bob).await.unwrap();
    let mut read = 0;
    let end = within("the end", async {
        loop {
            match stream.next().await {
                Some(Ok(v1::DownloadFileResponse {
                    part: Some(Down::Chunk(chunk)),
                })) => read += chunk.len(),
                Some(Ok(_)) => {}
                Some(Err(status)) => break Refusal::from(status).reason,
                None => panic!("the download went on to its end"),
            }
        }
    })
    .await;
    assert_eq!(end, ErrorReason::FileNotFound);
    assert!(read < content.len(), "all was read");
}

#[tokio::test]
async fn lists_are_paged_sorted_and_found_by_name() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let room = alice.private_room("work").await;
    let mut ids = Vec::new();
    for number in 0..7_usize {
        let name = if number == 2 { "two" } else { "other" };
        ids.push(put(&alice, &room, name, &bytes(100 - number, 5)).await.unwrap().id);
    }
    let mut request = v1::ListFilesRequest {
        filter: v1::FileFilter::Room.into(),
        room_id: room.clone(),
        page_size: 3,
        ..v1::ListFilesRequest::default()
    };
    let mut found = Vec::new();
    loop {
        let page = call!(&alice, list_files, request.clone()).unwrap();
        found.extend(page.files.into_iter().map(|file| file.id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(found, ids.iter().rev().cloned().collect::<Vec<_>>());
    let by_size = v1::ListFilesRequest {
        order: v1::FileOrder::Size.into(),
        ..v1::ListFilesRequest::default()
    };
    let found = call!(&alice, list_files, by_size).unwrap().files;
    assert_eq!(found.into_iter().map(|file| file.id).collect::<Vec<_>>(), ids);
    let named = v1::ListFilesRequest {
        filter: v1::FileFilter::Mine.into(),
        name: "two".into(),
        ..v1::ListFilesRequest::default()
    };
    let found = call!(&alice, list_files, named).unwrap().files;
    assert_eq!(
        found.into_iter().map(|file| file.id).collect::<Vec<_>>(),
        [ids[2].clone()]
    );
}

#[tokio::test]
async fn uploads_that_get_no_bytes_are_given_up_with_what_they_have() {
    let server = Server::start(&[("upload_idle_seconds", 2)]).await;
    let alice = server.user("alice").await;
    let room = alice.private_room("work").await;
    let upload = begin(&alice, &room, 100).await.unwrap();
    write(&alice, &upload.id, 0, &[1; 50]).await.unwrap();
    assert_eq!(count(&server, "uploads"), 1);
    eventually("the end of the upload", || async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let left = call!(&alice, list_uploads, v1::ListUploadsRequest {}).unwrap().uploads;
        left.is_empty().then_some(())
    })
    .await;
    eventually("the end of its bytes", || async {
        (count(&server, "uploads") == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_repeated_request_sends_a_file_once() {
    let server = Server::start(&[]).await;
    let alice = server.user("alice").await;
    let room = alice.private_room("work").await;
    let request = v1::UploadFileRequest {
        request_id: request_id(),
        name: "once".into(),
        media_type: String::new(),
        room_id: room.clone(),
        content: vec![7; 10].into(),
        sha256: None,
    };
    let first = call!(&alice, upload_file, request.clone()).unwrap();
    assert_eq!(call!(&alice, upload_file, request.clone()).unwrap(), first);
    let other = v1::UploadFileRequest {
        content: vec![8; 10].into(),
        ..request
    };
    assert_eq!(reason(call!(&alice, upload_file, other)), ErrorReason::RequestIdReused);

    let create = v1::CreateUploadRequest {
        request_id: request_id(),
        name: "twice".into(),
        size: 4,
        media_type: String::new(),
        room_id: room,
    };
    let upload = call!(&alice, create_upload, create.clone()).unwrap();
    assert_eq!(call!(&alice, create_upload, create.clone()).unwrap(), upload);
    let other = v1::CreateUploadRequest { size: 5, ..create };
    assert_eq!(
        reason(call!(&alice, create_upload, other)),
        ErrorReason::RequestIdReused
    );
    let id = upload.upload.unwrap().id;
    write(&alice, &id, 0, b"abcd").await.unwrap();
    let done = v1::CompleteUploadRequest {
        request_id: request_id(),
        upload_id: id,
        sha256: sha256(b"abcd").into(),
    };
    let first = call!(&alice, complete_upload, done.clone()).unwrap();
    assert_eq!(call!(&alice, complete_upload, done).unwrap(), first);
}

#[tokio::test]
async fn a_backup_has_the_bytes_of_every_file_and_a_check_finds_what_was_changed() {
    let mut server = Server::start(&[]).await;
    let operator = server.operator().await;
    let alice = server.user("alice").await;
    let room = alice.private_room("work").await;
    let kept = put(&alice, &room, "kept", &bytes(5000, 6)).await.unwrap();
    let taken = put(&alice, &room, "taken away", &bytes(4000, 7)).await.unwrap();
    remove(&alice, &taken.id, "").await.unwrap();
    let upload = begin(&alice, &room, 100).await.unwrap();
    write(&alice, &upload.id, 0, &[1; 50]).await.unwrap();
    let backup = server.beside("backup");
    let request = admin::CreateBackupRequest {
        path: backup.display().to_string(),
        ..admin::CreateBackupRequest::default()
    };
    operator.act(request, "before the move").await.unwrap();
    server.terminate().await;

    let mut copy = Server::stopped(Options::default());
    std::fs::rename(&backup, copy.data_dir()).expect("both lie in the same file system");
    assert_eq!(count(&copy, "files"), 2);
    copy.check().await;
    copy.spawn().await.unwrap();
    let alice = User::log_in(copy.channel().await, "alice", PASSWORD).await.unwrap();
    assert_eq!(get(&alice, &kept.id, 0).await.unwrap(), bytes(5000, 6));
    // What was on its way is not in a backup, and is given up.
    eventually("the end of the upload", || async {
        let left = call!(&alice, list_uploads, v1::ListUploadsRequest {}).unwrap().uploads;
        left.is_empty().then_some(())
    })
    .await;
    copy.terminate().await;
    let path = copy.data_dir().join("files").join(&taken.id[1..3]).join(&taken.id);
    std::fs::write(path, bytes(4000, 8)).unwrap();
    let (status, _, stderr) = copy.run(&["check"]).await;
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(&taken.id), "{stderr}");
}
