//! Files on their way while the chat goes on: in the background, one at a time.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use greffe::{Client, NewFile, Progress};
use tokio::sync::mpsc;

use super::Session;
use crate::commands::files::notes::{Notes, forget};
use crate::commands::files::{described, find, get, put};
use crate::config::Config;
use crate::error::{CommandError, Exit};
use crate::progress::Meter;
use crate::text::visible;

/// Transfers that may wait for the one before them.
const QUEUE: usize = 16;
/// News that may wait to be shown.
const NEWS: usize = 64;
/// For how long a transfer whose link broke is begun again, and how soon.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_secs(5);
/// How often it is told how far a transfer is.
const TOLD: Duration = Duration::from_secs(5);

/// A file to transfer.
#[derive(Debug)]
pub(in crate::commands::chat) enum Job {
    /// Send a file of this machine to a room.
    Send {
        /// The file.
        path: PathBuf,
        /// The room's id.
        room_id: String,
    },
    /// Fetch a file into the current directory.
    Fetch {
        /// Its id or its name.
        file: String,
    },
}

impl Job {
    /// What did not happen if it fails.
    fn failure(&self) -> String {
        match self {
            Self::Send { path, .. } => format!("{} was not sent", path.display()),
            Self::Fetch { file } => format!("{file} was not fetched"),
        }
    }
}

/// What happens with transfers, in words that are not yet safe to show.
pub(super) enum News {
    /// One goes on.
    Moving(String),
    /// One is done.
    Done(String),
    /// One failed.
    Failed(String, CommandError),
}

/// The transfers of a chat.
pub(in crate::commands::chat) struct Transfers {
    jobs: mpsc::Sender<Job>,
    news: mpsc::Receiver<News>,
    waiting: usize,
    failed: usize,
}

impl Transfers {
    /// Is ready for files of the user with this id. It ends with the chat.
    pub(super) fn new(client: Client, config: Config, user_id: &str) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (news_in, news) = mpsc::channel(NEWS);
        let worker = Worker {
            client,
            config,
            user_id: user_id.to_owned(),
            news: news_in,
        };
        tokio::spawn(worker.run(queue));
        Self {
            jobs,
            news,
            waiting: 0,
            failed: 0,
        }
    }

    /// Begins a transfer when those before it have ended; says why not, if not.
    pub(in crate::commands::chat) fn begin(&mut self, job: Job) -> Result<(), String> {
        self.jobs
            .try_send(job)
            .map_err(|_| "too many files are on their way; wait until some have arrived".to_owned())?;
        self.waiting += 1;
        Ok(())
    }

    /// How many have not ended.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many have failed.
    pub(super) fn failed(&self) -> usize {
        self.failed
    }

    /// Waits for news. Cancel safe.
    pub(super) async fn news(&mut self) -> News {
        let news = match self.news.recv().await {
            Some(news) => news,
            // The worker lives as long as the jobs' sender, which is here.
            None => std::future::pending().await,
        };
        if !matches!(news, News::Moving(_)) {
            self.waiting = self.waiting.saturating_sub(1);
        }
        if matches!(news, News::Failed(..)) {
            self.failed += 1;
        }
        news
    }
}

impl Session {
    pub(super) async fn tell_transfer(&self, news: News) {
        match news {
            News::Moving(words) | News::Done(words) => self.console.note(&words).await,
            News::Failed(what, CommandError::Server(error)) => self.console.refused(&what, &error).await,
            News::Failed(what, CommandError::Hinted { error, hint }) => {
                self.console.alarm(&format!("{what}: {error}")).await;
                self.console.note(&format!("hint: {hint}")).await;
            }
            News::Failed(what, error) => self.console.alarm(&format!("{what}: {error}")).await,
        }
    }
}

/// A path as it was typed: there is no shell that would know what `~` is.
pub(in crate::commands::chat) fn path_of(typed: &str) -> PathBuf {
    match (typed.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(typed),
    }
}

struct Worker {
    client: Client,
    config: Config,
    user_id: String,
    news: mpsc::Sender<News>,
}

impl Worker {
    async fn run(self, mut queue: mpsc::Receiver<Job>) {
        while let Some(job) = queue.recv().await {
            let outcome = self.patiently(&job).await;
            let news = match outcome {
                Ok(words) => News::Done(words),
                Err(error) => News::Failed(job.failure(), error),
            };
            if self.news.send(news).await.is_err() {
                return;
            }
        }
    }

    /// Does a job, and goes on with it when a link that broke is back.
    async fn patiently(&self, job: &Job) -> Result<String, CommandError> {
        let begun = Instant::now();
        loop {
            let outcome = match job {
                Job::Send { path, room_id } => self.send(path, room_id).await,
                Job::Fetch { file } => self.fetch(file).await,
            };
            match outcome {
                Err(error) if error.exit() == Exit::Unreachable && begun.elapsed() < PATIENCE => {
                    tokio::time::sleep(PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    fn notes(&self) -> Result<Notes, CommandError> {
        Ok(Notes::open(
            self.config.transfers(self.client.address())?,
            &self.user_id,
        ))
    }

    async fn send(&self, path: &Path, room_id: &str) -> Result<String, CommandError> {
        let notes = self.notes()?;
        let new = NewFile {
            name: put::name_of(path)?,
            room_id: room_id.to_owned(),
            ..NewFile::default()
        };
        let teller = Teller::new(&self.news, "sending", &new.name);
        let observer = |progress| teller.see(progress);
        let sent = put::send(&self.client, &notes, path, &new, &observer).await?;
        if let Some(note) = &sent.note {
            forget(note)?;
        }
        let file = sent.file;
        Ok(format!("sent {}", described(&file.name, file.size, &file.id)))
    }

    async fn fetch(&self, typed: &str) -> Result<String, CommandError> {
        let notes = self.notes()?;
        let file = find(&self.client, typed).await?;
        let target = get::target_of(None, &file)?;
        let teller = Teller::new(&self.news, "fetching", &file.name);
        let observer = |progress| teller.see(progress);
        let path = get::receive(&self.client, &notes, &file, target, false, &observer).await?;
        Ok(format!("fetched {}", path.display()))
    }
}

/// Tells now and then how far a transfer is.
struct Teller<'a> {
    news: &'a mpsc::Sender<News>,
    what: String,
    state: Mutex<(Meter, Instant)>,
}

impl<'a> Teller<'a> {
    fn new(news: &'a mpsc::Sender<News>, doing: &str, name: &str) -> Self {
        let now = Instant::now();
        Self {
            news,
            what: format!("{doing} {}", visible(name)),
            state: Mutex::new((Meter::new(now), now)),
        }
    }

    fn see(&self, progress: Progress) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (meter, told) = &mut *state;
        let now = Instant::now();
        let words = meter.words(progress.done, progress.total, now);
        if now.saturating_duration_since(*told) >= TOLD {
            *told = now;
            // News that nobody reads are not worth waiting for: others follow.
            drop(
                self.news
                    .try_send(News::Moving(format!("{}: {}", self.what, words.trim_start()))),
            );
        }
    }
}
