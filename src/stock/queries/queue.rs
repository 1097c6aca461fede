//! What marketplaces have to be told.

use chrono::{DateTime, Utc};
use jobs::{PushId, StoreId};
use sqlx::{FromRow, query, query_as};

use crate::db::{Tx, both, ids, json_uuid, look_up, on, sql};
use crate::http::page::Cursor;
use crate::ids::id_prefix;
use crate::stock::model::{ProductId, QueueId, QueueOutcome, Reason};
use crate::stock::rejections::{BLOCKED_PAUSE, BLOCKED_RETRY};

/// What is put into the queue, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    /// Where.
    pub(crate) store_id: StoreId,
    /// What changed.
    pub(crate) products: &'a [ProductId],
    /// Whether the sets that contain them changed with them.
    pub(crate) with_sets: bool,
    /// Why.
    pub(crate) reason: Reason,
    /// Whether it is sent even if the marketplace is believed to show it.
    pub(crate) force: bool,
}

/// A product of a store has one row that waits. One that is there already tells the newest, and
/// keeps its reason and its priority unless the new one is more urgent; what follows says when it
/// is due.
macro_rules! unless_it_waits {
    ($dialect:ident) => {
        " ON CONFLICT (product_id, store_id) WHERE processed_at IS NULL DO UPDATE
         SET version = q.version + 1,
             reason = CASE WHEN excluded.priority > q.priority THEN excluded.reason
                           ELSE q.reason END,
             priority = CASE WHEN excluded.priority > q.priority THEN excluded.priority
                             ELSE q.priority END,
             force = q.force OR excluded.force,
             last_enqueued_at = excluded.last_enqueued_at, updated_at = excluded.updated_at,
             next_attempt_at ="
    };
}
pub(crate) use unless_it_waits;

/// The id of a row: a new one for each row, in the order in which they are made, for $7 begins it.
macro_rules! row_id {
    (postgres) => {
        "CAST($7 || SUBSTR(CAST(gen_random_uuid() AS TEXT), 16) AS UUID)"
    };
    (sqlite) => {
        "unhex($7 || SUBSTR(HEX(RANDOMBLOB(2)), 2) || SUBSTR('89AB', 1 + (RANDOM() & 3), 1)
             || SUBSTR(HEX(RANDOMBLOB(8)), 2))"
    };
}

/// Now, where PostgreSQL cannot tell that it is an instant.
macro_rules! now {
    (postgres) => {
        "CAST($6 AS TIMESTAMPTZ)"
    };
    (sqlite) => {
        "$6"
    };
}

/// Puts products, where they are listed in the store, into its queue, or makes the row that waits
/// there tell the newest: one pending row a pair. Tells how many rows were touched.
///
/// The rows are written in the order of their products, so that two who enqueue the same do not
/// wait for each other.
///
/// A row that is due stays as due as it is. One that is not due yet is due now, with two
/// exceptions. One of a blocked pair that was tried within the pause, which is when it was sent
/// last or when it was blocked, is due after the pause. And one of a pair whose last push has no
/// results yet is held by the store's run: it stays held, unless it has become more urgent, for
/// the run holds the urgent ones less long. (That is asked for by the key of the pair: `EXISTS`
/// would read the index of everything that is on the way.)
pub(crate) async fn upsert(tx: &mut Tx, entry: Entry<'_>, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let sql = both!(
        tx,
        "INSERT INTO stock_update_queue AS q (id, product_id, store_id, reason, priority, force,
             last_enqueued_at, next_attempt_at, created_at, updated_at)
         SELECT ",
        row_id!(),
        ", pair.product_id, pair.store_id, $3, $4, $5, $6,
             CASE WHEN pair.push_state = 'BLOCKED'
                      AND (pair.last_pushed_at > $9 OR pair.blocked_until > $10)
                  THEN $11 ELSE ",
        now!(),
        " END, $6, $6
         FROM (
             SELECT changed.id
             FROM ",
        ids!("$2"),
        " AS changed
             UNION
             SELECT sets.set_product_id
             FROM ",
        ids!("$2"),
        " AS changed ",
        look_up!(
            "product_set_items" as "sets" on "sets.component_product_id = changed.id AND $8"
        ),
        " ) AS affected ",
        look_up!(
            "product_stores" as "pair" on
            "pair.store_id = $1 AND pair.product_id = affected.id"
        ),
        " WHERE pair.is_listed
         ORDER BY pair.product_id",
        unless_it_waits!(),
        " CASE
                 WHEN q.next_attempt_at <= excluded.next_attempt_at THEN q.next_attempt_at
                 WHEN excluded.priority <= q.priority AND (
                     SELECT held.in_flight_push_id
                     FROM product_stores AS held
                     WHERE held.store_id = q.store_id AND held.product_id = q.product_id
                 ) IS NOT NULL THEN q.next_attempt_at
                 ELSE excluded.next_attempt_at END"
    );
    on!(tx, conn => query(sql)
        .bind(entry.store_id).bind(json_uuid::list(entry.products)).bind(entry.reason)
        .bind(entry.reason.priority()).bind(entry.force).bind(now).bind(id_prefix(now))
        .bind(entry.with_sets).bind(now - BLOCKED_PAUSE)
        .bind(now + BLOCKED_RETRY - BLOCKED_PAUSE).bind(now + BLOCKED_PAUSE)
        .execute(conn).await.map(|done| done.rows_affected()))
}

/// A row of the queue.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct QueueRow {
    pub(crate) id: QueueId,
    pub(crate) product_id: ProductId,
    pub(crate) store_id: StoreId,
    pub(crate) reason: Reason,
    pub(crate) priority: i32,
    pub(crate) version: i64,
    pub(crate) force: bool,
    pub(crate) attempts: i32,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) last_enqueued_at: DateTime<Utc>,
    pub(crate) next_attempt_at: DateTime<Utc>,
    pub(crate) processed_at: Option<DateTime<Utc>>,
    pub(crate) outcome: Option<QueueOutcome>,
    pub(crate) push_id: Option<PushId>,
    pub(crate) last_error: Option<String>,
}

/// Which rows of a store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowFilter {
    pub(crate) product_id: Option<ProductId>,
    pub(crate) reason: Option<Reason>,
    /// Only those that are older.
    pub(crate) before: DateTime<Utc>,
    /// Only those that are not.
    pub(crate) from: DateTime<Utc>,
}

impl RowFilter {
    fn is_for_all(&self) -> bool {
        self.product_id.is_none() && self.reason.is_none()
    }
}

/// The rows of a store before the cursor, the newest first: those that are done, or those that are
/// not; of a product or for a reason, or all. Those that want all say so in another text:
/// PostgreSQL believes that hardly a row passes a filter that may be absent, and would read and
/// sort everything.
macro_rules! rows_of {
    ($which:literal, $filter:literal) => {
        concat!(
            "SELECT id, product_id, store_id, reason, priority, version, force, attempts,
                 created_at, last_enqueued_at, next_attempt_at, processed_at, outcome, push_id,
                 last_error
             FROM stock_update_queue
             WHERE store_id = $1 AND processed_at IS ",
            $which,
            " AND (created_at, id) < ($2, $3) AND created_at >= $4 AND created_at < $5",
            $filter,
            "
             ORDER BY created_at DESC, id DESC
             LIMIT $6"
        )
    };
    ($which:literal) => {
        rows_of!(
            $which,
            "
               AND (CAST($7 AS UUID) IS NULL OR product_id = $7)
               AND (CAST($8 AS TEXT) IS NULL OR reason = $8)"
        )
    };
}

/// The rows of a store that wait, before the cursor, the newest first.
pub(crate) async fn pending_rows(
    tx: &mut Tx,
    store_id: StoreId,
    cursor: Cursor,
    filter: RowFilter,
    limit: i64,
) -> sqlx::Result<Vec<QueueRow>> {
    if filter.is_for_all() {
        return on!(tx, conn => query_as(sql!(rows_of!("NULL", "")))
            .bind(store_id).bind(cursor.at).bind(cursor.id).bind(filter.from)
            .bind(filter.before).bind(limit)
            .fetch_all(conn).await);
    }
    on!(tx, conn => query_as(sql!(rows_of!("NULL")))
        .bind(store_id).bind(cursor.at).bind(cursor.id).bind(filter.from).bind(filter.before)
        .bind(limit).bind(filter.product_id).bind(filter.reason)
        .fetch_all(conn).await)
}

/// The rows of a store that are done, before the cursor, the newest first.
pub(crate) async fn processed_rows(
    tx: &mut Tx,
    store_id: StoreId,
    cursor: Cursor,
    filter: RowFilter,
    limit: i64,
) -> sqlx::Result<Vec<QueueRow>> {
    if filter.is_for_all() {
        return on!(tx, conn => query_as(sql!(rows_of!("NOT NULL", "")))
            .bind(store_id).bind(cursor.at).bind(cursor.id).bind(filter.from)
            .bind(filter.before).bind(limit)
            .fetch_all(conn).await);
    }
    on!(tx, conn => query_as(sql!(rows_of!("NOT NULL")))
        .bind(store_id).bind(cursor.at).bind(cursor.id).bind(filter.from).bind(filter.before)
        .bind(limit).bind(filter.product_id).bind(filter.reason)
        .fetch_all(conn).await)
}

/// What waits of a store, of one priority.
#[derive(Clone, Copy, Debug, FromRow)]
pub(crate) struct Waiting {
    pub(crate) store_id: StoreId,
    pub(crate) priority: i32,
    pub(crate) pending: i64,
    pub(crate) overdue: i64,
    pub(crate) oldest_at: DateTime<Utc>,
}

/// What waits of an organization's stores; what is older than `overdue_before` has waited for
/// too long.
pub(crate) async fn waiting(
    tx: &mut Tx,
    organization_id: &str,
    overdue_before: DateTime<Utc>,
) -> sqlx::Result<Vec<Waiting>> {
    on!(tx, conn => query_as(sql!(
        "SELECT q.store_id, q.priority, COUNT(*) AS pending,
             COUNT(CASE WHEN q.created_at < $2 THEN 1 END) AS overdue,
             MIN(q.created_at) AS oldest_at
         FROM stores AS s
         JOIN stock_update_queue AS q ON q.store_id = s.id AND q.processed_at IS NULL
         WHERE s.organization_id = $1
         GROUP BY q.store_id, q.priority"))
        .bind(organization_id).bind(overdue_before)
        .fetch_all(conn).await)
}
