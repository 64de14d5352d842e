//! Random interleavings of writing, noting, completing and crashing, against a model of what must be there.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::blobs::LocalBlobs;
use crate::domain::files::File;
use crate::domain::ids::{FileId, RoomId, UserId};
use crate::staging::Writing;

/// Uploads in a run.
const UPLOADS: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    /// Begins an upload of so many bytes, unless it is there or complete.
    Begin(usize, usize),
    /// Writes so many bytes.
    Write(usize, usize),
    /// Brings to the disk, and notes, what was written.
    Commit(usize),
    /// Completes an upload that is whole, up to the second or third of its steps: bytes, row, and the end of what was staged.
    Complete(usize, usize),
    /// Somebody takes the bytes of an upload away, as a restore does.
    Lose(usize),
    /// The server is killed and starts again; the machine too, if so, and then of what was not synced so many bytes are left, and wrong.
    Crash(Option<usize>),
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..UPLOADS;
    prop_oneof![
        3 => (which.clone(), 0_usize..3000).prop_map(|(which, size)| Step::Begin(which, size)),
        6 => (which.clone(), 1_usize..1500).prop_map(|(which, bytes)| Step::Write(which, bytes)),
        3 => which.clone().prop_map(Step::Commit),
        3 => (which.clone(), 1_usize..=3).prop_map(|(which, steps)| Step::Complete(which, steps)),
        1 => which.prop_map(Step::Lose),
        2 => proptest::option::of(0_usize..1500).prop_map(Step::Crash),
    ]
}

/// The bytes of an upload.
fn content(which: usize, size: usize) -> Vec<u8> {
    let bytes = (0..size).map(|at| (at * 7 + which * 31 + at / 251).to_le_bytes()[0]);
    bytes.collect()
}

fn signed(length: usize) -> i64 {
    i64::try_from(length).expect("it is small")
}

fn unsigned(length: i64) -> usize {
    usize::try_from(length).expect("it is no less than 0")
}

/// A data directory, its rows, and what is known of them.
struct World {
    directory: tempfile::TempDir,
    rows: Files,
    ids: Vec<FileId>,
    owner: UserId,
    room: RoomId,
    staging: std::sync::Arc<Staging>,
    writing: HashMap<usize, Writing>,
    /// Bytes in the staged files.
    written: HashMap<usize, usize>,
    boots: usize,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        Self {
            staging: open(directory.path(), 0),
            directory,
            rows: Files::default(),
            ids: (0..UPLOADS).map(|_| FileId::random()).collect(),
            owner: UserId::random(),
            room: RoomId::random(),
            writing: HashMap::new(),
            written: HashMap::new(),
            boots: 0,
        }
    }

    fn upload(&self, which: usize) -> Option<Upload> {
        self.rows.upload(self.ids[which]).cloned()
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Begin(which, size) => {
                if self.upload(which).is_none() && self.rows.get(self.ids[which]).is_none() {
                    self.rows.set_upload(Upload {
                        id: self.ids[which],
                        owner: self.owner,
                        room: self.room,
                        name: "x".into(),
                        media_type: String::new(),
                        size: signed(size),
                        committed: 0,
                        created: 0,
                        used: 0,
                    });
                    self.written.insert(which, 0);
                }
            }
            Step::Write(which, bytes) => {
                let Some(upload) = self.upload(which) else { return };
                let writing = self.writing.entry(which).or_insert_with(|| {
                    let claim = self.staging.claim(upload.id).expect("nobody else has it");
                    claim.open(upload.committed).expect("the bytes that count are there")
                });
                let from = unsigned(writing.offset());
                let to = unsigned(upload.size).min(from + bytes);
                let whole = content(which, unsigned(upload.size));
                writing.write(&whole[from..to]).expect("there is room");
                self.written.insert(which, to);
            }
            Step::Commit(which) => {
                if let (Some(upload), Some(writing)) = (self.upload(which), self.writing.get(&which)) {
                    writing.syncing().run().expect("it can be synced");
                    self.rows.set_upload(Upload {
                        committed: writing.offset(),
                        ..upload
                    });
                }
            }
            Step::Complete(which, steps) => self.complete(which, steps).await,
            Step::Lose(which) => {
                if self.upload(which).is_some() {
                    self.writing.remove(&which);
                    self.staging.remove(self.ids[which]);
                    self.written.insert(which, 0);
                    self.crash(None).await;
                }
            }
            Step::Crash(left) => self.crash(left).await,
        }
    }

    async fn complete(&mut self, which: usize, steps: usize) {
        let Some(upload) = self.upload(which) else { return };
        if upload.committed != upload.size || upload.size == 0 {
            return;
        }
        self.writing.remove(&which);
        let claim = self.staging.claim(upload.id).expect("nobody else has it");
        let hash = claim.hash(upload.size).expect("it can be read");
        assert_eq!(
            hash,
            crate::domain::ids::sha256(&[&content(which, unsigned(upload.size))])
        );
        self.blobs().adopt(upload.id, claim.path()).await.expect("it can be linked");
        if steps > 1 {
            self.rows.drop_upload(upload.id);
            self.rows.load(File {
                no: signed(which),
                id: upload.id,
                owner: self.owner,
                size: upload.size,
                shares: Vec::new(),
            });
        }
        if steps > 2 {
            claim.remove();
        }
    }

    fn blobs(&self) -> LocalBlobs {
        LocalBlobs::open(self.directory.path()).expect("it can be opened")
    }

    async fn crash(&mut self, left: Option<usize>) {
        self.writing.clear();
        if let Some(left) = left {
            self.boots += 1;
            for upload in self.rows.uploads() {
                let path = self.staging.path(upload.id);
                let Ok(bytes) = fs::read(&path) else { continue };
                let (kept, unsynced) = bytes.split_at(unsigned(upload.committed).min(bytes.len()));
                let wrong = vec![0; left.min(unsynced.len())];
                fs::write(&path, [kept, &wrong].concat()).expect("it can be written");
            }
        }
        self.staging = open(self.directory.path(), self.boots);
        let before: HashMap<FileId, i64> = self.rows.uploads().map(|upload| (upload.id, upload.committed)).collect();
        let learnt = files(&self.rows, &self.blobs(), &self.staging)
            .await
            .expect("it can be put in order");
        for command in learnt {
            match command {
                Command::FindUpload { owner, id, committed } => {
                    assert_eq!(owner, self.owner);
                    let upload = self.rows.upload(id).cloned().expect("it is one");
                    self.rows.set_upload(Upload { committed, ..upload });
                }
                Command::DropUpload { owner, id } => {
                    assert_eq!(owner, self.owner);
                    assert!(self.rows.drop_upload(id));
                }
                other => panic!("{other:?}"),
            }
        }
        for which in 0..UPLOADS {
            if let Some(upload) = self.upload(which) {
                let expected = match left {
                    // All that was written is there.
                    None => signed(self.written[&which]),
                    Some(_) => before[&upload.id],
                };
                assert_eq!(upload.committed, expected);
                self.written.insert(which, unsigned(upload.committed));
            }
        }
        self.agrees().await;
    }

    /// No row is without bytes, and no bytes are without a row.
    async fn agrees(&self) {
        let staged: HashMap<FileId, u64> = self.staging.list().expect("it can be read").into_iter().collect();
        let kept = self.blobs().list().await.expect("it can be read");
        assert_eq!(kept, self.rows.iter().map(|file| file.id).collect::<HashSet<_>>());
        for (id, length) in &staged {
            let upload = self.rows.upload(*id).expect("staged bytes are an upload's");
            assert_eq!(i64::try_from(*length), Ok(upload.committed));
        }
        for (which, id) in self.ids.iter().enumerate() {
            if let Some(upload) = self.rows.upload(*id) {
                let bytes = fs::read(self.staging.path(*id)).unwrap_or_default();
                assert!(bytes == content(which, unsigned(upload.size))[..unsigned(upload.committed)]);
            }
            if let Some(file) = self.rows.get(*id) {
                let size = u64::try_from(file.size).expect("it is no less than 0");
                let bytes = self.blobs().read(*id, 0..size).await.expect("it can be read");
                assert!(bytes == content(which, unsigned(file.size)));
            }
        }
    }
}

fn open(directory: &Path, boot: usize) -> std::sync::Arc<Staging> {
    let boot = Some(format!("boot {boot}"));
    std::sync::Arc::new(Staging::open_in(directory, boot).expect("it can be opened"))
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_interrupted_rows_and_bytes_agree_after_each_start(steps in proptest::collection::vec(step(), 1..60)) {
        run(async {
            let mut world = World::new();
            // The first start notes in which start of the machine it is.
            world.crash(None).await;
            for step in steps {
                world.take(step).await;
            }
            world.crash(None).await;
        });
    }
}

#[test]
fn without_knowing_the_start_of_the_machine_only_what_was_noted_counts() {
    run(async {
        for id in [None, Some("another")] {
            let mut world = World::new();
            world.crash(None).await;
            world.take(Step::Begin(0, 2000)).await;
            world.take(Step::Write(0, 500)).await;
            world.take(Step::Commit(0)).await;
            world.take(Step::Write(0, 500)).await;
            world.writing.clear();
            let staging = Staging::open_in(world.directory.path(), id.map(str::to_owned)).expect("it can be opened");
            let learnt = files(&world.rows, &world.blobs(), &staging)
                .await
                .expect("it can be put in order");
            assert!(learnt.is_empty(), "{learnt:?}");
            assert_eq!(staging.list().expect("it can be read"), [(world.ids[0], 500)]);
            assert_eq!(staging.has_all_that_was_written(), id.is_some());
        }
    });
}
