//! Requests that tell a marketplace quantities: written before they are sent, and what became of
//! them.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use jobs::{PushId, StoreId};
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{FromRow, query, query_as, query_scalar};
use uuid::Uuid;

use crate::db::{Tx, both, json_uuid, on, rows, sql, texts};
use crate::stock::model::{ItemState, ProductId, PushMode, PushState, QueueId, Reason};

/// A push that is about to be sent.
#[derive(Clone, Debug)]
pub(crate) struct NewPush<'a> {
    pub(crate) id: PushId,
    pub(crate) store_id: StoreId,
    pub(crate) state: PushState,
    pub(crate) body_sha256: &'a str,
    /// Of a dry run.
    pub(crate) body: Option<&'a str>,
    pub(crate) item_count: i32,
    /// When the marketplace has it; none of a dry run.
    pub(crate) sent_at: Option<DateTime<Utc>>,
}

/// What has to be so for a push to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions {
    /// The lease is ours …
    pub(crate) lease: Uuid,
    /// … and will be, until the request has come to its end.
    pub(crate) lease_lasts_until: DateTime<Utc>,
    /// How the store is pushed to.
    pub(crate) mode: PushMode,
    /// The marketplace had no request like it since.
    pub(crate) identical_since: DateTime<Utc>,
    /// Fewer pushes than so many are without results …
    pub(crate) max_outstanding: i64,
    /// … those of unknown outcome counted that were sent since.
    pub(crate) unknown_since: DateTime<Utc>,
}

/// Writes a push, if what has to be so is so; tells whether it was.
pub(crate) async fn insert_push(
    tx: &mut Tx,
    push: &NewPush<'_>,
    conditions: &Conditions,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "INSERT INTO stock_pushes (id, store_id, organization_id, state, body_sha256, body,
             item_count, sent_at, created_at, updated_at)
         SELECT $1, s.id, s.organization_id, $3, $4, $5, $6, $7, $8, $8
         FROM stores AS s
         JOIN marketplace_rate_limits AS m ON m.store_id = s.id
         WHERE s.id = $2 AND m.lease_token = $9 AND m.lease_until >= $10
           AND s.is_active AND s.send_stock AND s.stock_push_mode = $11
           AND NOT EXISTS (
               SELECT 1
               FROM stock_pushes AS p
               WHERE p.store_id = $2 AND p.body_sha256 = $4 AND p.sent_at > $12
           )
           AND $13 > (
               SELECT COUNT(*)
               FROM stock_pushes AS p
               WHERE p.store_id = $2 AND p.state IN ('SENDING', 'ACCEPTED', 'UNKNOWN')
                 AND (p.state = 'ACCEPTED' OR (p.state = 'UNKNOWN' AND p.sent_at > $14))
           )"))
        .bind(push.id).bind(push.store_id).bind(push.state).bind(push.body_sha256)
        .bind(push.body).bind(push.item_count).bind(push.sent_at).bind(now)
        .bind(conditions.lease).bind(conditions.lease_lasts_until).bind(conditions.mode)
        .bind(conditions.identical_since).bind(conditions.max_outstanding)
        .bind(conditions.unknown_since)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}

/// Which of the conditions holds.
#[derive(Clone, Copy, Debug, FromRow)]
pub(crate) struct Standing {
    pub(crate) holds_lease: bool,
    pub(crate) is_in_mode: bool,
    /// When the same request was sent last.
    pub(crate) identical_sent_at: Option<DateTime<Utc>>,
}

/// Why a push was not written.
pub(crate) async fn standing(
    tx: &mut Tx,
    push: &NewPush<'_>,
    conditions: &Conditions,
) -> sqlx::Result<Option<Standing>> {
    on!(tx, conn => query_as(sql!(
        "SELECT COALESCE(m.lease_token = $2 AND m.lease_until >= $3, FALSE) AS holds_lease,
             s.is_active AND s.send_stock AND s.stock_push_mode = $4 AS is_in_mode, (
                 SELECT MAX(p.sent_at)
                 FROM stock_pushes AS p
                 WHERE p.store_id = $1 AND p.body_sha256 = $5 AND p.sent_at > $6
             ) AS identical_sent_at
         FROM stores AS s
         JOIN marketplace_rate_limits AS m ON m.store_id = s.id
         WHERE s.id = $1"))
        .bind(push.store_id).bind(conditions.lease).bind(conditions.lease_lasts_until)
        .bind(conditions.mode).bind(push.body_sha256).bind(conditions.identical_since)
        .fetch_optional(conn).await)
}

/// Which of these requests the marketplace had since an instant.
pub(crate) async fn sent_bodies(
    tx: &mut Tx,
    store_id: StoreId,
    hashes: &[String],
    since: DateTime<Utc>,
) -> sqlx::Result<HashSet<String>> {
    let sql = both!(
        tx,
        "SELECT wanted.value
         FROM ",
        texts!("$2"),
        " AS wanted
         WHERE (
             SELECT p.sent_at
             FROM stock_pushes AS p
             WHERE p.store_id = $1 AND p.body_sha256 = wanted.value AND p.sent_at > $3
             LIMIT 1
         ) IS NOT NULL"
    );
    let sent: Vec<String> = on!(tx, conn => query_scalar(sql)
        .bind(store_id).bind(Json(hashes)).bind(since)
        .fetch_all(conn).await)?;
    Ok(sent.into_iter().collect())
}

/// An item of a push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct NewItem {
    pub(crate) element_no: i32,
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) product_id: ProductId,
    pub(crate) external_sku: Option<String>,
    pub(crate) external_barcode: Option<String>,
    pub(crate) external_listing_id: Option<String>,
    pub(crate) external_location_id: Option<String>,
    pub(crate) computed_quantity: i64,
    pub(crate) sent_quantity: i64,
    #[serde(serialize_with = "json_uuid::option")]
    pub(crate) queue_id: Option<QueueId>,
    pub(crate) queue_version: Option<i64>,
    pub(crate) reason: Option<Reason>,
    pub(crate) priority: Option<i32>,
    pub(crate) state: ItemState,
}

/// Writes the items of a push.
pub(crate) async fn insert_items(
    tx: &mut Tx,
    push_id: PushId,
    items: &[NewItem],
) -> sqlx::Result<()> {
    let sql = both!(
        tx,
        "INSERT INTO stock_push_items (push_id, element_no, product_id, external_sku,
             external_barcode, external_listing_id, external_location_id, computed_quantity,
             sent_quantity, queue_id, queue_version, reason, priority, state)
         SELECT $1, i.element_no, i.product_id, i.external_sku, i.external_barcode,
             i.external_listing_id, i.external_location_id, i.computed_quantity,
             i.sent_quantity, i.queue_id, i.queue_version, i.reason, i.priority, i.state
         FROM ",
        rows!("$2", element_no INTEGER, product_id UUID, external_sku TEXT,
            external_barcode TEXT, external_listing_id TEXT, external_location_id TEXT,
            computed_quantity BIGINT, sent_quantity BIGINT, queue_id UUID,
            queue_version BIGINT, reason TEXT, priority INTEGER, state TEXT),
        " AS i"
    );
    on!(tx, conn => query(sql).bind(push_id).bind(Json(items)).execute(conn).await.map(|_| ()))
}

/// What a request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PushEnd {
    pub(crate) state: PushState,
    pub(crate) failed_item_count: i32,
    pub(crate) external_batch_id: Option<String>,
    pub(crate) http_status: Option<i32>,
    pub(crate) error: Option<String>,
    pub(crate) accepted_at: Option<DateTime<Utc>>,
    pub(crate) confirmed_at: Option<DateTime<Utc>>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) next_poll_at: Option<DateTime<Utc>>,
    /// Whether the marketplace had the request: it may refuse the same one for a while.
    pub(crate) was_received: bool,
}

/// Writes what a request came to; tells whether it was still on the way as far as anybody knew.
pub(crate) async fn end_push(
    tx: &mut Tx,
    id: PushId,
    end: &PushEnd,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "UPDATE stock_pushes
         SET state = $2, failed_item_count = $3, external_batch_id = $4, http_status = $5,
             error = $6, accepted_at = $7, confirmed_at = $8, expires_at = $9, next_poll_at = $10,
             sent_at = CASE WHEN $11 THEN sent_at END, updated_at = $12
         WHERE id = $1 AND state = 'SENDING'"))
        .bind(id).bind(end.state).bind(end.failed_item_count).bind(&end.external_batch_id)
        .bind(end.http_status).bind(&end.error).bind(end.accepted_at).bind(end.confirmed_at)
        .bind(end.expires_at).bind(end.next_poll_at).bind(end.was_received).bind(now)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}

/// What became of an item.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ItemEnd {
    pub(crate) element_no: i32,
    pub(crate) state: ItemState,
    pub(crate) errors: Option<serde_json::Value>,
}

/// Writes what became of items.
pub(crate) async fn end_items(tx: &mut Tx, push_id: PushId, items: &[ItemEnd]) -> sqlx::Result<()> {
    // A list with the whole key of each: SQLite would otherwise read all of it for each item.
    let sql = both!(
        tx,
        "WITH ended AS MATERIALIZED (
             SELECT p.id AS push_id, e.element_no, e.state, e.errors
             FROM ",
        rows!("$2", element_no INTEGER, state TEXT, errors JSONB),
        " AS e
             CROSS JOIN stock_pushes AS p
             WHERE p.id = $1
         )
         UPDATE stock_push_items AS i
         SET state = ended.state, errors = ended.errors
         FROM ended
         WHERE i.push_id = ended.push_id AND i.element_no = ended.element_no"
    );
    on!(tx, conn => query(sql).bind(push_id).bind(Json(items)).execute(conn).await.map(|_| ()))
}

/// Writes the same of all items of a push.
pub(crate) async fn end_all_items(
    tx: &mut Tx,
    push_id: PushId,
    state: ItemState,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!("UPDATE stock_push_items SET state = $2 WHERE push_id = $1"))
        .bind(push_id).bind(state)
        .execute(conn).await.map(|_| ()))
}
