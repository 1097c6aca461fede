//! Events and their deliveries: recorded, claimed, and written down again after each request.

use chrono::{DateTime, Utc};
use jobs::{OutboxId, StoreId};
use sqlx::types::Json;
use sqlx::{FromRow, query, query_as, query_scalar};
use uuid::Uuid;

use crate::db::{Tx, on, sql};
use crate::webhooks::attempt::Outcome;
use crate::webhooks::model::{DeliveryId, EndpointId, EventType};
use crate::webhooks::outbox::CallbackStatus;
use crate::webhooks::record::{Envelope, NewEvent};
use crate::webhooks::settle::{DeliveryState, EventState};

/// Who hears of an event.
#[derive(Clone, Copy, Debug, FromRow)]
pub(crate) struct Subscriber {
    pub(crate) id: EndpointId,
    /// Whether anything is sent to it at the moment.
    pub(crate) is_reachable: bool,
}

/// An event that is to be delivered.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct OwedEvent {
    pub(crate) id: OutboxId,
    pub(crate) organization_id: String,
    pub(crate) store_id: StoreId,
    pub(crate) event: EventType,
    pub(crate) payload: Json<Envelope>,
    pub(crate) status: CallbackStatus,
    pub(crate) attempt: i32,
}

/// A delivery that is due, and what is known of its endpoint.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct DueDelivery {
    pub(crate) id: DeliveryId,
    pub(crate) endpoint_id: EndpointId,
    pub(crate) attempt: i32,
    pub(crate) target_url: String,
    pub(crate) is_ordered: bool,
    pub(crate) consecutive_failures: i32,
}

/// The lease of a delivery that is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeliveryLease {
    pub(crate) token: Uuid,
    pub(crate) expires_at: DateTime<Utc>,
}

/// One request, as it is remembered.
#[derive(Clone, Debug)]
pub(crate) struct AttemptRow<'a> {
    pub(crate) id: Uuid,
    pub(crate) delivery_id: DeliveryId,
    pub(crate) attempt: i32,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) duration_ms: i32,
    pub(crate) http_status: Option<i32>,
    pub(crate) error: Option<String>,
    pub(crate) response: Option<&'a str>,
}

/// The endpoints that an organization has for an event; inactive ones, too.
pub(crate) async fn subscribers(
    tx: &mut Tx,
    organization_id: &str,
    event: EventType,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Subscriber>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, is_active AND (open_until IS NULL OR open_until <= $3) AS is_reachable
         FROM webhook_endpoints
         WHERE organization_id = $1 AND event = $2 AND deleted_at IS NULL
         ORDER BY id"))
        .bind(organization_id).bind(event).bind(now)
        .fetch_all(conn).await)
}

/// Inserts an event with its complete payload and its enqueue slot, unless it is there already;
/// tells whether it was not.
pub(crate) async fn insert_event(
    tx: &mut Tx,
    event: &NewEvent<'_>,
    envelope: &Envelope,
    status: CallbackStatus,
    enqueued_until: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "INSERT INTO callback_outbox (id, organization_id, store_id, event, payload, status,
             attempt, enqueued_until, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $8)
         ON CONFLICT (id) DO NOTHING"))
        .bind(event.id).bind(event.organization_id).bind(event.store_id)
        .bind(event.event).bind(Json(envelope)).bind(status).bind(enqueued_until).bind(now)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}

/// Inserts what an endpoint is owed.
pub(crate) async fn insert_delivery(
    tx: &mut Tx,
    id: DeliveryId,
    outbox_id: OutboxId,
    endpoint_id: EndpointId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "INSERT INTO callback_deliveries (id, outbox_id, endpoint_id, status, attempt, created_at,
             updated_at)
         VALUES ($1, $2, $3, 'pending', 0, $4, $4)"))
        .bind(id).bind(outbox_id).bind(endpoint_id).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// An event with what its subscribers receive.
pub(crate) async fn owed_event(tx: &mut Tx, id: OutboxId) -> sqlx::Result<Option<OwedEvent>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, organization_id, store_id, event, payload, status, attempt
         FROM callback_outbox
         WHERE id = $1"))
        .bind(id)
        .fetch_optional(conn).await)
}

/// The deliveries of an event that may be sent now: due, not being sent, to an endpoint that is
/// there, active and not left in peace. To an ordered endpoint only what it is owed first.
pub(crate) async fn due_deliveries(
    tx: &mut Tx,
    id: OutboxId,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<DueDelivery>> {
    on!(tx, conn => query_as(sql!(
        "SELECT d.id, d.endpoint_id, d.attempt, e.target_url, e.is_ordered,
             e.consecutive_failures
         FROM callback_deliveries AS d
         JOIN webhook_endpoints AS e ON e.id = d.endpoint_id
         WHERE d.outbox_id = $1 AND d.status = 'pending'
           AND COALESCE(d.next_attempt_at, d.created_at) <= $2
           AND (d.lease_expires_at IS NULL OR d.lease_expires_at <= $2)
           AND e.is_active AND e.deleted_at IS NULL
           AND (e.open_until IS NULL OR e.open_until <= $2)
           AND (NOT e.is_ordered OR d.id = (
               SELECT f.id
               FROM callback_deliveries AS f
               WHERE f.endpoint_id = d.endpoint_id AND f.status = 'pending'
               ORDER BY f.created_at, f.id
               LIMIT 1
           ))
         ORDER BY d.id"))
        .bind(id).bind(now)
        .fetch_all(conn).await)
}

/// Takes the lease of a delivery, if it is still due and nobody sends it.
pub(crate) async fn claim_delivery(
    tx: &mut Tx,
    id: DeliveryId,
    lease: DeliveryLease,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "UPDATE callback_deliveries
         SET lease_token = $2, lease_expires_at = $3
         WHERE id = $1 AND status = 'pending' AND COALESCE(next_attempt_at, created_at) <= $4
           AND (lease_expires_at IS NULL OR lease_expires_at <= $4)"))
        .bind(id).bind(lease.token).bind(lease.expires_at).bind(now)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}

/// Takes the one chance that an endpoint has to show that it is back; the next one comes when
/// `until` has passed without an outcome.
pub(crate) async fn take_probe(
    tx: &mut Tx,
    id: EndpointId,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "UPDATE webhook_endpoints
         SET open_until = $2
         WHERE id = $1 AND (open_until IS NULL OR open_until <= $3)"))
        .bind(id).bind(until).bind(now)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}

/// Writes what a request came to, if the lease is still ours.
pub(crate) async fn write_outcome(
    tx: &mut Tx,
    id: DeliveryId,
    lease: Uuid,
    outcome: &Outcome,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let delivered_at = (outcome.status == CallbackStatus::Success).then_some(now);
    on!(tx, conn => query(sql!(
        "UPDATE callback_deliveries
         SET status = $3,
             http_status = $4,
             attempt = $5,
             next_attempt_at = $6,
             last_error = $7,
             delivered_at = $9,
             lease_token = NULL,
             lease_expires_at = NULL,
             updated_at = $8
         WHERE id = $1 AND lease_token = $2"))
        .bind(id).bind(lease).bind(outcome.status).bind(outcome.http_status)
        .bind(outcome.attempt).bind(outcome.next_attempt_at).bind(&outcome.last_error).bind(now)
        .bind(delivered_at)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}

/// Remembers a request.
pub(crate) async fn insert_attempt(tx: &mut Tx, attempt: &AttemptRow<'_>) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "INSERT INTO callback_attempts (id, delivery_id, attempt, started_at, duration_ms,
             http_status, error, response)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"))
        .bind(attempt.id).bind(attempt.delivery_id).bind(attempt.attempt)
        .bind(attempt.started_at).bind(attempt.duration_ms).bind(attempt.http_status)
        .bind(&attempt.error).bind(attempt.response)
        .execute(conn).await.map(|_| ()))
}

/// Closes the breaker of an endpoint that took an event; tells whether it had been open.
pub(crate) async fn count_success(tx: &mut Tx, id: EndpointId) -> sqlx::Result<bool> {
    let was_open: Option<bool> = on!(tx, conn => query_scalar(sql!(
        "SELECT open_until IS NOT NULL
         FROM webhook_endpoints
         WHERE id = $1 AND consecutive_failures > 0"))
        .bind(id)
        .fetch_optional(conn).await)?;
    let Some(was_open) = was_open else {
        return Ok(false);
    };
    on!(tx, conn => query(sql!(
        "UPDATE webhook_endpoints
         SET consecutive_failures = 0, open_until = NULL
         WHERE id = $1"))
        .bind(id)
        .execute(conn).await.map(|_| was_open))
}

/// Counts a failure of an endpoint; returns how many there were in a row. From `threshold` on
/// only failed probes count.
pub(crate) async fn count_failure(
    tx: &mut Tx,
    id: EndpointId,
    is_probe: bool,
    threshold: i32,
) -> sqlx::Result<i32> {
    on!(tx, conn => query_scalar(sql!(
        "UPDATE webhook_endpoints
         SET consecutive_failures = consecutive_failures
             + CASE WHEN consecutive_failures < $3 OR $2 THEN 1 ELSE 0 END
         WHERE id = $1
         RETURNING consecutive_failures"))
        .bind(id).bind(is_probe).bind(threshold)
        .fetch_one(conn).await)
}

/// Leaves an endpoint in peace for a while.
pub(crate) async fn open_breaker(
    tx: &mut Tx,
    id: EndpointId,
    until: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!("UPDATE webhook_endpoints SET open_until = $2 WHERE id = $1"))
        .bind(id).bind(until)
        .execute(conn).await.map(|_| ()))
}

/// Makes an endpoint inactive that said that it is no more; tells whether it was active.
pub(crate) async fn deactivate_gone(
    tx: &mut Tx,
    id: EndpointId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "UPDATE webhook_endpoints
         SET is_active = FALSE, inactive_reason = 'gone', updated_at = $2
         WHERE id = $1 AND is_active"))
        .bind(id).bind(now)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}

/// How the deliveries of an event stand.
pub(crate) async fn delivery_states(tx: &mut Tx, id: OutboxId) -> sqlx::Result<Vec<DeliveryState>> {
    on!(tx, conn => query_as(sql!(
        "SELECT endpoint_id, status, attempt, next_attempt_at, last_error
         FROM callback_deliveries
         WHERE outbox_id = $1
         ORDER BY id"))
        .bind(id)
        .fetch_all(conn).await)
}

/// Writes how an event stands.
pub(crate) async fn write_event_state(
    tx: &mut Tx,
    id: OutboxId,
    state: &EventState,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE callback_outbox
         SET status = $2, attempt = $3, next_retry_at = $4, last_error = $5, updated_at = $6
         WHERE id = $1"))
        .bind(id).bind(state.status).bind(state.attempt).bind(state.next_retry_at)
        .bind(&state.last_error).bind(now)
        .execute(conn).await.map(|_| ()))
}
