//! A queue that is smaller than the work: everybody gets a turn.

use std::collections::HashSet;
use std::sync::Arc;

use jobs::StoreId;
use marketplace_sync::App;
use marketplace_sync::marketplace::{Pass, enqueue_due_stores};
use marketplace_sync::worker::run_jobs_until_empty;
use rstest::rstest;
use uuid::Uuid;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, TestStore, on, store_body};
use crate::support::scripted_connector::invalid;

/// Every store is due all the time.
async fn start(on: Profile, stores: u32) -> TestApp {
    let settings = [
        ("SYNC_BACKOFF_BASE_SECONDS", "0"),
        ("SYNC_THROTTLE_SECONDS", "0"),
        ("SYNC_FAILED_MAX_ATTEMPTS", "1000"),
    ];
    let app = TestApp::start_with(on, &settings).await;
    app.insert_due_stores(stores).await;
    app.marketplace.reply_with(|_| invalid());
    app
}

/// A pass, then its jobs; a moment passes.
async fn pass(app: &TestApp, process: &Arc<App>) -> Pass {
    let pass = enqueue_due_stores(process).await.unwrap();
    let ran = run_jobs_until_empty(process).await.unwrap();
    assert_eq!(ran, pass.enqueued_jobs);
    app.clock.advance(std::time::Duration::from_secs(1));
    pass
}

async fn stores_that_ran(app: &TestApp) -> HashSet<Uuid> {
    let ids: Vec<Uuid> = on!(&app.app.db, pool => sqlx::query_scalar(
        "SELECT store_id FROM callback_outbox WHERE event = 'sync.started'")
        .fetch_all(pool).await.unwrap());
    ids.into_iter().collect()
}

#[rstest]
#[tokio::test]
async fn every_store_gets_its_turn_though_the_oldest_are_always_due(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = start(on, 30).await;
    let process = app.process_with_depth(10).await;
    for turn in 1..=3 {
        let pass = pass(&app, &process).await;
        assert_eq!(pass.enqueued_jobs, 10);
        assert!(pass.is_cut_short);
        assert_eq!(stores_that_ran(&app).await.len(), turn * 10);
    }
}

/// The queue is never deeper than it may be, and holds no store twice.
#[rstest]
#[tokio::test]
async fn a_full_queue_takes_nothing_more(#[values(Embedded, Server)] on: Profile) {
    let app = start(on, 30).await;
    let process = app.process_with_depth(10).await;
    for enqueued in [10, 0, 0] {
        let pass = enqueue_due_stores(&process).await.unwrap();
        assert_eq!((pass.enqueued_jobs, pass.failed_jobs), (enqueued, 0));
        assert!(pass.is_cut_short);
        assert_eq!(process.queue.waiting("sync-store-queue").await.unwrap(), 10);
    }
    assert_eq!(run_jobs_until_empty(&process).await.unwrap(), 10);
    assert_eq!(stores_that_ran(&app).await.len(), 10);
}

/// Where the queue is much smaller than the work, the turn goes round and round.
#[rstest]
#[tokio::test]
async fn turns_go_round(#[values(Embedded, Server)] on: Profile) {
    let app = start(on, 25).await;
    let process = app.process_with_depth(10).await;
    let mut runs = 0;
    for _ in 0..5 {
        runs += pass(&app, &process).await.enqueued_jobs;
    }
    assert_eq!(runs, 50);
    let turns: Vec<i64> = on!(&app.app.db, pool => sqlx::query_scalar(
        "SELECT COUNT(*) FROM callback_outbox WHERE event = 'sync.started' GROUP BY store_id")
        .fetch_all(pool).await.unwrap());
    assert_eq!(turns, vec![2; 25]);
}

/// A pass that was cut short and finds room again comes to the end, and the next one starts
/// with the oldest.
#[rstest]
#[tokio::test]
async fn a_pass_that_goes_on_comes_to_its_end(#[values(Embedded, Server)] on: Profile) {
    let app = start(on, 30).await;
    let small = app.process_with_depth(10).await;
    assert!(pass(&app, &small).await.is_cut_short);
    let pass = app.schedule().await;
    assert_eq!((pass.enqueued_jobs, pass.is_cut_short), (30, false));
    assert_eq!(app.count("SELECT COUNT(*) FROM schedule_cursors").await, 0);
    assert_eq!(app.run_jobs().await, 30);
}

/// One organization has thousands of due stores, and another one a single one, behind all of them.
#[rstest]
#[tokio::test]
async fn the_store_of_a_small_organization_is_among_the_first(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = start(on, 3000).await;
    let small = register_due(&app, "org-2").await;
    let process = app.process_with_depth(10).await;
    let first = pass(&app, &process).await;
    assert_eq!((first.enqueued_jobs, first.scanned_stores), (10, 3001));
    assert!(stores_that_ran(&app).await.contains(&small));
}

/// It is due while the backlog of another one is worked off.
#[rstest]
#[tokio::test]
async fn a_backlog_on_its_way_delays_nobody_else(#[values(Embedded, Server)] on: Profile) {
    let app = start(on, 100).await;
    let process = app.process_with_depth(10).await;
    for _ in 0..2 {
        assert_eq!(pass(&app, &process).await.enqueued_jobs, 10);
    }
    let others = [
        register_due(&app, "org-2").await,
        register_due(&app, "org-3").await,
    ];
    assert_eq!(pass(&app, &process).await.enqueued_jobs, 10);
    let ran = stores_that_ran(&app).await;
    assert!(others.iter().all(|store| ran.contains(store)));
    // The backlog goes on where it was, with what the others leave: eight a pass.
    for _ in 0..9 {
        pass(&app, &process).await;
    }
    assert_eq!(stores_that_ran(&app).await.len(), 102);
}

/// A store of another organization, registered last.
async fn register_due(app: &TestApp, organization_id: &str) -> Uuid {
    let mut body = store_body("shop");
    body["organizationId"] = organization_id.into();
    let (_, answer) = app.post("/stores/register", &body).await;
    let id: Uuid = answer["storeId"].as_str().unwrap().parse().unwrap();
    let token = answer["syncToken"].as_str().unwrap().parse().unwrap();
    let store = TestStore {
        id: StoreId(id),
        token,
    };
    app.insert_row(store, "r1", "failed", 60).await;
    id
}
