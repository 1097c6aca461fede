//! Items that a marketplace refuses, one by one or with the whole request.

use chrono::TimeDelta;
use marketplace_sync::stock::connector::RejectionClass;
use marketplace_sync::stock::model::Reason;
use rstest::rstest;

use super::scripted_adapter::ScriptedAdapter;
use super::shop::Shops;
use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::log::Log;

/// Scenario 12: of Trendyol, whose reasons are words.
#[rstest]
#[tokio::test]
async fn one_refused_item_of_a_thousand_is_tried_on_schedule_and_blocked_by_the_sixth_refusal(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = Shops::start_with(on, &[], ScriptedAdapter::later()).await;
    let store = shops.live_store("shop").await;
    let products = shops.list_many(store, 1000).await;
    shops
        .adapter
        .reject("p00500", "REJECTED", RejectionClass::Retryable);
    shops.enqueue(store, &products, Reason::OrderCreated).await;
    shops.push(store).await;
    shops.wait(3);
    shops.look().await;
    let push = shops.pushes(store).await.remove(0);
    assert_eq!(
        (push.state.as_str(), push.failed_item_count),
        ("PARTIAL", 1)
    );
    let confirmed = "SELECT COUNT(*) FROM product_stores WHERE last_confirmed_quantity IS NOT NULL";
    assert_eq!(shops.app.count(confirmed).await, 999);
    let path = format!(
        "/stock-pushes/{}/items?organizationId=org-1&state=REJECTED",
        push.id
    );
    let items = shops.app.get(&path).await.1;
    assert_eq!(items["items"].as_array().unwrap().len(), 1);
    assert_eq!(items["items"][0]["errors"][0]["code"], "REJECTED");

    let bad = products[499];
    for (refusal, minutes) in (1..).zip([1, 2, 5, 15, 60]) {
        let row = shops.pending(store).await.remove(0);
        assert_eq!(
            (row.reason.as_str(), row.priority, row.next_attempt_at),
            (
                "ORDER_CREATED",
                100,
                shops.app.clock.now() + TimeDelta::minutes(minutes)
            ),
            "after refusal {refusal}"
        );
        let pair = shops.pair(store, bad).await;
        assert_eq!(
            (pair.reject_count, pair.push_state.as_str()),
            (refusal, "OK")
        );
        shops.wait(u64::try_from(minutes).unwrap() * 60);
        shops.push(store).await;
        shops.wait(3);
        shops.look().await;
    }
    let pair = shops.pair(store, bad).await;
    assert_eq!(
        (pair.reject_count, pair.push_state.as_str()),
        (6, "BLOCKED")
    );
    assert_eq!(pair.push_error_code.as_deref(), Some("REJECTED"));
    assert_eq!(pair.blocked_until, Some(shops.after(6 * 3600)));
    assert_eq!(
        shops.pending(store).await[0].next_attempt_at,
        shops.after(6 * 3600)
    );
    let events = shops.events(store).await;
    assert_eq!(
        events
            .iter()
            .filter(|it| *it == "stock.item.blocked")
            .count(),
        1,
        "{events:?}"
    );

    // Six hours later it is taken.
    shops.adapter.accept("p00500");
    shops.wait(6 * 3600);
    shops.push(store).await;
    shops.wait(3);
    shops.look().await;
    let pair = shops.pair(store, bad).await;
    assert_eq!((pair.reject_count, pair.push_state.as_str()), (0, "OK"));
    assert_eq!(pair.last_confirmed_quantity, Some(500));
    assert_eq!((pair.push_error_code, pair.blocked_until), (None, None));
}

/// Whoever unblocks a pair has it tried at once.
#[rstest]
#[tokio::test]
async fn an_unblocked_pair_is_tried_at_once(#[values(Embedded, Server)] on: Profile) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let product = shops.list(store, "coat", 5).await;
    shops
        .adapter
        .reject("coat", "ListingFrozen", RejectionClass::Permanent);
    shops.enqueue(store, &[product], Reason::StockAdded).await;
    shops.push(store).await;
    shops.adapter.accept("coat");
    let path = format!("/stores/{store}/products/{product}/unblock?organizationId=org-1");
    let (status, body) = shops.app.post(&path, &serde_json::json!({})).await;
    assert!(status.is_success(), "{body}");
    shops.push(store).await;
    assert_eq!(shops.adapter.shown(store, "coat"), Some(5));
    assert_eq!(shops.pair(store, product).await.push_state, "OK");
}

#[rstest]
#[tokio::test]
async fn a_deferred_item_is_told_of_and_a_defect_of_ours_is_loud(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let [coat, hat] = [
        shops.list(store, "coat", 5).await,
        shops.list(store, "hat", 7).await,
    ];
    let hour = RejectionClass::Deferred(TimeDelta::minutes(60));
    shops
        .adapter
        .reject("coat", "DiscountedListingStockDecrease", hour);
    shops.adapter.reject(
        "hat",
        "DuplicateMerchantSkuSpecified",
        RejectionClass::Internal,
    );
    shops.enqueue(store, &[coat, hat], Reason::StockAdded).await;
    let log = Log::capture();
    shops.push(store).await;
    assert_eq!(log.count("stock_item_defect"), 1);
    assert_eq!(
        shops.events(store).await,
        ["stock.push.failed", "stock.item.blocked"]
    );
    let mut due: Vec<i64> = shops
        .pending(store)
        .await
        .iter()
        .map(|row| (row.next_attempt_at - shops.app.clock.now()).num_minutes())
        .collect();
    due.sort_unstable();
    assert_eq!(due, [1, 60]);
}

/// A newer quantity of a refused item is not delayed by it.
#[rstest]
#[tokio::test]
async fn a_newer_quantity_is_not_delayed_by_a_refusal(#[values(Embedded, Server)] on: Profile) {
    let shops = Shops::start_with(on, &[], ScriptedAdapter::later()).await;
    let store = shops.live_store("shop").await;
    let product = shops.list(store, "coat", 5).await;
    shops
        .adapter
        .reject("coat", "REJECTED", RejectionClass::Retryable);
    shops.enqueue(store, &[product], Reason::StockAdded).await;
    shops.push(store).await;
    shops.change(store, product, 4, Reason::StockRemoved).await;
    shops.push(store).await;
    assert!(
        shops.pending(store).await[0].next_attempt_at > shops.app.clock.now(),
        "it is held"
    );
    shops.wait(3);
    shops.look().await;
    let rows = shops.pending(store).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].next_attempt_at, shops.app.clock.now());
    assert_eq!(rows[0].reason, "STOCK_REMOVED");
}

/// A request that is refused as a whole is looked through by halves.
#[rstest]
#[tokio::test]
async fn a_bad_item_is_found_by_halves_and_the_others_go_through(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let products = shops.list_many(store, 1000).await;
    shops.adapter.spoil(&["p00777"]);
    shops.enqueue(store, &products, Reason::StockAdded).await;
    shops.push(store).await;
    let most = 2.0 * 1000_f64.log2() + 2.0;
    let requests = shops.adapter.requests().len();
    assert!(
        f64::from(u32::try_from(requests).unwrap()) <= most,
        "{requests} requests"
    );
    let pair = shops.pair(store, products[776]).await;
    assert_eq!(pair.push_state, "BLOCKED");
    assert_eq!(pair.push_error_code.as_deref(), Some("REQUEST_REFUSED"));
    assert_eq!(shops.outcomes(store).await["SENT"], 999);
    let pending = shops.pending(store).await;
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].next_attempt_at, shops.after(6 * 3600));
    assert!(
        shops
            .events(store)
            .await
            .contains(&"stock.item.blocked".to_owned())
    );
    assert_eq!(shops.gate(store).await.consecutive_failures, 0);

    // Its next try takes nobody with it.
    shops.wait(6 * 3600);
    shops
        .change(store, products[0], 70, Reason::StockAdded)
        .await;
    shops.adapter.forget_arrivals();
    shops.push(store).await;
    let requests = shops.adapter.requests();
    assert_eq!(requests[0], [("p00001".to_owned(), 70)]);
    assert_eq!(requests[1], [("p00777".to_owned(), 777)]);
    assert_eq!(requests.len(), 2);
}

/// The search goes on where it was when the process dies, or when a run has no more time.
#[rstest]
#[tokio::test]
async fn a_search_for_bad_items_survives_a_restart(#[values(Embedded, Server)] on: Profile) {
    let shops = Shops::start(on).await;
    shops
        .adapter
        .change(|manners| manners.spacing = Some(TimeDelta::seconds(10)));
    let store = shops.live_store("shop").await;
    let products = shops.list_many(store, 64).await;
    shops.adapter.spoil(&["p00033", "p00064"]);
    shops.enqueue(store, &products, Reason::StockAdded).await;
    for _ in 0..20 {
        // One request each, and each by another process.
        let process = shops.other_process().await;
        super::shop::push_in(&process, store).await.unwrap();
        shops.wait(10);
    }
    let requests = shops.adapter.requests().len();
    assert!(requests <= 2 * (2 * 6 + 2), "{requests} requests");
    for bad in [32, 63] {
        assert_eq!(shops.pair(store, products[bad]).await.push_state, "BLOCKED");
    }
    assert_eq!(shops.outcomes(store).await["SENT"], 62);
}
