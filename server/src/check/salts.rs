//! Whether each salt is one row's alone, of however many rows, with little memory: what does not fit is sorted into runs in a temporary file, and
//! merged in the end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::sync::Arc;

use crate::domain::ids::{hex, random};

/// Salts in memory: 24 MiB.
const HELD: usize = 1 << 20;
/// Bytes of a salt.
const SALT: usize = 16;
/// Bytes of a salt and the number of its row.
const ENTRY: usize = SALT + 8;
/// Bytes that are read of a run at a time.
const READ: usize = 16 * 1024;

type Entry = ([u8; SALT], i64);

/// The salts of rows.
pub(super) struct Salts {
    held: Vec<Entry>,
    most: usize,
    /// Where salts are that did not fit, and how many.
    file: Option<Arc<File>>,
    runs: Vec<usize>,
}

impl Default for Salts {
    fn default() -> Self {
        Self::holding(HELD)
    }
}

impl Salts {
    /// With so many in memory.
    fn holding(most: usize) -> Self {
        Self {
            held: Vec::new(),
            most,
            file: None,
            runs: Vec::new(),
        }
    }

    /// Takes in a row's salt.
    ///
    /// # Errors
    /// There is no room in the directory for temporary files.
    pub(super) fn take(&mut self, salt: [u8; SALT], index: i64) -> io::Result<()> {
        if self.held.len() == self.most {
            self.spill()?;
        }
        self.held.push((salt, index));
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        self.held.sort_unstable();
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => Arc::clone(self.file.insert(Arc::new(temporary()?))),
        };
        let mut writer = BufWriter::new(&*file);
        writer.seek(SeekFrom::End(0))?;
        for (salt, index) in &self.held {
            writer.write_all(salt)?;
            writer.write_all(&index.to_be_bytes())?;
        }
        writer.flush()?;
        self.runs.push(self.held.len());
        self.held.clear();
        Ok(())
    }

    /// The first row, if any, whose salt is that of an earlier one.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    pub(super) fn repeated(mut self) -> io::Result<Option<i64>> {
        self.held.sort_unstable();
        let mut runs: Vec<Run> = Vec::new();
        let mut begin = 0;
        for entries in &self.runs {
            let end = begin + (entries * ENTRY) as u64;
            runs.extend(self.file.clone().map(|file| Run::stored(file, begin, end)));
            begin = end;
        }
        runs.push(Run::Held(self.held.into_iter()));
        let mut next = BinaryHeap::new();
        for (number, run) in runs.iter_mut().enumerate() {
            next.extend(run.next()?.map(|entry| Reverse((entry, number))));
        }
        let (mut before, mut found): (Option<Entry>, Option<i64>) = (None, None);
        while let Some(Reverse((entry, number))) = next.pop() {
            if before.is_some_and(|before| before.0 == entry.0) {
                found = Some(found.map_or(entry.1, |found| found.min(entry.1)));
            }
            before = Some(entry);
            next.extend(runs[number].next()?.map(|entry| Reverse((entry, number))));
        }
        Ok(found)
    }
}

/// Salts in their order.
enum Run {
    Held(std::vec::IntoIter<Entry>),
    Stored(Box<BufReader<Part>>),
}

impl Run {
    fn stored(file: Arc<File>, begin: u64, end: u64) -> Self {
        Self::Stored(Box::new(BufReader::with_capacity(READ, Part { file, at: begin, end })))
    }

    fn next(&mut self) -> io::Result<Option<Entry>> {
        let reader = match self {
            Self::Held(held) => return Ok(held.next()),
            Self::Stored(reader) => reader,
        };
        let mut bytes = [0; ENTRY];
        match reader.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let (mut salt, mut index) = ([0; SALT], [0; 8]);
        salt.copy_from_slice(&bytes[..SALT]);
        index.copy_from_slice(&bytes[SALT..]);
        Ok(Some((salt, i64::from_be_bytes(index))))
    }
}

/// A part of a file.
struct Part {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl io::Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..left], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// A file that nobody else sees, and that is gone when it is closed.
fn temporary() -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("greffe-check-{}", hex(&random::<16>())));
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_salt_that_was_there_before_is_found(salts in proptest::collection::vec(0..40_u8, 0..60), most in 1..20_usize) {
            let mut seen = std::collections::HashSet::new();
            let want = salts.iter().position(|salt| !seen.insert(*salt));
            let mut all = Salts::holding(most);
            for (index, salt) in (0..).zip(&salts) {
                all.take([*salt; SALT], index).unwrap();
            }
            let found = all.repeated().unwrap();
            prop_assert_eq!(found.map(|index| usize::try_from(index).unwrap()), want);
        }
    }
}
