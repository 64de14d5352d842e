//! `greffe-admin backup`

use std::time::Duration;

use clap::Args;
use greffe::admin_api::CreateBackupRequest;
use greffe::terminal::error::CommandError;
use greffe::terminal::text::visible;
use serde_json::json;

use crate::cli::ReasonArgs;
use crate::context::{Context, Place};
use crate::output::{bytes, count, done};

/// How long a backup may take. Copying and checking a large one takes minutes.
const LONGEST: Duration = Duration::from_secs(6 * 3600);

/// Back the server up while it runs
///
/// The backup is a data directory, checked when it is made. To restore it, start a server on it with --data-dir: it goes on under a new
/// journal id, and everyone has to log in again. What was banned or revoked since is printed by `greffe-admin since` on the old server.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// A directory on the server's machine that does not exist yet; with --server, a name in `backups/` of its data directory
    #[arg(value_name = "PATH")]
    path: String,
    #[command(flatten)]
    reason: ReasonArgs,
}

/// Makes a backup.
pub(crate) async fn run(args: BackupArgs, context: &Context) -> Result<(), CommandError> {
    let reason = context.reason(&args.reason)?;
    let path = match context.place()? {
        // The server has another working directory.
        Place::Socket(_) => absolute(&args.path)?,
        Place::Network(_) => args.path,
    };
    let request = CreateBackupRequest {
        reason,
        path,
        ..Default::default()
    };
    let answer = context.log_in(LONGEST).await?.call(request).await?;
    done(
        context,
        answer.receipt.as_ref(),
        &format!(
            "made and checked {}: {}, {}",
            visible(&answer.path),
            count(answer.rows, "row"),
            bytes(answer.bytes)
        ),
        json!({"path": answer.path, "rows": answer.rows, "root": answer.root, "bytes": answer.bytes}),
    )
}

fn absolute(path: &str) -> Result<String, CommandError> {
    let unusable = |why: &str| {
        CommandError::usage(
            format!("the path {path:?} cannot be used: {why}"),
            "name another directory",
        )
    };
    let absolute = std::path::absolute(path).map_err(|error| unusable(&error.to_string()))?;
    absolute.into_os_string().into_string().map_err(|_| unusable("it is not UTF-8"))
}
