//! The routes of webhooks.

use std::sync::Arc;

use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use uuid::Uuid;

use super::endpoints::{
    change_endpoint, check_endpoint, delete_endpoint, get_endpoint, list_endpoints,
    register_endpoint, rotate_secret, test_endpoint,
};
use super::error::Error;
use super::guard::GuardError;
use super::model::EndpointId;
use super::webhook_shapes::{
    RegisterWebhook, RegisteredWebhook, RotatedSecret, UpdateWebhook, Webhook, WebhookDetails,
    WebhookTest,
};
use crate::App;
use crate::http::Tag;
use crate::http::auth::Caller;
use crate::http::body::JsonBody;
use crate::http::fields::{self, code};
use crate::http::idempotency::{Answer, Once, Scope};
use crate::http::kind::WEBHOOK_LIMIT_REACHED;
use crate::http::problem::{Detail, Problem};

/// Webhooks: who wants to hear of what, and where.
#[derive(Clone)]
pub struct WebhooksApi {
    app: Arc<App>,
}

impl WebhooksApi {
    /// The routes over a running service.
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

/// The answer to a deletion.
#[derive(Debug, ApiResponse)]
enum Deleted {
    /// It is deleted, or was before.
    #[oai(status = 204)]
    Deleted,
}

/// The organization that a request names, if the caller may act for it.
fn organization(caller: &Caller, query: Option<&str>) -> Result<String, Problem> {
    let organization_id = fields::check(&[("organizationId", query)], |fields| {
        fields.text("organizationId", 1..=255)
    })?;
    caller.may_act_for(&organization_id)?;
    Ok(organization_id)
}

/// The organization and the webhook that a request names.
fn own_webhook(
    caller: &Caller,
    query: Option<&str>,
    id: &str,
) -> Result<(String, EndpointId), Problem> {
    let values = [("organizationId", query), ("id", Some(id))];
    let (organization_id, id) = fields::check(&values, |fields| {
        let organization_id = fields.text("organizationId", 1..=255);
        let id = fields.uuid("id");
        Some((organization_id?, id?))
    })?;
    caller.may_act_for(&organization_id)?;
    Ok((organization_id, EndpointId(id)))
}

#[OpenApi]
impl WebhooksApi {
    /// Register a webhook
    ///
    /// Subscribes a URL of an organization to an event. A registration that is repeated changes
    /// nothing but that the webhook is active. An organization may have three active webhooks,
    /// over all events, unless the service is set otherwise.
    #[oai(
        path = "/webhooks/register",
        method = "post",
        operation_id = "register_webhook",
        tag = "Tag::Webhooks"
    )]
    async fn register_webhook(
        &self,
        caller: Caller,
        /// A key of yours: the same request with it has one effect and, for 24 hours, one answer.
        #[oai(name = "Idempotency-Key")]
        once: Once,
        body: JsonBody<RegisterWebhook>,
    ) -> Result<Json<RegisteredWebhook>, Problem> {
        caller.may_act_for(&body.organization_id)?;
        let scope = Scope::organization(&body.organization_id);
        once.begin(&self.app, scope).await?;
        let checked = check_endpoint(&self.app, body.0.into()).await?;
        let mut tx = self.app.db.write().await.map_err(Error::from)?;
        let registered = register_endpoint(&self.app, &mut tx, checked).await?;
        let id = registered.0.id;
        let registered = RegisteredWebhook::from(registered);
        once.save(tx, Answer::json(&registered)).await?;
        caller.has_done("register", "webhook", id);
        Ok(Json(registered))
    }

    /// List webhooks
    ///
    /// All of an organization, in the order they were registered; also those that are not active.
    #[oai(
        path = "/webhooks",
        method = "get",
        operation_id = "list_webhooks",
        tag = "Tag::Webhooks"
    )]
    async fn list_webhooks(
        &self,
        caller: Caller,
        /// Whose webhooks.
        #[oai(name = "organizationId", example = "example_organization")]
        query: Query<Option<String>>,
    ) -> Result<Json<Vec<Webhook>>, Problem> {
        let organization_id = organization(&caller, query.0.as_deref())?;
        let endpoints = list_endpoints(&self.app, &organization_id).await?;
        Ok(Json(endpoints.into_iter().map(Webhook::from).collect()))
    }

    /// Show a webhook
    #[oai(
        path = "/webhooks/:id",
        method = "get",
        operation_id = "get_webhook",
        tag = "Tag::Webhooks"
    )]
    async fn get_webhook(
        &self,
        caller: Caller,
        /// Of the webhook.
        #[oai(example = "example_id")]
        id: Path<String>,
        /// Whose webhook.
        #[oai(name = "organizationId", example = "example_organization")]
        query: Query<Option<String>>,
    ) -> Result<Json<WebhookDetails>, Problem> {
        let (organization_id, id) = own_webhook(&caller, query.0.as_deref(), &id)?;
        let endpoint = get_endpoint(&self.app, &organization_id, id).await?;
        Ok(Json(endpoint.into()))
    }

    /// Change a webhook
    ///
    /// One that is activated is sent what happened while it was not active. One that is activated
    /// counts again, so there may be too many.
    #[oai(
        path = "/webhooks/:id",
        method = "patch",
        operation_id = "update_webhook",
        tag = "Tag::Webhooks"
    )]
    async fn update_webhook(
        &self,
        caller: Caller,
        /// Of the webhook.
        #[oai(example = "example_id")]
        id: Path<String>,
        /// Whose webhook.
        #[oai(name = "organizationId", example = "example_organization")]
        query: Query<Option<String>>,
        body: JsonBody<UpdateWebhook>,
    ) -> Result<Json<WebhookDetails>, Problem> {
        let (organization_id, id) = own_webhook(&caller, query.0.as_deref(), &id)?;
        let endpoint = change_endpoint(&self.app, &organization_id, id, body.0.into()).await?;
        caller.has_done("update", "webhook", id);
        Ok(Json(endpoint.into()))
    }

    /// Delete a webhook
    ///
    /// Nothing is sent to it any more, also nothing that it is still owed. The list shows it as
    /// not active. Registered again, it has its id and its secret as before.
    #[oai(
        path = "/webhooks/:id",
        method = "delete",
        operation_id = "delete_webhook",
        tag = "Tag::Webhooks"
    )]
    async fn delete_webhook(
        &self,
        caller: Caller,
        /// Of the webhook.
        #[oai(example = "example_id")]
        id: Path<String>,
        /// Whose webhook.
        #[oai(name = "organizationId", example = "example_organization")]
        query: Query<Option<String>>,
    ) -> Result<Deleted, Problem> {
        let (organization_id, id) = own_webhook(&caller, query.0.as_deref(), &id)?;
        delete_endpoint(&self.app, &organization_id, id).await?;
        caller.has_done("delete", "webhook", id);
        Ok(Deleted::Deleted)
    }

    /// Replace the secret of a webhook
    ///
    /// Events are signed with the new one and, for 24 hours, with the one before as well; with
    /// two replaced ones at most.
    #[oai(
        path = "/webhooks/:id/rotate-secret",
        method = "post",
        operation_id = "rotate_webhook_secret",
        tag = "Tag::Webhooks"
    )]
    async fn rotate_webhook_secret(
        &self,
        caller: Caller,
        /// A key of yours: the same request with it has one effect and, for 24 hours, one answer.
        #[oai(name = "Idempotency-Key")]
        once: Once,
        /// Of the webhook.
        #[oai(example = "example_id")]
        id: Path<String>,
        /// Whose webhook.
        #[oai(name = "organizationId", example = "example_organization")]
        query: Query<Option<String>>,
    ) -> Result<Json<RotatedSecret>, Problem> {
        let (organization_id, id) = own_webhook(&caller, query.0.as_deref(), &id)?;
        let scope = Scope::organization(&organization_id);
        once.begin(&self.app, scope).await?;
        let mut tx = self.app.db.write().await.map_err(Error::from)?;
        let secret = rotate_secret(&self.app, &mut tx, &organization_id, id).await?;
        let rotated = RotatedSecret::from(&secret);
        once.save(tx, Answer::json(&rotated)).await?;
        caller.has_done("rotate_secret", "webhook", id);
        Ok(Json(rotated))
    }

    /// Try a webhook out
    ///
    /// Sends it a signed event `webhook.test` now and tells what it answered.
    #[oai(
        path = "/webhooks/:id/test",
        method = "post",
        operation_id = "test_webhook",
        tag = "Tag::Webhooks"
    )]
    async fn test_webhook(
        &self,
        caller: Caller,
        /// A key of yours: the same request with it has one effect and, for 24 hours, one answer.
        #[oai(name = "Idempotency-Key")]
        once: Once,
        /// Of the webhook.
        #[oai(example = "example_id")]
        id: Path<String>,
        /// Whose webhook.
        #[oai(name = "organizationId", example = "example_organization")]
        query: Query<Option<String>>,
    ) -> Result<Json<WebhookTest>, Problem> {
        let (organization_id, id) = own_webhook(&caller, query.0.as_deref(), &id)?;
        let scope = Scope::organization(&organization_id);
        once.begin(&self.app, scope).await?;
        let sent = test_endpoint(&self.app, &organization_id, id).await?;
        caller.has_done("test", "webhook", id);
        Ok(Json(sent.into()))
    }
}

/// An id of the right form that is nobody's: put yours in.
fn example_id() -> String {
    Uuid::from_u128(0x018c_c251_f400_7000_8000_0000_0000_0001).to_string()
}

/// An organization as a parameter.
#[expect(clippy::unnecessary_wraps, reason = "the parameter is optional")]
fn example_organization() -> Option<String> {
    Some("org-1".to_owned())
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::EndpointNotFound => Self::not_found("Webhook not found"),
            Error::LimitReached(limit) => Self::conflict(
                WEBHOOK_LIMIT_REACHED.code,
                format!("An organization may have {limit} active webhooks"),
            )
            .with("limit", limit),
            Error::TargetRefused(refused) => refused.into(),
            error @ Error::Database(_) => Self::internal(&error),
        }
    }
}

impl From<GuardError> for Problem {
    fn from(refused: GuardError) -> Self {
        Self::validation(vec![Detail {
            path: vec!["targetUrl".into()],
            code: code::INVALID_STRING.to_owned(),
            message: refused.to_string(),
        }])
    }
}
