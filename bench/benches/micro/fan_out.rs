//! Live delivery: a batch of 32 messages in a room of so many, counted in deliveries.

use divan::Bencher;

use crate::parts::hall::Hall;
use crate::parts::places;

/// Messages of a batch.
const MESSAGES: usize = 32;
/// Streams in the room.
const STREAMS: [usize; 3] = [10, 100, 1000];

/// What the writer's thread does: applies the batch, frames it once, puts it into each mailbox.
#[divan::bench(args = STREAMS, sample_size = 1, sample_count = 500, max_time = 3)]
fn publish(bencher: Bencher<'_, '_>, streams: usize) {
    let (hall, mut source) = Hall::open(&places::memory(), streams);
    bencher
        .counter(streams * MESSAGES)
        .with_inputs(|| {
            hall.take();
            source.batch(MESSAGES)
        })
        .bench_local_refs(|batch| hall.publish(batch));
}

/// What the runtime's threads do: each stream takes what waits for it.
#[divan::bench(args = STREAMS, sample_size = 1, sample_count = 500, max_time = 3)]
fn take(bencher: Bencher<'_, '_>, streams: usize) {
    let (hall, mut source) = Hall::open(&places::memory(), streams);
    bencher
        .counter(streams * MESSAGES)
        .with_inputs(|| _ = hall.publish(&source.batch(MESSAGES)))
        .bench_local_values(|()| hall.take());
}
