//! What only Hepsiburada's adapter does.

use marketplace_sync::marketplace::connector::http_client;
use marketplace_sync::marketplace::model::Marketplace::Hepsiburada;
use marketplace_sync::stock::connector::{
    FailureKind, Item, ItemOutcome, Names, PollOutcome, RejectionClass, SendOutcome,
};
use marketplace_sync::stock::mock::hepsiburada::{HepsiburadaRules, Refusal, TOO_MANY_UPLOADS};
use marketplace_sync::stock::mock::{FaultKind, Operation};
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};

use super::marketplaces::{KEY, Place, SECRET, SELLER, code, item};
use crate::support::marketplace::PATIENCE;

async fn place() -> Place {
    Place::new(Hepsiburada).await
}

fn named(sku: Option<&str>, own: Option<&str>, quantity: i64) -> Item {
    let names = Names {
        external_sku: sku.map(str::to_owned),
        external_listing_id: own.map(str::to_owned),
        ..Names::default()
    };
    Item {
        names,
        ..item(Hepsiburada, 1, quantity)
    }
}

#[tokio::test]
async fn an_upload_is_taken_and_its_results_come_later() {
    let place = place().await;
    let items = place.items(&[(1, 5), (2, 0)]);
    let called = place.send(&items).await;
    let SendOutcome::Accepted { batch_id } = called.outcome else {
        panic!("{called:?}");
    };
    assert!(called.exchanges[0].correlation_id.is_some());
    assert_eq!(
        place.poll(&batch_id, &items).await.outcome,
        PollOutcome::Pending
    );
    place.advance(1);
    assert_eq!(
        place.results(&batch_id, &items).await,
        [ItemOutcome::Confirmed, ItemOutcome::Confirmed]
    );
    assert_eq!((place.shows(1), place.shows(2)), (Some(5), Some(0)));
    let paths: Vec<String> = place
        .mock
        .requests()
        .into_iter()
        .map(|it| it.path)
        .collect();
    assert_eq!(paths[0], "/listings/merchantid/4321/stock-uploads");
    assert_eq!(
        paths[1],
        format!("/listings/merchantid/4321/stock-uploads/id/{batch_id}")
    );
}

#[tokio::test]
async fn errors_find_their_items_and_say_what_is_done_about_them() {
    let place = place().await;
    let items = place.items(&[(1, 5), (77, 1), (2, 6), (3, -1), (4, 7), (5, 8)]);
    place.fault(Operation::Send, FaultKind::ShuffleResults);
    for (number, reason) in [(4, "ListingFrozen"), (5, "DiscountedListingStockDecrease")] {
        let identifier = format!("SKU-{number}");
        place.fault(
            Operation::Send,
            FaultKind::RejectItem {
                identifier,
                reason: reason.into(),
            },
        );
    }
    let id = place.accepted(&items).await;
    place.advance(1);
    let outcomes = place.results(&id, &items).await;
    let codes: Vec<&str> = outcomes.iter().map(code).collect();
    assert_eq!(
        codes,
        [
            "confirmed",
            "ProductNotFound",
            "confirmed",
            "InvalidAvailableStock",
            "ListingFrozen",
            "DiscountedListingStockDecrease",
        ]
    );
    let is_permanent = |outcome: &ItemOutcome| matches!(outcome, ItemOutcome::Rejected(it) if it.class == RejectionClass::Permanent);
    assert_eq!(
        outcomes.iter().map(is_permanent).collect::<Vec<_>>(),
        [false, true, false, true, true, false]
    );
}

/// The body of the source named items by `barcode` and `quantity`.
#[tokio::test]
async fn an_upload_with_other_names_fails_item_by_item() {
    let place = place().await;
    let url = format!(
        "{}listings/merchantid/{SELLER}/stock-uploads",
        place.running.base_url()
    );
    let client = http_client(PATIENCE).unwrap();
    let post = |url: &str, body: &Value| client.post(url).basic_auth(KEY, Some(SECRET)).json(body);
    let body = json!([{ "barcode": "SKU-1", "quantity": 5 }]);
    let answer = post(&url, &body).send().await.unwrap();
    let id = answer.json::<Value>().await.unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    place.advance(1);
    let outcomes = place.results(&id, &place.items(&[(1, 5)])).await;
    assert_eq!(
        outcomes.iter().map(code).collect::<Vec<_>>(),
        ["NoSkuSpecified"]
    );
    // Another case is another path.
    let upper = url.replace("merchantid", "merchantId");
    let body = json!([{ "merchantSku": "SKU-1", "availableStock": 5 }]);
    assert_eq!(
        post(&upper, &body).send().await.unwrap().status(),
        StatusCode::BAD_REQUEST
    );
    let agentless = post(&url, &body).header("user-agent", "");
    assert_eq!(
        agentless.send().await.unwrap().status(),
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        post(&url, &body).send().await.unwrap().status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn the_same_sku_twice_is_a_defect_of_ours() {
    let place = place().await;
    let items = place.items(&[(1, 5), (1, 6), (2, 7)]);
    let id = place.accepted(&items).await;
    place.advance(1);
    let outcomes = place.results(&id, &items).await;
    let twice = "DuplicateMerchantSkuSpecified";
    assert_eq!(
        outcomes.iter().map(code).collect::<Vec<_>>(),
        [twice, twice, "confirmed"]
    );
    let ItemOutcome::Rejected(rejection) = &outcomes[0] else {
        panic!("{outcomes:?}");
    };
    assert_eq!(rejection.class, RejectionClass::Internal);
}

#[tokio::test]
async fn an_upload_that_failed_as_a_whole_is_tried_again() {
    let place = place().await;
    let items = place.items(&[(1, 5), (2, 6)]);
    place.fault(Operation::Send, FaultKind::FailBatch);
    let id = place.accepted(&items).await;
    place.advance(1);
    let is_retried = |outcome: &ItemOutcome| matches!(outcome, ItemOutcome::Rejected(it) if it.class == RejectionClass::Retryable);
    let outcomes = place.results(&id, &items).await;
    assert!(
        outcomes.len() == 2 && outcomes.iter().all(is_retried),
        "{outcomes:?}"
    );
    assert_eq!(place.shows(1), Some(0));
}

/// Scenario 15
#[rstest]
#[tokio::test]
async fn a_sixth_upload_waits_for_one_of_five(
    #[values(Refusal::TooManyRequests, Refusal::GoodAnswer)] refusal: Refusal,
) {
    let rules = HepsiburadaRules {
        refusal,
        ..HepsiburadaRules::default()
    };
    let place = Place::of(Hepsiburada, rules, &[]).await;
    for quantity in 1..=5 {
        place.accepted(&place.items(&[(1, quantity)])).await;
    }
    let items = place.items(&[(1, 6)]);
    let failure = place.refused(&items).await;
    assert_eq!(failure.kind, FailureKind::TooManyOutstanding);
    assert!(failure.message.contains(TOO_MANY_UPLOADS), "{failure:?}");
    place.advance(1);
    place.accepted(&items).await;
    assert_eq!(place.adapter().manners().max_outstanding, Some(5));
}

#[tokio::test]
async fn what_is_too_much_is_told_apart() {
    let place = place().await;
    let items = place.items(&[(1, 5)]);
    let address = FailureKind::RateLimited {
        retry_after: None,
        is_for_address: true,
    };
    for (status, body, expected) in [
        (
            429,
            json!({ "message": TOO_MANY_UPLOADS }),
            FailureKind::TooManyOutstanding,
        ),
        (
            200,
            json!({ "errors": [TOO_MANY_UPLOADS] }),
            FailureKind::TooManyOutstanding,
        ),
        (
            429,
            json!("Merchant exceeds his inventory upload limit"),
            FailureKind::UploadLimit,
        ),
        (
            200,
            json!({ "message": "merchant EXCEEDS his Inventory Upload Limit." }),
            FailureKind::UploadLimit,
        ),
        (
            406,
            json!({ "message": "not acceptable" }),
            FailureKind::DailyLimit,
        ),
        (429, json!({ "message": "Too Many Requests" }), address),
        (429, json!(""), address),
        (400, json!({ "message": "bad" }), FailureKind::BadRequest),
    ] {
        place.answers(status, body.clone());
        assert_eq!(
            place.refused(&items).await.kind,
            expected,
            "{status} {body}"
        );
    }
    // An id says that it was taken, whatever else is said.
    place.answers(200, json!({ "id": "u-1", "message": TOO_MANY_UPLOADS }));
    assert_eq!(place.accepted(&items).await, "u-1");
}

#[tokio::test]
async fn a_day_has_ten_updates_a_listing_and_ends_at_midnight_in_istanbul() {
    let rules = HepsiburadaRules {
        listings: Some(1),
        ..HepsiburadaRules::default()
    };
    let place = Place::of(Hepsiburada, rules, &[]).await;
    for quantity in 1..=5 {
        place
            .accepted(&place.items(&[(1, quantity), (2, quantity)]))
            .await;
        place.advance(10);
    }
    let items = place.items(&[(1, 6)]);
    assert_eq!(place.refused(&items).await.kind, FailureKind::DailyLimit);
    // It is noon in London; at nine in the evening another day begins in Istanbul.
    place.advance(9 * 3600 - 52);
    assert_eq!(place.refused(&items).await.kind, FailureKind::DailyLimit);
    place.advance(2);
    place.accepted(&items).await;
    let manners = place.adapter().manners();
    assert_eq!(
        (manners.daily_updates_per_listing, manners.day_offset),
        (Some(10), 3 * 3600)
    );
}

#[tokio::test]
async fn too_many_requests_from_one_address_are_everybodys() {
    let place = place().await;
    let items = place.items(&[(1, 5)]);
    for _ in 0..180 {
        place.read(&items).await;
    }
    let address = FailureKind::RateLimited {
        retry_after: None,
        is_for_address: true,
    };
    assert_eq!(place.refused(&items).await.kind, address);
    place.advance(60);
    place.accepted(&items).await;
}

#[tokio::test]
async fn an_item_is_known_by_the_marketplaces_name_too() {
    let rules = HepsiburadaRules::default();
    let place = Place::of(Hepsiburada, rules, &[]).await;
    // This mock has no list of its own names: what it hears is what it is called.
    let items = [
        named(Some("SKU-1"), Some("HB1"), 5),
        named(None, Some("SKU-2"), 6),
    ];
    let outcomes = {
        let id = place.accepted(&items).await;
        place.advance(1);
        place.results(&id, &items).await
    };
    assert_eq!(
        outcomes.iter().map(code).collect::<Vec<_>>(),
        ["MismatchingSkusSpecified", "ProductNotFound"]
    );
    let sent = place.mock.requests()[0].json();
    assert_eq!(
        sent,
        json!([
            { "hepsiburadaSku": "HB1", "merchantSku": "SKU-1", "availableStock": 5 },
            { "hepsiburadaSku": "SKU-2", "availableStock": 6 },
        ])
    );
}

#[tokio::test]
async fn quantities_are_asked_for_by_both_names() {
    let place = place().await;
    let items = place.items(&[(1, 5)]);
    place.accepted(&items).await;
    place.advance(1);
    let asked = [named(Some("SKU-1"), None, 0), named(None, Some("HB9"), 0)];
    assert_eq!(place.read(&asked).await, [Some(5), None]);
    let paths: Vec<String> = place
        .mock
        .requests()
        .into_iter()
        .map(|it| it.path)
        .collect();
    assert_eq!(
        paths[1],
        "/listings/merchantid/4321?offset=0&limit=100&merchantSkuList=SKU-1"
    );
    assert_eq!(
        paths[2],
        "/listings/merchantid/4321?offset=0&limit=100&hbSkuList=HB9"
    );
}

#[tokio::test]
async fn an_unknown_upload_is_gone() {
    let place = place().await;
    assert_eq!(
        place.poll("nobody", &place.items(&[(1, 5)])).await.outcome,
        PollOutcome::Gone
    );
}

#[tokio::test]
async fn a_refused_caller_is_told_that_it_may_be_the_user_agent() {
    let rules = HepsiburadaRules {
        is_strict: true,
        ..HepsiburadaRules::default()
    };
    let mut place = Place::of(Hepsiburada, rules, &[]).await;
    let items = place.items(&[(1, 5)]);
    place.accepted(&items).await;
    place.shop.integrator_name = "4321 - SelfIntegration".into();
    let failure = place.refused(&items).await;
    assert_eq!(failure.kind, FailureKind::Unauthorized);
    assert!(
        failure
            .message
            .starts_with("the User-Agent `4321 - SelfIntegration`"),
        "{failure:?}"
    );
}
