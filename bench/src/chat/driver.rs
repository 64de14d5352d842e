//! What the generator asks of a protocol: one value for each connection, fed with the bytes that came.

use super::stamp::Stamp;

/// One connection's side of a protocol, from its first byte on.
pub(super) trait Protocol {
    /// Puts the first bytes of a new connection into `out`.
    fn open(&mut self, out: &mut Vec<u8>);

    /// Takes bytes that came, tells what they say, puts what must be answered into `out`, and returns how many it is done with: the others
    /// come again, with more behind them.
    fn read(&mut self, input: &[u8], out: &mut Vec<u8>, news: &mut News) -> usize;

    /// Puts what is held back into `out`. Called before each write, so that what is said together goes together.
    fn flush(&mut self, _out: &mut Vec<u8>) {}
}

/// A protocol in which somebody talks in one room, or to a partner.
pub(super) trait Driver: Protocol {
    /// Says `text` there. `text` always has the length that the driver was made for.
    fn say(&mut self, text: &[u8], out: &mut Vec<u8>);

    /// Connections that may be on their way to being open at a time.
    fn opening_at_once(&self) -> usize {
        64
    }

    /// Whether whoever says something gets it back like everyone else in the room.
    fn echoes(&self) -> bool;

    /// Whether the server tells a sender that a message is done, apart from delivering it.
    fn answers(&self) -> bool {
        false
    }
}

/// What a connection's bytes said.
#[derive(Debug, Default)]
pub(super) struct News {
    /// It is logged in, and in its room.
    pub(super) ready: bool,
    /// Messages delivered.
    pub(super) stamps: Vec<Stamp>,
    /// Sends that the server answered: they are done.
    pub(super) answers: u32,
    /// It cannot go on, or the server refused something.
    pub(super) failure: Option<String>,
}

/// Writes a number in decimal digits.
pub(super) fn decimal(out: &mut Vec<u8>, mut value: u32) {
    let mut digits = [0; 10];
    let mut from = digits.len();
    loop {
        from -= 1;
        digits[from] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[from..]);
}
