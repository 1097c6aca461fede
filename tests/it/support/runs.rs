//! Hands of the tests about runs and passes: many rows at once, a run without the queue, other
//! processes, a database or a queue that goes away.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use jobs::{Queue, QueueOptions, SyncStore};
use marketplace_sync::App;
use marketplace_sync::db::{Db, Dialect};
use marketplace_sync::ids::Ids;
use marketplace_sync::worker;
use secrecy::ExposeSecret;
use sqlx::{AssertSqlSafe, FromRow};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::app::{TestApp, TestStore, on};
use super::queues::PATIENCE;
use super::scripted_connector::ScriptedConnector;

/// Runs the job of a store in a process, without the queue.
pub(crate) async fn run_in(process: &App, store: TestStore) -> Result<(), String> {
    let job = SyncStore { store_id: store.id };
    worker::sync_store(process, job, &CancellationToken::new()).await
}

/// The same in a task of its own.
pub(crate) fn spawn_run(process: &Arc<App>, store: TestStore) -> JoinHandle<Result<(), String>> {
    let process = process.clone();
    tokio::spawn(async move { run_in(&process, store).await })
}

/// Waits until something is so that nobody announces.
pub(crate) async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .expect("it never was so");
}

/// What a run may have changed of a receipt.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct RowState {
    pub(crate) receipt: String,
    pub(crate) status: String,
    pub(crate) attempt: i32,
    pub(crate) failed_attempt: i32,
}

impl TestApp {
    /// Runs the job of a store, without the queue.
    pub(crate) async fn run(&self, store: TestStore) -> Result<(), String> {
        run_in(&self.app, store).await
    }

    /// Inserts failed rows `r0001`, `r0002`, … that are due, oldest first.
    pub(crate) async fn insert_due_rows(&self, store: TestStore, count: u32) {
        let sql = match self.app.db.dialect() {
            Dialect::Postgres => {
                "INSERT INTO sync_logs (id, store_id, receipt, status, created_at, updated_at)
                 SELECT CAST(lpad(to_hex(i), 32, '0') AS UUID), $1,
                     'r' || lpad(CAST(i AS TEXT), 4, '0'), 'failed', $2, $2
                 FROM generate_series(1, CAST($3 AS BIGINT)) AS n (i)"
            }
            Dialect::Sqlite => {
                "INSERT INTO sync_logs (id, store_id, receipt, status, created_at, updated_at)
                 WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $3)
                 SELECT unhex(printf('%032x', i)), $1, printf('r%04d', i), 'failed', $2, $2 FROM n"
            }
        };
        let created_at = self.clock.now() - TimeDelta::seconds(60);
        on!(&self.app.db, pool => sqlx::query(sql)
            .bind(store.id).bind(created_at).bind(i64::from(count))
            .execute(pool).await.map(|_| ()).unwrap());
    }

    /// Inserts stores of the same instant, each with a failed row that is due.
    pub(crate) async fn insert_due_stores(&self, count: u32) {
        let (numbers, id) = match self.app.db.dialect() {
            Dialect::Postgres => (
                "SELECT i FROM generate_series(1, CAST($1 AS BIGINT)) AS n (i)",
                "CAST(lpad(to_hex(i), 32, '0') AS UUID)",
            ),
            Dialect::Sqlite => (
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
                 SELECT i FROM n",
                "unhex(printf('%032x', i))",
            ),
        };
        let stores = format!(
            "INSERT INTO stores (id, organization_id, marketplace, external_store_id, store_name,
                 access_token, currency, sync_token, created_at, updated_at)
             SELECT {id}, 'org-1', 'etsy', CAST(i AS TEXT), 'Store', 'secret', 'USD', {id}, $2, $2
             FROM ({numbers}) AS numbers"
        );
        let now = self.clock.now();
        on!(&self.app.db, pool => sqlx::query(AssertSqlSafe(stores)).bind(i64::from(count)).bind(now)
            .execute(pool).await.map(|_| ()).unwrap());
        self.execute(
            "INSERT INTO sync_logs (id, store_id, receipt, status, created_at, updated_at)
             SELECT id, id, external_store_id, 'failed', created_at, created_at FROM stores",
        )
        .await;
    }

    /// Runs a statement behind the service's back.
    pub(crate) async fn execute(&self, sql: &'static str) {
        on!(&self.app.db, pool => sqlx::query(sql).execute(pool).await.map(|_| ()).unwrap());
    }

    /// Sets a column of a store to an instant.
    pub(crate) async fn set_store_time(
        &self,
        store: TestStore,
        column: &str,
        to: Option<DateTime<Utc>>,
    ) {
        let sql = AssertSqlSafe(format!("UPDATE stores SET {column} = $2 WHERE id = $1"));
        on!(&self.app.db, pool => sqlx::query(sql).bind(store.id).bind(to)
            .execute(pool).await.map(|_| ()).unwrap());
    }

    /// Deletes a store with all that is its.
    pub(crate) async fn delete_store(&self, store: TestStore) {
        on!(&self.app.db, pool => sqlx::query("DELETE FROM stores WHERE id = $1").bind(store.id)
            .execute(pool).await.map(|_| ()).unwrap());
    }

    /// What the runs came to, oldest row first.
    pub(crate) async fn row_states(&self, store: TestStore) -> Vec<RowState> {
        on!(&self.app.db, pool => sqlx::query_as(
            "SELECT receipt, status, attempt, failed_attempt
             FROM sync_logs WHERE store_id = $1 ORDER BY created_at, id")
            .bind(store.id).fetch_all(pool).await.unwrap())
    }

    /// The names of the events of a store, oldest first.
    pub(crate) async fn event_names(&self, store: TestStore) -> Vec<String> {
        let events = self.events(store).await;
        events.into_iter().map(|(name, _)| name).collect()
    }

    /// A second process whose marketplace is another one.
    pub(crate) async fn process_asking(&self, marketplace: &ScriptedConnector) -> Arc<App> {
        self.process(QueueOptions::default(), marketplace).await
    }

    /// A second process whose queues hold so many jobs at most.
    pub(crate) async fn process_with_depth(&self, max_depth: usize) -> Arc<App> {
        let options = QueueOptions {
            max_depth,
            ..QueueOptions::default()
        };
        self.process(options, &self.marketplace).await
    }

    async fn process(&self, options: QueueOptions, marketplace: &ScriptedConnector) -> Arc<App> {
        let settings = self.app.settings.clone();
        let options = QueueOptions {
            prefix: settings.queue_prefix.clone(),
            ..options
        };
        let db = Db::connect(self.database.url(), 12).await.unwrap();
        let queue = match (&db, &settings.redis_url) {
            (Db::Postgres(_), Some(url)) => Queue::connect_redis(url.expose_secret(), options)
                .await
                .unwrap(),
            (Db::Sqlite { writer, .. }, _) => Queue::open_sqlite(writer, options).await.unwrap(),
            (Db::Postgres(_), None) => unreachable!("a test on PostgreSQL has a Redis"),
        };
        let (clock, connector) = (self.clock.clone(), Arc::new(marketplace.clone()));
        let app = App::new(settings, db, queue, clock, Ids::system(), connector);
        Arc::new(app.unwrap())
    }
}
