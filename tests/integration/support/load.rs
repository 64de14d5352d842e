//! Load, and the ledger of what came of it: what was sent, acknowledged and delivered, to be compared with what a server has afterwards.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use v1::chat_request::Action;
use v1::frame::Kind;

use super::stream::{event_of, head, outcome, text_of};
use super::{User, request_id, v1};

/// Sends that a loader has unanswered at a time.
const WINDOW: usize = 32;

/// What happened in one room.
#[derive(Debug)]
pub(crate) struct Ledger {
    room: String,
    record: Mutex<Record>,
}

#[derive(Debug, Default)]
struct Record {
    /// What was sent under each request id, and by whom.
    sent: HashMap<String, Sent>,
    acknowledged: HashMap<String, v1::Receipt>,
    /// What a member was shown at each seq.
    delivered: BTreeMap<i64, Shown>,
    /// Up to which seq everything was compared already.
    compared: i64,
}

#[derive(Clone, Debug)]
struct Sent {
    author_id: String,
    text: String,
}

/// A message as a member was shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    index: i64,
    author_id: String,
    text: String,
}

impl Ledger {
    /// An empty ledger of a room.
    pub(crate) fn new(room: &str) -> Arc<Self> {
        Arc::new(Self {
            room: room.to_owned(),
            record: Mutex::default(),
        })
    }

    /// Sends messages as `user` over one stream, many at a time, until the stream ends or `count` are answered.
    pub(crate) async fn load(self: Arc<Self>, user: User, count: usize) {
        let Ok(mut stream) = user.chat(v1::Hello::default()).await else {
            return;
        };
        let (mut started, mut answered, mut unanswered) = (0, 0, 0);
        while answered < count {
            while unanswered < WINDOW && started < count {
                let message = self.new_message(&user);
                if !stream.try_act(Action::SendMessage(message)).await {
                    return;
                }
                started += 1;
                unanswered += 1;
            }
            let Some(kind) = stream.next().await else {
                return;
            };
            if self.note(&kind) {
                unanswered -= 1;
                answered += 1;
            }
            stream.seen.clear();
        }
    }

    /// Reads what is delivered to `user` until the stream ends.
    pub(crate) async fn watch(self: Arc<Self>, user: User) {
        let Ok(mut stream) = user.subscribe(v1::Hello::default()).await else {
            return;
        };
        while let Some(kind) = stream.next().await {
            self.note(&kind);
            stream.seen.clear();
        }
    }

    /// Makes a message that no other is like, of 1 to 3,000 bytes, and writes it down as sent.
    fn new_message(&self, user: &User) -> v1::SendMessageRequest {
        let id = request_id();
        let length = usize::from_str_radix(&id[..3], 16).expect("a UUID is hexadecimal") * 3 / 4;
        let text = format!("{id} {}", "x".repeat(length));
        let sent = Sent {
            author_id: user.id.clone(),
            text: text.clone(),
        };
        self.lock().sent.insert(id.clone(), sent);
        v1::SendMessageRequest {
            request_id: id,
            room_id: self.room.clone(),
            text,
            reply_to_seq: 0,
        }
    }

    /// Writes down what a frame says; whether it was an answer.
    fn note(&self, kind: &Kind) -> bool {
        if let Some(event) = event_of(kind) {
            let head = head(event);
            if head.room_id == self.room {
                let shown = shown(event);
                let earlier = self.lock().delivered.insert(head.seq, shown.clone());
                assert!(
                    earlier.is_none_or(|earlier| earlier == shown),
                    "seq {} was shown in two ways",
                    head.seq
                );
            }
        }
        let Kind::SendResult(result) = kind else {
            return false;
        };
        match outcome(result) {
            Ok(receipt) => {
                self.lock().acknowledged.insert(result.request_id.clone(), receipt);
            }
            // The outcome is unknown, or the server is stopping: to be asked again.
            Err(refusal) => assert_eq!(refusal.code, tonic::Code::Unavailable, "{refusal:?}"),
        }
        true
    }

    /// How many messages were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.lock().acknowledged.len()
    }

    /// What was acknowledged so far: where it stands, and its text.
    pub(crate) fn receipts(&self) -> Vec<(v1::Receipt, String)> {
        let record = self.lock();
        let acknowledged = record.acknowledged.iter();
        acknowledged
            .map(|(id, receipt)| (receipt.clone(), record.sent[id].text.clone()))
            .collect()
    }

    /// How many events were delivered.
    pub(crate) fn delivered(&self) -> usize {
        self.lock().delivered.len()
    }

    /// Compares with what the server has now; one line for each thing that is lost, doubled, moved or changed.
    ///
    /// # Errors
    /// If the server ends while it is asked.
    pub(crate) async fn compare(&self, user: &User) -> Result<Vec<String>, super::Refusal> {
        let compared = self.lock().compared;
        let events = user.events_after(&self.room, compared).await?;
        let mut problems = Vec::new();
        let mut stored = BTreeMap::new();
        let mut texts = HashSet::new();
        for (expected, event) in (compared + 1..).zip(&events) {
            let seq = head(event).seq;
            if seq != expected {
                problems.push(format!("seq {seq} stands where {expected} should"));
            }
            let shown = shown(event);
            if !shown.text.is_empty() && !texts.insert(shown.text.clone()) {
                problems.push(format!("seq {seq} is stored twice"));
            }
            stored.insert(seq, shown);
        }
        let mut record = self.lock();
        for (id, receipt) in record.acknowledged.iter().filter(|(_, receipt)| receipt.seq > compared) {
            let sent = &record.sent[id];
            match stored.get(&receipt.seq) {
                None => problems.push(format!("seq {} was acknowledged and is lost", receipt.seq)),
                Some(shown) if shown.text != sent.text || shown.author_id != sent.author_id => {
                    problems.push(format!(
                        "seq {} holds another message than was acknowledged",
                        receipt.seq
                    ));
                }
                Some(shown) if shown.index != receipt.index => {
                    problems.push(format!("seq {} has another index than was acknowledged", receipt.seq));
                }
                Some(_) => {}
            }
        }
        for (seq, shown) in record.delivered.range(compared + 1..) {
            match stored.get(seq) {
                None => problems.push(format!("seq {seq} was delivered and is lost")),
                Some(stored) if stored != shown => problems.push(format!("seq {seq} is another than was delivered")),
                Some(_) => {}
            }
        }
        if problems.is_empty()
            && let Some((newest, _)) = stored.last_key_value()
        {
            record.compared = *newest;
        }
        Ok(problems)
    }

    /// Compares from the first event on, whatever was compared before.
    pub(crate) async fn compare_all(&self, user: &User) -> Vec<String> {
        self.lock().compared = 0;
        self.compare(user).await.expect("the server answers")
    }

    /// Sends again, with the same request ids, what was sent by `user` and never answered, as a client does after a crash.
    pub(crate) async fn send_unanswered(&self, user: &User) -> Result<(), super::Refusal> {
        let unanswered: Vec<(String, Sent)> = {
            let record = self.lock();
            let sent = record.sent.iter();
            sent.filter(|(id, sent)| sent.author_id == user.id && !record.acknowledged.contains_key(*id))
                .map(|(id, sent)| (id.clone(), sent.clone()))
                .collect()
        };
        for (id, sent) in unanswered {
            let request = v1::SendMessageRequest {
                request_id: id.clone(),
                room_id: self.room.clone(),
                text: sent.text,
                reply_to_seq: 0,
            };
            let receipt = user.send_request(request).await?;
            self.lock().acknowledged.insert(id, receipt);
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().expect("no test goes on after a panic")
    }
}

/// What an event shows of a message; other events have no text.
fn shown(event: &v1::Event) -> Shown {
    let head = head(event);
    Shown {
        index: head.index,
        author_id: head.actor_id.clone(),
        text: text_of(event).unwrap_or_default().to_owned(),
    }
}
