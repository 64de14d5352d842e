//! Files that are shared, and uploads on their way. Ids, sizes and places of files are a view of the journal; names and hashes are in its bodies
//! alone. Uploads only overwrite themselves, and are no events: the store keeps them in a table of their own.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use greffe_api::v1::event_body::Content;

use super::clock::Micros;
use super::entry::Entry;
use super::error::Error;
use super::ids::{FileId, RoomId, UserId};
use super::state::State;

/// A file. Its bytes never change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Index of the row that shared it first: how tables name it.
    pub no: i64,
    /// Its id.
    pub id: FileId,
    /// Who sent it.
    pub owner: UserId,
    /// Its bytes.
    pub size: i64,
    /// Where it is shared, oldest first. Nobody reads a file that is shared nowhere; its bytes are kept for the record.
    pub shares: Vec<Share>,
}

/// A place in which a file is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The room.
    pub room: RoomId,
    /// The seq of the event that shared it there.
    pub seq: i64,
}

/// A file on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Its id; also the file's, once it is complete.
    pub id: FileId,
    /// Whose it is.
    pub owner: UserId,
    /// Where it will be shared.
    pub room: RoomId,
    /// The name.
    pub name: String,
    /// The media type; may be empty.
    pub media_type: String,
    /// The bytes that it will have.
    pub size: i64,
    /// The bytes that are on the disk.
    pub committed: i64,
    /// When it was begun.
    pub created: Micros,
    /// When it last got bytes.
    pub used: Micros,
}

/// What an event changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// There is a new file.
    File(FileId),
    /// A file is shared, or no longer shared, by the event of that seq.
    Share(RoomId, i64),
    /// An upload is complete.
    Upload(FileId),
    /// A file is no more; the number of the row that shared it first.
    Gone(i64),
}

/// All files and uploads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    by_id: HashMap<FileId, File>,
    by_owner: HashMap<UserId, BTreeSet<(i64, FileId)>>,
    by_room: HashMap<RoomId, BTreeMap<i64, FileId>>,
    uploads: HashMap<FileId, Upload>,
    uploads_of: HashMap<UserId, BTreeSet<(Micros, FileId)>>,
    /// Bytes of files and uploads, by owner.
    used: HashMap<UserId, i64>,
}

impl Files {
    /// A file, whoever asks.
    pub fn get(&self, id: FileId) -> Option<&File> {
        self.by_id.get(&id)
    }

    /// All files, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &File> {
        self.by_id.values()
    }

    /// Files that a user sent, oldest first, those that are shared nowhere included.
    pub fn of_owner(&self, owner: UserId) -> impl Iterator<Item = &File> {
        let own = self.by_owner.get(&owner).into_iter().flatten();
        own.filter_map(|(_, id)| self.by_id.get(id))
    }

    /// Files that are shared in a room by events from `first_seq` on, in the order of these.
    pub fn in_room(&self, room: RoomId, first_seq: i64) -> impl Iterator<Item = &File> {
        let shared = self
            .by_room
            .get(&room)
            .into_iter()
            .flat_map(move |files| files.range(first_seq..));
        shared.filter_map(|(_, id)| self.by_id.get(id))
    }

    /// The file that an event of a room shares.
    pub fn shared_by(&self, room: RoomId, seq: i64) -> Option<&File> {
        self.by_room.get(&room)?.get(&seq).and_then(|id| self.by_id.get(id))
    }

    /// An upload, whoever asks.
    pub fn upload(&self, id: FileId) -> Option<&Upload> {
        self.uploads.get(&id)
    }

    /// All uploads, in no order.
    pub fn uploads(&self) -> impl Iterator<Item = &Upload> {
        self.uploads.values()
    }

    /// A user's uploads, oldest first.
    pub fn uploads_of(&self, owner: UserId) -> impl Iterator<Item = &Upload> {
        let own = self.uploads_of.get(&owner).into_iter().flatten();
        own.filter_map(|(_, id)| self.uploads.get(id))
    }

    /// How many uploads a user has.
    pub fn upload_count_of(&self, owner: UserId) -> usize {
        self.uploads_of.get(&owner).map_or(0, BTreeSet::len)
    }

    /// Bytes of all files, those included that were taken away and are kept for the record.
    pub fn bytes(&self) -> i64 {
        self.by_id.values().map(|file| file.size).sum()
    }

    /// Bytes that count for a user's quota: of all files that they sent, and those that their uploads will have.
    pub fn bytes_of(&self, owner: UserId) -> i64 {
        self.used.get(&owner).copied().unwrap_or(0)
    }

    /// Whether files and their places are the same. Uploads are no events, and are not compared.
    pub fn has_same_record(&self, other: &Self) -> bool {
        // Who has which file, and what is in which room, follows from the files.
        self.by_id == other.by_id
    }

    /// Takes in what a table holds, at start; shares come afterwards.
    pub fn load(&mut self, file: File) {
        *self.used.entry(file.owner).or_insert(0) += file.size;
        self.by_owner.entry(file.owner).or_default().insert((file.no, file.id));
        self.by_id.insert(file.id, file);
    }

    /// Takes in what a table holds, at start, in the order of the rows that shared; the file is there already.
    pub fn load_share(&mut self, id: FileId, share: Share) {
        if let Some(file) = self.by_id.get_mut(&id) {
            file.shares.push(share);
            self.by_room.entry(share.room).or_default().insert(share.seq, id);
        }
    }

    /// An upload is begun, or went on.
    pub fn set_upload(&mut self, upload: Upload) {
        self.drop_upload(upload.id);
        *self.used.entry(upload.owner).or_insert(0) += upload.size;
        self.uploads_of
            .entry(upload.owner)
            .or_default()
            .insert((upload.created, upload.id));
        self.uploads.insert(upload.id, upload);
    }

    /// An upload is no more. Tells whether there was one.
    pub fn drop_upload(&mut self, id: FileId) -> bool {
        let Some(upload) = self.uploads.remove(&id) else {
            return false;
        };
        if let Some(used) = self.used.get_mut(&upload.owner) {
            *used -= upload.size;
        }
        if let Some(own) = self.uploads_of.get_mut(&upload.owner) {
            own.remove(&(upload.created, id));
            if own.is_empty() {
                self.uploads_of.remove(&upload.owner);
            }
        }
        true
    }

    /// Files whose bytes are erased are no more, and shared nowhere.
    pub fn erase(&mut self, ids: impl IntoIterator<Item = FileId>) -> Vec<Change> {
        let mut changes = Vec::new();
        for id in ids {
            let Some(file) = self.by_id.remove(&id) else { continue };
            for share in file.shares {
                if let Some(files) = self.by_room.get_mut(&share.room) {
                    files.remove(&share.seq);
                }
                changes.push(Change::Share(share.room, share.seq));
            }
            if let Some(used) = self.used.get_mut(&file.owner) {
                *used -= file.size;
            }
            if let Some(own) = self.by_owner.get_mut(&file.owner) {
                own.remove(&(file.no, id));
            }
            changes.push(Change::Gone(file.no));
        }
        changes
    }

    /// Takes in an event of a room, and says what it changed.
    pub fn apply(&mut self, entry: &Entry, room: RoomId) -> Vec<Change> {
        match &entry.draft.content {
            Content::FileShared(shared) => {
                let (Ok(id), Ok(owner)) = (shared.file_id.parse(), shared.owner_id.parse()) else {
                    return Vec::new();
                };
                let mut changes = Vec::new();
                if self.drop_upload(id) {
                    changes.push(Change::Upload(id));
                }
                if !self.by_id.contains_key(&id) {
                    self.load(File {
                        no: entry.index,
                        id,
                        owner,
                        size: shared.size,
                        shares: Vec::new(),
                    });
                    changes.push(Change::File(id));
                }
                self.load_share(id, Share { room, seq: entry.seq });
                changes.push(Change::Share(room, entry.seq));
                changes
            }
            Content::FileRemoved(_) => {
                let seq = entry.draft.target_seq;
                let Some(id) = self.by_room.get_mut(&room).and_then(|files| files.remove(&seq)) else {
                    return Vec::new();
                };
                if let Some(file) = self.by_id.get_mut(&id) {
                    file.shares.retain(|share| *share != Share { room, seq });
                }
                vec![Change::Share(room, seq)]
            }
            _ => Vec::new(),
        }
    }
}

/// Whether a user is in a room, and may read its event `seq`.
fn sees(state: &State, user: UserId, share: Share) -> bool {
    let place = state.room(share.room).and_then(|room| state.member(room, user));
    place.is_some_and(|member| member.role.is_in() && share.seq >= member.first_seq)
}

/// A file that a user may read: they sent it, or are in a room that it is shared in and may read the event that shared it.
pub fn readable(state: &State, user: UserId, id: FileId) -> Option<&File> {
    let file = state.files().get(id)?;
    let may_read = file.shares.iter().any(|share| file.owner == user || sees(state, user, *share));
    may_read.then_some(file)
}

/// Refuses what is not to be done with a file that an operator withholds.
///
/// # Errors
/// [`Error::FileQuarantined`].
pub fn not_quarantined(state: &State, id: FileId) -> Result<(), Error> {
    match state.standing().why_quarantined(id) {
        Some(_) => Err(Error::FileQuarantined),
        None => Ok(()),
    }
}

/// The places of a file that a user may know of.
pub fn visible_shares(state: &State, user: UserId, file: &File) -> Vec<Share> {
    file.shares.iter().copied().filter(|share| sees(state, user, *share)).collect()
}

#[cfg(test)]
mod tests;
