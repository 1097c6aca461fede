//! A lock that a test holds on the database of a process, to stop it at an exact place.

use marketplace_sync::db::Db;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{
    AssertSqlSafe, Connection, Executor, Postgres, SqliteConnection, Transaction, query,
    query_scalar,
};
use std::str::FromStr;
use std::time::Duration;
use uuid::Uuid;

use super::database::TestDatabase;

/// Nobody writes to a table of PostgreSQL, or to anything in SQLite, until it is released.
pub(crate) enum Lock {
    Postgres(Transaction<'static, Postgres>),
    Sqlite(SqliteConnection),
}

impl Lock {
    /// Waits for its turn. On PostgreSQL nobody else reads the table either.
    pub(crate) async fn take(database: &TestDatabase, db: &Db, table: &str) -> Self {
        match db {
            Db::Postgres(pool) => {
                let mut tx = pool.begin_with("BEGIN").await.unwrap();
                let lock = format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
                // It is held for as long as a test needs.
                tx.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
                    .await
                    .unwrap();
                tx.execute(AssertSqlSafe(lock)).await.unwrap();
                Self::Postgres(tx)
            }
            Db::Sqlite { .. } => {
                // SQLite waits longer from look to look; this must not miss a gap.
                let options = SqliteConnectOptions::from_str(database.url())
                    .unwrap()
                    .busy_timeout(Duration::ZERO);
                let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
                while connection.execute("BEGIN IMMEDIATE").await.is_err() {
                    tokio::task::yield_now().await;
                }
                Self::Sqlite(connection)
            }
        }
    }

    /// Of one event, on PostgreSQL.
    pub(crate) async fn take_event(db: &Db, event: Uuid) -> Self {
        let Db::Postgres(pool) = db else {
            panic!("SQLite locks no rows");
        };
        let mut tx = pool.begin_with("BEGIN").await.unwrap();
        query("SELECT 1 FROM callback_outbox WHERE id = $1 FOR UPDATE")
            .bind(event)
            .execute(&mut *tx)
            .await
            .unwrap();
        Self::Postgres(tx)
    }

    /// How many a statement counts, as they stand under the lock.
    pub(crate) async fn count(&mut self, sql: &'static str) -> i64 {
        match self {
            Self::Postgres(tx) => query_scalar(sql).fetch_one(&mut **tx).await.unwrap(),
            Self::Sqlite(connection) => query_scalar(sql).fetch_one(connection).await.unwrap(),
        }
    }

    /// Everything goes on.
    pub(crate) async fn release(self) {
        match self {
            Self::Postgres(tx) => tx.rollback().await.unwrap(),
            Self::Sqlite(mut connection) => {
                connection.execute("ROLLBACK").await.unwrap();
                connection.close().await.unwrap();
            }
        }
    }
}
