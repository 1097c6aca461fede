//! What was told, for whoever looks at it.

use chrono::{DateTime, Utc};
use jobs::{PushId, StoreId};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{FromRow, query_as};
use uuid::Uuid;

use crate::db::{Tx, on, sql};
use crate::http::page::Cursor;
use crate::stock::model::{ItemState, ProductId, PushState, QueueId, Reason};

/// A push.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct PushRow {
    pub(crate) id: PushId,
    pub(crate) store_id: StoreId,
    pub(crate) state: PushState,
    pub(crate) body_sha256: String,
    pub(crate) item_count: i32,
    pub(crate) failed_item_count: i32,
    pub(crate) external_batch_id: Option<String>,
    pub(crate) http_status: Option<i32>,
    pub(crate) error: Option<String>,
    pub(crate) sent_at: Option<DateTime<Utc>>,
    pub(crate) accepted_at: Option<DateTime<Utc>>,
    pub(crate) confirmed_at: Option<DateTime<Utc>>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) next_poll_at: Option<DateTime<Utc>>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// Which pushes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PushFilter {
    pub(crate) state: Option<PushState>,
    /// Not before.
    pub(crate) from: DateTime<Utc>,
    /// Before.
    pub(crate) to: DateTime<Utc>,
}

/// The columns of a [`PushRow`].
macro_rules! columns {
    () => {
        "id, store_id, state, body_sha256, item_count, failed_item_count,
             external_batch_id, http_status, error, sent_at, accepted_at, confirmed_at,
             expires_at, next_poll_at, created_at, updated_at"
    };
}

/// The statement of both lists: only whose pushes they are is written differently.
///
/// PostgreSQL believes that hardly a row is between two instants, or passes a filter that may be
/// absent, and would read and sort everything: it makes no such guess of two columns, or of what
/// `COALESCE` gives.
macro_rules! pushes_of {
    ($whose:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM stock_pushes
             WHERE ",
            $whose,
            " AND (created_at, id) < ($2, $3) AND (created_at, id) >= ($4, $5)
               AND created_at < $6 AND COALESCE(state = $7, TRUE)
             ORDER BY created_at DESC, id DESC
             LIMIT $8"
        )
    };
}

/// Pushes of an organization's stores before the cursor, the newest first.
pub(crate) async fn pushes(
    tx: &mut Tx,
    organization_id: &str,
    before: Cursor,
    filter: PushFilter,
    limit: i64,
) -> sqlx::Result<Vec<PushRow>> {
    on!(tx, conn => query_as(sql!(pushes_of!("organization_id = $1")))
        .bind(organization_id).bind(before.at).bind(before.id).bind(filter.from)
        .bind(Uuid::nil()).bind(filter.to).bind(filter.state).bind(limit)
        .fetch_all(conn).await)
}

/// Pushes of a store before the cursor, the newest first.
pub(crate) async fn pushes_of_store(
    tx: &mut Tx,
    store_id: StoreId,
    before: Cursor,
    filter: PushFilter,
    limit: i64,
) -> sqlx::Result<Vec<PushRow>> {
    on!(tx, conn => query_as(sql!(pushes_of!("store_id = $1")))
        .bind(store_id).bind(before.at).bind(before.id).bind(filter.from)
        .bind(Uuid::nil()).bind(filter.to).bind(filter.state).bind(limit)
        .fetch_all(conn).await)
}

/// A push of an organization, and, of a dry run, what would have been sent.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct WholePush {
    #[sqlx(flatten)]
    pub(crate) push: PushRow,
    pub(crate) body: Option<String>,
}

/// A push, if it is of this organization.
pub(crate) async fn push(
    tx: &mut Tx,
    organization_id: &str,
    id: PushId,
) -> sqlx::Result<Option<WholePush>> {
    on!(tx, conn => query_as(sql!(concat!(
        "SELECT body, ", columns!(), "
         FROM stock_pushes
         WHERE id = $1 AND organization_id = $2")))
        .bind(id).bind(organization_id)
        .fetch_optional(conn).await)
}

/// An item of a push.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct ItemRow {
    pub(crate) element_no: i32,
    pub(crate) product_id: ProductId,
    pub(crate) external_sku: Option<String>,
    pub(crate) external_barcode: Option<String>,
    pub(crate) external_listing_id: Option<String>,
    pub(crate) external_location_id: Option<String>,
    pub(crate) computed_quantity: i64,
    pub(crate) sent_quantity: i64,
    pub(crate) queue_id: Option<QueueId>,
    pub(crate) reason: Option<Reason>,
    pub(crate) priority: Option<i32>,
    pub(crate) state: ItemState,
    pub(crate) errors: Option<Json<Value>>,
}

/// Items of a push behind one, in the order they were sent.
pub(crate) async fn items(
    tx: &mut Tx,
    push_id: PushId,
    after: i32,
    state: Option<ItemState>,
    limit: i64,
) -> sqlx::Result<Vec<ItemRow>> {
    on!(tx, conn => query_as(sql!(
        "SELECT element_no, product_id, external_sku, external_barcode, external_listing_id,
             external_location_id, computed_quantity, sent_quantity, queue_id, reason, priority,
             state, errors
         FROM stock_push_items
         WHERE push_id = $1 AND element_no > $2
           AND COALESCE(state = $3, TRUE)
         ORDER BY element_no
         LIMIT $4"))
        .bind(push_id).bind(after).bind(state).bind(limit)
        .fetch_all(conn).await)
}

/// How the stores of an organization are pushed to.
#[derive(Clone, Copy, Debug, FromRow)]
pub(crate) struct StoreModes {
    pub(crate) live: i64,
    pub(crate) dry_run: i64,
    pub(crate) off: i64,
    /// Those that are not off and in the environment for trying things.
    pub(crate) staged: i64,
    /// Of the live ones, when the last was found to show something else than it was told.
    pub(crate) drifted_at: Option<DateTime<Utc>>,
    /// When the one was compared that was not for the longest time; and how many never were.
    pub(crate) reconciled_at: Option<DateTime<Utc>>,
    pub(crate) never_reconciled: i64,
    pub(crate) sets_checked: i64,
    pub(crate) sets_accurate: i64,
}

/// How the stores of an organization are pushed to, and what comparing them came to.
pub(crate) async fn store_modes(tx: &mut Tx, organization_id: &str) -> sqlx::Result<StoreModes> {
    on!(tx, conn => query_as(sql!(
        "SELECT COUNT(CASE WHEN mode = 'LIVE' THEN 1 END) AS live,
             COUNT(CASE WHEN mode = 'DRY_RUN' THEN 1 END) AS dry_run,
             COUNT(CASE WHEN mode = 'OFF' THEN 1 END) AS off,
             COUNT(CASE WHEN mode <> 'OFF' AND marketplace_env = 'STAGE' THEN 1 END) AS staged,
             MAX(CASE WHEN mode = 'LIVE' THEN drifted_at END) AS drifted_at,
             MIN(CASE WHEN mode = 'LIVE' THEN reconciled_at END) AS reconciled_at,
             COUNT(CASE WHEN mode = 'LIVE' AND reconciled_at IS NULL THEN 1 END)
                 AS never_reconciled,
             CAST(COALESCE(SUM(CASE WHEN mode = 'LIVE' THEN sets_checked END), 0) AS BIGINT)
                 AS sets_checked,
             CAST(COALESCE(SUM(CASE WHEN mode = 'LIVE' THEN sets_accurate END), 0) AS BIGINT)
                 AS sets_accurate
         FROM (
             SELECT CASE WHEN s.is_active AND s.send_stock THEN s.stock_push_mode
                         ELSE 'OFF' END AS mode,
                 s.marketplace_env, m.drifted_at, m.reconciled_at,
                 COALESCE(m.sets_checked, 0) AS sets_checked,
                 COALESCE(m.sets_accurate, 0) AS sets_accurate
             FROM stores AS s
             LEFT JOIN marketplace_rate_limits AS m ON m.store_id = s.id
             WHERE s.organization_id = $1
         ) AS modes"))
        .bind(organization_id)
        .fetch_one(conn).await)
}

/// How many items an organization's marketplaces took, and how many of them they refused, since an
/// instant.
pub(crate) async fn item_counts(
    tx: &mut Tx,
    organization_id: &str,
    since: DateTime<Utc>,
) -> sqlx::Result<(i64, i64)> {
    on!(tx, conn => query_as(sql!(
        "SELECT CAST(COALESCE(SUM(item_count), 0) AS BIGINT),
             CAST(COALESCE(SUM(failed_item_count), 0) AS BIGINT)
         FROM stock_pushes
         WHERE organization_id = $1 AND created_at >= $2
           AND state IN ('ACCEPTED', 'CONFIRMED', 'PARTIAL', 'FAILED') AND accepted_at IS NOT NULL"))
        .bind(organization_id).bind(since)
        .fetch_one(conn).await)
}

/// Of the newest rows of each live store that are done, how many there are and how many were done
/// too late.
pub(crate) async fn late_rows(
    tx: &mut Tx,
    organization_id: &str,
    since: DateTime<Utc>,
    ttl_seconds: i64,
    limit: i64,
) -> sqlx::Result<(i64, i64)> {
    let sql = tx.pick(
        sql!(postgres:
            "SELECT COUNT(*), COUNT(CASE WHEN q.processed_at
                     > q.created_at + $3 * INTERVAL '1 second' THEN 1 END)
             FROM stores AS s
             CROSS JOIN LATERAL (
                 SELECT created_at, processed_at
                 FROM stock_update_queue
                 WHERE store_id = s.id AND created_at >= $2 AND processed_at IS NOT NULL
                 ORDER BY created_at DESC, id DESC
                 LIMIT $4
             ) AS q
             WHERE s.organization_id = $1 AND s.is_active AND s.send_stock
               AND s.stock_push_mode = 'LIVE'"),
        // It has no lateral joins: here the newest of all stores are looked at.
        sql!(sqlite:
            "SELECT COUNT(*), COUNT(CASE WHEN julianday(q.processed_at)
                     > julianday(q.created_at) + $3 / 86400.0 THEN 1 END)
             FROM (
                 SELECT r.created_at, r.processed_at
                 FROM stores AS s
                 CROSS JOIN stock_update_queue AS r ON r.store_id = s.id
                 WHERE s.organization_id = $1 AND s.is_active AND s.send_stock
                   AND s.stock_push_mode = 'LIVE' AND r.created_at >= $2
                   AND r.processed_at IS NOT NULL
                 ORDER BY r.created_at DESC
                 LIMIT $4
             ) AS q"),
    );
    on!(tx, conn => query_as(sql)
        .bind(organization_id).bind(since).bind(ttl_seconds).bind(limit)
        .fetch_one(conn).await)
}

/// How many units an organization's stores have sold that are not there.
pub(crate) async fn shortfall_units(tx: &mut Tx, organization_id: &str) -> sqlx::Result<i64> {
    // From what is lacking, which is little, to whom it lacks: SQLite would rather read all orders.
    on!(tx, conn => sqlx::query_scalar(sql!(
        "SELECT CAST(COALESCE(SUM(i.shortfall_quantity), 0) AS BIGINT)
         FROM stock_reservation_items AS i
         CROSS JOIN stock_reservations AS r
         CROSS JOIN stores AS s
         WHERE i.shortfall_quantity > 0 AND i.is_open AND r.id = i.reservation_id
           AND s.id = r.store_id AND s.organization_id = $1"))
        .bind(organization_id)
        .fetch_one(conn).await)
}
