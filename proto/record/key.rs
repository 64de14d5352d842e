//! Keys that sign notes: Ed25519, with a name, in the text form of C2SP signed notes.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use super::sha256;

/// The signature type of C2SP signed notes for Ed25519.
const ED25519_TYPE: u8 = 1;
/// How a private key's text begins.
const PRIVATE: &str = "PRIVATE+KEY+";

/// Why a text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It does not have the form.
    #[error("this is no key: it must have the form NAME+ID+KEY, as `greffe-admin checkpoint keys` prints it")]
    Form,
    /// The name is empty, or has a space or a plus.
    #[error("the key's name must not be empty, and have neither spaces nor a plus")]
    Name,
    /// It is not for Ed25519.
    #[error("the key is of a kind that is not known here; only Ed25519 is")]
    Kind,
    /// The id is not that of the name and the key.
    #[error("the key's id does not belong to its name and key: something was changed or left out when it was copied")]
    Id,
}

/// Whether a key may have this name.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// A key that checks signatures. Its text is a C2SP `vkey`: `NAME+ID+KEY`, the id of 8 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VerifierKey {
    name: String,
    public: [u8; 32],
}

impl VerifierKey {
    /// A key by its name and 32 bytes.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn new(name: &str, public: [u8; 32]) -> Result<Self, KeyError> {
        let name = Some(name).filter(|name| is_name(name)).ok_or(KeyError::Name)?.to_owned();
        Ok(Self { name, public })
    }

    /// Whose key it is: for a journal's, the origin of its checkpoints.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The 32 bytes of an Ed25519 public key.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The same key under another name.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn named(&self, name: &str) -> Result<Self, KeyError> {
        Self::new(name, self.public)
    }

    /// What stands before a signature, so that the key is found: the first four bytes of SHA-256 over name, line feed, kind and key.
    pub fn id(&self) -> u32 {
        let hash = sha256(&[self.name.as_bytes(), b"\n", &[ED25519_TYPE], &self.public]);
        u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
    }

    /// Whether `signature` is this key's over `text`.
    pub fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.public).verify(text, signature).is_ok()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[ED25519_TYPE], &self.public[..]].concat();
        write!(f, "{}+{:08x}+{}", self.name, self.id(), STANDARD.encode(key))
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, id, public) = parts(text)?;
        let key = Self::new(name, public)?;
        if key.id() == id { Ok(key) } else { Err(KeyError::Id) }
    }
}

/// Name, id and 32 bytes.
fn parts(text: &str) -> Result<(&str, u32, [u8; 32]), KeyError> {
    let (name, rest) = text.split_once('+').ok_or(KeyError::Form)?;
    let (id, key) = rest.split_once('+').ok_or(KeyError::Form)?;
    let is_id = id.len() == 8 && id.bytes().all(|digit| digit.is_ascii_digit() || matches!(digit, b'a'..=b'f'));
    let id = Some(id).filter(|_| is_id).and_then(|id| u32::from_str_radix(id, 16).ok());
    let key = STANDARD.decode(key).map_err(|_| KeyError::Form)?;
    match key.split_first() {
        Some((&ED25519_TYPE, key)) => {
            let key = key.try_into().map_err(|_| KeyError::Form)?;
            Ok((name, id.ok_or(KeyError::Form)?, key))
        }
        Some(_) => Err(KeyError::Kind),
        None => Err(KeyError::Form),
    }
}

/// A key that signs.
pub struct SigningKey {
    verifier: VerifierKey,
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.verifier)
    }
}

impl SigningKey {
    /// The key of a seed of 32 random bytes.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn from_seed(name: &str, seed: [u8; 32]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyError::Form)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Form)?;
        let verifier = VerifierKey::new(name, public)?;
        Ok(Self { verifier, seed, pair })
    }

    /// Reads what [`SigningKey::to_secret`] gave.
    ///
    /// # Errors
    /// If it is none.
    pub fn from_secret(text: &str) -> Result<Self, KeyError> {
        let (name, id, seed) = parts(text.trim_end().strip_prefix(PRIVATE).ok_or(KeyError::Form)?)?;
        let key = Self::from_seed(name, seed)?;
        if key.verifier.id() == id {
            Ok(key)
        } else {
            Err(KeyError::Id)
        }
    }

    /// The private key as text, as other implementations of signed notes read it.
    pub fn to_secret(&self) -> String {
        let key = STANDARD.encode([&[ED25519_TYPE], &self.seed[..]].concat());
        format!("{PRIVATE}{}+{:08x}+{key}", self.verifier.name, self.verifier.id())
    }

    /// The same key under another name.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn named(&self, name: &str) -> Result<Self, KeyError> {
        Self::from_seed(name, self.seed)
    }

    /// The key that checks its signatures.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// A signature of 64 bytes.
    pub fn sign(&self, text: &[u8]) -> Vec<u8> {
        self.pair.sign(text).as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of C2SP signed-note, whose key is that of golang.org/x/mod/sumdb/note's tests.
    const VERIFIER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const SECRET: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";

    #[test]
    fn keys_are_read_and_written_as_others_do() {
        let secret = SigningKey::from_secret(SECRET).unwrap();
        assert_eq!(secret.to_secret(), SECRET);
        assert_eq!(secret.verifier().to_string(), VERIFIER);
        let verifier: VerifierKey = VERIFIER.parse().unwrap();
        assert_eq!(&verifier, secret.verifier());
        assert_eq!((verifier.name(), verifier.id()), ("PeterNeumann", 0xc74f_20a3));
        assert!(
            !format!("{secret:?}").contains("AYEKFALV"),
            "a secret is not printed by accident"
        );
    }

    #[test]
    fn what_is_no_key_is_refused_with_why() {
        let refused = |text: &str| text.parse::<VerifierKey>().unwrap_err();
        assert_eq!(refused(""), KeyError::Form);
        assert_eq!(refused("PeterNeumann+c74f20a3"), KeyError::Form);
        assert_eq!(refused(&VERIFIER[..VERIFIER.len() - 4]), KeyError::Form);
        assert_eq!(refused(&VERIFIER.replace("c74f20a3", "c74f20a4")), KeyError::Id);
        assert_eq!(refused(&VERIFIER.replace("c74f20a3", "C74F20A3")), KeyError::Form);
        assert_eq!(refused(&VERIFIER.replace("Peter", "Peter ")), KeyError::Name);
        assert_eq!(refused(&VERIFIER.replace("Peter", "Qeter")), KeyError::Id);
        assert_eq!(refused(&VERIFIER.replace("ARpc", "Ahpc")), KeyError::Kind);
        assert_eq!(SigningKey::from_secret(VERIFIER).unwrap_err(), KeyError::Form);
    }

    proptest! {
        #[test]
        fn any_text_can_be_tried_as_a_key(text in "\\PC{0,80}", cut in 0..80_usize) {
            let _ = text.parse::<VerifierKey>();
            let mut almost = VERIFIER.to_owned();
            almost.insert_str(cut.min(almost.len()), &text);
            let _ = almost.parse::<VerifierKey>();
        }

        #[test]
        fn a_signature_is_of_one_key_and_one_text(seed: [u8; 32], other: [u8; 32], text: Vec<u8>, bit in 0..512_usize) {
            let key = SigningKey::from_seed("a", seed).unwrap();
            let mut signature = key.sign(&text);
            prop_assert!(key.verifier().verifies(&text, &signature));
            let read = SigningKey::from_secret(&key.to_secret()).unwrap();
            prop_assert_eq!(read.verifier(), key.verifier());
            if other != seed {
                let other = SigningKey::from_seed("a", other).unwrap();
                prop_assert!(!other.verifier().verifies(&text, &signature));
            }
            prop_assert!(!key.verifier().verifies(&[&text[..], b"x"].concat(), &signature));
            signature[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!key.verifier().verifies(&text, &signature));
        }
    }
}
