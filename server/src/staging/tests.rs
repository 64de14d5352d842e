//! One upload by itself. Many of them, with crashes, are in `lifecycle/reconcile/tests.rs`.

use super::*;
use crate::domain::ids::sha256;

fn staging() -> (tempfile::TempDir, Arc<Staging>) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let staging = Staging::open(directory.path()).expect("it can be opened");
    (directory, Arc::new(staging))
}

fn claim(staging: &Arc<Staging>, id: FileId) -> Claim {
    staging.claim(id).expect("nobody has it")
}

#[test]
fn an_upload_is_claimed_by_one_at_a_time() {
    let (_directory, staging) = staging();
    let (one, other) = (FileId::random(), FileId::random());
    let claimed = claim(&staging, one);
    assert!(staging.claim(one).is_none());
    claim(&staging, other);
    let writing = claimed.open(0).expect("it can be opened");
    assert!(staging.claim(one).is_none(), "who writes it has it");
    drop(writing);
    claim(&staging, one);
}

#[test]
fn what_was_not_noted_is_cut_off_when_it_goes_on_and_the_hash_is_of_what_counts() -> io::Result<()> {
    let (directory, staging) = staging();
    let id = FileId::random();
    let mut writing = claim(&staging, id).open(0)?;
    writing.write(b"abc")?;
    writing.write(b"wrong")?;
    drop(writing);
    let mut writing = claim(&staging, id).open(3)?;
    assert_eq!(fs::read(staging.path(id))?, b"abc");
    writing.write(b"def")?;
    writing.syncing().run()?;
    writing.keep_hash();
    drop(writing);
    assert_eq!(claim(&staging, id).hash(6)?, sha256(&[b"abcdef"]));
    // The same without anything that is remembered.
    let again = Arc::new(Staging::open(directory.path())?);
    assert_eq!(claim(&again, id).hash(6)?, sha256(&[b"abcdef"]));
    assert!(claim(&again, id).hash(7).is_err(), "bytes are missing");
    assert!(claim(&again, id).open(7).is_err(), "bytes are missing");
    Ok(())
}

#[test]
fn a_hash_that_was_kept_goes_on() -> io::Result<()> {
    let (_directory, staging) = staging();
    let id = FileId::random();
    for (offset, part) in [(0, "ab"), (2, "cd"), (4, "ef")] {
        let mut writing = claim(&staging, id).open(offset)?;
        writing.write(part.as_bytes())?;
        writing.keep_hash();
    }
    // It is not read again: the file may be what it likes.
    fs::write(staging.path(id), "wrong!")?;
    assert_eq!(claim(&staging, id).hash(6)?, sha256(&[b"abcdef"]));
    Ok(())
}

#[test]
fn an_empty_file_has_a_file_and_a_hash() -> io::Result<()> {
    let (_directory, staging) = staging();
    let id = FileId::random();
    assert_eq!(claim(&staging, id).hash(0)?, sha256(&[b""]));
    assert_eq!(staging.list()?, [(id, 0)]);
    Ok(())
}

#[test]
fn a_whole_file_replaces_what_was_there_and_can_be_removed_twice() -> io::Result<()> {
    let (_directory, staging) = staging();
    let id = FileId::random();
    let claimed = claim(&staging, id);
    claimed.write_whole(b"longer than the next")?;
    claimed.write_whole(b"short")?;
    assert_eq!(fs::read(claimed.path())?, b"short");
    claimed.remove();
    claimed.remove();
    assert!(staging.list()?.is_empty());
    Ok(())
}

#[test]
fn what_is_no_upload_is_left_alone() -> io::Result<()> {
    let (directory, staging) = staging();
    staging.note_boot();
    fs::write(directory.path().join(DIRECTORY).join("README"), "x")?;
    assert!(staging.list()?.is_empty());
    Ok(())
}
