//! Hands of the tests about pushing: a service whose marketplaces are scripted, its stores, its
//! products, runs without the queue, and what stands in the rows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use jobs::{ConfirmStockPush, PushId, PushStock, ReconcileStock, StoreId};
use marketplace_sync::App;
use marketplace_sync::db::Db;
use marketplace_sync::ids::Ids;
use marketplace_sync::marketplace::model::Marketplace;
use marketplace_sync::stock::connector::{Adapter, Adapters};
use marketplace_sync::stock::model::{ProductId, Reason};
use marketplace_sync::stock::{enqueue, enqueue_due_looks, enqueue_due_stock};
use marketplace_sync::worker;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, FromRow};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::scripted_adapter::ScriptedAdapter;
use crate::support::app::{Profile, TestApp, on};

/// A service whose marketplaces are all the same scripted one.
pub(crate) struct Shops {
    pub(crate) app: TestApp,
    pub(crate) adapter: ScriptedAdapter,
}

/// What may have become of a row of the queue.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub(crate) struct Row {
    pub(crate) id: Uuid,
    pub(crate) product_id: Uuid,
    pub(crate) reason: String,
    pub(crate) priority: i32,
    pub(crate) version: i64,
    pub(crate) force: bool,
    pub(crate) attempts: i32,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) next_attempt_at: DateTime<Utc>,
    pub(crate) processed_at: Option<DateTime<Utc>>,
    pub(crate) outcome: Option<String>,
    pub(crate) push_id: Option<Uuid>,
    pub(crate) last_error: Option<String>,
}

/// What may have become of a pair.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub(crate) struct PairRow {
    pub(crate) sellable_quantity: i64,
    pub(crate) last_pushed_quantity: Option<i64>,
    pub(crate) last_pushed_at: Option<DateTime<Utc>>,
    pub(crate) last_confirmed_quantity: Option<i64>,
    pub(crate) in_flight_push_id: Option<Uuid>,
    pub(crate) push_state: String,
    pub(crate) push_error_code: Option<String>,
    pub(crate) push_error_message: Option<String>,
    pub(crate) blocked_until: Option<DateTime<Utc>>,
    pub(crate) reject_count: i32,
}

/// What may have become of a push.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub(crate) struct PushRow {
    pub(crate) id: Uuid,
    pub(crate) state: String,
    pub(crate) body: Option<String>,
    pub(crate) item_count: i32,
    pub(crate) failed_item_count: i32,
    pub(crate) external_batch_id: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) sent_at: Option<DateTime<Utc>>,
    pub(crate) next_poll_at: Option<DateTime<Utc>>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) polls: i32,
}

/// What is known of a store's marketplace.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub(crate) struct Gate {
    pub(crate) backoff_until: Option<DateTime<Utc>>,
    pub(crate) backoff_reason: Option<String>,
    pub(crate) window_opens_at: Option<DateTime<Utc>>,
    pub(crate) consecutive_failures: i32,
    pub(crate) batch_limit: Option<i32>,
    pub(crate) pending_count: i64,
    pub(crate) lease_token: Option<Uuid>,
    pub(crate) push_enqueued_until: Option<DateTime<Utc>>,
    pub(crate) daily_used: i64,
}

impl Shops {
    /// With a marketplace that says at once what became of an item.
    pub(crate) async fn start(on: Profile) -> Self {
        Self::start_with(on, &[], ScriptedAdapter::new()).await
    }

    /// With settings as in the environment.
    pub(crate) async fn start_with(
        on: Profile,
        settings: &[(&str, &str)],
        adapter: ScriptedAdapter,
    ) -> Self {
        let adapters = adapters(&adapter);
        let app = TestApp::build(on, settings, move |app| app.adapters = adapters).await;
        adapter.go_by(&app.clock);
        Self { app, adapter }
    }

    /// A second process on the same data and the same marketplace.
    pub(crate) async fn other_process(&self) -> Arc<App> {
        self.process(|_| ()).await
    }

    /// The same with a change.
    pub(crate) async fn process(&self, change: impl FnOnce(&mut App)) -> Arc<App> {
        let settings = self.app.app.settings.clone();
        let db = Db::connect(self.app.database.url(), 12).await.unwrap();
        let queue = marketplace_sync::app::open_queue(&settings, &db)
            .await
            .unwrap();
        let connector = Arc::new(self.app.marketplace.clone());
        let clock = self.app.clock.clone();
        let mut app = App::new(settings, db, queue, clock, Ids::system(), connector).unwrap();
        app.adapters = adapters(&self.adapter);
        change(&mut app);
        Arc::new(app)
    }

    /// A store of `org-1` on Trendyol whose marketplace is told.
    pub(crate) async fn live_store(&self, name: &str) -> StoreId {
        self.store_on("trendyol", name, "LIVE").await
    }

    pub(crate) async fn store_on(&self, marketplace: &str, name: &str, mode: &str) -> StoreId {
        let body = json!({
            "organizationId": "org-1",
            "marketplace": marketplace,
            "externalStoreId": name,
            "storeName": name,
            "accessToken": "secret",
            "currency": "TRY",
        });
        let (status, body) = self.app.post("/stores/register", &body).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let id = StoreId(body["storeId"].as_str().unwrap().parse().unwrap());
        on!(&self.app.app.db, pool => sqlx::query(
            "UPDATE stores SET send_stock = TRUE, stock_push_mode = $2 WHERE id = $1")
            .bind(id).bind(mode).execute(pool).await.map(|_| ()).unwrap());
        id
    }

    /// Changes a column of a store.
    pub(crate) async fn set_store(&self, store: StoreId, change: &str) {
        let sql = format!("UPDATE stores SET {change} WHERE id = $1");
        on!(&self.app.app.db, pool => sqlx::query(AssertSqlSafe(sql))
            .bind(store).execute(pool).await.map(|_| ()).unwrap());
    }

    /// A product of `org-1` with this barcode that a store lists, so many of it; nothing is
    /// enqueued.
    pub(crate) async fn list(&self, store: StoreId, barcode: &str, quantity: i64) -> ProductId {
        let product = self.product(Some(barcode), "SIMPLE").await;
        self.list_product(store, product, quantity).await;
        product
    }

    pub(crate) async fn product(&self, barcode: Option<&str>, kind: &str) -> ProductId {
        let now = self.app.clock.now();
        let id = ProductId(self.app.app.ids.new_id(now));
        on!(&self.app.app.db, pool => sqlx::query(
            "INSERT INTO products (id, organization_id, name, barcode, product_type, created_at,
                 updated_at)
             VALUES ($1, 'org-1', 'Product', $2, $3, $4, $4)")
            .bind(id).bind(barcode).bind(kind).bind(now).execute(pool).await.map(|_| ()).unwrap());
        id
    }

    pub(crate) async fn list_product(&self, store: StoreId, product: ProductId, quantity: i64) {
        let now = self.app.clock.now();
        on!(&self.app.app.db, pool => sqlx::query(
            "INSERT INTO product_stores (store_id, product_id, sellable_quantity, created_at,
                 updated_at)
             VALUES ($1, $2, $3, $4, $4)")
            .bind(store).bind(product).bind(quantity).bind(now)
            .execute(pool).await.map(|_| ()).unwrap());
    }

    /// Makes a set of components.
    pub(crate) async fn make_of(&self, set: ProductId, components: &[(ProductId, i64)]) {
        let now = self.app.clock.now();
        for (component, quantity) in components {
            on!(&self.app.app.db, pool => sqlx::query(
                "INSERT INTO product_set_items (set_product_id, component_product_id, quantity,
                     created_at, updated_at)
                 VALUES ($1, $2, $3, $4, $4)")
                .bind(set).bind(component).bind(quantity).bind(now)
                .execute(pool).await.map(|_| ()).unwrap());
        }
    }

    /// Changes how many there are, and says that the marketplace has to be told, in one
    /// transaction.
    pub(crate) async fn change(
        &self,
        store: StoreId,
        product: ProductId,
        quantity: i64,
        reason: Reason,
    ) {
        change(&self.app.app, store, product, quantity, reason, false).await;
    }

    /// Says that the marketplace has to be told, whatever it is believed to show.
    pub(crate) async fn force(&self, store: StoreId, product: ProductId, reason: Reason) {
        let mut tx = self.app.app.db.write().await.unwrap();
        let now = self.app.clock.now();
        enqueue(&mut tx, store, &[product], reason, true, now)
            .await
            .unwrap();
        tx.save().await.unwrap();
    }

    /// Many products that wait to be told, named `p00001`, `p00002`, …; nothing else of them.
    pub(crate) async fn list_many(&self, store: StoreId, count: usize) -> Vec<ProductId> {
        let now = self.app.clock.now();
        let ids: Vec<ProductId> = (0..count)
            .map(|_| ProductId(self.app.app.ids.new_id(now)))
            .collect();
        let rows: Vec<Value> = (1..)
            .zip(&ids)
            .map(|(number, id)| json!({ "id": id.0.simple().to_string(), "n": number }))
            .collect();
        let rows = sqlx::types::Json(rows);
        let (list, id) = match &self.app.app.db {
            Db::Postgres(_) => (
                "jsonb_to_recordset($1) AS r (id TEXT, n BIGINT)",
                "CAST(r.id AS UUID)",
            ),
            Db::Sqlite { .. } => (
                "(SELECT value ->> 'id' AS id, value ->> 'n' AS n FROM json_each($1)) AS r",
                "unhex(r.id)",
            ),
        };
        let barcode = match &self.app.app.db {
            Db::Postgres(_) => "'p' || lpad(CAST(r.n AS TEXT), 5, '0')",
            Db::Sqlite { .. } => "printf('p%05d', r.n)",
        };
        let products = format!(
            "INSERT INTO products (id, organization_id, name, barcode, product_type, created_at,
                 updated_at)
             SELECT {id}, 'org-1', 'Product', {barcode}, 'SIMPLE', $2, $2 FROM {list}"
        );
        let pairs = format!(
            "INSERT INTO product_stores (store_id, product_id, sellable_quantity, created_at,
                 updated_at)
             SELECT $3, {id}, r.n, $2, $2 FROM {list}"
        );
        on!(&self.app.app.db, pool => sqlx::query(AssertSqlSafe(products)).bind(&rows).bind(now)
            .execute(pool).await.map(|_| ()).unwrap());
        on!(&self.app.app.db, pool => sqlx::query(AssertSqlSafe(pairs)).bind(&rows).bind(now)
            .bind(store).execute(pool).await.map(|_| ()).unwrap());
        ids
    }

    /// Says that the marketplace has to be told of products.
    pub(crate) async fn enqueue(&self, store: StoreId, products: &[ProductId], reason: Reason) {
        let mut tx = self.app.app.db.write().await.unwrap();
        let now = self.app.clock.now();
        enqueue(&mut tx, store, products, reason, false, now)
            .await
            .unwrap();
        tx.save().await.unwrap();
    }

    // --- Runs ---

    /// One run of a store, without the queue.
    pub(crate) async fn push(&self, store: StoreId) {
        push_in(&self.app.app, store).await.unwrap();
    }

    /// The same in a task of its own.
    pub(crate) fn spawn_push(&self, store: StoreId) -> JoinHandle<Result<(), String>> {
        let app = self.app.app.clone();
        tokio::spawn(async move { push_in(&app, store).await })
    }

    /// The job of every push whose next look is due, without the queue.
    pub(crate) async fn look(&self) {
        let due: Vec<PushId> = on!(&self.app.app.db, pool => sqlx::query_scalar(
            "SELECT id FROM stock_pushes WHERE next_poll_at <= $1 ORDER BY next_poll_at, id")
            .bind(self.app.clock.now()).fetch_all(pool).await.unwrap());
        for push_id in due {
            let job = ConfirmStockPush { push_id };
            worker::confirm_push(&self.app.app, job, &CancellationToken::new())
                .await
                .unwrap();
        }
    }

    /// The comparison of a store, without the queue.
    pub(crate) async fn compare(&self, store: StoreId) {
        let job = ReconcileStock { store_id: store };
        worker::reconcile_stock(&self.app.app, job, &CancellationToken::new())
            .await
            .unwrap();
    }

    /// The next minute: what the ticks do in it, and all their jobs.
    pub(crate) async fn minute(&self) {
        self.app.clock.advance(Duration::from_mins(1));
        enqueue_due_looks(&self.app.app).await.unwrap();
        enqueue_due_stock(&self.app.app).await.unwrap();
        worker::run_jobs_until_empty(&self.app.app).await.unwrap();
    }

    /// Lets so many seconds pass.
    pub(crate) fn wait(&self, seconds: u64) {
        self.app.clock.advance(Duration::from_secs(seconds));
    }

    /// So many seconds from now.
    pub(crate) fn after(&self, seconds: i64) -> DateTime<Utc> {
        self.app.clock.now() + TimeDelta::seconds(seconds)
    }

    // --- Rows ---

    /// The rows of a store, the oldest first.
    pub(crate) async fn rows(&self, store: StoreId) -> Vec<Row> {
        on!(&self.app.app.db, pool => sqlx::query_as(
            "SELECT id, product_id, reason, priority, version, force, attempts, created_at,
                 next_attempt_at, processed_at, outcome, push_id, last_error
             FROM stock_update_queue
             WHERE store_id = $1
             ORDER BY created_at, id")
            .bind(store).fetch_all(pool).await.unwrap())
    }

    /// Those that wait.
    pub(crate) async fn pending(&self, store: StoreId) -> Vec<Row> {
        let rows = self.rows(store).await;
        rows.into_iter()
            .filter(|row| row.processed_at.is_none())
            .collect()
    }

    /// How many rows came to what.
    pub(crate) async fn outcomes(&self, store: StoreId) -> HashMap<String, usize> {
        let mut outcomes = HashMap::new();
        for row in self.rows(store).await {
            let outcome = row.outcome.unwrap_or_else(|| "pending".to_owned());
            *outcomes.entry(outcome).or_default() += 1;
        }
        outcomes
    }

    pub(crate) async fn pair(&self, store: StoreId, product: ProductId) -> PairRow {
        on!(&self.app.app.db, pool => sqlx::query_as(
            "SELECT sellable_quantity, last_pushed_quantity, last_pushed_at,
                 last_confirmed_quantity, in_flight_push_id, push_state, push_error_code,
                 push_error_message, blocked_until, reject_count
             FROM product_stores
             WHERE store_id = $1 AND product_id = $2")
            .bind(store).bind(product).fetch_one(pool).await.unwrap())
    }

    /// The pushes of a store, the oldest first.
    pub(crate) async fn pushes(&self, store: StoreId) -> Vec<PushRow> {
        on!(&self.app.app.db, pool => sqlx::query_as(
            "SELECT id, state, body, item_count, failed_item_count, external_batch_id, error,
                 sent_at, next_poll_at, expires_at, polls
             FROM stock_pushes
             WHERE store_id = $1
             ORDER BY created_at, id")
            .bind(store).fetch_all(pool).await.unwrap())
    }

    /// How the pushes of a store stand, the oldest first.
    pub(crate) async fn states(&self, store: StoreId) -> Vec<String> {
        self.pushes(store)
            .await
            .into_iter()
            .map(|push| push.state)
            .collect()
    }

    pub(crate) async fn gate(&self, store: StoreId) -> Gate {
        on!(&self.app.app.db, pool => sqlx::query_as(
            "SELECT backoff_until, backoff_reason, window_opens_at, consecutive_failures,
                 batch_limit, pending_count, lease_token, push_enqueued_until, daily_used
             FROM marketplace_rate_limits
             WHERE store_id = $1")
            .bind(store).fetch_one(pool).await.unwrap())
    }

    /// Why the gate of a store is closed, and in how many seconds it opens; none: it is open.
    pub(crate) async fn closed(&self, store: StoreId) -> Option<(String, f64)> {
        let gate = self.gate(store).await;
        let wait = (gate.backoff_until? - self.app.clock.now()).as_seconds_f64();
        (wait > 0.0).then(|| (gate.backoff_reason.unwrap(), wait))
    }

    /// The names of the events of a store, the oldest first.
    pub(crate) async fn events(&self, store: StoreId) -> Vec<String> {
        on!(&self.app.app.db, pool => sqlx::query_scalar(
            "SELECT event FROM callback_outbox WHERE store_id = $1 ORDER BY created_at, id")
            .bind(store).fetch_all(pool).await.unwrap())
    }
}

/// All marketplaces are this one.
fn adapters(adapter: &ScriptedAdapter) -> Adapters {
    let adapter: Arc<dyn Adapter> = Arc::new(adapter.clone());
    let all = Marketplace::ALL.map(|marketplace| (marketplace, adapter.clone()));
    Adapters::with(all.into())
}

/// One run of a store in a process, without the queue.
pub(crate) async fn push_in(process: &App, store: StoreId) -> Result<(), String> {
    worker::push_stock(
        process,
        PushStock { store_id: store },
        &CancellationToken::new(),
    )
    .await
}

/// Changes how many of a product a store can sell, and enqueues it, in one transaction.
pub(crate) async fn change(
    app: &App,
    store: StoreId,
    product: ProductId,
    quantity: i64,
    reason: Reason,
    force: bool,
) {
    let now = app.clock.now();
    let mut tx = app.db.write().await.unwrap();
    let sql = "UPDATE product_stores SET sellable_quantity = $3, updated_at = $4
               WHERE store_id = $1 AND product_id = $2";
    match &mut tx {
        marketplace_sync::db::Tx::Postgres(tx) => sqlx::query(sql)
            .bind(store)
            .bind(product)
            .bind(quantity)
            .bind(now)
            .execute(&mut **tx)
            .await
            .map(|_| ()),
        marketplace_sync::db::Tx::Sqlite(tx) => sqlx::query(sql)
            .bind(store)
            .bind(product)
            .bind(quantity)
            .bind(now)
            .execute(&mut **tx)
            .await
            .map(|_| ()),
    }
    .unwrap();
    enqueue(&mut tx, store, &[product], reason, force, now)
        .await
        .unwrap();
    tx.save().await.unwrap();
}
