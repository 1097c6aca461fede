//! Pushes that nobody knows the outcome of, because their run died or because the answer did not
//! say.

use chrono::{DateTime, Utc};
use jobs::{PushId, StoreId};
use sqlx::{query, query_as, query_scalar};

use crate::db::{Tx, both, is_one_of, look_up, on, sql};
use crate::stock::model::ProductId;

/// The pushes of a store whose run died.
pub(crate) async fn abandoned_pushes(
    tx: &mut Tx,
    store_id: StoreId,
    limit: i64,
) -> sqlx::Result<Vec<PushId>> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT id
         FROM stock_pushes
         WHERE store_id = $1 AND state IN ('SENDING', 'ACCEPTED', 'UNKNOWN') AND state = 'SENDING'
         ORDER BY id
         LIMIT $2"))
        .bind(store_id).bind(limit)
        .fetch_all(conn).await)
}

/// Pushes of runs that died before an instant, whose stores no run holds.
pub(crate) async fn forgotten_pushes(
    tx: &mut Tx,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<(PushId, StoreId)>> {
    // From what is on the way, which is little: said so that no index of all pushes is of use.
    on!(tx, conn => query_as(sql!(
        "SELECT p.id, p.store_id
         FROM stock_pushes AS p
         WHERE p.state IN ('SENDING', 'ACCEPTED', 'UNKNOWN') AND p.state = 'SENDING'
           AND COALESCE(p.created_at < $1, TRUE) AND COALESCE((
               SELECT m.lease_until <= $2
               FROM marketplace_rate_limits AS m
               WHERE m.store_id = p.store_id
           ), TRUE)
         ORDER BY p.store_id, p.id
         LIMIT $3"))
        .bind(before).bind(now).bind(limit)
        .fetch_all(conn).await)
}

/// The products of a push, and how urgent they were, in the order of products.
pub(crate) async fn products_of(tx: &mut Tx, push_id: PushId) -> sqlx::Result<Vec<ProductId>> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT product_id FROM stock_push_items WHERE push_id = $1 ORDER BY product_id"))
        .bind(push_id)
        .fetch_all(conn).await)
}

/// Notes that nobody knows the outcome of a push, and when the marketplace is asked what it shows;
/// tells whether that is news.
pub(crate) async fn lose_push(
    tx: &mut Tx,
    id: PushId,
    error: &str,
    next_poll_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "UPDATE stock_pushes
         SET state = 'UNKNOWN', error = $2, next_poll_at = $3, updated_at = $4
         WHERE id = $1 AND state IN ('SENDING', 'UNKNOWN')"))
        .bind(id).bind(error).bind(next_poll_at).bind(now)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}

/// Notes that a push of unknown outcome arrived after all: the marketplace has refused to take the
/// same again. It has no name for it there, so that the marketplace is asked what it shows.
pub(crate) async fn find_push(
    tx: &mut Tx,
    id: PushId,
    next_poll_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "UPDATE stock_pushes
         SET state = 'ACCEPTED', accepted_at = $4, next_poll_at = $2, expires_at = $3,
             updated_at = $4
         WHERE id = $1 AND state IN ('SENDING', 'UNKNOWN')"))
        .bind(id).bind(next_poll_at).bind(expires_at).bind(now)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}

/// Closes the rows that a push carried and that nobody enqueued since; tells how many.
pub(crate) async fn close_carried_rows(
    tx: &mut Tx,
    push_id: PushId,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = both!(
        tx,
        "UPDATE stock_update_queue
         SET processed_at = $2, outcome = 'SENT', push_id = $1, last_error = NULL,
             updated_at = $2
         WHERE id ",
        is_one_of!(
            "SELECT q.id
             FROM (
                 SELECT queue_id, queue_version
                 FROM stock_push_items
                 WHERE push_id = $1
                 ORDER BY product_id
             ) AS carried ",
            look_up!(
                "stock_update_queue" as "q" on
                "q.id = carried.queue_id AND q.version = carried.queue_version
                 AND q.processed_at IS NULL",
                "FOR UPDATE"
            )
        )
    );
    on!(tx, conn => query(sql).bind(push_id).bind(now)
        .execute(conn).await.map(|done| done.rows_affected()))
}

/// The last push of a request whose outcome is not known, other than one, since an instant.
pub(crate) async fn unknown_push(
    tx: &mut Tx,
    store_id: StoreId,
    body_sha256: &str,
    other_than: PushId,
    since: DateTime<Utc>,
) -> sqlx::Result<Option<PushId>> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT id
         FROM stock_pushes
         WHERE store_id = $1 AND body_sha256 = $2 AND sent_at > $3 AND id <> $4
           AND state IN ('SENDING', 'UNKNOWN')
         ORDER BY sent_at DESC
         LIMIT 1"))
        .bind(store_id).bind(body_sha256).bind(since).bind(other_than)
        .fetch_optional(conn).await)
}
