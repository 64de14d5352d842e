//! Who calls: from the token in the metadata, and the address.

use std::net::SocketAddr;
use std::time::Duration;

use tonic::Request;
use tonic::metadata::MetadataMap;

use super::App;
use crate::domain::caller::Caller;
use crate::domain::clock::{SECOND, now};
use crate::domain::command::{Command, token_hash};
use crate::domain::error::Error;
use crate::edge::{Peer, forwarded_for};

/// How old the note of a session's last use may become before it is renewed, at most.
const NOTE_AFTER: Duration = Duration::from_secs(60);

/// How old the note of a session's last use may become before it is renewed: never so old that a session in use seems idle.
pub(super) fn note_after(app: &App) -> Duration {
    NOTE_AFTER.min(Duration::from_secs(app.config.limits.session_idle_seconds) / 4)
}

/// The connection that a request came on.
pub(super) fn peer<T>(request: &Request<T>) -> Result<&Peer, Error> {
    request.extensions().get::<Peer>().ok_or(Error::Internal)
}

/// Where a request came from: behind a trusted proxy, from where that says.
pub(super) fn address<T>(app: &App, request: &Request<T>) -> Result<SocketAddr, Error> {
    let headers = request.metadata().as_ref();
    Ok(forwarded_for(peer(request)?, headers, &app.config.trusted_proxies))
}

/// The caller of a request that needs a login.
pub(super) fn caller<T>(app: &App, request: &Request<T>) -> Result<Caller, Error> {
    let token = bearer(request.metadata()).ok_or(Error::NotLoggedIn)?;
    let hash = token_hash(token).ok_or(Error::SessionEnded)?;
    let address = address(app, request)?;
    let limits = &app.config.limits;
    let note_after = i64::try_from(note_after(app).as_micros()).unwrap_or(i64::MAX);
    let now = now();
    let found = app.view().read(|state| {
        let session = state.session_of_token(hash).filter(|session| !session.for_operators)?;
        let too_old = seconds(limits.session_seconds).is_some_and(|age| now - session.created >= age);
        let unused = seconds(limits.session_idle_seconds).is_some_and(|idle| now - session.used >= idle);
        let worth_noting = session.address != Some(address.ip()) || now - session.used > note_after;
        (!too_old && !unused).then_some((
            Caller {
                user: session.user,
                session: session.id,
                address,
            },
            worth_noting,
        ))
    });
    let (caller, worth_noting) = found.ok_or(Error::SessionEnded)?;
    peer(request)?.logged_in();
    if worth_noting {
        app.journal.note(Command::Use {
            session: caller.session,
            from: address,
        });
    }
    Ok(caller)
}

/// Microseconds of a configured number of seconds.
pub(super) fn seconds(seconds: u64) -> Option<i64> {
    i64::try_from(seconds).ok()?.checked_mul(SECOND)
}

pub(super) fn bearer(metadata: &MetadataMap) -> Option<&str> {
    let value = metadata.get("authorization")?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}
