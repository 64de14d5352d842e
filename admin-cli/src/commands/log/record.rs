//! Rows of the record itself: cases, exports, holds, erasures, and how long data is kept.

use greffe::api::event_body::Content;
use greffe::api::{EventHead, RecordScope, RetentionClass};
use greffe::terminal::text::{hex, visible};
use greffe::terminal::time;
use serde_json::{Value, json};

use crate::output::count;
use crate::span;

/// What happened, for people; `None` if it is no row of the record.
pub(super) fn happened(head: &EventHead, content: &Content) -> Option<String> {
    Some(match content {
        Content::CaseOpened(case) => format!(
            "case {} opened{}: {}, {}, {}, until {}{}",
            head.index,
            by(&case.by),
            visible(&case.reference),
            visible(&case.basis),
            scope_words(case.scope.as_ref()),
            time::day_and_time(case.expires_at.as_ref()),
            if case.needs_approval {
                ", once it is approved"
            } else {
                ""
            }
        ),
        Content::CaseApproved(case) => format!("case {} approved{}", case.case_index, by(&case.by)),
        Content::CaseClosed(case) => format!("case {} closed", case.case_index),
        Content::ExportOrdered(export) => {
            let of = match export.case_index {
                0 => "of what a member did".to_owned(),
                case => format!("of case {case}"),
            };
            let without = if export.bodies_only {
                ", without other heads"
            } else {
                ""
            };
            format!("export {} {of} ordered{without}", head.index)
        }
        Content::ExportMade(made) => format!(
            "export {} made, its manifest has SHA-256 {}",
            made.export_index,
            hex(&made.manifest_sha256)
        ),
        Content::HoldAdded(hold) => format!(
            "hold {} added for case {}: {}",
            head.index,
            hold.case_index,
            scope_words(hold.scope.as_ref())
        ),
        Content::HoldReleased(hold) => format!("hold {} released", hold.hold_index),
        Content::ErasureOrdered(erasure) => {
            format!(
                "erasure {} ordered{}: {}",
                head.index,
                by(&erasure.by),
                visible(&erasure.basis)
            )
        }
        Content::ErasureBegun(erasure) => format!(
            "erasure {} begun; what it covers is called {} now",
            erasure.erasure_index,
            visible(&erasure.name)
        ),
        Content::ErasureDone(erasure) => format!(
            "erasure {} done{}: {}: {} and {} erased",
            erasure.erasure_index,
            by(&erasure.by),
            visible(&erasure.basis),
            count(erasure.rows, "row"),
            count(erasure.files, "file")
        ),
        Content::RetentionSet(set) => format!("{} are kept {}", class_name(set.class()), kept(set.keep_seconds)),
        Content::RetentionApplied(applied) => format!(
            "{} from before {} erased: {} and {}",
            class_name(applied.class()),
            time::day_and_time(applied.before.as_ref()),
            count(applied.rows, "row"),
            count(length(&applied.file_ids), "file")
        ),
        _ => return None,
    })
}

/// The same for programs.
pub(super) fn details(content: &Content) -> Value {
    match content {
        Content::CaseOpened(case) => json!({
            "reference": case.reference,
            "basis": case.basis,
            "scope": scope(case.scope.as_ref()),
            "expires": time::json(case.expires_at.as_ref()),
            "needs_approval": case.needs_approval,
            "by": case.by,
        }),
        Content::CaseApproved(case) => json!({"case": case.case_index, "by": case.by}),
        Content::CaseClosed(case) => json!({"case": case.case_index}),
        Content::ExportOrdered(export) => json!({
            "case": (export.case_index != 0).then_some(export.case_index),
            "bodies_only": export.bodies_only,
        }),
        Content::ExportMade(made) => {
            json!({"export": made.export_index, "manifest_sha256": hex(&made.manifest_sha256)})
        }
        Content::HoldAdded(hold) => json!({"case": hold.case_index, "scope": scope(hold.scope.as_ref())}),
        Content::HoldReleased(hold) => json!({"hold": hold.hold_index}),
        Content::ErasureOrdered(erasure) => json!({"basis": erasure.basis, "by": erasure.by}),
        Content::ErasureBegun(erasure) => json!({
            "erasure": erasure.erasure_index,
            "name": erasure.name,
            "files": length(&erasure.file_ids),
        }),
        Content::ErasureDone(erasure) => json!({
            "erasure": erasure.erasure_index,
            "basis": erasure.basis,
            "by": erasure.by,
            "rows": erasure.rows,
            "files": erasure.files,
        }),
        Content::RetentionSet(set) => json!({
            "class": class_name(set.class()),
            "keep_seconds": (set.keep_seconds != 0).then_some(set.keep_seconds),
        }),
        Content::RetentionApplied(applied) => json!({
            "class": class_name(applied.class()),
            "before": time::json(applied.before.as_ref()),
            "rows": applied.rows,
            "files": length(&applied.file_ids),
        }),
        _ => json!({}),
    }
}

fn by(who: &str) -> String {
    match who {
        "" => String::new(),
        who => format!(" by {}", visible(who)),
    }
}

fn length<T>(items: &[T]) -> i64 {
    i64::try_from(items.len()).unwrap_or(i64::MAX)
}

/// A scope in words. A row knows ids only.
fn scope_words(scope: Option<&RecordScope>) -> String {
    let scope = scope.cloned().unwrap_or_default();
    let list = |what: &str, ids: &[String]| match ids.len() {
        0 => None,
        1..=5 => Some(format!("{what} {}", visible(&ids.join(" ")))),
        many => Some(count(i64::try_from(many).unwrap_or(i64::MAX), what)),
    };
    let end = |name: &str, time: Option<&prost_types::Timestamp>| {
        time.map(|time| format!("{name} {}", time::day_and_time(Some(time))))
    };
    let words: Vec<String> = [
        list("user", &scope.user_ids),
        list("room", &scope.room_ids),
        end("from", scope.from.as_ref()),
        end("to", scope.to.as_ref()),
    ]
    .into_iter()
    .flatten()
    .collect();
    words.join(", ")
}

fn scope(scope: Option<&RecordScope>) -> Value {
    let scope = scope.cloned().unwrap_or_default();
    json!({
        "users": scope.user_ids,
        "rooms": scope.room_ids,
        "from": time::json(scope.from.as_ref()),
        "to": time::json(scope.to.as_ref()),
    })
}

/// What a class of data is called on the command line.
pub(crate) fn class_name(class: RetentionClass) -> &'static str {
    match class {
        RetentionClass::Unspecified => "unknown",
        RetentionClass::Messages => "messages",
        RetentionClass::Files => "files",
        RetentionClass::Connections => "connections",
    }
}

/// For how long data is kept, in words. 0: for ever.
pub(crate) fn kept(seconds: i64) -> String {
    match u64::try_from(seconds) {
        Ok(0) | Err(_) => "forever".to_owned(),
        // Weeks and years are no help here: laws have days.
        Ok(seconds) if seconds % 86_400 == 0 => format!("{}d", seconds / 86_400),
        Ok(seconds) => span::show(std::time::Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use greffe::api::{CaseOpened, ErasureDone, ExportMade, ExportOrdered, RetentionSet};

    use super::*;

    fn told(content: &Content) -> String {
        let head = EventHead {
            index: 7,
            ..EventHead::default()
        };
        happened(&head, content).unwrap_or_default()
    }

    #[test]
    fn the_records_own_rows_are_told_without_harm() {
        let case = CaseOpened {
            reference: "1 Kls 2/26\u{1b}[2J".into(),
            basis: "order".into(),
            scope: Some(RecordScope {
                user_ids: vec!["u1".into()],
                room_ids: (0..6).map(|number| format!("r{number}")).collect(),
                ..RecordScope::default()
            }),
            by: "olga".into(),
            needs_approval: true,
            ..CaseOpened::default()
        };
        assert_eq!(
            told(&Content::CaseOpened(case.clone())),
            "case 7 opened by olga: 1 Kls 2/26\\u{1b}[2J, order, user u1, 6 rooms, until -, once it is approved"
        );
        assert_eq!(details(&Content::CaseOpened(case))["scope"]["users"], json!(["u1"]));
        let ordered = |case_index| {
            Content::ExportOrdered(ExportOrdered {
                case_index,
                bodies_only: true,
            })
        };
        assert_eq!(told(&ordered(5)), "export 7 of case 5 ordered, without other heads");
        assert_eq!(details(&ordered(0))["case"], Value::Null);
        let made = ExportMade {
            export_index: 6,
            manifest_sha256: vec![0xab, 1].into(),
        };
        assert_eq!(
            told(&Content::ExportMade(made)),
            "export 6 made, its manifest has SHA-256 ab01"
        );
        let done = ErasureDone {
            erasure_index: 5,
            basis: "Art. 17".into(),
            rows: 2,
            files: 1,
            by: String::new(),
        };
        assert_eq!(
            told(&Content::ErasureDone(done)),
            "erasure 5 done: Art. 17: 2 rows and 1 file erased"
        );
        let set = |keep_seconds| RetentionSet {
            class: RetentionClass::Connections.into(),
            keep_seconds,
        };
        assert_eq!(
            told(&Content::RetentionSet(set(86_400 * 365))),
            "connections are kept 365d"
        );
        assert_eq!(told(&Content::RetentionSet(set(0))), "connections are kept forever");
        assert_eq!(kept(90_000), "1d1h");
    }
}
