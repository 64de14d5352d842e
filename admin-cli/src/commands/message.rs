//! `greffe-admin message`

use clap::Args;
use greffe::admin_api::{ListUserMessagesRequest, MessageUserRequest};
use greffe::api::Message;
use greffe::terminal::error::CommandError;
use greffe::terminal::text::{visible, visible_lines};
use greffe::terminal::time;
use serde_json::json;

use super::preview;
use crate::cli::ReasonArgs;
use crate::context::Context;
use crate::output::done;
use crate::target;

/// Write to a user as the operator, or read that conversation
///
/// The message arrives from the operator's identity, in the direct room of the two, where the user can answer. Without TEXT the conversation
/// is shown, which reads what somebody wrote: it leaves a row in the journal, as sending does.
#[derive(Debug, Args)]
pub(crate) struct MessageArgs {
    /// A user name or id
    #[arg(value_name = "USER")]
    user: String,
    /// The text: several words are joined by spaces
    #[arg(value_name = "TEXT")]
    text: Vec<String>,
    /// Show at most so many messages, the newest ones
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=500))]
    lines: i32,
    /// Show messages before the one with this number
    #[arg(long, value_name = "SEQ", default_value_t = 0, hide_default_value = true)]
    before: i64,
    #[command(flatten)]
    reason: ReasonArgs,
}

/// Writes, or reads.
pub(crate) async fn run(args: MessageArgs, context: &Context) -> Result<(), CommandError> {
    let reason = context.reason(&args.reason)?;
    let user = target::user(&args.user);
    if args.text.is_empty() {
        return read(user, args.before, args.lines, reason, context).await;
    }
    send(&user, &args.text.join(" "), reason, context).await
}

/// Writes a text as it is.
pub(crate) async fn send(user: &str, text: &str, reason: String, context: &Context) -> Result<(), CommandError> {
    let request = MessageUserRequest {
        reason,
        user: user.to_owned(),
        text: text.to_owned(),
        ..Default::default()
    };
    let answer = context.operator().await?.call(request).await?;
    done(
        context,
        answer.receipt.as_ref(),
        &format!("sent to {} as message {}", visible(user), answer.seq),
        json!({"user": user, "room_id": answer.room_id, "seq": answer.seq}),
    )
}

async fn read(
    user: String,
    before_seq: i64,
    page_size: i32,
    reason: String,
    context: &Context,
) -> Result<(), CommandError> {
    let request = ListUserMessagesRequest {
        reason,
        user: user.clone(),
        before_seq,
        page_size,
        ..Default::default()
    };
    let operator = context.operator().await?;
    let answer = operator.call(request).await?;
    let member = preview::find_user(operator, &user).await?;
    let ui = context.ui;
    let oldest = answer.messages.first().map(|message| message.seq);
    for message in answer.messages {
        // Two people write here: the member, and the operator's identity.
        let author = if message.author_id == member.id {
            &member.name
        } else {
            "the operator"
        };
        if ui.is_json() {
            ui.object(&json!({
                "room_id": message.room_id,
                "seq": message.seq,
                "author_id": message.author_id,
                "by_operator": message.author_id != member.id,
                "posted_at": time::json(message.posted_at.as_ref()),
                "edited_at": time::json(message.edited_at.as_ref()),
                "deleted": message.deleted,
                "text": message.text,
            }))?;
        } else {
            show(&message, author, context)?;
        }
    }
    match oldest {
        None => ui.note("nothing was written yet"),
        Some(oldest) if answer.has_more => ui.note(&format!("there is more: add --before {oldest}")),
        Some(_) => {}
    }
    Ok(())
}

fn show(message: &Message, author: &str, context: &Context) -> Result<(), CommandError> {
    let edited = if message.edited_at.is_some() { " (edited)" } else { "" };
    let head = format!(
        "{}  #{} {}{edited}",
        time::day_and_time(message.posted_at.as_ref()),
        message.seq,
        visible(author)
    );
    context.ui.line(&head)?;
    if message.deleted {
        return context.ui.line("    (deleted)");
    }
    visible_lines(&message.text)
        .iter()
        .try_for_each(|line| context.ui.line(&format!("    {line}")))
}
