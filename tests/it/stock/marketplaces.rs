//! A mock of each marketplace, and the adapter that speaks to it over real HTTP.

use std::time::Duration;

use chrono::TimeDelta;
use jobs::{PushId, StoreId};
use marketplace_sync::clock::Clock;
use marketplace_sync::config::{Settings, StockSettings};
use marketplace_sync::marketplace::model::Marketplace;
use marketplace_sync::stock::connector::{
    Adapter, Adapters, CallFailure, Called, FailureKind, Item, ItemOutcome, Names, PollOutcome,
    ReadOutcome, SendOutcome, Shop,
};
use marketplace_sync::stock::mock::hepsiburada::HepsiburadaRules;
use marketplace_sync::stock::mock::trendyol::TrendyolRules;
use marketplace_sync::stock::mock::{
    Catalogue, Fault, FaultKind, MockMarketplace, Operation, Options, Protocol, Running,
};
use marketplace_sync::stock::model::{ListingTier, MarketplaceEnv, ProductId};
use reqwest::Url;
use secrecy::SecretString;
use uuid::Uuid;

use super::contract_mocks::{AmazonSeller, EtsyListings, ShopifyShop};
use crate::support::marketplace::noon;

pub(crate) const PUSH: PushId = PushId(Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057));
pub(crate) const SELLER: &str = "4321";
pub(crate) const KEY: &str = "key-of-the-api";
pub(crate) const SECRET: &str = "secret:of-the-api";
pub(crate) const TOKEN: &str = "token-of-the-store";

/// Stock settings with these names and values, and all else by default.
pub(crate) fn settings(pairs: &[(&str, &str)]) -> StockSettings {
    let find = |name: &str| pairs.iter().find(|(known, _)| *known == name);
    let lookup = |name: &str| find(name).map(|(_, value)| (*value).to_owned());
    Settings::from_lookup(&lookup).unwrap().stock
}

/// A store of a marketplace, with all of its credentials.
pub(crate) fn shop(marketplace: Marketplace) -> Shop {
    Shop {
        store_id: StoreId(Uuid::from_u128(1)),
        marketplace,
        external_store_id: SELLER.into(),
        environment: MarketplaceEnv::Prod,
        integrator_name: "SelfIntegration".into(),
        storefront_code: (marketplace == Marketplace::Amazon).then(|| "TR".into()),
        tier: ListingTier::Fifty,
        listing_count: None,
        api_key: Some(SecretString::from(KEY)),
        api_secret: Some(SecretString::from(SECRET)),
        access_token: SecretString::from(TOKEN),
    }
}

/// What the item with this number is called at a marketplace, and how many there are.
pub(crate) fn item(marketplace: Marketplace, number: usize, quantity: i64) -> Item {
    let name = |text: String| Some(text);
    let names = match marketplace {
        Marketplace::Trendyol => Names {
            external_barcode: name(format!("868{number:04}")),
            ..Names::default()
        },
        Marketplace::Hepsiburada | Marketplace::Amazon => Names {
            external_sku: name(format!("SKU-{number}")),
            ..Names::default()
        },
        Marketplace::Shopify => Names {
            external_listing_id: name(format!("gid://shopify/InventoryItem/{number}")),
            external_location_id: name("gid://shopify/Location/1".into()),
            ..Names::default()
        },
        Marketplace::Etsy => Names {
            external_listing_id: name(format!("{number}")),
            external_sku: name(format!("SKU-{number}")),
            ..Names::default()
        },
    };
    Item {
        product_id: ProductId(Uuid::from_u128(number as u128)),
        names,
        quantity,
    }
}

/// By what the mock knows the item with this number.
pub(crate) fn identifier(marketplace: Marketplace, number: usize) -> String {
    let names = item(marketplace, number, 0).names;
    match marketplace {
        Marketplace::Trendyol => names.external_barcode.unwrap(),
        Marketplace::Shopify => names.external_listing_id.unwrap(),
        _ => names.external_sku.unwrap(),
    }
}

/// The name of a setting with the address of a marketplace.
fn base_url(marketplace: Marketplace) -> String {
    format!("{}_BASE_URL", marketplace.as_str().to_uppercase())
}

/// An adapter and the mock that it speaks to, which know what time it is by the same hand.
pub(crate) struct Place {
    pub(crate) marketplace: Marketplace,
    pub(crate) shop: Shop,
    pub(crate) mock: MockMarketplace,
    pub(crate) running: Running,
    adapters: Adapters,
}

impl Place {
    /// One that knows the items 1 to 9, and behaves as it does by default.
    pub(crate) async fn new(marketplace: Marketplace) -> Self {
        Self::with(marketplace, &[]).await
    }

    /// The same, with other stock settings.
    pub(crate) async fn with(marketplace: Marketplace, pairs: &[(&str, &str)]) -> Self {
        match marketplace {
            Marketplace::Trendyol => {
                let rules = TrendyolRules {
                    credentials: Some((KEY.into(), SECRET.into())),
                    ..TrendyolRules::default()
                };
                Self::of(marketplace, rules, pairs).await
            }
            Marketplace::Hepsiburada => {
                let rules = HepsiburadaRules {
                    credentials: Some((KEY.into(), SECRET.into())),
                    ..HepsiburadaRules::default()
                };
                Self::of(marketplace, rules, pairs).await
            }
            Marketplace::Shopify => Self::of(marketplace, ShopifyShop::default(), pairs).await,
            Marketplace::Amazon => Self::of(marketplace, AmazonSeller, pairs).await,
            Marketplace::Etsy => Self::of(marketplace, EtsyListings::new(9), pairs).await,
        }
    }

    /// With rules of its own.
    pub(crate) async fn of(
        marketplace: Marketplace,
        rules: impl Protocol,
        pairs: &[(&str, &str)],
    ) -> Self {
        let known: Vec<String> = (1..=9)
            .map(|number| identifier(marketplace, number))
            .collect();
        let options = Options {
            catalogue: Catalogue::of(known.iter().map(String::as_str)),
            ..Options::default()
        };
        let mock = MockMarketplace::new(rules, options, Clock::manual(noon()));
        let running = mock.serve(0).await.unwrap();
        let url = running.base_url();
        let adapters = adapters(marketplace, &url, pairs);
        Self {
            marketplace,
            shop: shop(marketplace),
            mock,
            running,
            adapters,
        }
    }

    pub(crate) fn adapter(&self) -> &dyn Adapter {
        self.adapters.get(self.marketplace).unwrap()
    }

    /// Items by their numbers, with their quantities.
    pub(crate) fn items(&self, quantities: &[(usize, i64)]) -> Vec<Item> {
        let item = |(number, quantity): &(usize, i64)| item(self.marketplace, *number, *quantity);
        quantities.iter().map(item).collect()
    }

    pub(crate) async fn send(&self, items: &[Item]) -> Called<SendOutcome> {
        let body = self.adapter().build(&self.shop, PUSH, items);
        self.adapter().send(&self.shop, PUSH, items, &body).await
    }

    pub(crate) async fn poll(&self, batch_id: &str, items: &[Item]) -> Called<PollOutcome> {
        self.adapter().poll(&self.shop, batch_id, items).await
    }

    pub(crate) async fn read_back(&self, items: &[Item]) -> Called<ReadOutcome> {
        self.adapter().read_back(&self.shop, items).await
    }

    /// The id of a push that must be accepted.
    pub(crate) async fn accepted(&self, items: &[Item]) -> String {
        match self.send(items).await.outcome {
            SendOutcome::Accepted { batch_id } => batch_id,
            other => panic!("it is accepted: {other:?}"),
        }
    }

    /// Why a push came to nothing.
    pub(crate) async fn refused(&self, items: &[Item]) -> CallFailure {
        match self.send(items).await.outcome {
            SendOutcome::Failed(failure) => failure,
            other => panic!("it comes to nothing: {other:?}"),
        }
    }

    /// What became of items that are all there.
    pub(crate) async fn results(&self, batch_id: &str, items: &[Item]) -> Vec<ItemOutcome> {
        match self.poll(batch_id, items).await.outcome {
            PollOutcome::Done(outcomes) => outcomes,
            other => panic!("the results are there: {other:?}"),
        }
    }

    /// What the marketplace says it shows of items.
    pub(crate) async fn read(&self, items: &[Item]) -> Vec<Option<i64>> {
        match self.read_back(items).await.outcome {
            ReadOutcome::Read(readings) => {
                readings.iter().map(|reading| reading.quantity).collect()
            }
            other => panic!("it can be read: {other:?}"),
        }
    }

    /// What it really shows of an item.
    pub(crate) fn shows(&self, number: usize) -> Option<i64> {
        let seller = match self.marketplace {
            Marketplace::Shopify | Marketplace::Etsy => "",
            _ => SELLER,
        };
        self.mock
            .quantity(seller, &identifier(self.marketplace, number))
    }

    pub(crate) fn fault(&self, operation: Operation, kind: FaultKind) {
        self.mock.fault(Fault::once(operation, kind));
    }

    /// The next push is answered with this.
    pub(crate) fn answers(&self, status: u16, body: impl Into<serde_json::Value>) {
        let body = Some(body.into());
        self.fault(
            Operation::Send,
            FaultKind::Status {
                status,
                body,
                applied: false,
            },
        );
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.mock.advance(TimeDelta::seconds(seconds));
    }
}

/// The adapters of a service whose marketplace is elsewhere.
pub(crate) fn adapters(marketplace: Marketplace, url: &Url, pairs: &[(&str, &str)]) -> Adapters {
    let name = base_url(marketplace);
    let mut all = vec![(name.as_str(), url.as_str())];
    all.extend(pairs);
    Adapters::new(&settings(&all)).unwrap()
}

/// 429, for the store alone.
pub(crate) fn rate_limited(seconds: Option<u64>) -> FailureKind {
    FailureKind::RateLimited {
        retry_after: seconds
            .map(|seconds| TimeDelta::from_std(Duration::from_secs(seconds)).unwrap()),
        is_for_address: false,
    }
}

/// The code of a rejection.
pub(crate) fn code(outcome: &ItemOutcome) -> &str {
    match outcome {
        ItemOutcome::Rejected(rejection) => &rejection.code,
        ItemOutcome::Confirmed => "confirmed",
        ItemOutcome::Unknown => "unknown",
    }
}
