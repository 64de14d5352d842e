//! Bytes of messages: what comes, what is stored, what goes.

use divan::Bencher;
use divan::counter::BytesCount;

use crate::parts::codec::Passage;
use crate::parts::places;

/// A client's message to a command.
#[divan::bench]
fn decode_request(bencher: Bencher<'_, '_>) {
    let passage = Passage::new(&places::memory(), 1);
    bencher
        .counter(BytesCount::new(passage.request.len()))
        .bench_local(|| passage.decode());
}

/// An event to the bytes that are stored and sent, hashes included.
#[divan::bench]
fn encode_event(bencher: Bencher<'_, '_>) {
    let passage = Passage::new(&places::memory(), 1);
    bencher.counter(1_usize).bench_local(|| passage.encode());
}

/// Events to a message for everyone who is live in the room.
#[divan::bench(args = [1, 32])]
fn frame_events(bencher: Bencher<'_, '_>, events: usize) {
    let passage = Passage::new(&places::memory(), events);
    bencher
        .counter(BytesCount::new(passage.elements.len()))
        .bench_local(|| passage.frame());
}
