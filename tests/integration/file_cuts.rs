//! Transfers that are cut anywhere: the client killed, the server killed, the link broken. Each goes on where it was and completes, little is sent
//! again, and nobody ever sees a part of a file for the whole.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::files::{bytes, get, mine, sha256, signed};
use crate::support::chance::Chance;
use crate::support::link::{Link, Way};
use crate::support::server::binary;
use crate::support::{PASSWORD, Server, User, setting, within};

/// Bytes of each file: a cut may cost what is on the way then, so smaller files would say less about resuming and more about buffers.
const SIZE: usize = 64 * 1024 * 1024;
/// Transfers with one server, so that a long run does not fill the disk.
const WITH_ONE_SERVER: u64 = 12;
/// Of 100 bytes of the files, how many may be sent again. All that passes the link counts, also what is no file's.
const AGAIN: u64 = 2;

#[derive(Clone, Copy, Debug)]
enum Cut {
    ClientKilled,
    ServerKilled,
    LinkBroken,
}

const CUTS: [Cut; 3] = [Cut::ClientKilled, Cut::ServerKilled, Cut::LinkBroken];

/// A server behind a link, somebody with the command line, and what they have sent so far.
struct Scene {
    server: Server,
    link: Link,
    alice: User,
    directory: tempfile::TempDir,
    content: Vec<u8>,
    sent: u64,
}

impl Scene {
    async fn new() -> Self {
        let server = Server::start(&[("file_quota_bytes", 1 << 40)]).await;
        let alice = server.user("alice").await;
        Self {
            link: Link::to(&server).await,
            directory: tempfile::tempdir().expect("a temporary directory can be made"),
            content: bytes(SIZE, 9),
            sent: 0,
            server,
            alice,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `greffe files …` over the link.
    fn start(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(binary().with_file_name("greffe"));
        let log = std::fs::File::create(self.path("client.log")).expect("a file can be made");
        command
            .arg("files")
            .args(arguments)
            .current_dir(self.directory.path())
            .env("GREFFE_SERVER", self.link.url())
            .env("GREFFE_CONFIG_DIR", self.path("config"))
            .env("GREFFE_TOKEN", &self.alice.token)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        command
            .spawn()
            .expect("greffe can be started; run `cargo build --workspace` first")
    }

    async fn finish(&self, mut child: Child, case: &str) {
        let status = within("the end of a transfer", child.wait())
            .await
            .expect("it can be waited for");
        let log = std::fs::read_to_string(self.path("client.log")).unwrap_or_default();
        assert!(status.success(), "{case}: {status}: {log}");
    }

    /// Starts a transfer, cuts it after `point` bytes, and lets it come to its end. Returns how many bytes passed.
    async fn cut(&mut self, arguments: &[&str], way: Way, cut: Cut, point: u64) -> u64 {
        let case = format!("{arguments:?}, {cut:?} after {point} bytes");
        let before = self.link.passed(way);
        let mark = self.link.mark(way, point, matches!(cut, Cut::LinkBroken));
        let mut child = self.start(arguments);
        within("the place of the cut", mark).await.expect("the link is there");
        match cut {
            Cut::ClientKilled => {
                within("the end of the client", child.kill()).await.expect("it runs");
                self.only_whole_files(&case).await;
                child = self.start(arguments);
            }
            Cut::ServerKilled => {
                self.server.kill_9().await;
                self.server.spawn().await.expect("the server starts again");
                self.alice = self.alice.over(self.server.channel().await);
                // Clients still go to where the server was: nothing changes meanwhile.
                self.no_orphans(&case).await;
                self.only_whole_files(&case).await;
                self.link.lead_to(&self.server);
            }
            Cut::LinkBroken => {}
        }
        self.finish(child, &case).await;
        self.link.passed(way) - before
    }

    /// Everything below `files/` is a file that somebody can read, and everything below `uploads/` is an upload.
    async fn no_orphans(&self, case: &str) {
        let files: HashSet<String> = mine(&self.alice).await.into_iter().map(|file| file.id).collect();
        let uploads = crate::files::uploads(&self.alice).await;
        let uploads: HashSet<String> = uploads.into_iter().map(|upload| upload.id).collect();
        assert_eq!(names(&self.server.data_dir().join("files")), files, "{case}");
        let staged = names(&self.server.data_dir().join("uploads"));
        assert!(staged.is_subset(&uploads), "{case}: {staged:?}, {uploads:?}");
    }

    /// No file is seen that is not complete.
    async fn only_whole_files(&self, case: &str) {
        let files = mine(&self.alice).await;
        assert!(
            [self.sent, self.sent + 1].contains(&(files.len() as u64)),
            "{case}: {files:?}"
        );
        assert!(files.iter().all(|file| file.size == signed(SIZE)), "{case}: {files:?}");
    }

    async fn send(&mut self, cut: Cut, point: u64) -> u64 {
        let name = format!("file-{}", self.sent);
        self.content[..8].copy_from_slice(&self.sent.to_le_bytes());
        std::fs::write(self.path(&name), &self.content).expect("a file can be written");
        let passed = self.cut(&["put", &name], Way::Up, cut, point).await;
        self.sent += 1;
        std::fs::remove_file(self.path(&name)).expect("it is there");
        let files = mine(&self.alice).await;
        assert_eq!(files.len() as u64, self.sent, "each is shared once");
        assert_eq!(files[0].name, name);
        assert_eq!(files[0].sha256.to_vec(), sha256(&self.content));
        passed
    }

    async fn fetch(&mut self, cut: Cut, point: u64) -> u64 {
        let passed = self.cut(&["get", "file-0", "-o", "came"], Way::Down, cut, point).await;
        let came = std::fs::read(self.path("came")).expect("it is there");
        assert!(came == self.content, "what came is not what was sent");
        std::fs::remove_file(self.path("came")).expect("it is there");
        let left: Vec<_> = std::fs::read_dir(self.directory.path())
            .expect("it is there")
            .flatten()
            .map(|entry| entry.file_name())
            .filter(|name| name.to_string_lossy().contains("came"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
        passed
    }

    /// What the members see is what was sent, byte for byte, and the server's own check agrees.
    async fn all_is_there(mut self) {
        for (number, file) in mine(&self.alice).await.into_iter().rev().enumerate() {
            self.content[..8].copy_from_slice(&(number as u64).to_le_bytes());
            assert!(
                get(&self.alice, &file.id, 0).await.unwrap() == self.content,
                "file {number}"
            );
        }
        self.server.restart().await;
        self.alice = User::log_in(self.server.channel().await, "alice", PASSWORD).await.unwrap();
        self.no_orphans("in the end").await;
        self.server.terminate().await;
        self.server.check().await;
    }
}

/// The kinds of cuts in turn.
fn turns(count: u64) -> impl Iterator<Item = Cut> {
    (0..count).zip(CUTS.into_iter().cycle()).map(|(_, cut)| cut)
}

/// The names of the files below a directory that are ids.
fn names(directory: &Path) -> HashSet<String> {
    let mut found = HashSet::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(names(&entry.path()));
        } else {
            found.insert(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found.remove("boot-id");
    found
}

/// What was sent again, in all transfers of one direction.
#[derive(Default)]
struct Tally {
    transfers: u64,
    passed: u64,
    by_cut: [(u64, u64); CUTS.len()],
}

impl Tally {
    fn add(&mut self, cut: Cut, passed: u64) {
        self.transfers += 1;
        self.passed += passed;
        let of_cut = &mut self.by_cut[cut as usize];
        *of_cut = (of_cut.0 + 1, of_cut.1 + passed.saturating_sub(SIZE as u64));
    }

    /// Says how much was sent again, and fails if it was too much.
    fn conclude(&self, what: &str) {
        let whole = self.transfers * SIZE as u64;
        let again = self.passed.saturating_sub(whole);
        #[expect(clippy::cast_precision_loss, reason = "it is printed")]
        let percent = again as f64 * 100.0 / whole as f64;
        eprintln!(
            "{what}: {} cut, {again} bytes again of {whole}: {percent:.3} %",
            self.transfers
        );
        for (cut, (count, again)) in CUTS.iter().zip(self.by_cut) {
            eprintln!("  {cut:?}: {count}, {} KiB again each", again / count.max(1) / 1024);
        }
        assert!(again * 100 < whole * AGAIN, "too much was sent again");
    }
}

#[tokio::test]
async fn transfers_that_are_cut_anywhere_complete_and_send_little_again() {
    let mut chance = Chance::new("file_cuts");
    let cuts = setting("GREFFE_TEST_FILE_CUTS", 6);
    let (mut up, mut down) = (Tally::default(), Tally::default());
    let mut done = 0;
    while done < cuts {
        let mut scene = Scene::new().await;
        let now = WITH_ONE_SERVER.min(cuts - done);
        for cut in turns(now) {
            let point = chance.below(SIZE) as u64;
            up.add(cut, scene.send(cut, point).await);
        }
        scene.content[..8].copy_from_slice(&0_u64.to_le_bytes());
        for cut in turns(now) {
            let point = chance.below(SIZE) as u64;
            down.add(cut, scene.fetch(cut, point).await);
        }
        scene.all_is_there().await;
        done += now;
    }
    up.conclude("sent");
    down.conclude("fetched");
}
