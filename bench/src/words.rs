//! Texts of words, so that searching in them means something: few words are everywhere, most are rare, as in any language (Zipf's law).
//!
//! The words are made up, and the same in each run.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "ranks and lengths of words are small numbers"
)]

use std::collections::HashSet;

/// Words that there are.
pub(crate) const WORDS: u32 = 100_000;
/// Ranks below which words have one syllable, and below which they have two. Others have three: what is said often is short.
const SHORT: [u32; 2] = [100, 4_000];
const BEGINS: [&str; 20] = [
    "b", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z", "st", "tr", "sh",
];
const MIDDLES: [&str; 6] = ["a", "e", "i", "o", "u", "ou"];
const ENDS: [&str; 6] = ["", "", "n", "r", "s", "t"];
/// What fills the rest of a text that has no room for another word: nothing that can be found.
const FILLER: u8 = b'.';

/// All words, the most common one first.
#[derive(Debug)]
pub(crate) struct Vocabulary(Vec<Box<str>>);

impl Vocabulary {
    /// Makes them up.
    pub(crate) fn new() -> Self {
        let mut chance = Chance::new(1);
        let mut known = HashSet::new();
        let mut words = Vec::with_capacity(WORDS as usize);
        while words.len() < WORDS as usize {
            let syllables = 1 + SHORT.iter().filter(|rank| words.len() >= **rank as usize).count();
            let word: String = (0..syllables).map(|_| syllable(&mut chance)).collect();
            if known.insert(word.clone()) {
                words.push(word.into_boxed_str());
            }
        }
        Self(words)
    }

    /// The word of a rank from 0, which is the most common one's, below [`WORDS`].
    pub(crate) fn word(&self, rank: u32) -> &str {
        &self.0[rank as usize]
    }

    /// Fills `text` with words by chance, each after a space. The word of rank r comes about 1 / (r + 1) times as often as the first one.
    pub(crate) fn fill(&self, text: &mut [u8], chance: &mut Chance) {
        let mut at = 0;
        loop {
            let word = self.word(rank(chance.share())).as_bytes();
            let end = at + 1 + word.len();
            if end > text.len() {
                break;
            }
            text[at] = b' ';
            text[at + 1..end].copy_from_slice(word);
            at = end;
        }
        text[at..].fill(FILLER);
    }
}

fn syllable(chance: &mut Chance) -> String {
    [&BEGINS[..], &MIDDLES, &ENDS]
        .map(|parts| parts[chance.below(parts.len() as u32) as usize])
        .concat()
}

/// The rank that a share of all that is said belongs to: the inverse of the logarithm, which sums of 1 / r are close to.
fn rank(share: f64) -> u32 {
    let most = f64::from(WORDS) + 1.0;
    ((share * most.ln()).exp() as u32).clamp(1, WORDS) - 1
}

/// Chance that is the same in each run (`SplitMix64` by Sebastiano Vigna, in the public domain).
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// Another `seed`, another chance.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to less than 1.
    pub(crate) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number below `end`, which is at least 1.
    pub(crate) fn below(&mut self, end: u32) -> u32 {
        (self.share() * f64::from(end)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_made_of_words_and_the_common_ones_are_more_common() {
        let vocabulary = Vocabulary::new();
        let mut chance = Chance::new(7);
        let known: HashSet<&str> = (0..WORDS).map(|rank| vocabulary.word(rank)).collect();
        assert_eq!(known.len(), WORDS as usize);
        let mut counts = [0; 3];
        for _ in 0..2000 {
            let mut text = [b'x'; 105];
            vocabulary.fill(&mut text, &mut chance);
            let text = std::str::from_utf8(&text).unwrap();
            assert!(text.starts_with(' '));
            for word in text.trim_end_matches('.').split_whitespace() {
                assert!(known.contains(word), "{word}");
                for (count, rank) in counts.iter_mut().zip([0, 9, 99]) {
                    *count += u32::from(word == vocabulary.word(rank));
                }
            }
        }
        let [first, tenth, hundredth] = counts.map(f64::from);
        assert!((7.0..13.0).contains(&(first / tenth)), "{counts:?}");
        assert!((60.0..160.0).contains(&(first / hundredth)), "{counts:?}");
    }

    #[test]
    fn chance_stays_within_its_bounds() {
        let mut chance = Chance::new(3);
        let drawn: Vec<u32> = (0..1000).map(|_| chance.below(3)).collect();
        assert_eq!(drawn.iter().copied().collect::<HashSet<_>>(), HashSet::from([0, 1, 2]));
        assert_eq!([rank(0.0), rank(1.0)], [0, WORDS - 1]);
    }
}
