//! SIGTERM, once and twice.

use std::time::Duration;

use jobs::{Job, SyncStore};
use rstest::rstest;
use tokio::time::Instant;

use super::Installation;
use crate::support::app::Profile::{self, Embedded, Server};

const STORES: u32 = 40;
const ROWS: u32 = 10;

impl Installation {
    /// How many jobs wait for a worker.
    async fn waiting(&self) -> u64 {
        let queue = self.queue().await;
        queue.waiting(SyncStore::QUEUE).await.unwrap()
    }

    async fn held_leases(&self) -> i64 {
        self.count("SELECT COUNT(*) FROM stores WHERE lease_token IS NOT NULL")
            .await
    }
}

/// It finishes the calls in flight, frees its stores, gives back what it had not begun, and the
/// next process goes on from there.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_process_stops_cleanly(#[values(Embedded, Server)] on: Profile) {
    let settings = [
        ("SYNC_CONCURRENCY", "4"),
        ("SHUTDOWN_TIMEOUT_SECONDS", "10"),
    ];
    let installation = Installation::new(on, &settings).await;
    installation.insert(STORES, ROWS).await;
    installation.marketplace.delay(Duration::from_millis(200));
    let process = installation.start_all().await;
    process.wait_for_events("job_completed", 2).await;
    process.signal("TERM");
    let told = Instant::now();
    let exit = process.exit().await;
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    println!("{on:?}: stopped after {:?}", told.elapsed());
    assert!(told.elapsed() < Duration::from_secs(10));

    let enqueued: u64 = exit
        .events("scheduler_run")
        .iter()
        .map(|run| run["enqueuedJobs"].as_u64().unwrap())
        .sum();
    let completed = exit.events("job_completed").len() as u64;
    assert_eq!(
        exit.events("stopped")[0]["level"],
        "info",
        "everything was finished"
    );
    let failures = exit
        .stdout
        .iter()
        .filter(|line| line.contains("\"level\":\"error\""));
    assert_eq!(failures.count(), 0, "{:#?}", exit.stdout);
    assert_eq!(installation.held_leases().await, 0);
    assert!(completed < u64::from(STORES), "it was busy");
    assert_eq!(
        installation.waiting().await,
        enqueued - completed,
        "jobs that were not begun"
    );

    installation.marketplace.delay(Duration::ZERO);
    let _next = installation.start_all().await;
    let took = installation
        .wait_until_synced(Duration::from_secs(20))
        .await;
    println!("{on:?}: the next process finished it in {took:?}");
    let calls = installation.assert_all_synced(STORES, ROWS).await;
    assert!(
        calls.values().all(|times| *times == 1),
        "asked more than once"
    );
}

/// The marketplace does not answer, so it would wait; a second signal is an order. The next
/// process starts right away, also with the work that was not begun; what was in flight is
/// picked up like that of a killed process.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once(#[values(Embedded, Server)] on: Profile) {
    let installation = Installation::new(on, &[("SYNC_CONCURRENCY", "2")]).await;
    installation.insert(5, 1).await;
    installation.marketplace.hold(true);
    let process = installation.start_all().await;
    installation.marketplace.called(2).await;
    process.signal("TERM");
    process.wait_for_event("stopping").await;
    assert!(
        process.events("stopped").is_empty(),
        "two calls are in flight"
    );
    let told = Instant::now();
    process.signal("INT");
    let exit = process.exit().await;
    println!("{on:?}: ended {:?} after the second signal", told.elapsed());
    assert!(told.elapsed() < Duration::from_secs(2));
    assert_eq!(exit.code, Some(0));
    assert_eq!(installation.held_leases().await, 2);

    installation.marketplace.hold(false);
    let next = installation.start_all().await;
    next.wait_for_events("job_completed", 3).await;
    let done = "SELECT COUNT(*) FROM sync_logs WHERE status = 'success'";
    assert_eq!(installation.count(done).await, 3);
}

/// Nobody has to wait for a marketplace that does not answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_takes_no_longer_than_it_may() {
    let settings = [("SHUTDOWN_TIMEOUT_SECONDS", "1")];
    let installation = Installation::new(Embedded, &settings).await;
    installation.insert(2, 1).await;
    installation.marketplace.hold(true);
    let process = installation.start_all().await;
    installation.marketplace.called(2).await;
    process.signal("TERM");
    let told = Instant::now();
    let exit = process.exit().await;
    assert!(
        told.elapsed() < Duration::from_secs(3),
        "{:?}",
        told.elapsed()
    );
    assert_eq!(exit.code, Some(0));
    assert_eq!(
        exit.events("stopped")[0]["level"],
        "warn",
        "it says that it left work"
    );
}
