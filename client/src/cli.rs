//! The command line. Each command's arguments stand beside the command.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    chat::ChatArgs,
    checkpoint::CheckpointArgs,
    completions::CompletionsArgs,
    export::ExportArgs,
    files::FilesArgs,
    login::LoginArgs,
    man::ManArgs,
    messages::{DeleteArgs, EditArgs, ReactArgs},
    passwd::PasswdArgs,
    read::ReadArgs,
    register::RegisterArgs,
    report::ReportArgs,
    reset_password::ResetPasswordArgs,
    rooms::RoomsArgs,
    search::SearchArgs,
    send::SendArgs,
    sessions::SessionsArgs,
    tail::TailArgs,
    users::UsersArgs,
};

/// Chat on a Greffe server
///
/// ROOM is a room's name or id; @USER is the direct room with that person.
#[derive(Debug, Parser)]
#[command(name = "greffe", version, propagate_version = true, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "Examples:\n  greffe register alice\n  greffe chat\n  greffe send general 'Hello'\n  greffe tail @bob --follow\n  greffe files put report.pdf --to @bob\n\n\
    Exit codes: 0 done, 1 refused or failed, 2 usage, 3 unreachable, 4 not found, 5 not logged in or not allowed, 6 unreadable input";

/// What holds for every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Talk to this server: http://HOST:PORT, or https://HOST:PORT for TLS [default: that of the last login, or port 52020 of this machine]
    #[arg(long, value_name = "URL", env = "GREFFE_SERVER", global = true)]
    pub(crate) server: Option<String>,
    /// Act as this user, one of several who are logged in on this machine [default: the last who logged in]
    #[arg(long = "as", value_name = "USER", global = true)]
    pub(crate) acting_as: Option<String>,
    /// Take the token from this file; the environment variable `GREFFE_TOKEN` works too
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) token_file: Option<PathBuf>,
    /// Trust servers whose certificate the authorities in this PEM file have signed, instead of the certificate seen first
    #[arg(long, value_name = "FILE", env = "GREFFE_CA", global = true)]
    pub(crate) ca: Option<PathBuf>,
    /// Print JSON, one object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print without colours, as `NO_COLOR` does
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    /// Print each call as a grpcurl line on stderr before making it
    #[arg(long, global = true)]
    pub(crate) show_rpc: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make an account and log in
    Register(RegisterArgs),
    /// Log in
    Login(LoginArgs),
    /// Log out and forget the token
    Logout,
    /// Show who is logged in
    Whoami,
    Passwd(PasswdArgs),
    ResetPassword(ResetPasswordArgs),
    /// List the sessions of the account, or end one
    Sessions(SessionsArgs),
    Chat(ChatArgs),
    /// Send a message
    Send(SendArgs),
    /// Show what happened in a room
    Tail(TailArgs),
    /// Replace the text of a message of yours
    Edit(EditArgs),
    /// Delete a message
    Delete(DeleteArgs),
    /// React to a message
    React(ReactArgs),
    Report(ReportArgs),
    Files(FilesArgs),
    /// List rooms, and manage them
    Rooms(RoomsArgs),
    /// List users
    Users(UsersArgs),
    Search(SearchArgs),
    /// Mark a room as read
    Read(ReadArgs),
    Export(ExportArgs),
    /// Print the checkpoint of the server's record, or check one that you kept
    Checkpoint(CheckpointArgs),
    Completions(CompletionsArgs),
    /// Print the manual page, or write all of them to a directory
    Man(ManArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
