//! A chat from its beginning to its end: what comes in is shown, what is typed is done.

mod history;
mod incoming;
mod sending;
pub(super) mod transfers;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use greffe::api::MemberRole;
use greffe::{Client, Feed, FeedOptions, Item, Outbox};
use tokio::sync::mpsc;

use super::console::Console;
use super::record;
use super::state::{Rooms, TypingTold};
use super::terminal::Keyed;
use super::words::{self, Typed, Word};
use crate::commands::ending;
use crate::commands::render::Names;
use crate::commands::target;
use crate::config::Config;
use crate::error::CommandError;
use crate::text::visible;
use crate::time;
use sending::{Answered, Waiting};
use transfers::Transfers;

/// If more than this was missed in a room, only the newest of it is shown.
const LONGEST_REPLAY: i64 = 500;
/// Lines that may be on their way before the next one is read from a pipe.
const ON_THE_WAY: usize = 100;
/// How often marks, typing and waiting lines are looked after.
const TICK: Duration = Duration::from_millis(250);
/// How long the first link may take.
const FIRST_LINK: Duration = Duration::from_secs(30);
/// How long the end waits for lines on their way: at a terminal, where one waits, and in a pipe.
const LAST_WORDS: Duration = Duration::from_secs(5);
const LAST_LINES: Duration = Duration::from_secs(60);
/// How long the end waits for a read mark.
const LAST_MARK: Duration = Duration::from_secs(2);

/// A chat.
pub(crate) struct Session {
    pub(super) client: Client,
    pub(super) console: Console,
    pub(super) names: Names,
    pub(super) rooms: Rooms,
    pub(super) online: HashSet<String>,
    pub(super) transfers: Transfers,
    outbox: Outbox,
    feed: Feed,
    connected: bool,
    was_connected: bool,
    /// When the link broke or, if the server asked for a pause, when that ends.
    away_since: Instant,
    /// Whether presence is news: before the feed has caught up it says who is there already.
    presence_is_news: bool,
    waiting: HashMap<String, Waiting>,
    /// Rooms with messages of ours that are stored, up to these seqs, and did not come back yet.
    untold: HashMap<String, i64>,
    answers: FuturesUnordered<BoxFuture<'static, Answered>>,
    typing_told: TypingTold,
    my_typing: Option<Instant>,
    /// A line of a pipe that waits for those before it.
    held: Option<String>,
    refused: usize,
    read: HashMap<String, i64>,
    /// What is found out about the server's record.
    record: mpsc::Receiver<Result<String, CommandError>>,
    /// What is wrong with it: the chat goes on, and ends with this.
    finding: Option<CommandError>,
}

/// Whether the chat goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    GoOn,
    Stop,
}

impl Session {
    /// Begins a chat.
    pub(crate) async fn new(client: Client, console: Console, config: Config) -> Result<Self, CommandError> {
        let names = Names::new(&client).await?;
        let feed = client.feed(FeedOptions {
            max_replay: Some(LONGEST_REPLAY),
            newest_only: Some(LONGEST_REPLAY),
            ..FeedOptions::default()
        });
        Ok(Self {
            transfers: Transfers::new(client.clone(), config, names.me()),
            record: record::follow(client.clone()),
            finding: None,
            outbox: feed.outbox(),
            feed,
            client,
            console,
            names,
            rooms: Rooms::default(),
            online: HashSet::new(),
            connected: false,
            was_connected: false,
            away_since: Instant::now(),
            presence_is_news: false,
            waiting: HashMap::new(),
            untold: HashMap::new(),
            answers: FuturesUnordered::new(),
            typing_told: TypingTold::default(),
            my_typing: None,
            held: None,
            refused: 0,
            read: HashMap::new(),
        })
    }

    /// Chats, beginning in a room, until the end.
    pub(crate) async fn run(mut self, room: &str) -> Result<(), CommandError> {
        let mut result = self.chat(room).await;
        if let Err(error) = result {
            result = Err(ending::behind(error, &mut self.feed).await);
        }
        self.console.close().await;
        result
    }

    async fn chat(&mut self, room: &str) -> Result<(), CommandError> {
        self.begin().await?;
        self.learn_names().await?;
        let state = target::find(&self.client, room).await?;
        if matches!(state.my_role(), MemberRole::Unspecified | MemberRole::Invited) {
            return Err(CommandError::NotAllowed(format!(
                "you are not in {0}; join it with `greffe rooms join {0}`",
                visible(room)
            )));
        }
        let room_id = target::room_id(&state).to_owned();
        self.take_room(state).await?;
        self.enter(&room_id).await?;
        self.tell_what_waits().await;
        if self.console.is_terminal() {
            self.console.note("/help shows what you can do; /exit or Ctrl-D leaves").await;
        }
        self.ready();
        self.follow().await
    }

    /// Waits for the first link.
    async fn begin(&mut self) -> Result<(), CommandError> {
        let deadline = tokio::time::Instant::now() + FIRST_LINK;
        let mut trouble = None;
        while !self.connected {
            match tokio::time::timeout_at(deadline, self.feed.next()).await {
                // Nobody looks at a chat that has not begun: whoever is told when to come back can do so.
                Ok(Some(Item::Disconnected { why, retry_in, .. }))
                    if tokio::time::Instant::now() + retry_in > deadline =>
                {
                    return Err(why.into());
                }
                Ok(Some(Item::Disconnected { reason, why, retry_in })) => {
                    if let Some(words) = ending::pause(reason, &why) {
                        let next = time::from_now(retry_in);
                        self.console.note(&format!("{words}; trying again {next}")).await;
                    }
                    trouble = Some(why);
                }
                Ok(item) => self.take(item).await?,
                Err(_) => {
                    let silent =
                        || CommandError::Failed("the server does not begin the live feed; try again".to_owned());
                    return Err(trouble.map_or_else(silent, CommandError::from));
                }
            }
        }
        Ok(())
    }

    async fn follow(&mut self) -> Result<(), CommandError> {
        let mut tick = tokio::time::interval(TICK);
        let stop = asked_to_stop(self.console.is_terminal());
        tokio::pin!(stop);
        loop {
            if self.waiting.is_empty()
                && self.connected
                && let Some(line) = self.held.take()
                && self.line(line).await? == Flow::Stop
            {
                return self.finish(LAST_LINES).await;
            }
            let may_read = self.held.is_none() && (self.console.is_terminal() || self.waiting.len() < ON_THE_WAY);
            tokio::select! {
                item = self.feed.next() => self.take(item).await?,
                keyed = self.console.keyed(), if may_read => match keyed {
                    Keyed::Line(line) => {
                        if self.line(line).await? == Flow::Stop {
                            return self.finish(LAST_WORDS).await;
                        }
                    }
                    Keyed::End if self.console.is_terminal() => return self.finish(LAST_WORDS).await,
                    Keyed::End => return self.finish(LAST_LINES).await,
                    Keyed::Failed(error) => {
                        self.finish(LAST_LINES).await?;
                        return Err(error);
                    }
                },
                Some(answered) = self.answers.next() => self.answered(answered).await,
                news = self.transfers.news() => self.tell_transfer(news).await,
                Some(found) = self.record.recv() => self.tell_record(found).await,
                _ = tick.tick() => {
                    self.tick().await;
                    if self.held.is_some() && self.away_since.elapsed() > LAST_LINES && !self.connected {
                        let seconds = LAST_LINES.as_secs();
                        return Err(CommandError::Unacknowledged { lines: self.waiting.len() + 1, seconds });
                    }
                }
                () = &mut stop => return self.finish(LAST_WORDS).await,
            }
        }
    }

    /// Waits for something from elsewhere, and takes in what comes meanwhile.
    ///
    /// # Errors
    /// If the chat ends first.
    pub(super) async fn meanwhile<T>(&mut self, elsewhere: impl Future<Output = T>) -> Result<T, CommandError> {
        tokio::pin!(elsewhere);
        loop {
            tokio::select! {
                done = &mut elsewhere => return Ok(done),
                item = self.feed.next() => self.take(item).await?,
            }
        }
    }

    /// Waits until every line is acknowledged and shown, or the patience ends; in a pipe, also until the files are where they should be.
    async fn finish(&mut self, patience: Duration) -> Result<(), CommandError> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let lines_wait = !(self.waiting.is_empty() && self.untold.is_empty());
            let files_wait = !self.console.is_terminal() && self.transfers.waiting() > 0;
            if !lines_wait && !files_wait {
                break;
            }
            tokio::select! {
                item = self.feed.next() => self.take(item).await?,
                Some(answered) = self.answers.next() => self.answered(answered).await,
                // A transfer ends by itself if it does not go forward.
                news = self.transfers.news() => self.tell_transfer(news).await,
                () = tokio::time::sleep_until(deadline), if lines_wait => {
                    self.untold.clear();
                    if self.waiting.is_empty() {
                        continue;
                    }
                    return Err(CommandError::Unacknowledged { lines: self.waiting.len(), seconds: patience.as_secs() });
                }
            }
        }
        for (room_id, seq) in self.read.drain() {
            // A mark that does not get through is made again the next time.
            drop(tokio::time::timeout(LAST_MARK, self.client.mark_read(&room_id, seq)).await);
        }
        if self.transfers.waiting() > 0 {
            self.console
                .note("a file was on its way: send or fetch it again, and it goes on where it was")
                .await;
        }
        if self.transfers.failed() > 0 && !self.console.is_terminal() {
            return Err(CommandError::Failed(format!(
                "{} of the files were not transferred",
                self.transfers.failed()
            )));
        }
        if self.refused > 0 && !self.console.is_terminal() {
            return Err(CommandError::Failed(format!(
                "{} of the messages were refused",
                self.refused
            )));
        }
        self.finding.take().map_or(Ok(()), Err)
    }

    /// Says what was found out about the server's record.
    async fn tell_record(&mut self, found: Result<String, CommandError>) {
        match found {
            Ok(text) => self.console.note(&text).await,
            Err(error) => {
                for line in error.to_string().lines() {
                    self.console.alarm(line).await;
                }
                self.finding = Some(error);
            }
        }
    }

    fn ready(&self) {
        self.console.prompt(&self.rooms.prompt());
    }
    async fn line(&mut self, line: String) -> Result<Flow, CommandError> {
        let typed = words::parse(&line);
        let is_pipe = !self.console.is_terminal();
        // In a pipe a command waits for the messages before it, which it may be about, and for the link.
        if is_pipe && matches!(typed, Typed::Command(..)) && !(self.waiting.is_empty() && self.connected) {
            self.held = Some(line);
            return Ok(Flow::GoOn);
        }
        let flow = match typed {
            Typed::Nothing => Flow::GoOn,
            Typed::Message(text) => {
                match self.rooms.current().map(|view| view.id().to_owned()) {
                    Some(room_id) => self.send(room_id, text, 0).await,
                    None => {
                        self.console
                            .alarm("you are in no room; nothing was sent. /room NAME goes to one")
                            .await;
                    }
                }
                Flow::GoOn
            }
            Typed::Command(Word::Exit, _) => Flow::Stop,
            Typed::Command(word, _) if !self.connected && word.needs_link() => {
                self.console
                    .alarm("there is no link to the server now; try again when it is back")
                    .await;
                Flow::GoOn
            }
            Typed::Command(word, arguments) => {
                self.act(word, &arguments).await?;
                Flow::GoOn
            }
            Typed::Unknown { typed, nearest } => {
                let instead = nearest.map(|name| format!("; did you mean /{name}?")).unwrap_or_default();
                self.console
                    .alarm(&format!(
                        "there is no {typed}{instead} /help lists what there is, {0}{typed} sends it",
                        &typed[..1]
                    ))
                    .await;
                Flow::GoOn
            }
        };
        if flow == Flow::GoOn {
            self.ready();
        }
        Ok(flow)
    }
}

/// Waits until the program is told to stop from outside. A terminal has to be given back before; a pipe needs nothing.
async fn asked_to_stop(is_terminal: bool) {
    #[cfg(unix)]
    if is_terminal {
        use tokio::signal::unix::{SignalKind, signal};
        if let (Ok(mut end), Ok(mut hang_up)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup())) {
            tokio::select! {
                _ = end.recv() => return,
                _ = hang_up.recv() => return,
            }
        }
    }
    #[cfg(not(unix))]
    let _ = is_terminal;
    std::future::pending::<()>().await;
}
