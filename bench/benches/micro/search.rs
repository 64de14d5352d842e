//! Searching the text index of 100,000 messages: the newest 50 that match.

use std::sync::Arc;

use divan::Bencher;
use greffe_server::search::{DATABASE, Search};
use greffe_server::store::sqlite::text_index::TextIndex;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::archive::{Archive, archive};
use crate::parts::texts::word;

/// Whose index it is.
const JOURNAL: &str = "bench";
/// Rows that are taken in at a time.
const ROWS: i64 = 500;
/// Messages of a page.
const PAGE: usize = 50;

/// What is searched for.
const QUERIES: [&str; 4] = ["common word", "rare word", "two common words", "absent word"];

fn query(name: &str) -> String {
    match name {
        "common word" => word(0).to_owned(),
        "rare word" => word(15_000).to_owned(),
        "two common words" => format!("{} {}", word(1), word(2)),
        _ => "zzzz".to_owned(),
    }
}

/// Opens the archive's index, and makes it first if it is not there.
fn index(archive: &Archive, runtime: &Runtime) -> Search {
    let size = archive.feed.view().read(|state| state.size);
    let (mut index, mut next) =
        TextIndex::open(&archive.path().join(DATABASE), JOURNAL, size).expect("an index can be made");
    while next < size {
        let (changes, after) = runtime
            .block_on(archive.reader.text_changes(next, ROWS))
            .expect("the journal can be read");
        index.apply(&changes, after).expect("the index can be written");
        next = after;
    }
    drop(index);
    // Nothing is left to follow, and nobody tells of more: the follower ends at once.
    let (_, sizes) = watch::channel(size);
    Search::start(archive.path(), JOURNAL, size, Arc::clone(&archive.reader), sizes).expect("the index can be read")
}

#[divan::bench(args = QUERIES, sample_size = 1, sample_count = 200, max_time = 5)]
fn find(bencher: Bencher<'_, '_>, name: &str) {
    let archive = archive();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime can be made");
    let search = index(&archive, &runtime);
    let room = archive.feed.view().read(|state| state.room(archive.room).map(|room| room.no));
    let rooms = vec![(room.expect("the room is there"), 1)];
    let words = query(name);
    let find = |rooms| {
        let found = search.find(&words, rooms, i64::MAX, PAGE);
        runtime.block_on(found).expect("the index can be searched").hits.len()
    };
    assert_eq!(find(rooms.clone()) > 0, name != QUERIES[3], "{name}");
    bencher.with_inputs(|| rooms.clone()).bench_local_values(find);
}
