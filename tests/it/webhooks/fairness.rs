//! Who hangs or fails delays nobody else.

use std::time::Duration;

use rstest::rstest;
use tokio_util::sync::CancellationToken;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};
use crate::support::subscriber::Answer::{Hang, Status};
use crate::support::subscriber::Subscriber;

/// Three organizations' worth in one: what is owed to the dead ones lies in front of everything
/// that is owed to the healthy one.
#[rstest]
#[tokio::test]
async fn a_hanging_and_a_failing_endpoint_with_hundreds_of_events_delay_nobody_else(
    #[values(Embedded, Server)] on: Profile,
) {
    let settings = [
        ("CALLBACK_TIMEOUT_MS", "2000"),
        ("CALLBACK_CONCURRENCY", "24"),
    ];
    let mut app = TestApp::start_with(on, &settings).await;
    app.leave_jobs();
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    let hanging = app
        .subscribe("sync.completed", &subscriber.url("/hangs"))
        .await;
    subscriber.answer("/hangs", [Hang]);
    app.owe_events(store, 300).await;
    app.execute("UPDATE webhook_endpoints SET event = 'sync.started'")
        .await;
    let failing = app
        .subscribe("sync.completed", &subscriber.url("/fails"))
        .await;
    subscriber.answer("/fails", [Status(500)]);
    app.owe_events(store, 300).await;
    app.execute("UPDATE webhook_endpoints SET event = 'sync.started'")
        .await;
    let healthy = app
        .subscribe("sync.completed", &subscriber.url("/ok"))
        .await;
    app.owe_events(store, 200).await;

    let stop = CancellationToken::new();
    let worker = tokio::spawn({
        let (app, stop) = (app.app.clone(), stop.clone());
        async move { marketplace_sync::worker::run_jobs(app, stop).await }
    });
    app.sweep().await;
    subscriber.has_received("/ok", 200).await;
    // The healthy one has all it is owed before the hanging one has lost its first few.
    assert!(
        subscriber.count("/hangs") <= 24,
        "{}",
        subscriber.count("/hangs")
    );
    assert!(subscriber.most_in_flight("/hangs") <= 8);
    assert!(
        subscriber.count("/fails") <= 17,
        "{}",
        subscriber.count("/fails")
    );
    stop.cancel();
    worker.await.unwrap();
    assert_eq!(app.deliveries_with(healthy, "success").await, 200);
    assert_eq!(app.deliveries_with(failing, "pending").await, 300);
    assert_eq!(app.deliveries_with(hanging, "pending").await, 300);
}

/// A backlog is worked off by those who deliver it: one tick is enough, however slow they are.
#[rstest]
#[tokio::test]
async fn a_backlog_needs_one_tick(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    let endpoint = app
        .subscribe("sync.completed", &subscriber.url("/webhook"))
        .await;
    app.owe_events(store, 700).await;
    // No more than the share of an endpoint.
    assert_eq!(app.sweep().await.enqueued_jobs, 500);
    app.run_jobs().await;
    assert_eq!(app.deliveries_with(endpoint, "success").await, 700);
    assert_eq!(subscriber.count("/webhook"), 700);
    let most = subscriber.most_in_flight("/webhook");
    assert!(most <= 8, "{most}");
}

/// More events than any queue should hold: it takes what it may, and the rest waits as rows.
#[tokio::test]
async fn nine_thousand_pending_events_are_all_delivered() {
    let app = TestApp::start(Server).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    let mut endpoints = Vec::new();
    // Each is owed a third; no two of the events are the same.
    for path in ["/a", "/b", "/c"] {
        app.execute("UPDATE webhook_endpoints SET event = 'sync.started'")
            .await;
        let url = subscriber.url(path);
        endpoints.push(app.subscribe("sync.completed", &url).await);
        app.owe_events(store, 3_000).await;
    }
    assert_eq!(app.sweep().await.enqueued_jobs, 1_500);
    app.run_jobs().await;
    for (endpoint, path) in endpoints.into_iter().zip(["/a", "/b", "/c"]) {
        assert_eq!(app.deliveries_with(endpoint, "success").await, 3_000);
        assert_eq!(subscriber.count(path), 3_000, "none of them twice");
    }
    let left = "SELECT COUNT(*) FROM callback_outbox WHERE status <> 'success'";
    assert_eq!(app.count(left).await, 0);
}

/// A job whose endpoint has enough to do ends; it does not hold its worker.
#[rstest]
#[tokio::test]
async fn a_job_without_a_lane_ends_at_once_and_its_event_is_brought_later(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    app.subscribe("sync.completed", &subscriber.url("/webhook"))
        .await;
    let events = app.owe_events(store, 9).await;
    subscriber.hold("/webhook");
    let jobs: Vec<_> = events[..8]
        .iter()
        .map(|event| crate::support::deliveries::spawn_delivery(&app.app, *event))
        .collect();
    subscriber.has_received("/webhook", 8).await;
    let ninth = tokio::time::timeout(Duration::from_secs(2), app.deliver(events[8])).await;
    ninth.unwrap().unwrap();
    let row = app.outbox_row(events[8]).await;
    assert_eq!((row.status.as_str(), row.attempt), ("pending", 0));
    assert_eq!(row.enqueued_until, None);
    subscriber.release("/webhook");
    for job in jobs {
        job.await.unwrap().unwrap();
    }
    // Whoever left its lane first has enqueued it.
    assert_eq!(app.run_jobs().await, 1);
    assert_eq!(app.outbox_row(events[8]).await.status, "success");
}
