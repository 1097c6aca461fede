//! What an answer of the marketplace makes of a row.

use std::time::Duration;

use chrono::TimeDelta;
use rstest::rstest;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, TestStore, on};
use crate::support::runs::spawn_run;
use crate::support::scripted_connector::{broken, invalid, rate_limited, unauthorized, valid};

/// Minutes until a receipt is tried again.
async fn wait_of(app: &TestApp, store: TestStore, receipt: &str) -> Option<i64> {
    let row = app.row(store, receipt).await.unwrap();
    row.next_retry_at
        .map(|next| (next - app.clock.now()).num_minutes())
}

/// scanned 1, enqueued 1, processed 1, and the import's attempt counts.
#[rstest]
#[tokio::test]
async fn a_receipt_that_stays_limited_waits_longer(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.marketplace.reply("RL15", [rate_limited(None)]);
    app.import(store, "RL15").await;
    assert_eq!(wait_of(&app, store, "RL15").await, Some(5));
    app.clock.advance(Duration::from_mins(5));
    let pass = app.schedule().await;
    assert_eq!((pass.scanned_stores, pass.enqueued_jobs), (1, 1));
    assert_eq!(app.run_jobs().await, 1);
    let row = app.row(store, "RL15").await.unwrap();
    assert_eq!(
        (row.status.as_str(), row.attempt, row.failed_attempt),
        ("rate_limited", 2, 0)
    );
    assert_eq!(row.error_details.as_deref(), Some("rate_limited"));
    assert_eq!(wait_of(&app, store, "RL15").await, Some(10));
}

///
#[rstest]
#[tokio::test]
async fn a_limited_receipt_that_succeeds_leaves_no_trace_of_the_limit(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.marketplace
        .reply("r1", [rate_limited(None), valid("r1")]);
    app.import(store, "r1").await;
    let before = app.sync_status(store).await;
    assert_eq!(
        (&before["rateLimitedCount"], &before["importedOrders"]),
        (&1.into(), &0.into())
    );
    app.clock.advance(Duration::from_mins(5));
    app.run(store).await.unwrap();
    let row = app.row(store, "r1").await.unwrap();
    assert_eq!(row.status, "success");
    assert_eq!(row.order_id.as_deref(), Some("order-of-r1"));
    assert_eq!(
        (row.amount_minor, row.currency.as_deref()),
        (Some(1000), Some("USD"))
    );
    assert_eq!(
        (&row.error_details, row.next_retry_at, row.dead_at),
        (&None, None, None)
    );
    assert!(row.imported_at.is_some());
    let after = app.sync_status(store).await;
    assert_eq!(
        (&after["rateLimitedCount"], &after["importedOrders"]),
        (&0.into(), &1.into())
    );
    assert_eq!(
        app.store_row(store).await.last_sync_at,
        Some(app.clock.now())
    );
}

/// limits are never the end of a receipt.
#[rstest]
#[tokio::test]
async fn a_limited_receipt_waits_5_10_20_40_60_60_minutes(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_row(store, "r1", "pending", 1).await;
    app.marketplace.reply("r1", [rate_limited(None)]);
    for (attempt, minutes) in (1..).zip([5, 10, 20, 40, 60, 60]) {
        app.run(store).await.unwrap();
        let row = app.row(store, "r1").await.unwrap();
        assert_eq!(
            (row.attempt, row.failed_attempt, row.dead_at),
            (attempt, 0, None)
        );
        assert_eq!(
            row.next_retry_at,
            Some(app.clock.now() + TimeDelta::minutes(minutes))
        );
        app.clock.set(row.next_retry_at.unwrap());
    }
}

/// five failures, then no further call.
#[rstest]
#[tokio::test]
async fn a_failing_receipt_is_a_dead_letter_after_five_attempts(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_row(store, "r1", "failed", 1).await;
    app.marketplace.reply("r1", [invalid()]);
    for (attempt, minutes) in (1..).zip([5, 10, 20, 40]) {
        app.run(store).await.unwrap();
        let row = app.row(store, "r1").await.unwrap();
        assert_eq!(
            (row.attempt, row.failed_attempt, row.dead_at),
            (0, attempt, None)
        );
        assert_eq!(
            row.next_retry_at,
            Some(app.clock.now() + TimeDelta::minutes(minutes))
        );
        // A moment early is too early.
        app.clock
            .set(row.next_retry_at.unwrap() - TimeDelta::milliseconds(1));
        app.run(store).await.unwrap();
        assert_eq!(
            app.marketplace.calls_of("r1"),
            usize::try_from(attempt).unwrap()
        );
        app.clock.advance(Duration::from_millis(1));
    }
    app.run(store).await.unwrap();
    let row = app.row(store, "r1").await.unwrap();
    assert_eq!(
        (row.failed_attempt, row.next_retry_at, row.dead_at),
        (5, None, Some(app.clock.now()))
    );
    app.clock.advance(Duration::from_hours(100));
    assert_eq!(app.schedule().await.scanned_stores, 0);
    app.run(store).await.unwrap();
    assert_eq!(app.marketplace.calls_of("r1"), 5);
}

#[rstest]
#[tokio::test]
async fn a_limit_forgives_the_failures_before_it(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_row(store, "r1", "failed", 1).await;
    app.marketplace
        .reply("r1", [invalid(), invalid(), rate_limited(None), invalid()]);
    let mut counts = Vec::new();
    for _ in 0..4 {
        app.run(store).await.unwrap();
        let row = app.row(store, "r1").await.unwrap();
        counts.push((row.attempt, row.failed_attempt));
        app.clock.advance(Duration::from_hours(2));
    }
    assert_eq!(counts, [(0, 1), (0, 2), (1, 0), (1, 1)]);
}

#[rstest]
#[tokio::test]
async fn each_kind_of_failure_is_told_apart(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let kinds = [
        ("no-such-order", invalid(), "invalid_receipt"),
        ("auth", unauthorized(), "AuthError: Authentication failed"),
        ("broken", broken("down"), "MarketplaceError: down"),
        ("limit", rate_limited(None), "rate_limited"),
    ];
    for (receipt, reply, _) in &kinds {
        app.insert_row(store, receipt, "pending", 1).await;
        app.marketplace.reply(receipt, [reply.clone()]);
    }
    app.run(store).await.unwrap();
    for (receipt, _, details) in &kinds {
        let row = app.row(store, receipt).await.unwrap();
        assert_eq!(row.error_details.as_deref(), Some(*details));
        assert_eq!(row.updated_at, app.clock.now());
        assert!(row.order_id.is_none() && row.imported_at.is_none());
    }
    assert_eq!(app.store_row(store).await.imported_success_count, 0);
}

///
#[rstest]
#[tokio::test]
async fn a_panic_about_one_receipt_is_the_failure_of_that_receipt(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    for (age, receipt) in ["r1", "r2", "r3"].into_iter().enumerate() {
        app.insert_row(store, receipt, "pending", 3 - i64::try_from(age).unwrap())
            .await;
    }
    app.marketplace.reply_with(|call| {
        assert_ne!(call.receipt, "r2", "no shelf for it");
        valid(&call.receipt)
    });
    app.run(store).await.unwrap();
    let states = app.row_states(store).await;
    let states: Vec<&str> = states.iter().map(|row| row.status.as_str()).collect();
    assert_eq!(states, ["success", "failed", "success"]);
    let row = app.row(store, "r2").await.unwrap();
    assert_eq!(
        row.error_details.as_deref(),
        Some("MarketplaceError: internal error")
    );
    assert_eq!(row.failed_attempt, 1);
    assert_eq!(
        app.event_names(store).await,
        ["sync.started", "sync.completed"]
    );
}

/// An import takes over a pending receipt that the run is asking about: both succeed.
#[rstest]
#[tokio::test]
async fn a_receipt_that_two_succeed_with_counts_once(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_row(store, "r1", "pending", 60).await;
    app.marketplace.hold();
    let run = spawn_run(&app.app, store);
    app.marketplace.in_flight(1).await;
    let release = async {
        app.marketplace.in_flight(2).await;
        app.marketplace.release();
    };
    let (imported, ()) = tokio::join!(app.import(store, "r1"), release);
    run.await.unwrap().unwrap();
    assert_eq!(imported.1["success"], true, "{}", imported.1);
    assert_eq!(app.marketplace.calls_of("r1"), 2);
    assert_eq!(app.row(store, "r1").await.unwrap().status, "success");
    assert_eq!(app.store_row(store).await.imported_success_count, 1);
}

#[rstest]
#[tokio::test]
async fn a_success_that_came_meanwhile_is_not_overwritten(#[values(Embedded, Server)] on: Profile) {
    for reply in [invalid(), rate_limited(None), valid("r1")] {
        let app = TestApp::start(on).await;
        let store = app.register("shop").await;
        app.insert_row(store, "r1", "pending", 60).await;
        app.marketplace.reply("r1", [reply]);
        app.marketplace.hold();
        let run = spawn_run(&app.app, store);
        app.marketplace.in_flight(1).await;
        app.execute(
            "UPDATE sync_logs SET status = 'success', order_id = 'the-first', amount_minor = 1",
        )
        .await;
        app.execute("UPDATE stores SET imported_success_count = 1")
            .await;
        app.marketplace.release();
        run.await.unwrap().unwrap();
        let row = app.row(store, "r1").await.unwrap();
        assert_eq!(
            (row.status.as_str(), row.order_id.as_deref()),
            ("success", Some("the-first"))
        );
        let store = app.store_row(store).await;
        assert_eq!(
            (store.imported_success_count, store.sync_status.as_str()),
            (1, "success")
        );
    }
}

/// A run that dies after its calls and before its write leaves rows as they were.
#[rstest]
#[tokio::test]
async fn a_run_that_is_killed_has_written_nothing(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.insert_row(store, "r1", "failed", 60).await;
    app.marketplace.hold();
    let run = spawn_run(&app.app, store);
    app.marketplace.in_flight(1).await;
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    app.marketplace.release();
    let row = app.row(store, "r1").await.unwrap();
    assert_eq!((row.status.as_str(), row.failed_attempt), ("failed", 0));
    // Its lease ends by itself; then the next pass brings the store back.
    assert_eq!(app.schedule().await.enqueued_jobs, 0);
    app.clock.advance(Duration::from_secs(20));
    assert_eq!(app.schedule().await.enqueued_jobs, 1);
    assert_eq!(app.run_jobs().await, 1);
    assert_eq!(app.row(store, "r1").await.unwrap().status, "success");
    let count: i64 = on!(&app.app.db, pool => sqlx::query_scalar(
        "SELECT imported_success_count FROM stores").fetch_one(pool).await.unwrap());
    assert_eq!(count, 1);
}
