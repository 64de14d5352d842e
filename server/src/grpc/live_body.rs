//! The body of a live stream's answer: hands what waits to the connection as it is, without tonic's encoder and its buffers.
//!
//! tonic does everything before it. A handler puts its body into the answer's extensions, and [`LiveBodies`], round the service, puts it in place.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{Empty, empty};
use greffe_api::encoded::Encoded;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Response as TonicResponse, Status};
use tower::Service;

use super::chat::{Live, Step, refusal};

/// What tonic believes to send.
pub(super) type Nothing = Empty<Result<Encoded, Status>>;

/// The frames of a stream and, at the end, its status.
pub(super) struct LiveBody(State);

enum State {
    /// Something must be read, or the client's `Hello` come, before there is a frame.
    Reading(BoxFuture<'static, Result<Box<Live>, Status>>),
    Open(Box<Live>),
    Ending(Status),
    Over,
}

impl LiveBody {
    /// The body of a stream that `opening` opens.
    pub(super) fn new(opening: impl Future<Output = Result<Box<Live>, Status>> + Send + 'static) -> Self {
        Self(State::Reading(opening.boxed()))
    }

    /// An answer that [`LiveBodies`] gives this body.
    pub(super) fn into_response(self) -> TonicResponse<Nothing> {
        let mut response = TonicResponse::new(empty());
        response.extensions_mut().insert(Handed(Arc::new(Mutex::new(Some(self)))));
        response
    }
}

impl http_body::Body for LiveBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let state = &mut self.0;
        loop {
            match std::mem::replace(state, State::Over) {
                State::Reading(mut reading) => match reading.as_mut().poll(context) {
                    Poll::Pending => {
                        *state = State::Reading(reading);
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(live)) => *state = State::Open(live),
                    Poll::Ready(Err(status)) => {
                        let last = refusal(&status);
                        *state = State::Ending(status);
                        return Poll::Ready(Some(Ok(Frame::data(last))));
                    }
                },
                State::Open(mut live) => {
                    let step = live.poll(context);
                    let Poll::Ready(step) = step else {
                        *state = State::Open(live);
                        return Poll::Pending;
                    };
                    match step {
                        Step::Send(messages) => {
                            *state = State::Open(live);
                            return Poll::Ready(Some(Ok(Frame::data(messages))));
                        }
                        Step::Read(reading) => {
                            *state = State::Reading(
                                async move {
                                    live.read(reading).await;
                                    Ok(live)
                                }
                                .boxed(),
                            );
                        }
                        Step::End(status) => *state = State::Ending(status),
                    }
                }
                State::Ending(status) => {
                    let mut trailers = HeaderMap::new();
                    if let Err(error) = status.add_header(&mut trailers) {
                        tracing::error!(%error, "A status does not fit into trailers");
                    }
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                State::Over => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, State::Over)
    }
}

/// A body on its way from a handler to [`LiveBodies`].
#[derive(Clone)]
struct Handed(Arc<Mutex<Option<LiveBody>>>);

/// Puts live streams' bodies in place, round the service whose handlers made them.
#[derive(Debug, Clone)]
pub struct LiveBodies<S>(pub S);

impl<S: NamedService> NamedService for LiveBodies<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for LiveBodies<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.0.call(request);
        async move {
            let mut response = answer.await?;
            let handed = response.extensions_mut().remove::<Handed>();
            let body = handed.and_then(|handed| handed.0.lock().unwrap_or_else(PoisonError::into_inner).take());
            Ok(match body {
                Some(body) => response.map(|_| Body::new(body)),
                None => response,
            })
        }
        .boxed()
    }
}
