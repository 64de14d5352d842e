//! `greffe-admin login`

use clap::Args;
use greffe::admin_api::LogInRequest;
use greffe::terminal::error::CommandError;
use greffe::terminal::{password, time};
use serde_json::json;

use crate::context::{CALL_TIMEOUT, Context, Place};
use crate::output::role_names;
use crate::target;

/// Log in at the operators' port of another machine
///
/// Needs --server, and an account with the role operator or investigator. The session is good there and nowhere else, and ends after 12
/// hours, or 30 minutes without use.
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// The user name
    #[arg(value_name = "USER")]
    user: String,
    /// Read the password from the first line of standard input
    #[arg(long)]
    password_stdin: bool,
}

/// Logs in and keeps the token.
pub(crate) async fn run(args: LoginArgs, context: &Context) -> Result<(), CommandError> {
    let Place::Network(address) = context.place()? else {
        return Err(CommandError::usage(
            "over the server's socket nobody logs in: being able to open it is enough",
            "for another machine, add --server https://HOST:PORT",
        ));
    };
    let operator = context.connect(CALL_TIMEOUT).await?;
    let user = target::user(&args.user);
    let password = if args.password_stdin {
        password::from_stdin(1)?.remove(0)
    } else {
        password::ask(&format!("Password for {user}: "))?
    };
    let request = LogInRequest {
        user_name: user.clone(),
        password,
        client: operator.label(),
    };
    let answer = operator.call(request).await?;
    context.config.save_login(&address, &user, &answer.token)?;
    let roles = role_names(&answer.roles);
    if context.ui.is_json() {
        return context.ui.object(&json!({
            "user": user,
            "session_id": answer.session_id,
            "expires_at": time::json(answer.expires_at.as_ref()),
            "roles": roles,
            "server": address.to_string(),
        }));
    }
    context
        .ui
        .note(&format!("logged in to {address} as {user} ({})", roles.join(", ")));
    Ok(())
}
