//! Dead letters of all organizations, the newest first.

use chrono::{DateTime, Utc};
use jobs::{OutboxId, StoreId};
use sqlx::{FromRow, query_as};

use crate::db::{Tx, on, sql};
use crate::http::page::Cursor;
use crate::marketplace::model::SyncLogId;
use crate::webhooks::EventType;

/// An order that is not tried again by itself.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct DeadOrder {
    pub(crate) id: SyncLogId,
    pub(crate) store_id: StoreId,
    pub(crate) store_name: String,
    pub(crate) organization_id: String,
    pub(crate) receipt: String,
    pub(crate) error_details: Option<String>,
    pub(crate) failed_attempt: i32,
    pub(crate) dead_at: DateTime<Utc>,
}

/// An event that somebody did not take.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct DeadCallback {
    pub(crate) id: OutboxId,
    pub(crate) store_id: StoreId,
    pub(crate) store_name: String,
    pub(crate) organization_id: String,
    pub(crate) event: EventType,
    pub(crate) last_error: Option<String>,
    pub(crate) attempt: i32,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// Orders that died before the cursor.
pub(crate) async fn orders(
    tx: &mut Tx,
    before: Cursor,
    limit: i64,
) -> sqlx::Result<Vec<DeadOrder>> {
    on!(tx, conn => query_as(sql!(
        "SELECT l.id, l.store_id, l.receipt, l.error_details, l.failed_attempt, l.dead_at,
             (SELECT s.store_name FROM stores AS s WHERE s.id = l.store_id) AS store_name,
             (SELECT s.organization_id FROM stores AS s WHERE s.id = l.store_id)
                 AS organization_id
         FROM sync_logs AS l
         WHERE l.dead_at IS NOT NULL AND (l.dead_at, l.id) < ($1, $2)
         ORDER BY l.dead_at DESC, l.id DESC
         LIMIT $3"))
        .bind(before.at).bind(before.id).bind(limit)
        .fetch_all(conn).await)
}

/// The same, of one store.
pub(crate) async fn orders_of(
    tx: &mut Tx,
    store_id: StoreId,
    before: Cursor,
    limit: i64,
) -> sqlx::Result<Vec<DeadOrder>> {
    on!(tx, conn => query_as(sql!(
        "SELECT l.id, l.store_id, l.receipt, l.error_details, l.failed_attempt, l.dead_at,
             (SELECT s.store_name FROM stores AS s WHERE s.id = l.store_id) AS store_name,
             (SELECT s.organization_id FROM stores AS s WHERE s.id = l.store_id)
                 AS organization_id
         FROM sync_logs AS l
         WHERE l.store_id = $1 AND l.dead_at IS NOT NULL AND (l.dead_at, l.id) < ($2, $3)
         ORDER BY l.dead_at DESC, l.id DESC
         LIMIT $4"))
        .bind(store_id).bind(before.at).bind(before.id).bind(limit)
        .fetch_all(conn).await)
}

/// Events before the cursor that somebody did not take.
pub(crate) async fn callbacks(
    tx: &mut Tx,
    before: Cursor,
    limit: i64,
) -> sqlx::Result<Vec<DeadCallback>> {
    on!(tx, conn => query_as(sql!(
        "SELECT o.id, o.store_id, o.organization_id, o.event, o.last_error, o.attempt,
             o.created_at, o.updated_at,
             (SELECT s.store_name FROM stores AS s WHERE s.id = o.store_id) AS store_name
         FROM callback_outbox AS o
         WHERE o.status = 'failed' AND (o.created_at, o.id) < ($1, $2)
         ORDER BY o.created_at DESC, o.id DESC
         LIMIT $3"))
        .bind(before.at).bind(before.id).bind(limit)
        .fetch_all(conn).await)
}
