//! A journal on a real database, with its writer on the calling thread.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};

use futures_util::FutureExt as _;
use greffe_server::domain::caller::Caller;
use greffe_server::domain::command::{Change, Command};
use greffe_server::domain::decide::{FileLimits, Rules};
use greffe_server::domain::ids::{RequestId, RoomId, SessionId, Token};
use greffe_server::domain::rate::Rate;
use greffe_server::domain::state::State;
use greffe_server::domain::text::{ClientName, DisplayName, MessageText, UserName};
use greffe_server::grpc::frame_events;
use greffe_server::journal::writer::{Journal, Writer, WriterError};
use greffe_server::journal::{Committed, Publish, UploadChange, View};
use greffe_server::live::feed::{Feed, FeedLimits};
use greffe_server::live::mailbox::Bounds;
use greffe_server::store::Appender as _;
use greffe_server::store::sqlite::{SqliteReader, open};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::texts::{TEXT_BYTES, Texts};

/// The limits that a server has unless it is told otherwise.
pub(crate) const FEED: FeedLimits = FeedLimits {
    bounds: Bounds {
        events: 256 * 1024,
        answers: 256 * 1024,
    },
    connections_per_user: 16,
    presence_members: 200,
};

/// From where everyone comes.
pub(crate) const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4711);

/// A writer at work, polled by hand.
type Work = Pin<Box<dyn Future<Output = Result<(), WriterError>>>>;

/// A journal, its writer, and some people in the room that everyone is in.
pub(crate) struct Desk {
    work: Work,
    journal: Journal,
    /// Reads the database.
    pub(crate) reader: SqliteReader,
    /// The state with the people and without a message.
    pub(crate) state: State,
    /// The people, by their sessions.
    pub(crate) members: Vec<Caller>,
    texts: Texts,
    said: usize,
    stored: Arc<AtomicUsize>,
    /// Where it is. Last, so that the database is closed before its files go.
    pub(crate) directory: TempDir,
}

impl Desk {
    /// Opens a new journal in a new directory in `place`, whose feed nobody follows.
    pub(crate) fn open(place: &Path, members: usize) -> Self {
        let publish = |state: &State| Feed::new(View::new(state.clone()), FEED, frame_events);
        Self::open_with(place, members, publish)
    }

    /// The same with somebody else told of what is on disk.
    pub(crate) fn open_with<P: Publish>(place: &Path, members: usize, publisher: impl FnOnce(&State) -> P) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("greffe-micro-")
            .tempdir_in(place)
            .expect("a directory can be made");
        let opened = open(&directory.path().join("greffe.db"), 1).expect("a database can be made");
        let mut appender = opened.appender;
        let identity = appender.identity().expect("a database can be read");
        let (state, head) = now(appender.load()).expect("a database can be read");
        let publisher = publisher(&state);
        let mut writer = Writer::new(appender, publisher, rules(), state, head);
        now(writer.found(&identity, "bench")).expect("a journal can be begun");
        now(writer.put_in_order((0..members).map(register).collect())).expect("people can register");
        let state = writer.state().clone();
        let mut sessions: Vec<_> = state.sessions().collect();
        sessions.sort_by_key(|session| session.no);
        let members: Vec<Caller> = sessions
            .into_iter()
            .map(|session| Caller {
                user: session.user,
                session: session.id,
                address: ADDRESS,
            })
            .collect();
        let (journal, commands) = Journal::new();
        Self {
            work: Box::pin(writer.run(commands, CancellationToken::new())),
            journal,
            reader: opened.reader,
            state,
            members,
            texts: Texts::new(),
            said: 0,
            stored: Arc::default(),
            directory,
        }
    }

    /// The room that everyone is in.
    pub(crate) fn room(&self) -> RoomId {
        self.state.general()
    }

    /// How many messages were stored.
    fn stored(&self) -> usize {
        self.stored.load(Ordering::Relaxed)
    }

    /// Messages that one member after the other sends.
    pub(crate) fn messages(&mut self, count: usize) -> Vec<Command> {
        let room = self.room();
        let message = |_| {
            let caller = self.members[self.said % self.members.len()];
            self.said += 1;
            Command::Change {
                caller,
                request: request_id(),
                change: Change::Send {
                    room,
                    text: message_text(self.texts.next()),
                    reply_to: 0,
                },
            }
        };
        (0..count).map(message).collect()
    }

    /// Hands commands to the writer and has it do all that it does until it waits for more: decide, encode, hash, write, commit, publish,
    /// answer, and move the log into the database when that is due.
    #[inline(never)]
    pub(crate) fn append(&mut self, commands: Vec<Command>) {
        let before = self.stored();
        let count = commands.len();
        for command in commands {
            let stored = Arc::clone(&self.stored);
            let reply = Box::new(move |outcome: Result<_, _>| {
                stored.fetch_add(usize::from(outcome.is_ok()), Ordering::Relaxed);
                None
            });
            self.journal.enqueue(command, reply).expect("the queue has room for a batch");
        }
        let outcome = self.work.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(outcome.is_pending(), "the writer waits for more");
        assert_eq!(self.stored() - before, count, "all are stored");
    }
}

/// Somebody who keeps what is published.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept(pub(crate) Arc<std::sync::Mutex<Vec<Committed>>>);

impl Kept {
    /// Takes what was published since the last time.
    pub(crate) fn take(&self) -> Vec<Committed> {
        std::mem::take(&mut self.0.lock().expect("nobody panics while it is locked"))
    }
}

impl Publish for Kept {
    fn publish(&self, batch: &[Committed]) -> Vec<Waker> {
        self.0
            .lock()
            .expect("nobody panics while it is locked")
            .extend_from_slice(batch);
        Vec::new()
    }

    fn touch(&self, _sessions: &[(SessionId, i64)]) {}

    fn uploads(&self, _changes: &[UploadChange]) {}

    fn erased(&self, _rooms: &BTreeSet<RoomId>) {}
}

/// What comes of a future that waits for nothing, as those of the writer on SQLite.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("it waits for nothing")
}

fn rules() -> Rules {
    Rules {
        rooms_per_user: 1000,
        invitations_per_user: 100,
        sessions_per_user: 100,
        files: FileLimits {
            file_bytes: 0,
            file_quota_bytes: 0,
        },
        uploads_per_user: 0,
        rate: Rate::new(0, 0),
    }
}

fn register(number: usize) -> Command {
    Command::Register {
        name: UserName::parse("user_name", format!("user{number}")).expect("it is a name"),
        display_name: DisplayName::parse("display_name", String::new()).expect("it may be empty"),
        // Nobody logs in.
        password: "no hash".to_owned(),
        client: ClientName::parse("client", String::new()).expect("it may be empty"),
        token: Token::random(),
        from: ADDRESS,
        invitation: None,
    }
}

/// A new request id, as clients make them.
pub(crate) fn request_id() -> RequestId {
    RequestId::parse(&Uuid::now_v7().to_string()).expect("a UUID is a request id")
}

/// A text that is within the limits.
pub(crate) fn message_text(text: String) -> MessageText {
    MessageText::parse(text, TEXT_BYTES).expect("it is short")
}
