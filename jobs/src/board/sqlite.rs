//! The board's questions, asked of the tables that apalis-sqlite writes.

use apalis_core::{backend::RunningWorker, task::status::Status};
use sqlx::{FromRow, SqlitePool, query_as};

use super::{
    numbers::Counts,
    task::StoredTask,
    view::{BoardError, TaskFilter, WORKER_SEEN_SECONDS},
};

const MAX_WORKERS: i64 = 100;

pub(super) async fn counts(pool: &SqlitePool, queue: &str) -> Result<Counts, BoardError> {
    // Answered by the index on (job_type, status, run_at) alone.
    let rows: Vec<(String, i64)> = query_as(
        "SELECT status, COUNT(*)
         FROM Jobs
         WHERE job_type = $1
         GROUP BY status",
    )
    .bind(queue)
    .fetch_all(pool)
    .await?;
    let mut counts = Counts::default();
    for (status, count) in rows {
        let status: Status = status.parse().unwrap_or_default();
        counts[&status] += u64::try_from(count).unwrap_or_default();
    }
    Ok(counts)
}

pub(super) async fn tasks(
    pool: &SqlitePool,
    queues: &[String],
    filter: &TaskFilter,
) -> Result<Vec<StoredTask>, BoardError> {
    // Waiting jobs by their turn, the rest with the latest first (ids begin with a time).
    let rows: Vec<Row> = query_as(
        "SELECT id, job_type, job, status, attempts, max_attempts, run_at, lock_at, lock_by,
                done_at, idempotency_key, last_result
         FROM Jobs
         WHERE job_type IN (SELECT value FROM json_each($1))
           AND ($2 IS NULL OR status = $2)
         ORDER BY status = 'Pending' DESC,
                  CASE WHEN status = 'Pending' THEN run_at END,
                  CASE WHEN status = 'Pending' THEN id END,
                  id DESC
         LIMIT $3 OFFSET $4",
    )
    .bind(serde_json::to_string(queues)?)
    .bind(filter.status.as_ref().map(ToString::to_string))
    .bind(filter.limit)
    .bind(filter.offset)
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(StoredTask::from).collect())
}

pub(super) async fn task(
    pool: &SqlitePool,
    queue: &str,
    id: &str,
) -> Result<Option<StoredTask>, BoardError> {
    let row: Option<Row> = query_as(
        "SELECT id, job_type, job, status, attempts, max_attempts, run_at, lock_at, lock_by,
                done_at, idempotency_key, last_result
         FROM Jobs
         WHERE id = $1
           AND job_type = $2",
    )
    .bind(id)
    .bind(queue)
    .fetch_optional(pool)
    .await?;
    Ok(row.map(StoredTask::from))
}

/// Workers whose heartbeat is recent; the table keeps a row of every process that ever ran.
pub(super) async fn workers(
    pool: &SqlitePool,
    queue: &str,
) -> Result<Vec<RunningWorker>, BoardError> {
    let rows: Vec<(String, String, String, i64, Option<i64>)> = query_as(
        "SELECT id, storage_name, COALESCE(layers, ''), last_seen, started_at
         FROM Workers
         WHERE worker_type = $1
           AND last_seen >= CAST(strftime('%s', 'now') AS INTEGER) - $2
         ORDER BY last_seen DESC, id
         LIMIT $3",
    )
    .bind(queue)
    .bind(i64::try_from(WORKER_SEEN_SECONDS).unwrap_or(i64::MAX))
    .bind(MAX_WORKERS)
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(id, backend, layers, last_seen, started_at)| RunningWorker {
            id,
            queue: queue.to_owned(),
            backend,
            started_at: unsigned(started_at).unwrap_or_default(),
            last_heartbeat: unsigned(Some(last_seen)).unwrap_or_default(),
            layers,
        })
        .collect())
}

#[derive(FromRow)]
struct Row {
    id: String,
    job_type: String,
    job: Vec<u8>,
    status: String,
    attempts: i64,
    max_attempts: i64,
    run_at: i64,
    lock_at: Option<i64>,
    lock_by: Option<String>,
    done_at: Option<i64>,
    idempotency_key: Option<String>,
    last_result: Option<String>,
}

impl From<Row> for StoredTask {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            queue: row.job_type,
            status: row.status.parse().unwrap_or_default(),
            arguments: row.job,
            attempt: unsigned(Some(row.attempts)).unwrap_or_default(),
            max_attempts: unsigned(Some(row.max_attempts)).unwrap_or_default(),
            run_at: unsigned(Some(row.run_at)),
            lock_at: unsigned(row.lock_at),
            lock_by: row.lock_by,
            done_at: unsigned(row.done_at),
            idempotency_key: row.idempotency_key,
            last_result: row.last_result,
        }
    }
}

/// SQLite has signed integers only; none of these is negative.
fn unsigned(value: Option<i64>) -> Option<u64> {
    value.and_then(|value| u64::try_from(value).ok())
}
