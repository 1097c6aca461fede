//! Ticks of apalis-cron.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Timelike, Utc};
use jobs::{ScheduleError, run_schedule};
use tokio::{
    sync::mpsc::{self, UnboundedReceiver},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::support::queues::PATIENCE;

const EVERY_SECOND: &str = "* * * * * *";

struct Schedule {
    ticks: UnboundedReceiver<DateTime<Utc>>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Schedule {
    /// Runs a schedule whose handler reports, then does `what` with the number of the tick.
    fn run<F>(what: impl Fn(u32) -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let (report, ticks) = mpsc::unbounded_channel();
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        let count = Arc::new(AtomicU32::new(0));
        let task = tokio::spawn(async move {
            run_schedule("test", EVERY_SECOND, token, move |tick| {
                let _ = report.send(tick);
                what(count.fetch_add(1, Ordering::Relaxed))
            })
            .await
            .unwrap();
        });
        Self {
            ticks,
            shutdown,
            task,
        }
    }

    async fn next(&mut self) -> DateTime<Utc> {
        timeout(PATIENCE, self.ticks.recv())
            .await
            .expect("no tick in time")
            .unwrap()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        timeout(PATIENCE, self.task)
            .await
            .expect("the schedule hangs")
            .unwrap();
    }
}

/// That one of them counts is decided by a row elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn every_replica_gets_every_tick_once() {
    let mut one = Schedule::run(async |_| Ok(()));
    let mut two = Schedule::run(async |_| Ok(()));
    let (first, second) = (one.next().await, one.next().await);
    assert_eq!(second - first, chrono::TimeDelta::seconds(1));
    assert_eq!(first.nanosecond(), 0, "a tick is the instant it stands for");
    let theirs = [two.next().await, two.next().await];
    assert!(theirs.contains(&second), "{theirs:?} has no {second}");
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_that_fails_or_panics_is_followed_by_the_next() {
    let mut schedule = Schedule::run(|count| {
        assert_ne!(count, 0, "boom");
        async move { if count == 1 { Err("no".into()) } else { Ok(()) } }
    });
    let first = schedule.next().await;
    schedule.next().await;
    assert_eq!(schedule.next().await - first, chrono::TimeDelta::seconds(2));
    schedule.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_during_the_former_one_is_skipped() {
    let mut schedule = Schedule::run(async |count| {
        if count == 0 {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
        }
        Ok(())
    });
    let first = schedule.next().await;
    assert!(schedule.next().await - first >= chrono::TimeDelta::seconds(2));
    schedule.stop().await;
}

/// A process that was stopped for a while: the tick that apalis-cron waits for has passed.
#[tokio::test(flavor = "current_thread")]
async fn a_schedule_outlives_a_tick_in_the_past() {
    let mut schedule = Schedule::run(async |count| {
        if count == 0 {
            // Not only this task, all of them.
            std::thread::sleep(Duration::from_millis(2_300));
        }
        Ok(())
    });
    let first = schedule.next().await;
    let second = schedule.next().await;
    assert!(second > first, "{first} {second}");
    let third = schedule.next().await;
    assert!(third > second, "{second} {third}");
    schedule.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_ends_after_its_last_tick() {
    let (end, ended) = tokio::sync::oneshot::channel();
    let end = Arc::new(std::sync::Mutex::new(Some(end)));
    let mut schedule = Schedule::run(move |_| {
        let end = end.lock().unwrap().take();
        async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            if let Some(end) = end {
                end.send(()).unwrap();
            }
            Ok(())
        }
    });
    schedule.next().await;
    schedule.stop().await;
    ended.await.expect("the tick was dropped");
}

#[tokio::test]
async fn a_schedule_that_cannot_run_says_so() {
    let run =
        |cron: &'static str| run_schedule("test", cron, CancellationToken::new(), async |_| Ok(()));
    assert!(matches!(
        run("nonsense").await,
        Err(ScheduleError::Cron { .. })
    ));
    assert!(matches!(
        run("0 0 0 1 1 * 2001").await,
        Err(ScheduleError::NoTick(_))
    ));
}
