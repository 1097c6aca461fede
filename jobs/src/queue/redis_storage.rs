//! How a worker takes jobs from Redis: apalis-redis, but for the fetch.
//!
//! apalis-redis fetches as many jobs as it is told once and for all. More than there are free
//! places would wait, fetched, behind running jobs, and so long no heartbeat is sent: another
//! worker would run them as well. One at a time costs a round trip a job, and each job is locked
//! in a second one, which looks for it among all that wait. Here a fetch takes what there are free
//! places for, and notes who has it, beside the heartbeats and acknowledgements of apalis.

use std::{
    collections::VecDeque,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use apalis_core::{
    backend::{Backend, BackendConfig, persistence::TaskPersistLayer},
    worker::context::WorkerContext,
};
use apalis_redis::{
    Config, RedisStorage, RedisTask,
    queries::{CompactTask, deserialize_with_meta},
};
use apalis_sqlite::JsonCodec;
use futures::{FutureExt, future::BoxFuture};
use redis::{RedisResult, Script};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{QueueError, redis::Keys, redis_connection::RedisConnection, transport::MOST_FETCHED};

static FETCH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/fetch.lua")));

type Fetch = BoxFuture<'static, RedisResult<Vec<RedisTask>>>;

/// The storage of one start of a worker.
pub(crate) struct RedisFetcher {
    connection: RedisConnection,
    keys: Arc<Keys>,
    /// Registers the worker, says that it lives, takes acknowledgements; is never asked for a job.
    storage: RedisStorage<(), RedisConnection>,
    /// Whether Redis knows the worker: before that it may not take jobs.
    is_registered: bool,
    /// The places of the worker. One of them is held by whoever asks for a job.
    places: Arc<Semaphore>,
    /// How many fetched jobs were not given out yet, for others to see.
    buffered: Arc<AtomicUsize>,
    fetched: VecDeque<RedisTask>,
    fetch: Option<Fetch>,
}

impl RedisFetcher {
    pub(crate) fn new(
        connection: RedisConnection,
        config: &Config,
        keys: Keys,
        places: Arc<Semaphore>,
        buffered: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            // The size of a batch is the room for acknowledgements here.
            storage: RedisStorage::new(connection.clone())
                .with_config(config.clone().batch_size(MOST_FETCHED).lock_tasks(false)),
            is_registered: false,
            connection,
            keys: Arc::new(keys),
            places,
            buffered,
            fetched: VecDeque::new(),
            fetch: None,
        }
    }

    pub(crate) fn middleware(
        &mut self,
        worker: &mut WorkerContext,
    ) -> TaskPersistLayer<JsonCodec<Value>, Value> {
        self.storage.middleware(worker)
    }

    pub(crate) fn poll_ready(
        &mut self,
        cx: &mut Context<'_>,
        worker: &WorkerContext,
    ) -> Poll<Result<(), QueueError>> {
        match self.storage.poll_ready(cx, worker) {
            // Jobs need not wait for heartbeats and acknowledgements: where many jobs end there is
            // always one on its way.
            Poll::Pending if self.is_registered => Poll::Ready(Ok(())),
            Poll::Ready(Ok(())) => {
                self.is_registered = true;
                Poll::Ready(Ok(()))
            }
            polled => polled.map_err(Into::into),
        }
    }

    /// The next job. When there is none it says so once, and looks again when asked again.
    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        worker: &WorkerContext,
    ) -> Poll<Option<Result<RedisTask, QueueError>>> {
        if self.fetched.is_empty() {
            let fetch = self.fetch.take();
            let mut fetch = fetch.unwrap_or_else(|| self.begin_fetch(worker));
            let Poll::Ready(fetched) = fetch.poll_unpin(cx) else {
                self.fetch = Some(fetch);
                return Poll::Pending;
            };
            self.fetched = fetched?.into();
            self.buffered.store(self.fetched.len(), Ordering::Release);
        }
        match self.fetched.pop_front() {
            Some(task) => Poll::Ready(Some(Ok(task))),
            None => Poll::Pending,
        }
    }

    fn begin_fetch(&self, worker: &WorkerContext) -> Fetch {
        let free = self.places.available_permits() + 1;
        let (mut connection, keys) = (self.connection.clone(), Arc::clone(&self.keys));
        let worker = worker.name().to_owned();
        async move {
            let fetched = FETCH
                .key(&keys.workers)
                .key(format!("{}:{worker}", keys.inflight_prefix))
                .key(&keys.active)
                .key(&keys.data)
                .key(&keys.meta_prefix)
                .key(&keys.signal)
                .arg(&worker)
                .arg(free.min(MOST_FETCHED))
                .invoke_async(&mut connection)
                .await?;
            let tasks = deserialize_with_meta(fetched)?;
            Ok(tasks
                .into_iter()
                .map(CompactTask::into_full_compact)
                .collect())
        }
        .boxed()
    }

    pub(crate) fn poll_close(
        &mut self,
        cx: &mut Context<'_>,
        worker: &WorkerContext,
    ) -> Poll<Result<(), QueueError>> {
        self.storage.poll_close(cx, worker).map_err(Into::into)
    }
}
