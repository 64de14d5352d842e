//! The keys of the configuration: their names, meanings and kinds, whatever source sets them.

use super::limits::FACTS;

/// What a key's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// A path.
    Path,
    /// A path or, empty, none.
    OptionalPath,
    /// An IP address and a port.
    Address,
    /// An IP address and a port or, empty, none.
    OptionalAddress,
    /// Yes or no.
    Switch,
    /// A whole number.
    Number,
    /// IP addresses and networks.
    Networks,
    /// One of these words.
    Word(&'static [&'static str]),
}

impl Kind {
    /// What a value should have been, for an error's text.
    pub(super) fn wanted(self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Path | Self::OptionalPath => "a path".to_owned(),
            Self::Address | Self::OptionalAddress => {
                "an IP address and a port, such as 127.0.0.1:52020 or [::1]:52020".to_owned()
            }
            Self::Switch => "true or false".to_owned(),
            Self::Number => "a whole number, not negative".to_owned(),
            Self::Networks => "IP addresses or networks, such as 10.0.0.7 or 10.0.0.0/8".to_owned(),
            Self::Word(words) => format!("one of {}", words.join(", ")),
        }
    }

    /// Whether an empty text stands for no value.
    pub(super) fn optional(self) -> bool {
        matches!(self, Self::OptionalPath | Self::OptionalAddress)
    }
}

/// A key of the configuration.
#[derive(Debug)]
pub(super) struct Key {
    /// The name with its section, such as `tls.cert`.
    pub(super) path: String,
    /// The meaning, line by line.
    pub(super) doc: Vec<&'static str>,
    /// What its value is.
    pub(super) kind: Kind,
}

impl Key {
    /// The environment variable that sets it, such as `GREFFE_TLS_CERT`.
    pub(super) fn variable(&self) -> String {
        format!("GREFFE_{}", self.path.replace('.', "_").to_ascii_uppercase())
    }

    /// The section (empty at the top) and the name in it.
    pub(super) fn section_and_name(&self) -> (&str, &str) {
        self.path.split_once('.').unwrap_or(("", &self.path))
    }
}

/// All keys, in the order in which a file has them: those without a section first.
pub(super) fn all() -> Vec<Key> {
    let mut keys = without_section();
    keys.extend(in_sections());
    keys.extend(FACTS.iter().map(|facts| Key {
        path: format!("limits.{}", facts.name),
        doc: facts.doc.iter().map(|line| line.trim()).collect(),
        kind: Kind::Number,
    }));
    keys
}

fn key(path: &str, kind: Kind, doc: &[&'static str]) -> Key {
    Key {
        path: path.to_owned(),
        doc: doc.to_vec(),
        kind,
    }
}

fn without_section() -> Vec<Key> {
    vec![
        key(
            "data_dir",
            Kind::Path,
            &["The directory that holds everything the server keeps."],
        ),
        key(
            "listen",
            Kind::Address,
            &["Where members connect. Port 0 takes a free one. Beyond loopback it needs TLS, or insecure_plaintext."],
        ),
        key(
            "metrics_listen",
            Kind::OptionalAddress,
            &["Where Prometheus reads metrics, in plain HTTP. Not served if absent or empty."],
        ),
        key(
            "insecure_plaintext",
            Kind::Switch,
            &["Serves without TLS even where others could listen in, as behind a proxy that does the TLS."],
        ),
        key(
            "trusted_proxies",
            Kind::Networks,
            &["Proxies whose word (PROXY protocol v2, Forwarded) is taken for their clients' addresses."],
        ),
        key(
            "notice",
            Kind::Text,
            &["What everyone who comes here is told; may be empty."],
        ),
        key(
            "recording_notice",
            Kind::Text,
            &["What people are told about recording, before they sign up."],
        ),
        key(
            "drain_seconds",
            Kind::Number,
            &["Seconds that clients have to leave when the server stops: 0 to 3600."],
        ),
        key(
            "self_check_hour",
            Kind::Number,
            &["The hour of the local day, 0 to 23, in which the server verifies its journal while it runs; -1: never."],
        ),
        key(
            "checkpoint_dir",
            Kind::OptionalPath,
            &[
                "A directory, best on another machine's disk, to which each checkpoint is also written, as a small file of its own.",
                "Those of the last week stay, and one of each day before. Absent or empty: none.",
            ],
        ),
    ]
}

/// The keys of all sections but `limits`.
fn in_sections() -> Vec<Key> {
    vec![
        key(
            "tls.cert",
            Kind::OptionalPath,
            &["The certificate chain, PEM. Needs tls.key."],
        ),
        key("tls.key", Kind::OptionalPath, &["The certificate's private key, PEM."]),
        key(
            "tls.self_signed",
            Kind::Switch,
            &["Makes a certificate at the first start and keeps it in the data directory; clients pin it."],
        ),
        key(
            "admin.socket",
            Kind::OptionalPath,
            &[
                "The Unix socket of the operators; who can open it is one, so only the server's own user (and root) can.",
                "Absent or empty: admin.sock in the data directory.",
            ],
        ),
        key(
            "admin.listen",
            Kind::OptionalAddress,
            &["Where operators log in from other machines. Needs TLS, on any address. Not served if absent or empty."],
        ),
        key(
            "admin.session_seconds",
            Kind::Number,
            &["Seconds after which an operator's session ends in any case: 60 to 2592000."],
        ),
        key(
            "admin.session_idle_seconds",
            Kind::Number,
            &["Seconds after which an operator's unused session ends: 60 to 2592000, at most admin.session_seconds."],
        ),
        key(
            "admin.cases_need_approval",
            Kind::Switch,
            &["Whether a second investigator has to approve every case; none can then be opened over the socket."],
        ),
        key(
            "registration.policy",
            Kind::Word(&["open", "invite", "closed"]),
            &[
                "Who can sign up: anyone (open), who has a code (invite), nobody (closed). greffe-admin makes codes that are good once.",
            ],
        ),
        key(
            "registration.invitation_file",
            Kind::OptionalPath,
            &["Invitation codes, one a line, each good for any number of people. Only its owner may read the file."],
        ),
        key(
            "log.format",
            Kind::Word(&["text", "json"]),
            &["Log lines for people (text) or for programs (json)."],
        ),
        key(
            "log.filter",
            Kind::Text,
            &["What is logged, such as info or info,greffe_server=debug."],
        ),
    ]
}

/// ` (did you mean A or B?)` for an unknown name, or nothing if no known one is near.
pub(super) fn suggestion<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let mut near: Vec<(usize, &str)> = known
        .into_iter()
        .map(|name| (distance(unknown, name), name))
        .filter(|(distance, name)| *distance <= 2.max(name.len() / 4))
        .collect();
    near.sort_unstable();
    near.truncate(3);
    let names: Vec<&str> = near.into_iter().map(|(_, name)| name).collect();
    if names.is_empty() {
        String::new()
    } else {
        format!(" (did you mean {}?)", names.join(" or "))
    }
}

/// How many letters must be changed, added or removed to make one word of the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    // Longer words are no mistyped names, and must not cost time.
    if from.len() > 64 {
        return usize::MAX;
    }
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let change = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_counted_in_letters() {
        assert_eq!(distance("listen", "listen"), 0);
        assert_eq!(distance("lisen", "listen"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let known = ["listen", "notice", "data_dir"];
        assert_eq!(suggestion("lisen", known), " (did you mean listen?)");
        assert_eq!(suggestion("datadir", known), " (did you mean data_dir?)");
        assert_eq!(suggestion("zzz", known), "");
    }
}
