//! Pushing, counting, purging.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::join_all;
use jobs::{
    ConfirmStockPush, DeliverCallback, Job, PushStock, Queue, QueueError, QueueOptions,
    ReconcileStock, ResyncStore, SyncStore,
};
use rstest::rstest;

use crate::support::queues::{
    Counts, TestQueue,
    Transport::{self, Redis, Sqlite},
    stores,
};

async fn succeed(_: SyncStore) -> Result<(), String> {
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the transports stamp real time")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

#[test]
fn every_job_has_its_queue_in_the_list() {
    let all = [
        SyncStore::QUEUE,
        DeliverCallback::QUEUE,
        PushStock::QUEUE,
        ConfirmStockPush::QUEUE,
        ResyncStore::QUEUE,
        ReconcileStock::QUEUE,
    ];
    assert_eq!(Queue::queues(), all);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_takes_no_more_than_it_may_hold(#[values(Redis, Sqlite)] on: Transport) {
    let test = TestQueue::open(on).await;
    let jobs = stores(3_000);
    match test.queue.push(&jobs).await {
        Err(QueueError::Full {
            queue,
            accepted,
            offered,
        }) => {
            assert_eq!((queue, accepted, offered), (SyncStore::QUEUE, 2_000, 3_000));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(test.queue.room::<SyncStore>().await.unwrap(), 0);
    assert_eq!(test.queue.room::<DeliverCallback>().await.unwrap(), 2_000);
    assert_eq!(
        test.queue.run_until_empty(64, succeed).await.unwrap(),
        2_000
    );
    test.queue.push(&jobs[2_000..]).await.unwrap();
    assert_eq!(
        test.queue.run_until_empty(64, succeed).await.unwrap(),
        1_000
    );
    let counts = test.counts(SyncStore::QUEUE).await;
    assert_eq!(
        counts,
        Counts {
            done: 3_000,
            ..Counts::default()
        }
    );
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn pushers_at_the_same_time_do_not_exceed_the_depth(#[values(Redis, Sqlite)] on: Transport) {
    let test = TestQueue::open_with(on, |options| options.max_depth = 100).await;
    let processes = [
        test.other_process().await,
        test.other_process().await,
        test.queue.clone(),
    ];
    let pushes = (0..30).map(|n| {
        let process = processes[n % 3].clone();
        tokio::spawn(async move { process.push(&stores(7)).await })
    });
    let results: Vec<_> = join_all(pushes)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 14);
    assert!(
        results
            .iter()
            .all(|it| matches!(it, Ok(_) | Err(QueueError::Full { .. })))
    );
    assert_eq!(test.queue.waiting(SyncStore::QUEUE).await.unwrap(), 98);
}

/// That one is enough is decided by the slot of its row, not here.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_job_may_be_pushed_twice_and_again_after_it_ended(
    #[values(Redis, Sqlite)] on: Transport,
) {
    let test = TestQueue::open(on).await;
    let job = stores(1)[0];
    test.queue.push(&[job, job]).await.unwrap();
    assert_eq!(test.queue.run_until_empty(1, succeed).await.unwrap(), 2);
    for _ in 0..2 {
        test.queue.push(&[job]).await.unwrap();
        assert_eq!(test.queue.run_until_empty(1, succeed).await.unwrap(), 1);
    }
    let counts = test.counts(SyncStore::QUEUE).await;
    assert_eq!(
        counts,
        Counts {
            done: 4,
            ..Counts::default()
        }
    );
}

#[rstest]
#[tokio::test]
async fn an_empty_push_and_an_unknown_queue_are_told_apart(#[values(Redis, Sqlite)] on: Transport) {
    let test = TestQueue::open(on).await;
    test.queue.ping().await.unwrap();
    test.queue.push::<SyncStore>(&[]).await.unwrap();
    assert_eq!(test.queue.waiting(SyncStore::QUEUE).await.unwrap(), 0);
    let error = test.queue.waiting("no-queue").await.unwrap_err();
    assert!(matches!(error, QueueError::UnknownQueue(_)), "{error}");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_forgets_what_ended_and_leaves_what_waits(#[values(Redis, Sqlite)] on: Transport) {
    let test = TestQueue::open(on).await;
    test.queue.push(&stores(1_200)).await.unwrap();
    test.queue.run_until_empty(64, succeed).await.unwrap();
    test.queue.push(&stores(2)).await.unwrap();
    test.queue
        .run_until_empty(1, async |_: SyncStore| Err("no".to_owned()))
        .await
        .unwrap();
    test.queue.push(&stores(3)).await.unwrap();

    let hour = Duration::from_hours(1);
    assert_eq!(test.queue.purge_finished(hour, now()).await.unwrap(), 0);
    let later = now() + Duration::from_secs(1);
    assert_eq!(
        test.queue
            .purge_finished(Duration::ZERO, later)
            .await
            .unwrap(),
        1_202
    );
    let counts = test.counts(SyncStore::QUEUE).await;
    assert_eq!(
        counts,
        Counts {
            waiting: 3,
            ..Counts::default()
        }
    );
    assert_eq!(test.queue.run_until_empty(1, succeed).await.unwrap(), 3);
}

/// What is kept is bounded by number, too, so that a busy hour costs no more than a quiet one.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_leaves_the_newest_when_they_are_too_many(#[values(Redis, Sqlite)] on: Transport) {
    let test = TestQueue::open_with(on, |options| options.max_finished = 100).await;
    let hour = Duration::from_hours(1);
    let fail = async |_: SyncStore| Err("no".to_owned());
    test.queue.push(&stores(5)).await.unwrap();
    test.queue.run_until_empty(64, fail).await.unwrap();
    for _ in 0..5 {
        test.queue.push(&stores(20)).await.unwrap();
        test.queue.run_until_empty(64, succeed).await.unwrap();
        test.age_finished(SyncStore::QUEUE, 60).await;
        assert_eq!(test.queue.purge_finished(hour, now()).await.unwrap(), 0);
    }
    test.queue.push(&stores(10)).await.unwrap();
    test.queue.run_until_empty(64, succeed).await.unwrap();
    // Ten are too many; with them goes what ended in the same second, but nothing younger.
    let removed = test.queue.purge_finished(hour, now()).await.unwrap();
    assert!((10..=20).contains(&removed), "{removed}");
    let counts = test.counts(SyncStore::QUEUE).await;
    let (done, dead) = (110 - removed, 5);
    assert_eq!(
        counts,
        Counts {
            done,
            dead,
            ..Counts::default()
        }
    );
    assert_eq!(test.queue.purge_finished(hour, now()).await.unwrap(), 0);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_leaves_what_runs(#[values(Redis, Sqlite)] on: Transport) {
    let test = TestQueue::open(on).await;
    test.queue.push(&stores(1)).await.unwrap();
    let queue = test.queue.clone();
    let ran = test
        .queue
        .run_until_empty(1, move |_: SyncStore| {
            let queue = queue.clone();
            async move {
                let later = now() + Duration::from_hours(2);
                let purged = queue.purge_finished(Duration::ZERO, later).await;
                if purged.is_ok_and(|count| count == 0) {
                    Ok(())
                } else {
                    Err("purged".into())
                }
            }
        })
        .await;
    assert_eq!(ran.unwrap(), 1);
    let counts = test.counts(SyncStore::QUEUE).await;
    assert_eq!(
        counts,
        Counts {
            done: 1,
            ..Counts::default()
        }
    );
}

#[rstest]
#[tokio::test]
async fn all_processes_see_one_epoch(#[values(Redis, Sqlite)] on: Transport) {
    let test = TestQueue::open(on).await;
    let epoch = test.queue.epoch().await.unwrap();
    assert_eq!(test.queue.epoch().await.unwrap(), epoch);
    assert_eq!(test.other_process().await.epoch().await.unwrap(), epoch);
}

#[rstest]
#[case(|options: &mut QueueOptions| options.heartbeat = Duration::from_millis(500))]
#[case(|options: &mut QueueOptions| options.dead_after = Duration::from_secs(11))]
#[case(|options: &mut QueueOptions| options.max_depth = 8_000)]
#[tokio::test]
async fn options_that_would_lose_or_stop_jobs_are_refused(#[case] spoil: fn(&mut QueueOptions)) {
    let mut options = QueueOptions::default();
    spoil(&mut options);
    let folder = tempfile::tempdir().unwrap();
    let pool = crate::support::queues::writer(folder.path()).await;
    let error = Queue::open_sqlite(&pool, options).await.unwrap_err();
    assert!(matches!(error, QueueError::Options(_)), "{error}");
}
