//! Stores and their leases.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use jobs::StoreId;
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{query, query_as, query_scalar};
use uuid::Uuid;

use crate::db::{Tx, both, is_listed, json_uuid, on, only_postgres, rows, sql};
use crate::encryption::{Sealed, SealedColumn};
use crate::lease::LeaseTable;
use crate::marketplace::model::{
    ACCESS_TOKEN, Marketplace, NewStore, OpenStore, Store, StoreLook, SyncStatus, SyncToken,
};

/// Inserts a store, or updates the one that this organization has under this name already;
/// its id, token and history stay.
pub async fn upsert_store(
    tx: &mut Tx,
    id: StoreId,
    token: SyncToken,
    store: &NewStore,
    access_token: &Sealed,
    now: DateTime<Utc>,
) -> sqlx::Result<(StoreId, SyncToken)> {
    on!(tx, conn => query_as(sql!(
        "INSERT INTO stores (id, organization_id, marketplace, external_store_id, store_name,
             access_token, currency, sync_token, sync_status, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'pending', $9, $9)
         ON CONFLICT (organization_id, marketplace, external_store_id) DO UPDATE
         SET store_name = excluded.store_name,
             access_token = excluded.access_token,
             currency = excluded.currency,
             updated_at = excluded.updated_at
         RETURNING id, sync_token"))
        .bind(id).bind(&store.organization_id).bind(store.marketplace)
        .bind(&store.external_store_id).bind(&store.store_name)
        .bind(access_token.text()).bind(&store.currency)
        .bind(token).bind(now)
        .fetch_one(conn).await)
}

/// Writes the access token of a store.
pub(crate) async fn set_access_token(
    tx: &mut Tx,
    id: StoreId,
    access_token: &Sealed,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE stores SET access_token = $2, updated_at = $3 WHERE id = $1"))
        .bind(id).bind(access_token.text()).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// The stores that these tokens open.
pub async fn stores_by_tokens(tx: &mut Tx, tokens: &[SyncToken]) -> sqlx::Result<Vec<OpenStore>> {
    let sql = both!(
        tx,
        "SELECT sync_token, id, organization_id, marketplace, access_token, currency,
             sync_status, last_sync_at, imported_success_count, paused_until
         FROM stores
         WHERE sync_token ",
        is_listed!("$1")
    );
    on!(tx, conn => query_as(sql).bind(json_uuid::list(tokens)).fetch_all(conn).await)
}

/// How the stores that these tokens open are doing.
pub async fn look_at_stores(tx: &mut Tx, tokens: &[SyncToken]) -> sqlx::Result<Vec<StoreLook>> {
    let sql = tx.pick(
        sql!(postgres:
            "SELECT s.sync_token, s.organization_id, s.last_sync_at, s.imported_success_count, (
                 SELECT COALESCE(jsonb_agg(status ORDER BY created_at DESC, id DESC), '[]')
                 FROM (
                     SELECT status, created_at, id
                     FROM sync_logs
                     WHERE store_id = s.id AND status <> 'pending'
                     ORDER BY created_at DESC, id DESC
                     LIMIT 20
                 ) AS head
             ) AS newest, (
                 SELECT COUNT(*)
                 FROM sync_logs
                 WHERE store_id = s.id AND status = 'rate_limited'
             ) AS rate_limited_count
             FROM stores AS s
             WHERE s.sync_token = ANY (ARRAY (SELECT CAST(jsonb_array_elements_text($1) AS UUID)))"),
        sql!(sqlite:
            "SELECT s.sync_token, s.organization_id, s.last_sync_at, s.imported_success_count, (
                 SELECT json_group_array(status ORDER BY created_at DESC, id DESC)
                 FROM (
                     SELECT status, created_at, id
                     FROM sync_logs
                     WHERE store_id = s.id AND status <> 'pending'
                     ORDER BY created_at DESC, id DESC
                     LIMIT 20
                 ) AS head
             ) AS newest, (
                 SELECT COUNT(*)
                 FROM sync_logs
                 WHERE store_id = s.id AND status = 'rate_limited'
             ) AS rate_limited_count
             FROM stores AS s
             WHERE s.sync_token IN (SELECT unhex(value) FROM json_each($1))"),
    );
    on!(tx, conn => query_as(sql).bind(json_uuid::list(tokens)).fetch_all(conn).await)
}

/// A store by its id.
pub async fn store_by_id(tx: &mut Tx, id: StoreId) -> sqlx::Result<Option<Store>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, organization_id, marketplace, access_token, currency, sync_status,
             last_sync_at, imported_success_count, paused_until
         FROM stores
         WHERE id = $1"))
        .bind(id)
        .fetch_optional(conn).await)
}

/// The organization of a store, and whether there is no other one.
pub async fn owner(tx: &mut Tx, id: StoreId) -> sqlx::Result<Option<(String, bool)>> {
    // Two ends of an index, however many stores there are.
    on!(tx, conn => query_as(sql!(
        "SELECT organization_id, (
             (SELECT MIN(organization_id) FROM stores) = (SELECT MAX(organization_id) FROM stores)
         ) AS is_alone
         FROM stores
         WHERE id = $1"))
        .bind(id)
        .fetch_optional(conn).await)
}

/// A store by what its organization and marketplace call it.
pub async fn store_by_name(
    tx: &mut Tx,
    organization_id: &str,
    marketplace: Marketplace,
    external_store_id: &str,
) -> sqlx::Result<Option<Store>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, organization_id, marketplace, access_token, currency, sync_status,
             last_sync_at, imported_success_count, paused_until
         FROM stores
         WHERE organization_id = $1 AND marketplace = $2 AND external_store_id = $3"))
        .bind(organization_id).bind(marketplace).bind(external_store_id)
        .fetch_optional(conn).await)
}

/// Locks the store for the rest of the transaction, so that the outcomes of one store are
/// written one after the other and each sees the ones before; tells whether it exists.
pub async fn lock_store(tx: &mut Tx, id: StoreId) -> sqlx::Result<bool> {
    // SQLite has one writer anyway.
    let sql = both!(
        tx,
        "SELECT 1 FROM stores WHERE id = $1",
        only_postgres!(" FOR NO KEY UPDATE")
    );
    on!(tx, conn => query(sql).bind(id).fetch_optional(conn).await.map(|row| row.is_some()))
}

/// Locks stores, always in the same order; tells which of them exist.
pub async fn lock_stores(tx: &mut Tx, ids: &[StoreId]) -> sqlx::Result<HashSet<StoreId>> {
    let sql = both!(
        tx,
        "SELECT stores.id FROM stores WHERE id ",
        is_listed!("$1"),
        only_postgres!(" ORDER BY id FOR NO KEY UPDATE")
    );
    let there: Vec<StoreId> =
        on!(tx, conn => query_scalar(sql).bind(json_uuid::list(ids)).fetch_all(conn).await)?;
    Ok(there.into_iter().collect())
}

/// Like [`lock_store`], if the lease is still ours: the fence of a run's writes. Tells whether
/// somebody paused the store meanwhile; none when the lease is lost.
pub async fn lock_leased_store(
    tx: &mut Tx,
    id: StoreId,
    lease: Uuid,
) -> sqlx::Result<Option<bool>> {
    let sql = both!(
        tx,
        "SELECT paused_at IS NOT NULL FROM stores WHERE id = $1 AND lease_token = $2",
        only_postgres!(" FOR NO KEY UPDATE")
    );
    on!(tx, conn => query_scalar(sql).bind(id).bind(lease).fetch_optional(conn).await)
}

/// What attempts came to, of one store.
#[derive(Clone, Debug, Serialize)]
pub struct StoreOutcome {
    /// Which store.
    #[serde(serialize_with = "json_uuid::of")]
    pub id: StoreId,
    /// New successes.
    pub successes: i64,
    /// How it is doing now.
    pub status: SyncStatus,
}

/// Writes what attempts came to: the new successes, the status, the time; returns how many orders
/// each store has by now.
pub async fn record_attempts(
    tx: &mut Tx,
    outcomes: &[StoreOutcome],
    now: DateTime<Utc>,
) -> sqlx::Result<HashMap<StoreId, i64>> {
    // PostgreSQL would rather read all of a few thousand stores than look some up.
    let sql = both!(
        tx,
        "UPDATE stores
         SET imported_success_count = stores.imported_success_count + o.successes,
             sync_status = o.status, last_sync_at = $2, updated_at = $2
         FROM ",
        rows!("$1", id UUID, successes BIGINT, status TEXT),
        " AS o
         WHERE stores.id = o.id",
        only_postgres!(
            " AND stores.id = ANY (ARRAY (
                  SELECT CAST(value ->> 'id' AS UUID) FROM jsonb_array_elements($1)))"
        ),
        " RETURNING stores.id, stores.imported_success_count"
    );
    let counts: Vec<(StoreId, i64)> =
        on!(tx, conn => query_as(sql).bind(Json(outcomes)).bind(now).fetch_all(conn).await)?;
    Ok(counts.into_iter().collect())
}

/// Lets nobody sync the store before `until`: its marketplace asked for a pause.
pub async fn pause_store(tx: &mut Tx, id: StoreId, until: DateTime<Utc>) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE stores
         SET paused_until = $2
         WHERE id = $1 AND (paused_until IS NULL OR paused_until < $2)"))
        .bind(id).bind(until)
        .execute(conn).await.map(|_| ()))
}

/// Frees the leases whose time was up before, so that nobody takes a dead run for a living one.
pub async fn clear_expired_leases(tx: &mut Tx, before: DateTime<Utc>) -> sqlx::Result<u64> {
    on!(tx, conn => query(sql!(
        "UPDATE stores
         SET lease_token = NULL, lease_expires_at = NULL
         WHERE lease_expires_at <= $1"))
        .bind(before)
        .execute(conn).await.map(|done| done.rows_affected()))
}

/// Stores whose success count differs from their successful rows: id, count, truth.
pub async fn drifted_counts(tx: &mut Tx) -> sqlx::Result<Vec<(StoreId, i64, i64)>> {
    on!(tx, conn => query_as(sql!(
        "SELECT s.id, s.imported_success_count, COALESCE(l.successes, 0)
         FROM stores AS s
         LEFT JOIN (
             SELECT store_id, COUNT(*) AS successes
             FROM sync_logs
             WHERE status = 'success'
             GROUP BY store_id
         ) AS l ON l.store_id = s.id
         WHERE s.imported_success_count <> COALESCE(l.successes, 0)
         ORDER BY s.id"))
        .fetch_all(conn).await)
}

/// Sets the count of a locked store to its successful rows.
pub async fn repair_count(tx: &mut Tx, id: StoreId, now: DateTime<Utc>) -> sqlx::Result<i64> {
    on!(tx, conn => query_scalar(sql!(
        "UPDATE stores
         SET imported_success_count = (
                 SELECT COUNT(*) FROM sync_logs WHERE store_id = $1 AND status = 'success'
             ),
             updated_at = $2
         WHERE id = $1
         RETURNING imported_success_count"))
        .bind(id).bind(now)
        .fetch_one(conn).await)
}

/// Frees the enqueue slot of a store that no run holds.
pub async fn free_slot(tx: &mut Tx, id: StoreId) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE stores SET enqueued_until = NULL WHERE id = $1 AND lease_token IS NULL"))
        .bind(id)
        .execute(conn).await.map(|_| ()))
}

/// Lets the enqueue slot of a store that no run holds, if it is taken, end at `until`.
pub async fn shorten_slot(tx: &mut Tx, id: StoreId, until: DateTime<Utc>) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE stores SET enqueued_until = $1
         WHERE id = $2 AND lease_token IS NULL AND enqueued_until IS NOT NULL"))
        .bind(until).bind(id)
        .execute(conn).await.map(|_| ()))
}

/// The lease of a store's run. While a run holds it, the store counts as enqueued. Nobody takes
/// that of a store that is paused.
pub(crate) fn store_lease() -> LeaseTable {
    LeaseTable {
        take: sql!(
            "UPDATE stores
             SET lease_token = $2, lease_expires_at = $3, enqueued_until = $3
             WHERE id = $1 AND paused_at IS NULL
               AND (lease_expires_at IS NULL OR lease_expires_at <= $4)"
        ),
        renew: sql!(
            "UPDATE stores
             SET lease_expires_at = $3, enqueued_until = $3
             WHERE id = $1 AND lease_token = $2"
        ),
        release: sql!(
            "UPDATE stores
             SET lease_token = NULL, lease_expires_at = NULL, enqueued_until = NULL
             WHERE id = $1 AND lease_token = $2"
        ),
    }
}

/// What a rotation of keys needs to know of access tokens. It does not move `updated_at`.
pub(crate) fn access_tokens() -> SealedColumn {
    SealedColumn {
        column: ACCESS_TOKEN,
        page: sql!(
            "SELECT id, access_token AS secret
             FROM stores
             WHERE id > $1 AND SUBSTR(access_token, 1, 16) <> $2
             ORDER BY id
             LIMIT $3"
        ),
        replace: sql!("UPDATE stores SET access_token = $3 WHERE id = $1 AND access_token = $2"),
        find: sql!("SELECT 1 FROM stores WHERE SUBSTR(access_token, 1, 16) = $1 LIMIT 1"),
    }
}
