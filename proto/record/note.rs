//! C2SP signed notes: a text, an empty line, and lines with signatures.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::key::{SigningKey, VerifierKey, is_name};

/// How a signature's line begins: an em dash and a space.
const DASH: &str = "\u{2014} ";
/// Signatures that a note may have.
const SIGNATURES: usize = 100;

/// Why bytes are no note, or not one of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// They do not have the form.
    #[error("this is no signed note: {0}")]
    Form(&'static str),
    /// The key has not signed it.
    #[error("it is not signed with the key {0}")]
    NotSigned(VerifierKey),
    /// What stands as the key's signature is none of this text.
    #[error("the signature of the key {0} is not of this text: one of the two was changed")]
    Signature(VerifierKey),
}

/// A text with signatures, which need not be good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Signature {
    name: String,
    key: u32,
    bytes: Vec<u8>,
}

/// Whether a text can be a note's: UTF-8 that ends with a line feed and has no other control characters.
fn check_text(text: &str) -> Result<(), NoteError> {
    if !text.ends_with('\n') {
        return Err(NoteError::Form("its text does not end with a line feed"));
    }
    if text.bytes().any(|byte| byte < b' ' && byte != b'\n') {
        return Err(NoteError::Form("its text has control characters"));
    }
    Ok(())
}

impl Note {
    /// Signs a text.
    ///
    /// # Errors
    /// [`NoteError::Form`], if it cannot be a note's text.
    pub fn sign(text: String, key: &SigningKey) -> Result<Self, NoteError> {
        check_text(&text)?;
        let bytes = key.sign(text.as_bytes());
        let signature = Signature {
            name: key.verifier().name().to_owned(),
            key: key.verifier().id(),
            bytes,
        };
        Ok(Self {
            text,
            signatures: vec![signature],
        })
    }

    /// A note with a signature that was made elsewhere, and need not be good.
    pub(super) fn signed(text: String, key: &VerifierKey, bytes: Vec<u8>) -> Self {
        let signature = Signature {
            name: key.name().to_owned(),
            key: key.id(),
            bytes,
        };
        Self {
            text,
            signatures: vec![signature],
        }
    }

    /// The signature of a key, which need not be good.
    pub(super) fn signature_of(&self, key: &VerifierKey) -> Option<&[u8]> {
        let mut signatures = self.signatures.iter();
        let found = signatures.find(|signature| signature.name == key.name() && signature.key == key.id());
        found.map(|signature| &signature.bytes[..])
    }

    /// Reads a note, and checks its form only.
    ///
    /// # Errors
    /// [`NoteError::Form`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Form("it is not UTF-8"))?;
        // The last empty line: a text may have some of its own.
        let split = note.rfind("\n\n").ok_or(NoteError::Form("it has no signatures"))? + 1;
        let (text, lines) = (&note[..split], &note[split + 1..]);
        check_text(text)?;
        let lines = lines
            .strip_suffix('\n')
            .ok_or(NoteError::Form("it does not end with a line feed"))?;
        let signatures = lines.split('\n').map(Signature::parse).collect::<Result<Vec<_>, _>>()?;
        if signatures.len() > SIGNATURES {
            return Err(NoteError::Form("it has too many signatures"));
        }
        Ok(Self {
            text: text.to_owned(),
            signatures,
        })
    }

    /// The text; it ends with a line feed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Checks that `key` signed the text. Signatures of other keys are ignored.
    ///
    /// # Errors
    /// [`NoteError::NotSigned`], [`NoteError::Signature`].
    pub fn check(&self, key: &VerifierKey) -> Result<(), NoteError> {
        let mut theirs = self
            .signatures
            .iter()
            .filter(|signature| signature.name == key.name() && signature.key == key.id())
            .peekable();
        if theirs.peek().is_none() {
            return Err(NoteError::NotSigned(key.clone()));
        }
        if theirs.all(|signature| key.verifies(self.text.as_bytes(), &signature.bytes)) {
            Ok(())
        } else {
            Err(NoteError::Signature(key.clone()))
        }
    }
}

impl Signature {
    fn parse(line: &str) -> Result<Self, NoteError> {
        const FORM: NoteError = NoteError::Form("a line of its signatures is none");
        let (name, bytes) = line.strip_prefix(DASH).and_then(|line| line.split_once(' ')).ok_or(FORM)?;
        let bytes = STANDARD.decode(bytes).map_err(|_| FORM)?;
        let (key, bytes) = bytes.split_first_chunk().ok_or(FORM)?;
        if !is_name(name) || bytes.is_empty() {
            return Err(FORM);
        }
        Ok(Self {
            name: name.to_owned(),
            key: u32::from_be_bytes(*key),
            bytes: bytes.to_vec(),
        })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for signature in &self.signatures {
            let bytes = [&signature.key.to_be_bytes()[..], &signature.bytes].concat();
            writeln!(f, "{DASH}{} {}", signature.name, STANDARD.encode(bytes))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of golang.org/x/mod/sumdb/note.
    const EXAMPLE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\
        \n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

    fn key() -> SigningKey {
        SigningKey::from_seed("example.com/log", [7; 32]).unwrap()
    }

    #[test]
    fn a_note_of_another_implementation_is_read_and_written() {
        let note = Note::parse(EXAMPLE.as_bytes()).unwrap();
        note.check(&KEY.parse().unwrap()).unwrap();
        assert_eq!(note.to_string(), EXAMPLE);
        assert_eq!(
            note.check(key().verifier()),
            Err(NoteError::NotSigned(key().verifier().clone()))
        );
    }

    #[test]
    fn a_text_may_have_empty_lines_of_its_own() {
        let note = Note::sign("a\n\nb\n".into(), &key()).unwrap();
        let read = Note::parse(note.to_string().as_bytes()).unwrap();
        assert_eq!(read, note);
        read.check(key().verifier()).unwrap();
    }

    #[test]
    fn what_is_no_note_is_refused() {
        for bytes in [
            &b""[..],
            b"\n",
            b"\n\n",
            b"text",
            b"text\n",
            b"text\n\n",
            b"text\n\n\n",
            b"text\n\nno signature\n",
            "text\n\n\u{2014} name\n".as_bytes(),
            "text\n\n\u{2014} name AAA\n".as_bytes(),
            "text\n\n\u{2014} name AAAAAA==\n".as_bytes(),
            "text\n\n\u{2014} na+me AAAAAAA=\n".as_bytes(),
            "text\n\n\u{2014} name AAAAAAA=".as_bytes(),
            "te\txt\n\n\u{2014} name AAAAAAA=\n".as_bytes(),
            "te\rxt\n\n\u{2014} name AAAAAAA=\n".as_bytes(),
            b"te\xffxt\n\n- name AAAAAAA=\n",
        ] {
            assert!(matches!(Note::parse(bytes), Err(NoteError::Form(_))), "{bytes:?}");
        }
        let many = format!("text\n\n{}", "\u{2014} name AAAAAAA=\n".repeat(SIGNATURES + 1));
        assert!(Note::parse(many.as_bytes()).is_err());
        for text in ["", "a", "a\tb\n", "\0\n"] {
            assert!(Note::sign(text.into(), &key()).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_tried_as_a_note(bytes: Vec<u8>, text in "[a\n\u{2014} =]{0,40}") {
            let _ = Note::parse(&bytes);
            let _ = Note::parse(text.as_bytes());
        }

        #[test]
        fn a_changed_note_is_found(text in "[a-z\n]{0,30}\n", at: prop::sample::Index, bit in 0..8) {
            let note = Note::sign(text, &key()).unwrap();
            let whole = note.to_string();
            prop_assert!(Note::parse(whole.as_bytes()).unwrap().check(key().verifier()).is_ok());
            let mut changed = whole.into_bytes();
            let at = at.index(changed.len());
            changed[at] ^= 1_u8 << bit;
            let found = Note::parse(&changed).and_then(|note| note.check(key().verifier()));
            prop_assert!(found.is_err());
        }
    }
}
