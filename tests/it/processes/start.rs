//! A start before the database or the queue is there, and right after another process ended.

use std::time::Duration;

use reqwest::StatusCode;
use rstest::rstest;
use serde_json::Value;
use tokio::time::Instant;

use super::Installation;
use crate::support::app::Profile::{self, Embedded, Server};
use crate::support::postgres::PostgresServer;
use crate::support::process::{Process, run};
use crate::support::queues::RedisServer;

/// A Redis that demands a password nobody gave us.
async fn lock_up(redis: &RedisServer) {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("CONFIG")
        .arg(&["SET", "requirepass", "secret"])
        .exec_async(&mut connection)
        .await
        .unwrap();
}

/// What both listeners of a process say that waits.
async fn assert_closed(installation: &Installation, process: &Process) {
    for listener in ["public", "admin"] {
        let address = process.listening(listener).await;
        let get = async |path: &str| {
            let url = format!("http://{address}{path}");
            installation.http().get(url).send().await.unwrap()
        };
        assert_eq!(get("/health/live").await.status(), StatusCode::OK);
        for path in ["/health/ready", "/stores/sync-status", "/", "/metrics"] {
            let answer = get(path).await;
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
            assert!(answer.headers().contains_key("retry-after"), "{path}");
            assert!(answer.headers().contains_key("x-request-id"), "{path}");
            let problem: Value = answer.json().await.unwrap();
            assert_eq!(problem["code"], "service_unavailable");
        }
    }
}

/// The machine comes up in any order. Whoever has no listener waits, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_waits_for_its_database_and_its_queue() {
    let (mut postgres, mut redis) = (PostgresServer::prepare(), RedisServer::prepare());
    let installation = Installation::on_servers(&postgres, &redis, &[]).await;
    let start = |roles| Process::start(&["serve", "--roles", roles], &installation.environment);
    let fleet = [start("api,scheduler"), start("worker")];
    assert_closed(&installation, &fleet[0]).await;
    for process in &fleet {
        let lines = process.wait_for_events("waiting_to_start", 2).await;
        assert_eq!(lines[0]["part"], "database");
        assert_eq!(lines[0]["level"], "warn");
        let [first, second] = [0, 1].map(|at: usize| lines[at]["retryInSeconds"].as_f64());
        assert!(first < second, "{lines:#?}");
    }
    postgres.run();
    for process in &fleet {
        let mut waited = 2;
        loop {
            let lines = process.wait_for_events("waiting_to_start", waited).await;
            if lines[waited - 1]["part"] == "queue" {
                break;
            }
            waited += 1;
        }
    }
    assert_closed(&installation, &fleet[0]).await;
    redis.run();
    for process in &fleet {
        process.wait_for_event("started").await;
        assert!(!process.written().contains("correct-horse"));
    }
    let ready = format!("http://{}/health/ready", fleet[0].listening("public").await);
    let answer = installation.http().get(ready).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    installation.insert(5, 4).await;
    installation
        .wait_until_synced(Duration::from_secs(20))
        .await;
    installation.assert_all_synced(5, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_a_process_that_waits() {
    let (postgres, redis) = (PostgresServer::prepare(), RedisServer::prepare());
    let installation = Installation::on_servers(&postgres, &redis, &[]).await;
    for (roles, signal) in [("api", "TERM"), ("worker", "INT")] {
        let process = Process::start(&["serve", "--roles", roles], &installation.environment);
        process.wait_for_event("waiting_to_start").await;
        process.signal(signal);
        let told = Instant::now();
        let exit = process.exit().await;
        assert!(told.elapsed() < Duration::from_secs(2), "{exit:#?}");
        assert_eq!(exit.code, Some(0), "{exit:#?}");
        assert_eq!(exit.events("stopped").len(), 1, "{exit:#?}");
    }
}

/// Somebody has to change something: it says what, and ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_does_not_wait_for_what_does_not_pass() {
    let (postgres, redis) = (PostgresServer::start(), RedisServer::start());
    let mut installation = Installation::on_servers(&postgres, &redis, &[]).await;
    let given = installation.environment.len();
    let with_password = redis.url().replace("//", "//:wrong@");
    let cases = [
        (
            "DATABASE_URL",
            postgres.url_as("postgres", "wrong", "postgres"),
        ),
        (
            "DATABASE_URL",
            postgres.url_as("nobody", "wrong", "postgres"),
        ),
        (
            "DATABASE_URL",
            postgres.url_as("postgres", "correct-horse", "nothing"),
        ),
        ("REDIS_URL", with_password),
        ("REDIS_URL", format!("{}/99", redis.url())),
    ];
    for (name, value) in cases {
        installation.environment.truncate(given);
        installation
            .environment
            .push((name.to_owned(), value.clone()));
        let exit = run(&["serve"], &installation.environment).await;
        assert_eq!(exit.code, Some(3), "{value}: {exit:#?}");
        assert!(!exit.complaint().contains("wrong"), "{exit:#?}");
        assert!(exit.events("waiting_to_start").is_empty(), "{exit:#?}");
    }
    installation.environment.truncate(given);
    lock_up(&redis).await;
    let exit = run(&["serve"], &installation.environment).await;
    assert_eq!(exit.code, Some(3), "{exit:#?}");
    assert!(exit.complaint().contains("the queue is unreachable"));
}

/// The same host, the same name, the same second: nobody waits for the traces of the dead one.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_is_replaced_at_once(#[values(Embedded, Server)] on: Profile) {
    let installation = Installation::new(on, &[("SYNC_CONCURRENCY", "2")]).await;
    installation.insert(6, 1).await;
    installation.marketplace.hold(true);
    let process = installation.start_all().await;
    installation.marketplace.called(2).await;
    process.kill().await;
    installation.marketplace.hold(false);
    let killed = Instant::now();
    let next = installation.start_all().await;
    // Two were in flight: their leases end by themselves.
    next.wait_for_events("job_completed", 4).await;
    println!(
        "{on:?}: the others were done {:?} after the kill",
        killed.elapsed()
    );
    assert!(killed.elapsed() < Duration::from_secs(10));
}
