//! How the live feed ends and pauses, in words for people and in objects for programs.

use std::time::Duration;

use greffe::api::{EndReason, ErrorReason};
use greffe::{Code, Error, Feed, Item};
use serde_json::{Value, json};

use super::render::kind_word;
use crate::error::CommandError;

/// How long the feed may take to say why it is over.
const LAST_ITEMS: Duration = Duration::from_secs(2);

/// Why the feed is over, as an error that says so in whole words and what to do. `message` is what the server said beside the reason.
pub(crate) fn failure(reason: EndReason, message: &str, error: Error) -> CommandError {
    let message = words(reason, message, &error);
    let failure = CommandError::Server(Error { message, ..error });
    match hint(reason) {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

/// Why the feed is over, if that is what lies behind an error: a call may be refused a moment before the feed says why.
pub(crate) async fn behind(error: CommandError, feed: &mut Feed) -> CommandError {
    let CommandError::Server(Error {
        code: Code::Unauthenticated | Code::PermissionDenied,
        ..
    }) = &error
    else {
        return error;
    };
    let deadline = tokio::time::Instant::now() + LAST_ITEMS;
    loop {
        match tokio::time::timeout_at(deadline, feed.next()).await {
            Ok(Some(Item::Ended { reason, message, error })) => return failure(reason, &message, error),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return error,
        }
    }
}

/// Why the feed is over, for programs.
pub(crate) fn object(reason: EndReason, message: &str, error: &Error) -> Value {
    json!({
        "kind": "ended",
        "reason": kind_word(reason.into(), "END_REASON_", Some(reason.as_str_name())),
        "message": words(reason, message, error),
    })
}

fn words(reason: EndReason, message: &str, error: &Error) -> String {
    // Without words of an operator, the server repeats those of the refusal.
    let because = if message.is_empty() || message == error.message {
        String::new()
    } else {
        format!(": {message}")
    };
    match reason {
        EndReason::Kicked => format!("an operator has kicked you{because}"),
        // The refusal knows how long, and whether it is the account or the network.
        EndReason::Banned if error.message.contains(message) => error.message.clone(),
        EndReason::Banned => format!("you are banned{because}"),
        EndReason::Disabled => format!("the operator has closed this account{because}"),
        EndReason::PasswordReset => format!("an operator has reset your password{because}"),
        EndReason::LoggedOut => "you have logged out".to_owned(),
        EndReason::Revoked => "this session was ended from another one".to_owned(),
        EndReason::PasswordChanged => "the password was changed from another session, which ended this one".to_owned(),
        EndReason::Expired => "this session has expired".to_owned(),
        _ => format!("the live feed is over: {}", error.message),
    }
}

/// What to do, where it is not the same as after a refused call.
fn hint(reason: EndReason) -> Option<&'static str> {
    match reason {
        EndReason::PasswordReset => {
            Some("ask the operator for the one-time code, and set a new password with `greffe reset-password USER`")
        }
        _ => None,
    }
}

/// Why the link is away for a while by the operator's wish; `None` if it merely broke.
pub(crate) fn pause(reason: EndReason, why: &Error) -> Option<String> {
    match reason {
        EndReason::Maintenance => Some(format!("the server stops for maintenance: {}", why.message)),
        EndReason::ServerStopping => Some("the server stops or restarts".to_owned()),
        EndReason::Draining => Some(format!("the server sends everyone away for a while: {}", why.message)),
        _ if why.is(ErrorReason::ServerDraining) => Some(why.message.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    fn refusal(code: Code, reason: &str, message: &str) -> Error {
        let mut error = Error::from(tonic::Status::new(code, message));
        reason.clone_into(&mut error.reason);
        error
    }

    #[test]
    fn whom_an_operator_sends_away_is_told_why_and_the_exit_code_says_it() {
        for (reason, name, status, said) in [
            (
                EndReason::Kicked,
                "KICKED",
                "an operator has kicked you: spam",
                "an operator has kicked you: spam",
            ),
            (
                EndReason::Banned,
                "BANNED",
                "you are banned until 2027: spam",
                "you are banned until 2027: spam",
            ),
            (EndReason::Banned, "BANNED", "no", "you are banned: spam"),
            (
                EndReason::Disabled,
                "ACCOUNT_DISABLED",
                "the operator has closed this account",
                "the operator has closed this account: spam",
            ),
        ] {
            let error = failure(reason, "spam", refusal(Code::PermissionDenied, name, status));
            assert_eq!((error.to_string().as_str(), error.exit()), (said, Exit::NotAllowed));
        }
        let reset = refusal(Code::Unauthenticated, "SESSION_ENDED", "the session has ended");
        let reset = failure(EndReason::PasswordReset, "you asked for it", reset);
        assert_eq!(
            reset.to_string(),
            "an operator has reset your password: you asked for it"
        );
        assert_eq!(reset.exit(), Exit::NotAllowed);
    }

    #[test]
    fn the_refusals_own_words_are_not_said_twice() {
        let closed = "the operator has closed this account";
        let error = refusal(Code::PermissionDenied, "ACCOUNT_DISABLED", closed);
        assert_eq!(failure(EndReason::Disabled, closed, error).to_string(), closed);
    }

    #[test]
    fn a_pause_that_somebody_wanted_is_told_as_that() {
        let why = refusal(Code::Unavailable, "SERVER_DRAINING", "new disks");
        assert!(pause(EndReason::Draining, &why).is_some_and(|words| words.ends_with(": new disks")));
        assert!(pause(EndReason::Maintenance, &why).is_some_and(|words| words.contains("maintenance: new disks")));
        assert!(
            pause(
                EndReason::Unspecified,
                &refusal(Code::Unavailable, "UNREACHABLE", "gone")
            )
            .is_none()
        );
    }
}
