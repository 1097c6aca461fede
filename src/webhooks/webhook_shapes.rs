//! What the routes of webhooks take and give.

use poem_openapi::{Object, types};
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::endpoints::{EndpointChange, NewEndpoint};
use super::guard::{MAX_URL, parse_target};
use super::model::{Endpoint, EventType};
use super::send::Sent;
use super::sign::SigningSecret;
use crate::http::fields::{Fields, FromFields};
use crate::timestamp::Timestamp;

/// A webhook, as its organization registers it.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
pub(super) struct RegisterWebhook {
    /// Whose events.
    #[oai(validator(min_length = 1, max_length = 255))]
    pub(super) organization_id: String,
    /// Which event.
    pub(super) event: EventType,
    /// Where to send it: an absolute http or https URL on the public internet.
    #[oai(validator(min_length = 1, max_length = 2048))]
    pub(super) target_url: String,
}

impl types::Example for RegisterWebhook {
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
pub(super) struct Webhook {
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
pub(super) struct RegisteredWebhook {
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
pub(super) struct WebhookDetails {
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
pub(super) struct UpdateWebhook {
    /// Whether anything is sent to it. Events are kept for one that is not active.
    is_active: Option<bool>,
    /// What it is for; an empty one is removed.
    #[oai(validator(max_length = 1000))]
    description: Option<String>,
    /// Whether its events are sent one after the other, in the order they happened.
    ordered: Option<bool>,
}

impl types::Example for UpdateWebhook {
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
pub(super) struct RotatedSecret {
    /// What events are signed with from now on; only here and only once.
    secret: String,
}

impl From<&SigningSecret> for RotatedSecret {
    fn from(secret: &SigningSecret) -> Self {
        Self {
            secret: secret_text(secret),
        }
    }
}

/// How an endpoint answered a test.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(super) struct WebhookTest {
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

fn secret_text(secret: &SigningSecret) -> String {
    secret.to_text().expose_secret().to_owned()
}
