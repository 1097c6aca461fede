//! Registers endpoints, changes and deletes them, keeps their secrets, and tries them out.
//!
//! What changes the endpoints of one organization happens one after the other
//! ([`lock_organization`](endpoints::lock_organization)), so their number is what it seems.

use chrono::{DateTime, TimeDelta, Utc};
use jobs::OutboxId;
use serde::Serialize;
use serde_json::json;

use super::error::Error;
use super::guard::GuardError;
use super::model::{Endpoint, EndpointId, EventType};
use super::queries::endpoints;
use super::secrets::{insert_secret, signing_of};
use super::send::Sent;
use super::sign::{SigningSecret, reference_headers, standard_headers};
use crate::App;
use crate::db::Tx;
use crate::timestamp::Timestamp;

/// How long a secret signs beside the one that replaced it.
const SECRET_OVERLAP: TimeDelta = TimeDelta::hours(24);
/// Replaced secrets that sign at the same time.
const OLD_SECRETS: i64 = 2;
/// The event of a test; nobody can subscribe to it.
const TEST_EVENT: &str = "webhook.test";

/// An endpoint as its organization asks for it.
#[derive(Clone, Debug)]
pub(crate) struct NewEndpoint {
    pub(crate) organization_id: String,
    pub(crate) event: EventType,
    pub(crate) target_url: String,
}

/// What an organization changes of an endpoint; what is absent stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct EndpointChange {
    pub(crate) is_active: Option<bool>,
    /// The empty one removes it.
    pub(crate) description: Option<String>,
    pub(crate) is_ordered: Option<bool>,
}

/// One whose target is somewhere that events may be sent to.
#[derive(Debug)]
pub(crate) struct CheckedEndpoint(NewEndpoint);

/// Looks where the target of an endpoint is, which may take a while.
pub(crate) async fn check_endpoint(
    app: &App,
    new: NewEndpoint,
) -> Result<CheckedEndpoint, GuardError> {
    app.webhooks.guard.check_target(&new.target_url).await?;
    Ok(CheckedEndpoint(new))
}

/// Registers an endpoint, with its secret when it is new; one that is there is active again.
pub(crate) async fn register_endpoint(
    app: &App,
    tx: &mut Tx,
    CheckedEndpoint(new): CheckedEndpoint,
) -> Result<(Endpoint, Option<SigningSecret>), Error> {
    let now = app.clock.now();
    endpoints::lock_organization(tx, &new.organization_id).await?;
    let known =
        endpoints::endpoint_by_triple(tx, &new.organization_id, new.event, &new.target_url).await?;
    let registered = if let Some(mut known) = known {
        if known.is_active {
            endpoints::touch(tx, known.id, now).await?;
        } else {
            reactivate(app, tx, &mut known, now).await?;
        }
        (known, None)
    } else {
        check_limit(app, tx, &new.organization_id).await?;
        let (endpoint, secret) = insert(app, tx, new, now).await?;
        (endpoint, Some(secret))
    };
    Ok(registered)
}

async fn insert(
    app: &App,
    tx: &mut Tx,
    new: NewEndpoint,
    now: DateTime<Utc>,
) -> Result<(Endpoint, SigningSecret), Error> {
    let endpoint = Endpoint {
        id: EndpointId(app.ids.new_id(now)),
        organization_id: new.organization_id,
        event: new.event,
        target_url: new.target_url,
        is_active: true,
        inactive_reason: None,
        description: None,
        is_ordered: false,
        deleted_at: None,
        created_at: now,
        updated_at: now,
    };
    let secret = SigningSecret::generate();
    endpoints::insert_endpoint(tx, &endpoint).await?;
    insert_secret(app, tx, endpoint.id, &secret, now).await?;
    Ok((endpoint, secret))
}

/// Makes an endpoint active, if its organization may have one more.
pub(super) async fn reactivate(
    app: &App,
    tx: &mut Tx,
    endpoint: &mut Endpoint,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    check_limit(app, tx, &endpoint.organization_id).await?;
    endpoints::activate(tx, endpoint.id, now).await?;
    endpoint.is_active = true;
    endpoint.inactive_reason = None;
    endpoint.deleted_at = None;
    endpoint.updated_at = now;
    Ok(())
}

async fn check_limit(app: &App, tx: &mut Tx, organization_id: &str) -> Result<(), Error> {
    let limit = app.settings.webhook.max_endpoints_per_organization;
    if endpoints::active_count(tx, organization_id).await? >= i64::from(limit) {
        return Err(Error::LimitReached(limit));
    }
    Ok(())
}

/// The endpoints of an organization, inactive and deleted ones, too, as they were registered.
pub(crate) async fn list_endpoints(
    app: &App,
    organization_id: &str,
) -> Result<Vec<Endpoint>, Error> {
    let mut tx = app.db.read().await?;
    let found = endpoints::endpoints_of(&mut tx, organization_id).await?;
    tx.save().await?;
    Ok(found)
}

/// An endpoint of an organization that is not deleted.
pub(crate) async fn get_endpoint(
    app: &App,
    organization_id: &str,
    id: EndpointId,
) -> Result<Endpoint, Error> {
    let mut tx = app.db.read().await?;
    let endpoint = own_present_endpoint(&mut tx, organization_id, id).await?;
    tx.save().await?;
    Ok(endpoint)
}

/// Nobody learns of another organization's endpoints that they exist.
async fn own_endpoint(
    tx: &mut Tx,
    organization_id: &str,
    id: EndpointId,
) -> Result<Endpoint, Error> {
    endpoints::endpoint_by_id(tx, id)
        .await?
        .filter(|endpoint| endpoint.organization_id == organization_id)
        .ok_or(Error::EndpointNotFound)
}

/// One that is deleted is not there any more, unless it is registered again.
pub(super) async fn present_endpoint(tx: &mut Tx, id: EndpointId) -> Result<Endpoint, Error> {
    endpoints::endpoint_by_id(tx, id)
        .await?
        .filter(|endpoint| endpoint.deleted_at.is_none())
        .ok_or(Error::EndpointNotFound)
}

/// The same, of an organization.
async fn own_present_endpoint(
    tx: &mut Tx,
    organization_id: &str,
    id: EndpointId,
) -> Result<Endpoint, Error> {
    let endpoint = present_endpoint(tx, id).await?;
    if endpoint.organization_id == organization_id {
        Ok(endpoint)
    } else {
        Err(Error::EndpointNotFound)
    }
}

/// Changes an endpoint. One that comes back is sent what it missed.
pub(crate) async fn change_endpoint(
    app: &App,
    organization_id: &str,
    id: EndpointId,
    change: EndpointChange,
) -> Result<Endpoint, Error> {
    let now = app.clock.now();
    let mut tx = app.db.write().await?;
    endpoints::lock_organization(&mut tx, organization_id).await?;
    let mut endpoint = own_present_endpoint(&mut tx, organization_id, id).await?;
    match change.is_active {
        Some(true) if !endpoint.is_active => {
            reactivate(app, &mut tx, &mut endpoint, now).await?;
        }
        Some(is_active) => endpoint.is_active = is_active,
        None => {}
    }
    if let Some(description) = change.description {
        endpoint.description = Some(description).filter(|text| !text.is_empty());
    }
    if let Some(is_ordered) = change.is_ordered {
        endpoint.is_ordered = is_ordered;
    }
    endpoint.updated_at = now;
    endpoints::update_endpoint(&mut tx, &endpoint, now).await?;
    tx.save().await?;
    Ok(endpoint)
}

/// Deletes an endpoint: it counts no more, and what it is still owed is cancelled. Registered
/// again, it is the same endpoint, with its secret and its history.
pub(crate) async fn delete_endpoint(
    app: &App,
    organization_id: &str,
    id: EndpointId,
) -> Result<(), Error> {
    let now = app.clock.now();
    // It may be owed a great many events.
    let mut tx = app.db.write_at_length().await?;
    endpoints::lock_organization(&mut tx, organization_id).await?;
    own_endpoint(&mut tx, organization_id, id).await?;
    // The events first, as everyone does who writes to both.
    endpoints::lock_owed_events(&mut tx, id).await?;
    endpoints::mark_deleted(&mut tx, id, now).await?;
    endpoints::settle_events(&mut tx, id, now).await?;
    endpoints::cancel_deliveries(&mut tx, id).await?;
    tx.save().await?;
    Ok(())
}

/// Gives an endpoint a new secret. The old one signs beside it for a day.
pub(crate) async fn rotate_secret(
    app: &App,
    tx: &mut Tx,
    organization_id: &str,
    id: EndpointId,
) -> Result<SigningSecret, Error> {
    let now = app.clock.now();
    let secret = SigningSecret::generate();
    endpoints::lock_organization(tx, organization_id).await?;
    own_present_endpoint(tx, organization_id, id).await?;
    endpoints::expire_current_secret(tx, id, now + SECRET_OVERLAP).await?;
    endpoints::forget_old_secrets(tx, id, OLD_SECRETS, now).await?;
    insert_secret(app, tx, id, &secret, now).await?;
    Ok(secret)
}

/// What a test sends.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TestEnvelope<'a> {
    event_id: OutboxId,
    event: &'static str,
    timestamp: Timestamp,
    organization_id: &'a str,
    data: serde_json::Value,
}

/// Sends an endpoint a signed event now, whether it is active or not. No row is written.
pub(crate) async fn test_endpoint(
    app: &App,
    organization_id: &str,
    id: EndpointId,
) -> Result<Sent, Error> {
    let now = app.clock.now();
    let mut tx = app.db.read().await?;
    let endpoint = own_present_endpoint(&mut tx, organization_id, id).await?;
    let stored = endpoints::signing_secrets(&mut tx, id, now).await?;
    tx.save().await?;
    let Ok(secrets) = signing_of(app, id, &stored) else {
        return Ok(Sent::unsigned());
    };
    let envelope = TestEnvelope {
        event_id: OutboxId(app.ids.new_id(now)),
        event: TEST_EVENT,
        timestamp: now.into(),
        organization_id,
        data: json!({ "endpointId": id }),
    };
    let body = serde_json::to_vec(&envelope).expect("texts and ids become JSON");
    let global = app.settings.webhook.secret.as_ref();
    let headers = reference_headers(envelope.event_id, envelope.timestamp, &body, global)
        .into_iter()
        .chain(standard_headers(envelope.event_id, now, &body, &secrets));
    let headers: Vec<_> = headers.collect();
    Ok(app.webhooks.post(&endpoint.target_url, headers, body).await)
}
