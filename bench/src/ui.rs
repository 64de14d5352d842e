//! Tables go to standard output, everything else to standard error.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write as _};

use anyhow::Context as _;

/// Prints a table.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        // Who read it has enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("standard output cannot be written"),
    }
}

/// Tells how it goes.
pub(crate) fn note(text: Arguments<'_>) {
    // There is nowhere else to say that this failed.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
