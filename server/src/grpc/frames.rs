//! Frames of a stream, encoded once whatever stream they go to: `ChatResponse` and `SubscribeResponse` have the same bytes. A message here begins
//! with the five bytes that gRPC puts before each: that it is not compressed, and its length.

use bytes::{BufMut, Bytes, BytesMut};
use greffe_api::v1::frame::Kind;
use greffe_api::v1::{Frame, SubscribeResponse};
use prost::Message;
use prost::encoding::{encode_varint, encoded_len_varint};

use crate::live::{Framed, Waiting};

/// Tag of `ChatResponse.frame`.
const FRAME_TAG: u8 = 0x0A;
/// Tag of `Frame.events`.
const EVENTS_TAG: u8 = 0x12;
/// Bytes of events from which on it costs more to copy them together than to send them apart: what an HTTP/2 frame holds.
const WORTH_A_MESSAGE: usize = 16 * 1024;
/// Bytes that gRPC puts before a message.
const PREFIX_BYTES: usize = 5;

/// What gRPC puts before a message of `len` bytes.
fn put_prefix(out: &mut BytesMut, len: usize) {
    out.put_u8(0);
    // Nothing here comes near 4 GiB: what waits is bounded.
    out.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
}

/// Adds the message of a frame.
pub(super) fn put(out: &mut BytesMut, kind: Kind) {
    let response = SubscribeResponse {
        frame: Some(Frame { kind: Some(kind) }),
    };
    let len = response.encoded_len();
    out.reserve(PREFIX_BYTES + len);
    put_prefix(out, len);
    response.encode_raw(out);
}

/// The message of a frame.
pub(super) fn message(kind: Kind) -> Bytes {
    let mut out = BytesMut::new();
    put(&mut out, kind);
    out.freeze()
}

/// Begins the message of a frame of events; `len` bytes of elements are to follow.
fn put_events(out: &mut BytesMut, len: usize) {
    let frame = 1 + encoded_len_varint(len as u64) + len;
    let message = 1 + encoded_len_varint(frame as u64) + frame;
    out.reserve(PREFIX_BYTES + message);
    put_prefix(out, message);
    out.put_u8(FRAME_TAG);
    encode_varint(frame as u64, out);
    out.put_u8(EVENTS_TAG);
    encode_varint(len as u64, out);
}

/// The message of a frame of events that are encoded already, as elements of a list.
pub fn of_elements(elements: &[u8]) -> Framed {
    let mut out = BytesMut::new();
    put_events(&mut out, elements.len());
    let elements_at = out.len();
    out.put_slice(elements);
    Framed {
        message: out.freeze(),
        elements_at,
    }
}

/// The messages of all that waits: what is sent first, and what after that. Large pieces of events are not copied; small ones become one frame.
pub(super) fn of_waiting(waiting: Waiting) -> (Bytes, Vec<Bytes>) {
    let Waiting {
        answers: mut out,
        first,
        more,
    } = waiting;
    let Some(first) = first else {
        return (out.freeze(), Vec::new());
    };
    if more.is_empty() {
        if out.is_empty() {
            return (first.message, Vec::new());
        }
        if first.message.len() < WORTH_A_MESSAGE {
            out.put_slice(&first.message);
            return (out.freeze(), Vec::new());
        }
        return (out.freeze(), vec![first.message]);
    }
    let pieces: Vec<Framed> = std::iter::once(first).chain(more).collect();
    let mut rest = pieces.as_slice();
    let mut messages = Vec::new();
    while let [piece, ..] = rest {
        let is_large = |piece: &&Framed| piece.message.len() >= WORTH_A_MESSAGE;
        let small = rest.iter().position(|piece| is_large(&piece)).unwrap_or(rest.len());
        match rest.split_at(small) {
            ([], _) => {
                if !out.is_empty() {
                    messages.push(std::mem::take(&mut out).freeze());
                }
                messages.push(piece.message.clone());
                rest = &rest[1..];
            }
            (together, after) => {
                put_events(&mut out, together.iter().map(|piece| piece.elements().len()).sum());
                for piece in together {
                    out.put_slice(piece.elements());
                }
                rest = after;
            }
        }
    }
    if !out.is_empty() {
        messages.push(out.freeze());
    }
    let first = messages.remove(0);
    (first, messages)
}

#[cfg(test)]
mod tests {
    use bytes::Buf;
    use greffe_api::v1::{CaughtUp, ChatResponse, Event, Events};

    use super::*;

    fn event(index: i64) -> Event {
        let head = greffe_api::v1::EventHead {
            index,
            ..Default::default()
        };
        Event {
            head: Some(head),
            ..Default::default()
        }
    }

    fn events(indices: std::ops::Range<i64>) -> Events {
        Events {
            events: indices.map(event).collect(),
        }
    }

    /// Reads messages as a client does.
    fn read(mut bytes: Bytes) -> Vec<Kind> {
        let mut kinds = Vec::new();
        while bytes.has_remaining() {
            assert_eq!(bytes.get_u8(), 0);
            let len = usize::try_from(bytes.get_u32()).unwrap();
            let message = ChatResponse::decode(bytes.split_to(len)).unwrap();
            kinds.extend(message.frame.and_then(|frame| frame.kind));
        }
        kinds
    }

    #[test]
    fn a_frame_of_encoded_events_is_what_an_encoder_would_have_made() {
        for count in [0, 1, 2, 100, 2000] {
            let all = events(0..count);
            let framed = of_elements(&all.encode_to_vec());
            assert_eq!(framed.message, message(Kind::Events(all.clone())));
            assert_eq!(framed.elements(), all.encode_to_vec());
        }
    }

    #[test]
    fn what_waits_is_sent_as_answers_and_one_frame_of_events() {
        let piece = |indices| of_elements(&events(indices).encode_to_vec());
        let answers = || BytesMut::from(&message(Kind::CaughtUp(CaughtUp {}))[..]);
        let told = |answers, first, more| {
            let (first, more) = of_waiting(Waiting { answers, first, more });
            let messages: Vec<Bytes> = std::iter::once(first).chain(more).collect();
            read(Bytes::from(messages.concat()))
        };
        let answer = Kind::CaughtUp(CaughtUp {});
        assert_eq!(told(answers(), None, vec![]), std::slice::from_ref(&answer));
        assert_eq!(
            told(BytesMut::new(), Some(piece(0..2)), vec![]),
            [Kind::Events(events(0..2))]
        );
        assert_eq!(
            told(answers(), Some(piece(0..2)), vec![]),
            [answer.clone(), Kind::Events(events(0..2))]
        );
        let more = vec![piece(2..3), piece(3..9)];
        assert_eq!(
            told(answers(), Some(piece(0..2)), more),
            [answer.clone(), Kind::Events(events(0..9))]
        );
        // Large ones stay apart, in their places.
        let large = || piece(3..9000);
        let apart = |indices: &[std::ops::Range<i64>]| {
            indices.iter().cloned().map(|one| Kind::Events(events(one))).collect::<Vec<_>>()
        };
        assert_eq!(
            told(answers(), Some(large()), vec![]),
            [answer.clone(), Kind::Events(events(3..9000))]
        );
        let all = told(
            answers(),
            Some(piece(0..2)),
            vec![piece(2..3), large(), piece(9000..9001), piece(9001..9003)],
        );
        assert_eq!(all[0], answer);
        assert_eq!(all[1..], apart(&[0..3, 3..9000, 9000..9003]));
        let all = told(BytesMut::new(), Some(large()), vec![piece(9000..9001)]);
        assert_eq!(all, apart(&[3..9000, 9000..9001]));
    }
}
