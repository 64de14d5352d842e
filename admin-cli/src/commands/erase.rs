//! `greffe-admin erase`

use std::time::Duration;

use clap::Args;
use greffe::api::ErrorReason;
use greffe::record_api::{EraseRequest, Erasure, ErasureState, GetErasureRequest, erase_request};
use greffe::terminal::error::CommandError;
use greffe::terminal::text::visible;
use greffe::{Code, Error, Operator};

use super::erasures::{self, extent, object};
use super::preview;
use super::subjects::{Finder, Subject};
use crate::cli::ReasonArgs;
use crate::context::Context;
use crate::output::done;

/// How often it is asked whether an erasure is done.
const POLL: Duration = Duration::from_millis(500);
/// What goes with a person, and what stays.
const OF_A_PERSON: &str = "Everything that they wrote and sent goes for good, with their name and addresses: texts, files, and every copy on this \
    server. The account is closed, and nobody gets its name again.";
/// What goes with a room, and what stays.
const OF_A_ROOM: &str = "Everything that was written and sent there goes for good, with its name: texts, files, and every copy on this server.";
/// What is true of both.
const STAYS: &str = "It cannot be taken back. What stays: that something happened and when, the audit log, and backups, which are yours to delete.";

/// Erase a person or a room for good
///
/// Bodies, file bytes and every copy go: nobody is shown them any more, then they leave the disk, and only then it says done. The journal's heads and its
/// tree stay, so that it can still be proved that nothing else changed. What a hold covers is not erased: then it is refused with the hold's
/// number, and begins by itself when the last such hold is released.
#[derive(Debug, Args)]
pub(crate) struct EraseArgs {
    /// Whom or what: @NAME is a user, room:NAME or '#NAME' a room, ids are taken too
    #[arg(value_name = "USER|ROOM")]
    target: String,
    /// The legal basis, such as a request under Art. 17 GDPR and its date; it stays in the record
    #[arg(long, value_name = "TEXT")]
    basis: String,
    /// Do not wait until it is done
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    reason: ReasonArgs,
}

/// Erases.
pub(crate) async fn run(args: EraseArgs, context: &Context) -> Result<(), CommandError> {
    let reason = context.reason(&args.reason)?;
    let asks = context.asks()?;
    let operator = context.operator().await?;
    let subject = Finder::new(operator).find(&args.target).await?;
    if asks {
        let (touched, question) = touched(operator, &subject).await?;
        context.confirm(&touched, &question)?;
    }
    let target = match &subject {
        Subject::User { id, .. } => erase_request::Target::User(id.clone()),
        Subject::Room { id, .. } => erase_request::Target::Room(id.clone()),
    };
    let request = EraseRequest {
        reason,
        basis: args.basis,
        target: Some(target),
        ..Default::default()
    };
    let answer = operator.call(request).await.map_err(held)?;
    let mut erasure = answer.erasure.unwrap_or_default();
    let name = match &subject {
        Subject::User { name, .. } => format!("@{name}"),
        Subject::Room { name, .. } => name.clone(),
    };
    if !args.no_wait && erasure.state() == ErasureState::Running {
        context.ui.note(&format!("erasure {} goes on", erasure.index));
        erasure = until_done(operator, erasure.index).await?;
    }
    let text = match erasure.state() {
        ErasureState::Done => format!("erased {}: {}", visible(&name), extent(&erasure)),
        ErasureState::Running => format!(
            "erasure {} of {} goes on; `greffe-admin erasures show {}` tells when it is done",
            erasure.index,
            visible(&name),
            erasure.index
        ),
        _ => {
            let why = format!("erasure {} is {}", erasure.index, erasures::state_name(erasure.state()));
            return Err(CommandError::Failed(why).with_hint("`greffe-admin hold list` lists what is held"));
        }
    };
    done(context, answer.receipt.as_ref(), &text, object(&erasure))
}

/// What is about to go, and the question.
async fn touched(operator: &Operator, subject: &Subject) -> Result<(String, String), CommandError> {
    Ok(match subject {
        Subject::User { id, name } => {
            let user = match preview::user(operator, id).await {
                Ok(user) => user,
                // An investigator who is no operator is not told more.
                Err(error) if error.code == Code::PermissionDenied => visible(name),
                Err(error) => return Err(error.into()),
            };
            (format!("{user}\n{OF_A_PERSON}\n{STAYS}"), format!("Erase {name}?"))
        }
        Subject::Room { id, name } => (
            format!("{} ({})\n{OF_A_ROOM}\n{STAYS}", visible(name), visible(id)),
            format!("Erase {name}?"),
        ),
    })
}

async fn until_done(operator: &Operator, erasure_index: i64) -> Result<Erasure, CommandError> {
    loop {
        let answer = operator.call(GetErasureRequest { erasure_index }).await?;
        let erasure = answer.erasure.unwrap_or_default();
        if erasure.state() != ErasureState::Running {
            return Ok(erasure);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// A refusal because of a hold says which.
fn held(error: Error) -> CommandError {
    let hold = error.metadata.get("hold_index").cloned();
    match hold {
        Some(hold) if error.is(ErrorReason::Held) => CommandError::from(error).with_hint(format!(
            "hold {hold} keeps it: `greffe-admin hold list` tells for which case. It is erased by itself when the last such hold is released"
        )),
        _ => error.into(),
    }
}
