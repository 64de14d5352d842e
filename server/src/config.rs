//! The configuration: what can be set, its defaults, and which values make no sense.
//!
//! It comes from defaults, a TOML file, `GREFFE_*` variables and flags, the later one winning ([`Config::load`]). A key has the same
//! name everywhere: `tls.cert` in the file is `GREFFE_TLS_CERT` and `--tls-cert`.

mod args;
mod invitations;
mod keys;
mod limits;
mod load;
mod show;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize};
use tracing_subscriber::EnvFilter;

pub use self::{
    args::{Args, Command, FormatArg, Options, PolicyArg},
    invitations::InvitationCodes,
    limits::Limits,
    load::{ConfigError, Loaded, Origin},
};

/// Characters of a notice at most: it goes to every client.
const NOTICE_MAX: usize = 4096;
/// Seconds that an operator's session may be set to last: up to 30 days.
const ADMIN_SESSION: RangeInclusive<u64> = 60..=30 * 24 * 60 * 60;

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The directory that holds everything the server keeps. Default `./greffe-data`.
    pub data_dir: PathBuf,
    /// Where members connect; port 0 takes a free one. Default `127.0.0.1:52020`.
    pub listen: SocketAddr,
    /// Where Prometheus reads metrics, in plain HTTP. Default: not served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_listen: Option<SocketAddr>,
    /// Serves without TLS even where others could listen in. Default: no.
    pub insecure_plaintext: bool,
    /// Proxies whose word is taken for their clients' addresses. Default: none.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// What everyone who comes here is told. Default: nothing.
    pub notice: String,
    /// What people are told about recording, before they sign up.
    pub recording_notice: String,
    /// Seconds that clients have to leave when the server stops: 0 to 3600. Default 10.
    pub drain_seconds: u64,
    /// The hour of the local day, 0 to 23, in which the server verifies its journal; -1: never. Default 3.
    pub self_check_hour: i64,
    /// A directory to which each checkpoint is also written. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_dir: Option<PathBuf>,
    /// How connections are encrypted.
    pub tls: Tls,
    /// Where operators connect, and for how long.
    pub admin: Admin,
    /// Who can sign up.
    pub registration: Registration,
    /// What is logged, and how.
    pub log: Log,
    /// What one client, user or address may use at most.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "./greffe-data".into(),
            listen: (Ipv4Addr::LOCALHOST, 52020).into(),
            metrics_listen: None,
            insecure_plaintext: false,
            trusted_proxies: Vec::new(),
            notice: String::new(),
            recording_notice:
                "Conversations on this server are recorded, edits and deletions included, and can be handed \
                               over when the law requires it."
                    .to_owned(),
            drain_seconds: 10,
            self_check_hour: 3,
            checkpoint_dir: None,
            tls: Tls::default(),
            admin: Admin::default(),
            registration: Registration::default(),
            log: Log::default(),
            limits: Limits::default(),
        }
    }
}

/// How connections are encrypted. Default: not at all, which is for loopback only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// The certificate's private key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Makes a certificate at the first start and keeps it in the data directory.
    pub self_signed: bool,
}

impl Tls {
    /// Whether connections are encrypted.
    pub fn enabled(&self) -> bool {
        self.cert.is_some() || self.self_signed
    }
}

/// Where operators connect, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// The Unix socket; who can open it is an operator. [`Config::admin_socket`] has the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
    /// Where operators log in from other machines, always with TLS. Default: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Seconds after which an operator's session ends in any case. Default 43200 (12 hours).
    pub session_seconds: u64,
    /// Seconds after which an operator's unused session ends; at most `session_seconds`. Default 1800.
    pub session_idle_seconds: u64,
    /// Whether every case has to be approved by a second investigator. Default: no.
    pub cases_need_approval: bool,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            socket: None,
            listen: None,
            session_seconds: 12 * 60 * 60,
            session_idle_seconds: 30 * 60,
            cases_need_approval: false,
        }
    }
}

/// Who can sign up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Registration {
    /// The rule. Default: anyone can.
    pub policy: RegistrationPolicy,
    /// Invitation codes, one a line; [`Registration::codes`] reads them. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invitation_file: Option<PathBuf>,
}

/// The rule by which people sign up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RegistrationPolicy {
    /// Anyone can.
    #[default]
    Open,
    /// With an invitation code.
    Invite,
    /// Nobody can; the operator makes accounts.
    Closed,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// What a line looks like. Default: text.
    pub format: LogFormat,
    /// What is logged, in the form of `tracing_subscriber`'s `EnvFilter`. Default `info`.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
        }
    }
}

/// What a log line looks like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Where the operators' socket is: `admin.sock` in the data directory, unless `admin.socket` says otherwise.
    pub fn admin_socket(&self) -> PathBuf {
        let configured = self.admin.socket.clone();
        configured.unwrap_or_else(|| self.data_dir.join("admin.sock"))
    }

    /// Refuses values that each have the right form but cannot be used, or not together; all of them at once.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let problems: Vec<String> = self
            .problems()
            .into_iter()
            .map(|(key, problem)| format!("{key}: {problem}"))
            .collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigError::Invalid(problems))
        }
    }

    /// What [`Config::validate`] refuses: keys, and what is wrong with their values.
    fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut problem = |key: &str, text: String| problems.push((key.to_owned(), text));

        if self.data_dir.as_os_str().is_empty() {
            problem("data_dir", "name a directory".to_owned());
        }
        if !(-1..24).contains(&self.self_check_hour) {
            problem(
                "self_check_hour",
                format!("{} is no hour: use 0 to 23, or -1 for never", self.self_check_hour),
            );
        }
        if self.drain_seconds > 3600 {
            problem(
                "drain_seconds",
                format!("{} is out of range: use 0 to 3600", self.drain_seconds),
            );
        }
        for (key, text) in [("notice", &self.notice), ("recording_notice", &self.recording_notice)] {
            if text.chars().count() > NOTICE_MAX || text.contains('\0') {
                problem(key, format!("use at most {NOTICE_MAX} characters, and no NUL"));
            }
        }
        if let Some(metrics) = self.metrics_listen
            && metrics.port() != 0
            && metrics == self.listen
        {
            problem(
                "metrics_listen",
                format!("{metrics} is where members connect: choose another port"),
            );
        }
        match (&self.tls.cert, &self.tls.key) {
            (Some(_), None) => problem(
                "tls.cert",
                "the certificate needs its private key: set tls.key too".to_owned(),
            ),
            (None, Some(_)) => problem("tls.key", "the key needs its certificate: set tls.cert too".to_owned()),
            _ => {}
        }
        if self.tls.cert.is_some() && self.tls.self_signed {
            problem(
                "tls.self_signed",
                "a certificate is given already: remove tls.self_signed or tls.cert".to_owned(),
            );
        }
        if self.tls.enabled() && self.insecure_plaintext {
            problem(
                "insecure_plaintext",
                "TLS is on, so nothing is in plain text: remove one of the two".to_owned(),
            );
        }
        if !self.listen.ip().to_canonical().is_loopback() && !self.tls.enabled() && !self.insecure_plaintext {
            problem(
                "listen",
                format!(
                    "others could read along on {} without TLS. Choose one: --tls-cert and --tls-key with your certificate; \
                     --tls-self-signed, which clients pin; or --insecure-plaintext, if a proxy in front does the TLS",
                    self.listen
                ),
            );
        }
        self.admin_problems(&mut problem);
        if let Err(error) = EnvFilter::builder().parse(&self.log.filter) {
            problem(
                "log.filter",
                format!("{error}: write a level such as info, or info,greffe_server=debug"),
            );
        }
        self.limits.check(|name, text| problem(&format!("limits.{name}"), text));
        problems
    }

    /// What is wrong with how operators connect.
    fn admin_problems(&self, problem: &mut impl FnMut(&str, String)) {
        let admin = &self.admin;
        if let Some(listen) = admin.listen {
            if !self.tls.enabled() {
                problem(
                    "admin.listen",
                    "operators' passwords are only taken with TLS, also on this machine: set --tls-cert and --tls-key, or \
                     --tls-self-signed; or leave admin.listen out, and use the socket"
                        .to_owned(),
                );
            }
            let others = [
                ("members connect", Some(self.listen)),
                ("metrics are served", self.metrics_listen),
            ];
            for (what, _) in others.iter().filter(|(_, other)| listen.port() != 0 && *other == Some(listen)) {
                problem("admin.listen", format!("{listen} is where {what}: choose another port"));
            }
        }
        if admin.socket.as_ref().is_some_and(|path| path.file_name().is_none()) {
            problem("admin.socket", "name a file, such as /run/greffe/admin.sock".to_owned());
        }
        for (key, seconds) in [
            ("admin.session_seconds", admin.session_seconds),
            ("admin.session_idle_seconds", admin.session_idle_seconds),
        ] {
            if !ADMIN_SESSION.contains(&seconds) {
                let (least, most) = (ADMIN_SESSION.start(), ADMIN_SESSION.end());
                problem(key, format!("{seconds} is out of range: use {least} to {most}"));
            }
        }
        if admin.session_idle_seconds > admin.session_seconds {
            problem(
                "admin.session_idle_seconds",
                format!(
                    "{} is more than admin.session_seconds ({}): lower it, or raise admin.session_seconds",
                    admin.session_idle_seconds, admin.session_seconds
                ),
            );
        }
    }
}

/// Reads networks; an address alone is a network of one.
fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let network = |text: String| {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network
            .map_err(|_| serde::de::Error::custom(format!("{text:?} is no IP address or network, such as 10.0.0.0/8")))
    };
    texts.into_iter().map(network).collect()
}

#[cfg(test)]
mod tests;
