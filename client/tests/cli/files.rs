//! Files: sent, fetched, listed, shared, taken away, and gone on with.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Outcome, PATIENCE, Person, Running, Server};

/// How often it is looked how far a transfer is, which nothing else tells.
const POLL: Duration = Duration::from_millis(2);
/// Bytes of a file that takes a while.
const LARGE: usize = 48 * 1024 * 1024;

/// Bytes that are not the same everywhere.
fn content(size: usize) -> Vec<u8> {
    let mut state: u32 = 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..size).map(|_| next()).collect()
}

/// A directory with a file in it.
fn with_file(name: &str, content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let path = directory.path().join(name);
    fs::write(&path, content).expect("a file can be written");
    (directory, path)
}

fn put(person: &Person, path: &Path, more: &[&str]) -> serde_json::Value {
    let path = path.to_str().expect("temporary paths are text");
    let mut arguments = vec!["files", "put", path, "--json"];
    arguments.extend(more);
    person.objects(arguments).remove(0)
}

fn id(file: &serde_json::Value) -> &str {
    file["id"].as_str().expect("every file has an id")
}

fn get(person: &Person, directory: &Path, arguments: &[&str]) -> Outcome {
    let mut command = person.command(["files", "get"].iter().chain(arguments));
    command.current_dir(directory);
    Outcome::of(command)
}

/// The names in a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .expect("the directory can be read")
        .map(|entry| entry.expect("it can").file_name().into_string().expect("they are text"))
        .collect();
    names.sort();
    names
}

#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} does not happen");
        thread::sleep(POLL);
    }
}

#[test]
fn files_come_back_as_they_were_sent() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let target = tempfile::tempdir().expect("a temporary directory can be made");
    for (name, size) in [("empty", 0), ("small.txt", 5), ("large.bin", 3 * 1024 * 1024 + 1)] {
        let (_directory, path) = with_file(name, &content(size));
        let file = put(&alice, &path, &["--type", "application/x-test"]);
        assert_eq!((&file["name"], &file["size"]), (&name.into(), &size.into()));
        assert_eq!((&file["room"], &file["author"]), (&"general".into(), &"alice".into()));
        assert_eq!(file["sha256"].as_str().map(str::len), Some(64));
        get(&bob, target.path(), &[name]).succeeded();
        let came = target.path().join(name);
        assert!(fs::read(&came).expect("it is there") == content(size));
        assert_eq!(
            fs::metadata(&came).expect("it is there").permissions().mode() & 0o777,
            0o600
        );
        let again = bob.objects([
            "files",
            "get",
            id(&file),
            "--json",
            "-o",
            &format!("{}.2", came.display()),
        ]);
        assert_eq!(
            (&again[0]["sha256"], &again[0]["author"]),
            (&file["sha256"], &"alice".into())
        );
    }
    assert_eq!(bob.objects(["files", "ls", "--json"]).len(), 3);
    assert!(bob.objects(["files", "ls", "--mine", "--json"]).is_empty());
    let largest = &bob.objects(["files", "--json", "ls", "--room", "general", "--largest"])[0];
    assert_eq!(
        (&largest["name"], &largest["room"]),
        (&"large.bin".into(), &"general".into())
    );
}

#[test]
fn several_files_and_pipes_are_sent_too() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let (directory, one) = with_file("one", b"1");
    let two = directory.path().join("two");
    fs::write(&two, b"22").expect("a file can be written");
    let outcome = alice
        .run([
            Path::new("files"),
            Path::new("put"),
            &one,
            &two,
            Path::new("--to"),
            Path::new("@bob"),
        ])
        .succeeded();
    assert_eq!(outcome.stdout.lines().count(), 2, "{outcome:?}");
    for size in [7, 2 * 1024 * 1024] {
        let name = format!("piped-{size}");
        alice
            .run_with_input(["files", "put", "-", "--name", &name], vec![b'x'; size])
            .succeeded();
        let outcome = bob.run(["files", "get", &name, "-o", "-"]).succeeded();
        assert_eq!(outcome.stdout, "x".repeat(size));
    }
    let left = names(&alice.config().join("transfers"));
    assert_eq!(left.len(), 1, "one server");
    assert!(names(&alice.config().join("transfers").join(&left[0])).is_empty());
    alice.run_with_input(["files", "put", "-"], "x").failed(2);
    alice.run(["files", "put", "/nowhere/at/all"]).failed(6);
    alice.run([Path::new("files"), Path::new("put"), directory.path()]).failed(6);
}

#[test]
fn what_was_sent_before_a_failure_is_not_sent_twice() {
    let server = Server::start();
    let alice = server.user("alice");
    let (directory, small) = with_file("small", b"small");
    let (large, late) = (directory.path().join("large"), directory.path().join("late"));
    fs::write(&large, content(2 * 1024 * 1024)).expect("a file can be written");
    let command = || {
        let mut command = alice.command(["files", "put", "--json"]);
        command.args([&small, &large, &late]);
        Outcome::of(command)
    };
    let ids = |outcome: &Outcome| -> Vec<String> {
        let files = outcome
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("an object"));
        files.map(|file: serde_json::Value| id(&file).to_owned()).collect()
    };
    let first = command();
    assert_eq!((first.code, ids(&first).len()), (Some(6), 2), "{first:?}");
    let again = command();
    assert_eq!(ids(&again), ids(&first));
    // What was taken away since is sent anew.
    for id in ids(&first) {
        alice.run(["files", "rm", &id]).succeeded();
    }
    fs::write(&late, b"late").expect("a file can be written");
    let last = command().succeeded();
    assert!(
        ids(&last).iter().all(|id| !ids(&first).contains(id)) && ids(&last).len() == 3,
        "{last:?}"
    );
    assert_eq!(alice.objects(["files", "ls", "--json"]).len(), 3);
}

#[test]
fn an_upload_that_was_killed_goes_on() {
    let server = Server::start();
    let alice = server.user("alice");
    let (_directory, path) = with_file("large", &content(LARGE));
    let note = || {
        let servers = fs::read_dir(alice.config().join("transfers")).ok()?;
        let notes = servers.flatten().filter_map(|server| fs::read_dir(server.path()).ok());
        // One that is being written has another name.
        let is_whole = |note: &fs::DirEntry| note.file_name().to_string_lossy().starts_with("upload-");
        let text = notes
            .flatten()
            .flatten()
            .filter(is_whole)
            .find_map(|note| fs::read_to_string(note.path()).ok())?;
        let note: serde_json::Value = serde_json::from_str(&text).ok()?;
        note["upload_id"].as_str().map(str::to_owned)
    };
    let begin = || {
        let running = Running::of(alice.command([Path::new("files"), Path::new("put"), &path]));
        wait_until("the upload", || note().is_some());
        running.kill();
        note().expect("the note stays")
    };
    let first = begin();
    let waiting = alice.objects(["files", "uploads", "--json"]);
    assert_eq!(
        (waiting.len(), id(&waiting[0]), &waiting[0]["name"]),
        (1, first.as_str(), &"large".into())
    );
    assert_eq!(begin(), first, "the second time it goes on");
    assert_eq!(id(&put(&alice, &path, &[])), first);
    assert_eq!(note(), None);

    // What was changed meanwhile is sent anew.
    let second = begin();
    fs::write(&path, content(LARGE / 2)).expect("a file can be written");
    let file = put(&alice, &path, &[]);
    assert_ne!(id(&file), second);
    assert_eq!(file["size"], LARGE / 2);
    // The one before was cancelled: there is nothing left that takes room.
    assert!(alice.objects(["files", "uploads", "--json"]).is_empty());
    assert_eq!(alice.objects(["files", "ls", "--mine", "--json"]).len(), 2);
    fs::write(&path, content(LARGE)).expect("a file can be written");
    let third = begin();
    alice.run(["files", "uploads", "--cancel", &third]).succeeded();
    alice.run(["files", "uploads", "--cancel", &third]).failed(4);
    assert_ne!(id(&put(&alice, &path, &[])), third);
}

#[test]
fn a_download_that_was_killed_goes_on() {
    let server = Server::start();
    let alice = server.user("alice");
    let (_directory, path) = with_file("large", &content(LARGE));
    let file = put(&alice, &path, &[]);
    let target = tempfile::tempdir().expect("a temporary directory can be made");
    let partial = target.path().join(".large.greffe-partial");
    let mut command = alice.command(["files", "get", id(&file)]);
    command.current_dir(target.path());
    let running = Running::of(command);
    wait_until("the download", || {
        fs::metadata(&partial).is_ok_and(|found| found.len() > 1024 * 1024)
    });
    running.kill();
    let kept = fs::metadata(&partial).expect("what came is kept");
    assert!(kept.len() < LARGE as u64, "it was killed in the middle");
    assert_eq!(kept.permissions().mode() & 0o777, 0o600);
    get(&alice, target.path(), &[id(&file)]).succeeded();
    let came = target.path().join("large");
    assert_eq!(
        fs::metadata(&came).expect("it is there").ino(),
        kept.ino(),
        "the same file was gone on with"
    );
    assert!(fs::read(&came).expect("it is there") == content(LARGE));
    assert_eq!(names(target.path()), ["large"]);
}

#[test]
fn an_interrupted_transfer_says_how_to_go_on() {
    let server = Server::start();
    let alice = server.user("alice");
    let (_directory, path) = with_file("large", &content(LARGE));
    let file = put(&alice, &path, &[]);
    let target = tempfile::tempdir().expect("a temporary directory can be made");
    let partial = target.path().join(".large.greffe-partial");
    let mut command = alice.command(["files", "get", id(&file)]);
    command.current_dir(target.path());
    let running = Running::of(command);
    wait_until("the download", || {
        fs::metadata(&partial).is_ok_and(|found| found.len() > 1024 * 1024)
    });
    running.interrupt();
    running.expect_note("error: interrupted at ");
    running.expect_note("hint: give the same command again");
    assert_eq!(running.wait().0.code(), Some(1));
    assert_eq!(names(target.path()), [".large.greffe-partial"]);
    get(&alice, target.path(), &[id(&file)]).succeeded();
    assert_eq!(names(target.path()), ["large"]);
}

#[test]
fn a_spoilt_beginning_is_noticed_and_fetched_again() {
    let server = Server::start();
    let alice = server.user("alice");
    let (_directory, path) = with_file("large", &content(LARGE));
    let file = put(&alice, &path, &[]);
    let target = tempfile::tempdir().expect("a temporary directory can be made");
    let partial = target.path().join(".large.greffe-partial");
    let mut command = alice.command(["files", "get", id(&file)]);
    command.current_dir(target.path());
    let running = Running::of(command);
    wait_until("the download", || {
        fs::metadata(&partial).is_ok_and(|found| found.len() > 1024 * 1024)
    });
    running.kill();
    let opened = fs::OpenOptions::new().write(true).open(&partial).expect("it is kept");
    std::os::unix::fs::FileExt::write_all_at(&opened, b"spoilt", 1000).expect("it can be written");
    get(&alice, target.path(), &[id(&file)]).succeeded();
    assert!(fs::read(target.path().join("large")).expect("it is there") == content(LARGE));
}

#[test]
fn whatever_the_name_says_nothing_is_harmed() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let (_directory, path) = with_file("source", b"new");
    let outside = tempfile::tempdir().expect("a temporary directory can be made");
    let target = outside.path().join("target");
    fs::create_dir(&target).expect("a directory can be made");
    symlink(outside.path().join("nowhere"), target.join("link")).expect("a link can be made");
    fs::write(target.join("taken"), "old").expect("a file can be written");
    let long = "ä".repeat(127);
    for name in [
        "../../etc/passwd",
        "/etc/passwd2",
        "-rf",
        "con",
        "a\nb",
        "\u{1b}[2J",
        "gpj\u{202e}exe.txt",
        "..",
        ".bashrc",
        &long,
    ] {
        let file = put(&alice, &path, &["--name", name]);
        assert_eq!(file["name"], name);
        get(&bob, &target, &[id(&file)]).succeeded();
    }
    for name in ["link", "taken"] {
        let file = put(&alice, &path, &["--name", name]);
        let refused = get(&bob, &target, &[id(&file)]).failed(1);
        assert!(
            refused.stderr.contains("nothing was overwritten") && refused.stderr.contains("hint: "),
            "{refused:?}"
        );
        get(&bob, &target, &[id(&file), "--keep-both"]).succeeded();
    }
    assert_eq!(names(outside.path()), ["target"]);
    assert_eq!(fs::read_to_string(target.join("taken")).expect("it is there"), "old");
    let mut expected: Vec<String> = [
        "etc_passwd",
        "etc_passwd2",
        "rf",
        "_con",
        "a_b",
        "[2J",
        "gpj_exe.txt",
        "file",
        "bashrc",
        "link",
        "taken",
        "link (2)",
        "taken (2)",
    ]
    .map(str::to_owned)
    .into();
    // The partial file's name has to fit too.
    expected.push("ä".repeat((255 - ".".len() - ".greffe-partial".len()) / 2));
    expected.sort();
    assert_eq!(names(&target), expected);
    let shown = bob.run(["files", "ls"]).succeeded().stdout;
    assert!(
        !shown.contains('\u{1b}') && !shown.contains('\u{202e}') && shown.contains("a\\nb"),
        "{shown}"
    );
    alice
        .run([
            "files",
            "put",
            path.to_str().expect("it is text"),
            "--name",
            &"x".repeat(300),
        ])
        .failed(1);
}

#[test]
fn a_file_goes_where_it_is_told_to_and_nowhere_else() {
    let server = Server::start();
    let alice = server.user("alice");
    let (_directory, path) = with_file("source", b"new");
    let file = put(&alice, &path, &[]);
    let place = tempfile::tempdir().expect("a temporary directory can be made");
    let target = place.path();
    fs::create_dir(target.join("directory")).expect("a directory can be made");
    symlink("directory", target.join("to-directory")).expect("a link can be made");
    fs::write(target.join("precious"), "old").expect("a file can be written");
    symlink("precious", target.join(".linked.greffe-partial")).expect("a link can be made");
    let made = std::process::Command::new("mkfifo").arg(target.join("pipe")).status();
    assert!(made.expect("mkfifo can be run").success());
    for (output, says) in [
        ("precious", "nothing was overwritten"),
        ("linked", "it is a link, a directory or a device; remove it"),
        ("pipe", "hint: `greffe files get ID -o - > PATH`"),
        ("/dev/null", "hint: `greffe files get ID -o - > PATH`"),
        ("nowhere/file", "there is no directory nowhere"),
        ("nowhere/", "there is no directory nowhere/"),
        ("precious/file", "there is no directory precious"),
    ] {
        let refused = get(&alice, target, &[id(&file), "-o", output]).failed(1);
        assert!(refused.stderr.contains(says), "{output}: {refused:?}");
    }
    for output in ["directory", "."] {
        get(&alice, target, &[id(&file), "-o", output]).succeeded();
    }
    get(&alice, target, &[id(&file), "-o", "to-directory", "--keep-both"]).succeeded();
    assert_eq!(names(&target.join("directory")), ["source", "source (2)"]);
    assert_eq!(
        names(target),
        [
            ".linked.greffe-partial",
            "directory",
            "pipe",
            "precious",
            "source",
            "to-directory"
        ]
    );
    assert_eq!(fs::read_to_string(target.join("precious")).expect("it is there"), "old");
}

#[test]
fn files_are_for_those_whom_they_were_shared_with() {
    let server = Server::start();
    let (alice, bob, carol) = (server.user("alice"), server.user("bob"), server.user("carol"));
    let (_directory, path) = with_file("secret", b"psst");
    let file = put(&alice, &path, &["--to", "@bob"]);
    assert_eq!(file["room"], "@bob");
    let target = tempfile::tempdir().expect("a temporary directory can be made");
    get(&bob, target.path(), &["secret"]).succeeded();
    let nothing = tempfile::tempdir().expect("a temporary directory can be made");
    for name in ["secret", id(&file)] {
        get(&carol, nothing.path(), &[name]).failed(4);
    }
    carol.run(["files", "share", id(&file), "--to", "general"]).failed(4);
    assert!(names(nothing.path()).is_empty());
    bob.run(["files", "share", id(&file), "--to", "general"]).succeeded();
    bob.run(["files", "share", id(&file), "--to", "general"]).failed(1);
    get(&carol, nothing.path(), &["secret"]).succeeded();

    let other = put(&alice, &path, &[]);
    let refused = get(&bob, nothing.path(), &["secret"]).failed(1);
    assert!(
        refused.stderr.contains(id(&file)) && refused.stderr.contains(id(&other)),
        "{refused:?}"
    );
    bob.run(["files", "rm", id(&file)]).failed(5);
    alice.run(["files", "rm", id(&file), "--room", "general"]).succeeded();
    get(&carol, nothing.path(), &[id(&file), "--keep-both"]).failed(4);
    alice.run(["files", "rm", id(&file)]).succeeded();
    get(&bob, nothing.path(), &[id(&file), "--keep-both"]).failed(4);
    let error = alice.run(["files", "rm", id(&file), "--json"]).failed_in_json(4);
    assert_eq!(error["error"]["reason"], "FILE_NOT_FOUND");
}

#[test]
fn a_chat_sends_and_fetches_in_old_words_and_new_ones() {
    let server = Server::start();
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let (directory, _path) = with_file("new words.txt", b"for all");
    fs::write(directory.path().join("old"), b"for all, too").expect("a file can be written");
    fs::write(directory.path().join("private"), b"for bob").expect("a file can be written");
    let in_directory = |person: &Person, directory: &Path| {
        let mut command = person.command(["chat"]);
        command.current_dir(directory);
        Running::of(command)
    };
    let target = tempfile::tempdir().expect("a temporary directory can be made");
    let mut a = in_directory(&alice, directory.path());
    let mut b = in_directory(&bob, target.path());
    b.type_line("hello");
    b.expect_line("bob: hello");
    a.type_line("/upload new words.txt");
    a.type_line("the chat goes on");
    a.type_line("#TrfU old");
    a.type_line("#TrfU private bob private");
    b.expect_line("shared a file: new words.txt (7 B), id ");
    b.expect_line("shared a file: old (12 B), id ");
    let told = b.expect_line("shared a file: private (7 B), id ");
    assert!(told.contains("[@alice]"), "{told}");
    b.type_line("/download new words.txt");
    b.type_line("#TrfD private");
    b.expect_note("fetched private");
    b.type_line("#ListF");
    b.expect_line("new words.txt (7 B), id ");
    b.type_line("#TrfD nothing");
    b.expect_note("nothing was not fetched");
    a.type_line("/send-file bob old");
    a.end_input();
    // The end waits for what is on its way.
    assert_eq!(a.wait().0.code(), Some(0));
    b.end_input();
    assert_eq!(b.wait().0.code(), Some(1), "a script learns of what was not fetched");
    assert_eq!(names(target.path()), ["new words.txt", "private"]);
    let events = bob.objects(["tail", "@alice", "--limit", "1", "--json"]);
    assert_eq!(
        (&events[0]["kind"], &events[0]["name"]),
        (&"file_shared".into(), &"old".into())
    );
    assert_eq!(events[0]["size"], 12);
    let id = events[0]["file_id"].as_str().expect("an id");
    alice.run(["files", "rm", id]).succeeded();
    let shown = bob.run(["tail", "@alice"]).succeeded().stdout;
    assert!(shown.contains("took away the file of #"), "{shown}");
}
