//! [`Queue`]: one transport and all its queues, for whoever pushes, works, counts or purges.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::SqlitePool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    QueueError, QueueOptions,
    redis::RedisTransport,
    sqlite::SqliteTransport,
    transport::{Payload, Transport},
    worker::Work,
};
use crate::{
    ConfirmStockPush, DeliverCallback, Job, PushStock, ReconcileStock, ResyncStore, SyncStore,
};

/// All queues. A test holds it against the catalogue of jobs.
const QUEUES: [&str; 6] = [
    SyncStore::QUEUE,
    DeliverCallback::QUEUE,
    PushStock::QUEUE,
    ConfirmStockPush::QUEUE,
    ResyncStore::QUEUE,
    ReconcileStock::QUEUE,
];

/// How many jobs one round trip carries at most: enough to make it cheap, few enough not to
/// block the transport for others.
const PUSH_BATCH: usize = 500;

/// One transport and all its queues; cheap to clone.
#[derive(Debug, Clone)]
pub struct Queue {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    transport: Arc<Transport>,
    options: QueueOptions,
    /// Changes when this process pushed to the queue of the same index in [`QUEUES`].
    pushed: [watch::Sender<()>; QUEUES.len()],
}

impl Queue {
    /// Connects to Redis (`redis://` or `rediss://`, with password and database).
    ///
    /// Connection and answers have time-outs of a few seconds; a lost connection comes back by
    /// itself. `rediss://` needs a rustls provider installed in the process.
    pub async fn connect_redis(url: &str, options: QueueOptions) -> Result<Self, QueueError> {
        options.check()?;
        let transport = RedisTransport::connect(url, options.clone()).await?;
        Ok(Self::new(Transport::Redis(transport), options))
    }

    /// Opens the queue in a SQLite file, and makes its tables if they are missing.
    ///
    /// `pool` is the caller's pool of one writing connection. Any number of processes may do
    /// this at the same time.
    pub async fn open_sqlite(pool: &SqlitePool, options: QueueOptions) -> Result<Self, QueueError> {
        options.check()?;
        let transport = SqliteTransport::open(pool, options.clone()).await?;
        Ok(Self::new(Transport::Sqlite(transport), options))
    }

    fn new(transport: Transport, options: QueueOptions) -> Self {
        let transport = Arc::new(transport);
        let pushed = QUEUES.map(|_| watch::Sender::new(()));
        Self {
            inner: Arc::new(Inner {
                transport,
                options,
                pushed,
            }),
        }
    }

    /// The names of all queues, without prefix.
    pub fn queues() -> &'static [&'static str] {
        &QUEUES
    }

    /// How many jobs may be pushed now.
    pub async fn room<J: Job>(&self) -> Result<usize, QueueError> {
        let waiting = self.waiting(J::QUEUE).await?;
        Ok(self
            .inner
            .options
            .max_depth
            .saturating_sub(usize::try_from(waiting).unwrap_or(usize::MAX)))
    }

    /// Pushes jobs and wakes the workers of this process.
    ///
    /// Jobs go in batches of 500; a batch is taken as a whole or, when it would make the queue
    /// deeper than it may be, not at all ([`QueueError::Full`] tells how many were taken).
    /// Does not deduplicate: claim the slot in SQL first. Tells how many jobs wait then; none when
    /// there was nothing to push.
    pub async fn push<J: Job>(&self, jobs: &[J]) -> Result<u64, QueueError> {
        let (mut accepted, mut waiting) = (0, 0);
        for batch in jobs.chunks(PUSH_BATCH) {
            let payloads = batch
                .iter()
                .map(Payload::of)
                .collect::<Result<Vec<_>, _>>()?;
            let pushed = self.inner.transport.push(J::QUEUE, &payloads).await?;
            waiting = pushed.ok_or_else(|| QueueError::full::<J>(accepted, jobs.len()))?;
            accepted += batch.len();
            self.inner.pushed[index_of(J::QUEUE)?].send_replace(());
        }
        Ok(waiting)
    }

    /// How many jobs of a queue wait for a worker.
    pub async fn waiting(&self, queue: &str) -> Result<u64, QueueError> {
        index_of(queue)?;
        self.inner.transport.waiting(queue).await
    }

    /// How many jobs may wait in a queue.
    pub fn max_depth(&self) -> usize {
        self.inner.options.max_depth
    }

    /// Whether the transport answers.
    pub async fn ping(&self) -> Result<(), QueueError> {
        self.inner.transport.ping().await
    }

    /// How many bytes Redis has in use; none on SQLite.
    pub async fn memory(&self) -> Result<Option<u64>, QueueError> {
        match &*self.inner.transport {
            Transport::Redis(redis) => redis.memory().await.map(Some),
            Transport::Sqlite(_) => Ok(None),
        }
    }

    /// Identifies this incarnation of the transport's data. When it changes (a flushed Redis,
    /// one that restarted empty, a dropped jobs table), every job queued before is gone.
    pub async fn epoch(&self) -> Result<Uuid, QueueError> {
        self.inner.transport.epoch().await
    }

    /// Forgets jobs that ended longer ago than `older_than`, the oldest of those that are more
    /// than a queue may keep ([`QueueOptions::max_finished`]), and the traces of dead workers.
    ///
    /// Works in small steps and bounded a call, so call it again and again. Never touches what
    /// waits or runs. What it removes is added to persistent totals, so that the board still
    /// counts it. Returns how many jobs were removed.
    pub async fn purge_finished(
        &self,
        older_than: Duration,
        now: DateTime<Utc>,
    ) -> Result<u64, QueueError> {
        let cutoff = now - chrono::Duration::from_std(older_than).unwrap_or_default();
        self.inner.transport.purge(&QUEUES, cutoff).await
    }

    /// Runs jobs, up to `concurrency` at a time, until `shutdown`.
    ///
    /// Then takes no new job, waits for the running ones, hands back what was taken and not
    /// started, and returns. A failure of the transport never ends it: it restarts with
    /// backoff. A job whose handler fails or panics, or that does not decode, is
    /// kept for inspection, and is not run again.
    pub async fn run_worker<J, H, F>(
        &self,
        concurrency: usize,
        shutdown: CancellationToken,
        handler: H,
    ) -> Result<(), QueueError>
    where
        J: Job,
        H: Fn(J) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.work(J::QUEUE, concurrency, shutdown)?
            .run(handler)
            .await;
        Ok(())
    }

    /// Runs jobs until none waits and none of this call runs; returns how many ran.
    ///
    /// For tests and one-shot commands: a real worker, and nothing to wait for.
    pub async fn run_until_empty<J, H, F>(
        &self,
        concurrency: usize,
        handler: H,
    ) -> Result<u64, QueueError>
    where
        J: Job,
        H: Fn(J) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let mut ran = 0;
        while self.waiting(J::QUEUE).await? > 0 {
            let shutdown = CancellationToken::new();
            let work = self.work(J::QUEUE, concurrency, shutdown.clone())?;
            let mut finished = work.finished();
            let idle = work.idle();
            let until_empty = async {
                while !(self.waiting(J::QUEUE).await? == 0 && idle()) {
                    // Another process may take the last job, so the end of one of ours is
                    // not the only thing to look at.
                    let _ = tokio::time::timeout(self.inner.options.poll, finished.changed()).await;
                }
                Ok::<(), QueueError>(())
            };
            let stop = async {
                let result = until_empty.await;
                shutdown.cancel();
                result
            };
            let (result, count) = tokio::join!(stop, work.run(handler.clone()));
            ran += count;
            result?;
        }
        Ok(ran)
    }

    fn work(
        &self,
        queue: &'static str,
        concurrency: usize,
        shutdown: CancellationToken,
    ) -> Result<Work, QueueError> {
        let pushed = self.inner.pushed[index_of(queue)?].subscribe();
        let transport = Arc::clone(&self.inner.transport);
        Ok(Work::new(
            transport,
            queue,
            self.inner.options.poll,
            concurrency,
            pushed,
            shutdown,
        ))
    }

    /// The transport, for the numbers behind the board.
    pub(crate) fn transport(&self) -> &Transport {
        &self.inner.transport
    }
}

fn index_of(queue: &str) -> Result<usize, QueueError> {
    QUEUES
        .iter()
        .position(|name| *name == queue)
        .ok_or_else(|| QueueError::UnknownQueue(queue.to_owned()))
}
