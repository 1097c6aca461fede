//! What a store's run takes from the queue, and what becomes of it.
//!
//! Rows are written in the order in which they are given; who gives them sorted by product waits
//! for nobody who does the same, nor for who enqueues.

use chrono::{DateTime, Utc};
use jobs::{PushId, StoreId};
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{FromRow, query, query_as};

use crate::db::{Tx, json_instant, json_uuid, on, sql};
use crate::stock::model::{ProductId, PushMode, QueueId, QueueOutcome, Reason};

/// A row that is due, as it was when it was taken.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct DueRow {
    pub(crate) id: QueueId,
    pub(crate) product_id: ProductId,
    /// Moves when somebody enqueues the product meanwhile.
    pub(crate) version: i64,
    pub(crate) reason: Reason,
    pub(crate) priority: i32,
    pub(crate) force: bool,
    pub(crate) created_at: DateTime<Utc>,
}

/// The rows of a store that are due and at least so urgent: the most urgent first, of those the
/// oldest.
pub(crate) async fn due_rows(
    tx: &mut Tx,
    store_id: StoreId,
    min_priority: i32,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<DueRow>> {
    // SQLite would rather sort everything that is due for each batch.
    let sql = tx.pick(
        sql!(postgres:
            "SELECT id, product_id, version, reason, priority, force, created_at
             FROM stock_update_queue
             WHERE store_id = $1 AND processed_at IS NULL AND priority >= $2
               AND next_attempt_at <= $3
             ORDER BY priority DESC, created_at, id
             LIMIT $4"),
        sql!(sqlite:
            "SELECT id, product_id, version, reason, priority, force, created_at
             FROM stock_update_queue INDEXED BY stock_update_queue_claim_idx
             WHERE store_id = $1 AND processed_at IS NULL AND priority >= $2
               AND next_attempt_at <= $3
             ORDER BY priority DESC, created_at, id
             LIMIT $4"),
    );
    on!(tx, conn => query_as(sql)
        .bind(store_id).bind(min_priority).bind(now).bind(limit)
        .fetch_all(conn).await)
}

/// Those of these rows that are due, in the same order.
pub(crate) async fn due_rows_of(
    tx: &mut Tx,
    rows: &[QueueId],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<DueRow>> {
    // PostgreSQL must be told to look each one up.
    let sql = tx.pick(
        sql!(postgres:
            "SELECT q.*
             FROM jsonb_array_elements_text($1) AS wanted (id)
             CROSS JOIN LATERAL (
                 SELECT id, product_id, version, reason, priority, force, created_at
                 FROM stock_update_queue
                 WHERE id = CAST(wanted.id AS UUID) AND processed_at IS NULL
                   AND next_attempt_at <= $2
                 OFFSET 0
             ) AS q
             ORDER BY q.priority DESC, q.created_at, q.id"),
        sql!(sqlite:
            "SELECT q.id, q.product_id, q.version, q.reason, q.priority, q.force, q.created_at
             FROM json_each($1) AS wanted
             CROSS JOIN stock_update_queue AS q ON q.id = unhex(wanted.value)
             WHERE q.processed_at IS NULL AND q.next_attempt_at <= $2
             ORDER BY q.priority DESC, q.created_at, q.id"),
    );
    on!(tx, conn => query_as(sql).bind(json_uuid::list(rows)).bind(now).fetch_all(conn).await)
}

/// Whether something of a store is due that is at least so urgent.
pub(crate) async fn has_due_rows(
    tx: &mut Tx,
    store_id: StoreId,
    min_priority: i32,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let due = due_rows(tx, store_id, min_priority, now, 1).await?;
    Ok(!due.is_empty())
}

/// What becomes of a row that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RowEnd {
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) id: QueueId,
    /// Of the product; not written.
    #[serde(skip)]
    pub(crate) product_id: ProductId,
    /// As it was when the row was taken: one that moved meanwhile is left alone.
    pub(crate) version: i64,
    /// None: it stays.
    pub(crate) outcome: Option<QueueOutcome>,
    /// When it is due again, if it stays; none: as it is.
    #[serde(serialize_with = "json_instant::option")]
    pub(crate) next_attempt_at: Option<DateTime<Utc>>,
    /// The push that it was in, if it was in one.
    #[serde(serialize_with = "json_uuid::option")]
    pub(crate) push_id: Option<PushId>,
    /// Why it was not sent.
    pub(crate) last_error: Option<String>,
}

/// Closes or postpones rows; tells how many did not move meanwhile.
pub(crate) async fn end_rows(
    tx: &mut Tx,
    rows: &[RowEnd],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = tx.pick(
        sql!(postgres:
            "UPDATE stock_update_queue AS q
             SET processed_at = CASE WHEN e.outcome IS NOT NULL THEN CAST($2 AS TIMESTAMPTZ) END,
                 outcome = e.outcome,
                 next_attempt_at = COALESCE(e.next_attempt_at, q.next_attempt_at),
                 attempts = CASE WHEN e.push_id IS NULL THEN q.attempts ELSE q.attempts + 1 END,
                 push_id = COALESCE(e.push_id, q.push_id), last_error = e.last_error,
                 updated_at = $2
             FROM (
                 SELECT ended.*
                 FROM jsonb_to_recordset($1) AS ended (id UUID, version BIGINT, outcome TEXT,
                     next_attempt_at TIMESTAMPTZ, push_id UUID, last_error TEXT)
                 CROSS JOIN LATERAL (
                     SELECT 1
                     FROM stock_update_queue
                     WHERE id = ended.id AND version = ended.version AND processed_at IS NULL
                     FOR UPDATE
                 ) AS locked
             ) AS e
             WHERE q.id = e.id"),
        sql!(sqlite:
            "UPDATE stock_update_queue
             SET processed_at = CASE WHEN e.outcome IS NOT NULL THEN $2 END, outcome = e.outcome,
                 next_attempt_at = COALESCE(e.next_attempt_at, stock_update_queue.next_attempt_at),
                 attempts = attempts + (e.push_id IS NOT NULL),
                 push_id = COALESCE(e.push_id, stock_update_queue.push_id),
                 last_error = e.last_error, updated_at = $2
             FROM (
                 SELECT unhex(value ->> 'id') AS id, value ->> 'version' AS version,
                     value ->> 'outcome' AS outcome, value ->> 'next_attempt_at' AS next_attempt_at,
                     unhex(value ->> 'push_id') AS push_id, value ->> 'last_error' AS last_error
                 FROM json_each($1)
             ) AS e
             WHERE stock_update_queue.id = e.id AND stock_update_queue.version = e.version
               AND stock_update_queue.processed_at IS NULL"),
    );
    on!(tx, conn => query(sql)
        .bind(Json(rows)).bind(now)
        .execute(conn).await.map(|done| done.rows_affected()))
}

/// A product that has to be told, when, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Requeued {
    /// The id its row would have.
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) id: QueueId,
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) product_id: ProductId,
    pub(crate) reason: Reason,
    pub(crate) priority: i32,
    pub(crate) force: bool,
    /// When it is due, unless a row waits that is due sooner.
    #[serde(serialize_with = "json_instant::of")]
    pub(crate) next_attempt_at: DateTime<Utc>,
}

/// The statement of [`requeue`]: only the list is written differently.
macro_rules! requeue_of {
    ($rows:literal) => {
        concat!(
            "INSERT INTO stock_update_queue AS q (id, product_id, store_id, reason, priority,
                 force, last_enqueued_at, next_attempt_at, created_at, updated_at)
             SELECT r.id, r.product_id, $1, r.reason, r.priority, r.force, $3, r.next_attempt_at,
                 $3, $3
             FROM (",
            $rows,
            ") AS r
             WHERE TRUE
             ORDER BY r.product_id
             ON CONFLICT (product_id, store_id) WHERE processed_at IS NULL DO UPDATE
             SET version = q.version + 1,
                 reason = CASE WHEN excluded.priority > q.priority THEN excluded.reason
                               ELSE q.reason END,
                 priority = CASE WHEN excluded.priority > q.priority THEN excluded.priority
                                 ELSE q.priority END,
                 force = q.force OR excluded.force,
                 last_enqueued_at = excluded.last_enqueued_at,
                 next_attempt_at = CASE
                     WHEN excluded.next_attempt_at < q.next_attempt_at
                     THEN excluded.next_attempt_at ELSE q.next_attempt_at END,
                 updated_at = excluded.updated_at"
        )
    };
}

/// Puts products of a store into its queue, each for its own reason, where they are listed; a row
/// that waits already is due no later, and no less urgent, than before.
///
/// Sets are not looked for: the quantities did not change.
pub(crate) async fn requeue(
    tx: &mut Tx,
    store_id: StoreId,
    rows: &[Requeued],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = tx.pick(
        sql!(postgres: requeue_of!(
            "SELECT r.*
             FROM jsonb_to_recordset($2) AS r (id UUID, product_id UUID, reason TEXT,
                 priority INTEGER, force BOOLEAN, next_attempt_at TIMESTAMPTZ)
             CROSS JOIN LATERAL (
                 SELECT 1
                 FROM product_stores
                 WHERE store_id = $1 AND product_id = r.product_id AND is_listed
                 OFFSET 0
             ) AS listed"
        )),
        sql!(sqlite: requeue_of!(
            "SELECT unhex(value ->> 'id') AS id, unhex(value ->> 'product_id') AS product_id,
                 value ->> 'reason' AS reason, value ->> 'priority' AS priority,
                 value ->> 'force' AS force, value ->> 'next_attempt_at' AS next_attempt_at
             FROM json_each($2) AS wanted
             CROSS JOIN product_stores AS ps
                 ON ps.store_id = $1 AND ps.product_id = unhex(value ->> 'product_id')
                 AND ps.is_listed"
        )),
    );
    on!(tx, conn => query(sql)
        .bind(store_id).bind(Json(rows)).bind(now)
        .execute(conn).await.map(|done| done.rows_affected()))
}

/// Lets rows of these products that wait for the results of a push be due now.
pub(crate) async fn release_held(
    tx: &mut Tx,
    store_id: StoreId,
    products: &[ProductId],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = tx.pick(
        sql!(postgres:
            "UPDATE stock_update_queue AS q
             SET next_attempt_at = $3, updated_at = $3
             FROM (
                 SELECT locked.id
                 FROM jsonb_array_elements_text($2) AS wanted (id)
                 CROSS JOIN LATERAL (
                     SELECT id
                     FROM stock_update_queue
                     WHERE product_id = CAST(wanted.id AS UUID) AND store_id = $1
                       AND processed_at IS NULL AND next_attempt_at > $3
                     FOR UPDATE
                 ) AS locked
             ) AS held
             WHERE q.id = held.id"),
        sql!(sqlite:
            "UPDATE stock_update_queue
             SET next_attempt_at = $3, updated_at = $3
             WHERE id IN (
                 SELECT q.id
                 FROM json_each($2) AS wanted
                 CROSS JOIN stock_update_queue AS q
                     ON q.product_id = unhex(wanted.value) AND q.store_id = $1
                     AND q.processed_at IS NULL
                 WHERE q.next_attempt_at > $3
             )"),
    );
    on!(tx, conn => query(sql)
        .bind(store_id).bind(json_uuid::list(products)).bind(now)
        .execute(conn).await.map(|done| done.rows_affected()))
}

/// Whether and how a store is pushed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct Mode {
    /// It is active, and sends quantities.
    pub(crate) is_on: bool,
    pub(crate) push_mode: PushMode,
}

/// Keeps everybody from changing whether and how a store is pushed to until the transaction ends;
/// none: there is no such store.
pub(crate) async fn lock_mode(tx: &mut Tx, store_id: StoreId) -> sqlx::Result<Option<Mode>> {
    // SQLite has one writer anyway.
    let sql = tx.pick(
        sql!(postgres:
            "SELECT is_active AND send_stock AS is_on, stock_push_mode AS push_mode
             FROM stores
             WHERE id = $1
             FOR SHARE"),
        sql!(sqlite:
            "SELECT is_active AND send_stock AS is_on, stock_push_mode AS push_mode
             FROM stores
             WHERE id = $1"),
    );
    on!(tx, conn => query_as(sql).bind(store_id).fetch_optional(conn).await)
}
