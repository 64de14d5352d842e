//! Catching up: a stream that begins so many events back reads the journal until it is live, page by page, and frames each page.

use divan::Bencher;
use greffe_server::domain::state::State;
use greffe_server::grpc::frame_events;
use greffe_server::live::Delivery;
use greffe_server::live::feed::Start;
use greffe_server::live::mailbox::{Next, Owner};
use greffe_server::live::stream::LiveStream;
use tokio::runtime::Runtime;

use crate::archive::{self, Archive, archive};

/// Opens a stream that has missed the newest `missed` events, reads until it has caught up, and returns how many bytes of messages came.
fn catch_up(archive: &Archive, runtime: &Runtime, missed: i64) -> usize {
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
    let (mut stream, ()) =
        LiveStream::open(&archive.feed, &archive.reader, owner, plan).expect("a stream can be opened");
    runtime.block_on(async {
        let mut bytes = 0;
        loop {
            match std::future::poll_fn(|context| stream.poll(context)).await {
                Next::Read(lag) => {
                    let page = stream.read(lag).await.expect("nothing but events is in the room");
                    bytes += frame_events(&page).message.len();
                }
                Next::Deliver(Delivery::CaughtUp) => return bytes,
                Next::Deliver(other) => unreachable!("nobody else does anything: {other:?}"),
            }
        }
    })
}

/// One page, some pages, the whole journal.
#[divan::bench(args = [500, 10_000, archive::MESSAGES], sample_size = 1, sample_count = 50, max_time = 5)]
fn catch_up_after(bencher: Bencher<'_, '_>, missed: usize) {
    let archive = archive();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime can be made");
    let events = i64::try_from(missed).expect("a journal has fewer");
    bencher.counter(missed).bench_local(|| catch_up(&archive, &runtime, events));
}
