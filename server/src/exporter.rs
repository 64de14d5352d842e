//! Makes exports, each on a thread of its own, and hands them on piece by piece: what nobody takes is not made.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use greffe_api::record::export::make::{Made, MakeError, Order, Records, Sink, StoredRow, make};
use greffe_api::record::export::{Person, Place, Scope};
use greffe_api::record::proof::Span;
use greffe_api::record::tree::Edge;
use greffe_api::v1::event_body::Content;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use crate::blobs::Blobs;
use crate::domain::command::Command;
use crate::domain::error::Error;
use crate::domain::ids::{FileId, UserId};
use crate::grpc::App;
use crate::grpc::server_info::VERSION;
use crate::journal::event::decode_content;
use crate::journal::tree::{Hash, Subtree};
use crate::store::{KEPT, Reader, StoreError};

/// Pieces that wait for who takes them.
const PIECES: usize = 8;
/// Sizes of older checkpoints that an export can be compared with, at most.
const SIZES: usize = 20_000;
/// Bytes of a file that are read at once.
const CHUNK: u64 = 256 << 10;
/// Leaves that are read at once.
const LEAVES: i64 = 1 << KEPT;

/// How many exports are made at once: one for investigators, and one for members.
#[derive(Debug)]
pub struct Exporters {
    cases: Arc<Semaphore>,
    own: Arc<Semaphore>,
}

impl Default for Exporters {
    fn default() -> Self {
        Self {
            cases: Arc::new(Semaphore::new(1)),
            own: Arc::new(Semaphore::new(1)),
        }
    }
}

/// A piece of an export.
#[derive(Debug)]
pub enum Piece {
    /// How far a step is.
    Progress(&'static str, u64, u64),
    /// A file begins, or goes on at an offset.
    File(String, u64),
    /// Bytes of it.
    Data(Vec<u8>),
}

/// The pieces, in their order.
pub type Pieces = ReceiverStream<Result<Piece, Error>>;

/// Which export is made.
#[derive(Debug, Clone)]
pub struct Ordered {
    /// The row that ordered it.
    pub export: i64,
    /// The row that opened the case.
    pub case: Option<i64>,
    /// What is ordered.
    pub scope: Scope,
    /// Whether heads of what was not ordered are left out.
    pub bodies_only: bool,
}

impl Ordered {
    /// What a member did.
    pub fn own(export: i64, member: UserId) -> Self {
        Self {
            export,
            case: None,
            scope: Scope::of_user(&member.to_string()),
            bodies_only: true,
        }
    }
}

impl App {
    /// What an export of a case is of.
    ///
    /// # Errors
    /// There is no such export.
    pub async fn ordered(&self, export: i64) -> Result<Ordered, Error> {
        let (case, bodies_only) = self.view().read(|state| {
            let export = state.record().export(export)?;
            Ok::<_, Error>((export.case, export.bodies_only))
        })?;
        let row = self.reader.row(case).await?;
        let Some(Content::CaseOpened(opened)) = row.and_then(|row| decode_content(&row.body?)) else {
            return Err(Error::ExportFailed(
                "the row that opened the case cannot be read".into(),
            ));
        };
        Ok(Ordered {
            export,
            case: Some(case),
            scope: Scope::of(&opened.scope.unwrap_or_default()),
            bodies_only,
        })
    }

    /// Begins to make an export, from `file` and `offset` on; from its begin if that is empty.
    ///
    /// # Errors
    /// Another one is being made, or this one cannot be.
    pub async fn export(self: &Arc<Self>, ordered: Ordered, file: String, offset: u64) -> Result<Pieces, Error> {
        let places = if ordered.case.is_some() {
            &self.exporters.cases
        } else {
            &self.exporters.own
        };
        let busy = Error::Busy {
            retry_after: std::time::Duration::from_secs(5),
        };
        let place = Arc::clone(places).try_acquire_owned().map_err(|_| busy)?;
        let order = self.order(ordered).await?;
        let (sender, pieces) = mpsc::channel(PIECES);
        let app = Arc::clone(self);
        let handle = Handle::current();
        std::thread::Builder::new()
            .name("export".into())
            .spawn(move || {
                crate::background::give_way();
                app.make(&handle, &order, Outlet::new(sender, file, offset), place);
            })
            .map_err(|_| Error::Internal)?;
        Ok(ReceiverStream::new(pieces))
    }

    /// All that an export is made of beside the journal.
    async fn order(&self, ordered: Ordered) -> Result<Order, Error> {
        let failed = |error: crate::notary::NotaryError| Error::ExportFailed(format!("{error}; order another one"));
        let (keys, replaced) = self.view().read(|state| {
            let keys = state.standing().keys();
            let before = keys.iter().filter(|key| key.index <= ordered.export);
            let names: Vec<String> = before.map(|key| key.verifier_key.clone()).collect();
            let replaced = names.len() < keys.len();
            (names, replaced)
        });
        let key = keys.last().filter(|_| !replaced).cloned().unwrap_or_default();
        let export = u64::try_from(ordered.export).map_err(|_| Error::ExportNotFound)?;
        let size = export + 1;
        let checkpoint = self.notary.sign_size(&*self.reader, size, &key).await.map_err(failed)?;
        self.journal.append(Command::NoteSigned { size }).await?;
        Ok(Order {
            export,
            case: ordered.case.and_then(|case| u64::try_from(case).ok()),
            scope: ordered.scope,
            bodies_only: ordered.bodies_only,
            checkpoint,
            keys,
            sizes: self.reader.signed_sizes(size, SIZES).await?,
            tool: VERSION.to_owned(),
        })
    }

    /// Makes an export, on a thread that may block.
    fn make(&self, handle: &Handle, order: &Order, mut outlet: Outlet, _place: OwnedSemaphorePermit) {
        let mut archive = Archive {
            app: self,
            handle,
            leaves: (0..0, Vec::new()),
        };
        let key = order.keys.last().cloned().unwrap_or_default();
        let sign = |text: String| self.notary.sign_text(text, &key).map_err(|error| error.to_string());
        let made = make(&mut archive, &mut outlet, order, &sign);
        let outcome = match made {
            Ok(made) => self.made(handle, order, made).and_then(|()| outlet.end()),
            // Nobody is there to be told.
            Err(MakeError::Sink(_)) => return,
            Err(MakeError::Records(Unread(error))) => Err(error),
            Err(MakeError::Changed(why)) => {
                tracing::error!(export.index = order.export, why, "An export cannot be made");
                Err(Error::ExportFailed(why))
            }
        };
        if let Err(error) = outcome {
            let _ = outlet.sender.blocking_send(Err(error));
        }
    }

    /// Notes that an export was made. What it ends with is handed out after that.
    fn made(&self, handle: &Handle, order: &Order, made: Made) -> Result<(), Error> {
        let note = Command::NoteExport {
            export: i64::try_from(order.export).unwrap_or(i64::MAX),
            manifest: made.manifest,
        };
        handle.block_on(self.journal.append(note)).map(|_| ())
    }
}

/// Why something could not be read.
struct Unread(Error);

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<StoreError> for Unread {
    fn from(error: StoreError) -> Self {
        Self(error.into())
    }
}

/// The journal, for a thread that may block.
struct Archive<'a> {
    app: &'a App,
    handle: &'a Handle,
    /// Leaves that were read last.
    leaves: (Range<u64>, Vec<Hash>),
}

impl Archive<'_> {
    fn read<T>(&self, read: impl Future<Output = Result<T, StoreError>>) -> Result<T, Unread> {
        Ok(self.handle.block_on(read)?)
    }

    fn reader(&self) -> &dyn Reader {
        &*self.app.reader
    }

    fn blobs(&self) -> &dyn Blobs {
        &*self.app.blobs
    }

    fn leaves(&mut self, wanted: Range<u64>) -> Result<&[Hash], Unread> {
        if wanted.start < self.leaves.0.start || wanted.end > self.leaves.0.end {
            let block = number(wanted.start) / LEAVES * LEAVES;
            let leaves = self.read(self.reader().leaves(block, LEAVES))?;
            let begin = u64::try_from(block).unwrap_or_default();
            self.leaves = (begin..begin + leaves.len() as u64, leaves);
        }
        let at = |index: u64| usize::try_from(index - self.leaves.0.start).unwrap_or(usize::MAX);
        let missing = || Unread(Error::ExportFailed("a part of the tree is missing".into()));
        let (begin, end) = (at(wanted.start), at(wanted.end));
        self.leaves.1.get(begin..end).ok_or_else(missing)
    }
}

fn number(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

impl Records for Archive<'_> {
    type Error = Unread;

    fn rows(&mut self, begin: u64, end: u64, bodies: bool) -> Result<Vec<StoredRow>, Unread> {
        let rows = self.read(self.reader().stored_rows(number(begin), number(end), bodies))?;
        let row = |row: crate::store::StoredEvent| StoredRow {
            head: row.head.into(),
            body: row.body.map(Into::into),
        };
        Ok(rows.into_iter().map(row).collect())
    }

    fn root(&mut self, of: Subtree) -> Result<Hash, Unread> {
        let (begin, end) = (of.number << of.level, (of.number + 1) << of.level);
        if of.level < KEPT {
            let mut edge = Edge::default();
            self.leaves(begin..end)?.iter().for_each(|leaf| edge.push(*leaf));
            return Ok(edge.root());
        }
        let mut roots = self.read(self.reader().roots(vec![Span { begin, end }]))?;
        roots.pop().ok_or(Unread(Error::Internal))
    }

    fn person(&mut self, id: &str) -> Result<Person, Unread> {
        Ok(self.app.view().read(|state| {
            let user = id.parse().ok().and_then(|id| state.user(id));
            let user = user.filter(|user| !state.is_erased(user.id));
            user.map_or_else(Person::default, |user| Person {
                name: user.name.clone(),
                display_name: user.display_name.clone(),
            })
        }))
    }

    fn place(&mut self, id: &str, size: u64) -> Result<Place, Unread> {
        let room = self.app.view().read(|state| {
            let room = id.parse().ok().and_then(|id| state.room(id))?;
            Some((room.no, room.kind, room.name.clone()))
        });
        let Some((no, kind, name)) = room else {
            return Err(Unread(Error::ExportFailed(format!("there is no room {id}"))));
        };
        let newest_seq = self.read(self.reader().newest_seq(no, number(size)))?;
        Ok(Place { kind, name, newest_seq })
    }

    fn file(&mut self, id: &str, offset: u64) -> Result<Vec<u8>, Unread> {
        let gone = || {
            Unread(Error::ExportFailed(format!(
                "the bytes of the file {id} cannot be read"
            )))
        };
        let file: FileId = id.parse().map_err(|_| gone())?;
        let size = self.app.view().read(|state| state.files().get(file).map(|file| file.size));
        let size = size.and_then(|size| u64::try_from(size).ok()).ok_or_else(gone)?;
        let end = size.min(offset.saturating_add(CHUNK));
        if offset >= end {
            return Ok(Vec::new());
        }
        let bytes: Result<Bytes, _> = self.handle.block_on(self.blobs().read(file, offset..end));
        bytes.map(Into::into).map_err(|_| gone())
    }
}

/// Hands pieces on, from a place on.
struct Outlet {
    sender: mpsc::Sender<Result<Piece, Error>>,
    /// From where on; none once it was reached.
    from: Option<(String, u64)>,
    /// Bytes of the newest file that are still to be passed over.
    skip: u64,
    /// The last file is kept back until it is on record that the export was made.
    last: Option<Vec<u8>>,
}

/// Nobody takes it any more.
struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody takes the export any more")
    }
}

impl Outlet {
    fn new(sender: mpsc::Sender<Result<Piece, Error>>, file: String, offset: u64) -> Self {
        Self {
            sender,
            from: (!file.is_empty()).then_some((file, offset)),
            skip: 0,
            last: None,
        }
    }

    fn send(&self, piece: Piece) -> Result<(), Gone> {
        self.sender.blocking_send(Ok(piece)).map_err(|_| Gone)
    }

    /// Hands out what was kept back.
    fn end(&mut self) -> Result<(), Error> {
        if self.from.is_some() {
            return Err(Error::invalid("file", "the export has no such file"));
        }
        if let Some(bytes) = self.last.take()
            && !bytes.is_empty()
        {
            // Who is gone does not need it.
            let _ = self.send(Piece::Data(bytes));
        }
        Ok(())
    }
}

impl Sink for Outlet {
    type Error = Gone;

    fn begin(&mut self, name: &str) -> Result<(), Gone> {
        self.skip = 0;
        match self.from.take_if(|(file, _)| file == name) {
            Some((_, offset)) => self.skip = offset,
            None if self.from.is_some() => return Ok(()),
            None => {}
        }
        self.last = (name == greffe_api::record::export::MANIFEST).then(Vec::new);
        self.send(Piece::File(name.to_owned(), self.skip))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        if self.from.is_some() {
            return if self.sender.is_closed() { Err(Gone) } else { Ok(()) };
        }
        let passed = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        self.skip -= passed as u64;
        let bytes = &bytes[passed..];
        match &mut self.last {
            Some(last) => last.extend_from_slice(bytes),
            None if bytes.is_empty() => {}
            None => self.send(Piece::Data(bytes.to_vec()))?,
        }
        Ok(())
    }

    fn progress(&mut self, step: &'static str, done: u64, total: u64) -> Result<(), Gone> {
        self.send(Piece::Progress(step, done, total))
    }
}
