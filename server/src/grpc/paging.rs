//! Pages of lists: how long they are, and the tokens that ask for the next one.

use std::fmt::Display;

use crate::domain::error::Error;
use crate::domain::ids::{hex, sha256};

/// The number of items that a request asks for: 0 is the default, too many are taken as the maximum.
pub(super) fn size(asked: i32, default: usize, max: usize) -> Result<usize, Error> {
    match usize::try_from(asked) {
        Ok(0) => Ok(default.min(max)),
        Ok(size) => Ok(size.min(max)),
        Err(_) => Err(Error::invalid("page_size", "it must not be negative")),
    }
}

/// Makes and reads the tokens of one list, for one caller and one set of filters.
pub(super) struct Tokens {
    bound_to: [u8; 32],
}

impl Tokens {
    /// `list` names the method, `filters` are what the request asks for beside the page.
    pub(super) fn new(journal_id: &str, caller: impl Display, list: &str, filters: &[&str]) -> Self {
        let mut parts = vec![
            journal_id.as_bytes().to_vec(),
            caller.to_string().into_bytes(),
            list.as_bytes().to_vec(),
        ];
        parts.extend(filters.iter().map(|filter| filter.as_bytes().to_vec()));
        // With their lengths, so that no two lists of filters run together to the same bytes.
        let lengths: Vec<[u8; 8]> = parts.iter().map(|part| (part.len() as u64).to_be_bytes()).collect();
        let all: Vec<&[u8]> = parts
            .iter()
            .zip(&lengths)
            .flat_map(|(part, length)| [&length[..], &part[..]])
            .collect();
        Self { bound_to: sha256(&all) }
    }

    fn seal(&self, position: &str) -> String {
        hex(&sha256(&[&self.bound_to, position.as_bytes()])[..8])
    }

    /// The token for the page that begins after `position`.
    pub(super) fn write(&self, position: &str) -> String {
        format!("{}{}", self.seal(position), hex(position.as_bytes()))
    }

    /// The page that `found` begins, which has one item more than `size` if there are more, and the token for the next one.
    pub(super) fn page<T>(&self, mut found: Vec<T>, size: usize, position: impl Fn(&T) -> String) -> (Vec<T>, String) {
        let more = found.len() > size;
        found.truncate(size);
        let next = found.last().filter(|_| more).map(|last| self.write(&position(last)));
        (found, next.unwrap_or_default())
    }

    /// The position of a token; none for the first page.
    pub(super) fn read(&self, token: &str) -> Result<Option<String>, Error> {
        if token.is_empty() {
            return Ok(None);
        }
        let (seal, position) = token.split_at_checked(16).ok_or(Error::InvalidPageToken)?;
        let position = unhex(position)
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or(Error::InvalidPageToken)?;
        if self.seal(&position) == seal {
            Ok(Some(position))
        } else {
            Err(Error::InvalidPageToken)
        }
    }

    /// The same for positions that are numbers.
    pub(super) fn read_number(&self, token: &str) -> Result<Option<i64>, Error> {
        self.read(token)?
            .map(|position| position.parse().map_err(|_| Error::InvalidPageToken))
            .transpose()
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok();
    rest.is_empty().then(|| pairs.iter().map(byte).collect()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::ids::UserId;

    #[test]
    fn page_sizes_are_clamped_and_negative_ones_refused() {
        assert_eq!(size(0, 100, 500).unwrap(), 100);
        assert_eq!(size(i32::MAX, 100, 500).unwrap(), 500);
        assert_eq!(size(499, 100, 500).unwrap(), 499);
        assert!(size(-1, 100, 500).is_err());
    }

    #[test]
    fn a_token_is_good_for_its_caller_and_filters_only() {
        let (alice, bob) = (UserId::random(), UserId::random());
        let token = Tokens::new("j", alice, "users", &["al", ""]).write("alice");
        assert_eq!(
            Tokens::new("j", alice, "users", &["al", ""]).read(&token).unwrap().as_deref(),
            Some("alice")
        );
        assert!(Tokens::new("j", bob, "users", &["al", ""]).read(&token).is_err());
        assert!(Tokens::new("j", alice, "users", &["a", "l"]).read(&token).is_err());
        assert!(Tokens::new("j", alice, "rooms", &["al", ""]).read(&token).is_err());
    }

    proptest! {
        #[test]
        fn any_text_can_be_tried_as_a_token(token: String) {
            let tokens = Tokens::new("j", UserId::random(), "users", &[]);
            prop_assert!(token.is_empty() || tokens.read(&token).is_err());
        }

        #[test]
        fn every_position_survives(position: String) {
            let tokens = Tokens::new("j", UserId::random(), "users", &[]);
            let token = tokens.write(&position);
            prop_assert_eq!(tokens.read(&token).unwrap(), Some(position));
        }
    }
}
