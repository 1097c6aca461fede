//! The questions that the board's page asks, answered over either transport.

use ::redis::{RedisError, aio::ConnectionManager};
use apalis_core::{
    backend::{QueueInfo, RunningWorker, Statistic},
    task::{Task, status::Status},
};
use serde_json::Value;
use sqlx::SqlitePool;

use super::{
    numbers::{Counts, statistics},
    redis, sqlite,
    task::StoredTask,
};

/// A worker is shown while its last heartbeat is at most this old. apalis keeps a row of
/// every process that ever ran; a live one beats every 30 seconds.
pub(super) const WORKER_SEEN_SECONDS: u64 = 120;

/// A read-only view of the queues for the apalis board. Cheap to clone.
#[derive(Clone)]
pub struct Board {
    source: Source,
    queues: Vec<String>,
}

#[derive(Clone)]
enum Source {
    Redis(ConnectionManager),
    Sqlite(SqlitePool),
}

/// Which tasks a list shows: those in one state, or all, in pages.
#[derive(Clone, Debug)]
pub struct TaskFilter {
    /// The state, or all of them.
    pub status: Option<Status>,
    /// How many tasks come before this page.
    pub offset: u32,
    /// How many tasks a page has at most.
    pub limit: u32,
}

/// Why a question could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// The service has no queue of this name.
    #[error("there is no queue named {0:?}")]
    UnknownQueue(String),
    /// Redis did not answer, or not as expected.
    #[error("reading the queues from Redis: {0}")]
    Redis(#[from] RedisError),
    /// SQLite did not answer.
    #[error("reading the queues from SQLite: {0}")]
    Sqlite(#[from] sqlx::Error),
    /// A stored job is not what apalis stores.
    #[error("decoding a stored job: {0}")]
    Task(#[from] serde_json::Error),
}

type Result<T> = std::result::Result<T, BoardError>;

impl Board {
    /// A view of `queues` in Redis.
    pub fn redis(connection: ConnectionManager, queues: Vec<String>) -> Self {
        Self {
            source: Source::Redis(connection),
            queues,
        }
    }

    /// A view of `queues` in SQLite.
    pub fn sqlite(pool: SqlitePool, queues: Vec<String>) -> Self {
        Self {
            source: Source::Sqlite(pool),
            queues,
        }
    }

    /// The statistics of all queues together.
    pub async fn overview(&self) -> Result<Vec<Statistic>> {
        let mut sum = Counts::default();
        for queue in &self.queues {
            sum += self.counts(queue).await?;
        }
        Ok(statistics(&sum))
    }

    /// The statistics of one queue.
    pub async fn statistics(&self, queue: &str) -> Result<Vec<Statistic>> {
        self.counts(self.known(queue)?)
            .await
            .map(|counts| statistics(&counts))
    }

    /// Every queue of the service, also one that never had a job.
    pub async fn queues(&self) -> Result<Vec<QueueInfo>> {
        let mut queues = Vec::with_capacity(self.queues.len());
        for name in &self.queues {
            let workers = self.workers(Some(name)).await?;
            queues.push(QueueInfo {
                name: name.clone(),
                stats: self.statistics(name).await?,
                workers: workers.into_iter().map(|worker| worker.id).collect(),
                activity: Vec::new(),
            });
        }
        Ok(queues)
    }

    /// The workers that were alive a short while ago, of one queue or of all.
    pub async fn workers(&self, queue: Option<&str>) -> Result<Vec<RunningWorker>> {
        let mut workers = Vec::new();
        for queue in self.chosen(queue)? {
            workers.extend(match &self.source {
                Source::Redis(connection) => redis::workers(connection, queue).await?,
                Source::Sqlite(pool) => sqlite::workers(pool, queue).await?,
            });
        }
        Ok(workers)
    }

    /// One page of tasks, of one queue or of all: waiting ones by their turn, finished ones
    /// with the latest first.
    pub async fn tasks(&self, queue: Option<&str>, filter: TaskFilter) -> Result<Vec<Task<Value>>> {
        let queues = self.chosen(queue)?;
        let tasks = match &self.source {
            Source::Redis(connection) => redis::tasks(connection, queues, &filter).await?,
            Source::Sqlite(pool) => sqlite::tasks(pool, queues, &filter).await?,
        };
        tasks
            .into_iter()
            .map(|task| task.into_task().map_err(BoardError::from))
            .collect()
    }

    /// One task; none when it does not exist, or no longer.
    pub async fn task(&self, queue: &str, id: &str) -> Result<Option<Task<Value>>> {
        let queue = self.known(queue)?;
        let task = match &self.source {
            Source::Redis(connection) => redis::task(connection, queue, id).await?,
            Source::Sqlite(pool) => sqlite::task(pool, queue, id).await?,
        };
        Ok(task.map(StoredTask::into_task).transpose()?)
    }

    async fn counts(&self, queue: &str) -> Result<Counts> {
        match &self.source {
            Source::Redis(connection) => redis::counts(connection, queue).await,
            Source::Sqlite(pool) => sqlite::counts(pool, queue).await,
        }
    }

    fn known(&self, queue: &str) -> Result<&String> {
        self.queues
            .iter()
            .find(|known| *known == queue)
            .ok_or_else(|| BoardError::UnknownQueue(queue.to_owned()))
    }

    fn chosen(&self, queue: Option<&str>) -> Result<&[String]> {
        match queue {
            Some(queue) => self.known(queue).map(std::slice::from_ref),
            None => Ok(&self.queues),
        }
    }
}
