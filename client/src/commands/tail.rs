//! `greffe tail`

use std::collections::HashMap;

use clap::Args;
use greffe::api::{Event, RoomState, list_events_request::From as Page};
use greffe::{Client, Feed, FeedOptions, Item};
use serde_json::Value;

use super::context::Context;
use super::ending;
use super::render::{Names, Telling, alert_lines, alert_object, event_object, tell};
use super::target;
use crate::error::CommandError;
use crate::text::{visible, visible_json, visible_lines};
use crate::time;

/// Events shown if the user does not say.
const NEWEST: u32 = 20;
/// Events asked for at once.
const PAGE: i32 = 500;

/// Show what happened in a room
#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    /// Which room: its name or id, or @USER
    #[arg(value_name = "ROOM|@USER")]
    room: String,
    /// Go on with what happens, live
    #[arg(long, short)]
    follow: bool,
    /// Begin with this seq instead of the newest events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    from_seq: Option<i64>,
    /// Show at most this many events (with --follow: before going on) [default: 20, or all with --from-seq]
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
}

/// Shows events of a room.
pub(crate) async fn run(args: TailArgs, context: &Context) -> Result<(), CommandError> {
    let client = context.client().await?;
    let state = target::find(&client, &args.room).await?;
    let mut tail = Tail::new(context, &client, &state).await?;
    let (epoch, last) = match args.from_seq {
        Some(from) => tail.from(from, args.limit.map_or(i64::MAX, i64::from)).await?,
        None => tail.newest(args.limit.unwrap_or(NEWEST)).await?,
    };
    if !args.follow {
        return Ok(());
    }
    tail.follow(FeedOptions {
        epoch,
        positions: HashMap::from([(tail.room_id.clone(), last)]),
        ..FeedOptions::default()
    })
    .await
}

struct Tail<'a> {
    context: &'a Context,
    client: Client,
    names: Names,
    room_id: String,
    label: String,
}

impl<'a> Tail<'a> {
    async fn new(context: &'a Context, client: &Client, state: &RoomState) -> Result<Self, CommandError> {
        let mut names = Names::new(client).await?;
        let label = names.room(&state.room.clone().unwrap_or_default()).await?;
        Ok(Self {
            context,
            client: client.clone(),
            names,
            room_id: target::room_id(state).to_owned(),
            label,
        })
    }

    /// Prints `limit` events from a seq on; returns the epoch and the last seq printed.
    async fn from(&mut self, from: i64, limit: i64) -> Result<(String, i64), CommandError> {
        let mut last = from - 1;
        let mut left = limit;
        loop {
            let size = PAGE.min(i32::try_from(left).unwrap_or(PAGE));
            let page = self
                .client
                .list_events(&self.room_id, Some(Page::AfterSeq(last)), size.max(1))
                .await?;
            for event in page.events.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
                self.print(event).await?;
                last = seq(event).max(last);
                left -= 1;
            }
            if !page.has_more || left <= 0 || page.events.is_empty() {
                // Beyond the newest event there is nothing to wait for: what comes next is the one after it.
                return Ok((page.epoch, last.min(page.head_seq)));
            }
        }
    }

    /// Prints the newest `limit` events; returns the epoch and the newest seq.
    async fn newest(&mut self, limit: u32) -> Result<(String, i64), CommandError> {
        let mut pages: Vec<Vec<Event>> = Vec::new();
        let mut left = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut newest = None;
        let mut before = None;
        loop {
            let size = PAGE.min(i32::try_from(left).unwrap_or(PAGE)).max(1);
            let page = self
                .client
                .list_events(&self.room_id, before.map(Page::BeforeSeq), size)
                .await?;
            let (epoch, head) = newest.get_or_insert((page.epoch, page.head_seq)).clone();
            left = left.saturating_sub(page.events.len());
            before = page.events.first().map(seq);
            pages.push(page.events);
            if !page.has_more || left == 0 || before.is_none() {
                let events: Vec<Event> = pages.into_iter().rev().flatten().collect();
                let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
                for event in events.iter().skip(events.len().saturating_sub(wanted)) {
                    self.print(event).await?;
                }
                return Ok((epoch, head));
            }
        }
    }

    async fn follow(&mut self, options: FeedOptions) -> Result<(), CommandError> {
        let mut feed = self.client.feed(options);
        match self.take_from(&mut feed).await {
            Ok(()) => Ok(()),
            Err(error) => Err(ending::behind(error, &mut feed).await),
        }
    }

    async fn take_from(&mut self, feed: &mut Feed) -> Result<(), CommandError> {
        let mut connected = false;
        while let Some(item) = feed.next().await {
            match item {
                Item::Event(event) if event.head.as_ref().is_some_and(|head| head.room_id == self.room_id) => {
                    self.print(&event).await?;
                }
                Item::RoomGone(gone) if gone.room_id == self.room_id => {
                    return Err(CommandError::NotAllowed(format!(
                        "you are no longer in {}",
                        visible(&self.label)
                    )));
                }
                Item::Reset(reset) if reset.room_id == self.room_id => {
                    self.context.ui.warn(
                        "the server was restored from a backup, or is another one: the room follows from its beginning",
                    );
                }
                Item::Connected { .. } => connected = true,
                Item::Alert(alert) if self.context.ui.is_json() => self.aside(&alert_object(&alert)),
                Item::Alert(alert) => {
                    let lines = alert_lines(&time::day_and_time(alert.time.as_ref()), &alert.text);
                    self.context.ui.note(&lines.join("\n"));
                }
                Item::Disconnected { reason, why, retry_in } => {
                    // Tries that follow say only how they fared.
                    let pause = ending::pause(reason, &why).filter(|_| std::mem::take(&mut connected));
                    let what = pause.unwrap_or_else(|| why.to_string());
                    self.context
                        .ui
                        .warn(&format!("{what}; trying again {}", time::from_now(retry_in)));
                }
                Item::Ended { reason, message, error } => {
                    if self.context.ui.is_json() {
                        self.aside(&ending::object(reason, &message, &error));
                    }
                    return Err(ending::failure(reason, &message, error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Prints an object that is no event of the room.
    fn aside(&self, object: &Value) {
        self.context.ui.note(&visible_json(&object.to_string()));
    }

    async fn print(&mut self, event: &Event) -> Result<(), CommandError> {
        let ui = self.context.ui;
        if ui.is_json() {
            return ui.object(&event_object(&mut self.names, &self.label, event).await?);
        }
        let Some(head) = &event.head else { return Ok(()) };
        let author = self.names.author(&head.actor_id).await?.marked();
        let start = format!("{} #{} {author}", time::day_and_time(head.time.as_ref()), head.seq);
        let (start, text) = match tell(&mut self.names, event).await? {
            Telling::Message { text, reply_to: 0 } => (format!("{start}: "), text),
            Telling::Message { text, reply_to } => (format!("{start} (to #{reply_to}): "), text),
            Telling::Edit { target, text } => (format!("{start} edited #{target}: "), text),
            Telling::Notice(words) | Telling::File(words) => return ui.line(&format!("{start} {words}")),
            Telling::Nothing => return Ok(()),
        };
        for (index, line) in visible_lines(&text).iter().enumerate() {
            ui.line(&if index == 0 {
                format!("{start}{line}")
            } else {
                format!("    | {line}")
            })?;
        }
        Ok(())
    }
}

fn seq(event: &Event) -> i64 {
    event.head.as_ref().map_or(0, |head| head.seq)
}
