//! How long events are kept: thirty days after everyone got them, and dead letters until nobody
//! has dealt with them for a year (`DEAD_LETTER_RETENTION_DAYS`). A deleted endpoint is kept for
//! thirty days, and while a delivery remembers it. All of it goes in small steps.

use chrono::{DateTime, TimeDelta, Utc};
use tracing::error;

use super::outbox::FailedDelivery;
use super::queries::{endpoints, outbox};
use crate::App;

/// How long an event is kept after everyone got it, and held for an endpoint that is inactive or
/// left in peace: that may be asked for less than it is owed, and for ever.
const RETENTION: TimeDelta = TimeDelta::days(30);
/// Events deleted, or given up, in one step.
const BATCH: i64 = 500;
/// Steps a round: the rest comes with the next one.
const STEPS: usize = 100;
/// What a subscriber that stayed away is told.
const HELD_TOO_LONG: &str = "the endpoint could not be sent to for 30 days";

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retention {
    /// Delivered events that were deleted, with their deliveries and attempts.
    pub(crate) purged_events: u64,
    /// Deliveries that were given up because their endpoint did not come back.
    pub(crate) expired_deliveries: u64,
    /// Dead letters that were deleted because nobody dealt with them.
    pub(crate) purged_dead_letters: u64,
    /// Endpoints that were deleted, with their secrets.
    pub(crate) purged_endpoints: u64,
}

/// One round over what is older than it may be.
pub(crate) async fn enforce_retention(app: &App) -> sqlx::Result<Retention> {
    let before = app.clock.now() - RETENTION;
    Ok(Retention {
        purged_events: purge_delivered(app, before).await?,
        expired_deliveries: give_up_held(app, before).await?,
        purged_dead_letters: purge_dead_letters(app).await?,
        purged_endpoints: purge_deleted(app, before).await?,
    })
}

/// Deletes events that everyone got before an instant. Others write between the steps.
async fn purge_delivered(app: &App, before: DateTime<Utc>) -> sqlx::Result<u64> {
    let mut purged = 0;
    for _ in 0..STEPS {
        let mut tx = app.db.read().await?;
        let last = outbox::last_to_purge(&mut tx, before, BATCH).await?;
        tx.save().await?;
        let Some(last) = last.filter(|_| !app.stop.is_cancelled()) else {
            break;
        };
        let mut tx = app.db.write().await?;
        purged += outbox::purge_events(&mut tx, last).await?;
        tx.save().await?;
    }
    Ok(purged)
}

/// Deletes dead letters that nobody dealt with for as long as they are kept.
async fn purge_dead_letters(app: &App) -> sqlx::Result<u64> {
    let Some(kept) = app.settings.callback.dead_letters_kept else {
        return Ok(0);
    };
    let before = app.clock.now() - kept;
    let mut purged = 0;
    for _ in 0..STEPS {
        if app.stop.is_cancelled() {
            break;
        }
        let mut tx = app.db.write().await?;
        let gone = outbox::purge_dead_letters(&mut tx, before, BATCH).await?;
        tx.save().await?;
        purged += gone;
        if gone < BATCH.unsigned_abs() {
            break;
        }
    }
    Ok(purged)
}

/// Gives up deliveries that wait since before an instant for an endpoint that does not come back.
async fn give_up_held(app: &App, before: DateTime<Utc>) -> sqlx::Result<u64> {
    let mut given_up = 0;
    for _ in 0..STEPS {
        let mut tx = app.db.read().await?;
        let held = outbox::overdue_held_deliveries(&mut tx, before, BATCH).await?;
        tx.save().await?;
        let mut changed = 0;
        for delivery in held {
            if app.stop.is_cancelled() {
                return Ok(given_up + changed);
            }
            changed += u64::from(give_up(app, &delivery).await?);
        }
        if changed == 0 {
            break;
        }
        given_up += changed;
    }
    Ok(given_up)
}

async fn give_up(app: &App, delivery: &FailedDelivery) -> sqlx::Result<bool> {
    let now = app.clock.now();
    let mut tx = app.db.write().await?;
    // The event first, as everyone who writes the outcome of a delivery.
    outbox::lock_event(&mut tx, delivery.outbox_id, None).await?;
    let given_up = outbox::give_up_delivery(&mut tx, delivery.id, HELD_TOO_LONG, now).await?;
    let error = format!("{}: {HELD_TOO_LONG}", delivery.endpoint_id);
    let is_dead =
        given_up && outbox::give_up_event(&mut tx, delivery.outbox_id, &error, now).await?;
    tx.save().await?;
    if given_up {
        app.metrics.delivery_given_up();
    }
    if is_dead {
        error!(event = "callback_dead_letter", outboxId = %delivery.outbox_id, lastError = error, "gave up event {}: {error}", delivery.outbox_id);
    }
    Ok(given_up)
}

/// Forgets endpoints that were deleted before an instant. The rest of many comes with the next
/// round.
async fn purge_deleted(app: &App, before: DateTime<Utc>) -> sqlx::Result<u64> {
    let mut tx = app.db.read().await?;
    let forgotten = endpoints::forgotten_endpoints(&mut tx, before, BATCH).await?;
    tx.save().await?;
    let mut purged = 0;
    for (id, organization_id) in forgotten {
        if app.stop.is_cancelled() {
            break;
        }
        let mut tx = app.db.write().await?;
        // It may be registered again just now.
        endpoints::lock_organization(&mut tx, &organization_id).await?;
        purged += u64::from(endpoints::purge_endpoint(&mut tx, id, before).await?);
        tx.save().await?;
    }
    Ok(purged)
}
