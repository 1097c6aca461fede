//! Counts, each up to a limit.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, query_as, query_scalar};
use uuid::Uuid;

use crate::db::{Tx, on, sql};

/// Stores by how their newest orders went, paused ones, and dead orders.
#[derive(Clone, Copy, Debug, FromRow)]
pub(crate) struct StoreNumbers {
    pub(crate) failed: i64,
    pub(crate) partial: i64,
    pub(crate) success: i64,
    pub(crate) pending: i64,
    pub(crate) paused: i64,
    pub(crate) dead_orders: i64,
}

/// Events and webhooks.
#[derive(Clone, Copy, Debug, FromRow)]
pub(crate) struct CallbackNumbers {
    pub(crate) pending: i64,
    pub(crate) failed: i64,
    pub(crate) oldest_pending: Option<DateTime<Utc>>,
    pub(crate) open: i64,
    pub(crate) inactive: i64,
    pub(crate) paused: i64,
}

/// Counts stores and dead orders. Each count is of a range of its index, and in its order:
/// so neither database thinks of reading the table instead.
pub(crate) async fn stores(tx: &mut Tx, limit: i64) -> sqlx::Result<StoreNumbers> {
    on!(tx, conn => query_as(sql!(
        "SELECT
             (SELECT COUNT(*) FROM (
                 SELECT 1 FROM stores WHERE sync_status BETWEEN 'failed' AND 'failed'
                 ORDER BY sync_status LIMIT $1) AS head) AS failed,
             (SELECT COUNT(*) FROM (
                 SELECT 1 FROM stores WHERE sync_status BETWEEN 'partial' AND 'partial'
                 ORDER BY sync_status LIMIT $1) AS head) AS partial,
             (SELECT COUNT(*) FROM (
                 SELECT 1 FROM stores WHERE sync_status BETWEEN 'success' AND 'success'
                 ORDER BY sync_status LIMIT $1) AS head) AS success,
             (SELECT COUNT(*) FROM (
                 SELECT 1 FROM stores WHERE sync_status BETWEEN 'pending' AND 'pending'
                 ORDER BY sync_status LIMIT $1) AS head) AS pending,
             (SELECT COUNT(*) FROM (
                 SELECT 1 FROM stores WHERE paused_at IS NOT NULL AND created_at > $2
                 ORDER BY created_at, id LIMIT $1) AS head) AS paused,
             (SELECT COUNT(*) FROM (
                 SELECT 1 FROM sync_logs WHERE dead_at IS NOT NULL AND dead_at > $2
                 ORDER BY dead_at, id LIMIT $1) AS head) AS dead_orders"))
        .bind(limit).bind(DateTime::UNIX_EPOCH)
        .fetch_one(conn).await)
}

/// Counts events and webhooks, in the same way.
pub(crate) async fn callbacks(
    tx: &mut Tx,
    limit: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<CallbackNumbers> {
    on!(tx, conn => query_as(sql!(
        "SELECT
             (SELECT COUNT(*) FROM (
                 SELECT 1 FROM callback_outbox WHERE status = 'pending' AND created_at > $2
                 ORDER BY created_at, id LIMIT $1) AS head) AS pending,
             (SELECT COUNT(*) FROM (
                 SELECT 1 FROM callback_outbox WHERE status = 'failed' AND created_at > $2
                 ORDER BY created_at, id LIMIT $1) AS head) AS failed,
             (SELECT created_at FROM callback_outbox
              WHERE status = 'pending' AND created_at > $2
              ORDER BY created_at, id LIMIT 1) AS oldest_pending,
             (SELECT COUNT(*) FROM (
                 SELECT 1 FROM webhook_endpoints
                 WHERE open_until > $3 AND is_active AND deleted_at IS NULL
                 ORDER BY open_until, id LIMIT $1) AS head) AS open,
             (SELECT COUNT(*) FROM (
                 SELECT 1 FROM webhook_endpoints
                 WHERE NOT is_active AND deleted_at IS NULL AND id > $4
                 ORDER BY id LIMIT $1) AS head) AS inactive,
             (SELECT COUNT(*) FROM (
                 SELECT 1 FROM webhook_endpoints
                 WHERE NOT is_active AND deleted_at IS NULL AND id > $4
                   AND inactive_reason = 'paused'
                 ORDER BY id LIMIT $1) AS head) AS paused"))
        .bind(limit).bind(DateTime::UNIX_EPOCH).bind(now).bind(Uuid::nil())
        .fetch_one(conn).await)
}

/// The last tick of a schedule that any process took.
pub(crate) async fn last_tick(tx: &mut Tx, schedule: &str) -> sqlx::Result<Option<DateTime<Utc>>> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT tick FROM schedule_ticks WHERE schedule = $1 ORDER BY tick DESC LIMIT 1"))
        .bind(schedule)
        .fetch_optional(conn).await)
}
