//! `greffe register`

use clap::Args;
use greffe::Client;
use greffe::api::{RegisterResponse, RegistrationPolicy};
use serde_json::json;

use super::context::{Context, user_name};
use super::password;
use crate::error::CommandError;
use crate::time;

/// Make an account and log in
#[derive(Debug, Args)]
pub(crate) struct RegisterArgs {
    /// The name to take: 2 to 32 of a-z, 0-9, `.`, `_` and `-`
    #[arg(value_name = "USER")]
    user: String,
    /// Show this name beside the user name
    #[arg(long, value_name = "NAME", default_value = "")]
    display_name: String,
    /// The operator's invitation code, where one is needed
    #[arg(
        long,
        value_name = "CODE",
        env = "GREFFE_INVITATION",
        hide_env_values = true,
        default_value = ""
    )]
    invitation: String,
    /// Read the password from the first line of standard input
    #[arg(long)]
    password_stdin: bool,
}

/// Makes an account and logs in.
pub(crate) async fn run(args: RegisterArgs, context: &Context) -> Result<(), CommandError> {
    let client = context.connect().await?;
    let given = if args.password_stdin {
        Some(password::from_stdin(1)?.remove(0))
    } else {
        None
    };
    let user = user_name(&args.user);
    let answer = sign_up(context, &client, &user, &args.display_name, &args.invitation, given).await?;
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

/// Tells what the operator has to say, makes an account with a password that is asked for unless it is given, and keeps the token.
pub(crate) async fn sign_up(
    context: &Context,
    client: &Client,
    user: &str,
    display_name: &str,
    invitation: &str,
    given: Option<String>,
) -> Result<RegisterResponse, CommandError> {
    let info = client.server_info().await?;
    for notice in [&info.notice, &info.recording_notice] {
        if !notice.is_empty() {
            context.ui.note(notice);
        }
    }
    // Said before a password is typed for nothing.
    if info.registration_policy() == RegistrationPolicy::Closed {
        return Err(CommandError::NotAllowed(
            "nobody can sign up here by themselves; ask the operator for an account".to_owned(),
        ));
    }
    let password = if let Some(password) = given {
        password
    } else {
        let least = info.limits.as_ref().map_or(0, |limits| limits.password_min);
        password::ask_new(&format!(
            "Password for {user} (at least {least} characters, 15 are better): "
        ))?
    };
    let answer = client.register(user, &password, display_name, invitation).await?;
    let name = answer.user.as_ref().map_or(user, |user| user.name.as_str());
    context.config.save_login(client.address(), name, &answer.token)?;
    context
        .ui
        .note(&format!("registered and logged in to {} as {name}", client.address()));
    Ok(answer)
}
