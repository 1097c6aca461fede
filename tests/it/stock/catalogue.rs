//! Products and stores for the tests of this domain.

use std::fmt::Write;

use chrono::{DateTime, Utc};
use jobs::StoreId;
use marketplace_sync::db::Db;
use marketplace_sync::stock::model::ProductId;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, FromRow};
use uuid::Uuid;

use crate::support::app::{Profile, TestApp, TestStore, on, store_body};

/// A service whose organization is `org-1`.
pub(super) struct Catalogue {
    pub(super) app: TestApp,
}

/// A row of the queue.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub(super) struct QueueRow {
    pub(super) id: Uuid,
    pub(super) product_id: Uuid,
    pub(super) store_id: Uuid,
    pub(super) reason: String,
    pub(super) priority: i32,
    pub(super) version: i64,
    pub(super) force: bool,
    pub(super) created_at: DateTime<Utc>,
    pub(super) last_enqueued_at: DateTime<Utc>,
    pub(super) next_attempt_at: DateTime<Utc>,
}

impl Catalogue {
    pub(super) async fn start(on: Profile) -> Self {
        Self {
            app: TestApp::start(on).await,
        }
    }

    /// A store on a marketplace.
    pub(super) async fn register_on(&self, marketplace: &str) -> TestStore {
        let mut body = store_body("shop");
        body["marketplace"] = json!(marketplace);
        let (status, answer) = self.app.post("/stores/register", &body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        TestStore {
            id: id(&answer["storeId"]).into(),
            token: id(&answer["syncToken"]),
        }
    }

    /// A request for `org-1`.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let joint = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{joint}organizationId=org-1");
        let mut request = self.app.http.request(method, self.app.server.url(&path));
        if let Some(body) = body {
            request = request.json(&body);
        }
        self.app.send(request).await
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    pub(super) async fn put(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(Method::PUT, path, Some(body)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    pub(super) async fn patch(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(Method::PATCH, path, Some(body)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    /// Asks for something that is refused with a status and a word.
    pub(super) async fn refused(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        status: u16,
        error: &str,
    ) -> Value {
        let (found, answer) = self.ask(method, path, body).await;
        let found = (found.as_u16(), answer["error"].as_str().unwrap_or_default());
        assert_eq!(found, (status, error), "{path}: {answer}");
        answer
    }

    /// Creates a product whose SKU is its name.
    pub(super) async fn create(&self, name: &str, product_type: &str) -> ProductId {
        let body = json!({
            "organizationId": "org-1",
            "name": name,
            "sku": name,
            "productType": product_type,
        });
        let (status, answer) = self.app.post("/products", &body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        ProductId(id(&answer["id"]))
    }

    pub(super) async fn simple(&self, name: &str) -> ProductId {
        self.create(name, "SIMPLE").await
    }

    pub(super) async fn set(&self, name: &str, items: &[(ProductId, i64)]) -> ProductId {
        let set = self.create(name, "SET").await;
        self.compose(set, items).await;
        set
    }

    pub(super) async fn compose(&self, set: ProductId, items: &[(ProductId, i64)]) -> Value {
        let path = format!("/products/{set}/set-items");
        self.put(&path, items_of(items)).await
    }

    /// Lists a product in a store that has so many of it.
    pub(super) async fn stock(&self, store: TestStore, product: ProductId, sellable: i64) {
        self.put(&pair(store.id, product), json!({ "isListed": true }))
            .await;
        self.set_sellable(store.id, product, sellable).await;
    }

    /// Nobody is told.
    pub(super) async fn set_sellable(&self, store: StoreId, product: ProductId, sellable: i64) {
        let changed = on!(&self.app.app.db, pool => sqlx::query(
            "UPDATE product_stores SET sellable_quantity = $3
             WHERE store_id = $1 AND product_id = $2")
            .bind(store).bind(product).bind(sellable)
            .execute(pool).await.unwrap().rows_affected());
        assert_eq!(changed, 1);
    }

    /// What the marketplace of a store is believed to show.
    pub(super) async fn set_confirmed(
        &self,
        store: StoreId,
        product: ProductId,
        quantity: Option<i64>,
    ) {
        let now = self.app.clock.now();
        let changed = on!(&self.app.app.db, pool => sqlx::query(
            "UPDATE product_stores
             SET last_confirmed_quantity = $3, last_confirmed_at = $4, last_pushed_quantity = $3,
                 last_pushed_at = $4
             WHERE store_id = $1 AND product_id = $2")
            .bind(store).bind(product).bind(quantity).bind(now)
            .execute(pool).await.unwrap().rows_affected());
        assert_eq!(changed, 1);
    }

    /// The marketplace refuses a product.
    pub(super) async fn block(
        &self,
        store: StoreId,
        product: ProductId,
        code: &str,
        until: Option<DateTime<Utc>>,
    ) {
        let changed = on!(&self.app.app.db, pool => sqlx::query(
            "UPDATE product_stores
             SET push_state = 'BLOCKED', push_error_code = $3, push_error_message = 'no',
                 blocked_until = $4, reject_count = 6
             WHERE store_id = $1 AND product_id = $2")
            .bind(store).bind(product).bind(code).bind(until)
            .execute(pool).await.unwrap().rows_affected());
        assert_eq!(changed, 1);
    }

    /// What waits of a store, product by product.
    pub(super) async fn pending(&self, store: TestStore) -> Vec<QueueRow> {
        on!(&self.app.app.db, pool => sqlx::query_as(
            "SELECT id, product_id, store_id, reason, priority, version, force, created_at,
                 last_enqueued_at, next_attempt_at
             FROM stock_update_queue
             WHERE store_id = $1 AND processed_at IS NULL
             ORDER BY product_id")
            .bind(store.id).fetch_all(pool).await.unwrap())
    }

    /// What waits of a product.
    pub(super) async fn pending_of(
        &self,
        store: TestStore,
        product: ProductId,
    ) -> Option<QueueRow> {
        let rows = self.pending(store).await;
        rows.into_iter().find(|row| row.product_id == product.0)
    }

    /// Everything that waits was sent.
    pub(super) async fn empty_queue(&self) {
        let now = self.app.clock.now();
        on!(&self.app.app.db, pool => sqlx::query(
            "UPDATE stock_update_queue SET processed_at = $1, outcome = 'SENT'
             WHERE processed_at IS NULL")
            .bind(now).execute(pool).await.map(|_| ()).unwrap());
    }

    /// How a product stands in a store.
    pub(super) async fn level(&self, store: TestStore, product: ProductId) -> Value {
        let levels = self.get(&format!("/products/{product}/stock")).await;
        let levels = levels["items"].as_array().unwrap();
        let of_store = |level: &&Value| level["storeId"] == json!(store.id);
        levels.iter().find(of_store).unwrap().clone()
    }

    /// The effective quantity of a product in a store.
    pub(super) async fn effective(&self, store: TestStore, product: ProductId) -> i64 {
        self.level(store, product).await["effective"]
            .as_i64()
            .unwrap()
    }

    /// An id, as it stands in SQL.
    pub(super) fn literal(&self, id: Uuid) -> String {
        match self.app.app.db {
            Db::Postgres(_) => format!("'{id}'"),
            Db::Sqlite { .. } => format!("x'{}'", id.simple()),
        }
    }

    /// Inserts rows a thousand at a time; the columns go on with when they were created.
    pub(super) async fn insert(&self, columns: &str, rows: impl Iterator<Item = String>) {
        let now = "'2024-01-01T12:00:00.123+00:00'";
        let rows: Vec<String> = rows.collect();
        for rows in rows.chunks(1000) {
            let mut sql = format!("INSERT INTO {columns}, created_at, updated_at) VALUES ");
            for (index, row) in rows.iter().enumerate() {
                let comma = if index == 0 { "" } else { ", " };
                write!(sql, "{comma}({row}, {now}, {now})").unwrap();
            }
            on!(&self.app.app.db, pool => sqlx::raw_sql(AssertSqlSafe(sql.as_str()))
                .execute(pool).await.map(|_| ()).unwrap());
        }
    }
}

pub(super) fn pair(store: StoreId, product: ProductId) -> String {
    format!("/stores/{store}/products/{product}")
}

pub(super) fn items_of(items: &[(ProductId, i64)]) -> Value {
    let items: Vec<Value> = items
        .iter()
        .map(|(id, quantity)| json!({ "componentProductId": id, "quantity": quantity }))
        .collect();
    json!({ "items": items })
}

pub(super) fn id(value: &Value) -> Uuid {
    value.as_str().unwrap().parse().unwrap()
}
