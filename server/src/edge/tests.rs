//! Tests of the edge with real sockets: who is let in, who waits, who is closed, and that all is given back.

use std::{net::Ipv4Addr, sync::Arc, time::Instant};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_stream::StreamExt as _;
use tonic::transport::server::Connected as _;

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longer than anything here may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// A server's edge on a free port, with waits of one second.
struct Server {
    address: SocketAddr,
    incoming: Box<dyn FutureStream<Item = io::Result<Connection>> + Send + Unpin>,
    shutdown: CancellationToken,
    seats: Arc<Seats>,
    certificates: Option<Arc<Certificates>>,
    data_dir: tempfile::TempDir,
}

impl Server {
    fn start(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_gated(change, |_| {})
    }

    /// `gate` changes what is not configured.
    fn start_gated(change: impl FnOnce(&mut Config), gate: impl FnOnce(&mut Gate)) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let mut config = Config {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            data_dir: data_dir.path().to_owned(),
            ..Config::default()
        };
        config.limits.handshake_seconds = 1;
        config.limits.write_stall_seconds = 1;
        change(&mut config);
        let mut edge = Edge::bind(&config).unwrap();
        gate(&mut edge.gate);
        let shutdown = CancellationToken::new();
        Self {
            address: edge.local_addr(),
            seats: Arc::clone(&edge.gate.seats),
            certificates: edge.certificates(),
            incoming: Box::new(edge.incoming(shutdown.clone())),
            shutdown,
            data_dir,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn accepted(&mut self) -> Connection {
        timeout(DEADLINE, self.incoming.next())
            .await
            .expect("a connection in time")
            .unwrap()
            .unwrap()
    }

    /// Whether nobody is let in for a moment.
    async fn lets_nobody_in(&mut self) -> bool {
        timeout(Duration::from_millis(200), self.incoming.next()).await.is_err()
    }

    async fn pair(&mut self) -> (TcpStream, Connection) {
        (self.connect().await, self.accepted().await)
    }

    /// Waits until everything that connections hold has been given back.
    async fn all_seats_are_free(&self) {
        let free = async {
            while self.seats.free.available_permits() < self.seats.all {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, free).await.expect("all seats to be free in time");
    }
}

/// Waits until a connection is closed by the server.
async fn closed(client: &mut TcpStream) {
    let read = timeout(DEADLINE, client.read(&mut [0; 16]))
        .await
        .expect("the connection to be closed in time");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

async fn read_error(connection: &mut Connection) -> io::ErrorKind {
    timeout(DEADLINE, connection.read(&mut [0; 16]))
        .await
        .expect("the read to end in time")
        .unwrap_err()
        .kind()
}

#[tokio::test]
async fn a_connection_carries_bytes_and_knows_its_peer() {
    let mut server = Server::start(|_| {});
    let (mut client, mut connection) = server.pair().await;
    assert_eq!(connection.peer().address, client.local_addr().unwrap());
    assert_eq!(connection.connect_info().id, 1);
    client.write_all(b"ping").await.unwrap();
    let mut bytes = [0; 4];
    connection.read_exact(&mut bytes).await.unwrap();
    connection.write_all(&bytes).await.unwrap();
    connection.flush().await.unwrap();
    client.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"ping");
    assert_eq!(server.pair().await.1.peer().id, 2);
}

#[tokio::test]
async fn an_address_in_use_is_told() {
    let server = Server::start(|_| {});
    let config = Config {
        listen: server.address,
        ..Config::default()
    };
    assert!(matches!(Edge::bind(&config), Err(EdgeError::InUse { address, .. }) if address == server.address));
    let config = Config {
        listen: "192.0.2.1:0".parse().unwrap(),
        ..Config::default()
    };
    assert!(matches!(Edge::bind(&config), Err(EdgeError::NotHere { .. })));
}

#[tokio::test]
async fn the_stream_ends_with_the_server_and_the_port_is_free_again() {
    let mut server = Server::start(|_| {});
    let (_client, connection) = server.pair().await;
    server.shutdown.cancel();
    assert!(timeout(DEADLINE, server.incoming.next()).await.unwrap().is_none());
    let config = Config {
        listen: server.address,
        ..Config::default()
    };
    let again = async {
        while Edge::bind(&config).is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, again)
        .await
        .expect("the port to be free while an old connection is open");
    drop(connection);
}

#[tokio::test]
async fn dropping_the_stream_stops_accepting() {
    let server = Server::start(|_| {});
    let address = server.address;
    drop(server);
    let refused = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, refused).await.expect("connections to be refused");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let mut server = Server::start(|config| config.limits.connections = 2);
    let first = server.pair().await;
    let _second = server.pair().await;
    let mut third = server.connect().await;
    closed(&mut third).await;
    drop(first);
    let fourth = async {
        loop {
            let client = server.connect().await;
            if let Ok(Some(connection)) = timeout(Duration::from_millis(50), server.incoming.next()).await {
                return (client, connection);
            }
        }
    };
    _ = timeout(DEADLINE, fourth).await.expect("the seat to be free again");
}

#[tokio::test]
async fn an_address_waits_until_somebody_logs_in_or_leaves() {
    let mut server = Server::start(|config| {
        config.limits.connections_per_address = 1;
        config.limits.handshake_seconds = 10;
    });
    let (_a, first) = server.pair().await;
    let _b = server.connect().await;
    assert!(server.lets_nobody_in().await);
    first.peer().logged_in();
    first.peer().logged_in();
    let second = server.accepted().await;

    let _c = server.connect().await;
    assert!(server.lets_nobody_in().await);
    // A request may still hold the peer.
    let held = second.peer().clone();
    drop(second);
    let _third = server.accepted().await;
    drop(held);
}

#[tokio::test]
async fn waiting_ends_in_time_and_only_so_many_wait() {
    let mut server = Server::start(|config| config.limits.connections_per_address = 1);
    let (_client, _connection) = server.pair().await;
    let mut waiting = Vec::new();
    for _ in 0..4 {
        waiting.push(server.connect().await);
    }
    // Its closing tells that the four are in the queue before it.
    let started = Instant::now();
    let mut fifth = server.connect().await;
    closed(&mut fifth).await;
    assert!(
        started.elapsed() < Duration::from_millis(900),
        "{:?}",
        started.elapsed()
    );
    for client in &mut waiting {
        closed(client).await;
    }
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_client_that_says_nothing_is_closed() {
    let mut server = Server::start(|_| {});
    let (mut client, mut connection) = server.pair().await;
    assert_eq!(read_error(&mut connection).await, io::ErrorKind::TimedOut);
    drop(connection);
    closed(&mut client).await;
    server.all_seats_are_free().await;
}

#[tokio::test]
async fn a_client_that_only_says_hello_is_closed() {
    let mut server = Server::start(|_| {});
    let (mut client, mut connection) = server.pair().await;
    client.write_all(PREFACE).await.unwrap();
    connection.read_exact(&mut [0; 24]).await.unwrap();
    assert_eq!(read_error(&mut connection).await, io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_client_that_sends_all_the_time_but_no_request_is_closed() {
    let mut server = Server::start(|_| {});
    let (mut client, mut connection) = server.pair().await;
    let flood = tokio::spawn(async move { while client.write_all(&[0; 4096]).await.is_ok() {} });
    let reading = async {
        let mut buffer = [0; 4096];
        loop {
            if let Err(error) = connection.read(&mut buffer).await {
                return error.kind();
            }
        }
    };
    assert_eq!(timeout(DEADLINE, reading).await.unwrap(), io::ErrorKind::TimedOut);
    drop(connection);
    flood.await.unwrap();
}

#[tokio::test]
async fn a_client_with_a_request_may_be_quiet() {
    let mut server = Server::start(|_| {});
    let (mut client, mut connection) = server.pair().await;
    connection.peer().request_seen();
    let quiet = timeout(Duration::from_millis(2500), connection.read(&mut [0; 16])).await;
    assert!(quiet.is_err(), "{quiet:?}");
    client.write_all(b"x").await.unwrap();
    assert_eq!(connection.read_u8().await.unwrap(), b'x');
}

/// Writes until that fails, which it must after the stall limit of one second, and not much later.
async fn writing_ends_in_time(connection: &mut Connection) {
    let started = Instant::now();
    let bytes = vec![0; 65536];
    let writing = async { while connection.write_all(&bytes).await.is_ok() {} };
    timeout(Duration::from_secs(5), writing)
        .await
        .expect("writing to a client that reads nothing to end");
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_given_up() {
    let mut server = Server::start(|_| {});
    let (client, mut connection) = server.pair().await;
    writing_ends_in_time(&mut connection).await;
    assert_eq!(
        connection.write(b"x").await.unwrap_err().kind(),
        io::ErrorKind::TimedOut
    );
    drop(client);
}

#[tokio::test]
async fn a_client_that_takes_little_is_served() {
    let mut server = Server::start(|_| {});
    let (mut client, mut connection) = server.pair().await;
    let total = 8 * 1024 * 1024;
    let reader = tokio::spawn(async move {
        // Until the buffers are full, less in each second than makes the system tell of room.
        let mut read = 0;
        let mut buffer = vec![0; 64 * 1024];
        for _ in 0..12 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            read += client.read(&mut buffer).await.unwrap();
        }
        while read < total {
            read += client.read(&mut buffer).await.unwrap();
        }
    });
    timeout(DEADLINE, connection.write_all(&vec![0; total]))
        .await
        .unwrap()
        .expect("nothing to be given up");
    timeout(DEADLINE, reader).await.unwrap().unwrap();
}

#[tokio::test]
async fn tonic_serves_what_is_let_in() {
    let server = Server::start(|_| {});
    let mut client = server.connect().await;
    let (incoming, shutdown) = (server.incoming, server.shutdown);
    let serving = tokio::spawn(
        tonic::transport::Server::builder()
            .add_routes(tonic::service::Routes::default())
            .serve_with_incoming(incoming),
    );
    client.write_all(PREFACE).await.unwrap();
    client.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    // The header of a SETTINGS frame.
    let mut frame = [0; 9];
    timeout(DEADLINE, client.read_exact(&mut frame)).await.unwrap().unwrap();
    assert_eq!(frame[3..], [4, 0, 0, 0, 0, 0]);
    // No request follows. What the server says first (its settings, and that it leaves) may come before the end.
    timeout(DEADLINE, client.read_to_end(&mut Vec::new()))
        .await
        .expect("to be closed")
        .unwrap();
    shutdown.cancel();
    timeout(DEADLINE, serving)
        .await
        .expect("tonic to end with the stream")
        .unwrap()
        .unwrap();
}

fn tls_client(server: &Server) -> TlsConnector {
    let pem = server.data_dir.path().join("tls/certificate.pem");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pem).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config).into()
}

#[tokio::test]
async fn tls_is_spoken_with_the_servers_own_certificate() {
    let mut server = Server::start(|config| config.tls.self_signed = true);
    assert!(server.certificates.is_some());
    let connector = tls_client(&server);
    let client = server.connect().await;
    let connecting =
        tokio::spawn(async move { connector.connect("localhost".try_into().unwrap(), client).await.unwrap() });
    let mut connection = server.accepted().await;
    let mut client = connecting.await.unwrap();
    assert_eq!(client.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    client.write_all(b"ping").await.unwrap();
    client.flush().await.unwrap();
    let mut bytes = [0; 4];
    connection.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"ping");
}

#[tokio::test]
async fn a_tls_client_that_takes_nothing_is_given_up() {
    let mut server = Server::start(|config| config.tls.self_signed = true);
    let connector = tls_client(&server);
    let client = server.connect().await;
    let connecting =
        tokio::spawn(async move { connector.connect("localhost".try_into().unwrap(), client).await.unwrap() });
    let mut connection = server.accepted().await;
    let _client = connecting.await.unwrap();
    writing_ends_in_time(&mut connection).await;
}

#[tokio::test]
async fn a_handshake_that_fails_or_never_comes_is_closed_and_hinders_nobody() {
    let mut server = Server::start(|config| config.tls.self_signed = true);
    let mut garbage = server.connect().await;
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut silent = server.connect().await;

    let connector = tls_client(&server);
    let client = server.connect().await;
    let connecting = tokio::spawn(async move { connector.connect("localhost".try_into().unwrap(), client).await });
    let started = Instant::now();
    drop(server.accepted().await);
    assert!(started.elapsed() < Duration::from_millis(900));
    drop(connecting.await);

    let mut alert = Vec::new();
    _ = timeout(DEADLINE, garbage.read_to_end(&mut alert)).await.expect("to be closed");
    closed(&mut silent).await;
    server.all_seats_are_free().await;
}

#[tokio::test]
async fn a_trusted_proxy_names_its_client() {
    let mut server = Server::start(|config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        config.limits.connections_per_address = 1;
    });
    let mut proxy = server.connect().await;
    proxy
        .write_all(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\x30\x39\0\x50PRI")
        .await
        .unwrap();
    let mut connection = server.accepted().await;
    assert_eq!(connection.peer().address, "192.0.2.1:12345".parse().unwrap());
    let mut bytes = [0; 3];
    connection.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"PRI");

    // Without a header it speaks for many clients, and is not counted as one.
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut proxy = server.connect().await;
        proxy.write_all(PREFACE).await.unwrap();
        let mut connection = server.accepted().await;
        assert_eq!(connection.peer().address, proxy.local_addr().unwrap());
        let mut bytes = [0; 24];
        connection.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, PREFACE);
        open.push((proxy, connection));
    }

    let mut broken = server.connect().await;
    broken
        .write_all(b"\r\n\r\n\0\r\nQUIT\n\x99\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\x30\x39\0\x50")
        .await
        .unwrap();
    closed(&mut broken).await;
}

#[tokio::test]
async fn from_others_a_proxy_header_is_just_bytes() {
    let mut server = Server::start(|_| {});
    let (mut client, mut connection) = server.pair().await;
    client.write_all(b"\r\n\r\n\0\r\nQUIT\n").await.unwrap();
    assert_eq!(connection.peer().address, client.local_addr().unwrap());
    let mut bytes = [0; 12];
    connection.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"\r\n\r\n\0\r\nQUIT\n");
}

#[tokio::test]
async fn operators_have_a_listener_of_their_own_with_the_members_certificate() {
    let data_dir = tempfile::tempdir().unwrap();
    let mut config = Config {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        data_dir: data_dir.path().to_owned(),
        ..Config::default()
    };
    assert!(Edge::bind_admin(&config, None).unwrap().is_none(), "only if configured");
    config.admin.listen = Some((Ipv4Addr::LOCALHOST, 0).into());
    assert!(matches!(
        Edge::bind_admin(&config, None),
        Err(EdgeError::AdminWithoutTls)
    ));

    config.tls.self_signed = true;
    let members = Edge::bind(&config).unwrap();
    let admin = Edge::bind_admin(&config, members.certificates()).unwrap().unwrap();
    assert_ne!(admin.local_addr(), members.local_addr());
    assert!(Arc::ptr_eq(
        &admin.certificates().unwrap(),
        &members.certificates().unwrap()
    ));
    assert_eq!(admin.connections().max(), ADMIN_CONNECTIONS);

    config.admin.listen = Some(members.local_addr());
    let error = Edge::bind_admin(&config, members.certificates()).unwrap_err();
    assert!(matches!(error, EdgeError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("--admin-listen"), "{error}");
}

#[tokio::test]
async fn where_only_who_logs_in_has_a_place_others_are_closed_though_they_ask() {
    let login = Some(Duration::from_millis(300));
    let mut server = Server::start_gated(|_| {}, |gate| gate.login = login);
    let (_stranger, mut connection) = server.pair().await;
    connection.peer().request_seen();
    assert_eq!(read_error(&mut connection).await, io::ErrorKind::TimedOut);
    drop(connection);

    let (mut operator, mut connection) = server.pair().await;
    connection.peer().request_seen();
    connection.peer().logged_in();
    let quiet = timeout(Duration::from_millis(900), connection.read(&mut [0; 16])).await;
    assert!(quiet.is_err(), "{quiet:?}");
    operator.write_all(b"x").await.unwrap();
    assert_eq!(connection.read_u8().await.unwrap(), b'x');
}

#[tokio::test]
async fn connections_are_counted_as_long_as_they_last() {
    let data_dir = tempfile::tempdir().unwrap();
    let config = Config {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        data_dir: data_dir.path().to_owned(),
        ..Config::default()
    };
    let edge = Edge::bind(&config).unwrap();
    let (address, connections) = (edge.local_addr(), edge.connections());
    let mut incoming = edge.incoming(CancellationToken::new());
    assert_eq!(connections.open(), 0);
    let _client = TcpStream::connect(address).await.unwrap();
    let connection = timeout(DEADLINE, incoming.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(connections.clone().open(), 1);
    drop(connection);
    assert_eq!(connections.open(), 0);
}
