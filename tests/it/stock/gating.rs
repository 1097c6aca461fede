//! When a marketplace is left in peace, for how long, and that anybody can see it.

use std::collections::HashMap;
use std::time::Duration;

use chrono::TimeDelta;
use marketplace_sync::clock::Clock;
use marketplace_sync::stock::connector::{Adapters, Bucket, FailureKind};
use marketplace_sync::stock::model::Reason;
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::json;

use super::scripted_adapter::{Fault, Results, ScriptedAdapter};
use super::shop::{Shops, push_in};
use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::log::Log;

const AMBIGUOUS: Fault = Fault::Refuse(FailureKind::Ambiguous);

fn rate_limited(seconds: Option<i64>) -> Fault {
    Fault::Refuse(FailureKind::RateLimited {
        retry_after: seconds.map(TimeDelta::seconds),
        is_for_address: false,
    })
}

/// Scenario 3, its first half.
#[rstest]
#[tokio::test]
async fn a_store_with_windows_is_left_in_peace_after_a_run(
    #[values(Embedded, Server)] on: Profile,
) {
    let settings = [("STOCK_BATCH_SIZE", "1")];
    let shops = Shops::start_with(on, &settings, ScriptedAdapter::new()).await;
    let store = shops.live_store("shop").await;
    shops.set_store(store, "rate_mode = 'STORE_WINDOW'").await;
    let products = [
        shops.list(store, "coat", 5).await,
        shops.list(store, "hat", 7).await,
    ];
    shops.enqueue(store, &products, Reason::StockAdded).await;
    shops.push(store).await;
    assert_eq!(
        shops.adapter.requests().len(),
        2,
        "the window is for the time after the run"
    );
    assert_eq!(
        shops.gate(store).await.window_opens_at,
        Some(shops.after(900))
    );

    shops
        .change(store, products[0], 4, Reason::OrderCreated)
        .await;
    shops.wait(600);
    shops
        .change(store, products[0], 3, Reason::OrderCreated)
        .await;
    for _ in 0..2 {
        shops.minute().await;
    }
    assert_eq!(shops.adapter.requests().len(), 2);
    assert_eq!(shops.pending(store).await.len(), 1);
    let summary = shops
        .app
        .get("/stock-queue/summary?organizationId=org-1")
        .await
        .1;
    let gate = &summary["stores"][0]["gate"];
    assert_eq!(
        (&gate["open"], &gate["reason"]),
        (&json!(false), &json!("WINDOW")),
        "{summary}"
    );

    shops.wait(121);
    shops.minute().await;
    assert_eq!(shops.adapter.requests()[2..], [[("coat".to_owned(), 3)]]);
    assert_eq!(shops.adapter.shown(store, "coat"), Some(3));
}

/// Scenario 3, its second half: without windows a changed quantity goes in the next minute.
#[rstest]
#[tokio::test]
async fn a_store_without_windows_is_told_the_next_minute(#[values(Embedded, Server)] on: Profile) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let product = shops.list(store, "coat", 5).await;
    shops.enqueue(store, &[product], Reason::StockAdded).await;
    shops.minute().await;
    shops.change(store, product, 4, Reason::OrderCreated).await;
    shops.minute().await;
    assert_eq!(shops.adapter.requests().len(), 2);
    assert_eq!(shops.adapter.shown(store, "coat"), Some(4));
}

/// Scenario 14.
#[rstest]
#[tokio::test]
async fn a_store_that_comes_too_often_is_alone_in_it(#[values(Embedded, Server)] on: Profile) {
    let shops = Shops::start(on).await;
    let [one, other] = [
        shops.live_store("one").await,
        shops.live_store("other").await,
    ];
    let (coat, hat) = (
        shops.list(one, "coat", 5).await,
        shops.list(other, "hat", 7).await,
    );
    shops.enqueue(one, &[coat], Reason::StockAdded).await;
    shops.enqueue(other, &[hat], Reason::StockAdded).await;
    shops.adapter.fail_store(one, Some(rate_limited(Some(90))));
    shops.minute().await;
    assert_eq!(
        shops.closed(one).await,
        Some(("RATE_LIMITED".to_owned(), 90.0))
    );
    assert_eq!(shops.closed(other).await, None);
    assert_eq!(shops.adapter.shown(other, "hat"), Some(7));

    shops.adapter.fail_store(one, None);
    shops.adapter.forget_arrivals();
    shops.minute().await;
    assert_eq!(shops.adapter.arrivals(), [], "90 seconds are not over");
    shops.minute().await;
    assert_eq!(shops.adapter.shown(one, "coat"), Some(5));
}

/// A limit of an address is one of all stores that call from it.
#[rstest]
#[tokio::test]
async fn a_limit_of_the_address_closes_all_stores_of_the_marketplace(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = Shops::start(on).await;
    let one = shops.store_on("hepsiburada", "one", "LIVE").await;
    let other = shops.store_on("hepsiburada", "other", "LIVE").await;
    let elsewhere = shops.live_store("elsewhere").await;
    for (store, name) in [(one, "a"), (other, "b"), (elsewhere, "c")] {
        let product = shops.list(store, name, 5).await;
        shops.enqueue(store, &[product], Reason::StockAdded).await;
        shops.push(store).await;
        shops.change(store, product, 4, Reason::OrderCreated).await;
    }
    let limited = FailureKind::RateLimited {
        retry_after: Some(TimeDelta::seconds(60)),
        is_for_address: true,
    };
    shops.adapter.fail([Fault::Refuse(limited)]);
    shops.push(one).await;
    assert_eq!(
        shops.closed(one).await,
        Some(("RATE_LIMITED".to_owned(), 60.0))
    );
    assert_eq!(
        shops.closed(other).await,
        Some(("RATE_LIMITED".to_owned(), 60.0))
    );
    assert_eq!(shops.closed(elsewhere).await, None);
    shops.push(other).await;
    assert_eq!(shops.adapter.shown(other, "b"), Some(5));
}

/// Scenario 15.
#[rstest]
#[tokio::test]
async fn a_sixth_upload_waits_for_one_of_five(#[values(Embedded, Server)] on: Profile) {
    let settings = [("STOCK_BATCH_SIZE", "1")];
    let shops = Shops::start_with(on, &settings, ScriptedAdapter::later()).await;
    shops
        .adapter
        .change(|manners| manners.max_outstanding = Some(5));
    shops.adapter.give_results(Results::Withheld);
    let store = shops.store_on("hepsiburada", "shop", "LIVE").await;
    let products = shops.list_many(store, 6).await;
    shops.enqueue(store, &products, Reason::StockAdded).await;
    shops.push(store).await;
    assert_eq!(shops.adapter.requests().len(), 5);
    assert_eq!(
        shops.closed(store).await,
        Some(("OUTSTANDING".to_owned(), 10.0))
    );
    assert_eq!(shops.pending(store).await.len(), 1);

    shops.minute().await;
    assert_eq!(shops.adapter.requests().len(), 5);
    shops.adapter.give_results(Results::WhenAsked);
    shops.wait(300);
    shops.look().await;
    shops.minute().await;
    assert_eq!(shops.adapter.requests().len(), 6);
    assert_eq!(shops.pending(store).await, []);
}

/// Scenario 16: the store shows why, its rows stay, and other credentials open the gate.
#[rstest]
#[tokio::test]
async fn a_store_that_is_not_let_in_says_so_and_keeps_its_rows(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let product = shops.list(store, "coat", 5).await;
    shops.enqueue(store, &[product], Reason::StockAdded).await;
    shops
        .adapter
        .fail([Fault::Refuse(FailureKind::Unauthorized)]);
    shops.push(store).await;
    assert_eq!(shops.closed(store).await, Some(("AUTH".to_owned(), 900.0)));
    assert_eq!(shops.pending(store).await.len(), 1);
    assert_eq!(shops.states(store).await, ["FAILED"]);
    assert_eq!(shops.events(store).await, ["stock.push.auth_failed"]);
    let path = format!("/stores/{store}/stock-settings?organizationId=org-1");
    let settings = shops.app.get(&path).await.1;
    assert_eq!(settings["gate"]["reason"], "AUTH", "{settings}");
    shops.minute().await;
    assert_eq!(shops.adapter.requests().len(), 1);

    let patch = shops.app.http.patch(shops.app.server.url(&path));
    let change = json!({ "apiKey": "other", "apiSecret": "secret" });
    let (status, body) = shops.app.send(patch.json(&change)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(shops.closed(store).await, None);
    shops.push(store).await;
    assert_eq!(shops.adapter.shown(store, "coat"), Some(5));
}

#[rstest]
#[tokio::test]
async fn a_store_without_credentials_waits_for_them(#[values(Embedded, Server)] on: Profile) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let product = shops.list(store, "coat", 5).await;
    shops.enqueue(store, &[product], Reason::StockAdded).await;
    shops.adapter.forget_credentials(true);
    for _ in 0..3 {
        shops.minute().await;
    }
    assert_eq!(shops.adapter.arrivals(), []);
    assert_eq!(shops.closed(store).await.unwrap().0, "AUTH");
    assert_eq!(
        shops.events(store).await,
        ["stock.push.auth_failed"],
        "told once"
    );
    shops.adapter.forget_credentials(false);
    shops.minute().await;
    shops.minute().await;
    assert_eq!(shops.adapter.shown(store, "coat"), Some(5));
}

/// The wait doubles, is stored, and the fifth failure breaks; then one batch finds out.
#[rstest]
#[tokio::test]
async fn failures_in_a_row_wait_longer_and_break_after_five(
    #[values(Embedded, Server)] on: Profile,
) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let product = shops.list(store, "coat", 5).await;
    shops.enqueue(store, &[product], Reason::StockAdded).await;
    shops.adapter.fail([AMBIGUOUS; 6]);
    for wait in [5.0, 10.0, 20.0, 40.0] {
        shops.push(store).await;
        let (reason, seconds) = shops.closed(store).await.unwrap();
        assert_eq!(reason, "BACKOFF");
        assert!((wait * 0.8..=wait * 1.2).contains(&seconds), "{seconds}");
        // Another process respects it.
        push_in(&*shops.other_process().await, store).await.unwrap();
        shops.wait(50);
    }
    assert_eq!(shops.adapter.requests().len(), 4);
    for _ in 0..2 {
        shops.push(store).await;
        assert_eq!(
            shops.closed(store).await,
            Some(("BREAKER".to_owned(), 300.0))
        );
        shops.push(store).await;
        shops.wait(300);
    }
    assert_eq!(shops.adapter.requests().len(), 6);
    shops.push(store).await;
    assert_eq!(shops.adapter.shown(store, "coat"), Some(5));
    assert_eq!(shops.gate(store).await.consecutive_failures, 0);
    assert_eq!(shops.states(store).await[..6], ["UNKNOWN"; 6]);
    assert_eq!(shops.events(store).await[0], "stock.push.failed");
}

/// A request that takes too long is halved, and is whole again after three that do not.
#[rstest]
#[tokio::test]
async fn a_batch_that_takes_too_long_is_halved_and_restored(
    #[values(Embedded, Server)] on: Profile,
) {
    let settings = [("STOCK_BATCH_SIZE", "200")];
    let shops = Shops::start_with(on, &settings, ScriptedAdapter::new()).await;
    let store = shops.live_store("shop").await;
    let products = shops.list_many(store, 650).await;
    shops.enqueue(store, &products, Reason::StockAdded).await;
    shops.adapter.fail([Fault::Refuse(FailureKind::TooSlow)]);
    shops.push(store).await;
    assert_eq!(shops.gate(store).await.batch_limit, Some(100));
    shops.wait(60);
    push_in(&*shops.other_process().await, store).await.unwrap();
    let sizes: Vec<usize> = shops.adapter.requests().iter().map(Vec::len).collect();
    assert_eq!(sizes, [200, 100, 100, 100, 200, 150]);
    assert_eq!(shops.gate(store).await.batch_limit, None);
}

/// A bucket is shared by all processes and emptied by nobody twice.
#[rstest]
#[tokio::test]
async fn a_rate_is_shared_by_stores_and_processes(#[values(Embedded, Server)] on: Profile) {
    let settings = [("STOCK_BATCH_SIZE", "1"), ("STOCK_RATE_TARGET_PCT", "80")];
    let shops = Shops::start_with(on, &settings, ScriptedAdapter::new()).await;
    shops.adapter.limit(vec![Bucket {
        key: "address".to_owned(),
        capacity: 10,
        per: Duration::from_secs(10),
    }]);
    let [one, other] = [
        shops.live_store("one").await,
        shops.live_store("other").await,
    ];
    let products = shops.list_many(one, 10).await;
    shops.enqueue(one, &products, Reason::StockAdded).await;
    let coat = shops.list(other, "coat", 5).await;
    shops.enqueue(other, &[coat], Reason::StockAdded).await;
    // Two at once, and then eight in ten seconds: never more than ten in ten.
    shops.push(one).await;
    assert_eq!(shops.adapter.requests().len(), 2);
    let (reason, wait) = shops.closed(one).await.unwrap();
    assert_eq!(reason, "BUCKET");
    assert!((1.25..1.26).contains(&wait), "{wait}");
    push_in(&*shops.other_process().await, other).await.unwrap();
    assert_eq!(shops.adapter.requests().len(), 2);
    assert_eq!(
        shops.states(other).await,
        [""; 0],
        "nothing was written in vain"
    );
    assert_eq!(shops.pair(other, coat).await.in_flight_push_id, None);
    shops.app.clock.advance(Duration::from_millis(1300));
    push_in(&*shops.other_process().await, other).await.unwrap();
    assert_eq!(shops.adapter.requests().len(), 3);
    shops.wait(60);
    shops.push(one).await;
    assert_eq!(shops.adapter.requests().len(), 5, "it holds two");
}

#[rstest]
#[tokio::test]
async fn requests_keep_their_distance(#[values(Embedded, Server)] on: Profile) {
    let settings = [("STOCK_BATCH_SIZE", "1")];
    let shops = Shops::start_with(on, &settings, ScriptedAdapter::new()).await;
    shops
        .adapter
        .change(|manners| manners.spacing = Some(TimeDelta::seconds(10)));
    let store = shops.live_store("shop").await;
    let products = shops.list_many(store, 2).await;
    shops.enqueue(store, &products, Reason::StockAdded).await;
    shops.push(store).await;
    assert_eq!(
        shops.closed(store).await,
        Some(("SPACING".to_owned(), 10.0))
    );
    shops.wait(9);
    shops.push(store).await;
    assert_eq!(shops.adapter.requests().len(), 1);
    shops.wait(1);
    shops.push(store).await;
    assert_eq!(shops.adapter.requests().len(), 2);
    assert_eq!(
        shops.closed(store).await,
        None,
        "nothing waits behind the gate"
    );
}

#[rstest]
#[tokio::test]
async fn nothing_is_pushed_while_the_service_is_told_not_to(
    #[values(Embedded, Server)] on: Profile,
) {
    let settings = [("STOCK_PUSH_ENABLED", "false")];
    let shops = Shops::start_with(on, &settings, ScriptedAdapter::new()).await;
    let store = shops.live_store("shop").await;
    let product = shops.list(store, "coat", 5).await;
    shops.enqueue(store, &[product], Reason::StockAdded).await;
    shops.minute().await;
    shops.push(store).await;
    assert_eq!(shops.adapter.arrivals(), []);
    assert_eq!(shops.pending(store).await.len(), 1);
}

/// A marketplace without an adapter is reported, and nothing of it is lost.
#[rstest]
#[tokio::test]
async fn a_marketplace_without_an_adapter_keeps_its_rows(#[values(Embedded, Server)] on: Profile) {
    let shops = Shops::start(on).await;
    let store = shops.live_store("shop").await;
    let product = shops.list(store, "coat", 5).await;
    shops.enqueue(store, &[product], Reason::StockAdded).await;
    let process = shops
        .process(|app| app.adapters = Adapters::with(HashMap::new()))
        .await;
    push_in(&process, store).await.unwrap();
    assert_eq!(
        shops.closed(store).await,
        Some(("ADAPTER_MISSING".to_owned(), 60.0))
    );
    assert_eq!(shops.pending(store).await.len(), 1);
}

/// A process that knows the time waits for a gate that opens soon, instead of ending the run.
#[rstest]
#[tokio::test]
async fn a_run_waits_for_a_gate_that_opens_soon(#[values(Embedded, Server)] on: Profile) {
    let settings = [("STOCK_BATCH_SIZE", "1")];
    let shops = Shops::start_with(on, &settings, ScriptedAdapter::new()).await;
    shops
        .adapter
        .change(|manners| manners.spacing = Some(TimeDelta::milliseconds(40)));
    let store = shops.live_store("shop").await;
    let products = shops.list_many(store, 3).await;
    shops.enqueue(store, &products, Reason::StockAdded).await;
    let process = shops.process(|app| app.clock = Clock::system()).await;
    let log = Log::capture();
    push_in(&process, store).await.unwrap();
    assert_eq!(shops.adapter.requests().len(), 3);
    assert_eq!(log.count("stock_push_completed"), 1);
}
