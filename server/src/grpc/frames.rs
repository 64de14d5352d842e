//! Frames of a stream, encoded once whatever stream they go to: `ChatResponse` and `SubscribeResponse` have the same bytes.

use bytes::{BufMut, Bytes, BytesMut};
use greffe_api::encoded::Encoded;
use greffe_api::v1::frame::Kind;
use greffe_api::v1::{Frame, SubscribeResponse};
use prost::Message;
use prost::encoding::{encode_varint, encoded_len_varint};

/// Tag of `ChatResponse.frame`.
const FRAME_TAG: u8 = 0x0A;
/// Tag of `Frame.events`.
const EVENTS_TAG: u8 = 0x12;

/// A frame as a message of either stream.
pub(super) fn frame(kind: Kind) -> Encoded {
    let response = SubscribeResponse {
        frame: Some(Frame { kind: Some(kind) }),
    };
    Encoded(response.encode_to_vec().into())
}

/// A frame of events that are encoded already.
pub(super) fn events(elements: &Bytes) -> Encoded {
    let inner = 1 + encoded_len_varint(elements.len() as u64) + elements.len();
    let mut out = BytesMut::with_capacity(1 + encoded_len_varint(inner as u64) + inner);
    out.put_u8(FRAME_TAG);
    encode_varint(inner as u64, &mut out);
    out.put_u8(EVENTS_TAG);
    encode_varint(elements.len() as u64, &mut out);
    out.put_slice(elements);
    Encoded(out.freeze())
}

#[cfg(test)]
mod tests {
    use greffe_api::v1::{ChatResponse, Event, Events};

    use super::*;

    #[test]
    fn a_frame_of_encoded_events_is_what_an_encoder_would_have_made() {
        let all = Events {
            events: vec![
                Event {
                    head: None,
                    body: None,
                    body_state: 2,
                },
                Event::default(),
            ],
        };
        let encoded = events(&all.encode_to_vec().into());
        assert_eq!(encoded, frame(Kind::Events(all.clone())));
        let read = ChatResponse::decode(encoded.0).unwrap();
        assert_eq!(read.frame.unwrap().kind, Some(Kind::Events(all)));
    }
}
