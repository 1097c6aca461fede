//! Warehouses, and the stores that sell what lies there.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use jobs::StoreId;
use sqlx::{query, query_as, query_scalar};

use crate::db::{Tx, both, ids, is_listed, json_uuid, on, sql};
use crate::http::page::Cursor;
use crate::stock::model::WarehouseId;
use crate::stock::warehouses::Warehouse;

/// Inserts a warehouse, unless its organization has one of this code; tells whether it had none.
pub(crate) async fn insert_warehouse(tx: &mut Tx, warehouse: &Warehouse) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "INSERT INTO warehouses (id, organization_id, name, code, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (organization_id, code) DO NOTHING"))
        .bind(warehouse.id).bind(&warehouse.organization_id).bind(&warehouse.name)
        .bind(&warehouse.code).bind(warehouse.created_at).bind(warehouse.updated_at)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}

/// Warehouses of an organization behind the cursor, the oldest first.
pub(crate) async fn warehouses(
    tx: &mut Tx,
    organization_id: &str,
    after: Cursor,
    limit: i64,
) -> sqlx::Result<Vec<Warehouse>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, organization_id, name, code, created_at, updated_at
         FROM warehouses
         WHERE organization_id = $1 AND (created_at, id) > ($2, $3)
         ORDER BY created_at, id
         LIMIT $4"))
        .bind(organization_id).bind(after.at).bind(after.id).bind(limit)
        .fetch_all(conn).await)
}

/// A warehouse, if it is this organization's.
pub(crate) async fn warehouse(
    tx: &mut Tx,
    organization_id: &str,
    id: WarehouseId,
) -> sqlx::Result<Option<Warehouse>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, organization_id, name, code, created_at, updated_at
         FROM warehouses
         WHERE id = $1 AND organization_id = $2"))
        .bind(id).bind(organization_id)
        .fetch_optional(conn).await)
}

/// The stores of these warehouses, wherever their quantities come from.
pub(crate) async fn links_of(
    tx: &mut Tx,
    warehouses: &[WarehouseId],
) -> sqlx::Result<Vec<(WarehouseId, StoreId)>> {
    let sql = both!(
        tx,
        "SELECT warehouse_id, store_id FROM warehouse_stores WHERE warehouse_id ",
        is_listed!("$1"),
        " ORDER BY warehouse_id, store_id"
    );
    on!(tx, conn => query_as(sql).bind(json_uuid::list(warehouses)).fetch_all(conn).await)
}

/// Which of these stores are this organization's.
pub(crate) async fn own_stores(
    tx: &mut Tx,
    organization_id: &str,
    stores: &BTreeSet<StoreId>,
) -> sqlx::Result<Vec<StoreId>> {
    let sql = both!(
        tx,
        "SELECT id FROM stores WHERE organization_id = $2 AND id ",
        is_listed!("$1")
    );
    let stores: Vec<StoreId> = stores.iter().copied().collect();
    on!(tx, conn => query_scalar(sql).bind(json_uuid::list(&stores)).bind(organization_id)
        .fetch_all(conn).await)
}

/// These stores no longer sell what lies in a warehouse.
pub(crate) async fn delete_links(
    tx: &mut Tx,
    id: WarehouseId,
    stores: &BTreeSet<StoreId>,
) -> sqlx::Result<()> {
    let sql = both!(
        tx,
        "DELETE FROM warehouse_stores WHERE warehouse_id = $2 AND store_id ",
        is_listed!("$1")
    );
    let stores: Vec<StoreId> = stores.iter().copied().collect();
    on!(tx, conn => query(sql).bind(json_uuid::list(&stores)).bind(id)
        .execute(conn).await.map(|_| ()))
}

/// These stores sell what lies in a warehouse.
pub(crate) async fn insert_links(
    tx: &mut Tx,
    id: WarehouseId,
    stores: &BTreeSet<StoreId>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = both!(
        tx,
        "INSERT INTO warehouse_stores (warehouse_id, store_id, created_at, updated_at)
         SELECT $2, s.id, $3, $3
         FROM ",
        ids!("$1"),
        " AS s
         WHERE TRUE
         ON CONFLICT (warehouse_id, store_id) DO NOTHING"
    );
    let stores: Vec<StoreId> = stores.iter().copied().collect();
    on!(tx, conn => query(sql).bind(json_uuid::list(&stores)).bind(id).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// Notes that a warehouse was changed.
pub(crate) async fn touch(tx: &mut Tx, id: WarehouseId, now: DateTime<Utc>) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!("UPDATE warehouses SET updated_at = $2 WHERE id = $1"))
        .bind(id).bind(now)
        .execute(conn).await.map(|_| ()))
}
