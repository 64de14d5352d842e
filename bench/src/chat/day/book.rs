//! What was said in which room and who has it: nothing lost, nothing twice, everything where everyone else has it.
//!
//! A room's events have seqs without gaps. Each receiver must get the next one each time, also across connections; what stands at a seq must
//! be the same for all; and in the end a room must have as many events as were made, each sender's in order.

use std::collections::HashMap;

use super::town::Town;
use crate::chat::ledger::Verdict;

/// A change by who made it and which of theirs it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) sender: u32,
    pub(super) number: u32,
}

/// All rooms and everyone's places in them.
#[derive(Debug)]
pub(super) struct Book {
    rooms: Vec<Page>,
    /// For each person, their rooms.
    people: Vec<Vec<Place>>,
    skipped: u64,
    belated: u64,
    strays: u64,
    differing: u64,
}

/// A room.
#[derive(Debug)]
struct Page {
    /// The seq after which the changes come.
    base: i64,
    /// How many changes were made.
    made: usize,
    /// What somebody has seen at each seq.
    changes: Vec<Option<Change>>,
}

/// Somebody's place in a room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The room's number.
    pub(super) room: u32,
    /// The seq of the last event that arrived.
    pub(super) at: i64,
    /// The seq up to which it is marked as read.
    pub(super) read: i64,
}

impl Book {
    /// Nothing was said, and everyone is up to date.
    pub(super) fn new(town: &Town) -> Self {
        let rooms = town.rooms.iter().map(|room| (room.head, &room.members[..]));
        Self::of(town.tokens.len(), rooms)
    }

    fn of<'a>(people: usize, rooms: impl Iterator<Item = (i64, &'a [u32])>) -> Self {
        let mut book = Self {
            rooms: Vec::new(),
            people: vec![Vec::new(); people],
            skipped: 0,
            belated: 0,
            strays: 0,
            differing: 0,
        };
        for (room, (base, members)) in rooms.enumerate() {
            for member in members {
                book.people[*member as usize].push(Place {
                    room: room as u32,
                    at: base,
                    read: base,
                });
            }
            book.rooms.push(Page {
                base,
                made: 0,
                changes: Vec::new(),
            });
        }
        book
    }

    /// Where `person` is.
    pub(super) fn places(&self, person: u32) -> &[Place] {
        &self.people[person as usize]
    }

    /// Marks all that arrived for `person` at one of their places as read, and returns its seq; none if it was.
    pub(super) fn read(&mut self, person: u32, place: usize) -> Option<i64> {
        let place = &mut self.people[person as usize][place];
        let is_new = place.read < place.at;
        place.read = place.at;
        is_new.then_some(place.at)
    }

    /// Notes that a change is made in `room`.
    pub(super) fn make(&mut self, room: u32) {
        self.rooms[room as usize].made += 1;
    }

    /// Notes that an event has arrived. `change` is none if its text was no longer to be had.
    pub(super) fn arrive(&mut self, person: u32, room: u32, seq: i64, change: Option<Change>) {
        let Some(place) = self.people[person as usize].iter_mut().find(|place| place.room == room) else {
            self.strays += 1;
            return;
        };
        if seq > place.at {
            self.skipped += (seq - place.at - 1) as u64;
            place.at = seq;
        } else {
            self.belated += 1;
        }
        let page = &mut self.rooms[room as usize];
        let Some(line) = usize::try_from(seq - page.base - 1).ok() else {
            return;
        };
        if page.changes.len() <= line {
            page.changes.resize(line + 1, None);
        }
        if let Some(change) = change {
            self.differing += u64::from(*page.changes[line].get_or_insert(change) != change);
        }
    }

    /// Whether everyone has everything that was made.
    pub(super) fn is_complete(&self) -> bool {
        self.missing() == 0
    }

    fn missing(&self) -> u64 {
        let places = self.people.iter().flatten();
        let missing = places.map(|place| {
            let page = &self.rooms[place.room as usize];
            (page.base + page.made as i64).saturating_sub(place.at).max(0) as u64
        });
        missing.sum()
    }

    /// What came of it.
    pub(super) fn verdict(&self) -> Verdict {
        // What came late fills a gap, or came for the second time.
        let late = self.belated.min(self.skipped);
        let mut verdict = Verdict {
            lost: self.missing() + self.skipped - late,
            doubled: self.belated - late,
            out_of_order: late,
            strays: self.strays,
            other_order: self.differing,
        };
        for page in &self.rooms {
            // Everyone may have something at every seq that nobody made.
            verdict.doubled += page.changes.len().saturating_sub(page.made) as u64;
            let mut last: HashMap<u32, u32> = HashMap::new();
            for change in page.changes.iter().flatten() {
                match last.insert(change.sender, change.number) {
                    Some(before) if before == change.number => verdict.doubled += 1,
                    Some(before) if before > change.number => verdict.out_of_order += 1,
                    _ => {}
                }
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Change = Change { sender: 0, number: 0 };
    const B: Change = Change { sender: 1, number: 0 };
    const C: Change = Change { sender: 0, number: 1 };

    /// Three people in a room, two of them make three changes. `change` is what goes wrong with the deliveries.
    fn verdict(change: impl FnOnce(&mut Vec<(u32, i64, Change)>)) -> Verdict {
        let mut book = Book::of(4, [(7, &[0, 1, 2][..])].into_iter());
        let mut deliveries = Vec::new();
        for (seq, made) in [(8, A), (9, B), (10, C)] {
            book.make(0);
            deliveries.extend((0..3).map(|person| (person, seq, made)));
        }
        change(&mut deliveries);
        for (person, seq, change) in deliveries {
            book.arrive(person, 0, seq, Some(change));
        }
        let verdict = book.verdict();
        assert_eq!(book.is_complete(), verdict.lost == 0 || book.skipped > 0);
        verdict
    }

    #[test]
    fn a_run_in_which_all_goes_well_is_good() {
        assert_eq!(verdict(|_| ()), Verdict::default());
    }

    #[test]
    fn each_fault_is_called_by_its_name() {
        assert_eq!(verdict(|all| all.retain(|one| *one != (2, 10, C))).lost, 1);
        assert_eq!(verdict(|all| all.retain(|one| *one != (2, 9, B))).lost, 1);
        assert_eq!(verdict(|all| all.push((1, 9, B))).doubled, 1);
        let swapped = verdict(|all| all.swap(0, 3));
        assert_eq!((swapped.out_of_order, swapped.lost, swapped.doubled), (1, 0, 0));
        assert_eq!(verdict(|all| all.push((3, 8, A))).strays, 1);
        let other = verdict(|all| all[4].2 = C);
        assert_eq!(other.other_order, 1);
    }

    #[test]
    fn what_the_server_stored_wrongly_is_found_though_all_see_the_same() {
        let twice = verdict(|all| all.extend((0..3).map(|person| (person, 11, C))));
        assert_eq!(twice.doubled, 2, "more than were made, and one sender's twice");
        let turned = verdict(|all| {
            for one in all.iter_mut() {
                match one.1 {
                    8 => one.2 = C,
                    10 => one.2 = A,
                    _ => {}
                }
            }
        });
        assert_eq!(turned.out_of_order, 1);
        assert!(!twice.is_good() && !turned.is_good());
    }

    #[test]
    fn what_is_new_is_marked_as_read_once() {
        let mut book = Book::of(1, [(7, &[0][..])].into_iter());
        assert_eq!(book.read(0, 0), None);
        book.make(0);
        book.arrive(0, 0, 8, Some(A));
        assert_eq!([book.read(0, 0), book.read(0, 0)], [Some(8), None]);
    }
}
