//! A checkpoint on paper: short enough to be typed again, with a check at the end of each line.

use std::fmt::Write as _;

use super::checkpoint::{Checkpoint, CheckpointError, origin};
use super::key::VerifierKey;
use super::note::Note;
use super::sha256;

/// The first line.
const TITLE: &str = "greffe checkpoint";
/// Hexadecimal digits of a line, in groups of [`GROUP`].
const LINE: usize = 32;
const GROUP: usize = 4;
/// Bytes of what was typed that are read at most.
const LARGEST: usize = 16 * 1024;

/// Why a text is no checkpoint from paper.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PaperError {
    /// A line is not what was printed.
    #[error("line {line} is not what was printed: compare it character by character")]
    Line {
        /// Its number, from 1.
        line: usize,
    },
    /// Lines are missing, or there are too many.
    #[error("this is no checkpoint from paper: lines are missing, or in another order, or there are too many")]
    Form,
    /// What it says is no checkpoint that the key signed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// What is printed: a label for each line, and what is in it.
fn parts(checkpoint: &Checkpoint, key: &VerifierKey, signature: &[u8]) -> Option<Vec<(&'static str, String)>> {
    let id = checkpoint.origin.strip_prefix(&origin(""))?.to_owned();
    let mut parts = vec![("id", id), ("size", checkpoint.size.to_string())];
    for (label, bytes) in [
        ("root", &checkpoint.root[..]),
        ("key", key.public()),
        ("sign", signature),
    ] {
        let digits = hex(bytes);
        let lines = digits
            .as_bytes()
            .chunks(LINE)
            .map(|line| String::from_utf8_lossy(line).into_owned());
        parts.extend(lines.map(|line| (label, line)));
    }
    Some(parts)
}

/// Four hexadecimal digits that tell whether a line was typed as it was printed, and stands where it stood.
fn check(number: usize, label: &str, digits: &str) -> String {
    let hash = sha256(&[format!("{number} {label} {digits}").as_bytes()]);
    hex(&hash[..2])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if digits.len() != 2 * N || !digits.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// Whether a text claims to be a checkpoint from paper.
pub fn is_paper(text: &str) -> bool {
    text.trim_start()
        .get(..TITLE.len())
        .is_some_and(|title| title.eq_ignore_ascii_case(TITLE))
}

/// What to print of a signed checkpoint.
///
/// # Errors
/// The key did not sign it, or it is not one of ours.
pub fn write(note: &Note, key: &VerifierKey) -> Result<String, PaperError> {
    let checkpoint = Checkpoint::open(note, key)?;
    let signature = note.signature_of(key).ok_or(PaperError::Form)?;
    let mut text = format!("{TITLE}\n");
    for (at, (label, digits)) in parts(&checkpoint, key, signature).ok_or(PaperError::Form)?.iter().enumerate() {
        let groups: Vec<&[u8]> = match *label {
            "size" => vec![digits.as_bytes()],
            _ => digits.as_bytes().chunks(GROUP).collect(),
        };
        let groups: Vec<_> = groups.into_iter().map(String::from_utf8_lossy).collect();
        _ = writeln!(text, "{label:4}  {:39}  {}", groups.join(" "), check(at, label, digits));
    }
    Ok(text)
}

/// Reads what was typed; capitals and spaces do not matter.
///
/// # Errors
/// It was not typed as it was printed, or is not signed with the key that it names.
pub fn read(text: &str) -> Result<(Note, VerifierKey), PaperError> {
    if !is_paper(text) || text.len() > LARGEST {
        return Err(PaperError::Form);
    }
    let mut found: [(&str, String); 5] = ["id", "size", "root", "key", "sign"].map(|label| (label, String::new()));
    let typed = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).skip(1);
    for (at, (line, typed)) in typed.enumerate() {
        let wrong = PaperError::Line { line: line + 1 };
        let typed = typed.to_ascii_lowercase();
        let mut words = typed.split_whitespace();
        let (Some(label), Some(sum)) = (words.next(), words.next_back()) else {
            return Err(wrong);
        };
        let digits: String = words.collect();
        let Some((label, all)) = found.iter_mut().find(|(known, _)| *known == label) else {
            return Err(wrong);
        };
        if check(at, label, &digits) != sum {
            return Err(wrong);
        }
        all.push_str(&digits);
    }
    let [(_, id), (_, size), (_, root), (_, key), (_, sign)] = found;
    let whole = |size: &str| size.parse::<u64>().ok().filter(|number| number.to_string() == size);
    let checkpoint = Checkpoint {
        origin: origin(&id),
        size: whole(&size).ok_or(PaperError::Form)?,
        root: unhex(&root).ok_or(PaperError::Form)?,
    };
    let key = unhex(&key).and_then(|key| VerifierKey::new(&checkpoint.origin, key).ok());
    let key = key.ok_or(PaperError::Form)?;
    let note = Note::signed(
        checkpoint.to_string(),
        &key,
        unhex::<64>(&sign).ok_or(PaperError::Form)?.to_vec(),
    );
    Checkpoint::open(&note, &key)?;
    Ok((note, key))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::key::SigningKey;

    fn printed(size: u64, root: [u8; 32], seed: [u8; 32]) -> (Note, VerifierKey, String) {
        let checkpoint = Checkpoint {
            origin: origin("0123456789abcdef0123456789abcdef"),
            size,
            root,
        };
        let key = SigningKey::from_seed(&checkpoint.origin, seed).unwrap();
        let note = checkpoint.sign(&key).unwrap();
        let text = write(&note, key.verifier()).unwrap();
        (note, key.verifier().clone(), text)
    }

    #[test]
    fn it_fits_on_a_card() {
        let (_, _, text) = printed(20_852_163, [0x5a; 32], [7; 32]);
        assert_eq!(text.lines().count(), 11);
        assert!(text.lines().all(|line| line.len() <= 51), "{text}");
        assert!(text.is_ascii());
        assert!(text.contains("\nsize  20852163 "), "{text}");
    }

    #[test]
    fn what_was_typed_wrong_is_found_in_its_line() {
        let (_, _, text) = printed(20_852_163, [0x5a; 32], [7; 32]);
        let lines: Vec<&str> = text.lines().collect();
        for line in 1..lines.len() {
            for (at, digit) in lines[line].char_indices().filter(|(_, c)| c.is_ascii_hexdigit()) {
                let mut wrong = lines[line].to_owned();
                wrong.replace_range(at..=at, if digit == '1' { "2" } else { "1" });
                let mut typed = lines.clone();
                typed[line] = &wrong;
                assert_eq!(
                    read(&typed.join("\n")),
                    Err(PaperError::Line { line: line + 1 }),
                    "{wrong}"
                );
            }
            let mut swapped = lines.clone();
            if line > 1 {
                swapped.swap(line, line - 1);
                assert!(read(&swapped.join("\n")).is_err());
            }
            let mut missing = lines.clone();
            missing.remove(line);
            assert!(read(&missing.join("\n")).is_err());
        }
        assert!(read("").is_err());
        assert!(read(TITLE).is_err());
        assert!(read(&format!("{text}{text}")).is_err());
    }

    proptest! {
        #[test]
        fn what_was_printed_is_read_again(size: u64, root: [u8; 32], seed: [u8; 32]) {
            let (note, key, text) = printed(size, root, seed);
            prop_assert!(is_paper(&text));
            prop_assert_eq!(read(&text), Ok((note.clone(), key.clone())));
            let sloppy = text.to_uppercase().replace("  ", " ").replace('\n', "\r\n\n ");
            prop_assert_eq!(read(&sloppy), Ok((note, key)));
        }

        #[test]
        fn any_text_can_be_tried(text: String, more in "greffe checkpoint\n([a-z0-9é]{1,5} [0-9a-fé ]{0,40} [0-9a-f]{4}\n){0,12}") {
            let _ = read(&text);
            let _ = read(&more);
        }
    }
}
