//! Every statement about the keys in use.

use chrono::{DateTime, Utc};
use sqlx::{query, query_scalar};

use super::keyring::KeyId;
use crate::db::{Tx, both, on, only_postgres, sql};

/// The keys that values may be sealed with.
pub(super) async fn keys_in_use(tx: &mut Tx) -> sqlx::Result<Vec<KeyId>> {
    on!(tx, conn => query_scalar(sql!("SELECT key_id FROM encryption_keys ORDER BY created_at, key_id"))
        .fetch_all(conn).await)
}

/// Keeps a key from being freed until the transaction ends; tells whether it is in use.
pub(super) async fn share_key(tx: &mut Tx, id: &KeyId) -> sqlx::Result<bool> {
    // SQLite has one writer anyway.
    let sql = both!(
        tx,
        "SELECT 1 FROM encryption_keys WHERE key_id = $1",
        only_postgres!(" FOR KEY SHARE")
    );
    on!(tx, conn => query(sql).bind(id).fetch_optional(conn).await.map(|row| row.is_some()))
}

/// Notes that a key is in use.
pub(super) async fn note_key(tx: &mut Tx, id: &KeyId, now: DateTime<Utc>) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "INSERT INTO encryption_keys (key_id, created_at) VALUES ($1, $2)
         ON CONFLICT (key_id) DO NOTHING"))
        .bind(id).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// Waits until nobody seals with a key any more, and lets nobody begin.
pub(super) async fn lock_key(tx: &mut Tx, id: &KeyId) -> sqlx::Result<()> {
    let sql = both!(
        tx,
        "SELECT key_id FROM encryption_keys WHERE key_id = $1",
        only_postgres!(" FOR UPDATE")
    );
    on!(tx, conn => query(sql).bind(id).execute(conn).await.map(|_| ()))
}

/// Notes that nothing is sealed with a key any more.
pub(super) async fn forget_key(tx: &mut Tx, id: &KeyId) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!("DELETE FROM encryption_keys WHERE key_id = $1"))
        .bind(id)
        .execute(conn).await.map(|_| ()))
}
