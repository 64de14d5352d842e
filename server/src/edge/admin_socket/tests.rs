//! Tests of the operators' socket: who can open it, what may lie in its place, and what is left behind.

use std::os::unix::fs::symlink;

use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// Longer than anything here may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// A private directory, and the path of a socket in it.
fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap().join("admin.sock");
    (dir, path)
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn names_in(dir: &Path) -> Vec<OsString> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

fn refusal(path: &Path) -> AdminSocketError {
    AdminSocket::bind(path).unwrap_err()
}

#[tokio::test]
async fn the_socket_is_its_owners_alone_and_goes_with_the_server() {
    let (dir, path) = place();
    let socket = AdminSocket::bind(&path).unwrap();
    assert_eq!(socket.path(), path);
    assert_eq!(mode(&path), 0o600);
    assert_eq!(names_in(dir.path()), ["admin.sock"], "nothing else is left");
    drop(socket);
    assert!(names_in(dir.path()).is_empty());
}

#[tokio::test]
async fn a_connection_carries_bytes_and_knows_its_user() {
    let (_dir, path) = place();
    let socket = AdminSocket::bind(&path).unwrap();
    let connections = socket.connections();
    let shutdown = CancellationToken::new();
    let mut incoming = socket.incoming(shutdown.clone());
    let mut client = UnixStream::connect(&path).await.unwrap();
    let mut connection = timeout(DEADLINE, incoming.next()).await.unwrap().unwrap().unwrap();

    let pid = i32::try_from(std::process::id()).ok();
    assert_eq!(
        connection.connect_info(),
        LocalPeer {
            uid: own_uid(),
            pid,
            name: crate::ownership::own_name().into()
        }
    );
    client.write_all(b"ping").await.unwrap();
    let mut bytes = [0; 4];
    connection.read_exact(&mut bytes).await.unwrap();
    connection.write_all(&bytes).await.unwrap();
    client.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"ping");

    assert_eq!((connections.open(), connections.max()), (1, ADMIN_CONNECTIONS));
    drop(connection);
    assert_eq!(connections.open(), 0);
    shutdown.cancel();
    assert!(timeout(DEADLINE, incoming.next()).await.unwrap().is_none());
    assert!(!path.exists());
}

#[tokio::test]
async fn there_are_only_so_many_connections_at_once() {
    let (_dir, path) = place();
    let mut incoming = AdminSocket::bind(&path).unwrap().incoming(CancellationToken::new());
    let mut open = Vec::new();
    for _ in 0..ADMIN_CONNECTIONS {
        let client = UnixStream::connect(&path).await.unwrap();
        open.push((
            client,
            timeout(DEADLINE, incoming.next()).await.unwrap().unwrap().unwrap(),
        ));
    }
    let mut refused = UnixStream::connect(&path).await.unwrap();
    let read = timeout(DEADLINE, refused.read(&mut [0; 1])).await.expect("to be closed");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    open.pop();
    let _client = UnixStream::connect(&path).await.unwrap();
    timeout(DEADLINE, incoming.next()).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_dead_servers_socket_is_replaced() {
    let (_dir, path) = place();
    drop(StdListener::bind(&path).unwrap());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let alive = AdminSocket::bind(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    UnixStream::connect(&path).await.unwrap();

    // One that stops late leaves its successor's alone.
    drop(SocketFile {
        path: path.clone(),
        device: alive.file.device,
        inode: alive.file.inode + 1,
    });
    assert!(path.exists());
}

#[tokio::test]
async fn a_running_servers_socket_is_not_taken_away() {
    let (_dir, path) = place();
    let mut incoming = AdminSocket::bind(&path).unwrap().incoming(CancellationToken::new());
    assert!(matches!(refusal(&path), AdminSocketError::InUse(_)));
    let _client = UnixStream::connect(&path).await.unwrap();
    timeout(DEADLINE, incoming.next()).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_socket_that_others_may_open_is_refused() {
    let (_dir, path) = place();
    drop(StdListener::bind(&path).unwrap());
    for open in [0o666, 0o660, 0o606, 0o620, 0o601] {
        fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
        let error = refusal(&path);
        assert!(
            matches!(error, AdminSocketError::Exposed { mode, .. } if mode == open),
            "{error}"
        );
    }
    assert!(path.exists(), "what is refused stays as it was");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    AdminSocket::bind(&path).unwrap();
}

#[tokio::test]
async fn a_socket_of_somebody_else_is_refused() {
    let (_dir, path) = place();
    let _listener = StdListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    // Only root can give a file away, so that elsewhere there is nothing to look at.
    if std::os::unix::fs::chown(&path, Some(12_345), None).is_ok() {
        let error = refusal(&path);
        assert!(
            matches!(error, AdminSocketError::Foreign { owner: 12_345, .. }),
            "{error}"
        );
        assert!(path.exists());
    }
}

#[tokio::test]
async fn what_is_no_socket_is_refused_and_stays() {
    let (dir, path) = place();
    fs::write(&path, "precious").unwrap();
    assert!(matches!(refusal(&path), AdminSocketError::NotASocket(_)));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();

    fs::create_dir(&path).unwrap();
    assert!(matches!(refusal(&path), AdminSocketError::NotASocket(_)));
    fs::remove_dir(&path).unwrap();

    // A link is not followed, whatever it leads to.
    let elsewhere = dir.path().join("elsewhere");
    symlink(&elsewhere, &path).unwrap();
    assert!(matches!(refusal(&path), AdminSocketError::NotASocket(_)));
    let _other = AdminSocket::bind(&elsewhere).unwrap();
    assert!(matches!(refusal(&path), AdminSocketError::NotASocket(_)));
    assert!(elsewhere.exists());
}

#[tokio::test]
async fn a_directory_in_which_others_could_replace_it_is_refused() {
    let (dir, path) = place();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let error = refusal(&path);
    assert!(
        matches!(error, AdminSocketError::Directory(DirectoryError::Writable { .. })),
        "{error}"
    );
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    AdminSocket::bind(&path).unwrap();
    let error = refusal(&dir.path().join("missing/admin.sock"));
    assert!(
        matches!(error, AdminSocketError::Directory(DirectoryError::Unusable(..))),
        "{error}"
    );
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_long_path_is_no_obstacle() {
    let (dir, _) = place();
    let deep = dir.path().canonicalize().unwrap().join("d".repeat(120));
    fs::create_dir(&deep).unwrap();
    let path = deep.join("admin.sock");
    let socket = AdminSocket::bind(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    // A client goes the same way.
    let directory = fs::File::open(&deep).unwrap();
    let short = format!("/proc/self/fd/{}/admin.sock", directory.as_raw_fd());
    UnixStream::connect(short).await.unwrap();
    assert!(matches!(refusal(&path), AdminSocketError::InUse(_)));
    drop(socket);
    assert!(names_in(&deep).is_empty());

    let name = "n".repeat(120);
    let error = refusal(&dir.path().join(name));
    assert!(matches!(error, AdminSocketError::TooLong(_)), "{error}");
    assert_eq!(names_in(dir.path()).len(), 1, "nothing is left of it");
}

#[tokio::test]
async fn a_user_without_a_name_is_named_by_number() {
    let names = Names::default();
    assert_eq!(&*names.of(4_000_000_123).await, "uid 4000000123");
    assert_eq!(&*names.of(0).await, "root");
    assert_eq!(names.known.lock().unwrap().len(), 2);
}
