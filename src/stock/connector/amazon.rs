//! Amazon (Selling Partner API): quantities by SKU, one a call; it says at once whether it took
//! each.
//!
//! - A patch of one attribute, so nothing else of a listing can change. `ACCEPTED` is the good
//!   answer; `INVALID` comes with what is wrong; anything else says nothing.
//! - Five calls a second: a push has at most five items and counts as one of one a second.
//! - A store's external id is the seller, its storefront code the marketplace (its id, or the code
//!   of its country), which also decides the host; its access token is sent as it is.

use futures::FutureExt;
use futures::future::BoxFuture;
use jobs::PushId;
use reqwest::Url;
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::{Value, json};

use super::adapters::bucket;
use super::answer::{Answer, not_called, nothing_to_poll};
use super::body::{body, json as written};
use super::call::{Call, Caller, address};
use super::reply::{Object, reason, rejection};
use super::{
    Adapter, Body, Bucket, CallFailure, Called, Item, ItemOutcome, Manners, Names, Operation,
    PollOutcome, ReadOutcome, Reading, RejectionClass, SendOutcome, Shop,
};
use crate::marketplace::model::Marketplace;
use crate::stock::model::{ApiLogType, MarketplaceEnv, Provider};

const NO_MARKETPLACE: &str = "the store's storefront code names no marketplace of Amazon";
const AGENT: &str = concat!(
    "marketplace-sync/",
    env!("CARGO_PKG_VERSION"),
    " (Language=Rust)"
);
/// Calls a second that an account may make.
const CALLS: usize = 5;
/// Letters of a SKU.
const SKU_LETTERS: usize = 40;

/// Marketplaces: the code of the country, the id, the region of the host.
const MARKETPLACES: [(&str, &str, &str); 23] = [
    ("CA", "A2EUQ1WTGCTBG2", "na"),
    ("US", "ATVPDKIKX0DER", "na"),
    ("MX", "A1AM78C64UM0Y8", "na"),
    ("BR", "A2Q3Y263D00KWC", "na"),
    ("IE", "A28R8C7NBKEWEA", "eu"),
    ("ES", "A1RKKUPIHCS9HS", "eu"),
    ("GB", "A1F83G8C2ARO7P", "eu"),
    ("FR", "A13V1IB3VIYZZH", "eu"),
    ("BE", "AMEN7PMS3EDWL", "eu"),
    ("NL", "A1805IZSGTT6HS", "eu"),
    ("DE", "A1PA6795UKMFR9", "eu"),
    ("IT", "APJ6JRA9NG5V4", "eu"),
    ("SE", "A2NODRKZP88ZB9", "eu"),
    ("ZA", "AE08WJ6YKNBMC", "eu"),
    ("PL", "A1C3SOZRARQ6R3", "eu"),
    ("EG", "ARBP9OOSHTCHU", "eu"),
    ("TR", "A33AVAJ2PDY3EV", "eu"),
    ("SA", "A17E79C6D8DWNP", "eu"),
    ("AE", "A2VIGQ35RCS4UG", "eu"),
    ("IN", "A21TJRUUN4KGV", "eu"),
    ("SG", "A19VAU5U5O7RUS", "fe"),
    ("AU", "A39IBJ37TRP1C6", "fe"),
    ("JP", "A1VC38T7YXB528", "fe"),
];

/// Amazon.
#[derive(Debug)]
pub(super) struct Amazon {
    caller: Caller,
    base: Option<Url>,
}

#[derive(Serialize)]
struct Line<'a> {
    sku: &'a str,
    quantity: i64,
}

impl Amazon {
    pub(super) fn new(caller: Caller, base: Option<Url>) -> Self {
        Self { caller, base }
    }

    /// Where an item of the shop is; none if the store does not say on which marketplace.
    fn address(&self, shop: &Shop, sku: &str) -> Option<Url> {
        let (id, region) = marketplace(shop.storefront_code.as_deref()?)?;
        let base = self.base.clone().or_else(|| {
            let sandbox = match shop.environment {
                MarketplaceEnv::Prod => "",
                MarketplaceEnv::Stage => "sandbox.",
            };
            Url::parse(&format!(
                "https://{sandbox}sellingpartnerapi-{region}.amazon.com"
            ))
            .ok()
        })?;
        let path = [
            "listings",
            "2021-08-01",
            "items",
            &shop.external_store_id,
            sku,
        ];
        let mut url = address(&base, &path);
        url.query_pairs_mut().append_pair("marketplaceIds", id);
        Some(url)
    }

    fn signed(shop: &Shop, call: Call) -> Call {
        let token = shop.access_token.expose_secret();
        call.secret("x-amz-access-token", token.to_owned(), &[token])
            .header("user-agent", AGENT)
    }

    async fn tell(&self, shop: &Shop, push_id: PushId, items: &[Item]) -> Called<SendOutcome> {
        let deadline = self.caller.deadline();
        let mut exchanges = Vec::new();
        let mut outcomes = Vec::new();
        for item in items {
            let Some(url) = self.address(shop, sku(item)) else {
                return not_called(NO_MARKETPLACE, SendOutcome::Failed);
            };
            let call = Call::with_body(
                ApiLogType::UpdateStock,
                "PATCH",
                url,
                patch(item.quantity).to_string(),
            );
            let answer = self
                .caller
                .call(Self::signed(shop, call.of_push(push_id)), deadline)
                .await;
            match told(&answer) {
                Ok(outcome) => {
                    exchanges.push(answer.into_exchange(None));
                    outcomes.push(outcome);
                }
                Err(failure) => {
                    exchanges.push(answer.into_exchange(Some(&failure)));
                    return Called {
                        exchanges,
                        outcome: SendOutcome::broken_off(outcomes, items.len(), failure),
                    };
                }
            }
        }
        Called {
            exchanges,
            outcome: SendOutcome::Done(outcomes),
        }
    }

    async fn quantities_of(&self, shop: &Shop, items: &[Item]) -> Called<ReadOutcome> {
        let deadline = self.caller.deadline();
        let mut exchanges = Vec::new();
        let mut readings = Vec::new();
        for item in items {
            let Some(mut url) = self.address(shop, sku(item)) else {
                return not_called(NO_MARKETPLACE, ReadOutcome::Failed);
            };
            url.query_pairs_mut()
                .append_pair("includedData", "fulfillmentAvailability");
            let call = Self::signed(shop, Call::get(ApiLogType::GetStock, url));
            let answer = self.caller.call(call, deadline).await;
            let read = match answer.good().and_then(reading) {
                Some(reading) => Ok(reading),
                None if answer.status() == Some(404) => Ok(Reading::default()),
                None => Err(answer.failure()),
            };
            exchanges.push(answer.into_exchange(read.as_ref().err()));
            match read {
                Ok(reading) => readings.push(reading),
                Err(failure) => {
                    return Called {
                        exchanges,
                        outcome: ReadOutcome::Failed(failure),
                    };
                }
            }
        }
        Called {
            exchanges,
            outcome: ReadOutcome::Read(readings),
        }
    }
}

/// The id and the region of a marketplace, by its id or the code of its country.
fn marketplace(code: &str) -> Option<(&'static str, &'static str)> {
    let code = code.trim();
    let is = |known: &str| known.eq_ignore_ascii_case(code);
    let found = MARKETPLACES
        .iter()
        .find(|(country, id, _)| is(country) || is(id));
    found.map(|(_, id, region)| (*id, *region))
}

fn sku(item: &Item) -> &str {
    item.names.external_sku.as_deref().unwrap_or_default()
}

fn patch(quantity: i64) -> Value {
    json!({
        "productType": "PRODUCT",
        "patches": [{
            "op": "merge",
            "path": "/attributes/fulfillment_availability",
            "value": [{ "fulfillment_channel_code": "DEFAULT", "quantity": quantity }],
        }],
    })
}

/// What Amazon says to one item.
fn told(answer: &Answer) -> Result<ItemOutcome, CallFailure> {
    if matches!(answer.status(), Some(400 | 404 | 413 | 422)) {
        let rejected = rejection(
            &code(answer),
            &reason(answer.text()),
            RejectionClass::Retryable,
        );
        return Ok(ItemOutcome::Rejected(rejected));
    }
    answer
        .good()
        .and_then(submitted)
        .ok_or_else(|| answer.failure())
}

/// The code of an error that is about one item.
fn code(answer: &Answer) -> String {
    let said = Object::read(answer.text().as_bytes()).unwrap_or_default();
    said.texts("errors").into_iter().next().unwrap_or_default()
}

/// What became of a submission; none if nobody can read it.
fn submitted(reply: &[u8]) -> Option<ItemOutcome> {
    let submission = Object::read(reply)?;
    Some(match submission.text("status")?.as_str() {
        "ACCEPTED" => ItemOutcome::Confirmed,
        "INVALID" => {
            let issues = submission.objects("issues");
            let is_error =
                |issue: &&Object<'_>| issue.text("severity").is_none_or(|it| it == "ERROR");
            let code = issues
                .iter()
                .find(is_error)
                .and_then(|issue| issue.text("code"));
            let messages: Vec<String> = issues
                .iter()
                .filter_map(|issue| issue.text("message"))
                .collect();
            let code = code.unwrap_or_else(|| "INVALID".into());
            ItemOutcome::Rejected(rejection(
                &code,
                &messages.join("; "),
                RejectionClass::Retryable,
            ))
        }
        // Such as `VALID`, which is said of what was only looked at.
        _ => ItemOutcome::Unknown,
    })
}

/// What Amazon shows of an item; none if nobody can read it.
fn reading(reply: &[u8]) -> Option<Reading> {
    let item = Object::read(reply)?;
    let channels = item.objects("fulfillmentAvailability");
    let is_own = |channel: &&Object<'_>| {
        channel
            .text("fulfillmentChannelCode")
            .is_none_or(|code| code == "DEFAULT")
    };
    let own = channels.iter().find(is_own);
    Some(Reading {
        quantity: own.and_then(|channel| channel.integer("quantity")),
        is_fulfilled_by_marketplace: own.is_none() && !channels.is_empty(),
        lock_reasons: Vec::new(),
    })
}

impl Adapter for Amazon {
    fn provider(&self) -> Provider {
        Provider::Amazon
    }

    fn manners(&self) -> Manners {
        Manners {
            max_items: CALLS,
            max_read_items: CALLS,
            quantity_cap: 1_000_000_000,
            results_for: None,
            refuses_identical: false,
            max_outstanding: None,
            spacing: None,
            daily_updates_per_listing: None,
            day_offset: 0,
        }
    }

    fn names(&self, names: &Names) -> Option<Names> {
        let sku = names.external_sku.as_ref().or(names.sku.as_ref())?.trim();
        // A path cannot have a step of dots.
        let is_sku = (1..=SKU_LETTERS).contains(&sku.chars().count()) && !matches!(sku, "." | "..");
        is_sku.then(|| Names {
            external_sku: Some(sku.to_owned()),
            ..Names::default()
        })
    }

    fn has_credentials(&self, shop: &Shop) -> bool {
        !shop.access_token.expose_secret().is_empty()
    }

    /// The rate is the account's and the operation's; one use is up to five calls.
    fn buckets(&self, shop: &Shop, operation: Operation) -> Vec<Bucket> {
        let what = match operation {
            Operation::Send => "patch",
            Operation::Poll | Operation::ReadBack => "get",
        };
        vec![bucket(
            Marketplace::Amazon,
            &shop.external_store_id,
            what,
            1,
            1,
        )]
    }

    fn build(&self, _: &Shop, _: PushId, items: &[Item]) -> Body {
        let line = |item| Line {
            sku: sku(item),
            quantity: item.quantity,
        };
        let lines: Vec<Line<'_>> = items.iter().map(line).collect();
        let calls: Vec<Value> = items
            .iter()
            .map(|item| json!({ "sku": sku(item), "body": patch(item.quantity) }))
            .collect();
        body(written(&calls), &lines)
    }

    fn send<'a>(
        &'a self,
        shop: &'a Shop,
        push_id: PushId,
        items: &'a [Item],
        _: &'a Body,
    ) -> BoxFuture<'a, Called<SendOutcome>> {
        self.tell(shop, push_id, items).boxed()
    }

    /// Results come at once.
    fn poll<'a>(
        &'a self,
        _: &'a Shop,
        _: &'a str,
        _: &'a [Item],
    ) -> BoxFuture<'a, Called<PollOutcome>> {
        nothing_to_poll()
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
    use super::super::testing::shop;
    use super::*;

    #[test]
    fn a_marketplace_is_known_by_its_id_and_by_its_country() {
        assert_eq!(
            marketplace("A1PA6795UKMFR9"),
            Some(("A1PA6795UKMFR9", "eu"))
        );
        assert_eq!(marketplace(" de "), Some(("A1PA6795UKMFR9", "eu")));
        assert_eq!(marketplace("JP"), Some(("A1VC38T7YXB528", "fe")));
        assert_eq!(marketplace("XX"), None);
        let ids: std::collections::HashSet<_> = MARKETPLACES.iter().map(|(_, id, _)| id).collect();
        assert_eq!(ids.len(), MARKETPLACES.len());
    }

    #[test]
    fn the_host_is_the_one_of_the_region_and_a_sku_stays_one_step_of_the_path() {
        let http = crate::marketplace::connector::http_client(std::time::Duration::from_secs(1));
        let caller = Caller::new(http.unwrap(), std::time::Duration::from_secs(1));
        let amazon = Amazon::new(caller, None);
        let mut shop = shop(Marketplace::Amazon);
        assert_eq!(amazon.address(&shop, "A"), None);
        shop.storefront_code = Some("US".into());
        let address = |shop: &Shop, sku: &str| amazon.address(shop, sku).unwrap().to_string();
        assert_eq!(
            address(&shop, "a/b?c d"),
            "https://sellingpartnerapi-na.amazon.com/listings/2021-08-01/items/4321/a%2Fb%3Fc%20d?marketplaceIds=ATVPDKIKX0DER"
        );
        shop.environment = MarketplaceEnv::Stage;
        assert!(
            address(&shop, "A").starts_with("https://sandbox.sellingpartnerapi-na.amazon.com/")
        );
    }

    #[test]
    fn only_accepted_is_confirmed() {
        let read = |text: &str| submitted(text.as_bytes());
        assert_eq!(
            read(r#"{"sku":"A","status":"ACCEPTED","issues":[]}"#),
            Some(ItemOutcome::Confirmed)
        );
        assert_eq!(read(r#"{"status":"VALID"}"#), Some(ItemOutcome::Unknown));
        let issues = r#"{"status":"INVALID","issues":[
            {"code":"1","message":"careful","severity":"WARNING"},
            {"code":"90220","message":"it is required","severity":"ERROR"}]}"#;
        let rejected = rejection(
            "90220",
            "careful; it is required",
            RejectionClass::Retryable,
        );
        assert_eq!(read(issues), Some(ItemOutcome::Rejected(rejected)));
        let bare = rejection("INVALID", "", RejectionClass::Retryable);
        assert_eq!(
            read(r#"{"status":"INVALID"}"#),
            Some(ItemOutcome::Rejected(bare))
        );
        for broken in ["", "{}", "[]", r#"{"status":[]}"#] {
            assert_eq!(read(broken), None, "{broken}");
        }
    }

    #[test]
    fn goods_that_amazon_holds_are_told_apart() {
        let read = |text: &str| reading(text.as_bytes()).unwrap();
        let own = read(
            r#"{"fulfillmentAvailability":[
            {"fulfillmentChannelCode":"AMAZON_EU"},
            {"fulfillmentChannelCode":"DEFAULT","quantity":5}]}"#,
        );
        assert_eq!(
            (own.quantity, own.is_fulfilled_by_marketplace),
            (Some(5), false)
        );
        let theirs =
            read(r#"{"fulfillmentAvailability":[{"fulfillmentChannelCode":"AMAZON_NA"}]}"#);
        assert_eq!(
            (theirs.quantity, theirs.is_fulfilled_by_marketplace),
            (None, true)
        );
        assert_eq!(read("{}"), Reading::default());
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;
    use crate::fuzz::fuzz;

    const WORDS: [&str; 5] = ["ACCEPTED", "INVALID", "VALID", "ERROR", "A"];

    #[test]
    fn an_item_is_confirmed_only_if_it_was_accepted() {
        fuzz!(|source| {
            let issue = json!({ "code": source.text(&WORDS), "severity": source.json(&WORDS) });
            let mut reply =
                json!({ "status": source.pick(&WORDS), "issues": [issue, source.json(&WORDS)] });
            if source.below(5) == 0 {
                let member = source.pick(&["status", "issues", "fulfillmentAvailability"]);
                reply[member] = source.json(&WORDS);
            }
            let text = reply.to_string();
            let is_confirmed = submitted(text.as_bytes()) == Some(ItemOutcome::Confirmed);
            assert_eq!(is_confirmed, reply["status"] == "ACCEPTED", "{text}");
            reading(text.as_bytes());
        });
    }
}
