//! The command line of `greffe-server`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use toml::Value;

use crate::domain::text::Reason;

/// The chat server that keeps the record.
///
/// Without a command it serves. Every option under Configuration is also a key of the configuration file and an environment variable
/// (`greffe-server config --example` lists them); a flag wins over the environment, which wins over the file.
#[derive(Debug, Parser)]
#[command(name = "greffe-server", version)]
pub struct Args {
    /// What to do; serve if absent.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Go on with a journal that is shorter than, or different from, its newest checkpoint, because you set it back on purpose. It goes
    /// on under a new id and epoch, and everyone has to log in again; the reason becomes part of the record
    #[arg(long, value_name = "REASON", value_parser = reason)]
    pub accept_restore: Option<Reason>,
    /// Make another key that signs checkpoints, because the old one is lost. Whoever keeps checkpoints is told
    #[arg(long)]
    pub new_key: bool,
    /// The configuration given by flags.
    #[command(flatten)]
    pub options: Options,
}

impl Args {
    /// Reads the process's command line; on a mistake, or when asked for help, prints and exits as clap does.
    pub fn parse() -> Self {
        <Self as Parser>::parse()
    }
}

/// What `greffe-server` can do beside serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the configuration in force as TOML, with the origin of each key
    Config {
        /// Print an example file with every key, its meaning and its default instead
        #[arg(long)]
        example: bool,
    },
    /// Verify the journal of a server that is not running, or of a backup, and print its size and root
    Check {
        /// The directory to verify, whatever --data-dir says [default: the data directory]
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Whether people can sign up, as a flag.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum PolicyArg {
    /// Anyone can.
    Open,
    /// With an invitation code.
    Invite,
    /// Nobody can.
    Closed,
}

/// What a log line looks like, as a flag.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum FormatArg {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// The flags that set the configuration; they may stand before or after the command.
#[derive(Debug, Default, ClapArgs)]
#[command(next_help_heading = "Configuration")]
pub struct Options {
    /// Read this TOML file (or `GREFFE_CONFIG`)
    #[arg(long, global = true, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// Keep everything in this directory [default: ./greffe-data]
    #[arg(long, global = true, value_name = "PATH")]
    pub data_dir: Option<PathBuf>,
    /// Serve on this address; port 0 takes a free one [default: 127.0.0.1:52020]
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Serve Prometheus metrics on this address [default: not served]
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    pub metrics_listen: Option<String>,
    /// Serve TLS with the certificate chain in this PEM file
    #[arg(long, global = true, value_name = "PATH")]
    pub tls_cert: Option<PathBuf>,
    /// The PEM file with the certificate's private key
    #[arg(long, global = true, value_name = "PATH")]
    pub tls_key: Option<PathBuf>,
    /// Serve TLS with a certificate that the server makes itself and keeps in the data directory
    #[arg(long, global = true)]
    pub tls_self_signed: bool,
    /// Serve without TLS even where others could listen in
    #[arg(long, global = true)]
    pub insecure_plaintext: bool,
    /// Serve operators on this Unix socket [default: admin.sock in the data directory]
    #[arg(long, global = true, value_name = "PATH")]
    pub admin_socket: Option<PathBuf>,
    /// Serve operators on this address too, with TLS [default: not served]
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    pub admin_listen: Option<String>,
    /// Believe what a proxy at this address or network says of its clients (repeatable)
    #[arg(long, global = true, value_name = "CIDR")]
    pub trusted_proxy: Vec<String>,
    /// Say who can sign up [default: open]
    #[arg(long, global = true, value_enum)]
    pub registration: Option<PolicyArg>,
    /// Read invitation codes, one a line, from this file
    #[arg(long, global = true, value_name = "PATH")]
    pub invitation_file: Option<PathBuf>,
    /// Tell this to everyone who connects
    #[arg(long, global = true, value_name = "TEXT")]
    pub notice: Option<String>,
    /// Write log lines for people or for programs [default: text]
    #[arg(long, global = true, value_enum)]
    pub log_format: Option<FormatArg>,
    /// Log what this filter lets through, such as `info,greffe_server=debug` [default: info]
    #[arg(long, global = true, value_name = "FILTER")]
    pub log_filter: Option<String>,
    /// Give clients this many seconds when stopping [default: 10]
    #[arg(long, global = true, value_name = "SECONDS")]
    pub drain_seconds: Option<u64>,
    /// Verify the journal in this hour of the local day, 0 to 23; -1: never [default: 3]
    #[arg(long, global = true, value_name = "HOUR", allow_negative_numbers = true)]
    pub self_check_hour: Option<i64>,
    /// Write each checkpoint to this directory too, best on another machine's disk
    #[arg(long, global = true, value_name = "DIR")]
    pub checkpoint_dir: Option<PathBuf>,
    /// Set a limit (repeatable; `config` lists them)
    #[arg(long = "limit", global = true, value_name = "NAME=VALUE", value_parser = limit)]
    pub limits: Vec<(String, String)>,
}

impl Options {
    /// The flags that were given: key, flag, value. A path that is not UTF-8 is the error, with its flag.
    pub(super) fn settings(&self) -> Result<Vec<(String, String, Setting)>, String> {
        let mut settings = Vec::new();
        let mut add = |key: &str, flag: &str, value| settings.push((key.to_owned(), flag.to_owned(), value));
        for (key, flag, path) in [
            ("data_dir", "--data-dir", &self.data_dir),
            ("tls.cert", "--tls-cert", &self.tls_cert),
            ("tls.key", "--tls-key", &self.tls_key),
            ("admin.socket", "--admin-socket", &self.admin_socket),
            ("checkpoint_dir", "--checkpoint-dir", &self.checkpoint_dir),
            (
                "registration.invitation_file",
                "--invitation-file",
                &self.invitation_file,
            ),
        ] {
            if let Some(path) = path {
                let path = path.to_str().ok_or_else(|| flag.to_owned())?;
                add(key, flag, Setting::Text(path.to_owned()));
            }
        }
        for (key, flag, text) in [
            ("listen", "--listen", &self.listen),
            ("metrics_listen", "--metrics-listen", &self.metrics_listen),
            ("admin.listen", "--admin-listen", &self.admin_listen),
            ("notice", "--notice", &self.notice),
            ("log.filter", "--log-filter", &self.log_filter),
        ] {
            if let Some(text) = text {
                add(key, flag, Setting::Text(text.clone()));
            }
        }
        for (key, flag, given) in [
            ("tls.self_signed", "--tls-self-signed", self.tls_self_signed),
            ("insecure_plaintext", "--insecure-plaintext", self.insecure_plaintext),
        ] {
            if given {
                add(key, flag, Setting::Value(Value::Boolean(true)));
            }
        }
        if !self.trusted_proxy.is_empty() {
            let proxies = self.trusted_proxy.iter().cloned().map(Value::String).collect();
            add(
                "trusted_proxies",
                "--trusted-proxy",
                Setting::Value(Value::Array(proxies)),
            );
        }
        for (key, flag, word) in [
            (
                "registration.policy",
                "--registration",
                self.registration.as_ref().and_then(word),
            ),
            ("log.format", "--log-format", self.log_format.as_ref().and_then(word)),
        ] {
            if let Some(word) = word {
                add(key, flag, Setting::Text(word));
            }
        }
        if let Some(hour) = self.self_check_hour {
            add("self_check_hour", "--self-check-hour", Setting::Text(hour.to_string()));
        }
        if let Some(seconds) = self.drain_seconds {
            add("drain_seconds", "--drain-seconds", Setting::Text(seconds.to_string()));
        }
        for (name, value) in &self.limits {
            add(
                &format!("limits.{name}"),
                &format!("--limit {name}"),
                Setting::Text(value.clone()),
            );
        }
        Ok(settings)
    }
}

/// A value as its source has it.
#[derive(Debug, Clone)]
pub(super) enum Setting {
    /// Words, still to be read as the key's kind.
    Text(String),
    /// A value that has its type.
    Value(Value),
}

/// The word on the command line that stands for a value.
fn word(value: &impl ValueEnum) -> Option<String> {
    Some(value.to_possible_value()?.get_name().to_owned())
}

/// Takes a reason that becomes part of the record.
fn reason(text: &str) -> Result<Reason, String> {
    Reason::parse("REASON", text.to_owned()).map_err(|error| error.to_string())
}

/// Takes `NAME=VALUE` apart.
fn limit(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, such as connections=500")?;
    Ok((name.trim().replace('-', "_"), value.trim().to_owned()))
}
