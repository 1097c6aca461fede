//! The traps of apalis-sqlite.

use std::time::Duration;

use futures::future::join_all;
use jobs::{Job, Queue, QueueOptions, SyncStore};
use sqlx::{query, query_as, query_scalar};

use super::worker::Worker;
use crate::support::queues::{Counts, TestQueue, Transport::Sqlite, stores, writer};

/// The statement of apalis-sqlite 1.0.0 (`queries/task/ack.sql`).
const ACKNOWLEDGE: &str = "
    WITH j AS (
        SELECT value ->> 'task_id' AS task_id, value ->> 'attempt' AS attempt,
               value ->> 'result' AS result, value ->> 'status' AS status
        FROM json_each(?1)
    )
    UPDATE Jobs
    SET status = j.status, attempts = j.attempt, last_result = j.result,
        done_at = strftime('%s', 'now')
    FROM j
    WHERE Jobs.id = j.task_id AND Jobs.lock_by = ?2";

#[tokio::test(flavor = "multi_thread")]
async fn acknowledging_does_not_scan() {
    let test = TestQueue::open(Sqlite).await;
    test.queue.push(&stores(500)).await.unwrap();
    let pool = test.sqlite().await;
    let plan: Vec<(i64, i64, i64, String)> = query_as(sqlx::AssertSqlSafe(format!(
        "EXPLAIN QUERY PLAN {ACKNOWLEDGE}"
    )))
    .bind("[]")
    .bind("worker")
    .fetch_all(&pool)
    .await
    .unwrap();
    let plan: Vec<_> = plan.into_iter().map(|row| row.3).collect();
    let by_key = |step: &String| step.contains("SEARCH Jobs") && step.contains("(id=?)");
    assert!(plan.iter().any(by_key), "{plan:?}");
}

/// `setup()` of apalis-sqlite would take over both.
#[tokio::test]
async fn the_migrations_and_pragmas_of_the_service_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let pool = writer(folder.path()).await;
    query("CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, mine TEXT)")
        .execute(&pool)
        .await
        .unwrap();
    query("INSERT INTO _sqlx_migrations VALUES (1, 'mine')")
        .execute(&pool)
        .await
        .unwrap();
    let synchronous = "PRAGMA synchronous";
    let before: i64 = query_scalar(synchronous).fetch_one(&pool).await.unwrap();
    for _ in 0..2 {
        Queue::open_sqlite(&pool, QueueOptions::default())
            .await
            .unwrap();
    }
    let rows: Vec<(i64, String)> = query_as("SELECT * FROM _sqlx_migrations")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(rows, [(1, "mine".to_owned())]);
    assert_eq!(
        query_scalar::<_, i64>(synchronous)
            .fetch_one(&pool)
            .await
            .unwrap(),
        before
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_processes_may_open_a_new_file_at_once() {
    let folder = tempfile::tempdir().unwrap();
    // Only so that they need not race for the journal mode, too.
    writer(folder.path()).await;
    let opened = join_all((0..6).map(|_| async {
        let pool = writer(folder.path()).await;
        Queue::open_sqlite(&pool, QueueOptions::default())
            .await
            .unwrap()
            .epoch()
            .await
            .unwrap()
    }))
    .await;
    assert!(opened.iter().all(|epoch| *epoch == opened[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_jobs_table_is_noticed_and_survived() {
    let test = TestQueue::open(Sqlite).await;
    let mut worker = Worker::run(&test.queue, 1, async |_| Ok(()));
    test.queue.push(&stores(1)).await.unwrap();
    worker.next().await;
    let epoch = test.queue.epoch().await.unwrap();
    query("DROP TABLE Jobs")
        .execute(&test.sqlite().await)
        .await
        .unwrap();

    // The worker makes the table again.
    let jobs = stores(1);
    while test.queue.push(&jobs).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(worker.next().await, jobs[0]);
    worker.stop().await;
    assert_ne!(test.queue.epoch().await.unwrap(), epoch);
    let counts = test.counts(SyncStore::QUEUE).await;
    assert_eq!(
        counts,
        Counts {
            done: 1,
            ..Counts::default()
        }
    );
}

/// Ten looks and no write: a laptop that only runs the service may sleep.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_worker_does_not_write() {
    let test = TestQueue::open(Sqlite).await;
    let mut worker = Worker::run(&test.queue, 1, async |_| Ok(()));
    test.queue.push(&stores(1)).await.unwrap();
    worker.next().await;
    let pool = test.sqlite().await;
    let version = || async {
        query_scalar::<_, i64>("PRAGMA data_version")
            .fetch_one(&pool)
            .await
            .unwrap()
    };
    while test.counts(SyncStore::QUEUE).await.done == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = version().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(version().await, before, "somebody wrote");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn purged_jobs_are_remembered_and_dead_workers_are_not() {
    let test = TestQueue::open(Sqlite).await;
    test.queue.push(&stores(7)).await.unwrap();
    test.queue
        .run_until_empty(2, async |_: SyncStore| Ok(()))
        .await
        .unwrap();
    #[expect(clippy::disallowed_methods, reason = "SQLite stamps real time")]
    let later = chrono::Utc::now() + Duration::from_hours(1);
    test.queue
        .purge_finished(Duration::ZERO, later)
        .await
        .unwrap();
    let pool = test.sqlite().await;
    let totals: Vec<(String, String, i64)> = query_as("SELECT * FROM job_queue_totals")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(totals, [(test.key(SyncStore::QUEUE), "Done".to_owned(), 7)]);
    let workers: i64 = query_scalar("SELECT COUNT(*) FROM Workers")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(workers, 0);
}
