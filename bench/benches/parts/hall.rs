//! Streams that are open, and batches to publish to them.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use greffe_server::domain::state::State;
use greffe_server::grpc::frame_events;
use greffe_server::journal::{Committed, Publish as _, View};
use greffe_server::live::Delivery;
use greffe_server::live::feed::{Feed, Start};
use greffe_server::live::mailbox::{Next, Owner};
use greffe_server::live::stream::LiveStream;
use greffe_server::store::Reader;

use super::desk::{Desk, FEED, Kept};

/// Where batches come from.
pub(crate) struct Source {
    desk: Desk,
    kept: Kept,
}

impl Source {
    /// The next batch of messages in the room that everyone is in, as the writer made it.
    pub(crate) fn batch(&mut self, messages: usize) -> Vec<Committed> {
        let commands = self.desk.messages(messages);
        self.desk.append(commands);
        self.kept.take()
    }
}

/// A feed with streams of people who are all in one room.
pub(crate) struct Hall {
    feed: Arc<Feed>,
    /// A bench holds the hall where it publishes and where it takes; it does one after the other.
    streams: RefCell<Vec<LiveStream>>,
}

impl Hall {
    /// Opens `streams` streams, each of somebody else, and tells where batches for them come from. The journal is in `place`.
    pub(crate) fn open(place: &Path, streams: usize) -> (Self, Source) {
        let kept = Kept::default();
        let desk = Desk::open_with(place, streams, |_| kept.clone());
        // The people are in the state already.
        kept.take();
        let feed = Feed::new(View::new(desk.state.clone()), FEED, frame_events);
        let reader: Arc<dyn Reader> = Arc::new(desk.reader.clone());
        let room = desk.room();
        let streams = desk.members.iter().zip(0..).map(|(member, connection)| {
            let owner = Owner {
                user: member.user,
                session: member.session,
                connection,
                address: member.address,
            };
            let plan = |state: &State| {
                let start = Start {
                    room,
                    after: state.room(room).map_or(0, |room| room.head_seq),
                    first_seq: 1,
                };
                (vec![start], ())
            };
            LiveStream::open(&feed, &reader, owner, plan).expect("a stream can be opened").0
        });
        let streams = RefCell::new(streams.collect());
        let hall = Self { feed, streams };
        hall.take();
        (hall, Source { desk, kept })
    }

    /// Publishes a batch: on the writer's thread, before the batch is answered. Returns who is to be woken then.
    #[inline(never)]
    pub(crate) fn publish(&self, batch: &[Committed]) -> Vec<Waker> {
        self.feed.publish(batch)
    }

    /// Takes what waits for each stream, as its connection does before it sends that, and returns how many bytes of events that were.
    #[inline(never)]
    pub(crate) fn take(&self) -> usize {
        let mut context = Context::from_waker(Waker::noop());
        let mut bytes = 0;
        for stream in self.streams.borrow_mut().iter_mut() {
            loop {
                match stream.poll(&mut context) {
                    Poll::Ready(Next::Deliver(Delivery::Waiting(waiting))) => {
                        let events = waiting.first.iter().chain(&waiting.more);
                        bytes += events.map(|events| events.elements().len()).sum::<usize>();
                    }
                    Poll::Ready(Next::Deliver(_)) => {}
                    Poll::Ready(Next::Read(_)) => unreachable!("a mailbox holds more than a batch"),
                    Poll::Pending => break,
                }
            }
        }
        bytes
    }
}
