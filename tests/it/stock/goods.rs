//! Hands of the tests about movements: products behind the service's back, everything else through
//! its API.

use marketplace_sync::db::Db;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::FromRow;
use uuid::Uuid;

use crate::support::app::{TestApp, TestStore, on};
use crate::support::server::TestServer;

/// The parameter that names the organization.
pub(super) const ORG: &str = "organizationId=org-1";

/// A pending row of the queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, FromRow)]
pub(super) struct Queued {
    pub(super) product_id: Uuid,
    pub(super) reason: String,
    pub(super) priority: i32,
    pub(super) force: bool,
    pub(super) version: i64,
}

/// A line of an order, by barcode.
pub(super) fn line(barcode: &str, quantity: i64) -> Value {
    json!({ "barcode": barcode, "quantity": quantity })
}

impl TestApp {
    /// A product of `org-1` whose barcode and SKU are made of its name.
    pub(super) async fn product(&self, name: &str) -> Uuid {
        self.product_of("org-1", name, "SIMPLE").await
    }

    pub(super) async fn product_of(&self, organization: &str, name: &str, kind: &str) -> Uuid {
        let now = self.clock.now();
        let id = self.app.ids.new_id(now);
        on!(&self.app.db, pool => sqlx::query(
            "INSERT INTO products (id, organization_id, name, sku, barcode, product_type,
                 created_at, updated_at)
             VALUES ($1, $2, $3, $4, $3, $5, $6, $6)")
            .bind(id).bind(organization).bind(name).bind(format!("sku-{name}")).bind(kind)
            .bind(now).execute(pool).await.map(|_| ()).unwrap());
        id
    }

    /// A set of `org-1`.
    pub(super) async fn set(&self, name: &str, components: &[(Uuid, i64)]) -> Uuid {
        let id = self.product_of("org-1", name, "SET").await;
        self.make_set_of(id, components).await;
        id
    }

    /// Changes what a set is made of.
    pub(super) async fn make_set_of(&self, set: Uuid, components: &[(Uuid, i64)]) {
        on!(&self.app.db, pool => sqlx::query(
            "DELETE FROM product_set_items WHERE set_product_id = $1")
            .bind(set).execute(pool).await.map(|_| ()).unwrap());
        for (component, quantity) in components {
            on!(&self.app.db, pool => sqlx::query(
                "INSERT INTO product_set_items (set_product_id, component_product_id, quantity,
                     created_at, updated_at)
                 VALUES ($1, $2, $3, $4, $4)")
                .bind(set).bind(component).bind(quantity).bind(self.clock.now())
                .execute(pool).await.map(|_| ()).unwrap());
        }
    }

    /// A further code of a product.
    pub(super) async fn further_code(&self, organization: &str, code: &str, product: Uuid) {
        on!(&self.app.db, pool => sqlx::query(
            "INSERT INTO product_barcodes (organization_id, barcode, product_id, created_at,
                 updated_at)
             VALUES ($1, $2, $3, $4, $4)")
            .bind(organization).bind(code).bind(product).bind(self.clock.now())
            .execute(pool).await.map(|_| ()).unwrap());
    }

    /// Lists a product in a store, with nothing to sell.
    pub(super) async fn list_in(&self, store: TestStore, product: Uuid) {
        on!(&self.app.db, pool => sqlx::query(
            "INSERT INTO product_stores (store_id, product_id, created_at, updated_at)
             VALUES ($1, $2, $3, $3)
             ON CONFLICT (store_id, product_id) DO UPDATE SET is_listed = TRUE")
            .bind(store.id).bind(product).bind(self.clock.now())
            .execute(pool).await.map(|_| ()).unwrap());
    }

    /// A product that is listed in a store with so many to sell.
    pub(super) async fn stocked(&self, store: TestStore, name: &str, quantity: i64) -> Uuid {
        let product = self.product(name).await;
        self.list_in(store, product).await;
        self.count_to(store, product, quantity).await;
        product
    }

    /// Counts a product in a store: so many can be sold.
    pub(super) async fn count_to(&self, store: TestStore, product: Uuid, quantity: i64) {
        let body = json!({ "type": "SET", "quantity": quantity });
        let (status, body) = self.adjust(store, product, &body).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }

    pub(super) async fn adjust(
        &self,
        store: TestStore,
        product: Uuid,
        body: &Value,
    ) -> (StatusCode, Value) {
        let path = format!("/stores/{}/products/{product}/adjustments?{ORG}", store.id);
        self.post(&path, body).await
    }

    /// A store of `org-1` whose quantities come from warehouses.
    pub(super) async fn drawing_store(&self, name: &str) -> TestStore {
        let store = self.register(name).await;
        on!(&self.app.db, pool => sqlx::query(
            "UPDATE stores SET stock_source = 'WAREHOUSE' WHERE id = $1")
            .bind(store.id).execute(pool).await.map(|_| ()).unwrap());
        store
    }

    /// A warehouse of `org-1`, and a shelf in it.
    pub(super) async fn warehouse(&self, code: &str, stores: &[TestStore]) -> (Uuid, Uuid) {
        let body = json!({ "organizationId": "org-1", "name": code, "code": code });
        let (status, body) = self.post("/warehouses", &body).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        let warehouse: Uuid = body["id"].as_str().unwrap().parse().unwrap();
        self.link(warehouse, stores).await;
        (warehouse, self.shelf(warehouse, "A-01").await)
    }

    pub(super) async fn shelf(&self, warehouse: Uuid, code: &str) -> Uuid {
        let path = format!("/warehouses/{warehouse}/shelves?{ORG}");
        let (status, body) = self.post(&path, &json!({ "code": code })).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        body["id"].as_str().unwrap().parse().unwrap()
    }

    /// Says which stores sell what lies in a warehouse.
    pub(super) async fn link(&self, warehouse: Uuid, stores: &[TestStore]) {
        let ids: Vec<_> = stores.iter().map(|store| store.id).collect();
        let (status, body) = self.try_link(warehouse, &json!({ "storeIds": ids })).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }

    pub(super) async fn try_link(&self, warehouse: Uuid, body: &Value) -> (StatusCode, Value) {
        let url = self
            .server
            .url(&format!("/warehouses/{warehouse}/stores?{ORG}"));
        self.send(self.http.request(Method::PUT, url).json(body))
            .await
    }

    /// Puts units on a shelf.
    pub(super) async fn add(&self, place: Uuid, product: Uuid, quantity: i64) {
        let body = json!({ "productId": product, "quantity": quantity });
        let (status, body) = self
            .post(&format!("/shelves/{place}/stock/add?{ORG}"), &body)
            .await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }

    /// Takes units from a shelf, maybe for an order.
    pub(super) async fn remove(
        &self,
        place: Uuid,
        product: Uuid,
        quantity: i64,
        order: Option<&str>,
    ) -> (StatusCode, Value) {
        let body = json!({
            "productId": product,
            "quantity": quantity,
            "reservationRef": order,
        });
        self.post(&format!("/shelves/{place}/stock/remove?{ORG}"), &body)
            .await
    }

    pub(super) async fn reserve(
        &self,
        store: TestStore,
        order: &str,
        mode: &str,
        lines: &[Value],
    ) -> (StatusCode, Value) {
        self.reserve_at(&self.server, store, order, mode, lines)
            .await
    }

    /// The same, asked of a process.
    pub(super) async fn reserve_at(
        &self,
        server: &TestServer,
        store: TestStore,
        order: &str,
        mode: &str,
        lines: &[Value],
    ) -> (StatusCode, Value) {
        let url = server.url(&format!("/stores/{}/reservations?{ORG}", store.id));
        let body = json!({ "orderRef": order, "mode": mode, "lines": lines });
        self.send(self.http.post(url).json(&body)).await
    }

    /// Reserves all of an order.
    pub(super) async fn reserved(&self, store: TestStore, order: &str, lines: &[Value]) -> Value {
        let (status, body) = self.reserve(store, order, "STRICT", lines).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        body
    }

    /// Releases or fulfils an order.
    pub(super) async fn end(
        &self,
        store: TestStore,
        order: &str,
        how: &str,
    ) -> (StatusCode, Value) {
        let mut url = self.server.url("/");
        let id = store.id.to_string();
        url.path_segments_mut()
            .unwrap()
            .extend(["stores", &id, "reservations", order, how]);
        url.set_query(Some(ORG));
        self.send(self.http.post(url)).await
    }

    pub(super) async fn ended(&self, store: TestStore, order: &str, how: &str) -> Value {
        let (status, body) = self.end(store, order, how).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    /// How many of a product can be sold in a store, and how many are reserved.
    pub(super) async fn level(&self, store: TestStore, product: Uuid) -> (i64, i64) {
        let found: Option<(i64, i64)> = on!(&self.app.db, pool => sqlx::query_as(
            "SELECT sellable_quantity, committed_quantity
             FROM product_stores WHERE store_id = $1 AND product_id = $2")
            .bind(store.id).bind(product).fetch_optional(pool).await.unwrap());
        found.unwrap_or_default()
    }

    /// What the marketplace of a store has to be told.
    pub(super) async fn queue(&self, store: TestStore) -> Vec<Queued> {
        on!(&self.app.db, pool => sqlx::query_as(
            "SELECT product_id, reason, priority, force, version
             FROM stock_update_queue WHERE store_id = $1 AND processed_at IS NULL
             ORDER BY product_id")
            .bind(store.id).fetch_all(pool).await.unwrap())
    }

    /// Forgets what marketplaces have to be told.
    pub(super) async fn empty_queue(&self) {
        self.execute("DELETE FROM stock_update_queue").await;
    }

    /// The same as [`Self::events`], without what the receivers know from elsewhere.
    pub(super) async fn told(&self, store: TestStore) -> Vec<(String, Value)> {
        let events = self.events(store).await.into_iter();
        events
            .map(|(name, payload)| (name, payload["data"].clone()))
            .collect()
    }

    /// How often the database had to end somebody who waited in a circle.
    pub(super) async fn deadlocks(&self) -> i64 {
        let Db::Postgres(pool) = &self.app.db else {
            return 0;
        };
        // Each connection tells what it saw when it is asked to.
        let mut connections = Vec::new();
        while let Some(connection) = pool.try_acquire() {
            connections.push(connection);
        }
        for connection in &mut connections {
            sqlx::query("SELECT pg_stat_force_next_flush()")
                .execute(&mut **connection)
                .await
                .unwrap();
        }
        drop(connections);
        sqlx::query_scalar(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
        )
        .fetch_one(pool)
        .await
        .unwrap()
    }
}

/// A part of an answer about a reservation: product, ordered, reserved, lacking.
pub(super) fn items(body: &Value) -> Vec<(Uuid, i64, i64, i64)> {
    let number = |item: &Value, name: &str| item[name].as_i64().unwrap();
    let items = body["items"].as_array().unwrap().iter();
    items
        .map(|item| {
            (
                item["productId"].as_str().unwrap().parse().unwrap(),
                number(item, "quantity"),
                number(item, "reserved"),
                number(item, "shortfall"),
            )
        })
        .collect()
}
