//! A row of a log, as a line for people and as an object for programs.

use greffe::admin_api::LogEntry;
use greffe::api::event_body::Content;
use greffe::api::{
    ErrorReason, Event, EventHead, EventKind, OperatorActed, OperatorIdentity, PeerAddress, SessionEndReason,
    SessionScope,
};
use greffe::terminal::text::visible;
use greffe::terminal::time;
use serde_json::{Map, Value, json};

use super::record;
use crate::output::address_and_port;

/// Where a call came from, for people.
fn from(peer: Option<&PeerAddress>) -> String {
    peer.map(|peer| format!(" from {}", address_and_port(&visible(&peer.address), peer.port)))
        .unwrap_or_default()
}

/// A name of an enum on the wire, without its prefix, in small letters.
fn lower(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}

/// What a reason of a refusal is called.
pub(crate) fn reason_name(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

fn end_reason(reason: SessionEndReason) -> String {
    lower(reason.as_str_name(), "SESSION_END_REASON_")
}

/// Who acted, such as `root (on the server's machine)` or `alice from 10.0.0.7:5432`.
pub(crate) fn who(operator: Option<&OperatorIdentity>) -> String {
    match operator {
        Some(operator) if !operator.user_name.is_empty() => {
            format!("{}{}", visible(&operator.user_name), from(operator.peer.as_ref()))
        }
        Some(operator) => format!("{} (on the server's machine)", visible(&operator.os_user)),
        None => "somebody".to_owned(),
    }
}

/// A method without its package.
pub(crate) fn short_method(method: &str) -> &str {
    method.rsplit('/').next().unwrap_or(method)
}

/// A row for people: time, number and whom it is about; and what happened.
pub(crate) fn head_and_rest(entry: &LogEntry) -> (String, String) {
    let head = entry.event.as_ref().and_then(|event| event.head.clone()).unwrap_or_default();
    let about = if entry.user_name.is_empty() {
        "-".to_owned()
    } else {
        visible(&entry.user_name)
    };
    let what = entry.event.as_ref().map(what).unwrap_or_default();
    let when = time::day_and_time(head.time.as_ref());
    (format!("{when}  #{:<7} {about:<16}", head.index), what)
}

/// What happened, for people.
pub(crate) fn what(event: &Event) -> String {
    let head = event.head.clone().unwrap_or_default();
    match event.body.as_ref().and_then(|body| body.content.as_ref()) {
        Some(content) => record::happened(&head, content).unwrap_or_else(|| happened(&head, content)),
        None => format!("{} (erased)", kind_name(head.kind)),
    }
}

/// What a kind of event is called: the name of the enum's value in small letters, or the number of one that is not known.
pub(crate) fn kind_name(kind: i32) -> String {
    EventKind::try_from(kind).map_or_else(|_| kind.to_string(), |kind| lower(kind.as_str_name(), "EVENT_KIND_"))
}

fn happened(head: &EventHead, content: &Content) -> String {
    match content {
        Content::UserRegistered(made) if made.is_operator_identity => "the operator's identity was made".to_owned(),
        Content::UserRegistered(made) => match made.peer.as_ref() {
            Some(peer) => format!("signed up{}", from(Some(peer))),
            // Who signs up logs in with it: the next row says from where.
            None => "account made".to_owned(),
        },
        Content::LoggedIn(login) => {
            let place = match login.scope() {
                SessionScope::Unspecified => "",
                SessionScope::Operator => " at the operators' port",
            };
            let client = if login.client.is_empty() {
                String::new()
            } else {
                format!(" with {}", visible(&login.client))
            };
            format!("logged in{place}{}{client}", from(login.peer.as_ref()))
        }
        Content::LoginRefused(refused) => format!(
            "login refused{}, as {}",
            from(refused.peer.as_ref()),
            visible(&refused.attempted_name)
        ),
        Content::SessionSeen(seen) => format!("seen{}", from(seen.peer.as_ref())),
        Content::SessionEnded(ended) => {
            let said = if ended.message.is_empty() {
                String::new()
            } else {
                format!(": {}", visible(&ended.message))
            };
            let why = end_reason(ended.reason()).replace('_', " ");
            format!("session ended ({why}){}{said}", from(ended.peer.as_ref()))
        }
        Content::PasswordChanged(changed) => format!("password changed{}", from(changed.peer.as_ref())),
        Content::RefusalsCounted(counted) => {
            format!(
                "{} calls refused with {} within a minute",
                counted.count,
                visible(&counted.cause)
            )
        }
        Content::JournalCreated(created) => format!(
            "the journal {} began, by {}",
            visible(&created.journal_id),
            visible(&created.server_version)
        ),
        Content::ClockStepped(step) => format!(
            "the clock was stepped from {} to {}",
            time::day_and_time(step.expected.as_ref()),
            time::day_and_time(step.observed.as_ref())
        ),
        Content::Restored(restored) => format!(
            "restored from a backup of {} ({} rows) by {}: journal {} goes on as {}",
            time::day_and_time(restored.backup_made_at.as_ref()),
            restored.previous_size,
            visible(&restored.restored_by),
            visible(&restored.previous_journal_id),
            visible(&restored.journal_id)
        ),
        Content::KeyAdded(added) => format!(
            "checkpoints are signed with {}{}",
            visible(&added.verifier_key),
            if added.succession.is_empty() {
                ""
            } else {
                ", which the key before names"
            }
        ),
        Content::OperatorActed(acted) => act(acted),
        _ => kind_name(head.kind).replace('_', " "),
    }
}

fn act(acted: &OperatorActed) -> String {
    let arguments: Vec<String> = acted
        .arguments
        .iter()
        .map(|argument| format!(" {}={}", visible(&argument.name), visible(&argument.value)))
        .collect();
    let refused = match acted.refused() {
        ErrorReason::Unspecified => String::new(),
        reason => format!(" - refused, {}: {}", reason_name(reason), visible(&acted.refusal)),
    };
    let reason = if acted.reason.is_empty() {
        String::new()
    } else {
        format!(": {}", visible(&acted.reason))
    };
    format!(
        "{} by {}{}{reason}{refused}",
        visible(short_method(&acted.method)),
        who(acted.operator.as_ref()),
        arguments.concat()
    )
}

/// A row for programs.
pub(crate) fn object(entry: &LogEntry) -> Value {
    let event = entry.event.clone().unwrap_or_default();
    let head = event.head.unwrap_or_default();
    let given = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
    let mut object = Map::new();
    object.insert("index".to_owned(), json!(head.index));
    object.insert("time".to_owned(), time::json(head.time.as_ref()));
    object.insert("kind".to_owned(), json!(kind_name(head.kind)));
    object.insert("user".to_owned(), given(&entry.user_name));
    object.insert("actor".to_owned(), given(&entry.actor_name));
    object.insert("actor_id".to_owned(), given(&head.actor_id));
    object.insert("subject_id".to_owned(), given(&head.subject_id));
    let content = event.body.and_then(|body| body.content);
    object.insert("erased".to_owned(), json!(content.is_none()));
    if let Some(Value::Object(details)) = content.as_ref().map(details) {
        object.extend(details);
    }
    Value::Object(object)
}

fn details(content: &Content) -> Value {
    let address = |peer: Option<&PeerAddress>| json!(peer.map(|peer| &peer.address));
    let port = |peer: Option<&PeerAddress>| json!(peer.map(|peer| peer.port));
    match content {
        Content::UserRegistered(made) => json!({
            "name": made.name,
            "display_name": made.display_name,
            "address": address(made.peer.as_ref()),
            "port": port(made.peer.as_ref()),
            "invitation_index": (made.invitation_index != 0).then_some(made.invitation_index),
            "is_operator": made.is_operator_identity,
        }),
        Content::LoggedIn(login) => json!({
            "address": address(login.peer.as_ref()),
            "port": port(login.peer.as_ref()),
            "client": login.client,
            "operator_session": login.scope() == SessionScope::Operator,
        }),
        Content::LoginRefused(refused) => json!({
            "address": address(refused.peer.as_ref()),
            "port": port(refused.peer.as_ref()),
            "attempted_name": refused.attempted_name,
        }),
        Content::SessionSeen(seen) => json!({
            "address": address(seen.peer.as_ref()),
            "port": port(seen.peer.as_ref()),
        }),
        Content::SessionEnded(ended) => json!({
            "reason": end_reason(ended.reason()),
            "message": ended.message,
            "address": address(ended.peer.as_ref()),
            "port": port(ended.peer.as_ref()),
        }),
        Content::RefusalsCounted(counted) => json!({"cause": counted.cause, "count": counted.count}),
        Content::JournalCreated(created) => json!({
            "journal_id": created.journal_id,
            "server_version": created.server_version,
        }),
        Content::KeyAdded(added) => json!({
            "verifier_key": added.verifier_key,
            "succession": added.succession,
        }),
        Content::ClockStepped(step) => json!({
            "expected": time::json(step.expected.as_ref()),
            "observed": time::json(step.observed.as_ref()),
        }),
        Content::Restored(restored) => json!({
            "journal_id": restored.journal_id,
            "epoch": restored.epoch,
            "previous_journal_id": restored.previous_journal_id,
            "previous_size": restored.previous_size,
            "backup_made_at": time::json(restored.backup_made_at.as_ref()),
            "restored_by": restored.restored_by,
            "reason": restored.reason,
            "server_version": restored.server_version,
        }),
        Content::OperatorActed(acted) => {
            let operator = acted.operator.clone().unwrap_or_default();
            let local = operator.user_name.is_empty();
            let arguments: Map<String, Value> = acted
                .arguments
                .iter()
                .map(|argument| (argument.name.clone(), json!(argument.value)))
                .collect();
            let refused = acted.refused() != ErrorReason::Unspecified;
            json!({
                "operator": (!local).then_some(&operator.user_name),
                "os_user": local.then_some(&operator.os_user),
                "os_uid": local.then_some(operator.os_uid),
                "address": address(operator.peer.as_ref()),
                "port": port(operator.peer.as_ref()),
                "method": acted.method,
                "reason": acted.reason,
                "arguments": arguments,
                "refused": refused.then(|| reason_name(acted.refused())),
                "refusal": refused.then_some(&acted.refusal),
            })
        }
        content => record::details(content),
    }
}

#[cfg(test)]
mod tests {
    use greffe::api::{ActArgument, EventBody, LoginRefused};

    use super::*;

    fn entry(kind: EventKind, content: Option<Content>) -> LogEntry {
        LogEntry {
            event: Some(Event {
                head: Some(EventHead {
                    index: 7,
                    kind: kind.into(),
                    ..EventHead::default()
                }),
                body: content.map(|content| EventBody {
                    content: Some(content),
                    ..EventBody::default()
                }),
                ..Event::default()
            }),
            user_name: "bob".into(),
            actor_name: String::new(),
        }
    }

    fn peer() -> PeerAddress {
        PeerAddress {
            address: "10.0.0.7".into(),
            port: 5432,
        }
    }

    #[test]
    fn a_refused_login_is_told_with_address_and_port_and_without_harm() {
        let entry = entry(
            EventKind::LoginRefused,
            Some(Content::LoginRefused(LoginRefused {
                peer: Some(peer()),
                attempted_name: "\u{1b}[2Jbob".into(),
            })),
        );
        let (_, line) = head_and_rest(&entry);
        assert!(
            line.contains("login refused from 10.0.0.7:5432, as \\u{1b}[2Jbob"),
            "{line}"
        );
        let object = object(&entry);
        assert_eq!(
            (&object["kind"], &object["port"]),
            (&json!("login_refused"), &json!(5432))
        );
    }

    #[test]
    fn an_act_is_told_with_who_why_and_outcome() {
        let acted = OperatorActed {
            operator: Some(OperatorIdentity {
                user_name: "alice".into(),
                peer: Some(peer()),
                ..OperatorIdentity::default()
            }),
            method: "greffe.admin.v1.SessionAdminService/KickUser".into(),
            reason: "insults".into(),
            arguments: vec![ActArgument {
                name: "user".into(),
                value: "bob".into(),
            }],
            refused: ErrorReason::UserNotFound.into(),
            refusal: "no such user".into(),
        };
        let entry = entry(EventKind::OperatorActed, Some(Content::OperatorActed(acted)));
        let (_, line) = head_and_rest(&entry);
        assert!(
            line.ends_with(
                "KickUser by alice from 10.0.0.7:5432 user=bob: insults - refused, USER_NOT_FOUND: no such user"
            ),
            "{line}"
        );
        assert_eq!(object(&entry)["refused"], json!("USER_NOT_FOUND"));
    }

    #[test]
    fn an_erased_row_is_still_told() {
        let entry = entry(EventKind::LoggedIn, None);
        assert!(head_and_rest(&entry).1.ends_with("logged_in (erased)"));
        assert_eq!(object(&entry)["erased"], json!(true));
    }
}
