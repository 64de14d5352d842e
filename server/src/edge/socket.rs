//! A TCP connection that gives up when its client takes no bytes for too long.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

use super::refusals::{Cause, Refusals};

/// A TCP connection, below TLS.
///
/// The time for a stall runs only while bytes wait that TCP does not take, and begins again with each byte that it takes.
#[derive(Debug)]
pub(super) struct Socket {
    tcp: TcpStream,
    /// Bytes that were read to look for a proxy's header, and are none.
    early: Vec<u8>,
    stall_limit: Duration,
    stall: Stall,
    timer: Option<Pin<Box<Sleep>>>,
    refusals: Arc<Refusals>,
}

/// How writing is going.
#[derive(Debug, PartialEq, Eq)]
enum Stall {
    /// TCP takes what there is.
    No,
    /// Bytes wait, and the timer runs.
    Waiting,
    /// It took too long.
    Over,
}

impl Socket {
    /// Gives up when TCP has taken no byte for `stall_limit` while some wait.
    pub(super) fn new(tcp: TcpStream, stall_limit: Duration, refusals: Arc<Refusals>) -> Self {
        Self {
            tcp,
            early: Vec::new(),
            stall_limit,
            stall: Stall::No,
            timer: None,
            refusals,
        }
    }

    /// Lets these bytes be read again, before those that come.
    pub(super) fn unread(&mut self, bytes: Vec<u8>) {
        self.early = bytes;
    }

    /// After a write: starts or stops the timer, and gives up if it has run out. `some` of the bytes that were to be written.
    fn watch(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
        some: &[u8],
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stall = Stall::No;
            return written;
        }
        if let (Stall::Waiting, Some(timer)) = (&self.stall, &mut self.timer) {
            ready!(timer.as_mut().poll(cx));
        }
        // The system tells of room only when a third of its buffer is free. So it is filled up before the timer starts, and asked once
        // more at the end: what it takes then, a slow but honest client has taken from it.
        if let Ok(bytes @ 1..) = write_now(&self.tcp, some) {
            self.stall = Stall::No;
            return Poll::Ready(Ok(bytes));
        }
        if self.stall == Stall::No {
            let limit = self.stall_limit;
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
            timer.as_mut().reset(Instant::now() + limit);
            self.stall = Stall::Waiting;
            ready!(timer.as_mut().poll(cx));
        }
        self.stall = Stall::Over;
        self.refusals.add(Cause::WriteStall);
        // What waits in the system would wait for many minutes more.
        _ = self.tcp.set_zero_linger();
        Poll::Ready(Err(stalled()))
    }
}

fn stalled() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client took no bytes for too long")
}

/// Offers bytes to TCP, whatever was last known of its room.
#[cfg(unix)]
fn write_now(tcp: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    use std::{io::Write as _, os::fd::AsFd as _};

    // A second descriptor of the same socket, which does not block either.
    std::net::TcpStream::from(tcp.as_fd().try_clone_to_owned()?).write(bytes)
}

#[cfg(not(unix))]
fn write_now(tcp: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    tcp.try_write(bytes)
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.early.is_empty() {
            let bytes = this.early.len().min(buf.remaining());
            buf.put_slice(&this.early[..bytes]);
            this.early.drain(..bytes);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.stall == Stall::Over {
            return Poll::Ready(Err(stalled()));
        }
        let written = Pin::new(&mut this.tcp).poll_write(cx, bytes);
        this.watch(cx, written, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.stall == Stall::Over {
            return Poll::Ready(Err(stalled()));
        }
        let written = Pin::new(&mut this.tcp).poll_write_vectored(cx, slices);
        let some = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| &**slice);
        this.watch(cx, written, some)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}
