//! Catching up: a stream that begins so many events back reads the journal until it is live, page by page, and frames each page.

use std::sync::Arc;

use divan::Bencher;
use greffe_server::domain::state::State;
use greffe_server::grpc::frame_events;
use greffe_server::journal::View;
use greffe_server::live::Delivery;
use greffe_server::live::feed::{Feed, Start};
use greffe_server::live::mailbox::{Next, Owner};
use greffe_server::live::stream::LiveStream;
use tokio::runtime::Runtime;

use crate::archive::{self, Archive, archive};
use crate::parts::desk::FEED;

/// Opens a stream of `feed` that has missed the newest `missed` events, reads until it has caught up, and returns how many bytes of messages came.
fn catch_up(archive: &Archive, feed: &Arc<Feed>, runtime: &Runtime, missed: i64) -> usize {
    let owner = Owner {
        user: archive.member.user,
        session: archive.member.session,
        connection: 0,
        address: archive.member.address,
    };
    let plan = |state: &State| {
        let head = state.room(archive.room).map_or(0, |room| room.head_seq);
        let start = Start {
            room: archive.room,
            after: head - missed,
            first_seq: 1,
        };
        (vec![start], ())
    };
    runtime.block_on(async {
        let (mut stream, ()) = LiveStream::open(feed, &archive.reader, owner, plan).expect("a stream can be opened");
        let mut bytes = 0;
        loop {
            match std::future::poll_fn(|context| stream.poll(context)).await {
                Next::Read(lag) => {
                    let page = stream.read(lag).await.expect("nothing but events is in the room");
                    bytes += page.len();
                }
                Next::Deliver(Delivery::CaughtUp) => return bytes,
                Next::Deliver(other) => unreachable!("nobody else does anything: {other:?}"),
            }
        }
    })
}

fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime can be made")
}

/// A page or two, some pages, the whole journal, by the first who misses them.
#[divan::bench(args = [500, 10_000, archive::MESSAGES], sample_size = 1, sample_count = 50, max_time = 5)]
fn catch_up_after(bencher: Bencher<'_, '_>, missed: usize) {
    let (archive, runtime) = (archive(), runtime());
    let events = i64::try_from(missed).expect("a journal has fewer");
    bencher
        .counter(missed)
        // A new feed keeps no pages that were read before.
        .with_inputs(|| Feed::new(View::new(archive.feed.view().read(State::clone)), FEED, frame_events))
        .bench_local_refs(|feed| catch_up(&archive, feed, &runtime, events));
}

/// The same by those who come after the first, while its pages are kept.
#[divan::bench(args = [500, 10_000], sample_size = 1, sample_count = 50, max_time = 5)]
fn catch_up_like_others(bencher: Bencher<'_, '_>, missed: usize) {
    let (archive, runtime) = (archive(), runtime());
    let events = i64::try_from(missed).expect("a journal has fewer");
    catch_up(&archive, &archive.feed, &runtime, events);
    bencher
        .counter(missed)
        .bench_local(|| catch_up(&archive, &archive.feed, &runtime, events));
}
