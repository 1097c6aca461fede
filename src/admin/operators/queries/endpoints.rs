//! Webhooks: which, and what is known of one.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, query_as};
use uuid::Uuid;

use crate::db::{Tx, on, sql};
use crate::http::page::Cursor;
use crate::webhooks::EventType;
use crate::webhooks::model::EndpointId;

/// A webhook in a list.
#[derive(Clone, Copy, Debug, FromRow)]
pub(crate) struct Listing {
    pub(crate) id: EndpointId,
    /// Orders the list, with the id.
    pub(crate) at: Option<DateTime<Utc>>,
}

/// All that is shown of a webhook.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct Details {
    pub(crate) id: EndpointId,
    pub(crate) organization_id: String,
    pub(crate) event: EventType,
    pub(crate) target_url: String,
    pub(crate) description: Option<String>,
    pub(crate) is_ordered: bool,
    pub(crate) is_active: bool,
    pub(crate) inactive_reason: Option<String>,
    pub(crate) consecutive_failures: i32,
    pub(crate) open_until: Option<DateTime<Utc>>,
    pub(crate) pending: i64,
    pub(crate) oldest_pending: Option<DateTime<Utc>>,
    pub(crate) dead: i64,
    pub(crate) last_error: Option<String>,
}

/// Webhooks behind this one, by their ids; deleted ones, too.
pub(crate) async fn all(tx: &mut Tx, after: Uuid, limit: i64) -> sqlx::Result<Vec<Listing>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, deleted_at AS at
         FROM webhook_endpoints
         WHERE id > $1
         ORDER BY id
         LIMIT $2"))
        .bind(after).bind(limit)
        .fetch_all(conn).await)
}

/// Those that are left in peace, the ones first that are tried again first.
pub(crate) async fn open(tx: &mut Tx, after: Cursor, limit: i64) -> sqlx::Result<Vec<Listing>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, open_until AS at
         FROM webhook_endpoints
         WHERE open_until IS NOT NULL AND (open_until, id) > ($1, $2)
           AND is_active AND deleted_at IS NULL
         ORDER BY open_until, id
         LIMIT $3"))
        .bind(after.at).bind(after.id).bind(limit)
        .fetch_all(conn).await)
}

/// Those that are inactive, for this reason or for any, by their ids.
pub(crate) async fn inactive(
    tx: &mut Tx,
    reason: Option<&str>,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<Listing>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, deleted_at AS at
         FROM webhook_endpoints
         WHERE NOT is_active AND deleted_at IS NULL AND id > $1
           AND (CAST($2 AS TEXT) IS NULL OR inactive_reason = $2)
         ORDER BY id
         LIMIT $3"))
        .bind(after).bind(reason).bind(limit)
        .fetch_all(conn).await)
}

/// What is known of a webhook that is not deleted: the last error is that of the oldest events it
/// is owed, else of the newest that it did not take.
pub(crate) async fn details(
    tx: &mut Tx,
    id: EndpointId,
    count_limit: i64,
) -> sqlx::Result<Option<Details>> {
    on!(tx, conn => query_as(sql!(
        "SELECT e.id, e.organization_id, e.event, e.target_url, e.description, e.is_ordered,
             e.is_active, e.inactive_reason, e.consecutive_failures, e.open_until, (
                 SELECT COUNT(*) FROM (
                     SELECT 1
                     FROM callback_deliveries
                     WHERE endpoint_id = $1 AND status = 'pending'
                     ORDER BY created_at, id
                     LIMIT $2
                 ) AS head
             ) AS pending, (
                 SELECT created_at
                 FROM callback_deliveries
                 WHERE endpoint_id = $1 AND status = 'pending'
                 ORDER BY created_at, id
                 LIMIT 1
             ) AS oldest_pending, (
                 SELECT COUNT(*) FROM (
                     SELECT 1
                     FROM callback_deliveries
                     WHERE endpoint_id = $1 AND status = 'failed'
                     ORDER BY created_at, id
                     LIMIT $2
                 ) AS head
             ) AS dead, COALESCE((
                 SELECT head.last_error
                 FROM (
                     SELECT last_error
                     FROM callback_deliveries
                     WHERE endpoint_id = $1 AND status = 'pending'
                     ORDER BY created_at, id
                     LIMIT 20
                 ) AS head
                 WHERE head.last_error IS NOT NULL
                 LIMIT 1
             ), (
                 SELECT last_error
                 FROM callback_deliveries
                 WHERE endpoint_id = $1 AND status = 'failed'
                 ORDER BY created_at DESC, id DESC
                 LIMIT 1
             )) AS last_error
         FROM webhook_endpoints AS e
         WHERE e.id = $1 AND e.deleted_at IS NULL"))
        .bind(id).bind(count_limit)
        .fetch_optional(conn).await)
}
