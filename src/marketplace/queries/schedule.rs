//! Which stores are due, and their enqueue slots.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use jobs::StoreId;
use sqlx::{FromRow, query, query_as, query_scalar};
use uuid::Uuid;

use crate::db::{Tx, both, is_locked, json_uuid, on, sql};

/// A store that has something due.
#[derive(Clone, Debug, FromRow)]
pub struct DueStore {
    /// Its id.
    pub id: StoreId,
    /// Whose store it is.
    pub organization_id: String,
    /// Orders stores, with the id.
    pub created_at: DateTime<Utc>,
    /// Until when its job waits or runs, if it does.
    pub enqueued_until: Option<DateTime<Utc>>,
    /// When it was last attempted.
    pub last_sync_at: Option<DateTime<Utc>>,
}

/// The instants that decide whether a store is due.
#[derive(Clone, Copy, Debug)]
pub struct DueAt {
    /// Now.
    pub now: DateTime<Utc>,
    /// A store that was attempted later than this is left in peace …
    pub throttle: DateTime<Utc>,
    /// … unless a row has been due since before this.
    pub overdue: DateTime<Utc>,
}

/// A page of due stores behind the cursor, in the order they were registered.
///
/// A row is due since its retry time or, if it has none, since it is there. The oldest of a store
/// is one look into `sync_logs_due_idx`, however many rows the store has.
pub async fn due_stores(
    tx: &mut Tx,
    after: (DateTime<Utc>, Uuid),
    due: DueAt,
    limit: u32,
) -> sqlx::Result<Vec<DueStore>> {
    on!(tx, conn => query_as(sql!(
        "SELECT d.id, d.organization_id, d.created_at, d.enqueued_until, d.last_sync_at
         FROM (
             SELECT s.id, s.created_at, s.organization_id, s.enqueued_until, s.last_sync_at, (
                 SELECT COALESCE(l.next_retry_at, l.created_at)
                 FROM sync_logs AS l
                 WHERE l.store_id = s.id AND l.status <> 'success' AND l.dead_at IS NULL
                 ORDER BY COALESCE(l.next_retry_at, l.created_at)
                 LIMIT 1
             ) AS due_since
             FROM stores AS s
             WHERE (s.created_at, s.id) > ($1, $2)
               AND (s.paused_until IS NULL OR s.paused_until <= $3)
               AND s.paused_at IS NULL
         ) AS d
         WHERE d.due_since <= $3
           AND (d.last_sync_at IS NULL OR d.last_sync_at < $4 OR d.due_since < $5)
         ORDER BY d.created_at, d.id
         LIMIT $6"))
        .bind(after.0).bind(after.1).bind(due.now).bind(due.throttle).bind(due.overdue)
        .bind(i64::from(limit))
        .fetch_all(conn).await)
}

/// Takes the enqueue slots of these stores until `until`; returns the ones that were free.
pub async fn claim_slots(
    tx: &mut Tx,
    stores: &[StoreId],
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<HashSet<StoreId>> {
    let sql = both!(
        tx,
        "UPDATE stores
         SET enqueued_until = $2
         WHERE id ",
        is_locked!(
            "FOR UPDATE" in "stores" by "id" where
            "(enqueued_until IS NULL OR enqueued_until <= $3)"
        ),
        " RETURNING id"
    );
    let ids: Vec<StoreId> = on!(tx, conn => query_scalar(sql)
        .bind(json_uuid::list(stores)).bind(until).bind(now)
        .fetch_all(conn).await)?;
    Ok(ids.into_iter().collect())
}

/// Moves the slots that were claimed until `from`: on, once the jobs are in the queue, or to
/// the past, when they did not get there. A slot that a run holds by now is left alone.
pub async fn move_slots(
    tx: &mut Tx,
    stores: &[StoreId],
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = both!(
        tx,
        "UPDATE stores
         SET enqueued_until = $3
         WHERE id ",
        is_locked!("FOR UPDATE" in "stores" by "id" where "enqueued_until = $2")
    );
    on!(tx, conn => query(sql).bind(json_uuid::list(stores)).bind(from).bind(until)
        .execute(conn).await.map(|_| ()))
}

/// Frees the slots of every store that no run holds: the queue they were taken for is gone.
pub async fn free_all_slots(tx: &mut Tx, now: DateTime<Utc>) -> sqlx::Result<u64> {
    on!(tx, conn => query(sql!(
        "UPDATE stores
         SET enqueued_until = NULL
         WHERE enqueued_until > $1 AND (lease_expires_at IS NULL OR lease_expires_at <= $1)"))
        .bind(now)
        .execute(conn).await.map(|done| done.rows_affected()))
}
