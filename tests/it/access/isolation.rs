//! A key of another organization, on every operation of the API's document: it reads nothing and
//! changes nothing. An operation that is not listed here fails the test.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jobs::{DeliverCallback, Job, ResyncStore, SyncStore};
use marketplace_sync::db::Db;
use marketplace_sync::http::auth::{Access, Scope};
use marketplace_sync::keys::revoke_key;
use marketplace_sync::openapi;
use poem::endpoint::make_sync;
use reqwest::{Method, RequestBuilder, Response};
use rstest::rstest;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::locked;
use super::stock::{Goods, attempts as attempts_on_stock};
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, TestStore, on, store_body};
use crate::support::server::TestServer;

/// In everything that `org-1` has and others must not see.
const MARK: &str = "of-org-1";

/// Two organizations: `org-1` has one of everything, `org-2` asks.
pub(super) struct World {
    pub(super) app: TestApp,
    pub(super) own: SecretString,
    own_read: SecretString,
    revoked: SecretString,
    pub(super) foreign: SecretString,
    pub(super) store: TestStore,
    webhook: String,
    event: String,
    /// `nextCursor` of the events of `org-1`.
    cursor: String,
    /// Opens a store of `org-2`.
    foreign_token: Value,
    /// That store.
    pub(super) foreign_store: String,
    /// What `org-1` sells.
    pub(super) goods: Goods,
    /// What `org-1` was sent.
    deliveries: Arc<AtomicUsize>,
    receiver: TestServer,
}

/// One request to an operation, and how a key of `org-2` is answered.
pub(super) struct Attempt {
    path: String,
    body: Value,
    idempotency_key: Option<&'static str>,
    status: u16,
}

pub(super) fn attempt(path: impl Into<String>, status: u16) -> Attempt {
    sent(path, Value::Null, status)
}

pub(super) fn sent(path: impl Into<String>, body: Value, status: u16) -> Attempt {
    Attempt {
        path: path.into(),
        body,
        idempotency_key: None,
        status,
    }
}

impl World {
    async fn new(on: Profile) -> Self {
        let app = locked(on).await;
        let own = app.key_of("org-1").await;
        let own_read = app.make_key("org-1", Scope::Read, None).await.1;
        let (over, revoked) = app.make_key("org-1", Scope::Write, None).await;
        let now = app.clock.now();
        revoke_key(&app.app.db, over.id, now).await.unwrap();
        let foreign = app.key_of("org-2").await;
        let deliveries = Arc::new(AtomicUsize::new(0));
        let counted = deliveries.clone();
        let receiver = TestServer::start(make_sync(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        }))
        .await;
        let mut world = Self {
            app,
            own,
            own_read,
            revoked,
            foreign,
            store: TestStore {
                id: uuid::Uuid::nil().into(),
                token: uuid::Uuid::nil(),
            },
            webhook: String::new(),
            event: String::new(),
            cursor: String::new(),
            foreign_token: Value::Null,
            foreign_store: String::new(),
            goods: Goods::default(),
            deliveries,
            receiver,
        };
        world.fill().await;
        world.goods = Goods::of(&world).await;
        world.app.settle().await;
        world
    }

    async fn fill(&mut self) {
        let (app, own) = (&self.app, &self.own);
        let post = async |key, path, body| {
            let (status, answer) = app.post_as(key, path, &body).await;
            assert_eq!(status, 200, "{answer}");
            answer
        };
        let store = post(own, "/stores/register", store_of("org-1")).await;
        self.store = TestStore {
            id: store["storeId"].as_str().unwrap().parse().unwrap(),
            token: store["syncToken"].as_str().unwrap().parse().unwrap(),
        };
        let foreign = post(&self.foreign, "/stores/register", store_of("org-2")).await;
        self.foreign_token = foreign["syncToken"].clone();
        foreign["storeId"]
            .as_str()
            .unwrap()
            .clone_into(&mut self.foreign_store);
        app.insert_row(self.store, "receipt-of-org-1", "failed", 60)
            .await;
        let request = app.request_as(own, Method::POST, "/webhooks/register");
        let request = request.header("idempotency-key", "once");
        let (_, webhook) = app.send(request.json(&self.webhook_of("org-1"))).await;
        webhook["id"]
            .as_str()
            .unwrap()
            .clone_into(&mut self.webhook);
        let age = chrono::TimeDelta::hours(1);
        for _ in 0..2 {
            let event = app.insert_event(self.store, "failed", age).await;
            let webhook = self.webhook.parse().unwrap();
            app.insert_delivery(event, webhook, "failed", age).await;
            self.event = event.to_string();
        }
        let (_, page) = app
            .get_as(own, "/callbacks?organizationId=org-1&limit=1")
            .await;
        page["nextCursor"]
            .as_str()
            .unwrap()
            .clone_into(&mut self.cursor);
    }

    fn webhook_of(&self, organization_id: &str) -> Value {
        json!({
            "organizationId": organization_id,
            "event": "sync.completed",
            "targetUrl": self.receiver.url("/of-org-1").as_str(),
        })
    }

    /// What is tried on an operation; the first one is what works with a key of `org-1`.
    fn attempts(&self, operation: &str) -> Vec<Attempt> {
        let of_webhook = |tail: &str, body: Value| {
            let path = format!("/webhooks/{}{tail}?organizationId=", self.webhook);
            vec![
                sent(format!("{path}org-1"), body.clone(), 403),
                sent(format!("{path}org-2"), body, 404),
            ]
        };
        let list = |path: &str| {
            vec![
                attempt(format!("{path}?organizationId=org-1"), 403),
                attempt(format!("{path}?organizationId=org-2"), 200),
            ]
        };
        let (webhook, event) = (&self.webhook, &self.event);
        match operation {
            "list_callbacks" | "list_failed_callbacks" => {
                let path = match operation {
                    "list_callbacks" => "/callbacks",
                    _ => "/callbacks/failed",
                };
                let mut attempts = list(path);
                let cursor = &self.cursor;
                let next = format!("{path}?organizationId=org-2&cursor={cursor}");
                attempts.push(attempt(next, 200));
                attempts
            }
            "list_webhooks" => list("/webhooks"),
            "get_callback" => vec![attempt(format!("/callbacks/{event}"), 404)],
            "requeue_callback" => vec![attempt(format!("/callbacks/{event}/requeue"), 404)],
            "recover_webhook" => [true, false]
                .map(|dry| json!({ "since": "2020-01-01T00:00:00Z", "dryRun": dry }))
                .map(|body| sent(format!("/webhooks/{webhook}/recover"), body, 404))
                .into(),
            "get_webhook" | "delete_webhook" => of_webhook("", Value::Null),
            "update_webhook" => of_webhook("", json!({ "description": "changed" })),
            "rotate_webhook_secret" => of_webhook("/rotate-secret", Value::Null),
            "test_webhook" => of_webhook("/test", Value::Null),
            "register_store" => vec![
                sent("/stores/register", store_of("org-1"), 403),
                // The same shop, for oneself: another store.
                sent("/stores/register", store_of("org-2"), 200),
            ],
            "register_webhook" => {
                let again = sent("/webhooks/register", self.webhook_of("org-1"), 403);
                // Somebody else's idempotency key is not one's own.
                let same_key = |organization_id, status| Attempt {
                    idempotency_key: Some("once"),
                    ..sent(
                        "/webhooks/register",
                        self.webhook_of(organization_id),
                        status,
                    )
                };
                vec![again, same_key("org-1", 403)]
            }
            "import_order" | "import_orders" | "get_sync_status" => self.by_token(operation),
            "get_liveness" => vec![attempt("/health/live", 200)],
            "get_readiness" => vec![attempt("/health/ready", 200)],
            // Somebody else's API, with credentials of its own.
            "validate_receipt" => vec![sent("/mock/etsy/validate", receipt_of_org_1(), 401)],
            other => attempts_on_stock(self, other)
                .unwrap_or_else(|| panic!("say here how `{other}` keeps organizations apart")),
        }
    }

    /// A key means nothing here. What `org-2` could know of a store of `org-1` is its id, and its
    /// own token opens nothing but its own store.
    fn by_token(&self, operation: &str) -> Vec<Attempt> {
        let tokens = [
            (json!(self.store.token), None),
            (json!(self.store.id), Some(404)),
            (json!(self.webhook), Some(404)),
            (self.foreign_token.clone(), Some(200)),
        ];
        let request = |(token, status): (Value, Option<u16>)| {
            let status = status.unwrap_or(200);
            let receipt = "receipt-of-org-1";
            match operation {
                "import_order" => {
                    let body = json!({ "syncToken": token, "receipt": receipt });
                    sent("/orders/import", body, status)
                }
                "import_orders" => {
                    let body = json!({ "syncToken": token, "receipts": [receipt] });
                    sent("/orders/import/batch", body, status)
                }
                _ => {
                    let token = token.as_str().unwrap();
                    attempt(format!("/stores/sync-status?syncToken={token}"), status)
                }
            }
        };
        tokens.into_iter().map(request).collect()
    }

    fn request(&self, method: &Method, attempt: &Attempt) -> RequestBuilder {
        let url = self.app.server.url(&attempt.path);
        let mut request = self.app.http.request(method.clone(), url);
        if let Some(key) = attempt.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        match &attempt.body {
            Value::Null => request,
            body => request.json(body),
        }
    }

    async fn ask(&self, key: &SecretString, method: &Method, attempt: &Attempt) -> Response {
        let request = self.request(method, attempt);
        let request = request.header("x-api-key", key.expose_secret());
        request.send().await.unwrap()
    }
}

fn receipt_of_org_1() -> Value {
    json!({ "receipt": "receipt-of-org-1" })
}

fn store_of(organization_id: &str) -> Value {
    let mut store = store_body("shop");
    store["organizationId"] = json!(organization_id);
    if organization_id == "org-1" {
        store["storeName"] = json!("Shop of-org-1");
        store["accessToken"] = json!("token-of-org-1");
    }
    store
}

/// Id, method and whether a key is needed.
fn operations() -> Vec<(String, Method, bool)> {
    let document = openapi::document(&Access::by_key(Vec::new(), None), true);
    let paths = document["paths"].as_object().unwrap();
    let methods = paths.values().flat_map(|path| path.as_object().unwrap());
    let mut operations: Vec<_> = methods
        .map(|(method, operation)| {
            let security = operation["security"].as_array().into_iter().flatten();
            let needs_key = security.clone().any(|one| one.get("ApiKey").is_some());
            (
                operation["operationId"].as_str().unwrap().to_owned(),
                method.to_uppercase().parse().unwrap(),
                needs_key,
            )
        })
        .collect();
    // What ends things comes last.
    operations.sort_by_key(|(id, ..)| id.starts_with("delete_"));
    operations
}

/// Every table of the schema, and which of its rows are those of `org-1`; `None`: nobody's.
const TABLES: &[(&str, Option<&str>)] = &[
    ("stores", Some("organization_id = 'org-1'")),
    (
        "sync_logs",
        Some("store_id IN (SELECT id FROM stores WHERE organization_id = 'org-1')"),
    ),
    ("webhook_endpoints", Some("organization_id = 'org-1'")),
    (
        "webhook_secrets",
        Some("endpoint_id IN (SELECT id FROM webhook_endpoints WHERE organization_id = 'org-1')"),
    ),
    ("callback_outbox", Some("organization_id = 'org-1'")),
    (
        "callback_deliveries",
        Some("outbox_id IN (SELECT id FROM callback_outbox WHERE organization_id = 'org-1')"),
    ),
    (
        "callback_attempts",
        Some(
            "delivery_id IN (SELECT d.id FROM callback_deliveries AS d
                 JOIN callback_outbox AS o ON o.id = d.outbox_id
                 WHERE o.organization_id = 'org-1')",
        ),
    ),
    ("api_keys", Some("organization_id = 'org-1'")),
    ("products", Some("organization_id = 'org-1'")),
    ("product_barcodes", Some("organization_id = 'org-1'")),
    (
        "product_set_items",
        Some("set_product_id IN (SELECT id FROM products WHERE organization_id = 'org-1')"),
    ),
    ("product_stores", Some(OF_STORE)),
    ("stock_update_queue", Some(OF_STORE)),
    ("marketplace_rate_limits", Some(OF_STORE)),
    ("warehouses", Some("organization_id = 'org-1'")),
    ("warehouse_stores", Some(OF_STORE)),
    (
        "shelves",
        Some("warehouse_id IN (SELECT id FROM warehouses WHERE organization_id = 'org-1')"),
    ),
    (
        "shelf_stocks",
        Some("product_id IN (SELECT id FROM products WHERE organization_id = 'org-1')"),
    ),
    ("stock_reservations", Some(OF_STORE)),
    (
        "stock_reservation_items",
        Some("product_id IN (SELECT id FROM products WHERE organization_id = 'org-1')"),
    ),
    ("stock_movements", Some("organization_id = 'org-1'")),
    ("stock_pushes", Some(OF_STORE)),
    (
        "stock_push_items",
        Some("product_id IN (SELECT id FROM products WHERE organization_id = 'org-1')"),
    ),
    ("api_logs", Some("organization_id = 'org-1'")),
    ("rate_buckets", None),
    ("idempotency_keys", Some("TRUE")),
    ("encryption_keys", Some("TRUE")),
    ("queue_epochs", None),
    ("schedule_cursors", None),
    ("schedule_ticks", None),
];

const OF_STORE: &str = "store_id IN (SELECT id FROM stores WHERE organization_id = 'org-1')";

/// Those that nothing has been written to.
const EMPTY: &[&str] = &["callback_attempts", "encryption_keys"];

/// The tables of the schema.
async fn tables(db: &Db) -> BTreeSet<String> {
    let schema = db.schema().await.unwrap();
    let name = |line: &str| {
        Some(
            line.strip_prefix("CREATE TABLE ")?
                .split(' ')
                .next()?
                .to_owned(),
        )
    };
    schema.lines().filter_map(name).collect()
}

/// All columns of all rows of `org-1`, in an order that stays.
async fn rows(db: &Db) -> Vec<String> {
    let mut rows = Vec::new();
    for (table, filter) in TABLES {
        let Some(filter) = filter else { continue };
        let text = match db {
            Db::Postgres(_) => "CAST(t AS TEXT)".to_owned(),
            Db::Sqlite { writer, .. } => {
                let columns: Vec<String> =
                    sqlx::query_scalar("SELECT 'QUOTE(' || name || ')' FROM pragma_table_info($1)")
                        .bind(table)
                        .fetch_all(writer)
                        .await
                        .unwrap();
                columns.join(" || ',' || ")
            }
        };
        let sql = format!("SELECT {text} FROM {table} AS t WHERE {filter} ORDER BY 1");
        let found: Vec<String> = on!(db, pool => sqlx::query_scalar(AssertSqlSafe(sql.clone()))
            .fetch_all(pool).await.unwrap());
        assert!(
            !found.is_empty() || EMPTY.contains(table),
            "{table} has nothing to lose"
        );
        rows.extend(found.into_iter().map(|row| format!("{table}: {row}")));
    }
    rows
}

#[rstest]
#[tokio::test]
async fn a_foreign_key_reads_and_changes_nothing(#[values(Embedded, Server)] on: Profile) {
    let world = World::new(on).await;
    let db = &world.app.app.db;
    let listed: BTreeSet<String> = TABLES
        .iter()
        .map(|(table, _)| (*table).to_owned())
        .collect();
    assert_eq!(listed, tables(db).await, "say whose rows a new table has");
    let before = rows(db).await;
    let mut secrets = vec![world.store.token.to_string(), world.store.id.to_string()];
    secrets.extend(world.goods.ids());

    for (id, method, _) in operations() {
        let by_token = ["import_order", "import_orders", "get_sync_status"].contains(&id.as_str());
        // A token is the right to use it, whoever has it: that one is not foreign.
        for attempt in world.attempts(&id).iter().skip(usize::from(by_token)) {
            let mut methods = vec![method.clone()];
            if method == Method::GET {
                methods.push(Method::HEAD);
            }
            for method in methods {
                let answer = world.ask(&world.foreign, &method, attempt).await;
                let place = format!("{id}: {method} {}", attempt.path);
                assert_eq!(answer.status(), attempt.status, "{place}");
                assert!(
                    answer.headers().get("idempotency-replayed").is_none(),
                    "{place}"
                );
                // The address is in the answer of nobody but whoever sent it.
                let text = answer.text().await.unwrap();
                let text = text.replace("receipt-of-org-1", "");
                for secret in secrets
                    .iter()
                    .map(String::as_str)
                    .chain([MARK, &world.event])
                {
                    assert!(!text.contains(secret), "{place} shows {secret}: {text}");
                }
            }
        }
        world.app.settle().await;
        assert_eq!(rows(db).await, before, "{id} changed something");
    }
    assert_eq!(world.deliveries.load(Ordering::Relaxed), 0);
    for queue in [SyncStore::QUEUE, DeliverCallback::QUEUE, ResyncStore::QUEUE] {
        assert_eq!(world.app.app.queue.waiting(queue).await.unwrap(), 0);
    }
}

/// The same requests work for whom they are meant, so the others are refused for the key alone;
/// and they are refused to whoever has no key, one that is over, or one that may only read.
#[rstest]
#[tokio::test]
async fn the_same_requests_work_with_a_key_of_the_organization(
    #[values(Embedded, Server)] on: Profile,
) {
    let mut world = World::new(on).await;
    world.app.leave_jobs();
    let before = rows(&world.app.app.db).await;
    for (id, method, needs_key) in operations() {
        let attempt = &world.attempts(&id)[0];
        if !needs_key {
            continue;
        }
        let nobody = world.request(&method, attempt).send().await.unwrap();
        assert_eq!(nobody.status(), 401, "{id} without a key");
        let revoked = world.ask(&world.revoked, &method, attempt).await;
        assert_eq!(revoked.status(), 401, "{id} with a revoked key");
        let reading = world.ask(&world.own_read, &method, attempt).await;
        let expected = if method == Method::GET { 200 } else { 403 };
        assert_eq!(
            reading.status(),
            expected,
            "{id} with a key that may only read"
        );
    }
    world.app.settle().await;
    let used = |row: &String| !row.starts_with("api_keys");
    let after = rows(&world.app.app.db).await;
    assert!(
        after
            .iter()
            .filter(|row| used(row))
            .eq(before.iter().filter(|row| used(row)))
    );
    for (id, method, _) in operations() {
        let attempt = &world.attempts(&id)[0];
        let answer = world.ask(&world.own, &method, attempt).await;
        let status = answer.status();
        let is_as_expected = status.is_success() || id == "validate_receipt";
        assert!(
            is_as_expected,
            "{id}: {status} {}",
            answer.text().await.unwrap()
        );
    }
    assert_eq!(
        world.deliveries.load(Ordering::Relaxed),
        1,
        "the test of the webhook"
    );
    world.app.settle().await;
}
