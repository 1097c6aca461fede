//! Pushes whose results are awaited, and those that nobody knows the outcome of.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use jobs::{PushId, StoreId};
use sqlx::{FromRow, query, query_as, query_scalar};

use crate::db::{Tx, both, is_locked, json_uuid, on, sql};
use crate::stock::model::{ItemState, PairState, ProductId, PushState, Reason};

/// A push whose results are awaited.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct Awaited {
    pub(crate) id: PushId,
    pub(crate) store_id: StoreId,
    pub(crate) state: PushState,
    pub(crate) external_batch_id: Option<String>,
    pub(crate) item_count: i32,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) next_poll_at: Option<DateTime<Utc>>,
    pub(crate) polls: i32,
}

/// A push, as far as its results go.
pub(crate) async fn awaited(tx: &mut Tx, id: PushId) -> sqlx::Result<Option<Awaited>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, store_id, state, external_batch_id, item_count, created_at, expires_at,
             next_poll_at, polls
         FROM stock_pushes
         WHERE id = $1"))
        .bind(id)
        .fetch_optional(conn).await)
}

/// An item that was sent, and how its pair stands by now.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct SentItem {
    pub(crate) element_no: i32,
    pub(crate) product_id: ProductId,
    pub(crate) external_sku: Option<String>,
    pub(crate) external_barcode: Option<String>,
    pub(crate) external_listing_id: Option<String>,
    pub(crate) external_location_id: Option<String>,
    pub(crate) sent_quantity: i64,
    pub(crate) reason: Option<Reason>,
    pub(crate) priority: Option<i32>,
    pub(crate) in_flight_push_id: Option<PushId>,
    pub(crate) last_pushed_quantity: Option<i64>,
    pub(crate) reject_count: i32,
    pub(crate) push_state: PairState,
    /// When the row was written that said it had to be sent.
    pub(crate) queued_at: Option<DateTime<Utc>>,
}

/// The statement of [`sent_items`] and [`open_items`].
macro_rules! items_where {
    ($which:literal) => {
        concat!(
            "SELECT i.element_no, i.product_id, i.external_sku, i.external_barcode,
                 i.external_listing_id, i.external_location_id, i.sent_quantity, i.reason,
                 i.priority, ps.in_flight_push_id, ps.last_pushed_quantity,
                 COALESCE(ps.reject_count, 0) AS reject_count,
                 COALESCE(ps.push_state, 'OK') AS push_state, q.created_at AS queued_at
             FROM stock_push_items AS i
             LEFT JOIN product_stores AS ps
                 ON ps.store_id = $2 AND ps.product_id = i.product_id
             LEFT JOIN stock_update_queue AS q ON q.id = i.queue_id
             WHERE i.push_id = $1",
            $which,
            " ORDER BY i.element_no"
        )
    };
}

/// The items of a push, in the order they were sent.
pub(crate) async fn sent_items(
    tx: &mut Tx,
    push_id: PushId,
    store_id: StoreId,
) -> sqlx::Result<Vec<SentItem>> {
    on!(tx, conn => query_as(sql!(items_where!("")))
        .bind(push_id).bind(store_id)
        .fetch_all(conn).await)
}

/// The items of a push behind one that nobody knows the outcome of, and that the marketplace was
/// not asked about.
pub(crate) async fn open_items(
    tx: &mut Tx,
    push_id: PushId,
    store_id: StoreId,
    after: i32,
    limit: i64,
) -> sqlx::Result<Vec<SentItem>> {
    on!(tx, conn => query_as(sql!(concat!(
        items_where!(
            " AND i.element_no > $3 AND i.state IN ('SENT', 'UNKNOWN') AND i.errors IS NULL"
        ), " LIMIT $4")))
        .bind(push_id).bind(store_id).bind(after).bind(limit)
        .fetch_all(conn).await)
}

/// How many items of a push there are of each state.
pub(crate) async fn item_states(
    tx: &mut Tx,
    push_id: PushId,
) -> sqlx::Result<Vec<(ItemState, i64)>> {
    on!(tx, conn => query_as(sql!(
        "SELECT state, COUNT(*) FROM stock_push_items WHERE push_id = $1 GROUP BY state"))
        .bind(push_id)
        .fetch_all(conn).await)
}

/// How the results of a push stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Results {
    pub(crate) state: PushState,
    /// None: as before.
    pub(crate) failed_item_count: Option<i32>,
    pub(crate) confirmed_at: Option<DateTime<Utc>>,
    /// When it is looked again; none: there is nothing more to learn.
    pub(crate) next_poll_at: Option<DateTime<Utc>>,
    pub(crate) polls: i32,
    pub(crate) error: Option<String>,
}

/// Writes how the results of a push stand, unless somebody else did since it was looked at, and
/// frees its slot; tells which.
pub(crate) async fn note_results(
    tx: &mut Tx,
    seen: &Awaited,
    results: &Results,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "UPDATE stock_pushes
         SET state = $4, failed_item_count = COALESCE($5, failed_item_count),
             confirmed_at = COALESCE($6, confirmed_at),
             next_poll_at = $7, polls = $8, error = COALESCE($9, error), enqueued_until = NULL,
             updated_at = $10
         WHERE id = $1 AND state = $2 AND polls = $3"))
        .bind(seen.id).bind(seen.state).bind(seen.polls).bind(results.state)
        .bind(results.failed_item_count).bind(results.confirmed_at).bind(results.next_poll_at)
        .bind(results.polls).bind(&results.error).bind(now)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}

/// Lets the next tick enqueue the job of a push.
pub(crate) async fn free_slot(tx: &mut Tx, id: PushId) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!("UPDATE stock_pushes SET enqueued_until = NULL WHERE id = $1"))
        .bind(id)
        .execute(conn).await.map(|_| ()))
}

/// Pushes whose next look is due and whose job neither waits nor runs, the longest due first.
pub(crate) async fn due_looks(
    tx: &mut Tx,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<PushId>> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT id
         FROM stock_pushes
         WHERE next_poll_at <= $1 AND (enqueued_until IS NULL OR enqueued_until <= $1)
         ORDER BY next_poll_at, id
         LIMIT $2"))
        .bind(now).bind(limit)
        .fetch_all(conn).await)
}

/// Takes the enqueue slots of these pushes until `until`; returns the ones that were free.
pub(crate) async fn claim_slots(
    tx: &mut Tx,
    pushes: &[PushId],
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<HashSet<PushId>> {
    let sql = both!(
        tx,
        "UPDATE stock_pushes
         SET enqueued_until = $2
         WHERE id ",
        is_locked!(
            "FOR UPDATE" in "stock_pushes" by "id" where
            "(enqueued_until IS NULL OR enqueued_until <= $3)"
        ),
        " RETURNING id"
    );
    let ids: Vec<PushId> = on!(tx, conn => query_scalar(sql)
        .bind(json_uuid::list(pushes)).bind(until).bind(now)
        .fetch_all(conn).await)?;
    Ok(ids.into_iter().collect())
}

/// Moves the slots that were claimed until `from`.
pub(crate) async fn move_slots(
    tx: &mut Tx,
    pushes: &[PushId],
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = both!(
        tx,
        "UPDATE stock_pushes
         SET enqueued_until = $3
         WHERE id ",
        is_locked!("FOR UPDATE" in "stock_pushes" by "id" where "enqueued_until = $2")
    );
    on!(tx, conn => query(sql).bind(json_uuid::list(pushes)).bind(from).bind(until)
        .execute(conn).await.map(|_| ()))
}

/// Frees the slots of all pushes: the queue they were taken for is gone.
pub(crate) async fn free_all_slots(tx: &mut Tx, now: DateTime<Utc>) -> sqlx::Result<u64> {
    on!(tx, conn => query(sql!(
        "UPDATE stock_pushes
         SET enqueued_until = NULL
         WHERE next_poll_at IS NOT NULL AND enqueued_until > $1"))
        .bind(now)
        .execute(conn).await.map(|done| done.rows_affected()))
}
