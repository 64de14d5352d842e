//! The journal's Merkle tree, in the form of RFC 6962 section 2.1.
//!
//! Only its right edge is held: the roots of the full subtrees that the leaves so far fall into, largest first. That is enough to append and to
//! compute the root.

use super::sha256;

/// A hash of the tree.
pub type Hash = [u8; 32];

/// The hash of a leaf.
pub fn leaf_hash(head: &[u8]) -> Hash {
    sha256(&[&[0], head])
}

/// The hash of a node.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

/// A full subtree: the leaves from `number * 2^level` on, `2^level` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subtree {
    /// 0 is a leaf.
    pub level: u32,
    /// Which of its level, from 0.
    pub number: u64,
}

/// The right edge of a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    roots: Vec<Hash>,
}

/// Stored bytes that are no edge of a tree of that size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored edge of the tree does not fit its size")]
pub struct InvalidEdge;

impl Edge {
    /// Reads an edge as [`Edge::to_bytes`] wrote it.
    pub fn from_bytes(size: u64, bytes: &[u8]) -> Result<Self, InvalidEdge> {
        let (roots, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() || roots.len() != size.count_ones() as usize {
            return Err(InvalidEdge);
        }
        Ok(Self {
            size,
            roots: roots.to_vec(),
        })
    }

    /// The hashes, one after the other.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.roots.concat()
    }

    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether the newest leaves are those given. Older full subtrees than they make up are taken on trust: they would have to be hashed whole.
    pub fn ends_with(&self, newest: &[Hash]) -> bool {
        let mut rest = newest;
        let mut sizes = (0..u64::BITS).filter(|bit| self.size >> bit & 1 == 1).map(|bit| 1_u64 << bit);
        let mut roots = self.roots.iter().rev();
        while let (Some(size), Some(root)) = (sizes.next(), roots.next()) {
            let Some(cut) = usize::try_from(size).ok().and_then(|size| rest.len().checked_sub(size)) else {
                return true;
            };
            let mut subtree = Self::default();
            rest[cut..].iter().for_each(|leaf| subtree.push(*leaf));
            if subtree.roots != [*root] {
                return false;
            }
            rest = &rest[..cut];
        }
        rest.is_empty()
    }

    /// Appends a leaf.
    pub fn push(&mut self, leaf: Hash) {
        self.push_telling(leaf, |_, _| {});
    }

    /// Appends a leaf, and tells `full` of each full subtree of two leaves or more that it completes, with its root, smallest first.
    pub fn push_telling(&mut self, leaf: Hash, mut full: impl FnMut(Subtree, &Hash)) {
        let mut root = leaf;
        // Every 1 at the end of the size is a full subtree that this leaf completes to one of twice its size.
        for level in 1..=self.size.trailing_ones() {
            let left = self.roots.pop().expect("there is a root for every 1 of the size");
            root = node_hash(&left, &root);
            let number = self.size >> level;
            full(Subtree { level, number }, &root);
        }
        self.roots.push(root);
        self.size += 1;
    }

    /// Appends a full subtree of `2^level` leaves by its root. False, and nothing is appended, if no such subtree can stand at the end.
    pub fn push_subtree(&mut self, level: u32, root: Hash) -> bool {
        if level > 62 || self.size.trailing_zeros() < level {
            return false;
        }
        let mut root = root;
        let mut of = level;
        while self.size >> of & 1 == 1 {
            let left = self.roots.pop().expect("there is a root for every 1 of the size");
            root = node_hash(&left, &root);
            of += 1;
        }
        self.roots.push(root);
        self.size += 1 << level;
        true
    }

    /// The root of the tree. Of an empty one: SHA-256 of nothing.
    pub fn root(&self) -> Hash {
        let mut roots = self.roots.iter().rev();
        let Some(last) = roots.next() else { return sha256(&[]) };
        roots.fold(*last, |right, left| node_hash(left, &right))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        for byte in bytes {
            write!(text, "{byte:02x}").unwrap();
        }
        text
    }

    /// The definition, word for word.
    fn root_by_definition(leaves: &[Vec<u8>]) -> Hash {
        match leaves {
            [] => sha256(&[]),
            [leaf] => leaf_hash(leaf),
            _ => {
                let mut split = 1;
                while split * 2 < leaves.len() {
                    split *= 2;
                }
                node_hash(
                    &root_by_definition(&leaves[..split]),
                    &root_by_definition(&leaves[split..]),
                )
            }
        }
    }

    proptest! {
        #[test]
        fn the_edge_has_the_root_of_the_definition(leaves in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..200)) {
            let mut edge = Edge::default();
            for leaf in &leaves {
                edge.push(leaf_hash(leaf));
            }
            prop_assert_eq!(edge.root(), root_by_definition(&leaves));
            prop_assert_eq!(Edge::from_bytes(edge.size(), &edge.to_bytes()), Ok(edge));
        }

        #[test]
        fn each_full_subtree_is_told_once_with_its_root(size in 0..300_u64) {
            let leaf = |number: u64| leaf_hash(&number.to_be_bytes());
            let mut edge = Edge::default();
            let mut told = Vec::new();
            for number in 0..size {
                edge.push_telling(leaf(number), |subtree, root| told.push((subtree, *root)));
            }
            prop_assert_eq!(told.len() as u64, (1..=8).map(|level| size >> level).sum::<u64>());
            for (Subtree { level, number }, root) in told {
                let mut alone = Edge::default();
                (number << level..(number + 1) << level).for_each(|number| alone.push(leaf(number)));
                prop_assert_eq!(alone.root(), root);
            }
        }

        #[test]
        fn any_bytes_can_be_tried_as_an_edge(size: u64, bytes: Vec<u8>) {
            let _ = Edge::from_bytes(size, &bytes);
        }
    }

    #[test]
    fn a_wrong_edge_is_found_by_the_newest_leaves() {
        let leaves: Vec<Hash> = (0..1000_u32).map(|number| leaf_hash(&number.to_be_bytes())).collect();
        let mut edge = Edge::default();
        for leaf in &leaves {
            edge.push(*leaf);
        }
        for known in [0, 1, 8, 500, 1000] {
            assert!(edge.ends_with(&leaves[1000 - known..]), "{known}");
        }
        assert!(!edge.ends_with(&leaves[1..]) || !edge.ends_with(&leaves[..999]));
        let wrong = Edge {
            size: 1000,
            roots: edge.roots.iter().map(|_| [0; 32]).collect(),
        };
        assert!(!wrong.ends_with(&leaves[900..]));
    }

    #[test]
    fn roots_are_those_of_certificate_transparency() {
        // The reference vectors of RFC 6962 implementations (`MerkleTreeTest` of certificate-transparency).
        let leaves: [&[u8]; 3] = [b"", b"\x00", b"\x10"];
        let mut edge = Edge::default();
        assert_eq!(
            hex(&edge.root()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        edge.push(leaf_hash(leaves[0]));
        assert_eq!(
            hex(&edge.root()),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
        edge.push(leaf_hash(leaves[1]));
        assert_eq!(
            hex(&edge.root()),
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
        );
        edge.push(leaf_hash(leaves[2]));
        assert_eq!(
            hex(&edge.root()),
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
        );
    }
}
