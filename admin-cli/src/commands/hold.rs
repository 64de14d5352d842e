//! `greffe-admin hold`

use clap::{Args, Subcommand};
use greffe::record_api::{AddHoldRequest, Hold, ListHoldsRequest, ReleaseHoldRequest};
use greffe::terminal::error::CommandError;
use greffe::terminal::text::visible;
use greffe::terminal::time;
use serde_json::{Value, json};

use super::case::open::{parse_from, parse_to};
use super::subjects::{self, Finder};
use super::{PAGE, case};
use crate::cli::ReasonArgs;
use crate::context::Context;
use crate::moment::{Bound, to_wire};
use crate::output::done;

/// Keep what a case is about from being erased
///
/// While a hold is in force, nothing that it covers is erased, neither on order nor because its time is over. Closing the case leaves it in force.
#[derive(Debug, Args)]
pub(crate) struct HoldArgs {
    #[command(subcommand)]
    command: HoldCommand,
}

#[derive(Debug, Subcommand)]
enum HoldCommand {
    Add(AddArgs),
    /// List the holds in force, oldest first
    List,
    /// Release a hold: erasures that it alone kept begin
    Release {
        /// The hold's number
        #[arg(value_name = "ID")]
        id: i64,
        #[command(flatten)]
        reason: ReasonArgs,
    },
}

/// Add a hold
///
/// Without --subject it covers what the case is about.
#[derive(Debug, Args)]
#[command(mut_arg("reason", |arg| arg.help("Why: 1 to 256 characters. It stands in the journal [default: the case's reference]")))]
struct AddArgs {
    /// The number of the case that it is for
    #[arg(long, value_name = "ID")]
    case: i64,
    /// Whom or what it covers, as for `case open` [default: the case's subjects]
    #[arg(long = "subject", value_name = "USER|ROOM")]
    subjects: Vec<String>,
    /// From when on, as for `case open`; `start` is the beginning
    #[arg(long, value_name = "TIME", value_parser = parse_from, requires = "subjects")]
    from: Option<Bound>,
    /// Until when, that moment not included; `end` is without an end
    #[arg(long, value_name = "TIME", value_parser = parse_to, requires = "subjects")]
    to: Option<Bound>,
    #[command(flatten)]
    reason: ReasonArgs,
}

/// Adds, lists or releases.
pub(crate) async fn run(args: HoldArgs, context: &Context) -> Result<(), CommandError> {
    match args.command {
        HoldCommand::Add(args) => add(args, context).await,
        HoldCommand::List => list(context).await,
        HoldCommand::Release { id, reason } => release(id, &reason, context).await,
    }
}

async fn add(args: AddArgs, context: &Context) -> Result<(), CommandError> {
    let operator = context.operator().await?;
    let reason = match args.reason.reason {
        Some(_) => context.reason(&args.reason)?,
        None => case::get(operator, args.case).await?.reference,
    };
    let (users, rooms) = Finder::new(operator).all(&args.subjects).await?;
    let bound = |bound: Option<Bound>| bound.and_then(|bound| bound.0).map(to_wire);
    let request = AddHoldRequest {
        reason,
        case_index: args.case,
        users,
        rooms,
        from: bound(args.from),
        to: bound(args.to),
        ..Default::default()
    };
    let answer = operator.call(request).await?;
    let hold = answer.hold.unwrap_or_default();
    let (from, to) = case::period(hold.scope.as_ref());
    let text = format!(
        "hold {} for case {}: {}, {from} to {to}: nothing of it is erased",
        hold.index,
        hold.case_index,
        visible(&subjects::words(&hold.users, &hold.rooms))
    );
    done(context, answer.receipt.as_ref(), &text, object(&hold))
}

async fn list(context: &Context) -> Result<(), CommandError> {
    let request = |page_token| ListHoldsRequest {
        page_size: PAGE,
        page_token,
    };
    let operator = context.operator().await?;
    let holds = operator.all_pages(request, |page| (page.holds, page.next_page_token)).await?;
    if context.ui.is_json() {
        return holds.iter().try_for_each(|hold| context.ui.object(&object(hold)));
    }
    if holds.is_empty() {
        context.ui.note("nothing is held");
    }
    let rows = holds.into_iter().map(|hold| {
        let (from, to) = case::period(hold.scope.as_ref());
        vec![
            hold.index.to_string(),
            hold.case_index.to_string(),
            hold.reference.clone(),
            subjects::words(&hold.users, &hold.rooms),
            from,
            to,
            time::day_and_time(hold.added_at.as_ref()),
        ]
    });
    context.ui.table(
        &["ID", "CASE", "REFERENCE", "SUBJECTS", "FROM", "TO", "SINCE"],
        rows.collect(),
    )
}

async fn release(hold_index: i64, reason: &ReasonArgs, context: &Context) -> Result<(), CommandError> {
    let request = ReleaseHoldRequest {
        reason: context.reason(reason)?,
        hold_index,
        ..Default::default()
    };
    let answer = context.operator().await?.call(request).await?;
    let begun = &answer.erasure_indices;
    let numbers: Vec<String> = begun.iter().map(ToString::to_string).collect();
    let then = match &numbers[..] {
        [] => "no erasure waited for it".to_owned(),
        [one] => format!("erasure {one} begins"),
        many => format!("erasures {} begin", many.join(", ")),
    };
    done(
        context,
        answer.receipt.as_ref(),
        &format!("released hold {hold_index}: {then}"),
        json!({"id": hold_index, "erasures": begun}),
    )
}

/// A hold for programs.
fn object(hold: &Hold) -> Value {
    let scope = hold.scope.clone().unwrap_or_default();
    json!({
        "id": hold.index,
        "case": hold.case_index,
        "reference": hold.reference,
        "subjects": subjects::objects(&hold.users, &hold.rooms),
        "from": time::json(scope.from.as_ref()),
        "to": time::json(scope.to.as_ref()),
        "added_at": time::json(hold.added_at.as_ref()),
    })
}
