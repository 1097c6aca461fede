//! How a worker takes jobs from SQLite: the statements of apalis-sqlite in fewer steps.
//!
//! apalis-sqlite wraps every fetch and acknowledgement in a transaction of its own, which
//! triples the round trips to the one writing connection, and locks a fetched job in a second
//! step, which scans all jobs that wait. Here each is one statement; a job counts as running
//! from its fetch on (a trigger, see `migrate.rs`), because it is started at once: a fetch
//! takes no more than there are free places.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use apalis_core::{
    backend::{
        WorkerFilter,
        persistence::{Persistence, TaskEvent},
    },
    task::Task,
    worker::context::WorkerContext,
};
use apalis_sqlite::{Config, queries};
use serde_json::Value;
use sqlx::SqlitePool;
use tokio::sync::Semaphore;

use super::{QueueError, transport::MOST_FETCHED};

/// The storage of one start of a worker.
#[derive(Debug, Clone)]
pub(crate) struct SqliteStorage {
    pub(crate) pool: SqlitePool,
    pub(crate) config: Config,
    /// The places of the worker. One of them is held by whoever asks for a job.
    pub(crate) places: Arc<Semaphore>,
    /// How many fetched jobs were not given out yet.
    pub(crate) buffered: Arc<AtomicUsize>,
}

impl Persistence for SqliteStorage {
    type Compact = Vec<u8>;
    type Response = Value;
    type Error = QueueError;

    async fn register(&mut self, worker: &WorkerContext) -> Result<(), QueueError> {
        Ok(queries::register_worker(&self.pool, &self.config, worker, "SqliteStorage").await?)
    }

    async fn heartbeat(&mut self, worker: &WorkerContext) -> Result<(), QueueError> {
        queries::keep_alive(&self.pool, &self.config, worker).await?;
        let dead_after = i64::try_from(self.config.orphaned_duration().as_secs());
        let others = WorkerFilter::AllExcept(worker.name().to_owned());
        let queue = self.config.queue.as_ref();
        let dead_after = dead_after.unwrap_or(i64::MAX);
        queries::reenqueue_orphaned(&self.pool, dead_after, queue, &others).await?;
        Ok(())
    }

    async fn fetch_next(
        &mut self,
        worker: &WorkerContext,
    ) -> Result<Vec<Task<Vec<u8>>>, QueueError> {
        let free = self.places.available_permits() + 1;
        let config = self.config.clone().batch_size(free.min(MOST_FETCHED));
        let tasks = queries::fetch_next(&self.pool, &config, worker).await?;
        self.buffered.store(tasks.len(), Ordering::Release);
        Ok(tasks)
    }

    async fn handle_events(
        &mut self,
        events: Vec<TaskEvent<Value>>,
        worker: &WorkerContext,
    ) -> Result<(), QueueError> {
        let ended: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                TaskEvent::Complete(result) => Some(result),
                _ => None,
            })
            .collect();
        if !ended.is_empty() {
            queries::ack_tasks(&self.pool, &ended, worker.name()).await?;
        }
        Ok(())
    }

    async fn reenqueue_abandoned(
        &mut self,
        tasks: Vec<Task<Vec<u8>>>,
        worker: &WorkerContext,
    ) -> Result<u64, QueueError> {
        let ids = tasks
            .iter()
            .filter_map(|task| task.task_id().map(ToString::to_string))
            .collect();
        let queue = self.config.queue.as_ref();
        Ok(queries::reenqueue_abandoned(&self.pool, queue, worker.name(), &ids).await?)
    }

    async fn push_tasks(&mut self, tasks: Vec<Task<Vec<u8>>>) -> Result<(), QueueError> {
        let mut connection = self.pool.acquire().await?;
        Ok(queries::push_tasks(&mut *connection, self.config.queue.as_ref(), &tasks).await?)
    }
}
