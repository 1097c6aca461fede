//! Servers that go away in the middle of work and come back: no process is started again.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Installation;
use crate::support::postgres::PostgresServer;
use crate::support::process::Process;
use crate::support::queues::RedisServer;

const STORES: u32 = 60;
const ROWS: u32 = 20;
/// How long a server is away.
const AWAY: Duration = Duration::from_secs(8);

/// Two busy workers, and a front that answers.
async fn busy(postgres: &PostgresServer, redis: &RedisServer) -> (Installation, Vec<Process>) {
    let settings = [
        ("SYNC_CHUNK_SIZE", "10"),
        ("SYNC_CONCURRENCY", "4"),
        ("SHUTDOWN_TIMEOUT_SECONDS", "10"),
    ];
    let installation = Installation::on_servers(postgres, redis, &settings).await;
    let fleet = installation.start_fleet().await;
    installation.insert(STORES, ROWS).await;
    installation.marketplace.delay(Duration::from_millis(20));
    installation.marketplace.called(200).await;
    (installation, fleet)
}

impl Installation {
    async fn ask(&self, process: &Process, path: &str) -> (StatusCode, bool) {
        let url = format!("http://{}{path}", process.listening("public").await);
        let answer = self.http().get(url).send().await.unwrap();
        (
            answer.status(),
            answer.headers().contains_key("retry-after"),
        )
    }

    /// Everything gets done, and nobody had to be started again.
    async fn assert_recovered(&self, fleet: Vec<Process>, most_calls: u32) {
        let back = Instant::now();
        let took = self.wait_until_synced(Duration::from_mins(1)).await;
        println!(
            "after {:?} everything is done, {took:?} after the outage",
            back.elapsed()
        );
        let calls = self.assert_all_synced(STORES, ROWS).await;
        let most = calls.values().max();
        assert!(most <= Some(&most_calls), "asked {most:?} times");
        for process in fleet {
            process.signal("TERM");
            assert_eq!(process.exit().await.code, Some(0));
        }
    }
}

/// What is asked meanwhile is told to come back, with a problem that says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_crashes_and_returns_costs_no_order() {
    let (mut postgres, redis) = (PostgresServer::start(), RedisServer::start());
    let (installation, fleet) = busy(&postgres, &redis).await;
    postgres.crash();
    let away = Instant::now();
    let front = &fleet[0];
    assert_eq!(
        installation.ask(front, "/health/live").await.0,
        StatusCode::OK
    );
    let unavailable = (StatusCode::SERVICE_UNAVAILABLE, true);
    assert_eq!(installation.ask(front, "/health/ready").await, unavailable);
    let url = format!("http://{}/orders/import", front.listening("public").await);
    let import = json!({ "syncToken": uuid::Uuid::nil(), "receipt": "shop1-1" });
    let answer = installation
        .http()
        .post(url)
        .json(&import)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["retry-after"], "1");
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "service_unavailable");
    sleep(AWAY.saturating_sub(away.elapsed())).await;
    postgres.run();
    // Outcomes that could not be written are asked for again.
    installation.assert_recovered(fleet, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_dies_and_returns_costs_no_order() {
    let (postgres, mut redis) = (PostgresServer::start(), RedisServer::start());
    let (installation, fleet) = busy(&postgres, &redis).await;
    redis.kill();
    assert_eq!(
        installation.ask(&fleet[0], "/health/ready").await,
        (StatusCode::SERVICE_UNAVAILABLE, true)
    );
    sleep(AWAY).await;
    redis.run();
    // Leases and rows are not there: nothing is asked about twice.
    installation.assert_recovered(fleet, 2).await;
}

/// A process that cannot reach its servers ends all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_process_without_its_servers_stops_in_time() {
    let (mut postgres, mut redis) = (PostgresServer::start(), RedisServer::start());
    let (installation, mut fleet) = busy(&postgres, &redis).await;
    postgres.crash();
    redis.kill();
    sleep(Duration::from_secs(1)).await;
    for process in &fleet {
        process.signal("TERM");
    }
    let told = Instant::now();
    for process in fleet.drain(..) {
        let exit = process.exit().await;
        assert_eq!(exit.code, Some(0), "{:#?}", exit.events("stopped"));
        assert!(told.elapsed() < Duration::from_secs(12));
    }
    println!("all ended {:?} after the signal", told.elapsed());
    postgres.run();
    redis.run();
    let fleet = installation.start_fleet().await;
    installation.assert_recovered(fleet, 3).await;
}
