//! The words of this domain, as they stand in SQL, in JSON and in logs; no SQL, no HTTP.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use jobs::StoreId;
use poem_openapi::Enum;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::money::Currency;
use crate::db::{json_instant, json_uuid};
use crate::encryption::{Column, Sealed};

/// Where access tokens are.
pub(crate) const ACCESS_TOKEN: Column = Column("stores.access_token");

/// A marketplace that stores can be registered on.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    Enum,
    sqlx::Type,
)]
#[serde(rename_all = "snake_case")]
#[oai(rename_all = "snake_case")]
#[sqlx(type_name = "TEXT", rename_all = "snake_case")]
pub enum Marketplace {
    /// Etsy.
    Etsy,
    /// Shopify.
    Shopify,
    /// Amazon.
    Amazon,
    /// Trendyol.
    Trendyol,
    /// Hepsiburada.
    Hepsiburada,
}

impl Marketplace {
    /// Every marketplace.
    pub const ALL: [Self; 5] = [
        Self::Etsy,
        Self::Shopify,
        Self::Amazon,
        Self::Trendyol,
        Self::Hepsiburada,
    ];

    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Etsy => "etsy",
            Self::Shopify => "shopify",
            Self::Amazon => "amazon",
            Self::Trendyol => "trendyol",
            Self::Hepsiburada => "hepsiburada",
        }
    }
}

impl fmt::Display for Marketplace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// The text names no marketplace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such marketplace; known are etsy, shopify, amazon, trendyol and hepsiburada")]
pub struct UnknownMarketplace;

impl FromStr for Marketplace {
    type Err = UnknownMarketplace;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = |marketplace: &Self| marketplace.as_str() == text;
        Self::ALL.into_iter().find(named).ok_or(UnknownMarketplace)
    }
}

/// How a store is doing; computed by [`sync_status`](super::status::sync_status).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Enum, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[oai(rename_all = "snake_case")]
#[sqlx(type_name = "TEXT", rename_all = "snake_case")]
pub enum SyncStatus {
    /// Nothing has been tried yet.
    Pending,
    /// The recent receipts were all imported.
    Success,
    /// Some of the recent receipts were not imported, or not yet.
    Partial,
    /// None of the recent receipts was imported.
    Failed,
}

impl fmt::Display for SyncStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Partial => "partial",
            Self::Failed => "failed",
        })
    }
}

/// What became of one receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Enum, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[oai(rename_all = "snake_case")]
#[sqlx(type_name = "TEXT", rename_all = "snake_case")]
pub enum SyncLogStatus {
    /// Not tried yet, or being tried now.
    Pending,
    /// Imported; nothing overwrites it.
    Success,
    /// Refused by the marketplace, or the marketplace could not be asked.
    Failed,
    /// The marketplace asked us to come back later.
    RateLimited,
}

/// A row of `sync_logs`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, sqlx::Type,
)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct SyncLogId(pub Uuid);

impl From<SyncLogId> for Uuid {
    fn from(id: SyncLogId) -> Self {
        id.0
    }
}

/// The secret that opens one store's imports and status. Printing it shows its first characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct SyncToken(pub Uuid);

impl From<SyncToken> for Uuid {
    fn from(token: SyncToken) -> Self {
        token.0
    }
}

impl fmt::Debug for SyncToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SyncToken(redacted)")
    }
}

/// What a store is registered with.
#[derive(Clone, Debug)]
pub struct NewStore {
    /// Whose store it is.
    pub organization_id: String,
    /// Where it is.
    pub marketplace: Marketplace,
    /// What the marketplace calls it.
    pub external_store_id: String,
    /// What people call it.
    pub store_name: String,
    /// The marketplace's credential for it.
    pub access_token: SecretString,
    /// ISO 4217.
    pub currency: String,
}

/// How a store is doing, in one look.
#[derive(Clone, Debug, FromRow)]
pub struct StoreLook {
    /// What opens it.
    pub sync_token: SyncToken,
    /// Whose store it is.
    pub organization_id: String,
    /// When an order of it was last attempted.
    pub last_sync_at: Option<DateTime<Utc>>,
    /// Orders imported.
    pub imported_success_count: i64,
    /// How its newest rows that came to something went, newest first.
    pub newest: Json<Vec<SyncLogStatus>>,
    /// Receipts that are rate-limited now.
    pub rate_limited_count: i64,
}

/// A store, and the token that opens it.
#[derive(Clone, Debug, FromRow)]
pub struct OpenStore {
    /// What opens it.
    pub sync_token: SyncToken,
    /// What it is.
    #[sqlx(flatten)]
    pub store: Store,
}

/// A registered store.
#[derive(Clone, Debug, FromRow)]
pub struct Store {
    /// Its id.
    pub id: StoreId,
    /// Whose store it is.
    pub organization_id: String,
    /// Where it is.
    pub marketplace: Marketplace,
    /// The marketplace's credential for it.
    #[sqlx(try_from = "String")]
    pub access_token: Sealed,
    /// ISO 4217.
    pub currency: String,
    /// How its newest orders went, as last written.
    pub sync_status: SyncStatus,
    /// When an order of it was last attempted.
    pub last_sync_at: Option<DateTime<Utc>>,
    /// Orders imported.
    pub imported_success_count: i64,
    /// Until when its marketplace wants to be left in peace.
    pub paused_until: Option<DateTime<Utc>>,
}

/// What is known of one receipt.
#[derive(Clone, Debug, FromRow)]
pub struct SyncLog {
    /// Its id.
    pub id: SyncLogId,
    /// The marketplace's name of the order.
    pub receipt: String,
    /// How it went.
    pub status: SyncLogStatus,
    /// The marketplace's order.
    pub order_id: Option<String>,
    /// In minor units of [`SyncLog::currency`].
    pub amount_minor: Option<i64>,
    /// ISO 4217.
    pub currency: Option<Currency>,
    /// Why it failed.
    pub error_details: Option<String>,
    /// When it is due; of a pending row, when the claim of whoever imports it ends.
    pub next_retry_at: Option<DateTime<Utc>>,
    /// When the marketplace says it was imported.
    pub imported_at: Option<DateTime<Utc>>,
}

/// How a receipt stands, for people.
#[derive(Clone, Debug, FromRow)]
pub struct OrderState {
    /// The marketplace's name of the order.
    pub receipt: String,
    /// How it went.
    pub status: SyncLogStatus,
    /// How often it was rate-limited.
    pub attempt: i32,
    /// How often in a row a run failed with it.
    pub failed_attempt: i32,
    /// Why it failed.
    pub error_details: Option<String>,
    /// When it is due again.
    pub next_retry_at: Option<DateTime<Utc>>,
    /// When it became a dead letter.
    pub dead_at: Option<DateTime<Utc>>,
}

/// A row that a run is about to try again.
#[derive(Clone, Debug, FromRow)]
pub struct DueRow {
    /// Its id.
    pub id: SyncLogId,
    /// The marketplace's name of the order.
    pub receipt: String,
    /// Orders rows, with the id.
    pub created_at: DateTime<Utc>,
    /// How often it was rate-limited.
    pub attempt: i32,
    /// How often in a row it failed.
    pub failed_attempt: i32,
}

/// What is written to a row after the marketplace answered.
#[derive(Clone, Debug, Serialize)]
pub struct RowOutcome {
    /// The row.
    #[serde(serialize_with = "json_uuid::of")]
    pub id: SyncLogId,
    /// How it went.
    pub status: SyncLogStatus,
    /// The marketplace's order.
    pub order_id: Option<String>,
    /// In minor units of [`RowOutcome::currency`].
    pub amount_minor: Option<i64>,
    /// ISO 4217.
    pub currency: Option<Currency>,
    /// When the marketplace says it was imported.
    #[serde(serialize_with = "json_instant::option")]
    pub imported_at: Option<DateTime<Utc>>,
    /// Why it failed.
    pub error_details: Option<String>,
    /// How often it was rate-limited.
    pub attempt: i32,
    /// How often in a row it failed.
    pub failed_attempt: i32,
    /// When it is due again.
    #[serde(serialize_with = "json_instant::option")]
    pub next_retry_at: Option<DateTime<Utc>>,
    /// When it became a dead letter.
    #[serde(serialize_with = "json_instant::option")]
    pub dead_at: Option<DateTime<Utc>>,
    /// Written only while the row is still claimed until this instant; none: whatever its claim.
    #[serde(serialize_with = "json_instant::option")]
    pub claimed_until: Option<DateTime<Utc>>,
}

impl RowOutcome {
    /// The row of a receipt that this was written to.
    pub(crate) fn into_log(self, receipt: String) -> SyncLog {
        SyncLog {
            id: self.id,
            receipt,
            status: self.status,
            order_id: self.order_id,
            amount_minor: self.amount_minor,
            currency: self.currency,
            error_details: self.error_details,
            next_retry_at: self.next_retry_at,
            imported_at: self.imported_at,
        }
    }
}

impl fmt::Display for SyncLogStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::RateLimited => "rate_limited",
        })
    }
}

#[cfg(test)]
mod tests {
    use poem_openapi::types::ToJSON;

    use super::*;

    #[test]
    fn a_marketplace_has_one_name_everywhere() {
        for marketplace in Marketplace::ALL {
            let name = marketplace.to_string();
            assert_eq!(name.parse(), Ok(marketplace));
            assert_eq!(serde_json::to_value(marketplace).unwrap(), name.as_str());
            assert_eq!(marketplace.to_json(), Some(name.into()));
        }
        for unknown in ["", "Etsy", "etsy ", "ebay", "invalid"] {
            assert_eq!(unknown.parse::<Marketplace>(), Err(UnknownMarketplace));
        }
    }

    #[test]
    fn the_names_of_the_statuses_are_wire_format() {
        use SyncLogStatus as Log;
        use SyncStatus as Store;
        let logs = [Log::Pending, Log::Success, Log::Failed, Log::RateLimited];
        let stores = [
            Store::Pending,
            Store::Success,
            Store::Partial,
            Store::Failed,
        ];
        let names = serde_json::to_string(&(logs, stores)).unwrap();
        insta::assert_snapshot!(names, @r#"[["pending","success","failed","rate_limited"],["pending","success","partial","failed"]]"#);
        assert_eq!(Log::RateLimited.to_json(), Some("rate_limited".into()));
    }
}
