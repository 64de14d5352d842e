//! Brings files and rows together again at start: no row without bytes, no bytes without a row.

use std::collections::HashSet;

use crate::blobs::{BlobError, Blobs};
use crate::domain::command::Command;
use crate::domain::files::{Files, Upload};
use crate::staging::Staging;

/// Removes bytes that belong to no file and no upload, and returns what the journal's writer has to learn: uploads that have lost their bytes are
/// given up, and those that have more than they knew of go on after these.
pub(super) async fn files(files: &Files, blobs: &dyn Blobs, staging: &Staging) -> Result<Vec<Command>, BlobError> {
    let kept = blobs.list().await?;
    for id in kept.iter().filter(|id| files.get(**id).is_none()) {
        tracing::info!(file.id = %id, "Removed the bytes of a file that was never shared");
        blobs.remove(*id).await?;
    }
    for file in files.iter().filter(|file| !kept.contains(&file.id)) {
        tracing::error!(file.id = %file.id, "A file's bytes are missing; restore them from a backup");
    }
    uploads(files, staging)
}

/// The same for uploads.
fn uploads(files: &Files, staging: &Staging) -> Result<Vec<Command>, BlobError> {
    let has_all = staging.has_all_that_was_written();
    let mut whole = HashSet::new();
    let mut found = Vec::new();
    for (id, length) in staging.list()? {
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        let Some(upload) = files.upload(id).filter(|upload| length >= upload.committed) else {
            staging.remove(id);
            continue;
        };
        whole.insert(id);
        if length == upload.committed {
            continue;
        }
        if has_all && length <= upload.size && counts(upload, length, staging) {
            found.push(Command::FindUpload {
                owner: upload.owner,
                id,
                committed: length,
            });
        } else {
            // What may be half on the disk must not be taken for whole by the next start.
            staging.cut(id, upload.committed)?;
        }
    }
    staging.note_boot();
    let lost = files
        .uploads()
        .filter(|upload| upload.committed > 0 && !whole.contains(&upload.id));
    found.extend(lost.map(|upload| Command::DropUpload {
        owner: upload.owner,
        id: upload.id,
    }));
    Ok(found)
}

/// Brings to the disk what the server before had written and not synced. Tells whether that is certain.
fn counts(upload: &Upload, length: i64, staging: &Staging) -> bool {
    match staging.sync(upload.id) {
        Ok(()) => {
            tracing::info!(upload.id = %upload.id, committed = upload.committed, found = length,
                "An upload has more bytes than were noted");
            true
        }
        Err(error) => {
            tracing::warn!(upload.id = %upload.id, %error, "What was written last of an upload is lost");
            false
        }
    }
}

#[cfg(test)]
mod tests;
