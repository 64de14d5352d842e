//! The writer on a real database.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use diesel::prelude::*;

use super::*;
use crate::domain::caller::Caller;
use crate::domain::clock::Micros;
use crate::domain::command::Change;
use crate::domain::decide::FileLimits;
use crate::domain::ids::{RequestId, RoomId, Token, UserId};
use crate::domain::rate::Rate;
use crate::domain::text::{ClientName, DisplayName, MessageText, UserName};
use crate::store::sqlite::{SqliteAppender, open};

/// What was published, in order.
#[derive(Clone, Default)]
struct Published(Arc<Mutex<Vec<Committed>>>);

impl Publish for Published {
    fn publish(&self, batch: &[Committed]) -> Vec<Waker> {
        self.0.lock().unwrap().extend_from_slice(batch);
        Vec::new()
    }

    fn touch(&self, _sessions: &[(SessionId, Micros)]) {}

    fn uploads(&self, _changes: &[UploadChange]) {}

    fn erased(&self, _rooms: &BTreeSet<RoomId>) {}
}

struct Desk {
    dir: tempfile::TempDir,
    writer: Writer<SqliteAppender, Published>,
    published: Published,
}

type Answers = Arc<Mutex<Vec<Result<Outcome, Error>>>>;

impl Desk {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut appender = open(&dir.path().join("greffe.db"), 1).unwrap().appender;
        let identity = appender.identity().unwrap();
        let (state, head) = appender.load().await.unwrap();
        let published = Published::default();
        let rules = Rules {
            rooms_per_user: 10,
            invitations_per_user: 10,
            sessions_per_user: 10,
            files: FileLimits {
                file_bytes: 100,
                file_quota_bytes: 250,
            },
            uploads_per_user: 2,
            rate: Rate::new(0, 0),
        };
        let mut writer = Writer::new(appender, published.clone(), rules, state, head);
        writer.found(&identity, "test").await.unwrap();
        Self { dir, writer, published }
    }

    async fn commit(&mut self, commands: Vec<Command>) -> Vec<Result<Outcome, Error>> {
        let answers = Answers::default();
        let reply = |answers: Answers| -> Reply {
            Box::new(move |outcome| {
                answers.lock().unwrap().push(outcome);
                None
            })
        };
        let mut batch = commands
            .into_iter()
            .map(|command| Pending::new(command, Some(reply(Arc::clone(&answers)))))
            .collect();
        self.writer.commit(&mut batch).await.unwrap();
        std::mem::take(&mut *answers.lock().unwrap())
    }

    async fn register(&mut self, name: &str) -> Caller {
        let answers = self.commit(vec![register(name)]).await;
        let Some(Ok(Outcome::LoggedIn { user, session, .. })) = answers.first() else {
            panic!("{answers:?}")
        };
        Caller {
            user: *user,
            session: *session,
            address: address(),
        }
    }

    fn general(&self) -> RoomId {
        self.writer.state.general()
    }

    /// What is on the disk, read again, is what the writer has in memory, and what was published is what is on the disk.
    async fn assert_whole(&mut self) {
        let (state, head) = self.writer.appender.load().await.unwrap();
        assert!(state.has_same_record(&self.writer.state));
        assert_eq!(head.edge, self.writer.edge);
        let published: Vec<i64> = self.published.0.lock().unwrap().iter().map(|event| event.entry.index).collect();
        assert_eq!(published, (0..state.size).collect::<Vec<_>>());
    }
}

fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 4711))
}

fn register(name: &str) -> Command {
    Command::Register {
        name: UserName::parse("user_name", name.into()).unwrap(),
        display_name: DisplayName::parse("display_name", String::new()).unwrap(),
        password: "not a hash".into(),
        client: ClientName::parse("client", String::new()).unwrap(),
        token: Token::random(),
        from: address(),
        invitation: None,
    }
}

fn send(caller: Caller, room: RoomId, id: u128, text: &str) -> Command {
    let request = RequestId::parse(&format!("{id:032x}")).unwrap();
    let text = MessageText::parse(text.into(), 1000).unwrap();
    Command::Change {
        caller,
        request,
        change: Change::Send {
            room,
            text,
            reply_to: 0,
        },
    }
}

fn seq(answer: &Result<Outcome, Error>) -> Option<i64> {
    match answer {
        Ok(Outcome::Stored(receipt)) => Some(receipt.seq),
        _ => None,
    }
}

#[tokio::test]
async fn a_refused_command_costs_only_itself() {
    let mut desk = Desk::new().await;
    let (alice, room) = (desk.register("alice").await, desk.general());
    let stranger = Caller {
        user: UserId::random(),
        ..alice
    };
    let batch = vec![
        send(alice, room, 1, "one"),
        send(stranger, room, 2, "nobody"),
        send(alice, RoomId::random(), 3, "nowhere"),
        send(alice, room, 4, "two"),
    ];
    let answers = desk.commit(batch).await;
    assert_eq!(
        answers.iter().map(seq).collect::<Vec<_>>(),
        [Some(2), None, None, Some(3)]
    );
    assert!(matches!(answers[1], Err(Error::SessionEnded)));
    assert!(matches!(answers[2], Err(Error::RoomNotFound)));
    desk.assert_whole().await;
}

#[tokio::test]
async fn a_request_repeated_in_one_batch_and_in_a_later_one_is_stored_once() {
    let mut desk = Desk::new().await;
    let (alice, room) = (desk.register("alice").await, desk.general());
    let batch = vec![
        send(alice, room, 1, "one"),
        send(alice, room, 1, "one"),
        send(alice, room, 1, "other"),
    ];
    let answers = desk.commit(batch).await;
    assert_eq!(answers.iter().map(seq).collect::<Vec<_>>(), [Some(2), Some(2), None]);
    assert!(matches!(answers[2], Err(Error::RequestIdReused { seq: 2, .. })));
    let later = desk
        .commit(vec![send(alice, room, 1, "one"), send(alice, room, 1, "other")])
        .await;
    assert_eq!(seq(&later[0]), Some(2));
    assert!(matches!(later[1], Err(Error::RequestIdReused { seq: 2, .. })));
    desk.assert_whole().await;
}

#[tokio::test]
async fn a_command_that_the_database_refuses_fails_alone_and_is_forgotten() {
    let mut desk = Desk::new().await;
    let (alice, room) = (desk.register("alice").await, desk.general());
    // Behind the writer's back: a name that its state does not know.
    let path = desk.dir.path().join("greffe.db");
    let mut other = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    diesel::sql_query("INSERT INTO user (no, id, name, display_name, password, created) VALUES (9999, 'u0000000000000000', 'mallory', '', '', 0)")
        .execute(&mut other)
        .unwrap();
    let batch = vec![
        send(alice, room, 1, "one"),
        register("mallory"),
        send(alice, room, 2, "two"),
    ];
    let answers = desk.commit(batch).await;
    assert_eq!(answers.iter().map(seq).collect::<Vec<_>>(), [Some(2), None, Some(3)]);
    assert!(answers[1].is_err());
    desk.assert_whole().await;
}

#[tokio::test]
async fn a_full_database_refuses_the_batch_and_the_writer_goes_on() {
    let mut desk = Desk::new().await;
    let (alice, room) = (desk.register("alice").await, desk.general());
    desk.writer.appender.limit_pages(1).unwrap();
    let large = "x".repeat(1000);
    let batch = (0..200).map(|id| send(alice, room, id, &large)).collect();
    let answers = desk.commit(batch).await;
    assert!(
        answers.iter().all(|answer| matches!(answer, Err(Error::DiskFull))),
        "{answers:?}"
    );
    desk.writer.appender.limit_pages(1_000_000).unwrap();
    let answers = desk.commit(vec![send(alice, room, 7, "there is room again")]).await;
    assert_eq!(seq(&answers[0]), Some(2));
    desk.assert_whole().await;
}
