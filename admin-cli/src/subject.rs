//! Whom or what a case, a hold or an erasure is about, as it is typed: a user or a room.

use crate::target;

/// A user or a room, as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// A user, by name or id.
    User(String),
    /// A room, by name or id.
    Room(String),
    /// One of the two: a bare word does not say.
    Either(String),
}

/// Reads a subject: `@bob` is a user, `#general` and `room:general` are rooms; a bare word may be either.
pub(crate) fn parse(typed: &str) -> Typed {
    let typed = typed.trim();
    if typed.starts_with('@') {
        return Typed::User(target::user(typed));
    }
    match room(typed) {
        room if room.len() < typed.len() => Typed::Room(room.to_owned()),
        bare => Typed::Either(bare.to_owned()),
    }
}

/// A room as typed: `#` or `room:` before it are a convenience where nothing else can be meant.
pub(crate) fn room(typed: &str) -> &str {
    let typed = typed.trim();
    typed.strip_prefix('#').or_else(|| typed.strip_prefix("room:")).unwrap_or(typed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_rooms_are_told_apart_by_their_sign() {
        for (typed, subject) in [
            ("@Bob", Typed::User("bob".into())),
            ("#General", Typed::Room("General".into())),
            ("room:a b", Typed::Room("a b".into())),
            ("room:#x", Typed::Room("#x".into())),
            (" bob ", Typed::Either("bob".into())),
            ("", Typed::Either(String::new())),
        ] {
            assert_eq!(parse(typed), subject, "{typed}");
        }
        assert_eq!((room("#x"), room("room:x"), room("x")), ("x", "x", "x"));
    }
}
