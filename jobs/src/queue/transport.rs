//! What the two transports have in common: one enum, one method a question.

use std::{
    sync::{Arc, atomic::AtomicUsize},
    task::{Context, Poll},
};

use apalis_core::{
    backend::{
        Backend, BackendConfig,
        persistence::{Persisted, TaskPersistLayer},
    },
    task::Task,
    worker::context::WorkerContext,
};
use apalis_redis::RedisStorage;
use apalis_sqlite::JsonCodec;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{
    QueueError, redis::RedisTransport, redis_storage::RedisFetcher, sqlite::SqliteTransport,
    sqlite_storage::SqliteStorage,
};
use crate::Job;

/// The most jobs one fetch takes, so that other processes get some, too.
pub(crate) const MOST_FETCHED: usize = 16;

/// A job, ready to be stored.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) id: String,
    pub(crate) body: String,
    pub(crate) identity: String,
}

impl Payload {
    pub(crate) fn of<J: Job>(job: &J) -> Result<Self, QueueError> {
        Ok(Self {
            id: <RedisStorage<()> as BackendConfig>::Id::generate().to_string(),
            body: serde_json::to_string(job)?,
            identity: job.identity(),
        })
    }
}

/// A random id of a worker or an epoch: nothing that a test would repeat or a row would hold.
#[expect(
    clippy::disallowed_methods,
    reason = "the queue is its own home for ids that never leave it"
)]
pub(crate) fn fresh_id() -> Uuid {
    Uuid::now_v7()
}

/// Which of the jobs that a worker has taken.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Taken<'a> {
    /// These.
    Only(&'a [String]),
    /// All the others.
    AllExcept(&'a [String]),
}

impl<'a> Taken<'a> {
    pub(crate) fn ids(self) -> &'a [String] {
        let (Self::Only(ids) | Self::AllExcept(ids)) = self;
        ids
    }

    pub(crate) fn is_only(self) -> bool {
        matches!(self, Self::Only(_))
    }
}

/// Where the jobs are.
#[derive(Debug)]
pub(crate) enum Transport {
    Redis(RedisTransport),
    Sqlite(SqliteTransport),
}

/// One expression for both.
macro_rules! on {
    ($transport:expr, $it:ident => $body:expr) => {
        match $transport {
            Transport::Redis($it) => $body,
            Transport::Sqlite($it) => $body,
        }
    };
}

impl Transport {
    /// Pushes all or nothing; tells how many wait then, if there was room.
    pub(crate) async fn push(
        &self,
        queue: &str,
        jobs: &[Payload],
    ) -> Result<Option<u64>, QueueError> {
        on!(self, it => it.push(queue, jobs).await)
    }

    pub(crate) async fn waiting(&self, queue: &str) -> Result<u64, QueueError> {
        on!(self, it => it.waiting(queue).await)
    }

    pub(crate) async fn ping(&self) -> Result<(), QueueError> {
        on!(self, it => it.ping().await)
    }

    pub(crate) async fn epoch(&self) -> Result<Uuid, QueueError> {
        on!(self, it => it.epoch().await)
    }

    pub(crate) async fn prepare(&self, queue: &str, worker: &str) -> Result<(), QueueError> {
        on!(self, it => it.prepare(queue, worker).await)
    }

    pub(crate) async fn hand_back(
        &self,
        queue: &str,
        worker: &str,
        taken: Taken<'_>,
    ) -> Result<u64, QueueError> {
        on!(self, it => it.hand_back(queue, worker, taken).await)
    }

    pub(crate) async fn forget_worker(&self, queue: &str, worker: &str) -> Result<(), QueueError> {
        on!(self, it => it.forget_worker(queue, worker).await)
    }

    pub(crate) async fn purge(
        &self,
        queues: &[&str],
        cutoff: DateTime<Utc>,
    ) -> Result<u64, QueueError> {
        on!(self, it => it.purge(queues, cutoff).await)
    }

    /// Whether a fetch is worth its while. On Redis a look costs as much as a fetch; on SQLite
    /// a fetch opens a transaction, a look only reads.
    pub(crate) async fn may_have_jobs(&self, queue: &str) -> bool {
        match self {
            Self::Redis(_) => true,
            // After an error the fetch shall meet it and restart the worker.
            Self::Sqlite(it) => it.has_waiting(queue).await.unwrap_or(true),
        }
    }

    /// The storage of a worker with `places`; `buffered` counts what it has fetched and not
    /// given out.
    pub(crate) fn storage(
        &self,
        queue: &str,
        places: Arc<Semaphore>,
        buffered: Arc<AtomicUsize>,
    ) -> Storage {
        match self {
            Self::Redis(it) => Storage::Redis(it.storage(queue, places, buffered)),
            Self::Sqlite(it) => {
                Storage::Sqlite(Persisted::new(it.storage(queue, places, buffered)))
            }
        }
    }
}

/// The apalis backend of one worker, with undecoded jobs.
pub(crate) enum Storage {
    Redis(RedisFetcher),
    Sqlite(Persisted<SqliteStorage>),
}

impl Storage {
    pub(crate) fn middleware(
        &mut self,
        worker: &mut WorkerContext,
    ) -> TaskPersistLayer<JsonCodec<Value>, Value> {
        match self {
            Self::Redis(it) => it.middleware(worker),
            Self::Sqlite(it) => {
                let batch = it.config.batch_size;
                it.layer(JsonCodec::default(), batch).persist_results(true)
            }
        }
    }
}

impl Backend for Storage {
    type Task = Task<Vec<u8>>;
    type Error = QueueError;

    fn poll_ready(
        &mut self,
        cx: &mut Context<'_>,
        worker: &WorkerContext,
    ) -> Poll<Result<(), QueueError>> {
        match self {
            Self::Redis(it) => it.poll_ready(cx, worker),
            Self::Sqlite(it) => {
                let heartbeat = it.config.heartbeat_interval;
                it.poll_ready(cx, worker, heartbeat)
            }
        }
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        worker: &WorkerContext,
    ) -> Poll<Option<Result<Self::Task, QueueError>>> {
        match self {
            Self::Redis(it) => it.poll_next(cx, worker),
            Self::Sqlite(it) => it.poll_next(cx, worker),
        }
    }

    fn poll_close(
        &mut self,
        cx: &mut Context<'_>,
        worker: &WorkerContext,
    ) -> Poll<Result<(), QueueError>> {
        match self {
            Self::Redis(it) => it.poll_close(cx, worker),
            Self::Sqlite(it) => it.poll_close(cx, worker),
        }
    }
}
