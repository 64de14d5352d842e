//! A TCP connection that gives up when its client takes no bytes for too long, and sends frames together that are written one by one.

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

/// Bytes of an HTTP/2 frame of the greatest size that clients allow unless they say otherwise, with its head (RFC 9113, 4.1 and 6.5.2).
const FULL_FRAME: usize = 9 + 16_384;

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
    held: Held,
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

/// Whether the system holds bytes back for those that follow.
///
/// HTTP/2 writes and flushes each full frame on its own, and flushes once more when there is none left. Sent one by one, frames cost a
/// packet each; so the system is told after a full one that more comes, and sends both together. If it does not come, the second flush in
/// a row sends what is held; and if there were none, the system would after 200 ms.
#[derive(Debug, PartialEq, Eq)]
enum Held {
    /// It does not.
    No,
    /// It does, since the last write.
    Written,
    /// It does, and one flush has passed.
    Flushed,
}

impl Socket {
    /// Gives up when TCP has taken no byte for `stall_limit` while some wait.
    pub(super) fn new(tcp: TcpStream, stall_limit: Duration, refusals: Arc<Refusals>) -> Self {
        Self {
            tcp,
            early: Vec::new(),
            stall_limit,
            stall: Stall::No,
            held: Held::No,
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

/// Writes bytes that others follow at once.
#[cfg(target_os = "linux")]
fn poll_write_more(tcp: &mut TcpStream, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
    use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

    loop {
        ready!(tcp.poll_write_ready(cx))?;
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        let send = || sendmsg(&*tcp, slices, &mut SendAncillaryBuffer::default(), flags).map_err(Into::into);
        match tcp.try_io(tokio::io::Interest::WRITABLE, send) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => return Poll::Ready(written),
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn poll_write_more(tcp: &mut TcpStream, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
    Pin::new(tcp).poll_write_vectored(cx, slices)
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
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        let is_full = bytes >= FULL_FRAME;
        let written = if is_full {
            poll_write_more(&mut this.tcp, cx, slices)
        } else {
            Pin::new(&mut this.tcp).poll_write_vectored(cx, slices)
        };
        if written.is_ready() {
            this.held = if is_full { Held::Written } else { Held::No };
        }
        let some = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| &**slice);
        this.watch(cx, written, some)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.held {
            Held::No => {}
            Held::Written => this.held = Held::Flushed,
            Held::Flushed => {
                // Setting it again sends what is held (tcp(7)).
                this.tcp.set_nodelay(true)?;
                this.held = Held::No;
            }
        }
        Pin::new(&mut this.tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}
