//! Rows, as the file `rows.pb` has them.

use std::io::{self, Read};

use prost::Message as _;
use prost::encoding::{encode_varint, encoded_len_varint};

use super::EVENT_BYTES;
use crate::v1::event_body::Content;
use crate::v1::{BodyState, EventBody, EventHead};

const TAG_HEAD: u8 = 0x0A;
const TAG_BODY: u8 = 0x12;
const TAG_STATE: u8 = 0x18;

/// A row of the journal.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// What its head says.
    pub(super) head: EventHead,
    /// The bytes of its head.
    pub(super) head_bytes: Vec<u8>,
    /// The bytes of its body.
    pub(super) body: Option<Vec<u8>>,
    /// Why it has no body.
    pub(super) state: BodyState,
}

impl Row {
    /// What its body says; none if there is none, or of a kind that is not known.
    pub(super) fn content(&self) -> Option<Content> {
        EventBody::decode(self.body.as_deref()?).ok()?.content
    }
}

fn put(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Writes a row: its length, and the event.
pub(super) fn encode(head: &[u8], body: Option<&[u8]>, state: BodyState) -> Vec<u8> {
    let mut event = Vec::with_capacity(head.len() + body.map_or(0, <[u8]>::len) + 16);
    put(&mut event, TAG_HEAD, head);
    if let Some(body) = body {
        put(&mut event, TAG_BODY, body);
    } else {
        event.push(TAG_STATE);
        event.push(u8::try_from(state as i32).unwrap_or_default());
    }
    let mut out = Vec::with_capacity(event.len() + encoded_len_varint(event.len() as u64));
    encode_varint(event.len() as u64, &mut out);
    out.append(&mut event);
    out
}

/// Why the next row cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The bytes are no row.
    #[error("{0}")]
    Form(&'static str),
}

/// Reads rows, one after the other.
pub(super) struct Rows<R> {
    from: R,
    /// Where the next one begins.
    pub(super) at: u64,
}

impl<R: Read> Rows<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, at: 0 }
    }

    /// The next row; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Row>, RowError> {
        let Some(length) = self.length()? else { return Ok(None) };
        let mut event = vec![0; length];
        self.from.read_exact(&mut event).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => RowError::Form("the file ends within a row"),
            _ => RowError::Io(error),
        })?;
        self.at += length as u64;
        parse(&event).map(Some)
    }

    fn length(&mut self) -> Result<Option<usize>, RowError> {
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let mut byte = [0];
            if self.from.read(&mut byte)? == 0 {
                if shift == 0 {
                    return Ok(None);
                }
                return Err(RowError::Form("the file ends within a row's length"));
            }
            self.at += 1;
            length |= usize::from(byte[0] & 0x7F) << shift;
            shift += 7;
            if byte[0] & 0x80 == 0 {
                // The shortest form, so that there is one only.
                if (byte[0] == 0 && shift > 7) || length == 0 || length > EVENT_BYTES {
                    return Err(RowError::Form("a row has a length that none has"));
                }
                return Ok(Some(length));
            }
            if shift > 21 {
                return Err(RowError::Form("a row has a length that none has"));
            }
        }
    }
}

/// Takes a field of bytes off the begin of an event.
fn field<'a>(event: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let rest = event.strip_prefix(&[tag])?;
    let mut rest = rest;
    let length = usize::try_from(prost::encoding::decode_varint(&mut rest).ok()?).ok()?;
    let bytes = rest.get(..length)?;
    *event = &rest[length..];
    Some(bytes)
}

fn parse(event: &[u8]) -> Result<Row, RowError> {
    let mut rest = event;
    let head_bytes = field(&mut rest, TAG_HEAD).ok_or(RowError::Form("a row has no head"))?;
    let head = EventHead::decode(head_bytes).map_err(|_| RowError::Form("a row's head is none"))?;
    let body = field(&mut rest, TAG_BODY);
    let state = match (body, rest) {
        (Some(_), []) => BodyState::Unspecified,
        (None, [TAG_STATE, state]) if i32::from(*state) == BodyState::Erased as i32 => BodyState::Erased,
        (None, [TAG_STATE, state]) if i32::from(*state) == BodyState::OutOfScope as i32 => BodyState::OutOfScope,
        _ => {
            return Err(RowError::Form(
                "a row is not a head and a body, or the reason why there is none",
            ));
        }
    };
    let row = Row {
        head,
        head_bytes: head_bytes.to_vec(),
        body: body.map(<[u8]>::to_vec),
        state,
    };
    // Lengths can be written in more than one way, and only one of them is ours.
    let again = encode(&row.head_bytes, body, state);
    if again.ends_with(event) {
        Ok(row)
    } else {
        Err(RowError::Form("a row is not written in the shortest form"))
    }
}
