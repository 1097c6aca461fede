//! A process that dies between any two steps loses nothing, and repeats little.

use std::collections::HashMap;
use std::time::Duration;

use rstest::rstest;
use uuid::Uuid;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};
use crate::support::deliveries::{deliver_in, killed_after, spawn_delivery};
use crate::support::log::Log;
use crate::support::runs::run_in;
use crate::support::subscriber::Answer::Status;
use crate::support::subscriber::Subscriber;

/// More than the waits of any piece of work here.
const MANY: usize = 500;

/// A-69, D-35: killed at each place where a delivery waits for anything; then time passes, and
/// the next pass finishes it. Who gets it twice can tell by its id.
#[rstest]
#[tokio::test]
async fn a_delivery_that_is_killed_anywhere_is_finished_by_the_next_pass(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    for path in ["/a", "/b"] {
        app.subscribe("sync.completed", &subscriber.url(path)).await;
    }
    let mut repeated = 0;
    let mut waits = 0;
    for _ in 0..10 * MANY {
        let event = app.owe_events(store, 1).await[0];
        // A process of its own: what it had in memory is gone with it.
        let process = app.other_process().await;
        let outcome = killed_after(waits, deliver_in(&process, event)).await;
        process.db.close().await;
        app.after(Duration::from_secs(16)).await;
        assert_eq!(app.outbox_row(event).await.status, "success", "{waits}");
        for path in ["/a", "/b"] {
            let id = event.to_string();
            let events = subscriber.events(path);
            let times = events.iter().filter(|it| **it == id).count();
            assert!(
                (1..=2).contains(&times),
                "{times} times, killed after {waits}"
            );
            repeated += times - 1;
        }
        if outcome.is_some() {
            assert!(waits > 0, "it never waited");
            if repeated > 0 {
                return;
            }
            // How often it waits depends on who is faster: once more.
            waits = 0;
        }
        waits += 1;
    }
    panic!("no kill came between request and outcome");
}

/// killed before its commit an event was never there; after it, it arrives. The same for
/// the run as a whole: each of its events is complete and arrives once its time has come.
#[rstest]
#[tokio::test]
async fn a_run_that_is_killed_anywhere_loses_no_event_that_it_recorded(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    for event in ["sync.started", "sync.completed"] {
        app.subscribe(event, &subscriber.url("/webhook")).await;
    }
    for waits in 0..MANY {
        let store = app.register(&format!("shop-{waits}")).await;
        app.insert_row(store, "r1", "failed", 3600).await;
        let process = app.other_process().await;
        let outcome = Box::pin(killed_after(waits, run_in(&process, store))).await;
        process.db.close().await;
        let row = app.row(store, "r1").await.unwrap();
        let names = app.event_names(store).await;
        let is_closed = names.iter().any(|name| name == "sync.completed");
        assert_eq!(
            row.status == "success",
            is_closed,
            "{names:?} after {waits}"
        );
        // The lease of the run, its slot, and the slots of its events are over.
        app.clock.advance(Duration::from_mins(1));
        app.schedule().await;
        app.after(Duration::ZERO).await;
        let row = app.row(store, "r1").await.unwrap();
        assert_eq!(row.status, "success", "{waits}");
        if outcome.is_some() {
            assert!(waits > 0, "it never waited");
            // On a busy machine it may wait less often than it could.
            if waits > 10 {
                assert_all_arrived(&app, &subscriber).await;
                return;
            }
        }
    }
    panic!("it never got to its end");
}

/// Every event arrived, and none that is not there.
async fn assert_all_arrived(app: &TestApp, subscriber: &Subscriber) {
    let mut received: HashMap<Uuid, usize> = HashMap::new();
    for event in subscriber.events("/webhook") {
        *received.entry(event.parse().unwrap()).or_default() += 1;
    }
    let outbox = app.outbox().await;
    for event in &outbox {
        assert_eq!(event.status, "success");
        assert!(received.contains_key(&event.id), "{event:?}");
    }
    assert_eq!(received.len(), outbox.len());
}

/// Two ticks and a crash later: the slots of a pass that died.
#[rstest]
#[tokio::test]
async fn a_pass_that_is_killed_anywhere_delays_events_by_half_a_minute(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    app.subscribe("sync.completed", &subscriber.url("/webhook"))
        .await;
    for waits in 0..MANY {
        let event = app.owe_events(store, 1).await[0];
        let process = app.other_process().await;
        let pass = marketplace_sync::webhooks::enqueue_due_events(&process);
        let outcome = killed_after(waits, pass).await;
        process.db.close().await;
        app.after(Duration::from_secs(30)).await;
        assert_eq!(app.outbox_row(event).await.status, "success", "{waits}");
        if outcome.is_some() {
            assert!(waits > 0, "it never waited");
            // On a busy machine it may wait less often than it could.
            if waits > 5 {
                return;
            }
        }
    }
    panic!("it never got to its end");
}

/// A process that stalls longer than its lease lasts has lost it: what it learns is not written
/// over what the next one did.
#[rstest]
#[tokio::test]
async fn a_delivery_that_stalled_writes_nothing_over_the_one_after_it(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    let endpoint = app
        .subscribe("sync.completed", &subscriber.url("/webhook"))
        .await;
    subscriber.answer("/webhook", [Status(500), Status(200)]);
    subscriber.hold("/webhook");
    let event = app.owe_events(store, 1).await[0];
    let log = Log::capture();
    let stalled = spawn_delivery(&app.app, event);
    subscriber.has_received("/webhook", 1).await;
    let other = app.other_process().await;
    app.clock.advance(Duration::from_secs(14));
    deliver_in(&other, event).await.unwrap();
    assert_eq!(subscriber.count("/webhook"), 1, "its lease still holds");
    app.clock.advance(Duration::from_secs(1));
    let next = spawn_delivery(&other, event);
    subscriber.has_received("/webhook", 2).await;
    subscriber.release("/webhook");
    for job in [stalled, next] {
        job.await.unwrap().unwrap();
    }
    let [line] = &log.of("delivery_lease_lost")[..] else {
        panic!("one line")
    };
    assert_eq!(line["endpointId"], endpoint.to_string());
    assert_eq!(app.attempts(event, endpoint).await.len(), 1);
}
