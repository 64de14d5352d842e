//! Words of a POSIX shell: written so that it reads exactly them, and read as it does.

/// One word of a shell, whatever is in it. Line breaks stay within the quotes.
pub fn quoted(text: &str) -> String {
    let plain = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/' | b':' | b'@' | b'+' | b','));
    if plain {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// Why a line is not made of whole words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// A quotation mark has no partner.
    #[error("a quotation mark {0} has no partner; close it, or write \\{0}")]
    OpenQuote(char),
    /// Nothing follows the last backslash.
    #[error("nothing follows the backslash at the end; write \\\\ for a backslash")]
    LoneBackslash,
}

/// The words of a line: separated by white space, with `'…'`, `"…"` and `\` as in a shell. Nothing is expanded, and nothing is a comment.
pub fn split(line: &str) -> Result<Vec<String>, SplitError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' => loop {
                let word = word.get_or_insert_default();
                match chars.next().ok_or(SplitError::OpenQuote('\''))? {
                    '\'' => break,
                    c => word.push(c),
                }
            },
            '"' => loop {
                let word = word.get_or_insert_default();
                match chars.next().ok_or(SplitError::OpenQuote('"'))? {
                    '"' => break,
                    '\\' => match chars.next().ok_or(SplitError::OpenQuote('"'))? {
                        c @ ('"' | '\\' | '$' | '`') => word.push(c),
                        c => word.extend(['\\', c]),
                    },
                    c => word.push(c),
                }
            },
            '\\' => word
                .get_or_insert_default()
                .push(chars.next().ok_or(SplitError::LoneBackslash)?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_read_as_a_shell_reads_them() {
        for (line, words) in [
            ("", vec![]),
            ("  kick  bob ", vec!["kick", "bob"]),
            ("alert 'see you' \"at \\\"9\\\"\"", vec!["alert", "see you", "at \"9\""]),
            ("a\\ b '' \"\"", vec!["a b", "", ""]),
            ("it\\'s #1 $HOME \"\\n\"", vec!["it's", "#1", "$HOME", "\\n"]),
            ("--reason='two words'x", vec!["--reason=two wordsx"]),
        ] {
            assert_eq!(
                split(line),
                Ok(words.into_iter().map(str::to_owned).collect()),
                "{line}"
            );
        }
        assert_eq!(split("it's"), Err(SplitError::OpenQuote('\'')));
        assert_eq!(split("\"a\\"), Err(SplitError::OpenQuote('"')));
        assert_eq!(split("a\\"), Err(SplitError::LoneBackslash));
    }

    #[test]
    fn plain_words_stay_as_they_are() {
        assert_eq!(quoted("10.0.0.0/8"), "10.0.0.0/8");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("it's; rm"), "'it'\\''s; rm'");
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_read_back(words in proptest::collection::vec(any::<String>(), 0..5)) {
            let line = words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(split(&line), Ok(words));
        }

        #[test]
        fn any_line_is_read_or_refused(line in any::<String>()) {
            // It must not panic.
            let _ = split(&line);
        }
    }
}
