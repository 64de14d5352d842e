//! Looks at a server's record beside a command, and says what it finds.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;

use super::error::CommandError;
use super::ui::Ui;
use crate::{Code, Error, Witnessed, reason};

/// How often commands look that are over soon.
pub const SELDOM: Duration = Duration::from_secs(3600);
/// How often those look that go on.
pub const OFTEN: Duration = Duration::from_secs(60);
/// How long a look beside a command may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether it is time to look again.
pub fn is_due(last: Option<SystemTime>, every: Duration) -> bool {
    // A clock that was set back is no reason not to look.
    last.and_then(|last| last.elapsed().ok()).is_none_or(|since| since >= every)
}

/// What there is to say of what a look found; nothing if there is nothing new.
///
/// # Errors
/// The record, or what was kept of it, is not in order.
pub fn news(found: Result<Witnessed, Error>) -> Result<Option<String>, CommandError> {
    match found {
        Ok(Witnessed::First { .. } | Witnessed::Unsupported | Witnessed::Busy) => Ok(None),
        Ok(Witnessed::GoesOn { keys, .. }) => Ok(keys.last().map(|key| {
            format!("the server's record is signed with another key now, and the one before vouches for it: {key}")
        })),
        Ok(restored @ Witnessed::Restored { .. }) => Ok(Some(restored_text(&restored))),
        Err(error) if is_finding(&error) => Err(error.into()),
        Err(error)
            if matches!(
                error.code,
                Code::Unavailable | Code::Unauthenticated | Code::PermissionDenied | Code::ResourceExhausted
            ) =>
        {
            Ok(None)
        }
        Err(error) => Ok(Some(format!("the server's record could not be looked at: {error}"))),
    }
}

/// Whether something is wrong with the record, or with what was kept of it.
fn is_finding(error: &Error) -> bool {
    [reason::RECORD_CHANGED, reason::KEY_REPLACED, reason::WITNESS_UNUSABLE].contains(&error.reason.as_str())
}

fn restored_text(restored: &Witnessed) -> String {
    let Witnessed::Restored {
        gone,
        same,
        reason,
        evidence,
        ..
    } = restored
    else {
        return String::new();
    };
    let gone = match gone {
        Some((first, last)) => format!("rows {first} to {last} are gone"),
        None => "no row that was known here is gone".to_owned(),
    };
    let same = match same {
        0 => "no checkpoint was kept here of the rows that were there before".to_owned(),
        same => format!("the first {same} rows are the same"),
    };
    format!(
        "the server's record was restored: {gone}, {same}. The reason that was given: {reason}. The checkpoint from before is kept in {}",
        evidence.display()
    )
}

/// Looks beside a command.
#[derive(Debug, Default)]
pub struct Watch(Mutex<Option<JoinHandle<bool>>>);

impl Watch {
    /// Begins to look, unless it looks already. What is found is said at once.
    pub fn begin(&self, ui: Ui, look: impl Future<Output = Result<Witnessed, Error>> + Send + 'static) {
        let mut looking = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if looking.is_some() {
            return;
        }
        *looking = Some(tokio::spawn(async move {
            // The next command looks again.
            let Ok(found) = tokio::time::timeout(PATIENCE, look).await else {
                return true;
            };
            match news(found) {
                Ok(None) => true,
                Ok(Some(text)) => {
                    ui.warn(&text);
                    true
                }
                Err(error) => {
                    ui.fail(&error);
                    false
                }
            }
        }));
    }

    /// Waits for the end of the look, which does not take long. Whether the record is in order, as far as that is known.
    pub async fn end(&self) -> bool {
        let looking = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match looking {
            Some(looking) => looking.await.unwrap_or(true),
            None => true,
        }
    }
}
