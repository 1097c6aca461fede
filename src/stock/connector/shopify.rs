//! Shopify: quantities by inventory item and location, 250 at a time; it says at once whether it
//! took them.
//!
//! - One GraphQL mutation with the push as its idempotency key. A good status says nothing: errors
//!   stand in the answer, and with any of them nothing is assumed to be applied.
//! - Quantities are set, not compared (`changeFromQuantity` null).
//! - A store's external id is the name of the shop, with or without `.myshopify.com`; its access
//!   token is the one of the Admin API.

use futures::FutureExt;
use futures::future::BoxFuture;
use jobs::PushId;
use reqwest::Url;
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::adapters::bucket;
use super::answer::{not_called, nothing_to_poll};
use super::body::{body, json as written};
use super::call::{Call, Caller, address};
use super::shopify_reply::{readings, sent};
use super::{
    Adapter, Body, Bucket, Called, Item, Manners, Names, Operation, PollOutcome, ReadOutcome,
    SendOutcome, Shop,
};
use crate::marketplace::model::Marketplace;
use crate::stock::model::{ApiLogType, Provider};

const VERSION: &str = "2026-04";
const NO_SHOP: &str = "the store's external id is no name of a shop on myshopify.com";
const MUTATION: &str = "mutation SetStock($input: InventorySetQuantitiesInput!, $key: String!) { \
    inventorySetQuantities(input: $input) @idempotent(key: $key) { \
    inventoryAdjustmentGroup { id } userErrors { code field message } } }";
/// Shopify.
#[derive(Debug)]
pub(super) struct Shopify {
    caller: Caller,
    base: Option<Url>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    inventory_item_id: &'a str,
    location_id: &'a str,
    quantity: i64,
    /// It has to be there; null compares with nothing.
    change_from_quantity: Option<i64>,
}

impl Shopify {
    pub(super) fn new(caller: Caller, base: Option<Url>) -> Self {
        Self { caller, base }
    }

    /// A call of the shop; none if the store does not say which shop it is.
    fn signed(&self, shop: &Shop, kind: ApiLogType, body: String) -> Option<Call> {
        let host = host(&shop.external_store_id)?;
        let own = || Url::parse(&format!("https://{host}")).ok();
        let base = self.base.clone().or_else(own)?;
        let url = address(&base, &["admin", "api", VERSION, "graphql.json"]);
        let token = shop.access_token.expose_secret();
        let call = Call::with_body(kind, "POST", url, body);
        Some(call.secret("x-shopify-access-token", token.to_owned(), &[token]))
    }

    async fn tell(
        &self,
        shop: &Shop,
        push_id: PushId,
        items: &[Item],
        body: &Body,
    ) -> Called<SendOutcome> {
        let Some(call) = self.signed(shop, ApiLogType::UpdateStock, body.text.clone()) else {
            return not_called(NO_SHOP, SendOutcome::Failed);
        };
        let answer = self
            .caller
            .call(call.of_push(push_id), self.caller.deadline())
            .await;
        let read = match answer.good() {
            Some(reply) => sent(reply, items, &answer),
            None => Err(answer.failure()),
        };
        answer.called(read, SendOutcome::Failed)
    }

    async fn quantities_of(&self, shop: &Shop, items: &[Item]) -> Called<ReadOutcome> {
        let Some(call) = self.signed(shop, ApiLogType::GetStock, question(items)) else {
            return not_called(NO_SHOP, ReadOutcome::Failed);
        };
        let answer = self.caller.call(call, self.caller.deadline()).await;
        let read = match answer.good() {
            Some(reply) => readings(reply, items, &answer).map(ReadOutcome::Read),
            None => Err(answer.failure()),
        };
        answer.called(read, ReadOutcome::Failed)
    }
}

/// The address of a shop; a token goes to no other.
fn host(external_store_id: &str) -> Option<String> {
    let name = external_store_id.trim().to_ascii_lowercase();
    let name = name.strip_suffix(".myshopify.com").unwrap_or(&name);
    let is_written = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = !name.is_empty() && name.bytes().all(is_written);
    is_name.then(|| format!("{name}.myshopify.com"))
}

/// A global id, from one or from the number in it.
fn gid(kind: &str, id: &str) -> Option<String> {
    let prefix = format!("gid://shopify/{kind}/");
    let number = id.trim();
    let number = number.strip_prefix(&prefix).unwrap_or(number);
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| format!("{prefix}{number}"))
}

fn inventory_item(item: &Item) -> &str {
    item.names
        .external_listing_id
        .as_deref()
        .unwrap_or_default()
}

fn location(item: &Item) -> &str {
    item.names
        .external_location_id
        .as_deref()
        .unwrap_or_default()
}

/// One question about many items, each at its location.
fn question(items: &[Item]) -> String {
    let mut parameters = Vec::new();
    let mut fields = Vec::new();
    let mut variables = Map::new();
    for (place, item) in items.iter().enumerate() {
        parameters.push(format!("$i{place}: ID!, $l{place}: ID!"));
        fields.push(format!(
            "i{place}: inventoryItem(id: $i{place}) {{ inventoryLevel(locationId: $l{place}) {{ \
             quantities(names: [\"available\"]) {{ name quantity }} }} }}"
        ));
        variables.insert(format!("i{place}"), inventory_item(item).into());
        variables.insert(format!("l{place}"), location(item).into());
    }
    let query = format!(
        "query Stock({}) {{ {} }}",
        parameters.join(", "),
        fields.join(" ")
    );
    json!({ "query": query, "variables": Value::Object(variables) }).to_string()
}

impl Adapter for Shopify {
    fn provider(&self) -> Provider {
        Provider::Shopify
    }

    fn manners(&self) -> Manners {
        Manners {
            max_items: 250,
            max_read_items: 50,
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
        let item = gid("InventoryItem", names.external_listing_id.as_deref()?)?;
        let location = gid("Location", names.external_location_id.as_deref()?)?;
        Some(Names {
            external_listing_id: Some(item),
            external_location_id: Some(location),
            ..Names::default()
        })
    }

    fn has_credentials(&self, shop: &Shop) -> bool {
        !shop.access_token.expose_secret().is_empty()
    }

    /// A mutation costs ten points, and a hundred come back in a second.
    fn buckets(&self, shop: &Shop, _: Operation) -> Vec<Bucket> {
        let name = host(&shop.external_store_id).unwrap_or_else(|| shop.external_store_id.clone());
        vec![bucket(Marketplace::Shopify, &name, "graphql", 10, 1)]
    }

    fn build(&self, _: &Shop, push_id: PushId, items: &[Item]) -> Body {
        let line = |item| Line {
            inventory_item_id: inventory_item(item),
            location_id: location(item),
            quantity: item.quantity,
            change_from_quantity: None,
        };
        let lines: Vec<Line<'_>> = items.iter().map(line).collect();
        let text = written(&json!({
            "query": MUTATION,
            "variables": {
                "key": push_id,
                "input": {
                    "name": "available",
                    "reason": "correction",
                    "referenceDocumentUri": format!("gid://stock-sync/push/{push_id}"),
                    "quantities": lines,
                },
            },
        }));
        body(text, &lines)
    }

    fn send<'a>(
        &'a self,
        shop: &'a Shop,
        push_id: PushId,
        items: &'a [Item],
        body: &'a Body,
    ) -> BoxFuture<'a, Called<SendOutcome>> {
        self.tell(shop, push_id, items, body).boxed()
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
    use super::super::testing::{PUSH, item, shop};
    use super::*;

    fn shopify() -> Shopify {
        let http = crate::marketplace::connector::http_client(std::time::Duration::from_secs(1));
        Shopify::new(
            Caller::new(http.unwrap(), std::time::Duration::from_secs(1)),
            None,
        )
    }

    #[test]
    fn a_token_goes_to_a_shop_and_nowhere_else() {
        assert_eq!(host("My-Shop").as_deref(), Some("my-shop.myshopify.com"));
        assert_eq!(
            host("my-shop.myshopify.com").as_deref(),
            Some("my-shop.myshopify.com")
        );
        for elsewhere in [
            "",
            "a.example",
            "my-shop.myshopify.com.example",
            "a/b",
            "a@b",
            "a:80",
            "ä",
        ] {
            assert_eq!(host(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn an_item_is_named_by_global_ids() {
        let names = |item: &str, location: &str| {
            let names = Names {
                external_listing_id: Some(item.into()),
                external_location_id: Some(location.into()),
                ..Names::default()
            };
            let kept = shopify().names(&names)?;
            assert_eq!(shopify().names(&kept).as_ref(), Some(&kept));
            Some((kept.external_listing_id?, kept.external_location_id?))
        };
        let full = (
            "gid://shopify/InventoryItem/1".to_owned(),
            "gid://shopify/Location/2".to_owned(),
        );
        assert_eq!(names("1", "2"), Some(full.clone()));
        assert_eq!(names(&full.0, &full.1), Some(full.clone()));
        assert_eq!(names(&full.1, &full.0), None);
        assert_eq!(names("1", ""), None);
        assert_eq!(names("SKU", "2"), None);
    }

    /// P8
    #[test]
    fn the_hash_is_of_the_quantities_and_not_of_the_key() {
        let items = ["1", "2"].map(|id| {
            let names = Names {
                external_listing_id: Some(id.into()),
                external_location_id: Some("9".into()),
                ..Names::default()
            };
            item(shopify().names(&names).unwrap(), 5)
        });
        let shop = shop(Marketplace::Shopify);
        let other = PushId(uuid::Uuid::from_u128(7));
        let mixed = [items[1].clone(), items[0].clone()];
        let [first, second] = [(PUSH, &items), (other, &mixed)]
            .map(|(push, items)| shopify().build(&shop, push, items));
        assert_eq!(first.sha256, second.sha256);
        assert_ne!(first.text, second.text);
    }
}
