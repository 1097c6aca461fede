//! Comparing a store with its marketplace: what was asked for, how far it came, what was found.

use chrono::{DateTime, Utc};
use jobs::StoreId;
use sqlx::{FromRow, query, query_as, query_scalar};

use crate::db::{Tx, both, ids, json_uuid, look_up, on, sql};
use crate::stock::model::ProductId;

/// Notes that a store is to be compared with its marketplace, from its first product on.
pub(crate) async fn request(
    tx: &mut Tx,
    store_id: StoreId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "INSERT INTO marketplace_rate_limits (store_id, reconcile_requested_at, created_at,
             updated_at)
         VALUES ($1, $2, $2, $2)
         ON CONFLICT (store_id) DO UPDATE
         SET reconcile_requested_at = excluded.reconcile_requested_at, reconcile_after = NULL,
             updated_at = excluded.updated_at"))
        .bind(store_id).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// Notes the same of the live stores behind one, in their order, unless it was asked for already;
/// returns them.
pub(crate) async fn request_of_live_stores(
    tx: &mut Tx,
    after: StoreId,
    limit: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<StoreId>> {
    on!(tx, conn => query_scalar(sql!(
        "INSERT INTO marketplace_rate_limits AS m (store_id, reconcile_requested_at, created_at,
             updated_at)
         SELECT live.id, $3, $3, $3
         FROM (
             SELECT id
             FROM stores
             WHERE id > $1 AND is_active AND send_stock AND stock_push_mode = 'LIVE'
             ORDER BY id
             LIMIT $2
         ) AS live
         WHERE TRUE
         ON CONFLICT (store_id) DO UPDATE
         SET reconcile_requested_at =
                 COALESCE(m.reconcile_requested_at, excluded.reconcile_requested_at),
             updated_at = excluded.updated_at
         RETURNING store_id"))
        .bind(after).bind(limit).bind(now)
        .fetch_all(conn).await)
}

/// A comparison that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct Request {
    pub(crate) requested_at: DateTime<Utc>,
    /// Behind which product it goes on; none: from the first on.
    pub(crate) after: Option<ProductId>,
}

/// What is left to compare of a store, if that was asked for.
pub(crate) async fn request_of(tx: &mut Tx, store_id: StoreId) -> sqlx::Result<Option<Request>> {
    on!(tx, conn => query_as(sql!(
        "SELECT reconcile_requested_at AS requested_at, reconcile_after AS after
         FROM marketplace_rate_limits
         WHERE store_id = $1 AND reconcile_requested_at IS NOT NULL"))
        .bind(store_id)
        .fetch_optional(conn).await)
}

/// What a page came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PageEnd {
    /// Sets that were looked at, and those that were right.
    pub(crate) sets_checked: i64,
    pub(crate) sets_accurate: i64,
    /// Whether the marketplace showed something else than it was told.
    pub(crate) has_drifted: bool,
}

/// Notes how far a comparison came; tells whether it is still the one that was asked for, at the
/// place where this page began.
pub(crate) async fn advance(
    tx: &mut Tx,
    store_id: StoreId,
    request: Request,
    after: ProductId,
    page: PageEnd,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    // The figures are those of this comparison from its first page on.
    on!(tx, conn => query(sql!(
        "UPDATE marketplace_rate_limits
         SET reconcile_after = $4,
             sets_checked = CASE WHEN reconcile_after IS NULL THEN $5 ELSE sets_checked + $5 END,
             sets_accurate = CASE WHEN reconcile_after IS NULL THEN $6
                                  ELSE sets_accurate + $6 END,
             drifted_at = CASE WHEN $7 THEN $8 ELSE drifted_at END,
             updated_at = $8
         WHERE store_id = $1 AND reconcile_requested_at = $2
           AND reconcile_after IS NOT DISTINCT FROM $3"))
        .bind(store_id).bind(request.requested_at).bind(request.after).bind(after)
        .bind(page.sets_checked).bind(page.sets_accurate).bind(page.has_drifted).bind(now)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}

/// Ends a comparison, unless it was asked for anew meanwhile, and frees its slot. `is_whole` tells
/// whether it came to the end of the store.
pub(crate) async fn finish(
    tx: &mut Tx,
    store_id: StoreId,
    requested_at: DateTime<Utc>,
    is_whole: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE marketplace_rate_limits
         SET reconcile_requested_at = NULL, reconcile_after = NULL,
             reconcile_enqueued_until = NULL,
             reconciled_at = CASE WHEN $3 THEN $4 ELSE reconciled_at END,
             updated_at = $4
         WHERE store_id = $1 AND reconcile_requested_at = $2"))
        .bind(store_id).bind(requested_at).bind(is_whole).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// The products that a store lists, behind one, in their order.
pub(crate) async fn listed_products(
    tx: &mut Tx,
    store_id: StoreId,
    after: Option<ProductId>,
    limit: i64,
) -> sqlx::Result<Vec<ProductId>> {
    let after = after.map_or(uuid::Uuid::nil(), uuid::Uuid::from);
    on!(tx, conn => query_scalar(sql!(
        "SELECT ps.product_id
         FROM product_stores AS ps
         WHERE ps.store_id = $1 AND ps.product_id > $2 AND ps.is_listed
         ORDER BY ps.product_id
         LIMIT $3"))
        .bind(store_id).bind(after).bind(limit)
        .fetch_all(conn).await)
}

/// Which of these products have a row that waits.
pub(crate) async fn pending_products(
    tx: &mut Tx,
    store_id: StoreId,
    products: &[ProductId],
) -> sqlx::Result<Vec<ProductId>> {
    let sql = both!(
        tx,
        "SELECT q.product_id
         FROM ",
        ids!("$2"),
        " AS wanted ",
        look_up!(
            "stock_update_queue" as "q" on
            "q.product_id = wanted.id AND q.store_id = $1 AND q.processed_at IS NULL"
        )
    );
    on!(tx, conn => query_scalar(sql)
        .bind(store_id).bind(json_uuid::list(products))
        .fetch_all(conn).await)
}

/// A component of a set, and how many of it a store can sell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct Component {
    pub(crate) set_product_id: ProductId,
    /// How many of it a set has.
    pub(crate) quantity: i64,
    pub(crate) sellable_quantity: Option<i64>,
}

/// What these sets are made of.
pub(crate) async fn components_of(
    tx: &mut Tx,
    store_id: StoreId,
    sets: &[ProductId],
) -> sqlx::Result<Vec<Component>> {
    let sql = both!(
        tx,
        "SELECT i.set_product_id, i.quantity, ps.sellable_quantity
         FROM ",
        ids!("$2"),
        " AS wanted ",
        look_up!("product_set_items" as "i" on "i.set_product_id = wanted.id"),
        " LEFT JOIN product_stores AS ps
              ON ps.store_id = $1 AND ps.product_id = i.component_product_id"
    );
    on!(tx, conn => query_as(sql)
        .bind(store_id).bind(json_uuid::list(sets))
        .fetch_all(conn).await)
}

/// Products of a store that could be told once more without harm: listed, confirmed, and nothing
/// of them waits; behind one product, in their order.
pub(crate) async fn companions(
    tx: &mut Tx,
    store_id: StoreId,
    after: ProductId,
    limit: i64,
) -> sqlx::Result<Vec<ProductId>> {
    // Asked for by the key of each: PostgreSQL would read all that waits for an anti-join.
    on!(tx, conn => query_scalar(sql!(
        "SELECT ps.product_id
         FROM product_stores AS ps
         WHERE ps.store_id = $1 AND ps.product_id > $2 AND ps.is_listed AND ps.push_state = 'OK'
           AND ps.in_flight_push_id IS NULL AND ps.last_confirmed_quantity IS NOT NULL
           AND COALESCE((
               SELECT FALSE
               FROM stock_update_queue AS q
               WHERE q.product_id = ps.product_id AND q.store_id = ps.store_id
                 AND q.processed_at IS NULL
           ), TRUE)
         ORDER BY ps.product_id
         LIMIT $3"))
        .bind(store_id).bind(after).bind(limit)
        .fetch_all(conn).await)
}
