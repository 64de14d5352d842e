//! The command line. Each command's arguments stand beside the command.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    alert::AlertArgs,
    backup::BackupArgs,
    ban::{BanArgs, UnbanArgs},
    case::CaseArgs,
    checkpoint::CheckpointArgs,
    completions::CompletionsArgs,
    drain::DrainArgs,
    erase::EraseArgs,
    erasures::ErasuresArgs,
    export::ExportArgs,
    files::FilesArgs,
    hold::HoldArgs,
    invitations::InvitationsArgs,
    kick::KickArgs,
    log::LogArgs,
    login::LoginArgs,
    man::ManArgs,
    message::MessageArgs,
    notice::NoticeArgs,
    reports::ReportsArgs,
    retention::RetentionArgs,
    rooms::RoomsArgs,
    sessions::SessionsArgs,
    since::SinceArgs,
    stop::StopArgs,
    users::UsersArgs,
    verify::VerifyArgs,
};
use crate::span::{self, SpanError};

/// Run a Greffe server: see what it does, alert, message, kick, ban, stop, back up
///
/// Talks to the server on this machine through its socket, which only the user whom the server runs as can open; or, with --server, to the
/// operators' port of another one, after `greffe-admin login`. Everything that changes something, or reads what people wrote, takes a
/// reason, and leaves a row in the server's journal: who, what, when and why. Without a command, on a terminal, there is a prompt.
#[derive(Debug, Parser)]
#[command(name = "greffe-admin", version, propagate_version = true, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

const AFTER_HELP: &str = "Examples:\n  greffe-admin --data-dir /var/lib/greffe status\n  greffe-admin alert 'Back in five minutes' --reason 'update'\n  \
    greffe-admin kick bob --reason 'insults in general'\n  greffe-admin ban 203.0.113.0/24 --for 7d --reason 'spam'\n  \
    greffe-admin log audit --since 2h --json\n\n\
    SPAN is a sum of weeks, days, hours, minutes and seconds: 90s, 5m, 1h30m, 7d, 3w\n\n\
    Exit codes: 0 done, 1 refused or failed, 2 usage, 3 unreachable, 4 not found, 5 not logged in or not allowed, 6 unreadable input";

/// What holds for every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
#[expect(clippy::struct_excessive_bools, reason = "they are the flags of a command line")]
pub(crate) struct GlobalArgs {
    /// The server's socket [default: admin.sock in the data directory]
    #[arg(
        long,
        value_name = "PATH",
        env = "GREFFE_ADMIN_SOCKET",
        hide_env_values = true,
        global = true
    )]
    pub(crate) socket: Option<PathBuf>,
    /// The server's data directory, to find its socket
    #[arg(
        long,
        value_name = "DIR",
        env = "GREFFE_DATA_DIR",
        hide_env_values = true,
        default_value = "./greffe-data",
        global = true
    )]
    pub(crate) data_dir: PathBuf,
    /// Talk to the operators' port of another machine instead: https://HOST:PORT
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) server: Option<String>,
    /// With --server: trust it if the authorities in this PEM file have signed its certificate, instead of trusting the certificate seen first
    #[arg(long, value_name = "FILE", env = "GREFFE_CA", hide_env_values = true, global = true)]
    pub(crate) ca: Option<PathBuf>,
    /// With --server: take the token from this file; the environment variable `GREFFE_ADMIN_TOKEN` works too
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) token_file: Option<PathBuf>,
    /// Do what destroys something without asking first
    #[arg(long, short = 'y', global = true)]
    pub(crate) yes: bool,
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

/// Why something is done.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ReasonArgs {
    /// Why: 1 to 256 characters. It stands in the journal [default: asked for on a terminal]
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what the server is doing
    Status,
    /// Watch sessions and rates, live
    Top,
    Alert(AlertArgs),
    Message(MessageArgs),
    Kick(KickArgs),
    Ban(BanArgs),
    /// Lift a ban
    Unban(UnbanArgs),
    /// List the bans in force
    Bans,
    /// List users, and manage them
    Users(UsersArgs),
    /// List invitations, and manage them
    Invitations(InvitationsArgs),
    Sessions(SessionsArgs),
    /// List rooms, or archive one
    Rooms(RoomsArgs),
    /// List files, see what they take, withhold one, give it back, or take it away
    Files(FilesArgs),
    /// List what members reported, read and resolve it
    Reports(ReportsArgs),
    Notice(NoticeArgs),
    Drain(DrainArgs),
    Stop(StopArgs),
    Backup(BackupArgs),
    Log(LogArgs),
    Case(CaseArgs),
    Export(ExportArgs),
    Verify(VerifyArgs),
    Hold(HoldArgs),
    Erase(EraseArgs),
    Erasures(ErasuresArgs),
    Retention(RetentionArgs),
    Checkpoint(CheckpointArgs),
    Since(SinceArgs),
    Login(LoginArgs),
    /// Log out there and forget the token
    Logout,
    /// Show who acts, and with which roles
    Whoami,
    Completions(CompletionsArgs),
    /// Print the manual page, or write all of them to a directory
    Man(ManArgs),
}

/// A span of time, as an argument.
pub(crate) fn parse_span(text: &str) -> Result<Duration, SpanError> {
    span::parse(text)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
