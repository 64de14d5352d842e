//! `greffe send`

use clap::Args;
use greffe::api::SendMessageRequest;
use greffe::{Client, Error, new_request_id};

use super::context::Context;
use super::render::{Names, receipt_object};
use super::stdin::{Lines, whole};
use super::target;
use crate::error::CommandError;
use crate::text::visible;

/// Send a message
#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// Where to: a room's name or id, or @USER
    #[arg(value_name = "ROOM|@USER")]
    room: String,
    /// The text; `-` reads one message from standard input
    #[arg(value_name = "TEXT", required_unless_present = "lines")]
    text: Option<String>,
    /// Send each line of standard input as a message, as it comes
    #[arg(long)]
    lines: bool,
    /// Reply to the message with this seq
    #[arg(long, value_name = "SEQ", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    reply_to: i64,
}

/// Sends one message, or one for each line.
pub(crate) async fn run(args: SendArgs, context: &Context) -> Result<(), CommandError> {
    if args.lines && args.text.as_deref().is_some_and(|text| text != "-") {
        return Err(CommandError::Usage(
            "--lines reads the messages from standard input: give `-` or nothing as TEXT".to_owned(),
        ));
    }
    let client = context.client().await?;
    let room = target::find(&client, &args.room).await?;
    let label = match &room.room {
        Some(room) => Names::new(&client).await?.room(room).await?,
        None => args.room.clone(),
    };
    let sender = Sender {
        client,
        context,
        room_id: target::room_id(&room).to_owned(),
        label,
        reply_to: args.reply_to,
    };
    if !args.lines {
        let text = match args.text.as_deref() {
            None | Some("-") => whole().await?,
            Some(text) => text.to_owned(),
        };
        return sender.send(text).await;
    }
    let mut lines = Lines::new();
    while let Some(line) = lines.next().await? {
        // The server refuses empty messages, and an empty line says nothing.
        if !line.is_empty() {
            sender.send(line).await.map_err(|error| in_line(error, lines.number()))?;
        }
    }
    Ok(())
}

struct Sender<'a> {
    client: Client,
    context: &'a Context,
    room_id: String,
    label: String,
    reply_to: i64,
}

impl Sender<'_> {
    async fn send(&self, text: String) -> Result<(), CommandError> {
        let request_id = new_request_id();
        let request = SendMessageRequest {
            request_id: request_id.clone(),
            room_id: self.room_id.clone(),
            text,
            reply_to_seq: self.reply_to,
        };
        let response = self.client.call(request).await?;
        let receipt = response.receipt.unwrap_or_default();
        if self.context.ui.is_json() {
            return self.context.ui.object(&receipt_object(&self.label, &receipt, &request_id));
        }
        self.context.ui.line(&format!("{} #{}", visible(&self.label), receipt.seq))
    }
}

/// Says in which line of the input it went wrong; the lines before it are sent.
fn in_line(error: CommandError, number: u64) -> CommandError {
    match error {
        CommandError::Server(error) => CommandError::Server(Error {
            message: format!("line {number}: {}", error.message),
            ..error
        }),
        other => other,
    }
}
