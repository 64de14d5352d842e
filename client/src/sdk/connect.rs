//! Links to a server: TCP, TLS where the address asks for it, or a socket of this machine; HTTP/2.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use super::address::ServerAddress;
use super::error::{Error, reason};
use super::trust::{Fingerprint, Trust, tls_config};

/// How often a quiet link is probed, and how long the answer may take.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// HTTP/2 flow control windows. A feed and a download that are not read for a while must not starve the calls beside them.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// The largest frame that is accepted: downloads come in fewer pieces.
const FRAME: u32 = 1024 * 1024;

/// A byte stream, encrypted or not.
trait Io: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Io for T {}
type BoxedIo = Pin<Box<dyn Io>>;

/// Makes links to one server.
pub(crate) struct Connector {
    address: ServerAddress,
    timeout: Duration,
    tls: Option<(TlsConnector, Trust)>,
    /// The socket of this machine to use instead of TCP.
    socket: Option<PathBuf>,
    /// The certificate that was trusted because it was the first one seen.
    first_contact: Mutex<Option<Fingerprint>>,
}

impl Connector {
    /// Prepares links to `address`, each made within `timeout`.
    pub(crate) fn new(address: ServerAddress, trust: Trust, timeout: Duration) -> Result<Self, Error> {
        let tls = if address.is_tls() {
            let config: ClientConfig = tls_config(&trust)?;
            Some((TlsConnector::from(Arc::new(config)), trust))
        } else {
            None
        };
        Ok(Self {
            address,
            timeout,
            tls,
            socket: None,
            first_contact: Mutex::new(None),
        })
    }

    /// Prepares links through the socket at `path`, each made within `timeout`.
    pub(crate) fn over_socket(path: PathBuf, timeout: Duration) -> Self {
        Self {
            address: ServerAddress::local(),
            timeout,
            tls: None,
            socket: Some(path),
            first_contact: Mutex::new(None),
        }
    }

    /// The certificate that was trusted because it was the first one seen. Told once.
    pub(crate) fn take_first_contact(&self) -> Option<Fingerprint> {
        self.first_contact.lock().ok()?.take()
    }

    /// Connects now, so that a wrong address shows at once; broken links are made anew by the channel.
    pub(crate) async fn open(self: &Arc<Self>, user_agent: &str) -> Result<Channel, Error> {
        // The scheme is `http` also for TLS: encryption is this connector's, and tonic would insist on its own.
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address.authority()))
            .and_then(|endpoint| endpoint.user_agent(user_agent.to_owned()))
            .map_err(|error| Error::local(Code::InvalidArgument, reason::INVALID_ADDRESS, error.to_string()))?;
        let origin: Uri = self.address.to_string().parse().map_err(|_| {
            Error::local(
                Code::InvalidArgument,
                reason::INVALID_ADDRESS,
                "the address cannot be used",
            )
        })?;
        let connector = Arc::clone(self);
        let channel = endpoint
            .origin(origin)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME)
            .connect_with_connector(tower::service_fn(move |_: Uri| {
                let connector = Arc::clone(&connector);
                async move { connector.link().await.map(TokioIo::new) }
            }))
            .await?;
        Ok(channel)
    }

    async fn link(&self) -> Result<BoxedIo, Error> {
        match tokio::time::timeout(self.timeout, self.link_unbounded()).await {
            Ok(result) => result,
            Err(_) => Err(Error::unreachable(format!(
                "the server at {} cannot be reached: no answer within {} s",
                self.place(),
                self.timeout.as_secs()
            ))),
        }
    }

    /// Where the server is, for people.
    fn place(&self) -> String {
        self.socket
            .as_ref()
            .map_or_else(|| self.address.to_string(), |path| path.display().to_string())
    }

    #[cfg(unix)]
    async fn link_to_socket(path: &Path) -> Result<BoxedIo, Error> {
        match UnixStream::connect(path).await {
            Ok(stream) => Ok(Box::pin(stream)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(Error::local(
                Code::PermissionDenied,
                reason::SOCKET_FORBIDDEN,
                format!("you may not open {}", path.display()),
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::unreachable(format!("there is no socket at {}", path.display())))
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Err(Error::unreachable(format!("nobody listens at {}", path.display())))
            }
            Err(error) => Err(Error::unreachable(format!(
                "the server at {} cannot be reached: {error}",
                path.display()
            ))),
        }
    }

    #[cfg(not(unix))]
    async fn link_to_socket(path: &Path) -> Result<BoxedIo, Error> {
        Err(Error::unreachable(format!(
            "this system cannot open the socket {}",
            path.display()
        )))
    }

    async fn link_unbounded(&self) -> Result<BoxedIo, Error> {
        if let Some(path) = &self.socket {
            return Self::link_to_socket(path).await;
        }
        let unreachable =
            |error: io::Error| Error::unreachable(format!("the server at {} cannot be reached: {error}", self.address));
        let tcp = TcpStream::connect((self.address.host(), self.address.port()))
            .await
            .map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        let Some((tls, trust)) = &self.tls else {
            return Ok(Box::pin(tcp));
        };
        let name = ServerName::try_from(self.address.host().to_owned()).map_err(|_| {
            Error::local(
                Code::InvalidArgument,
                reason::INVALID_ADDRESS,
                "the host's name cannot be used for TLS",
            )
        })?;
        let stream = tls.connect(name, tcp).await.map_err(|error| self.handshake_failed(&error))?;
        if let Trust::FirstUse(servers) = trust {
            let seen = fingerprint(&stream)?;
            if servers.accept(&self.address, seen)?
                && let Ok(mut first) = self.first_contact.lock()
            {
                *first = Some(seen);
            }
        }
        Ok(Box::pin(stream))
    }

    fn handshake_failed(&self, error: &io::Error) -> Error {
        let text = format!("no encrypted link to {}: {error}", self.address);
        let certificate = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            .is_some_and(|inner| matches!(inner, rustls::Error::InvalidCertificate(_)));
        if certificate {
            Error::local(Code::FailedPrecondition, reason::CERTIFICATE_UNUSABLE, text)
        } else {
            Error::unreachable(text)
        }
    }
}

fn fingerprint(stream: &TlsStream<TcpStream>) -> Result<Fingerprint, Error> {
    let (_, connection) = stream.get_ref();
    connection
        .peer_certificates()
        .and_then(|certificates| certificates.first())
        .map(Fingerprint::of)
        .ok_or_else(|| {
            Error::local(
                Code::FailedPrecondition,
                reason::CERTIFICATE_UNUSABLE,
                "the server shows no certificate",
            )
        })
}

#[cfg(test)]
mod tests {
    use std::error::Error as StdError;

    use rustls::ServerConfig;
    use rustls_pki_types::PrivateKeyDer;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::super::trust::KnownServers;
    use super::*;

    /// Accepts TLS links with a certificate of its own, and keeps them open. Returns the certificate and where it listens.
    async fn tls_server(listen: &str) -> Result<(String, ServerAddress), Box<dyn StdError>> {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(listen).await?;
        let port = listener.local_addr()?.port();
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((tcp, _)) = listener.accept().await {
                // A client that does not trust the certificate breaks off.
                open.extend(acceptor.accept(tcp).await.ok());
            }
        });
        Ok((made.cert.pem(), format!("https://localhost:{port}").parse()?))
    }

    async fn connect(address: &ServerAddress, trust: Trust) -> Result<Option<Fingerprint>, Error> {
        let connector = Connector::new(address.clone(), trust, Duration::from_secs(10))?;
        connector.link().await?;
        Ok(connector.take_first_contact())
    }

    #[tokio::test]
    async fn the_first_certificate_is_told_kept_and_no_other_one_accepted() -> Result<(), Box<dyn StdError>> {
        let directory = tempfile::tempdir()?;
        let known = directory.path().join("known_servers");
        let trust = || Trust::FirstUse(KnownServers::new(&known));
        let (_, address) = tls_server("localhost:0").await?;
        assert!(connect(&address, trust()).await?.is_some());
        assert!(connect(&address, trust()).await?.is_none());
        let kept = std::fs::read_to_string(&known)?;
        let (_, other) = tls_server("localhost:0").await?;
        std::fs::write(&known, kept.replace(&address.authority(), &other.authority()))?;
        let refused = connect(&other, trust()).await.map_err(|error| error.reason);
        assert_eq!(refused.err().as_deref(), Some(reason::CERTIFICATE_CHANGED));
        Ok(())
    }

    #[tokio::test]
    async fn an_authority_vouches_for_its_servers_only() -> Result<(), Box<dyn StdError>> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("ca.pem");
        let (certificate, address) = tls_server("localhost:0").await?;
        let (_, other) = tls_server("localhost:0").await?;
        std::fs::write(&file, certificate)?;
        assert!(connect(&address, Trust::Authority(file.clone())).await.is_ok());
        let refused = connect(&other, Trust::Authority(file)).await.map_err(|error| error.reason);
        assert_eq!(refused.err().as_deref(), Some(reason::CERTIFICATE_UNUSABLE));
        let missing = Trust::Authority(directory.path().join("none.pem"));
        let refused = connect(&address, missing).await.map_err(|error| error.reason);
        assert_eq!(refused.err().as_deref(), Some(reason::CERTIFICATE_UNUSABLE));
        Ok(())
    }
}
