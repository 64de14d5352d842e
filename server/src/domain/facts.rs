//! What a command needs to know that the state does not hold: earlier answers, messages, reactions, passwords. Read from the store within the
//! transaction, for a whole batch at once.

use std::collections::HashMap;

use bytes::Bytes;
use greffe_api::v1::RoomKind;
use greffe_api::v1::event_body::Content;

use super::clock::Micros;
use super::entry::{Aside, Entry};
use super::ids::{IdMap, RequestKey, RoomId, UserId};

/// Whether there is something that somebody did in a room within some time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Trace {
    /// The numbers of the users whose acts count; empty: anybody's.
    pub users: Vec<i64>,
    /// The number of the room.
    pub room: i64,
    /// From when on.
    pub from: Option<Micros>,
    /// Before when.
    pub to: Option<Micros>,
}

/// What is to be read.
#[derive(Debug, Default)]
pub struct Needs {
    /// Requests that may have been answered.
    pub requests: Vec<RequestKey>,
    /// Messages, by room, number of the room, and seq.
    pub messages: Vec<(RoomId, i64, i64)>,
    /// Someone's reactions to a message, by room, number of the room, seq, user and number of the user.
    pub reactions: Vec<(RoomId, i64, i64, UserId, i64)>,
    /// Password hashes, by user and number of the user.
    pub passwords: Vec<(UserId, i64)>,
    /// Read marks, by user, number of the user, room and number of the room.
    pub read_marks: Vec<(UserId, i64, RoomId, i64)>,
    /// Rows of the journal.
    pub rows: Vec<i64>,
    /// Rows of the journal whose contents are needed.
    pub contents: Vec<i64>,
    /// Traces that may be there. Seldom any: each is sought through a whole room.
    pub traces: Vec<Trace>,
}

impl Needs {
    /// Leaves each thing to be read once, however many commands of a batch need it.
    pub fn dedup(&mut self) {
        fn once<T: Ord>(things: &mut Vec<T>) {
            things.sort_unstable();
            things.dedup();
        }
        once(&mut self.messages);
        once(&mut self.reactions);
        once(&mut self.passwords);
        once(&mut self.read_marks);
        once(&mut self.rows);
        once(&mut self.contents);
        once(&mut self.traces);
    }
}

/// A row of the journal, as far as a repeated answer needs it.
#[derive(Debug, Clone)]
pub struct RowFact {
    /// Its head's bytes.
    pub head: Bytes,
    /// Its room.
    pub room: Option<RoomId>,
    /// Its seq, or 0.
    pub seq: i64,
    /// Its salt. None once the body is erased: what was asked can then no longer be compared.
    pub salt: Option<[u8; 16]>,
}

/// A request that was answered.
#[derive(Debug, Clone)]
pub struct Answered {
    /// The row that it made.
    pub index: i64,
    /// Digest of what it asked, salted with the row's salt.
    pub digest: [u8; 32],
    /// The row itself.
    pub row: RowFact,
}

/// A message.
#[derive(Debug, Clone, Copy)]
pub struct MessageFact {
    /// Who wrote it.
    pub author: UserId,
    /// Whether it was deleted.
    pub deleted: bool,
    /// The row with its current text.
    pub text_index: i64,
}

/// A reaction that stands.
#[derive(Debug, Clone)]
pub struct ReactionFact {
    /// Seq of the event that added it.
    pub seq: i64,
    /// With what.
    pub emoji: String,
}

/// What was read, together with what the batch itself added.
#[derive(Debug, Default)]
pub struct Facts {
    /// Requests that were answered.
    pub requests: IdMap<RequestKey, Answered>,
    /// Messages that exist.
    pub messages: IdMap<(RoomId, i64), MessageFact>,
    /// Reactions to messages, by who reacted.
    pub reactions: IdMap<(RoomId, i64, UserId), Vec<ReactionFact>>,
    /// How many reactions messages have.
    pub reaction_counts: IdMap<(RoomId, i64), usize>,
    /// Password hashes.
    pub passwords: IdMap<UserId, String>,
    /// Read marks.
    pub read_marks: IdMap<(UserId, RoomId), i64>,
    /// Rows of the journal.
    pub rows: IdMap<i64, RowFact>,
    /// What rows of the journal say; none of one that is erased.
    pub contents: IdMap<i64, Content>,
    /// Whether there are traces, of those that were sought.
    pub traces: HashMap<Trace, bool>,
}

impl Facts {
    /// Takes in what the batch itself adds, so that later commands of the same batch see it.
    pub fn note(&mut self, entry: &Entry, row: &RowFact) {
        let draft = &entry.draft;
        if let (Some(room), Some(actor)) = (draft.room, draft.actor) {
            let target = (room, draft.target_seq);
            match &draft.content {
                Content::MessagePosted(_) => {
                    self.messages.insert(
                        (room, entry.seq),
                        MessageFact {
                            author: actor,
                            deleted: false,
                            text_index: entry.index,
                        },
                    );
                }
                Content::MessageEdited(_) => {
                    if let Some(message) = self.messages.get_mut(&target) {
                        message.text_index = entry.index;
                    }
                }
                Content::MessageDeleted(_) => {
                    if let Some(message) = self.messages.get_mut(&target) {
                        message.deleted = true;
                    }
                }
                Content::ReactionAdded(added) => {
                    let reaction = ReactionFact {
                        seq: entry.seq,
                        emoji: added.emoji.clone(),
                    };
                    self.reactions
                        .entry((room, draft.target_seq, actor))
                        .or_default()
                        .push(reaction);
                    *self.reaction_counts.entry(target).or_default() += 1;
                }
                Content::ReactionRemoved(_) => {
                    let own = self.reactions.get_mut(&(room, draft.target_seq, actor));
                    if let (Some(own), Some(Aside::TakesBack(seq))) = (own, &draft.aside) {
                        own.retain(|reaction| reaction.seq != *seq);
                    }
                    if let Some(count) = self.reaction_counts.get_mut(&target) {
                        *count = count.saturating_sub(1);
                    }
                }
                Content::RoomCreated(created) if created.kind() == RoomKind::Direct => {
                    self.rows.insert(entry.index, row.clone());
                }
                Content::FileShared(_) => {
                    self.contents.insert(entry.index, draft.content.clone());
                }
                _ => {}
            }
        }
        match (draft.subject.user(), &draft.aside) {
            (Some(user), Some(Aside::Password(password))) => _ = self.passwords.insert(user, password.clone()),
            // A password that is reset is void.
            (Some(user), Some(Aside::Code(_))) => _ = self.passwords.remove(&user),
            _ => {}
        }
    }
}
