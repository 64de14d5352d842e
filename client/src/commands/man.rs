//! `greffe man`

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use greffe::terminal::documents;

use super::context::Context;
use crate::cli::Cli;
use crate::error::CommandError;

/// Print the manual page, or write all of them to a directory
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write a page for each command to this directory
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Prints or writes manual pages.
pub(crate) fn run(args: &ManArgs, context: &Context) -> Result<(), CommandError> {
    documents::manual(Cli::command(), args.directory.as_deref(), context.ui)
}
