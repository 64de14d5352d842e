//! What is said.

use std::sync::LazyLock;

use super::words::{Chance, Vocabulary};

/// Bytes of a text, as in the chat workloads.
pub(crate) const TEXT_BYTES: usize = 128;

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(Vocabulary::new);

/// The word of a rank: 0 is the one that is said most.
pub(crate) fn word(rank: u32) -> &'static str {
    VOCABULARY.word(rank)
}

/// Texts of words, the same ones each time.
#[derive(Debug)]
pub(crate) struct Texts(Chance);

impl Texts {
    /// From the beginning.
    pub(crate) fn new() -> Self {
        Self(Chance::new(2))
    }

    /// The next one, of [`TEXT_BYTES`] bytes.
    pub(crate) fn next(&mut self) -> String {
        let mut text = vec![0; TEXT_BYTES];
        VOCABULARY.fill(&mut text, &mut self.0);
        String::from_utf8(text).expect("words are UTF-8")
    }
}
