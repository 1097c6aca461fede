//! How the newest receipts of a store stand, for people.

use jobs::StoreId;

use super::error::Error;
use super::model::OrderState;
use super::queries::orders;
use crate::App;

/// The newest receipts of a store, newest first.
pub(crate) async fn order_states(
    app: &App,
    store_id: StoreId,
    limit: u32,
) -> Result<Vec<OrderState>, Error> {
    let mut tx = app.db.read().await?;
    let states = orders::newest_states(&mut tx, store_id, limit).await?;
    tx.save().await?;
    Ok(states)
}
