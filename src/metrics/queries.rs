//! Every statement that reads what there is. They cross the domains, as whoever watches does, and
//! are bounded: a count stops at its limit, everything else is a look into an index.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, query_as, query_scalar};

use crate::db::{Tx, on, sql};

/// What is worth a look at every scrape.
#[derive(Clone, Copy, Debug, FromRow)]
pub(super) struct Counts {
    /// Events that somebody is still owed.
    pub(super) pending_events: i64,
    /// Events that somebody did not get.
    pub(super) failed_events: i64,
    /// When the oldest pending one was recorded.
    pub(super) oldest_pending: Option<DateTime<Utc>>,
    /// Orders that are not tried any more.
    pub(super) dead_orders: i64,
    /// Webhooks that are left in peace.
    pub(super) paused_endpoints: i64,
}

/// Counts, each up to a limit.
pub(super) async fn counts(tx: &mut Tx, limit: i64, now: DateTime<Utc>) -> sqlx::Result<Counts> {
    on!(tx, conn => query_as(sql!(
        "SELECT
             (SELECT COUNT(*) FROM (
                 SELECT 1 FROM callback_outbox WHERE status = 'pending' LIMIT $1
             ) AS pending) AS pending_events,
             (SELECT COUNT(*) FROM (
                 SELECT 1 FROM callback_outbox WHERE status = 'failed' LIMIT $1
             ) AS failed) AS failed_events,
             (SELECT created_at FROM callback_outbox
              WHERE status = 'pending' ORDER BY created_at LIMIT 1) AS oldest_pending,
             (SELECT COUNT(*) FROM (
                 SELECT 1 FROM sync_logs WHERE dead_at IS NOT NULL LIMIT $1
             ) AS dead) AS dead_orders,
             (SELECT COUNT(*) FROM (
                 SELECT 1 FROM webhook_endpoints
                 WHERE open_until > $2 AND is_active AND deleted_at IS NULL
                 LIMIT $1
             ) AS paused) AS paused_endpoints"))
        .bind(limit).bind(now)
        .fetch_one(conn).await)
}

/// The events that everybody got and that are not purged yet, up to a limit.
pub(super) async fn done_events(tx: &mut Tx, limit: i64) -> sqlx::Result<i64> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT COUNT(*) FROM (
             SELECT 1 FROM callback_outbox WHERE status = 'success' LIMIT $1
         ) AS done"))
        .bind(limit)
        .fetch_one(conn).await)
}

/// Since when the oldest order is due, of stores that may be synced: one look into an index a
/// store, as in a pass of the scheduler.
pub(super) async fn oldest_due_order(
    tx: &mut Tx,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT MIN(oldest.due_since)
         FROM (
             SELECT (
                 SELECT COALESCE(l.next_retry_at, l.created_at)
                 FROM sync_logs AS l
                 WHERE l.store_id = s.id AND l.status <> 'success' AND l.dead_at IS NULL
                 ORDER BY COALESCE(l.next_retry_at, l.created_at)
                 LIMIT 1
             ) AS due_since
             FROM stores AS s
             WHERE s.paused_at IS NULL
               AND (s.paused_until IS NULL OR s.paused_until <= $1)
         ) AS oldest
         WHERE oldest.due_since <= $1"))
        .bind(now)
        .fetch_one(conn).await)
}

/// Since when the oldest delivery is due, of webhooks that are sent to.
pub(super) async fn oldest_due_delivery(
    tx: &mut Tx,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT MIN(oldest.due_since)
         FROM (
             SELECT (
                 SELECT COALESCE(p.next_attempt_at, p.created_at)
                 FROM callback_deliveries AS p
                 WHERE p.endpoint_id = e.id AND p.status = 'pending'
                 ORDER BY COALESCE(p.next_attempt_at, p.created_at)
                 LIMIT 1
             ) AS due_since
             FROM webhook_endpoints AS e
             WHERE e.is_active AND e.deleted_at IS NULL
               AND (e.open_until IS NULL OR e.open_until <= $1)
         ) AS oldest
         WHERE oldest.due_since <= $1"))
        .bind(now)
        .fetch_one(conn).await)
}

/// The last tick that any process took.
pub(super) async fn last_tick(tx: &mut Tx, schedule: &str) -> sqlx::Result<Option<DateTime<Utc>>> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT MAX(tick) FROM schedule_ticks WHERE schedule = $1"))
        .bind(schedule)
        .fetch_one(conn).await)
}
