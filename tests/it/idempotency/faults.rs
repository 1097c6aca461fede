//! What fails, dies or is restarted in between.

use std::time::Duration;

use marketplace_sync::service;
use rstest::rstest;
use serde_json::json;

use super::{OK, keys, post, request, send, webhook};
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, on, store_body};
use crate::support::server::TestServer;

async fn execute(app: &TestApp, sql: &'static str) {
    on!(&app.app.db, pool => sqlx::query(sql).execute(pool).await.map(|_| ()).unwrap());
}

#[rstest]
#[tokio::test]
async fn a_failure_of_ours_is_not_kept(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let body = store_body("shop");
    execute(&app, "ALTER TABLE stores RENAME TO lost").await;
    for _ in 0..2 {
        let answer = post(&app, "key", "/stores/register", &body).await;
        assert_eq!((answer.status, answer.is_replayed), (500, false));
        assert_eq!(keys(&app).await, 0, "its key is free at once");
    }
    execute(&app, "ALTER TABLE lost RENAME TO stores").await;
    let answer = post(&app, "key", "/stores/register", &body).await;
    assert_eq!((answer.status, answer.is_replayed), (OK, false));
}

/// The answer cannot be kept: then there is no effect either.
#[rstest]
#[tokio::test]
async fn effect_and_answer_are_there_both_or_neither(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let refuse = match on {
        Server => "ALTER TABLE idempotency_keys ADD CONSTRAINT refuse CHECK (answer IS NULL)",
        Embedded => {
            "CREATE TRIGGER refuse BEFORE UPDATE OF answer ON idempotency_keys
             BEGIN SELECT RAISE(ABORT, 'refused'); END"
        }
    };
    execute(&app, refuse).await;
    let hook = webhook("http://127.0.0.1:9/hook");
    for (path, body) in [
        ("/stores/register", store_body("shop")),
        ("/webhooks/register", hook),
    ] {
        assert_eq!(post(&app, "key", path, &body).await.status, 500);
    }
    assert_eq!(app.count("SELECT COUNT(*) FROM stores").await, 0);
    assert_eq!(app.count("SELECT COUNT(*) FROM webhook_endpoints").await, 0);
    // Without a key it is none of their business.
    app.register("shop").await;
}

#[rstest]
#[tokio::test]
async fn an_answer_is_given_again_after_a_restart(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let body = webhook("http://127.0.0.1:9/hook");
    let first = post(&app, "key", "/webhooks/register", &body).await;
    let other = TestServer::start(service::site(&app.other_process().await)).await;
    let again = send(request(&app, &other, "key", "/webhooks/register", &body)).await;
    assert_eq!(again, first.replayed());
}

/// As a process leaves it that is killed between its claim and its effect.
#[rstest]
#[tokio::test]
async fn a_request_that_died_runs_again_once_its_claim_is_over(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::start(on).await;
    let body = webhook("http://127.0.0.1:9/hook");
    post(&app, "key", "/webhooks/register", &body).await;
    execute(
        &app,
        "UPDATE idempotency_keys SET status = NULL, answer = NULL",
    )
    .await;
    execute(&app, "DELETE FROM webhook_endpoints").await;
    app.clock.advance(Duration::from_secs(29));
    let answer = post(&app, "key", "/webhooks/register", &body).await;
    assert_eq!(
        (answer.status, answer.retry_after.as_deref()),
        (409, Some("1"))
    );
    app.clock.advance(Duration::from_secs(1));
    let other = webhook("http://127.0.0.1:9/other");
    assert_eq!(
        post(&app, "key", "/webhooks/register", &other).await.status,
        422
    );
    let answer = post(&app, "key", "/webhooks/register", &body).await;
    assert_eq!((answer.status, answer.is_replayed), (OK, false));
    assert!(answer.json()["secret"].is_string());
    assert_eq!(
        post(&app, "key", "/webhooks/register", &body).await,
        answer.replayed()
    );
}

/// A panic in a route is a failure like any other.
#[rstest]
#[tokio::test]
async fn a_key_is_free_after_a_panic(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let store = app.register("shop").await;
    app.marketplace.reply_with(|_| panic!("on purpose"));
    let body = json!({ "syncToken": store.token, "receipt": "r1" });
    let answer = post(&app, "key", "/orders/import", &body).await;
    // The import catches it: the receipt failed, and that is an answer.
    assert_eq!(answer.status, OK, "{answer:?}");
    assert_eq!(
        post(&app, "key", "/orders/import", &body).await,
        answer.replayed()
    );
}
