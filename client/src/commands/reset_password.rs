//! `greffe reset-password`

use clap::Args;
use serde_json::json;

use super::context::{Context, user_name};
use super::password;
use crate::error::CommandError;
use crate::time;

/// Set a new password with the operator's one-time code, and log in
///
/// It is also how an account that the operator made gets its first password. All other sessions of the account end.
#[derive(Debug, Args)]
pub(crate) struct ResetPasswordArgs {
    /// The user name
    #[arg(value_name = "USER")]
    user: String,
    /// Read the code and the new password from the first two lines of standard input
    #[arg(long)]
    password_stdin: bool,
}

/// Sets a new password, and keeps the token of the new session.
pub(crate) async fn run(args: ResetPasswordArgs, context: &Context) -> Result<(), CommandError> {
    let client = context.connect().await?;
    let user = user_name(&args.user);
    let (code, new) = if args.password_stdin {
        let mut lines = password::from_stdin(2)?;
        let new = lines.remove(1);
        (lines.remove(0), new)
    } else {
        let least = client
            .server_info()
            .await?
            .limits
            .as_ref()
            .map_or(0, |limits| limits.password_min);
        (
            password::ask(&format!("One-time code for {user}: "))?,
            password::ask_new(&format!("New password (at least {least} characters, 15 are better): "))?,
        )
    };
    let answer = client.reset_password(&user, code.trim(), &new).await?;
    let name = answer.user.as_ref().map_or(user.as_str(), |user| user.name.as_str());
    context.config.save_login(client.address(), name, &answer.token)?;
    context.ui.note(&format!(
        "the password is set; logged in to {} as {name}",
        client.address()
    ));
    if context.ui.is_json() {
        return context.ui.object(&json!({
            "user": name,
            "user_id": answer.user.as_ref().map(|user| &user.id),
            "session_id": answer.session_id,
            "expires_at": time::json(answer.expires_at.as_ref()),
            "server": client.address().to_string(),
        }));
    }
    Ok(())
}
