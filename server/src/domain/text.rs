//! Parsed texts: names, topics, messages, emoji. Checked once at the edge; who holds one holds a valid one.

use super::error::Error;
use super::ids::{RoomId, UserId, hex, sha256};

/// Characters of a display name or a room's name, at most.
const NAME_CHARS: usize = 64;
/// Characters of a topic or a reason, at most.
const LINE_CHARS: usize = 256;
/// Bytes of an alert or notice, at most.
const ALERT_BYTES: usize = 4096;
/// Bytes of a file's name, at most.
const FILE_NAME_BYTES: usize = 255;
/// Characters of a media type, at most.
const MEDIA_TYPE_CHARS: usize = 127;
/// Bytes of a reaction, at most.
const EMOJI_BYTES: usize = 32;
/// Characters of a client's name and version, at most.
const CLIENT_CHARS: usize = 64;

/// How the names of people begin who were erased.
const ERASED: &str = "erased-";

/// What somebody of a name is called once they are erased. It tells, to whoever knows the name already, that nobody gets it again.
pub fn erased_name(name: &str) -> String {
    let hash = sha256(&[b"greffe erased name\0", name.as_bytes()]);
    format!("{ERASED}{}", hex(&hash[..12]))
}

/// Names that would let their owner pass for the server or for everyone.
const RESERVED: [&str; 13] = [
    "admin",
    "administrator",
    "all",
    "everyone",
    "general",
    "greffe",
    "here",
    "me",
    "moderator",
    "operator",
    "room",
    "server",
    "system",
];

/// Whether a character steers how text is shown instead of being shown: control, format, bidi, line and paragraph separators.
///
/// The format characters are those of general category Cf in Unicode 16.
pub fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(u32::from(character),
            0xAD | 0x600..=0x605 | 0x61C | 0x6DD | 0x70F | 0x890..=0x891 | 0x8E2 | 0x180E | 0x200B..=0x200F | 0x2028..=0x202E
            | 0x2060..=0x206F | 0xFEFF | 0xFFF9..=0xFFFB | 0x110BD | 0x110CD | 0x13430..=0x1343F | 0x1BCA0..=0x1BCA3
            | 0x1D173..=0x1D17A | 0xE0001 | 0xE0020..=0xE007F)
}

/// A line of visible text of at most `max` characters, without spaces at its ends.
fn line(field: &'static str, text: String, max: usize) -> Result<String, Error> {
    if text.chars().count() > max {
        return Err(Error::invalid(field, format!("at most {max} characters are allowed")));
    }
    if text
        .chars()
        .any(|character| is_invisible(character) || (character.is_whitespace() && character != ' '))
    {
        return Err(Error::invalid(
            field,
            "control, format and bidi characters, tabs and line breaks are not allowed",
        ));
    }
    if text.trim() != text {
        return Err(Error::invalid(field, "it must not begin or end with a space"));
    }
    Ok(text)
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text, owned.
            pub fn into_string(self) -> String {
                self.0
            }
        }
    };
}

text!(
    /// A user name: `[a-z0-9][a-z0-9._-]{1,31}`, and none that would pass for the server.
    UserName
);
text!(
    /// A name to show: at most 64 visible characters; may be empty.
    DisplayName
);
text!(
    /// A room's name: 1 to 64 visible characters.
    RoomName
);
text!(
    /// A topic, or a reason for an act: at most 256 visible characters; may be empty.
    Line
);
text!(
    /// Why somebody acts: 1 to 256 visible characters.
    Reason
);
text!(
    /// What the operator tells everyone: at most 4,096 bytes, without NUL; may be empty.
    AlertText
);
text!(
    /// A message's text: not empty, without NUL, within the limit.
    MessageText
);
text!(
    /// A reaction: 1 to 32 bytes without control characters or spaces.
    Emoji
);
text!(
    /// A file's name: 1 to 255 bytes without NUL. A text and nothing else: never made a path here.
    FileName
);
text!(
    /// What its owner says that a file is: at most 127 visible characters of ASCII, without spaces at its ends; may be empty.
    MediaType
);
text!(
    /// A client's name and version, made safe to show; may be empty.
    ClientName
);

impl UserName {
    /// Reads a user name.
    pub fn parse(field: &'static str, text: String) -> Result<Self, Error> {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let valid = (2..=32).contains(&text.len())
            && text.bytes().next().is_some_and(letter)
            && text.bytes().all(|byte| letter(byte) || b"._-".contains(&byte));
        if !valid {
            return Err(Error::invalid(
                field,
                "2 to 32 of the characters a-z, 0-9, '.', '_' and '-' are allowed, the first one a letter or a digit",
            ));
        }
        let reserved = RESERVED.contains(&text.as_str()) || text.starts_with(ERASED);
        if reserved || text.parse::<UserId>().is_ok() {
            return Err(Error::invalid(field, "this name is reserved; choose another"));
        }
        Ok(Self(text))
    }
}

impl DisplayName {
    /// Reads a display name.
    pub fn parse(field: &'static str, text: String) -> Result<Self, Error> {
        line(field, text, NAME_CHARS).map(Self)
    }
}

impl RoomName {
    /// Reads a room's name.
    pub fn parse(field: &'static str, text: String) -> Result<Self, Error> {
        let text = line(field, text, NAME_CHARS)?;
        if text.is_empty() || text.starts_with(['@', '#', '/']) {
            return Err(Error::invalid(
                field,
                "it must not be empty, and not begin with '@', '#' or '/'",
            ));
        }
        if text.parse::<RoomId>().is_ok() {
            return Err(Error::invalid(field, "it must not look like a room's id"));
        }
        Ok(Self(text))
    }

    /// What must be unique among public rooms.
    pub fn key(&self) -> String {
        room_name_key(&self.0)
    }
}

/// The form of a room's name in which names are compared.
pub fn room_name_key(name: &str) -> String {
    name.to_lowercase()
}

impl Line {
    /// Reads a topic or a reason.
    pub fn parse(field: &'static str, text: String) -> Result<Self, Error> {
        line(field, text, LINE_CHARS).map(Self)
    }
}

impl Reason {
    /// Reads a reason.
    pub fn parse(field: &'static str, text: String) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(Error::invalid(field, "say why, in 1 to 256 characters"));
        }
        line(field, text, LINE_CHARS).map(Self)
    }
}

impl AlertText {
    /// Reads what everyone is told. It is kept as it is; whoever shows it must make it safe to show.
    pub fn parse(field: &'static str, text: String) -> Result<Self, Error> {
        if text.len() > ALERT_BYTES {
            return Err(Error::invalid(
                field,
                format!("at most {ALERT_BYTES} bytes are allowed"),
            ));
        }
        if text.contains('\0') {
            return Err(Error::invalid(field, "it must not contain NUL"));
        }
        Ok(Self(text))
    }
}

impl MessageText {
    /// Reads a message's text of at most `limit` bytes. It is kept as it is; whoever shows it must make it safe to show.
    pub fn parse(text: String, limit: usize) -> Result<Self, Error> {
        if text.len() > limit {
            return Err(Error::TextTooLong { len: text.len(), limit });
        }
        if text.is_empty() {
            return Err(Error::invalid("text", "it must not be empty"));
        }
        if text.contains('\0') {
            return Err(Error::invalid("text", "it must not contain NUL"));
        }
        Ok(Self(text))
    }

    /// The names that the text mentions as `@name`, each once, at most `max`.
    pub fn mentioned_names(&self, max: usize) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for (at, _) in self.0.match_indices('@') {
            let follows_word = self.0[..at].chars().next_back().is_some_and(char::is_alphanumeric);
            let rest = &self.0[at + 1..];
            let end = rest
                .find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c)))
                .unwrap_or(rest.len());
            // A full stop or a dash at the end belongs to the sentence.
            let name = rest[..end].trim_end_matches(['.', '-', '_']);
            if !follows_word && (2..=32).contains(&name.len()) && !names.contains(&name) {
                names.push(name);
                if names.len() == max {
                    break;
                }
            }
        }
        names
    }
}

impl Emoji {
    /// Reads a reaction. Emoji of several characters use joiners and tags, which are allowed here.
    pub fn parse(field: &'static str, text: String) -> Result<Self, Error> {
        let joins = |character: char| matches!(u32::from(character), 0x200D | 0xE0020..=0xE007F);
        let allowed = |character: char| (!is_invisible(character) || joins(character)) && !character.is_whitespace();
        if text.is_empty() || text.len() > EMOJI_BYTES || !text.chars().all(allowed) {
            return Err(Error::invalid(
                field,
                "1 to 32 bytes without control characters or spaces are allowed",
            ));
        }
        Ok(Self(text))
    }
}

impl FileName {
    /// Reads a file's name. It is kept as it is; whoever shows it, or makes a path of it, must make it harmless.
    pub fn parse(field: &'static str, text: String) -> Result<Self, Error> {
        if text.is_empty() || text.len() > FILE_NAME_BYTES || text.contains('\0') {
            return Err(Error::invalid(
                field,
                format!("1 to {FILE_NAME_BYTES} bytes without NUL are allowed; shorten it"),
            ));
        }
        Ok(Self(text))
    }
}

impl MediaType {
    /// Reads a media type.
    pub fn parse(field: &'static str, text: String) -> Result<Self, Error> {
        let visible = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if text.len() > MEDIA_TYPE_CHARS || !visible || text.trim() != text {
            return Err(Error::invalid(
                field,
                "at most 127 visible characters such as in \"image/png\" are allowed; leave it empty if it is not known",
            ));
        }
        Ok(Self(text))
    }
}

impl ClientName {
    /// Reads a client's name and version.
    pub fn parse(field: &'static str, text: String) -> Result<Self, Error> {
        line(field, text, CLIENT_CHARS).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mentions(text: &str) -> Vec<String> {
        let text = MessageText::parse(text.into(), 1000).unwrap();
        text.mentioned_names(50).into_iter().map(Into::into).collect()
    }

    #[test]
    fn mentions_are_found_where_people_write_them() {
        assert_eq!(mentions("@bob, ask @al.ice. And @bob!"), ["bob", "al.ice"]);
        assert_eq!(mentions("mail me at someone@example.org"), Vec::<String>::new());
        assert_eq!(mentions("@ @x @Bob"), Vec::<String>::new());
    }

    #[test]
    fn names_have_their_shape() {
        for good in ["bob", "a1", "0.x-_", &"a".repeat(32)] {
            assert!(UserName::parse("user_name", good.into()).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a",
            "Bob",
            "-ab",
            "a b",
            "bób",
            "admin",
            &"a".repeat(33),
            "a\u{202e}b",
        ] {
            assert!(UserName::parse("user_name", bad.into()).is_err(), "{bad}");
        }
        for bad in ["", " x", "x ", "@x", "a\nb", "a\u{200b}b", &"x".repeat(65)] {
            assert!(RoomName::parse("name", bad.into()).is_err(), "{bad:?}");
        }
        assert!(RoomName::parse("name", "Café ☕ 漢字".into()).is_ok());
    }

    #[test]
    fn a_text_is_refused_only_beyond_its_limit() {
        assert!(MessageText::parse("x".repeat(16), 16).is_ok());
        assert!(MessageText::parse("x".repeat(17), 16).is_err());
        assert!(MessageText::parse("a\0b".into(), 16).is_err());
        assert!(MessageText::parse("\u{1b}[31m\u{202e}".into(), 16).is_ok());
    }

    #[test]
    fn emoji_of_several_characters_are_reactions() {
        assert!(Emoji::parse("emoji", "👩‍👩‍👧".into()).is_ok());
        for bad in ["", "a b", "\u{7}", &"x".repeat(33)] {
            assert!(Emoji::parse("emoji", bad.into()).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_searched_for_mentions(text in "\\PC*[@a-z. \u{e9}]*") {
            if let Ok(text) = MessageText::parse(text, 10_000) {
                for name in text.mentioned_names(50) {
                    let pattern = format!("@{name}");
                    prop_assert!(text.as_str().contains(&pattern));
                }
            }
        }
    }
}
