//! Random ids, tokens and salts: everything here that must not be guessed or repeated.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use ring::digest;

/// A map whose keys nobody chooses: ids that are made here, numbers, hashes. So a hash function does that is fast and no defence.
pub type IdMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Bytes of randomness in an id: 80 bits, so that among 10⁹ ids two are equal with a chance of one in two million. The store refuses a
/// repeated one.
const ID_BYTES: usize = 10;

/// Lower-case Crockford base 32: no i, l, o or u, so that ids survive being read aloud.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Fills an array with bytes of the system's random source.
///
/// # Panics
/// If the system has no random source: nothing here would be safe without one.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that asks for randomness"
)]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system's random source works");
    bytes
}

/// Random bytes, which the system is asked for many at a time. For what is no secret once it is used.
#[derive(Debug, Default)]
pub struct RandomPool {
    bytes: Vec<u8>,
}

impl RandomPool {
    /// Bytes that the system is asked for at a time.
    const FILL: usize = 4096;

    /// Takes some; nobody gets them again.
    pub fn take<const N: usize>(&mut self) -> [u8; N] {
        const { assert!(N <= Self::FILL) };
        if self.bytes.len() < N {
            self.bytes = random::<{ Self::FILL }>().to_vec();
        }
        let mut taken = [0; N];
        taken.copy_from_slice(&self.bytes[self.bytes.len() - N..]);
        self.bytes.truncate(self.bytes.len() - N);
        taken
    }
}

pub use greffe_api::record::sha256;

/// SHA-256 of `salt` and of what formatting gives, without the text being put together.
pub fn sha256_of_text(salt: &[u8], text: fmt::Arguments<'_>) -> [u8; 32] {
    struct Hashing(digest::Context);
    impl fmt::Write for Hashing {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            self.0.update(part.as_bytes());
            Ok(())
        }
    }
    let mut hashing = Hashing(digest::Context::new(&digest::SHA256));
    hashing.0.update(salt);
    // Only a value that refuses to be formatted fails, and none of ours does.
    let _ = fmt::Write::write_fmt(&mut hashing, text);
    let mut out = [0; 32];
    out.copy_from_slice(hashing.0.finish().as_ref());
    out
}

/// Writes bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).expect("a nibble is a hex digit"));
        }
    }
    text
}

fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in bytes {
        bits = (bits << 8) | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            text.push(char::from(ALPHABET[((bits >> held) & 31) as usize]));
        }
    }
    if held > 0 {
        text.push(char::from(ALPHABET[((bits << (5 - held)) & 31) as usize]));
    }
    text
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != (N * 8).div_ceil(5) {
        return None;
    }
    let mut bytes = [0; N];
    let (mut bits, mut held, mut next) = (0_u32, 0_u32, 0);
    for symbol in text.bytes() {
        let value = ALPHABET.iter().position(|known| *known == symbol)?;
        bits = ((bits << 5) | u32::try_from(value).ok()?) & 0xFFFF;
        held += 5;
        if held >= 8 && next < N {
            held -= 8;
            bytes[next] = u8::try_from((bits >> held) & 0xFF).ok()?;
            next += 1;
        }
    }
    // What is left over must be zero, so that an id has one spelling.
    (bits & ((1 << held) - 1) == 0).then_some(bytes)
}

/// The text is no id of the expected kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id")]
pub struct InvalidId;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; ID_BYTES]);

        impl $name {
            /// Makes a new one.
            pub fn random() -> Self {
                Self(random())
            }

            /// Its bytes.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix($prefix).and_then(decode).map(Self).ok_or(InvalidId)
            }
        }
    };
}

id!(
    /// A user's id: `u` and 16 symbols.
    UserId,
    "u"
);
id!(
    /// A room's id: `r` and 16 symbols.
    RoomId,
    "r"
);
id!(
    /// A session's id: `s` and 16 symbols. Not a secret.
    SessionId,
    "s"
);
id!(
    /// A file, and the upload that becomes it.
    FileId,
    "f"
);

impl FileId {
    /// The id of what a request makes, so that a repeated request names the same file.
    pub fn of_request(key: RequestKey) -> Self {
        let hash = sha256(&[b"greffe file", &key.0]);
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&hash[..ID_BYTES]);
        Self(id)
    }
}

/// A new epoch: 8 symbols.
pub fn random_epoch() -> String {
    encode(&random::<5>())
}

/// A new journal's id: 128 bits, in hex.
pub fn random_journal_id() -> String {
    hex(&random::<16>())
}

/// A session's secret. Only its hash is stored.
pub struct Token([u8; 32]);

impl Token {
    /// Makes a new one.
    pub fn random() -> Self {
        Self(random())
    }

    /// Reads one from text, as [`Token::reveal`] wrote it.
    pub fn parse(text: &str) -> Option<Self> {
        text.strip_prefix("gt_").and_then(decode).map(Self)
    }

    /// Writes it as text, for its owner alone.
    pub fn reveal(&self) -> String {
        format!("gt_{}", encode(&self.0))
    }

    /// The hash under which the store knows it.
    pub fn hash(&self) -> TokenHash {
        TokenHash(sha256(&[&self.0]))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// SHA-256 of a token. A fast hash is enough: tokens are 256 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

/// A secret that is good once: it lets somebody sign up, or set a password. 80 random bits, which is enough where guesses are slowed down.
pub struct OneTimeCode([u8; ID_BYTES]);

impl OneTimeCode {
    /// Makes a new one.
    pub fn random() -> Self {
        Self(random())
    }

    /// Reads one as somebody types it: whatever the case, with or without dashes and spaces.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > 64 {
            return None;
        }
        let plain: String = text
            .chars()
            .filter(|character| !matches!(character, '-' | ' '))
            .map(|character| character.to_ascii_lowercase())
            .collect();
        decode(&plain).map(Self)
    }

    /// Writes it for whom it is made: four groups of four symbols.
    pub fn reveal(&self) -> String {
        let text = encode(&self.0);
        let groups: Vec<&str> = (0..4).map(|group| &text[group * 4..group * 4 + 4]).collect();
        groups.join("-")
    }

    /// The hash under which the store knows it.
    pub fn hash(&self) -> CodeHash {
        CodeHash(sha256(&[b"greffe code", &self.0]))
    }
}

impl fmt::Debug for OneTimeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTimeCode(..)")
    }
}

/// SHA-256 of a one-time code.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CodeHash(pub [u8; 32]);

impl fmt::Debug for CodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeHash(..)")
    }
}

/// The name that a client gave to an intention, so that repeating it does nothing twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RequestId(uuid::Uuid);

impl RequestId {
    /// Reads a UUID, with or without hyphens.
    pub fn parse(text: &str) -> Option<Self> {
        let known_form = matches!(text.len(), 32 | 36);
        uuid::Uuid::try_parse(text).ok().filter(|_| known_form).map(Self)
    }

    /// What the store keeps in its place: a hash, which says nothing of the request id, which is in the row's body and can be erased there. If the id is a
    /// UUID of version 7 (RFC 9562), the 48 bits of time that it begins with come first, so that new keys lie beside each other in the store's index, and
    /// a batch touches few pages of it instead of one for each key.
    pub fn key(&self, user: UserId) -> RequestKey {
        self.key_of(b"greffe request", &user.0)
    }

    /// The same for an operating system's user at the local socket.
    pub fn local_key(&self, uid: u32) -> RequestKey {
        self.key_of(b"greffe local request", &uid.to_be_bytes())
    }

    fn key_of(&self, kind: &[u8], whose: &[u8]) -> RequestKey {
        let hash = sha256(&[kind, whose, self.0.as_bytes()]);
        let mut key = [0; 16];
        key.copy_from_slice(&hash[..16]);
        if self.0.get_version_num() == 7 {
            key[..TIME_BYTES].copy_from_slice(&self.0.as_bytes()[..TIME_BYTES]);
        }
        RequestKey(key)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

/// Bytes of the time that a UUID of version 7 begins with.
const TIME_BYTES: usize = 6;

/// A user's request id, hashed, but for the time in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RequestKey(pub [u8; 16]);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_survives_being_written_and_read(bytes: [u8; ID_BYTES]) {
            let id = UserId(bytes);
            prop_assert_eq!(id.to_string().parse::<UserId>(), Ok(id));
        }

        #[test]
        fn a_token_has_one_spelling(bytes: [u8; 32], text in "gt_[0-9a-z]{52}") {
            prop_assert_eq!(Token::parse(&Token(bytes).reveal()).map(|token| token.0), Some(bytes));
            if let Some(token) = Token::parse(&text) {
                prop_assert_eq!(token.reveal(), text);
            }
        }

        #[test]
        fn any_text_can_be_tried_as_an_id(text: String) {
            let _ = text.parse::<RoomId>();
            let _ = Token::parse(&text);
            let _ = RequestId::parse(&text);
        }
    }

    #[test]
    fn a_code_survives_being_typed() {
        let code = OneTimeCode::random();
        let shown = code.reveal();
        assert_eq!(shown.len(), 19);
        for typed in [
            shown.clone(),
            shown.to_uppercase(),
            shown.replace('-', " "),
            shown.replace('-', ""),
        ] {
            assert_eq!(OneTimeCode::parse(&typed).unwrap().hash(), code.hash(), "{typed}");
        }
        assert!(OneTimeCode::parse("").is_none());
        assert!(OneTimeCode::parse(&"0".repeat(1000)).is_none());
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let user = UserId::random().to_string();
        assert_eq!(user.parse::<RoomId>(), Err(InvalidId));
        assert_eq!(user.len(), 17);
    }

    #[test]
    fn keys_of_request_ids_that_begin_with_the_time_are_in_the_order_of_time() {
        let user = UserId([1; 10]);
        let key = |text| RequestId::parse(text).unwrap().key(user).0;
        let first = key("019a0000-0000-7000-8000-00000000ffff");
        let later = key("019a0000-0001-7000-8000-000000000000");
        let same_time = key("019a0000-0001-7000-8000-000000000001");
        assert!(first < later);
        assert_eq!(later[..6], same_time[..6]);
        assert_ne!(later, same_time);
        // Random ones are hashed whole.
        assert_ne!(key("019a0000-0000-4000-8000-00000000ffff")[..6], first[..6]);
    }

    #[test]
    fn request_ids_of_different_users_have_different_keys() {
        let request = RequestId::parse("0f8fad5b-d9cb-469f-a165-70867728950e").unwrap();
        assert_ne!(request.key(UserId([1; 10])), request.key(UserId([2; 10])));
        assert_eq!(RequestId::parse("0F8FAD5BD9CB469FA16570867728950E"), Some(request));
        assert_eq!(RequestId::parse("{0f8fad5b-d9cb-469f-a165-70867728950e}"), None);
    }
}
