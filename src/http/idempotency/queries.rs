//! Every statement about idempotency keys.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, query, query_as};
use uuid::Uuid;

use super::claim::{ANSWER, Identity};
use crate::db::{Tx, on, sql};
use crate::encryption::{Sealed, SealedColumn};

/// A key to be claimed.
pub(super) struct NewClaim<'a> {
    pub(super) id: Uuid,
    pub(super) identity: &'a Identity<'a>,
    pub(super) running_until: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) now: DateTime<Utc>,
}

/// A key that somebody has claimed.
#[derive(Debug, FromRow)]
pub(super) struct Known {
    pub(super) id: Uuid,
    pub(super) fingerprint: String,
    pub(super) status: Option<i32>,
    pub(super) answer: Option<String>,
}

/// Claims a key that nobody has, or that was left behind: its time is over, or the same request
/// had it and died. Tells whether it is ours.
pub(super) async fn claim(tx: &mut Tx, new: &NewClaim<'_>) -> sqlx::Result<bool> {
    let Identity {
        scope,
        route,
        key,
        fingerprint,
    } = new.identity;
    on!(tx, conn => query(sql!(
        "INSERT INTO idempotency_keys (id, scope, route, idempotency_key, fingerprint,
             running_until, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (scope, route, idempotency_key) DO UPDATE
         SET id = excluded.id,
             fingerprint = excluded.fingerprint,
             running_until = excluded.running_until,
             status = NULL,
             answer = NULL,
             created_at = excluded.created_at,
             expires_at = excluded.expires_at
         WHERE idempotency_keys.expires_at <= excluded.created_at
            OR (idempotency_keys.status IS NULL
                AND idempotency_keys.running_until <= excluded.created_at
                AND idempotency_keys.fingerprint = excluded.fingerprint)"))
        .bind(new.id).bind(*scope).bind(*route).bind(*key).bind(*fingerprint)
        .bind(new.running_until).bind(new.now).bind(new.expires_at)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}

/// What is known of a key.
pub(super) async fn known(tx: &mut Tx, identity: &Identity<'_>) -> sqlx::Result<Option<Known>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, fingerprint, status, answer
         FROM idempotency_keys
         WHERE scope = $1 AND route = $2 AND idempotency_key = $3"))
        .bind(identity.scope).bind(identity.route).bind(identity.key)
        .fetch_optional(conn).await)
}

/// Writes the answer of a request that has its key still; tells whether it had.
pub(super) async fn keep(
    tx: &mut Tx,
    id: Uuid,
    status: i32,
    answer: &Sealed,
) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "UPDATE idempotency_keys
         SET status = $2, answer = $3
         WHERE id = $1 AND status IS NULL"))
        .bind(id).bind(status).bind(answer.text())
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}

/// Moves the end of a claim.
pub(super) async fn renew(tx: &mut Tx, id: Uuid, until: DateTime<Utc>) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE idempotency_keys SET running_until = $2 WHERE id = $1 AND status IS NULL"))
        .bind(id).bind(until)
        .execute(conn).await.map(|_| ()))
}

/// Frees the key of a request that has no answer.
pub(super) async fn release(tx: &mut Tx, id: Uuid) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!("DELETE FROM idempotency_keys WHERE id = $1 AND status IS NULL"))
        .bind(id)
        .execute(conn).await.map(|_| ()))
}

/// Some keys whose time is over, in the order of their end.
pub(super) async fn expired(
    tx: &mut Tx,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<(DateTime<Utc>, Uuid)>> {
    on!(tx, conn => query_as(sql!(
        "SELECT expires_at, id
         FROM idempotency_keys
         WHERE expires_at <= $1
         ORDER BY expires_at, id
         LIMIT $2"))
        .bind(now).bind(limit)
        .fetch_all(conn).await)
}

/// Deletes the keys up to one of these; tells how many.
pub(super) async fn purge(tx: &mut Tx, (end, id): (DateTime<Utc>, Uuid)) -> sqlx::Result<u64> {
    on!(tx, conn => query(sql!("DELETE FROM idempotency_keys WHERE (expires_at, id) <= ($1, $2)"))
        .bind(end).bind(id)
        .execute(conn).await.map(|done| done.rows_affected()))
}

/// What a rotation of keys needs to know of answers.
pub(crate) fn sealed_answers() -> SealedColumn {
    SealedColumn {
        column: ANSWER,
        page: sql!(
            "SELECT id, answer AS secret
             FROM idempotency_keys
             WHERE id > $1 AND SUBSTR(answer, 1, 16) <> $2
             ORDER BY id
             LIMIT $3"
        ),
        replace: sql!("UPDATE idempotency_keys SET answer = $3 WHERE id = $1 AND answer = $2"),
        find: sql!("SELECT 1 FROM idempotency_keys WHERE SUBSTR(answer, 1, 16) = $1 LIMIT 1"),
    }
}
