//! How a store is pushed to, and whether: its settings, its credentials, and what keeps it from
//! its marketplace now.

use chrono::{DateTime, Utc};
use jobs::StoreId;
use poem_openapi::types::MaybeUndefined;
use secrecy::SecretString;

use super::connector::Shop;
use super::error::Error;
use super::model::{GateReason, ListingTier, MarketplaceEnv, PushMode, RateMode, StockSource};
use super::queries::gates::open_auth;
use super::queries::settings::{
    self as queries, API_KEY, API_SECRET, GateRow, StoreRow, StoredCredential,
};
use super::recount::change_source;
use super::resync::request_resync;
use crate::App;
use crate::db::Tx;
use crate::encryption::{Column, hold_key};
use crate::marketplace::model::{ACCESS_TOKEN, Marketplace};

/// All that decides whether and how a store is pushed to.
#[derive(Clone, Debug)]
pub(crate) struct StockStore {
    /// The store.
    pub(crate) id: StoreId,
    /// Whose it is.
    pub(crate) organization_id: String,
    /// Whether anything is done for it.
    pub(crate) is_active: bool,
    /// Whether its marketplace is told quantities.
    pub(crate) send_stock: bool,
    /// How.
    pub(crate) push_mode: PushMode,
    /// How its marketplace is spared; none: as the marketplace wants it.
    pub(crate) rate_mode: Option<RateMode>,
    /// As its marketplace knows it, with its credentials.
    pub(crate) shop: Shop,
}

/// A store with its credentials, for whoever calls its marketplace.
pub(crate) async fn stock_store(
    app: &App,
    tx: &mut Tx,
    id: StoreId,
) -> Result<Option<StockStore>, Error> {
    let Some(row) = queries::store_row(tx, id).await? else {
        return Ok(None);
    };
    let keyring = &app.settings.encryption;
    let open = |column: Column, stored: &StoredCredential| {
        let opened = stored
            .0
            .as_ref()
            .map(|sealed| keyring.open(column.of(id.0), sealed));
        opened
            .transpose()
            .map_err(|error| Error::CredentialsUnreadable(id, error))
    };
    let access_token = keyring
        .open(ACCESS_TOKEN.of(id.0), &row.access_token)
        .map_err(|error| Error::CredentialsUnreadable(id, error))?;
    Ok(Some(StockStore {
        id,
        is_active: row.is_active,
        send_stock: row.send_stock,
        push_mode: row.stock_push_mode,
        rate_mode: row.rate_mode,
        shop: Shop {
            store_id: id,
            marketplace: row.marketplace,
            external_store_id: row.external_store_id,
            environment: row.marketplace_env,
            integrator_name: row.integrator_name,
            storefront_code: row.storefront_code,
            tier: row.listing_tier,
            listing_count: row.listing_count,
            api_key: open(API_KEY, &row.api_key)?,
            api_secret: open(API_SECRET, &row.api_secret)?,
            access_token,
        },
        organization_id: row.organization_id,
    }))
}

/// The most that a marketplace is told.
pub(crate) fn quantity_cap(app: &App, marketplace: Marketplace) -> i64 {
    let ours = app.settings.stock.max_quantity;
    let adapter = app.adapters.get(marketplace);
    adapter.map_or(ours, |adapter| ours.min(adapter.manners().quantity_cap))
}

/// The organization has this store; nobody learns of another organization's that they exist.
pub(super) async fn require_store(
    tx: &mut Tx,
    organization_id: &str,
    id: StoreId,
) -> Result<(), Error> {
    if queries::has_store(tx, organization_id, id).await? {
        return Ok(());
    }
    Err(Error::StoreNotFound(id))
}

/// A store of an organization.
pub(super) async fn own_store(
    tx: &mut Tx,
    organization_id: &str,
    id: StoreId,
) -> Result<StoreRow, Error> {
    queries::store_row(tx, id)
        .await?
        .filter(|store| store.organization_id == organization_id)
        .ok_or(Error::StoreNotFound(id))
}

/// What keeps a store from its marketplace, as far as the last run has left it in its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    /// Why.
    pub(crate) reason: GateReason,
    /// Until when, if time opens it.
    pub(crate) opens_at: Option<DateTime<Utc>>,
}

impl Closed {
    /// The closed gate that opens last; none when the marketplace may be asked now.
    pub(crate) fn now(
        app: &App,
        marketplace: Marketplace,
        gate: &GateRow,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        if app.adapters.get(marketplace).is_none() {
            return Some(Self {
                reason: GateReason::AdapterMissing,
                opens_at: None,
            });
        }
        Self::by_row(app, gate, now)
    }

    /// The same, as the last run has left it.
    pub(crate) fn by_row(app: &App, gate: &GateRow, now: DateTime<Utc>) -> Option<Self> {
        if !app.settings.stock.enabled {
            return Some(Self {
                reason: GateReason::Disabled,
                opens_at: None,
            });
        }
        let is_ahead = |at: Option<DateTime<Utc>>| at.filter(|at| *at > now);
        let backoff = is_ahead(gate.backoff_until).map(|until| {
            let named = gate
                .backoff_reason
                .as_deref()
                .and_then(|it| it.parse().ok());
            (until, named.unwrap_or(GateReason::Backoff))
        });
        let window = is_ahead(gate.window_opens_at).map(|at| (at, GateReason::Window));
        let last = backoff.into_iter().chain(window).max_by_key(|(at, _)| *at);
        last.map(|(at, reason)| Self {
            reason,
            opens_at: Some(at),
        })
    }
}

/// How a store is pushed to, and what keeps it from that now.
#[derive(Clone, Debug)]
pub(super) struct StockSettings {
    pub(super) store: StoreRow,
    pub(super) gate: GateRow,
    pub(super) closed: Option<Closed>,
}

/// How a store is pushed to.
pub(super) async fn get_settings(
    app: &App,
    organization_id: &str,
    id: StoreId,
) -> Result<StockSettings, Error> {
    let mut tx = app.db.read().await?;
    let store = own_store(&mut tx, organization_id, id).await?;
    let settings = with_gate(app, &mut tx, store).await?;
    tx.save().await?;
    Ok(settings)
}

async fn with_gate(app: &App, tx: &mut Tx, store: StoreRow) -> Result<StockSettings, Error> {
    let gate = queries::gate_row(tx, store.id).await?.unwrap_or_default();
    let closed = Closed::now(app, store.marketplace, &gate, app.clock.now());
    Ok(StockSettings {
        store,
        gate,
        closed,
    })
}

/// What an organization changes of how a store is pushed to.
#[derive(Clone, Debug, Default)]
pub(super) struct SettingsChange {
    pub(super) is_active: Option<bool>,
    pub(super) send_stock: Option<bool>,
    pub(super) stock_push_mode: Option<PushMode>,
    pub(super) stock_source: Option<StockSource>,
    pub(super) rate_mode: MaybeUndefined<RateMode>,
    pub(super) listing_tier: Option<ListingTier>,
    pub(super) listing_count: MaybeUndefined<i64>,
    pub(super) integrator_name: Option<String>,
    pub(super) marketplace_env: Option<MarketplaceEnv>,
    pub(super) storefront_code: MaybeUndefined<String>,
    pub(super) api_key: MaybeUndefined<SecretString>,
    pub(super) api_secret: MaybeUndefined<SecretString>,
}

/// Changes how a store is pushed to; tells whether its resync was asked for, in the same
/// transaction: of a store that becomes live, for what was closed unsent while it was not, and of
/// a live one that is somewhere else now, where nobody knows what is shown.
pub(super) async fn change_settings(
    app: &App,
    organization_id: &str,
    id: StoreId,
    change: SettingsChange,
) -> Result<(StockSettings, bool), Error> {
    let now = app.clock.now();
    // It may forget something of each of its products.
    let mut tx = app.db.write_at_length().await?;
    if let Some(source) = change.stock_source {
        change_source(app, &mut tx, organization_id, id, source).await?;
    }
    queries::lock_store(&mut tx, id).await?;
    let mut store = own_store(&mut tx, organization_id, id).await?;
    let before = store.clone();
    seal_credentials(app, &mut tx, &mut store, &change, now).await?;
    apply(&mut store, change)?;
    queries::update_store(&mut tx, &store, now).await?;
    let is_elsewhere = store.marketplace_env != before.marketplace_env
        || store.storefront_code != before.storefront_code;
    if is_elsewhere {
        queries::forget_confirmed(&mut tx, id, now).await?;
    }
    if calls_otherwise(&store, &before) {
        open_auth(&mut tx, id).await?;
    }
    let needs_resync = store.is_live() && (is_elsewhere || !before.is_live());
    if needs_resync {
        request_resync(&mut tx, id, true, now).await?;
    }
    let settings = with_gate(app, &mut tx, store).await?;
    tx.save().await?;
    Ok((settings, needs_resync))
}

/// Whether the marketplace may let a store in that it did not let in before.
fn calls_otherwise(store: &StoreRow, before: &StoreRow) -> bool {
    let caller = |store: &StoreRow| {
        let credentials =
            [&store.api_key, &store.api_secret].map(|it| it.text().map(str::to_owned));
        (
            credentials,
            store.integrator_name.clone(),
            store.marketplace_env,
        )
    };
    caller(store) != caller(before)
}

async fn seal_credentials(
    app: &App,
    tx: &mut Tx,
    store: &mut StoreRow,
    change: &SettingsChange,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let keyring = &app.settings.encryption;
    let id = store.id.0;
    let changes = [
        (API_KEY, &change.api_key, &mut store.api_key),
        (API_SECRET, &change.api_secret, &mut store.api_secret),
    ];
    for (column, change, stored) in changes {
        match change {
            MaybeUndefined::Undefined => {}
            MaybeUndefined::Null => *stored = StoredCredential(None),
            MaybeUndefined::Value(secret) => {
                hold_key(tx, keyring, now).await?;
                *stored = StoredCredential(Some(keyring.seal(column.of(id), secret)));
            }
        }
    }
    Ok(())
}

/// All but where the quantities come from, and the credentials.
fn apply(store: &mut StoreRow, change: SettingsChange) -> Result<(), Error> {
    set(&mut store.is_active, change.is_active);
    set(&mut store.send_stock, change.send_stock);
    set(&mut store.stock_push_mode, change.stock_push_mode);
    change.rate_mode.update_to(&mut store.rate_mode);
    set(&mut store.listing_tier, change.listing_tier);
    change.listing_count.update_to(&mut store.listing_count);
    if let Some(name) = change.integrator_name {
        if !may_be_integrator(store.marketplace, &name) {
            return Err(Error::IntegratorNameRefused);
        }
        store.integrator_name = name;
    }
    set(&mut store.marketplace_env, change.marketplace_env);
    change.storefront_code.update_to(&mut store.storefront_code);
    Ok(())
}

fn set<T>(value: &mut T, change: Option<T>) {
    if let Some(new) = change {
        *value = new;
    }
}

/// Trendyol answers 403 to any other name, and says no more.
fn may_be_integrator(marketplace: Marketplace, name: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric();
    marketplace != Marketplace::Trendyol || (name.len() <= 30 && name.chars().all(is_plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trendyol_takes_thirty_letters_and_digits_of_an_integrator() {
        let may = may_be_integrator;
        assert!(may(Marketplace::Trendyol, "SelfIntegration"));
        assert!(may(Marketplace::Trendyol, &"a".repeat(30)));
        for refused in [
            &"a".repeat(31),
            "Self Integration",
            "self-integration",
            "Çok",
        ] {
            assert!(!may(Marketplace::Trendyol, refused), "{refused}");
        }
        assert!(may(Marketplace::Hepsiburada, "self_dev"));
    }
}
