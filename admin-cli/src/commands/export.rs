//! `greffe-admin export`

use std::path::{Path, PathBuf};

use clap::Args;
use greffe::record_api::OrderExportRequest;
use greffe::terminal::error::{CommandError, Exit};
use greffe::terminal::export::{Finished, Order, Place, Writing};
use greffe::terminal::shell::quoted;
use greffe::terminal::text::visible;
use greffe::{Operator, reason};
use serde_json::{Value, json};

use super::case;
use crate::cli::ReasonArgs;
use crate::context::Context;
use crate::output::{bytes, count};

/// Export a case, with the proof that it is unaltered and complete
///
/// The directory or archive has everything that it takes to check it, and to read it: report.html for people, messages.jsonl for programs. If the
/// connection breaks it goes on by itself; if the command ends, the same one with --resume goes on. The order and each download are rows of the
/// journal.
#[derive(Debug, Args)]
#[command(mut_arg("reason", |arg| arg.help("Why: 1 to 256 characters. It stands in the journal [default: the case's reference]")))]
pub(crate) struct ExportArgs {
    /// The case's number
    #[arg(long, value_name = "ID", required_unless_present = "resume")]
    case: Option<i64>,
    /// Where to: a new or an empty directory, or a new archive, if the name ends in .tar
    #[arg(long, short, value_name = "DIR|FILE.tar")]
    output: PathBuf,
    /// Leave out the heads of what is not part of the case: what there is can then still be proved, but not that nothing is missing
    #[arg(long, conflicts_with = "resume")]
    bodies_only: bool,
    /// Go on with an export that broke off there
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    reason: ReasonArgs,
}

/// Exports.
pub(crate) async fn run(args: ExportArgs, context: &Context) -> Result<(), CommandError> {
    let place = Place::new(&args.output);
    let broke_off = match place.resume()? {
        // Nothing was ordered yet: there is nothing to go on with.
        Some(writing) if writing.order().is_none() => {
            writing.discard()?;
            None
        }
        found => found,
    };
    let (mut writing, reason) = match broke_off {
        Some(writing) => {
            let reason = go_on(&writing, &args, context)?;
            (writing, reason)
        }
        None if args.resume => {
            let nothing = format!("no export broke off at {}", args.output.display());
            return Err(CommandError::Failed(nothing).with_hint("without --resume, --case ID orders a new one"));
        }
        None => {
            let (writing, reason) = order(&place, &args, context).await?;
            (writing, Some(reason))
        }
    };
    let operator = context.operator().await?;
    let order = writing.order().cloned().unwrap_or_default();
    let (Some(export_index), Some(case_index)) = (order.export, order.case) else {
        let wrong = format!("what broke off at {} is no export of a case", args.output.display());
        return Err(CommandError::Failed(wrong).with_hint("put it elsewhere"));
    };
    let reason = match reason {
        Some(reason) => reason,
        None => case::reason_within(&case::get(operator, case_index).await?, &args.reason, context)?,
    };
    if !context.ui.is_json() {
        context.ui.note(&format!("export {export_index} of case {case_index}"));
    }
    writing.show_progress(!context.ui.is_json());
    download(operator, export_index, &reason, &mut writing, &args.output).await?;
    let finished = writing.finish(Some(export_index))?;
    tell(&finished, export_index, case_index, context)
}

/// Makes sure that going on is what was asked for; returns the reason, if one was given.
fn go_on(writing: &Writing, args: &ExportArgs, context: &Context) -> Result<Option<String>, CommandError> {
    if !args.resume {
        return Err(
            CommandError::Failed(format!("an export broke off at {}", args.output.display())).with_hint(format!(
                "`greffe-admin export --resume -o {}` goes on with it",
                shown(&args.output)
            )),
        );
    }
    let known = writing.order().and_then(|order| order.case);
    if args.case.is_some() && args.case != known {
        let known = known.map_or_else(|| "none".to_owned(), |case| format!("case {case}"));
        return Err(CommandError::usage(
            format!("what broke off there is of {known}"),
            "put the export of another case elsewhere",
        ));
    }
    args.reason.reason.as_ref().map(|_| context.reason(&args.reason)).transpose()
}

/// Makes the place, and orders the export; without the order nothing stays.
async fn order(place: &Place, args: &ExportArgs, context: &Context) -> Result<(Writing, String), CommandError> {
    // The command line has a case, or else --resume, with which nothing is ordered.
    let case_index = args.case.unwrap_or_default();
    let operator = context.operator().await?;
    let case = case::get(operator, case_index).await?;
    let reason = case::reason_within(&case, &args.reason, context)?;
    let mut writing = place.claim()?;
    let request = OrderExportRequest {
        reason: reason.clone(),
        case_index,
        bodies_only: args.bodies_only,
        ..Default::default()
    };
    let answer = match operator.call(request).await {
        Ok(answer) => answer,
        Err(error) => {
            writing.discard()?;
            return Err(error.into());
        }
    };
    writing.begin_order(Order {
        export: Some(answer.export_index),
        case: Some(case_index),
    })?;
    Ok((writing, reason))
}

/// Downloads until the end, or until Ctrl-C; says how to go on where that is possible.
async fn download(
    operator: &Operator,
    export_index: i64,
    reason: &str,
    writing: &mut Writing,
    output: &Path,
) -> Result<(), CommandError> {
    let again = format!(
        "`greffe-admin export --resume -o {}` goes on where it was",
        shown(output)
    );
    let error = tokio::select! {
        ended = operator.download_export(export_index, reason, writing) => match ended {
            Ok(()) => return Ok(()),
            Err(error) => CommandError::from(error),
        },
        Ok(()) = tokio::signal::ctrl_c() => {
            return Err(CommandError::Failed("interrupted".to_owned()).with_hint(again));
        }
    };
    let can_go_on = error.exit() == Exit::Unreachable
        || matches!(&error, CommandError::Server(error) if error.reason == reason::SINK_UNWRITABLE);
    Err(if can_go_on { error.with_hint(again) } else { error })
}

fn shown(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

fn tell(finished: &Finished, export_index: i64, case_index: i64, context: &Context) -> Result<(), CommandError> {
    let counts = &finished.manifest["counts"];
    let path = finished.path.to_string_lossy();
    let ui = context.ui;
    if ui.is_json() {
        return ui.object(&json!({
            "export": export_index,
            "case": case_index,
            "path": path,
            "manifest_sha256": finished.manifest_sha256,
            "bodies_only": finished.manifest["bodies_only"],
            "counts": counts,
        }));
    }
    let number = |name: &str| counts[name].as_i64().unwrap_or_default();
    ui.line(&format!(
        "export {export_index} of case {case_index} is in {}: {} ordered, {} of them erased, {}, {} ({})",
        visible(&path),
        count(number("ordered"), "row"),
        number("erased"),
        count(number("rooms"), "room"),
        count(number("files"), "file"),
        bytes(number("file_bytes")),
    ))?;
    ui.line(&format!("manifest SHA-256 {}", finished.manifest_sha256))?;
    if finished.manifest["bodies_only"] == Value::Bool(true) {
        ui.note("that nothing is missing cannot be proved from it: it was ordered with --bodies-only");
    }
    ui.note(&format!(
        "check it, without any server: greffe-admin verify {}\nread it: report.html in it",
        shown(&finished.path)
    ));
    Ok(())
}
