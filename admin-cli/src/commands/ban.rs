//! `greffe-admin ban` and `greffe-admin unban`

use std::time::Duration;

use clap::Args;
use greffe::admin_api::{CreateBanRequest, LiftBanRequest, create_ban_request, lift_ban_request};
use greffe::terminal::error::CommandError;
use greffe::terminal::text::visible;
use serde_json::json;

use super::{bans, preview};
use crate::cli::{ReasonArgs, parse_span};
use crate::context::Context;
use crate::output::{cut, done};
use crate::target::{self, Lifted, Target};

/// Ban a user, an address or a network
///
/// A banned user's sessions end and they cannot log in. From a banned network everything is refused, and sessions and live streams from
/// there end. What is an address or a network in CIDR form is taken as that, anything else as a user; @NAME is always a user.
#[derive(Debug, Args)]
#[command(mut_arg("reason", |arg| arg.help("Why: 1 to 256 characters. It stands in the journal, and who is banned is told it, also at each login and call while the ban \
    lasts [default: asked for on a terminal]")))]
pub(crate) struct BanArgs {
    /// Whom or what: bob, @10.0.0.7, 203.0.113.7, 203.0.113.0/24 or an IPv6 network
    #[arg(value_name = "USER|ADDRESS|CIDR")]
    target: String,
    /// For how long, 1s to 10 years [default: until it is lifted]
    #[arg(long = "for", value_name = "SPAN", value_parser = parse_span)]
    duration: Option<Duration>,
    #[command(flatten)]
    reason: ReasonArgs,
}

/// Lift a ban
#[derive(Debug, Args)]
pub(crate) struct UnbanArgs {
    /// Whom or what, as for `ban`, or the ban's number in `greffe-admin bans`
    #[arg(value_name = "USER|ADDRESS|CIDR|NUMBER")]
    target: String,
    #[command(flatten)]
    reason: ReasonArgs,
}

/// Bans.
pub(crate) async fn ban(args: BanArgs, context: &Context) -> Result<(), CommandError> {
    let reason = context.reason(&args.reason)?;
    let asks = context.asks()?;
    let operator = context.operator().await?;
    let target = match target::to_ban(&args.target) {
        Target::Network(network) => {
            if asks {
                let touched = preview::network(operator, &network).await?;
                context.confirm(&touched, &format!("Ban {network}?"))?;
            }
            create_ban_request::Target::Network(network.to_string())
        }
        Target::User(user) => {
            if asks {
                context.confirm(&preview::user(operator, &user).await?, &format!("Ban {user}?"))?;
            }
            create_ban_request::Target::User(user)
        }
    };
    let request = CreateBanRequest {
        reason,
        target: Some(target),
        duration: args.duration.map(super::wire_span),
        ..Default::default()
    };
    let answer = operator.call(request).await?;
    let ban = answer.ban.unwrap_or_default();
    let text = format!(
        "ban {}: banned {} {}: {}",
        ban.index,
        visible(bans::target(&ban)),
        bans::until(&ban),
        cut(answer.sessions_ended, answer.streams_closed)
    );
    let mut facts = bans::object(&ban);
    facts["sessions_ended"] = json!(answer.sessions_ended);
    facts["streams_closed"] = json!(answer.streams_closed);
    done(context, answer.receipt.as_ref(), &text, facts)
}

/// Lifts a ban.
pub(crate) async fn unban(args: UnbanArgs, context: &Context) -> Result<(), CommandError> {
    use lift_ban_request::Target as Named;
    let reason = context.reason(&args.reason)?;
    let (target, name) = match target::to_unban(&args.target) {
        Lifted::Number(number) => (Named::BanIndex(number), format!("number {number}")),
        Lifted::Of(Target::User(user)) => (Named::User(user.clone()), format!("of {user}")),
        Lifted::Of(Target::Network(network)) => (Named::Network(network.to_string()), format!("of {network}")),
    };
    let facts = match &target {
        Named::BanIndex(number) => json!({"ban_index": number}),
        Named::User(user) => json!({"user": user}),
        Named::Network(network) => json!({"network": network}),
    };
    let request = LiftBanRequest {
        reason,
        target: Some(target),
        ..Default::default()
    };
    let answer = context.operator().await?.call(request).await?;
    done(
        context,
        answer.receipt.as_ref(),
        &format!("lifted the ban {}", visible(&name)),
        facts,
    )
}
