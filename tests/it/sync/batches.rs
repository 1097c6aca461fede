//! Which rows a run takes, in which order, how many at a time, and when it ends.

use std::collections::HashSet;

use chrono::TimeDelta;
use jobs::SyncStore;
use marketplace_sync::worker::sync_store;
use rstest::rstest;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, on};
use crate::support::log::Log;
use crate::support::scripted_connector::{invalid, valid};

/// the sizes of the batches, the backlog, and that all was one run.
#[rstest]
#[case::more_than_a_run_takes(1001, &[100; 10], true)]
#[case::as_many_as_a_run_takes(1000, &[100; 10], false)]
#[case::a_short_last_batch(250, &[100, 100, 50], false)]
#[case::full_batches_only(200, &[100, 100], false)]
#[tokio::test]
async fn a_run_takes_ten_batches_of_a_hundred(
    #[case] rows: u32,
    #[case] batches: &[u64],
    #[case] has_backlog: bool,
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_due_rows(store, rows).await;
    let logs = Log::capture();
    app.run(store).await.unwrap();
    let sizes: Vec<u64> = logs
        .of("sync_store_batch")
        .iter()
        .map(|line| line["processedCount"].as_u64().unwrap())
        .collect();
    assert_eq!(sizes, batches);
    let backlog = logs.of("remaining_backlog");
    if has_backlog {
        let id = store.id.to_string();
        assert_eq!(
            backlog,
            [json!({
                "event": "remaining_backlog", "level": "info", "service": "marketplace-sync",
                "storeId": id, "iterations": 10, "lastBatchProcessed": 100,
            })]
        );
    } else {
        assert_eq!(backlog, [] as [serde_json::Value; 0]);
    }
    let processed: u64 = batches.iter().sum();
    assert_eq!(logs.of("job_completed")[0]["processedCount"], processed);
    let events = app.events(store).await;
    assert_eq!(events.len(), 2, "one started, one closing");
    assert_eq!(events[0].0, "sync.started");
    assert_eq!(events[1].0, "sync.completed");
    let data = &events[1].1["data"];
    assert_eq!(data["processedCount"], processed);
    assert_eq!(data["successCount"], processed);
    assert_eq!(data["importedOrders"], processed);
    assert_eq!(data["remainingBacklog"], has_backlog);
    let count = app.store_row(store).await.imported_success_count;
    assert_eq!(count.unsigned_abs(), processed);
    // What is left does not wait for a tick, and the throttle does not hold it up.
    assert_eq!(app.run_syncs().await, u64::from(has_backlog));
    let count = app.store_row(store).await.imported_success_count;
    assert_eq!(count.unsigned_abs(), u64::from(rows));
}

/// the old ones do not stand in the way, and nobody is asked about twice.
#[rstest]
#[tokio::test]
async fn a_new_receipt_behind_a_hundred_hopeless_ones_is_imported_in_the_same_run(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_due_rows(store, 100).await;
    app.insert_row(store, "new", "pending", 0).await;
    app.marketplace
        .reply_with(|call| match call.receipt.as_str() {
            "new" => valid("new"),
            _ => invalid(),
        });
    app.run(store).await.unwrap();
    assert_eq!(app.row(store, "new").await.unwrap().status, "success");
    let calls = app.marketplace.calls();
    let receipts: HashSet<_> = calls.iter().map(|call| &call.receipt).collect();
    assert_eq!((calls.len(), receipts.len()), (101, 101));
}

/// A row that is due again at once is not taken a second time by the same run.
#[rstest]
#[tokio::test]
async fn a_run_asks_about_each_receipt_once_even_if_it_stays_due(
    #[values(Embedded, Server)] on: Profile,
) {
    let settings = [("SYNC_CHUNK_SIZE", "2"), ("SYNC_BACKOFF_BASE_SECONDS", "0")];
    let app = TestApp::start_with(on, &settings).await;
    let store = app.register("shop").await;
    app.insert_due_rows(store, 6).await;
    app.marketplace.reply_with(|_| invalid());
    app.run(store).await.unwrap();
    let states = app.row_states(store).await;
    assert!(
        states.iter().all(|row| row.failed_attempt == 1),
        "{states:?}"
    );
    assert_eq!(app.marketplace.calls().len(), 6);
}

#[rstest]
#[tokio::test]
async fn a_run_takes_what_is_due_oldest_first_and_nothing_else(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start_with(on, &[("SYNC_ROW_CONCURRENCY", "1")]).await;
    let store = app.register("shop").await;
    let other = app.register("another-shop").await;
    for (receipt, status, age) in [
        ("pending", "pending", 10),
        ("failed", "failed", 40),
        ("limited", "rate_limited", 30),
        ("done", "success", 50),
        ("dead", "failed", 60),
        ("later", "failed", 20),
        ("now", "failed", 5),
    ] {
        app.insert_row(store, receipt, status, age).await;
    }
    app.insert_row(other, "not-ours", "failed", 70).await;
    app.execute("UPDATE sync_logs SET dead_at = created_at WHERE receipt = 'dead'")
        .await;
    let now = app.clock.now();
    for (receipt, next) in [("later", now + TimeDelta::milliseconds(1)), ("now", now)] {
        on!(&app.app.db, pool => sqlx::query(
            "UPDATE sync_logs SET next_retry_at = $1 WHERE receipt = $2")
            .bind(next).bind(receipt).execute(pool).await.map(|_| ()).unwrap());
    }
    app.run(store).await.unwrap();
    let calls = app.marketplace.calls();
    let receipts: Vec<&str> = calls.iter().map(|call| call.receipt.as_str()).collect();
    assert_eq!(receipts, ["failed", "limited", "pending", "now"]);
    assert_eq!(calls[0].currency.as_deref(), Some("USD"));
    assert_eq!(
        calls[0].access_token.as_deref(),
        Some("secret-access-token")
    );
}

#[rstest]
#[tokio::test]
async fn a_store_has_as_many_calls_in_flight_as_it_may(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start_with(on, &[("SYNC_ROW_CONCURRENCY", "3")]).await;
    let store = app.register("shop").await;
    app.insert_due_rows(store, 20).await;
    app.marketplace.hold();
    let release = async {
        app.marketplace.in_flight(3).await;
        app.marketplace.release();
    };
    let (outcome, ()) = tokio::join!(app.run(store), release);
    outcome.unwrap();
    assert_eq!(app.marketplace.most_in_flight(), 3);
    assert_eq!(app.marketplace.calls().len(), 20);
}

#[rstest]
#[tokio::test]
async fn a_run_that_is_told_to_stop_writes_what_it_has(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start_with(on, &[("SYNC_ROW_CONCURRENCY", "2")]).await;
    let store = app.register("shop").await;
    app.insert_due_rows(store, 5).await;
    app.marketplace.hold();
    let logs = Log::capture();
    let stop = CancellationToken::new();
    let signal = async {
        app.marketplace.in_flight(2).await;
        stop.cancel();
        app.marketplace.release();
    };
    let job = SyncStore { store_id: store.id };
    let (outcome, ()) = tokio::join!(sync_store(&app.app, job, &stop), signal);
    outcome.unwrap();
    assert_eq!(app.marketplace.calls().len(), 2, "no call after the signal");
    let states = app.row_states(store).await;
    let done = states.iter().filter(|row| row.status == "success").count();
    assert_eq!(done, 2);
    let events = app.events(store).await;
    let data = &events[1].1["data"];
    assert_eq!(events.len(), 2);
    assert_eq!(
        (&data["processedCount"], &data["remainingBacklog"]),
        (&json!(2), &json!(true))
    );
    assert_eq!(logs.of("job_completed")[0]["processedCount"], 2);
    let store_row = app.store_row(store).await;
    assert_eq!(
        (store_row.lease_token, store_row.enqueued_until),
        (None, None)
    );
    // The rest is still due.
    app.run(store).await.unwrap();
    assert_eq!(app.store_row(store).await.imported_success_count, 5);
}
