//! `greffe-admin`, the operator's tool.

mod cli;
mod commands;
mod context;
mod hints;
mod moment;
mod output;
mod prompt;
mod span;
mod subject;
mod target;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use greffe::terminal::error::{CommandError, Exit};
use greffe::terminal::ui::Ui;

use crate::cli::Cli;
use crate::context::Context;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ui = Ui::new(cli.global.json, cli.global.no_color, hints::hint);
    if cli.command.is_none() && !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        ui.note(&Cli::command().render_help().to_string());
        return ui
            .fail(&CommandError::usage(
                "there is no command",
                "name one; without a command there is a prompt, which needs a terminal",
            ))
            .into();
    }
    let exit = match run(cli, ui) {
        Ok(exit) => exit,
        Err(error) => ui.fail(&error),
    };
    exit.into()
}

fn run(cli: Cli, ui: Ui) -> Result<Exit, CommandError> {
    // Everything names its provider; this is for what might not.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CommandError::Failed(format!("the program cannot start its threads: {error}")))?;
    let context = Context::new(cli.global, ui)?;
    let (result, in_order) = runtime.block_on(async {
        let result = match cli.command {
            Some(command) => commands::run(command, &context).await,
            None => prompt::run(&context).await,
        };
        (result, context.watch.end().await)
    });
    // A thread that waits for a terminal must not keep the program alive.
    runtime.shutdown_background();
    result.map(|()| if in_order { Exit::Done } else { Exit::Failed })
}
