//! Where products are sold, and how many there are.

use chrono::{DateTime, Utc};
use jobs::{PushId, StoreId};
use sqlx::{FromRow, query, query_as};
use uuid::Uuid;

use super::quantities::quantity_in;
use crate::db::{Tx, both, on, only_postgres, sql};
use crate::marketplace::model::Marketplace;
use crate::stock::model::{PairState, ProductId, ProductType};

/// How a store sells a product.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct Listing {
    /// Whether it does.
    pub(crate) is_listed: bool,
    /// What the marketplace calls the product.
    pub(crate) external_sku: Option<String>,
    pub(crate) external_barcode: Option<String>,
    pub(crate) external_listing_id: Option<String>,
    pub(crate) external_location_id: Option<String>,
}

/// Gives a product a row in a store, with nothing to sell and not listed, unless it has one.
pub(crate) async fn insert_pair(
    tx: &mut Tx,
    store_id: StoreId,
    product_id: ProductId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "INSERT INTO product_stores (store_id, product_id, is_listed, created_at, updated_at)
         VALUES ($1, $2, FALSE, $3, $3)
         ON CONFLICT (store_id, product_id) DO NOTHING"))
        .bind(store_id).bind(product_id).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// How a store sells a product; nobody else changes it until the transaction ends.
pub(crate) async fn lock_listing(
    tx: &mut Tx,
    store_id: StoreId,
    product_id: ProductId,
) -> sqlx::Result<Option<Listing>> {
    // SQLite has one writer anyway.
    let sql = both!(
        tx,
        "SELECT is_listed, external_sku, external_barcode, external_listing_id,
             external_location_id
         FROM product_stores
         WHERE store_id = $1 AND product_id = $2",
        only_postgres!(" FOR UPDATE")
    );
    on!(tx, conn => query_as(sql).bind(store_id).bind(product_id).fetch_optional(conn).await)
}

/// Writes how a store sells a product.
pub(crate) async fn update_listing(
    tx: &mut Tx,
    store_id: StoreId,
    product_id: ProductId,
    listing: &Listing,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE product_stores
         SET is_listed = $3, external_sku = $4, external_barcode = $5, external_listing_id = $6,
             external_location_id = $7, updated_at = $8
         WHERE store_id = $1 AND product_id = $2"))
        .bind(store_id).bind(product_id).bind(listing.is_listed)
        .bind(&listing.external_sku).bind(&listing.external_barcode)
        .bind(&listing.external_listing_id).bind(&listing.external_location_id).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// Takes a product in a store for one that the marketplace has never been told of: nothing is
/// known of what it shows, nothing is awaited, and nothing speaks against telling it.
pub(crate) async fn begin_anew(
    tx: &mut Tx,
    store_id: StoreId,
    product_id: ProductId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE product_stores
         SET last_confirmed_quantity = NULL, last_confirmed_at = NULL, in_flight_push_id = NULL,
             push_state = 'OK', push_error_code = NULL, push_error_message = NULL,
             blocked_until = NULL, reject_count = 0, updated_at = $3
         WHERE store_id = $1 AND product_id = $2"))
        .bind(store_id).bind(product_id).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// Lets a product be told to the marketplace of a store again; tells whether it has a row there.
pub(crate) async fn unblock(
    tx: &mut Tx,
    store_id: StoreId,
    product_id: ProductId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "UPDATE product_stores
         SET push_state = 'OK', push_error_code = NULL, push_error_message = NULL,
             blocked_until = NULL, reject_count = 0, updated_at = $3
         WHERE store_id = $1 AND product_id = $2"))
        .bind(store_id).bind(product_id).bind(now)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}

/// How many of a product a store has, and what its marketplace was told.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct Level {
    pub(crate) store_id: StoreId,
    /// Of the store.
    pub(crate) marketplace: Marketplace,
    pub(crate) product_id: ProductId,
    pub(crate) name: String,
    pub(crate) product_type: ProductType,
    #[sqlx(flatten)]
    pub(crate) listing: Listing,
    pub(crate) sellable_quantity: i64,
    pub(crate) committed_quantity: i64,
    /// How many can be sold; of a set, how many its components make.
    pub(crate) effective_quantity: i64,
    pub(crate) last_pushed_quantity: Option<i64>,
    pub(crate) last_pushed_at: Option<DateTime<Utc>>,
    pub(crate) last_confirmed_quantity: Option<i64>,
    pub(crate) last_confirmed_at: Option<DateTime<Utc>>,
    pub(crate) in_flight_push_id: Option<PushId>,
    /// Whether the marketplace has still to be told something.
    pub(crate) is_pending: bool,
    pub(crate) push_state: PairState,
    pub(crate) push_error_code: Option<String>,
    pub(crate) push_error_message: Option<String>,
    pub(crate) blocked_until: Option<DateTime<Utc>>,
    pub(crate) reject_count: i32,
}

/// The levels of some rows of `product_stores`, which are `ps`, and of their products, `p`.
///
/// Whether something waits is asked for by the key of each: PostgreSQL answers `EXISTS` for many
/// with all that waits anywhere.
macro_rules! levels_of {
    ($of:literal) => {
        concat!(
            "SELECT store_id, marketplace, product_id, name, product_type, is_listed,
                 external_sku, external_barcode, external_listing_id, external_location_id, sellable_quantity,
                 committed_quantity, effective_quantity, last_pushed_quantity, last_pushed_at,
                 last_confirmed_quantity, last_confirmed_at, in_flight_push_id, push_state,
                 push_error_code, push_error_message, blocked_until, reject_count, (
                     SELECT q.id
                     FROM stock_update_queue AS q
                     WHERE q.product_id = level.product_id AND q.store_id = level.store_id
                       AND q.processed_at IS NULL
                 ) IS NOT NULL AS is_pending
             FROM (
                 SELECT ps.store_id, (
                     SELECT marketplace FROM stores WHERE id = ps.store_id
                 ) AS marketplace, ps.product_id, p.name, p.product_type, ps.is_listed,
                     ps.external_sku, ps.external_barcode, ps.external_listing_id,
                     ps.external_location_id, ps.sellable_quantity, ps.committed_quantity,
                     ps.last_pushed_quantity, ps.last_pushed_at, ps.last_confirmed_quantity,
                     ps.last_confirmed_at, ps.in_flight_push_id, ps.push_state,
                     ps.push_error_code, ps.push_error_message, ps.blocked_until,
                     ps.reject_count, ",
            quantity_in!("ps.store_id"),
            " AS effective_quantity
                 FROM product_stores AS ps
                 JOIN products AS p ON p.id = ps.product_id
                 WHERE ",
            $of,
            ") AS level"
        )
    };
}

/// Which levels of a store.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LevelFilter {
    pub(crate) product_type: Option<ProductType>,
    pub(crate) push_state: Option<PairState>,
    pub(crate) is_differing: Option<bool>,
}

/// The levels of a store behind a product, in the order of products. Its marketplace is told no
/// more than `cap`.
pub(crate) async fn levels_of_store(
    tx: &mut Tx,
    store_id: StoreId,
    cap: i64,
    filter: LevelFilter,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<Level>> {
    on!(tx, conn => query_as(sql!(concat!(
        levels_of!(
            "(ps.store_id, ps.product_id) > ($1, $2) AND ps.store_id <= $1
             AND (CAST($3 AS TEXT) IS NULL OR p.product_type = $3)
             AND (CAST($4 AS TEXT) IS NULL OR ps.push_state = $4)"
        ),
        " WHERE CAST($5 AS BOOLEAN) IS NULL OR $5 = (
              is_listed AND last_confirmed_quantity IS DISTINCT FROM
                  CASE WHEN effective_quantity > $6 THEN $6 ELSE effective_quantity END
          )
          ORDER BY store_id, product_id
          LIMIT $7")))
        .bind(store_id).bind(after).bind(filter.product_type).bind(filter.push_state)
        .bind(filter.is_differing).bind(cap).bind(limit)
        .fetch_all(conn).await)
}

/// The levels of a product behind a store, in the order of stores.
pub(crate) async fn levels_of_product(
    tx: &mut Tx,
    product_id: ProductId,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<Level>> {
    on!(tx, conn => query_as(sql!(concat!(
        levels_of!("ps.product_id = $1 AND ps.store_id > $2"),
        " ORDER BY store_id LIMIT $3")))
        .bind(product_id).bind(after).bind(limit)
        .fetch_all(conn).await)
}

/// The level of a product in a store.
pub(crate) async fn level(
    tx: &mut Tx,
    store_id: StoreId,
    product_id: ProductId,
) -> sqlx::Result<Option<Level>> {
    on!(tx, conn => query_as(sql!(levels_of!("ps.store_id = $1 AND ps.product_id = $2")))
        .bind(store_id).bind(product_id)
        .fetch_optional(conn).await)
}

/// A component of a set, as a store has it.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct Component {
    pub(crate) product_id: ProductId,
    pub(crate) name: String,
    /// So many are in a set.
    pub(crate) quantity_per_set: i64,
    /// So many can be sold.
    pub(crate) sellable_quantity: i64,
    /// So many sets they make.
    pub(crate) makes: i64,
    /// Whether it has a row in the store.
    pub(crate) is_in_store: bool,
}

/// The components of a set in a store; the one that makes the fewest sets comes first.
pub(crate) async fn components_of(
    tx: &mut Tx,
    store_id: StoreId,
    set: ProductId,
) -> sqlx::Result<Vec<Component>> {
    on!(tx, conn => query_as(sql!(
        "SELECT p.id AS product_id, p.name, i.quantity AS quantity_per_set,
             COALESCE(cs.sellable_quantity, 0) AS sellable_quantity,
             COALESCE(cs.sellable_quantity, 0) / i.quantity AS makes,
             cs.store_id IS NOT NULL AS is_in_store
         FROM product_set_items AS i
         JOIN products AS p ON p.id = i.component_product_id
         LEFT JOIN product_stores AS cs
             ON cs.product_id = i.component_product_id AND cs.store_id = $1
         WHERE i.set_product_id = $2
         ORDER BY makes, p.id"))
        .bind(store_id).bind(set)
        .fetch_all(conn).await)
}
