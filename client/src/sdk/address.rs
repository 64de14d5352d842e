//! Where a server is.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;
use tonic::Code;

use super::error::{Error, reason};

/// The server that is meant when none is named: the default port on this machine.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:52020";
/// The port of a URL that names none.
const DEFAULT_PORT: u16 = 52020;

/// The address of a server: `http://HOST:PORT` in plain text, `https://HOST:PORT` with TLS.
///
/// Without a scheme it is plain text on loopback and TLS anywhere else; without a port it is 52020.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    tls: bool,
    host: String,
    port: u16,
}

impl ServerAddress {
    /// What a server behind a socket of this machine is called in requests.
    pub(crate) fn local() -> Self {
        Self {
            tls: false,
            host: "localhost".to_owned(),
            port: DEFAULT_PORT,
        }
    }

    /// Whether the link is encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The host: a name, or an IP address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`, with brackets around IPv6.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Whether it is this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

impl FromStr for ServerAddress {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |why: &str| {
            Error::local(
                Code::InvalidArgument,
                reason::INVALID_ADDRESS,
                format!(
                    "{text:?} is not the address of a server: {why}; write it as http://HOST:PORT or https://HOST:PORT"
                ),
            )
        };
        let uri: Uri = text.parse().map_err(|_| refuse("it cannot be read"))?;
        let authority = uri.authority().ok_or_else(|| refuse("there is no host"))?;
        if authority.as_str().contains('@') {
            return Err(refuse("names and passwords do not belong there"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(refuse("nothing may follow the port"));
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_ascii_lowercase();
        if host.is_empty() {
            return Err(refuse("there is no host"));
        }
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            None => !is_loopback(&host),
            Some(_) => return Err(refuse("the scheme is neither http nor https")),
        };
        let port = match authority.as_str()[authority.host().len()..].strip_prefix(':') {
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| refuse("the port is not 1 to 65535"))?,
            None => DEFAULT_PORT,
        };
        Ok(Self { tls, host, port })
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_completed() {
        for (text, full) in [
            ("http://127.0.0.1:52020", "http://127.0.0.1:52020"),
            ("127.0.0.1:9", "http://127.0.0.1:9"),
            ("localhost", "http://localhost:52020"),
            ("chat.example.org", "https://chat.example.org:52020"),
            ("https://Chat.example.org/", "https://chat.example.org:52020"),
            ("http://[::1]:7", "http://[::1]:7"),
        ] {
            assert_eq!(
                text.parse::<ServerAddress>().map(|a| a.to_string()).ok().as_deref(),
                Some(full),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "ftp://x",
            "http://",
            "http://a:b@c",
            "http://x/path",
            "http://x:0",
            "http://x:70000",
            "a b",
        ] {
            assert!(text.parse::<ServerAddress>().is_err(), "{text}");
        }
    }
}
