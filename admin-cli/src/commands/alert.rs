//! `greffe-admin alert`

use std::time::Duration;

use clap::Args;
use greffe::admin_api::SendAlertRequest;
use greffe::terminal::error::CommandError;
use serde_json::json;

use crate::cli::{ReasonArgs, parse_span};
use crate::context::Context;
use crate::output::{count, done};

/// Tell everyone something, now and while it is valid
///
/// Everyone who is connected is told at once, in red; who connects while it is valid is told then.
#[derive(Debug, Args)]
pub(crate) struct AlertArgs {
    /// The text: several words are joined by spaces
    #[arg(value_name = "TEXT", required = true)]
    text: Vec<String>,
    /// For how long people who connect are told it, 1s to 30d [default: 10m]
    #[arg(long = "for", value_name = "SPAN", value_parser = parse_span)]
    valid_for: Option<Duration>,
    #[command(flatten)]
    reason: ReasonArgs,
}

/// Tells everyone.
pub(crate) async fn run(args: AlertArgs, context: &Context) -> Result<(), CommandError> {
    let reason = context.reason(&args.reason)?;
    send(&args.text.join(" "), args.valid_for, reason, context).await
}

/// Tells everyone a text as it is.
pub(crate) async fn send(
    text: &str,
    valid_for: Option<Duration>,
    reason: String,
    context: &Context,
) -> Result<(), CommandError> {
    let request = SendAlertRequest {
        reason,
        text: text.to_owned(),
        valid_for: valid_for.map(super::wire_span),
        ..Default::default()
    };
    let answer = context.operator().await?.call(request).await?;
    let text = format!("alerted {}", count(answer.streams, "stream"));
    done(
        context,
        answer.receipt.as_ref(),
        &text,
        json!({"alert_index": answer.alert_index, "streams": answer.streams}),
    )
}
