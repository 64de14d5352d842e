//! The operators' Unix socket: whoever can open it is an operator, so it is made such that only the server's own user (and root) can.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fs, io,
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
            net::{UnixDatagram, UnixListener as StdListener},
        },
    },
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::Stream as FutureStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::{
    ADMIN_CONNECTIONS, Connections, PAUSE,
    connection::{Seat, Seats},
    refusals::{Cause, Refusals},
};
use crate::{
    domain::ids::{hex, random},
    ownership::{DirectoryError, own_uid, trusted_directory, user_name},
};

/// Bytes of a path that a socket's address holds at most.
const PATH_MAX: usize = 107;
/// The permissions of the socket: its owner's alone.
const PRIVATE: u32 = 0o600;
/// How long the system may take to say a user's name.
const NAME_WAIT: Duration = Duration::from_secs(2);
/// User names that are remembered.
const NAMES_MAX: usize = 64;

/// Why the operators' socket is not served.
#[derive(Debug, thiserror::Error)]
pub enum AdminSocketError {
    /// Others could put a socket of their own where it should lie.
    #[error("the operators' socket has no safe place (admin.socket can move it)")]
    Directory(#[from] DirectoryError),
    /// Something else lies there.
    #[error(
        "{} is no socket: look what it is and remove it, or choose another place with --admin-socket",
        .0.display()
    )]
    NotASocket(PathBuf),
    /// A socket of another user lies there.
    #[error(
        "the socket {} belongs to the user with number {owner}, and not to the one who runs the server: find out who made it and \
         remove it, or choose another place with --admin-socket",
        path.display()
    )]
    Foreign {
        /// The socket.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// A socket that others may open lies there: no server made it so.
    #[error(
        "others may open the socket {} (mode {mode:o}), so no greffe-server left it as it is: find out who changed it and remove it, \
         or choose another place with --admin-socket",
        path.display()
    )]
    Exposed {
        /// The socket.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another server serves it.
    #[error("the socket {} is another server's: stop that one, or choose another place with --admin-socket", .0.display())]
    InUse(PathBuf),
    /// The path does not fit into a socket's address.
    #[error(
        "{} has more than {PATH_MAX} bytes, which is too long for a socket here: choose a shorter place with --admin-socket",
        .0.display()
    )]
    TooLong(PathBuf),
    /// The system refuses.
    #[error("cannot make the socket {}: check that the server may write there, or choose another place with --admin-socket", .0.display())]
    Bind(PathBuf, #[source] io::Error),
}

/// Who is at the other end of a connection to the operators' socket. In the extensions of each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalPeer {
    /// The number of the operating system's user who connected.
    pub uid: u32,
    /// The process that connected, if the system tells.
    pub pid: Option<i32>,
    /// The user's name, at most 64 characters, none of them invisible; `uid N` if there is none.
    pub name: Arc<str>,
}

/// A connection to the operators' socket.
#[derive(Debug)]
pub struct LocalConnection {
    stream: UnixStream,
    peer: LocalPeer,
    _seat: Seat,
}

/// The operators' socket. Its file is removed when it is dropped, or when [`AdminSocket::incoming`] stops accepting.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    file: SocketFile,
    seats: Arc<Seats>,
}

/// The socket in the file system.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another server's may lie there by now.
        if fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == (self.device, self.inode)) {
            _ = fs::remove_file(&self.path);
        }
    }
}

impl AdminSocket {
    /// Makes the socket at `path`, for the process's own user only. Connections wait in the system until [`AdminSocket::incoming`].
    ///
    /// The data directory must be locked. A private socket of our own that lies there, and that no process serves, is replaced. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// Something lies there that no server of ours left, or others than the process's user and root could replace the socket.
    pub fn bind(path: &Path) -> Result<Self, AdminSocketError> {
        let failed = |error| AdminSocketError::Bind(path.to_owned(), error);
        let name = path.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let directory = trusted_directory(parent)?;
        let path = directory.join(name);
        remove_old(&path)?;

        let (listener, file) = make(&directory, name, &path)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = UnixListener::from_std(listener).map_err(failed)?;
        if path.as_os_str().len() > PATH_MAX {
            tracing::warn!(
                path = %path.display(),
                "The path of the operators' socket has more than {PATH_MAX} bytes: programs other than greffe-admin may not open it; \
                 admin.socket can move it"
            );
        }
        Ok(Self {
            listener,
            file,
            // The gauge of connections is about members.
            seats: Seats::new(ADMIN_CONNECTIONS, |_| {}),
        })
    }

    /// Where it is: absolute, links resolved.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Counts its connections.
    pub fn connections(&self) -> Connections {
        Connections(Arc::clone(&self.seats))
    }

    /// Accepts connections until `shutdown`, then ends. What goes wrong with a connection is never an item: that connection is closed.
    ///
    /// Dropping the stream stops accepting, too. Must be called within a tokio runtime.
    pub fn incoming(
        self,
        shutdown: CancellationToken,
    ) -> impl FutureStream<Item = io::Result<LocalConnection>> + Send + Unpin + 'static {
        let (ready, connections) = mpsc::channel(ADMIN_CONNECTIONS);
        tokio::spawn(self.accept(ready, shutdown));
        ReceiverStream::new(connections)
    }

    async fn accept(self, ready: mpsc::Sender<io::Result<LocalConnection>>, shutdown: CancellationToken) {
        let names = Arc::new(Names::default());
        let refusals = Refusals::default();
        let accepting = async {
            loop {
                let Ok((stream, _)) = self.listener.accept().await else {
                    refusals.add(Cause::Accept);
                    tokio::time::sleep(PAUSE).await;
                    continue;
                };
                let Some(seat) = self.seats.take() else {
                    refusals.add(Cause::Full);
                    continue;
                };
                // It fails only if the connection is gone.
                let Ok(credentials) = stream.peer_cred() else { continue };
                let (names, ready, shutdown) = (Arc::clone(&names), ready.clone(), shutdown.clone());
                tokio::spawn(async move {
                    let uid = credentials.uid();
                    let Some(name) = shutdown.run_until_cancelled(names.of(uid)).await else {
                        return;
                    };
                    let pid = credentials.pid();
                    let connection = LocalConnection {
                        stream,
                        peer: LocalPeer { uid, pid, name },
                        _seat: seat,
                    };
                    _ = ready.send(Ok(connection)).await;
                });
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = ready.closed() => {}
            () = accepting => {}
        }
    }
}

/// Removes the socket of a server that is dead; refuses whatever else lies there.
fn remove_old(path: &Path) -> Result<(), AdminSocketError> {
    let failed = |error| AdminSocketError::Bind(path.to_owned(), error);
    let path = path.to_owned();
    // Says what lies there itself, also if it is a link.
    let found = match fs::symlink_metadata(&path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !found.file_type().is_socket() {
        return Err(AdminSocketError::NotASocket(path));
    }
    if found.uid() != own_uid() {
        return Err(AdminSocketError::Foreign {
            path,
            owner: found.uid(),
        });
    }
    let mode = found.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(AdminSocketError::Exposed { path, mode });
    }
    // The lock of the data directory says nothing about a socket that was moved out of it.
    if is_served(&path)? {
        return Err(AdminSocketError::InUse(path));
    }
    fs::remove_file(&path).map_err(failed)
}

/// Makes the socket in a directory that nobody else can enter, and moves it to its place once nobody else can open it.
///
/// The process's umask would do the same, but it is all threads'.
fn make(directory: &Path, name: &OsStr, path: &Path) -> Result<(StdListener, SocketFile), AdminSocketError> {
    let failed = |error| AdminSocketError::Bind(path.to_owned(), error);
    let mut hidden = OsString::from(".");
    hidden.push(hex(&random::<4>()));
    let hidden = directory.join(hidden);
    fs::DirBuilder::new().mode(0o700).create(&hidden).map_err(failed)?;
    let unfinished = hidden.join(name);
    let made = Address::of(&unfinished, path).and_then(|address| {
        let listener = StdListener::bind(&address.path).map_err(failed)?;
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(PRIVATE)).map_err(failed)?;
        let file = fs::symlink_metadata(&unfinished).map_err(failed)?;
        fs::rename(&unfinished, path).map_err(failed)?;
        let file = SocketFile {
            path: path.to_owned(),
            device: file.dev(),
            inode: file.ino(),
        };
        Ok((listener, file))
    });
    if made.is_err() {
        _ = fs::remove_file(&unfinished);
    }
    _ = fs::remove_dir(&hidden);
    made
}

/// A path that fits into a socket's address, and leads to the same file.
struct Address {
    path: PathBuf,
    /// The opened directory by way of which the path leads, if it is too long by itself.
    _directory: Option<fs::File>,
}

impl Address {
    /// The address of the socket `at`; errors are about `wanted`.
    fn of(at: &Path, wanted: &Path) -> Result<Self, AdminSocketError> {
        if at.as_os_str().len() <= PATH_MAX {
            return Ok(Self {
                path: at.to_owned(),
                _directory: None,
            });
        }
        let too_long = || AdminSocketError::TooLong(wanted.to_owned());
        let (parent, name) = at.parent().zip(at.file_name()).ok_or_else(too_long)?;
        let directory = fs::File::open(parent).map_err(|error| AdminSocketError::Bind(wanted.to_owned(), error))?;
        let mut path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
        let found = path.exists();
        path.push(name);
        // Not every system has that; and a name alone can be too long as well.
        if !found || path.as_os_str().len() > PATH_MAX {
            return Err(too_long());
        }
        Ok(Self {
            path,
            _directory: Some(directory),
        })
    }
}

/// Whether a process serves the socket at `path`.
fn is_served(path: &Path) -> Result<bool, AdminSocketError> {
    let failed = |error| AdminSocketError::Bind(path.to_owned(), error);
    let address = Address::of(path, path)?;
    // A socket of another type cannot be connected to it, so that nobody is disturbed and nothing waits; but it is refused otherwise if
    // there is no process.
    let asked = UnixDatagram::unbound().map_err(failed)?.connect(&address.path);
    Ok(!asked.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

/// The names of the operating system's users.
#[derive(Debug)]
struct Names {
    known: Mutex<HashMap<u32, Arc<str>>>,
    /// One question at a time: where names come over a network, an answer may never come.
    turn: Arc<Semaphore>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
        }
    }
}

impl Names {
    /// The name of a user, or `uid N` if there is none, it cannot be shown, or the system does not tell it in time.
    async fn of(&self, uid: u32) -> Arc<str> {
        if let Some(name) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&uid) {
            return Arc::clone(name);
        }
        let asking = async {
            let turn = Arc::clone(&self.turn).acquire_owned().await.ok()?;
            let question = tokio::task::spawn_blocking(move || {
                // Held until there is an answer, also if nobody waits for it any more.
                let _turn = turn;
                user_name(uid)
            });
            question.await.ok()?.ok()
        };
        let nameless = || Arc::from(format!("uid {uid}"));
        let Ok(Some(found)) = timeout(NAME_WAIT, asking).await else {
            return nameless();
        };
        let name = found.map_or_else(nameless, Arc::from);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < NAMES_MAX {
            known.insert(uid, Arc::clone(&name));
        }
        name
    }
}

impl LocalConnection {
    /// Whose it is.
    pub fn peer(&self) -> &LocalPeer {
        &self.peer
    }
}

impl Connected for LocalConnection {
    type ConnectInfo = LocalPeer;

    fn connect_info(&self) -> LocalPeer {
        self.peer.clone()
    }
}

impl AsyncRead for LocalConnection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for LocalConnection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
