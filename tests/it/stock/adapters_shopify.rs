//! What only Shopify's adapter does.

use jobs::PushId;
use marketplace_sync::marketplace::model::Marketplace::Shopify;
use marketplace_sync::stock::connector::{FailureKind, ItemOutcome, PollOutcome, SendOutcome};
use marketplace_sync::stock::mock::{FaultKind, Operation};
use secrecy::SecretString;
use serde_json::json;
use uuid::Uuid;

use super::marketplaces::{PUSH, Place, code};

async fn place() -> Place {
    Place::new(Shopify).await
}

async fn outcomes(place: &Place, quantities: &[(usize, i64)]) -> Vec<ItemOutcome> {
    match place.send(&place.items(quantities)).await.outcome {
        SendOutcome::Done(outcomes) => outcomes,
        other => panic!("it is done: {other:?}"),
    }
}

#[tokio::test]
async fn quantities_are_confirmed_at_once() {
    let place = place().await;
    assert_eq!(
        outcomes(&place, &[(1, 5), (2, 0)]).await,
        [ItemOutcome::Confirmed, ItemOutcome::Confirmed]
    );
    assert_eq!((place.shows(1), place.shows(2)), (Some(5), Some(0)));
    let request = place.mock.requests().pop().unwrap().json();
    let variables = &request["variables"];
    assert_eq!(variables["key"], PUSH.to_string());
    let quantity = |number: i64, quantity: i64| {
        json!({
            "inventoryItemId": format!("gid://shopify/InventoryItem/{number}"),
            "locationId": "gid://shopify/Location/1", "quantity": quantity, "changeFromQuantity": null,
        })
    };
    assert_eq!(
        variables["input"],
        json!({
            "name": "available", "reason": "correction",
            "referenceDocumentUri": format!("gid://stock-sync/push/{PUSH}"),
            "quantities": [quantity(1, 5), quantity(2, 0)],
        })
    );
    let items = place.items(&[(1, 5)]);
    assert_eq!(place.poll("any", &items).await.outcome, PollOutcome::Gone);
    assert_eq!(place.adapter().manners().results_for, None);
}

#[tokio::test]
async fn an_error_about_one_item_leaves_the_others_to_be_sent_again() {
    let place = place().await;
    let outcomes = outcomes(&place, &[(1, 5), (77, 6), (2, 7)]).await;
    assert_eq!(
        outcomes.iter().map(code).collect::<Vec<_>>(),
        ["unknown", "INVALID_INVENTORY_ITEM", "unknown"]
    );
    assert_eq!((place.shows(1), place.shows(2)), (Some(0), Some(0)));
}

#[tokio::test]
async fn a_push_that_is_sent_again_unchanged_is_applied_once() {
    let place = place().await;
    let items = place.items(&[(1, 5)]);
    place.fault(Operation::Send, FaultKind::DropAfter);
    assert_eq!(place.refused(&items).await.kind, FailureKind::Ambiguous);
    place.mock.sell("", "gid://shopify/InventoryItem/1", 1);
    assert_eq!(outcomes(&place, &[(1, 5)]).await, [ItemOutcome::Confirmed]);
    assert_eq!(place.shows(1), Some(4), "the key was used already");
    // Other quantities under the same key are none of this push.
    assert_eq!(
        place.refused(&place.items(&[(1, 6)])).await.kind,
        FailureKind::Ambiguous
    );
    let other = PushId(Uuid::from_u128(7));
    let items = place.items(&[(1, 6)]);
    let body = place.adapter().build(&place.shop, other, &items);
    let called = place
        .adapter()
        .send(&place.shop, other, &items, &body)
        .await;
    assert_eq!(
        called.outcome,
        SendOutcome::Done(vec![ItemOutcome::Confirmed])
    );
    assert_eq!(place.shows(1), Some(6));
}

#[tokio::test]
async fn another_attempt_at_work_asks_for_the_same_push_again() {
    let place = place().await;
    let errors =
        json!([{ "code": "IDEMPOTENCY_CONCURRENT_REQUEST", "field": null, "message": "m" }]);
    place.answers(
        200,
        json!({ "data": { "inventorySetQuantities": { "userErrors": errors } } }),
    );
    assert_eq!(
        place.refused(&place.items(&[(1, 5)])).await.kind,
        FailureKind::RetryUnchanged
    );
}

#[tokio::test]
async fn throttling_in_a_good_answer_is_a_rate_limit() {
    let place = place().await;
    place.answers(
        200,
        json!({
            "errors": [{ "message": "Throttled", "extensions": { "code": "THROTTLED" } }],
            "extensions": { "cost": { "requestedQueryCost": 210, "throttleStatus": {
                "maximumAvailable": 2000.0, "currentlyAvailable": 10, "restoreRate": 100.0 } } },
        }),
    );
    let failure = place.refused(&place.items(&[(1, 5)])).await;
    assert_eq!(failure.kind, super::marketplaces::rate_limited(Some(2)));
}

#[tokio::test]
async fn a_wrong_token_and_a_shop_that_is_none_are_refused() {
    let mut place = place().await;
    let items = place.items(&[(1, 5)]);
    place.shop.access_token = SecretString::from("another");
    let failure = place.refused(&items).await;
    assert_eq!(failure.kind, FailureKind::Unauthorized);
    assert!(
        failure.message.contains("Invalid API key or access token"),
        "{failure:?}"
    );
    place.shop.external_store_id = "evil.example/".into();
    let count = place.mock.requests().len();
    assert_eq!(place.refused(&items).await.kind, FailureKind::Unauthorized);
    assert_eq!(place.mock.requests().len(), count, "the token went nowhere");
}
