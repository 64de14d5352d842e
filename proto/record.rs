//! What proves the record, for whoever makes proofs and whoever checks them: the journal's tree, checkpoints, and what links them.
//!
//! - The tree is that of RFC 6962 section 2.1 (and RFC 9162 section 2.1), over the heads of the journal's rows.
//! - A checkpoint is a C2SP [`tlog-checkpoint`] in a C2SP [`signed-note`], signed with Ed25519.
//!
//! `server/RECORD-FORMAT.md` describes all of it without reference to this code.
//!
//! [`tlog-checkpoint`]: https://c2sp.org/tlog-checkpoint
//! [`signed-note`]: https://c2sp.org/signed-note

pub mod checkpoint;
pub mod export;
pub mod key;
pub mod note;
pub mod paper;
pub mod proof;
pub mod tree;

use ring::digest;

/// SHA-256 of `parts`, one after the other.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}
