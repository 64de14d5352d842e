//! The server's edge: accepts connections, members' and operators', and hands on those that are within the limits.
//!
//! tonic's own accept loop has no caps and no deadlines, and spins when descriptors run out; so this one stands in front of it. It knows
//! addresses, TLS and time, nothing of HTTP or of users: the layers above tell a [`Peer`] that a request or a login has come.

mod admin_socket;
mod connection;
mod descriptors;
mod peer;
mod proxy;
mod refusals;
mod slots;
mod socket;
mod tls;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::Stream as FutureStream;
use ipnet::IpNet;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

pub use self::{
    admin_socket::{AdminSocket, AdminSocketError, LocalConnection, LocalPeer},
    connection::{Connection, Connections},
    peer::Peer,
    proxy::forwarded_for,
    slots::counted_as,
    tls::{Certificates, TlsError},
};
use self::{
    connection::{Seat, Seats, Stream},
    proxy::Opening,
    refusals::{Cause, Refusals},
    slots::Slots,
    socket::Socket,
};
use crate::{config::Config, telemetry};

/// Connections that the system holds until they are accepted.
const BACKLOG: u32 = 1024;
/// Connections that are ready and not yet taken by the HTTP/2 server.
const READY: usize = 64;
/// Connections that operators may have at once, over the socket and again over TCP.
const ADMIN_CONNECTIONS: usize = 64;
/// Connections from one address to the operators' port on which nobody has logged in.
const ADMIN_STRANGERS: usize = 4;
/// How long somebody has there to log in.
const ADMIN_LOGIN: Duration = Duration::from_secs(30);
/// The pause when the system hands over no connection, so as not to spin.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes that the system holds for a client that reads slowly; by itself it lets this grow to megabytes for each connection.
const SEND_BUFFER: u32 = 256 * 1024;

/// Why the server cannot take connections.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the texts say")]
pub enum EdgeError {
    /// Another program listens there.
    #[error("{address} is in use: stop the other program, or choose another address with {flag}")]
    InUse { address: SocketAddr, flag: &'static str },
    /// The system does not allow it.
    #[error("{address} is not allowed: ports below 1024 need a privilege; choose another with {flag}")]
    NotAllowed { address: SocketAddr, flag: &'static str },
    /// The address is no address of this machine.
    #[error("this machine does not have the address {address}: choose another with {flag}")]
    NotHere { address: SocketAddr, flag: &'static str },
    /// The system refuses for another reason.
    #[error("cannot listen on {address}: choose another address with {flag}")]
    Listen {
        address: SocketAddr,
        flag: &'static str,
        source: io::Error,
    },
    /// There is no certificate to serve.
    #[error("TLS cannot be used")]
    Tls(#[from] TlsError),
    /// Operators are to connect over TCP, and there is no certificate.
    #[error(
        "operators connect over TCP with TLS only: set --tls-cert and --tls-key, or --tls-self-signed, or leave out --admin-listen"
    )]
    AdminWithoutTls,
}

impl EdgeError {
    fn listen(address: SocketAddr, flag: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { address, flag },
            io::ErrorKind::PermissionDenied => Self::NotAllowed { address, flag },
            io::ErrorKind::AddrNotAvailable => Self::NotHere { address, flag },
            _ => Self::Listen { address, flag, source },
        }
    }
}

/// A listening socket, and what is asked of those who connect to it.
#[derive(Debug)]
pub struct Edge {
    listener: TcpListener,
    local: SocketAddr,
    certificates: Option<Arc<Certificates>>,
    gate: Gate,
}

/// What each connection passes.
struct Gate {
    seats: Arc<Seats>,
    slots: Arc<Slots>,
    refusals: Arc<Refusals>,
    trusted: Vec<IpNet>,
    acceptor: Option<TlsAcceptor>,
    patience: Duration,
    /// How long a connection lives on which nobody logs in; none: as long as it likes.
    login: Option<Duration>,
    write_stall: Duration,
    /// The number of the newest connection.
    newest: AtomicU64,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("seats", &self.seats)
            .field("tls", &self.acceptor.is_some())
            .finish_non_exhaustive()
    }
}

impl Edge {
    /// Listens for members as the configuration says. Connections wait in the system until [`Edge::incoming`].
    ///
    /// Must be called within a tokio runtime. With `tls.self_signed`, makes and keeps a certificate in the data directory, which must exist
    /// or be creatable.
    ///
    /// # Errors
    /// The address cannot be had, or there is no usable certificate.
    pub fn bind(config: &Config) -> Result<Self, EdgeError> {
        let certificates = Certificates::open(&config.tls, &config.data_dir)?;
        if let Some(certificates) = &certificates {
            let fingerprint = certificates.fingerprint();
            tracing::info!(fingerprint, "The certificate's SHA-256 fingerprint is {fingerprint}");
        }
        let limits = &config.limits;
        let possible = descriptors::connections_max();
        if possible < limits.connections {
            tracing::warn!(
                possible,
                configured = limits.connections,
                "At most {possible} connections are possible with this limit of open files: raise it (ulimit -n, LimitNOFILE=) \
                 or lower the limit connections"
            );
        }
        let seats = Seats::new(limits.connections.min(possible), telemetry::connections_open);
        Self::listen(config, config.listen, "--listen", certificates, seats)
    }

    /// Listens for operators, if the configuration wants it: with `certificates`, which are the members' too, and the same limits but for the
    /// number of connections, which is 64. None if `admin.listen` is not set.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The address cannot be had, or there is no certificate.
    pub fn bind_admin(config: &Config, certificates: Option<Arc<Certificates>>) -> Result<Option<Self>, EdgeError> {
        let Some(address) = config.admin.listen else {
            return Ok(None);
        };
        let certificates = certificates.ok_or(EdgeError::AdminWithoutTls)?;
        // The gauge of connections is about members.
        let seats = Seats::new(ADMIN_CONNECTIONS, |_| {});
        let mut edge = Self::listen(config, address, "--admin-listen", Some(certificates), seats)?;
        // Whoever can reach the port must not be able to take all places.
        edge.gate.slots = Slots::new(ADMIN_STRANGERS);
        edge.gate.login = Some(ADMIN_LOGIN);
        Ok(Some(edge))
    }

    /// Listens at an address that `flag` chooses; with TLS if there are certificates.
    fn listen(
        config: &Config,
        address: SocketAddr,
        flag: &'static str,
        certificates: Option<Arc<Certificates>>,
        seats: Arc<Seats>,
    ) -> Result<Self, EdgeError> {
        let acceptor = match &certificates {
            Some(certificates) => Some(TlsAcceptor::from(certificates.server_config()?)),
            None => None,
        };
        let failed = |error| EdgeError::listen(address, flag, error);
        let listener = listen(address).map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        let limits = &config.limits;
        let gate = Gate {
            seats,
            slots: Slots::new(limits.connections_per_address),
            refusals: Arc::default(),
            trusted: config.trusted_proxies.clone(),
            acceptor,
            patience: Duration::from_secs(limits.handshake_seconds),
            login: None,
            write_stall: Duration::from_secs(limits.write_stall_seconds),
            newest: AtomicU64::new(0),
        };
        Ok(Self {
            listener,
            local,
            certificates,
            gate,
        })
    }

    /// The address on which it listens, with the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The certificate in use, if there is one.
    pub fn certificates(&self) -> Option<Arc<Certificates>> {
        self.certificates.clone()
    }

    /// Counts its connections, also once [`Edge::incoming`] has taken it.
    pub fn connections(&self) -> Connections {
        Connections(Arc::clone(&self.gate.seats))
    }

    /// Accepts connections until `shutdown`, then ends. What goes wrong with a connection is never an item: that connection is closed.
    ///
    /// Dropping the stream stops accepting, too. Must be called within a tokio runtime.
    pub fn incoming(
        self,
        shutdown: CancellationToken,
    ) -> impl FutureStream<Item = io::Result<Connection>> + Send + Unpin + 'static {
        let (ready, connections) = mpsc::channel(READY);
        tokio::spawn(accept(self.listener, Arc::new(self.gate), ready, shutdown));
        ReceiverStream::new(connections)
    }
}

/// A listening socket; connections inherit its settings.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A server that starts again must not wait for the old one's connections to be forgotten. Windows means something else by it.
    if cfg!(unix) {
        socket.set_reuseaddr(true)?;
    }
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts connections, each of which passes the gate in a task of its own; there are never more of these than seats.
async fn accept(
    listener: TcpListener,
    gate: Arc<Gate>,
    ready: mpsc::Sender<io::Result<Connection>>,
    shutdown: CancellationToken,
) {
    let accepting = async {
        loop {
            match listener.accept().await {
                Ok((tcp, address)) => {
                    let Some(seat) = gate.seats.take() else {
                        gate.refusals.add(Cause::Full);
                        continue;
                    };
                    let (gate, ready, shutdown) = (Arc::clone(&gate), ready.clone(), shutdown.clone());
                    tokio::spawn(async move {
                        let admitted = shutdown.run_until_cancelled(gate.admit(tcp, address, seat)).await;
                        match admitted {
                            Some(Ok(connection)) => _ = ready.send(Ok(connection)).await,
                            Some(Err(cause)) => gate.refusals.add(cause),
                            None => {}
                        }
                    });
                    // Whoever else has something to do has a turn first, so that a thousand connections at once are opened beside the others'
                    // conversation and not before it.
                    tokio::task::yield_now().await;
                }
                // The client has gone already.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                    ) => {}
                Err(_) => {
                    gate.refusals.add(Cause::Accept);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = ready.closed() => {}
        () = accepting => {}
    }
}

impl Gate {
    /// Does what comes before HTTP: a proxy's header, a slot of the address, the TLS handshake; each within its time.
    async fn admit(&self, tcp: TcpStream, address: SocketAddr, seat: Seat) -> Result<Connection, Cause> {
        // It fails only if the connection is gone, which the next read tells.
        _ = tcp.set_nodelay(true);
        let mut socket = Socket::new(tcp, self.write_stall, Arc::clone(&self.refusals));
        let mut address = SocketAddr::new(address.ip().to_canonical(), address.port());

        // A proxy that names no client connects for many.
        let mut counted = true;
        if proxy::is_trusted(address.ip(), &self.trusted) {
            match timeout(self.patience, proxy::opening(&mut socket)).await {
                Ok(Ok(Opening::Header(Some(client)))) => address = client,
                Ok(Ok(Opening::Header(None))) => counted = false,
                Ok(Ok(Opening::Bytes(bytes))) => {
                    socket.unread(bytes);
                    counted = false;
                }
                Ok(Err(_)) | Err(_) => return Err(Cause::ProxyHeader),
            }
        }
        let slot = if counted {
            Some(self.slot(address.ip()).await?)
        } else {
            None
        };
        let stream = match &self.acceptor {
            None => Stream::Plain(socket),
            Some(acceptor) => match timeout(self.patience, acceptor.accept(socket)).await {
                Ok(Ok(tls)) => Stream::Tls(Box::new(tls)),
                Ok(Err(_)) => return Err(Cause::Handshake),
                Err(_) => return Err(Cause::HandshakeTime),
            },
        };
        let id = self.newest.fetch_add(1, Ordering::Relaxed) + 1;
        let peer = Peer::new(id, address, slot);
        Ok(Connection::new(
            stream,
            peer,
            self.patience,
            self.login,
            seat,
            Arc::clone(&self.refusals),
        ))
    }

    /// A slot of an address, waiting for it if need be.
    async fn slot(&self, address: IpAddr) -> Result<slots::Slot, Cause> {
        let place = self.slots.place(address).ok_or(Cause::Address)?;
        timeout(self.patience, place.slot()).await.map_err(|_| Cause::AddressWait)
    }
}

#[cfg(test)]
mod tests;
