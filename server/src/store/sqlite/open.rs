//! Opening a database: what it must be, and what is refused.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection as _;
use diesel::migration::{MigrationSource, MigrationVersion};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};

use super::SqliteAppender;
use super::pool::SqliteReader;
use crate::store::StoreError;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// The first release without a bug of the write-ahead log that can corrupt a database.
const OLDEST_SQLITE: (u32, u32, u32) = (3, 51, 3);
/// `PRAGMA application_id` of our databases: "gref".
const APPLICATION_ID: i64 = 0x6772_6566;
/// Bytes up to which the whole file is checked at start. Larger ones are checked by `greffe-server check`, and their newest rows at start.
const QUICK_CHECK_BYTES: u64 = 64 << 20;

/// Why a database is not opened.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the texts say")]
pub enum OpenError {
    /// The SQLite that was linked is too old.
    #[error(
        "this binary was linked with SQLite {found}, which can corrupt databases; build it with the bundled one (3.51.3 or newer)"
    )]
    OldSqlite { found: String },
    /// The file is a database of another program.
    #[error("{path} is a database of another program; choose another data directory with --data-dir")]
    Foreign { path: PathBuf },
    /// The database was used by a newer release.
    #[error(
        "{path} was used by a newer release (its migration {migration} is unknown to this one); run that release, or a newer one"
    )]
    Newer { path: PathBuf, migration: String },
    /// The database is damaged.
    #[error("{path} is damaged ({why}); restore it from a backup, and look at what is left with `greffe-server check`")]
    Damaged { path: PathBuf, why: String },
    /// There is no database.
    #[error("{path} does not exist; name the directory of a server with --data-dir")]
    Missing { path: PathBuf },
    /// It could not be opened.
    #[error("{path} cannot be opened: {why}")]
    Unusable { path: PathBuf, why: String },
}

/// An open database.
#[derive(Debug)]
pub struct Opened {
    /// The connection that appends.
    pub appender: SqliteAppender,
    /// What everyone reads with.
    pub reader: SqliteReader,
}

#[derive(QueryableByName)]
struct TextRow {
    #[diesel(sql_type = Text)]
    value: String,
}

#[derive(QueryableByName)]
struct NumberRow {
    #[diesel(sql_type = BigInt)]
    value: i64,
}

/// Opens or makes the database at `path`, brings its schema up to date, and starts `readers` threads that read.
pub fn open(path: &Path, readers: usize) -> Result<Opened, OpenError> {
    let existed = path.exists();
    keep_private(path).map_err(|error| unusable(path, &error))?;
    let mut connection = connect(path)?;
    verify(&mut connection, path)?;
    connection
        .run_pending_migrations(MIGRATIONS)
        .map_err(|error| failed(path, &error))?;
    // What an earlier process left in the log goes into the file before anyone is answered.
    connection
        .batch_execute("PRAGMA wal_checkpoint(TRUNCATE);")
        .map_err(|error| failed(path, &error))?;
    if existed && std::fs::metadata(path).is_ok_and(|file| file.len() <= QUICK_CHECK_BYTES) {
        quick_check(&mut connection, path)?;
    }
    let reader = SqliteReader::start(path, readers).map_err(|error| unusable(path, &error))?;
    Ok(Opened {
        appender: SqliteAppender::new(connection),
        reader,
    })
}

/// Opens a database to look at it. Nothing is changed, so that it may lie on a medium that is read only, unless it was not closed cleanly.
///
/// Nobody may write to it meanwhile.
pub fn open_for_check(path: &Path) -> Result<SqliteConnection, OpenError> {
    if !path.exists() {
        return Err(OpenError::Missing { path: path.into() });
    }
    let mut connection = connect_to_look(path)?;
    if !verify(&mut connection, path)? {
        return Err(unusable(path, &"it is empty"));
    }
    if connection
        .has_pending_migration(MIGRATIONS)
        .map_err(|error| failed(path, &error))?
    {
        return Err(unusable(
            path,
            &"it was last used by an older release; check it with that one, or start this one on it first",
        ));
    }
    quick_check(&mut connection, path)?;
    Ok(connection)
}

/// A connection that cannot write.
fn connect_to_look(path: &Path) -> Result<SqliteConnection, OpenError> {
    let logged = ["-wal", "-journal"].iter().any(|suffix| {
        let mut log = path.as_os_str().to_owned();
        log.push(suffix);
        std::fs::metadata(log).is_ok_and(|log| log.len() > 0)
    });
    // A log has to be read with the database, and SQLite makes an index of it beside the two. Without one, the file is all there is.
    let parameters = if logged { "mode=ro" } else { "mode=ro&immutable=1" };
    let url = uri(path, parameters).ok_or_else(|| unusable(path, &"the path is not UTF-8"))?;
    let connected = SqliteConnection::establish(&url).map_err(|error| error.to_string());
    let opened = connected.and_then(|mut connection| {
        let settings = "PRAGMA busy_timeout = 5000; PRAGMA query_only = ON; PRAGMA trusted_schema = OFF;
                        PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY; SELECT count(*) FROM sqlite_schema;";
        connection.batch_execute(settings).map_err(|error| error.to_string())?;
        Ok(connection)
    });
    opened.map_err(|error| {
        let closed = ["unable to open database file", "readonly database"].iter().any(|text| error.contains(text));
        match (closed, logged) {
            (true, true) => unusable(
                path,
                &"it was not closed cleanly, so it can only be looked at where files can be written; copy the directory, and check the copy",
            ),
            (true, false) => unusable(path, &error),
            (false, _) => failed(path, &error),
        }
    })
}

/// The address of a database for SQLite, with parameters such as `mode=ro`; none if the path is not UTF-8.
pub(super) fn uri(path: &Path, parameters: &str) -> Option<String> {
    let mut uri = String::from("file:");
    // What begins with two slashes would name a host.
    if path.is_absolute() {
        uri.push_str("//");
    }
    for byte in path.to_str()?.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            uri.push(byte.into());
        } else {
            _ = write!(uri, "%{byte:02X}");
        }
    }
    uri.push('?');
    uri.push_str(parameters);
    Some(uri)
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> OpenError {
    OpenError::Unusable {
        path: path.into(),
        why: error.to_string(),
    }
}

/// What an error at the start means: a full or locked disk is no damage.
fn failed(path: &Path, error: &dyn std::fmt::Display) -> OpenError {
    match StoreError::from_text(error.to_string()) {
        StoreError::Full => unusable(path, &"the disk is full; free some space and start again"),
        StoreError::Locked => unusable(path, &"another program holds it; stop that one and start again"),
        StoreError::Io(why) | StoreError::Database(why) => damaged(path, &why),
        StoreError::Closed => unusable(path, &"it was closed"),
    }
}

fn damaged(path: &Path, error: &dyn std::fmt::Display) -> OpenError {
    OpenError::Damaged {
        path: path.into(),
        why: error.to_string(),
    }
}

/// Makes the file, or makes it the owner's alone: it holds every message. SQLite gives its other files the same mode.
pub(super) fn keep_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    drop(file);
    Ok(())
}

fn connect(path: &Path) -> Result<SqliteConnection, OpenError> {
    let text = path.to_str().ok_or_else(|| unusable(path, &"the path is not UTF-8"))?;
    let mut connection = SqliteConnection::establish(text).map_err(|error| unusable(path, &error))?;
    connection
        .batch_execute(
            // FULL: every commit is on the disk before it returns. With group commit it costs what NORMAL does.
            "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
             PRAGMA trusted_schema = OFF; PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;
             PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864; PRAGMA secure_delete = ON;",
        )
        .map_err(|error| failed(path, &error))?;
    Ok(connection)
}

/// Refuses what is not ours to open. Tells whether there is anything in it.
fn verify(connection: &mut SqliteConnection, path: &Path) -> Result<bool, OpenError> {
    let damaged = |error: diesel::result::Error| failed(path, &error);
    let found: TextRow = diesel::sql_query("SELECT sqlite_version() AS value")
        .get_result(connection)
        .map_err(damaged)?;
    let mut numbers = found.value.split('.').map(|number| number.parse().unwrap_or(0));
    let mut number = || numbers.next().unwrap_or(0);
    if (number(), number(), number()) < OLDEST_SQLITE {
        return Err(OpenError::OldSqlite { found: found.value });
    }
    let tables: NumberRow = diesel::sql_query("SELECT count(*) AS value FROM sqlite_schema")
        .get_result(connection)
        .map_err(damaged)?;
    if tables.value == 0 {
        return Ok(false);
    }
    let id: NumberRow = diesel::sql_query("SELECT application_id AS value FROM pragma_application_id")
        .get_result(connection)
        .map_err(damaged)?;
    if id.value != APPLICATION_ID {
        return Err(OpenError::Foreign { path: path.into() });
    }
    let applied = connection.applied_migrations().map_err(|error| self::failed(path, &error))?;
    let known = MigrationSource::<Sqlite>::migrations(&MIGRATIONS).map_err(|error| unusable(path, &error))?;
    let is_known = |version: &MigrationVersion<'_>| known.iter().any(|known| known.name().version() == *version);
    match applied.iter().find(|version| !is_known(version)) {
        Some(migration) => Err(OpenError::Newer {
            path: path.into(),
            migration: migration.to_string(),
        }),
        None => Ok(true),
    }
}

fn quick_check(connection: &mut SqliteConnection, path: &Path) -> Result<(), OpenError> {
    let found: Vec<TextRow> = diesel::sql_query("SELECT quick_check AS value FROM pragma_quick_check LIMIT 1")
        .load(connection)
        .map_err(|error| failed(path, &error))?;
    match found.first() {
        Some(row) if row.value == "ok" => Ok(()),
        Some(row) => Err(damaged(path, &row.value)),
        None => Err(damaged(path, &"the check of the file told nothing")),
    }
}
