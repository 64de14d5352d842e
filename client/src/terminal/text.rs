//! Text from other people, made safe to show.
//!
//! A terminal obeys what it is shown. Control and escape characters, characters that turn the direction of text and characters that nobody
//! sees are therefore written out, as `\u{202e}`, wherever something that another person or the server chose is shown.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

/// Returns `text` on one line: also line breaks are written out.
pub fn visible(text: &str) -> String {
    escape(text.chars())
}

/// Returns the lines of `text`, each safe to show. Line breaks are `\n` and `\r\n`.
pub fn visible_lines(text: &str) -> Vec<String> {
    text.split('\n')
        .map(|line| visible(line.strip_suffix('\r').unwrap_or(line)))
        .collect()
}

/// Returns the beginning of `text` on one line, with `…` if it is longer than `limit` characters.
pub fn excerpt(text: &str, limit: usize) -> String {
    let mut chars = text.chars();
    let mut short = escape(chars.by_ref().take(limit));
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

/// Returns a JSON text in which the characters that [`visible`] writes out are `\\u` escapes: the same value, safe to show.
pub fn visible_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        // JSON has such characters only within strings, where an escape may stand.
        if is_hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Breaks a line that is safe to show at its spaces into indented ones of at most `columns` columns. A word that is longer stays whole, so that it
/// can be copied.
pub fn folded(line: &str, columns: usize) -> Vec<String> {
    const INDENT: &str = "    ";
    let mut lines: Vec<String> = Vec::new();
    for word in line.split(' ') {
        match lines.last_mut() {
            Some(last) if last.width() + 1 + word.width() <= columns => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(format!("{INDENT}{word}")),
        }
    }
    lines
}

/// Returns bytes in hexadecimal, in small letters.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn escape(chars: impl Iterator<Item = char>) -> String {
    let mut safe = String::new();
    let mut chars = chars.peekable();
    let mut last = ' ';
    while let Some(c) = chars.next() {
        let shown = match c {
            // Parts of one emoji, between its other parts: they change how it looks and nothing else.
            '\u{200d}' => is_pictograph(last) && chars.peek().copied().is_some_and(is_pictograph),
            '\u{fe0e}' | '\u{fe0f}' => is_pictograph(last) || matches!(last, '0'..='9' | '#' | '*'),
            c => !is_hidden(c),
        };
        match c {
            c if shown => safe.push(c),
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            // Writing to a string cannot fail.
            c => drop(write!(safe, "\\u{{{:x}}}", u32::from(c))),
        }
        last = c;
    }
    safe
}

/// Whether a character is an emoji, or a part of one that is seen.
fn is_pictograph(c: char) -> bool {
    matches!(c,
        '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{2190}'..='\u{21ff}' | '\u{2300}'..='\u{27bf}'
        | '\u{2900}'..='\u{297f}' | '\u{2b00}'..='\u{2bff}' | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}'
        | '\u{1f000}'..='\u{1faff}' | '\u{fe0f}')
}

/// Whether a character commands the terminal, turns the direction of text, or cannot be seen: categories Cc, Cf, Zl and Zp, variation
/// selectors, and letters without a shape, of Unicode 16.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}'
            | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn commands_and_turned_text_are_written_out() {
        assert_eq!(visible("\u{1b}[31mred\u{7}"), "\\u{1b}[31mred\\u{7}");
        assert_eq!(visible("a\u{202e}b\u{2066}c"), "a\\u{202e}b\\u{2066}c");
        assert_eq!(visible("\u{9b}2J"), "\\u{9b}2J");
        assert_eq!(visible("one\r\ntwo\tthree"), "one\\r\\ntwo\\tthree");
        assert_eq!(visible("zero\u{200b}width\u{feff}"), "zero\\u{200b}width\\u{feff}");
    }

    #[test]
    fn long_lines_are_folded_at_spaces_and_long_words_stay_whole() {
        assert_eq!(folded("one two three", 12), ["    one two", "    three"]);
        assert_eq!(folded("一二 三", 9), ["    一二", "    三"]);
        assert_eq!(
            folded("a 0123456789abcdef b", 12),
            ["    a", "    0123456789abcdef", "    b"]
        );
        assert_eq!(folded("", 12), ["    "]);
    }

    #[test]
    fn what_is_harmless_stays() {
        for text in [
            "naïve café",
            "日本語",
            "שלום",
            "👩\u{200d}👩\u{200d}👧 ❤\u{fe0f} 1\u{fe0f}\u{20e3}",
            "👍🏽",
            "e\u{301}",
        ] {
            assert_eq!(visible(text), text);
        }
        assert_eq!(visible("a\u{200d}b\u{fe0f}"), "a\\u{200d}b\\u{fe0f}");
    }

    #[test]
    fn lines_and_excerpts() {
        assert_eq!(visible_lines("a\r\nb\n\u{1b}c"), ["a", "b", "\\u{1b}c"]);
        assert_eq!(excerpt("abcdef", 3), "abc…");
        assert_eq!(excerpt("abc", 3), "abc");
    }

    proptest! {
        #[test]
        fn json_stays_the_same_value(text in any::<String>()) {
            let value = serde_json::Value::String(text + "\u{9b}\u{202e}\u{e0041}\u{1b}");
            let safe = visible_json(&value.to_string());
            let hidden = safe.chars().any(is_hidden);
            prop_assert!(!hidden);
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).ok(), Some(value));
        }

        #[test]
        fn nothing_hidden_is_left(text in any::<String>()) {
            let safe = visible(&text);
            prop_assert!(!safe.chars().any(char::is_control));
            let hidden = safe.contains(['\u{202e}', '\u{2066}', '\u{200b}', '\u{2028}']);
            prop_assert!(!hidden);
        }
    }
}
