//! The commands, one file each, and what they share: the connection, the login, and names for what they are told.

pub(crate) mod chat;
pub(crate) mod checkpoint;
pub(crate) mod completions;
pub(crate) mod context;
pub(crate) mod ending;
pub(crate) mod export;
pub(crate) mod files;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod man;
pub(crate) mod messages;
pub(crate) mod passwd;
pub(crate) mod read;
pub(crate) mod register;
pub(crate) mod render;
pub(crate) mod report;
pub(crate) mod reset_password;
pub(crate) mod rooms;
pub(crate) mod search;
pub(crate) mod send;
pub(crate) mod sessions;
pub(crate) mod tail;
pub(crate) mod target;
pub(crate) mod users;
pub(crate) mod whoami;

pub(crate) use greffe::terminal::{password, show_rpc, stdin};

use crate::cli::Command;
use crate::error::CommandError;
use context::Context;

/// Runs a command to its end.
pub(crate) async fn run(command: Command, context: &Context) -> Result<(), CommandError> {
    match command {
        Command::Register(args) => register::run(args, context).await,
        Command::Login(args) => login::run(args, context).await,
        Command::Logout => logout::run(context).await,
        Command::Whoami => whoami::run(context).await,
        Command::Passwd(args) => passwd::run(args, context).await,
        Command::ResetPassword(args) => reset_password::run(args, context).await,
        Command::Sessions(args) => sessions::run(args, context).await,
        Command::Chat(args) => chat::run(args, context).await,
        Command::Send(args) => send::run(args, context).await,
        Command::Tail(args) => tail::run(args, context).await,
        Command::Edit(args) => messages::edit(args, context).await,
        Command::Delete(args) => messages::delete(args, context).await,
        Command::React(args) => messages::react(args, context).await,
        Command::Report(args) => report::run(args, context).await,
        Command::Files(args) => files::run(args, context).await,
        Command::Rooms(args) => rooms::run(args, context).await,
        Command::Users(args) => users::run(args, context).await,
        Command::Search(args) => search::run(args, context).await,
        Command::Read(args) => read::run(args, context).await,
        Command::Export(args) => export::run(args, context).await,
        Command::Checkpoint(args) => checkpoint::run(args, context).await,
        Command::Completions(args) => completions::run(&args, context),
        Command::Man(args) => man::run(&args, context),
    }
}
