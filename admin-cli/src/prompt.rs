//! The prompt: all commands without the program's name, and the words of the chat that Greffe replaces.

mod editor;
mod words;

use std::collections::BTreeSet;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{CommandFactory as _, FromArgMatches as _};
use greffe::admin_api::ListUsersRequest;
use greffe::terminal::error::{CommandError, Exit};
use greffe::terminal::shell;
use greffe::terminal::text::visible;
use greffe::terminal::ui::Ui;
use tokio::time::{Instant, timeout};

use crate::cli::{Cli, ReasonArgs};
use crate::commands::files::ListArgs;
use crate::commands::{self, PAGE, alert, files, message, preview, stop, users};
use crate::context::Context;
use crate::hints;
use crate::target;
use editor::{Editor, Typed};
use words::{Line, Word};

/// The reason of acts for which the old words have no place.
const USUAL_REASON: &str = "by the operator's prompt";
/// Options that belong to the connection, which the prompt has already.
const OF_THE_CONNECTION: [&str; 6] = ["socket", "data_dir", "server", "ca", "token_file", "show_rpc"];
/// How long user names are remembered for completion, and how long asking for them may take.
const NAMES_FOR: Duration = Duration::from_secs(30);
const NAMES_WITHIN: Duration = Duration::from_secs(1);

/// Whether the prompt goes on after a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Go,
    End,
}

/// The prompt's state between lines.
struct Prompt<'a> {
    context: &'a Context,
    /// To whom each line is sent, if one person is talked to.
    private: Option<String>,
    /// When the names of users were asked for.
    names_at: Option<Instant>,
}

/// Takes lines until the end.
pub(crate) async fn run(context: &Context) -> Result<(), CommandError> {
    let mut prompt = Prompt {
        context,
        private: None,
        names_at: None,
    };
    // Whoever is not let in learns it before the first line.
    let touched = preview::everyone(context.operator().await?).await?;
    let ui = context.ui;
    ui.note(&format!(
        "you operate {touched}\n`help` lists the commands, #Help the short words; quit or Ctrl-D leaves, and the server goes on"
    ));
    let mut editor = Editor::open(context.config.history()?)?;
    loop {
        if let Some(names) = prompt.names().await {
            editor.set_users(names);
        }
        let name = match &prompt.private {
            Some(user) => format!("@{}> ", visible(user)),
            None => "greffe-admin> ".to_owned(),
        };
        // What is written to one person stays out of the history.
        let next = match editor.read(&name, prompt.private.is_none())? {
            Typed::End => Next::End,
            Typed::Nothing => Next::Go,
            Typed::Line(line) => tokio::select! {
                next = prompt.act(&line) => match next {
                    Ok(next) => next,
                    Err(error) if error.exit() == Exit::Done => Next::End,
                    Err(error) => {
                        ui.fail(&error);
                        Next::Go
                    }
                },
                // A command that goes on, such as `log audit --follow`, ends so; one that changes something may have done it.
                _ = tokio::signal::ctrl_c() => {
                    ui.note("interrupted; `log audit` tells what was done");
                    Next::Go
                }
            },
        };
        if next == Next::End {
            return Ok(());
        }
    }
}

impl Prompt<'_> {
    /// The names of users, if they are to be asked for again. Without an answer there is no completion, and no other harm.
    async fn names(&mut self) -> Option<BTreeSet<String>> {
        if self.names_at.is_some_and(|at| at.elapsed() < NAMES_FOR) {
            return None;
        }
        self.names_at = Some(Instant::now());
        let request = ListUsersRequest {
            page_size: PAGE,
            ..ListUsersRequest::default()
        };
        let operator = self.context.operator().await.ok()?;
        let page = timeout(NAMES_WITHIN, operator.call(request)).await.ok()?.ok()?;
        Some(page.users.into_iter().map(|user| user.name).collect())
    }

    async fn act(&mut self, line: &str) -> Result<Next, CommandError> {
        match words::parse(line, self.private.is_some()) {
            Line::Nothing => Ok(Next::Go),
            Line::Leave => Ok(Next::End),
            Line::Word(word, rest) => self.word(word, &rest).await,
            Line::Text(text) => {
                if let Some(user) = self.private.clone() {
                    self.send(&user, &text).await?;
                }
                Ok(Next::Go)
            }
            Line::Command(line) => {
                self.command(&line).await?;
                Ok(Next::Go)
            }
        }
    }

    async fn word(&mut self, word: Word, rest: &str) -> Result<Next, CommandError> {
        let ui = self.context.ui;
        match word {
            Word::Help => words::help().iter().try_for_each(|line| ui.line(line))?,
            Word::Alert if rest.is_empty() => {
                return Err(CommandError::Usage("write the text after #Alert".to_owned()));
            }
            Word::Alert => {
                let context = self.usual();
                let reason = context.reason(&ReasonArgs::default())?;
                alert::send(rest, None, reason, &context).await?;
            }
            Word::Kill => {
                let (user, reason) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                if user.is_empty() {
                    return Err(CommandError::Usage("name a user after #Kill".to_owned()));
                }
                let mut words = vec!["kick".to_owned()];
                if !reason.trim().is_empty() {
                    words.push(format!("--reason={}", reason.trim()));
                }
                words.extend(["--".to_owned(), user.to_owned()]);
                self.run(words).await?;
            }
            Word::Private => self.talk(rest).await?,
            Word::Leave => {
                if self.private.take().is_none() {
                    ui.note("you talk to nobody in particular");
                }
            }
            Word::Users => users::list_online(self.context).await?,
            Word::Files => files::list(&ListArgs::default(), &ReasonArgs::default(), self.context).await?,
            Word::Exit => {
                let given = (!rest.is_empty()).then(|| rest.to_owned());
                let reason = self.context.reason(&ReasonArgs { reason: given })?;
                stop::stop(None, reason, self.context).await?;
                return Ok(Next::End);
            }
        }
        Ok(Next::Go)
    }

    /// `#Private NAME`, `#Private NAME text`, `#Private`.
    async fn talk(&mut self, rest: &str) -> Result<(), CommandError> {
        let ui = self.context.ui;
        let (user, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        if user.is_empty() {
            return match self.private.take() {
                Some(_) => Ok(()),
                None => Err(CommandError::Usage("name a user after #Private".to_owned())),
            };
        }
        let user = target::user(user);
        if !text.trim().is_empty() {
            return self.send(&user, text.trim()).await;
        }
        // A name that does not exist shows now, not with the first line.
        let found = preview::find_user(self.context.operator().await?, &user).await?;
        ui.note(&format!(
            "each line is a message to {} now, until #Private alone or #Leave",
            found.name
        ));
        self.private = Some(found.name);
        Ok(())
    }

    async fn send(&self, user: &str, text: &str) -> Result<(), CommandError> {
        let context = self.usual();
        let reason = context.reason(&ReasonArgs::default())?;
        message::send(user, text, reason, &context).await
    }

    /// The context of acts that need no reason of their own.
    fn usual(&self) -> Context {
        let context = self.context;
        context.derived(context.global.clone(), context.ui, Some(USUAL_REASON))
    }

    async fn command(&self, line: &str) -> Result<(), CommandError> {
        let mut words = shell::split(line).map_err(|error| CommandError::Usage(error.to_string()))?;
        // Lines that `since` printed can be pasted.
        if words.first().is_some_and(|first| first == "greffe-admin") {
            words.remove(0);
        }
        self.run(words).await
    }

    async fn run(&self, words: Vec<String>) -> Result<(), CommandError> {
        let name = "greffe-admin".to_owned();
        let ui = self.context.ui;
        let matches = match Cli::command().try_get_matches_from([name].into_iter().chain(words)) {
            Ok(matches) => matches,
            Err(error) => {
                // Help is what was asked for; anything else is a mistake, told by clap with what would be right.
                let text = error.render().to_string();
                return match error.exit_code() {
                    0 => text.lines().try_for_each(|line| ui.line(line)),
                    _ => Err(CommandError::Usage(
                        text.trim().trim_start_matches("error: ").to_owned(),
                    )),
                };
            }
        };
        for option in OF_THE_CONNECTION {
            if matches.value_source(option) == Some(ValueSource::CommandLine) {
                return Err(CommandError::usage(
                    format!(
                        "--{} belongs to the connection, which this prompt has already",
                        option.replace('_', "-")
                    ),
                    "quit, and start greffe-admin with it",
                ));
            }
        }
        let cli = Cli::from_arg_matches(&matches).map_err(|error| CommandError::Usage(error.to_string()))?;
        let Some(command) = cli.command else { return Ok(()) };
        let outer = &self.context.global;
        let mut global = outer.clone();
        global.yes |= cli.global.yes;
        global.json |= cli.global.json;
        global.no_color |= cli.global.no_color;
        let ui = Ui::new(global.json, global.no_color, hints::hint);
        let context = self.context.derived(global, ui, None);
        // Boxed: the commands' futures are large, and this one is kept inside another.
        Box::pin(commands::run(command, &context)).await
    }
}

/// The names of all commands, for completion.
fn command_names() -> Vec<String> {
    Cli::command()
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .chain(["help".to_owned(), "quit".to_owned()])
        .collect()
}

/// Whether a word is the name of a command.
fn is_command(word: &str) -> bool {
    word == "help" || Cli::command().find_subcommand(word).is_some()
}
