//! What is kept on this machine: tokens, the last login, the certificates of known servers, the history of typed lines.
//!
//! ```text
//! <config dir>/                       0700; GREFFE_CONFIG_DIR, or `greffe` in the user's configuration directory
//!   current                           the server and the user of the last login
//!   known_servers                     HOST:PORT and fingerprint of TLS servers
//!   history, operator-history         lines typed in `greffe chat`, and at the operator's prompt
//!   accounts/<server>/<user>          a token, 0600
//!   accounts/<server>/.current        the user of the last login there
//!   transfers/<server>/               how far files are on their way, so that the same command goes on with them
//!   witness/<server>-<hash>/          the newest checkpoint of a server's record, some older ones, and what did not fit
//!   operators/, current-operator      the same for logins at operators' ports
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;

use super::error::CommandError;
use crate::ServerAddress;

/// The longest token file that is read, in bytes.
const LONGEST_TOKEN: u64 = 4096;

/// The configuration directory.
#[derive(Clone, Debug)]
pub struct Config {
    directory: PathBuf,
    files: &'static Files,
}

/// What is kept apart for members and for operators, who may be the same person with the same name.
#[derive(Debug)]
struct Files {
    accounts: &'static str,
    current: &'static str,
    history: &'static str,
}

const MEMBERS: Files = Files {
    accounts: "accounts",
    current: "current",
    history: "history",
};
const OPERATORS: Files = Files {
    accounts: "operators",
    current: "current-operator",
    history: "operator-history",
};

impl Config {
    /// Finds the directory, for what a member keeps; nothing is created yet.
    pub fn locate() -> Result<Self, CommandError> {
        Self::with(&MEMBERS)
    }

    /// Finds the directory, for what an operator keeps; nothing is created yet.
    pub fn locate_for_operators() -> Result<Self, CommandError> {
        Self::with(&OPERATORS)
    }

    fn with(files: &'static Files) -> Result<Self, CommandError> {
        if let Some(directory) = std::env::var_os("GREFFE_CONFIG_DIR").filter(|value| !value.is_empty()) {
            return Ok(Self {
                directory: directory.into(),
                files,
            });
        }
        let base = etcetera::choose_base_strategy().map_err(|error| {
            CommandError::Failed(format!(
                "no home directory is known ({error}); set GREFFE_CONFIG_DIR to a directory of yours"
            ))
        })?;
        Ok(Self {
            directory: base.config_dir().join("greffe"),
            files,
        })
    }

    /// The file with the certificates of known servers.
    pub fn known_servers(&self) -> PathBuf {
        self.directory.join("known_servers")
    }

    /// The directory with the checkpoints of servers.
    pub fn witness(&self) -> PathBuf {
        self.directory.join("witness")
    }

    /// The file with the lines typed at the prompt. Its directory exists afterwards.
    pub fn history(&self) -> Result<PathBuf, CommandError> {
        make_private_directory(&self.directory)?;
        Ok(self.directory.join(self.files.history))
    }

    /// The server of the last login.
    pub fn last_server(&self) -> Result<Option<String>, CommandError> {
        Ok(read(&self.directory.join(self.files.current))?
            .and_then(|text| Some(text.split_whitespace().next()?.to_owned())))
    }

    /// The user of the last login to a server.
    pub fn last_user(&self, server: &ServerAddress) -> Result<Option<String>, CommandError> {
        Ok(read(&self.accounts(server).join(".current"))?
            .map(|text| text.trim().to_owned())
            .filter(|name| is_file_name(name)))
    }

    /// The token of a login.
    pub fn token(&self, server: &ServerAddress, user: &str) -> Result<Option<String>, CommandError> {
        if !is_file_name(user) {
            return Ok(None);
        }
        Ok(read(&self.accounts(server).join(user))?
            .map(|text| text.trim().to_owned())
            .filter(|token| !token.is_empty()))
    }

    /// Keeps a login, and makes it the one that is meant when none is named.
    pub fn save_login(&self, server: &ServerAddress, user: &str, token: &str) -> Result<(), CommandError> {
        if !is_file_name(user) {
            return Err(CommandError::Failed(format!(
                "the server gave the user name {user:?}, which is none; do not trust it"
            )));
        }
        let accounts = self.accounts(server);
        make_private_directory(&self.directory)?;
        make_private_directory(&self.directory.join(self.files.accounts))?;
        make_private_directory(&accounts)?;
        write_private(&accounts.join(user), token)?;
        write_private(&accounts.join(".current"), user)?;
        write_private(&self.directory.join(self.files.current), &format!("{server} {user}"))
    }

    /// Forgets a login.
    pub fn forget_login(&self, server: &ServerAddress, user: &str) -> Result<(), CommandError> {
        if !is_file_name(user) {
            return Ok(());
        }
        let accounts = self.accounts(server);
        remove(&accounts.join(user))?;
        if self.last_user(server)?.as_deref() == Some(user) {
            remove(&accounts.join(".current"))?;
        }
        Ok(())
    }

    /// The directory for notes on files that are on their way to and from a server. It exists afterwards.
    pub fn transfers(&self, server: &ServerAddress) -> Result<PathBuf, CommandError> {
        let transfers = self.directory.join("transfers");
        let directory = transfers.join(directory_name(server));
        make_private_directory(&self.directory)?;
        make_private_directory(&transfers)?;
        make_private_directory(&directory)?;
        Ok(directory)
    }

    fn accounts(&self, server: &ServerAddress) -> PathBuf {
        self.directory.join(self.files.accounts).join(directory_name(server))
    }
}

/// A server's address as the name of a directory.
fn directory_name(server: &ServerAddress) -> String {
    server
        .to_string()
        .replace("://", "_")
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') {
                c
            } else {
                '_'
            }
        })
        .collect()
}

/// Reads a token from a file that the user named.
pub fn read_token_file(path: &Path) -> Result<String, CommandError> {
    let unreadable = |why: String| CommandError::Unreadable {
        what: format!("the token file {}", path.display()),
        why,
    };
    let token = read_small(path)
        .map_err(|error| unreadable(error.to_string()))?
        .trim()
        .to_owned();
    if token.is_empty() {
        Err(unreadable("it is empty".to_owned()))
    } else {
        Ok(token)
    }
}

/// Whether a user name can name a file: what the server promises of user names, and nothing else.
fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
}

fn read_small(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(File::open(path)?, LONGEST_TOKEN), &mut text)?;
    Ok(text)
}

/// Reads a small file; `None` if there is none.
pub fn read(path: &Path) -> Result<Option<String>, CommandError> {
    match read_small(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CommandError::Config {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Removes a file, if there is one.
pub fn remove(path: &Path) -> Result<(), CommandError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(CommandError::Config {
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

fn make_private_directory(path: &Path) -> Result<(), CommandError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|source| CommandError::Config {
        path: path.to_owned(),
        source,
    })
}

/// Writes a file that only the user can read, all of it or nothing.
pub fn write_private(path: &Path, text: &str) -> Result<(), CommandError> {
    let unfinished = path.with_file_name(format!(".{}.new", std::process::id()));
    let write = || {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&unfinished)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    };
    write().map_err(|source| CommandError::Config {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_kept_apart_and_private() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let config = Config {
            directory: directory.path().join("deep").join("greffe"),
            files: &MEMBERS,
        };
        let (one, two): (ServerAddress, ServerAddress) = ("http://127.0.0.1:1".parse()?, "http://[::1]:1".parse()?);
        config.save_login(&one, "alice", "token-a")?;
        config.save_login(&one, "bob", "token-b")?;
        config.save_login(&two, "alice", "token-c")?;
        assert_eq!(config.token(&one, "alice")?.as_deref(), Some("token-a"));
        assert_eq!(config.last_user(&one)?.as_deref(), Some("bob"));
        assert_eq!(config.last_server()?.as_deref(), Some("http://[::1]:1"));
        config.forget_login(&one, "bob")?;
        assert_eq!((config.token(&one, "bob")?, config.last_user(&one)?), (None, None));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let file = config.accounts(&one).join("alice");
            assert_eq!(fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
            assert_eq!(fs::metadata(&config.directory)?.permissions().mode() & 0o777, 0o700);
        }
        Ok(())
    }

    #[test]
    fn a_hostile_name_names_no_file() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let config = Config {
            directory: directory.path().to_owned(),
            files: &MEMBERS,
        };
        let server: ServerAddress = "http://127.0.0.1:1".parse()?;
        for name in ["../../x", "", ".ssh", "a/b", "A"] {
            assert!(config.save_login(&server, name, "t").is_err(), "{name}");
            assert_eq!(config.token(&server, name)?, None);
        }
        Ok(())
    }
}
