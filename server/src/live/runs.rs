//! Events of a batch that go to the same people, gathered by room, so that they are framed and handed over once.

use bytes::BytesMut;

use crate::domain::ids::{IdMap, RoomId};

/// Bytes of a run at most, unless a single event has more: below what a mailbox holds.
const RUN_BYTES: usize = 64 * 1024;

/// Events of one room without a gap.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The room.
    pub room: RoomId,
    /// The first seq and the last one.
    pub seqs: (i64, i64),
    /// The events, as elements of a list.
    pub elements: BytesMut,
}

/// The runs of a batch, in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct Runs {
    runs: Vec<Run>,
    of_room: IdMap<RoomId, usize>,
}

impl Runs {
    /// Adds an event, and returns the run before it if that is full.
    pub(super) fn add(&mut self, room: RoomId, seq: i64, element: &[u8]) -> Option<Run> {
        let begin = || Run {
            room,
            seqs: (seq, seq),
            elements: BytesMut::from(element),
        };
        let Some(run) = self.of_room.get(&room).and_then(|number| self.runs.get_mut(*number)) else {
            self.of_room.insert(room, self.runs.len());
            self.runs.push(begin());
            return None;
        };
        if run.elements.len() + element.len() > RUN_BYTES {
            return Some(std::mem::replace(run, begin()));
        }
        run.seqs.1 = seq;
        run.elements.extend_from_slice(element);
        None
    }

    /// Takes all of them.
    pub(super) fn take(&mut self) -> Vec<Run> {
        self.of_room.clear();
        std::mem::take(&mut self.runs)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However rooms alternate: each room's events are in its runs once, in order, without a gap.
        #[test]
        fn every_event_is_in_a_run_of_its_room(rooms in prop::collection::vec((0..3_usize, 1..20_000_usize), 1..60)) {
            let ids: [RoomId; 3] = std::array::from_fn(|_| RoomId::random());
            let (mut runs, mut heads, mut taken) = (Runs::default(), [0_i64; 3], Vec::new());
            for (room, size) in rooms {
                heads[room] += 1;
                taken.extend(runs.add(ids[room], heads[room], &vec![u8::try_from(room).unwrap(); size]));
            }
            taken.extend(runs.take());
            for (number, id) in ids.iter().enumerate() {
                let mut next = 1;
                for run in taken.iter().filter(|run| run.room == *id) {
                    prop_assert_eq!(run.seqs.0, next);
                    prop_assert!(run.elements.iter().all(|byte| usize::from(*byte) == number));
                    prop_assert!(run.elements.len() <= RUN_BYTES || run.seqs.0 == run.seqs.1);
                    next = run.seqs.1 + 1;
                }
                prop_assert_eq!(next, heads[number] + 1);
            }
            prop_assert!(runs.take().is_empty());
        }
    }
}
