//! The routes of webhooks, and the shapes they take and give.

use std::sync::Arc;

use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::endpoints::{
    EndpointChange, NewEndpoint, change_endpoint, delete_endpoint, get_endpoint, list_endpoints,
    register_endpoint, rotate_secret, test_endpoint,
};
use super::error::Error;
use super::guard::{GuardError, MAX_URL, parse_target};
use super::model::{Endpoint, EndpointId, EventType};
use super::send::Sent;
use super::sign::SigningSecret;
use crate::App;
use crate::http::Tag;
use crate::http::auth::Caller;
use crate::http::body::JsonBody;
use crate::http::fields::{self, Fields, FromFields, code};
use crate::http::kind::WEBHOOK_LIMIT_REACHED;
use crate::http::problem::{Detail, Problem};
use crate::timestamp::Timestamp;

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

/// A webhook, as its organization registers it.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
struct RegisterWebhook {
    /// Whose events.
    #[oai(validator(min_length = 1, max_length = 255))]
    organization_id: String,
    /// Which event.
    event: EventType,
    /// Where to send it: an absolute http or https URL on the public internet.
    #[oai(validator(min_length = 1, max_length = 2048))]
    target_url: String,
}

impl poem_openapi::types::Example for RegisterWebhook {
    fn example() -> Self {
        Self {
            organization_id: "org-1".to_owned(),
            event: EventType::SyncCompleted,
            target_url: "http://127.0.0.1:4000/webhook".to_owned(),
        }
    }
}

impl FromFields for RegisterWebhook {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let organization_id = fields.text("organizationId", 1..=255);
        let event = fields.one_of("event", &EventType::ALL.map(EventType::as_str));
        let target_url = fields.parsed("targetUrl", 1..=MAX_URL, |text| {
            parse_target(text).map(|_| text.to_owned())
        });
        Some(Self {
            organization_id: organization_id?,
            event: event?.parse().ok()?,
            target_url: target_url?,
        })
    }
}

impl From<RegisterWebhook> for NewEndpoint {
    fn from(webhook: RegisterWebhook) -> Self {
        Self {
            organization_id: webhook.organization_id,
            event: webhook.event,
            target_url: webhook.target_url,
        }
    }
}

/// A webhook.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
struct Webhook {
    /// Its id.
    id: Uuid,
    /// Whose it is.
    organization_id: String,
    /// What it hears of.
    event: EventType,
    /// Where it is.
    target_url: String,
    /// Whether anything is sent to it; false when it was deactivated or deleted.
    is_active: bool,
}

impl From<Endpoint> for Webhook {
    fn from(endpoint: Endpoint) -> Self {
        Self {
            id: endpoint.id.0,
            organization_id: endpoint.organization_id,
            event: endpoint.event,
            target_url: endpoint.target_url,
            is_active: endpoint.is_active,
        }
    }
}

/// A registered webhook.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
struct RegisteredWebhook {
    /// The webhook.
    #[oai(flatten)]
    webhook: Webhook,
    /// What its events are signed with (Standard Webhooks). Only here and only once: a
    /// registration that is repeated answers without it.
    #[oai(skip_serializing_if_is_none)]
    secret: Option<String>,
}

impl From<(Endpoint, Option<SigningSecret>)> for RegisteredWebhook {
    fn from((endpoint, secret): (Endpoint, Option<SigningSecret>)) -> Self {
        Self {
            webhook: endpoint.into(),
            secret: secret.as_ref().map(secret_text),
        }
    }
}

/// A webhook, in full.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
struct WebhookDetails {
    /// The webhook.
    #[oai(flatten)]
    webhook: Webhook,
    /// Why it is not active, when the service said so: `gone`, the endpoint answered 410.
    inactive_reason: Option<String>,
    /// What it is for.
    description: Option<String>,
    /// Whether its events are sent one after the other, in the order they happened.
    ordered: bool,
    /// When it was registered first.
    created_at: Timestamp,
    /// When it was changed last.
    updated_at: Timestamp,
}

impl From<Endpoint> for WebhookDetails {
    fn from(mut endpoint: Endpoint) -> Self {
        Self {
            inactive_reason: endpoint.inactive_reason.take(),
            description: endpoint.description.take(),
            ordered: endpoint.is_ordered,
            created_at: endpoint.created_at.into(),
            updated_at: endpoint.updated_at.into(),
            webhook: endpoint.into(),
        }
    }
}

/// What to change of a webhook; what is absent stays.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
struct UpdateWebhook {
    /// Whether anything is sent to it. Events are kept for one that is not active.
    is_active: Option<bool>,
    /// What it is for; an empty one is removed.
    #[oai(validator(max_length = 1000))]
    description: Option<String>,
    /// Whether its events are sent one after the other, in the order they happened.
    ordered: Option<bool>,
}

impl poem_openapi::types::Example for UpdateWebhook {
    fn example() -> Self {
        Self {
            is_active: Some(true),
            description: Some("Tells the ERP".to_owned()),
            ordered: Some(true),
        }
    }
}

impl FromFields for UpdateWebhook {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let is_active = fields.optional("isActive", Fields::boolean);
        let description =
            fields.optional("description", |fields, name| fields.text(name, 0..=1000));
        let ordered = fields.optional("ordered", Fields::boolean);
        Some(Self {
            is_active: is_active?,
            description: description?,
            ordered: ordered?,
        })
    }
}

impl From<UpdateWebhook> for EndpointChange {
    fn from(change: UpdateWebhook) -> Self {
        Self {
            is_active: change.is_active,
            description: change.description,
            is_ordered: change.ordered,
        }
    }
}

/// A new secret.
#[derive(Debug, Object)]
struct RotatedSecret {
    /// What events are signed with from now on; only here and only once.
    secret: String,
}

/// How an endpoint answered a test.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
struct WebhookTest {
    /// Whether an event would count as delivered: it was answered with 200 or 201.
    success: bool,
    /// The HTTP status of the answer.
    status: Option<u16>,
    /// How long the request took.
    latency_ms: u64,
    /// The first 4 KiB of the answer.
    response: Option<String>,
    /// Why there is no answer: `timeout`, `address_refused`, `connection_failed`,
    /// `transport_failed` or `signing_secret_unreadable`.
    error: Option<String>,
}

impl From<Sent> for WebhookTest {
    fn from(sent: Sent) -> Self {
        let latency_ms = u64::try_from(sent.duration.as_millis()).unwrap_or(u64::MAX);
        match sent.reply {
            Ok(reply) => Self {
                success: reply.is_success(),
                status: Some(reply.status),
                latency_ms,
                response: Some(reply.excerpt),
                error: None,
            },
            Err(error) => Self {
                success: false,
                status: None,
                latency_ms,
                response: None,
                error: Some(error.to_string()),
            },
        }
    }
}

/// The answer to a deletion.
#[derive(Debug, ApiResponse)]
enum Deleted {
    /// It is deleted, or was before.
    #[oai(status = 204)]
    Deleted,
}

fn secret_text(secret: &SigningSecret) -> String {
    secret.to_text().expose_secret().to_owned()
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
        body: JsonBody<RegisterWebhook>,
    ) -> Result<Json<RegisteredWebhook>, Problem> {
        caller.may_act_for(&body.organization_id)?;
        let registered = register_endpoint(&self.app, body.0.into()).await?;
        Ok(Json(registered.into()))
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
        /// Of the webhook.
        #[oai(example = "example_id")]
        id: Path<String>,
        /// Whose webhook.
        #[oai(name = "organizationId", example = "example_organization")]
        query: Query<Option<String>>,
    ) -> Result<Json<RotatedSecret>, Problem> {
        let (organization_id, id) = own_webhook(&caller, query.0.as_deref(), &id)?;
        let secret = rotate_secret(&self.app, &organization_id, id).await?;
        Ok(Json(RotatedSecret {
            secret: secret_text(&secret),
        }))
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
        /// Of the webhook.
        #[oai(example = "example_id")]
        id: Path<String>,
        /// Whose webhook.
        #[oai(name = "organizationId", example = "example_organization")]
        query: Query<Option<String>>,
    ) -> Result<Json<WebhookTest>, Problem> {
        let (organization_id, id) = own_webhook(&caller, query.0.as_deref(), &id)?;
        let sent = test_endpoint(&self.app, &organization_id, id).await?;
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
            Error::Database(sqlx::Error::PoolTimedOut) => Self::unavailable(1),
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
