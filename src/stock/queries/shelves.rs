//! Shelves and what lies on them.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{FromRow, query, query_as, query_scalar};

use crate::db::{
    Tx, both, is_listed, json_uuid, look_up, on, only_postgres, only_sqlite, rows, sql,
};
use crate::http::page::Cursor;
use crate::stock::model::{ProductId, ShelfId, WarehouseId};
use crate::stock::shelves::{Shelf, ShelfStock};

/// What lies on a shelf of a product that is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct OnShelf {
    pub(crate) product_id: ProductId,
    pub(crate) shelf_id: ShelfId,
    pub(crate) warehouse_id: WarehouseId,
    pub(crate) quantity: i64,
}

/// Units that are taken from a shelf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Pick {
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) product_id: ProductId,
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) shelf_id: ShelfId,
    #[serde(skip)]
    pub(crate) warehouse_id: WarehouseId,
    pub(crate) quantity: i64,
}

/// Inserts a shelf, unless its warehouse has one of this code; tells whether it had none.
pub(crate) async fn insert_shelf(tx: &mut Tx, shelf: &Shelf) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "INSERT INTO shelves (id, warehouse_id, code, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (warehouse_id, code) DO NOTHING"))
        .bind(shelf.id).bind(shelf.warehouse_id).bind(&shelf.code)
        .bind(shelf.created_at).bind(shelf.updated_at)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}

/// Shelves of a warehouse behind the cursor, the oldest first.
pub(crate) async fn shelves(
    tx: &mut Tx,
    warehouse_id: WarehouseId,
    after: Cursor,
    limit: i64,
) -> sqlx::Result<Vec<Shelf>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, warehouse_id, code, created_at, updated_at
         FROM shelves
         WHERE warehouse_id = $1 AND (created_at, id) > ($2, $3)
         ORDER BY created_at, id
         LIMIT $4"))
        .bind(warehouse_id).bind(after.at).bind(after.id).bind(limit)
        .fetch_all(conn).await)
}

/// The warehouse of a shelf, if it is this organization's.
pub(crate) async fn warehouse_of(
    tx: &mut Tx,
    organization_id: &str,
    id: ShelfId,
) -> sqlx::Result<Option<WarehouseId>> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT sh.warehouse_id
         FROM shelves AS sh
         JOIN warehouses AS w ON w.id = sh.warehouse_id
         WHERE sh.id = $1 AND w.organization_id = $2"))
        .bind(id).bind(organization_id)
        .fetch_optional(conn).await)
}

/// What lies on a shelf, behind a product, by product.
pub(crate) async fn stock_of(
    tx: &mut Tx,
    id: ShelfId,
    after: ProductId,
    limit: i64,
) -> sqlx::Result<Vec<ShelfStock>> {
    on!(tx, conn => query_as(sql!(
        "SELECT shelf_id, product_id, quantity, created_at, updated_at
         FROM shelf_stocks
         WHERE shelf_id = $1 AND product_id > $2 AND quantity > 0
         ORDER BY product_id
         LIMIT $3"))
        .bind(id).bind(after).bind(limit)
        .fetch_all(conn).await)
}

/// Puts units on a shelf; gives how many there are then.
pub(crate) async fn put(
    tx: &mut Tx,
    id: ShelfId,
    product_id: ProductId,
    quantity: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<ShelfStock> {
    on!(tx, conn => query_as(sql!(
        "INSERT INTO shelf_stocks (shelf_id, product_id, quantity, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $4)
         ON CONFLICT (shelf_id, product_id) DO UPDATE
         SET quantity = shelf_stocks.quantity + excluded.quantity,
             updated_at = excluded.updated_at
         RETURNING shelf_id, product_id, quantity, created_at, updated_at"))
        .bind(id).bind(product_id).bind(quantity).bind(now)
        .fetch_one(conn).await)
}

/// Takes units from a shelf, if there are as many; gives how many there are then.
pub(crate) async fn take(
    tx: &mut Tx,
    id: ShelfId,
    product_id: ProductId,
    quantity: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<ShelfStock>> {
    on!(tx, conn => query_as(sql!(
        "UPDATE shelf_stocks
         SET quantity = quantity - $3, updated_at = $4
         WHERE shelf_id = $1 AND product_id = $2 AND quantity >= $3
         RETURNING shelf_id, product_id, quantity, created_at, updated_at"))
        .bind(id).bind(product_id).bind(quantity).bind(now)
        .fetch_optional(conn).await)
}

/// Where these products lie in these warehouses, the oldest shelves first.
pub(crate) async fn where_they_lie(
    tx: &mut Tx,
    products: &BTreeSet<ProductId>,
    warehouses: &BTreeSet<WarehouseId>,
) -> sqlx::Result<Vec<OnShelf>> {
    let sql = both!(
        tx,
        "SELECT ss.product_id, ss.shelf_id, sh.warehouse_id, ss.quantity
         FROM shelf_stocks AS ss ",
        look_up!("shelves" as "sh" on "sh.id = ss.shelf_id"),
        " WHERE ss.quantity > 0 AND ss.product_id ",
        is_listed!("$1"),
        " AND sh.warehouse_id ",
        is_listed!("$2"),
        " ORDER BY ss.product_id, sh.created_at, ss.shelf_id"
    );
    let products: Vec<ProductId> = products.iter().copied().collect();
    let warehouses: Vec<WarehouseId> = warehouses.iter().copied().collect();
    on!(tx, conn => query_as(sql)
        .bind(json_uuid::list(&products)).bind(json_uuid::list(&warehouses))
        .fetch_all(conn).await)
}

/// Takes units from many shelves, where there are as many; tells from how many places.
pub(crate) async fn take_all(tx: &mut Tx, picks: &[Pick], now: DateTime<Utc>) -> sqlx::Result<u64> {
    let sql = both!(
        tx,
        "UPDATE shelf_stocks AS ss",
        only_sqlite!(" INDEXED BY shelf_stocks_product_id_idx"),
        " SET quantity = ss.quantity - p.quantity, updated_at = $2
         FROM ",
        rows!("$1", product_id UUID, shelf_id UUID, quantity BIGINT),
        " AS p
         WHERE ss.shelf_id = p.shelf_id AND ss.product_id = p.product_id
           AND ss.quantity >= p.quantity",
        only_postgres!(
            " AND ss.product_id = ANY (ARRAY (
                  SELECT CAST(value ->> 'product_id' AS UUID) FROM jsonb_array_elements($1)))"
        )
    );
    on!(tx, conn => query(sql).bind(Json(picks)).bind(now)
        .execute(conn).await.map(|done| done.rows_affected()))
}
