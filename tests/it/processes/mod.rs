//! The real binary as users and orchestrators run it: several processes on the same data,
//! killed, restarted, told to stop, started wrongly; settings by environment only.

#![expect(clippy::print_stdout, reason = "figures to read, never to assert")]

mod backlog;
mod bench;
mod commands;
mod crash;
mod demo;
mod disk;
mod footprint;
mod keys;
mod kills;
mod leaks;
mod outage;
mod queue_loss;
mod refusals;
mod replicas;
mod rotation;
mod secrets;
mod shutdown;
mod start;

use std::collections::HashMap;
use std::time::Duration;

use chrono::{SubsecRound, TimeDelta};
use jobs::Queue;
use marketplace_sync::app::open_queue;
use marketplace_sync::clock::Clock;
use marketplace_sync::config::Settings;
use marketplace_sync::db::Db;
use marketplace_sync::marketplace::connector::http_client;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPoolOptions;
use tokio::time::{Instant, sleep};

use crate::support::app::Profile::Server;
use crate::support::app::{Profile, on};
use crate::support::counting_marketplace::CountingMarketplace;
use crate::support::database::TestDatabase;
use crate::support::postgres::PostgresServer;
use crate::support::process::{Environment, Process, environment};
use crate::support::queues::{RedisServer, fresh_prefix, shared_redis};

/// Calls in flight for one store, in all these tests.
const ROW_CONCURRENCY: usize = 8;

/// What processes share: a database, a queue, a marketplace; and intervals of a second.
pub(crate) struct Installation {
    pub(crate) on: Profile,
    pub(crate) database: TestDatabase,
    pub(crate) db: Db,
    pub(crate) marketplace: CountingMarketplace,
    pub(crate) environment: Environment,
    http: reqwest::Client,
}

impl Installation {
    pub(crate) async fn new(on: Profile, settings: &[(&str, &str)]) -> Self {
        let redis = (on == Profile::Server).then(shared_redis);
        Self::on_redis(on, redis, settings).await
    }

    /// On a Redis of the caller's own.
    pub(crate) async fn on_redis(
        on: Profile,
        redis: Option<String>,
        settings: &[(&str, &str)],
    ) -> Self {
        let database = TestDatabase::create(on).await;
        let db = Db::connect(database.url(), 2).await.unwrap();
        db.migrate().await.unwrap();
        let marketplace = CountingMarketplace::start().await;
        let mut environment = environment(&[
            ("PORT", "0"),
            ("ADMIN_PORT", "0"),
            ("DATABASE_URL", database.url()),
            ("DATABASE_MAX_CONNECTIONS", "8"),
            ("QUEUE_PREFIX", &fresh_prefix()),
            ("MOCK_API_BASE_URL", &marketplace.url()),
            ("SYNC_CRON", "* * * * * *"),
            ("SYNC_THROTTLE_SECONDS", "0"),
            ("SYNC_BACKOFF_BASE_SECONDS", "1"),
            ("SYNC_BACKOFF_MAX_SECONDS", "1"),
            ("SYNC_ROW_CONCURRENCY", &ROW_CONCURRENCY.to_string()),
            ("LOG_FORMAT", "json"),
        ]);
        environment.extend(redis.map(|url| ("REDIS_URL".to_owned(), url)));
        environment.extend(
            settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        let http = http_client(Duration::from_secs(30)).unwrap();
        Self {
            on,
            database,
            db,
            marketplace,
            environment,
            http,
        }
    }

    /// On servers of the caller's own; nothing is asked of them yet.
    async fn on_servers(
        postgres: &PostgresServer,
        redis: &RedisServer,
        settings: &[(&str, &str)],
    ) -> Self {
        let mut installation = Self::on_redis(Server, Some(redis.url()), settings).await;
        installation
            .environment
            .push(("DATABASE_URL".to_owned(), postgres.url()));
        let pool = PgPoolOptions::new().max_connections(2);
        installation.db = Db::Postgres(pool.connect_lazy(&postgres.url()).unwrap());
        installation
    }

    /// Starts a process with these roles, which the marketplace knows as `user`, and waits
    /// until it is ready.
    pub(crate) async fn start(&self, roles: &str, user: &str) -> Process {
        let mut settings = self.environment.clone();
        settings.push(("MOCK_ETSY_USER".to_owned(), user.to_owned()));
        let process = Process::start(&["serve", "--roles", roles], &settings);
        process.wait_for_event("started").await;
        process
    }

    /// The database of all of them.
    pub(crate) fn database_url(&self) -> &str {
        self.database.url()
    }

    /// A process that does everything.
    pub(crate) async fn start_all(&self) -> Process {
        self.start("api,worker,scheduler", "all").await
    }

    /// Inserts stores with rows that are due, straight into the tables.
    async fn insert(&self, stores: u32, rows: u32) {
        let new_id = match self.on {
            Profile::Embedded => "randomblob(16)",
            Profile::Server => "gen_random_uuid()",
        };
        let insert_stores = format!(
            "WITH RECURSIVE numbers (n) AS (
                 SELECT CAST($1 AS BIGINT) UNION ALL SELECT n + 1 FROM numbers WHERE n < $2)
             INSERT INTO stores (id, organization_id, marketplace, external_store_id, store_name,
                 access_token, currency, sync_token, created_at, updated_at)
             SELECT {new_id}, 'org-1', 'etsy', 'shop' || n, 'Shop', 'secret', 'USD', {new_id}, $3, $3
             FROM numbers"
        );
        let insert_rows = format!(
            "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $1)
             INSERT INTO sync_logs (id, store_id, receipt, status, created_at, updated_at)
             SELECT {new_id}, s.id, s.external_store_id || '-' || n, 'pending', $2, $2
             FROM stores AS s CROSS JOIN numbers"
        );
        let earlier = Clock::system().now().trunc_subsecs(3) - TimeDelta::minutes(1);
        for first in (1..=stores).step_by(1000) {
            let last = stores.min(first + 999);
            on!(&self.db, pool => sqlx::query(AssertSqlSafe(insert_stores.clone()))
                .bind(i64::from(first)).bind(i64::from(last)).bind(earlier)
                .execute(pool).await.map(|_| ()).unwrap());
        }
        on!(&self.db, pool => sqlx::query(AssertSqlSafe(insert_rows.clone()))
            .bind(i64::from(rows)).bind(earlier)
            .execute(pool).await.map(|_| ()).unwrap());
    }

    /// A client for the API of a process.
    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// The queue, as another process sees it.
    async fn queue(&self) -> Queue {
        let value = |name: &str| {
            let pair = self.environment.iter().find(|(own, _)| own == name);
            pair.map(|(_, value)| value.clone())
        };
        let settings = Settings::from_lookup(&value).unwrap();
        open_queue(&settings, &self.db).await.unwrap()
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        on!(&self.db, pool => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap())
    }

    /// Waits until every row is a success, and tells how long that took.
    async fn wait_until_synced(&self, patience: Duration) -> Duration {
        self.wait_until_left(0, patience).await
    }

    /// Waits until no more rows than that are no success yet, and tells how long that took.
    async fn wait_until_left(&self, most: i64, patience: Duration) -> Duration {
        let started = Instant::now();
        loop {
            let left = self
                .count("SELECT COUNT(*) FROM sync_logs WHERE status <> 'success'")
                .await;
            if left <= most {
                return started.elapsed();
            }
            assert!(
                started.elapsed() < patience,
                "{left} rows are left after {patience:?}"
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Every row is a success, every store's count is its rows, and nobody was asked twice at a
    /// time; returns how often each receipt was asked about.
    async fn assert_all_synced(&self, stores: u32, rows: u32) -> HashMap<String, u32> {
        let total = stores as usize * rows as usize;
        let counts = "SELECT COUNT(*) FROM stores WHERE imported_success_count <> (
            SELECT COUNT(*) FROM sync_logs WHERE store_id = stores.id AND status = 'success')";
        assert_eq!(self.count(counts).await, 0, "stores whose count is off");
        let successes = "SELECT COUNT(*) FROM sync_logs WHERE status = 'success'";
        assert_eq!(self.count(successes).await, i64::try_from(total).unwrap());
        let calls = self.marketplace.calls();
        assert_eq!(calls.len(), total, "every row was asked about");
        assert!(self.marketplace.most_in_flight() <= ROW_CONCURRENCY);
        assert_eq!(
            self.marketplace.stores_of_two().len(),
            0,
            "stores that two processes ran"
        );
        calls
    }
}

impl Installation {
    /// One process for everything on the embedded profile; on the server profile one for API
    /// and ticks, and two workers.
    async fn start_fleet(&self) -> Vec<Process> {
        if self.on == Profile::Embedded {
            return vec![self.start_all().await];
        }
        let processes = tokio::join!(
            self.start("api,scheduler", "front"),
            self.start("worker", "worker-1"),
            self.start("worker", "worker-2"),
        );
        vec![processes.0, processes.1, processes.2]
    }
}

impl Installation {
    /// One row that is due of each of ten stores.
    async fn insert_rows_of_ten_stores(&self) {
        let new_id = match self.on {
            Profile::Embedded => "randomblob(16)",
            Profile::Server => "gen_random_uuid()",
        };
        let sql = format!(
            "INSERT INTO sync_logs (id, store_id, receipt, status, created_at, updated_at)
             SELECT {new_id}, id, external_store_id || '-1', 'pending', $1, $1
             FROM stores ORDER BY id LIMIT 10"
        );
        let earlier = Clock::system().now().trunc_subsecs(3) - TimeDelta::minutes(1);
        on!(&self.db, pool => sqlx::query(AssertSqlSafe(sql.clone()))
            .bind(earlier).execute(pool).await.map(|_| ()).unwrap());
    }
}
