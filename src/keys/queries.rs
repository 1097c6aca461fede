//! Every statement about keys.

use chrono::{DateTime, Utc};
use sqlx::{query, query_as, query_scalar};

use super::model::{ApiKey, KeyId, KeyRow};
use crate::db::{Tx, on, sql};
use crate::http::auth::KeyHash;

/// Inserts a key.
pub(super) async fn insert_key(tx: &mut Tx, key: &ApiKey, hash: KeyHash) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "INSERT INTO api_keys (id, organization_id, name, prefix, hash, scope, created_at,
             expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"))
        .bind(key.id).bind(&key.organization_id).bind(&key.name).bind(&key.prefix)
        .bind(hash.to_hex()).bind(key.scope).bind(key.created_at).bind(key.expires_at)
        .execute(conn).await.map(|_| ()))
}

/// The key with this hash, whether it is valid or not.
pub(super) async fn key_by_hash(tx: &mut Tx, hash: KeyHash) -> sqlx::Result<Option<KeyRow>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, organization_id, name, prefix, scope, created_at, expires_at, revoked_at,
             last_used_at, hash
         FROM api_keys
         WHERE hash = $1"))
        .bind(hash.to_hex())
        .fetch_optional(conn).await)
}

/// Whether a key was ever made.
pub(super) async fn keys_exist(tx: &mut Tx) -> sqlx::Result<bool> {
    let first: Option<KeyId> = on!(tx, conn => query_scalar(sql!(
        "SELECT id
         FROM api_keys
         LIMIT 1"))
        .fetch_optional(conn).await)?;
    Ok(first.is_some())
}

/// The keys of an organization, or of all, in the order they were made.
pub(super) async fn keys_of(
    tx: &mut Tx,
    organization_id: Option<&str>,
) -> sqlx::Result<Vec<ApiKey>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, organization_id, name, prefix, scope, created_at, expires_at, revoked_at,
             last_used_at
         FROM api_keys
         WHERE CAST($1 AS TEXT) IS NULL OR organization_id = $1
         ORDER BY organization_id, created_at, id"))
        .bind(organization_id)
        .fetch_all(conn).await)
}

/// Revokes a key; one that is revoked already keeps its instant.
pub(super) async fn revoke(
    tx: &mut Tx,
    id: KeyId,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<ApiKey>> {
    on!(tx, conn => query_as(sql!(
        "UPDATE api_keys
         SET revoked_at = COALESCE(revoked_at, $2)
         WHERE id = $1
         RETURNING id, organization_id, name, prefix, scope, created_at, expires_at, revoked_at,
             last_used_at"))
        .bind(id).bind(now)
        .fetch_optional(conn).await)
}

/// Notes that a key was used, unless that is noted for a later instant already.
pub(super) async fn note_use(tx: &mut Tx, id: KeyId, now: DateTime<Utc>) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE api_keys
         SET last_used_at = $2
         WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)"))
        .bind(id).bind(now)
        .execute(conn).await.map(|_| ()))
}
