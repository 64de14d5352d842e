//! `greffe-admin retention`

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use greffe::api::RetentionClass;
use greffe::record_api::{GetRetentionRequest, Retention, SetRetentionRequest};
use greffe::terminal::error::CommandError;
use greffe::terminal::time;
use serde_json::{Value, json};

use super::log::record::{class_name, kept};
use crate::cli::ReasonArgs;
use crate::context::Context;
use crate::output::done;
use crate::span::{self, SpanError};

/// Show how long data is kept, or set it
///
/// What is older than its class is kept is erased within a day, unless a hold covers it. It says nothing about backups.
#[derive(Debug, Args)]
pub(crate) struct RetentionArgs {
    #[command(subcommand)]
    command: Option<RetentionCommand>,
}

#[derive(Debug, Subcommand)]
enum RetentionCommand {
    /// Show how long each class of data is kept
    Show,
    /// Set how long a class of data is kept; asks first if that erases more than now
    Set {
        /// What: messages with edits and reactions; files with their bytes; or who connected from where
        #[arg(value_name = "CLASS")]
        class: Class,
        /// For how long: `forever`, or a span from an hour on, such as 365d
        #[arg(value_name = "forever|SPAN", value_parser = parse_keep)]
        keep: Keep,
        #[command(flatten)]
        reason: ReasonArgs,
    },
}

/// A class of data, as an argument.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Class {
    Messages,
    Files,
    Connections,
}

impl From<Class> for RetentionClass {
    fn from(class: Class) -> Self {
        match class {
            Class::Messages => Self::Messages,
            Class::Files => Self::Files,
            Class::Connections => Self::Connections,
        }
    }
}

/// For how long; `None` is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Keep(Option<Duration>);

fn parse_keep(text: &str) -> Result<Keep, SpanError> {
    if text.trim().eq_ignore_ascii_case("forever") {
        return Ok(Keep(None));
    }
    span::parse(text).map(|span| Keep(Some(span)))
}

/// Shows or sets.
pub(crate) async fn run(args: RetentionArgs, context: &Context) -> Result<(), CommandError> {
    match args.command {
        None | Some(RetentionCommand::Show) => {
            let answer = context.operator().await?.call(GetRetentionRequest {}).await?;
            show(&answer.retention, context)
        }
        Some(RetentionCommand::Set { class, keep, reason }) => set(class.into(), keep, &reason, context).await,
    }
}

fn show(retention: &[Retention], context: &Context) -> Result<(), CommandError> {
    if context.ui.is_json() {
        return retention.iter().try_for_each(|class| context.ui.object(&object(class)));
    }
    let rows = retention.iter().map(|class| {
        let since = match &class.set_at {
            Some(set_at) => time::day_and_time(Some(set_at)),
            None => "the default".to_owned(),
        };
        vec![class_name(class.class()).to_owned(), kept(seconds(class)), since]
    });
    context.ui.table(&["CLASS", "KEPT", "SET"], rows.collect())
}

async fn set(class: RetentionClass, keep: Keep, reason: &ReasonArgs, context: &Context) -> Result<(), CommandError> {
    let reason = context.reason(reason)?;
    let operator = context.operator().await?;
    if let Some(keep) = keep.0 {
        let now = operator.call(GetRetentionRequest {}).await?.retention;
        let now = now.iter().find(|now| now.class() == class).map_or(0, seconds);
        let is_less = now == 0 || u64::try_from(now).is_ok_and(|now| keep.as_secs() < now);
        if is_less && context.asks()? {
            let shown = kept(i64::try_from(keep.as_secs()).unwrap_or(i64::MAX));
            context.confirm(
                &format!(
                    "{} are kept {} now. What is older than {} then goes within a day, for good.",
                    class_name(class),
                    kept(now),
                    shown
                ),
                &format!("Keep {} for {shown} only?", class_name(class)),
            )?;
        }
    }
    let request = SetRetentionRequest {
        reason,
        class: class.into(),
        keep: keep.0.map(super::wire_span),
        ..Default::default()
    };
    let answer = operator.call(request).await?;
    let set = answer.retention.iter().find(|set| set.class() == class).copied();
    let set = set.unwrap_or_default();
    let text = format!("{} are kept {}", class_name(class), kept(seconds(&set)));
    done(context, answer.receipt.as_ref(), &text, object(&set))
}

/// For how long; 0 is for ever.
fn seconds(class: &Retention) -> i64 {
    class.keep.as_ref().map_or(0, |keep| keep.seconds)
}

/// A class for programs.
fn object(class: &Retention) -> Value {
    let seconds = seconds(class);
    json!({
        "class": class_name(class.class()),
        "keep": kept(seconds),
        "keep_seconds": (seconds != 0).then_some(seconds),
        "set_at": time::json(class.set_at.as_ref()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_kept_for_a_span_or_for_ever() {
        assert_eq!(parse_keep("Forever"), Ok(Keep(None)));
        assert_eq!(parse_keep("365d"), Ok(Keep(Some(Duration::from_secs(365 * 86_400)))));
        assert_eq!(parse_keep("always"), Err(SpanError::Form));
    }
}
