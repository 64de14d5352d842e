//! What callgrind writes: functions, and what instructions each of their lines took.

use anyhow::{Context as _, ensure};

/// Part of the names of the functions that do the work of SHA-256, whichever instructions they use.
const HASHING: &str = "sha256_block_data_order";

/// Instructions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// All of them.
    pub(crate) all: u64,
    /// Those of SHA-256 itself: what a processor with instructions for it has far fewer of.
    pub(crate) hashing: u64,
}

/// Sums up a profile.
pub(crate) fn read(profile: &str) -> anyhow::Result<Counts> {
    let mut counts = Counts::default();
    // A function's name is written once; after that it has a number.
    let mut hashing = Vec::new();
    let mut hashes = false;
    let mut is_of_call = false;
    let mut total = None;
    for line in profile.lines() {
        if let Some(name) = ["fn=", "cfn="].iter().find_map(|key| line.strip_prefix(key)) {
            let number = name.split(' ').next().unwrap_or_default();
            if name.contains(HASHING) && !hashing.contains(&number) {
                hashing.push(number);
            }
            if line.starts_with("fn=") {
                hashes = hashing.contains(&number);
            }
        } else if line.starts_with("calls=") {
            is_of_call = true;
        } else if let Some(figure) = line.strip_prefix("totals:") {
            total = Some(figure.trim().parse::<u64>().context("callgrind's total is no number")?);
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            // What a call took is counted where it was spent, too.
            if !std::mem::take(&mut is_of_call) {
                let figure = line.split(' ').nth(1).unwrap_or_default();
                let figure: u64 = figure.parse().with_context(|| format!("{line} has no number"))?;
                counts.all += figure;
                counts.hashing += if hashes { figure } else { 0 };
            }
        }
    }
    let total = total.context("callgrind's profile has no total")?;
    ensure!(
        counts.all == total,
        "callgrind's profile adds up to {} and not to {total}",
        counts.all
    );
    Ok(counts)
}
