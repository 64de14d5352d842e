//! SHA-256 with the processor's own instructions where it has them.

use std::fmt;
use std::io;

use ring::digest::{Context, SHA256};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Bytes hashed at once: a fraction of a millisecond, so that it may happen within the runtime.
const PIECE: usize = 256 * 1024;

/// The SHA-256 of what was put into it so far.
#[derive(Clone)]
pub struct Sha256 {
    context: Context,
    length: u64,
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sha256").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Sha256 {
    /// Of nothing.
    pub fn new() -> Self {
        Self {
            context: Context::new(&SHA256),
            length: 0,
        }
    }

    /// Puts in everything that `source` still has.
    pub async fn read(&mut self, source: &mut (impl AsyncRead + Unpin + ?Sized)) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        loop {
            match source.read(&mut piece).await? {
                0 => return Ok(()),
                count => self.update(&piece[..count]),
            }
        }
    }

    /// Puts more in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// How many bytes were put in.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The hash.
    pub fn finish(self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.context.finish().as_ref());
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pieces_make_the_same_hash_as_the_whole() -> io::Result<()> {
        let whole = vec![7; 3 * PIECE + 5];
        let mut read = Sha256::new();
        read.read(&mut whole.as_slice()).await?;
        let mut put = Sha256::new();
        whole.chunks(1000).for_each(|piece| put.update(piece));
        assert_eq!(read.length(), whole.len() as u64);
        assert_eq!(read.finish(), put.finish());
        Ok(())
    }
}
