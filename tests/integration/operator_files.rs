//! What operators do with files, and what members notice.

use futures_util::StreamExt as _;

use crate::files::{begin, bytes, call, complete, get, put, reason, sha256, told, write};
use crate::support::stream::head;
use crate::support::{ErrorReason, Operator, Refusal, Server, User, admin, refused, request_id, v1, within};

async fn listed(operator: &Operator, request: admin::ListFilesRequest) -> Vec<admin::AdminFile> {
    operator.act(request, "looking").await.unwrap().files
}

fn names(files: &[admin::AdminFile]) -> Vec<&str> {
    files.iter().map(|file| file.name.as_str()).collect()
}

fn quarantine(file: &str) -> admin::QuarantineFileRequest {
    admin::QuarantineFileRequest {
        file_id: file.to_owned(),
        ..Default::default()
    }
}

fn release(file: &str) -> admin::ReleaseFileRequest {
    admin::ReleaseFileRequest {
        file_id: file.to_owned(),
        ..Default::default()
    }
}

fn delete(file: &str, room: &str) -> admin::DeleteFileRequest {
    admin::DeleteFileRequest {
        file_id: file.to_owned(),
        room: room.to_owned(),
        ..Default::default()
    }
}

async fn share(user: &User, file: &str, room: &str) -> Result<v1::ShareFileResponse, Refusal> {
    let request = v1::ShareFileRequest {
        request_id: request_id(),
        file_id: file.to_owned(),
        room_id: room.to_owned(),
    };
    call!(user, share_file, request)
}

#[tokio::test]
async fn files_are_found_by_user_room_size_age_and_state_and_each_look_is_on_record() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let den = alice.private_room_with("den", &[&bob]).await;
    let general = server.general().await;
    assert!(listed(&operator, admin::ListFilesRequest::default()).await.is_empty());
    let small = put(&alice, &den, "small", b"1").await.unwrap();
    let large = put(&bob, &general, "large", &bytes(5000, 1)).await.unwrap();
    put(&alice, &general, "../odd\u{202e}", &bytes(70, 2)).await.unwrap();

    let before = operator.newest().await;
    let all = listed(&operator, admin::ListFilesRequest::default()).await;
    assert_eq!(names(&all), ["../odd\u{202e}", "large", "small"]);
    assert_eq!((all[2].owner_name.as_str(), all[2].size), ("alice", 1));
    assert_eq!(all[2].sha256, sha256(b"1"));
    assert_eq!(
        (all[2].shares[0].room_id.as_str(), all[2].shares[0].room_name.as_str()),
        (den.as_str(), "den")
    );
    let recorded = operator.acts_after(before).await;
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0].act.reason, "looking");

    let by = |change: fn(&mut admin::ListFilesRequest)| {
        let mut request = admin::ListFilesRequest::default();
        change(&mut request);
        request
    };
    assert_eq!(
        names(&listed(&operator, by(|r| r.user = "bob".into())).await),
        ["large"]
    );
    assert_eq!(
        names(&listed(&operator, by(|r| r.min_bytes = 70)).await),
        ["../odd\u{202e}", "large"]
    );
    assert_eq!(
        names(&listed(&operator, by(|r| r.order = v1::FileOrder::Size.into())).await)[0],
        "large"
    );
    let request = admin::ListFilesRequest {
        room: den.clone(),
        ..Default::default()
    };
    assert_eq!(names(&listed(&operator, request).await), ["small"]);
    let at = large.created_at;
    let request = admin::ListFilesRequest {
        since: at,
        ..Default::default()
    };
    assert_eq!(names(&listed(&operator, request).await), ["../odd\u{202e}", "large"]);
    let request = admin::ListFilesRequest {
        before: at,
        ..Default::default()
    };
    assert_eq!(names(&listed(&operator, request).await), ["small"]);
    let nobody = by(|request| request.user = "nobody".into());
    refused(operator.act(nobody, "looking").await, ErrorReason::UserNotFound);
    let less = by(|request| request.min_bytes = -1);
    refused(operator.act(less, "looking").await, ErrorReason::InvalidField);

    // Page by page, each by itself.
    let (mut paged, mut token) = (Vec::new(), String::new());
    loop {
        let request = admin::ListFilesRequest {
            page_size: 1,
            page_token: token,
            ..Default::default()
        };
        let page = operator.act(request, "looking").await.unwrap();
        paged.extend(page.files);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, all);

    begin(&bob, &general, 100).await.unwrap();
    let usage = operator.call(admin::GetFileUsageRequest::default()).await.unwrap();
    let total = usage.total.unwrap();
    assert_eq!(
        (total.files, total.bytes, total.uploads, total.upload_bytes),
        (3, 5071, 1, 100)
    );
    let users: Vec<&str> = usage.users.iter().map(|user| user.user_name.as_str()).collect();
    assert_eq!(users, ["bob", "alice"]);
    assert_eq!(usage.quota_bytes, 1 << 30);

    operator.act(delete(&small.id, ""), "no reason").await.unwrap();
    let removed = by(|request| request.state = admin::FileState::Removed.into());
    assert_eq!(names(&listed(&operator, removed).await), ["small"]);
}

#[tokio::test]
async fn a_withheld_file_is_seen_and_not_fetched_until_it_is_given_back_also_after_a_restart() {
    let mut server = Server::start(&[]).await;
    let operator = server.operator().await;
    let (alice, bob, _) = (
        server.user("alice").await,
        server.user("bob").await,
        server.user("eve").await,
    );
    let den = alice.private_room_with("den", &[&bob]).await;
    let file = put(&alice, &den, "plan", b"secret").await.unwrap();
    operator.act(quarantine(&file.id), "reported as malware").await.unwrap();
    refused(
        operator.act(quarantine(&file.id), "again").await,
        ErrorReason::NothingToChange,
    );
    let unknown = quarantine("f00000000000000000000000000");
    refused(operator.act(unknown, "again").await, ErrorReason::FileNotFound);

    server.restart().await;
    let operator = server.operator().await;
    let (alice, bob, eve) = (
        server.login("alice").await,
        server.login("bob").await,
        server.login("eve").await,
    );
    for user in [&alice, &bob] {
        assert!(told(user, &file.id).await.unwrap().quarantined);
        assert_eq!(reason(get(user, &file.id, 0).await), ErrorReason::FileQuarantined);
        let general = server.general().await;
        assert_eq!(
            reason(share(user, &file.id, &general).await),
            ErrorReason::FileQuarantined
        );
    }
    // Who may not know of it learns nothing by that.
    assert_eq!(reason(get(&eve, &file.id, 0).await), ErrorReason::FileNotFound);
    let withheld = admin::ListFilesRequest {
        state: admin::FileState::Quarantined.into(),
        ..Default::default()
    };
    let found = listed(&operator, withheld).await;
    assert_eq!(found[0].quarantine_reason, "reported as malware");

    operator.act(release(&file.id), "a false alarm").await.unwrap();
    refused(
        operator.act(release(&file.id), "again").await,
        ErrorReason::NothingToChange,
    );
    assert_eq!(get(&bob, &file.id, 0).await.unwrap(), b"secret");
    assert!(!told(&bob, &file.id).await.unwrap().quarantined);
    assert!(server.terminate().await.success());
    server.check().await;
}

#[tokio::test]
async fn a_download_under_way_ends_when_its_file_is_withheld() {
    let server = Server::start(&[]).await;
    let operator = server.operator().await;
    let alice = server.user("alice").await;
    let content = bytes(40 << 20, 4);
    let upload = begin(&alice, &server.general().await, content.len()).await.unwrap();
    write(&alice, &upload.id, 0, &content).await.unwrap();
    let file = complete(&alice, &upload.id, sha256(&content)).await.unwrap().file.unwrap();
    let request = v1::DownloadFileRequest {
        file_id: file.id.clone(),
        offset: 0,
    };
    let mut stream = call!(&alice, download_file, request).unwrap();
    within("the header", stream.next()).await.unwrap().unwrap();
    operator.act(quarantine(&file.id), "now").await.unwrap();
    let end = within("the end", async {
        loop {
            match stream.next().await {
                Some(Ok(_)) => {}
                Some(Err(status)) => return Refusal::from(status),
                None => panic!("the whole file came"),
            }
        }
    })
    .await;
    assert_eq!(end.reason, ErrorReason::FileQuarantined);
}

#[tokio::test]
async fn an_operator_takes_a_file_away_from_one_room_or_from_all() {
    let mut server = Server::start(&[]).await;
    let operator = server.operator().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let den = alice.private_room_with("den", &[&bob]).await;
    let general = server.general().await;
    let file = put(&alice, &den, "plan", b"secret").await.unwrap();
    share(&alice, &file.id, &general).await.unwrap();

    let mut stream = bob.live().await;
    operator.act(delete(&file.id, &den), "off topic").await.unwrap();
    let event = stream.event_in(&den).await;
    assert_eq!(head(&event).kind(), v1::EventKind::FileRemoved);
    assert!(bob.user_with_id(&head(&event).actor_id).await.unwrap().is_operator);
    assert_eq!(get(&bob, &file.id, 0).await.unwrap(), b"secret");
    refused(
        operator.act(delete(&file.id, &den), "again").await,
        ErrorReason::NothingToChange,
    );
    operator.act(delete(&file.id, ""), "off topic").await.unwrap();
    for user in [&alice, &bob] {
        assert_eq!(reason(get(user, &file.id, 0).await), ErrorReason::FileNotFound);
    }
    assert!(server.terminate().await.success());
    server.check().await;
}
