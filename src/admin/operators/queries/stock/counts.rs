//! Counts, each up to a limit.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, query_as};
use uuid::Uuid;

use crate::db::{Tx, on, sql};

/// Pairs that wait, and pairs that are refused.
#[derive(Clone, Copy, Debug, FromRow)]
pub(crate) struct PairNumbers {
    pub(crate) pending: i64,
    pub(crate) blocked: i64,
}

/// Pushes without results.
#[derive(Clone, Copy, Debug, FromRow)]
pub(crate) struct PushNumbers {
    /// Of those that were looked at, the ones whose results are awaited.
    pub(crate) in_flight: i64,
    /// And the ones of which nobody knows whether they arrived.
    pub(crate) unknown: i64,
    /// How many were looked at.
    pub(crate) seen: i64,
}

/// Counts pairs, each in the order of its index: so neither database thinks of reading the table.
pub(crate) async fn pairs(tx: &mut Tx, limit: i64) -> sqlx::Result<PairNumbers> {
    on!(tx, conn => query_as(sql!(
        "SELECT
             (SELECT COUNT(*) FROM (
                 SELECT 1 FROM stock_update_queue WHERE processed_at IS NULL AND product_id > $2
                 ORDER BY product_id, store_id LIMIT $1) AS head) AS pending,
             (SELECT COUNT(*) FROM (
                 SELECT 1 FROM product_stores WHERE push_state = 'BLOCKED' AND store_id > $2
                 ORDER BY store_id, product_id LIMIT $1) AS head) AS blocked"))
        .bind(limit).bind(Uuid::nil())
        .fetch_one(conn).await)
}

/// Looks at so many pushes without results; those of which nobody knows count if they are not
/// older than `since`.
pub(crate) async fn pushes(
    tx: &mut Tx,
    since: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<PushNumbers> {
    on!(tx, conn => query_as(sql!(
        "SELECT COUNT(CASE WHEN head.state <> 'UNKNOWN' THEN 1 END) AS in_flight,
             COUNT(CASE WHEN head.state = 'UNKNOWN' AND head.created_at >= $2 THEN 1 END)
                 AS unknown,
             COUNT(*) AS seen
         FROM (
             SELECT state, created_at
             FROM stock_pushes
             WHERE state IN ('SENDING', 'ACCEPTED', 'UNKNOWN') AND store_id > $3
             ORDER BY store_id, state
             LIMIT $1
         ) AS head"))
        .bind(limit).bind(since).bind(Uuid::nil())
        .fetch_one(conn).await)
}
