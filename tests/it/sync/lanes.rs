//! Many slow stores of one organization, and somebody else.

use std::sync::Arc;

use chrono::TimeDelta;
use jobs::{StoreId, SyncStore};
use marketplace_sync::App;
use marketplace_sync::worker::run_syncs_until_empty;
use rstest::rstest;
use tokio::task::JoinHandle;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, on, store_body};
use crate::support::runs::until;

/// Due stores of one organization, whose receipts are numbers, and a marketplace that is slow.
async fn start(on: Profile, stores: u32) -> TestApp {
    let app = TestApp::start_with(on, &[("SYNC_CONCURRENCY", "4")]).await;
    app.insert_due_stores(stores).await;
    app.marketplace.hold();
    app
}

/// There is another organization, which has a store.
async fn register_other(app: &TestApp) {
    let mut body = store_body("shop");
    body["organizationId"] = "org-2".into();
    app.post("/stores/register", &body).await;
}

/// Its store has a receipt that is due.
async fn insert_newcomer(app: &TestApp) {
    app.execute(
        "INSERT INTO sync_logs (id, store_id, receipt, status, created_at, updated_at)
         SELECT id, id, 'newcomer', 'failed', created_at, created_at
         FROM stores WHERE organization_id = 'org-2'",
    )
    .await;
}

/// Enqueues all stores of an organization.
async fn enqueue(app: &TestApp, organization_id: &str) {
    let ids: Vec<StoreId> = on!(&app.app.db, pool =>
        sqlx::query_scalar("SELECT id FROM stores WHERE organization_id = $1")
            .bind(organization_id).fetch_all(pool).await.unwrap());
    let jobs: Vec<SyncStore> = ids
        .into_iter()
        .map(|store_id| SyncStore { store_id })
        .collect();
    app.app.queue.push(&jobs).await.unwrap();
}

fn work(app: &TestApp) -> JoinHandle<u64> {
    let app: Arc<App> = app.app.clone();
    tokio::spawn(async move { run_syncs_until_empty(&app).await.unwrap() })
}

/// How many receipts of the many were asked about.
fn asked(app: &TestApp) -> usize {
    let calls = app.marketplace.calls();
    calls.iter().filter(|it| it.receipt != "newcomer").count()
}

async fn assert_all_done(app: &TestApp, stores: usize) {
    let open = "SELECT COUNT(*) FROM sync_logs WHERE status <> 'success'";
    assert_eq!(app.count(open).await, 0);
    assert_eq!(app.marketplace.calls().len(), stores, "each once");
    let held = "SELECT COUNT(*) FROM stores WHERE enqueued_until IS NOT NULL";
    assert_eq!(app.count(held).await, 0);
}

#[rstest]
#[tokio::test]
async fn a_newcomer_starts_while_slow_stores_of_another_wait(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = start(on, 20).await;
    register_other(&app).await;
    insert_newcomer(&app).await;
    enqueue(&app, "org-1").await;
    let work = work(&app);
    until(async || asked(&app) == 3).await;
    enqueue(&app, "org-2").await;
    until(async || app.marketplace.calls_of("newcomer") == 1).await;
    assert_eq!(asked(&app), 3, "three of four workers");
    app.marketplace.release();
    assert_eq!(work.await.unwrap(), 21);
    // The others came in from the line, without a job.
    assert_all_done(&app, 21).await;
}

#[rstest]
#[tokio::test]
async fn an_organization_that_is_alone_has_all_workers(#[values(Embedded, Server)] on: Profile) {
    let app = start(on, 20).await;
    enqueue(&app, "org-1").await;
    let work = work(&app);
    until(async || asked(&app) == 4).await;
    app.marketplace.release();
    assert_eq!(work.await.unwrap(), 20);
    assert_all_done(&app, 20).await;
}

/// How many may be enqueued again in two minutes.
async fn in_line(app: &TestApp) -> i64 {
    let until = app.clock.now() + TimeDelta::minutes(2);
    on!(&app.app.db, pool =>
        sqlx::query_scalar("SELECT COUNT(*) FROM stores WHERE enqueued_until = $1")
            .bind(until).fetch_one(pool).await.unwrap())
}

/// A process that ends with a line loses nothing, and another one with more room may take it on.
#[rstest]
#[tokio::test]
async fn what_stands_in_line_can_be_enqueued_again(#[values(Embedded, Server)] on: Profile) {
    let app = start(on, 6).await;
    register_other(&app).await;
    assert_eq!(app.schedule().await.enqueued_jobs, 6);
    let work = work(&app);
    until(async || asked(&app) == 3).await;
    until(async || in_line(&app).await == 3).await;
    assert_eq!(app.schedule().await.enqueued_jobs, 0, "not by each tick");
    // Two minutes later.
    let free = "UPDATE stores SET enqueued_until = created_at
                WHERE lease_token IS NULL AND enqueued_until IS NOT NULL";
    app.execute(free).await;
    assert_eq!(app.schedule().await.enqueued_jobs, 3);
    until(async || in_line(&app).await == 3).await;
    assert_eq!(asked(&app), 3);
    app.marketplace.release();
    assert_eq!(work.await.unwrap(), 9);
    assert_all_done(&app, 6).await;
}
