//! The way in, for somebody who has no account on this machine yet.

use std::io::{self, Write as _};

use greffe::Client;

use crate::commands::context::{Context, user_name};
use crate::commands::{login, register};
use crate::error::{CommandError, Exit};

/// Says why, and offers to log in or to sign up; returns the client that is logged in.
pub(crate) async fn run(context: &Context, client: &Client, why: &str) -> Result<Client, CommandError> {
    let server = client.address();
    context.ui.note(&format!("{why} The server is {server}."));
    loop {
        let token = match ask("[l]og in, [s]ign up or [q]uit? ")?.to_lowercase().as_str() {
            "l" | "log in" | "login" => {
                let user = user_name(&ask("User name: ")?);
                login::log_in(context, client, &user, None).await.map(|answer| answer.token)
            }
            "s" | "sign up" | "signup" => {
                let user = user_name(&ask("User name to take (2 to 32 of a-z, 0-9, . _ -): ")?);
                register::sign_up(context, client, &user, "", "", None)
                    .await
                    .map(|answer| answer.token)
            }
            "q" | "quit" => {
                return Err(CommandError::NotLoggedIn {
                    server: server.to_string(),
                    user: None,
                });
            }
            _ => {
                context.ui.note("Please answer l, s or q.");
                continue;
            }
        };
        match token {
            Ok(token) => return Ok(client.with_token(&token)?),
            // A name that is taken, a password that is wrong or mistyped: one tries again.
            Err(error @ (CommandError::Server(_) | CommandError::Failed(_))) if error.exit() != Exit::Unreachable => {
                context.ui.fail(&error);
            }
            Err(error) => return Err(error),
        }
    }
}

fn ask(question: &str) -> Result<String, CommandError> {
    let unreadable = |why: String| CommandError::Unreadable {
        what: "the answer".to_owned(),
        why,
    };
    write!(io::stderr(), "{question}").map_err(|error| unreadable(error.to_string()))?;
    let mut answer = String::new();
    match io::stdin().read_line(&mut answer) {
        Ok(0) => Err(unreadable("there is none".to_owned())),
        Ok(_) => Ok(answer.trim().to_owned()),
        Err(error) => Err(unreadable(error.to_string())),
    }
}
