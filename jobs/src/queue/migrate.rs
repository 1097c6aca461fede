//! The tables of the embedded profile: those of apalis-sqlite, and our two beside them.

use apalis_sqlite::SqliteStorage;
use sqlx::{SqliteConnection, SqlitePool, query, query_scalar};

use super::{QueueError, transport::fresh_id};

/// Makes the tables, once for all processes that try: the lock is taken first, because
/// the migrator of sqlx takes none on SQLite.
pub(crate) async fn migrate(pool: &SqlitePool) -> Result<(), QueueError> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    if !table_exists(&mut tx, "Jobs").await? {
        // Somebody dropped the jobs, which is allowed; then nothing of them may remain.
        for table in ["_apalis_migrations", "Workers", "job_queue_epoch"] {
            query(sqlx::AssertSqlSafe(format!("DROP TABLE IF EXISTS {table}")))
                .execute(&mut *tx)
                .await?;
        }
    }
    let mut migrator = SqliteStorage::migrations();
    migrator.dangerous_set_table_name("_apalis_migrations");
    migrator.run_direct(None, &mut *tx, false).await?;
    // It makes the planner acknowledge by scanning all rows with the same `lock_by`.
    query("DROP INDEX IF EXISTS LIdx").execute(&mut *tx).await?;
    query(
        "CREATE TABLE IF NOT EXISTS job_queue_epoch (
             id INTEGER PRIMARY KEY CHECK (id = 1),
             epoch BLOB NOT NULL
         ) STRICT",
    )
    .execute(&mut *tx)
    .await?;
    query(
        "CREATE TABLE IF NOT EXISTS job_queue_totals (
             queue TEXT NOT NULL,
             status TEXT NOT NULL,
             removed INTEGER NOT NULL,
             PRIMARY KEY (queue, status)
         ) STRICT",
    )
    .execute(&mut *tx)
    .await?;
    // A fetched job starts at once; without this the board would show it as queued.
    query(
        "CREATE TRIGGER IF NOT EXISTS job_queue_taken AFTER UPDATE OF status ON Jobs
         WHEN NEW.status = 'Queued'
         BEGIN
             UPDATE Jobs SET status = 'Running' WHERE id = NEW.id;
         END",
    )
    .execute(&mut *tx)
    .await?;
    query("INSERT INTO job_queue_epoch (id, epoch) VALUES (1, $1) ON CONFLICT DO NOTHING")
        .bind(fresh_id())
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}

async fn table_exists(conn: &mut SqliteConnection, table: &str) -> Result<bool, QueueError> {
    Ok(query_scalar(
        "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = $1)",
    )
    .bind(table)
    .fetch_one(conn)
    .await?)
}
