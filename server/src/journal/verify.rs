//! Whether a stored row is what was written. What the check at start and `greffe-server check` have in common.

use greffe_api::v1::EventHead;

use super::event::{commitment, decode_body, decode_head};
use super::tree::leaf_hash;

/// Checks one row by itself, and returns its head.
///
/// # Errors
/// What is wrong with it.
pub fn check_row(index: i64, head_bytes: &[u8], body: Option<&[u8]>, leaf: &[u8]) -> Result<EventHead, String> {
    let head = decode_head(head_bytes).ok_or("its head cannot be decoded")?;
    if head.index != index {
        return Err(format!("its head is that of row {}", head.index));
    }
    if leaf != leaf_hash(head_bytes) {
        return Err("its leaf is not the hash of its head".into());
    }
    if let Some(body) = body {
        if head.commitment[..] != commitment(body)[..] {
            return Err("its body is not the one that its head commits to".into());
        }
        let salt = decode_body(body).map(|body| body.salt.len());
        if salt != Some(16) {
            return Err("its body has no salt of 16 bytes".into());
        }
    }
    Ok(head)
}
