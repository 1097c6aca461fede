//! Every statement that reads what there is. They cross the domains, as whoever watches does, and
//! are bounded: a count stops at its limit, everything else is a look into an index.

use chrono::{DateTime, Utc};
use jobs::StoreId;
use sqlx::{FromRow, query_as, query_scalar};

use crate::db::{Tx, on, sql};
use crate::marketplace::model::Marketplace;

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

/// What of a store waits to be told, of one priority.
#[derive(Clone, Copy, Debug, FromRow)]
pub(super) struct Waiting {
    pub(super) store_id: StoreId,
    pub(super) marketplace: Marketplace,
    pub(super) priority: i32,
    pub(super) pending: i64,
    /// What has waited for too long.
    pub(super) overdue: i64,
    /// Since when the oldest waits.
    pub(super) oldest_at: Option<DateTime<Utc>>,
}

/// What waits to be told, by store and priority, counted up to a limit.
pub(super) async fn waiting_stock(
    tx: &mut Tx,
    overdue_before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<Waiting>> {
    // SQLite would rather go through all of a store's rows for each priority.
    macro_rules! of {
        ($queue:literal) => {
            concat!(
                "SELECT m.store_id, s.marketplace, p.priority, (
                     SELECT COUNT(*) FROM (
                         SELECT 1
                         FROM ",
                $queue,
                "
                         WHERE q.store_id = m.store_id AND q.priority = p.priority
                           AND q.processed_at IS NULL
                         LIMIT $2
                     ) AS pending
                 ) AS pending, (
                     SELECT COUNT(*) FROM (
                         SELECT 1
                         FROM ",
                $queue,
                "
                         WHERE q.store_id = m.store_id AND q.priority = p.priority
                           AND q.processed_at IS NULL AND q.created_at < $1
                         LIMIT $2
                     ) AS overdue
                 ) AS overdue, (
                     SELECT q.created_at
                     FROM ",
                $queue,
                "
                     WHERE q.store_id = m.store_id AND q.priority = p.priority
                       AND q.processed_at IS NULL
                     ORDER BY q.created_at
                     LIMIT 1
                 ) AS oldest_at
                 FROM marketplace_rate_limits AS m
                 JOIN stores AS s ON s.id = m.store_id
                 CROSS JOIN (
                     SELECT 100 AS priority
                     UNION ALL SELECT 90 UNION ALL SELECT 80 UNION ALL SELECT 70
                     UNION ALL SELECT 50
                 ) AS p"
            )
        };
    }
    let sql = tx.pick(
        sql!(postgres: of!("stock_update_queue AS q")),
        sql!(sqlite: of!("stock_update_queue AS q INDEXED BY stock_update_queue_claim_idx")),
    );
    on!(tx, conn => query_as(sql).bind(overdue_before).bind(limit).fetch_all(conn).await)
}

/// What there is to tell of a store's stock.
#[derive(Clone, Copy, Debug, FromRow)]
pub(super) struct StoreStock {
    pub(super) store_id: StoreId,
    pub(super) marketplace: Marketplace,
    /// Sets that the last comparison looked at, and those that were right.
    pub(super) sets_checked: i64,
    pub(super) sets_accurate: i64,
    pub(super) pairs_blocked: i64,
    pub(super) pushes_in_flight: i64,
    pub(super) shortfall_units: i64,
}

/// What there is to tell of each store's stock, counted up to a limit.
pub(super) async fn store_stock(tx: &mut Tx, limit: i64) -> sqlx::Result<Vec<StoreStock>> {
    on!(tx, conn => query_as(sql!(
        "SELECT m.store_id, s.marketplace, m.sets_checked, m.sets_accurate, (
             SELECT COUNT(*) FROM (
                 SELECT 1
                 FROM product_stores AS ps
                 WHERE ps.store_id = m.store_id AND ps.push_state = 'BLOCKED'
                 LIMIT $1
             ) AS blocked
         ) AS pairs_blocked, (
             SELECT COUNT(*)
             FROM stock_pushes AS p
             WHERE p.store_id = m.store_id AND p.state IN ('SENDING', 'ACCEPTED', 'UNKNOWN')
               AND p.state <> 'UNKNOWN'
         ) AS pushes_in_flight, COALESCE(short.units, 0) AS shortfall_units
         FROM marketplace_rate_limits AS m
         JOIN stores AS s ON s.id = m.store_id
         LEFT JOIN (
             SELECT r.store_id, CAST(SUM(i.shortfall_quantity) AS BIGINT) AS units
             FROM stock_reservation_items AS i
             JOIN stock_reservations AS r ON r.id = i.reservation_id
             WHERE i.shortfall_quantity > 0 AND r.status = 'ACTIVE'
             GROUP BY r.store_id
         ) AS short ON short.store_id = m.store_id"))
        .bind(limit)
        .fetch_all(conn).await)
}
