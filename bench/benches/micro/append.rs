//! The writer: from commands in its queue to rows on the disk and answers.

use std::path::Path;

use divan::Bencher;

use crate::parts::codec::Passage;
use crate::parts::desk::Desk;
use crate::parts::places;

/// Messages of a batch: one alone, some senders' windows, the most there can be.
const BATCHES: [usize; 3] = [1, 32, 1024];
/// People who send.
const MEMBERS: usize = 10;

fn append(bencher: Bencher<'_, '_>, place: &Path, messages: usize) {
    let desk = std::cell::RefCell::new(Desk::open(place, MEMBERS));
    bencher
        .counter(messages)
        .with_inputs(|| desk.borrow_mut().messages(messages))
        .bench_local_values(|commands| desk.borrow_mut().append(commands));
}

/// Each batch is on the disk before it is answered.
#[divan::bench(args = BATCHES, sample_size = 1, sample_count = 200, max_time = 5)]
fn on_disk(bencher: Bencher<'_, '_>, messages: usize) {
    append(bencher, &places::disk(), messages);
}

/// The same in memory: the work without the wait.
#[divan::bench(args = BATCHES, sample_size = 1, sample_count = 200, max_time = 5)]
fn without_sync(bencher: Bencher<'_, '_>, messages: usize) {
    append(bencher, &places::memory(), messages);
}

/// The part of it that is the tree's: a commitment, a leaf and a node for each message.
#[divan::bench(args = BATCHES)]
fn tree_alone(bencher: Bencher<'_, '_>, messages: usize) {
    let mut passage = Passage::new(&places::memory(), messages);
    bencher.counter(messages).bench_local(|| passage.hash());
}
