//! What only Amazon's adapter does.

use marketplace_sync::marketplace::model::Marketplace::Amazon;
use marketplace_sync::stock::connector::{
    FailureKind, ItemOutcome, Operation as Use, RejectionClass, SendOutcome,
};
use marketplace_sync::stock::mock::{FaultKind, Operation};
use serde_json::json;

use super::marketplaces::{Place, code};

async fn place() -> Place {
    Place::new(Amazon).await
}

async fn outcomes(place: &Place, quantities: &[(usize, i64)]) -> Vec<ItemOutcome> {
    match place.send(&place.items(quantities)).await.outcome {
        SendOutcome::Done(outcomes) => outcomes,
        other => panic!("it is done: {other:?}"),
    }
}

fn codes(outcomes: &[ItemOutcome]) -> Vec<&str> {
    outcomes.iter().map(code).collect()
}

#[tokio::test]
async fn each_item_is_a_patch_and_is_taken_at_once() {
    let place = place().await;
    let called = place.send(&place.items(&[(1, 5), (2, 0)])).await;
    let all = vec![ItemOutcome::Confirmed, ItemOutcome::Confirmed];
    assert_eq!(called.outcome, SendOutcome::Done(all));
    assert_eq!(called.exchanges.len(), 2);
    assert_eq!((place.shows(1), place.shows(2)), (Some(5), Some(0)));
    let request = &place.mock.requests()[0];
    assert_eq!(request.method.as_str(), "PATCH");
    assert_eq!(
        request.path,
        "/listings/2021-08-01/items/4321/SKU-1?marketplaceIds=A33AVAJ2PDY3EV"
    );
}

#[tokio::test]
async fn an_invalid_item_is_refused_and_the_next_one_is_not() {
    let place = place().await;
    let reason = "quantity is required".to_owned();
    place.fault(
        Operation::Send,
        FaultKind::RejectItem {
            identifier: "SKU-2".into(),
            reason,
        },
    );
    let outcomes = outcomes(&place, &[(1, 5), (2, 6), (77, 7), (3, 8)]).await;
    assert_eq!(
        codes(&outcomes),
        ["confirmed", "90220", "NOT_FOUND", "confirmed"]
    );
    let ItemOutcome::Rejected(rejection) = &outcomes[1] else {
        panic!("{outcomes:?}");
    };
    assert_eq!(
        (rejection.message.as_str(), rejection.class),
        ("quantity is required", RejectionClass::Retryable)
    );
}

#[tokio::test]
async fn what_was_done_before_a_failure_counts_and_the_rest_is_sent_again() {
    let place = place().await;
    assert_eq!(
        codes(&outcomes(&place, &[(1, 1), (2, 1), (3, 1)]).await),
        ["confirmed"; 3]
    );
    // Two are left of five a second.
    let called = place
        .send(&place.items(&[(4, 4), (5, 5), (6, 6), (7, 7)]))
        .await;
    let SendOutcome::Done(outcomes) = &called.outcome else {
        panic!("{called:?}");
    };
    assert_eq!(
        codes(outcomes),
        ["confirmed", "confirmed", "unknown", "unknown"]
    );
    assert_eq!(called.exchanges.len(), 3, "nobody asks on after a refusal");
    assert!(
        called.exchanges[2]
            .error
            .as_ref()
            .is_some_and(|error| error.contains("QuotaExceeded"))
    );
    let failure = place.refused(&place.items(&[(6, 6)])).await;
    assert_eq!(failure.kind, super::marketplaces::rate_limited(None));
    place.advance(1);
    assert_eq!(
        codes(&self::outcomes(&place, &[(6, 6)]).await),
        ["confirmed"]
    );
}

#[tokio::test]
async fn a_push_is_no_more_than_may_be_asked_in_a_second() {
    let place = place().await;
    let most = place.adapter().manners().max_items;
    let [bucket] = &place.adapter().buckets(&place.shop, Use::Send)[..] else {
        panic!("there is one");
    };
    assert_eq!((most, bucket.capacity, bucket.per.as_secs()), (5, 1, 1));
    let quantities: Vec<(usize, i64)> = (1..=most).map(|number| (number, 1)).collect();
    assert_eq!(
        codes(&outcomes(&place, &quantities).await),
        ["confirmed"; 5]
    );
}

#[tokio::test]
async fn what_was_only_looked_at_is_not_confirmed() {
    let place = place().await;
    place.answers(
        200,
        json!({ "sku": "SKU-1", "status": "VALID", "issues": [] }),
    );
    assert_eq!(outcomes(&place, &[(1, 5)]).await, [ItemOutcome::Unknown]);
}

#[tokio::test]
async fn a_store_says_which_marketplace_it_is_on() {
    let mut place = place().await;
    let items = place.items(&[(1, 5)]);
    for code in [None, Some("XX".to_owned())] {
        place.shop.storefront_code = code;
        let failure = place.refused(&items).await;
        assert_eq!(failure.kind, FailureKind::Unauthorized);
        assert!(failure.message.contains("storefront code"), "{failure:?}");
    }
    assert!(place.mock.requests().is_empty());
}
