//! Which events are due, and their enqueue slots.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use jobs::OutboxId;
use sqlx::{FromRow, query, query_as, query_scalar};
use uuid::Uuid;

use crate::db::{
    Tx, both, ids, is_listed, is_locked, is_one_of, json_uuid, look_up, on, only_postgres, sql,
};
use crate::webhooks::model::EndpointId;
use crate::webhooks::outbox::CallbackStatus;

/// An endpoint that something is due to.
#[derive(Clone, Copy, Debug, FromRow)]
pub(crate) struct DueEndpoint {
    pub(crate) id: EndpointId,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) is_ordered: bool,
    pub(crate) consecutive_failures: i32,
    /// Whether a request to it is on the way, from whatever process.
    pub(crate) is_busy: bool,
}

/// An event that is due to an endpoint, and its place among those.
#[derive(Clone, Copy, Debug, FromRow)]
pub(crate) struct DueEvent {
    pub(crate) outbox_id: OutboxId,
    pub(crate) due_at: DateTime<Utc>,
    pub(crate) delivery_id: Uuid,
}

/// A page of endpoints behind the cursor that something is due to, in the order of their ids;
/// none that is inactive or left in peace.
///
/// What is due first is one look into `callback_deliveries_due_idx`, however much there is.
pub(crate) async fn due_endpoints(
    tx: &mut Tx,
    after: Uuid,
    now: DateTime<Utc>,
    limit: u32,
) -> sqlx::Result<Vec<DueEndpoint>> {
    on!(tx, conn => query_as(sql!(
        "SELECT d.id, d.created_at, d.is_ordered, d.consecutive_failures, EXISTS (
                 SELECT 1
                 FROM (
                     SELECT lease_expires_at
                     FROM callback_deliveries AS l
                     WHERE l.endpoint_id = d.id AND l.status = 'pending'
                     ORDER BY COALESCE(l.next_attempt_at, l.created_at), l.id
                     LIMIT 32
                 ) AS head
                 WHERE head.lease_expires_at > $2
             ) AS is_busy
         FROM (
             SELECT e.id, e.created_at, e.is_ordered, e.consecutive_failures, (
                 SELECT COALESCE(p.next_attempt_at, p.created_at)
                 FROM callback_deliveries AS p
                 WHERE p.endpoint_id = e.id AND p.status = 'pending'
                 ORDER BY COALESCE(p.next_attempt_at, p.created_at)
                 LIMIT 1
             ) AS due_since
             FROM webhook_endpoints AS e
             WHERE e.id > $1 AND e.is_active AND e.deleted_at IS NULL
               AND (e.open_until IS NULL OR e.open_until <= $2)
         ) AS d
         WHERE d.due_since <= $2
         ORDER BY d.id
         LIMIT $3"))
        .bind(after).bind(now).bind(i64::from(limit))
        .fetch_all(conn).await)
}

/// Whether a request to an endpoint is on the way, from whatever process: looked for among what
/// it is owed first.
pub(crate) async fn is_busy(
    tx: &mut Tx,
    endpoint: EndpointId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT EXISTS (
             SELECT 1
             FROM (
                 SELECT lease_expires_at
                 FROM callback_deliveries
                 WHERE endpoint_id = $1 AND status = 'pending'
                 ORDER BY COALESCE(next_attempt_at, created_at), id
                 LIMIT 32
             ) AS head
             WHERE head.lease_expires_at > $2
         )"))
        .bind(endpoint).bind(now)
        .fetch_one(conn).await)
}

/// A page of events behind the cursor that are due to an endpoint and not being sent to it, the
/// longest due first.
pub(crate) async fn due_events(
    tx: &mut Tx,
    endpoint: EndpointId,
    after: (DateTime<Utc>, Uuid),
    now: DateTime<Utc>,
    limit: u32,
) -> sqlx::Result<Vec<DueEvent>> {
    on!(tx, conn => query_as(sql!(
        "SELECT outbox_id, COALESCE(next_attempt_at, created_at) AS due_at, id AS delivery_id
         FROM callback_deliveries
         WHERE endpoint_id = $1 AND status = 'pending'
           AND (COALESCE(next_attempt_at, created_at), id) > ($2, $3)
           AND COALESCE(next_attempt_at, created_at) <= $4
           AND (lease_expires_at IS NULL OR lease_expires_at <= $4)
         ORDER BY COALESCE(next_attempt_at, created_at), id
         LIMIT $5"))
        .bind(endpoint).bind(after.0).bind(after.1).bind(now).bind(i64::from(limit))
        .fetch_all(conn).await)
}

/// The event that an ordered endpoint is owed first, if it is due, not being sent, and may be
/// sent now.
pub(crate) async fn first_event(
    tx: &mut Tx,
    endpoint: EndpointId,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<DueEvent>> {
    on!(tx, conn => query_as(sql!(
        "SELECT head.outbox_id, head.due_at, head.delivery_id
         FROM webhook_endpoints AS e
         JOIN (
             SELECT outbox_id, COALESCE(next_attempt_at, created_at) AS due_at, id AS delivery_id,
                 lease_expires_at
             FROM callback_deliveries
             WHERE endpoint_id = $1 AND status = 'pending'
             ORDER BY created_at, id
             LIMIT 1
         ) AS head ON head.due_at <= $2
             AND (head.lease_expires_at IS NULL OR head.lease_expires_at <= $2)
         WHERE e.id = $1 AND e.is_active AND e.deleted_at IS NULL
           AND (e.open_until IS NULL OR e.open_until <= $2)"))
        .bind(endpoint).bind(now)
        .fetch_optional(conn).await)
}

/// What an endpoint is owed next.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct WaitingEvents {
    pub(crate) endpoint_id: EndpointId,
    /// The longest due first.
    #[sqlx(json)]
    pub(crate) events: Vec<OutboxId>,
}

/// Which of the 16 longest due events of each endpoint are neither being sent nor enqueued, if
/// anything may be sent to it now. When all of those are enqueued, their jobs bring the others.
pub(crate) async fn waiting_events(
    tx: &mut Tx,
    endpoints: &[EndpointId],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<WaitingEvents>> {
    let sql = tx.pick(
        sql!(postgres:
            "SELECT e.id AS endpoint_id, (
                 SELECT COALESCE(jsonb_agg(id ORDER BY due_at, delivery_id), '[]')
                 FROM (
                     SELECT o.id, head.due_at, head.id AS delivery_id
                     FROM (
                         SELECT outbox_id, COALESCE(next_attempt_at, created_at) AS due_at, id
                         FROM callback_deliveries
                         WHERE endpoint_id = e.id AND status = 'pending'
                           AND COALESCE(next_attempt_at, created_at) <= $2
                           AND (lease_expires_at IS NULL OR lease_expires_at <= $2)
                         ORDER BY COALESCE(next_attempt_at, created_at), id
                         LIMIT 16
                     ) AS head
                     JOIN callback_outbox AS o ON o.id = head.outbox_id
                     WHERE o.enqueued_until IS NULL OR o.enqueued_until <= $2
                 ) AS waiting
             ) AS events
             FROM (SELECT CAST(jsonb_array_elements_text($1) AS UUID) AS id) AS wanted
             CROSS JOIN LATERAL (
                 SELECT id, is_active, deleted_at, open_until
                 FROM webhook_endpoints
                 WHERE id = wanted.id
                 OFFSET 0
             ) AS e
             WHERE e.is_active AND e.deleted_at IS NULL
               AND (e.open_until IS NULL OR e.open_until <= $2)"),
        sql!(sqlite:
            "SELECT e.id AS endpoint_id, (
                 SELECT json_group_array(lower(hex(id)) ORDER BY due_at, delivery_id)
                 FROM (
                     SELECT o.id, head.due_at, head.id AS delivery_id
                     FROM (
                         SELECT outbox_id, COALESCE(next_attempt_at, created_at) AS due_at, id
                         FROM callback_deliveries
                         WHERE endpoint_id = e.id AND status = 'pending'
                           AND COALESCE(next_attempt_at, created_at) <= $2
                           AND (lease_expires_at IS NULL OR lease_expires_at <= $2)
                         ORDER BY COALESCE(next_attempt_at, created_at), id
                         LIMIT 16
                     ) AS head
                     JOIN callback_outbox AS o ON o.id = head.outbox_id
                     WHERE o.enqueued_until IS NULL OR o.enqueued_until <= $2
                 ) AS waiting
             ) AS events
             FROM webhook_endpoints AS e
             WHERE e.id IN (SELECT unhex(value) FROM json_each($1))
               AND e.is_active AND e.deleted_at IS NULL
               AND (e.open_until IS NULL OR e.open_until <= $2)"),
    );
    on!(tx, conn => query_as(sql)
        .bind(json_uuid::list(endpoints)).bind(now)
        .fetch_all(conn).await)
}

/// When the oldest event was recorded that somebody is still owed.
pub(crate) async fn oldest_pending(tx: &mut Tx) -> sqlx::Result<Option<DateTime<Utc>>> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT MIN(created_at) FROM callback_outbox WHERE status = 'pending'"))
        .fetch_one(conn).await)
}

/// Takes the enqueue slots of these events until `until`; returns the ones that were free.
pub(crate) async fn claim_slots(
    tx: &mut Tx,
    events: &[OutboxId],
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<HashSet<OutboxId>> {
    // Whoever has locked one is at it: the next tick is soon enough for what is left of it.
    let sql = both!(
        tx,
        "UPDATE callback_outbox
         SET enqueued_until = $2
         WHERE id ",
        is_one_of!(
            "SELECT o.id
             FROM ",
            ids!("$1"),
            " AS wanted ",
            look_up!(
                "callback_outbox" as "o" on "o.id = wanted.id",
                "OFFSET 0 FOR NO KEY UPDATE SKIP LOCKED"
            ),
            " WHERE o.status = 'pending' AND (o.enqueued_until IS NULL OR o.enqueued_until <= $3)"
        ),
        " RETURNING id"
    );
    let ids: Vec<OutboxId> = on!(tx, conn => query_scalar(sql)
        .bind(json_uuid::list(events)).bind(until).bind(now)
        .fetch_all(conn).await)?;
    Ok(ids.into_iter().collect())
}

/// Moves the slots that were claimed until `from`: on, once the jobs are in the queue, or to
/// the past, when they did not get there. A slot that was moved meanwhile is left alone.
pub(crate) async fn move_slots(
    tx: &mut Tx,
    events: &[OutboxId],
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = both!(
        tx,
        "UPDATE callback_outbox
         SET enqueued_until = $3
         WHERE id ",
        is_locked!("FOR NO KEY UPDATE" in "callback_outbox" by "id" where "enqueued_until = $2")
    );
    on!(tx, conn => query(sql).bind(json_uuid::list(events)).bind(from).bind(until)
        .execute(conn).await.map(|_| ()))
}

/// Frees the slots of every event that nobody is sending: the queue they were taken for is gone.
pub(crate) async fn free_all_slots(tx: &mut Tx, now: DateTime<Utc>) -> sqlx::Result<u64> {
    on!(tx, conn => query(sql!(
        "UPDATE callback_outbox
         SET enqueued_until = NULL
         WHERE status = 'pending' AND enqueued_until > $1 AND NOT EXISTS (
             SELECT 1
             FROM callback_deliveries AS d
             WHERE d.outbox_id = callback_outbox.id AND d.lease_expires_at > $1
         )"))
        .bind(now)
        .execute(conn).await.map(|done| done.rows_affected()))
}

/// Keeps the slots of events while their jobs run. One that somebody has locked is left alone: it
/// is being deleted, requeued, or sent.
pub(crate) async fn hold_slots(
    tx: &mut Tx,
    ids: &[OutboxId],
    until: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = both!(
        tx,
        "UPDATE callback_outbox
         SET enqueued_until = $2
         WHERE id ",
        is_one_of!(
            "SELECT id FROM callback_outbox WHERE id ",
            is_listed!("$1"),
            only_postgres!(" FOR NO KEY UPDATE SKIP LOCKED")
        )
    );
    on!(tx, conn => query(sql)
        .bind(json_uuid::list(ids)).bind(until)
        .execute(conn).await.map(|_| ()))
}

/// Locks events for the transaction, so that whoever writes to one of their deliveries sees how
/// the others stand; returns which were to be had. It waits for none: whoever deletes a webhook
/// may hold a great many of them for a while.
pub(crate) async fn lock_events(tx: &mut Tx, ids: &[OutboxId]) -> sqlx::Result<HashSet<OutboxId>> {
    let sql = both!(
        tx,
        "SELECT callback_outbox.id
         FROM callback_outbox
         WHERE id ",
        is_listed!("$1"),
        only_postgres!(" FOR NO KEY UPDATE SKIP LOCKED")
    );
    let locked: Vec<OutboxId> =
        on!(tx, conn => query_scalar(sql).bind(json_uuid::list(ids)).fetch_all(conn).await)?;
    Ok(locked.into_iter().collect())
}

/// Which of these events are there, whoever has locked them.
pub(crate) async fn there(tx: &mut Tx, ids: &[OutboxId]) -> sqlx::Result<HashSet<OutboxId>> {
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let sql = both!(
        tx,
        "SELECT o.id FROM callback_outbox AS o WHERE o.id ",
        is_listed!("$1")
    );
    let there: Vec<OutboxId> =
        on!(tx, conn => query_scalar(sql).bind(json_uuid::list(ids)).fetch_all(conn).await)?;
    Ok(there.into_iter().collect())
}

/// How an event stands whose job ends.
#[derive(Clone, Copy, Debug, FromRow)]
pub(crate) struct EndedEvent {
    pub(crate) id: OutboxId,
    pub(crate) status: CallbackStatus,
    pub(crate) next_retry_at: Option<DateTime<Utc>>,
}

/// Frees the slots of events; tells how they stand. One that somebody has locked is left out.
pub(crate) async fn free_slots(tx: &mut Tx, ids: &[OutboxId]) -> sqlx::Result<Vec<EndedEvent>> {
    let sql = both!(
        tx,
        "UPDATE callback_outbox
         SET enqueued_until = NULL
         WHERE id ",
        is_one_of!(
            "SELECT id FROM callback_outbox WHERE id ",
            is_listed!("$1"),
            only_postgres!(" FOR NO KEY UPDATE SKIP LOCKED")
        ),
        " RETURNING id, status, next_retry_at"
    );
    on!(tx, conn => query_as(sql).bind(json_uuid::list(ids)).fetch_all(conn).await)
}
