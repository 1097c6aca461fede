//! Resyncs that were asked for, and how far they came.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use jobs::StoreId;
use sqlx::{FromRow, query, query_as, query_scalar};
use uuid::Uuid;

use crate::db::{Tx, on, sql};
use crate::stock::model::ProductId;

/// Notes that a store is to be resynced, from its first product on. One that is to tell only what
/// may differ takes nothing away from one that is to tell everything.
pub(crate) async fn request(
    tx: &mut Tx,
    store_id: StoreId,
    only_differing: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "INSERT INTO marketplace_rate_limits AS l (store_id, resync_requested_at,
             resync_only_differing, created_at, updated_at)
         VALUES ($1, $2, $3, $2, $2)
         ON CONFLICT (store_id) DO UPDATE
         SET resync_requested_at = excluded.resync_requested_at,
             resync_only_differing = excluded.resync_only_differing
                 AND (l.resync_requested_at IS NULL OR l.resync_only_differing),
             resync_after = NULL, updated_at = excluded.updated_at"))
        .bind(store_id).bind(now).bind(only_differing)
        .execute(conn).await.map(|_| ()))
}

/// A resync that was asked for.
#[derive(Clone, Copy, Debug, FromRow)]
pub(crate) struct Request {
    pub(crate) requested_at: DateTime<Utc>,
    /// Whether only what may differ is told.
    pub(crate) only_differing: bool,
    /// Behind which product it goes on; none: from the first on.
    pub(crate) after: Option<Uuid>,
}

/// What is left to do of a store's resync, if one was asked for.
pub(crate) async fn request_of(tx: &mut Tx, store_id: StoreId) -> sqlx::Result<Option<Request>> {
    on!(tx, conn => query_as(sql!(
        "SELECT resync_requested_at AS requested_at, resync_only_differing AS only_differing,
             resync_after AS after
         FROM marketplace_rate_limits
         WHERE store_id = $1 AND resync_requested_at IS NOT NULL"))
        .bind(store_id)
        .fetch_optional(conn).await)
}

/// The products that a store lists, behind one, in their order.
pub(crate) async fn listed_products(
    tx: &mut Tx,
    store_id: StoreId,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<ProductId>> {
    // Said so that PostgreSQL does not go through the products of all stores, in their order.
    on!(tx, conn => query_scalar(sql!(
        "SELECT product_id
         FROM product_stores
         WHERE (store_id, product_id) > ($1, $2) AND store_id <= $1 AND is_listed
         ORDER BY store_id, product_id
         LIMIT $3"))
        .bind(store_id).bind(after).bind(limit)
        .fetch_all(conn).await)
}

/// Notes how far a resync came; tells whether it is still the one that was asked for, at the place
/// where this page began.
pub(crate) async fn advance(
    tx: &mut Tx,
    store_id: StoreId,
    request: Request,
    after: ProductId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "UPDATE marketplace_rate_limits
         SET resync_after = $5, updated_at = $6
         WHERE store_id = $1 AND resync_requested_at = $2 AND resync_only_differing = $3
           AND resync_after IS NOT DISTINCT FROM $4"))
        .bind(store_id).bind(request.requested_at).bind(request.only_differing)
        .bind(request.after).bind(after).bind(now)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}

/// Notes that a resync is done, and frees its slot; tells the same.
pub(crate) async fn finish(
    tx: &mut Tx,
    store_id: StoreId,
    request: Request,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "UPDATE marketplace_rate_limits
         SET resync_requested_at = NULL, resync_only_differing = TRUE, resync_after = NULL,
             resync_enqueued_until = NULL, updated_at = $5
         WHERE store_id = $1 AND resync_requested_at = $2 AND resync_only_differing = $3
           AND resync_after IS NOT DISTINCT FROM $4"))
        .bind(store_id).bind(request.requested_at).bind(request.only_differing)
        .bind(request.after).bind(now)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}

/// Stores whose resync was asked for and whose job neither waits nor runs, the longest first.
pub(crate) async fn requested(
    tx: &mut Tx,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<StoreId>> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT store_id
         FROM marketplace_rate_limits
         WHERE resync_requested_at IS NOT NULL
           AND (resync_enqueued_until IS NULL OR resync_enqueued_until <= $1)
         ORDER BY resync_requested_at, store_id
         LIMIT $2"))
        .bind(now).bind(limit)
        .fetch_all(conn).await)
}

/// Takes the slots of the jobs of these stores until `until`; returns the ones that were free.
pub(crate) async fn claim_slots(
    tx: &mut Tx,
    stores: &[StoreId],
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<HashSet<StoreId>> {
    // One by one, for they are few.
    let mut stores = stores.to_vec();
    stores.sort_unstable_by_key(|store| store.0);
    let mut free = HashSet::new();
    for store_id in stores {
        let is_free = on!(&mut *tx, conn => query(sql!(
            "UPDATE marketplace_rate_limits
             SET resync_enqueued_until = $2
             WHERE store_id = $1
               AND (resync_enqueued_until IS NULL OR resync_enqueued_until <= $3)"))
            .bind(store_id).bind(until).bind(now)
            .execute(conn).await.map(|done| done.rows_affected() == 1))?;
        if is_free {
            free.insert(store_id);
        }
    }
    Ok(free)
}

/// Moves the slots that were claimed until `from`.
pub(crate) async fn move_slots(
    tx: &mut Tx,
    stores: &[StoreId],
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> sqlx::Result<()> {
    let mut stores = stores.to_vec();
    stores.sort_unstable_by_key(|store| store.0);
    for store_id in stores {
        on!(&mut *tx, conn => query(sql!(
            "UPDATE marketplace_rate_limits
             SET resync_enqueued_until = $3
             WHERE store_id = $1 AND resync_enqueued_until = $2"))
            .bind(store_id).bind(from).bind(until)
            .execute(conn).await.map(|_| ()))?;
    }
    Ok(())
}

/// Frees the slot of the job of a store.
pub(crate) async fn free_slot(tx: &mut Tx, store_id: StoreId) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE marketplace_rate_limits SET resync_enqueued_until = NULL WHERE store_id = $1"))
        .bind(store_id)
        .execute(conn).await.map(|_| ()))
}

/// Frees all slots: the queue they were taken for is gone.
pub(crate) async fn free_all_slots(tx: &mut Tx, now: DateTime<Utc>) -> sqlx::Result<u64> {
    on!(tx, conn => query(sql!(
        "UPDATE marketplace_rate_limits
         SET resync_enqueued_until = NULL
         WHERE resync_enqueued_until > $1"))
        .bind(now)
        .execute(conn).await.map(|done| done.rows_affected()))
}
