//! `greffe sessions`

use clap::{Args, Subcommand};
use serde_json::json;

use super::context::Context;
use crate::error::CommandError;
use crate::time;

/// List the sessions of the account, or end one
#[derive(Debug, Args)]
pub(crate) struct SessionsArgs {
    #[command(subcommand)]
    command: Option<SessionsCommand>,
}

#[derive(Debug, Subcommand)]
enum SessionsCommand {
    /// List the sessions that have not ended, newest first
    List,
    /// End a session
    Revoke {
        /// The session's id
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// Lists sessions or ends one.
pub(crate) async fn run(args: SessionsArgs, context: &Context) -> Result<(), CommandError> {
    let client = context.client().await?;
    let ui = context.ui;
    if let Some(SessionsCommand::Revoke { id }) = args.command {
        client.revoke_session(&id).await?;
        if ui.is_json() {
            return ui.object(&json!({"session_id": id, "revoked": true}));
        }
        ui.note("the session is ended");
        return Ok(());
    }
    let sessions = client.sessions().await?;
    if ui.is_json() {
        for session in sessions {
            ui.object(&json!({
                "session_id": session.id,
                "current": session.current,
                "client": session.client,
                "address": session.address,
                "created_at": time::json(session.created_at.as_ref()),
                "last_used_at": time::json(session.last_used_at.as_ref()),
                "expires_at": time::json(session.expires_at.as_ref()),
                "streams": session.stream_count,
            }))?;
        }
        return Ok(());
    }
    let rows = sessions.into_iter().map(|session| {
        vec![
            session.id,
            if session.current {
                "this one".to_owned()
            } else {
                String::new()
            },
            session.client,
            session.address,
            time::day_and_time(session.last_used_at.as_ref()),
            time::day_and_time(session.expires_at.as_ref()),
        ]
    });
    ui.table(&["ID", "", "CLIENT", "ADDRESS", "LAST USED", "ENDS"], rows.collect())
}
