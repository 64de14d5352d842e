//! What to do after an error, where the error does not say so itself.

use greffe::api::ErrorReason;
use greffe::terminal::error::{self, CommandError};
use greffe::{Error, reason};

/// What to do next.
pub(crate) fn hint(error: &CommandError) -> Option<String> {
    match error {
        CommandError::Server(error) if error.is(ErrorReason::ServerDraining) => Some(error::come_back(error)),
        CommandError::Server(error) => server_hint(error).map(str::to_owned),
        CommandError::NotLoggedIn { .. } => Some("log in with `greffe-admin --server URL login USER`".to_owned()),
        CommandError::Config { .. } => Some("set GREFFE_CONFIG_DIR to a directory that you can write".to_owned()),
        _ => None,
    }
}

fn server_hint(error: &Error) -> Option<&'static str> {
    let known = |reason| error.is(reason);
    if error.reason == reason::UNREACHABLE {
        Some(
            "is the server running? Name its data directory with --data-dir DIR or GREFFE_DATA_DIR, its socket with --socket PATH, \
              or another machine with --server URL",
        )
    } else if error.reason == reason::SOCKET_FORBIDDEN {
        Some(
            "only the user whom the server runs as may open it: use `sudo -u THAT_USER greffe-admin …`, or log in over TLS with --server URL",
        )
    } else if known(ErrorReason::NotLoggedIn) || known(ErrorReason::SessionEnded) {
        Some(
            "log in again with `greffe-admin --server URL login USER`; operators' sessions end after 30 minutes without use",
        )
    } else if known(ErrorReason::ServerRoleRequired) {
        Some(
            "an operator at the server's machine gives roles: `greffe-admin users role USER operator`, or `investigator` for work with the \
             record, or both",
        )
    } else if known(ErrorReason::WrongCredentials) {
        Some("check the user name and the password")
    } else if known(ErrorReason::UnknownMethod) {
        Some(
            "with --server URL this is the members' port: ask for the operators' address, `admin.listen` in the server's settings; \
              over the socket, use the greffe-admin of the server's version",
        )
    } else if known(ErrorReason::UserNotFound) {
        Some("list the users with `greffe-admin users`")
    } else if known(ErrorReason::SessionNotFound) {
        Some("list the sessions with `greffe-admin sessions`")
    } else if known(ErrorReason::RoomNotFound) {
        Some("list the rooms with `greffe-admin rooms`; private and direct rooms go by their id")
    } else if known(ErrorReason::FileNotFound) {
        Some("list the files with `greffe-admin files`")
    } else if known(ErrorReason::BanNotFound) {
        Some("list the bans with `greffe-admin bans`")
    } else if known(ErrorReason::ReportNotFound) {
        Some("list the open reports with `greffe-admin reports`")
    } else if known(ErrorReason::InvitationNotFound) {
        Some("list the invitations with `greffe-admin invitations`")
    } else if known(ErrorReason::LastOperator) {
        Some("`greffe-admin users role USER operator` gives it")
    } else if known(ErrorReason::UserNameTaken) {
        Some("choose another name: a name is never given twice")
    } else if known(ErrorReason::OutcomeUnknown) {
        Some("look with `greffe-admin log audit` whether it was done before you do it again")
    } else {
        record_hint(error)
    }
}

/// What to do when the record refuses.
fn record_hint(error: &Error) -> Option<&'static str> {
    let known = |reason| error.is(reason);
    if known(ErrorReason::CaseNotFound) {
        Some("list the cases with `greffe-admin case list`")
    } else if known(ErrorReason::CaseNotOpen) {
        Some("`greffe-admin case show ID` tells its state; `greffe-admin case open` opens another one")
    } else if known(ErrorReason::OutOfScope) {
        Some("`greffe-admin case show ID` tells what may be read; this attempt stands in the record")
    } else if known(ErrorReason::SecondInvestigatorRequired) {
        Some(
            "two investigators log in at the operators' port: one opens the case, `greffe-admin --server URL login USER`, the other approves it",
        )
    } else if known(ErrorReason::HoldNotFound) {
        Some("list the holds with `greffe-admin hold list`")
    } else if known(ErrorReason::Held) {
        Some("list what is held with `greffe-admin hold list`")
    } else if known(ErrorReason::ErasureNotFound) {
        Some("list the erasures with `greffe-admin erasures`")
    } else if known(ErrorReason::ExportNotFound) {
        Some("order another one with `greffe-admin export --case ID -o PATH`")
    } else if known(ErrorReason::ExportFailed) {
        Some(
            "what was erased meanwhile cannot be exported as it was: order another one with `greffe-admin export --case ID -o PATH`",
        )
    } else {
        None
    }
}
