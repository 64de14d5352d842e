//! What to do next when a command fails.

use greffe::api::ErrorReason;
pub(crate) use greffe::terminal::error::{CommandError, Exit};
use greffe::{Error, reason};

/// What to do next, where the message does not say so already.
pub(crate) fn hint(error: &CommandError) -> Option<String> {
    match error {
        CommandError::Server(error) if error.is(ErrorReason::ServerDraining) => {
            Some(greffe::terminal::error::come_back(error))
        }
        CommandError::Server(error) => server_hint(error).map(str::to_owned),
        CommandError::NotLoggedIn { user: Some(user), .. } => Some(format!("log in with `greffe login {user}`")),
        CommandError::NotLoggedIn { user: None, .. } => {
            Some("log in with `greffe login USER`, or make an account with `greffe register USER`".to_owned())
        }
        CommandError::Unacknowledged { .. } => Some("look with `greffe tail` whether they were stored".to_owned()),
        CommandError::Config { .. } => Some("set GREFFE_CONFIG_DIR to a directory that you can write".to_owned()),
        _ => None,
    }
}

/// What to do about a refusal.
pub(crate) fn server_hint(error: &Error) -> Option<&'static str> {
    let known = |reason| error.is(reason);
    if error.reason == reason::UNREACHABLE {
        Some("check that the server runs, and name it with --server URL or GREFFE_SERVER")
    } else if known(ErrorReason::NotLoggedIn) || known(ErrorReason::SessionEnded) || known(ErrorReason::Kicked) {
        Some("log in again with `greffe login USER`")
    } else if known(ErrorReason::WrongCredentials) {
        Some("check the user name and the password, or make an account with `greffe register USER`")
    } else if known(ErrorReason::Banned) {
        Some(if error.metadata.contains_key("until") {
            "come back when the ban has ended, or ask the operator to lift it"
        } else {
            "ask the operator to lift the ban: it does not end by itself"
        })
    } else if known(ErrorReason::AccountDisabled) {
        Some("ask the operator to open the account again")
    } else if known(ErrorReason::UserNameTaken) {
        Some("choose another name, or log in with `greffe login USER` if it is yours")
    } else if known(ErrorReason::InvalidInvitation) {
        Some("ask the operator for an invitation code and give it with --invitation CODE")
    } else if known(ErrorReason::NotAMember) {
        Some("join the room first: `greffe rooms join ROOM`, or /join ROOM in a chat")
    } else if known(ErrorReason::RoomNotFound) {
        Some("list your rooms with `greffe rooms`, and those that you can join with `greffe rooms list --public`")
    } else if known(ErrorReason::UserNotFound) {
        Some("list the users with `greffe users`")
    } else if known(ErrorReason::FileNotFound) {
        Some("list the files with `greffe files ls`, or /files in a chat")
    } else if known(ErrorReason::FileQuotaExceeded) {
        Some(
            "give uploads up with `greffe files uploads`, or ask the operator: files that were taken away count while they are kept",
        )
    } else if known(ErrorReason::DiskFull) {
        Some("try again later: the operator has to make room on the server's disk")
    } else if known(ErrorReason::HashMismatch) {
        Some("try again: something on the way, or a disk, has changed bytes")
    } else if known(ErrorReason::UploadBusy) {
        Some("another program sends the same file; wait until it is done")
    } else if known(ErrorReason::UploadNotFound) {
        Some("send the file again; `greffe files uploads` lists the uploads that are not complete")
    } else if known(ErrorReason::LastOwner) {
        Some("make somebody else an owner first: `greffe rooms role ROOM USER owner`")
    } else if known(ErrorReason::SessionNotFound) {
        Some("list your sessions with `greffe sessions`")
    } else {
        None
    }
}
