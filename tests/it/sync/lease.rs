//! One run at a time, whatever stalls or dies: the lease of a store.

use std::time::Duration;

use chrono::TimeDelta;
use marketplace_sync::lease::LeaseTimes;
use rstest::rstest;
use serde_json::json;
use uuid::Uuid;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, on};
use crate::support::log::Log;
use crate::support::runs::{run_in, spawn_run, until};
use crate::support::scripted_connector::{ScriptedConnector, invalid};

///
#[rstest]
#[tokio::test]
async fn a_second_run_of_a_store_changes_nothing(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_row(store, "r1", "failed", 60).await;
    let other = app.other_process().await;
    app.marketplace.hold();
    let first = spawn_run(&app.app, store);
    app.marketplace.in_flight(1).await;
    let before = (app.store_row(store).await, app.row(store, "r1").await);
    assert!(before.0.lease_token.is_some());

    let logs = Log::capture();
    run_in(&other, store).await.unwrap();
    assert_eq!(
        logs.of("already_running"),
        [json!({
            "event": "already_running", "level": "info", "service": "marketplace-sync",
            "storeId": store.id.to_string(),
        })]
    );
    assert_eq!(logs.count("job_completed"), 0);
    assert_eq!(
        (app.store_row(store).await, app.row(store, "r1").await),
        before
    );

    app.marketplace.release();
    first.await.unwrap().unwrap();
    assert_eq!(app.marketplace.calls().len(), 1);
    assert_eq!(
        app.event_names(store).await,
        ["sync.started", "sync.completed"]
    );
    assert_eq!(app.store_row(store).await.lease_token, None);
}

#[rstest]
#[tokio::test]
async fn of_many_runs_at_once_one_works(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_due_rows(store, 5).await;
    app.marketplace.hold();
    let logs = Log::capture();
    let mut runs = Vec::new();
    for _ in 0..4 {
        runs.push(spawn_run(&app.other_process().await, store));
    }
    app.marketplace.in_flight(5).await;
    until(async || logs.count("already_running") == 3).await;
    app.marketplace.release();
    for run in runs {
        run.await.unwrap().unwrap();
    }
    assert_eq!(logs.count("job_completed"), 1);
    assert_eq!(app.marketplace.calls().len(), 5);
    assert_eq!(app.store_row(store).await.imported_success_count, 5);
    assert_eq!(app.event_names(store).await.len(), 2);
}

/// the foreign token survives, and nothing is written by the one that lost.
#[rstest]
#[tokio::test]
async fn a_run_whose_lease_was_replaced_writes_nothing(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start_with(on, &[("SYNC_CHUNK_SIZE", "2")]).await;
    let store = app.register("shop").await;
    app.insert_due_rows(store, 3).await;
    app.marketplace.hold();
    let logs = Log::capture();
    let run = spawn_run(&app.app, store);
    app.marketplace.in_flight(2).await;
    let foreign = Uuid::from_u128(7);
    on!(&app.app.db, pool => sqlx::query("UPDATE stores SET lease_token = $1").bind(foreign)
        .execute(pool).await.map(|_| ()).unwrap());
    let before = (app.store_row(store).await, app.row_states(store).await);
    app.marketplace.release();
    run.await.unwrap().unwrap();
    assert_eq!(
        logs.of("lock_lost"),
        [json!({
            "event": "lock_lost", "level": "warn", "service": "marketplace-sync",
            "storeId": store.id.to_string(),
        })]
    );
    assert_eq!(
        (app.store_row(store).await, app.row_states(store).await),
        before
    );
    assert_eq!(before.0.lease_token, Some(foreign));
    assert_eq!(
        app.event_names(store).await,
        ["sync.started"],
        "nothing further"
    );
    assert_eq!(app.marketplace.calls().len(), 2, "no further batch");
    assert_eq!(
        (logs.count("job_completed"), logs.count("sync_store_batch")),
        (0, 0)
    );
}

/// The first hangs in a marketplace call beyond its lease; another process is at work.
#[rstest]
#[tokio::test]
async fn a_stalled_run_cannot_write_while_another_is_at_it(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_row(store, "r1", "failed", 60).await;
    app.marketplace.reply("r1", [invalid()]);
    app.marketplace.hold();
    let stalled = spawn_run(&app.app, store);
    app.marketplace.in_flight(1).await;
    app.clock.advance(Duration::from_secs(20));

    let healthy = ScriptedConnector::default();
    healthy.hold();
    let other = app.process_asking(&healthy).await;
    let second = spawn_run(&other, store);
    healthy.in_flight(1).await;
    let token = app.store_row(store).await.lease_token;

    let logs = Log::capture();
    app.marketplace.release();
    stalled.await.unwrap().unwrap();
    assert_eq!(logs.count("lock_lost"), 1);
    assert_eq!(app.row(store, "r1").await.unwrap().failed_attempt, 0);
    assert_eq!(
        app.store_row(store).await.lease_token,
        token,
        "it is the second's"
    );

    healthy.release();
    second.await.unwrap().unwrap();
    assert_eq!(app.row(store, "r1").await.unwrap().status, "success");
    assert_eq!(app.store_row(store).await.lease_token, None);
    let names = app.event_names(store).await;
    assert_eq!(names, ["sync.started", "sync.started", "sync.completed"]);
}

#[rstest]
#[tokio::test]
async fn a_stalled_run_cannot_write_after_another_has_finished(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_row(store, "r1", "failed", 60).await;
    app.marketplace.hold();
    let stalled = spawn_run(&app.app, store);
    app.marketplace.in_flight(1).await;
    app.clock.advance(Duration::from_secs(20));
    let broken = ScriptedConnector::default();
    broken.reply("r1", [invalid()]);
    run_in(&*app.process_asking(&broken).await, store)
        .await
        .unwrap();
    app.marketplace.release();
    stalled.await.unwrap().unwrap();
    let row = app.row(store, "r1").await.unwrap();
    assert_eq!(
        (row.status.as_str(), row.failed_attempt),
        ("failed", 1),
        "the second's word"
    );
    assert_eq!(app.store_row(store).await.imported_success_count, 0);
}

/// The renewal is quick here, so that 45 seconds by the clock pass in no time.
#[rstest]
#[tokio::test]
async fn a_run_that_takes_longer_than_its_lease_keeps_it(#[values(Embedded, Server)] on: Profile) {
    let quick = LeaseTimes {
        ttl: Duration::from_secs(20),
        renew_every: Duration::from_millis(10),
    };
    let app = TestApp::build(on, &[], |app| app.lease_times = quick).await;
    let store = app.register("shop").await;
    app.insert_row(store, "r1", "failed", 60).await;
    let other = app.other_process().await;
    app.marketplace.hold();
    let run = spawn_run(&app.app, store);
    app.marketplace.in_flight(1).await;
    let logs = Log::capture();
    for _ in 0..3 {
        app.clock.advance(Duration::from_secs(15));
        let renewed = Some(app.clock.now() + TimeDelta::seconds(20));
        until(async || app.store_row(store).await.lease_expires_at == renewed).await;
        run_in(&other, store).await.unwrap();
        assert_eq!(
            app.schedule().await.enqueued_jobs,
            0,
            "its slot is held as well"
        );
    }
    assert_eq!(logs.count("already_running"), 3);
    app.marketplace.release();
    run.await.unwrap().unwrap();
    assert_eq!(app.row(store, "r1").await.unwrap().status, "success");
    assert_eq!(app.marketplace.calls().len(), 1);
}

/// Its renewal finds that the lease is another's: the batch is broken off.
#[rstest]
#[tokio::test]
async fn a_run_that_hears_that_its_lease_is_lost_makes_no_further_call(
    #[values(Embedded, Server)] on: Profile,
) {
    let quick = LeaseTimes {
        ttl: Duration::from_secs(20),
        renew_every: Duration::from_millis(10),
    };
    let settings = [("SYNC_ROW_CONCURRENCY", "1")];
    let app = TestApp::build(on, &settings, |app| app.lease_times = quick).await;
    let store = app.register("shop").await;
    app.insert_due_rows(store, 3).await;
    app.marketplace.hold();
    let logs = Log::capture();
    let run = spawn_run(&app.app, store);
    app.marketplace.in_flight(1).await;
    on!(&app.app.db, pool => sqlx::query("UPDATE stores SET lease_token = $1")
        .bind(Uuid::from_u128(7)).execute(pool).await.map(|_| ()).unwrap());
    until(async || logs.count("lease_lost") == 1).await;
    app.marketplace.release();
    run.await.unwrap().unwrap();
    assert_eq!(app.marketplace.calls().len(), 1);
}

///
#[rstest]
#[tokio::test]
async fn the_job_of_a_store_that_is_gone_is_done(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.enqueue(store).await;
    app.delete_store(store).await;
    let logs = Log::capture();
    assert_eq!(app.run_jobs().await, 1);
    assert_eq!(
        logs.of("store_not_found"),
        [json!({
            "event": "store_not_found", "level": "warn", "service": "marketplace-sync",
            "storeId": store.id.to_string(),
        })]
    );
    assert_eq!(logs.count("job_failed"), 0);
}

#[rstest]
#[tokio::test]
async fn a_run_whose_store_is_deleted_under_it_ends_in_peace(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_due_rows(store, 3).await;
    app.marketplace.hold();
    let logs = Log::capture();
    let run = spawn_run(&app.app, store);
    app.marketplace.in_flight(3).await;
    app.delete_store(store).await;
    app.marketplace.release();
    run.await.unwrap().unwrap();
    assert_eq!(logs.count("job_failed"), 0);
    assert_eq!(app.count("SELECT COUNT(*) FROM sync_logs").await, 0);
    assert_eq!(app.count("SELECT COUNT(*) FROM callback_outbox").await, 0);
}

#[rstest]
#[tokio::test]
async fn a_run_frees_lease_and_slot_however_it_ends(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    for has_work in [false, true] {
        if has_work {
            app.insert_row(store, "r1", "failed", 60).await;
        }
        app.set_store_time(
            store,
            "enqueued_until",
            Some(app.clock.now() + TimeDelta::minutes(5)),
        )
        .await;
        app.run(store).await.unwrap();
        let row = app.store_row(store).await;
        assert_eq!(
            (row.lease_token, row.lease_expires_at, row.enqueued_until),
            (None, None, None)
        );
    }
}
