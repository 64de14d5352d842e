//! `greffe-admin sessions`

use clap::Args;
use greffe::admin_api::{AdminSession, LiveStream};
use greffe::terminal::error::CommandError;
use greffe::terminal::time;
use serde_json::{Value, json};

use super::preview;
use crate::context::Context;
use crate::output::{address_and_port, bytes};
use crate::target;

/// List who is logged in, and what they have open
///
/// One row a live stream, with the address and port at its other end; sessions without one have one row, with the address that they were
/// last used from.
#[derive(Debug, Args)]
pub(crate) struct SessionsArgs {
    /// Only those of this user
    #[arg(long, short, value_name = "USER")]
    user: Option<String>,
    /// Only those that have a live stream open
    #[arg(long)]
    live: bool,
}

/// Lists sessions, newest first.
pub(crate) async fn run(args: SessionsArgs, context: &Context) -> Result<(), CommandError> {
    let user = args.user.as_deref().map(target::user).unwrap_or_default();
    let sessions = preview::sessions(context.operator().await?, &user, args.live).await?;
    if context.ui.is_json() {
        return sessions.iter().try_for_each(|session| context.ui.object(&object(session)));
    }
    if sessions.is_empty() {
        context.ui.note("there are no such sessions");
    }
    context.ui.table(
        &[
            "SESSION",
            "USER",
            "CLIENT",
            "FROM",
            "SINCE",
            "LAST USED",
            "SENT",
            "QUEUED",
            "",
        ],
        sessions.iter().flat_map(rows).collect(),
    )
}

fn rows(session: &AdminSession) -> Vec<Vec<String>> {
    let kind = if session.is_operator_session { "operator" } else { "" };
    let whose = [&session.id, &session.user_name, &session.client].map(String::clone);
    let used = time::day_and_time(session.last_used_at.as_ref());
    if session.streams.is_empty() {
        let since = time::day_and_time(session.created_at.as_ref());
        let rest = [
            session.address.clone(),
            since,
            used,
            String::new(),
            String::new(),
            kind.to_owned(),
        ];
        return vec![whose.into_iter().chain(rest).collect()];
    }
    let row = |stream: &LiveStream| {
        let state = if stream.catching_up { "catching up" } else { kind };
        let rest = [
            address_and_port(&stream.address, stream.port),
            time::day_and_time(stream.opened_at.as_ref()),
            used.clone(),
            bytes(stream.sent_bytes),
            bytes(stream.queued_bytes),
            state.to_owned(),
        ];
        whose.iter().cloned().chain(rest).collect()
    };
    session.streams.iter().map(row).collect()
}

/// A session for programs.
fn object(session: &AdminSession) -> Value {
    let stream = |stream: &LiveStream| {
        json!({
            "address": stream.address,
            "port": stream.port,
            "connection": stream.connection,
            "opened_at": time::json(stream.opened_at.as_ref()),
            "sent_bytes": stream.sent_bytes,
            "queued_bytes": stream.queued_bytes,
            "catching_up": stream.catching_up,
        })
    };
    json!({
        "session_id": session.id,
        "user": session.user_name,
        "user_id": session.user_id,
        "client": session.client,
        "address": session.address,
        "created_at": time::json(session.created_at.as_ref()),
        "last_used_at": time::json(session.last_used_at.as_ref()),
        "operator_session": session.is_operator_session,
        "streams": session.streams.iter().map(stream).collect::<Vec<_>>(),
    })
}
