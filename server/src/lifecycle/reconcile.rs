//! Brings files and rows together again at start: no row without bytes, no bytes without a row.

use crate::blobs::{BlobError, Blobs};
use crate::domain::ids::{FileId, UserId};
use crate::domain::state::State;
use crate::staging::Staging;

/// Removes bytes that belong to no file and no upload, and returns the uploads whose bytes are lost: they are to be given up.
///
/// Bytes behind what an upload has are cut off when it goes on.
pub(super) async fn files(
    state: &State,
    blobs: &dyn Blobs,
    staging: &Staging,
) -> Result<Vec<(UserId, FileId)>, BlobError> {
    let files = state.files();
    let kept = blobs.list().await?;
    for id in kept.iter().filter(|id| files.get(**id).is_none()) {
        tracing::info!(file.id = %id, "Removed the bytes of a file that was never shared");
        blobs.remove(*id).await?;
    }
    for file in files.iter().filter(|file| !kept.contains(&file.id)) {
        tracing::error!(file.id = %file.id, "A file's bytes are missing; restore them from a backup");
    }
    let mut whole = std::collections::HashSet::new();
    for (id, length) in staging.list()? {
        let has_all = |committed: i64| u64::try_from(committed).is_ok_and(|committed| length >= committed);
        if files.upload(id).is_some_and(|upload| has_all(upload.committed)) {
            whole.insert(id);
        } else {
            staging.remove(id);
        }
    }
    let lost = files
        .uploads()
        .filter(|upload| upload.committed > 0 && !whole.contains(&upload.id));
    Ok(lost.map(|upload| (upload.owner, upload.id)).collect())
}
