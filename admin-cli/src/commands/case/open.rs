//! `greffe-admin case open`

use clap::Args;
use greffe::record_api::OpenCaseRequest;
use greffe::terminal::error::CommandError;
use greffe::terminal::text::visible;
use jiff::Timestamp;

use super::{covers, object, period};
use crate::cli::ReasonArgs;
use crate::commands::subjects::{self, Finder};
use crate::context::Context;
use crate::moment::{self, Bound, MomentError, to_wire};
use crate::output::done;

/// Open a case
///
/// A case on users covers what they did, wherever; one on rooms everything in them; one on both, what these users did in these rooms. With
/// --needs-approval another investigator has to approve it before it can be read; the server's settings may demand that of every case.
#[derive(Debug, Args)]
#[command(mut_arg("reason", |arg| arg.help("Why: 1 to 256 characters. It stands in the journal [default: the reference]")))]
pub(crate) struct OpenArgs {
    /// The reference under which whoever ordered it knows it, such as the court's file number
    #[arg(long, value_name = "TEXT")]
    reference: String,
    /// The legal basis, such as an order of a court and its date
    #[arg(long, value_name = "TEXT")]
    basis: String,
    /// Whom or what it is about: @NAME is a user, room:NAME or '#NAME' a room, ids are taken too; can be given more than once
    #[arg(long = "subject", value_name = "USER|ROOM", required = true)]
    subjects: Vec<String>,
    /// From when on: 2026-11-22, '2026-11-22 18:30' (where you are), RFC 3339, a span back from now such as 2h; or `start`
    #[arg(long, value_name = "TIME", value_parser = parse_from)]
    from: Bound,
    /// Until when, that moment not included: as --from, or now, or 'in 2h'; or `end`
    #[arg(long, value_name = "TIME", value_parser = parse_to)]
    to: Bound,
    /// Until when it can be read: a time, or a span from now such as 30d [default: for 90 days]
    #[arg(long, value_name = "TIME", value_parser = parse_expiry)]
    expires: Option<Timestamp>,
    /// Somebody else has to approve it first
    #[arg(long)]
    needs_approval: bool,
    #[command(flatten)]
    reason: ReasonArgs,
}

/// The beginning of a period, as an argument.
pub(crate) fn parse_from(text: &str) -> Result<Bound, MomentError> {
    moment::parse_from(text)
}

/// The end of a period, as an argument.
pub(crate) fn parse_to(text: &str) -> Result<Bound, MomentError> {
    moment::parse_to(text)
}

fn parse_expiry(text: &str) -> Result<Timestamp, MomentError> {
    moment::parse_ahead(text)
}

/// Opens a case.
pub(super) async fn run(args: OpenArgs, context: &Context) -> Result<(), CommandError> {
    let reason = match args.reason.reason {
        Some(_) => context.reason(&args.reason)?,
        None => args.reference.clone(),
    };
    let operator = context.operator().await?;
    let (users, rooms) = Finder::new(operator).all(&args.subjects).await?;
    let request = OpenCaseRequest {
        reason,
        reference: args.reference,
        basis: args.basis,
        users,
        rooms,
        from: args.from.0.map(to_wire),
        to: args.to.0.map(to_wire),
        expires_at: args.expires.map(to_wire),
        needs_approval: args.needs_approval,
        ..Default::default()
    };
    let answer = operator.call(request).await?;
    let case = answer.case.unwrap_or_default();
    let (from, to) = period(case.scope.as_ref());
    let text = format!(
        "opened case {}: {}, {from} to {to}: {}",
        case.index,
        visible(&subjects::words(&case.users, &case.rooms)),
        covers(&case)
    );
    done(context, answer.receipt.as_ref(), &text, object(&case))?;
    if case.state() == greffe::record_api::CaseState::AwaitingApproval && !context.ui.is_json() {
        context.ui.note(&format!(
            "it can be read once another investigator, logged in, has run `greffe-admin case approve {}`",
            case.index
        ));
    }
    Ok(())
}
