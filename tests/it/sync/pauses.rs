//! A marketplace that says for how long it wants to be left in peace.

use std::time::Duration;

use chrono::TimeDelta;
use rstest::rstest;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};
use crate::support::log::Log;
use crate::support::scripted_connector::{rate_limited, valid};

const TWO_MINUTES: Duration = Duration::from_mins(2);

#[rstest]
#[tokio::test]
async fn a_pause_ends_the_run_and_keeps_the_store_out_of_the_queue(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start_with(on, &[("SYNC_ROW_CONCURRENCY", "1")]).await;
    let store = app.register("shop").await;
    app.insert_due_rows(store, 3).await;
    app.marketplace
        .reply("r0001", [rate_limited(Some(TWO_MINUTES)), valid("r0001")]);
    app.run(store).await.unwrap();
    assert_eq!(
        app.marketplace.calls().len(),
        1,
        "the others were left in peace"
    );
    let until = app.clock.now() + TimeDelta::minutes(2);
    assert_eq!(app.store_row(store).await.paused_until, Some(until));
    let events = app.events(store).await;
    assert_eq!(events[1].1["data"]["rateLimitedCount"], 1);
    assert_eq!(events[1].1["data"]["remainingBacklog"], true);

    app.clock.set(until - TimeDelta::milliseconds(1));
    assert_eq!(app.schedule().await.scanned_stores, 0);
    app.clock.set(until);
    assert_eq!(app.schedule().await.enqueued_jobs, 1);
    assert_eq!(app.run_jobs().await, 1);
    assert_eq!(app.store_row(store).await.imported_success_count, 2);
    assert_eq!(
        app.marketplace.calls_of("r0001"),
        1,
        "its own backoff is longer"
    );
}

/// All rows of the batch were asked about already when the marketplace said so.
#[rstest]
#[tokio::test]
async fn a_pause_holds_for_the_next_batch_too(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start_with(on, &[("SYNC_CHUNK_SIZE", "2")]).await;
    let store = app.register("shop").await;
    app.insert_due_rows(store, 5).await;
    app.marketplace
        .reply("r0002", [rate_limited(Some(TWO_MINUTES))]);
    let logs = Log::capture();
    app.run(store).await.unwrap();
    assert_eq!(app.marketplace.calls().len(), 2);
    assert_eq!(logs.count("sync_store_batch"), 1);
    assert_eq!(logs.count("job_completed"), 1);
    let events = app.events(store).await;
    assert_eq!(events.len(), 2);
    assert_eq!(events[1].1["data"]["remainingBacklog"], true);
}

#[rstest]
#[case::longer_than_the_backoff(20, 20)]
#[case::shorter_than_the_backoff(2, 5)]
#[tokio::test]
async fn a_receipt_waits_for_the_longer_of_backoff_and_pause(
    #[case] pause: u64,
    #[case] wait: i64,
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_row(store, "r1", "pending", 1).await;
    let pause = Duration::from_mins(pause);
    app.marketplace.reply("r1", [rate_limited(Some(pause))]);
    app.run(store).await.unwrap();
    let row = app.row(store, "r1").await.unwrap();
    assert_eq!(
        row.next_retry_at,
        Some(app.clock.now() + TimeDelta::minutes(wait))
    );
    assert_eq!(row.attempt, 1);
}

#[rstest]
#[tokio::test]
async fn a_limit_without_a_time_pauses_nobody(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start_with(on, &[("SYNC_ROW_CONCURRENCY", "1")]).await;
    let store = app.register("shop").await;
    app.insert_due_rows(store, 3).await;
    app.marketplace.reply("r0001", [rate_limited(None)]);
    app.run(store).await.unwrap();
    assert_eq!(app.marketplace.calls().len(), 3);
    assert_eq!(app.store_row(store).await.paused_until, None);
}

/// The job was in the queue already when an import heard of the pause.
#[rstest]
#[tokio::test]
async fn a_job_that_waits_when_a_pause_begins_asks_nobody(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_row(store, "r1", "failed", 3600).await;
    assert_eq!(app.schedule().await.enqueued_jobs, 1);
    app.marketplace
        .reply("r2", [rate_limited(Some(TWO_MINUTES))]);
    app.import(store, "r2").await;
    assert_eq!(app.run_jobs().await, 1);
    assert_eq!(app.marketplace.calls_of("r1"), 0);
    assert_eq!(app.events(store).await, []);
    app.clock.advance(TWO_MINUTES);
    assert_eq!(app.schedule().await.enqueued_jobs, 1);
    assert_eq!(app.run_jobs().await, 1);
    assert_eq!(app.row(store, "r1").await.unwrap().status, "success");
}
