//! How long events are kept (NF-8).

use chrono::TimeDelta;
use marketplace_sync::schedule::tidy_up;
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::json;
use uuid::Uuid;

use super::callbacks::endpoint;
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, on};
use crate::support::log::Log;

const OLD: TimeDelta = TimeDelta::days(31);
const YOUNG: TimeDelta = TimeDelta::days(29);

async fn deactivate(app: &TestApp, endpoint: Uuid) {
    let path = format!("/webhooks/{endpoint}?organizationId=org-1");
    let request = app.http.patch(app.server.url(&path));
    let (status, body) = app.send(request.json(&json!({ "isActive": false }))).await;
    assert_eq!(status, StatusCode::OK, "{body}");
}

#[rstest]
#[tokio::test]
async fn what_was_delivered_a_month_ago_is_deleted_and_nothing_else(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let webhook = endpoint(&app, "sync.completed", "http://127.0.0.1:1/").await;
    let done = app.insert_event(store, "success", OLD).await;
    let delivery = app.insert_delivery(done, webhook, "success", OLD).await;
    app.insert_attempt(delivery, 1, app.clock.now() - OLD).await;
    let mut kept = Vec::new();
    for (status, age) in [("success", YOUNG), ("failed", OLD), ("pending", OLD)] {
        let id = app.insert_event(store, status, age).await;
        app.insert_delivery(id, webhook, status, age).await;
        kept.push(id);
    }
    tidy_up(&app.app).await;
    assert!(app.event_row(done).await.is_none());
    assert_eq!(app.count("SELECT COUNT(*) FROM callback_attempts").await, 0);
    for id in kept {
        assert!(app.event_row(id).await.is_some());
        app.delivery_row(id, webhook).await;
    }
}

#[rstest]
#[tokio::test]
async fn more_than_one_step_of_old_events_is_deleted_in_one_round(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    for _ in 0..1_201 {
        app.insert_event(store, "success", OLD).await;
    }
    let logs = Log::start("info");
    tidy_up(&app.app).await;
    assert_eq!(app.count("SELECT COUNT(*) FROM callback_outbox").await, 0);
    assert_eq!(logs.of("housekeeping_run")[0]["purgedEvents"], 1_201);
}

/// Somebody switched it off, or it fails whenever it is asked, which is too rarely for all that
/// it is owed.
#[rstest]
#[tokio::test]
async fn what_a_webhook_did_not_come_back_for_is_given_up_after_a_month(
    #[values(Embedded, Server)] on: Profile,
    #[values(false, true)] is_active: bool,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let away = endpoint(&app, "sync.completed", "http://127.0.0.1:1/away").await;
    let active = endpoint(&app, "sync.completed", "http://127.0.0.1:1/").await;
    if is_active {
        let until = app.clock.now() + TimeDelta::minutes(1);
        on!(&app.app.db, pool => sqlx::query("UPDATE webhook_endpoints SET open_until = $2 WHERE id = $1")
            .bind(away).bind(until).execute(pool).await.map(|_| ()).unwrap());
    } else {
        deactivate(&app, away).await;
    }
    let old = app.insert_event(store, "pending", OLD).await;
    app.insert_delivery(old, away, "pending", OLD).await;
    let shared = app.insert_event(store, "pending", OLD).await;
    app.insert_delivery(shared, away, "pending", OLD).await;
    app.insert_delivery(shared, active, "pending", OLD).await;
    let young = app.insert_event(store, "pending", YOUNG).await;
    app.insert_delivery(young, away, "pending", YOUNG).await;

    let logs = Log::start("info");
    tidy_up(&app.app).await;

    let reason = "the endpoint could not be sent to for 30 days";
    let given_up = app.delivery_row(old, away).await;
    assert_eq!(given_up.status, "failed");
    assert_eq!(given_up.last_error.as_deref(), Some(reason));
    let event = app.event_row(old).await.unwrap();
    assert_eq!(event.status, "failed");
    assert_eq!(event.last_error, Some(format!("{away}: {reason}")));
    assert_eq!(logs.count("callback_dead_letter"), 1);
    assert_eq!(logs.of("housekeeping_run")[0]["expiredDeliveries"], 2);
    assert_eq!(app.event_row(shared).await.unwrap().status, "pending");
    assert_eq!(app.delivery_row(shared, active).await.status, "pending");
    assert_eq!(app.event_row(young).await.unwrap().status, "pending");
}

#[rstest]
#[tokio::test]
async fn a_requeued_event_of_last_year_is_not_given_up_at_once(
    #[values(Embedded, Server)] on: Profile,
) {
    let mut app = TestApp::start(on).await;
    app.leave_jobs();
    let store = app.register("shop").await;
    let away = endpoint(&app, "sync.completed", "http://127.0.0.1:1/away").await;
    deactivate(&app, away).await;
    let id = app
        .insert_event(store, "failed", TimeDelta::days(365))
        .await;
    app.insert_delivery(id, away, "failed", TimeDelta::days(365))
        .await;
    let path = format!("/callbacks/{id}/requeue");
    assert_eq!(app.post(&path, &json!({})).await.0, StatusCode::ACCEPTED);
    tidy_up(&app.app).await;
    assert_eq!(app.event_row(id).await.unwrap().status, "pending");
}

#[rstest]
#[tokio::test]
async fn a_dead_letter_that_nobody_deals_with_is_deleted_after_a_year(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let forgotten = app
        .insert_event(store, "failed", TimeDelta::days(366))
        .await;
    let kept = app
        .insert_event(store, "failed", TimeDelta::days(364))
        .await;
    // Requeued in the meantime, in vain.
    let touched = app
        .insert_event(store, "failed", TimeDelta::days(400))
        .await;
    let then = app.clock.now() - TimeDelta::days(364);
    on!(&app.app.db, pool => sqlx::query("UPDATE callback_outbox SET updated_at = $2 WHERE id = $1")
        .bind(touched).bind(then).execute(pool).await.map(|_| ()).unwrap());
    let pending = app
        .insert_event(store, "pending", TimeDelta::days(400))
        .await;
    let logs = Log::start("info");
    tidy_up(&app.app).await;
    assert!(app.event_row(forgotten).await.is_none());
    for id in [kept, touched, pending] {
        assert!(app.event_row(id).await.is_some());
    }
    assert_eq!(logs.of("housekeeping_run")[0]["purgedDeadLetters"], 1);
}

#[rstest]
#[tokio::test]
async fn dead_letters_may_be_kept_for_ever(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start_with(on, &[("DEAD_LETTER_RETENTION_DAYS", "0")]).await;
    let store = app.register("shop").await;
    let id = app
        .insert_event(store, "failed", TimeDelta::days(9_999))
        .await;
    tidy_up(&app.app).await;
    assert!(app.event_row(id).await.is_some());
}

/// However often somebody requeues what nobody takes.
#[rstest]
#[tokio::test]
async fn the_newest_attempts_of_a_requeued_event_are_kept_and_no_more(
    #[values(Embedded, Server)] on: Profile,
) {
    let mut app = TestApp::start(on).await;
    app.leave_jobs();
    let store = app.register("shop").await;
    let webhook = endpoint(&app, "sync.completed", "http://127.0.0.1:1/").await;
    let id = app.insert_event(store, "failed", YOUNG).await;
    let delivery = app.insert_delivery(id, webhook, "failed", YOUNG).await;
    for minute in 0..60 {
        let at = app.clock.now() - TimeDelta::minutes(minute);
        app.insert_attempt(delivery, 1, at).await;
    }
    let path = format!("/callbacks/{id}/requeue");
    assert_eq!(app.post(&path, &json!({})).await.0, StatusCode::ACCEPTED);
    assert_eq!(
        app.count("SELECT COUNT(*) FROM callback_attempts").await,
        50
    );
    let oldest = app.clock.now() - TimeDelta::minutes(49);
    let oldest: i64 = on!(&app.app.db, pool => sqlx::query_scalar(
        "SELECT COUNT(*) FROM callback_attempts WHERE started_at < $1")
        .bind(oldest).fetch_one(pool).await.unwrap());
    assert_eq!(oldest, 0, "the newest");
}
