//! Proofs in the journal's tree: that a row is in it, and that one size of it goes on from another.
//!
//! Making and checking follow RFC 9162, sections 2.1.3 and 2.1.4. Which hashes a proof has is a matter of numbers alone; whoever has the tree looks
//! them up as [`Span`]s.

use super::tree::{Hash, Subtree, node_hash};

/// Leaves from `begin` to before `end`, whose root is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first leaf.
    pub begin: u64,
    /// The first leaf after it.
    pub end: u64,
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// There is no such leaf or size.
    #[error("what is to be proved is not within the tree")]
    Range,
    /// It has too few hashes, or too many.
    #[error("the proof has not as many hashes as it must have")]
    Length,
    /// It leads to another root.
    #[error("the proof leads to another root than the checkpoint has")]
    Root,
}

/// The greatest power of 2 less than `size`, which is at least 2.
fn split(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

impl Span {
    fn len(self) -> u64 {
        self.end - self.begin
    }

    /// The full subtrees that make it up, from left to right; the root of the span is that of [`fold`] over their roots.
    ///
    /// `begin` must be a multiple of the greatest power of 2 that fits, as it is in all spans of proofs.
    pub fn subtrees(self) -> Vec<Subtree> {
        let mut subtrees = Vec::new();
        let mut begin = self.begin;
        while begin < self.end {
            let level = (u64::BITS - 1) - (self.end - begin).leading_zeros();
            subtrees.push(Subtree {
                level,
                number: begin >> level,
            });
            begin += 1 << level;
        }
        subtrees
    }
}

/// The root over full subtrees that get smaller, from left to right. None if there is none.
pub fn fold(roots: &[Hash]) -> Option<Hash> {
    let (last, rest) = roots.split_last()?;
    Some(rest.iter().rev().fold(*last, |right, left| node_hash(left, &right)))
}

/// The spans whose roots prove that the leaf `index` is in the tree of `size` leaves, in the order of the proof.
///
/// # Errors
/// [`ProofError::Range`].
pub fn inclusion_spans(index: u64, size: u64) -> Result<Vec<Span>, ProofError> {
    if index >= size {
        return Err(ProofError::Range);
    }
    let mut spans = Vec::new();
    let mut tree = Span { begin: 0, end: size };
    while tree.len() > 1 {
        let middle = tree.begin + split(tree.len());
        let (left, right) = (Span { end: middle, ..tree }, Span { begin: middle, ..tree });
        let (inside, beside) = if index < middle { (left, right) } else { (right, left) };
        spans.push(beside);
        tree = inside;
    }
    spans.reverse();
    Ok(spans)
}

/// The spans whose roots prove that the tree of `new` leaves goes on from that of `old` ones, in the order of the proof.
///
/// # Errors
/// [`ProofError::Range`], also for an `old` of 0: everything goes on from nothing, and there is no proof of it.
pub fn consistency_spans(old: u64, new: u64) -> Result<Vec<Span>, ProofError> {
    if old == 0 || old > new {
        return Err(ProofError::Range);
    }
    let mut spans = Vec::new();
    let mut tree = Span { begin: 0, end: new };
    // Whether the old tree's root within `tree` is known to who checks: only while nothing was split off to its left.
    let mut is_known = true;
    while old != tree.end {
        let middle = tree.begin + split(tree.len());
        let (left, right) = (Span { end: middle, ..tree }, Span { begin: middle, ..tree });
        if old <= middle {
            spans.push(right);
            tree = left;
        } else {
            spans.push(left);
            tree = right;
            is_known = false;
        }
    }
    if !is_known {
        spans.push(tree);
    }
    spans.reverse();
    Ok(spans)
}

/// Checks that the leaf with the hash `leaf` is number `index` of the tree of `size` leaves with this root (RFC 9162, 2.1.3.2).
///
/// # Errors
/// If the proof does not prove it.
pub fn check_inclusion(leaf: &Hash, index: u64, size: u64, root: &Hash, proof: &[Hash]) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Range);
    }
    let (mut at, mut last) = (index, size - 1);
    let mut found = *leaf;
    for hash in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if at & 1 == 1 || at == last {
            found = node_hash(hash, &found);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            found = node_hash(&found, hash);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if found == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// Checks that the tree of `new.0` leaves with the root `new.1` goes on from the one of `old.0` leaves with the root `old.1` (RFC 9162, 2.1.4.2).
/// Everything goes on from an empty tree, and a tree from itself, with an empty proof.
///
/// # Errors
/// If the proof does not prove it.
pub fn check_consistency(old: (u64, &Hash), new: (u64, &Hash), proof: &[Hash]) -> Result<(), ProofError> {
    let ((old_size, old_root), (new_size, new_root)) = (old, new);
    if old_size > new_size {
        return Err(ProofError::Range);
    }
    if old_size == 0 || old_size == new_size {
        let is_same = old_size == 0 || old_root == new_root;
        return match (proof.is_empty(), is_same) {
            (true, true) => Ok(()),
            (true, false) => Err(ProofError::Root),
            (false, _) => Err(ProofError::Length),
        };
    }
    let (mut at, mut last) = (old_size - 1, new_size - 1);
    while at & 1 == 1 {
        (at, last) = (at >> 1, last >> 1);
    }
    // Of a full old tree the root itself begins the proof, and is not repeated.
    let (begin, rest) = if old_size.is_power_of_two() {
        (old_root, proof)
    } else {
        proof.split_first().ok_or(ProofError::Length)?
    };
    let (mut of_old, mut of_new) = (*begin, *begin);
    for hash in rest {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if at & 1 == 1 || at == last {
            of_old = node_hash(hash, &of_old);
            of_new = node_hash(hash, &of_new);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            of_new = node_hash(&of_new, hash);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if of_old == *old_root && of_new == *new_root {
        Ok(())
    } else {
        Err(ProofError::Root)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tree::{Edge, leaf_hash};
    use super::*;

    fn leaf(number: u64) -> Hash {
        leaf_hash(&number.to_be_bytes())
    }

    fn root(size: u64) -> Hash {
        let mut edge = Edge::default();
        (0..size).for_each(|number| edge.push(leaf(number)));
        edge.root()
    }

    fn subtree(subtree: Subtree) -> Hash {
        let mut edge = Edge::default();
        let first = subtree.number << subtree.level;
        (first..first + (1 << subtree.level)).for_each(|number| edge.push(leaf(number)));
        edge.root()
    }

    fn hashes(spans: &[Span]) -> Vec<Hash> {
        let root = |span: &Span| fold(&span.subtrees().into_iter().map(subtree).collect::<Vec<_>>()).unwrap();
        spans.iter().map(root).collect()
    }

    #[test]
    fn every_row_of_every_small_tree_is_proved_and_no_other() {
        for size in 1..40 {
            let root = root(size);
            for index in 0..size {
                let proof = hashes(&inclusion_spans(index, size).unwrap());
                assert_eq!(
                    check_inclusion(&leaf(index), index, size, &root, &proof),
                    Ok(()),
                    "{index} of {size}"
                );
                for other in (0..size + 2).filter(|other| *other != index) {
                    assert!(check_inclusion(&leaf(index), other, size, &root, &proof).is_err());
                    assert!(check_inclusion(&leaf(other), index, size, &root, &proof).is_err());
                }
            }
            assert_eq!(inclusion_spans(size, size), Err(ProofError::Range));
        }
    }

    #[test]
    fn every_small_tree_goes_on_from_every_smaller_one() {
        for new in 1..40 {
            for old in 1..=new {
                let proof = hashes(&consistency_spans(old, new).unwrap());
                let check =
                    |old_root: &Hash, new_root: &Hash| check_consistency((old, old_root), (new, new_root), &proof);
                assert_eq!(check(&root(old), &root(new)), Ok(()), "{old} to {new}");
                assert!(check(&root(old + 1), &root(new)).is_err());
                assert!(check(&root(old), &root(new + 1)).is_err());
            }
            assert_eq!(check_consistency((0, &root(0)), (new, &root(new)), &[]), Ok(()));
        }
        assert_eq!(consistency_spans(0, 5), Err(ProofError::Range));
        assert_eq!(consistency_spans(6, 5), Err(ProofError::Range));
        assert_eq!(
            check_consistency((6, &root(6)), (5, &root(5)), &[]),
            Err(ProofError::Range)
        );
    }

    proptest! {
        #[test]
        fn spans_are_small_in_the_largest_trees(size in 1..=u64::MAX, part: u64) {
            let index = part % size;
            for span in inclusion_spans(index, size).unwrap() {
                prop_assert!(span.begin < span.end && span.subtrees().len() <= 64);
            }
            let old = index + 1;
            prop_assert!(consistency_spans(old, size).unwrap().len() <= 65);
            let _ = check_inclusion(&[0; 32], index, size, &[0; 32], &[[0; 32]; 70]);
            let _ = check_consistency((old, &[0; 32]), (size, &[0; 32]), &[[0; 32]; 70]);
        }

        #[test]
        fn a_changed_proof_proves_nothing(size in 2..300_u64, part: u64, at: prop::sample::Index, bit in 0..256_usize, cut in 0..3) {
            let index = part % size;
            let root = root(size);
            let mut proof = hashes(&inclusion_spans(index, size).unwrap());
            let at = at.index(proof.len());
            match cut {
                0 => proof[at][bit / 8] ^= 1 << (bit % 8),
                1 => _ = proof.remove(at),
                _ => proof.insert(at, [7; 32]),
            }
            prop_assert!(check_inclusion(&leaf(index), index, size, &root, &proof).is_err());
        }
    }
}
