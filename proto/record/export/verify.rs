//! Verifies an export, from its files alone: see "What to check" in `server/RECORD-FORMAT.md`.

mod chain;
mod files;
mod old;
mod rooms;
mod source;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use prost::Message as _;

use self::chain::Chain;
use self::files::{Expected, lines, listed, read_small};
use self::rooms::Runs;
pub use self::source::Source;
use super::digest::{Digest, Selection, Why};
use super::lines::{self, Names, PersonLine, RoomLine};
use super::manifest::{Case, Counts, Manifest, ScopeLine};
use super::report::{About, Report};
use super::row::{Row, RowError, Rows};
use super::scope::{Scope, time_of};
use super::time::{micros, rfc3339};
use super::walk::{Step, Walk};
use super::{MANIFEST, SHARED, hex};
use crate::record::checkpoint::Checkpoint;
use crate::record::key::VerifierKey;
use crate::record::note::Note;
use crate::record::sha256;
use crate::record::tree::{Edge, Hash, leaf_hash};
use crate::v1::event_body::Content;
use crate::v1::{BodyState, EventBody, EventKind};

/// What somebody knows who verifies an export.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Keys of the journal, from a source that is trusted.
    pub keys: Vec<VerifierKey>,
    /// Checkpoints that were kept elsewhere: what they are called, and their bytes.
    pub checkpoints: Vec<(String, Vec<u8>)>,
    /// Name and version of the server whose reports this code makes: those of others are checked by their hash only.
    pub tool: Option<String>,
}

/// Something that is not as it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// Where in it.
    pub place: Option<String>,
    /// What is wrong.
    pub why: String,
}

impl Finding {
    fn new(file: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            place: None,
            why: why.into(),
        }
    }

    fn at(file: &str, place: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            place: Some(place.into()),
            ..Self::new(file, why)
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names of files and what people wrote must not reach a terminal as they are.
        write!(f, "{}", self.file.escape_debug())?;
        if let Some(place) = &self.place {
            write!(f, ", {}", place.escape_debug())?;
        }
        write!(f, ": {}", self.why.escape_debug())
    }
}

/// Why an export is not verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It is not what was exported.
    #[error("{0}")]
    Tampered(Finding),
    /// It is none, or cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

impl From<Finding> for VerifyError {
    fn from(finding: Finding) -> Self {
        Self::Tampered(finding)
    }
}

/// What a file cannot be read for.
fn unreadable(file: &str, error: &io::Error) -> VerifyError {
    VerifyError::Unreadable(format!("{} cannot be read: {error}", file.escape_debug()))
}

/// What is proved of an export.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Verdict {
    /// The row that ordered it.
    pub export: i64,
    /// The case; none if a member exports what they did themselves.
    pub case: Option<Case>,
    /// What was ordered.
    pub scope: ScopeLine,
    /// Which journal it is of.
    pub journal: String,
    /// How many rows that had.
    pub size: u64,
    /// The root of its tree, in hexadecimal.
    pub root: String,
    /// The key that signed.
    pub key: String,
    /// Whether that key, or one before it, was known; and not only taken from the export.
    pub key_is_known: bool,
    /// Whether it is proved that nothing is missing in the rooms.
    pub complete: bool,
    /// Sizes of the known checkpoints that it agrees with.
    pub agrees_with: Vec<u64>,
    /// How much there is in it.
    pub counts: Counts,
    /// What is not proved.
    pub notes: Vec<String>,
}

/// Verifies the export in a directory, or in a tar archive, at `path`.
///
/// # Errors
/// See [`VerifyError`].
pub fn verify(path: &Path, known: &Known) -> Result<Verdict, VerifyError> {
    let source = Source::open(path)?;
    let bytes = read_small(&source, MANIFEST)?;
    let note = Note::parse(&bytes).map_err(|error| Finding::new(MANIFEST, error.to_string()))?;
    single(MANIFEST, &note, &bytes)?;
    let manifest = Manifest::parse(note.text()).ok_or_else(|| {
        Finding::new(
            MANIFEST,
            "its text is not the one of an export's manifest that this program knows",
        )
    })?;
    listed(&source, &manifest)?;
    let mut verifier = Verifier::new(&source, known, manifest)?;
    let last = verifier.chain.last();
    note.check(last).map_err(|error| Finding::new(MANIFEST, error.to_string()))?;
    verifier.read_names()?;
    verifier.rows()?;
    verifier.case()?;
    verifier.tree()?;
    verifier.people()?;
    verifier.counts()?;
    verifier.texts()?;
    verifier.shared()?;
    verifier.verdict()
}

struct Verifier<'a> {
    source: &'a Source,
    known: &'a Known,
    manifest: Manifest,
    checkpoint: Checkpoint,
    chain: Chain,
    sizes: Vec<u64>,
    selection: Selection,
    names: Names,
    runs: Runs,
    digest: Digest,
    /// The indices of the rows.
    marks: Vec<u64>,
    /// The roots at sizes that somebody asks for.
    roots: BTreeMap<u64, Hash>,
    /// The rows that opened the case and ordered the export.
    opened: Option<Row>,
    ordered: Option<Row>,
    notes: Vec<String>,
}

impl<'a> Verifier<'a> {
    fn new(source: &'a Source, known: &'a Known, manifest: Manifest) -> Result<Self, VerifyError> {
        let chain = Chain::read(source)?;
        let bytes = read_small(source, "checkpoint")?;
        let wrong = |why: String| Finding::new("checkpoint", why);
        let note = Note::parse(&bytes).map_err(|error| wrong(error.to_string()))?;
        single("checkpoint", &note, &bytes)?;
        let checkpoint = Checkpoint::open(&note, chain.last()).map_err(|error| wrong(error.to_string()))?;
        let size = checkpoint.size;
        if u64::try_from(manifest.export).ok().and_then(|export| export.checked_add(1)) != Some(size) {
            return Err(wrong(format!("it is of {size} rows, and the export of others")).into());
        }
        let sizes = files::sizes(source, size)?;
        let scope = scope(&manifest.scope).ok_or_else(|| Finding::new(MANIFEST, "its scope is none"))?;
        let selection = Selection {
            scope,
            bodies_only: manifest.bodies_only,
            case: manifest.case.as_ref().map(|case| case.index),
            export: manifest.export,
            of_case: std::collections::BTreeSet::new(),
            runs: BTreeMap::new(),
        };
        Ok(Self {
            source,
            known,
            manifest,
            checkpoint,
            chain,
            sizes,
            selection,
            names: Names::default(),
            runs: Runs::default(),
            digest: Digest::default(),
            marks: Vec::new(),
            roots: BTreeMap::new(),
            opened: None,
            ordered: None,
            notes: Vec::new(),
        })
    }

    fn read_names(&mut self) -> Result<(), VerifyError> {
        for person in lines::<PersonLine>(self.source, "people.jsonl", |line| &line.id)? {
            self.names.people.insert(person.id.clone(), person);
        }
        for room in lines::<RoomLine>(self.source, "rooms.jsonl", |line| &line.id)? {
            self.selection.runs.insert(room.id.clone(), (room.first_seq, room.last_seq));
            self.names.rooms.insert(room.id.clone(), room);
        }
        self.runs = Runs::new(&self.names, self.manifest.bodies_only)?;
        Ok(())
    }

    fn open_rows(&self) -> Result<Rows<impl io::Read + use<>>, VerifyError> {
        let file = self.source.read("rows.pb").map_err(|error| unreadable("rows.pb", &error))?;
        Ok(Rows::new(file))
    }

    /// Goes through all rows, and checks each by itself, and against those before it.
    fn rows(&mut self) -> Result<(), VerifyError> {
        let mut rows = self.open_rows()?;
        let mut time = i64::MIN;
        loop {
            let at = rows.at;
            let row = match rows.next() {
                Ok(None) => break,
                Ok(Some(row)) => row,
                Err(error) => return Err(broken(at, error)),
            };
            let place = format!("row {}, byte {at}", row.head.index);
            let wrong = |why: String| Finding::at("rows.pb", place.clone(), why);
            let index = u64::try_from(row.head.index).ok().filter(|index| *index < self.checkpoint.size);
            let index = index.ok_or_else(|| wrong("the journal had no such row".into()))?;
            if self.marks.last().is_some_and(|last| *last >= index) {
                return Err(wrong("rows do not ascend".into()).into());
            }
            if time_of(&row.head) < time {
                return Err(wrong("its time lies before that of a row before".into()).into());
            }
            time = time_of(&row.head);
            let content = whole(&row).map_err(wrong)?;
            self.take(index, row, content.as_ref()).map_err(wrong)?;
        }
        self.chain.compare().map_err(|why| Finding::new("keys", why))?;
        let (scope, rooms) = (&self.selection.scope, &self.names.rooms);
        let why = |why: String| Finding::new("rooms.jsonl", why);
        self.runs.compare(scope, rooms).map_err(why)?;
        if self.marks.first() != Some(&0) {
            return Err(Finding::new("rows.pb", "the journal's first row is not there").into());
        }
        Ok(())
    }

    /// Takes in a row that is whole in itself.
    fn take(&mut self, index: u64, row: Row, content: Option<&Content>) -> Result<(), String> {
        let head = &row.head;
        let of_case = match content {
            Some(Content::CaseApproved(approved)) => Some(approved.case_index),
            Some(Content::CaseClosed(closed)) => Some(closed.case_index),
            _ => None,
        };
        if of_case.is_some() && of_case == self.selection.case {
            self.selection.of_case.insert(head.index);
        }
        let why = self.selection.why(head).ok_or("it is no part of what was ordered")?;
        match (why, row.state) {
            (Why::Ordered | Why::Own, BodyState::Unspecified)
            | (Why::Ordered, BodyState::Erased)
            | (Why::Context, BodyState::OutOfScope) => {}
            (Why::Ordered, _) => return Err("it was ordered, and its body is not there".into()),
            (Why::Own, _) => return Err("its body has to be there, and is not".into()),
            (Why::Context, _) => return Err("its body was not ordered, and is there, or said to be erased".into()),
        }
        self.runs.take(head, why, &self.selection)?;
        if let Some(content) = content {
            self.chain.take(head.index, content)?;
        }
        self.digest.take(&row, why, &self.selection.runs);
        self.marks.push(index);
        if Some(head.index) == self.selection.case {
            self.opened = Some(row);
        } else if head.index == self.selection.export {
            self.ordered = Some(row);
        }
        Ok(())
    }

    /// Whether the manifest says what the rows say that opened the case and ordered the export.
    fn case(&self) -> Result<(), Finding> {
        let wrong = |why: &str| Finding::new(MANIFEST, why);
        let Some(Content::ExportOrdered(ordered)) = self.ordered.as_ref().and_then(Row::content) else {
            return Err(wrong("its row ordered no export"));
        };
        if ordered.bodies_only != self.manifest.bodies_only {
            return Err(wrong("it was ordered with other heads than it says"));
        }
        let Some(case) = &self.manifest.case else {
            let subject = self
                .ordered
                .as_ref()
                .map(|row| row.head.subject_id.as_str())
                .unwrap_or_default();
            let is_own = ordered.case_index == 0 && self.selection.scope == Scope::of_user(subject);
            return if is_own {
                Ok(())
            } else {
                Err(wrong("it is no export of what its member did"))
            };
        };
        let Some((row, Content::CaseOpened(opened))) = self.opened.as_ref().and_then(|row| Some((row, row.content()?)))
        else {
            return Err(wrong("the row that opened the case is not there"));
        };
        let says = Case {
            index: row.head.index,
            reference: opened.reference,
            basis: opened.basis,
            opened_at: rfc3339(time_of(&row.head)),
            expires_at: rfc3339(opened.expires_at.as_ref().map_or(0, micros)),
        };
        let scope = Scope::of(&opened.scope.unwrap_or_default());
        if ordered.case_index != case.index || says != *case || scope != self.selection.scope {
            return Err(wrong(
                "it is about another case, or another scope, than the journal says",
            ));
        }
        if scope.users.is_empty() && scope.rooms.is_empty() {
            return Err(wrong("its scope is of nobody and nothing"));
        }
        Ok(())
    }

    fn tree(&mut self) -> Result<(), VerifyError> {
        let mut rows = self.open_rows()?;
        let mut hashes = self.source.read("tree").map_err(|error| unreadable("tree", &error))?;
        let wanted = old::sizes(self.known);
        let (mut edge, mut count) = (Edge::default(), 0_u64);
        let walk = Walk::new(
            self.marks.iter().copied(),
            self.sizes.iter().copied(),
            self.checkpoint.size,
        );
        for step in walk {
            match step {
                Step::Row(_) => match rows.next() {
                    Ok(Some(row)) => edge.push(leaf_hash(&row.head_bytes)),
                    Ok(None) => return Err(Finding::new("rows.pb", "it changes while it is read").into()),
                    Err(error) => return Err(broken(rows.at, error)),
                },
                Step::Hash(subtree) => {
                    let mut hash = [0; 32];
                    let read = io::Read::read_exact(&mut hashes, &mut hash);
                    read.map_err(|_| Finding::at("tree", format!("hash {count}"), "the file ends here, and must not"))?;
                    count += 1;
                    if !edge.push_subtree(subtree.level, hash) {
                        return Err(Finding::at("tree", format!("hash {count}"), "it does not fit").into());
                    }
                }
                Step::Size(size) if wanted.contains(&size) => _ = self.roots.insert(size, edge.root()),
                Step::Size(_) => {}
            }
        }
        let mut more = [0];
        let rest = io::Read::read(&mut hashes, &mut more).map_err(|error| unreadable("tree", &error))?;
        if rest > 0 {
            return Err(Finding::at("tree", format!("hash {count}"), "there is more than belongs there").into());
        }
        if edge.root() != self.checkpoint.root {
            let why = "the rows and these hashes are not the tree that the checkpoint signed";
            return Err(Finding::new("tree", why).into());
        }
        self.roots.insert(self.checkpoint.size, edge.root());
        Ok(())
    }

    fn people(&self) -> Result<(), Finding> {
        let scope = &self.selection.scope;
        let want = if scope.users.is_empty() {
            &self.digest.people
        } else {
            &scope.users
        };
        if self.names.people.keys().ne(want.iter()) {
            return Err(Finding::new(
                "people.jsonl",
                "it names others than those whose rows these are",
            ));
        }
        Ok(())
    }

    fn counts(&self) -> Result<(), Finding> {
        let counts = Counts {
            rooms: self.names.rooms.len() as u64,
            ..self.digest.counts
        };
        if counts != self.manifest.counts {
            return Err(Finding::new(
                MANIFEST,
                format!("it counts otherwise than there is: {counts:?}"),
            ));
        }
        Ok(())
    }

    /// Whether messages and report are those of the rows.
    fn texts(&mut self) -> Result<(), VerifyError> {
        let mut rows = self.open_rows()?;
        let mut messages = Expected::open(self.source, "messages.jsonl")?;
        let is_ours = self.known.tool.as_ref() == Some(&self.manifest.tool);
        let about = Manifest {
            files: Vec::new(),
            ..self.manifest.clone()
        };
        let key = self.chain.last().to_string();
        let mut report = is_ours.then(|| {
            Report::new(About {
                manifest: &about,
                checkpoint: &self.checkpoint,
                key: &key,
                names: &self.names,
                digest: &self.digest,
                selection: &self.selection,
            })
        });
        let mut pages = 0;
        loop {
            let at = rows.at;
            let row = match rows.next() {
                Ok(None) => break,
                Ok(Some(row)) => row,
                Err(error) => return Err(broken(at, error)),
            };
            let Some(why) = self.selection.why(&row.head) else {
                continue;
            };
            if why == Why::Ordered {
                messages.line(&lines::message(&row, &self.names))?;
            }
            if let Some((name, page)) = report.as_mut().and_then(|report| report.push(&row, why)) {
                Expected::whole(self.source, &name, &page)?;
                pages += 1;
            }
        }
        messages.end()?;
        match report.map(Report::finish) {
            None => self.notes.push(format!(
                "the report was made by {}, and is known to be what that signed; this program makes others",
                self.manifest.tool.escape_debug()
            )),
            Some((name, page)) => {
                Expected::whole(self.source, &name, &page)?;
                pages += 1;
                let names = self.manifest.files.iter().filter(|file| file.name.starts_with("report"));
                if names.count() != pages {
                    return Err(Finding::new(MANIFEST, "the report has other pages than it should have").into());
                }
            }
        }
        Ok(())
    }

    fn shared(&self) -> Result<(), VerifyError> {
        for (hash, file) in &self.digest.files {
            let name = format!("{SHARED}{}", hex(hash));
            let (size, found) = files::hash(self.source, &name)?;
            if size != file.size || found != *hash {
                return Err(Finding::new(name, "its bytes are not those that were shared").into());
            }
        }
        let known = |name: &str| {
            let hash = name.strip_prefix(SHARED);
            hash.is_none_or(|hash| self.digest.files.keys().any(|known| hex(known) == hash))
        };
        match self.source.names().find(|name| !known(name)) {
            Some(name) => Err(Finding::new(name, "nobody shared this file in what was ordered").into()),
            None => Ok(()),
        }
    }

    fn verdict(mut self) -> Result<Verdict, VerifyError> {
        let key_is_known = self.chain.trust(&self.known.keys).map_err(|why| Finding::new("keys", why))?;
        let agrees_with = old::compare(self.known, &self.chain, &self.roots, self.checkpoint.size)?;
        if !key_is_known && agrees_with.is_empty() {
            self.notes.push(
                "the key was taken from the export itself: compare it with one that you know, or give an older checkpoint with --checkpoint"
                    .into(),
            );
        }
        if self.manifest.bodies_only {
            self.notes
                .push("completeness not proven: the heads of what was not ordered were left out".into());
        } else {
            self.notes.extend(self.runs.notes(&self.names.rooms));
            if !self.selection.scope.users.is_empty() {
                self.notes.push(
                    "that no room of a person is missing rests on the rows that say who was a member where".into(),
                );
            }
        }
        self.notes.extend(self.chain.notes());
        Ok(Verdict {
            export: self.manifest.export,
            complete: !self.manifest.bodies_only,
            case: self.manifest.case,
            scope: self.manifest.scope,
            journal: self.checkpoint.origin,
            size: self.checkpoint.size,
            root: hex(&self.checkpoint.root),
            key: self.chain.last().to_string(),
            key_is_known,
            agrees_with,
            counts: self.manifest.counts,
            notes: self.notes,
        })
    }
}

/// Refuses a note with further signatures: anybody could add some.
fn single(file: &str, note: &Note, bytes: &[u8]) -> Result<(), Finding> {
    let lines = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').count();
    if lines(bytes) == lines(note.text().as_bytes()) + 2 {
        Ok(())
    } else {
        Err(Finding::new(file, "it has other signatures beside that of the journal"))
    }
}

/// What is wrong where a row cannot be read.
fn broken(at: u64, error: RowError) -> VerifyError {
    match error {
        RowError::Io(error) => unreadable("rows.pb", &error),
        RowError::Form(why) => Finding::at("rows.pb", format!("byte {at}"), why).into(),
    }
}

/// Whether a row is whole in itself; and what it says.
fn whole(row: &Row) -> Result<Option<Content>, String> {
    let Some(bytes) = &row.body else { return Ok(None) };
    if sha256(&[bytes])[..] != row.head.commitment[..] {
        return Err("its body is not the one that its head commits to".into());
    }
    let body = EventBody::decode(&bytes[..]).map_err(|_| "its body is none")?;
    if body.salt.len() != 16 {
        return Err("its salt has not 16 bytes".into());
    }
    // The number of what a body says is that of its kind. What is newer than this program is not told apart.
    let is_known = EventKind::try_from(row.head.kind).is_ok();
    if is_known && content_number(bytes) != u32::try_from(row.head.kind).ok() {
        return Err("its body is not of its head's kind".into());
    }
    Ok(body.content)
}

/// The number of the field of a body that says what happened.
fn content_number(mut body: &[u8]) -> Option<u32> {
    while !body.is_empty() {
        let (number, wire) = prost::encoding::decode_key(&mut body).ok()?;
        if number >= 10 {
            return Some(number);
        }
        let context = prost::encoding::DecodeContext::default();
        prost::encoding::skip_field(wire, number, &mut body, context).ok()?;
    }
    None
}

/// A scope as a manifest says it; none if it is not written as it has to be.
fn scope(line: &ScopeLine) -> Option<Scope> {
    let time = |text: &Option<String>| match text {
        None => Some(None),
        Some(text) => text.parse::<prost_types::Timestamp>().ok().map(|time| Some(micros(&time))),
    };
    let scope = Scope {
        users: line.users.iter().cloned().collect(),
        rooms: line.rooms.iter().cloned().collect(),
        from: time(&line.from)?,
        to: time(&line.to)?,
    };
    (ScopeLine::from(&scope) == *line).then_some(scope)
}
