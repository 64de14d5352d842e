//! The API: parses requests into what the domain takes, and turns its answers into messages. The only part that knows tonic.

pub mod accounts;
mod action;
pub mod admin;
mod auth;
mod chat;
mod convert;
mod files;
mod frames;
pub mod health;
mod live_body;
pub mod messages;
mod paging;
pub mod proofs;
pub mod record;
mod refuse;
pub mod rooms;
pub mod server_info;
pub mod status;
pub mod users;

pub use frames::of_elements as frame_events;
pub use live_body::LiveBodies;
pub use refuse::RefuseLayer;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use self::health::Health;
use crate::activity::Activity;
use crate::background::Background;
use crate::blobs::Blobs;
use crate::config::{Config, InvitationCodes};
use crate::domain::error::Error;
use crate::domain::ids::{RoomId, UserId};
use crate::domain::rate::Rate;
use crate::edge::Connections;
use crate::journal::View;
use crate::journal::writer::Journal;
use crate::limiter::LoginLimiter;
use crate::live::feed::Feed;
use crate::notary::{Notary, Signed};
use crate::passwords::Passwords;
use crate::search::Search;
use crate::self_check::SelfCheck;
use crate::staging::Staging;
use crate::stopping::Stopping;
use crate::store::{Identity, Reader};

/// What the services share.
pub struct App {
    /// The configuration.
    pub config: Config,
    /// Who this journal is.
    pub identity: Identity,
    /// Signs checkpoints.
    pub notary: Notary,
    /// Hands commands to the writer.
    pub journal: Journal,
    /// The streams that are open.
    pub feed: Arc<Feed>,
    /// Reads the journal.
    pub reader: Arc<dyn Reader>,
    /// Finds messages by their words.
    pub search: Search,
    /// Hashes passwords.
    pub passwords: Passwords,
    /// Slows down those who guess passwords.
    pub logins: LoginLimiter,
    /// Codes that let people sign up.
    pub invitations: InvitationCodes,
    /// How often one may say that one types.
    pub typing: DefaultKeyedRateLimiter<(UserId, RoomId)>,
    /// How often one may say how far one has read.
    pub marking: Rate,
    /// Calls that were refused before they cost anything, by cause, since the last row about them.
    pub refusals: Refusals,
    /// How much happens.
    pub activity: Activity,
    /// Whether and when an operator stops the server.
    pub stopping: Arc<Stopping>,
    /// What health checks are told.
    pub health: Health,
    /// Counts the members' connections.
    pub connections: Connections,
    /// Where members connect.
    pub listen: SocketAddr,
    /// Threads for the bytes of files.
    pub background: Background,
    /// Keeps the bytes of files.
    pub blobs: Arc<dyn Blobs>,
    /// Files on their way.
    pub staging: Arc<Staging>,
    /// What is told to the eraser.
    pub eraser: crate::eraser::Orders,
    /// Makes exports of cases, and of what members did.
    pub exporters: crate::exporter::Exporters,
    /// What the self-checks found.
    pub self_check: SelfCheck,
    /// Held while a backup is made.
    pub backup: tokio::sync::Mutex<()>,
}

impl App {
    /// The state as everyone may see it.
    pub fn view(&self) -> &View {
        self.feed.view()
    }

    /// Makes the limit on typing: four a second, after which it is passed on no more often.
    pub fn typing_limiter() -> DefaultKeyedRateLimiter<(UserId, RoomId)> {
        let quota = Quota::with_period(Duration::from_millis(250)).expect("the period is not zero");
        RateLimiter::keyed(quota.allow_burst(std::num::NonZeroU32::new(4).expect("four is not zero")))
    }

    /// Signs what the journal is now, and keeps that.
    pub async fn sign_checkpoint(&self) -> Result<Arc<Signed>, Error> {
        self.notary.sign(&*self.reader, &self.journal).await.map_err(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "A checkpoint could not be signed"
            );
            Error::Unreadable
        })
    }

    /// The size of a page that a request asks for.
    fn page_size(&self, asked: i32) -> Result<usize, Error> {
        let limits = &self.config.limits;
        paging::size(asked, limits.page_default, limits.page_max)
    }
}

/// Counts what is refused before it costs anything, so that the journal gets one row a minute and cause, however many there are.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<HashMap<&'static str, i64>>);

impl Refusals {
    /// Counts one.
    pub fn count(&self, cause: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(cause).or_insert(0) += 1;
    }

    /// Takes what was counted.
    pub fn take(&self) -> HashMap<&'static str, i64> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The services, for tonic's generated routers.
#[derive(Clone)]
pub struct Services(pub Arc<App>);

impl std::ops::Deref for Services {
    type Target = App;

    fn deref(&self) -> &App {
        &self.0
    }
}
