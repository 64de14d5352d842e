//! What one durable write costs on a disk: the least that a durable send can take.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use hdrhistogram::Histogram;

use crate::latency::histogram;

/// Bytes of a write: a page.
const PAGE: usize = 4096;
/// Writes that are measured.
const WRITES: usize = 300;

/// Appends pages to a new file in `directory`, each synced before the next, and returns how many nanoseconds that takes.
pub(crate) fn sync_times(directory: &Path) -> anyhow::Result<Histogram<u64>> {
    let problem = || format!("nothing can be written in {}", directory.display());
    let path = directory.join("sync-probe");
    let mut file = File::create_new(&path).with_context(problem)?;
    let mut times = histogram();
    for _ in 0..WRITES {
        let begin = Instant::now();
        file.write_all(&[0x5A; PAGE]).with_context(problem)?;
        file.sync_data().with_context(problem)?;
        times.saturating_record(u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    std::fs::remove_file(&path).with_context(problem)?;
    Ok(times)
}
