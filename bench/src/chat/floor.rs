//! The floor: what gRPC itself costs. A server that speaks Greffe's `Chat` with the same bytes to and fro, and does nothing else: no accounts,
//! no rights, no journal, no bounds, and no order among its parts.
//!
//! It is built in the way that was found to be the fastest with tonic: each event is encoded once, appended to a mailbox of bytes for each
//! receiver, sent by a body of its own, and receivers are woken after the inbound work that is at hand, not by each message.

mod mailbox;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use anyhow::Context as _;
use futures_util::TryStreamExt as _;
use greffe_api::codec::ServerCodec;
use greffe_api::encoded::Encoded;
use greffe_api::v1::chat_request::Action;
use greffe_api::v1::event_body::Content;
use greffe_api::v1::frame::Kind;
use greffe_api::v1::send_result::Outcome;
use greffe_api::v1::{
    CaughtUp, ChatRequest, ChatResponse, Event, EventBody, EventHead, EventKind, Frame, Hello, MessagePosted, Receipt,
    SendMessageRequest, SendResult,
};
use http::{Request, Response};
use prost::Message as _;
use prost_types::Timestamp;
use tokio::net::TcpSocket;
use tonic::Streaming;
use tonic::body::Body;
use tonic::codec::Codec as _;
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;
use tower::Service;

use self::mailbox::{Mailbox, Outgoing, Sleepers};
use super::drivers::greffe::{Greffe, Member};
use super::ledger::Crowd;
use super::workload::TEXT_BYTES;
use crate::chat::driver::Driver;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;
/// Windows as Greffe's defaults, in bytes.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;

/// Serve the floor of the chat workloads; started by `chat --floor`
#[derive(Debug, clap::Args)]
pub(crate) struct FloorArgs {
    /// Where to listen
    listen: SocketAddr,
}

/// Serves until it is stopped.
pub(crate) fn serve(args: &FloorArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let hub = Arc::new(Hub::default());
        tokio::spawn(Arc::clone(&hub.sleepers).wake());
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket
            .bind(args.listen)
            .with_context(|| format!("nothing can listen on {}", args.listen))?;
        let incoming = TcpIncoming::from(socket.listen(BACKLOG)?).with_nodelay(Some(true));
        tonic::transport::Server::builder()
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_stream_window_size(STREAM_WINDOW)
            .add_service(Chat(hub))
            .serve_with_incoming(incoming)
            .await
            .context("the floor ends")
    })
}

/// Drivers for its users: Greffe's, with anything for a token.
pub(super) fn drivers(crowd: Crowd) -> Vec<Box<dyn Driver>> {
    let driver = |user| {
        let member = Member {
            token: "none".to_owned(),
            room: room_id(crowd.room_of(user)),
            // The floor knows no members, so they say where they are.
            hello: Hello {
                client_name: room_id(crowd.room_of(user)),
                ..Hello::default()
            },
        };
        Box::new(Greffe::new(&member, TEXT_BYTES)) as Box<dyn Driver>
    };
    (0..crowd.users).map(driver).collect()
}

/// An id as long as Greffe's.
fn room_id(room: u32) -> String {
    format!("r_{room:016}")
}

/// Who is where.
#[derive(Default)]
struct Hub {
    rooms: Mutex<HashMap<String, Arc<Mutex<Room>>>>,
    sleepers: Arc<Sleepers>,
}

#[derive(Default)]
struct Room {
    seq: i64,
    members: Vec<Arc<Mailbox>>,
}

impl Hub {
    fn room(&self, id: &str) -> Arc<Mutex<Room>> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(rooms.entry(id.to_owned()).or_default())
    }

    /// Does what a frame asks for.
    fn act(&self, mailbox: &Arc<Mailbox>, request: ChatRequest) {
        match request.action {
            Some(Action::Hello(hello)) => {
                let room = self.room(&hello.client_name);
                room.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .members
                    .push(Arc::clone(mailbox));
                mailbox.answer(&response(Kind::CaughtUp(CaughtUp {})), &self.sleepers);
            }
            Some(Action::SendMessage(message)) => self.post(mailbox, message),
            _ => {}
        }
    }

    fn post(&self, mailbox: &Arc<Mailbox>, message: SendMessageRequest) {
        let room = self.room(&message.room_id);
        let mut room = room.lock().unwrap_or_else(PoisonError::into_inner);
        room.seq += 1;
        let receipt = Receipt {
            epoch: "00000000".to_owned(),
            index: room.seq,
            room_id: message.room_id.clone(),
            seq: room.seq,
            time: Some(moment(room.seq)),
            leaf_hash: vec![0; 32].into(),
        };
        let result = SendResult {
            request_id: message.request_id.clone(),
            outcome: Some(Outcome::Receipt(receipt)),
        };
        let event = mailbox::element(&event(room.seq, message));
        for member in &room.members {
            member.push(&event, &self.sleepers);
        }
        mailbox.answer(&response(Kind::SendResult(result)), &self.sleepers);
    }
}

/// A time with as many bytes as a real one.
fn moment(seq: i64) -> Timestamp {
    Timestamp {
        seconds: 1_800_000_000 + seq,
        nanos: 123_456_000,
    }
}

/// An event with as many bytes as Greffe's.
fn event(seq: i64, message: SendMessageRequest) -> Event {
    Event {
        head: Some(EventHead {
            index: seq,
            time: Some(moment(seq)),
            room_id: message.room_id,
            seq,
            kind: EventKind::MessagePosted.into(),
            actor_id: "u_0000000000000000".to_owned(),
            commitment: vec![0; 32].into(),
            ..EventHead::default()
        }),
        body: Some(EventBody {
            salt: vec![0; 16].into(),
            request_id: message.request_id,
            content: Some(Content::MessagePosted(MessagePosted {
                text: message.text,
                ..MessagePosted::default()
            })),
        }),
        body_state: 0,
    }
}

fn response(kind: Kind) -> Vec<u8> {
    ChatResponse {
        frame: Some(Frame { kind: Some(kind) }),
    }
    .encode_to_vec()
}

/// The service: one method, whatever the path.
#[derive(Clone)]
struct Chat(Arc<Hub>);

impl NamedService for Chat {
    const NAME: &'static str = "greffe.v1.ChatService";
}

impl Service<Request<Body>> for Chat {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let hub = Arc::clone(&self.0);
        Box::pin(async move {
            let decoder = ServerCodec::<Encoded, ChatRequest>::default().decoder();
            let requests = Streaming::new_request(decoder, request.into_body(), None, None);
            let mailbox = Arc::new(Mailbox::default());
            tokio::spawn(listen(hub, requests, Arc::clone(&mailbox)));
            let mut response = Response::new(Body::new(Outgoing(mailbox)));
            let grpc = http::HeaderValue::from_static("application/grpc");
            response.headers_mut().insert(http::header::CONTENT_TYPE, grpc);
            Ok(response)
        })
    }
}

/// Does what a client asks for until it goes. It stays in its rooms: a run ends when anyone goes.
async fn listen(hub: Arc<Hub>, mut requests: Streaming<ChatRequest>, mailbox: Arc<Mailbox>) {
    while let Ok(Some(request)) = requests.try_next().await {
        hub.act(&mailbox, request);
    }
    mailbox.close();
}
