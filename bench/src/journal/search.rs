//! Searches: rare words and common ones, in all rooms of somebody and in one.

use std::ops::Range;

use super::Bench;
use super::ask::Question;
use super::case::{COLUMNS, Manner, measure};
use crate::words::{Chance, Vocabulary, WORDS};
use crate::{report, ui};

/// Searches a second, and messages a second beside them.
const SEARCHES: f64 = 20.0;
const SENDS: f64 = 1000.0;

/// Ranks of words.
const COMMON: Range<u32> = 0..20;
const MIDDLING: Range<u32> = 1_000..10_000;
const RARE: Range<u32> = WORDS / 2..WORDS;

/// Where is searched.
#[derive(Clone, Copy, Debug)]
enum Where {
    Everywhere,
    /// In one of the rooms that are talked in.
    OneRoom,
    /// In the room with few messages, the oldest of all.
    QuietRoom,
}

const KINDS: [(&str, &[Range<u32>], Where); 10] = [
    ("a rare word", &[RARE], Where::Everywhere),
    ("a middling word", &[MIDDLING], Where::Everywhere),
    ("a common word", &[COMMON], Where::Everywhere),
    ("a common and a middling word", &[COMMON, MIDDLING], Where::Everywhere),
    ("two common words", &[COMMON, COMMON], Where::Everywhere),
    ("a rare word in one room", &[RARE], Where::OneRoom),
    ("a common word in one room", &[COMMON], Where::OneRoom),
    ("two common words in one room", &[COMMON, COMMON], Where::OneRoom),
    ("a rare word in a quiet room", &[RARE], Where::QuietRoom),
    ("a common word in a quiet room", &[COMMON], Where::QuietRoom),
];

/// Measures them and prints a table.
pub(super) fn run(bench: &Bench<'_>) -> anyhow::Result<()> {
    let server = bench.serve(&bench.home.data())?;
    let talkers = &bench.home.notes()?.talkers;
    let vocabulary = Vocabulary::new();
    let question = |chance: &mut Chance, ranks: &[Range<u32>], place: Where| {
        let words: Vec<&str> = ranks
            .iter()
            .map(|ranks| vocabulary.word(ranks.start + chance.below(ranks.end - ranks.start)))
            .collect();
        Question::Search {
            query: words.join(" "),
            room: match place {
                Where::Everywhere => String::new(),
                Where::OneRoom => talkers.rooms[chance.below(talkers.rooms.len() as u32) as usize].clone(),
                Where::QuietRoom => talkers.quiet.clone(),
            },
        }
    };
    let mut records = Vec::new();
    for round in 1..=bench.args.runs {
        for (what, ranks, place) in KINDS {
            let mut chance = Chance::new(round.into());
            let next = || question(&mut chance, ranks, place);
            let (answers, figures) = measure(bench, &server, Manner::InTurn(1), None, next)?;
            let common = ranks.iter().all(|ranks| *ranks == COMMON);
            anyhow::ensure!(!common || answers.messages > 0, "{what}: nothing was found");
            records.push(bench.record("h search", what, round, figures)?);
        }
        for (load, what) in [
            (None, "all kinds, 20 a second"),
            (Some(SENDS), "all kinds, 20 a second beside 1,000 sends/s"),
        ] {
            let mut chance = Chance::new(round.into());
            let mut kinds = KINDS.iter().cycle();
            let next = || {
                let (_, ranks, place) = kinds.next().expect("a cycle does not end");
                question(&mut chance, ranks, *place)
            };
            let (_, figures) = measure(bench, &server, Manner::PerSecond(SEARCHES), load, next)?;
            records.push(bench.record("h search", what, round, figures)?);
        }
    }
    server.stop()?;
    ui::print(&report::list("h: searches", &records, &COLUMNS))
}
