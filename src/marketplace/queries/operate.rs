//! What an operator changes of a store.

use chrono::{DateTime, Utc};
use jobs::StoreId;
use sqlx::{FromRow, query, query_as, query_scalar};

use crate::db::{Tx, on, sql};
use crate::marketplace::model::SyncLogId;

/// Who wants a store left alone.
#[derive(Clone, Copy, Debug, FromRow)]
pub(crate) struct Pauses {
    /// Since when an operator does.
    pub(crate) paused_at: Option<DateTime<Utc>>,
    /// Until when its marketplace does.
    pub(crate) paused_until: Option<DateTime<Utc>>,
}

/// Who wants a store left alone; none when there is no such store.
pub(crate) async fn pauses(tx: &mut Tx, id: StoreId) -> sqlx::Result<Option<Pauses>> {
    on!(tx, conn => query_as(sql!(
        "SELECT paused_at, paused_until
         FROM stores
         WHERE id = $1"))
        .bind(id)
        .fetch_optional(conn).await)
}

/// Pauses a store; tells whether it was not paused before.
pub(crate) async fn pause(tx: &mut Tx, id: StoreId, now: DateTime<Utc>) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "UPDATE stores SET paused_at = $2 WHERE id = $1 AND paused_at IS NULL"))
        .bind(id).bind(now)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}

/// Ends the pause of a store; tells whether it was paused.
pub(crate) async fn resume(tx: &mut Tx, id: StoreId) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "UPDATE stores SET paused_at = NULL WHERE id = $1 AND paused_at IS NOT NULL"))
        .bind(id)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}

/// When the last of the next `limit` receipts is due that wait for their next try; those that
/// somebody is importing are not among them.
pub(crate) async fn last_to_hurry(
    tx: &mut Tx,
    store_id: StoreId,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT due_at
         FROM (
             SELECT COALESCE(next_retry_at, created_at) AS due_at
             FROM sync_logs
             WHERE store_id = $1 AND status <> 'success' AND dead_at IS NULL
               AND status <> 'pending'
               AND COALESCE(next_retry_at, created_at) > $2
             ORDER BY COALESCE(next_retry_at, created_at)
             LIMIT $3
         ) AS head
         ORDER BY due_at DESC
         LIMIT 1"))
        .bind(store_id).bind(now).bind(limit)
        .fetch_optional(conn).await)
}

/// Makes the receipts due that wait for a try until `last`; tells how many.
pub(crate) async fn hurry(
    tx: &mut Tx,
    store_id: StoreId,
    last: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    on!(tx, conn => query(sql!(
        "UPDATE sync_logs
         SET next_retry_at = $3, updated_at = $3
         WHERE store_id = $1 AND status <> 'success' AND dead_at IS NULL
           AND status <> 'pending'
           AND COALESCE(next_retry_at, created_at) > $3
           AND COALESCE(next_retry_at, created_at) <= $2"))
        .bind(store_id).bind(last).bind(now)
        .execute(conn).await.map(|done| done.rows_affected()))
}

/// The last of the oldest `limit` dead letters of a store.
pub(crate) async fn last_to_revive(
    tx: &mut Tx,
    store_id: StoreId,
    limit: i64,
) -> sqlx::Result<Option<(DateTime<Utc>, SyncLogId)>> {
    on!(tx, conn => query_as(sql!(
        "SELECT dead_at, id
         FROM (
             SELECT dead_at, id
             FROM sync_logs
             WHERE store_id = $1 AND dead_at IS NOT NULL
             ORDER BY dead_at, id
             LIMIT $2
         ) AS head
         ORDER BY dead_at DESC, id DESC
         LIMIT 1"))
        .bind(store_id).bind(limit)
        .fetch_optional(conn).await)
}

/// Makes the dead letters of a store due up to this one; tells how many.
pub(crate) async fn revive_receipts(
    tx: &mut Tx,
    store_id: StoreId,
    (dead_at, id): (DateTime<Utc>, SyncLogId),
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    on!(tx, conn => query(sql!(
        "UPDATE sync_logs
         SET failed_attempt = 0, dead_at = NULL, next_retry_at = NULL, updated_at = $4
         WHERE store_id = $1 AND dead_at IS NOT NULL AND (dead_at, id) <= ($2, $3)"))
        .bind(store_id).bind(dead_at).bind(id).bind(now)
        .execute(conn).await.map(|done| done.rows_affected()))
}
