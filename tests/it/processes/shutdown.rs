//! SIGTERM, once and twice: to a process that syncs stores, and to one that delivers events.

use std::time::Duration;

use jobs::{DeliverCallback, Job, SyncStore};
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::json;
use tokio::time::Instant;

use super::Installation;
use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::process::Process;
use crate::support::subscriber::Subscriber;

const STORES: u32 = 40;
const ROWS: u32 = 10;
/// Events that are owed, and how many of them are delivered at a time.
const EVENTS: usize = 20;
const AT_A_TIME: usize = 4;

impl Installation {
    /// How many jobs wait for a worker.
    async fn waiting<J: Job>(&self) -> u64 {
        let queue = self.queue().await;
        queue.waiting(J::QUEUE).await.unwrap()
    }

    async fn held_leases(&self) -> i64 {
        self.count("SELECT COUNT(*) FROM stores WHERE lease_token IS NOT NULL")
            .await
    }

    async fn held_deliveries(&self) -> usize {
        let held = "SELECT COUNT(*) FROM callback_deliveries WHERE lease_token IS NOT NULL";
        usize::try_from(self.count(held).await).unwrap()
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
        installation.waiting::<SyncStore>().await,
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

/// A process with some deliveries in flight, and the others enqueued.
async fn delivering(on: Profile) -> (Installation, Subscriber, Process) {
    let settings = [
        ("CALLBACK_CRON", "* * * * * *"),
        ("CALLBACK_CONCURRENCY", &AT_A_TIME.to_string()),
        ("CALLBACK_TIMEOUT_MS", "30000"),
        ("SHUTDOWN_TIMEOUT_SECONDS", "20"),
    ];
    let installation = Installation::new(on, &settings).await;
    let subscriber = Subscriber::start().await;
    let process = installation.start_all().await;
    let url = format!(
        "http://{}/webhooks/register",
        process.address("public").await
    );
    let target = subscriber.url("/webhook");
    let body = json!({ "organizationId": "org-1", "event": "sync.completed", "targetUrl": target });
    let request = installation.http().post(url).json(&body);
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
    subscriber.hold("/webhook");
    installation.insert(u32::try_from(EVENTS).unwrap(), 1).await;
    process.wait_for_events("job_completed", EVENTS).await;
    subscriber.has_received("/webhook", AT_A_TIME).await;
    (installation, subscriber, process)
}

/// It waits for the answers to what it has sent, and begins nothing more. The next process goes
/// on at once, with what was handed back, and sends nothing again.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_delivers_stops_cleanly(#[values(Embedded, Server)] on: Profile) {
    let (installation, subscriber, process) = delivering(on).await;
    assert_eq!(installation.held_deliveries().await, AT_A_TIME);
    process.signal("TERM");
    process.wait_for_event("stopping").await;
    assert!(process.events("stopped").is_empty(), "calls are in flight");
    let told = Instant::now();
    subscriber.release("/webhook");
    let exit = process.exit().await;
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    assert!(told.elapsed() < Duration::from_secs(5));
    assert_eq!(exit.events("stopped")[0]["level"], "info", "{exit:#?}");
    let completed = exit.events("callback_job_completed");
    assert!(completed.iter().all(|job| job["status"] == "success"));
    assert_eq!(completed.len(), AT_A_TIME);
    assert_eq!(subscriber.count("/webhook"), AT_A_TIME);
    assert_eq!(installation.held_deliveries().await, 0);
    let waiting = installation.waiting::<DeliverCallback>().await;
    let left = EVENTS - AT_A_TIME;
    assert_eq!(waiting, left as u64, "handed back");

    let started = Instant::now();
    let next = installation.start_all().await;
    next.wait_for_events("callback_job_completed", left).await;
    let took = started.elapsed();
    println!("{on:?}: the next process had delivered the rest after {took:?}");
    assert!(took < Duration::from_secs(10), "it waited for something");
    let mut events = subscriber.events("/webhook");
    events.sort();
    events.dedup();
    assert_eq!(events.len(), EVENTS);
    assert_eq!(subscriber.count("/webhook"), EVENTS, "each once");
}

/// The webhook does not answer, so it would wait; a second signal is an order. What it had not
/// begun is delivered by the next process at once, what was in flight when its lease is over.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_deliveries_at_once(#[values(Embedded, Server)] on: Profile) {
    let (installation, subscriber, process) = delivering(on).await;
    process.signal("TERM");
    process.wait_for_event("stopping").await;
    let told = Instant::now();
    process.signal("TERM");
    let exit = process.exit().await;
    println!("{on:?}: ended {:?} after the second signal", told.elapsed());
    assert!(told.elapsed() < Duration::from_secs(2));
    assert_eq!(exit.code, Some(0));
    assert_eq!(exit.events("stopped")[0]["level"], "warn");
    assert_eq!(installation.held_deliveries().await, AT_A_TIME);

    subscriber.release("/webhook");
    let started = Instant::now();
    let _next = installation.start_all().await;
    subscriber.has_received("/webhook", EVENTS).await;
    println!(
        "{on:?}: the rest was delivered {:?} later",
        started.elapsed()
    );
    assert!(started.elapsed() < Duration::from_secs(10));
    let mut first = subscriber.events("/webhook");
    first.truncate(EVENTS);
    first.sort();
    first.dedup();
    assert_eq!(first.len(), EVENTS, "none of them is one in flight");
}
