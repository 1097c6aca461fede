//! Whether the service can do its work, and what is late.

use std::time::Duration;

use chrono::TimeDelta;
use marketplace_sync::schedule::claim_tick;
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};

async fn ready(app: &TestApp) -> Value {
    let (status, body) = app.get("/health/ready").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

/// Both ticks were taken so many seconds ago.
async fn tick(app: &TestApp, age: i64) {
    let now = app.clock.now();
    for schedule in ["sync", "callback"] {
        let tick = now - TimeDelta::seconds(age);
        assert!(claim_tick(&app.app.db, schedule, tick, now).await.unwrap());
    }
}

#[rstest]
#[tokio::test]
async fn all_in_time_is_ready(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::watched(on, &[]).await;
    tick(&app, 20).await;
    let age = |seconds: i64, limit: i64| json!({ "state": "ok", "seconds": seconds, "limitSeconds": limit });
    assert_eq!(
        ready(&app).await,
        json!({
            "status": "ok",
            "parts": { "database": "ok", "queue": "ok" },
            "ages": {
                "syncTick": age(20, 90),
                "callbackTick": age(20, 60),
                "oldestDueOrder": age(0, 900),
                "oldestDueDelivery": age(0, 300),
            },
        })
    );
}

/// A service whose scheduler stands still answers, and says so.
#[rstest]
#[tokio::test]
async fn a_tick_that_is_three_intervals_old_is_late(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::watched(on, &[("CALLBACK_CRON", "0 */10 * * * *")]).await;
    let body = ready(&app).await;
    assert_eq!(body["status"], "degraded");
    let never = json!({ "state": "late", "seconds": null, "limitSeconds": 90 });
    assert_eq!(body["ages"]["syncTick"], never);
    tick(&app, 90).await;
    assert_eq!(ready(&app).await["status"], "ok");
    app.clock.advance(Duration::from_secs(1));
    let body = ready(&app).await;
    assert_eq!(body["status"], "degraded");
    assert_eq!(body["ages"]["syncTick"]["state"], "late");
    assert_eq!(body["ages"]["callbackTick"]["state"], "ok");
    assert_eq!(body["ages"]["callbackTick"]["limitSeconds"], 1800);
}

#[rstest]
#[tokio::test]
async fn what_has_been_due_for_long_is_late(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::watched(on, &[]).await;
    tick(&app, 0).await;
    let store = app.register("shop").await;
    app.subscribe("sync.completed", "https://example.com/hook")
        .await;
    app.insert_row(store, "r1", "failed", 890).await;
    app.owe_events(store, 1).await;
    let ages = async || {
        let body = ready(&app).await;
        ["oldestDueOrder", "oldestDueDelivery"].map(|name| body["ages"][name].clone())
    };
    let [order, delivery] = ages().await;
    assert_eq!(
        (&order["state"], &order["seconds"]),
        (&json!("ok"), &json!(890))
    );
    assert_eq!(delivery["state"], "ok");
    app.clock.advance(Duration::from_secs(301));
    let [order, delivery] = ages().await;
    assert_eq!(
        (&order["state"], &order["seconds"]),
        (&json!("late"), &json!(1191))
    );
    assert_eq!(
        (&delivery["state"], &delivery["seconds"]),
        (&json!("late"), &json!(301))
    );
    assert_eq!(ready(&app).await["status"], "degraded");
}

#[rstest]
#[tokio::test]
async fn without_its_database_it_is_not_ready(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::watched(on, &[]).await;
    tick(&app, 0).await;
    app.app.db.close().await;
    let (status, body) = app.get("/health/ready").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["parts"]["database"], "failed");
    assert_eq!(app.get("/health/live").await.0, StatusCode::OK);
}
