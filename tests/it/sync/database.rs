//! A database that goes away under a run.

use std::time::Duration;

use marketplace_sync::worker::run_jobs_until_empty;
use rstest::rstest;
use serde_json::json;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};
use crate::support::log::Log;
use crate::support::runs::spawn_run;

/// nothing can be written, not even that the run is over.
#[rstest]
#[tokio::test]
async fn a_run_that_loses_its_database_is_made_up_for(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_row(store, "r1", "failed", 3600).await;
    app.marketplace.hold();
    let logs = Log::capture();
    let run = spawn_run(&app.app, store);
    app.marketplace.in_flight(1).await;
    app.execute("ALTER TABLE stores RENAME TO stores_away")
        .await;
    app.marketplace.release();
    assert!(run.await.unwrap().is_err());
    app.execute("ALTER TABLE stores_away RENAME TO stores")
        .await;
    let failed = logs.of("job_failed");
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["queue"], "sync-store-queue");
    assert_eq!(failed[0]["jobId"], format!("store:{}", store.id));
    assert_eq!(failed[0]["level"], "error");
    assert!(failed[0]["error"].is_string());
    assert_eq!(logs.count("job_completed"), 0);
    assert_eq!(app.event_names(store).await, ["sync.started"]);

    // Nobody could free the lease; it ends by itself.
    assert_eq!(app.schedule().await.enqueued_jobs, 0);
    app.clock.advance(Duration::from_secs(20));
    assert_eq!(app.schedule().await.enqueued_jobs, 1);
    assert_eq!(app.run_jobs().await, 1);
    assert_eq!(app.row(store, "r1").await.unwrap().status, "success");
}

/// the subscribers hear that a run broke off, and what it had done until then.
#[rstest]
#[tokio::test]
async fn a_run_that_breaks_off_says_so(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start_with(on, &[("SYNC_CHUNK_SIZE", "2")]).await;
    let store = app.register("shop").await;
    app.insert_due_rows(store, 3).await;
    app.marketplace.hold_only("r0003");
    let logs = Log::capture();
    let run = spawn_run(&app.app, store);
    app.marketplace.asked("r0003").await;
    app.execute("ALTER TABLE sync_logs RENAME TO sync_logs_away")
        .await;
    app.marketplace.release();
    assert!(run.await.unwrap().is_err());
    app.execute("ALTER TABLE sync_logs_away RENAME TO sync_logs")
        .await;
    let events = app.events(store).await;
    assert_eq!(events.len(), 2);
    assert_eq!(events[1].0, "sync.failed");
    assert_eq!(
        events[1].1["data"],
        json!({
            "syncStatus": "partial",
            "processedCount": 2,
            "successCount": 2,
            "failedCount": 0,
            "rateLimitedCount": 0,
            "importedOrders": 2,
            "remainingBacklog": true,
            "reason": "internal_error",
        })
    );
    assert_eq!(
        (logs.count("job_failed"), logs.count("sync_store_batch")),
        (1, 1)
    );
    let row = app.store_row(store).await;
    assert_eq!((row.lease_token, row.enqueued_until), (None, None));
    assert_eq!(row.imported_success_count, 2);
    app.run(store).await.unwrap();
    assert_eq!(app.store_row(store).await.imported_success_count, 3);
}

/// A job that fails is not run again by the queue: the row brings the store back.
#[rstest]
#[tokio::test]
async fn a_failed_job_never_stands_in_the_way_of_the_next(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_row(store, "r1", "failed", 3600).await;
    assert_eq!(app.schedule().await.enqueued_jobs, 1);
    app.execute("ALTER TABLE callback_outbox RENAME TO outbox_away")
        .await;
    assert_eq!(app.run_jobs().await, 1);
    assert_eq!(app.run_jobs().await, 0);
    app.execute("ALTER TABLE outbox_away RENAME TO callback_outbox")
        .await;
    assert_eq!(app.marketplace.calls().len(), 0, "it is announced first");
    assert_eq!(app.schedule().await.enqueued_jobs, 1);
    assert_eq!(app.run_jobs().await, 1);
    assert_eq!(app.row(store, "r1").await.unwrap().status, "success");
}

/// So is one that panics: it keeps neither its slot nor the state "running".
#[rstest]
#[tokio::test]
async fn a_job_that_panics_is_a_failed_one(#[values(Embedded, Server)] on: Profile) {
    // No instant is that far away.
    let app = TestApp::build(on, &[], |app| app.lease_times.ttl = Duration::MAX).await;
    let store = app.register("shop").await;
    app.insert_row(store, "r1", "failed", 3600).await;
    assert_eq!(app.schedule().await.enqueued_jobs, 1);
    let logs = Log::capture();
    assert_eq!(app.run_jobs().await, 1);
    let [line] = &logs.of("job_failed")[..] else {
        panic!("one line")
    };
    assert_eq!(line["error"], "the job panicked");
    assert_eq!(app.store_row(store).await.enqueued_until, None);
    assert_eq!(app.schedule().await.enqueued_jobs, 1, "at once");
    let process = app.other_process().await;
    assert_eq!(run_jobs_until_empty(&process).await.unwrap(), 1);
    assert_eq!(app.row(store, "r1").await.unwrap().status, "success");
}
