//! What a `callback` tick enqueues.

use std::time::Duration;

use chrono::TimeDelta;
use jobs::{DeliverCallback, Job};
use marketplace_sync::config::Settings;
use marketplace_sync::webhooks::enqueue_due_events;
use marketplace_sync::worker::run_jobs_until_empty;
use rstest::rstest;
use serde_json::json;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};
use crate::support::deliveries::spawn_delivery;
use crate::support::lock::Lock;
use crate::support::log::Log;
use crate::support::runs::until;
use crate::support::subscriber::Answer::Status;
use crate::support::subscriber::Subscriber;

const QUEUE: &str = DeliverCallback::QUEUE;

/// A-70, 7.7: all of them in one pass, each once.
#[rstest]
#[tokio::test]
async fn one_pass_enqueues_250_events_and_the_next_one_none(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    app.subscribe("sync.completed", &subscriber.url("/webhook"))
        .await;
    app.owe_events(store, 250).await;
    let log = Log::capture();
    let pass = app.sweep().await;
    assert_eq!((pass.scanned_outbox, pass.enqueued_jobs), (250, 250));
    assert_eq!(app.app.queue.waiting(QUEUE).await.unwrap(), 250);
    let again = app.sweep().await;
    assert_eq!((again.scanned_outbox, again.enqueued_jobs), (250, 0));
    let lines = log.of("callback_scheduler_run");
    assert_eq!(lines[0]["scannedOutbox"], 250);
    assert_eq!(lines[0]["enqueuedJobs"], 250);
    assert_eq!(lines[0]["oldestPendingSeconds"], 249);
    assert_eq!(lines[1]["enqueuedJobs"], 0);
    assert!(app.run_jobs().await >= 250);
    assert_eq!(subscriber.count("/webhook"), 250);
    let pass = app.sweep().await;
    assert_eq!(
        (pass.scanned_outbox, pass.oldest_pending_seconds),
        (0, None)
    );
}

/// An event that is due to several endpoints is one event.
#[rstest]
#[tokio::test]
async fn an_event_of_several_endpoints_is_enqueued_once(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    for path in ["/a", "/b", "/c"] {
        app.subscribe("sync.completed", &subscriber.url(path)).await;
    }
    app.owe_events(store, 120).await;
    let pass = app.sweep().await;
    assert_eq!((pass.scanned_outbox, pass.enqueued_jobs), (120, 120));
    app.run_jobs().await;
    for path in ["/a", "/b", "/c"] {
        assert_eq!(subscriber.count(path), 120);
    }
    // Though the outcomes of each event were written at the same time.
    let outbox = app.outbox().await;
    assert!(outbox.iter().all(|event| event.status == "success"));
}

#[rstest]
#[tokio::test]
async fn passes_at_the_same_time_never_enqueue_an_event_twice(
    #[values(Embedded, Server)] on: Profile,
) {
    let mut app = TestApp::start(on).await;
    app.leave_jobs();
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    app.subscribe("sync.completed", &subscriber.url("/webhook"))
        .await;
    // A first pass notes which queue it is.
    app.sweep().await;
    app.owe_events(store, 150).await;
    let mut passes = Vec::new();
    for _ in 0..4 {
        let process = app.other_process().await;
        passes.push(tokio::spawn(
            async move { enqueue_due_events(&process).await },
        ));
    }
    let mut enqueued = 0;
    for pass in passes {
        let pass = pass.await.unwrap().unwrap();
        assert_eq!((pass.scanned_outbox, pass.failed_jobs), (150, 0));
        enqueued += pass.enqueued_jobs;
    }
    assert_eq!(enqueued, 150);
    assert_eq!(app.app.queue.waiting(QUEUE).await.unwrap(), 150);
}

/// The queue stays small; what does not fit waits as rows and loses nothing.
#[rstest]
#[tokio::test]
async fn a_pass_fills_the_queue_and_no_more_and_nobody_starves(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let process = app.process_with_depth(40).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    let first = app.subscribe("sync.completed", &subscriber.url("/a")).await;
    app.owe_events(store, 100).await;
    app.change_endpoint(first, &json!({ "isActive": false }))
        .await;
    let second = app.subscribe("sync.completed", &subscriber.url("/b")).await;
    app.execute("UPDATE webhook_endpoints SET is_active = CAST('1' AS BOOLEAN)")
        .await;
    app.owe_events(store, 1).await;
    let pass = enqueue_due_events(&process).await.unwrap();
    assert_eq!((pass.enqueued_jobs, pass.is_cut_short), (40, true));
    assert_eq!(app.app.queue.waiting(QUEUE).await.unwrap(), 40);
    let full = enqueue_due_events(&process).await.unwrap();
    assert_eq!((full.enqueued_jobs, full.is_cut_short), (0, true));
    let mut passes = 0;
    while app
        .count("SELECT COUNT(*) FROM callback_outbox WHERE status = 'pending'")
        .await
        > 0
    {
        app.run_jobs().await;
        enqueue_due_events(&process).await.unwrap();
        passes += 1;
        assert!(passes < 10);
    }
    assert_eq!(app.deliveries_with(first, "success").await, 101);
    assert_eq!(app.deliveries_with(second, "success").await, 1);
}

/// What is inactive costs nothing, and is owed everything when it is back.
#[rstest]
#[tokio::test]
async fn events_of_an_inactive_endpoint_are_kept_until_it_is_back(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    let endpoint = app
        .subscribe("sync.completed", &subscriber.url("/webhook"))
        .await;
    app.change_endpoint(endpoint, &json!({ "isActive": false }))
        .await;
    app.insert_row(store, "r1", "failed", 3600).await;
    app.run(store).await.unwrap();
    let events = app.outbox().await;
    assert_eq!(events[1].status, "pending");
    assert_eq!(events[1].enqueued_until, None);
    assert_eq!(app.app.queue.waiting(QUEUE).await.unwrap(), 0);
    app.after(Duration::from_hours(240)).await;
    app.deliver(events[1].id).await.unwrap();
    assert_eq!(subscriber.count("/webhook"), 0);
    app.change_endpoint(endpoint, &json!({ "isActive": true }))
        .await;
    app.after(Duration::ZERO).await;
    assert_eq!(subscriber.events("/webhook"), [events[1].id.to_string()]);
}

/// While something is on the way, it brings the next events itself: a tick adds little.
#[rstest]
#[tokio::test]
async fn a_pass_adds_little_to_what_is_being_sent(#[values(Embedded, Server)] on: Profile) {
    let mut app = TestApp::start(on).await;
    app.leave_jobs();
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    app.subscribe("sync.completed", &subscriber.url("/webhook"))
        .await;
    let events = app.owe_events(store, 100).await;
    subscriber.hold("/webhook");
    let job = spawn_delivery(&app.app, events[0]);
    subscriber.has_received("/webhook", 1).await;
    assert_eq!(app.sweep().await.enqueued_jobs, 8);
    subscriber.release("/webhook");
    job.await.unwrap().unwrap();
}

/// A flushed Redis, dropped job tables: what the slots stand for is gone.
#[rstest]
#[tokio::test]
async fn slots_end_by_themselves_and_with_the_queue(#[values(Embedded, Server)] on: Profile) {
    let mut app = TestApp::start(on).await;
    app.leave_jobs();
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    app.subscribe("sync.completed", &subscriber.url("/webhook"))
        .await;
    app.sweep().await;
    app.owe_events(store, 3).await;
    assert_eq!(app.sweep().await.enqueued_jobs, 3);
    let slot = app.outbox().await[0].enqueued_until.unwrap();
    assert_eq!(slot, app.clock.now() + TimeDelta::minutes(15));
    app.execute("DELETE FROM queue_epochs").await;
    let log = Log::capture();
    assert_eq!(app.sweep().await.enqueued_jobs, 3);
    let [lost] = &log.of("queue_lost")[..] else {
        panic!("one line")
    };
    assert_eq!((&lost["queue"], &lost["freed"]), (&json!(QUEUE), &json!(3)));
    app.clock.advance(Duration::from_mins(16));
    assert_eq!(app.sweep().await.enqueued_jobs, 3);
}

/// A failure after the commit costs a tick, and the run nothing (WH-3).
#[rstest]
#[tokio::test]
async fn an_event_that_could_not_be_enqueued_waits_for_the_next_pass(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    app.subscribe("sync.completed", &subscriber.url("/webhook"))
        .await;
    app.insert_row(store, "r1", "failed", 3600).await;
    app.refuse_pushes(QUEUE).await;
    let log = Log::capture();
    app.run(store).await.unwrap();
    let event = app.outbox().await.pop().unwrap();
    let [line] = &log.of("callback_enqueue_failed")[..] else {
        panic!("one line")
    };
    assert_eq!(line["outboxId"], event.id.to_string());
    assert!(!line["error"].as_str().unwrap().is_empty());
    let pass = app.sweep().await;
    assert_eq!((pass.enqueued_jobs, pass.failed_jobs), (0, 1));
    app.accept_pushes(QUEUE).await;
    assert_eq!(app.sweep().await.enqueued_jobs, 1);
    app.run_jobs().await;
    assert_eq!(subscriber.events("/webhook"), [event.id.to_string()]);
}

/// A job that fails frees its event for the next pass.
#[rstest]
#[tokio::test]
async fn an_event_whose_job_failed_is_enqueued_again(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    app.subscribe("sync.completed", &subscriber.url("/webhook"))
        .await;
    subscriber.answer("/webhook", [Status(200)]);
    let event = app.owe_events(store, 1).await[0];
    app.execute("ALTER TABLE callback_attempts RENAME TO attempts_away")
        .await;
    assert_eq!(app.sweep().await.enqueued_jobs, 1);
    app.run_jobs().await;
    assert_eq!(app.outbox_row(event).await.enqueued_until, None);
    app.execute("ALTER TABLE attempts_away RENAME TO callback_attempts")
        .await;
    assert_eq!(
        app.sweep().await.enqueued_jobs,
        0,
        "its lease is still there"
    );
    app.after(Duration::from_secs(15)).await;
    assert_eq!(app.outbox_row(event).await.status, "success");
    assert_eq!(subscriber.events("/webhook"), vec![event.to_string(); 2]);
}

/// So does one that panics.
#[rstest]
#[tokio::test]
async fn an_event_whose_job_panicked_is_enqueued_again(#[values(Embedded, Server)] on: Profile) {
    // No instant is that far away.
    let app = TestApp::build(on, &[], |app| {
        app.settings.callback.timeout = Duration::MAX;
    })
    .await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    app.subscribe("sync.completed", &subscriber.url("/webhook"))
        .await;
    let event = app.owe_events(store, 1).await[0];
    assert_eq!(app.sweep().await.enqueued_jobs, 1);
    let log = Log::capture();
    assert_eq!(app.run_jobs().await, 1);
    let [line] = &log.of("job_failed")[..] else {
        panic!("one line")
    };
    assert_eq!(line["error"], "the work was interrupted");
    assert_eq!(app.outbox_row(event).await.enqueued_until, None);
    assert_eq!(app.sweep().await.enqueued_jobs, 1, "at once");
    let usual = |settings: &mut Settings| settings.callback.timeout = Duration::from_secs(5);
    let process = app.other_process_with(usual).await;
    assert_eq!(run_jobs_until_empty(&process).await.unwrap(), 1);
    assert_eq!(subscriber.events("/webhook"), [event.to_string()]);
}

/// Whoever has the event locked just then is waited for: else its slot stays taken, and nobody
/// enqueues it for a while.
#[tokio::test]
async fn a_job_that_failed_waits_for_its_event_to_free_it() {
    // No instant is that far away.
    let mut app = TestApp::build(Server, &[], |app| {
        app.settings.callback.timeout = Duration::MAX;
    })
    .await;
    let store = app.register("shop").await;
    app.subscribe("sync.completed", "https://example.com/")
        .await;
    let event = app.owe_events(store, 1).await[0];
    assert_eq!(app.sweep().await.enqueued_jobs, 1);
    app.leave_jobs();
    let log = Log::capture();
    let lock = Lock::take_event(&app.app.db, event).await;
    let job = spawn_delivery(&app.app, event);
    until(async || job.is_finished() || log.text().contains("cannot be freed yet")).await;
    assert!(!job.is_finished(), "its slot is taken still");
    lock.release().await;
    job.await.unwrap().unwrap_err();
    assert_eq!(app.outbox_row(event).await.enqueued_until, None);
}
