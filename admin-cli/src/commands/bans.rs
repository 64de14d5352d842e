//! `greffe-admin bans`

use greffe::admin_api::{Ban, ListBansRequest};
use greffe::terminal::error::CommandError;
use greffe::terminal::time;
use serde_json::{Value, json};

use super::PAGE;
use crate::context::Context;

/// Lists the bans in force, newest first.
pub(crate) async fn run(context: &Context) -> Result<(), CommandError> {
    let request = |page_token| ListBansRequest {
        page_size: PAGE,
        page_token,
    };
    let operator = context.operator().await?;
    let bans = operator.all_pages(request, |page| (page.bans, page.next_page_token)).await?;
    if context.ui.is_json() {
        return bans.iter().try_for_each(|ban| context.ui.object(&object(ban)));
    }
    if bans.is_empty() {
        context.ui.note("nobody is banned");
    }
    let rows = bans.into_iter().map(|ban| {
        vec![
            ban.index.to_string(),
            target(&ban).to_owned(),
            time::day_and_time(ban.created_at.as_ref()),
            ends(&ban),
            ban.reason,
        ]
    });
    context.ui.table(&["NUMBER", "WHO", "SINCE", "UNTIL", "REASON"], rows.collect())
}

/// Whom or what a ban is about.
pub(crate) fn target(ban: &Ban) -> &str {
    if ban.network.is_empty() {
        &ban.user_name
    } else {
        &ban.network
    }
}

fn ends(ban: &Ban) -> String {
    match &ban.expires_at {
        Some(end) => time::day_and_time(Some(end)),
        None => "until lifted".to_owned(),
    }
}

/// How long a ban lasts, in words.
pub(crate) fn until(ban: &Ban) -> String {
    match &ban.expires_at {
        Some(end) => format!("until {}", time::day_and_time(Some(end))),
        None => "until it is lifted".to_owned(),
    }
}

/// A ban for programs.
pub(crate) fn object(ban: &Ban) -> Value {
    let given = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
    json!({
        "ban_index": ban.index,
        "user": given(&ban.user_name),
        "user_id": given(&ban.user_id),
        "network": given(&ban.network),
        "reason": ban.reason,
        "created_at": time::json(ban.created_at.as_ref()),
        "expires_at": time::json(ban.expires_at.as_ref()),
    })
}
