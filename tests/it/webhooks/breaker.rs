//! An endpoint that fails again and again is left in peace, and gets one chance at a time.

use std::time::Duration;

use chrono::TimeDelta;
use rstest::rstest;
use serde_json::json;
use uuid::Uuid;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};
use crate::support::deliveries::spawn_delivery;
use crate::support::log::Log;
use crate::support::subscriber::Answer::{Hang, Status};
use crate::support::subscriber::Subscriber;

const PATH: &str = "/webhook";

/// An endpoint that answers 500, and so many events that it is owed.
async fn failing(app: &TestApp, events: u32) -> (Subscriber, Uuid) {
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    let endpoint = app.subscribe("sync.completed", &subscriber.url(PATH)).await;
    subscriber.answer(PATH, [Status(500)]);
    app.owe_events(store, events).await;
    (subscriber, endpoint)
}

#[rstest]
#[tokio::test]
async fn ten_failures_in_a_row_open_it_and_cost_the_rest_nothing(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let (subscriber, endpoint) = failing(&app, 100).await;
    let log = Log::capture();
    app.after(Duration::ZERO).await;
    // Those that were on the way already when the tenth failed.
    let sent = subscriber.count(PATH);
    assert!((10..=17).contains(&sent), "{sent}");
    let row = app.endpoint(endpoint).await;
    assert_eq!(row.consecutive_failures, 10);
    assert_eq!(
        row.open_until,
        Some(app.clock.now() + TimeDelta::seconds(60))
    );
    assert!(log.count("webhook_paused") >= 1);
    let untouched = app
        .count("SELECT COUNT(*) FROM callback_deliveries WHERE status = 'pending' AND attempt = 0")
        .await;
    assert_eq!(usize::try_from(untouched).unwrap(), 100 - sent);

    app.clock.advance(Duration::from_secs(59));
    let pass = app.sweep().await;
    assert_eq!((pass.scanned_outbox, pass.enqueued_jobs), (0, 0));
    assert_eq!(app.run_jobs().await, 0);
    for event in app.outbox().await {
        app.deliver(event.id).await.unwrap();
    }
    assert_eq!(subscriber.count(PATH), sent);
}

/// One probe, and if it fails, twice the time; never more than an hour.
#[rstest]
#[tokio::test]
async fn every_failed_probe_doubles_the_pause(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let (subscriber, endpoint) = failing(&app, 60).await;
    app.after(Duration::ZERO).await;
    let mut sent = subscriber.count(PATH);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        let open_until = app.endpoint(endpoint).await.open_until.unwrap();
        app.clock.set(open_until);
        app.after(Duration::ZERO).await;
        sent += 1;
        assert_eq!(subscriber.count(PATH), sent, "one probe");
        let open_until = app.endpoint(endpoint).await.open_until.unwrap();
        pauses.push((open_until - app.clock.now()).num_seconds());
    }
    insta::allow_duplicates! {
        insta::assert_compact_debug_snapshot!(pauses, @"[120, 240, 480, 960, 1920, 3600, 3600]");
    }
}

/// Whoever asks, in whichever process.
#[rstest]
#[tokio::test]
async fn only_one_probe_is_let_through_at_a_time(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let (subscriber, endpoint) = failing(&app, 40).await;
    app.after(Duration::ZERO).await;
    let sent = subscriber.count(PATH);
    app.clock.advance(Duration::from_mins(20));
    subscriber.hold(PATH);
    let other = app.other_process().await;
    let pending = app
        .outbox()
        .await
        .into_iter()
        .filter(|it| it.status == "pending");
    let jobs: Vec<_> = pending
        .enumerate()
        .map(|(number, event)| {
            let process = if number % 2 == 0 { &app.app } else { &other };
            spawn_delivery(process, event.id)
        })
        .collect();
    subscriber.has_received(PATH, sent + 1).await;
    assert!(app.endpoint(endpoint).await.open_until.unwrap() > app.clock.now());
    let mut ended = 0;
    let jobs_but_one = jobs.len() - 1;
    crate::support::runs::until(async || {
        ended = jobs.iter().filter(|job| job.is_finished()).count();
        ended == jobs_but_one
    })
    .await;
    subscriber.release(PATH);
    for job in jobs {
        job.await.unwrap().unwrap();
    }
    assert_eq!(subscriber.count(PATH), sent + 1);
}

#[rstest]
#[tokio::test]
async fn a_probe_that_succeeds_closes_it_and_brings_the_backlog(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let (subscriber, endpoint) = failing(&app, 100).await;
    app.after(Duration::ZERO).await;
    let sent = subscriber.count(PATH);
    subscriber.answer(PATH, [Status(200)]);
    app.clock.advance(Duration::from_mins(10));
    let pass = app.sweep().await;
    assert_eq!((pass.scanned_outbox, pass.enqueued_jobs), (1, 1));
    let log = Log::capture();
    // One job was enqueued; each delivery brings the next ones.
    app.run_jobs().await;
    assert_eq!(log.count("webhook_resumed"), 1);
    assert_eq!(subscriber.count(PATH), sent + 100);
    assert_eq!(app.deliveries_with(endpoint, "success").await, 100);
    let row = app.endpoint(endpoint).await;
    assert_eq!((row.consecutive_failures, row.open_until), (0, None));
}

/// A success in between starts the count anew.
#[rstest]
#[tokio::test]
async fn only_failures_in_a_row_count(#[values(Embedded, Server)] on: Profile) {
    let mut app = TestApp::start(on).await;
    // Each delivery brings the next one.
    app.leave_jobs();
    let (subscriber, endpoint) = failing(&app, 19).await;
    let mut answers = vec![Status(500); 9];
    answers.push(Status(200));
    answers.extend(vec![Status(500); 9]);
    subscriber.answer(PATH, answers);
    for event in app.outbox().await {
        app.deliver(event.id).await.unwrap();
    }
    assert_eq!(subscriber.count(PATH), 19);
    let row = app.endpoint(endpoint).await;
    assert_eq!((row.consecutive_failures, row.open_until), (9, None));
}

/// A probe whose process died is followed by another one when its lease is over.
#[rstest]
#[tokio::test]
async fn a_probe_that_was_lost_is_followed_by_another(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let (subscriber, endpoint) = failing(&app, 40).await;
    app.after(Duration::ZERO).await;
    let sent = subscriber.count(PATH);
    subscriber.answer(PATH, [Hang]);
    app.clock.advance(Duration::from_mins(10));
    let due = app
        .outbox()
        .await
        .into_iter()
        .find(|it| it.attempt == 0)
        .unwrap();
    let job = spawn_delivery(&app.app, due.id);
    subscriber.has_received(PATH, sent + 1).await;
    job.abort();
    assert!(job.await.unwrap_err().is_cancelled());
    app.after(Duration::from_secs(14)).await;
    assert_eq!(subscriber.count(PATH), sent + 1);
    subscriber.answer(PATH, [Status(200)]);
    app.after(Duration::from_secs(1)).await;
    assert_eq!(app.deliveries_with(endpoint, "success").await, 40);
}

/// Whoever activates an endpoint gives it a clean record.
#[rstest]
#[tokio::test]
async fn an_endpoint_that_is_activated_is_sent_to_at_once(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let (subscriber, endpoint) = failing(&app, 30).await;
    app.after(Duration::ZERO).await;
    subscriber.answer(PATH, [Status(200)]);
    for is_active in [false, true] {
        app.change_endpoint(endpoint, &json!({ "isActive": is_active }))
            .await;
    }
    app.after(Duration::from_secs(1)).await;
    let never_tried = app
        .count("SELECT COUNT(*) FROM callback_deliveries WHERE status = 'pending' AND attempt = 0")
        .await;
    assert_eq!(never_tried, 0);
}
