//! What an operator looks at, requeues and purges.

use chrono::{DateTime, Utc};
use jobs::{OutboxId, StoreId};
use sqlx::{query, query_as, query_scalar};

use crate::db::{Tx, both, on, only_postgres, sql};
use crate::http::page::Cursor;
use crate::webhooks::model::{DeliveryId, EndpointId};
use crate::webhooks::outbox::{
    AttemptLog, CallbackStatus, Delivery, EventDetails, FailedDelivery, OutboxEvent,
};

/// Events of an organization before the cursor, the newest first.
pub(crate) async fn events(
    tx: &mut Tx,
    organization_id: &str,
    before: Cursor,
    limit: i64,
) -> sqlx::Result<Vec<OutboxEvent>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, organization_id, store_id, event, status, attempt, next_retry_at, last_error,
             created_at, updated_at
         FROM callback_outbox
         WHERE organization_id = $1 AND (created_at, id) < ($2, $3)
         ORDER BY created_at DESC, id DESC
         LIMIT $4"))
        .bind(organization_id).bind(before.at).bind(before.id).bind(limit)
        .fetch_all(conn).await)
}

/// Dead letters of an organization before the cursor, the newest first.
pub(crate) async fn failed_events(
    tx: &mut Tx,
    organization_id: &str,
    before: Cursor,
    limit: i64,
) -> sqlx::Result<Vec<OutboxEvent>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, organization_id, store_id, event, status, attempt, next_retry_at, last_error,
             created_at, updated_at
         FROM callback_outbox
         WHERE status = 'failed' AND organization_id = $1 AND (created_at, id) < ($2, $3)
         ORDER BY created_at DESC, id DESC
         LIMIT $4"))
        .bind(organization_id).bind(before.at).bind(before.id).bind(limit)
        .fetch_all(conn).await)
}

/// Dead letters of all organizations behind the cursor, or of one store, the oldest first.
pub(crate) async fn all_failed_events(
    tx: &mut Tx,
    store_id: Option<StoreId>,
    after: Cursor,
    limit: i64,
) -> sqlx::Result<Vec<OutboxEvent>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, organization_id, store_id, event, status, attempt, next_retry_at, last_error,
             created_at, updated_at
         FROM callback_outbox
         WHERE status = 'failed' AND (created_at, id) > ($1, $2)
           AND store_id = COALESCE($3, store_id)
         ORDER BY created_at, id
         LIMIT $4"))
        .bind(after.at).bind(after.id).bind(store_id).bind(limit)
        .fetch_all(conn).await)
}

/// An event with its payload, if it is of this organization.
pub(crate) async fn event(
    tx: &mut Tx,
    id: OutboxId,
    organization_id: Option<&str>,
) -> sqlx::Result<Option<EventDetails>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, organization_id, store_id, event, status, attempt, next_retry_at, last_error,
             created_at, updated_at, CAST(payload AS TEXT) AS payload
         FROM callback_outbox
         WHERE id = $1 AND (CAST($2 AS TEXT) IS NULL OR organization_id = $2)"))
        .bind(id).bind(organization_id)
        .fetch_optional(conn).await)
}

/// Who is owed an event, and who has it.
pub(crate) async fn deliveries(tx: &mut Tx, id: OutboxId) -> sqlx::Result<Vec<Delivery>> {
    on!(tx, conn => query_as(sql!(
        "SELECT d.id, d.endpoint_id, e.target_url, d.status, d.http_status, d.attempt,
             d.next_attempt_at, d.last_error, d.delivered_at
         FROM callback_deliveries AS d
         JOIN webhook_endpoints AS e ON e.id = d.endpoint_id
         WHERE d.outbox_id = $1
         ORDER BY d.created_at, d.id"))
        .bind(id)
        .fetch_all(conn).await)
}

/// The newest attempts of a delivery, the newest first.
pub(crate) async fn attempts(
    tx: &mut Tx,
    id: DeliveryId,
    limit: i64,
) -> sqlx::Result<Vec<AttemptLog>> {
    on!(tx, conn => query_as(sql!(
        "SELECT attempt, started_at, duration_ms, http_status, error, response
         FROM callback_attempts
         WHERE delivery_id = $1
         ORDER BY started_at DESC, id DESC
         LIMIT $2"))
        .bind(id).bind(limit)
        .fetch_all(conn).await)
}

/// Whose an event is, if it is of this organization.
pub(crate) async fn event_organization(
    tx: &mut Tx,
    id: OutboxId,
    organization_id: Option<&str>,
) -> sqlx::Result<Option<String>> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT organization_id
         FROM callback_outbox
         WHERE id = $1 AND (CAST($2 AS TEXT) IS NULL OR organization_id = $2)"))
        .bind(id).bind(organization_id)
        .fetch_optional(conn).await)
}

/// Locks an event of this organization for the rest of the transaction; gives its status.
pub(crate) async fn lock_event(
    tx: &mut Tx,
    id: OutboxId,
    organization_id: Option<&str>,
) -> sqlx::Result<Option<CallbackStatus>> {
    // SQLite has one writer anyway.
    let sql = both!(
        tx,
        "SELECT status
         FROM callback_outbox
         WHERE id = $1 AND (CAST($2 AS TEXT) IS NULL OR organization_id = $2)",
        only_postgres!(" FOR NO KEY UPDATE")
    );
    on!(tx, conn => query_scalar(sql).bind(id).bind(organization_id).fetch_optional(conn).await)
}

/// Makes the failed deliveries of an event due again, or the one to this endpoint, from the first
/// attempt on. A deleted endpoint gets nothing any more.
pub(crate) async fn requeue_deliveries(
    tx: &mut Tx,
    id: OutboxId,
    endpoint_id: Option<EndpointId>,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    on!(tx, conn => query(sql!(
        "UPDATE callback_deliveries
         SET status = 'pending', attempt = 0, next_attempt_at = $2, updated_at = $2
         WHERE outbox_id = $1 AND status = 'failed' AND endpoint_id = COALESCE($3, endpoint_id)
           AND EXISTS (
               SELECT 1 FROM webhook_endpoints
               WHERE webhook_endpoints.id = callback_deliveries.endpoint_id
                 AND webhook_endpoints.deleted_at IS NULL
           )"))
        .bind(id).bind(now).bind(endpoint_id)
        .execute(conn).await.map(|done| done.rows_affected()))
}

/// Forgets all but the newest attempts of each delivery of an event.
pub(crate) async fn forget_attempts(tx: &mut Tx, id: OutboxId, kept: i64) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "DELETE FROM callback_attempts
         WHERE id IN (
             SELECT a.id
             FROM callback_deliveries AS d
             JOIN callback_attempts AS a ON a.delivery_id = d.id
             WHERE d.outbox_id = $1 AND (a.started_at, a.id) <= (
                 SELECT n.started_at, n.id
                 FROM callback_attempts AS n
                 WHERE n.delivery_id = d.id
                 ORDER BY n.started_at DESC, n.id DESC
                 LIMIT 1 OFFSET $2
             )
         )"))
        .bind(id).bind(kept)
        .execute(conn).await.map(|_| ()))
}

/// Takes an event out of the dead letters.
pub(crate) async fn reopen_event(
    tx: &mut Tx,
    id: OutboxId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE callback_outbox
         SET status = 'pending', attempt = 0, next_retry_at = NULL, enqueued_until = NULL,
             updated_at = $2
         WHERE id = $1 AND status = 'failed'"))
        .bind(id).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// How many deliveries to an endpoint failed for good, of events since an instant.
pub(crate) async fn count_failed_deliveries(
    tx: &mut Tx,
    endpoint_id: EndpointId,
    since: DateTime<Utc>,
) -> sqlx::Result<i64> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT COUNT(*)
         FROM callback_deliveries
         WHERE status = 'failed' AND endpoint_id = $1 AND created_at >= $2"))
        .bind(endpoint_id).bind(since)
        .fetch_one(conn).await)
}

/// Deliveries to an endpoint that failed for good, of events since an instant and behind the
/// cursor, the oldest first.
pub(crate) async fn failed_deliveries(
    tx: &mut Tx,
    endpoint_id: EndpointId,
    since: DateTime<Utc>,
    after: Cursor,
    limit: i64,
) -> sqlx::Result<Vec<FailedDelivery>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, outbox_id, endpoint_id, created_at
         FROM callback_deliveries
         WHERE status = 'failed' AND endpoint_id = $1 AND created_at >= $2
           AND (created_at, id) > ($3, $4)
         ORDER BY created_at, id
         LIMIT $5"))
        .bind(endpoint_id).bind(since).bind(after.at).bind(after.id).bind(limit)
        .fetch_all(conn).await)
}

/// The last of the oldest `limit` events that were delivered before an instant.
pub(crate) async fn last_to_purge(
    tx: &mut Tx,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Option<(DateTime<Utc>, OutboxId)>> {
    on!(tx, conn => query_as(sql!(
        "SELECT updated_at, id
         FROM (
             SELECT updated_at, id
             FROM callback_outbox
             WHERE status = 'success' AND updated_at < $1
             ORDER BY updated_at, id
             LIMIT $2
         ) AS head
         ORDER BY updated_at DESC, id DESC
         LIMIT 1"))
        .bind(before).bind(limit)
        .fetch_optional(conn).await)
}

/// Deletes delivered events up to this one, with their deliveries and attempts.
pub(crate) async fn purge_events(
    tx: &mut Tx,
    (updated_at, id): (DateTime<Utc>, OutboxId),
) -> sqlx::Result<u64> {
    on!(tx, conn => query(sql!(
        "DELETE FROM callback_outbox
         WHERE status = 'success' AND (updated_at, id) <= ($1, $2)"))
        .bind(updated_at).bind(id)
        .execute(conn).await.map(|done| done.rows_affected()))
}

/// Deletes the oldest dead letters that nobody has touched since an instant, with their deliveries
/// and attempts.
pub(crate) async fn purge_dead_letters(
    tx: &mut Tx,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<u64> {
    on!(tx, conn => query(sql!(
        "DELETE FROM callback_outbox
         WHERE status = 'failed' AND updated_at < $1 AND (created_at, id) <= (
             SELECT created_at, id
             FROM (
                 SELECT created_at, id
                 FROM callback_outbox
                 WHERE status = 'failed' AND created_at < $1 AND updated_at < $1
                 ORDER BY created_at, id
                 LIMIT $2
             ) AS head
             ORDER BY created_at DESC, id DESC
             LIMIT 1
         )"))
        .bind(before).bind(limit)
        .execute(conn).await.map(|done| done.rows_affected()))
}

/// Deliveries that have been due since before an instant and wait for an endpoint that is inactive
/// or left in peace.
pub(crate) async fn overdue_held_deliveries(
    tx: &mut Tx,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<FailedDelivery>> {
    // SQLite takes a cross join in the order it is written: few endpoints are like that.
    on!(tx, conn => query_as(sql!(
        "SELECT d.id, d.outbox_id, d.endpoint_id, d.created_at
         FROM (
             SELECT id FROM webhook_endpoints WHERE NOT is_active
             UNION ALL
             SELECT id FROM webhook_endpoints WHERE is_active AND open_until IS NOT NULL
         ) AS e
         CROSS JOIN callback_deliveries AS d
         WHERE d.endpoint_id = e.id AND d.status = 'pending'
           AND COALESCE(d.next_attempt_at, d.created_at) < $1
         LIMIT $2"))
        .bind(before).bind(limit)
        .fetch_all(conn).await)
}

/// Makes an event a dead letter, if nobody is owed it any more and it was not that before.
pub(crate) async fn give_up_event(
    tx: &mut Tx,
    id: OutboxId,
    error: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "UPDATE callback_outbox
         SET status = 'failed', next_retry_at = NULL, last_error = $2, updated_at = $3
         WHERE id = $1 AND status = 'pending'
           AND NOT EXISTS (
               SELECT 1 FROM callback_deliveries WHERE outbox_id = $1 AND status = 'pending'
           )"))
        .bind(id).bind(error).bind(now)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}

/// Gives up every delivery of an event that is still owed and not being sent; tells how many.
pub(crate) async fn give_up_all_deliveries(
    tx: &mut Tx,
    id: OutboxId,
    error: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    on!(tx, conn => query(sql!(
        "UPDATE callback_deliveries
         SET status = 'failed', next_attempt_at = NULL, last_error = $2, lease_token = NULL,
             lease_expires_at = NULL, updated_at = $3
         WHERE outbox_id = $1 AND status = 'pending'
           AND (lease_expires_at IS NULL OR lease_expires_at <= $3)"))
        .bind(id).bind(error).bind(now)
        .execute(conn).await.map(|done| done.rows_affected()))
}

/// Gives a delivery up whose endpoint is inactive or left in peace; tells whether it still waited.
pub(crate) async fn give_up_delivery(
    tx: &mut Tx,
    id: DeliveryId,
    error: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "UPDATE callback_deliveries
         SET status = 'failed', next_attempt_at = NULL, last_error = $2, updated_at = $3
         WHERE id = $1 AND status = 'pending'
           AND (lease_expires_at IS NULL OR lease_expires_at <= $3)
           AND EXISTS (
               SELECT 1 FROM webhook_endpoints
               WHERE webhook_endpoints.id = callback_deliveries.endpoint_id
                 AND (NOT webhook_endpoints.is_active OR webhook_endpoints.open_until IS NOT NULL)
           )"))
        .bind(id).bind(error).bind(now)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}
