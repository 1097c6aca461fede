//! What an operator does with an endpoint: pauses and resumes it, or tries it again now.
//!
//! A paused endpoint is an inactive one whose reason is [`PAUSED`]: it is sent nothing, and its
//! events are kept for it. Its organization may activate it, as any that is inactive. Everything
//! here may be done twice.

use super::breaker;
use super::endpoints::{present_endpoint, reactivate};
use super::enqueue::{Served, enqueue_events, next_events};
use super::error::Error;
use super::model::{Endpoint, EndpointId};
use super::queries::{endpoints, operate as queries};
use crate::App;

/// The `inactive_reason` of an endpoint that an operator paused; wire format.
const PAUSED: &str = "paused";
/// Events enqueued when an endpoint comes back; their deliveries bring the others.
const BROUGHT_AT_ONCE: usize = 8;

/// Why nothing can be done with an endpoint.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// Its organization does not want it to be sent anything.
    #[error("the organization switched the webhook off")]
    SwitchedOff,
    /// It is sent nothing.
    #[error("the webhook is inactive")]
    Inactive,
    /// As for its organization.
    #[error(transparent)]
    Endpoint(#[from] Error),
}

impl From<sqlx::Error> for OperateError {
    fn from(error: sqlx::Error) -> Self {
        Self::Endpoint(error.into())
    }
}

/// Lets nothing be sent to an endpoint until somebody resumes it; tells whether it was active.
pub async fn pause_endpoint(app: &App, id: EndpointId) -> Result<bool, OperateError> {
    let mut tx = app.db.write().await?;
    present_endpoint(&mut tx, id).await?;
    let is_changed = endpoints::deactivate(&mut tx, id, PAUSED, app.clock.now()).await?;
    tx.save().await?;
    Ok(is_changed)
}

/// Makes an endpoint active that an operator paused, or that said it was gone, and brings what
/// it missed; tells whether it was inactive.
pub async fn resume_endpoint(app: &App, id: EndpointId) -> Result<bool, OperateError> {
    let mut tx = app.db.write().await?;
    let found = present_endpoint(&mut tx, id).await?;
    endpoints::lock_organization(&mut tx, &found.organization_id).await?;
    // It may have been changed while we waited.
    let mut endpoint = present_endpoint(&mut tx, id).await?;
    if endpoint.is_active {
        return Ok(false);
    }
    if endpoint.inactive_reason.is_none() {
        return Err(OperateError::SwitchedOff);
    }
    reactivate(app, &mut tx, &mut endpoint, app.clock.now()).await?;
    tx.save().await?;
    bring_events(app, &endpoint).await?;
    Ok(true)
}

/// Ends the time in which an endpoint is left in peace: one delivery is let through now. A
/// success closes the breaker, a failure opens it for longer. Tells whether it was open.
pub async fn probe_endpoint(app: &App, id: EndpointId) -> Result<bool, OperateError> {
    let now = app.clock.now();
    let mut tx = app.db.write().await?;
    let endpoint = present_endpoint(&mut tx, id).await?;
    if !endpoint.is_active {
        return Err(OperateError::Inactive);
    }
    queries::hurry_first_delivery(&mut tx, id, now).await?;
    tx.save().await?;
    // A transaction of its own: whoever sends locks the endpoint before the delivery.
    let mut tx = app.db.write().await?;
    let was_open = queries::end_peace(&mut tx, id, now).await?;
    tx.save().await?;
    bring_events(app, &endpoint).await?;
    Ok(was_open)
}

/// Enqueues what the endpoint is owed first, if anything is due. Best effort: the next tick does
/// the same.
async fn bring_events(app: &App, endpoint: &Endpoint) -> sqlx::Result<()> {
    let now = app.clock.now();
    let mut tx = app.db.read().await?;
    let failures = queries::consecutive_failures(&mut tx, endpoint.id).await?;
    let is_probe = breaker::is_tripped(failures.unwrap_or_default());
    let served = Served {
        endpoint: endpoint.id,
        is_ordered: endpoint.is_ordered,
        limit: if is_probe { 1 } else { BROUGHT_AT_ONCE },
    };
    let mut due = next_events(&mut tx, &[served], now).await?;
    tx.save().await?;
    enqueue_events(app, &due.remove(&endpoint.id).unwrap_or_default()).await;
    Ok(())
}
