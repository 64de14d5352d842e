//! Checkpoints: what the journal was at a size, signed. The text is a C2SP `tlog-checkpoint`.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::key::{SigningKey, VerifierKey};
use super::note::{Note, NoteError};
use super::tree::Hash;

/// What origins begin with.
const ORIGIN: &str = "greffe/";

/// The origin of a journal's checkpoints, and the name of its keys.
pub fn origin(journal_id: &str) -> String {
    format!("{ORIGIN}{journal_id}")
}

/// A journal's size and root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which journal it is of.
    pub origin: String,
    /// How many rows it has.
    pub size: u64,
    /// The root of its tree.
    pub root: Hash,
}

/// Why something is no checkpoint, or not one to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The text does not have the form.
    #[error("this is no checkpoint: {0}")]
    Form(&'static str),
    /// The note around it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// It is signed, but as another journal's.
    #[error("this is a checkpoint of {found}, and the key is that of {wanted}")]
    Origin {
        /// What it says.
        found: String,
        /// The key's name.
        wanted: String,
    },
}

impl Checkpoint {
    /// Signs it.
    ///
    /// # Errors
    /// If the origin cannot stand in a note.
    pub fn sign(&self, key: &SigningKey) -> Result<Note, NoteError> {
        Note::sign(self.to_string(), key)
    }

    /// Reads a signed checkpoint, and checks that `key` signed it, whose name is its origin.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn open(note: &Note, key: &VerifierKey) -> Result<Self, CheckpointError> {
        note.check(key)?;
        let checkpoint: Self = note.text().parse()?;
        if checkpoint.origin != key.name() {
            return Err(CheckpointError::Origin {
                found: checkpoint.origin,
                wanted: key.name().to_owned(),
            });
        }
        Ok(checkpoint)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, STANDARD.encode(self.root))
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let lines = text
            .strip_suffix('\n')
            .ok_or(CheckpointError::Form("it does not end with a line feed"))?;
        let mut lines = lines.split('\n');
        let origin = lines
            .next()
            .filter(|origin| !origin.is_empty())
            .ok_or(CheckpointError::Form("it has no origin"))?;
        let size = lines
            .next()
            .filter(|size| size.bytes().all(|digit| digit.is_ascii_digit()) && (*size == "0" || !size.starts_with('0')))
            .and_then(|size| size.parse().ok())
            .ok_or(CheckpointError::Form("it has no size"))?;
        let root = lines
            .next()
            .and_then(|root| STANDARD.decode(root).ok())
            .and_then(|root| root.try_into().ok())
            .ok_or(CheckpointError::Form("it has no root of 32 bytes"))?;
        // Lines that others may add some day.
        if lines.any(str::is_empty) {
            return Err(CheckpointError::Form("it has an empty line"));
        }
        Ok(Self {
            origin: origin.to_owned(),
            size,
            root,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            origin: origin("0123456789abcdef"),
            size: 20_852_163,
            root: [0x5a; 32],
        }
    }

    fn key() -> SigningKey {
        SigningKey::from_seed(&checkpoint().origin, [7; 32]).unwrap()
    }

    #[test]
    fn it_has_three_lines() {
        assert_eq!(
            checkpoint().to_string(),
            "greffe/0123456789abcdef\n20852163\nWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlo=\n"
        );
    }

    #[test]
    fn it_is_signed_and_opened_under_its_origin() {
        let note = checkpoint().sign(&key()).unwrap();
        let note = Note::parse(note.to_string().as_bytes()).unwrap();
        assert_eq!(Checkpoint::open(&note, key().verifier()), Ok(checkpoint()));
        let elsewhere = Checkpoint {
            origin: origin("ffff"),
            ..checkpoint()
        };
        let note = elsewhere.sign(&key()).unwrap();
        assert!(matches!(
            Checkpoint::open(&note, key().verifier()),
            Err(CheckpointError::Origin { .. })
        ));
        let other = SigningKey::from_seed(&checkpoint().origin, [8; 32]).unwrap();
        let note = checkpoint().sign(&other).unwrap();
        assert!(matches!(
            Checkpoint::open(&note, key().verifier()),
            Err(CheckpointError::Note(NoteError::NotSigned(_)))
        ));
    }

    #[test]
    fn what_is_no_checkpoint_is_refused_and_more_lines_are_not() {
        const ROOT: &str = "WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlo=";
        for text in [
            String::new(),
            "\n".into(),
            format!("a\n1\n{ROOT}"),
            format!("\n1\n{ROOT}\n"),
            format!("a\n01\n{ROOT}\n"),
            format!("a\n-1\n{ROOT}\n"),
            format!("a\n+1\n{ROOT}\n"),
            format!("a\n\n{ROOT}\n"),
            format!("a\n18446744073709551616\n{ROOT}\n"),
            format!("a\n1\n{}\n", &ROOT[4..]),
            format!("a\n1\n{}\n", &ROOT[..ROOT.len() - 1]),
            format!("a\n1\n{ROOT}\n\n"),
        ] {
            assert!(text.parse::<Checkpoint>().is_err(), "{text:?}");
        }
        assert_eq!(format!("a\n0\n{ROOT}\nmore\n").parse::<Checkpoint>().unwrap().size, 0);
    }

    proptest! {
        #[test]
        fn any_checkpoint_is_read_as_it_was_written(size: u64, root: [u8; 32]) {
            let checkpoint = Checkpoint { size, root, ..checkpoint() };
            prop_assert_eq!(checkpoint.to_string().parse(), Ok(checkpoint));
        }

        #[test]
        fn any_text_can_be_tried_as_a_checkpoint(text: String) {
            let _ = text.parse::<Checkpoint>();
        }
    }
}
