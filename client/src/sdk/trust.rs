//! Whether the server at the other end of a TLS link is the right one.
//!
//! Either a certificate authority says so, or the certificate is the one that was seen the first time, as ssh does it.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tonic::Code;

use super::address::ServerAddress;
use super::error::{Error, reason};

/// How a TLS server is recognised.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Its certificate is signed by one of the authorities in this PEM file, for the host's name.
    Authority(PathBuf),
    /// Its certificate is the one that was seen at first contact.
    FirstUse(KnownServers),
}

/// The SHA-256 of a certificate. Shown as `sha256:` and 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The file with the certificates of servers that were visited: lines of `HOST:PORT sha256:HEX`.
#[derive(Clone, Debug)]
pub struct KnownServers {
    path: PathBuf,
}

impl KnownServers {
    /// Names the file. It is made when the first server is added.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Accepts a certificate that is the known one, or the first. Returns whether it was the first.
    pub(crate) fn accept(&self, server: &ServerAddress, seen: Fingerprint) -> Result<bool, Error> {
        let name = server.authority();
        let unusable = |error: &io::Error| {
            Error::local(
                Code::FailedPrecondition,
                reason::CERTIFICATE_UNUSABLE,
                format!(
                    "the list of known servers {} cannot be used: {error}",
                    self.path.display()
                ),
            )
        };
        let known = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(unusable(&error)),
        };
        let pinned = known
            .lines()
            .filter_map(|line| line.split_once(' '))
            .find(|(server, _)| *server == name);
        match pinned {
            Some((_, pinned)) if pinned.trim() == seen.to_string() => Ok(false),
            Some((_, pinned)) => Err(Error::local(
                Code::FailedPrecondition,
                reason::CERTIFICATE_CHANGED,
                format!(
                    "THE CERTIFICATE OF {name} HAS CHANGED. Somebody may be listening in, or the operator has renewed it.\n  \
                     known: {}\n  seen:  {seen}\nAsk the operator for the fingerprint. If the new one is right, remove the line of \
                     {name} from {} and connect again.",
                    pinned.trim(),
                    self.path.display()
                ),
            )),
            None => self.add(&name, seen).map(|()| true).map_err(|error| unusable(&error)),
        }
    }

    fn add(&self, name: &str, seen: Fingerprint) -> io::Result<()> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        // One write of one line, so that two clients that add at once do not mix their lines.
        options.open(&self.path)?.write_all(format!("{name} {seen}\n").as_bytes())
    }
}

/// The TLS settings for a way of trusting. The provider is ring, whatever else the process has installed.
pub(crate) fn tls_config(trust: &Trust) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable_certificate(&error))?;
    let mut config = match trust {
        Trust::Authority(file) => builder.with_root_certificates(authorities(file)?).with_no_client_auth(),
        Trust::FirstUse(_) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned::new(&provider)))
            .with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn authorities(file: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| unusable_file(file, &error))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| unusable_file(file, &error))?;
        roots.add(certificate).map_err(|error| unusable_file(file, &error))?;
    }
    if roots.is_empty() {
        return Err(unusable_file(file, &"there is no certificate in it"));
    }
    Ok(roots)
}

fn unusable_file(file: &Path, why: &dyn fmt::Display) -> Error {
    unusable_certificate(&format!(
        "the certificate file {} cannot be used: {why}",
        file.display()
    ))
}

fn unusable_certificate(why: &dyn fmt::Display) -> Error {
    Error::local(Code::FailedPrecondition, reason::CERTIFICATE_UNUSABLE, why.to_string())
}

/// Checks that the server holds the key of the certificate that it shows. Whether it is the right certificate is decided by its fingerprint
/// after the handshake, before anything is sent.
#[derive(Debug)]
struct Pinned {
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pinned {
    fn new(provider: &CryptoProvider) -> Self {
        Self {
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_certificate_is_kept_and_another_one_refused() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let servers = KnownServers::new(directory.path().join("new").join("known_servers"));
        let server: ServerAddress = "https://chat.example.org:1".parse()?;
        let other: ServerAddress = "https://chat.example.org:2".parse()?;
        let (one, two) = (Fingerprint([1; 32]), Fingerprint([2; 32]));
        assert!(servers.accept(&server, one)?);
        assert!(!servers.accept(&server, one)?);
        assert!(servers.accept(&other, two)?);
        let Err(refused) = servers.accept(&server, two) else {
            return Err("accepted".into());
        };
        assert_eq!(refused.reason, reason::CERTIFICATE_CHANGED);
        assert!(refused.message.contains(&one.to_string()) && refused.message.contains(&two.to_string()));
        Ok(())
    }
}
