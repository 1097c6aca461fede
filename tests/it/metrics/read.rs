//! What is read when somebody asks.

use std::time::Duration;

use chrono::TimeDelta;
use jobs::{DeliverCallback, Job, SyncStore};
use marketplace_sync::metrics::{Metrics, Pace};
use marketplace_sync::schedule::claim_tick;
use rstest::rstest;
use serde_json::json;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};
use crate::support::scrape::Scrape;

fn whole(scrape: &Scrape, name: &str, labels: &[(&str, &str)]) -> i64 {
    scrape.count(name, labels)
}

#[rstest]
#[tokio::test]
async fn events_and_what_was_given_up_are_counted(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::watched(on, &[]).await;
    let store = app.register("shop").await;
    let nothing = app.scrape().await;
    let outbox = |scrape: &Scrape| {
        ["pending", "failed", "success"]
            .map(|status| whole(scrape, "callback_outbox_rows", &[("status", status)]))
    };
    assert_eq!(outbox(&nothing), [0, 0, 0]);
    assert_eq!(
        whole(&nothing, "callback_outbox_oldest_pending_seconds", &[]),
        0
    );
    for (status, age) in [
        ("pending", 90),
        ("pending", 30),
        ("failed", 500),
        ("success", 9),
    ] {
        app.insert_event(store, status, TimeDelta::seconds(age))
            .await;
    }
    app.insert_row(store, "r1", "failed", 60).await;
    app.execute("UPDATE sync_logs SET dead_at = updated_at")
        .await;
    let scrape = app.scrape().await;
    assert_eq!(outbox(&scrape), [2, 1, 1]);
    assert_eq!(
        whole(&scrape, "callback_outbox_oldest_pending_seconds", &[]),
        90
    );
    let dead = |kind| whole(&scrape, "dead_letter_rows", &[("kind", kind)]);
    assert_eq!((dead("orders"), dead("callbacks")), (1, 1));
}

#[rstest]
#[tokio::test]
async fn the_oldest_due_order_and_delivery_are_those_that_may_go(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::watched(on, &[]).await;
    let (store, paused) = (app.register("shop").await, app.register("paused").await);
    let due = async || {
        let scrape = app.scrape().await;
        let orders = whole(&scrape, "sync_oldest_due_seconds", &[]);
        (orders, whole(&scrape, "callback_oldest_due_seconds", &[]))
    };
    assert_eq!(due().await, (0, 0));
    app.insert_row(store, "r1", "failed", 60).await;
    app.insert_row(store, "r2", "pending", 40).await;
    app.insert_row(paused, "r1", "failed", 600).await;
    let tomorrow = Some(app.clock.now() + TimeDelta::days(1));
    app.set_store_time(paused, "paused_until", tomorrow).await;
    let endpoint = app
        .subscribe("sync.completed", "https://example.com/hook")
        .await;
    app.owe_events(store, 21).await;
    assert_eq!(due().await, (60, 20));
    app.change_endpoint(endpoint, &json!({ "isActive": false }))
        .await;
    app.clock.advance(Duration::from_secs(5));
    assert_eq!(due().await, (65, 0));
}

#[rstest]
#[tokio::test]
async fn an_endpoint_that_is_left_in_peace_is_counted(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::watched(on, &[]).await;
    app.subscribe("sync.completed", "https://example.com/one")
        .await;
    app.subscribe("sync.completed", "https://example.com/two")
        .await;
    let paused = async || whole(&app.scrape().await, "webhook_endpoints_paused", &[]);
    assert_eq!(paused().await, 0);
    let soon = app.clock.now() + TimeDelta::minutes(1);
    crate::support::app::on!(&app.app.db, pool => sqlx::query(
        "UPDATE webhook_endpoints SET open_until = $1 WHERE target_url LIKE '%one'")
        .bind(soon).execute(pool).await.map(|_| ()).unwrap());
    assert_eq!(paused().await, 1);
    app.clock.advance(Duration::from_mins(1));
    assert_eq!(paused().await, 0);
}

#[rstest]
#[tokio::test]
async fn queues_are_as_deep_as_they_are(#[values(Embedded, Server)] on: Profile) {
    let mut app = TestApp::watched(on, &[]).await;
    let store = app.register("shop").await;
    app.enqueue(store).await;
    app.enqueue(store).await;
    let scrape = app.scrape().await;
    let depth = |queue| whole(&scrape, "queue_depth", &[("queue", queue)]);
    assert_eq!(
        (depth(SyncStore::QUEUE), depth(DeliverCallback::QUEUE)),
        (2, 0)
    );
    app.leave_jobs();
}

/// The age of the last tick is the same in every process, whoever took it.
#[rstest]
#[tokio::test]
async fn ticks_have_an_age_and_an_interval(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::watched(on, &[("SYNC_CRON", "0 * * * * *")]).await;
    let sync = [("scheduler", "sync")];
    let before = app.scrape().await;
    assert_eq!(before.find("scheduler_last_tick_age_seconds", &sync), None);
    let interval = |name| {
        whole(
            &before,
            "scheduler_interval_seconds",
            &[("scheduler", name)],
        )
    };
    assert_eq!(
        ["sync", "callback", "housekeeping"].map(interval),
        [60, 15, 60]
    );
    let other = app.other_process().await;
    for age in [180, 120, 300] {
        let (tick, now) = (app.clock.now() - TimeDelta::seconds(age), app.clock.now());
        assert!(claim_tick(&other.db, "sync", tick, now).await.unwrap());
    }
    let scrape = app.scrape().await;
    assert_eq!(
        whole(&scrape, "scheduler_last_tick_age_seconds", &sync),
        120
    );
}

#[rstest]
#[tokio::test]
async fn the_database_is_not_asked_more_often_than_the_pace_allows(
    #[values(Embedded, Server)] on: Profile,
) {
    let pace = Pace {
        often: Duration::from_hours(1),
        seldom: Duration::from_hours(1),
    };
    let app = TestApp::build(on, &[], |app| app.metrics = Metrics::new(pace)).await;
    let store = app.register("shop").await;
    let pending = [("status", "pending")];
    assert_eq!(
        whole(&app.scrape().await, "callback_outbox_rows", &pending),
        0
    );
    app.insert_event(store, "pending", TimeDelta::seconds(1))
        .await;
    let scrapes = futures::future::join_all((0..20).map(|_| app.scrape())).await;
    for scrape in scrapes {
        assert_eq!(whole(&scrape, "callback_outbox_rows", &pending), 0);
    }
    // What happens is told at once all the same.
    let registered = [
        ("route", "/stores/register"),
        ("method", "POST"),
        ("status", "200"),
    ];
    let scrape = app.scrape().await;
    assert_eq!(
        whole(&scrape, "http_request_duration_seconds_count", &registered),
        1
    );
}

#[rstest]
#[tokio::test]
async fn what_does_not_answer_is_left_out(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::watched(on, &[]).await;
    app.register("shop").await;
    let up = |scrape: &Scrape, part| whole(scrape, "dependency_up", &[("dependency", part)]);
    let scrape = app.scrape().await;
    assert_eq!((up(&scrape, "database"), up(&scrape, "queue")), (1, 1));
    assert!(scrape.value("database_connections", &[("state", "idle")]) >= 1.0);
    app.app.db.close().await;
    let scrape = app.scrape().await;
    assert_eq!(up(&scrape, "database"), 0);
    // On the embedded profile the queue is in the same file.
    assert_eq!(up(&scrape, "queue"), i64::from(on == Server));
    for gone in [
        "callback_outbox_oldest_pending_seconds",
        "sync_oldest_due_seconds",
    ] {
        assert_eq!(scrape.find(gone, &[]), None, "{gone}");
    }
    assert!(scrape.value("process_resident_memory_bytes", &[]) > 1e6);
    assert!(scrape.value("sync_lock_contention_total", &[]) >= 0.0);
}
