//! Passwords: typed without being shown, or read from standard input. Never an argument, which other users of the machine can see.

use std::io::{self, Read as _};

use super::error::CommandError;

/// The most that is read from standard input, in bytes.
const LONGEST_INPUT: u64 = 8192;

/// Asks for a new password a second time.
pub const AGAIN: &str = "The same again: ";

/// Asks on the terminal.
pub fn ask(prompt: &str) -> Result<String, CommandError> {
    rpassword::prompt_password(prompt).map_err(|error| CommandError::Unreadable {
        what: "the password".to_owned(),
        why: format!("{error}; without a terminal, give it on standard input with --password-stdin"),
    })
}

/// Asks twice on the terminal, for a password that is new.
pub fn ask_new(prompt: &str) -> Result<String, CommandError> {
    let password = ask(prompt)?;
    if ask(AGAIN)? == password {
        Ok(password)
    } else {
        Err(CommandError::Failed(
            "the two passwords differ; nothing was done, try again".to_owned(),
        ))
    }
}

/// Reads `count` passwords from standard input, one a line.
pub fn from_stdin(count: usize) -> Result<Vec<String>, CommandError> {
    let unreadable = |why: String| CommandError::Unreadable {
        what: "the password on standard input".to_owned(),
        why,
    };
    let mut text = String::new();
    io::stdin()
        .lock()
        .take(LONGEST_INPUT)
        .read_to_string(&mut text)
        .map_err(|error| unreadable(error.to_string()))?;
    let lines: Vec<String> = text.lines().take(count).map(str::to_owned).collect();
    if lines.len() < count || lines.iter().any(String::is_empty) {
        return Err(unreadable(match count {
            1 => "there is none".to_owned(),
            count => format!("{count} lines are needed, with one secret each"),
        }));
    }
    Ok(lines)
}
