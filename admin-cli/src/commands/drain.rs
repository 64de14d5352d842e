//! `greffe-admin drain`

use std::time::Duration;

use clap::Args;
use greffe::admin_api::SetDrainingRequest;
use greffe::terminal::error::CommandError;
use serde_json::json;

use super::preview;
use crate::cli::{ReasonArgs, parse_span};
use crate::context::Context;
use crate::output::{count, done};

/// Send clients away for a while and take no new logins
///
/// All live streams end, and clients are told when to come back. The state ends with --off, or when the server stops.
#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// Take logins and streams again
    #[arg(long, conflicts_with = "come_back")]
    off: bool,
    /// When clients are told to come back, 1s to 1d [default: 1m]
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    come_back: Option<Duration>,
    #[command(flatten)]
    reason: ReasonArgs,
}

/// Begins or ends the state.
pub(crate) async fn run(args: DrainArgs, context: &Context) -> Result<(), CommandError> {
    let reason = context.reason(&args.reason)?;
    // Letting people in again destroys nothing.
    let asks = !args.off && context.asks()?;
    let operator = context.operator().await?;
    if asks {
        context.confirm(&preview::everyone(operator).await?, "Send everyone away?")?;
    }
    let request = SetDrainingRequest {
        reason,
        draining: !args.off,
        reconnect_after: args.come_back.map(super::wire_span),
        ..Default::default()
    };
    let answer = operator.call(request).await?;
    let text = if args.off {
        "takes logins and streams again".to_owned()
    } else {
        format!("drains: {} closed", count(answer.streams_closed, "stream"))
    };
    done(
        context,
        answer.receipt.as_ref(),
        &text,
        json!({"draining": !args.off, "streams_closed": answer.streams_closed}),
    )
}
