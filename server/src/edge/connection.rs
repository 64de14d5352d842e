//! A connection as the HTTP/2 server gets it: encrypted or not, counted, and closed if it does not come to the point.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::{
    peer::Peer,
    refusals::{Cause, Refusals},
    socket::Socket,
};

/// Bytes of the HTTP/2 preface (RFC 9113, 3.4).
const PREFACE: usize = 24;

/// The connections that a listener may have in all.
#[derive(Debug)]
pub(super) struct Seats {
    pub(super) free: Arc<Semaphore>,
    pub(super) all: usize,
    /// Told of each change of how many there are.
    tell: fn(usize),
}

/// Counts a listener's connections. Clones count the same ones.
#[derive(Debug, Clone)]
pub struct Connections(pub(super) Arc<Seats>);

impl Connections {
    /// How many are open now, those included that are still shaking hands.
    pub fn open(&self) -> usize {
        self.0.taken()
    }

    /// How many there may be at once.
    pub fn max(&self) -> usize {
        self.0.all
    }
}

/// One connection of all those that there may be.
#[derive(Debug)]
pub(super) struct Seat {
    permit: Option<OwnedSemaphorePermit>,
    seats: Arc<Seats>,
}

impl Seats {
    pub(super) fn new(all: usize, tell: fn(usize)) -> Arc<Self> {
        let all = all.min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            free: Arc::new(Semaphore::new(all)),
            all,
            tell,
        })
    }

    /// A seat, if one is free.
    pub(super) fn take(self: &Arc<Self>) -> Option<Seat> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        (self.tell)(self.taken());
        Some(Seat {
            permit: Some(permit),
            seats: Arc::clone(self),
        })
    }

    fn taken(&self) -> usize {
        self.all - self.free.available_permits()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        drop(self.permit.take());
        (self.seats.tell)(self.seats.taken());
    }
}

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    peer: Peer,
    opening: Option<Opening>,
    /// When it is closed unless somebody has logged in.
    login: Option<Pin<Box<Sleep>>>,
    refusals: Arc<Refusals>,
    _seat: Seat,
}

/// The bytes below HTTP/2.
#[derive(Debug)]
pub(super) enum Stream {
    /// As they are.
    Plain(Socket),
    /// Encrypted.
    Tls(Box<TlsStream<Socket>>),
}

/// A connection on which no request has come yet.
#[derive(Debug)]
struct Opening {
    limit: Duration,
    timer: Pin<Box<Sleep>>,
    /// Bytes read, up to the preface's.
    read: usize,
}

impl Connection {
    /// `patience` is the time for the preface, and again for the first request; `login` is that for a login, where there must be one.
    pub(super) fn new(
        stream: Stream,
        peer: Peer,
        patience: Duration,
        login: Option<Duration>,
        seat: Seat,
        refusals: Arc<Refusals>,
    ) -> Self {
        let opening = Opening {
            limit: patience,
            timer: Box::pin(sleep(patience)),
            read: 0,
        };
        Self {
            stream,
            peer,
            opening: Some(opening),
            login: login.map(|login| Box::pin(sleep(login))),
            refusals,
            _seat: seat,
        }
    }

    /// Whose it is.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// After a read: whether nobody has logged in, where somebody must have.
    fn watch_login(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let Some(timer) = &mut self.login else { return Ok(()) };
        if self.peer.has_logged_in() {
            self.login = None;
            return Ok(());
        }
        if Instant::now() < timer.deadline() && timer.as_mut().poll(cx).is_pending() {
            return Ok(());
        }
        self.login = None;
        self.refusals.add(Cause::LoginTime);
        Err(io::Error::new(io::ErrorKind::TimedOut, "nobody logged in in time"))
    }

    /// After a read: whether the connection takes too long to come to the point.
    fn watch(&mut self, cx: &mut Context<'_>, bytes: usize) -> io::Result<()> {
        let Some(opening) = &mut self.opening else {
            return Ok(());
        };
        if self.peer.has_requested() {
            self.opening = None;
            return Ok(());
        }
        if opening.read < PREFACE {
            opening.read = opening.read.saturating_add(bytes);
            if opening.read >= PREFACE {
                opening.timer.as_mut().reset(Instant::now() + opening.limit);
            }
        }
        // Asked first, because a client that always has bytes ready may use up what the runtime lets a task poll.
        let late = Instant::now() >= opening.timer.deadline() || opening.timer.as_mut().poll(cx).is_ready();
        if !late {
            return Ok(());
        }
        let cause = if opening.read < PREFACE {
            Cause::PrefaceTime
        } else {
            Cause::RequestTime
        };
        self.opening = None;
        self.refusals.add(cause);
        Err(io::Error::new(io::ErrorKind::TimedOut, "no request came in time"))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.peer.give_slot_back();
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = match &mut this.stream {
            Stream::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        };
        if this.opening.is_some()
            && let Err(late) = this.watch(cx, buf.filled().len() - before)
        {
            return Poll::Ready(Err(late));
        }
        if this.login.is_some()
            && let Err(late) = this.watch_login(cx)
        {
            return Poll::Ready(Err(late));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Stream::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(socket) => socket.is_write_vectored(),
            Stream::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
