//! Erases: what was ordered, and what was kept for its time. Goes through the whole journal beside everything else, a page at a time.
//!
//! Bodies go first, so that nobody is shown them any more; then the search index, the bytes of files, and what is left of all of it in write-ahead
//! logs. Only then an erasure is done. What a crash interrupts begins again at the next start: nothing of it can be done twice.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use greffe_api::v1::event_body::Content;
use greffe_api::v1::{EventHead, EventKind, RetentionClass};
use tokio::sync::{Notify, watch};

use crate::domain::clock::{Micros, from_timestamp, now};
use crate::domain::command::{Command, Erased, Outcome};
use crate::domain::erasure::{By, is_of_class, is_of_room, of_user};
use crate::domain::error::Error;
use crate::domain::ids::{FileId, RoomId, SessionId, UserId};
use crate::domain::record::{CLASSES, Erasure, Target};
use crate::domain::state::State;
use crate::grpc::App;
use crate::journal::event::decode_content;
use crate::store::{Keep, StoredEvent};

/// Rows that are looked at in one go.
const SCAN: i64 = 20_000;
/// Bodies that are erased in one go, so that no batch waits long for it.
const AT_ONCE: usize = 500;
/// How long it waits after something went wrong, or was busy.
const PAUSE: Duration = Duration::from_secs(1);
/// How often it looks whether there is something to do, if nobody says so.
const LOOK: Duration = Duration::from_secs(10);
/// How often data is erased that was kept for its time.
const SELDOM: Duration = Duration::from_secs(3600);

/// What others tell the eraser, and learn from it.
#[derive(Debug, Default)]
pub struct Orders {
    wake: Notify,
    retention: Notify,
    /// Erasures of which nobody is shown anything any more.
    hidden: watch::Sender<BTreeSet<i64>>,
}

impl Orders {
    /// There is something to erase.
    pub fn erase(&self) {
        self.wake.notify_one();
    }

    /// It was set how long something is kept.
    pub fn apply_retention(&self) {
        self.retention.notify_one();
    }

    /// Waits until nobody is shown any more what an erasure covers.
    pub async fn hidden(&self, erasure: i64) {
        // The sender is part of this, and so cannot be gone.
        let _ = self.hidden.subscribe().wait_for(|hidden| hidden.contains(&erasure)).await;
    }
}

/// Erases until it is dropped.
pub async fn run(app: Arc<App>) {
    tokio::join!(run_erasures(&app), run_retention(&app));
}

async fn run_erasures(app: &App) {
    loop {
        let next = app.view().read(|state| {
            let mut begun = state.record().erasures().filter(|erasure| erasure.begun.is_some());
            begun.find(|erasure| erasure.done.is_none()).cloned()
        });
        let Some(erasure) = next else {
            let _ = tokio::time::timeout(LOOK, app.eraser.wake.notified()).await;
            continue;
        };
        match erase(app, &erasure).await {
            Ok(rows) => tracing::info!(erasure.index = erasure.index, rows, "Erased what was ordered"),
            Err(Error::Stopping) => return,
            Err(error) => {
                tracing::warn!(erasure.index = erasure.index, %error, "An erasure could not go on; it is tried again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Tells the bodies of somebody, or of a room, while the journal is gone through.
struct Whose {
    target: String,
    is_user: bool,
    /// Sessions of the user so far.
    sessions: Mutex<HashSet<String>>,
}

impl Whose {
    fn new(target: Target) -> Self {
        let (target, is_user) = match target {
            Target::User(user) => (user.to_string(), true),
            Target::Room(room) => (room.to_string(), false),
        };
        Self {
            target,
            is_user,
            sessions: Mutex::default(),
        }
    }

    fn has(&self, head: &EventHead, body: Option<&[u8]>) -> bool {
        if !self.is_user {
            return is_of_room(head, &self.target);
        }
        let (acts, is_subject) = (head.actor_id == self.target, head.subject_id == self.target);
        match of_user(head.kind()) {
            By::Actor => acts,
            By::Subject => is_subject,
            By::Both => acts || is_subject,
            By::ActorOrOwner => acts || body.is_some_and(|body| self.is_owner(body)),
            By::Session => {
                let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
                if acts && head.kind() == EventKind::LoggedIn {
                    sessions.insert(head.subject_id.clone());
                }
                sessions.contains(&head.subject_id)
            }
            By::Nobody => false,
        }
    }

    fn is_owner(&self, body: &[u8]) -> bool {
        matches!(decode_content(body), Some(Content::FileShared(shared)) if shared.owner_id == self.target)
    }
}

/// Does what an erasure takes, from its begin to its end. Tells how many bodies it was about.
async fn erase(app: &App, erasure: &Erasure) -> Result<i64, Error> {
    if let Target::User(user) = erasure.target {
        drop_uploads(app, user).await?;
    }
    let whose = Whose::new(erasure.target);
    let keep: Keep = Arc::new(move |head, body| whose.has(head, body));
    let rows = erase_rows(app, i64::MAX, &keep, false).await?;
    app.eraser.hidden.send_modify(|hidden| _ = hidden.insert(erasure.index));
    let files = files_of(app, erasure).await?;
    for file in &files {
        remove_bytes(app, *file).await?;
    }
    settle(app).await?;
    let files = i64::try_from(files.len()).unwrap_or(i64::MAX);
    let finished = Command::FinishErasure {
        erasure: erasure.index,
        rows,
        files,
    };
    app.journal.append(finished).await?;
    Ok(rows)
}

/// Erases the bodies of all rows before `end` that are to be kept by the scan, and what the search index has of them; of old ones those that no
/// hold covers. Tells how many were gone through.
async fn erase_rows(app: &App, end: i64, keep: &Keep, old: bool) -> Result<i64, Error> {
    let (mut next, mut count) = (0, 0);
    loop {
        let (rows, following) = app.reader.scan(next, SCAN.min(end - next), Arc::clone(keep)).await?;
        for page in rows.chunks(AT_ONCE) {
            count += erase_page(app, page, old).await?;
        }
        match following {
            Some(following) if following < end => next = following,
            _ => return Ok(count),
        }
    }
}

async fn erase_page(app: &App, page: &[(EventHead, StoredEvent)], old: bool) -> Result<i64, Error> {
    let rows: Vec<Erased> = page.iter().map(|(head, _)| erased(head)).collect();
    // A file that somebody else sent stays theirs, and is shared here no more.
    let files = rows.iter().filter(|row| row.kind == EventKind::FileShared && !old);
    let shares: Vec<(RoomId, i64)> = files.filter_map(|row| Some((row.room?, row.seq))).collect();
    if !shares.is_empty() {
        app.journal.append(Command::Unshare { shares }).await?;
    }
    let command = Command::EraseBodies {
        rows: rows.clone(),
        old,
    };
    let Outcome::Erased(gone) = app.journal.append(command).await? else {
        return Err(Error::Internal);
    };
    let gone: HashSet<i64> = gone.into_iter().collect();
    let texts = rows.iter().filter(|row| gone.contains(&row.index));
    let places: Vec<(i64, i64)> = app
        .view()
        .read(|state| texts.filter_map(|row| text_place(state, row)).collect());
    if !places.is_empty() {
        app.search.erase(places).await?;
    }
    Ok(i64::try_from(gone.len()).unwrap_or(i64::MAX))
}

/// Where the search index has the text of a row: by the number of the room and the seq of the message.
fn text_place(state: &State, row: &Erased) -> Option<(i64, i64)> {
    let seq = match row.kind {
        EventKind::MessagePosted => row.seq,
        EventKind::MessageEdited => row.target_seq,
        _ => return None,
    };
    Some((state.room(row.room?)?.no, seq))
}

fn erased(head: &EventHead) -> Erased {
    Erased {
        index: head.index,
        time: head.time.as_ref().map_or(0, from_timestamp),
        room: head.room_id.parse().ok(),
        seq: head.seq,
        kind: head.kind(),
        actor: head.actor_id.parse().ok(),
        target_seq: head.target_seq,
    }
}

/// Gives up what a user was sending.
async fn drop_uploads(app: &App, owner: UserId) -> Result<(), Error> {
    loop {
        let next = app
            .view()
            .read(|state| state.files().uploads_of(owner).next().map(|upload| upload.id));
        let Some(id) = next else { return Ok(()) };
        // Who writes it now notices that the session has ended.
        let Some(claim) = app.staging.claim(id) else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        app.journal.append(Command::DropUpload { owner, id }).await?;
        app.background.run(move || claim.remove()).await.map_err(|_| Error::Stopping)?;
    }
}

/// The files whose bytes go, as the row says that began the erasure.
async fn files_of(app: &App, erasure: &Erasure) -> Result<Vec<FileId>, Error> {
    let row = app.reader.row(erasure.begun.ok_or(Error::Internal)?).await?;
    let content = row.and_then(|row| decode_content(&row.body?));
    let Some(Content::ErasureBegun(begun)) = content else {
        return Err(Error::Internal);
    };
    Ok(begun.file_ids.iter().filter_map(|id| id.parse().ok()).collect())
}

async fn remove_bytes(app: &App, file: FileId) -> Result<(), Error> {
    app.blobs.remove(file).await.map_err(|error| {
        tracing::error!(file.id = %file, error = &error as &dyn std::error::Error, "A file's bytes could not be removed");
        Error::Internal
    })
}

/// Leaves nothing in logs of what was taken out of the databases.
async fn settle(app: &App) -> Result<(), Error> {
    while !app.search.settle().await? {
        tokio::time::sleep(PAUSE).await;
    }
    loop {
        match app.journal.append(Command::Settle).await {
            Ok(_) => return Ok(()),
            Err(Error::Busy { .. }) => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(error),
        }
    }
}

async fn run_retention(app: &App) {
    loop {
        for class in CLASSES {
            match apply(app, class).await {
                Ok(0) => {}
                Ok(rows) => tracing::info!(class = class.as_str_name(), rows, "Erased what was kept for its time"),
                Err(Error::Stopping) => return,
                Err(error) => tracing::warn!(class = class.as_str_name(), %error, "Old data could not be erased"),
            }
        }
        let _ = tokio::time::timeout(SELDOM, app.eraser.retention.notified()).await;
    }
}

/// Erases what is older than a class of data is kept. Tells how many bodies.
async fn apply(app: &App, class: RetentionClass) -> Result<i64, Error> {
    let Some(before) = app.view().read(|state| state.record().kept_from(class, now())) else {
        return Ok(0);
    };
    let end = app.reader.first_since(before).await?;
    let rows = match class {
        RetentionClass::Files => old_files(app, before, end).await?,
        _ => old_rows(app, class, before, end).await?,
    };
    if rows > 0 {
        settle(app).await?;
    }
    Ok(rows)
}

/// Erases old bodies of a class. Tells how many.
async fn old_rows(app: &App, class: RetentionClass, before: Micros, end: i64) -> Result<i64, Error> {
    let living = app
        .view()
        .read(|state| state.sessions().map(|session| session.id).collect::<HashSet<SessionId>>());
    let keep: Keep = Arc::new(move |head, body| body.is_some_and(|body| is_old(class, head, body, &living)));
    let (mut next, mut rows) = (0, 0);
    while next < end {
        let (page, following) = app.reader.scan(next, SCAN.min(end - next), Arc::clone(&keep)).await?;
        rows += app.view().read(|state| {
            let page = page.iter().map(|(head, _)| erased(head));
            let free = page.filter(|row| !state.record().is_held(row.actor, row.room, row.time));
            i64::try_from(free.count()).unwrap_or(i64::MAX)
        });
        next = following.unwrap_or(end);
    }
    if rows == 0 {
        return Ok(0);
    }
    // First the row that says so: a body that is gone without one was taken by somebody else.
    let applied = Command::ApplyRetention {
        class,
        before,
        rows,
        files: Vec::new(),
    };
    app.journal.append(applied).await?;
    erase_rows(app, end, &keep, true).await
}

/// Whether a row, which has its body, is of a class. What says where a session is used from stays while it lives.
fn is_old(class: RetentionClass, head: &EventHead, body: &[u8], living: &HashSet<SessionId>) -> bool {
    is_of_class(head.kind(), class)
        && match head.kind() {
            // Only older releases wrote an address there.
            EventKind::UserRegistered => {
                matches!(decode_content(body), Some(Content::UserRegistered(made)) if made.peer.is_some())
            }
            EventKind::LoggedIn | EventKind::SessionSeen | EventKind::SessionEnded => {
                head.subject_id.parse().is_ok_and(|session| !living.contains(&session))
            }
            _ => true,
        }
}

/// Erases files all of whose places are old. Tells how many bodies were theirs.
async fn old_files(app: &App, before: Micros, end: i64) -> Result<i64, Error> {
    let keep: Keep = Arc::new(|head, body| head.kind() == EventKind::FileShared && body.is_some());
    let (mut next, mut old) = (0, Vec::new());
    while next < end {
        let (rows, following) = app.reader.scan(next, SCAN.min(end - next), Arc::clone(&keep)).await?;
        for (head, event) in rows {
            if let Some(Content::FileShared(shared)) = event.body.as_ref().and_then(|body| decode_content(body))
                && let Ok(file) = shared.file_id.parse::<FileId>()
            {
                old.push((file, erased(&head)));
            }
        }
        match following {
            Some(following) => next = following,
            None => break,
        }
    }
    let going: HashSet<FileId> = app.view().read(|state| {
        let places: HashSet<(RoomId, i64)> = old.iter().filter_map(|(_, row)| Some((row.room?, row.seq))).collect();
        let held: HashSet<FileId> = old
            .iter()
            .filter(|(_, row)| state.record().is_held(row.actor, row.room, row.time))
            .map(|(file, _)| *file)
            .collect();
        let files = old.iter().filter_map(|(file, _)| state.files().get(*file));
        let all_old = files.filter(|file| {
            !held.contains(&file.id) && file.shares.iter().all(|share| places.contains(&(share.room, share.seq)))
        });
        all_old.map(|file| file.id).collect()
    });
    if going.is_empty() {
        return Ok(0);
    }
    let rows: Vec<Erased> = old
        .into_iter()
        .filter(|(file, _)| going.contains(file))
        .map(|(_, row)| row)
        .collect();
    let mut files: Vec<FileId> = going.into_iter().collect();
    files.sort_unstable();
    let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    // First they are no files any more: bytes that a crash leaves behind are removed at the next start.
    let applied = Command::ApplyRetention {
        class: RetentionClass::Files,
        before,
        rows: count,
        files: files.clone(),
    };
    app.journal.append(applied).await?;
    for page in rows.chunks(AT_ONCE) {
        let page = page.to_vec();
        app.journal.append(Command::EraseBodies { rows: page, old: false }).await?;
    }
    for file in &files {
        remove_bytes(app, *file).await?;
    }
    Ok(count)
}
