//! All connections of a load, and the one wait for whichever of them has something to say.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use mio::{Events, Poll, Token};

use super::connection::{Connection, Received};
use super::timer::Timer;
use crate::chat::driver::{News, Protocol};

/// Bytes read at a time.
const READ: usize = 256 * 1024;
/// The timer among the connections, which have numbers from 0.
const TIMER: Token = Token(usize::MAX);

/// What happened to a connection.
#[derive(Debug)]
pub(in crate::chat) enum Happened {
    /// It can be read from.
    Readable(usize),
    /// It can be written to.
    Writable(usize),
    /// It is over: why.
    Broken(usize, io::Error),
}

/// Connections by the number of the user whose they are.
pub(in crate::chat) struct Sockets<D: Protocol + ?Sized> {
    poll: Poll,
    events: Events,
    timer: Timer,
    pub(in crate::chat) connections: Vec<Connection<D>>,
    /// Where bytes are read to.
    buffer: Vec<u8>,
    /// Connections that have something to write.
    waiting: Vec<u32>,
}

impl<D: Protocol + ?Sized> Sockets<D> {
    /// One for each driver; none is open.
    pub(in crate::chat) fn new(drivers: Vec<Box<D>>) -> anyhow::Result<Self> {
        let poll = Poll::new().context("sockets cannot be waited for")?;
        let timer = Timer::new(poll.registry(), TIMER)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            timer,
            connections: drivers.into_iter().map(Connection::new).collect(),
            buffer: vec![0; READ],
            waiting: Vec::new(),
        })
    }

    /// Puts `driver` in the place of `user`'s, whose connection is closed if it is open, and begins to connect it.
    pub(in crate::chat) fn replace(&mut self, user: usize, driver: Box<D>, address: SocketAddr) -> io::Result<()> {
        self.connections[user] = Connection::new(driver);
        self.connect(user, address)
    }

    /// Begins to connect `user`.
    pub(in crate::chat) fn connect(&mut self, user: usize, address: SocketAddr) -> io::Result<()> {
        self.connections[user].connect(address, self.poll.registry(), Token(user))
    }

    /// Notes that a connection has something to write.
    pub(in crate::chat) fn wants_to_write(&mut self, user: usize) {
        let connection = &mut self.connections[user];
        if !connection.is_waiting {
            connection.is_waiting = true;
            self.waiting.push(user as u32);
        }
    }

    /// A connection can be written to: for the first time, or again.
    pub(in crate::chat) fn writable(&mut self, user: usize) -> io::Result<()> {
        self.connections[user].writable()?;
        self.wants_to_write(user);
        Ok(())
    }

    /// Reads once from a connection.
    ///
    /// # Errors
    /// If it is over: why.
    pub(in crate::chat) fn read(&mut self, user: usize, news: &mut News) -> io::Result<Received> {
        let received = self.connections[user].read(&mut self.buffer, news)?;
        if self.connections[user].has_output() {
            self.wants_to_write(user);
        }
        Ok(received)
    }

    /// Writes what waits to be written, waits at most `wait` for something to happen, and adds it to `happened`.
    pub(in crate::chat) fn wait(&mut self, wait: Duration, happened: &mut Vec<Happened>) -> anyhow::Result<()> {
        self.write_all(happened);
        self.timer.set(wait)?;
        match self.poll.poll(&mut self.events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            outcome => outcome.context("sockets cannot be waited for")?,
        }
        for event in self.events.iter().filter(|event| event.token() != TIMER) {
            let user = event.token().0;
            if event.is_writable() {
                happened.push(Happened::Writable(user));
            }
            if event.is_readable() {
                happened.push(Happened::Readable(user));
            }
        }
        Ok(())
    }

    fn write_all(&mut self, happened: &mut Vec<Happened>) {
        for user in self.waiting.drain(..) {
            if let Err(error) = self.connections[user as usize].write() {
                happened.push(Happened::Broken(user as usize, error));
            }
        }
    }
}
