//! `greffe chat`

mod act;
mod completion;
mod console;
mod gate;
mod look;
mod record;
mod session;
mod sign_in;
mod state;
mod terminal;
mod words;

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use clap::Args;
use greffe::api::ErrorReason;

use super::context::Context;
use crate::error::CommandError;
use console::Console;
use session::Session;
use terminal::Terminal;

/// How long a command is tried while the server is unreachable: somebody waits, and the link tells how it fares.
const PATIENCE: Duration = Duration::from_secs(10);

/// Chat, live
///
/// On a terminal: a prompt, with what others say above it; /help lists what can be typed. Otherwise each line of standard input is a
/// message or a command, and what happens is printed as plain lines, or as objects with --json.
#[derive(Debug, Args)]
pub(crate) struct ChatArgs {
    /// Where to begin: a room's name or id, or @USER
    #[arg(value_name = "ROOM|@USER", default_value = "general")]
    room: String,
}

/// Chats.
pub(crate) async fn run(args: ChatArgs, context: &Context) -> Result<(), CommandError> {
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let may_sign_in = is_terminal && context.global.acting_as.is_none();
    let mut client = context.connect_patiently(PATIENCE).await?;
    client = match context.token()? {
        Some(token) => client.with_token(&token)?,
        None if may_sign_in => sign_in::run(context, &client, "You are not logged in yet.").await?,
        None => return Err(context.not_logged_in()),
    };
    match client.me().await {
        Err(error) if error.is(ErrorReason::SessionEnded) && may_sign_in => {
            client = sign_in::run(context, &client, "Your session has ended.").await?;
        }
        Err(error) if error.is(ErrorReason::Kicked) && may_sign_in => {
            client = sign_in::run(context, &client, &format!("Your session has ended: {error}.")).await?;
        }
        Err(error) => return Err(error.into()),
        Ok(_) => {}
    }
    let ui = context.ui;
    let terminal = if is_terminal && !ui.is_json() {
        Terminal::open(context.config.history()?, ui.has_color())
            .inspect_err(|error| ui.note(&format!("{error}; lines are shown as they come")))
            .ok()
    } else {
        None
    };
    let console = match terminal {
        Some(terminal) => Console::terminal(ui, terminal),
        None => Console::pipe(ui),
    };
    Session::new(client, console, context.config.clone())
        .await?
        .run(&args.room)
        .await
}
