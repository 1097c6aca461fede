//! How a store is pushed to, and whether.

use jobs::StoreId;
use secrecy::SecretString;

use super::connector::Shop;
use super::error::Error;
use super::model::{PushMode, RateMode};
use super::queries::settings::{API_KEY, API_SECRET, store_row};
use crate::App;
use crate::db::Tx;
use crate::encryption::{Column, Sealed};
use crate::marketplace::model::ACCESS_TOKEN;

/// All that decides whether and how a store is pushed to.
#[derive(Clone, Debug)]
pub(crate) struct StockStore {
    pub(crate) id: StoreId,
    pub(crate) organization_id: String,
    pub(crate) is_active: bool,
    pub(crate) send_stock: bool,
    pub(crate) push_mode: PushMode,
    pub(crate) rate_mode: Option<RateMode>,
    /// As its marketplace knows it, with its credentials.
    pub(crate) shop: Shop,
}

/// A store, with its credentials opened.
pub(crate) async fn stock_store(
    app: &App,
    tx: &mut Tx,
    id: StoreId,
) -> Result<Option<StockStore>, Error> {
    let Some(row) = store_row(tx, id).await? else {
        return Ok(None);
    };
    let open = |column: Column, sealed: &Sealed| -> Result<SecretString, Error> {
        let opened = app.settings.encryption.open(column.of(id.0), sealed);
        opened.map_err(|error| Error::CredentialsUnreadable(id, error))
    };
    let maybe =
        |column, sealed: &Option<Sealed>| sealed.as_ref().map(|it| open(column, it)).transpose();
    Ok(Some(StockStore {
        id,
        organization_id: row.organization_id,
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
            api_key: maybe(API_KEY, &row.api_key.0)?,
            api_secret: maybe(API_SECRET, &row.api_secret.0)?,
            access_token: open(ACCESS_TOKEN, &row.access_token)?,
        },
    }))
}
