//! Receipts and their outcomes.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use jobs::StoreId;
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{FromRow, query, query_as, query_scalar};
use uuid::Uuid;

use crate::db::{
    Tx, both, json_instant, json_uuid, look_up, on, only_postgres, only_sqlite, rows, sql,
};
use crate::http::page::Cursor;
use crate::marketplace::dead_letters::DeadReceipt;
use crate::marketplace::model::{
    DueRow, OrderState, RowOutcome, SyncLog, SyncLogId, SyncLogStatus,
};

/// A receipt of a store.
#[derive(Clone, Debug, Serialize)]
pub struct Receipt {
    /// Whose it is.
    #[serde(serialize_with = "json_uuid::of")]
    pub store_id: StoreId,
    /// The marketplace's name of the order.
    pub receipt: String,
}

/// A receipt on its way into `sync_logs`.
#[derive(Clone, Debug, Serialize)]
pub struct Claim {
    /// The id its row would have.
    #[serde(serialize_with = "json_uuid::of")]
    pub id: SyncLogId,
    /// What it is.
    #[serde(flatten)]
    pub receipt: Receipt,
    /// How long the claim lasts.
    #[serde(serialize_with = "json_instant::option")]
    pub until: Option<DateTime<Utc>>,
}

/// A row, and whose it is.
#[derive(Clone, Debug, FromRow)]
pub struct KnownReceipt {
    /// Whose it is.
    pub store_id: StoreId,
    /// What is known of it.
    #[sqlx(flatten)]
    pub row: SyncLog,
}

/// How the newest rows of a store that came to something went.
#[derive(Clone, Debug, FromRow)]
pub struct Newest {
    /// Which store.
    pub store_id: StoreId,
    /// Newest first.
    pub statuses: Json<Vec<SyncLogStatus>>,
}

/// Claims the receipts that nobody has imported yet; returns the ids that won.
pub async fn claim_receipts(
    tx: &mut Tx,
    claims: &[Claim],
    now: DateTime<Utc>,
) -> sqlx::Result<HashSet<SyncLogId>> {
    // In the order of receipts, so that two batches that share some cannot wait for each other.
    let sql = both!(
        tx,
        "INSERT INTO sync_logs (id, store_id, receipt, status, attempt, failed_attempt,
             next_retry_at, created_at, updated_at)
         SELECT c.id, c.store_id, c.receipt, 'pending', 0, 0, c.until, $2, $2
         FROM ",
        rows!("$1", id UUID, store_id UUID, receipt TEXT, until TIMESTAMPTZ),
        " AS c
         WHERE TRUE
         ORDER BY c.store_id, c.receipt
         ON CONFLICT (store_id, receipt) DO NOTHING
         RETURNING id"
    );
    let ids: Vec<SyncLogId> = on!(tx, conn => query_scalar(sql)
        .bind(Json(claims)).bind(now)
        .fetch_all(conn).await)?;
    Ok(ids.into_iter().collect())
}

/// What is known of these receipts.
pub async fn known_receipts(tx: &mut Tx, receipts: &[Receipt]) -> sqlx::Result<Vec<KnownReceipt>> {
    let sql = both!(
        tx,
        "SELECT l.store_id, l.id, l.receipt, l.status, l.order_id, l.amount_minor, l.currency,
             l.error_details, l.next_retry_at, l.imported_at
         FROM ",
        rows!("$1", store_id UUID, receipt TEXT),
        " AS asked ",
        look_up!(
            "sync_logs" as "l" on "l.store_id = asked.store_id AND l.receipt = asked.receipt"
        )
    );
    on!(tx, conn => query_as(sql).bind(Json(receipts)).fetch_all(conn).await)
}

/// Takes over the claim of somebody who did not finish in time; tells whether we got it.
pub async fn take_over_claim(
    tx: &mut Tx,
    id: SyncLogId,
    lease: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "UPDATE sync_logs
         SET next_retry_at = $2, updated_at = $3
         WHERE id = $1 AND status = 'pending' AND (next_retry_at IS NULL OR next_retry_at <= $3)"))
        .bind(id).bind(lease).bind(now)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}

/// Writes outcomes, never over a success and only under the claim they were made with;
/// returns the rows that were written.
pub async fn record_outcomes(
    tx: &mut Tx,
    outcomes: &[RowOutcome],
    now: DateTime<Utc>,
) -> sqlx::Result<HashSet<SyncLogId>> {
    // PostgreSQL would rather read all of some ten thousand rows than look up a hundred.
    let sql = both!(
        tx,
        "UPDATE sync_logs
         SET status = o.status, order_id = o.order_id, amount_minor = o.amount_minor,
             currency = o.currency, imported_at = o.imported_at,
             error_details = o.error_details, attempt = o.attempt,
             failed_attempt = o.failed_attempt, next_retry_at = o.next_retry_at,
             dead_at = o.dead_at, updated_at = $2
         FROM ",
        rows!("$1", id UUID, status TEXT, order_id TEXT, amount_minor BIGINT, currency TEXT,
            imported_at TIMESTAMPTZ, error_details TEXT, attempt INTEGER, failed_attempt INTEGER,
            next_retry_at TIMESTAMPTZ, dead_at TIMESTAMPTZ, claimed_until TIMESTAMPTZ),
        " AS o
         WHERE sync_logs.id = o.id
           AND sync_logs.status <> 'success'
           AND (o.claimed_until IS NULL
                OR (sync_logs.status = 'pending' AND sync_logs.next_retry_at = o.claimed_until))",
        only_postgres!(
            " AND sync_logs.id = ANY (ARRAY (
                  SELECT CAST(value ->> 'id' AS UUID) FROM jsonb_array_elements($1)))"
        ),
        " RETURNING sync_logs.id"
    );
    let ids: Vec<SyncLogId> =
        on!(tx, conn => query_scalar(sql).bind(Json(outcomes)).bind(now).fetch_all(conn).await)?;
    Ok(ids.into_iter().collect())
}

/// How the newest rows of each store that came to something went.
pub async fn newest_outcomes(tx: &mut Tx, stores: &[StoreId]) -> sqlx::Result<Vec<Newest>> {
    let sql = tx.pick(
        sql!(postgres:
            "SELECT s.id AS store_id, (
                 SELECT COALESCE(jsonb_agg(status ORDER BY created_at DESC, id DESC), '[]')
                 FROM (
                     SELECT status, created_at, id
                     FROM sync_logs
                     WHERE store_id = s.id AND status <> 'pending'
                     ORDER BY created_at DESC, id DESC
                     LIMIT 20
                 ) AS head
             ) AS statuses
             FROM (SELECT CAST(jsonb_array_elements_text($1) AS UUID) AS id) AS s"),
        sql!(sqlite:
            "SELECT unhex(s.value) AS store_id, (
                 SELECT json_group_array(status ORDER BY created_at DESC, id DESC)
                 FROM (
                     SELECT status, created_at, id
                     FROM sync_logs
                     WHERE store_id = unhex(s.value) AND status <> 'pending'
                     ORDER BY created_at DESC, id DESC
                     LIMIT 20
                 ) AS head
             ) AS statuses
             FROM json_each($1) AS s"),
    );
    on!(tx, conn => query_as(sql).bind(json_uuid::list(stores)).fetch_all(conn).await)
}

/// Where a run stands in its store's rows.
#[derive(Clone, Copy, Debug)]
pub struct RowCursor {
    /// Of the last row taken.
    pub created_at: DateTime<Utc>,
    /// Of the last row taken.
    pub id: SyncLogId,
}

impl RowCursor {
    /// Before every row.
    pub const BEGINNING: Self = Self {
        created_at: DateTime::UNIX_EPOCH,
        id: SyncLogId(Uuid::nil()),
    };
}

/// The due rows of a store behind the cursor, oldest first.
pub async fn due_rows(
    tx: &mut Tx,
    store_id: StoreId,
    cursor: RowCursor,
    now: DateTime<Utc>,
    limit: u32,
) -> sqlx::Result<Vec<DueRow>> {
    // SQLite would rather look up what is due and sort all of it for each batch.
    let sql = both!(
        tx,
        "SELECT id, receipt, created_at, attempt, failed_attempt
         FROM sync_logs",
        only_sqlite!(" INDEXED BY sync_logs_batch_idx"),
        " WHERE store_id = $1
           AND status <> 'success'
           AND dead_at IS NULL
           AND COALESCE(next_retry_at, created_at) <= $2
           AND (created_at, id) > ($3, $4)
         ORDER BY created_at, id
         LIMIT $5"
    );
    on!(tx, conn => query_as(sql)
        .bind(store_id).bind(now).bind(cursor.created_at).bind(cursor.id).bind(i64::from(limit))
        .fetch_all(conn).await)
}

/// How the newest receipts of a store stand, newest first.
pub async fn newest_states(
    tx: &mut Tx,
    store_id: StoreId,
    limit: u32,
) -> sqlx::Result<Vec<OrderState>> {
    on!(tx, conn => query_as(sql!(
        "SELECT receipt, status, attempt, failed_attempt, error_details, next_retry_at, dead_at
         FROM sync_logs
         WHERE store_id = $1 AND status <> 'pending'
         ORDER BY created_at DESC, id DESC
         LIMIT $2"))
        .bind(store_id).bind(i64::from(limit))
        .fetch_all(conn).await)
}

/// Receipts that failed for the last time behind the cursor, or those of one store, in the order
/// they died.
pub async fn dead_receipts(
    tx: &mut Tx,
    store_id: Option<StoreId>,
    after: Cursor,
    limit: i64,
) -> sqlx::Result<Vec<DeadReceipt>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, store_id, receipt, error_details, failed_attempt, dead_at
         FROM sync_logs
         WHERE dead_at IS NOT NULL AND (dead_at, id) > ($1, $2)
           AND store_id = COALESCE($3, store_id)
         ORDER BY dead_at, id
         LIMIT $4"))
        .bind(after.at).bind(after.id).bind(store_id).bind(limit)
        .fetch_all(conn).await)
}

/// Makes a dead receipt due; tells whether it was dead.
pub async fn revive_receipt(tx: &mut Tx, id: SyncLogId, now: DateTime<Utc>) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "UPDATE sync_logs
         SET failed_attempt = 0, dead_at = NULL, next_retry_at = NULL, updated_at = $2
         WHERE id = $1 AND dead_at IS NOT NULL"))
        .bind(id).bind(now)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}
