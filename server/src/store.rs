//! The store: the one seam between the journal and a database.
//!
//! It has the shape that both engines need. An [`Appender`] is the one connection of a node that writes: it begins a batch by taking the
//! database's write lock (on PostgreSQL: the one row `journal_head`) and is told what others appended since, reads the [`Facts`] that the
//! batch needs, writes what was decided, and commits. A [`Reader`] reads, many at a time. Rules are not here: the writer decides.

pub mod schema;
pub mod sqlite;

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use greffe_api::record::proof::Span;
use greffe_api::v1::EventHead;

use crate::domain::clock::Micros;
use crate::domain::command::Erased;
use crate::domain::entry::Entry;
use crate::domain::facts::{Facts, Needs};
use crate::domain::files::Upload;
use crate::domain::ids::{CodeHash, FileId, RequestKey, RoomId, UserId};
use crate::domain::log::Log;
use crate::domain::state::{Member, Room, Session, State, User};
use crate::journal::tree::{Edge, Hash, Subtree};

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full; nothing was changed.
    #[error("the disk is full")]
    Full,
    /// Somebody else holds the database; nothing was changed.
    #[error("the database is locked by another process")]
    Locked,
    /// Reading or writing failed below the database.
    #[error("reading or writing the database failed: {0}")]
    Io(String),
    /// The database holds what it cannot hold, or refused a statement.
    #[error("the database refused: {0}")]
    Database(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// The head of the journal.
#[derive(Debug, Clone)]
pub struct Head {
    /// The tree's edge, and the number of rows.
    pub edge: Edge,
    /// The time of the newest row.
    pub time: Micros,
}

/// What does not change while a server runs.
#[derive(Debug, Clone)]
pub struct Identity {
    /// 128 random bits, in hex.
    pub journal_id: String,
    /// Changes with each restore from a backup.
    pub epoch: String,
}

/// Roots are kept of subtrees whose level is a multiple of this: any other is that of at most 128 of them, or of leaves.
pub const KEPT: u32 = 8;

/// Whether the root of a full subtree is kept, so that proofs need few reads.
pub fn is_kept(subtree: Subtree) -> bool {
    subtree.level > 0 && subtree.level.is_multiple_of(KEPT)
}

/// An event to store.
#[derive(Debug)]
pub struct Row {
    /// The event.
    pub entry: Arc<Entry>,
    /// The number of its room.
    pub room: Option<i64>,
    /// The number of its actor.
    pub actor: Option<i64>,
    /// Where it is logged, if it is.
    pub logged: Option<LogPlace>,
    /// The numbers of the users whom it mentions.
    pub mentioned: Vec<i64>,
    /// The bytes of its head.
    pub head: Bytes,
    /// The bytes of its body.
    pub body: Bytes,
    /// Its leaf.
    pub leaf: Hash,
}

/// A row's place in a log; users are named by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPlace {
    /// Which log.
    pub log: Log,
    /// Whom it is about.
    pub about: Option<i64>,
    /// Under whom it is found.
    pub accounts: Vec<i64>,
}

/// A request that is answered now.
#[derive(Debug)]
pub struct NewRequest {
    /// Its hashed id.
    pub key: RequestKey,
    /// The row that answers it.
    pub index: i64,
    /// Digest of what it asked.
    pub digest: [u8; 32],
    /// When.
    pub time: Micros,
}

/// What a batch writes.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "the fields are the tables")]
pub struct Writes {
    pub rows: Vec<Row>,
    /// Full subtrees of the tree whose roots are kept.
    pub subtrees: Vec<(Subtree, Hash)>,
    pub requests: Vec<NewRequest>,
    /// Accounts; the password's hash is there if it changed.
    pub users: Vec<User>,
    /// Password hashes, by number of the user.
    pub passwords: Vec<(i64, String)>,
    pub rooms: Vec<RoomWrite>,
    /// Newest seqs of rooms, by number.
    pub heads: Vec<(i64, i64)>,
    /// Places, by number of the room and of the user; none: no more.
    pub members: Vec<(i64, i64, Option<Member>)>,
    /// Sessions, with the number of the user.
    pub sessions: Vec<(i64, Session)>,
    /// Numbers of sessions that are no more.
    pub sessions_gone: Vec<i64>,
    /// Read marks, by number of the user and of the room.
    pub read_marks: Vec<(i64, i64, i64)>,
    /// Files that are new.
    pub files: Vec<FileWrite>,
    /// Numbers of files that are no more; their places went before.
    pub files_gone: Vec<i64>,
    /// Rows whose bodies go, with the numbers of room and actor.
    pub erased: Vec<(Option<i64>, Option<i64>, Erased)>,
    /// Whether nothing is to be left in the write-ahead log, once this is committed.
    pub settle: bool,
    /// Places of files, by number of the room and seq: the number of the file; none: it is no longer there.
    pub shares: Vec<(i64, i64, Option<i64>)>,
    /// Uploads, with the numbers of the owner and of the room.
    pub uploads: Vec<(i64, i64, Upload)>,
    /// Uploads that are no more.
    pub uploads_gone: Vec<FileId>,
    /// When sessions were used, by number.
    pub used: Vec<(i64, Micros)>,
    /// Requests that were answered before are forgotten.
    pub forget_requests: Option<Micros>,
    /// Rows that stand from now on.
    pub stands: Vec<i64>,
    /// Rows that stand no more.
    pub falls: Vec<i64>,
    /// The newest checkpoint, as a signed note.
    pub checkpoint: Option<String>,
    /// Sizes at which the journal was signed, and when.
    pub signed: Vec<(i64, Micros)>,
    /// Hashes of one-time codes, by the row that made them.
    pub codes: Vec<(i64, CodeHash)>,
    /// Who the journal is from now on, if it goes on from a backup; the mark of the backup is taken off.
    pub identity: Option<Identity>,
    pub head: Option<Head>,
}

/// A room as it stands after a batch.
#[derive(Debug)]
pub struct RoomWrite {
    /// The room, without its members.
    pub room: Room,
    /// The numbers of a direct room's two people.
    pub direct: Option<(i64, i64)>,
}

/// A file, as its table has it.
#[derive(Debug)]
pub struct FileWrite {
    /// The row that shared it first.
    pub no: i64,
    /// Its id.
    pub id: FileId,
    /// The number of its owner.
    pub owner: i64,
    /// Its bytes.
    pub size: i64,
}

/// The connection that appends.
pub trait Appender: Send + 'static {
    /// Begins a batch, and tells what others appended since the journal had `known` rows.
    fn begin(&mut self, known: i64) -> impl Future<Output = Result<Vec<Entry>, StoreError>> + Send;
    /// Reads what the batch needs to know.
    fn find(&mut self, needs: &Needs) -> impl Future<Output = Result<Facts, StoreError>> + Send;
    /// Writes what was decided.
    fn write(&mut self, writes: &Writes) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Makes it durable. [`StoreError::Io`] leaves it unknown whether it is.
    fn commit(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Ends a batch that is not to be written.
    fn roll_back(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Does what is due after some commits, such as moving what is in a log into the main file, outside a batch and after everybody was
    /// answered. [`StoreError::Io`] leaves it unknown what is on the disk, as after a commit.
    fn tend(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Reads the whole state, outside a batch.
    fn load(&mut self) -> impl Future<Output = Result<(State, Head), StoreError>> + Send;
    /// Moves what was committed into the main file, so that nothing of it is left in a log. False: somebody who reads needs the log still.
    fn settle(&mut self) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// Whether and why a body is withheld.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Currency {
    /// It is current.
    Current,
    /// A later edit replaced it.
    Replaced,
    /// Its message was deleted.
    Deleted,
    /// The body was erased.
    Erased,
}

/// An event of a room, as stored.
#[derive(Debug, Clone)]
pub struct RoomEvent {
    /// Its seq.
    pub seq: i64,
    /// The bytes of its head.
    pub head: Bytes,
    /// The bytes of its body; none once erased.
    pub body: Option<Bytes>,
    /// Whether members may see the body.
    pub currency: Currency,
    /// Of an edit: the seq of the message that it edits.
    pub edits: Option<i64>,
}

/// A message of a room, as stored.
#[derive(Debug, Clone)]
pub struct RoomMessage {
    /// The head of the event that posted it.
    pub posted: Bytes,
    /// Head and body of the event with the current text; none if it was deleted.
    pub current: Option<(Bytes, Option<Bytes>)>,
    /// Bodies of the reactions that stand, with their heads, oldest first.
    pub reactions: Vec<(Bytes, Bytes)>,
}

/// Which part of a room's history to read.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// The number of the room.
    pub room: i64,
    /// The first seq that may be read.
    pub first: i64,
    /// The last seq that may be read.
    pub last: i64,
    /// Events at most.
    pub limit: usize,
    /// Bytes at which a page ends, after at least one event.
    pub bytes: usize,
    /// Whether the newest ones of the range are read, not the oldest.
    pub newest: bool,
}

/// What somebody has not read of a room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unread {
    /// Up to where they have read.
    pub read_seq: i64,
    /// Messages of others after that, counted up to 1,000.
    pub messages: i32,
    /// Those that mention them, counted up to 1,000.
    pub mentions: i32,
}

/// A place of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The room.
    pub room: RoomId,
    /// The number of the room.
    pub room_no: i64,
    /// The seq.
    pub seq: i64,
    /// The row with the text that is expected to be current.
    pub current: i64,
}

/// What a row does to the texts of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextChange {
    /// The row.
    pub index: i64,
    /// The number of the room.
    pub room: i64,
    /// The message's seq.
    pub seq: i64,
    /// Its text from now on; none: it is gone.
    pub text: Option<String>,
}

/// Which part of a log to read.
#[derive(Debug, Clone, Copy)]
pub struct LogRange {
    /// Which log.
    pub log: Log,
    /// Only what is about this user, by number.
    pub about: Option<i64>,
    /// The first row.
    pub first: i64,
    /// The last row.
    pub last: i64,
    /// Only rows from this time on.
    pub since: Micros,
    /// Rows at most.
    pub limit: usize,
    /// Whether the newest ones of the range are read, not the oldest.
    pub newest: bool,
}

/// A row of the journal, as stored.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// The bytes of its head.
    pub head: Bytes,
    /// The bytes of its body; none once erased.
    pub body: Option<Bytes>,
}

/// A row of a log.
#[derive(Debug, Clone)]
pub struct LoggedEvent {
    /// The row.
    pub event: StoredEvent,
    /// Whom it is about.
    pub about: Option<UserId>,
}

/// Which rows a scan gives, by head and body.
pub type Keep = Arc<dyn Fn(&EventHead, Option<&[u8]>) -> bool + Send + Sync>;

/// What a scan gives: rows with what their heads say, and the row to go on with; none at the end.
pub type Scanned = (Vec<(EventHead, StoredEvent)>, Option<i64>);

/// What everyone reads with.
pub trait Reader: Send + Sync + 'static {
    /// Events of a room, ascending.
    fn events(&self, range: Range) -> BoxFuture<'_, Result<Vec<RoomEvent>, StoreError>>;
    /// Messages of a room, ascending, and whether there are more of them in the range.
    fn messages(&self, range: Range) -> BoxFuture<'_, Result<(Vec<RoomMessage>, bool), StoreError>>;
    /// Messages at places, in that order; those whose text is no longer the expected one are left out.
    fn messages_at(&self, places: Vec<Place>) -> BoxFuture<'_, Result<Vec<RoomMessage>, StoreError>>;
    /// What a user has not read of rooms, given by number and first readable seq, in that order.
    fn unread(&self, user: i64, rooms: Vec<(i64, i64)>) -> BoxFuture<'_, Result<Vec<Unread>, StoreError>>;
    /// What the rows from `first` on, at most `count`, do to texts, and the number of the first row after them.
    fn text_changes(&self, first: i64, count: i64) -> BoxFuture<'_, Result<(Vec<TextChange>, i64), StoreError>>;
    /// The hash of a user's password; none of one that is void.
    fn password(&self, user: i64) -> BoxFuture<'_, Result<Option<String>, StoreError>>;
    /// Rows of a log, ascending, and whether there are more of them in the range.
    fn log(&self, range: LogRange) -> BoxFuture<'_, Result<(Vec<LoggedEvent>, bool), StoreError>>;
    /// Rows of the journal, in the order asked for; those that are not there are left out.
    fn rows(&self, indices: Vec<i64>) -> BoxFuture<'_, Result<Vec<StoredEvent>, StoreError>>;
    /// The newest checkpoint that was kept, as a signed note.
    fn checkpoint(&self) -> BoxFuture<'_, Result<Option<String>, StoreError>>;
    /// Sizes below `before` at which the journal was signed, ascending: the newest ones, and of older ones the last of each day; at most `at_most`.
    fn signed_sizes(&self, before: u64, at_most: usize) -> BoxFuture<'_, Result<Vec<u64>, StoreError>>;
    /// How many rows the journal has, and the root of its tree.
    fn newest(&self) -> BoxFuture<'_, Result<(u64, Hash), StoreError>>;
    /// The roots of parts of the tree, in that order.
    fn roots(&self, spans: Vec<Span>) -> BoxFuture<'_, Result<Vec<Hash>, StoreError>>;
    /// Rows from `begin` on and below `end`, ascending: as many as make a page. Without their bodies, unless these are wanted.
    fn stored_rows(&self, begin: i64, end: i64, bodies: bool) -> BoxFuture<'_, Result<Vec<StoredEvent>, StoreError>>;
    /// Leaves from `first` on, at most `count`.
    fn leaves(&self, first: i64, count: i64) -> BoxFuture<'_, Result<Vec<Hash>, StoreError>>;
    /// The newest seq of a room, by number, that a row below `size` has; 0 if there is none.
    fn newest_seq(&self, room: i64, size: i64) -> BoxFuture<'_, Result<i64, StoreError>>;
    /// Looks through at most `count` rows from `first` on, and gives those that `keep` keeps, up to about a megabyte.
    fn scan(&self, first: i64, count: i64, keep: Keep) -> BoxFuture<'_, Result<Scanned, StoreError>>;
    /// The first row whose time is not before `time`; the journal's size if there is none.
    fn first_since(&self, time: Micros) -> BoxFuture<'_, Result<i64, StoreError>>;
    /// A row of the journal.
    fn row(&self, index: i64) -> BoxFuture<'_, Result<Option<StoredEvent>, StoreError>>;
}
