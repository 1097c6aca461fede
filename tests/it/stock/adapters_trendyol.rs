//! What only Trendyol's adapter does.

use marketplace_sync::marketplace::connector::http_client;
use marketplace_sync::marketplace::model::Marketplace::Trendyol;
use marketplace_sync::stock::connector::{FailureKind, ItemOutcome, PollOutcome, RejectionClass};
use marketplace_sync::stock::mock::trendyol::{IDENTICAL, TrendyolRules};
use marketplace_sync::stock::mock::{Fault, FaultKind, Operation};
use marketplace_sync::stock::model::MarketplaceEnv;
use reqwest::StatusCode;
use serde_json::json;

use super::marketplaces::{KEY, PUSH, Place, SECRET, SELLER, code};
use crate::support::marketplace::PATIENCE;

async fn place() -> Place {
    Place::new(Trendyol).await
}

#[tokio::test]
async fn a_batch_is_taken_and_its_results_come_later() {
    let place = place().await;
    let items = place.items(&[(1, 5), (2, 0)]);
    let id = place.accepted(&items).await;
    assert_eq!(place.poll(&id, &items).await.outcome, PollOutcome::Pending);
    assert_eq!(place.shows(1), Some(0));
    place.advance(1);
    assert_eq!(
        place.results(&id, &items).await,
        [ItemOutcome::Confirmed, ItemOutcome::Confirmed]
    );
    assert_eq!((place.shows(1), place.shows(2)), (Some(5), Some(0)));
    let paths: Vec<String> = place
        .mock
        .requests()
        .into_iter()
        .map(|it| it.path)
        .collect();
    assert_eq!(
        paths[0],
        "/integration/inventory/sellers/4321/products/price-and-inventory"
    );
    let poll = format!("/integration/product/sellers/4321/products/batch-requests/{id}");
    assert_eq!(paths[1..], [poll.clone(), poll]);
}

#[tokio::test]
async fn results_in_another_order_still_find_their_items() {
    let place = place().await;
    let items = place.items(&[(1, 5), (2, 6), (77, 1), (3, 20_001), (4, 7), (5, -1)]);
    place.fault(Operation::Send, FaultKind::ShuffleResults);
    let reason = "Kampanyada".to_owned();
    place.fault(
        Operation::Send,
        FaultKind::RejectItem {
            identifier: "8680004".into(),
            reason,
        },
    );
    let id = place.accepted(&items).await;
    place.advance(1);
    let outcomes = place.results(&id, &items).await;
    let codes: Vec<&str> = outcomes.iter().map(code).collect();
    let rejected = "REJECTED";
    assert_eq!(
        codes,
        [
            "confirmed",
            "confirmed",
            rejected,
            rejected,
            rejected,
            rejected
        ]
    );
    let ItemOutcome::Rejected(rejection) = &outcomes[4] else {
        panic!("{outcomes:?}");
    };
    // Its reasons are free text: verbatim, and tried again unless somebody said otherwise.
    assert_eq!(
        (rejection.message.as_str(), rejection.class),
        ("Kampanyada", RejectionClass::Retryable)
    );
    assert_eq!(
        (place.shows(1), place.shows(3), place.shows(4)),
        (Some(5), Some(0), Some(0))
    );
    let echoed = place
        .mock
        .look(|world| world.batches[0].lines[0].echo.clone());
    assert_eq!(echoed, json!({ "barcode": "8680001", "quantity": 5 }));
}

#[tokio::test]
async fn which_reasons_are_hopeless_is_a_setting() {
    let pairs = [("TRENDYOL_PERMANENT_REASONS", "; barkodlu ÜRÜN bulunamadı ;")];
    let place = Place::with(Trendyol, &pairs).await;
    let items = place.items(&[(77, 1), (3, 20_001)]);
    let id = place.accepted(&items).await;
    place.advance(1);
    let classes: Vec<RejectionClass> = place
        .results(&id, &items)
        .await
        .into_iter()
        .map(|outcome| match outcome {
            ItemOutcome::Rejected(rejection) => rejection.class,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        classes,
        [RejectionClass::Permanent, RejectionClass::Retryable]
    );
}

#[tokio::test]
async fn a_barcode_that_is_sent_twice_fails_and_nothing_else_does() {
    let place = place().await;
    let items = place.items(&[(1, 5), (2, 6), (1, 7)]);
    let id = place.accepted(&items).await;
    place.advance(1);
    let outcomes = place.results(&id, &items).await;
    assert_eq!(
        outcomes.iter().map(code).collect::<Vec<_>>(),
        ["REJECTED", "confirmed", "REJECTED"]
    );
}

/// Scenario 3
#[tokio::test]
async fn the_same_quantities_are_refused_within_the_window_in_any_order() {
    let place = place().await;
    place.accepted(&place.items(&[(1, 5), (2, 6)])).await;
    let mixed = place.items(&[(2, 6), (1, 5)]);
    let failure = place.refused(&mixed).await;
    assert_eq!(failure.kind, FailureKind::Identical);
    assert!(failure.message.contains(IDENTICAL), "{failure:?}");
    place.accepted(&place.items(&[(2, 6), (1, 4)])).await;
    place.advance(899);
    assert_eq!(place.refused(&mixed).await.kind, FailureKind::Identical);
    place.advance(1);
    place.accepted(&mixed).await;
}

#[tokio::test]
async fn the_words_of_a_repeated_request_count_under_any_status() {
    let place = place().await;
    let items = place.items(&[(1, 5)]);
    let envelope = json!({ "errors": [{ "key": "k", "message": IDENTICAL, "errorCode": "400" }] });
    for status in [200, 400, 403, 409, 422, 429, 500, 503] {
        for body in [envelope.clone(), json!(IDENTICAL)] {
            place.answers(status, body);
            assert_eq!(
                place.refused(&items).await.kind,
                FailureKind::Identical,
                "{status}"
            );
        }
    }
    // An id says that it was taken, whatever else is said.
    place.answers(
        200,
        json!({ "batchRequestId": "b-1", "message": IDENTICAL }),
    );
    assert_eq!(place.accepted(&items).await, "b-1");
}

#[tokio::test]
async fn another_bad_request_is_one_of_its_items() {
    let place = place().await;
    let failure = place.refused(&[]).await;
    assert_eq!(failure.kind, FailureKind::BadRequest);
    assert!(
        failure.message.contains("there must be 1 to 1000 items"),
        "{failure:?}"
    );
    let many: Vec<(usize, i64)> = (1..=1001).map(|number| (number, 1)).collect();
    assert_eq!(
        place.refused(&place.items(&many)).await.kind,
        FailureKind::BadRequest
    );
}

#[tokio::test]
async fn an_acceptance_without_an_id_is_none() {
    let place = place().await;
    let items = place.items(&[(1, 5)]);
    let unread = FailureKind::Protocol {
        may_be_applied: true,
    };
    for body in [
        json!({ "batchRequestId": null }),
        json!({ "batchRequestId": "" }),
        json!({ "batchRequestId": "x".repeat(256) }),
        json!({ "batchRequestId": "a\nb" }),
        json!({ "batchRequestId": {} }),
    ] {
        place.answers(200, body.clone());
        assert_eq!(place.refused(&items).await.kind, unread, "{body}");
    }
}

#[tokio::test]
async fn wrong_credentials_are_refused() {
    let mut place = place().await;
    place.shop.api_secret = Some("another".into());
    let items = place.items(&[(1, 5)]);
    let failure = place.refused(&items).await;
    assert_eq!(failure.kind, FailureKind::Unauthorized);
    assert!(
        failure.message.contains("ClientApiAuthenticationException"),
        "{failure:?}"
    );
    let PollOutcome::Failed(failure) = place.poll("any", &items).await.outcome else {
        panic!("it is refused");
    };
    assert_eq!(failure.kind, FailureKind::Unauthorized);
}

/// Scenario 16
#[tokio::test]
async fn a_strict_marketplace_takes_our_user_agent_and_refuses_a_request_without() {
    let rules = TrendyolRules {
        is_strict: true,
        ..TrendyolRules::default()
    };
    let mut place = Place::of(Trendyol, rules, &[]).await;
    for (number, name) in ["SelfIntegration", "Şirket A.Ş. - 7", &"x".repeat(99), "…"]
        .iter()
        .enumerate()
    {
        place.shop.integrator_name = (*name).into();
        place
            .accepted(&place.items(&[(1, 5 + i64::try_from(number).unwrap())]))
            .await;
    }
    let url = format!(
        "{}integration/inventory/sellers/{SELLER}/products/price-and-inventory",
        place.running.base_url()
    );
    for agent in [
        "",
        " ",
        "curl/8",
        "4321 - Self Integration",
        "abc - SelfIntegration",
    ] {
        let request = http_client(PATIENCE).unwrap().post(&url);
        let request = request
            .basic_auth(KEY, Some(SECRET))
            .header("user-agent", agent);
        let answer = request.body("{}").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{agent:?}");
    }
    let bare = reqwest::Client::builder()
        .build()
        .unwrap()
        .post(&url)
        .basic_auth(KEY, Some(SECRET));
    assert_eq!(
        bare.body("{}").send().await.unwrap().status(),
        StatusCode::FORBIDDEN
    );
    // A seller that is no number is refused as somebody else would be; the message says why.
    place.shop.external_store_id = "seller".into();
    let failure = place.refused(&place.items(&[(1, 1)])).await;
    assert_eq!(failure.kind, FailureKind::Unauthorized);
    assert!(
        failure
            .message
            .starts_with("the User-Agent `seller - SelfIntegration`"),
        "{failure:?}"
    );
}

#[tokio::test]
async fn the_stage_environment_says_503_to_addresses_it_does_not_know() {
    let mut place = place().await;
    let items = place.items(&[(1, 5)]);
    place.answers(503, "");
    assert_eq!(place.refused(&items).await.kind, FailureKind::Ambiguous);
    place.shop.environment = MarketplaceEnv::Stage;
    place.answers(503, "");
    let failure = place.refused(&items).await;
    assert_eq!(failure.kind, FailureKind::Unauthorized);
    assert!(failure.message.contains("stage environment"), "{failure:?}");
}

#[tokio::test]
async fn a_storefront_is_named_in_a_header() {
    let mut place = place().await;
    place.accepted(&place.items(&[(1, 5)])).await;
    place.shop.storefront_code = Some("DE".into());
    place.accepted(&place.items(&[(1, 6)])).await;
    let codes: Vec<Option<String>> = place
        .mock
        .requests()
        .into_iter()
        .map(|request| request.headers.get("storefrontcode").cloned())
        .collect();
    assert_eq!(codes, [None, Some("DE".into())]);
}

#[tokio::test]
async fn the_fifty_first_request_within_ten_seconds_is_one_too_many() {
    let place = place().await;
    for number in 0..50 {
        place.accepted(&place.items(&[(1, number)])).await;
    }
    let items = place.items(&[(1, 50)]);
    let failure = place.refused(&items).await;
    assert_eq!(failure.kind, super::marketplaces::rate_limited(None));
    assert!(failure.message.contains("too.many.requests"), "{failure:?}");
    place.advance(10);
    place.accepted(&items).await;
}

#[tokio::test]
async fn results_are_gone_after_four_hours_and_of_what_nobody_sent() {
    let place = place().await;
    let items = place.items(&[(1, 5)]);
    let id = place.accepted(&items).await;
    place.advance(4 * 3600 - 1);
    assert_eq!(place.results(&id, &items).await, [ItemOutcome::Confirmed]);
    place.advance(1);
    assert_eq!(place.poll(&id, &items).await.outcome, PollOutcome::Gone);
    assert_eq!(
        place.poll("never/sent?", &items).await.outcome,
        PollOutcome::Gone
    );
}

#[tokio::test]
async fn asking_for_results_fails_as_sending_does() {
    let place = place().await;
    let items = place.items(&[(1, 5)]);
    let id = place.accepted(&items).await;
    place.advance(1);
    for (fault, expected) in [
        (FaultKind::DropBefore, FailureKind::Ambiguous),
        (
            FaultKind::RateLimit {
                retry_after_seconds: Some(7),
            },
            super::marketplaces::rate_limited(Some(7)),
        ),
        (
            FaultKind::MalformedJson,
            FailureKind::Protocol {
                may_be_applied: true,
            },
        ),
        (
            FaultKind::Status {
                status: 500,
                body: None,
                applied: true,
            },
            FailureKind::Ambiguous,
        ),
    ] {
        place
            .mock
            .fault(Fault::once(Operation::Poll, fault.clone()));
        let PollOutcome::Failed(failure) = place.poll(&id, &items).await.outcome else {
            panic!("{fault:?}");
        };
        assert_eq!(failure.kind, expected);
    }
    assert_eq!(place.results(&id, &items).await, [ItemOutcome::Confirmed]);
}

#[tokio::test]
async fn a_batch_that_is_never_done_stays_pending_although_it_is_applied() {
    let place = place().await;
    let items = place.items(&[(1, 5)]);
    place.fault(Operation::Send, FaultKind::NeverDone);
    let id = place.accepted(&items).await;
    place.advance(4 * 3600 - 1);
    assert_eq!(place.poll(&id, &items).await.outcome, PollOutcome::Pending);
    assert_eq!(place.read(&items).await, [Some(5)]);
}

#[tokio::test]
async fn fifty_quantities_are_read_at_a_time() {
    let place = place().await;
    let most = place.adapter().manners().max_read_items;
    let numbers: Vec<(usize, i64)> = (1..=most).map(|number| (number, 0)).collect();
    let read = place.read(&place.items(&numbers)).await;
    assert_eq!(read.iter().filter(|quantity| quantity.is_some()).count(), 9);
    let request = place.mock.requests().pop().unwrap();
    assert!(request.path.starts_with("/integration/product/sellers/4321/products/approved/inventory-and-price?barcodes=8680001%2C8680002"));
    assert_eq!(request.status, Some(200));
}

/// A push keeps its name at the marketplace's support.
#[tokio::test]
async fn a_push_is_named_in_its_request() {
    let place = place().await;
    place.accepted(&place.items(&[(1, 5)])).await;
    assert_eq!(
        place.mock.requests()[0].headers["x-correlationid"],
        PUSH.to_string()
    );
}
