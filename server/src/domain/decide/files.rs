//! Files: reserving room for them, sharing them, taking them away.

use greffe_api::v1::event_body::Content;
use greffe_api::v1::{FileRemoved, FileShared};

use super::{Answer, Context, Decision, FileLimits, Overwrite, live_session, permissions};
use crate::domain::caller::Caller;
use crate::domain::command::NewFile;
use crate::domain::entry::Draft;
use crate::domain::error::Error;
use crate::domain::files::{Share, Upload, readable, visible_shares};
use crate::domain::ids::{FileId, RoomId, UserId};
use crate::domain::state::{Role, State};

/// Rooms that one file can be shared in.
const SHARES: usize = 100;

/// Refuses who may not send a file of `size` bytes to `room` now.
pub(crate) fn may_upload(
    state: &State,
    limits: FileLimits,
    user: UserId,
    room: RoomId,
    size: i64,
) -> Result<(), Error> {
    permissions::writer(state, user, room)?;
    let limit = limits.file_bytes;
    if size > limit {
        return Err(Error::FileTooLarge { limit });
    }
    let (taken, limit) = (state.files().bytes_of(user), limits.file_quota_bytes);
    if taken.saturating_add(size) > limit {
        return Err(Error::FileQuotaExceeded { used: taken, limit });
    }
    Ok(())
}

pub(super) fn create_upload(
    context: &Context<'_>,
    caller: &Caller,
    id: FileId,
    new: &NewFile,
) -> Result<Decision, Error> {
    live_session(context, caller)?;
    let files = context.state.files();
    if let Some(upload) = files.upload(id) {
        let same = (upload.room, upload.size) == (new.room, new.size)
            && (upload.name.as_str(), upload.media_type.as_str()) == (new.name.as_str(), new.media_type.as_str());
        if !same {
            return Err(Error::RequestIdReused { room: None, seq: 0 });
        }
        return Ok(Decision::events(Vec::new(), Answer::Upload(Box::new(upload.clone()))));
    }
    if files.get(id).is_some() {
        return Err(Error::UploadNotFound);
    }
    context
        .rules
        .rate
        .check(caller.user)
        .map_err(|retry_after| Error::RateLimited { retry_after })?;
    may_upload(context.state, context.rules.files, caller.user, new.room, new.size)?;
    let limit = context.rules.uploads_per_user;
    if files.upload_count_of(caller.user) >= limit {
        return Err(Error::TooMany {
            what: "uploads of yours that are not complete",
            limit,
        });
    }
    let upload = Upload {
        id,
        owner: caller.user,
        room: new.room,
        name: new.name.as_str().into(),
        media_type: new.media_type.as_str().into(),
        size: new.size,
        committed: 0,
        created: context.now,
        used: context.now,
    };
    Ok(set(upload))
}

fn set(upload: Upload) -> Decision {
    let answer = Answer::Upload(Box::new(upload.clone()));
    Decision::overwrite(Overwrite::Upload(Box::new(upload)), answer)
}

/// An upload of a user.
fn own<'a>(context: &Context<'a>, owner: UserId, id: FileId) -> Result<&'a Upload, Error> {
    let upload = context.state.files().upload(id).filter(|upload| upload.owner == owner);
    upload.ok_or(Error::UploadNotFound)
}

pub(super) fn note_upload(
    context: &Context<'_>,
    caller: &Caller,
    id: FileId,
    committed: i64,
) -> Result<Decision, Error> {
    live_session(context, caller)?;
    let upload = own(context, caller.user, id)?;
    Ok(set(Upload {
        used: context.now,
        ..grown(upload, committed)?
    }))
}

/// What was found at start is of before: the upload's last use is what it was.
pub(super) fn find_upload(context: &Context<'_>, owner: UserId, id: FileId, committed: i64) -> Result<Decision, Error> {
    Ok(set(grown(own(context, owner, id)?, committed)?))
}

/// An upload with more bytes; never with fewer.
fn grown(upload: &Upload, committed: i64) -> Result<Upload, Error> {
    if committed > upload.size {
        return Err(Error::FileTooLarge { limit: upload.size });
    }
    Ok(Upload {
        committed: committed.max(upload.committed),
        ..upload.clone()
    })
}

pub(super) fn drop_upload(context: &Context<'_>, owner: UserId, id: FileId) -> Result<Decision, Error> {
    own(context, owner, id)?;
    Ok(Decision::overwrite(Overwrite::UploadGone(id), Answer::Done))
}

pub(super) fn complete_upload(
    context: &Context<'_>,
    caller: &Caller,
    id: FileId,
    sha256: &[u8; 32],
) -> Result<Decision, Error> {
    let upload = own(context, caller.user, id)?;
    if upload.committed != upload.size {
        return Err(Error::UploadIncomplete {
            committed: upload.committed,
            size: upload.size,
        });
    }
    permissions::writer(context.state, caller.user, upload.room)?;
    Ok(shared(
        caller,
        upload.room,
        FileShared {
            file_id: id.to_string(),
            name: upload.name.clone(),
            size: upload.size,
            sha256: sha256.to_vec().into(),
            media_type: upload.media_type.clone(),
            owner_id: caller.user.to_string(),
        },
    ))
}

pub(super) fn upload_file(
    context: &Context<'_>,
    caller: &Caller,
    id: FileId,
    new: &NewFile,
    sha256: &[u8; 32],
) -> Result<Decision, Error> {
    let files = context.state.files();
    // The request was forgotten, or an upload was begun under its id.
    if files.get(id).is_some() || files.upload(id).is_some() {
        return Err(Error::RequestIdReused { room: None, seq: 0 });
    }
    may_upload(context.state, context.rules.files, caller.user, new.room, new.size)?;
    Ok(shared(
        caller,
        new.room,
        FileShared {
            file_id: id.to_string(),
            name: new.name.as_str().into(),
            size: new.size,
            sha256: sha256.to_vec().into(),
            media_type: new.media_type.as_str().into(),
            owner_id: caller.user.to_string(),
        },
    ))
}

fn shared(caller: &Caller, room: RoomId, file: FileShared) -> Decision {
    Decision::event(Draft::in_room(room, caller.user, Content::FileShared(file)))
}

pub(super) fn share(context: &Context<'_>, caller: &Caller, id: FileId, room: RoomId) -> Result<Decision, Error> {
    let file = readable(context.state, caller.user, id).ok_or(Error::FileNotFound)?;
    let (room, _) = permissions::writer(context.state, caller.user, room)?;
    if file.shares.iter().any(|share| share.room == room.id) {
        return Err(Error::AlreadyShared);
    }
    if file.shares.len() >= SHARES {
        return Err(Error::TooMany {
            what: "rooms that the file is shared in",
            limit: SHARES,
        });
    }
    // Once the body is erased, nothing is left to describe the file with.
    match context.facts.contents.get(&file.no) {
        Some(Content::FileShared(described)) => Ok(shared(caller, room.id, described.clone())),
        _ => Err(Error::FileNotFound),
    }
}

pub(super) fn delete(
    context: &Context<'_>,
    caller: &Caller,
    id: FileId,
    room: Option<RoomId>,
) -> Result<Decision, Error> {
    let file = readable(context.state, caller.user, id).ok_or(Error::FileNotFound)?;
    let is_owner = file.owner == caller.user;
    let going: Vec<Share> = match room {
        None if is_owner => file.shares.clone(),
        None => return Err(Error::RoleTooLow { needed: "its owner" }),
        Some(room) => {
            let here = |share: &Share| share.room == room;
            let known = if is_owner {
                file.shares.clone()
            } else {
                visible_shares(context.state, caller.user, file)
            };
            let share = known.into_iter().find(here).ok_or(Error::FileNotFound)?;
            if !is_owner {
                let (_, member) = permissions::member(context.state, caller.user, room)?;
                permissions::at_least(member, Role::Moderator)?;
            }
            vec![share]
        }
    };
    // Also where the room is archived: its owner can always take a file away.
    let drafts = going.into_iter().map(|share| {
        let removed = FileRemoved {
            file_id: id.to_string(),
        };
        Draft::in_room(share.room, caller.user, Content::FileRemoved(removed)).on(share.seq)
    });
    Ok(Decision::events(drafts.collect(), Answer::Receipt))
}
