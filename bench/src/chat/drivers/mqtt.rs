//! MQTT 3.1.1, with quality of service 1: each message is acknowledged, on its way in and on its way out.

use crate::chat::driver::{Driver, News, Protocol};
use crate::chat::peers::Place;
use crate::chat::stamp;
use crate::chat::workload::TEXT_BYTES;

/// PUBLISH with quality of service 1.
const PUBLISH: u8 = 0x32;
const PUBACK: u8 = 0x40;

/// One client.
pub(in crate::chat) struct Mqtt {
    user: u32,
    /// What it listens to.
    topic: String,
    echoes: bool,
    /// A whole PUBLISH, in which the packet's number and the payload change.
    template: Vec<u8>,
    /// The number of the last packet; never 0.
    packet: u16,
}

impl Mqtt {
    pub(in crate::chat) fn new(user: u32, place: Place) -> Self {
        let (topic, to) = match place {
            Place::Room(room) => (format!("room/{room}"), format!("room/{room}")),
            Place::Partner(partner) => (format!("user/{user}"), format!("user/{partner}")),
            Place::Nowhere => (format!("user/{user}"), "nobody".to_owned()),
        };
        let mut content = Vec::new();
        string(&mut content, &to);
        content.extend_from_slice(&[0; 2 + TEXT_BYTES]);
        let mut template = Vec::new();
        packet(&mut template, PUBLISH, &content);
        Self {
            user,
            topic,
            echoes: matches!(place, Place::Room(_)),
            template,
            packet: 0,
        }
    }

    fn receive(&mut self, kind: u8, content: &[u8], out: &mut Vec<u8>, news: &mut News) {
        match kind >> 4 {
            // CONNACK: its second byte is 0 if the server agrees.
            2 if content.get(1) == Some(&0) => {
                let mut subscription = vec![0, 1];
                string(&mut subscription, &self.topic);
                subscription.push(1);
                packet(out, 0x82, &subscription);
            }
            // SUBACK: what follows the packet's number is the quality that was granted.
            9 if content.get(2) == Some(&1) => news.ready = true,
            2 | 9 => {
                news.failure.get_or_insert_with(|| format!("the broker refuses: {content:?}"));
            }
            3 => {
                let topic = match content {
                    [high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
                    _ => 0,
                };
                if kind & 6 != 0
                    && let Some(number) = content.get(2 + topic..4 + topic)
                {
                    packet(out, PUBACK, number);
                }
                stamp::scan(content, &mut news.stamps);
            }
            _ => {}
        }
    }
}

impl Protocol for Mqtt {
    fn open(&mut self, out: &mut Vec<u8>) {
        // The protocol's name and level, a clean session, no keep-alive, the client's id.
        let mut content = b"\0\x04MQTT\x04\x02\0\0".to_vec();
        string(&mut content, &format!("user{}", self.user));
        packet(out, 0x10, &content);
    }

    fn read(&mut self, input: &[u8], out: &mut Vec<u8>, news: &mut News) -> usize {
        let mut done = 0;
        while let Some((kind, content, size)) = next_packet(&input[done..]) {
            self.receive(kind, content, out, news);
            done += size;
        }
        done
    }
}

impl Driver for Mqtt {
    fn say(&mut self, text: &[u8], out: &mut Vec<u8>) {
        self.packet = self.packet.checked_add(1).unwrap_or(1);
        let content = self.template.len() - TEXT_BYTES;
        self.template[content - 2..content].copy_from_slice(&self.packet.to_be_bytes());
        self.template[content..].copy_from_slice(text);
        out.extend_from_slice(&self.template);
    }

    fn echoes(&self) -> bool {
        self.echoes
    }
}

/// The packet that `input` begins with, if it is complete: its first byte, its content, its size.
fn next_packet(input: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&kind, rest) = input.split_first()?;
    // Seven bits a byte, the lowest first, as long as the eighth is set; four bytes at most.
    let digits = rest.iter().take(4).take_while(|byte| **byte >= 0x80).count() + 1;
    let length = rest
        .get(..digits)?
        .iter()
        .rev()
        .fold(0, |length, byte| length << 7 | usize::from(byte & 0x7F));
    let content = rest.get(digits..digits + length)?;
    Some((kind, content, 1 + digits + length))
}

fn packet(out: &mut Vec<u8>, kind: u8, content: &[u8]) {
    out.push(kind);
    let mut length = content.len();
    while length >= 0x80 {
        out.push((length & 0x7F) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(content);
}

/// A text with its length before it; all of ours are short.
fn string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}
