//! Everything at a glance.

use std::time::Duration;

use chrono::TimeDelta;
use marketplace_sync::marketplace::pause_store;
use marketplace_sync::timestamp;
use rstest::rstest;
use serde_json::{Value, json};

use super::Operator;
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, on};
use crate::support::scripted_connector::invalid;

fn count(count: i64) -> Value {
    json!({ "count": count, "isMore": false })
}

/// One of everything that can be stuck.
async fn trouble(app: &TestApp) {
    let [failing, paused, dead, fine] = [
        app.register("failing").await,
        app.register("paused").await,
        app.register("dead").await,
        app.register("fine").await,
    ];
    app.insert_row(dead, "order-9", "failed", 60).await;
    app.give_up_orders().await;
    app.marketplace.reply("order-1", [invalid()]);
    app.import(failing, "order-1").await;
    app.import(fine, "order-3").await;
    app.insert_row(failing, "order-5", "failed", 20 * 60).await;
    app.insert_row(paused, "order-7", "failed", 40 * 60).await;
    pause_store(&app.app, paused.id).await.unwrap();
    app.insert_event(fine, "pending", TimeDelta::minutes(7))
        .await;
    app.insert_event(fine, "failed", TimeDelta::minutes(8))
        .await;
    let open = app
        .subscribe("sync.started", "http://127.0.0.1:9/open")
        .await;
    let off = app
        .subscribe("sync.completed", "http://127.0.0.1:9/off")
        .await;
    app.change_endpoint(off, &json!({ "isActive": false }))
        .await;
    let later = app.clock.now() + TimeDelta::minutes(1);
    on!(&app.app.db, pool => sqlx::query("UPDATE webhook_endpoints SET open_until = $2 WHERE id = $1")
        .bind(open).bind(later).execute(pool).await.map(|_| ()).unwrap());
    let now = app.clock.now();
    assert!(
        marketplace_sync::schedule::claim_tick(&app.app.db, "sync", now, now)
            .await
            .unwrap()
    );
}

#[rstest]
#[tokio::test]
async fn the_overview_counts_what_is_stuck(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    trouble(&app).await;
    let mut seen = Operator::of(&app).await.see("/overview").await;
    let ago = |minutes| timestamp::format(app.clock.now() - TimeDelta::minutes(minutes));
    assert_eq!(seen["now"], ago(0));
    assert_eq!(
        seen["stores"],
        json!({ "failed": count(1), "partial": count(0), "success": count(1),
            "pending": count(2), "paused": count(1) })
    );
    assert_eq!(
        seen["orders"],
        json!({ "dueStores": count(1), "overdueStores": count(1), "oldestDueAt": ago(20),
            "deadLetters": count(1) }),
        "what is paused is not due"
    );
    assert_eq!(
        seen["callbacks"],
        json!({ "pending": count(1), "oldestPendingAt": ago(7), "deadLetters": count(1) })
    );
    assert_eq!(
        seen["endpoints"],
        json!({ "open": count(1), "inactive": count(1), "paused": count(0) })
    );
    assert_eq!(
        seen["ticks"].take(),
        json!([{ "schedule": "sync", "lastTickAt": ago(0) },
            { "schedule": "callback", "lastTickAt": null },
            { "schedule": "housekeeping", "lastTickAt": null },
            { "schedule": "stock-push", "lastTickAt": null },
            { "schedule": "stock-confirm", "lastTickAt": null },
            { "schedule": "stock-reconcile", "lastTickAt": null },
            { "schedule": "stock-janitor", "lastTickAt": null }])
    );
    let waiting = |name| json!({ "name": name, "waiting": 0 });
    assert_eq!(
        seen["queues"].take(),
        json!([
            waiting("sync-store-queue"),
            waiting("callback-queue"),
            waiting("push-stock-queue"),
            waiting("confirm-stock-push-queue"),
            waiting("resync-store-queue"),
            waiting("reconcile-stock-queue"),
        ])
    );
}

/// However much there is, it costs no more than a thousand looks.
#[rstest]
#[tokio::test]
async fn counts_stop_at_a_thousand(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    app.insert_due_stores(1100).await;
    app.clock.advance(Duration::from_mins(20));
    let seen = Operator::of(&app).await.see("/overview").await;
    let many = json!({ "count": 1000, "isMore": true });
    assert_eq!(seen["stores"]["pending"], many);
    assert_eq!(seen["orders"]["dueStores"]["isMore"], true, "{seen}");
    app.give_up_orders().await;
    let seen = Operator::of(&app).await.see("/overview").await;
    assert_eq!(seen["orders"]["deadLetters"], many);
    assert_eq!(seen["orders"]["dueStores"], count(0));
}

#[rstest]
#[tokio::test]
async fn a_queue_that_does_not_answer_is_shown_as_such(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    app.hide_queue("sync-store-queue").await;
    let seen = Operator::of(&app).await.see("/overview").await;
    app.show_queue("sync-store-queue").await;
    assert_eq!(seen["queues"][0]["waiting"], Value::Null, "{seen}");
    assert_eq!(seen["stores"]["failed"], count(0));
}
