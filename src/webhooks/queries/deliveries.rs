//! Events and their deliveries: recorded, claimed, and written down again after each request.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use jobs::{OutboxId, StoreId};
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{FromRow, query, query_as, query_scalar};
use uuid::Uuid;

use crate::db::{
    Tx, both, ids, is_listed, is_one_of, json_instant, json_uuid, look_up, look_up_any, on,
    only_postgres, rows, sql,
};
use crate::encryption::StoredSecret;
use crate::traces;
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
    /// What it is part of.
    pub(crate) traceparent: Option<String>,
    pub(crate) payload: Json<Envelope>,
    pub(crate) status: CallbackStatus,
    pub(crate) attempt: i32,
    pub(crate) enqueued_until: Option<DateTime<Utc>>,
}

/// A delivery that is due, and what is known of its endpoint.
#[derive(Clone, Debug)]
pub(crate) struct DueDelivery {
    pub(crate) id: DeliveryId,
    pub(crate) outbox_id: OutboxId,
    pub(crate) endpoint_id: EndpointId,
    pub(crate) attempt: i32,
    pub(crate) target_url: String,
    pub(crate) is_ordered: bool,
    pub(crate) consecutive_failures: i32,
}

/// Events, and what may be sent of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owed {
    pub(crate) events: HashMap<OutboxId, OwedEvent>,
    /// In the order of their ids.
    pub(crate) due: Vec<DueDelivery>,
    /// What signs for their endpoints, the newest first.
    pub(crate) secrets: HashMap<EndpointId, Vec<StoredSecret>>,
}

/// An event with a delivery of it that is due, if there is one, and with a secret of its endpoint.
#[derive(FromRow)]
struct OwedRow {
    #[sqlx(flatten)]
    event: OwedEvent,
    delivery_id: Option<DeliveryId>,
    delivery_attempt: Option<i32>,
    endpoint_id: Option<EndpointId>,
    target_url: Option<String>,
    is_ordered: Option<bool>,
    consecutive_failures: Option<i32>,
    secret_id: Option<Uuid>,
    secret: Option<String>,
}

impl Owed {
    fn of(rows: Vec<OwedRow>) -> Self {
        let mut owed = Self::default();
        for mut row in rows {
            if let Some(delivery) = row.due_delivery() {
                let secrets = owed.secrets.entry(delivery.endpoint_id).or_default();
                if let Some(secret) = row.stored_secret()
                    && !secrets.iter().any(|it| it.id == secret.id)
                {
                    secrets.push(secret);
                }
                if owed.due.last().is_none_or(|it| it.id != delivery.id) {
                    owed.due.push(delivery);
                }
            }
            owed.events.entry(row.event.id).or_insert(row.event);
        }
        owed
    }
}

impl OwedRow {
    /// None when its endpoint is not to be had.
    fn due_delivery(&mut self) -> Option<DueDelivery> {
        Some(DueDelivery {
            endpoint_id: self.endpoint_id?,
            id: self.delivery_id?,
            outbox_id: self.event.id,
            attempt: self.delivery_attempt?,
            target_url: self.target_url.take()?,
            is_ordered: self.is_ordered?,
            consecutive_failures: self.consecutive_failures?,
        })
    }

    fn stored_secret(&mut self) -> Option<StoredSecret> {
        Some(StoredSecret {
            id: self.secret_id?,
            secret: self.secret.take()?.into(),
        })
    }
}

/// The lease of a delivery that is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeliveryLease {
    pub(crate) token: Uuid,
    pub(crate) expires_at: DateTime<Utc>,
}

/// One request, and what it means for its delivery.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct OutcomeRow {
    /// Of the request.
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) id: Uuid,
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) delivery_id: DeliveryId,
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) lease_token: Uuid,
    pub(crate) status: CallbackStatus,
    /// Failures of the delivery so far.
    pub(crate) failures: i32,
    #[serde(serialize_with = "json_instant::option")]
    pub(crate) next_attempt_at: Option<DateTime<Utc>>,
    pub(crate) last_error: Option<String>,
    #[serde(serialize_with = "json_instant::option")]
    pub(crate) delivered_at: Option<DateTime<Utc>>,
    pub(crate) http_status: Option<i32>,
    /// Which request of the delivery it is.
    pub(crate) attempt: i32,
    #[serde(serialize_with = "json_instant::of")]
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) duration_ms: i32,
    pub(crate) error: Option<String>,
    pub(crate) response: Option<String>,
}

/// A delivery whose outcome was written.
#[derive(Clone, Copy, Debug, FromRow)]
pub(crate) struct WrittenDelivery {
    pub(crate) id: DeliveryId,
    /// Its endpoint had failed since it took something.
    pub(crate) was_failing: bool,
    /// Others hear of its event, too.
    pub(crate) has_others: bool,
}

/// How one delivery of an event stands.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct StateOfDelivery {
    pub(crate) outbox_id: OutboxId,
    #[sqlx(flatten)]
    pub(crate) state: DeliveryState,
}

/// How an event stands.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StateOfEvent {
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) id: OutboxId,
    #[serde(flatten)]
    pub(crate) state: EventState,
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
             attempt, enqueued_until, traceparent, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $9, $8, $8)
         ON CONFLICT (id) DO NOTHING"))
        .bind(event.id).bind(event.organization_id).bind(event.store_id)
        .bind(event.event).bind(Json(envelope)).bind(status).bind(enqueued_until).bind(now)
        .bind(traces::traceparent())
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

/// Events, and the deliveries of each that may be sent now: due, not being sent, to an endpoint that
/// is there, active and not left in peace, with what signs for it. To an ordered endpoint only what
/// it is owed first.
pub(crate) async fn owed_events(
    tx: &mut Tx,
    ids: &[OutboxId],
    now: DateTime<Utc>,
) -> sqlx::Result<Owed> {
    // Each is looked up: by its statistics, which are old when many events came just now, PostgreSQL
    // might rather read all that is pending, here and below.
    let sql = both!(
        tx,
        "SELECT o.id, o.organization_id, o.store_id, o.event, o.traceparent, o.payload, o.status,
             o.attempt, o.enqueued_until, d.id AS delivery_id, d.attempt AS delivery_attempt,
             e.id AS endpoint_id, e.target_url, e.is_ordered, e.consecutive_failures,
             s.id AS secret_id, s.secret
         FROM ",
        ids!("$1"),
        " AS wanted ",
        look_up!("callback_outbox" as "o" on "o.id = wanted.id"),
        " ",
        look_up_any!("callback_deliveries" as "d" on "d.outbox_id = o.id" where
            "o.status = 'pending' AND d.status = 'pending'
             AND COALESCE(d.next_attempt_at, d.created_at) <= $2
             AND (d.lease_expires_at IS NULL OR d.lease_expires_at <= $2)"),
        " ",
        look_up_any!("webhook_endpoints" as "e" on "e.id = d.endpoint_id" where
            "e.is_active AND e.deleted_at IS NULL
             AND (e.open_until IS NULL OR e.open_until <= $2)
             AND (NOT e.is_ordered OR d.id = (
                 SELECT f.id
                 FROM callback_deliveries AS f
                 WHERE f.endpoint_id = d.endpoint_id AND f.status = 'pending'
                 ORDER BY f.created_at, f.id
                 LIMIT 1
             ))"),
        " ",
        look_up_any!("webhook_secrets" as "s" on "s.endpoint_id = e.id" where
            "s.expires_at IS NULL OR s.expires_at > $2"),
        " ORDER BY d.id, s.created_at DESC, s.id DESC"
    );
    let rows: Vec<OwedRow> = on!(tx, conn => query_as(sql)
        .bind(json_uuid::list(ids)).bind(now)
        .fetch_all(conn).await)?;
    Ok(Owed::of(rows))
}

/// Takes the leases of the deliveries that are still due and sent by nobody; returns which.
pub(crate) async fn claim_deliveries(
    tx: &mut Tx,
    ids: &[DeliveryId],
    lease: DeliveryLease,
    now: DateTime<Utc>,
) -> sqlx::Result<HashSet<DeliveryId>> {
    // What somebody has locked is not to be had.
    let sql = both!(
        tx,
        "UPDATE callback_deliveries
         SET lease_token = $2, lease_expires_at = $3
         WHERE id ",
        is_one_of!(
            "SELECT d.id
             FROM ",
            ids!("$1"),
            " AS wanted ",
            look_up!(
                "callback_deliveries" as "d" on "d.id = wanted.id",
                "OFFSET 0 FOR NO KEY UPDATE SKIP LOCKED"
            ),
            " WHERE d.status = 'pending' AND COALESCE(d.next_attempt_at, d.created_at) <= $4
               AND (d.lease_expires_at IS NULL OR d.lease_expires_at <= $4)"
        ),
        " RETURNING id"
    );
    let ids: Vec<DeliveryId> = on!(tx, conn => query_scalar(sql)
        .bind(json_uuid::list(ids)).bind(lease.token).bind(lease.expires_at).bind(now)
        .fetch_all(conn).await)?;
    Ok(ids.into_iter().collect())
}

/// Writes what requests came to whose leases are still ours; returns the deliveries that were
/// written.
pub(crate) async fn write_outcomes(
    tx: &mut Tx,
    outcomes: &[&OutcomeRow],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<WrittenDelivery>> {
    // PostgreSQL would rather read all of a small table than look up each.
    let sql = both!(
        tx,
        "UPDATE callback_deliveries
         SET status = o.status, http_status = o.http_status, attempt = o.failures,
             next_attempt_at = o.next_attempt_at, last_error = o.last_error,
             delivered_at = o.delivered_at, lease_token = NULL, lease_expires_at = NULL,
             updated_at = $2
         FROM ",
        rows!("$1", delivery_id UUID, lease_token UUID, status TEXT, http_status INTEGER,
            failures INTEGER, next_attempt_at TIMESTAMPTZ, last_error TEXT,
            delivered_at TIMESTAMPTZ),
        " AS o
         WHERE callback_deliveries.id = o.delivery_id
           AND callback_deliveries.lease_token = o.lease_token",
        only_postgres!(
            " AND callback_deliveries.id = ANY (ARRAY (
                  SELECT CAST(value ->> 'delivery_id' AS UUID) FROM jsonb_array_elements($1)))"
        ),
        " RETURNING callback_deliveries.id, (
              SELECT e.consecutive_failures > 0
              FROM webhook_endpoints AS e
              WHERE e.id = callback_deliveries.endpoint_id
          ) AS was_failing, EXISTS (
              SELECT 1
              FROM callback_deliveries AS other
              WHERE other.outbox_id = callback_deliveries.outbox_id
                AND other.endpoint_id <> callback_deliveries.endpoint_id
          ) AS has_others"
    );
    on!(tx, conn => query_as(sql)
        .bind(Json(outcomes)).bind(now)
        .fetch_all(conn).await)
}

/// Remembers requests.
pub(crate) async fn insert_attempts(tx: &mut Tx, outcomes: &[&OutcomeRow]) -> sqlx::Result<()> {
    let sql = both!(
        tx,
        "INSERT INTO callback_attempts (id, delivery_id, attempt, started_at, duration_ms,
             http_status, error, response)
         SELECT o.id, o.delivery_id, o.attempt, o.started_at, o.duration_ms, o.http_status,
             o.error, o.response
         FROM ",
        rows!("$1", id UUID, delivery_id UUID, attempt INTEGER, started_at TIMESTAMPTZ,
            duration_ms INTEGER, http_status INTEGER, error TEXT, response TEXT),
        " AS o"
    );
    on!(tx, conn => query(sql).bind(Json(outcomes)).execute(conn).await.map(|_| ()))
}

/// How the deliveries of events stand.
pub(crate) async fn delivery_states(
    tx: &mut Tx,
    ids: &[OutboxId],
) -> sqlx::Result<Vec<StateOfDelivery>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = both!(
        tx,
        "SELECT outbox_id, endpoint_id, status, attempt, next_attempt_at, last_error
         FROM callback_deliveries
         WHERE outbox_id ",
        is_listed!("$1"),
        " ORDER BY id"
    );
    on!(tx, conn => query_as(sql).bind(json_uuid::list(ids)).fetch_all(conn).await)
}

/// Writes how events stand. The slot of one that nobody is owed any more is free.
pub(crate) async fn write_event_states(
    tx: &mut Tx,
    states: &[StateOfEvent],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = both!(
        tx,
        "UPDATE callback_outbox AS c
         SET status = s.status, attempt = s.attempt, next_retry_at = s.next_retry_at,
             last_error = s.last_error, updated_at = $2,
             enqueued_until = CASE WHEN s.status = 'pending' THEN c.enqueued_until END
         FROM ",
        rows!("$1", id UUID, status TEXT, attempt INTEGER, next_retry_at TIMESTAMPTZ,
            last_error TEXT),
        " AS s
         WHERE c.id = s.id",
        only_postgres!(
            " AND c.id = ANY (ARRAY (
                  SELECT CAST(value ->> 'id' AS UUID) FROM jsonb_array_elements($1)))"
        )
    );
    on!(tx, conn => query(sql).bind(Json(states)).bind(now).execute(conn).await.map(|_| ()))
}
