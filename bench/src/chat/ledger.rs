//! What was sent and what arrived where: nothing lost, nothing twice, everything in order.
//!
//! User `u` is in room `u % rooms`, and is the `u / rooms`th of its members. The first `senders` members of each room send.

/// How many users there are, and who hears whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Crowd {
    /// Users in all; a multiple of `rooms`.
    pub(super) users: u32,
    /// Rooms, each with as many members.
    pub(super) rooms: u32,
    /// Members of each room who send.
    pub(super) senders: u32,
    /// Members of each room, the last ones, who stop reading when the measured time begins.
    pub(super) stalled: u32,
    /// Members of each room, the last ones, who come when all else has been said.
    pub(super) late: u32,
}

impl Crowd {
    /// Members of a room.
    pub(super) fn members(self) -> u32 {
        self.users / self.rooms
    }

    /// The users who send, in the order in which they take turns: one of each room, then the next of each.
    pub(super) fn all_senders(self) -> std::ops::Range<u32> {
        0..self.senders * self.rooms
    }

    /// Whether `user` is one of those who stop reading.
    pub(super) fn stalls(self, user: u32) -> bool {
        user / self.rooms >= self.members() - self.stalled
    }

    /// Whether `user` is one of those who come late.
    pub(super) fn is_late(self, user: u32) -> bool {
        user / self.rooms >= self.members() - self.late
    }

    /// The room of `user`.
    pub(super) fn room_of(self, user: u32) -> u32 {
        user % self.rooms
    }

    /// The other one of `user` in a room of two.
    pub(super) fn partner_of(self, user: u32) -> u32 {
        (user + self.rooms) % self.users
    }
}

/// What was sent and what arrived.
#[derive(Debug)]
pub(super) struct Ledger {
    crowd: Crowd,
    echoes: bool,
    /// For each user, how many messages it has sent.
    sent: Vec<u32>,
    /// For each user, how often a message of theirs has arrived somewhere.
    delivered: Vec<u64>,
    /// For each user and each sender in its room, the seq that comes next.
    next: Vec<u32>,
    /// For each user, a hash of what arrived, in order.
    order: Vec<u64>,
    skipped: u64,
    belated: u64,
    strays: u64,
    all_sent: u64,
    all_delivered: u64,
}

/// What the ledger says in the end. All zero in a good run, but for `other_order` with servers that promise no order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Verdict {
    /// Deliveries that never came.
    pub(super) lost: u64,
    /// Deliveries that came more than once.
    pub(super) doubled: u64,
    /// Deliveries that came after a later one of the same sender.
    pub(super) out_of_order: u64,
    /// Deliveries at somebody who is not in the room.
    pub(super) strays: u64,
    /// Receivers who saw the messages of their room in another order than others there.
    pub(super) other_order: u64,
}

impl Ledger {
    /// `echoes`: whether senders receive what they send.
    pub(super) fn new(crowd: Crowd, echoes: bool) -> Self {
        let users = crowd.users as usize;
        Self {
            crowd,
            echoes,
            sent: vec![0; users],
            delivered: vec![0; users],
            next: vec![0; users * crowd.senders as usize],
            order: vec![0; users],
            skipped: 0,
            belated: 0,
            strays: 0,
            all_sent: 0,
            all_delivered: 0,
        }
    }

    /// Deliveries that one message leads to.
    pub(super) fn receivers(&self) -> u64 {
        u64::from(self.crowd.members() - self.crowd.stalled) - u64::from(!self.echoes)
    }

    /// Messages sent so far, by everyone.
    pub(super) fn all_sent(&self) -> u64 {
        self.all_sent
    }

    /// Deliveries so far.
    pub(super) fn all_delivered(&self) -> u64 {
        self.all_delivered
    }

    /// Whether everything that was sent has arrived everywhere.
    pub(super) fn is_complete(&self) -> bool {
        self.all_delivered >= self.all_sent * self.receivers()
    }

    /// Notes that `sender` sends a message, and returns its seq.
    pub(super) fn send(&mut self, sender: u32) -> u32 {
        self.all_sent += 1;
        let sent = &mut self.sent[sender as usize];
        *sent += 1;
        *sent - 1
    }

    /// Whether `sender` has less than `window` messages on their way.
    pub(super) fn may_send(&self, sender: u32, window: u32) -> bool {
        let sender = sender as usize;
        let receivers = self.receivers();
        (u64::from(self.sent[sender]) * receivers).saturating_sub(self.delivered[sender])
            < u64::from(window) * receivers
    }

    /// Notes that a message has arrived at `receiver`.
    pub(super) fn receive(&mut self, receiver: u32, sender: u32, seq: u32) {
        if self.crowd.stalls(receiver) {
            return;
        }
        let slot = sender / self.crowd.rooms;
        if self.crowd.room_of(sender) != self.crowd.room_of(receiver) || slot >= self.crowd.senders {
            self.strays += 1;
            return;
        }
        self.all_delivered += 1;
        self.delivered[sender as usize] += 1;
        let next = &mut self.next[(receiver * self.crowd.senders + slot) as usize];
        if seq >= *next {
            self.skipped += u64::from(seq - *next);
            *next = seq + 1;
        } else {
            self.belated += 1;
        }
        let order = &mut self.order[receiver as usize];
        // The step of a multiplicative hash. One more, so that the very first message counts too.
        let message = (u64::from(sender) << 32 | u64::from(seq)) + 1;
        *order = order.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(message);
    }

    /// What came of it.
    pub(super) fn verdict(&self) -> Verdict {
        let Crowd { rooms, senders, .. } = self.crowd;
        let mut missing = 0;
        let mut other_order = 0;
        let mut first: Vec<Option<u64>> = vec![None; rooms as usize];
        for user in (0..self.crowd.users).filter(|user| !self.crowd.stalls(*user)) {
            let room = self.crowd.room_of(user);
            let slot = user / rooms;
            for sender in (0..senders).filter(|sender| self.echoes || *sender != slot) {
                let sent = self.sent[(sender * rooms + room) as usize];
                missing += u64::from(sent - self.next[(user * senders + sender) as usize]);
            }
            // Without echoes, senders see one message less than others do.
            if self.echoes || slot >= senders {
                let order = self.order[user as usize];
                other_order += u64::from(*first[room as usize].get_or_insert(order) != order);
            }
        }
        // What came late fills a gap, or came for the second time.
        let out_of_order = self.belated.min(self.skipped);
        Verdict {
            lost: missing + self.skipped - out_of_order,
            doubled: self.belated - out_of_order,
            out_of_order,
            strays: self.strays,
            other_order,
        }
    }
}

impl Verdict {
    /// Whether everything arrived once and in each sender's order. Servers need not promise more.
    pub(super) fn is_good(&self) -> bool {
        (self.lost, self.doubled, self.out_of_order, self.strays) == (0, 0, 0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CROWD: Crowd = Crowd {
        users: 6,
        rooms: 2,
        senders: 1,
        stalled: 0,
        late: 0,
    };

    /// Users 0 and 1 send two messages each; everyone gets them, but for what `change` does to the deliveries.
    fn verdict(change: impl FnOnce(&mut Vec<(u32, u32, u32)>)) -> Verdict {
        let mut ledger = Ledger::new(CROWD, true);
        let mut deliveries = Vec::new();
        for sender in CROWD.all_senders() {
            for _ in 0..2 {
                let seq = ledger.send(sender);
                deliveries.extend((0..3).map(|member| (member * 2 + sender, sender, seq)));
            }
        }
        change(&mut deliveries);
        for (receiver, sender, seq) in deliveries {
            ledger.receive(receiver, sender, seq);
        }
        ledger.verdict()
    }

    #[test]
    fn a_run_in_which_all_goes_well_is_good() {
        assert_eq!(verdict(|_| ()), Verdict::default());
    }

    #[test]
    fn each_fault_is_called_by_its_name() {
        let lost = |lost| Verdict {
            lost,
            other_order: 1,
            ..Verdict::default()
        };
        assert_eq!(verdict(|all| all.retain(|one| *one != (4, 0, 0))), lost(1));
        assert_eq!(verdict(|all| all.retain(|one| *one != (4, 0, 1))), lost(1));
        let doubled = verdict(|all| all.push((2, 0, 1)));
        assert_eq!((doubled.doubled, doubled.lost), (1, 0));
        let swapped = verdict(|all| all.swap(1, 4));
        assert_eq!((swapped.out_of_order, swapped.lost, swapped.doubled), (1, 0, 0));
        assert_eq!(verdict(|all| all.push((0, 1, 0))).strays, 1);
        assert!(![doubled, swapped, lost(1)].iter().any(Verdict::is_good));
    }

    #[test]
    fn a_window_is_open_until_that_many_messages_are_on_their_way() {
        let mut ledger = Ledger::new(CROWD, true);
        for _ in 0..2 {
            assert!(ledger.may_send(0, 2));
            ledger.send(0);
        }
        assert!(!ledger.may_send(0, 2));
        ledger.receive(4, 0, 0);
        assert!(ledger.may_send(0, 2));
    }
}
