//! The routes of stores and orders, and the shapes they take and give.

use std::sync::Arc;

use jobs::StoreId;
use poem_openapi::param::{Header, Query};
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};
use secrecy::SecretString;
use uuid::Uuid;

use super::amount::Amount;
use super::error::Error;
use super::import::{Imported, import_receipts};
use super::model::{Marketplace, NewStore, SyncStatus, SyncToken};
use super::stores::{StoreState, register_store, store_of, store_state};
use crate::App;
use crate::http::Tag;
use crate::http::admission::Entrance;
use crate::http::auth::Caller;
use crate::http::body::JsonBody;
use crate::http::fields::{self, Fields, FromFields};
use crate::http::idempotency::{Answer, Once, Scope};
use crate::http::kind::IMPORT_IN_PROGRESS;
use crate::http::nullable::Nullable;
use crate::http::problem::Problem;
use crate::http::rates::Credential;
use crate::timestamp::Timestamp;

/// Receipts a batch.
const MAX_BATCH: usize = 1000;
/// A batch takes as many places as so many receipts go into it.
const RECEIPTS_A_PLACE: usize = 32;

/// Stores and their orders.
#[derive(Clone)]
pub struct MarketplaceApi {
    app: Arc<App>,
}

impl MarketplaceApi {
    /// The routes over a running service.
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

/// A store, as its organization registers it.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
struct RegisterStore {
    /// Whose store it is.
    #[oai(validator(min_length = 1, max_length = 255))]
    organization_id: String,
    /// Where it is.
    marketplace: Marketplace,
    /// What the marketplace calls it.
    #[oai(validator(min_length = 1, max_length = 255))]
    external_store_id: String,
    /// What people call it.
    #[oai(validator(min_length = 1, max_length = 255))]
    store_name: String,
    /// The marketplace's credential for it; never shown again.
    #[oai(validator(min_length = 1, max_length = 8192))]
    access_token: String,
    /// Three characters, as in ISO 4217.
    #[oai(validator(min_length = 3, max_length = 3))]
    currency: String,
}

impl poem_openapi::types::Example for RegisterStore {
    fn example() -> Self {
        Self {
            organization_id: "org-1".to_owned(),
            marketplace: Marketplace::Etsy,
            external_store_id: "ext-100".to_owned(),
            store_name: "My Etsy Store".to_owned(),
            access_token: "token-v1".to_owned(),
            currency: "USD".to_owned(),
        }
    }
}

impl FromFields for RegisterStore {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let organization_id = fields.text("organizationId", 1..=255);
        let marketplace = fields.one_of("marketplace", &Marketplace::ALL.map(Marketplace::as_str));
        let external_store_id = fields.text("externalStoreId", 1..=255);
        let store_name = fields.text("storeName", 1..=255);
        let access_token = fields.text("accessToken", 1..=8192);
        let currency = fields.text("currency", 3..=3);
        Some(Self {
            organization_id: organization_id?,
            marketplace: marketplace?.parse().ok()?,
            external_store_id: external_store_id?,
            store_name: store_name?,
            access_token: access_token?,
            currency: currency?,
        })
    }
}

impl From<RegisterStore> for NewStore {
    fn from(store: RegisterStore) -> Self {
        Self {
            organization_id: store.organization_id,
            marketplace: store.marketplace,
            external_store_id: store.external_store_id,
            store_name: store.store_name,
            access_token: SecretString::from(store.access_token),
            currency: store.currency,
        }
    }
}

/// A registered store.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
struct RegisteredStore {
    /// Its id.
    store_id: Uuid,
    /// Opens its imports and its status; a secret.
    sync_token: Uuid,
}

impl From<(StoreId, SyncToken)> for RegisteredStore {
    fn from((store_id, sync_token): (StoreId, SyncToken)) -> Self {
        Self {
            store_id: store_id.0,
            sync_token: sync_token.0,
        }
    }
}

/// A receipt to import.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
struct ImportOrder {
    /// Of the store.
    sync_token: Uuid,
    /// The marketplace's name of the order.
    #[oai(validator(min_length = 1, max_length = 255))]
    receipt: String,
}

impl poem_openapi::types::Example for ImportOrder {
    fn example() -> Self {
        Self {
            sync_token: example_token(),
            receipt: "order-101".to_owned(),
        }
    }
}

impl FromFields for ImportOrder {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let sync_token = fields.uuid("syncToken");
        let receipt = fields.text("receipt", 1..=255);
        Some(Self {
            sync_token: sync_token?,
            receipt: receipt?,
        })
    }
}

/// Receipts to import.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
struct ImportOrders {
    /// Of the store.
    sync_token: Uuid,
    /// The marketplace's names of the orders, each of 1 to 255 characters.
    #[oai(validator(min_items = 1, max_items = 1000))]
    receipts: Vec<String>,
}

impl poem_openapi::types::Example for ImportOrders {
    fn example() -> Self {
        let receipts = ["order-101", "order-102", "order-115"].map(str::to_owned);
        Self {
            sync_token: example_token(),
            receipts: receipts.into(),
        }
    }
}

impl FromFields for ImportOrders {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let sync_token = fields.uuid("syncToken");
        let receipts = fields.text_list("receipts", 1..=MAX_BATCH, 1..=255);
        Some(Self {
            sync_token: sync_token?,
            receipts: receipts?,
        })
    }
}

/// What an import came to: the order, or why it is not imported.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
struct ImportResult {
    /// Whether the order is imported.
    success: bool,
    /// The marketplace's order.
    order_id: Option<String>,
    /// What it is worth, in major units of the currency.
    amount: Option<Amount>,
    /// ISO 4217.
    currency: Option<String>,
    /// When the marketplace says it was imported.
    imported_at: Option<Timestamp>,
    /// Why it is not imported (yet): failed and rate-limited receipts are retried in the background.
    error: Option<String>,
}

impl ImportResult {
    fn failure(error: String) -> Self {
        Self {
            success: false,
            order_id: None,
            amount: None,
            currency: None,
            imported_at: None,
            error: Some(error),
        }
    }
}

impl From<Imported> for ImportResult {
    fn from(imported: Imported) -> Self {
        match imported {
            Imported::Success {
                order_id,
                amount,
                imported_at,
            } => Self {
                success: true,
                order_id: Some(order_id),
                currency: Some(amount.currency().to_string()),
                amount: Some(Amount::from(&amount)),
                imported_at: Some(imported_at.into()),
                error: None,
            },
            Imported::Failure(error) => Self::failure(error),
            Imported::InProgress => Self::failure(IMPORT_IN_PROGRESS.code.to_owned()),
        }
    }
}

/// What one receipt of a batch came to.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
struct ReceiptResult {
    /// The receipt, as it was sent.
    receipt: String,
    /// What it came to.
    #[oai(flatten)]
    result: ImportResult,
}

/// What the receipts of a batch came to, in the order they were sent.
#[derive(Debug, Object)]
struct BatchResult {
    /// One for each receipt.
    results: Vec<ReceiptResult>,
}

/// How a store is doing.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase")]
struct SyncState {
    /// When an order of it was last attempted; null before the first.
    last_sync_at: Nullable<Timestamp>,
    /// Orders imported.
    imported_orders: i64,
    /// How its newest receipts went.
    sync_status: SyncStatus,
    /// Receipts that wait because the marketplace wanted us slower.
    rate_limited_count: i64,
}

impl From<StoreState> for SyncState {
    fn from(state: StoreState) -> Self {
        Self {
            last_sync_at: state.last_sync_at.into(),
            imported_orders: state.imported_orders,
            sync_status: state.sync_status,
            rate_limited_count: state.rate_limited_count,
        }
    }
}

/// A token of the right form that opens nothing: put yours in.
fn example_token() -> Uuid {
    Uuid::from_u128(0x018c_c251_f400_7000_8000_0000_0000_0000)
}

/// [`example_token`] as a parameter.
#[expect(clippy::unnecessary_wraps, reason = "the parameter is optional")]
fn example_query() -> Option<String> {
    Some(example_token().to_string())
}

#[OpenApi]
impl MarketplaceApi {
    /// Register a store
    ///
    /// Registers a store of an organization, or replaces the name, access token and currency of
    /// one that is registered; it keeps its id, its sync token and its history.
    #[oai(
        path = "/stores/register",
        method = "post",
        operation_id = "register_store",
        tag = "Tag::Stores"
    )]
    async fn register_store(
        &self,
        caller: Caller,
        /// A key of yours: the same request with it has one effect and, for 24 hours, one answer.
        #[oai(name = "Idempotency-Key")]
        once: Once,
        body: JsonBody<RegisterStore>,
    ) -> Result<Json<RegisteredStore>, Problem> {
        caller.may_act_for(&body.organization_id)?;
        let scope = Scope::organization(&body.organization_id);
        once.begin(&self.app, scope).await?;
        let mut tx = self.app.db.write().await.map_err(Error::from)?;
        let store = NewStore::from(body.0);
        let registered = register_store(&self.app, &mut tx, &store).await?;
        let registered = RegisteredStore::from(registered);
        once.save(tx, Answer::json(&registered)).await?;
        let token = Credential::Token(registered.sync_token);
        self.app.organizations.learn(token, &store.organization_id);
        caller.has_done("register", "store", registered.store_id);
        Ok(Json(registered))
    }

    /// Import an order
    ///
    /// Imports the order of a receipt exactly once: the marketplace is asked once, and everyone
    /// who asks again gets the same answer. An order that cannot be imported is an answer, too
    /// (`success: false`); it is tried again in the background, and the answer follows it.
    #[oai(
        path = "/orders/import",
        method = "post",
        operation_id = "import_order",
        tag = "Tag::Orders"
    )]
    async fn import_order(
        &self,
        entrance: Entrance,
        /// A key of yours: the same request with it has one effect and, for 24 hours, one answer.
        #[oai(name = "Idempotency-Key")]
        once: Once,
        body: JsonBody<ImportOrder>,
    ) -> Result<Json<ImportResult>, Problem> {
        let ImportOrder {
            sync_token,
            receipt,
        } = body.0;
        self.enter(&entrance, sync_token, 1).await?;
        self.begin(&once, SyncToken(sync_token)).await?;
        let work = import_receipts(&self.app, SyncToken(sync_token), vec![receipt]);
        let mut imported = entrance.scope(work).await?;
        match imported.pop() {
            Some(Imported::InProgress) | None => Err(Problem::conflict(
                IMPORT_IN_PROGRESS.code,
                "The receipt is being imported by another request",
            )
            .with("success", false)
            .retry_after(1)),
            Some(imported) => Ok(Json(imported.into())),
        }
    }

    /// Import many orders
    ///
    /// Imports up to 1,000 receipts of one store under the same rules as one, and answers in the
    /// order they were sent. A receipt that somebody else is importing just now has the error
    /// `import_in_progress`.
    #[oai(
        path = "/orders/import/batch",
        method = "post",
        operation_id = "import_orders",
        tag = "Tag::Orders"
    )]
    async fn import_orders(
        &self,
        entrance: Entrance,
        /// A key of yours: the same request with it has one effect and, for 24 hours, one answer.
        #[oai(name = "Idempotency-Key")]
        once: Once,
        body: JsonBody<ImportOrders>,
    ) -> Result<Json<BatchResult>, Problem> {
        let ImportOrders {
            sync_token,
            receipts,
        } = body.0;
        let weight = receipts.len().div_ceil(RECEIPTS_A_PLACE);
        self.enter(&entrance, sync_token, weight).await?;
        self.begin(&once, SyncToken(sync_token)).await?;
        let work = import_receipts(&self.app, SyncToken(sync_token), receipts.clone());
        let imported = entrance.scope(work).await?;
        if imported.contains(&Imported::InProgress) {
            // Whoever asks again gets to know.
            once.leave_open();
        }
        let results = receipts
            .into_iter()
            .zip(imported)
            .map(|(receipt, imported)| ReceiptResult {
                receipt,
                result: imported.into(),
            })
            .collect();
        Ok(Json(BatchResult { results }))
    }

    /// Show how a store is doing
    ///
    /// The token may be sent in the query or, so that no proxy logs it, in the header
    /// `X-Sync-Token`, which wins.
    #[oai(
        path = "/stores/sync-status",
        method = "get",
        operation_id = "get_sync_status",
        tag = "Tag::Stores"
    )]
    async fn sync_status(
        &self,
        entrance: Entrance,
        /// The sync token of the store.
        #[oai(name = "syncToken", example = "example_query")]
        query: Query<Option<String>>,
        /// The sync token of the store.
        #[oai(name = "X-Sync-Token")]
        header: Header<Option<String>>,
    ) -> Result<Json<SyncState>, Problem> {
        let token = header.0.or(query.0);
        let token = fields::check(&[("syncToken", token.as_deref())], |fields| {
            fields.uuid("syncToken")
        })?;
        self.enter(&entrance, token, 1).await?;
        Ok(Json(store_state(&self.app, SyncToken(token)).await?.into()))
    }
}

impl MarketplaceApi {
    /// Spends of the allowance of a token, and takes a place for what it opens.
    async fn enter(&self, entrance: &Entrance, token: Uuid, weight: usize) -> Result<(), Problem> {
        let token = Credential::Token(token);
        self.app.rates.spend(token)?;
        entrance.enter(Some(token), weight).await
    }

    /// Claims the key of an import, which is the store's.
    async fn begin(&self, once: &Once, token: SyncToken) -> Result<(), Problem> {
        if once.has_key() {
            let store = store_of(&self.app, token).await?;
            once.begin(&self.app, Scope::store(store.0)).await?;
        }
        Ok(())
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::StoreNotFound => Self::not_found("Store not found"),
            // The process goes down: another one answers.
            Error::Interrupted => Self::unavailable(1),
            error => Self::internal(&error),
        }
    }
}
