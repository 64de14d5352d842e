//! `greffe-admin kick`

use clap::{ArgGroup, Args};
use greffe::admin_api::{KickSessionRequest, KickUserRequest};
use greffe::terminal::error::CommandError;
use greffe::terminal::text::visible;
use serde_json::json;

use super::preview;
use crate::cli::ReasonArgs;
use crate::context::Context;
use crate::output::{count, cut, done};
use crate::target;

/// End all sessions of a user, or one session
///
/// Their live streams end at once, with the reason, and their tokens are void. They may log in again: to keep them out, ban them.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whom").required(true).args(["user", "session"]))]
#[command(mut_arg("reason", |arg| arg.help("Why: 1 to 256 characters. It stands in the journal, and who is kicked is told it \
    [default: asked for on a terminal]")))]
pub(crate) struct KickArgs {
    /// A user name or id
    #[arg(value_name = "USER")]
    user: Option<String>,
    /// One session instead of a user's all; `greffe-admin sessions` lists them
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    #[command(flatten)]
    reason: ReasonArgs,
}

/// Kicks.
pub(crate) async fn run(args: KickArgs, context: &Context) -> Result<(), CommandError> {
    let reason = context.reason(&args.reason)?;
    let asks = context.asks()?;
    if let Some(id) = args.session {
        return kick_session(id, reason, asks, context).await;
    }
    let user = target::user(&args.user.unwrap_or_default());
    let operator = context.operator().await?;
    if asks {
        context.confirm(&preview::user(operator, &user).await?, &format!("Kick {user}?"))?;
    }
    let request = KickUserRequest {
        reason,
        user: user.clone(),
        ..Default::default()
    };
    let answer = operator.call(request).await?;
    let (sessions_ended, streams_closed) = (answer.sessions_ended, answer.streams_closed);
    done(
        context,
        answer.receipt.as_ref(),
        &format!("kicked {}: {}", visible(&user), cut(sessions_ended, streams_closed)),
        json!({"user": user, "sessions_ended": sessions_ended, "streams_closed": streams_closed}),
    )
}

async fn kick_session(id: String, reason: String, asks: bool, context: &Context) -> Result<(), CommandError> {
    let operator = context.operator().await?;
    if asks {
        let touched = preview::session(operator, &id).await?;
        context.confirm(&touched.unwrap_or_else(|| format!("session {id}")), "End it?")?;
    }
    let request = KickSessionRequest {
        reason,
        session_id: id.clone(),
        ..Default::default()
    };
    let answer = operator.call(request).await?;
    done(
        context,
        answer.receipt.as_ref(),
        &format!("ended the session: {} closed", count(answer.streams_closed, "stream")),
        json!({"session_id": id, "streams_closed": answer.streams_closed}),
    )
}
