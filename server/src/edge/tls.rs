//! Certificates: loaded from files, or made by the server itself and kept in the data directory.

use std::{
    fmt::Write as _,
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, date_time_ymd};
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _};

use crate::config::Tls;

/// Why no certificate can be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read as PEM.
    #[error("cannot read {}: check that it exists, that the server may read it, and that it is PEM", .0.display())]
    Read(PathBuf, #[source] pem::Error),
    /// A file has no certificate.
    #[error("there is no certificate in {}: it should begin with -----BEGIN CERTIFICATE-----", .0.display())]
    NoCertificate(PathBuf),
    /// The certificate and the key do not go together, or are of a kind that cannot be used.
    #[error("the certificate in {} and the key in {} cannot be used together", cert.display(), key.display())]
    Unusable {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// The certificate that the server makes itself cannot be made.
    #[error("cannot make a certificate")]
    Make(#[source] rcgen::Error),
    /// The certificate that the server makes itself cannot be kept.
    #[error("cannot keep the server's own certificate in {}: check that the server may write there", .0.display())]
    Keep(PathBuf, #[source] io::Error),
    /// The TLS library refuses its settings.
    #[error("TLS cannot be set up")]
    SetUp(#[source] rustls::Error),
}

/// The certificate in use. It can be read again while the server runs; connections that are open keep the one they have.
#[derive(Debug)]
pub struct Certificates {
    cert: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Loads the certificate that the configuration names; with `self_signed` makes one in `data_dir` unless there is one.
    ///
    /// None if the configuration wants no TLS.
    ///
    /// # Errors
    /// The files cannot be read or written, or do not go together.
    pub fn open(tls: &Tls, data_dir: &Path) -> Result<Option<Arc<Self>>, TlsError> {
        let (cert, key) = match (&tls.cert, &tls.key) {
            (Some(cert), Some(key)) => (cert.clone(), key.clone()),
            _ if tls.self_signed => {
                let own = own_certificate(&data_dir.join("tls"))?;
                (own.clone(), own)
            }
            _ => return Ok(None),
        };
        let current = RwLock::new(Arc::new(load(&cert, &key)?));
        Ok(Some(Arc::new(Self { cert, key, current })))
    }

    /// Reads the files again, and uses what is in them for connections from now on.
    ///
    /// # Errors
    /// The files cannot be read or do not go together; the certificate stays as it was.
    pub fn reload(&self) -> Result<(), TlsError> {
        let fresh = Arc::new(load(&self.cert, &self.key)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// SHA-256 of the certificate, as the client shows and pins it: `sha256:` and 64 hex digits.
    pub fn fingerprint(&self) -> String {
        let current = self.current();
        let hash = current
            .cert
            .first()
            .map(|cert| ::ring::digest::digest(&::ring::digest::SHA256, cert));
        let mut text = "sha256:".to_owned();
        for byte in hash.iter().flat_map(AsRef::as_ref) {
            _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// How connections are encrypted: TLS 1.2 or 1.3, for HTTP/2 or HTTP/1.1.
    pub(super) fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, TlsError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::SetUp)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

fn load(cert: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| TlsError::Read(cert.to_owned(), error))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(cert.to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::Read(key.to_owned(), error))?;
    let provider: CryptoProvider = ring::default_provider();
    CertifiedKey::from_der(chain, private, &provider).map_err(|source| TlsError::Unusable {
        cert: cert.to_owned(),
        key: key.to_owned(),
        source,
    })
}

/// The file with the server's own certificate and key, made at the first call.
///
/// Both are in one file, so that they appear together or not at all. Beside it lies the certificate alone, to be handed to clients.
fn own_certificate(directory: &Path) -> Result<PathBuf, TlsError> {
    let path = directory.join("self-signed.pem");
    let keep = |error| TlsError::Keep(directory.to_owned(), error);
    if path.try_exists().map_err(keep)? {
        return Ok(path);
    }
    let key = KeyPair::generate().map_err(TlsError::Make)?;
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut params = CertificateParams::new(names).map_err(TlsError::Make)?;
    params.distinguished_name.push(DnType::CommonName, "Greffe");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Clients pin it, so its end would only break them.
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2124, 1, 1);
    let cert = params.self_signed(&key).map_err(TlsError::Make)?.pem();

    private_directory(directory).map_err(keep)?;
    fs::write(directory.join("certificate.pem"), &cert).map_err(keep)?;
    let unfinished = directory.join("self-signed.pem.new");
    write_private(&unfinished, &(key.serialize_pem() + &cert)).map_err(keep)?;
    fs::rename(&unfinished, &path).map_err(keep)?;
    Ok(path)
}

/// Makes a directory that only its owner may open.
fn private_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Writes a file that only its owner may read, down to the disk.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    // What a crash left may have other rights.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn self_signed(directory: &Path) -> Arc<Certificates> {
        let tls = Tls {
            self_signed: true,
            ..Tls::default()
        };
        Certificates::open(&tls, directory).unwrap().unwrap()
    }

    #[test]
    fn the_servers_own_certificate_stays_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let fingerprint = self_signed(directory.path()).fingerprint();
        assert_eq!(fingerprint.len(), "sha256:".len() + 64);
        assert_eq!(self_signed(directory.path()).fingerprint(), fingerprint);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(self_signed(other.path()).fingerprint(), fingerprint);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_the_key() {
        use std::os::unix::fs::PermissionsExt as _;

        let directory = tempfile::tempdir().unwrap();
        self_signed(directory.path());
        let mode = |path: &str| fs::metadata(directory.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("tls"), 0o700);
        assert_eq!(mode("tls/self-signed.pem"), 0o600);
        let public = fs::read_to_string(directory.path().join("tls/certificate.pem")).unwrap();
        assert!(public.contains("CERTIFICATE") && !public.contains("PRIVATE"));
    }

    #[test]
    fn a_certificate_can_be_replaced_while_the_server_runs() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let certificates = self_signed(a.path());
        let first = certificates.fingerprint();
        let other = self_signed(b.path()).fingerprint();
        fs::copy(
            b.path().join("tls/self-signed.pem"),
            a.path().join("tls/self-signed.pem"),
        )
        .unwrap();
        assert_eq!(certificates.fingerprint(), first);
        certificates.reload().unwrap();
        assert_eq!(certificates.fingerprint(), other);

        fs::write(a.path().join("tls/self-signed.pem"), "broken").unwrap();
        assert!(matches!(certificates.reload(), Err(TlsError::NoCertificate(_))));
        assert_eq!(certificates.fingerprint(), other);
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        self_signed(a.path());
        self_signed(b.path());
        let path = |directory: &tempfile::TempDir| Some(directory.path().join("tls/self-signed.pem"));
        let tls = Tls {
            cert: path(&a),
            key: path(&b),
            self_signed: false,
        };
        assert!(matches!(
            Certificates::open(&tls, a.path()),
            Err(TlsError::Unusable { .. })
        ));
        let tls = Tls {
            cert: path(&a),
            key: Some("/no/such/key".into()),
            self_signed: false,
        };
        assert!(matches!(Certificates::open(&tls, a.path()), Err(TlsError::Read(..))));
        assert!(Certificates::open(&Tls::default(), a.path()).unwrap().is_none());
    }
}
