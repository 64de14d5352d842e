//! A layer around the services: notes that a connection has made a request, gives requests that tonic itself refuses our own reasons, and turns a
//! panic in a handler into a status.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use http::{Request, Response};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::domain::error::Error;
use crate::edge::Peer;

/// Wraps services in [`Refuse`].
#[derive(Debug, Clone)]
pub struct RefuseLayer {
    /// Bytes of a request, at most: what the refusal of a larger one says.
    pub request_bytes: usize,
}

impl<S> Layer<S> for RefuseLayer {
    type Service = Refuse<S>;

    fn layer(&self, inner: S) -> Refuse<S> {
        Refuse {
            inner,
            request_bytes: self.request_bytes,
        }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Refuse<S> {
    inner: S,
    request_bytes: usize,
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
        if let Some(peer) = request.extensions().get::<Peer>() {
            peer.request_seen();
        }
        let method = request.uri().path().to_owned();
        let limit = self.request_bytes;
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
