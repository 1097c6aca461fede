//! What subscribers hear of stock.
//!
//! An event is written in the transaction of what it tells of. What happens again and again is
//! told once in fifteen minutes a store and kind; an oversold order is always told.

use chrono::{DateTime, TimeDelta, Utc};
use jobs::{OutboxId, StoreId};
use serde_json::Value;

use super::queries::events::note_told;
use crate::App;
use crate::db::Tx;
use crate::webhooks::{self, EventType, NewEvent, Recorded};

/// How long an event of a kind is not repeated.
pub(crate) const QUIET: TimeDelta = TimeDelta::minutes(15);

/// Records an event of a store, unless one of its kind was within [`QUIET`]; its job is pushed
/// after the commit ([`webhooks::enqueue_recorded`]).
///
/// It takes a lock on what is known of the store's marketplace: call it last in a transaction.
pub(crate) async fn tell(
    app: &App,
    tx: &mut Tx,
    store: (&str, StoreId),
    event: EventType,
    data: Value,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Recorded>> {
    let (organization_id, store_id) = store;
    let is_repeated = event != EventType::StockOversold
        && !note_told(tx, store_id, event.as_str(), now - QUIET, now).await?;
    if is_repeated {
        return Ok(None);
    }
    let event = NewEvent {
        id: OutboxId(app.ids.new_id(now)),
        organization_id,
        store_id,
        event,
        data,
    };
    webhooks::record(app, tx, &event, now).await.map(Some)
}

/// The same for several; pushes nothing yet.
pub(super) async fn tell_all(
    app: &App,
    tx: &mut Tx,
    store: (&str, StoreId),
    events: &[(EventType, Value)],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Recorded>> {
    let mut recorded = Vec::new();
    for (event, data) in events {
        recorded.extend(tell(app, tx, store, *event, data.clone(), now).await?);
    }
    Ok(recorded)
}

/// Pushes the jobs of events whose transaction is committed.
pub(super) async fn announce(app: &App, recorded: Vec<Recorded>) {
    for recorded in recorded {
        webhooks::enqueue_recorded(app, recorded).await;
    }
}
