//! What a typed line asks for: a message, or a command. Commands begin with `/` or, as in the chat that Greffe replaces, with `#`; capitals
//! make no difference.

/// What a typed line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// Nothing.
    Nothing,
    /// A message to the current room.
    Message(String),
    /// A command and what follows it.
    Command(Word, String),
    /// A command that does not exist, with what may have been meant.
    Unknown {
        /// What was typed, with its sign.
        typed: String,
        /// The nearest command, if one is near.
        nearest: Option<&'static str>,
    },
}

/// The commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Help,
    Exit,
    Users,
    Rooms,
    Members,
    Room,
    Join,
    Leave,
    Decline,
    Create,
    Invite,
    Remove,
    Role,
    Topic,
    Rename,
    Archive,
    Private,
    Back,
    Msg,
    Reply,
    Edit,
    Delete,
    React,
    Unreact,
    Report,
    Search,
    History,
    Read,
    Whoami,
    Passwd,
    Upload,
    SendFile,
    /// The old word that sends a file to everyone, or to one person.
    Transfer,
    Download,
    Files,
    /// Words of the operator.
    Operator,
}

impl Word {
    /// Whether it asks the server at once. Others are done without it, or wait for the link as messages do.
    pub(crate) fn needs_link(self) -> bool {
        !matches!(
            self,
            Self::Help
                | Self::Exit
                | Self::Reply
                | Self::Edit
                | Self::Delete
                | Self::React
                | Self::Unreact
                | Self::Operator
        )
    }
}

/// What may follow a command, for completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    Nothing,
    User,
    Room,
    Path,
    UserAndPath,
    Text,
}

/// A command as people know it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// What it does.
    pub(crate) word: Word,
    /// Its names, the usual one first.
    pub(crate) names: &'static [&'static str],
    /// What follows it, as the help shows it.
    pub(crate) usage: &'static str,
    /// What follows it, as completion needs it.
    pub(crate) takes: Takes,
    /// What it is for. Empty: not listed.
    pub(crate) help: &'static str,
}

const fn entry(
    word: Word,
    names: &'static [&'static str],
    takes: Takes,
    usage: &'static str,
    help: &'static str,
) -> Entry {
    Entry {
        word,
        names,
        usage,
        takes,
        help,
    }
}

/// All commands, in the order of the help.
pub(crate) const ENTRIES: &[Entry] = &[
    entry(Word::Help, &["help"], Takes::Nothing, "", "show this"),
    entry(
        Word::Exit,
        &["exit", "quit"],
        Takes::Nothing,
        "",
        "leave the chat (Ctrl-D too)",
    ),
    entry(
        Word::Users,
        &["users", "listu"],
        Takes::Nothing,
        "",
        "show everyone, and who is online",
    ),
    entry(
        Word::Rooms,
        &["rooms"],
        Takes::Nothing,
        "",
        "show your rooms, invitations, and rooms to join",
    ),
    entry(
        Word::Members,
        &["members"],
        Takes::Nothing,
        "",
        "show who is in this room",
    ),
    entry(Word::Room, &["room"], Takes::Room, "NAME", "go to one of your rooms"),
    entry(
        Word::Private,
        &["private"],
        Takes::User,
        "USER",
        "talk to one person until /back",
    ),
    entry(
        Word::Back,
        &["back"],
        Takes::Nothing,
        "",
        "return to the room where you were",
    ),
    entry(
        Word::Msg,
        &["msg"],
        Takes::User,
        "USER TEXT",
        "send one private message",
    ),
    entry(
        Word::Join,
        &["join"],
        Takes::Room,
        "NAME",
        "join a room, or accept an invitation",
    ),
    entry(
        Word::Leave,
        &["leave"],
        Takes::Room,
        "[NAME]",
        "leave this room, or another one",
    ),
    entry(
        Word::Decline,
        &["decline"],
        Takes::Room,
        "NAME",
        "decline an invitation",
    ),
    entry(
        Word::Create,
        &["create"],
        Takes::Text,
        "NAME [--private]",
        "create a room",
    ),
    entry(
        Word::Invite,
        &["invite"],
        Takes::User,
        "USER",
        "invite someone to this room",
    ),
    entry(
        Word::Remove,
        &["remove", "kick"],
        Takes::User,
        "USER [REASON]",
        "remove someone from this room",
    ),
    entry(
        Word::Role,
        &["role"],
        Takes::User,
        "USER member|moderator|owner",
        "give someone another role here",
    ),
    entry(
        Word::Topic,
        &["topic"],
        Takes::Text,
        "[TEXT]",
        "show or set this room's topic",
    ),
    entry(Word::Rename, &["rename"], Takes::Text, "NAME", "rename this room"),
    entry(
        Word::Archive,
        &["archive"],
        Takes::Text,
        "NAME [REASON]",
        "close this room for good; repeat its name to confirm",
    ),
    entry(Word::Reply, &["reply"], Takes::Text, "SEQ TEXT", "reply to a message"),
    entry(
        Word::Edit,
        &["edit"],
        Takes::Text,
        "[SEQ] TEXT",
        "replace the text of your message, or of your last one",
    ),
    entry(
        Word::Delete,
        &["delete"],
        Takes::Text,
        "[SEQ]",
        "delete a message, or your last one",
    ),
    entry(Word::React, &["react"], Takes::Text, "SEQ EMOJI", "react to a message"),
    entry(
        Word::Unreact,
        &["unreact"],
        Takes::Text,
        "SEQ EMOJI",
        "take a reaction back",
    ),
    entry(
        Word::Report,
        &["report"],
        Takes::Text,
        "[SEQ|last] REASON",
        "report a message, or the last one of others, to the operator",
    ),
    entry(
        Word::Search,
        &["search"],
        Takes::Text,
        "WORDS",
        "find messages in your rooms",
    ),
    entry(
        Word::History,
        &["history"],
        Takes::Text,
        "[N]",
        "show the last N messages of this room",
    ),
    entry(Word::Read, &["read"], Takes::Nothing, "", "mark this room as read"),
    entry(
        Word::Whoami,
        &["whoami"],
        Takes::Nothing,
        "",
        "show who you are and where",
    ),
    entry(Word::Passwd, &["passwd"], Takes::Nothing, "", "change your password"),
    entry(
        Word::Upload,
        &["upload"],
        Takes::Path,
        "PATH",
        "send a file to everyone in this room",
    ),
    entry(
        Word::SendFile,
        &["send-file"],
        Takes::UserAndPath,
        "USER PATH",
        "send a file to one person",
    ),
    entry(
        Word::Download,
        &["download", "trfd"],
        Takes::Text,
        "ID|NAME",
        "fetch a file into the current directory",
    ),
    entry(
        Word::Files,
        &["files", "listf"],
        Takes::Nothing,
        "",
        "show the files that you may fetch",
    ),
    entry(Word::Transfer, &["trfu"], Takes::Path, "[private USER] PATH", ""),
    entry(Word::Operator, &["alert", "kill"], Takes::Nothing, "", ""),
];

/// The entry of a command.
pub(crate) fn entry_of(word: Word) -> &'static Entry {
    ENTRIES.iter().find(|entry| entry.word == word).unwrap_or(&ENTRIES[0])
}

/// Finds what a line asks for.
///
/// `//text` and `##text` send a message that begins with `/` or `#`. A sign that no letter follows begins no command.
pub(crate) fn parse(line: &str) -> Typed {
    let trimmed = line.trim();
    if trimmed.is_empty() {
        return Typed::Nothing;
    }
    let Some(rest) = trimmed.strip_prefix(['/', '#']) else {
        return Typed::Message(line.trim_end().to_owned());
    };
    if rest.starts_with(['/', '#']) && trimmed.starts_with(&rest[..1]) {
        return Typed::Message(rest.to_owned());
    }
    if !rest.starts_with(char::is_alphabetic) {
        return Typed::Message(trimmed.to_owned());
    }
    let (name, arguments) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let name = name.to_lowercase();
    match ENTRIES.iter().find(|entry| entry.names.contains(&name.as_str())) {
        Some(entry) => Typed::Command(entry.word, arguments.trim().to_owned()),
        None => Typed::Unknown {
            typed: format!("{}{name}", &trimmed[..1]),
            nearest: nearest(&name),
        },
    }
}

/// The listed command that is most like `name`: at most two letters apart, or the only one that begins so.
fn nearest(name: &str) -> Option<&'static str> {
    let listed = || {
        ENTRIES
            .iter()
            .filter(|entry| !entry.help.is_empty())
            .flat_map(|entry| entry.names.iter().copied())
    };
    let mut beginning = listed().filter(|known| known.starts_with(name));
    if let (Some(only), None) = (beginning.next(), beginning.next()) {
        return Some(only);
    }
    listed()
        .map(|known| (distance(name, known), known))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, known)| known)
}

/// How many letters have to be changed, added or left out (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Takes a message's seq from the beginning of `arguments`: `12` or `#12`.
pub(crate) fn take_seq(arguments: &str) -> Option<(i64, &str)> {
    let (first, rest) = arguments.split_once(char::is_whitespace).unwrap_or((arguments, ""));
    let seq = first.strip_prefix('#').unwrap_or(first).parse().ok().filter(|seq| *seq > 0)?;
    Some((seq, rest.trim_start()))
}

/// Takes the message to report from the beginning of `arguments`: its seq, or `last` or nothing for the newest one of somebody else (`None`).
pub(crate) fn take_reported(arguments: &str) -> (Option<i64>, &str) {
    match (take_seq(arguments), take_word(arguments)) {
        (Some((seq, reason)), _) => (Some(seq), reason),
        (None, Some((first, reason))) if first.eq_ignore_ascii_case("last") => (None, reason),
        _ => (None, arguments),
    }
}

/// Takes the first word from the beginning of `arguments`.
pub(crate) fn take_word(arguments: &str) -> Option<(&str, &str)> {
    let (first, rest) = arguments.split_once(char::is_whitespace).unwrap_or((arguments, ""));
    (!first.is_empty()).then(|| (first, rest.trim_start()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn command(word: Word, arguments: &str) -> Typed {
        Typed::Command(word, arguments.to_owned())
    }

    #[test]
    fn old_and_new_words_work_with_both_signs_in_any_case() {
        for (line, word, arguments) in [
            ("#ListU", Word::Users, ""),
            ("/listu", Word::Users, ""),
            ("#USERS", Word::Users, ""),
            ("#Private bob", Word::Private, "bob"),
            ("/PRIVATE  bob ", Word::Private, "bob"),
            ("#Help", Word::Help, ""),
            ("/exit", Word::Exit, ""),
            ("#Exit", Word::Exit, ""),
            ("#TrfU private bob file", Word::Transfer, "private bob file"),
            ("/trfd file", Word::Download, "file"),
            ("/Send-File bob my file", Word::SendFile, "bob my file"),
            ("#ListF", Word::Files, ""),
            ("#Kill bob", Word::Operator, "bob"),
            ("/kick bob spam", Word::Remove, "bob spam"),
        ] {
            assert_eq!(parse(line), command(word, arguments), "{line}");
        }
    }

    #[test]
    fn other_lines_are_messages() {
        for (line, text) in [
            ("hello", "hello"),
            ("  indented ", "  indented"),
            ("//slash", "/slash"),
            ("##Help", "#Help"),
            ("#1 fan", "#1 fan"),
            ("/ 2", "/ 2"),
            ("/#mixed", "/#mixed"),
        ] {
            assert_eq!(parse(line), Typed::Message(text.to_owned()), "{line}");
        }
        assert_eq!(parse(" \t"), Typed::Nothing);
    }

    #[test]
    fn what_was_meant_is_suggested() {
        for (line, nearest) in [
            ("/hlep", Some("help")),
            ("/who", Some("whoami")),
            ("#xyzzy", None),
            ("/joni x", Some("join")),
        ] {
            let Typed::Unknown { nearest: found, .. } = parse(line) else {
                unreachable!("{line} is a command")
            };
            assert_eq!(found, nearest, "{line}");
        }
    }

    #[test]
    fn every_name_is_one_command() {
        let mut names: Vec<_> = ENTRIES.iter().flat_map(|entry| entry.names).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn seqs_are_taken_with_and_without_their_sign() {
        assert_eq!(take_seq("#12 new text"), Some((12, "new text")));
        assert_eq!(take_seq("12"), Some((12, "")));
        assert_eq!(take_seq("twelve"), None);
        assert_eq!(take_seq("0 x"), None);
    }

    #[test]
    fn reports_name_a_message_or_mean_the_last_one() {
        assert_eq!(take_reported("#12 spam here"), (Some(12), "spam here"));
        assert_eq!(take_reported("LAST spam"), (None, "spam"));
        assert_eq!(take_reported("spam and lies"), (None, "spam and lies"));
        assert_eq!(take_reported("12"), (Some(12), ""));
        assert_eq!(take_reported(""), (None, ""));
    }

    proptest! {
        #[test]
        fn no_line_is_lost(line in "\\PC*") {
            match parse(&line) {
                Typed::Nothing => prop_assert!(line.trim().is_empty()),
                Typed::Message(text) => prop_assert!(line.contains(&text)),
                Typed::Command(..) | Typed::Unknown { .. } => prop_assert!(line.trim_start().starts_with(['/', '#'])),
            }
        }
    }
}
