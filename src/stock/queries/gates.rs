//! What is known of a store's marketplace: its limits, the lease of its run, what was spent.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use jobs::StoreId;
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{FromRow, query, query_as};
use uuid::Uuid;

use crate::db::{Tx, both, is_one_of, on, only_postgres, sql};
use crate::lease::LeaseTable;
use crate::marketplace::model::Marketplace;
use crate::stock::model::{GateReason, QueueId};

/// What decides whether the marketplace of a store may be told something.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub(crate) struct Limits {
    /// When it was told something last.
    pub(crate) last_sent_at: Option<DateTime<Utc>>,
    /// When the window after a run ends.
    pub(crate) window_opens_at: Option<DateTime<Utc>>,
    /// Until when it is left in peace, and why.
    pub(crate) backoff_until: Option<DateTime<Utc>>,
    pub(crate) backoff_reason: Option<GateReason>,
    /// Requests that came to nothing, since the last that did not.
    pub(crate) consecutive_failures: i32,
    /// Items of a request, while their number is halved, and successes since.
    pub(crate) batch_limit: Option<i32>,
    pub(crate) batch_successes: i32,
    /// The rows of a refused request of which one is bad.
    pub(crate) suspects: Option<Json<Vec<QueueId>>>,
    /// The day of the marketplace, and what it was told on it.
    pub(crate) daily_date: Option<NaiveDate>,
    pub(crate) daily_used: i64,
    /// When each kind of event was told.
    pub(crate) told_events: Json<HashMap<String, DateTime<Utc>>>,
    /// Pushes that the marketplace has not said the results of, as far as that is known.
    pub(crate) outstanding: i64,
    /// Pushes whose run died.
    pub(crate) abandoned: i64,
}

/// The columns of [`Limits`]; `$1` is the store, `$2` since when a push of unknown outcome counts
/// as outstanding.
macro_rules! limits {
    () => {
        "last_sent_at, window_opens_at, backoff_until, backoff_reason, consecutive_failures,
             batch_limit, batch_successes, suspects, daily_date, daily_used, told_events, (
                 SELECT COUNT(*)
                 FROM stock_pushes AS p
                 WHERE p.store_id = $1 AND p.state IN ('SENDING', 'ACCEPTED', 'UNKNOWN')
                   AND (p.state = 'ACCEPTED' OR (
                       p.state = 'UNKNOWN' AND p.sent_at > $2 AND p.next_poll_at IS NOT NULL))
             ) AS outstanding, (
                 SELECT COUNT(*)
                 FROM stock_pushes AS p
                 WHERE p.store_id = $1 AND p.state IN ('SENDING', 'ACCEPTED', 'UNKNOWN')
                   AND p.state = 'SENDING'
             ) AS abandoned"
    };
}

/// What is known of the marketplace of a store whose lease was taken.
pub(crate) async fn limits(
    tx: &mut Tx,
    store_id: StoreId,
    unknown_since: DateTime<Utc>,
) -> sqlx::Result<Option<Limits>> {
    on!(tx, conn => query_as(sql!(concat!(
        "SELECT ", limits!(), " FROM marketplace_rate_limits WHERE store_id = $1")))
        .bind(store_id).bind(unknown_since)
        .fetch_optional(conn).await)
}

/// Writes what a run learned of the marketplace, renews its lease, and tells how the marketplace
/// stands; none when the lease is somebody else's: the fence of the transaction.
///
/// `backoff_until` is only ever moved: one that was moved by somebody else meanwhile stays, unless
/// the run has one of its own.
pub(crate) async fn fence(
    tx: &mut Tx,
    store_id: StoreId,
    lease: Uuid,
    lease_until: DateTime<Utc>,
    learned: &Limits,
    unknown_since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Limits>> {
    on!(tx, conn => query_as(sql!(concat!(
        "UPDATE marketplace_rate_limits
         SET lease_until = $4, push_enqueued_until = $4, last_sent_at = $5, window_opens_at = $6,
             backoff_until = COALESCE($7, backoff_until),
             backoff_reason = COALESCE($8, backoff_reason), consecutive_failures = $9,
             batch_limit = $10, batch_successes = $11, suspects = $12, daily_date = $13,
             daily_used = $14, updated_at = $15
         WHERE store_id = $1 AND lease_token = $3
         RETURNING ", limits!())))
        .bind(store_id).bind(unknown_since).bind(lease).bind(lease_until)
        .bind(learned.last_sent_at).bind(learned.window_opens_at).bind(learned.backoff_until)
        .bind(learned.backoff_reason).bind(learned.consecutive_failures)
        .bind(learned.batch_limit).bind(learned.batch_successes).bind(&learned.suspects)
        .bind(learned.daily_date).bind(learned.daily_used).bind(now)
        .fetch_optional(conn).await)
}

/// Leaves all stores of a marketplace in peace: it counts the requests of an address.
pub(crate) async fn back_off_all(
    tx: &mut Tx,
    marketplace: Marketplace,
    until: DateTime<Utc>,
    reason: GateReason,
) -> sqlx::Result<u64> {
    // Always in the same order, so that two who do it do not wait for each other.
    let sql = both!(
        tx,
        "UPDATE marketplace_rate_limits
         SET backoff_until = $2, backoff_reason = $3
         WHERE store_id ",
        is_one_of!(
            "SELECT l.store_id
             FROM marketplace_rate_limits AS l
             JOIN stores AS s ON s.id = l.store_id
             WHERE s.marketplace = $1 AND (l.backoff_until IS NULL OR l.backoff_until < $2)
             ORDER BY l.store_id",
            only_postgres!(" FOR UPDATE OF l")
        )
    );
    on!(tx, conn => query(sql)
        .bind(marketplace).bind(until).bind(reason)
        .execute(conn).await.map(|done| done.rows_affected()))
}

/// Opens the gate of a store that its marketplace did not let in.
pub(crate) async fn open_auth(tx: &mut Tx, store_id: StoreId) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE marketplace_rate_limits
         SET backoff_until = NULL, backoff_reason = NULL
         WHERE store_id = $1 AND backoff_reason = 'AUTH'"))
        .bind(store_id)
        .execute(conn).await.map(|_| ()))
}

/// A bucket to take a token of: how many it holds, and how many come back in a second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Spent {
    pub(crate) key: String,
    pub(crate) burst: f64,
    pub(crate) rate: f64,
}

/// Takes a token of each bucket, and tells how many are left: with less than none the caller has
/// to roll back.
pub(crate) async fn take_tokens(
    tx: &mut Tx,
    buckets: &[Spent],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<(String, f64)>> {
    // In the order of keys, so that two who share some do not wait for each other.
    let sql = tx.pick(
        sql!(postgres:
            "INSERT INTO rate_buckets AS b (bucket_key, tokens, refilled_at)
             SELECT w.key, w.burst - 1, CAST($2 AS TIMESTAMPTZ)
             FROM jsonb_to_recordset($1) AS w (key TEXT, burst DOUBLE PRECISION)
             ORDER BY w.key
             ON CONFLICT (bucket_key) DO UPDATE
             SET tokens = (
                     SELECT LEAST(w.burst, b.tokens + w.rate * GREATEST(
                         CAST(EXTRACT(EPOCH FROM excluded.refilled_at - b.refilled_at)
                             AS DOUBLE PRECISION), 0)) - 1
                     FROM jsonb_to_recordset($1)
                         AS w (key TEXT, burst DOUBLE PRECISION, rate DOUBLE PRECISION)
                     WHERE w.key = b.bucket_key
                 ),
                 refilled_at = GREATEST(b.refilled_at, excluded.refilled_at)
             RETURNING bucket_key, tokens"),
        sql!(sqlite:
            "INSERT INTO rate_buckets AS b (bucket_key, tokens, refilled_at)
             SELECT value ->> 'key', (value ->> 'burst') - 1, $2
             FROM json_each($1)
             WHERE TRUE
             ON CONFLICT (bucket_key) DO UPDATE
             SET tokens = (
                     SELECT MIN(w.value ->> 'burst', b.tokens + (w.value ->> 'rate') * MAX(
                         (julianday(excluded.refilled_at) - julianday(b.refilled_at)) * 86400.0,
                         0)) - 1
                     FROM json_each($1) AS w
                     WHERE w.value ->> 'key' = b.bucket_key
                 ),
                 refilled_at = MAX(b.refilled_at, excluded.refilled_at)
             RETURNING bucket_key, tokens"),
    );
    on!(tx, conn => query_as(sql).bind(Json(buckets)).bind(now).fetch_all(conn).await)
}

/// Frees the leases whose time was up before, so that nobody takes a dead run for a living one.
pub(crate) async fn clear_expired_leases(tx: &mut Tx, before: DateTime<Utc>) -> sqlx::Result<u64> {
    on!(tx, conn => query(sql!(
        "UPDATE marketplace_rate_limits
         SET lease_token = NULL, lease_until = NULL
         WHERE lease_until <= $1"))
        .bind(before)
        .execute(conn).await.map(|done| done.rows_affected()))
}

/// Frees the enqueue slot of a store that no run holds.
pub(crate) async fn free_push_slot(
    tx: &mut Tx,
    store_id: StoreId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE marketplace_rate_limits
         SET push_enqueued_until = NULL
         WHERE store_id = $1 AND (lease_until IS NULL OR lease_until <= $2)"))
        .bind(store_id).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// The lease of a store's run. While a run holds it, the store counts as enqueued; when it ends,
/// what is left is counted.
pub(crate) fn push_lease() -> LeaseTable {
    LeaseTable {
        take: sql!(
            "INSERT INTO marketplace_rate_limits AS m (store_id, lease_token, lease_until,
                 push_enqueued_until, created_at, updated_at)
             SELECT id, $2, $3, $3, $4, $4
             FROM stores
             WHERE id = $1
             ON CONFLICT (store_id) DO UPDATE
             SET lease_token = excluded.lease_token, lease_until = excluded.lease_until,
                 push_enqueued_until = excluded.push_enqueued_until
             WHERE m.lease_until IS NULL OR m.lease_until <= $4"
        ),
        renew: sql!(
            "UPDATE marketplace_rate_limits
             SET lease_until = $3, push_enqueued_until = $3
             WHERE store_id = $1 AND lease_token = $2"
        ),
        release: sql!(
            "UPDATE marketplace_rate_limits
             SET lease_token = NULL, lease_until = NULL, push_enqueued_until = NULL,
                 pending_count = (
                     SELECT COUNT(*)
                     FROM stock_update_queue AS q
                     WHERE q.store_id = $1 AND q.processed_at IS NULL
                 )
             WHERE store_id = $1 AND lease_token = $2"
        ),
    }
}
