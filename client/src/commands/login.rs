//! `greffe login`

use std::time::Duration;

use clap::Args;
use greffe::Client;
use greffe::api::LogInResponse;
use serde_json::json;

use super::context::{Context, user_name};
use super::password;
use crate::error::CommandError;
use crate::time;

/// Log in
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// The user name
    #[arg(value_name = "USER")]
    user: String,
    /// Read the password from the first line of standard input
    #[arg(long)]
    password_stdin: bool,
}

/// Logs in.
pub(crate) async fn run(args: LoginArgs, context: &Context) -> Result<(), CommandError> {
    let client = context.connect().await?;
    let given = if args.password_stdin {
        Some(password::from_stdin(1)?.remove(0))
    } else {
        None
    };
    let answer = log_in(context, &client, &user_name(&args.user), given).await?;
    if context.ui.is_json() {
        return context.ui.object(&json!({
            "user": answer.user.as_ref().map(|user| &user.name),
            "user_id": answer.user.as_ref().map(|user| &user.id),
            "session_id": answer.session_id,
            "expires_at": time::json(answer.expires_at.as_ref()),
            "server": client.address().to_string(),
        }));
    }
    Ok(())
}

/// Logs in, with a password that is asked for unless it is given, and keeps the token.
pub(crate) async fn log_in(
    context: &Context,
    client: &Client,
    user: &str,
    given: Option<String>,
) -> Result<LogInResponse, CommandError> {
    // Whoever is here for the first time is told that conversations are recorded.
    if context.config.token(client.address(), user)?.is_none() {
        let info = client.server_info().await?;
        if !info.recording_notice.is_empty() {
            context.ui.note(&info.recording_notice);
        }
    }
    let password = match given {
        Some(password) => password,
        None => password::ask(&format!("Password for {user}: "))?,
    };
    let answer = client.log_in(user, &password).await?;
    let name = answer.user.as_ref().map_or(user, |user| user.name.as_str());
    context.config.save_login(client.address(), name, &answer.token)?;
    context.look_at_record(&client.with_token(&answer.token)?, Duration::ZERO);
    context.ui.note(&format!("logged in to {} as {name}", client.address()));
    Ok(answer)
}
