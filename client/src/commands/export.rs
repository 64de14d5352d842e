//! `greffe export`

use std::path::PathBuf;

use clap::Args;
use greffe::api::ErrorReason;
use greffe::terminal::error::come_back;
use greffe::terminal::export::{Finished, Order, Place};
use greffe::terminal::shell::quoted;
use serde_json::json;

use super::context::Context;
use crate::error::CommandError;
use crate::progress::amount;
use crate::text::visible;

/// Fetch everything that you did here, with the proof that it is unaltered
///
/// It is what the server has on record as yours: messages, edits and deletions, reactions, files, logins. report.html in it is for people,
/// messages.jsonl for programs, README.txt says how to check it. The server gives it once in ten minutes.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Where to: a new or an empty directory, or a new archive, if the name ends in .tar
    #[arg(long, short, value_name = "DIR|FILE.tar")]
    output: PathBuf,
}

/// Fetches it.
pub(crate) async fn run(args: ExportArgs, context: &Context) -> Result<(), CommandError> {
    let client = context.client().await?;
    let place = Place::new(&args.output);
    // What broke off is of no use: the next one is of another moment.
    if let Some(writing) = place.resume()? {
        match writing.order() {
            Some(order) if order.export.is_some() => {
                return Err(CommandError::Failed(format!(
                    "an export of a case broke off at {}",
                    args.output.display()
                ))
                .with_hint("put yours elsewhere"));
            }
            _ => writing.discard()?,
        }
    }
    let mut writing = place.claim()?;
    writing.begin_order(Order::default())?;
    writing.show_progress(!context.ui.is_json());
    let error = tokio::select! {
        ended = client.export_my_data(&mut writing) => match ended {
            Ok(()) => return tell(&writing.finish(None)?, context),
            Err(error) if error.is(ErrorReason::RateLimited) => {
                let hint = come_back(&error);
                CommandError::from(error).with_hint(hint)
            }
            Err(error) => error.into(),
        },
        Ok(()) = tokio::signal::ctrl_c() => CommandError::Failed("interrupted; what came was removed".to_owned()),
    };
    // The first error is the one that matters.
    drop(writing.discard());
    Err(error)
}

fn tell(finished: &Finished, context: &Context) -> Result<(), CommandError> {
    let counts = &finished.manifest["counts"];
    let path = finished.path.to_string_lossy();
    let ui = context.ui;
    if ui.is_json() {
        return ui.object(&json!({
            "export": finished.manifest["export"],
            "path": path,
            "manifest_sha256": finished.manifest_sha256,
            "counts": counts,
        }));
    }
    let number = |name: &str| counts[name].as_u64().unwrap_or_default();
    ui.line(&format!(
        "what you did is in {}: {} rows in {} rooms, {} files ({})",
        visible(&path),
        number("ordered"),
        number("rooms"),
        number("files"),
        amount(number("file_bytes"))
    ))?;
    ui.line(&format!("manifest SHA-256 {}", finished.manifest_sha256))?;
    ui.note(&format!(
        "read it: report.html in it; check it, without any server: greffe-admin verify {}",
        quoted(&path)
    ));
    Ok(())
}
