//! NATS: lines, and payloads with their length before them.

use memchr::memchr;

use crate::chat::driver::{Driver, News, Protocol};
use crate::chat::peers::Place;
use crate::chat::stamp;
use crate::chat::workload::TEXT_BYTES;

/// One client.
pub(in crate::chat) struct Nats {
    /// What it listens to.
    subject: String,
    echoes: bool,
    /// `PUB` with its subject and the payload's length.
    prefix: Vec<u8>,
}

impl Nats {
    pub(in crate::chat) fn new(user: u32, place: Place) -> Self {
        let (subject, to) = match place {
            Place::Room(room) => (format!("room.{room}"), format!("room.{room}")),
            Place::Partner(partner) => (format!("user.{user}"), format!("user.{partner}")),
            Place::Nowhere => (format!("user.{user}"), "nobody".to_owned()),
        };
        Self {
            subject,
            echoes: matches!(place, Place::Room(_)),
            prefix: format!("PUB {to} {TEXT_BYTES}\r\n").into_bytes(),
        }
    }
}

impl Protocol for Nats {
    fn open(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n");
        // The server's PONG comes after it has taken the subscription.
        out.extend_from_slice(format!("SUB {} 1\r\nPING\r\n", self.subject).as_bytes());
    }

    fn read(&mut self, input: &[u8], out: &mut Vec<u8>, news: &mut News) -> usize {
        let mut done = 0;
        while let Some(end) = memchr(b'\n', &input[done..]) {
            let line = &input[done..done + end];
            let mut after = done + end + 1;
            match line.first() {
                // MSG subject subscription length
                Some(b'M') => {
                    let digits = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
                    let length = digits.iter().take_while(|byte| byte.is_ascii_digit());
                    let length = length.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
                    // The payload ends with a line's end of its own.
                    let Some(payload) = input.get(after..after + length + 2) else {
                        return done;
                    };
                    stamp::scan(payload, &mut news.stamps);
                    after += payload.len();
                }
                Some(b'P') if line.starts_with(b"PING") => out.extend_from_slice(b"PONG\r\n"),
                Some(b'P') => news.ready = true,
                Some(b'-') => {
                    news.failure.get_or_insert_with(|| String::from_utf8_lossy(line).into_owned());
                }
                _ => {}
            }
            done = after;
        }
        done
    }
}

impl Driver for Nats {
    fn say(&mut self, text: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.prefix);
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
    }

    fn echoes(&self) -> bool {
        self.echoes
    }
}
