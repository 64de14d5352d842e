//! `greffe-admin case read` and `greffe-admin log chat`: page after page of what happened within a case's scope.

use clap::Args;
use greffe::Operator;
use greffe::api::EventKind;
use greffe::record_api::{Case, CaseEntry, ReadCaseRequest};
use greffe::terminal::error::CommandError;
use jiff::Timestamp;

use super::{entry, get, reason_within};
use crate::cli::ReasonArgs;
use crate::commands::PAGE;
use crate::commands::log::parse_moment;
use crate::commands::subjects::{Finder, Subject};
use crate::context::Context;
use crate::moment::to_wire;
use crate::output::count;
use crate::{subject, target};

/// Read what happened within a case's scope; each page leaves a row in the journal
///
/// Prints all rows, oldest first: messages, edits and deletions with their texts, reactions, files, who came and went. What is outside of the case
/// is refused, and that is recorded too.
#[derive(Debug, Args)]
pub(crate) struct ReadArgs {
    /// The case's number
    #[arg(value_name = "ID")]
    id: i64,
    #[command(flatten)]
    range: RangeArgs,
}

/// Show who wrote what, within a case
///
/// Prints messages, edits, deletions and shared files, oldest first. Each page that is asked for leaves a row in the journal, and what is outside of
/// the case is refused, and recorded too.
#[derive(Debug, Args)]
pub(crate) struct ChatArgs {
    /// The case's number; `greffe-admin case open` opens one
    #[arg(long, value_name = "ID")]
    case: i64,
    #[command(flatten)]
    range: RangeArgs,
}

#[derive(Debug, Args)]
#[command(mut_arg("reason", |arg| arg.help("Why: 1 to 256 characters. It stands in the journal [default: the case's reference]")))]
struct RangeArgs {
    /// Only what happened in this room, by name or id
    #[arg(long, value_name = "ROOM")]
    room: Option<String>,
    /// Only what this user did
    #[arg(long, short, value_name = "USER")]
    user: Option<String>,
    /// Only from this time on: 2026-11-22, '2026-11-22 18:30', RFC 3339, or a span back from now such as 2h [default: the case's period]
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    since: Option<Timestamp>,
    /// Only before this time
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    until: Option<Timestamp>,
    /// Show at most so many rows, the oldest ones [default: all]
    #[arg(short = 'n', long = "lines", value_name = "N")]
    lines: Option<usize>,
    /// Only rows with a greater number
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true, value_parser = clap::value_parser!(i64).range(0..))]
    after: i64,
    #[command(flatten)]
    reason: ReasonArgs,
}

/// Prints all rows of a case.
pub(super) async fn case(args: ReadArgs, context: &Context) -> Result<(), CommandError> {
    pages(args.id, args.range, None, context).await
}

/// Prints who wrote what.
pub(crate) async fn chat(args: ChatArgs, context: &Context) -> Result<(), CommandError> {
    pages(args.case, args.range, Some(is_written), context).await
}

/// Whether a row belongs to what somebody wrote.
fn is_written(entry: &CaseEntry) -> bool {
    matches!(
        entry::head(entry).kind(),
        EventKind::MessagePosted
            | EventKind::MessageEdited
            | EventKind::MessageDeleted
            | EventKind::FileShared
            | EventKind::FileRemoved
    )
}

async fn pages(
    case_index: i64,
    args: RangeArgs,
    only: Option<fn(&CaseEntry) -> bool>,
    context: &Context,
) -> Result<(), CommandError> {
    let operator = context.operator().await?;
    let case = get(operator, case_index).await?;
    let reason = reason_within(&case, &args.reason, context)?;
    let room = match &args.room {
        Some(typed) => room(&case, typed, operator).await?,
        None => String::new(),
    };
    let user = args.user.as_deref().map(target::user).unwrap_or_default();
    let mut left = args.lines.unwrap_or(usize::MAX);
    let (mut after_index, mut last_shown, mut readings) = (args.after, args.after, Vec::new());
    while left > 0 {
        let request = ReadCaseRequest {
            reason: reason.clone(),
            case_index,
            room: room.clone(),
            user: user.clone(),
            from: args.since.map(to_wire),
            to: args.until.map(to_wire),
            after_index,
            // Where not all is shown, small pages would be many, each with its row.
            page_size: match only {
                Some(_) => PAGE,
                None => i32::try_from(left).unwrap_or(PAGE).min(PAGE),
            },
            ..Default::default()
        };
        let page = operator.call(request).await?;
        readings.extend(page.receipt.map(|receipt| receipt.index));
        let mut entries = page.entries.iter().filter(|entry| only.is_none_or(|only| only(entry)));
        for entry in entries.by_ref().take(left) {
            left -= 1;
            last_shown = entry::head(entry).index;
            entry::show(entry, context)?;
        }
        if left == 0 && (page.has_more || entries.next().is_some()) {
            context.ui.note(&format!("there may be more: add --after {last_shown}"));
        }
        if !page.has_more {
            break;
        }
        if page.next_index <= after_index {
            return Err(CommandError::Failed("the server's pages do not go on".to_owned()));
        }
        after_index = page.next_index;
    }
    if let (Some(last), false) = (readings.last(), context.ui.is_json()) {
        let pages = i64::try_from(readings.len()).unwrap_or(i64::MAX);
        context.ui.note(&format!(
            "this reading is on record: {}, the last one row {last}",
            count(pages, "page")
        ));
    }
    Ok(())
}

/// A room as the server takes it: only public ones go by their name there.
async fn room(case: &Case, typed: &str, operator: &Operator) -> Result<String, CommandError> {
    if let Some(id) = room_of(case, typed) {
        return Ok(id);
    }
    match Finder::new(operator).find(&format!("room:{}", subject::room(typed))).await? {
        Subject::User { id, .. } | Subject::Room { id, .. } => Ok(id),
    }
}

/// The id of a room that the case names, if only one is called so.
fn room_of(case: &Case, typed: &str) -> Option<String> {
    let typed = subject::room(typed);
    let called = |name: &str| !name.is_empty() && name.to_lowercase() == typed.to_lowercase();
    let mut found = case.rooms.iter().filter(|room| room.id == typed || called(&room.name));
    match (found.next(), found.next()) {
        (Some(room), None) => Some(room.id.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use greffe::record_api::NamedSubject;

    use super::*;

    #[test]
    fn a_room_of_the_case_goes_by_its_name_if_only_one_has_it() {
        let room = |id: &str, name: &str| NamedSubject {
            id: id.into(),
            name: name.into(),
        };
        let case = Case {
            rooms: vec![room("r1", "Plans"), room("r2", "x"), room("r3", "x"), room("r4", "")],
            ..Case::default()
        };
        for (typed, expected) in [
            ("#plans", Some("r1")),
            ("room:Plans", Some("r1")),
            ("x", None),
            ("r2", Some("r2")),
            ("other", None),
            ("", None),
        ] {
            assert_eq!(room_of(&case, typed).as_deref(), expected, "{typed}");
        }
    }
}
