//! One connection: a socket, what is to be written to it, and what was read and not yet understood.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::chat::driver::{Driver, News, Protocol};

/// Room that a read needs beside what is left from the one before.
const LEAST: usize = 64 * 1024;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::chat) enum State {
    /// There is no socket yet, or TCP is not yet connected.
    Connecting,
    /// The protocol begins.
    Opening,
    /// Logged in and in its room.
    Ready,
    /// Gone.
    Closed,
}

/// What a read gave.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::chat) struct Received {
    pub(in crate::chat) bytes: usize,
    /// Whether the buffer was full: there may be more.
    pub(in crate::chat) is_full: bool,
}

/// One connection.
pub(in crate::chat) struct Connection<D: Protocol + ?Sized> {
    socket: Option<TcpStream>,
    pub(in crate::chat) driver: Box<D>,
    pub(in crate::chat) state: State,
    /// Whether it is among those that are to be written to.
    pub(in crate::chat) is_waiting: bool,
    out: Vec<u8>,
    /// The end of what was read: the begin of something whose rest is still to come.
    rest: Vec<u8>,
}

impl<D: Protocol + ?Sized> Connection<D> {
    pub(in crate::chat) fn new(driver: Box<D>) -> Self {
        Self {
            socket: None,
            driver,
            state: State::Connecting,
            is_waiting: false,
            out: Vec::new(),
            rest: Vec::new(),
        }
    }

    /// Begins to connect. It is told of each change from unreadable to readable and from unwritable to writable.
    pub(in crate::chat) fn connect(
        &mut self,
        address: SocketAddr,
        registry: &Registry,
        token: Token,
    ) -> io::Result<()> {
        let mut socket = TcpStream::connect(address)?;
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        self.socket = Some(socket);
        Ok(())
    }

    /// The socket can be written to: for the first time, then it is connected; or again.
    pub(in crate::chat) fn writable(&mut self) -> io::Result<()> {
        let (State::Connecting, Some(socket)) = (self.state, &self.socket) else {
            return Ok(());
        };
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        socket.set_nodelay(true)?;
        self.state = State::Opening;
        self.driver.open(&mut self.out);
        Ok(())
    }

    /// Whether something is to be written.
    pub(in crate::chat) fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    /// Writes as much as the socket takes; it tells when it takes more.
    pub(in crate::chat) fn write(&mut self) -> io::Result<()> {
        self.is_waiting = false;
        let Some(socket) = self.socket.as_mut().filter(|_| self.state != State::Connecting) else {
            return Ok(());
        };
        self.driver.flush(&mut self.out);
        let mut done = 0;
        while done < self.out.len() {
            match socket.write(&self.out[done..]) {
                Ok(written) => done += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.drain(..done);
        Ok(())
    }

    /// Reads once, into `buffer`.
    ///
    /// # Errors
    /// If the connection is over: why.
    pub(in crate::chat) fn read(&mut self, buffer: &mut Vec<u8>, news: &mut News) -> io::Result<Received> {
        let Some(socket) = self.socket.as_mut().filter(|_| self.state != State::Connecting) else {
            return Ok(Received::default());
        };
        let kept = self.rest.len();
        if buffer.len() < kept + LEAST {
            buffer.resize(kept + LEAST, 0);
        }
        buffer[..kept].copy_from_slice(&self.rest);
        let read = match socket.read(&mut buffer[kept..]) {
            Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "closed by the server")),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(Received::default());
            }
            Err(error) => return Err(error),
        };
        let input = &buffer[..kept + read];
        let done = self.driver.read(input, &mut self.out, news);
        self.rest.clear();
        self.rest.extend_from_slice(&input[done..]);
        Ok(Received {
            bytes: read,
            is_full: kept + read == buffer.len(),
        })
    }

    pub(in crate::chat) fn close(&mut self) {
        self.state = State::Closed;
        self.socket = None;
    }
}

impl<D: Driver + ?Sized> Connection<D> {
    /// Puts a message behind what is to be written.
    pub(in crate::chat) fn say(&mut self, text: &[u8]) {
        self.driver.say(text, &mut self.out);
    }
}
