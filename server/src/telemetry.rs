//! What the server tells its operator: log lines on standard error, and metrics for Prometheus.
//!
//! The names of all metrics are here, each with a function that the other modules call; without [`Metrics::install`] these do nothing.
//! Labels are fixed words, never users, rooms or addresses.

use std::{
    io::{self, IsTerminal as _},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{Request, header},
    routing::get,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::JoinSet,
    time::{MissedTickBehavior, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Rows appended to the journal.
pub const JOURNAL_ROWS: &str = "greffe_journal_rows_total";
/// Rows of one transaction of the journal's writer.
pub const JOURNAL_BATCH_ROWS: &str = "greffe_journal_batch_rows";
/// Seconds that one transaction of the journal's writer took, its commit included.
pub const JOURNAL_APPEND_SECONDS: &str = "greffe_journal_append_seconds";
/// Events put into the mailboxes of live streams.
pub const LIVE_EVENTS: &str = "greffe_live_events_total";
/// Mailboxes that overflowed, whose streams then read the journal.
pub const LIVE_CATCH_UPS: &str = "greffe_live_catch_ups_total";
/// Live streams open.
pub const STREAMS_OPEN: &str = "greffe_streams_open";
/// Connections open.
pub const CONNECTIONS_OPEN: &str = "greffe_connections_open";
/// Connections that were refused or closed early, by cause.
pub const CONNECTIONS_REFUSED: &str = "greffe_connections_refused_total";
/// Logins, by result.
pub const LOGINS: &str = "greffe_logins_total";
/// Logins that wait for a password hash or have one computed.
pub const PASSWORD_QUEUE: &str = "greffe_password_queue";
/// Rows of the journal that the search index has not read yet.
pub const SEARCH_LAG_ROWS: &str = "greffe_search_lag_rows";
/// Whether the newest self-check found the journal in order: 1, or 0. There once there was one.
pub const SELF_CHECK_OK: &str = "greffe_self_check_ok";
/// Rows that the newest self-check verified.
pub const SELF_CHECK_ROWS: &str = "greffe_self_check_rows";

/// Seconds; from a fast disk's sync to a hopeless one.
const SECONDS: &[f64] = &[
    0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
];
/// Rows of a batch.
const ROWS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0,
];
/// How often old samples are folded into the sums: the recorder does not do it by itself.
const UPKEEP: Duration = Duration::from_secs(5);

/// Connections that read metrics at once; Prometheus keeps one.
const READERS: usize = 16;
/// How long such a connection may say nothing; longer than between two of Prometheus's readings.
const READER_IDLE: Duration = Duration::from_secs(90);
/// How long such a connection lasts at most.
const READER_LIFE: Duration = Duration::from_secs(15 * 60);
/// The pause when the system hands over no connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Why logs or metrics cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log filter cannot be read.
    #[error("the log filter {0:?} cannot be read: write a level such as info, or info,greffe_server=debug")]
    Filter(String, #[source] tracing_subscriber::filter::ParseError),
    /// Something in this process logs already.
    #[error("logging is set up already")]
    Subscriber(#[source] tracing_subscriber::util::TryInitError),
    /// Something in this process counts already.
    #[error("metrics are set up already, or wrongly")]
    Recorder(#[from] BuildError),
    /// The metrics' address cannot be had.
    #[error("cannot serve metrics on {0}: choose another address with --metrics-listen")]
    Listen(SocketAddr, #[source] io::Error),
}

/// Sends log lines to standard error from now on.
///
/// # Errors
/// The filter cannot be read, or logging was set up before.
pub fn init(log: &Log) -> Result<(), TelemetryError> {
    use tracing_subscriber::util::SubscriberInitExt as _;

    let filter = EnvFilter::builder()
        .parse(&log.filter)
        .map_err(|error| TelemetryError::Filter(log.filter.clone(), error))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match log.format {
        LogFormat::Text => {
            let colour =
                io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            lines.with_ansi(colour).finish().try_init()
        }
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    }
    .map_err(TelemetryError::Subscriber)
}

/// The numbers collected so far.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Counts from now on, in this process.
    pub fn install() -> Result<Self, TelemetryError> {
        let handle = builder()?.install_recorder()?;
        describe();
        Ok(Self(handle))
    }

    /// The numbers as Prometheus reads them.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Takes the address on which they are served, at once, so that a mistake shows at the start.
    pub async fn bind(self, address: SocketAddr) -> Result<MetricsServer, TelemetryError> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| TelemetryError::Listen(address, error))?;
        let local = listener.local_addr().map_err(|error| TelemetryError::Listen(address, error))?;
        Ok(MetricsServer {
            metrics: self,
            listener,
            local,
        })
    }
}

/// Serves the numbers at `/metrics`.
pub struct MetricsServer {
    metrics: Metrics,
    listener: TcpListener,
    local: SocketAddr,
}

impl MetricsServer {
    /// The address, with the port that was chosen.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Serves until told to stop; waits for nobody then.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { metrics, listener, .. } = self;
        let rendered = metrics.clone();
        let routes = Router::new().route(
            "/metrics",
            get(move || async move {
                (
                    [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
                    rendered.render(),
                )
            }),
        );
        let mut upkeep = tokio::time::interval(UPKEEP);
        upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let upkeep = async {
            loop {
                upkeep.tick().await;
                metrics.0.run_upkeep();
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = upkeep => {}
            () = serve(listener, routes) => {}
        }
    }
}

/// Serves readers, few at once and each for a limited time; further ones wait to be accepted.
async fn serve(listener: TcpListener, routes: Router) {
    let places = Arc::new(Semaphore::new(READERS));
    // Dropped with this future, and then all of them end.
    let mut readers = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        while readers.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            // For want of descriptors, say: not to spin.
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let routes = routes.clone();
        let service = service_fn(move |request: Request<Incoming>| routes.clone().oneshot(request.map(Body::new)));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(READER_IDLE);
        let reading = http.serve_connection(TokioIo::new(stream), service);
        readers.spawn(async move {
            // A reader that leaves in the middle is no error of ours.
            _ = timeout(READER_LIFE, reading).await;
            drop(place);
        });
    }
}

/// The recorder's settings.
fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets(SECONDS)?
        .set_buckets_for_metric(Matcher::Full(JOURNAL_BATCH_ROWS.to_owned()), ROWS)
}

/// Tells Prometheus what each metric means, and lets those that are often asked for start at 0.
fn describe() {
    describe_counter!(JOURNAL_ROWS, Unit::Count, "Rows appended to the journal");
    describe_histogram!(
        JOURNAL_BATCH_ROWS,
        Unit::Count,
        "Rows of one transaction of the journal's writer"
    );
    describe_histogram!(
        JOURNAL_APPEND_SECONDS,
        Unit::Seconds,
        "Time of one transaction of the journal's writer"
    );
    describe_counter!(
        LIVE_EVENTS,
        Unit::Count,
        "Events put into the mailboxes of live streams"
    );
    describe_counter!(
        LIVE_CATCH_UPS,
        Unit::Count,
        "Mailboxes that overflowed, whose streams then read the journal"
    );
    describe_gauge!(STREAMS_OPEN, Unit::Count, "Live streams open");
    describe_gauge!(CONNECTIONS_OPEN, Unit::Count, "Connections open");
    describe_counter!(
        CONNECTIONS_REFUSED,
        Unit::Count,
        "Connections refused or closed early, by cause"
    );
    describe_counter!(LOGINS, Unit::Count, "Logins, by result");
    describe_gauge!(
        PASSWORD_QUEUE,
        Unit::Count,
        "Logins that wait for a password hash or have one computed"
    );
    describe_gauge!(
        SEARCH_LAG_ROWS,
        Unit::Count,
        "Rows of the journal that the search index has not read yet"
    );

    describe_gauge!(
        SELF_CHECK_OK,
        "Whether the newest self-check found the journal in order (1) or not (0); absent before the first one"
    );
    describe_gauge!(SELF_CHECK_ROWS, Unit::Count, "Rows that the newest self-check verified");

    for name in [JOURNAL_ROWS, LIVE_EVENTS, LIVE_CATCH_UPS] {
        counter!(name).increment(0);
    }
    for result in [ACCEPTED, REFUSED] {
        counter!(LOGINS, RESULT => result).increment(0);
    }
    for name in [STREAMS_OPEN, CONNECTIONS_OPEN, PASSWORD_QUEUE, SEARCH_LAG_ROWS] {
        gauge!(name).set(0.0);
    }
}

const RESULT: &str = "result";
const ACCEPTED: &str = "accepted";
const REFUSED: &str = "refused";

/// A transaction of the journal's writer is on disk.
pub fn appended(rows: usize, took: Duration) {
    counter!(JOURNAL_ROWS).increment(rows as u64);
    histogram!(JOURNAL_BATCH_ROWS).record(number(rows as u64));
    histogram!(JOURNAL_APPEND_SECONDS).record(took);
}

/// Events were put into mailboxes: events times receivers.
pub fn live_events(queued: u64) {
    counter!(LIVE_EVENTS).increment(queued);
}

/// A mailbox overflowed, and its stream now reads the journal.
pub fn live_catch_up() {
    counter!(LIVE_CATCH_UPS).increment(1);
}

/// So many live streams are open.
pub fn streams_open(streams: usize) {
    gauge!(STREAMS_OPEN).set(number(streams as u64));
}

/// So many connections are open.
pub fn connections_open(connections: usize) {
    gauge!(CONNECTIONS_OPEN).set(number(connections as u64));
}

/// A connection was refused or closed early.
pub fn connection_refused(cause: &'static str) {
    counter!(CONNECTIONS_REFUSED, "cause" => cause).increment(1);
}

/// Somebody logged in, or was not let in.
pub fn login(accepted: bool) {
    counter!(LOGINS, RESULT => if accepted { ACCEPTED } else { REFUSED }).increment(1);
}

/// So many logins wait for a password hash or have one computed.
pub fn password_queue(logins: usize) {
    gauge!(PASSWORD_QUEUE).set(number(logins as u64));
}

/// The search index has so many rows still to read.
pub fn search_lag(rows: u64) {
    gauge!(SEARCH_LAG_ROWS).set(number(rows));
}

/// A self-check is done.
pub fn self_check(in_order: bool, rows: i64) {
    gauge!(SELF_CHECK_OK).set(if in_order { 1.0 } else { 0.0 });
    gauge!(SELF_CHECK_ROWS).set(number(u64::try_from(rows).unwrap_or_default()));
}

/// A count as Prometheus has it; beyond 2^32 nobody needs it exact.
fn number(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[test]
    fn every_metric_is_described_and_rendered() {
        let recorder = builder().unwrap().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe();
            appended(3, Duration::from_millis(4));
            live_events(5);
            live_catch_up();
            streams_open(6);
            connections_open(7);
            connection_refused("full");
            login(true);
            login(false);
            password_queue(8);
            search_lag(9);
            self_check(true, 10);
        });
        let text = handle.render();
        for line in [
            "greffe_journal_rows_total 3",
            "greffe_journal_batch_rows_bucket{le=\"5\"} 1",
            "greffe_journal_append_seconds_bucket{le=\"0.005\"} 1",
            "greffe_live_events_total 5",
            "greffe_live_catch_ups_total 1",
            "greffe_streams_open 6",
            "greffe_connections_open 7",
            "greffe_connections_refused_total{cause=\"full\"} 1",
            "greffe_logins_total{result=\"accepted\"} 1",
            "greffe_logins_total{result=\"refused\"} 1",
            "greffe_password_queue 8",
            "greffe_search_lag_rows 9",
            "greffe_self_check_ok 1",
            "greffe_self_check_rows 10",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        let described = text.lines().filter(|line| line.starts_with("# HELP greffe_")).count();
        assert_eq!(described, 13, "{text}");
    }

    #[tokio::test]
    async fn metrics_are_served_until_the_server_stops() {
        let metrics = Metrics(builder().unwrap().build_recorder().handle());
        let server = metrics.bind((std::net::Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let address = server.local_addr();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(server.run(shutdown.clone()));

        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");

        let _open = tokio::net::TcpStream::connect(address).await.unwrap();
        shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn an_address_in_use_is_told() {
        let taken = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let metrics = Metrics(builder().unwrap().build_recorder().handle());
        let error = metrics.bind(taken.local_addr().unwrap()).await.err().unwrap();
        assert!(error.to_string().contains("--metrics-listen"));
    }
}
