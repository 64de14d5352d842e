//! `greffe-admin top`

#[cfg(unix)]
mod live;
#[cfg(unix)]
mod screen;
#[cfg(unix)]
mod view;

use std::io::{self, IsTerminal as _};

use greffe::terminal::error::CommandError;

use crate::context::Context;

/// Shows sessions and rates until q or Ctrl-C.
pub(crate) async fn run(context: &Context) -> Result<(), CommandError> {
    if context.ui.is_json() || !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        return Err(CommandError::usage(
            "a live view needs a terminal",
            "for programs there are `greffe-admin status --json` and `greffe-admin sessions --live --json`",
        ));
    }
    watch(context).await
}

#[cfg(not(unix))]
async fn watch(_: &Context) -> Result<(), CommandError> {
    Err(CommandError::Failed(
        "this system's terminal cannot show a live view; use `greffe-admin status` and `greffe-admin sessions`"
            .to_owned(),
    ))
}

#[cfg(unix)]
use live::watch;
