//! Pushes: which, what was sent, and what came back.

use chrono::{DateTime, Utc};
use jobs::{PushId, StoreId};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{FromRow, query_as, query_scalar};

use crate::db::{Tx, on, sql};
use crate::http::page::Cursor;
use crate::stock::model::{ApiLogId, ApiLogType, ProductId, PushState};

/// All that a list shows of a push.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct Push {
    pub(crate) id: PushId,
    pub(crate) store_id: StoreId,
    pub(crate) state: PushState,
    pub(crate) item_count: i32,
    pub(crate) failed_item_count: i32,
    pub(crate) external_batch_id: Option<String>,
    pub(crate) http_status: Option<i32>,
    pub(crate) error: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) sent_at: Option<DateTime<Utc>>,
    pub(crate) accepted_at: Option<DateTime<Utc>>,
    pub(crate) confirmed_at: Option<DateTime<Utc>>,
    pub(crate) next_poll_at: Option<DateTime<Utc>>,
    pub(crate) polls: i32,
    pub(crate) store_name: String,
    pub(crate) organization_id: String,
}

/// A request of a push, and its answer.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct Call {
    pub(crate) id: ApiLogId,
    #[sqlx(rename = "type")]
    pub(crate) kind: ApiLogType,
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) request_body: Option<String>,
    pub(crate) response_body: Option<String>,
    pub(crate) truncated: bool,
    pub(crate) http_status: Option<i32>,
    pub(crate) is_success: bool,
    pub(crate) error: Option<String>,
    pub(crate) duration_ms: i64,
    pub(crate) created_at: DateTime<Utc>,
}

/// An item that the marketplace did not take.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct Rejected {
    pub(crate) product_id: ProductId,
    pub(crate) product_name: String,
    pub(crate) sku: Option<String>,
    pub(crate) barcode: Option<String>,
    pub(crate) sent_quantity: i64,
    pub(crate) errors: Option<Json<Value>>,
}

/// A push of a list is shown with these columns.
macro_rules! pushes_where {
    ($condition:literal) => {
        concat!(
            "SELECT p.id, p.store_id, p.organization_id, p.state, p.item_count,
                 p.failed_item_count, p.external_batch_id, p.http_status, p.error, p.created_at,
                 p.sent_at, p.accepted_at, p.confirmed_at, p.next_poll_at, p.polls,
                 (SELECT s.store_name FROM stores AS s WHERE s.id = p.store_id) AS store_name
             FROM stock_pushes AS p
             WHERE ",
            $condition
        )
    };
}

/// Pushes of all stores before the cursor, the newest first.
pub(crate) async fn all(tx: &mut Tx, before: Cursor, limit: i64) -> sqlx::Result<Vec<Push>> {
    on!(tx, conn => query_as(sql!(pushes_where!(
        "(p.created_at, p.id) < ($1, $2) ORDER BY p.created_at DESC, p.id DESC LIMIT $3")))
        .bind(before.at).bind(before.id).bind(limit)
        .fetch_all(conn).await)
}

/// The same of one store. The range of one store keeps PostgreSQL from walking through the pushes
/// of all.
pub(crate) async fn of(
    tx: &mut Tx,
    store_id: StoreId,
    before: Cursor,
    limit: i64,
) -> sqlx::Result<Vec<Push>> {
    on!(tx, conn => query_as(sql!(pushes_where!(
        "(p.store_id, p.created_at, p.id) < ($1, $2, $3) AND p.store_id >= $1
         ORDER BY p.store_id DESC, p.created_at DESC, p.id DESC LIMIT $4")))
        .bind(store_id).bind(before.at).bind(before.id).bind(limit)
        .fetch_all(conn).await)
}

/// One push.
pub(crate) async fn one(tx: &mut Tx, id: PushId) -> sqlx::Result<Option<Push>> {
    on!(tx, conn => query_as(sql!(pushes_where!("p.id = $1")))
        .bind(id)
        .fetch_optional(conn).await)
}

/// What would have been sent, of a dry run.
pub(crate) async fn body(tx: &mut Tx, id: PushId) -> sqlx::Result<Option<String>> {
    on!(tx, conn => query_scalar(sql!("SELECT body FROM stock_pushes WHERE id = $1"))
        .bind(id)
        .fetch_one(conn).await)
}

/// The requests of a push, in this order.
macro_rules! calls_in {
    ($order:literal) => {
        concat!(
            "SELECT id, type, method, url, request_body, response_body, truncated, http_status,
                 is_success, error, duration_ms, created_at
             FROM api_logs
             WHERE push_id = $1
             ORDER BY ",
            $order,
            " LIMIT $2"
        )
    };
}

/// The first requests of a push.
pub(crate) async fn first_calls(tx: &mut Tx, id: PushId, limit: i64) -> sqlx::Result<Vec<Call>> {
    on!(tx, conn => query_as(sql!(calls_in!("created_at, id")))
        .bind(id).bind(limit)
        .fetch_all(conn).await)
}

/// The last ones, the very last first.
pub(crate) async fn last_calls(tx: &mut Tx, id: PushId, limit: i64) -> sqlx::Result<Vec<Call>> {
    on!(tx, conn => query_as(sql!(calls_in!("created_at DESC, id DESC")))
        .bind(id).bind(limit)
        .fetch_all(conn).await)
}

/// Items of a push that were refused, in the order they were sent.
pub(crate) async fn rejected(tx: &mut Tx, id: PushId, limit: i64) -> sqlx::Result<Vec<Rejected>> {
    on!(tx, conn => query_as(sql!(
        "SELECT i.product_id, i.sent_quantity, i.errors,
             (SELECT p.name FROM products AS p WHERE p.id = i.product_id) AS product_name,
             (SELECT p.sku FROM products AS p WHERE p.id = i.product_id) AS sku,
             (SELECT p.barcode FROM products AS p WHERE p.id = i.product_id) AS barcode
         FROM stock_push_items AS i
         WHERE i.push_id = $1 AND i.state = 'REJECTED'
         ORDER BY i.element_no
         LIMIT $2"))
        .bind(id).bind(limit)
        .fetch_all(conn).await)
}
