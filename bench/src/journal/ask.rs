//! Who asks a server for pages and searches, one after another or at fixed times, and how long the answers take.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use greffe_api::v1::chat_service_client::ChatServiceClient;
use greffe_api::v1::get_room_request::By;
use greffe_api::v1::list_messages_request::From;
use greffe_api::v1::room_service_client::RoomServiceClient;
use greffe_api::v1::{GetRoomRequest, ListMessagesRequest, SearchMessagesRequest};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use crate::latency::histogram;

/// The largest answer that is taken.
const ANSWER: usize = 8 << 20;

/// What is asked.
#[derive(Clone, Debug)]
pub(super) enum Question {
    /// A page of a room, which ends before this seq, or with the newest message.
    Page { room: String, before: Option<i64> },
    /// A search in one room, or, if that is empty, in all.
    Search { query: String, room: String },
}

/// Someone with a connection of their own.
#[derive(Clone, Debug)]
pub(super) struct Client {
    channel: Channel,
    authorization: MetadataValue<Ascii>,
}

impl Client {
    /// Connects in the name of whom `token` belongs to.
    pub(super) async fn connect(address: SocketAddr, token: &str) -> anyhow::Result<Self> {
        let channel = Endpoint::from_shared(format!("http://{address}"))?
            .tcp_nodelay(true)
            .connect()
            .await
            .context("the server cannot be reached")?;
        Ok(Self {
            channel,
            authorization: format!("Bearer {token}")
                .parse()
                .context("the token does not fit into metadata")?,
        })
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        request
    }

    /// The newest seq of a room.
    pub(super) async fn head_seq(&self, room: &str) -> anyhow::Result<i64> {
        let request = self.request(GetRoomRequest {
            by: Some(By::RoomId(room.to_owned())),
        });
        let answer = RoomServiceClient::new(self.channel.clone())
            .get_room(request)
            .await?
            .into_inner();
        Ok(answer.room.context("the answer has no room")?.head_seq)
    }

    /// Asks, and returns how many messages the answer has.
    pub(super) async fn ask(&self, question: Question) -> anyhow::Result<usize> {
        let mut chat = ChatServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER);
        let messages = match question {
            Question::Page { room, before } => {
                let request = self.request(ListMessagesRequest {
                    room_id: room,
                    page_size: 0,
                    from: before.map(From::BeforeSeq),
                });
                chat.list_messages(request).await?.into_inner().messages
            }
            Question::Search { query, room } => {
                let request = self.request(SearchMessagesRequest {
                    query,
                    room_id: room,
                    page_size: 0,
                    page_token: String::new(),
                });
                chat.search_messages(request).await?.into_inner().messages
            }
        };
        Ok(messages.len())
    }
}

/// What came of many questions.
#[derive(Debug)]
pub(super) struct Answers {
    /// Nanoseconds from asking to the whole answer.
    pub(super) times: Histogram<u64>,
    /// Messages in all answers.
    pub(super) messages: u64,
    /// The fewest in one of them.
    pub(super) fewest: usize,
    /// How long it took in all.
    pub(super) elapsed: Duration,
}

impl Answers {
    fn new() -> Self {
        Self {
            times: histogram(),
            messages: 0,
            fewest: usize::MAX,
            elapsed: Duration::ZERO,
        }
    }

    fn note(&mut self, (took, messages): (Duration, usize)) {
        self.times.saturating_record(took.as_nanos() as u64);
        self.messages += messages as u64;
        self.fewest = self.fewest.min(messages);
    }
}

async fn timed(client: &Client, question: Question) -> anyhow::Result<(Duration, usize)> {
    let begin = Instant::now();
    let messages = client.ask(question).await?;
    Ok((begin.elapsed(), messages))
}

/// Each client asks the next question when it has the answer to the one before, for so long.
pub(super) async fn in_turn(
    clients: &[Client],
    mut next: impl FnMut() -> Question,
    measure: Duration,
) -> anyhow::Result<Answers> {
    let mut answers = Answers::new();
    let begin = Instant::now();
    let mut asked = JoinSet::new();
    let mut ask = |asked: &mut JoinSet<_>, client: Client| {
        let question = next();
        asked.spawn(async move {
            let answer = timed(&client, question).await;
            (client, answer)
        });
    };
    for client in clients {
        ask(&mut asked, client.clone());
    }
    while let Some(done) = asked.join_next().await {
        let (client, answer) = done.context("a question died")?;
        answers.note(answer?);
        if begin.elapsed() < measure {
            ask(&mut asked, client);
        }
    }
    answers.elapsed = begin.elapsed();
    Ok(answers)
}

/// The clients take turns to ask so many questions a second, whether those before are answered or not.
pub(super) async fn per_second(
    clients: &[Client],
    mut next: impl FnMut() -> Question,
    rate: f64,
    measure: Duration,
) -> anyhow::Result<Answers> {
    let mut answers = Answers::new();
    let begin = Instant::now();
    let mut asked = JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
    for client in clients.iter().cycle() {
        ticks.tick().await;
        if begin.elapsed() >= measure {
            break;
        }
        let (client, question) = (client.clone(), next());
        asked.spawn(async move { timed(&client, question).await });
        while let Some(done) = asked.try_join_next() {
            answers.note(done.context("a question died")??);
        }
    }
    while let Some(done) = asked.join_next().await {
        answers.note(done.context("a question died")??);
    }
    answers.elapsed = begin.elapsed();
    Ok(answers)
}
