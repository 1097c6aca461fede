//! What ticks enqueue, and what the janitor forgets.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use jobs::StoreId;
use sqlx::{FromRow, query, query_as, query_scalar};
use uuid::Uuid;

use crate::db::{Tx, both, ids, is_locked, is_one_of, json_uuid, look_up, on, sql};

/// Puts rows that have waited for too long first in line, the oldest first; returns the store of
/// each. Rows that wait on purpose are left alone.
pub(crate) async fn age_rows(
    tx: &mut Tx,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<StoreId>> {
    let sql = both!(
        tx,
        "UPDATE stock_update_queue
         SET priority = 100, updated_at = $2
         WHERE id ",
        is_one_of!(
            "SELECT q.id
             FROM (
                 SELECT id
                 FROM stock_update_queue
                 WHERE processed_at IS NULL AND priority < 100 AND created_at < $1
                   AND next_attempt_at <= $2
                 ORDER BY created_at, id
                 LIMIT $3
             ) AS aged ",
            look_up!(
                "stock_update_queue" as "q" on "q.id = aged.id AND q.processed_at IS NULL",
                "FOR UPDATE SKIP LOCKED"
            )
        ),
        " RETURNING store_id"
    );
    on!(tx, conn => query_scalar(sql)
        .bind(before).bind(now).bind(limit)
        .fetch_all(conn).await)
}

/// A store, and what there is to do for it.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct Look {
    pub(crate) id: StoreId,
    pub(crate) organization_id: String,
    pub(crate) created_at: DateTime<Utc>,
    /// Something is due, and its marketplace may be told or need not be.
    pub(crate) is_due: bool,
    /// Something has been due for too long.
    pub(crate) is_delayed: bool,
    /// It is to be compared with its marketplace.
    pub(crate) is_to_be_reconciled: bool,
}

/// A page of stores behind a place, in the order they were registered, and what there is to do for
/// each: one look into an index a question, however much waits.
///
/// What waits for too long is urgent by then ([`age_rows`]). Each question is for the first row of
/// an index: PostgreSQL answers `EXISTS` for many stores with all that waits in any, and SQLite
/// would find what is delayed by when it is due, were that not negated.
pub(crate) async fn looks(
    tx: &mut Tx,
    after: (DateTime<Utc>, Uuid),
    overdue_before: DateTime<Utc>,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<Look>> {
    on!(tx, conn => query_as(sql!(
        "SELECT s.id, s.organization_id, s.created_at,
             (
                 m.store_id IS NULL OR (
                     (m.push_enqueued_until IS NULL OR m.push_enqueued_until <= $4)
                     AND (
                         m.backoff_until IS NULL OR m.backoff_until <= $4
                         OR NOT (s.is_active AND s.send_stock AND s.stock_push_mode = 'LIVE')
                     )
                 )
             ) AND (
                 SELECT q.next_attempt_at
                 FROM stock_update_queue AS q
                 WHERE q.store_id = s.id AND q.processed_at IS NULL AND q.next_attempt_at <= $4
                 ORDER BY q.next_attempt_at
                 LIMIT 1
             ) IS NOT NULL AS is_due,
             (
                 SELECT q.created_at
                 FROM stock_update_queue AS q
                 WHERE q.store_id = s.id AND q.processed_at IS NULL AND q.priority = 100
                   AND q.created_at < $3 AND NOT q.next_attempt_at > $4
                 ORDER BY q.created_at
                 LIMIT 1
             ) IS NOT NULL AS is_delayed,
             COALESCE(
                 m.reconcile_requested_at IS NOT NULL AND (
                     m.reconcile_enqueued_until IS NULL OR m.reconcile_enqueued_until <= $4
                 ), FALSE) AS is_to_be_reconciled
         FROM stores AS s
         LEFT JOIN marketplace_rate_limits AS m ON m.store_id = s.id
         WHERE (s.created_at, s.id) > ($1, $2)
         ORDER BY s.created_at, s.id
         LIMIT $5"))
        .bind(after.0).bind(after.1).bind(overdue_before).bind(now).bind(limit)
        .fetch_all(conn).await)
}

/// The statements of the slots of a job of stores: which column has them, and whether a run holds
/// one, is written differently.
macro_rules! slots {
    ($claim:ident, $shift:ident, $free_all:ident, $column:literal, $idle:literal) => {
        /// Takes the enqueue slots of these stores until `until`; returns the ones that were free.
        pub(crate) async fn $claim(
            tx: &mut Tx,
            stores: &[StoreId],
            until: DateTime<Utc>,
            now: DateTime<Utc>,
        ) -> sqlx::Result<HashSet<StoreId>> {
            // In the order of ids, so that two passes at once cannot wait for each other.
            let sql = both!(
                tx,
                "INSERT INTO marketplace_rate_limits AS m (store_id, ", $column, ",
                     created_at, updated_at)
                 SELECT s.id, $2, $3, $3
                 FROM ",
                ids!("$1"),
                " AS wanted ",
                look_up!("stores" as "s" on "s.id = wanted.id"),
                " WHERE TRUE
                 ORDER BY s.id
                 ON CONFLICT (store_id) DO UPDATE
                 SET ", $column, " = excluded.", $column, "
                 WHERE m.", $column, " IS NULL OR m.", $column, " <= $3
                 RETURNING store_id"
            );
            let free: Vec<StoreId> = on!(tx, conn => query_scalar(sql)
                .bind(json_uuid::list(stores)).bind(until).bind(now)
                .fetch_all(conn).await)?;
            Ok(free.into_iter().collect())
        }

        /// Moves the slots that were claimed until `from`.
        pub(crate) async fn $shift(
            tx: &mut Tx,
            stores: &[StoreId],
            from: DateTime<Utc>,
            until: DateTime<Utc>,
        ) -> sqlx::Result<()> {
            let sql = both!(
                tx,
                "UPDATE marketplace_rate_limits
                 SET ", $column, " = $3
                 WHERE store_id ",
                is_locked!("FOR UPDATE" in "marketplace_rate_limits" by "store_id" where $column " = $2")
            );
            on!(tx, conn => query(sql).bind(json_uuid::list(stores)).bind(from).bind(until)
                .execute(conn).await.map(|_| ()))
        }

        /// Frees the slots of all stores: the queue they were taken for is gone.
        pub(crate) async fn $free_all(tx: &mut Tx, now: DateTime<Utc>) -> sqlx::Result<u64> {
            on!(tx, conn => query(sql!(concat!(
                "UPDATE marketplace_rate_limits
                 SET ", $column, " = NULL
                 WHERE ", $column, " > $1", $idle)))
                .bind(now)
                .execute(conn).await.map(|done| done.rows_affected()))
        }
    };
}

slots!(
    claim_push_slots,
    move_push_slots,
    free_all_push_slots,
    "push_enqueued_until",
    " AND (lease_until IS NULL OR lease_until <= $1)"
);
slots!(
    claim_reconcile_slots,
    move_reconcile_slots,
    free_all_reconcile_slots,
    "reconcile_enqueued_until",
    ""
);

/// Frees the slot of the comparison of a store.
pub(crate) async fn free_reconcile_slot(tx: &mut Tx, store_id: StoreId) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE marketplace_rate_limits SET reconcile_enqueued_until = NULL WHERE store_id = $1"))
        .bind(store_id)
        .execute(conn).await.map(|_| ()))
}

/// Forgets rows that were closed before an instant; tells how many of at most `limit`.
pub(crate) async fn purge_rows(
    tx: &mut Tx,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<u64> {
    let sql = both!(
        tx,
        "DELETE FROM stock_update_queue
         WHERE id ",
        is_one_of!(
            "SELECT q.id
             FROM stock_update_queue AS q
             WHERE q.processed_at IS NOT NULL AND q.processed_at < $1
             ORDER BY q.processed_at, q.id
             LIMIT $2"
        )
    );
    on!(tx, conn => query(sql).bind(before).bind(limit)
        .execute(conn).await.map(|done| done.rows_affected()))
}

/// Forgets pushes of before an instant, with their items.
pub(crate) async fn purge_pushes(
    tx: &mut Tx,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<u64> {
    let sql = both!(
        tx,
        "DELETE FROM stock_pushes
         WHERE id ",
        is_one_of!(
            "SELECT p.id
             FROM stock_pushes AS p
             WHERE p.created_at < $1
             ORDER BY p.created_at, p.id
             LIMIT $2"
        )
    );
    on!(tx, conn => query(sql).bind(before).bind(limit)
        .execute(conn).await.map(|done| done.rows_affected()))
}

/// Forgets logged requests of before an instant.
pub(crate) async fn purge_logs(
    tx: &mut Tx,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<u64> {
    let sql = both!(
        tx,
        "DELETE FROM api_logs
         WHERE id ",
        is_one_of!(
            "SELECT l.id
             FROM api_logs AS l
             WHERE l.created_at < $1
             ORDER BY l.created_at, l.id
             LIMIT $2"
        )
    );
    on!(tx, conn => query(sql).bind(before).bind(limit)
        .execute(conn).await.map(|done| done.rows_affected()))
}
