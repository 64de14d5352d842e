//! What people do, and how often.

use crate::words::Chance;

/// Something that somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Says something in one of their rooms.
    Send,
    /// Says their last message in other words.
    Edit,
    /// Marks what arrived in a room as read.
    Read,
    /// Types.
    Type,
    /// Loses the connection, and comes back.
    Leave,
}

/// Of a hundred things that happen, how many are what.
pub(super) const SHARES: [(Deed, u32); 5] = [
    (Deed::Send, 20),
    (Deed::Edit, 1),
    (Deed::Read, 50),
    (Deed::Type, 28),
    (Deed::Leave, 1),
];
const ALL: u32 = 100;

/// What happens next.
pub(super) fn draw(chance: &mut Chance) -> Deed {
    let mut left = chance.below(ALL);
    for (deed, share) in SHARES {
        match left.checked_sub(share) {
            Some(rest) => left = rest,
            None => return deed,
        }
    }
    unreachable!("the shares are {ALL} together")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_happens_as_often_as_it_should() {
        assert_eq!(SHARES.iter().map(|(_, share)| share).sum::<u32>(), ALL);
        let mut chance = Chance::new(5);
        let drawn: Vec<Deed> = (0..100_000).map(|_| draw(&mut chance)).collect();
        for (deed, share) in SHARES {
            let count = drawn.iter().filter(|drawn| **drawn == deed).count() as f64 / 1000.0;
            let share = f64::from(share);
            assert!((count - share).abs() < 0.2 * share.max(2.0), "{deed:?}: {count} %");
        }
    }
}
