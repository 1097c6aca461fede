//! Events and their deliveries.

use chrono::{DateTime, Utc};
use sqlx::query;
use sqlx::types::Json;

use crate::db::{Tx, on, sql};
use crate::webhooks::record::{Envelope, NewEvent};

/// Inserts an event with its complete payload, unless it is there already.
pub(crate) async fn insert_event(
    tx: &mut Tx,
    event: &NewEvent<'_>,
    envelope: &Envelope<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "INSERT INTO callback_outbox (id, organization_id, store_id, event, payload, status,
             attempt, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, 'pending', 0, $6, $6)
         ON CONFLICT (id) DO NOTHING"))
        .bind(event.id).bind(event.organization_id).bind(event.store_id)
        .bind(event.event.as_str()).bind(Json(envelope)).bind(now)
        .execute(conn).await.map(|_| ()))
}
