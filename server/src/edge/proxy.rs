//! What trusted proxies say of their clients: the PROXY protocol, version 2, and the header `Forwarded` (RFC 7239).
//!
//! Both are read only if they come from a proxy that the configuration names; from anybody else they are just bytes.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use http::{HeaderMap, header::FORWARDED};
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::Peer;

/// How a header of the PROXY protocol, version 2, begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of a header at most after its first 16: addresses, and extensions that are skipped.
const BODY_MAX: usize = 4096;

/// Whether an address is a trusted proxy's.
pub(super) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

/// What a trusted proxy's connection begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// A header; it names the client's address, or none if the proxy speaks for itself.
    Header(Option<SocketAddr>),
    /// No header, but these first bytes of what follows.
    Bytes(Vec<u8>),
}

/// Reads the PROXY header, if there is one, and not a byte more of what follows it.
pub(super) async fn opening(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Opening> {
    let mut head = [0; 16];
    let mut read = 0;
    while read < head.len() {
        let bytes = stream.read(&mut head[read..]).await?;
        read += bytes;
        let signed = read.min(SIGNATURE.len());
        if bytes == 0 || head[..signed] != SIGNATURE[..signed] {
            return Ok(Opening::Bytes(head[..read].to_vec()));
        }
    }
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if length > BODY_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the PROXY header is too long",
        ));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    client(head[12], head[13], &body)
        .map(Opening::Header)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the PROXY header makes no sense"))
}

/// The client that a header names; the outer option is whether the header makes sense.
#[expect(
    clippy::option_option,
    reason = "a header that makes no sense and one that names nobody are different things"
)]
fn client(version_and_command: u8, family: u8, body: &[u8]) -> Option<Option<SocketAddr>> {
    match version_and_command {
        // LOCAL: the proxy's own connection, such as a health check.
        0x20 => return Some(None),
        // PROXY.
        0x21 => {}
        _ => return None,
    }
    match family {
        // TCP over IPv4: two addresses of 4 bytes, then two ports.
        0x11 => {
            let addresses = body.first_chunk::<12>()?;
            let ip = Ipv4Addr::from(*addresses.first_chunk::<4>()?);
            Some(Some((ip, u16::from_be_bytes([addresses[8], addresses[9]])).into()))
        }
        // TCP over IPv6: two addresses of 16 bytes, then two ports.
        0x21 => {
            let addresses = body.first_chunk::<36>()?;
            let ip = Ipv6Addr::from(*addresses.first_chunk::<16>()?);
            Some(Some(
                (ip.to_canonical(), u16::from_be_bytes([addresses[32], addresses[33]])).into(),
            ))
        }
        // Other families name no address that we could count.
        _ => Some(None),
    }
}

/// The address of the client behind a request: the peer's, or, if that is a trusted proxy, the last one in `Forwarded` that is not.
///
/// The port is 0 where the header tells none.
pub fn forwarded_for(peer: &Peer, headers: &HeaderMap, trusted: &[IpNet]) -> SocketAddr {
    let mut client = peer.address;
    if !is_trusted(client.ip(), trusted) {
        return client;
    }
    // Each proxy adds itself at the end, so only the end can be believed.
    for value in headers.get_all(FORWARDED).iter().rev() {
        let Ok(value) = value.to_str() else { return client };
        for element in split(value, ',').into_iter().rev() {
            let Some(address) = node(element) else { return client };
            client = address;
            if !is_trusted(client.ip(), trusted) {
                return client;
            }
        }
    }
    client
}

/// The address in an element's `for=`, if it has one that is no word.
fn node(element: &str) -> Option<SocketAddr> {
    let value = split(element, ';').into_iter().find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value.trim())
    })?;
    let value = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
        .unwrap_or(value);
    let address = value.parse::<SocketAddr>().or_else(|_| {
        let ip = value
            .strip_prefix('[')
            .and_then(|value| value.strip_suffix(']'))
            .unwrap_or(value);
        ip.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0))
    });
    address
        .ok()
        .map(|address| SocketAddr::new(address.ip().to_canonical(), address.port()))
}

/// Splits at a character that does not stand between quotes.
fn split(text: &str, at: char) -> Vec<&str> {
    let mut quoted = false;
    text.split(|c| {
        quoted ^= c == '"';
        c == at && !quoted
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([command, family]);
        header.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        header.extend(body);
        header
    }

    async fn open(mut bytes: &[u8]) -> (io::Result<Opening>, &[u8]) {
        let opening = opening(&mut bytes).await;
        (opening, bytes)
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0x30, 0x39, 0, 80];

    #[tokio::test]
    async fn a_header_names_the_client_and_nothing_after_it_is_lost() {
        let mut bytes = header(0x21, 0x11, &V4);
        bytes.extend(b"PRI *");
        let (opened, rest) = open(&bytes).await;
        assert_eq!(
            opened.unwrap(),
            Opening::Header(Some("192.0.2.1:12345".parse().unwrap()))
        );
        assert_eq!(rest, b"PRI *");

        let mut v6 = [0; 36 + 7];
        v6[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        v6[32..34].copy_from_slice(&[1, 0]);
        let bytes = header(0x21, 0x21, &v6);
        let (opened, rest) = open(&bytes).await;
        assert_eq!(
            opened.unwrap(),
            Opening::Header(Some("[2001:db8::7]:256".parse().unwrap()))
        );
        assert!(rest.is_empty());
    }

    #[tokio::test]
    async fn a_proxy_may_speak_for_itself() {
        assert_eq!(open(&header(0x20, 0, &[])).await.0.unwrap(), Opening::Header(None));
        assert_eq!(
            open(&header(0x21, 0x31, &[0; 216])).await.0.unwrap(),
            Opening::Header(None)
        );
    }

    #[tokio::test]
    async fn headers_that_make_no_sense_are_refused() {
        for bad in [
            header(0x21, 0x11, &V4[..11]),
            header(0x21, 0x21, &[0; 35]),
            header(0x11, 0x11, &V4),
            header(0x22, 0x11, &V4),
        ] {
            assert!(open(&bad).await.0.is_err());
        }
        assert!(open(&header(0x21, 0x11, &[0; BODY_MAX + 1])).await.0.is_err());
        assert!(open(&header(0x21, 0x11, &[0; BODY_MAX])).await.0.is_ok());
        assert!(open(&header(0x21, 0x11, &V4)[..20]).await.0.is_err());
    }

    #[tokio::test]
    async fn other_bytes_are_handed_on() {
        for bytes in [
            &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
            b"\x16\x03\x01",
            b"\r\n\r\n\0\r\nQUIP",
            b"\r\n",
            b"",
        ] {
            let (opened, rest) = open(bytes).await;
            let Opening::Bytes(mut all) = opened.unwrap() else {
                panic!("{bytes:?} is no header")
            };
            all.extend(rest);
            assert_eq!(all, bytes);
        }
    }

    fn forwarded(peer: &str, values: &[&str]) -> String {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(FORWARDED, value.parse().unwrap());
        }
        forwarded_for(&Peer::new(1, peer.parse().unwrap(), None), &headers, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(forwarded("192.0.2.9:1", &["for=198.51.100.1"]), "192.0.2.9:1");
        assert_eq!(forwarded("10.0.0.1:1", &["for=198.51.100.1"]), "198.51.100.1:0");
        assert_eq!(
            forwarded("[::ffff:10.0.0.1]:1", &["for=198.51.100.1"]),
            "198.51.100.1:0"
        );
        assert_eq!(forwarded("10.0.0.1:1", &[]), "10.0.0.1:1");
    }

    #[test]
    fn the_last_address_that_is_no_proxy_counts() {
        let says = |values: &[&str]| forwarded("10.0.0.1:1", values);
        assert_eq!(says(&["for=6.6.6.6, for=198.51.100.1, for=10.0.0.2"]), "198.51.100.1:0");
        assert_eq!(
            says(&[
                "for=6.6.6.6",
                "for=198.51.100.1;proto=https",
                "For=10.0.0.2;by=10.0.0.1"
            ]),
            "198.51.100.1:0"
        );
        assert_eq!(says(&["for=\"[2001:db8::1]:4711\""]), "[2001:db8::1]:4711");
        assert_eq!(says(&["for=\"[2001:db8::1]\";proto=http"]), "[2001:db8::1]:0");
        assert_eq!(says(&["proto=https;for=\"198.51.100.1:80\""]), "198.51.100.1:80");
        assert_eq!(says(&["for=\"a,b\";x=1, for=198.51.100.1"]), "198.51.100.1:0");
    }

    #[test]
    fn what_cannot_be_read_ends_the_search() {
        let says = |values: &[&str]| forwarded("10.0.0.1:1", values);
        assert_eq!(says(&["for=198.51.100.1, for=unknown"]), "10.0.0.1:1");
        assert_eq!(says(&["for=198.51.100.1, for=_hidden, for=10.0.0.2"]), "10.0.0.2:0");
        assert_eq!(says(&["for=198.51.100.1, proto=https"]), "10.0.0.1:1");
        assert_eq!(says(&["", "for=\"198.51.100.1"]), "10.0.0.1:1");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), signed: bool, text in "\\PC*") {
            let mut all = if signed { SIGNATURE.to_vec() } else { Vec::new() };
            all.extend(bytes);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _ = runtime.block_on(opening(&mut all.as_slice()));
            let _ = node(&text);
        }
    }
}
