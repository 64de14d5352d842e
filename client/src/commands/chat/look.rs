//! How a chat looks: on a terminal with colours and short times, elsewhere as plain lines with whole ones.

use anstyle::{AnsiColor, Style};
use greffe::api::EventHead;
use jiff::civil::Date;
use prost_types::Timestamp as Wire;

use crate::commands::render::{Author, alert_lines};
use crate::text::{visible, visible_lines};
use crate::time;

/// The colours of names. Red is for alerts, yellow for mentions.
const PALETTE: [AnsiColor; 8] = [
    AnsiColor::Green,
    AnsiColor::Blue,
    AnsiColor::Magenta,
    AnsiColor::Cyan,
    AnsiColor::BrightGreen,
    AnsiColor::BrightBlue,
    AnsiColor::BrightMagenta,
    AnsiColor::BrightCyan,
];

/// A message to show.
#[derive(Debug)]
pub(crate) struct Shown<'a> {
    /// When it was posted.
    pub(crate) time: Option<&'a Wire>,
    /// The room's name, where it is not the current one.
    pub(crate) room: Option<&'a str>,
    /// Its seq.
    pub(crate) seq: i64,
    /// Who wrote it.
    pub(crate) author: &'a Author,
    /// The text as it was sent.
    pub(crate) text: &'a str,
    /// What it replies to, in words that are safe to show.
    pub(crate) reply: Option<String>,
    /// A remark after the author, such as `edited`.
    pub(crate) remark: Option<String>,
    /// Whether it mentions the user.
    pub(crate) mentions_me: bool,
}

/// How lines look.
#[derive(Debug)]
pub(crate) struct Look {
    color: bool,
    terminal: bool,
    /// The day of the line before.
    day: Option<Date>,
}

impl Look {
    /// For a terminal, or for a pipe or file.
    pub(crate) fn new(terminal: bool, color: bool) -> Self {
        Self {
            color: terminal && color,
            terminal,
            day: None,
        }
    }

    /// Text in a style.
    pub(crate) fn paint(&self, style: Style, text: &str) -> String {
        if self.color {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    /// Text that matters less.
    pub(crate) fn dim(&self, text: &str) -> String {
        self.paint(Style::new().dimmed(), text)
    }

    /// Text that must be seen.
    pub(crate) fn alarm(&self, text: &str) -> String {
        self.paint(AnsiColor::Red.on_default().bold(), text)
    }

    /// The lines of an alert.
    pub(crate) fn alert(&self, time: Option<&Wire>, text: &str) -> Vec<String> {
        let time = if self.terminal {
            time::time_of_day(time)
        } else {
            time::day_and_time(time)
        };
        alert_lines(&time, text).iter().map(|line| self.alarm(line)).collect()
    }

    /// Who somebody is: the operator's identity with its mark, and in a style that no name has.
    pub(crate) fn author(&self, author: &Author) -> String {
        if author.is_operator {
            self.paint(Style::new().bold().invert(), &author.marked())
        } else {
            self.name(&author.name)
        }
    }

    /// A name in its colour.
    pub(crate) fn name(&self, name: &str) -> String {
        self.paint(
            Style::new().fg_color(Some(color_of(name).into())).bold(),
            &visible(name),
        )
    }

    /// The line between two days, if `time` is of another day than the line before.
    pub(crate) fn day_line(&mut self, time: Option<&Wire>) -> Option<String> {
        let day = time::local(time)?;
        if self.day.replace(day.date()) == Some(day.date()) || !self.terminal {
            return None;
        }
        Some(self.dim(&format!("── {} ──", day.strftime("%A %-d %B %Y"))))
    }

    /// A line that divides.
    pub(crate) fn rule(&self, words: &str) -> String {
        self.paint(AnsiColor::Yellow.on_default(), &format!("── {words} ──"))
    }

    fn stamp(&self, time: Option<&Wire>, room: Option<&str>, seq: i64) -> String {
        let room = room.map(|room| format!("[{}] ", visible(room))).unwrap_or_default();
        if self.terminal {
            format!(
                "{} {room}{}",
                self.dim(&time::time_of_day(time)),
                self.dim(&format!("#{seq}"))
            )
        } else {
            format!("{} {room}#{seq}", time::day_and_time(time))
        }
    }

    /// The lines of a message.
    pub(crate) fn message(&self, shown: &Shown<'_>) -> Vec<String> {
        let mut lines = Vec::new();
        let mut start = self.stamp(shown.time, shown.room, shown.seq);
        start.push(' ');
        start.push_str(&self.author(shown.author));
        if let Some(reply) = &shown.reply {
            start.push_str(&self.dim(&format!(" ↪ {reply}")));
        }
        if let Some(remark) = &shown.remark {
            start.push_str(&self.dim(&format!(" ({remark})")));
        }
        start.push_str(": ");
        for (index, line) in visible_lines(shown.text).iter().enumerate() {
            let line = if shown.mentions_me {
                self.paint(AnsiColor::Yellow.on_default().bold(), line)
            } else {
                line.clone()
            };
            lines.push(if index == 0 {
                format!("{start}{line}")
            } else {
                format!("{}{line}", self.dim("    | "))
            });
        }
        lines
    }

    /// A line about something that is no message: who, and what in words that are safe to show.
    pub(crate) fn notice(&self, head: &EventHead, room: Option<&str>, who: &Author, words: &str) -> String {
        let stamp = self.stamp(head.time.as_ref(), room, head.seq);
        format!("{stamp} {}", self.dim(&format!("* {} {words}", who.marked())))
    }
}

/// The colour of a name: always the same, everywhere (FNV-1a).
fn color_of(name: &str) -> AnsiColor {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let [high, .., low] = hash.to_be_bytes();
    PALETTE[usize::from(high ^ low) % PALETTE.len()]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn author(name: &str, is_operator: bool) -> Author {
        Author {
            name: name.into(),
            is_operator,
        }
    }

    fn shown<'a>(author: &'a Author, text: &'a str) -> Shown<'a> {
        Shown {
            time: None,
            room: Some("r\u{1b}"),
            seq: 3,
            author,
            text,
            reply: None,
            remark: None,
            mentions_me: false,
        }
    }

    #[test]
    fn a_message_cannot_pretend_to_be_another_one() {
        let bob = author("bob", false);
        let lines = Look::new(false, false).message(&shown(&bob, "one\n12:00 #4 alice: two\u{1b}[A"));
        assert_eq!(
            lines,
            ["- [r\\u{1b}] #3 bob: one", "    | 12:00 #4 alice: two\\u{1b}[A"]
        );
    }

    #[test]
    fn names_have_stable_and_different_colours() {
        let names: Vec<String> = (0..40).map(|n| format!("user{n}")).collect();
        let colours: HashSet<_> = names.iter().map(|name| format!("{:?}", color_of(name))).collect();
        assert!(colours.len() >= PALETTE.len() / 2, "{colours:?}");
        assert_eq!(color_of("alice"), color_of("alice"));
    }

    #[test]
    fn plain_lines_have_no_escapes() {
        let look = Look::new(false, true);
        for is_operator in [false, true] {
            let author = author("bob", is_operator);
            assert!(!look.message(&shown(&author, "x")).concat().contains('\u{1b}'));
        }
        assert!(!look.alarm("x").contains('\u{1b}'));
        assert!(!look.alert(None, "x").concat().contains('\u{1b}'));
    }

    #[test]
    fn nobody_can_look_like_the_operator() {
        for look in [Look::new(true, true), Look::new(true, false), Look::new(false, false)] {
            let line = |author: &Author, text: &str| look.message(&shown(author, text)).concat();
            let operator = line(&author("operator", true), "x");
            let imitation = line(&author("operator", false), "x");
            assert!(operator.contains("<OPERATOR> operator"), "{operator}");
            assert!(!imitation.contains("<OPERATOR>"), "{imitation}");
            let claim = line(&author("bob", false), "<OPERATOR> operator: x");
            assert!(
                claim.contains("bob") && claim.find("bob") < claim.find("<OPERATOR>"),
                "{claim}"
            );
        }
    }

    #[test]
    fn alerts_are_red_in_every_line_and_hold_no_commands_for_the_terminal() {
        let lines = Look::new(true, true).alert(None, "one\n\u{1b}[0mtwo\r!! three");
        assert_eq!(lines.len(), 2);
        for line in &lines {
            assert!(
                line.starts_with("\u{1b}[") && line.matches('\u{1b}').count() <= 3,
                "{line:?}"
            );
            assert!(line.contains("!! "), "{line:?}");
        }
        assert!(lines[1].contains("\\u{1b}[0mtwo\\r!! three"), "{lines:?}");
    }

    #[test]
    fn a_new_day_is_told_once() {
        let mut look = Look::new(true, false);
        let time = Wire {
            seconds: 1_795_371_033,
            nanos: 0,
        };
        assert!(look.day_line(Some(&time)).is_some_and(|line| line.contains("2026")));
        assert_eq!(look.day_line(Some(&time)), None);
    }
}
