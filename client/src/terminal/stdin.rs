//! Standard input as text: bounded, and refused if it is not UTF-8.

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Stdin, stdin};

use super::error::CommandError;

/// The longest line or message that is read, in bytes. Servers accept much less.
const LONGEST: u64 = 1024 * 1024;

/// The lines of standard input, each as soon as it is there.
#[derive(Debug)]
pub struct Lines {
    input: BufReader<Stdin>,
    number: u64,
}

impl Default for Lines {
    fn default() -> Self {
        Self::new()
    }
}

impl Lines {
    /// Begins with the first line.
    pub fn new() -> Self {
        Self {
            input: BufReader::new(stdin()),
            number: 0,
        }
    }

    /// The number of the line that was read last, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Waits for the next line, without its end; `None` at the end of the input.
    pub async fn next(&mut self) -> Result<Option<String>, CommandError> {
        let mut line = Vec::new();
        let read = (&mut self.input).take(LONGEST + 1).read_until(b'\n', &mut line).await;
        self.number += 1;
        let what = || format!("line {} of standard input", self.number);
        match read {
            Err(error) => {
                return Err(CommandError::Unreadable {
                    what: what(),
                    why: error.to_string(),
                });
            }
            Ok(0) => return Ok(None),
            Ok(_) => {}
        }
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        }
        if line.len() as u64 > LONGEST {
            return Err(CommandError::Unreadable {
                what: what(),
                why: format!("it has more than {LONGEST} bytes"),
            });
        }
        text(line, what).map(Some)
    }
}

/// All of standard input as one text, without the line break at its end.
pub async fn whole() -> Result<String, CommandError> {
    let what = || "standard input".to_owned();
    let mut bytes = Vec::new();
    let read = stdin().take(LONGEST + 1).read_to_end(&mut bytes).await;
    read.map_err(|error| CommandError::Unreadable {
        what: what(),
        why: error.to_string(),
    })?;
    if bytes.len() as u64 > LONGEST {
        return Err(CommandError::Unreadable {
            what: what(),
            why: format!("it has more than {LONGEST} bytes"),
        });
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    text(bytes, what)
}

fn text(bytes: Vec<u8>, what: impl Fn() -> String) -> Result<String, CommandError> {
    String::from_utf8(bytes).map_err(|_| CommandError::Unreadable {
        what: what(),
        why: "it is not UTF-8 text; convert it, with iconv for example".to_owned(),
    })
}
