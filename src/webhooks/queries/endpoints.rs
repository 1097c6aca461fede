//! Webhooks and their secrets.

use chrono::{DateTime, Utc};
use sqlx::{query, query_as, query_scalar};
use uuid::Uuid;

use crate::db::{Tx, on, sql};
use crate::encryption::{Sealed, SealedColumn, StoredSecret};
use crate::webhooks::model::{Endpoint, EndpointId, EventType};
use crate::webhooks::secrets::SECRET;

/// Lets the transactions that count an organization's endpoints happen one after the other.
pub(crate) async fn lock_organization(tx: &mut Tx, organization_id: &str) -> sqlx::Result<()> {
    // SQLite has one writer anyway. There is no table of organizations to lock a row of; two
    // whose hashes are the same wait for each other, and that is all.
    let sql = tx.pick(
        sql!(postgres: "SELECT 1 FROM pg_advisory_xact_lock(hashtextextended($1, 0))"),
        sql!(sqlite: "SELECT $1"),
    );
    on!(tx, conn => query(sql).bind(organization_id).execute(conn).await.map(|_| ()))
}

/// Until the end of the transaction the endpoints of an organization stay as they are: none is
/// deleted while somebody writes what it is owed. Those who only do that do not wait for each other.
pub(crate) async fn keep_endpoints(tx: &mut Tx, organization_id: &str) -> sqlx::Result<()> {
    // SQLite has one writer anyway. See `lock_organization`.
    let sql = tx.pick(
        sql!(postgres: "SELECT 1 FROM pg_advisory_xact_lock_shared(hashtextextended($1, 0))"),
        sql!(sqlite: "SELECT $1 AS organization_id"),
    );
    on!(tx, conn => query(sql).bind(organization_id).execute(conn).await.map(|_| ()))
}

/// How many active endpoints an organization has, over all events.
pub(crate) async fn active_count(tx: &mut Tx, organization_id: &str) -> sqlx::Result<i64> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT COUNT(*)
         FROM webhook_endpoints
         WHERE organization_id = $1 AND is_active"))
        .bind(organization_id)
        .fetch_one(conn).await)
}

/// The endpoint that an organization has for an event at a URL; deleted ones, too.
pub(crate) async fn endpoint_by_triple(
    tx: &mut Tx,
    organization_id: &str,
    event: EventType,
    target_url: &str,
) -> sqlx::Result<Option<Endpoint>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, organization_id, event, target_url, is_active, inactive_reason, description,
             is_ordered, deleted_at, created_at, updated_at
         FROM webhook_endpoints
         WHERE organization_id = $1 AND event = $2 AND target_url = $3"))
        .bind(organization_id).bind(event).bind(target_url)
        .fetch_optional(conn).await)
}

/// An endpoint by its id; deleted ones, too.
pub(crate) async fn endpoint_by_id(tx: &mut Tx, id: EndpointId) -> sqlx::Result<Option<Endpoint>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, organization_id, event, target_url, is_active, inactive_reason, description,
             is_ordered, deleted_at, created_at, updated_at
         FROM webhook_endpoints
         WHERE id = $1"))
        .bind(id)
        .fetch_optional(conn).await)
}

/// The endpoints of an organization, in the order they were registered; inactive and deleted
/// ones, too.
pub(crate) async fn endpoints_of(
    tx: &mut Tx,
    organization_id: &str,
) -> sqlx::Result<Vec<Endpoint>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, organization_id, event, target_url, is_active, inactive_reason, description,
             is_ordered, deleted_at, created_at, updated_at
         FROM webhook_endpoints
         WHERE organization_id = $1
         ORDER BY created_at, id"))
        .bind(organization_id)
        .fetch_all(conn).await)
}

/// Inserts an active endpoint.
pub(crate) async fn insert_endpoint(tx: &mut Tx, endpoint: &Endpoint) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "INSERT INTO webhook_endpoints (id, organization_id, event, target_url, is_active,
             description, is_ordered, created_at, updated_at)
         VALUES ($1, $2, $3, $4, TRUE, $5, $6, $7, $7)"))
        .bind(endpoint.id).bind(&endpoint.organization_id).bind(endpoint.event)
        .bind(&endpoint.target_url).bind(&endpoint.description).bind(endpoint.is_ordered)
        .bind(endpoint.created_at)
        .execute(conn).await.map(|_| ()))
}

/// Makes an endpoint active, with a clean record; a deleted one is back.
pub(crate) async fn activate(tx: &mut Tx, id: EndpointId, now: DateTime<Utc>) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE webhook_endpoints
         SET is_active = TRUE,
             inactive_reason = NULL,
             deleted_at = NULL,
             consecutive_failures = 0,
             open_until = NULL,
             updated_at = $2
         WHERE id = $1"))
        .bind(id).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// Notes that an endpoint was registered again.
pub(crate) async fn touch(tx: &mut Tx, id: EndpointId, now: DateTime<Utc>) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!("UPDATE webhook_endpoints SET updated_at = $2 WHERE id = $1"))
        .bind(id).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// Writes what its organization may change of an endpoint.
pub(crate) async fn update_endpoint(
    tx: &mut Tx,
    endpoint: &Endpoint,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE webhook_endpoints
         SET is_active = $2, inactive_reason = $3, description = $4, is_ordered = $5,
             updated_at = $6
         WHERE id = $1"))
        .bind(endpoint.id).bind(endpoint.is_active).bind(&endpoint.inactive_reason)
        .bind(&endpoint.description).bind(endpoint.is_ordered).bind(now)
        .execute(conn).await.map(|_| ()))
}

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

/// Deletes an endpoint: nothing is sent to it any more.
pub(crate) async fn mark_deleted(
    tx: &mut Tx,
    id: EndpointId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE webhook_endpoints
         SET is_active = FALSE, deleted_at = $2, updated_at = $2
         WHERE id = $1 AND deleted_at IS NULL"))
        .bind(id).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// Adds the secret that signs from now on.
pub(crate) async fn insert_secret(
    tx: &mut Tx,
    id: Uuid,
    endpoint_id: EndpointId,
    secret: &Sealed,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "INSERT INTO webhook_secrets (id, endpoint_id, secret, created_at)
         VALUES ($1, $2, $3, $4)"))
        .bind(id).bind(endpoint_id).bind(secret.text()).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// Lets the current secret sign until `until` and no longer.
pub(crate) async fn expire_current_secret(
    tx: &mut Tx,
    endpoint_id: EndpointId,
    until: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE webhook_secrets
         SET expires_at = $2
         WHERE endpoint_id = $1 AND expires_at IS NULL"))
        .bind(endpoint_id).bind(until)
        .execute(conn).await.map(|_| ()))
}

/// Forgets the secrets that sign no more, and all but the newest `kept` of the old ones.
pub(crate) async fn forget_old_secrets(
    tx: &mut Tx,
    endpoint_id: EndpointId,
    kept: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "DELETE FROM webhook_secrets
         WHERE endpoint_id = $1 AND expires_at IS NOT NULL AND (
             expires_at <= $3 OR id NOT IN (
                 SELECT id
                 FROM webhook_secrets
                 WHERE endpoint_id = $1 AND expires_at IS NOT NULL
                 ORDER BY created_at DESC, id DESC
                 LIMIT $2
             )
         )"))
        .bind(endpoint_id).bind(kept).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// The secrets that sign for an endpoint now, the newest first.
pub(crate) async fn signing_secrets(
    tx: &mut Tx,
    id: EndpointId,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<StoredSecret>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, secret
         FROM webhook_secrets
         WHERE endpoint_id = $1 AND (expires_at IS NULL OR expires_at > $2)
         ORDER BY created_at DESC, id DESC"))
        .bind(id).bind(now)
        .fetch_all(conn).await)
}

/// Locks the events that an endpoint is still owed, in the order of their ids.
pub(crate) async fn lock_owed_events(tx: &mut Tx, id: EndpointId) -> sqlx::Result<()> {
    // SQLite has one writer anyway.
    let sql = tx.pick(
        sql!(postgres:
            "SELECT 1
             FROM callback_outbox
             WHERE id = ANY (ARRAY (
                 SELECT outbox_id
                 FROM callback_deliveries
                 WHERE endpoint_id = $1 AND status = 'pending'
             ))
             ORDER BY id
             FOR NO KEY UPDATE"),
        sql!(sqlite: "SELECT 1 FROM callback_deliveries WHERE endpoint_id = $1 LIMIT 1"),
    );
    on!(tx, conn => query(sql).bind(id).execute(conn).await.map(|_| ()))
}

/// Closes the events that nobody but this endpoint is still owed.
pub(crate) async fn settle_events(
    tx: &mut Tx,
    id: EndpointId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE callback_outbox
         SET status = CASE WHEN EXISTS (
                 SELECT 1 FROM callback_deliveries AS d
                 WHERE d.outbox_id = callback_outbox.id AND d.status = 'failed'
             ) THEN 'failed' ELSE 'success' END,
             next_retry_at = NULL,
             updated_at = $2
         WHERE status = 'pending'
           AND id IN (
                 SELECT d.outbox_id FROM callback_deliveries AS d
                 WHERE d.endpoint_id = $1 AND d.status = 'pending'
             )
           AND NOT EXISTS (
                 SELECT 1 FROM callback_deliveries AS d
                 WHERE d.outbox_id = callback_outbox.id AND d.status = 'pending'
                   AND d.endpoint_id <> $1
             )"))
        .bind(id).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// Drops what an endpoint is still owed.
pub(crate) async fn cancel_deliveries(tx: &mut Tx, id: EndpointId) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "DELETE FROM callback_deliveries
         WHERE endpoint_id = $1 AND status = 'pending'"))
        .bind(id)
        .execute(conn).await.map(|_| ()))
}

/// What a rotation of keys needs to know of signing secrets.
pub(crate) fn sealed_secrets() -> SealedColumn {
    SealedColumn {
        column: SECRET,
        page: sql!(
            "SELECT id, secret
             FROM webhook_secrets
             WHERE id > $1 AND SUBSTR(secret, 1, 16) <> $2
             ORDER BY id
             LIMIT $3"
        ),
        replace: sql!("UPDATE webhook_secrets SET secret = $3 WHERE id = $1 AND secret = $2"),
        find: sql!("SELECT 1 FROM webhook_secrets WHERE SUBSTR(secret, 1, 16) = $1 LIMIT 1"),
    }
}

/// Endpoints that were deleted before an instant and that no delivery remembers, with their
/// organizations.
pub(crate) async fn forgotten_endpoints(
    tx: &mut Tx,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<(EndpointId, String)>> {
    on!(tx, conn => query_as(sql!(
        "SELECT e.id, e.organization_id
         FROM webhook_endpoints AS e
         WHERE NOT e.is_active AND e.deleted_at < $1
           AND NOT EXISTS (SELECT 1 FROM callback_deliveries AS d WHERE d.endpoint_id = e.id)
         ORDER BY e.id
         LIMIT $2"))
        .bind(before).bind(limit)
        .fetch_all(conn).await)
}

/// Deletes the row of an endpoint and its secrets, if it is still deleted since before an instant.
pub(crate) async fn purge_endpoint(
    tx: &mut Tx,
    id: EndpointId,
    before: DateTime<Utc>,
) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "DELETE FROM webhook_endpoints
         WHERE id = $1 AND NOT is_active AND deleted_at < $2
           AND NOT EXISTS (SELECT 1 FROM callback_deliveries AS d WHERE d.endpoint_id = $1)"))
        .bind(id).bind(before)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}
