//! Events and deliveries as they would be after a while, put there behind the service's back.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::app::{TestApp, TestStore, on};

/// How an event stands.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub(crate) struct EventRow {
    pub(crate) status: String,
    pub(crate) attempt: i32,
    pub(crate) next_retry_at: Option<DateTime<Utc>>,
    pub(crate) last_error: Option<String>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// How the delivery to one endpoint stands.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub(crate) struct DeliveryRow {
    pub(crate) status: String,
    pub(crate) attempt: i32,
    pub(crate) next_attempt_at: Option<DateTime<Utc>>,
    pub(crate) last_error: Option<String>,
}

impl TestApp {
    /// An event of `org-1` that happened, and was changed last, so long ago. One that failed has
    /// had three attempts.
    pub(crate) async fn insert_event(
        &self,
        store: TestStore,
        status: &str,
        age: TimeDelta,
    ) -> Uuid {
        let at = self.clock.now() - age;
        let id = self.app.ids.new_id(at);
        let is_failed = status == "failed";
        on!(&self.app.db, pool => sqlx::query(
            "INSERT INTO callback_outbox (id, organization_id, store_id, event, payload, status,
                 attempt, last_error, created_at, updated_at)
             VALUES ($1, 'org-1', $2, 'sync.completed', $3, $4, $5, $6, $7, $7)")
            .bind(id).bind(store.id)
            .bind(sqlx::types::Json(serde_json::json!({ "eventId": id, "event": "sync.completed" })))
            .bind(status).bind(if is_failed { 3 } else { 0 })
            .bind(is_failed.then_some("HTTP 500 Internal Server Error")).bind(at)
            .execute(pool).await.map(|_| ()).unwrap());
        id
    }

    /// The delivery of an event to an endpoint, of the event's age.
    pub(crate) async fn insert_delivery(
        &self,
        event: Uuid,
        endpoint: Uuid,
        status: &str,
        age: TimeDelta,
    ) -> Uuid {
        let at = self.clock.now() - age;
        let id = self.app.ids.new_id(at);
        let is_failed = status == "failed";
        on!(&self.app.db, pool => sqlx::query(
            "INSERT INTO callback_deliveries (id, outbox_id, endpoint_id, status, attempt,
                 last_error, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7)")
            .bind(id).bind(event).bind(endpoint).bind(status)
            .bind(if is_failed { 3 } else { i32::from(status == "success") })
            .bind(is_failed.then_some("HTTP 500 Internal Server Error")).bind(at)
            .execute(pool).await.map(|_| ()).unwrap());
        id
    }

    /// One try of a delivery.
    pub(crate) async fn insert_attempt(&self, delivery: Uuid, attempt: i32, at: DateTime<Utc>) {
        on!(&self.app.db, pool => sqlx::query(
            "INSERT INTO callback_attempts (id, delivery_id, attempt, started_at, duration_ms,
                 http_status, error, response)
             VALUES ($1, $2, $3, $4, 12, 500, NULL, 'no')")
            .bind(self.app.ids.new_id(at)).bind(delivery).bind(attempt).bind(at)
            .execute(pool).await.map(|_| ()).unwrap());
    }

    pub(crate) async fn event_row(&self, id: Uuid) -> Option<EventRow> {
        on!(&self.app.db, pool => sqlx::query_as(
            "SELECT status, attempt, next_retry_at, last_error, updated_at
             FROM callback_outbox WHERE id = $1")
            .bind(id).fetch_optional(pool).await.unwrap())
    }

    pub(crate) async fn delivery_row(&self, event: Uuid, endpoint: Uuid) -> DeliveryRow {
        on!(&self.app.db, pool => sqlx::query_as(
            "SELECT status, attempt, next_attempt_at, last_error
             FROM callback_deliveries WHERE outbox_id = $1 AND endpoint_id = $2")
            .bind(event).bind(endpoint).fetch_one(pool).await.unwrap())
    }
}
