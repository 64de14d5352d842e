//! The commands, one file each, and what they show before they destroy something.

pub(crate) mod alert;
pub(crate) mod backup;
pub(crate) mod ban;
pub(crate) mod bans;
pub(crate) mod case;
pub(crate) mod checkpoint;
pub(crate) mod completions;
pub(crate) mod drain;
pub(crate) mod erase;
pub(crate) mod erasures;
pub(crate) mod export;
pub(crate) mod files;
pub(crate) mod hold;
pub(crate) mod invitations;
pub(crate) mod kick;
pub(crate) mod log;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod man;
pub(crate) mod message;
pub(crate) mod notice;
pub(crate) mod preview;
pub(crate) mod reports;
pub(crate) mod retention;
pub(crate) mod rooms;
pub(crate) mod sessions;
pub(crate) mod since;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod subjects;
pub(crate) mod top;
pub(crate) mod users;
pub(crate) mod verify;
pub(crate) mod whoami;

use greffe::terminal::error::CommandError;

use crate::cli::Command;
use crate::context::Context;

/// Asks for pages as long as the server gives them.
pub(crate) const PAGE: i32 = 500;

/// Runs a command to its end.
pub(crate) async fn run(command: Command, context: &Context) -> Result<(), CommandError> {
    match command {
        Command::Status => status::run(context).await,
        Command::Top => top::run(context).await,
        Command::Alert(args) => alert::run(args, context).await,
        Command::Message(args) => message::run(args, context).await,
        Command::Kick(args) => kick::run(args, context).await,
        Command::Ban(args) => ban::ban(args, context).await,
        Command::Unban(args) => ban::unban(args, context).await,
        Command::Bans => bans::run(context).await,
        Command::Users(args) => users::run(args, context).await,
        Command::Invitations(args) => invitations::run(args, context).await,
        Command::Sessions(args) => sessions::run(args, context).await,
        Command::Rooms(args) => rooms::run(args, context).await,
        Command::Files(args) => files::run(args, context).await,
        Command::Reports(args) => reports::run(args, context).await,
        Command::Notice(args) => notice::run(args, context).await,
        Command::Drain(args) => drain::run(args, context).await,
        Command::Stop(args) => stop::run(args, context).await,
        Command::Backup(args) => backup::run(args, context).await,
        Command::Log(args) => log::run(args, context).await,
        Command::Case(args) => case::run(args, context).await,
        Command::Export(args) => export::run(args, context).await,
        Command::Verify(args) => verify::run(&args, context),
        Command::Hold(args) => hold::run(args, context).await,
        Command::Erase(args) => erase::run(args, context).await,
        Command::Erasures(args) => erasures::run(args, context).await,
        Command::Retention(args) => retention::run(args, context).await,
        Command::Checkpoint(args) => checkpoint::run(args, context).await,
        Command::Since(args) => since::run(&args, context).await,
        Command::Login(args) => login::run(args, context).await,
        Command::Logout => logout::run(context).await,
        Command::Whoami => whoami::run(context).await,
        Command::Completions(args) => completions::run(&args, context),
        Command::Man(args) => man::run(&args, context),
    }
}

/// A span of time as the server takes it.
fn wire_span(span: std::time::Duration) -> prost_types::Duration {
    prost_types::Duration {
        // Spans are read up to a hundred years.
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: 0,
    }
}
