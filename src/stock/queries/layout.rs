//! Which stores draw on which warehouses, and that it stays so while somebody moves stock.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use jobs::StoreId;
use sqlx::{query, query_as, query_scalar};

use crate::db::{Tx, both, is_listed, json_uuid, look_up, on, sql};
use crate::stock::model::{StockSource, WarehouseId};

/// Until the end of the transaction the stores of an organization draw on what they draw on now.
/// Those who only move stock do not wait for each other.
pub(crate) async fn hold_layout(tx: &mut Tx, organization_id: &str) -> sqlx::Result<()> {
    // SQLite has one writer anyway. There is no table of organizations to lock a row of; two
    // whose hashes are the same wait for each other, and that is all.
    let sql = tx.pick(
        sql!(postgres: "SELECT 1 FROM pg_advisory_xact_lock_shared(hashtextextended($1, 9))"),
        sql!(sqlite: "SELECT $1 AS held"),
    );
    on!(tx, conn => query(sql).bind(organization_id).execute(conn).await.map(|_| ()))
}

/// Lets one transaction at a time change what the stores of an organization draw on, and none
/// move stock meanwhile. See [`hold_layout`].
pub(crate) async fn lock_layout(tx: &mut Tx, organization_id: &str) -> sqlx::Result<()> {
    let sql = tx.pick(
        sql!(postgres: "SELECT 1 FROM pg_advisory_xact_lock(hashtextextended($1, 9))"),
        sql!(sqlite: "SELECT $1 AS locked"),
    );
    on!(tx, conn => query(sql).bind(organization_id).execute(conn).await.map(|_| ()))
}

/// Where the quantities of a store come from, if it is this organization's.
pub(crate) async fn source_of(
    tx: &mut Tx,
    organization_id: &str,
    store_id: StoreId,
) -> sqlx::Result<Option<StockSource>> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT stock_source FROM stores WHERE id = $1 AND organization_id = $2"))
        .bind(store_id).bind(organization_id)
        .fetch_optional(conn).await)
}

/// The warehouses of the stores of an organization whose quantities come from there.
pub(crate) async fn links(
    tx: &mut Tx,
    organization_id: &str,
) -> sqlx::Result<Vec<(StoreId, WarehouseId)>> {
    let sql = both!(
        tx,
        "SELECT s.id, ws.warehouse_id FROM stores AS s ",
        look_up!("warehouse_stores" as "ws" on "ws.store_id = s.id"),
        " WHERE s.organization_id = $1 AND s.stock_source = 'WAREHOUSE'"
    );
    on!(tx, conn => query_as(sql).bind(organization_id).fetch_all(conn).await)
}

/// Changes where the quantities of a store come from.
pub(crate) async fn set_source(
    tx: &mut Tx,
    store_id: StoreId,
    source: StockSource,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE stores SET stock_source = $2, updated_at = $3 WHERE id = $1"))
        .bind(store_id).bind(source).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// Says that the quantities of stores that draw on warehouses have to be worked out anew. It does not move `updated_at`.
pub(crate) async fn mark_for_recount(
    tx: &mut Tx,
    stores: &BTreeSet<StoreId>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = both!(
        tx,
        "UPDATE stores
         SET stock_recount_at = $2
         WHERE stock_source = 'WAREHOUSE' AND id ",
        is_listed!("$1")
    );
    let stores: Vec<StoreId> = stores.iter().copied().collect();
    on!(tx, conn => query(sql).bind(json_uuid::list(&stores)).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// The stores of an organization that wait for a recount, and since when.
pub(crate) async fn marked_stores(
    tx: &mut Tx,
    organization_id: &str,
) -> sqlx::Result<Vec<(StoreId, DateTime<Utc>)>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, stock_recount_at
         FROM stores
         WHERE organization_id = $1 AND stock_recount_at IS NOT NULL
         ORDER BY id"))
        .bind(organization_id)
        .fetch_all(conn).await)
}

/// The organizations that have stores which wait for a recount.
pub(crate) async fn marked_organizations(tx: &mut Tx) -> sqlx::Result<Vec<String>> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT DISTINCT organization_id FROM stores WHERE stock_recount_at IS NOT NULL"))
        .fetch_all(conn).await)
}

/// A store was recounted, unless somebody asked for it again meanwhile.
pub(crate) async fn unmark_store(
    tx: &mut Tx,
    store_id: StoreId,
    since: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE stores SET stock_recount_at = NULL WHERE id = $1 AND stock_recount_at = $2"))
        .bind(store_id).bind(since)
        .execute(conn).await.map(|_| ()))
}
