//! Power loss and failing syncs, by a library between the server and its files (`shim/powerloss.c`).

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use crate::support::load::Ledger;
use crate::support::{Options, Server, User, setting};

/// Takes power away, or fails a sync, at places that a crash of the process alone cannot reach.
pub(crate) static SHIM: LazyLock<PathBuf> = LazyLock::new(|| compiled("powerloss"));

/// Compiles a library of `shim/`.
pub(crate) fn compiled(name: &str) -> PathBuf {
    let source = format!("{}/shim/{name}.c", env!("CARGO_MANIFEST_DIR"));
    let library = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.so", std::process::id()));
    let status = Command::new("cc")
        .args([
            "-std=gnu11",
            "-O2",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-fPIC",
            "-shared",
            "-o",
        ])
        .arg(&library)
        .arg(source)
        .args(["-ldl", "-lpthread"])
        .status();
    assert!(status.expect("cc can be run").success(), "the library does not compile");
    library
}

/// How long a load may go on that is going to be cut.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server with four users and the ledger of what they say, stopped in order.
struct Scene {
    server: Server,
    users: Vec<User>,
    ledger: Arc<Ledger>,
}

impl Scene {
    async fn new() -> Self {
        let mut server = Server::start_with(Options::default()).await;
        let users = server.users("person", 4).await;
        let ledger = Ledger::new(&server.general().await);
        assert!(server.terminate().await.success());
        Self { server, users, ledger }
    }

    /// Lets the next start be under the library, with further settings.
    fn under_shim(&mut self, settings: &[(&str, String)]) {
        let directory = self.server.data_dir().canonicalize().expect("the directory is there");
        let report = self.server.beside("report");
        let mut environment = vec![
            ("LD_PRELOAD".to_owned(), SHIM.display().to_string()),
            ("SHIM_DIR".to_owned(), directory.display().to_string()),
            ("SHIM_REPORT".to_owned(), report.display().to_string()),
        ];
        environment.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        self.server.options_mut().environment = environment;
    }

    /// Lets the next start be an ordinary one.
    fn in_order(&mut self) {
        self.server.options_mut().environment.clear();
    }

    /// What the library has done so far.
    fn report(&self) -> String {
        std::fs::read_to_string(self.server.beside("report")).unwrap_or_default()
    }

    /// Sends again what was never answered and compares; none if the server ended meanwhile.
    async fn compare(&self) -> Option<Vec<String>> {
        for user in &self.users {
            let user = user.over(self.server.try_channel().await?);
            self.ledger.send_unanswered(&user).await.ok()?;
        }
        let user = self.users[0].over(self.server.try_channel().await?);
        self.ledger.compare(&user).await.ok()
    }

    /// Lets everyone send and read until the server ends: its status.
    async fn load(&mut self) -> ExitStatus {
        let mut tasks = tokio::task::JoinSet::new();
        for user in &self.users {
            let Some(channel) = self.server.try_channel().await else {
                break;
            };
            let user = user.over(channel);
            tasks.spawn(self.ledger.clone().load(user.clone(), usize::MAX));
            tasks.spawn(self.ledger.clone().watch(user));
        }
        let ended = tokio::time::timeout(PATIENCE, tasks.join_all()).await;
        assert!(ended.is_ok(), "the server went on; {}", self.report());
        self.server.wait().await
    }

    /// Starts in order and checks everything.
    async fn check_everything(&mut self) {
        self.in_order();
        self.server.spawn().await.expect("start-up after power loss needs no hand");
        let problems = self.compare().await.expect("the server goes on");
        assert_eq!(problems, Vec::<String>::new(), "{}", self.report());
        let user = self.users[0].over(self.server.channel().await);
        assert_eq!(
            self.ledger.compare_all(&user).await,
            Vec::<String>::new(),
            "{}",
            self.report()
        );
        crate::journal::agrees(&mut self.server, &[]).await;
    }
}

/// A number from 0 to `end` − 1, another one on every run.
fn random(end: u128) -> u128 {
    uuid::Uuid::new_v4().as_u128() % end
}

#[tokio::test]
async fn nothing_acknowledged_or_delivered_is_lost_when_the_power_goes() {
    let mut scene = Scene::new().await;
    for point in 0..setting("GREFFE_TEST_POWER_CUTS", 12) {
        // As often in the first operations after a start as in the thousands later.
        let cut = 1 + random(2 << random(12));
        scene.under_shim(&[
            ("SHIM_CUT", cut.to_string()),
            ("SHIM_SEED", random(1 << 30).to_string()),
        ]);
        let status = if let Err(status) = scene.server.spawn().await {
            status
        } else {
            if let Some(problems) = scene.compare().await {
                assert_eq!(problems, Vec::<String>::new(), "point {point}; {}", scene.report());
            }
            scene.load().await
        };
        assert_eq!(status.signal(), Some(9), "point {point}: {status}; {}", scene.report());
    }
    assert!(scene.ledger.acknowledged() > 0 && scene.ledger.delivered() > 0);
    scene.check_everything().await;
}

#[tokio::test]
async fn a_disk_that_lies_about_syncs_loses_what_was_acknowledged_and_the_test_sees_it() {
    let mut scene = Scene::new().await;
    scene.under_shim(&[("SHIM_CUT", "3000".to_owned()), ("SHIM_LIE", "1".to_owned())]);
    scene
        .server
        .spawn()
        .await
        .expect("3,000 operations are more than a start takes");
    let status = scene.load().await;
    assert_eq!(status.signal(), Some(9), "{}", scene.report());
    assert!(scene.ledger.acknowledged() > 0);
    scene.in_order();
    if scene.server.spawn().await.is_ok() {
        let user = scene.users[0].over(scene.server.channel().await);
        assert!(
            !scene.ledger.compare_all(&user).await.is_empty(),
            "nothing is lost; {}",
            scene.report()
        );
    }
}

/// Lets the N-th sync of a file fail, for several N up to `end`, and checks what the server does about it.
async fn fail_syncs(file: &str, end: u128) {
    let mut scene = Scene::new().await;
    for point in 0..setting("GREFFE_TEST_SYNC_FAILURES", 4) {
        let failing = 1 + random(end >> random(u128::from(end.ilog2()) + 1));
        let case = format!("point {point}, sync {failing}");
        scene.under_shim(&[
            ("SHIM_FAIL_SYNC", failing.to_string()),
            ("SHIM_FAIL_NAME", file.to_owned()),
        ]);
        let status = if let Err(status) = scene.server.spawn().await {
            status
        } else {
            scene.load().await
        };
        assert!(
            status.code().is_some_and(|code| code != 0),
            "{case}: {status}; {}",
            scene.report()
        );
        scene.in_order();
        scene.server.spawn().await.expect("start-up after a failed sync needs no hand");
        // Before anything is sent again: what was delivered or acknowledged is there, and nothing else is missing.
        let user = scene.users[0].over(scene.server.channel().await);
        let problems = scene.ledger.compare(&user).await.expect("the server goes on");
        assert_eq!(problems, Vec::<String>::new(), "{case}; {}", scene.report());
        assert_eq!(scene.compare().await, Some(Vec::new()), "{case}");
        assert!(scene.server.terminate().await.success());
    }
    scene.check_everything().await;
}

#[tokio::test]
async fn a_failing_sync_of_a_commit_stops_the_server_and_nothing_of_its_batch_was_acknowledged() {
    fail_syncs("greffe.db-wal", 512).await;
}

#[tokio::test]
async fn a_failing_sync_of_the_database_itself_stops_the_server_and_loses_nothing() {
    fail_syncs("greffe.db", 3).await;
}
