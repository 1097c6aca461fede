//! The same request several times at once, in one process and in two.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use marketplace_sync::service;
use rstest::rstest;
use serde_json::json;
use sqlx::AssertSqlSafe;

use super::{OK, post, receipt, request, send, webhook};
use crate::support::app::Profile::{Embedded, Server};
use crate::support::app::{Profile, TestApp, on};
use crate::support::runs::until;
use crate::support::server::TestServer;
use crate::support::subscriber::Subscriber;

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn twenty_at_once_have_one_effect(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let other = TestServer::start(service::site(&app.other_process().await)).await;
    let id = app
        .subscribe("sync.completed", "http://127.0.0.1:9/hook")
        .await;
    let path = format!("/webhooks/{id}/rotate-secret?organizationId=org-1");
    let answers = join_all((0..20).map(|number| {
        let server = if number % 2 == 0 { &app.server } else { &other };
        send(request(&app, server, "key", &path, &json!({})))
    }))
    .await;
    let mut secrets = BTreeSet::new();
    for answer in answers {
        if answer.status == OK {
            secrets.insert(answer.json()["secret"].as_str().unwrap().to_owned());
        } else {
            assert_eq!(
                (answer.status, &*answer.code()),
                (409, "idempotency_key_in_use")
            );
            assert_eq!(answer.retry_after.as_deref(), Some("1"));
        }
    }
    assert_eq!(secrets.len(), 1);
    assert_eq!(app.count("SELECT COUNT(*) FROM webhook_secrets").await, 2);
}

/// A client whose connection breaks asks again, and gets to know what came of it.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_request_goes_on_without_its_client(#[values(Embedded, Server)] on: Profile) {
    let app = TestApp::start(on).await;
    let subscriber = Subscriber::start().await;
    let id = app
        .subscribe("sync.completed", &subscriber.url("/hook"))
        .await;
    let path = format!("/webhooks/{id}/test?organizationId=org-1");
    subscriber.hold("/hook");
    let leaving = tokio::spawn(send(request(&app, &app.server, "key", &path, &json!({}))));
    subscriber.has_received("/hook", 1).await;
    leaving.abort();
    let meanwhile = post(&app, "key", &path, &json!({})).await;
    assert_eq!(
        (meanwhile.status, meanwhile.retry_after.as_deref()),
        (409, Some("1"))
    );
    subscriber.release("/hook");
    let mut answer = meanwhile;
    until(async || {
        answer = post(&app, "key", &path, &json!({})).await;
        answer.status != 409
    })
    .await;
    assert_eq!((answer.status, answer.is_replayed), (OK, true));
    assert_eq!(answer.json()["success"], true);
    assert_eq!(subscriber.count("/hook"), 1);
}

/// "Ask again" is no answer to keep.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_somebody_else_makes_is_asked_for_again(
    #[values(Embedded, Server)] on: Profile,
) {
    let app = TestApp::build(on, &[], |app| app.import_wait = Duration::from_millis(50)).await;
    let store = app.register("shop").await;
    app.marketplace.hold();
    let batch = json!({ "syncToken": store.token, "receipts": ["r1"] });
    let (importing, ()) = tokio::join!(app.import(store, "r1"), async {
        app.marketplace.in_flight(1).await;
        let answer = post(&app, "key", "/orders/import", &receipt(store, "r1")).await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (409, "import_in_progress")
        );
        let answer = post(&app, "key", "/orders/import/batch", &batch).await;
        assert_eq!(answer.json()["results"][0]["error"], "import_in_progress");
        app.marketplace.release();
    });
    assert_eq!(importing.1["success"], true);
    for (path, body) in [
        ("/orders/import", receipt(store, "r1")),
        ("/orders/import/batch", batch),
    ] {
        let answer = post(&app, "key", path, &body).await;
        assert_eq!((answer.status, answer.is_replayed), (OK, false));
        assert!(answer.body.contains("\"success\":true"), "{answer:?}");
        assert!(post(&app, "key", path, &body).await.is_replayed);
    }
}

/// A process that stalls for longer than its claim finds that it lost it, and writes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_lost_its_claim_has_no_effect() {
    let app = TestApp::start(Server).await;
    let marketplace_sync::db::Db::Postgres(pool) = &app.app.db else {
        unreachable!("the server profile has PostgreSQL")
    };
    let body = webhook("http://127.0.0.1:9/hook");
    let ask = || {
        send(request(
            &app,
            &app.server,
            "key",
            "/webhooks/register",
            &body,
        ))
    };
    // Both registrations wait for us, in the order they came.
    let mut holder = pool.begin_with("BEGIN").await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('org-1', 0))")
        .execute(&mut *holder)
        .await
        .unwrap();
    let (stalled, taking_over, ()) = tokio::join!(
        ask(),
        async {
            wait_until_waiting(&app, 1).await;
            app.clock.advance(Duration::from_secs(31));
            ask().await
        },
        async {
            wait_until_waiting(&app, 2).await;
            holder.commit().await.unwrap();
        }
    );
    assert_eq!(
        (stalled.status, &*stalled.code()),
        (409, "idempotency_key_in_use")
    );
    assert_eq!((taking_over.status, taking_over.is_replayed), (OK, false));
    assert!(
        taking_over.json()["secret"].is_string(),
        "it made the webhook"
    );
    assert_eq!(app.count("SELECT COUNT(*) FROM webhook_secrets").await, 1);
    assert_eq!(ask().await, taking_over.replayed());
}

/// Until so many wait for the lock of the organization.
async fn wait_until_waiting(app: &TestApp, waiting: i64) {
    let sql = "SELECT COUNT(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event = 'advisory'";
    until(async || {
        let count: i64 = on!(&app.app.db, pool => sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(pool).await.unwrap());
        count >= waiting
    })
    .await;
}
