//! The words of this domain, as they stand in SQL, in JSON and in logs; no SQL, no HTTP.

use std::fmt;
use std::str::FromStr;

use poem_openapi::Enum;
use serde::{Deserialize, Serialize};

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
}

impl Marketplace {
    /// Every marketplace.
    pub const ALL: [Self; 3] = [Self::Etsy, Self::Shopify, Self::Amazon];

    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Etsy => "etsy",
            Self::Shopify => "shopify",
            Self::Amazon => "amazon",
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
#[error("no such marketplace; known are etsy, shopify and amazon")]
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
