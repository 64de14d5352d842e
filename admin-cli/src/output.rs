//! How acts and quantities are shown.

use greffe::api::{Receipt, RoomKind, ServerRole};
use greffe::terminal::error::CommandError;
use greffe::terminal::time;
use serde_json::{Map, Value, json};

use crate::context::Context;

/// Tells that an act was done: to people `text` and its row, to programs `facts` with the row and its time.
pub(crate) fn done(context: &Context, receipt: Option<&Receipt>, text: &str, facts: Value) -> Result<(), CommandError> {
    if context.ui.is_json() {
        let mut object = match facts {
            Value::Object(object) => object,
            _ => Map::new(),
        };
        object.insert("index".to_owned(), json!(receipt.map(|receipt| receipt.index)));
        let made_at = time::json(receipt.and_then(|receipt| receipt.time.as_ref()));
        object.insert("time".to_owned(), made_at);
        return context.ui.object(&Value::Object(object));
    }
    let row = receipt.map(|receipt| format!(" (row {})", receipt.index)).unwrap_or_default();
    context.ui.line(&format!("{text}{row}"))
}

/// `1 session`, `2 sessions`.
pub(crate) fn count(number: i64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        number => format!("{number} {noun}s"),
    }
}

/// What ended with an act, such as `2 sessions ended, 3 streams closed`.
pub(crate) fn cut(sessions_ended: i64, streams_closed: i64) -> String {
    format!(
        "{} ended, {} closed",
        count(sessions_ended, "session"),
        count(streams_closed, "stream")
    )
}

/// Bytes for people: `0 B`, `12.3 MiB`.
pub(crate) fn bytes(number: i64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let number = number.max(0);
    if number < 1024 {
        return format!("{number} B");
    }
    // Tenths of a unit, in whole numbers.
    let (mut tenths, mut unit) = (i128::from(number) * 10 / 1024, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// An address and a port, as they are written in URLs.
pub(crate) fn address_and_port(address: &str, port: u32) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

/// What a role is called on the command line.
pub(crate) fn role_name(role: ServerRole) -> &'static str {
    match role {
        ServerRole::Unspecified => "none",
        ServerRole::Operator => "operator",
        ServerRole::Investigator => "investigator",
    }
}

/// What roles, as they are on the wire, are called. Roles that this version does not know are their numbers.
pub(crate) fn role_names(roles: &[i32]) -> Vec<String> {
    let name =
        |role: &i32| ServerRole::try_from(*role).map_or_else(|_| role.to_string(), |role| role_name(role).to_owned());
    roles.iter().map(name).collect()
}

/// What a kind of room is called.
pub(crate) fn kind_name(kind: RoomKind) -> &'static str {
    match kind {
        RoomKind::Unspecified => "unknown",
        RoomKind::General => "general",
        RoomKind::Public => "public",
        RoomKind::Private => "private",
        RoomKind::Direct => "direct",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_well() {
        assert_eq!(bytes(-1), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(1024 * 1024), "1.0 MiB");
        assert_eq!(bytes(i64::MAX), "8191.9 PiB");
        assert_eq!(count(1, "session"), "1 session");
        assert_eq!(count(0, "session"), "0 sessions");
        assert_eq!(address_and_port("::1", 5), "[::1]:5");
    }
}
