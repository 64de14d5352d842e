//! Greffe's `Chat` stream: the session's token in the metadata, `Hello`, then sends, and events in batches.
//!
//! Of what comes only the outermost tags are read: events are searched for stamps, answers are looked at, and the rest is left alone.

use std::time::SystemTime;

use greffe_api::v1::chat_request::Action;
use greffe_api::v1::frame::Kind;
use greffe_api::v1::send_result::Outcome;
use greffe_api::v1::{ChatRequest, ChatResponse, Hello, SendMessageRequest};
use memchr::memmem;
use prost::Message as _;
use uuid::Uuid;

use crate::chat::driver::{Driver, News, Protocol};
use crate::chat::h2::Call;
use crate::chat::stamp::{self, Stamp};

/// The method.
pub(in crate::chat) const CHAT: &str = "/greffe.v1.ChatService/Chat";
/// Bytes that gRPC puts before each message.
pub(in crate::chat) const PREFIX: usize = 5;
/// Bytes of a message by which its kind is known: a tag, a length of at most 5 bytes, the kind's tag.
const KNOWN: usize = 7;
/// Tag of `Frame.events` in a frame.
const EVENTS: u8 = 0x12;
/// Digits of a request id that count the sends of a connection: its last group.
const COUNT: usize = 12;

/// Who talks where.
#[derive(Clone, Debug)]
pub(in crate::chat) struct Member {
    /// The session's token.
    pub(in crate::chat) token: String,
    /// The room that is talked in.
    pub(in crate::chat) room: String,
    /// Where the stream starts. Empty: with what happens from now on.
    pub(in crate::chat) hello: Hello,
}

/// One `Chat` stream on a connection of its own.
pub(in crate::chat) struct Greffe {
    call: Call,
    hello: Hello,
    authorization: String,
    /// A whole `SendMessage` with its prefix. Only the time and the count in its request id, a UUID of version 7, and the text change.
    template: Vec<u8>,
    count_at: usize,
    time_at: usize,
    text_at: usize,
    sent: u64,
    messages: Messages,
}

impl Greffe {
    /// `text_bytes` is the length of all that will be said.
    pub(in crate::chat) fn new(member: &Member, text_bytes: usize) -> Self {
        let request_id = Uuid::now_v7().to_string();
        let request = SendMessageRequest {
            request_id: request_id.clone(),
            room_id: member.room.clone(),
            text: "x".repeat(text_bytes),
            reply_to_seq: 0,
        };
        let template = framed(Action::SendMessage(request));
        let id_at = memmem::find(&template, request_id.as_bytes()).expect("a message has its request id in it");
        Self {
            call: Call::new(),
            hello: member.hello.clone(),
            authorization: format!("Bearer {}", member.token),
            count_at: id_at + request_id.len() - COUNT,
            time_at: id_at,
            text_at: template.len() - text_bytes,
            template,
            sent: 0,
            messages: Messages::default(),
        }
    }
}

impl Protocol for Greffe {
    fn open(&mut self, out: &mut Vec<u8>) {
        Call::open(CHAT, Some(&self.authorization), out);
        self.call
            .waiting()
            .extend_from_slice(&framed(Action::Hello(self.hello.clone())));
        self.call.flush(out);
    }

    fn read(&mut self, input: &[u8], out: &mut Vec<u8>, news: &mut News) -> usize {
        let messages = &mut self.messages;
        if let Err(why) = self.call.read(input, out, |bytes| messages.take(bytes, news)) {
            news.failure.get_or_insert(why);
        }
        input.len()
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        self.call.flush(out);
    }
}

impl Driver for Greffe {
    fn say(&mut self, text: &[u8], _out: &mut Vec<u8>) {
        write_hex(&mut self.template[self.count_at..self.count_at + COUNT], self.sent);
        self.sent += 1;
        let time = milliseconds();
        // A hyphen stands between the first eight digits and the next four.
        write_hex(&mut self.template[self.time_at..self.time_at + 8], time >> 16);
        write_hex(&mut self.template[self.time_at + 9..self.time_at + 13], time & 0xFFFF);
        self.template[self.text_at..].copy_from_slice(text);
        self.call.waiting().extend_from_slice(&self.template);
    }

    fn echoes(&self) -> bool {
        true
    }

    fn answers(&self) -> bool {
        true
    }
}

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "a request id has the time of whoever makes it")]
fn milliseconds() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis() as u64
}

/// Writes the last digits of a number.
fn write_hex(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

/// A frame as gRPC sends it.
pub(in crate::chat) fn framed(action: Action) -> Vec<u8> {
    let request = ChatRequest { action: Some(action) };
    let mut bytes = vec![0];
    bytes.extend_from_slice(&(request.encoded_len() as u32).to_be_bytes());
    request.encode(&mut bytes).expect("a vector grows as needed");
    bytes
}

/// The messages in a call's data, whichever way they are cut.
#[derive(Debug, Default)]
struct Messages {
    /// The prefix and the first bytes of the message that comes, until its kind is known; after that all of it, unless it is events.
    head: Vec<u8>,
    /// What comes, once it is known.
    known: Option<Known>,
    /// Bytes of the message that are still to come.
    left: usize,
    /// The end of what was searched, if it may be the begin of a stamp.
    tail: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Events,
    Other,
}

impl Messages {
    fn take(&mut self, mut bytes: &[u8], news: &mut News) {
        while !bytes.is_empty() {
            let Some(known) = self.known else {
                bytes = self.begin(bytes, news);
                continue;
            };
            let (piece, rest) = bytes.split_at(self.left.min(bytes.len()));
            bytes = rest;
            self.left -= piece.len();
            match known {
                Known::Events => self.search(piece, &mut news.stamps),
                Known::Other => self.head.extend_from_slice(piece),
            }
            if self.left == 0 {
                self.end(known, news);
            }
        }
    }

    /// Takes bytes until the message's kind is known, and returns the others.
    fn begin<'a>(&mut self, mut bytes: &'a [u8], news: &mut News) -> &'a [u8] {
        loop {
            let length = match self.head[..] {
                [_, a, b, c, d, ..] => Some(u32::from_be_bytes([a, b, c, d]) as usize),
                _ => None,
            };
            let missing = PREFIX + length.map_or(0, |length| length.min(KNOWN)) - self.head.len();
            if let (0, Some(length)) = (missing, length) {
                self.left = length.saturating_sub(KNOWN);
                break;
            }
            if bytes.is_empty() {
                return bytes;
            }
            let (piece, rest) = bytes.split_at(missing.min(bytes.len()));
            self.head.extend_from_slice(piece);
            bytes = rest;
        }
        let known = if is_events(&self.head[PREFIX..]) {
            Known::Events
        } else {
            Known::Other
        };
        self.known = Some(known);
        if self.left == 0 {
            self.end(known, news);
        }
        bytes
    }

    fn search(&mut self, piece: &[u8], stamps: &mut Vec<Stamp>) {
        if self.tail.is_empty() {
            let done = stamp::scan(piece, stamps);
            self.tail.extend_from_slice(&piece[done..]);
        } else {
            self.tail.extend_from_slice(piece);
            let done = stamp::scan(&self.tail, stamps);
            self.tail.drain(..done);
        }
    }

    /// The message is complete.
    fn end(&mut self, known: Known, news: &mut News) {
        if known == Known::Other {
            other(&self.head[PREFIX..], news);
        }
        self.head.clear();
        self.tail.clear();
        self.known = None;
    }
}

/// Whether a message that begins like this is a batch of events.
fn is_events(head: &[u8]) -> bool {
    // The tag of `ChatResponse.frame`, its length, and the tag of what it holds.
    let Some((0x0A, rest)) = head.split_first() else {
        return false;
    };
    let length = rest.iter().take_while(|byte| **byte >= 0x80).count() + 1;
    rest.get(length) == Some(&EVENTS)
}

/// A message that is no batch of events: rare, or short.
fn other(message: &[u8], news: &mut News) {
    let response = match ChatResponse::decode(message) {
        Ok(response) => response,
        Err(error) => {
            news.failure.get_or_insert(format!("a frame cannot be decoded: {error}"));
            return;
        }
    };
    match response.frame.and_then(|frame| frame.kind) {
        Some(Kind::CaughtUp(_)) => news.ready = true,
        Some(Kind::SendResult(result)) => match result.outcome {
            Some(Outcome::Receipt(_)) => news.answers += 1,
            outcome => {
                news.failure.get_or_insert(format!("a send was refused: {outcome:?}"));
            }
        },
        Some(Kind::Ended(ended)) => {
            news.failure.get_or_insert(format!("the server ended the stream: {ended:?}"));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use greffe_api::v1::event_body::Content;
    use greffe_api::v1::{CaughtUp, Event, EventBody, Events, Frame, MessagePosted, Receipt, SendResult};

    use super::*;
    use crate::chat::stamp;

    fn framed(kind: Kind) -> Vec<u8> {
        let response = ChatResponse {
            frame: Some(Frame { kind: Some(kind) }),
        };
        let message = response.encode_to_vec();
        [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat()
    }

    fn posted(seq: u32) -> Event {
        let mut text = vec![b'x'; 128];
        let stamp = Stamp {
            kind: stamp::Kind::Said,
            sender: 7,
            seq,
            time: 1,
        };
        stamp.write(&mut text);
        let text = String::from_utf8(text).unwrap();
        Event {
            body: Some(EventBody {
                content: Some(Content::MessagePosted(MessagePosted {
                    text,
                    ..MessagePosted::default()
                })),
                ..EventBody::default()
            }),
            ..Event::default()
        }
    }

    #[test]
    fn frames_are_understood_wherever_they_are_cut() {
        let result = SendResult {
            request_id: Uuid::nil().to_string(),
            outcome: Some(Outcome::Receipt(Receipt::default())),
        };
        let stream = [
            framed(Kind::CaughtUp(CaughtUp {})),
            framed(Kind::Events(Events { events: vec![] })),
            framed(Kind::Events(Events {
                events: (0..3).map(posted).collect(),
            })),
            framed(Kind::SendResult(result)),
            framed(Kind::Events(Events {
                events: vec![posted(3)],
            })),
        ]
        .concat();
        for size in 1..=stream.len() {
            let mut messages = Messages::default();
            let mut news = News::default();
            for piece in stream.chunks(size) {
                messages.take(piece, &mut news);
            }
            assert_eq!(news.failure, None, "in pieces of {size}");
            assert!(news.ready);
            assert_eq!(news.answers, 1);
            let seqs: Vec<u32> = news.stamps.iter().map(|stamp| stamp.seq).collect();
            assert_eq!(seqs, [0, 1, 2, 3], "in pieces of {size}");
        }
    }

    #[test]
    fn a_refused_send_is_a_failure() {
        let result = SendResult {
            request_id: Uuid::nil().to_string(),
            outcome: Some(Outcome::Error(greffe_api::v1::Error::default())),
        };
        let mut news = News::default();
        Messages::default().take(&framed(Kind::SendResult(result)), &mut news);
        assert!(news.failure.is_some());
        assert_eq!(news.answers, 0);
    }
}
