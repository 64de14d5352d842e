//! `greffe-admin log`

pub(crate) mod entry;
pub(crate) mod pages;
pub(crate) mod record;

use std::time::Duration;

use clap::{Args, Subcommand};
use greffe::admin_api::LogEntry;
use greffe::terminal::error::CommandError;
use jiff::Timestamp;

use super::case::read::{self, ChatArgs};
use crate::context::Context;
use crate::moment::{self, MomentError};
use crate::target;
use pages::{Log, Pages};

/// How often new rows are asked for.
const POLL: Duration = Duration::from_millis(500);
/// Rows that are shown when nothing says how many.
const USUAL: usize = 50;

/// Show who connected, what operators did, or, within a case, who wrote what
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    /// Show sign-ups, logins, refusals, and sessions seen elsewhere or ended, with address and port
    Connections(RangeArgs),
    /// Show what operators did and were refused, and what the server did to its own journal
    Audit(RangeArgs),
    Chat(ChatArgs),
}

#[derive(Debug, Args)]
struct RangeArgs {
    /// Only rows from this time on: 2026-11-22, '2026-11-22 18:30', RFC 3339, or a span back from now such as 2h
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    since: Option<Timestamp>,
    /// Only what is about this user
    #[arg(long, short, value_name = "USER")]
    user: Option<String>,
    /// Show at most so many rows, the newest ones [default: 50, or all with --since]
    #[arg(short = 'n', long = "lines", value_name = "N")]
    lines: Option<usize>,
    /// Go on with new rows as they come, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
}

/// A moment, as an argument.
pub(crate) fn parse_moment(text: &str) -> Result<Timestamp, MomentError> {
    moment::parse(text)
}

/// Shows a log.
pub(crate) async fn run(args: LogArgs, context: &Context) -> Result<(), CommandError> {
    let (log, range) = match args.command {
        LogCommand::Connections(range) => (Log::Connections, range),
        LogCommand::Audit(range) => (Log::Audit, range),
        LogCommand::Chat(args) => return read::chat(args, context).await,
    };
    let operator = context.operator().await?;
    let user = range.user.as_deref().map(target::user).unwrap_or_default();
    let pages = Pages::new(operator, log, user, range.since);
    let mut last = -1;
    let lines = match (range.lines, range.since) {
        (Some(lines), _) => Some(lines),
        (None, None) => Some(USUAL),
        (None, Some(_)) => None,
    };
    match lines {
        Some(lines) => {
            let newest = pages.newest(lines).await?;
            // Without rows to show, what follows still begins after what is there.
            last = match newest.last() {
                Some(entry) => index(entry),
                None if range.follow => pages.newest(1).await?.last().map_or(-1, index),
                None => -1,
            };
            newest.iter().try_for_each(|entry| show(entry, context))?;
        }
        None => show_after(&pages, &mut last, context).await?,
    }
    if !range.follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(POLL).await;
        show_after(&pages, &mut last, context).await?;
    }
}

/// Shows what came after a row, and moves on behind it.
async fn show_after(pages: &Pages<'_>, last: &mut i64, context: &Context) -> Result<(), CommandError> {
    loop {
        let (entries, has_more) = pages.after(*last).await?;
        for entry in &entries {
            *last = (*last).max(index(entry));
            show(entry, context)?;
        }
        if !has_more || entries.is_empty() {
            return Ok(());
        }
    }
}

/// The number of a row.
pub(crate) fn index(entry: &LogEntry) -> i64 {
    let head = entry.event.as_ref().and_then(|event| event.head.as_ref());
    head.map_or(-1, |head| head.index)
}

fn show(entry: &LogEntry, context: &Context) -> Result<(), CommandError> {
    if context.ui.is_json() {
        context.ui.object(&entry::object(entry))
    } else {
        let (head, rest) = entry::head_and_rest(entry);
        context.ui.line_or_fold(&head, &rest)
    }
}
