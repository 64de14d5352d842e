//! Judges a password that somebody chooses: long enough, and not among those that are tried first.

use std::{collections::HashSet, sync::LazyLock};

static COMMON: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    include_str!("common.txt")
        .lines()
        .filter(|line| !line.starts_with("# "))
        .collect()
});

/// Why a password cannot be taken. The texts say what to do, and never show the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsuitable {
    /// Fewer characters than this.
    #[error("the password is too short: use at least {0} characters, better 15")]
    TooShort(usize),
    /// More characters than this.
    #[error("the password is too long: use at most {0} characters")]
    TooLong(usize),
    /// It has a character that other programs take for the end.
    #[error("the password must not contain the character NUL")]
    Nul,
    /// It is among those that are tried first.
    #[error("this password is among the most common ones, which are tried first: choose another")]
    Common,
    /// It is the user's name.
    #[error("the password must not be the user name: choose another")]
    UserName,
}

/// Whether somebody of this name may take this password of `min` to `max` characters.
///
/// # Errors
/// The first of the reasons against it.
pub fn check_suitable(password: &str, user_name: &str, min: usize, max: usize) -> Result<(), Unsuitable> {
    let characters = password.chars().count();
    if characters < min {
        return Err(Unsuitable::TooShort(min));
    }
    if characters > max {
        return Err(Unsuitable::TooLong(max));
    }
    if password.contains('\0') {
        return Err(Unsuitable::Nul);
    }
    let lower = password.to_lowercase();
    if COMMON.contains(lower.as_str()) {
        return Err(Unsuitable::Common);
    }
    if lower == user_name.to_lowercase() {
        return Err(Unsuitable::UserName);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(password: &str) -> Result<(), Unsuitable> {
        check_suitable(password, "alice.smith", 8, 128)
    }

    #[test]
    fn length_is_counted_in_characters() {
        assert_eq!(check("héllö-w"), Err(Unsuitable::TooShort(8)));
        assert_eq!(check("héllö-wö"), Ok(()));
        assert_eq!(check(&"é-".repeat(64)), Ok(()));
        assert_eq!(check(&("é-".repeat(64) + "x")), Err(Unsuitable::TooLong(128)));
        assert_eq!(check(""), Err(Unsuitable::TooShort(8)));
    }

    #[test]
    fn what_is_tried_first_is_refused() {
        for common in ["password", "PassWord", "12345678", "qwertyuiop"] {
            assert_eq!(check(common), Err(Unsuitable::Common), "{common}");
        }
        assert_eq!(check("Alice.Smith"), Err(Unsuitable::UserName));
        assert_eq!(check("alice.smith!"), Ok(()));
        assert_eq!(check("nul\0inside"), Err(Unsuitable::Nul));
    }

    #[test]
    fn the_list_is_clean() {
        assert!((4000..=5000).contains(&COMMON.len()), "{}", COMMON.len());
        for entry in COMMON.iter() {
            assert!(
                entry.chars().count() >= 8 && *entry == entry.to_lowercase(),
                "{entry:?}"
            );
        }
    }
}
