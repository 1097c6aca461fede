//! An endpoint is deleted while somebody writes what it is owed: nothing waits for it for ever.

use std::time::Duration;

use chrono::TimeDelta;
use marketplace_sync::schedule::tidy_up;
use marketplace_sync::service;
use poem::http::Method;
use poem::{Endpoint, Request};
use reqwest::StatusCode;
use rstest::rstest;
use uuid::Uuid;

use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp};
use crate::support::deliveries::interrupted;
use crate::support::log::Log;

const URL: &str = "http://127.0.0.1:1/webhook";
/// More than the waits of any piece of work here.
const MANY: usize = 500;
/// Longer than anything is kept.
const MONTH: Duration = Duration::from_hours(24 * 31);

async fn delete(app: &TestApp, endpoint: Uuid) {
    let path = format!("/webhooks/{endpoint}?organizationId=org-1");
    let (status, body) = app.send(app.http.delete(app.server.url(&path))).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{body}");
}

async fn assert_settled(app: &TestApp, waits: usize) {
    let owed = "SELECT COUNT(*) FROM callback_deliveries WHERE status = 'pending'";
    let open = "SELECT COUNT(*) FROM callback_outbox WHERE status = 'pending'";
    let left = (app.count(owed).await, app.count(open).await);
    assert_eq!(left, (0, 0), "deleted after {waits} waits");
}

#[rstest]
#[tokio::test]
async fn a_run_announces_nothing_to_an_endpoint_that_is_deleted_meanwhile(
    #[values(Embedded, Server)] on: Profile,
) {
    let mut app = TestApp::start(on).await;
    app.leave_jobs();
    for waits in 0..MANY {
        let endpoint = app.subscribe("sync.completed", URL).await;
        let store = app.register(&format!("shop-{waits}")).await;
        app.insert_row(store, "r1", "failed", 3600).await;
        let (run, (), ended) =
            Box::pin(interrupted(waits, app.run(store), delete(&app, endpoint))).await;
        run.unwrap();
        assert_eq!(
            app.event_names(store).await,
            ["sync.started", "sync.completed"]
        );
        assert_settled(&app, waits).await;
        if ended {
            assert!(waits > 0, "it never waited");
            // On a busy machine it may wait less often than it could.
            if waits > 10 {
                return;
            }
        }
    }
    panic!("it never got to its end");
}

#[rstest]
#[tokio::test]
async fn a_dead_letter_is_not_requeued_for_an_endpoint_that_is_deleted_meanwhile(
    #[values(Embedded, Server)] on: Profile,
) {
    let mut app = TestApp::start(on).await;
    app.leave_jobs();
    let store = app.register("shop").await;
    let site = service::site(&app.app);
    for waits in 0..MANY {
        let endpoint = app.subscribe("sync.completed", URL).await;
        let event = app.insert_event(store, "failed", TimeDelta::hours(1)).await;
        app.insert_delivery(event, endpoint, "failed", TimeDelta::hours(1))
            .await;
        let request = Request::builder()
            .method(Method::POST)
            .uri_str(format!("/callbacks/{event}/requeue"))
            .finish();
        let requeue = async { site.get_response(request).await.status() };
        let (status, (), ended) = interrupted(waits, requeue, delete(&app, endpoint)).await;
        assert!(
            status == StatusCode::ACCEPTED || status == StatusCode::CONFLICT,
            "{status}"
        );
        assert_settled(&app, waits).await;
        if ended {
            assert!(waits > 0, "it never waited");
            // On a busy machine it may wait less often than it could.
            if waits > 5 {
                return;
            }
        }
    }
    panic!("it never got to its end");
}

/// A deleted endpoint is the same one when it is registered again, for a month; and for as long
/// as an event remembers that it had it.
#[rstest]
#[tokio::test]
async fn an_endpoint_is_forgotten_a_month_after_it_was_deleted(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    let [forgotten, dead_lettered, back, inactive] = [1, 2, 3, 4].map(|n| format!("{URL}/{n}"));
    let forgotten = app.subscribe("sync.completed", &forgotten).await;
    delete(&app, forgotten).await;
    let dead_lettered = app.subscribe("sync.completed", &dead_lettered).await;
    let event = app.insert_event(store, "failed", TimeDelta::hours(1)).await;
    app.insert_delivery(event, dead_lettered, "failed", TimeDelta::hours(1))
        .await;
    delete(&app, dead_lettered).await;
    let inactive = app.subscribe("sync.completed", &inactive).await;
    app.change_endpoint(inactive, &serde_json::json!({ "isActive": false }))
        .await;
    let first = app.subscribe("sync.completed", &back).await;
    delete(&app, first).await;
    tidy_up(&app.app).await;
    let endpoints = "SELECT COUNT(*) FROM webhook_endpoints";
    assert_eq!(app.count(endpoints).await, 4, "it is too early");
    assert_eq!(app.subscribe("sync.completed", &back).await, first);

    app.clock.advance(MONTH);
    let log = Log::start("info");
    tidy_up(&app.app).await;
    assert_eq!(log.of("housekeeping_run")[0]["purgedEndpoints"], 1);
    assert_eq!(app.count(endpoints).await, 3);
    assert_eq!(app.count("SELECT COUNT(*) FROM webhook_secrets").await, 3);
    let again = format!("{URL}/1");
    assert_ne!(app.subscribe("sync.completed", &again).await, forgotten);
    for kept in [dead_lettered, first, inactive] {
        app.endpoint(kept).await;
    }
}
