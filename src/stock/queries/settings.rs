//! How stores are pushed to.

use jobs::StoreId;
use sqlx::{FromRow, query_as};

use crate::db::{Tx, on, sql};
use crate::encryption::{Column, Sealed};
use crate::marketplace::model::Marketplace;
use crate::stock::model::{ListingTier, MarketplaceEnv, PushMode, RateMode};

/// Where the keys of stock APIs are.
pub(crate) const API_KEY: Column = Column("stores.api_key");
/// Where their other halves are.
pub(crate) const API_SECRET: Column = Column("stores.api_secret");

/// How a store is pushed to.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct StoreRow {
    pub(crate) organization_id: String,
    pub(crate) marketplace: Marketplace,
    pub(crate) external_store_id: String,
    pub(crate) is_active: bool,
    pub(crate) send_stock: bool,
    pub(crate) stock_push_mode: PushMode,
    pub(crate) rate_mode: Option<RateMode>,
    pub(crate) listing_tier: ListingTier,
    pub(crate) listing_count: Option<i64>,
    pub(crate) integrator_name: String,
    pub(crate) marketplace_env: MarketplaceEnv,
    pub(crate) storefront_code: Option<String>,
    #[sqlx(try_from = "String")]
    pub(crate) access_token: Sealed,
    #[sqlx(try_from = "Option<String>")]
    pub(crate) api_key: StoredCredential,
    #[sqlx(try_from = "Option<String>")]
    pub(crate) api_secret: StoredCredential,
}

/// A credential as it is stored, if there is one.
#[derive(Clone, Debug)]
pub(crate) struct StoredCredential(pub(crate) Option<Sealed>);

impl From<Option<String>> for StoredCredential {
    fn from(text: Option<String>) -> Self {
        Self(text.map(Sealed::from))
    }
}

/// A store by its id.
pub(crate) async fn store_row(tx: &mut Tx, id: StoreId) -> sqlx::Result<Option<StoreRow>> {
    on!(tx, conn => query_as(sql!(
        "SELECT id, organization_id, marketplace, external_store_id, is_active, send_stock,
             stock_push_mode, stock_source, rate_mode, listing_tier, listing_count,
             integrator_name, marketplace_env, storefront_code, access_token, api_key, api_secret
         FROM stores
         WHERE id = $1"))
        .bind(id)
        .fetch_optional(conn).await)
}
