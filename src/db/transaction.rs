//! Transactions, and one query expression for both drivers.

use std::time::Duration;

use sqlx::{Sqlite, Transaction};

use super::Db;
use super::pg_tx::{ANSWER_TIMEOUT, LONG_ANSWER_TIMEOUT, PgTx};

const READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// A transaction; rolled back unless [saved](Tx::save).
#[derive(Debug)]
pub enum Tx {
    /// On PostgreSQL.
    Postgres(PgTx),
    /// On SQLite.
    Sqlite(Transaction<'static, Sqlite>),
}

/// Runs one query expression on whichever database the transaction is of.
///
/// The compiler checks the expression once per driver, so it has no generics and native types.
/// PostgreSQL has a deadline for it (see [`PgTx`]).
macro_rules! on {
    ($tx:expr, $conn:ident => $query:expr) => {
        match $tx {
            $crate::db::Tx::Postgres(tx) => {
                let patience = tx.patience();
                let answer = {
                    let $conn = &mut **tx;
                    ::tokio::time::timeout(patience, async { $query }).await
                };
                tx.heard(answer)
            }
            $crate::db::Tx::Sqlite(tx) => {
                let $conn = &mut **tx;
                $query
            }
        }
    };
}
pub(crate) use on;

impl Db {
    /// A transaction that only reads, and sees one moment of the data. PostgreSQL refuses writes in it; on SQLite the connection does.
    pub async fn read(&self) -> sqlx::Result<Tx> {
        self.read_within(ANSWER_TIMEOUT).await
    }

    /// The same for statements that go over many rows.
    pub(crate) async fn read_at_length(&self) -> sqlx::Result<Tx> {
        self.read_within(LONG_ANSWER_TIMEOUT).await
    }

    /// A transaction that writes. On SQLite it takes the write lock at once, so it cannot fail
    /// half-way for having read first.
    pub async fn write(&self) -> sqlx::Result<Tx> {
        self.write_within(ANSWER_TIMEOUT).await
    }

    /// The same for statements that go over many rows.
    pub(crate) async fn write_at_length(&self) -> sqlx::Result<Tx> {
        self.write_within(LONG_ANSWER_TIMEOUT).await
    }

    async fn read_within(&self, patience: Duration) -> sqlx::Result<Tx> {
        match self {
            Self::Postgres(pool) => PgTx::begin(pool, READ, patience).await.map(Tx::Postgres),
            Self::Sqlite { readers, .. } => Ok(Tx::Sqlite(readers.begin_with("BEGIN").await?)),
        }
    }

    async fn write_within(&self, patience: Duration) -> sqlx::Result<Tx> {
        match self {
            Self::Postgres(pool) => PgTx::begin(pool, "BEGIN", patience).await.map(Tx::Postgres),
            Self::Sqlite { writer, .. } => {
                Ok(Tx::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?))
            }
        }
    }
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
