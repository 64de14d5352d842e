//! Invitation codes: what people show to sign up where registration is by invitation.

use std::{collections::HashSet, fmt, fs, io::Read, path::Path};

use ring::digest::{SHA256, digest};

use super::{ConfigError, Registration};

/// Bytes of a file of codes at most.
const FILE_MAX: u64 = 4 * 1024 * 1024;

/// Reusable invitation codes. Only their hashes are kept, so a comparison's time tells nothing and no log can show one.
#[derive(Clone, Default)]
pub struct InvitationCodes(HashSet<[u8; 32]>);

impl InvitationCodes {
    /// Whether this is one of the codes.
    pub fn contains(&self, code: &str) -> bool {
        self.0.contains(&hash(code))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::Read {
            path: path.to_owned(),
            source,
        };
        let file = fs::File::open(path).map_err(failed)?;
        if exposed(&file.metadata().map_err(failed)?) {
            return Err(ConfigError::Exposed(path.to_owned()));
        }
        let mut text = String::new();
        let bytes = file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(failed)?;
        if bytes as u64 > FILE_MAX {
            return Err(failed(std::io::Error::new(
                std::io::ErrorKind::FileTooLarge,
                "more than 4 MiB of codes",
            )));
        }
        let mut codes = HashSet::new();
        for (number, line) in text.lines().enumerate() {
            let code = line.trim();
            if code.is_empty() || code.starts_with('#') {
                continue;
            }
            if !(8..=256).contains(&code.chars().count()) || code.contains(char::is_whitespace) {
                return Err(ConfigError::InvitationCode {
                    path: path.to_owned(),
                    line: number + 1,
                });
            }
            codes.insert(hash(code));
        }
        Ok(Self(codes))
    }
}

impl fmt::Debug for InvitationCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InvitationCodes({})", self.0.len())
    }
}

impl Registration {
    /// Reads the invitation codes: one a line, empty lines and lines that start with `#` aside. No file, no codes.
    ///
    /// # Errors
    /// The file cannot be read, can be read by others, or has a line that is no code.
    pub fn codes(&self) -> Result<InvitationCodes, ConfigError> {
        self.invitation_file
            .as_deref()
            .map_or_else(|| Ok(InvitationCodes::default()), InvitationCodes::read)
    }
}

fn hash(code: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, code.as_bytes()).as_ref());
    hash
}

/// Whether others than the owner may read a file.
#[cfg(unix)]
fn exposed(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o077 != 0
}

/// Elsewhere there is no portable way to know.
#[cfg(not(unix))]
fn exposed(_metadata: &fs::Metadata) -> bool {
    false
}
