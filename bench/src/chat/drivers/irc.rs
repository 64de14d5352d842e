//! IRC (RFC 2812): a nick, a channel, lines.

use memchr::memchr;

use crate::chat::driver::{Driver, News, Protocol, decimal};
use crate::chat::peers::Place;
use crate::chat::stamp;

/// End of the greeting, or that there is none: the client is logged in.
const GREETED: [&[u8]; 2] = [b"376", b"422"];
/// End of the list of a channel's names: the client is in it. Asked for one that does not exist, servers answer with the same.
const NAMES_END: &[u8] = b"366";

/// One client.
pub(in crate::chat) struct Irc {
    user: u32,
    place: Place,
    /// `PRIVMSG` with its receiver, up to the text.
    prefix: Vec<u8>,
}

impl Irc {
    pub(in crate::chat) fn new(user: u32, place: Place) -> Self {
        let receiver = match place {
            Place::Room(room) => format!("#room{room}"),
            Place::Partner(user) => format!("user{user}"),
            Place::Nowhere => "nobody".to_owned(),
        };
        Self {
            user,
            place,
            prefix: format!("PRIVMSG {receiver} :").into_bytes(),
        }
    }

    fn line(&self, line: &[u8], out: &mut Vec<u8>, news: &mut News) {
        if let Some(token) = line.strip_prefix(b"PING") {
            out.extend_from_slice(b"PONG");
            out.extend_from_slice(token);
            out.extend_from_slice(b"\r\n");
            return;
        }
        if line.starts_with(b"ERROR") {
            news.failure.get_or_insert_with(|| String::from_utf8_lossy(line).into_owned());
            return;
        }
        // The command comes after the sender.
        let Some(command) = memchr(b' ', line).map(|space| &line[space + 1..]) else {
            return;
        };
        if command.starts_with(b"PRIVMSG ") {
            stamp::scan(command, &mut news.stamps);
        } else if GREETED.iter().any(|numeric| command.starts_with(numeric)) {
            match self.place {
                Place::Room(room) => {
                    out.extend_from_slice(b"JOIN #room");
                    decimal(out, room);
                }
                Place::Partner(_) | Place::Nowhere => out.extend_from_slice(b"NAMES #nowhere"),
            }
            out.extend_from_slice(b"\r\n");
        } else if command.starts_with(NAMES_END) {
            news.ready = true;
        } else if command.starts_with(b"4") {
            news.failure.get_or_insert_with(|| String::from_utf8_lossy(line).into_owned());
        }
    }
}

impl Protocol for Irc {
    fn open(&mut self, out: &mut Vec<u8>) {
        let user = self.user;
        out.extend_from_slice(format!("NICK user{user}\r\nUSER user{user} 0 * :user\r\n").as_bytes());
    }

    fn read(&mut self, input: &[u8], out: &mut Vec<u8>, news: &mut News) -> usize {
        let mut done = 0;
        while let Some(end) = memchr(b'\n', &input[done..]) {
            let line = &input[done..done + end];
            self.line(line.strip_suffix(b"\r").unwrap_or(line), out, news);
            done += end + 1;
        }
        done
    }
}

impl Driver for Irc {
    fn say(&mut self, text: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.prefix);
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
    }

    fn opening_at_once(&self) -> usize {
        // Servers greet those who wait once a second.
        1024
    }

    fn echoes(&self) -> bool {
        false
    }
}
