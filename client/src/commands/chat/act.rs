//! The commands of a chat.

use greffe::api::{MemberRole, RoomState};
use greffe::{Action, Error, FileQuery, NewRoom};

use super::session::Session;
use super::session::transfers::{self, Job};
use super::state::RoomView;
use super::words::{ENTRIES, Word, entry_of, take_reported, take_seq, take_word};
use crate::commands::context::user_name;
use crate::commands::files::described;
use crate::commands::render::{Author, kind_name, role_name};
use crate::commands::{password, target};
use crate::error::CommandError;
use crate::text::visible;

/// Messages that `/search` shows.
const FOUND: usize = 20;
/// Messages that `/history` shows if it is not told how many.
const HISTORY: i32 = 50;
/// Files that `/files` shows.
const FILES: usize = 50;

impl Session {
    /// Does what a command asks for. What the server refuses is shown, and the chat goes on.
    pub(super) async fn act(&mut self, word: Word, arguments: &str) -> Result<(), CommandError> {
        let done = match word {
            Word::Help | Word::Exit => self.help().await,
            Word::Users => self.users().await,
            Word::Rooms => self.list_rooms().await,
            Word::Members => self.members().await,
            Word::Room => self.room(arguments).await,
            Word::Private => self.private(arguments).await,
            Word::Back => self.back().await,
            Word::Msg => self.msg(arguments).await,
            Word::Join => self.join(arguments).await,
            Word::Leave => self.leave(arguments).await,
            Word::Decline => self.decline(arguments).await,
            Word::Create => self.create(arguments).await,
            Word::Invite => self.invite(arguments).await,
            Word::Remove => self.remove(arguments).await,
            Word::Role => self.role(arguments).await,
            Word::Topic => self.topic(arguments).await,
            Word::Rename => self.rename(arguments).await,
            Word::Archive => self.archive(arguments).await,
            Word::Reply => self.reply(arguments).await,
            Word::Edit => self.edit(arguments).await,
            Word::Delete => self.delete(arguments).await,
            Word::React | Word::Unreact => self.react(word, arguments).await,
            Word::Report => self.report(arguments).await,
            Word::Search => self.search(arguments).await,
            Word::History => self.show_history(arguments).await,
            Word::Read => self.read_all().await,
            Word::Whoami => self.whoami().await,
            Word::Passwd => self.passwd().await,
            Word::Upload => self.upload(arguments),
            Word::SendFile => self.send_file(arguments).await,
            Word::Transfer => self.transfer(arguments).await,
            Word::Download => self.download(arguments),
            Word::Files => self.list_files().await,
            Word::Operator => Err(Refusal::Words(
                "that is for the operator, with `greffe-admin`; /kick removes someone from a room".to_owned(),
            )),
        };
        match done {
            Ok(()) => Ok(()),
            Err(Refusal::Usage) => {
                let entry = entry_of(word);
                self.console
                    .alarm(&format!("usage: /{} {} ({})", entry.names[0], entry.usage, entry.help))
                    .await;
                Ok(())
            }
            Err(Refusal::Words(words)) => {
                self.console.alarm(&words).await;
                Ok(())
            }
            Err(Refusal::Command(CommandError::Server(error))) => {
                self.console.refused(&format!("/{}", entry_of(word).names[0]), &error).await;
                Ok(())
            }
            Err(Refusal::Over(error) | Refusal::Command(error @ CommandError::ClosedPipe)) => Err(error),
            Err(Refusal::Command(error)) => {
                self.console.alarm(&error.to_string()).await;
                Ok(())
            }
        }
    }

    async fn help(&mut self) -> Done {
        let mut lines =
            vec!["A line goes to everyone in the room. Lines that begin with / or # are commands:".to_owned()];
        for entry in ENTRIES.iter().filter(|entry| !entry.help.is_empty()) {
            let also: Vec<_> = entry.names[1..].iter().map(|name| format!(" (/{name})")).collect();
            let also = also.concat();
            let left = format!("/{} {}", entry.names[0], entry.usage);
            lines.push(format!("  {left:<34} {}{also}", entry.help));
        }
        lines.push("  //text                             send a line that begins with /".to_owned());
        lines.push(
            "SEQ is the number after the time of a message, such as #12. @name mentions someone. Tab completes."
                .to_owned(),
        );
        Ok(self.console.show(lines).await?)
    }

    async fn users(&mut self) -> Done {
        let users = self.client.users("", false).await?;
        let mut lines = Vec::new();
        for user in users {
            self.names.learn(&user);
            let mut name = self.console.look.author(&Author::from(&user));
            if !user.display_name.is_empty() {
                name = format!("{name} ({})", visible(&user.display_name));
            }
            lines.push(format!("  {} {name}", if user.online { "●" } else { "○" }));
        }
        lines.push(self.console.look.dim("● online"));
        Ok(self.console.show(lines).await?)
    }

    async fn list_rooms(&mut self) -> Done {
        let mine = self.client.my_rooms(false).await?;
        for state in &mine {
            self.take_room(state.clone()).await?;
        }
        let mut lines = Vec::new();
        for view in self.rooms.sorted() {
            let state = mine.iter().find(|state| target::room_id(state) == view.id());
            let Some(state) = state else { continue };
            let room = state.room.clone().unwrap_or_default();
            let here = if self.rooms.is_current(view.id()) { "→" } else { " " };
            let what = if view.is_mine() {
                kind_name(room.kind())
            } else {
                "invitation: /join or /decline"
            };
            let unread = if state.unread_count > 0 {
                format!(", {} unread", state.unread_count)
            } else {
                String::new()
            };
            lines.push(format!(
                "{here} {} ({what}{unread}) {}",
                visible(&view.label),
                visible(&room.topic)
            ));
        }
        let public = self.client.public_rooms(false).await?;
        for state in public.iter().filter(|state| self.rooms.get(target::room_id(state)).is_none()) {
            let room = state.room.clone().unwrap_or_default();
            if let Some(terminal) = self.console.as_terminal() {
                terminal.known().rooms.insert(room.name.clone());
            }
            lines.push(format!(
                "  {} (public, {} members: /join) {}",
                visible(&room.name),
                room.member_count,
                visible(&room.topic)
            ));
        }
        Ok(self.console.show(lines).await?)
    }

    async fn members(&mut self) -> Done {
        let room_id = self.here()?;
        let members = self.client.members(&room_id).await?;
        let lines: Vec<_> = members
            .into_iter()
            .map(|member| {
                let sign = if self.online.contains(&member.user_id) {
                    "●"
                } else {
                    "○"
                };
                format!(
                    "  {sign} {} ({})",
                    self.console.look.name(&member.user_name),
                    role_name(member.role())
                )
            })
            .collect();
        Ok(self.console.show(lines).await?)
    }

    async fn room(&mut self, arguments: &str) -> Done {
        if arguments.is_empty() {
            return Err(Refusal::Usage);
        }
        if arguments.starts_with('@') {
            return self.private(arguments).await;
        }
        let state = self.find(arguments).await?;
        if matches!(state.my_role(), MemberRole::Unspecified | MemberRole::Invited) {
            return Err(Refusal::Words(format!("you are not in {arguments}: /join {arguments}")));
        }
        self.go_to(state).await
    }

    async fn private(&mut self, arguments: &str) -> Done {
        let (user, text) = take_word(arguments).ok_or(Refusal::Usage)?;
        let state = target::direct(&self.client, user).await?;
        let room_id = target::room_id(&state).to_owned();
        self.go_to(state).await?;
        if !text.is_empty() {
            self.send(room_id, text.to_owned(), 0).await;
        }
        Ok(())
    }

    async fn back(&mut self) -> Done {
        let way = match self.rooms.way_back() {
            Some(way) => way.to_owned(),
            None => self.client.server_info().await?.general_room_id.clone(),
        };
        Ok(self.enter(&way).await?)
    }

    async fn msg(&mut self, arguments: &str) -> Done {
        let (user, text) = take_word(arguments)
            .filter(|(_, text)| !text.is_empty())
            .ok_or(Refusal::Usage)?;
        let state = target::direct(&self.client, user).await?;
        let room_id = target::room_id(&state).to_owned();
        self.take_room(state).await?;
        self.send(room_id, text.to_owned(), 0).await;
        Ok(())
    }

    async fn join(&mut self, arguments: &str) -> Done {
        if arguments.is_empty() {
            return Err(Refusal::Usage);
        }
        let state = self.find(arguments).await?;
        if !matches!(state.my_role(), MemberRole::Unspecified | MemberRole::Invited) {
            return self.go_to(state).await;
        }
        match self.client.join_room(target::room_id(&state)).await?.0 {
            Some(state) => self.go_to(state).await,
            None => Err(Refusal::Words(format!("you are no longer in {arguments}"))),
        }
    }

    async fn leave(&mut self, arguments: &str) -> Done {
        if arguments.is_empty() && self.rooms.current().is_some_and(RoomView::is_direct) {
            // One leaves a person by going back; the conversation stays.
            return self.back().await;
        }
        let room_id = if arguments.is_empty() {
            self.here()?
        } else {
            target::room_id(&self.find(arguments).await?).to_owned()
        };
        let was_here = self.rooms.is_current(&room_id);
        self.client.leave_room(&room_id).await?;
        if was_here {
            let general = self.client.server_info().await?.general_room_id.clone();
            self.enter(&general).await?;
        }
        Ok(())
    }

    async fn decline(&mut self, arguments: &str) -> Done {
        if arguments.is_empty() {
            return Err(Refusal::Usage);
        }
        let state = self.find(arguments).await?;
        if state.my_role() != MemberRole::Invited {
            return Err(Refusal::Words(format!(
                "you have no invitation to {arguments}; /leave leaves a room"
            )));
        }
        self.client.leave_room(target::room_id(&state)).await?;
        Ok(())
    }

    async fn create(&mut self, arguments: &str) -> Done {
        let (name, private) = match arguments
            .strip_suffix("--private")
            .or_else(|| arguments.strip_prefix("--private "))
        {
            Some(name) => (name.trim(), true),
            None => (arguments, false),
        };
        if name.is_empty() {
            return Err(Refusal::Usage);
        }
        let (state, _) = self
            .client
            .create_room(NewRoom {
                name: name.to_owned(),
                private,
                ..NewRoom::default()
            })
            .await?;
        self.go_to(state).await
    }

    async fn invite(&mut self, arguments: &str) -> Done {
        let (room_id, user_id, name, _) = self.member(arguments).await?;
        self.client.invite_member(&room_id, &user_id).await?;
        self.console.note(&format!("{name} is invited")).await;
        Ok(())
    }

    async fn remove(&mut self, arguments: &str) -> Done {
        let (room_id, user_id, _, reason) = self.member(arguments).await?;
        self.client.remove_member(&room_id, &user_id, &reason).await?;
        Ok(())
    }

    async fn role(&mut self, arguments: &str) -> Done {
        let (room_id, user_id, _, role) = self.member(arguments).await?;
        let role = match role.to_lowercase().as_str() {
            "member" => MemberRole::Member,
            "moderator" => MemberRole::Moderator,
            "owner" => MemberRole::Owner,
            _ => return Err(Refusal::Usage),
        };
        self.client.set_member_role(&room_id, &user_id, role).await?;
        Ok(())
    }

    async fn topic(&mut self, arguments: &str) -> Done {
        let room_id = self.here()?;
        if arguments.is_empty() {
            let topic = self.client.room_by_id(&room_id).await?.room.unwrap_or_default().topic;
            let line = if topic.is_empty() {
                "there is no topic".to_owned()
            } else {
                visible(&topic)
            };
            return Ok(self.console.show([line]).await?);
        }
        self.client.set_topic(&room_id, arguments).await?;
        Ok(())
    }

    async fn rename(&mut self, arguments: &str) -> Done {
        if arguments.is_empty() {
            return Err(Refusal::Usage);
        }
        let room_id = self.here()?;
        self.client.rename_room(&room_id, arguments).await?;
        let state = self.client.room_by_id(&room_id).await?;
        Ok(self.take_room(state).await?)
    }

    async fn archive(&mut self, arguments: &str) -> Done {
        let view = self.rooms.current().ok_or_else(no_room)?;
        let (room_id, label) = (view.id().to_owned(), view.label.clone());
        // What cannot be undone is confirmed by the room's name.
        let reason = arguments
            .strip_prefix(&label)
            .filter(|rest| rest.is_empty() || rest.starts_with(' '));
        let Some(reason) = reason else {
            return Err(Refusal::Words(format!(
                "to close this room for good, type /archive {label}"
            )));
        };
        self.client.archive_room(&room_id, reason.trim()).await?;
        Ok(())
    }

    async fn reply(&mut self, arguments: &str) -> Done {
        let (seq, text) = take_seq(arguments).filter(|(_, text)| !text.is_empty()).ok_or(Refusal::Usage)?;
        let room_id = self.here()?;
        self.send(room_id, text.to_owned(), seq).await;
        Ok(())
    }

    async fn edit(&mut self, arguments: &str) -> Done {
        let (seq, text) = match take_seq(arguments) {
            Some((seq, text)) if !text.is_empty() => (seq, text),
            _ => (self.my_last()?, arguments),
        };
        if text.is_empty() {
            return Err(Refusal::Usage);
        }
        let room_id = self.here()?;
        let action = Action::Edit {
            room_id: room_id.clone(),
            seq,
            text: text.to_owned(),
        };
        self.dispatch_change(&room_id, action, "not edited").await;
        Ok(())
    }

    async fn delete(&mut self, arguments: &str) -> Done {
        let seq = match take_seq(arguments) {
            Some((seq, "")) => seq,
            None if arguments.is_empty() => self.my_last()?,
            _ => return Err(Refusal::Usage),
        };
        let room_id = self.here()?;
        self.dispatch_change(
            &room_id,
            Action::Delete {
                room_id: room_id.clone(),
                seq,
            },
            "not deleted",
        )
        .await;
        Ok(())
    }

    async fn react(&mut self, word: Word, arguments: &str) -> Done {
        let (seq, emoji) = take_seq(arguments)
            .filter(|(_, emoji)| !emoji.is_empty())
            .ok_or(Refusal::Usage)?;
        let room_id = self.here()?;
        let emoji = emoji.trim_end().to_owned();
        let action = if word == Word::React {
            Action::React {
                room_id: room_id.clone(),
                seq,
                emoji,
            }
        } else {
            Action::Unreact {
                room_id: room_id.clone(),
                seq,
                emoji,
            }
        };
        self.dispatch_change(&room_id, action, "no reaction").await;
        Ok(())
    }

    async fn report(&mut self, arguments: &str) -> Done {
        let (seq, reason) = take_reported(arguments);
        if reason.is_empty() {
            return Err(Refusal::Usage);
        }
        let view = self.rooms.current().ok_or_else(no_room)?;
        let seq = seq.or_else(|| view.last_of_others()).ok_or_else(|| {
            Refusal::Words("I know of no message of somebody else here: name it by its number".to_owned())
        })?;
        let room_id = view.id().to_owned();
        let what = self.quoted(&room_id, seq).unwrap_or_default();
        self.client.report_message(&room_id, seq, reason).await?;
        self.console.note(&format!("reported to the operator: {what}")).await;
        Ok(())
    }

    async fn search(&mut self, arguments: &str) -> Done {
        if arguments.is_empty() {
            return Err(Refusal::Usage);
        }
        let found = self.client.search(arguments, "", FOUND).await?;
        if found.is_empty() {
            self.console.note("nothing was found").await;
        }
        // Oldest first, as everywhere in a chat.
        for message in found.iter().rev() {
            let label = self.label(&message.room_id);
            self.show_message(message, Some(&label)).await?;
        }
        Ok(())
    }

    async fn show_history(&mut self, arguments: &str) -> Done {
        let count = match arguments {
            "" => HISTORY,
            number => number
                .parse()
                .ok()
                .filter(|count| (1..=500).contains(count))
                .ok_or(Refusal::Usage)?,
        };
        self.here()?;
        Ok(self.history(count).await?)
    }

    async fn read_all(&mut self) -> Done {
        let view = self.rooms.current().ok_or_else(no_room)?;
        let (room_id, head) = (view.id().to_owned(), view.state.head_seq);
        if head > 0 {
            let seq = self.client.mark_read(&room_id, head).await?;
            self.console.note(&format!("read up to #{seq}")).await;
        }
        Ok(())
    }

    fn upload(&mut self, arguments: &str) -> Done {
        let room_id = self.here()?;
        self.begin_upload(arguments, room_id)
    }

    async fn send_file(&mut self, arguments: &str) -> Done {
        let (user, path) = take_word(arguments)
            .filter(|(_, path)| !path.is_empty())
            .ok_or(Refusal::Usage)?;
        let state = target::direct(&self.client, user).await?;
        let room_id = target::room_id(&state).to_owned();
        self.take_room(state).await?;
        self.begin_upload(path, room_id)
    }

    /// What the chat that Greffe replaces called `#TrfU file` and `#TrfU private user file`.
    async fn transfer(&mut self, arguments: &str) -> Done {
        match take_word(arguments) {
            Some((first, rest)) if first.eq_ignore_ascii_case("private") && take_word(rest).is_some() => {
                self.send_file(rest).await
            }
            _ => self.upload(arguments),
        }
    }

    fn begin_upload(&mut self, path: &str, room_id: String) -> Done {
        if path.is_empty() {
            return Err(Refusal::Usage);
        }
        let path = transfers::path_of(path);
        self.transfers.begin(Job::Send { path, room_id }).map_err(Refusal::Words)
    }

    fn download(&mut self, arguments: &str) -> Done {
        if arguments.is_empty() {
            return Err(Refusal::Usage);
        }
        let job = Job::Fetch {
            file: arguments.to_owned(),
        };
        self.transfers.begin(job).map_err(Refusal::Words)
    }

    async fn list_files(&mut self) -> Done {
        let files = self.client.files(&FileQuery::default()).await?;
        let mut lines = Vec::new();
        for file in files.iter().take(FILES) {
            let author = self.names.author(&file.owner_id).await?;
            let room = file.shares.first().map(|share| self.label(&share.room_id)).unwrap_or_default();
            lines.push(format!(
                "  {} from {} in {}",
                described(&file.name, file.size, &file.id),
                self.console.look.author(&author),
                visible(&room),
            ));
        }
        if files.is_empty() {
            lines.push("there are no files".to_owned());
        } else if files.len() > FILES {
            lines.push(format!(
                "  and {} more: `greffe files ls` lists all",
                files.len() - FILES
            ));
        }
        Ok(self.console.show(lines).await?)
    }

    async fn whoami(&mut self) -> Done {
        let me = self.client.me().await?;
        let line = format!("{} on {}", visible(&me.name), self.client.address());
        Ok(self.console.show([line]).await?)
    }

    async fn passwd(&mut self) -> Done {
        let current = self.secret("Current password: ").await?;
        let new = self.secret("New password: ").await?;
        if self.secret(password::AGAIN).await? != new {
            return Err(Refusal::Words("the two passwords differ; nothing was done".to_owned()));
        }
        let ended = self.client.change_password(&current, &new).await?;
        self.console
            .note(&format!("the password is changed; other sessions that ended: {ended}"))
            .await;
        Ok(())
    }

    /// Asks for something that is not shown. Meanwhile the chat goes on, and may end.
    async fn secret(&mut self, question: &str) -> Result<String, Refusal> {
        let Some(terminal) = self.console.as_terminal() else {
            return Err(Refusal::Words(
                "passwords are asked for on a terminal only: use `greffe passwd --password-stdin`".to_owned(),
            ));
        };
        let answer = terminal.ask_secret(question);
        Ok(self.meanwhile(answer).await.map_err(Refusal::Over)??)
    }

    /// The current room's id.
    fn here(&self) -> Result<String, Refusal> {
        self.rooms.current().map(|view| view.id().to_owned()).ok_or_else(no_room)
    }

    fn my_last(&self) -> Result<i64, Refusal> {
        self.rooms
            .current()
            .ok_or_else(no_room)?
            .my_last
            .ok_or_else(|| Refusal::Words("I know of no message of yours here: name it by its number".to_owned()))
    }

    /// A room of the user by what it is called, or else one that the server finds.
    async fn find(&mut self, typed: &str) -> Result<RoomState, Refusal> {
        let name = match self.rooms.find(typed) {
            Some(view) => view.id().to_owned(),
            None => return Ok(target::find(&self.client, typed).await?),
        };
        Ok(self.client.room_by_id(&name).await?)
    }

    async fn go_to(&mut self, state: RoomState) -> Done {
        let room_id = target::room_id(&state).to_owned();
        self.take_room(state).await?;
        Ok(self.enter(&room_id).await?)
    }

    /// The current room, a user named first in `arguments`, and the rest.
    async fn member(&mut self, arguments: &str) -> Result<(String, String, String, String), Refusal> {
        let (user, rest) = take_word(arguments).ok_or(Refusal::Usage)?;
        let room_id = self.here()?;
        let user = self.client.user_by_name(&user_name(user)).await?;
        Ok((room_id, user.id, user.name, rest.to_owned()))
    }
}

type Done = Result<(), Refusal>;

/// Why a command did nothing.
enum Refusal {
    /// It needs something else after it.
    Usage,
    /// These words say why.
    Words(String),
    /// The server refused, or the program failed.
    Command(CommandError),
    /// The chat ended meanwhile.
    Over(CommandError),
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Command(error.into())
    }
}

fn no_room() -> Refusal {
    Refusal::Words("you are in no room: /room NAME goes to one".to_owned())
}
