//! An export as an archive: POSIX ustar, regular files only.
//!
//! How long a file is shows when it has ended: then its header, until then zeros, is written in front of it. The archive has another name
//! until it is whole.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::state::{self, Order, State};
use super::taken;
use crate::terminal::local_files::{absent_is_fine, create, is_mine, lock, open_existing, place, sync_directory};

/// Everything in an archive is a multiple of this.
const BLOCK: usize = 512;
const BLOCK_BYTES: u64 = BLOCK as u64;
/// The longest file that a header can tell of: eleven octal digits.
const LONGEST: u64 = 0o77_777_777_777;
/// The longest name without a prefix.
const NAME: usize = 100;
/// Where a header has the length, and its checksum.
const LENGTH_AT: std::ops::Range<usize> = 124..136;
const CHECKSUM_AT: std::ops::Range<usize> = 148..156;

/// An archive that is being written.
#[derive(Debug)]
pub(super) struct Archive {
    target: PathBuf,
    file: File,
    pub(super) state: State,
    /// Bytes of the newest file.
    length: u64,
}

impl Archive {
    /// Begins a new archive for `target`.
    pub(super) fn create(target: &Path) -> io::Result<Self> {
        if fs::symlink_metadata(target).is_ok() {
            return Err(taken("it is there already, and nothing is overwritten"));
        }
        let file = create(&part(target)).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => taken("an export broke off there"),
            _ => error,
        })?;
        let archive = Self {
            target: target.to_owned(),
            file: locked(file)?,
            state: State::default(),
            length: 0,
        };
        archive.save()?;
        Ok(archive)
    }

    /// Goes on with an archive that was not finished.
    pub(super) fn resume(target: &Path) -> io::Result<Option<Self>> {
        let Some((file, metadata)) = open_existing(&part(target))? else {
            return Ok(None);
        };
        if !is_mine(&metadata) {
            return Err(io::Error::other("what broke off here is somebody else's"));
        }
        let file = locked(file)?;
        let Some(state) = state::load(&note(target))? else {
            return Err(io::Error::other(
                "of what broke off here it is not known what it was; remove its .part",
            ));
        };
        let mut archive = Self {
            target: target.to_owned(),
            file,
            state,
            length: 0,
        };
        archive.find_end()?;
        Ok(Some(archive))
    }

    /// Sets the length of the newest file, and cuts off what is behind it.
    fn find_end(&mut self) -> io::Result<()> {
        let (Some(_), Some(header_at)) = (&self.state.file, self.state.header_at) else {
            self.state.file = None;
            self.state.header_at = None;
            return self.file.set_len(0);
        };
        let begin = header_at
            .checked_add(BLOCK_BYTES)
            .ok_or_else(|| io::Error::other("the note on what broke off here makes no sense"))?;
        let size = self.file.metadata()?.len();
        if size < begin {
            // It was noted, and not begun any more. What is in front of it has ended.
            if size < header_at {
                return Err(io::Error::other("what broke off here lacks a part; remove it"));
            }
            self.file.set_len(header_at)?;
            self.file.set_len(begin)?;
        } else {
            let mut header = [0; BLOCK];
            self.file.seek(SeekFrom::Start(header_at))?;
            self.file.read_exact(&mut header)?;
            // A header is there only if the file had ended.
            let ended = (header != [0; BLOCK]).then(|| length_of(&header)).transpose()?;
            self.length = ended.unwrap_or(size - begin);
            if self.length > size - begin {
                return Err(io::Error::other("what broke off here lacks a part; remove it"));
            }
            self.file.set_len(begin + self.length)?;
        }
        self.file.seek(SeekFrom::Start(begin + self.length))?;
        Ok(())
    }

    pub(super) fn set_order(&mut self, order: Order) -> io::Result<()> {
        self.state.order = Some(order);
        self.save()
    }

    pub(super) fn position(&self) -> Option<(&str, u64)> {
        self.state.file.as_deref().map(|name| (name, self.length))
    }

    pub(super) fn begin(&mut self, name: &str) -> io::Result<()> {
        let header_at = self.end_newest()?;
        // Noted first: with an older note, what is behind its file is cut off.
        self.state.file = Some(name.to_owned());
        self.state.header_at = Some(header_at);
        self.length = 0;
        self.save()?;
        self.file.write_all(&[0; BLOCK])
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.state.file.is_none() {
            return Err(io::Error::other("no file has begun"));
        }
        if self.length + bytes.len() as u64 > LONGEST {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "a file in it has more than 8 GiB, which archives of this kind do not take; export into a directory",
            ));
        }
        self.file.write_all(bytes)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn read_newest(&mut self, at_most: u64) -> io::Result<Vec<u8>> {
        let begin = self.state.header_at.unwrap_or_default() + BLOCK_BYTES;
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(begin))?;
        (&self.file).take(self.length.min(at_most)).read_to_end(&mut bytes)?;
        self.file.seek(SeekFrom::Start(begin + self.length))?;
        Ok(bytes)
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.end_newest()?;
        self.file.write_all(&[0; 2 * BLOCK])?;
        self.file.sync_all()?;
        place(&part(&self.target), &self.target)?;
        state::remove(&note(&self.target))?;
        sync_directory(&self.target)
    }

    pub(super) fn discard(self) -> io::Result<()> {
        state::remove(&note(&self.target))?;
        absent_is_fine(fs::remove_file(part(&self.target)))
    }

    fn save(&self) -> io::Result<()> {
        state::save(&note(&self.target), &self.state)
    }

    /// Writes the newest file's header, and fills its last block; returns where the next header is.
    fn end_newest(&mut self) -> io::Result<u64> {
        let (Some(name), Some(header_at)) = (&self.state.file, self.state.header_at) else {
            return Ok(0);
        };
        let end = header_at + BLOCK_BYTES + self.length;
        let header = header(name, self.length)?;
        self.file.seek(SeekFrom::Start(header_at))?;
        self.file.write_all(&header)?;
        self.file.seek(SeekFrom::Start(end))?;
        let next = end.next_multiple_of(BLOCK_BYTES);
        let filling = usize::try_from(next - end).unwrap_or_default();
        self.file.write_all(&[0; BLOCK][..filling])?;
        Ok(next)
    }
}

/// The header of a file. Nothing in it depends on who wrote it, or when.
fn header(name: &str, length: u64) -> io::Result<[u8; BLOCK]> {
    let mut header = [0; BLOCK];
    let name = name.as_bytes();
    if name.len() > NAME || length > LONGEST {
        return Err(io::Error::other(
            "a file in it has a name or a length that no archive takes",
        ));
    }
    header[..name.len()].copy_from_slice(name);
    header[100..108].copy_from_slice(b"0000644\0");
    header[108..116].copy_from_slice(b"0000000\0");
    header[116..124].copy_from_slice(b"0000000\0");
    header[LENGTH_AT].copy_from_slice(format!("{length:011o}\0").as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[CHECKSUM_AT].fill(b' ');
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[329..337].copy_from_slice(b"0000000\0");
    header[337..345].copy_from_slice(b"0000000\0");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[CHECKSUM_AT].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(header)
}

/// The length that a header of ours tells.
fn length_of(header: &[u8; BLOCK]) -> io::Result<u64> {
    std::str::from_utf8(&header[LENGTH_AT])
        .ok()
        .and_then(|digits| u64::from_str_radix(digits.trim_end_matches('\0'), 8).ok())
        .ok_or_else(|| io::Error::other("what broke off here is damaged; remove it"))
}

/// What an archive is called until it is whole.
fn part(target: &Path) -> PathBuf {
    with_ending(target, ".part")
}

/// The note on what is on its way.
fn note(target: &Path) -> PathBuf {
    with_ending(target, ".part.json")
}

fn with_ending(target: &Path, ending: &str) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn locked(file: File) -> io::Result<File> {
    if lock(&file)? {
        Ok(file)
    } else {
        Err(io::Error::other("another program writes there"))
    }
}
