//! What a marketplace was told of the products of a store, and what it is known to show of them.
//!
//! Pairs are locked in the order in which they are given; who gives them sorted by product waits
//! for nobody who does the same.
//!
//! SQLite is told by which index pairs are found: it would rather go through all pairs of the store,
//! and read the whole list for each of them.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use jobs::{PushId, StoreId};
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{query, query_scalar};

use crate::db::{Tx, json_instant, json_uuid, on, sql};
use crate::stock::model::{PairState, ProductId, QueueId};

/// A pair that is about to be told, or was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Told {
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) product_id: ProductId,
    pub(crate) quantity: i64,
}

/// Notes that pairs are about to be told: what the marketplace shows is not known from here on.
pub(crate) async fn mark_sending(
    tx: &mut Tx,
    store_id: StoreId,
    push_id: PushId,
    pairs: &[Told],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = tx.pick(
        sql!(postgres:
            "UPDATE product_stores AS ps
             SET last_confirmed_quantity = NULL, last_pushed_quantity = t.quantity,
                 last_pushed_at = $3, in_flight_push_id = $4, updated_at = $3
             FROM (
                 SELECT told.*
                 FROM jsonb_to_recordset($2) AS told (product_id UUID, quantity BIGINT)
                 CROSS JOIN LATERAL (
                     SELECT 1
                     FROM product_stores
                     WHERE store_id = $1 AND product_id = told.product_id
                     FOR NO KEY UPDATE
                 ) AS locked
             ) AS t
             WHERE ps.store_id = $1 AND ps.product_id = t.product_id"),
        sql!(sqlite:
            "UPDATE product_stores INDEXED BY product_stores_product_id_idx
             SET last_confirmed_quantity = NULL, last_pushed_quantity = t.quantity,
                 last_pushed_at = $3, in_flight_push_id = $4, updated_at = $3
             FROM (
                 SELECT unhex(value ->> 'product_id') AS product_id,
                     value ->> 'quantity' AS quantity
                 FROM json_each($2)
             ) AS t
             WHERE product_stores.store_id = $1 AND product_stores.product_id = t.product_id"),
    );
    on!(tx, conn => query(sql)
        .bind(store_id).bind(Json(pairs)).bind(now).bind(push_id)
        .execute(conn).await.map(|done| done.rows_affected()))
}

/// How a pair stood before it was told in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Before {
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) product_id: ProductId,
    pub(crate) last_confirmed_quantity: Option<i64>,
    pub(crate) last_pushed_quantity: Option<i64>,
    #[serde(serialize_with = "json_instant::option")]
    pub(crate) last_pushed_at: Option<DateTime<Utc>>,
}

/// Takes back that pairs were told: the marketplace took nothing of the push.
pub(crate) async fn take_back(
    tx: &mut Tx,
    store_id: StoreId,
    push_id: PushId,
    pairs: &[Before],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = tx.pick(
        sql!(postgres:
            "UPDATE product_stores AS ps
             SET last_confirmed_quantity = b.last_confirmed_quantity,
                 last_pushed_quantity = b.last_pushed_quantity,
                 last_pushed_at = b.last_pushed_at, in_flight_push_id = NULL, updated_at = $3
             FROM (
                 SELECT before.*
                 FROM jsonb_to_recordset($2) AS before (product_id UUID,
                     last_confirmed_quantity BIGINT, last_pushed_quantity BIGINT,
                     last_pushed_at TIMESTAMPTZ)
                 CROSS JOIN LATERAL (
                     SELECT 1
                     FROM product_stores
                     WHERE store_id = $1 AND product_id = before.product_id
                       AND in_flight_push_id = $4
                     FOR NO KEY UPDATE
                 ) AS locked
             ) AS b
             WHERE ps.store_id = $1 AND ps.product_id = b.product_id"),
        sql!(sqlite:
            "UPDATE product_stores INDEXED BY product_stores_product_id_idx
             SET last_confirmed_quantity = b.last_confirmed_quantity,
                 last_pushed_quantity = b.last_pushed_quantity,
                 last_pushed_at = b.last_pushed_at, in_flight_push_id = NULL, updated_at = $3
             FROM (
                 SELECT unhex(value ->> 'product_id') AS product_id,
                     value ->> 'last_confirmed_quantity' AS last_confirmed_quantity,
                     value ->> 'last_pushed_quantity' AS last_pushed_quantity,
                     value ->> 'last_pushed_at' AS last_pushed_at
                 FROM json_each($2)
             ) AS b
             WHERE product_stores.store_id = $1 AND product_stores.product_id = b.product_id
               AND product_stores.in_flight_push_id = $4"),
    );
    on!(tx, conn => query(sql)
        .bind(store_id).bind(Json(pairs)).bind(now).bind(push_id)
        .execute(conn).await.map(|done| done.rows_affected()))
}

/// How a pair stands after a push of it came to something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PairEnd {
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) product_id: ProductId,
    /// What the marketplace is known to show, if it is known.
    pub(crate) confirmed: Option<i64>,
    pub(crate) reject_count: i32,
    pub(crate) push_state: PairState,
    pub(crate) error_code: Option<String>,
    pub(crate) error_message: Option<String>,
    /// When a blocked one is tried again.
    #[serde(serialize_with = "json_instant::option")]
    pub(crate) blocked_until: Option<DateTime<Utc>>,
}

/// Writes how pairs stand after a push; those that were told something newer meanwhile are left
/// alone. Returns the ones that were not.
pub(crate) async fn end_pairs(
    tx: &mut Tx,
    store_id: StoreId,
    push_id: PushId,
    pairs: &[PairEnd],
    now: DateTime<Utc>,
) -> sqlx::Result<HashSet<ProductId>> {
    let sql = tx.pick(
        sql!(postgres:
            "UPDATE product_stores AS ps
             SET last_confirmed_quantity = e.confirmed,
                 last_confirmed_at = CASE WHEN e.confirmed IS NULL THEN ps.last_confirmed_at
                                          ELSE $3 END,
                 in_flight_push_id = NULL, reject_count = e.reject_count,
                 push_state = e.push_state, push_error_code = e.error_code,
                 push_error_message = e.error_message, blocked_until = e.blocked_until,
                 updated_at = $3
             FROM (
                 SELECT ended.*
                 FROM jsonb_to_recordset($2) AS ended (product_id UUID, confirmed BIGINT,
                     reject_count INTEGER, push_state TEXT, error_code TEXT, error_message TEXT,
                     blocked_until TIMESTAMPTZ)
                 CROSS JOIN LATERAL (
                     SELECT 1
                     FROM product_stores
                     WHERE store_id = $1 AND product_id = ended.product_id
                       AND in_flight_push_id = $4
                     FOR NO KEY UPDATE
                 ) AS locked
             ) AS e
             WHERE ps.store_id = $1 AND ps.product_id = e.product_id
             RETURNING ps.product_id"),
        sql!(sqlite:
            "UPDATE product_stores INDEXED BY product_stores_product_id_idx
             SET last_confirmed_quantity = e.confirmed,
                 last_confirmed_at = CASE WHEN e.confirmed IS NULL
                                          THEN product_stores.last_confirmed_at ELSE $3 END,
                 in_flight_push_id = NULL, reject_count = e.reject_count,
                 push_state = e.push_state, push_error_code = e.error_code,
                 push_error_message = e.error_message, blocked_until = e.blocked_until,
                 updated_at = $3
             FROM (
                 SELECT unhex(value ->> 'product_id') AS product_id,
                     value ->> 'confirmed' AS confirmed, value ->> 'reject_count' AS reject_count,
                     value ->> 'push_state' AS push_state, value ->> 'error_code' AS error_code,
                     value ->> 'error_message' AS error_message,
                     value ->> 'blocked_until' AS blocked_until
                 FROM json_each($2)
             ) AS e
             WHERE product_stores.store_id = $1 AND product_stores.product_id = e.product_id
               AND product_stores.in_flight_push_id = $4
             RETURNING product_id"),
    );
    let ended: Vec<ProductId> = on!(tx, conn => query_scalar(sql)
        .bind(store_id).bind(Json(pairs)).bind(now).bind(push_id)
        .fetch_all(conn).await)?;
    Ok(ended.into_iter().collect())
}

/// A pair that cannot be told, because of the row that says it has to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Unnamed {
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) product_id: ProductId,
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) queue_id: QueueId,
    pub(crate) version: i64,
}

/// Blocks pairs that the marketplace has no name for, until somebody gives them one: unless
/// somebody just did, which the row tells.
pub(crate) async fn block_unnamed(
    tx: &mut Tx,
    store_id: StoreId,
    pairs: &[Unnamed],
    code: &str,
    message: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = tx.pick(
        sql!(postgres:
            "UPDATE product_stores AS ps
             SET push_state = 'BLOCKED', push_error_code = $3, push_error_message = $4,
                 blocked_until = NULL, updated_at = $5
             FROM (
                 SELECT unnamed.product_id
                 FROM jsonb_to_recordset($2) AS unnamed (product_id UUID, queue_id UUID,
                     version BIGINT)
                 CROSS JOIN LATERAL (
                     SELECT 1
                     FROM product_stores
                     WHERE store_id = $1 AND product_id = unnamed.product_id
                     FOR NO KEY UPDATE
                 ) AS locked
                 CROSS JOIN LATERAL (
                     SELECT 1
                     FROM stock_update_queue
                     WHERE id = unnamed.queue_id AND version = unnamed.version
                       AND processed_at IS NULL
                     OFFSET 0
                 ) AS unmoved
             ) AS u
             WHERE ps.store_id = $1 AND ps.product_id = u.product_id"),
        sql!(sqlite:
            "UPDATE product_stores
             SET push_state = 'BLOCKED', push_error_code = $3, push_error_message = $4,
                 blocked_until = NULL, updated_at = $5
             WHERE store_id = $1 AND product_id IN (
                 SELECT unhex(value ->> 'product_id')
                 FROM json_each($2) AS unnamed
                 CROSS JOIN stock_update_queue AS q ON q.id = unhex(unnamed.value ->> 'queue_id')
                 WHERE q.version = unnamed.value ->> 'version' AND q.processed_at IS NULL
             )"),
    );
    on!(tx, conn => query(sql)
        .bind(store_id).bind(Json(pairs)).bind(code).bind(message).bind(now)
        .execute(conn).await.map(|done| done.rows_affected()))
}

/// What the marketplace was seen to show of a pair, and how the pair stood before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Observed {
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) product_id: ProductId,
    /// How many the marketplace shows.
    pub(crate) shown: Option<i64>,
    /// Whether the pair is pushed from now on; none: as before.
    pub(crate) push_state: Option<PairState>,
    /// What there is to say of the listing; none: as before.
    pub(crate) error_code: Option<String>,
    pub(crate) error_message: Option<String>,
    #[serde(serialize_with = "json_uuid::option")]
    pub(crate) in_flight_push_id: Option<PushId>,
    #[serde(serialize_with = "json_instant::option")]
    pub(crate) last_pushed_at: Option<DateTime<Utc>>,
    pub(crate) last_confirmed_quantity: Option<i64>,
}

/// Writes what the marketplace was seen to show, of pairs that nobody told anything meanwhile;
/// returns these.
#[expect(clippy::too_many_lines, reason = "one statement, in two dialects")]
pub(crate) async fn observe(
    tx: &mut Tx,
    store_id: StoreId,
    pairs: &[Observed],
    now: DateTime<Utc>,
) -> sqlx::Result<HashSet<ProductId>> {
    let sql = tx.pick(
        sql!(postgres:
            "UPDATE product_stores AS ps
             SET last_confirmed_quantity = o.shown, last_confirmed_at = $3,
                 in_flight_push_id = NULL, push_state = COALESCE(o.push_state, ps.push_state),
                 push_error_code = CASE WHEN o.push_state = 'OK' THEN o.error_code
                     ELSE COALESCE(o.error_code, ps.push_error_code) END,
                 push_error_message = CASE WHEN o.push_state = 'OK' THEN o.error_message
                     ELSE COALESCE(o.error_message, ps.push_error_message) END,
                 blocked_until = CASE WHEN o.push_state IS NULL THEN ps.blocked_until END,
                 updated_at = $3
             FROM (
                 SELECT seen.*
                 FROM jsonb_to_recordset($2) AS seen (product_id UUID, shown BIGINT,
                     push_state TEXT, error_code TEXT, error_message TEXT,
                     in_flight_push_id UUID, last_pushed_at TIMESTAMPTZ,
                     last_confirmed_quantity BIGINT)
                 CROSS JOIN LATERAL (
                     SELECT 1
                     FROM product_stores
                     WHERE store_id = $1 AND product_id = seen.product_id
                       AND in_flight_push_id IS NOT DISTINCT FROM seen.in_flight_push_id
                       AND last_pushed_at IS NOT DISTINCT FROM seen.last_pushed_at
                       AND last_confirmed_quantity IS NOT DISTINCT FROM
                           seen.last_confirmed_quantity
                     FOR NO KEY UPDATE
                 ) AS locked
             ) AS o
             WHERE ps.store_id = $1 AND ps.product_id = o.product_id
             RETURNING ps.product_id"),
        sql!(sqlite:
            "UPDATE product_stores INDEXED BY product_stores_product_id_idx
             SET last_confirmed_quantity = o.shown, last_confirmed_at = $3,
                 in_flight_push_id = NULL,
                 push_state = COALESCE(o.push_state, product_stores.push_state),
                 push_error_code = CASE WHEN o.push_state = 'OK' THEN o.error_code
                     ELSE COALESCE(o.error_code, product_stores.push_error_code) END,
                 push_error_message = CASE WHEN o.push_state = 'OK' THEN o.error_message
                     ELSE COALESCE(o.error_message, product_stores.push_error_message) END,
                 blocked_until = CASE WHEN o.push_state IS NULL
                                      THEN product_stores.blocked_until END,
                 updated_at = $3
             FROM (
                 SELECT unhex(value ->> 'product_id') AS product_id, value ->> 'shown' AS shown,
                     value ->> 'push_state' AS push_state, value ->> 'error_code' AS error_code,
                     value ->> 'error_message' AS error_message,
                     unhex(value ->> 'in_flight_push_id') AS in_flight_push_id,
                     value ->> 'last_pushed_at' AS last_pushed_at,
                     value ->> 'last_confirmed_quantity' AS last_confirmed_quantity
                 FROM json_each($2)
             ) AS o
             WHERE product_stores.store_id = $1 AND product_stores.product_id = o.product_id
               AND product_stores.in_flight_push_id IS o.in_flight_push_id
               AND product_stores.last_pushed_at IS o.last_pushed_at
               AND product_stores.last_confirmed_quantity IS o.last_confirmed_quantity
             RETURNING product_id"),
    );
    let seen: Vec<ProductId> = on!(tx, conn => query_scalar(sql)
        .bind(store_id).bind(Json(pairs)).bind(now)
        .fetch_all(conn).await)?;
    Ok(seen.into_iter().collect())
}

/// Forgets what the marketplace is believed to show of pairs, and that they wait for a push.
pub(crate) async fn doubt(
    tx: &mut Tx,
    store_id: StoreId,
    push_id: PushId,
    products: &[ProductId],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = tx.pick(
        sql!(postgres:
            "UPDATE product_stores AS ps
             SET last_confirmed_quantity = NULL,
                 in_flight_push_id = NULLIF(ps.in_flight_push_id, $3), updated_at = $4
             FROM (
                 SELECT locked.product_id
                 FROM jsonb_array_elements_text($2) AS wanted (id)
                 CROSS JOIN LATERAL (
                     SELECT product_id
                     FROM product_stores
                     WHERE store_id = $1 AND product_id = CAST(wanted.id AS UUID)
                     FOR NO KEY UPDATE
                 ) AS locked
             ) AS doubted
             WHERE ps.store_id = $1 AND ps.product_id = doubted.product_id"),
        sql!(sqlite:
            "UPDATE product_stores
             SET last_confirmed_quantity = NULL,
                 in_flight_push_id = NULLIF(in_flight_push_id, $3), updated_at = $4
             WHERE store_id = $1 AND product_id IN (SELECT unhex(value) FROM json_each($2))"),
    );
    on!(tx, conn => query(sql)
        .bind(store_id).bind(json_uuid::list(products)).bind(push_id).bind(now)
        .execute(conn).await.map(|done| done.rows_affected()))
}

/// Lets pairs that wait for a push wait no longer; what the marketplace shows of them is not known.
pub(crate) async fn let_go(
    tx: &mut Tx,
    store_id: StoreId,
    push_id: PushId,
    products: &[ProductId],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = tx.pick(
        sql!(postgres:
            "UPDATE product_stores AS ps
             SET in_flight_push_id = NULL, updated_at = $4
             FROM (
                 SELECT locked.product_id
                 FROM jsonb_array_elements_text($2) AS wanted (id)
                 CROSS JOIN LATERAL (
                     SELECT product_id
                     FROM product_stores
                     WHERE store_id = $1 AND product_id = CAST(wanted.id AS UUID)
                       AND in_flight_push_id = $3
                     FOR NO KEY UPDATE
                 ) AS locked
             ) AS waiting
             WHERE ps.store_id = $1 AND ps.product_id = waiting.product_id"),
        sql!(sqlite:
            "UPDATE product_stores
             SET in_flight_push_id = NULL, updated_at = $4
             WHERE store_id = $1 AND product_id IN (SELECT unhex(value) FROM json_each($2))
               AND in_flight_push_id = $3"),
    );
    on!(tx, conn => query(sql)
        .bind(store_id).bind(json_uuid::list(products)).bind(push_id).bind(now)
        .execute(conn).await.map(|done| done.rows_affected()))
}
