//! The questions that the board's page asks, answered over either transport.

use ::redis::RedisError;
use apalis_core::{
    backend::{QueueInfo, RunningWorker, Statistic},
    task::{Task, status::Status},
};
use serde_json::Value;

use super::{
    numbers::{Activity, Counts, statistics},
    redis, sqlite,
    task::StoredTask,
};
use crate::{Queue, queue::Transport};

/// A worker is shown while its last heartbeat is at most this old. apalis keeps a row of
/// every process that ever ran; a live one beats every 30 seconds.
pub(super) const WORKER_SEEN_SECONDS: u64 = 120;

/// A read-only view of the queues for the apalis board. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Board {
    queue: Queue,
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
    /// A view of all queues of this transport.
    pub fn new(queue: &Queue) -> Self {
        Self {
            queue: queue.clone(),
        }
    }

    /// The statistics of all queues together.
    pub async fn overview(&self) -> Result<Vec<Statistic>> {
        let mut sum = Counts::default();
        for queue in Queue::queues() {
            sum += self.counts(queue).await?;
        }
        Ok(statistics(&sum))
    }

    /// The statistics of one queue.
    pub async fn statistics(&self, queue: &str) -> Result<Vec<Statistic>> {
        self.counts(known(queue)?)
            .await
            .map(|counts| statistics(&counts))
    }

    /// Every queue of the service, also one that never had a job.
    pub async fn queues(&self) -> Result<Vec<QueueInfo>> {
        let mut queues = Vec::new();
        for name in Queue::queues() {
            let workers = self.workers(Some(name)).await?;
            queues.push(QueueInfo {
                name: (*name).to_owned(),
                stats: self.statistics(name).await?,
                workers: workers.into_iter().map(|worker| worker.id).collect(),
                activity: self.activity(name).await?.into_days(),
            });
        }
        Ok(queues)
    }

    /// The workers that were alive a short while ago, of one queue or of all.
    pub async fn workers(&self, queue: Option<&str>) -> Result<Vec<RunningWorker>> {
        let mut workers = Vec::new();
        for queue in chosen(queue)? {
            workers.extend(match self.transport() {
                Transport::Redis(it) => redis::workers(it, queue).await?,
                Transport::Sqlite(it) => sqlite::workers(it, queue).await?,
            });
        }
        Ok(workers)
    }

    /// One page of tasks, of one queue or of all: waiting ones by their turn, finished ones
    /// with the latest first.
    pub async fn tasks(&self, queue: Option<&str>, filter: TaskFilter) -> Result<Vec<Task<Value>>> {
        let queues = chosen(queue)?;
        let tasks = match self.transport() {
            Transport::Redis(it) => redis::tasks(it, &queues, &filter).await?,
            Transport::Sqlite(it) => sqlite::tasks(it, &queues, &filter).await?,
        };
        tasks
            .into_iter()
            .map(|task| task.into_task().map_err(BoardError::from))
            .collect()
    }

    /// One task; none when it does not exist, or no longer.
    pub async fn task(&self, queue: &str, id: &str) -> Result<Option<Task<Value>>> {
        let queue = known(queue)?;
        let task = match self.transport() {
            Transport::Redis(it) => redis::task(it, queue, id).await?,
            Transport::Sqlite(it) => sqlite::task(it, queue, id).await?,
        };
        Ok(task.map(StoredTask::into_task).transpose()?)
    }

    async fn counts(&self, queue: &str) -> Result<Counts> {
        match self.transport() {
            Transport::Redis(it) => redis::counts(it, queue).await,
            Transport::Sqlite(it) => sqlite::counts(it, queue).await,
        }
    }

    async fn activity(&self, queue: &str) -> Result<Activity> {
        match self.transport() {
            Transport::Redis(it) => redis::activity(it, queue).await,
            Transport::Sqlite(it) => sqlite::activity(it, queue).await,
        }
    }

    fn transport(&self) -> &Transport {
        self.queue.transport()
    }
}

fn known(queue: &str) -> Result<&'static str> {
    Queue::queues()
        .iter()
        .find(|known| **known == queue)
        .copied()
        .ok_or_else(|| BoardError::UnknownQueue(queue.to_owned()))
}

fn chosen(queue: Option<&str>) -> Result<Vec<&'static str>> {
    match queue {
        Some(queue) => known(queue).map(|queue| vec![queue]),
        None => Ok(Queue::queues().to_vec()),
    }
}
