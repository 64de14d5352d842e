//! Makes an export: goes through the journal a few times, and hands file after file to a [`Sink`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use super::digest::{Digest, Selection, Why};
use super::lines::{self, Names, Person, PersonLine, Place, RoomLine};
use super::manifest::{Case, Counts, Listed, Manifest, ScopeLine};
use super::readme::README;
use super::report::{About, Report};
use super::row::{Row, encode};
use super::scope::{Scope, time_of};
use super::time::rfc3339;
use super::walk::{Step, Walk};
use super::{EVENT_BYTES, MANIFEST, SHARED, hex};
use crate::record::checkpoint::Checkpoint;
use crate::record::note::Note;
use crate::record::sha256;
use crate::record::tree::{Hash, Subtree};
use crate::v1::event_body::Content;
use crate::v1::{BodyState, EventBody, EventHead, EventKind};
use prost::Message as _;
use ring::digest;

/// Rows after which it is told how far a step is.
const TOLD: u64 = 10_000;
/// Bytes that are handed on at once.
const CHUNK: usize = 256 << 10;

/// A row, as the journal has it.
#[derive(Debug, Clone)]
pub struct StoredRow {
    /// The bytes of its head.
    pub head: Vec<u8>,
    /// The bytes of its body; none if it is erased, or was not asked for.
    pub body: Option<Vec<u8>>,
}

/// The journal, and what belongs to it.
pub trait Records {
    /// Why something cannot be read.
    type Error: fmt::Display;

    /// Rows from `begin` on and below `end`, ascending; at least one, if there is one. Without their bodies, unless these are wanted.
    fn rows(&mut self, begin: u64, end: u64, bodies: bool) -> Result<Vec<StoredRow>, Self::Error>;
    /// The root of a full subtree.
    fn root(&mut self, of: Subtree) -> Result<Hash, Self::Error>;
    /// What somebody is called.
    fn person(&mut self, id: &str) -> Result<Person, Self::Error>;
    /// What a room is, and its newest seq of a row below `size`.
    fn place(&mut self, id: &str, size: u64) -> Result<Place, Self::Error>;
    /// Bytes of a shared file from `offset` on; none behind its end.
    fn file(&mut self, id: &str, offset: u64) -> Result<Vec<u8>, Self::Error>;
}

/// Who takes an export.
pub trait Sink {
    /// Why it takes no more.
    type Error: fmt::Display;

    /// A file begins.
    fn begin(&mut self, name: &str) -> Result<(), Self::Error>;
    /// Bytes of the newest file.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
    /// How far a step is.
    fn progress(&mut self, step: &'static str, done: u64, total: u64) -> Result<(), Self::Error>;
}

/// What is exported.
#[derive(Debug, Clone)]
pub struct Order {
    /// The row that ordered it. The export is of the journal up to it.
    pub export: u64,
    /// The row that opened the case; none if a member exports what they did.
    pub case: Option<u64>,
    /// What is ordered.
    pub scope: Scope,
    /// Whether heads of what was not ordered are left out.
    pub bodies_only: bool,
    /// The checkpoint of the journal up to `export`, as a signed note.
    pub checkpoint: String,
    /// The journal's keys up to there, oldest first.
    pub keys: Vec<String>,
    /// Sizes of older checkpoints, ascending, each more than 0 and at most `export`.
    pub sizes: Vec<u64>,
    /// Name and version of the server.
    pub tool: String,
}

/// Why an export cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError<R: fmt::Display, S: fmt::Display> {
    /// Something cannot be read.
    #[error("{0}")]
    Records(R),
    /// Nobody takes it any more.
    #[error("{0}")]
    Sink(S),
    /// What is stored is not what was written: nothing false is exported.
    #[error("{0}")]
    Changed(String),
}

/// What was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// SHA-256 of the file `manifest`.
    pub manifest: [u8; 32],
    /// How much there is in it.
    pub counts: Counts,
}

/// What comes of one step.
type Outcome<T, R, S> = Result<T, MakeError<<R as Records>::Error, <S as Sink>::Error>>;

/// Makes an export. `sign` signs the manifest's text as a note, with the key that signed the checkpoint.
///
/// # Errors
/// See [`MakeError`].
pub fn make<R: Records, S: Sink>(
    records: &mut R,
    sink: &mut S,
    order: &Order,
    sign: &dyn Fn(String) -> Result<String, String>,
) -> Result<Made, MakeError<R::Error, S::Error>> {
    let checkpoint = Note::parse(order.checkpoint.as_bytes()).map_err(|error| error.to_string());
    let checkpoint = checkpoint.and_then(|note| note.text().parse::<Checkpoint>().map_err(|error| error.to_string()));
    let mut maker = Maker {
        checkpoint: checkpoint.map_err(MakeError::Changed)?,
        size: order.export + 1,
        records,
        sink,
        order,
        files: Vec::new(),
        file: None,
    };
    maker.run(sign)
}

/// A file that is being written.
struct Writing {
    name: String,
    size: u64,
    hash: digest::Context,
    buffer: Vec<u8>,
}

struct Maker<'a, R, S> {
    records: &'a mut R,
    sink: &'a mut S,
    order: &'a Order,
    checkpoint: Checkpoint,
    size: u64,
    files: Vec<Listed>,
    file: Option<Writing>,
}

impl<R: Records, S: Sink> Maker<'_, R, S> {
    fn run(&mut self, sign: &dyn Fn(String) -> Result<String, String>) -> Outcome<Made, R, S> {
        let order = self.order;
        let (selection, case) = self.select()?;
        self.text("README.txt", README)?;
        self.text("checkpoint", &order.checkpoint)?;
        self.text("keys", &in_lines(&order.keys))?;
        self.text("sizes", &in_lines(&order.sizes))?;
        let (marks, digest) = self.rows(&selection)?;
        self.tree(&marks)?;
        let names = self.names(&selection, &digest)?;
        let mut manifest = Manifest {
            export: i64::try_from(order.export).unwrap_or(i64::MAX),
            case,
            scope: ScopeLine::from(&order.scope),
            bodies_only: order.bodies_only,
            tool: order.tool.clone(),
            counts: Counts {
                rooms: names.rooms.len() as u64,
                ..digest.counts
            },
            files: Vec::new(),
        };
        // From the first row that was ordered to the last one.
        let span = (
            marks.first().copied().unwrap_or(0),
            marks.last().map_or(0, |last| last + 1),
        );
        self.messages(&selection, &names, span)?;
        self.report(&manifest, &selection, &names, &digest, span)?;
        self.shared(&digest)?;
        manifest.files = std::mem::take(&mut self.files);
        let note = sign(manifest.text()).map_err(MakeError::Changed)?;
        self.text(MANIFEST, &note)?;
        Ok(Made {
            manifest: sha256(&[note.as_bytes()]),
            counts: manifest.counts,
        })
    }

    fn begin(&mut self, name: &str) -> Outcome<(), R, S> {
        self.sink.begin(name).map_err(MakeError::Sink)?;
        self.file = Some(Writing {
            name: name.to_owned(),
            size: 0,
            hash: digest::Context::new(&digest::SHA256),
            buffer: Vec::new(),
        });
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Outcome<(), R, S> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.size += bytes.len() as u64;
        file.hash.update(bytes);
        file.buffer.extend_from_slice(bytes);
        if file.buffer.len() >= CHUNK {
            let buffer = std::mem::take(&mut file.buffer);
            for part in buffer.chunks(CHUNK) {
                self.sink.write(part).map_err(MakeError::Sink)?;
            }
        }
        Ok(())
    }

    /// Ends a file, and tells its hash.
    fn end(&mut self) -> Outcome<Hash, R, S> {
        let Some(file) = self.file.take() else {
            return Ok([0; 32]);
        };
        if !file.buffer.is_empty() {
            self.sink.write(&file.buffer).map_err(MakeError::Sink)?;
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(file.hash.finish().as_ref());
        if !file.name.starts_with(SHARED) && file.name != MANIFEST {
            self.files.push(Listed {
                name: file.name,
                size: file.size,
                sha256: hex(&hash),
            });
        }
        Ok(hash)
    }

    fn text(&mut self, name: &str, text: &str) -> Outcome<(), R, S> {
        self.begin(name)?;
        self.write(text.as_bytes())?;
        self.end()?;
        Ok(())
    }

    /// Goes through rows of the journal.
    fn scan(
        &mut self,
        step: &'static str,
        (begin, end): (u64, u64),
        bodies: bool,
        mut each: impl FnMut(&mut Self, EventHead, StoredRow) -> Outcome<(), R, S>,
    ) -> Outcome<(), R, S> {
        let (mut next, mut told) = (begin, begin);
        self.sink.progress(step, 0, end - begin).map_err(MakeError::Sink)?;
        while next < end {
            let rows = self.records.rows(next, end, bodies).map_err(MakeError::Records)?;
            if rows.is_empty() {
                return Err(MakeError::Changed(format!("row {next} of the journal is not there")));
            }
            for row in rows {
                let head = EventHead::decode(&row.head[..]).ok();
                let head = head.filter(|head| u64::try_from(head.index) == Ok(next));
                let Some(head) = head else {
                    return Err(MakeError::Changed(format!(
                        "row {next} of the journal is not what was written"
                    )));
                };
                next += 1;
                each(self, head, row)?;
            }
            if next - told >= TOLD || next == end {
                told = next;
                self.sink.progress(step, next - begin, end - begin).map_err(MakeError::Sink)?;
            }
        }
        Ok(())
    }

    /// Finds out which rows are exported.
    fn select(&mut self) -> Outcome<(Selection, Option<Case>), R, S> {
        let order = self.order;
        let mut rooms: BTreeMap<String, Extent> = BTreeMap::new();
        let mut case_kinds = Vec::new();
        self.scan("finding what was ordered", (0, self.size), false, |_, head, _| {
            if head.seq > 0 {
                if !rooms.contains_key(&head.room_id) {
                    rooms.insert(head.room_id.clone(), Extent::default());
                }
                if let Some(extent) = rooms.get_mut(&head.room_id) {
                    extent.take(&head, &order.scope);
                }
            }
            if matches!(head.kind(), EventKind::CaseApproved | EventKind::CaseClosed) {
                case_kinds.push(head.index);
            }
            Ok(())
        })?;
        let touched = |room: &String, extent: &Extent| extent.touched || order.scope.rooms.contains(room);
        let mut runs: BTreeMap<String, (i64, i64)> = rooms
            .into_iter()
            .filter(|(room, extent)| touched(room, extent))
            .map(|(room, extent)| (room, extent.run()))
            .collect();
        for room in &order.scope.rooms {
            runs.entry(room.clone()).or_insert((0, 0));
        }
        if order.bodies_only {
            for run in runs.values_mut() {
                *run = (0, 0);
            }
        }
        let (of_case, case) = self.of_case(&case_kinds)?;
        let selection = Selection {
            scope: order.scope.clone(),
            bodies_only: order.bodies_only,
            case: case.as_ref().map(|case| case.index),
            export: i64::try_from(order.export).unwrap_or(i64::MAX),
            of_case,
            runs,
        };
        Ok((selection, case))
    }

    /// One row of the journal, with its body.
    fn row(&mut self, index: u64) -> Outcome<Option<Content>, R, S> {
        let rows = self.records.rows(index, index + 1, true).map_err(MakeError::Records)?;
        let body = rows.into_iter().next().and_then(|row| row.body);
        Ok(body.and_then(|body| EventBody::decode(&body[..]).ok()?.content))
    }

    /// The rows that approved or closed the case, and the case itself.
    fn of_case(&mut self, kinds: &[i64]) -> Outcome<(BTreeSet<i64>, Option<Case>), R, S> {
        let Some(index) = self.order.case else {
            return Ok((BTreeSet::new(), None));
        };
        let number = i64::try_from(index).unwrap_or(i64::MAX);
        let mut rows = self.records.rows(index, index + 1, true).map_err(MakeError::Records)?;
        let row = rows.pop();
        let head = row
            .as_ref()
            .and_then(|row| EventHead::decode(&row.head[..]).ok())
            .unwrap_or_default();
        let Some(Content::CaseOpened(opened)) = self.row(index)? else {
            return Err(MakeError::Changed(format!("row {index} of the journal opens no case")));
        };
        let case = Case {
            index: number,
            reference: opened.reference,
            basis: opened.basis,
            opened_at: rfc3339(time_of(&head)),
            expires_at: rfc3339(opened.expires_at.as_ref().map_or(0, super::time::micros)),
        };
        let mut of_case = BTreeSet::new();
        for kind in kinds {
            let of = match self.row(u64::try_from(*kind).unwrap_or_default())? {
                Some(Content::CaseApproved(approved)) => approved.case_index,
                Some(Content::CaseClosed(closed)) => closed.case_index,
                _ => 0,
            };
            if of == number {
                of_case.insert(*kind);
            }
        }
        Ok((of_case, Some(case)))
    }

    /// Writes `rows.pb`; gives the indices of its rows, and what they tell.
    fn rows(&mut self, selection: &Selection) -> Outcome<(Vec<u64>, Digest), R, S> {
        let (mut marks, mut digest) = (Vec::new(), Digest::default());
        self.begin("rows.pb")?;
        self.scan("writing rows", (0, self.size), true, |maker, head, stored| {
            let Some(why) = selection.why(&head) else { return Ok(()) };
            let row = prepared(head, stored, why).map_err(MakeError::Changed)?;
            let bytes = encode(&row.head_bytes, row.body.as_deref(), row.state);
            maker.write(&bytes)?;
            marks.push(u64::try_from(row.head.index).unwrap_or_default());
            digest.take(&row, why, &selection.runs);
            Ok(())
        })?;
        self.end()?;
        Ok((marks, digest))
    }

    fn tree(&mut self, marks: &[u64]) -> Outcome<(), R, S> {
        self.begin("tree")?;
        let order = self.order;
        let mut told = 0;
        for step in Walk::new(marks.iter().copied(), order.sizes.iter().copied(), self.size) {
            if let Step::Hash(subtree) = step {
                let root = self.records.root(subtree).map_err(MakeError::Records)?;
                self.write(&root)?;
                let at = (subtree.number + 1) << subtree.level;
                if at - told >= TOLD {
                    told = at;
                    self.sink.progress("writing the tree", at, self.size).map_err(MakeError::Sink)?;
                }
            }
        }
        self.end()?;
        Ok(())
    }

    fn names(&mut self, selection: &Selection, digest: &Digest) -> Outcome<Names, R, S> {
        let mut names = Names::default();
        let scope = &selection.scope;
        let people = if scope.users.is_empty() {
            &digest.people
        } else {
            &scope.users
        };
        for id in people {
            let Person { name, display_name } = self.records.person(id).map_err(MakeError::Records)?;
            let line = PersonLine {
                id: id.clone(),
                name,
                display_name,
            };
            names.people.insert(id.clone(), line);
        }
        for (id, (first_seq, last_seq)) in &selection.runs {
            let place = self.records.place(id, self.size).map_err(MakeError::Records)?;
            let line = RoomLine {
                id: id.clone(),
                kind: lines::room_kind(place.kind).to_owned(),
                name: place.name,
                first_seq: *first_seq,
                last_seq: *last_seq,
                newest_seq: place.newest_seq,
            };
            names.rooms.insert(id.clone(), line);
        }
        let people: String = names.people.values().map(lines::line).collect();
        self.text("people.jsonl", &people)?;
        let rooms: String = names.rooms.values().map(lines::line).collect();
        self.text("rooms.jsonl", &rooms)?;
        Ok(names)
    }

    fn messages(&mut self, selection: &Selection, names: &Names, span: (u64, u64)) -> Outcome<(), R, S> {
        self.begin("messages.jsonl")?;
        self.scan("writing messages", span, true, |maker, head, stored| {
            if selection.why(&head) != Some(Why::Ordered) {
                return Ok(());
            }
            let row = prepared(head, stored, Why::Ordered).map_err(MakeError::Changed)?;
            maker.write(lines::message(&row, names).as_bytes())
        })?;
        self.end()?;
        Ok(())
    }

    fn report(
        &mut self,
        manifest: &Manifest,
        selection: &Selection,
        names: &Names,
        digest: &Digest,
        span: (u64, u64),
    ) -> Outcome<(), R, S> {
        let checkpoint = self.checkpoint.clone();
        let key = self.order.keys.last().cloned().unwrap_or_default();
        let mut report = Report::new(About {
            manifest,
            checkpoint: &checkpoint,
            key: &key,
            names,
            digest,
            selection,
        });
        self.scan("writing the report", span, true, |maker, head, stored| {
            let Some(why) = selection.why(&head) else { return Ok(()) };
            let row = prepared(head, stored, why).map_err(MakeError::Changed)?;
            if let Some((name, page)) = report.push(&row, why) {
                maker.text(&name, &page)?;
            }
            Ok(())
        })?;
        let (name, page) = report.finish();
        self.text(&name, &page)
    }

    fn shared(&mut self, digest: &Digest) -> Outcome<(), R, S> {
        let (mut done, total) = (0, digest.counts.file_bytes);
        for (hash, file) in &digest.files {
            self.begin(&format!("{SHARED}{}", hex(hash)))?;
            let mut offset = 0;
            while offset < file.size {
                let bytes = self.records.file(&file.id, offset).map_err(MakeError::Records)?;
                if bytes.is_empty() {
                    break;
                }
                offset += bytes.len() as u64;
                self.write(&bytes)?;
                self.sink
                    .progress("copying files", done + offset, total)
                    .map_err(MakeError::Sink)?;
            }
            done += offset;
            if self.end()? != *hash || offset != file.size {
                return Err(MakeError::Changed(format!(
                    "the bytes of the file {} are not those that were sent",
                    file.id
                )));
            }
        }
        Ok(())
    }
}

/// How far a room reaches, as far as it is exported.
#[derive(Default)]
struct Extent {
    first: i64,
    /// The last row from before the period.
    before: i64,
    /// The first row from behind it.
    after: i64,
    newest: i64,
    touched: bool,
}

impl Extent {
    fn take(&mut self, head: &EventHead, scope: &Scope) {
        let time = time_of(head);
        if self.first == 0 {
            self.first = head.seq;
        }
        if scope.is_before(time) {
            self.before = head.seq;
        }
        if self.after == 0 && !scope.is_before_end(time) {
            self.after = head.seq;
        }
        self.newest = head.seq;
        self.touched |= scope.meets(head);
    }

    fn run(&self) -> (i64, i64) {
        let or = |seq: i64, other: i64| if seq > 0 { seq } else { other };
        (or(self.before, self.first), or(self.after, self.newest))
    }
}

/// A row as it is exported: with its body only if that is to be there.
fn prepared(head: EventHead, stored: StoredRow, why: Why) -> Result<Row, String> {
    let (body, state) = match (why, stored.body) {
        (Why::Context, _) => (None, BodyState::OutOfScope),
        (_, None) => (None, BodyState::Erased),
        (_, Some(body)) => (Some(body), BodyState::Unspecified),
    };
    if body.as_ref().is_some_and(|body| sha256(&[body])[..] != head.commitment[..]) {
        return Err(format!(
            "the body of row {} is not the one that was written",
            head.index
        ));
    }
    if stored.head.len() + body.as_ref().map_or(0, Vec::len) + 16 > EVENT_BYTES {
        return Err(format!("row {} is too large", head.index));
    }
    Ok(Row {
        head,
        head_bytes: stored.head,
        body,
        state,
    })
}

fn in_lines<T: fmt::Display>(items: &[T]) -> String {
    let mut lines = String::new();
    for item in items {
        _ = writeln!(lines, "{item}");
    }
    lines
}
