//! Brings the schema up to date.

use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::{Connection, PgPool, query};
use tokio::time::sleep;

use super::{Db, DbError};

impl Db {
    /// Brings the schema up to date; safe when several processes do it at once.
    pub async fn migrate(&self) -> Result<(), DbError> {
        match self {
            Self::Postgres(pool) => migrate_postgres(pool).await,
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
                DbError::Refused(text) => {
                    DbError::Migration(format!("migration {version}: {text}"))
                }
                known => known,
            },
            other => DbError::Migration(other.to_string()),
        })
    }
}

/// On a connection of its own without the time limit of statements: a migration may take long,
/// and so may waiting for the replica that makes it.
async fn migrate_postgres(pool: &PgPool) -> Result<(), MigrateError> {
    let mut connection = pool.acquire().await?.detach();
    query("SET statement_timeout = 0")
        .execute(&mut connection)
        .await?;
    let outcome = sqlx::migrate!("./migrations/postgres")
        .run(&mut connection)
        .await;
    connection.close().await?;
    outcome
}
