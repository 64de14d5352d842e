//! `greffe passwd`

use clap::Args;
use serde_json::json;

use super::context::Context;
use super::password;
use crate::error::CommandError;

/// Change the password
///
/// All other sessions of the account end; this one goes on.
#[derive(Debug, Args)]
pub(crate) struct PasswdArgs {
    /// Read the current and the new password from the first two lines of standard input
    #[arg(long)]
    password_stdin: bool,
}

/// Changes the password.
pub(crate) async fn run(args: PasswdArgs, context: &Context) -> Result<(), CommandError> {
    let client = context.client().await?;
    let (current, new) = if args.password_stdin {
        let mut lines = password::from_stdin(2)?;
        let new = lines.remove(1);
        (lines.remove(0), new)
    } else {
        (
            password::ask("Current password: ")?,
            password::ask_new("New password: ")?,
        )
    };
    let ended = client.change_password(&current, &new).await?;
    if context.ui.is_json() {
        return context.ui.object(&json!({"sessions_ended": ended}));
    }
    context
        .ui
        .note(&format!("the password is changed; other sessions that ended: {ended}"));
    Ok(())
}
