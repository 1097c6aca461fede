//! What the routes of events and their deliveries take and give.

use chrono::{DateTime, Utc};
use poem_openapi::Object;
use poem_openapi::types::Example;
use serde_json::Value;
use uuid::Uuid;

use super::model::EventType;
use super::outbox::{AttemptLog, CallbackStatus, Delivery, EventReport, OutboxEvent};
use crate::http::fields::{Fields, FromFields};
use crate::http::nullable::Nullable;
use crate::timestamp::{self, Timestamp};

/// An event, and how its delivery stands.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct Callback {
    /// Its id, which its receivers know as `eventId`.
    id: Uuid,
    /// The store it is about.
    store_id: Uuid,
    /// What happened.
    event: EventType,
    /// `failed` is a dead letter: it can be requeued.
    status: CallbackStatus,
    /// How often it was tried, by the webhook that took the most tries.
    attempt: i32,
    /// When it is tried again.
    next_retry_at: Nullable<Timestamp>,
    /// Why it was not delivered, the last time.
    last_error: Nullable<String>,
    /// When it happened.
    created_at: Timestamp,
    /// When its delivery got on.
    updated_at: Timestamp,
}

impl From<OutboxEvent> for Callback {
    fn from(event: OutboxEvent) -> Self {
        Self {
            id: event.id.0,
            store_id: event.store_id.0,
            event: event.event,
            status: event.status,
            attempt: event.attempt,
            next_retry_at: event.next_retry_at.into(),
            last_error: event.last_error.into(),
            created_at: event.created_at.into(),
            updated_at: event.updated_at.into(),
        }
    }
}

/// An event that nobody took: a dead letter.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct FailedCallback {
    /// Its id, which its receivers know as `eventId`.
    id: Uuid,
    /// The store it is about.
    store_id: Uuid,
    /// What happened.
    event: EventType,
    /// How often it was tried, by the webhook that took the most tries.
    attempt: i32,
    /// Why it was not delivered.
    last_error: Nullable<String>,
    /// When it happened.
    created_at: Timestamp,
    /// When it was given up.
    updated_at: Timestamp,
}

impl From<OutboxEvent> for FailedCallback {
    fn from(event: OutboxEvent) -> Self {
        Self {
            id: event.id.0,
            store_id: event.store_id.0,
            event: event.event,
            attempt: event.attempt,
            last_error: event.last_error.into(),
            created_at: event.created_at.into(),
            updated_at: event.updated_at.into(),
        }
    }
}

/// One try of a delivery.
#[derive(Debug, Object)]
#[oai(rename = "CallbackAttempt", rename_all = "camelCase")]
pub(super) struct AttemptView {
    /// Which one, since the event happened or was requeued.
    attempt: i32,
    /// When it was sent.
    started_at: Timestamp,
    /// How long it took until the answer, or until it was given up.
    duration_ms: i32,
    /// The status of the answer, if there was one.
    http_status: Nullable<i32>,
    /// What kind of failure it was, in a word of a fixed list.
    error: Nullable<String>,
    /// The beginning of the answer, at most 4 KiB.
    response: Nullable<String>,
}

impl From<AttemptLog> for AttemptView {
    fn from(attempt: AttemptLog) -> Self {
        Self {
            attempt: attempt.attempt,
            started_at: attempt.started_at.into(),
            duration_ms: attempt.duration_ms,
            http_status: attempt.http_status.into(),
            error: attempt.error.into(),
            response: attempt.response.into(),
        }
    }
}

/// The delivery of an event to one webhook.
#[derive(Debug, Object)]
#[oai(rename = "CallbackDelivery", rename_all = "camelCase")]
pub(super) struct DeliveryView {
    /// Its id.
    id: Uuid,
    /// The webhook.
    webhook_id: Uuid,
    /// Where it is.
    target_url: String,
    /// `pending` is still to be sent.
    status: CallbackStatus,
    /// The status of the last answer.
    http_status: Nullable<i32>,
    /// How often it was tried.
    attempt: i32,
    /// When it is tried again; null: as soon as may be, or never.
    next_attempt_at: Nullable<Timestamp>,
    /// Why it failed, the last time.
    last_error: Nullable<String>,
    /// When it was taken.
    delivered_at: Nullable<Timestamp>,
    /// The newest tries, the newest first.
    attempts: Vec<AttemptView>,
}

impl From<(Delivery, Vec<AttemptLog>)> for DeliveryView {
    fn from((delivery, attempts): (Delivery, Vec<AttemptLog>)) -> Self {
        Self {
            id: delivery.id.0,
            webhook_id: delivery.endpoint_id.0,
            target_url: delivery.target_url,
            status: delivery.status,
            http_status: delivery.http_status.into(),
            attempt: delivery.attempt,
            next_attempt_at: delivery.next_attempt_at.into(),
            last_error: delivery.last_error.into(),
            delivered_at: delivery.delivered_at.into(),
            attempts: attempts.into_iter().map(AttemptView::from).collect(),
        }
    }
}

/// All that is known of an event.
#[derive(Debug, Object)]
pub(super) struct CallbackDetails {
    /// The event.
    #[oai(flatten)]
    callback: Callback,
    /// What its receivers get; a string when what is stored is no JSON and cannot be sent.
    payload: Value,
    /// One for each webhook that it is for.
    deliveries: Vec<DeliveryView>,
}

impl From<EventReport> for CallbackDetails {
    fn from(report: EventReport) -> Self {
        let stored = report.details.payload;
        Self {
            callback: report.details.event.into(),
            payload: serde_json::from_str(&stored).unwrap_or(Value::String(stored)),
            deliveries: report
                .deliveries
                .into_iter()
                .map(DeliveryView::from)
                .collect(),
        }
    }
}

/// What a webhook is to get after all.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
pub(super) struct Recover {
    /// Events that happened before are left alone.
    pub(super) since: Timestamp,
    /// Only count.
    pub(super) dry_run: Option<bool>,
}

impl Example for Recover {
    fn example() -> Self {
        Self {
            since: DateTime::UNIX_EPOCH.into(),
            dry_run: Some(true),
        }
    }
}

impl FromFields for Recover {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let since = fields.parsed("since", 1..=64, timestamp::parse);
        let dry_run = fields.optional("dryRun", Fields::boolean);
        Some(Self {
            since: since.map(DateTime::<Utc>::into)?,
            dry_run: dry_run?,
        })
    }
}

/// What a webhook gets after all.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct Recovered {
    /// Deliveries that failed for good and are due again, or would be.
    pub(super) deliveries: u64,
    /// Whether they were only counted.
    pub(super) dry_run: bool,
}
