//! The counters of products in stores: made, locked, read and moved.
//!
//! Whoever moves some makes the rows that are not there ([`make_rows`]), locks all it needs
//! ([`lock_rows`]), both in the order of products and then of stores, reads what they come from,
//! and moves them by what it worked out ([`move_counters`]).

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use jobs::StoreId;
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{FromRow, query, query_as, query_scalar};

use crate::db::{
    Tx, both, ids, is_listed, json_uuid, look_up, on, only_postgres, only_sqlite, rows, sql,
};
use crate::stock::model::{ProductId, WarehouseId};

/// The counters of a product in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct CounterRow {
    pub(crate) product_id: ProductId,
    pub(crate) store_id: StoreId,
    /// How many can be sold.
    pub(crate) sellable_quantity: i64,
    /// How many are reserved.
    pub(crate) committed_quantity: i64,
}

/// How many of a product are in a warehouse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct OnHand {
    pub(crate) product_id: ProductId,
    pub(crate) warehouse_id: WarehouseId,
    pub(crate) quantity: i64,
}

/// How many of a product are reserved in a store.
#[expect(clippy::struct_field_names, reason = "it is called so everywhere")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct Committed {
    pub(crate) product_id: ProductId,
    pub(crate) store_id: StoreId,
    pub(crate) committed_quantity: i64,
}

/// By how much the counters of a product in a store move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Delta {
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) product_id: ProductId,
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) store_id: StoreId,
    pub(crate) sellable: i64,
    pub(crate) committed: i64,
}

fn list<T: Copy + Into<uuid::Uuid>>(ids: &BTreeSet<T>) -> Json<Vec<String>> {
    json_uuid::list(&ids.iter().copied().collect::<Vec<_>>())
}

/// Makes the rows of these products in these stores that are not there, all counters zero and not
/// listed.
pub(crate) async fn make_rows(
    tx: &mut Tx,
    products: &BTreeSet<ProductId>,
    stores: &BTreeSet<StoreId>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = both!(
        tx,
        "INSERT INTO product_stores (product_id, store_id, is_listed, created_at, updated_at)
         SELECT p.id, s.id, FALSE, $3, $3
         FROM ",
        ids!("$1"),
        " AS p CROSS JOIN ",
        ids!("$2"),
        " AS s
         WHERE TRUE
         ORDER BY p.id, s.id
         ON CONFLICT (store_id, product_id) DO NOTHING"
    );
    on!(tx, conn => query(sql).bind(list(products)).bind(list(stores)).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// Locks the counters of these products in these stores until the end of the transaction, always
/// in the same order, and reads them.
pub(crate) async fn lock_rows(
    tx: &mut Tx,
    products: &BTreeSet<ProductId>,
    stores: &BTreeSet<StoreId>,
) -> sqlx::Result<Vec<CounterRow>> {
    // SQLite has one writer anyway.
    let sql = both!(
        tx,
        "SELECT product_id, store_id, sellable_quantity, committed_quantity
         FROM product_stores",
        only_sqlite!(" INDEXED BY product_stores_product_id_idx"),
        " WHERE product_id ",
        is_listed!("$1"),
        " AND store_id ",
        is_listed!("$2"),
        only_postgres!(" ORDER BY product_id, store_id FOR NO KEY UPDATE")
    );
    on!(tx, conn => query_as(sql).bind(list(products)).bind(list(stores)).fetch_all(conn).await)
}

/// How many of these products are in these warehouses.
pub(crate) async fn on_hand(
    tx: &mut Tx,
    products: &BTreeSet<ProductId>,
    warehouses: &BTreeSet<WarehouseId>,
) -> sqlx::Result<Vec<OnHand>> {
    let sql = both!(
        tx,
        "SELECT ss.product_id, sh.warehouse_id, CAST(SUM(ss.quantity) AS BIGINT) AS quantity
         FROM shelf_stocks AS ss ",
        look_up!("shelves" as "sh" on "sh.id = ss.shelf_id"),
        " WHERE ss.quantity > 0 AND ss.product_id ",
        is_listed!("$1"),
        " AND sh.warehouse_id ",
        is_listed!("$2"),
        " GROUP BY ss.product_id, sh.warehouse_id"
    );
    on!(tx, conn => query_as(sql).bind(list(products)).bind(list(warehouses))
        .fetch_all(conn).await)
}

/// How many of these products are reserved in these stores.
pub(crate) async fn committed(
    tx: &mut Tx,
    products: &BTreeSet<ProductId>,
    stores: &BTreeSet<StoreId>,
) -> sqlx::Result<Vec<Committed>> {
    let sql = both!(
        tx,
        "SELECT product_id, store_id, committed_quantity
         FROM product_stores",
        only_sqlite!(" INDEXED BY product_stores_product_id_idx"),
        " WHERE committed_quantity > 0 AND product_id ",
        is_listed!("$1"),
        " AND store_id ",
        is_listed!("$2")
    );
    on!(tx, conn => query_as(sql).bind(list(products)).bind(list(stores)).fetch_all(conn).await)
}

/// Moves counters, never below zero; tells how many rows were moved.
pub(crate) async fn move_counters(
    tx: &mut Tx,
    deltas: &[Delta],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    // PostgreSQL would rather read all of some ten thousand rows than look up a hundred.
    let sql = both!(
        tx,
        "UPDATE product_stores AS ps",
        only_sqlite!(" INDEXED BY product_stores_product_id_idx"),
        " SET sellable_quantity = ps.sellable_quantity + d.sellable,
             committed_quantity = ps.committed_quantity + d.committed, updated_at = $2
         FROM ",
        rows!("$1", product_id UUID, store_id UUID, sellable BIGINT, committed BIGINT),
        " AS d
         WHERE ps.product_id = d.product_id AND ps.store_id = d.store_id
           AND ps.sellable_quantity + d.sellable >= 0
           AND ps.committed_quantity + d.committed >= 0",
        only_postgres!(
            " AND ps.product_id = ANY (ARRAY (
                  SELECT CAST(value ->> 'product_id' AS UUID) FROM jsonb_array_elements($1)))
              AND ps.store_id = ANY (ARRAY (
                  SELECT CAST(value ->> 'store_id' AS UUID) FROM jsonb_array_elements($1)))"
        )
    );
    on!(tx, conn => query(sql).bind(Json(deltas)).bind(now)
        .execute(conn).await.map(|done| done.rows_affected()))
}

/// The next products of a store behind one.
pub(crate) async fn products_of(
    tx: &mut Tx,
    store_id: StoreId,
    after: ProductId,
    limit: i64,
) -> sqlx::Result<Vec<ProductId>> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT product_id
         FROM product_stores
         WHERE store_id = $1 AND product_id > $2
         ORDER BY product_id
         LIMIT $3"))
        .bind(store_id).bind(after).bind(limit)
        .fetch_all(conn).await)
}

/// The next products of a store behind one that can be sold there, locked.
pub(crate) async fn sellable_products(
    tx: &mut Tx,
    store_id: StoreId,
    after: ProductId,
    limit: i64,
) -> sqlx::Result<Vec<ProductId>> {
    let sql = both!(
        tx,
        "SELECT product_id
         FROM product_stores
         WHERE store_id = $1 AND product_id > $2 AND sellable_quantity > 0
         ORDER BY product_id
         LIMIT $3",
        only_postgres!(" FOR NO KEY UPDATE")
    );
    on!(tx, conn => query_scalar(sql).bind(store_id).bind(after).bind(limit)
        .fetch_all(conn).await)
}
