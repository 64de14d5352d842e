//! `greffe-admin since`
//!
//! A restored server knows nothing of what was done after its backup was made. The old server's audit log does: what must be done again is
//! printed as commands, in the order in which it was done.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use clap::Args;
use greffe::Operator;
use greffe::admin_api::LogEntry;
use greffe::api::event_body::Content;
use greffe::api::{ErrorReason, OperatorActed};
use greffe::terminal::error::CommandError;
use greffe::terminal::shell::quoted;
use greffe::terminal::text::visible;
use greffe::terminal::time;
use jiff::Timestamp;

use super::log::entry::who;
use super::log::pages::{Log, Pages};
use super::log::{index, parse_moment};
use crate::context::Context;
use crate::span;

/// Print what was done since a time, as commands to run again on a restored server
///
/// Run it on the old server, and what it prints on the restored one. Printed are bans made and lifted, accounts made, closed and opened,
/// roles given and passwords reset, each with who did it, when and why, and, for who changed a password by themselves, a reset; not printed is everything else: what was refused, kicks, messages,
/// alerts, the notice, archived rooms, reports, files that were withheld, given back or taken away, and invitations, which a restore voids. Bans that are over by now are comments, and accounts
/// made and passwords reset get new codes. Acts of the record - cases, exports, holds, erasures, how long data is kept, new keys - are comments too:
/// whether they are to be done again is for somebody to judge, above all an erasure, whose person or room a restore brings back.
#[derive(Debug, Args)]
pub(crate) struct SinceArgs {
    /// Since when: 2026-11-22, '2026-11-22 18:30', RFC 3339, or a span back from now such as 2h
    #[arg(value_name = "TIME", value_parser = parse_moment)]
    since: Timestamp,
}

/// What stands before the first command: how to run them.
const HEADER: [&str; 3] = [
    "# What operators did, to be done again on a restored server with greffe-admin.",
    "# Read it first. Then run it line by line, or as a whole with `sh -e FILE`, which stops at the first command that fails.",
    "# Accounts made and passwords reset get new codes; invitations have to be made anew.",
];

/// What is to be done again.
#[derive(Debug, PartialEq, Eq)]
enum Again {
    /// These words after the program's name.
    Do(Vec<String>),
    /// Nothing, for this reason.
    Nothing(&'static str),
    /// Whatever somebody judges right, who is told this.
    Judge(String),
}

/// Prints the commands.
pub(crate) async fn run(args: &SinceArgs, context: &Context) -> Result<(), CommandError> {
    let operator = context.operator().await?;
    let now = Timestamp::now();
    let mut found = Vec::new();
    // Accounts that get a code anyway.
    let mut with_code = HashSet::new();
    each(operator, Log::Audit, args.since, |entry| {
        let Some(lines) = told(entry, now) else { return };
        with_code.extend(gets_code(entry));
        found.push(lines);
    })
    .await?;
    // What they changed it from is good again on the restored server.
    let mut changed = BTreeMap::new();
    each(operator, Log::Connections, args.since, |entry| {
        if let Some(lines) = password_changed(entry, now)
            && !with_code.contains(&entry.user_name)
        {
            changed.insert(entry.user_name.clone(), lines);
        }
    })
    .await?;
    found.extend(changed.into_values());
    if found.is_empty() {
        context.ui.note("nothing was done since then that would have to be done again");
        return Ok(());
    }
    HEADER.iter().try_for_each(|line| context.ui.line(line))?;
    found.iter().flatten().try_for_each(|line| context.ui.line(line))
}

/// Goes through a log.
async fn each(
    operator: &Operator,
    log: Log,
    since: Timestamp,
    mut take: impl FnMut(&LogEntry),
) -> Result<(), CommandError> {
    let pages = Pages::new(operator, log, String::new(), Some(since));
    let mut last = -1;
    loop {
        let (entries, has_more) = pages.after(last).await?;
        for entry in &entries {
            last = last.max(index(entry));
            take(entry);
        }
        if !has_more || entries.is_empty() {
            return Ok(());
        }
    }
}

/// The account for which an act makes a code.
fn gets_code(entry: &LogEntry) -> Option<String> {
    let Some(Content::OperatorActed(acted)) = entry.event.as_ref()?.body.as_ref()?.content.as_ref() else {
        return None;
    };
    let makes_code = ["/ResetUserPassword", "/CreateUser"]
        .iter()
        .any(|method| acted.method.ends_with(method));
    makes_code.then(|| entry.user_name.clone())
}

/// The lines for a row of a changed password.
fn password_changed(entry: &LogEntry, now: Timestamp) -> Option<Vec<String>> {
    let event = entry.event.as_ref()?;
    let head = event.head.as_ref()?;
    let Some(Content::PasswordChanged(_)) = event.body.as_ref()?.content.as_ref() else {
        return None;
    };
    if entry.user_name.is_empty() {
        return None;
    }
    let at_time = time::instant(head.time.as_ref()).unwrap_or(now);
    Some(vec![
        format!(
            "# row {} {} {} changed the password; the one from before is good again after a restore",
            head.index,
            at_time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            visible(&entry.user_name)
        ),
        format!(
            "greffe-admin users reset-password {} --yes '--reason=the password was changed after the backup'",
            quoted(&visible(&at(&entry.user_name)))
        ),
    ])
}

/// The lines for a row, if it is of an act that matters.
fn told(entry: &LogEntry, now: Timestamp) -> Option<Vec<String>> {
    let event = entry.event.as_ref()?;
    let head = event.head.as_ref()?;
    let Some(Content::OperatorActed(acted)) = event.body.as_ref()?.content.as_ref() else {
        return None;
    };
    // An erasure that a hold keeps was refused, and stands all the same.
    if !matches!(acted.refused(), ErrorReason::Unspecified | ErrorReason::Held) {
        return None;
    }
    let at = time::instant(head.time.as_ref()).unwrap_or(now);
    let ago = now.duration_since(at).try_into().unwrap_or_default();
    let again = again(acted, &head.subject_id, ago)?;
    let comment = format!(
        "# row {} {} by {}: {}",
        head.index,
        at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        who(acted.operator.as_ref()),
        visible(&acted.reason)
    );
    let command = match again {
        Again::Do(words) => {
            let mut line = "greffe-admin".to_owned();
            // Joined, because a reason may begin with a hyphen.
            let reason = ["--yes".to_owned(), format!("--reason={}", acted.reason)];
            for word in words.into_iter().chain(reason) {
                line.push(' ');
                // What a terminal would obey is written out: a reason loses nothing by that, and nothing else has such characters.
                line.push_str(&quoted(&visible(&word)));
            }
            line
        }
        Again::Nothing(why) => format!("# {why}"),
        Again::Judge(what) => format!("# judge yourself: {what}"),
    };
    Some(vec![comment, command])
}

/// What is to be done again for an act of `ago`, if it is of a kind that a restored server has to know.
fn again(acted: &OperatorActed, subject_id: &str, ago: Duration) -> Option<Again> {
    let argument = |name: &str| {
        let found = acted.arguments.iter().find(|argument| argument.name == name);
        found.map(|argument| argument.value.clone())
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let with_user = |command: &[&str]| argument("user").map(|user| [words(command), vec![at(&user)]].concat());
    if let Some(method) = acted.method.strip_prefix("greffe.record.v1.") {
        return of_the_record(method, acted, subject_id).map(Again::Judge);
    }
    let service_and_method = acted.method.strip_prefix("greffe.admin.v1.")?;
    let command = match service_and_method {
        "BanAdminService/CreateBan" => {
            let mut command = words(&["ban"]);
            command.push(argument("network").or_else(|| argument("user").map(|user| at(&user)))?);
            if let Some(lasts) = argument("duration") {
                let lasts = Duration::from_secs(lasts.strip_suffix(" s")?.parse().ok()?);
                let Some(rest) = lasts.checked_sub(ago).filter(|rest| rest.as_secs() > 0) else {
                    return Some(Again::Nothing("this ban is over"));
                };
                command.extend(["--for".to_owned(), span::show(rest)]);
            }
            Some(command)
        }
        "BanAdminService/LiftBan" => {
            let target = argument("network")
                .or_else(|| argument("user").map(|user| at(&user)))
                .or_else(|| argument("ban_index"))?;
            Some(vec!["unban".to_owned(), target])
        }
        "UserAdminService/DisableUser" => with_user(&["users", "disable"]),
        "UserAdminService/EnableUser" => with_user(&["users", "enable"]),
        "UserAdminService/ResetUserPassword" => with_user(&["users", "reset-password"]),
        "UserAdminService/SetUserRoles" => {
            let mut command = with_user(&["users", "role"])?;
            command.extend(roles(&argument("roles")?));
            Some(command)
        }
        "UserAdminService/CreateUser" => {
            let mut command = words(&["users", "create"]);
            command.push(argument("user_name")?);
            for role in argument("roles").map(|text| roles(&text)).unwrap_or_default() {
                if role != "none" {
                    command.extend(["--role".to_owned(), role]);
                }
            }
            Some(command)
        }
        _ => None,
    };
    command.map(Again::Do)
}

/// What was done with the record, on one line that is safe to show; `None` for readings.
///
/// The names of who was erased stand nowhere; the id is still theirs on a restored server.
fn of_the_record(method: &str, acted: &OperatorActed, subject_id: &str) -> Option<String> {
    let note = match method {
        "CaseService/OpenCase" | "CaseService/ApproveCase" | "CaseService/CloseCase" => "a case of the old journal",
        "ExportService/OrderExport" => "an export of the old journal",
        "HoldService/AddHold" => "what it held is held no more",
        "HoldService/ReleaseHold" => "what it held is held again, if it was added before the backup",
        "ErasureService/Erase" if acted.refused() == ErrorReason::Held => {
            "a hold kept it: what was erased later is there again"
        }
        "ErasureService/Erase" => "what it erased is there again",
        "ErasureService/SetRetention" => "data is kept as long as before",
        "CheckpointService/RotateKey" => "the key from before signs again",
        _ => return None,
    };
    let arguments: Vec<String> = (acted.arguments.iter())
        .map(|argument| format!(" {}={}", visible(&argument.name), quoted(&visible(&argument.value))))
        .collect();
    let of = match subject_id {
        "" => String::new(),
        id => format!(" of {}", quoted(&visible(id))),
    };
    Some(format!("{method}{of}:{} - {note}", arguments.concat()))
}

/// A user as an argument that can be nothing else, also if the name is an address or a number.
fn at(user: &str) -> String {
    format!("@{user}")
}

fn roles(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use greffe::api::{ActArgument, Event, EventBody, EventHead, OperatorIdentity};
    use greffe::terminal::shell::split;
    use proptest::prelude::*;

    use super::*;

    fn entry(method: &str, reason: &str, arguments: &[(&str, &str)], refused: ErrorReason) -> LogEntry {
        let acted = OperatorActed {
            operator: Some(OperatorIdentity {
                os_user: "root".into(),
                ..OperatorIdentity::default()
            }),
            method: if method.starts_with("greffe.") {
                method.to_owned()
            } else {
                format!("greffe.admin.v1.{method}")
            },
            reason: reason.into(),
            arguments: arguments
                .iter()
                .map(|(name, value)| ActArgument {
                    name: (*name).into(),
                    value: (*value).into(),
                })
                .collect(),
            refused: refused.into(),
            refusal: String::new(),
        };
        LogEntry {
            event: Some(Event {
                head: Some(EventHead {
                    index: 7,
                    time: Some(prost_types::Timestamp {
                        seconds: 1_800_000_000,
                        nanos: 0,
                    }),
                    ..EventHead::default()
                }),
                body: Some(EventBody {
                    content: Some(Content::OperatorActed(acted)),
                    ..EventBody::default()
                }),
                ..Event::default()
            }),
            ..LogEntry::default()
        }
    }

    fn command(method: &str, arguments: &[(&str, &str)]) -> Option<String> {
        let now = Timestamp::from_second(1_800_000_060).expect("a time");
        told(&entry(method, "it's so", arguments, ErrorReason::Unspecified), now).map(|mut lines| {
            assert_eq!(
                lines[0],
                "# row 7 2027-01-15T08:00:00Z by root (on the server's machine): it's so"
            );
            lines.remove(1)
        })
    }

    #[test]
    fn what_was_done_is_a_command() {
        let tail = " --yes '--reason=it'\\''s so'";
        for (method, arguments, expected) in [
            (
                "BanAdminService/CreateBan",
                &[("user", "bob"), ("duration", "120 s")][..],
                "ban @bob --for 1m",
            ),
            (
                "BanAdminService/CreateBan",
                &[("network", "10.0.0.0/8")],
                "ban 10.0.0.0/8",
            ),
            (
                "BanAdminService/LiftBan",
                &[("ban_index", "5"), ("user", "bob")],
                "unban @bob",
            ),
            ("BanAdminService/LiftBan", &[("ban_index", "5")], "unban 5"),
            ("UserAdminService/DisableUser", &[("user", "bob")], "users disable @bob"),
            (
                "UserAdminService/SetUserRoles",
                &[("user", "bob"), ("roles", "operator,investigator")],
                "users role @bob operator investigator",
            ),
            (
                "UserAdminService/SetUserRoles",
                &[("user", "bob"), ("roles", "none")],
                "users role @bob none",
            ),
            (
                "UserAdminService/CreateUser",
                &[("user_name", "eve"), ("roles", "operator")],
                "users create eve --role operator",
            ),
            (
                "UserAdminService/CreateUser",
                &[("user_name", "eve"), ("roles", "none")],
                "users create eve",
            ),
        ] {
            assert_eq!(
                command(method, arguments),
                Some(format!("greffe-admin {expected}{tail}")),
                "{method}"
            );
        }
        assert_eq!(
            command("BanAdminService/CreateBan", &[("user", "bob"), ("duration", "60 s")]).as_deref(),
            Some("# this ban is over")
        );
        assert_eq!(command("SessionAdminService/KickUser", &[("user", "bob")]), None);
        // A restore voids all invitations.
        let revoked = command("UserAdminService/RevokeInvitation", &[("invitation_index", "9")]);
        assert_eq!(revoked, None);
    }

    #[test]
    fn acts_of_the_record_are_comments() {
        let erased = command(
            "greffe.record.v1.ErasureService/Erase",
            &[("user", "bob"), ("basis", "Art. 17\ngreffe-admin stop")],
        );
        assert_eq!(
            erased.as_deref(),
            Some(
                "# judge yourself: ErasureService/Erase: user=bob basis='Art. 17\\ngreffe-admin stop' - what it erased is there again"
            )
        );
        let mut held = entry("greffe.record.v1.ErasureService/Erase", "x", &[], ErrorReason::Held);
        if let Some(head) = held.event.as_mut().and_then(|event| event.head.as_mut()) {
            head.subject_id = "u1".into();
        }
        let lines = told(&held, Timestamp::UNIX_EPOCH).unwrap_or_default();
        assert!(
            lines[1].starts_with("# judge yourself: ErasureService/Erase of u1: - a hold kept it"),
            "{lines:?}"
        );
        assert_eq!(
            command("greffe.record.v1.CaseService/ReadCase", &[("case_index", "5")]),
            None
        );
        assert_eq!(command("greffe.record.v1.ExportService/DownloadExport", &[]), None);
    }

    #[test]
    fn what_was_refused_is_left_out() {
        let refused = entry(
            "UserAdminService/DisableUser",
            "x",
            &[("user", "bob")],
            ErrorReason::LastOperator,
        );
        assert_eq!(told(&refused, Timestamp::UNIX_EPOCH), None);
    }

    proptest! {
        #[test]
        fn nothing_that_was_typed_becomes_another_command(reason in any::<String>(), user in any::<String>()) {
            let entry = entry("UserAdminService/DisableUser", &reason, &[("user", &user)], ErrorReason::Unspecified);
            let lines = told(&entry, Timestamp::UNIX_EPOCH).unwrap_or_default();
            prop_assert!(lines.iter().all(|line| !line.contains('\n')));
            let words = split(&lines[1]).unwrap_or_default();
            prop_assert_eq!(words.len(), 6);
            prop_assert_eq!(&words[3], &visible(&format!("@{user}")));
            prop_assert_eq!(&words[5], &visible(&format!("--reason={reason}")));
        }
    }
}
