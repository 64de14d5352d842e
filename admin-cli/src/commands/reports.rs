//! `greffe-admin reports`

use clap::{Args, Subcommand};
use greffe::admin_api::{ListReportsRequest, ReadReportRequest, Report, ResolveReportRequest};
use greffe::terminal::error::CommandError;
use greffe::terminal::text::{visible, visible_lines};
use greffe::terminal::time;
use serde_json::{Value, json};

use super::PAGE;
use crate::cli::ReasonArgs;
use crate::context::Context;
use crate::output::done;

/// List what members reported, read and resolve it
#[derive(Debug, Args)]
pub(crate) struct ReportsArgs {
    #[command(subcommand)]
    command: Option<ReportsCommand>,
}

#[derive(Debug, Subcommand)]
enum ReportsCommand {
    /// List the open reports, oldest first, without the texts of the messages
    List,
    /// Read the reported message, as it was when it was reported; leaves a row in the journal
    Read {
        /// The report's number
        #[arg(value_name = "NUMBER")]
        number: i64,
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Close a report
    Resolve {
        /// The report's number
        #[arg(value_name = "NUMBER")]
        number: i64,
        /// What was done
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        resolution: String,
        #[command(flatten)]
        reason: ReasonArgs,
    },
}

/// Lists reports, reads or resolves one.
pub(crate) async fn run(args: ReportsArgs, context: &Context) -> Result<(), CommandError> {
    match args.command {
        None | Some(ReportsCommand::List) => list(context).await,
        Some(ReportsCommand::Read { number, reason }) => read(number, &reason, context).await,
        Some(ReportsCommand::Resolve {
            number,
            resolution,
            reason,
        }) => resolve(number, resolution, &reason, context).await,
    }
}

async fn list(context: &Context) -> Result<(), CommandError> {
    let request = |page_token| ListReportsRequest {
        page_size: PAGE,
        page_token,
    };
    let operator = context.operator().await?;
    let reports = operator.all_pages(request, |page| (page.reports, page.next_page_token)).await?;
    if context.ui.is_json() {
        return reports.iter().try_for_each(|report| context.ui.object(&object(report)));
    }
    if reports.is_empty() {
        context.ui.note("there are no open reports");
    }
    let rows = reports.into_iter().map(|report| {
        vec![
            report.index.to_string(),
            time::day_and_time(report.time.as_ref()),
            report.reporter_name.clone(),
            place(&report),
            format!("#{}", report.seq),
            report.reason,
        ]
    });
    context.ui.table(
        &["NUMBER", "REPORTED", "BY", "ROOM", "MESSAGE", "REASON"],
        rows.collect(),
    )
}

fn place(report: &Report) -> String {
    if report.room_name.is_empty() {
        format!("direct room {}", report.room_id)
    } else {
        report.room_name.clone()
    }
}

async fn read(number: i64, reason: &ReasonArgs, context: &Context) -> Result<(), CommandError> {
    let request = ReadReportRequest {
        reason: context.reason(reason)?,
        report_index: number,
        ..Default::default()
    };
    let answer = context.operator().await?.call(request).await?;
    let report = answer.report.unwrap_or_default();
    let ui = context.ui;
    if ui.is_json() {
        let mut facts = object(&report);
        facts["author"] = json!(answer.author_name);
        facts["author_id"] = json!(answer.author_id);
        facts["written_at"] = time::json(answer.written_at.as_ref());
        facts["text"] = json!(answer.text);
        return done(context, answer.receipt.as_ref(), "", facts);
    }
    ui.line(&format!(
        "{} in {}, message #{}, {}",
        visible(&answer.author_name),
        visible(&place(&report)),
        report.seq,
        time::day_and_time(answer.written_at.as_ref())
    ))?;
    if answer.text.is_empty() {
        ui.line("    (erased)")?;
    }
    for line in visible_lines(&answer.text).iter().filter(|_| !answer.text.is_empty()) {
        ui.line(&format!("    {line}"))?;
    }
    ui.line(&format!(
        "reported by {}: {}",
        visible(&report.reporter_name),
        visible(&report.reason)
    ))
}

async fn resolve(number: i64, resolution: String, reason: &ReasonArgs, context: &Context) -> Result<(), CommandError> {
    let request = ResolveReportRequest {
        reason: context.reason(reason)?,
        report_index: number,
        resolution,
        ..Default::default()
    };
    let answer = context.operator().await?.call(request).await?;
    done(
        context,
        answer.receipt.as_ref(),
        &format!("closed report {number}"),
        json!({"report_index": number}),
    )
}

/// A report for programs.
fn object(report: &Report) -> Value {
    json!({
        "report_index": report.index,
        "reported_at": time::json(report.time.as_ref()),
        "reporter": report.reporter_name,
        "reporter_id": report.reporter_id,
        "room_id": report.room_id,
        "room": report.room_name,
        "seq": report.seq,
        "reason": report.reason,
    })
}
