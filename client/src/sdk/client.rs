//! The client: one connection, one token, and the one function through which every call goes.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use greffe_api::v1::{ErrorReason, GetServerInfoRequest, ServerInfo};
use http::uri::PathAndQuery;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use super::address::ServerAddress;
use super::connect::Connector;
use super::error::{Error, reason};
use super::methods::Method;
use super::pauses::Pauses;
use super::trust::{Fingerprint, KnownServers, Trust};

/// The largest answer that is accepted. Pages and frames are about 1 MiB at most.
const LARGEST_ANSWER: usize = 8 * 1024 * 1024;

/// A list with more pages than this has no end.
pub(crate) const MOST_PAGES: u32 = 10_000;

/// Is told of every call before it is made: the method's path and the encoded request.
pub type CallObserver = Arc<dyn Fn(&str, &[u8]) + Send + Sync>;

/// Is told once of a call that has to wait: why, and for how long it is going to be repeated at most.
pub type WaitObserver = Arc<dyn Fn(&Error, Duration) + Send + Sync>;

/// A call that has waited for this long is told to the [`WaitObserver`].
const WORTH_TELLING: Duration = Duration::from_secs(2);

/// How to connect and how patient to be.
#[derive(Clone)]
pub struct Options {
    /// How a TLS server is recognised. Default: by the certificate seen first, kept in `known_servers` in the current directory.
    pub trust: Trust,
    /// The directory in which the newest checkpoint of each server is kept by [`Client::witness`]; none: nothing is. Default: `witness` in the
    /// current directory.
    pub witness: Option<PathBuf>,
    /// The client's name, shown to the user in the list of sessions. At most 64 characters with the version.
    pub client_name: String,
    /// The client's version.
    pub client_version: String,
    /// How long a link may take to come about. Default 10 s.
    pub connect_timeout: Duration,
    /// How long one try of a call may take. Default 30 s.
    pub call_timeout: Duration,
    /// For how long a call that may be repeated is repeated while the server is unreachable, busy or asks for patience. Default 60 s.
    pub retry_for: Duration,
    /// Is told of every call before it is made.
    pub observer: Option<CallObserver>,
    /// Is told of a call that has to wait for more than a moment.
    pub waiting: Option<WaitObserver>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            trust: Trust::FirstUse(KnownServers::new("known_servers")),
            witness: Some(PathBuf::from("witness")),
            client_name: "greffe-sdk".to_owned(),
            client_version: env!("CARGO_PKG_VERSION").to_owned(),
            connect_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(30),
            retry_for: Duration::from_secs(60),
            observer: None,
            waiting: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("trust", &self.trust)
            .field("witness", &self.witness)
            .field("client_name", &self.client_name)
            .field("client_version", &self.client_version)
            .field("connect_timeout", &self.connect_timeout)
            .field("call_timeout", &self.call_timeout)
            .field("retry_for", &self.retry_for)
            .finish_non_exhaustive()
    }
}

/// A connection to a server, and the token of a login once there is one. Cheap to clone; clones share the connection.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    token: Option<MetadataValue<Ascii>>,
}

struct Shared {
    channel: Channel,
    connector: Arc<Connector>,
    address: ServerAddress,
    options: Options,
    info: OnceCell<ServerInfo>,
    /// Whether the server has ever answered a call.
    has_answered: AtomicBool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.shared.address)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to the server at `url`: `http://HOST:PORT` in plain text, `https://HOST:PORT` with TLS.
    pub async fn connect(url: &str, options: Options) -> Result<Self, Error> {
        let address = ServerAddress::from_str(url)?;
        let connector = Arc::new(Connector::new(
            address.clone(),
            options.trust.clone(),
            options.connect_timeout,
        )?);
        Self::over(connector, address, options).await
    }

    /// Connects over a socket of this machine. Only the operators' port is one.
    pub(crate) async fn connect_socket(path: PathBuf, options: Options) -> Result<Self, Error> {
        let connector = Arc::new(Connector::over_socket(path, options.connect_timeout));
        Self::over(connector, ServerAddress::local(), options).await
    }

    async fn over(connector: Arc<Connector>, address: ServerAddress, options: Options) -> Result<Self, Error> {
        let user_agent = format!("{}/{}", options.client_name, options.client_version);
        let channel = connector.open(&user_agent).await?;
        Ok(Self {
            shared: Arc::new(Shared {
                channel,
                connector,
                address,
                options,
                info: OnceCell::new(),
                has_answered: AtomicBool::new(false),
            }),
            token: None,
        })
    }

    /// Takes it that a server is at the other end, before it has answered: also the first call is repeated if its answer is lost.
    pub(crate) fn expect_answers(&self) {
        self.shared.has_answered.store(true, Ordering::Relaxed);
    }

    /// The same connection with the token of a login.
    ///
    /// # Errors
    /// `INVALID_TOKEN` if it holds anything but visible ASCII characters.
    pub fn with_token(&self, token: &str) -> Result<Self, Error> {
        let invalid = || {
            Error::local(
                Code::InvalidArgument,
                reason::INVALID_TOKEN,
                "the token is not one that a server gives; log in again",
            )
        };
        if token.is_empty() {
            return Err(invalid());
        }
        let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().map_err(|_| invalid())?;
        value.set_sensitive(true);
        Ok(Self {
            shared: Arc::clone(&self.shared),
            token: Some(value),
        })
    }

    /// The server's address.
    pub fn address(&self) -> &ServerAddress {
        &self.shared.address
    }

    /// The certificate that was trusted because it was the first one seen from this server. Told once: show it to the user.
    pub fn take_first_contact(&self) -> Option<Fingerprint> {
        self.shared.connector.take_first_contact()
    }

    /// What the server is and what it allows. Asked once, then remembered.
    pub async fn server_info(&self) -> Result<&ServerInfo, Error> {
        self.shared
            .info
            .get_or_try_init(|| async {
                self.call(GetServerInfoRequest {})
                    .await?
                    .server
                    .ok_or_else(|| Error::malformed("the server's description"))
            })
            .await
    }

    /// Makes a call.
    ///
    /// A request with an empty `request_id` gets a fresh one. What may be repeated is repeated, with the same `request_id` and growing
    /// pauses, while the server is unreachable, busy or asks for patience, for at most `Options::retry_for`. A server that has never
    /// answered is not waited for: it may be no Greffe server. Nor is a login repeated while the server drains: that may last for hours, and
    /// the error says when to come back.
    pub async fn call<M: Method>(&self, mut request: M) -> Result<M::Response, Error> {
        if let Some(request_id) = request.request_id()
            && request_id.is_empty()
        {
            *request_id = new_request_id();
        }
        if let Some(observer) = &self.shared.options.observer {
            observer(M::PATH, &request.encode_to_vec());
        }
        let begin = Instant::now();
        let deadline = begin + self.shared.options.retry_for;
        let mut waiting = self.shared.options.waiting.as_ref();
        let mut pauses = Pauses::default();
        loop {
            let error = match self.call_once(request.clone()).await {
                Ok(response) => {
                    self.shared.has_answered.store(true, Ordering::Relaxed);
                    return Ok(response);
                }
                Err(error) => error,
            };
            if error.reason != reason::UNREACHABLE {
                self.shared.has_answered.store(true, Ordering::Relaxed);
            } else if !self.shared.has_answered.load(Ordering::Relaxed) {
                return Err(error);
            }
            let again = if M::REPEATABLE {
                error.is_transient()
            } else {
                error.is_refused_for_now() && !error.is(ErrorReason::ServerDraining)
            };
            let pause = pauses.next(error.retry_after);
            if !again || Instant::now() + pause > deadline {
                return Err(error);
            }
            if begin.elapsed() + pause >= WORTH_TELLING
                && let Some(waiting) = waiting.take()
            {
                waiting(&error, deadline.saturating_duration_since(Instant::now()));
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Reads a list to its end. `request` asks for the page of a token, `page` takes an answer apart into items and the next token.
    pub(crate) async fn all_pages<M: Method, T>(
        &self,
        request: impl Fn(String) -> M,
        page: impl Fn(M::Response) -> (Vec<T>, String),
    ) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        let mut token = String::new();
        for _ in 0..MOST_PAGES {
            let (items, next) = page(self.call(request(token)).await?);
            all.extend(items);
            token = next;
            if token.is_empty() {
                return Ok(all);
            }
        }
        Err(Error::malformed("the end of a list"))
    }

    async fn call_once<M: Method>(&self, request: M) -> Result<M::Response, Error> {
        let timeout = self.shared.options.call_timeout;
        let mut grpc = tonic::client::Grpc::new(self.channel()).max_decoding_message_size(LARGEST_ANSWER);
        let call = async {
            grpc.ready().await?;
            let codec: ProstCodec<M, M::Response> = ProstCodec::default();
            Ok(grpc
                .unary(self.request(request), PathAndQuery::from_static(M::PATH), codec)
                .await?
                .into_inner())
        };
        tokio::time::timeout(timeout, call).await.unwrap_or_else(|_| {
            Err(Error::unreachable(format!(
                "the server did not answer within {} s",
                timeout.as_secs()
            )))
        })
    }

    /// A request with the token in its metadata.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        request
    }

    pub(crate) fn channel(&self) -> Channel {
        self.shared.channel.clone()
    }

    pub(crate) fn options(&self) -> &Options {
        &self.shared.options
    }

    /// The client's name and version, as a login shows it.
    pub(crate) fn label(&self) -> String {
        let options = &self.shared.options;
        format!("{}/{}", options.client_name, options.client_version)
            .chars()
            .take(64)
            .collect()
    }
}

/// A fresh `request_id`: a UUID that begins with the time, which costs the server less than one that does not.
pub fn new_request_id() -> String {
    uuid::Uuid::now_v7().to_string()
}
