//! Opens the database.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, PgConnection, PgPool, SqlitePool};
use tokio::time::timeout;

use super::{DbError, on, sql};

/// How long a request waits for a free connection before it is told that the database is busy.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it is asked once more why there is no connection.
const REASON_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a connection of the pool may take to show that it works before another one is opened.
const TEST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long SQLite waits for another process's write transaction; less than
/// [`ACQUIRE_TIMEOUT`], so that a file that is locked at start is called locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(4);
/// What is left of the write-ahead log after a checkpoint.
const JOURNAL_BYTES: &str = "67108864";

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
            // Nothing here is meant to take long: a stuck statement must not hold a connection, nor
            // a client that is gone unheard its locks, nor its connection one of the server.
            .options([
                ("statement_timeout", "30s"),
                ("idle_in_transaction_session_timeout", "10s"),
                ("tcp_keepalives_idle", "30"),
                ("tcp_keepalives_interval", "5"),
                ("tcp_keepalives_count", "3"),
                ("jit", "off"),
            ]);
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // The pool's own test waits until the acquisition fails.
            .test_before_acquire(false)
            .before_acquire(|connection, _| {
                Box::pin(async {
                    let answer = timeout(TEST_TIMEOUT, connection.ping()).await;
                    Ok(matches!(answer, Ok(Ok(()))))
                })
            })
            .connect_with(options.clone())
            .await;
        match pool {
            Ok(pool) => Ok(Self::Postgres(pool)),
            // The pool has tried again and again, and does not tell why in vain.
            Err(sqlx::Error::PoolTimedOut) => {
                let connecting = PgConnection::connect_with(&options);
                let reason = timeout(REASON_TIMEOUT, connecting).await;
                let reason = reason.ok().and_then(Result::err);
                Err(reason.unwrap_or(sqlx::Error::PoolTimedOut).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn open_sqlite(url: &str) -> Result<Self, DbError> {
        let options = SqliteConnectOptions::from_str(url)
            .map_err(|error| DbError::Address(error.to_string()))?
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            // After a burst the log is cut again; else it keeps the size it once had.
            .pragma("journal_size_limit", JOURNAL_BYTES)
            .busy_timeout(BUSY_TIMEOUT);
        let file: PathBuf = options.get_filename().to_path_buf();
        if let Some(folder) = file
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            std::fs::create_dir_all(folder).map_err(|error| no_folder(folder, &error))?;
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

    /// How many connections are open, and how many of them are idle.
    pub fn connections(&self) -> (u32, usize) {
        match self {
            Self::Postgres(pool) => (pool.size(), pool.num_idle()),
            Self::Sqlite { writer, readers } => (
                writer.size() + readers.size(),
                writer.num_idle() + readers.num_idle(),
            ),
        }
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

fn no_folder(folder: &Path, error: &io::Error) -> DbError {
    let text = format!("{}: {error}", folder.display());
    match error.kind() {
        io::ErrorKind::StorageFull => DbError::Full(text),
        _ => DbError::Refused(text),
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
