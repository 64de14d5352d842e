//! A layer around the services: notes that a connection has made a request, refuses who comes from a banned network, gives requests that tonic
//! itself refuses our own reasons, and turns a panic in a handler into a status.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use http::{Request, Response};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::App;
use super::status::reason_name;
use crate::domain::clock::now;
use crate::domain::decide::network_is_welcome;
use crate::domain::error::Error;
use crate::edge::{Peer, forwarded_for};

/// Wraps services in [`Refuse`].
#[derive(Clone)]
pub struct RefuseLayer {
    /// What the services share.
    pub app: Arc<App>,
}

impl std::fmt::Debug for RefuseLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RefuseLayer")
    }
}

impl<S> Layer<S> for RefuseLayer {
    type Service = Refuse<S>;

    fn layer(&self, inner: S) -> Refuse<S> {
        Refuse {
            inner,
            app: Arc::clone(&self.app),
        }
    }
}

/// See the module.
#[derive(Clone)]
pub struct Refuse<S> {
    inner: S,
    app: Arc<App>,
}

impl<S> std::fmt::Debug for Refuse<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Refuse")
    }
}

impl<S> Refuse<S> {
    /// Refuses who comes from a banned network, before anything is done for them.
    fn welcome(&self, request: &Request<Body>) -> Result<(), Error> {
        let Some(peer) = request.extensions().get::<Peer>() else {
            return Ok(());
        };
        let address = forwarded_for(peer, request.headers(), &self.app.config.trusted_proxies);
        let now = now();
        let welcome = self.app.view().read(|state| network_is_welcome(state, address.ip(), now));
        welcome.inspect_err(|error| self.app.refusals.count(reason_name(error.reason())))?;
        // A connection that brings nothing but refused requests is closed for want of one.
        peer.request_seen();
        Ok(())
    }
}

impl<S> Service<Request<Body>> for Refuse<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Send,
    S::Future: Send + 'static,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if let Err(error) = self.welcome(&request) {
            return Box::pin(async move { Ok(Status::from(error).into_http()) });
        }
        let method = request.uri().path().to_owned();
        let limit = self.app.config.limits.request_bytes;
        let answer = AssertUnwindSafe(self.inner.call(request)).catch_unwind();
        Box::pin(async move {
            let Ok(answer) = answer.await else {
                // The panic's own text is in the log already, where the hook wrote it.
                tracing::error!(method, "A handler panicked");
                return Ok(Status::from(Error::Internal).into_http());
            };
            Ok(reworded(answer?, limit))
        })
    }
}

/// tonic's own refusals carry no reason. They are told by their code and by the lack of details.
fn reworded(response: Response<Body>, limit: usize) -> Response<Body> {
    let headers = response.headers();
    if headers.contains_key("grpc-status-details-bin") {
        return response;
    }
    let code = headers.get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()));
    match code {
        Some(Code::OutOfRange) => Status::from(Error::TooLarge { limit }).into_http(),
        // What is no gRPC message at all. Our own INTERNAL carries a reason, and was let through above.
        Some(Code::Internal) => Status::from(Error::Malformed("it is no complete gRPC message".into())).into_http(),
        Some(Code::Unimplemented) => Status::from(Error::UnknownMethod).into_http(),
        _ => response,
    }
}
