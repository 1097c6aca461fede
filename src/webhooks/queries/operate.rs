//! What an operator changes of an endpoint.

use chrono::{DateTime, Utc};
use sqlx::{query, query_scalar};

use crate::db::{Tx, on, sql};
use crate::webhooks::model::EndpointId;

/// Makes an endpoint inactive for a reason; tells whether it was active.
pub(crate) async fn deactivate(
    tx: &mut Tx,
    id: EndpointId,
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "UPDATE webhook_endpoints
         SET is_active = FALSE, inactive_reason = $2, updated_at = $3
         WHERE id = $1 AND is_active AND deleted_at IS NULL"))
        .bind(id).bind(reason).bind(now)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}

/// How often an endpoint failed in a row.
pub(crate) async fn consecutive_failures(tx: &mut Tx, id: EndpointId) -> sqlx::Result<Option<i32>> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT consecutive_failures FROM webhook_endpoints WHERE id = $1"))
        .bind(id)
        .fetch_optional(conn).await)
}

/// Makes due what an endpoint is owed first, unless it is being sent.
pub(crate) async fn hurry_first_delivery(
    tx: &mut Tx,
    id: EndpointId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE callback_deliveries
         SET next_attempt_at = $2, updated_at = $2
         WHERE id = (
                 SELECT id
                 FROM callback_deliveries
                 WHERE endpoint_id = $1 AND status = 'pending'
                 ORDER BY created_at, id
                 LIMIT 1
             )
           AND COALESCE(next_attempt_at, created_at) > $2
           AND (lease_expires_at IS NULL OR lease_expires_at <= $2)"))
        .bind(id).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// Lets an endpoint that is left in peace be tried again now; tells whether it was.
pub(crate) async fn end_peace(
    tx: &mut Tx,
    id: EndpointId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "UPDATE webhook_endpoints
         SET open_until = $2
         WHERE id = $1 AND open_until > $2"))
        .bind(id).bind(now)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}
