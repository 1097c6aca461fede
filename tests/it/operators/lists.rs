//! Which stores, webhooks and dead letters there are, and what is known of each.

use std::time::Duration;

use chrono::TimeDelta;
use marketplace_sync::marketplace::pause_store;
use marketplace_sync::timestamp;
use marketplace_sync::webhooks::model::EndpointId;
use marketplace_sync::webhooks::pause_endpoint;
use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};

use super::Operator;
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, on};
use crate::support::scripted_connector::{broken, invalid};

/// What a person needs to know of a store that does not get on.
#[rstest]
#[tokio::test]
async fn a_store_is_shown_with_what_it_waits_for_and_why(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_due_rows(store, 2).await;
    app.marketplace.reply("r0001", [invalid()]);
    app.marketplace.reply("r0002", [broken("out of stock")]);
    app.run(store).await.unwrap();
    let operator = Operator::of(&app).await;
    let seen = operator.see("/stores?state=failing").await;
    assert_eq!(seen["nextCursor"], Value::Null);
    let shown = &seen["items"][0];
    let at = |minutes| timestamp::format(app.clock.now() + TimeDelta::minutes(minutes));
    assert_eq!(
        *shown,
        json!({
            "id": store.id, "organizationId": "org-1", "marketplace": "etsy",
            "name": "My Store", "externalStoreId": "shop", "syncStatus": "failed",
            "lastSyncAt": at(0), "nextDueAt": at(5),
            "waiting": { "count": 2, "isMore": false },
            "deadLetters": { "count": 0, "isMore": false },
            "lastError": shown["lastError"], "pausedAt": null, "pausedUntil": null,
            "enqueuedUntil": null, "runningSince": null,
        })
    );
    let row = app.row(store, "r0002").await.unwrap();
    assert_eq!(shown["lastError"], json!(row.error_details.unwrap()));
}

#[rstest]
#[tokio::test]
async fn a_store_that_is_being_synced_says_since_when(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_due_rows(store, 1).await;
    app.marketplace.hold();
    let since = timestamp::format(app.clock.now());
    let run = crate::support::runs::spawn_run(&app.app, store);
    app.marketplace.in_flight(1).await;
    app.clock.advance(Duration::from_secs(5));
    let operator = Operator::of(&app).await;
    let running = operator.see("/stores").await;
    assert_eq!(running["items"][0]["runningSince"], since);
    app.marketplace.release();
    run.await.unwrap().unwrap();
    let done = operator.see("/stores").await;
    assert_eq!(done["items"][0]["runningSince"], Value::Null);
}

/// Each of them once, however small the pages are.
#[rstest]
#[tokio::test]
async fn stores_are_listed_by_state_page_by_page(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    app.insert_due_stores(7).await;
    app.execute("UPDATE stores SET sync_status = 'failed'")
        .await;
    let operator = Operator::of(&app).await;
    let names = |numbers: std::ops::RangeInclusive<u32>| -> Vec<String> {
        numbers.map(|number| number.to_string()).collect()
    };
    let list = async |state: &str| {
        let list = format!("/stores?limit=2&state={state}");
        operator.all(&list, "externalStoreId").await
    };
    assert_eq!(list("all").await, names(1..=7));
    assert_eq!(list("failing").await, names(1..=7));
    assert!(list("overdue").await.is_empty(), "due since just now");
    app.clock.advance(Duration::from_mins(10));
    assert_eq!(list("overdue").await, names(1..=7));
    assert!(list("paused").await.is_empty());
    let now = app.clock.now();
    on!(&app.app.db, pool => sqlx::query(
        "UPDATE stores SET paused_at = $1 WHERE external_store_id > '4'")
        .bind(now).execute(pool).await.map(|_| ()).unwrap());
    assert_eq!(list("paused").await, names(5..=7));
    assert_eq!(
        list("overdue").await,
        names(1..=4),
        "nobody waits for those"
    );
    assert!(list("dead_letters").await.is_empty());
    app.give_up_orders().await;
    assert_eq!(list("dead_letters").await, names(1..=7));
    assert!(list("overdue").await.is_empty());
}

/// One page looks at a few hundred stores; it may be empty, and says where to go on.
#[rstest]
#[tokio::test]
async fn what_is_overdue_is_found_behind_many_that_are_not(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    app.insert_due_stores(620).await;
    app.clock.advance(Duration::from_mins(20));
    let now = app.clock.now();
    on!(&app.app.db, pool => sqlx::query(
        "UPDATE sync_logs SET next_retry_at = $1 WHERE receipt <> '611'")
        .bind(now).execute(pool).await.map(|_| ()).unwrap());
    let operator = Operator::of(&app).await;
    let first = operator.see("/stores?state=overdue&limit=50").await;
    assert_eq!(first["items"], json!([]));
    assert!(first["nextCursor"].is_string());
    let all = operator
        .all("/stores?state=overdue&limit=50", "externalStoreId")
        .await;
    assert_eq!(all, ["611"]);
}

/// A webhook that is left in peace for a minute, one that is paused, and one that is gone.
async fn idle_webhooks(app: &TestApp) -> [uuid::Uuid; 3] {
    let store = app.register("shop").await;
    let open = app
        .subscribe("sync.completed", "http://127.0.0.1:9/open")
        .await;
    let paused = app
        .subscribe("sync.started", "http://127.0.0.1:9/paused")
        .await;
    let gone = app
        .subscribe("sync.failed", "http://127.0.0.1:9/gone")
        .await;
    app.owe_events(store, 2).await;
    app.sweep().await;
    app.run_jobs().await;
    pause_endpoint(&app.app, EndpointId(paused)).await.unwrap();
    app.execute(
        "UPDATE webhook_endpoints SET is_active = FALSE, inactive_reason = 'gone'
                 WHERE event = 'sync.failed'",
    )
    .await;
    let until = app.clock.now() + TimeDelta::minutes(1);
    on!(&app.app.db, pool => sqlx::query("UPDATE webhook_endpoints SET open_until = $2 WHERE id = $1")
        .bind(open).bind(until).execute(pool).await.map(|_| ()).unwrap());
    [open, paused, gone]
}

#[rstest]
#[tokio::test]
async fn webhooks_are_listed_by_state_with_what_they_are_owed(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let [open, paused, gone] = idle_webhooks(&app).await;
    let until = app.clock.now() + TimeDelta::minutes(1);
    let operator = Operator::of(&app).await;
    let seen = operator.see("/endpoints?state=open").await;
    let shown = &seen["items"][0];
    let reason = shown["lastError"].as_str().unwrap();
    assert!(reason.contains("connect"), "{reason}");
    assert_eq!(
        *shown,
        json!({
            "id": open, "organizationId": "org-1", "event": "sync.completed",
            "targetUrl": "http://127.0.0.1:9/open", "description": null, "isOrdered": false,
            "isActive": true, "inactiveReason": null, "consecutiveFailures": 2,
            "openUntil": timestamp::format(until),
            "pending": { "count": 2, "isMore": false },
            "oldestPendingAt": timestamp::format(app.clock.now() - TimeDelta::seconds(1)),
            "deadLetters": { "count": 0, "isMore": false }, "lastError": reason,
        })
    );
    let list = async |state: &str| {
        let found = operator
            .all(&format!("/endpoints?limit=1&state={state}"), "id")
            .await;
        found
            .iter()
            .map(|id| id.parse::<uuid::Uuid>().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(list("open").await, [open]);
    assert_eq!(list("paused").await, [paused]);
    assert_eq!(list("inactive").await, [paused, gone]);
    assert_eq!(list("all").await, [open, paused, gone]);
    let url = app
        .server
        .url(&format!("/webhooks/{gone}?organizationId=org-1"));
    assert!(
        app.http
            .delete(url)
            .send()
            .await
            .unwrap()
            .status()
            .is_success()
    );
    assert_eq!(
        list("inactive").await,
        [paused],
        "deleted ones are nobody's concern"
    );
    assert_eq!(list("all").await, [open, paused]);
    app.clock.advance(Duration::from_mins(1));
    assert!(list("open").await.is_empty(), "it may be tried again");
}

#[rstest]
#[tokio::test]
async fn dead_letters_are_listed_with_the_reason_newest_first(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let [store, other] = [app.register("shop").await, app.register("other").await];
    for (store, receipt) in [(store, "order-1"), (store, "order-3"), (other, "order-5")] {
        app.insert_row(store, receipt, "failed", 60).await;
        app.give_up_orders().await;
        app.clock.advance(Duration::from_secs(1));
        app.execute("UPDATE sync_logs SET status = 'failed', next_retry_at = dead_at")
            .await;
    }
    let old = app.insert_event(store, "failed", TimeDelta::hours(2)).await;
    let new = app.insert_event(store, "failed", TimeDelta::hours(1)).await;
    let operator = Operator::of(&app).await;
    let orders = operator.see("/dead-letters/orders").await;
    let shown = &orders["items"][0];
    assert_eq!(orders["items"].as_array().unwrap().len(), 3);
    assert_eq!(shown["reason"], "not an order");
    assert_eq!(shown["failures"], 5);
    assert_eq!(shown["storeName"], "My Store");
    assert_eq!(shown["organizationId"], "org-1");
    let of_store = format!("/dead-letters/orders?limit=1&storeId={}", store.id);
    let mut own = operator.all(&of_store, "receipt").await;
    own.sort();
    assert_eq!(own, ["order-1", "order-3"]);
    let mut all = operator
        .all("/dead-letters/orders?limit=1", "receipt")
        .await;
    all.sort();
    assert_eq!(all, ["order-1", "order-3", "order-5"]);

    let events = operator.see("/dead-letters/callbacks").await;
    let shown = &events["items"][0];
    assert_eq!(shown["id"], json!(new));
    assert_eq!(shown["reason"], "HTTP 500 Internal Server Error");
    assert_eq!(
        (&shown["event"], &shown["attempts"]),
        (&json!("sync.completed"), &json!(3))
    );
    let ids = operator.all("/dead-letters/callbacks?limit=1", "id").await;
    assert_eq!(ids, [new.to_string(), old.to_string()]);
}

#[rstest]
#[tokio::test]
async fn a_list_says_what_is_wrong_with_what_it_was_asked(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    pause_store(&app.app, store.id).await.unwrap();
    let operator = Operator::of(&app).await;
    for (bad, field) in [
        ("/stores?state=stuck", "state"),
        ("/stores?limit=0", "limit"),
        ("/endpoints?state=failing", "state"),
        ("/endpoints?cursor=no", "cursor"),
        ("/dead-letters/orders?storeId=1", "storeId"),
    ] {
        let (status, body) = app.send(operator.request(Method::GET, bad)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}: {body}");
        assert_eq!(body["details"][0]["path"], json!([field]), "{bad}");
    }
}
