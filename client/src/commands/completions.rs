//! `greffe completions`

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use greffe::terminal::documents;

use super::context::Context;
use crate::cli::Cli;
use crate::error::CommandError;

/// Print a completion script for a shell
///
/// For bash: greffe completions bash > ~/.local/share/bash-completion/completions/greffe
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(args: &CompletionsArgs, context: &Context) -> Result<(), CommandError> {
    documents::completions(Cli::command(), args.shell, context.ui)
}
