//! Messages on their way through the codec: as a client sends them, and as they are stored and sent on.

use std::hint::black_box;
use std::path::Path;

use bytes::Bytes;
use greffe_api::v1::chat_request::Action;
use greffe_api::v1::{ChatRequest, SendMessageRequest};
use greffe_server::domain::command::Change;
use greffe_server::domain::entry::Entry;
use greffe_server::domain::ids::{RequestId, random};
use greffe_server::grpc::frame_events;
use greffe_server::journal::Committed;
use greffe_server::journal::event::{Parts, commitment, encode};
use greffe_server::journal::tree::{Edge, leaf_hash};
use greffe_server::live::Framed;
use prost::Message as _;

use super::desk::{message_text, request_id};
use super::hall::Hall;
use super::texts::Texts;

/// Messages of a room that were committed together, in all forms that they take.
#[derive(Debug)]
pub(crate) struct Passage {
    /// As the writer made them.
    pub(crate) entries: Vec<Entry>,
    /// As they are stored.
    pub(crate) parts: Vec<Parts>,
    /// As elements of a list of events.
    pub(crate) elements: Bytes,
    /// A message as a client sends it.
    pub(crate) request: Bytes,
    salt: [u8; 16],
    edge: Edge,
}

impl Passage {
    /// A batch of `messages` messages. The journal is in `place`.
    pub(crate) fn new(place: &Path, messages: usize) -> Self {
        let (_hall, mut source) = Hall::open(place, 1);
        let batch: Vec<Committed> = source.batch(messages);
        let salt = random();
        let entries: Vec<Entry> = batch.iter().map(|event| (*event.entry).clone()).collect();
        let room = entries.iter().find_map(|entry| entry.draft.room);
        let request = SendMessageRequest {
            request_id: request_id().to_string(),
            room_id: room.map(|room| room.to_string()).unwrap_or_default(),
            text: Texts::new().next(),
            reply_to_seq: 0,
        };
        Self {
            parts: entries.iter().map(|entry| encode(entry, salt)).collect(),
            entries,
            elements: batch.iter().flat_map(|event| event.element.clone()).collect(),
            request: ChatRequest {
                action: Some(Action::SendMessage(request)),
            }
            .encode_to_vec()
            .into(),
            salt,
            edge: Edge::default(),
        }
    }

    /// Encodes the first event: head, body, commitment and leaf.
    #[inline(never)]
    pub(crate) fn encode(&self) -> Parts {
        encode(&self.entries[0], self.salt)
    }

    /// Puts the events into the message that all who are live in the room get.
    #[inline(never)]
    pub(crate) fn frame(&self) -> Framed {
        frame_events(&self.elements)
    }

    /// Reads the request and parses what is in it.
    #[inline(never)]
    pub(crate) fn decode(&self) -> (RequestId, Change) {
        let request = ChatRequest::decode(self.request.clone()).expect("it was encoded a moment ago");
        let Some(Action::SendMessage(request)) = request.action else {
            unreachable!("a message is sent")
        };
        let id = RequestId::parse(&request.request_id).expect("it is a request id");
        let change = Change::Send {
            room: request.room_id.parse().expect("it is a room's id"),
            text: message_text(request.text),
            reply_to: request.reply_to_seq,
        };
        (id, change)
    }

    /// Hashes what the journal's tree hashes of the batch: commitments to the bodies, leaves, nodes.
    #[inline(never)]
    pub(crate) fn hash(&mut self) {
        for Parts { head, body, .. } in &self.parts {
            black_box(commitment(body));
            self.edge.push(leaf_hash(head));
        }
    }
}
