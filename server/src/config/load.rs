//! Puts a configuration together from its sources: defaults, file, environment, flags; the later one wins.
//!
//! Each source becomes keys and values; the merged table is read into [`Config`] by serde, and the origin of each key is remembered
//! for `greffe-server config` and for errors.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, fs, io,
    io::Read,
    path::{Path, PathBuf},
};

use toml::{
    Table, Value,
    de::{DeTable, DeValue},
};

use super::{
    Args, Config,
    args::Setting,
    keys::{self, Key, Kind, suggestion},
};

/// Bytes of a configuration file at most; a larger one is another file given by mistake.
const FILE_MAX: u64 = 1024 * 1024;

/// Variables that start like ours and belong to the client.
const OF_THE_CLIENT: &[&str] = &[
    "GREFFE_SERVER",
    "GREFFE_CONFIG_DIR",
    "GREFFE_TOKEN",
    "GREFFE_TOKEN_FILE",
    "GREFFE_CA",
    "GREFFE_INVITATION",
    "GREFFE_ADMIN_TOKEN",
];

/// What Kubernetes and Docker set in every container beside a service that is called `greffe`.
const OF_THE_PLATFORM: &[&str] = &["GREFFE_SERVICE_", "GREFFE_PORT"];

/// Where a key's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nothing sets it.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// This environment variable.
    Environment(String),
    /// This flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.to_string_lossy().escape_debug()),
            Self::Environment(variable) => write!(f, "environment {variable}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// The configuration in force.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// Where each key's value comes from; a key that is absent has its default.
    pub origins: BTreeMap<String, Origin>,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that was asked for cannot be read.
    #[error("cannot read {}: check that the file exists and that the server may read it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The configuration file is no TOML, or not ours.
    #[error("{}:{line}:{column}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// A flag or a variable names no key.
    #[error("{origin}: there is no such setting{suggestion}; `greffe-server config --example` lists them all")]
    Unknown {
        /// The flag or variable.
        origin: Origin,
        /// Near names.
        suggestion: String,
    },
    /// A flag's or variable's value is not what the key wants.
    #[error("{origin}: this must be {wanted}")]
    Value {
        /// The flag or variable.
        origin: Origin,
        /// What the key wants.
        wanted: String,
    },
    /// Values that each have the right form cannot be used, or not together.
    #[error("the configuration cannot be used:{}", list(.0))]
    Invalid(Vec<String>),
    /// A file with secrets is open to others.
    #[error("{} can be read by others: run `chmod 600` on it", .0.display())]
    Exposed(PathBuf),
    /// A file with invitation codes has a line that is none.
    #[error("{}:{line}: an invitation code has 8 to 256 characters without spaces", path.display())]
    InvitationCode {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
}

fn list(problems: &[String]) -> String {
    problems.iter().fold(String::new(), |text, problem| text + "\n  " + problem)
}

impl Config {
    /// Reads the configuration from its sources.
    ///
    /// `environment` is the process's (`std::env::vars_os()`); `GREFFE_CONFIG` in it, or `--config`, names the file.
    pub fn load(
        args: &Args,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Loaded, ConfigError> {
        let mut merged = Merged {
            keys: keys::all(),
            table: Table::new(),
            origins: BTreeMap::new(),
        };
        let ours = ours(environment);

        let file = args.options.config.clone().or_else(|| {
            let path = ours.get("GREFFE_CONFIG").filter(|path| !path.is_empty())?;
            Some(path.into())
        });
        if let Some(path) = file {
            merged.add_file(&path)?;
        }
        for (name, value) in ours {
            if name != "GREFFE_CONFIG" {
                merged.add_variable(&name, value)?;
            }
        }
        let flags = args.options.settings().map_err(|flag| ConfigError::Value {
            origin: Origin::Flag(flag),
            wanted: "a path in UTF-8".to_owned(),
        })?;
        for (path, flag, setting) in flags {
            let origin = Origin::Flag(flag);
            let Some(at) = merged.keys.iter().position(|key| key.path == path) else {
                // Only `--limit` lets people name a key.
                let name = path.trim_start_matches("limits.");
                let limits = merged.keys.iter().filter_map(|key| key.path.strip_prefix("limits."));
                return Err(ConfigError::Unknown {
                    suggestion: suggestion(name, limits),
                    origin,
                });
            };
            merged.add(at, origin, setting)?;
        }
        merged.finish()
    }
}

/// The variables that are meant for us, by name.
fn ours(environment: impl IntoIterator<Item = (OsString, OsString)>) -> BTreeMap<String, OsString> {
    environment
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| {
            name.starts_with("GREFFE_")
                && !OF_THE_CLIENT.contains(&name.as_str())
                && !OF_THE_PLATFORM.iter().any(|prefix| name.starts_with(prefix))
        })
        .collect()
}

/// What the sources read so far say.
struct Merged {
    keys: Vec<Key>,
    table: Table,
    origins: BTreeMap<String, Origin>,
}

impl Merged {
    fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = read(path)?;
        let error = |span: Option<std::ops::Range<usize>>, message: String| {
            let (line, column) = position(&text, span.map_or(0, |span| span.start));
            ConfigError::File {
                path: path.to_owned(),
                line,
                column,
                message,
            }
        };
        let parsed = DeTable::parse(&text).map_err(|e| error(e.span(), e.message().to_owned()))?;

        for (name, value) in parsed.get_ref() {
            let unknown = |path: &str, span| {
                let known = self.keys.iter().map(|key| key.path.as_str());
                let message = format!(
                    "there is no key {path}{}; `greffe-server config --example` lists them all",
                    suggestion(path, known)
                );
                error(Some(span), message)
            };
            let section = name.get_ref().as_ref();
            if self.keys.iter().any(|key| key.path == section) {
                self.origins.insert(section.to_owned(), Origin::File(path.to_owned()));
                continue;
            }
            if !self.keys.iter().any(|key| key.section_and_name().0 == section) {
                return Err(unknown(section, name.span()));
            }
            let DeValue::Table(entries) = value.get_ref() else {
                return Err(error(
                    Some(value.span()),
                    format!("{section} is a section: write [{section}]"),
                ));
            };
            for (name, _) in entries {
                let key = format!("{section}.{}", name.get_ref());
                if !self.keys.iter().any(|known| known.path == key) {
                    return Err(unknown(&key, name.span()));
                }
                self.origins.insert(key, Origin::File(path.to_owned()));
            }
        }
        // Tells where a value has the wrong type; the merged table no longer knows.
        toml::from_str::<Config>(&text).map_err(|e| error(e.span(), e.message().to_owned()))?;
        self.table = toml::from_str(&text).map_err(|e| error(e.span(), e.message().to_owned()))?;
        Ok(())
    }

    fn add_variable(&mut self, name: &str, value: OsString) -> Result<(), ConfigError> {
        let origin = Origin::Environment(name.to_owned());
        let Some(at) = self.keys.iter().position(|key| key.variable() == name) else {
            let known: Vec<String> = self.keys.iter().map(Key::variable).collect();
            let suggestion = suggestion(name, known.iter().map(String::as_str));
            return Err(ConfigError::Unknown { origin, suggestion });
        };
        match value.into_string() {
            Ok(text) => self.add(at, origin, Setting::Text(text)),
            Err(_) => Err(ConfigError::Value {
                origin,
                wanted: format!("{} in UTF-8", self.keys[at].kind.wanted()),
            }),
        }
    }

    /// Sets the key at a position of the list, if the value has the right form.
    fn add(&mut self, at: usize, origin: Origin, setting: Setting) -> Result<(), ConfigError> {
        let key = &self.keys[at];
        let bad_value = || ConfigError::Value {
            origin: origin.clone(),
            wanted: key.kind.wanted(),
        };
        let value = match setting {
            Setting::Value(value) => Some(value),
            Setting::Text(text) => from_text(key.kind, text).map_err(|NotThat| bad_value())?,
        };
        let (section, name) = key.section_and_name();
        if let Some(value) = &value {
            let mut alone = Table::new();
            table_of(&mut alone, section).insert(name.to_owned(), value.clone());
            alone.try_into::<Config>().map_err(|_| bad_value())?;
        }
        let table = table_of(&mut self.table, section);
        match value {
            Some(value) => table.insert(name.to_owned(), value),
            None => table.remove(name),
        };
        self.origins.insert(key.path.clone(), origin);
        Ok(())
    }

    fn finish(self) -> Result<Loaded, ConfigError> {
        let Self { table, origins, .. } = self;
        let config: Config = table
            .try_into()
            .map_err(|e: toml::de::Error| ConfigError::Invalid(vec![e.message().to_owned()]))?;
        let problems: Vec<String> = config
            .problems()
            .into_iter()
            .map(|(key, problem)| match origins.get(&key) {
                Some(origin) => format!("{key} ({origin}): {problem}"),
                None => format!("{key}: {problem}"),
            })
            .collect();
        if problems.is_empty() {
            Ok(Loaded { config, origins })
        } else {
            Err(ConfigError::Invalid(problems))
        }
    }
}

/// The table of a section; the empty name is the top.
fn table_of<'t>(table: &'t mut Table, section: &str) -> &'t mut Table {
    if section.is_empty() {
        return table;
    }
    let entry = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    entry.as_table_mut().expect("sections of a file were found to be tables")
}

/// A text that is not of the kind that was wanted.
struct NotThat;

/// Reads a variable's or flag's text as a key's kind; none if it takes a value away.
fn from_text(kind: Kind, text: String) -> Result<Option<Value>, NotThat> {
    if text.is_empty() && kind.optional() {
        return Ok(None);
    }
    Ok(Some(match kind {
        Kind::Switch => Value::Boolean(match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" | "" => false,
            _ => return Err(NotThat),
        }),
        Kind::Number => Value::Integer(text.trim().parse().map_err(|_| NotThat)?),
        Kind::Networks => {
            let networks = text.split([',', ' ']).filter(|network| !network.is_empty());
            Value::Array(networks.map(|network| Value::String(network.to_owned())).collect())
        }
        Kind::Path if text.is_empty() => return Err(NotThat),
        Kind::Word(_) => Value::String(text.to_ascii_lowercase()),
        _ => Value::String(text),
    }))
}

/// Reads a small file.
fn read(path: &Path) -> Result<String, ConfigError> {
    let read = || {
        let mut text = String::new();
        let bytes = fs::File::open(path)?.take(FILE_MAX + 1).read_to_string(&mut text)?;
        if bytes as u64 > FILE_MAX {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "the file has more than 1 MiB",
            ));
        }
        Ok(text)
    };
    read().map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Line and column of a byte, both from 1.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}
