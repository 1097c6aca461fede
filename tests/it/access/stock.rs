//! What `org-1` sells, and what `org-2` tries on it.

use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use uuid::Uuid;

use super::isolation::{Attempt, World, attempt, sent};
use crate::support::app::on;

/// A coat and a set with two coats, listed in the store of `org-1`; a shelf with coats; an order.
#[derive(Default)]
pub(super) struct Goods {
    coat: String,
    set: String,
    warehouse: String,
    shelf: String,
}

impl Goods {
    pub(super) async fn of(world: &World) -> Self {
        let id = |answer: &Value| answer["id"].as_str().unwrap().to_owned();
        let ask = async |method, path: String, body: Value| {
            let path = format!("{path}?organizationId=org-1");
            let request = world.app.request_as(&world.own, method, &path);
            let (status, answer) = world.app.send(request.json(&body)).await;
            assert!(status.is_success(), "{path}: {answer}");
            answer
        };
        let product = |name: &str, kind: &str| {
            json!({
                "organizationId": "org-1",
                "name": format!("{name} of-org-1"),
                "sku": name,
                "barcode": name,
                "productType": kind,
            })
        };
        let post = async |path: String, body| ask(Method::POST, path, body).await;
        let put = async |path: String, body| ask(Method::PUT, path, body).await;
        let coat = id(&post("/products".into(), product("coat", "SIMPLE")).await);
        let set = id(&post("/products".into(), product("set", "SET")).await);
        let further = json!({ "barcodes": ["further"] });
        put(format!("/products/{coat}/barcodes"), further).await;
        put(format!("/products/{set}/set-items"), items(&coat, 2)).await;
        let store = world.store.id;
        for product in [&coat, &set] {
            put(format!("/stores/{store}/products/{product}"), json!({})).await;
        }
        let path = format!("/stores/{store}/products/{coat}/adjustments");
        post(path, json!({ "type": "DELTA", "quantity": 9 })).await;
        post(
            format!("/stores/{store}/reservations"),
            order("order-1", &coat),
        )
        .await;
        let warehouse = json!({ "organizationId": "org-1", "name": "of-org-1", "code": "W" });
        let warehouse = id(&post("/warehouses".into(), warehouse).await);
        let stores = json!({ "storeIds": [store] });
        put(format!("/warehouses/{warehouse}/stores"), stores).await;
        let shelf = json!({ "code": "S" });
        let shelf = id(&post(format!("/warehouses/{warehouse}/shelves"), shelf).await);
        post(format!("/shelves/{shelf}/stock/add"), goods(&coat)).await;
        world.push(&coat).await;
        world.become_live(&world.own).await;
        Self {
            coat,
            set,
            warehouse,
            shelf,
        }
    }

    /// What the others must not be shown.
    pub(super) fn ids(&self) -> Vec<String> {
        [&self.coat, &self.set, &self.warehouse, &self.shelf]
            .map(Clone::clone)
            .into()
    }
}

/// A push of `org-1`.
const PUSH: Uuid = Uuid::from_u128(0x018c_c251_f400_7000_8000_0000_0000_0077);

impl World {
    /// A marketplace was told something, and the log has it.
    pub(super) async fn push(&self, product: &str) {
        let now = self.app.app.clock.now();
        let store = self.store.id.0;
        let product: Uuid = product.parse().unwrap();
        let db = &self.app.app.db;
        on!(db, pool => sqlx::query(
            "INSERT INTO stock_pushes (id, store_id, organization_id, state, body_sha256, body,
                 item_count, created_at, updated_at)
             VALUES ($1, $2, 'org-1', 'DRY_RUN', 'of-org-1', 'of-org-1', 1, $3, $3)")
            .bind(PUSH).bind(store).bind(now)
            .execute(pool).await.map(|_| ()))
        .unwrap();
        on!(db, pool => sqlx::query(
            "INSERT INTO stock_push_items (push_id, element_no, product_id, computed_quantity,
                 sent_quantity, state, external_sku)
             VALUES ($1, 1, $2, 1, 1, 'DRY_RUN', 'of-org-1')")
            .bind(PUSH).bind(product)
            .execute(pool).await.map(|_| ()))
        .unwrap();
        on!(db, pool => sqlx::query(
            "INSERT INTO api_logs (id, organization_id, provider, type, store_id, method, url,
                 truncated, is_success, duration_ms, created_at, updated_at)
             VALUES ($1, 'org-1', 'ETSY', 'UPDATE_STOCK', $2, 'PUT', 'http://of-org-1', FALSE,
                 TRUE, 1, $3, $3)")
            .bind(PUSH).bind(store).bind(now)
            .execute(pool).await.map(|_| ()))
        .unwrap();
    }

    /// A resync was asked for and done.
    async fn become_live(&self, key: &SecretString) {
        let store = self.store.id;
        let path = format!("/stores/{store}/stock-settings?organizationId=org-1");
        let live = json!({ "sendStock": true, "stockPushMode": "LIVE" });
        let request = self.app.request_as(key, Method::PATCH, &path);
        let (status, answer) = self.app.send(request.json(&live)).await;
        assert!(status.is_success(), "{answer}");
        self.app.run_jobs().await;
    }
}

fn items(component: &str, quantity: i64) -> Value {
    json!({ "items": [{ "componentProductId": component, "quantity": quantity }] })
}

fn order(reference: &str, product: &str) -> Value {
    json!({ "orderRef": reference, "lines": [{ "productId": product, "quantity": 1 }] })
}

fn goods(product: &str) -> Value {
    json!({ "productId": product, "quantity": 3 })
}

/// A request about what is in its path: as `org-1`, which the key is not of, and as `org-2`, whose
/// it is not.
fn of(path: &str, body: &Value) -> Vec<Attempt> {
    vec![
        sent(format!("{path}?organizationId=org-1"), body.clone(), 403),
        sent(format!("{path}?organizationId=org-2"), body.clone(), 404),
    ]
}

/// A list of an organization: of `org-1`, and of oneself.
fn list(path: &str) -> Vec<Attempt> {
    vec![
        attempt(format!("{path}?organizationId=org-1"), 403),
        attempt(format!("{path}?organizationId=org-2"), 200),
    ]
}

/// What is tried on an operation of this domain; the first one is what works with a key of
/// `org-1`.
pub(super) fn attempts(world: &World, operation: &str) -> Option<Vec<Attempt>> {
    on_products(world, operation)
        .or_else(|| on_stores(world, operation))
        .or_else(|| on_warehouses(world, operation))
        .or_else(|| on_pushes(world, operation))
}

fn on_pushes(world: &World, operation: &str) -> Option<Vec<Attempt>> {
    let store = world.store.id;
    let of_push = |tail: &str| of(&format!("/stock-pushes/{PUSH}{tail}"), &Value::Null);
    let of_own_or = |path: &str| {
        let mut attempts = list(path);
        let path = format!("{path}?organizationId=org-2&storeId={store}");
        attempts.push(attempt(path, 404));
        attempts
    };
    Some(match operation {
        "list_stock_pushes" => of_own_or("/stock-pushes"),
        "list_api_logs" => of_own_or("/api-logs"),
        "get_stock_push" => of_push(""),
        "list_stock_push_items" => of_push("/items"),
        "get_stock_rollout" => list("/stock-rollout"),
        _ => return None,
    })
}

fn on_products(world: &World, operation: &str) -> Option<Vec<Attempt>> {
    let Goods { coat, set, .. } = &world.goods;
    let of_coat = |tail: &str, body: Value| of(&format!("/products/{coat}{tail}"), &body);
    let of_set = |body: Value| of(&format!("/products/{set}/set-items"), &body);
    Some(match operation {
        "list_products" => {
            let mut attempts = list("/products");
            for query in ["barcode=coat", "barcode=further", "sku=coat", "q=coat"] {
                attempts.push(attempt(
                    format!("/products?organizationId=org-2&{query}"),
                    200,
                ));
            }
            attempts
        }
        "create_product" => {
            let product = |organization: &str, code: &str| {
                json!({
                    "organizationId": organization,
                    "name": "new",
                    "sku": code,
                    "barcode": code,
                    "productType": "SIMPLE",
                })
            };
            vec![
                sent("/products", product("org-1", "new"), 403),
                // The same codes, for oneself: another product.
                sent("/products", product("org-2", "coat"), 201),
            ]
        }
        "get_product" => of_coat("", Value::Null),
        "update_product" => of_coat("", json!({ "name": "changed" })),
        "replace_product_barcodes" => of_coat("/barcodes", json!({ "barcodes": ["changed"] })),
        "list_product_stock" => of_coat("/stock", Value::Null),
        "get_set_items" => of_set(Value::Null),
        "replace_set_items" => of_set(items(coat, 3)),
        _ => return None,
    })
}

fn on_stores(world: &World, operation: &str) -> Option<Vec<Attempt>> {
    let (store, foreign_store) = (world.store.id, &world.foreign_store);
    let coat = &world.goods.coat;
    let of_store = |tail: &str, body: Value| of(&format!("/stores/{store}{tail}"), &body);
    // One's own store has nothing of others either.
    let of_pair = |tail: &str, body: Value| {
        let mut attempts = of_store(&format!("/products/{coat}{tail}"), body.clone());
        let path = format!("/stores/{foreign_store}/products/{coat}{tail}");
        attempts.push(sent(format!("{path}?organizationId=org-2"), body, 404));
        attempts
    };
    Some(match operation {
        "list_store_stock" => of_store("/stock", Value::Null),
        "get_stock_settings" => of_store("/stock-settings", Value::Null),
        "update_stock_settings" => of_store(
            "/stock-settings",
            json!({ "stockPushMode": "DRY_RUN", "apiKey": "theirs" }),
        ),
        "resync_store" => of_store("/stock-sync/resync", Value::Null),
        "reconcile_stock" => of_store("/stock-sync/reconcile", Value::Null),
        "trigger_stock_sync" => of_store("/stock-sync/trigger", Value::Null),
        "update_listing" => of_pair("", json!({ "externalSku": "changed" })),
        "get_availability" => of_pair("/availability", Value::Null),
        "unblock_product" => of_pair("/unblock", Value::Null),
        "create_adjustment" => of_pair("/adjustments", json!({ "type": "DELTA", "quantity": 1 })),
        "create_reservation" => of_store("/reservations", order("order-2", coat)),
        "get_reservation" => of_store("/reservations/order-1", Value::Null),
        "fulfil_reservation" => of_store("/reservations/order-1/fulfil", Value::Null),
        "release_reservation" => of_store("/reservations/order-2/release", Value::Null),
        "list_stock_queue" => {
            let mut attempts = list("/stock-queue");
            let path = "/stock-queue?organizationId=org-2";
            attempts.push(attempt(format!("{path}&storeId={store}"), 404));
            attempts.push(attempt(format!("{path}&productId={coat}"), 200));
            attempts
        }
        "get_stock_queue_summary" => list("/stock-queue/summary"),
        "enqueue_products" => {
            let body = |organization: &str, store: &str| json!({ "organizationId": organization, "storeId": store, "productIds": [coat] });
            let own = store.to_string();
            vec![
                sent("/stock-queue", body("org-1", &own), 403),
                sent("/stock-queue", body("org-2", &own), 404),
                sent("/stock-queue", body("org-2", foreign_store), 202),
            ]
        }
        _ => return None,
    })
}

fn on_warehouses(world: &World, operation: &str) -> Option<Vec<Attempt>> {
    let Goods {
        coat,
        warehouse,
        shelf,
        ..
    } = &world.goods;
    let of_warehouse =
        |tail: &str, body: Value| of(&format!("/warehouses/{warehouse}{tail}"), &body);
    let of_shelf = |tail: &str, body: Value| of(&format!("/shelves/{shelf}/stock{tail}"), &body);
    Some(match operation {
        "list_warehouses" => list("/warehouses"),
        "create_warehouse" => {
            let new = |organization: &str, code: &str| json!({ "organizationId": organization, "name": "new", "code": code });
            vec![
                sent("/warehouses", new("org-1", "new"), 403),
                sent("/warehouses", new("org-2", "W"), 201),
            ]
        }
        "update_warehouse_stores" => {
            of_warehouse("/stores", json!({ "storeIds": [world.store.id] }))
        }
        "list_shelves" => of_warehouse("/shelves", Value::Null),
        "create_shelf" => of_warehouse("/shelves", json!({ "code": "new" })),
        "list_shelf_stock" => of_shelf("", Value::Null),
        "add_shelf_stock" => of_shelf("/add", goods(coat)),
        "remove_shelf_stock" => of_shelf("/remove", goods(coat)),
        _ => return None,
    })
}
