//! The transport of the server profile: apalis-redis, and our own questions to Redis.
//!
//! The keys are those of apalis-redis, plus `{queue}:totals`, `{queue}:worker-names` and
//! `jobs:epoch`. Everything that must be one step is one script (`lua/`).

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError, atomic::AtomicUsize},
};

use apalis_redis::Config;
use chrono::{DateTime, Utc};
use redis::Script;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{
    QueueError, QueueOptions,
    redis_connection::RedisConnection,
    redis_storage::RedisFetcher,
    transport::{Payload, Taken, fresh_id},
};

/// How many finished ids one purge step looks at, and how many steps one purge makes at most for
/// jobs of a queue that ended alike: more than can end in the minute until the next.
const PURGE_STEP: u64 = 500;
const PURGE_STEPS: u64 = 1_000;
/// How many finished jobs a purge looks at to know how old the others are.
const SAMPLE: u64 = 1_000;

static PUSH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/push.lua")));
static PREPARE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/prepare.lua")));
static HAND_BACK: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("lua/hand_back.lua")));
static CROWDED_OUT: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("lua/crowded_out.lua")));
static PURGE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/purge.lua")));
static FORGET_WORKERS: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("lua/forget_workers.lua")));

/// Redis and the prefix of this installation.
#[derive(Debug)]
pub(crate) struct RedisTransport {
    connection: RedisConnection,
    options: QueueOptions,
    /// Where the next purge of a set goes on, so that bounded calls reach every id in turn.
    purge_cursors: Mutex<HashMap<String, u64>>,
}

/// The keys of one queue, as apalis-redis names them, and our two.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    /// List of ids that wait.
    pub(crate) active: String,
    /// Sorted set of ids that wait for their time.
    pub(crate) scheduled: String,
    /// Hash from id to body.
    pub(crate) data: String,
    /// Prefix of a hash an id: status, attempts, identity, result, `done_at`.
    pub(crate) meta_prefix: String,
    /// Set of ids that ended well.
    pub(crate) done: String,
    /// Set of ids that failed.
    pub(crate) dead: String,
    /// Sorted set of worker names by the second of their last heartbeat.
    pub(crate) workers: String,
    /// Prefix of a hash a worker: backend, service.
    pub(crate) worker_meta_prefix: String,
    /// Prefix of a set of ids a worker has taken.
    pub(crate) inflight_prefix: String,
    /// Tells blocked readers that something waits.
    pub(crate) signal: String,
    /// Ours: how many finished jobs were purged, by `done` and `dead`.
    pub(crate) totals: String,
    /// Ours: names of all workers whose metadata may still exist.
    pub(crate) worker_names: String,
}

impl RedisTransport {
    pub(crate) async fn connect(url: &str, options: QueueOptions) -> Result<Self, QueueError> {
        let transport = Self {
            connection: RedisConnection::open(url).await?,
            options,
            purge_cursors: Mutex::default(),
        };
        // A Redis that starts, or wants a password, takes the connection and no command.
        transport.ping().await?;
        Ok(transport)
    }

    /// A handle to the one multiplexed connection.
    pub(crate) fn connection(&self) -> RedisConnection {
        self.connection.clone()
    }

    /// The keys of a queue named without prefix.
    pub(crate) fn keys(&self, queue: &str) -> Keys {
        let config = self.config(queue);
        let name = &config.queue;
        Keys {
            active: config.active_jobs_list(),
            scheduled: config.scheduled_jobs_set(),
            data: config.job_data_hash(),
            meta_prefix: config.job_meta_hash(),
            done: config.done_jobs_set(),
            dead: config.dead_jobs_set(),
            workers: config.workers_set(),
            worker_meta_prefix: format!("{name}:workers:metadata"),
            inflight_prefix: config.inflight_jobs_set(),
            signal: config.signal_list(),
            totals: format!("{name}:totals"),
            worker_names: format!("{name}:worker-names"),
        }
    }

    fn config(&self, queue: &str) -> Config {
        Config::default()
            .queue(self.options.prefixed(queue))
            .heartbeat_interval(self.options.heartbeat)
            .missed_heartbeats(self.options.missed_heartbeats())
            .emit_events(false)
    }

    pub(crate) fn storage(
        &self,
        queue: &str,
        places: Arc<Semaphore>,
        buffered: Arc<AtomicUsize>,
    ) -> RedisFetcher {
        let (config, keys) = (self.config(queue), self.keys(queue));
        RedisFetcher::new(self.connection(), &config, keys, places, buffered)
    }

    /// Pushes all or nothing; tells how many wait then, if there was room.
    pub(crate) async fn push(
        &self,
        queue: &str,
        jobs: &[Payload],
    ) -> Result<Option<u64>, QueueError> {
        let keys = self.keys(queue);
        let mut call = PUSH.key(keys.active);
        call.key(keys.scheduled)
            .key(keys.data)
            .key(keys.meta_prefix)
            .key(keys.signal);
        call.arg(self.options.max_depth);
        for job in jobs {
            call.arg(&job.id).arg(&job.body).arg(&job.identity);
        }
        let waiting: u64 = call.invoke_async(&mut self.connection()).await?;
        Ok((waiting > 0).then_some(waiting))
    }

    pub(crate) async fn waiting(&self, queue: &str) -> Result<u64, QueueError> {
        let keys = self.keys(queue);
        let (active, scheduled): (u64, u64) = redis::pipe()
            .llen(keys.active)
            .zcard(keys.scheduled)
            .query_async(&mut self.connection())
            .await?;
        Ok(active + scheduled)
    }

    pub(crate) async fn ping(&self) -> Result<(), QueueError> {
        Ok(redis::cmd("PING")
            .query_async(&mut self.connection())
            .await?)
    }

    pub(crate) async fn memory(&self) -> Result<u64, QueueError> {
        let mut info = redis::cmd("INFO");
        let info: String = info
            .arg("memory")
            .query_async(&mut self.connection())
            .await?;
        let used = info.lines().find_map(|it| it.strip_prefix("used_memory:"));
        let used = used.and_then(|bytes| bytes.trim().parse().ok());
        used.ok_or(QueueError::Unreadable {
            what: "how much memory Redis uses",
            found: info,
        })
    }

    pub(crate) async fn epoch(&self) -> Result<Uuid, QueueError> {
        let key = format!("{}jobs:epoch", self.options.prefix);
        let ((), epoch): ((), String) = redis::pipe()
            .cmd("SET")
            .arg(&key)
            .arg(fresh_id().to_string())
            .arg("NX")
            .get(&key)
            .query_async(&mut self.connection())
            .await?;
        epoch.parse().map_err(|_| QueueError::Unreadable {
            what: "the epoch",
            found: epoch,
        })
    }

    /// Readies a queue for a worker that is about to start.
    pub(crate) async fn prepare(&self, queue: &str, worker: &str) -> Result<(), QueueError> {
        let keys = self.keys(queue);
        let moved: u64 = PREPARE
            .key(keys.active)
            .key(keys.scheduled)
            .key(keys.worker_names)
            .arg(worker)
            .invoke_async(&mut self.connection())
            .await?;
        if moved > 0 {
            tracing::info!(
                queue,
                moved,
                "moved {moved} scheduled jobs of {queue} to the front"
            );
        }
        Ok(())
    }

    /// Hands back what a worker has taken.
    pub(crate) async fn hand_back(
        &self,
        queue: &str,
        worker: &str,
        taken: Taken<'_>,
    ) -> Result<u64, QueueError> {
        let keys = self.keys(queue);
        let mut call = HAND_BACK.key(format!("{}:{worker}", keys.inflight_prefix));
        call.key(keys.active)
            .key(keys.data)
            .key(keys.meta_prefix)
            .key(keys.signal);
        call.arg(if taken.is_only() { "only" } else { "except" });
        for id in taken.ids() {
            call.arg(id);
        }
        Ok(call.invoke_async(&mut self.connection()).await?)
    }

    /// Removes every trace of a worker that has ended.
    pub(crate) async fn forget_worker(&self, queue: &str, worker: &str) -> Result<(), QueueError> {
        let keys = self.keys(queue);
        Ok(redis::pipe()
            .zrem(keys.workers, worker)
            .ignore()
            .del(format!("{}:{worker}", keys.worker_meta_prefix))
            .ignore()
            .srem(keys.worker_names, worker)
            .ignore()
            .query_async(&mut self.connection())
            .await?)
    }

    pub(crate) async fn purge(
        &self,
        queues: &[&str],
        cutoff: DateTime<Utc>,
    ) -> Result<u64, QueueError> {
        let mut removed = 0;
        for queue in queues {
            let keys = self.keys(queue);
            removed += self.purge_set(&keys, &keys.done, "done", cutoff).await?;
            removed += self.purge_set(&keys, &keys.dead, "dead", cutoff).await?;
            let _forgotten: u64 = FORGET_WORKERS
                .key(keys.worker_names)
                .key(keys.workers)
                .key(keys.worker_meta_prefix)
                .key(keys.inflight_prefix)
                .invoke_async(&mut self.connection())
                .await?;
        }
        Ok(removed)
    }

    /// One bounded walk over a set of finished ids, from where the last one stopped.
    async fn purge_set(
        &self,
        keys: &Keys,
        set: &str,
        total: &str,
        cutoff: DateTime<Utc>,
    ) -> Result<u64, QueueError> {
        let crowded_out: i64 = CROWDED_OUT
            .key(set)
            .arg(&keys.meta_prefix)
            .arg(self.options.max_finished)
            .arg(SAMPLE)
            .invoke_async(&mut self.connection())
            .await?;
        let until = cutoff.timestamp().max(crowded_out);
        let mut cursor = self.with_cursors(|cursors| cursors.get(set).copied().unwrap_or(0));
        let mut removed = 0;
        for _ in 0..PURGE_STEPS {
            let (next, gone): (u64, u64) = PURGE
                .key(set)
                .key(&keys.data)
                .key(&keys.meta_prefix)
                .key(&keys.totals)
                .arg(total)
                .arg(cursor)
                .arg(PURGE_STEP)
                .arg(until)
                .invoke_async(&mut self.connection())
                .await?;
            cursor = next;
            removed += gone;
            if cursor == 0 {
                break;
            }
        }
        self.with_cursors(|cursors| cursors.insert(set.to_owned(), cursor));
        Ok(removed)
    }

    fn with_cursors<T>(&self, body: impl FnOnce(&mut HashMap<String, u64>) -> T) -> T {
        body(
            &mut self
                .purge_cursors
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}
