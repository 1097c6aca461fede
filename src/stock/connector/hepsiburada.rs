//! Hepsiburada: quantities by merchant SKU or by its own; it takes them and says later which it
//! refused.
//!
//! - The merchant's SKU is upper-cased on the way in, and has no spaces; it is sent and matched in
//!   upper case.
//! - Results name what was refused, by SKU and by the place in the request (from 1). The SKU counts
//!   first. A refusal that names nothing of ours leaves open what became of the others.
//! - What is too much is said in words, under 429 or in a good answer without an id.
//! - `merchantid` in a path is lower case: another case is another path.

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
use super::hepsiburada_reply::{Listings, hepsiburada_sku, merchant_sku, results, upload_id};
use super::reply::shortened;
use super::{
    Adapter, Body, Bucket, CallFailure, Called, FailureKind, Item, Manners, Names, Operation,
    PollOutcome, ReadOutcome, SendOutcome, Shop,
};
use crate::marketplace::model::Marketplace;
use crate::stock::model::{ApiLogType, MarketplaceEnv, Provider};

const PRODUCTION: &str = "https://listing-external.hepsiburada.com";
const TEST: &str = "https://listing-external-sit.hepsiburada.com";
const NO_CREDENTIALS: &str = "the store has no service key of Hepsiburada";

/// Hepsiburada.
#[derive(Debug)]
pub(super) struct Hepsiburada {
    caller: Caller,
    base: Option<Url>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    hepsiburada_sku: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    merchant_sku: Option<&'a str>,
    available_stock: i64,
}

impl Hepsiburada {
    pub(super) fn new(caller: Caller, base: Option<Url>) -> Self {
        Self { caller, base }
    }

    fn address(&self, shop: &Shop, rest: &[&str]) -> Url {
        let base = self.base.clone().unwrap_or_else(|| {
            let host = match shop.environment {
                MarketplaceEnv::Prod => PRODUCTION,
                MarketplaceEnv::Stage => TEST,
            };
            Url::parse(host).expect("it is an address")
        });
        address(
            &base,
            &[&["listings", "merchantid", &shop.external_store_id], rest].concat(),
        )
    }

    /// The call with what identifies the caller; none without credentials.
    fn signed(shop: &Shop, call: Call) -> Option<Call> {
        let (user, key) = credentials(shop)?;
        Some(
            call.basic(user, key)
                .header("user-agent", &shop.integrator_name),
        )
    }

    async fn tell(&self, shop: &Shop, push_id: PushId, body: &Body) -> Called<SendOutcome> {
        let url = self.address(shop, &["stock-uploads"]);
        let call = Call::with_body(ApiLogType::UpdateStock, "POST", url, body.text.clone());
        let Some(call) = Self::signed(shop, call.of_push(push_id)) else {
            return not_called(NO_CREDENTIALS, SendOutcome::Failed);
        };
        let answer = self.caller.call(call, self.caller.deadline()).await;
        let read = match answer.good().and_then(upload_id) {
            Some(batch_id) => Ok(SendOutcome::Accepted { batch_id }),
            None => Err(refused(shop, &answer)),
        };
        answer.called(read, SendOutcome::Failed)
    }

    async fn results_of(&self, shop: &Shop, batch_id: &str, items: &[Item]) -> Called<PollOutcome> {
        let url = self.address(shop, &["stock-uploads", "id", batch_id]);
        let Some(call) = Self::signed(shop, Call::get(ApiLogType::GetStockResult, url)) else {
            return not_called(NO_CREDENTIALS, PollOutcome::Failed);
        };
        let answer = self.caller.call(call, self.caller.deadline()).await;
        let read = match answer.good().and_then(|reply| results(reply, items)) {
            Some(outcome) => Ok(outcome),
            None if answer.status() == Some(404) => Ok(PollOutcome::Gone),
            None => Err(refused(shop, &answer)),
        };
        answer.called(read, PollOutcome::Failed)
    }

    /// Items are asked for by merchant SKU; those that have none, by the marketplace's.
    async fn quantities_of(&self, shop: &Shop, items: &[Item]) -> Called<ReadOutcome> {
        let deadline = self.caller.deadline();
        let without: Vec<&str> = items
            .iter()
            .filter(|item| merchant_sku(item).is_none())
            .filter_map(hepsiburada_sku)
            .collect();
        let with: Vec<&str> = items.iter().filter_map(merchant_sku).collect();
        let lists = [("merchantSkuList", with), ("hbSkuList", without)];
        let mut listings = Listings::default();
        let mut exchanges = Vec::new();
        for (name, skus) in lists.into_iter().filter(|(_, skus)| !skus.is_empty()) {
            let mut url = self.address(shop, &[]);
            url.query_pairs_mut()
                .append_pair("offset", "0")
                .append_pair("limit", "100")
                .append_pair(name, &skus.join(","));
            let Some(call) = Self::signed(shop, Call::get(ApiLogType::GetStock, url)) else {
                return not_called(NO_CREDENTIALS, ReadOutcome::Failed);
            };
            let answer = self.caller.call(call, deadline).await;
            if answer
                .good()
                .and_then(|reply| listings.read(reply))
                .is_none()
            {
                let failure = refused(shop, &answer);
                exchanges.push(answer.into_exchange(Some(&failure)));
                return Called {
                    exchanges,
                    outcome: ReadOutcome::Failed(failure),
                };
            }
            exchanges.push(answer.into_exchange(None));
        }
        let readings = items.iter().map(|item| listings.reading(item)).collect();
        Called {
            exchanges,
            outcome: ReadOutcome::Read(readings),
        }
    }
}

/// Who calls, and the key. The merchant calls by its id unless the store says otherwise.
fn credentials(shop: &Shop) -> Option<(&str, &str)> {
    let user = shop
        .api_key
        .as_ref()
        .map(SecretString::expose_secret)
        .filter(|user| !user.is_empty());
    let key = shop
        .api_secret
        .as_ref()
        .map(SecretString::expose_secret)
        .filter(|key| !key.is_empty())?;
    Some((user.unwrap_or(&shop.external_store_id), key))
}

/// A SKU as Hepsiburada keeps it; none if it could not be one.
fn normalized(sku: &str) -> Option<String> {
    let sku = sku.trim();
    let is_written = !sku.is_empty() && sku.bytes().all(|byte| byte.is_ascii_graphic());
    // A comma divides SKUs where they are asked for.
    (is_written && !sku.contains(',')).then(|| sku.to_ascii_uppercase())
}

/// Why Hepsiburada did not do what it was asked.
fn refused(shop: &Shop, answer: &Answer) -> CallFailure {
    let words = shortened(answer.text(), 2000).to_lowercase();
    if words.contains("too many ongoing") || words.contains("waiting inventory uploads") {
        return answer.said(FailureKind::TooManyOutstanding);
    }
    if words.contains("inventory upload limit") {
        return answer.said(FailureKind::UploadLimit);
    }
    match answer.status() {
        Some(406) => answer.said(FailureKind::DailyLimit),
        // Its own limits come with words; what comes without is the one of the address.
        Some(429) => answer.said(answer.rate_limited(true)),
        Some(403) => {
            let said = answer.said(FailureKind::Unauthorized).message;
            let agent = &shop.integrator_name;
            let why = format!("the User-Agent `{agent}` or the credentials are refused; {said}");
            failure(FailureKind::Unauthorized, &why)
        }
        _ => answer.failure(),
    }
}

impl Adapter for Hepsiburada {
    fn provider(&self) -> Provider {
        Provider::Hepsiburada
    }

    fn manners(&self) -> Manners {
        Manners {
            // It takes four thousand; a thousand is enough to lose at a time.
            max_items: 1000,
            max_read_items: 50,
            quantity_cap: 20_000,
            results_for: Some(TimeDelta::hours(24)),
            refuses_identical: false,
            max_outstanding: Some(5),
            spacing: Some(TimeDelta::seconds(10)),
            daily_updates_per_listing: Some(10),
            day_offset: 3 * 3600,
        }
    }

    fn names(&self, names: &Names) -> Option<Names> {
        let merchant = [&names.external_sku, &names.sku, &names.barcode]
            .into_iter()
            .flatten()
            .next();
        let kept = Names {
            external_sku: merchant.and_then(|sku| normalized(sku)),
            external_listing_id: names.external_listing_id.as_deref().and_then(normalized),
            ..Names::default()
        };
        (kept.external_sku.is_some() || kept.external_listing_id.is_some()).then_some(kept)
    }

    fn has_credentials(&self, shop: &Shop) -> bool {
        credentials(shop).is_some()
    }

    /// Every call counts, of all stores that call from here.
    fn buckets(&self, _: &Shop, _: Operation) -> Vec<Bucket> {
        vec![bucket(
            Marketplace::Hepsiburada,
            "address",
            "requests",
            180,
            60,
        )]
    }

    fn build(&self, _: &Shop, _: PushId, items: &[Item]) -> Body {
        let line = |item| Line {
            hepsiburada_sku: hepsiburada_sku(item),
            merchant_sku: merchant_sku(item),
            available_stock: item.quantity,
        };
        let lines: Vec<Line<'_>> = items.iter().map(line).collect();
        body(json(&lines), &lines)
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
    use super::super::testing::{PUSH, by_sku, shop};
    use super::*;

    fn hepsiburada() -> Hepsiburada {
        let http = crate::marketplace::connector::http_client(std::time::Duration::from_secs(1));
        let caller = Caller::new(http.unwrap(), std::time::Duration::from_secs(1));
        Hepsiburada::new(caller, None)
    }

    #[test]
    fn the_test_environment_has_a_host_of_its_own() {
        let mut shop = shop(Marketplace::Hepsiburada);
        let url = |shop: &Shop| hepsiburada().address(shop, &["stock-uploads"]).to_string();
        let path = "/listings/merchantid/4321/stock-uploads";
        assert_eq!(
            url(&shop),
            format!("https://listing-external.hepsiburada.com{path}")
        );
        shop.environment = MarketplaceEnv::Stage;
        assert_eq!(
            url(&shop),
            format!("https://listing-external-sit.hepsiburada.com{path}")
        );
    }

    #[test]
    fn an_item_is_named_in_upper_case_by_the_first_name_that_there_is() {
        let called = |given: &Names| {
            let kept = hepsiburada().names(given);
            // Who gives them again gets the same.
            assert_eq!(
                kept.as_ref().map(|it| hepsiburada().names(it)),
                kept.clone().map(Some)
            );
            kept.map(|it| (it.external_sku, it.external_listing_id))
        };
        let text = |text: &str| Some(text.to_owned());
        let mut given = Names {
            sku: text("own-1"),
            barcode: text("868"),
            external_sku: text(" sku-ı1 "),
            external_listing_id: text("hbcv1"),
            ..Names::default()
        };
        // A letter that has no upper case there is no part of a SKU; the other name is left.
        assert_eq!(called(&given), Some((None, text("HBCV1"))));
        given.external_sku = text(" sku-i1 ");
        assert_eq!(called(&given), Some((text("SKU-I1"), text("HBCV1"))));
        given.external_listing_id = None;
        given.external_sku = None;
        assert_eq!(called(&given), Some((text("OWN-1"), None)));
        given.sku = None;
        assert_eq!(called(&given), Some((text("868"), None)));
        given.barcode = text("86 8");
        assert_eq!(called(&given), None);
        given.barcode = None;
        assert_eq!(called(&given), None);
    }

    #[test]
    fn a_body_has_skus_and_quantities_and_no_price() {
        let items = [
            by_sku(Some("SKU-1"), Some("HB1"), 5),
            by_sku(None, Some("HB2"), 0),
            by_sku(Some("SKU-3"), None, 7),
        ];
        let sent = hepsiburada().build(&shop(Marketplace::Hepsiburada), PUSH, &items);
        insta::assert_snapshot!(
            sent.text,
            @r#"[{"hepsiburadaSku":"HB1","merchantSku":"SKU-1","availableStock":5},{"hepsiburadaSku":"HB2","availableStock":0},{"merchantSku":"SKU-3","availableStock":7}]"#
        );
    }

    #[test]
    fn the_merchant_calls_by_its_id_unless_the_store_says_otherwise() {
        let mut shop = shop(Marketplace::Hepsiburada);
        assert_eq!(credentials(&shop), Some(("the-key", "the-secret")));
        shop.api_key = None;
        assert_eq!(credentials(&shop), Some(("4321", "the-secret")));
        shop.api_secret = Some(SecretString::from(""));
        assert_eq!(credentials(&shop), None);
    }
}
