//! How stores are pushed to.

use chrono::{DateTime, NaiveDate, Utc};
use jobs::StoreId;
use sqlx::{FromRow, query, query_as, query_scalar};

use crate::db::{Tx, both, on, only_postgres, sql};
use crate::encryption::{Column, Sealed, SealedColumn};
use crate::marketplace::model::Marketplace;
use crate::stock::model::{ListingTier, MarketplaceEnv, PushMode, RateMode, StockSource};

/// Where the keys of stock APIs are.
pub(crate) const API_KEY: Column = Column("stores.api_key");
/// Where their other halves are.
pub(crate) const API_SECRET: Column = Column("stores.api_secret");

/// How a store is pushed to.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct StoreRow {
    pub(crate) id: StoreId,
    pub(crate) organization_id: String,
    pub(crate) marketplace: Marketplace,
    pub(crate) external_store_id: String,
    pub(crate) is_active: bool,
    pub(crate) send_stock: bool,
    pub(crate) stock_push_mode: PushMode,
    pub(crate) stock_source: StockSource,
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

impl StoredCredential {
    pub(crate) fn text(&self) -> Option<&str> {
        self.0.as_ref().map(Sealed::text)
    }
}

impl StoreRow {
    /// Whether its marketplace is told.
    pub(crate) fn is_live(&self) -> bool {
        self.is_active && self.send_stock && self.stock_push_mode == PushMode::Live
    }
}

/// Whether an organization has a store.
pub(crate) async fn has_store(
    tx: &mut Tx,
    organization_id: &str,
    id: StoreId,
) -> sqlx::Result<bool> {
    on!(tx, conn => query(sql!("SELECT 1 FROM stores WHERE id = $1 AND organization_id = $2"))
        .bind(id).bind(organization_id)
        .fetch_optional(conn).await.map(|row| row.is_some()))
}

/// The stores of an organization.
pub(crate) async fn stores_of(tx: &mut Tx, organization_id: &str) -> sqlx::Result<Vec<StoreId>> {
    on!(tx, conn => query_scalar(sql!(
        "SELECT id FROM stores WHERE organization_id = $1 ORDER BY id"))
        .bind(organization_id)
        .fetch_all(conn).await)
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

/// Keeps others from changing a store until the transaction ends.
pub(crate) async fn lock_store(tx: &mut Tx, id: StoreId) -> sqlx::Result<()> {
    // SQLite has one writer anyway.
    let sql = both!(
        tx,
        "SELECT id FROM stores WHERE id = $1",
        only_postgres!(" FOR NO KEY UPDATE")
    );
    on!(tx, conn => query(sql).bind(id).fetch_optional(conn).await.map(|_| ()))
}

/// Writes how a store is pushed to, all but where its quantities come from.
pub(crate) async fn update_store(
    tx: &mut Tx,
    store: &StoreRow,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE stores
         SET is_active = $2, send_stock = $3, stock_push_mode = $4, rate_mode = $5,
             listing_tier = $6, listing_count = $7, integrator_name = $8, marketplace_env = $9,
             storefront_code = $10, api_key = $11, api_secret = $12, updated_at = $13
         WHERE id = $1"))
        .bind(store.id).bind(store.is_active).bind(store.send_stock).bind(store.stock_push_mode)
        .bind(store.rate_mode).bind(store.listing_tier)
        .bind(store.listing_count).bind(&store.integrator_name).bind(store.marketplace_env)
        .bind(&store.storefront_code).bind(store.api_key.text()).bind(store.api_secret.text())
        .bind(now)
        .execute(conn).await.map(|_| ()))
}

/// What the service knows of a store's marketplace.
#[derive(Clone, Debug, Default, FromRow)]
pub(crate) struct GateRow {
    pub(crate) last_sent_at: Option<DateTime<Utc>>,
    pub(crate) pending_count: i64,
    pub(crate) window_opens_at: Option<DateTime<Utc>>,
    pub(crate) backoff_until: Option<DateTime<Utc>>,
    pub(crate) backoff_reason: Option<String>,
    pub(crate) consecutive_failures: i32,
    pub(crate) batch_limit: Option<i32>,
    pub(crate) daily_date: Option<NaiveDate>,
    pub(crate) daily_used: i64,
}

/// The columns of a [`GateRow`]; of `l`, when it is joined with stores of which nothing may be known.
macro_rules! gate_columns {
    () => {
        "last_sent_at, pending_count, window_opens_at, backoff_until, backoff_reason,
             consecutive_failures, batch_limit, daily_date, daily_used"
    };
    (of joined) => {
        "l.last_sent_at,
             COALESCE(l.pending_count, 0) AS pending_count, l.window_opens_at, l.backoff_until,
             l.backoff_reason, COALESCE(l.consecutive_failures, 0) AS consecutive_failures,
             l.batch_limit, l.daily_date, COALESCE(l.daily_used, 0) AS daily_used"
    };
}
pub(crate) use gate_columns;

/// What the service knows of the marketplace of a store.
pub(crate) async fn gate_row(tx: &mut Tx, id: StoreId) -> sqlx::Result<Option<GateRow>> {
    on!(tx, conn => query_as(sql!(concat!(
        "SELECT ", gate_columns!(), " FROM marketplace_rate_limits WHERE store_id = $1")))
        .bind(id)
        .fetch_optional(conn).await)
}

/// A store, and what the service knows of its marketplace.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct StoreGate {
    pub(crate) store_id: StoreId,
    pub(crate) marketplace: Marketplace,
    #[sqlx(flatten)]
    pub(crate) gate: GateRow,
}

/// What the service knows of the marketplaces of the stores of an organization.
pub(crate) async fn gates_of(tx: &mut Tx, organization_id: &str) -> sqlx::Result<Vec<StoreGate>> {
    on!(tx, conn => query_as(sql!(concat!(
        "SELECT s.id AS store_id, s.marketplace, ", gate_columns!(of joined), "
         FROM stores AS s
         LEFT JOIN marketplace_rate_limits AS l ON l.store_id = s.id
         WHERE s.organization_id = $1
         ORDER BY s.id")))
        .bind(organization_id)
        .fetch_all(conn).await)
}

/// Forgets what the marketplace of a store is believed to show.
pub(crate) async fn forget_confirmed(
    tx: &mut Tx,
    id: StoreId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    on!(tx, conn => query(sql!(
        "UPDATE product_stores
         SET last_confirmed_quantity = NULL, last_confirmed_at = NULL, in_flight_push_id = NULL,
             updated_at = $2
         WHERE store_id = $1
           AND (last_confirmed_quantity IS NOT NULL OR in_flight_push_id IS NOT NULL)"))
        .bind(id).bind(now)
        .execute(conn).await.map(|_| ()))
}

/// What a rotation of keys needs to know of the keys of stock APIs. It does not move
/// `updated_at`.
pub(crate) fn api_keys() -> SealedColumn {
    SealedColumn {
        column: API_KEY,
        page: sql!(
            "SELECT id, api_key AS secret
             FROM stores
             WHERE id > $1 AND api_key IS NOT NULL AND SUBSTR(api_key, 1, 16) <> $2
             ORDER BY id
             LIMIT $3"
        ),
        replace: sql!("UPDATE stores SET api_key = $3 WHERE id = $1 AND api_key = $2"),
        find: sql!("SELECT 1 FROM stores WHERE SUBSTR(api_key, 1, 16) = $1 LIMIT 1"),
    }
}

/// The same of their other halves.
pub(crate) fn api_secrets() -> SealedColumn {
    SealedColumn {
        column: API_SECRET,
        page: sql!(
            "SELECT id, api_secret AS secret
             FROM stores
             WHERE id > $1 AND api_secret IS NOT NULL AND SUBSTR(api_secret, 1, 16) <> $2
             ORDER BY id
             LIMIT $3"
        ),
        replace: sql!("UPDATE stores SET api_secret = $3 WHERE id = $1 AND api_secret = $2"),
        find: sql!("SELECT 1 FROM stores WHERE SUBSTR(api_secret, 1, 16) = $1 LIMIT 1"),
    }
}
