//! The directory of files.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::*;

fn staged(directory: &Path, content: &[u8]) -> PathBuf {
    let path = directory.join("staged");
    fs::write(&path, content).expect("it can be written");
    path
}

#[tokio::test]
async fn files_are_kept_by_id_and_read_in_part() -> Result<(), BlobError> {
    let directory = tempfile::tempdir()?;
    let blobs = LocalBlobs::open(directory.path())?;
    let id = FileId::random();
    let path = staged(directory.path(), b"content");
    blobs.adopt(id, path.clone()).await?;
    assert_eq!(fs::read(&path)?, b"content", "the staged file stays");
    assert_eq!(blobs.read(id, 2..5).await?, "nte");
    assert_eq!(blobs.list().await?, HashSet::from([id]));
    let kept = path_in(&directory.path().join(DIRECTORY), id);
    assert_eq!(
        fs::metadata(&kept)?.ino(),
        fs::metadata(&path)?.ino(),
        "not a byte was copied"
    );
    let parent = fs::metadata(kept.parent().expect("it has one"))?;
    assert_eq!(parent.permissions().mode() & 0o777, 0o700);
    // It is still there for the next server.
    drop(blobs);
    assert_eq!(LocalBlobs::open(directory.path())?.read(id, 0..7).await?, "content");
    Ok(())
}

#[tokio::test]
async fn what_was_left_of_an_attempt_is_replaced() -> Result<(), BlobError> {
    let directory = tempfile::tempdir()?;
    let blobs = LocalBlobs::open(directory.path())?;
    let id = FileId::random();
    blobs.adopt(id, staged(directory.path(), b"first")).await?;
    fs::remove_file(directory.path().join("staged"))?;
    blobs.adopt(id, staged(directory.path(), b"second")).await?;
    assert_eq!(blobs.read(id, 0..6).await?, "second");
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_missing_and_can_be_removed() -> Result<(), BlobError> {
    let directory = tempfile::tempdir()?;
    let blobs = LocalBlobs::open(directory.path())?;
    let (id, other) = (FileId::random(), FileId::random());
    blobs.adopt(id, staged(directory.path(), b"x")).await?;
    assert!(matches!(blobs.read(other, 0..1).await, Err(BlobError::Missing)));
    blobs.remove(other).await?;
    blobs.remove(id).await?;
    blobs.remove(id).await?;
    assert!(matches!(blobs.read(id, 0..1).await, Err(BlobError::Missing)));
    let missing = directory.path().join("nowhere");
    assert!(matches!(blobs.adopt(id, missing).await, Err(BlobError::Missing)));
    assert!(blobs.list().await?.is_empty());
    Ok(())
}
