//! The file that is moved, and the least that moving it durably and verified can take.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use ring::digest::{Context, SHA256};

/// Bytes that are written and read at a time.
const BLOCK: usize = 256 * 1024;

/// A file in the page cache, of bytes that do not compress.
#[derive(Debug)]
pub(super) struct Source {
    /// Where it is.
    pub(super) path: PathBuf,
    /// How many bytes it has.
    pub(super) size: u64,
    /// Its SHA-256.
    pub(super) sha256: [u8; 32],
}

impl Source {
    /// Makes one of `size` bytes.
    pub(super) fn make(path: PathBuf, size: u64) -> anyhow::Result<Self> {
        let problem = || format!("{} cannot be written", path.display());
        let mut file = File::create_new(&path).with_context(problem)?;
        let mut context = Context::new(&SHA256);
        let mut block = vec![0; BLOCK];
        // xorshift64: not random, but no two blocks are alike.
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut left = size;
        while left > 0 {
            for word in block.chunks_exact_mut(8) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                word.copy_from_slice(&state.to_le_bytes());
            }
            let length = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
            file.write_all(&block[..length]).with_context(problem)?;
            context.update(&block[..length]);
            left -= length as u64;
        }
        file.sync_all().with_context(problem)?;
        Ok(Self {
            path,
            size,
            sha256: finished(context),
        })
    }

    /// Reads it, hashes it, writes it to `to` and brings that to the disk, in one loop of one thread.
    pub(super) fn hash_and_copy(&self, to: &Path) -> anyhow::Result<()> {
        let problem = || format!("{} cannot be copied to {}", self.path.display(), to.display());
        let mut from = File::open(&self.path).with_context(problem)?;
        let mut into = File::create_new(to).with_context(problem)?;
        let mut context = Context::new(&SHA256);
        let mut block = vec![0; BLOCK];
        loop {
            let read = from.read(&mut block).with_context(problem)?;
            if read == 0 {
                break;
            }
            context.update(&block[..read]);
            into.write_all(&block[..read]).with_context(problem)?;
        }
        into.sync_data().with_context(problem)?;
        anyhow::ensure!(finished(context) == self.sha256, "{} has changed", self.path.display());
        Ok(())
    }
}

/// A hash's bytes.
pub(super) fn finished(context: Context) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}
