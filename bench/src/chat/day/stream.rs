//! One person's `Chat` stream, of which every frame is understood.

use greffe_api::v1::chat_request::Action;
use greffe_api::v1::frame::Kind;
use greffe_api::v1::{ChatResponse, Hello};
use prost::Message as _;

use crate::chat::driver::{News, Protocol};
use crate::chat::drivers::greffe::{CHAT, PREFIX, framed};
use crate::chat::h2::Call;

/// A stream on a connection of its own.
pub(super) struct Stream {
    call: Call,
    hello: Hello,
    authorization: String,
    /// What came and is not yet a whole frame.
    input: Vec<u8>,
    /// What the server said, until somebody takes it.
    pub(super) frames: Vec<Kind>,
}

impl Stream {
    /// A stream that is to begin with `hello`.
    pub(super) fn new(token: &str, hello: Hello) -> Self {
        Self {
            call: Call::new(),
            hello,
            authorization: format!("Bearer {token}"),
            input: Vec::new(),
            frames: Vec::new(),
        }
    }

    /// Does something, with the next write.
    pub(super) fn act(&mut self, action: Action) {
        self.call.waiting().extend_from_slice(&framed(action));
    }
}

impl Protocol for Stream {
    fn open(&mut self, out: &mut Vec<u8>) {
        Call::open(CHAT, Some(&self.authorization), out);
        let hello = std::mem::take(&mut self.hello);
        self.act(Action::Hello(hello));
        self.call.flush(out);
    }

    fn read(&mut self, bytes: &[u8], out: &mut Vec<u8>, news: &mut News) -> usize {
        let input = &mut self.input;
        let outcome = self.call.read(bytes, out, |piece| input.extend_from_slice(piece));
        let outcome = outcome.and_then(|()| take_frames(&mut self.input, &mut self.frames));
        if let Err(why) = outcome {
            news.failure.get_or_insert(why);
        }
        bytes.len()
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        self.call.flush(out);
    }
}

/// Takes whole frames from the begin of `input`.
fn take_frames(input: &mut Vec<u8>, frames: &mut Vec<Kind>) -> Result<(), String> {
    let mut done = 0;
    while let Some((prefix, rest)) = input[done..].split_first_chunk::<PREFIX>() {
        let [_, length @ ..] = *prefix;
        let Some(message) = rest.get(..u32::from_be_bytes(length) as usize) else {
            break;
        };
        let response = ChatResponse::decode(message).map_err(|error| format!("a frame cannot be decoded: {error}"))?;
        frames.extend(response.frame.and_then(|frame| frame.kind));
        done += PREFIX + message.len();
    }
    input.drain(..done);
    Ok(())
}

#[cfg(test)]
mod tests {
    use greffe_api::v1::{CaughtUp, Frame, Heartbeat};

    use super::*;

    #[test]
    fn frames_are_understood_wherever_they_are_cut() {
        let kinds = [Kind::CaughtUp(CaughtUp {}), Kind::Heartbeat(Heartbeat::default())];
        let mut bytes = Vec::new();
        for kind in &kinds {
            let frame = Some(Frame {
                kind: Some(kind.clone()),
            });
            let message = ChatResponse { frame }.encode_to_vec();
            bytes.push(0);
            bytes.extend_from_slice(&(message.len() as u32).to_be_bytes());
            bytes.extend_from_slice(&message);
        }
        for size in 1..=bytes.len() {
            let (mut input, mut frames) = (Vec::new(), Vec::new());
            for piece in bytes.chunks(size) {
                input.extend_from_slice(piece);
                take_frames(&mut input, &mut frames).unwrap();
            }
            assert_eq!(frames, kinds, "in pieces of {size}");
            assert!(input.is_empty());
        }
    }
}
