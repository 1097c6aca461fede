//! What only Etsy's adapter does.

use marketplace_sync::marketplace::model::Marketplace::Etsy;
use marketplace_sync::stock::connector::{
    FailureKind, Item, ItemOutcome, Names, RejectionClass, SendOutcome,
};
use marketplace_sync::stock::mock::{Fault, FaultKind, Operation};
use marketplace_sync::stock::model::ApiLogType;
use serde_json::json;

use super::contract_mocks::EtsyListings;
use super::marketplaces::{PUSH, Place, code, item};

async fn place() -> Place {
    Place::new(Etsy).await
}

fn product(listing: usize, sku: Option<&str>, quantity: i64) -> Item {
    let names = Names {
        external_listing_id: Some(listing.to_string()),
        external_sku: sku.map(str::to_owned),
        ..Names::default()
    };
    Item {
        names,
        ..item(Etsy, listing, quantity)
    }
}

fn codes(outcome: &SendOutcome) -> Vec<&str> {
    match outcome {
        SendOutcome::Done(outcomes) => outcomes.iter().map(code).collect(),
        other => panic!("it is done: {other:?}"),
    }
}

/// The mock takes nothing but what it has, in the form that it wants, with another quantity.
#[tokio::test]
async fn an_inventory_goes_back_whole_with_our_quantities_in_it() {
    let place = place().await;
    let items = [
        product(1, Some("SKU-1"), 9),
        product(2, Some("OTHER-2"), 0),
        product(1, Some("OTHER-1"), 8),
    ];
    let called = place.send(&items).await;
    assert_eq!(codes(&called.outcome), ["confirmed"; 3]);
    // Two listings: each is read and written once.
    let kinds: Vec<ApiLogType> = called
        .exchanges
        .iter()
        .map(|exchange| exchange.kind)
        .collect();
    let (read, write) = (ApiLogType::GetStock, ApiLogType::UpdateStock);
    assert_eq!(kinds, [read, write, read, write]);
    assert_eq!(place.read(&items).await, [Some(9), Some(0), Some(8)]);
    assert_eq!(
        place.read(&[product(2, Some("SKU-2"), 0)]).await,
        [Some(3)],
        "it stays"
    );
    let written = place.mock.requests()[1].json();
    let old = EtsyListings::inventory(1);
    assert_eq!(
        written["products"][0]["offerings"][0]["price"],
        json!(19.99)
    );
    assert_eq!(written["quantity_on_property"], old["quantity_on_property"]);
}

#[tokio::test]
async fn a_product_or_a_listing_that_is_not_there_is_hopeless_and_the_rest_is_not() {
    let place = place().await;
    let items = [
        product(1, Some("ELSE"), 9),
        product(1, Some("SKU-1"), 7),
        product(77, Some("SKU-77"), 1),
        product(2, None, 1),
    ];
    let called = place.send(&items).await;
    assert_eq!(
        codes(&called.outcome),
        [
            "SKU_NOT_FOUND",
            "confirmed",
            "LISTING_NOT_FOUND",
            "SKU_NOT_FOUND"
        ]
    );
    let SendOutcome::Done(outcomes) = called.outcome else {
        panic!();
    };
    for outcome in [&outcomes[0], &outcomes[2]] {
        assert!(
            matches!(outcome, ItemOutcome::Rejected(it) if it.class == RejectionClass::Permanent)
        );
    }
    assert_eq!(place.read(&items).await, [None, Some(7), None, None]);
}

#[tokio::test]
async fn what_a_listing_does_not_take_is_refused_alone() {
    let place = place().await;
    let reason = "quantity is too high".to_owned();
    place.fault(
        Operation::Send,
        FaultKind::RejectItem {
            identifier: "SKU-1".into(),
            reason,
        },
    );
    let called = place
        .send(&[product(1, Some("SKU-1"), 9), product(2, Some("SKU-2"), 9)])
        .await;
    assert_eq!(codes(&called.outcome), ["REJECTED", "confirmed"]);
    assert!(format!("{called:?}").contains("quantity is too high"));
}

/// The second listing is the first one whose write fails.
#[tokio::test]
async fn what_was_done_before_a_failure_counts_and_the_rest_is_sent_again() {
    let place = place().await;
    let items = [1, 2, 3].map(|listing| product(listing, Some(&format!("SKU-{listing}")), 9));
    let adapter = place.adapter();
    let body = adapter.build(&place.shop, PUSH, &items);
    let send = adapter.send(&place.shop, PUSH, &items, &body);
    let lost = async {
        place
            .mock
            .wait_until(|world| world.quantity("", "SKU-1") == Some(9))
            .await;
        place.fault(
            Operation::Send,
            FaultKind::Status {
                status: 500,
                body: None,
                applied: false,
            },
        );
    };
    // Every answer takes a moment, so that there is one between two of them.
    for _ in 0..4 {
        place.mock.fault(Fault {
            operation: None,
            ..Fault::once(Operation::Send, FaultKind::Slow { delay_ms: 100 })
        });
    }
    let (called, ()) = tokio::join!(send, lost);
    assert_eq!(codes(&called.outcome), ["confirmed", "unknown", "unknown"]);
    assert_eq!(called.exchanges.len(), 4, "nobody asks on after a failure");
}

#[tokio::test]
async fn a_day_that_is_used_up_is_a_rate_limit() {
    let place = place().await;
    place.fault(
        Operation::Read,
        FaultKind::RateLimit {
            retry_after_seconds: Some(3600),
        },
    );
    let failure = place.refused(&[product(1, Some("SKU-1"), 9)]).await;
    assert_eq!(failure.kind, super::marketplaces::rate_limited(Some(3600)));
}

#[tokio::test]
async fn an_inventory_that_nobody_can_read_is_not_written() {
    let place = place().await;
    place.fault(Operation::Read, FaultKind::MalformedJson);
    let failure = place.refused(&[product(1, Some("SKU-1"), 9)]).await;
    assert_eq!(
        failure.kind,
        FailureKind::Protocol {
            may_be_applied: false
        }
    );
    assert!(
        place
            .mock
            .requests()
            .iter()
            .all(|request| request.method.as_str() == "GET")
    );
}
