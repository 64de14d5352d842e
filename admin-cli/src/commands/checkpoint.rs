//! `greffe-admin checkpoint`

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use greffe::api::{RecordKey, Restoration};
use greffe::record_api::{ListKeysRequest, RotateKeyRequest};
use greffe::terminal::error::CommandError;
use greffe::terminal::{checkpoint, local_files, time};
use serde_json::json;

use crate::cli::ReasonArgs;
use crate::context::Context;
use crate::output::done;

/// Print, save and check checkpoints of the record, and replace the key that signs them
///
/// A checkpoint says what the record is: how many rows it has, and a hash of all of them, signed. Only one that is kept where the server, and who
/// has its key, cannot change it proves anything: print it, save it to another machine, give it to somebody.
#[derive(Debug, Args)]
pub(crate) struct CheckpointArgs {
    #[command(subcommand)]
    command: CheckpointCommand,
}

#[derive(Debug, Subcommand)]
enum CheckpointCommand {
    /// Sign a checkpoint and print it, short enough for paper
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
    /// Sign a checkpoint and save it as a file named by its size; nothing is ever overwritten
    Save {
        /// The directory, best on another machine's disk
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// List the keys that signed checkpoints, and restores, oldest first
    Keys,
    /// Sign with a new key from now on; the old one vouches for it, and is deleted
    RotateKey {
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Trust the server's key although the one before does not vouch for it
    AcceptKey,
}

/// Works with checkpoints.
pub(crate) async fn run(args: CheckpointArgs, context: &Context) -> Result<(), CommandError> {
    match args.command {
        CheckpointCommand::Print { note } => {
            let (signed, key) = context.operator().await?.signed_checkpoint().await?;
            checkpoint::print(context.ui, &signed, &key, note)
        }
        CheckpointCommand::Check { file } => {
            let kept = checkpoint::read(&file)?;
            let place = context.place_name()?;
            let compared = context.operator().await?.compare_checkpoint(&kept, &place).await?;
            checkpoint::tell_compared(context.ui, &compared)
        }
        CheckpointCommand::Save { directory } => save(&directory, context).await,
        CheckpointCommand::Keys => keys(context).await,
        CheckpointCommand::RotateKey { reason } => rotate_key(&reason, context).await,
        CheckpointCommand::AcceptKey => {
            let place = context.place_name()?;
            let operator = context.unwatched_operator().await?;
            checkpoint::tell_accepted(context.ui, operator.witness_accepting_key(&place).await)
        }
    }
}

async fn save(directory: &Path, context: &Context) -> Result<(), CommandError> {
    let (signed, _) = context.operator().await?.signed_checkpoint().await?;
    let size: Option<u64> = signed.lines().nth(1).and_then(|size| size.parse().ok());
    let size = size.ok_or_else(|| CommandError::Failed("the server gave no checkpoint".to_owned()))?;
    let path = directory.join(format!("checkpoint-{size:012}"));
    let failed = |error: &io::Error| CommandError::Failed(format!("{} cannot be written: {error}", path.display()));
    let write = || -> io::Result<()> {
        let mut file = local_files::create(&path)?;
        file.write_all(signed.as_bytes())?;
        file.sync_all()?;
        local_files::sync_directory(&path)
    };
    match write() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let there = std::fs::read_to_string(&path).map_err(|error| failed(&error))?;
            // Ed25519 gives the same signature again; another key gives another one.
            if there != signed {
                return Err(CommandError::Failed(format!(
                    "{} is there already and holds something else; it was left as it is",
                    path.display()
                )));
            }
        }
        written => written.map_err(|error| failed(&error))?,
    }
    if context.ui.is_json() {
        let path = path.display().to_string();
        return context.ui.object(&json!({"path": path, "size": size}));
    }
    context.ui.line(&path.display().to_string())
}

async fn keys(context: &Context) -> Result<(), CommandError> {
    let answer = context.operator().await?.call(ListKeysRequest {}).await?;
    if context.ui.is_json() {
        for key in &answer.keys {
            let RecordKey {
                verifier_key,
                succession,
                index,
                ..
            } = key;
            let time = time::json(key.time.as_ref());
            context.ui.object(&json!({
                "key": verifier_key, "succession": succession, "index": index, "time": time,
            }))?;
        }
        return answer.restorations.iter().try_for_each(|restoration| {
            let Restoration {
                previous_journal_id,
                journal_id,
                previous_size,
                reason,
                index,
                ..
            } = restoration;
            context.ui.object(&json!({
                "restored": journal_id, "from": previous_journal_id, "rows": previous_size, "reason": reason, "index": index,
                "time": time::json(restoration.time.as_ref()),
            }))
        });
    }
    let newest = answer.keys.len().saturating_sub(1);
    let rows = answer.keys.iter().enumerate().map(|(at, key)| {
        let vouched = match (at, key.succession.is_empty()) {
            (0, _) => "the first one",
            (_, true) => "nobody: the one before was lost",
            (_, false) => "the one before",
        };
        vec![
            key.index.to_string(),
            time::day_and_time(key.time.as_ref()),
            if at == newest { "signs now" } else { "" }.to_owned(),
            vouched.to_owned(),
            key.verifier_key.clone(),
        ]
    });
    context
        .ui
        .table(&["ROW", "SINCE", "STATE", "VOUCHED FOR BY", "KEY"], rows.collect())?;
    for restoration in &answer.restorations {
        context.ui.note(&format!(
            "restored {} with {} rows, under a new id: {}",
            time::day_and_time(restoration.time.as_ref()),
            restoration.previous_size,
            restoration.reason
        ));
    }
    Ok(())
}

async fn rotate_key(reason: &ReasonArgs, context: &Context) -> Result<(), CommandError> {
    let request = RotateKeyRequest {
        request_id: String::new(),
        reason: context.reason(reason)?,
    };
    if context.asks()? {
        let touched = "Checkpoints are signed with a new key from now on. The old one signs the new one, and is deleted; backups that were made \
                       before have it still.";
        context.confirm(touched, "Make a new key?")?;
    }
    let answer = context.operator().await?.call(request).await?;
    let key = answer.key.map(|key| key.verifier_key).unwrap_or_default();
    let text = format!("checkpoints are signed with {key}");
    done(context, answer.receipt.as_ref(), &text, json!({"key": key}))
}
