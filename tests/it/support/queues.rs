//! A job queue a test, over either transport, and hands to look at it, fill it and break it
//! behind the crate's back.

use std::{
    collections::HashMap,
    io::Write,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jobs::{Queue, QueueOptions, StoreId, SyncStore};
use redis::{Client, aio::ConnectionManager};
use sqlx::{
    SqlitePool, query, query_as,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};
use tempfile::TempDir;
use uuid::Uuid;

/// The longest any test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The transport a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Redis,
    Sqlite,
}

/// A queue of its own; `queue` is one process's handle, [`TestQueue::other_process`] another's.
pub(crate) struct TestQueue {
    pub(crate) queue: Queue,
    options: QueueOptions,
    redis_url: Option<String>,
    folder: TempDir,
}

/// How many jobs of a queue are in which state.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) waiting: u64,
    pub(crate) taken: u64,
    pub(crate) done: u64,
    pub(crate) dead: u64,
}

impl TestQueue {
    pub(crate) async fn open(on: Transport) -> Self {
        Self::open_with(on, |_| ()).await
    }

    pub(crate) async fn open_with(on: Transport, change: impl FnOnce(&mut QueueOptions)) -> Self {
        let url = (on == Transport::Redis).then(shared_redis);
        Self::at(url, change).await
    }

    /// A queue on a Redis of one's own.
    pub(crate) async fn on_server(server: &RedisServer) -> Self {
        Self::at(Some(server.url()), |_| ()).await
    }

    async fn at(redis_url: Option<String>, change: impl FnOnce(&mut QueueOptions)) -> Self {
        let mut options = QueueOptions {
            prefix: fresh_prefix(),
            ..QueueOptions::default()
        };
        change(&mut options);
        let folder = tempfile::tempdir().unwrap();
        let queue = connect(redis_url.as_deref(), folder.path(), &options).await;
        Self {
            queue,
            options,
            redis_url,
            folder,
        }
    }

    /// The same data as a second process sees it: nothing in memory is shared.
    pub(crate) async fn other_process(&self) -> Queue {
        connect(self.redis_url.as_deref(), self.folder.path(), &self.options).await
    }

    pub(crate) fn key(&self, rest: &str) -> String {
        format!("{}{rest}", self.options.prefix)
    }

    /// A second writing pool on the file.
    pub(crate) async fn sqlite(&self) -> SqlitePool {
        writer(self.folder.path()).await
    }

    /// A second connection to Redis.
    pub(crate) async fn redis(&self) -> ConnectionManager {
        let client = Client::open(self.redis_url.clone().unwrap()).unwrap();
        ConnectionManager::new(client).await.unwrap()
    }

    pub(crate) async fn counts(&self, queue: &str) -> Counts {
        let key = self.key(queue);
        if self.redis_url.is_none() {
            let rows: Vec<(String, u32)> =
                query_as("SELECT status, COUNT(*) FROM Jobs WHERE job_type = $1 GROUP BY status")
                    .bind(key)
                    .fetch_all(&self.sqlite().await)
                    .await
                    .unwrap();
            let rows: HashMap<_, _> = rows.into_iter().collect();
            let count = |status| u64::from(rows.get(status).copied().unwrap_or(0));
            assert_eq!(count("Failed"), 0, "a failed job would be fetched again");
            return Counts {
                waiting: count("Pending"),
                taken: count("Queued") + count("Running"),
                done: count("Done"),
                dead: count("Killed"),
            };
        }
        let mut redis = self.redis().await;
        let mut taken = 0;
        for inflight in self.redis_keys(&format!("{queue}:inflight:*")).await {
            taken += redis::cmd("SCARD")
                .arg(inflight)
                .query_async::<u64>(&mut redis)
                .await
                .unwrap();
        }
        let (active, scheduled, done, dead): (u64, u64, u64, u64) = redis::pipe()
            .llen(format!("{key}:active"))
            .zcard(format!("{key}:scheduled"))
            .scard(format!("{key}:done"))
            .scard(format!("{key}:dead"))
            .query_async(&mut redis)
            .await
            .unwrap();
        Counts {
            waiting: active + scheduled,
            taken,
            done,
            dead,
        }
    }

    /// All keys of this test that match.
    pub(crate) async fn redis_keys(&self, pattern: &str) -> Vec<String> {
        let pattern = self.key(pattern);
        let mut keys: Vec<String> = redis::cmd("KEYS")
            .arg(pattern)
            .query_async(&mut self.redis().await)
            .await
            .unwrap();
        keys.sort();
        keys
    }

    /// Puts a job with any body into a queue, as another program might.
    pub(crate) async fn plant(&self, queue: &str, body: &str) {
        let key = self.key(queue);
        let id = format!("01KA{:022}", next());
        if self.redis_url.is_none() {
            query(
                "INSERT INTO Jobs (job, id, job_type, status, max_attempts, run_at)
                 VALUES (CAST($1 AS BLOB), $2, $3, 'Pending', 25, 0)",
            )
            .bind(body)
            .bind(id)
            .bind(key)
            .execute(&self.sqlite().await)
            .await
            .unwrap();
            return;
        }
        let meta = [
            ("attempts", "0"),
            ("max_attempts", "25"),
            ("status", "Pending"),
        ];
        redis::pipe()
            .hset(format!("{key}:data"), &id, body)
            .hset_multiple(format!("{key}:meta:{id}"), &meta)
            .rpush(format!("{key}:active"), &id)
            .exec_async(&mut self.redis().await)
            .await
            .unwrap();
    }

    /// Makes every finished job look as if it had ended so many seconds earlier.
    pub(crate) async fn age_finished(&self, queue: &str, seconds: i64) {
        if self.redis_url.is_none() {
            query("UPDATE Jobs SET done_at = done_at - $1")
                .bind(seconds)
                .execute(&self.sqlite().await)
                .await
                .unwrap();
            return;
        }
        let mut redis = self.redis().await;
        for meta in self.redis_keys(&format!("{queue}:meta:*")).await {
            redis::cmd("HINCRBY")
                .arg(meta)
                .arg("done_at")
                .arg(-seconds)
                .exec_async(&mut redis)
                .await
                .unwrap();
        }
    }

    /// Makes every worker look as if it had been silent for an hour.
    pub(crate) async fn silence_workers(&self, queue: &str) {
        if self.redis_url.is_none() {
            query("UPDATE Workers SET last_seen = last_seen - 3600")
                .execute(&self.sqlite().await)
                .await
                .unwrap();
            return;
        }
        let mut redis = self.redis().await;
        let workers = format!("{}:workers", self.key(queue));
        let names: Vec<String> = redis::cmd("ZRANGE")
            .arg(&workers)
            .arg(0)
            .arg(-1)
            .query_async(&mut redis)
            .await
            .unwrap();
        for name in names {
            redis::cmd("ZADD")
                .arg(&workers)
                .arg(1)
                .arg(name)
                .exec_async(&mut redis)
                .await
                .unwrap();
        }
    }

    /// The second of the oldest heartbeat of all workers.
    pub(crate) async fn oldest_heartbeat(&self, queue: &str) -> Option<f64> {
        if self.redis_url.is_none() {
            let seen: (Option<i64>,) = query_as("SELECT MIN(last_seen) FROM Workers")
                .fetch_one(&self.sqlite().await)
                .await
                .unwrap();
            #[expect(clippy::cast_precision_loss, reason = "seconds fit")]
            return seen.0.map(|second| second as f64);
        }
        let workers: Vec<(String, f64)> = redis::cmd("ZRANGE")
            .arg(format!("{}:workers", self.key(queue)))
            .arg(0)
            .arg(0)
            .arg("WITHSCORES")
            .query_async(&mut self.redis().await)
            .await
            .unwrap();
        workers.first().map(|(_, second)| *second)
    }
}

async fn connect(redis_url: Option<&str>, folder: &Path, options: &QueueOptions) -> Queue {
    match redis_url {
        Some(url) => Queue::connect_redis(url, options.clone()).await.unwrap(),
        None => Queue::open_sqlite(&writer(folder).await, options.clone())
            .await
            .unwrap(),
    }
}

/// A pool of one writing connection, as the service has it.
pub(crate) async fn writer(folder: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(folder.join("jobs.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(5));
    SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await
        .unwrap()
}

/// Jobs that differ.
pub(crate) fn stores(count: usize) -> Vec<SyncStore> {
    let store = || SyncStore {
        store_id: StoreId(Uuid::from_u128(u128::from(next()))),
    };
    std::iter::repeat_with(store).take(count).collect()
}

fn next() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Unique in a Redis that outlives the test run.
pub(crate) fn fresh_prefix() -> String {
    format!("test-{:x}-{}:", getrandom::u64().unwrap(), next())
}

/// The Redis of all tests: `TEST_REDIS_URL`, or one that this process starts.
pub(crate) fn shared_redis() -> String {
    static SERVER: OnceLock<RedisServer> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "the tests' own setting")]
    match std::env::var("TEST_REDIS_URL") {
        Ok(url) => url,
        Err(_) => SERVER.get_or_init(RedisServer::start).url(),
    }
}

/// A Redis that ends with the test, also with one that is killed.
pub(crate) struct RedisServer {
    port: u16,
    folder: TempDir,
    shell: Option<Child>,
}

impl RedisServer {
    pub(crate) fn start() -> Self {
        let mut server = Self::prepare();
        server.run();
        server
    }

    /// One that does not run yet.
    pub(crate) fn prepare() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        Self {
            port,
            folder: tempfile::tempdir().unwrap(),
            shell: None,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it (again), with what an orderly stop saved.
    pub(crate) fn run(&mut self) {
        // The server stands beside a shell that waits for the end of its input: when this
        // process ends, however it ends, the pipe closes and the shell ends the server.
        let script = "redis-server --port \"$0\" --dir \"$1\" --save '' --appendonly yes \
                      --appendfsync no >\"$1\"/log 2>&1 & server=$!; cat >/dev/null; \
                      kill -9 $server; wait $server";
        let shell = Command::new("sh")
            .args(["-c", script, &self.port.to_string()])
            .arg(self.folder.path())
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.shell = Some(shell);
        let mut attempts = 0;
        while std::net::TcpStream::connect(("127.0.0.1", self.port))
            .and_then(|mut stream| stream.write_all(b"PING\r\n"))
            .is_err()
        {
            attempts += 1;
            assert!(attempts < 1_000, "redis-server did not start");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        let Some(mut shell) = self.shell.take() else {
            return;
        };
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
