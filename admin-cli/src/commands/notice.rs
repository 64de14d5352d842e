//! `greffe-admin notice`

use clap::{ArgGroup, Args};
use greffe::admin_api::SetNoticeRequest;
use greffe::terminal::error::CommandError;
use serde_json::json;

use crate::cli::ReasonArgs;
use crate::context::Context;
use crate::output::done;

/// Set the notice that everyone is told who comes here
///
/// It replaces the one in the server's configuration.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["text", "clear"]))]
pub(crate) struct NoticeArgs {
    /// The notice: several words are joined by spaces
    #[arg(value_name = "TEXT")]
    text: Vec<String>,
    /// Have no notice
    #[arg(long)]
    clear: bool,
    #[command(flatten)]
    reason: ReasonArgs,
}

/// Sets the notice.
pub(crate) async fn run(args: NoticeArgs, context: &Context) -> Result<(), CommandError> {
    let text = args.text.join(" ");
    let request = SetNoticeRequest {
        reason: context.reason(&args.reason)?,
        text: text.clone(),
        ..Default::default()
    };
    let answer = context.operator().await?.call(request).await?;
    let told = if text.is_empty() {
        "there is no notice now"
    } else {
        "set the notice"
    };
    done(context, answer.receipt.as_ref(), told, json!({"notice": text}))
}
