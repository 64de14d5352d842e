//! Reading lines at the prompt, with a history and with completion of commands and user names.

use std::collections::BTreeSet;
use std::path::PathBuf;

use greffe::terminal::error::CommandError;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Helper};

use super::{command_names, words};

/// Typed lines that are kept.
const HISTORY: usize = 1000;

/// What came from the keyboard.
#[derive(Debug)]
pub(super) enum Typed {
    /// A line.
    Line(String),
    /// Ctrl-C: a line that is not meant.
    Nothing,
    /// Ctrl-D, or the end of the input.
    End,
}

/// The line editor.
pub(super) struct Editor {
    editor: rustyline::Editor<Assistant, FileHistory>,
    history: PathBuf,
}

impl Editor {
    /// Opens it, with the lines of earlier times.
    pub(super) fn open(history: PathBuf) -> Result<Self, CommandError> {
        let failed = |error: ReadlineError| CommandError::Failed(format!("the terminal cannot be used: {error}"));
        let config = Config::builder()
            .max_history_size(HISTORY)
            .map_err(failed)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .build();
        let mut editor = rustyline::Editor::with_config(config).map_err(failed)?;
        editor.set_helper(Some(Assistant {
            commands: command_names(),
            users: BTreeSet::new(),
        }));
        // A history that is not there yet, or that cannot be read, is no reason not to go on.
        drop(editor.load_history(&history));
        Ok(Self { editor, history })
    }

    /// Names of users, to complete.
    pub(super) fn set_users(&mut self, users: BTreeSet<String>) {
        if let Some(assistant) = self.editor.helper_mut() {
            assistant.users = users;
        }
    }

    /// Waits for a line, which is `remembered` or not. Other work of the runtime goes on meanwhile.
    pub(super) fn read(&mut self, prompt: &str, remembered: bool) -> Result<Typed, CommandError> {
        let line = match tokio::task::block_in_place(|| self.editor.readline(prompt)) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => return Ok(Typed::Nothing),
            Err(ReadlineError::Eof) => return Ok(Typed::End),
            Err(error) => {
                return Err(CommandError::Unreadable {
                    what: "the terminal".to_owned(),
                    why: error.to_string(),
                });
            }
        };
        if remembered && !line.trim().is_empty() && self.editor.add_history_entry(line.as_str()).unwrap_or(false) {
            // A history that cannot be written is no reason to stop.
            drop(self.editor.append_history(&self.history));
        }
        Ok(Typed::Line(line))
    }
}

/// Completes what is typed.
struct Assistant {
    commands: Vec<String>,
    users: BTreeSet<String>,
}

impl Assistant {
    /// Where the word begins that is being typed, and what it can become.
    fn candidates(&self, line: &str) -> (usize, Vec<String>) {
        let start = line
            .rfind(char::is_whitespace)
            .map_or(0, |at| at + line[at..].chars().next().map_or(1, char::len_utf8));
        let word = line[start..].to_lowercase();
        if start == 0 {
            return match line.chars().next() {
                Some(sign @ ('#' | '/')) => {
                    let named = words::names().map(|name| format!("{sign}{name}"));
                    (0, named.filter(|name| name.to_lowercase().starts_with(&word)).collect())
                }
                _ => (0, starting_with(&self.commands, &word)),
            };
        }
        match word.strip_prefix('@') {
            Some(name) => {
                let users = starting_with(&self.users, name);
                (start, users.into_iter().map(|user| format!("@{user}")).collect())
            }
            None => (start, starting_with(&self.users, &word)),
        }
    }
}

fn starting_with<'a>(names: impl IntoIterator<Item = &'a String>, prefix: &str) -> Vec<String> {
    names.into_iter().filter(|name| name.starts_with(prefix)).cloned().collect()
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, found) = self.candidates(&line[..pos]);
        let pair = |name: String| Pair {
            replacement: format!("{name} "),
            display: name,
        };
        Ok((start, found.into_iter().map(pair).collect()))
    }
}

impl Hinter for Assistant {
    type Hint = String;
}
impl Highlighter for Assistant {}
impl Validator for Assistant {}
impl Helper for Assistant {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_words_and_users_are_completed() {
        let assistant = Assistant {
            commands: command_names(),
            users: ["alice", "bea", "bob"].map(str::to_owned).into(),
        };
        for (line, start, found) in [
            ("ki", 0, vec!["kick"]),
            ("#k", 0, vec!["#Kill"]),
            ("/liST", 0, vec!["/ListU", "/ListF"]),
            ("kick b", 5, vec!["bea", "bob"]),
            ("ban @a", 4, vec!["@alice"]),
            ("#Private ", 9, vec!["alice", "bea", "bob"]),
        ] {
            let expected: Vec<String> = found.into_iter().map(str::to_owned).collect();
            assert_eq!(assistant.candidates(line), (start, expected), "{line}");
        }
    }
}
