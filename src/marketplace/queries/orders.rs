//! Receipts and their outcomes.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use jobs::StoreId;
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{query, query_as, query_scalar};

use crate::db::{Tx, on, sql};
use crate::http::page::Cursor;
use crate::marketplace::dead_letters::DeadReceipt;
use crate::marketplace::model::{
    DueRow, OrderState, RowOutcome, SyncLog, SyncLogId, SyncLogStatus, simple_uuid,
};

/// A receipt on its way into `sync_logs`.
#[derive(Clone, Debug, Serialize)]
pub struct Claim {
    /// The id its row would have.
    #[serde(serialize_with = "simple_uuid")]
    pub id: SyncLogId,
    /// The marketplace's name of the order.
    pub receipt: String,
}

/// Claims the receipts that nobody has imported yet, until `lease`; returns the ids that won.
pub async fn claim_receipts(
    tx: &mut Tx,
    store_id: StoreId,
    claims: &[Claim],
    lease: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<HashSet<SyncLogId>> {
    // In the order of receipts, so that two batches that share some cannot wait for each other.
    let sql = tx.pick(
        sql!(postgres:
            "INSERT INTO sync_logs (id, store_id, receipt, status, attempt, failed_attempt,
                 next_retry_at, created_at, updated_at)
             SELECT c.id, $2, c.receipt, 'pending', 0, 0, $3, $4, $4
             FROM jsonb_to_recordset($1) AS c (id UUID, receipt TEXT)
             ORDER BY c.receipt
             ON CONFLICT (store_id, receipt) DO NOTHING
             RETURNING id"),
        sql!(sqlite:
            "INSERT INTO sync_logs (id, store_id, receipt, status, attempt, failed_attempt,
                 next_retry_at, created_at, updated_at)
             SELECT unhex(value ->> 'id'), $2, value ->> 'receipt', 'pending', 0, 0, $3, $4, $4
             FROM json_each($1)
             WHERE TRUE
             ON CONFLICT (store_id, receipt) DO NOTHING
             RETURNING id"),
    );
    let ids: Vec<SyncLogId> = on!(tx, conn => query_scalar(sql)
        .bind(Json(claims)).bind(store_id).bind(lease).bind(now)
        .fetch_all(conn).await)?;
    Ok(ids.into_iter().collect())
}

/// What is known of these receipts.
pub async fn receipts(
    tx: &mut Tx,
    store_id: StoreId,
    receipts: &[&str],
) -> sqlx::Result<Vec<SyncLog>> {
    let sql = tx.pick(
        sql!(postgres:
            "SELECT id, receipt, status, order_id, amount_minor, currency, error_details,
                 next_retry_at, imported_at
             FROM sync_logs
             WHERE store_id = $1
               AND receipt = ANY (ARRAY (SELECT jsonb_array_elements_text($2)))"),
        sql!(sqlite:
            "SELECT id, receipt, status, order_id, amount_minor, currency, error_details,
                 next_retry_at, imported_at
             FROM sync_logs
             WHERE store_id = $1 AND receipt IN (SELECT value FROM json_each($2))"),
    );
    on!(tx, conn => query_as(sql).bind(store_id).bind(Json(receipts)).fetch_all(conn).await)
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
    let sql = tx.pick(
        sql!(postgres:
            "UPDATE sync_logs AS l
             SET status = o.status, order_id = o.order_id, amount_minor = o.amount_minor,
                 currency = o.currency, imported_at = o.imported_at,
                 error_details = o.error_details, attempt = o.attempt,
                 failed_attempt = o.failed_attempt, next_retry_at = o.next_retry_at,
                 dead_at = o.dead_at, updated_at = $2
             FROM jsonb_to_recordset($1) AS o (id UUID, status TEXT, order_id TEXT,
                 amount_minor BIGINT, currency TEXT, imported_at TIMESTAMPTZ, error_details TEXT,
                 attempt INTEGER, failed_attempt INTEGER, next_retry_at TIMESTAMPTZ,
                 dead_at TIMESTAMPTZ, claimed_until TIMESTAMPTZ)
             WHERE l.id = o.id
               AND l.status <> 'success'
               AND (o.claimed_until IS NULL
                    OR (l.status = 'pending' AND l.next_retry_at = o.claimed_until))
             RETURNING l.id"),
        sql!(sqlite:
            "UPDATE sync_logs
             SET status = o.status, order_id = o.order_id, amount_minor = o.amount_minor,
                 currency = o.currency, imported_at = o.imported_at,
                 error_details = o.error_details, attempt = o.attempt,
                 failed_attempt = o.failed_attempt, next_retry_at = o.next_retry_at,
                 dead_at = o.dead_at, updated_at = $2
             FROM (
                 SELECT unhex(value ->> 'id') AS id, value ->> 'status' AS status,
                     value ->> 'order_id' AS order_id, value ->> 'amount_minor' AS amount_minor,
                     value ->> 'currency' AS currency, value ->> 'imported_at' AS imported_at,
                     value ->> 'error_details' AS error_details, value ->> 'attempt' AS attempt,
                     value ->> 'failed_attempt' AS failed_attempt,
                     value ->> 'next_retry_at' AS next_retry_at, value ->> 'dead_at' AS dead_at,
                     value ->> 'claimed_until' AS claimed_until
                 FROM json_each($1)
             ) AS o
             WHERE sync_logs.id = o.id
               AND sync_logs.status <> 'success'
               AND (o.claimed_until IS NULL
                    OR (sync_logs.status = 'pending'
                        AND sync_logs.next_retry_at = o.claimed_until))
             RETURNING id"),
    );
    let ids: Vec<SyncLogId> =
        on!(tx, conn => query_scalar(sql).bind(Json(outcomes)).bind(now).fetch_all(conn).await)?;
    Ok(ids.into_iter().collect())
}

/// The newest rows of a store that came to something, newest first.
pub async fn newest_outcomes(tx: &mut Tx, store_id: StoreId) -> sqlx::Result<Vec<SyncLogStatus>> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT status
         FROM sync_logs
         WHERE store_id = $1 AND status <> 'pending'
         ORDER BY created_at DESC, id DESC
         LIMIT 20"))
        .bind(store_id)
        .fetch_all(conn).await)
}

/// How many receipts of a store are rate-limited now.
pub async fn rate_limited_count(tx: &mut Tx, store_id: StoreId) -> sqlx::Result<i64> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT COUNT(*) FROM sync_logs WHERE store_id = $1 AND status = 'rate_limited'"))
        .bind(store_id)
        .fetch_one(conn).await)
}

/// Where a run stands in its store's rows.
#[derive(Clone, Copy, Debug)]
pub struct RowCursor {
    /// Of the last row taken.
    pub created_at: DateTime<Utc>,
    /// Of the last row taken.
    pub id: SyncLogId,
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
    let sql = tx.pick(
        sql!(postgres:
            "SELECT id, receipt, created_at, attempt, failed_attempt
             FROM sync_logs
             WHERE store_id = $1
               AND status <> 'success'
               AND dead_at IS NULL
               AND COALESCE(next_retry_at, created_at) <= $2
               AND (created_at, id) > ($3, $4)
             ORDER BY created_at, id
             LIMIT $5"),
        sql!(sqlite:
            "SELECT id, receipt, created_at, attempt, failed_attempt
             FROM sync_logs INDEXED BY sync_logs_batch_idx
             WHERE store_id = $1
               AND status <> 'success'
               AND dead_at IS NULL
               AND COALESCE(next_retry_at, created_at) <= $2
               AND (created_at, id) > ($3, $4)
             ORDER BY created_at, id
             LIMIT $5"),
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
