//! Which stores a pass finds.

use chrono::TimeDelta;
use rstest::rstest;
use serde_json::json;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, on};
use crate::support::log::Log;

/// pages are cut by `created_at` and `id`, so equal times lose and repeat nobody.
#[rstest]
#[tokio::test]
async fn each_of_250_stores_of_one_instant_is_enqueued_once(
    #[values(Embedded, Server)] on: Profile,
) {
    let mut app = TestApp::start(on).await;
    app.leave_jobs();
    app.insert_due_stores(250).await;
    let logs = Log::capture();
    app.schedule().await;
    assert_eq!(
        logs.of("scheduler_run"),
        [json!({
            "event": "scheduler_run", "level": "info", "service": "marketplace-sync",
            "scannedStores": 250, "enqueuedJobs": 250, "isCutShort": false,
        })]
    );
    assert_eq!(logs.count("already_enqueued"), 0);

    let pass = app.schedule().await;
    assert_eq!(
        (pass.scanned_stores, pass.enqueued_jobs, pass.failed_jobs),
        (250, 0, 0)
    );
    let already = logs.of("already_enqueued");
    assert_eq!(already.len(), 250);
    let store_id = already[0]["storeId"].as_str().unwrap();
    assert_eq!(already[0]["jobId"], format!("store:{store_id}"));
    assert_eq!(
        app.app.queue.waiting("sync-store-queue").await.unwrap(),
        250
    );
}

/// Each of them is run, not one of them twice.
#[rstest]
#[tokio::test]
async fn the_jobs_of_a_pass_are_those_of_its_stores(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    app.insert_due_stores(120).await;
    assert_eq!(app.schedule().await.enqueued_jobs, 120);
    assert_eq!(app.run_jobs().await, 120);
    let done = app
        .count("SELECT COUNT(*) FROM stores WHERE imported_success_count = 1")
        .await;
    assert_eq!(done, 120);
    assert_eq!(app.schedule().await.scanned_stores, 0);
}

///
#[rstest]
#[tokio::test]
async fn a_store_with_nothing_due_is_left_in_peace(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    app.register("without-rows").await;
    let done = app.register("done").await;
    app.insert_row(done, "r1", "success", 3600).await;
    let dead = app.register("dead").await;
    app.insert_row(dead, "dead", "failed", 3600).await;
    app.execute("UPDATE sync_logs SET dead_at = created_at WHERE receipt = 'dead'")
        .await;
    let later = app.register("later").await;
    app.insert_row(later, "later", "rate_limited", 3600).await;
    let soon = app.clock.now() + TimeDelta::milliseconds(1);
    on!(&app.app.db, pool => sqlx::query(
        "UPDATE sync_logs SET next_retry_at = $1 WHERE receipt = 'later'")
        .bind(soon).execute(pool).await.map(|_| ()).unwrap());
    let pass = app.schedule().await;
    assert_eq!((pass.scanned_stores, pass.enqueued_jobs), (0, 0));
    assert_eq!(app.count("SELECT COUNT(*) FROM callback_outbox").await, 0);
    app.clock.set(soon);
    assert_eq!(app.schedule().await.enqueued_jobs, 1);
    assert_eq!(app.run_jobs().await, 1);
}

/// the status of a store decides nothing.
#[rstest]
#[tokio::test]
async fn a_healthy_store_with_a_stranded_row_is_enqueued(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_row(store, "stranded", "failed", 3600).await;
    for number in 0..20 {
        app.insert_row(store, &format!("r{number}"), "success", 100)
            .await;
    }
    app.execute("UPDATE stores SET sync_status = 'success'")
        .await;
    assert_eq!(app.schedule().await.enqueued_jobs, 1);
    assert_eq!(app.run_jobs().await, 1);
    assert_eq!(app.row(store, "stranded").await.unwrap().status, "success");
}

/// the throttle, and what is stronger than it; a minute and ten minutes are not yet over
/// when they are just full.
#[rstest]
#[case::just_attempted(10, None, 60, 0)]
#[case::attempted_a_minute_ago(60, None, 60, 0)]
#[case::attempted_longer_ago(61, None, 60, 1)]
#[case::retry_due_for_11_minutes(10, Some(11 * 60), 60, 1)]
#[case::retry_due_for_10_minutes(10, Some(10 * 60), 3600, 0)]
#[case::new_row_for_11_minutes(10, None, 11 * 60, 1)]
#[tokio::test]
async fn a_store_is_left_in_peace_for_a_minute_unless_a_row_waits_long(
    #[case] attempted: i64,
    #[case] due_for: Option<i64>,
    #[case] age: i64,
    #[case] enqueued: u64,
    #[values(Embedded, Server)] on: Profile,
) {
    let mut app = TestApp::start(on).await;
    app.leave_jobs();
    let store = app.register("shop").await;
    app.insert_row(store, "r1", "failed", age).await;
    let now = app.clock.now();
    let ago = |seconds| now - TimeDelta::seconds(seconds);
    app.set_store_time(store, "last_sync_at", Some(ago(attempted)))
        .await;
    on!(&app.app.db, pool => sqlx::query("UPDATE sync_logs SET next_retry_at = $1")
        .bind(due_for.map(ago)).execute(pool).await.map(|_| ()).unwrap());
    assert_eq!(app.schedule().await.enqueued_jobs, enqueued);
}

#[rstest]
#[tokio::test]
async fn a_paused_store_waits_for_the_end_of_its_pause(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    // Overdue rows do not beat a pause.
    app.insert_row(store, "r1", "failed", 3600).await;
    let until = app.clock.now() + TimeDelta::minutes(30);
    app.set_store_time(store, "paused_until", Some(until)).await;
    assert_eq!(app.schedule().await.scanned_stores, 0);
    app.clock.set(until);
    assert_eq!(app.schedule().await.enqueued_jobs, 1);
    assert_eq!(app.run_jobs().await, 1);
}
