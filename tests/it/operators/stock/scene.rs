//! Stock that is stuck in many ways, written as rows: how it came about is not what is looked at.

use chrono::TimeDelta;
use marketplace_sync::stock::model::Reason;
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use crate::support::app::{TestApp, TestStore, on};

/// A push as it is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Push<'a> {
    pub(super) state: &'a str,
    pub(super) items: i32,
    pub(super) failed: i32,
    pub(super) error: Option<&'a str>,
    /// Of a dry run.
    pub(super) body: Option<&'a str>,
    pub(super) age: TimeDelta,
}

/// One that went well, a minute ago.
pub(super) const CONFIRMED: Push<'_> = Push {
    state: "CONFIRMED",
    items: 3,
    failed: 0,
    error: None,
    body: None,
    age: TimeDelta::minutes(1),
};

/// A request of a push.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    pub(super) kind: &'a str,
    pub(super) request: Option<&'a str>,
    pub(super) response: &'a str,
    pub(super) status: i32,
}

impl TestApp {
    /// Has a store pushed to: active, sending, in this mode.
    pub(super) async fn push_to(&self, store: TestStore, mode: &str) {
        on!(&self.app.db, pool => sqlx::query(
            "UPDATE stores SET send_stock = TRUE, stock_push_mode = $2 WHERE id = $1")
            .bind(store.id).bind(mode).execute(pool).await.map(|_| ()).unwrap());
    }

    /// A product of `org-1` that is listed in a store.
    pub(super) async fn pair(&self, store: TestStore, name: &str) -> Uuid {
        let now = self.clock.now();
        let id = self.app.ids.new_id(now);
        on!(&self.app.db, pool => sqlx::query(
            "INSERT INTO products (id, organization_id, name, sku, barcode, product_type,
                 created_at, updated_at)
             VALUES ($1, 'org-1', $2, 'SKU-' || $2, '868-' || $2, 'SIMPLE', $3, $3)")
            .bind(id).bind(name).bind(now).execute(pool).await.map(|_| ()).unwrap());
        on!(&self.app.db, pool => sqlx::query(
            "INSERT INTO product_stores (store_id, product_id, sellable_quantity, created_at,
                 updated_at)
             VALUES ($1, $2, 5, $3, $3)")
            .bind(store.id).bind(id).bind(now).execute(pool).await.map(|_| ()).unwrap());
        id
    }

    /// Has a marketplace refuse a product: so many times, and until it is tried again, or without
    /// ever having been asked.
    pub(super) async fn block(&self, store: TestStore, product: Uuid, code: &str, rejects: i32) {
        let until = (rejects > 0).then(|| self.clock.now() + TimeDelta::hours(6));
        on!(&self.app.db, pool => sqlx::query(
            "UPDATE product_stores
             SET push_state = 'BLOCKED', push_error_code = $3, push_error_message = 'no, thanks',
                 blocked_until = $4, reject_count = $5
             WHERE store_id = $1 AND product_id = $2")
            .bind(store.id).bind(product).bind(code).bind(until).bind(rejects)
            .execute(pool).await.map(|_| ()).unwrap());
    }

    /// A row of the queue that has waited for so long.
    pub(super) async fn wait_in_queue(
        &self,
        store: TestStore,
        product: Uuid,
        reason: Reason,
        age: TimeDelta,
    ) {
        let at = self.clock.now() - age;
        on!(&self.app.db, pool => sqlx::query(
            "INSERT INTO stock_update_queue (id, product_id, store_id, reason, priority,
                 last_enqueued_at, next_attempt_at, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $6, $6, $6)")
            .bind(self.app.ids.new_id(at)).bind(product).bind(store.id).bind(reason.as_str())
            .bind(reason.priority()).bind(at).execute(pool).await.map(|_| ()).unwrap());
    }

    /// What is stored of a store's gates: why it is left in peace, and until when.
    pub(super) async fn close_gate(&self, store: TestStore, reason: &str, opens_in: TimeDelta) {
        let now = self.clock.now();
        let opens_at = now + opens_in;
        let is_window = reason == "WINDOW";
        on!(&self.app.db, pool => sqlx::query(
            "INSERT INTO marketplace_rate_limits (store_id, window_opens_at, backoff_until,
                 backoff_reason, consecutive_failures, created_at, updated_at)
             VALUES ($1, $2, $3, $4, 2, $5, $5)")
            .bind(store.id).bind(is_window.then_some(opens_at))
            .bind((!is_window).then_some(opens_at)).bind((!is_window).then_some(reason)).bind(now)
            .execute(pool).await.map(|_| ()).unwrap());
    }

    /// A push of a store.
    pub(super) async fn pushed(&self, store: TestStore, push: Push<'_>) -> Uuid {
        let at = self.clock.now() - push.age;
        let id = self.app.ids.new_id(at);
        on!(&self.app.db, pool => sqlx::query(
            "INSERT INTO stock_pushes (id, store_id, organization_id, state, body_sha256, body,
                 item_count, failed_item_count, error, sent_at, created_at, updated_at)
             VALUES ($1, $2, 'org-1', $3, 'of nothing', $4, $5, $6, $7, $8, $8, $8)")
            .bind(id).bind(store.id).bind(push.state).bind(push.body).bind(push.items)
            .bind(push.failed).bind(push.error).bind(at)
            .execute(pool).await.map(|_| ()).unwrap());
        id
    }

    /// An item of a push that was refused.
    pub(super) async fn reject(&self, push: Uuid, element: i32, product: Uuid, errors: Value) {
        on!(&self.app.db, pool => sqlx::query(
            "INSERT INTO stock_push_items (push_id, element_no, product_id, computed_quantity,
                 sent_quantity, state, errors)
             VALUES ($1, $2, $3, 5, 5, 'REJECTED', $4)")
            .bind(push).bind(element).bind(product).bind(Json(errors))
            .execute(pool).await.map(|_| ()).unwrap());
    }

    /// A request of a push, a second after the one before.
    pub(super) async fn called(&self, push: Uuid, store: TestStore, call: Call<'_>) {
        self.clock.advance(std::time::Duration::from_secs(1));
        let now = self.clock.now();
        on!(&self.app.db, pool => sqlx::query(
            "INSERT INTO api_logs (id, organization_id, provider, type, store_id, push_id, method,
                 url, request_body, response_body, truncated, http_status, is_success,
                 duration_ms, created_at, updated_at)
             VALUES ($1, 'org-1', 'TRENDYOL', $2, $3, $4, $5, 'https://example.com/stock', $6, $7,
                 FALSE, $8, $9, 25, $10, $10)")
            .bind(self.app.ids.new_id(now)).bind(call.kind).bind(store.id).bind(push)
            .bind(if call.request.is_some() { "POST" } else { "GET" })
            .bind(call.request).bind(call.response).bind(call.status).bind(call.status < 300)
            .bind(now).execute(pool).await.map(|_| ()).unwrap());
    }

    /// 1,100 stores; each has a pair that waits and is refused, a push that waits for its results,
    /// and a gate that is open.
    pub(super) async fn insert_stock_of_many_stores(&self) {
        self.insert_due_stores(1100).await;
        for sql in [
            "INSERT INTO products (id, organization_id, name, product_type, created_at, updated_at)
             SELECT id, 'org-1', 'Thing', 'SIMPLE', created_at, created_at FROM stores",
            "INSERT INTO product_stores (store_id, product_id, push_state, created_at, updated_at)
             SELECT id, id, 'BLOCKED', created_at, created_at FROM stores",
            "INSERT INTO stock_update_queue (id, product_id, store_id, reason, last_enqueued_at,
                 next_attempt_at, created_at, updated_at)
             SELECT id, id, id, 'RESYNC', created_at, created_at, created_at, created_at
             FROM stores",
            "INSERT INTO stock_pushes (id, store_id, organization_id, state, body_sha256,
                 item_count, created_at, updated_at)
             SELECT id, id, 'org-1', 'ACCEPTED', 'of nothing', 1, created_at, created_at
             FROM stores",
            "INSERT INTO marketplace_rate_limits (store_id, created_at, updated_at)
             SELECT id, created_at, created_at FROM stores",
        ] {
            self.execute(sql).await;
        }
    }
}
