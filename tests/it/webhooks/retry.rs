//! When a delivery is tried again, and when it is given up.

use std::time::Duration;

use chrono::TimeDelta;
use marketplace_sync::retry::Jitter;
use rstest::rstest;
use serde_json::json;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};
use crate::support::log::Log;
use crate::support::subscriber::Answer::{Full, Status};
use crate::support::subscriber::Subscriber;

/// three requests, one and five minutes apart, then a dead letter.
#[rstest]
#[tokio::test]
async fn a_delivery_fails_three_times_and_is_a_dead_letter(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    let endpoint = app
        .subscribe("sync.completed", &subscriber.url("/webhook"))
        .await;
    subscriber.answer("/webhook", [Status(500)]);
    let event = app.owe_events(store, 1).await[0];
    let log = Log::capture();
    let error = format!("{endpoint}: HTTP 500 Internal Server Error");
    app.sweep().await;
    app.run_jobs().await;
    for (attempt, minutes) in [(1, 1), (2, 5)] {
        let row = app.outbox_row(event).await;
        assert_eq!((row.status.as_str(), row.attempt), ("pending", attempt));
        assert_eq!(row.last_error.as_ref(), Some(&error));
        let delivery = app.delivery(event, endpoint).await;
        assert_eq!((delivery.attempt, delivery.lease_token), (attempt, None));
        assert_eq!(delivery.next_attempt_at, row.next_retry_at);
        let delay = row.next_retry_at.unwrap() - app.clock.now();
        let exact = TimeDelta::minutes(minutes);
        assert!(
            delay >= exact * 9 / 10 && delay <= exact * 11 / 10,
            "{delay}"
        );
        // Not a moment sooner.
        app.clock
            .set(row.next_retry_at.unwrap() - TimeDelta::milliseconds(1));
        assert_eq!(app.sweep().await.scanned_outbox, 0);
        app.after(Duration::from_millis(1)).await;
    }
    let row = app.outbox_row(event).await;
    assert_eq!((row.status.as_str(), row.attempt), ("failed", 3));
    assert_eq!(
        (row.next_retry_at, row.last_error.as_ref()),
        (None, Some(&error))
    );
    let delivery = app.delivery(event, endpoint).await;
    assert_eq!((delivery.status.as_str(), delivery.attempt), ("failed", 3));
    app.after(Duration::from_hours(24)).await;
    assert_eq!(subscriber.count("/webhook"), 3);
    let attempts = app.attempts(event, endpoint).await;
    let numbers: Vec<_> = attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, [1, 2, 3]);

    let [line] = &log.of("callback_dead_letter")[..] else {
        panic!("one line")
    };
    assert_eq!(line["level"], "error");
    for (field, value) in [
        ("outboxId", json!(event)),
        ("organizationId", json!("org-1")),
        ("storeId", json!(store.id)),
        ("outboxEvent", json!("sync.completed")),
        ("endpointId", json!(endpoint)),
        ("lastError", json!(error)),
    ] {
        assert_eq!(line[field], value, "{field}");
    }
    let logged: Vec<_> = log
        .lines()
        .into_iter()
        .filter(|line| line["event"] == "callback_delivery")
        .map(|line| (line["attempt"].clone(), line["nextRetryAt"].is_null()))
        .collect();
    assert_eq!(
        logged,
        [(json!(0), false), (json!(1), false), (json!(2), true)]
    );
}

/// The schedule and the number of tries are settings; beyond the list its last step repeats.
#[rstest]
#[tokio::test]
async fn the_settings_say_how_often_and_when(#[values(Embedded, Server)] on: Profile) {
    let settings = [
        ("CALLBACK_BACKOFF_SECONDS", "10,20"),
        ("CALLBACK_MAX_ATTEMPTS", "5"),
    ];
    let app = TestApp::start_with(on, &settings).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    app.subscribe("sync.completed", &subscriber.url("/webhook"))
        .await;
    subscriber.answer("/webhook", [Status(500)]);
    let event = app.owe_events(store, 1).await[0];
    let mut delays = Vec::new();
    app.deliver(event).await.unwrap();
    while let Some(next) = app.outbox_row(event).await.next_retry_at {
        delays.push((next - app.clock.now()).as_seconds_f64());
        app.clock.set(next);
        app.deliver(event).await.unwrap();
    }
    let rounded: Vec<_> = delays.iter().map(|delay| (delay / 10.0).round()).collect();
    insta::allow_duplicates! {
        insta::assert_compact_debug_snapshot!(rounded, @"[1.0, 2.0, 2.0, 2.0]");
    }
    assert_eq!(app.outbox_row(event).await.status, "failed");
}

/// What failed at the same moment does not come back at the same moment; and a test can tell when.
#[rstest]
#[tokio::test]
async fn retries_are_spread_by_a_seeded_chance(#[values(Embedded, Server)] on: Profile) {
    let delays = async |seed| {
        let mut app = TestApp::build(on, &[], |app| app.jitter = Jitter::seeded(seed)).await;
        // Each delivery brings the next one.
        app.leave_jobs();
        let subscriber = Subscriber::start().await;
        let store = app.register("shop").await;
        app.subscribe("sync.completed", &subscriber.url("/webhook"))
            .await;
        subscriber.answer("/webhook", [Status(500)]);
        let mut delays = Vec::new();
        for event in app.owe_events(store, 5).await {
            app.deliver(event).await.unwrap();
            let next = app.outbox_row(event).await.next_retry_at;
            delays.push(next.unwrap() - app.clock.now());
        }
        delays
    };
    let first = delays(1).await;
    assert!(first.iter().any(|delay| *delay != first[0]), "{first:?}");
    assert_eq!(first, delays(1).await);
}

/// 429 and 503 may ask for more time, up to an hour.
#[rstest]
#[tokio::test]
async fn retry_after_is_honoured_up_to_an_hour(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    app.subscribe("sync.completed", &subscriber.url("/webhook"))
        .await;
    for (status, header, minutes) in [
        (429, "retry-after: 600\r\n", 10),
        (503, "retry-after: Mon, 01 Jan 2024 12:20:00 GMT\r\n", 20),
        (503, "retry-after: 86400\r\n", 60),
        (429, "retry-after: soon\r\n", 1),
        (500, "retry-after: 600\r\n", 1),
    ] {
        subscriber.answer("/webhook", [Full(status, header, Vec::new())]);
        let event = app.owe_events(store, 1).await[0];
        app.deliver(event).await.unwrap();
        let delay = app.outbox_row(event).await.next_retry_at.unwrap() - app.clock.now();
        let off = (delay.as_seconds_f64() / 60.0 - f64::from(minutes)).abs();
        assert!(off <= 0.1, "{status} {header}: {delay}");
    }
}

/// 410 says that the endpoint is no more. What it is owed is kept, and delivered when somebody
/// says that it is back.
#[rstest]
#[tokio::test]
async fn an_endpoint_that_is_gone_is_deactivated_and_gets_everything_when_it_is_back(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    let endpoint = app
        .subscribe("sync.completed", &subscriber.url("/webhook"))
        .await;
    subscriber.answer("/webhook", [Status(410), Status(200)]);
    let first = app.owe_events(store, 1).await[0];
    let log = Log::capture();
    app.deliver(first).await.unwrap();
    let [line] = &log.of("webhook_gone")[..] else {
        panic!("one line")
    };
    assert_eq!(line["endpointId"], endpoint.to_string());
    let row = app.endpoint(endpoint).await;
    assert_eq!(
        (row.is_active, row.inactive_reason.as_deref()),
        (false, Some("gone"))
    );

    // Recorded while it was away, by a run.
    app.insert_row(store, "r1", "failed", 3600).await;
    app.run(store).await.unwrap();
    app.after(Duration::from_hours(48)).await;
    app.deliver(first).await.unwrap();
    assert_eq!(subscriber.count("/webhook"), 1);
    assert_eq!(app.deliveries_with(endpoint, "pending").await, 2);

    app.change_endpoint(endpoint, &json!({ "isActive": true }))
        .await;
    app.after(Duration::ZERO).await;
    assert_eq!(subscriber.count("/webhook"), 3);
    assert_eq!(app.deliveries_with(endpoint, "success").await, 2);
}
