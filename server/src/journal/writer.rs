//! The writer: the one place where anything is appended.
//!
//! It takes whatever has queued up, decides each command against the state that the ones before it lead to, writes and commits the whole batch as
//! one transaction, and only then publishes and answers. There is no timer: while one batch is being synced to the disk, the next one gathers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use greffe_api::v1::event_body::Content;
use greffe_api::v1::{KeyAdded, Restored};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::event::{self, Parts};
use super::{Committed, Publish, UploadChange};
use crate::domain::clock::{Micros, Step, StepWatch, from_timestamp};
use crate::domain::command::{Command, Erased, Outcome, Receipt};
use crate::domain::decide::{Answer, Context, Decision, Overwrite, Rules, decide};
use crate::domain::entry::{Aside, Entry};
use crate::domain::error::Error;
use crate::domain::facts::{Answered, Facts, Needs, RowFact};
use crate::domain::ids::{RandomPool, RequestKey, RoomId, SessionId};
use crate::domain::log::logged;
use crate::domain::state::{State, Touched};
use crate::journal::tree::{Edge, leaf_hash};
use crate::store::{
    Appender, FileWrite, Head, Identity, LogPlace, NewRequest, RoomWrite, Row, StoreError, Writes, is_kept,
};
use crate::telemetry;
use crate::wake::wake_all;

/// Commands that are committed at once, at most.
const BATCH: usize = 1024;
/// Commands that may wait for the writer.
const QUEUE: usize = 8192;
/// Steps of the clock that wait to be stored.
const STEPS: usize = 16;
/// How long a call waits for a place in the queue.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a call waits for its answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);
/// After which a refused client may try again.
const BUSY: Duration = Duration::from_millis(200);

/// Who gets the answer. Whatever must be woken for it is returned, and woken once the whole batch is answered.
pub type Reply = Box<dyn FnOnce(Result<Outcome, Error>) -> Option<std::task::Waker> + Send>;

struct Pending {
    command: Command,
    /// The command's hashed request id.
    key: Option<RequestKey>,
    reply: Option<Reply>,
}

impl Pending {
    fn new(command: Command, reply: Option<Reply>) -> Self {
        let key = command.request_key();
        Self { command, key, reply }
    }
}

/// Hands commands to the writer.
#[derive(Debug, Clone)]
pub struct Journal {
    queue: mpsc::Sender<Pending>,
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

impl Journal {
    /// Makes the queue: this end, and the writer's.
    pub fn new() -> (Self, Commands) {
        let (queue, commands) = mpsc::channel(QUEUE);
        (Self { queue }, Commands(commands))
    }

    /// Has a command decided and, unless it is refused, stored.
    pub async fn append(&self, command: Command) -> Result<Outcome, Error> {
        let (answer, answered) = oneshot::channel();
        let reply: Reply = Box::new(move |outcome| {
            let _ = answer.send(outcome);
            None
        });
        let place = match tokio::time::timeout(PATIENCE, self.queue.reserve()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) => return Err(Error::Stopping),
            Err(_) => return Err(Error::Busy { retry_after: BUSY }),
        };
        place.send(Pending::new(command, Some(reply)));
        // The writer answers every command that it takes; if it died, or the disk stands still, nobody knows how far it came.
        match tokio::time::timeout(ANSWER_PATIENCE, answered).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => Err(Error::OutcomeUnknown),
        }
    }

    /// Waits until what was queued before is decided, however long that takes. False if the writer ended, and nobody knows.
    pub async fn settled(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        let reply: Reply = Box::new(move |_| {
            let _ = answer.send(());
            None
        });
        let Ok(place) = self.queue.reserve().await else {
            return false;
        };
        // It forgets nothing.
        place.send(Pending::new(
            Command::ForgetRequests { before: Micros::MIN },
            Some(reply),
        ));
        answered.await.is_ok()
    }

    /// How many commands wait.
    pub fn queued(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Has a command decided without waiting: `reply` gets the answer. In the order of calls.
    pub fn enqueue(&self, command: Command, reply: Reply) -> Result<(), Error> {
        self.try_send(Pending::new(command, Some(reply)))
    }

    /// Has a command decided whose answer interests nobody, unless the writer is busy.
    pub fn note(&self, command: Command) {
        if self.try_send(Pending::new(command, None)).is_err() {
            tracing::debug!("Left out a note for the journal, because its queue is full");
        }
    }

    fn try_send(&self, pending: Pending) -> Result<(), Error> {
        self.queue.try_send(pending).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Busy { retry_after: BUSY },
            mpsc::error::TrySendError::Closed(_) => Error::Stopping,
        })
    }
}

/// The writer's end of the queue.
#[derive(Debug)]
pub struct Commands(mpsc::Receiver<Pending>);

/// Why the writer stopped for good.
#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    /// A commit or a write failed below the database: it is unknown what is on the disk.
    #[error(
        "writing the journal failed, and it is unknown how much of the last batch is on the disk; the next start will tell"
    )]
    Unknown(#[source] StoreError),
    /// The first row of a journal, or of its next epoch, could not be stored; the log has the cause.
    #[error("its first row could not be stored: is the disk full?")]
    NotBegun,
    /// The state could not be read again after a failed batch.
    #[error("the state could not be read again after a failed batch")]
    Reload(#[source] StoreError),
}

/// Appends to the journal.
#[derive(Debug)]
pub struct Writer<A, P> {
    appender: A,
    publisher: P,
    rules: Rules,
    state: State,
    edge: Edge,
    clock: StepWatch,
    salts: RandomPool,
    /// Steps of the clock that go first in the next batch; more than a few have not come before one is stored.
    steps: Vec<Step>,
}

/// A batch that is being decided.
#[derive(Default)]
struct Batch {
    facts: Facts,
    writes: Writes,
    committed: Vec<Committed>,
    touched: BTreeSet<Touched>,
    used: Vec<(SessionId, Micros)>,
    uploads: Vec<UploadChange>,
    /// Rooms in which bodies were erased.
    erased: BTreeSet<RoomId>,
    answers: Vec<Result<Outcome, Error>>,
}

impl<A: Appender, P: Publish> Writer<A, P> {
    /// Takes over a journal in the state that the store holds.
    pub fn new(appender: A, publisher: P, rules: Rules, state: State, head: Head) -> Self {
        let (clock, step) = StepWatch::start(head.time);
        Self {
            appender,
            publisher,
            rules,
            state,
            edge: head.edge,
            clock,
            salts: RandomPool::default(),
            steps: step.into_iter().collect(),
        }
    }

    /// Begins an empty journal.
    pub async fn found(&mut self, identity: &Identity, server_version: &str) -> Result<(), WriterError> {
        let command = Command::Found {
            journal_id: identity.journal_id.clone(),
            epoch: identity.epoch.clone(),
            server_version: server_version.into(),
        };
        self.begin(command).await
    }

    /// The edge of the tree.
    pub fn edge(&self) -> &Edge {
        &self.edge
    }

    /// Has checkpoints signed with another key from now on.
    pub async fn add_key(&mut self, key: KeyAdded) -> Result<(), WriterError> {
        self.begin(Command::AddKey(Box::new(key))).await
    }

    /// Appends what must be there before anything else is; what is refused here, as by a full disk, is a failure.
    async fn begin(&mut self, command: Command) -> Result<(), WriterError> {
        let size = self.state.size;
        self.commit(&mut vec![Pending::new(command, None)]).await?;
        if self.state.size == size {
            return Err(WriterError::NotBegun);
        }
        Ok(())
    }

    /// Goes on from a backup, under another id and epoch.
    pub async fn restore(&mut self, restored: Restored) -> Result<(), WriterError> {
        self.begin(Command::Restore(Box::new(restored))).await
    }

    /// Has commands decided and stored before anybody else's, whose answers interest nobody. What is refused costs only itself.
    pub async fn put_in_order(&mut self, commands: Vec<Command>) -> Result<(), WriterError> {
        let mut waiting: Vec<Pending> = commands.into_iter().map(|command| Pending::new(command, None)).collect();
        while !waiting.is_empty() {
            let rest = waiting.split_off(waiting.len().min(BATCH));
            self.commit(&mut waiting).await?;
            waiting = rest;
        }
        Ok(())
    }

    /// The state as the writer has it.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Appends until `stop`, and then what has queued up already; or until writing fails.
    pub async fn run(mut self, mut commands: Commands, stop: CancellationToken) -> Result<(), WriterError> {
        let mut waiting = Vec::with_capacity(BATCH);
        loop {
            let taken = tokio::select! {
                biased;
                () = stop.cancelled(), if !commands.0.is_closed() => {
                    commands.0.close();
                    continue;
                }
                taken = commands.0.recv_many(&mut waiting, BATCH) => taken,
            };
            if taken == 0 {
                break;
            }
            let outcome = match self.commit(&mut waiting).await {
                Ok(()) => self.tend().await,
                failed => failed,
            };
            if let Err(error) = outcome {
                // Who waits in the queue has certainly not been stored, but what comes next would be: nothing comes next.
                commands.0.close();
                while let Some(pending) = commands.0.recv().await {
                    answer(pending.reply, Err(Error::Stopping));
                }
                return Err(error);
            }
        }
        if let Err(error) = self.appender.settle().await {
            tracing::warn!(%error, "The write-ahead log was not moved into the database; the next start does it");
        }
        Ok(())
    }

    /// Has the store do what is due. Nobody waits for it, but if the disk fails, nothing more may be written.
    async fn tend(&mut self) -> Result<(), WriterError> {
        match self.appender.tend().await {
            Ok(()) => Ok(()),
            Err(StoreError::Io(text)) => Err(WriterError::Unknown(StoreError::Io(text))),
            Err(error) => {
                tracing::warn!(%error, "The write-ahead log could not be moved into the database; it is tried again");
                Ok(())
            }
        }
    }

    /// Commits what waits, and answers. Leaves `waiting` empty.
    async fn commit(&mut self, waiting: &mut Vec<Pending>) -> Result<(), WriterError> {
        let (now, step) = self.clock.read();
        if let Some(step) = step {
            tracing::warn!(
                expected = step.expected,
                observed = step.observed,
                "The machine's clock was stepped"
            );
            self.steps.push(step);
            self.steps.truncate(STEPS);
        }
        // What begins a journal, or its next epoch, is the first row of it.
        let begins = matches!(
            waiting.first(),
            Some(Pending {
                command: Command::Found { .. } | Command::Restore(_),
                ..
            })
        );
        let steps = if begins { &[][..] } else { &self.steps[..] };
        let own = steps.iter().map(|step| {
            let Step { expected, observed } = *step;
            Pending::new(Command::ClockStepped { expected, observed }, None)
        });
        let mut batch: Vec<Pending> = own.collect();
        batch.append(waiting);

        match self.try_batch(&batch, now).await {
            Ok(decided) => {
                if !begins {
                    self.steps.clear();
                }
                self.finish(batch, decided);
                return Ok(());
            }
            Err(error) => self.recover(&error, &mut batch).await?,
        }
        if batch.is_empty() {
            // All of them were refused, for want of space; the clock's steps are stored with the next batch.
            return Ok(());
        }
        self.steps.clear();
        // What is left failed together, without anything being wrong with the disk: one of them is to blame, and costs only itself.
        for pending in batch {
            let one = std::slice::from_ref(&pending);
            match self.try_batch(one, now).await {
                Ok(decided) => self.finish(vec![pending], decided),
                Err(error) => {
                    let mut alone = vec![pending];
                    self.recover(&error, &mut alone).await?;
                    for pending in alone {
                        tracing::error!(%error, "A command could not be stored");
                        answer(pending.reply, Err(Error::Internal));
                    }
                }
            }
        }
        Ok(())
    }

    /// After a failed batch: forgets it, and answers it if that is possible for all at once; otherwise leaves it in `batch`.
    async fn recover(&mut self, error: &StoreError, batch: &mut Vec<Pending>) -> Result<(), WriterError> {
        let answer_all = |batch: &mut Vec<Pending>, why: fn() -> Error| {
            for pending in batch.drain(..) {
                answer(pending.reply, Err(why()));
            }
        };
        if let StoreError::Io(text) = error {
            // An fsync that failed must not be tried again: the kernel may have dropped the pages and call the next one a success.
            answer_all(batch, || Error::OutcomeUnknown);
            return Err(WriterError::Unknown(StoreError::Io(text.clone())));
        }
        tracing::warn!(%error, commands = batch.len(), "A batch was not stored");
        let rolled_back = self.appender.roll_back().await;
        let loaded = match rolled_back {
            Ok(()) => self.appender.load().await,
            Err(error) => Err(error),
        };
        match loaded {
            Ok((state, head)) => (self.state, self.edge) = (state, head.edge),
            Err(error) => {
                answer_all(batch, || Error::OutcomeUnknown);
                return Err(WriterError::Reload(error));
            }
        }
        match error {
            StoreError::Full => answer_all(batch, || Error::DiskFull),
            StoreError::Locked => answer_all(batch, || Error::Busy { retry_after: BUSY }),
            StoreError::Io(_) | StoreError::Database(_) | StoreError::Closed => {}
        }
        Ok(())
    }

    /// Decides, writes and commits a batch. On an error nothing of it is stored, unless it is [`StoreError::Io`].
    async fn try_batch(&mut self, batch: &[Pending], now: Micros) -> Result<Batch, StoreError> {
        let started = Instant::now();
        for entry in self.appender.begin(self.state.size).await? {
            self.state.apply(&entry);
        }
        let mut needs = Needs::default();
        for pending in batch {
            needs.requests.extend(pending.key);
            pending.command.add_needs(&self.state, &mut needs);
        }
        needs.dedup();
        let facts = self.appender.find(&needs).await?;
        let mut decided = Batch {
            facts,
            answers: Vec::with_capacity(batch.len()),
            ..Batch::default()
        };
        // The clock may stand behind the newest row; the journal's time does not go back.
        let now = now.max(self.state.time);
        for pending in batch {
            let answer = self.decide_one(pending, now, &mut decided);
            decided.answers.push(answer);
        }
        self.complete(&mut decided);
        if decided.writes.is_empty() {
            self.appender.roll_back().await?;
            return Ok(decided);
        }
        self.appender.write(&decided.writes).await?;
        self.appender.commit().await?;
        if decided.writes.settle && !self.appender.settle().await? {
            for (pending, answer) in batch.iter().zip(&mut decided.answers) {
                if matches!(pending.command, Command::Settle) {
                    *answer = Err(Error::Busy { retry_after: BUSY });
                }
            }
        }
        telemetry::appended(decided.writes.rows.len(), started.elapsed());
        Ok(decided)
    }

    /// Decides one command, and applies what it leads to to the writer's own state.
    fn decide_one(&mut self, pending: &Pending, now: Micros, batch: &mut Batch) -> Result<Outcome, Error> {
        let Pending { command, key, .. } = pending;
        let context = Context {
            state: &self.state,
            facts: &batch.facts,
            rules: &self.rules,
            now,
            key: *key,
        };
        let Decision {
            drafts,
            overwrite,
            answer,
        } = decide(&context, command)?;
        let request = command.request();
        // What was refused may be tried again under the same request id.
        let remembered = match &answer {
            Answer::Refused(_) => None,
            Answer::Acted { record, .. } => Some(*record),
            _ => Some(0),
        };
        let mut receipts = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let (place, row) = self.append(
                Entry {
                    index: self.state.size,
                    time: now,
                    seq: 0,
                    request,
                    draft,
                },
                batch,
            );
            if remembered == Some(receipts.len()) {
                remember(pending, &place, row, now, batch);
            }
            receipts.push(place);
        }
        if let Some(overwrite) = overwrite {
            self.overwrite(overwrite, now, batch);
        }
        match answer {
            Answer::Receipt => receipts.into_iter().next().map(Outcome::Stored).ok_or(Error::Internal),
            Answer::Acted {
                record,
                effect,
                sessions,
                streams,
            } => {
                let effect = effect.and_then(|number| receipts.get(number).cloned());
                let receipt = receipts.get(record).cloned().ok_or(Error::Internal)?;
                Ok(Outcome::Acted {
                    receipt,
                    effect,
                    sessions,
                    streams,
                })
            }
            Answer::Refused(error) => Err(error),
            Answer::Earlier {
                index,
                remember: is_new,
            } => {
                let row = batch.facts.rows.get(&index).cloned().ok_or(Error::Internal)?;
                let receipt = receipt_of(&row, index).ok_or(Error::Internal)?;
                if is_new {
                    remember(pending, &receipt, row, now, batch);
                }
                Ok(Outcome::Stored(receipt))
            }
            Answer::LoggedIn { user, session } => Ok(Outcome::LoggedIn {
                user,
                session,
                time: now,
            }),
            Answer::Ended(count) => Ok(Outcome::Ended(count)),
            Answer::Read(seq) => Ok(Outcome::Read(seq)),
            Answer::Upload(upload) => Ok(Outcome::Upload(upload)),
            Answer::Erased(rows) => Ok(Outcome::Erased(rows)),
            Answer::Done => Ok(Outcome::Done),
        }
    }

    /// Gives an event its place, encodes it, and takes it into state, tree and batch.
    fn append(&mut self, mut entry: Entry, batch: &mut Batch) -> (Receipt, RowFact) {
        if let Some(room) = entry.draft.room {
            entry.seq = self.state.room(room).map_or(0, |room| room.head_seq) + 1;
        }
        let Parts {
            element,
            head,
            body,
            salt,
            leaf,
        } = event::encode(&entry, self.salts.take());
        let entry = Arc::new(entry);
        self.edge.push_telling(leaf, |subtree, root| {
            if is_kept(subtree) {
                batch.writes.subtrees.push((subtree, *root));
            }
        });
        // A session that ends is still known here.
        let logged = logged(&entry.draft, |session| {
            self.state.session(session).map(|session| session.user)
        });
        batch.touched.extend(self.state.apply(&entry));
        let fact = RowFact {
            head: head.clone(),
            room: entry.draft.room,
            seq: entry.seq,
            salt: Some(salt),
        };
        batch.facts.note(&entry, &fact);
        let account = entry.draft.subject.user().and_then(|user| self.state.user(user));
        match (&entry.draft.aside, account) {
            (Some(Aside::Password(password)), Some(user)) => batch.writes.passwords.push((user.no, password.clone())),
            (Some(Aside::Code(_)), Some(user)) => batch.writes.passwords.push((user.no, String::new())),
            _ => {}
        }
        if let Some(Aside::Code(code)) = &entry.draft.aside {
            batch.writes.codes.push((entry.index, *code));
        }
        if let Content::Restored(restored) = &entry.draft.content {
            batch.writes.identity = Some(Identity {
                journal_id: restored.journal_id.clone(),
                epoch: restored.epoch.clone(),
            });
        }
        let receipt = Receipt {
            index: entry.index,
            room: entry.draft.room,
            seq: entry.seq,
            time: entry.time,
            leaf,
        };
        let is_edit = matches!(entry.draft.content, Content::MessageEdited(_));
        batch.committed.push(Committed {
            entry: Arc::clone(&entry),
            element,
            bare: is_edit.then(|| event::withheld(&head)),
        });
        let user_no = |id| self.state.user(id).map(|user| user.no);
        batch.writes.rows.push(Row {
            room: entry.draft.room.and_then(|room| self.state.room(room)).map(|room| room.no),
            actor: entry.draft.actor.and_then(user_no),
            logged: logged.map(|logged| LogPlace {
                log: logged.log,
                about: logged.about.and_then(user_no),
                accounts: logged.accounts().filter_map(user_no).collect(),
            }),
            mentioned: mentioned(&entry).filter_map(|id| user_no(id.parse().ok()?)).collect(),
            entry,
            head,
            body,
            leaf,
        });
        (receipt, fact)
    }

    fn overwrite(&mut self, overwrite: Overwrite, now: Micros, batch: &mut Batch) {
        match overwrite {
            Overwrite::ReadMark { user, room, seq } => {
                batch.facts.read_marks.insert((user, room), seq);
                let numbers = self
                    .state
                    .user(user)
                    .zip(self.state.room(room))
                    .map(|(user, room)| (user.no, room.no));
                batch.writes.read_marks.extend(numbers.map(|(user, room)| (user, room, seq)));
            }
            Overwrite::Used { session } => {
                self.state.touch(session, now);
                batch.used.push((session, now));
                batch
                    .writes
                    .used
                    .extend(self.state.session(session).map(|session| (session.no, now)));
            }
            Overwrite::Upload(upload) => {
                batch.touched.insert(Touched::Upload(upload.id));
                self.take_upload(UploadChange::Set(upload), batch);
            }
            Overwrite::UploadGone(id) => {
                batch.touched.insert(Touched::Upload(id));
                self.take_upload(UploadChange::Gone(id), batch);
            }
            Overwrite::Checkpoint { note, size } => {
                batch.writes.checkpoint = Some(note);
                batch.writes.signed.extend(i64::try_from(size).ok().map(|size| (size, now)));
            }
            Overwrite::Erase(rows) => self.erase(rows, batch),
            Overwrite::Signed(size) => {
                batch.writes.signed.extend(i64::try_from(size).ok().map(|size| (size, now)));
            }
            Overwrite::Settle => batch.writes.settle = true,
            Overwrite::ForgetRequests(before) => {
                batch.writes.forget_requests = Some(before);
                self.rules.rate.prune();
            }
        }
    }

    /// Takes bodies out of the journal, and what was derived from them.
    fn erase(&self, rows: Vec<Erased>, batch: &mut Batch) {
        batch.erased.extend(rows.iter().filter_map(|row| row.room));
        batch.writes.erased.extend(rows.into_iter().map(|row| {
            let room = row.room.and_then(|room| self.state.room(room));
            let actor = row.actor.and_then(|actor| self.state.user(actor));
            (room.map(|room| room.no), actor.map(|actor| actor.no), row)
        }));
    }

    fn take_upload(&mut self, change: UploadChange, batch: &mut Batch) {
        change.apply(&mut self.state);
        batch.uploads.push(change);
    }

    /// Brings the derived tables to the state that the batch leads to.
    fn complete(&self, batch: &mut Batch) {
        let writes = &mut batch.writes;
        let user_no = |id| self.state.user(id).map(|user| user.no);
        for touched in &batch.touched {
            match *touched {
                Touched::User(id) => writes.users.extend(self.state.user(id).cloned()),
                Touched::Room(id) => writes.rooms.extend(self.state.room(id).map(|room| RoomWrite {
                    room: room.without_members(),
                    direct: room.direct.and_then(|(a, b)| user_no(a).zip(user_no(b))),
                })),
                Touched::Head(id) => writes.heads.extend(self.state.room(id).map(|room| (room.no, room.head_seq))),
                Touched::Member(room, user) => {
                    let numbers = self.state.room(room).zip(user_no(user));
                    writes
                        .members
                        .extend(numbers.map(|(room, no)| (room.no, no, room.members.get(&user).copied())));
                }
                Touched::Session(id) => {
                    let session = self.state.session(id);
                    writes
                        .sessions
                        .extend(session.and_then(|session| Some((user_no(session.user)?, session.clone()))));
                }
                Touched::SessionGone(no) => writes.sessions_gone.push(no),
                Touched::File(id) => {
                    let file = self.state.files().get(id);
                    writes.files.extend(file.and_then(|file| {
                        Some(FileWrite {
                            no: file.no,
                            id,
                            owner: user_no(file.owner)?,
                            size: file.size,
                        })
                    }));
                }
                Touched::Share(room, seq) => {
                    let file = self.state.files().shared_by(room, seq).map(|file| file.no);
                    writes.shares.extend(self.state.room(room).map(|room| (room.no, seq, file)));
                }
                Touched::Upload(id) => match self.state.files().upload(id) {
                    None => writes.uploads_gone.push(id),
                    Some(upload) => {
                        let numbers = user_no(upload.owner).zip(self.state.room(upload.room).map(|room| room.no));
                        writes
                            .uploads
                            .extend(numbers.map(|(owner, room)| (owner, room, upload.clone())));
                    }
                },
                Touched::FileGone(no) => writes.files_gone.push(no),
                Touched::Stands(index) => writes.stands.push(index),
                Touched::Falls(index) => writes.falls.push(index),
            }
        }
        if !writes.rows.is_empty() {
            writes.head = Some(Head {
                edge: self.edge.clone(),
                time: self.state.time,
            });
        }
    }

    /// After the commit: publishes, answers, and wakes everyone who has got something, in this order.
    fn finish(&self, batch: Vec<Pending>, decided: Batch) {
        self.publisher.uploads(&decided.uploads);
        self.publisher.erased(&decided.erased);
        let mut wakers = self.publisher.publish(&decided.committed);
        self.publisher.touch(&decided.used);
        let replies = batch.into_iter().zip(decided.answers);
        wakers.extend(replies.filter_map(|(pending, outcome)| pending.reply.and_then(|reply| reply(outcome))));
        wake_all(wakers);
    }
}

impl Writes {
    fn is_empty(&self) -> bool {
        self.rows.is_empty()
            && self.requests.is_empty()
            && self.read_marks.is_empty()
            && self.uploads.is_empty()
            && self.uploads_gone.is_empty()
            && self.used.is_empty()
            && self.forget_requests.is_none()
            && self.checkpoint.is_none()
            && self.signed.is_empty()
            && self.erased.is_empty()
            && !self.settle
    }
}

fn answer(reply: Option<Reply>, outcome: Result<Outcome, Error>) {
    if let Some(waker) = reply.and_then(|reply| reply(outcome)) {
        waker.wake();
    }
}

/// Notes the answer to a member's change, under its request id.
fn remember(pending: &Pending, receipt: &Receipt, row: RowFact, now: Micros, batch: &mut Batch) {
    let Some(key) = pending.key else { return };
    let digest = pending.command.digest(row.salt.as_ref().map_or(&[], |salt| &salt[..]));
    batch.writes.requests.push(NewRequest {
        key,
        index: receipt.index,
        digest,
        time: now,
    });
    batch.facts.rows.insert(receipt.index, row.clone());
    batch.facts.requests.insert(
        key,
        Answered {
            index: receipt.index,
            digest,
            row,
        },
    );
}

/// The receipt of a row that is stored already.
fn receipt_of(row: &RowFact, index: i64) -> Option<Receipt> {
    let head = event::decode_head(&row.head)?;
    let time = head.time.as_ref().map_or(0, from_timestamp);
    Some(Receipt {
        index,
        room: head.room_id.parse().ok(),
        seq: head.seq,
        time,
        leaf: leaf_hash(&row.head),
    })
}

/// The ids of the users whom an event mentions.
fn mentioned(entry: &Entry) -> impl Iterator<Item = &String> {
    let ids: &[String] = match &entry.draft.content {
        Content::MessagePosted(posted) => &posted.mentioned_user_ids,
        Content::MessageEdited(edited) => &edited.mentioned_user_ids,
        _ => &[],
    };
    ids.iter()
}

#[cfg(test)]
mod tests;
