//! The walk through the tree: rows, and the hashes of all that lies between them.

use crate::record::tree::Subtree;

/// A step of the walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The row at this position.
    Row(u64),
    /// A full subtree of which only the hash is there.
    Hash(Subtree),
    /// So many leaves are behind; the tree of them is wanted.
    Size(u64),
}

/// Walks from 0 to `size`, along rows and sizes that ascend.
pub(super) struct Walk<R: Iterator<Item = u64>, S: Iterator<Item = u64>> {
    rows: std::iter::Peekable<R>,
    sizes: std::iter::Peekable<S>,
    at: u64,
    size: u64,
}

impl<R: Iterator<Item = u64>, S: Iterator<Item = u64>> Walk<R, S> {
    pub(super) fn new(rows: R, sizes: S, size: u64) -> Self {
        Self {
            rows: rows.peekable(),
            sizes: sizes.peekable(),
            at: 0,
            size,
        }
    }
}

impl<R: Iterator<Item = u64>, S: Iterator<Item = u64>> Iterator for Walk<R, S> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let at = self.at;
        if self.sizes.next_if_eq(&at).is_some() {
            return Some(Step::Size(at));
        }
        if at >= self.size {
            return None;
        }
        if self.rows.next_if_eq(&at).is_some() {
            self.at += 1;
            return Some(Step::Row(at));
        }
        let row = self.rows.peek().copied().unwrap_or(self.size);
        let mark = self.sizes.peek().copied().unwrap_or(self.size).min(row).min(self.size);
        // Marks ascend; of those that do not, the caller has made sure.
        let room = mark.checked_sub(at).filter(|room| *room > 0)?;
        let level = at.trailing_zeros().min(room.ilog2());
        self.at += 1 << level;
        Some(Step::Hash(Subtree {
            level,
            number: at >> level,
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::tree::{Edge, leaf_hash};

    fn leaves(count: u64) -> Vec<[u8; 32]> {
        (0..count).map(|number| leaf_hash(&number.to_be_bytes())).collect()
    }

    fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
        let mut edge = Edge::default();
        for leaf in leaves {
            edge.push(*leaf);
        }
        edge.root()
    }

    proptest! {
        #[test]
        fn a_walk_gives_the_tree_at_each_size(
            size in 1_u64..300,
            rows in proptest::collection::btree_set(0_u64..300, 0..40),
            sizes in proptest::collection::btree_set(1_u64..300, 0..10),
        ) {
            let leaves = leaves(size);
            let rows: Vec<u64> = rows.into_iter().filter(|row| *row < size).collect();
            let sizes: Vec<u64> = sizes.into_iter().filter(|other| *other < size).collect();
            let mut edge = Edge::default();
            let (mut passed, mut seen) = (Vec::new(), Vec::new());
            for step in Walk::new(rows.iter().copied(), sizes.iter().copied(), size) {
                match step {
                    Step::Row(row) => {
                        seen.push(row);
                        edge.push(leaves[usize::try_from(row).unwrap()]);
                    }
                    Step::Hash(Subtree { level, number }) => {
                        let begin = usize::try_from(number << level).unwrap();
                        let end = begin + (1 << level);
                        prop_assert!(edge.push_subtree(level, root(&leaves[begin..end])));
                    }
                    Step::Size(at) => {
                        passed.push(at);
                        prop_assert_eq!(edge.root(), root(&leaves[..usize::try_from(at).unwrap()]));
                    }
                }
            }
            prop_assert_eq!(edge.size(), size);
            prop_assert_eq!(edge.root(), root(&leaves));
            prop_assert_eq!((seen, passed), (rows, sizes));
        }
    }
}
