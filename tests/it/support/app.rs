//! The whole service in a test: a database and a queue of its own, a clock set by hand, a
//! marketplace that answers as scripted, real HTTP in front.
//!
//! A test says where it runs (`#[values(Embedded, Server)] on: Profile`). Jobs run when the test
//! says so ([`TestApp::run_jobs`]). Dropping the app fails the test if a job is left over.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use jobs::{DeliverCallback, Job, Queue, ResyncStore, StoreId, SyncStore};
use marketplace_sync::App;
use marketplace_sync::clock::Clock;
use marketplace_sync::config::Settings;
use marketplace_sync::db::Db;
use marketplace_sync::ids::Ids;
use marketplace_sync::marketplace::connector::http_client;
use marketplace_sync::marketplace::{Pass, enqueue_due_stores};
use marketplace_sync::{service, worker};
use poem::endpoint::BoxEndpoint;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use sqlx::FromRow;
use uuid::Uuid;

use super::database::TestDatabase;
use super::marketplace::noon;
use super::queues::{fresh_prefix, shared_redis};
use super::scripted_connector::ScriptedConnector;
use super::server::TestServer;

pub(crate) use super::database::on;

/// Where a test runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// SQLite and apalis-sqlite.
    Embedded,
    /// PostgreSQL and apalis-redis.
    Server,
}

/// The service of one test.
pub(crate) struct TestApp {
    pub(crate) app: Arc<App>,
    pub(crate) clock: Clock,
    pub(crate) marketplace: ScriptedConnector,
    pub(crate) server: TestServer,
    pub(crate) http: reqwest::Client,
    pub(crate) database: TestDatabase,
    leaves_jobs: bool,
}

/// A store of the test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TestStore {
    pub(crate) id: StoreId,
    pub(crate) token: Uuid,
}

/// All that a test may want to know of a receipt.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub(crate) struct Row {
    pub(crate) id: Uuid,
    pub(crate) status: String,
    pub(crate) order_id: Option<String>,
    pub(crate) amount_minor: Option<i64>,
    pub(crate) currency: Option<String>,
    pub(crate) error_details: Option<String>,
    pub(crate) attempt: i32,
    pub(crate) failed_attempt: i32,
    pub(crate) next_retry_at: Option<DateTime<Utc>>,
    pub(crate) dead_at: Option<DateTime<Utc>>,
    pub(crate) imported_at: Option<DateTime<Utc>>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// All that a test may want to know of a store.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub(crate) struct StoreRow {
    pub(crate) id: Uuid,
    pub(crate) store_name: String,
    pub(crate) access_token: String,
    pub(crate) currency: String,
    pub(crate) sync_status: String,
    pub(crate) last_sync_at: Option<DateTime<Utc>>,
    pub(crate) imported_success_count: i64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) lease_token: Option<Uuid>,
    pub(crate) lease_expires_at: Option<DateTime<Utc>>,
    pub(crate) enqueued_until: Option<DateTime<Utc>>,
    pub(crate) paused_until: Option<DateTime<Utc>>,
}

impl TestApp {
    /// With default settings.
    pub(crate) async fn start(on: Profile) -> Self {
        Self::start_with(on, &[]).await
    }

    /// With settings as in the environment.
    pub(crate) async fn start_with(on: Profile, settings: &[(&str, &str)]) -> Self {
        Self::build(on, settings, |_| ()).await
    }

    /// With settings, and a change to the app before it starts.
    pub(crate) async fn build(
        on: Profile,
        settings: &[(&str, &str)],
        change: impl FnOnce(&mut App),
    ) -> Self {
        let database = TestDatabase::create(on).await;
        let redis = (on == Profile::Server).then(shared_redis);
        let settings = Settings::from_lookup(&|name| {
            let given = settings.iter().find(|(key, _)| *key == name);
            match name {
                "DATABASE_URL" => Some(database.url().to_owned()),
                "DATABASE_MAX_CONNECTIONS" => Some("12".to_owned()),
                "REDIS_URL" => redis.clone(),
                "QUEUE_PREFIX" => Some(fresh_prefix()),
                _ => given.map(|(_, value)| (*value).to_owned()),
            }
        })
        .unwrap();
        let db = Db::connect(database.url(), 12).await.unwrap();
        db.migrate().await.unwrap();
        let queue = marketplace_sync::app::open_queue(&settings, &db)
            .await
            .unwrap();
        let clock = Clock::manual(noon());
        let marketplace = ScriptedConnector::default();
        let mut app = App::new(
            settings,
            db,
            queue,
            clock.clone(),
            Ids::system(),
            Arc::new(marketplace.clone()),
        )
        .unwrap();
        change(&mut app);
        let app = Arc::new(app);
        let endpoint: BoxEndpoint<'static> = service::site(&app);
        let server = TestServer::start(endpoint).await;
        let http = http_client(Duration::from_secs(30)).unwrap();
        Self {
            app,
            clock,
            marketplace,
            server,
            http,
            database,
            leaves_jobs: false,
        }
    }

    /// The test ends with jobs in the queue on purpose.
    pub(crate) fn leave_jobs(&mut self) {
        self.leaves_jobs = true;
    }

    /// A second process on the same data: nothing in memory is shared.
    pub(crate) async fn other_process(&self) -> Arc<App> {
        self.other_process_with(|_| ()).await
    }

    /// The same with other settings.
    pub(crate) async fn other_process_with(&self, change: impl FnOnce(&mut Settings)) -> Arc<App> {
        let mut settings = self.app.settings.clone();
        change(&mut settings);
        let db = Db::connect(self.database.url(), 12).await.unwrap();
        let queue = marketplace_sync::app::open_queue(&settings, &db)
            .await
            .unwrap();
        let (clock, connector) = (self.clock.clone(), Arc::new(self.marketplace.clone()));
        let app = App::new(settings, db, queue, clock, Ids::system(), connector);
        Arc::new(app.unwrap())
    }

    // --- HTTP ---

    /// Sends JSON and reads JSON.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.send(self.http.post(self.server.url(path)).json(body))
            .await
    }

    /// Reads JSON.
    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(self.http.get(self.server.url(path))).await
    }

    /// Reads JSON.
    pub(crate) async fn send(&self, request: RequestBuilder) -> (StatusCode, Value) {
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        (status, body)
    }

    /// Registers a store of `org-1` on Etsy in USD.
    pub(crate) async fn register(&self, external_store_id: &str) -> TestStore {
        let (status, body) = self
            .post("/stores/register", &store_body(external_store_id))
            .await;
        assert_eq!(status, StatusCode::OK, "{body}");
        TestStore {
            id: StoreId(body["storeId"].as_str().unwrap().parse().unwrap()),
            token: body["syncToken"].as_str().unwrap().parse().unwrap(),
        }
    }

    /// Imports a receipt.
    pub(crate) async fn import(&self, store: TestStore, receipt: &str) -> (StatusCode, Value) {
        self.post(
            "/orders/import",
            &json!({ "syncToken": store.token, "receipt": receipt }),
        )
        .await
    }

    /// Asks how a store is doing.
    pub(crate) async fn sync_status(&self, store: TestStore) -> Value {
        let (status, body) = self
            .get(&format!("/stores/sync-status?syncToken={}", store.token))
            .await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    // --- Jobs ---

    /// One pass of the `sync` scheduler.
    pub(crate) async fn schedule(&self) -> Pass {
        enqueue_due_stores(&self.app).await.unwrap()
    }

    /// Runs jobs until none is left; tells how many ran.
    pub(crate) async fn run_jobs(&self) -> u64 {
        worker::run_jobs_until_empty(&self.app).await.unwrap()
    }

    /// The same for the runs of stores alone.
    pub(crate) async fn run_syncs(&self) -> u64 {
        worker::run_syncs_until_empty(&self.app).await.unwrap()
    }

    /// Puts the job of a store into the queue, as nobody else would.
    pub(crate) async fn enqueue(&self, store: TestStore) {
        self.app
            .queue
            .push(&[SyncStore { store_id: store.id }])
            .await
            .unwrap();
    }

    // --- Rows ---

    /// The row of a receipt.
    pub(crate) async fn row(&self, store: TestStore, receipt: &str) -> Option<Row> {
        on!(&self.app.db, pool => sqlx::query_as(
            "SELECT id, status, order_id, amount_minor, currency, error_details, attempt,
                 failed_attempt, next_retry_at, dead_at, imported_at, created_at, updated_at
             FROM sync_logs WHERE store_id = $1 AND receipt = $2")
            .bind(store.id).bind(receipt).fetch_optional(pool).await.unwrap())
    }

    /// The row of a store.
    pub(crate) async fn store_row(&self, store: TestStore) -> StoreRow {
        on!(&self.app.db, pool => sqlx::query_as(
            "SELECT id, store_name, access_token, currency, sync_status, last_sync_at,
                 imported_success_count, created_at, updated_at, lease_token, lease_expires_at,
                 enqueued_until, paused_until
             FROM stores WHERE id = $1")
            .bind(store.id).fetch_one(pool).await.unwrap())
    }

    /// How many rows a statement finds.
    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        on!(&self.app.db, pool => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap())
    }

    /// The events of a store, oldest first: name and payload.
    pub(crate) async fn events(&self, store: TestStore) -> Vec<(String, Value)> {
        let rows: Vec<(String, sqlx::types::Json<Value>)> = on!(&self.app.db, pool => sqlx::query_as(
            "SELECT event, payload FROM callback_outbox WHERE store_id = $1 ORDER BY created_at, id")
            .bind(store.id).fetch_all(pool).await.unwrap());
        rows.into_iter()
            .map(|(event, payload)| (event, payload.0))
            .collect()
    }

    /// Inserts a row as if it had been imported earlier; `age` orders rows (older is larger).
    pub(crate) async fn insert_row(&self, store: TestStore, receipt: &str, status: &str, age: i64) {
        let created_at = self.clock.now() - chrono::TimeDelta::seconds(age);
        on!(&self.app.db, pool => sqlx::query(
            "INSERT INTO sync_logs (id, store_id, receipt, status, attempt, failed_attempt,
                 created_at, updated_at)
             VALUES ($1, $2, $3, $4, 0, 0, $5, $5)")
            .bind(self.app.ids.new_id(created_at)).bind(store.id).bind(receipt).bind(status)
            .bind(created_at).execute(pool).await.map(|_| ()).unwrap());
    }

    /// Moves the due time of a receipt into the past, and the store out of its throttle.
    pub(crate) async fn make_due(&self, store: TestStore, receipt: &str) {
        let past = self.clock.now() - chrono::TimeDelta::seconds(1);
        on!(&self.app.db, pool => sqlx::query(
            "UPDATE sync_logs SET next_retry_at = $3 WHERE store_id = $1 AND receipt = $2")
            .bind(store.id).bind(receipt).bind(past).execute(pool).await.map(|_| ()).unwrap());
        let long_ago = self.clock.now() - chrono::TimeDelta::minutes(2);
        on!(&self.app.db, pool => sqlx::query("UPDATE stores SET last_sync_at = $2 WHERE id = $1")
            .bind(store.id).bind(long_ago).execute(pool).await.map(|_| ()).unwrap());
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        if self.leaves_jobs || std::thread::panicking() {
            return;
        }
        let settings = self.app.settings.clone();
        let url = self.database.url().to_owned();
        // A runtime of its own: this one is on its way down.
        let left = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let db = Db::connect(&url, 2).await.unwrap();
                let queue: Queue = marketplace_sync::app::open_queue(&settings, &db)
                    .await
                    .unwrap();
                let left = queue.waiting(SyncStore::QUEUE).await.unwrap()
                    + queue.waiting(DeliverCallback::QUEUE).await.unwrap()
                    + queue.waiting(ResyncStore::QUEUE).await.unwrap();
                db.close().await;
                left
            })
        })
        .join()
        .unwrap();
        assert_eq!(
            left, 0,
            "jobs were left in the queue: run them, or say `leave_jobs`"
        );
    }
}

/// A registration of `org-1` on Etsy in USD.
pub(crate) fn store_body(external_store_id: &str) -> Value {
    json!({
        "organizationId": "org-1",
        "marketplace": "etsy",
        "externalStoreId": external_store_id,
        "storeName": "My Store",
        "accessToken": "secret-access-token",
        "currency": "USD",
    })
}
