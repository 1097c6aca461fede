//! Events of stock, written in the transaction that makes them true.

use chrono::{DateTime, Utc};
use jobs::{OutboxId, StoreId};

use crate::App;
use crate::db::Tx;
use crate::webhooks::{EventType, NewEvent, Recorded, record};

/// Records a stock event of a store.
pub(crate) async fn tell(
    app: &App,
    tx: &mut Tx,
    (organization_id, store_id): (&str, StoreId),
    event: EventType,
    data: serde_json::Value,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Recorded>> {
    let event = NewEvent {
        id: OutboxId(app.ids.new_id(now)),
        organization_id,
        store_id,
        event,
        data,
    };
    record(app, tx, &event, now).await.map(Some)
}
