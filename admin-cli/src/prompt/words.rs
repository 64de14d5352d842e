//! What a line at the prompt asks for. The words of the chat that Greffe replaces begin with `#` or `/`; capitals make no difference.

use super::is_command;

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing: it is empty, or a comment.
    Nothing,
    /// To leave the prompt. The server goes on.
    Leave,
    /// An old word, and what follows it.
    Word(Word, String),
    /// A command, as it stands on a command line after the program's name.
    Command(String),
    /// A message to whom one talks.
    Text(String),
}

/// The old words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Help,
    Alert,
    Kill,
    Private,
    Leave,
    Users,
    Files,
    Exit,
}

/// An old word as people know it.
struct Entry {
    word: Word,
    /// Its names, as they are shown; the usual one first.
    names: &'static [&'static str],
    usage: &'static str,
    help: &'static str,
}

const ENTRIES: [Entry; 8] = [
    Entry {
        word: Word::Alert,
        names: &["Alert"],
        usage: "TEXT",
        help: "tell everyone, in red",
    },
    Entry {
        word: Word::Kill,
        names: &["Kill"],
        usage: "NAME [REASON]",
        help: "kick somebody",
    },
    Entry {
        word: Word::Private,
        names: &["Private"],
        usage: "NAME [TEXT]",
        help: "talk to one person until #Private alone; with TEXT, send one message",
    },
    Entry {
        word: Word::Leave,
        names: &["Leave", "Back"],
        usage: "",
        help: "talk to nobody in particular again",
    },
    Entry {
        word: Word::Users,
        names: &["ListU"],
        usage: "",
        help: "list who is online",
    },
    Entry {
        word: Word::Files,
        names: &["ListF"],
        usage: "",
        help: "list files",
    },
    Entry {
        word: Word::Help,
        names: &["Help"],
        usage: "",
        help: "show this",
    },
    Entry {
        word: Word::Exit,
        names: &["Exit"],
        usage: "[REASON]",
        help: "stop the server: everyone is alerted and sent away for maintenance",
    },
];

/// The help of the old words, a line each.
pub(super) fn help() -> Vec<String> {
    let line = |entry: &Entry| {
        format!(
            "  {:<24} {}",
            format!("#{} {}", entry.names[0], entry.usage),
            entry.help
        )
    };
    let first = "Words (also with / and in any case):".to_owned();
    let rest = [
        "  quit, Ctrl-D             leave this prompt; the server goes on".to_owned(),
        "Everything else is a command, without `greffe-admin` before it; `help` lists them, `help ban` tells of one."
            .to_owned(),
        "To one person, a line that begins with ## or // is sent with one of them.".to_owned(),
    ];
    [first].into_iter().chain(ENTRIES.iter().map(line)).chain(rest).collect()
}

/// The old words, as they are completed.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().flat_map(|entry| entry.names).copied()
}

/// Says what a line asks for. `private`: each line is a message, but for words.
pub(super) fn parse(line: &str, private: bool) -> Line {
    let trimmed = line.trim();
    if trimmed.is_empty() {
        return Line::Nothing;
    }
    let Some(sign @ ('#' | '/')) = trimmed.chars().next() else {
        return if private {
            Line::Text(trimmed.to_owned())
        } else {
            plain(trimmed)
        };
    };
    let rest = &trimmed[1..];
    if private && rest.starts_with(sign) {
        return Line::Text(rest.to_owned());
    }
    if !rest.starts_with(char::is_alphabetic) {
        // Comments of pasted lines, and paths, which are no commands.
        return match (private, sign) {
            (true, _) => Line::Text(trimmed.to_owned()),
            (false, '#') => Line::Nothing,
            (false, _) => Line::Command(trimmed.to_owned()),
        };
    }
    let (name, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let found = ENTRIES
        .iter()
        .find(|entry| entry.names.iter().any(|known| known.eq_ignore_ascii_case(name)));
    match found {
        Some(entry) => Line::Word(entry.word, after.trim().to_owned()),
        None if name.eq_ignore_ascii_case("quit") => Line::Leave,
        None => {
            let lower = name.to_lowercase();
            // New commands may be typed in the old way; what is neither is refused as a command is, with what would be right.
            let command = if is_command(&lower) { lower } else { name.to_owned() };
            Line::Command(format!("{command} {after}"))
        }
    }
}

fn plain(line: &str) -> Line {
    match line.to_lowercase().as_str() {
        "quit" | "exit" => Line::Leave,
        _ => Line::Command(line.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn old_words_are_taken_in_any_case_with_either_sign() {
        for (line, word, rest) in [
            ("#Alert see you at 9!", Word::Alert, "see you at 9!"),
            ("/alert it's  late", Word::Alert, "it's  late"),
            ("#KILL bob", Word::Kill, "bob"),
            ("#Kill bob insults", Word::Kill, "bob insults"),
            ("#Private bob", Word::Private, "bob"),
            ("#private", Word::Private, ""),
            ("#Leave", Word::Leave, ""),
            ("  #ListU ", Word::Users, ""),
            ("#ListF", Word::Files, ""),
            ("#Help", Word::Help, ""),
            ("#Exit", Word::Exit, ""),
        ] {
            for private in [false, true] {
                assert_eq!(parse(line, private), Line::Word(word, rest.to_owned()), "{line}");
            }
        }
    }

    #[test]
    fn other_lines_are_commands_or_messages() {
        let command = |text: &str| Line::Command(text.to_owned());
        let text = |text: &str| Line::Text(text.to_owned());
        assert_eq!(parse("kick bob --reason x", false), command("kick bob --reason x"));
        assert_eq!(parse("kick bob", true), text("kick bob"));
        assert_eq!(parse("/Kick bob", true), command("kick bob"));
        assert_eq!(parse("#nonsense 1", false), command("nonsense 1"));
        assert_eq!(parse("##1 of them", true), text("#1 of them"));
        assert_eq!(parse("#1 of them", true), text("#1 of them"));
        assert_eq!(parse("# row 7 by root", false), Line::Nothing);
        assert_eq!(parse("quit", false), Line::Leave);
        assert_eq!(parse("exit", false), Line::Leave);
        assert_eq!(parse("#quit", true), Line::Leave);
        assert_eq!(parse("quit", true), text("quit"));
        assert_eq!(parse("  ", true), Line::Nothing);
    }

    proptest! {
        #[test]
        fn any_line_is_taken(line in any::<String>(), private in any::<bool>()) {
            // It must not panic; and no line stops the server but the word for it.
            let parsed = parse(&line, private);
            if let Line::Word(Word::Exit, _) = parsed {
                prop_assert!(line.trim().to_lowercase()[1..].starts_with("exit"));
            }
        }
    }
}
