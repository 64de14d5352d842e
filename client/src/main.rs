//! `greffe`, the member's client.

mod cli;
mod commands;
mod error;

use std::process::ExitCode;

use clap::Parser as _;
use greffe::terminal::{config, progress, text, time, ui};

use crate::cli::Cli;
use crate::commands::context::Context;
use crate::error::{CommandError, Exit};
use crate::ui::Ui;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ui = Ui::new(cli.global.json, cli.global.no_color, error::hint);
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
        let result = commands::run(cli.command, &context).await;
        (result, context.watch.end().await)
    });
    // A thread that waits for a terminal or a pipe must not keep the program alive.
    runtime.shutdown_background();
    result.map(|()| if in_order { Exit::Done } else { Exit::Failed })
}
