//! `greffe man`

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};

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
pub(crate) fn run(args: ManArgs, context: &Context) -> Result<(), CommandError> {
    let Some(directory) = args.directory else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command())
            .render(&mut page)
            .map_err(|error| CommandError::Failed(format!("the page cannot be made: {error}")))?;
        return context.ui.bytes(&page);
    };
    std::fs::create_dir_all(&directory)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), &directory))
        .map_err(|error| {
            CommandError::Failed(format!(
                "the pages cannot be written to {}: {error}",
                directory.display()
            ))
        })?;
    context.ui.note(&format!("the manual pages are in {}", directory.display()));
    Ok(())
}
