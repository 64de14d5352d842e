//! `greffe-admin case`

pub(crate) mod entry;
pub(crate) mod open;
pub(crate) mod read;

use clap::{Args, Subcommand};
use greffe::Operator;
use greffe::api::RecordScope;
use greffe::record_api::{ApproveCaseRequest, Case, CaseState, CloseCaseRequest, GetCaseRequest, ListCasesRequest};
use greffe::terminal::error::CommandError;
use greffe::terminal::time;
use serde_json::{Value, json};

use super::{PAGE, subjects};
use crate::cli::ReasonArgs;
use crate::context::Context;
use crate::output::done;

/// Open, approve, read and close cases
///
/// What people wrote where one is no member can be read and exported within a case only: it says by whose order, on what legal basis, what,
/// of which time, and until when. Each act, and each reading, is a row of the journal.
#[derive(Debug, Args)]
pub(crate) struct CaseArgs {
    #[command(subcommand)]
    command: CaseCommand,
}

#[derive(Debug, Subcommand)]
enum CaseCommand {
    Open(open::OpenArgs),
    /// Approve a case that another investigator opened and that needs it
    Approve {
        /// The case's number
        #[arg(value_name = "ID")]
        id: i64,
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// List all cases, newest first
    List,
    /// Show one case
    Show {
        /// The case's number
        #[arg(value_name = "ID")]
        id: i64,
    },
    /// Close a case: nothing can be read within it any more; its holds stay
    Close {
        /// The case's number
        #[arg(value_name = "ID")]
        id: i64,
        #[command(flatten)]
        reason: ReasonArgs,
    },
    Read(read::ReadArgs),
}

/// Opens, approves, lists, shows, closes or reads.
pub(crate) async fn run(args: CaseArgs, context: &Context) -> Result<(), CommandError> {
    match args.command {
        CaseCommand::Open(args) => open::run(args, context).await,
        CaseCommand::Approve { id, reason } => approve(id, &reason, context).await,
        CaseCommand::List => list(context).await,
        CaseCommand::Show { id } => show(id, context).await,
        CaseCommand::Close { id, reason } => close(id, &reason, context).await,
        CaseCommand::Read(args) => read::case(args, context).await,
    }
}

/// Asks for a case.
pub(crate) async fn get(operator: &Operator, case_index: i64) -> Result<Case, CommandError> {
    let answer = operator.call(GetCaseRequest { case_index }).await?;
    Ok(answer.case.unwrap_or_default())
}

/// The reason of what is done within a case: the one that is given, or else the reference under which it was ordered.
pub(crate) fn reason_within(case: &Case, args: &ReasonArgs, context: &Context) -> Result<String, CommandError> {
    match args.reason {
        Some(_) => context.reason(args),
        None => Ok(case.reference.clone()),
    }
}

async fn approve(case_index: i64, reason: &ReasonArgs, context: &Context) -> Result<(), CommandError> {
    let request = ApproveCaseRequest {
        reason: context.reason(reason)?,
        case_index,
        ..Default::default()
    };
    let answer = context.operator().await?.call(request).await?;
    let case = answer.case.unwrap_or_default();
    let text = format!("approved case {case_index}: it can be read");
    done(context, answer.receipt.as_ref(), &text, object(&case))
}

async fn close(case_index: i64, reason: &ReasonArgs, context: &Context) -> Result<(), CommandError> {
    let request = CloseCaseRequest {
        reason: context.reason(reason)?,
        case_index,
        ..Default::default()
    };
    let answer = context.operator().await?.call(request).await?;
    let case = answer.case.unwrap_or_default();
    done(
        context,
        answer.receipt.as_ref(),
        &format!("closed case {case_index}"),
        object(&case),
    )
}

async fn list(context: &Context) -> Result<(), CommandError> {
    let request = |page_token| ListCasesRequest {
        page_size: PAGE,
        page_token,
    };
    let operator = context.operator().await?;
    let cases = operator.all_pages(request, |page| (page.cases, page.next_page_token)).await?;
    if context.ui.is_json() {
        return cases.iter().try_for_each(|case| context.ui.object(&object(case)));
    }
    if cases.is_empty() {
        context.ui.note("there are no cases");
    }
    let rows = cases.into_iter().map(|case| {
        let (from, to) = period(case.scope.as_ref());
        vec![
            case.index.to_string(),
            state_words(case.state()).to_owned(),
            case.reference.clone(),
            subjects::words(&case.users, &case.rooms),
            from,
            to,
            time::day_and_time(case.expires_at.as_ref()),
            case.opened_by.clone(),
        ]
    });
    context.ui.table(
        &[
            "ID",
            "STATE",
            "REFERENCE",
            "SUBJECTS",
            "FROM",
            "TO",
            "EXPIRES",
            "OPENED BY",
        ],
        rows.collect(),
    )
}

async fn show(case_index: i64, context: &Context) -> Result<(), CommandError> {
    let case = get(context.operator().await?, case_index).await?;
    if context.ui.is_json() {
        return context.ui.object(&object(&case));
    }
    context.ui.table(&["WHAT", "IS"], lines(&case))
}

fn lines(case: &Case) -> Vec<Vec<String>> {
    let (from, to) = period(case.scope.as_ref());
    let by = |who: &str, when: Option<&prost_types::Timestamp>| match when {
        Some(when) if who.is_empty() => time::day_and_time(Some(when)),
        Some(when) => format!("{} by {who}", time::day_and_time(Some(when))),
        None => String::new(),
    };
    [
        ("case", case.index.to_string()),
        ("state", state_words(case.state()).to_owned()),
        ("reference", case.reference.clone()),
        ("legal basis", case.basis.clone()),
        ("subjects", subjects::words(&case.users, &case.rooms)),
        ("what", covers(case).to_owned()),
        ("from", from),
        ("to", to),
        ("opened", by(&case.opened_by, case.opened_at.as_ref())),
        ("approved", by(&case.approved_by, case.approved_at.as_ref())),
        ("expires", time::day_and_time(case.expires_at.as_ref())),
        ("closed", by("", case.closed_at.as_ref())),
    ]
    .into_iter()
    .filter(|(_, is)| !is.is_empty())
    .map(|(what, is)| vec![what.to_owned(), is])
    .collect()
}

/// What of the subjects may be read, in words.
fn covers(case: &Case) -> &'static str {
    match (case.users.is_empty(), case.rooms.is_empty()) {
        (false, true) => "what these users did, wherever",
        (true, false) => "everything in these rooms",
        _ => "what these users did in these rooms",
    }
}

/// The beginning and the end of a period, for people.
pub(crate) fn period(scope: Option<&RecordScope>) -> (String, String) {
    let end = |time: Option<&prost_types::Timestamp>, open: &str| match time {
        Some(time) => time::day_and_time(Some(time)),
        None => open.to_owned(),
    };
    (
        end(scope.and_then(|scope| scope.from.as_ref()), "start"),
        end(scope.and_then(|scope| scope.to.as_ref()), "end"),
    )
}

fn state_words(state: CaseState) -> &'static str {
    match state {
        CaseState::Unspecified => "unknown",
        CaseState::AwaitingApproval => "awaiting approval",
        CaseState::Open => "open",
        CaseState::Expired => "expired",
        CaseState::Closed => "closed",
    }
}

/// A case for programs.
pub(crate) fn object(case: &Case) -> Value {
    let scope = case.scope.clone().unwrap_or_default();
    let given = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
    json!({
        "id": case.index,
        "state": state_words(case.state()).replace(' ', "_"),
        "reference": case.reference,
        "basis": case.basis,
        "subjects": subjects::objects(&case.users, &case.rooms),
        "from": time::json(scope.from.as_ref()),
        "to": time::json(scope.to.as_ref()),
        "expires": time::json(case.expires_at.as_ref()),
        "opened_at": time::json(case.opened_at.as_ref()),
        "opened_by": case.opened_by,
        "approved_at": time::json(case.approved_at.as_ref()),
        "approved_by": given(&case.approved_by),
        "closed_at": time::json(case.closed_at.as_ref()),
    })
}
