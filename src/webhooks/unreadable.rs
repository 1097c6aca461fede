//! An event that cannot be read: somebody changed its row, or another release wrote it.
//!
//! Nobody can be sent it, and trying again changes nothing, so all who are still owed it are given
//! up at once and it is a dead letter like any other: listed, counted, logged. Requeued, it is
//! delivered if its row was repaired, and given up again if it was not. A delivery that somebody
//! sends just now, who has read the event before, is left to them.

use jobs::OutboxId;
use sqlx::Error;
use tracing::error;

use super::queries::deliveries::StateOfEvent;
use super::queries::{deliveries, outbox, schedule};
use super::settle::settle;
use crate::App;

/// Characters of the reason of a delivery.
const MAX_ERROR: usize = 300;

/// Whether an error says that the row is at fault, not the database.
pub(super) fn is_unreadable(error: &Error) -> bool {
    matches!(error, Error::ColumnDecode { .. } | Error::Decode(_))
}

/// Makes an event a dead letter that cannot be read because of an error.
pub(super) async fn give_up(app: &App, id: OutboxId, error: &Error) -> sqlx::Result<()> {
    let reason = format!("the event cannot be read: {error}");
    let reason: String = reason.chars().take(MAX_ERROR).collect();
    let now = app.clock.now();
    let mut tx = app.db.write().await?;
    // The event first, as everyone who writes the outcome of a delivery.
    outbox::lock_event(&mut tx, id, None).await?;
    let organization_id = outbox::event_organization(&mut tx, id, None).await?;
    let given_up = outbox::give_up_all_deliveries(&mut tx, id, &reason, now).await?;
    if given_up > 0 {
        let states = deliveries::delivery_states(&mut tx, &[id]).await?;
        let states: Vec<_> = states.into_iter().map(|it| it.state).collect();
        let state = settle(&states);
        deliveries::write_event_states(&mut tx, &[StateOfEvent { id, state }], now).await?;
    }
    schedule::free_slots(&mut tx, &[id]).await?;
    tx.save().await?;
    for _ in 0..given_up {
        app.metrics.delivery_given_up();
    }
    if given_up > 0 {
        error!(event = "callback_dead_letter", outboxId = %id, organizationId = organization_id, deliveries = given_up, lastError = reason, "gave up event {id}: {reason}");
    }
    Ok(())
}
