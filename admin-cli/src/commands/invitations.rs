//! `greffe-admin invitations`

use clap::{Args, Subcommand};
use greffe::admin_api::{CreateInvitationRequest, Invitation, ListInvitationsRequest, RevokeInvitationRequest};
use greffe::terminal::error::CommandError;
use greffe::terminal::text::visible;
use greffe::terminal::time;
use greffe::{Error, Operator};
use serde_json::{Value, json};

use super::PAGE;
use crate::cli::ReasonArgs;
use crate::context::Context;
use crate::output::done;

/// List invitations, and manage them
#[derive(Debug, Args)]
pub(crate) struct InvitationsArgs {
    #[command(subcommand)]
    command: Option<InvitationsCommand>,
}

#[derive(Debug, Subcommand)]
enum InvitationsCommand {
    /// List invitations that can still be used, newest first
    List,
    /// Make an invitation; prints the code with which one person can sign up
    Create {
        /// For whom, in your words
        #[arg(long = "for", value_name = "TEXT", default_value = "", hide_default_value = true)]
        note: String,
        /// For how many days it is good
        #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(i32).range(1..=365))]
        days: i32,
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Take an invitation back
    Revoke {
        /// The invitation's number
        #[arg(value_name = "NUMBER")]
        number: i64,
        #[command(flatten)]
        reason: ReasonArgs,
    },
}

/// Lists invitations, or manages them.
pub(crate) async fn run(args: InvitationsArgs, context: &Context) -> Result<(), CommandError> {
    match args.command {
        None | Some(InvitationsCommand::List) => list(context).await,
        Some(InvitationsCommand::Create { note, days, reason }) => create(note, days, &reason, context).await,
        Some(InvitationsCommand::Revoke { number, reason }) => revoke(number, &reason, context).await,
    }
}

async fn all(operator: &Operator) -> Result<Vec<Invitation>, Error> {
    let request = |page_token| ListInvitationsRequest {
        page_size: PAGE,
        page_token,
    };
    operator
        .all_pages(request, |page| (page.invitations, page.next_page_token))
        .await
}

async fn list(context: &Context) -> Result<(), CommandError> {
    let invitations = all(context.operator().await?).await?;
    if context.ui.is_json() {
        return invitations
            .iter()
            .try_for_each(|invitation| context.ui.object(&object(invitation)));
    }
    if invitations.is_empty() {
        context.ui.note("there are no invitations that can still be used");
    }
    let rows = invitations.into_iter().map(|invitation| {
        vec![
            invitation.index.to_string(),
            time::day_and_time(invitation.created_at.as_ref()),
            time::day_and_time(invitation.expires_at.as_ref()),
            invitation.note,
        ]
    });
    context.ui.table(&["NUMBER", "MADE", "EXPIRES", "FOR"], rows.collect())
}

async fn create(note: String, days: i32, reason: &ReasonArgs, context: &Context) -> Result<(), CommandError> {
    let request = CreateInvitationRequest {
        reason: context.reason(reason)?,
        note,
        days,
        ..Default::default()
    };
    let answer = context.operator().await?.call(request).await?;
    let invitation = answer.invitation.unwrap_or_default();
    let mut facts = object(&invitation);
    facts["code"] = json!(answer.code);
    done(
        context,
        answer.receipt.as_ref(),
        &format!("made invitation {}", invitation.index),
        facts,
    )?;
    if answer.code.is_empty() {
        context.ui.warn(&format!(
            "the code was in an answer that got lost; take the invitation back with `greffe-admin invitations revoke {}` and \
             make another one",
            invitation.index
        ));
        return Ok(());
    }
    if context.ui.is_json() {
        return Ok(());
    }
    context.ui.line(&format!("code: {}", visible(&answer.code)))?;
    context.ui.note(&format!(
        "it is not shown again; one person can sign up with it before {}: greffe register NAME --invitation CODE",
        time::day_and_time(invitation.expires_at.as_ref())
    ));
    Ok(())
}

async fn revoke(number: i64, reason: &ReasonArgs, context: &Context) -> Result<(), CommandError> {
    let reason = context.reason(reason)?;
    let asks = context.asks()?;
    let operator = context.operator().await?;
    if asks {
        let found = all(operator).await?.into_iter().find(|invitation| invitation.index == number);
        let touched = match found {
            Some(invitation) if invitation.note.is_empty() => format!("invitation {number}"),
            Some(invitation) => format!("invitation {number}, for {}", visible(&invitation.note)),
            None => format!("invitation {number}, which cannot be used any more"),
        };
        context.confirm(&touched, "Take it back?")?;
    }
    let request = RevokeInvitationRequest {
        reason,
        invitation_index: number,
        ..Default::default()
    };
    let answer = operator.call(request).await?;
    done(
        context,
        answer.receipt.as_ref(),
        &format!("took invitation {number} back"),
        json!({"invitation_index": number}),
    )
}

/// An invitation for programs.
fn object(invitation: &Invitation) -> Value {
    json!({
        "invitation_index": invitation.index,
        "note": invitation.note,
        "created_at": time::json(invitation.created_at.as_ref()),
        "expires_at": time::json(invitation.expires_at.as_ref()),
    })
}
