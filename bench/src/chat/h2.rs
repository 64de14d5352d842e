//! One gRPC call over one HTTP/2 connection (RFC 9113), written by hand so that it costs the generator little.
//!
//! The request's headers are literals without Huffman coding. The answer's headers are not decoded: that a call was refused is seen from
//! its end.

use std::fmt::Write as _;

/// The call's stream.
const STREAM: u32 = 1;
/// Bytes of a frame's header.
const HEADER: usize = 9;
/// Bytes of a DATA frame at most, in either direction, unless the server allows more: what HTTP/2 begins with.
const FRAME: usize = 16 * 1024;
/// Bytes that a window begins with.
const WINDOW: i64 = 65_535;
/// The window that we give: the greatest, so that it never holds up the server. Its sockets do.
const OUR_WINDOW: u32 = i32::MAX as u32;
/// Bytes of a control frame that are kept; more than any that means something to us.
const CONTROL: usize = 256;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
/// `END_STREAM` of DATA and HEADERS, and ACK of SETTINGS and PING.
const END_OR_ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// One call over one connection.
#[derive(Debug)]
pub(super) struct Call {
    incoming: Incoming,
    /// Bytes of messages that are not yet in frames.
    waiting: Vec<u8>,
    /// Bytes that the server takes, on the connection and on the stream.
    connection_window: i64,
    stream_window: i64,
    /// What a new stream's window is, by the server's settings.
    initial_window: i64,
    frame: usize,
    /// Bytes received since the last window updates.
    received: u32,
}

/// The frame that is being received.
#[derive(Debug, Default)]
struct Incoming {
    header: [u8; HEADER],
    /// How much of the header is there.
    have: usize,
    /// How much of the payload is still to come.
    left: usize,
    /// The payload so far, unless it is data.
    payload: Vec<u8>,
}

impl Call {
    /// A call that was not begun.
    pub(super) fn new() -> Self {
        Self {
            incoming: Incoming::default(),
            waiting: Vec::new(),
            connection_window: WINDOW,
            stream_window: WINDOW,
            initial_window: WINDOW,
            frame: FRAME,
            received: 0,
        }
    }

    /// Opens the connection and calls `path`, with the metadata `authorization` if there is any.
    pub(super) fn open(path: &str, authorization: Option<&str>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        // No pushes (2); our window for new streams (4).
        let settings = [(2_u16, 0), (4, OUR_WINDOW)];
        header(out, SETTINGS, 0, 0, 6 * settings.len());
        for (key, value) in settings {
            out.extend_from_slice(&key.to_be_bytes());
            out.extend_from_slice(&value.to_be_bytes());
        }
        window_update(out, 0, OUR_WINDOW - 65_535);

        // By RFC 7541, appendix A: POST, http, then names by their number and values in full.
        let mut fields = vec![0x83, 0x86];
        field(&mut fields, &[0x04], path);
        field(&mut fields, &[0x01], "localhost");
        field(&mut fields, &[0x0F, 0x10], "application/grpc");
        field(&mut fields, b"\0\x02te", "trailers");
        if let Some(authorization) = authorization {
            field(&mut fields, &[0x0F, 0x08], authorization);
        }
        header(out, HEADERS, END_HEADERS, STREAM, fields.len());
        out.extend_from_slice(&fields);
    }

    /// Where messages are put, each with the five bytes that gRPC puts before it.
    pub(super) fn waiting(&mut self) -> &mut Vec<u8> {
        &mut self.waiting
    }

    /// Puts into frames what the server's windows allow.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) {
        let mut done = 0;
        while done < self.waiting.len() {
            let window = self.connection_window.min(self.stream_window).max(0);
            let room = usize::try_from(window).unwrap_or(0).min(self.frame);
            let piece = (self.waiting.len() - done).min(room);
            if piece == 0 {
                break;
            }
            header(out, DATA, 0, STREAM, piece);
            out.extend_from_slice(&self.waiting[done..done + piece]);
            done += piece;
            self.connection_window -= piece as i64;
            self.stream_window -= piece as i64;
        }
        self.waiting.drain(..done);
    }

    /// Takes all of `input`, gives the bytes of messages in it to `data`, and answers what must be answered.
    ///
    /// # Errors
    /// If the call or the connection has ended: why.
    pub(super) fn read(
        &mut self,
        mut input: &[u8],
        out: &mut Vec<u8>,
        mut data: impl FnMut(&[u8]),
    ) -> Result<(), String> {
        while !input.is_empty() {
            if self.incoming.have < HEADER {
                let missing = (HEADER - self.incoming.have).min(input.len());
                let have = self.incoming.have;
                self.incoming.header[have..have + missing].copy_from_slice(&input[..missing]);
                self.incoming.have += missing;
                input = &input[missing..];
                if self.incoming.have < HEADER {
                    break;
                }
                let [high, middle, low, ..] = self.incoming.header;
                self.incoming.left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                self.incoming.payload.clear();
            }
            let (piece, rest) = input.split_at(self.incoming.left.min(input.len()));
            input = rest;
            self.incoming.left -= piece.len();
            let [_, _, _, kind, flags, ..] = self.incoming.header;
            if kind == DATA {
                if flags & PADDED != 0 {
                    return Err("the server pads its frames, which this client does not understand".to_owned());
                }
                self.received += piece.len() as u32;
                data(piece);
            } else if self.incoming.payload.len() < CONTROL {
                self.incoming.payload.extend_from_slice(piece);
            }
            if self.incoming.left == 0 {
                self.incoming.have = 0;
                self.frame_end(kind, flags, out)?;
            }
        }
        if self.received > OUR_WINDOW / 2 {
            window_update(out, 0, self.received);
            window_update(out, STREAM, self.received);
            self.received = 0;
        }
        Ok(())
    }

    /// Does what a frame asks for, now that all of it is here.
    fn frame_end(&mut self, kind: u8, flags: u8, out: &mut Vec<u8>) -> Result<(), String> {
        let payload = &self.incoming.payload;
        let ended = flags & END_OR_ACK != 0;
        match kind {
            DATA | HEADERS if ended => return Err("the server ended the call".to_owned()),
            RST_STREAM => return Err(format!("the server reset the call: {payload:?}")),
            GOAWAY => {
                let mut text = String::from("the server closes the connection: ");
                let _ = write!(text, "{}", payload.get(4..).unwrap_or_default().escape_ascii());
                return Err(text);
            }
            SETTINGS if !ended => {
                for setting in payload.chunks_exact(6) {
                    let value = i64::from(u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]));
                    match u16::from_be_bytes([setting[0], setting[1]]) {
                        4 => {
                            self.stream_window += value - self.initial_window;
                            self.initial_window = value;
                        }
                        5 => self.frame = usize::try_from(value).unwrap_or(FRAME),
                        _ => {}
                    }
                }
                header(out, SETTINGS, END_OR_ACK, 0, 0);
            }
            PING if !ended => {
                header(out, PING, END_OR_ACK, 0, payload.len());
                out.extend_from_slice(payload);
            }
            WINDOW_UPDATE => {
                if let [a, b, c, d] = payload[..] {
                    let more = i64::from(u32::from_be_bytes([a, b, c, d]));
                    if self.incoming.header[5..] == [0; 4] {
                        self.connection_window += more;
                    } else {
                        self.stream_window += more;
                    }
                }
            }
            _ => {}
        }
        self.flush(out);
        Ok(())
    }
}

fn header(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, length: usize) {
    // Lengths are at most `FRAME`, or what the server allows: 24 bits.
    out.extend_from_slice(&(length as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
}

fn window_update(out: &mut Vec<u8>, stream: u32, more: u32) {
    header(out, WINDOW_UPDATE, 0, stream, 4);
    out.extend_from_slice(&more.to_be_bytes());
}

/// A header field that no table remembers; `value` has less than 127 bytes.
fn field(out: &mut Vec<u8>, name: &[u8], value: &str) {
    debug_assert!(value.len() < 127, "longer values need longer lengths");
    out.extend_from_slice(name);
    out.push(value.len() as u8);
    out.extend_from_slice(value.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        header(&mut bytes, kind, flags, stream, payload.len());
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn data_comes_through_wherever_frames_are_cut() {
        let input = [
            frame(SETTINGS, 0, 0, &[]),
            frame(HEADERS, END_HEADERS, STREAM, b"anything"),
            frame(DATA, 0, STREAM, b"one"),
            frame(PING, 0, 0, b"12345678"),
            frame(DATA, 0, STREAM, b""),
            frame(DATA, 0, STREAM, b"two"),
        ]
        .concat();
        for size in 1..=input.len() {
            let mut call = Call::new();
            let (mut data, mut out) = (Vec::new(), Vec::new());
            for piece in input.chunks(size) {
                let outcome = call.read(piece, &mut out, |bytes| data.extend_from_slice(bytes));
                assert_eq!(outcome, Ok(()), "in pieces of {size}");
            }
            assert_eq!(data, b"onetwo");
            let answers = [
                frame(SETTINGS, END_OR_ACK, 0, &[]),
                frame(PING, END_OR_ACK, 0, b"12345678"),
            ];
            assert_eq!(out, answers.concat(), "in pieces of {size}");
        }
    }

    #[test]
    fn no_more_is_sent_than_the_server_allows() {
        let mut call = Call::new();
        let mut out = Vec::new();
        call.waiting().resize(70_000, 7);
        call.flush(&mut out);
        // Four frames, cut by their size, and a last one cut by the window.
        assert_eq!(out.len(), 65_535 + 4 * HEADER);
        for stream in [0, STREAM] {
            let update = frame(WINDOW_UPDATE, 0, stream, &100_000_u32.to_be_bytes());
            call.read(&update, &mut out, |_| ()).unwrap();
        }
        assert_eq!(out.len(), 70_000 + 5 * HEADER);
    }

    #[test]
    fn the_end_of_the_call_is_an_error() {
        for end in [
            frame(HEADERS, END_HEADERS | END_OR_ACK, STREAM, b"trailers"),
            frame(RST_STREAM, 0, STREAM, &[0; 4]),
            frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\x0Btoo_many"),
        ] {
            assert!(Call::new().read(&end, &mut Vec::new(), |_| ()).is_err());
        }
    }
}
