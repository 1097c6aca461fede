//! Reservations, what they hold, and what they wait for.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use jobs::StoreId;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{FromRow, query, query_as, query_scalar};
use uuid::Uuid;

use crate::db::{Tx, both, is_listed, json_uuid, on, only_postgres, rows, sql};
use crate::stock::model::{
    ProductId, ReservationId, ReservationMode, ReservationStatus, WarehouseId,
};

/// A line of an order that names no product of ours, as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UnmatchedLine {
    /// Its place in the order.
    pub(crate) line: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) product_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) barcode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sku: Option<String>,
    pub(crate) quantity: i64,
}

/// Where units of a reservation come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SourceLine {
    /// The place of the line in the order.
    pub(crate) line: usize,
    /// How many units of this product it makes.
    pub(crate) quantity: i64,
    /// The set that it ordered, as it was made of then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) set_product_id: Option<Uuid>,
}

/// A reservation without what it holds.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct Header {
    pub(crate) id: ReservationId,
    pub(crate) store_id: StoreId,
    pub(crate) order_ref: String,
    pub(crate) mode: ReservationMode,
    pub(crate) status: ReservationStatus,
    /// What was asked for; empty: the order was cancelled before it came.
    pub(crate) request_hash: String,
    pub(crate) unmatched_lines: Json<Vec<UnmatchedLine>>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// What a reservation holds of a product.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, Serialize)]
pub(crate) struct Item {
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) product_id: ProductId,
    /// How many were ordered.
    pub(crate) quantity: i64,
    /// How many of them it has, or had while it was active.
    pub(crate) reserved_quantity: i64,
    /// How many it lacks.
    pub(crate) shortfall_quantity: i64,
    /// How many have left the house.
    pub(crate) fulfilled_quantity: i64,
    pub(crate) source_lines: Json<Vec<SourceLine>>,
}

impl Item {
    /// How many it holds now, as long as it is active.
    pub(crate) fn held(&self) -> i64 {
        self.reserved_quantity - self.fulfilled_quantity
    }
}

/// An order that waits for units of a product.
#[expect(clippy::struct_field_names, reason = "it is called so everywhere")]
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct Shortfall {
    pub(crate) reservation_id: ReservationId,
    pub(crate) product_id: ProductId,
    pub(crate) store_id: StoreId,
    pub(crate) order_ref: String,
    pub(crate) shortfall_quantity: i64,
    pub(crate) created_at: DateTime<Utc>,
}

/// Units that an order waited for and gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fill {
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) reservation_id: ReservationId,
    #[serde(serialize_with = "json_uuid::of")]
    pub(crate) product_id: ProductId,
    #[serde(skip)]
    pub(crate) store_id: StoreId,
    pub(crate) quantity: i64,
}

/// Inserts a reservation, unless its order has one; tells whether it had none.
pub(crate) async fn insert_reservation(tx: &mut Tx, header: &Header) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "INSERT INTO stock_reservations (id, store_id, order_ref, mode, status, request_hash,
             unmatched_lines, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (store_id, order_ref) DO NOTHING"))
        .bind(header.id).bind(header.store_id).bind(&header.order_ref).bind(header.mode)
        .bind(header.status).bind(&header.request_hash).bind(&header.unmatched_lines)
        .bind(header.created_at).bind(header.updated_at)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}

/// The reservation of an order.
pub(crate) async fn reservation(
    tx: &mut Tx,
    store_id: StoreId,
    order_ref: &str,
) -> sqlx::Result<Option<Header>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, store_id, order_ref, mode, status, request_hash, unmatched_lines, created_at,
             updated_at
         FROM stock_reservations
         WHERE store_id = $1 AND order_ref = $2"))
        .bind(store_id).bind(order_ref)
        .fetch_optional(conn).await)
}

/// The same, locked until the end of the transaction.
pub(crate) async fn lock_reservation(
    tx: &mut Tx,
    store_id: StoreId,
    order_ref: &str,
) -> sqlx::Result<Option<Header>> {
    // SQLite has one writer anyway.
    let sql = both!(
        tx,
        "SELECT id, store_id, order_ref, mode, status, request_hash, unmatched_lines, created_at,
             updated_at
         FROM stock_reservations
         WHERE store_id = $1 AND order_ref = $2",
        only_postgres!(" FOR NO KEY UPDATE")
    );
    on!(tx, conn => query_as(sql).bind(store_id).bind(order_ref).fetch_optional(conn).await)
}

/// The reservations that stores of a warehouse, or this one of them, have for orders of this name,
/// locked.
pub(crate) async fn lock_orders_at(
    tx: &mut Tx,
    warehouse_id: WarehouseId,
    order_ref: &str,
    store_id: Option<StoreId>,
) -> sqlx::Result<Vec<Header>> {
    let sql = both!(
        tx,
        "SELECT r.id, r.store_id, r.order_ref, r.mode, r.status, r.request_hash,
             r.unmatched_lines, r.created_at, r.updated_at
         FROM warehouse_stores AS ws
         JOIN stores AS s ON s.id = ws.store_id AND s.stock_source = 'WAREHOUSE'
         JOIN stock_reservations AS r ON r.store_id = s.id AND r.order_ref = $2
         WHERE ws.warehouse_id = $1 AND ws.store_id = COALESCE($3, ws.store_id)
         ORDER BY r.store_id",
        only_postgres!(" FOR NO KEY UPDATE OF r")
    );
    on!(tx, conn => query_as(sql).bind(warehouse_id).bind(order_ref).bind(store_id)
        .fetch_all(conn).await)
}

/// What a reservation holds, by product.
pub(crate) async fn items(tx: &mut Tx, id: ReservationId) -> sqlx::Result<Vec<Item>> {
    on!(tx, conn => query_as(sql!(
        "SELECT product_id, quantity, reserved_quantity, shortfall_quantity, fulfilled_quantity,
             source_lines
         FROM stock_reservation_items
         WHERE reservation_id = $1
         ORDER BY product_id"))
        .bind(id)
        .fetch_all(conn).await)
}

/// Inserts what a reservation holds.
pub(crate) async fn insert_items(
    tx: &mut Tx,
    id: ReservationId,
    items: &[Item],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = both!(
        tx,
        "INSERT INTO stock_reservation_items (reservation_id, product_id, quantity,
             reserved_quantity, shortfall_quantity, source_lines, created_at, updated_at)
         SELECT $2, i.product_id, i.quantity, i.reserved_quantity, i.shortfall_quantity,
             i.source_lines, $3, $3
         FROM ",
        rows!("$1", product_id UUID, quantity BIGINT, reserved_quantity BIGINT,
            shortfall_quantity BIGINT, source_lines JSONB),
        " AS i"
    );
    on!(tx, conn => query(sql).bind(Json(items)).bind(id).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// Says that a reservation is over.
pub(crate) async fn close_reservation(
    tx: &mut Tx,
    id: ReservationId,
    status: ReservationStatus,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE stock_reservations SET status = $2, updated_at = $3 WHERE id = $1"))
        .bind(id).bind(status).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// The items of a reservation wait for nothing any more; of one that is fulfilled, all that it had
/// has left.
pub(crate) async fn close_items(
    tx: &mut Tx,
    id: ReservationId,
    status: ReservationStatus,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE stock_reservation_items
         SET is_open = FALSE, updated_at = $3,
             fulfilled_quantity = CASE WHEN $2 = 'FULFILLED' THEN reserved_quantity
                 ELSE fulfilled_quantity END
         WHERE reservation_id = $1"))
        .bind(id).bind(status).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// So many units of an item have left.
pub(crate) async fn fulfil_item(
    tx: &mut Tx,
    id: ReservationId,
    product_id: ProductId,
    quantity: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE stock_reservation_items
         SET fulfilled_quantity = fulfilled_quantity + $3, updated_at = $4
         WHERE reservation_id = $1 AND product_id = $2"))
        .bind(id).bind(product_id).bind(quantity).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// Orders of these stores that wait for these products, behind a place, the oldest first.
pub(crate) async fn shortfalls(
    tx: &mut Tx,
    products: &BTreeSet<ProductId>,
    stores: &BTreeSet<StoreId>,
    (at, reservation_id, product_id): (DateTime<Utc>, ReservationId, ProductId),
    limit: i64,
) -> sqlx::Result<Vec<Shortfall>> {
    let sql = both!(
        tx,
        "SELECT i.reservation_id, i.product_id, r.store_id, r.order_ref, i.shortfall_quantity,
             i.created_at
         FROM stock_reservation_items AS i
         CROSS JOIN stock_reservations AS r
         WHERE r.id = i.reservation_id AND i.shortfall_quantity > 0 AND i.is_open
           AND i.product_id ",
        is_listed!("$1"),
        " AND r.store_id ",
        is_listed!("$2"),
        " AND (i.created_at, i.reservation_id, i.product_id) > ($3, $4, $5)
         ORDER BY i.created_at, i.reservation_id, i.product_id
         LIMIT $6"
    );
    let products: Vec<ProductId> = products.iter().copied().collect();
    let stores: Vec<StoreId> = stores.iter().copied().collect();
    on!(tx, conn => query_as(sql)
        .bind(json_uuid::list(&products)).bind(json_uuid::list(&stores))
        .bind(at).bind(reservation_id).bind(product_id).bind(limit)
        .fetch_all(conn).await)
}

/// Those of these products that orders of a store wait for.
pub(crate) async fn waiting_products(
    tx: &mut Tx,
    products: &[ProductId],
    store_id: StoreId,
) -> sqlx::Result<Vec<ProductId>> {
    let sql = both!(
        tx,
        "SELECT DISTINCT i.product_id
         FROM stock_reservation_items AS i
         CROSS JOIN stock_reservations AS r
         WHERE r.id = i.reservation_id AND i.shortfall_quantity > 0 AND i.is_open
           AND r.store_id = $2 AND i.product_id ",
        is_listed!("$1")
    );
    on!(tx, conn => query_scalar(sql).bind(json_uuid::list(products)).bind(store_id)
        .fetch_all(conn).await)
}

/// Gives orders what they waited for.
pub(crate) async fn fill(tx: &mut Tx, fills: &[Fill], now: DateTime<Utc>) -> sqlx::Result<()> {
    // PostgreSQL would rather read all of some ten thousand rows than look up a hundred.
    let sql = both!(
        tx,
        "UPDATE stock_reservation_items AS i
         SET reserved_quantity = i.reserved_quantity + f.quantity,
             shortfall_quantity = i.shortfall_quantity - f.quantity, updated_at = $2
         FROM ",
        rows!("$1", reservation_id UUID, product_id UUID, quantity BIGINT),
        " AS f
         WHERE i.reservation_id = f.reservation_id AND i.product_id = f.product_id",
        only_postgres!(
            " AND i.reservation_id = ANY (ARRAY (
                  SELECT CAST(value ->> 'reservation_id' AS UUID)
                  FROM jsonb_array_elements($1)))"
        )
    );
    on!(tx, conn => query(sql).bind(Json(fills)).bind(now).execute(conn).await.map(|_| ()))
}
