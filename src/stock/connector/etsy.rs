//! Etsy: quantities by listing and SKU; it says at once whether it took them.
//!
//! - An inventory is replaced as a whole ([`Inventory`]): it is read, the quantities of our SKUs
//!   are changed in it, and everything else goes back as it was. Items of one listing go together.
//! - A listing is two calls and ten calls a second are allowed, for all stores of an application: a
//!   push has at most five items and counts as one of one a second.
//! - A store has the application's key and shared secret as its pair, and its access token.

use std::time::Instant;

use futures::FutureExt;
use futures::future::BoxFuture;
use jobs::PushId;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::adapters::bucket;
use super::answer::{Answer, not_called, nothing_to_poll};
use super::body::{body, json, sha256};
use super::call::{Call, Caller, address};
use super::etsy_inventory::Inventory;
use super::reply::{reason, rejection};
use super::{
    Adapter, Body, Bucket, CallFailure, Called, Exchange, FailureKind, Item, ItemOutcome, Manners,
    Names, Operation, PollOutcome, ReadOutcome, Reading, RejectionClass, SendOutcome, Shop,
};
use crate::marketplace::model::Marketplace;
use crate::stock::model::{ApiLogType, Provider};

const BASE: &str = "https://api.etsy.com";
const NO_CREDENTIALS: &str = "the store has no key, shared secret and access token of Etsy";
/// Items of a push, each of which may be a listing.
const LISTINGS: usize = 5;

/// Etsy.
#[derive(Debug)]
pub(super) struct Etsy {
    caller: Caller,
    base: Option<Url>,
}

#[derive(Serialize)]
struct Line<'a> {
    listing_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sku: Option<&'a str>,
    quantity: i64,
}

impl Etsy {
    pub(super) fn new(caller: Caller, base: Option<Url>) -> Self {
        Self { caller, base }
    }

    fn address(&self, listing: &str) -> Url {
        let base = self.base.clone();
        let base = base.unwrap_or_else(|| Url::parse(BASE).expect("it is an address"));
        address(
            &base,
            &["v3", "application", "listings", listing, "inventory"],
        )
    }

    /// The call with what identifies the caller; none without credentials.
    fn signed(shop: &Shop, call: Call) -> Option<Call> {
        let (key, secret, token) = credentials(shop)?;
        let pair = format!("{key}:{secret}");
        let call = call.secret("authorization", format!("Bearer {token}"), &[token]);
        Some(call.secret("x-api-key", pair, &[secret, key]))
    }

    async fn tell(&self, shop: &Shop, push_id: PushId, items: &[Item]) -> Called<SendOutcome> {
        if credentials(shop).is_none() {
            return not_called(NO_CREDENTIALS, SendOutcome::Failed);
        }
        let deadline = self.caller.deadline();
        let mut exchanges = Vec::new();
        let mut outcomes = vec![ItemOutcome::Unknown; items.len()];
        for (nth, (listing, places)) in by_listing(items).into_iter().enumerate() {
            let wanted: Vec<(&Item, usize)> = places
                .iter()
                .map(|place| (&items[*place], *place))
                .collect();
            let told = self
                .tell_listing(shop, push_id, listing, &wanted, deadline, &mut exchanges)
                .await;
            match told {
                Ok(told) => {
                    for (place, outcome) in told {
                        outcomes[place] = outcome;
                    }
                }
                Err(failure) if nth == 0 => {
                    return Called {
                        exchanges,
                        outcome: SendOutcome::Failed(failure),
                    };
                }
                // What was done before counts; the rest is sent again.
                Err(_) => break,
            }
        }
        Called {
            exchanges,
            outcome: SendOutcome::Done(outcomes),
        }
    }

    /// Reads an inventory, changes it, and writes it back.
    async fn tell_listing(
        &self,
        shop: &Shop,
        push_id: PushId,
        listing: &str,
        items: &[(&Item, usize)],
        deadline: Instant,
        exchanges: &mut Vec<Exchange>,
    ) -> Result<Vec<(usize, ItemOutcome)>, CallFailure> {
        let call = Call::get(ApiLogType::GetStock, self.address(listing));
        let answer = self.ask(shop, call.of_push(push_id), deadline).await;
        let mut inventory = match read(answer, exchanges)? {
            Ok(inventory) => inventory,
            Err(rejected) => return Ok(all(items, &rejected)),
        };
        let mut outcomes = Vec::new();
        for (item, place) in items {
            let sku = item.names.external_sku.as_deref();
            if !inventory.set(sku, item.quantity) {
                let why = "the listing has no product with this SKU";
                let rejected = rejection("SKU_NOT_FOUND", why, RejectionClass::Permanent);
                outcomes.push((*place, ItemOutcome::Rejected(rejected)));
            }
        }
        let told: Vec<(&Item, usize)> = items
            .iter()
            .copied()
            .filter(|(_, place)| outcomes.iter().all(|(rejected, _)| rejected != place))
            .collect();
        if told.is_empty() {
            return Ok(outcomes);
        }
        let Some(text) = inventory.to_update() else {
            let why = "the listing has a price that cannot be read, and would lose it";
            let rejected = rejection("UNREADABLE_LISTING", why, RejectionClass::Retryable);
            return Ok(all(items, &ItemOutcome::Rejected(rejected)));
        };
        let call = Call::with_body(ApiLogType::UpdateStock, "PUT", self.address(listing), text);
        let answer = self.ask(shop, call.of_push(push_id), deadline).await;
        let outcome = written(&answer);
        exchanges.push(answer.into_exchange(outcome.as_ref().err()));
        outcomes.extend(all(&told, &outcome?));
        Ok(outcomes)
    }

    async fn ask(&self, shop: &Shop, call: Call, deadline: Instant) -> Answer {
        let call = Self::signed(shop, call).expect("credentials were looked for before");
        self.caller.call(call, deadline).await
    }

    async fn quantities_of(&self, shop: &Shop, items: &[Item]) -> Called<ReadOutcome> {
        if credentials(shop).is_none() {
            return not_called(NO_CREDENTIALS, ReadOutcome::Failed);
        }
        let deadline = self.caller.deadline();
        let mut exchanges = Vec::new();
        let mut readings = vec![Reading::default(); items.len()];
        for (listing, places) in by_listing(items) {
            let call = Call::get(ApiLogType::GetStock, self.address(listing));
            let answer = self.ask(shop, call, deadline).await;
            match read(answer, &mut exchanges) {
                Ok(Ok(inventory)) => {
                    for place in places {
                        let sku = items[place].names.external_sku.as_deref();
                        readings[place].quantity = inventory.quantity(sku);
                    }
                }
                // Etsy does not know the listing.
                Ok(Err(_)) => {}
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

/// Key, shared secret and access token.
fn credentials(shop: &Shop) -> Option<(&str, &str, &str)> {
    let key = shop.api_key.as_ref().map(SecretString::expose_secret)?;
    let secret = shop.api_secret.as_ref().map(SecretString::expose_secret)?;
    let token = shop.access_token.expose_secret();
    let is_complete = [key, secret, token].iter().all(|part| !part.is_empty());
    is_complete.then_some((key, secret, token))
}

/// The places of the items of each listing, in the order that listings come first.
fn by_listing(items: &[Item]) -> Vec<(&str, Vec<usize>)> {
    let mut listings: Vec<(&str, Vec<usize>)> = Vec::new();
    for (place, item) in items.iter().enumerate() {
        let listing = listing(item);
        match listings.iter_mut().find(|(known, _)| *known == listing) {
            Some((_, places)) => places.push(place),
            None => listings.push((listing, vec![place])),
        }
    }
    listings
}

fn listing(item: &Item) -> &str {
    item.names
        .external_listing_id
        .as_deref()
        .unwrap_or_default()
}

fn all(items: &[(&Item, usize)], outcome: &ItemOutcome) -> Vec<(usize, ItemOutcome)> {
    items
        .iter()
        .map(|(_, place)| (*place, outcome.clone()))
        .collect()
}

/// The inventory that was asked for, or why the listing has none.
fn read(
    answer: Answer,
    exchanges: &mut Vec<Exchange>,
) -> Result<Result<Inventory, ItemOutcome>, CallFailure> {
    let read = match answer.good().and_then(Inventory::read) {
        Some(inventory) => Ok(Ok(inventory)),
        None if answer.status() == Some(404) => {
            let why = reason(answer.text());
            let rejected = rejection("LISTING_NOT_FOUND", &why, RejectionClass::Permanent);
            Ok(Err(ItemOutcome::Rejected(rejected)))
        }
        None => Err(unread(answer.failure())),
    };
    exchanges.push(answer.into_exchange(read.as_ref().err()));
    read
}

/// Who only asked has applied nothing.
fn unread(failure: CallFailure) -> CallFailure {
    let kind = match failure.kind {
        FailureKind::Protocol { .. } => FailureKind::Protocol {
            may_be_applied: false,
        },
        kind => kind,
    };
    CallFailure { kind, ..failure }
}

/// What Etsy says to a new inventory.
fn written(answer: &Answer) -> Result<ItemOutcome, CallFailure> {
    match answer.status() {
        Some(200..=299) if answer.good().is_some() => Ok(ItemOutcome::Confirmed),
        Some(400 | 404 | 409 | 413 | 422) => {
            let rejected = rejection("", &reason(answer.text()), RejectionClass::Retryable);
            Ok(ItemOutcome::Rejected(rejected))
        }
        _ => Err(answer.failure()),
    }
}

impl Adapter for Etsy {
    fn provider(&self) -> Provider {
        Provider::Etsy
    }

    fn manners(&self) -> Manners {
        Manners {
            max_items: LISTINGS,
            max_read_items: LISTINGS,
            quantity_cap: 999,
            results_for: None,
            refuses_identical: false,
            max_outstanding: None,
            spacing: None,
            daily_updates_per_listing: None,
            day_offset: 0,
        }
    }

    fn names(&self, names: &Names) -> Option<Names> {
        let listing = names.external_listing_id.as_deref()?.trim();
        let is_number = !listing.is_empty() && listing.bytes().all(|byte| byte.is_ascii_digit());
        let sku = names.external_sku.as_ref().or(names.sku.as_ref());
        let sku = sku
            .map(|sku| sku.trim().to_owned())
            .filter(|sku| !sku.is_empty());
        is_number.then(|| Names {
            external_sku: sku,
            external_listing_id: Some(listing.to_owned()),
            ..Names::default()
        })
    }

    fn has_credentials(&self, shop: &Shop) -> bool {
        credentials(shop).is_some()
    }

    /// The rate is the application's, whose key is named by its hash; one use is up to ten calls.
    fn buckets(&self, shop: &Shop, _: Operation) -> Vec<Bucket> {
        let key = shop
            .api_key
            .as_ref()
            .map(SecretString::expose_secret)
            .unwrap_or_default();
        let name = &sha256(key)[..16];
        vec![bucket(Marketplace::Etsy, name, "calls", 1, 1)]
    }

    /// What is asked for; the inventories are read when it is sent.
    fn build(&self, _: &Shop, _: PushId, items: &[Item]) -> Body {
        let line = |item| Line {
            listing_id: listing(item),
            sku: item.names.external_sku.as_deref(),
            quantity: item.quantity,
        };
        let lines: Vec<Line<'_>> = items.iter().map(line).collect();
        body(json(&lines), &lines)
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
    use super::super::testing::{by_sku, shop};
    use super::*;

    fn etsy() -> Etsy {
        let http = crate::marketplace::connector::http_client(std::time::Duration::from_secs(1));
        Etsy::new(
            Caller::new(http.unwrap(), std::time::Duration::from_secs(1)),
            None,
        )
    }

    #[test]
    fn items_of_a_listing_go_together() {
        let items = [
            by_sku(Some("A"), Some("1"), 1),
            by_sku(Some("B"), Some("2"), 1),
            by_sku(Some("C"), Some("1"), 1),
        ];
        assert_eq!(by_listing(&items), [("1", vec![0, 2]), ("2", vec![1])]);
    }

    #[test]
    fn an_item_is_named_by_the_number_of_its_listing() {
        let named = |listing: Option<&str>, sku: Option<&str>| {
            let names = Names {
                sku: sku.map(str::to_owned),
                external_listing_id: listing.map(str::to_owned),
                ..Names::default()
            };
            let kept = etsy().names(&names)?;
            assert_eq!(etsy().names(&kept).as_ref(), Some(&kept));
            Some((kept.external_listing_id?, kept.external_sku))
        };
        assert_eq!(
            named(Some(" 12 "), Some("A ")),
            Some(("12".into(), Some("A".into())))
        );
        assert_eq!(named(Some("12"), None), Some(("12".into(), None)));
        assert_eq!(named(Some("1/2"), Some("A")), None);
        assert_eq!(named(None, Some("A")), None);
    }

    #[test]
    fn stores_of_an_application_share_its_rate() {
        let mut shop = shop(Marketplace::Etsy);
        let key = |shop: &Shop| etsy().buckets(shop, Operation::Send).remove(0).key;
        let first = key(&shop);
        assert!(!first.contains("the-key"), "{first}");
        shop.external_store_id = "another".into();
        assert_eq!(key(&shop), first);
        shop.api_key = Some(SecretString::from("another"));
        assert_ne!(key(&shop), first);
    }
}
