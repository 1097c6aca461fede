//! What an operator does about the stock of a store, whosever it is: has its marketplace told now,
//! has told what differs, changes whether it is pushed to, gives a refused product another chance.
//!
//! It is what the organization may do as well, by the same rules: no gate is bypassed, and a store
//! that becomes live is resynced. Everything here may be done twice.

use jobs::{PushStock, QueueError, StoreId};

use super::error::Error;
use super::listings::unblock;
use super::model::{GateReason, ProductId, PushMode};
use super::named::Pair;
use super::queries::settings::{StoreRow, store_row};
use super::resync::{enqueue_resync, request_resync};
use super::settings::{SettingsChange, change_settings};
use crate::App;
use crate::schedule::slots;

/// Has the marketplace of a store told what is due, unless a job of it waits or runs already;
/// tells whether one was enqueued. A gate that is closed stays closed.
pub async fn push_now(app: &App, id: StoreId) -> Result<bool, Error> {
    require_pushed(app, &store(app, id).await?)?;
    let enqueued = slots::enqueue::<PushStock>(app, &[id]).await?;
    match enqueued.pushed {
        Ok(()) => Ok(!enqueued.claimed.is_empty()),
        // The next tick does it.
        Err(QueueError::Full { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Has a store's marketplace told all that it is not known to show.
pub async fn resync_now(app: &App, id: StoreId) -> Result<bool, Error> {
    store(app, id).await?;
    let mut tx = app.db.write().await?;
    let only_differing = true;
    request_resync(&mut tx, id, only_differing, app.clock.now()).await?;
    tx.save().await?;
    enqueue_resync(app, &[id]).await;
    Ok(true)
}

/// Changes whether a store is pushed to; tells whether that is new.
pub async fn set_push_mode(app: &App, id: StoreId, mode: PushMode) -> Result<bool, Error> {
    let before = store(app, id).await?;
    if before.stock_push_mode == mode {
        return Ok(false);
    }
    let change = SettingsChange {
        stock_push_mode: Some(mode),
        ..SettingsChange::default()
    };
    let (_, needs_resync) = change_settings(app, &before.organization_id, id, change).await?;
    if needs_resync {
        enqueue_resync(app, &[id]).await;
    }
    Ok(true)
}

/// Lets a product that a marketplace refused be told to it again, with the next push.
pub async fn unblock_product(
    app: &App,
    store_id: StoreId,
    product_id: ProductId,
) -> Result<bool, Error> {
    let pair = Pair {
        organization_id: store(app, store_id).await?.organization_id,
        store_id,
        product_id,
    };
    let mut tx = app.db.write().await?;
    unblock(app, &mut tx, &pair).await?;
    tx.save().await?;
    Ok(true)
}

async fn store(app: &App, id: StoreId) -> Result<StoreRow, Error> {
    let mut tx = app.db.read().await?;
    let store = store_row(&mut tx, id).await?;
    tx.save().await?;
    store.ok_or(Error::StoreNotFound(id))
}

/// A store that can be pushed to; the error says all that keeps it from that.
pub(super) fn require_pushed(app: &App, store: &StoreRow) -> Result<(), Error> {
    let obstacles = [
        (!app.settings.stock.enabled, GateReason::Disabled.as_str()),
        (!store.is_active, "STORE_INACTIVE"),
        (!store.send_stock, "SEND_STOCK_OFF"),
        (store.stock_push_mode == PushMode::Off, "PUSH_MODE_OFF"),
        (
            app.adapters.get(store.marketplace).is_none(),
            GateReason::AdapterMissing.as_str(),
        ),
    ];
    let met = obstacles.into_iter().filter(|(is_so, _)| *is_so);
    let met: Vec<&'static str> = met.map(|(_, why)| why).collect();
    if met.is_empty() {
        return Ok(());
    }
    Err(Error::StoreNotEligible(met))
}
