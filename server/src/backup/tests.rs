//! Backups of real servers: whole, private, checked; and nothing is left of one that was not made.

use std::{
    net::Ipv4Addr,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use diesel::{Connection as _, connection::SimpleConnection as _};
use greffe_api::v1::{
    ListRoomsRequest, RegisterRequest, SendMessageRequest, auth_service_client::AuthServiceClient,
    chat_service_client::ChatServiceClient, room_service_client::RoomServiceClient,
};
use tokio::sync::oneshot;
use tonic::{Request, transport::Channel};

use super::*;
use crate::{Server, Start, check::check, config::Config, notary::KEY_FILE};

/// A server that runs, with a member who sends.
struct Live {
    home: tempfile::TempDir,
    data_dir: PathBuf,
    stop: oneshot::Sender<()>,
    running: tokio::task::JoinHandle<()>,
    channel: Channel,
    token: String,
    room: String,
}

impl Live {
    async fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let data_dir = home.path().canonicalize().unwrap().join("data");
        let mut config = Config {
            data_dir: data_dir.clone(),
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            ..Config::default()
        };
        config.limits.messages_per_second = 0;
        let server = Server::bind(config, &Start::default()).await.unwrap();
        let address = format!("http://{}", server.local_addr());
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(async move {
            let stopped = async { _ = stopped.await };
            server.run(stopped).await.unwrap();
        });
        let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
        let registered = AuthServiceClient::new(channel.clone())
            .register(RegisterRequest {
                user_name: "alice".into(),
                password: "correct horse battery".into(),
                ..RegisterRequest::default()
            })
            .await
            .unwrap()
            .into_inner();
        let mut live = Self {
            home,
            data_dir,
            stop,
            running,
            channel,
            token: registered.token,
            room: String::new(),
        };
        let rooms = RoomServiceClient::new(live.channel.clone())
            .list_rooms(live.request(ListRoomsRequest::default()))
            .await
            .unwrap()
            .into_inner()
            .rooms;
        live.room = rooms[0].room.clone().unwrap().id;
        live
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let token = format!("Bearer {}", self.token).parse().unwrap();
        request.metadata_mut().insert("authorization", token);
        request
    }

    /// Sends a message, and tells its row.
    async fn send(&self) -> i64 {
        let message = SendMessageRequest {
            request_id: uuid::Uuid::new_v4().to_string(),
            room_id: self.room.clone(),
            text: "a message of some length, as people write them".into(),
            ..SendMessageRequest::default()
        };
        let sent = ChatServiceClient::new(self.channel.clone())
            .send_message(self.request(message))
            .await;
        sent.unwrap().into_inner().receipt.unwrap().index
    }

    /// A path beside the data directory.
    fn beside(&self, name: &str) -> PathBuf {
        self.home.path().canonicalize().unwrap().join(name)
    }

    fn make(&self, target: &Path) -> Result<Report, BackupError> {
        make(&self.data_dir.join(DATABASE), &self.data_dir, target, &note())
    }

    /// Stops it, and leaves the home with what was stored.
    async fn stop(self) -> (tempfile::TempDir, PathBuf) {
        _ = self.stop.send(());
        drop(self.channel);
        tokio::time::timeout(Duration::from_secs(30), self.running)
            .await
            .unwrap()
            .unwrap();
        (self.home, self.data_dir)
    }
}

fn note() -> Note {
    Note {
        made_at: 1_700_000_000_000_000,
        made_by: "root".into(),
        reason: "before the upgrade".into(),
    }
}

fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// Changes a database behind the server's back.
fn tamper(database: &Path, sql: &str) {
    let mut connection = diesel::SqliteConnection::establish(database.to_str().unwrap()).unwrap();
    // The threads that read close their connections when they have noticed that nobody asks any more.
    connection.batch_execute("PRAGMA busy_timeout = 10000;").unwrap();
    connection.batch_execute(sql).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_writes_is_in_order_and_holds_what_was_acknowledged_before_it() {
    let live = Arc::new(Live::start().await);
    let acknowledged = Arc::new(AtomicI64::new(live.send().await));
    let done = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let (live, acknowledged, done) = (Arc::clone(&live), Arc::clone(&acknowledged), Arc::clone(&done));
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    acknowledged.fetch_max(live.send().await, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for number in 0..5 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let before = acknowledged.load(Ordering::Relaxed);
        let (copied, target) = (Arc::clone(&live), live.beside(&format!("backup-{number}")));
        let asked = target.clone();
        let report = tokio::task::spawn_blocking(move || copied.make(&asked)).await.unwrap().unwrap();
        assert!(
            report.rows > before,
            "{} rows, and row {before} was acknowledged",
            report.rows
        );
        let checked = check(&target).unwrap();
        assert_eq!((checked.size, checked.root), (report.rows, report.root));
        assert_eq!(checked.backup.unwrap().made_at, "2023-11-14T22:13:20Z");
        assert_eq!(report.path, target);
    }
    done.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }
    let (_home, data_dir) = Arc::into_inner(live).unwrap().stop().await;
    let checked = check(&data_dir).unwrap();
    assert!(checked.size > acknowledged.load(Ordering::Relaxed));
    assert_eq!(checked.backup, None, "the server itself is no backup");
}

#[tokio::test]
async fn a_backup_is_its_owners_alone_and_has_the_certificate_that_clients_pinned() {
    let live = Live::start().await;
    fs::create_dir(live.data_dir.join("tls")).unwrap();
    for name in ["self-signed.pem", "certificate.pem"] {
        fs::write(live.data_dir.join("tls").join(name), name).unwrap();
        fs::set_permissions(live.data_dir.join("tls").join(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let target = live.beside("backup");
    let report = live.make(&target).unwrap();
    assert_eq!(names_in(&target), [DATABASE, KEY_FILE, "tls"]);
    assert_eq!(mode(&target.join(KEY_FILE)), 0o600);
    assert_eq!(names_in(&target.join("tls")), ["certificate.pem", "self-signed.pem"]);
    for directory in ["", "tls"] {
        assert_eq!(mode(&target.join(directory)), 0o700);
    }
    for file in [DATABASE, "tls/self-signed.pem", "tls/certificate.pem"] {
        assert_eq!(mode(&target.join(file)), 0o600, "{file}");
    }
    assert_eq!(
        fs::read_to_string(target.join("tls/self-signed.pem")).unwrap(),
        "self-signed.pem"
    );
    let files = [DATABASE, KEY_FILE, "tls/self-signed.pem", "tls/certificate.pem"];
    let bytes: u64 = files.iter().map(|file| fs::metadata(target.join(file)).unwrap().len()).sum();
    assert_eq!(report.bytes, bytes);
    assert_eq!(names_in(live.home.path()), ["backup", "data"]);
}

#[tokio::test]
async fn what_exists_is_never_touched() {
    let live = Live::start().await;
    let target = live.beside("backup");
    let refused = || {
        let error = live.make(&target).unwrap_err();
        assert!(matches!(error, BackupError::Exists(_)), "{error}");
        assert_eq!(names_in(live.home.path()), ["backup", "data"]);
    };
    fs::write(&target, "precious").unwrap();
    refused();
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    fs::remove_file(&target).unwrap();
    fs::create_dir(&target).unwrap();
    refused();
    fs::remove_dir(&target).unwrap();
    symlink(live.beside("nowhere"), &target).unwrap();
    refused();
    fs::remove_file(&target).unwrap();
    live.make(&target).unwrap();
    refused();
    check(&target).unwrap();

    // What appears while the backup is made is not replaced either.
    let mut late = Partial::make(live.beside("late")).unwrap();
    fs::write(late.path.join("file"), "").unwrap();
    assert!(matches!(late.move_to(&target), Err(BackupError::Exists(_))));
    drop(late);
    assert_eq!(names_in(live.home.path()), ["backup", "data"]);
}

#[tokio::test]
async fn a_backup_lies_in_a_safe_place() {
    let live = Live::start().await;
    let error = |target: &Path| live.make(target).unwrap_err();
    let relative = error(Path::new("backup"));
    assert!(matches!(relative, BackupError::Relative(_)), "{relative}");
    assert!(matches!(error(Path::new("/")), BackupError::Nameless(_)));
    assert!(matches!(error(&live.beside("a/..")), BackupError::Nameless(_)));
    assert!(matches!(
        error(&live.beside("missing/backup")),
        BackupError::Directory(DirectoryError::Unusable(..))
    ));

    // Not among the server's own files, by whatever way.
    symlink(&live.data_dir, live.beside("link")).unwrap();
    for inside in [
        live.data_dir.join("backup"),
        live.beside("link/backup"),
        live.beside("data/../data/backup"),
    ] {
        assert!(matches!(error(&inside), BackupError::Inside(_)), "{}", inside.display());
    }

    let shared = live.beside("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(
        error(&shared.join("backup")),
        BackupError::Directory(DirectoryError::Writable { .. })
    ));
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
    live.make(&shared.join("backup")).unwrap();
    assert_eq!(names_in(&shared), ["backup"]);
}

#[tokio::test]
async fn a_backup_may_be_named_instead_of_placed() {
    let live = Live::start().await;
    let target = named(&live.data_dir, "2026-11-22.a_b").unwrap();
    assert_eq!(
        live.make(&target).unwrap().path,
        live.data_dir.join("backups/2026-11-22.a_b")
    );
    assert_eq!(mode(&live.data_dir.join("backups")), 0o700);
    live.make(&named(&live.data_dir, "second").unwrap()).unwrap();
    for bad in [
        "",
        ".",
        "..",
        ".hidden",
        "a/b",
        "a\\b",
        "-a",
        "a b",
        "a\0",
        "é",
        &"a".repeat(65),
    ] {
        assert!(
            matches!(named(&live.data_dir, bad), Err(BackupError::Name(_))),
            "{bad:?}"
        );
    }
    named(&live.data_dir, &"a".repeat(64)).unwrap();
    assert!(matches!(
        live.make(&live.data_dir.join("backups/second/third")),
        Err(BackupError::Inside(_))
    ));
}

#[tokio::test]
async fn nothing_is_left_of_a_backup_that_was_not_made() {
    let (home, data_dir) = Live::start().await.stop().await;
    let target = home.path().join("backup");
    let database = data_dir.join(DATABASE);
    tamper(&database, "UPDATE journal SET leaf = zeroblob(32) WHERE idx = 1;");
    let error = make(&database, &data_dir, &target, &note()).unwrap_err();
    assert!(
        matches!(error, BackupError::Check(CheckError::Row { index: 1, .. })),
        "{error}"
    );
    assert_eq!(names_in(home.path()), ["data"]);

    let other = home.path().join("other.db");
    fs::write(
        &other,
        "this is no database, and long enough to be read as one if it were ".repeat(100),
    )
    .unwrap();
    let error = make(&other, &data_dir, &target, &note()).unwrap_err();
    assert!(matches!(error, BackupError::Copy(_)), "{error}");
    assert_eq!(names_in(home.path()), ["data", "other.db"]);

    fs::create_dir(data_dir.join("tls")).unwrap();
    fs::create_dir(data_dir.join("tls/self-signed.pem")).unwrap();
    let error = make(&database, &data_dir, &target, &note()).unwrap_err();
    assert!(matches!(error, BackupError::File { .. }), "{error}");
    assert_eq!(names_in(home.path()), ["data", "other.db"]);
}

#[tokio::test]
async fn a_backup_that_was_changed_is_no_backup_any_more() {
    let (home, data_dir) = Live::start().await.stop().await;
    let target = home.path().canonicalize().unwrap().join("backup");
    let database = target.join(DATABASE);
    for change in [
        "size = size + 1",
        "root = zeroblob(32)",
        "journal_id = 'a'",
        "epoch = 'a'",
    ] {
        make(&data_dir.join(DATABASE), &data_dir, &target, &note()).unwrap();
        check(&target).unwrap();
        tamper(&database, &format!("UPDATE backup_mark SET {change};"));
        assert!(matches!(check(&target), Err(CheckError::Derived(_))), "{change}");
        fs::remove_dir_all(&target).unwrap();
    }
}

#[tokio::test]
async fn a_copy_is_looked_at_without_being_changed() {
    let (home, data_dir) = Live::start().await.stop().await;
    // What SQLite would take for parameters.
    let target = home.path().canonicalize().unwrap().join("50%25 of it? #1");
    make(&data_dir.join(DATABASE), &data_dir, &target, &note()).unwrap();
    let database = fs::read(target.join(DATABASE)).unwrap();
    inspect(&target).unwrap();
    assert_eq!(names_in(&target), [DATABASE, KEY_FILE]);
    assert_eq!(fs::read(target.join(DATABASE)).unwrap(), database);
}

#[tokio::test]
async fn the_mark_comes_off_with_its_transaction_and_says_how_the_journal_goes_on() {
    let (home, data_dir) = Live::start().await.stop().await;
    let target = home.path().canonicalize().unwrap().join("backup");
    let report = make(&data_dir.join(DATABASE), &data_dir, &target, &note()).unwrap();
    let opened = crate::store::sqlite::open(&target.join(DATABASE), 1).unwrap();
    let mut appender = opened.appender;
    let mark = appender.backup_mark().unwrap().unwrap();
    assert_eq!(
        (mark.size, hex(&mark.root), &mark.note),
        (report.rows, report.root, &note())
    );

    let (first, second) = (mark.restored("root", "greffe/1"), mark.restored("root", "greffe/1"));
    assert_ne!((&first.journal_id, &first.epoch), (&second.journal_id, &second.epoch));
    assert_ne!((&first.journal_id, &first.epoch), (&mark.journal_id, &mark.epoch));
    assert_eq!(
        (first.journal_id.len(), first.epoch.len()),
        (mark.journal_id.len(), mark.epoch.len())
    );
    assert_eq!(
        (first.previous_size, &first.previous_journal_id),
        (mark.size, &mark.journal_id)
    );
    assert_eq!(first.previous_root, mark.root[..]);
    drop((appender, opened.reader));

    let database = target.join(DATABASE);
    tamper(
        &database,
        "BEGIN IMMEDIATE; DROP TABLE IF EXISTS backup_mark; ROLLBACK;",
    );
    assert!(inspect(&target).unwrap().backup.is_some());
    tamper(&database, "BEGIN IMMEDIATE; DROP TABLE IF EXISTS backup_mark; COMMIT;");
    assert!(inspect(&target).unwrap().backup.is_none());
}
