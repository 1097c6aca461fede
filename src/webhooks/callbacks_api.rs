//! The routes of an operator: which events were delivered, why not, and once more please.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use jobs::OutboxId;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde_json::Value;
use uuid::Uuid;

use super::model::{EndpointId, EventType};
use super::outbox::{
    self, AttemptLog, CallbackStatus, Delivery, EventReport, OutboxEvent, RequeueError,
    event_report,
};
use crate::App;
use crate::http::Tag;
use crate::http::auth::Caller;
use crate::http::body::JsonBody;
use crate::http::fields::{self, Fields, FromFields};
use crate::http::nullable::Nullable;
use crate::http::page::{Page, PageRequest};
use crate::http::problem::Problem;
use crate::timestamp::{self, Timestamp};

/// Events and their deliveries.
#[derive(Clone)]
pub struct CallbacksApi {
    app: Arc<App>,
}

impl CallbacksApi {
    /// The routes over a running service.
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

/// An event, and how its delivery stands.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
struct Callback {
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
struct FailedCallback {
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
struct AttemptView {
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
struct DeliveryView {
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
struct CallbackDetails {
    /// The event.
    #[oai(flatten)]
    callback: Callback,
    /// What its receivers get.
    payload: Value,
    /// One for each webhook that it is for.
    deliveries: Vec<DeliveryView>,
}

impl From<EventReport> for CallbackDetails {
    fn from(report: EventReport) -> Self {
        Self {
            callback: report.details.event.into(),
            payload: report.details.payload.0,
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
struct Recover {
    /// Events that happened before are left alone.
    since: Timestamp,
    /// Only count.
    dry_run: Option<bool>,
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
struct Recovered {
    /// Deliveries that failed for good and are due again, or would be.
    deliveries: u64,
    /// Whether they were only counted.
    dry_run: bool,
}

#[derive(ApiResponse)]
enum RecoverAnswer {
    /// They were only counted.
    #[oai(status = 200)]
    Counted(Json<Recovered>),
    /// They are on their way.
    #[oai(status = 202)]
    Requeued(Json<Recovered>),
}

#[derive(ApiResponse)]
enum RequeueAnswer {
    /// It is on its way.
    #[oai(status = 202)]
    Requeued,
}

/// An id of the right form that is nobody's: put yours in.
fn example_id() -> String {
    Uuid::from_u128(0x018c_c251_f400_7000_8000_0000_0000_0002).to_string()
}

#[expect(clippy::unnecessary_wraps, reason = "the parameter is optional")]
fn example_organization() -> Option<String> {
    Some("org-1".to_owned())
}

/// Reads whose page is wanted, and which.
fn list_query(
    organization_id: Option<&str>,
    limit: Option<&str>,
    cursor: Option<&str>,
) -> Result<(String, PageRequest), Problem> {
    let values = [
        ("organizationId", organization_id),
        ("limit", limit),
        ("cursor", cursor),
    ];
    fields::check(&values, |fields| {
        let organization_id = fields.text("organizationId", 1..=255);
        let page = PageRequest::from_fields(fields);
        Some((organization_id?, page?))
    })
}

fn path_id(id: &str) -> Result<Uuid, Problem> {
    fields::check(&[("id", Some(id))], |fields| fields.uuid("id"))
}

#[OpenApi(tag = "Tag::Callbacks")]
impl CallbacksApi {
    /// List events
    ///
    /// The newest first, whether they were delivered or not.
    #[oai(path = "/callbacks", method = "get", operation_id = "list_callbacks")]
    async fn list_callbacks(
        &self,
        caller: Caller,
        /// Whose events.
        #[oai(name = "organizationId", example = "example_organization")]
        organization_id: Query<Option<String>>,
        /// At most so many: 1 to 100, 50 by default.
        limit: Query<Option<String>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Json<Page<Callback>>, Problem> {
        let (organization_id, page) = list_query(
            organization_id.as_deref(),
            limit.as_deref(),
            cursor.as_deref(),
        )?;
        caller.may_act_for(&organization_id)?;
        let found = outbox::events(&self.app, &organization_id, page)
            .await
            .map_err(database)?;
        Ok(Json(Page::of(found, page, OutboxEvent::place)))
    }

    /// List dead letters
    ///
    /// Events that a webhook did not take, however often it was tried; the newest first.
    #[oai(
        path = "/callbacks/failed",
        method = "get",
        operation_id = "list_failed_callbacks"
    )]
    async fn list_failed_callbacks(
        &self,
        caller: Caller,
        /// Whose events.
        #[oai(name = "organizationId", example = "example_organization")]
        organization_id: Query<Option<String>>,
        /// At most so many: 1 to 100, 50 by default.
        limit: Query<Option<String>>,
        /// The `nextCursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Json<Page<FailedCallback>>, Problem> {
        let (organization_id, page) = list_query(
            organization_id.as_deref(),
            limit.as_deref(),
            cursor.as_deref(),
        )?;
        caller.may_act_for(&organization_id)?;
        let found = outbox::failed_events(&self.app, &organization_id, page)
            .await
            .map_err(database)?;
        Ok(Json(Page::of(found, page, OutboxEvent::place)))
    }

    /// Show an event
    ///
    /// With its payload, the webhooks it is for, and every try: when, how long, what came back.
    #[oai(path = "/callbacks/:id", method = "get", operation_id = "get_callback")]
    async fn get_callback(
        &self,
        caller: Caller,
        /// Of the event.
        #[oai(example = "example_id")]
        id: Path<String>,
    ) -> Result<Json<CallbackDetails>, Problem> {
        let id = OutboxId(path_id(&id)?);
        let report = event_report(&self.app, id, caller.organization_id())
            .await
            .map_err(database)?
            .ok_or(RequeueError::CallbackNotFound)?;
        Ok(Json(report.into()))
    }

    /// Deliver a dead letter after all
    ///
    /// To the webhooks that did not take it, from the first try on. Those that have it do not get
    /// it again.
    #[oai(
        path = "/callbacks/:id/requeue",
        method = "post",
        operation_id = "requeue_callback"
    )]
    async fn requeue_callback(
        &self,
        caller: Caller,
        /// Of the event.
        #[oai(example = "example_id")]
        id: Path<String>,
    ) -> Result<RequeueAnswer, Problem> {
        let id = OutboxId(path_id(&id)?);
        outbox::requeue(&self.app, id, caller.organization_id()).await?;
        Ok(RequeueAnswer::Requeued)
    }

    /// Deliver what a webhook missed
    ///
    /// Every event since an instant that this webhook did not take is delivered to it after all;
    /// with `dryRun` they are only counted.
    #[oai(
        path = "/webhooks/:id/recover",
        method = "post",
        operation_id = "recover_webhook"
    )]
    async fn recover_webhook(
        &self,
        caller: Caller,
        /// Of the webhook.
        #[oai(example = "example_id")]
        id: Path<String>,
        body: JsonBody<Recover>,
    ) -> Result<RecoverAnswer, Problem> {
        let id = EndpointId(path_id(&id)?);
        let (since, dry_run) = (body.since.instant(), body.dry_run.unwrap_or(false));
        let deliveries =
            outbox::recover(&self.app, id, caller.organization_id(), since, dry_run).await?;
        let recovered = Json(Recovered {
            deliveries,
            dry_run,
        });
        Ok(if dry_run {
            RecoverAnswer::Counted(recovered)
        } else {
            RecoverAnswer::Requeued(recovered)
        })
    }
}

/// Every connection is taken, or the database is away.
fn database(error: sqlx::Error) -> Problem {
    match error {
        sqlx::Error::PoolTimedOut => Problem::unavailable(1),
        error => Problem::internal(&error),
    }
}

impl From<RequeueError> for Problem {
    fn from(error: RequeueError) -> Self {
        match error {
            RequeueError::CallbackNotFound => Self::not_found("Callback not found"),
            RequeueError::WebhookNotFound => Self::not_found("Webhook not found"),
            RequeueError::NotFailed => Self::conflict(
                "callback_not_failed",
                "Only a callback whose status is failed can be requeued",
            ),
            RequeueError::EndpointsDeleted => Self::conflict(
                "webhooks_deleted",
                "The webhooks that did not take the callback were deleted",
            ),
            RequeueError::Database(error) => database(error),
        }
    }
}
