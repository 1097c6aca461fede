//! Transactions, and one query expression for both drivers.

use sqlx::{PgPool, Postgres, Sqlite, Transaction};

use super::Db;

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

impl Db {
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
