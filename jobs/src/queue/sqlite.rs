//! The transport of the embedded profile: apalis-sqlite in the service's own file.
//!
//! The pool is the caller's pool of one writing connection, so nothing here may keep the
//! connection across an await of anything else. Beside the tables of apalis (`Jobs`,
//! `Workers`) stand `job_queue_epoch` and `job_queue_totals`.

use std::sync::{Arc, atomic::AtomicUsize};

use apalis_sqlite::Config;
use chrono::{DateTime, Utc};
use sqlx::{SqlitePool, query, query_scalar};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{
    QueueError, QueueOptions,
    migrate::migrate,
    sqlite_storage::SqliteStorage,
    transport::{Payload, Taken},
};

/// How many finished jobs one purge step removes, and how many steps one purge makes at most for
/// jobs of a queue that ended alike: more than can end in the minute until the next.
const PURGE_STEP: i64 = 500;
const PURGE_STEPS: u64 = 400;

/// The writing pool and the prefix of this installation.
#[derive(Debug)]
pub(crate) struct SqliteTransport {
    pool: SqlitePool,
    options: QueueOptions,
}

impl SqliteTransport {
    pub(crate) async fn open(pool: &SqlitePool, options: QueueOptions) -> Result<Self, QueueError> {
        let transport = Self {
            pool: pool.clone(),
            options,
        };
        migrate(&transport.pool).await?;
        Ok(transport)
    }

    /// The pool of the writing connection.
    pub(crate) fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// The value of `job_type` of a queue named without prefix.
    pub(crate) fn job_type(&self, queue: &str) -> String {
        self.options.prefixed(queue)
    }

    pub(crate) fn storage(
        &self,
        queue: &str,
        places: Arc<Semaphore>,
        buffered: Arc<AtomicUsize>,
    ) -> SqliteStorage {
        let config = Config::default()
            .queue(self.job_type(queue))
            .heartbeat_interval(self.options.heartbeat)
            .missed_heartbeats(self.options.missed_heartbeats());
        SqliteStorage {
            pool: self.pool.clone(),
            config,
            places,
            buffered,
        }
    }

    /// Pushes all or nothing; tells how many wait then, if there was room.
    pub(crate) async fn push(
        &self,
        queue: &str,
        jobs: &[Payload],
    ) -> Result<Option<u64>, QueueError> {
        let rows: Vec<_> = jobs
            .iter()
            .map(|job| {
                let metadata = serde_json::json!({ "identity": job.identity }).to_string();
                serde_json::json!({ "id": job.id, "job": job.body, "metadata": metadata })
            })
            .collect();
        let pushed = query(
            "INSERT INTO Jobs (job, id, job_type, status, attempts, max_attempts, run_at,
                               priority, metadata)
             SELECT CAST(value ->> 'job' AS BLOB), value ->> 'id', $2, 'Pending', 0, 1,
                    strftime('%s', 'now'), 0, value ->> 'metadata'
             FROM json_each($1)
             WHERE json_array_length($1) + (
                 SELECT COUNT(*)
                 FROM Jobs
                 WHERE job_type = $2
                   AND status = 'Pending'
                   AND lock_by IS NULL
             ) <= $3",
        )
        .bind(serde_json::to_string(&rows)?)
        .bind(self.job_type(queue))
        .bind(i64::try_from(self.options.max_depth).unwrap_or(i64::MAX))
        .execute(&self.pool)
        .await?;
        if pushed.rows_affected() < jobs.len() as u64 {
            return Ok(None);
        }
        self.waiting(queue).await.map(Some)
    }

    pub(crate) async fn waiting(&self, queue: &str) -> Result<u64, QueueError> {
        let count: i64 = query_scalar(
            "SELECT COUNT(*)
             FROM Jobs
             WHERE job_type = $1
               AND status = 'Pending'
               AND lock_by IS NULL",
        )
        .bind(self.job_type(queue))
        .fetch_one(&self.pool)
        .await?;
        Ok(count.unsigned_abs())
    }

    pub(crate) async fn has_waiting(&self, queue: &str) -> Result<bool, QueueError> {
        Ok(query_scalar(
            "SELECT EXISTS (
                 SELECT 1
                 FROM Jobs
                 WHERE job_type = $1
                   AND status = 'Pending'
                   AND lock_by IS NULL
             )",
        )
        .bind(self.job_type(queue))
        .fetch_one(&self.pool)
        .await?)
    }

    pub(crate) async fn ping(&self) -> Result<(), QueueError> {
        query("SELECT 1 FROM Jobs LIMIT 1")
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub(crate) async fn epoch(&self) -> Result<Uuid, QueueError> {
        Ok(query_scalar("SELECT epoch FROM job_queue_epoch")
            .fetch_one(&self.pool)
            .await?)
    }

    /// Readies the tables for a worker that is about to start: they may have been dropped
    /// since the last one.
    pub(crate) async fn prepare(&self, _queue: &str, _worker: &str) -> Result<(), QueueError> {
        migrate(&self.pool).await
    }

    /// Hands back what a worker has taken.
    pub(crate) async fn hand_back(
        &self,
        queue: &str,
        worker: &str,
        taken: Taken<'_>,
    ) -> Result<u64, QueueError> {
        let returned = query(
            "UPDATE Jobs
             SET status = 'Pending', lock_by = NULL, lock_at = NULL
             WHERE job_type = $1
               AND status IN ('Queued', 'Running')
               AND lock_by = $2
               AND (id IN (SELECT value FROM json_each($3))) = $4",
        )
        .bind(self.job_type(queue))
        .bind(worker)
        .bind(serde_json::to_string(taken.ids())?)
        .bind(taken.is_only())
        .execute(&self.pool)
        .await?;
        Ok(returned.rows_affected())
    }

    /// Nothing: finished jobs still point at their worker; the purge removes both in time.
    #[expect(
        clippy::unused_async,
        reason = "the other transport has something to do"
    )]
    pub(crate) async fn forget_worker(
        &self,
        _queue: &str,
        _worker: &str,
    ) -> Result<(), QueueError> {
        Ok(())
    }

    pub(crate) async fn purge(
        &self,
        queues: &[&str],
        cutoff: DateTime<Utc>,
    ) -> Result<u64, QueueError> {
        let mut removed = 0;
        for queue in queues {
            let job_type = self.job_type(queue);
            for status in ["Done", "Killed"] {
                let crowded_out = self.crowded_out(&job_type, status).await?;
                let until = cutoff.timestamp().max(crowded_out.unwrap_or(i64::MIN));
                for _ in 0..PURGE_STEPS {
                    let gone = self.purge_step(&job_type, status, until).await?;
                    removed += gone;
                    if gone < PURGE_STEP.unsigned_abs() {
                        break;
                    }
                }
            }
        }
        self.forget_workers(cutoff).await?;
        Ok(removed)
    }

    /// The second in which the newest job ended that is one too many; none when all may stay.
    async fn crowded_out(&self, job_type: &str, status: &str) -> Result<Option<i64>, QueueError> {
        // The list of states lets the planner take the index on those that ended.
        Ok(query_scalar(
            "SELECT done_at
             FROM Jobs
             WHERE status = $1
               AND status IN ('Done', 'Failed', 'Killed')
               AND done_at IS NOT NULL
               AND job_type = $2
             ORDER BY done_at DESC
             LIMIT 1 OFFSET $3",
        )
        .bind(status)
        .bind(job_type)
        .bind(i64::try_from(self.options.max_finished).unwrap_or(i64::MAX))
        .fetch_optional(&self.pool)
        .await?)
    }

    async fn purge_step(
        &self,
        job_type: &str,
        status: &str,
        until: i64,
    ) -> Result<u64, QueueError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let gone = query(
            "DELETE FROM Jobs
             WHERE rowid IN (
                 SELECT rowid
                 FROM Jobs
                 WHERE status = $1
                   AND done_at <= $2
                   AND job_type = $3
                 LIMIT $4
             )",
        )
        .bind(status)
        .bind(until)
        .bind(job_type)
        .bind(PURGE_STEP)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if gone > 0 {
            query(
                "INSERT INTO job_queue_totals (queue, status, removed)
                 VALUES ($1, $2, $3)
                 ON CONFLICT (queue, status) DO UPDATE SET removed = removed + excluded.removed",
            )
            .bind(job_type)
            .bind(status)
            .bind(i64::try_from(gone).unwrap_or(i64::MAX))
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(gone)
    }

    /// Removes workers that are long gone and that no job mentions any more.
    async fn forget_workers(&self, cutoff: DateTime<Utc>) -> Result<(), QueueError> {
        let silence = self.options.orphaned_after() * 2;
        let cutoff = cutoff - chrono::Duration::from_std(silence).unwrap_or_default();
        query(
            "DELETE FROM Workers
             WHERE rowid IN (
                 SELECT rowid
                 FROM Workers
                 WHERE last_seen < $1
                   AND id NOT IN (SELECT lock_by FROM Jobs WHERE lock_by IS NOT NULL)
                 LIMIT 100
             )",
        )
        .bind(cutoff.timestamp())
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
