//! Texts that look like what people write to an index: words, few of them often and most of them rarely.

/// Bytes of a text, as in the chat workloads.
pub(crate) const TEXT_BYTES: usize = 128;
/// Words there are.
const VOCABULARY: u64 = 20_000;
/// What words are made of.
const SYLLABLES: [&str; 16] = [
    "ba", "co", "di", "fu", "ga", "he", "ki", "lo", "ma", "ne", "po", "ru", "sa", "te", "vi", "zo",
];

/// Makes texts, the same ones each time.
#[derive(Debug)]
pub(crate) struct Words(u64);

impl Words {
    /// From the beginning.
    pub(crate) fn new() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }

    /// The word of a rank: 0 is the one that is said most.
    pub(crate) fn of_rank(rank: u64) -> String {
        // The syllables of a number with five digits, so that no word begins another one.
        let digits = (0..5).map(|digit| rank >> (4 * digit) & 15);
        digits
            .map(|digit| SYLLABLES[usize::try_from(digit).unwrap_or_default()])
            .collect()
    }

    /// The next text, of [`TEXT_BYTES`] bytes.
    pub(crate) fn text(&mut self) -> String {
        let mut text = String::with_capacity(TEXT_BYTES + 16);
        while text.len() < TEXT_BYTES {
            text.push_str(&Self::of_rank(self.rank()));
            text.push(' ');
        }
        text.truncate(TEXT_BYTES);
        text
    }

    /// A rank by Zipf's law with exponent 1: its logarithm is spread evenly.
    fn rank(&mut self) -> u64 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank is a small number"
        )]
        {
            let even = (self.0 >> 11) as f64 / (1_u64 << 53) as f64;
            (VOCABULARY as f64).powf(even) as u64 - 1
        }
    }
}
