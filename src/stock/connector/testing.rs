//! What tests of adapters share: items and shops.

use jobs::{PushId, StoreId};
use secrecy::SecretString;
use uuid::Uuid;

use super::{Item, Names, Shop};
use crate::marketplace::model::Marketplace;
use crate::stock::model::{ListingTier, MarketplaceEnv, ProductId};

pub(super) const PUSH: PushId = PushId(Uuid::from_u128(0xabc));

pub(super) fn item(names: Names, quantity: i64) -> Item {
    Item {
        product_id: ProductId(Uuid::nil()),
        names,
        quantity,
    }
}

/// An item with a barcode, as Trendyol is told it.
pub(super) fn by_barcode(barcode: &str, quantity: i64) -> Item {
    let names = Names {
        external_barcode: Some(barcode.into()),
        ..Names::default()
    };
    item(names, quantity)
}

/// An item with a SKU and a listing, as Hepsiburada and Etsy are told it.
pub(super) fn by_sku(sku: Option<&str>, listing: Option<&str>, quantity: i64) -> Item {
    let names = Names {
        external_sku: sku.map(str::to_owned),
        external_listing_id: listing.map(str::to_owned),
        ..Names::default()
    };
    item(names, quantity)
}

pub(super) fn shop(marketplace: Marketplace) -> Shop {
    Shop {
        store_id: StoreId(Uuid::nil()),
        marketplace,
        external_store_id: "4321".into(),
        environment: MarketplaceEnv::Prod,
        integrator_name: "SelfIntegration".into(),
        storefront_code: None,
        tier: ListingTier::Fifty,
        listing_count: None,
        api_key: Some(SecretString::from("the-key")),
        api_secret: Some(SecretString::from("the-secret")),
        access_token: SecretString::from("the-token"),
    }
}
