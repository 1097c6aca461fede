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

use crate::db::{Tx, json_uuid, on, sql};
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
    let sql = tx.pick(
        sql!(postgres:
            "INSERT INTO product_stores (product_id, store_id, is_listed, created_at, updated_at)
             SELECT p.id, s.id, FALSE, $3, $3
             FROM (SELECT CAST(jsonb_array_elements_text($1) AS UUID) AS id) AS p
             CROSS JOIN (SELECT CAST(jsonb_array_elements_text($2) AS UUID) AS id) AS s
             ORDER BY p.id, s.id
             ON CONFLICT (store_id, product_id) DO NOTHING"),
        sql!(sqlite:
            "INSERT INTO product_stores (product_id, store_id, is_listed, created_at, updated_at)
             SELECT unhex(p.value), unhex(s.value), FALSE, $3, $3
             FROM json_each($1) AS p
             CROSS JOIN json_each($2) AS s
             WHERE TRUE
             ON CONFLICT (store_id, product_id) DO NOTHING"),
    );
    on!(tx, conn => query(sql).bind(list(products)).bind(list(stores)).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// SQLite finds the rows of few products in few stores by the product, whatever it believes.
macro_rules! by_product {
    () => {
        " INDEXED BY product_stores_product_id_idx"
    };
}

macro_rules! lock_rows {
    ($index:expr, $products:expr, $stores:expr, $order:literal) => {
        concat!(
            "SELECT product_id, store_id, sellable_quantity, committed_quantity
             FROM product_stores",
            $index,
            " WHERE product_id ",
            $products,
            " AND store_id ",
            $stores,
            $order
        )
    };
}

/// Locks the counters of these products in these stores until the end of the transaction, always
/// in the same order, and reads them.
pub(crate) async fn lock_rows(
    tx: &mut Tx,
    products: &BTreeSet<ProductId>,
    stores: &BTreeSet<StoreId>,
) -> sqlx::Result<Vec<CounterRow>> {
    // SQLite has one writer anyway.
    let sql = tx.pick(
        sql!(postgres: lock_rows!(
            "",
            is_listed!(postgres "$1"),
            is_listed!(postgres "$2"),
            " ORDER BY product_id, store_id FOR NO KEY UPDATE"
        )),
        sql!(sqlite: lock_rows!(
            by_product!(),
            is_listed!(sqlite "$1"),
            is_listed!(sqlite "$2"),
            ""
        )),
    );
    on!(tx, conn => query_as(sql).bind(list(products)).bind(list(stores)).fetch_all(conn).await)
}

macro_rules! on_hand {
    ($shelf:expr, $products:expr, $warehouses:expr) => {
        concat!(
            "SELECT ss.product_id, sh.warehouse_id, CAST(SUM(ss.quantity) AS BIGINT) AS quantity
             FROM shelf_stocks AS ss ",
            $shelf,
            " WHERE ss.quantity > 0 AND ss.product_id ",
            $products,
            " AND sh.warehouse_id ",
            $warehouses,
            " GROUP BY ss.product_id, sh.warehouse_id"
        )
    };
}

/// How many of these products are in these warehouses.
pub(crate) async fn on_hand(
    tx: &mut Tx,
    products: &BTreeSet<ProductId>,
    warehouses: &BTreeSet<WarehouseId>,
) -> sqlx::Result<Vec<OnHand>> {
    let sql = tx.pick(
        sql!(postgres: on_hand!(
            shelf_of!(postgres),
            is_listed!(postgres "$1"),
            is_listed!(postgres "$2")
        )),
        sql!(sqlite: on_hand!(
            shelf_of!(sqlite),
            is_listed!(sqlite "$1"),
            is_listed!(sqlite "$2")
        )),
    );
    on!(tx, conn => query_as(sql).bind(list(products)).bind(list(warehouses))
        .fetch_all(conn).await)
}

macro_rules! committed {
    ($index:expr, $products:expr, $stores:expr) => {
        concat!(
            "SELECT product_id, store_id, committed_quantity
             FROM product_stores",
            $index,
            " WHERE committed_quantity > 0 AND product_id ",
            $products,
            " AND store_id ",
            $stores
        )
    };
}

/// How many of these products are reserved in these stores.
pub(crate) async fn committed(
    tx: &mut Tx,
    products: &BTreeSet<ProductId>,
    stores: &BTreeSet<StoreId>,
) -> sqlx::Result<Vec<Committed>> {
    let sql = tx.pick(
        sql!(postgres: committed!("", is_listed!(postgres "$1"), is_listed!(postgres "$2"))),
        sql!(sqlite: committed!(
            by_product!(),
            is_listed!(sqlite "$1"),
            is_listed!(sqlite "$2")
        )),
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
    let sql = tx.pick(
        sql!(postgres:
            "UPDATE product_stores AS ps
             SET sellable_quantity = ps.sellable_quantity + d.sellable,
                 committed_quantity = ps.committed_quantity + d.committed,
                 updated_at = $2
             FROM jsonb_to_recordset($1) AS d (product_id UUID, store_id UUID, sellable BIGINT,
                 committed BIGINT)
             WHERE ps.product_id = d.product_id AND ps.store_id = d.store_id
               AND ps.product_id = ANY (ARRAY (
                   SELECT CAST(value ->> 'product_id' AS UUID) FROM jsonb_array_elements($1)))
               AND ps.store_id = ANY (ARRAY (
                   SELECT CAST(value ->> 'store_id' AS UUID) FROM jsonb_array_elements($1)))
               AND ps.sellable_quantity + d.sellable >= 0
               AND ps.committed_quantity + d.committed >= 0"),
        sql!(sqlite:
            "UPDATE product_stores INDEXED BY product_stores_product_id_idx
             SET sellable_quantity = sellable_quantity + d.sellable,
                 committed_quantity = committed_quantity + d.committed,
                 updated_at = $2
             FROM (
                 SELECT unhex(value ->> 'product_id') AS product_id,
                     unhex(value ->> 'store_id') AS store_id,
                     value ->> 'sellable' AS sellable, value ->> 'committed' AS committed
                 FROM json_each($1)
             ) AS d
             WHERE product_stores.product_id = d.product_id
               AND product_stores.store_id = d.store_id
               AND product_stores.sellable_quantity + d.sellable >= 0
               AND product_stores.committed_quantity + d.committed >= 0"),
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

macro_rules! sellable_products {
    ($lock:literal) => {
        concat!(
            "SELECT product_id
             FROM product_stores
             WHERE store_id = $1 AND product_id > $2 AND sellable_quantity > 0
             ORDER BY product_id
             LIMIT $3",
            $lock
        )
    };
}

/// The next products of a store behind one that can be sold there, locked.
pub(crate) async fn sellable_products(
    tx: &mut Tx,
    store_id: StoreId,
    after: ProductId,
    limit: i64,
) -> sqlx::Result<Vec<ProductId>> {
    let sql = tx.pick(
        sql!(postgres: sellable_products!(" FOR NO KEY UPDATE")),
        sql!(sqlite: sellable_products!("")),
    );
    on!(tx, conn => query_scalar(sql).bind(store_id).bind(after).bind(limit)
        .fetch_all(conn).await)
}
