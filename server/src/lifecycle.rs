//! Starting, running and stopping.

mod data_dir;
mod reconcile;
mod serve;
mod upkeep;

pub use data_dir::{DATABASE, DataDir};

use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::activity::Activity;
use crate::background::Background;
use crate::backup::Mark;
use crate::blobs::{BlobError, Blobs, LocalBlobs};
use crate::config::{Config, ConfigError, Limits};
use crate::domain::clock::Micros;
use crate::domain::decide::Rules;
use crate::domain::entry::{Aside, Entry, Reached};
use crate::domain::ids::{RoomId, SessionId};
use crate::domain::operator::Order;
use crate::domain::rate::Rate;
use crate::domain::state::State;
use crate::domain::text::Reason;
use crate::edge::{AdminSocket, AdminSocketError, Certificates, Edge, EdgeError};
use crate::grpc::health::Health;
use crate::grpc::{App, frame_events, server_info::VERSION};
use crate::journal::tree::{Edge as TreeEdge, leaf_hash};
use crate::journal::verify::check_row;
use crate::journal::writer::{Journal, Writer, WriterError};
use crate::journal::{Committed, Publish, UploadChange, View};
use crate::limiter::LoginLimiter;
use crate::live::Ending;
use crate::live::feed::{Drain, Feed, FeedLimits};
use crate::live::mailbox::Bounds;
use crate::notary::{self, Notary, NotaryError};
use crate::passwords::Passwords;
use crate::search::Search;
use crate::staging::Staging;
use crate::stopping::{Order as StopOrder, Stopping};
use crate::store::sqlite::{OpenError, SqliteAppender, open};
use crate::store::{Appender as _, Identity, Reader, StoreError};
use crate::telemetry::{Metrics, TelemetryError};

/// Rows that are checked at every start.
const CHECKED_ROWS: i64 = 10_000;
/// Threads that read the database.
const READERS: usize = 4;
/// How long before the drain time is over the last connections are cut, so that the process ends within it.
const CUT_BEFORE: Duration = Duration::from_secs(1);
/// How long the last checkpoint may take.
const SIGN_PATIENCE: Duration = Duration::from_secs(5);
/// How much longer than the drain time the writer may take for what has queued up.
const WRITER_PATIENCE: Duration = Duration::from_secs(20);

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the texts say")]
pub enum StartError {
    /// The data directory cannot be made or used.
    #[error("the data directory {path} cannot be used: {why}; choose another with --data-dir")]
    DataDir { path: std::path::PathBuf, why: String },
    /// Another server uses it.
    #[error(
        "the data directory {path} is in use by another server (process {pid}); stop that one, or choose another with --data-dir"
    )]
    Locked { path: std::path::PathBuf, pid: String },
    /// The database is not opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database could not be read.
    #[error("the database cannot be read")]
    Store(#[from] StoreError),
    /// The newest rows are not what was written.
    #[error("the journal was changed: {0}; `greffe-server check` tells more")]
    Changed(String),
    /// The journal could not be begun.
    #[error("the journal cannot be begun")]
    Found(#[source] WriterError),
    /// The address cannot be had, or the certificate not be used.
    #[error(transparent)]
    Edge(#[from] EdgeError),
    /// The operators' socket cannot be made.
    #[error(transparent)]
    AdminSocket(#[from] AdminSocketError),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Metrics cannot be served.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The files cannot be read or put in order.
    #[error("the files in the data directory cannot be read or put in order")]
    Files(#[source] BlobError),
    /// What was found out about uploads could not be stored.
    #[error("what became of the uploads cannot be stored")]
    Uploads(#[source] WriterError),
    /// The journal cannot be signed, or is not what was signed.
    #[error(transparent)]
    Notary(#[from] NotaryError),
    /// Reflection or a thread could not be set up.
    #[error("setting up failed: {0}")]
    SetUp(String),
}

/// Why a server stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The journal cannot be written any more.
    #[error("the server stops because the journal cannot be written")]
    Writer(#[source] WriterError),
    /// The writer died.
    #[error("the server stops because its writer died")]
    WriterDied,
    /// Serving failed.
    #[error("serving failed")]
    Serve(#[source] tonic::transport::Error),
    /// What had queued up could not be written in time.
    #[error("what had queued up was not written within {0:?}")]
    WriterLate(Duration),
}

/// Tells everybody who follows the journal what is on disk.
struct Publisher {
    feed: Arc<Feed>,
    stopping: Arc<Stopping>,
    sizes: watch::Sender<i64>,
}

impl Publish for Publisher {
    fn publish(&self, batch: &[Committed]) -> Vec<Waker> {
        let wakers = self.feed.publish(batch);
        for event in batch {
            if let Some(Aside::Orders(order, reached)) = &event.entry.draft.aside {
                self.obey(order, reached, &event.entry);
            }
        }
        if let Some(last) = batch.last() {
            self.sizes.send_replace(last.entry.index + 1);
        }
        wakers
    }

    fn uploads(&self, changes: &[UploadChange]) {
        self.feed.uploads(changes);
    }

    fn erased(&self, rooms: &BTreeSet<RoomId>) {
        self.feed.erased(rooms);
    }

    fn touch(&self, sessions: &[(SessionId, Micros)]) {
        self.feed.touch(sessions);
    }
}

impl Publisher {
    /// Does what an operator ordered.
    fn obey(&self, order: &Order, reached: &Reached, entry: &Entry) {
        match order {
            Order::Drain {
                reason,
                reconnect_after,
            } => {
                let drain = Drain {
                    reason: reason.as_str().into(),
                    reconnect_after: *reconnect_after,
                };
                reached.add(self.feed.drain(Some(drain)));
            }
            Order::TakeAgain => _ = self.feed.drain(None),
            Order::Stop { reason, after } => self.stopping.order(Some(StopOrder {
                at: tokio::time::Instant::now() + Duration::from_micros(u64::try_from(*after).unwrap_or_default()),
                time: entry.time.saturating_add(*after),
                reason: reason.clone(),
                alert: Some(entry.index),
            })),
            Order::GoOn => self.stopping.order(None),
        }
    }
}

/// What an operator says about one start, and not about the server.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// The journal was set back on purpose, for this reason: go on from what is there.
    pub accept_restore: Option<Reason>,
    /// The key that signs checkpoints is lost: make another one.
    pub new_key: bool,
}

/// A server that is ready to run.
pub struct Server {
    app: Arc<App>,
    edge: Edge,
    admin_edge: Option<Edge>,
    admin_socket: AdminSocket,
    local_addr: SocketAddr,
    metrics: Option<crate::telemetry::MetricsServer>,
    writer_stop: CancellationToken,
    writer_done: oneshot::Receiver<Result<(), WriterError>>,
    // Last, so that the lock outlives everything that uses the directory.
    _data_dir: DataDir,
}

impl Server {
    /// Locks the data directory, opens and checks the journal, and listens; connections are served by [`Server::run`].
    pub async fn bind(config: Config, start: &Start) -> Result<Self, StartError> {
        let data_dir = DataDir::lock(&config.data_dir)?;
        // What the configuration may have wrong is found before a journal is made.
        let invitations = config.registration.codes()?;
        let edge = Edge::bind(&config)?;
        let local_addr = edge.local_addr();
        let admin_edge = Edge::bind_admin(&config, edge.certificates())?;
        let admin_socket = AdminSocket::bind(&config.admin_socket())?;
        let opened = open(&data_dir.path().join(DATABASE), READERS)?;
        let mut appender = opened.appender;
        let reader: Arc<dyn Reader> = Arc::new(opened.reader);
        let mut identity = appender.identity()?;
        let backup = appender.backup_mark()?;
        let (state, head) = appender.load().await?;
        check_mark(backup.as_ref(), &identity, &head.edge)?;
        check_newest(&mut appender, &state, &head.edge)?;

        let feed = Feed::new(View::new(state.clone()), feed_limits(&config.limits), frame_events);
        let stopping = Arc::new(Stopping::default());
        let (sizes, followed) = watch::channel(state.size);
        let publisher = Publisher {
            feed: Arc::clone(&feed),
            stopping: Arc::clone(&stopping),
            sizes,
        };
        let mut writer = Writer::new(appender, publisher, rules(&config.limits), state, head);
        if !writer.state().has_general() {
            found(&mut writer, &identity).await?;
        }
        if let Some(mark) = backup {
            identity = restore(&mut writer, &mark).await?;
        }

        let notary = appoint(&mut writer, data_dir.path(), &*reader, &mut identity, start).await?;
        let notary = notary.also_to(config.checkpoint_dir.clone());

        let metrics = match config.metrics_listen {
            Some(address) => Some(Metrics::install()?.bind(address).await?),
            None => None,
        };
        let search = Search::start(
            data_dir.path(),
            &identity.journal_id,
            writer.state().size,
            Arc::clone(&reader),
            followed,
        )?;

        let (journal, commands) = Journal::new();
        let (blobs, staging) = open_files(data_dir.path(), &mut writer).await?;
        let writer_stop = CancellationToken::new();
        let (done, writer_done) = oneshot::channel();
        let (runtime, stop) = (tokio::runtime::Handle::current(), writer_stop.clone());
        std::thread::Builder::new()
            .name("writer".into())
            .spawn(move || {
                let outcome = runtime.block_on(writer.run(commands, stop));
                let _ = done.send(outcome);
            })
            .map_err(|error| StartError::SetUp(error.to_string()))?;

        let limits = &config.limits;
        let health = Health::default();
        let app = App {
            passwords: passwords(limits),
            logins: LoginLimiter::new(limits.failed_logins_per_address, limits.failed_logins_per_account),
            invitations,
            typing: App::typing_limiter(),
            marking: Rate::new(
                i64::from(limits.read_marks_per_second),
                i64::from(limits.read_marks_burst),
            ),
            refusals: crate::grpc::Refusals::default(),
            activity: Activity::start(),
            stopping,
            health,
            connections: edge.connections(),
            listen: local_addr,
            self_check: crate::self_check::SelfCheck::default(),
            backup: tokio::sync::Mutex::default(),
            eraser: crate::eraser::Orders::default(),
            exporters: crate::exporter::Exporters::default(),
            background: Background::start().map_err(|error| StartError::SetUp(error.to_string()))?,
            blobs,
            staging,
            config,
            identity,
            notary,
            journal,
            feed,
            reader,
            search,
        };
        Ok(Self {
            app: Arc::new(app),
            edge,
            admin_edge,
            admin_socket,
            local_addr,
            metrics,
            writer_stop,
            writer_done,
            _data_dir: data_dir,
        })
    }

    /// The address on which it listens, with the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Where operators connect over TCP, if they do.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_edge.as_ref().map(Edge::local_addr)
    }

    /// The operators' socket.
    pub fn admin_socket(&self) -> &Path {
        self.admin_socket.path()
    }

    /// The certificate in use, if connections are encrypted.
    pub fn certificates(&self) -> Option<Arc<Certificates>> {
        self.edge.certificates()
    }

    /// Serves until `shutdown` is ready, then tells everyone, waits for them to go, and writes what has queued up.
    ///
    /// # Errors
    /// Also if it stops by itself, because the journal cannot be written.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), RunError> {
        let Self {
            app,
            edge,
            admin_edge,
            admin_socket,
            metrics,
            writer_stop,
            mut writer_done,
            _data_dir,
            ..
        } = self;
        let drain = Duration::from_secs(app.config.drain_seconds);
        let stop = CancellationToken::new();
        let tasks = tokio_util::task::TaskTracker::new();
        tasks.spawn(stop.clone().run_until_cancelled_owned(upkeep::run(Arc::clone(&app))));
        tasks.spawn(stop.clone().run_until_cancelled_owned(crate::eraser::run(Arc::clone(&app))));
        tasks.spawn(stop.clone().run_until_cancelled_owned(crate::self_check::run(Arc::clone(&app))));
        if let Some(metrics) = metrics {
            tasks.spawn(metrics.run(stop.clone()));
        }

        let (stop_admin, admin_tasks) = (CancellationToken::new(), tokio_util::task::TaskTracker::new());
        let operators = serve::operators_locally(&app, admin_socket, stop_admin.clone());
        admin_tasks.spawn(logged("the operators' socket", operators));
        if let Some(edge) = admin_edge {
            let operators = serve::operators(&app, edge, stop_admin.clone());
            admin_tasks.spawn(logged("the operators' port", operators));
        }
        app.health.tell(true).await;
        let mut serving = tokio::spawn(serve::members(&app, edge, stop.clone()));
        tokio::pin!(shutdown);
        let mut fatal = None;
        let mut ending = Ending::Stopping;
        tokio::select! {
            () = &mut shutdown => tracing::info!(streams = app.feed.count(), "Stopping"),
            reason = app.stopping.wait() => {
                tracing::info!(streams = app.feed.count(), reason, "Stopping, as an operator ordered");
                ending = Ending::Maintenance(reason.into());
            }
            outcome = &mut writer_done => fatal = Some(writer_outcome(outcome)),
            outcome = &mut serving => {
                if let Ok(Err(error)) = outcome {
                    return Err(RunError::Serve(error));
                }
            }
        }

        app.health.tell(false).await;
        app.feed.stop(&ending);
        stop.cancel();
        stop_admin.cancel();
        admin_tasks.close();
        let left = async { tokio::join!(&mut serving, admin_tasks.wait()) };
        if tokio::time::timeout(drain.saturating_sub(CUT_BEFORE), left).await.is_err() {
            tracing::warn!(
                streams = app.feed.count(),
                "Cut the connections that had not gone within the drain time"
            );
            serving.abort();
        }
        upkeep::note_refusals(&app);
        if fatal.is_none() {
            sign_last(&app).await;
        }
        tasks.close();
        let _ = tokio::time::timeout(Duration::from_secs(1), tasks.wait()).await;
        writer_stop.cancel();
        match fatal {
            Some(outcome) => outcome,
            None => match tokio::time::timeout(WRITER_PATIENCE, &mut writer_done).await {
                Ok(outcome) => writer_outcome(outcome),
                Err(_) => Err(RunError::WriterLate(WRITER_PATIENCE)),
            },
        }
    }
}

/// Holds the journal against its newest checkpoint, and opens the key that signs the next ones.
async fn appoint<A: crate::store::Appender, P: Publish>(
    writer: &mut Writer<A, P>,
    data_dir: &Path,
    reader: &dyn Reader,
    identity: &mut Identity,
    start: &Start,
) -> Result<Notary, StartError> {
    let kept = notary::compare(data_dir, reader, writer.state().standing().keys()).await;
    match (kept, &start.accept_restore) {
        (Err(error @ NotaryError::Changed { .. }), Some(reason)) => {
            tracing::warn!(%error, reason = reason.as_str(), "The journal goes on from what is there");
            let mark = Mark::of_now(identity, writer.edge(), reason.as_str());
            *identity = restore(writer, &mark).await?;
        }
        (outcome, _) => outcome?,
    }
    let known = writer.state().standing().keys();
    let (notary, row) = Notary::open(data_dir, identity, known, start.new_key)?;
    if let Some(row) = row {
        writer.add_key(row).await.map_err(StartError::Found)?;
    }
    Ok(notary)
}

/// Signs what the journal is in the end, as far as that can be done soon.
async fn sign_last(app: &App) {
    let signing = async {
        // The first checkpoint is kept after what had queued up, which the second one is of.
        for _ in 0..2 {
            let _ = app.sign_checkpoint().await;
        }
    };
    if tokio::time::timeout(SIGN_PATIENCE, signing).await.is_err() {
        tracing::warn!("No checkpoint was signed at the stop, because the writer is busy");
    }
}

/// Opens the directories of files and of uploads, and brings them and the journal's uploads together.
async fn open_files<A: crate::store::Appender, P: Publish>(
    data_dir: &Path,
    writer: &mut Writer<A, P>,
) -> Result<(Arc<dyn Blobs>, Arc<Staging>), StartError> {
    let blobs = Arc::new(LocalBlobs::open(data_dir).map_err(StartError::Files)?);
    let staging = Arc::new(Staging::open(data_dir).map_err(|error| StartError::Files(error.into()))?);
    let found = reconcile::files(writer.state().files(), &*blobs, &staging).await;
    let found = found.map_err(StartError::Files)?;
    writer.put_in_order(found).await.map_err(StartError::Uploads)?;
    Ok((blobs, staging))
}

fn feed_limits(limits: &Limits) -> FeedLimits {
    FeedLimits {
        bounds: Bounds {
            events: limits.mailbox_bytes,
            answers: limits.result_bytes,
        },
        connections_per_user: limits.connections_per_user,
        presence_members: limits.presence_members,
    }
}

fn rules(limits: &Limits) -> Rules {
    Rules {
        rooms_per_user: limits.rooms_per_user,
        invitations_per_user: limits.invitations_per_user,
        sessions_per_user: limits.sessions_per_user,
        files: limits.of_files(),
        uploads_per_user: limits.uploads_per_user,
        rate: Rate::new(i64::from(limits.messages_per_second), i64::from(limits.messages_burst)),
    }
}

fn passwords(limits: &Limits) -> Passwords {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let at_once = if limits.password_hashes == 0 {
        cores
    } else {
        limits.password_hashes
    };
    Passwords::new(
        at_once,
        limits.password_queue,
        Duration::from_millis(limits.password_wait_ms),
    )
}

/// Serving operators; if that fails, members are served all the same.
async fn logged(what: &'static str, serving: impl Future<Output = Result<(), tonic::transport::Error>>) {
    if let Err(error) = serving.await {
        tracing::error!(error = &error as &dyn std::error::Error, "Serving {what} failed");
    }
}

/// Begins a journal, and says for how long what is kept.
async fn found<A: crate::store::Appender, P: Publish>(
    writer: &mut Writer<A, P>,
    identity: &Identity,
) -> Result<(), StartError> {
    writer.found(identity, VERSION).await.map_err(StartError::Found)?;
    tracing::info!(journal.id = identity.journal_id, "A new journal begins");
    tracing::info!(
        "Messages and files are kept for ever, and for a year who connected from which address; `greffe-admin retention` shows it, and sets it"
    );
    Ok(())
}

/// Goes on from a backup: under another id and epoch, which is the first row, so that nobody takes what comes now for what the old server wrote.
async fn restore<A: crate::store::Appender, P: Publish>(
    writer: &mut Writer<A, P>,
    mark: &Mark,
) -> Result<Identity, StartError> {
    let restored = mark.restored(&crate::ownership::own_name(), VERSION);
    let identity = Identity {
        journal_id: restored.journal_id.clone(),
        epoch: restored.epoch.clone(),
    };
    writer.restore(restored).await.map_err(StartError::Found)?;
    tracing::warn!(
        journal.id = identity.journal_id,
        epoch = identity.epoch,
        "This was a backup: the journal goes on under a new id and epoch, and everyone has to log in again"
    );
    Ok(identity)
}

fn writer_outcome(outcome: Result<Result<(), WriterError>, oneshot::error::RecvError>) -> Result<(), RunError> {
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(RunError::Writer(error)),
        Err(_) => Err(RunError::WriterDied),
    }
}

/// Whether a backup is the one that was marked.
fn check_mark(mark: Option<&Mark>, identity: &Identity, edge: &TreeEdge) -> Result<(), StartError> {
    if mark.is_some_and(|mark| !mark.is_of(identity, edge)) {
        let why = "it is marked as a backup of another state than it has";
        return Err(StartError::Changed(why.into()));
    }
    Ok(())
}

/// Whether the newest rows are what was written, and whether the tree ends with them.
fn check_newest(appender: &mut SqliteAppender, state: &State, edge: &TreeEdge) -> Result<(), StartError> {
    let rows = appender.newest_rows(CHECKED_ROWS)?;
    let first = state.size - i64::try_from(rows.len()).unwrap_or(i64::MAX);
    if first < 0 || (first > 0 && rows.len() < usize::try_from(CHECKED_ROWS).unwrap_or(usize::MAX)) {
        return Err(StartError::Changed(format!(
            "it should have {} rows, and has not",
            state.size
        )));
    }
    let mut leaves = Vec::with_capacity(rows.len());
    for (want, row) in (first..).zip(&rows) {
        if row.index != want {
            return Err(StartError::Changed(format!("row {want} is missing")));
        }
        check_row(row.index, &row.head, row.body.as_deref(), &row.leaf)
            .map_err(|why| StartError::Changed(format!("row {want}: {why}")))?;
        leaves.push(leaf_hash(&row.head));
    }
    if !edge.ends_with(&leaves) {
        return Err(StartError::Changed("its tree does not end with its newest rows".into()));
    }
    Ok(())
}
