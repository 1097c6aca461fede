//! Which stores and products there are, and what is known of each.

use std::time::Duration;

use chrono::TimeDelta;
use marketplace_sync::stock::model::Reason;
use marketplace_sync::timestamp;
use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};

use super::scene::{CONFIRMED, Push};
use crate::operators::Operator;
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, on};

/// What a person needs to know of a store whose marketplace is not told.
#[rstest]
#[tokio::test]
async fn a_store_is_shown_with_its_queue_its_gate_and_its_last_push(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.push_to(store, "LIVE").await;
    let [one, two] = [app.pair(store, "one").await, app.pair(store, "two").await];
    let minutes = TimeDelta::minutes;
    app.wait_in_queue(store, one, Reason::StockAdded, minutes(8))
        .await;
    app.wait_in_queue(store, two, Reason::OrderCreated, minutes(2))
        .await;
    app.block(store, two, "ListingFrozen", 1).await;
    app.close_gate(store, "AUTH", minutes(10)).await;
    app.pushed(store, CONFIRMED).await;
    let failed = Push {
        state: "FAILED",
        error: Some("the key is refused"),
        age: TimeDelta::zero(),
        ..CONFIRMED
    };
    let last = app.pushed(store, failed).await;
    let operator = Operator::of(&app).await;
    let seen = operator.see("/stock/stores?state=overdue").await;
    let at = |minutes| timestamp::format(app.clock.now() + TimeDelta::minutes(minutes));
    let count = |count: i64| json!({ "count": count, "isMore": false });
    assert_eq!(
        seen,
        json!({ "items": [{
            "id": store.id, "organizationId": "org-1", "marketplace": "etsy", "name": "My Store",
            "externalStoreId": "shop", "isActive": true, "sendsStock": true, "pushMode": "LIVE",
            "gate": { "isOpen": false, "reason": "AUTH", "opensAt": at(10) },
            "pending": count(2), "overdue": count(1), "oldestPendingAt": at(-8),
            "nextDueAt": at(-8), "blocked": count(1), "consecutiveFailures": 2,
            "isRunning": false, "enqueuedUntil": null, "resyncRequestedAt": null,
            "lastPush": {
                "id": last, "storeId": store.id, "storeName": "My Store",
                "organizationId": "org-1", "state": "FAILED", "items": 3, "failedItems": 0,
                "batchId": null, "httpStatus": null, "error": "the key is refused",
                "createdAt": at(0), "sentAt": at(0), "acceptedAt": null, "confirmedAt": null,
                "nextPollAt": null, "polls": 0,
            },
        }], "nextCursor": null })
    );
}

#[rstest]
#[tokio::test]
async fn a_store_says_whether_a_run_holds_it_or_is_on_its_way(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.close_gate(store, "BACKOFF", TimeDelta::zero()).await;
    let later = app.clock.now() + TimeDelta::minutes(1);
    on!(&app.app.db, pool => sqlx::query(
        "UPDATE marketplace_rate_limits
         SET lease_until = $1, push_enqueued_until = $1, resync_requested_at = $1")
        .bind(later).execute(pool).await.map(|_| ()).unwrap());
    let operator = Operator::of(&app).await;
    let shown = async || operator.see("/stock/stores").await["items"][0].take();
    let running = shown().await;
    let at = timestamp::format(later);
    assert_eq!(running["isRunning"], true);
    assert_eq!(running["enqueuedUntil"], json!(at));
    assert_eq!(running["resyncRequestedAt"], json!(at));
    assert_eq!(
        running["gate"],
        json!({ "isOpen": true, "reason": null, "opensAt": null })
    );
    app.clock.advance(Duration::from_mins(1));
    let idle = shown().await;
    assert_eq!(idle["isRunning"], false, "its lease is over");
    assert_eq!(idle["enqueuedUntil"], Value::Null);
}

/// Each of them once, however small the pages are.
#[rstest]
#[tokio::test]
async fn stores_are_listed_by_state_page_by_page(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    app.insert_due_stores(7).await;
    app.execute(
        "INSERT INTO products (id, organization_id, name, product_type, created_at, updated_at)
         SELECT id, 'org-1', 'Thing', 'SIMPLE', created_at, created_at FROM stores",
    )
    .await;
    app.execute(
        "INSERT INTO stock_update_queue (id, product_id, store_id, reason, last_enqueued_at,
             next_attempt_at, created_at, updated_at)
         SELECT id, id, id, 'RESYNC', created_at, created_at, created_at, created_at
         FROM stores WHERE external_store_id > '2'",
    )
    .await;
    app.execute("UPDATE stores SET stock_push_mode = 'DRY_RUN' WHERE external_store_id > '5'")
        .await;
    let now = app.clock.now();
    on!(&app.app.db, pool => sqlx::query(
        "INSERT INTO marketplace_rate_limits (store_id, backoff_until, created_at, updated_at)
         SELECT id, $1, $2, $2 FROM stores WHERE external_store_id < '4'")
        .bind(now + TimeDelta::minutes(1)).bind(now).execute(pool).await.map(|_| ()).unwrap());
    let operator = Operator::of(&app).await;
    let list = async |state: &str| {
        let list = format!("/stock/stores?limit=2&state={state}");
        operator.all(&list, "externalStoreId").await.concat()
    };
    assert_eq!(list("all").await, "1234567");
    assert_eq!(list("waiting").await, "34567");
    assert_eq!(list("pushed").await, "67");
    assert_eq!(list("closed").await, "123");
    assert_eq!(list("overdue").await, "", "since just now");
    app.clock.advance(Duration::from_mins(5));
    assert_eq!(list("overdue").await, "34567");
    assert_eq!(list("closed").await, "", "they opened by themselves");
}

/// One page looks at a few hundred stores; it may be empty, and says where to go on.
#[rstest]
#[tokio::test]
async fn what_is_closed_or_overdue_is_found_behind_many_that_are_not(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    app.insert_stock_of_many_stores().await;
    let later = app.clock.now() + TimeDelta::minutes(1);
    on!(&app.app.db, pool => sqlx::query(
        "UPDATE marketplace_rate_limits SET window_opens_at = $1
         WHERE store_id = (SELECT id FROM stores WHERE external_store_id = '1044')")
        .bind(later).execute(pool).await.map(|_| ()).unwrap());
    let long_ago = app.clock.now() - TimeDelta::minutes(6);
    on!(&app.app.db, pool => sqlx::query(
        "UPDATE stock_update_queue SET created_at = $1
         WHERE store_id = (SELECT id FROM stores WHERE external_store_id = '1044')")
        .bind(long_ago).execute(pool).await.map(|_| ()).unwrap());
    let operator = Operator::of(&app).await;
    for state in ["closed", "overdue"] {
        let list = format!("/stock/stores?limit=50&state={state}");
        let first = operator.see(&list).await;
        assert_eq!(first["items"], json!([]), "{state}");
        assert!(first["nextCursor"].is_string(), "{state}");
        let all = operator.all(&list, "externalStoreId").await;
        assert_eq!(all, ["1044"], "{state}");
    }
}

#[rstest]
#[tokio::test]
async fn blocked_products_are_listed_with_the_reason_of_all_stores_or_of_one(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let stores = [app.register("one").await, app.register("two").await];
    for (store, name) in [(0, "a"), (1, "b"), (0, "c"), (1, "d"), (0, "e")] {
        let product = app.pair(stores[store], name).await;
        if name != "c" {
            app.block(stores[store], product, "ListingFrozen", 6).await;
        }
    }
    let operator = Operator::of(&app).await;
    let mut all = operator.all("/stock/blocked?limit=1", "productName").await;
    all.sort();
    assert_eq!(all.concat(), "abde");
    let of = async |store: usize| {
        let list = format!("/stock/blocked?limit=1&storeId={}", stores[store].id);
        operator.all(&list, "productName").await.concat()
    };
    assert_eq!(of(0).await, "ae");
    assert_eq!(of(1).await, "bd");
    let of_one = format!("/stock/blocked?storeId={}", stores[0].id);
    let seen = operator.see(&of_one).await;
    let shown = &seen["items"][0];
    let until = timestamp::format(app.clock.now() + TimeDelta::hours(6));
    assert_eq!(
        *shown,
        json!({
            "storeId": stores[0].id, "productId": shown["productId"], "storeName": "My Store",
            "organizationId": "org-1", "productName": "a", "sku": "SKU-a", "barcode": "868-a",
            "code": "ListingFrozen", "message": "no, thanks", "blockedUntil": until,
            "rejectCount": 6,
        })
    );
    // A place of a store that is not asked about gives nothing of that store.
    let first = operator.see("/stock/blocked?limit=1").await;
    let place = first["nextCursor"].as_str().unwrap();
    let mixed = format!("/stock/blocked?storeId={}&cursor={place}", stores[1].id);
    let mixed = operator.see(&mixed).await;
    for item in mixed["items"].as_array().unwrap() {
        assert_eq!(item["storeId"], json!(stores[1].id));
    }
}

#[rstest]
#[tokio::test]
async fn a_list_says_what_is_wrong_with_what_it_was_asked(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let operator = Operator::of(&app).await;
    for (bad, field) in [
        ("/stock/stores?state=stuck", "state"),
        ("/stock/blocked?limit=0", "limit"),
        ("/stock/blocked?storeId=1", "storeId"),
        ("/stock/blocked?cursor=AAAA", "cursor"),
        ("/stock/pushes?cursor=no", "cursor"),
        ("/stock/pushes/1", "id"),
    ] {
        let (status, body) = app.send(operator.request(Method::GET, bad)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}: {body}");
        assert_eq!(body["details"][0]["path"], json!([field]), "{bad}");
    }
}
