//! Tab completion: commands, users, rooms, and paths of files to send.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use super::gate::Gate;
use super::session::transfers::path_of;
use super::words::{ENTRIES, Takes};
use crate::text::visible;

/// Entries of a directory that are looked at.
const MOST_ENTRIES: usize = 10_000;

/// What the terminal's thread and the chat both know.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The names of users.
    pub(crate) users: BTreeSet<String>,
    /// The names of rooms.
    pub(crate) rooms: BTreeSet<String>,
    /// When the user last typed a part of a message that is not sent yet.
    pub(crate) typing: Option<Instant>,
}

/// Completes what is typed, and notices that something is.
#[derive(Debug)]
pub(crate) struct Assistant {
    known: Arc<Mutex<Known>>,
    gate: Arc<Gate>,
}

impl Assistant {
    pub(crate) fn new(known: Arc<Mutex<Known>>, gate: Arc<Gate>) -> Self {
        Self { known, gate }
    }
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, found) = candidates(&line[..pos], &known);
        Ok((
            start,
            found
                .into_iter()
                .map(|name| Pair {
                    display: name.clone(),
                    // A directory's name goes on.
                    replacement: if name.ends_with('/') { name } else { format!("{name} ") },
                })
                .collect(),
        ))
    }
}

impl Hinter for Assistant {
    type Hint = String;

    /// Gives no hint: it is where the first drawing of the prompt and each change of the line are seen.
    fn hint(&self, line: &str, _: usize, _: &Context<'_>) -> Option<String> {
        self.gate.open();
        let is_message = !line.is_empty() && !line.starts_with(['/', '#']);
        self.known.lock().unwrap_or_else(PoisonError::into_inner).typing = is_message.then(Instant::now);
        None
    }
}

impl Highlighter for Assistant {}
impl Validator for Assistant {}
impl Helper for Assistant {}

/// Where the word begins that is being typed, and what it can become.
fn candidates(line: &str, known: &Known) -> (usize, Vec<String>) {
    let start = line
        .rfind(char::is_whitespace)
        .map_or(0, |at| at + line[at..].chars().next().map_or(1, char::len_utf8));
    let word = line[start..].to_lowercase();
    let sign = line.chars().next().filter(|sign| matches!(sign, '/' | '#'));
    if let (Some(sign), 0) = (sign, start) {
        let listed = ENTRIES
            .iter()
            .filter(|entry| !entry.help.is_empty())
            .flat_map(|entry| entry.names);
        return (
            0,
            listed
                .map(|name| format!("{sign}{name}"))
                .filter(|name| name.starts_with(&word))
                .collect(),
        );
    }
    if let Some(prefix) = word.strip_prefix('@') {
        return (
            start,
            starting_with(&known.users, prefix).map(|name| format!("@{name}")).collect(),
        );
    }
    let takes = sign.map_or(Takes::Text, |_| {
        let name = line[1..].split_whitespace().next().unwrap_or_default().to_lowercase();
        ENTRIES
            .iter()
            .find(|entry| entry.names.contains(&name.as_str()))
            .map_or(Takes::Text, |entry| entry.takes)
    });
    let is_first = line[..start].split_whitespace().count() == 1;
    match takes {
        Takes::Room => {
            // A room's name may have spaces: complete all that follows the command.
            let start = line.find(char::is_whitespace).map_or(start, |at| at + 1);
            (
                start,
                starting_with(&known.rooms, &line[start..].to_lowercase()).cloned().collect(),
            )
        }
        Takes::Path => paths_from(line, 1),
        Takes::UserAndPath if !is_first => paths_from(line, 2),
        Takes::User | Takes::UserAndPath if is_first => (start, starting_with(&known.users, &word).cloned().collect()),
        Takes::User | Takes::Text if !word.is_empty() => (start, starting_with(&known.users, &word).cloned().collect()),
        _ => (start, Vec::new()),
    }
}

/// Completes the path that begins after this many words. It may have spaces.
fn paths_from(line: &str, words: usize) -> (usize, Vec<String>) {
    let mut start = 0;
    for _ in 0..words {
        let rest = &line[start..];
        let Some(gap) = rest.find(char::is_whitespace) else {
            return (line.len(), Vec::new());
        };
        let word = rest[gap..].find(|c: char| !c.is_whitespace());
        start = word.map_or(line.len(), |word| start + gap + word);
    }
    (start, paths(&line[start..]))
}

/// The paths that begin so, directories with a `/` at their end. Names that cannot be typed, or would command the terminal, are left out.
fn paths(typed: &str) -> Vec<String> {
    let (parent, beginning) = typed.split_at(typed.rfind('/').map_or(0, |at| at + 1));
    let directory = if parent.is_empty() {
        PathBuf::from(".")
    } else {
        path_of(parent)
    };
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut found: Vec<_> = entries
        .take(MOST_ENTRIES)
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let fits = name.starts_with(beginning) && (!name.starts_with('.') || beginning.starts_with('.'));
            let end = if entry.path().is_dir() { "/" } else { "" };
            (fits && visible(&name) == name).then(|| format!("{parent}{name}{end}"))
        })
        .collect();
    found.sort();
    found
}

fn starting_with<'a>(names: &'a BTreeSet<String>, prefix: &str) -> impl Iterator<Item = &'a String> {
    names.iter().filter(move |name| name.to_lowercase().starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Known {
            users: set(&["alice", "bob", "bea"]),
            rooms: set(&["general", "Green room"]),
            typing: None,
        }
    }

    #[test]
    fn paths_are_completed_whatever_they_hold() -> std::io::Result<()> {
        let directory = tempfile::tempdir()?;
        let place = directory.path().display().to_string();
        for name in ["my file.txt", "my other", ".hidden", "e\u{1b}scape"] {
            fs::write(directory.path().join(name), "")?;
        }
        fs::create_dir(directory.path().join("mydir"))?;
        for (line, start, names) in [
            ("/upload ", "/my f", vec!["my file.txt"]),
            ("/upload  ", "/my", vec!["my file.txt", "my other", "mydir/"]),
            ("#TrfU ", "/.h", vec![".hidden"]),
            ("/send-file bob ", "/my o", vec!["my other"]),
            ("/upload ", "/e", vec![]),
            ("/upload ", "/none/x", vec![]),
        ] {
            let (at, found) = candidates(&format!("{line}{place}{start}"), &known());
            let names: Vec<_> = names.iter().map(|name| format!("{place}/{name}")).collect();
            assert_eq!((at, found), (line.len(), names), "{line}{start}");
        }
        assert_eq!(
            candidates("/send-file b", &known()),
            (11, vec!["bea".to_owned(), "bob".to_owned()])
        );
        Ok(())
    }

    #[test]
    fn commands_users_and_rooms_are_completed() {
        for (line, start, found) in [
            ("/he", 0, vec!["/help"]),
            ("#He", 0, vec!["#help"]),
            ("/msg b", 5, vec!["bea", "bob"]),
            ("#Private ", 9, vec!["alice", "bea", "bob"]),
            ("/join gr", 6, vec!["Green room"]),
            ("/room Green r", 6, vec!["Green room"]),
            ("hi @al", 3, vec!["@alice"]),
            ("hi bo", 3, vec!["bob"]),
            ("hi ", 3, vec![]),
            ("", 0, vec![]),
            ("/users ", 7, vec![]),
        ] {
            let (at, names) = candidates(line, &known());
            assert_eq!(
                (at, names),
                (start, found.into_iter().map(str::to_owned).collect()),
                "{line}"
            );
        }
    }
}
