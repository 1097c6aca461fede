//! One job a store: who holds the slot, and when it is free again.

use std::time::Duration;

use chrono::TimeDelta;
use jobs::{StoreId, SyncStore};
use marketplace_sync::marketplace::enqueue_due_stores;
use marketplace_sync::marketplace::queries::schedule::claim_slots;
use rstest::rstest;
use uuid::Uuid;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};
use crate::support::log::Log;
use crate::support::runs::spawn_run;

const QUEUE: &str = "sync-store-queue";

#[rstest]
#[tokio::test]
async fn passes_at_the_same_time_never_enqueue_a_store_twice(
    #[values(Embedded, Server)] on: Profile,
) {
    let mut app = TestApp::start(on).await;
    app.leave_jobs();
    app.insert_due_stores(150).await;
    let mut passes = Vec::new();
    for _ in 0..4 {
        let process = app.other_process().await;
        passes.push(tokio::spawn(
            async move { enqueue_due_stores(&process).await },
        ));
    }
    let mut enqueued = 0;
    for pass in passes {
        let pass = pass.await.unwrap().unwrap();
        assert_eq!((pass.scanned_stores, pass.failed_jobs), (150, 0));
        enqueued += pass.enqueued_jobs;
    }
    assert_eq!(enqueued, 150);
    assert_eq!(app.app.queue.waiting(QUEUE).await.unwrap(), 150);
}

/// The process died between taking the slot and pushing the job.
#[rstest]
#[tokio::test]
async fn a_slot_without_a_job_is_free_after_half_a_minute(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    // A first pass notes which queue it is.
    app.schedule().await;
    app.insert_due_stores(1).await;
    let store = StoreId(Uuid::from_u128(1));
    let now = app.clock.now();
    let mut tx = app.app.db.write().await.unwrap();
    let claimed = claim_slots(&mut tx, &[store], now + TimeDelta::seconds(30), now)
        .await
        .unwrap();
    tx.save().await.unwrap();
    assert!(claimed.contains(&store));
    assert_eq!(app.schedule().await.enqueued_jobs, 0);
    app.clock.advance(Duration::from_secs(30));
    assert_eq!(app.schedule().await.enqueued_jobs, 1);
    assert_eq!(app.run_jobs().await, 1);
}

#[rstest]
#[tokio::test]
async fn the_slot_of_a_job_that_waits_lasts_a_quarter_of_an_hour(
    #[values(Embedded, Server)] on: Profile,
) {
    let mut app = TestApp::start(on).await;
    app.leave_jobs();
    app.insert_due_stores(1).await;
    assert_eq!(app.schedule().await.enqueued_jobs, 1);
    app.clock
        .advance(Duration::from_mins(15) - Duration::from_millis(1));
    assert_eq!(app.schedule().await.enqueued_jobs, 0);
    app.clock.advance(Duration::from_millis(1));
    assert_eq!(app.schedule().await.enqueued_jobs, 1);
}

#[rstest]
#[tokio::test]
async fn a_store_that_runs_is_enqueued_already_and_free_when_it_is_done(
    #[values(Embedded, Server)] on: Profile,
) {
    let settings = [
        ("SYNC_BACKOFF_BASE_SECONDS", "0"),
        ("SYNC_THROTTLE_SECONDS", "0"),
    ];
    let app = TestApp::start_with(on, &settings).await;
    let store = app.register("shop").await;
    app.insert_row(store, "r1", "failed", 3600).await;
    app.schedule().await;
    app.run_jobs().await;
    app.insert_row(store, "r2", "failed", 3600).await;
    app.marketplace.hold();
    let logs = Log::capture();
    let run = spawn_run(&app.app, store);
    app.marketplace.in_flight(1).await;
    app.insert_row(store, "r3", "failed", 60).await;
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(app.schedule().await.enqueued_jobs, 0);
    assert_eq!(logs.count("already_enqueued"), 1);
    app.marketplace.release();
    run.await.unwrap().unwrap();
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(
        app.schedule().await.enqueued_jobs,
        1,
        "at once, not after minutes"
    );
    assert_eq!(app.run_jobs().await, 1);
    assert_eq!(app.row(store, "r3").await.unwrap().status, "success");
}

/// A job that nobody claimed a slot for does no harm either.
#[rstest]
#[tokio::test]
async fn the_same_job_twice_is_one_run(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_row(store, "r1", "failed", 3600).await;
    let job = SyncStore { store_id: store.id };
    app.app.queue.push(&[job, job, job]).await.unwrap();
    assert_eq!(app.run_jobs().await, 3);
    assert_eq!(app.marketplace.calls().len(), 1);
    assert_eq!(app.events(store).await.len(), 2);
    assert_eq!(app.store_row(store).await.imported_success_count, 1);
}
