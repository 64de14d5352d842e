//! Starting, running and stopping.

mod data_dir;
mod upkeep;

pub use data_dir::{DATABASE, DataDir};

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use greffe_api::server::v1::auth_service_server::AuthServiceServer;
use greffe_api::server::v1::chat_service_server::ChatServiceServer;
use greffe_api::server::v1::room_service_server::RoomServiceServer;
use greffe_api::server::v1::server_service_server::ServerServiceServer;
use greffe_api::server::v1::user_service_server::UserServiceServer;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tonic_health::server::HealthReporter;

use crate::config::{Config, ConfigError};
use crate::domain::clock::Micros;
use crate::domain::decide::Rules;
use crate::domain::ids::SessionId;
use crate::domain::rate::Rate;
use crate::domain::state::State;
use crate::edge::{Certificates, Edge, EdgeError};
use crate::grpc::{App, RefuseLayer, Services, server_info::VERSION};
use crate::journal::tree::{Edge as TreeEdge, leaf_hash};
use crate::journal::verify::check_row;
use crate::journal::writer::{Journal, Writer, WriterError};
use crate::journal::{Committed, Publish, View};
use crate::limiter::LoginLimiter;
use crate::live::feed::{Feed, FeedLimits};
use crate::live::mailbox::Bounds;
use crate::passwords::Passwords;
use crate::search::Search;
use crate::store::sqlite::{OpenError, SqliteAppender, open};
use crate::store::{Appender as _, Reader, StoreError};
use crate::telemetry::{Metrics, TelemetryError};

/// Rows that are checked at every start.
const CHECKED_ROWS: i64 = 10_000;
/// Threads that read the database.
const READERS: usize = 4;
/// How long before the drain time is over the last connections are cut, so that the process ends within it.
const CUT_BEFORE: Duration = Duration::from_secs(1);
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
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Metrics cannot be served.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
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
    sizes: watch::Sender<i64>,
}

impl Publish for Publisher {
    fn publish(&self, batch: &[Committed]) {
        self.feed.publish(batch);
        if let Some(last) = batch.last() {
            self.sizes.send_replace(last.entry.index + 1);
        }
    }

    fn touch(&self, sessions: &[(SessionId, Micros)]) {
        self.feed.touch(sessions);
    }
}

/// A server that is ready to run.
pub struct Server {
    app: Arc<App>,
    edge: Edge,
    local_addr: SocketAddr,
    metrics: Option<crate::telemetry::MetricsServer>,
    writer_stop: CancellationToken,
    writer_done: oneshot::Receiver<Result<(), WriterError>>,
    // Last, so that the lock outlives everything that uses the directory.
    _data_dir: DataDir,
}

impl Server {
    /// Locks the data directory, opens and checks the journal, and listens; connections are served by [`Server::run`].
    pub async fn bind(config: Config) -> Result<Self, StartError> {
        let data_dir = DataDir::lock(&config.data_dir)?;
        // What the configuration may have wrong is found before a journal is made.
        let invitations = config.registration.codes()?;
        let edge = Edge::bind(&config)?;
        let local_addr = edge.local_addr();
        let opened = open(&data_dir.path().join(DATABASE), READERS)?;
        let mut appender = opened.appender;
        let reader: Arc<dyn Reader> = Arc::new(opened.reader);
        let identity = appender.identity()?;
        let (state, head) = appender.load().await?;
        check_newest(&mut appender, &state, &head.edge)?;

        let limits = &config.limits;
        let feed_limits = FeedLimits {
            bounds: Bounds {
                events: limits.mailbox_bytes,
                answers: limits.result_bytes,
            },
            connections_per_user: limits.connections_per_user,
            presence_members: limits.presence_members,
        };
        let rules = Rules {
            rooms_per_user: limits.rooms_per_user,
            invitations_per_user: limits.invitations_per_user,
            sessions_per_user: limits.sessions_per_user,
            rate: Rate::new(i64::from(limits.messages_per_second), i64::from(limits.messages_burst)),
        };
        let size = state.size;
        let feed = Feed::new(View::new(state.clone()), feed_limits);
        let (sizes, followed) = watch::channel(size);
        let publisher = Publisher {
            feed: Arc::clone(&feed),
            sizes,
        };
        let mut writer = Writer::new(appender, publisher, rules, state, head);
        if !writer.state().has_general() {
            writer.found(&identity.journal_id, VERSION).await.map_err(StartError::Found)?;
            tracing::info!(journal.id = identity.journal_id, "A new journal begins");
        }

        let metrics = match config.metrics_listen {
            Some(address) => Some(Metrics::install()?.bind(address).await?),
            None => None,
        };
        let search = Search::start(
            data_dir.path(),
            &identity.journal_id,
            size,
            Arc::clone(&reader),
            followed,
        )?;

        let (journal, commands) = Journal::new();
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

        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let at_once = if limits.password_hashes == 0 {
            cores
        } else {
            limits.password_hashes
        };
        let app = App {
            passwords: Passwords::new(
                at_once,
                limits.password_queue,
                Duration::from_millis(limits.password_wait_ms),
            ),
            logins: LoginLimiter::new(limits.failed_logins_per_address, limits.failed_logins_per_account),
            invitations,
            typing: App::typing_limiter(),
            marking: Rate::new(
                i64::from(limits.read_marks_per_second),
                i64::from(limits.read_marks_burst),
            ),
            refusals: crate::grpc::Refusals::default(),
            config,
            identity,
            journal,
            feed,
            reader,
            search,
        };
        Ok(Self {
            app: Arc::new(app),
            edge,
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
        if let Some(metrics) = metrics {
            tasks.spawn(metrics.run(stop.clone()));
        }

        let (health, serving) = serve(&app, edge, stop.clone());
        let mut serving = tokio::spawn(serving);
        tokio::pin!(shutdown);
        let mut fatal = None;
        tokio::select! {
            () = &mut shutdown => tracing::info!(streams = app.feed.count(), "Stopping"),
            outcome = &mut writer_done => fatal = Some(writer_outcome(outcome)),
            outcome = &mut serving => {
                if let Ok(Err(error)) = outcome {
                    return Err(RunError::Serve(error));
                }
            }
        }

        for service in [
            "",
            "ServerService",
            "AuthService",
            "UserService",
            "RoomService",
            "ChatService",
        ] {
            let name = if service.is_empty() {
                String::new()
            } else {
                format!("greffe.v1.{service}")
            };
            health.set_service_status(name, tonic_health::ServingStatus::NotServing).await;
        }
        app.feed.stop();
        stop.cancel();
        if tokio::time::timeout(drain.saturating_sub(CUT_BEFORE), &mut serving)
            .await
            .is_err()
        {
            tracing::warn!(
                streams = app.feed.count(),
                "Cut the connections that had not gone within the drain time"
            );
            serving.abort();
        }
        upkeep::note_refusals(&app);
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

fn writer_outcome(outcome: Result<Result<(), WriterError>, oneshot::error::RecvError>) -> Result<(), RunError> {
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(RunError::Writer(error)),
        Err(_) => Err(RunError::WriterDied),
    }
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

/// The services on the edge's connections, until `stop` and until every connection has ended.
fn serve(
    app: &Arc<App>,
    edge: Edge,
    stop: CancellationToken,
) -> (
    HealthReporter,
    impl Future<Output = Result<(), tonic::transport::Error>> + Send + use<>,
) {
    let limits = app.config.limits.clone();
    let services = Services(Arc::clone(app));
    let (health, health_service) = tonic_health::server::health_reporter();
    let reporter = health.clone();
    let serving = async move {
        let size = limits.request_bytes;
        reporter.set_serving::<ServerServiceServer<Services>>().await;
        reporter.set_serving::<AuthServiceServer<Services>>().await;
        reporter.set_serving::<UserServiceServer<Services>>().await;
        reporter.set_serving::<RoomServiceServer<Services>>().await;
        reporter.set_serving::<ChatServiceServer<Services>>().await;
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(greffe_api::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let reflection_v1 = reflection().build_v1().expect("the descriptor sets were made by the build");
        let reflection_v1alpha = reflection()
            .build_v1alpha()
            .expect("the descriptor sets were made by the build");
        // Never `http2_adaptive_window`: it shrinks the connection's window, and with it how many small frames may wait.
        tonic::transport::Server::builder()
            .initial_connection_window_size(limits.connection_window_bytes)
            .initial_stream_window_size(limits.stream_window_bytes)
            .max_concurrent_streams(limits.streams_per_connection)
            .http2_max_header_list_size(limits.metadata_bytes)
            .http2_max_pending_accept_reset_streams(Some(limits.pending_resets))
            .http2_max_local_error_reset_streams(Some(limits.pending_resets))
            .http2_keepalive_interval(Some(Duration::from_secs(limits.ping_seconds)))
            .http2_keepalive_timeout(Some(Duration::from_secs(limits.ping_timeout_seconds)))
            .layer(RefuseLayer { request_bytes: size })
            .add_service(health_service)
            .add_service(reflection_v1)
            .add_service(reflection_v1alpha)
            .add_service(ServerServiceServer::new(services.clone()).max_decoding_message_size(size))
            .add_service(AuthServiceServer::new(services.clone()).max_decoding_message_size(size))
            .add_service(UserServiceServer::new(services.clone()).max_decoding_message_size(size))
            .add_service(RoomServiceServer::new(services.clone()).max_decoding_message_size(size))
            .add_service(ChatServiceServer::new(services).max_decoding_message_size(size))
            .serve_with_incoming_shutdown(edge.incoming(stop.clone()), stop.cancelled_owned())
            .await
    };
    (health, serving)
}
