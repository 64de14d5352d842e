//! How many instructions parts of the server take, as Valgrind's callgrind counts them: figures that neither the machine nor what else it does
//! changes. The method is in `README.md`.
//!
//! Each piece of work is done by this program again, under Valgrind. Work that is not to be counted, such as making the journal and filling
//! caches, is done outside [`counted`].

#[path = "../parts/mod.rs"]
#[allow(dead_code, reason = "the benchmarks that measure time use all of it")]
mod parts;
mod profile;

use std::env::{args, current_exe};
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail, ensure};

use self::parts::codec::Passage;
use self::parts::desk::Desk;
use self::parts::hall::Hall;
use self::parts::places;
use self::profile::Counts;

/// What is said to this program to have it do a piece of work.
const WORK: &str = "--work";
/// What callgrind knows [`counted`] by.
const COUNTED: &str = "*instructions::counted*";
/// Times that a piece of work is done before it counts: statements are parsed, buffers have grown.
const BEFORE: u32 = 5;
/// People who send.
const MEMBERS: usize = 10;

/// A piece of work.
struct Piece {
    /// What it is.
    name: &'static str,
    /// Of what the table gives the instructions.
    per: &'static str,
    /// How often it is done.
    times: u32,
    /// Of how many of these each time consists.
    of: u32,
    /// Does it so many times.
    work: fn(times: u32),
}

const PIECES: [Piece; 10] = [
    piece("append, one message alone", "message", 50, 1, |times| append(1, times)),
    piece("append, batches of 32", "message", 20, 32, |times| append(32, times)),
    piece("append, batches of 1,024", "message", 8, 1024, |times| {
        append(1024, times);
    }),
    piece("of it: commitment, leaf and node", "message", 20, 1024, tree),
    piece("decode a request", "message", 1000, 1, |times| {
        let passage = Passage::new(&places::memory(), 1);
        repeat(times, || passage.decode());
    }),
    piece("encode an event, hashes included", "event", 1000, 1, |times| {
        let passage = Passage::new(&places::memory(), 1);
        repeat(times, || passage.encode());
    }),
    piece("frame 32 events", "frame", 1000, 1, |times| {
        let passage = Passage::new(&places::memory(), 32);
        repeat(times, || passage.frame());
    }),
    piece("publish a batch of 32 to 100 streams", "stream", 20, 100, |times| {
        publish(100, times);
    }),
    piece("publish a batch of 32 to 1,000 streams", "stream", 20, 1000, |times| {
        publish(1000, times);
    }),
    piece("take what waits for a stream", "stream", 20, 1000, take),
];

const fn piece(name: &'static str, per: &'static str, times: u32, of: u32, work: fn(u32)) -> Piece {
    Piece {
        name,
        per,
        times,
        of,
        work,
    }
}

/// What is done in here is counted. Callgrind finds it by its name, so it must be there.
#[inline(never)]
fn counted<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

/// Does something a few times, and then `times` times, which count.
fn repeat<T>(times: u32, mut work: impl FnMut() -> T) {
    for _ in 0..BEFORE {
        black_box(work());
    }
    counted(|| {
        for _ in 0..times {
            black_box(work());
        }
    });
}

fn append(messages: usize, times: u32) {
    let mut desk = Desk::open(&places::memory(), MEMBERS);
    for _ in 0..BEFORE {
        let commands = desk.messages(messages);
        desk.append(commands);
    }
    for _ in 0..times {
        let commands = desk.messages(messages);
        counted(|| desk.append(commands));
    }
}

fn tree(times: u32) {
    let mut passage = Passage::new(&places::memory(), 1024);
    repeat(times, || passage.hash());
}

fn publish(streams: usize, times: u32) {
    let (hall, mut source) = Hall::open(&places::memory(), streams);
    for number in 0..BEFORE + times {
        let batch = source.batch(32);
        if number < BEFORE {
            hall.publish(&batch);
        } else {
            counted(|| hall.publish(&batch));
        }
        hall.take();
    }
}

fn take(times: u32) {
    let (hall, mut source) = Hall::open(&places::memory(), 1000);
    for number in 0..BEFORE + times {
        hall.publish(&source.batch(32));
        if number < BEFORE {
            hall.take();
        } else {
            counted(|| hall.take());
        }
    }
}

fn main() -> ExitCode {
    let outcome = match args().skip_while(|argument| argument != WORK).nth(1) {
        Some(name) => work(&name),
        // `cargo bench` says that it wants figures, and `cargo test` does not.
        None if args().any(|argument| argument == "--bench") => table(),
        None => Ok(()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nowhere else to say that this failed.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Does a piece of work.
fn work(name: &str) -> anyhow::Result<()> {
    let piece = PIECES
        .iter()
        .find(|piece| piece.name == name)
        .context("there is no such work")?;
    (piece.work)(piece.times);
    Ok(())
}

/// Prints how many instructions each piece of work takes.
fn table() -> anyhow::Result<()> {
    let mut table =
        String::from("| | for each | instructions | SHA-256 | without it |\n| --- | --- | --- | --- | --- |\n");
    for piece in &PIECES {
        let _ = writeln!(std::io::stderr(), "counting: {}", piece.name);
        let Counts { all, hashing } = count(piece.name)?;
        ensure!(
            all > 0,
            "callgrind did not find what is to be counted in {}",
            piece.name
        );
        let each = |count: u64| grouped(count / u64::from(piece.times * piece.of));
        // Writing to a string does not fail.
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} | {} |",
            piece.name,
            piece.per,
            each(all),
            each(hashing),
            each(all - hashing)
        );
    }
    Ok(std::io::stdout().write_all(table.as_bytes())?)
}

/// Has callgrind count a piece of work.
fn count(name: &str) -> anyhow::Result<Counts> {
    let out = tempfile::NamedTempFile::new().context("no temporary file can be made")?;
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", out.path().display()))
        .arg(current_exe()?)
        .args([WORK, name])
        .output()
        .context("valgrind cannot be started: apt-get install valgrind")?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let profile = std::fs::read_to_string(out.path()).context("callgrind wrote nothing")?;
    profile::read(&profile)
}

/// A number with commas.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
