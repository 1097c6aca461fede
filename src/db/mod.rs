//! The database: one pool a process, two dialects, one SQL text.
//!
//! [`Db`] is PostgreSQL or SQLite; everything runs in a [`Tx`] named for its intent
//! ([`Db::read`], [`Db::write`]) and ended by [`Tx::save`]; a `Tx` that is dropped is rolled
//! back. Never hold one across an HTTP call. [`on!`] runs one query expression on either
//! driver; [`sql!`] marks a literal, so that one test can prepare every statement on both
//! schemas; where the dialects really differ, [`Tx::pick`] shows it at the place.
//!
//! | Rust | PostgreSQL | SQLite (STRICT) |
//! |---|---|---|
//! | `Uuid` and its newtypes | UUID | BLOB |
//! | `DateTime<Utc>`, whole milliseconds | TIMESTAMPTZ | TEXT, RFC 3339 (never `datetime('now')`) |
//! | JSON | JSONB | TEXT |
//! | enums | TEXT with CHECK | TEXT with CHECK |
//! | `bool` | BOOLEAN | INTEGER |
//! | money: minor units + currency | BIGINT + TEXT | INTEGER + TEXT |
//!
//! SQLite has one writing connection and several reading ones (WAL), so writers of one process
//! queue in the pool instead of meeting `SQLITE_BUSY`; writers of other processes are waited for
//! (busy time-out).

mod schema;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, PgPool, Postgres, Sqlite, SqlitePool, Transaction};
use tokio::time::sleep;

/// How long a request waits for a free connection before it is told that the database is busy.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long SQLite waits for another process's write transaction; less than
/// [`ACQUIRE_TIMEOUT`], so that a file that is locked at start is called locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(4);

/// What can go wrong with the database as a whole, in words for the person who starts the service.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The address cannot be understood.
    #[error("`DATABASE_URL` is not a PostgreSQL or SQLite address: {0}")]
    Address(String),
    /// A newer release has migrated this database.
    #[error(
        "the database has migration {0}, which this release does not know: \
         start the release that made it, or a newer one"
    )]
    NewerThanBinary(i64),
    /// Nobody can write to it.
    #[error("the database is read-only: {0}")]
    ReadOnly(String),
    /// Another process holds it.
    #[error("the database is locked by another process: {0}")]
    Locked(String),
    /// There is no room left.
    #[error("the disk of the database is full: {0}")]
    Full(String),
    /// It does not answer, or not usefully.
    #[error("the database is unreachable: {0}")]
    Unreachable(String),
    /// A migration failed.
    #[error("the database cannot be migrated: {0}")]
    Migration(String),
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        let code = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code)
            .unwrap_or_default()
            .into_owned();
        // SQLite: primary result code in the low byte. PostgreSQL: SQLSTATE.
        let sqlite = code.parse::<i32>().map_or(0, |code| code & 0xff);
        match (sqlite, code.as_str()) {
            (5 | 6, _) | (_, "55P03") => Self::Locked(text),
            (8, _) | (_, "25006") => Self::ReadOnly(text),
            (13, _) | (_, "53100") => Self::Full(text),
            _ => Self::Unreachable(text),
        }
    }
}

/// The database of this process.
#[derive(Clone, Debug)]
pub enum Db {
    /// The server profile.
    Postgres(PgPool),
    /// The embedded profile.
    Sqlite {
        /// The one connection that writes; apalis-sqlite shares it.
        writer: SqlitePool,
        /// The connections that read.
        readers: SqlitePool,
    },
}

/// Which SQL a database speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL 15 or newer.
    Postgres,
    /// The SQLite that is compiled in.
    Sqlite,
}

/// A transaction; rolled back unless [saved](Tx::save).
#[derive(Debug)]
pub enum Tx {
    /// On PostgreSQL.
    Postgres(Transaction<'static, Postgres>),
    /// On SQLite.
    Sqlite(Transaction<'static, Sqlite>),
}

/// Runs one query expression on whichever database the transaction is of.
///
/// The compiler checks the expression once per driver, so it has no generics and native types.
macro_rules! on {
    ($tx:expr, $conn:ident => $query:expr) => {
        match $tx {
            $crate::db::Tx::Postgres(tx) => {
                let $conn = &mut **tx;
                $query
            }
            $crate::db::Tx::Sqlite(tx) => {
                let $conn = &mut **tx;
                $query
            }
        }
    };
}
pub(crate) use on;

/// A statement that the suite prepares on the migrated schemas.
#[derive(Debug)]
pub struct Statement {
    /// The literal.
    pub text: &'static str,
    /// Where it stands.
    pub file: &'static str,
    /// Its line there.
    pub line: u32,
    /// The only dialect it is for; none when it is for both.
    pub only: Option<Dialect>,
}

inventory::collect!(Statement);

impl Statement {
    /// Every statement of the program.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        inventory::iter::<Self>.into_iter()
    }
}

/// Marks a literal as SQL of both dialects, or of one (`sql!(postgres: "…")`).
macro_rules! sql {
    (@register $text:expr, $only:expr) => {{
        inventory::submit! {
            $crate::db::Statement { text: $text, file: file!(), line: line!(), only: $only }
        }
        $text
    }};
    (postgres: $text:expr) => { $crate::db::sql!(@register $text, Some($crate::db::Dialect::Postgres)) };
    (sqlite: $text:expr) => { $crate::db::sql!(@register $text, Some($crate::db::Dialect::Sqlite)) };
    ($text:expr) => { $crate::db::sql!(@register $text, None) };
}
pub(crate) use sql;

impl Db {
    /// Opens the database at `url`; creates the SQLite file and its folder when they are missing.
    pub async fn connect(url: &str, max_connections: u32) -> Result<Self, DbError> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Self::connect_postgres(url, max_connections).await
        } else if url.starts_with("sqlite:") {
            Self::open_sqlite(url).await
        } else {
            let scheme = url.split(':').next().unwrap_or_default();
            Err(DbError::Address(format!("unknown scheme `{scheme}`")))
        }
    }

    async fn connect_postgres(url: &str, max_connections: u32) -> Result<Self, DbError> {
        let options = PgConnectOptions::from_str(&without_schema_parameter(url))
            .map_err(|error| DbError::Address(error.to_string()))?
            .application_name("marketplace-sync")
            // Nothing here is meant to take long: a stuck statement must not hold a connection.
            .options([
                ("statement_timeout", "30s"),
                ("idle_in_transaction_session_timeout", "60s"),
                ("jit", "off"),
            ]);
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options)
            .await?;
        Ok(Self::Postgres(pool))
    }

    async fn open_sqlite(url: &str) -> Result<Self, DbError> {
        let options = SqliteConnectOptions::from_str(url)
            .map_err(|error| DbError::Address(error.to_string()))?
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT);
        let file: PathBuf = options.get_filename().to_path_buf();
        if let Some(folder) = file
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            std::fs::create_dir_all(folder)
                .map_err(|error| DbError::Unreachable(format!("{}: {error}", folder.display())))?;
        }
        let writer = sqlite_pool()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options.clone())
            .await?;
        let readers = sqlite_pool()
            .max_connections(4)
            .connect_with(options.read_only(true).create_if_missing(false))
            .await?;
        Ok(Self::Sqlite { writer, readers })
    }

    /// Brings the schema up to date; safe when several processes do it at once.
    pub async fn migrate(&self) -> Result<(), DbError> {
        match self {
            Self::Postgres(pool) => sqlx::migrate!("./migrations/postgres").run(pool).await,
            Self::Sqlite { writer, .. } => {
                let migrator = sqlx::migrate!("./migrations/sqlite");
                // SQLite has no advisory lock: whoever loses a race finds that step done. There is
                // one race for each migration, and one for the table that lists them.
                let mut races = migrator.iter().count() + 1;
                loop {
                    match migrator.run(writer).await {
                        Err(MigrateError::Execute(_) | MigrateError::ExecuteMigration(..))
                            if races > 0 =>
                        {
                            races -= 1;
                            sleep(Duration::from_millis(20)).await;
                        }
                        outcome => break outcome,
                    }
                }
            }
        }
        .map_err(|error| match error {
            MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _) => {
                DbError::NewerThanBinary(version)
            }
            MigrateError::Execute(error) => error.into(),
            MigrateError::ExecuteMigration(error, version) => match DbError::from(error) {
                DbError::Unreachable(text) => {
                    DbError::Migration(format!("migration {version}: {text}"))
                }
                known => known,
            },
            other => DbError::Migration(other.to_string()),
        })
    }

    /// A transaction that only reads, and sees one moment of the data. PostgreSQL refuses writes in it; on SQLite the connection does.
    pub async fn read(&self) -> sqlx::Result<Tx> {
        match self {
            Self::Postgres(pool) => {
                begin(pool, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
            }
            Self::Sqlite { readers, .. } => Ok(Tx::Sqlite(readers.begin_with("BEGIN").await?)),
        }
    }

    /// A transaction that writes. On SQLite it takes the write lock at once, so it cannot fail
    /// half-way for having read first.
    pub async fn write(&self) -> sqlx::Result<Tx> {
        match self {
            Self::Postgres(pool) => begin(pool, "BEGIN").await,
            Self::Sqlite { writer, .. } => {
                Ok(Tx::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?))
            }
        }
    }

    /// Which SQL it speaks.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Postgres(_) => Dialect::Postgres,
            Self::Sqlite { .. } => Dialect::Sqlite,
        }
    }

    /// Whether it answers.
    pub async fn ping(&self) -> sqlx::Result<()> {
        let mut tx = self.read().await?;
        on!(&mut tx, conn => sqlx::query(sql!("SELECT 1")).execute(conn).await.map(|_| ()))
    }

    /// Closes the pool; waits for connections in use.
    pub async fn close(&self) {
        match self {
            Self::Postgres(pool) => pool.close().await,
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
        }
    }
}

/// When the disk is full, SQLite rolls a transaction back by itself. sqlx does not notice and
/// would begin no other on that connection, ever; such a connection is replaced.
fn sqlite_pool() -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .before_acquire(|connection, _| {
            let is_usable = !connection.is_in_transaction();
            Box::pin(async move { Ok(is_usable) })
        })
}

impl Tx {
    /// Commits.
    pub async fn save(self) -> sqlx::Result<()> {
        match self {
            Self::Postgres(tx) => tx.commit().await,
            Self::Sqlite(tx) => tx.commit().await,
        }
    }

    /// The text for this database, where the two dialects differ.
    pub fn pick(&self, postgres: &'static str, sqlite: &'static str) -> &'static str {
        match self {
            Self::Postgres(_) => postgres,
            Self::Sqlite(_) => sqlite,
        }
    }
}

/// How often a transaction is tried again that failed for a moment's reason.
const TRIES: u32 = 4;

/// Runs a transaction, and again when it failed for a reason that passes: no free connection, a
/// deadlock, a connection that broke. For steps whose input must not be lost; they must be safe
/// to run twice, because a broken connection does not tell whether it had committed.
pub(crate) async fn persist<T, E, F>(mut step: impl FnMut() -> F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
    E: AsTransient,
{
    let mut pause = Duration::from_millis(50);
    for _ in 1..TRIES {
        match step().await {
            Err(error) if error.is_transient() => sleep(pause).await,
            outcome => return outcome,
        }
        pause *= 4;
    }
    step().await
}

/// Whether an error may be gone in a moment.
pub(crate) trait AsTransient {
    /// True if it may.
    fn is_transient(&self) -> bool;
}

impl AsTransient for sqlx::Error {
    fn is_transient(&self) -> bool {
        match self {
            Self::PoolTimedOut | Self::Io(_) | Self::WorkerCrashed => true,
            // Deadlock, serialization failure, server shutting down or starting; SQLite busy.
            Self::Database(error) => error.code().is_some_and(|code| {
                matches!(
                    code.as_ref(),
                    "40P01" | "40001" | "57P01" | "57P02" | "57P03" | "5" | "517"
                )
            }),
            _ => false,
        }
    }
}

/// Begins in a task of its own: a caller that goes away half-way would leave a connection in
/// the pool that is in a transaction and does not know it.
async fn begin(pool: &PgPool, statement: &'static str) -> sqlx::Result<Tx> {
    let pool = pool.clone();
    let begun = tokio::spawn(async move { pool.begin_with(statement).await });
    begun
        .await
        .map_err(|_| sqlx::Error::WorkerCrashed)?
        .map(Tx::Postgres)
}

/// Prisma-style addresses carry `?schema=public`, which PostgreSQL itself does not know.
fn without_schema_parameter(url: &str) -> String {
    let Some((address, query)) = url.split_once('?') else {
        return url.to_owned();
    };
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| !pair.starts_with("schema="))
        .collect();
    if kept.is_empty() {
        return address.to_owned();
    }
    format!("{address}?{}", kept.join("&"))
}

/// An instant inside a JSON argument of a statement: the form sqlx binds on SQLite, which
/// PostgreSQL reads as well.
pub(crate) mod json_instant {
    use chrono::{DateTime, SecondsFormat, Utc};
    use serde::Serializer;

    /// For `#[serde(serialize_with)]`.
    #[expect(
        clippy::ref_option,
        reason = "serde hands over a reference to the field"
    )]
    pub(crate) fn option<S: Serializer>(
        instant: &Option<DateTime<Utc>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match instant {
            Some(instant) => {
                serializer.serialize_some(&instant.to_rfc3339_opts(SecondsFormat::AutoSi, false))
            }
            None => serializer.serialize_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_parameter_is_dropped_and_others_are_kept() {
        assert_eq!(
            without_schema_parameter("postgres://h/d?schema=public"),
            "postgres://h/d"
        );
        assert_eq!(
            without_schema_parameter("postgres://h/d?schema=x&sslmode=require"),
            "postgres://h/d?sslmode=require"
        );
        assert_eq!(without_schema_parameter("postgres://h/d"), "postgres://h/d");
    }
}
