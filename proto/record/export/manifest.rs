//! The manifest: what is in an export, signed.

use serde::{Deserialize, Serialize};

use super::scope::Scope;
use super::time::rfc3339;

/// The first line of a manifest's text.
pub(super) const TITLE: &str = "greffe export 1";

/// What is in an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The row that ordered the export.
    pub export: i64,
    /// The case; none if a member exports what they did themselves.
    pub case: Option<Case>,
    /// What was ordered.
    pub scope: ScopeLine,
    /// Whether heads of what was not ordered are left out.
    pub bodies_only: bool,
    /// Name and version of the server that made it.
    pub tool: String,
    /// How much there is.
    pub counts: Counts,
    /// Every file but the manifest and those that were shared.
    pub files: Vec<Listed>,
}

/// A case, as its row has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The row that opened it.
    pub index: i64,
    /// The reference of whoever ordered it.
    pub reference: String,
    /// The legal basis.
    pub basis: String,
    /// When it was opened: RFC 3339.
    pub opened_at: String,
    /// Until when it can be read: RFC 3339.
    pub expires_at: String,
}

/// What was ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeLine {
    /// Ids of users, ascending.
    pub users: Vec<String>,
    /// Ids of rooms, ascending.
    pub rooms: Vec<String>,
    /// From when on: RFC 3339.
    pub from: Option<String>,
    /// Before when: RFC 3339.
    pub to: Option<String>,
}

impl From<&Scope> for ScopeLine {
    fn from(scope: &Scope) -> Self {
        Self {
            users: scope.users.iter().cloned().collect(),
            rooms: scope.rooms.iter().cloned().collect(),
            from: scope.from.map(rfc3339),
            to: scope.to.map(rfc3339),
        }
    }
}

/// How much there is in an export.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Rows in `rows.pb`.
    pub rows: u64,
    /// Rows that were ordered.
    pub ordered: u64,
    /// Of these, those whose body is erased.
    pub erased: u64,
    /// Touched rooms.
    pub rooms: u64,
    /// Files in `files/`.
    pub files: u64,
    /// Their bytes.
    pub file_bytes: u64,
}

/// A file, as the manifest lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub size: u64,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}

impl Manifest {
    /// The text that is signed.
    pub(super) fn text(&self) -> String {
        format!("{TITLE}\n{}", super::lines::line(self))
    }

    /// Reads a text; none if it is not written as it has to be.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let json = text.strip_prefix(TITLE)?.strip_prefix('\n')?.strip_suffix('\n')?;
        let manifest: Self = serde_json::from_str(json).ok()?;
        (manifest.text() == text).then_some(manifest)
    }
}
