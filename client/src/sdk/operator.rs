//! The operators' port: the same connection and the same patience, for the services of `greffe.admin.v1`.

use std::path::{Path, PathBuf};

use super::client::{Client, Options};
use super::error::Error;
use super::methods::Method;
use super::trust::Fingerprint;

/// A connection to the operators' port of a server. Cheap to clone; clones share the connection.
///
/// Requests are those of [`admin_api`](crate::admin_api); a member's request is refused by the server, which has no such service there.
#[derive(Clone, Debug)]
pub struct Operator {
    client: Client,
}

impl Operator {
    /// Connects over the server's socket on this machine, where being able to open it is the credential.
    ///
    /// # Errors
    /// `UNREACHABLE` if nobody listens there, `SOCKET_FORBIDDEN` if this user may not open it.
    pub async fn over_socket(path: impl Into<PathBuf>, options: Options) -> Result<Self, Error> {
        let client = Client::connect_socket(path.into(), options).await?;
        client.expect_answers();
        Ok(Self { client })
    }

    /// Connects to the operators' port at `url` (`https://HOST:PORT`). Calls need a login: see [`Operator::with_token`].
    pub async fn connect(url: &str, options: Options) -> Result<Self, Error> {
        let client = Client::connect(url, options).await?;
        client.expect_answers();
        Ok(Self { client })
    }

    /// The same connection with the token of a login at this port.
    ///
    /// # Errors
    /// `INVALID_TOKEN` if it holds anything but visible ASCII characters.
    pub fn with_token(&self, token: &str) -> Result<Self, Error> {
        let client = self.client.with_token(token)?;
        Ok(Self { client })
    }

    /// The certificate that was trusted because it was the first one seen from this server. Told once: show it to the user.
    pub fn take_first_contact(&self) -> Option<Fingerprint> {
        self.client.take_first_contact()
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Where checkpoints are kept.
    pub(crate) fn witness_directory(&self) -> Option<&Path> {
        self.client.options().witness.as_deref()
    }

    /// The client's name and version, as a login shows it.
    pub fn label(&self) -> String {
        self.client.label()
    }

    /// Makes a call, with the patience of [`Client::call`]; also the first one is repeated if its answer is lost.
    pub async fn call<M: Method>(&self, request: M) -> Result<M::Response, Error> {
        self.client.call(request).await
    }

    /// Reads a list to its end. `request` asks for the page of a token, `page` takes an answer apart into items and the next token.
    pub async fn all_pages<M: Method, T>(
        &self,
        request: impl Fn(String) -> M,
        page: impl Fn(M::Response) -> (Vec<T>, String),
    ) -> Result<Vec<T>, Error> {
        self.client.all_pages(request, page).await
    }
}
