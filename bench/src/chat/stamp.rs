//! The stamp: the first bytes of each message's text, by which a receiver knows it wherever in a stream it finds it.
//!
//! A fixed length and an alphabet of 64 letters make it cheap to write and to read, and valid in every protocol. The mark at its begin
//! is long enough that random bytes, of which some protocols have many, look like it once in 2^32 places.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// The mark at a stamp's begin.
const MARK: &[u8; 4] = b"~gB:";
/// Bytes of a stamp: mark, kind, sender, seq, time.
pub(super) const BYTES: usize = 4 + 1 + SENDER + SEQ + TIME;
/// Letters of a sender's number, six bits each.
const SENDER: usize = 3;
/// Letters of a message's number.
const SEQ: usize = 5;
/// Letters of a time in nanoseconds: 60 bits, 36 years.
const TIME: usize = 10;

const LETTERS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
/// For each byte its place in [`LETTERS`], or [`NONE`].
const PLACES: [u8; 256] = places();
const NONE: u8 = 64;

static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(MARK));

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Said to a room.
    Said,
    /// Asks its receiver for an answer.
    Asked,
    /// Answers a question.
    Answered,
}

/// What a stamp says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// What the message is.
    pub(super) kind: Kind,
    /// The number of the user who sent it.
    pub(super) sender: u32,
    /// Its number among this sender's messages, from 0.
    pub(super) seq: u32,
    /// When it was due, in nanoseconds of the generator's clock.
    pub(super) time: u64,
}

impl Stamp {
    /// Writes the stamp over the first [`BYTES`] of `text`.
    pub(super) fn write(&self, text: &mut [u8]) {
        text[..4].copy_from_slice(MARK);
        text[4] = match self.kind {
            Kind::Said => b's',
            Kind::Asked => b'q',
            Kind::Answered => b'a',
        };
        put(&mut text[5..5 + SENDER], self.sender.into());
        put(&mut text[5 + SENDER..5 + SENDER + SEQ], self.seq.into());
        put(&mut text[5 + SENDER + SEQ..BYTES], self.time);
    }

    /// Reads the stamp that `bytes` begin with.
    fn read(bytes: &[u8]) -> Option<Self> {
        let kind = match bytes[4] {
            b's' => Kind::Said,
            b'q' => Kind::Asked,
            b'a' => Kind::Answered,
            _ => return None,
        };
        Some(Self {
            kind,
            sender: u32::try_from(get(&bytes[5..5 + SENDER])?).ok()?,
            seq: u32::try_from(get(&bytes[5 + SENDER..5 + SENDER + SEQ])?).ok()?,
            time: get(&bytes[5 + SENDER + SEQ..BYTES])?,
        })
    }
}

/// Adds the stamps in `bytes` to `found`, and returns how many bytes are done with: what is left may be the begin of a stamp.
pub(super) fn scan(bytes: &[u8], found: &mut Vec<Stamp>) -> usize {
    let mut from = 0;
    while let Some(at) = FINDER.find(&bytes[from..]) {
        let begin = from + at;
        let Some(stamp) = bytes.get(begin..begin + BYTES) else {
            return begin;
        };
        match Stamp::read(stamp) {
            Some(stamp) => {
                found.push(stamp);
                from = begin + BYTES;
            }
            None => from = begin + MARK.len(),
        }
    }
    bytes.len() - mark_at_end(&bytes[from..])
}

/// How many bytes at the end of `bytes` may be the begin of a mark.
fn mark_at_end(bytes: &[u8]) -> usize {
    (1..MARK.len())
        .rev()
        .find(|&length| bytes.ends_with(&MARK[..length]))
        .unwrap_or(0)
}

fn put(letters: &mut [u8], mut value: u64) {
    for letter in letters.iter_mut().rev() {
        *letter = LETTERS[(value & 63) as usize];
        value >>= 6;
    }
}

fn get(letters: &[u8]) -> Option<u64> {
    letters.iter().try_fold(0, |value, &letter| match PLACES[usize::from(letter)] {
        NONE => None,
        place => Some(value << 6 | u64::from(place)),
    })
}

const fn places() -> [u8; 256] {
    let mut places = [NONE; 256];
    let mut place: u8 = 0;
    while place < 64 {
        places[LETTERS[place as usize] as usize] = place;
        place += 1;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        kind: Kind::Asked,
        sender: 99_999,
        seq: 1_000_000_000,
        time: 123_456_789_012_345_678,
    };

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let mut text = [b'x'; 40];
        STAMP.write(&mut text);
        let mut found = Vec::new();
        assert_eq!(scan(&text, &mut found), text.len());
        assert_eq!(found, [STAMP]);
    }

    #[test]
    fn a_stamp_in_two_pieces_is_found_wherever_it_is_cut() {
        let mut text = [b'~'; 50];
        STAMP.write(&mut text[10..]);
        for cut in 0..=text.len() {
            let mut found = Vec::new();
            let done = scan(&text[..cut], &mut found);
            scan(&text[done..], &mut found);
            assert_eq!(found, [STAMP], "cut at {cut}");
        }
    }

    #[test]
    fn what_only_begins_like_a_stamp_is_none() {
        let mut found = Vec::new();
        scan(b"~gB:s~gB:~gB:sAAAAAAAAAAAAAAAAA!AAAA~gB", &mut found);
        assert!(found.is_empty());
    }
}
