//! Where the bytes of files are kept: whole, verified, named by id, never changed. The seam between a directory and an object store.
//!
//! Names that people gave are unknown here: nothing that a client says becomes a part of a path.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Location;
use object_store::{ObjectStore as _, ObjectStoreExt as _};

use crate::domain::ids::FileId;

/// The directory of files, in the data directory and in a backup.
pub const DIRECTORY: &str = "files";

/// Why bytes cannot be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The disk is full; nothing was stored.
    #[error("the disk is full")]
    Full,
    /// There are no bytes of that id.
    #[error("there are no bytes of this file")]
    Missing,
    /// Reading or writing failed.
    #[error("reading or writing a file's bytes failed")]
    Io(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<io::Error> for BlobError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full,
            ErrorKind::NotFound => Self::Missing,
            _ => Self::Io(Box::new(error)),
        }
    }
}

impl From<object_store::Error> for BlobError {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::Missing,
            other => Self::Io(Box::new(other)),
        }
    }
}

/// Keeps the bytes of files.
pub trait Blobs: Send + Sync + 'static {
    /// Keeps the bytes of the file at `staged`, which are synced and verified, under an id. Once it returns they survive a loss of power. The staged
    /// file stays, for the caller to remove. What was kept under the id before, and is no file yet, is replaced.
    fn adopt(&self, id: FileId, staged: PathBuf) -> BoxFuture<'_, Result<(), BlobError>>;
    /// Reads a range of bytes, which must lie within the file.
    fn read(&self, id: FileId, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, BlobError>>;
    /// Removes the bytes of an id, if there are any.
    fn remove(&self, id: FileId) -> BoxFuture<'_, Result<(), BlobError>>;
    /// The ids of everything that is kept.
    fn list(&self) -> BoxFuture<'_, Result<HashSet<FileId>, BlobError>>;
}

/// Where the bytes of an id are: in one of 1,024 directories, below that of all files.
fn location(id: FileId) -> String {
    let text = id.to_string();
    // The first symbol says that it is a file's id.
    format!("{}/{text}", &text[1..3])
}

/// The path of a file's bytes below the directory of files.
pub fn path_in(directory: &Path, id: FileId) -> PathBuf {
    directory.join(location(id))
}

/// Brings to the disk which files a directory has.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Links a file, whose bytes are on the disk, to where the bytes of an id are below `directory`, and brings that to the disk.
pub(crate) fn link(directory: &Path, id: FileId, staged: &Path) -> io::Result<()> {
    let target = path_in(directory, id);
    let parent = target.parent().unwrap_or(directory);
    match fs::DirBuilder::new().mode(0o700).create(parent) {
        Ok(()) => sync_directory(directory)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    match fs::hard_link(staged, &target) {
        // Left by an attempt whose row was not stored.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::remove_file(&target)?;
            fs::hard_link(staged, &target)?;
        }
        linked => linked?,
    }
    sync_directory(parent)
}

/// Keeps files in a directory.
#[derive(Debug)]
pub struct LocalBlobs {
    directory: PathBuf,
    store: LocalFileSystem,
}

impl LocalBlobs {
    /// Keeps files below `data_dir`, in a directory that only its owner may open.
    pub fn open(data_dir: &Path) -> Result<Self, BlobError> {
        let directory = data_dir.join(DIRECTORY);
        match fs::DirBuilder::new().mode(0o700).create(&directory) {
            Ok(()) => sync_directory(data_dir)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
        let store = LocalFileSystem::new_with_prefix(&directory)?.with_fsync(true);
        Ok(Self { directory, store })
    }
}

impl Blobs for LocalBlobs {
    fn adopt(&self, id: FileId, staged: PathBuf) -> BoxFuture<'_, Result<(), BlobError>> {
        let directory = self.directory.clone();
        let linked = tokio::task::spawn_blocking(move || link(&directory, id, &staged));
        async move { Ok(linked.await.map_err(io::Error::other)??) }.boxed()
    }

    fn read(&self, id: FileId, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, BlobError>> {
        async move { Ok(self.store.get_range(&Location::from(location(id)), range).await?) }.boxed()
    }

    fn remove(&self, id: FileId) -> BoxFuture<'_, Result<(), BlobError>> {
        async move {
            match self.store.delete(&Location::from(location(id))).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(error.into()),
            }
        }
        .boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<HashSet<FileId>, BlobError>> {
        let found = self.store.list(None);
        async move {
            let ids = found.try_filter_map(|object| async move {
                Ok(object.location.filename().and_then(|name| name.parse::<FileId>().ok()))
            });
            Ok(ids.try_collect().await?)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
