//! What is counted where it happens.

use std::time::Duration;

use poem::http::Method;
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::json;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};
use crate::support::runs::{run_in, spawn_run};
use crate::support::scrape::Scrape;
use crate::support::scripted_connector::{broken, invalid, rate_limited, unauthorized, valid};
use crate::support::subscriber::Answer::{Hang, Status};
use crate::support::subscriber::Subscriber;

fn requests(scrape: &Scrape, route: &str, method: &str, status: &str) -> Option<f64> {
    let labels = [("route", route), ("method", method), ("status", status)];
    scrape.find("http_request_duration_seconds_count", &labels)
}

#[rstest]
#[tokio::test]
async fn a_request_is_counted_by_its_template_and_a_known_method(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::watched(on, &[]).await;
    let store = app.register("shop").await;
    app.get(&format!("/stores/sync-status?syncToken={}", store.token))
        .await;
    for id in [
        "0193c5d0-7b1c-7b6e-9d0a-2f5d8c3e4a1b",
        "0193c5d0-7b1c-7b6e-9d0a-2f5d8c3e4a1c",
    ] {
        let url = app
            .server
            .url(&format!("/callbacks/{id}?organizationId=org-1"));
        assert_eq!(app.send(app.http.get(url)).await.0, StatusCode::NOT_FOUND);
    }
    app.get("/no/such/path").await;
    for method in ["BREW", "PROPFIND"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        app.send(app.http.request(method, app.server.url("/nowhere")))
            .await;
    }
    let scrape = app.scrape().await;
    assert_eq!(
        requests(&scrape, "/stores/register", "POST", "200"),
        Some(1.0)
    );
    assert_eq!(
        requests(&scrape, "/stores/sync-status", "GET", "200"),
        Some(1.0)
    );
    assert_eq!(
        requests(&scrape, "/callbacks/{id}", "GET", "404"),
        Some(2.0)
    );
    assert_eq!(requests(&scrape, "unmatched", "GET", "404"), Some(1.0));
    assert_eq!(requests(&scrape, "unmatched", "other", "404"), Some(2.0));
    for known in [
        store.id.to_string(),
        store.token.to_string(),
        "org-1".to_owned(),
    ] {
        assert!(!scrape.text.contains(&known), "{known} is in a label");
    }
    assert!(!scrape.text.contains("/no/such/path"));
}

#[rstest]
#[tokio::test]
async fn a_question_to_a_marketplace_is_counted_by_what_came_of_it(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::watched(on, &[]).await;
    let store = app.register("shop").await;
    for (receipt, reply) in [
        ("order-2", invalid()),
        ("order-3", rate_limited(None)),
        ("order-4", unauthorized()),
        ("order-5", broken("Marketplace timeout")),
    ] {
        app.marketplace.reply(receipt, [reply]);
    }
    for receipt in ["order-1", "order-2", "order-3", "order-4", "order-5"] {
        app.import(store, receipt).await;
        app.import(store, receipt).await;
    }
    let scrape = app.scrape().await;
    for outcome in [
        "valid",
        "invalid",
        "rate_limited",
        "auth_error",
        "marketplace_error",
    ] {
        let labels = [("marketplace", "etsy"), ("outcome", outcome)];
        let count = scrape.value("marketplace_request_duration_seconds_count", &labels);
        assert!(
            (count - 1.0).abs() < f64::EPSILON,
            "{outcome}: a replay asks nobody"
        );
    }
    let rows = scrape.value("sync_rows_processed_total", &[("outcome", "success")]);
    assert!(rows.abs() < f64::EPSILON, "an import is no run");
}

#[rstest]
#[tokio::test]
async fn a_run_is_counted_with_its_rows(#[values(Embedded, Server)] on: Profile) {
    let settings = [("SYNC_FAILED_MAX_ATTEMPTS", "1")];
    let app = TestApp::watched(on, &settings).await;
    let store = app.register("shop").await;
    app.insert_due_rows(store, 4).await;
    app.marketplace.reply("r0001", [invalid()]);
    app.marketplace.reply("r0002", [rate_limited(None)]);
    assert_eq!(app.schedule().await.enqueued_jobs, 1);
    assert_eq!(app.run_jobs().await, 1);
    let scrape = app.scrape().await;
    let value = |name: &str, labels: &[(&str, &str)]| scrape.count(name, labels);
    let rows = |outcome| value("sync_rows_processed_total", &[("outcome", outcome)]);
    assert_eq!(
        [rows("success"), rows("failed"), rows("rate_limited")],
        [2, 1, 1]
    );
    assert_eq!(value("sync_jobs_total", &[("outcome", "completed")]), 1);
    assert_eq!(value("sync_job_duration_seconds_count", &[]), 1);
    assert_eq!(value("dead_letters_total", &[("kind", "orders")]), 1);
    let sync = [("scheduler", "sync")];
    assert_eq!(value("scheduler_enqueued_total", &sync), 1);
    assert_eq!(value("scheduler_pass_duration_seconds_count", &sync), 1);
    let passes = |outcome| [sync[0], ("outcome", outcome)];
    assert_eq!(value("scheduler_passes_total", &passes("success")), 1);
    assert_eq!(value("scheduler_passes_total", &passes("failure")), 0);
    assert_eq!(value("sync_backlog_total", &[]), 0);
}

#[rstest]
#[tokio::test]
async fn a_run_that_leaves_rows_behind_is_a_backlog(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::watched(on, &[("SYNC_CHUNK_SIZE", "1")]).await;
    let store = app.register("shop").await;
    app.insert_due_rows(store, 11).await;
    app.run(store).await.unwrap();
    let scrape = app.scrape().await;
    assert!((scrape.value("sync_backlog_total", &[]) - 1.0).abs() < f64::EPSILON);
    assert_eq!(app.run_syncs().await, 1, "enqueued again");
}

/// A-43, as it is counted; and that two apps of one process count apart.
#[rstest]
#[tokio::test]
async fn a_store_that_is_being_synced_is_contention(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::watched(on, &[]).await;
    let store = app.register("shop").await;
    app.insert_due_rows(store, 1).await;
    app.marketplace.hold();
    let other = app.other_process().await;
    let run = spawn_run(&other, store);
    app.marketplace.in_flight(1).await;
    run_in(&app.app, store).await.unwrap();
    app.marketplace.release();
    run.await.unwrap().unwrap();
    let jobs = |scrape: &Scrape| {
        ["completed", "skipped", "lock_lost", "failed"]
            .map(|outcome| scrape.count("sync_jobs_total", &[("outcome", outcome)]))
    };
    let here = app.scrape().await;
    assert_eq!(jobs(&here), [0, 1, 0, 0]);
    assert_eq!(here.count("sync_lock_contention_total", &[]), 1);
    let there = Scrape::parse(&other.metrics.encode());
    assert_eq!(jobs(&there), [1, 0, 0, 0]);
    assert_eq!(there.count("sync_lock_contention_total", &[]), 0);
}

/// A database that is gone fails the job and the pass.
#[rstest]
#[tokio::test]
async fn what_breaks_off_is_counted_as_failed(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::watched(on, &[]).await;
    let store = app.register("shop").await;
    app.execute("ALTER TABLE sync_logs RENAME TO elsewhere")
        .await;
    run_in(&app.app, store).await.unwrap_err();
    let value = |name: &str, labels: &[(&str, &str)]| {
        let scrape = Scrape::parse(&app.app.metrics.encode());
        scrape.count(name, labels)
    };
    assert_eq!(value("sync_jobs_total", &[("outcome", "failed")]), 1);
    assert_eq!(value("sync_job_duration_seconds_count", &[]), 1);
    let panicking = app.app.metrics.callback_job();
    drop(panicking);
    assert_eq!(value("callback_jobs_total", &[("outcome", "failed")]), 1);
}

#[rstest]
#[tokio::test]
async fn a_delivery_is_counted_by_what_came_of_it(#[values(Embedded, Server)] on: Profile) {
    let settings = [
        ("CALLBACK_MAX_ATTEMPTS", "2"),
        ("CALLBACK_TIMEOUT_MS", "300"),
    ];
    let app = TestApp::watched(on, &settings).await;
    let subscriber = Subscriber::start().await;
    let store = app.register("shop").await;
    for path in ["/good", "/bad"] {
        app.subscribe("sync.completed", &subscriber.url(path)).await;
    }
    subscriber.answer("/good", [Status(201)]);
    subscriber.answer("/bad", [Status(500), Hang]);
    app.owe_events(store, 1).await;
    app.after(Duration::ZERO).await;
    app.after(Duration::from_mins(2)).await;
    assert_eq!(
        (subscriber.count("/good"), subscriber.count("/bad")),
        (1, 2)
    );
    let scrape = app.scrape().await;
    let value = |name: &str, labels: &[(&str, &str)]| scrape.count(name, labels);
    let deliveries = |outcome| value("callback_deliveries_total", &[("outcome", outcome)]);
    assert_eq!(
        ["success", "failure", "dead_letter"].map(deliveries),
        [1, 1, 1]
    );
    assert_eq!(value("dead_letters_total", &[("kind", "callbacks")]), 1);
    assert_eq!(value("callback_jobs_total", &[("outcome", "completed")]), 2);
    let asked = |outcome| {
        let labels = [("outcome", outcome)];
        value("callback_request_duration_seconds_count", &labels)
    };
    assert_eq!(["success", "http_error", "timeout"].map(asked), [1, 1, 1]);
    let enqueued = value("scheduler_enqueued_total", &[("scheduler", "callback")]);
    assert_eq!(enqueued, 2);
}

/// A delivery that is held for an inactive endpoint is a dead letter after thirty days.
#[rstest]
#[tokio::test]
async fn a_delivery_that_was_held_too_long_is_counted(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::watched(on, &[]).await;
    let store = app.register("shop").await;
    let endpoint = app
        .subscribe("sync.completed", "https://example.com/hook")
        .await;
    app.owe_events(store, 3).await;
    app.change_endpoint(endpoint, &json!({ "isActive": false }))
        .await;
    app.clock.advance(Duration::from_hours(31 * 24));
    marketplace_sync::schedule::tidy_up(&app.app).await;
    let scrape = app.scrape().await;
    let dead = scrape.value("dead_letters_total", &[("kind", "callbacks")]);
    assert!((dead - 3.0).abs() < f64::EPSILON);
}

/// Of all that is known, the outcome of a row counts once, whatever else is asked.
#[rstest]
#[tokio::test]
async fn a_marketplace_that_answers_again_is_asked_again(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::watched(on, &[]).await;
    let store = app.register("shop").await;
    app.marketplace
        .reply("order-1", [unauthorized(), valid("order-1")]);
    app.import(store, "order-1").await;
    app.make_due(store, "order-1").await;
    app.run(store).await.unwrap();
    let scrape = app.scrape().await;
    for outcome in ["auth_error", "valid"] {
        let labels = [("marketplace", "etsy"), ("outcome", outcome)];
        let count = scrape.value("marketplace_request_duration_seconds_count", &labels);
        assert!((count - 1.0).abs() < f64::EPSILON, "{outcome}");
    }
}
