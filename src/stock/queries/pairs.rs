//! What a marketplace was told of the products of a store, and what it is known to show of them.
//!
//! Pairs are locked in the order in which they are given; who gives them sorted by product waits
//! for nobody who does the same.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use jobs::{PushId, StoreId};
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{query, query_scalar};

use crate::db::{Tx, both, ids, json_instant, json_uuid, on, rows};
use crate::stock::model::{PairState, ProductId, QueueId};

/// Where the pairs of the store `$1` are that a list `t` names, one row each: PostgreSQL locks them
/// in the order of the list before it finds them.
macro_rules! of_list {
    (postgres $list:ident ! ($($argument:tt)*)) => {
        concat!(
            " FROM ",
            $list!(postgres $($argument)*),
            " AS t
             CROSS JOIN LATERAL (
                 SELECT store_id, product_id
                 FROM product_stores
                 WHERE store_id = $1 AND product_id = t.product_id
                 FOR NO KEY UPDATE
             ) AS locked
             WHERE product_stores.store_id = locked.store_id
               AND product_stores.product_id = locked.product_id"
        )
    };
    (sqlite $list:ident ! ($($argument:tt)*)) => {
        concat!(
            " FROM ",
            $list!(sqlite $($argument)*),
            " AS t
             WHERE product_stores.store_id = $1 AND product_stores.product_id = t.product_id"
        )
    };
}

/// SQLite would otherwise read all of a store for each pair of a list.
macro_rules! by_product {
    (postgres) => {
        ""
    };
    (sqlite) => {
        " INDEXED BY product_stores_product_id_idx"
    };
}

/// A pair that is about to be told, or was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Told {
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) product_id: ProductId,
    pub(crate) quantity: i64,
}

/// Notes that pairs are about to be told: what the marketplace shows is not known from here on.
pub(crate) async fn mark_sending(
    tx: &mut Tx,
    store_id: StoreId,
    push_id: PushId,
    pairs: &[Told],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = both!(
        tx,
        "UPDATE product_stores",
        by_product!(),
        " SET last_confirmed_quantity = NULL, last_pushed_quantity = t.quantity,
             last_pushed_at = $3, in_flight_push_id = $4, updated_at = $3",
        of_list!(rows!("$2", product_id UUID, quantity BIGINT))
    );
    on!(tx, conn => query(sql)
        .bind(store_id).bind(Json(pairs)).bind(now).bind(push_id)
        .execute(conn).await.map(|done| done.rows_affected()))
}

/// How a pair stood before it was told in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Before {
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) product_id: ProductId,
    pub(crate) last_confirmed_quantity: Option<i64>,
    pub(crate) last_pushed_quantity: Option<i64>,
    #[serde(serialize_with = "json_instant::option")]
    pub(crate) last_pushed_at: Option<DateTime<Utc>>,
}

/// Takes back that pairs were told: the marketplace took nothing of the push.
pub(crate) async fn take_back(
    tx: &mut Tx,
    store_id: StoreId,
    push_id: PushId,
    pairs: &[Before],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = both!(
        tx,
        "UPDATE product_stores",
        by_product!(),
        " SET last_confirmed_quantity = t.last_confirmed_quantity,
             last_pushed_quantity = t.last_pushed_quantity, last_pushed_at = t.last_pushed_at,
             in_flight_push_id = NULL, updated_at = $3",
        of_list!(rows!("$2", product_id UUID, last_confirmed_quantity BIGINT,
            last_pushed_quantity BIGINT, last_pushed_at TIMESTAMPTZ)),
        " AND product_stores.in_flight_push_id IS NOT DISTINCT FROM $4"
    );
    on!(tx, conn => query(sql)
        .bind(store_id).bind(Json(pairs)).bind(now).bind(push_id)
        .execute(conn).await.map(|done| done.rows_affected()))
}

/// How a pair stands after a push of it came to something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PairEnd {
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) product_id: ProductId,
    /// What the marketplace is known to show, if it is known.
    pub(crate) confirmed: Option<i64>,
    pub(crate) reject_count: i32,
    pub(crate) push_state: PairState,
    pub(crate) error_code: Option<String>,
    pub(crate) error_message: Option<String>,
    /// When a blocked one is tried again.
    #[serde(serialize_with = "json_instant::option")]
    pub(crate) blocked_until: Option<DateTime<Utc>>,
}

/// Writes how pairs stand after a push; those that were told something newer meanwhile are left
/// alone. Returns the ones that were not.
pub(crate) async fn end_pairs(
    tx: &mut Tx,
    store_id: StoreId,
    push_id: PushId,
    pairs: &[PairEnd],
    now: DateTime<Utc>,
) -> sqlx::Result<HashSet<ProductId>> {
    let sql = both!(
        tx,
        "UPDATE product_stores",
        by_product!(),
        " SET last_confirmed_quantity = t.confirmed,
             last_confirmed_at = CASE WHEN t.confirmed IS NULL THEN product_stores.last_confirmed_at
                                      ELSE $3 END,
             in_flight_push_id = NULL, reject_count = t.reject_count, push_state = t.push_state,
             push_error_code = t.error_code, push_error_message = t.error_message,
             blocked_until = t.blocked_until, updated_at = $3",
        of_list!(
            rows!("$2", product_id UUID, confirmed BIGINT, reject_count INTEGER,
            push_state TEXT, error_code TEXT, error_message TEXT, blocked_until TIMESTAMPTZ)
        ),
        " AND product_stores.in_flight_push_id IS NOT DISTINCT FROM $4
         RETURNING product_stores.product_id"
    );
    let ended: Vec<ProductId> = on!(tx, conn => query_scalar(sql)
        .bind(store_id).bind(Json(pairs)).bind(now).bind(push_id)
        .fetch_all(conn).await)?;
    Ok(ended.into_iter().collect())
}

/// A pair that cannot be told, because of the row that says it has to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Unnamed {
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) product_id: ProductId,
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) queue_id: QueueId,
    pub(crate) version: i64,
}

/// Blocks pairs that the marketplace has no name for, until somebody gives them one: unless
/// somebody just did, which the row tells.
pub(crate) async fn block_unnamed(
    tx: &mut Tx,
    store_id: StoreId,
    pairs: &[Unnamed],
    code: &str,
    message: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = both!(
        tx,
        "UPDATE product_stores",
        by_product!(),
        " SET push_state = 'BLOCKED', push_error_code = $3, push_error_message = $4,
             blocked_until = NULL, updated_at = $5",
        of_list!(rows!("$2", product_id UUID, queue_id UUID, version BIGINT)),
        " AND (
              SELECT q.version
              FROM stock_update_queue AS q
              WHERE q.id = t.queue_id AND q.processed_at IS NULL
          ) = t.version"
    );
    on!(tx, conn => query(sql)
        .bind(store_id).bind(Json(pairs)).bind(code).bind(message).bind(now)
        .execute(conn).await.map(|done| done.rows_affected()))
}

/// What the marketplace was seen to show of a pair, and how the pair stood before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Observed {
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) product_id: ProductId,
    /// How many the marketplace shows.
    pub(crate) shown: Option<i64>,
    /// Whether the pair is pushed from now on; none: as before.
    pub(crate) push_state: Option<PairState>,
    /// What there is to say of the listing; none: as before.
    pub(crate) error_code: Option<String>,
    pub(crate) error_message: Option<String>,
    #[serde(serialize_with = "json_uuid::option")]
    pub(crate) in_flight_push_id: Option<PushId>,
    #[serde(serialize_with = "json_instant::option")]
    pub(crate) last_pushed_at: Option<DateTime<Utc>>,
    pub(crate) last_confirmed_quantity: Option<i64>,
}

/// Writes what the marketplace was seen to show, of pairs that nobody told anything meanwhile;
/// returns these.
pub(crate) async fn observe(
    tx: &mut Tx,
    store_id: StoreId,
    pairs: &[Observed],
    now: DateTime<Utc>,
) -> sqlx::Result<HashSet<ProductId>> {
    let sql = both!(
        tx,
        "UPDATE product_stores",
        by_product!(),
        " SET last_confirmed_quantity = t.shown, last_confirmed_at = $3,
             in_flight_push_id = NULL, push_state = COALESCE(t.push_state, product_stores.push_state),
             push_error_code = CASE WHEN t.push_state = 'OK' THEN t.error_code
                 ELSE COALESCE(t.error_code, product_stores.push_error_code) END,
             push_error_message = CASE WHEN t.push_state = 'OK' THEN t.error_message
                 ELSE COALESCE(t.error_message, product_stores.push_error_message) END,
             blocked_until = CASE WHEN t.push_state IS NULL THEN product_stores.blocked_until END,
             updated_at = $3",
        of_list!(rows!("$2", product_id UUID, shown BIGINT, push_state TEXT, error_code TEXT,
            error_message TEXT, in_flight_push_id UUID, last_pushed_at TIMESTAMPTZ,
            last_confirmed_quantity BIGINT)),
        " AND product_stores.in_flight_push_id IS NOT DISTINCT FROM t.in_flight_push_id
          AND product_stores.last_pushed_at IS NOT DISTINCT FROM t.last_pushed_at
          AND product_stores.last_confirmed_quantity IS NOT DISTINCT FROM t.last_confirmed_quantity
         RETURNING product_stores.product_id"
    );
    let seen: Vec<ProductId> = on!(tx, conn => query_scalar(sql)
        .bind(store_id).bind(Json(pairs)).bind(now)
        .fetch_all(conn).await)?;
    Ok(seen.into_iter().collect())
}

/// Forgets what the marketplace is believed to show of pairs, and that they wait for a push.
pub(crate) async fn doubt(
    tx: &mut Tx,
    store_id: StoreId,
    push_id: PushId,
    products: &[ProductId],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = both!(
        tx,
        "UPDATE product_stores",
        by_product!(),
        " SET last_confirmed_quantity = NULL,
             in_flight_push_id = NULLIF(product_stores.in_flight_push_id, $3), updated_at = $4",
        of_list!(ids!("$2" as product_id))
    );
    on!(tx, conn => query(sql)
        .bind(store_id).bind(json_uuid::list(products)).bind(push_id).bind(now)
        .execute(conn).await.map(|done| done.rows_affected()))
}

/// Lets pairs that wait for a push wait no longer; what the marketplace shows of them is not known.
pub(crate) async fn let_go(
    tx: &mut Tx,
    store_id: StoreId,
    push_id: PushId,
    products: &[ProductId],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = both!(
        tx,
        "UPDATE product_stores",
        by_product!(),
        " SET in_flight_push_id = NULL, updated_at = $4",
        of_list!(ids!("$2" as product_id)),
        " AND product_stores.in_flight_push_id IS NOT DISTINCT FROM $3"
    );
    on!(tx, conn => query(sql)
        .bind(store_id).bind(json_uuid::list(products)).bind(push_id).bind(now)
        .execute(conn).await.map(|done| done.rows_affected()))
}
