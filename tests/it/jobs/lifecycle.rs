//! How workers start, stop, die and come back.

use std::{sync::Arc, time::Duration};

use jobs::{Job, SyncStore};
use rstest::rstest;
use sqlx::query;
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::worker::Worker;
use crate::support::queues::{
    Counts, PATIENCE, TestQueue,
    Transport::{self, Redis, Sqlite},
    stores,
};

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_starts_again_at_once(#[values(Redis, Sqlite)] on: Transport) {
    let test = TestQueue::open(on).await;
    for _ in 0..3 {
        let mut worker = Worker::run(&test.queue, 1, async |_| Ok(()));
        let job = stores(1);
        test.queue.push(&job).await.unwrap();
        assert_eq!(worker.next().await, job[0]);
        worker.stop().await;
    }
    let counts = test.counts(SyncStore::QUEUE).await;
    assert_eq!(
        counts,
        Counts {
            done: 3,
            ..Counts::default()
        }
    );
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn shutdown_waits_for_what_runs_and_leaves_the_rest(#[values(Redis, Sqlite)] on: Transport) {
    let test = TestQueue::open(on).await;
    let gate = Arc::new(Semaphore::new(0));
    let (held, pool) = (Arc::clone(&gate), test.sqlite().await);
    let mut worker = Worker::run(&test.queue, 2, move |_| {
        let (held, pool) = (Arc::clone(&held), pool.clone());
        async move {
            held.acquire().await.unwrap().forget();
            query("SELECT 1")
                .execute(&pool)
                .await
                .map_err(|error| error.to_string())?;
            Ok(())
        }
    });
    test.queue.push(&stores(5)).await.unwrap();
    worker.next().await;
    worker.next().await;
    worker.shutdown.cancel();
    // While it drains, its jobs are its own, and all others are free for others.
    for _ in 0..20 {
        let counts = test.counts(SyncStore::QUEUE).await;
        assert_eq!((counts.waiting, counts.taken), (3, 2));
        sleep(Duration::from_millis(10)).await;
    }
    let other = test.other_process().await;
    let ran = other.run_until_empty(1, async |_: SyncStore| Ok(())).await;
    assert_eq!(ran.unwrap(), 3);
    assert!(!worker.task.is_finished());
    gate.add_permits(2);
    worker.stop().await.try_recv().unwrap_err();
    let counts = test.counts(SyncStore::QUEUE).await;
    assert_eq!(
        counts,
        Counts {
            done: 5,
            ..Counts::default()
        }
    );
}

/// apalis passes acknowledgements through a channel of a few places, and reads it no more once
/// its worker is told to stop.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn many_jobs_may_end_during_a_shutdown(#[values(Redis, Sqlite)] on: Transport) {
    let test = TestQueue::open(on).await;
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let mut worker = Worker::run(&test.queue, 40, move |_| {
        let held = Arc::clone(&held);
        async move {
            held.acquire().await.unwrap().forget();
            Ok(())
        }
    });
    test.queue.push(&stores(40)).await.unwrap();
    for _ in 0..40 {
        worker.next().await;
    }
    worker.shutdown.cancel();
    gate.add_permits(40);
    worker.stop().await;
    let counts = test.counts(SyncStore::QUEUE).await;
    assert_eq!(
        counts,
        Counts {
            done: 40,
            ..Counts::default()
        }
    );
}

/// At whatever moment the shutdown comes: no job is left taken, no worker hangs, and a job
/// that was fetched too late waits again at once. The jobs write through the queue's own
/// single connection, which a fetch in flight must not keep from them.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_at_any_moment_leaves_no_job_behind(#[values(Redis, Sqlite)] on: Transport) {
    for moment in 0..25 {
        let test = TestQueue::open(on).await;
        let queue = test.queue.clone();
        let mut worker = Worker::run(&test.queue, 3, move |_| {
            let queue = queue.clone();
            async move {
                queue.ping().await.unwrap();
                queue.waiting(SyncStore::QUEUE).await.unwrap();
                Ok(())
            }
        });
        test.queue.push(&stores(60)).await.unwrap();
        if moment % 5 != 0 {
            worker.next().await;
        }
        sleep(Duration::from_micros(400) * moment).await;
        worker.stop().await;
        let counts = test.counts(SyncStore::QUEUE).await;
        assert_eq!((counts.taken, counts.dead), (0, 0), "{counts:?}");
        assert_eq!(counts.waiting + counts.done, 60, "{counts:?}");
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_jobs_of_a_killed_worker_run_again(#[values(Redis, Sqlite)] on: Transport) {
    let test = TestQueue::open_with(on, |options| {
        options.heartbeat = Duration::from_secs(1);
        options.dead_after = Duration::from_secs(3);
    })
    .await;
    let mut killed = Worker::run(&test.queue, 2, async |_| std::future::pending().await);
    let jobs = stores(1);
    test.queue.push(&jobs).await.unwrap();
    killed.next().await;
    killed.task.abort();
    assert!(killed.task.await.unwrap_err().is_cancelled());
    test.silence_workers(SyncStore::QUEUE).await;

    let other = test.other_process().await;
    let mut worker = Worker::run(&other, 2, async |_| Ok(()));
    assert_eq!(worker.next().await, jobs[0]);
    worker.stop().await.try_recv().unwrap_err();
    let counts = test.counts(SyncStore::QUEUE).await;
    assert_eq!(
        counts,
        Counts {
            done: 1,
            ..Counts::default()
        }
    );
}

/// With all places taken, and also while it drains: otherwise its jobs would run twice.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_worker_keeps_saying_that_it_lives(
    #[values(Redis, Sqlite)] on: Transport,
    #[values(false, true)] draining: bool,
) {
    let test = TestQueue::open_with(on, |options| {
        options.heartbeat = Duration::from_secs(1);
        options.dead_after = Duration::from_secs(4);
    })
    .await;
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let mut worker = Worker::run(&test.queue, 1, move |_| {
        let held = Arc::clone(&held);
        async move {
            held.acquire().await.unwrap().forget();
            Ok(())
        }
    });
    test.queue.push(&stores(2)).await.unwrap();
    worker.next().await;
    if draining {
        worker.shutdown.cancel();
    }
    test.silence_workers(SyncStore::QUEUE).await;
    let silent = test.oldest_heartbeat(SyncStore::QUEUE).await.unwrap();
    let heard = async {
        while test.oldest_heartbeat(SyncStore::QUEUE).await.unwrap() <= silent {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, heard).await.expect("no heartbeat");
    gate.add_permits(2);
    worker.stop().await;
}
