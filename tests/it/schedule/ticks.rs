//! When a tick fires: once over all replicas, and once for those that nobody was there for.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use marketplace_sync::App;
use marketplace_sync::clock::Clock;
use marketplace_sync::schedule::{claim_tick, run_every, tidy_up};
use rstest::rstest;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, on};
use crate::support::log::Log;
use crate::support::queues::PATIENCE;

#[rstest]
#[tokio::test]
async fn of_many_replicas_one_wins_a_tick(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let tick = app.clock.now();
    for tick in [tick, tick + TimeDelta::seconds(30)] {
        let mut claims = Vec::new();
        for _ in 0..8 {
            let db = app.other_process().await.db.clone();
            claims.push(tokio::spawn(async move {
                claim_tick(&db, "sync", tick, tick).await
            }));
        }
        let mut winners = 0;
        for claim in claims {
            winners += u32::from(claim.await.unwrap().unwrap());
        }
        assert_eq!(winners, 1);
    }
    assert!(
        claim_tick(&app.app.db, "housekeeping", tick, tick)
            .await
            .unwrap()
    );
}

/// Runs a schedule in a replica; each run sends its name.
fn replica(
    app: Arc<App>,
    cron: &'static str,
    stop: &CancellationToken,
    report: &mpsc::UnboundedSender<()>,
) -> tokio::task::JoinHandle<()> {
    let (stop, report) = (stop.clone(), report.clone());
    tokio::spawn(async move {
        let run = move || {
            let report = report.clone();
            async move { report.send(()).unwrap() }
        };
        run_every(app, "sync", cron, stop, run).await.unwrap();
    })
}

/// The clock says noon; the tick of midnight was missed.
#[rstest]
#[tokio::test]
async fn a_missed_tick_is_made_up_for_once(#[values(Embedded, Server)] on: Profile) {
    const YEARLY: &str = "0 0 0 1 1 *";
    let app = TestApp::start(on).await;
    let logs = Log::capture();
    let (report, mut runs) = mpsc::unbounded_channel();
    for _ in 0..2 {
        let stop = CancellationToken::new();
        let first = replica(app.other_process().await, YEARLY, &stop, &report);
        let second = replica(app.other_process().await, YEARLY, &stop, &report);
        stop.cancel();
        first.await.unwrap();
        second.await.unwrap();
    }
    drop(report);
    assert_eq!(runs.recv().await, Some(()));
    assert_eq!(runs.recv().await, None, "once, over replicas and restarts");
    let lines = logs.of("tick_made_up_for");
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["tick"], "2024-01-01 00:00:00 UTC");
}

#[rstest]
#[tokio::test]
async fn two_replicas_run_each_tick_once(#[values(Embedded, Server)] on: Profile) {
    const EVERY_SECOND: &str = "* * * * * *";
    let app = TestApp::start(on).await;
    let stop = CancellationToken::new();
    let (report, mut runs) = mpsc::unbounded_channel();
    let first = replica(app.other_process().await, EVERY_SECOND, &stop, &report);
    let second = replica(app.other_process().await, EVERY_SECOND, &stop, &report);
    drop(report);
    let mut count = 0;
    // The one that was missed, and two that fire.
    while count < 3 {
        let run = tokio::time::timeout(PATIENCE, runs.recv()).await.unwrap();
        run.expect("both replicas ended");
        count += 1;
    }
    stop.cancel();
    first.await.unwrap();
    second.await.unwrap();
    while runs.recv().await.is_some() {
        count += 1;
    }
    assert_eq!(
        app.count("SELECT COUNT(*) FROM schedule_ticks").await,
        count
    );
}

#[rstest]
#[tokio::test]
async fn housekeeping_forgets_what_has_served_its_purpose(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    // Jobs end by the system's time.
    app.clock.set(Clock::system().now());
    app.insert_due_stores(3).await;
    assert_eq!(app.schedule().await.enqueued_jobs, 3);
    assert_eq!(app.run_jobs().await, 3);
    app.clock
        .advance(Duration::from_hours(1) + Duration::from_mins(1));
    let now = app.clock.now();
    for hours in [0, 23, 25, 1000] {
        let tick = now - TimeDelta::hours(hours);
        assert!(claim_tick(&app.app.db, "sync", tick, tick).await.unwrap());
    }
    let a_minute_ago = now - TimeDelta::minutes(1);
    set_lease(&app, 1, a_minute_ago).await;
    set_lease(&app, 2, a_minute_ago + TimeDelta::milliseconds(1)).await;
    let logs = Log::capture();
    tidy_up(&app.app).await;
    tidy_up(&app.app).await;
    let line = |jobs, ticks, leases| {
        json!({
            "event": "housekeeping_run", "level": "info", "service": "marketplace-sync",
            "purgedJobs": jobs, "purgedTicks": ticks, "expiredLeases": leases,
            "purgedEvents": 0, "expiredDeliveries": 0, "purgedDeadLetters": 0,
            "purgedEndpoints": 0, "purgedIdempotencyKeys": 0,
        })
    };
    assert_eq!(logs.of("housekeeping_run"), [line(3, 2, 1), line(0, 0, 0)]);
    assert_eq!(logs.count("housekeeping_failed"), 0);
    let held = app
        .count("SELECT COUNT(*) FROM stores WHERE lease_token IS NOT NULL")
        .await;
    assert_eq!(held, 1, "a lease that lasts is somebody's");
}

/// Jobs that ended a moment ago stay, to be looked at.
#[rstest]
#[tokio::test]
async fn housekeeping_leaves_fresh_jobs_and_waiting_ones_alone(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    app.clock.set(Clock::system().now());
    let store = app.register("shop").await;
    app.enqueue(store).await;
    assert_eq!(app.run_jobs().await, 1);
    app.enqueue(store).await;
    let logs = Log::capture();
    tidy_up(&app.app).await;
    assert_eq!(logs.of("housekeeping_run")[0]["purgedJobs"], 0);
    app.clock.advance(Duration::from_hours(100));
    tidy_up(&app.app).await;
    assert_eq!(logs.of("housekeeping_run")[1]["purgedJobs"], 1);
    assert_eq!(app.run_jobs().await, 1);
}

async fn set_lease(app: &TestApp, store: u128, until: DateTime<Utc>) {
    let id = uuid::Uuid::from_u128(store);
    on!(&app.app.db, pool => sqlx::query(
        "UPDATE stores SET lease_token = $1, lease_expires_at = $2 WHERE id = $1")
        .bind(id).bind(until).execute(pool).await.map(|_| ()).unwrap());
}
