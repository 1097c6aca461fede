//! What a worker does with a job.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use jobs::{DeliverCallback, Job, OutboxId, Queue, SyncStore};
use rstest::rstest;
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::queues::{
    Counts, PATIENCE, TestQueue,
    Transport::{self, Redis, Sqlite},
    stores,
};

/// A worker in the background that reports every job it starts.
pub(super) struct Worker {
    pub(super) started: UnboundedReceiver<SyncStore>,
    pub(super) shutdown: CancellationToken,
    pub(super) task: JoinHandle<()>,
}

impl Worker {
    pub(super) fn run<F>(
        queue: &Queue,
        concurrency: usize,
        handler: impl Fn(SyncStore) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let (report, started) = mpsc::unbounded_channel();
        let shutdown = CancellationToken::new();
        let (queue, token) = (queue.clone(), shutdown.clone());
        let task = tokio::spawn(async move {
            let handler = reporting(report, handler);
            queue.run_worker(concurrency, token, handler).await.unwrap();
        });
        Self {
            started,
            shutdown,
            task,
        }
    }

    pub(super) async fn next(&mut self) -> SyncStore {
        timeout(PATIENCE, self.started.recv())
            .await
            .expect("no job in time")
            .unwrap()
    }

    pub(super) async fn stop(self) -> UnboundedReceiver<SyncStore> {
        self.shutdown.cancel();
        timeout(PATIENCE, self.task)
            .await
            .expect("the worker hangs")
            .unwrap();
        self.started
    }
}

fn reporting<F>(
    report: UnboundedSender<SyncStore>,
    handler: impl Fn(SyncStore) -> F + Clone + Send + Sync + 'static,
) -> impl Fn(SyncStore) -> F + Clone + Send + Sync + 'static {
    move |job| {
        let _ = report.send(job);
        handler(job)
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn every_pushed_job_runs_once(#[values(Redis, Sqlite)] on: Transport) {
    let test = TestQueue::open(on).await;
    let jobs = stores(20);
    test.queue.push(&jobs).await.unwrap();
    let ran: Arc<Mutex<Vec<SyncStore>>> = Arc::default();
    let record = Arc::clone(&ran);
    let count = test
        .queue
        .run_until_empty(3, move |job: SyncStore| {
            record.lock().unwrap().push(job);
            async { Ok(()) }
        })
        .await
        .unwrap();
    assert_eq!(count, 20);
    let ran = std::mem::take(&mut *ran.lock().unwrap());
    assert_eq!(ran.len(), 20);
    assert_eq!(ran.iter().collect::<HashSet<_>>(), jobs.iter().collect());
    let counts = test.counts(SyncStore::QUEUE).await;
    assert_eq!(
        counts,
        Counts {
            done: 20,
            ..Counts::default()
        }
    );
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn queues_do_not_mix(#[values(Redis, Sqlite)] on: Transport) {
    let test = TestQueue::open(on).await;
    let callback = DeliverCallback {
        outbox_id: OutboxId(Uuid::from_u128(7)),
    };
    test.queue.push(&[callback]).await.unwrap();
    let ran = test
        .queue
        .run_until_empty(1, async |_: SyncStore| Ok(()))
        .await
        .unwrap();
    assert_eq!(ran, 0);
    let ran = test
        .queue
        .run_until_empty(1, move |job: DeliverCallback| {
            let right = job == callback;
            async move {
                if right {
                    Ok(())
                } else {
                    Err("another job".into())
                }
            }
        })
        .await;
    assert_eq!(ran.unwrap(), 1);
    let counts = test.counts(DeliverCallback::QUEUE).await;
    assert_eq!(
        counts,
        Counts {
            done: 1,
            ..Counts::default()
        }
    );
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_is_kept_and_not_run_again(#[values(Redis, Sqlite)] on: Transport) {
    let test = TestQueue::open(on).await;
    test.queue.push(&stores(1)).await.unwrap();
    let fail = async |_: SyncStore| Err("the marketplace is closed".to_owned());
    assert_eq!(test.queue.run_until_empty(1, fail).await.unwrap(), 1);
    let dead = Counts {
        dead: 1,
        ..Counts::default()
    };
    assert_eq!(test.counts(SyncStore::QUEUE).await, dead);

    // A worker that gets a later job has had every chance to get the failed one.
    let mut worker = Worker::run(&test.queue, 1, async |_| Ok(()));
    let later = stores(1);
    test.queue.push(&later).await.unwrap();
    assert_eq!(worker.next().await, later[0]);
    worker.stop().await.try_recv().unwrap_err();
    assert_eq!(
        test.counts(SyncStore::QUEUE).await,
        Counts { done: 1, ..dead }
    );
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_fails_its_job_and_no_other(#[values(Redis, Sqlite)] on: Transport) {
    let test = TestQueue::open(on).await;
    let jobs = stores(3);
    test.queue.push(&jobs).await.unwrap();
    let bad = jobs[1];
    let ran = test.queue.run_until_empty(2, move |job: SyncStore| {
        // Before the future is made, which is the harder case.
        assert_ne!(job, bad, "boom");
        async { Ok(()) }
    });
    assert_eq!(ran.await.unwrap(), 3);
    let counts = test.counts(SyncStore::QUEUE).await;
    assert_eq!(
        counts,
        Counts {
            done: 2,
            dead: 1,
            ..Counts::default()
        }
    );
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_does_not_decode_dies_and_the_worker_lives(
    #[values(Redis, Sqlite)] on: Transport,
) {
    let test = TestQueue::open(on).await;
    test.plant(SyncStore::QUEUE, "no JSON at all").await;
    test.plant(SyncStore::QUEUE, r#"{"storeId":"no id"}"#).await;
    test.queue.push(&stores(1)).await.unwrap();
    let ran = test
        .queue
        .run_until_empty(1, async |_: SyncStore| Ok(()))
        .await;
    assert_eq!(ran.unwrap(), 3);
    let counts = test.counts(SyncStore::QUEUE).await;
    assert_eq!(
        counts,
        Counts {
            done: 1,
            dead: 2,
            ..Counts::default()
        }
    );
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn no_more_jobs_run_at_once_than_allowed(#[values(Redis, Sqlite)] on: Transport) {
    let test = TestQueue::open(on).await;
    test.queue.push(&stores(40)).await.unwrap();
    let running = Arc::new(Mutex::new((0, 0)));
    let watch = Arc::clone(&running);
    let ran = test
        .queue
        .run_until_empty(4, move |_: SyncStore| {
            let watch = Arc::clone(&watch);
            async move {
                {
                    let mut running = watch.lock().unwrap();
                    running.0 += 1;
                    running.1 = running.1.max(running.0);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
                watch.lock().unwrap().0 -= 1;
                Ok(())
            }
        })
        .await;
    assert_eq!(ran.unwrap(), 40);
    assert_eq!(
        running.lock().unwrap().1,
        4,
        "all four places are used, and no fifth"
    );
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn workers_never_share_a_job(#[values(Redis, Sqlite)] on: Transport) {
    let test = TestQueue::open(on).await;
    let other = test.other_process().await;
    test.queue.push(&stores(400)).await.unwrap();
    let runs: Arc<Mutex<HashMap<SyncStore, u32>>> = Arc::default();
    let worker = |queue: Queue| {
        let runs = Arc::clone(&runs);
        async move {
            queue
                .run_until_empty(5, move |job: SyncStore| {
                    *runs.lock().unwrap().entry(job).or_default() += 1;
                    async {
                        tokio::task::yield_now().await;
                        Ok(())
                    }
                })
                .await
                .unwrap()
        }
    };
    let (one, two) = tokio::join!(worker(test.queue.clone()), worker(other));
    assert_eq!(one + two, 400);
    assert!(one > 0 && two > 0, "one worker had it all: {one}, {two}");
    assert!(runs.lock().unwrap().values().all(|count| *count == 1));
}

/// Measured, and asserted only loosely: apalis alone would take up to 30 s.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_worker_starts_a_pushed_job_soon(
    #[values(Redis, Sqlite)] on: Transport,
    #[values(true, false)] same_process: bool,
) {
    let test = TestQueue::open(on).await;
    let mut worker = Worker::run(&test.queue, 2, async |_| Ok(()));
    let pusher = if same_process {
        test.queue.clone()
    } else {
        test.other_process().await
    };
    pusher.push(&stores(1)).await.unwrap();
    worker.next().await;

    let mut latencies = Vec::new();
    for pause in 0..20 {
        tokio::time::sleep(Duration::from_millis(20 + pause)).await;
        let job = stores(1);
        let pushed = Instant::now();
        pusher.push(&job).await.unwrap();
        assert_eq!(worker.next().await, job[0]);
        latencies.push(pushed.elapsed());
    }
    worker.stop().await;
    latencies.sort();
    #[expect(clippy::print_stderr, reason = "the measurement")]
    {
        eprintln!(
            "{on:?}, same process {same_process}: median {:?}, worst {:?}",
            latencies[10], latencies[19]
        );
    }
    assert!(latencies[19] < Duration::from_secs(2), "{latencies:?}");
}
