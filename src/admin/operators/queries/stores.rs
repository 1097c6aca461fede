//! Stores: which, and what is known of one.

use chrono::{DateTime, Utc};
use jobs::StoreId;
use sqlx::{FromRow, query_as, query_scalar};
use uuid::Uuid;

use crate::db::{Tx, on, sql};
use crate::http::page::Cursor;
use crate::marketplace::model::{Marketplace, SyncStatus};

/// A store in a list.
#[derive(Clone, Copy, Debug, FromRow)]
pub(crate) struct Listing {
    pub(crate) id: StoreId,
    pub(crate) created_at: DateTime<Utc>,
}

impl Listing {
    /// Its place in a list in the order of registration.
    pub(crate) fn place(&self) -> Cursor {
        Cursor {
            at: self.created_at,
            id: self.id.0,
        }
    }
}

/// A store that has orders that are neither imported nor given up.
#[derive(Clone, Copy, Debug, FromRow)]
pub(crate) struct Waiting {
    pub(crate) id: StoreId,
    /// When the first of them is due.
    pub(crate) due_at: Option<DateTime<Utc>>,
    /// Whether nobody wants it left alone.
    pub(crate) may_be_synced: bool,
}

/// All that is shown of a store.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct Details {
    pub(crate) id: StoreId,
    pub(crate) organization_id: String,
    pub(crate) marketplace: Marketplace,
    pub(crate) store_name: String,
    pub(crate) external_store_id: String,
    pub(crate) sync_status: SyncStatus,
    pub(crate) last_sync_at: Option<DateTime<Utc>>,
    pub(crate) paused_at: Option<DateTime<Utc>>,
    pub(crate) paused_until: Option<DateTime<Utc>>,
    pub(crate) enqueued_until: Option<DateTime<Utc>>,
    pub(crate) lease_token: Option<Uuid>,
    pub(crate) lease_expires_at: Option<DateTime<Utc>>,
    pub(crate) due_at: Option<DateTime<Utc>>,
    pub(crate) waiting: i64,
    pub(crate) dead: i64,
    pub(crate) last_error: Option<String>,
}

/// Stores behind the cursor, in the order they were registered.
pub(crate) async fn all(tx: &mut Tx, after: Cursor, limit: i64) -> sqlx::Result<Vec<Listing>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, created_at
         FROM stores
         WHERE (created_at, id) > ($1, $2)
         ORDER BY created_at, id
         LIMIT $3"))
        .bind(after.at).bind(after.id).bind(limit)
        .fetch_all(conn).await)
}

/// The same, of those whose newest orders all failed.
pub(crate) async fn failing(tx: &mut Tx, after: Cursor, limit: i64) -> sqlx::Result<Vec<Listing>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, created_at
         FROM stores
         WHERE sync_status = 'failed' AND (created_at, id) > ($1, $2)
         ORDER BY created_at, id
         LIMIT $3"))
        .bind(after.at).bind(after.id).bind(limit)
        .fetch_all(conn).await)
}

/// The same, of those that an operator paused.
pub(crate) async fn paused(tx: &mut Tx, after: Cursor, limit: i64) -> sqlx::Result<Vec<Listing>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, created_at
         FROM stores
         WHERE paused_at IS NOT NULL AND (created_at, id) > ($1, $2)
         ORDER BY created_at, id
         LIMIT $3"))
        .bind(after.at).bind(after.id).bind(limit)
        .fetch_all(conn).await)
}

/// The next stores by their ids that have orders that are neither imported nor given up: one
/// look into `sync_logs_due_idx` a store finds the next one, one more what it waits for.
pub(crate) async fn waiting(
    tx: &mut Tx,
    after: Uuid,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<Waiting>> {
    on!(tx, conn => query_as(sql!(
        "WITH RECURSIVE head (store_id, number) AS (
             SELECT (
                 SELECT store_id
                 FROM sync_logs
                 WHERE status <> 'success' AND dead_at IS NULL AND store_id > $1
                 ORDER BY store_id, COALESCE(next_retry_at, created_at)
                 LIMIT 1
             ), 1
             UNION ALL
             SELECT (
                 SELECT l.store_id
                 FROM sync_logs AS l
                 WHERE l.status <> 'success' AND l.dead_at IS NULL AND l.store_id > head.store_id
                 ORDER BY l.store_id, COALESCE(l.next_retry_at, l.created_at)
                 LIMIT 1
             ), head.number + 1
             FROM head
             WHERE head.store_id IS NOT NULL AND head.number < $3
         )
         SELECT head.store_id AS id, (
                 SELECT COALESCE(l.next_retry_at, l.created_at)
                 FROM sync_logs AS l
                 WHERE l.store_id = head.store_id AND l.status <> 'success' AND l.dead_at IS NULL
                 ORDER BY COALESCE(l.next_retry_at, l.created_at)
                 LIMIT 1
             ) AS due_at, (
                 SELECT s.paused_at IS NULL AND (s.paused_until IS NULL OR s.paused_until <= $2)
                 FROM stores AS s
                 WHERE s.id = head.store_id
             ) AS may_be_synced
         FROM head
         WHERE head.store_id IS NOT NULL
         ORDER BY head.number"))
        .bind(after).bind(now).bind(limit)
        .fetch_all(conn).await)
}

/// The next stores by their ids that have dead letters, found in the same way.
pub(crate) async fn with_dead_letters(
    tx: &mut Tx,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<StoreId>> {
    on!(tx, conn => query_scalar(sql!(
        "WITH RECURSIVE head (store_id, number) AS (
             SELECT (
                 SELECT store_id
                 FROM sync_logs
                 WHERE dead_at IS NOT NULL AND store_id > $1
                 ORDER BY store_id, dead_at, id
                 LIMIT 1
             ), 1
             UNION ALL
             SELECT (
                 SELECT l.store_id
                 FROM sync_logs AS l
                 WHERE l.dead_at IS NOT NULL AND l.store_id > head.store_id
                 ORDER BY l.store_id, l.dead_at, l.id
                 LIMIT 1
             ), head.number + 1
             FROM head
             WHERE head.store_id IS NOT NULL AND head.number < $2
         )
         SELECT head.store_id
         FROM head
         WHERE head.store_id IS NOT NULL
         ORDER BY head.number"))
        .bind(after).bind(limit)
        .fetch_all(conn).await)
}

/// What is known of a store: the last error is that of the newest orders, else of what it waits
/// for, else of what was given up.
///
/// The range of one store keeps PostgreSQL from walking through the dead letters of all.
pub(crate) async fn details(
    tx: &mut Tx,
    id: StoreId,
    count_limit: i64,
) -> sqlx::Result<Option<Details>> {
    on!(tx, conn => query_as(sql!(
        "SELECT s.id, s.organization_id, s.marketplace, s.store_name, s.external_store_id,
             s.sync_status, s.last_sync_at, s.paused_at, s.paused_until, s.enqueued_until,
             s.lease_token, s.lease_expires_at, (
                 SELECT COALESCE(next_retry_at, created_at)
                 FROM sync_logs
                 WHERE store_id = $1 AND status <> 'success' AND dead_at IS NULL
                 ORDER BY COALESCE(next_retry_at, created_at)
                 LIMIT 1
             ) AS due_at, (
                 SELECT COUNT(*) FROM (
                     SELECT 1
                     FROM sync_logs
                     WHERE store_id = $1 AND status <> 'success' AND dead_at IS NULL
                     ORDER BY COALESCE(next_retry_at, created_at)
                     LIMIT $2
                 ) AS head
             ) AS waiting, (
                 SELECT COUNT(*) FROM (
                     SELECT 1
                     FROM sync_logs
                     WHERE store_id = $1 AND dead_at IS NOT NULL
                     ORDER BY dead_at, id
                     LIMIT $2
                 ) AS head
             ) AS dead, COALESCE((
                 SELECT head.error_details
                 FROM (
                     SELECT error_details
                     FROM sync_logs
                     WHERE store_id = $1 AND status <> 'pending'
                     ORDER BY created_at DESC, id DESC
                     LIMIT 20
                 ) AS head
                 WHERE head.error_details IS NOT NULL
                 LIMIT 1
             ), (
                 SELECT error_details
                 FROM sync_logs
                 WHERE store_id = $1 AND status <> 'success' AND dead_at IS NULL
                 ORDER BY COALESCE(next_retry_at, created_at)
                 LIMIT 1
             ), (
                 SELECT error_details
                 FROM sync_logs
                 WHERE store_id BETWEEN $1 AND $1 AND dead_at IS NOT NULL
                 ORDER BY store_id DESC, dead_at DESC, id DESC
                 LIMIT 1
             )) AS last_error
         FROM stores AS s
         WHERE s.id = $1"))
        .bind(id).bind(count_limit)
        .fetch_optional(conn).await)
}
