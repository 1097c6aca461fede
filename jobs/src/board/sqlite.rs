//! The board's questions, asked of the tables that apalis-sqlite writes.

use apalis_core::{backend::RunningWorker, task::status::Status};
use sqlx::{FromRow, query_as};

use super::{
    numbers::{Activity, Counts},
    task::StoredTask,
    view::{BoardError, TaskFilter, WORKER_SEEN_SECONDS},
};
use crate::queue::SqliteTransport;

const MAX_WORKERS: i64 = 100;

/// A failed job is `Killed` in the table, unless somebody else's worker wrote it.
const FAILED: &str = "Killed";

macro_rules! select_tasks {
    ($rest:literal) => {
        concat!(
            "SELECT id, job, status, attempts, max_attempts, run_at, lock_at, lock_by, done_at,
                    idempotency_key, last_result, job_type
             FROM Jobs ",
            $rest
        )
    };
}

pub(super) async fn counts(sqlite: &SqliteTransport, queue: &str) -> Result<Counts, BoardError> {
    // Answered by the index on (job_type, status, run_at) alone, plus a handful of totals.
    let rows: Vec<(String, i64)> = query_as(
        "SELECT status, COUNT(*)
         FROM Jobs
         WHERE job_type = $1
         GROUP BY status
         UNION ALL
         SELECT status, removed
         FROM job_queue_totals
         WHERE queue = $1",
    )
    .bind(sqlite.job_type(queue))
    .fetch_all(sqlite.pool())
    .await?;
    let mut counts = Counts::default();
    for (status, count) in rows {
        counts.add(&shown(&status), u64::try_from(count).unwrap_or_default());
    }
    Ok(counts)
}

/// How many of the existing jobs were due on each of the last days.
pub(super) async fn activity(
    sqlite: &SqliteTransport,
    queue: &str,
) -> Result<Activity, BoardError> {
    let rows: Vec<(i64, i64)> = query_as(
        "SELECT CAST(strftime('%s', 'now') AS INTEGER) / 86400 - run_at / 86400, COUNT(*)
         FROM Jobs
         WHERE job_type = $1
         GROUP BY 1",
    )
    .bind(sqlite.job_type(queue))
    .fetch_all(sqlite.pool())
    .await?;
    let mut activity = Activity::default();
    for (days_ago, count) in rows {
        let count = usize::try_from(count).unwrap_or_default();
        activity.add(unsigned(Some(days_ago)).unwrap_or_default(), count);
    }
    Ok(activity)
}

/// Waiting jobs by their turn, others with the latest first. For a state the order is that
/// of an index.
pub(super) async fn tasks(
    sqlite: &SqliteTransport,
    queues: &[&'static str],
    filter: &TaskFilter,
) -> Result<Vec<StoredTask>, BoardError> {
    let statement = match filter.status {
        None => select_tasks!(
            "WHERE job_type IN (SELECT value FROM json_each($1))
               AND $2 IS NULL
             ORDER BY run_at DESC, id DESC
             LIMIT $3 OFFSET $4"
        ),
        Some(Status::Pending) => select_tasks!(
            "WHERE job_type IN (SELECT value FROM json_each($1))
               AND status = $2
             ORDER BY run_at, id
             LIMIT $3 OFFSET $4"
        ),
        Some(_) => select_tasks!(
            "WHERE job_type IN (SELECT value FROM json_each($1))
               AND status = $2
             ORDER BY run_at DESC, id DESC
             LIMIT $3 OFFSET $4"
        ),
    };
    let status = filter.status.as_ref().map(stored);
    let job_types: Vec<String> = queues.iter().map(|queue| sqlite.job_type(queue)).collect();
    let rows: Vec<Row> = query_as(statement)
        .bind(serde_json::to_string(&job_types)?)
        .bind(status)
        .bind(filter.limit)
        .bind(filter.offset)
        .fetch_all(sqlite.pool())
        .await?;
    let queue_of = |row: &Row| {
        let found = queues
            .iter()
            .zip(&job_types)
            .find(|(_, job_type)| **job_type == row.job_type);
        found.map_or("", |(queue, _)| queue)
    };
    Ok(rows
        .into_iter()
        .map(|row| {
            let queue = queue_of(&row);
            row.of_queue(queue)
        })
        .collect())
}

pub(super) async fn task(
    sqlite: &SqliteTransport,
    queue: &str,
    id: &str,
) -> Result<Option<StoredTask>, BoardError> {
    let row: Option<Row> = query_as(select_tasks!("WHERE id = $1 AND job_type = $2"))
        .bind(id)
        .bind(sqlite.job_type(queue))
        .fetch_optional(sqlite.pool())
        .await?;
    Ok(row.map(|row| row.of_queue(queue)))
}

/// The state as the board shows it.
fn shown(status: &str) -> Status {
    match status.parse() {
        Ok(Status::Killed) => Status::Failed,
        Ok(status) => status,
        Err(_unknown) => Status::default(),
    }
}

/// The state as the table has it; nothing has the one that the board does not show.
fn stored(status: &Status) -> String {
    match status {
        Status::Failed => FAILED.to_owned(),
        Status::Killed => String::new(),
        status => status.to_string(),
    }
}

/// Workers whose heartbeat is recent; the table keeps a row of every process that ever ran.
pub(super) async fn workers(
    sqlite: &SqliteTransport,
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
    .bind(sqlite.job_type(queue))
    .bind(i64::try_from(WORKER_SEEN_SECONDS).unwrap_or(i64::MAX))
    .bind(MAX_WORKERS)
    .fetch_all(sqlite.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(
            |(id, backend, layers, last_seen, started_at)| RunningWorker {
                id,
                queue: queue.to_owned(),
                backend,
                started_at: unsigned(started_at).unwrap_or_default(),
                last_heartbeat: unsigned(Some(last_seen)).unwrap_or_default(),
                layers,
            },
        )
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

impl Row {
    fn of_queue(self, queue: &str) -> StoredTask {
        StoredTask {
            id: self.id,
            queue: queue.to_owned(),
            status: shown(&self.status),
            arguments: self.job,
            attempt: unsigned(Some(self.attempts)).unwrap_or_default(),
            max_attempts: unsigned(Some(self.max_attempts)).unwrap_or_default(),
            run_at: unsigned(Some(self.run_at)),
            lock_at: unsigned(self.lock_at),
            lock_by: self.lock_by,
            done_at: unsigned(self.done_at),
            idempotency_key: self.idempotency_key,
            last_result: self.last_result,
        }
    }
}

/// SQLite has signed integers only; none of these is negative.
fn unsigned(value: Option<i64>) -> Option<u64> {
    value.and_then(|value| u64::try_from(value).ok())
}
