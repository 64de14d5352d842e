//! `greffe-admin erasures`

use clap::{Args, Subcommand};
use greffe::record_api::{Erasure, ErasureState, GetErasureRequest, ListErasuresRequest};
use greffe::terminal::error::CommandError;
use greffe::terminal::time;
use serde_json::{Value, json};

use super::{PAGE, subjects};
use crate::context::Context;
use crate::output::count;

/// List erasures, and see how far they are
#[derive(Debug, Args)]
pub(crate) struct ErasuresArgs {
    #[command(subcommand)]
    command: Option<ErasuresCommand>,
}

#[derive(Debug, Subcommand)]
enum ErasuresCommand {
    /// List all erasures, newest first
    List,
    /// Show one erasure
    Show {
        /// The erasure's number
        #[arg(value_name = "ID")]
        id: i64,
    },
}

/// Lists, or shows one.
pub(crate) async fn run(args: ErasuresArgs, context: &Context) -> Result<(), CommandError> {
    match args.command {
        None | Some(ErasuresCommand::List) => list(context).await,
        Some(ErasuresCommand::Show { id }) => show(id, context).await,
    }
}

async fn list(context: &Context) -> Result<(), CommandError> {
    let request = |page_token| ListErasuresRequest {
        page_size: PAGE,
        page_token,
    };
    let operator = context.operator().await?;
    let pages = operator.all_pages(request, |page| (page.erasures, page.next_page_token));
    let erasures = pages.await?;
    if context.ui.is_json() {
        return erasures.iter().try_for_each(|erasure| context.ui.object(&object(erasure)));
    }
    if erasures.is_empty() {
        context.ui.note("nothing was ordered to be erased");
    }
    let rows = erasures.into_iter().map(|erasure| {
        vec![
            erasure.index.to_string(),
            what(&erasure),
            state_name(erasure.state()).to_owned(),
            time::day_and_time(erasure.ordered_at.as_ref()),
            time::day_and_time(erasure.done_at.as_ref()),
            erasure.basis,
        ]
    });
    context
        .ui
        .table(&["ID", "WHAT", "STATE", "ORDERED", "DONE", "BASIS"], rows.collect())
}

async fn show(erasure_index: i64, context: &Context) -> Result<(), CommandError> {
    let answer = context.operator().await?.call(GetErasureRequest { erasure_index }).await?;
    let erasure = answer.erasure.unwrap_or_default();
    if context.ui.is_json() {
        return context.ui.object(&object(&erasure));
    }
    let mut rows = vec![
        ("erasure", erasure.index.to_string()),
        ("what", what(&erasure)),
        ("state", state_name(erasure.state()).to_owned()),
        ("legal basis", erasure.basis.clone()),
        ("ordered", time::day_and_time(erasure.ordered_at.as_ref())),
    ];
    if erasure.state() == ErasureState::Done {
        rows.push(("done", time::day_and_time(erasure.done_at.as_ref())));
        rows.push(("erased", extent(&erasure)));
    }
    let rows = rows.into_iter().map(|(what, is)| vec![what.to_owned(), is]);
    context.ui.table(&["WHAT", "IS"], rows.collect())
}

/// Whom or what it is about, for people.
fn what(erasure: &Erasure) -> String {
    match (&erasure.user, &erasure.room) {
        (Some(user), _) => subjects::words(std::slice::from_ref(user), &[]),
        (None, Some(room)) => subjects::words(&[], std::slice::from_ref(room)),
        (None, None) => String::new(),
    }
}

/// What was erased, once it is done.
pub(super) fn extent(erasure: &Erasure) -> String {
    format!("{}, {}", count(erasure.rows, "row"), count(erasure.files, "file"))
}

/// How far it is, in words.
pub(super) fn state_name(state: ErasureState) -> &'static str {
    match state {
        ErasureState::Unspecified => "unknown",
        ErasureState::Held => "held",
        ErasureState::Running => "running",
        ErasureState::Done => "done",
    }
}

/// An erasure for programs.
pub(super) fn object(erasure: &Erasure) -> Value {
    let subject = match (&erasure.user, &erasure.room) {
        (Some(user), _) => subjects::object("user", user),
        (None, Some(room)) => subjects::object("room", room),
        (None, None) => Value::Null,
    };
    json!({
        "id": erasure.index,
        "subject": subject,
        "basis": erasure.basis,
        "state": state_name(erasure.state()),
        "ordered_at": time::json(erasure.ordered_at.as_ref()),
        "done_at": time::json(erasure.done_at.as_ref()),
        "rows": erasure.rows,
        "files": erasure.files,
    })
}
