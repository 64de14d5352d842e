//! Times in histograms.

use hdrhistogram::Histogram;

/// An empty histogram for nanoseconds: from 1 µs to 2 minutes, to three digits. What is beyond counts as what is nearest.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 120_000_000_000, 3).expect("the bounds make sense")
}
