//! `greffe-admin stop`

use std::time::Duration;

use clap::Args;
use greffe::admin_api::{CancelStopRequest, StopServerRequest};
use greffe::terminal::error::CommandError;
use greffe::terminal::time;
use serde_json::json;

use super::preview;
use crate::cli::{ReasonArgs, parse_span};
use crate::context::Context;
use crate::output::done;
use crate::span;

/// Stop the server, now or later
///
/// Everyone is alerted with the reason, all streams end as maintenance, and the server ends with exit code 0.
#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// In how long, at most 7d [default: at once]; a stop that was ordered before is replaced
    #[arg(long = "in", value_name = "SPAN", value_parser = parse_span)]
    after: Option<Duration>,
    /// Take back a stop whose time has not come
    #[arg(long, conflicts_with = "after")]
    cancel: bool,
    #[command(flatten)]
    reason: ReasonArgs,
}

/// Stops the server, or not after all.
pub(crate) async fn run(args: StopArgs, context: &Context) -> Result<(), CommandError> {
    let reason = context.reason(&args.reason)?;
    if args.cancel {
        let request = CancelStopRequest {
            reason,
            ..Default::default()
        };
        let answer = context.operator().await?.call(request).await?;
        let facts = json!({"stop_at": null});
        return done(context, answer.receipt.as_ref(), "the server does not stop", facts);
    }
    stop(args.after, reason, context).await
}

/// Stops the server after asking.
pub(crate) async fn stop(after: Option<Duration>, reason: String, context: &Context) -> Result<(), CommandError> {
    let asks = context.asks()?;
    let operator = context.operator().await?;
    if asks {
        let when = match after {
            Some(after) if !after.is_zero() => format!("in {}", span::show(after)),
            _ => "now".to_owned(),
        };
        context.confirm(&preview::everyone(operator).await?, &format!("Stop it {when}?"))?;
    }
    let request = StopServerRequest {
        reason,
        after: after.map(super::wire_span),
        ..Default::default()
    };
    let answer = operator.call(request).await?;
    done(
        context,
        answer.receipt.as_ref(),
        &format!("the server stops at {}", time::day_and_time(answer.stop_at.as_ref())),
        json!({"stop_at": time::json(answer.stop_at.as_ref())}),
    )
}
