//! Stores: which, and what is known of the stock of one.

use chrono::{DateTime, Utc};
use jobs::StoreId;
use sqlx::{FromRow, query_as};
use uuid::Uuid;

use crate::admin::operators::queries::stores::Listing;
use crate::db::{Tx, on, sql};
use crate::http::page::Cursor;
use crate::marketplace::model::Marketplace;
use crate::stock::model::PushMode;
use crate::stock::{GateRow, gate_columns};

/// A store whose marketplace has something to be told.
#[derive(Clone, Copy, Debug, FromRow)]
pub(crate) struct Waiting {
    pub(crate) id: StoreId,
    /// Since when the oldest of it waits.
    pub(crate) oldest_at: DateTime<Utc>,
}

/// A store, and what the service knows of its marketplace.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct Limited {
    pub(crate) id: StoreId,
    #[sqlx(flatten)]
    pub(crate) gate: GateRow,
}

/// All that is shown of a store, but for its oldest rows and its last push.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct Details {
    pub(crate) id: StoreId,
    pub(crate) organization_id: String,
    pub(crate) marketplace: Marketplace,
    pub(crate) store_name: String,
    pub(crate) external_store_id: String,
    pub(crate) is_active: bool,
    pub(crate) send_stock: bool,
    pub(crate) stock_push_mode: PushMode,
    #[sqlx(flatten)]
    pub(crate) gate: GateRow,
    pub(crate) lease_until: Option<DateTime<Utc>>,
    pub(crate) push_enqueued_until: Option<DateTime<Utc>>,
    pub(crate) resync_requested_at: Option<DateTime<Utc>>,
    pub(crate) pending: i64,
    pub(crate) due_at: Option<DateTime<Utc>>,
    pub(crate) blocked: i64,
}

/// How long the rows of a store wait.
#[derive(Clone, Copy, Debug, FromRow)]
pub(crate) struct Age {
    /// Rows that wait since then or longer.
    pub(crate) overdue: i64,
    pub(crate) oldest_at: Option<DateTime<Utc>>,
}

/// The next stores by their ids that have pending rows: one look into
/// `stock_update_queue_due_idx` a store finds the next one, and one a priority into
/// `stock_update_queue_claim_idx` its oldest row.
pub(crate) async fn waiting(tx: &mut Tx, after: Uuid, limit: i64) -> sqlx::Result<Vec<Waiting>> {
    on!(tx, conn => query_as(sql!(
        "WITH RECURSIVE head (store_id, number) AS (
             SELECT (
                 SELECT store_id
                 FROM stock_update_queue
                 WHERE processed_at IS NULL AND store_id > $1
                 ORDER BY store_id, next_attempt_at
                 LIMIT 1
             ), 1
             UNION ALL
             SELECT (
                 SELECT q.store_id
                 FROM stock_update_queue AS q
                 WHERE q.processed_at IS NULL AND q.store_id > head.store_id
                 ORDER BY q.store_id, q.next_attempt_at
                 LIMIT 1
             ), head.number + 1
             FROM head
             WHERE head.store_id IS NOT NULL AND head.number < $2
         ), levels (store_id, priority) AS (
             SELECT head.store_id, (
                 SELECT q.priority
                 FROM stock_update_queue AS q
                 WHERE q.store_id = head.store_id AND q.processed_at IS NULL
                 ORDER BY q.priority DESC, q.created_at
                 LIMIT 1
             )
             FROM head
             WHERE head.store_id IS NOT NULL
             UNION ALL
             SELECT levels.store_id, (
                 SELECT q.priority
                 FROM stock_update_queue AS q
                 WHERE q.store_id = levels.store_id AND q.processed_at IS NULL
                   AND q.priority < levels.priority
                 ORDER BY q.priority DESC, q.created_at
                 LIMIT 1
             )
             FROM levels
             WHERE levels.priority IS NOT NULL
         )
         SELECT levels.store_id AS id, MIN((
                 SELECT q.created_at
                 FROM stock_update_queue AS q
                 WHERE q.store_id = levels.store_id AND q.priority = levels.priority
                   AND q.processed_at IS NULL
                 ORDER BY q.created_at
                 LIMIT 1
             )) AS oldest_at
         FROM levels
         WHERE levels.priority IS NOT NULL
         GROUP BY levels.store_id
         ORDER BY levels.store_id"))
        .bind(after).bind(limit)
        .fetch_all(conn).await)
}

/// How long the rows of a store wait: one look into `stock_update_queue_claim_idx` a priority.
/// `overdue` counts up to `limit` a priority.
pub(crate) async fn age(
    tx: &mut Tx,
    id: StoreId,
    overdue_since: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Age> {
    on!(tx, conn => query_as(sql!(
        "WITH RECURSIVE levels (priority) AS (
             SELECT (
                 SELECT priority
                 FROM stock_update_queue
                 WHERE store_id = $1 AND processed_at IS NULL
                 ORDER BY priority DESC, created_at
                 LIMIT 1
             )
             UNION ALL
             SELECT (
                 SELECT q.priority
                 FROM stock_update_queue AS q
                 WHERE q.store_id = $1 AND q.processed_at IS NULL AND q.priority < levels.priority
                 ORDER BY q.priority DESC, q.created_at
                 LIMIT 1
             )
             FROM levels
             WHERE levels.priority IS NOT NULL
         )
         SELECT CAST(COALESCE(SUM((
                 SELECT COUNT(*) FROM (
                     SELECT 1
                     FROM stock_update_queue AS q
                     WHERE q.store_id = $1 AND q.priority = levels.priority
                       AND q.processed_at IS NULL AND q.created_at <= $2
                     ORDER BY q.created_at
                     LIMIT $3
                 ) AS head
             )), 0) AS BIGINT) AS overdue, MIN((
                 SELECT q.created_at
                 FROM stock_update_queue AS q
                 WHERE q.store_id = $1 AND q.priority = levels.priority
                   AND q.processed_at IS NULL
                 ORDER BY q.created_at
                 LIMIT 1
             )) AS oldest_at
         FROM levels
         WHERE levels.priority IS NOT NULL"))
        .bind(id).bind(overdue_since).bind(limit)
        .fetch_one(conn).await)
}

/// The next stores by their ids of which anything is stored that may keep them from being pushed
/// to, whether or not it does.
pub(crate) async fn limited(tx: &mut Tx, after: Uuid, limit: i64) -> sqlx::Result<Vec<Limited>> {
    on!(tx, conn => query_as(sql!(concat!(
        "SELECT store_id AS id, ", gate_columns!(), "
         FROM marketplace_rate_limits
         WHERE store_id > $1
         ORDER BY store_id
         LIMIT $2")))
        .bind(after).bind(limit)
        .fetch_all(conn).await)
}

/// Stores that are pushed to, or would be but for the last step, in the order they were registered.
pub(crate) async fn pushed(tx: &mut Tx, after: Cursor, limit: i64) -> sqlx::Result<Vec<Listing>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, created_at
         FROM stores
         WHERE stock_push_mode <> 'OFF' AND (created_at, id) > ($1, $2)
         ORDER BY created_at, id
         LIMIT $3"))
        .bind(after.at).bind(after.id).bind(limit)
        .fetch_all(conn).await)
}

/// What is known of a store.
pub(crate) async fn details(
    tx: &mut Tx,
    id: StoreId,
    count_limit: i64,
) -> sqlx::Result<Option<Details>> {
    on!(tx, conn => query_as(sql!(concat!(
        "SELECT s.id, s.organization_id, s.marketplace, s.store_name, s.external_store_id,
             s.is_active, s.send_stock, s.stock_push_mode, ", gate_columns!(of joined), ",
             l.lease_until, l.push_enqueued_until, l.resync_requested_at, (
                 SELECT COUNT(*) FROM (
                     SELECT 1
                     FROM stock_update_queue
                     WHERE store_id = $1 AND processed_at IS NULL
                     ORDER BY next_attempt_at
                     LIMIT $2
                 ) AS head
             ) AS pending, (
                 SELECT next_attempt_at
                 FROM stock_update_queue
                 WHERE store_id = $1 AND processed_at IS NULL
                 ORDER BY next_attempt_at
                 LIMIT 1
             ) AS due_at, (
                 SELECT COUNT(*) FROM (
                     SELECT 1
                     FROM product_stores
                     WHERE store_id = $1 AND push_state = 'BLOCKED'
                     ORDER BY product_id
                     LIMIT $2
                 ) AS head
             ) AS blocked
         FROM stores AS s
         LEFT JOIN marketplace_rate_limits AS l ON l.store_id = s.id
         WHERE s.id = $1")))
        .bind(id).bind(count_limit)
        .fetch_optional(conn).await)
}
