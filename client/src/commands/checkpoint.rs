//! `greffe checkpoint`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use greffe::terminal::checkpoint;

use super::context::Context;
use crate::error::CommandError;

/// Print the server's checkpoint, or check one that you kept
///
/// A checkpoint says what the server's record is: how many rows it has, and a hash of all of them, signed. Keep some where nobody else can change
/// them, on paper or on another machine. Whoever has one can tell for ever whether anything in the record before it was changed.
#[derive(Debug, Args)]
pub(crate) struct CheckpointArgs {
    #[command(subcommand)]
    command: CheckpointCommand,
}

#[derive(Debug, Subcommand)]
enum CheckpointCommand {
    /// Print the newest checkpoint, short enough for paper
    Print {
        /// Print it as it is signed
        #[arg(long)]
        note: bool,
    },
    /// Check whether the record goes on from a checkpoint that was kept: printed and typed again, or as it is signed
    Check {
        /// The file with the checkpoint; - is standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Trust the server's key although the one before does not vouch for it: ask the operator first
    AcceptKey,
}

/// Works with checkpoints.
pub(crate) async fn run(args: CheckpointArgs, context: &Context) -> Result<(), CommandError> {
    match args.command {
        CheckpointCommand::Print { note } => {
            let (signed, key) = context.client().await?.signed_checkpoint().await?;
            checkpoint::print(context.ui, &signed, &key, note)
        }
        CheckpointCommand::Check { file } => {
            let kept = checkpoint::read(&file)?;
            let compared = context.client().await?.compare_checkpoint(&kept).await?;
            checkpoint::tell_compared(context.ui, &compared)
        }
        CheckpointCommand::AcceptKey => {
            let client = context.unwatched_client().await?;
            checkpoint::tell_accepted(context.ui, client.witness_accepting_key().await)
        }
    }
}
