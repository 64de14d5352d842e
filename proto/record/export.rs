//! Exports: what was ordered of a journal, with what it takes to check it. `server/RECORD-FORMAT.md` describes the format.
//!
//! [`make`] writes one and [`verify`] checks one; both go through the rows one by one, and hold no more of them than numbers, rooms, people and files.

mod digest;
mod lines;
pub mod make;
pub mod manifest;
mod readme;
mod report;
mod row;
mod scope;
mod time;
pub mod verify;
mod walk;

pub use lines::{Person, Place};
pub use scope::Scope;

/// The files whose names do not depend on what is in the export, in their order; then come further pages of the report, and files by hash.
pub const FILES: [&str; 10] = [
    "README.txt",
    "checkpoint",
    "keys",
    "sizes",
    "rows.pb",
    "tree",
    "people.jsonl",
    "rooms.jsonl",
    "messages.jsonl",
    "report.html",
];
/// The file that says what is in all others.
pub const MANIFEST: &str = "manifest";
/// The directory of files that were shared.
pub const SHARED: &str = "files/";
/// Bytes of an event at most.
const EVENT_BYTES: usize = 1 << 20;

/// Bytes as lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}
