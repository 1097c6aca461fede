//! Stores and webhooks that an operator wants left alone for a while.

use std::time::Duration;

use chrono::TimeDelta;
use marketplace_sync::marketplace::{
    self, Hurried, pause_store, requeue_receipts, resume_store, sync_now,
};
use marketplace_sync::webhooks::model::EndpointId;
use marketplace_sync::webhooks::{self, pause_endpoint, probe_endpoint, resume_endpoint};
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::json;
use uuid::Uuid;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, on};
use crate::support::log::Log;
use crate::support::runs::spawn_run;
use crate::support::scripted_connector::{invalid, rate_limited};
use crate::support::subscriber::Answer::Status;
use crate::support::subscriber::Subscriber;

/// A job that was in the queue already asks nobody; what is due stays due.
#[rstest]
#[tokio::test]
async fn a_paused_store_is_left_alone_by_ticks_and_jobs_until_it_is_resumed(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_due_rows(store, 3).await;
    assert_eq!(app.schedule().await.enqueued_jobs, 1);
    assert!(pause_store(&app.app, store.id).await.unwrap());
    assert!(!pause_store(&app.app, store.id).await.unwrap(), "again");
    let logs = Log::capture();
    assert_eq!(app.run_jobs().await, 1);
    assert_eq!(logs.count("store_paused"), 1);
    assert_eq!(app.marketplace.calls().len(), 0);
    assert_eq!(app.events(store).await, []);
    app.clock.advance(Duration::from_hours(1));
    let pass = app.schedule().await;
    assert_eq!((pass.scanned_stores, pass.enqueued_jobs), (0, 0));

    assert!(resume_store(&app.app, store.id).await.unwrap());
    assert_eq!(app.run_jobs().await, 1, "at once, without a tick");
    assert_eq!(app.store_row(store).await.imported_success_count, 3);
    assert!(!resume_store(&app.app, store.id).await.unwrap(), "again");
    assert_eq!(app.app.queue.waiting("sync-store-queue").await.unwrap(), 0);
}

#[rstest]
#[tokio::test]
async fn a_run_ends_with_its_batch_when_its_store_is_paused(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start_with(on, &[("SYNC_CHUNK_SIZE", "2")]).await;
    let store = app.register("shop").await;
    app.insert_due_rows(store, 5).await;
    app.marketplace.hold();
    let run = spawn_run(&app.app, store);
    app.marketplace.in_flight(2).await;
    pause_store(&app.app, store.id).await.unwrap();
    app.marketplace.release();
    run.await.unwrap().unwrap();
    assert_eq!(app.marketplace.calls().len(), 2, "no further batch");
    let row = app.store_row(store).await;
    assert_eq!((row.imported_success_count, row.lease_token), (2, None));
    let events = app.events(store).await;
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(events[1].1["data"]["processedCount"], 2);
    assert_eq!(events[1].1["data"]["remainingBacklog"], true);

    resume_store(&app.app, store.id).await.unwrap();
    app.run_jobs().await;
    assert_eq!(app.store_row(store).await.imported_success_count, 5);
    assert_eq!(app.marketplace.calls().len(), 5, "none was asked twice");
}

#[rstest]
#[tokio::test]
async fn an_import_that_is_asked_for_answers_while_the_store_is_paused(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    pause_store(&app.app, store.id).await.unwrap();
    let (status, body) = app.import(store, "order-1").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["success"], true);
    let body = json!({ "syncToken": store.token, "receipts": ["order-1", "order-3"] });
    let (status, body) = app.post("/orders/import/batch", &body).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(app.store_row(store).await.imported_success_count, 2);
}

/// Neither its backoff nor the throttle holds a store back whom somebody hurries.
#[rstest]
#[tokio::test]
async fn sync_now_tries_at_once_what_waits_for_its_next_try(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_due_rows(store, 2).await;
    app.marketplace.reply_with(|_| invalid());
    app.run(store).await.unwrap();
    assert_eq!(app.schedule().await.scanned_stores, 0, "in five minutes");
    app.marketplace
        .reply_with(|call| crate::support::scripted_connector::valid(&call.receipt));
    let hurried = sync_now(&app.app, store.id).await.unwrap();
    let expected = Hurried {
        receipts: 2,
        has_more: false,
        is_enqueued: true,
    };
    assert_eq!(hurried, expected);
    let again = sync_now(&app.app, store.id).await.unwrap();
    assert_eq!((again.receipts, again.is_enqueued), (0, false), "again");
    assert_eq!(app.run_jobs().await, 1);
    assert_eq!(app.store_row(store).await.imported_success_count, 2);
}

#[rstest]
#[tokio::test]
async fn sync_now_is_refused_while_somebody_wants_the_store_left_alone(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let pause = Some(Duration::from_mins(2));
    app.marketplace.reply("order-1", [rate_limited(pause)]);
    app.import(store, "order-1").await;
    let until = app.clock.now() + TimeDelta::minutes(2);
    let refused = sync_now(&app.app, store.id).await.unwrap_err();
    assert!(
        matches!(refused, marketplace::OperateError::LeftInPeace(it) if it == until),
        "{refused:?}"
    );
    app.clock.advance(Duration::from_mins(2));
    pause_store(&app.app, store.id).await.unwrap();
    let refused = sync_now(&app.app, store.id).await.unwrap_err();
    assert!(matches!(refused, marketplace::OperateError::Paused));
    let nobody = jobs::StoreId(Uuid::nil());
    let refused = sync_now(&app.app, nobody).await.unwrap_err();
    assert!(matches!(refused, marketplace::OperateError::StoreNotFound));
}

/// One that is being imported is neither hurried nor taken away from whoever imports it.
#[rstest]
#[tokio::test]
async fn sync_now_leaves_a_running_import_alone(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.marketplace.hold_only("order-1");
    let (import, hurried) = tokio::join!(app.import(store, "order-1"), async {
        app.marketplace.asked("order-1").await;
        let hurried = sync_now(&app.app, store.id).await.unwrap();
        app.run_jobs().await;
        app.marketplace.release();
        hurried
    });
    assert_eq!(hurried.receipts, 0);
    assert_eq!(import.1["success"], true);
    assert_eq!(app.marketplace.calls_of("order-1"), 1);
}

#[rstest]
#[tokio::test]
async fn the_dead_letters_of_a_store_are_requeued_and_those_of_others_stay(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let [store, other] = [app.register("shop").await, app.register("other").await];
    for (store, receipt) in [(store, "order-1"), (store, "order-3"), (other, "order-5")] {
        app.insert_row(store, receipt, "failed", 60).await;
    }
    let now = app.clock.now();
    on!(&app.app.db, pool => sqlx::query("UPDATE sync_logs SET dead_at = $1, failed_attempt = 5")
        .bind(now).execute(pool).await.map(|_| ()).unwrap());
    let requeued = requeue_receipts(&app.app, store.id).await.unwrap();
    assert_eq!((requeued.receipts, requeued.is_enqueued), (2, true));
    assert_eq!(app.run_jobs().await, 1);
    assert_eq!(app.store_row(store).await.imported_success_count, 2);
    assert!(app.row(other, "order-5").await.unwrap().dead_at.is_some());
    let again = requeue_receipts(&app.app, store.id).await.unwrap();
    assert_eq!((again.receipts, again.is_enqueued), (0, false));
}

#[rstest]
#[tokio::test]
async fn a_paused_webhook_gets_its_events_when_it_is_resumed(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    let endpoint = app.subscribe("sync.completed", &subscriber.url("/")).await;
    let id = EndpointId(endpoint);
    assert!(pause_endpoint(&app.app, id).await.unwrap());
    assert!(!pause_endpoint(&app.app, id).await.unwrap(), "again");
    let row = app.endpoint(endpoint).await;
    assert_eq!(row.inactive_reason.as_deref(), Some("paused"));
    app.insert_due_rows(store, 1).await;
    app.schedule().await;
    app.run_jobs().await;
    app.after(Duration::from_mins(5)).await;
    assert_eq!(subscriber.count("/"), 0);

    assert!(resume_endpoint(&app.app, id).await.unwrap());
    app.run_jobs().await;
    assert_eq!(subscriber.count("/"), 1, "at once, without a tick");
    assert!(!resume_endpoint(&app.app, id).await.unwrap(), "again");
    assert_eq!(app.endpoint(endpoint).await.inactive_reason, None);
}

#[rstest]
#[tokio::test]
async fn a_webhook_that_its_organization_switched_off_is_not_switched_on(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let endpoint = app.subscribe("sync.completed", "http://127.0.0.1:9/").await;
    let off = json!({ "isActive": false });
    app.change_endpoint(endpoint, &off).await;
    let refused = resume_endpoint(&app.app, EndpointId(endpoint)).await;
    assert!(
        matches!(refused, Err(webhooks::OperateError::SwitchedOff)),
        "{refused:?}"
    );
    let probe = probe_endpoint(&app.app, EndpointId(endpoint)).await;
    assert!(matches!(probe, Err(webhooks::OperateError::Inactive)));
}

/// One delivery is sent, although it would have waited longer; by its success the others follow.
#[rstest]
#[tokio::test]
async fn a_webhook_with_an_open_breaker_is_tried_again_now(
    #[values(Embedded, Server)] on: Profile,
    #[values(false, true)] is_ordered: bool,
) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    let endpoint = app.subscribe("sync.completed", &subscriber.url("/")).await;
    app.change_endpoint(endpoint, &json!({ "isOrdered": is_ordered }))
        .await;
    app.owe_events(store, 3).await;
    let later = app.clock.now() + TimeDelta::hours(1);
    on!(&app.app.db, pool => sqlx::query(
        "UPDATE webhook_endpoints SET consecutive_failures = 14, open_until = $1")
        .bind(later).execute(pool).await.map(|_| ()).unwrap());
    on!(&app.app.db, pool => sqlx::query("UPDATE callback_deliveries SET next_attempt_at = $1")
        .bind(later).execute(pool).await.map(|_| ()).unwrap());
    subscriber.answer("/", [Status(500), Status(200)]);

    assert!(
        probe_endpoint(&app.app, EndpointId(endpoint))
            .await
            .unwrap()
    );
    app.run_jobs().await;
    assert_eq!(subscriber.count("/"), 1);
    let row = app.endpoint(endpoint).await;
    let until = app.clock.now() + TimeDelta::minutes(32);
    assert_eq!(
        (row.consecutive_failures, row.open_until),
        (15, Some(until))
    );

    assert!(
        probe_endpoint(&app.app, EndpointId(endpoint))
            .await
            .unwrap()
    );
    app.run_jobs().await;
    assert_eq!(subscriber.count("/"), 2);
    let row = app.endpoint(endpoint).await;
    assert_eq!((row.consecutive_failures, row.open_until), (0, None));
    assert!(
        !probe_endpoint(&app.app, EndpointId(endpoint))
            .await
            .unwrap()
    );
    app.run_jobs().await;
    assert_eq!(subscriber.count("/"), 3, "the next one");
}
