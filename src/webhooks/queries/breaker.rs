//! What requests say of their endpoints: failures in a row, and who is left in peace.

use chrono::{DateTime, Utc};
use sqlx::{query, query_scalar};

use crate::db::{Tx, on, sql};
use crate::webhooks::model::EndpointId;

/// Takes the one chance that an endpoint has to show that it is back; the next one comes when
/// `until` has passed without an outcome.
pub(crate) async fn take_probe(
    tx: &mut Tx,
    id: EndpointId,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!(
        "UPDATE webhook_endpoints
         SET open_until = $2
         WHERE id = $1 AND (open_until IS NULL OR open_until <= $3)"))
        .bind(id).bind(until).bind(now)
        .execute(conn).await.map(|done| done.rows_affected() == 1))
}

/// Closes the breaker of an endpoint that took an event; tells whether it had been open.
pub(crate) async fn count_success(tx: &mut Tx, id: EndpointId) -> sqlx::Result<bool> {
    let was_open: Option<bool> = on!(tx, conn => query_scalar(sql!(
        "SELECT open_until IS NOT NULL
         FROM webhook_endpoints
         WHERE id = $1 AND consecutive_failures > 0"))
        .bind(id)
        .fetch_optional(conn).await)?;
    let Some(was_open) = was_open else {
        return Ok(false);
    };
    on!(tx, conn => query(sql!(
        "UPDATE webhook_endpoints
         SET consecutive_failures = 0, open_until = NULL
         WHERE id = $1"))
        .bind(id)
        .execute(conn).await.map(|_| was_open))
}

/// Counts a failure of an endpoint; returns how many there were in a row. From `threshold` on
/// only failed probes count.
pub(crate) async fn count_failure(
    tx: &mut Tx,
    id: EndpointId,
    is_probe: bool,
    threshold: i32,
) -> sqlx::Result<i32> {
    on!(tx, conn => query_scalar(sql!(
        "UPDATE webhook_endpoints
         SET consecutive_failures = consecutive_failures
             + CASE WHEN consecutive_failures < $3 OR $2 THEN 1 ELSE 0 END
         WHERE id = $1
         RETURNING consecutive_failures"))
        .bind(id).bind(is_probe).bind(threshold)
        .fetch_one(conn).await)
}

/// Leaves an endpoint in peace for a while.
pub(crate) async fn open_breaker(
    tx: &mut Tx,
    id: EndpointId,
    until: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!("UPDATE webhook_endpoints SET open_until = $2 WHERE id = $1"))
        .bind(id).bind(until)
        .execute(conn).await.map(|_| ()))
}
