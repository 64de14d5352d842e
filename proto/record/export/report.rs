//! `report.html`: what was ordered, for people. In the order of rows, in pages, without scripts and without anything from elsewhere.

use std::fmt::Write as _;

use super::digest::{Digest, Later, Membership, Selection, Why};
use super::hex;
use super::lines::{Names, address, kind_name};
use super::manifest::Manifest;
use super::row::Row;
use super::scope::time_of;
use super::time::rfc3339;
use crate::record::checkpoint::Checkpoint;
use crate::v1::event_body::Content;
use crate::v1::{BodyState, EventKind, SessionScope};

/// Entries of a page at most.
const ENTRIES: usize = 10_000;
/// Bytes after which a page ends.
const PAGE_BYTES: usize = 4 << 20;

const STYLE: &str = "
body{font:11pt/1.45 Georgia,'Times New Roman',serif;color:#111;max-width:60rem;margin:2rem auto;padding:0 1.5rem}
h1{font-size:1.6rem;margin:0 0 .3rem}h2{font-size:1.15rem;margin:2rem 0 .5rem;border-bottom:1px solid #999}
h3{font-size:1rem;margin:1.2rem 0 .2rem}table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.2rem .6rem .2rem 0}.facts th{width:11rem;font-weight:normal;color:#555}
.id{font:.78em ui-monospace,monospace;color:#666;overflow-wrap:anywhere}
.log td{border-top:1px solid #ddd}.time{white-space:nowrap;font-variant-numeric:tabular-nums;width:12rem}
.log .who{width:9rem;overflow-wrap:anywhere}.text{white-space:pre-wrap;overflow-wrap:anywhere;margin:.1rem 0}
.note{color:#555;font-style:italic}.later{color:#8a3c00;font-size:.9em;margin:.1rem 0}.skip td{color:#777;font-style:italic}
.place td{background:#eee;font-weight:bold}.odd{background:#ffe9a8;font-family:ui-monospace,monospace;font-size:.8em}
@media print{body{margin:0;max-width:none;font-size:9.5pt}tr{break-inside:avoid}a{color:inherit;text-decoration:none}}
";

/// Whether a character steers how a text is shown, instead of being shown.
fn steers(character: char) -> bool {
    (character.is_control() && character != '\n')
        || matches!(u32::from(character),
            0xAD | 0x600..=0x605 | 0x61C | 0x6DD | 0x70F | 0x890..=0x891 | 0x8E2 | 0x180E | 0x200B..=0x200F | 0x2028..=0x202E
            | 0x2060..=0x206F | 0xFEFF | 0xFFF9..=0xFFFB | 0x110BD | 0x110CD | 0x13430..=0x1343F | 0x1BCA0..=0x1BCA3
            | 0x1D173..=0x1D17A | 0xE0001 | 0xE0020..=0xE007F)
}

/// What people wrote, so that a browser shows all of it and does nothing.
fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            odd if steers(odd) => _ = write!(out, "<span class=\"odd\">U+{:04X}</span>", u32::from(odd)),
            other => out.push(other),
        }
    }
    out
}

/// What a report says at its head.
pub(super) struct About<'a> {
    /// The manifest, as far as it is known while the report is made: without files.
    pub(super) manifest: &'a Manifest,
    pub(super) checkpoint: &'a Checkpoint,
    /// The key that signed it.
    pub(super) key: &'a str,
    pub(super) names: &'a Names,
    pub(super) digest: &'a Digest,
    pub(super) selection: &'a Selection,
}

/// Makes the pages of a report.
pub(super) struct Report<'a> {
    about: About<'a>,
    page: String,
    number: usize,
    entries: usize,
    /// Rows in a row that were not ordered.
    skipped: u64,
    /// The room of the newest entry.
    room: Option<String>,
}

impl<'a> Report<'a> {
    pub(super) fn new(about: About<'a>) -> Self {
        let mut report = Self {
            about,
            page: String::new(),
            number: 1,
            entries: 0,
            skipped: 0,
            room: None,
        };
        report.begin();
        report.front();
        report.begin_log();
        report
    }

    /// The name of a page.
    pub(super) fn name(number: usize) -> String {
        match number {
            1 => "report.html".to_owned(),
            number => format!("report-{number}.html"),
        }
    }

    /// Adds a row of the export. Gives a page, with its name, if that was full.
    pub(super) fn push(&mut self, row: &Row, why: Why) -> Option<(String, String)> {
        match why {
            Why::Own => return None,
            Why::Context => {
                // Who was in a room stands at the begin.
                if self.about.selection.is_in_run(&row.head) {
                    self.skipped += 1;
                }
                return None;
            }
            Why::Ordered => {}
        }
        let full = self.entries >= ENTRIES || self.page.len() >= PAGE_BYTES;
        let page = full.then(|| {
            self.flush();
            let page = self.end(true);
            self.number += 1;
            self.begin();
            self.begin_log();
            page
        });
        self.flush();
        self.entry(row);
        page
    }

    /// The last page.
    pub(super) fn finish(mut self) -> (String, String) {
        self.flush();
        if self.about.digest.counts.ordered == 0 {
            self.page
                .push_str("<tr class=\"skip\"><td colspan=\"3\">Nothing happened that was ordered.</td></tr>\n");
        }
        self.end(false)
    }

    fn begin(&mut self) {
        self.entries = 0;
        self.room = None;
        let title = match &self.about.manifest.case {
            Some(case) => format!("Record {}", safe(&case.reference)),
            None => "Record of what one member did".to_owned(),
        };
        let page = if self.number > 1 {
            format!(", page {}", self.number)
        } else {
            String::new()
        };
        self.page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <title>{title}{page}</title><style>{STYLE}</style></head><body>\n<h1>{title}{page}</h1>\n"
        );
    }

    fn begin_log(&mut self) {
        self.page
            .push_str("<h2>What was said and done</h2>\n<p class=\"note\">Times are UTC.</p>\n<table class=\"log\">\n");
    }

    fn end(&mut self, more: bool) -> (String, String) {
        self.page.push_str("</table>\n");
        if more {
            let next = Self::name(self.number + 1);
            _ = writeln!(self.page, "<p>It goes on in <a href=\"{next}\">{next}</a>.</p>");
        }
        self.page.push_str("</body></html>\n");
        (Self::name(self.number), std::mem::take(&mut self.page))
    }

    fn fact(&mut self, name: &str, value: &str) {
        _ = writeln!(self.page, "<tr><th>{name}</th><td>{value}</td></tr>");
    }

    /// Somebody, by name if it is known.
    fn who(&self, id: &str) -> String {
        if id.is_empty() {
            return "the server".to_owned();
        }
        match self.about.names.people.get(id) {
            Some(person) if !person.name.is_empty() => safe(&person.name),
            Some(_) => format!("an erased person <span class=\"id\">{}</span>", safe(id)),
            None => format!("another person <span class=\"id\">{}</span>", safe(id)),
        }
    }

    fn place(&self, id: &str) -> String {
        match self.about.names.rooms.get(id) {
            Some(room) if room.kind == "direct" => format!("a direct room <span class=\"id\">{}</span>", safe(id)),
            Some(room) if room.kind == "general" => {
                format!("the room {} <span class=\"id\">{}</span>", safe(&room.name), safe(id))
            }
            Some(room) => format!(
                "the {} room {} <span class=\"id\">{}</span>",
                room.kind,
                safe(&room.name),
                safe(id)
            ),
            None => format!("a room <span class=\"id\">{}</span>", safe(id)),
        }
    }

    fn front(&mut self) {
        let manifest = self.about.manifest;
        self.page.push_str("<table class=\"facts\">\n");
        if let Some(case) = &manifest.case {
            self.fact("Reference", &safe(&case.reference));
            self.fact("Basis", &safe(&case.basis));
            self.fact("Case opened", &format!("{} (row {})", case.opened_at, case.index));
        }
        let (from, to) = (&manifest.scope.from, &manifest.scope.to);
        let from = from.as_deref().unwrap_or("the beginning");
        let to = to.as_deref().unwrap_or("the export");
        self.fact("Period", &format!("from {from} until before {to}, UTC"));
        let people: Vec<String> = manifest.scope.users.iter().map(|id| self.who(id)).collect();
        let rooms: Vec<String> = manifest.scope.rooms.iter().map(|id| self.place(id)).collect();
        let listed = |list: Vec<String>, none: &str| {
            if list.is_empty() {
                none.to_owned()
            } else {
                list.join("<br>")
            }
        };
        self.fact("What these people did", &listed(people, "everybody"));
        self.fact("In these rooms", &listed(rooms, "all, and outside rooms"));
        let counts = manifest.counts;
        let found = format!(
            "{} events that were ordered ({} of them erased), in {} rooms; {} files with {} bytes",
            counts.ordered, counts.erased, counts.rooms, counts.files, counts.file_bytes
        );
        self.fact("Found", &found);
        let checkpoint = self.about.checkpoint;
        let journal = format!(
            "<span class=\"id\">{}<br>{} rows<br>{}</span>",
            safe(&checkpoint.origin),
            checkpoint.size,
            hex(&checkpoint.root)
        );
        self.fact("Journal, size, root", &journal);
        let key = format!("<span class=\"id\">{}</span>", safe(self.about.key));
        self.fact("Signed with", &key);
        self.fact(
            "Made by",
            &format!("{}, export {}", safe(&manifest.tool), manifest.export),
        );
        self.page.push_str("</table>\n");
        self.proofs();
        self.people();
        self.rooms();
    }

    fn proofs(&mut self) {
        self.page.push_str(
            "<h2>What is proved, and what is not</h2>\n<ul>\n\
             <li>Each event below is in the signed journal as it was stored: nothing in it was altered since. Whether the journal is the one that it \
             always was is told by an older checkpoint in somebody else's hands.</li>\n",
        );
        self.page.push_str(if self.about.selection.bodies_only {
            "<li><strong>Completeness is not proved:</strong> the heads of what was not ordered were left out.</li>\n"
        } else {
            "<li>In the rooms below nothing is missing from the period: the export has the head of every event of these rooms, numbered without \
             gaps, and shows so that what is not told was not ordered.</li>\n\
             <li>That a room has nothing after the last event that is here, if that lies within the period, rests on the server's signed word.</li>\n\
             <li>That no room of a person is missing rests on the rows that say who was a member where.</li>\n"
        });
        self.page.push_str(
            "<li>Names of people and rooms are as the server knew them when the export was made; it signed them, and they are not in the events.</li>\n\
             <li>It is not proved who sat at a keyboard, nor that what people wrote is true.</li>\n</ul>\n\
             <p>README.txt says how to check all of this.</p>\n",
        );
    }

    fn people(&mut self) {
        let people = &self.about.names.people;
        if people.is_empty() {
            return;
        }
        self.page.push_str("<h2>People</h2>\n<table>\n");
        for person in people.values() {
            let name = if person.name.is_empty() {
                "<span class=\"note\">erased</span>".to_owned()
            } else {
                safe(&person.name)
            };
            _ = writeln!(
                self.page,
                "<tr><td>{name}</td><td>{}</td><td class=\"id\">{}</td></tr>",
                safe(&person.display_name),
                safe(&person.id)
            );
        }
        self.page.push_str("</table>\n");
    }

    fn rooms(&mut self) {
        if self.about.names.rooms.is_empty() {
            return;
        }
        self.page.push_str("<h2>Rooms, and who was a member when</h2>\n");
        let (names, digest) = (self.about.names, self.about.digest);
        for room in names.rooms.values() {
            let place = self.place(&room.id);
            _ = writeln!(self.page, "<h3>{place}</h3>");
            if room.last_seq > 0 {
                let (first, last, newest) = (room.first_seq, room.last_seq, room.newest_seq);
                _ = writeln!(
                    self.page,
                    "<p class=\"note\">Events {first} to {last} of {newest} are here.</p>"
                );
            }
            if room.kind == "general" {
                self.page
                    .push_str("<p class=\"note\">Everybody with an account is in this room.</p>\n");
            }
            let Some(members) = digest.members.get(&room.id) else {
                continue;
            };
            self.page.push_str("<table>\n");
            for member in members {
                let what = self.membership(member);
                _ = writeln!(
                    self.page,
                    "<tr><td class=\"time\">{}</td><td>{what}</td></tr>",
                    shown(member.time)
                );
            }
            self.page.push_str("</table>\n");
        }
    }

    fn membership(&self, member: &Membership) -> String {
        let (actor, subject) = (self.who(&member.actor), self.who(&member.subject));
        match member.kind {
            EventKind::RoomCreated => format!("{actor} made the room"),
            EventKind::MemberJoined => format!("{subject} became a member"),
            EventKind::MemberLeft => format!("{subject} left, or declined"),
            EventKind::MemberInvited => format!("{actor} invited {subject}"),
            EventKind::MemberRemoved => format!("{actor} removed {subject}"),
            _ => format!("{actor} gave {subject} another role"),
        }
    }

    /// Says how many rows were passed over.
    fn flush(&mut self) {
        if self.skipped > 0 {
            let events = if self.skipped == 1 { "event" } else { "events" };
            _ = writeln!(
                self.page,
                "<tr class=\"skip\"><td colspan=\"3\">{} {events} here, not ordered and not shown</td></tr>",
                self.skipped
            );
            self.skipped = 0;
        }
    }

    fn entry(&mut self, row: &Row) {
        self.entries += 1;
        let head = &row.head;
        if self.room.as_deref() != Some(&head.room_id) {
            let place = if head.room_id.is_empty() {
                "Outside rooms".to_owned()
            } else {
                format!("In {}", self.place(&head.room_id))
            };
            _ = writeln!(self.page, "<tr class=\"place\"><td colspan=\"3\">{place}</td></tr>");
            self.room = Some(head.room_id.clone());
        }
        let number = if head.seq > 0 {
            format!("#{}", head.seq)
        } else {
            String::new()
        };
        _ = write!(
            self.page,
            "<tr id=\"row-{}\"><td class=\"time\">{}<br><span class=\"id\">row {} {number}</span></td><td class=\"who\">{}</td><td>",
            head.index,
            shown(time_of(head)),
            head.index,
            self.who(&head.actor_id)
        );
        let what = self.what(row);
        self.page.push_str(&what);
        let later = self.about.digest.later.get(&(head.room_id.clone(), head.seq));
        for later in later.into_iter().flatten() {
            let Later { index, time, deleted } = later;
            let what = if *deleted { "Deleted" } else { "Edited" };
            _ = write!(
                self.page,
                "<p class=\"later\">{what} at {} (row {index})</p>",
                shown(*time)
            );
        }
        self.page.push_str("</td></tr>\n");
    }

    fn what(&self, row: &Row) -> String {
        let head = &row.head;
        let target = head.target_seq;
        let note = |text: String| format!("<p class=\"note\">{text}</p>");
        let text = |text: &str| format!("<p class=\"text\">{}</p>", safe(text));
        if row.state == BodyState::Erased {
            return note(format!(
                "{}: its content was erased",
                kind_name(head.kind).replace('_', " ")
            ));
        }
        match row.content() {
            Some(Content::MessagePosted(posted)) if target > 0 => {
                note(format!("in answer to #{target}:")) + &text(&posted.text)
            }
            Some(Content::MessagePosted(posted)) => text(&posted.text),
            Some(Content::MessageEdited(edited)) => {
                note(format!("replaced the text of #{target} by:")) + &text(&edited.text)
            }
            Some(Content::MessageDeleted(_)) => note(format!("deleted #{target}")),
            Some(Content::ReactionAdded(added)) => note(format!("reacted to #{target} with {}", safe(&added.emoji))),
            Some(Content::ReactionRemoved(removed)) => {
                note(format!("took back the reaction {} to #{target}", safe(&removed.emoji)))
            }
            Some(Content::MemberRemoved(removed)) => note(format!(
                "removed {}{}",
                self.who(&head.subject_id),
                because(&removed.reason)
            )),
            Some(Content::RoomCreated(created)) => {
                note(format!("made the room {}", safe(&created.name))) + &text(&created.topic)
            }
            Some(Content::RoomUpdated(updated)) => {
                let name = updated.name.map(|name| note(format!("named the room {}", safe(&name))));
                let topic = updated.topic.map(|topic| note("set the topic:".to_owned()) + &text(&topic));
                name.unwrap_or_default() + &topic.unwrap_or_default()
            }
            Some(Content::RoomArchived(archived)) => note(format!("closed the room{}", because(&archived.reason))),
            Some(Content::FileShared(shared)) => {
                let hash = hex(&shared.sha256);
                let (name, size) = (safe(&shared.name), shared.size);
                format!(
                    "<p class=\"note\">shared the file <a href=\"files/{hash}\">{name}</a>, {size} bytes<br><span class=\"id\">SHA-256 {hash}</span></p>"
                )
            }
            Some(Content::FileRemoved(_)) => note(format!("took away the file of #{target}")),
            Some(Content::LoggedIn(login)) => {
                let port = match login.scope() {
                    SessionScope::Operator => " at the operators' port",
                    SessionScope::Unspecified => "",
                };
                let from = address(login.peer.as_ref()).unwrap_or_default();
                note(format!(
                    "logged in{port} from {} with {}",
                    safe(&from),
                    safe(&login.client)
                ))
            }
            Some(Content::UserUpdated(updated)) => note(format!("is shown as {}", safe(&updated.display_name))),
            Some(Content::MemberJoined(_)) => note("became a member".to_owned()),
            Some(Content::MemberLeft(_)) => note("left the room, or declined".to_owned()),
            Some(Content::MemberInvited(_)) => note(format!("invited {}", self.who(&head.subject_id))),
            Some(Content::MemberRoleChanged(_)) => note(format!("gave {} another role", self.who(&head.subject_id))),
            _ => note(kind_name(head.kind).replace('_', " ")),
        }
    }
}

/// A time, for people: in UTC, to the millisecond.
fn shown(micros: i64) -> String {
    let text = rfc3339(micros);
    match (text.get(..10), text.get(11..23)) {
        (Some(day), Some(time)) => format!("{day} {time}"),
        _ => text,
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(": {}", safe(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_wrote_is_shown_and_does_nothing() {
        assert_eq!(
            safe("<script>alert('x')</script> & \"y\""),
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;y&quot;"
        );
        assert_eq!(
            safe("a\u{202E}b\u{1B}[2Jc\nd"),
            "a<span class=\"odd\">U+202E</span>b<span class=\"odd\">U+001B</span>[2Jc\nd"
        );
    }
}
