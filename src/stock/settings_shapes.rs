//! What the routes of a store's stock settings take and give.

use std::ops::RangeInclusive;

use chrono::NaiveDate;
use poem_openapi::Object;
use poem_openapi::types::{Example, MaybeUndefined};
use secrecy::SecretString;
use uuid::Uuid;

use super::model::{ListingTier, MarketplaceEnv, PushMode, RateMode, StockSource};
use super::queries::settings::GateRow;
use super::queue_shapes::GateView;
use super::settings::{SettingsChange, StockSettings};
use crate::http::fields::{Fields, FromFields, code};
use crate::http::nullable::Nullable;
use crate::marketplace::model::Marketplace;
use crate::timestamp::Timestamp;

/// What to change of how a store is pushed to; what is absent stays.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
pub(super) struct UpdateStockSettings {
    /// Whether anything is done for the store.
    is_active: Option<bool>,
    /// Whether its marketplace is told quantities.
    send_stock: Option<bool>,
    /// `LIVE`: it is told; `DRY_RUN`: all but the request is done, to look at; `OFF`: nothing is.
    stock_push_mode: Option<PushMode>,
    /// Whether the quantities are the store's own, or come from its warehouses.
    stock_source: Option<StockSource>,
    /// How the marketplace is spared; null: as it wants it.
    rate_mode: MaybeUndefined<RateMode>,
    /// How many listings the seller may have.
    listing_tier: Option<ListingTier>,
    /// How many they have; null: nobody knows.
    #[oai(validator(minimum(value = "0"), maximum(value = "1000000000")))]
    listing_count: MaybeUndefined<i64>,
    /// Who calls, as the marketplace knows them.
    #[oai(validator(min_length = 1, max_length = 255, pattern = "^[!-~]([ -~]*[!-~])?$"))]
    integrator_name: Option<String>,
    /// Which environment of the marketplace the store is in.
    marketplace_env: Option<MarketplaceEnv>,
    /// Which storefront, where the marketplace has several; null: the only one.
    #[oai(validator(min_length = 1, max_length = 64, pattern = "^[!-~]([ -~]*[!-~])?$"))]
    storefront_code: MaybeUndefined<String>,
    /// The marketplace's key for its stock API; never shown again; null: none.
    #[oai(validator(min_length = 1, max_length = 8192))]
    api_key: MaybeUndefined<String>,
    /// The other half of it; never shown again; null: none.
    #[oai(validator(min_length = 1, max_length = 8192))]
    api_secret: MaybeUndefined<String>,
}

impl Example for UpdateStockSettings {
    fn example() -> Self {
        Self {
            is_active: Some(true),
            send_stock: Some(true),
            stock_push_mode: Some(PushMode::DryRun),
            stock_source: Some(StockSource::Direct),
            rate_mode: MaybeUndefined::Value(RateMode::IdenticalBody),
            listing_tier: Some(ListingTier::Fifty),
            listing_count: MaybeUndefined::Value(1200),
            integrator_name: Some("SelfIntegration".to_owned()),
            marketplace_env: Some(MarketplaceEnv::Prod),
            storefront_code: MaybeUndefined::Undefined,
            api_key: MaybeUndefined::Value("key".to_owned()),
            api_secret: MaybeUndefined::Value("secret".to_owned()),
        }
    }
}

/// A text that becomes a part of a header.
fn header_text(
    length: RangeInclusive<usize>,
) -> impl FnOnce(&mut Fields<'_>, &str) -> Option<String> {
    move |fields, name| {
        let text = fields.text(name, length)?;
        let is_printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if is_printable && text.trim() == text {
            return Some(text);
        }
        let message = "Expected printable ASCII characters";
        fields.reject(name, code::INVALID_STRING, message)
    }
}

/// One of some words.
fn word<T: std::str::FromStr>(
    names: &'static [&'static str],
) -> impl FnOnce(&mut Fields<'_>, &str) -> Option<T> {
    move |fields, name| fields.one_of(name, names)?.parse().ok()
}

fn credential(fields: &mut Fields<'_>, name: &str) -> Option<String> {
    fields.text(name, 1..=8192)
}

impl FromFields for UpdateStockSettings {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let is_active = fields.optional("isActive", Fields::boolean);
        let send_stock = fields.optional("sendStock", Fields::boolean);
        let stock_push_mode = fields.optional("stockPushMode", word(PushMode::NAMES));
        let stock_source = fields.optional("stockSource", word(StockSource::NAMES));
        let rate_mode = fields.change("rateMode", word(RateMode::NAMES));
        let listing_tier = fields.optional("listingTier", word(ListingTier::NAMES));
        let listing_count = fields.change("listingCount", |fields, name| {
            fields.integer(name, 0..=1_000_000_000)
        });
        let integrator_name = fields.optional("integratorName", header_text(1..=255));
        let marketplace_env = fields.optional("marketplaceEnv", word(MarketplaceEnv::NAMES));
        let storefront_code = fields.change("storefrontCode", header_text(1..=64));
        let api_key = fields.change("apiKey", credential);
        let api_secret = fields.change("apiSecret", credential);
        Some(Self {
            is_active: is_active?,
            send_stock: send_stock?,
            stock_push_mode: stock_push_mode?,
            stock_source: stock_source?,
            rate_mode: rate_mode?,
            listing_tier: listing_tier?,
            listing_count: listing_count?,
            integrator_name: integrator_name?,
            marketplace_env: marketplace_env?,
            storefront_code: storefront_code?,
            api_key: api_key?,
            api_secret: api_secret?,
        })
    }
}

impl From<UpdateStockSettings> for SettingsChange {
    fn from(change: UpdateStockSettings) -> Self {
        Self {
            is_active: change.is_active,
            send_stock: change.send_stock,
            stock_push_mode: change.stock_push_mode,
            stock_source: change.stock_source,
            rate_mode: change.rate_mode,
            listing_tier: change.listing_tier,
            listing_count: change.listing_count,
            integrator_name: change.integrator_name,
            marketplace_env: change.marketplace_env,
            storefront_code: change.storefront_code,
            api_key: change.api_key.map_value(SecretString::from),
            api_secret: change.api_secret.map_value(SecretString::from),
        }
    }
}

/// What the service knows of a store's marketplace.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
pub(super) struct GateState {
    /// Whether it may be asked now.
    #[oai(flatten)]
    gate: GateView,
    /// When it was told something last.
    last_sent_at: Nullable<Timestamp>,
    /// Rows that waited when the last run ended.
    pending_count: i64,
    /// Nothing is sent before, in the window after a run.
    window_opens_at: Nullable<Timestamp>,
    /// Nothing is sent before, after a failure.
    backoff_until: Nullable<Timestamp>,
    /// Which failure.
    backoff_reason: Nullable<String>,
    /// So many requests in a row failed.
    consecutive_failures: i32,
    /// Items of a request, while there are fewer than usual.
    batch_limit: Nullable<i32>,
    /// The marketplace's day that `dailyUsed` is of.
    daily_date: Nullable<NaiveDate>,
    /// So many updates were sent that day.
    daily_used: i64,
}

/// How a store is pushed to.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug, Object)]
#[oai(rename = "StockSettings", rename_all = "camelCase")]
pub(super) struct SettingsView {
    /// The store.
    store_id: Uuid,
    /// Whose it is.
    organization_id: String,
    /// Where it is.
    marketplace: Marketplace,
    /// What the marketplace calls it: the seller, the merchant.
    external_store_id: String,
    /// Whether anything is done for it.
    is_active: bool,
    /// Whether its marketplace is told quantities.
    send_stock: bool,
    /// How.
    stock_push_mode: PushMode,
    /// Whether all three say that it is told.
    live: bool,
    /// Where its quantities come from.
    stock_source: StockSource,
    /// How the marketplace is spared; null: as it wants it.
    rate_mode: Nullable<RateMode>,
    /// How many listings the seller may have.
    listing_tier: ListingTier,
    /// How many they have.
    listing_count: Nullable<i64>,
    /// Who calls.
    integrator_name: String,
    /// Which environment of the marketplace it is in.
    marketplace_env: MarketplaceEnv,
    /// Which storefront.
    storefront_code: Nullable<String>,
    /// Whether there is a key for the stock API.
    has_api_key: bool,
    /// Whether there is its other half.
    has_api_secret: bool,
    /// What the service knows of the marketplace.
    gate: GateState,
}

impl From<StockSettings> for SettingsView {
    fn from(settings: StockSettings) -> Self {
        let StockSettings {
            store,
            gate,
            closed,
        } = settings;
        Self {
            live: store.is_live(),
            store_id: store.id.0,
            organization_id: store.organization_id,
            marketplace: store.marketplace,
            external_store_id: store.external_store_id,
            is_active: store.is_active,
            send_stock: store.send_stock,
            stock_push_mode: store.stock_push_mode,
            stock_source: store.stock_source,
            rate_mode: store.rate_mode.into(),
            listing_tier: store.listing_tier,
            listing_count: store.listing_count.into(),
            integrator_name: store.integrator_name,
            marketplace_env: store.marketplace_env,
            storefront_code: store.storefront_code.into(),
            has_api_key: store.api_key.0.is_some(),
            has_api_secret: store.api_secret.0.is_some(),
            gate: GateState::of(gate, closed.into()),
        }
    }
}

impl GateState {
    fn of(row: GateRow, gate: GateView) -> Self {
        Self {
            gate,
            last_sent_at: row.last_sent_at.into(),
            pending_count: row.pending_count,
            window_opens_at: row.window_opens_at.into(),
            backoff_until: row.backoff_until.into(),
            backoff_reason: row.backoff_reason.into(),
            consecutive_failures: row.consecutive_failures,
            batch_limit: row.batch_limit.into(),
            daily_date: row.daily_date.into(),
            daily_used: row.daily_used,
        }
    }
}
