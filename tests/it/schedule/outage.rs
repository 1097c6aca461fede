//! A queue that is away, refuses, or was lost.

use std::sync::Arc;

use jobs::{Queue, QueueOptions};
use marketplace_sync::App;
use marketplace_sync::app::open_queue;
use marketplace_sync::ids::Ids;
use marketplace_sync::marketplace::enqueue_due_stores;
use marketplace_sync::worker::run_jobs_until_empty;
use redis::aio::ConnectionManager;
use rstest::rstest;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};
use crate::support::log::Log;
use crate::support::queues::{RedisServer, fresh_prefix, shared_redis};

/// what cannot be enqueued is said to have failed, and the next pass makes up for it.
#[rstest]
#[tokio::test]
async fn a_pass_without_a_queue_fails_and_the_next_one_makes_up_for_it(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    app.insert_due_stores(3).await;
    let mut server = (on == Server).then(RedisServer::start);
    let process = match &server {
        Some(server) => process_on(&app, server).await,
        None => app.other_process().await,
    };
    match &mut server {
        Some(server) => server.kill(),
        None => app.execute("ALTER TABLE Jobs RENAME TO jobs_away").await,
    }
    let logs = Log::capture();
    let pass = enqueue_due_stores(&process).await.unwrap();
    assert_eq!((pass.enqueued_jobs, pass.failed_jobs), (0, 3));
    assert_eq!(logs.count("already_enqueued"), 0);
    let failed = logs.of("enqueue_failed");
    assert_eq!(failed.len(), 3);
    for line in &failed {
        assert_eq!(line["level"], "error");
        assert_eq!(
            line["jobId"],
            format!("store:{}", line["storeId"].as_str().unwrap())
        );
        assert!(!line["error"].as_str().unwrap().is_empty());
    }
    match &mut server {
        Some(server) => server.run(),
        None => app.execute("ALTER TABLE jobs_away RENAME TO Jobs").await,
    }
    assert_eq!(enqueue_due_stores(&process).await.unwrap().enqueued_jobs, 3);
    assert_eq!(run_jobs_until_empty(&process).await.unwrap(), 3);
}

async fn process_on(app: &TestApp, server: &RedisServer) -> Arc<App> {
    let options = QueueOptions {
        prefix: fresh_prefix(),
        ..QueueOptions::default()
    };
    let queue = Queue::connect_redis(&server.url(), options).await.unwrap();
    let (clock, connector) = (app.clock.clone(), Arc::new(app.marketplace.clone()));
    let (settings, db) = (app.app.settings.clone(), app.app.db.clone());
    let app = App::new(settings, db, queue, clock, Ids::system(), connector);
    Arc::new(app.unwrap())
}

/// The queue answers and takes nothing: the slots were taken already.
#[rstest]
#[tokio::test]
async fn slots_whose_jobs_were_refused_are_free_at_once(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    app.insert_due_stores(3).await;
    let data = format!("{}sync-store-queue:data", app.app.settings.queue_prefix);
    match on {
        Server => command(redis::cmd("SET").arg(&data).arg("not a hash")).await,
        Embedded => {
            app.execute(
                "CREATE TRIGGER refuse BEFORE INSERT ON Jobs
                 BEGIN SELECT RAISE(ABORT, 'no room on the disk'); END",
            )
            .await;
        }
    }
    let logs = Log::capture();
    let pass = app.schedule().await;
    assert_eq!((pass.enqueued_jobs, pass.failed_jobs), (0, 3));
    assert_eq!(logs.count("enqueue_failed"), 3);
    match on {
        Server => command(redis::cmd("DEL").arg(&data)).await,
        Embedded => app.execute("DROP TRIGGER refuse").await,
    }
    assert_eq!(app.schedule().await.enqueued_jobs, 3);
    assert_eq!(app.run_jobs().await, 3);
}

/// A flushed Redis, dropped job tables: what the slots stand for is gone.
#[rstest]
#[tokio::test]
async fn what_a_lost_queue_held_is_enqueued_by_the_next_pass(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    app.insert_due_stores(3).await;
    assert_eq!(app.schedule().await.enqueued_jobs, 3);
    lose_queue(&app, on).await;
    let logs = Log::capture();
    assert_eq!(app.schedule().await.enqueued_jobs, 3);
    let lost = logs.of("queue_lost");
    assert_eq!(lost.len(), 1);
    assert_eq!(
        (&lost[0]["queue"], &lost[0]["freed"]),
        (&"sync-store-queue".into(), &3.into())
    );
    assert_eq!(app.schedule().await.enqueued_jobs, 0);
    assert_eq!(logs.count("queue_lost"), 1);
    assert_eq!(app.run_jobs().await, 3);
}

/// A store that runs is not waiting in the queue, so a lost queue does not concern it.
#[rstest]
#[tokio::test]
async fn a_lost_queue_does_not_touch_what_runs(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    app.schedule().await;
    let store = app.register("shop").await;
    app.insert_row(store, "r1", "failed", 3600).await;
    app.marketplace.hold();
    let run = crate::support::runs::spawn_run(&app.app, store);
    app.marketplace.in_flight(1).await;
    lose_queue(&app, on).await;
    assert_eq!(app.schedule().await.enqueued_jobs, 0);
    app.marketplace.release();
    run.await.unwrap().unwrap();
}

async fn lose_queue(app: &TestApp, on: Profile) {
    if on == Embedded {
        for table in [
            "DROP TABLE Jobs",
            "DROP TABLE Workers",
            "DROP TABLE job_queue_epoch",
        ] {
            app.execute(table).await;
        }
        // The next start makes them again.
        open_queue(&app.app.settings, &app.app.db).await.unwrap();
        return;
    }
    let pattern = format!("{}*", app.app.settings.queue_prefix);
    let mut redis = redis().await;
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(pattern)
        .query_async(&mut redis)
        .await
        .unwrap();
    assert!(!keys.is_empty());
    redis::cmd("DEL")
        .arg(keys)
        .exec_async(&mut redis)
        .await
        .unwrap();
}

async fn command(command: &redis::Cmd) {
    command.exec_async(&mut redis().await).await.unwrap();
}

async fn redis() -> ConnectionManager {
    let client = redis::Client::open(shared_redis()).unwrap();
    ConnectionManager::new(client).await.unwrap()
}
