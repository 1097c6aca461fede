//! Registers stores and tells how they are doing.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use jobs::StoreId;
use secrecy::SecretString;

use super::error::Error;
use super::model::{ACCESS_TOKEN, NewStore, Store, SyncStatus, SyncToken};
use super::queries::stores;
use super::status::sync_status;
use super::together;
use crate::App;
use crate::db::Tx;
use crate::encryption::hold_key;
use crate::http::rates::Credential;

/// How a store is doing.
#[derive(Clone, Debug)]
pub(crate) struct StoreState {
    pub(crate) last_sync_at: Option<DateTime<Utc>>,
    pub(crate) imported_orders: i64,
    pub(crate) sync_status: SyncStatus,
    pub(crate) rate_limited_count: i64,
}

/// Registers a store, or updates the one its organization has under this name.
pub(crate) async fn register_store(
    app: &App,
    tx: &mut Tx,
    store: &NewStore,
) -> Result<(StoreId, SyncToken), Error> {
    let now = app.clock.now();
    let id = StoreId(app.ids.new_id(now));
    let token = SyncToken(app.ids.sync_token(now));
    let keyring = &app.settings.encryption;
    let seal = |id: StoreId| keyring.seal(ACCESS_TOKEN.of(id.0), &store.access_token);
    hold_key(tx, keyring, now).await?;
    let registered = stores::upsert_store(tx, id, token, store, &seal(id), now).await?;
    // Of a store that is there already the row is another one.
    if registered.0 != id {
        stores::set_access_token(tx, registered.0, &seal(registered.0), now).await?;
    }
    Ok(registered)
}

/// The marketplace's credential for a store.
pub(super) fn access_token(app: &App, store: &Store) -> Result<SecretString, Error> {
    let keyring = &app.settings.encryption;
    keyring
        .open(ACCESS_TOKEN.of(store.id.0), &store.access_token)
        .map_err(|error| Error::AccessTokenUnreadable(store.id, error))
}

/// The store that a token opens.
pub(crate) async fn store_of(app: &Arc<App>, token: SyncToken) -> Result<StoreId, Error> {
    let known = together::look_up(app, token, &[]).await?;
    known.map(|(store, _)| store.id).ok_or(Error::StoreNotFound)
}

/// How the store that `token` opens is doing, judged by its newest receipts.
pub(crate) async fn store_state(app: &Arc<App>, token: SyncToken) -> Result<StoreState, Error> {
    let look = together::look_at_store(app, token).await?;
    let look = look.ok_or(Error::StoreNotFound)?;
    app.organizations
        .learn(Credential::Token(token.0), &look.organization_id);
    Ok(StoreState {
        last_sync_at: look.last_sync_at,
        imported_orders: look.imported_success_count,
        sync_status: sync_status(look.newest.0),
        rate_limited_count: look.rate_limited_count,
    })
}

/// How long an expired lease is left: the clocks of two machines differ a little.
const EXPIRED_LEASE: TimeDelta = TimeDelta::minutes(1);

/// Frees the leases of runs that died; tells how many.
pub(crate) async fn clear_expired_leases(app: &App) -> Result<u64, Error> {
    let mut tx = app.db.write().await?;
    let before = app.clock.now() - EXPIRED_LEASE;
    let freed = stores::clear_expired_leases(&mut tx, before).await?;
    tx.save().await?;
    Ok(freed)
}

/// Lets a tick soon enqueue a store whose job ended in a line.
pub(super) async fn shorten_slot(
    app: &App,
    store_id: StoreId,
    left: TimeDelta,
) -> Result<(), Error> {
    let mut tx = app.db.write().await?;
    stores::shorten_slot(&mut tx, store_id, app.clock.now() + left).await?;
    tx.save().await?;
    Ok(())
}

/// Lets the next tick enqueue a store whose job failed before it had the lease.
pub(crate) async fn free_slot(app: &App, store_id: StoreId) -> Result<(), Error> {
    let mut tx = app.db.write().await?;
    stores::free_slot(&mut tx, store_id).await?;
    tx.save().await?;
    Ok(())
}
