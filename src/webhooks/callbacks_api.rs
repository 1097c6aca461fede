//! The routes of an operator: which events were delivered, why not, and once more please.

use std::sync::Arc;

use jobs::OutboxId;
use poem::http::StatusCode;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use uuid::Uuid;

use super::callback_shapes::{Callback, CallbackDetails, FailedCallback, Recover, Recovered};
use super::enqueue::enqueue_events;
use super::model::EndpointId;
use super::outbox::{self, OutboxEvent, RequeueError, event_report};
use crate::App;
use crate::http::Tag;
use crate::http::auth::Caller;
use crate::http::body::JsonBody;
use crate::http::fields;
use crate::http::idempotency::{Answer, Once, Scope};
use crate::http::page::{Page, PageRequest};
use crate::http::problem::Problem;

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
            .map_err(|error| Problem::internal(&error))?;
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
            .map_err(|error| Problem::internal(&error))?;
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
            .map_err(|error| Problem::internal(&error))?
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
        /// A key of yours: the same request with it has one effect and, for 24 hours, one answer.
        #[oai(name = "Idempotency-Key")]
        once: Once,
        /// Of the event.
        #[oai(example = "example_id")]
        id: Path<String>,
    ) -> Result<RequeueAnswer, Problem> {
        let id = OutboxId(path_id(&id)?);
        once.begin(&self.app, Scope::caller(&caller)).await?;
        let mut tx = self
            .app
            .db
            .write()
            .await
            .map_err(|error| Problem::internal(&error))?;
        outbox::requeue_in(&self.app, &mut tx, id, caller.organization_id()).await?;
        once.save(tx, Answer::empty(StatusCode::ACCEPTED)).await?;
        enqueue_events(&self.app, &[id]).await;
        caller.has_done("requeue", "callback", id);
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
        /// A key of yours: the same request with it has one effect and, for 24 hours, one answer.
        #[oai(name = "Idempotency-Key")]
        once: Once,
        /// Of the webhook.
        #[oai(example = "example_id")]
        id: Path<String>,
        body: JsonBody<Recover>,
    ) -> Result<RecoverAnswer, Problem> {
        let id = EndpointId(path_id(&id)?);
        once.begin(&self.app, Scope::caller(&caller)).await?;
        let (since, dry_run) = (body.since.instant(), body.dry_run.unwrap_or(false));
        let deliveries =
            outbox::recover(&self.app, id, caller.organization_id(), since, dry_run).await?;
        let recovered = Json(Recovered {
            deliveries,
            dry_run,
        });
        if dry_run {
            return Ok(RecoverAnswer::Counted(recovered));
        }
        caller.has_done("recover", "webhook", id);
        Ok(RecoverAnswer::Requeued(recovered))
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
            RequeueError::Database(error) => Self::internal(&error),
        }
    }
}
