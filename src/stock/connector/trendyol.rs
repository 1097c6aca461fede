//! Trendyol: quantities by barcode, a thousand at a time; it takes them and says later what became
//! of each.
//!
//! - It refuses a request whose items and quantities it had within 15 minutes. The text of the
//!   refusal is known, its status is not, so the text counts under any status.
//! - A batch of quantities has no status of its own: it is done when all of its items are.
//! - It removes spaces inside barcodes and echoes them without, so they are sent without.
//! - It wants to know who calls: `{seller} - {integrator}`, letters and digits.

use chrono::TimeDelta;
use futures::FutureExt;
use futures::future::BoxFuture;
use jobs::PushId;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::adapters::bucket;
use super::answer::{Answer, failure, not_called};
use super::body::{body, json};
use super::call::{Call, Caller, address};
use super::trendyol_reply::{
    barcode, batch_id, folded, is_identical, normalized, readings, results,
};
use super::{
    Adapter, Body, Bucket, CallFailure, Called, FailureKind, Item, Manners, Names, Operation,
    PollOutcome, ReadOutcome, SendOutcome, Shop,
};
use crate::marketplace::model::Marketplace;
use crate::stock::model::{ApiLogType, ListingTier, MarketplaceEnv, Provider};

const PRODUCTION: &str = "https://apigw.trendyol.com";
const STAGE: &str = "https://stageapigw.trendyol.com";
/// Letters of the name of an integrator.
const INTEGRATOR_LETTERS: usize = 30;
/// Trendyol.
#[derive(Debug)]
pub(super) struct Trendyol {
    caller: Caller,
    base: Option<Url>,
    /// What the reasons of hopeless items have in them, folded.
    permanent: Vec<String>,
}

#[derive(Serialize)]
struct Line<'a> {
    barcode: &'a str,
    quantity: i64,
}

#[derive(Serialize)]
struct Lines<'a> {
    items: &'a [Line<'a>],
}

impl Trendyol {
    pub(super) fn new(caller: Caller, base: Option<Url>, permanent: &[String]) -> Self {
        let permanent = permanent.iter().map(|reason| folded(reason));
        // Nothing is in everything.
        let permanent = permanent.filter(|reason| !reason.is_empty()).collect();
        Self {
            caller,
            base,
            permanent,
        }
    }

    fn base(&self, shop: &Shop) -> Url {
        self.base.clone().unwrap_or_else(|| {
            let host = match shop.environment {
                MarketplaceEnv::Prod => PRODUCTION,
                MarketplaceEnv::Stage => STAGE,
            };
            Url::parse(host).expect("it is an address")
        })
    }

    fn address(&self, shop: &Shop, service: &str, rest: &[&str]) -> Url {
        let path = [
            "integration",
            service,
            "sellers",
            &shop.external_store_id,
            "products",
        ];
        address(&self.base(shop), &[&path, rest].concat())
    }

    /// The call with what identifies the caller; none without credentials.
    fn signed(shop: &Shop, call: Call) -> Option<Call> {
        let (key, secret) = credentials(shop)?;
        let call = call.basic(key.expose_secret(), secret.expose_secret());
        let call = call.header("user-agent", user_agent(shop));
        Some(match &shop.storefront_code {
            Some(code) => call.header("storefrontcode", code),
            None => call,
        })
    }

    async fn tell(&self, shop: &Shop, push_id: PushId, body: &Body) -> Called<SendOutcome> {
        let url = self.address(shop, "inventory", &["price-and-inventory"]);
        let call = Call::with_body(ApiLogType::UpdateStock, "POST", url, body.text.clone());
        let Some(call) = Self::signed(shop, call.of_push(push_id)) else {
            return not_called(NO_CREDENTIALS, SendOutcome::Failed);
        };
        let answer = self.caller.call(call, self.caller.deadline()).await;
        let read = match answer.good().and_then(batch_id) {
            Some(batch_id) => Ok(SendOutcome::Accepted { batch_id }),
            None => Err(refused(shop, &answer)),
        };
        answer.called(read, SendOutcome::Failed)
    }

    async fn results_of(&self, shop: &Shop, batch_id: &str, items: &[Item]) -> Called<PollOutcome> {
        let url = self.address(shop, "product", &["batch-requests", batch_id]);
        let call = Call::get(ApiLogType::GetStockResult, url);
        let Some(call) = Self::signed(shop, call) else {
            return not_called(NO_CREDENTIALS, PollOutcome::Failed);
        };
        let answer = self.caller.call(call, self.caller.deadline()).await;
        let read = match answer
            .good()
            .and_then(|reply| results(reply, items, &self.permanent))
        {
            Some(outcome) => Ok(outcome),
            None if answer.status() == Some(404) => Ok(PollOutcome::Gone),
            None => Err(refused(shop, &answer)),
        };
        answer.called(read, PollOutcome::Failed)
    }

    async fn quantities_of(&self, shop: &Shop, items: &[Item]) -> Called<ReadOutcome> {
        let mut url = self.address(shop, "product", &["approved", "inventory-and-price"]);
        let barcodes: Vec<&str> = items.iter().map(barcode).collect();
        url.query_pairs_mut()
            .append_pair("barcodes", &barcodes.join(","))
            .append_pair("page", "0")
            .append_pair("size", "100");
        let Some(call) = Self::signed(shop, Call::get(ApiLogType::GetStock, url)) else {
            return not_called(NO_CREDENTIALS, ReadOutcome::Failed);
        };
        let answer = self.caller.call(call, self.caller.deadline()).await;
        let read = match answer.good().and_then(|reply| readings(reply, items)) {
            Some(readings) => Ok(ReadOutcome::Read(readings)),
            None => Err(refused(shop, &answer)),
        };
        answer.called(read, ReadOutcome::Failed)
    }
}

const NO_CREDENTIALS: &str = "the store has no API key and secret of Trendyol";

fn credentials(shop: &Shop) -> Option<(&SecretString, &SecretString)> {
    let pair = (shop.api_key.as_ref()?, shop.api_secret.as_ref()?);
    let is_set = |secret: &SecretString| !secret.expose_secret().is_empty();
    (is_set(pair.0) && is_set(pair.1)).then_some(pair)
}

/// `{seller} - {integrator}`; Trendyol takes letters and digits only.
fn user_agent(shop: &Shop) -> String {
    let letters = shop
        .integrator_name
        .chars()
        .filter(char::is_ascii_alphanumeric);
    let name: String = letters.take(INTEGRATOR_LETTERS).collect();
    let name = if name.is_empty() {
        "SelfIntegration"
    } else {
        &name
    };
    format!("{} - {name}", shop.external_store_id)
}

/// Why Trendyol did not do what it was asked.
fn refused(shop: &Shop, answer: &Answer) -> CallFailure {
    // The refusal is short; nothing long is worth looking through.
    if answer.text().len() <= 64 * 1024 && is_identical(answer.text()) {
        return answer.said(FailureKind::Identical);
    }
    match (answer.status(), shop.environment) {
        (Some(503), MarketplaceEnv::Stage) => {
            let said = answer.said(FailureKind::Unauthorized).message;
            let why = format!("the stage environment may not know our address; {said}");
            failure(FailureKind::Unauthorized, &why)
        }
        (Some(403), _) => {
            let said = answer.said(FailureKind::Unauthorized).message;
            let agent = user_agent(shop);
            let why = format!("the User-Agent `{agent}` or the credentials are refused; {said}");
            failure(FailureKind::Unauthorized, &why)
        }
        _ => answer.failure(),
    }
}

/// Requests a minute of the group "Inventory & Price Write", and of "Product Integration Read".
const fn quotas(tier: ListingTier) -> (u32, u32) {
    match tier {
        ListingTier::Fifty => (350, 1000),
        ListingTier::SeventyFive => (500, 1250),
        ListingTier::HundredFifty => (1000, 1500),
        ListingTier::FiveHundred => (1500, 1750),
        ListingTier::Unlimited => (2000, 2000),
    }
}

impl Adapter for Trendyol {
    fn provider(&self) -> Provider {
        Provider::Trendyol
    }

    fn manners(&self) -> Manners {
        Manners {
            max_items: 1000,
            max_read_items: 50,
            quantity_cap: 20_000,
            results_for: Some(TimeDelta::hours(4)),
            refuses_identical: true,
            max_outstanding: None,
            spacing: None,
            daily_updates_per_listing: None,
            day_offset: 3 * 3600,
        }
    }

    fn names(&self, names: &Names) -> Option<Names> {
        let barcode = names.external_barcode.as_ref().or(names.barcode.as_ref())?;
        Some(Names {
            external_barcode: Some(normalized(barcode)?),
            ..Names::default()
        })
    }

    fn has_credentials(&self, shop: &Shop) -> bool {
        credentials(shop).is_some()
    }

    fn buckets(&self, shop: &Shop, operation: Operation) -> Vec<Bucket> {
        let (write, read) = quotas(shop.tier);
        let (endpoint, group, quota) = match operation {
            Operation::Send => ("price-and-inventory", "inventory-write", write),
            Operation::Poll => ("batch-requests", "product-read", read),
            Operation::ReadBack => ("inventory-and-price", "product-read", read),
        };
        let seller = format!("{}:{}", shop.environment, shop.external_store_id);
        let bucket = |what, capacity, seconds| {
            bucket(Marketplace::Trendyol, &seller, what, capacity, seconds)
        };
        vec![bucket(endpoint, 50, 10), bucket(group, quota, 60)]
    }

    fn build(&self, _: &Shop, _: PushId, items: &[Item]) -> Body {
        let line = |item| Line {
            barcode: barcode(item),
            quantity: item.quantity,
        };
        let lines: Vec<Line<'_>> = items.iter().map(line).collect();
        body(json(&Lines { items: &lines }), &lines)
    }

    fn send<'a>(
        &'a self,
        shop: &'a Shop,
        push_id: PushId,
        _: &'a [Item],
        body: &'a Body,
    ) -> BoxFuture<'a, Called<SendOutcome>> {
        self.tell(shop, push_id, body).boxed()
    }

    fn poll<'a>(
        &'a self,
        shop: &'a Shop,
        batch_id: &'a str,
        items: &'a [Item],
    ) -> BoxFuture<'a, Called<PollOutcome>> {
        self.results_of(shop, batch_id, items).boxed()
    }

    fn read_back<'a>(
        &'a self,
        shop: &'a Shop,
        items: &'a [Item],
    ) -> BoxFuture<'a, Called<ReadOutcome>> {
        self.quantities_of(shop, items).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{PUSH, by_barcode, shop};
    use super::*;

    fn trendyol() -> Trendyol {
        let http = crate::marketplace::connector::http_client(std::time::Duration::from_secs(1));
        let caller = Caller::new(http.unwrap(), std::time::Duration::from_secs(1));
        Trendyol::new(caller, None, &[])
    }

    #[test]
    fn the_caller_is_named_by_letters_and_digits() {
        let mut shop = shop(Marketplace::Trendyol);
        let mut agent = |name: &str| {
            shop.integrator_name = name.into();
            user_agent(&shop)
        };
        assert_eq!(agent("SelfIntegration"), "4321 - SelfIntegration");
        assert_eq!(agent("Örnek A.Ş. 7"), "4321 - rnekA7");
        assert_eq!(agent("…"), "4321 - SelfIntegration");
        assert_eq!(agent(&"x".repeat(31)), format!("4321 - {}", "x".repeat(30)));
    }

    #[test]
    fn the_stage_environment_has_a_host_of_its_own() {
        let mut shop = shop(Marketplace::Trendyol);
        let url = |shop: &Shop| {
            trendyol()
                .address(shop, "product", &["batch-requests", "a b"])
                .to_string()
        };
        let path = "/integration/product/sellers/4321/products/batch-requests/a%20b";
        assert_eq!(url(&shop), format!("https://apigw.trendyol.com{path}"));
        shop.environment = MarketplaceEnv::Stage;
        assert_eq!(url(&shop), format!("https://stageapigw.trendyol.com{path}"));
    }

    #[test]
    fn an_item_is_named_by_its_barcode_there_and_else_by_its_own() {
        let named = |external: Option<&str>, own: Option<&str>| {
            let names = Names {
                sku: Some("SKU".into()),
                barcode: own.map(str::to_owned),
                external_barcode: external.map(str::to_owned),
                external_sku: Some("SKU".into()),
                ..Names::default()
            };
            let kept = trendyol().names(&names);
            // Who gives them again gets the same.
            assert_eq!(
                kept.as_ref().map(|it| trendyol().names(it)),
                kept.clone().map(Some)
            );
            kept.and_then(|kept| kept.external_barcode)
        };
        assert_eq!(named(Some("86 8"), Some("869")).as_deref(), Some("868"));
        assert_eq!(named(None, Some("869")).as_deref(), Some("869"));
        assert_eq!(named(None, None), None);
        assert_eq!(named(Some(" "), None), None);
    }

    #[test]
    fn a_body_has_barcodes_and_quantities_and_no_price() {
        let items = [by_barcode("2", 20_000), by_barcode("1", 0)];
        let sent = trendyol().build(&shop(Marketplace::Trendyol), PUSH, &items);
        insta::assert_snapshot!(
            sent.text,
            @r#"{"items":[{"barcode":"2","quantity":20000},{"barcode":"1","quantity":0}]}"#
        );
    }

    /// By the published figures.
    #[test]
    fn rates_grow_with_the_tier() {
        let mut shop = shop(Marketplace::Trendyol);
        let mut rates = Vec::new();
        for tier in ListingTier::ALL {
            shop.tier = *tier;
            let buckets = |operation| trendyol().buckets(&shop, operation);
            let [send, write] = &buckets(Operation::Send)[..] else {
                panic!()
            };
            let [poll, read] = &buckets(Operation::Poll)[..] else {
                panic!()
            };
            let [back, also_read] = &buckets(Operation::ReadBack)[..] else {
                panic!()
            };
            assert_eq!(read, also_read);
            for route in [send, poll, back] {
                assert_eq!((route.capacity, route.per.as_secs()), (50, 10));
            }
            let keys: std::collections::HashSet<_> = [send, write, poll, read, back]
                .map(|bucket| &bucket.key)
                .into();
            assert_eq!(keys.len(), 5);
            assert_eq!((write.per.as_secs(), read.per.as_secs()), (60, 60));
            rates.push((write.capacity, read.capacity));
        }
        assert_eq!(
            rates,
            [
                (350, 1000),
                (500, 1250),
                (1000, 1500),
                (1500, 1750),
                (2000, 2000)
            ]
        );
    }
}
