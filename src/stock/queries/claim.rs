//! What a store's run takes from the queue, and what becomes of it.
//!
//! Rows are written in the order in which they are given; who gives them sorted by product waits
//! for nobody who does the same, nor for who enqueues.

use chrono::{DateTime, Utc};
use jobs::{PushId, StoreId};
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{FromRow, query, query_as};

use super::queue::unless_it_waits;
use crate::db::{
    Tx, both, ids, is_one_of, json_instant, json_uuid, look_up, on, only_postgres, only_sqlite,
    rows,
};
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
    let sql = both!(
        tx,
        "SELECT id, product_id, version, reason, priority, force, created_at
         FROM stock_update_queue",
        only_sqlite!(" INDEXED BY stock_update_queue_claim_idx"),
        " WHERE store_id = $1 AND processed_at IS NULL AND priority >= $2
           AND next_attempt_at <= $3
         ORDER BY priority DESC, created_at, id
         LIMIT $4"
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
    let sql = both!(
        tx,
        "SELECT q.id, q.product_id, q.version, q.reason, q.priority, q.force, q.created_at
         FROM ",
        ids!("$1"),
        " AS wanted ",
        look_up!("stock_update_queue" as "q" on "q.id = wanted.id"),
        " WHERE q.processed_at IS NULL AND q.next_attempt_at <= $2
         ORDER BY q.priority DESC, q.created_at, q.id"
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
    let sql = both!(
        tx,
        "UPDATE stock_update_queue AS q
         SET processed_at = CASE WHEN e.outcome IS NULL THEN q.processed_at ELSE $2 END,
             outcome = e.outcome, next_attempt_at = COALESCE(e.next_attempt_at, q.next_attempt_at),
             attempts = CASE WHEN e.push_id IS NULL THEN q.attempts ELSE q.attempts + 1 END,
             push_id = COALESCE(e.push_id, q.push_id), last_error = e.last_error,
             updated_at = $2
         FROM ",
        rows!("$1", id UUID, version BIGINT, outcome TEXT, next_attempt_at TIMESTAMPTZ,
            push_id UUID, last_error TEXT),
        " AS e",
        only_postgres!(
            " CROSS JOIN LATERAL (
                  SELECT 1
                  FROM stock_update_queue
                  WHERE id = e.id AND version = e.version AND processed_at IS NULL
                  FOR UPDATE
              ) AS locked"
        ),
        " WHERE q.id = e.id AND q.version = e.version AND q.processed_at IS NULL"
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
    let sql = both!(
        tx,
        "INSERT INTO stock_update_queue AS q (id, product_id, store_id, reason, priority,
             force, last_enqueued_at, next_attempt_at, created_at, updated_at)
         SELECT r.id, r.product_id, $1, r.reason, r.priority, r.force, $3, r.next_attempt_at,
             $3, $3
         FROM ",
        rows!("$2", id UUID, product_id UUID, reason TEXT, priority INTEGER, force BOOLEAN,
            next_attempt_at TIMESTAMPTZ),
        " AS r ",
        look_up!(
            "product_stores" as "ps" on "ps.store_id = $1 AND ps.product_id = r.product_id"
        ),
        " WHERE ps.is_listed
         ORDER BY r.product_id",
        unless_it_waits!(),
        " CASE WHEN excluded.next_attempt_at < q.next_attempt_at
               THEN excluded.next_attempt_at ELSE q.next_attempt_at END"
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
    let sql = both!(
        tx,
        "UPDATE stock_update_queue
         SET next_attempt_at = $3, updated_at = $3
         WHERE next_attempt_at > $3 AND id ",
        is_one_of!(
            "SELECT q.id FROM ",
            ids!("$2"),
            " AS wanted ",
            look_up!(
                "stock_update_queue" as "q" on
                "q.product_id = wanted.id AND q.store_id = $1 AND q.processed_at IS NULL",
                "FOR UPDATE"
            )
        )
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
    let sql = both!(
        tx,
        "SELECT is_active AND send_stock AS is_on, stock_push_mode AS push_mode
         FROM stores
         WHERE id = $1",
        only_postgres!(" FOR SHARE")
    );
    on!(tx, conn => query_as(sql).bind(store_id).fetch_optional(conn).await)
}
